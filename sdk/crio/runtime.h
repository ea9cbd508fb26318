/*
 * crio/runtime.h: OCI runtimes and everything that runs containers (kind CRIO_KIND_RUNTIME).
 *
 * One instance serves one runtime handler of crio.conf. It owns the process side of its containers: the runtime
 * program, the monitor, exit reporting, exec. It never touches images, networks or the core's records. The bundle
 * (config.json and a mounted root file system) is prepared by the core; a plugin that needs it in another form (a
 * VM that takes block devices) reads `rootfs` rows instead.
 *
 * Object id of the thread model: the container id, or the sandbox id for sandbox_*.
 * Every operation named "idempotent" succeeds when its effect already holds: recovery after a crash depends on it.
 */
#ifndef CRIO_RUNTIME_H
#define CRIO_RUNTIME_H

#include <crio/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

enum crio_runtime_caps {
	CRIO_RUNTIME_CAP_EXEC_TTY = 1 << 0,
	CRIO_RUNTIME_CAP_ATTACH = 1 << 1,
	CRIO_RUNTIME_CAP_UPDATE = 1 << 2,
	CRIO_RUNTIME_CAP_PAUSE = 1 << 3,
	CRIO_RUNTIME_CAP_CHECKPOINT = 1 << 4,
	CRIO_RUNTIME_CAP_HOST_NETNS = 1 << 5,   /* containers join a network namespace of the host by path */
	CRIO_RUNTIME_CAP_ROOTFS_ROWS = 1 << 6   /* wants rootfs rows unmounted; the core then does not mount */
};

enum crio_cgroup_manager {
	CRIO_CGROUP_CGROUPFS = 1,
	CRIO_CGROUP_SYSTEMD = 2
};

enum crio_container_status {
	CRIO_CONTAINER_UNKNOWN = 0,
	CRIO_CONTAINER_CREATED = 1,
	CRIO_CONTAINER_RUNNING = 2,
	CRIO_CONTAINER_PAUSED = 3,
	CRIO_CONTAINER_STOPPED = 4
};

/* One mount of a root file system, in mount order. */
struct crio_mount_row {
	uint32_t size;
	uint32_t reserved;
	const char *type;
	const char *source;
	const char *target;          /* relative to the mountpoint; "" is the mountpoint itself */
	struct crio_strs options;
};
struct crio_mount_rows {
	const struct crio_mount_row *v;
	size_t n;
	size_t stride;
};

/* sandbox_create/sandbox_stop: a pod begins or ends. For runtimes that have a process for each pod (VMs, shim v2). */
struct crio_runtime_sandbox_args {
	uint32_t size;
	int32_t netns_fd;             /* -1: host network */
	const char *id;
	const char *bundle;           /* directory of the pod's own records; config.json is there */
	const char *netns_path;       /* "" : host network */
	const char *cgroup_parent;
	struct crio_map annotations;  /* already filtered by what the handler allows */
	int64_t created_ns;
};
struct crio_runtime_sandbox_out {
	uint32_t size;
	int32_t pid;                  /* 0: the sandbox has no process */
	uint64_t start_time;          /* of pid, field 22 of /proc/<pid>/stat */
};

struct crio_runtime_create_args {
	uint32_t size;
	uint32_t cgroup_manager;      /* enum crio_cgroup_manager */
	const char *id;
	const char *sandbox_id;
	const char *name;             /* k8s_<ctr>_<pod>_<ns>_<uid>_<attempt> */
	const char *bundle;           /* has config.json; pidfile and conmon-pidfile go here */
	const char *persist_dir;      /* kept over a reboot; the oom file goes here */
	const char *log_path;         /* "" : no log */
	const char *exit_dir;         /* exit files, named by container id */
	const char *attach_dir;       /* <attach_dir>/<id>/attach */
	const char *cgroup_parent;    /* of the pod, as in config.json's linux.cgroupsPath */
	const char *sandbox_netns;    /* path; "" host */
	int64_t log_size_max;         /* bytes; < 0: no limit */
	int64_t timeout_ns;           /* for the runtime's create */
	int32_t terminal;             /* booleans */
	int32_t stdin_open;
	int32_t stdin_once;
	int32_t no_pivot;
	int32_t log_to_journald;
	int32_t no_sync_log;
	struct crio_mount_rows rootfs;
	struct crio_strs monitor_env; /* KEY=value, after the plugin's own */
	const char *monitor_cgroup;   /* "" or "pod" or *.slice */
};
struct crio_runtime_create_out {
	uint32_t size;
	int32_t pid;                  /* the container's init */
	uint64_t start_time;          /* field 22 of /proc/<pid>/stat; 0 when it is already gone */
	int32_t monitor_pid;          /* 0: none */
	int32_t reserved;
	uint64_t monitor_start_time;
};

/* start, delete, pause, resume, stats, pids, state, reopen_log: an id and nothing else. */
struct crio_runtime_id_args {
	uint32_t size;
	int32_t force;                /* delete: also when it still runs */
	const char *id;
};
struct crio_runtime_no_out {
	uint32_t size;
	uint32_t reserved;
};

struct crio_runtime_kill_args {
	uint32_t size;
	int32_t signal;
	const char *id;
	int32_t all;                  /* every process of the container's cgroup */
	int32_t reserved;
};

struct crio_runtime_state_out {
	uint32_t size;
	uint32_t status;              /* enum crio_container_status */
	int32_t pid;
	int32_t exit_code;            /* when STOPPED; -1 unknown */
	int64_t finished_ns;          /* when STOPPED; 0 unknown */
	int32_t oom;
	int32_t reserved;
};

/* exec: the descriptors are pipes or, with tty, may be -1 and tty_fd is returned. */
struct crio_runtime_exec_args {
	uint32_t size;
	int32_t tty;
	const char *id;
	const char *process_json;     /* OCI runtime spec `process` object */
	int32_t stdin_fd, stdout_fd, stderr_fd; /* -1: /dev/null */
	int32_t reserved;
	struct crio_strs cgroup_procs;/* optional extra cgroup.procs to join before exec of the runtime */
};
struct crio_runtime_exec_out {
	uint32_t size;
	int32_t pid;                  /* host pid of the process, 0 when unknown */
	const char *exec_id;          /* handle for exec_wait, exec_kill, exec_resize */
	int32_t tty_fd;               /* with tty: the controlling side, the host's to close; else -1 */
	int32_t exit_fd;              /* readable once exec_wait would not wait; the host's to close. -1: a thread has to wait */
};
struct crio_runtime_exec_ref {
	uint32_t size;
	int32_t signal;               /* exec_kill */
	const char *id;
	const char *exec_id;
	uint16_t height, width;       /* exec_resize */
	uint32_t reserved;
};
struct crio_runtime_exec_exit {
	uint32_t size;
	int32_t exit_code;            /* 0..255; 128+signal */
	int32_t not_started;          /* 1: the runtime could not run the command; exit_code is the runtime's, 126, 127 or 255 */
	int32_t reserved;
	const char *message;          /* then: what the runtime said (it went to stderr_fd too); NULL or "" otherwise */
};

struct crio_runtime_resize_args {
	uint32_t size;
	uint16_t height, width;
	const char *id;
};

struct crio_runtime_update_args {
	uint32_t size;
	uint32_t reserved;
	const char *id;
	const char *resources_json;   /* OCI `linux.resources` */
};

struct crio_runtime_stats_out {
	uint32_t size;
	uint32_t reserved;
	const char *json;             /* cgroup figures, as `runc events --stats` data; for runtimes whose cgroups the host
	                                 cannot read (VMs) */
};
struct crio_runtime_pids_out {
	uint32_t size;
	uint32_t n;
	const int32_t *pids;          /* host pids */
};
struct crio_runtime_features_out {
	uint32_t size;
	uint32_t reserved;
	const char *json;             /* OCI runtime features document; "" when the runtime has none */
	const char *version;          /* "runc version 1.1.5" */
};

/* attach, port_forward: a descriptor, the host's to close. */
struct crio_runtime_fd_out {
	uint32_t size;
	int32_t fd;
};
/* The first byte of a packet from an attached container. */
enum crio_attach_stream {
	CRIO_ATTACH_STDOUT = 2,
	CRIO_ATTACH_STDERR = 3
};

struct crio_runtime_port_forward_args {
	uint32_t size;
	int32_t port;
	const char *sandbox_id;
	int32_t netns_fd;             /* of the pod; -1: the host's */
	int32_t reserved;
};

/* reconnect: what the core knows of a container after a restart of the daemon. */
struct crio_runtime_reconnect_args {
	uint32_t size;
	int32_t pid;
	uint64_t start_time;
	const char *id;
	const char *sandbox_id;
	const char *bundle;
	const char *persist_dir;
	const char *exit_dir;
	const char *attach_dir;
	int32_t monitor_pid;
	int32_t reserved;
	uint64_t monitor_start_time;
};

struct crio_runtime_create_row {
	const struct crio_runtime_create_args *v;
	size_t n;
	size_t stride;
};
struct crio_runtime_checkpoint_args {
	uint32_t size;
	int32_t leave_running;        /* checkpoint */
	const char *id;
	const char *image_dir;        /* exists; checkpoint fills it, restore reads it. Its content may be anybody's */
	const char *work_dir;         /* exists; for logs and the like of whatever does the work: dump.log, stats-dump, restore.log. restore: config.json's
	                                 annotation org.criu.config names criu.conf in it, which the plugin may write */
	/* restore: */
	struct crio_runtime_create_row create; /* one: what create() would be told */
	const char *process_label;    /* SELinux; NULL or "" none */
	const char *mount_label;
};

/* Lock class M: main, C: control. `?` optional: NULL means UNSUPPORTED unless said otherwise. */
struct crio_runtime_ops {
	/* M ?  NULL: pods need nothing. */
	int (*sandbox_create)(void *self, crio_call *call, const struct crio_runtime_sandbox_args *args, struct crio_runtime_sandbox_out *out, crio_err *err);
	/* M ?  Ends the pod's own process, after its containers. Idempotent. */
	int (*sandbox_stop)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_no_out *out, crio_err *err);
	/* M    Creates without starting. On failure nothing of it is left. */
	int (*create)(void *self, crio_call *call, const struct crio_runtime_create_args *args, struct crio_runtime_create_out *out, crio_err *err);
	/* M    Runs the container's process. PRECONDITION unless created. */
	int (*start)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_no_out *out, crio_err *err);
	/* C    Sends a signal. Idempotent: a container that is gone or stopped is success. */
	int (*kill)(void *self, crio_call *call, const struct crio_runtime_kill_args *args, struct crio_runtime_no_out *out, crio_err *err);
	/* C    Removes what create left: runtime state, cgroup, sockets, exit file. Idempotent. */
	int (*del)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_no_out *out, crio_err *err);
	/* C    NOT_FOUND when the runtime does not know it. */
	int (*state)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_state_out *out, crio_err *err);
	/* C    Takes a container over that an earlier process of the daemon created: watches its exit, reports one that has
	 *      happened (as `out` and, later ones, as an event). The container is not touched. */
	int (*reconnect)(void *self, crio_call *call, const struct crio_runtime_reconnect_args *args, struct crio_runtime_state_out *out, crio_err *err);
	/* C    Starts a process in a running container and returns. */
	int (*exec_start)(void *self, crio_call *call, const struct crio_runtime_exec_args *args, struct crio_runtime_exec_out *out, crio_err *err);
	/* C    Waits for it, until the call's deadline; each exec is waited for exactly once, which frees the handle. When
	 *      the call ends first the process is left running and the handle stays: exec_kill, then wait again. */
	int (*exec_wait)(void *self, crio_call *call, const struct crio_runtime_exec_ref *args, struct crio_runtime_exec_exit *out, crio_err *err);
	/* C    Signals the exec and its descendants in its session. Idempotent. */
	int (*exec_kill)(void *self, crio_call *call, const struct crio_runtime_exec_ref *args, struct crio_runtime_no_out *out, crio_err *err);
	/* C ?  */
	int (*exec_resize)(void *self, crio_call *call, const struct crio_runtime_exec_ref *args, struct crio_runtime_no_out *out, crio_err *err);
	/* C ?  Connects to the container's streams and returns. fd: a SOCK_SEQPACKET socket. A packet from it is one byte, enum
	 *      crio_attach_stream, and at most 32767 of data; what is sent, at most 8192 bytes at once, is the container's stdin,
	 *      which an end of sending (shutdown) ends if the container wants that (stdin_once); its end is the container's. */
	int (*attach)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_fd_out *out, crio_err *err);
	/* C ?  */
	int (*resize)(void *self, crio_call *call, const struct crio_runtime_resize_args *args, struct crio_runtime_no_out *out, crio_err *err);
	/* C ?  PRECONDITION unless running. */
	int (*reopen_log)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_no_out *out, crio_err *err);
	/* C ?  */
	int (*update)(void *self, crio_call *call, const struct crio_runtime_update_args *args, struct crio_runtime_no_out *out, crio_err *err);
	/* C ?  */
	int (*pause)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_no_out *out, crio_err *err);
	int (*resume)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_no_out *out, crio_err *err);
	/* C ?  NULL: the core reads the cgroup itself. */
	int (*stats)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_stats_out *out, crio_err *err);
	/* C ?  NULL: the core reads cgroup.procs. */
	int (*pids)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_pids_out *out, crio_err *err);
	/* C ?  id is "". */
	int (*features)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_features_out *out, crio_err *err);
	/* C ?  Connects to a port inside the pod and returns. fd: a stream socket. NULL: the core dials inside the pod's network namespace. */
	int (*port_forward)(void *self, crio_call *call, const struct crio_runtime_port_forward_args *args, struct crio_runtime_fd_out *out, crio_err *err);
	/* C ?  UNAVAILABLE when the container's monitor has died. */
	int (*probe_monitor)(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_no_out *out, crio_err *err);
	/* M ?  checkpoint: writes down a running container, which may be paused and with leave_running is afterwards what it was
	 *      before, also on failure. restore: in place of create() and start(); on failure nothing of it is left. Both UNSUPPORTED
	 *      when the runtime behind the plugin cannot. */
	int (*checkpoint)(void *self, crio_call *call, const struct crio_runtime_checkpoint_args *args, struct crio_runtime_no_out *out, crio_err *err);
	int (*restore)(void *self, crio_call *call, const struct crio_runtime_checkpoint_args *args, struct crio_runtime_create_out *out, crio_err *err);
};

#ifdef __cplusplus
}
#endif
#endif
