/*
 * decompress.h: a compressed blob as a stream of plain bytes. gzip (ISA-L; any number of members), zstd (any number of
 * frames, skippable ones passed over, window bounded) and plain, told apart by their first bytes. bzip2 and xz are
 * refused by name. Truncated input, a wrong checksum and bytes after the last member are CRIO_E_CORRUPT.
 */
#ifndef UNPACK_DECOMPRESS_H
#define UNPACK_DECOMPRESS_H

#include <stdbool.h>

#include "core/unpack/source.h"

/* The numbers are those of containers/storage's layer records. */
enum compression {
	COMPRESSION_NONE = 0,
	COMPRESSION_GZIP = 2,
	COMPRESSION_ZSTD = 4
};
const char *compression_name(enum compression c); /* "none", "gzip", "zstd" */

/* What a layer's media type promises. CRIO_E_UNSUPPORTED for one that is not a tar layer (encrypted, squashfs, ...). */
int compression_of_media_type(const char *media_type, enum compression *ret, crio_err *err);

#define DECOMPRESS_WINDOW_LOG 25 /* zstd frames may ask for 32 MiB */

struct decompress;
/* Reads from src (called on the thread that calls decompress_read). window_log: 0 is DECOMPRESS_WINDOW_LOG. Does not
 * read yet. */
int decompress_new(struct source src, unsigned int window_log, struct decompress **ret, crio_err *err);
void decompress_free(struct decompress *d); /* NULL is fine */
/* A source_fn; arg is the struct decompress. The end is returned only once src has been read to its end. Output that is
 * out of proportion is bounded by the caller, who sees every byte. */
ssize_t decompress_read(void *d, void *p, size_t n, crio_err *err);
/* Known after the first read that did not fail; COMPRESSION_NONE before. */
enum compression decompress_kind(const struct decompress *d);

#endif
