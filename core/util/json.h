/*
 * json.h: json-c with limits. Documents from outside (registries, CNI plugins, images) are parsed only through
 * json_parse(), which bounds bytes and depth and refuses what follows the document.
 */
#ifndef UTIL_JSON_H
#define UTIL_JSON_H

#include <json-c/json.h>
#include <stdbool.h>

#include "core/util/str.h"

static inline void cleanup_jsonp(struct json_object **o)
{
	if (*o)
		(void)json_object_put(*o);
}
#define cleanup_json CLEANUP(cleanup_jsonp)

#define JSON_DEPTH_MAX 32

/* n bytes of UTF-8. The caller puts the object. CRIO_E_CORRUPT with the place of the fault. */
int json_parse(const char *p, size_t n, struct json_object **ret, crio_err *err);
int json_read_file(int dirfd, const char *path, size_t limit, struct json_object **ret, crio_err *err);

/* Members of an object: NULL, "", dflt when absent or of another type (these are for documents already checked). */
struct json_object *json_get(const struct json_object *o, const char *key);
const char *json_str(const struct json_object *o, const char *key);            /* "" when absent */
int64_t json_int(const struct json_object *o, const char *key, int64_t dflt);
bool json_flag(const struct json_object *o, const char *key, bool dflt);
struct json_object *json_obj(const struct json_object *o, const char *key);    /* object or NULL */
struct json_object *json_arr(const struct json_object *o, const char *key);    /* array or NULL */
/* Walks "a.b.c". */
struct json_object *json_path(const struct json_object *o, const char *dotted);
int json_strs(const struct json_object *arr, struct strv *ret);                /* an array of strings; others: CORRUPT */
int json_map(const struct json_object *obj, struct kvs *ret);                  /* an object of strings */

/* Builders: take ownership of v; a NULL v (no memory) or a failed insert is CRIO_E_NOMEM and v is put. */
int json_set(struct json_object *o, const char *key, struct json_object *v);
int json_push(struct json_object *arr, struct json_object *v);
int json_set_str(struct json_object *o, const char *key, const char *s);
int json_set_int(struct json_object *o, const char *key, int64_t v);
int json_set_bool(struct json_object *o, const char *key, bool v);
int json_push_str(struct json_object *arr, const char *s);
/* The member, made as an empty object/array when absent; NULL without memory. Borrowed. */
struct json_object *json_need_obj(struct json_object *o, const char *key);
struct json_object *json_need_arr(struct json_object *o, const char *key);
struct json_object *json_from_strv(const struct strv *l);
struct json_object *json_from_kvs(const struct kvs *m);
/* RFC 7396: what patch has is put into *doc, a null removes; *doc is replaced when patch is no object. Values are copied, so both
 * stay the caller's. CRIO_E_NOMEM leaves *doc half changed. */
int json_merge(struct json_object **doc, const struct json_object *patch);
/* Compact text, the caller's to free; NULL without memory. Slashes are not escaped. */
char *json_text(const struct json_object *o);

#endif
