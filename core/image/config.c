/* config.c: an image's config document into struct image. */
#include <string.h>

#include "core/image/manifest.h"
#include "core/util/fs.h"
#include "core/util/json.h"

#define ENV_MAX 10000
#define LABELS_MAX 10000

static int bad(crio_err *err, const char *what)
{
	return err_set(err, CRIO_E_CORRUPT, "image config: %s", what);
}

/* A member that may be absent or null, but not of another type. */
static int member(const struct json_object *o, const char *key, enum json_type type, struct json_object **ret,
		  crio_err *err)
{
	struct json_object *v = o ? json_get(o, key) : NULL;

	*ret = NULL;
	if (!v)
		return 0;
	if (!json_object_is_type(v, type))
		return err_set(err, CRIO_E_CORRUPT, "image config: '%s' is not of type %s", key,
			       json_type_to_name(type));
	*ret = v;
	return 0;
}

static int take_str(const struct json_object *o, const char *key, char **field, crio_err *err)
{
	struct json_object *v;
	int r = member(o, key, json_type_string, &v, err);
	char *s;

	if (r < 0)
		return r;
	/* A NUL inside would cut what is checked short of what is used elsewhere. */
	if (v && strlen(json_object_get_string(v)) != (size_t)json_object_get_string_len(v))
		return bad(err, "a string has a NUL in it");
	s = strdup(v ? json_object_get_string(v) : "");
	if (!s)
		return err_nomem(err);
	free(*field);
	*field = s;
	return 0;
}

static int take_strs(const struct json_object *o, const char *key, struct strv *field, crio_err *err)
{
	struct json_object *v;
	int r = member(o, key, json_type_array, &v, err);

	if (r < 0 || !v)
		return r;
	if (json_object_array_length(v) > ENV_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "image config: '%s' has more than %d members", key, ENV_MAX);
	r = json_strs(v, field);
	return r < 0 ? err_set(err, r, "image config: '%s' is not a list of strings", key) : 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* {"/data": {}} */
static int take_keys(const struct json_object *o, const char *key, struct strv *field, crio_err *err)
{
	struct json_object *v;
	int r = member(o, key, json_type_object, &v, err);

	if (r < 0 || !v)
		return r;
	if (json_object_object_length(v) > ENV_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "image config: '%s' has more than %d members", key, ENV_MAX);
	json_object_object_foreach(v, k, unused)
	{
		(void)unused;
		if (strv_add(field, k) < 0)
			return err_nomem(err);
	}
	if (field->n)
		qsort(field->v, field->n, sizeof(*field->v), by_text);
	return 0;
}

static int take_labels(const struct json_object *o, struct kvs *field, crio_err *err)
{
	struct json_object *v;
	int r = member(o, "Labels", json_type_object, &v, err);

	if (r < 0 || !v)
		return r;
	if (json_object_object_length(v) > LABELS_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "image config: more than %d labels", LABELS_MAX);
	json_object_object_foreach(v, k, val)
	{
		if (val && !json_object_is_type(val, json_type_string))
			return bad(err, "a label is not a string");
		if (kvs_set(field, k, val ? json_object_get_string(val) : "") < 0)
			return err_nomem(err);
	}
	return 0;
}

/* "1000:1000" is uid 1000, "www-data:www-data" a name. Go's ParseInt: digits that do not fit are a name. */
static int split_user(struct image *im, crio_err *err)
{
	char *user = strndup(im->user, strcspn(im->user, ":"));
	const char *digits;

	if (!user)
		return err_nomem(err);
	digits = *user == '+' ? user + 1 : user;
	im->has_uid = *user && str_to_i64(digits, INT64_MIN, INT64_MAX, &im->uid);
	if (im->has_uid)
		*user = 0;
	free(im->username);
	im->username = user;
	return 0;
}

static int take_diff_ids(const struct json_object *doc, struct strv *ret, crio_err *err)
{
	struct json_object *rootfs, *ids;
	int r = member(doc, "rootfs", json_type_object, &rootfs, err);

	if (r == 0)
		r = member(rootfs, "diff_ids", json_type_array, &ids, err);
	if (r < 0 || !ids)
		return r;
	if (json_object_array_length(ids) > MANIFEST_LAYERS_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "image config: more than %d diff_ids", MANIFEST_LAYERS_MAX);
	if (json_strs(ids, ret) < 0)
		return bad(err, "'diff_ids' is not a list of strings");
	for (size_t i = 0; i < ret->n; i++)
		if (!digest_is_valid(ret->v[i]))
			return bad(err, "a diff_id is not a digest");
	return 0;
}

static int take_config(const struct json_object *c, struct image *im, crio_err *err)
{
	int r = take_strs(c, "Entrypoint", &im->entrypoint, err);

	if (r == 0)
		r = take_strs(c, "Cmd", &im->cmd, err);
	if (r == 0)
		r = take_strs(c, "Env", &im->env, err);
	if (r == 0)
		r = take_str(c, "User", &im->user, err);
	if (r == 0)
		r = take_str(c, "WorkingDir", &im->workdir, err);
	if (r == 0)
		r = take_str(c, "StopSignal", &im->stop_signal, err);
	if (r == 0)
		r = take_keys(c, "Volumes", &im->volumes, err);
	if (r == 0)
		r = take_keys(c, "ExposedPorts", &im->exposed_ports, err);
	if (r == 0)
		r = take_labels(c, &im->labels, err);
	return r < 0 ? r : split_user(im, err);
}

int image_config_parse(const char *text, size_t n, struct image *im, struct strv *diff_ids, crio_err *err)
{
	cleanup_json struct json_object *doc = NULL;
	cleanup_free char *created = NULL;
	struct json_object *c;
	int r;

	if (n > MANIFEST_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "image config: %zu bytes, more than %u", n, MANIFEST_MAX);
	r = json_parse(text, n, &doc, err);
	if (r < 0)
		return err_wrap(err, "image config");
	if (!json_object_is_type(doc, json_type_object))
		return bad(err, "not a JSON object");
	r = take_str(doc, "architecture", &im->architecture, err);
	if (r == 0)
		r = take_str(doc, "os", &im->os, err);
	if (r == 0)
		r = take_str(doc, "variant", &im->variant, err);
	if (r == 0)
		r = take_str(doc, "created", &created, err);
	if (r == 0)
		r = member(doc, "config", json_type_object, &c, err);
	if (r == 0)
		r = take_config(c, im, err);
	if (r == 0 && diff_ids)
		r = take_diff_ids(doc, diff_ids, err);
	if (r < 0)
		return r;
	if (!*created || !time_parse(created, &im->created_ns))
		im->created_ns = 0;
	free(im->config_json);
	im->config_json = strndup(text, n);
	return im->config_json ? 0 : err_nomem(err);
}
