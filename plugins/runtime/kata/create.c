/*
 * Making a container. The shim runs its own runtime under the request's context: when the connection ends or the
 * request's time is over, it kills that runtime in the middle, and what the runtime had made by then stays. So the
 * making has a thread, a call and a connection of its own. When the caller leaves, the thread waits for the shim's answer
 * and undoes what came of it; until then the id is taken, and a create or delete of it waits.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "plugins/runtime/kata/kata.h"

#define OPTIONS_TYPE "runtimeoptions.v1.Options"
#define EXTRA_NS (60 * NSEC_PER_SEC) /* for the shim's answer, after the caller's time is over */
#define START_NS (30 * NSEC_PER_SEC) /* for the shim's `start`, which says where it listens and ends */
/* How long a caller that is over waits for the undoing: the host leaves an operation behind 2 s after a cancellation
 * and 0.5 s after its deadline. */
#define STAY_CANCELLED_NS (1200 * NSEC_PER_MSEC)
#define STAY_DEADLINE_NS (250 * NSEC_PER_MSEC)

struct making {
	struct making *next; /* mu */
	int refs;	     /* mu */
	struct kata *k;
	struct task *task;
	struct pb request; /* the thread's */
	crio_call *call;   /* the thread's */
	crio_err *err;	   /* the thread's until it is done */
	pthread_t thread;
	bool with_stdin;
	int64_t limit; /* the caller's */
	int done_fd; /* readable once the thread has finished and the id is free, or the task in the table */
	/* mu */
	bool left; /* the caller has gone: undo */
	bool made; /* the task is in the table */
	bool done;
	int result;
};

static void making_unref(struct making *m)
{
	struct kata *k = m->k;
	bool last;

	pthread_mutex_lock(&k->mu);
	last = --m->refs == 0;
	pthread_mutex_unlock(&k->mu);
	if (!last)
		return;
	if (m->call)
		k->host->call_free(m->call);
	if (m->err)
		k->host->err_free(m->err);
	if (m->task)
		task_unref(m->task);
	pb_release(&m->request);
	close_fd(m->done_fd);
	free(m);
}

/* One that still has its id; mu is held. */
static struct making *find(struct kata *k, const char *id)
{
	struct making *m = k->makings;

	while (m && (m->done || strcmp(m->task->id, id) != 0))
		m = m->next;
	return m;
}

/* ---- what the shim is asked */

static void create_request(struct task *t, bool with_stdin, const struct crio_mount_rows *rootfs, struct pb *q)
{
	struct kata *k = t->k;
	auto_free char *in = task_fifo(k, t->id, "", "stdin"), *out = task_fifo(k, t->id, "", "stdout");
	auto_free char *errp = task_fifo(k, t->id, "", "stderr");
	const char *config = str0(k->host->opt_str(k->in, "config_path"));

	q->oom |= !in || !out || !errp;
	pb_str(q, 1, t->id);
	pb_str(q, 2, t->bundle);
	for (size_t i = 0; rootfs && i < rootfs->n; i++) {
		const struct crio_mount_row *row = CRIO_ROW(crio_mount_row, *rootfs, i);
		struct pb m = {0};

		pb_str(&m, 1, row->type);
		pb_str(&m, 2, row->source);
		pb_str(&m, 3, row->target);
		for (size_t o = 0; o < row->options.n; o++)
			pb_str(&m, 4, row->options.v[o]);
		pb_msg(q, 3, &m);
	}
	pb_uint(q, 4, t->terminal);
	pb_str(q, 5, with_stdin ? in : "");
	pb_str(q, 6, out);
	pb_str(q, 7, t->terminal ? "" : errp);
	if (*config) {
		struct pb any = {0}, options = {0};

		pb_str(&options, 2, config);
		pb_str(&any, 1, OPTIONS_TYPE);
		pb_msg(&any, 2, &options);
		pb_msg(q, 10, &any);
	}
}

/* As ttrpc_call; ends early only when the instance closes. */
static int create_call(struct making *m, struct reply *ret, crio_err *err)
{
	struct task *t = m->task;
	struct kata *k = m->k;
	auto_close int fd = ttrpc_send(k, m->call, t->address, "Create", &m->request, err);
	int r = fd;

	while (r >= 0) {
		struct pollfd p[3] = {
		    {fd, POLLIN, 0}, {k->closing_fd, POLLIN, 0}, {k->host->cancel_fd(m->call), POLLIN, 0}};

		(void)poll(p, N_ELEMENTS(p), -1);
		if (p[1].revents)
			r = k->host->fail(err, CRIO_E_CANCELLED, "the daemon ends");
		else if (!p[0].revents && k->host->cancelled(m->call))
			r = k->host->fail(err, CRIO_E_DEADLINE, "no answer");
		else
			r = ttrpc_take(k, fd, ret, err);
		if (r == 1)
			return 0;
	}
	(void)k->host->wrap(err, "shim Create");
	return r;
}

static int make(struct making *m, crio_err *err)
{
	auto_reply struct reply made = {0}, peer = {0};
	struct task *t = m->task;
	struct kata *k = m->k;
	crio_call *starting = k->host->call_sub(m->call, m->limit < START_NS ? m->limit : START_NS);
	int r = starting ? task_record(t, m->call, err) : k->host->fail(err, CRIO_E_NOMEM, "no memory");

	if (r >= 0)
		r = task_fifos_make(t, m->with_stdin, err);
	if (r >= 0)
		r = shim_start(k, starting, t, err);
	if (starting)
		k->host->call_free(starting);
	if (r >= 0)
		r = create_call(m, &made, err);
	if (r < 0)
		return r;
	t->pid = (pid_t)pb_get_uint(made.p, made.n, 1);
	if (!proc_start_time(t->pid, &t->start))
		t->start = UINT64_MAX;
	if (task_call(t, m->call, "Connect", &peer, NULL) == 0)
		t->shim_pid = (pid_t)pb_get_uint(peer.p, peer.n, 1);
	if (!proc_start_time(t->shim_pid, &t->shim_start))
		t->shim_pid = 0;
	r = task_record(t, m->call, err);
	return r < 0 ? r : task_watch(t, m->call, err);
}

/* ---- undoing */

/* Kills and deletes on the shim's side. `sub` NULL: each step has its own limit. */
static int shim_forget(struct task *t, crio_call *sub)
{
	struct pb q = {0};
	int r;

	if (!*t->address)
		task_address_from_bundle(t); /* `start` was killed after it had made the shim */
	if (!*t->address)
		return CRIO_E_UNAVAILABLE;
	pb_str(&q, 1, t->id);
	pb_uint(&q, 3, SIGKILL);
	pb_uint(&q, 4, 1);
	r = ttrpc_call(t->k, sub, t->address, "Kill", &q, NULL, NULL);
	if (r < 0 && r != CRIO_E_NOT_FOUND)
		return r;
	/* a killed process is gone a moment later: Wait says when, for one that was started */
	if (r >= 0 && !task_exited(t))
		(void)task_call(t, sub, "Wait", NULL, NULL);
	return task_call(t, sub, "Delete", NULL, NULL);
}

static void remove_traces(struct task *t, crio_call *call)
{
	static const char *const names[] = {"log",     "address",      "shim.pid",	  "init.pid",
					    "runtime", "options.json", "shim-binary-path"};

	task_fifos_remove(t->k, t->id);
	for (size_t i = 0; i < N_ELEMENTS(names); i++) {
		auto_free char *p = fmt("%s/%s", t->bundle, names[i]);

		if (p)
			(void)unlink(p);
	}
	(void)t->k->host->state_del(t->k->in, call, t->id, NULL);
}

void task_undo(struct task *t, crio_call *call)
{
	const struct crio_host *host = t->k->host;
	crio_call *sub = host->cancelled(call) ? NULL : host->call_sub(call, CLEANUP_NS);
	int r = shim_forget(t, sub);

	if (r == CRIO_E_UNAVAILABLE || r == CRIO_E_CANCELLED || r == CRIO_E_DEADLINE)
		shim_delete(t->k, call, t);
	else
		(void)task_call(t, sub, "Shutdown", NULL, NULL);
	if (sub)
		host->call_free(sub);
	task_drop(t);
	remove_traces(t, call);
}

/* ---- the thread */

static void *making_main(void *arg)
{
	struct making *m = arg;
	struct kata *k = m->k;
	const uint64_t one = 1;
	int r = make(m, m->err);
	bool undo;

	/* The decision, and the task's way into the table, are one step: a caller that leaves later has a container. */
	pthread_mutex_lock(&k->mu);
	undo = r < 0 || m->left;
	m->made = !undo;
	if (!undo)
		task_enter(m->task);
	m->result = r;
	pthread_mutex_unlock(&k->mu);
	if (undo) {
		task_undo(m->task, m->call);
		if (*m->task->log_path)
			(void)unlink(m->task->log_path);
	}
	pthread_mutex_lock(&k->mu);
	m->done = true;
	pthread_mutex_unlock(&k->mu);
	(void)!write(m->done_fd, &one, sizeof(one));
	return NULL;
}

/* Joins the threads that have done. */
static void makings_reap(struct kata *k)
{
	struct making *m;

	do {
		struct making **p = &k->makings;

		pthread_mutex_lock(&k->mu);
		while (*p && !(*p)->done)
			p = &(*p)->next;
		m = *p;
		if (m)
			*p = m->next;
		pthread_mutex_unlock(&k->mu);
		if (m) {
			(void)pthread_join(m->thread, NULL);
			making_unref(m);
		}
	} while (m);
}

void makings_end(struct kata *k)
{
	const uint64_t one = 1;
	struct making *m;

	(void)!write(k->closing_fd, &one, sizeof(one));
	/* nobody else is here: no operation runs when an instance closes */
	while ((m = k->makings)) {
		(void)pthread_join(m->thread, NULL);
		k->makings = m->next;
		making_unref(m);
	}
}

static struct making *making_new(struct task *t, bool with_stdin, const struct crio_mount_rows *rootfs,
				 int64_t limit)
{
	struct making *m = calloc(1, sizeof(*m));
	struct kata *k = t->k;

	if (!m)
		return NULL;
	m->k = k;
	m->refs = 1;
	m->with_stdin = with_stdin;
	m->limit = limit;
	pthread_mutex_lock(&k->mu);
	t->refs++;
	pthread_mutex_unlock(&k->mu);
	m->task = t;
	m->err = k->host->err_new();
	m->call = k->host->call_sub(NULL, limit + EXTRA_NS);
	m->done_fd = eventfd(0, EFD_CLOEXEC);
	create_request(t, with_stdin, rootfs, &m->request);
	if (m->err && m->call && m->done_fd >= 0 && !m->request.oom)
		return m;
	making_unref(m);
	return NULL;
}

/* Takes the id and starts the thread. The list has one reference, the caller the other. */
static int making_start(struct making *m, crio_err *err)
{
	struct kata *k = m->k;
	const char *id = m->task->id;
	int r = 0;

	pthread_mutex_lock(&k->mu);
	if (task_find(k, id) || find(k, id))
		r = CRIO_E_EXISTS;
	else if (pthread_create(&m->thread, NULL, making_main, m) != 0)
		r = CRIO_E_EXHAUSTED;
	if (!r) {
		m->refs++;
		m->next = k->makings;
		k->makings = m;
	}
	pthread_mutex_unlock(&k->mu);
	if (r == CRIO_E_EXISTS)
		return k->host->fail(err, r, "there is one of that id");
	return r ? k->host->fail(err, r, "no thread can be made") : 0;
}

/* The caller's time is over. false: it is too late to leave, the container is made. Else waits for the undoing as long as
 * the caller may. */
static bool leave(struct making *m, crio_call *call)
{
	const struct crio_host *host = m->k->host;
	bool made;

	pthread_mutex_lock(&m->k->mu);
	made = m->made;
	m->left = !made;
	pthread_mutex_unlock(&m->k->mu);
	if (made)
		return false;
	if (!host->cancelled(call)) /* the create's limit is over, not the call */
		(void)call_wait(host, call, m->done_fd, POLLIN, 2 * CLEANUP_NS, "undo", NULL);
	else
		(void)fd_wait(m->done_fd, POLLIN,
			      host->deadline_ns(call) <= host->now_ns() ? STAY_DEADLINE_NS : STAY_CANCELLED_NS);
	return true;
}

static int making_wait(struct making *m, crio_call *call, int64_t limit, crio_err *err)
{
	struct kata *k = m->k;
	crio_err *why = k->host->err_new();
	int r = call_wait(k->host, call, m->done_fd, POLLIN, limit, "the shim makes it", why);

	if (r < 0 && leave(m, call))
		return err_give(k->host, why, err, r);
	k->host->err_free(why);
	if (r < 0)
		return 0;
	pthread_mutex_lock(&k->mu);
	r = m->result;
	pthread_mutex_unlock(&k->mu);
	if (r < 0) {
		why = m->err;
		m->err = NULL;
		r = why && k->host->err_code(why) ? k->host->err_code(why) : r;
		return err_give(k->host, why, err, r);
	}
	return 0;
}

int making_settle(struct kata *k, crio_call *call, const char *id, crio_err *err)
{
	struct making *m;
	int r = 0;

	pthread_mutex_lock(&k->mu);
	m = find(k, id);
	if (m && m->left)
		m->refs++;
	else
		m = NULL;
	pthread_mutex_unlock(&k->mu);
	if (m) {
		r = call_wait(k->host, call, m->done_fd, POLLIN, -1, "undoing an earlier create of it", err);
		making_unref(m);
	}
	/* One whose caller left before it had done has its descriptors until somebody looks: a delete may be the last who does. */
	makings_reap(k);
	return r;
}

static int create_task(struct task *t, crio_call *call, const struct crio_runtime_create_args *args, int64_t limit,
		       crio_err *err)
{
	struct kata *k = t->k;
	struct making *m;
	int r;

	r = making_settle(k, call, t->id, err);
	if (r < 0)
		return r;
	m = making_new(t, args->stdin_open, &args->rootfs, limit);
	if (!m)
		return k->host->fail(err, CRIO_E_NOMEM, "no memory, or too many open files");
	r = making_start(m, err);
	if (r >= 0)
		r = making_wait(m, call, limit, err);
	making_unref(m);
	makings_reap(k);
	return r;
}

int kata_create(void *self, crio_call *call, const struct crio_runtime_create_args *args,
		struct crio_runtime_create_out *out, crio_err *err)
{
	struct kata *k = self;
	auto_task struct task *t = NULL;
	int64_t limit =
	    args->timeout_ns > 0 ? args->timeout_ns : k->host->opt_int(k->in, "create_timeout") * NSEC_PER_MSEC;

	if (!id_is_good(args->id) || !path_is_good(args->bundle) || (*args->log_path && !path_is_good(args->log_path)))
		return k->host->fail(err, CRIO_E_INVALID,
				     "create container '%.140s': bad id, bundle '%s' or log path '%s'", str0(args->id),
				     str0(args->bundle), str0(args->log_path));
	t = task_new(k, args->id, args->bundle, args->log_path);
	if (!t)
		return k->host->fail(err, CRIO_E_NOMEM, "create container '%s': no memory", args->id);
	t->terminal = args->terminal;
	t->log_size_max = args->log_size_max;
	if (create_task(t, call, args, limit, err) < 0)
		return k->host->wrap(err, "create container '%s' with %s", t->id, k->path);
	out->pid = t->pid;
	out->start_time = t->start == UINT64_MAX ? 0 : t->start;
	out->monitor_pid = t->shim_pid;
	out->monitor_start_time = t->shim_start;
	return 0;
}
