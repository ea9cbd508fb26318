/*
 * inner.h: pods and containers from the inside. Private to core/lifecycle.
 *
 * Locks, in the order they may be taken: lifecycle.event_lock, lifecycle.lock (the registry), pod.lock, container.lock, stats.lock. None is held over a plugin
 * call, a spawn, an fsync or a wait. Long work on an object holds its job slot instead (job_begin): one job at a time, state
 * is looked at again after it was got. Every field says what guards it; "fixed" is set before the object is in the registry
 * and never changes.
 */
#ifndef LIFECYCLE_INNER_H
#define LIFECYCLE_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/conf/conf.h"
#include "core/exec/loop.h"
#include "core/exec/workers.h"
#include "core/image/image.h"
#include "core/lifecycle/lifecycle.h"
#include "core/lifecycle/marks.h"
#include "core/lifecycle/names.h"
#include "core/lifecycle/spec.h"
#include "core/lifecycle/stats.h"
#include "core/plugin/ops.h"
#include "core/plugin/plugins.h"
#include "core/store/store.h"
#include "core/util/map.h"

#define SEC 1000000000LL
/* How long work goes on after its client has gone (contract: semantics A: CNI ADD 5 min, creation 4 min). */
#define POD_WORK_NS (6 * 60 * SEC)
#define CONTAINER_WORK_NS (5 * 60 * SEC)
#define CLEANUP_NS (2 * 60 * SEC)
/* A finished result waits this long for the retry of its request. */
#define PARK_NS (60 * SEC)

/* A long piece of work at a time on one object. */
struct job_slot {
	bool busy;
	const char *what; /* static */
};

/* A list entry in wire form, see lifecycle.h. */
struct wire_cache {
	_Atomic uint64_t version; /* grows with each change of what a status shows */
	struct wire *w;           /* guarded by the object's lock */
	uint64_t w_version;
};

/* What is kept of an object between two looks at its figures; stats.c. */
struct stats_keep {
	pthread_mutex_t lock; /* after all others; never held over reading. Guards: */
	struct cgroup_reader *cgroup; /* references */
	struct net_reader *net;
	bool ended;                   /* nothing is opened any more */
	struct stats_sample *last;
	bool has_base, has_nano_cores; /* the rate: since when, and what it was */
	int64_t base_ns;
	uint64_t base_cpu, nano_cores;
	struct layer_usage layer;
	int64_t layer_due;            /* monotonic: when to measure it again */
	bool layer_queued;
};

struct hooks;
struct layer_meter;
struct lifecycle {
	const struct conf *_Atomic conf; /* referenced; a reload replaces it: read once where two reads must agree */
	const struct conf **old_confs;   /* referenced to the end: calls in progress borrow from them. Guarded by lock */
	size_t n_old_confs;
	struct images *images;
	struct plugins *plugins;
	struct loop *loop;
	struct workers *workers;
	struct names *names;
	bool systemd;            /* cgroup manager */

	pthread_mutex_t lock;    /* guards the registry: */
	struct map *pods;        /* id -> struct pod *, a reference each; infra containers are not in `containers` */
	struct map *containers;
	struct pod **pod_order;  /* by creation */
	size_t n_pods, cap_pods;
	struct container **container_order;
	size_t n_containers, cap_containers;
	struct map *making;      /* id -> struct container * that is being made: an exit may be reported before it is known */

	pthread_mutex_t net_lock; /* guards readiness of the default network */
	pthread_cond_t net_changed;
	struct plugin_inst *net;  /* fixed; NULL when its plugin cannot be had */
	bool net_ready;
	char *net_reason, *net_message;
	bool gc_due, gc_running;  /* of the default network, once after a start */
	pthread_mutex_t event_lock; /* before all others, which are never held when it is taken. Guards the listener and what was told */
	lifecycle_event_fn event_fn;
	void *event_arg;
	struct hooks *hooks;      /* fixed; hooks.h */
	char boot_id[BOOT_ID_SIZE]; /* fixed */
	int wipe_timer;           /* guarded by lock; 0 none */
	int park_timer;           /* guarded by lock; 0 none */
	struct leftover *leftovers; /* guarded by lock, as its timer */
	int leftover_timer;
	struct layer_meter *meter; /* fixed; layer_meter.c */
	struct notifiers *notifiers; /* fixed; notifier.h */
	pthread_mutex_t userns_lock; /* when none of the others is held; store.mu may be taken under it. Guards: */
	struct userns_claim *userns_claims; /* userns.c */
	struct stats_keep host_net; /* interfaces of the host, which pods with its network share */
	bool stopping;            /* guarded by lock */
};

struct pod {
	_Atomic int refs;
	struct lifecycle *lc;
	/* fixed */
	char id[65];
	char *name;               /* k8s_<pod>_... */
	struct pod_config config;
	char *handler;            /* as requested */
	int64_t created_ns;
	struct plugin_inst *runtime, *network; /* references; NULL: the plugin has gone (see plugins) */
	struct store *store;      /* NULL likewise */
	char *driver;             /* storage plugin */
	char *process_label, *mount_label; /* SELinux (labels.c); "" none */
	char *network_plugin, *runtime_plugin;
	char *runtime_instance, *network_instance;
	char *runtime_options, *network_options; /* of the instances, as JSON: kept for when the configuration no longer has them */
	char *plugins;            /* what was chosen and why */
	struct strv allowed_annotations;
	bool host_network, privileged;
	char *ns_name;            /* of the pins; "" none */
	char *netns, *ipcns, *utsns, *userns; /* paths; "" the host's */
	struct id_maps maps;      /* of userns; without lines: none */
	char *cgroup_parent;
	bool cgroup_made;         /* by us: removed with the pod */
	atomic_bool whole;        /* its state.json is written: until then the infra container does not write it, which shares it */
	char *dir, *run_dir;      /* userdata */
	char *hostname;
	char *resolv_path, *hostname_path, *shm_path;
	bool dead;                /* nothing of it runs: it is of an earlier boot, or its namespaces have gone */
	struct container *infra;  /* NULL: spoofed */
	bool parked;              /* guarded by lifecycle.lock: made, and its client gone; nobody sees it until a retry asks for it */

	pthread_mutex_t lock;     /* guards the rest */
	pthread_cond_t changed;
	struct job_slot job;
	bool stopped;             /* StopPodSandbox has been through, or nothing of it lives */
	bool network_up;
	bool removing, removed;
	bool wiping;              /* to be removed, as often as it takes; guarded by lifecycle.lock */
	bool told_stop;           /* guarded by lifecycle.event_lock */
	int end_fd;               /* readable once stopped is set, for streams.c; -1 until somebody asks */
	struct strv ips;
	char *cni_result;         /* "" none */
	struct container **containers; /* a reference each */
	size_t n_containers, cap_containers;
	struct wire_cache wire;
	struct stats_keep stats;
};

struct container {
	_Atomic int refs;
	struct lifecycle *lc;
	/* fixed */
	struct pod *pod;          /* a reference; for infra containers borrowed (the pod owns them) */
	bool is_infra;
	char id[65];
	char *name;               /* k8s_<ctr>_... */
	struct container_config config;
	int64_t created_ns;
	char *image_id, *image_ref, *image_name;
	char *dir, *run_dir;
	char *log_path;           /* "" none */
	char *rootfs;
	char *process_label, *mount_label; /* SELinux (labels.c); "" none */
	int stop_signal;
	char *stop_signal_name;   /* "SIGTERM" */
	struct spec_info info;    /* user and groups */
	pid_t joined_pid;         /* while it is made: whose pid namespace it gets; 0 none */
	uint64_t joined_start;
	bool parked;              /* as a pod's */

	pthread_mutex_t lock;     /* guards the rest */
	pthread_cond_t changed;   /* state, job, stop_at */
	struct job_slot job;
	enum container_state state;
	bool made;                /* the runtime has it: there may be something to stop */
	bool removed;
	pid_t pid, monitor_pid;
	uint64_t start_time, monitor_start_time;
	int64_t started_ns, finished_ns;
	int32_t exit_code;
	bool oom;
	bool seccomp_killed;      /* ended for what it asked of the kernel; message says what */
	bool restore;             /* created from a checkpoint, which its start is to restore: the runtime has nothing of it */
	bool restored;            /* that has been done */
	int64_t checkpointed_ns;  /* the checkpoint that it comes from, or the last that was made of it; 0 none */
	bool paused;              /* frozen; state says RUNNING or CREATED all the same, as the CRI does */
	char *message;            /* why a start failed, or why it was ended; "" */
	struct resources resources;
	bool has_resources;
	int orphan_fd, orphan_watch; /* orphan.c: pidfd and its watch, -1 and 0 when its runtime plugin is there */
	bool told_exit;           /* guarded by lifecycle.event_lock */
	struct process *processes; /* what was started in it; process.c */
	bool killing;             /* it has had its grace: nothing more is started in it */
	int64_t stop_at;          /* monotonic: when a stop in progress turns to KILL; INT64_MAX none in progress */
	struct wire_cache wire;
	struct stats_keep stats;
};

/* ---- registry.c ---- */
struct pod *pod_new(struct lifecycle *lc);             /* empty, one reference */
struct container *container_new(struct lifecycle *lc);
struct pod *pod_ref(struct pod *p);
struct container *container_ref(struct container *c);
static inline void pod_unrefp(struct pod **p) { pod_unref(*p); }
static inline void container_unrefp(struct container **c) { container_unref(*c); }
#define cleanup_pod CLEANUP(pod_unrefp)
#define cleanup_container CLEANUP(container_unrefp)
/* Adds a reference of the registry's; a container also to its pod's list. */
int registry_add_pod(struct lifecycle *lc, struct pod *p, crio_err *err);
int registry_add_container(struct lifecycle *lc, struct container *c, crio_err *err);
/* Puts those that were added out of turn into the order of their making, in which lists have them. */
void registry_sort(struct lifecycle *lc);
void registry_del_pod(struct lifecycle *lc, struct pod *p);
void registry_del_container(struct lifecycle *lc, struct container *c);
/* By id or unique prefix; the caller's reference. NOT_FOUND, INVALID (ambiguous), PRECONDITION (parked). */
int registry_pod(struct lifecycle *lc, const char *id, struct pod **ret, crio_err *err);
int registry_container(struct lifecycle *lc, const char *id, struct container **ret, crio_err *err);
/* Hides the pod or container of this whole id, or shows it again. */
bool registry_park(struct lifecycle *lc, const char *id, bool parked); /* was it hidden? */
/* May clients know of what has this whole id? Not before it is added, and not while it is parked. */
bool registry_shows(struct lifecycle *lc, const char *id);
/* What has this whole id, parked or not; NULL: nothing. The caller's references. */
struct pod *registry_whole_pod(struct lifecycle *lc, const char *id);
struct container *registry_whole_container(struct lifecycle *lc, const char *id);
/* From before its runtime may report events until it is in the registry or given up. Infra containers too. */
int registry_making(struct lifecycle *lc, struct container *c, crio_err *err);
void registry_made(struct lifecycle *lc, struct container *c);
/* By whole id, infra containers and those being made too; NULL: none. With a reference of the container, and of an infra
 * container's pod: give it back with registry_any_unref. */
struct container *registry_any_container(struct lifecycle *lc, const char *id);
struct container *registry_any_ref(struct container *c);
void registry_any_unref(struct container *c);
static inline void registry_any_unrefp(struct container **c) { registry_any_unref(*c); }
#define cleanup_any_container CLEANUP(registry_any_unrefp)
/* References to the pod's containers; the array is the caller's. */
int pod_containers(struct pod *p, struct container ***ret, size_t *ret_n, crio_err *err);

/* Waits for the slot until the call ends. `l` is held on entry and at return. */
int job_begin(struct job_slot *j, pthread_mutex_t *l, pthread_cond_t *changed, const char *what, crio_call *call, crio_err *err);
void job_end(struct job_slot *j, pthread_cond_t *changed); /* with the lock */
/* A condition on the monotonic clock. */
void cond_init(pthread_cond_t *c);
/* False once until_ns (monotonic) has passed. */
bool cond_wait_until(pthread_cond_t *c, pthread_mutex_t *l, int64_t until_ns);
void pod_changed(struct pod *p);             /* version; with the lock */
void container_changed(struct container *c);

/* ---- pod_make.c, pod_end.c ---- */
/* Undoes and removes everything a pod may have, in reverse; goes on after failures and returns the first. Idempotent. */
int pod_release_network(struct pod *p, crio_call *call, crio_err *err);
int pod_release_all(struct pod *p, crio_call *call, crio_err *err);
/* Common parts of spec_args for a container of the pod (infra too). */
void pod_spec_args(const struct pod *p, struct spec_args *a);
/* Where its containers log: the client's, or <log_dir>/<id>. The caller's; NULL without memory. */
char *pod_log_dir(const struct pod *p);

/* ---- container_make.c ---- */
/* From a mounted root and a filled container: spec, bundle, runtime create, state. */
int container_make_runtime(struct container *c, crio_call *call, const struct image *im, crio_err *err);
int container_mount(struct container *c, crio_call *call, crio_err *err);
/* What the runtime plugin is told of a container to be created; borrows from it. */
void container_fill_create(const struct container *c, struct crio_runtime_create_args *a);
/* What it answered. */
void container_created(struct container *c, const struct crio_runtime_create_out *o);
/* Runtime state, mount, records: removed. Idempotent. */
int container_release_all(struct container *c, crio_call *call, crio_err *err);
/* Of that only the first two; the record goes later. */
int container_release_runtime(struct container *c, crio_call *call, crio_err *err);
void container_set_removed(struct container *c);

/* ---- container_run.c ---- */
int container_do_start(struct container *c, crio_call *call, crio_err *err);
/* With the job slot or without: waits until it has stopped. timeout_ns of grace. */
int container_do_stop(struct container *c, crio_call *call, int64_t grace_ns, crio_err *err);
int container_do_remove(struct container *c, crio_call *call, crio_err *err);
/* UpdateContainerResources in the spec's own terms: `linux.resources` as JSON, merged into what is in force. */
int container_update_json(struct lifecycle *lc, crio_call *call, const char *id, const char *resources, crio_err *err);

/* ---- process.c ---- */
/* Ends what still runs in it by exec: in a pid namespace that it shares, that outlives it. For when it has exited. */
void container_end_execs(struct container *c, crio_call *like);
/* May something be started in it? PRECONDITION: it does not run, or is about to end, or its plugin has gone. */
int container_may_exec(struct container *c, crio_err *err);
/* process_start() of a container at hand. */
int process_start_in(struct container *c, crio_call *call, const struct process_args *args, struct process **ret, int *ret_tty,
		     crio_err *err);

/* ---- inspect.c ---- */
/* Freezes or thaws, and records it. The caller has looked at the state. */
int container_do_pause(struct container *c, crio_call *call, bool pause, crio_err *err);

/* ---- image_mounts.c ---- */
/* Mounts the images that the request wants as volumes; their mounts then name the image's id and where it is. What was mounted
 * is image_mounts_release's to take away, also after a failure and in a later run. */
int image_mounts_make(struct container *c, crio_call *call, crio_err *err);
int image_mounts_release(struct store *s, crio_call *call, const char *run_dir, crio_err *err);
bool image_in_use(void *arg, const char *image_id, char ret_by[65]); /* an image_in_use_fn; arg: the lifecycle */

/* ---- blocked.c ---- */
/* Its processes that wait in the kernel where no signal reaches them: "12 (dd), 14 (sh)", cut to n bytes; "" none are seen. */
void container_blocked(const struct container *c, char *ret, size_t n);

/* ---- labels.c: SELinux; where it is off all labels are "" ---- */
struct spec_labels {
	char *process;	   /* "" none */
	const char *mount; /* borrowed; of the files */
	char *init;	   /* process's instead, when that is systemd; NULL: the same */
};
void spec_labels_release(struct spec_labels *l);
#define cleanup_spec_labels CLEANUP(spec_labels_release)
/* Before their records are made: the object's labels, whose level is its own until it is freed. */
int pod_make_labels(struct pod *p, crio_err *err);
int container_make_labels(struct container *c, crio_err *err);
/* What an earlier run gave; the level is taken again. */
int labels_restore(char **process_field, char **mount_field, const char *process, const char *mount);
void labels_release(char *process, char *mount); /* frees both */
/* What of them the runtime is told: less for who shares the host's namespaces or is privileged. */
int pod_spec_labels(const struct pod *p, struct spec_labels *ret, crio_err *err);
int container_spec_labels(const struct container *c, struct spec_labels *ret, crio_err *err);
const char *pod_file_label(const struct pod *p); /* of the files that we make for its containers */
int pod_label_files(const struct pod *p, crio_err *err);
/* Once the spec is there: files made for the container, and the volumes that the request wants labelled. */
int container_label_files(const struct container *c, crio_call *call, const struct json_object *spec, crio_err *err);

/* ---- link_logs.c: nothing without the annotation ---- */
int link_logs_mount(const struct pod *p, crio_err *err);
int link_logs_unmount(const struct pod *p, crio_err *err); /* idempotent */
int link_logs_add(const struct container *c, crio_err *err);
void link_logs_del(const struct container *c);

/* ---- state.c ---- */
/* config.json into the record's directory, which recovery reads, and then into the bundle. */
int config_write(const char *dir, const char *run_dir, const struct json_object *spec, crio_err *err);
int container_write_state(struct container *c, crio_err *err);
int container_read_state(struct container *c, crio_err *err); /* NOT_FOUND: it was never whole */
int pod_write_state(struct pod *p, crio_err *err);
int pod_read_state(struct pod *p, crio_err *err);

/* ---- events.c ---- */
/* Listener for runtime instances; arg is the lifecycle. */
void lifecycle_on_event(void *arg, struct plugin_inst *in, int type, const void *event);
/* What an exit means for the container's fields; finished_ns 0: now. Wakes who waits. Not with its lock. */
void container_exited(struct container *c, int32_t code, int64_t finished_ns, bool oom);

/* ---- told.c: events for clients. With none of the locks. ---- */
/* A stop is told once, and always before a removal. What is parked has no events. */
void tell_container(struct container *c, enum lifecycle_event type);
void tell_pod(struct pod *p, enum lifecycle_event type);
/* What a request has made, by whole id, is there for all to see. */
void tell_made(struct lifecycle *lc, const char *id);

/* ---- orphan.c: a container whose runtime plugin has gone ---- */
/* Watches its process. */
void orphan_adopt(struct container *c);
void orphan_release(struct container *c);
/* By its process; 0 when that has gone. */
int orphan_signal(struct container *c, int sig, crio_err *err);

/* ---- network.c ---- */
int network_init(struct lifecycle *lc, crio_call *call);
/* After recovery: as soon as the default network is ready, attachments of pods that are not known are undone. */
void network_gc_after_start(struct lifecycle *lc);
/* Waits for it; it will not begin any more. */
void network_gc_stop(struct lifecycle *lc);
/* Waits until the pod's network instance is ready (default: by its events). */
int network_wait_ready(struct pod *p, crio_call *call, crio_err *err);
int network_setup(struct pod *p, crio_call *call, crio_err *err);

/* Remove what is parked, by whole id. An unknown id is success. */
int pod_remove_parked(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err);
int container_remove_parked(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err);

/* ---- leftover.c ---- */
/* Keeps what could not be cleaned up, one of the two, for later tries. Without memory it waits for the next start. */
void leftover_add(struct lifecycle *lc, struct pod *p, struct container *c);
/* Tries again with those of that name, or the containers of that pod, or (both NULL) all. The first error is returned. */
int leftovers_remove(struct lifecycle *lc, crio_call *call, const char *name, const struct pod *pod, crio_err *err);
void leftovers_release(struct lifecycle *lc);

/* ---- status.c ---- */
enum pod_state pod_state_of(struct pod *p);

/* ---- stats.c ---- */
void stats_keep_init(struct stats_keep *k);
/* Lets go of what it holds open, for good: files of a group, the socket that keeps a network namespace alive. */
void stats_keep_end(struct stats_keep *k);
void stats_keep_release(struct stats_keep *k);

/* ---- forbidden.c ---- */
int forbidden_init(struct lifecycle *lc, crio_err *err); /* the seccomp notifier, before recovery */
/* Listens again for a container that has it. */
void forbidden_recover(struct container *c, struct json_object *spec);

/* ---- layer_meter.c: one worker measures writable layers, one after the other ---- */
int layer_meter_new(struct lifecycle *lc, crio_err *err);
void layer_meter_want(struct container *c); /* soon; not with its stats.lock */
void layer_meter_free(struct lifecycle *lc); /* waits for the one that is being measured */

/* ---- recover.c ---- */
int recover(struct lifecycle *lc, crio_call *call, crio_err *err);

/* ---- boot.c: what an earlier boot or version left ---- */
/* After recover(). Pods that cannot be removed now are tried again until they can. */
void wipe_pods(struct lifecycle *lc, bool rebooted, bool upgraded, crio_call *call);

/* ---- lifecycle.c: one request, one object ---- */
/*
 * What RunPodSandbox and CreateContainer share: takes `name` for a new id and calls make(arg, id); on success the name is
 * settled (parked for a retry when the call is over by then), on failure it is free again. When somebody holds the name
 * this waits for them and returns their id, or takes its turn when they failed. kind as in names_wait.
 */
int make_named(struct lifecycle *lc, crio_call *call, const char *kind, const char *name, int64_t max_wait_ns,
	       int (*make)(void *arg, const char *id, crio_err *err), void *arg, char **ret_id, crio_err *err);

/* Opens the plugin instances and the store that the selection names. */
struct selection;
int pod_open_plugins(struct pod *p, crio_call *call, const struct selection *s, crio_err *err);
int signal_parse(const char *name, int *ret); /* "SIGTERM", "TERM", "15"; INVALID otherwise */
const char *signal_name(int sig, char buf[24]);
/* Field 22 of /proc/<pid>/stat; 0: no such process. */
uint64_t process_start_time(pid_t pid);

#endif
