/* processes.c: what a container's processes hold open, from /proc. */
#include <dirent.h>
#include <sys/resource.h>

#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/inner.h"

#define PIDS_MAX 4096	      /* processes of one container that are looked at */
#define DESCRIPTORS_MAX 65536 /* of one process */

static void count_descriptors(pid_t pid, struct process_figures *f)
{
	char path[40], to[16];
	cleanup_closedir DIR *d = NULL;
	struct dirent *e;
	size_t n = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d && n < DESCRIPTORS_MAX && (e = readdir(d))) {
		ssize_t k;

		if (e->d_name[0] == '.')
			continue;
		n++;
		k = readlinkat(dirfd(d), e->d_name, to, sizeof(to));
		f->sockets += k > 6 && !memcmp(to, "socket:", 7);
	}
	f->descriptors += n;
}

static void limit_of(struct container *c, struct process_figures *f)
{
	struct rlimit l;
	pid_t pid;

	(void)pthread_mutex_lock(&c->lock);
	pid = c->pid;
	(void)pthread_mutex_unlock(&c->lock);
	if (pid > 0 && prlimit(pid, RLIMIT_NOFILE, NULL, &l) == 0)
		f->files_soft = l.rlim_cur == RLIM_INFINITY ? UINT64_MAX : l.rlim_cur;
}

int container_processes(struct container *c, struct process_figures *ret, crio_err *err)
{
	cleanup_free pid_t *v = calloc(PIDS_MAX, sizeof(*v));
	cleanup_free char *path = NULL;
	struct process_figures f = {0};
	size_t n = 0;
	int r = v ? cgroup_fs_path(c->lc->systemd, c->pod->cgroup_parent, c->id, &path, err) : err_nomem(err);

	if (!r)
		r = cgroup_pids(path, v, PIDS_MAX, &n, err);
	if (r < 0)
		return r;
	if (!n)
		return err_set(err, CRIO_E_NOT_FOUND, "container %s has no processes", c->id);
	f.processes = n;
	for (size_t i = 0; i < n; i++)
		count_descriptors(v[i], &f);
	limit_of(c, &f);
	*ret = f;
	return 0;
}
