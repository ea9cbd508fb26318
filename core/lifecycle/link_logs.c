/*
 * link_logs.c: link-logs.crio.io: the pod's log directory, seen in one of its emptyDir volumes. The kubelet's directories are
 * where it always keeps them; a container may write below its volume, so that nothing there is followed.
 */
#include <fcntl.h>
#include <sys/mount.h>

#include "core/lifecycle/annotations.h"
#include "core/lifecycle/inner.h"
#include "core/lifecycle/selinux.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define PODS_DIR "/var/lib/kubelet/pods"
#define LOGS_DIR "/var/log/pods"

/* As Kubernetes names volumes: letters, digits and '-' inside. */
static bool is_label(const char *s)
{
	size_t n = strlen(s);
	return n > 0 && n <= 63 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n && *s != '-' && s[n - 1] != '-';
}

static const char *volume_of(const struct pod *p)
{
	return annotation_get(&p->config.annotations, ANN_LINK_LOGS, NULL);
}

/* "<uid>/volumes/kubernetes.io~empty-dir/<volume>", the caller's. */
static int below_pods(const struct pod *p, char **ret, crio_err *err)
{
	const char *v = volume_of(p);
	if (!is_label(v))
		return err_set(err, CRIO_E_INVALID, "empty dir vol name is invalid: %.64s", v);
	if (!path_is_name(p->config.meta.uid))
		return err_set(err, CRIO_E_INVALID, "%s: the pod has no uid", ANN_LINK_LOGS);
	*ret = path_fmt("%s/volumes/kubernetes.io~empty-dir/%s", p->config.meta.uid, v);
	return *ret ? 0 : err_nomem(err);
}

static int open_beneath(const char *top, const char *path, crio_err *err)
{
	cleanup_close int dir = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_errno(err, errno, "open %s", top);
	int fd = fs_open_beneath(dir, path, O_PATH | O_DIRECTORY, 0, err);
	return fd < 0 ? err_wrap(err, "%s", top) : fd;
}

int link_logs_mount(const struct pod *p, crio_err *err)
{
	if (!volume_of(p))
		return 0;
	const struct pod_metadata *m = &p->config.meta;
	cleanup_free char *to = NULL, *from = path_fmt("%s_%s_%s", m->ns, m->name, m->uid);
	int r = from ? below_pods(p, &to, err) : err_nomem(err);
	if (r < 0)
		return r;
	cleanup_close int src = open_beneath(LOGS_DIR, from, err);
	if (src < 0)
		return err_wrap(err, "link the pod's logs");
	cleanup_close int dst = open_beneath(PODS_DIR, to, err);
	if (dst < 0)
		return err_wrap(err, "link the pod's logs");
	char a[48], b[48];
	(void)snprintf(a, sizeof(a), "/proc/thread-self/fd/%d", src);
	(void)snprintf(b, sizeof(b), "/proc/thread-self/fd/%d", dst);
	if (mount(a, b, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_errno(err, errno, "mount " LOGS_DIR "/%s at " PODS_DIR "/%s", from, to);
	/* The container writes nothing here, but must be allowed to read. */
	int l = selinux_relabel(NULL, a, pod_file_label(p), 0, err);
	if (l < 0)
		return l;
	log_info("Mounted " LOGS_DIR "/%s at " PODS_DIR "/%s for linked logs", from, to);
	return 0;
}

int link_logs_unmount(const struct pod *p, crio_err *err)
{
	cleanup_free char *to = NULL;
	/* A name that is none was never mounted. */
	if (!volume_of(p) || below_pods(p, &to, NULL) < 0)
		return 0;
	cleanup_free char *path = path_fmt(PODS_DIR "/%s", to);
	return path ? fs_umount(path, err) : err_nomem(err);
}

int link_logs_add(const struct container *c, crio_err *err)
{
	const struct container_metadata *m = &c->config.meta;
	cleanup_free char *to = NULL;
	if (!volume_of(c->pod))
		return 0;
	int r = below_pods(c->pod, &to, err);
	if (r < 0)
		return r;
	cleanup_close int dir = open_beneath(PODS_DIR, to, err);
	if (dir < 0)
		return err_wrap(err, "link the container's log");
	/* Relative: it is right inside the container and outside. */
	cleanup_free char *target = path_fmt("%s/%u.log", m->name, m->attempt);
	char name[80];
	(void)snprintf(name, sizeof(name), "%s.log", c->id);
	if (!target)
		return err_nomem(err);
	if (symlinkat(target, dir, name) < 0 && errno != EEXIST)
		return err_errno(err, errno, "link the log of container %s in " PODS_DIR "/%s", c->id, to);
	return 0;
}

void link_logs_del(const struct container *c)
{
	cleanup_free char *to = NULL;
	char name[80];
	if (!volume_of(c->pod) || below_pods(c->pod, &to, NULL) < 0)
		return;
	cleanup_close int dir = open_beneath(PODS_DIR, to, NULL);
	(void)snprintf(name, sizeof(name), "%s.log", c->id);
	if (dir >= 0)
		(void)unlinkat(dir, name, 0);
}
