/*
 * spec.h: the OCI runtime spec (config.json) of a container and of a pod, made from what the client asked for, the
 * image's config and the daemon's configuration. The only place that builds one. Everything in spec_args is borrowed
 * for the call; NULL strings are taken as "". Thread-safe: no state but the clamp and cgroup facts of this process.
 *
 * Besides the document, making it has effects inside the container's own tree and run directory, as the runtime needs
 * them: the working directory, image volumes, /etc and /etc/mtab are made in the root file system; passwd and group
 * files with the container's user are written to the run directory when the image lacks the entry; missing sources of
 * bind mounts are made on the host. All paths inside the root go through util/fs.h's confined open.
 */
#ifndef LIFECYCLE_SPEC_H
#define LIFECYCLE_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "core/conf/conf.h"
#include "core/image/image.h"
#include "core/lifecycle/config.h"
#include "core/util/json.h"

/* A device row of the configuration or an annotation ("host:container:perm"), parsed by device_parse(). */
struct spec_device {
	const char *host_path, *container_path, *permissions;
};

struct spec_args {
	const struct pod_config *pod;		  /* annotations already filtered (annotations_filter) */
	const struct container_config *container; /* the same; NULL for spec_pod */
	const struct image *image;		  /* NULL for spec_pod without infra container */
	const struct conf *conf;
	const struct conf_runtime *runtime;	/* the handler's; never NULL */
	const struct conf_workload *workload;	/* the activated one, or NULL */
	const struct strv *allowed_annotations; /* the handler's and the workload's (annotations.h); NULL none */

	const char *id, *name;	       /* the container's; for a pod: its id and the infra container's name */
	const char *pod_id, *pod_name; /* pod_name: k8s_<pod>_... */
	const char *runtime_handler;   /* as requested, "" default */
	int64_t created_ns;

	int rootfs_fd; /* the mounted root, O_PATH|O_DIRECTORY; -1 for a spoofed pod */
	bool rootfs_container_ids; /* owners there are ids inside the user namespace (store_root_open), not the host's */
	const char *rootfs_path;
	const char *run_dir; /* <runroot>/<driver>-containers/<id>/userdata, absolute, exists */

	/* The pod's pinned namespaces; "" when the pod uses the host's. */
	const char *netns, *ipcns, *utsns, *userns;
	const struct id_maps *userns_maps; /* of userns; without lines when there is none */
	bool userns_host_ids;	  /* the request's users are ids of the host (the annotation's way), where it maps them */
	const char *pidns; /* pod's or target's pid namespace to join; "": by ns.pid */
	const char *cgroup_parent;
	const char *process_label, *mount_label; /* SELinux; "" none */
	const char *init_label; /* of the process instead, when it is systemd; "" the same */

	/* The pod's files; "" none. */
	const char *hostname; /* resolved: what uname says in the pod */
	const char *resolv_path, *hostname_path, *shm_path, *containerenv_path;
	const char *log_path;	/* absolute */
	const struct strv *ips; /* of the pod, NULL none */

	/* Where image volumes are mounted: one host path for each of container->mounts, NULL or "" for bind mounts. */
	const char *const *image_mounts;
	bool runtime_rro, runtime_idmap; /* `features` of the runtime */
	const char *platform_runtime_path;
	const char *seccomp_listener; /* where the seccomp notifier listens, if the container is to have it (notifier.h); "" or NULL: nowhere */

	/* Pods only. */
	bool spoofed;		/* no infra process */
	const char *cni_result; /* JSON text, "" none */
};

/* What was decided on the way, for ContainerStatus and for the annotations of later updates. */
struct spec_info {
	uint32_t uid, gid;
	uint32_t *groups;
	size_t n_groups;
	char *stop_signal; /* "" default */
	char *seccomp_ref; /* "Unconfined", "RuntimeDefault" or a path */
	bool privileged;
	const char *seccomp_action; /* of the seccomp notifier, from the annotation, which it points into; NULL: it has none */
};
void spec_info_release(struct spec_info *i);
#define cleanup_spec_info CLEANUP(spec_info_release)

/* The container's spec. The caller puts *ret; ret_info may be NULL. INVALID: the request cannot work as it is. */
int spec_container(const struct spec_args *a, struct json_object **ret, struct spec_info *ret_info, crio_err *err);
/* The pod's own: with CRI-O's annotations; a process only when it is not spoofed. */
int spec_pod(const struct spec_args *a, struct json_object **ret, struct spec_info *ret_info, crio_err *err);

/* Replaces linux.resources (and nothing else) by what UpdateContainerResources asks for: fields that are 0 or ""
 * keep their value. Also returns the JSON that `runtime update -r -` takes. */
int spec_update_resources(struct json_object *spec, const struct resources *r, int64_t min_memory, char **ret_update,
			  crio_err *err);
/* linux.resources of a spec, as the CRI reports them. ret is initialised by the call. */
int spec_get_resources(const struct json_object *spec, struct resources *ret, crio_err *err);

/* "host[:container[:perm]]"; a view with copies in buf (at least strlen(s)+1 bytes). */
int device_parse(const char *s, char *buf, size_t n, struct spec_device *ret, crio_err *err);

/* Limits of a request that a client's size limits do not give: counts and lengths of labels, env, mounts, paths.
 * Control bytes in names, hostname, env names, HOME, paths are INVALID. Checked before anything is made. */
int pod_config_check(const struct pod_config *c, crio_err *err);
int container_config_check(const struct container_config *c, crio_err *err);

#endif
