#include "core/unpack/extract.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "core/unpack/extract_dir.h"
#include "core/util/fs.h"

int extract_new(int root, enum crio_whiteout style, uint64_t max_entries, struct extract **ret, crio_err *err)
{
	struct extract *x;

	if (style != CRIO_WHITEOUT_REMOVE && style != CRIO_WHITEOUT_OVERLAY && style != CRIO_WHITEOUT_OVERLAY_USER)
		return err_set(err, CRIO_E_INVALID, "unpack: unknown whiteout style %d", (int)style);
	x = calloc(1, sizeof(*x));
	if (!x)
		return err_nomem(err);
	x->root = root;
	x->style = style;
	x->max_made = max_entries;
	x->dir_fd = -1;
	x->fd = -1;
	seen_init(&x->seen);
	buf_init(&x->times, 0);
	*ret = x;
	return 0;
}

void extract_literally(struct extract *x)
{
	x->literal = true;
}

void extract_free(struct extract *x)
{
	if (!x)
		return;
	dir_forget(x);
	(void)safe_close(x->fd);
	seen_release(&x->seen);
	buf_release(&x->times);
	free(x);
}

static bool from_this_layer(const struct extract *x, const char *path)
{
	return x->style != CRIO_WHITEOUT_REMOVE || seen_has(&x->seen, seen_path(x, path, strlen(path), SEEN_PATH));
}

int extract_replace(struct extract *x, int parent, const char *base, const char *path, bool *ret_whiteout, crio_err *err)
{
	struct stat st;

	*ret_whiteout = false;
	if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "stat '%.200s'", path);
	*ret_whiteout = x->style != CRIO_WHITEOUT_REMOVE && is_whiteout_dev(&st);
	if ((S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode) || (S_ISREG(st.st_mode) && st.st_size)) && from_this_layer(x, path))
		x->totals.duplicates = true;
	if (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)) {
		/* The cached directory may be below. The parent's descriptor may be the cache's: keep it open. */
		int keep = fcntl(parent, F_DUPFD_CLOEXEC, 3), r;

		if (keep < 0)
			return err_errno(err, errno, "duplicate a descriptor");
		dir_forget(x);
		r = fs_rm_rf(keep, base, err);
		(void)safe_close(keep);
		return r;
	}
	if (unlinkat(parent, base, 0) < 0 && errno != ENOENT)
		return err_errno(err, errno, "replace '%.200s'", path);
	return 0;
}

static int set_xattrs(struct extract *x, int fd, const char *proc, const struct tar_entry *e, crio_err *err)
{
	for (size_t i = 0; i < e->n_xattrs; i++) {
		const struct tar_xattr *a = &e->xattrs[i];
		int r;

		/* These would speak to overlayfs on our behalf. */
		if (str_starts(a->name, "trusted.overlay.") ||
		    (x->style == CRIO_WHITEOUT_OVERLAY_USER && str_starts(a->name, "user.overlay.")))
			return err_set(err, CRIO_E_INVALID, "'%.200s': attribute '%.100s' is not allowed in a layer", x->path,
				       a->name);
		/* Labels are this node's policy's, not the image's. */
		if (str_eq(a->name, "security.selinux"))
			continue;
		r = fd >= 0 ? fsetxattr(fd, a->name, a->value, a->n, 0) : lsetxattr(proc, a->name, a->value, a->n, 0);
		if (!r)
			continue;
		/* A lost attribute is no reason to refuse an image, a lost capability is: the program would not work. */
		if (errno != EOPNOTSUPP && (errno != EPERM || str_eq(a->name, "security.capability")))
			return err_errno(err, errno, "set attribute '%.100s' of '%.200s'", a->name, x->path);
		x->totals.xattrs_skipped++;
	}
	return 0;
}

static void times_of(const struct tar_entry *e, struct timespec ret[2])
{
	ret[0].tv_sec = (time_t)e->mtime;
	ret[0].tv_nsec = (long)e->mtime_ns;
	ret[1] = ret[0];
}

/* Owner first: a change of owner takes set-id bits and capabilities away. */
static int set_meta_fd(struct extract *x, int fd, const struct tar_entry *e, crio_err *err)
{
	int r;

	if (fchown(fd, e->uid, e->gid) < 0)
		return err_errno(err, errno, "set owner %u:%u of '%.200s'", e->uid, e->gid, x->path);
	r = set_xattrs(x, fd, NULL, e, err);
	if (r)
		return r;
	if (fchmod(fd, e->mode) < 0)
		return err_errno(err, errno, "set mode %o of '%.200s'", e->mode, x->path);
	return 0;
}

/* For what cannot be opened: links, devices, FIFOs. */
static int set_meta_at(struct extract *x, int parent, const char *base, const struct tar_entry *e, crio_err *err)
{
	struct timespec ts[2];
	char proc[40 + NAME_MAX];

	if (fchownat(parent, base, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, errno, "set owner %u:%u of '%.200s'", e->uid, e->gid, x->path);
	if (e->n_xattrs) {
		(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", parent, base);
		int r = set_xattrs(x, -1, proc, e, err);

		if (r)
			return r;
	}
	if (e->type != TAR_SYMLINK && fchmodat(parent, base, e->mode, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, errno, "set mode %o of '%.200s'", e->mode, x->path);
	times_of(e, ts);
	if (utimensat(parent, base, ts, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, errno, "set times of '%.200s'", x->path);
	return 0;
}

static int begin_file(struct extract *x, int parent, const char *base, const struct tar_entry *e,
		      struct extract_step *ret, crio_err *err)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, r;
	bool was_whiteout = false, known = x->style == CRIO_WHITEOUT_REMOVE && from_this_layer(x, x->path);
	char dir[NAME_CAP];
	const char *again;

	x->fd = fs_open_beneath(parent, base, flags, 0600, NULL);
	if (x->fd < 0) {
		r = extract_replace(x, parent, base, x->path, &was_whiteout, err);
		if (r)
			return r;
		if (x->style != CRIO_WHITEOUT_REMOVE)
			known = !was_whiteout;
		path_split(x->path, dir, &again);
		r = dir_open(x, dir, true, &parent, err);
		if (r)
			return r;
		x->fd = fs_open_beneath(parent, again, flags, 0600, err);
	}
	if (x->fd < 0) {
		r = x->fd;
		x->fd = -1;
		return r;
	}
	ret->open = true;
	ret->in_tree = !known && !e->sparse;
	ret->listed = !known;
	return 0;
}

static int make_dir(struct extract *x, int parent, const char *base, const struct tar_entry *e, crio_err *err)
{
	cleanup_close int fd = -1;
	bool opaque = false;
	struct stat st;
	char dir[NAME_CAP];
	int r;

	if (mkdirat(parent, base, 0700) < 0) {
		if (errno != EEXIST || fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(err, errno, "make directory '%.200s'", x->path);
		if (!S_ISDIR(st.st_mode)) {
			r = extract_replace(x, parent, base, x->path, &opaque, err);
			if (r)
				return r;
			path_split(x->path, dir, &base);
			r = dir_open(x, dir, true, &parent, err);
			if (r)
				return r;
			if (mkdirat(parent, base, 0700) < 0)
				return err_errno(err, errno, "make directory '%.200s'", x->path);
		}
	}
	x->totals.disk_bytes += 4096;
	fd = fs_open_beneath(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
	if (fd < 0)
		return fd;
	r = set_meta_fd(x, fd, e, err);
	if (!r && opaque)
		r = dir_set_opaque(x, fd, x->path, err);
	if (!r)
		r = dir_keep_time(x, x->path, e, err);
	if (!r)
		dir_remember(x, x->path, move_fd(fd));
	return r;
}

/* Overlay layers leave the root's metadata to the storage plugin, as containers/storage does. */
static int make_root(struct extract *x, const struct tar_entry *e, crio_err *err)
{
	int r;

	if (e->type != TAR_DIR)
		return err_set(err, CRIO_E_INVALID, "name '%.100s' is the root, but the entry is not a directory", e->name);
	if (x->style != CRIO_WHITEOUT_REMOVE)
		return 0;
	r = set_meta_fd(x, x->root, e, err);
	return r ? r : dir_keep_time(x, "", e, err);
}

/* The hard link's target: a file of the tree, by its directory's descriptor and name. */
static int link_target(struct extract *x, const struct tar_entry *e, int *ret_fd, const char **ret_base, crio_err *err)
{
	cleanup_close int fd = -1;
	char dir[NAME_CAP];
	struct stat st;
	int r = extract_clean(e->link, x->target, sizeof(x->target), err);

	if (r)
		return err_wrap(err, "target of hard link '%.200s'", x->path);
	if (!*x->target)
		return err_set(err, CRIO_E_INVALID, "hard link '%.200s' to the root", x->path);
	if (str_eq(x->target, x->path))
		return err_set(err, CRIO_E_INVALID, "hard link '%.200s' to itself", x->path);
	path_split(x->target, dir, ret_base);
	r = dir_resolve(x, dir, false, &fd, err);
	if (r < 0)
		return r;
	if (r || fstatat(fd, *ret_base, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (x->style != CRIO_WHITEOUT_REMOVE && is_whiteout_dev(&st)))
		return err_set(err, CRIO_E_INVALID, "hard link '%.200s': its target '%.200s' is not in the layer", x->path,
			       x->target);
	if (S_ISDIR(st.st_mode))
		return err_set(err, CRIO_E_INVALID, "hard link '%.200s': its target '%.200s' is a directory", x->path,
			       x->target);
	*ret_fd = move_fd(fd);
	return 0;
}

/* One try at making a link, device or FIFO at parent/base: 0 or an errno value. Hard links: from tfd/tbase. */
static int try_make(const struct tar_entry *e, int parent, const char *base, int tfd, const char *tbase)
{
	int r;

	switch (e->type) {
	case TAR_HARDLINK:
		r = linkat(tfd, tbase, parent, base, 0);
		break;
	case TAR_SYMLINK:
		r = symlinkat(e->link, parent, base);
		break;
	case TAR_CHAR:
		r = mknodat(parent, base, S_IFCHR | 0600, makedev(e->major, e->minor));
		break;
	case TAR_BLOCK_DEV:
		r = mknodat(parent, base, S_IFBLK | 0600, makedev(e->major, e->minor));
		break;
	default:
		r = mknodat(parent, base, S_IFIFO | 0600, 0);
		break;
	}
	return r < 0 ? errno : 0;
}

static int make_node(struct extract *x, int parent, const char *base, const struct tar_entry *e, struct extract_step *ret,
		     crio_err *err)
{
	cleanup_close int tfd = -1;
	const char *tbase = NULL;
	char dir[NAME_CAP];
	bool was_whiteout = true;
	int r = e->type == TAR_HARDLINK ? link_target(x, e, &tfd, &tbase, err) : 0, errnum;

	if (r)
		return r;
	if (e->type == TAR_SYMLINK && (!*e->link || strlen(e->link) >= NAME_CAP))
		return err_set(err, CRIO_E_INVALID, "symbolic link '%.200s': its target is empty or too long", x->path);
	errnum = try_make(e, parent, base, tfd, tbase);
	if (errnum == EEXIST) {
		r = extract_replace(x, parent, base, x->path, &was_whiteout, err);
		if (r)
			return r;
		path_split(x->path, dir, &base);
		r = dir_open(x, dir, true, &parent, err);
		if (r)
			return r;
		errnum = try_make(e, parent, base, tfd, tbase);
	}
	ret->listed = was_whiteout;
	if (errnum)
		return err_errno(err, errnum, "make '%.200s'", x->path);
	/* A hard link is the file it names: that one's owner, mode and attributes came with its own entry, and setting
	 * the owner again would take its capabilities. */
	return e->type == TAR_HARDLINK ? 0 : set_meta_at(x, parent, base, e, err);
}

static int begin_entry(struct extract *x, const struct tar_entry *e, struct extract_step *ret, crio_err *err)
{
	char dir[NAME_CAP];
	const char *base;
	int parent, r;

	path_split(x->path, dir, &base);
	r = dir_open(x, dir, true, &parent, err);
	if (r)
		return r;
	if (e->type == TAR_FILE) {
		r = begin_file(x, parent, base, e, ret, err);
	} else if (e->type == TAR_DIR) {
		int first = seen_add(&x->seen, seen_path(x, x->path, strlen(x->path), SEEN_LISTED));

		ret->listed = first > 0;
		r = first < 0 ? err_nomem(err) : make_dir(x, parent, base, e, err);
	} else {
		r = make_node(x, parent, base, e, ret, err);
	}
	return r ? r : dir_mark(x, x->path, err);
}

int extract_begin(struct extract *x, const struct tar_entry *e, struct extract_step *ret, crio_err *err)
{
	struct extract_step step = { false, false, true };
	int r = extract_clean(e->name, x->path, sizeof(x->path), err);

	if (r)
		return r;
	if (!*x->path) {
		int first = seen_add(&x->seen, seen_path(x, "", 0, SEEN_LISTED));

		step.listed = first > 0;
		r = first < 0 ? err_nomem(err) : make_root(x, e, err);
	} else {
		r = x->literal ? 0 : whiteout_apply(x, e, &step, err);
		if (!r)
			r = begin_entry(x, e, &step, err);
	}
	if (r < 0)
		return r;
	*ret = step;
	return 0;
}

int extract_write(struct extract *x, const void *p, size_t n, uint64_t offset, crio_err *err)
{
	const char *from = p;

	x->totals.file_bytes += n;
	while (n) {
		ssize_t w = pwrite(x->fd, from, n, (off_t)offset);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return err_errno(err, errno, "write '%.200s'", x->path);
		from += w;
		n -= (size_t)w;
		offset += (size_t)w;
	}
	return 0;
}

int extract_close(struct extract *x, const struct tar_entry *e, crio_err *err)
{
	cleanup_close int fd = move_fd(x->fd);
	struct timespec ts[2];
	int r;

	if (e->sparse && ftruncate(fd, (off_t)e->size) < 0)
		return err_errno(err, errno, "set size of '%.200s'", x->path);
	r = set_meta_fd(x, fd, e, err);
	if (r)
		return r;
	times_of(e, ts);
	if (futimens(fd, ts) < 0)
		return err_errno(err, errno, "set times of '%.200s'", x->path);
	x->totals.disk_bytes += (e->stored + 4095) & ~(uint64_t)4095;
	return 0;
}

int extract_finish(struct extract *x, struct extract_totals *ret, crio_err *err)
{
	int r = dir_apply_times(x, err);

	if (r)
		return r;
	*ret = x->totals;
	return 0;
}
