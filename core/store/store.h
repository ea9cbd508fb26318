/*
 * store.h: one store: a root and a run root with one graph driver (a storage plugin instance), in the on-disk format of
 * containers/storage, so that podman, buildah, skopeo and CRI-O work on the same files. It keeps the records of layers,
 * images and containers, makes and removes layers through the plugin, and mounts them. What an image is, which store a
 * pod uses, and policy about removal belong to the callers.
 *
 * Threads: everything here is safe from any thread. Reads (get, find, list) come from immutable, reference-counted
 * snapshots in memory and never wait for another process. Changes take the lock file of their table (an OFD lock, so it
 * excludes the Go tools), first load what another tool has written, and wait for that lock no longer than the call's
 * deadline. store_refresh() loads what others wrote without changing anything.
 *
 * Strings in records are never NULL. Ids are 64 lower-case hex digits. Times are Unix nanoseconds.
 *
 * Crash safety: a layer or container is in the records only when it is whole. What was begun and not recorded is noted
 * in a journal of ours (<root>/crio/journal) and rolled back by store_open.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <crio/storage.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/exec/call.h"
#include "core/util/idmap.h"
#include "core/util/str.h"

struct plugin_inst;
struct store;

/* ---- the store ---- */

struct store_args {
	const char *root; /* absolute; made 0700 when missing */
	const char *runroot;
	const char *driver; /* "overlay"; NULL: what the plugin says. Different from the plugin's: CRIO_E_INVALID */
	struct plugin_inst *instance; /* referenced; one instance serves one store */
	bool read_only;		      /* an additional store: nothing below root is written, no recovery */
	bool no_recover; /* leave half-done work of others alone (command line tools beside a running daemon) */
};
/* Opens, loads the records, and rolls back half-done work unless another live process of ours holds the store (then
 * that step is left out). Damaged records are set aside in <root>/crio/quarantine, logged, and do not make this fail.
 */
int store_open(const struct store_args *args, crio_call *call, struct store **ret, crio_err *err);
void store_close(struct store *s); /* nothing may be in progress; mounts stay. NULL is fine */

const char *store_driver(const struct store *s); /* "overlay" */
const char *store_root(const struct store *s);
const char *store_runroot(const struct store *s);
const char *store_backing(const struct store *s);	   /* "extfs" */
struct plugin_inst *store_instance(const struct store *s); /* borrowed */
/* No other process of ours has it open: half-done work in it is nobody's. */
bool store_owned(const struct store *s);
/* Loads the tables that other programs have changed; cheap when none has. */
int store_refresh(struct store *s, crio_call *call, crio_err *err);
/* Grows with every change of layers, images or containers that this process has seen. */
uint64_t store_generation(const struct store *s);

/* ---- layers ---- */

enum store_compression { /* the numbers of layers.json */
			 STORE_UNCOMPRESSED = 0,
			 STORE_BZIP2 = 1,
			 STORE_GZIP = 2,
			 STORE_XZ = 3,
			 STORE_ZSTD = 4
};

struct store_layer {
	const char *id;
	const char *parent; /* "" : none */
	const char *mount_label;
	const char *compressed_digest;	    /* "" unknown */
	const char *diff_digest;	    /* of the uncompressed tar; "" for a container's layer */
	int64_t compressed_size, diff_size; /* -1 unknown */
	int compression;
	bool incomplete; /* another tool is making it, or died doing so */
	int64_t created_ns;
};
struct store_layer *store_layer_ref(struct store_layer *l);
void store_layer_unref(struct store_layer *l); /* NULL is fine */
static inline void store_layer_unrefp(struct store_layer **l)
{
	store_layer_unref(*l);
}
#define cleanup_layer CLEANUP(store_layer_unrefp)

/* Returns a reference, or NULL. */
struct store_layer *store_layer_get(struct store *s, const char *id);
/* The whole layer of that content on that parent ("" none): by its diff digest, or by its compressed digest. */
struct store_layer *store_layer_find(struct store *s, const char *parent, const char *diff_digest);
struct store_layer *store_layer_find_compressed(struct store *s, const char *parent, const char *compressed_digest);
/* Any layer with that diff digest, whatever its parent: its content can be had by tar-split instead of a download. */
struct store_layer *store_layer_find_diff(struct store *s, const char *diff_digest);
/* The id that c/image gives to this content on that parent, so that all tools share layers. parent "" : the digest's
 * hex. CRIO_E_INVALID: not a digest. */
int store_layer_id(const char *parent, const char *diff_digest, char ret[65], crio_err *err);
/* True when a layer can be begun before its parent is committed (each is a tree of its own). The parent must be there
 * by the time of commit. False: begin needs the parent. */
bool store_layers_independent(const struct store *s);

/* A layer being made. One thread uses it at a time; several may be made at once. */
struct store_new_layer;
struct store_begin_args {
	const char *parent;	 /* layer id, "" none */
	const char *diff_digest; /* from the image's configuration: decides the id */
	bool nowait; /* somebody in this process is making it: CRIO_E_ABORTED at once instead of waiting for them */
};
/* CRIO_E_EXISTS: the layer is there (also after having waited for who was making it). Waiting while holding another
 * begun layer that the other one waits for would be a deadlock until the deadline: use nowait then. */
int store_layer_begin(struct store *s, crio_call *call, const struct store_begin_args *args,
		      struct store_new_layer **ret, crio_err *err);
const char *store_new_layer_id(const struct store_new_layer *l);
int store_new_layer_dirfd(const struct store_new_layer *l); /* the tree to fill; the store's */
enum crio_whiteout store_new_layer_whiteout(const struct store_new_layer *l);
int store_new_layer_tar_split_fd(const struct store_new_layer *l); /* to write the gzip'd tar-split to; the store's */
struct store_layer_info {
	const char
	    *diff_digest; /* what was unpacked; not the one given to begin: CRIO_E_CORRUPT, the layer is aborted */
	int64_t diff_size;
	const char *compressed_digest; /* of the blob as downloaded */
	int64_t compressed_size;
	int compression;	     /* enum store_compression */
	const uint32_t *uids, *gids; /* owners that occur; may be NULL */
	size_t n_uids, n_gids;
	bool no_tar_split; /* nothing was written to the tar-split fd */
};
/* Makes it durable and records it. Frees l, whatever the outcome. ret may be NULL. A parent that is missing by now is
 * CRIO_E_PRECONDITION; a layer that another tool made meanwhile is success. */
int store_layer_commit(struct store_new_layer *l, crio_call *call, const struct store_layer_info *info,
		       struct store_layer **ret, crio_err *err);
/* Frees l and discards the tree. NULL is fine. Works after the call was cancelled. */
void store_layer_abort(struct store_new_layer *l);

/* Removes layers that this daemon made, that nothing refers to, and that are older than min_age_ns: left by pulls that
 * failed. Also done by store_open (1 h). */
int store_gc(struct store *s, crio_call *call, int64_t min_age_ns, size_t *ret_removed, crio_err *err);

/* The layer's own tree, read only, whiteouts in the store's style (store_whiteout); the caller's to close. With the
 * tar-split it gives back the layer's tar byte for byte. NOT_FOUND: no tar-split was kept. */
int store_layer_tree_open(struct store *s, crio_call *call, const char *id, int *ret_dirfd, crio_err *err);
int store_layer_tar_split_open(struct store *s, const char *id, int *ret_fd, crio_err *err);
enum crio_whiteout store_whiteout(const struct store *s);
/* Label and value pairs of the driver for a layer ("UpperDir", "MergedDir"); appended to ret. */
int store_layer_data(struct store *s, crio_call *call, const char *id, struct kvs *ret, crio_err *err);

/* ---- images ---- */

struct store_big {	 /* one big data item */
	const char *key; /* "manifest", "manifest-sha256:...", "sha256:<config>", "signature-..." */
	int64_t size;
	const char *digest; /* "" unknown */
};
struct store_image {
	const char *id;
	const char *digest;   /* of the manifest */
	const char *layer;    /* top layer, "" none */
	const char *metadata; /* c/image's JSON: {"signatures-sizes":{"sha256:..":[]}} */
	struct crio_strs names;
	struct crio_strs names_history;
	const struct store_big *big;
	size_t n_big;
	int64_t created_ns;
	bool read_only; /* from an additional store */
};
struct store_image *store_image_ref(struct store_image *i);
void store_image_unref(struct store_image *i);
static inline void store_image_unrefp(struct store_image **i)
{
	store_image_unref(*i);
}
#define cleanup_image CLEANUP(store_image_unrefp)

struct store_images { /* a snapshot */
	struct store_image *const *v;
	size_t n;
};
/* All images, in the order of the file. Release with store_images_unref. Never NULL: the store keeps one at hand. */
const struct store_images *store_images_get(struct store *s);
void store_images_unref(const struct store_images *l);

/* Return a reference, or NULL. by_digest: the manifest's digest, or that of any manifest kept with the image. */
struct store_image *store_image_get(struct store *s, const char *id);
struct store_image *store_image_by_name(struct store *s, const char *name);
struct store_image *store_image_by_digest(struct store *s, const char *digest);

struct store_big_data {
	const char *key;
	const void *p;
	size_t n;
};
struct store_image_args {
	const char *id;			  /* hex of the configuration's digest */
	const char *digest;		  /* of the manifest */
	const char *layer;		  /* top layer; must be recorded; "" none */
	const char *metadata;		  /* NULL: c/image's form with no signatures */
	struct crio_strs names;		  /* added to those the image has, and taken from other images */
	int64_t created_ns;		  /* from the configuration; 0: now */
	const struct store_big_data *big; /* a key "manifest" gets "manifest-<digest>" beside it by itself */
	size_t n_big;
};
/* Records an image, or brings the record of that id up to date. Durable on return. ret may be NULL. */
int store_image_put(struct store *s, crio_call *call, const struct store_image_args *args, struct store_image **ret,
		    crio_err *err);
/* The image then has exactly these names; they are taken from other images. */
int store_image_set_names(struct store *s, crio_call *call, const char *id, struct crio_strs names, crio_err *err);
/* Removes the record and its layers that nothing else uses. Absent is success. A container of the image in this store:
 * CRIO_E_PRECONDITION naming it. */
int store_image_delete(struct store *s, crio_call *call, const char *id, crio_err *err);
/* The text is the caller's, NUL-terminated; more than limit bytes: CRIO_E_EXHAUSTED. Checked against the recorded
 * digest. */
int store_image_big_get(struct store *s, const char *id, const char *key, size_t limit, char **ret, size_t *ret_n,
			crio_err *err);
/* Bytes of its layers (uncompressed) and big data, as podman counts; from memory. */
uint64_t store_image_size(struct store *s, const struct store_image *i);
/* Ids of its layers, lowest first. CORRUPT: a layer is missing. */
int store_image_layers(struct store *s, const struct store_image *i, struct strv *ret, crio_err *err);

/* ---- containers ---- */

struct store_container {
	const char *id;
	const char *image;    /* id; "" none */
	const char *layer;    /* its read-write layer */
	const char *metadata; /* the creator's JSON */
	const char *mount_label, *process_label;
	struct crio_strs names;
	int64_t created_ns;
	struct id_maps maps;  /* its files are shown mapped; without lines: as they are */
};
struct store_container *store_container_ref(struct store_container *c);
void store_container_unref(struct store_container *c);
static inline void store_container_unrefp(struct store_container **c)
{
	store_container_unref(*c);
}
#define cleanup_store_container CLEANUP(store_container_unrefp)

struct store_containers {
	struct store_container *const *v;
	size_t n;
};
const struct store_containers *store_containers_get(struct store *s);
void store_containers_unref(const struct store_containers *l);
struct store_container *store_container_get(struct store *s, const char *id); /* reference or NULL */

struct store_container_args {
	const char *id;		/* 64 hex */
	struct crio_strs names; /* in use: CRIO_E_EXISTS */
	const char *image;	/* image id in this store; "" none: layer is then the parent */
	const char *layer;	/* "" : the image's top layer */
	const char *metadata;
	const char *mount_label, *process_label; /* NULL: "" */
	int64_t quota;				 /* bytes, 0 none */
	const struct id_maps *maps; /* of its user namespace: the image's files then belong to its users; NULL none */
};
/* Makes the read-write layer, the record and both userdata directories (0700). EXISTS: the id or a name is taken.
 * Undone on failure. ret may be NULL. */
int store_container_create(struct store *s, crio_call *call, const struct store_container_args *args,
			   struct store_container **ret, crio_err *err);
int store_container_set_metadata(struct store *s, crio_call *call, const char *id, const char *metadata, crio_err *err);
int store_container_set_names(struct store *s, crio_call *call, const char *id, struct crio_strs names, crio_err *err);
/* Unmounts by force, removes layer, directories and record. Absent is success. */
int store_container_delete(struct store *s, crio_call *call, const char *id, crio_err *err);
/* "<root>/<driver>-containers/<id>/userdata" and its fellow below the run root; the caller's; NULL without memory. run:
 * made again when a reboot took it away. */
char *store_container_dir(const struct store *s, const char *id);
char *store_container_run_dir(const struct store *s, const char *id);

/* ---- mounts ---- */

/* Mounts the container's layer and counts. *ret_path (the caller's) is where; a mount that an earlier run left is taken
 * over. One with id maps is mounted mapped: nothing is copied or changed for it. UNSUPPORTED: the file system below cannot be. */
int store_mount(struct store *s, crio_call *call, const char *container_id, char **ret_path, crio_err *err);
/* The root of a mounted container, for writing to it: an O_PATH descriptor, the caller's. *ret_host_ids: owners there are ids of the
 * host, as at the mountpoint. False, and only with id maps: owners are those inside, which no id map stands before (through the mountpoint
 * the host's root, whom the maps do not know, could make nothing). */
int store_root_open(struct store *s, crio_call *call, const char *container_id, const char *mountpoint, int *ret_fd, bool *ret_host_ids,
		    crio_err *err);
/* Takes one count back; unmounts and releases at the last, or at once when force. Not mounted or absent is success. */
int store_unmount(struct store *s, crio_call *call, const char *container_id, bool force, crio_err *err);
/* True when it is mounted now (from memory after the first look). */
bool store_is_mounted(struct store *s, const char *container_id);
/* Mounts a layer with its parents, read only, at `path` (exists): image volumes, VM images. Undo with
 * store_layer_unmount_at; not counted. label: SELinux, NULL or "" none. maps: of whom it is shown to, NULL or without lines none. */
int store_layer_mount_at(struct store *s, crio_call *call, const char *layer_id, const char *label, const struct id_maps *maps,
			 const char *path, crio_err *err);
int store_layer_unmount_at(struct store *s, crio_call *call, const char *layer_id, const char *path, crio_err *err);
/* The rows as the plugin gives them, for runtimes that mount by themselves; memory of the call. */
int store_mount_rows(struct store *s, crio_call *call, const char *layer_id, bool read_only,
		     struct crio_mount_rows *ret, crio_err *err);

/* ---- figures ---- */

struct store_usage {
	uint64_t bytes, inodes;
};
/* Written by the container: its read-write layer alone. exact walks the tree where the driver has no accounting. */
int store_container_usage(struct store *s, crio_call *call, const char *container_id, bool exact,
			  struct store_usage *ret, crio_err *err);
/* What the images of this store take on disk: the trees of all committed layers, tar-splits, records, big data. Trees are measured
 * once; only one that this store has not unpacked itself is walked here. */
int store_images_usage(struct store *s, crio_call *call, struct store_usage *ret, crio_err *err);
/* Path of the image file system (its mountpoint as kubelet knows it) and of the containers' one. Borrowed. */
const char *store_image_fs(const struct store *s);     /* "<root>/<driver>-images" */
const char *store_container_fs(const struct store *s); /* "<root>/<driver>-containers" */
/* The driver's status for `crio info`: label and value; appended to ret. */
int store_status(struct store *s, crio_call *call, struct kvs *ret, crio_err *err);

/* ---- check ---- */

/* Looks for records without trees, layers without parents, big data that does not match its digest. Each finding is one
 * line in ret. With repair, images and containers that cannot work are removed. */
int store_check(struct store *s, crio_call *call, bool repair, struct strv *ret, crio_err *err);

#endif
