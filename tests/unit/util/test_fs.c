/*
 * Paths that somebody else had a say in, and files of our own (core/util/fs.h). Each test has a tree with a secret beside it: `in` is the
 * tree, `out` is what no path leads to. Mounts need root: without it that one test says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "core/util/fs.h"
#include "tests/tmp.h"

struct tree {
	char path[TEST_TMP_N];
	int top; /* holds in/ and out/ */
	int in;
};

static void put(int dir, const char *name, const char *text)
{
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, text, strlen(text), NULL), 0);
}

static void is_text(int dir, const char *name, const char *text)
{
	cleanup_free char *got = NULL;

	assert_int_equal(fs_read_file(dir, name, 1000, &got, NULL, NULL), 0);
	assert_string_equal(got, text);
}

static int make(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	assert_non_null(test_tmp(t->path, "fs"));
	t->top = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(t->top >= 0);
	assert_int_equal(mkdirat(t->top, "in", 0700) | mkdirat(t->top, "out", 0700) | mkdirat(t->top, "in/d", 0700), 0);
	t->in = openat(t->top, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(t->in >= 0);
	put(t->top, "out/secret", "secret");
	put(t->in, "d/file", "mine");
	assert_int_equal(symlinkat("/d/file", t->in, "abs"), 0);
	assert_int_equal(symlinkat("../out/secret", t->in, "up"), 0);
	assert_int_equal(symlinkat("/out/secret", t->in, "root"), 0);
	assert_int_equal(symlinkat("d", t->in, "dir"), 0);
	assert_int_equal(symlinkat("loop", t->in, "loop"), 0);
	assert_int_equal(mkfifoat(t->in, "fifo", 0600), 0);
	*state = t;
	return 0;
}

static int remove_all(void **state)
{
	struct tree *t = *state;
	int r = fs_rm_rf(AT_FDCWD, t->path, NULL);

	(void)close(t->in);
	(void)close(t->top);
	free(t);
	return r;
}

typedef int (*open_fn)(int dirfd, const char *path, int flags, mode_t mode, crio_err *err);

/* What open(path) gives: a code, or what the file's text is. */
static void opens(open_fn open_in, int dir, const char *path, int want, const char *text)
{
	cleanup_err crio_err err = ERR_INIT;
	int fd = open_in(dir, path, O_RDONLY, 0, &err);
	char got[16] = "";

	if (want) {
		if (fd != want)
			print_error("%s: %d, should be %d\n", path, fd, want);
		assert_int_equal(fd, want);
		assert_non_null(strstr(err_text(&err), path));
		return;
	}
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fs_read_all(fd, got, sizeof(got) - 1, NULL) >= 0);
	assert_string_equal(got, text);
	(void)close(fd);
}

static void in_root(void **state)
{
	const struct tree *t = *state;

	opens(fs_open_in, t->in, "d/file", 0, "mine");
	opens(fs_open_in, t->in, "/d/file", 0, "mine");
	opens(fs_open_in, t->in, "abs", 0, "mine");
	opens(fs_open_in, t->in, "dir/file", 0, "mine");
	opens(fs_open_in, t->in, "../../d/file", 0, "mine"); /* ".." of the root is the root */
	opens(fs_open_in, t->in, "up", CRIO_E_NOT_FOUND, NULL);
	opens(fs_open_in, t->in, "root", CRIO_E_NOT_FOUND, NULL);
	opens(fs_open_in, t->in, "../out/secret", CRIO_E_NOT_FOUND, NULL);
	opens(fs_open_in, t->in, "loop", CRIO_E_INVALID, NULL);
	opens(fs_open_in, t->in, "d/file/x", CRIO_E_NOT_FOUND, NULL);
	/* A link of proc leads anywhere, whatever the path says. */
	cleanup_close int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(proc >= 0);
	opens(fs_open_in, proc, "exe", CRIO_E_INVALID, NULL);
}

static void beneath(void **state)
{
	const struct tree *t = *state;

	opens(fs_open_beneath, t->in, "d/file", 0, "mine");
	opens(fs_open_beneath, t->in, "d/../d/file", 0, "mine");
	opens(fs_open_beneath, t->in, "abs", CRIO_E_INVALID, NULL);
	opens(fs_open_beneath, t->in, "dir/file", CRIO_E_INVALID, NULL);
	opens(fs_open_beneath, t->in, "up", CRIO_E_INVALID, NULL);
	opens(fs_open_beneath, t->in, "../out/secret", CRIO_E_IO, NULL); /* EXDEV */
	opens(fs_open_beneath, t->in, "/d/file", CRIO_E_IO, NULL);
}

static void dir_beneath(void **state)
{
	const struct tree *t = *state;
	cleanup_closedir DIR *d = NULL, *again = NULL, *none = NULL;
	struct stat st, in;
	int n = 0;

	for (int round = 0; round < 2; round++) { /* each has a position of its own */
		DIR **at = round ? &again : &d;

		assert_int_equal(fs_opendir_beneath(t->in, round ? "d/.." : "", at, NULL), 0);
		for (n = 0; readdir(*at); n++)
			;
		assert_int_equal(n, 9); /* ".", "..", d, five links, fifo */
	}
	assert_int_equal(fstat(dirfd(d), &st) | fstat(t->in, &in), 0);
	assert_true(dirfd(d) != t->in && st.st_ino == in.st_ino);
	assert_true(fcntl(dirfd(d), F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fs_opendir_beneath(t->in, "d/file", &none, NULL), CRIO_E_NOT_FOUND);
	assert_int_equal(fs_opendir_beneath(t->in, "none", &none, NULL), CRIO_E_NOT_FOUND);
	assert_true(fs_opendir_beneath(t->in, "dir", &none, NULL) < 0);
	assert_true(fs_opendir_beneath(t->in, "../out", &none, NULL) < 0);
	assert_null(none);
}

static void mkdirs(void **state)
{
	const struct tree *t = *state;
	struct stat st;

	/* A link to outside is taken inside the tree: what it names there is made. */
	assert_int_equal(symlinkat("/away/../../else", t->in, "link"), 0);
	cleanup_close int fd = fs_mkdirs_in(t->in, "a/b/../c", 0750, NULL);

	assert_true(fd >= 0);
	assert_int_equal(fstatat(t->in, "a/c", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_true(fs_mkdirs_in(t->in, "d/file/x", 0750, NULL) < 0);
	assert_true(fs_mkdirs_in(t->in, "loop/x", 0750, NULL) < 0);
	int made = fs_mkdirs_in(t->in, "../out2/x", 0750, NULL);

	assert_true(made >= 0);
	(void)close(made);
	assert_int_equal(fstatat(t->top, "out2", &st, 0), -1);
	assert_int_equal(fstatat(t->in, "out2/x", &st, 0), 0);
}

static void reading(void **state)
{
	const struct tree *t = *state;
	cleanup_free char *text = NULL;
	char small[5];
	size_t n = 0;

	assert_int_equal(fs_read_file(t->in, "d/file", 4, &text, &n, NULL), 0);
	assert_int_equal(n, 4);
	assert_string_equal(text, "mine");
	assert_int_equal(fs_read_file(t->in, "d/file", 3, &(char *){NULL}, NULL, NULL), CRIO_E_EXHAUSTED);
	assert_true(fs_read_file(t->in, "fifo", 100, &(char *){NULL}, NULL, NULL) < 0); /* and does not wait for a writer */
	assert_true(fs_read_file(t->in, "d", 100, &(char *){NULL}, NULL, NULL) < 0);
	assert_int_equal(fs_read_file(t->in, "none", 100, &(char *){NULL}, NULL, NULL), CRIO_E_NOT_FOUND);
	put(t->in, "line", "max\n");
	assert_int_equal(fs_read_small(t->in, "line", small, sizeof(small), NULL), 3);
	assert_string_equal(small, "max");
	assert_int_equal(fs_write_small(t->in, "line", "100\n", NULL), 0);
	is_text(t->in, "line", "100\n");
	assert_int_equal(fs_write_small(t->in, "nothing", "1", NULL), CRIO_E_NOT_FOUND); /* it makes none */
}

static void writing(void **state)
{
	const struct tree *t = *state;
	struct stat st;

	for (int keep = 0; keep < 2; keep++) {
		enum fs_durability how = keep ? FS_KEEP : FS_RUN;

		assert_int_equal(fs_write_file(t->in, "new", "one", 3, 0640, how, NULL), 0);
		is_text(t->in, "new", "one");
		assert_int_equal(fs_write_file(t->in, "new", "two", 3, 0600, how, NULL), 0);
		is_text(t->in, "new", "two");
		assert_int_equal(fstatat(t->in, "new", &st, 0), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	/* It replaces a link, and does not write where that leads. */
	assert_int_equal(fs_write_file(t->in, "up", "own", 3, 0600, FS_RUN, NULL), 0);
	is_text(t->top, "out/secret", "secret");
	is_text(t->in, "up", "own");
	/* It cannot replace a directory, and leaves nothing begun. */
	assert_true(fs_write_file(t->in, "d", "x", 1, 0600, FS_RUN, NULL) < 0);
	cleanup_closedir DIR *d = NULL;
	const struct dirent *e;

	assert_int_equal(fs_opendir_beneath(t->in, "", &d, NULL), 0);
	while ((e = readdir(d)))
		assert_int_not_equal(strncmp(e->d_name, ".tmp-", 5), 0);
}

static void sweep(void **state)
{
	static const char *const stay[] = {".tmp-0123456-new", ".tmp-012345678-new", ".tmp-0123456x-new", ".tmp-01234567-", "tmp-01234567-new"};
	const struct tree *t = *state;
	struct stat st;

	put(t->in, ".tmp-0123abcd-new", "half");
	for (size_t i = 0; i < ARRAY_SIZE(stay); i++)
		put(t->in, stay[i], "other");
	fs_sweep_begun(t->in);
	assert_int_equal(fstatat(t->in, ".tmp-0123abcd-new", &st, 0), -1);
	for (size_t i = 0; i < ARRAY_SIZE(stay); i++)
		assert_int_equal(fstatat(t->in, stay[i], &st, 0), 0);
}

static void removing(void **state)
{
	const struct tree *t = *state;
	struct stat st;
	int at = openat(t->in, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Deeper than it has descriptors for. */
	for (int i = 0; i < 3000; i++) {
		int next;

		assert_int_equal(mkdirat(at, "d", 0700), 0);
		next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		(void)close(at);
		at = next;
	}
	assert_int_equal(symlinkat("../../../../../../../../../../../../../../tmp", at, "far"), 0);
	(void)close(at);
	assert_int_equal(symlinkat("../../out", t->in, "d/out"), 0);
	assert_int_equal(fs_rm_rf(t->in, "d", NULL), 0);
	assert_int_equal(fstatat(t->in, "d", &st, AT_SYMLINK_NOFOLLOW), -1);
	assert_int_equal(fs_rm_rf(t->in, "d", NULL), 0); /* absent is success */
	assert_int_equal(fs_rm_rf(t->in, "up", NULL), 0); /* the link, not what it names */
	is_text(t->top, "out/secret", "secret");
}

/* On a thread whose mounts are its own: the number of the step that went wrong, or 0. */
static long mounts_steps(const struct tree *t)
{
	cleanup_free char *m = path_fmt("%s/in/d/m", t->path), *in = path_fmt("%s/in", t->path), *text = NULL;

	if (!m || !in || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 1;
	cleanup_close int dir = open(in, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* t->in is of the other namespace */

	if (mkdirat(dir, "d/m", 0700) < 0 || fs_is_mountpoint(dir, "d/m", NULL) != 0)
		return 2;
	if (mount("t", m, "tmpfs", 0, "size=64k") < 0 || fs_is_mountpoint(dir, "d/m", NULL) != 1 || fs_is_mountpoint(dir, "d", NULL) != 0)
		return 3;
	cleanup_close int sub = openat(dir, "d/m", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fs_write_file(sub, "kept", "kept", 4, 0600, FS_RUN, NULL) < 0 || fs_rm_rf(dir, "d", NULL) != CRIO_E_PRECONDITION)
		return 4;
	if (fs_read_file(dir, "d/m/kept", 10, &text, NULL, NULL) < 0 || strcmp(text, "kept") != 0)
		return 5;
	if (fs_umount(m, NULL) < 0 || fs_is_mountpoint(dir, "d/m", NULL) != 0 || fs_umount(m, NULL) < 0)
		return 6;
	return fs_rm_rf(dir, "d", NULL) ? 7 : 0;
}

static void *mounts_thread(void *arg)
{
	return (void *)mounts_steps(arg);
}

static void mounts(void **state)
{
	void *step = NULL;
	pthread_t th;

	if (geteuid() != 0) {
		print_message("not root: a mount in the tree cannot be made\n");
		skip();
	}
	assert_int_equal(pthread_create(&th, NULL, mounts_thread, *state), 0);
	assert_int_equal(pthread_join(th, &step), 0);
	assert_int_equal((long)step, 0);
}

static void owned(void **state)
{
	const struct tree *t = *state;
	cleanup_free char *mine = NULL, *other = NULL;
	struct stat st;
	int fd = fs_owned_make(t->path, "own.", &mine, NULL);
	cleanup_close int held = fs_owned_make(t->path, "own.", &other, NULL);

	assert_true(fd >= 0 && held >= 0);
	assert_int_equal(stat(mine, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	fs_owned_sweep(t->path, "own.");
	assert_int_equal(stat(mine, &st), 0); /* its maker lives */
	(void)close(fd);
	fs_owned_sweep(t->path, "own.");
	assert_int_equal(stat(mine, &st), -1);
	assert_int_equal(stat(other, &st), 0);
}

static void locks(void **state)
{
	const struct tree *t = *state;
	cleanup_close int a = openat(t->in, "d/file", O_RDWR | O_CLOEXEC), b = openat(t->in, "d/file", O_RDWR | O_CLOEXEC);

	assert_int_equal(fs_lock(a, false, 0, NULL), 0);
	assert_int_equal(fs_lock(b, false, 0, NULL), 0); /* two readers */
	assert_int_equal(fs_lock(b, true, 0, NULL), CRIO_E_UNAVAILABLE);
	assert_int_equal(fs_lock(b, true, now_mono_ns() + 30000000, NULL), CRIO_E_DEADLINE);
	assert_int_equal(fs_unlock(a), 0);
	assert_int_equal(fs_lock(b, true, 0, NULL), 0);
	assert_int_equal(fs_lock(a, false, 0, NULL), CRIO_E_UNAVAILABLE);
	assert_int_equal(fs_unlock(b), 0);
}

static void names(void **state)
{
	static const char *const no[] = {"", ".", "..", "a/b", "/"};
	static const char *const clean[] = {"/", "/a", "/a/b.c", "/a/..b"};
	static const char *const unclean[] = {"", "a", "./a", "/a/..", "/../a", "/a/../b"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		assert_false(path_is_name(no[i]));
	assert_true(path_is_name("a") && path_is_name("..a") && path_is_name(".a"));
	for (size_t i = 0; i < ARRAY_SIZE(clean); i++)
		assert_true(path_is_clean_abs(clean[i]));
	for (size_t i = 0; i < ARRAY_SIZE(unclean); i++)
		assert_false(path_is_clean_abs(unclean[i]));
}

static void times(void **state)
{
	char text[40];
	int64_t ns = 0;

	(void)state;
	time_format(1767323045000000006, text);
	assert_string_equal(text, "2026-01-02T03:04:05.000000006Z");
	assert_true(time_parse(text, &ns));
	assert_int_equal(ns, 1767323045000000006);
	assert_true(time_parse("2026-01-02T04:04:05.5+01:00", &ns));
	assert_int_equal(ns, 1767323045500000000);
	assert_false(time_parse("2026-01-02", &ns));
	assert_false(time_parse("yesterday", &ns));
}

#define IN_TREE(f) cmocka_unit_test_setup_teardown(f, make, remove_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_TREE(in_root),  IN_TREE(beneath), IN_TREE(dir_beneath), IN_TREE(mkdirs), IN_TREE(reading), IN_TREE(writing),
	    IN_TREE(sweep),    IN_TREE(removing), IN_TREE(mounts),     IN_TREE(owned),  IN_TREE(locks),   cmocka_unit_test(names),
	    cmocka_unit_test(times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
