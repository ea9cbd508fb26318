/*
 * names.h: the names of pods and containers, and who holds them. A name is held from the moment a request starts to
 * make the object until the object is removed; a request that finds its name held is a retry of the kubelet and gets
 * the same object. Thread-safe.
 */
#ifndef LIFECYCLE_NAMES_H
#define LIFECYCLE_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/exec/call.h"
#include "core/lifecycle/config.h"

/* "k8s_<pod>_<namespace>_<uid>_<attempt>". INVALID names the component. The caller's. */
int name_of_pod(const struct pod_config *p, char **ret, crio_err *err);
/* "k8s_POD_<pod>_<namespace>_<uid>_<attempt>": the infra container. */
int name_of_infra(const struct pod_config *p, char **ret, crio_err *err);
/* "k8s_<container>_<pod>_<namespace>_<uid>_<attempt>". */
int name_of_container(const struct pod_config *p, const struct container_config *c, char **ret, crio_err *err);

enum name_state {
	NAME_BUSY,   /* being made; `stage` says how far */
	NAME_PARKED, /* made, but its request had gone: waits for the retry */
	NAME_DONE    /* made and known */
};
struct name_holder {
	char id[65];
	enum name_state state;
	const char *stage; /* static text; "" none yet */
};

struct names;
struct names *names_new(void); /* NULL without memory */
void names_free(struct names *n);

/* Takes the name for id, state BUSY. EXISTS: *ret_holder (may be NULL) tells who holds it. */
int names_reserve(struct names *n, const char *name, const char *id, struct name_holder *ret_holder, crio_err *err);
/* For recovery: takes it in state DONE. */
int names_restore(struct names *n, const char *name, const char *id, crio_err *err);
/* How far the work is; `stage` must be static. */
void names_stage(struct names *n, const char *name, const char *stage);
/* The work is done and its request lives. */
void names_done(struct names *n, const char *name);
/* The work is done but its request has gone; expires at expire_ns (monotonic). */
void names_park(struct names *n, const char *name, int64_t expire_ns);
/* Lets go. Waiters wake and may reserve. Only when `id` holds it. */
void names_release(struct names *n, const char *name, const char *id);

/*
 * What a retry does: waits while the name is BUSY, until the call ends or max_wait_ns is over. Then
 *   0 and *ret: PARKED (which becomes DONE: the caller owns the object's fate again) or DONE;
 *   CRIO_E_NOT_FOUND: the work failed and the name is free: reserve again;
 *   DEADLINE, CANCELLED: still BUSY; the text has upstream's wording with the stage.
 * `kind` is "pod" or "ctr" (for the text).
 */
int names_wait(struct names *n, const char *kind, const char *name, crio_call *call, int64_t max_wait_ns,
	       struct name_holder *ret, crio_err *err);
/* The next PARKED name past its time, made DONE so that nobody takes it, for the caller to remove the object. False:
 * none; *ret_next_ns is then when the next is due (INT64_MAX none). */
bool names_expired(struct names *n, int64_t now_ns, char **ret_name, char ret_id[65], int64_t *ret_next_ns);
/* The id that holds name, or NOT_FOUND. */
int names_get(struct names *n, const char *name, struct name_holder *ret, crio_err *err);

#endif
