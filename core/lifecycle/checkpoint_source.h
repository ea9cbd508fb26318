/*
 * checkpoint_source.h: a checkpoint as it comes in: an archive, or a directory (the layer of a checkpoint image). Whoever made it may
 * be hostile: names, counts and sizes are bounded, only regular files are taken, none is found by following a link, and nothing is
 * written but below the directories that the caller names. What its parts say is the caller's to judge.
 *
 * The parts, in checkpointctl's names: spec.dump, config.dump, bind.mounts, deleted.files (JSON), checkpoint/ (criu's files),
 * rootfs-diff.tar, io.kubernetes.cri-o.LogPath (the log so far). Others are passed over. A part that comes twice is refused.
 */
#ifndef LIFECYCLE_CHECKPOINT_SOURCE_H
#define LIFECYCLE_CHECKPOINT_SOURCE_H

#include "core/exec/call.h"
#include "core/util/json.h"

#define CHECKPOINT_SPEC "spec.dump"
#define CHECKPOINT_CONFIG "config.dump"
#define CHECKPOINT_BINDS "bind.mounts"
#define CHECKPOINT_DELETED "deleted.files"
#define CHECKPOINT_DIFF "rootfs-diff.tar"
#define CHECKPOINT_DIR "checkpoint"
#define CHECKPOINT_LOG "io.kubernetes.cri-o.LogPath"
#define CHECKPOINT_DUMP_LOG "dump.log"
#define CHECKPOINT_STATS "stats-dump"
#define CHECKPOINT_BYTES_MAX (64ull << 30) /* of a whole archive, uncompressed */

struct checkpoint_source {
	int fd;         /* of the archive or the directory; owned; -1 none */
	bool is_dir;
};
#define CHECKPOINT_SOURCE_INIT { -1, false }
void checkpoint_source_release(struct checkpoint_source *s);
#define cleanup_checkpoint_source CLEANUP(checkpoint_source_release)
/* path: absolute, a regular file, compressed or not. */
int checkpoint_source_open(const char *path, struct checkpoint_source *ret, crio_err *err);

struct checkpoint_meta {
	struct json_object *spec, *config; /* objects */
	struct json_object *binds;         /* array, or NULL */
	struct strv deleted;
};
void checkpoint_meta_release(struct checkpoint_meta *m);
#define cleanup_checkpoint_meta CLEANUP(checkpoint_meta_release)
/* INVALID: it is no checkpoint; CORRUPT; EXHAUSTED. *ret is zeroed by the caller. */
int checkpoint_read_meta(const struct checkpoint_source *s, crio_call *call, struct checkpoint_meta *ret, crio_err *err);

struct checkpoint_target {
	int dir;              /* <dir>/checkpoint is made */
	int root;             /* of the container: gets the changed files, loses the deleted ones */
	bool devices;         /* may the changed files have devices among them? */
	const char *log_path; /* gets the log so far, unless there is a file; "" none */
	const struct strv *deleted;
};
/* The rest of it. INVALID when criu's files are not all there. On failure the caller removes what was made. */
int checkpoint_unpack(const struct checkpoint_source *s, crio_call *call, const struct checkpoint_target *t, crio_err *err);

#endif
