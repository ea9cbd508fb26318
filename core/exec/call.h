/*
 * call.h: one request on its way through the daemon: deadline, cancellation, the memory of its results. It is the
 * SDK's crio_call. Thread-safe and reference-counted; a child call shares the parent's cancellation.
 */
#ifndef EXEC_CALL_H
#define EXEC_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/err.h"

#define CALL_NO_DEADLINE INT64_MAX

/* deadline_ns: monotonic. NULL without memory. The name ("RunPodSandbox") is copied. */
crio_call *call_new(const char *name, int64_t deadline_ns);
/* Ends at the earlier of the parent's deadline and timeout_ns from now (<= 0: the parent's); cancelled with it. Without a parent (NULL) it is a call
 * of its own: work that no request asked for. */
crio_call *call_sub(crio_call *parent, int64_t timeout_ns);
/* As call_sub, but without the parent's cancellation or deadline: for work that must go on (clean-up). */
crio_call *call_detached(crio_call *like, int64_t timeout_ns);
crio_call *call_ref(crio_call *c);
void call_unref(crio_call *c); /* NULL is fine */
static inline void call_unrefp(crio_call **c) { call_unref(*c); }
#define cleanup_call CLEANUP(call_unrefp)

const char *call_name(const crio_call *c);
const char *call_id(const crio_call *c); /* request id for the log, a UUID */
int64_t call_deadline(const crio_call *c);
int64_t call_left_ns(const crio_call *c); /* >= 0; CALL_NO_DEADLINE */
void call_cancel(crio_call *c);           /* and its children */
/* Cancelled or past the deadline. */
bool call_over(const crio_call *c);
/* Readable once cancelled (not at the deadline: wait with call_left_ns as time-out). -1 without descriptors. */
int call_cancel_fd(crio_call *c);
/* 0, or CRIO_E_CANCELLED / CRIO_E_DEADLINE with "<what>: ..." */
int call_check(const crio_call *c, const char *what, crio_err *err);
/* Waits until fd has `events` (poll.h), the call ends or timeout_ns passes (< 0: no own limit). 0: ready; CRIO_E_DEADLINE,
 * CRIO_E_CANCELLED. */
int call_wait_fd(crio_call *c, int fd, short events, int64_t timeout_ns, crio_err *err);
int call_sleep(crio_call *c, int64_t ns, crio_err *err);

/* Runs fn(arg) once when the call is cancelled (at once when it already is); not at the deadline. Returns an id for
 * call_unwatch, which waits while fn is running on another thread. fn must be short and must not take object locks. */
int call_on_cancel(crio_call *c, void (*fn)(void *arg), void *arg, crio_err *err);
void call_off_cancel(crio_call *c, int id);

/* Zeroed memory that lives as long as the call; NULL without memory or past CALL_MEM_MAX in all. */
#define CALL_MEM_MAX (64u << 20)
void *call_alloc(crio_call *c, size_t n);
char *call_strdup(crio_call *c, const char *s);

#endif
