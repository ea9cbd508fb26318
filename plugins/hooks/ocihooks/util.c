/* Bounded JSON. */
#include <ctype.h>
#include <strings.h>

#include "plugins/hooks/ocihooks/ocihooks.h"

int oh_nomem(struct oh *o, crio_err *err)
{
	return o->host->fail(err, CRIO_E_NOMEM, "no memory");
}

int oh_parse(struct oh *o, const char *p, size_t n, struct json_object **ret, crio_err *err)
{
	struct json_tokener *tok;
	struct json_object *v;
	enum json_tokener_error e;
	size_t at;

	while (n > 0 && isspace((unsigned char)p[n - 1]))
		n--;
	if (n == 0)
		return o->host->fail(err, CRIO_E_CORRUPT, "empty instead of a JSON object");
	if (n > OH_DOC_MAX)
		return o->host->fail(err, CRIO_E_EXHAUSTED, "longer than %u bytes", OH_DOC_MAX);
	tok = json_tokener_new_ex(OH_DEPTH_MAX);
	if (!tok)
		return oh_nomem(o, err);
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	v = json_tokener_parse_ex(tok, p, (int)n);
	e = json_tokener_get_error(tok);
	at = json_tokener_get_parse_end(tok);
	json_tokener_free(tok);
	if (e != json_tokener_success || at != n) {
		oh_json_putp(&v);
		return o->host->fail(err, CRIO_E_CORRUPT, "invalid JSON at byte %zu: %s", at,
				     e == json_tokener_success ? "text after the object" : json_tokener_error_desc(e));
	}
	if (!json_object_is_type(v, json_type_object)) {
		oh_json_putp(&v);
		return o->host->fail(err, CRIO_E_CORRUPT, "JSON, but not an object");
	}
	*ret = v;
	return 0;
}

struct json_object *oh_get(struct json_object *o, const char *key)
{
	struct json_object *found = NULL;

	if (!o)
		return NULL;
	json_object_object_foreach(o, k, v)
	{
		if (!strcasecmp(k, key))
			found = v;
	}
	return found;
}

bool oh_set_member(struct json_object *o, const char *key, struct json_object *v)
{
	if (!o || !v || json_object_object_add(o, key, v) < 0) {
		oh_json_putp(&v);
		return false;
	}
	return true;
}

bool oh_push(struct json_object *arr, struct json_object *v)
{
	if (!arr || !v || json_object_array_add(arr, v) < 0) {
		oh_json_putp(&v);
		return false;
	}
	return true;
}

const char *oh_text(struct json_object *o)
{
	return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

static bool diff_member(struct json_object *patch, const char *key, struct json_object *was, struct json_object *is)
{
	struct json_object *d = NULL;

	if (json_object_equal(was, is))
		return true;
	if (!json_object_is_type(was, json_type_object) || !json_object_is_type(is, json_type_object))
		return json_object_deep_copy(is, &d, NULL) == 0 && oh_set_member(patch, key, d);
	d = oh_diff(was, is);
	if (d && json_object_object_length(d) == 0) {
		oh_json_putp(&d);
		return true;
	}
	return oh_set_member(patch, key, d);
}

struct json_object *oh_diff(struct json_object *from, struct json_object *to)
{
	struct json_object *patch = json_object_new_object(), *other;
	bool ok = patch != NULL;

	/* A null in a document is taken for an absent member: a patch cannot say anything else. */
	json_object_object_foreach(from, k, v)
	{
		if (ok && v && (!json_object_object_get_ex(to, k, &other) || !other))
			ok = json_object_object_add(patch, k, NULL) == 0;
	}
	json_object_object_foreach(to, key, is)
	{
		if (ok && is)
			ok = diff_member(patch, key, json_object_object_get(from, key), is);
	}
	if (!ok)
		oh_json_putp(&patch);
	return ok ? patch : NULL;
}
