#include "core/util/str.h"

#include <stdarg.h>
#include <sys/random.h>

void buf_init(struct buf *b, size_t limit)
{
	memset(b, 0, sizeof(*b));
	b->limit = limit;
}

void buf_release(struct buf *b)
{
	free(b->p);
	size_t limit = b->limit;
	buf_init(b, limit);
}

static bool reserve(struct buf *b, size_t more)
{
	if (b->oom)
		return false;
	if (b->cap - b->n > more) /* strictly: one for the NUL */
		return true;
	if (more > SIZE_MAX / 4 || b->n > SIZE_MAX / 4) {
		b->oom = true;
		return false;
	}
	size_t cap = b->cap ? b->cap : 64;
	while (cap - b->n <= more)
		cap *= 2;
	char *p = realloc(b->p, cap);
	if (!p) {
		b->oom = true;
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	if (b->limit && n > b->limit - (b->n < b->limit ? b->n : b->limit)) {
		b->over = true;
		n = b->n < b->limit ? b->limit - b->n : 0;
	}
	if (!reserve(b, n))
		return;
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	char small[256];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->oom = true;
		return;
	}
	if ((size_t)n < sizeof(small)) {
		buf_add(b, small, (size_t)n);
		return;
	}
	char *big = NULL;
	va_start(ap, fmt);
	n = vasprintf(&big, fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->oom = true;
		return;
	}
	buf_add(b, big, (size_t)n);
	free(big);
}

void buf_clear(struct buf *b)
{
	b->n = 0;
	b->over = false;
	if (b->p)
		b->p[0] = '\0';
}

char *buf_take(struct buf *b)
{
	if (!b->p && !b->oom)
		buf_add(b, "", 0);
	if (b->oom) {
		buf_release(b);
		return NULL;
	}
	char *p = b->p;
	size_t limit = b->limit;
	buf_init(b, limit);
	return p;
}

int strv_take(struct strv *l, char *s)
{
	if (!s)
		return CRIO_E_NOMEM;
	if (l->n + 2 > l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 8;
		char **v = reallocarray(l->v, cap, sizeof(*v));
		if (!v) {
			free(s);
			return CRIO_E_NOMEM;
		}
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = s;
	l->v[l->n] = NULL;
	return 0;
}

int strv_add(struct strv *l, const char *s)
{
	return strv_take(l, strdup(s));
}

int strv_addn(struct strv *l, const char *s, size_t n)
{
	return strv_take(l, strndup(s, n));
}

int strv_addf(struct strv *l, const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return strv_take(l, n < 0 ? NULL : s);
}

int strv_copy(struct strv *dst, const struct strv *src)
{
	struct strv t = STRV_INIT;
	for (size_t i = 0; i < src->n; i++) {
		if (strv_add(&t, src->v[i]) < 0) {
			strv_release(&t);
			return CRIO_E_NOMEM;
		}
	}
	strv_release(dst);
	*dst = t;
	return 0;
}

bool strv_has(const struct strv *l, const char *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->v[i], s))
			return true;
	return false;
}

void strv_clear(struct strv *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	l->n = 0;
	if (l->v)
		l->v[0] = NULL;
}

void strv_release(struct strv *l)
{
	strv_clear(l);
	free(l->v);
	memset(l, 0, sizeof(*l));
}

int kvs_set(struct kvs *m, const char *key, const char *value)
{
	char *v = strdup(value);
	if (!v)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < m->n; i++) {
		if (!strcmp(m->v[i].key, key)) {
			free(m->v[i].value);
			m->v[i].value = v;
			return 0;
		}
	}
	char *k = strdup(key);
	if (k && m->n == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 8;
		struct kv *nv = reallocarray(m->v, cap, sizeof(*nv));
		if (nv) {
			m->v = nv;
			m->cap = cap;
		}
	}
	if (!k || m->n == m->cap) {
		free(k);
		free(v);
		return CRIO_E_NOMEM;
	}
	m->v[m->n].key = k;
	m->v[m->n].value = v;
	m->n++;
	return 0;
}

const char *kvs_get(const struct kvs *m, const char *key)
{
	for (size_t i = 0; i < m->n; i++)
		if (!strcmp(m->v[i].key, key))
			return m->v[i].value;
	return NULL;
}

void kvs_del(struct kvs *m, const char *key)
{
	for (size_t i = 0; i < m->n; i++) {
		if (strcmp(m->v[i].key, key))
			continue;
		free(m->v[i].key);
		free(m->v[i].value);
		memmove(&m->v[i], &m->v[i + 1], (m->n - i - 1) * sizeof(m->v[0]));
		m->n--;
		return;
	}
}

int kvs_copy(struct kvs *dst, const struct kvs *src)
{
	struct kvs t = KVS_INIT;
	for (size_t i = 0; i < src->n; i++) {
		if (kvs_set(&t, src->v[i].key, src->v[i].value) < 0) {
			kvs_release(&t);
			return CRIO_E_NOMEM;
		}
	}
	kvs_release(dst);
	*dst = t;
	return 0;
}

static int kv_cmp(const void *a, const void *b)
{
	return strcmp(((const struct kv *)a)->key, ((const struct kv *)b)->key);
}

void kvs_sort(struct kvs *m)
{
	if (m->n > 1)
		qsort(m->v, m->n, sizeof(m->v[0]), kv_cmp);
}

void kvs_release(struct kvs *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->v[i].key);
		free(m->v[i].value);
	}
	free(m->v);
	memset(m, 0, sizeof(*m));
}

bool str_starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);
	return n >= m && !strcmp(s + n - m, suffix);
}

int str_split(const char *s, char sep, struct strv *ret)
{
	for (;;) {
		const char *e = strchrnul(s, sep);
		if (strv_addn(ret, s, (size_t)(e - s)) < 0)
			return CRIO_E_NOMEM;
		if (!*e)
			return 0;
		s = e + 1;
	}
}

bool str_to_u64(const char *s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		uint64_t d = (uint64_t)(*s - '0');
		if (v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	if (v > max)
		return false;
	*ret = v;
	return true;
}

bool str_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	bool neg = *s == '-';
	uint64_t u;
	if (!str_to_u64(s + neg, (uint64_t)INT64_MAX + neg, &u))
		return false;
	int64_t v = neg ? (u > (uint64_t)INT64_MAX ? INT64_MIN : -(int64_t)u) : (int64_t)u;
	if (v < min || v > max)
		return false;
	*ret = v;
	return true;
}

bool str_is_printable(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

/* One sequence: its length, or 0 when it is not valid (overlong, surrogate, beyond U+10FFFF, cut). */
static size_t utf8_len(const unsigned char *p, size_t n)
{
	if (p[0] < 0x80)
		return p[0] ? 1 : 0;
	size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

bool str_is_utf8(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	while (n) {
		size_t len = utf8_len(p, n);
		if (!len)
			return false;
		p += len;
		n -= len;
	}
	return true;
}

bool str_is_hex(const char *s, size_t n)
{
	size_t i = 0;
	for (; s[i]; i++) {
		if (i >= n)
			return false;
		if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	}
	return i == n;
}

void hex_encode(const void *p, size_t n, char *ret)
{
	static const char d[] = "0123456789abcdef";
	const unsigned char *b = p;
	for (size_t i = 0; i < n; i++) {
		ret[2 * i] = d[b[i] >> 4];
		ret[2 * i + 1] = d[b[i] & 15];
	}
	ret[2 * n] = '\0';
}

static bool random_bytes(void *p, size_t n)
{
	return getrandom(p, n, 0) == (ssize_t)n; /* whole for n <= 256 once the pool is ready */
}

bool id_new(char ret[65])
{
	unsigned char b[32];
	if (!random_bytes(b, sizeof(b)))
		return false;
	hex_encode(b, sizeof(b), ret);
	return true;
}

bool uuid_new(char ret[37])
{
	unsigned char b[16];
	if (!random_bytes(b, sizeof(b)))
		return false;
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	char h[33];
	hex_encode(b, sizeof(b), h);
	(void)snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", h, h + 8, h + 12, h + 16, h + 20);
	return true;
}
