/* Layers made by real tools: unpacked as the tool would, digests as sha256sum says, and the archive back byte for byte. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "core/unpack/assemble.h"
#include "core/util/fs.h"
#include "tests/unit/unpack/mktar.h"

/* A tree with one of everything, below <top>/src. */
static void make_tree(const struct place *p)
{
	assert_int_equal(mk_sh("set -e; mkdir -p '%s/src'; cd '%s/src'; umask 022\n"
			       "mkdir -p usr/bin var/empty 'd/e/ep'; echo hello >usr/bin/hello; chmod 4755 usr/bin/hello\n"
			       "ln usr/bin/hello usr/bin/hello2; ln -s /usr/bin bin; ln -s ../../canary d/out\n"
			       "head -c 300000 /dev/urandom >d/random; : >d/none; mkfifo d/pipe; mknod d/null c 1 3\n"
			       "printf x >'d/e/name with \"quotes\" and \\ and <angle>'; printf y >d/$(printf 'bad\\377name')\n"
			       "l=$(printf 'l%%.0s' $(seq 1 200)); mkdir -p d/$l/$l; printf z >d/$l/$l/$l; ln -s $l/$l d/ll\n"
			       "truncate -s 5M d/sparse; printf mid | dd of=d/sparse bs=1 seek=2000000 conv=notrunc 2>/dev/null\n"
			       "truncate -s 100k d/hole\n"
			       "chown 12345:54321 d/random; chmod 1777 var/empty; setcap cap_net_raw+ep usr/bin/hello\n"
			       "python3 -c 'import os; os.setxattr(\"d/random\", \"user.k\", b\"v\\0w\\n\")'\n"
			       "touch -h -d '2001-02-03 04:05:06.123456789Z' d/random bin d/out\n"
			       "touch -d '1969-12-31 23:59:58.5Z' d/none; touch -d '2010-01-01Z' d/e d var/empty usr/bin\n",
			       p->top, p->top),
			 0);
}

static char *read_top(const struct place *p, const char *name, size_t *n)
{
	char *text = NULL;

	assert_int_equal(fs_read_file(p->top_fd, name, 64u << 20, &text, n, NULL), 0);
	return text;
}

/* file: below top, maybe compressed; plain: the tar itself below top. */
static void unpack_and_back(struct place *p, const char *file, const char *plain, size_t step, bool compare)
{
	cleanup_unpack_result struct unpack_result res = { 0 };
	cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE);
	cleanup_err crio_err err = ERR_INIT;
	cleanup_close int split = place_file(p), out = place_file(p);
	size_t n, plain_n, back_n;
	cleanup_free char *blob = read_top(p, file, &n), *tar = read_top(p, plain, &plain_n), *back = NULL;
	char want[DIGEST_TEXT_MAX], want_blob[DIGEST_TEXT_MAX];
	struct mem m = { blob, n, 0, step };
	struct assembly *a = NULL;

	digest_of(tar, plain_n, want);
	digest_of(blob, n, want_blob);
	struct unpack_opts o = { .src = { mem_read, &m }, .size = (int64_t)n, .digest = want_blob, .diff_id = want,
				 .dirfd = p->root, .whiteout = CRIO_WHITEOUT_OVERLAY, .tar_split_fd = split };

	if (unpack_layer(call, &o, &res, &err))
		fail_msg("%s: %s", file, err_text(&err));
	assert_string_equal(res.diff_id, want);
	assert_string_equal(res.digest, want_blob);
	assert_int_equal(res.size, n);
	assert_int_equal(res.diff_size, plain_n);
	if (compare)
		assert_int_equal(mk_sh("cd '%s' && touch -r src root && chmod --reference=src root && for i in src root; do tar --format=pax --sort=name --xattrs "
				       "--xattrs-include='*' --pax-option=exthdr.name=x,delete=atime,delete=ctime "
				       "-C $i -cf $i.tar . 2>/dev/null; done; chmod 600 *.tar; cmp src.tar root.tar && rm root.tar",
				       p->top),
				 0);

	lseek(split, 0, SEEK_SET);
	assert_int_equal(assembly_new(p->root, split, &a, &err), 0);
	uint64_t size = 0;

	if (assembly_copy(call, a, out, &size, &err))
		fail_msg("%s: %s", file, err_text(&err));
	assembly_free(a);
	assert_int_equal(size, plain_n);
	lseek(out, 0, SEEK_SET);
	assert_int_equal(fs_read_fd(out, 64u << 20, &back, &back_n, &err), 0);
	assert_int_equal(back_n, plain_n);
	assert_memory_equal(back, tar, plain_n);
	assert_int_equal(mk_sh("cd '%s' && rm -rf root/* && chmod 700 root", p->top), 0);
}

static bool have(const char *program)
{
	return mk_sh("command -v %s >/dev/null 2>&1", program) == 0;
}

static void test_tools(void **state)
{
	static const struct {
		const char *program, *line;
		bool compare;
	} tools[] = {
		{ "tar", "tar --format=pax --xattrs --xattrs-include='*' -C src -cf t.tar .", true },
		{ "tar", "tar --format=pax --sparse --xattrs --xattrs-include='*' -C src -cf t.tar .", true },
		{ "tar", "tar --format=pax --sparse --sparse-version=0.0 --xattrs --xattrs-include='*' -C src -cf t.tar .", true },
		{ "tar", "tar --format=pax --sparse --sparse-version=0.1 --xattrs --xattrs-include='*' -C src -cf t.tar .", true },
		{ "tar", "tar --format=gnu -C src -cf t.tar .", false },
		{ "tar", "tar --format=gnu --sparse -C src -cf t.tar .", false },
		{ "tar", "tar --format=oldgnu -b1 -C src -cf t.tar .", false },
		{ "tar", "tar --format=ustar -C src -cf t.tar usr var bin", false },
		{ "tar", "tar --format=v7 -C src -cf t.tar usr var/empty bin", false },
		{ "bsdtar", "bsdtar --format=pax --xattrs -C src -cf t.tar .", false },
		{ "bsdtar", "bsdtar --format=gnutar -C src -cf t.tar .", false },
		{ "python3", "python3 -c 'import tarfile; t=tarfile.open(\"t.tar\",\"w\",format=tarfile.PAX_FORMAT); "
			     "t.add(\"src\",arcname=\"\"); t.close()'", false },
		{ "python3", "python3 -c 'import tarfile; t=tarfile.open(\"t.tar\",\"w\",format=tarfile.GNU_FORMAT); "
			     "t.add(\"src\",arcname=\"/\"); t.close()'", false },
	};
	struct place p;

	(void)state;
	place_new(&p);
	make_tree(&p);
	for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
		if (!have(tools[i].program))
			continue;
		print_message("%s\n", tools[i].line);
		assert_int_equal(mk_sh("cd '%s' && %s 2>/dev/null", p.top, tools[i].line), 0);
		unpack_and_back(&p, "t.tar", "t.tar", 0, tools[i].compare);
	}
	place_free(&p);
}

static void test_compressions(void **state)
{
	static const char *const lines[] = {
		"gzip -kf t.tar && mv t.tar.gz t.z",
		"gzip -1 -c t.tar >t.z",
		"gzip -9 -c t.tar >t.z",
		"head -c 100000 t.tar | gzip -n >t.z; tail -c +100001 t.tar | gzip >>t.z",
		"zstd -q -c t.tar >t.z",
		"zstd -q -19 -c t.tar >t.z",
		"head -c 100000 t.tar | zstd -q >t.z; printf '\\120\\052\\115\\030\\004\\000\\000\\000skip' >>t.z; "
		"tail -c +100001 t.tar | zstd -q >>t.z",
		"cp t.tar t.z",
	};
	static const size_t steps[] = { 0, 1000 };
	struct place p;

	(void)state;
	place_new(&p);
	make_tree(&p);
	assert_int_equal(mk_sh("cd '%s' && tar --format=pax --xattrs --xattrs-include='*' -C src -cf t.tar .", p.top), 0);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(mk_sh("cd '%s' && { %s; }", p.top, lines[i]), 0);
		for (size_t k = 0; k < ARRAY_SIZE(steps); k++)
			unpack_and_back(&p, "t.z", "t.tar", steps[k], false);
	}
	place_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tools),
		cmocka_unit_test(test_compressions),
	};

	if (geteuid()) {
		print_message("needs root: skipped\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
