/* exec.c: ExecSync. The output is read here, with a cap on what is kept; the process belongs to the runtime plugin. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define CONFIG_MAX (4u << 20)
#define AFTER_EXIT_NS (SEC / 10) /* for output still in the pipes when the process has ended but a child keeps them open */

void exec_result_release(struct exec_result *r)
{
	buf_release(&r->out);
	buf_release(&r->err);
}

/* The container's own process object with another command line. */
static int process_json(struct container *c, const struct strv *cmd, char **ret, crio_err *err)
{
	cleanup_free char *path = path_fmt("%s/config.json", c->dir);
	if (!path)
		return err_nomem(err);
	cleanup_json struct json_object *spec = NULL;
	int r = json_read_file(-1, path, CONFIG_MAX, &spec, err);
	if (r < 0)
		return r;
	struct json_object *p = json_obj(spec, "process");
	if (!p)
		return err_set(err, CRIO_E_CORRUPT, "%s has no process", path);
	if (json_set(p, "args", json_from_strv(cmd)) < 0 || json_set_bool(p, "terminal", false) < 0)
		return err_nomem(err);
	json_object_object_del(p, "consoleSize");
	*ret = json_text(p);
	return *ret ? 0 : err_nomem(err);
}

struct stream {
	int rd, wr;
	struct buf *b;
};

static void stream_close(struct stream *s)
{
	s->rd = safe_close(s->rd);
	s->wr = safe_close(s->wr);
}

static int stream_open(struct stream *s, struct buf *b, crio_err *err)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(err, errno, "make a pipe");
	(void)fcntl(p[0], F_SETFL, O_NONBLOCK);
	s->rd = p[0];
	s->wr = p[1];
	s->b = b;
	return 0;
}

/* Takes what is there. The buffer's limit drops what is beyond it, and the pipe is drained all the same. */
static void stream_read(struct stream *s)
{
	char tmp[65536];
	ssize_t n;
	while ((n = read(s->rd, tmp, sizeof(tmp))) > 0)
		buf_add(s->b, tmp, (size_t)n);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		s->rd = safe_close(s->rd);
}

/* Waits for the process on a thread of its own, so that output and end are seen as they come. Shared by that thread and the call. */
struct waiter {
	_Atomic int refs;
	struct container *c;
	crio_call *call;      /* detached: the process must be reaped even when its client has gone */
	char *exec_id;
	int done_fd;          /* readable once the rest is set */
	_Atomic bool done;    /* likewise: orders the rest before who reads it */
	int result;
	crio_err err;
	int32_t exit_code;
	char *message;        /* why it was not started; NULL otherwise */
};

static void waiter_unref(struct waiter *w)
{
	if (atomic_fetch_sub(&w->refs, 1) > 1)
		return;
	container_unref(w->c);
	call_unref(w->call);
	free(w->exec_id);
	(void)safe_close(w->done_fd);
	err_clear(&w->err);
	free(w->message);
	free(w);
}

static void wait_job(void *arg)
{
	struct waiter *w = arg;
	struct crio_runtime_exec_ref ref = { .size = sizeof(ref), .id = w->c->id, .exec_id = w->exec_id };
	struct crio_runtime_exec_exit e = { .size = sizeof(e) };
	w->result = plugin_runtime_exec_wait(w->c->pod->runtime, w->call, &ref, &e, &w->err);
	w->exit_code = e.exit_code;
	if (w->result == 0 && e.not_started)
		w->message = strdup(e.message ? e.message : "");
	atomic_store(&w->done, true);
	(void)eventfd_write(w->done_fd, 1);
	waiter_unref(w);
}

static int waiter_start(struct container *c, crio_call *call, const char *exec_id, struct waiter **ret, crio_err *err)
{
	struct waiter *w = calloc(1, sizeof(*w));
	if (!w)
		return err_nomem(err);
	w->refs = 1;
	w->c = container_ref(c);
	w->call = call_detached(call, 0);
	w->exec_id = strdup(exec_id);
	w->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = 0;
	if (!w->call || !w->exec_id)
		r = err_nomem(err);
	else if (w->done_fd < 0)
		r = err_errno(err, errno, "make an eventfd");
	if (r == 0) {
		atomic_fetch_add(&w->refs, 1);
		r = workers_run(c->lc->workers, WORK_WAIT, wait_job, w, err);
		if (r < 0)
			waiter_unref(w);
	}
	if (r < 0) {
		waiter_unref(w);
		return r;
	}
	*ret = w;
	return 0;
}

/* Until the process has ended and its output is read; a child of it that keeps the pipes open is not waited for. */
static int pump(struct stream *s, int done_fd, crio_call *call, crio_err *err)
{
	int64_t stop_at = INT64_MAX;
	while (stop_at == INT64_MAX || s[0].rd >= 0 || s[1].rd >= 0) {
		struct pollfd p[4] = { { s[0].rd, POLLIN, 0 },
				       { s[1].rd, POLLIN, 0 },
				       { stop_at == INT64_MAX ? done_fd : -1, POLLIN, 0 },
				       { call_cancel_fd(call), POLLIN, 0 } };
		int64_t until = stop_at < call_deadline(call) ? stop_at : call_deadline(call);
		int64_t left = until == INT64_MAX ? 0 : until - now_mono_ns();
		left = left > 0 ? left : 0;
		struct timespec ts = { left / SEC, left % SEC };
		int n = ppoll(p, 4, until == INT64_MAX ? NULL : &ts, NULL);
		if (n < 0 && errno != EINTR)
			return err_errno(err, errno, "poll");
		if (n <= 0) {
			if (stop_at != INT64_MAX && now_mono_ns() >= stop_at)
				return 0;
			int r = call_check(call, "exec", err);
			if (r < 0)
				return r;
			continue;
		}
		for (int i = 0; i < 2; i++)
			if (p[i].revents)
				stream_read(&s[i]);
		if (p[2].revents)
			stop_at = now_mono_ns() + AFTER_EXIT_NS;
		if (p[3].revents)
			return err_set(err, CRIO_E_CANCELLED, "exec: the caller gave up");
	}
	return 0;
}

static void kill_exec(struct container *c, crio_call *like, const char *exec_id)
{
	cleanup_call crio_call *call = like ? call_detached(like, 10 * SEC) : call_new("EndExec", now_mono_ns() + 10 * SEC);
	if (!call)
		return;
	cleanup_err crio_err why = ERR_INIT;
	struct crio_runtime_exec_ref ref = { .size = sizeof(ref), .signal = SIGKILL, .id = c->id, .exec_id = exec_id };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	if (plugin_runtime_exec_kill(c->pod->runtime, call, &ref, &o, &why) < 0)
		log_warn("End exec in container %s: %s", c->id, err_text(&why));
}

/* One that runs, on the stack of its call. */
struct exec_run {
	struct exec_run *next;
	const char *id; /* the runtime's */
};

/* With the lock: may something be started in it? */
static int may_exec(const struct container *c, crio_err *err)
{
	if (c->state != CONTAINER_RUNNING && c->state != CONTAINER_CREATED)
		return err_set(err, CRIO_E_PRECONDITION, "container is not created or running: nothing can be started in container %s", c->id);
	if (c->killing)
		return err_set(err, CRIO_E_PRECONDITION, "container %s is being killed: nothing is started in it any more", c->id);
	return 0;
}

/* Known to container_end_execs() from here on; PRECONDITION when its container has ended meanwhile. */
static int track(struct container *c, struct exec_run *e, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	int r = may_exec(c, err);
	if (r < 0)
		return r;
	e->next = c->execs;
	c->execs = e;
	return 0;
}

static void untrack(struct container *c, struct exec_run *e)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	for (struct exec_run **p = &c->execs; *p; p = &(*p)->next) {
		if (*p != e)
			continue;
		*p = e->next;
		return;
	}
}

void container_end_execs(struct container *c, crio_call *like)
{
	CLEANUP(strv_release) struct strv ids = { 0 };
	(void)pthread_mutex_lock(&c->lock);
	for (const struct exec_run *e = c->execs; e; e = e->next)
		if (strv_add(&ids, e->id) < 0)
			break; /* its caller's time-out is left */
	(void)pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; i < ids.n; i++) {
		log_debug("End exec %s: container %s has ended", ids.v[i], c->id);
		kill_exec(c, like, ids.v[i]);
	}
}

static int run_exec(struct container *c, crio_call *call, struct stream *s, const char *json, struct exec_result *ret, crio_err *err)
{
	struct crio_runtime_exec_args a = { .size = sizeof(a),
					    .id = c->id,
					    .process_json = json,
					    .stdin_fd = -1,
					    .stdout_fd = s[0].wr,
					    .stderr_fd = s[1].wr };
	struct crio_runtime_exec_out out = { .size = sizeof(out), .tty_fd = -1 };
	int r = plugin_runtime_exec_start(c->pod->runtime, call, &a, &out, err);
	s[0].wr = safe_close(s[0].wr);
	s[1].wr = safe_close(s[1].wr);
	if (r < 0)
		return r;
	struct waiter *w = NULL;
	r = waiter_start(c, call, out.exec_id, &w, err);
	if (r < 0) {
		kill_exec(c, call, out.exec_id);
		return r;
	}
	struct exec_run run = { .id = out.exec_id };
	r = track(c, &run, err);
	if (r == 0) {
		r = pump(s, w->done_fd, call, err);
		untrack(c, &run);
	}
	if (r < 0) {
		kill_exec(c, call, out.exec_id); /* the waiter reaps it */
	} else if (!atomic_load(&w->done)) {
		r = err_set(err, CRIO_E_INTERNAL, "exec in container %s: its end was not seen", c->id);
	} else if (w->result < 0) {
		r = err_move(err, &w->err);
	} else {
		ret->exit_code = w->exit_code;
		if (w->message && !ret->err.n)
			buf_adds(&ret->err, w->message);
	}
	waiter_unref(w);
	return r;
}

int container_exec_sync(struct lifecycle *lc, crio_call *call, const char *id, const struct strv *cmd, int64_t timeout_s,
			struct exec_result *ret, crio_err *err)
{
	memset(ret, 0, sizeof(*ret));
	if (cmd->n == 0)
		return err_set(err, CRIO_E_INVALID, "exec command cannot be empty");
	cleanup_container struct container *c = NULL;
	int r = registry_container(lc, id, &c, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&c->lock);
	r = may_exec(c, err);
	(void)pthread_mutex_unlock(&c->lock);
	if (r < 0)
		return r;
	if (!c->pod->runtime)
		return err_set(err, CRIO_E_PRECONDITION, "the runtime plugin of container %s is not there: put its file back", c->id);
	buf_init(&ret->out, EXEC_OUTPUT_MAX);
	buf_init(&ret->err, EXEC_OUTPUT_MAX);
	cleanup_free char *json = NULL;
	r = process_json(c, cmd, &json, err);
	if (r < 0)
		return r;
	cleanup_call crio_call *sub = call_sub(call, timeout_s > 0 && timeout_s < INT32_MAX ? timeout_s * SEC : 0);
	if (!sub)
		return err_nomem(err);
	struct stream s[2] = { { -1, -1, NULL }, { -1, -1, NULL } };
	crio_err why = ERR_INIT;
	r = stream_open(&s[0], &ret->out, &why);
	if (r == 0)
		r = stream_open(&s[1], &ret->err, &why);
	if (r == 0)
		r = run_exec(c, sub, s, json, ret, &why);
	stream_close(&s[0]);
	stream_close(&s[1]);
	/* The command's own time-out is an answer; the client's deadline is not. */
	if (r == CRIO_E_DEADLINE && timeout_s > 0 && !call_over(call)) {
		ret->exit_code = -1;
		buf_clear(&ret->err);
		buf_adds(&ret->err, "command timed out");
		r = 0;
	}
	if (r == 0 && (ret->out.oom || ret->err.oom))
		r = err_nomem(&why);
	if (r < 0) {
		exec_result_release(ret);
		(void)err_move(err, &why);
		return err_wrap(err, "exec in container %s", c->id);
	}
	err_clear(&why);
	return 0;
}
