/*
 * json.h: reads single values out of a JSON document without building a tree: what the runtimes and monitors say is
 * small and only a few members of it matter. Depth and length are bounded; a faulty document reads as "absent".
 */
#ifndef RUNTIME_JSON_H
#define RUNTIME_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The raw text of the value at a path such as "linux.cgroupsPath" in doc. False: absent, or the document is faulty
 * before it. */
bool json_find(const char *doc, const char *path, const char **ret, size_t *ret_n);
/* The value as a number (fractions are refused). */
bool json_find_int(const char *doc, const char *path, int64_t *ret);
bool json_find_bool(const char *doc, const char *path);
/* The value as text, escapes decoded, on the heap; NULL: absent or no string. NUL in it is refused. */
char *json_find_str(const char *doc, const char *path);
/* One whole value and nothing after it but spaces. */
bool json_is_object(const char *doc);
/* s as a JSON string with its quotes, on the heap. */
char *json_quote(const char *s);

#endif
