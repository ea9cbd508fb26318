/*
 * conns.c: the socket. One thread accepts, waits for a connection's first bytes, hands it to gRPC or HTTP/1, and counts
 * the gRPC ones: gRPC owns the descriptor and does not say when it closes it, so a duplicate is watched for the hang-up
 * (gRPC shuts the socket down before closing, the peer's close does the same).
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "core/rpc/server.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/sock.h"
#include "core/util/str.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_N (sizeof(preface) - 1)
#define PAUSE_NS (200 * 1000000ll) /* without descriptors: how long nothing is accepted */
#define AGAIN_NS (1000 * 1000000ll)  /* until the next look at calls that outlive their connections */
#define DOWN_MS 5000		     /* for gRPC without calls to end; it takes a few */
#define EVENTS 64

enum conn_state { CONN_UNDECIDED, CONN_GRPC };

struct conn {
	enum conn_state state;
	int fd;		     /* GRPC: the duplicate */
	int64_t deadline_ns; /* UNDECIDED */
	struct conn *prev, *next;
};

struct conns {
	struct rpc_server *s;
	int listen_fd, epoll_fd, wake_fd;
	struct sock_file file;
	pthread_t thread;
	bool running;
	_Atomic bool stop;
	_Atomic uint32_t count;
	int64_t paused_until_ns; /* 0: accepting */
	int64_t complained_ns;
	int64_t quiet_at_ns; /* 0, or when to look whether gRPC can be taken down */
	/* Of the thread alone: undecided ones, oldest first (all have the same time), and the rest. */
	struct conn undecided, grpc;
};

static void list_init(struct conn *h)
{
	h->prev = h->next = h;
}

static void list_del(struct conn *c)
{
	c->prev->next = c->next;
	c->next->prev = c->prev;
}

static void list_add(struct conn *h, struct conn *c)
{
	c->prev = h->prev;
	c->next = h;
	h->prev->next = c;
	h->prev = c;
}

static int watch(struct conns *cs, int op, int fd, uint32_t events, void *p)
{
	struct epoll_event ev = {.events = events, .data.ptr = p};

	return epoll_ctl(cs->epoll_fd, op, fd, &ev);
}

/* Forgets it; closes our descriptor of it. */
static void conn_drop(struct conns *cs, struct conn *c)
{
	(void)epoll_ctl(cs->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
	list_del(c);
	(void)safe_close(c->fd);
	free(c);
	cs->count--;
	if (cs->s->engine && cs->grpc.next == &cs->grpc && !cs->quiet_at_ns)
		cs->quiet_at_ns = now_mono_ns() + (int64_t)cs->s->args.quiet_ms * 1000000;
}

/* At most one line a second: this is what a flood would fill the disk with. */
static bool may_complain(struct conns *cs)
{
	int64_t now = now_mono_ns();

	if (cs->complained_ns && now - cs->complained_ns < 1000000000)
		return false;
	cs->complained_ns = now;
	return true;
}

static void give_to_grpc(struct conns *cs, struct conn *c)
{
	cleanup_err crio_err err = ERR_INIT;
	int fd;

	if (engine_up(cs->s, &err) < 0) {
		if (may_complain(cs))
			log_error("no gRPC for a connection: %s", err_text(&err));
		conn_drop(cs, c);
		return;
	}
	fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		if (may_complain(cs))
			log_warn("no descriptor for another connection: %s", strerror(errno));
		conn_drop(cs, c);
		return;
	}
	/* No events asked for: the hang-up is always told. */
	if (watch(cs, EPOLL_CTL_MOD, c->fd, 0, c) < 0) {
		(void)safe_close(fd);
		conn_drop(cs, c);
		return;
	}
	list_del(c);
	list_add(&cs->grpc, c);
	c->state = CONN_GRPC;
	cs->quiet_at_ns = 0;
	engine_add(cs->s, fd);
}

static void give_to_http(struct conns *cs, struct conn *c)
{
	struct rpc_server *s = cs->s;
	cleanup_err crio_err err = ERR_INIT;
	int fd = c->fd;

	(void)epoll_ctl(cs->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	c->fd = -1;
	conn_drop(cs, c);
	if (s->args.http(s->args.http_arg, fd, &err) < 0 && may_complain(cs))
		log_warn("HTTP connection on the CRI socket: %s", err_text(&err));
}

/* Looks at the first bytes without taking them. */
static void decide(struct conns *cs, struct conn *c)
{
	char b[PREFACE_N];
	ssize_t n = recv(c->fd, b, sizeof(b), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		conn_drop(cs, c);
	else if (memcmp(b, preface, (size_t)n) != 0)
		give_to_http(cs, c);
	else if ((size_t)n == PREFACE_N)
		give_to_grpc(cs, c);
	/* else: edge-triggered, so that the next bytes wake us and these do not */
}

static void admit(struct conns *cs, int fd)
{
	struct conn *c = NULL;
	struct ucred peer = {0};
	socklen_t n = sizeof(peer);

	if (cs->count >= cs->s->args.max_connections) {
		if (may_complain(cs))
			log_warn("refused a connection: %u are open already", cs->count);
		goto refuse;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		goto refuse;
	log_trace("connection of pid %d uid %u gid %u", (int)peer.pid, (unsigned)peer.uid, (unsigned)peer.gid);
	c = calloc(1, sizeof(*c));
	if (!c)
		goto refuse;
	c->fd = fd;
	c->deadline_ns = now_mono_ns() + (int64_t)cs->s->args.first_bytes_ms * 1000000;
	if (watch(cs, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, c) < 0)
		goto refuse;
	list_add(&cs->undecided, c);
	cs->count++;
	return;
refuse:
	free(c);
	(void)safe_close(fd);
}

static void accept_all(struct conns *cs)
{
	int i;

	for (i = 0; i < EVENTS; i++) {
		int fd = accept4(cs->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			admit(cs, fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EAGAIN)
			return;
		/* EMFILE and the like: the connection stays queued and would wake us for ever. */
		if (may_complain(cs))
			log_error("cannot accept connections: %s; waiting", strerror(errno));
		(void)watch(cs, EPOLL_CTL_MOD, cs->listen_fd, 0, &cs->listen_fd);
		cs->paused_until_ns = now_mono_ns() + PAUSE_NS;
		return;
	}
}

/* Takes gRPC down when nobody has used it for quiet_ms. A call may outlive its connection: then it is looked at again. */
static void quieten(struct conns *cs, int64_t now)
{
	cs->quiet_at_ns = 0;
	if (cs->grpc.next != &cs->grpc)
		return;
	if (!engine_is_quiet(cs->s))
		cs->quiet_at_ns = now + AGAIN_NS;
	else if (engine_down(cs->s, DOWN_MS) > 0)
		log_error("gRPC did not end; what it holds is lost, later connections get another");
}

/* Milliseconds until something is due; -1: nothing is. Does what is due already. */
static int timers(struct conns *cs)
{
	int64_t now = now_mono_ns(), next = INT64_MAX;
	struct conn *c;

	while ((c = cs->undecided.next) != &cs->undecided && c->deadline_ns <= now)
		conn_drop(cs, c);
	if (c != &cs->undecided)
		next = c->deadline_ns;
	if (cs->paused_until_ns && cs->paused_until_ns <= now) {
		cs->paused_until_ns = 0;
		(void)watch(cs, EPOLL_CTL_MOD, cs->listen_fd, EPOLLIN, &cs->listen_fd);
	}
	if (cs->paused_until_ns && cs->paused_until_ns < next)
		next = cs->paused_until_ns;
	if (cs->quiet_at_ns && cs->quiet_at_ns <= now)
		quieten(cs, now);
	if (cs->quiet_at_ns && cs->quiet_at_ns < next)
		next = cs->quiet_at_ns;
	return next == INT64_MAX ? -1 : (int)((next - now) / 1000000 + 1);
}

static void *conns_thread(void *arg)
{
	struct conns *cs = arg;
	struct epoll_event ev[EVENTS];
	int i, n;

	(void)pthread_setname_np(pthread_self(), "crio-accept");
	while (!cs->stop) {
		n = epoll_wait(cs->epoll_fd, ev, EVENTS, timers(cs));
		for (i = 0; i < n; i++) {
			struct conn *c = ev[i].data.ptr;

			if ((void *)c == (void *)&cs->wake_fd)
				continue; /* stop is set */
			if ((void *)c == (void *)&cs->listen_fd)
				accept_all(cs);
			else if (c->state == CONN_UNDECIDED)
				decide(cs, c);
			else if (ev[i].events & (EPOLLHUP | EPOLLERR))
				conn_drop(cs, c);
		}
	}
	return NULL;
}

int conns_new(struct rpc_server *s, struct conns **ret, crio_err *err)
{
	struct conns *cs = calloc(1, sizeof(*cs));
	int r;

	if (!cs)
		return err_nomem(err);
	cs->s = s;
	cs->listen_fd = cs->epoll_fd = cs->wake_fd = -1;
	list_init(&cs->undecided);
	list_init(&cs->grpc);
	r = sock_listen_unix(s->args.socket_path, 0660, &cs->listen_fd, &cs->file, err);
	if (r < 0)
		goto fail;
	cs->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	cs->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cs->epoll_fd < 0 || cs->wake_fd < 0 || watch(cs, EPOLL_CTL_ADD, cs->wake_fd, EPOLLIN, &cs->wake_fd) < 0 ||
	    watch(cs, EPOLL_CTL_ADD, cs->listen_fd, EPOLLIN, &cs->listen_fd) < 0) {
		r = err_errno(err, errno, "epoll for %s", s->args.socket_path);
		goto fail;
	}
	r = pthread_create(&cs->thread, NULL, conns_thread, cs);
	if (r) {
		r = err_errno(err, r, "start the accept thread");
		goto fail;
	}
	cs->running = true;
	*ret = cs;
	return 0;
fail:
	conns_free(cs);
	return r;
}

void conns_stop(struct conns *cs)
{
	uint64_t one = 1;

	if (cs->running) {
		cs->stop = true;
		(void)!write(cs->wake_fd, &one, sizeof(one));
		(void)pthread_join(cs->thread, NULL);
		cs->running = false;
	}
	if (cs->listen_fd < 0)
		return;
	sock_unlink(cs->s->args.socket_path, &cs->file);
	cs->listen_fd = safe_close(cs->listen_fd);
	while (cs->undecided.next != &cs->undecided)
		conn_drop(cs, cs->undecided.next);
	while (cs->grpc.next != &cs->grpc)
		conn_drop(cs, cs->grpc.next);
}

void conns_free(struct conns *cs)
{
	if (!cs)
		return;
	conns_stop(cs);
	(void)safe_close(cs->epoll_fd);
	(void)safe_close(cs->wake_fd);
	free(cs);
}

uint32_t conns_count(struct conns *cs)
{
	return cs ? cs->count : 0;
}
