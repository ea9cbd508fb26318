/*
 * clamp.h: what this process may hand on. A daemon inside a container often lacks CAP_SYS_RESOURCE or parts of the
 * bounding set; asking the runtime for more makes every container fail. The facts are read once; each kind of clamping
 * is said once at warning level. With all capabilities nothing is ever changed.
 */
#ifndef LIFECYCLE_CLAMP_H
#define LIFECYCLE_CLAMP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/err.h"

struct clamp {
	uint64_t bounding; /* capability mask */
	bool sys_resource; /* CAP_SYS_RESOURCE effective */
	int oom_score_adj; /* of this process: the lowest it may give without it */
};
/* Facts about this process, read at the first call. Thread-safe. */
const struct clamp *clamp_get(void);
/* For tests: facts instead of the real ones; NULL: the real ones again. */
void clamp_set_for_test(const struct clamp *c);

uint64_t clamp_caps(uint64_t set);
int64_t clamp_oom_score_adj(int64_t v);
/* Soft and hard of RLIMIT number `resource`, called `name` in the warning. */
void clamp_rlimit(int resource, const char *name, uint64_t *soft, uint64_t *hard);

#endif
