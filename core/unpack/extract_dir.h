/* extract_dir.h: the directories of a tree being unpacked: opened confined, made when missing, their times kept for the
 * end. Only for extract.c and whiteout.c. */
#ifndef UNPACK_EXTRACT_DIR_H
#define UNPACK_EXTRACT_DIR_H

#include <limits.h>
#include <sys/stat.h>

#include "core/unpack/extract.h"
#include "core/unpack/seen.h"

#define NAME_CAP 4096

/* Salts of struct seen: the same path in different roles. */
enum {
	SEEN_PATH,   /* came in this layer, or leads to one that did (CRIO_WHITEOUT_REMOVE only) */
	SEEN_OPAQUE, /* its lower content is gone */
	SEEN_LISTED  /* a directory that has its file record */
};

struct extract {
	int root;
	enum crio_whiteout style;
	bool literal;
	uint64_t max_made, made;
	struct seen seen;
	char dir[NAME_CAP]; /* the cached directory */
	int dir_fd;         /* -1: none */
	struct buf times;   /* path NUL struct timespec, for each directory entry */
	struct extract_totals totals;

	/* The entry being made. */
	char path[NAME_CAP];
	char target[NAME_CAP]; /* of a hard link */
	int fd;             /* the open file; -1 */
};

static inline uint64_t seen_path(const struct extract *x, const char *path, size_t n, int role)
{
	return seen_hash(&x->seen, path, n, (uint64_t)role);
}

/* The directory `path`, borrowed from the cache until the next call or dir_forget. Missing ones are made with `make`.
 * Without it: DIR_ABSENT, or DIR_BLOCKED when it or a parent is deleted (a whiteout), a file or a link to nothing. */
enum {
	DIR_ABSENT = 1,
	DIR_BLOCKED = 2
};
int dir_open(struct extract *x, const char *path, bool make, int *ret, crio_err *err);
/* The same, the caller's to close, not cached. */
int dir_resolve(struct extract *x, const char *path, bool make, int *ret, crio_err *err);
void dir_forget(struct extract *x);
/* Makes fd (an open directory) the cached one. */
void dir_remember(struct extract *x, const char *path, int fd);
int dir_set_opaque(struct extract *x, int fd, const char *path, crio_err *err);
int dir_keep_time(struct extract *x, const char *path, const struct tar_entry *e, crio_err *err);
int dir_apply_times(struct extract *x, crio_err *err);
/* path and all above it came in this layer (REMOVE style; nothing otherwise). */
int dir_mark(struct extract *x, const char *path, crio_err *err);

/* Splits x->path at its last '/': *ret_base is the last component, ret_dir gets what is before. */
void path_split(const char *path, char ret_dir[NAME_CAP], const char **ret_base);

static inline bool is_whiteout_dev(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && !st->st_rdev;
}

/* Takes away what is at `base` so that an entry can be made there. *ret_whiteout: it was a whiteout device. */
int extract_replace(struct extract *x, int parent, const char *base, const char *path, bool *ret_whiteout, crio_err *err);

/* whiteout.c: 1: the entry was a whiteout (or of AUFS's own), all is done; 0: it is an ordinary entry. */
int whiteout_apply(struct extract *x, const struct tar_entry *e, struct extract_step *ret, crio_err *err);

#endif
