/*
 * conmon's two doors: the attach socket (packets: a byte 2 or 3 for stdout or stderr, then data; what is sent goes to
 * the container's stdin) and the ctl fifo (lines "<type> <height> <width>": 1 resizes, 2 reopens the log).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "oci.h"

#define PACKET_MAX 32768 /* conmon's buffer */

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

/* Writes all of it, waiting as long as the call lasts. -1: the other side has gone, -2: the call is over. */
static int put_all(struct oci *o, crio_call *call, int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t r;

		if (call_wait(o->host, call, fd, POLLOUT, -1, "attach", NULL) < 0)
			return -2;
		r = write(fd, p, n);
		if (r < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (r <= 0)
			return -1;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

struct pump {
	struct oci *o;
	crio_call *call;
	int sock, in, out, err;
	char buf[PACKET_MAX];
};

/* From the container. 0: go on, 1: it has ended, < 0: as put_all. */
static int from_container(struct pump *p)
{
	ssize_t n = recv(p->sock, p->buf, sizeof(p->buf), 0);
	int *to, r;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0)
		return 1;
	to = p->buf[0] == 3 ? &p->err : &p->out;
	if (n < 2 || *to < 0)
		return 0;
	r = put_all(p->o, p->call, *to, p->buf + 1, (size_t)n - 1);
	if (r == -1)
		*to = -1; /* its reader has gone; the rest goes on */
	return r == -2 ? r : 0;
}

static void from_client(struct pump *p)
{
	ssize_t n = read(p->in, p->buf, 8192);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0 && send(p->sock, p->buf, (size_t)n, MSG_NOSIGNAL) == n)
		return;
	p->in = -1;
	(void)shutdown(p->sock, SHUT_WR);
}

int attach(void *self, crio_call *call, const struct crio_runtime_attach_args *args, struct crio_runtime_no_out *out,
	   crio_err *err)
{
	struct oci *o = self;
	auto_ctr struct ctr *c = ctr_get(o, args->id);
	auto_free struct pump *p = calloc(1, sizeof(*p));
	auto_close int sock = -1;
	int r = 0;

	(void)out;
	if (!c)
		return o->host->fail(err, CRIO_E_NOT_FOUND, "attach: container '%s' is not one of runtime handler '%s'",
				     str0(args->id), o->host->instance_name(o->in));
	if (!p)
		return o->host->fail(err, CRIO_E_NOMEM, "attach to container '%s': no memory", c->id);
	if (watch_look(c, true))
		return o->host->fail(err, CRIO_E_PRECONDITION, "attach to container '%s': it has ended", c->id);
	sock = attach_connect(c);
	if (sock < 0)
		return o->host->fail(err, CRIO_E_UNAVAILABLE,
				     "attach to container '%s': conmon's socket %s/%s/attach: %s", c->id, c->attach_dir,
				     c->id, strerror(-sock));
	*p = (struct pump){
	    .o = o, .call = call, .sock = sock, .in = args->stdin_fd, .out = args->stdout_fd, .err = args->stderr_fd};
	while (!r) {
		struct pollfd f[3] = {{.fd = sock, .events = POLLIN},
				      {.fd = p->in, .events = POLLIN},
				      {.fd = o->host->cancel_fd(call), .events = POLLIN}};

		if (poll(f, 3, 1000) < 0 && errno != EINTR)
			return o->host->fail(err, CRIO_E_IO, "attach to container '%s': poll: %s", c->id,
					     strerror(errno));
		if (o->host->cancelled(call))
			r = -2;
		else if (f[0].revents)
			r = from_container(p);
		if (!r && f[1].revents)
			from_client(p);
		if (!r && p->in < 0 && p->out < 0 && p->err < 0)
			break; /* nobody is listening */
	}
	return r == -2 ? o->host->fail(err, CRIO_E_CANCELLED, "attach to container '%s': the client has gone", c->id)
		       : 0;
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
