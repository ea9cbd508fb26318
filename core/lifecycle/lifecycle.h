/*
 * lifecycle.h: pods and containers as the RPC services see them. Each function is one CRI operation in blocking form,
 * run on the worker thread of the request; it honours the call's deadline and cancellation as its comment says, and
 * never waits for another object's lock. Ids given by clients may be unique prefixes ("truncated") of at least one
 * character; ambiguity is CRIO_E_INVALID, absence CRIO_E_NOT_FOUND unless said otherwise.
 */
#ifndef LIFECYCLE_LIFECYCLE_H
#define LIFECYCLE_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/exec/call.h"
#include "core/lifecycle/config.h"
#include "core/util/json.h"

struct lifecycle;
struct pod;
struct container;

/* What lifecycle stands on; all outlive it. */
struct conf;
struct images;
struct plugins;
struct loop;
struct workers;
struct lifecycle_args {
	const struct conf *conf;
	struct images *images;
	struct plugins *plugins;
	struct loop *loop;
	struct workers *workers;
	bool rebooted, upgraded; /* what internal_wipe acts on; see marks.h */
};
/* Restores what earlier runs left (recover.c): known pods and containers, half-done work rolled back. */
int lifecycle_new(const struct lifecycle_args *args, crio_call *call, struct lifecycle **ret, crio_err *err);
/* The configuration of pods to come (handlers, workloads, ...). Takes a reference. CRIO_E_NOMEM. */
int lifecycle_set_conf(struct lifecycle *lc, const struct conf *conf, crio_err *err);
/* After plugins.d was read again: opens hook plugins that were missing and asks each which stages it wants. */
void lifecycle_reload_hooks(struct lifecycle *lc);
/* Before the daemon waits for its workers to be done: nothing is measured any more. NULL is fine. */
void lifecycle_stop_measuring(struct lifecycle *lc);
/* Containers keep running. */
void lifecycle_free(struct lifecycle *lc);

/* ---- pods ---- */

enum pod_state { POD_READY = 0, POD_NOTREADY = 1 }; /* numbers of the CRI */

/* A retry of a request that is done or in progress gets the same id (contract: semantics A). When the caller gives up the
 * work goes on to a stable state and waits for the retry. config is moved from when a pod is made of it: left empty, still
 * to be released. ret_id: full id, the caller's. */
int pod_run(struct lifecycle *lc, crio_call *call, struct pod_config *config, const char *runtime_handler,
	    char **ret_id, crio_err *err);
/* Idempotent; an unknown id is success. */
int pod_stop(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err);
int pod_remove(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err);

/* A copy of what a pod is now, made under its lock. Pointers are into the pod, which it holds a reference of; fields
 * that can change are copied. */
struct pod_status {
	struct pod *pod;
	const char *id, *name;
	const struct pod_config *config;  /* never changes after the pod is created; annotations filtered */
	const char *runtime_handler;
	enum pod_state state;
	int64_t created_ns;
	struct strv ips;
	char *netns_path;                 /* "" host network */
	char *plugins;                    /* "runtime=crun storage=overlay network=cni", and why; see plugin/select.h */
	char *info_json;                  /* verbose details, only when asked for; else NULL */
};
void pod_status_release(struct pod_status *s);
int pod_status(struct lifecycle *lc, const char *id, bool verbose, struct pod_status *ret, crio_err *err);

/* ---- containers ---- */

enum container_state { CONTAINER_CREATED = 0, CONTAINER_RUNNING = 1, CONTAINER_EXITED = 2, CONTAINER_UNKNOWN = 3 }; /* CRI */

/* config as in pod_run. */
int container_create(struct lifecycle *lc, crio_call *call, const char *pod_id, struct container_config *config,
		     char **ret_id, crio_err *err);
int container_start(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err);
/* Idempotent; unknown is success. timeout_s of grace after the stop signal, then KILL; 0: KILL at once. */
int container_stop(struct lifecycle *lc, crio_call *call, const char *id, int64_t timeout_s, crio_err *err);
int container_remove(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err);

struct container_status {
	struct container *container;
	const char *id, *name, *pod_id;
	const struct container_config *config;
	enum container_state state;
	int64_t created_ns, started_ns, finished_ns; /* 0: not yet */
	int32_t exit_code;                /* -1 unknown; meaningful when EXITED */
	const char *reason;               /* "", "Completed", "Error", "OOMKilled"; static */
	char *message;                    /* of a failed start */
	const char *image_id;             /* 64 hex */
	const char *image_ref;            /* repo@digest, or the id */
	const char *image_name;           /* what the client named */
	char *log_path;                   /* absolute; "" none */
	struct resources resources;       /* as in force */
	pid_t pid;                        /* 0 unless created or running */
	int64_t uid;                      /* of the process, resolved; -1 unknown */
	int64_t gid;
	int64_t *groups;
	size_t n_groups;
	const char *stop_signal;
	char *info_json;                  /* verbose, else NULL */
};
void container_status_release(struct container_status *s);
int container_status(struct lifecycle *lc, const char *id, bool verbose, struct container_status *ret, crio_err *err);

int container_update(struct lifecycle *lc, crio_call *call, const char *id, const struct resources *r, crio_err *err);
int container_reopen_log(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err);

/* Freezes a running or created container, or thaws a paused one. PRECONDITION in any other state, which the text names. A paused
 * container is RUNNING to the CRI. */
int container_pause(struct lifecycle *lc, crio_call *call, const char *id, bool pause, crio_err *err);
/* Writes what a running container is, memory and changed files included, to a new file (it replaces one that is there); the container
 * goes on. location: an absolute path. Goes on when its client leaves. UNSUPPORTED: not configured, no criu, or the runtime cannot. */
int container_checkpoint(struct lifecycle *lc, crio_call *call, const char *id, const char *location, crio_err *err);
/* What GET /containers/<id> shows of a container or, by a pod's id, of its infra container, in CRI-O's form. The caller puts it. */
int container_inspect(struct lifecycle *lc, const char *id, struct json_object **ret, crio_err *err);

#define EXEC_OUTPUT_MAX (16u << 20) /* bytes kept of each stream, as CRI-O keeps; the rest is drained */
struct exec_result {
	int32_t exit_code;
	struct buf out, err;
};
void exec_result_release(struct exec_result *r);
/* timeout_s <= 0: none. A time-out is no error: exit code -1 and "command timed out" on err. */
int container_exec_sync(struct lifecycle *lc, crio_call *call, const char *id, const struct strv *cmd, int64_t timeout_s,
			struct exec_result *ret, crio_err *err);

/* ---- processes and streams, for the streaming server (core/stream) ---- */

/* A process that was started in a container. Shared by references; thread-safe. It is killed when its container ends. */
struct process;
struct process_args {
	const struct strv *cmd;
	bool tty;
	int in, out, err; /* its standard descriptors, the caller's; -1: /dev/null. Not used with tty */
};
/* ret_tty: with tty, the controlling side of its terminal; the caller's. PRECONDITION: the container does not run. The caller
 * sees to its end: by process_end(), or by process_abandon(). */
int process_start(struct lifecycle *lc, crio_call *call, const char *container_id, const struct process_args *args,
		  struct process **ret, int *ret_tty, crio_err *err);
/* Readable once it has ended; as long as the process is referenced. */
int process_fd(const struct process *p);
/* Its exit code, 128 + signal included; once, after process_fd() is readable. ret_why: what the runtime said when it could not run the
 * command, the caller's; else NULL. */
int process_end(struct process *p, crio_call *call, int32_t *ret_code, char **ret_why, crio_err *err);
/* PRECONDITION without a terminal. Waits for the process to be there, a second at most. */
int process_resize(struct process *p, crio_call *call, uint16_t width, uint16_t height, crio_err *err);
/* Kills it and all of its session, and sees that it is reaped. Goes on when `like`, whose name it gets, is over, and takes two seconds at
 * most; without one (NULL) it has more patience with a runtime that is still making the process. Not after process_end(). */
void process_abandon(struct process *p, crio_call *like);
struct process *process_ref(struct process *p);
void process_unref(struct process *p);
static inline void process_unrefp(struct process **p) { process_unref(*p); }

/* Whether process_start() and container_attach() would be tried: NOT_FOUND, PRECONDITION. Memory only. */
int container_can_exec(struct lifecycle *lc, const char *id, crio_err *err);

struct attached {
	int fd;            /* as the SDK's runtime.h says of attach; non-blocking; the caller's */
	bool tty;
	bool stdin_stays;  /* the end of one client's input is not the end of the container's */
};
/* Connects to the streams of a container that is created or runs. */
int container_attach(struct lifecycle *lc, crio_call *call, const char *id, struct attached *ret, crio_err *err);
/* The size of the container's own terminal. */
int container_resize(struct lifecycle *lc, crio_call *call, const char *id, uint16_t width, uint16_t height, crio_err *err);

/* A pod's network, for connections into it. */
struct pod_door;
int pod_can_forward(struct lifecycle *lc, const char *id, crio_err *err); /* NOT_FOUND, PRECONDITION. Memory only */
int pod_door_open(struct lifecycle *lc, const char *pod_id, struct pod_door **ret, crio_err *err);
void pod_door_free(struct pod_door *d); /* NULL is fine */
int pod_door_fd(const struct pod_door *d); /* readable once the pod has stopped; as long as the door */
/* A non-blocking TCP socket in the pod's network namespace, for connecting to a port on its loopback; a code on failure. */
int pod_door_socket(struct pod_door *d, int family, crio_err *err);
/* Does its runtime connect to ports itself? Then so: a connected stream socket, non-blocking; a code on failure. */
bool pod_door_dials_itself(const struct pod_door *d);
int pod_door_connect(struct pod_door *d, crio_call *call, uint16_t port, crio_err *err);

/* ---- lists ---- */

struct list_filter {
	const char *id;        /* "" all; truncated ids are fine, no match is an empty list */
	const char *pod_id;    /* containers only */
	int state;             /* -1 all */
	const struct kvs *labels; /* all must match; NULL none */
};
/* References to what matches, in order of creation, newest last; released with *_unref. Never waits for an object's job. */
int pods_list(struct lifecycle *lc, const struct list_filter *f, struct pod ***ret, size_t *ret_n, crio_err *err);
int containers_list(struct lifecycle *lc, const struct list_filter *f, struct container ***ret, size_t *ret_n, crio_err *err);
void pod_unref(struct pod *p);
void container_unref(struct container *c);
/* By id; a reference. */
int pod_find(struct lifecycle *lc, const char *id, struct pod **ret, crio_err *err);
int container_find(struct lifecycle *lc, const char *id, struct container **ret, crio_err *err);
int pod_status_of(struct pod *p, bool verbose, struct pod_status *ret, crio_err *err);
int container_status_of(struct container *c, bool verbose, struct container_status *ret, crio_err *err);

/*
 * A place for the RPC layer to keep an object's list entry in wire form. wire_get returns the cached bytes (a reference)
 * or NULL when there are none or the object has changed since; wire_put stores bytes made from a status whose
 * `version` was read before. Thread-safe.
 */
struct wire {
	_Atomic int refs;
	size_t n;
	unsigned char p[];
};
struct wire *wire_new(size_t n); /* one reference; NULL without memory */
void wire_unref(struct wire *w);
struct wire *pod_wire_get(struct pod *p, uint64_t *ret_version);
void pod_wire_put(struct pod *p, uint64_t version, struct wire *w);
struct wire *container_wire_get(struct container *c, uint64_t *ret_version);
void container_wire_put(struct container *c, uint64_t version, struct wire *w);

/* The pod's containers, and those of other sandboxes of the same pod (by its uid). References; the array is the caller's. */
int pod_family(struct pod *p, struct container ***ret, size_t *ret_n, crio_err *err);

/* ---- events ---- */

enum lifecycle_event { EVENT_CREATED = 0, EVENT_STARTED = 1, EVENT_STOPPED = 2, EVENT_DELETED = 3 }; /* numbers of the CRI */
/* Something happened to a container, or to the pod itself (id is the pod's then). Called on the thread that did it, one at a
 * time, with none of our locks but that of the events: it may read statuses, must not wait, and must not change anything. */
typedef void (*lifecycle_event_fn)(void *arg, enum lifecycle_event type, struct pod *p, const char *id, int64_t at_ns);
/* The one listener; NULL: none any more, and none is in its function when this returns. */
void lifecycle_listen(struct lifecycle *lc, lifecycle_event_fn fn, void *arg);

/* ---- the node ---- */

/* NetworkReady of the default network. Strings are the caller's. Never runs a program. */
int lifecycle_network_ready(struct lifecycle *lc, bool *ret_ready, char **ret_reason, char **ret_message, crio_err *err);

#endif
