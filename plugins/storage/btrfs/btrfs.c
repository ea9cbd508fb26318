/*
 * btrfs.c: layers as subvolumes, children as snapshots of their parents, laid out as containers/storage's driver
 *"btrfs":
 *
 *	<root>/btrfs/subvolumes/<id>
 *
 * A layer is made in <root>/btrfs/.crio/ and renamed when it is whole; one that is removed is renamed to there first.
 *What is there after a crash is garbage.
 */
#include <crio/storage.h>

#include <btrfsutil.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define RENAME_NOREPLACE_FLAG 1u
#define SEARCH_BUF 65536

struct bt {
	const struct crio_host *host;
	crio_instance *in;
	char *home;	    /* <root>/btrfs. Set once by store_open, as the descriptors */
	int sub_fd, tmp_fd; /* of subvolumes/ and .crio/; -1 before */
	atomic_uint serial; /* of names in .crio */
};

static int code_of_errno(int e)
{
	switch (e) {
	case ENOENT:
		return CRIO_E_NOT_FOUND;
	case EEXIST:
		return CRIO_E_EXISTS;
	case ENOSPC:
	case EDQUOT:
		return CRIO_E_NOSPACE;
	case EACCES:
	case EPERM:
	case EROFS:
		return CRIO_E_DENIED;
	default:
		return CRIO_E_IO;
	}
}

static int fail_errno(struct bt *b, crio_err *err, const char *what, const char *name)
{
	int e = errno;
	return b->host->fail(err, code_of_errno(e), "%s %s/%s: %s", what, b->home ? b->home : "", name, strerror(e));
}

static int fail_util(struct bt *b, crio_err *err, enum btrfs_util_error u, const char *what, const char *name)
{
	int e = errno;
	return b->host->fail(err, code_of_errno(e), "%s %s/%s: %s: %s", what, b->home, name, btrfs_util_strerror(u),
			     strerror(e));
}

static int is_id(const char *s)
{
	size_t n = strspn(s, "0123456789abcdef");
	return n == 64 && !s[n];
}

static int check_id(struct bt *b, const char *id, crio_err *err)
{
	if (b->sub_fd < 0)
		return b->host->fail(err, CRIO_E_PRECONDITION, "store_open comes first");
	return is_id(id) ? 0 : b->host->fail(err, CRIO_E_INVALID, "layer id '%.80s'", id);
}

/* ---- open and close ---- */

static int bt_open(const struct crio_host *host, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	(void)call;
	struct bt *b = calloc(1, sizeof(*b));
	if (!b)
		return host->fail(err, CRIO_E_NOMEM, "out of memory");
	b->host = host;
	b->in = in;
	b->sub_fd = b->tmp_fd = -1;
	*self = b;
	return 0;
}

static void bt_close(void *p)
{
	struct bt *b = p;
	if (b->sub_fd >= 0)
		(void)close(b->sub_fd);
	if (b->tmp_fd >= 0)
		(void)close(b->tmp_fd);
	free(b->home);
	free(b);
}

static int bt_check(void *p, crio_call *call, crio_err *err)
{
	struct bt *b = p;
	char line[128];
	int found = 0;
	(void)call;
	int fd = (int)syscall(SYS_fsopen, "btrfs", 1u /* FSOPEN_CLOEXEC */); /* loads the module, makes nothing */
	if (fd >= 0) {
		(void)close(fd);
		return 0;
	}
	FILE *f = fopen("/proc/filesystems", "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, "\tbtrfs") != NULL;
	if (f)
		(void)fclose(f);
	return found ? 0 : b->host->fail(err, CRIO_E_UNSUPPORTED, "this kernel has no btrfs (modprobe btrfs)");
}

static int make_dir(struct bt *b, const char *sub, int read_only, int *ret_fd, crio_err *err)
{
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s%s%s", b->home, *sub ? "/" : "", sub);
	if (n < 0 || (size_t)n >= sizeof(path))
		return b->host->fail(err, CRIO_E_INVALID, "root '%.200s...' is too long", b->home);
	if (!read_only && mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail_errno(b, err, "create", sub);
	if (!ret_fd)
		return 0;
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret_fd < 0 ? fail_errno(b, err, "open", sub) : 0;
}

static int bt_store_open(void *p, crio_call *call, const struct crio_storage_open_args *a,
			 struct crio_storage_open_out *out, crio_err *err)
{
	struct bt *b = p;
	struct statfs f;
	(void)call;
	if (b->sub_fd >= 0)
		return b->host->fail(err, CRIO_E_PRECONDITION, "the instance serves %s already", b->home);
	if (statfs(a->root, &f) < 0)
		return b->host->fail(err, CRIO_E_IO, "look at %s: %s", a->root, strerror(errno));
	if ((unsigned long)f.f_type != BTRFS_SUPER_MAGIC)
		return b->host->fail(err, CRIO_E_UNSUPPORTED,
				     "%s is not on btrfs: choose another root or another driver", a->root);
	free(b->home);
	if (asprintf(&b->home, "%s/btrfs", a->root) < 0) {
		b->home = NULL;
		return b->host->fail(err, CRIO_E_NOMEM, "out of memory");
	}
	int r = make_dir(b, "", a->read_only, NULL, err);
	if (!r && !a->read_only)
		r = make_dir(b, ".crio", 0, &b->tmp_fd, err);
	if (!r)
		r = make_dir(b, "subvolumes", a->read_only, &b->sub_fd, err);
	if (r < 0)
		return r;
	out->whiteout = CRIO_WHITEOUT_REMOVE;
	out->driver = "btrfs";
	out->backing = "btrfs";
	return 0;
}

/* ---- making and removing ---- */

static int exists(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void new_name(const char *id, char ret[96])
{
	(void)snprintf(ret, 96, "new-%.64s", id);
}

/* Deletes a subvolume in .crio with the subvolumes that a container made in it. */
static int discard(struct bt *b, const char *name, crio_err *err)
{
	enum btrfs_util_error u =
	    btrfs_util_delete_subvolume_fd(b->tmp_fd, name, BTRFS_UTIL_DELETE_SUBVOLUME_RECURSIVE);
	if (!u || errno == ENOENT)
		return 0;
	return fail_util(b, err, u, "delete", name);
}

static int build(struct bt *b, const char *id, const char *parent, crio_err *err)
{
	char name[96];
	enum btrfs_util_error u;

	if (b->tmp_fd < 0)
		return b->host->fail(err, CRIO_E_DENIED, "%s is read-only", b->home);
	if (exists(b->sub_fd, id))
		return b->host->fail(err, CRIO_E_EXISTS, "layer %s", id);
	new_name(id, name);
	int r = exists(b->tmp_fd, name) ? discard(b, name, err) : 0;
	if (r < 0)
		return r;
	if (*parent) {
		int fd = openat(b->sub_fd, parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return fail_errno(b, err, "open the parent layer subvolumes", parent);
		u = btrfs_util_create_snapshot_fd2(fd, b->tmp_fd, name, 0, NULL, NULL);
		int e = errno;
		(void)close(fd);
		errno = e;
	} else {
		u = btrfs_util_create_subvolume_fd(b->tmp_fd, name, 0, NULL, NULL);
	}
	if (u)
		return fail_util(b, err, u, "create", name);
	if (!*parent && fchmodat(b->tmp_fd, name, 0555, 0) < 0) {
		r = fail_errno(b, err, "set the mode of", name);
		(void)discard(b, name, NULL);
	}
	return r;
}

static int place(struct bt *b, const char *id, crio_err *err)
{
	char name[96];
	new_name(id, name);
	if (renameat2(b->tmp_fd, name, b->sub_fd, id, RENAME_NOREPLACE_FLAG) < 0)
		return fail_errno(b, err, "rename a new layer to", id);
	return 0;
}

static int check_ids(struct bt *b, const char *id, const char *parent, crio_err *err)
{
	int r = check_id(b, id, err);
	return !r && *parent ? check_id(b, parent, err) : r;
}

static int bt_apply_begin(void *p, crio_call *call, const struct crio_storage_apply_args *a,
			  struct crio_storage_apply_out *out, crio_err *err)
{
	struct bt *b = p;
	char name[96];
	(void)call;
	int r = check_ids(b, a->id, a->parent, err);
	if (!r)
		r = build(b, a->id, a->parent, err);
	if (r < 0)
		return r;
	new_name(a->id, name);
	int fd = openat(b->tmp_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		r = fail_errno(b, err, "open", name);
		(void)discard(b, name, NULL);
		return r;
	}
	out->dirfd = fd;
	return 0;
}

static int bt_apply_end(void *p, crio_call *call, const struct crio_storage_apply_args *a,
			struct crio_storage_usage_out *out, crio_err *err)
{
	struct bt *b = p;
	char name[96];
	(void)call;
	(void)out; /* 0: not counted here */
	int r = check_ids(b, a->id, a->parent, err);
	if (r < 0)
		return r;
	new_name(a->id, name);
	if (b->tmp_fd < 0)
		return b->host->fail(err, CRIO_E_DENIED, "%s is read-only", b->home);
	if (!a->commit)
		return exists(b->tmp_fd, name) ? discard(b, name, err) : 0;
	r = place(b, a->id, err);
	if (!r && syncfs(b->sub_fd) < 0)
		r = fail_errno(b, err, "sync", a->id);
	return r;
}

static int bt_layer_create(void *p, crio_call *call, const struct crio_storage_create_args *a,
			   struct crio_storage_no_out *out, crio_err *err)
{
	struct bt *b = p;
	char name[96];
	(void)call;
	(void)out;
	int r = check_ids(b, a->id, a->parent, err);
	if (!r && (a->quota || a->inode_quota))
		r = b->host->fail(err, CRIO_E_UNSUPPORTED, "the btrfs plugin has no quotas");
	if (!r)
		r = build(b, a->id, a->parent, err);
	if (r < 0)
		return r;
	r = place(b, a->id, err);
	if (r < 0) {
		new_name(a->id, name);
		(void)discard(b, name, NULL);
	}
	return r;
}

static int bt_remove(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_no_out *out,
		     crio_err *err)
{
	struct bt *b = p;
	char name[128];
	(void)call;
	(void)out;
	int r = check_id(b, a->id, err);
	if (r < 0)
		return r;
	if (b->tmp_fd < 0)
		return b->host->fail(err, CRIO_E_DENIED, "%s is read-only", b->home);
	do {
		(void)snprintf(name, sizeof(name), "del-%.64s.%ld-%u", a->id, (long)getpid(),
			       atomic_fetch_add(&b->serial, 1));
		if (renameat2(b->sub_fd, a->id, b->tmp_fd, name, RENAME_NOREPLACE_FLAG) == 0)
			return discard(b, name, err); /* the kernel frees the space in the background */
	} while (errno == EEXIST);
	return errno == ENOENT ? 0 : fail_errno(b, err, "remove subvolumes", a->id);
}

/* ---- showing ---- */

static int found(struct bt *b, const char *id, crio_err *err)
{
	int r = check_id(b, id, err);
	if (!r && !exists(b->sub_fd, id))
		r = b->host->fail(err, CRIO_E_NOT_FOUND, "layer %s in %s", id, b->home);
	return r;
}

static int bt_mounts(void *p, crio_call *call, const struct crio_storage_id_args *a,
		     struct crio_storage_mounts_out *out, crio_err *err)
{
	struct bt *b = p;
	int r = found(b, a->id, err);
	if (r < 0)
		return r;
	size_t n = strlen(b->home) + 80;
	struct crio_mount_row *row = b->host->alloc(call, sizeof(*row));
	char *source = b->host->alloc(call, n);
	const char **opts = b->host->alloc(call, (a->options.n + 1) * sizeof(*opts));
	if (!row || !source || !opts)
		return b->host->fail(err, CRIO_E_NOMEM, "out of memory");
	(void)snprintf(source, n, "%s/subvolumes/%s", b->home, a->id);
	opts[0] = a->read_only ? "ro" : "rw";
	for (size_t i = 0; i < a->options.n; i++) {
		opts[i + 1] = b->host->strdup(call, a->options.v[i]);
		if (!opts[i + 1])
			return b->host->fail(err, CRIO_E_NOMEM, "out of memory");
	}
	*row = (struct crio_mount_row){
	    .size = sizeof(*row), .type = "bind", .source = source, .target = "", .options = {opts, a->options.n + 1}};
	out->rows = (struct crio_mount_rows){.v = row, .n = 1, .stride = sizeof(*row)};
	return 0;
}

static int bt_release(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_no_out *out,
		      crio_err *err)
{
	(void)call;
	(void)out;
	return check_id(p, a->id, err);
}

static int bt_tree_open(void *p, crio_call *call, const struct crio_storage_id_args *a,
			struct crio_storage_tree_out *out, crio_err *err)
{
	struct bt *b = p;
	(void)call;
	int r = check_id(b, a->id, err);
	if (r < 0)
		return r;
	int fd = openat(b->sub_fd, a->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(b, err, "open subvolumes", a->id);
	out->dirfd = fd;
	return 0;
}

static DIR *read_dir(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d && fd >= 0)
		(void)close(fd);
	return d;
}

static int bt_list(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_strs_out *out,
		   crio_err *err)
{
	struct bt *b = p;
	size_t n = 0, cap = 0;
	const char **v = NULL;
	(void)a;
	if (b->sub_fd < 0)
		return b->host->fail(err, CRIO_E_PRECONDITION, "store_open comes first");
	for (int pass = 0; pass < 2; pass++) {
		DIR *d = read_dir(b->sub_fd);
		if (!d)
			return fail_errno(b, err, "read", "subvolumes");
		for (struct dirent *e; (e = readdir(d));) {
			if (!is_id(e->d_name))
				continue;
			if (!pass)
				cap++;
			else if (n < cap && (v[n] = b->host->strdup(call, e->d_name)))
				n++;
		}
		(void)closedir(d);
		if (!pass && !(v = b->host->alloc(call, (cap + 1) * sizeof(*v))))
			return b->host->fail(err, CRIO_E_NOMEM, "out of memory");
	}
	out->v = (struct crio_strs){v, n};
	return 0;
}

/* ---- usage ---- */

/* Adds one item of the subvolume's tree: extents and inodes that are younger than the subvolume are its own. */
static void count_item(const struct btrfs_ioctl_search_header *h, const void *data, uint64_t born,
		       struct crio_storage_usage_out *out)
{
	if (h->type == BTRFS_INODE_ITEM_KEY && h->len >= sizeof(struct btrfs_inode_item)) {
		struct btrfs_inode_item i;
		memcpy(&i, data, sizeof(i));
		out->inodes += le64toh(i.generation) > born;
	}
	size_t head = offsetof(struct btrfs_file_extent_item, disk_bytenr);
	if (h->type != BTRFS_EXTENT_DATA_KEY || h->len < head)
		return;
	struct btrfs_file_extent_item x = {0};
	memcpy(&x, data, h->len < sizeof(x) ? h->len : sizeof(x));
	if (le64toh(x.generation) <= born)
		return;
	if (x.type == BTRFS_FILE_EXTENT_INLINE)
		out->bytes += h->len - head;
	else if (h->len >= sizeof(x) && x.disk_bytenr)
		out->bytes += le64toh(x.num_bytes);
}

static int count_tree(struct bt *b, crio_call *call, int fd, uint64_t born, struct crio_storage_usage_out *out,
		      crio_err *err)
{
	struct btrfs_ioctl_search_args_v2 *s = malloc(sizeof(*s) + SEARCH_BUF);
	int r = s ? 0 : b->host->fail(err, CRIO_E_NOMEM, "out of memory");
	struct btrfs_ioctl_search_key key = {.max_objectid = UINT64_MAX,
					     .max_offset = UINT64_MAX,
					     .min_transid = born + 1,
					     .max_transid = UINT64_MAX,
					     .max_type = UINT32_MAX};

	while (!r) {
		memset(s, 0, sizeof(*s));
		s->key = key;
		s->key.nr_items = 4096;
		s->buf_size = SEARCH_BUF;
		if (b->host->cancelled(call)) {
			r = b->host->fail(err, CRIO_E_CANCELLED, "disk usage");
			break;
		}
		if (ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2, s) < 0) {
			r = fail_errno(b, err, "read the tree of", "subvolumes");
			break;
		}
		if (!s->key.nr_items)
			break;
		const char *at = (const char *)s->buf;
		struct btrfs_ioctl_search_header h = {0};
		for (uint32_t i = 0; i < s->key.nr_items; i++) {
			memcpy(&h, at, sizeof(h));
			count_item(&h, at + sizeof(h), born, out);
			at += sizeof(h) + h.len;
		}
		/* On behind the last key. */
		key.min_objectid = h.objectid;
		key.min_type = h.type;
		key.min_offset = h.offset + 1;
		if (!key.min_offset && !++key.min_type && !++key.min_objectid)
			break;
	}
	free(s);
	return r;
}

static int usage_of(struct bt *b, crio_call *call, const char *id, struct crio_storage_usage_out *out, crio_err *err)
{
	struct btrfs_util_subvolume_info info;
	int fd = openat(b->sub_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(b, err, "open subvolumes", id);
	if (syncfs(fd) < 0) { /* what is not written yet is in no tree */
		int r = fail_errno(b, err, "sync subvolumes", id);
		(void)close(fd);
		return r;
	}
	enum btrfs_util_error u = btrfs_util_subvolume_info_fd(fd, 0, &info);
	int r = u ? fail_util(b, err, u, "look at subvolumes", id) : count_tree(b, call, fd, info.otransid, out, err);
	(void)close(fd);
	return r;
}

static int bt_usage(void *p, crio_call *call, const struct crio_storage_usage_args *a,
		    struct crio_storage_usage_out *out, crio_err *err)
{
	struct bt *b = p;
	struct crio_storage_usage_out sum = {.size = sizeof(sum)};
	int r = 0;
	if (*a->id) {
		r = check_id(b, a->id, err);
		if (!r)
			r = usage_of(b, call, a->id, &sum, err);
	} else {
		struct crio_storage_id_args all = {.size = sizeof(all), .id = ""};
		struct crio_storage_strs_out ids = {.size = sizeof(ids)};
		r = bt_list(b, call, &all, &ids, err);
		for (size_t i = 0; !r && i < ids.v.n; i++)
			r = usage_of(b, call, ids.v.v[i], &sum, err);
	}
	if (r < 0)
		return r;
	out->bytes = sum.bytes;
	out->inodes = sum.inodes;
	return 0;
}

static int bt_status(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_map_out *out,
		     crio_err *err)
{
	struct bt *b = p;
	(void)a;
	struct crio_kv *v = b->host->alloc(call, 2 * sizeof(*v));
	char *version = b->host->alloc(call, 32);
	if (!v || !version)
		return b->host->fail(err, CRIO_E_NOMEM, "out of memory");
	(void)snprintf(version, 32, "%d.%d.%d", BTRFS_UTIL_VERSION_MAJOR, BTRFS_UTIL_VERSION_MINOR,
		       BTRFS_UTIL_VERSION_PATCH);
	v[0] = (struct crio_kv){"Backing Filesystem", "btrfs"};
	v[1] = (struct crio_kv){"Library Version", version};
	out->v = (struct crio_map){v, 2};
	return 0;
}

static int bt_info(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_map_out *out,
		   crio_err *err)
{
	(void)call;
	out->v = (struct crio_map){NULL, 0}; /* as the driver in containers/storage */
	return found(p, a->id, err);
}

static int bt_recover(void *p, crio_call *call, const struct crio_storage_recover_args *a,
		      struct crio_storage_no_out *out, crio_err *err)
{
	struct bt *b = p;
	(void)call;
	(void)a; /* whole layers without a record are left alone: only the records' owner knows what that means */
	(void)out;
	if (b->tmp_fd < 0)
		return b->host->fail(err, CRIO_E_PRECONDITION, "store_open comes first");
	DIR *d = read_dir(b->tmp_fd);
	if (!d)
		return fail_errno(b, err, "read", ".crio");
	for (struct dirent *e; (e = readdir(d));) {
		if (strncmp(e->d_name, "new-", 4) != 0 && strncmp(e->d_name, "del-", 4) != 0)
			continue;
		crio_err *why = b->host->err_new();
		if (discard(b, e->d_name, why) < 0)
			b->host->log(b->in, CRIO_LOG_WARN, "%s; tried again at the next start",
				     why ? b->host->err_text(why) : "");
		if (why)
			b->host->err_free(why);
	}
	(void)closedir(d);
	return 0;
}

static const struct crio_option options[] = {
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "min_space",
     .dflt = "",
     .help = "accepted for storage.conf: quotas are not supported"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "size",
     .dflt = "",
     .help = "accepted for storage.conf: quotas are not supported"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_BOOL,
     .name = "override_kernel_check",
     .dflt = "false",
     .help = "accepted for storage.conf: without effect"},
};

static const struct crio_storage_ops ops = {
    .store_open = bt_store_open,
    .apply_begin = bt_apply_begin,
    .apply_end = bt_apply_end,
    .layer_create = bt_layer_create,
    .mounts = bt_mounts,
    .release = bt_release,
    .tree_open = bt_tree_open,
    .remove = bt_remove,
    .list = bt_list,
    .usage = bt_usage,
    .status = bt_status,
    .info = bt_info,
    .recover = bt_recover,
};

static const struct crio_plugin desc = {
    CRIO_PLUGIN_HEAD(CRIO_KIND_STORAGE, CRIO_THREADS_PER_OBJECT, ops),
    .name = "btrfs",
    .version = PACKAGE_VERSION,
    .summary = "layers as btrfs subvolumes and snapshots",
    .options = options,
    .options_n = sizeof(options) / sizeof(options[0]),
    .open = bt_open,
    .close = bt_close,
    .check = bt_check,
};

CRIO_PLUGIN_REGISTER(btrfs, desc)
