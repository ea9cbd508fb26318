/* spec_priv.h: between the files that build a spec (spec*.c) only. */
#ifndef LIFECYCLE_SPEC_PRIV_H
#define LIFECYCLE_SPEC_PRIV_H

#include "core/lifecycle/spec.h"

/* A spec under construction. */
struct spec_build {
	const struct spec_args *a;
	struct json_object *spec; /* owned */
	struct spec_info info;	  /* owned */
	bool privileged, systemd, read_only;
	uint64_t caps;			/* bounding set, clamped */
	char *passwd_path, *group_path; /* generated files, NULL none */
};
void spec_build_release(struct spec_build *b);

/* spec_process.c */
int spec_set_args(struct spec_build *b, crio_err *err); /* and b->systemd */
int spec_set_env(struct spec_build *b, crio_err *err);
int spec_set_user(struct spec_build *b, crio_err *err); /* after env: HOME */
int spec_set_caps(struct spec_build *b, crio_err *err);
int spec_set_rlimits(struct spec_build *b, crio_err *err);
int spec_set_cwd(struct spec_build *b, crio_err *err);
int spec_set_security(struct spec_build *b, crio_err *err); /* seccomp, apparmor, no_new_privs, masked paths */

int spec_set_labels(struct spec_build *b, crio_err *err);   /* SELinux; after args */

/* spec_linux.c */
int spec_set_namespaces(struct spec_build *b, const struct namespace_options *ns, crio_err *err);
int spec_set_resources(struct spec_build *b, crio_err *err);
int spec_set_workload(struct spec_build *b, crio_err *err);
int spec_set_devices(struct spec_build *b, crio_err *err); /* spec_devices.c */

/* spec_annotations.c */
int spec_annotate_container(struct spec_build *b, struct json_object *volumes, crio_err *err);
int spec_annotate_pod(struct spec_build *b, crio_err *err);

/* The host's id for one in the container's user namespace, and what it is as an owner in rootfs_fd. Without a user namespace both are the
 * id. An id that is not mapped is root's. */
uid_t spec_host_uid(const struct spec_args *a, uint32_t id);
gid_t spec_host_gid(const struct spec_args *a, uint32_t id);
uid_t spec_root_uid(const struct spec_args *a, uint32_t id);
gid_t spec_root_gid(const struct spec_args *a, uint32_t id);
/* A file of the run directory that the container gets to see: root's there. Nothing without a user namespace. */
int spec_give(const struct spec_args *a, const char *path, crio_err *err);

static inline const char *or_empty(const char *s)
{
	return s ? s : "";
}
static inline struct json_object *spec_process(struct spec_build *b)
{
	return json_need_obj(b->spec, "process");
}
static inline struct json_object *spec_linux(struct spec_build *b)
{
	return json_need_obj(b->spec, "linux");
}

#endif
