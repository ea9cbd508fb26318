/*
 * rootfs_diff.h: what a container has changed in its root file system, as an archive of what is new or different and a list of what
 * is gone: the form that checkpoints have. Nothing outside the two trees is read, links are never followed.
 */
#ifndef LIFECYCLE_ROOTFS_DIFF_H
#define LIFECYCLE_ROOTFS_DIFF_H

#include "core/exec/call.h"
#include "core/unpack/tar_write.h"

struct rootfs_diff {
	int upper;   /* the container's own tree, with whiteouts in overlayfs's form: says which names have changed */
	int merged;  /* the whole tree as the container sees it: says what they are */
	/* Opens the tree of the i-th layer below, the nearest first, for the caller to close; NOT_FOUND past the last. */
	int (*lower)(void *arg, size_t i, int *ret, crio_err *err);
	void *arg;
	const struct strv *mounts; /* absolute paths that something is mounted on: left out with all below */
};

/* To be given to remove_deleted() as they are: absolute paths. */
#define ROOTFS_DELETED_MAX 1000000u
/* Entries go to `o`, which is not finished. *ret_any: there was one. The container should be frozen: a file that
 * shrinks meanwhile is filled up with zeros, one that goes is left out. EXHAUSTED: o's limit, or more than ROOTFS_DELETED_MAX
 * paths are gone. */
int rootfs_diff_write(const struct rootfs_diff *d, crio_call *call, struct tar_out *o, struct strv *ret_deleted, bool *ret_any,
		      crio_err *err);

/* Puts an archive of rootfs_diff_write, or one of that form from anywhere, into the tree `root`. Never leaves it. Devices only
 * with `devices`: else INVALID. */
int rootfs_diff_apply(int root, crio_call *call, struct source tar, uint64_t max_bytes, bool devices, crio_err *err);
/* Removes paths below root, each with all below it; absent ones are fine. INVALID: one with "..", or the root itself. */
int rootfs_diff_delete(int root, const struct strv *deleted, crio_err *err);

#endif
