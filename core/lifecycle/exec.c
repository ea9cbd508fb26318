/* exec.c: ExecSync. The output is read here, with a cap on what is kept; the process is process.c's. */
#include <fcntl.h>
#include <poll.h>

#include "core/lifecycle/inner.h"
#include "core/util/fs.h"

#define AFTER_EXIT_NS (SEC / 10) /* for output still in the pipes when the process has ended but a child keeps them open */

void exec_result_release(struct exec_result *r)
{
	buf_release(&r->out);
	buf_release(&r->err);
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

static int run_exec(struct container *c, crio_call *call, struct stream *s, const struct strv *cmd, struct exec_result *ret,
		    crio_err *err)
{
	/* A container with a terminal gives its execs one of their own: all output is on it. */
	struct process_args a = { .cmd = cmd, .tty = c->config.tty, .in = -1, .out = s[0].wr, .err = s[1].wr };
	CLEANUP(process_unrefp) struct process *p = NULL;
	cleanup_free char *why = NULL;
	int tty = -1;
	int r = process_start_in(c, call, &a, &p, &tty, err);
	s[0].wr = safe_close(s[0].wr);
	s[1].wr = safe_close(s[1].wr);
	if (r < 0)
		return r;
	if (tty >= 0) {
		(void)fcntl(tty, F_SETFL, O_NONBLOCK);
		s[0].rd = tty;
	}
	r = pump(s, process_fd(p), call, err);
	if (r < 0) {
		process_abandon(p, call);
		return r;
	}
	r = process_end(p, call, &ret->exit_code, &why, err);
	if (r == 0 && why && !ret->err.n)
		buf_adds(&ret->err, why);
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
	buf_init(&ret->out, EXEC_OUTPUT_MAX);
	buf_init(&ret->err, EXEC_OUTPUT_MAX);
	cleanup_call crio_call *sub = call_sub(call, timeout_s > 0 && timeout_s < INT32_MAX ? timeout_s * SEC : 0);
	if (!sub)
		return err_nomem(err);
	struct stream s[2] = { { -1, -1, NULL }, { -1, -1, NULL } };
	crio_err why = ERR_INIT;
	s[0].b = &ret->out; /* also what a terminal says, see run_exec */
	r = c->config.tty ? 0 : stream_open(&s[0], &ret->out, &why);
	if (r == 0 && !c->config.tty)
		r = stream_open(&s[1], &ret->err, &why);
	if (r == 0)
		r = run_exec(c, sub, s, cmd, ret, &why);
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
