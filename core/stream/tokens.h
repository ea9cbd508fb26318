/*
 * tokens.h: what a URL stands for. A token is put by an RPC, is good for one request within a minute, and cannot be guessed.
 * Thread-safe.
 */
#ifndef STREAM_TOKENS_H
#define STREAM_TOKENS_H

#include <stdint.h>

#include "core/util/err.h"

#define TOKEN_SIZE 9 /* 8 characters of 6 random bits each, and a NUL: as many as CRI-O's */
#define TOKENS_MAX 1000
#define TOKENS_BYTES_MAX (64u << 20) /* of what all of them stand for */
#define TOKEN_LIFE_NS (60 * 1000000000LL)

struct tokens;
/* free_fn frees what a token stands for, when it expires. NULL without memory. */
struct tokens *tokens_new(void (*free_fn)(void *what));
void tokens_free(struct tokens *t);
/* A new token for `what`, which weighs n bytes and belongs to the table on success. EXHAUSTED: there are too many, or they are too
 * heavy, and none of them has expired. now_ns: monotonic. */
int tokens_put(struct tokens *t, void *what, size_t n, int64_t now_ns, char ret[TOKEN_SIZE], crio_err *err);
/* What it stands for, the caller's from then on; the token is used up. NULL: unknown, used or expired. */
void *tokens_take(struct tokens *t, const char *token, int64_t now_ns);
size_t tokens_count(struct tokens *t);

#endif
