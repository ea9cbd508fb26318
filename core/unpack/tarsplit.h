/*
 * tarsplit.h: writes tar-split data: a gzip stream of JSON lines, in order either the bytes of the archive that are not
 * file content ("type":2) or a file whose content is in the tree ("type":1, with its size and CRC-64). containers/storage
 * keeps it as <id>.tar-split.gz and makes the archive from it again.
 */
#ifndef UNPACK_TARSPLIT_H
#define UNPACK_TARSPLIT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/err.h"

struct tarsplit;
/* fd stays the caller's. */
int tarsplit_new(int fd, struct tarsplit **ret, crio_err *err);
void tarsplit_free(struct tarsplit *t); /* NULL is fine; does not finish */
/* Bytes as they are in the archive. */
int tarsplit_raw(struct tarsplit *t, const void *p, size_t n, crio_err *err);
/* A file of the tree; name as in the archive. Size 0 has no checksum. */
int tarsplit_file(struct tarsplit *t, const char *name, uint64_t size, uint64_t crc, crio_err *err);
/* Writes what is pending and the end. Once. */
int tarsplit_finish(struct tarsplit *t, crio_err *err);

/* CRC-64 of ISO 3309; start with 0. */
uint64_t tarsplit_crc(uint64_t crc, const void *p, size_t n);
/* As it is in the data: eight bytes, most significant first. */
void tarsplit_crc_bytes(uint64_t crc, unsigned char ret[8]);

#endif
