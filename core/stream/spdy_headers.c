/* spdy_headers.c: header blocks: pairs with lengths, deflated over one stream for each direction of a session. */
#include <zlib.h>

#include "core/stream/spdy.h"

/* SPDY/3's dictionary: each word with its length in front, then a run of text. */
static const char *const words[] = {
	"options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language",
	"accept-ranges", "age", "allow", "authorization", "cache-control", "connection", "content-base", "content-encoding",
	"content-language", "content-length", "content-location", "content-md5", "content-range", "content-type", "date", "etag",
	"expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
	"last-modified", "location", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer",
	"retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning",
	"www-authenticate", "method", "get", "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie",
	"keep-alive", "origin"
};
static const char run[] =
	"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
	"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
	"404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
	"Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
	"chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
	"publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

struct spdy_coder {
	z_stream in, out;
	bool has_in, has_out;
};

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void spdy_dictionary(uint8_t ret[SPDY_DICTIONARY_N])
{
	uint8_t *p = ret;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t n = strlen(words[i]);
		put32(p, (uint32_t)n);
		memcpy(p + 4, words[i], n);
		p += 4 + n;
	}
	memcpy(p, run, sizeof(run) - 1);
}

struct spdy_coder *spdy_coder_new(void)
{
	return calloc(1, sizeof(struct spdy_coder));
}

void spdy_coder_free(struct spdy_coder *c)
{
	if (!c)
		return;
	if (c->has_in)
		(void)inflateEnd(&c->in);
	if (c->has_out)
		(void)deflateEnd(&c->out);
	free(c);
}

/* ---- reading ---- */

/* Inflates the whole block; *ret_n bytes. The stream goes on with the next block, so a fault in it is final. */
static int unpack(struct spdy_coder *c, const uint8_t *p, size_t n, uint8_t *out, size_t *ret_n, crio_err *err)
{
	uint8_t dict[SPDY_DICTIONARY_N];
	if (!c->has_in) {
		if (inflateInit(&c->in) != Z_OK)
			return err_nomem(err);
		c->has_in = true;
	}
	z_stream *z = &c->in;
	z->next_in = (Bytef *)(uintptr_t)p;
	z->avail_in = (uInt)n;
	z->next_out = out;
	z->avail_out = SPDY_HEADERS_MAX;
	for (;;) {
		int r = inflate(z, Z_SYNC_FLUSH);
		if (r == Z_NEED_DICT) {
			spdy_dictionary(dict);
			if (inflateSetDictionary(z, dict, sizeof(dict)) != Z_OK)
				return err_set(err, CRIO_E_INVALID, "SPDY headers: compressed with another dictionary than SPDY/3's");
			continue;
		}
		if (r == Z_MEM_ERROR)
			return err_nomem(err);
		if (z->avail_out == 0)
			return err_set(err, CRIO_E_INVALID, "SPDY headers: a block of more than %u bytes", SPDY_HEADERS_MAX);
		if (r != Z_OK && r != Z_BUF_ERROR)
			return err_set(err, CRIO_E_INVALID, "SPDY headers: bad compressed data: %s", z->msg ? z->msg : "it ends");
		if (z->avail_in == 0)
			break;
	}
	*ret_n = SPDY_HEADERS_MAX - z->avail_out;
	return 0;
}

struct cursor {
	const uint8_t *p;
	size_t n;
};

/* A length and as many bytes, as text; the caller's. */
static int take_text(struct cursor *at, bool name, char **ret, crio_err *err)
{
	const char *what = name ? "name" : "value";
	if (at->n < 4)
		return err_set(err, CRIO_E_INVALID, "SPDY headers: the block ends before a %s", what);
	uint32_t n = get32(at->p);
	at->p += 4;
	at->n -= 4;
	if (n > at->n)
		return err_set(err, CRIO_E_INVALID, "SPDY headers: a %s of %u bytes, with %zu left in the block", what, n, at->n);
	if (name && memchr(at->p, '\0', n))
		return err_set(err, CRIO_E_INVALID, "SPDY headers: a NUL in a name");
	*ret = strndup((const char *)at->p, n);
	at->p += n;
	at->n -= n;
	return *ret ? 0 : err_nomem(err);
}

static int take_pair(struct cursor *at, struct kvs *kv, crio_err *err)
{
	cleanup_free char *name = NULL, *value = NULL;
	int r = take_text(at, true, &name, err);
	if (r == 0)
		r = take_text(at, false, &value, err);
	if (r < 0)
		return r;
	if (!*name)
		return err_set(err, CRIO_E_INVALID, "SPDY headers: a name that is empty");
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 127 || (*p >= 'A' && *p <= 'Z'))
			return err_set(err, CRIO_E_INVALID, "SPDY headers: a name with a byte 0x%02x, which may not be in one", (unsigned char)*p);
	if (kvs_get(kv, name))
		return err_set(err, CRIO_E_INVALID, "SPDY headers: %.64s twice", name);
	return kvs_set(kv, name, value) < 0 ? err_nomem(err) : 0;
}

int spdy_headers_read(struct spdy_coder *c, const uint8_t *p, size_t n, struct spdy_headers *ret, crio_err *err)
{
	cleanup_free uint8_t *block = malloc(SPDY_HEADERS_MAX);
	if (!block)
		return err_nomem(err);
	struct cursor at = { .p = block };
	int r = unpack(c, p, n, block, &at.n, err);
	if (r < 0)
		return r;
	if (at.n < 4)
		return err_set(err, CRIO_E_INVALID, "SPDY headers: a block of %zu bytes", at.n);
	uint32_t count = get32(at.p);
	at.p += 4;
	at.n -= 4;
	if (count > SPDY_HEADER_COUNT)
		return err_set(err, CRIO_E_INVALID, "SPDY headers: %u in one block, at most %u are taken", count, SPDY_HEADER_COUNT);
	for (uint32_t i = 0; i < count && r == 0; i++)
		r = take_pair(&at, &ret->kv, err);
	if (r == 0 && at.n)
		r = err_set(err, CRIO_E_INVALID, "SPDY headers: %zu bytes behind the last pair", at.n);
	return r;
}

const char *spdy_header(const struct spdy_headers *h, const char *name)
{
	const char *v = kvs_get(&h->kv, name);
	return v ? v : "";
}

/* ---- writing ---- */

static bool squeeze(z_stream *z, const void *p, size_t n, int flush, struct buf *out)
{
	uint8_t tmp[512];
	z->next_in = (Bytef *)(uintptr_t)p;
	z->avail_in = (uInt)n;
	do {
		z->next_out = tmp;
		z->avail_out = sizeof(tmp);
		if (deflate(z, flush) == Z_STREAM_ERROR)
			return false;
		buf_add(out, tmp, sizeof(tmp) - z->avail_out);
	} while (z->avail_out == 0);
	return true;
}

void spdy_headers_write(struct spdy_coder *c, const struct spdy_pair *h, size_t n, struct buf *out)
{
	if (!c->has_out) {
		uint8_t dict[SPDY_DICTIONARY_N];
		/* A small window and table: what is sent is a handful of short pairs, and every session has one. */
		if (deflateInit2(&c->out, Z_BEST_SPEED, Z_DEFLATED, 11, 4, Z_DEFAULT_STRATEGY) != Z_OK) {
			out->oom = true;
			return;
		}
		c->has_out = true;
		spdy_dictionary(dict);
		(void)deflateSetDictionary(&c->out, dict, sizeof(dict));
	}
	cleanup_buf struct buf plain = BUF_INIT;
	uint8_t num[4];
	put32(num, (uint32_t)n);
	buf_add(&plain, num, 4);
	for (size_t i = 0; i < n; i++) {
		const char *const part[] = { h[i].name, h[i].value };
		for (int k = 0; k < 2; k++) {
			put32(num, (uint32_t)strlen(part[k]));
			buf_add(&plain, num, 4);
			buf_adds(&plain, part[k]);
		}
	}
	if (buf_bad(&plain) || !squeeze(&c->out, plain.p, plain.n, Z_SYNC_FLUSH, out))
		out->oom = true;
}
