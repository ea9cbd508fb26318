/* flow.c: sources and sinks. */
#include "core/stream/flow.h"

#include <fcntl.h>
#include <sys/socket.h>

#define LOOKS 4 /* reads of one source in its turn */

/* ---- sources ---- */

static void pause_source(struct source *s)
{
	s->empty = false;
	(void)pump_watch(s->pump, &s->watch, 0);
}

static void source_over(struct source *s, int error)
{
	(void)pump_watch(s->pump, &s->watch, 0);
	s->watch.fd = safe_close(s->watch.fd);
	s->over(s->arg, s, error);
}

void source_look(struct source *s)
{
	uint8_t *p = pump_out(s->pump);
	for (int i = 0; i < LOOKS && s->watch.fd >= 0; i++) {
		if (!conn_is_clear(mux_conn(s->mux))) {
			pause_source(s);
			return;
		}
		/* A packet's first byte goes in front, so that what follows it is where data is. */
		ssize_t n = s->packets ? recv(s->watch.fd, p - 1, PUMP_CHUNK, 0) : read(s->watch.fd, p, PUMP_CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			s->empty = true;
			return;
		}
		if (n <= 0) {
			/* EIO: a terminal that nobody has open on its other side any more. */
			source_over(s, n < 0 && errno != EIO ? errno : 0);
			return;
		}
		s->empty = false;
		s->some(s->arg, s, s->packets ? p - 1 : p, (size_t)n);
	}
}

static void on_source(void *arg, uint32_t events)
{
	(void)events;
	source_look(arg);
}

bool source_start(struct source *s, struct mux *m, int fd)
{
	s->pump = conn_pump(mux_conn(m));
	s->mux = m;
	watch_init(&s->watch, fd, on_source, s);
	if (pump_watch(s->pump, &s->watch, EPOLLIN))
		return true;
	s->watch.fd = -1;
	return false;
}

void source_resume(struct source *s)
{
	if (s->watch.fd >= 0 && !s->watch.events && !pump_watch(s->pump, &s->watch, EPOLLIN))
		conn_until(mux_conn(s->mux), 1, "no memory to watch what is sent to it");
}

void source_stop(struct source *s)
{
	if (s->watch.fd < 0)
		return;
	(void)pump_watch(s->pump, &s->watch, 0);
	s->watch.fd = safe_close(s->watch.fd);
}

int source_take(struct source *s)
{
	int fd = s->watch.fd;
	if (fd >= 0)
		(void)pump_watch(s->pump, &s->watch, 0);
	s->watch.fd = -1;
	return fd;
}

/* ---- sinks ---- */

static size_t waits(const struct sink *s)
{
	return s->waiting.n - s->at;
}

void sink_init(struct sink *s, struct pump *p, struct sink_budget *b, void (*moved)(void *arg, struct sink *s), void *arg)
{
	*s = (struct sink){ .budget = b, .pump = p, .watch = WATCH_NONE, .moved = moved, .arg = arg };
	buf_init(&s->waiting, 0);
}

static void drop_waiting(struct sink *s)
{
	s->budget->waiting -= waits(s);
	buf_release(&s->waiting);
	buf_init(&s->waiting, 0);
	s->at = 0;
}

/* Nobody takes any more: what comes is dropped from now on. */
static void sink_close(struct sink *s)
{
	drop_waiting(s);
	s->closed = true;
	if (s->watch.fd < 0)
		return;
	(void)pump_watch(s->pump, &s->watch, 0);
	if (s->socket)
		(void)shutdown(s->watch.fd, SHUT_WR);
	s->watch.fd = safe_close(s->watch.fd);
}

/* Writes as much as goes; returns how much. */
static size_t push(struct sink *s, const uint8_t *p, size_t n)
{
	size_t at = 0;
	while (at < n && !s->closed && s->watch.fd >= 0) {
		size_t piece = s->piece && n - at > s->piece ? s->piece : n - at;
		ssize_t r = s->socket ? send(s->watch.fd, p + at, piece, MSG_NOSIGNAL | MSG_DONTWAIT) : write(s->watch.fd, p + at, piece);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			break;
		if (r <= 0) {
			sink_close(s);
			return n;
		}
		at += (size_t)r;
	}
	return s->closed ? n : at;
}

static void end_if_empty(struct sink *s)
{
	if (s->end && !waits(s) && !s->closed && s->watch.fd >= 0 && !s->keeps_open)
		sink_close(s);
}

static void on_sink(void *arg, uint32_t events)
{
	struct sink *s = arg;
	(void)events;
	size_t done = push(s, (const uint8_t *)s->waiting.p + s->at, waits(s));
	if (!s->closed) {
		s->at += done;
		s->budget->waiting -= done;
		if (!waits(s)) {
			drop_waiting(s);
			(void)pump_watch(s->pump, &s->watch, 0);
		}
		end_if_empty(s);
	}
	s->moved(s->arg, s);
}

void sink_open(struct sink *s, int fd)
{
	watch_init(&s->watch, fd, on_sink, s);
	if (waits(s) && !pump_watch(s->pump, &s->watch, EPOLLOUT))
		sink_close(s);
	end_if_empty(s);
}

bool sink_put(struct sink *s, const uint8_t *p, size_t n)
{
	if (s->closed || s->end)
		return true;
	size_t done = waits(s) ? 0 : push(s, p, n);
	if (done == n)
		return true;
	/* What was written is not moved for every piece that comes. */
	if (s->at && s->at >= waits(s)) {
		memmove(s->waiting.p, s->waiting.p + s->at, waits(s));
		s->waiting.n -= s->at;
		s->at = 0;
	}
	buf_add(&s->waiting, p + done, n - done);
	if (buf_bad(&s->waiting))
		return false;
	s->budget->waiting += n - done;
	return s->watch.fd < 0 || pump_watch(s->pump, &s->watch, EPOLLOUT);
}

void sink_end(struct sink *s)
{
	s->end = true;
	end_if_empty(s);
}

void sink_stop(struct sink *s)
{
	sink_close(s);
}

bool sink_is_full(const struct sink *s)
{
	return waits(s) > SINK_MAX || (waits(s) && s->budget->waiting > SINK_BUDGET_MAX);
}
