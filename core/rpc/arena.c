/* arena.c: counted memory of one request. */
#include <stdatomic.h>
#include <stddef.h>

#include "core/rpc/codec.h"

#define CHUNK_MIN 4096u
#define CHUNK_MAX 65536u
#define ALIGN 16u

struct rpc_chunk {
	struct rpc_chunk *next;
	size_t n; /* bytes taken from the heap and the budget, this header included */
	_Alignas(ALIGN) char p[];
};

bool rpc_budget_take(struct rpc_budget *b, uint64_t n)
{
	uint64_t used = b->used;

	do {
		if (n > b->limit || used > b->limit - n)
			return false;
	} while (!atomic_compare_exchange_weak(&b->used, &used, used + n));
	return true;
}

void rpc_budget_give(struct rpc_budget *b, uint64_t n)
{
	b->used -= n;
}

void rpc_arena_init(struct rpc_arena *a, struct rpc_budget *budget, size_t limit)
{
	memset(a, 0, sizeof(*a));
	a->budget = budget;
	a->limit = limit;
}

static struct rpc_chunk *chunk_new(struct rpc_arena *a, size_t n)
{
	size_t total = sizeof(struct rpc_chunk) + n;
	struct rpc_chunk *c;

	if (total > a->limit || a->used > a->limit - total || (a->budget && !rpc_budget_take(a->budget, total))) {
		a->over = true;
		return NULL;
	}
	c = malloc(total);
	if (!c) {
		if (a->budget)
			rpc_budget_give(a->budget, total);
		return NULL;
	}
	c->n = total;
	c->next = a->chunks;
	a->chunks = c;
	a->used += total;
	return c;
}

void *rpc_arena_alloc(struct rpc_arena *a, size_t n)
{
	struct rpc_chunk *c;
	size_t want;
	void *p;

	if (n > a->limit) {
		a->over = true;
		return NULL;
	}
#ifdef __SANITIZE_ADDRESS__
	/* Each by itself, so that a read past its end is seen. */
	c = chunk_new(a, n);
	return c ? c->p : NULL;
#endif
	n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (n > a->left) {
		want = a->used < CHUNK_MIN ? CHUNK_MIN : a->used < CHUNK_MAX ? a->used : CHUNK_MAX;
		want -= sizeof(struct rpc_chunk);
		if (n > want / 4) {
			c = chunk_new(a, n); /* large ones do not end the chunk in use */
			return c ? c->p : NULL;
		}
		c = chunk_new(a, want);
		if (!c)
			return NULL;
		a->cur = c->p;
		a->left = want;
	}
	p = a->cur;
	a->cur += n;
	a->left -= n;
	return p;
}

void rpc_arena_release(struct rpc_arena *a)
{
	struct rpc_chunk *c;

	while ((c = a->chunks)) {
		a->chunks = c->next;
		if (a->budget)
			rpc_budget_give(a->budget, c->n);
		free(c);
	}
	a->cur = NULL;
	a->left = a->used = 0;
}
