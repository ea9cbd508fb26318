/* mktar.h: tar archives made by hand, well-formed or not, and trees to unpack them into. Only for tests. */
#ifndef TEST_MKTAR_H
#define TEST_MKTAR_H

#include <stdio.h>

#include "core/unpack/unpack.h"
#include "core/util/str.h"

/* A header block with everything set; change what the test is about, then mk_sum and mk_block. */
struct mk_head {
	char b[512];
};
void mk_head(struct mk_head *h, char type, const char *name, const char *link, long long size);
void mk_octal(struct mk_head *h, int at, int n, unsigned long long v);
void mk_sum(struct mk_head *h);
void mk_block(struct buf *t, struct mk_head *h); /* sums and adds */
void mk_data(struct buf *t, const void *p, size_t n); /* with padding */
/* An ordinary entry. data: content, its length taken with strlen; NULL none. */
void mk_entry(struct buf *t, char type, const char *name, const char *link, const char *data);
void mk_owned(struct buf *t, char type, const char *name, unsigned mode, unsigned uid, unsigned gid, const char *data);
void mk_device(struct buf *t, char type, const char *name, unsigned major, unsigned minor);
/* A pax header ('x' or 'g') of records "k=v\n" pairs: key, value, ..., NULL. */
void mk_pax(struct buf *t, char type, ...);
void mk_pax_raw(struct buf *t, char type, const void *p, size_t n);
/* 'L' or 'K'. */
void mk_long(struct buf *t, char type, const char *text);
void mk_end(struct buf *t);

/* A private directory under TMPDIR: <top>/root is the tree, <top>/canary a file that must stay as it is. */
struct place {
	char top[200];
	int lock; /* on it, against another program's sweep */
	int top_fd, root;
};
void place_new(struct place *p);
void place_free(struct place *p);
/* The canary is as it was and <top> has nothing but it, the root and what the test names. */
int place_clean(const struct place *p);

struct mem {
	const char *p;
	size_t n, at, step; /* step: bytes a read at most; 0: all */
};
ssize_t mem_read(void *mem, void *p, size_t n, crio_err *err);

/* Unpacks a plain or compressed archive from memory. split: tar-split data written here (a new file); -1 none. */
int mk_unpack(const void *p, size_t n, int root, enum crio_whiteout style, int split, struct unpack_result *ret,
	      crio_err *err);
/* Runs a shell command line, output to stderr; its exit code. */
int mk_sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A new unlinked file below the place. */
int place_file(const struct place *p);

#endif
