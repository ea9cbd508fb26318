/* Compressed streams: the same bytes as zlib and zstd give, damage noticed wherever it is, and the ring between threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "core/unpack/decompress.h"
#include "core/util/fs.h"
#include "tests/unit/unpack/mktar.h"

static uint32_t rnd_state = 12345;

static uint32_t rnd(void)
{
	rnd_state = rnd_state * 1664525u + 1013904223u;
	return rnd_state >> 8;
}

/* Text, noise, runs, in turn. */
static unsigned char *make_data(size_t n, int kind)
{
	unsigned char *p = malloc(n + 1);

	assert_non_null(p);
	for (size_t i = 0; i < n; i++) {
		int k = kind == 3 ? (int)(i >> 14) % 3 : kind;

		p[i] = k == 0 ? (unsigned char)"the quick brown fox "[rnd() % 20] : (unsigned char)(k == 1 ? rnd() : i >> 10);
	}
	return p;
}

static size_t gzip_of(const unsigned char *p, size_t n, int level, int strategy, bool header, unsigned char *out, size_t cap)
{
	z_stream z = { 0 };
	gz_header h = { 0 };
	unsigned char extra[300], name[] = "a name", comment[] = "a comment";

	memset(extra, 'e', sizeof(extra));
	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, 31, 9, strategy), Z_OK);
	h.extra = extra;
	h.extra_len = sizeof(extra);
	h.name = name;
	h.comment = comment;
	h.hcrc = 1;
	if (header)
		assert_int_equal(deflateSetHeader(&z, &h), Z_OK);
	z.next_in = (unsigned char *)(uintptr_t)p;
	z.avail_in = (uInt)n;
	z.next_out = out;
	z.avail_out = (uInt)cap;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	n = cap - z.avail_out;
	(void)deflateEnd(&z);
	return n;
}

/* All of it; a negative code, with *ret_n what came before. */
static int inflate_all(const unsigned char *p, size_t n, size_t step, size_t out_step, unsigned char *out, size_t cap,
		       size_t *ret_n, enum compression *kind)
{
	struct mem m = { (const char *)p, n, 0, step };
	struct source src = { mem_read, &m };
	cleanup_err crio_err err = ERR_INIT;
	struct decompress *d = NULL;
	size_t got = 0;
	ssize_t r;

	assert_int_equal(decompress_new(src, 0, &d, &err), 0);
	while ((r = decompress_read(d, out + got, cap - got < out_step ? cap - got : out_step, &err)) > 0) {
		got += (size_t)r;
		if (got == cap)
			break;
	}
	if (!r) {
		assert_int_equal(m.at, n);
		assert_int_equal(decompress_read(d, out, 1, &err), 0);
	} else if (r < 0) {
		assert_non_null(err.msg);
		assert_int_equal(decompress_read(d, out, 1, &err), r);
	}
	if (kind)
		*kind = decompress_kind(d);
	decompress_free(d);
	*ret_n = got;
	return (int)r;
}

static void test_like_zlib(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, 65535, 65536, 65537, 1000003 };
	static const size_t steps[] = { 0, 1, 7, 4096 };
	size_t cap = 4u << 20, n, got;
	unsigned char *z = malloc(cap), *out = malloc(cap);
	enum compression kind;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (int what = 0; what < 4; what++)
			for (int level = 0; level < 10; level += 3) {
				unsigned char *p = make_data(sizes[i], what);

				n = gzip_of(p, sizes[i], level, level == 3 ? Z_HUFFMAN_ONLY : Z_DEFAULT_STRATEGY, what & 1, z, cap);
				for (size_t s = 0; s < ARRAY_SIZE(steps); s++) {
					if (steps[s] == 1 && sizes[i] > 70000)
						continue;
					assert_int_equal(inflate_all(z, n, steps[s], 1 + rnd() % 100000, out, cap, &got, &kind), 0);
					assert_int_equal(kind, COMPRESSION_GZIP);
					assert_int_equal(got, sizes[i]);
					assert_memory_equal(out, p, got);
				}
				free(p);
			}
	free(z);
	free(out);
}

static void test_members(void **state)
{
	size_t cap = 1u << 20, n = 0, got, total = 0;
	unsigned char *z = malloc(cap), *out = malloc(cap), *p = make_data(300000, 3);

	(void)state;
	for (int i = 0; i < 50; i++) {
		size_t k = (size_t)i * 100;

		n += gzip_of(p + total, k, 6, Z_DEFAULT_STRATEGY, i & 1, z + n, cap - n);
		total += k;
	}
	for (size_t step = 0; step < 40; step++) {
		assert_int_equal(inflate_all(z, n, step, 5000, out, cap, &got, NULL), 0);
		assert_int_equal(got, total);
		assert_memory_equal(out, p, total);
	}
	/* Bytes after the last member. */
	z[n] = 0;
	assert_int_equal(inflate_all(z, n + 1, 0, 5000, out, cap, &got, NULL), CRIO_E_CORRUPT);
	z[n] = 0x1f;
	assert_int_equal(inflate_all(z, n + 1, 0, 5000, out, cap, &got, NULL), CRIO_E_CORRUPT);
	memcpy(z + n, "rubbish that follows", 20);
	assert_int_equal(inflate_all(z, n + 20, 0, 5000, out, cap, &got, NULL), CRIO_E_CORRUPT);
	free(z);
	free(out);
	free(p);
}

/* Every cut and many flipped bits: never the wrong bytes with success, never more than what zlib accepts. */
static void test_damage(void **state)
{
	size_t size = 30000, cap = 200000, n, got;
	unsigned char *z = malloc(cap), *out = malloc(cap), *p = make_data(size, 3);

	(void)state;
	n = gzip_of(p, size, 6, Z_DEFAULT_STRATEGY, true, z, cap);
	for (size_t cut = 3; cut < n; cut += 1 + cut / 50)
		assert_int_equal(inflate_all(z, cut, 0, cap, out, cap, &got, NULL), CRIO_E_CORRUPT);
	for (int i = 0; i < 3000; i++) {
		/* Not the first bytes (then it is not gzip), nor time, flags and system, which nothing checks. */
		size_t at = i < 8 ? n - 1 - (size_t)i : 330 + rnd() % (n - 330);
		unsigned char bit = (unsigned char)(1u << (rnd() % 8));

		z[at] ^= bit;
		int r = inflate_all(z, n, 0, cap, out, cap, &got, NULL);

		if (r != CRIO_E_CORRUPT)
			fail_msg("bit %u of byte %zu of %zu: %d, %zu bytes", bit, at, n, r, got);
		z[at] ^= bit;
	}
	assert_int_equal(inflate_all(z, n, 0, cap, out, cap, &got, NULL), 0);
	/* zstd with a checksum. */
	ZSTD_CCtx *c = ZSTD_createCCtx();

	(void)ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
	n = ZSTD_compress2(c, z, cap, p, size);
	assert_false(ZSTD_isError(n));
	(void)ZSTD_freeCCtx(c);
	for (size_t cut = 4; cut < n; cut += 1 + cut / 50)
		assert_int_equal(inflate_all(z, cut, 0, cap, out, cap, &got, NULL), CRIO_E_CORRUPT);
	for (int i = 0; i < 1000; i++) {
		size_t at = 12 + rnd() % (n - 12);

		z[at] ^= 0x10;
		int r = inflate_all(z, n, 0, cap, out, cap, &got, NULL);

		assert_true(r == CRIO_E_CORRUPT || (!r && got == size && !memcmp(out, p, size)));
		z[at] ^= 0x10;
	}
	free(z);
	free(out);
	free(p);
}

static void test_zstd(void **state)
{
	size_t size = 500000, cap = 1u << 20, n, got;
	unsigned char *z = malloc(cap), *out = malloc(cap), *p = make_data(size, 3);
	enum compression kind;

	(void)state;
	n = ZSTD_compress(z, cap, p, 200000, 3);
	memcpy(z + n, "\x50\x2a\x4d\x18\x05\0\0\0chunk", 13);
	n += 13;
	n += ZSTD_compress(z + n, cap - n, p + 200000, size - 200000, 19);
	for (size_t step = 0; step < 3; step++) {
		assert_int_equal(inflate_all(z, n, step, 70000, out, cap, &got, &kind), 0);
		assert_int_equal(kind, COMPRESSION_ZSTD);
		assert_int_equal(got, size);
		assert_memory_equal(out, p, size);
	}
	memcpy(z + n, "after", 5);
	assert_int_equal(inflate_all(z, n + 5, 0, 70000, out, cap, &got, NULL), CRIO_E_CORRUPT);
	/* A frame that wants a window of 2 GiB: magic, no single segment, window descriptor 21 << 3. */
	static const unsigned char window[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00 };

	assert_int_equal(inflate_all(window, sizeof(window), 0, cap, out, cap, &got, NULL), CRIO_E_EXHAUSTED);
	free(z);
	free(out);
	free(p);
}

static void test_detect(void **state)
{
	unsigned char out[100];
	enum compression kind, promised;
	cleanup_err crio_err err = ERR_INIT;
	size_t got;

	(void)state;
	assert_int_equal(inflate_all((const unsigned char *)"BZh91AY", 7, 1, 100, out, 100, &got, NULL), CRIO_E_UNSUPPORTED);
	assert_int_equal(inflate_all((const unsigned char *)"\xfd" "7zXZ\0", 6, 1, 100, out, 100, &got, NULL), CRIO_E_UNSUPPORTED);
	assert_int_equal(inflate_all((const unsigned char *)"\x1f\x8b", 2, 1, 100, out, 100, &got, &kind), 0);
	assert_int_equal(kind, COMPRESSION_NONE);
	assert_int_equal(got, 2);
	assert_int_equal(inflate_all((const unsigned char *)"", 0, 0, 100, out, 100, &got, &kind), 0);
	assert_int_equal(got, 0);
	assert_int_equal(compression_of_media_type("application/vnd.oci.image.layer.v1.tar+zstd", &promised, &err), 0);
	assert_int_equal(promised, COMPRESSION_ZSTD);
	assert_int_equal(compression_of_media_type("application/vnd.docker.image.rootfs.diff.tar.gzip", &promised, &err), 0);
	assert_int_equal(promised, COMPRESSION_GZIP);
	assert_int_equal(compression_of_media_type("application/vnd.oci.image.layer.v1.tar+encrypted", &promised, &err),
			 CRIO_E_UNSUPPORTED);
}

struct feed {
	struct ring *r;
	const unsigned char *p;
	size_t n;
	int code, end;
};

static void *feed_main(void *arg)
{
	struct feed *f = arg;
	size_t at = 0;
	uint32_t seed = 7;

	while (at < f->n && !f->code) {
		size_t k;

		seed = seed * 1664525u + 1013904223u;
		k = 1 + (seed >> 8) % 9000;
		if (k > f->n - at)
			k = f->n - at;
		f->code = ring_write(f->r, f->p + at, k, NULL);
		at += k;
	}
	ring_close_write(f->r, f->end, f->end ? "the download broke" : NULL);
	return NULL;
}

static void test_ring(void **state)
{
	cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE);
	unsigned char *p = make_data(3000000, 1), *out = malloc(3000000);
	cleanup_err crio_err err = ERR_INIT;
	pthread_t t;

	(void)state;
	for (int end = 0; end < 2; end++) {
		struct feed f = { NULL, p, 3000000, 0, end ? CRIO_E_UNAVAILABLE : 0 };
		size_t got = 0;
		ssize_t r;

		assert_int_equal(ring_new(call, 4096 + (size_t)end * 5000, &f.r, &err), 0);
		assert_int_equal(pthread_create(&t, NULL, feed_main, &f), 0);
		while ((r = ring_read(f.r, out + got, 1 + rnd() % 7000, &err)) > 0)
			got += (size_t)r;
		(void)pthread_join(t, NULL);
		assert_int_equal(r, end ? CRIO_E_UNAVAILABLE : 0);
		assert_int_equal(got, 3000000);
		assert_memory_equal(out, p, got);
		if (end)
			assert_string_equal(err.msg, "the download broke");
		ring_free(f.r);
	}
	/* The reader stops: the writer is not left waiting. */
	struct feed f = { NULL, p, 3000000, 0, 0 };

	assert_int_equal(ring_new(call, 65536, &f.r, &err), 0);
	assert_int_equal(pthread_create(&t, NULL, feed_main, &f), 0);
	assert_true(ring_read(f.r, out, 100, &err) > 0);
	ring_close_read(f.r);
	(void)pthread_join(t, NULL);
	assert_int_equal(f.code, CRIO_E_ABORTED);
	ring_free(f.r);
	free(p);
	free(out);
}

static void *cancel_main(void *arg)
{
	(void)usleep(50000);
	call_cancel(arg);
	return NULL;
}

static void test_ring_cancel(void **state)
{
	cleanup_err crio_err err = ERR_INIT;
	char big[10000] = { 0 };
	struct ring *r = NULL;
	pthread_t t;

	(void)state;
	for (int side = 0; side < 2; side++) {
		cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE);

		assert_int_equal(ring_new(call, 4096, &r, &err), 0);
		assert_int_equal(pthread_create(&t, NULL, cancel_main, call), 0);
		assert_int_equal(side ? ring_write(r, big, sizeof(big), &err) : (int)ring_read(r, big, 10, &err),
				 CRIO_E_CANCELLED);
		(void)pthread_join(t, NULL);
		ring_free(r);
	}
	cleanup_call crio_call *late = call_new("test", now_mono_ns() + 50000000);

	assert_int_equal(ring_new(late, 4096, &r, &err), 0);
	assert_int_equal(ring_read(r, big, 10, &err), CRIO_E_DEADLINE);
	ring_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_like_zlib), cmocka_unit_test(test_members), cmocka_unit_test(test_damage),
		cmocka_unit_test(test_zstd),      cmocka_unit_test(test_detect),  cmocka_unit_test(test_ring),
		cmocka_unit_test(test_ring_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
