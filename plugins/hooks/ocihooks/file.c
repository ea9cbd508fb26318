/*
 * One hook file. Version 1.0.0 is oci-hooks(5)'s; 0.1.0, also without a version, is the older one: flat, singular or plural names,
 * and one condition is enough.
 */
#include <errno.h>
#include <sys/stat.h>

#include "plugins/hooks/ocihooks/ocihooks.h"

void oh_file_free(struct hookfile *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n_pairs; i++) {
		oh_pattern_free(h->pairs[i].key);
		oh_pattern_free(h->pairs[i].value);
	}
	for (size_t i = 0; i < h->n_commands; i++)
		oh_pattern_free(h->commands[i]);
	free(h->pairs);
	free(h->commands);
	free(h->stages);
	free(h->name);
	free(h->path);
	free(h->entry);
	free(h);
}

size_t oh_file_patterns(const struct hookfile *h)
{
	return 2 * h->n_pairs + h->n_commands;
}

/* ---- members with a type ---- */

static int member(struct oh *o, struct json_object *doc, const char *key, enum json_type type, struct json_object **ret,
		  crio_err *err)
{
	struct json_object *v = oh_get(doc, key);

	if (v && !json_object_is_type(v, type))
		return o->host->fail(err, CRIO_E_INVALID, "%s is no %s", key, json_type_to_name(type));
	*ret = v;
	return 0;
}

/* A string without a NUL in it. */
static const char *text_of(struct json_object *v)
{
	const char *s = json_object_get_string(v);

	return s && strlen(s) == (size_t)json_object_get_string_len(v) ? s : NULL;
}

/* A list of strings; *ret NULL: absent. */
static int strings(struct oh *o, struct json_object *doc, const char *key, struct json_object **ret, crio_err *err)
{
	struct json_object *a;
	int r = member(o, doc, key, json_type_array, &a, err);

	if (r < 0)
		return r;
	if (a && json_object_array_length(a) > OH_STRINGS_MAX)
		return o->host->fail(err, CRIO_E_EXHAUSTED, "%s has more than %d entries", key, OH_STRINGS_MAX);
	for (size_t i = 0; a && i < json_object_array_length(a); i++) {
		struct json_object *v = json_object_array_get_idx(a, i);

		if (!v || !json_object_is_type(v, json_type_string) || !text_of(v))
			return o->host->fail(err, CRIO_E_INVALID, "%s[%zu] is no string", key, i);
	}
	*ret = a;
	return 0;
}

/* The plural or the singular name, not both. */
static int strings_of(struct oh *o, struct json_object *doc, const char *plural, const char *singular,
		      struct json_object **ret, crio_err *err)
{
	struct json_object *a = NULL, *b = NULL;
	int r = strings(o, doc, plural, &a, err);

	if (r == 0)
		r = strings(o, doc, singular, &b, err);
	if (r < 0)
		return r;
	if (a && b)
		return o->host->fail(err, CRIO_E_INVALID, "cannot set both '%s' and '%s'", singular, plural);
	*ret = a ? a : b;
	return 0;
}

static int flag(struct oh *o, struct json_object *doc, const char *key, bool *ret_has, bool *ret, crio_err *err)
{
	struct json_object *v = NULL;
	int r = member(o, doc, key, json_type_boolean, &v, err);

	if (r == 0 && v) {
		*ret_has = true;
		*ret = json_object_get_boolean(v);
	}
	return r;
}

/* ---- parts ---- */

static int compile(struct oh *o, const char *what, const char *text, struct pattern **ret, crio_err *err)
{
	char why[200];

	*ret = oh_pattern_new(text, why, sizeof(why));
	if (!*ret)
		return o->host->fail(err, CRIO_E_INVALID, "invalid %s \"%.100s\": %s", what, text, why);
	return 0;
}

static int take_pair(struct oh *o, struct hookfile *h, const char *key, const char *value, crio_err *err)
{
	struct oh_pair *p = &h->pairs[h->n_pairs++];
	int r = compile(o, "annotation key", key, &p->key, err);

	return r < 0 ? r : compile(o, "annotation value", value, &p->value, err);
}

static int take_commands(struct oh *o, struct hookfile *h, struct json_object *a, crio_err *err)
{
	size_t n = a ? json_object_array_length(a) : 0;
	int r = 0;

	h->commands = calloc(n + 1, sizeof(struct pattern *));
	if (!h->commands)
		return oh_nomem(o, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = compile(o, "command", text_of(json_object_array_get_idx(a, i)), &h->commands[i], err);
		h->n_commands += r == 0;
	}
	return r;
}

static int take_stages(struct oh *o, struct hookfile *h, struct json_object *a, crio_err *err)
{
	static const struct {
		const char *name;
		enum oh_stage stage;
	} known[] = {{"prestart", OH_CREATE_RUNTIME}, /* the specification's older name of the same moment */
		     {"createRuntime", OH_CREATE_RUNTIME},
		     {"createContainer", OH_CREATE_CONTAINER},
		     {"startContainer", OH_START_CONTAINER},
		     {"poststart", OH_POSTSTART},
		     {"poststop", OH_POSTSTOP},
		     {"precreate", OH_PRECREATE}};
	size_t n, k;

	if (!a)
		return o->host->fail(err, CRIO_E_INVALID, "missing required property: stages");
	n = json_object_array_length(a);
	h->stages = calloc(n + 1, sizeof(*h->stages));
	if (!h->stages)
		return oh_nomem(o, err);
	for (size_t i = 0; i < n; i++) {
		const char *s = text_of(json_object_array_get_idx(a, i));

		for (k = 0; k < sizeof(known) / sizeof(*known) && strcmp(known[k].name, s) != 0; k++)
			;
		if (k == sizeof(known) / sizeof(*known))
			return o->host->fail(err, CRIO_E_INVALID, "unknown stage \"%.64s\"", s);
		h->stages[h->n_stages++] = known[k].stage;
	}
	return 0;
}

/* The program, and what the spec will have: only members that it knows. */
static int take_entry(struct oh *o, struct hookfile *h, const char *path, struct json_object *args, struct json_object *env,
		      crio_err *err)
{
	cleanup_json struct json_object *e = json_object_new_object();
	struct stat st;
	bool ok = e && oh_set_member(e, "path", json_object_new_string(path));

	if (ok && args)
		ok = oh_set_member(e, "args", json_object_get(args));
	if (ok && env)
		ok = oh_set_member(e, "env", json_object_get(env));
	if (ok && h->timeout)
		ok = oh_set_member(e, "timeout", json_object_new_int(h->timeout));
	h->path = strdup(path);
	h->entry = ok && oh_text(e) ? strdup(oh_text(e)) : NULL;
	if (!h->path || !h->entry)
		return oh_nomem(o, err);
	if (!*path)
		return o->host->fail(err, CRIO_E_INVALID, "missing required property: hook.path");
	if (*path != '/')
		return o->host->fail(err, CRIO_E_INVALID, "the hook's path '%.200s' is not absolute", path);
	if (stat(path, &st) < 0)
		return o->host->fail(err, CRIO_E_NOT_FOUND, "the hook's program %.200s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return o->host->fail(err, CRIO_E_INVALID, "the hook's program %.200s is no file", path);
	return 0;
}

/* ---- 1.0.0 ---- */

static int take_hook(struct oh *o, struct hookfile *h, struct json_object *doc, crio_err *err)
{
	struct json_object *hook, *path = NULL, *args = NULL, *env = NULL, *timeout = NULL;
	int r = member(o, doc, "hook", json_type_object, &hook, err);

	if (r == 0 && !hook)
		return o->host->fail(err, CRIO_E_INVALID, "missing required property: hook");
	if (r == 0)
		r = member(o, hook, "path", json_type_string, &path, err);
	if (r == 0)
		r = strings(o, hook, "args", &args, err);
	if (r == 0)
		r = strings(o, hook, "env", &env, err);
	if (r == 0)
		r = member(o, hook, "timeout", json_type_int, &timeout, err);
	if (r < 0)
		return r;
	if (timeout && (json_object_get_int64(timeout) <= 0 || json_object_get_int64(timeout) > INT32_MAX))
		return o->host->fail(err, CRIO_E_INVALID, "hook.timeout is not a number of seconds above 0");
	h->timeout = timeout ? json_object_get_int(timeout) : 0;
	return take_entry(o, h, path && text_of(path) ? text_of(path) : "", args, env, err);
}

static int take_when(struct oh *o, struct hookfile *h, struct json_object *doc, crio_err *err)
{
	struct json_object *when, *annotations = NULL, *commands = NULL;
	int r = member(o, doc, "when", json_type_object, &when, err);

	if (r == 0)
		r = flag(o, when, "always", &h->has_always, &h->always, err);
	if (r == 0)
		r = flag(o, when, "hasBindMounts", &h->has_mounts, &h->mounts, err);
	if (r == 0)
		r = member(o, when, "annotations", json_type_object, &annotations, err);
	if (r == 0)
		r = strings(o, when, "commands", &commands, err);
	if (r < 0)
		return r;
	if (annotations && json_object_object_length(annotations) > OH_STRINGS_MAX)
		return o->host->fail(err, CRIO_E_EXHAUSTED, "when.annotations has more than %d entries", OH_STRINGS_MAX);
	h->pairs = calloc(annotations ? (size_t)json_object_object_length(annotations) + 1 : 1, sizeof(*h->pairs));
	if (!h->pairs)
		return oh_nomem(o, err);
	if (annotations) {
		json_object_object_foreach(annotations, key, v)
		{
			if (!v || !json_object_is_type(v, json_type_string) || !text_of(v))
				return o->host->fail(err, CRIO_E_INVALID, "annotation value of \"%.100s\" is no string", key);
			r = take_pair(o, h, key, text_of(v), err);
			if (r < 0)
				return r;
		}
	}
	return take_commands(o, h, commands, err);
}

static int parse_current(struct oh *o, struct hookfile *h, struct json_object *doc, crio_err *err)
{
	struct json_object *stages = NULL;
	int r = take_hook(o, h, doc, err);

	if (r == 0)
		r = take_when(o, h, doc, err);
	if (r == 0)
		r = strings(o, doc, "stages", &stages, err);
	return r < 0 ? r : take_stages(o, h, stages, err);
}

/* ---- 0.1.0 ---- */

/* Its arguments come after the program's name. */
static int old_args(struct oh *o, const char *path, struct json_object *arguments, struct json_object **ret, crio_err *err)
{
	cleanup_json struct json_object *args = json_object_new_array();
	bool ok = args && oh_push(args, json_object_new_string(path));

	for (size_t i = 0; ok && i < json_object_array_length(arguments); i++)
		ok = oh_push(args, json_object_get(json_object_array_get_idx(arguments, i)));
	if (!ok)
		return oh_nomem(o, err);
	*ret = args;
	args = NULL;
	return 0;
}

/* All patterns are one: any of them, in the value of any annotation. */
static int old_annotations(struct oh *o, struct hookfile *h, struct json_object *list, crio_err *err)
{
	cleanup_free char *joined = NULL;
	size_t size = 0;
	FILE *f;

	h->pairs = calloc(2, sizeof(*h->pairs));
	if (!h->pairs)
		return oh_nomem(o, err);
	if (!list)
		return 0;
	f = open_memstream(&joined, &size);
	for (size_t i = 0; f && i < json_object_array_length(list); i++)
		(void)fprintf(f, "%s%s", i ? "|" : "", text_of(json_object_array_get_idx(list, i)));
	if (!f || fclose(f) != 0 || !joined)
		return oh_nomem(o, err);
	return take_pair(o, h, ".*", joined, err);
}

static int parse_old(struct oh *o, struct hookfile *h, struct json_object *doc, crio_err *err)
{
	struct json_object *hook, *stages = NULL, *cmds = NULL, *annotations = NULL, *arguments = NULL;
	cleanup_json struct json_object *args = NULL;
	int r = member(o, doc, "hook", json_type_string, &hook, err);

	h->any = true;
	if (r == 0 && (!hook || !text_of(hook)))
		return o->host->fail(err, CRIO_E_INVALID, "missing required property: hook");
	if (r == 0)
		r = strings_of(o, doc, "stages", "stage", &stages, err);
	if (r == 0)
		r = strings_of(o, doc, "cmds", "cmd", &cmds, err);
	if (r == 0)
		r = strings_of(o, doc, "annotations", "annotation", &annotations, err);
	if (r == 0)
		r = strings(o, doc, "arguments", &arguments, err);
	if (r == 0)
		r = flag(o, doc, "hasbindmounts", &h->has_mounts, &h->mounts, err);
	if (r == 0 && arguments)
		r = old_args(o, text_of(hook), arguments, &args, err);
	if (r == 0)
		r = take_entry(o, h, text_of(hook), args, NULL, err);
	if (r == 0)
		r = old_annotations(o, h, annotations, err);
	if (r == 0)
		r = take_commands(o, h, cmds, err);
	return r < 0 ? r : take_stages(o, h, stages, err);
}

int oh_file_parse(struct oh *o, const char *name, const char *text, size_t n, struct hookfile **ret, crio_err *err)
{
	cleanup_json struct json_object *doc = NULL;
	struct json_object *version = NULL;
	struct hookfile *h = calloc(1, sizeof(*h));
	const char *v;
	int r;

	if (!h || !(h->name = strdup(name))) {
		free(h);
		return oh_nomem(o, err);
	}
	r = oh_parse(o, text, n, &doc, err);
	if (r == 0)
		r = member(o, doc, "version", json_type_string, &version, err);
	v = r == 0 && version ? json_object_get_string(version) : "";
	if (r == 0 && !strcmp(v, "1.0.0"))
		r = parse_current(o, h, doc, err);
	else if (r == 0 && (!*v || !strcmp(v, "0.1.0")))
		r = parse_old(o, h, doc, err);
	else if (r == 0)
		r = o->host->fail(err, CRIO_E_INVALID, "unrecognized hook version: \"%.32s\"", v);
	if (r < 0) {
		oh_file_free(h);
		return r;
	}
	*ret = h;
	return 0;
}
