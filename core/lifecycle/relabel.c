/* relabel.c: labels of files, see selinux.h. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "core/lifecycle/selinux.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define LABEL_MAX 1024
#define DEPTH_MAX 1000 /* directories in each other, a descriptor each */
#define SHARED_LEVEL "s0"
#define XATTR "security.selinux"

/* The system's own, which no volume may be: who asks for one would take the node from itself. */
static bool is_system(const char *path)
{
	static const char *const dirs[] = {"/",	    "/bin",  "/boot", "/dev",  "/etc",	    "/etc/passwd", "/etc/pki", "/etc/shadow", "/home",
					   "/lib",  "/lib64", "/media", "/opt", "/proc",    "/root",	   "/run",     "/sbin",	      "/srv",
					   "/sys", "/tmp",  "/usr",  "/var",  "/var/lib", "/var/log"};
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (strlen(dirs[i]) == n && !strncmp(dirs[i], path, n))
			return true;
	return false;
}

static bool has_label(const char *path, const char *label, bool follow)
{
	char now[LABEL_MAX + 64];
	ssize_t n = follow ? getxattr(path, XATTR, now, sizeof(now) - 1) : lgetxattr(path, XATTR, now, sizeof(now) - 1);

	if (n <= 0)
		return false;
	now[n] = '\0';
	return str_eq(now, label);
}

struct walk {
	crio_call *call;
	const char *top, *label;
};

/* path: /proc/self/fd/N (follow) or /proc/self/fd/N/NAME, whose last part is not followed. */
static int set_label(const struct walk *w, const char *path, const char *name, bool follow, crio_err *err)
{
	size_t n = strlen(w->label) + 1;

	if (has_label(path, w->label, follow))
		return 0;
	if ((follow ? setxattr(path, XATTR, w->label, n, 0) : lsetxattr(path, XATTR, w->label, n, 0)) == 0)
		return 0;
	/* It has gone meanwhile; it cannot have a label. */
	if (errno == ENOENT || errno == EOPNOTSUPP)
		return 0;
	return err_errno(err, errno, "label '%.200s' in %s with %s", name, w->top, w->label);
}

static int walk(const struct walk *w, int dir, int depth, crio_err *err)
{
	cleanup_closedir DIR *d = NULL;
	struct dirent *e;
	char path[300];
	int r = 0;

	if (depth > DEPTH_MAX) {
		(void)close(dir);
		return err_set(err, CRIO_E_EXHAUSTED, "label %s: more than %d directories deep", w->top, DEPTH_MAX);
	}
	d = fdopendir(dir);
	if (!d) {
		(void)close(dir);
		return err_nomem(err);
	}
	while (r == 0 && (errno = 0, e = readdir(d))) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		if (w->call)
			r = call_check(w->call, "label a volume", err);
		if (r == 0 && (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN)) {
			int sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

			if (sub >= 0)
				r = walk(w, sub, depth + 1, err);
			else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
				r = err_errno(err, errno, "open '%.200s' in %s to label it", e->d_name, w->top);
		}
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, e->d_name);
		if (r == 0)
			r = set_label(w, path, e->d_name, false, err);
	}
	return r == 0 && errno ? err_errno(err, errno, "read directory in %s", w->top) : r;
}

/* The label with the level that everybody may use in place of its own. */
static char *for_all(const char *label)
{
	const char *p = label;

	for (int i = 0; p && i < 3; i++)
		p = (p = strchr(p, ':')) ? p + 1 : NULL;
	return p ? path_fmt("%.*s" SHARED_LEVEL, (int)(p - label), label) : strdup(label);
}

int selinux_relabel(crio_call *call, const char *path, const char *label, int flags, crio_err *err)
{
	cleanup_free char *shared = NULL;
	cleanup_close int fd = -1;
	struct walk w = {call, path, label};
	char proc[48];
	struct stat st;

	if (!selinux_enabled() || !str_set(label))
		return 0;
	if (is_system(path))
		return err_set(err, CRIO_E_INVALID, "SELinux relabeling of %s is not allowed: it is the system's", path);
	if (flags & SELINUX_SHARED) {
		w.label = shared = for_all(label);
		if (!shared)
			return err_nomem(err);
	}
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "open %s to label it", path);
	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if ((flags & SELINUX_UNLESS_RIGHT) && has_label(proc, w.label, true)) {
		log_debug("Skipping relabel for %s, as TrySkipVolumeSELinuxLabel is true and the label of the top level of the volume is already correct",
			  path);
		return 0;
	}
	if (S_ISDIR(st.st_mode)) {
		int dir = open(proc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (dir < 0)
			return err_errno(err, errno, "open %s to label it", path);
		int r = walk(&w, dir, 0, err);
		if (r < 0)
			return r;
	}
	return set_label(&w, proc, ".", true, err);
}
