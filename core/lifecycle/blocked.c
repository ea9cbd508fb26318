/* blocked.c: who keeps a container from ending: tasks in state D, which a dead file server or device leaves. */
#include <fcntl.h>

#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"

#define PIDS_MAX 256

/* "12 (dd) D ...": the name may have anything in it but its end is the last ')'. */
static bool is_blocked(pid_t pid, char name[24])
{
	char path[40], stat[256];
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (fs_read_small(AT_FDCWD, path, stat, sizeof(stat), NULL) <= 0)
		return false;
	char *open_ = strchr(stat, '('), *close_ = strrchr(stat, ')');
	if (!open_ || !close_ || close_ < open_ || strncmp(close_, ") D", 3) != 0)
		return false;
	*close_ = '\0';
	(void)snprintf(name, 24, "%s", open_ + 1);
	return true;
}

void container_blocked(const struct container *c, char *ret, size_t n)
{
	cleanup_free char *path = NULL;
	cleanup_free pid_t *pids = calloc(PIDS_MAX, sizeof(*pids));
	size_t count = 0, used = 0;
	*ret = '\0';
	if (!pids || cgroup_fs_path(c->lc->systemd, c->pod->cgroup_parent, c->id, &path, NULL) < 0 ||
	    cgroup_pids(path, pids, PIDS_MAX, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count && used < n; i++) {
		char name[24];
		if (is_blocked(pids[i], name))
			used += (size_t)snprintf(ret + used, n - used, "%s%d (%s)", used ? ", " : "", (int)pids[i], name);
	}
}
