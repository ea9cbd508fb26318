/*
 * config.h: what a client asks for, in the core's own terms: the CRI's PodSandboxConfig and ContainerConfig without
 * their wire form. core/rpc/convert fills these; nothing else in lifecycle knows protobuf. All values own their memory;
 * strings are never NULL ("" for unset) after *_init.
 */
#ifndef LIFECYCLE_CONFIG_H
#define LIFECYCLE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/idmap.h"
#include "core/util/str.h"

enum ns_mode { NS_POD = 0, NS_CONTAINER = 1, NS_NODE = 2, NS_TARGET = 3 }; /* numbers of the CRI */

enum profile_type { PROFILE_RUNTIME_DEFAULT = 0, PROFILE_UNCONFINED = 1, PROFILE_LOCALHOST = 2 };
struct security_profile {
	bool set;             /* the field was in the request */
	enum profile_type type;
	char *localhost_ref;
};

struct userns_options {
	bool set;
	enum ns_mode mode;
	struct id_maps maps;
};

struct namespace_options {
	enum ns_mode network, pid, ipc;
	char *target_id;
	struct userns_options userns;
};

struct selinux_option {
	bool set;
	char *user, *role, *type, *level;
};

struct opt_i64 {
	bool set;
	int64_t v;
};

enum groups_policy { GROUPS_MERGE = 0, GROUPS_STRICT = 1 };

/* Of a pod or a container; fields that only one of them has say so. */
struct security_context {
	bool set;
	struct namespace_options ns;
	struct selinux_option selinux;
	struct opt_i64 run_as_user, run_as_group;
	char *run_as_username;               /* container */
	bool readonly_rootfs;
	bool privileged;
	bool no_new_privs;                   /* container */
	int64_t *supplemental_groups;
	size_t n_supplemental_groups;
	enum groups_policy groups_policy;
	struct security_profile seccomp, apparmor;
	struct strv cap_add, cap_drop, cap_ambient; /* container */
	struct strv masked_paths, readonly_paths;   /* container */
};

struct hugepage_limit {
	char *page_size;
	uint64_t limit;
};
/* CRI LinuxContainerResources; 0 means unset except where noted. */
struct resources {
	bool set;
	int64_t cpu_period, cpu_quota, cpu_shares;
	int64_t memory_limit;                /* bytes */
	int64_t memory_swap_limit;           /* bytes */
	int64_t oom_score_adj;
	char *cpuset_cpus, *cpuset_mems;
	struct hugepage_limit *hugepages;
	size_t n_hugepages;
	struct kvs unified;
};

struct pod_metadata {
	char *name, *uid, *ns;
	uint32_t attempt;
};
struct container_metadata {
	char *name;
	uint32_t attempt;
};

enum protocol { PROTO_TCP = 0, PROTO_UDP = 1, PROTO_SCTP = 2 };
struct port_mapping {
	enum protocol protocol;
	int32_t container_port, host_port;
	char *host_ip;
};

struct pod_config {
	struct pod_metadata meta;
	char *hostname;
	char *log_directory;
	struct strv dns_servers, dns_searches, dns_options;
	bool has_dns;
	struct port_mapping *ports;
	size_t n_ports;
	struct kvs labels, annotations;
	char *cgroup_parent;
	struct security_context sec;
	struct kvs sysctls;
	struct resources overhead, resources;
};

enum mount_propagation { PROPAGATION_PRIVATE = 0, PROPAGATION_HOST_TO_CONTAINER = 1, PROPAGATION_BIDIRECTIONAL = 2 };
struct mount_config {
	char *container_path, *host_path;
	bool readonly, recursive_read_only, selinux_relabel;
	enum mount_propagation propagation;
	char *image;          /* image volume: the image's reference; "" for a bind mount */
	char *image_sub_path;
	struct id_maps maps;  /* the files' owners are shown mapped; without any: as they are */
};
struct device_config {
	char *container_path, *host_path, *permissions;
};

struct container_config {
	struct container_metadata meta;
	char *image;               /* ImageSpec.image: id or reference */
	char *user_specified_image;
	struct strv command, args;
	char *working_dir;
	struct strv env;           /* KEY=value, in order */
	struct mount_config *mounts;
	size_t n_mounts;
	struct device_config *devices;
	size_t n_devices;
	struct kvs labels, annotations;
	char *log_path;            /* relative to the pod's log_directory */
	bool stdin_open, stdin_once, tty;
	struct resources resources;
	struct security_context sec;
	struct strv cdi_devices;
	char *stop_signal;         /* "" or "SIGTERM" */
};

/* Zeroed with every string "" (NULL-free). CRIO_E_NOMEM leaves *c releasable. */
int pod_config_init(struct pod_config *c);
void pod_config_release(struct pod_config *c);
int container_config_init(struct container_config *c);
void container_config_release(struct container_config *c);
int resources_init(struct resources *r);
void resources_release(struct resources *r);
int resources_copy(struct resources *dst, const struct resources *src);
int security_context_init(struct security_context *s);
void security_context_release(struct security_context *s);
int mount_config_init(struct mount_config *m);
int namespace_options_copy(struct namespace_options *dst, const struct namespace_options *src);
#define cleanup_pod_config CLEANUP(pod_config_release)
#define cleanup_container_config CLEANUP(container_config_release)
#define cleanup_resources CLEANUP(resources_release)
/* *field = copy of s ("" for NULL); the old value is freed. */
int config_set_str(char **field, const char *s);
/* The same with a string that becomes the field's, so that no field is ever NULL: without one (NULL, no memory) the old value stays
 * and NOMEM is returned. */
int config_take_str(char **field, char *s);

#endif
