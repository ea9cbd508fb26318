/*
 * mounts.h: the mounts of a container, in order, and the volumes recorded for ContainerStatus. Part of spec.c's work, by
 * itself so that it can be tested by itself.
 */
#ifndef LIFECYCLE_MOUNTS_H
#define LIFECYCLE_MOUNTS_H

#include "core/lifecycle/spec.h"

/* Fills spec's mounts, linux.rootfsPropagation, and *ret_volumes (array of CRI-O's volume records; caller puts). */
int mounts_build(const struct spec_args *a, struct json_object *spec, bool privileged, bool systemd,
		 struct json_object **ret_volumes, crio_err *err);
/* Cleans an absolute container path: no empty, "." or ".." component; INVALID otherwise. The caller's. */
int mount_clean_path(const char *path, char **ret, crio_err *err);

#endif
