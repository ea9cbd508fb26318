#include "plugins/runtime/kata/pb.h"

#include <stdlib.h>
#include <string.h>

void pb_release(struct pb *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}

void pb_raw(struct pb *b, const void *p, size_t n)
{
	if (b->oom)
		return;
	if (b->n + n > b->cap) {
		size_t cap = (b->n + n) * 2 + 64;
		uint8_t *q = realloc(b->p, cap);

		if (!q) {
			b->oom = true;
			return;
		}
		b->p = q;
		b->cap = cap;
	}
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

static void varint(struct pb *b, uint64_t v)
{
	uint8_t out[10];
	size_t n = 0;

	do {
		out[n] = (uint8_t)(v & 127);
		v >>= 7;
		out[n++] |= v ? 128 : 0;
	} while (v);
	pb_raw(b, out, n);
}

static void lengthed(struct pb *b, unsigned field, const void *p, size_t n)
{
	varint(b, (uint64_t)field << 3 | 2);
	varint(b, n);
	pb_raw(b, p, n);
}

void pb_bytes(struct pb *b, unsigned field, const void *p, size_t n)
{
	if (n)
		lengthed(b, field, p, n);
}

void pb_str(struct pb *b, unsigned field, const char *s)
{
	if (s)
		pb_bytes(b, field, s, strlen(s));
}

void pb_uint(struct pb *b, unsigned field, uint64_t v)
{
	if (!v)
		return;
	varint(b, (uint64_t)field << 3);
	varint(b, v);
}

void pb_msg(struct pb *b, unsigned field, struct pb *m)
{
	b->oom |= m->oom;
	lengthed(b, field, m->p, m->n);
	pb_release(m);
}

static bool get_varint(const uint8_t **p, size_t *n, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70 && *n; shift += 7) {
		uint8_t c = **p;

		(*p)++;
		(*n)--;
		if (shift < 64)
			v |= (uint64_t)(c & 127) << shift;
		if (!(c & 128)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static uint64_t little(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = n; i-- > 0;)
		v = v << 8 | p[i];
	return v;
}

bool pb_next(const uint8_t **p, size_t *n, struct pb_field *f, bool *bad)
{
	uint64_t tag, len;

	*bad = false;
	if (!*n)
		return false;
	*bad = true;
	memset(f, 0, sizeof(*f));
	if (!get_varint(p, n, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
		return false;
	f->nr = (unsigned)(tag >> 3);
	f->wire = tag & 7;
	switch (f->wire) {
	case 0:
		if (!get_varint(p, n, &f->v))
			return false;
		break;
	case 1:
	case 5:
		len = f->wire == 1 ? 8 : 4;
		if (*n < len)
			return false;
		f->v = little(*p, len);
		*p += len;
		*n -= len;
		break;
	case 2:
		if (!get_varint(p, n, &len) || len > *n)
			return false;
		f->p = *p;
		f->n = len;
		*p += len;
		*n -= len;
		break;
	default:
		return false;
	}
	*bad = false;
	return true;
}

uint64_t pb_get_uint(const uint8_t *p, size_t n, unsigned field)
{
	struct pb_field f;
	uint64_t v = 0;
	bool bad;

	while (pb_next(&p, &n, &f, &bad)) {
		if (f.nr == field && f.wire == 0)
			v = f.v;
	}
	return v;
}

bool pb_get_bytes(const uint8_t *p, size_t n, unsigned field, const uint8_t **ret, size_t *ret_n)
{
	struct pb_field f;
	bool bad, found = false;

	while (pb_next(&p, &n, &f, &bad)) {
		if (f.nr == field && f.wire == 2) {
			*ret = f.p;
			*ret_n = f.n;
			found = true;
		}
	}
	return found;
}

char *pb_get_str(const uint8_t *p, size_t n, unsigned field)
{
	const uint8_t *s = (const uint8_t *)"";
	size_t len = 0;

	(void)pb_get_bytes(p, n, field, &s, &len);
	return strndup((const char *)s, len);
}

bool pb_is_sound(const uint8_t *p, size_t n)
{
	struct pb_field f;
	bool bad;

	while (pb_next(&p, &n, &f, &bad))
		;
	return !bad;
}
