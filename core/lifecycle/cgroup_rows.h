/* cgroup_rows.h: between cgroup_rows.c and cgroup_stats.c only: the files of a group and what each says. */
#ifndef LIFECYCLE_CGROUP_ROWS_H
#define LIFECYCLE_CGROUP_ROWS_H

#include "core/lifecycle/cgroup_stats.h"

#define CGROUP_ROWS_MAX 24u

/* One word of a file of "key value" lines and where its number goes. */
struct cgroup_word {
	const char *key;
	size_t to;	/* offset in struct cgroup_stats */
	uint64_t times; /* 0: as it is */
};
struct cgroup_row {
	const char *controller, *file;
	unsigned what; /* the one enum cgroup_what it is part of */
	/* Takes in the file's text, which it may change. False: it makes no sense. */
	bool (*take)(const struct cgroup_row *row, char *text, struct cgroup_stats *s);
	const struct cgroup_word *words;
	size_t n_words;
	size_t to, has; /* of a number, and of the bool that says it was there; offsets, 0: none */
};
const struct cgroup_row *cgroup_rows(bool v2, size_t *ret_n);
/* After all rows: what follows from others, and limits that mean none. */
void cgroup_derive(bool v2, struct cgroup_stats *s);

#endif
