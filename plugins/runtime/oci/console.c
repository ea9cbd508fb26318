/* console.c: see console.h. */
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util.h"

void console_close(struct console *c)
{
	close_fd(c->listener);
	close_fd(c->path);
	*c = CONSOLE_NONE;
}

/* A path of any length: the directory is named by its descriptor. */
static int bind_in(struct console *c, int dir)
{
	static atomic_uint seq;
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char name[48];
	int r;

	(void)snprintf(name, sizeof(name), "tty-%d-%u", (int)getpid(), atomic_fetch_add(&seq, 1u));
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dir, name);
	(void)unlinkat(dir, name, 0);
	if (bind(c->listener, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	c->path = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	r = c->path < 0 ? -errno : 0;
	(void)unlinkat(dir, name, 0);
	return r;
}

int console_open(struct console *c, const char *dir)
{
	auto_close int d = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	*c = CONSOLE_NONE;
	if (d < 0)
		return -errno;
	c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = c->listener < 0 ? -errno : bind_in(c, d);
	if (!r && listen(c->listener, 1) < 0)
		r = -errno;
	if (r < 0)
		console_close(c);
	return r;
}

/* The first descriptor of a message. -1: there is none yet (*more), or the peer has gone. */
static int receive(int conn, bool *more)
{
	char byte[256];
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec io = {byte, sizeof(byte)};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(conn, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m);
	int fd;

	*more = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static bool watch(int ep, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0;
}

int console_take(const struct crio_host *host, crio_call *call, struct console *c, int pidfd, int *ret, crio_err *err)
{
	auto_close int ep = epoll_create1(EPOLL_CLOEXEC), conn = -1;

	*ret = -1;
	if (ep < 0 || !watch(ep, c->listener) || !watch(ep, pidfd))
		return host->fail(err, CRIO_E_IO, "wait for the terminal: epoll: %s", strerror(errno));
	for (;;) {
		int r = call_wait(host, call, ep, POLLIN, -1, "wait for the terminal", err);
		bool more = false;

		if (r < 0)
			return r;
		if (conn < 0) {
			conn = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
			if (conn >= 0 && !watch(ep, conn))
				return host->fail(err, CRIO_E_IO, "wait for the terminal: epoll: %s", strerror(errno));
		}
		if (conn >= 0 && (*ret = receive(conn, &more)) >= 0)
			return 0;
		if (conn >= 0 && !more)
			return 0; /* it hung up: its end says why */
		if (fd_wait(pidfd, POLLIN, 0)) {
			/* What it sent before it ended is there by now. */
			if (conn < 0)
				conn = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
			*ret = conn < 0 ? -1 : receive(conn, &more);
			return 0;
		}
	}
}
