/*
 * cgroup.h: control groups: which version, where a container's is and the pod's parent. v1 (each
 * controller mounted by itself), v2, and hybrid (v1 with an extra cgroup2 tree, handled as v1).
 */
#ifndef LIFECYCLE_CGROUP_H
#define LIFECYCLE_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/lifecycle/config.h"

struct cgroup_facts {
	bool v2;
	bool has_memory_swap, has_pids, has_hugetlb;
};
/* Read at the first call. Thread-safe. */
const struct cgroup_facts *cgroup_facts(void);
/* For tests: reads another tree laid out like /sys/fs/cgroup; NULL: the real one again. */
void cgroup_set_root_for_test(const char *root, bool v2);

/*
 * The parent as the client named it, checked and made absolute: "" is "/crio" (cgroupfs) or "system.slice" (systemd).
 * systemd: must end in .slice, cgroupfs must not end in .slice. No "..", no control bytes.
 */
int cgroup_parent_check(bool systemd, const char *parent, char **ret, crio_err *err);
/* OCI linux.cgroupsPath: "<parent>/crio-<id>" or "<slice>:crio:<id>". */
int cgroup_oci_path(bool systemd, const char *parent, const char *id, char **ret, crio_err *err);
/* Where that is below the cgroup root: "/kubepods/pod1/crio-<id>", "/a.slice/a-b.slice/crio-<id>.scope". */
int cgroup_fs_path(bool systemd, const char *parent, const char *id, char **ret, crio_err *err);
/* The pod's own group below the cgroup root. */
int cgroup_parent_fs_path(bool systemd, const char *parent, char **ret, crio_err *err);

/* Makes the group in every v1 controller (or in v2, with controllers enabled down to it); there already is success. */
int cgroup_make(const char *fs_path, crio_err *err);
/* Removes it and empty groups below it from every controller; absent is success, busy is UNAVAILABLE. */
int cgroup_remove(const char *fs_path, crio_err *err);
/* Puts a process in it, in every controller. */
int cgroup_join(const char *fs_path, pid_t pid, crio_err *err);
/* Paths of the cgroup.procs files to write for joining (struct spawn.cgroup_procs). */
int cgroup_procs_files(const char *fs_path, struct strv *ret, crio_err *err);
/* Its processes, with those of groups below it; at most max. */
int cgroup_pids(const char *fs_path, pid_t *ret, size_t max, size_t *ret_n, crio_err *err);
/* cpuset.cpus, memory, ... of a group from CRI resources: for the pod's infra or workload. 0 and "" are left alone. */
int cgroup_apply(const char *fs_path, const struct resources *r, crio_err *err);
/* The path of a process below the root of controller ("memory"; v2: ignored). */
int cgroup_of_pid(pid_t pid, const char *controller, char **ret, crio_err *err);

#endif
