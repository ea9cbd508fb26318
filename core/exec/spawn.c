#include "core/exec/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "core/exec/spawn_child.h"
#include "core/util/fs.h"

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer's clone() takes the child for a fork's, and as memory is shared, ignores the locks of the thread that called from
 * then on: every race after it would be a false one, or missed. This is the same function under a name that it leaves alone. */
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

#define CHILD_STACK (64 * 1024)
#define FDS_MAX 64
#define CGROUPS_MAX 32

static _Atomic uint64_t started;

uint64_t spawn_count(void)
{
	return started;
}

/* Descriptors moved up beyond the target range, so that placing one never overwrites another. All close-on-exec. */
static int lift_fds(const struct spawn *s, int devnull, int *src, size_t n, crio_err *err)
{
	for (size_t i = 0; i < n; i++) {
		int fd = i == 0 ? s->stdin_fd : i == 1 ? s->stdout_fd : i == 2 ? s->stderr_fd : s->fds[i - 3];
		src[i] = fcntl(fd < 0 ? devnull : fd, F_DUPFD_CLOEXEC, (int)(3 + FDS_MAX));
		if (src[i] < 0)
			return err_errno(err, errno, "run %s: duplicate descriptor %d", s->path, fd);
	}
	return 0;
}

static int open_cgroups(const struct spawn *s, int *fds, size_t *n, crio_err *err)
{
	for (const char *const *p = s->cgroup_procs; p && *p; p++) {
		if (*n == CGROUPS_MAX)
			return err_set(err, CRIO_E_INVALID, "run %s: more than %d cgroups", s->path, CGROUPS_MAX);
		fds[*n] = open(*p, O_WRONLY | O_CLOEXEC);
		if (fds[*n] < 0)
			return err_errno(err, errno, "run %s: open %s", s->path, *p);
		(*n)++;
	}
	return 0;
}

int spawn_child_clone(int (*fn)(void *), void *arg, int flags, int *ret_slot, crio_err *err)
{
	/* The mapping has a guard page below: the stack grows down towards it. */
	char *stack = mmap(NULL, CHILD_STACK + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return err_nomem(err);
	if (mprotect(stack + 4096, CHILD_STACK, PROT_READ | PROT_WRITE) < 0) {
		(void)munmap(stack, CHILD_STACK + 4096);
		return err_nomem(err);
	}
	/* Block signals: a handler of ours must not run in the child while memory is shared. */
	sigset_t all, old;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	int pid = clone(fn, stack + 4096 + CHILD_STACK, flags, arg, ret_slot);
	int saved = errno;
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
#ifdef __SANITIZE_ADDRESS__
	/* The child's frames never returned: their red zones would wait there for the next user of these addresses. */
	ASAN_UNPOISON_MEMORY_REGION(stack + 4096, CHILD_STACK);
#endif
	(void)munmap(stack, CHILD_STACK + 4096);
	return pid < 0 ? err_errno(err, saved, "clone") : pid;
}

void spawn_child_reap(int pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int clone_child(struct child *c, struct proc *ret, crio_err *err)
{
	int pidfd = -1;
	int pid = spawn_child_clone(spawn_child_main, c, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &pidfd, err);
	if (pid < 0)
		return err_wrap(err, "run %s", c->s->path);
	atomic_fetch_add(&started, 1);
	if (c->failed) {
		siginfo_t si;
		while (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED) < 0 && errno == EINTR)
			;
		(void)close(pidfd);
		return err_errno(err, c->failed_errno, "run %s: %s", c->s->path, c->failed);
	}
	ret->pid = pid;
	ret->pidfd = pidfd;
	return 0;
}

int spawn_start(const struct spawn *s, struct proc *ret, crio_err *err)
{
	if (s->n_fds > FDS_MAX - 3)
		return err_set(err, CRIO_E_INVALID, "run %s: more than %d descriptors", s->path, FDS_MAX - 3);
	int src[FDS_MAX], cg[CGROUPS_MAX];
	size_t n = 3 + s->n_fds, n_cg = 0;
	for (size_t i = 0; i < FDS_MAX; i++)
		src[i] = -1;
	static const char *const no_env[] = { NULL };
	struct spawn copy = *s;
	if (!copy.env)
		copy.env = no_env;
	cleanup_close int devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (devnull < 0)
		return err_errno(err, errno, "open /dev/null");
	int r = lift_fds(s, devnull, src, n, err);
	if (r == 0)
		r = open_cgroups(s, cg, &n_cg, err);
	if (r == 0) {
		struct child c = { .s = &copy, .devnull = devnull, .cgroup_fds = cg, .n_cgroup_fds = n_cg, .src = src, .n = n };
		r = clone_child(&c, ret, err);
	}
	for (size_t i = 0; i < n; i++)
		(void)safe_close(src[i]);
	for (size_t i = 0; i < n_cg; i++)
		(void)safe_close(cg[i]);
	return r;
}

static int reap(struct proc *p, int *exit_code, crio_err *err)
{
	siginfo_t si;
	memset(&si, 0, sizeof(si));
	while (waitid(P_PIDFD, (id_t)p->pidfd, &si, WEXITED) < 0) {
		if (errno != EINTR)
			return err_errno(err, errno, "wait for process %d", p->pid);
	}
	*exit_code = si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
	return 0;
}

int proc_wait(struct proc *p, crio_call *call, int *exit_code, crio_err *err)
{
	int r = call_wait_fd(call, p->pidfd, POLLIN, -1, err);
	if (r < 0)
		return r;
	return reap(p, exit_code, err);
}

void proc_kill(struct proc *p)
{
	if (p->pidfd < 0)
		return;
	/* Not yet reaped, so the pid and its group are still ours. */
	(void)kill(-p->pid, SIGKILL);
	(void)syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
	int code;
	(void)reap(p, &code, NULL);
	proc_release(p);
}

void proc_release(struct proc *p)
{
	p->pidfd = safe_close(p->pidfd);
}

void spawn_result_release(struct spawn_result *r)
{
	buf_release(&r->out);
	buf_release(&r->err);
}

/* One captured stream. */
struct sink {
	int fd; /* -1: at its end */
	struct buf *b;
	bool *truncated;
};

static int drain(struct sink *k, crio_err *err)
{
	char tmp[16384];
	ssize_t n = read(k->fd, tmp, sizeof(tmp));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0)
		return err_errno(err, errno, "read its output");
	if (n == 0) {
		k->fd = safe_close(k->fd);
		return 0;
	}
	buf_add(k->b, tmp, (size_t)n);
	if (k->b->over)
		*k->truncated = true;
	return 0;
}

/* What spawn_capture is in the middle of. */
struct capture {
	struct proc proc;
	struct sink sink[2];
	int in_fd;
	const char *in;
	size_t in_n;
	bool exited;
};

/* A program that got a part of its input only, and then its end, may take that for all: its answer is none. */
static int feed(struct capture *c, crio_err *err)
{
	ssize_t n = write(c->in_fd, c->in, c->in_n);
	if (n > 0) {
		c->in += n;
		c->in_n -= (size_t)n;
	} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		return 0;
	} else if (n < 0 && errno != EPIPE) { /* EPIPE: it does not want the rest */
		return err_errno(err, errno, "write its standard input");
	}
	if (n <= 0 || c->in_n == 0)
		c->in_fd = safe_close(c->in_fd);
	return 0;
}

/* Until the program has ended and both pipes are at their end, or `grace` after its end. */
static int pump(struct capture *c, crio_call *call, crio_err *err)
{
	int64_t grace_end = 0;
	for (;;) {
		struct pollfd p[5] = { { c->sink[0].fd, POLLIN, 0 },
				       { c->sink[1].fd, POLLIN, 0 },
				       { c->in_fd, POLLOUT, 0 },
				       { c->exited ? -1 : c->proc.pidfd, POLLIN, 0 },
				       { call_cancel_fd(call), POLLIN, 0 } };
		if (c->exited && c->sink[0].fd < 0 && c->sink[1].fd < 0)
			return 0;
		int64_t until = c->exited && grace_end < call_deadline(call) ? grace_end : call_deadline(call);
		int64_t left = until == CALL_NO_DEADLINE ? 0 : until - now_mono_ns();
		if (left < 0)
			left = 0;
		struct timespec ts = { left / 1000000000, left % 1000000000 };
		int n = ppoll(p, 5, until == CALL_NO_DEADLINE ? NULL : &ts, NULL);
		if (n < 0 && errno != EINTR)
			return err_errno(err, errno, "poll");
		if (n <= 0) {
			if (c->exited && n == 0 && now_mono_ns() >= grace_end)
				return 0;
			if (n == 0 && call_left_ns(call) == 0)
				return err_set(err, CRIO_E_DEADLINE, "timed out");
			continue;
		}
		if (p[4].revents)
			return err_set(err, CRIO_E_CANCELLED, "the caller gave up");
		for (int i = 0; i < 2; i++)
			if (p[i].revents && (n = drain(&c->sink[i], err)) < 0)
				return n;
		if (p[2].revents && (n = feed(c, err)) < 0)
			return n;
		if (p[3].revents) {
			c->exited = true;
			grace_end = now_mono_ns() + 1000000000;
		}
	}
}

static int make_pipe(int fds[2], int nonblock_end, crio_err *err)
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(err, errno, "make a pipe");
	(void)fcntl(fds[nonblock_end], F_SETFL, O_NONBLOCK);
	return 0;
}

int spawn_capture(const struct spawn *s, crio_call *call, const void *input, size_t input_n, size_t out_limit,
		  size_t err_limit, struct spawn_result *ret, crio_err *err)
{
	memset(ret, 0, sizeof(*ret));
	buf_init(&ret->out, out_limit);
	buf_init(&ret->err, err_limit);
	int out[2] = { -1, -1 }, er[2] = { -1, -1 }, in[2] = { -1, -1 };
	struct spawn copy = *s;
	int r = 0;
	if (s->stdout_fd < 0 && (r = make_pipe(out, 0, err)) == 0)
		copy.stdout_fd = out[1];
	if (r == 0 && s->stderr_fd < 0 && (r = make_pipe(er, 0, err)) == 0)
		copy.stderr_fd = er[1];
	if (r == 0 && input_n && (r = make_pipe(in, 1, err)) == 0)
		copy.stdin_fd = in[0];
	struct capture c = { .proc = { 0, -1 },
			     .sink = { { out[0], &ret->out, &ret->out_truncated }, { er[0], &ret->err, &ret->err_truncated } },
			     .in_fd = in[1],
			     .in = input,
			     .in_n = input_n };
	if (r == 0)
		r = spawn_start(&copy, &c.proc, err);
	(void)safe_close(out[1]);
	(void)safe_close(er[1]);
	(void)safe_close(in[0]);
	if (r == 0) {
		r = pump(&c, call, err);
		if (r == 0)
			r = reap(&c.proc, &ret->exit_code, err);
		if (r < 0) {
			(void)err_wrap(err, "run %s", s->path);
			proc_kill(&c.proc);
		}
		proc_release(&c.proc);
	}
	(void)safe_close(c.sink[0].fd);
	(void)safe_close(c.sink[1].fd);
	(void)safe_close(c.in_fd);
	if (r == 0 && (ret->out.oom || ret->err.oom))
		r = err_nomem(err);
	if (r < 0)
		spawn_result_release(ret);
	return r;
}

int spawn_find(const char *name, const struct strv *dirs, char **ret, crio_err *err)
{
	if (*name == '/') {
		if (access(name, X_OK) < 0)
			return err_errno(err, errno, "program %s", name);
		char *s = strdup(name);
		if (!s)
			return err_nomem(err);
		*ret = s;
		return 0;
	}
	if (!path_is_name(name))
		return err_set(err, CRIO_E_INVALID, "'%s' is not the name of a program", name);
	cleanup_strv struct strv path = STRV_INIT;
	if (!dirs) {
		const char *env = getenv("PATH");
		if (str_split(str_set(env) ? env : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ':', &path) < 0)
			return err_nomem(err);
		dirs = &path;
	}
	for (size_t i = 0; i < dirs->n; i++) {
		if (dirs->v[i][0] != '/')
			continue;
		cleanup_free char *p = path_fmt("%s/%s", dirs->v[i], name);
		if (!p)
			return err_nomem(err);
		struct stat st;
		if (stat(p, &st) == 0 && S_ISREG(st.st_mode) && access(p, X_OK) == 0) {
			*ret = move_ptr(p);
			return 0;
		}
	}
	cleanup_buf struct buf where = BUF_INIT;
	for (size_t i = 0; i < dirs->n; i++)
		buf_addf(&where, "%s%s", i ? ":" : "", dirs->v[i]);
	return err_set(err, CRIO_E_NOT_FOUND, "program '%s' was not found in %s", name, where.p ? where.p : "(no directory)");
}
