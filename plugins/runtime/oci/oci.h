/*
 * oci.h: the OCI runtime library: containers run by an OCI runtime program (runc, crun, ...) under a conmon of their
 * own. The plugins oci, runc and crun are this library with other names and defaults.
 *
 * Threads: operations come from any thread, several at a time, also for one container; watches fire on the host's loop
 * thread. `mu` of the instance guards the tables and every field below that says so; it is never held over a program,
 * a wait or a call into the host that could run our own callbacks. A container lives until it is out of the table, its
 * watches are off, and the last operation that looked it up has let go of it.
 */
#ifndef OCI_OCI_H
#define OCI_OCI_H

#include <pthread.h>
#include <crio/runtime.h>

#include "cgroup.h"
#include "json.h"
#include "util.h"

#define MESSAGE_MAX 4096 /* of a runtime's or monitor's own words in an error */
#define RUNTIME_OUT_MAX (1u << 20)
#define CLEANUP_NS (10 * NSEC_PER_SEC)	 /* for everything that undoing a failed create may take, each step */
#define EXIT_GRACE_NS (5 * NSEC_PER_SEC) /* between a container's death and its exit file */
#define STATE_VERSION "1"

/* What differs between the plugins. */
struct oci_profile {
	const char *program; /* looked up in PATH when no path is configured; NULL: the handler's name */
	bool fifo_state;     /* <root>/<id>/exec.fifo exists exactly until the container is started */
	/* exec hands a terminal over by a console socket (console.h), attached; runc takes one for a detached exec only. */
	bool console_socket;
};

struct exec;
struct ctr;

/* A directory that monitors write exit files to; all are watched by one inotify descriptor. */
struct exit_dir {
	struct exit_dir *next;
	char *path;
	int wd;
};

struct oci {
	const struct crio_host *host;
	crio_instance *in;
	const struct oci_profile *profile;
	char *path; /* of the runtime, absolute */
	char *root;
	char *monitor; /* conmon, absolute; "" when not found: only creating needs it */
	struct cgroups cgroups;
	pthread_mutex_t mu;
	struct ctr *ctrs[256];	    /* mu; by hash of the id */
	struct exec *execs;	    /* mu */
	uint64_t exec_seq;	    /* mu */
	struct exit_dir *exit_dirs; /* mu */
	int inotify;
	int inotify_watch;
	char *features, *version; /* mu; asked once */
};

struct ctr {
	struct ctr *next; /* mu */
	struct oci *o;
	int refs; /* mu */
	char id[132];
	char *bundle, *persist_dir, *exit_dir, *attach_dir; /* final once it is in the table */
	char *monitor_cgroup;				    /* the conmon's own cgroup, cgroupfs only; "" none */
	bool systemd;
	/* set by create or reconnect before watches are on, then constant */
	pid_t pid, monitor_pid;
	uint64_t start, monitor_start;
	char *cgroup; /* the container's, NULL unknown */
	char *outer;  /* the group that is in, which is the pod's; NULL none */
	int64_t outer_kills; /* what that one's cgroups_oom_kills was at the beginning */
	/* mu */
	int pidfd, monitor_fd;
	int pid_watch, monitor_watch,
	    grace_timer; /* ids of the host; 0: none. Stay set once used: stale ids are harmless */
	bool exited, monitor_died, deleting, killed; /* killed: by us */
	int32_t code, oom;
	int64_t finished_ns;
};

/* oci.c */
int oci_open(const struct oci_profile *profile, const struct crio_host *host, crio_instance *in, crio_call *call,
	     void **self, crio_err *err);
void oci_close(void *self);
int oci_check(void *self, crio_call *call, crio_err *err);
extern const struct crio_runtime_ops oci_ops;
/* The options of every OCI plugin, with its own defaults of `path` and `root`. */
#define OCI_OPT(type_, name_, dflt_, help_, min_, max_, flags_)                                                        \
	{                                                                                                              \
		.size = sizeof(struct crio_option), .type = (type_), .name = (name_), .dflt = (dflt_),                 \
		.help = (help_), .min = (min_), .max = (max_), .flags = (flags_)                                       \
	}
#define OCI_OPTIONS(path_dflt)                                                                                         \
	OCI_OPT(CRIO_OPT_STR, "path", path_dflt, "runtime program; empty: looked up in PATH", 0, 0, 0),                \
	    OCI_OPT(CRIO_OPT_STR, "root", "", "directory of the runtime's own state; empty: /run/crun", 0, 0, 0),      \
	    OCI_OPT(CRIO_OPT_STR, "monitor_path", "", "conmon program; empty: looked up in PATH", 0, 0, 0),            \
	    OCI_OPT(CRIO_OPT_STRS, "monitor_env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", \
		    "environment of conmon, KEY=value", 0, 0, 0),                                                      \
	    OCI_OPT(CRIO_OPT_STR, "monitor_cgroup", "", "where conmon runs: empty or pod, or a systemd slice", 0, 0,   \
		    0),                                                                                                \
	    OCI_OPT(CRIO_OPT_STR, "monitor_log_level", "info", "log level given to conmon", 0, 0, 0),                  \
	    OCI_OPT(CRIO_OPT_MS, "create_timeout", "240s", "longest time for creating a container", 1, 3600000, 0),    \
	    OCI_OPT(CRIO_OPT_BOOL, "no_sync_log", "false", "conmon does not sync the log when the container ends", 0,  \
		    0, 0)

/* ctr.c: the table */
struct ctr *ctr_new(struct oci *o, const char *id, const char *bundle, const char *persist_dir, const char *exit_dir,
		    const char *attach_dir);	    /* one reference; NULL without memory */
/* c->cgroup is there: the rest follows. Once, before watches are on. */
void ctr_know_group(struct ctr *c);
bool ctr_add(struct ctr *c);			    /* the table takes a reference of its own; false: the id is there */
struct ctr *ctr_get(struct oci *o, const char *id); /* a reference, or NULL */
void ctr_unref(struct ctr *c);
/* Out of the table with its watches off. */
void ctr_drop(struct ctr *c);
static inline void ctr_unrefp(struct ctr **c)
{
	if (*c)
		ctr_unref(*c);
}
#define auto_ctr __attribute__((cleanup(ctr_unrefp)))
/* What clean-up must know of a container whose creation a crash cut short, as a record of the host. */
int ctr_record(struct ctr *c, crio_call *call, crio_err *err);
struct ctr *ctr_from_record(struct oci *o, crio_call *call, const char *id);

/* watch.c: exits */
int watch_open(struct oci *o, crio_err *err);
void watch_close(struct oci *o);
int watch_exit_dir(struct oci *o, const char *dir, crio_err *err); /* before the monitor can write there */
int watch_arm(struct ctr *c, crio_err *err); /* watches container and monitor, and looks for an exit that was earlier */
/* Looks for the exit file. True: the container has exited. With `emit` the event goes out, the first time. */
bool watch_look(struct ctr *c, bool emit);

/* run.c: the runtime program */
struct run_args {
	const char *what;  /* "start": in messages */
	struct list argv;  /* after the program and its global options */
	const char *input; /* for stdin; may be NULL */
	bool systemd;
};
/* Runs it. Failure of the program is INTERNAL with its words. `out` may be NULL. */
int run(struct oci *o, crio_call *call, struct run_args *a, struct crio_bytes *out, crio_err *err);
/* argv of the runtime with its global options, for those who spawn it themselves. */
void run_argv(struct oci *o, struct list *argv, bool systemd);
void run_env(struct list *env);
/* `runtime delete -f` whatever has become of the call: for undoing. */
void run_delete_detached(struct oci *o, crio_call *call, const char *id);
/* Is there a state directory of the runtime for it? */
bool run_knows(struct oci *o, const char *id);
/* Removes the record of a container that the runtime itself cannot read. */
void run_forget(struct oci *o, const char *id);

/* conmon.c */
int conmon_create(void *self, crio_call *call, const struct crio_runtime_create_args *args,
		  struct crio_runtime_create_out *out, crio_err *err);
/* The same for one that criu restores; it runs then. */
int conmon_restore(struct oci *o, crio_call *call, const struct crio_runtime_checkpoint_args *args,
		   struct crio_runtime_create_out *out, crio_err *err);
/* Ends what is left of the monitor and removes its traces: cgroup, sockets, exit file. */
void conmon_remove(struct ctr *c);
/* For a container known only by its record: ends the conmon, runtime and processes of a creation that was cut short by the
 * daemon's end. They are where the record says, in the monitor's cgroup, and in the one of the specification. */
void conmon_end_strangers(struct ctr *c);
/* Does its command line name this container? */
bool is_conmon_of(pid_t pid, const char *id);
/* The number in a file of the bundle: "conmon-pidfile". 0, or -1. */
int read_pidfile(struct ctr *c, const char *name, pid_t *ret);
/* scope.c: moves a process into a transient scope below `slice`. */
int scope_start(struct oci *o, crio_call *call, const char *unit, const char *slice, pid_t pid, crio_err *err);

/* exec.c */
int exec_start(void *self, crio_call *call, const struct crio_runtime_exec_args *args,
	       struct crio_runtime_exec_out *out, crio_err *err);
int exec_wait(void *self, crio_call *call, const struct crio_runtime_exec_ref *args, struct crio_runtime_exec_exit *out,
	      crio_err *err);
int exec_kill(void *self, crio_call *call, const struct crio_runtime_exec_ref *args, struct crio_runtime_no_out *out,
	      crio_err *err);
int exec_resize(void *self, crio_call *call, const struct crio_runtime_exec_ref *args, struct crio_runtime_no_out *out,
		crio_err *err);
void exec_close_all(struct oci *o);

/* checkpoint.c */
int op_checkpoint(void *self, crio_call *call, const struct crio_runtime_checkpoint_args *args,
		  struct crio_runtime_no_out *out, crio_err *err);
int op_restore(void *self, crio_call *call, const struct crio_runtime_checkpoint_args *args,
	       struct crio_runtime_create_out *out, crio_err *err);

/* attach.c */
int attach(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_fd_out *out,
	   crio_err *err);
int resize(void *self, crio_call *call, const struct crio_runtime_resize_args *args, struct crio_runtime_no_out *out,
	   crio_err *err);
int reopen_log(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_no_out *out,
	       crio_err *err);

#endif
