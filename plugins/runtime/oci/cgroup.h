/*
 * cgroup.h: the cgroup file system as the OCI plugins need it: a place for monitors, and ways to signal and remove what
 * is in a cgroup when the runtime cannot be asked. Paths are relative to each hierarchy's mount
 * ("/kubepods/pod1/crio-x").
 */
#ifndef OCI_CGROUP_H
#define OCI_CGROUP_H

#include "util.h"

struct cgroups {
	size_t n;
	bool v2; /* the only hierarchy is the unified one */
	struct {
		char *mount;
		char *options; /* "rw,memory" */
	} h[24];
};

/* Reads which hierarchies are mounted. v1 ones win: a unified tree beside them holds no controllers we use. */
void cgroups_init(struct cgroups *g);
void cgroups_release(struct cgroups *g);
/* Makes the cgroup in every hierarchy, parents too, and adds the cgroup.procs files of it to `procs`. */
int cgroups_make(const struct cgroups *g, const char *path, struct list *procs, const struct crio_host *h,
		 crio_err *err);
/* Signals every process in the cgroup and below. SIGKILL also thaws it: frozen processes would not end. Returns how
 * many there were. */
size_t cgroups_signal(const struct cgroups *g, const char *path, int sig);
/* Kills what is in it and removes it, within timeout_ns. True: it is gone. */
bool cgroups_remove(const struct cgroups *g, const char *path, int64_t timeout_ns);
/* The cgroup a process is in; NULL when it cannot be told or is the root. */
char *cgroups_of(const struct cgroups *g, pid_t pid);
void cgroups_thaw(const struct cgroups *g, const char *path);
bool cgroups_frozen(const struct cgroups *g, const char *path);
/* The group `path` is the container's own, or one below it that its processes have made: cuts the latter off. What crun makes in a
 * scope of systemd's, "container", stays: pausing acts on it. */
void cgroups_trim(char *path, const char *id);
/* The group that the container's is in; NULL without memory, or where that is nobody's: the root, or the system's services. */
char *cgroups_outer(const char *path, const char *id);
/* Times the kernel has killed a process of it, or of one below, for memory. -1: it is gone, or cannot tell. */
int64_t cgroups_oom_kills(const struct cgroups *g, const char *path);

#endif
