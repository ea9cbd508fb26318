/* Making and removing a pod's namespaces. */
#include "core/lifecycle/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "core/exec/userns.h"
#include "core/lifecycle/resolv.h"
#include "core/util/failpoint.h"
#include "core/util/fs.h"

#define STACKED_MAX 16 /* mounts on one pin that ns_remove takes off */

static const struct ns_row {
	const char *proc; /* below /proc/thread-self/ns */
	const char *dir;
	int flag;
} ns_rows[NS_KIND_COUNT] = {
    [NS_KIND_NET] = {"net", "netns", CLONE_NEWNET},
    [NS_KIND_IPC] = {"ipc", "ipcns", CLONE_NEWIPC},
    [NS_KIND_UTS] = {"uts", "utsns", CLONE_NEWUTS},
    [NS_KIND_USER] = {"user", "userns", CLONE_NEWUSER},
};

char *netns_path(const char *dir, enum ns_kind kind, const char *name)
{
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	return path_fmt("%.*s/%s/%s", (int)n, dir, ns_rows[kind].dir, name);
}

static bool wanted(const struct netns_args *a, enum ns_kind kind)
{
	switch (kind) {
	case NS_KIND_NET:
		return a->net;
	case NS_KIND_IPC:
		return a->ipc;
	case NS_KIND_UTS:
		return a->uts;
	default:
		return a->maps && id_maps_set(a->maps);
	}
}

static bool is_nsfs(int fd)
{
	struct statfs s;

	return fstatfs(fd, &s) == 0 && s.f_type == NSFS_MAGIC;
}

/* ---- inside, on the short-lived thread ---- */

static int loopback_up(crio_err *err)
{
	struct ifreq req = {.ifr_name = "lo"};
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* A kernel without IPv4 still has the ioctl on other families. */
	if (fd < 0)
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(err, errno, "bring loopback up: socket");
	if (ioctl(fd, SIOCGIFFLAGS, &req) < 0)
		return err_errno(err, errno, "bring loopback up: read the flags of lo");
	req.ifr_flags = (short)(req.ifr_flags | IFF_UP);
	if (ioctl(fd, SIOCSIFFLAGS, &req) < 0)
		return err_errno(err, errno, "bring loopback up: set the flags of lo");
	return 0;
}

/* "/proc/sys/..." of a name that sysctl_check has passed. A name whose first separator is a dot has dots between its
 * components and slashes inside them ("net.ipv4.conf.eth0/100.forwarding"); otherwise it is the other way round. */
static int sysctl_path(const char *name, char *ret, size_t n)
{
	bool dotted = name[strcspn(name, "./")] == '.';
	int len = snprintf(ret, n, "/proc/sys/%s", name);

	if (len < 0 || (size_t)len >= n)
		return -1;
	for (char *p = ret + strlen("/proc/sys/"); dotted && *p; p++) {
		if (*p == '.')
			*p = '/';
		else if (*p == '/')
			*p = '.';
	}
	return 0;
}

/* Those of IPC belong to root of the user namespace that owns it, in newer kernels to nobody else: writes as that user. The raw call
 * changes this thread alone; it takes the daemon's right to be dumped away, which is put back. */
static int write_as_owner(const char *path, const char *value, const struct id_maps *maps, crio_err *err)
{
	int dumpable = userns_dumpable(), r;

	if (syscall(SYS_setresuid, -1, id_to_host(&maps->uids, 0), -1) < 0)
		return err_errno(err, errno, "become root of the user namespace");
	r = fs_write_small(AT_FDCWD, path, value, err);
	if (syscall(SYS_setresuid, -1, 0, -1) < 0 && r == 0)
		r = err_errno(err, errno, "become the host's root again");
	if (dumpable)
		(void)prctl(PR_SET_DUMPABLE, 1);
	return r;
}

static int sysctls_apply(const struct kvs *m, const struct id_maps *maps, crio_err *err)
{
	char path[512];

	for (size_t i = 0; m && i < m->n; i++) {
		cleanup_free char *range = NULL;
		crio_err why = ERR_INIT;
		int r = maps && id_maps_set(maps) ? sysctl_ping_range(m->v[i].key, m->v[i].value, &maps->gids, &range, err) : 0;

		if (r < 0)
			return r;
		if (sysctl_path(m->v[i].key, path, sizeof(path)) < 0)
			return err_set(err, CRIO_E_INVALID, "sysctl '%s': name too long", m->v[i].key);
		r = fs_write_small(AT_FDCWD, path, range ? range : m->v[i].value, &why);
		if (r == CRIO_E_DENIED && maps && id_maps_set(maps)) {
			err_clear(&why);
			r = write_as_owner(path, m->v[i].value, maps, &why);
		}
		if (r < 0) {
			(void)err_set(err, CRIO_E_INVALID, "set sysctl '%s' to '%s' in the pod's namespace: %s",
				      m->v[i].key, m->v[i].value, err_text(&why));
			err_clear(&why);
			return CRIO_E_INVALID;
		}
	}
	return 0;
}

/* fd: of the namespace, which the thread is not in; -1: it is. */
static int pin(enum ns_kind kind, int fd, const char *path, crio_err *err)
{
	char from[64];

	/* thread-self: /proc/self/ns would be the main thread's, which is the host's. */
	(void)snprintf(from, sizeof(from), "/proc/thread-self/ns/%s", ns_rows[kind].proc);
	if (fd >= 0)
		(void)snprintf(from, sizeof(from), "/proc/thread-self/fd/%d", fd);
	if (mount(from, path, NULL, MS_BIND, NULL) < 0)
		return err_errno(err, errno, "pin %s namespace at %s", ns_rows[kind].proc, path);
	return FAILPOINT("netns.pinned", err);
}

struct job {
	const struct netns_args *args;
	char *path[NS_KIND_COUNT];
	bool made[NS_KIND_COUNT];
	int flags;
	struct userns owned; /* by the pod's user namespace; all -1 without one */
	int r;
	crio_err err;
};

/* Into new ones, or into those that are made already. */
static int enter(const struct job *j, crio_err *err)
{
	const int fds[] = {j->owned.net, j->owned.ipc, j->owned.uts};

	if (j->owned.user < 0)
		return unshare(j->flags) < 0 ? err_errno(err, errno, "make namespaces") : 0;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0 && setns(fds[i], 0) < 0)
			return err_errno(err, errno, "enter a namespace of the pod's user namespace");
	return 0;
}

static int job_inside(struct job *j)
{
	crio_err *err = &j->err;
	const struct netns_args *a = j->args;
	int r = enter(j, err);

	if (r < 0)
		return r;
	if (a->uts && str_set(a->hostname) && sethostname(a->hostname, strlen(a->hostname)) < 0)
		return err_errno(err, errno, "set host name '%s'", a->hostname);
	if (a->net)
		r = loopback_up(err);
	if (r == 0)
		r = sysctls_apply(a->sysctls, a->maps, err);
	for (int k = 0; r == 0 && k < NS_KIND_COUNT; k++) {
		if (wanted(a, (enum ns_kind)k))
			r = pin((enum ns_kind)k, k == NS_KIND_USER ? j->owned.user : -1, j->path[k], err);
	}
	return r;
}

static void *job_thread(void *arg)
{
	struct job *j = arg;

	j->r = job_inside(j);
	return NULL;
}

/* Runs it on a thread that then ends, which drops what namespaces it entered. Signals stay with the daemon's threads. */
static int on_own_thread(void *(*fn)(void *), void *arg, crio_err *err)
{
	sigset_t all, old;
	pthread_t t;
	int e;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(&t, NULL, fn, arg);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e)
		return err_errno(err, e, "start a thread for the pod's namespaces");
	(void)pthread_join(t, NULL);
	return 0;
}

/* After it only the pins hold the namespaces. */
static int job_run(struct job *j, crio_err *err)
{
	int r = on_own_thread(job_thread, j, err);

	if (r < 0)
		return r;
	return j->r < 0 ? err_move(err, &j->err) : 0;
}

/* ---- outside ---- */

static int args_check(const struct netns_args *a, crio_err *err)
{
	if (!path_is_name(a->name) || strlen(a->name) > 128)
		return err_set(err, CRIO_E_INVALID, "namespace name '%s' is not a plain file name", a->name);
	if (!path_is_clean_abs(a->dir))
		return err_set(err, CRIO_E_INVALID, "namespaces_dir '%s' is not an absolute path", a->dir);
	if (a->uts && str_set(a->hostname)) {
		int r = hostname_check(a->hostname, err);
		if (r < 0)
			return r;
	}
	if (a->maps && id_maps_set(a->maps)) {
		int r = id_maps_check(a->maps, -1, -1, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; a->sysctls && i < a->sysctls->n; i++) {
		int r = sysctl_check(a->sysctls->v[i].key, a->sysctls->v[i].value, a->net, a->ipc, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The empty file that carries the mount. */
static int pin_file(struct job *j, enum ns_kind kind, crio_err *err)
{
	const struct netns_args *a = j->args;
	cleanup_free char *parent = NULL;
	cleanup_close int fd = -1;
	int r;

	j->path[kind] = netns_path(a->dir, kind, a->name);
	if (!j->path[kind])
		return err_nomem(err);
	parent = strdup(j->path[kind]);
	if (!parent)
		return err_nomem(err);
	*strrchr(parent, '/') = '\0';
	r = fs_mkdir_p(parent, 0755, err);
	if (r < 0)
		return err_wrap(err, "make the directory of pinned namespaces");
	fd = open(j->path[kind], O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
	if (fd < 0)
		return err_errno(err, errno, "make %s", j->path[kind]);
	j->made[kind] = true;
	return FAILPOINT("netns.file", err);
}

struct socket_job {
	int netns, family, fd;
	int error; /* errno, of the step below */
	const char *step;
};

static void *socket_inside(void *arg)
{
	struct socket_job *j = arg;

	j->step = "enter the namespace";
	if (setns(j->netns, CLONE_NEWNET) == 0) {
		j->step = "make a socket";
		j->fd = socket(j->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	}
	j->error = j->fd < 0 ? errno : 0;
	return NULL;
}

int netns_socket(int fd, int family, crio_err *err)
{
	struct socket_job j = {.netns = fd, .family = family, .fd = -1};
	int r;

	if (fd < 0) {
		j.fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		return j.fd < 0 ? err_errno(err, errno, "make a socket") : j.fd;
	}
	r = on_own_thread(socket_inside, &j, err);
	if (r < 0)
		return r;
	return j.fd < 0 ? err_errno(err, j.error, "a socket in the pod's network namespace: %s", j.step) : j.fd;
}

int netns_create(const struct netns_args *args, crio_err *err)
{
	struct job j = {.args = args, .owned = USERNS_INIT};
	int r = args_check(args, err);

	for (int k = 0; r == 0 && k < NS_KIND_COUNT; k++) {
		if (!wanted(args, (enum ns_kind)k))
			continue;
		j.flags |= ns_rows[k].flag;
		r = pin_file(&j, (enum ns_kind)k, err);
	}
	if (r == 0 && (j.flags & CLONE_NEWUSER))
		r = userns_make(args->maps, j.flags & ~CLONE_NEWUSER, &j.owned, err);
	if (r == 0 && j.flags)
		r = job_run(&j, err);
	for (int k = 0; k < NS_KIND_COUNT; k++) {
		if (r < 0 && j.made[k])
			(void)ns_remove(j.path[k], NULL);
		free(j.path[k]);
	}
	userns_release(&j.owned);
	return r;
}

/* Takes off what is mounted on path: 0, or an error when it is anything but namespaces. */
static int unpin(const char *path, crio_err *err)
{
	for (int i = 0; i < STACKED_MAX; i++) {
		cleanup_close int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		int r;

		if (fd < 0 || !is_nsfs(fd))
			return 0; /* absent, or the plain file below */
		r = fs_umount(path, err);
		if (r < 0)
			return r;
	}
	return err_set(err, CRIO_E_PRECONDITION, "%s has more than %d mounts on it: unmount them by hand", path,
		       STACKED_MAX);
}

int ns_remove(const char *path, crio_err *err)
{
	struct stat st;
	int r = unpin(path, err);

	if (r < 0)
		return r;
	if (lstat(path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_errno(err, errno, "look at %s", path);
	if (!S_ISREG(st.st_mode) || st.st_size != 0)
		return err_set(err, CRIO_E_PRECONDITION,
			       "%s is neither a pinned namespace nor an empty file: not removed", path);
	r = FAILPOINT("netns.unpinned", err);
	return r < 0 ? r : fs_unlink(path, err);
}

int netns_remove(const char *dir, const char *name, crio_err *err)
{
	int first = 0;

	if (!path_is_name(name))
		return err_set(err, CRIO_E_INVALID, "namespace name '%s' is not a plain file name", name);
	for (int k = 0; k < NS_KIND_COUNT; k++) {
		cleanup_free char *path = netns_path(dir, (enum ns_kind)k, name);
		int r = path ? ns_remove(path, first ? NULL : err) : first ? CRIO_E_NOMEM : err_nomem(err);

		if (r < 0 && !first)
			first = r;
	}
	return first;
}

int ns_open(const char *path, enum ns_kind kind, crio_err *err)
{
	/* O_PATH first: a FIFO or device put there must not be opened. */
	cleanup_close int at = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	cleanup_close int fd = -1;
	char proc[64];

	if (at < 0)
		return err_errno(err, errno, "open namespace %s", path);
	if (!is_nsfs(at))
		return err_set(err, CRIO_E_PRECONDITION,
			       "%s is not a pinned namespace (left over from before a reboot?)", path);
	(void)snprintf(proc, sizeof(proc), "/proc/thread-self/fd/%d", at);
	fd = open(proc, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open namespace %s", path);
	if (ioctl(fd, NS_GET_NSTYPE) != ns_rows[kind].flag)
		return err_set(err, CRIO_E_PRECONDITION, "%s is not a namespace of kind %s", path, ns_rows[kind].proc);
	return move_fd(fd);
}

bool ns_is(const char *path, enum ns_kind kind)
{
	int fd = ns_open(path, kind, NULL);

	if (fd < 0)
		return false;
	(void)safe_close(fd);
	return true;
}

int ns_is_own(int fd, enum ns_kind kind, crio_err *err)
{
	struct stat own, st;
	char path[64];

	/* No thread of the daemon but the short-lived one above leaves the daemon's namespaces. */
	(void)snprintf(path, sizeof(path), "/proc/thread-self/ns/%s", ns_rows[kind].proc);
	if (stat(path, &own) < 0)
		return err_errno(err, errno, "look at %s", path);
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "look at a namespace");
	return own.st_dev == st.st_dev && own.st_ino == st.st_ino;
}
