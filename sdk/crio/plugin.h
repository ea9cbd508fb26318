/*
 * crio/plugin.h: what every plugin exports, and what the host gives it.
 *
 * A plugin is one shared object, <plugindir>/<kind>/<name>.so, with one exported function
 * <name>_LTX_crio_plugin_entry (CRIO_PLUGIN_REGISTER defines it) that returns a constant struct crio_plugin. The host
 * exports no symbols: all services come through struct crio_host.
 *
 * Life of a plugin:
 *   load     the file is checked (owner, mode, ELF bounds), probed once in a child process (open, check, close), then
 *            loaded; the descriptor is copied with the smaller of both sizes.
 *   open     once per instance (a runtime handler, a storage root, a network): options are final, state is readable.
 *   ops      as the thread model allows.
 *   reload   new values for reloadable options.
 *   close    no operation is in progress and none will start. Modules are never unloaded.
 *
 * A plugin must not: fork, setns or unshare in the host's threads; install signal handlers; change the environment,
 * umask, working directory or stdio of the process; exit or abort. The services below do the first group for it.
 */
#ifndef CRIO_PLUGIN_H
#define CRIO_PLUGIN_H

#include <crio/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CRIO_PLUGIN_MAGIC 0x6f497243u /* "CrIo", little endian */
/* Same major: any minor loads. While major is 0 the ABI may still change between releases, each with a new major 0
 * minor that the loader requires to be equal; see doc/design/plugin-abi.md. */
#define CRIO_ABI_MAJOR 0u
#define CRIO_ABI_MINOR 3u

enum crio_kind {
	CRIO_KIND_RUNTIME = 1,
	CRIO_KIND_STORAGE = 2,
	CRIO_KIND_NETWORK = 3,
	CRIO_KIND_HOOK = 4
};

/*
 * Which operations the host may run at the same time within one instance. Operations are of two lock classes, given
 * for each in its kind's header: main (create, start, setup, apply, ...) and control (kill, state, stats, delete,
 * resize, ...). A control operation never waits for a main operation of the same object.
 */
enum crio_threads {
	CRIO_THREADS_SERIAL = 1,     /* one main and one control operation at a time */
	CRIO_THREADS_PER_OBJECT = 2, /* one main and one control operation at a time for each object id */
	CRIO_THREADS_PARALLEL = 3    /* any number; the plugin locks for itself */
};

enum crio_log_level {
	CRIO_LOG_ERROR = 1,
	CRIO_LOG_WARN = 2,
	CRIO_LOG_INFO = 3,
	CRIO_LOG_DEBUG = 4,
	CRIO_LOG_TRACE = 5
};

/* ---- options ------------------------------------------------------------------------------------------------- */

enum crio_opt_type {
	CRIO_OPT_STR = 1,
	CRIO_OPT_BOOL = 2,
	CRIO_OPT_INT = 3,
	CRIO_OPT_STRS = 4,
	CRIO_OPT_MS = 5 /* a duration such as "90s" or "1m30s"; read with crio_host.opt_int in milliseconds */
};

enum crio_opt_flags {
	CRIO_OPT_RELOADABLE = 1 << 0,
	CRIO_OPT_REQUIRED = 1 << 1,
	CRIO_OPT_PATH = 1 << 2 /* must be absolute */
};

/*
 * One option a plugin understands. Values come, the later winning, from: `dflt`, /etc/crio/plugins.d/<kind>-<name>.conf,
 * storage.conf and storage_option (storage only), and the handler's own settings in crio.conf. The host checks type
 * and range and refuses unknown names before the plugin is opened.
 */
struct crio_option {
	uint32_t size;
	uint32_t type;        /* enum crio_opt_type */
	const char *name;     /* lower_snake_case */
	const char *dflt;     /* as written in a file; NULL: unset. STRS: comma-separated */
	const char *help;     /* one line, ends without a full stop; units named */
	int64_t min, max;     /* INT and MS: inclusive; both 0: no bounds */
	uint32_t flags;       /* enum crio_opt_flags */
	uint32_t reserved;
};

/* ---- events (crio_host.emit) --------------------------------------------------------------------------------- */

enum crio_event_type {
	CRIO_EVENT_EXIT = 1,       /* a container's main process ended; struct crio_event_exit */
	CRIO_EVENT_READY = 2,      /* the instance's readiness changed; struct crio_event_ready */
	CRIO_EVENT_OOM = 3,        /* the kernel killed a process of the container for memory; struct crio_event_exit with
	                              only id and time_ns */
	CRIO_EVENT_MONITOR_DIED = 4 /* the container's monitor is gone; struct crio_event_exit with only id and time_ns */
};

struct crio_event_exit {
	uint32_t size;
	int32_t exit_code;   /* 0..255; 128+signal for a signal; -1 unknown */
	const char *id;      /* container id */
	int64_t time_ns;     /* when it ended, Unix epoch; 0 unknown */
	int32_t oom;         /* 1 when killed for memory */
	int32_t signal;      /* 0 when unknown or not by signal */
};

struct crio_event_ready {
	uint32_t size;
	int32_t ready;       /* 0 or 1 */
	const char *reason;  /* one CamelCase word, "" when ready */
	const char *message; /* for people, "" when ready */
};

/* ---- host services ------------------------------------------------------------------------------------------- */

/* An instance as the host sees it; passed back in every host call. Opaque. */
typedef struct crio_instance crio_instance;

/*
 * A program to run. The host starts it without copying the daemon's memory, in a clean state: only the listed fds,
 * default signal dispositions, empty signal mask, its own process group.
 */
struct crio_spawn {
	uint32_t size;
	uint32_t flags;              /* enum crio_spawn_flags */
	const char *path;            /* absolute */
	struct crio_strs argv;       /* argv[0] included */
	struct crio_strs env;        /* KEY=value; the child gets exactly these */
	const char *cwd;             /* optional; "/" when NULL */
	int32_t stdin_fd;            /* -1: /dev/null */
	int32_t stdout_fd;           /* -1: captured when .capture, else /dev/null */
	int32_t stderr_fd;           /* likewise */
	int32_t netns_fd;            /* -1: the host's; else setns before exec */
	const int32_t *fds;          /* extra descriptors, given to the child as 3, 4, ... */
	size_t n_fds;
	const char *const *cgroup_procs; /* optional: NULL-terminated list of cgroup.procs paths the child joins first */
	struct crio_bytes stdin_data;/* fed to stdin when n > 0 (stdin_fd must be -1) */
	size_t stdout_limit;         /* bytes kept when capturing; more is drained and dropped. 0: 1 MiB */
	size_t stderr_limit;         /* 0: 64 KiB */
	const int64_t *oom_score_adj;/* optional; clamped to what the daemon may give */
};

enum crio_spawn_flags {
	CRIO_SPAWN_CAPTURE = 1 << 0,  /* run to its end, collect output; killed with its process group at the deadline */
	CRIO_SPAWN_DETACHED = 1 << 1, /* return at once with pid and pidfd; the host still reaps it */
	CRIO_SPAWN_NEW_SESSION = 1 << 2,
	CRIO_SPAWN_OWNED = 1 << 3     /* with DETACHED: the host does not reap it; the plugin must, once, with
	                                 waitid(P_PIDFD, pidfd, ..., WEXITED), and so learns its exit code */
};

struct crio_spawned {
	uint32_t size;
	int32_t pid;
	int32_t pidfd;           /* DETACHED: the plugin's to close; else -1 */
	int32_t exit_code;       /* CAPTURE: 0..255, 128+signal */
	struct crio_bytes out;   /* CAPTURE: NUL after the last byte, not counted */
	struct crio_bytes err;
	int32_t out_truncated;
	int32_t err_truncated;
};

/* How durable a state record must be. */
enum crio_durability {
	CRIO_STATE_RUN = 1,  /* gone after a reboot: no fsync */
	CRIO_STATE_KEEP = 2  /* survives power loss */
};

/* Called on the host's event loop thread: must not block. Return 0 to stay registered, anything else to be removed. */
typedef int (*crio_fd_cb)(void *arg, int fd, uint32_t epoll_events);
typedef void (*crio_timer_cb)(void *arg);

/*
 * The services. Append-only; check with CRIO_HAS(host, field) before using one that is newer than ABI 0.1. All are
 * safe from any thread, the loop thread included unless said otherwise.
 */
struct crio_host {
	uint32_t size;
	uint32_t abi_major, abi_minor;
	uint32_t reserved;

	void (*log)(crio_instance *in, int level, const char *fmt, ...)
#ifdef __GNUC__
		__attribute__((format(printf, 3, 4)))
#endif
		;
	/* Fills err and returns code, so that `return host->fail(err, CRIO_E_IO, ...)` is the usual form. err may be NULL. */
	int (*fail)(crio_err *err, int code, const char *fmt, ...)
#ifdef __GNUC__
		__attribute__((format(printf, 3, 4)))
#endif
		;
	/* Puts "text: " before the message that is there; returns its code. */
	int (*wrap)(crio_err *err, const char *fmt, ...)
#ifdef __GNUC__
		__attribute__((format(printf, 2, 3)))
#endif
		;
	int (*err_code)(const crio_err *err);         /* 0 when nothing failed */
	const char *(*err_text)(const crio_err *err);
	crio_err *(*err_new)(void);                   /* for errors a plugin wants to look at; NULL without memory */
	void (*err_free)(crio_err *err);

	/* The call. alloc: zeroed, lives as long as the call's results; NULL without memory. */
	void *(*alloc)(crio_call *call, size_t n);
	char *(*strdup)(crio_call *call, const char *s);
	int64_t (*deadline_ns)(crio_call *call);      /* monotonic; INT64_MAX: none */
	int64_t (*now_ns)(void);                      /* monotonic */
	int (*cancelled)(crio_call *call);            /* 1 once the deadline has passed or the caller has given up */
	int (*cancel_fd)(crio_call *call);            /* becomes readable then; the host's; -1 without descriptors */
	/* A child call of the same cancellation whose deadline is at most timeout_ns away; free with call_free. call NULL: a
	 * call of its own, for work that no operation asked for and for clean-up after one that has ended. */
	crio_call *(*call_sub)(crio_call *call, int64_t timeout_ns);
	void (*call_free)(crio_call *call);           /* only for calls from call_sub */

	/* Options, typed as declared; strings live until close or the next reload. */
	const char *(*opt_str)(crio_instance *in, const char *name); /* NULL: unset */
	int64_t (*opt_int)(crio_instance *in, const char *name);     /* INT, MS and BOOL */
	struct crio_strs (*opt_strs)(crio_instance *in, const char *name);
	const char *(*instance_name)(crio_instance *in);             /* handler, root or network name */

	/* Programs. Not on the loop thread when capturing. Results belong to the call. */
	int (*spawn)(crio_instance *in, crio_call *call, const struct crio_spawn *args, struct crio_spawned *out, crio_err *err);
	/* Runs fn in the network namespace on a thread of its own and waits for it; fn must not keep the thread. */
	int (*netns_run)(crio_instance *in, crio_call *call, int netns_fd, int (*fn)(void *arg, crio_err *err), void *arg, crio_err *err);
	/* A socket made in that namespace (AF, type | SOCK_CLOEXEC is forced, protocol). Returns the fd, the plugin's. */
	int (*socket_in)(crio_instance *in, int netns_fd, int family, int type, int protocol, crio_err *err);

	/* Events. watch returns an id > 0; unwatch waits until the callback is not running (unless called from it). */
	int (*watch_fd)(crio_instance *in, int fd, uint32_t epoll_events, crio_fd_cb cb, void *arg, crio_err *err);
	void (*unwatch)(crio_instance *in, int id);
	int (*timer)(crio_instance *in, int64_t delay_ns, crio_timer_cb cb, void *arg, crio_err *err); /* once; id as above */
	int (*emit)(crio_instance *in, int type, const void *event);

	/* Small records of the instance (≤ 1 MiB each, keys [A-Za-z0-9._-]{1,128}). get: result belongs to the call. */
	int (*state_put)(crio_instance *in, crio_call *call, const char *key, struct crio_bytes value, int durability, crio_err *err);
	int (*state_get)(crio_instance *in, crio_call *call, const char *key, struct crio_bytes *ret, crio_err *err); /* NOT_FOUND */
	int (*state_del)(crio_instance *in, crio_call *call, const char *key, crio_err *err); /* absent is success */
	int (*state_list)(crio_instance *in, crio_call *call, struct crio_strs *ret, crio_err *err);

	/* Adds to a counter of the instance, shown as <kind>_<name>_<metric> by the daemon's metrics. */
	void (*metric_add)(crio_instance *in, const char *metric, int64_t delta);
};

/* ---- the descriptor ------------------------------------------------------------------------------------------ */

struct crio_plugin {
	uint32_t magic;      /* CRIO_PLUGIN_MAGIC */
	uint32_t size;       /* sizeof(struct crio_plugin) as compiled */
	uint32_t abi_major;  /* CRIO_ABI_MAJOR */
	uint32_t abi_minor;  /* CRIO_ABI_MINOR */
	uint32_t kind;       /* enum crio_kind */
	uint32_t threads;    /* enum crio_threads */
	uint64_t caps;       /* the kind's CRIO_<KIND>_CAP_* bits */
	const char *name;    /* the file's name without .so: [a-z][a-z0-9_]{0,31} */
	const char *version; /* the plugin's own */
	const char *summary; /* one line */
	const struct crio_option *options; /* rows of options_n; may be NULL */
	uint32_t options_n;
	uint32_t ops_size;   /* sizeof the kind's ops struct as compiled */
	const void *ops;     /* struct crio_runtime_ops, crio_storage_ops, crio_network_ops or crio_hook_ops */

	/* Opens an instance. *self is passed to every operation. host and in stay valid until close returns. */
	int (*open)(const struct crio_host *host, crio_instance *in, crio_call *call, void **self, crio_err *err);
	void (*close)(void *self);
	int (*reload)(void *self, crio_call *call, crio_err *err); /* optional */
	/* Says whether the instance could work here (its program exists, its kernel feature is there). Also run in the
	 * probe. Must not change anything. Optional. */
	int (*check)(void *self, crio_call *call, crio_err *err);
};

#if defined(__GNUC__)
#define CRIO_EXPORT __attribute__((visibility("default")))
#else
#define CRIO_EXPORT
#endif

/* Defines the one exported function. `name` is the plugin's name as a bare word, `desc` a const struct crio_plugin. */
#ifdef __cplusplus
#define CRIO_PLUGIN_REGISTER(name, desc) \
	extern "C" CRIO_EXPORT const struct crio_plugin *name##_LTX_crio_plugin_entry(void); \
	extern "C" CRIO_EXPORT const struct crio_plugin *name##_LTX_crio_plugin_entry(void) { return &(desc); }
#else
#define CRIO_PLUGIN_REGISTER(name, desc) \
	CRIO_EXPORT const struct crio_plugin *name##_LTX_crio_plugin_entry(void); \
	CRIO_EXPORT const struct crio_plugin *name##_LTX_crio_plugin_entry(void) { return &(desc); }
#endif

typedef const struct crio_plugin *(*crio_plugin_entry_fn)(void);

/* The head that every plugin fills alike. */
#define CRIO_PLUGIN_HEAD(kind_, threads_, ops_) \
	.magic = CRIO_PLUGIN_MAGIC, .size = sizeof(struct crio_plugin), .abi_major = CRIO_ABI_MAJOR, \
	.abi_minor = CRIO_ABI_MINOR, .kind = (kind_), .threads = (threads_), .ops_size = sizeof(ops_), .ops = &(ops_)

#ifdef __cplusplus
}
#endif
#endif
