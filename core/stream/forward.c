/* forward.c: port-forward. */
#include "core/stream/forward.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/util/fs.h"
#include "core/util/log.h"

#define CONNECT_NS (10 * 1000000000LL) /* for one address */
#define PAIRS_MAX 256u
#define ID_MAX 64

enum role { DATA, FAULT };
enum step { OPENING, WAITING /* for the pod's door */, MAKING /* sockets, or a connection of the runtime's */, CONNECTING, OPEN };

/* One connection to a port: its streams, and its socket. */
struct pair {
	struct pair *next;
	struct forward *f;
	char id[ID_MAX]; /* the client's requestID */
	uint16_t port;
	struct channel *data, *fault; /* NULL: not there yet, or gone */
	enum step step;
	bool gone;     /* the client's part is over; the job's end frees it */
	bool said_end; /* what came from the port has ended */
	int sock[2];   /* for IPv4, IPv6; by the job */
	int family;    /* index of the one that is tried */
	int error[2];  /* errno of each attempt; 0: not made */
	struct watch connecting;
	struct pump_timer timer;
	struct source out;
	struct sink in;
	struct job job;
	int result;
	crio_err err;
};

struct forward {
	struct stream base;
	struct stream_server *s;
	struct mux *mux; /* NULL: over */
	struct stream_request *q;
	struct pair *pairs;
	unsigned n_pairs, jobs;
	struct pod_door *door; /* NULL: not open yet */
	struct watch end;	/* the pod's */
	crio_call *call;
	struct job door_job;
	int result;
	crio_err fault;
	bool tried; /* the door, with this result */
};

static void pair_connect(struct pair *p);
static void hold_if_full(struct forward *f);

/* ---- the end ---- */

static void free_if_over(struct forward *f)
{
	if (f->mux || f->jobs || f->pairs)
		return;
	pod_door_free(f->door);
	call_unref(f->call);
	err_clear(&f->fault);
	stream_request_free(f->q);
	stream_del(f->s, &f->base);
	free(f);
}

static void start_job(struct forward *f, struct job *j, void (*work)(struct job *), void (*after)(struct job *))
{
	*j = (struct job){ .pump = f->s->pump, .workers = f->s->workers, .class = WORK_EXEC, .work = work, .after = after };
	f->jobs++;
	job_start(j);
}

/* Out of the list, with its descriptors closed. While its job is under way, that one's end comes here again. */
static void pair_free(struct pair *p)
{
	struct forward *f = p->f;
	p->gone = true;
	pump_timer_off(f->s->pump, &p->timer);
	(void)pump_watch(f->s->pump, &p->connecting, 0);
	source_stop(&p->out);
	sink_stop(&p->in);
	if (p->step == MAKING)
		return;
	for (int i = 0; i < 2; i++)
		p->sock[i] = safe_close(p->sock[i]);
	struct pair **at = &f->pairs;
	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	f->n_pairs--;
	err_clear(&p->err);
	free(p);
}

static void part_over(struct forward *f)
{
	f->mux = NULL;
	(void)pump_watch(f->s->pump, &f->end, 0);
	if (f->call)
		call_cancel(f->call);
	for (struct pair *p = f->pairs, *next; p; p = next) {
		next = p->next;
		p->data = p->fault = NULL;
		pair_free(p);
	}
	free_if_over(f);
}

static void finish(struct forward *f, const char *text)
{
	mux_finish(f->mux, text);
	part_over(f);
}

static void cut(struct stream *base)
{
	struct forward *f = (struct forward *)(void *)base;
	if (!f->mux)
		return;
	mux_abort(f->mux);
	part_over(f);
}

static void drop(struct channel **ch, bool reset)
{
	if (!*ch)
		return;
	if (reset || (*ch)->can_in || (*ch)->can_out)
		mux_reset(*ch);
	else
		mux_drop(*ch);
	*ch = NULL;
}

/* Over SPDY its streams go with it; a WebSocket's channels stay, and with the last of them the connection ends. */
static void pair_over(struct pair *p, bool reset)
{
	struct forward *f = p->f;
	if (mux_is_spdy(f->mux)) {
		drop(&p->data, reset);
		drop(&p->fault, reset);
		pair_free(p);
		hold_if_full(f);
		return;
	}
	p->data->can_in = p->data->can_out = p->fault->can_out = false;
	pair_free(p);
	for (const struct pair *x = f->pairs; x; x = x->next)
		if (!x->gone)
			return;
	finish(f, "");
}

static void pair_fail(struct pair *p, const char *why)
{
	struct forward *f = p->f;
	cleanup_buf struct buf b = BUF_INIT;
	buf_addf(&b, "error forwarding port %u to pod %s: %s", p->port, f->q->id, why);
	log_info("%s: %s", conn_peer(mux_conn(f->mux)), b.p ? b.p : "");
	if (p->fault && !buf_bad(&b)) {
		mux_send_copy(p->fault, b.p, b.n);
		mux_end(p->fault);
	}
	/* Its streams cannot be used any more; the client makes others when it wants to. */
	if (p->data && mux_is_spdy(f->mux))
		drop(&p->data, true);
	pair_over(p, false);
}

/* ---- bytes ---- */

/* Has all been said in both directions? */
static void pair_look(struct pair *p)
{
	if (!p->said_end || !p->data)
		return;
	/* A WebSocket cannot say that the client's direction ends. */
	if (!mux_is_spdy(p->f->mux) || !p->data->can_in)
		pair_over(p, false);
}

static void some(void *arg, struct source *s, uint8_t *buf, size_t n)
{
	struct pair *p = arg;
	(void)s;
	if (p->data)
		mux_send(p->data, buf, n);
}

static void over(void *arg, struct source *s, int error)
{
	struct pair *p = arg;
	(void)s;
	if (error) {
		pair_fail(p, strerror(error));
		return;
	}
	p->said_end = true;
	if (p->data)
		mux_end(p->data);
	if (p->fault)
		mux_end(p->fault);
	pair_look(p);
}

static void hold_if_full(struct forward *f)
{
	bool full = false;
	for (const struct pair *p = f->pairs; p && !full; p = p->next)
		full = sink_is_full(&p->in);
	conn_hold(mux_conn(f->mux), full);
}

static void moved(void *arg, struct sink *s)
{
	struct pair *p = arg;
	(void)s;
	if (p->f->mux)
		hold_if_full(p->f);
}

static void data(void *arg, struct channel *ch, const uint8_t *buf, size_t n)
{
	struct forward *f = arg;
	struct pair *p = ch->user;
	if (ch->role != DATA || !p || p->data != ch)
		return;
	if (!sink_put(&p->in, buf, n)) {
		pair_fail(p, "no memory");
		return;
	}
	if (sink_is_full(&p->in))
		conn_hold(mux_conn(f->mux), true);
}

static void ended(void *arg, struct channel *ch, bool reset)
{
	struct pair *p = ch->user;
	(void)arg;
	if (!p)
		return;
	if (!reset && ch->role == DATA) {
		sink_end(&p->in);
		pair_look(p);
		return;
	}
	if (!reset)
		return; /* of the error stream: nothing is expected there */
	if (ch == p->data)
		p->data = NULL;
	if (ch == p->fault)
		p->fault = NULL;
	/* Without its data stream it is over; the mux frees the one that was reset. */
	if (ch->role == DATA)
		pair_over(p, true);
}

static void drained(void *arg)
{
	struct forward *f = arg;
	for (struct pair *p = f->pairs; p; p = p->next)
		source_resume(&p->out);
}

/* ---- connecting ---- */

static const char *const names[2] = { "127.0.0.1", "[::1]" };

static void pair_opened(struct pair *p, int fd)
{
	int in = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	p->step = OPEN;
	p->in.socket = true;
	if (in < 0 || !source_start(&p->out, p->f->mux, fd)) {
		(void)safe_close(in);
		(void)safe_close(fd);
		pair_fail(p, "no descriptor, or no memory to watch it");
		return;
	}
	sink_open(&p->in, in);
	hold_if_full(p->f);
}

static void next_address(struct pair *p, int error)
{
	p->error[p->family] = error;
	p->sock[p->family] = safe_close(p->sock[p->family]);
	p->family++;
	pair_connect(p);
}

static void on_connect_time(void *arg)
{
	struct pair *p = arg;
	(void)pump_watch(p->f->s->pump, &p->connecting, 0);
	next_address(p, ETIMEDOUT);
}

static void on_connected(void *arg, uint32_t events)
{
	struct pair *p = arg;
	int error = 0;
	socklen_t n = sizeof(error);
	(void)events;
	(void)pump_watch(p->f->s->pump, &p->connecting, 0);
	pump_timer_off(p->f->s->pump, &p->timer);
	if (getsockopt(p->sock[p->family], SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error)
		next_address(p, error);
	else
		pair_opened(p, move_fd(p->sock[p->family]));
}

/* IPv4's loopback, then IPv6's: the port may be open on one only. */
static void pair_connect(struct pair *p)
{
	const struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(p->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(p->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct pump *pump = p->f->s->pump;
	p->step = CONNECTING;
	for (; p->family < 2; p->family++) {
		int fd = p->sock[p->family];
		if (fd < 0)
			continue; /* no such family here: its error is noted */
		int r = p->family ? connect(fd, (const void *)&v6, sizeof(v6)) : connect(fd, (const void *)&v4, sizeof(v4));
		if (r == 0) {
			pair_opened(p, move_fd(p->sock[p->family]));
			return;
		}
		watch_init(&p->connecting, fd, on_connected, p);
		if (errno == EINPROGRESS && pump_watch(pump, &p->connecting, EPOLLOUT)) {
			pump_at(pump, &p->timer, pump_now(pump) + CONNECT_NS, on_connect_time, p);
			return;
		}
		p->error[p->family] = errno;
		p->sock[p->family] = safe_close(fd);
	}
	cleanup_buf struct buf b = BUF_INIT;
	for (int i = 0; i < 2; i++)
		buf_addf(&b, "%sconnect to %s:%u: %s", i ? "; " : "", names[i], p->port, strerror(p->error[i]));
	pair_fail(p, b.p ? b.p : "no memory");
}

static struct pair *of_job(struct job *j)
{
	return (struct pair *)(void *)((char *)j - offsetof(struct pair, job));
}

static void make_work(struct job *j)
{
	struct pair *p = of_job(j);
	struct pod_door *door = p->f->door;
	if (pod_door_dials_itself(door)) {
		cleanup_call crio_call *call = call_sub(p->f->call, CONNECT_NS);
		int fd = call ? pod_door_connect(door, call, p->port, &p->err) : err_nomem(&p->err);
		p->result = fd < 0 ? fd : 0;
		p->sock[0] = fd < 0 ? -1 : fd;
		return;
	}
	for (int i = 0; i < 2; i++) {
		int fd = pod_door_socket(door, i ? AF_INET6 : AF_INET, i ? NULL : &p->err);
		p->sock[i] = fd < 0 ? -1 : fd;
		p->error[i] = fd < 0 ? EAFNOSUPPORT : 0;
	}
	p->result = p->sock[0] < 0 && p->sock[1] < 0 ? CRIO_E_UNAVAILABLE : 0;
}

static void make_after(struct job *j)
{
	struct pair *p = of_job(j);
	struct forward *f = p->f;
	f->jobs--;
	p->step = CONNECTING;
	if (p->gone) {
		pair_free(p);
		free_if_over(f);
	} else if (p->result < 0) {
		pair_fail(p, err_text(&p->err));
	} else if (pod_door_dials_itself(f->door)) {
		pair_opened(p, move_fd(p->sock[0]));
	} else {
		pair_connect(p);
	}
}

/* Both streams are there. */
static void pair_begin(struct pair *p)
{
	struct forward *f = p->f;
	pump_timer_off(f->s->pump, &p->timer);
	p->step = WAITING;
	if (!f->tried)
		return;
	if (f->result < 0) {
		pair_fail(p, err_text(&f->fault));
		return;
	}
	p->step = MAKING;
	start_job(f, &p->job, make_work, make_after);
}

/* ---- the pod ---- */

static struct forward *of_door_job(struct job *j)
{
	return (struct forward *)(void *)((char *)j - offsetof(struct forward, door_job));
}

static void door_work(struct job *j)
{
	struct forward *f = of_door_job(j);
	f->result = pod_door_open(f->s->lifecycle, f->q->id, &f->door, &f->fault);
}

static void on_pod_end(void *arg, uint32_t events)
{
	struct forward *f = arg;
	(void)events;
	log_debug("Port-forward to pod %s ends: the pod has stopped", f->q->id);
	finish(f, "the pod has stopped");
}

static void door_after(struct job *j)
{
	struct forward *f = of_door_job(j);
	f->jobs--;
	if (!f->mux) {
		free_if_over(f);
		return;
	}
	f->tried = true;
	if (f->result == 0) {
		watch_init(&f->end, pod_door_fd(f->door), on_pod_end, f);
		if (!pump_watch(f->s->pump, &f->end, EPOLLIN)) {
			finish(f, "no memory");
			return;
		}
	}
	f->jobs++; /* the failure of the last pair may be the end of all */
	for (struct pair *p = f->pairs, *next; p && f->mux; p = next) {
		next = p->next;
		if (p->step == WAITING && !p->gone)
			pair_begin(p);
	}
	f->jobs--;
	free_if_over(f);
}

/* ---- streams ---- */

static struct pair *pair_new(struct forward *f, const char *id, uint16_t port)
{
	struct pair *p = f->n_pairs < PAIRS_MAX ? calloc(1, sizeof(*p)) : NULL;
	if (!p)
		return NULL;
	p->f = f;
	(void)snprintf(p->id, sizeof(p->id), "%s", id);
	p->port = port;
	p->sock[0] = p->sock[1] = -1;
	p->connecting = (struct watch)WATCH_NONE;
	p->out = (struct source){ .watch = WATCH_NONE, .some = some, .over = over, .arg = p };
	sink_init(&p->in, f->s->pump, &f->s->budget, moved, p);
	p->next = f->pairs;
	f->pairs = p;
	f->n_pairs++;
	return p;
}

static void on_creation_time(void *arg)
{
	struct pair *p = arg;
	struct forward *f = p->f;
	cleanup_buf struct buf b = BUF_INIT;
	buf_addf(&b, "request %s: timed out waiting for its other stream", p->id);
	log_debug("Port-forward to pod %s: %s", f->q->id, b.p ? b.p : "");
	if (p->fault)
		mux_send_copy(p->fault, b.p ? b.p : "", b.n);
	pair_over(p, true);
}

/* Clients that name no request open its error stream and then, next, its data stream. */
static void request_id(const struct channel *ch, const struct spdy_headers *h, char ret[ID_MAX])
{
	const char *id = spdy_header(h, "requestid");
	if (*id)
		(void)snprintf(ret, ID_MAX, "%s", id);
	else
		(void)snprintf(ret, ID_MAX, "%u", ch->role == DATA ? ch->id - 2 : ch->id);
}

static const char *wants(void *arg, struct channel *ch, const struct spdy_headers *h)
{
	struct forward *f = arg;
	const char *type = spdy_header(h, "streamtype");
	int64_t port;
	char id[ID_MAX];
	if (!str_to_i64(spdy_header(h, "port"), 1, UINT16_MAX, &port))
		return "its port is no number from 1 to 65535";
	if (!str_eq(type, "data") && !str_eq(type, "error"))
		return "its streamtype is neither data nor error";
	if (strlen(spdy_header(h, "requestid")) >= ID_MAX)
		return "its requestID is too long";
	ch->role = str_eq(type, "data") ? DATA : FAULT;
	request_id(ch, h, id);
	struct pair *p = f->pairs;
	while (p && (!str_eq(p->id, id) || p->gone || p->step != OPENING))
		p = p->next;
	if (p && (ch->role == DATA ? p->data : p->fault))
		return "its request has a stream of this type already";
	if (!p) {
		p = pair_new(f, id, (uint16_t)port);
		if (!p)
			return "too many requests at once, or no memory";
		pump_at(f->s->pump, &p->timer, pump_now(f->s->pump) + CREATION_NS, on_creation_time, p);
	}
	if (ch->role == DATA) {
		p->data = ch;
		p->port = (uint16_t)port;
	} else {
		p->fault = ch;
	}
	ch->user = p;
	return NULL;
}

static void opened(void *arg, struct channel *ch)
{
	struct pair *p = ch->user;
	(void)arg;
	if (ch->role == DATA && !ch->can_in)
		sink_end(&p->in);
	if (p->data && p->fault)
		pair_begin(p);
}

static void gone(void *arg, const char *why)
{
	struct forward *f = arg;
	log_debug("Port-forward to pod %s: %s", f->q->id, why);
	part_over(f);
}

static const struct mux_user user = { wants, opened, data, ended, drained, gone };

/* Channels 2i and 2i + 1 are those of the request's port i; each begins with the port's number. */
static bool ws_pairs(struct forward *f)
{
	for (size_t i = 0; i < f->q->n_ports; i++) {
		uint16_t port = f->q->ports[i];
		const uint8_t le[2] = { (uint8_t)port, (uint8_t)(port >> 8) };
		struct pair *p = pair_new(f, "", port);
		if (!p)
			return false;
		p->data = mux_channel(f->mux, (uint32_t)(2 * i));
		p->fault = mux_channel(f->mux, (uint32_t)(2 * i + 1));
		p->data->role = DATA;
		p->fault->role = FAULT;
		p->data->user = p->fault->user = p;
		p->fault->can_in = false;
		mux_send_copy(p->data, le, sizeof(le));
		mux_send_copy(p->fault, le, sizeof(le));
		p->step = WAITING;
	}
	return true;
}

bool forward_begin(struct stream_server *s, struct conn *c, enum mux_kind kind, struct stream_request *q, const uint8_t *rest, size_t n)
{
	struct forward *f = calloc(1, sizeof(*f));
	if (f) {
		f->call = call_new("PortForward", CALL_NO_DEADLINE);
		f->mux = f->call ? mux_new(c, kind, (unsigned)q->n_ports * 2, &user, f) : NULL;
	}
	if (!f || !f->mux) {
		if (f)
			call_unref(f->call);
		free(f);
		stream_request_free(q);
		return false;
	}
	f->s = s;
	f->q = q;
	f->end = (struct watch)WATCH_NONE;
	stream_add(s, &f->base, cut);
	conn_until(c, 0, NULL);
	struct mux *m = f->mux;
	if (!mux_is_spdy(m) && !ws_pairs(f)) {
		finish(f, "no memory");
		return true;
	}
	start_job(f, &f->door_job, door_work, door_after);
	if (n)
		mux_input(m, rest, n);
	return true;
}
