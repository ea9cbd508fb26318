/* seen.h: sets of numbers and of paths (as keyed 64-bit hashes), to know what one layer brought. 16 bytes an entry. */
#ifndef UNPACK_SEEN_H
#define UNPACK_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/util/err.h"

struct seen {
	uint64_t *slots; /* 0: free */
	size_t n, cap;
	uint64_t key[2]; /* random, so that nobody can choose names that collide */
	bool has_zero;
};

void seen_init(struct seen *s);
void seen_release(struct seen *s);
/* Adds. 1: was not there; 0: was; CRIO_E_NOMEM. */
int seen_add(struct seen *s, uint64_t v);
bool seen_has(const struct seen *s, uint64_t v);
/* SipHash-2-4 of the bytes, with `salt` to keep kinds of entries apart. */
uint64_t seen_hash(const struct seen *s, const void *p, size_t n, uint64_t salt);
/* The numbers as uint32_t in ascending order, the caller's to free; *ret is NULL for none. */
int seen_sorted(const struct seen *s, uint32_t **ret, size_t *ret_n);

#endif
