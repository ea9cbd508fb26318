#include "core/util/json.h"

#include "core/util/fs.h"

int json_parse(const char *p, size_t n, struct json_object **ret, crio_err *err)
{
	if (n > INT32_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "JSON document of %zu bytes", n);
	struct json_tokener *t = json_tokener_new_ex(JSON_DEPTH_MAX);
	if (!t)
		return err_nomem(err);
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	struct json_object *o = json_tokener_parse_ex(t, p, (int)n);
	enum json_tokener_error e = json_tokener_get_error(t);
	if (e == json_tokener_continue && n) {
		/* A bare number or a cut document: the end decides. */
		o = json_tokener_parse_ex(t, "", -1);
		e = json_tokener_get_error(t);
	}
	size_t at = json_tokener_get_parse_end(t);
	json_tokener_free(t);
	if (e != json_tokener_success || !o) {
		if (o)
			(void)json_object_put(o);
		return err_set(err, CRIO_E_CORRUPT, "not valid JSON at byte %zu: %s", at,
			       e == json_tokener_success ? "no document" : json_tokener_error_desc(e));
	}
	for (; at < n; at++) {
		if (!strchr(" \t\r\n", p[at]) || !p[at]) {
			(void)json_object_put(o);
			return err_set(err, CRIO_E_CORRUPT, "not valid JSON at byte %zu: more after the document", at);
		}
	}
	*ret = o;
	return 0;
}

int json_read_file(int dirfd, const char *path, size_t limit, struct json_object **ret, crio_err *err)
{
	cleanup_free char *text = NULL;
	size_t n;
	int r = fs_read_file(dirfd, path, limit, &text, &n, err);
	if (r < 0)
		return r;
	r = json_parse(text, n, ret, err);
	if (r < 0)
		(void)err_wrap(err, "%s", path); /* r: the code is wanted by who wants no text, too */
	return r;
}

struct json_object *json_get(const struct json_object *o, const char *key)
{
	struct json_object *v = NULL;
	if (!o || !json_object_is_type(o, json_type_object))
		return NULL;
	return json_object_object_get_ex(o, key, &v) ? v : NULL;
}

const char *json_str(const struct json_object *o, const char *key)
{
	struct json_object *v = json_get(o, key);
	return v && json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

int64_t json_int(const struct json_object *o, const char *key, int64_t dflt)
{
	struct json_object *v = json_get(o, key);
	return v && json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : dflt;
}

bool json_flag(const struct json_object *o, const char *key, bool dflt)
{
	struct json_object *v = json_get(o, key);
	return v && json_object_is_type(v, json_type_boolean) ? json_object_get_boolean(v) : dflt;
}

struct json_object *json_obj(const struct json_object *o, const char *key)
{
	struct json_object *v = json_get(o, key);
	return v && json_object_is_type(v, json_type_object) ? v : NULL;
}

struct json_object *json_arr(const struct json_object *o, const char *key)
{
	struct json_object *v = json_get(o, key);
	return v && json_object_is_type(v, json_type_array) ? v : NULL;
}

struct json_object *json_path(const struct json_object *o, const char *dotted)
{
	char key[128];
	struct json_object *v = NULL;
	while (o) {
		size_t n = strcspn(dotted, ".");
		if (n >= sizeof(key))
			return NULL;
		memcpy(key, dotted, n);
		key[n] = '\0';
		o = v = json_get(o, key);
		if (!dotted[n])
			break;
		dotted += n + 1;
	}
	return v;
}

int json_strs(const struct json_object *arr, struct strv *ret)
{
	size_t n = arr ? json_object_array_length(arr) : 0;
	for (size_t i = 0; i < n; i++) {
		struct json_object *v = json_object_array_get_idx(arr, i);
		if (!v || !json_object_is_type(v, json_type_string))
			return CRIO_E_CORRUPT;
		if (strv_add(ret, json_object_get_string(v)) < 0)
			return CRIO_E_NOMEM;
	}
	return 0;
}

int json_map(const struct json_object *obj, struct kvs *ret)
{
	if (!obj)
		return 0;
	json_object_object_foreach((struct json_object *)(uintptr_t)obj, key, v)
	{
		if (!v || !json_object_is_type(v, json_type_string))
			return CRIO_E_CORRUPT;
		if (kvs_set(ret, key, json_object_get_string(v)) < 0)
			return CRIO_E_NOMEM;
	}
	return 0;
}

int json_set(struct json_object *o, const char *key, struct json_object *v)
{
	if (!v)
		return CRIO_E_NOMEM;
	if (json_object_object_add(o, key, v) < 0) {
		(void)json_object_put(v);
		return CRIO_E_NOMEM;
	}
	return 0;
}

int json_push(struct json_object *arr, struct json_object *v)
{
	if (!v)
		return CRIO_E_NOMEM;
	if (json_object_array_add(arr, v) < 0) {
		(void)json_object_put(v);
		return CRIO_E_NOMEM;
	}
	return 0;
}

int json_set_str(struct json_object *o, const char *key, const char *s)
{
	return json_set(o, key, json_object_new_string(s));
}

int json_set_int(struct json_object *o, const char *key, int64_t v)
{
	return json_set(o, key, json_object_new_int64(v));
}

int json_set_bool(struct json_object *o, const char *key, bool v)
{
	return json_set(o, key, json_object_new_boolean(v));
}

int json_push_str(struct json_object *arr, const char *s)
{
	return json_push(arr, json_object_new_string(s));
}

struct json_object *json_need_obj(struct json_object *o, const char *key)
{
	struct json_object *v = json_obj(o, key);
	if (v)
		return v;
	v = json_object_new_object();
	return json_set(o, key, v) < 0 ? NULL : v;
}

struct json_object *json_need_arr(struct json_object *o, const char *key)
{
	struct json_object *v = json_arr(o, key);
	if (v)
		return v;
	v = json_object_new_array();
	return json_set(o, key, v) < 0 ? NULL : v;
}

struct json_object *json_from_strv(const struct strv *l)
{
	struct json_object *a = json_object_new_array();
	for (size_t i = 0; a && i < l->n; i++) {
		if (json_push_str(a, l->v[i]) < 0) {
			(void)json_object_put(a);
			return NULL;
		}
	}
	return a;
}

struct json_object *json_from_kvs(const struct kvs *m)
{
	struct json_object *o = json_object_new_object();
	for (size_t i = 0; o && i < m->n; i++) {
		if (json_set_str(o, m->v[i].key, m->v[i].value) < 0) {
			(void)json_object_put(o);
			return NULL;
		}
	}
	return o;
}

/* Depth is that of a parsed document: JSON_DEPTH_MAX. */
static int merge_member(struct json_object *doc, const char *key, const struct json_object *v)
{
	struct json_object *now = json_obj(doc, key);
	if (!v) {
		json_object_object_del(doc, key);
		return 0;
	}
	if (json_object_is_type(v, json_type_object)) {
		if (!now) {
			now = json_object_new_object();
			if (json_set(doc, key, now) < 0)
				return CRIO_E_NOMEM;
		}
		return json_merge(&now, v);
	}
	struct json_object *copy = NULL;
	if (json_object_deep_copy((struct json_object *)(uintptr_t)v, &copy, NULL) < 0)
		return CRIO_E_NOMEM;
	return json_set(doc, key, copy);
}

int json_merge(struct json_object **doc, const struct json_object *patch)
{
	if (!json_object_is_type(patch, json_type_object)) {
		struct json_object *copy = NULL;
		if (patch && json_object_deep_copy((struct json_object *)(uintptr_t)patch, &copy, NULL) < 0)
			return CRIO_E_NOMEM;
		(void)json_object_put(*doc);
		*doc = copy;
		return 0;
	}
	if (!json_object_is_type(*doc, json_type_object)) {
		struct json_object *empty = json_object_new_object();
		if (!empty)
			return CRIO_E_NOMEM;
		(void)json_object_put(*doc);
		*doc = empty;
	}
	json_object_object_foreach((struct json_object *)(uintptr_t)patch, key, v)
	{
		int r = merge_member(*doc, key, v);
		if (r < 0)
			return r;
	}
	return 0;
}

char *json_text(const struct json_object *o)
{
	const char *s = json_object_to_json_string_ext((struct json_object *)(uintptr_t)o,
						       JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	return s ? strdup(s) : NULL;
}
