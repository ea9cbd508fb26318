/* farewell.c: connections to containers that nobody uses any more. */
#include "core/stream/farewell.h"

#include <sys/socket.h>

#include "core/util/fs.h"

#define PACKETS 6			/* conmon sends two at most in each of its rounds, and reads our end in the first that begins after it */
#define QUIET_NS (65 * 1000000000LL)	/* longer than a client that does not read can hold it up: remote.c */
#define HURRY_NS (300 * 1000000LL)
#define FAREWELLS_MAX 1024u /* of more, the oldest goes early */

struct farewell {
	struct farewell *next; /* oldest first */
	struct stream_server *s;
	struct watch watch;
	struct pump_timer timer;
	unsigned packets;
};

static void end(struct farewell *f)
{
	struct stream_server *s = f->s;
	struct farewell **p = &s->farewells;
	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	s->n_farewells--;
	pump_timer_off(s->pump, &f->timer);
	(void)pump_watch(s->pump, &f->watch, 0);
	(void)safe_close(f->watch.fd);
	free(f);
	server_look_quiet(s);
}

static void on_time(void *arg)
{
	end(arg);
}

static void on_packet(void *arg, uint32_t events)
{
	struct farewell *f = arg;
	(void)events;
	for (;;) {
		ssize_t n = recv(f->watch.fd, pump_out(f->s->pump), PUMP_CHUNK, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 || ++f->packets >= PACKETS) {
			end(f);
			return;
		}
	}
}

void farewell_begin(struct stream_server *s, int fd)
{
	struct farewell *f = calloc(1, sizeof(*f));
	(void)shutdown(fd, SHUT_WR);
	if (!f) {
		(void)safe_close(fd);
		return;
	}
	f->s = s;
	struct farewell **p = &s->farewells;
	while (*p)
		p = &(*p)->next;
	*p = f;
	s->n_farewells++;
	watch_init(&f->watch, fd, on_packet, f);
	pump_at(s->pump, &f->timer, pump_now(s->pump) + (s->closing ? HURRY_NS : QUIET_NS), on_time, f);
	if (!pump_watch(s->pump, &f->watch, EPOLLIN))
		end(f);
	else if (s->n_farewells > FAREWELLS_MAX)
		end(s->farewells);
}

void farewells_hurry(struct stream_server *s)
{
	for (struct farewell *f = s->farewells; f; f = f->next)
		pump_at(s->pump, &f->timer, pump_now(s->pump) + HURRY_NS, on_time, f);
}
