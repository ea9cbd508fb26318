/* layer.c: making and removing layers. */
#include "plugins/storage/overlay/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* An unpacker's root entry sets the mode of diff. Where there was none the mode stays this, and the parent's is taken
 * at the end, when the parent is there. */
#define MODE_INHERIT 01555

static void new_name(const char *id, char ret[96])
{
	(void)snprintf(ret, 96, OV_NEW "%.64s", id);
}

/* Mode and owner of the parent's root directory. */
static int parent_stat(struct ov *o, const char *parent, struct stat *st)
{
	char path[80];
	(void)snprintf(path, sizeof(path), "%.64s/diff", parent);
	return fstatat(o->l.fd, path, st, AT_SYMLINK_NOFOLLOW);
}

/* Makes .crio-new-<id> with its directories. Returns an fd of it. */
static int build(struct ov *o, const char *id, const char *parent, crio_err *err)
{
	char name[96];
	struct stat st = {.st_mode = 0555};

	if (layers_exists(o->l.fd, id))
		return o->l.host->fail(err, CRIO_E_EXISTS, "layer %s", id);
	if (*parent && parent_stat(o, parent, &st) < 0) {
		if (errno != ENOENT)
			return layers_fail_errno(&o->l, err, "look at", parent);
		st = (struct stat){.st_mode = MODE_INHERIT};
	}
	new_name(id, name);
	if (layers_exists(o->l.fd, name) && ov_trash(o, name) < 0)
		return layers_fail_errno(&o->l, err, "remove", name);
	if (mkdirat(o->l.fd, name, 0700) < 0)
		return layers_fail_errno(&o->l, err, "create", name);
	int fd = openat(o->l.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || mkdirat(fd, "diff", 0700) < 0 || fchownat(fd, "diff", st.st_uid, st.st_gid, 0) < 0 ||
	    fchmodat(fd, "diff", st.st_mode & 07777, 0) < 0 || mkdirat(fd, "work", 0700) < 0 ||
	    mkdirat(fd, "merged", 0700) < 0 || (!*parent && mkdirat(fd, "empty", 0700) < 0)) {
		int r = layers_fail_errno(&o->l, err, "create directories of", name);
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
		return layers_fail_errno(&o->l, err, "take the root directory's mode from", parent);
	return 0;
}

/* Links and renames what was built. A tree of that id: EXISTS, and what was built stays. */
static int place(struct ov *o, int dir, const char *id, const char *parent, crio_err *err)
{
	char link[OV_LINK_LEN + 1], name[96];

	new_name(id, name);
	int r = *parent ? ov_write_lower(o, dir, parent, err) : 0;
	if (!r)
		r = inherit(o, dir, parent, err);
	if (!r)
		r = ov_write_link(o, dir, id, link, err);
	if (r < 0)
		return r;
	if (renameat2(o->l.fd, name, o->l.fd, id, 1u /* RENAME_NOREPLACE */) < 0) {
		r = layers_fail_errno(&o->l, err, "rename a new layer to", id);
		ov_drop_link(o, link);
	}
	return r;
}

int ov_apply_begin(void *p, crio_call *call, const struct crio_storage_apply_args *a,
		   struct crio_storage_apply_out *out, crio_err *err)
{
	struct ov *o = p;
	(void)call;
	int r = layers_check_ids(&o->l, a->id, a->parent, err);
	if (r < 0)
		return r;
	int dir = build(o, a->id, a->parent, err);
	if (dir < 0)
		return dir;
	int fd = openat(dir, "diff", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		r = layers_fail_errno(&o->l, err, "open a new layer of", a->id);
	(void)close(dir);
	out->dirfd = fd;
	return r;
}

int ov_apply_end(void *p, crio_call *call, const struct crio_storage_apply_args *a, struct crio_storage_usage_out *out,
		 crio_err *err)
{
	struct ov *o = p;
	char name[96];
	(void)call;
	(void)out; /* 0: not counted here */
	int r = layers_check_ids(&o->l, a->id, a->parent, err);
	if (r < 0)
		return r;
	new_name(a->id, name);
	if (!a->commit) {
		if (layers_exists(o->l.fd, name) && ov_trash(o, name) < 0)
			return layers_fail_errno(&o->l, err, "remove", name);
		return 0;
	}
	int dir = openat(o->l.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return layers_fail_errno(&o->l, err, "open", name);
	r = place(o, dir, a->id, a->parent, err);
	if (!r && syncfs(dir) < 0)
		r = layers_fail_errno(&o->l, err, "sync", a->id);
	(void)close(dir);
	return r;
}

int ov_layer_create(void *p, crio_call *call, const struct crio_storage_create_args *a, struct crio_storage_no_out *out,
		    crio_err *err)
{
	struct ov *o = p;
	char name[96];
	(void)call;
	(void)out;
	int r = layers_check_ids(&o->l, a->id, a->parent, err);
	if (!r && (a->quota || a->inode_quota))
		r = o->l.host->fail(err, CRIO_E_UNSUPPORTED, "the overlay plugin has no quotas");
	if (!r && *a->parent && !layers_exists(o->l.fd, a->parent))
		r = o->l.host->fail(err, CRIO_E_NOT_FOUND, "parent layer %s", a->parent);
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

int ov_remove(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_no_out *out,
	      crio_err *err)
{
	struct ov *o = p;
	char link[OV_LINK_LEN + 1];
	(void)call;
	(void)out;
	int r = layers_check_id(&o->l, a->id, err);
	if (r < 0)
		return r;
	if (!layers_exists(o->l.fd, a->id))
		return 0;
	int has_link = ov_read_link(o, a->id, link) == 0;
	if (ov_trash(o, a->id) < 0)
		return layers_fail_errno(&o->l, err, "remove", a->id);
	if (has_link)
		ov_drop_link(o, link);
	return 0;
}
