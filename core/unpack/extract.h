/*
 * extract.h: entries of one layer into a tree, below a directory descriptor and nowhere else.
 *
 * Confinement: a name is split into its directory and last component. The directory is opened with openat2 inside the
 * root (links on the way are resolved in it, as upstream's chrooted unpacking does); everything is then made, changed and
 * removed relative to that descriptor by the last component alone, never following a link there. ".." is refused.
 */
#ifndef UNPACK_EXTRACT_H
#define UNPACK_EXTRACT_H

#include <crio/storage.h>

#include "core/unpack/tar.h"

struct extract;

/* What is to happen with an entry's content and its place in the tar-split data. */
struct extract_step {
	bool open;   /* give the content to extract_write, then call extract_close */
	bool in_tree;/* the content can be read back from the tree under the entry's name */
	bool listed; /* the name is new in this layer: it may be written as a file record */
};

struct extract_totals {
	uint64_t file_bytes, disk_bytes, xattrs_skipped;
	bool duplicates; /* content that was in the tree was replaced by a later entry */
};

/* root stays the caller's. max_entries bounds directories made for names that came without them. */
int extract_new(int root, enum crio_whiteout style, uint64_t max_entries, struct extract **ret, crio_err *err);
/* From here on names of whiteouts are names like others. */
void extract_literally(struct extract *x);
void extract_free(struct extract *x); /* NULL is fine */
int extract_begin(struct extract *x, const struct tar_entry *e, struct extract_step *ret, crio_err *err);
/* Content at an offset of the open file. */
int extract_write(struct extract *x, const void *p, size_t n, uint64_t offset, crio_err *err);
/* Size, owner, mode, attributes, times. */
int extract_close(struct extract *x, const struct tar_entry *e, crio_err *err);
/* After the last entry: times of directories. */
int extract_finish(struct extract *x, struct extract_totals *ret, crio_err *err);

/* Removes from `name` ("a/b", clean; "": "/") of the tree's root the leading "/" and every "" and "." component.
 * CRIO_E_INVALID for "..", a component over 255 bytes, or more than cap-1 bytes. */
int extract_clean(const char *name, char *ret, size_t cap, crio_err *err);

#endif
