/*
 * conf.h: the daemon's configuration as one typed, immutable snapshot. Everything here is filled by conf_load() from the
 * defaults, storage.conf, crio.conf, the drop-ins, the environment and the flags (in that order, the later winning), and
 * checked; no reader needs to check again. keys.def is the one list of all keys: type, default, flag, help.
 *
 * A snapshot never changes. A reload makes a new one (conf_reload); who needs a stable view takes a reference for as long
 * as it looks. Pointers into a snapshot live as long as a reference to it. All functions are thread-safe.
 *
 * Strings are never NULL ("" for unset). Durations are in nanoseconds. Field names are the TOML keys, the structs the TOML
 * tables.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/log.h"
#include "core/util/str.h"

/* Fields of these types are typed as int in keys.def by the text names given beside each value. */
enum conf_cgroup_manager { CONF_CGROUP_SYSTEMD = 0 /* systemd */, CONF_CGROUP_CGROUPFS = 1 /* cgroupfs */ };
enum conf_image_volumes { CONF_VOLUMES_MKDIR = 0, CONF_VOLUMES_BIND = 1, CONF_VOLUMES_IGNORE = 2 };
enum conf_short_name_mode { CONF_SHORT_ENFORCING = 0, CONF_SHORT_DISABLED = 1 };
/* none, checkpoint_only, checkpoint_restore */
enum conf_checkpoint { CONF_CHECKPOINT_NONE = 0, CONF_CHECKPOINT_ONLY = 1, CONF_CHECKPOINT_RESTORE = 2 };
enum conf_tls_version { CONF_TLS12 = 0 /* VersionTLS12 */, CONF_TLS13 = 1 /* VersionTLS13 */ };
enum conf_runtime_type { CONF_RUNTIME_OCI = 0 /* oci, also "" */, CONF_RUNTIME_VM = 1 /* vm */, CONF_RUNTIME_POD = 2 /* pod */ };
enum conf_log_format { CONF_LOG_TEXT = 0, CONF_LOG_JSON = 1 };

/* [crio] and the storage part of storage.conf. */
struct conf_root {
	char *root;                /* the image and container store of the default driver */
	char *runroot;
	char *storage_driver;      /* "overlay": the storage plugin's name unless a handler or workload says otherwise */
	struct strv storage_option;/* "overlay.mountopt=nodev,metacopy=on", merged from storage.conf and all files */
	char *imagestore;
	char *log_dir;
	char *version_file;
	char *version_file_persist;
	char *clean_shutdown_file;
	bool internal_wipe;
	bool internal_repair;
	/* From storage.conf only. */
	struct strv additional_image_stores;
	bool transient_store;
};

/* [crio.plugins]: ours alone. */
struct conf_plugins {
	char *dir;                 /* <dir>/<kind>/<name>.so */
	char *options_dir;         /* <options_dir>/<kind>-<name>.conf */
	char *state_dir;           /* records that survive a reboot */
	char *run_dir;             /* records that do not */
	struct strv hooks;         /* hook plugins in order; "name?": its failures and its absence are only logged */
	int64_t hooks_timeout;     /* ns: one plugin at one stage */
};

/* [crio.api] */
struct conf_api {
	char *listen;              /* path, no unix:// prefix */
	char *stream_address;
	char *stream_port;         /* "0": any */
	bool stream_enable_tls;
	char *stream_tls_cert, *stream_tls_key, *stream_tls_ca;
	char *stream_idle_timeout;      /* as written; see stream_idle_timeout_ns */
	int64_t stream_idle_timeout_ns; /* derived; 4 h when unset */
	enum conf_tls_version tls_min_version;
	struct strv tls_cipher_suites;  /* Go's names */
	int64_t grpc_max_send_msg_size, grpc_max_recv_msg_size; /* bytes, > 0 */
};

/* [crio.runtime.runtimes.<name>]: a runtime handler. */
struct conf_runtime {
	char *name;                /* the handler: CRI's runtime_handler */
	char *runtime_path;        /* absolute after a load with checks; may be "" without (CONF_NO_CHECKS) */
	enum conf_runtime_type runtime_type;
	char *runtime_root;        /* never "" for oci and pod after a load with checks */
	char *runtime_config_path;
	bool inherit_default_runtime;
	bool privileged_without_host_devices;
	struct strv allowed_annotations;
	char *monitor_path;        /* absolute after a load with checks */
	char *monitor_cgroup;
	struct strv monitor_env;
	char *monitor_exec_cgroup; /* "" or "container" */
	struct kvs platform_runtime_paths; /* "linux/arm64" -> path */
	bool runtime_pull_image;
	char *container_min_memory;     /* as written; "" for the default */
	int64_t container_min_memory_bytes; /* derived */
	bool no_sync_log;
	struct kvs default_annotations; /* the pod's own win */
	bool stream_websockets;
	char *exec_cpu_affinity;   /* "" or "first" */
	char *seccomp_profile;     /* "": the global one */
	int64_t container_create_timeout; /* seconds, >= 30 */
	/* Ours. Plugin names; "" means: by the rules of plugin selection. The options go to the plugin's instance. */
	char *runtime_plugin, *storage_plugin, *network_plugin;
	struct kvs runtime_options, storage_options, network_options;
	bool allow_workload_runtime; /* a workload may replace this handler's runtime plugin though it was asked for by name */
};

struct conf_workload_resources {
	int64_t cpushares;         /* 0: unset, as all here */
	int64_t cpuquota;          /* microseconds a period; may be -1 */
	int64_t cpuperiod;         /* microseconds */
	char *cpuset;
	int64_t cpulimit;          /* millicores */
};

/* [crio.runtime.workloads.<name>] */
struct conf_workload {
	char *name;
	char *activation_annotation; /* never "" */
	char *annotation_prefix;
	struct strv allowed_annotations;
	struct conf_workload_resources resources;
	/* Ours; "" keeps the handler's. */
	char *runtime_plugin, *storage_plugin, *network_plugin;
	struct kvs runtime_options, storage_options, network_options;
};

/* [crio.runtime] */
struct conf_runtime_section {
	char *default_runtime;
	struct conf_runtime *runtimes;   /* sorted by name */
	size_t n_runtimes;
	struct conf_workload *workloads; /* sorted by name */
	size_t n_workloads;
	bool no_pivot;
	char *decryption_keys_path;
	struct strv additional_artifact_stores;
	char *conmon;              /* already copied to the handlers' monitor_path; likewise the two below */
	char *conmon_cgroup;
	struct strv conmon_env;
	struct strv default_env;
	int64_t min_injected_gomaxprocs;
	bool selinux;
	char *seccomp_profile, *privileged_seccomp_profile;
	char *apparmor_profile;    /* never "" */
	char *blockio_config_file;
	bool blockio_reload;
	char *rdt_config_file;
	char *irqbalance_config_file, *irqbalance_config_restore_file;
	enum conf_cgroup_manager cgroup_manager;
	struct strv default_capabilities; /* "CHOWN": no CAP_ prefix, upper case */
	bool add_inheritable_capabilities;
	struct strv default_sysctls;  /* "name=value" */
	struct strv default_ulimits;  /* "nofile=soft:hard" */
	struct strv allowed_devices;
	struct strv additional_devices;
	bool device_ownership_from_security_context;
	struct strv cdi_spec_dirs;
	struct strv hooks_dir;
	char *default_mounts_file;
	bool read_only;
	int64_t pids_limit;        /* -1: none */
	int64_t log_size_max;      /* bytes, -1: none */
	bool log_to_journald;
	enum log_level log_level;
	char *log_filter;
	char *container_exits_dir;
	char *container_attach_socket_dir;
	char *bind_mount_prefix;
	char *uid_mappings, *gid_mappings; /* "c:h:size,..." */
	int64_t minimum_mappable_uid, minimum_mappable_gid; /* -1: unset */
	int64_t ctr_stop_timeout;  /* seconds, >= 30 */
	bool drop_infra_ctr;
	char *infra_ctr_cpuset, *shared_cpuset;
	char *namespaces_dir;
	char *pinns_path;
	bool enable_criu_support;
	char *separate_pull_cgroup;
	struct strv absent_mount_sources_to_reject;
	bool enable_pod_events;
	bool hostnetwork_disable_selinux;
	bool disable_hostport_mapping;
	char *timezone;
};

/* [crio.checkpoint_restore] */
struct conf_checkpoint_restore {
	enum conf_checkpoint container_level_enabled;
};

/* [crio.image] */
struct conf_image {
	char *default_transport;
	char *global_auth_file;
	char *namespaced_auth_dir;
	char *pause_image, *pause_image_auth_file, *pause_command;
	struct strv pinned_images;
	char *signature_policy;    /* "": /etc/containers/policy.json */
	char *signature_policy_dir;
	struct strv insecure_registries;
	enum conf_image_volumes image_volumes;
	char *big_files_temporary_dir;
	bool auto_reload_registries;
	int64_t pull_progress_timeout; /* ns, 0: none */
	bool oci_artifact_mount_support;
	enum conf_short_name_mode short_name_mode;
};

/* [crio.network] */
struct conf_network {
	char *cni_default_network;
	char *network_dir;
	struct strv plugin_dirs;   /* the deprecated plugin_dir is already appended */
	char *plugin_dir;
	int64_t cni_status_grace_period; /* ns, 0: off */
};

/* [crio.metrics] */
struct conf_metrics {
	bool enable_metrics;
	struct strv metrics_collectors;
	char *metrics_host;
	int64_t metrics_port;
	char *metrics_socket, *metrics_cert, *metrics_key;
};

/* [crio.tracing] */
struct conf_tracing {
	bool enable_tracing;
	char *tracing_endpoint;
	int64_t tracing_sampling_rate_per_million;
};

/* [crio.stats] */
struct conf_stats {
	int64_t stats_collection_period; /* seconds; deprecated, 0 is "on demand" */
	int64_t collection_period;
	struct strv included_pod_metrics;
};

/* [crio.nri] */
struct conf_nri {
	bool enable_nri;
	char *nri_listen;
	char *nri_plugin_dir, *nri_plugin_config_dir;
	int64_t nri_plugin_registration_timeout, nri_plugin_request_timeout; /* ns */
	bool nri_disable_connections;
	struct {
		bool nri_enable_default_validator;
		bool nri_validator_reject_oci_hook_adjustment;
		bool nri_validator_reject_runtime_default_seccomp_adjustment;
		bool nri_validator_reject_unconfined_seccomp_adjustment;
		bool nri_validator_reject_custom_seccomp_adjustment;
		bool nri_validator_reject_namespace_adjustment;
		struct strv nri_validator_required_plugins;
		char *nri_validator_tolerate_missing_plugins_annotation;
	} default_validator;
};

/* Settings that are flags only. */
struct conf_flags {
	char *log;                 /* append logs to this file, "": stderr */
	enum conf_log_format log_format;
	char *registries_conf, *registries_conf_dir; /* "": the defaults of registries.h */
	bool profile;
	int64_t profile_port;
	char *profile_cpu, *profile_mem;
	bool enable_profile_unix_socket;
};

struct conf {
	struct conf_root crio;
	struct conf_plugins plugins;
	struct conf_api api;
	struct conf_runtime_section runtime;
	struct conf_checkpoint_restore checkpoint_restore;
	struct conf_image image;
	struct conf_network network;
	struct conf_metrics metrics;
	struct conf_tracing tracing;
	struct conf_stats stats;
	struct conf_nri nri;
	struct conf_flags flags;
	/* Where it came from, for messages: files read, in order. */
	struct strv files;
	/* For the next reload: the keys that may change while running, as the files alone have them (only those are set); and of these, as
	 * "table.key", where the files' value was changed by a reload and so wins over environment and flags until the next start. */
	struct conf *from_files;
	struct strv files_win;
	int refs; /* atomic, conf.c only */
};

/* One flag or environment setting, in the order given: "log-level", "debug". List flags may come several times. */
struct conf_setting {
	const char *flag; /* long name without dashes */
	const char *value;
};

enum conf_load_flags {
	CONF_NO_CHECKS = 1 << 0, /* types and values only; nothing about this machine (programs, directories): `crio config` */
	CONF_NO_ENV = 1 << 1     /* leave the environment alone (tests) */
};

struct conf_args {
	const char *config;       /* -c: NULL is /etc/crio/crio.conf, which may be absent; "" none; else it must exist */
	const char *config_dir;   /* -d: NULL is /etc/crio/crio.conf.d; "" none; may be absent */
	const char *storage_conf; /* NULL: $CONTAINERS_STORAGE_CONF, /etc/containers/, /usr/share/containers/; "" none */
	const struct conf_setting *settings;
	size_t n_settings;
	unsigned flags;           /* enum conf_load_flags */
};

/* CRIO_E_INVALID for a bad file or value: the text names file, line, key and what was expected. Warnings (a handler that was
 * dropped, a deprecated key) are logged. */
int conf_load(const struct conf_args *args, struct conf **ret, crio_err *err);
/* The built-in defaults alone (with storage.conf's unless args->storage_conf is ""). */
int conf_defaults(const struct conf_args *args, struct conf **ret, crio_err *err);
/* Loads again, and takes over only the keys that may change while running; others keep old's values (a change of them is
 * logged as waiting for a restart). A value that was changed in a file since the last load wins over environment and flags from then on.
 * Logs each change. On failure old simply stays in use. *ret is a new snapshot. */
int conf_reload(const struct conf *old, const struct conf_args *args, struct conf **ret, crio_err *err);

const struct conf *conf_ref(const struct conf *c);
void conf_unref(const struct conf *c); /* NULL is fine */
static inline void conf_unrefp(const struct conf **c) { conf_unref(*c); }
#define cleanup_conf CLEANUP(conf_unrefp)

/* The handler; "" is the default one. NULL: unknown. */
const struct conf_runtime *conf_runtime(const struct conf *c, const char *handler);
const struct conf_workload *conf_workload(const struct conf *c, const char *name);
/* The workload that the pod's annotations activate: the first by name whose activation annotation is there. NULL: none. */
const struct conf_workload *conf_workload_for(const struct conf *c, const struct kvs *annotations);
/* May `w` replace the runtime plugin of the handler that was asked for (the CRI's string, may be "")? An annotation must never
 * swap one isolation for another behind the back of who named the handler. */
bool conf_workload_may_set_runtime(const struct conf *c, const char *handler, const struct conf_workload *w);

/* Options for a storage driver, from storage.conf and storage_option: "overlay.mountopt=nodev" is mountopt -> "nodev" for
 * "overlay". Added to ret. imagestore is not among them (additional_image_stores). */
int conf_storage_options(const struct conf *c, const char *driver, struct kvs *ret);

/* Commented TOML with every key. What differs from `defaults` is uncommented; defaults NULL: everything is. The text is the
 * caller's; NULL without memory. */
char *conf_template(const struct conf *c, const struct conf *defaults);
/* crio.conf(5) in mdoc, from the table. As above. */
char *conf_manual(void);
/* "crio.metrics.enable_metrics\n" for each key that is read but not acted on yet. */
char *conf_unimplemented(void);
/* The effective configuration as plain TOML (HTTP /config, `crio status config`). */
char *conf_toml(const struct conf *c);

#endif
