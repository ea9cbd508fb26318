/*
 * assemble.h: the tar a layer was unpacked from, byte for byte, from its tree and its tar-split data. To copy a layer to
 * another driver's store give the assembly to unpack_layer as its source.
 */
#ifndef UNPACK_ASSEMBLE_H
#define UNPACK_ASSEMBLE_H

#include "core/unpack/source.h"

struct assembly;
/* tree: the layer's own tree (storage op tree_open). tar_split_fd: the gzip JSON lines, ours or containers/storage's,
 * read from where it stands. Both stay the caller's and must stay open until assembly_free. */
int assembly_new(int tree, int tar_split_fd, struct assembly **ret, crio_err *err);
void assembly_free(struct assembly *a); /* NULL is fine */
/* A source_fn; arg is the struct assembly. CRIO_E_CORRUPT: a file is missing, is of another size or its checksum
 * differs (known at its end, so compare the digest of the whole too), or the tar-split data is damaged. */
ssize_t assembly_read(void *a, void *p, size_t n, crio_err *err);
/* All of it to a descriptor. *ret_size (may be NULL): bytes written. */
int assembly_copy(crio_call *call, struct assembly *a, int fd, uint64_t *ret_size, crio_err *err);

#endif
