/* The pipeline: results, limits, expectations that do not hold, cancellation, a tree that somebody changes meanwhile, and
 * damaged tar-split data. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "core/unpack/assemble.h"
#include "core/util/fs.h"
#include "tests/unit/unpack/mktar.h"

static void sample(struct buf *t)
{
	mk_owned(t, '5', "d/", 0755, 5, 6, NULL);
	mk_owned(t, '0', "d/a", 0644, 1000, 6, "content of a");
	mk_owned(t, '0', "b", 0600, 5, 70000, "b");
	mk_entry(t, '2', "l", "d/a", NULL);
	mk_end(t);
}

static void gzip_buf(const struct buf *t, struct buf *z)
{
	uLong cap = compressBound(t->n) + 64;
	cleanup_free unsigned char *out = malloc(cap);
	z_stream s = { 0 };

	assert_int_equal(deflateInit2(&s, 6, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
	s.next_in = (unsigned char *)t->p;
	s.avail_in = (uInt)t->n;
	s.next_out = out;
	s.avail_out = (uInt)cap;
	assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
	buf_add(z, out, cap - s.avail_out);
	(void)deflateEnd(&s);
}

static int go(struct unpack_opts o, const struct buf *b, struct unpack_result *ret, crio_err *err)
{
	cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE);
	cleanup_unpack_result struct unpack_result mine = { 0 };
	struct mem m = { b->p, b->n, 0, 0 };

	o.src.read = mem_read;
	o.src.arg = &m;
	return unpack_layer(call, &o, ret ? ret : &mine, err);
}

static void test_result(void **state)
{
	cleanup_unpack_result struct unpack_result res = { 0 };
	cleanup_buf struct buf t = BUF_INIT, z = BUF_INIT;
	cleanup_err crio_err err = ERR_INIT;
	char digest[DIGEST_TEXT_MAX], diff[DIGEST_TEXT_MAX];
	struct place p;

	(void)state;
	place_new(&p);
	sample(&t);
	gzip_buf(&t, &z);
	digest_of(z.p, z.n, digest);
	digest_of(t.p, t.n, diff);
	struct unpack_opts o = { .size = -1, .dirfd = p.root, .whiteout = CRIO_WHITEOUT_OVERLAY, .tar_split_fd = -1 };

	o.media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
	assert_int_equal(go(o, &z, &res, &err), 0);
	assert_string_equal(res.digest, digest);
	assert_string_equal(res.diff_id, diff);
	assert_int_equal(res.size, z.n);
	assert_int_equal(res.diff_size, t.n);
	assert_int_equal(res.compression, COMPRESSION_GZIP);
	assert_false(res.media_type_differs);
	assert_false(res.duplicates);
	assert_int_equal(res.entries, 4);
	assert_int_equal(res.file_bytes, 13);
	assert_int_equal(res.disk_bytes, 3 * 4096);
	assert_int_equal(res.n_uids, 3);
	assert_int_equal(res.uids[0], 0);
	assert_int_equal(res.uids[1], 5);
	assert_int_equal(res.uids[2], 1000);
	assert_int_equal(res.n_gids, 3);
	assert_int_equal(res.gids[2], 70000);

	/* Digest only. */
	cleanup_unpack_result struct unpack_result res2 = { 0 };

	o.dirfd = -1;
	o.media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
	assert_int_equal(go(o, &z, &res2, &err), 0);
	assert_string_equal(res2.diff_id, diff);
	assert_true(res2.media_type_differs);
	o.strict_media_type = true;
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_CORRUPT);
	o.media_type = "application/vnd.oci.image.layer.v1.squashfs";
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_UNSUPPORTED);
	place_free(&p);
}

static void test_expectations(void **state)
{
	cleanup_buf struct buf t = BUF_INIT, z = BUF_INIT;
	cleanup_err crio_err err = ERR_INIT;
	char right[DIGEST_TEXT_MAX];

	(void)state;
	sample(&t);
	gzip_buf(&t, &z);
	digest_of(z.p, z.n, right);
	struct unpack_opts o = { .size = (int64_t)z.n, .dirfd = -1, .tar_split_fd = -1 };
	static const char wrong[] = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

	o.digest = right;
	assert_int_equal(go(o, &z, NULL, &err), 0);
	o.digest = wrong;
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_CORRUPT);
	assert_non_null(strstr(err.msg, right));
	o.digest = "sha256:123";
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_INVALID);
	o.digest = "md5:d41d8cd98f00b204e9800998ecf8427e";
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_INVALID);
	o.digest = NULL;
	o.diff_id = wrong;
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_CORRUPT);
	o.diff_id = NULL;
	o.size = (int64_t)z.n - 1;
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_CORRUPT);
	o.size = (int64_t)z.n + 1;
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_CORRUPT);
	o.size = -1;
	/* Damage in the blob is noticed even where the tar is whole. */
	z.p[z.n - 6] ^= 1;
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_CORRUPT);
}

static void test_limits(void **state)
{
	cleanup_buf struct buf t = BUF_INIT, z = BUF_INIT, many = BUF_INIT, deep = BUF_INIT;
	cleanup_err crio_err err = ERR_INIT;
	struct place p;

	(void)state;
	place_new(&p);
	sample(&t);
	gzip_buf(&t, &z);
	struct unpack_opts o = { .size = -1, .dirfd = -1, .tar_split_fd = -1, .whiteout = CRIO_WHITEOUT_REMOVE };

	o.limits.max_blob = z.n;
	assert_int_equal(go(o, &z, NULL, &err), 0);
	o.limits.max_blob = z.n - 1;
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_EXHAUSTED);
	o.limits = (struct unpack_limits){ .max_plain = t.n };
	assert_int_equal(go(o, &z, NULL, &err), 0);
	o.limits.max_plain = t.n - 1;
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_EXHAUSTED);
	o.limits = (struct unpack_limits){ .max_entries = 5 };
	assert_int_equal(go(o, &z, NULL, &err), 0);
	o.limits.max_entries = 4;
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_EXHAUSTED);
	/* Directories that come without entries count too. */
	mk_entry(&deep, '0', "1/2/3/4/5/6/7/8/9/f", "", NULL);
	mk_end(&deep);
	o.dirfd = p.root;
	o.limits.max_entries = 8;
	assert_int_equal(go(o, &deep, NULL, &err), CRIO_E_EXHAUSTED);
	o.dirfd = -1;
	o.limits = (struct unpack_limits){ 0 };
	for (unsigned int i = 0; i < 66000; i++)
		mk_owned(&many, '0', "f", 0644, i, 0, NULL);
	assert_int_equal(go(o, &many, NULL, &err), CRIO_E_EXHAUSTED);
	place_free(&p);
}

/* 1000:1: a gigabyte of zeros in a megabyte stops at the limit, not at the end. */
static void test_bomb(void **state)
{
	cleanup_buf struct buf z = BUF_INIT, head = BUF_INIT, one = BUF_INIT, zeros = BUF_INIT;
	cleanup_err crio_err err = ERR_INIT;
	struct mk_head h;
	char *block = calloc(1, 4u << 20);

	(void)state;
	mk_head(&h, '0', "big", "", 1 << 30);
	mk_block(&head, &h);
	gzip_buf(&head, &z);
	buf_add(&zeros, block, 4u << 20);
	gzip_buf(&zeros, &one);
	for (int i = 0; i < 256; i++)
		buf_add(&z, one.p, one.n);
	struct unpack_opts o = { .size = -1, .dirfd = -1, .tar_split_fd = -1 };

	assert_int_equal(go(o, &z, NULL, &err), 0);
	o.limits.max_plain = 1u << 29;
	assert_int_equal(go(o, &z, NULL, &err), CRIO_E_EXHAUSTED);
	free(block);
}

static void test_duplicates(void **state)
{
	cleanup_err crio_err err = ERR_INIT;
	struct place p;

	(void)state;
	for (int s = CRIO_WHITEOUT_REMOVE; s <= CRIO_WHITEOUT_OVERLAY; s++)
		for (int same = 0; same < 2; same++) {
			cleanup_unpack_result struct unpack_result res = { 0 };
			cleanup_buf struct buf t = BUF_INIT;
			struct assembly *a = NULL;

			place_new(&p);
			cleanup_close int split = place_file(&p), out = place_file(&p);
			cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE);

			/* What the parent has does not count as a duplicate. */
			if (s == CRIO_WHITEOUT_REMOVE)
				assert_int_equal(mk_sh("cd '%s/root' && mkdir d && echo old >d/f && echo old >g", p.top), 0);
			mk_entry(&t, '5', "d", "", NULL);
			mk_entry(&t, '5', "./d/", "", NULL);
			mk_entry(&t, '0', "g", "", "g");
			mk_entry(&t, '0', "d/f", "", "one");
			mk_end(&t);
			assert_int_equal(mk_unpack(t.p, t.n, p.root, (enum crio_whiteout)s, -1, &res, &err), 0);
			assert_false(res.duplicates);
			unpack_result_release(&res);
			if (s == CRIO_WHITEOUT_OVERLAY)
				assert_int_equal(mk_sh("rm -r '%s'/root/*", p.top), 0);
			t.n -= 1024;
			mk_entry(&t, '0', "./d/f", "", same ? "one" : "two");
			mk_end(&t);
			assert_int_equal(mk_unpack(t.p, t.n, p.root, (enum crio_whiteout)s, split, &res, &err), 0);
			assert_true(res.duplicates);
			(void)lseek(split, 0, SEEK_SET);
			assert_int_equal(assembly_new(p.root, split, &a, &err), 0);
			assert_int_equal(assembly_copy(call, a, out, NULL, &err), same ? 0 : CRIO_E_CORRUPT);
			assembly_free(a);
			place_free(&p);
		}
}

static ssize_t read_then_cancel(void *arg, void *p, size_t n, crio_err *err)
{
	void **v = arg;
	ssize_t r = mem_read(v[0], p, n < 600 ? n : 600, err);

	if (((struct mem *)v[0])->at > 2000)
		call_cancel(v[1]);
	return r;
}

static ssize_t read_then_fail(void *arg, void *p, size_t n, crio_err *err)
{
	struct mem *m = arg;

	if (m->at > 2000)
		return err_set(err, CRIO_E_UNAVAILABLE, "the registry went away");
	return mem_read(m, p, n < 600 ? n : 600, err);
}

static void test_stops(void **state)
{
	cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE), *late = call_new("test", now_mono_ns() - 1);
	cleanup_unpack_result struct unpack_result res = { 0 };
	cleanup_buf struct buf t = BUF_INIT;
	cleanup_err crio_err err = ERR_INIT;
	struct mem m;
	void *v[2] = { &m, call };

	(void)state;
	sample(&t);
	struct unpack_opts o = { .size = -1, .dirfd = -1, .tar_split_fd = -1 };

	m = (struct mem){ t.p, t.n, 0, 0 };
	o.src = (struct source){ read_then_cancel, v };
	assert_int_equal(unpack_layer(call, &o, &res, &err), CRIO_E_CANCELLED);
	m = (struct mem){ t.p, t.n, 0, 0 };
	o.src = (struct source){ mem_read, &m };
	assert_int_equal(unpack_layer(late, &o, &res, &err), CRIO_E_DEADLINE);
	cleanup_call crio_call *third = call_new("test", CALL_NO_DEADLINE);

	m = (struct mem){ t.p, t.n, 0, 0 };
	o.src.read = read_then_fail;
	assert_int_equal(unpack_layer(third, &o, &res, &err), CRIO_E_UNAVAILABLE);
	assert_string_equal(err_text(&err), "the registry went away");
	/* Options that make no sense. */
	o.src.read = mem_read;
	o.tar_split_fd = 1;
	assert_int_equal(unpack_layer(third, &o, &res, &err), CRIO_E_INVALID);
	struct place p;

	place_new(&p);
	o.tar_split_fd = -1;
	o.dirfd = p.root;
	o.whiteout = 0;
	assert_int_equal(unpack_layer(third, &o, &res, &err), CRIO_E_INVALID);
	place_free(&p);
}

struct swap {
	struct place *p;
	_Atomic bool stop;
	unsigned long n;
};

static void *swap_main(void *arg)
{
	struct swap *s = arg;

	while (!s->stop) {
		/* d becomes a link to the outside and a directory again, for ever. */
		(void)renameat2(s->p->root, "d", s->p->top_fd, "spare", RENAME_EXCHANGE);
		s->n++;
	}
	return NULL;
}

/* Somebody with access to the tree swaps directories for links: nothing may land outside. */
static void test_swap(void **state)
{
	cleanup_buf struct buf t = BUF_INIT;
	struct swap s = { 0 };
	struct place p;
	char name[64];
	pthread_t th;

	(void)state;
	place_new(&p);
	assert_int_equal(mk_sh("cd '%s' && mkdir outside root/d && ln -s ../outside spare && echo keep >outside/keep", p.top), 0);
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "d/e%d/f", i % 7);
		mk_entry(&t, '0', name, "", "x");
		(void)snprintf(name, sizeof(name), "d/%d", i);
		mk_entry(&t, "0526"[i % 4], name, "../../canary", NULL);
		(void)snprintf(name, sizeof(name), "d/.wh.keep");
		mk_entry(&t, '0', name, "", NULL);
		if (i % 100 == 0)
			mk_entry(&t, '0', "d/.wh..wh..opq", "", NULL);
		mk_entry(&t, '0', "other/f", "", "y");
	}
	mk_end(&t);
	s.p = &p;
	assert_int_equal(pthread_create(&th, NULL, swap_main, &s), 0);
	for (int i = 0; i < 20; i++) {
		cleanup_unpack_result struct unpack_result res = { 0 };
		cleanup_err crio_err err = ERR_INIT;

		(void)mk_unpack(t.p, t.n, p.root, i % 2 ? CRIO_WHITEOUT_REMOVE : CRIO_WHITEOUT_OVERLAY, -1, &res, &err);
	}
	s.stop = true;
	(void)pthread_join(th, NULL);
	print_message("%lu swaps\n", s.n);
	assert_int_equal(mk_sh("cd '%s' && test \"$(ls -A outside)\" = keep && test \"$(cat outside/keep)\" = keep && "
			       "test \"$(cat canary)\" = 'do not touch'", p.top),
			 0);
	place_free(&p);
}

static int assemble(struct place *p, const void *split, size_t n)
{
	cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE);
	cleanup_close int fd = place_file(p), out = place_file(p);
	cleanup_err crio_err err = ERR_INIT;
	struct assembly *a = NULL;

	assert_int_equal(fs_write_all(fd, split, n, NULL), 0);
	(void)lseek(fd, 0, SEEK_SET);
	assert_int_equal(assembly_new(p->root, fd, &a, &err), 0);
	int r = assembly_copy(call, a, out, NULL, &err);

	assert_true(!r || err.msg);
	assembly_free(a);
	return r;
}

static int assemble_text(struct place *p, const char *text)
{
	return assemble(p, text, strlen(text));
}

static void test_assembly_damage(void **state)
{
	cleanup_unpack_result struct unpack_result res = { 0 };
	cleanup_err crio_err err = ERR_INIT;
	cleanup_buf struct buf t = BUF_INIT;
	cleanup_free char *split = NULL;
	struct place p;
	size_t n;

	(void)state;
	place_new(&p);
	sample(&t);
	cleanup_close int fd = place_file(&p);

	assert_int_equal(mk_unpack(t.p, t.n, p.root, CRIO_WHITEOUT_OVERLAY, fd, &res, &err), 0);
	(void)lseek(fd, 0, SEEK_SET);
	assert_int_equal(fs_read_fd(fd, 1u << 20, &split, &n, &err), 0);
	assert_int_equal(assemble(&p, split, n), 0);
	for (size_t cut = 3; cut < n; cut += 7)
		assert_int_equal(assemble(&p, split, cut), CRIO_E_CORRUPT);
	assert_int_equal(mk_sh("printf 'Content of a' >'%s/root/d/a'", p.top), 0);
	assert_int_equal(assemble(&p, split, n), CRIO_E_CORRUPT);
	assert_int_equal(mk_sh("printf 'content of' >'%s/root/d/a'", p.top), 0);
	assert_int_equal(assemble(&p, split, n), CRIO_E_CORRUPT);
	assert_int_equal(mk_sh("cd '%s/root/d' && mv a a2 && printf 'content of a' >../../a && ln -s ../../a a", p.top), 0);
	assert_true(assemble(&p, split, n) < 0);
	assert_int_equal(mk_sh("cd '%s/root/d' && rm a && mkfifo a", p.top), 0);
	assert_int_equal(assemble(&p, split, n), CRIO_E_CORRUPT);
	assert_int_equal(mk_sh("cd '%s/root/d' && rm a", p.top), 0);
	assert_int_equal(assemble(&p, split, n), CRIO_E_CORRUPT);
	assert_int_equal(mk_sh("cd '%s/root/d' && mv a2 a && printf 'content of a' >a", p.top), 0);
	assert_int_equal(assemble(&p, split, n), 0);
	/* Lines that are none. */
	assert_int_equal(assemble_text(&p, ""), 0);
	assert_int_equal(assemble_text(&p, "\n\n"), 0);
	assert_int_equal(assemble_text(&p, "{\"type\":2,\"payload\":\"YWJj\",\"position\":0}"), 0);
	assert_int_equal(assemble_text(&p, "{\"type\":2,\"payload\":null}\n"), 0);
	assert_int_equal(assemble_text(&p, "{\"type\":2,\"payload\":\"YWJ\"}\n"), CRIO_E_CORRUPT);
	assert_int_equal(assemble_text(&p, "{\"type\":2,\"payload\":\"Y*Jj\"}\n"), CRIO_E_CORRUPT);
	assert_int_equal(assemble_text(&p, "{\"type\":3}\n"), CRIO_E_CORRUPT);
	assert_int_equal(assemble_text(&p, "[]\n"), CRIO_E_CORRUPT);
	assert_int_equal(assemble_text(&p, "rubbish\n"), CRIO_E_CORRUPT);
	assert_int_equal(assemble_text(&p, "{\"type\":1,\"name\":\"b\",\"size\":-1,\"payload\":null}\n"), CRIO_E_CORRUPT);
	assert_int_equal(assemble_text(&p, "{\"type\":1,\"name\":\"b\",\"size\":1,\"payload\":null}\n"), CRIO_E_CORRUPT);
	assert_int_equal(assemble_text(&p, "{\"type\":1,\"name\":\"../canary\",\"size\":12,\"payload\":\"AAAAAAAAAAA=\"}\n"),
			 CRIO_E_CORRUPT);
	assert_int_equal(assemble_text(&p, "{\"type\":1,\"name\":\"d\",\"size\":1,\"payload\":\"AAAAAAAAAAA=\"}\n"), CRIO_E_CORRUPT);
	assert_int_equal(assemble_text(&p, "{\"type\":1,\"name\":\"\",\"size\":1,\"payload\":\"AAAAAAAAAAA=\"}\n"), CRIO_E_CORRUPT);
	place_free(&p);
}

/* From one store to another without a file in between: an assembly is the source of an unpacking. */
static void test_copy(void **state)
{
	cleanup_unpack_result struct unpack_result res = { 0 }, res2 = { 0 };
	cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE);
	cleanup_err crio_err err = ERR_INIT;
	cleanup_buf struct buf t = BUF_INIT;
	struct assembly *a = NULL;
	struct place p, q;

	(void)state;
	place_new(&p);
	place_new(&q);
	sample(&t);
	cleanup_close int fd = place_file(&p);

	assert_int_equal(mk_unpack(t.p, t.n, p.root, CRIO_WHITEOUT_OVERLAY, fd, &res, &err), 0);
	(void)lseek(fd, 0, SEEK_SET);
	assert_int_equal(assembly_new(p.root, fd, &a, &err), 0);
	struct unpack_opts o = { .src = { assembly_read, a }, .diff_id = res.diff_id, .size = -1, .dirfd = q.root,
				 .whiteout = CRIO_WHITEOUT_REMOVE, .tar_split_fd = -1 };

	assert_int_equal(unpack_layer(call, &o, &res2, &err), 0);
	assembly_free(a);
	assert_int_equal(mk_sh("diff -r '%s/root' '%s/root'", p.top, q.top), 0);
	place_free(&p);
	place_free(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_result), cmocka_unit_test(test_expectations), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_bomb),   cmocka_unit_test(test_duplicates),   cmocka_unit_test(test_stops),
		cmocka_unit_test(test_swap),   cmocka_unit_test(test_assembly_damage), cmocka_unit_test(test_copy),
	};

	if (geteuid()) {
		print_message("needs root: skipped\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
