/*
 * Exec: Exec, Start and Wait of the shim. The streams are fifos; they are carried to and from the caller's descriptors
 * by the thread that waits, exec_wait's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "plugins/runtime/kata/kata.h"

#define PROCESS_JSON_MAX (3u << 20)
#define PROCESS_TYPE "types.containerd.io/opencontainers/runtime-spec/1/Process"
#define EXECS_MAX 1024
#define DRAIN_NS NSEC_PER_SEC /* for output that is still on its way after the process has ended */

/* One direction: from a fifo to the caller, or from the caller to the fifo. */
struct flow {
	int from, to; /* -1: closed */
	bool ready;   /* `from` has something; next is room in `to` */
};

struct exec {
	struct exec *next; /* mu */
	int refs;	   /* mu */
	bool waiting;	   /* mu: one exec_wait at a time */
	char id[40];
	struct task *t;
	bool tty;
	struct flow in, out, err;
	int wait_fd;
	struct reply reply;
	bool done;
	int code;
};

static void exec_free(struct exec *e)
{
	static const char *const names[] = {"stdin", "stdout", "stderr"};
	struct flow *f[] = {&e->in, &e->out, &e->err};

	for (size_t i = 0; i < N_ELEMENTS(f); i++) {
		auto_free char *p = task_fifo(e->t->k, e->t->id, e->id, names[i]);

		close_fd(f[i]->from);
		close_fd(f[i]->to);
		if (p)
			(void)unlink(p);
	}
	close_fd(e->wait_fd);
	reply_release(&e->reply);
	task_unref(e->t);
	free(e);
}

static struct exec *exec_get(struct kata *k, const char *id)
{
	struct exec *e;

	pthread_mutex_lock(&k->mu);
	for (e = k->execs; e && strcmp(e->id, str0(id)) != 0; e = e->next)
		;
	if (e)
		e->refs++;
	pthread_mutex_unlock(&k->mu);
	return e;
}

static void exec_put(struct kata *k, struct exec *e)
{
	bool last;

	pthread_mutex_lock(&k->mu);
	last = --e->refs == 0;
	pthread_mutex_unlock(&k->mu);
	if (last)
		exec_free(e);
}

static void exec_drop(struct kata *k, struct exec *e)
{
	bool mine = false;

	pthread_mutex_lock(&k->mu);
	for (struct exec **p = &k->execs; *p; p = &(*p)->next) {
		if (*p == e) {
			*p = e->next;
			mine = true;
			break;
		}
	}
	pthread_mutex_unlock(&k->mu);
	if (mine)
		exec_put(k, e);
}

static int dup_fd(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static int open_fifo(struct exec *e, const char *stream, int flags)
{
	auto_free char *p = task_fifo(e->t->k, e->t->id, e->id, stream);

	if (!p || mkfifo(p, 0600))
		return -1;
	return open(p, flags | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
}

/* Makes the fifos and joins them with the caller's descriptors. *ret_tty is the caller's end of a terminal. */
static int exec_streams(struct exec *e, const struct crio_runtime_exec_args *a, int *ret_tty)
{
	bool ok = true;

	if (a->tty) {
		int sv[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
			return -1;
		*ret_tty = sv[0];
		e->in.from = sv[1];
		e->out.to = dup_fd(sv[1]);
	} else {
		e->in.from = dup_fd(a->stdin_fd);
		e->out.to = dup_fd(a->stdout_fd);
		e->err.to = dup_fd(a->stderr_fd);
	}
	if (e->in.from >= 0)
		ok = (e->in.to = open_fifo(e, "stdin", O_RDWR)) >= 0;
	ok = ok && (e->out.from = open_fifo(e, "stdout", O_RDONLY)) >= 0;
	if (!a->tty)
		ok = ok && (e->err.from = open_fifo(e, "stderr", O_RDONLY)) >= 0;
	return ok ? 0 : -1;
}

static int exec_request(struct kata *k, crio_call *call, struct exec *e, const char *process, crio_err *err)
{
	auto_free char *in = task_fifo(k, e->t->id, e->id, "stdin"), *out = task_fifo(k, e->t->id, e->id, "stdout");
	auto_free char *errp = task_fifo(k, e->t->id, e->id, "stderr");
	struct pb q = {0}, any = {0};
	int r;

	pb_str(&q, 1, e->t->id);
	pb_str(&q, 2, e->id);
	pb_uint(&q, 3, e->tty);
	pb_str(&q, 4, e->in.from >= 0 ? str0(in) : "");
	pb_str(&q, 5, str0(out));
	pb_str(&q, 6, e->tty ? "" : str0(errp));
	pb_str(&any, 1, PROCESS_TYPE);
	pb_str(&any, 2, process);
	pb_msg(&q, 7, &any);
	r = ttrpc_call(k, call, e->t->address, "Exec", &q, NULL, err);
	return r;
}

static int ref_call(struct kata *k, crio_call *call, struct exec *e, const char *method, struct reply *ret,
		    crio_err *err)
{
	struct pb q = {0};

	pb_str(&q, 1, e->t->id);
	pb_str(&q, 2, e->id);
	return ttrpc_call(k, call, e->t->address, method, &q, ret, err);
}

static struct exec *exec_new(struct kata *k, struct task *t)
{
	struct exec *e = calloc(1, sizeof(*e));
	size_t n = 0;

	if (!e)
		return NULL;
	e->refs = 1;
	e->t = t;
	e->in = e->out = e->err = (struct flow){-1, -1, false};
	e->wait_fd = -1;
	pthread_mutex_lock(&k->mu);
	for (struct exec *x = k->execs; x; x = x->next)
		n++;
	t->refs++;
	(void)snprintf(e->id, sizeof(e->id), "e%d-%llu", (int)getpid(), (unsigned long long)++k->seq);
	pthread_mutex_unlock(&k->mu);
	if (n >= EXECS_MAX) {
		exec_free(e);
		return NULL;
	}
	return e;
}

static int exec_begin(struct kata *k, crio_call *call, struct exec *e, const struct crio_runtime_exec_args *args,
		      struct crio_runtime_exec_out *out, crio_err *err)
{
	auto_reply struct reply reply = {0};
	struct pb q = {0};
	int r = exec_request(k, call, e, args->process_json, err);

	if (r < 0)
		return r;
	/* before Start: a process that ends at once is waited for all the same */
	pb_str(&q, 1, e->t->id);
	pb_str(&q, 2, e->id);
	e->wait_fd = r = ttrpc_send(k, call, e->t->address, "Wait", &q, err);
	if (r >= 0)
		r = ref_call(k, call, e, "Start", &reply, err);
	if (r < 0) {
		(void)ref_call(k, call, e, "Delete", NULL, NULL);
		return r;
	}
	out->pid = (int32_t)pb_get_uint(reply.p, reply.n, 1);
	return 0;
}

/* Did Start fail for the command's sake? Then it is an exec that was "not started", which the caller learns by waiting.
 */
static bool is_command_fault(int code)
{
	return code == CRIO_E_INTERNAL || code == CRIO_E_INVALID || code == CRIO_E_NOT_FOUND;
}

int kata_exec_start(void *self, crio_call *call, const struct crio_runtime_exec_args *args,
		    struct crio_runtime_exec_out *out, crio_err *err)
{
	struct kata *k = self;
	auto_task struct task *t = NULL;
	auto_close int tty = -1;
	struct exec *e;
	crio_err *why;
	int r = task_need(k, args->id, &t, err);

	out->tty_fd = out->exit_fd = -1;
	if (r < 0)
		return r;
	if (task_exited(t))
		return k->host->fail(err, CRIO_E_PRECONDITION, "exec in container '%s': it is not running", t->id);
	if (strlen(str0(args->process_json)) > PROCESS_JSON_MAX || !json_is_object(str0(args->process_json)))
		return k->host->fail(err, CRIO_E_INVALID, "exec in container '%s': the process is not a JSON object",
				     t->id);
	e = exec_new(k, t);
	if (!e)
		return k->host->fail(err, CRIO_E_EXHAUSTED, "exec in container '%s': no memory, or %d are running",
				     t->id, EXECS_MAX);
	e->tty = args->tty;
	if (exec_streams(e, args, &tty) < 0) {
		r = k->host->fail(err, CRIO_E_IO, "exec in container '%s': streams: %s", t->id, strerror(errno));
		exec_free(e);
		return r;
	}
	why = k->host->err_new();
	r = why ? exec_begin(k, call, e, args, out, why) : CRIO_E_NOMEM;
	if (r < 0 && is_command_fault(r) && e->wait_fd >= 0) {
		const char *text = k->host->err_text(why);

		/* as a runtime does that cannot run a command: its words on stderr, code 255 */
		e->done = true;
		e->code = 255;
		(void)(e->err.to >= 0 && dprintf(e->err.to, "%s\n", text) < 0);
		e->reply.n = 0;
		free(e->reply.p);
		e->reply.p = (uint8_t *)strdup(text);
		r = 0;
	}
	out->exec_id = r < 0 ? NULL : k->host->strdup(call, e->id);
	if (r < 0 || !out->exec_id) {
		r = k->host->fail(err, r < 0 ? r : CRIO_E_NOMEM, "exec in container '%s': %s", t->id,
				  why ? k->host->err_text(why) : "no memory");
		k->host->err_free(why);
		exec_free(e);
		return r;
	}
	k->host->err_free(why);
	out->tty_fd = tty;
	tty = -1;
	pthread_mutex_lock(&k->mu);
	e->next = k->execs;
	k->execs = e;
	pthread_mutex_unlock(&k->mu);
	return 0;
}

/* Moves one piece. The descriptor written to has room for a page, so that it does not block. */
static void flow_step(struct flow *f, bool *ended)
{
	char buf[4096];
	ssize_t n;

	*ended = false;
	n = read(f->from, buf, sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		f->ready = false;
		return;
	}
	if (n <= 0) {
		*ended = true;
		return;
	}
	f->ready = false;
	for (ssize_t at = 0; f->to >= 0 && at < n;) {
		ssize_t w = write(f->to, buf + at, (size_t)(n - at));

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0 && errno == EAGAIN) {
			(void)fd_wait(f->to, POLLOUT, 100 * NSEC_PER_MSEC);
			continue;
		}
		if (w <= 0) {
			f->to = close_fd(f->to); /* nobody listens any more; the source is read on and dropped */
			break;
		}
		at += w;
	}
}

static void flow_close(struct flow *f)
{
	f->from = close_fd(f->from);
	f->to = close_fd(f->to);
	f->ready = false;
}

/* The caller's input has ended: the process is to see that too. */
static void end_input(struct kata *k, crio_call *call, struct exec *e)
{
	struct pb q = {0};

	flow_close(&e->in);
	pb_str(&q, 1, e->t->id);
	pb_str(&q, 2, e->id);
	pb_uint(&q, 3, 1);
	(void)ttrpc_call(k, call, e->t->address, "CloseIO", &q, NULL, NULL);
}

static struct pollfd flow_poll(const struct flow *f)
{
	struct pollfd p = {.fd = -1};

	if (f->from >= 0 && (!f->ready || f->to < 0)) {
		p.fd = f->from;
		p.events = POLLIN;
	} else if (f->from >= 0) {
		p.fd = f->to;
		p.events = POLLOUT;
	}
	return p;
}

/* One turn. Returns <0 when poll fails. */
static int carry(struct kata *k, crio_call *call, struct exec *e, int timeout_ms)
{
	struct flow *f[] = {&e->in, &e->out, &e->err};
	struct pollfd p[5];
	int r;

	for (size_t i = 0; i < 3; i++)
		p[i] = flow_poll(f[i]);
	p[3] = (struct pollfd){.fd = e->done ? -1 : e->wait_fd, .events = POLLIN};
	p[4] = (struct pollfd){.fd = timeout_ms < 0 ? k->host->cancel_fd(call) : -1, .events = POLLIN};
	if (timeout_ms < 0) {
		int64_t left = k->host->deadline_ns(call) - k->host->now_ns();

		timeout_ms = left <= 0 ? 0 : left > 60 * NSEC_PER_SEC ? 60000 : (int)(left / NSEC_PER_MSEC) + 1;
	}
	r = poll(p, 5, timeout_ms);
	if (r <= 0)
		return r < 0 && errno != EINTR ? -1 : 0;
	for (size_t i = 0; i < 3; i++) {
		bool ended = false;

		if (!p[i].revents)
			continue;
		if (!f[i]->ready && f[i]->to >= 0)
			f[i]->ready = true;
		else
			flow_step(f[i], &ended);
		if (ended && i == 0)
			end_input(k, call, e);
		else if (ended)
			flow_close(f[i]);
	}
	if (p[3].revents) {
		r = ttrpc_take(k, e->wait_fd, &e->reply, NULL);
		if (r) {
			uint64_t code = r == 1 ? pb_get_uint(e->reply.p, e->reply.n, 1) : 255;

			e->done = true;
			e->code = code <= 255 ? (int)code : 255;
		}
	}
	return 0;
}

static int exec_finish(struct kata *k, crio_call *call, struct exec *e, struct crio_runtime_exec_exit *out)
{
	int64_t end = mono_ns() + DRAIN_NS;
	bool started = e->wait_fd >= 0 && !(e->reply.p && !e->reply.n);

	/* what it wrote last is still in the pipes; a child it left behind may keep them open */
	while (started && (e->out.from >= 0 || e->err.from >= 0) && mono_ns() < end) {
		if (carry(k, call, e, 50) < 0)
			break;
	}
	out->exit_code = e->code;
	if (!started && CRIO_HAS(out, message)) {
		out->not_started = 1;
		out->message = k->host->strdup(call, e->reply.p ? (const char *)e->reply.p : "");
	} else {
		(void)ref_call(k, call, e, "Delete", NULL, NULL);
	}
	return 0;
}

int kata_exec_wait(void *self, crio_call *call, const struct crio_runtime_exec_ref *args,
		   struct crio_runtime_exec_exit *out, crio_err *err)
{
	struct kata *k = self;
	struct exec *e = exec_get(k, args->exec_id);
	bool busy;
	int r = 0;

	if (!e)
		return k->host->fail(err, CRIO_E_NOT_FOUND, "exec '%s' of container '%s' is not there",
				     str0(args->exec_id), str0(args->id));
	pthread_mutex_lock(&k->mu);
	busy = e->waiting;
	e->waiting = true;
	pthread_mutex_unlock(&k->mu);
	if (busy) {
		exec_put(k, e);
		return k->host->fail(err, CRIO_E_PRECONDITION, "exec '%s' is being waited for", str0(args->exec_id));
	}
	while (!r && !e->done) {
		if (k->host->cancelled(call))
			r = k->host->fail(
			    err, k->host->now_ns() >= k->host->deadline_ns(call) ? CRIO_E_DEADLINE : CRIO_E_CANCELLED,
			    "wait for exec in container '%s'", e->t->id);
		else if (carry(k, call, e, -1) < 0)
			r = k->host->fail(err, CRIO_E_IO, "wait for exec in container '%s': %s", e->t->id,
					  strerror(errno));
	}
	if (!r)
		r = exec_finish(k, call, e, out);
	pthread_mutex_lock(&k->mu);
	e->waiting = false;
	pthread_mutex_unlock(&k->mu);
	if (!r)
		exec_drop(k, e);
	exec_put(k, e);
	return r;
}

int kata_exec_kill(void *self, crio_call *call, const struct crio_runtime_exec_ref *args,
		   struct crio_runtime_no_out *out, crio_err *err)
{
	struct kata *k = self;
	struct exec *e = exec_get(k, args->exec_id);
	struct pb q = {0};
	crio_err *why;
	int r;

	(void)out;
	if (!e)
		return 0;
	pb_str(&q, 1, e->t->id);
	pb_str(&q, 2, e->id);
	pb_uint(&q, 3, (uint64_t)(args->signal > 0 ? args->signal : SIGKILL));
	pb_uint(&q, 4, 1);
	why = k->host->err_new();
	r = ttrpc_call(k, call, e->t->address, "Kill", &q, NULL, why);
	exec_put(k, e);
	if (r < 0 && r != CRIO_E_NOT_FOUND)
		return err_give(k->host, why, err, r);
	k->host->err_free(why);
	return 0;
}

int kata_exec_resize(void *self, crio_call *call, const struct crio_runtime_exec_ref *args,
		     struct crio_runtime_no_out *out, crio_err *err)
{
	struct kata *k = self;
	struct exec *e = exec_get(k, args->exec_id);
	struct pb q = {0};
	int r;

	(void)out;
	if (!e)
		return k->host->fail(err, CRIO_E_NOT_FOUND, "exec '%s' of container '%s' is not there",
				     str0(args->exec_id), str0(args->id));
	pb_str(&q, 1, e->t->id);
	pb_str(&q, 2, e->id);
	pb_uint(&q, 3, args->width);
	pb_uint(&q, 4, args->height);
	r = ttrpc_call(k, call, e->t->address, "ResizePty", &q, NULL, err);
	exec_put(k, e);
	return r;
}

void kata_exec_close_all(struct kata *k)
{
	struct exec *e;

	while ((e = k->execs)) {
		k->execs = e->next;
		exec_free(e);
	}
}
