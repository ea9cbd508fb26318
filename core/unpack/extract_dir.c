#include "core/unpack/extract_dir.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "core/util/fs.h"

#define TIMES_MAX (32u << 20)
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

int extract_clean(const char *name, char *ret, size_t cap, crio_err *err)
{
	size_t out = 0;

	for (const char *p = name; *p;) {
		const char *e = strchrnul(p, '/');
		size_t n = (size_t)(e - p);

		if (n == 2 && p[0] == '.' && p[1] == '.')
			return err_set(err, CRIO_E_INVALID, "name '%.200s' has a '..' component", name);
		if (n > NAME_MAX)
			return err_set(err, CRIO_E_INVALID, "name '%.80s...' has a component of more than %d bytes", name,
				       NAME_MAX);
		if (n && !(n == 1 && *p == '.')) {
			if (out + (out > 0) + n + 1 > cap)
				return err_set(err, CRIO_E_INVALID, "name '%.80s...' is longer than %zu bytes", name,
					       cap - 1);
			if (out)
				ret[out++] = '/';
			memcpy(ret + out, p, n);
			out += n;
		}
		p = *e ? e + 1 : e;
	}
	ret[out] = '\0';
	return 0;
}

void path_split(const char *path, char ret_dir[NAME_CAP], const char **ret_base)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	memcpy(ret_dir, path, n);
	ret_dir[n] = '\0';
	*ret_base = slash ? slash + 1 : path;
}

void dir_forget(struct extract *x)
{
	x->dir_fd = safe_close(x->dir_fd);
}

void dir_remember(struct extract *x, const char *path, int fd)
{
	dir_forget(x);
	memcpy(x->dir, path, strlen(path) + 1);
	x->dir_fd = fd;
}

int dir_set_opaque(struct extract *x, int fd, const char *path, crio_err *err)
{
	const char *name = x->style == CRIO_WHITEOUT_OVERLAY_USER ? "user.overlay.opaque" : "trusted.overlay.opaque";

	if (fsetxattr(fd, name, "y", 1, 0) < 0)
		return err_errno(err, errno, "set attribute %s of directory '%.200s'", name, path);
	return 0;
}

int dir_mark(struct extract *x, const char *path, crio_err *err)
{
	if (x->style != CRIO_WHITEOUT_REMOVE)
		return 0;
	/* Upwards; where one is marked, all above it are. */
	for (size_t n = strlen(path); n;) {
		int r = seen_add(&x->seen, seen_path(x, path, n, SEEN_PATH));

		if (r < 0)
			return err_nomem(err);
		if (!r)
			return 0;
		while (n && path[--n] != '/')
			;
	}
	return 0;
}

/* A directory that the archive has no entry for (yet). */
static int make_implicit(struct extract *x, int parent, const char *base, const char *path, bool opaque, int *ret,
			 crio_err *err)
{
	cleanup_close int fd = -1;

	if (++x->made > x->max_made)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %llu directories without an entry of their own",
			       (unsigned long long)x->max_made);
	if (mkdirat(parent, base, 0700) < 0)
		return err_errno(err, errno, "make directory '%.200s'", path);
	fd = fs_open_beneath(parent, base, DIR_FLAGS, 0, err);
	if (fd < 0)
		return fd;
	if (fchmod(fd, 0755) < 0)
		return err_errno(err, errno, "set mode of directory '%.200s'", path);
	if (opaque) {
		int r = dir_set_opaque(x, fd, path, err);

		if (r)
			return r;
	}
	x->totals.disk_bytes += 4096;
	*ret = move_fd(fd);
	return 0;
}

/* One component below parent could not be opened as a directory. */
static int step_hard(struct extract *x, int parent, const char *base, const char *path, bool make, int *ret,
		     bool *ret_linked, crio_err *err)
{
	struct stat st;
	int fd;

	if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return err_errno(err, errno, "stat '%.200s'", path);
		return make ? make_implicit(x, parent, base, path, false, ret, err) : DIR_ABSENT;
	}
	if (S_ISLNK(st.st_mode)) {
		fd = fs_open_in(x->root, path, O_RDONLY | O_DIRECTORY, 0, NULL);
		if (fd < 0 && !make)
			return DIR_BLOCKED;
		if (fd < 0)
			return err_set(err, CRIO_E_INVALID, "'%.200s' is a link that leads to no directory of the tree", path);
		*ret = fd;
		*ret_linked = true;
		return 0;
	}
	if (!make)
		return DIR_BLOCKED;
	if (x->style != CRIO_WHITEOUT_REMOVE && is_whiteout_dev(&st)) {
		/* Deleted and made anew: what is below must stay hidden. */
		if (unlinkat(parent, base, 0) < 0)
			return err_errno(err, errno, "remove whiteout '%.200s'", path);
		return make_implicit(x, parent, base, path, true, ret, err);
	}
	return err_set(err, CRIO_E_INVALID, "'%.200s' is not a directory, but an entry below it follows", path);
}

/* Links let names lead deeper than a path can say; trees like that could not be walked or removed by path. */
static int check_depth(int fd, const char *path, crio_err *err)
{
	char proc[40], to[NAME_CAP];

	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(proc, to, sizeof(to));

	if (n < 0 && errno != ENAMETOOLONG)
		return err_errno(err, errno, "read the path of '%.200s'", path);
	if (n < 0 || (size_t)n >= sizeof(to) - 1)
		return err_set(err, CRIO_E_INVALID, "'%.200s' leads through links to more than %d bytes of path", path,
			       NAME_CAP - 1);
	return 0;
}

static int resolve_slowly(struct extract *x, const char *path, bool make, int *ret, crio_err *err)
{
	char p[NAME_CAP];
	cleanup_close int cur = -1;
	size_t n = strlen(path);
	bool linked = false;

	memcpy(p, path, n + 1);
	for (char *s = p; *s;) {
		char *e = strchrnul(s, '/'), saved = *e;
		int parent = cur >= 0 ? cur : x->root, fd, r = 0;

		*e = '\0';
		fd = fs_open_beneath(parent, s, DIR_FLAGS, 0, NULL);
		if (fd < 0)
			r = step_hard(x, parent, s, p, make, &fd, &linked, err);
		if (r)
			return r;
		(void)safe_close(cur);
		cur = fd;
		*e = saved;
		s = saved ? e + 1 : e;
	}
	int r = linked ? check_depth(cur, path, err) : 0;

	if (r)
		return r;
	*ret = move_fd(cur);
	return 0;
}

int dir_resolve(struct extract *x, const char *path, bool make, int *ret, crio_err *err)
{
	int fd = fs_open_beneath(x->root, path, DIR_FLAGS, 0, *path ? NULL : err);

	if (fd < 0)
		return *path ? resolve_slowly(x, path, make, ret, err) : fd;
	*ret = fd;
	return 0;
}

int dir_open(struct extract *x, const char *path, bool make, int *ret, crio_err *err)
{
	int fd, r;

	if (x->dir_fd < 0 || !str_eq(x->dir, path)) {
		r = dir_resolve(x, path, make, &fd, err);
		if (r)
			return r;
		dir_remember(x, path, fd);
	}
	*ret = x->dir_fd;
	return 0;
}

int dir_keep_time(struct extract *x, const char *path, const struct tar_entry *e, crio_err *err)
{
	struct timespec ts = { (time_t)e->mtime, (long)e->mtime_ns };

	/* An endless number of directories must not fill memory: set what is known, for honest layers (whose entries are
	 * in the order of the tree) nothing is written there later. */
	if (x->times.n > TIMES_MAX) {
		int r = dir_apply_times(x, err);

		if (r)
			return r;
	}
	buf_add(&x->times, path, strlen(path) + 1);
	buf_add(&x->times, &ts, sizeof(ts));
	return buf_bad(&x->times) ? err_nomem(err) : 0;
}

int dir_apply_times(struct extract *x, crio_err *err)
{
	for (size_t i = 0; i < x->times.n;) {
		const char *path = x->times.p + i;
		struct timespec ts[2];

		i += strlen(path) + 1;
		memcpy(&ts[1], x->times.p + i, sizeof(ts[1]));
		i += sizeof(ts[1]);
		ts[0] = ts[1];
		cleanup_close int fd = fs_open_beneath(x->root, path, DIR_FLAGS, 0, NULL);

		if (fd < 0 && *path)
			fd = fs_open_in(x->root, path, DIR_FLAGS, 0, NULL);
		/* Gone or something else by now: a later entry replaced it. */
		if (fd >= 0 && futimens(fd, ts) < 0)
			return err_errno(err, errno, "set times of directory '%.200s'", path);
	}
	buf_clear(&x->times);
	return 0;
}
