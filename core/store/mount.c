/*
 * mount.c: mounting a driver's rows.
 *
 * The new mount API comes first: overlay takes each lower directory by itself there ("lowerdir+", Linux 6.7), so that
 * neither the 4,096 bytes of mount(2)'s options nor the 256 of one fsconfig string limit the number of layers. Older
 * kernels, told by look_at_overlay, get mount(2); when the options are too long for it, a short-lived thread with a working directory of
 * its own mounts with the lower directories relative to the directory they share.
 *
 * Where ids are mapped, clones of the lower directories' mounts carry the map; the overlay takes them by descriptor (Linux 6.15).
 */
#include "core/store/priv.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#define OPT_DATA_MAX 4000

/* Options that are not the file system's own. fsmount and mount_setattr know them as attributes. */
static const struct {
	const char *name;
	uint64_t attr;
	unsigned long flag;
} attrs[] = {
    {"ro", MOUNT_ATTR_RDONLY, MS_RDONLY},
    {"nosuid", MOUNT_ATTR_NOSUID, MS_NOSUID},
    {"nodev", MOUNT_ATTR_NODEV, MS_NODEV},
    {"noexec", MOUNT_ATTR_NOEXEC, MS_NOEXEC},
    {"noatime", MOUNT_ATTR_NOATIME, MS_NOATIME},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, MS_NODIRATIME},
    {"relatime", 0, MS_RELATIME},
    {"rw", 0, 0},
    {"bind", 0, 0},
    {"rbind", 0, 0},
    {"private", 0, 0},
    {"rprivate", 0, 0},
};

static bool attr_of(const char *opt, uint64_t *attr, unsigned long *flag)
{
	for (size_t i = 0; i < ARRAY_SIZE(attrs); i++) {
		if (str_eq(opt, attrs[i].name)) {
			*attr |= attrs[i].attr;
			*flag |= attrs[i].flag;
			return true;
		}
	}
	return false;
}

/* What the kernel said about a failed fsconfig or fsmount, for the error. */
static void fs_message(int fd, char *p, size_t n)
{
	ssize_t r = read(fd, p, n - 1);
	p[r > 0 ? r : 0] = '\0';
	for (char *c = p; *c; c++)
		if (*c == '\n')
			*c = '\0';
}

static int fs_set(int fd, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0);
}

/* "lowerdir=/a:/b" as one call each. -1 and errno. */
static int fs_set_lowers(int fd, const char *list)
{
	cleanup_strv struct strv v = STRV_INIT;
	if (str_split(list, ':', &v) < 0) {
		errno = ENOMEM;
		return -1;
	}
	for (size_t i = 0; i < v.n; i++)
		if (fs_set(fd, "lowerdir+", v.v[i]) < 0)
			return -1;
	return 0;
}

/* A mount of its own that shows the directory by the namespace's maps, attached nowhere: its descriptor, or a code. */
static int mapped_tree(const char *path, bool rec, int userns, crio_err *err)
{
	struct mount_attr a = {.attr_set = MOUNT_ATTR_IDMAP, .propagation = MS_PRIVATE, .userns_fd = (uint64_t)userns};
	unsigned how = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (rec ? AT_RECURSIVE : 0u);
	cleanup_close int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, how);

	if (fd < 0)
		return err_errno(err, errno, "open %s to mount it", path);
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | (rec ? AT_RECURSIVE : 0), &a, sizeof(a)) < 0) {
		if (errno == EINVAL)
			return err_set(err, CRIO_E_UNSUPPORTED, "the file system of %s has no id-mapped mounts, which a user namespace needs",
				       path);
		return err_errno(err, errno, "map the ids of %s", path);
	}
	return move_fd(fd);
}

/* The mounts of lower directories: they are gone when their descriptors are, so these stay until the overlay has its own. */
struct lowers {
	int *v;
	size_t n;
};

static void lowers_release(struct lowers *l)
{
	for (size_t i = 0; i < l->n; i++)
		(void)safe_close(l->v[i]);
	free(l->v);
}

/* 1: not this way with this kernel. */
static int fs_set_mapped_lowers(int fs, const char *list, int userns, struct lowers *keep, crio_err *err)
{
	cleanup_strv struct strv v = STRV_INIT;

	if (keep->v || str_split(list, ':', &v) < 0 || !(keep->v = calloc(v.n + 1, sizeof(*keep->v))))
		return err_nomem(err);
	for (size_t i = 0; i < v.n; i++) {
		int fd = mapped_tree(v.v[i], false, userns, err);
		if (fd < 0)
			return fd;
		keep->v[keep->n++] = fd;
		if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD, "lowerdir+", NULL, fd) < 0)
			return 1;
	}
	return 0;
}

/* Before Linux 6.5 overlay takes any option and only says with the last step that it does not know one, by EINVAL: "lowerdir+" as well. */
static bool takes_anything;
static pthread_once_t looked = PTHREAD_ONCE_INIT;

static void look_at_overlay(void)
{
	cleanup_close int fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);

	takes_anything = fs >= 0 && fs_set(fs, "crio-no-such-option", "x") == 0;
}

static int fs_set_option(int fd, const char *opt)
{
	char key[128];
	const char *eq = strchr(opt, '=');

	if (!eq)
		return fs_set(fd, opt, NULL);
	if ((size_t)(eq - opt) >= sizeof(key)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(key, opt, (size_t)(eq - opt));
	key[eq - opt] = '\0';
	if (str_eq(key, "lowerdir"))
		return fs_set_lowers(fd, eq + 1);
	return fs_set(fd, key, eq + 1);
}

/* 1: this kernel cannot do it this way. */
static int mount_new(const struct crio_mount_row *row, int userns, const char *path, crio_err *err)
{
	bool overlay = str_eq(row->type, "overlay");
	CLEANUP(lowers_release) struct lowers lowers = {0};
	uint64_t attr = 0;
	unsigned long flag = 0;
	char why[256] = "";
	cleanup_close int fs = -1;

	if (overlay) {
		(void)pthread_once(&looked, look_at_overlay);
		if (takes_anything)
			return 1;
	}
	fs = (int)syscall(SYS_fsopen, row->type, FSOPEN_CLOEXEC);
	if (fs < 0)
		return errno == ENOSYS || errno == EPERM ? 1 : err_errno(err, errno, "open file system %s", row->type);
	if (fs_set(fs, "source", *row->source ? row->source : row->type) < 0)
		return 1;
	for (size_t i = 0; i < row->options.n; i++) {
		if (attr_of(row->options.v[i], &attr, &flag))
			continue;
		if (userns >= 0 && overlay && str_starts(row->options.v[i], "lowerdir=")) {
			int r = fs_set_mapped_lowers(fs, row->options.v[i] + strlen("lowerdir="), userns, &lowers, err);
			if (r)
				return r;
			continue;
		}
		if (fs_set_option(fs, row->options.v[i]) == 0)
			continue;
		int e = errno;
		if (e == EINVAL && str_starts(row->options.v[i], "lowerdir="))
			return 1;
		fs_message(fs, why, sizeof(why));
		return err_errno(err, e, "mount option '%.200s'%s%s", row->options.v[i], *why ? ": " : "", why);
	}
	/* The superblock too: an overlay without an upper directory could not be otherwise. */
	if ((attr & MOUNT_ATTR_RDONLY) && fs_set(fs, "ro", NULL) < 0)
		return 1;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
		int e = errno;
		if (e == EINVAL && lowers.n)
			return 1; /* between 6.13 and 6.15 descriptors are taken, but not of mounts that are nowhere */
		fs_message(fs, why, sizeof(why));
		return err_errno(err, e, "make the %s of %s%s%s", row->type, path, *why ? ": " : "", why);
	}
	cleanup_close int mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, (unsigned)attr);
	if (mnt < 0)
		return err_errno(err, errno, "make a mount for %s", path);
	struct mount_attr map = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
	if (userns >= 0 && !overlay && syscall(SYS_mount_setattr, mnt, "", AT_EMPTY_PATH, &map, sizeof(map)) < 0)
		return err_errno(err, errno, "map the ids of %s", path);
	if (syscall(SYS_move_mount, mnt, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(err, errno, "mount on %s", path);
	return 0;
}

/* ---- mount(2) ---- */

struct old_mount {
	const char *type, *source, *path, *data, *cwd;
	unsigned long flags;
	int errnum;
};

static void *old_mount_thread(void *arg)
{
	struct old_mount *m = arg;
	if (unshare(CLONE_FS) < 0 || chdir(m->cwd) < 0 || mount(m->source, m->path, m->type, m->flags, m->data) < 0)
		m->errnum = errno;
	return NULL;
}

/* "context=" and its like have commas of their own: the kernel takes them in quotes, and only here. */
static bool add_label(struct buf *b, const char *o)
{
	size_t n = strcspn(o, "=");

	if (n < 7 || strncmp(o + n - 7, "context", 7) != 0 || o[n] != '=' || o[n + 1] == '"' || !strchr(o, ','))
		return false;
	buf_addf(b, "%.*s=\"%s\"", (int)n, o, o + n + 1);
	return true;
}

/* The options with the lower directories below `dir` made relative to it. */
static int data_of(const struct crio_mount_row *row, const char *dir, struct buf *b, unsigned long *flags,
		   crio_err *err)
{
	size_t dn = dir ? strlen(dir) : 0;
	uint64_t attr = 0;

	for (size_t i = 0; i < row->options.n; i++) {
		const char *o = row->options.v[i];
		if (attr_of(o, &attr, flags))
			continue;
		if (b->n)
			buf_addc(b, ',');
		if (add_label(b, o))
			continue;
		if (!dir || !str_starts(o, "lowerdir=")) {
			buf_adds(b, o);
			continue;
		}
		cleanup_strv struct strv v = STRV_INIT;
		if (str_split(o + strlen("lowerdir="), ':', &v) < 0)
			return err_nomem(err);
		buf_adds(b, "lowerdir=");
		for (size_t k = 0; k < v.n; k++) {
			bool below = str_starts(v.v[k], dir) && v.v[k][dn] == '/' && v.v[k][dn + 1];
			buf_addf(b, "%s%s", k ? ":" : "", below ? v.v[k] + dn + 1 : v.v[k]);
		}
	}
	return b->oom ? err_nomem(err) : 0;
}

/* The directory two above the first lower link: "<root>/overlay" of "<root>/overlay/l/XYZ". */
static char *shared_dir(const struct crio_mount_row *row)
{
	for (size_t i = 0; i < row->options.n; i++) {
		const char *o = row->options.v[i];
		if (!str_starts(o, "lowerdir=/"))
			continue;
		o += strlen("lowerdir=");
		char *dir = strndup(o, strcspn(o, ":"));
		for (int up = 0; dir && up < 2; up++) {
			char *slash = strrchr(dir, '/');
			if (slash && slash != dir)
				*slash = '\0';
		}
		return dir;
	}
	return strdup("/");
}

int mount_row_old(const struct crio_mount_row *row, const char *path, crio_err *err)
{
	cleanup_buf struct buf b = BUF_INIT;
	cleanup_free char *dir = shared_dir(row);
	unsigned long flags = 0;
	pthread_t th;

	if (!dir)
		return err_nomem(err);
	int r = data_of(row, NULL, &b, &flags, err);
	if (r < 0)
		return r;
	if (b.n <= OPT_DATA_MAX)
		return mount(row->source, path, row->type, flags, b.p) < 0 ? err_errno(err, errno, "mount on %s", path)
									   : 0;
	buf_clear(&b);
	flags = 0;
	r = data_of(row, dir, &b, &flags, err);
	if (r < 0)
		return r;
	if (b.n > OPT_DATA_MAX)
		return err_set(err, CRIO_E_EXHAUSTED,
			       "mount on %s: %zu bytes of options are more than this kernel takes; the image "
			       "has too many layers",
			       path, b.n);
	struct old_mount m = {row->type, row->source, path, b.p, dir, flags, 0};
	int e = pthread_create(&th, NULL, old_mount_thread, &m);
	if (e)
		return err_errno(err, e, "start a thread to mount %s", path);
	(void)pthread_join(th, NULL);
	return m.errnum ? err_errno(err, m.errnum, "mount on %s", path) : 0;
}

/* ---- bind ---- */

static int mount_bind(const struct crio_mount_row *row, int userns, const char *path, crio_err *err)
{
	uint64_t attr = 0;
	unsigned long flag = 0;
	bool rec = false;

	for (size_t i = 0; i < row->options.n; i++) {
		rec |= str_eq(row->options.v[i], "rbind");
		if (!attr_of(row->options.v[i], &attr, &flag))
			return err_set(err, CRIO_E_INVALID, "bind mount of %s: unknown option '%s'", row->source,
				       row->options.v[i]);
	}
	unsigned how = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW | (rec ? AT_RECURSIVE : 0u);
	cleanup_close int fd = userns >= 0 ? mapped_tree(row->source, rec, userns, err)
					   : (int)syscall(SYS_open_tree, AT_FDCWD, row->source, how);
	if (fd < 0 && userns >= 0)
		return fd;
	if (fd < 0)
		return err_errno(err, errno, "open %s to mount it", row->source);
	struct mount_attr a = {.attr_set = attr, .propagation = MS_PRIVATE};
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | (rec ? AT_RECURSIVE : 0), &a, sizeof(a)) < 0)
		return err_errno(err, errno, "set attributes of the mount of %s", row->source);
	if (syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(err, errno, "mount on %s", path);
	return 0;
}

/* ---- mapped, apart ---- */

struct apart {
	const struct crio_mount_row *row;
	int userns;
	const char *path;
	int fd;	      /* of the overlay, attached nowhere */
	int r;
	crio_err err;
};

/* The mapped lower directories as ./0, ./1, ... */
static int attach_lowers(const struct apart *a, const char *list, struct buf *b, crio_err *err)
{
	cleanup_strv struct strv v = STRV_INIT;

	if (str_split(list, ':', &v) < 0)
		return err_nomem(err);
	buf_adds(b, "lowerdir=");
	for (size_t i = 0; i < v.n; i++) {
		char name[24];
		cleanup_close int fd = mapped_tree(v.v[i], false, a->userns, err);
		if (fd < 0)
			return fd;
		(void)snprintf(name, sizeof(name), "%zu", i);
		if (mkdir(name, 0700) < 0 || syscall(SYS_move_mount, fd, "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return err_errno(err, errno, "mount %s apart", v.v[i]);
		buf_addf(b, "%s%s", i ? ":" : "", name);
	}
	return 0;
}

static int apart_inside(struct apart *a, crio_err *err)
{
	cleanup_buf struct buf b = BUF_INIT;
	uint64_t attr = 0;
	unsigned long flags = 0;

	/* Nothing mounted here gets out of this thread's namespace, which goes with the thread. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(err, errno, "make a mount namespace");
	if (mount("tmpfs", a->path, "tmpfs", 0, "mode=700") < 0 || chdir(a->path) < 0 || mkdir("m", 0700) < 0)
		return err_errno(err, errno, "make a place for lower directories at %s", a->path);
	for (size_t i = 0; i < a->row->options.n; i++) {
		const char *o = a->row->options.v[i];
		if (attr_of(o, &attr, &flags))
			continue;
		if (b.n)
			buf_addc(&b, ',');
		if (!str_starts(o, "lowerdir=")) {
			buf_adds(&b, o);
			continue;
		}
		int r = attach_lowers(a, o + strlen("lowerdir="), &b, err);
		if (r < 0)
			return r;
	}
	if (b.oom)
		return err_nomem(err);
	if (b.n > OPT_DATA_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "mount on %s: the image has too many layers for this kernel", a->path);
	if (mount(a->row->source, "m", a->row->type, flags, b.p) < 0)
		return err_errno(err, errno, "mount on %s", a->path);
	a->fd = (int)syscall(SYS_open_tree, AT_FDCWD, "m", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return a->fd < 0 ? err_errno(err, errno, "take the mount for %s", a->path) : 0;
}

static void *apart_thread(void *arg)
{
	struct apart *a = arg;
	a->r = apart_inside(a, &a->err);
	return NULL;
}

int mount_overlay_apart(const struct crio_mount_row *row, int userns, const char *path, crio_err *err)
{
	struct apart a = {.row = row, .userns = userns, .path = path, .fd = -1};
	pthread_t th;
	int e = pthread_create(&th, NULL, apart_thread, &a);

	if (e)
		return err_errno(err, e, "start a thread to mount %s", path);
	(void)pthread_join(th, NULL);
	if (a.r < 0)
		return err_move(err, &a.err);
	cleanup_close int fd = a.fd;
	if (syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(err, errno, "mount on %s", path);
	return 0;
}

static int mount_row(const struct crio_mount_row *row, int userns, const char *path, crio_err *err)
{
	static atomic_bool use_old, use_apart;
	bool overlay = str_eq(row->type, "overlay"), mapped = userns >= 0 && overlay;

	if (str_eq(row->type, "bind"))
		return mount_bind(row, userns, path, err);
	if (!atomic_load(mapped ? &use_apart : &use_old)) {
		int r = mount_new(row, userns, path, err);
		if (r <= 0)
			return r;
		if (overlay)
			atomic_store(mapped ? &use_apart : &use_old, true);
	}
	if (mapped)
		return mount_overlay_apart(row, userns, path, err);
	if (userns >= 0)
		return err_set(err, CRIO_E_UNSUPPORTED, "mount on %s: this kernel maps no ids of %s", path, row->type);
	return mount_row_old(row, path, err);
}

int mount_rows(const struct crio_mount_rows *rows, int userns, const char *path, crio_err *err)
{
	size_t done = 0;
	int r = rows->n ? 0 : err_set(err, CRIO_E_INTERNAL, "the storage plugin gave nothing to mount on %s", path);

	for (size_t i = 0; !r && i < rows->n; i++) {
		const struct crio_mount_row *row = CRIO_ROW(crio_mount_row, *rows, i);
		if (!*row->target) {
			r = mount_row(row, userns, path, err);
		} else if (!path_is_name(row->target)) {
			r = err_set(err, CRIO_E_INTERNAL, "the storage plugin's mount target '%s' is not a name",
				    row->target);
		} else {
			cleanup_free char *sub = path_fmt("%s/%s", path, row->target);
			r = sub ? mount_row(row, userns, sub, err) : err_nomem(err);
		}
		done += !r;
	}
	/* Detaching the first takes what is mounted below it along. */
	if (r < 0 && done)
		(void)fs_umount(path, NULL);
	return r;
}
