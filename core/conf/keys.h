/*
 * keys.h: the table of all keys (keys.def) and what can be done with a key's value without knowing which key it is. Decoding,
 * defaults, flags, the environment, the template, reload and the manual page all come from this one table.
 */
#ifndef CONF_KEYS_H
#define CONF_KEYS_H

#include "core/conf/conf.h"
#include "core/conf/toml.h"

enum key_type {
	KEY_STR = 1,
	KEY_BOOL,
	KEY_INT,   /* int64_t */
	KEY_STRS,  /* struct strv */
	KEY_DUR,   /* int64_t nanoseconds; written "1m30s", or an integer of nanoseconds */
	KEY_ENUM,  /* int: index into names */
	KEY_MAP    /* struct kvs; TOML only */
};

enum key_flags {
	KEY_RELOAD = 1 << 0,     /* changes while running */
	KEY_DEPRECATED = 1 << 1,
	KEY_TODO = 1 << 2,       /* read and checked, but nothing acts on it yet: `crio config --unimplemented` */
	KEY_OURS = 1 << 3,       /* not CRI-O's */
	KEY_ABS = 1 << 4,        /* every non-empty value is an absolute path */
	KEY_SET = 1 << 5,        /* must not be empty */
	KEY_HIDDEN = 1 << 6,     /* flag left out of --help; key left out of the template unless set */
	KEY_FLAG_ONLY = 1 << 7,  /* no key in crio.conf */
	KEY_NO_FLAG = 1 << 8,    /* no flag and no environment variable */
	KEY_NO_ENV = 1 << 9,
	KEY_MERGE = 1 << 10      /* list: files add to it, the last of equal entries is kept */
};

struct conf_key {
	const char *table;       /* "crio.runtime" */
	const char *name;        /* "log_level" */
	enum key_type type;
	unsigned flags;
	size_t offset;           /* in struct conf, conf_runtime or conf_workload */
	const char *dflt;        /* as text; lists joined with commas; NULL: unset, false, 0 */
	const char *const *names;/* KEY_ENUM: the values, NULL-terminated. KEY_STR and KEY_STRS: the only ones allowed */
	int64_t min, max;        /* KEY_INT and KEY_DUR; both 0: none */
	const char *flag;        /* long flag where it is not the name in kebab-case */
	char letter;             /* short flag */
	const char *env, *env2;  /* where it is not CONTAINER_<NAME> */
	const char *help;        /* sentences; lines separated by \n */
};

/* struct conf's keys, in the order of the template; those of a handler; those of a workload. */
extern const struct conf_key conf_keys[];
extern const size_t conf_keys_n;
extern const struct conf_key runtime_keys[];
extern const size_t runtime_keys_n;
extern const struct conf_key workload_keys[];
extern const size_t workload_keys_n;

/* Titles of the tables, in order. */
struct conf_table {
	const char *name, *help;
};
extern const struct conf_table conf_tables[];
extern const size_t conf_tables_n;

/* "storage-opt"; false when the key has no flag. ret has 96 bytes. */
bool key_flag(const struct conf_key *k, char ret[96]);
/* "CONTAINER_STORAGE_OPT"; false when it has none. */
bool key_env(const struct conf_key *k, char ret[96]);
/* NULL: no such flag. */
const struct conf_key *key_by_flag(const char *flag);
/* Finds "crio.runtime.log_level". */
const struct conf_key *key_by_path(const char *path);

/* Value operations; base is the struct that offset counts from. Every field starts zeroed. Errors say what was expected and what
 * was found, without the place: the caller wraps. */
int key_set_default(const struct conf_key *k, void *base, crio_err *err);
int key_set_text(const struct conf_key *k, void *base, const char *text, crio_err *err); /* a flag's or variable's; lists by comma */
int key_set_list(const struct conf_key *k, void *base, const char *const *v, size_t n, crio_err *err); /* KEY_STRS */
/* On failure *ret_line is the line of the offending element. */
int key_set_node(const struct conf_key *k, void *base, const struct toml_node *node, int *ret_line, crio_err *err);
int key_copy(const struct conf_key *k, void *dst, const void *src, crio_err *err);
bool key_equal(const struct conf_key *k, const void *a, const void *b);
void key_release(const struct conf_key *k, void *base);
/* `name = value` as TOML, each line after `prefix`, with a newline at the end. */
void key_write(const struct conf_key *k, const void *base, const char *prefix, struct buf *out);
/* The value for people: strings as they are, lists joined with ", ". */
void key_text(const struct conf_key *k, const void *base, struct buf *out);
/* "string", "list of strings", ... */
const char *key_type_text(const struct conf_key *k);

/* All keys of a table at once. */
int keys_set_defaults(const struct conf_key *k, size_t n, void *base, crio_err *err);
int keys_copy(const struct conf_key *k, size_t n, void *dst, const void *src, crio_err *err);
void keys_release(const struct conf_key *k, size_t n, void *base);
bool keys_equal(const struct conf_key *k, size_t n, const void *a, const void *b);

/* A TOML basic string with its quotes. */
void toml_quote(const char *s, struct buf *out);

/* Go's duration text ("1h2m3.5s", "300ms", "-1s", "0") in nanoseconds. */
bool duration_parse(const char *s, int64_t *ret_ns);
/* Go's shortest form ("1m30s", "0s"). */
#define DURATION_LEN 96
void duration_format(int64_t ns, char ret[DURATION_LEN]);
/* go-units RAMInBytes: "500KiB", "12m", "1.5g", "4096" (binary multiples). */
bool size_parse(const char *s, int64_t *ret_bytes);
/* Kernel CPU list "0-3,7"; checks syntax and order only. */
bool cpulist_valid(const char *s);

#endif
