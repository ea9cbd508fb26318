/* tar_pax.h: pax extended header records, and the sparse maps written in them. */
#ifndef UNPACK_TAR_PAX_H
#define UNPACK_TAR_PAX_H

#include "core/unpack/tar.h"

/* Texts point into the parsed buffer; NULL: no such record; of several the last one counts. */
struct pax {
	const char *path, *linkpath, *size, *uid, *gid, *mtime;
	const char *sparse_major, *sparse_minor, *sparse_name, *sparse_size, *sparse_realsize, *sparse_map;
	const char *sparse_numblocks;
	struct tar_xattr *xattrs;
	size_t n_xattrs, cap_xattrs;
	struct tar_extent *extents;
	size_t n_extents, cap_extents;
	bool pairs;         /* form 0.0: extents came as records of their own */
	bool pair_open;     /* an offset was seen, its length was not */
	uint64_t pair_offset;
};

enum pax_sparse {
	PAX_SPARSE_NONE,
	PAX_SPARSE_0, /* 0.0 and 0.1 */
	PAX_SPARSE_1_0
};

void pax_clear(struct pax *x); /* memory kept */
void pax_release(struct pax *x);
/* Replaces what x held. Writes NULs into text, which must stay. */
int pax_parse(struct pax *x, struct buf *text, uint32_t max_sparse, crio_err *err);
enum pax_sparse pax_sparse_form(const struct pax *x);
/* The file's size, where the records give one; *ret is unchanged otherwise. */
int pax_sparse_size(const struct pax *x, uint64_t *ret, crio_err *err);
/* Extents of form 0.1 from the map record; those of 0.0 are there already. */
int pax_sparse_map(struct pax *x, uint32_t max_sparse, crio_err *err);
int pax_add_extent(struct pax *x, uint64_t offset, uint64_t n, uint32_t max_sparse, crio_err *err);

#endif
