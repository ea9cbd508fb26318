/*
 * convert.h: between the wire's structs and the core's. Requests are checked here for what the core takes for granted:
 * parts that must be there, enums in range, counts. Functions that fill a config leave it releasable when they fail.
 */
#ifndef RPC_CONVERT_H
#define RPC_CONVERT_H

#include "core/image/image.h"
#include "core/lifecycle/config.h"
#include "core/lifecycle/lifecycle.h"
#include "core/rpc/cri.h"

/* Limits of one request, far above what Kubernetes lets through. More is CRIO_E_INVALID naming the field. */
#define CONVERT_ENV_MAX 32768u
#define CONVERT_ENV_BYTES (8u << 20) /* execve takes less */
#define CONVERT_MOUNTS_MAX 4096u
#define CONVERT_DEVICES_MAX 4096u
#define CONVERT_ARGS_MAX 32768u /* command, args, ExecSync's cmd: each */
#define CONVERT_PORTS_MAX 8192u
#define CONVERT_MAPPINGS_MAX 340u /* lines of /proc/PID/uid_map that the kernel takes */
#define CONVERT_GROUPS_MAX 65536u /* NGROUPS_MAX */
#define CONVERT_LIST_MAX 4096u	  /* every other list of strings */

/* ---- requests (convert_pod.c, convert_container.c, convert_parts.c) ---- */

/* *dst has been initialised with pod_config_init. */
int convert_pod_config(struct pod_config *dst, const CRI(PodSandboxConfig) * src, crio_err *err);
/* *dst has been initialised with container_config_init. */
int convert_container_config(struct container_config *dst, const CRI(ContainerConfig) * src, crio_err *err);

int convert_str(char **dst, const char *src, crio_err *err);
int convert_strs(struct strv *dst, char *const *v, size_t n, const char *field, size_t max, crio_err *err);
/* Maps arrive as entries of differing types that all begin like this. Later equal keys win; dst is sorted by key. */
int convert_map(struct kvs *dst, const void *entries, size_t n, crio_err *err);
int convert_mappings(struct id_map *dst, CRI(IDMapping) *const *v, size_t n, const char *field, crio_err *err);
int convert_resources(struct resources *dst, const CRI(LinuxContainerResources) * src, crio_err *err);
int convert_pod_security(struct security_context *dst, const CRI(LinuxSandboxSecurityContext) * src, crio_err *err);
int convert_container_security(struct security_context *dst, const CRI(LinuxContainerSecurityContext) * src,
			       crio_err *err);

/* ---- replies (convert_out.c) ----
 * The structs and arrays are the call's memory; strings are borrowed from the argument, which must outlive the packing.
 */

int convert_kvs_out(crio_call *call, const struct kvs *m, void *ret_entries, size_t *ret_n, crio_err *err);
int convert_pod_status_out(crio_call *call, const struct pod_status *s, CRI(PodSandboxStatus) * *ret, crio_err *err);
int convert_pod_out(crio_call *call, const struct pod_status *s, CRI(PodSandbox) * *ret, crio_err *err);
int convert_container_status_out(crio_call *call, const struct container_status *s, CRI(ContainerStatus) * *ret,
				 crio_err *err);
int convert_container_out(crio_call *call, const struct container_status *s, CRI(Container) * *ret, crio_err *err);

/* Figures (convert_stats.c): the message and all it points to; labels are the call's, strings the object's. */
struct psi_out {
	CRI(PsiStats) stats;
	CRI(PsiData) data[2];
};
struct usage_out {
	CRI(CpuUsage) cpu;
	CRI(MemoryUsage) memory;
	CRI(IoUsage) io;
	struct psi_out psi[3];
	CRI(UInt64Value) v[14]; /* all numbers of the message */
	size_t n;
};
struct container_stats_out {
	CRI(ContainerStats) stats;
	CRI(ContainerAttributes) attributes;
	CRI(ContainerMetadata) meta;
	CRI(SwapUsage) swap;
	CRI(FilesystemUsage) fs;
	CRI(FilesystemIdentifier) fs_id;
	struct usage_out u;
	int64_t cpu_time_ns;
};
struct pod_stats_out {
	CRI(PodSandboxStats) stats;
	CRI(LinuxPodSandboxStats) linux_;
	CRI(PodSandboxAttributes) attributes;
	CRI(PodSandboxMetadata) meta;
	CRI(ProcessUsage) process;
	CRI(NetworkUsage) network;
	struct usage_out u;
};
struct stats_sample;
struct pod_sample;
int convert_container_stats(crio_call *call, struct container *c, const struct stats_sample *s, struct container_stats_out *ret,
			    crio_err *err);
/* ret also borrows from s. */
int convert_pod_stats(crio_call *call, const struct pod *p, const struct pod_sample *s, struct pod_stats_out *ret, crio_err *err);
int convert_image_out(crio_call *call, const struct image *im, CRI(Image) * *ret, crio_err *err);

#endif
