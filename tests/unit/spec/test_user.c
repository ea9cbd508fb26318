/* Users of images, also of hostile ones. */
#include "tests/unit/spec/fixture.h"

#include <sys/sysmacros.h>

#include "core/lifecycle/user.h"

static int setup(void **state)
{
	struct fixture *f = malloc(sizeof(*f));

	fixture_open(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	fixture_close(*state);
	free(*state);
	return 0;
}

static void expect(struct fixture *f, const char *user, uint32_t uid, uint32_t gid, size_t groups)
{
	crio_err err = ERR_INIT;
	struct user u;

	if (user_resolve(f->fd, user, &u, &err) < 0)
		fail_msg("user '%s': %s", user, err_text(&err));
	if (u.uid != uid || u.gid != gid || u.n_groups != groups)
		fail_msg("user '%s': %u:%u and %zu groups", user, u.uid, u.gid, u.n_groups);
	user_release(&u);
}

static void refuse(struct fixture *f, const char *user, const char *text)
{
	crio_err err = ERR_INIT;
	struct user u;

	assert_true(user_resolve(f->fd, user, &u, &err) < 0);
	if (!strstr(err_text(&err), text))
		fail_msg("user '%s': '%s' has no '%s'", user, err_text(&err), text);
	err_clear(&err);
}

static void resolve(void **state)
{
	struct fixture *f = *state;

	expect(f, "", 0, 0, 2);
	expect(f, "0", 0, 0, 2);
	expect(f, "root", 0, 0, 2);
	expect(f, "app", 1000, 1000, 2);
	expect(f, "1000", 1000, 1000, 2);
	expect(f, "app:33", 1000, 33, 0);
	expect(f, "app:www-data", 1000, 33, 0);
	expect(f, "4242", 4242, 0, 0);
	expect(f, "4242:4343", 4242, 4343, 0);
	expect(f, ":5000", 0, 5000, 0);
	expect(f, "2147483647", 2147483647u, 0, 0);
}

static void bad_input(void **state)
{
	struct fixture *f = *state;

	refuse(f, "nobody-here", "no user");
	refuse(f, "app:nogroup", "no group");
	refuse(f, "2147483648", "out of range");
	refuse(f, "99999999999999999999", "out of range");
	refuse(f, "1:4294967296", "out of range");
	refuse(f, "-1", "no user");
	refuse(f, "a\nb", "control");
	/* CVE-2024-40635's kin: digits are a number even when an entry has them as a name. */
	put_file(f, "/etc/passwd", "1234:x:0:0::/:/bin/sh\nroot:x:0:0::/root:\n");
	expect(f, "1234", 1234, 0, 0);
	/* An entry whose ids do not fit is no entry. */
	put_file(f, "/etc/passwd",
		 "big:x:4294967296:0::/:\nneg:x:-1:0::/:\nhex:x:0x10:0::/:\nshort:x:5\nok:x:5:6::/:\n");
	refuse(f, "big", "no user");
	refuse(f, "neg", "no user");
	refuse(f, "hex", "no user");
	refuse(f, "short", "no user");
	expect(f, "ok", 5, 6, 0);
}

static void hostile_files(void **state)
{
	struct fixture *f = *state;
	char p[256], outside[256], *big;

	/* A FIFO must not block, a device not be opened, a directory not be read. */
	(void)snprintf(p, sizeof(p), "%s/etc/passwd", f->root);
	assert_int_equal(unlink(p), 0);
	assert_int_equal(mkfifo(p, 0644), 0);
	refuse(f, "app", "not a regular file");
	expect(f, "7", 7, 0, 0);
	assert_int_equal(unlink(p), 0);
	assert_int_equal(mkdir(p, 0755), 0);
	refuse(f, "app", "not a regular file");
	assert_int_equal(rmdir(p), 0);
	/* Links lead only to what is inside the root. */
	(void)snprintf(outside, sizeof(outside), "%s/outside", f->dir);
	assert_int_equal(fs_write_path(outside, "evil:x:0:0::/:\n", 15, 0644, FS_RUN, NULL), 0);
	assert_int_equal(symlink("../../outside", p), 0);
	refuse(f, "evil", "no user");
	assert_int_equal(unlink(p), 0);
	assert_int_equal(symlink(outside, p), 0);
	refuse(f, "evil", "no user");
	assert_int_equal(unlink(p), 0);
	put_dir(f, "/nix");
	put_file(f, "/nix/pw", "inside:x:77:78::/:\n");
	assert_int_equal(symlink("/nix/pw", p), 0);
	expect(f, "inside", 77, 78, 0);
	assert_int_equal(unlink(p), 0);
	/* More than 1 MiB is refused; a long line is skipped. */
	big = malloc((1 << 20) + 200);
	assert_non_null(big);
	(void)memset(big, 'a', (1 << 20) + 100);
	big[(1 << 20) + 100] = '\0';
	put_file(f, "/etc/passwd", big);
	refuse(f, "a", "larger than 1048576 bytes");
	(void)memset(big, 'b', 9000);
	(void)snprintf(big + 9000, 100, ":x:1:1::/:\nfine:x:3:4::/:\n");
	put_file(f, "/etc/passwd", big);
	expect(f, "fine", 3, 4, 0);
	(void)snprintf(big, 20, "long:x:9:9:");
	(void)memset(big + 11, 'b', 5000);
	(void)snprintf(big + 5011, 100, ":/:\nfine:x:3:4::/:\n");
	put_file(f, "/etc/passwd", big);
	refuse(f, "long", "no user");
	expect(f, "fine", 3, 4, 0);
	free(big);
	/* A user in too many groups. */
	put_file(f, "/etc/passwd", "app:x:1000:1000::/:\n");
	struct buf b = BUF_INIT;
	for (int i = 0; i < 1100; i++)
		buf_addf(&b, "g%d:x:%d:app\n", i, 10000 + i);
	put_file(f, "/etc/group", b.p);
	buf_release(&b);
	refuse(f, "app", "more than 1024");
}

/* The same for /etc/group: where a name must be found in it that fails, else the groups are none. */
static void hostile_group(void **state)
{
	struct fixture *f = *state;
	char p[256], outside[256], *big;

	(void)snprintf(p, sizeof(p), "%s/etc/group", f->root);
	(void)snprintf(outside, sizeof(outside), "%s/outside", f->dir);
	assert_int_equal(fs_write_path(outside, "evil:x:0:app\n", 13, 0644, FS_RUN, NULL), 0);
	assert_int_equal(unlink(p), 0);
	assert_int_equal(mkfifo(p, 0644), 0);
	refuse(f, "app:devs", "not a regular file");
	expect(f, "app", 1000, 1000, 0);
	assert_int_equal(unlink(p), 0);
	assert_int_equal(mkdir(p, 0755), 0);
	refuse(f, "app:devs", "not a regular file");
	assert_int_equal(rmdir(p), 0);
	assert_int_equal(mknod(p, S_IFCHR | 0666, makedev(1, 5)), 0); /* zero: it has no end */
	refuse(f, "app:devs", "not a regular file");
	assert_int_equal(unlink(p), 0);
	assert_int_equal(symlink("../../outside", p), 0);
	refuse(f, "app:evil", "no group");
	expect(f, "app", 1000, 1000, 0);
	assert_int_equal(unlink(p), 0);
	assert_int_equal(symlink("group", p), 0); /* to itself */
	refuse(f, "app:evil", "/etc/group");
	assert_int_equal(unlink(p), 0);
	big = malloc((1 << 20) + 200);
	assert_non_null(big);
	for (size_t i = 0; i < (1 << 20) + 100; i++)
		big[i] = "devs:x:5000:app\n"[i % 16];
	big[(1 << 20) + 100] = '\0';
	put_file(f, "/etc/group", big);
	free(big);
	refuse(f, "app:devs", "larger than 1048576 bytes");
	expect(f, "app", 1000, 1000, 0);
	/* Ids that are none. */
	put_file(f, "/etc/group", "a:x:4294967296:app\nb:x:-5:app\nc:x:2147483648:app\nd:x::app\n:x:7:app\nok:x:8:app\n");
	expect(f, "app", 1000, 1000, 1);
	for (const char *const *g = (const char *const[]){"a", "b", "c", "d", NULL}; *g; g++) {
		char user[16];

		(void)snprintf(user, sizeof(user), "app:%s", *g);
		refuse(f, user, "no group");
	}
}

static void make_files(void **state)
{
	struct fixture *f = *state;
	char *t = NULL;

	/* The files belong to root and the user is another without an entry. */
	assert_int_equal(user_make_passwd(f->fd, "4242", 4242, 0, "/", &t, NULL), 0);
	assert_non_null(t);
	assert_non_null(strstr(t, "\n4242:x:4242:0:4242 user:/:/sbin/nologin\n"));
	free(t);
	assert_int_equal(user_make_passwd(f->fd, "app", 1000, 1000, "/", &t, NULL), 0);
	assert_null(t);
	/* No line can say it: the entry does without. */
	assert_int_equal(user_make_passwd(f->fd, "4242", 4242, 0, "/x:y", &t, NULL), 0);
	assert_non_null(strstr(t, "\n4242:x:4242:0:4242 user:/:/sbin/nologin\n"));
	free(t);
	t = NULL;
	assert_int_equal(user_make_passwd(f->fd, "4242", 4242, 0, "/x\nroot::0:0", &t, NULL), CRIO_E_INVALID);
	assert_int_equal(user_make_group(f->fd, 4343, &t, NULL), 0);
	assert_non_null(t);
	assert_non_null(strstr(t, "\n4343:x:4343:\n"));
	free(t);
	assert_int_equal(user_make_group(f->fd, 5000, &t, NULL), 0);
	assert_null(t);
	/* An image without the file stays without. */
	char p[256];
	(void)snprintf(p, sizeof(p), "%s/etc/passwd", f->root);
	assert_int_equal(unlink(p), 0);
	assert_int_equal(user_make_passwd(f->fd, "4242", 4242, 0, "/", &t, NULL), 0);
	assert_null(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(resolve, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_input, setup, teardown),
	    cmocka_unit_test_setup_teardown(hostile_files, setup, teardown),
	    cmocka_unit_test_setup_teardown(hostile_group, setup, teardown),
	    cmocka_unit_test_setup_teardown(make_files, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
