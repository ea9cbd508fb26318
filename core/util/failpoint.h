/*
 * failpoint.h: named places where a test makes the daemon die, fail or wait. They exist only in programs that are compiled with
 * CRIO_FAILPOINTS (./configure --enable-failpoints, and tests/crash/crio-failpoints of any build); elsewhere they are the constant 0.
 *
 * One point is armed at a time, by the text NAME[:NTH]=ACTION, where NTH (from 1, the default) counts how often the point was
 * passed since, and ACTION is kill, error or delay:MILLISECONDS; or "trace=FILE": the name of each point passed is appended
 * there. The text is the environment's CRIO_FAILPOINT, or the first line of the file that CRIO_FAILPOINT_FILE names, which is
 * read again whenever it is replaced. crio --list-failpoints prints all names.
 */
#ifndef UTIL_FAILPOINT_H
#define UTIL_FAILPOINT_H

#ifdef CRIO_FAILPOINTS

#include <stdio.h>

#include "core/util/err.h"

struct failpoint {
	const char *name;
	unsigned hits; /* since the last arming. guarded by the module's lock */
};

/* 0, or an error (CRIO_E_IO) when the point is armed so. Thread-safe. */
int failpoint_pass(struct failpoint *p, crio_err *err);
void failpoint_list(FILE *f);

/* Makes a point known to failpoint_list: the linker collects the addresses. */
#define FAILPOINT_KNOW(p) static struct failpoint *p##_known __attribute__((section("failpoints"), used)) = &p

#define FAILPOINT(text, err)                        \
	({                                          \
		static struct failpoint here = { text, 0 }; \
		FAILPOINT_KNOW(here);               \
		failpoint_pass(&here, err);         \
	})

#else

#define FAILPOINT(text, err) 0

#endif

/* Where nothing can fail: only good for being killed at. */
#define FAILPOINT_CUT(text) (void)FAILPOINT(text, NULL)

#endif
