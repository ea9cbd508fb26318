/*
 * tar.h: a strict, streaming tar reader: v7, ustar, pax, GNU long names and every GNU sparse form.
 *
 * Why not libarchive: tar-split needs each byte that is not file content exactly as it came, the meaning of an archive
 * must be the one Go's archive/tar gives it (the image's author tested with that; a second reading of the same bytes is
 * an attack), and pax data must be bounded before it is collected. libarchive gives no raw headers, reads sizes and names
 * by rules of its own, and sets no bound on them.
 *
 * All bytes but file content go to the `raw` callback, in order with the content handed out, so that both together are
 * the archive again.
 */
#ifndef UNPACK_TAR_H
#define UNPACK_TAR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/unpack/source.h"
#include "core/util/str.h"

#define TAR_BLOCK 512u

enum tar_type {
	TAR_FILE,
	TAR_HARDLINK,
	TAR_SYMLINK,
	TAR_CHAR,
	TAR_BLOCK_DEV,
	TAR_DIR,
	TAR_FIFO
};

struct tar_xattr {
	const char *name; /* without the SCHILY.xattr. prefix */
	const char *value;
	size_t n;
};

struct tar_extent {
	uint64_t offset, n;
};

/* Valid until the next tar_next. */
struct tar_entry {
	enum tar_type type;
	const char *name;        /* as in the archive: any bytes but NUL, not "" */
	const char *link;        /* hard and symbolic links; "" otherwise possible */
	uint64_t size;           /* of the file; 0 for all other types */
	uint64_t stored;         /* content bytes in the archive: what tar_data gives in all */
	uint32_t mode;           /* 07777 */
	uint32_t uid, gid;       /* never (uint32_t)-1 */
	int64_t mtime;
	uint32_t mtime_ns;
	uint32_t major, minor;   /* devices */
	const struct tar_xattr *xattrs;
	size_t n_xattrs;
	bool sparse;             /* content is the extents' data, one after the other; the rest of size is zeros */
	const struct tar_extent *extents;
	size_t n_extents;
};

struct tar_limits {
	uint64_t max_headers;    /* header blocks, those of pax and long names included */
	uint64_t max_size;       /* of one file */
	uint32_t max_meta;
	uint32_t max_sparse;
};

typedef int (*tar_raw_fn)(void *arg, const void *p, size_t n, crio_err *err);

struct tar_reader;
/* raw may be NULL. */
int tar_reader_new(struct source src, const struct tar_limits *limits, tar_raw_fn raw, void *raw_arg,
		   struct tar_reader **ret, crio_err *err);
void tar_reader_free(struct tar_reader *r); /* NULL is fine */
/* 1: *ret is the next entry, content of the one before that was not taken is passed over (as raw); 0: the end of the
 * archive; or a negative code. */
int tar_next(struct tar_reader *r, const struct tar_entry **ret, crio_err *err);
/* The next piece of content: 1 to `want` bytes at *ret, 0 when there is no more, or a negative code. */
ssize_t tar_data(struct tar_reader *r, size_t want, const void **ret, crio_err *err);
/* After tar_next gave 0: all that follows the archive's end, as raw. */
int tar_drain(struct tar_reader *r, crio_err *err);
uint64_t tar_headers(const struct tar_reader *r);

#endif
