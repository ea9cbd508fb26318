/*
 * btrfs.c: layers as subvolumes, children as snapshots of their parents, laid out as containers/storage's driver
 * "btrfs":
 *
 *	<root>/btrfs/subvolumes/<id>
 *
 * A layer is made in <root>/btrfs/.crio/ and renamed when it is whole; one that is removed is renamed to there first.
 * What is there after a crash is garbage.
 */
#include "plugins/storage/common/layers.h"

#include <btrfsutil.h>
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
#include <sys/vfs.h>
#include <unistd.h>

#define RENAME_NOREPLACE_FLAG 1u
#define SEARCH_BUF 65536

struct bt {
	struct layers l; /* home: <root>/btrfs; fd: of its subvolumes/ */
	crio_instance *in;
	int tmp_fd;	    /* of .crio/; set once by store_open, -1 before and when read-only */
	atomic_uint serial; /* of names in .crio */
};

static int fail_util(struct bt *b, crio_err *err, enum btrfs_util_error u, const char *what, const char *name)
{
	int e = errno;
	return b->l.host->fail(err, layers_code(e), "%s %s/%s: %s: %s", what, b->l.home, name, btrfs_util_strerror(u),
			       strerror(e));
}

/* ---- open and close ---- */

static int bt_open(const struct crio_host *host, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	(void)call;
	struct bt *b = calloc(1, sizeof(*b));
	if (!b)
		return host->fail(err, CRIO_E_NOMEM, "out of memory");
	b->l.host = host;
	b->in = in;
	b->l.fd = b->tmp_fd = -1;
	*self = b;
	return 0;
}

static void bt_close(void *p)
{
	struct bt *b = p;
	if (b->l.fd >= 0)
		(void)close(b->l.fd);
	if (b->tmp_fd >= 0)
		(void)close(b->tmp_fd);
	free(b->l.home);
	free(b);
}

static int bt_check(void *p, crio_call *call, crio_err *err)
{
	const struct bt *b = p;
	(void)call;
	return layers_check_kernel(&b->l, "btrfs", err);
}

static int make_dir(struct bt *b, const char *sub, int read_only, int *ret_fd, crio_err *err)
{
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s%s%s", b->l.home, *sub ? "/" : "", sub);
	if (n < 0 || (size_t)n >= sizeof(path))
		return b->l.host->fail(err, CRIO_E_INVALID, "root '%.200s...' is too long", b->l.home);
	if (!read_only && mkdir(path, 0700) < 0 && errno != EEXIST)
		return layers_fail_errno(&b->l, err, "create", sub);
	if (!ret_fd)
		return 0;
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret_fd < 0 ? layers_fail_errno(&b->l, err, "open", sub) : 0;
}

static int bt_store_open(void *p, crio_call *call, const struct crio_storage_open_args *a,
			 struct crio_storage_open_out *out, crio_err *err)
{
	struct bt *b = p;
	struct statfs f;
	(void)call;
	if (b->l.fd >= 0)
		return b->l.host->fail(err, CRIO_E_PRECONDITION, "the instance serves %s already", b->l.home);
	if (statfs(a->root, &f) < 0)
		return b->l.host->fail(err, CRIO_E_IO, "look at %s: %s", a->root, strerror(errno));
	if ((unsigned long)f.f_type != BTRFS_SUPER_MAGIC)
		return b->l.host->fail(err, CRIO_E_UNSUPPORTED,
				       "%s is not on btrfs: choose another root or another driver", a->root);
	free(b->l.home);
	if (asprintf(&b->l.home, "%s/btrfs", a->root) < 0) {
		b->l.home = NULL;
		return b->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
	}
	int r = make_dir(b, "", a->read_only, NULL, err);
	if (!r && !a->read_only)
		r = make_dir(b, ".crio", 0, &b->tmp_fd, err);
	if (!r)
		r = make_dir(b, "subvolumes", a->read_only, &b->l.fd, err);
	if (r < 0)
		return r;
	out->whiteout = CRIO_WHITEOUT_REMOVE;
	out->driver = "btrfs";
	out->backing = "btrfs";
	return 0;
}

/* ---- making and removing ---- */

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
		return b->l.host->fail(err, CRIO_E_DENIED, "%s is read-only", b->l.home);
	if (layers_exists(b->l.fd, id))
		return b->l.host->fail(err, CRIO_E_EXISTS, "layer %s", id);
	new_name(id, name);
	int r = layers_exists(b->tmp_fd, name) ? discard(b, name, err) : 0;
	if (r < 0)
		return r;
	if (*parent) {
		int fd = openat(b->l.fd, parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return layers_fail_errno(&b->l, err, "open the parent layer subvolumes", parent);
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
		r = layers_fail_errno(&b->l, err, "set the mode of", name);
		(void)discard(b, name, NULL);
	}
	return r;
}

static int place(struct bt *b, const char *id, crio_err *err)
{
	char name[96];
	new_name(id, name);
	if (renameat2(b->tmp_fd, name, b->l.fd, id, RENAME_NOREPLACE_FLAG) < 0)
		return layers_fail_errno(&b->l, err, "rename a new layer to", id);
	return 0;
}

static int bt_apply_begin(void *p, crio_call *call, const struct crio_storage_apply_args *a,
			  struct crio_storage_apply_out *out, crio_err *err)
{
	struct bt *b = p;
	char name[96];
	(void)call;
	int r = layers_check_ids(&b->l, a->id, a->parent, err);
	if (!r)
		r = build(b, a->id, a->parent, err);
	if (r < 0)
		return r;
	new_name(a->id, name);
	int fd = openat(b->tmp_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		r = layers_fail_errno(&b->l, err, "open", name);
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
	int r = layers_check_ids(&b->l, a->id, a->parent, err);
	if (r < 0)
		return r;
	new_name(a->id, name);
	if (b->tmp_fd < 0)
		return b->l.host->fail(err, CRIO_E_DENIED, "%s is read-only", b->l.home);
	if (!a->commit)
		return layers_exists(b->tmp_fd, name) ? discard(b, name, err) : 0;
	r = place(b, a->id, err);
	if (!r && syncfs(b->l.fd) < 0)
		r = layers_fail_errno(&b->l, err, "sync", a->id);
	return r;
}

static int bt_layer_create(void *p, crio_call *call, const struct crio_storage_create_args *a,
			   struct crio_storage_no_out *out, crio_err *err)
{
	struct bt *b = p;
	char name[96];
	(void)call;
	(void)out;
	int r = layers_check_ids(&b->l, a->id, a->parent, err);
	if (!r && (a->quota || a->inode_quota))
		r = b->l.host->fail(err, CRIO_E_UNSUPPORTED, "the btrfs plugin has no quotas");
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
	int r = layers_check_id(&b->l, a->id, err);
	if (r < 0)
		return r;
	if (b->tmp_fd < 0)
		return b->l.host->fail(err, CRIO_E_DENIED, "%s is read-only", b->l.home);
	do {
		(void)snprintf(name, sizeof(name), "del-%.64s.%ld-%u", a->id, (long)getpid(),
			       atomic_fetch_add(&b->serial, 1));
		if (renameat2(b->l.fd, a->id, b->tmp_fd, name, RENAME_NOREPLACE_FLAG) == 0)
			return discard(b, name, err); /* the kernel frees the space in the background */
	} while (errno == EEXIST);
	return errno == ENOENT ? 0 : layers_fail_errno(&b->l, err, "remove subvolumes", a->id);
}

/* ---- showing ---- */

static int bt_mounts(void *p, crio_call *call, const struct crio_storage_id_args *a,
		     struct crio_storage_mounts_out *out, crio_err *err)
{
	struct bt *b = p;
	int r = layers_check_there(&b->l, a->id, err);
	if (r < 0)
		return r;
	size_t n = strlen(b->l.home) + 80;
	char *source = b->l.host->alloc(call, n);
	const char **opts = b->l.host->alloc(call, (a->options.n + 1) * sizeof(*opts));
	if (!source || !opts)
		return b->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
	(void)snprintf(source, n, "%s/subvolumes/%s", b->l.home, a->id);
	opts[0] = a->read_only ? "ro" : "rw";
	for (size_t i = 0; i < a->options.n; i++) {
		opts[i + 1] = b->l.host->strdup(call, a->options.v[i]);
		if (!opts[i + 1])
			return b->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
	}
	return layers_row(&b->l, call, "bind", source, (struct crio_strs){opts, a->options.n + 1}, out, err);
}

static int bt_release(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_no_out *out,
		      crio_err *err)
{
	const struct bt *b = p;
	(void)call;
	(void)out;
	return layers_check_id(&b->l, a->id, err);
}

static int bt_tree_open(void *p, crio_call *call, const struct crio_storage_id_args *a,
			struct crio_storage_tree_out *out, crio_err *err)
{
	struct bt *b = p;
	(void)call;
	int r = layers_check_id(&b->l, a->id, err);
	if (r < 0)
		return r;
	int fd = openat(b->l.fd, a->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return layers_fail_errno(&b->l, err, "open subvolumes", a->id);
	out->dirfd = fd;
	return 0;
}

static int bt_list(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_strs_out *out,
		   crio_err *err)
{
	const struct bt *b = p;
	(void)a;
	return layers_list(&b->l, call, "subvolumes", out, err);
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
	int r = s ? 0 : b->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
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
		if (b->l.host->cancelled(call)) {
			r = b->l.host->fail(err, CRIO_E_CANCELLED, "disk usage");
			break;
		}
		if (ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2, s) < 0) {
			r = layers_fail_errno(&b->l, err, "read the tree of", "subvolumes");
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

static int usage_of(struct bt *b, crio_call *call, const char *id, bool exact, struct crio_storage_usage_out *out, crio_err *err)
{
	struct btrfs_util_subvolume_info info;
	int fd = openat(b->l.fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return layers_fail_errno(&b->l, err, "open subvolumes", id);
	if (exact && syncfs(fd) < 0) { /* what is not written yet is in no tree */
		int r = layers_fail_errno(&b->l, err, "sync subvolumes", id);
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
		r = layers_check_id(&b->l, a->id, err);
		if (!r)
			r = usage_of(b, call, a->id, a->exact, &sum, err);
	} else {
		struct crio_storage_id_args all = {.size = sizeof(all), .id = ""};
		struct crio_storage_strs_out ids = {.size = sizeof(ids)};
		r = bt_list(b, call, &all, &ids, err);
		for (size_t i = 0; !r && i < ids.v.n; i++)
			r = usage_of(b, call, ids.v.v[i], a->exact, &sum, err);
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
	struct crio_kv *v = b->l.host->alloc(call, 2 * sizeof(*v));
	char *version = b->l.host->alloc(call, 32);
	if (!v || !version)
		return b->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
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
	const struct bt *b = p;
	(void)call;
	out->v = (struct crio_map){NULL, 0}; /* as the driver in containers/storage */
	return layers_check_there(&b->l, a->id, err);
}

static int bt_recover(void *p, crio_call *call, const struct crio_storage_recover_args *a,
		      struct crio_storage_no_out *out, crio_err *err)
{
	struct bt *b = p;
	(void)call;
	(void)a; /* whole layers without a record are left alone: only the records' owner knows what that means */
	(void)out;
	if (b->tmp_fd < 0)
		return b->l.host->fail(err, CRIO_E_PRECONDITION, "store_open comes first");
	DIR *d = layers_dir(b->tmp_fd, ".");
	if (!d)
		return layers_fail_errno(&b->l, err, "read", ".crio");
	for (struct dirent *e; (e = readdir(d));) {
		if (strncmp(e->d_name, "new-", 4) != 0 && strncmp(e->d_name, "del-", 4) != 0)
			continue;
		crio_err *why = b->l.host->err_new();
		if (discard(b, e->d_name, why) < 0)
			b->l.host->log(b->in, CRIO_LOG_WARN, "%s; tried again at the next start",
				       why ? b->l.host->err_text(why) : "");
		if (why)
			b->l.host->err_free(why);
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
