/*
 * str.h: growable text and byte buffers, and string lists. All allocation failures stick in the buffer and are
 * reported once, by buf_oom() or buf_take(): a builder need not check every append.
 */
#ifndef UTIL_STR_H
#define UTIL_STR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/err.h"

struct buf {
	char *p;       /* NUL after the last byte once anything was added; NULL before */
	size_t n;      /* bytes used, without that NUL */
	size_t cap;
	size_t limit;  /* 0: none. More sets `over` and drops the rest */
	bool oom;
	bool over;
};

void buf_init(struct buf *b, size_t limit);
void buf_release(struct buf *b);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_clear(struct buf *b); /* empty, memory kept */
static inline bool buf_bad(const struct buf *b) { return b->oom || b->over; }
/* The text, the caller's to free; "" for an empty buffer; NULL when memory ran out. The buffer is empty afterwards. */
char *buf_take(struct buf *b);
#define BUF_INIT \
	{        \
		NULL, 0, 0, 0, false, false \
	}
#define cleanup_buf CLEANUP(buf_release)

/* A list of strings it owns. strv_add returns CRIO_E_NOMEM. v has a NULL after the last (argv shape), or is NULL. */
struct strv {
	char **v;
	size_t n;
	size_t cap;
};
#define STRV_INIT \
	{         \
		NULL, 0, 0 \
	}
int strv_add(struct strv *l, const char *s);
int strv_addn(struct strv *l, const char *s, size_t n);
int strv_addf(struct strv *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int strv_take(struct strv *l, char *s); /* takes s; NULL is NOMEM; frees s on failure */
int strv_copy(struct strv *dst, const struct strv *src); /* dst is replaced on success */
bool strv_has(const struct strv *l, const char *s);
void strv_clear(struct strv *l);
void strv_release(struct strv *l);
#define cleanup_strv CLEANUP(strv_release)
static inline struct crio_strs strv_view(const struct strv *l)
{
	struct crio_strs s = { (const char *const *)l->v, l->n };
	return s;
}

/* A string map, insertion order kept, linear search: for labels and annotations. A later equal key replaces. */
struct kvs {
	struct kv {
		char *key, *value;
	} *v;
	size_t n, cap;
};
#define KVS_INIT \
	{        \
		NULL, 0, 0 \
	}
int kvs_set(struct kvs *m, const char *key, const char *value);
const char *kvs_get(const struct kvs *m, const char *key); /* NULL: absent */
void kvs_del(struct kvs *m, const char *key);
int kvs_copy(struct kvs *dst, const struct kvs *src);
void kvs_sort(struct kvs *m); /* by key */
void kvs_release(struct kvs *m);
#define cleanup_kvs CLEANUP(kvs_release)

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
static inline bool str_eq(const char *a, const char *b) { return !strcmp(a, b); }
/* True when s is non-NULL and not "". */
static inline bool str_set(const char *s) { return s && *s; }
/* Splits at each `sep`, empty fields kept. */
int str_split(const char *s, char sep, struct strv *ret);
/* A whole decimal number in range, nothing before or after. False otherwise; *ret untouched. */
bool str_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret);
bool str_to_u64(const char *s, uint64_t max, uint64_t *ret);
/* No byte below 0x20, no 0x7f. */
bool str_is_printable(const char *s);
/* Valid UTF-8 of n bytes, without NUL. */
bool str_is_utf8(const char *s, size_t n);
/* Exactly n lower-case hex digits. */
bool str_is_hex(const char *s, size_t n);
/* ret gets 2n digits and a NUL. */
void hex_encode(const void *p, size_t n, char *ret);
/* 64 random lower-case hex digits and a NUL: ids of pods, containers and layers. False: no entropy source. */
bool id_new(char ret[65]);
/* RFC 4122 version 4 text, 36 characters and a NUL. */
bool uuid_new(char ret[37]);

#endif
