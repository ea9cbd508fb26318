/*
 * stats.h: what pods and containers use, for the CRI's stats and metrics. Figures are read when they are asked for, or, with
 * collection_period, at most once in that time. No lock of a pod or container is held while files are read, and nothing here waits
 * for another object, a mount, a network plugin or a walk through files: the size of a writable layer is measured in the background.
 */
#ifndef LIFECYCLE_STATS_H
#define LIFECYCLE_STATS_H

#include "core/lifecycle/cgroup_stats.h"
#include "core/lifecycle/lifecycle.h"
#include "core/lifecycle/net_stats.h"

/* Besides enum cgroup_what: the interfaces of a pod. */
#define STATS_NET (1u << 8)

/* One look at a pod or container; it never changes. */
struct stats_sample {
	_Atomic int refs;
	unsigned what;	 /* enum cgroup_what and STATS_NET: what was asked for; not all need be there */
	int64_t time_ns; /* Unix */
	int64_t mono_ns;
	struct cgroup_stats cg;
	bool has_cg;	     /* of a pod: its group could be read */
	bool has_nano_cores; /* CPU in use since the look before, in 1/1,000,000,000 of a CPU */
	uint64_t nano_cores;
	struct net_if *ifs;
	size_t n_ifs;
	bool has_net;
};
void stats_sample_unref(struct stats_sample *s); /* NULL is fine */

/* What never changes of them: pointers into the object. */
struct stats_subject {
	const char *id;
	const struct pod_config *pod; /* of a container: its pod's */
	const struct container_config *container; /* NULL: a pod */
	const char *image_name;
	int64_t created_ns;
};
struct stats_subject pod_subject(const struct pod *p);
struct stats_subject container_subject(const struct container *c);

/* One reference. NOT_FOUND: it has exited, or its group has gone. */
int container_sample(struct container *c, unsigned what, struct stats_sample **ret, crio_err *err);

/* A pod with its containers, the infra container left out; those that have exited are not there. */
struct pod_sample {
	struct stats_sample *pod;
	struct container **containers;
	struct stats_sample **samples;
	size_t n;
};
/* A pod that is not ready has nothing but its name: an empty sample. pod_what and container_what as above. */
int pod_sample_get(struct pod *p, unsigned pod_what, unsigned container_what, struct pod_sample *ret, crio_err *err);
void pod_sample_release(struct pod_sample *s);

/* What a container has written, as last measured. */
struct layer_usage {
	bool known; /* false: not measured yet, but that has been asked for now */
	uint64_t bytes, inodes;
	int64_t time_ns; /* Unix */
};
struct layer_usage container_layer_usage(struct container *c);
/* Where its root is mounted, borrowed; "" unknown. */
const char *container_rootfs(const struct container *c);
struct fs_sizes {
	uint64_t bytes, inodes, inodes_free;
};
/* Of the file system that it writes to. False: that cannot be told. */
bool container_fs_sizes(const struct container *c, struct fs_sizes *ret);

/* Of all its processes. */
struct process_figures {
	uint64_t processes, descriptors, sockets;
	uint64_t files_soft; /* RLIMIT_NOFILE of its init; UINT64_MAX unlimited */
};
/* NOT_FOUND: it has none. Goes through /proc/<pid>/fd of each. */
int container_processes(struct container *c, struct process_figures *ret, crio_err *err);

#endif
