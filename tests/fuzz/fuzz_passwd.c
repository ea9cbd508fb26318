/*
 * fuzz_passwd.c: who a container runs as. The input is "user NUL passwd NUL group": what an image's config and its files say. The
 * files are in a root of their own, as an image's are.
 */
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/lifecycle/user.h"
#include "core/util/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int root = -1;
static char dir[] = "/tmp/crio-fuzz-passwd-XXXXXX";

static void must(bool ok)
{
	if (!ok)
		__builtin_trap();
}

static void end(void)
{
	int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)fs_rm_rf(tmp, strrchr(dir, '/') + 1, NULL);
	(void)close(tmp);
	(void)close(root);
}

static void begin(void)
{
	if (root >= 0)
		return;
	must(mkdtemp(dir) != NULL);
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(root >= 0 && mkdirat(root, "etc", 0755) == 0);
	(void)atexit(end);
}

static void put(const char *path, const uint8_t *p, size_t n)
{
	int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0444);

	must(fd >= 0 && fs_write_all(fd, p, n, NULL) == 0);
	(void)close(fd);
}

/* The next part, up to a NUL or to the end. */
static const uint8_t *part(const uint8_t **at, size_t *left, size_t *ret_n)
{
	const uint8_t *p = *at, *nul = *left ? memchr(p, 0, *left) : NULL;

	*ret_n = nul ? (size_t)(nul - p) : *left;
	*at += nul ? *ret_n + 1 : *ret_n;
	*left -= nul ? *ret_n + 1 : *ret_n;
	return p;
}

/* What is added to the image's text is one line of as many fields as it must have. */
static void check_added(const char *now, const uint8_t *was, size_t n, size_t colons)
{
	const char *line;
	size_t have = 0;

	must(strlen(now) > n && !memcmp(now, was, n));
	line = now + n + (n && was[n - 1] != '\n');
	for (const char *p = line; *p; p++) {
		have += *p == ':';
		must(*p != '\n' || !p[1]);
	}
	must(have == colons);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t n_user, n_passwd, n_group;
	const uint8_t *p = part(&data, &n, &n_user);
	cleanup_free char *user = strndup((const char *)p, n_user), *passwd = NULL, *group = NULL;
	cleanup_user struct user u = {0}, again = {0};
	const uint8_t *pw, *gr;
	crio_err e = ERR_INIT;

	if (!user)
		return 0;
	begin();
	pw = part(&data, &n, &n_passwd);
	gr = part(&data, &n, &n_group);
	put("etc/passwd", pw, n_passwd);
	put("etc/group", gr, n_group);
	if (user_resolve(root, user, &u, &e) < 0) {
		must(*err_text(&e) != 0);
		err_clear(&e);
		return 0;
	}
	must(u.uid <= USER_ID_MAX && u.gid <= USER_ID_MAX && u.n_groups <= USER_GROUPS_MAX && u.name && u.home);
	for (size_t i = 0; i < u.n_groups; i++)
		must(u.groups[i] <= USER_ID_MAX);
	must(str_is_printable(u.home));
	if (user_make_passwd(root, user, u.uid, u.gid, u.home, &passwd, NULL) == 0 && passwd)
		check_added(passwd, pw, n_passwd, 6);
	if (user_make_group(root, u.gid, &group, NULL) == 0 && group)
		check_added(group, gr, n_group, 3);
	/* With the files that we make the same user is the same ids. */
	if (passwd) {
		put("etc/passwd", (const uint8_t *)passwd, strlen(passwd));
		must(user_resolve(root, user, &again, &e) == 0 && again.uid == u.uid);
	}
	return 0;
}
