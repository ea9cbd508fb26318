/*
 * crio/storage.h: graph drivers (kind CRIO_KIND_STORAGE).
 *
 * One instance serves one store root. It keeps file trees: read-only layers that stack on a parent, and read-write
 * layers of containers. It knows nothing of images, tar, digests or mounts in use: the core parses archives, keeps the
 * containers/storage records, counts mounts and does the mounting. A plugin writes only below <root>/<driver>/ and
 * <runroot>/<driver>/, in the layout of the containers/storage driver of the same name where there is one, so that
 * other tools read the same store.
 *
 * Object id of the thread model: the layer id, [0-9a-f]{64}. Every removal is idempotent.
 */
#ifndef CRIO_STORAGE_H
#define CRIO_STORAGE_H

#include <crio/plugin.h>
#include <crio/runtime.h> /* mount rows */

#ifdef __cplusplus
extern "C" {
#endif

enum crio_storage_caps {
	CRIO_STORAGE_CAP_QUOTA = 1 << 0,
	CRIO_STORAGE_CAP_SHIFT = 1 << 1,     /* reserved. The core maps ids by itself: of a row of type "overlay" the lower directories, of any
					      * other the mount; the trees are the same for all pods */
	CRIO_STORAGE_CAP_BLOCK = 1 << 2,     /* rows are block devices that a VM may take as they are */
	CRIO_STORAGE_CAP_CHANGES = 1 << 3,
	CRIO_STORAGE_CAP_BLOB = 1 << 4       /* takes or gives whole blobs: apply_blob, diff_blob */
};

/* How a deleted name is written in a tree that apply_begin hands out. */
enum crio_whiteout {
	CRIO_WHITEOUT_REMOVE = 1,    /* the tree already shows the parent: just remove (btrfs, thin pool, plain copy) */
	CRIO_WHITEOUT_OVERLAY = 2,   /* character device 0:0; opaque directory: xattr trusted.overlay.opaque=y */
	CRIO_WHITEOUT_OVERLAY_USER = 3 /* the same with user.overlay.opaque */
};

/* store_open: before any other operation, once; `id`-less. */
struct crio_storage_open_args {
	uint32_t size;
	int32_t read_only;           /* an additional store */
	const char *root;            /* exists, 0700 */
	const char *runroot;
};
struct crio_storage_open_out {
	uint32_t size;
	uint32_t whiteout;           /* enum crio_whiteout */
	const char *driver;          /* name of the containers/storage driver directory, "overlay" */
	const char *backing;         /* file system underneath, "extfs" */
};

/*
 * apply: a new read-only layer. begin makes a private tree next to the final place; the host fills it through dirfd;
 * end either puts it in place under its id (commit) or discards it. A crash between the two leaves only what
 * recover() removes.
 */
struct crio_storage_apply_args {
	uint32_t size;
	int32_t commit;              /* apply_end only */
	const char *id;
	const char *parent;          /* "" : none */
};
struct crio_storage_apply_out {
	uint32_t size;
	int32_t dirfd;               /* the host's to close */
};

/* layer_create: a read-write layer on `parent`, empty. EXISTS when there is one of that id. */
struct crio_storage_create_args {
	uint32_t size;
	uint32_t reserved;
	const char *id;
	const char *parent;          /* "" : none */
	const char *mount_label;     /* SELinux; "" none */
	int64_t quota;               /* bytes; 0 none */
	int64_t inode_quota;
};

struct crio_storage_id_args {
	uint32_t size;
	int32_t read_only;           /* mounts: a read-only view */
	const char *id;
	const char *mount_label;     /* mounts; "" none */
	struct crio_strs options;    /* mounts: extra mount options */
};
struct crio_storage_no_out {
	uint32_t size;
	uint32_t reserved;
};

/* mounts: what to mount, in order, to show the layer with its parents. A row of type "bind" has a directory as source. */
struct crio_storage_mounts_out {
	uint32_t size;
	uint32_t reserved;
	struct crio_mount_rows rows;
};

struct crio_storage_tree_out {
	uint32_t size;
	int32_t dirfd;               /* the host's to close */
};

struct crio_storage_usage_args {
	uint32_t size;
	int32_t exact;               /* 0: may be the figure of the last commit or the file system's own accounting; must not sync */
	const char *id;              /* "" : the whole driver */
};
struct crio_storage_usage_out {
	uint32_t size;
	uint32_t reserved;
	uint64_t bytes;              /* on disk, of this layer alone */
	uint64_t inodes;
};

struct crio_storage_strs_out {
	uint32_t size;
	uint32_t reserved;
	struct crio_strs v;          /* list: layer ids */
};
struct crio_storage_map_out {
	uint32_t size;
	uint32_t reserved;
	struct crio_map v;           /* status, info: label and value, for people */
};

struct crio_storage_recover_args {
	uint32_t size;
	uint32_t reserved;
	struct crio_strs known;      /* ids the records hold: anything half-made that is not among them is removed */
};

enum crio_change_kind {
	CRIO_CHANGE_MODIFY = 1,
	CRIO_CHANGE_ADD = 2,
	CRIO_CHANGE_DELETE = 3
};
struct crio_storage_change {
	uint32_t size;
	uint32_t kind;
	const char *path;
};
struct crio_storage_changes_out {
	uint32_t size;
	uint32_t reserved;
	const struct crio_storage_change *v;
	size_t n;
	size_t stride;
};

struct crio_storage_blob_args {
	uint32_t size;
	int32_t fd;                  /* read from (apply_blob) or written to (diff_blob) */
	const char *id;
	const char *parent;
	const char *media_type;
};

/* Lock class M: main, C: control. `?` optional. */
struct crio_storage_ops {
	/* M    */
	int (*store_open)(void *self, crio_call *call, const struct crio_storage_open_args *args, struct crio_storage_open_out *out, crio_err *err);
	/* M    EXISTS when the layer is there already. */
	int (*apply_begin)(void *self, crio_call *call, const struct crio_storage_apply_args *args, struct crio_storage_apply_out *out, crio_err *err);
	/* M    Durable when it returns after commit: the file system was synced once. */
	int (*apply_end)(void *self, crio_call *call, const struct crio_storage_apply_args *args, struct crio_storage_usage_out *out, crio_err *err);
	/* M    */
	int (*layer_create)(void *self, crio_call *call, const struct crio_storage_create_args *args, struct crio_storage_no_out *out, crio_err *err);
	/* M    NOT_FOUND. The rows stay valid until release; calling it again gives the same. */
	int (*mounts)(void *self, crio_call *call, const struct crio_storage_id_args *args, struct crio_storage_mounts_out *out, crio_err *err);
	/* C    After the last unmount. Idempotent. */
	int (*release)(void *self, crio_call *call, const struct crio_storage_id_args *args, struct crio_storage_no_out *out, crio_err *err);
	/* M    The layer's own tree, without its parents where it is a delta (read only): for reading back files of the layer. */
	int (*tree_open)(void *self, crio_call *call, const struct crio_storage_id_args *args, struct crio_storage_tree_out *out, crio_err *err);
	/* M    Idempotent. */
	int (*remove)(void *self, crio_call *call, const struct crio_storage_id_args *args, struct crio_storage_no_out *out, crio_err *err);
	/* C    id is "". */
	int (*list)(void *self, crio_call *call, const struct crio_storage_id_args *args, struct crio_storage_strs_out *out, crio_err *err);
	/* C    */
	int (*usage)(void *self, crio_call *call, const struct crio_storage_usage_args *args, struct crio_storage_usage_out *out, crio_err *err);
	/* C    id is "". */
	int (*status)(void *self, crio_call *call, const struct crio_storage_id_args *args, struct crio_storage_map_out *out, crio_err *err);
	/* C    Of a layer: paths for `inspect`, as containers/storage names them. */
	int (*info)(void *self, crio_call *call, const struct crio_storage_id_args *args, struct crio_storage_map_out *out, crio_err *err);
	/* M    At start, before anything else. Idempotent. */
	int (*recover)(void *self, crio_call *call, const struct crio_storage_recover_args *args, struct crio_storage_no_out *out, crio_err *err);
	/* M ?  */
	int (*changes)(void *self, crio_call *call, const struct crio_storage_id_args *args, struct crio_storage_changes_out *out, crio_err *err);
	/* M ?  For drivers that keep layers in a form of their own (EROFS, remote). */
	int (*apply_blob)(void *self, crio_call *call, const struct crio_storage_blob_args *args, struct crio_storage_usage_out *out, crio_err *err);
	int (*diff_blob)(void *self, crio_call *call, const struct crio_storage_blob_args *args, struct crio_storage_no_out *out, crio_err *err);
};

#ifdef __cplusplus
}
#endif
#endif
