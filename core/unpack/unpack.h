/*
 * unpack.h: a layer blob into a file tree. One pull pipeline on the calling thread:
 *
 *	source -> digest -> decompress -> digest (diffID) -> tar -> confined extraction below dirfd
 *	                                                        `-> tar-split, for a byte-identical way back (assemble.h)
 *
 * Memory is bounded whatever the blob says; nothing is written outside dirfd; nothing is fsynced (the storage plugin
 * syncs the file system once at the commit). On failure the tree is left as it is, for apply_end to discard.
 *
 * The way in is a source: for a pull, download on one thread into a ring (source.h) and unpack on another.
 */
#ifndef UNPACK_UNPACK_H
#define UNPACK_UNPACK_H

#include <stdbool.h>
#include <stdint.h>

#include <crio/storage.h>

#include "core/unpack/decompress.h"
#include "core/unpack/source.h"
#include "core/util/digest.h"

/* Beyond a limit: CRIO_E_EXHAUSTED, the message names the limit. 0 in a field is its default. */
struct unpack_limits {
	uint64_t max_blob;         /* compressed bytes: 64 GiB */
	uint64_t max_plain;        /* bytes of tar, and the size of any one file (sparse): 256 GiB */
	uint64_t max_entries;      /* 4 million */
	uint32_t max_meta;         /* bytes of pax and long-name data an entry: 1 MiB */
	uint32_t max_sparse;       /* extents of a sparse file: 65536 */
	uint32_t zstd_window_log;  /* DECOMPRESS_WINDOW_LOG */
};

struct tar_entry;
struct unpack_opts {
	struct source src;
	const char *media_type;    /* NULL or "": by magic alone */
	bool strict_media_type;    /* a blob compressed otherwise than its type says is refused; CRI-O accepts it */
	const char *digest;        /* the blob's expected digest; NULL or "": sha256 is computed, nothing compared */
	const char *diff_id;       /* expected digest of the tar; NULL or "": not compared */
	int64_t size;              /* expected blob size; < 0: not compared */
	int dirfd;                 /* root of the tree; the caller's. -1: check and digest only, write nothing */
	enum crio_whiteout whiteout;
	int tar_split_fd;          /* gzip of JSON lines written here (<id>.tar-split.gz); -1: none. Caller's, not synced */
	bool literal;              /* names of whiteouts are names like others */
	int (*check)(const struct tar_entry *e, crio_err *err); /* refuses entries by a negative code; NULL: none */
	struct unpack_limits limits;
};

struct unpack_result {
	char digest[DIGEST_TEXT_MAX];
	uint64_t size;
	char diff_id[DIGEST_TEXT_MAX]; /* sha256, or the algorithm of opts.diff_id */
	uint64_t diff_size;
	enum compression compression;
	bool media_type_differs;   /* not what the media type says; for a debug line */
	/* Two entries of one name in one layer: the later is in the tree, the earlier's content may be gone, and then
	 * assemble.h fails on this layer. */
	bool duplicates;
	uint64_t entries;
	uint64_t file_bytes;       /* content of regular files as written */
	uint64_t disk_bytes;       /* estimate: content and directories in 4 KiB blocks */
	uint64_t xattrs_skipped;   /* the file system does not take them */
	uint32_t *uids, *gids;     /* every owner seen, ascending; for the layer record's uidset and gidset */
	size_t n_uids, n_gids;
};
void unpack_result_release(struct unpack_result *r);
#define cleanup_unpack_result CLEANUP(unpack_result_release)

/*
 * *ret is zeroed by the caller and filled on success only. Errors: CRIO_E_CORRUPT (damaged blob, wrong digest, size or
 * diffID), CRIO_E_INVALID (an entry that no layer may have: "..", a whiteout of the root, trusted.overlay.* ...),
 * CRIO_E_UNSUPPORTED (compression, entry type), CRIO_E_EXHAUSTED, CRIO_E_NOSPACE, the call's end, and what the source
 * returned. Needs root (owners, devices). A path that passes through a link made by the same layer, or by the parent in
 * a tree that shows it, stays below dirfd; a link in the last component is never followed.
 */
int unpack_layer(crio_call *call, const struct unpack_opts *opts, struct unpack_result *ret, crio_err *err);

#endif
