/*
 * kata.h: the runtime of type vm: containers behind a containerd shim v2. A shim is a program of its own, one for each
 * pod, that is asked over ttrpc on a unix socket to create, start, exec, kill and delete; standard streams go through
 * fifos. The shim decides by the container's annotations which pod's shim serves it.
 *
 * Every request has a connection of its own: a request that hangs holds up nobody else. One Wait request stays open for
 * each container; its answer is the exit.
 */
#ifndef KATA_KATA_H
#define KATA_KATA_H

#include <pthread.h>
#include <crio/runtime.h>

#include "plugins/runtime/kata/pb.h"
#include "plugins/runtime/oci/json.h"
#include "plugins/runtime/oci/util.h"

#define TTRPC_MAX (4u << 20) /* of a message, as the protocol has it */
#define CLEANUP_NS (10 * NSEC_PER_SEC)
#define SHIM_NAMESPACE "default" /* CRI-O's, so that either daemon finds the other's */

struct kata;

/* ---- ttrpc.c */
struct reply {
	uint8_t *p; /* frames as they come in; the payload after ttrpc_take */
	size_t n, cap;
};
void reply_release(struct reply *r);
#define auto_reply __attribute__((cleanup(reply_release)))
/* One request of the task service and its answer. call NULL: 3 s for each step, for undoing. NOT_FOUND and so on as the
 * shim says; UNAVAILABLE: no shim there. */
int ttrpc_call(struct kata *k, crio_call *call, const char *address, const char *method, struct pb *request,
	       struct reply *ret, crio_err *err);
/* Sends the request and leaves the answer to be read from the descriptor returned. */
int ttrpc_send(struct kata *k, crio_call *call, const char *address, const char *method, struct pb *request,
	       crio_err *err);
/* Reads what has come. 1: the whole answer is in r (payload); 0: more to come; negative: the shim's error, or
 * UNAVAILABLE when the connection ended. Never blocks. */
int ttrpc_take(struct kata *k, int fd, struct reply *r, crio_err *err);

/* ---- stream.c: from fifos to CRI log files, on a thread of the instance */
struct log_file;
int streams_open(struct kata *k, crio_err *err);
void streams_close(struct kata *k);
/* size_max < 0: none. path "" is no log. */
struct log_file *log_open(const char *path, int64_t size_max);
int log_reopen(struct log_file *l); /* 0 or -errno */
/* Reads from fd (owned from here on) until its end; `stream` is "stdout", "stderr" or NULL for the shim's own log. */
int streams_add(struct kata *k, int fd, const char *stream, struct log_file *l, crio_err *err);
/* Waits until what was written before has been read and written, drops the container's streams, frees l. */
void streams_drop(struct kata *k, struct log_file *l);

struct task {
	struct task *next; /* mu */
	int refs;	   /* mu */
	struct kata *k;
	char id[132];
	/* final once it is in the table */
	char *address, *bundle, *log_path;
	struct log_file *log;
	bool terminal;
	int64_t log_size_max;
	int stdin_fd; /* keeps the fifo open */
	pid_t pid, shim_pid;
	uint64_t start, shim_start;
	/* the open Wait; only the callback reads it once the watch is on */
	int wait_fd;
	struct reply wait_reply;
	/* mu */
	int wait_watch;
	bool exited, shim_died, started;
	int32_t code;
	int64_t finished_ns;
};

struct exec;
struct making;

struct kata {
	const struct crio_host *host;
	crio_instance *in;
	char *path; /* of the shim */
	char *fifo_root;
	pthread_mutex_t mu;
	struct task *tasks; /* mu */
	struct exec *execs; /* mu */
	struct making *makings; /* mu */
	int closing_fd;	     /* readable once the instance closes */
	uint64_t seq;	    /* mu */
	char *version;	    /* mu */
	struct streams *streams;
};

/* ---- task.c: the table, the fifos, the exit */
struct task *task_get(struct kata *k, const char *id);
struct task *task_find(struct kata *k, const char *id); /* with mu held, and no reference */
void task_enter(struct task *t);			/* into the table; with mu held */
void task_unref(struct task *t);
static inline void task_unrefp(struct task **t)
{
	if (*t)
		task_unref(*t);
}
#define auto_task __attribute__((cleanup(task_unrefp)))
struct task *task_new(struct kata *k, const char *id, const char *bundle, const char *log_path);
bool task_add(struct task *t);
void task_drop(struct task *t);
int task_need(struct kata *k, const char *id, struct task **ret, crio_err *err);
char *task_fifo(struct kata *k, const char *id, const char *exec_id, const char *stream);
int task_fifos_make(struct task *t, bool with_stdin, crio_err *err);
int task_fifos_open(struct task *t, crio_err *err);
void task_fifos_remove(struct kata *k, const char *id);
/* Opens the Wait and watches it. */
int task_watch(struct task *t, crio_call *call, crio_err *err);
void task_set_exit(struct task *t, int code, int64_t when_ns, bool emit);
bool task_exited(struct task *t);
int task_record(struct task *t, crio_call *call, crio_err *err);
/* Fills a new task from its record; false: there is none or it is faulty. */
struct task *task_from_record(struct kata *k, crio_call *call, const char *id);
int64_t timestamp_ns(const uint8_t *p, size_t n, unsigned field); /* google.protobuf.Timestamp */

/* What the shim wrote there when it began; leaves what is known when there is nothing. */
void task_address_from_bundle(struct task *t);
/* A request that names the container and nothing else. */
int task_call(struct task *t, crio_call *call, const char *method, struct reply *ret, crio_err *err);

/* ---- create.c: the making of a container, which ends whole or undone whatever becomes of the call */
int kata_create(void *self, crio_call *call, const struct crio_runtime_create_args *args,
		struct crio_runtime_create_out *out, crio_err *err);
/* Waits until no create of that id is going on that its caller has left. */
int making_settle(struct kata *k, crio_call *call, const char *id, crio_err *err);
/* Ends the waits of those that are left, and waits for them. */
void makings_end(struct kata *k);
/* Kills and deletes the task on the shim's side, and the shim when that was its last; drops it and its files here. Best
 * effort, also when the call is over. */
void task_undo(struct task *t, crio_call *call);

/* ---- shim.c: the shim program */
int shim_start(struct kata *k, crio_call *call, struct task *t, crio_err *err);
/* `<shim> delete`, for a shim that is gone: whatever has become of the call. */
void shim_delete(struct kata *k, crio_call *call, struct task *t);
int shim_version(struct kata *k, crio_call *call, char **ret, crio_err *err);

/* ---- exec.c */
int kata_exec_start(void *self, crio_call *call, const struct crio_runtime_exec_args *args,
		    struct crio_runtime_exec_out *out, crio_err *err);
int kata_exec_wait(void *self, crio_call *call, const struct crio_runtime_exec_ref *args,
		   struct crio_runtime_exec_exit *out, crio_err *err);
int kata_exec_kill(void *self, crio_call *call, const struct crio_runtime_exec_ref *args,
		   struct crio_runtime_no_out *out, crio_err *err);
int kata_exec_resize(void *self, crio_call *call, const struct crio_runtime_exec_ref *args,
		     struct crio_runtime_no_out *out, crio_err *err);
void kata_exec_close_all(struct kata *k);

#endif
