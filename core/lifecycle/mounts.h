/*
 * mounts.h: the mounts of a container, in order, and the volumes recorded for ContainerStatus. Part of spec.c's work,
 * by itself so that it can be tested by itself.
 */
#ifndef LIFECYCLE_MOUNTS_H
#define LIFECYCLE_MOUNTS_H

#include "core/lifecycle/spec.h"

/* What the mounts of one container depend on besides the request. */
struct mounts_args {
	const struct spec_args *a;
	bool privileged, systemd, read_only;
	uint32_t uid, gid;		      /* owner of image volumes that are made */
	const char *passwd_path, *group_path; /* generated files to mount, "" none */
};

/* Fills spec's mounts and linux.rootfsPropagation, makes missing sources, and sets *ret_volumes (array of CRI-O's
 * volume records; the caller puts). */
int mounts_build(const struct mounts_args *m, struct json_object *spec, struct json_object **ret_volumes,
		 crio_err *err);
/* The mounts of a pod's own process. */
int mounts_build_pod(const struct spec_args *a, struct json_object *spec, crio_err *err);

/* Cleans a container path lexically ("a//b/../c" is "/a/c"); "", control bytes or more than 4096 bytes: INVALID. The
 * caller's. */
int mount_clean_path(const char *path, char **ret, crio_err *err);
/* Is there a mount at this (clean) path among the request's? */
bool mounts_requested(const struct container_config *c, const char *path);

/* What the node mounts in every container: the lines of `conf` ("": mounts.conf in its usual places), copied below run_dir. ret
 * gets clean container path -> copy. A line that cannot be used is logged and left out. */
int default_mounts(const char *conf, const char *run_dir, uid_t uid, gid_t gid, struct kvs *ret, crio_err *err);

/* How the mount that `path` is on propagates, from text in the form of /proc/self/mountinfo. */
enum mount_sharing { MOUNT_IS_PRIVATE, MOUNT_IS_SHARED, MOUNT_IS_SLAVE };
enum mount_sharing mount_sharing_of(const char *mountinfo, const char *path);

#endif
