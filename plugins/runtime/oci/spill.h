/*
 * spill.h: what a runtime writes in create beyond what its pipes hold. conmon reads neither of them before the runtime has ended, so
 * that a runtime that says more would wait for ever: we read on in conmon's place, and keep the beginning.
 */
#ifndef OCI_SPILL_H
#define OCI_SPILL_H

#include "util.h"

#define SPILL_KEEP 1024 /* bytes of the beginning, and of the end, for a message */

struct spill {
	int out, err;    /* reading ends of its standard output and error, -1 */
	size_t head_n;
	uint64_t taken;  /* from err */
	char head[SPILL_KEEP + 1];
};
#define SPILL_INIT {.out = -1, .err = -1}

/* Looks at the pipes of the runtime that this conmon has started (0: not known yet), and takes from one that is filling up.
 * Returns in how many nanoseconds to look again. */
int64_t spill_look(struct spill *s, pid_t conmon);
/* After a failed create, in which conmon has read `message` (NULL or ""): the words for an error, or NULL when `message` is all.
 * They have at most SPILL_KEEP bytes of the beginning and as many of the end. */
char *spill_message(struct spill *s, const char *message);
void spill_release(struct spill *s);
#define auto_spill __attribute__((cleanup(spill_release)))

#endif
