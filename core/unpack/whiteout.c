/*
 * whiteout.c: names deleted by a layer. ".wh.NAME" removes NAME of the layers below, ".wh..wh..opq" everything below in
 * its directory; neither touches what this layer itself brings, whichever comes first.
 *
 * Cost: a directory's lower content is looked at once at most, however many opaque markers there are: seen.h remembers.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/unpack/extract_dir.h"
#include "core/util/fs.h"

#define PREFIX ".wh."
#define META_PREFIX ".wh..wh."
#define OPAQUE ".wh..wh..opq"
#define DEPTH_MAX 256 /* of directories that one opaque marker clears; a descriptor each */
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

static bool lower_only(const struct extract *x, const char *path)
{
	return !seen_has(&x->seen, seen_path(x, path, strlen(path), SEEN_PATH));
}

/* 1: first time; 0: its lower content is gone already. */
static int opaque_first(struct extract *x, const char *path, crio_err *err)
{
	int r = seen_add(&x->seen, seen_path(x, path, strlen(path), SEEN_OPAQUE));

	return r < 0 ? err_nomem(err) : r;
}

/*
 * Removes from the directory fd (which it closes; path: a buffer of NAME_CAP bytes) all that the layer did not bring.
 * What it brought may be a directory with lower content of its own: those are cleared too, with a descriptor each.
 */
static int clear_lower(struct extract *x, int fd, char *path, int depth, crio_err *err)
{
	size_t n = strlen(path);
	cleanup_closedir DIR *d = NULL;
	struct dirent *e;
	int r = opaque_first(x, path, err);

	if (r > 0 && depth > DEPTH_MAX)
		r = err_set(err, CRIO_E_INVALID, "'%.200s...': more than %d directories deep", path, DEPTH_MAX);
	if (r > 0 && !(d = fdopendir(fd)))
		r = err_nomem(err);
	if (r <= 0) {
		(void)safe_close(fd);
		return r;
	}
	while ((errno = 0, e = readdir(d))) {
		int sub = -1;

		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		r = 0;
		path[n] = '\0';
		/* A path longer than that cannot have come from the archive. */
		bool fits = n + 1 + strlen(e->d_name) < NAME_CAP;

		if (fits)
			(void)snprintf(path + n, NAME_CAP - n, "%s%s", n ? "/" : "", e->d_name);
		if (!fits || lower_only(x, path))
			r = fs_rm_rf(fd, e->d_name, err);
		else if ((sub = fs_open_beneath(fd, e->d_name, DIR_FLAGS, 0, NULL)) >= 0)
			r = clear_lower(x, sub, path, depth + 1, err);
		path[n] = '\0';
		if (r)
			return r;
	}
	return errno ? err_errno(err, errno, "read directory '%.200s'", path) : 0;
}

/* The directory of a whiteout in an overlay tree: made when it is missing, but not when this layer has deleted it or has
 * a file in its place: then there is nothing below to hide. */
static int dir_to_mark(struct extract *x, const char *dir, int *ret, crio_err *err)
{
	int r = dir_open(x, dir, false, ret, err);

	return r == DIR_ABSENT ? dir_open(x, dir, true, ret, err) : r;
}

/* An own descriptor of the cached directory fd, which is forgotten: what is removed may be above another one. */
static int take_dir(struct extract *x, int fd, crio_err *err)
{
	int keep = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (keep < 0)
		return err_errno(err, errno, "duplicate a descriptor");
	dir_forget(x);
	return keep;
}

static int opaque_remove(struct extract *x, const char *dir, struct extract_step *step, crio_err *err)
{
	char path[NAME_CAP];
	int fd, r = dir_open(x, dir, false, &fd, err);

	if (r)
		return r < 0 ? r : 0;
	step->listed = !seen_has(&x->seen, seen_path(x, dir, strlen(dir), SEEN_OPAQUE));
	if (!step->listed)
		return 0;
	fd = take_dir(x, fd, err);
	if (fd < 0)
		return fd;
	memcpy(path, dir, strlen(dir) + 1);
	return clear_lower(x, fd, path, 0, err);
}

static int opaque_mark(struct extract *x, const char *dir, struct extract_step *step, crio_err *err)
{
	int fd, r = dir_to_mark(x, dir, &fd, err);

	if (r)
		return r < 0 ? r : 0;
	r = opaque_first(x, dir, err);
	if (r < 0)
		return r;
	step->listed = r > 0;
	/* Again each time: the directory may have been replaced since. It costs one call. */
	return dir_set_opaque(x, fd, dir, err);
}

static int delete_remove(struct extract *x, const char *dir, const char *name, const char *path, crio_err *err)
{
	char buf[NAME_CAP];
	struct stat st;
	int fd, r = dir_open(x, dir, false, &fd, err);

	if (r)
		return r < 0 ? r : 0;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "stat '%.200s'", path);
	cleanup_close int keep = take_dir(x, fd, err);

	if (keep < 0)
		return keep;
	if (lower_only(x, path))
		return fs_rm_rf(keep, name, err);
	if (!S_ISDIR(st.st_mode))
		return 0;
	fd = fs_open_beneath(keep, name, DIR_FLAGS, 0, err);
	if (fd < 0)
		return fd;
	memcpy(buf, path, strlen(path) + 1);
	return clear_lower(x, fd, buf, 0, err);
}

static int delete_mark(struct extract *x, const char *dir, const char *name, const char *path, struct extract_step *step,
		       crio_err *err)
{
	struct stat st;
	int fd, r = dir_to_mark(x, dir, &fd, err);

	if (r)
		return r < 0 ? r : 0;
	if (!mknodat(fd, name, S_IFCHR, makedev(0, 0)))
		return 0;
	if (errno != EEXIST)
		return err_errno(err, errno, "make whiteout '%.200s'", path);
	step->listed = false;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, errno, "stat '%.200s'", path);
	if (!S_ISDIR(st.st_mode))
		return 0; /* a whiteout already, or a file of this layer, which hides the one below anyway */
	cleanup_close int sub = fs_open_beneath(fd, name, DIR_FLAGS, 0, err);

	return sub < 0 ? sub : dir_set_opaque(x, sub, path, err);
}

int whiteout_apply(struct extract *x, const struct tar_entry *e, struct extract_step *step, crio_err *err)
{
	char dir[NAME_CAP], path[NAME_CAP];
	const char *base;
	size_t n;

	path_split(x->path, dir, &base);
	if (str_eq(base, OPAQUE)) {
		int r = x->style == CRIO_WHITEOUT_REMOVE ? opaque_remove(x, dir, step, err) :
							   opaque_mark(x, dir, step, err);

		return r < 0 ? r : 1;
	}
	/* Bookkeeping of AUFS that found its way into layers. */
	if (str_starts(x->path, META_PREFIX) || strstr(x->path, "/" META_PREFIX))
		return 1;
	if (!str_starts(base, PREFIX))
		return 0;
	base += strlen(PREFIX);
	if (!path_is_name(base))
		return err_set(err, CRIO_E_INVALID, "whiteout '%.200s' names no file that can be deleted", e->name);
	n = strlen(dir);
	memcpy(path, dir, n);
	if (n)
		path[n++] = '/';
	memcpy(path + n, base, strlen(base) + 1);
	int r = x->style == CRIO_WHITEOUT_REMOVE ? delete_remove(x, dir, base, path, err) :
						   delete_mark(x, dir, base, path, step, err);

	return r < 0 ? r : 1;
}
