/* link.c: a layer's short link, its list of lower directories, and the repair of both. */
#include "plugins/storage/overlay/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- small files of a layer ---- */

/* Reads <dir>/<file> as text of at most n-1 bytes, white space at the end cut. -1 and errno. */
static ssize_t read_text(struct ov *o, const char *dir, const char *file, char *buf, size_t n)
{
	char path[256];
	(void)snprintf(path, sizeof(path), "%s/%s", dir, file);
	int fd = openat(o->l.fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -1;
	ssize_t r = read(fd, buf, n - 1);
	int e = errno;
	(void)close(fd);
	errno = e;
	if (r < 0)
		return -1;
	while (r > 0 && strchr("\n \t", buf[r - 1]))
		r--;
	buf[r] = '\0';
	return r;
}

static int write_text(struct ov *o, int dir, const char *file, const char *text, mode_t mode, crio_err *err)
{
	size_t n = strlen(text);
	int fd = openat(dir, file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return layers_fail_errno(&o->l, err, "create", file);
	ssize_t r = write(fd, text, n);
	int e = errno;
	(void)close(fd);
	errno = r >= 0 ? ENOSPC : e;
	return r == (ssize_t)n ? 0 : layers_fail_errno(&o->l, err, "write", file);
}

/* ---- links ---- */

static int link_is_valid(const char *s)
{
	size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
	return n >= 1 && n <= OV_LINK_LEN && !s[n];
}

int ov_read_link(struct ov *o, const char *dir, char ret[OV_LINK_LEN + 1])
{
	char buf[64];
	if (read_text(o, dir, "link", buf, sizeof(buf)) < 0)
		return -1;
	if (!link_is_valid(buf)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(ret, buf, strlen(buf) + 1);
	return 0;
}

int ov_read_lower(struct ov *o, const char *dir, char *buf, size_t n)
{
	buf[0] = '\0';
	return read_text(o, dir, "lower", buf, n) < 0 && errno != ENOENT ? -1 : 0;
}

int ov_write_lower(struct ov *o, int dir, const char *parent, crio_err *err)
{
	char lower[OV_LOWER_MAX], link[OV_LINK_LEN + 1];
	if (ov_read_link(o, parent, link) < 0)
		return layers_fail_errno(&o->l, err, "parent", parent);
	int at = snprintf(lower, sizeof(lower), "l/%s", link);
	if (ov_read_lower(o, parent, lower + at + 1, sizeof(lower) - (size_t)at - 1) < 0)
		return layers_fail_errno(&o->l, err, "parent", parent);
	if (lower[at + 1])
		lower[at] = ':';
	return write_text(o, dir, "lower", lower, 0644, err);
}

static void new_link(char ret[OV_LINK_LEN + 1])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	unsigned char r[OV_LINK_LEN];
	if (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
		memset(r, 0, sizeof(r)); /* taken names are found when the link is made */
	for (size_t i = 0; i < OV_LINK_LEN; i++)
		ret[i] = digits[r[i] & 31];
	ret[OV_LINK_LEN] = '\0';
}

static int make_link(struct ov *o, const char *link, const char *id)
{
	char from[8 + OV_LINK_LEN], to[96];
	(void)snprintf(from, sizeof(from), "l/%s", link);
	int n = snprintf(to, sizeof(to), "../%s/diff", id);
	if (n < 0 || (size_t)n >= sizeof(to)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return symlinkat(to, o->l.fd, from);
}

void ov_drop_link(struct ov *o, const char *link)
{
	char path[8 + OV_LINK_LEN];
	(void)snprintf(path, sizeof(path), "l/%s", link);
	(void)unlinkat(o->l.fd, path, 0);
}

int ov_write_link(struct ov *o, int dir, const char *id, char ret[OV_LINK_LEN + 1], crio_err *err)
{
	char link[OV_LINK_LEN + 1];
	int tries = 0;

	for (new_link(link); make_link(o, link, id) < 0; new_link(link)) {
		if (errno != EEXIST)
			return layers_fail_errno(&o->l, err, "make a short link of", id);
		if (++tries == 8)
			return o->l.host->fail(err, CRIO_E_INTERNAL, "no free name for a short link in %s/l",
					       o->l.home);
	}
	int r = write_text(o, dir, "link", link, 0644, err);
	if (r < 0)
		ov_drop_link(o, link);
	else
		memcpy(ret, link, sizeof(link));
	return r;
}

/* ---- repair ---- */

void ov_drop_stale_links(struct ov *o)
{
	char to[128], link[OV_LINK_LEN + 1];
	DIR *d = layers_dir(o->l.fd, "l");
	for (struct dirent *e; d && (e = readdir(d));) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1);
		if (n < 0)
			continue;
		to[n] = '\0';
		char *slash = strrchr(to, '/');
		if (strncmp(to, "../", 3) != 0 || !slash || strcmp(slash, "/diff") != 0)
			continue; /* not ours */
		*slash = '\0';
		if (!layers_is_id(to + 3))
			continue;
		if (faccessat(o->l.fd, to + 3, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
			(void)unlinkat(dirfd(d), e->d_name, 0);
		else if (ov_read_link(o, to + 3, link) == 0 && strcmp(link, e->d_name) != 0)
			(void)unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		(void)closedir(d);
}

void ov_repair_links(struct ov *o)
{
	char link[OV_LINK_LEN + 1];
	DIR *d = layers_dir(o->l.fd, ".");
	for (struct dirent *e; d && (e = readdir(d));)
		if (layers_is_id(e->d_name) && ov_read_link(o, e->d_name, link) == 0)
			(void)make_link(o, link, e->d_name); /* there already: fine */
	if (d)
		(void)closedir(d);
}

int ov_check_lowers(struct ov *o, const char *lower, crio_err *err)
{
	char path[64];
	int again = 0;
	for (const char *s = lower; *s;) {
		size_t len = strcspn(s, ":");
		if (len >= sizeof(path) - 2 || strncmp(s, "l/", 2) != 0)
			return o->l.host->fail(err, CRIO_E_CORRUPT, "a lower directory '%.*s' in %s",
					       (int)(len < 100 ? len : 100), s, o->l.home);
		(void)snprintf(path, sizeof(path), "%.*s/", (int)len, s);
		if (faccessat(o->l.fd, path, F_OK, 0) < 0) {
			if (again++ || o->read_only)
				return o->l.host->fail(err, CRIO_E_CORRUPT,
						       "%s/%.*s leads to no layer; remove the image and pull it "
						       "again",
						       o->l.home, (int)len, s);
			ov_repair_links(o);
			s = lower;
			continue;
		}
		s += len + (s[len] == ':');
	}
	return 0;
}
