/*
 * tar_write.h: a small tar writer: ustar, with pax records for what does not fit. It writes to a seekable file and keeps nothing in
 * memory, so an entry may be begun before its size is known, and an archive may be an entry of another one: entries written
 * between the begin and the end of an open one are its content. What tar.h reads, and Go's archive/tar.
 */
#ifndef UNPACK_TAR_WRITE_H
#define UNPACK_TAR_WRITE_H

#include <stdint.h>

#include "core/unpack/tar.h"

struct tar_out {
	int fd;       /* the caller's; written from offset 0 */
	uint64_t at;  /* bytes so far */
	uint64_t max; /* no more than these: CRIO_E_EXHAUSTED */
};

/* The place of an entry's header, to be corrected at its end. */
struct tar_mark {
	uint64_t at;
	unsigned char block[TAR_BLOCK];
};

/* Writes the header (e->size is what it says; sparse files have no form here: INVALID). e->stored is not looked at. The content follows
 * by tar_out_data, then tar_out_end. ret may be NULL: then exactly e->size bytes follow. */
int tar_out_begin(struct tar_out *o, const struct tar_entry *e, struct tar_mark *ret, crio_err *err);
int tar_out_data(struct tar_out *o, const void *p, size_t n, crio_err *err);
/* n bytes of zeros, which take no room on disk. */
int tar_out_zeros(struct tar_out *o, uint64_t n, crio_err *err);
/* Fills up the last block. With a mark: the header then says what was written since. */
int tar_out_end(struct tar_out *o, const struct tar_mark *mark, crio_err *err);
/* The end of the archive. */
int tar_out_finish(struct tar_out *o, crio_err *err);
/* A regular file of these bytes, mode 0600, root's. */
int tar_out_file(struct tar_out *o, const char *name, const void *p, size_t n, crio_err *err);

#endif
