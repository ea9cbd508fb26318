/*
 * overlay.c: layers as directories that the kernel's overlay file system stacks, laid out as containers/storage's
 *driver "overlay" does:
 *
 *	<root>/overlay/<id>/diff      the layer's own files
 *	<root>/overlay/<id>/link      26 characters: the name of the layer's short link
 *	<root>/overlay/<id>/lower     short links of its parents, nearest first: l/AAA:l/BBB (absent without parents)
 *	<root>/overlay/<id>/work      overlay's working directory (read-write layers)
 *	<root>/overlay/<id>/merged    mountpoint
 *	<root>/overlay/<id>/empty     stands in for the lower directory of a layer without parents
 *	<root>/overlay/l/<26>         -> ../<id>/diff
 *
 * A layer is built as .crio-new-<id> and renamed when it is whole; a removed one is renamed to .crio-del-<id>.<n>, and
 *the reaper thread (reap.c) deletes that. Whatever has these names after a crash is garbage.
 */
#include "plugins/storage/overlay/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEPTH_MAX 500 /* the kernel's limit of lower directories */

/* An unpacker's root entry sets the mode of diff. Where there was none the mode stays this, and the parent's is taken
 * at the end, when the parent is there. */
#define MODE_INHERIT 01555

int ov_fail_errno(struct ov *o, crio_err *err, const char *what, const char *name)
{
	int e = errno, code = CRIO_E_IO;
	if (e == ENOENT)
		code = CRIO_E_NOT_FOUND;
	else if (e == EEXIST)
		code = CRIO_E_EXISTS;
	else if (e == ENOSPC || e == EDQUOT)
		code = CRIO_E_NOSPACE;
	else if (e == EACCES || e == EPERM || e == EROFS)
		code = CRIO_E_DENIED;
	return o->host->fail(err, code, "%s %s/%s: %s", what, o->home ? o->home : "", name, strerror(e));
}

/* ---- open and close ---- */

static int ov_open(const struct crio_host *host, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	(void)call;
	struct ov *o = calloc(1, sizeof(*o));
	if (!o)
		return host->fail(err, CRIO_E_NOMEM, "out of memory");
	o->host = host;
	o->in = in;
	o->fd = -1;
	const char *prog = host->opt_str(in, "mount_program");
	if (prog && *prog) {
		free(o);
		return host->fail(err, CRIO_E_UNSUPPORTED,
				  "mount_program = \"%s\": only the kernel's overlay is supported; remove the option",
				  prog);
	}
	const char *mask = host->opt_str(in, "force_mask"), *composefs = host->opt_str(in, "use_composefs");
	if ((mask && *mask) || (composefs && !strcmp(composefs, "true"))) {
		free(o);
		return host->fail(err, CRIO_E_UNSUPPORTED,
				  "force_mask and use_composefs are not supported; remove the option");
	}
	o->metacopy = access("/sys/module/overlay/parameters/metacopy", F_OK) == 0;
	*self = o;
	return 0;
}

static void ov_close(void *p)
{
	struct ov *o = p;
	ov_reaper_stop(o);
	if (o->fd >= 0)
		(void)close(o->fd);
	free(o->home);
	free(o);
}

static int ov_check(void *p, crio_call *call, crio_err *err)
{
	struct ov *o = p;
	char line[128];
	int found = 0;
	(void)call;
	/* Opening a file system context loads the module when there is one, and makes nothing. */
	int fd = (int)syscall(SYS_fsopen, "overlay", 1u /* FSOPEN_CLOEXEC */);
	if (fd >= 0) {
		(void)close(fd);
		return 0;
	}
	FILE *f = fopen("/proc/filesystems", "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, "\toverlay") != NULL;
	if (f)
		(void)fclose(f);
	return found ? 0
		     : o->host->fail(err, CRIO_E_UNSUPPORTED,
				     "this kernel has no overlay file system (modprobe overlay)");
}

static const char *fs_name(int fd)
{
	static const struct {
		unsigned long magic;
		const char *name;
	} known[] = {
	    {EXT4_SUPER_MAGIC, "extfs"},	  {0x58465342 /* XFS */, "xfs"},
	    {BTRFS_SUPER_MAGIC, "btrfs"},	  {TMPFS_MAGIC, "tmpfs"},
	    {OVERLAYFS_SUPER_MAGIC, "overlayfs"}, {0x2fc12fc1, "zfs"},
	    {F2FS_SUPER_MAGIC, "f2fs"},		  {NFS_SUPER_MAGIC, "nfs"},
	};
	struct statfs f;
	if (fstatfs(fd, &f) == 0)
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if ((unsigned long)f.f_type == known[i].magic)
				return known[i].name;
	return "<unknown>";
}

static int ov_store_open(void *p, crio_call *call, const struct crio_storage_open_args *a,
			 struct crio_storage_open_out *out, crio_err *err)
{
	struct ov *o = p;
	(void)call;
	if (o->fd >= 0)
		return o->host->fail(err, CRIO_E_PRECONDITION, "the instance serves %s already", o->home);
	if (a->root[0] != '/' || strpbrk(a->root, ":,\\\"\n"))
		return o->host->fail(err, CRIO_E_INVALID,
				     "root '%s': overlay needs an absolute path without : , \\ or \"", a->root);
	o->read_only = a->read_only;
	if (asprintf(&o->home, "%s/overlay", a->root) < 0) {
		o->home = NULL;
		return o->host->fail(err, CRIO_E_NOMEM, "out of memory");
	}
	if (!o->read_only && mkdir(o->home, 0700) < 0 && errno != EEXIST)
		return ov_fail_errno(o, err, "create", "");
	int fd = open(o->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ov_fail_errno(o, err, "open", "");
	if (!o->read_only && mkdirat(fd, "l", 0755) < 0 && errno != EEXIST) {
		int r = ov_fail_errno(o, err, "create", "l");
		(void)close(fd);
		return r;
	}
	o->fd = fd;
	if (!o->read_only)
		ov_reaper_start(o);
	out->whiteout = CRIO_WHITEOUT_OVERLAY;
	out->driver = "overlay";
	out->backing = o->backing = fs_name(fd);
	return 0;
}

/* ---- small files of a layer ---- */

int ov_is_id(const char *s)
{
	size_t n = strspn(s, "0123456789abcdef");
	return n == 64 && !s[n];
}

static int check_id(struct ov *o, const char *id, crio_err *err)
{
	if (o->fd < 0)
		return o->host->fail(err, CRIO_E_PRECONDITION, "store_open comes first");
	return ov_is_id(id) ? 0 : o->host->fail(err, CRIO_E_INVALID, "layer id '%.80s'", id);
}

/* Reads <dir>/<file> as text of at most n-1 bytes, white space at the end cut. -1 and errno. */
static ssize_t read_text(struct ov *o, const char *dir, const char *file, char *buf, size_t n)
{
	char path[256];
	(void)snprintf(path, sizeof(path), "%s/%s", dir, file);
	int fd = openat(o->fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
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
		return ov_fail_errno(o, err, "create", file);
	ssize_t r = write(fd, text, n);
	int e = errno;
	(void)close(fd);
	errno = r >= 0 ? ENOSPC : e;
	return r == (ssize_t)n ? 0 : ov_fail_errno(o, err, "write", file);
}

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

/* `lower` of a child of `parent`, the parent's link first. -1 and errno. */
static int child_lower(struct ov *o, const char *parent, char *buf, size_t n)
{
	char link[OV_LINK_LEN + 1];
	if (ov_read_link(o, parent, link) < 0)
		return -1;
	int at = snprintf(buf, n, "l/%s", link);
	ssize_t r = read_text(o, parent, "lower", buf + at + 1, n - (size_t)at - 1);
	if (r < 0 && errno != ENOENT)
		return -1;
	if (r > 0)
		buf[at] = ':';
	return 0;
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

int ov_make_link(struct ov *o, const char *link, const char *id)
{
	char from[8 + OV_LINK_LEN], to[96];
	(void)snprintf(from, sizeof(from), "l/%s", link);
	(void)snprintf(to, sizeof(to), "../%s/diff", id);
	return symlinkat(to, o->fd, from);
}

static void drop_link(struct ov *o, const char *link)
{
	char path[8 + OV_LINK_LEN];
	(void)snprintf(path, sizeof(path), "l/%s", link);
	(void)unlinkat(o->fd, path, 0);
}

/* ---- building a layer ---- */

static void new_name(const char *id, char ret[96])
{
	(void)snprintf(ret, 96, OV_NEW "%.64s", id);
}

static int exists(struct ov *o, const char *name)
{
	return faccessat(o->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Mode and owner of the parent's root directory. */
static int parent_stat(struct ov *o, const char *parent, struct stat *st)
{
	char path[80];
	(void)snprintf(path, sizeof(path), "%.64s/diff", parent);
	return fstatat(o->fd, path, st, AT_SYMLINK_NOFOLLOW);
}

/* Makes .crio-new-<id> with its directories. Returns an fd of it. */
static int build(struct ov *o, const char *id, const char *parent, crio_err *err)
{
	char name[96];
	struct stat st = {.st_mode = 0555};

	if (exists(o, id))
		return o->host->fail(err, CRIO_E_EXISTS, "layer %s", id);
	if (*parent && parent_stat(o, parent, &st) < 0) {
		if (errno != ENOENT)
			return ov_fail_errno(o, err, "look at", parent);
		st = (struct stat){.st_mode = MODE_INHERIT};
	}
	new_name(id, name);
	if (exists(o, name) && ov_trash(o, name) < 0)
		return ov_fail_errno(o, err, "remove", name);
	if (mkdirat(o->fd, name, 0700) < 0)
		return ov_fail_errno(o, err, "create", name);
	int fd = openat(o->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || mkdirat(fd, "diff", 0700) < 0 || fchownat(fd, "diff", st.st_uid, st.st_gid, 0) < 0 ||
	    fchmodat(fd, "diff", st.st_mode & 07777, 0) < 0 || mkdirat(fd, "work", 0700) < 0 ||
	    mkdirat(fd, "merged", 0700) < 0 || (!*parent && mkdirat(fd, "empty", 0700) < 0)) {
		int r = ov_fail_errno(o, err, "create directories of", name);
		if (fd >= 0)
			(void)close(fd);
		(void)ov_trash(o, name);
		return r;
	}
	return fd;
}

/* Parent's mode and owner for a root directory that no archive said anything about. */
static int inherit(struct ov *o, int dir, const char *parent, crio_err *err)
{
	struct stat st, up;
	if (!*parent || fstatat(dir, "diff", &st, AT_SYMLINK_NOFOLLOW) < 0 || (st.st_mode & 07777) != MODE_INHERIT)
		return 0;
	if (parent_stat(o, parent, &up) < 0 || fchownat(dir, "diff", up.st_uid, up.st_gid, 0) < 0 ||
	    fchmodat(dir, "diff", up.st_mode & 07777, 0) < 0)
		return ov_fail_errno(o, err, "take the root directory's mode from", parent);
	return 0;
}

/* Links and renames what was built. A tree of that id: EXISTS, and what was built stays. */
static int place(struct ov *o, int dir, const char *id, const char *parent, crio_err *err)
{
	char lower[DEPTH_MAX * (OV_LINK_LEN + 3)], link[OV_LINK_LEN + 1], name[96];
	int tries = 0;

	new_name(id, name);
	if (*parent) {
		if (child_lower(o, parent, lower, sizeof(lower)) < 0)
			return ov_fail_errno(o, err, "parent", parent);
		int r = write_text(o, dir, "lower", lower, 0644, err);
		if (r < 0)
			return r;
	}
	int r = inherit(o, dir, parent, err);
	if (r < 0)
		return r;
	do {
		new_link(link);
	} while (ov_make_link(o, link, id) < 0 && errno == EEXIST && ++tries < 8);
	if (tries == 8)
		return o->host->fail(err, CRIO_E_INTERNAL, "no free name for a short link in %s/l", o->home);
	r = write_text(o, dir, "link", link, 0644, err);
	if (!r && renameat2(o->fd, name, o->fd, id, 1u /* RENAME_NOREPLACE */) < 0)
		r = ov_fail_errno(o, err, "rename a new layer to", id);
	if (r < 0)
		drop_link(o, link);
	return r;
}

static int ov_apply_begin(void *p, crio_call *call, const struct crio_storage_apply_args *a,
			  struct crio_storage_apply_out *out, crio_err *err)
{
	struct ov *o = p;
	(void)call;
	int r = check_id(o, a->id, err);
	if (!r && *a->parent)
		r = check_id(o, a->parent, err);
	if (r < 0)
		return r;
	int dir = build(o, a->id, a->parent, err);
	if (dir < 0)
		return dir;
	int fd = openat(dir, "diff", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		r = ov_fail_errno(o, err, "open a new layer of", a->id);
	(void)close(dir);
	out->dirfd = fd;
	return r;
}

static int ov_apply_end(void *p, crio_call *call, const struct crio_storage_apply_args *a,
			struct crio_storage_usage_out *out, crio_err *err)
{
	struct ov *o = p;
	char name[96];
	(void)call;
	(void)out; /* 0: not counted here */
	int r = check_id(o, a->id, err);
	if (!r && *a->parent)
		r = check_id(o, a->parent, err);
	if (r < 0)
		return r;
	new_name(a->id, name);
	if (!a->commit) {
		if (exists(o, name) && ov_trash(o, name) < 0)
			return ov_fail_errno(o, err, "remove", name);
		return 0;
	}
	int dir = openat(o->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return ov_fail_errno(o, err, "open", name);
	r = place(o, dir, a->id, a->parent, err);
	if (!r && syncfs(dir) < 0)
		r = ov_fail_errno(o, err, "sync", a->id);
	(void)close(dir);
	return r;
}

static int ov_layer_create(void *p, crio_call *call, const struct crio_storage_create_args *a,
			   struct crio_storage_no_out *out, crio_err *err)
{
	struct ov *o = p;
	char name[96];
	(void)call;
	(void)out;
	int r = check_id(o, a->id, err);
	if (!r && *a->parent)
		r = check_id(o, a->parent, err);
	if (!r && (a->quota || a->inode_quota))
		r = o->host->fail(err, CRIO_E_UNSUPPORTED, "the overlay plugin has no quotas");
	if (!r && *a->parent && !exists(o, a->parent))
		r = o->host->fail(err, CRIO_E_NOT_FOUND, "parent layer %s", a->parent);
	if (r < 0)
		return r;
	int dir = build(o, a->id, a->parent, err);
	if (dir < 0)
		return dir;
	r = place(o, dir, a->id, a->parent, err);
	(void)close(dir);
	if (r < 0) {
		new_name(a->id, name);
		(void)ov_trash(o, name);
	}
	return r;
}

/* ---- showing a layer ---- */

/* "l/A:l/B" as absolute paths with `first` before them, for lowerdir. NULL without memory. */
static char *abs_lowers(struct ov *o, crio_call *call, const char *first, const char *lower, size_t *ret_n)
{
	size_t n = 0, entries = 1;
	for (const char *c = lower; *c; c++)
		entries += *c == ':';
	size_t cap = strlen("lowerdir=") + (entries + 1) * (strlen(o->home) + OV_LINK_LEN + 80);
	char *s = o->host->alloc(call, cap);
	if (!s)
		return NULL;
	size_t at = (size_t)snprintf(s, cap, "lowerdir=");
	if (*first) {
		at += (size_t)snprintf(s + at, cap - at, "%s/%s", o->home, first);
		n++;
	}
	while (*lower) {
		size_t len = strcspn(lower, ":");
		if (len)
			at += (size_t)snprintf(s + at, cap - at, "%s%s/%.*s", n++ ? ":" : "", o->home, (int)len, lower);
		lower += len + (lower[len] == ':');
	}
	*ret_n = n;
	return s;
}

/* Every short link of the list leads somewhere? Else they are made again from the layers' `link` files. */
static int check_lowers(struct ov *o, const char *lower, crio_err *err)
{
	char path[64];
	int again = 0;
	for (const char *s = lower; *s;) {
		size_t len = strcspn(s, ":");
		if (len >= sizeof(path) - 2 || strncmp(s, "l/", 2) != 0)
			return o->host->fail(err, CRIO_E_CORRUPT, "a lower directory '%.*s' in %s",
					     (int)(len < 100 ? len : 100), s, o->home);
		(void)snprintf(path, sizeof(path), "%.*s/", (int)len, s);
		if (faccessat(o->fd, path, F_OK, 0) < 0) {
			if (again++ || o->read_only)
				return o->host->fail(err, CRIO_E_CORRUPT,
						     "%s/%.*s leads to no layer; remove the image and pull it "
						     "again",
						     o->home, (int)len, s);
			ov_repair_links(o);
			s = lower;
			continue;
		}
		s += len + (s[len] == ':');
	}
	return 0;
}

struct options {
	const char **v;
	size_t n, cap;
};

static void add_option(struct options *l, const char *s)
{
	if (s && l->n < l->cap)
		l->v[l->n++] = s;
}

static char *text(struct ov *o, crio_call *call, const char *a, const char *b, const char *c, const char *d)
{
	size_t n = strlen(a) + strlen(b) + strlen(c) + strlen(d) + 1;
	char *s = o->host->alloc(call, n);
	if (s)
		(void)snprintf(s, n, "%s%s%s%s", a, b, c, d);
	return s;
}

/* mountopt of the configuration. */
static void add_mountopt(struct ov *o, crio_call *call, struct options *l)
{
	struct crio_strs opts = o->host->opt_strs(o->in, "mountopt");
	for (size_t i = 0; i < opts.n; i++) {
		const char *s = opts.v[i];
		if (!*s || (!o->metacopy && !strncmp(s, "metacopy", 8)) || !strcmp(s, "volatile"))
			continue;
		add_option(l, o->host->strdup(call, s));
	}
}

static int row_out(struct ov *o, crio_call *call, const char *type, const char *source, const struct options *l,
		   struct crio_storage_mounts_out *out, crio_err *err)
{
	struct crio_mount_row *row = o->host->alloc(call, sizeof(*row));
	if (!row || !source)
		return o->host->fail(err, CRIO_E_NOMEM, "out of memory");
	*row = (struct crio_mount_row){
	    .size = sizeof(*row), .type = type, .source = source, .target = "", .options = {l->v, l->n}};
	out->rows = (struct crio_mount_rows){.v = row, .n = 1, .stride = sizeof(*row)};
	return 0;
}

/* The kernel leaves this behind to refuse a volatile layer after a crash. What a container wrote is not worth more than
 * its container: it may be mounted again, as CRI-O does. */
static void forget_volatile(struct ov *o, const char *id)
{
	char path[160];
	(void)snprintf(path, sizeof(path), "%.64s/work/work/incompat/volatile/dirty", id);
	if (unlinkat(o->fd, path, 0) < 0 && errno == ENOENT)
		return;
	path[strlen(path) - strlen("/dirty")] = '\0';
	(void)unlinkat(o->fd, path, AT_REMOVEDIR);
}

static int rows_rw(struct ov *o, crio_call *call, const char *id, const char *lower, struct options *l,
		   struct crio_storage_mounts_out *out, crio_err *err)
{
	char empty[80];
	size_t n;

	(void)snprintf(empty, sizeof(empty), "%.64s/empty", id);
	if (!*lower && mkdirat(o->fd, empty, 0700) < 0 && errno != EEXIST)
		return ov_fail_errno(o, err, "create", empty);
	char *dirs = abs_lowers(o, call, *lower ? "" : empty, lower, &n);
	char *up = text(o, call, "upperdir=", o->home, "/", id), *work = text(o, call, "workdir=", o->home, "/", id);
	if (!dirs || !up || !work)
		return o->host->fail(err, CRIO_E_NOMEM, "out of memory");
	add_option(l, dirs);
	add_option(l, text(o, call, up, "/diff", "", ""));
	add_option(l, text(o, call, work, "/work", "", ""));
	if (o->host->opt_int(o->in, "volatile")) {
		forget_volatile(o, id);
		add_option(l, "volatile");
	}
	return row_out(o, call, "overlay", "overlay", l, out, err);
}

static int rows_ro(struct ov *o, crio_call *call, const char *id, const char *lower, struct options *l,
		   struct crio_storage_mounts_out *out, crio_err *err)
{
	char link[OV_LINK_LEN + 1], first[96];
	size_t n;

	add_option(l, "ro");
	if (!*lower)
		return row_out(o, call, "bind", text(o, call, o->home, "/", id, "/diff"), l, out, err);
	if (ov_read_link(o, id, link) == 0)
		(void)snprintf(first, sizeof(first), "l/%s", link);
	else
		(void)snprintf(first, sizeof(first), "%.64s/diff", id);
	char *dirs = abs_lowers(o, call, first, lower, &n);
	if (!dirs)
		return o->host->fail(err, CRIO_E_NOMEM, "out of memory");
	add_option(l, dirs);
	return row_out(o, call, "overlay", "overlay", l, out, err);
}

static int ov_mounts(void *p, crio_call *call, const struct crio_storage_id_args *a,
		     struct crio_storage_mounts_out *out, crio_err *err)
{
	struct ov *o = p;
	char lower[DEPTH_MAX * (OV_LINK_LEN + 3)] = "";
	struct options l = {.cap = 16 + a->options.n + o->host->opt_strs(o->in, "mountopt").n};

	int r = check_id(o, a->id, err);
	if (r < 0)
		return r;
	if (!exists(o, a->id))
		return o->host->fail(err, CRIO_E_NOT_FOUND, "layer %s in %s", a->id, o->home);
	if (read_text(o, a->id, "lower", lower, sizeof(lower)) < 0 && errno != ENOENT)
		return ov_fail_errno(o, err, "read the lower directories of", a->id);
	r = check_lowers(o, lower, err);
	if (r < 0)
		return r;
	l.v = o->host->alloc(call, l.cap * sizeof(*l.v));
	if (!l.v)
		return o->host->fail(err, CRIO_E_NOMEM, "out of memory");
	int bind = a->read_only && !*lower;
	if (!bind)
		add_mountopt(o, call, &l);
	for (size_t i = 0; i < a->options.n; i++)
		add_option(&l, o->host->strdup(call, a->options.v[i]));
	if (*a->mount_label && !bind)
		add_option(&l, text(o, call, "context=", a->mount_label, "", ""));
	return a->read_only ? rows_ro(o, call, a->id, lower, &l, out, err)
			    : rows_rw(o, call, a->id, lower, &l, out, err);
}

static int ov_release(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_no_out *out,
		      crio_err *err)
{
	(void)call;
	(void)out;
	return check_id(p, a->id, err);
}

static int ov_tree_open(void *p, crio_call *call, const struct crio_storage_id_args *a,
			struct crio_storage_tree_out *out, crio_err *err)
{
	struct ov *o = p;
	char path[80];
	(void)call;
	int r = check_id(o, a->id, err);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%.64s/diff", a->id);
	int fd = openat(o->fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return ov_fail_errno(o, err, "open", path);
	out->dirfd = fd;
	return 0;
}

static int ov_remove(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_no_out *out,
		     crio_err *err)
{
	struct ov *o = p;
	char link[OV_LINK_LEN + 1];
	(void)call;
	(void)out;
	int r = check_id(o, a->id, err);
	if (r < 0)
		return r;
	if (!exists(o, a->id))
		return 0;
	int has_link = ov_read_link(o, a->id, link) == 0;
	if (ov_trash(o, a->id) < 0)
		return ov_fail_errno(o, err, "remove", a->id);
	if (has_link)
		drop_link(o, link);
	return 0;
}

/* ---- telling about layers ---- */

static int ov_status(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_map_out *out,
		     crio_err *err)
{
	struct ov *o = p;
	(void)a;
	struct crio_kv *v = o->host->alloc(call, 6 * sizeof(*v));
	if (!v)
		return o->host->fail(err, CRIO_E_NOMEM, "out of memory");
	int meta = 0;
	struct crio_strs opts = o->host->opt_strs(o->in, "mountopt");
	for (size_t i = 0; i < opts.n; i++)
		meta |= o->metacopy && !strcmp(opts.v[i], "metacopy=on");
	v[0] = (struct crio_kv){"Backing Filesystem", o->backing ? o->backing : ""};
	v[1] = (struct crio_kv){"Supports d_type", "true"};
	v[2] = (struct crio_kv){"Native Overlay Diff", meta ? "false" : "true"};
	v[3] = (struct crio_kv){"Using metacopy", meta ? "true" : "false"};
	v[4] = (struct crio_kv){"Supports shifting", "false"};
	v[5] = (struct crio_kv){"Supports volatile", "true"};
	out->v = (struct crio_map){v, 6};
	return 0;
}

/* The parents' diff directories, as `podman inspect` shows them. */
static char *lower_dirs(struct ov *o, crio_call *call, const char *lower)
{
	char path[64], to[128];
	size_t n = 1, at = 0;
	for (const char *c = lower; *c; c++)
		n += *c == ':';
	size_t cap = n * (strlen(o->home) + 80);
	char *s = o->host->alloc(call, cap);
	while (s && *lower) {
		size_t len = strcspn(lower, ":");
		(void)snprintf(path, sizeof(path), "%.*s", (int)(len < 60 ? len : 60), lower);
		ssize_t r = readlinkat(o->fd, path, to, sizeof(to) - 1);
		to[r > 0 ? r : 0] = '\0';
		if (r > 3 && !strncmp(to, "../", 3) && strlen(to) < 80)
			at += (size_t)snprintf(s + at, cap - at, "%s%s/%s", at ? ":" : "", o->home, to + 3);
		lower += len + (lower[len] == ':');
	}
	return s;
}

static int ov_info(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_map_out *out,
		   crio_err *err)
{
	struct ov *o = p;
	char lower[DEPTH_MAX * (OV_LINK_LEN + 3)] = "";
	size_t n = 0;

	int r = check_id(o, a->id, err);
	if (r < 0)
		return r;
	if (!exists(o, a->id))
		return o->host->fail(err, CRIO_E_NOT_FOUND, "layer %s in %s", a->id, o->home);
	struct crio_kv *v = o->host->alloc(call, 4 * sizeof(*v));
	char *base = text(o, call, o->home, "/", a->id, "");
	if (!v || !base)
		return o->host->fail(err, CRIO_E_NOMEM, "out of memory");
	if (read_text(o, a->id, "lower", lower, sizeof(lower)) > 0)
		v[n++] = (struct crio_kv){"LowerDir", lower_dirs(o, call, lower)};
	v[n++] = (struct crio_kv){"MergedDir", text(o, call, base, "/merged", "", "")};
	v[n++] = (struct crio_kv){"UpperDir", text(o, call, base, "/diff", "", "")};
	v[n++] = (struct crio_kv){"WorkDir", text(o, call, base, "/work", "", "")};
	for (size_t i = 0; i < n; i++)
		if (!v[i].value)
			return o->host->fail(err, CRIO_E_NOMEM, "out of memory");
	out->v = (struct crio_map){v, n};
	return 0;
}

static const struct crio_option options[] = {
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STRS,
     .name = "mountopt",
     .flags = CRIO_OPT_RELOADABLE,
     .help = "mount options of every layer, such as nodev,metacopy=on"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_BOOL,
     .name = "volatile",
     .dflt = "true",
     .flags = CRIO_OPT_RELOADABLE,
     .help = "containers' layers are not synced to disk when they are unmounted"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_BOOL,
     .name = "skip_mount_home",
     .dflt = "true",
     .help = "accepted for storage.conf: the driver's directory is never made a mount of its own"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_BOOL,
     .name = "ignore_chown_errors",
     .dflt = "false",
     .help = "accepted for storage.conf: without effect for root"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_BOOL,
     .name = "override_kernel_check",
     .dflt = "false",
     .help = "accepted for storage.conf: without effect"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "size",
     .dflt = "",
     .help = "accepted for storage.conf: quotas are not supported"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "inodes",
     .dflt = "",
     .help = "accepted for storage.conf: quotas are not supported"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "mount_program",
     .dflt = "",
     .help = "must be empty: only the kernel's overlay is used"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "force_mask",
     .dflt = "",
     .help = "must be empty"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "use_composefs",
     .dflt = "",
     .help = "must not be true"},
};

static int ov_reload(void *p, crio_call *call, crio_err *err)
{
	(void)p;
	(void)call;
	(void)err;
	return 0; /* options are read where they are used */
}

static const struct crio_storage_ops ops = {
    .store_open = ov_store_open,
    .apply_begin = ov_apply_begin,
    .apply_end = ov_apply_end,
    .layer_create = ov_layer_create,
    .mounts = ov_mounts,
    .release = ov_release,
    .tree_open = ov_tree_open,
    .remove = ov_remove,
    .list = ov_list,
    .usage = ov_usage,
    .status = ov_status,
    .info = ov_info,
    .recover = ov_recover,
};

static const struct crio_plugin desc = {
    CRIO_PLUGIN_HEAD(CRIO_KIND_STORAGE, CRIO_THREADS_PER_OBJECT, ops),
    .name = "overlay",
    .version = PACKAGE_VERSION,
    .summary = "layers stacked by the kernel's overlay file system",
    .options = options,
    .options_n = sizeof(options) / sizeof(options[0]),
    .open = ov_open,
    .close = ov_close,
    .reload = ov_reload,
    .check = ov_check,
};

CRIO_PLUGIN_REGISTER(overlay, desc)
