/*
 * hooks.h: the hook plugins of crio.plugins.hooks, in that order, at the stages of pods and containers (sdk/crio/hook.h). The
 * core knows none of them by name. A plugin that fails, or is not there, refuses what was asked for; where nothing can be refused
 * any more, and for an entry "name?", its failure is logged. Thread-safe. Private to core/lifecycle.
 */
#ifndef LIFECYCLE_HOOKS_H
#define LIFECYCLE_HOOKS_H

#include "core/lifecycle/inner.h"
#include "core/util/json.h"

struct hooks;

/* Opens them. What cannot be opened is logged here, and again tried when it is needed. */
int hooks_new(struct lifecycle *lc, crio_call *call, struct hooks **ret, crio_err *err);
/* Waits for what hooks have asked of other containers. NULL is fine. */
void hooks_free(struct hooks *h);
/* After a reload: opens what is missing and asks each again which stages it wants. */
void hooks_refresh(struct hooks *h, crio_call *call);

/* A stage of a pod; only CRIO_HOOK_POD_RUN can fail. */
int hooks_pod(struct pod *p, crio_call *call, uint32_t stage, crio_err *err);
/* A stage of a container that adjusts nothing; only CRIO_HOOK_CTR_START can fail. */
int hooks_container(struct container *c, crio_call *call, uint32_t stage, crio_err *err);
/* CRIO_HOOK_CTR_CREATE and then CRIO_HOOK_VALIDATE on the spec that is to be; *spec is replaced by what they make of it. What
 * changed is noted in its annotations. */
int hooks_create(struct container *c, crio_call *call, struct json_object **spec, crio_err *err);
/* CRIO_HOOK_CTR_UPDATE on a spec with the new resources. *ret_changed: a hook has changed them again. */
int hooks_update(struct container *c, crio_call *call, struct json_object **spec, bool *ret_changed, crio_err *err);

/* ---- hooks_doc.c: what a hook sees and may change; pure ---- */

#define HOOKS_ANNOTATION "hooks.crio.io" /* in config.json: who changed what */

/* Texts for struct crio_hook_args, the caller's; NULL without memory. */
char *hooks_pod_json(struct pod *p);
char *hooks_container_json(struct container *c);
/* What must be as it was: taken before the first change. A deep copy; NULL without memory. */
struct json_object *hooks_kept(const struct json_object *spec);
/* Is the changed spec one that we can run and recover? */
int hooks_check(const struct json_object *spec, const struct json_object *kept, crio_err *err);
/* Members of an adjustment, two deep: "process.env linux.devices", into b. */
void hooks_members(const struct json_object *patch, struct buf *b);

#endif
