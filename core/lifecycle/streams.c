/* streams.c: what streams need of a pod or container besides its processes: its terminal, its streams, its network. */
#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "core/lifecycle/inner.h"
#include "core/lifecycle/netns.h"
#include "core/util/fs.h"

int container_can_exec(struct lifecycle *lc, const char *id, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	int r = registry_container(lc, id, &c, err);
	return r < 0 ? r : container_may_exec(c, err);
}

int container_attach(struct lifecycle *lc, crio_call *call, const char *id, struct attached *ret, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	int r = registry_container(lc, id, &c, err);
	if (r == 0)
		r = container_may_exec(c, err);
	if (r < 0)
		return r;
	struct crio_runtime_id_args a = { .size = sizeof(a), .id = c->id };
	struct crio_runtime_fd_out o = { .size = sizeof(o), .fd = -1 };
	r = plugin_runtime_attach(c->pod->runtime, call, &a, &o, err);
	if (r < 0)
		return r;
	int flags = fcntl(o.fd, F_GETFL);
	if (flags < 0 || fcntl(o.fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		(void)safe_close(o.fd);
		return err_errno(err, errno, "attach to container %s: its socket", c->id);
	}
	ret->fd = o.fd;
	ret->tty = c->config.tty;
	ret->stdin_stays = c->config.stdin_open && !c->config.stdin_once;
	return 0;
}

int container_resize(struct lifecycle *lc, crio_call *call, const char *id, uint16_t width, uint16_t height, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	int r = registry_container(lc, id, &c, err);
	if (r == 0)
		r = container_may_exec(c, err);
	if (r < 0)
		return r;
	struct crio_runtime_resize_args a = { .size = sizeof(a), .id = c->id, .height = height, .width = width };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	return plugin_runtime_resize(c->pod->runtime, call, &a, &o, err);
}

/* ---- ports ---- */

struct pod_door {
	struct pod *pod;
	int netns; /* -1: the host's */
	int end_fd;
};

void pod_door_free(struct pod_door *d)
{
	if (!d)
		return;
	(void)safe_close(d->netns);
	(void)safe_close(d->end_fd);
	pod_unref(d->pod);
	free(d);
}

static void pod_door_freep(struct pod_door **d)
{
	pod_door_free(*d);
}

/* A descriptor that is readable once the pod has stopped; the caller's. */
static int watch_end(struct pod *p, int *ret, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	if (p->stopped || p->removing || p->dead)
		return err_set(err, CRIO_E_PRECONDITION, "sandbox %s is not running", p->id);
	if (p->end_fd < 0)
		p->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->end_fd >= 0)
		*ret = fcntl(p->end_fd, F_DUPFD_CLOEXEC, 3);
	return *ret >= 0 ? 0 : err_errno(err, errno, "make an eventfd for pod %s", p->id);
}

int pod_can_forward(struct lifecycle *lc, const char *id, crio_err *err)
{
	cleanup_pod struct pod *p = NULL;
	int r = registry_pod(lc, id, &p, err);
	if (r < 0)
		return r;
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	return p->stopped || p->removing || p->dead ? err_set(err, CRIO_E_PRECONDITION, "sandbox %s is not running", p->id) : 0;
}

int pod_door_open(struct lifecycle *lc, const char *id, struct pod_door **ret, crio_err *err)
{
	CLEANUP(pod_door_freep) struct pod_door *d = calloc(1, sizeof(*d));
	if (!d)
		return err_nomem(err);
	d->netns = d->end_fd = -1;
	int r = registry_pod(lc, id, &d->pod, err);
	if (r == 0)
		r = watch_end(d->pod, &d->end_fd, err);
	if (r == 0 && !d->pod->host_network && *d->pod->netns) {
		d->netns = netns_open(d->pod->netns, err);
		r = d->netns < 0 ? d->netns : 0;
	}
	if (r < 0)
		return err_wrap(err, "port-forward to pod %s", id);
	*ret = move_ptr(d);
	return 0;
}

int pod_door_fd(const struct pod_door *d)
{
	return d->end_fd;
}

bool pod_door_dials_itself(const struct pod_door *d)
{
	return d->pod->runtime && plugin_inst_has_op(d->pod->runtime, "port_forward");
}

int pod_door_connect(struct pod_door *d, crio_call *call, uint16_t port, crio_err *err)
{
	struct crio_runtime_port_forward_args a = { .size = sizeof(a), .port = port, .sandbox_id = d->pod->id, .netns_fd = d->netns };
	struct crio_runtime_fd_out o = { .size = sizeof(o), .fd = -1 };
	int r = plugin_runtime_port_forward(d->pod->runtime, call, &a, &o, err);
	if (r < 0)
		return r;
	(void)fcntl(o.fd, F_SETFL, O_NONBLOCK);
	return o.fd;
}

int pod_door_socket(struct pod_door *d, int family, crio_err *err)
{
	return netns_socket(d->netns, family, err);
}
