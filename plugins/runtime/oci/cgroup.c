#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#define DEPTH_MAX 8    /* of cgroups below a container's */
#define PIDS_MAX 65536 /* processes signalled in one pass */

static void add_hierarchy(struct cgroups *g, const char *mount, const char *options)
{
	if (g->n >= N_ELEMENTS(g->h))
		return;
	g->h[g->n].mount = strdup(mount);
	g->h[g->n].options = strdup(options);
	if (!g->h[g->n].mount || !g->h[g->n].options) {
		free(g->h[g->n].mount);
		free(g->h[g->n].options);
		return;
	}
	g->n++;
}

void cgroups_init(struct cgroups *g)
{
	auto_free char *line = NULL;
	char unified[PATH_MAX] = "";
	FILE *f = fopen("/proc/self/mounts", "re");
	size_t cap = 0;

	memset(g, 0, sizeof(*g));
	if (!f)
		return;
	while (getline(&line, &cap, f) > 0) {
		char *save, *dir, *type, *options;

		if (!strtok_r(line, " ", &save))
			continue;
		dir = strtok_r(NULL, " ", &save);
		type = strtok_r(NULL, " ", &save);
		options = strtok_r(NULL, " ", &save);
		if (!options || strlen(dir) >= sizeof(unified))
			continue;
		if (!strcmp(type, "cgroup"))
			add_hierarchy(g, dir, options);
		else if (!strcmp(type, "cgroup2") && !*unified)
			memcpy(unified, dir, strlen(dir) + 1);
	}
	fclose(f);
	if (!g->n && *unified) {
		g->v2 = true;
		add_hierarchy(g, unified, "");
	}
}

void cgroups_release(struct cgroups *g)
{
	for (size_t i = 0; i < g->n; i++) {
		free(g->h[i].mount);
		free(g->h[i].options);
	}
	memset(g, 0, sizeof(*g));
}

/* Is `word` one of the comma-separated options? */
static bool has_option(const char *options, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = options; (p = strstr(p, word)); p += n) {
		if ((p == options || p[-1] == ',') && (!p[n] || p[n] == ','))
			return true;
	}
	return false;
}

static const char *mount_of(const struct cgroups *g, const char *controller)
{
	for (size_t i = 0; i < g->n; i++) {
		if (g->v2 || has_option(g->h[i].options, controller))
			return g->h[i].mount;
	}
	return NULL;
}

/* Below the root, no "..": what is killed or removed must be a cgroup of a container or its monitor. */
static bool path_is_safe(const char *path)
{
	return path && path_is_good(path) && path[1] && path[1] != '/';
}

/* A new v1 cpuset is empty and takes no process until it has CPUs and memory nodes. */
static void fill_cpuset(const char *dir, const char *parent, const char *file)
{
	auto_free char *own = fmt("%s/%s", dir, file), *from = fmt("%s/%s", parent, file), *text = NULL;

	if (!own || !from)
		return;
	text = file_read(own, 4096, NULL);
	if (!text || *text > ' ')
		return;
	free(text);
	text = file_read(from, 4096, NULL);
	if (text)
		(void)file_write(own, text);
}

static int make_one(const struct cgroups *g, size_t i, const char *path)
{
	const char *mount = g->h[i].mount;
	bool cpuset = !g->v2 && has_option(g->h[i].options, "cpuset");
	auto_free char *full = fmt("%s%s", mount, path);
	size_t base = strlen(mount);

	if (!full)
		return -ENOMEM;
	for (char *p = full + base + 1;; p++) {
		char c = *p;

		if (c && c != '/')
			continue;
		*p = 0;
		if (mkdir(full, 0755) && errno != EEXIST)
			return -errno;
		if (cpuset) {
			char *slash = strrchr(full, '/');

			*slash = 0;
			auto_free char *parent = strdup(full);
			*slash = '/';
			if (!parent)
				return -ENOMEM;
			fill_cpuset(full, parent, "cpuset.cpus");
			fill_cpuset(full, parent, "cpuset.mems");
		}
		*p = c;
		if (!c)
			return 0;
	}
}

int cgroups_make(const struct cgroups *g, const char *path, struct list *procs, const struct crio_host *h,
		 crio_err *err)
{
	if (!path_is_safe(path))
		return h->fail(err, CRIO_E_INVALID, "cgroup '%s' is not an absolute path below the root", str0(path));
	for (size_t i = 0; i < g->n; i++) {
		int r = make_one(g, i, path);

		if (r < 0)
			return h->fail(err, CRIO_E_IO, "make cgroup %s%s: %s", g->h[i].mount, path, strerror(-r));
		list_addf(procs, "%s%s/cgroup.procs", g->h[i].mount, path);
	}
	return procs->oom ? h->fail(err, CRIO_E_NOMEM, "make cgroup %s: no memory", path) : 0;
}

static size_t signal_dir(const char *dir, int sig, int depth)
{
	auto_free char *procs = fmt("%s/cgroup.procs", dir);
	FILE *f = procs ? fopen(procs, "re") : NULL;
	size_t n = 0;
	DIR *d;
	int pid;

	if (f) {
		while (n < PIDS_MAX && fscanf(f, "%d", &pid) == 1) {
			if (pid <= 1 || pid == getpid())
				continue;
			(void)kill(pid, sig);
			n++;
		}
		fclose(f);
	}
	d = depth < DEPTH_MAX ? opendir(dir) : NULL;
	if (!d)
		return n;
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		auto_free char *sub = fmt("%s/%s", dir, e->d_name);
		if (sub)
			n += signal_dir(sub, sig, depth + 1);
	}
	closedir(d);
	return n;
}

void cgroups_thaw(const struct cgroups *g, const char *path)
{
	const char *mount = mount_of(g, "freezer");
	auto_free char *file = NULL;

	if (!mount || !path_is_safe(path))
		return;
	file = fmt("%s%s/%s", mount, path, g->v2 ? "cgroup.freeze" : "freezer.state");
	if (file)
		(void)file_write(file, g->v2 ? "0" : "THAWED");
}

static size_t signal_all(const struct cgroups *g, const char *path, int sig)
{
	if (!path_is_safe(path))
		return 0;
	for (size_t i = 0; i < g->n; i++) {
		auto_free char *dir = fmt("%s%s", g->h[i].mount, path);
		size_t n;

		if (!dir)
			continue;
		if (g->v2 && sig == SIGKILL) {
			auto_free char *all = fmt("%s/cgroup.kill", dir);

			if (all && !file_write(all, "1"))
				return 1;
		}
		n = signal_dir(dir, sig, 0);
		/* the same processes are in every hierarchy: one of them is enough */
		if (n)
			return n;
	}
	return 0;
}

size_t cgroups_signal(const struct cgroups *g, const char *path, int sig)
{
	size_t n = signal_all(g, path, sig);

	if (n && sig == SIGKILL)
		cgroups_thaw(g, path);
	return n;
}

/* rmdir of a cgroup and those below it. 0, or the errno of the first that stays. */
static int remove_dir(const char *dir, int depth)
{
	int e;
	DIR *d;

	if (!rmdir(dir) || errno == ENOENT)
		return 0;
	e = errno;
	d = depth < DEPTH_MAX ? opendir(dir) : NULL;
	if (!d)
		return e;
	for (struct dirent *de; (de = readdir(d));) {
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		auto_free char *sub = fmt("%s/%s", dir, de->d_name);
		if (sub)
			(void)remove_dir(sub, depth + 1);
	}
	closedir(d);
	return rmdir(dir) && errno != ENOENT ? errno : 0;
}

bool cgroups_remove(const struct cgroups *g, const char *path, int64_t timeout_ns)
{
	int64_t end = mono_ns() + timeout_ns, nap = NSEC_PER_MSEC;

	if (!path_is_safe(path))
		return true;
	for (;;) {
		bool left = false;

		for (size_t i = 0; i < g->n; i++) {
			auto_free char *dir = fmt("%s%s", g->h[i].mount, path);

			left |= !dir || remove_dir(dir, 0) != 0;
		}
		if (!left)
			return true;
		if (mono_ns() >= end)
			return false;
		/* the kernel frees a cgroup a moment after its last process has gone */
		(void)cgroups_signal(g, path, SIGKILL);
		(void)usleep((useconds_t)(nap / 1000));
		nap = nap < 20 * NSEC_PER_MSEC ? nap * 2 : nap;
	}
}

char *cgroups_of(const struct cgroups *g, pid_t pid)
{
	char file[64], *line = NULL, *ret = NULL;
	size_t cap = 0;
	FILE *f;

	(void)snprintf(file, sizeof(file), "/proc/%d/cgroup", (int)pid);
	f = fopen(file, "re");
	if (!f)
		return NULL;
	while (getline(&line, &cap, f) > 0) {
		char *save, *nr = strtok_r(line, ":", &save), *ctl = NULL, *path;

		line[strcspn(line, "\n")] = 0;
		if (!nr)
			continue;
		path = save;
		if (*path == ':') {
			ctl = (char *)"";
			path++;
		} else {
			ctl = strtok_r(NULL, ":", &save);
			path = save;
		}
		if (!ctl || !path)
			continue;
		path[strcspn(path, "\n")] = 0;
		if (g->v2 ? !*ctl : has_option(ctl, "memory") || (!ret && *ctl)) {
			free(ret);
			ret = path_is_safe(path) ? strdup(path) : NULL;
			if (ret && has_option(ctl, "memory"))
				break;
		}
	}
	free(line);
	fclose(f);
	return ret;
}

void cgroups_trim(char *path, const char *id)
{
	static const char inner[] = "/container";
	char *at = strstr(path, id), *end = at ? strchr(at, '/') : NULL;
	size_t n = sizeof(inner) - 1;

	if (!end)
		return;
	if (end - at > 6 && !strncmp(end - 6, ".scope", 6) && !strncmp(end, inner, n) && (!end[n] || end[n] == '/'))
		end += n;
	*end = 0;
}

char *cgroups_outer(const char *path, const char *id)
{
	const char *at = strstr(path, id), *end = at;

	while (end && end > path && *end != '/')
		end--;
	if (!end || end == path || (end - path == 13 && !strncmp(path, "/system.slice", 13)))
		return NULL;
	return strndup(path, (size_t)(end - path));
}

bool cgroups_frozen(const struct cgroups *g, const char *path)
{
	const char *mount = mount_of(g, "freezer");
	auto_free char *file = NULL, *text = NULL;

	if (!mount || !path_is_safe(path))
		return false;
	file = fmt("%s%s/%s", mount, path, g->v2 ? "cgroup.freeze" : "freezer.state");
	text = file ? file_read(file, 64, NULL) : NULL;
	return text && (g->v2 ? *text == '1' : !strncmp(text, "FR", 2));
}

int64_t cgroups_oom_kills(const struct cgroups *g, const char *path)
{
	const char *mount = mount_of(g, "memory"), *p;
	auto_free char *file = NULL, *text = NULL;

	if (!mount || !path_is_safe(path))
		return -1;
	file = fmt("%s%s/%s", mount, path, g->v2 ? "memory.events" : "memory.oom_control");
	text = file ? file_read(file, 4096, NULL) : NULL;
	p = text ? strstr(text, "oom_kill ") : NULL;
	return p ? strtoll(p + 9, NULL, 10) : -1;
}
