/* rootfs_diff.c: see rootfs_diff.h. A walk through the upper tree; contents come from the merged one, as a name in the upper tree may
 * have its content, or its children, in a layer below (metacopy, redirect_dir). */
#include "core/lifecycle/rootfs_diff.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "core/unpack/extract.h"
#include "core/unpack/unpack.h"
#include "core/util/fs.h"
#include "core/util/map.h"

#define DEPTH_MAX 200 /* of directories: two descriptors each */
#define LINKS_MAX 100000 /* files with several names that are remembered; others are written once a name */
#define XATTRS_MAX 64
#define XATTR_BYTES (64u << 10)
#define PIECE (256u << 10)
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW)

struct walk {
	const struct rootfs_diff *d;
	crio_call *call;
	struct tar_out *o;
	struct strv *deleted;
	struct map *links; /* "dev:inode" -> path, ours */
	char path[4096];   /* of the entry at hand, without the leading '/' */
	char *piece;       /* PIECE bytes */
	bool any;
};

/* Never of interest, or always made anew for each container. Those of the second kind may hold things of interest. */
static bool is_left_out(const struct walk *w, bool *ret_below)
{
	static const char *const whole[] = { "dev", "proc", "sys", "run/secrets", "run/.containerenv" };
	for (size_t i = 0; i < ARRAY_SIZE(whole); i++)
		if (str_eq(w->path, whole[i]))
			return true;
	for (size_t i = 0; i < w->d->mounts->n; i++)
		if (str_eq(w->path, w->d->mounts->v[i] + strspn(w->d->mounts->v[i], "/")))
			return true;
	*ret_below = str_eq(w->path, "run");
	return *ret_below;
}

/* ---- one entry ---- */

struct xattrs {
	struct tar_xattr v[XATTRS_MAX];
	size_t n;
	struct buf bytes;
};

static bool is_kept(const char *name)
{
	return str_eq(name, "security.capability") || (str_starts(name, "user.") && !str_starts(name, "user.overlay."));
}

/* Attributes that a layer would have too. `proc`: a path by descriptor whose last component is not followed. */
static int read_xattrs(const struct walk *w, const char *proc, struct xattrs *x, crio_err *err)
{
	char names[4096];
	ssize_t n = llistxattr(proc, names, sizeof(names));
	size_t at[XATTRS_MAX];
	if (n <= 0)
		return n == 0 || errno == EOPNOTSUPP || errno == ENOENT ? 0 : err_errno(err, errno, "list attributes of '/%.256s'", w->path);
	x->bytes.limit = XATTR_BYTES;
	for (const char *p = names; p < names + n; p += strlen(p) + 1) {
		char value[16384];
		if (!is_kept(p))
			continue;
		ssize_t m = lgetxattr(proc, p, value, sizeof(value));
		if (m < 0 || x->n == XATTRS_MAX)
			return m < 0 ? err_errno(err, errno, "read attribute %.100s of '/%.256s'", p, w->path) :
				       err_set(err, CRIO_E_EXHAUSTED, "'/%.256s' has more than %d attributes", w->path, XATTRS_MAX);
		at[x->n] = x->bytes.n;
		x->v[x->n++].n = (size_t)m;
		buf_add(&x->bytes, p, strlen(p) + 1);
		buf_add(&x->bytes, value, (size_t)m);
	}
	if (x->bytes.over)
		return err_set(err, CRIO_E_EXHAUSTED, "'/%.256s': attributes of more than %u bytes", w->path, XATTR_BYTES);
	if (x->bytes.oom)
		return err_nomem(err);
	for (size_t i = 0; i < x->n; i++) {
		x->v[i].name = x->bytes.p + at[i];
		x->v[i].value = x->v[i].name + strlen(x->v[i].name) + 1;
	}
	return 0;
}

/* Exactly st_size bytes; holes stay holes. */
static int copy_content(struct walk *w, int fd, uint64_t size, crio_err *err)
{
	uint64_t pos = 0;
	int r = 0;
	while (r == 0 && pos < size) {
		off_t data = lseek(fd, (off_t)pos, SEEK_DATA);
		uint64_t from = data < 0 ? (errno == ENXIO ? size : pos) : (uint64_t)data;
		if (from > size)
			from = size;
		if (from > pos) {
			r = tar_out_zeros(w->o, from - pos, err);
			pos = from;
			continue;
		}
		size_t want = size - pos < PIECE ? (size_t)(size - pos) : PIECE;
		ssize_t n = pread(fd, w->piece, want, (off_t)pos);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "read '/%.256s'", w->path);
		if (n == 0) {
			r = tar_out_zeros(w->o, size - pos, err);
			break;
		}
		r = tar_out_data(w->o, w->piece, (size_t)n, err);
		pos += (uint64_t)n;
		if (r == 0)
			r = call_check(w->call, "read what the container has changed", err);
	}
	return r;
}

/* 1: the file was written before, as *ret. */
static int known_link(struct walk *w, const struct stat *st, const char **ret, crio_err *err)
{
	char key[48];
	if (!S_ISREG(st->st_mode) || st->st_nlink < 2)
		return 0;
	(void)snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
	*ret = map_get(w->links, key);
	if (*ret)
		return 1;
	if (map_count(w->links) >= LINKS_MAX)
		return 0;
	cleanup_free char *path = strdup(w->path);
	if (!path || map_set(w->links, key, path) < 0)
		return err_nomem(err);
	path = NULL;
	return 0;
}

static int type_of(mode_t m)
{
	return S_ISREG(m) ? TAR_FILE : S_ISDIR(m) ? TAR_DIR : S_ISLNK(m) ? TAR_SYMLINK : S_ISCHR(m) ? TAR_CHAR :
	       S_ISBLK(m) ? TAR_BLOCK_DEV : S_ISFIFO(m) ? TAR_FIFO : -1;
}

static int emit_as(struct walk *w, int parent, const char *name, const struct stat *st, struct tar_entry *e, crio_err *err)
{
	char target[4096];
	cleanup_close int fd = -1;
	const char *first = NULL;
	int r = known_link(w, st, &first, err);
	if (r > 0) {
		e->type = TAR_HARDLINK;
		e->link = first;
		e->n_xattrs = 0;
	} else if (e->type == TAR_SYMLINK) {
		ssize_t n = readlinkat(parent, name, target, sizeof(target) - 1);
		if (n < 0)
			return errno == ENOENT ? 0 : err_errno(err, errno, "read the link '/%.256s'", w->path);
		target[n] = '\0';
		e->link = target;
	} else if (r == 0 && e->type == TAR_FILE) {
		fd = fs_open_beneath(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, err);
		if (fd < 0)
			return err_wrap(err, "read '/%.256s'", w->path);
		e->size = (uint64_t)st->st_size;
	}
	if (r >= 0)
		r = tar_out_begin(w->o, e, NULL, err);
	if (r == 0 && fd >= 0)
		r = copy_content(w, fd, e->size, err);
	w->any = true;
	return r < 0 ? r : tar_out_end(w->o, NULL, err);
}

static int emit(struct walk *w, int parent, const char *name, const struct stat *st, crio_err *err)
{
	struct xattrs x = { .n = 0, .bytes = BUF_INIT };
	char proc[40 + NAME_MAX];
	int type = type_of(st->st_mode);
	if (type < 0) /* a socket: whoever listened made it, and will again */
		return 0;
	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", parent, name);
	int r = read_xattrs(w, proc, &x, err);
	struct tar_entry e = { .type = (enum tar_type)type,
			       .name = w->path,
			       .link = "",
			       .mode = st->st_mode & 07777,
			       .uid = st->st_uid,
			       .gid = st->st_gid,
			       .mtime = st->st_mtim.tv_sec,
			       .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
			       .major = major(st->st_rdev),
			       .minor = minor(st->st_rdev),
			       .xattrs = x.v,
			       .n_xattrs = x.n };
	if (r == 0)
		r = emit_as(w, parent, name, st, &e, err);
	buf_release(&x.bytes);
	return r;
}

/* ---- what is gone ---- */

static int add_deleted(struct walk *w, crio_err *err)
{
	if (w->deleted->n >= ROOTFS_DELETED_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %u paths were removed", ROOTFS_DELETED_MAX);
	return strv_addf(w->deleted, "/%s", w->path) < 0 ? err_nomem(err) : 0;
}

/* False: the path would be too long. */
static bool push(struct walk *w, size_t n, const char *name)
{
	if (n + 1 + strlen(name) >= sizeof(w->path))
		return false;
	(void)snprintf(w->path + n, sizeof(w->path) - n, "%s%s", n ? "/" : "", name);
	return true;
}

static bool is_dot(const char *name)
{
	return str_eq(name, ".") || str_eq(name, "..");
}

/* The directory hides those of its name in the layers below: what they have and it has not is gone. */
static int hidden_by_opaque(struct walk *w, int merged, crio_err *err)
{
	size_t n = strlen(w->path);
	int r = 0;
	for (size_t i = 0; r == 0; i++) {
		cleanup_close int tree = -1;
		struct stat st;
		const struct dirent *e;
		r = w->d->lower(w->d->arg, i, &tree, NULL);
		if (r < 0)
			return r == CRIO_E_NOT_FOUND ? 0 : err_set(err, r, "open a layer of the image");
		cleanup_closedir DIR *dir = NULL;
		cleanup_err crio_err why = ERR_INIT;
		r = fs_opendir_beneath(tree, w->path, &dir, &why);
		if (r == CRIO_E_NOT_FOUND || r == CRIO_E_INVALID) { /* none there, or a link on the way */
			r = 0;
			continue;
		}
		if (r < 0)
			return err_move(err, &why);
		while (r == 0 && (e = readdir(dir))) {
			if (is_dot(e->d_name) || fstatat(merged, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 || !push(w, n, e->d_name))
				continue;
			r = add_deleted(w, err);
			w->path[n] = '\0';
		}
	}
	return r;
}

/* ---- the walk ---- */

static bool has_mark(int fd, const char *name, bool any_value)
{
	char v[256];
	char both[2][64];
	(void)snprintf(both[0], sizeof(both[0]), "trusted.overlay.%s", name);
	(void)snprintf(both[1], sizeof(both[1]), "user.overlay.%s", name);
	for (size_t i = 0; i < 2; i++) {
		ssize_t n = fgetxattr(fd, both[i], v, sizeof(v));
		if ((n < 0 && errno == ERANGE) || (n > 0 && (any_value || v[0] == 'y')))
			return true;
	}
	return false;
}

static int walk_dir(struct walk *w, int upper, int merged, int depth, crio_err *err);

/* A directory in both trees, or (upper -1) new as a whole. */
static int walk_into(struct walk *w, int upper_parent, int merged_parent, const char *name, int depth, crio_err *err)
{
	cleanup_close int merged = fs_open_beneath(merged_parent, name, DIR_FLAGS, 0, NULL), upper = -1;
	if (merged < 0)
		return 0; /* gone meanwhile */
	if (upper_parent >= 0)
		upper = fs_open_beneath(upper_parent, name, DIR_FLAGS, 0, NULL);
	if (upper >= 0 && has_mark(upper, "redirect", true))
		upper = safe_close(upper);
	int r = upper >= 0 && has_mark(upper, "opaque", false) ? hidden_by_opaque(w, merged, err) : 0;
	return r < 0 ? r : walk_dir(w, upper, merged, depth + 1, err);
}

/* w->path is the entry's. */
static int walk_entry(struct walk *w, int upper, int merged, const char *name, int depth, crio_err *err)
{
	struct stat st;
	bool below = false;
	bool out = is_left_out(w, &below);
	if (out && !below)
		return 0;
	if (upper >= 0 && fstatat(upper, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) && !st.st_rdev)
		return add_deleted(w, err);
	if (fstatat(merged, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "stat '/%.256s'", w->path);
	int r = out ? 0 : emit(w, merged, name, &st, err);
	return r == 0 && S_ISDIR(st.st_mode) ? walk_into(w, upper, merged, name, depth, err) : r;
}

static int walk_dir(struct walk *w, int upper, int merged, int depth, crio_err *err)
{
	size_t n = strlen(w->path);
	const struct dirent *e;
	if (depth > DEPTH_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "'/%.100s...' is more than %d directories deep", w->path, DEPTH_MAX);
	/* A descriptor of its own: reading moves it. */
	cleanup_closedir DIR *dir = NULL;
	int r = fs_opendir_beneath(upper >= 0 ? upper : merged, "", &dir, err);
	if (r < 0)
		return r;
	while (r == 0 && (errno = 0, e = readdir(dir))) {
		if (is_dot(e->d_name))
			continue;
		if (!push(w, n, e->d_name))
			return err_set(err, CRIO_E_EXHAUSTED, "'/%.100s...' is longer than a path may be", w->path);
		r = walk_entry(w, upper, merged, e->d_name, depth, err);
		w->path[n] = '\0';
		if (r == 0)
			r = call_check(w->call, "read what the container has changed", err);
	}
	return r < 0 ? r : errno ? err_errno(err, errno, "read directory '/%.256s'", w->path) : 0;
}

int rootfs_diff_write(const struct rootfs_diff *d, crio_call *call, struct tar_out *o, struct strv *ret_deleted, bool *ret_any, crio_err *err)
{
	struct walk w = { .d = d, .call = call, .o = o, .deleted = ret_deleted, .links = map_new(), .piece = malloc(PIECE) };
	int r = w.links && w.piece ? walk_dir(&w, d->upper, d->merged, 0, err) : err_nomem(err);
	size_t it = 0;
	void *path;
	while (w.links && map_next(w.links, &it, NULL, &path))
		free(path);
	map_free(w.links);
	free(w.piece);
	*ret_any = w.any;
	return r;
}

/* ---- and back ---- */

static int refuse_devices(const struct tar_entry *e, crio_err *err)
{
	if (e->type != TAR_CHAR && e->type != TAR_BLOCK_DEV)
		return 0;
	return err_set(err, CRIO_E_INVALID, "'%.256s' is a device, which only a privileged container may bring back", e->name);
}

int rootfs_diff_apply(int root, crio_call *call, struct source tar, uint64_t max_bytes, bool devices, crio_err *err)
{
	const struct unpack_opts opts = { .src = tar,
					  .size = -1,
					  .dirfd = root,
					  .whiteout = CRIO_WHITEOUT_REMOVE,
					  .tar_split_fd = -1,
					  .literal = true,
					  .check = devices ? NULL : refuse_devices,
					  .limits = { .max_blob = max_bytes, .max_plain = max_bytes } };
	cleanup_unpack_result struct unpack_result res = { 0 };
	return unpack_layer(call, &opts, &res, err);
}

int rootfs_diff_delete(int root, const struct strv *deleted, crio_err *err)
{
	for (size_t i = 0; i < deleted->n; i++) {
		char clean[4096];
		int r = extract_clean(deleted->v[i], clean, sizeof(clean), err);
		if (r == 0 && !*clean)
			r = err_set(err, CRIO_E_INVALID, "the root itself is among the deleted files");
		if (r < 0)
			return r;
		char *slash = strrchr(clean, '/');
		if (slash)
			*slash = '\0';
		/* Never through a link: with one on the way there the path is none that the container removed. */
		cleanup_close int dir = fs_open_beneath(root, slash ? clean : ".", DIR_FLAGS, 0, NULL);
		if (dir < 0)
			continue;
		r = fs_rm_rf(dir, slash ? slash + 1 : clean, err);
		if (r < 0)
			return err_wrap(err, "remove '%.256s'", deleted->v[i]);
	}
	return 0;
}
