/* conn.c: connections. */
#include "core/stream/conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "core/util/fs.h"
#include "core/util/str.h"

#define READS 4				  /* chunks taken from one connection in its turn */
#define FINISH_NS (10 * 1000000000LL)	  /* for the client to close, after us */
#define SLOW_NS (30 * 1000000000LL)	  /* for the client to take a byte of what is left, when its user has finished */

enum state { SHAKING, OPEN, FLUSHING, DRAINING, DEAD };

struct conn {
	struct conn *prev, *next; /* of place->all */
	struct conn_place *place;
	const struct conn_user *user;
	void *arg;
	struct watch watch;
	SSL *ssl;
	enum state state;
	bool held, shake_writes, told;
	struct buf kept; /* from kept_at on it is still to be sent */
	size_t kept_at;
	const char *broken; /* why; `gone` is to be told */
	int64_t active_ns, until_ns, slow_ns, progress_ns;
	const char *until_why;
	struct pump_timer timer;
	struct pump_task task; /* tells `broken`, or frees */
	bool posted;
	char peer[64];
};

static void post(struct conn *c, void (*fn)(void *arg))
{
	if (c->posted)
		return; /* dead already, or it will be looked at */
	c->posted = true;
	c->task.fn = fn;
	c->task.arg = c;
	pump_post(c->place->pump, &c->task);
}

static void free_task(void *arg)
{
	struct conn *c = arg;
	SSL_free(c->ssl);
	(void)safe_close(c->watch.fd);
	buf_release(&c->kept);
	if (c->prev)
		c->prev->next = c->next;
	else
		c->place->all = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->place->n--;
	free(c);
}

/* Nothing of it happens any more. It is freed at the end of this round. */
static void die(struct conn *c)
{
	if (c->state == DEAD)
		return;
	c->state = DEAD;
	(void)pump_watch(c->place->pump, &c->watch, 0);
	pump_timer_off(c->place->pump, &c->timer);
	if (c->posted)
		return; /* by broken_task, which frees then */
	post(c, free_task);
}

static void tell_gone(struct conn *c, const char *why)
{
	const struct conn_user *user = c->user;
	c->user = NULL;
	die(c);
	if (user)
		user->gone(c->arg, why);
}

static void broken_task(void *arg)
{
	struct conn *c = arg;
	c->posted = false;
	if (c->state == DEAD)
		post(c, free_task);
	else
		tell_gone(c, c->broken);
}

/* From within a call of the user, who is told afterwards. */
static void broken(struct conn *c, const char *why)
{
	if (c->broken || c->state == DEAD)
		return;
	c->broken = why;
	post(c, broken_task);
}

static void set_watch(struct conn *c)
{
	uint32_t want = EPOLLRDHUP;
	if (c->state == DEAD)
		return;
	if (!c->held || c->state == DRAINING)
		want |= EPOLLIN;
	if (c->kept.n > c->kept_at || (c->state == SHAKING && c->shake_writes))
		want |= EPOLLOUT;
	if (!pump_watch(c->place->pump, &c->watch, want))
		broken(c, "no memory to watch it");
}

/* ---- times ---- */

static void on_time(void *arg);

static int64_t slow_at(const struct conn *c)
{
	int64_t ns = c->state == FLUSHING ? SLOW_NS : c->slow_ns;
	return ns && c->kept.n > c->kept_at ? c->progress_ns + ns : INT64_MAX;
}

static void arm(struct conn *c)
{
	int64_t at = c->place->idle_ns ? c->active_ns + c->place->idle_ns : INT64_MAX;
	if (c->state == DEAD)
		return;
	if (c->until_ns && c->until_ns < at)
		at = c->until_ns;
	if (slow_at(c) < at)
		at = slow_at(c);
	/* One that is set too early only looks again. */
	if (at != INT64_MAX && (!c->timer.next || c->timer.at_ns > at))
		pump_at(c->place->pump, &c->timer, at, on_time, c);
}

static void on_time(void *arg)
{
	struct conn *c = arg;
	int64_t now = pump_now(c->place->pump);
	if (c->until_ns && now >= c->until_ns)
		tell_gone(c, c->until_why);
	else if (now >= slow_at(c))
		tell_gone(c, "the client does not read what it is sent");
	else if (c->place->idle_ns && now >= c->active_ns + c->place->idle_ns)
		tell_gone(c, "nothing was sent in either direction for as long as stream_idle_timeout says");
	else
		arm(c);
}

void conn_until(struct conn *c, int64_t at_ns, const char *why)
{
	c->until_ns = at_ns;
	c->until_why = why;
	arm(c);
}

void conn_must_read(struct conn *c, int64_t ns)
{
	c->slow_ns = ns;
	arm(c);
}

/* ---- bytes ---- */

enum { AGAIN = -1, FAILED = -2 };

static ssize_t tls_result(struct conn *c, int r)
{
	int e = SSL_get_error(c->ssl, r);
	ERR_clear_error();
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return AGAIN;
	return e == SSL_ERROR_ZERO_RETURN ? 0 : FAILED;
}

/* Bytes; 0: the client's end; AGAIN; FAILED. */
static ssize_t get(struct conn *c, void *p, size_t n)
{
	ssize_t r;
	if (c->ssl) {
		ERR_clear_error();
		r = SSL_read(c->ssl, p, (int)n);
		if (r <= 0)
			return tls_result(c, (int)r);
	} else {
		do
			r = recv(c->watch.fd, p, n, MSG_DONTWAIT);
		while (r < 0 && errno == EINTR);
		if (r < 0)
			return errno == EAGAIN ? AGAIN : FAILED;
	}
	c->active_ns = pump_now(c->place->pump);
	return r;
}

static ssize_t put(struct conn *c, const void *p, size_t n)
{
	ssize_t r;
	if (c->ssl) {
		ERR_clear_error();
		r = SSL_write(c->ssl, p, n > INT32_MAX ? INT32_MAX : (int)n);
		if (r <= 0)
			return tls_result(c, (int)r) == AGAIN ? AGAIN : FAILED;
	} else {
		do
			r = send(c->watch.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		while (r < 0 && errno == EINTR);
		if (r < 0)
			return errno == EAGAIN ? AGAIN : FAILED;
	}
	c->active_ns = c->progress_ns = pump_now(c->place->pump);
	return r;
}

/* Sends as much as goes; returns how much. A failure is noted. */
static size_t put_all(struct conn *c, const uint8_t *p, size_t n)
{
	size_t at = 0;
	while (at < n) {
		ssize_t r = put(c, p + at, n - at);
		if (r == FAILED)
			broken(c, "the client has gone");
		if (r < 0)
			break;
		at += (size_t)r;
	}
	return at;
}

bool conn_is_clear(const struct conn *c)
{
	return c->kept.n == c->kept_at;
}

void conn_send(struct conn *c, const void *p, size_t n)
{
	if (c->broken || c->state == DEAD || !n)
		return;
	size_t done = conn_is_clear(c) && c->state != SHAKING ? put_all(c, p, n) : 0;
	if (done == n || c->broken)
		return;
	if (conn_is_clear(c)) {
		c->progress_ns = pump_now(c->place->pump);
		buf_clear(&c->kept);
		c->kept_at = 0;
	}
	buf_add(&c->kept, (const uint8_t *)p + done, n - done);
	if (buf_bad(&c->kept)) {
		broken(c, c->kept.oom ? "no memory for what the client does not read" : "the client does not read what it is sent");
		return;
	}
	arm(c);
	set_watch(c);
}

/* ---- the end ---- */

/* All is sent: our side is closed. */
static void half_close(struct conn *c)
{
	if (c->ssl)
		(void)SSL_shutdown(c->ssl);
	ERR_clear_error();
	(void)shutdown(c->watch.fd, SHUT_WR);
	c->state = DRAINING;
	c->slow_ns = 0;
	conn_until(c, pump_now(c->place->pump) + FINISH_NS, "it did not close");
	set_watch(c);
}

void conn_finish(struct conn *c)
{
	c->user = NULL;
	c->held = false;
	if (c->state == DEAD)
		return;
	if (c->broken || c->state == SHAKING) {
		die(c);
		return;
	}
	c->until_ns = 0;
	if (conn_is_clear(c)) {
		half_close(c);
		return;
	}
	c->state = FLUSHING;
	c->progress_ns = pump_now(c->place->pump);
	arm(c);
	set_watch(c);
}

void conn_abort(struct conn *c)
{
	c->user = NULL;
	die(c);
}

void conns_abort(struct conn_place *place)
{
	for (struct conn *c = place->all; c; c = c->next)
		conn_abort(c); /* freed later */
}

/* ---- events ---- */

static void flush(struct conn *c)
{
	c->kept_at += put_all(c, (const uint8_t *)c->kept.p + c->kept_at, c->kept.n - c->kept_at);
	if (c->broken || !conn_is_clear(c))
		return;
	buf_release(&c->kept);
	buf_init(&c->kept, CONN_KEPT_MAX);
	c->kept_at = 0;
	if (c->state == FLUSHING)
		half_close(c);
	else if (c->user)
		c->user->drained(c->arg);
}

static void take(struct conn *c)
{
	uint8_t *p = pump_in(c->place->pump);
	/* TLS has more than the socket shows: it is read to its end. */
	for (int i = 0; c->state != DEAD && !c->broken && (i < READS || (c->ssl && SSL_pending(c->ssl))); i++) {
		if (c->held && c->state == OPEN)
			return;
		ssize_t n = get(c, p, PUMP_CHUNK);
		if (n == AGAIN)
			return;
		if (n <= 0) {
			tell_gone(c, n == 0 ? "the client has closed the connection" : "the connection broke");
			return;
		}
		if (c->state == OPEN && c->user)
			c->user->input(c->arg, p, (size_t)n);
	}
}

static void shake(struct conn *c)
{
	ERR_clear_error();
	int r = SSL_do_handshake(c->ssl);
	if (r == 1) {
		c->state = OPEN;
		c->shake_writes = false;
		return;
	}
	int e = SSL_get_error(c->ssl, r);
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
		c->shake_writes = e == SSL_ERROR_WANT_WRITE;
		return;
	}
	unsigned long code = ERR_peek_last_error();
	const char *why = code ? ERR_reason_error_string(code) : NULL;
	ERR_clear_error();
	tell_gone(c, why ? why : "the TLS handshake failed");
}

static void on_event(void *arg, uint32_t events)
{
	struct conn *c = arg;
	if (c->state == SHAKING) {
		shake(c);
		if (c->state != OPEN) {
			set_watch(c);
			return;
		}
		events |= EPOLLIN | EPOLLOUT; /* what came with the handshake, and what was kept meanwhile */
	}
	if ((events & EPOLLOUT) && !conn_is_clear(c))
		flush(c);
	if (c->state == DEAD)
		return;
	bool reads = !c->held || c->state != OPEN;
	if (reads && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		take(c);
	else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		tell_gone(c, "the client has closed the connection");
	set_watch(c);
}

static void resume_task(void *arg)
{
	struct conn *c = arg;
	c->posted = false;
	if (c->state == DEAD)
		post(c, free_task);
	else if (c->broken)
		tell_gone(c, c->broken);
	else if (!c->held)
		take(c);
	set_watch(c);
}

void conn_hold(struct conn *c, bool hold)
{
	if (c->held == hold || c->state == DEAD)
		return;
	c->held = hold;
	/* What TLS has read already, the socket will not show again. */
	if (!hold && c->ssl && SSL_pending(c->ssl))
		post(c, resume_task);
	set_watch(c);
}

/* ---- the beginning ---- */

static void name_peer(struct conn *c)
{
	struct sockaddr_storage a = { .ss_family = AF_UNSPEC };
	socklen_t n = sizeof(a);
	char ip[INET6_ADDRSTRLEN] = "?";
	unsigned port = 0;
	(void)getpeername(c->watch.fd, (struct sockaddr *)&a, &n);
	if (a.ss_family == AF_INET6) {
		const struct sockaddr_in6 *s = (const void *)&a;
		(void)inet_ntop(AF_INET6, &s->sin6_addr, ip, sizeof(ip));
		port = ntohs(s->sin6_port);
	} else if (a.ss_family == AF_INET) {
		const struct sockaddr_in *s = (const void *)&a;
		(void)inet_ntop(AF_INET, &s->sin_addr, ip, sizeof(ip));
		port = ntohs(s->sin_port);
	}
	(void)snprintf(c->peer, sizeof(c->peer), strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip, port);
}

/* A client that vanishes without a word is noticed by the kernel. */
static void set_options(int fd)
{
	int on = 1, idle = 15, every = 15, times = 9;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
}

struct conn *conn_new(struct conn_place *place, int fd, SSL *ssl, const struct conn_user *user, void *arg)
{
	struct conn *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->place = place;
	c->user = user;
	c->arg = arg;
	c->ssl = ssl;
	c->state = ssl ? SHAKING : OPEN;
	c->active_ns = pump_now(place->pump);
	buf_init(&c->kept, CONN_KEPT_MAX);
	watch_init(&c->watch, fd, on_event, c);
	if (!pump_watch(place->pump, &c->watch, EPOLLIN | EPOLLRDHUP)) {
		free(c);
		return NULL;
	}
	place->n++;
	c->next = place->all;
	if (c->next)
		c->next->prev = c;
	place->all = c;
	name_peer(c);
	set_options(fd);
	arm(c);
	return c;
}

void conn_set_user(struct conn *c, const struct conn_user *user, void *arg)
{
	c->user = user;
	c->arg = arg;
}

const char *conn_peer(const struct conn *c)
{
	return c->peer;
}

struct pump *conn_pump(const struct conn *c)
{
	return c->place->pump;
}
