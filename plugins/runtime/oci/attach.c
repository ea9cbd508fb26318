/*
 * conmon's two doors: the attach socket (packets: a byte 2 or 3 for stdout or stderr, then data; what is sent goes to
 * the container's stdin) and the ctl fifo (lines "<type> <height> <width>": 1 resizes, 2 reopens the log).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "oci.h"

/* Connects through a directory descriptor: a path of any length fits. */
static int attach_connect(struct ctr *c)
{
	auto_free char *path = fmt("%s/%s", c->attach_dir, c->id);
	auto_close int dir = path ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1, fd = -1;
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int ret;

	if (dir < 0)
		return -errno;
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/attach", dir);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	ret = fd;
	fd = -1;
	return ret;
}

int attach(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_fd_out *out,
	   crio_err *err)
{
	struct oci *o = self;
	auto_ctr struct ctr *c = ctr_get(o, args->id);
	int fd;

	(void)call;
	if (!c)
		return o->host->fail(err, CRIO_E_NOT_FOUND, "attach: container '%s' is not one of runtime handler '%s'",
				     str0(args->id), o->host->instance_name(o->in));
	if (watch_look(c, true))
		return o->host->fail(err, CRIO_E_PRECONDITION, "attach to container '%s': it has ended", c->id);
	fd = attach_connect(c);
	if (fd < 0)
		return o->host->fail(err, CRIO_E_UNAVAILABLE,
				     "attach to container '%s': conmon's socket %s/%s/attach: %s", c->id, c->attach_dir,
				     c->id, strerror(-fd));
	out->fd = fd;
	return 0;
}

static int ctl(struct oci *o, const char *id, const char *what, const char *line, crio_err *err)
{
	auto_ctr struct ctr *c = ctr_get(o, id);
	auto_free char *path = c ? fmt("%s/ctl", c->bundle) : NULL;
	auto_close int fd = -1;
	size_t n = strlen(line);

	if (!c)
		return o->host->fail(err, CRIO_E_NOT_FOUND, "%s: container '%s' is not one of runtime handler '%s'",
				     what, str0(id), o->host->instance_name(o->in));
	if (watch_look(c, true) || !proc_is(c->pid, c->start))
		return o->host->fail(err, CRIO_E_PRECONDITION, "%s: container '%s' is not running", what, c->id);
	/* non-blocking: without a conmon at the other end this fails (ENXIO) instead of waiting for one */
	fd = path ? open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
	if (fd < 0 || write(fd, line, n) != (ssize_t)n)
		return o->host->fail(err, CRIO_E_UNAVAILABLE, "%s of container '%s': conmon's fifo %s: %s", what, c->id,
				     str0(path), strerror(errno));
	return 0;
}

int resize(void *self, crio_call *call, const struct crio_runtime_resize_args *args, struct crio_runtime_no_out *out,
	   crio_err *err)
{
	char line[32];

	(void)call;
	(void)out;
	(void)snprintf(line, sizeof(line), "1 %u %u\n", args->height, args->width);
	return ctl(self, args->id, "resize", line, err);
}

int reopen_log(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_no_out *out,
	       crio_err *err)
{
	(void)call;
	(void)out;
	return ctl(self, args->id, "reopen the log", "2 0 0\n", err);
}
