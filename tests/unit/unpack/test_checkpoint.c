/* Checkpoints: the archive writer against other readers, changed files there and back, and archives of somebody who means harm. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "core/lifecycle/checkpoint_source.h"
#include "core/lifecycle/rootfs_diff.h"
#include "core/util/fs.h"
#include "tests/unit/unpack/mktar.h"

static crio_call *call;

/* ---- the writer ---- */

static void write_one_of_each(struct tar_out *o)
{
	const struct tar_xattr x[] = { { "user.k", "v\0w\n", 4 } };
	char name[300];
	struct tar_mark mark, inner;

	memset(name, 'n', 299);
	name[150] = '/';
	name[299] = '\0';
	struct tar_entry e = { .type = TAR_FILE, .name = name, .link = "", .size = 3, .mode = 04755, .uid = 3000000000u, .gid = 7, .mtime = -2,
			       .mtime_ns = 500000000, .xattrs = x, .n_xattrs = 1 };

	assert_int_equal(tar_out_begin(o, &e, NULL, NULL), 0);
	assert_int_equal(tar_out_data(o, "abc", 3, NULL), 0);
	assert_int_equal(tar_out_end(o, NULL, NULL), 0);
	e = (struct tar_entry){ .type = TAR_DIR, .name = "dir/", .link = "", .mode = 01777, .mtime = 1000000000 };
	assert_int_equal(tar_out_begin(o, &e, NULL, NULL), 0);
	e = (struct tar_entry){ .type = TAR_SYMLINK, .name = "link", .link = name, .mode = 0777 };
	assert_int_equal(tar_out_begin(o, &e, NULL, NULL), 0);
	e = (struct tar_entry){ .type = TAR_CHAR, .name = "dev", .link = "", .mode = 0600, .major = 1, .minor = 3 };
	assert_int_equal(tar_out_begin(o, &e, NULL, NULL), 0);
	/* An archive in the archive, whose size is known at its end. */
	e = (struct tar_entry){ .type = TAR_FILE, .name = "inner.tar", .link = "", .mode = 0600 };
	assert_int_equal(tar_out_begin(o, &e, &mark, NULL), 0);
	e.name = "in";
	assert_int_equal(tar_out_begin(o, &e, &inner, NULL), 0);
	assert_int_equal(tar_out_data(o, "xyz", 3, NULL), 0);
	assert_int_equal(tar_out_end(o, &inner, NULL), 0);
	assert_int_equal(tar_out_finish(o, NULL), 0);
	assert_int_equal(tar_out_end(o, &mark, NULL), 0);
	assert_int_equal(tar_out_file(o, "last", "l", 1, NULL), 0);
	assert_int_equal(tar_out_finish(o, NULL), 0);
}

static void test_writer(void **state)
{
	struct place p;

	(void)state;
	place_new(&p);
	cleanup_close int fd = openat(p.top_fd, "a.tar", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct tar_out o = { .fd = fd, .max = 1u << 20 };

	write_one_of_each(&o);
	struct unpack_result res = { 0 };
	cleanup_free char *text = NULL;
	size_t n;

	assert_int_equal(fs_read_file(p.top_fd, "a.tar", 1u << 20, &text, &n, NULL), 0);
	assert_int_equal(n, o.at);
	assert_int_equal(mk_unpack(text, n, p.root, CRIO_WHITEOUT_REMOVE, -1, &res, NULL), 0);
	unpack_result_release(&res);
	assert_int_equal(mk_sh("set -e; cd '%s/root'; f=$(echo n*/n*); [ \"$(cat $f)\" = abc ]; [ \"$(stat -c '%%a %%u %%g %%y' $f)\" = "
			       "\"4755 3000000000 7 $(TZ=UTC date -d '1969-12-31 23:59:58.5Z' '+%%F %%T.%%N %%z')\" ]\n"
			       "[ \"$(readlink link)\" = $f ]; [ \"$(stat -c '%%F %%t %%T' dev)\" = 'character special file 1 3' ]\n"
			       "[ \"$(stat -c '%%a %%Y' dir)\" = '1777 1000000000' ]; [ \"$(cat last)\" = l ]; [ \"$(tar -xOf inner.tar in)\" = xyz ]\n"
			       "python3 -c 'import os,sys; assert os.getxattr(sys.argv[1], \"user.k\") == b\"v\\0w\\n\"' $f",
			       p.top),
			 0);
	/* Others read it alike. */
	assert_int_equal(mk_sh("set -e; cd '%s'; mkdir other; tar --xattrs -xpf a.tar -C other; diff -r --no-dereference -x dev root other; "
			       "python3 -c 'import tarfile; t = tarfile.open(\"a.tar\"); assert [len(t.getmembers()), t.getmember(\"inner.tar\").size] == [6, 2048]'; "
			       "rm -r other a.tar",
			       p.top),
			 0);
	place_free(&p);
}

static void test_writer_large(void **state)
{
	struct place p;
	const struct tar_entry e = { .type = TAR_FILE, .name = "large", .link = "", .mode = 0600 };
	struct tar_mark mark;

	(void)state;
	place_new(&p);
	cleanup_close int fd = openat(p.top_fd, "a.tar", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct tar_out o = { .fd = fd, .max = 10ull << 30 };
	cleanup_err crio_err err = ERR_INIT;

	assert_int_equal(tar_out_begin(&o, &e, &mark, NULL), 0);
	assert_int_equal(tar_out_zeros(&o, 9ull << 30, NULL), 0);
	assert_int_equal(tar_out_end(&o, &mark, NULL), 0);
	assert_int_equal(tar_out_zeros(&o, 1ull << 30, &err), CRIO_E_EXHAUSTED);
	assert_int_equal(tar_out_finish(&o, NULL), 0);
	assert_int_equal(mk_sh("cd '%s'; [ \"$(tar -tvf a.tar | awk '{print $3, $NF}')\" = '9663676416 large' ]; r=$?; rm a.tar; exit $r", p.top), 0);
	place_free(&p);
}

/* ---- changed files ---- */

static int open_lower(void *arg, size_t i, int *ret, crio_err *err)
{
	const struct place *p = arg;

	if (i > 1)
		return err_set(err, CRIO_E_NOT_FOUND, "no more");
	*ret = openat(p->top_fd, i ? "low1" : "low2", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? err_errno(err, errno, "open") : 0;
}

static void test_diff(void **state)
{
	struct place p;
	cleanup_strv struct strv deleted = STRV_INIT, mounts = STRV_INIT;
	bool any = false;

	(void)state;
	place_new(&p);
	assert_int_equal(mk_sh("set -e; cd '%s'; mkdir low1 low2 up work merged; umask 022\n"
			       "mkdir -p low1/etc low1/opq/deep low1/big/sub low2/opq low2/two; echo a >low1/etc/a; echo b >low1/etc/b; echo o >low1/opq/o1; echo o >low1/opq/deep/x\n"
			       "echo o >low2/opq/o2; echo keep >low1/opq/keep; echo t >low2/two/t; ln -s etc low1/tolink; echo s >low1/big/sub/s; echo f >low1/wasfile; mkdir low1/wasdir; echo w >low1/wasdir/w; echo m >low1/meta\n"
			       "mount -t overlay overlay -o lowerdir=low2:low1,upperdir=up,workdir=work,metacopy=on,redirect_dir=on merged; cd merged\n"
			       "rm etc/a; echo new >etc/c; chmod 700 etc; rm -r opq; mkdir opq; echo again >opq/keep; rm -r two; mv big moved; echo more >moved/sub/more\n"
			       "chmod 4711 meta; rm wasfile; mkdir wasfile; echo in >wasfile/in; rm -r wasdir; echo now >wasdir; ln etc/c hard; rm tolink; ln -s /nowhere tolink\n"
			       "truncate -s 3M sparse; printf end >>sparse; mkfifo pipe; setfattr -n user.k -v v etc/b 2>/dev/null || python3 -c 'import os; os.setxattr(\"etc/b\", \"user.k\", b\"v\")'\n"
			       "mkdir -p run/secrets dev/x mnt/in; echo r >run/pid; echo s >run/secrets/s; echo d >dev/x/y; echo m >mnt/in/m; touch -d '2001-02-03 04:05:06.5Z' etc/c; chown 5:6 hard\n"
			       "mknod node c 1 3; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'",
			       p.top),
			 0);
	cleanup_close int up = openat(p.top_fd, "up", O_RDONLY | O_DIRECTORY | O_CLOEXEC), merged = openat(p.top_fd, "merged", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int fd = openat(p.top_fd, "a.tar", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct tar_out o = { .fd = fd, .max = 64u << 20 };
	const struct rootfs_diff d = { .upper = up, .merged = merged, .lower = open_lower, .arg = &p, .mounts = &mounts };
	cleanup_err crio_err err = ERR_INIT;

	assert_int_equal(strv_add(&mounts, "/mnt"), 0);
	if (rootfs_diff_write(&d, call, &o, &deleted, &any, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_true(any);
	assert_int_equal(tar_out_finish(&o, NULL), 0);
	static const char *const gone[] = { "/etc/a", "/opq/o1", "/opq/o2", "/opq/deep", "/two", "/big" };
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		if (!strv_has(&deleted, gone[i]))
			fail_msg("%s is not among what is gone", gone[i]);
	assert_int_equal(deleted.n, ARRAY_SIZE(gone));
	/* The space of holes is not written. */
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks * 512 < 1u << 20);

	/* Into a copy of what is below it comes back as it is; the node only for who may have it. */
	assert_int_equal(mk_sh("cd '%s' && cp -a low1/. root && cp -a low2/. root", p.top), 0);
	struct source src = source_of_fd(fd);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(rootfs_diff_apply(p.root, call, src, 64u << 20, false, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "'node' is a device"));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	if (rootfs_diff_apply(p.root, call, src, 64u << 20, true, &err) < 0 || rootfs_diff_delete(p.root, &deleted, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(mk_sh("set -e; cd '%s'; list() { (cd $1; find . -mindepth 1 -path ./dev -prune -o -path ./mnt -prune -o -path ./run -prune -o ! -type s -printf '%%P %%y %%m %%U:%%G %%n %%l %%s\\n' | sed 's/ d \\(.*\\) [0-9]*  [0-9]*$/ d \\1/' | sort); }\n"
			       "list merged >1; list root >2; diff 1 2 >&2; for f in etc/c moved/sub/s moved/sub/more opq/keep meta sparse wasdir wasfile/in; do cmp merged/$f root/$f; done\n"
			       "[ root/hard -ef root/etc/c ]; [ $(stat -c %%.1Y root/etc/c) = 981173106.5 ]; [ -e root/run/pid ]; [ ! -e root/run/secrets ]; [ ! -e root/dev ]; [ ! -e root/mnt ]\n"
			       "python3 -c 'import os; assert os.getxattr(\"root/etc/b\", \"user.k\") == b\"v\"'; umount -l merged; rm -rf low1 low2 up work merged a.tar 1 2",
			       p.top),
			 0);
	place_free(&p);
}

/* ---- what comes in ---- */

static const char spec_text[] = "{\"annotations\":{\"io.kubernetes.cri-o.Annotations\":\"{}\"}}";

static void begin(struct buf *t)
{
	buf_clear(t);
	mk_entry(t, '0', "spec.dump", NULL, spec_text);
	mk_entry(t, '0', "./config.dump", NULL, "{\"rootfsImageName\":\"i\"}");
	mk_entry(t, '5', "checkpoint/", NULL, NULL);
	mk_entry(t, '0', "checkpoint/inventory.img", NULL, "criu");
}

/* Reads both passes; the code of the first that fails. `want` is in its text. */
static int read_all(struct place *p, struct buf *t, const char *want)
{
	cleanup_checkpoint_source struct checkpoint_source s = CHECKPOINT_SOURCE_INIT;
	struct checkpoint_meta m = { 0 };
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *path = path_fmt("%s/ck.tar", p->top), *log = path_fmt("%s/log", p->top);
	cleanup_close int dir = -1;

	mk_end(t);
	assert_int_equal(fs_write_path(path, t->p, t->n, 0600, FS_RUN, NULL), 0);
	assert_int_equal(mkdirat(p->top_fd, "dir", 0700), 0);
	dir = openat(p->top_fd, "dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(checkpoint_source_open(path, &s, &err), 0);
	int r = checkpoint_read_meta(&s, call, &m, &err);
	const struct checkpoint_target to = { .dir = dir, .root = p->root, .log_path = log, .deleted = &m.deleted };

	if (r == 0)
		r = checkpoint_unpack(&s, call, &to, &err);
	checkpoint_meta_release(&m);
	if (want && !strstr(err_text(&err), want))
		fail_msg("%d %s, which should say '%s'", r, err_text(&err), want);
	if (!want && r < 0)
		fail_msg("%s", err_text(&err));
	/* A log is left only by success; what is in dir is the caller's to remove. */
	assert_int_equal(faccessat(p->top_fd, "log", F_OK, 0), r < 0 ? -1 : faccessat(p->top_fd, "log", F_OK, 0));
	assert_int_equal(mk_sh("cd '%s'; [ -z \"$(find dir -mindepth 1 ! -path dir/checkpoint ! -path 'dir/checkpoint/*')\" ] && rm -rf dir ck.tar log", p->top), 0);
	assert_true(place_clean(p));
	return r;
}

static void test_good(void **state)
{
	struct place p;
	struct buf t = BUF_INIT, diff = BUF_INIT;

	(void)state;
	place_new(&p);
	mk_entry(&diff, '0', "etc/new", NULL, "hello");
	mk_entry(&diff, '0', ".wh.kept", NULL, "a name like others");
	mk_end(&diff);
	assert_int_equal(mk_sh("mkdir '%s/root/etc'; touch '%s/root/kept' '%s/root/etc/old'", p.top, p.top, p.top), 0);
	begin(&t);
	struct mk_head h;
	mk_head(&h, '0', "rootfs-diff.tar", "", (long long)diff.n);
	mk_block(&t, &h);
	mk_data(&t, diff.p, diff.n);
	mk_entry(&t, '0', "deleted.files", NULL, "[\"/etc/old\",\"/etc/absent\",\"/no/such\"]");
	mk_entry(&t, '0', "bind.mounts", NULL, "[]");
	mk_entry(&t, '0', "io.kubernetes.cri-o.LogPath", NULL, "line\n");
	mk_entry(&t, '2', "artifacts", "/etc", NULL); /* not ours: passed over */
	assert_int_equal(read_all(&p, &t, NULL), 0);
	assert_int_equal(mk_sh("cd '%s/root'; [ \"$(cat etc/new)\" = hello ] && [ ! -e etc/old ] && [ -e kept ] && [ -e .wh.kept ]", p.top), 0);
	buf_release(&t);
	buf_release(&diff);
	place_free(&p);
}

static void test_hostile(void **state)
{
	struct place p;
	struct buf t = BUF_INIT, diff = BUF_INIT;
	struct mk_head h;

	(void)state;
	place_new(&p);
	static const struct {
		char type;
		const char *name, *link, *data;
		int code;
		const char *text;
	} v[] = {
		{ '0', "checkpoint/../../canary", NULL, "x", CRIO_E_INVALID, "'..'" },
		{ '0', "checkpoint/a/b", NULL, "x", CRIO_E_INVALID, "no directories" },
		{ '2', "checkpoint/pages-1.img", "/etc/shadow", NULL, CRIO_E_INVALID, "not a plain file" },
		{ '1', "checkpoint/pages-1.img", "checkpoint/inventory.img", NULL, CRIO_E_INVALID, "not a plain file" },
		{ '6', "checkpoint/fifo", NULL, NULL, CRIO_E_INVALID, "not a plain file" },
		{ '0', "checkpoint/inventory.img", NULL, "again", CRIO_E_EXISTS, "inventory.img" },
		{ '0', "spec.dump", NULL, "{}", CRIO_E_INVALID, "twice" },
		{ '2', "config.dump", "/etc/passwd", NULL, CRIO_E_INVALID, "not a plain file" },
		{ '0', "deleted.files", NULL, "[\"/../canary\"]", CRIO_E_INVALID, "'..'" },
		{ '0', "deleted.files", NULL, "[\"/.\"]", CRIO_E_INVALID, "root itself" },
		{ '0', "deleted.files", NULL, "[1]", CRIO_E_INVALID, "list of paths" },
		{ '0', "deleted.files", NULL, "{}", CRIO_E_INVALID, "kind of JSON" },
		{ '0', "bind.mounts", NULL, "[[[[", CRIO_E_CORRUPT, "bind.mounts" },
		{ '0', "rootfs-diff.tar", NULL, "no archive at all", CRIO_E_CORRUPT, "rootfs-diff.tar" },
		{ '2', "io.kubernetes.cri-o.LogPath", "/etc/passwd", NULL, CRIO_E_INVALID, "not a plain file" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		begin(&t);
		mk_entry(&t, v[i].type, v[i].name, v[i].link, v[i].data);
		assert_int_equal(read_all(&p, &t, v[i].text), v[i].code);
	}
	/* What is missing. */
	buf_clear(&t);
	assert_int_equal(read_all(&p, &t, "no checkpoint: spec.dump"), CRIO_E_INVALID);
	mk_entry(&t, '0', "spec.dump", NULL, spec_text);
	buf_clear(&t);
	mk_entry(&t, '0', "spec.dump", NULL, spec_text);
	mk_entry(&t, '0', "config.dump", NULL, "{}");
	assert_int_equal(read_all(&p, &t, "checkpoint/inventory.img"), CRIO_E_INVALID);
	/* Changed files that would lead out: links of the archive and of the image stay in the tree, devices are refused. */
	static const struct {
		char type;
		const char *name, *link, *data;
		int code;
		const char *text;
	} in[] = {
		{ '0', "../canary", NULL, "x", CRIO_E_INVALID, "'..'" },
		{ '3', "dev/sda", NULL, NULL, CRIO_E_INVALID, "is a device" },
		{ '1', "link", "../canary", NULL, CRIO_E_INVALID, "'..'" },
		{ '0', "out/canary", NULL, "x", 0, NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(in); i++) {
		buf_clear(&diff);
		begin(&t);
		mk_entry(&diff, '2', "out", "../..", NULL);
		mk_entry(&diff, in[i].type, in[i].name, in[i].link, in[i].data);
		mk_end(&diff);
		mk_head(&h, '0', "rootfs-diff.tar", "", (long long)diff.n);
		mk_block(&t, &h);
		mk_data(&t, diff.p, diff.n);
		/* Through a link nothing is deleted. */
		mk_entry(&t, '0', "deleted.files", NULL, "[\"/out/canary\"]");
		assert_int_equal(read_all(&p, &t, in[i].text), in[i].code);
	}
	/* A size that is not there, and one that would fill the disk. */
	begin(&t);
	mk_head(&h, '0', "spec.dump2", "", 1ll << 33);
	mk_block(&t, &h);
	assert_int_equal(read_all(&p, &t, "ends too early"), CRIO_E_CORRUPT);
	buf_release(&t);
	buf_release(&diff);
	place_free(&p);
}

/* The log is not written through a link, nor over what is there. */
static void test_log(void **state)
{
	struct place p;
	struct buf t = BUF_INIT;

	(void)state;
	place_new(&p);
	begin(&t);
	mk_entry(&t, '0', "io.kubernetes.cri-o.LogPath", NULL, "line\n");
	assert_int_equal(symlinkat("canary", p.top_fd, "log"), 0);
	assert_int_equal(read_all(&p, &t, NULL), 0);
	buf_release(&t);
	place_free(&p);
}

static int setup(void **state)
{
	(void)state;
	/* The overlay goes with this program. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	call = call_new("test", CALL_NO_DEADLINE);
	return call ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	call_unref(call);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writer),	cmocka_unit_test(test_writer_large), cmocka_unit_test(test_diff),
		cmocka_unit_test(test_good),	cmocka_unit_test(test_hostile),	     cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
