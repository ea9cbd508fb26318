/* remote.c: exec and attach. */
#include "core/stream/remote.h"

#include <crio/runtime.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "core/stream/farewell.h"
#include "core/stream/status.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define AFTER_EXIT_NS (100 * 1000000LL)		 /* for output of what the command has left behind, which may keep its pipes open */
#define ATTACHED_SLOW_NS (60 * 1000000000LL) /* an attached client that does not read holds up the container: not for longer */
#define START_NS (4 * 60 * 1000000000LL)
#define PACKET_MAX 8192 /* bytes sent to an attached container at once: what conmon reads at once */
#define SIZE_MAX_TEXT 256
#define CTRL_P 16
#define CTRL_Q 17

enum role { IN, OUT, ERR, STATUS, SIZE, ROLES }; /* numbers of the WebSocket channels */

enum state {
	OPENING,	/* the client opens its streams */
	STARTING,	/* the job that starts or attaches is under way */
	RUNNING,
	COLLECTING, /* it has ended, its exit code is being fetched */
	ENDED	/* all is known; output may be left */
};

struct remote {
	struct stream base;
	struct stream_server *s;
	struct mux *mux; /* NULL: the client's part is over */
	struct stream_request *q;
	int version;
	enum state state;
	unsigned jobs; /* under way */
	struct channel *ch[ROLES];
	struct pump_timer timer; /* of OPENING; then for output after the end */
	struct source out, err;	 /* attached: out has both */
	int64_t tail[2];	 /* bytes of them still to be passed on; -1: all that come */
	struct sink in;
	bool stdin_stays, has_ctrl_p;
	/* What runs. */
	crio_call *call;
	struct process *process; /* NULL: attached, or not yet, or no more */
	struct watch end;	 /* its end; the descriptor is the process's */
	int given[3];		 /* its ends of pipes, while it is started */
	int tty, attached;	 /* what the job got */
	int32_t code;
	char *why;
	int result;
	crio_err fault;
	struct job start_job, end_job, size_job;
	/* The terminal's size. */
	char size_text[SIZE_MAX_TEXT];
	size_t size_n;
	uint16_t width, height, job_width, job_height;
	bool size_wanted, size_busy;
};

static void look_at_end(struct remote *r);

static const char *verb(const struct remote *r)
{
	return r->q->kind == STREAM_EXEC ? "error executing command in container" : "error attaching to container";
}

/* ---- the end ---- */

static void free_if_over(struct remote *r)
{
	if (r->mux || r->jobs)
		return;
	pump_timer_off(r->s->pump, &r->timer);
	if (r->attached >= 0)
		farewell_begin(r->s, move_fd(r->attached));
	for (int i = 0; i < 3; i++)
		(void)safe_close(r->given[i]);
	(void)safe_close(r->tty);
	process_unref(r->process);
	call_unref(r->call);
	err_clear(&r->fault);
	free(r->why);
	stream_request_free(r->q);
	stream_del(r->s, &r->base);
	free(r);
}

static struct remote *of_end_job(struct job *j)
{
	return (struct remote *)(void *)((char *)j - offsetof(struct remote, end_job));
}

static void abandon_work(struct job *j)
{
	process_abandon(of_end_job(j)->process, NULL);
}

static void abandon_after(struct job *j)
{
	struct remote *r = of_end_job(j);
	r->jobs--;
	free_if_over(r);
}

static void start_job(struct remote *r, struct job *j, enum work_class class, void (*work)(struct job *), void (*after)(struct job *))
{
	*j = (struct job){ .pump = r->s->pump, .workers = r->s->workers, .class = class, .work = work, .after = after };
	r->jobs++;
	job_start(j);
}

/* The client's part is over: what runs for it ends too. */
static void part_over(struct remote *r)
{
	r->mux = NULL;
	pump_timer_off(r->s->pump, &r->timer);
	if (r->out.packets && source_is_on(&r->out))
		farewell_begin(r->s, source_take(&r->out));
	source_stop(&r->out);
	source_stop(&r->err);
	sink_stop(&r->in);
	(void)pump_watch(r->s->pump, &r->end, 0);
	if (r->call)
		call_cancel(r->call);
	/* While it is started or fetched, that job's end sees to it. */
	if (r->state == RUNNING && r->process) {
		r->state = ENDED;
		start_job(r, &r->end_job, WORK_EXEC, abandon_work, abandon_after); /* never before the stop of a container */
	}
	free_if_over(r);
}

/* Says how it ended, and good-bye. */
static void finish(struct remote *r, char *status)
{
	cleanup_free char *text = status;
	struct mux *m = r->mux;
	if (text && *text && r->ch[STATUS])
		mux_send_copy(r->ch[STATUS], text, strlen(text));
	for (int i = OUT; i <= STATUS; i++)
		if (r->ch[i])
			mux_end(r->ch[i]);
	mux_finish(m, "");
	part_over(r);
}

static void fail(struct remote *r, const char *why)
{
	log_warn("Stream of %s: %s %s: %s", conn_peer(mux_conn(r->mux)), verb(r), r->q->id, why);
	finish(r, status_of_failure(r->version, verb(r), why));
}

static void cut(struct stream *base)
{
	struct remote *r = (struct remote *)(void *)base;
	if (!r->mux)
		return;
	mux_abort(r->mux);
	part_over(r);
}

/* ---- output ---- */

static void grace_over(void *arg)
{
	struct remote *r = arg;
	struct source *src[2] = { &r->out, &r->err };
	for (int i = 0; i < 2; i++) {
		int n = 0;
		if (!source_is_on(src[i]) || r->tail[i] >= 0)
			continue;
		/* What is there now was written by it, or soon after; more is not waited for. */
		if (ioctl(src[i]->watch.fd, FIONREAD, &n) < 0 || n <= 0)
			source_stop(src[i]);
		else
			r->tail[i] = n;
	}
	look_at_end(r);
}

static void look_later(void *arg)
{
	look_at_end(arg);
}

static void some(void *arg, struct source *s, uint8_t *p, size_t n)
{
	struct remote *r = arg;
	enum role role = s == &r->out ? OUT : ERR;
	if (s->packets) {
		role = *p == CRIO_ATTACH_STDERR ? ERR : OUT;
		p++;
		n--;
	}
	if (r->ch[role] && n)
		mux_send(r->ch[role], p, n);
	int64_t *tail = &r->tail[s == &r->err];
	if (*tail < 0)
		return;
	*tail -= (int64_t)n;
	if (*tail <= 0) {
		source_stop(s);
		pump_at(r->s->pump, &r->timer, pump_now(r->s->pump), look_later, r);
	}
}

static void over(void *arg, struct source *s, int error)
{
	struct remote *r = arg;
	(void)error;
	if (!s->packets) {
		enum role role = s == &r->out ? OUT : ERR;
		if (r->ch[role] && r->mux && r->state == RUNNING)
			mux_end(r->ch[role]);
		look_at_end(r);
	} else if (r->mux) {
		finish(r, status_of_success(r->version)); /* the container has ended */
	}
}

/* Is everything over? Then the client is told. */
static void look_at_end(struct remote *r)
{
	if (r->state != ENDED || !r->mux || source_is_on(&r->out) || source_is_on(&r->err))
		return;
	if (r->result < 0)
		fail(r, err_text(&r->fault));
	else
		finish(r, status_of_exit(r->version, r->code, r->why));
}

static void drained(void *arg)
{
	struct remote *r = arg;
	source_resume(&r->out);
	source_resume(&r->err);
}

/* ---- the end of the process ---- */

static void collect_work(struct job *j)
{
	struct remote *r = of_end_job(j);
	r->result = process_end(r->process, r->call, &r->code, &r->why, &r->fault);
}

static void collect_after(struct job *j)
{
	struct remote *r = of_end_job(j);
	r->jobs--;
	r->state = ENDED;
	if (!r->mux) {
		free_if_over(r);
		return;
	}
	pump_at(r->s->pump, &r->timer, pump_now(r->s->pump) + AFTER_EXIT_NS, grace_over, r);
	look_at_end(r);
}

static void on_end(void *arg, uint32_t events)
{
	struct remote *r = arg;
	(void)events;
	(void)pump_watch(r->s->pump, &r->end, 0);
	r->state = COLLECTING;
	start_job(r, &r->end_job, WORK_EXEC, collect_work, collect_after);
}

/* ---- the terminal's size ---- */

static struct remote *of_size_job(struct job *j)
{
	return (struct remote *)(void *)((char *)j - offsetof(struct remote, size_job));
}

static void size_work(struct job *j)
{
	struct remote *r = of_size_job(j);
	cleanup_err crio_err err = ERR_INIT;
	cleanup_call crio_call *call = call_sub(r->call, 10 * 1000000000LL);
	int e = !call ? err_nomem(&err) :
		r->process ? process_resize(r->process, call, r->job_width, r->job_height, &err) :
			     container_resize(r->s->lifecycle, call, r->q->id, r->job_width, r->job_height, &err);
	if (e < 0)
		log_debug("Resize the terminal of container %s: %s", r->q->id, err_text(&err));
}

static void set_size(struct remote *r);

static void size_after(struct job *j)
{
	struct remote *r = of_size_job(j);
	r->jobs--;
	r->size_busy = false;
	set_size(r);
	free_if_over(r);
}

/* The latest size, once it is known and the one before is set. */
static void set_size(struct remote *r)
{
	if (!r->size_wanted || r->size_busy || r->state != RUNNING || !r->mux || !r->q->tty)
		return;
	r->size_wanted = false;
	r->size_busy = true;
	r->job_width = r->width;
	r->job_height = r->height;
	start_job(r, &r->size_job, WORK_EXEC, size_work, size_after);
}

/* Objects, one after the other, with white space between. */
static void size_data(struct remote *r, const uint8_t *p, size_t n)
{
	for (; n; p++, n--) {
		if (!r->size_n && *p != '{')
			continue;
		if (r->size_n == sizeof(r->size_text)) {
			r->size_n = 0; /* this is none */
			continue;
		}
		r->size_text[r->size_n++] = (char)*p;
		if (*p != '}')
			continue;
		if (size_parse_json(r->size_text, r->size_n, &r->width, &r->height))
			r->size_wanted = true;
		r->size_n = 0;
	}
	set_size(r);
}

/* ---- input ---- */

static void hold_if_full(struct remote *r)
{
	if (r->mux)
		conn_hold(mux_conn(r->mux), sink_is_full(&r->in));
}

/* An attached client has no more input, and the container's stays open: its output would never end. */
static bool leave_at_end(struct remote *r)
{
	if (r->q->kind != STREAM_ATTACH || r->q->tty || r->state != RUNNING || !r->stdin_stays || !r->in.end || !r->in.closed || !r->mux)
		return false;
	finish(r, status_of_success(r->version));
	return true;
}

static void moved(void *arg, struct sink *s)
{
	struct remote *r = arg;
	(void)s;
	if (!leave_at_end(r))
		hold_if_full(r);
}

/* Ctrl-P, Ctrl-Q, typed one after the other: the client leaves, the container goes on. */
static bool detaches(struct remote *r, const uint8_t *p, size_t n)
{
	if (r->q->kind != STREAM_ATTACH || !r->q->tty)
		return false;
	if (r->has_ctrl_p) {
		r->has_ctrl_p = false;
		if (n == 1 && *p == CTRL_Q)
			return true;
		(void)sink_put(&r->in, (const uint8_t[]){ CTRL_P }, 1);
	}
	r->has_ctrl_p = n == 1 && *p == CTRL_P;
	return false;
}

static void data(void *arg, struct channel *ch, const uint8_t *p, size_t n)
{
	struct remote *r = arg;
	if (ch->role == SIZE) {
		size_data(r, p, n);
		return;
	}
	if (ch->role != IN || !r->q->in)
		return;
	if (detaches(r, p, n)) {
		finish(r, status_of_success(r->version));
		return;
	}
	if (r->has_ctrl_p)
		return;
	if (!sink_put(&r->in, p, n)) {
		fail(r, "no memory for its input");
		return;
	}
	hold_if_full(r);
}

static void ended(void *arg, struct channel *ch, bool reset)
{
	struct remote *r = arg;
	int role = ch->role;
	if (reset)
		r->ch[role] = NULL;
	if (role != IN)
		return;
	sink_end(&r->in);
	(void)leave_at_end(r);
}

/* ---- the start ---- */

static struct remote *of_start_job(struct job *j)
{
	return (struct remote *)(void *)((char *)j - offsetof(struct remote, start_job));
}

static void start_work(struct job *j)
{
	struct remote *r = of_start_job(j);
	cleanup_call crio_call *call = call_sub(r->call, START_NS);
	if (!call) {
		r->result = err_nomem(&r->fault);
	} else if (r->q->kind == STREAM_EXEC) {
		struct process_args a = { .cmd = &r->q->cmd, .tty = r->q->tty, .in = r->given[0], .out = r->given[1], .err = r->given[2] };
		r->result = process_start(r->s->lifecycle, call, r->q->id, &a, &r->process, &r->tty, &r->fault);
	} else {
		struct attached a = { .fd = -1 };
		r->result = container_attach(r->s->lifecycle, call, r->q->id, &a, &r->fault);
		r->attached = a.fd;
		r->stdin_stays = a.stdin_stays;
	}
}

/* The two ways through one descriptor. */
static bool join(struct remote *r, int *fd)
{
	int flags = fcntl(*fd, F_GETFL), in = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
	if (in < 0 || flags < 0 || fcntl(*fd, F_SETFL, flags | O_NONBLOCK) < 0 || !source_start(&r->out, r->mux, *fd)) {
		(void)safe_close(in);
		return false;
	}
	*fd = -1;
	sink_open(&r->in, in);
	return true;
}

static void started(struct remote *r)
{
	bool ok = true;
	r->state = RUNNING;
	if (r->attached >= 0) {
		r->out.packets = r->in.socket = true;
		r->in.piece = PACKET_MAX;
		ok = join(r, &r->attached);
		conn_must_read(mux_conn(r->mux), ATTACHED_SLOW_NS);
	} else if (r->tty >= 0) {
		r->in.keeps_open = true;
		ok = join(r, &r->tty);
	}
	if (ok && r->process) {
		watch_init(&r->end, process_fd(r->process), on_end, r);
		ok = pump_watch(r->s->pump, &r->end, EPOLLIN);
	}
	if (!ok) {
		fail(r, "no descriptor, or no memory to watch it");
		return;
	}
	if (leave_at_end(r))
		return;
	hold_if_full(r);
	set_size(r);
}

static void start_after(struct job *j)
{
	struct remote *r = of_start_job(j);
	r->jobs--;
	for (int i = 0; i < 3; i++)
		r->given[i] = safe_close(r->given[i]);
	if (r->result < 0 && r->mux) {
		fail(r, err_text(&r->fault));
	} else if (r->result == 0 && !r->mux) {
		/* The client has not waited for it. */
		r->state = RUNNING;
		part_over(r);
	} else if (r->mux) {
		started(r);
	} else {
		free_if_over(r);
	}
}

/* A pipe whose end `ours` (0: read, 1: write) stays here. */
static bool make_pipe(int ours, int *ret_ours, int *ret_given)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return false;
	(void)fcntl(p[ours], F_SETFL, O_NONBLOCK);
	*ret_ours = p[ours];
	*ret_given = p[!ours];
	return true;
}

static bool make_pipes(struct remote *r)
{
	int fd;
	if (r->q->in) {
		if (!make_pipe(1, &fd, &r->given[0]))
			return false;
		sink_open(&r->in, fd);
	}
	struct source *src[2] = { &r->out, &r->err };
	const bool wanted[2] = { r->q->out, r->q->err };
	for (int i = 0; i < 2; i++) {
		if (!wanted[i])
			continue;
		if (!make_pipe(0, &fd, &r->given[1 + i]))
			return false;
		if (!source_start(src[i], r->mux, fd)) {
			(void)safe_close(fd);
			return false;
		}
	}
	return true;
}

static void begin(struct remote *r)
{
	pump_timer_off(r->s->pump, &r->timer);
	conn_until(mux_conn(r->mux), 0, NULL);
	r->state = STARTING;
	if (mux_is_spdy(r->mux) && r->version == 1) {
		/* So did the first of all kubelets, and clients of version 1 expect it. */
		mux_reset(r->ch[STATUS]);
		r->ch[STATUS] = NULL;
		if (r->ch[IN])
			mux_end(r->ch[IN]);
	}
	r->call = call_new(r->q->kind == STREAM_EXEC ? "Exec" : "Attach", CALL_NO_DEADLINE);
	if (!r->call) {
		fail(r, "no memory");
		return;
	}
	if (r->q->kind == STREAM_EXEC && !r->q->tty && !make_pipes(r)) {
		fail(r, "cannot make pipes: no descriptors, or no memory");
		return;
	}
	start_job(r, &r->start_job, WORK_EXEC, start_work, start_after);
}

/* ---- streams ---- */

static bool expects(const struct remote *r, enum role role)
{
	switch (role) {
	case IN: return r->q->in;
	case OUT: return r->q->out;
	case ERR: return r->q->err;
	case STATUS: return true;
	default: return r->q->tty && r->version >= 3;
	}
}

static const char *wants(void *arg, struct channel *ch, const struct spdy_headers *h)
{
	static const char *const names[ROLES] = { "stdin", "stdout", "stderr", "error", "resize" };
	struct remote *r = arg;
	const char *type = spdy_header(h, "streamtype");
	for (int i = 0; i < ROLES; i++) {
		if (!str_eq(type, names[i]))
			continue;
		if (!expects(r, (enum role)i))
			return "the request was for no stream of this type";
		if (r->ch[i] || r->state != OPENING)
			return "there is a stream of this type already";
		ch->role = i;
		r->ch[i] = ch;
		return NULL;
	}
	return "its streamtype is unknown";
}

static void opened(void *arg, struct channel *ch)
{
	struct remote *r = arg;
	/* One that is opened with its end, as FIN says, brings nothing. */
	if (ch->role == IN && !ch->can_in)
		sink_end(&r->in);
	for (int i = 0; i < ROLES; i++)
		if (expects(r, (enum role)i) && !r->ch[i])
			return;
	if (r->state == OPENING)
		begin(r);
}

static void gone(void *arg, const char *why)
{
	struct remote *r = arg;
	log_debug("Stream to container %s: %s", r->q->id, why);
	part_over(r);
}

static const struct mux_user user = { wants, opened, data, ended, drained, gone };

static void ws_channels(struct remote *r)
{
	for (int i = 0; i < ROLES; i++) {
		struct channel *ch = mux_channel(r->mux, (uint32_t)i);
		ch->role = i;
		r->ch[i] = ch;
		ch->can_in = i == SIZE || (i == IN && r->q->in);
		ch->can_out = i == STATUS || (i == OUT && r->q->out) || (i == ERR && r->q->err);
	}
	/* A message of nothing tells the client that it is connected. */
	mux_send_copy(r->ch[r->q->out ? OUT : r->q->err ? ERR : STATUS], "", 0);
}

bool remote_begin(struct stream_server *s, struct conn *c, enum mux_kind kind, int version, struct stream_request *q,
		  const uint8_t *rest, size_t n)
{
	struct remote *r = calloc(1, sizeof(*r));
	if (r)
		r->mux = mux_new(c, kind, ROLES, &user, r);
	if (!r || !r->mux) {
		free(r);
		stream_request_free(q);
		return false;
	}
	r->s = s;
	r->q = q;
	r->version = version;
	r->given[0] = r->given[1] = r->given[2] = r->tty = r->attached = -1;
	r->tail[0] = r->tail[1] = -1;
	r->out = r->err = (struct source){ .watch = WATCH_NONE, .some = some, .over = over, .arg = r };
	r->end = (struct watch)WATCH_NONE;
	sink_init(&r->in, s->pump, &s->budget, moved, r);
	stream_add(s, &r->base, cut);
	conn_until(c, pump_now(s->pump) + CREATION_NS, "timed out waiting for client to create streams");
	struct mux *m = r->mux;
	if (!mux_is_spdy(r->mux)) {
		ws_channels(r);
		begin(r);
	}
	if (n)
		mux_input(m, rest, n);
	return true;
}
