/*
 * toml.h: TOML documents as plain C. toml.cc is the only file that sees toml++. Input is untrusted in size and shape: files are
 * at most TOML_MAX bytes, keys have at most TOML_MAX_DOTS dots, values nest at most TOML_MAX_DEPTH deep, and strings have no
 * NUL. TOML 1.1's multi-line inline tables are accepted, as CRI-O's parser does.
 */
#ifndef CONF_TOML_H
#define CONF_TOML_H

#include <stdbool.h>

#include "core/util/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TOML_MAX (1u << 20)
#define TOML_MAX_DOTS 64
#define TOML_MAX_DEPTH 64

enum toml_type { TOML_TABLE = 1, TOML_ARRAY, TOML_STR, TOML_INT, TOML_FLOAT, TOML_BOOL, TOML_TIME };

struct toml_node {
	enum toml_type type;
	int line;                  /* in the file, from 1 */
	char *key;                 /* of a table's member; NULL in arrays and for the root */
	char *str;                 /* TOML_STR */
	int64_t i;                 /* TOML_INT; TOML_BOOL 0 or 1 */
	double f;                  /* TOML_FLOAT */
	struct toml_node *v;       /* members of a table, elements of an array */
	size_t n;
};

/* n bytes of text; `file` is for messages: "<file>:<line>: ...". CRIO_E_INVALID; CRIO_E_EXHAUSTED beyond a limit. */
int toml_parse(const char *text, size_t n, const char *file, struct toml_node **ret, crio_err *err);
void toml_free(struct toml_node *root); /* NULL is fine */
/* "a string", "a table", ... */
const char *toml_type_name(enum toml_type t);

#ifdef __cplusplus
}
#endif

/* Member of a table: the exact name, else the same name in another case. NULL: absent, or t is NULL or no table. */
const struct toml_node *toml_get(const struct toml_node *t, const char *key);
/* Reads and parses a file. NOT_FOUND when it is absent. */
int toml_read(const char *path, struct toml_node **ret, crio_err *err);

static inline void toml_freep(struct toml_node **t) { toml_free(*t); }
#define cleanup_toml CLEANUP(toml_freep)

#endif
