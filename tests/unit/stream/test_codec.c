/* test_codec.c: SPDY and WebSocket frames, requests and tokens, against bytes that others made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/stream/http.h"
#include "core/stream/spdy.h"
#include "core/stream/tokens.h"
#include "core/stream/ws.h"

/* Three SYN_STREAMs as another zlib made them: streamtype=error; streamtype=stdin; port, requestid and streamtype=data. */
static const uint8_t three_syns[] = {
	0x80, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x78, 0xbb,
	0xe3, 0xc6, 0xa7, 0xc2, 0x02, 0xa6, 0x23, 0x46, 0x70, 0x3a, 0x2b, 0x29, 0x4a, 0x4d, 0xcc, 0x85, 0x16, 0x25, 0xac, 0xa9,
	0xa0, 0x80, 0x06, 0x00, 0x00, 0x00, 0xff, 0xff, 0x80, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x17, 0x00, 0x00, 0x00, 0x03,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc2, 0x2e, 0x55, 0x5c, 0x02, 0xcc, 0x2e, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x80,
	0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x2e, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x25, 0x55,
	0x48, 0xa9, 0x5d, 0x04, 0xce, 0x20, 0x16, 0x06, 0x16, 0x06, 0x40, 0x9a, 0xb3, 0x08, 0x12, 0xcb, 0x99, 0xa0, 0xd4, 0xcf,
	0x68, 0x80, 0xa1, 0x19, 0x54, 0x44, 0x25, 0x02, 0x00, 0x00, 0x00, 0xff, 0xff,
};

/* What crictl 1.36 sends for `exec -i` of a command that reads "some input\n", as a system call trace had it. */
static const uint8_t crictl_bytes[] = {
	0x80, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x29, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x78, 0xf9,
	0xe3, 0xc6, 0xa7, 0xc2, 0x62, 0x60, 0x60, 0x60, 0x04, 0xa7, 0xb3, 0x92, 0xa2, 0xd4, 0xc4, 0x5c, 0x68, 0x51, 0xc2, 0x9a,
	0x0a, 0x0a, 0x68, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x80, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x17, 0x00, 0x00, 0x00,
	0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc2, 0x2e, 0x55, 0x5c, 0x92, 0x92, 0x99, 0x07, 0x00, 0x00, 0x00, 0xff, 0xff,
	0x80, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x19, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc2, 0x2a,
	0xc5, 0x56, 0x5c, 0x92, 0x92, 0x5f, 0x5a, 0x02, 0x00, 0x00, 0x00, 0xff, 0xff, 0x80, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00,
	0x15, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc2, 0x29, 0x97, 0x5a, 0x54, 0x04, 0x00, 0x00, 0x00,
	0xff, 0xff, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x0b, 0x73, 0x6f, 0x6d, 0x65, 0x20, 0x69, 0x6e, 0x70, 0x75, 0x74,
	0x0a, 0x00, 0x00, 0x00, 0x03, 0x01, 0x00, 0x00, 0x00, 0x80, 0x03,
};

/* What happened, in words. */
struct seen {
	struct buf log;
	struct buf data;
	int fail_at; /* the nth data piece fails */
};

static int on_syn(void *arg, uint32_t id, uint8_t flags, const struct spdy_headers *h, crio_err *err)
{
	struct seen *s = arg;
	(void)err;
	buf_addf(&s->log, "syn %u %u", id, flags);
	for (size_t i = 0; i < h->kv.n; i++)
		buf_addf(&s->log, " %s=%s", h->kv.v[i].key, h->kv.v[i].value);
	buf_adds(&s->log, ";");
	return 0;
}

static int on_reply(void *arg, uint32_t id, uint8_t flags, const struct spdy_headers *h, crio_err *err)
{
	buf_adds(&((struct seen *)arg)->log, "reply:");
	return on_syn(arg, id, flags, h, err);
}

static int on_data(void *arg, uint32_t id, const uint8_t *p, size_t n, bool fin, crio_err *err)
{
	struct seen *s = arg;
	if (s->fail_at && --s->fail_at == 0)
		return err_set(err, CRIO_E_ABORTED, "no more");
	if (n)
		buf_add(&s->data, p, n);
	buf_addf(&s->log, "%s%u;", fin ? "fin" : "data", id);
	return 0;
}

static int on_rst(void *arg, uint32_t id, uint32_t status, crio_err *err)
{
	(void)err;
	buf_addf(&((struct seen *)arg)->log, "rst %u %u;", id, status);
	return 0;
}

static int on_ping(void *arg, uint32_t id, crio_err *err)
{
	(void)err;
	buf_addf(&((struct seen *)arg)->log, "ping %u;", id);
	return 0;
}

static int on_goaway(void *arg, uint32_t last, uint32_t status, crio_err *err)
{
	(void)err;
	buf_addf(&((struct seen *)arg)->log, "goaway %u %u;", last, status);
	return 0;
}

static const struct spdy_handler handler = { on_syn, on_reply, on_syn, on_data, on_rst, on_ping, on_goaway };

/* Fed whole, or a byte at a time: what happens is the same. Returns the result of the feed. */
static int spdy_says(const void *p, size_t n, const char *want, size_t piece)
{
	struct seen s = { BUF_INIT, BUF_INIT, 0 };
	crio_err err = ERR_INIT;
	struct spdy *x = spdy_new(&handler, &s);
	int r = 0;
	assert_non_null(x);
	for (size_t at = 0; at < n && r == 0; at += piece)
		r = spdy_feed(x, (const char *)p + at, n - at < piece ? n - at : piece, &err);
	if (r == 0 && want)
		assert_string_equal(s.log.p ? s.log.p : "", want);
	else if (r < 0 && want)
		fail_msg("%s", err_text(&err));
	if (r < 0 && !want)
		assert_true(str_starts(err_text(&err), "SPDY"));
	err_clear(&err);
	spdy_free(x);
	buf_release(&s.log);
	buf_release(&s.data);
	return r;
}

static void test_dictionary(void **state)
{
	uint8_t d[SPDY_DICTIONARY_N];
	uint32_t a = 1, b = 0;
	(void)state;
	spdy_dictionary(d);
	for (size_t i = 0; i < sizeof(d); i++) {
		a = (a + d[i]) % 65521;
		b = (b + a) % 65521;
	}
	assert_int_equal(b << 16 | a, 0xe3c6a7c2); /* as the protocol's document has it */
}

static void test_foreign_syns(void **state)
{
	static const char want[] = "syn 1 0 streamtype=error;syn 3 0 streamtype=stdin;syn 5 0 port=8080 requestid=0 streamtype=data;";
	(void)state;
	assert_int_equal(spdy_says(three_syns, sizeof(three_syns), want, sizeof(three_syns)), 0);
	assert_int_equal(spdy_says(three_syns, sizeof(three_syns), want, 1), 0);
	assert_int_equal(spdy_says(three_syns, sizeof(three_syns), want, 7), 0);
}

static void test_crictl(void **state)
{
	static const char want[] = "syn 1 0 streamtype=error;syn 3 0 streamtype=stdin;syn 5 0 streamtype=stdout;syn 7 0 streamtype=stderr;"
				   "data3;fin3;";
	(void)state;
	assert_int_equal(spdy_says(crictl_bytes, sizeof(crictl_bytes), want, sizeof(crictl_bytes)), 0);
}

static void test_plain_frames(void **state)
{
	static const uint8_t frames[] = {
		0, 0, 0, 3, 0, 0, 0, 5, 'h', 'e', 'l', 'l', 'o',		     /* data of stream 3 */
		0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9,				     /* ping 9 */
		0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 3, 0, 1, 0, 0,		     /* window update */
		0x80, 3, 0, 4, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 100,   /* settings */
		0x80, 3, 0, 77, 0, 0, 0, 3, 1, 2, 3,				     /* of a type that is not known */
		0, 0, 0, 3, 1, 0, 0, 0,						     /* its end */
		0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 5,		     /* reset of 5: cancel */
		0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 0,		     /* goaway */
	};
	(void)state;
	assert_int_equal(spdy_says(frames, sizeof(frames), "data3;ping 9;fin3;rst 5 5;goaway 5 0;", sizeof(frames)), 0);
	assert_int_equal(spdy_says(frames, sizeof(frames), "data3;data3;data3;data3;data3;ping 9;fin3;rst 5 5;goaway 5 0;", 1), 0);
}

static void test_own_frames(void **state)
{
	static const struct spdy_pair none[1], pairs[] = { { "streamtype", "data" }, { "x", "" } };
	cleanup_buf struct buf b = BUF_INIT;
	struct spdy *x = spdy_new(&handler, NULL);
	(void)state;
	spdy_put_syn_stream(x, &b, 1, 0, pairs, 2);
	spdy_put_syn_reply(x, &b, 1, 0, none, 0);
	spdy_put_syn_reply(x, &b, 3, SPDY_FIN, pairs, 1);
	spdy_put_data(&b, 1, 0, "abc", 3);
	spdy_put_data(&b, 1, SPDY_FIN, NULL, 0);
	spdy_put_rst(&b, 1, SPDY_CANCEL);
	spdy_put_ping(&b, 2);
	spdy_put_goaway(&b, 3, SPDY_GOAWAY_OK);
	assert_false(buf_bad(&b));
	assert_int_equal(spdy_says(b.p, b.n, "syn 1 0 streamtype=data x=;reply:syn 1 0;reply:syn 3 1 streamtype=data;data1;fin1;rst 1 5;ping 2;goaway 3 0;", b.n), 0);
	/* and the bytes themselves */
	static const uint8_t tail[] = { 0, 0, 0, 1, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 1, 1, 0, 0, 0,
					0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 5, 0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2,
					0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 0 };
	assert_memory_equal(b.p + b.n - sizeof(tail), tail, sizeof(tail));
	spdy_free(x);
}

#define REFUSED(...)                                                                     \
	do {                                                                             \
		static const uint8_t bytes[] = { __VA_ARGS__ };                          \
		assert_int_equal(spdy_says(bytes, sizeof(bytes), NULL, sizeof(bytes)), CRIO_E_INVALID); \
		assert_int_equal(spdy_says(bytes, sizeof(bytes), NULL, 1), CRIO_E_INVALID); \
	} while (0)

static void test_broken_frames(void **state)
{
	(void)state;
	REFUSED(0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 9);			     /* version 2 */
	REFUSED('G', 'E', 'T', ' ', '/', ' ', 'H', 'T');			     /* flags of data that are none: HTTP */
	REFUSED(0, 0, 0, 0, 0, 0, 0, 1, 'x');					     /* stream 0 */
	REFUSED(0x80, 3, 0, 6, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0);		     /* a ping too long */
	REFUSED(0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 0);			     /* ping 0 */
	REFUSED(0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 5);		     /* reset of stream 0 */
	REFUSED(0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0);		     /* with status 0 */
	REFUSED(0x80, 3, 0, 3, 0, 0, 0, 0);					     /* empty */
	REFUSED(0x80, 3, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0);	     /* a syn too short */
	REFUSED(0x80, 3, 0, 1, 0, 0x40, 1, 0);					     /* one too long: refused by its head */
	REFUSED(0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 'x', 'y'); /* headers that are no zlib */
	REFUSED(0x80, 3, 0, 4, 0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 100);   /* settings that lie about their number */
}

static int read_block(const void *raw, size_t n)
{
	struct spdy_coder *c = spdy_coder_new();
	struct spdy_headers h = { .kv = KVS_INIT };
	crio_err err = ERR_INIT;
	int r = spdy_headers_read(c, raw, n, &h, &err);
	if (r < 0)
		assert_true(str_starts(err_text(&err), "SPDY headers:"));
	err_clear(&err);
	kvs_release(&h.kv);
	spdy_coder_free(c);
	return r;
}

static void test_header_limits(void **state)
{
	struct spdy_pair many[SPDY_HEADER_COUNT + 1];
	char names[SPDY_HEADER_COUNT + 1][8];
	cleanup_free char *long_value = calloc(1, 20001);
	struct { const struct spdy_pair *h; size_t n; int want; } cases[] = {
		{ many, SPDY_HEADER_COUNT, 0 },
		{ many, SPDY_HEADER_COUNT + 1, CRIO_E_INVALID },
		{ (const struct spdy_pair[]){ { "a", long_value } }, 1, CRIO_E_INVALID }, /* less than a kilobyte that inflates to 20 */
		{ (const struct spdy_pair[]){ { "a", "1" }, { "a", "2" } }, 2, CRIO_E_INVALID },
		{ (const struct spdy_pair[]){ { "", "1" } }, 1, CRIO_E_INVALID },
		{ (const struct spdy_pair[]){ { "Upper", "1" } }, 1, CRIO_E_INVALID },
		{ (const struct spdy_pair[]){ { "a b", "1" } }, 1, CRIO_E_INVALID },
	};
	(void)state;
	assert_non_null(long_value);
	memset(long_value, 'x', 20000);
	for (size_t i = 0; i <= SPDY_HEADER_COUNT; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "h%zu", i);
		many[i] = (struct spdy_pair){ names[i], "v" };
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_buf struct buf b = BUF_INIT;
		struct spdy_coder *c = spdy_coder_new();
		spdy_headers_write(c, cases[i].h, cases[i].n, &b);
		spdy_coder_free(c);
		if (read_block(b.p, b.n) != cases[i].want)
			fail_msg("case %zu", i);
	}
}

static void test_handler_ends_it(void **state)
{
	struct seen s = { BUF_INIT, BUF_INIT, 2 };
	crio_err err = ERR_INIT;
	struct spdy *x = spdy_new(&handler, &s);
	static const uint8_t two[] = { 0, 0, 0, 1, 0, 0, 0, 1, 'a', 0, 0, 0, 1, 0, 0, 0, 1, 'b', 0, 0, 0, 1, 0, 0, 0, 1, 'c' };
	(void)state;
	assert_int_equal(spdy_feed(x, two, sizeof(two), &err), CRIO_E_ABORTED);
	assert_string_equal(s.data.p, "a");
	err_clear(&err);
	assert_int_equal(spdy_feed(x, two, sizeof(two), &err), CRIO_E_INVALID);
	err_clear(&err);
	spdy_free(x);
	buf_release(&s.log);
	buf_release(&s.data);
}

/* ---- WebSocket ---- */

static int on_piece(void *arg, const uint8_t *p, size_t n, bool first, bool last, crio_err *err)
{
	struct seen *s = arg;
	(void)err;
	if (first)
		buf_adds(&s->log, "[");
	if (n)
		buf_add(&s->log, p, n);
	if (last)
		buf_adds(&s->log, "]");
	return 0;
}

static int on_closed(void *arg, unsigned code, crio_err *err)
{
	(void)err;
	buf_addf(&((struct seen *)arg)->log, "closed %u", code);
	return 0;
}

static const struct ws_handler ws_handler = { on_piece, on_closed };

static int ws_says(const void *p, size_t n, const char *want, const void *out, size_t out_n, size_t piece)
{
	struct seen s = { BUF_INIT, BUF_INIT, 0 };
	cleanup_buf struct buf o = BUF_INIT;
	struct ws *w = ws_new(&ws_handler, &s, false);
	crio_err err = ERR_INIT;
	int r = 0;
	for (size_t at = 0; at < n && r == 0; at += piece)
		r = ws_feed(w, (const char *)p + at, n - at < piece ? n - at : piece, &o, &err);
	if (r == 0 && want)
		assert_string_equal(s.log.p ? s.log.p : "", want);
	if (out) {
		assert_int_equal(o.n, out_n);
		assert_memory_equal(o.p, out, out_n);
	}
	err_clear(&err);
	ws_free(w);
	buf_release(&s.log);
	return r;
}

static void test_ws_pieces(void **state)
{
	static const uint8_t frames[] = {
		0x82, 0x83, 1, 2, 3, 4, 'a' ^ 1, 'b' ^ 2, 'c' ^ 3,  /* a binary message */
		0x02, 0x81, 0, 0, 0, 0, 'x',			     /* the first part of another */
		0x89, 0x82, 0, 0, 0, 0, 'p', 'i',		     /* a ping in between */
		0x80, 0x81, 0, 0, 0, 0, 'y',			     /* its second part */
		0x82, 0x80, 0, 0, 0, 0,			     /* an empty one */
		0x81, 0x81, 0, 0, 0, 0, 't',			     /* text */
		0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8,		     /* close, 1000 */
	};
	static const uint8_t answer[] = { 0x8a, 2, 'p', 'i', 0x88, 2, 0x03, 0xe8 };
	(void)state;
	assert_int_equal(ws_says(frames, sizeof(frames), "[abc][xy][][t]closed 1000", answer + 4, 4, sizeof(frames)), 0); /* the close overtakes the pong */
	assert_int_equal(ws_says(frames, sizeof(frames), "[abc][xy][][t]closed 1000", answer, sizeof(answer), 1), 0);
}

static void test_ws_broken(void **state)
{
	static const struct { uint8_t p[16]; size_t n; } bad[] = {
		{ { 0x82, 0x01, 'a' }, 3 },				   /* not masked */
		{ { 0xc2, 0x81, 0, 0, 0, 0, 'a' }, 7 },			   /* a reserved bit */
		{ { 0x83, 0x81, 0, 0, 0, 0, 'a' }, 7 },			   /* a reserved opcode */
		{ { 0x80, 0x81, 0, 0, 0, 0, 'a' }, 7 },			   /* a continuation of nothing */
		{ { 0x81, 0x81, 0, 0, 0, 0, 0xff }, 7 },		   /* text that is none */
		{ { 0x89, 0xfe, 0, 126, 0, 0, 0, 0 }, 8 },		   /* a ping that is too long */
		{ { 0x09, 0x80, 0, 0, 0, 0 }, 6 },			   /* a ping in parts */
		{ { 0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0 }, 14 }, /* a length with its highest bit */
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (ws_says(bad[i].p, bad[i].n, NULL, NULL, 0, bad[i].n) != CRIO_E_INVALID)
			fail_msg("frame %zu was taken", i);
}

static void test_ws_heads(void **state)
{
	uint8_t p[WS_HEAD_MAX];
	(void)state;
	assert_int_equal(ws_head_before(p + WS_HEAD_MAX, WS_BINARY, 125), 2);
	assert_memory_equal(p + 8, "\x82\x7d", 2);
	assert_int_equal(ws_head_before(p + WS_HEAD_MAX, WS_TEXT, 126), 4);
	assert_memory_equal(p + 6, "\x81\x7e\x00\x7e", 4);
	assert_int_equal(ws_head_before(p + WS_HEAD_MAX, WS_BINARY, 0x10000), 10);
	assert_memory_equal(p, "\x82\x7f\0\0\0\0\0\1\0\0", 10);
}

static void test_ws_client(void **state)
{
	struct seen s = { BUF_INIT, BUF_INIT, 0 };
	cleanup_buf struct buf to = BUF_INIT, back = BUF_INIT;
	struct ws *c = ws_new(&ws_handler, &s, true);
	(void)state;
	ws_put(c, &to, WS_BINARY, "\0hello", 6);
	ws_put_ping(c, &to);
	assert_int_equal(ws_says(to.p, to.n, NULL, "\x8a\0", 2, to.n), 0);
	assert_int_equal((unsigned char)to.p[1], 0x86);
	assert_int_equal(ws_feed(c, "\x82\x02\1x\x88\x02\x03\xe8", 8, &back, NULL), 0);
	assert_string_equal(s.log.p, "[\1x]closed 1000");
	ws_free(c);
	buf_release(&s.log);
}

static void test_ws_keys(void **state)
{
	char a[WS_ACCEPT_SIZE];
	(void)state;
	ws_accept("dGhlIHNhbXBsZSBub25jZQ==", a); /* of RFC 6455 */
	assert_string_equal(a, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	assert_true(ws_key_valid("dGhlIHNhbXBsZSBub25jZQ=="));
	assert_false(ws_key_valid(""));
	assert_false(ws_key_valid("dGhlIHNhbXBsZSBub25jZQ"));
	assert_false(ws_key_valid("dGhlIHNhbXBsZSBub25jZ==="));
	assert_false(ws_key_valid("!!!hIHNhbXBsZSBub25jZQ=="));
}

/* ---- requests ---- */

static unsigned parse(const char *text, struct http_request *q, char **ret_head)
{
	cleanup_buf struct buf why = BUF_INIT;
	size_t n = strlen(text);
	assert_int_equal(http_head_end(text, n, 0), n);
	assert_int_equal(http_head_end(text, n - 1, 0), 0);
	assert_int_equal(http_head_end(text, n, n - 1), n);
	*ret_head = strdup(text);
	unsigned s = http_parse(*ret_head, n, q, &why);
	assert_true(!s == !why.n);
	return s;
}

#define REQUEST "GET /exec/abc?x=1 HTTP/1.1\r\nHost: a\r\n"

static void test_http(void **state)
{
	struct http_request q;
	cleanup_free char *p = NULL;
	cleanup_strv struct strv v = STRV_INIT;
	(void)state;
	assert_int_equal(parse(REQUEST "Connection: keep-alive, Upgrade\r\nX-P:  a,b \r\nx-p: ,c\t\r\nContent-Length: 0\r\n\r\n", &q, &p), 0);
	assert_string_equal(q.method, "GET");
	assert_string_equal(q.path, "/exec/abc");
	assert_true(http_has_token(&q, "connection", "upgrade"));
	assert_false(http_has_token(&q, "connection", "up"));
	assert_null(http_get(&q, "none"));
	assert_string_equal(http_get(&q, "X-P"), "a,b");
	assert_int_equal(http_tokens(&q, "X-P", &v), 0);
	assert_int_equal(v.n, 3);
	assert_string_equal(v.v[2], "c");
}

static void test_http_refused(void **state)
{
	static const struct { const char *text; unsigned status; } bad[] = {
		{ "\r\n\r\n", 400 },
		{ "GET\r\n\r\n", 400 },
		{ "GET /\r\n\r\n", 400 },
		{ "GET / HTTP/1.1 x\r\nHost: a\r\n\r\n", 400 },
		{ "G{T / HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
		{ "GET / FTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET exec HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
		{ REQUEST "no colon\r\n\r\n", 400 },
		{ REQUEST "a b: c\r\n\r\n", 400 },
		{ REQUEST ": c\r\n\r\n", 400 },
		{ REQUEST " folded: c\r\n\r\n", 400 },
		{ REQUEST "a: \x01\r\n\r\n", 400 },
		{ REQUEST "a: b\nc: d\r\n\r\n", 400 },
		{ REQUEST "a: b\rc: d\r\n\r\n", 400 },
		{ REQUEST "Content-Length: 5\r\n\r\n", 413 },
		{ REQUEST "Transfer-Encoding: chunked\r\n\r\n", 413 },
	};
	struct http_request q;
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_free char *p = NULL;
		unsigned got = parse(bad[i].text, &q, &p);
		if (got != bad[i].status)
			fail_msg("%s: %u", bad[i].text, got);
	}
	cleanup_buf struct buf b = BUF_INIT, c = BUF_INIT;
	cleanup_free char *p1 = NULL, *p2 = NULL;
	buf_adds(&b, REQUEST);
	for (size_t i = 0; i < HTTP_HEADERS_MAX; i++)
		buf_addf(&b, "h%zu: x\r\n", i);
	buf_adds(&b, "\r\n");
	assert_int_equal(parse(b.p, &q, &p1), 431);
	buf_adds(&c, "GET /");
	for (size_t i = 0; i < HTTP_TARGET_MAX; i++)
		buf_adds(&c, "a");
	buf_adds(&c, " HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(parse(c.p, &q, &p2), 414);
}

/* ---- tokens ---- */

static int freed;

static void count_free(void *what)
{
	(void)what;
	freed++;
}

static void test_tokens(void **state)
{
	struct tokens *t = tokens_new(count_free);
	char a[TOKEN_SIZE], b[TOKEN_SIZE], x[TOKEN_SIZE];
	crio_err err = ERR_INIT;
	int one, two;
	(void)state;
	freed = 0;
	assert_int_equal(tokens_put(t, &one, 1, 100, a, NULL), 0);
	assert_int_equal(tokens_put(t, &two, 1, 200, b, NULL), 0);
	assert_int_equal(strlen(a), 8);
	assert_string_not_equal(a, b);
	assert_null(tokens_take(t, "AAAAAAA", 300));
	assert_ptr_equal(tokens_take(t, b, 300), &two);
	assert_null(tokens_take(t, b, 300)); /* used */
	assert_null(tokens_take(t, a, 100 + TOKEN_LIFE_NS)); /* expired */
	assert_int_equal(freed, 1);
	for (int i = 0; i < TOKENS_MAX; i++)
		assert_int_equal(tokens_put(t, &one, 1, 1000, x, NULL), 0);
	assert_int_equal(tokens_put(t, &one, 1, 1000, a, &err), CRIO_E_EXHAUSTED);
	err_clear(&err);
	assert_int_equal(tokens_count(t), TOKENS_MAX);
	assert_int_equal(tokens_put(t, &one, TOKENS_BYTES_MAX, 1000 + TOKEN_LIFE_NS, a, NULL), 0);
	assert_int_equal(tokens_count(t), 1);
	assert_int_equal(tokens_put(t, &one, 1, 1000 + TOKEN_LIFE_NS, x, &err), CRIO_E_EXHAUSTED);
	err_clear(&err);
	freed = 0;
	tokens_free(t);
	assert_int_equal(freed, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dictionary), cmocka_unit_test(test_foreign_syns), cmocka_unit_test(test_crictl), cmocka_unit_test(test_plain_frames),
		cmocka_unit_test(test_own_frames), cmocka_unit_test(test_broken_frames), cmocka_unit_test(test_header_limits),
		cmocka_unit_test(test_handler_ends_it), cmocka_unit_test(test_ws_pieces), cmocka_unit_test(test_ws_broken),
		cmocka_unit_test(test_ws_heads), cmocka_unit_test(test_ws_client), cmocka_unit_test(test_ws_keys),
		cmocka_unit_test(test_http), cmocka_unit_test(test_http_refused), cmocka_unit_test(test_tokens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
