/*
 * crio/hook.h: code that looks at or changes pods and containers at set points of their life (kind CRIO_KIND_HOOK).
 *
 * A hook sees a snapshot and answers with adjustments; it never edits the core's objects. The core merges the answers
 * of all hooks in configured order, records which hook changed what, and validates the outcome.
 *
 * Object id of the thread model: the pod id.
 */
#ifndef CRIO_HOOK_H
#define CRIO_HOOK_H

#include <crio/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Stages, as bits of the mask that a hook asks for. */
enum crio_hook_stage {
	CRIO_HOOK_POD_RUN = 1 << 0,
	CRIO_HOOK_POD_STOP = 1 << 1,
	CRIO_HOOK_POD_REMOVE = 1 << 2,
	CRIO_HOOK_CTR_CREATE = 1 << 3,      /* may adjust */
	CRIO_HOOK_CTR_CREATED = 1 << 4,
	CRIO_HOOK_CTR_START = 1 << 5,
	CRIO_HOOK_CTR_STARTED = 1 << 6,
	CRIO_HOOK_CTR_UPDATE = 1 << 7,      /* may adjust */
	CRIO_HOOK_CTR_STOP = 1 << 8,
	CRIO_HOOK_CTR_REMOVE = 1 << 9,
	CRIO_HOOK_VALIDATE = 1 << 10        /* after all adjustments: may refuse */
};

struct crio_hook_args {
	uint32_t size;
	uint32_t stage;               /* one bit of enum crio_hook_stage */
	const char *pod_id;
	const char *container_id;     /* "" at pod stages */
	const char *pod_json;         /* {"id","name","namespace","uid","labels","annotations","runtimeHandler","ips",...} */
	const char *container_json;   /* {"id","name","labels","annotations","state",...}; "" at pod stages */
	const char *spec_json;        /* OCI runtime spec as it stands; "" at pod stages */
};
struct crio_hook_out {
	uint32_t size;
	uint32_t reserved;
	const char *adjust_json;      /* JSON merge patch of the spec (RFC 7396) or NULL */
	struct crio_map updates;      /* other containers: id -> `linux.resources` JSON */
	struct crio_map evict;        /* container id -> reason */
};

struct crio_hook_no_args {
	uint32_t size;
	uint32_t reserved;
};
struct crio_hook_stages_out {
	uint32_t size;
	uint32_t stages;
};

struct crio_hook_ops {
	/* C    Which stages this instance wants; asked after open, after reload, and after each CRIO_EVENT_READY that it emits. */
	int (*stages)(void *self, crio_call *call, const struct crio_hook_no_args *args, struct crio_hook_stages_out *out, crio_err *err);
	/* M    An error refuses what is being done at POD_RUN, CTR_CREATE, CTR_START, CTR_UPDATE and VALIDATE, and is logged at the other
	 * stages. At CTR_UPDATE nothing but linux.resources may be adjusted. */
	int (*run)(void *self, crio_call *call, const struct crio_hook_args *args, struct crio_hook_out *out, crio_err *err);
};

#ifdef __cplusplus
}
#endif
#endif
