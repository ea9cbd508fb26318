/* caps.h: capability names and sets. A set is a 64-bit mask by capability number. */
#ifndef LIFECYCLE_CAPS_H
#define LIFECYCLE_CAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/json.h"

#define CAP_BIT(n) ((uint64_t)1 << (n))

/* "CAP_CHOWN", "chown"; false: unknown to this kernel. */
bool cap_parse(const char *name, unsigned *ret);
/* "CAP_CHOWN"; static. */
const char *cap_text(unsigned n);
/* All that this kernel has. */
uint64_t caps_all(void);
/* Names to a mask; unknown: INVALID. "ALL" is all. */
int caps_from_names(const struct strv *names, uint64_t *ret, crio_err *err);
/* Names in number order; NULL without memory. */
struct json_object *caps_json(uint64_t set);
/* The CRI's rules: defaults unless add or drop has ALL; ALL first, then single adds, then single drops (an unknown
 * name to drop is ignored, one to add INVALID). */
int caps_apply(uint64_t defaults, const struct strv *add, const struct strv *drop, uint64_t *ret, crio_err *err);

#endif
