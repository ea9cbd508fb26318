#include "core/unpack/seen.h"

#include <string.h>
#include <sys/random.h>

void seen_init(struct seen *s)
{
	memset(s, 0, sizeof(*s));
	/* Without entropy (early boot) the set still works, only without its guard against chosen names. */
	if (getrandom(s->key, sizeof(s->key), GRND_NONBLOCK) != (ssize_t)sizeof(s->key))
		s->key[0] = (uintptr_t)s;
}

void seen_release(struct seen *s)
{
	free(s->slots);
	memset(s, 0, sizeof(*s));
}

static size_t slot_of(const struct seen *s, uint64_t v)
{
	size_t i = (size_t)(((v ^ s->key[0]) * ((s->key[1] << 1) | 1)) >> 20) & (s->cap - 1);

	while (s->slots[i] && s->slots[i] != v)
		i = (i + 1) & (s->cap - 1);
	return i;
}

static int grow(struct seen *s)
{
	struct seen big = *s;

	big.cap = s->cap ? 2 * s->cap : 256;
	big.slots = calloc(big.cap, sizeof(*big.slots));
	if (!big.slots)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < s->cap; i++)
		if (s->slots[i])
			big.slots[slot_of(&big, s->slots[i])] = s->slots[i];
	free(s->slots);
	*s = big;
	return 0;
}

int seen_add(struct seen *s, uint64_t v)
{
	size_t i;

	if (!v) {
		bool had = s->has_zero;

		s->has_zero = true;
		return !had;
	}
	if (2 * (s->n + 1) > s->cap && grow(s))
		return CRIO_E_NOMEM;
	i = slot_of(s, v);
	if (s->slots[i])
		return 0;
	s->slots[i] = v;
	s->n++;
	return 1;
}

bool seen_has(const struct seen *s, uint64_t v)
{
	if (!v)
		return s->has_zero;
	return s->cap && s->slots[slot_of(s, v)];
}

static uint64_t rotl(uint64_t x, int b)
{
	return x << b | x >> (64 - b);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t m)
{
	v[3] ^= m;
	sip_round(v);
	sip_round(v);
	v[0] ^= m;
}

uint64_t seen_hash(const struct seen *s, const void *p, size_t n, uint64_t salt)
{
	uint64_t v[4] = { s->key[0] ^ 0x736f6d6570736575ull, s->key[1] ^ 0x646f72616e646f6dull,
			  s->key[0] ^ 0x6c7967656e657261ull, s->key[1] ^ 0x7465646279746573ull };
	const unsigned char *b = p;
	uint64_t m = (uint64_t)n << 56;

	sip_word(v, salt);
	for (; n >= 8; n -= 8, b += 8) {
		uint64_t w;

		memcpy(&w, b, 8);
		sip_word(v, w);
	}
	for (size_t i = 0; i < n; i++)
		m |= (uint64_t)b[i] << (8 * i);
	sip_word(v, m);
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

int seen_sorted(const struct seen *s, uint32_t **ret, size_t *ret_n)
{
	size_t total = s->n + s->has_zero, k = 0;
	uint32_t *v;

	if (!total) {
		*ret = NULL;
		*ret_n = 0;
		return 0;
	}
	v = calloc(total, sizeof(*v));
	if (!v)
		return CRIO_E_NOMEM;
	if (s->has_zero)
		v[k++] = 0;
	for (size_t i = 0; i < s->cap; i++)
		if (s->slots[i])
			v[k++] = (uint32_t)s->slots[i];
	qsort(v, k, sizeof(*v), by_value);
	*ret = v;
	*ret_n = k;
	return 0;
}
