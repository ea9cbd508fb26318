/*
 * Exec: the runtime's own `exec`, attached to the given descriptors, without a conmon. The process specification and
 * the runtime's log go through memory files. The runtime stays as the parent of the process until it ends and passes
 * its exit code on; the pid file tells which process it is, and its absence that it never came to be.
 */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include "console.h"
#include "oci.h"

#define PROCESS_JSON_MAX (4u << 20)
#define PIDFILE_NS NSEC_PER_SEC /* how long a resize waits for the process to be there */
#define EXECS_MAX 1024		/* of an instance, unwaited */

struct exec {
	struct exec *next; /* mu */
	int refs;	   /* mu */
	bool reaped;	   /* mu: by the one who set it */
	char id[24];
	char ctr_id[132];
	pid_t pid; /* of the runtime */
	int pidfd;
	int log; /* memfd, JSON lines */
	int tty; /* controlling side, for resizing; -1 */
	bool direct; /* it is the process's own terminal, from the console socket */
	char *pidfile;
};

static void exec_free(struct exec *e)
{
	if (e->pidfile)
		(void)unlink(e->pidfile);
	close_fd(e->pidfd);
	close_fd(e->log);
	close_fd(e->tty);
	free(e->pidfile);
	free(e);
}

static struct exec *exec_get(struct oci *o, const char *exec_id)
{
	struct exec *e;

	pthread_mutex_lock(&o->mu);
	for (e = o->execs; e && strcmp(e->id, str0(exec_id)) != 0; e = e->next)
		;
	if (e)
		e->refs++;
	pthread_mutex_unlock(&o->mu);
	return e;
}

static void exec_put(struct oci *o, struct exec *e)
{
	bool last;

	pthread_mutex_lock(&o->mu);
	last = --e->refs == 0;
	pthread_mutex_unlock(&o->mu);
	if (last)
		exec_free(e);
}

/* Takes it out of the table; gives up the table's reference. */
static void exec_drop(struct oci *o, struct exec *e)
{
	bool found = false;

	pthread_mutex_lock(&o->mu);
	for (struct exec **p = &o->execs; *p; p = &(*p)->next) {
		if (*p == e) {
			*p = e->next;
			found = true;
			break;
		}
	}
	pthread_mutex_unlock(&o->mu);
	if (found)
		exec_put(o, e);
}

static struct exec *exec_new(struct oci *o, struct ctr *c, crio_err *err)
{
	struct exec *e = calloc(1, sizeof(*e));
	size_t n = 0;

	if (e) {
		e->pidfd = e->tty = -1;
		e->refs = 1;
		e->log = memfd_with("log", "", 0);
		(void)snprintf(e->ctr_id, sizeof(e->ctr_id), "%s", c->id);
		pthread_mutex_lock(&o->mu);
		(void)snprintf(e->id, sizeof(e->id), "e%llu", (unsigned long long)++o->exec_seq);
		for (struct exec *x = o->execs; x; x = x->next)
			n++;
		pthread_mutex_unlock(&o->mu);
		e->pidfile =
		    fmt("%s/exec-%d-%p-%s.pid", *c->bundle ? c->bundle : "/run", (int)getpid(), (void *)o, e->id);
	}
	if (!e || !e->pidfile || e->log < 0) {
		if (e)
			exec_free(e);
		(void)o->host->fail(err, CRIO_E_NOMEM, "exec in container '%s': no memory", c->id);
		return NULL;
	}
	(void)unlink(e->pidfile);
	if (n >= EXECS_MAX) {
		exec_free(e);
		(void)o->host->fail(err, CRIO_E_EXHAUSTED, "exec in container '%s': %d are running already", c->id,
				    EXECS_MAX);
		return NULL;
	}
	return e;
}

/*
 * A terminal pair; *slave is the side for the runtime. It is raw from the start: the process has a terminal of its own behind it, and
 * what is typed before the runtime has come to make this one raw is meant for that.
 */
static int open_tty(struct exec *e, int *slave)
{
	struct termios t;
	char name[64];
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || grantpt(master) || unlockpt(master) || ptsname_r(master, name, sizeof(name))) {
		close_fd(master);
		return -1;
	}
	*slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*slave < 0) {
		close_fd(master);
		return -1;
	}
	if (tcgetattr(*slave, &t) == 0) {
		cfmakeraw(&t);
		(void)tcsetattr(*slave, TCSANOW, &t);
	}
	e->tty = master;
	return 0;
}

static int exec_spawn(struct oci *o, crio_call *call, struct ctr *c, struct exec *e,
		      const struct crio_runtime_exec_args *args, int process, int slave, const struct console *console, crio_err *err)
{
	auto_list struct list argv = {0}, env = {0}, procs = {0};
	struct crio_spawned got = {.size = sizeof(got), .pidfd = -1};
	int fds[3] = {process, e->log, console->path}, r;
	bool own = args->tty && console->path < 0; /* a terminal of ours between the runtime and us */

	run_argv(o, &argv, c->systemd);
	list_add(&argv, "--log=/proc/self/fd/4");
	list_add(&argv, "--log-format=json");
	list_add(&argv, "exec");
	list_add(&argv, "--process");
	list_add(&argv, "/proc/self/fd/3");
	list_add(&argv, "--pid-file");
	list_add(&argv, e->pidfile);
	if (console->path >= 0)
		list_add(&argv, "--console-socket=/proc/self/fd/5");
	list_add(&argv, c->id);
	run_env(&env);
	for (size_t i = 0; i < args->cgroup_procs.n; i++)
		list_add(&procs, args->cgroup_procs.v[i]);
	if (argv.oom || env.oom || procs.oom)
		return o->host->fail(err, CRIO_E_NOMEM, "no memory");
	struct crio_spawn s = {.size = sizeof(s),
			       .flags =
				   CRIO_SPAWN_DETACHED | CRIO_SPAWN_OWNED | (own ? CRIO_SPAWN_NEW_SESSION : 0),
			       .path = o->path,
			       .argv = list_view(&argv),
			       .env = list_view(&env),
			       .stdin_fd = args->tty ? slave : args->stdin_fd, /* -1 with a console socket */
			       .stdout_fd = args->tty ? slave : args->stdout_fd,
			       .stderr_fd = args->tty ? slave : args->stderr_fd,
			       .netns_fd = -1,
			       .fds = fds,
			       .n_fds = console->path < 0 ? 2 : 3,
			       .cgroup_procs = (const char *const *)procs.v};
	r = o->host->spawn(o->in, call, &s, &got, err);
	if (r < 0)
		return r;
	e->pid = got.pid;
	e->pidfd = got.pidfd;
	return 0;
}

static pid_t exec_pid(struct exec *e);
static void signal_session(pid_t pid, int sig, bool sure);

/* One that nobody will know: whatever there is of it ends. */
static void undo_spawn(struct exec *e)
{
	pid_t pid = exec_pid(e);

	if (pid)
		signal_session(pid, SIGKILL, !fd_wait(e->pidfd, POLLIN, 0));
	(void)kill(-e->pid, SIGKILL);
	(void)waitid(P_PIDFD, (id_t)e->pidfd, &(siginfo_t){0}, WEXITED);
}

/* The process's terminal, from the runtime. One that ended without has a reason that exec_wait tells: its terminal is one at its end. */
static int take_tty(struct oci *o, crio_call *call, struct exec *e, struct console *console, crio_err *err)
{
	int slave = -1, r = console_take(o->host, call, console, e->pidfd, &e->tty, err);

	if (r < 0)
		return r;
	if (e->tty < 0 && open_tty(e, &slave) < 0)
		return o->host->fail(err, CRIO_E_IO, "terminal: %s", strerror(errno));
	close_fd(slave);
	e->direct = true;
	return 0;
}

int exec_start(void *self, crio_call *call, const struct crio_runtime_exec_args *args,
	       struct crio_runtime_exec_out *out, crio_err *err)
{
	struct oci *o = self;
	auto_ctr struct ctr *c = ctr_get(o, args->id);
	auto_close int process = -1, slave = -1, keep = -1, end = -1;
	struct console console = CONSOLE_NONE;
	struct exec *e;
	int r = 0;

	out->tty_fd = out->exit_fd = -1;
	if (!c)
		return o->host->fail(err, CRIO_E_NOT_FOUND, "exec: container '%s' is not one of runtime handler '%s'",
				     str0(args->id), o->host->instance_name(o->in));
	if (watch_look(c, true) || !proc_is(c->pid, c->start))
		return o->host->fail(err, CRIO_E_PRECONDITION, "exec in container '%s': it is not running", c->id);
	if (strlen(str0(args->process_json)) > PROCESS_JSON_MAX || !json_is_object(str0(args->process_json)))
		return o->host->fail(err, CRIO_E_INVALID,
				     "exec in container '%s': the process is not a JSON object of at most "
				     "%u bytes",
				     c->id, PROCESS_JSON_MAX);
	process = memfd_with("process.json", args->process_json, strlen(args->process_json));
	if (process < 0)
		return o->host->fail(err, CRIO_E_IO, "exec in container '%s': memfd: %s", c->id, strerror(-process));
	e = exec_new(o, c, err);
	if (!e)
		return CRIO_E_NOMEM;
	if (args->tty && o->profile->console_socket) {
		r = console_open(&console, *c->bundle ? c->bundle : "/run");
		if (r < 0)
			r = o->host->fail(err, CRIO_E_IO, "exec in container '%s': console socket: %s", c->id, strerror(-r));
	} else if (args->tty && open_tty(e, &slave) < 0) {
		r = o->host->fail(err, CRIO_E_IO, "exec in container '%s': terminal: %s", c->id, strerror(errno));
	}
	if (r < 0) {
		exec_free(e);
		return r;
	}
	r = exec_spawn(o, call, c, e, args, process, slave, &console, err);
	if (r >= 0 && console.path >= 0) {
		r = take_tty(o, call, e, &console, err);
		if (r < 0)
			undo_spawn(e);
	}
	console_close(&console);
	if (r >= 0 && args->tty && (keep = fcntl(e->tty, F_DUPFD_CLOEXEC, 3)) < 0) {
		r = o->host->fail(err, CRIO_E_IO, "terminal: %s", strerror(errno));
		undo_spawn(e);
	}
	out->exec_id = r < 0 ? NULL : o->host->strdup(call, e->id);
	end = r < 0 ? -1 : fcntl(e->pidfd, F_DUPFD_CLOEXEC, 3);
	if (r >= 0 && (!out->exec_id || end < 0)) {
		undo_spawn(e);
		r = o->host->fail(err, CRIO_E_NOMEM, "no memory");
	}
	if (r < 0) {
		exec_free(e);
		return o->host->wrap(err, "exec in container '%s'", c->id);
	}
	out->pid = 0;
	out->tty_fd = keep;
	out->exit_fd = end;
	keep = end = -1;
	pthread_mutex_lock(&o->mu);
	e->next = o->execs;
	o->execs = e;
	pthread_mutex_unlock(&o->mu);
	return 0;
}

static pid_t exec_pid(struct exec *e)
{
	auto_free char *text = file_read(e->pidfile, 32, NULL);
	int64_t pid;

	return text && parse_i64(text, 2, INT32_MAX, &pid) ? (pid_t)pid : 0;
}

/* The last message of the runtime's log. */
static char *exec_message(crio_call *call, struct oci *o, struct exec *e)
{
	auto_free char *text = fd_read(e->log, 65536, NULL), *best = NULL;
	char *save = NULL;

	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		char *m = json_find_str(line, "msg");

		if (m && *m) {
			free(best);
			best = m;
		} else {
			free(m);
		}
	}
	if (!best)
		return NULL;
	tidy(best);
	return o->host->strdup(call, best);
}

int exec_wait(void *self, crio_call *call, const struct crio_runtime_exec_ref *args, struct crio_runtime_exec_exit *out,
	      crio_err *err)
{
	struct oci *o = self;
	struct exec *e = exec_get(o, args->exec_id);
	siginfo_t si = {0};
	bool mine;
	int r;

	if (!e)
		return o->host->fail(err, CRIO_E_NOT_FOUND, "exec '%s' of container '%s' is not there",
				     str0(args->exec_id), str0(args->id));
	r = call_wait(o->host, call, e->pidfd, POLLIN, -1, "wait for exec", err);
	if (r < 0) {
		exec_put(o, e);
		return r;
	}
	pthread_mutex_lock(&o->mu);
	mine = !e->reaped;
	e->reaped = true;
	pthread_mutex_unlock(&o->mu);
	while (mine && waitid(P_PIDFD, (id_t)e->pidfd, &si, WEXITED) < 0) {
		if (errno == EINTR)
			continue;
		mine = false;
		r = o->host->fail(err, CRIO_E_IO, "wait for exec in container '%s': %s", e->ctr_id, strerror(errno));
	}
	if (mine) {
		out->exit_code = si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
		if (CRIO_HAS(out, message) && out->exit_code && !exec_pid(e)) {
			out->not_started = 1;
			out->message = exec_message(call, o, e);
		}
	} else if (!r) {
		r = o->host->fail(err, CRIO_E_NOT_FOUND, "exec '%s' was waited for by another call", e->id);
	}
	exec_drop(o, e);
	exec_put(o, e);
	return r;
}

/*
 * Signals a process and all others of its session. `sure`: the pid is still that of the process. runc makes the process
 * its leader; with crun the leader is a helper that has ended. A process that has ended itself is looked for as the
 * leader: while one of its session lives, its number cannot mean anything else.
 */
static void signal_session(pid_t pid, int sig, bool sure)
{
	pid_t sid = getsid(pid);

	if (sid < 0)
		sid = pid;
	else if (sure)
		(void)kill(pid, sig);
	else
		return; /* perhaps somebody else's by now */
	if (sid <= 1 || sid == getsid(0))
		return;
	/* twice: one that was being forked while we looked */
	for (int pass = 0; pass < (sig == SIGKILL ? 2 : 1); pass++) {
		DIR *d = opendir("/proc");
		int64_t p;

		for (struct dirent *de; d && (de = readdir(d));) {
			if (parse_i64(de->d_name, 2, INT32_MAX, &p) && p != pid && getsid((pid_t)p) == sid)
				(void)kill((pid_t)p, sig);
		}
		if (d)
			closedir(d);
	}
}

int exec_kill(void *self, crio_call *call, const struct crio_runtime_exec_ref *args, struct crio_runtime_no_out *out,
	      crio_err *err)
{
	struct oci *o = self;
	struct exec *e = exec_get(o, args->exec_id);
	int sig = args->signal ? args->signal : SIGKILL;
	pid_t pid;

	(void)out;
	if (!e)
		return 0;
	if (sig < 0 || sig > SIGRTMAX) {
		exec_put(o, e);
		return o->host->fail(err, CRIO_E_INVALID, "exec_kill: bad signal %d", sig);
	}
	/* A runtime that is killed while it makes the process leaves one that nobody knows: half of the time that there is, it has to
	 * say which it is. */
	pid = exec_pid(e);
	for (int64_t now = mono_ns(), end = now + (o->host->deadline_ns(call) - now) / 2, step = 5 * NSEC_PER_MSEC;
	     sig == SIGKILL && !pid && mono_ns() < end; pid = exec_pid(e), step += step / 4) {
		if (fd_wait(e->pidfd, POLLIN, step))
			break;
	}
	/* While the runtime waits for its process, the pid is that process's. */
	if (pid)
		signal_session(pid, sig, !fd_wait(e->pidfd, POLLIN, 0));
	if (sig == SIGKILL && !fd_wait(e->pidfd, POLLIN, pid ? 500 * NSEC_PER_MSEC : 0)) {
		/* it has not started the process yet, or hangs; unreaped, its pid and its process group are its own */
		(void)kill(-e->pid, SIGKILL);
		(void)sys_pidfd_signal(e->pidfd, SIGKILL);
		(void)fd_wait(e->pidfd, POLLIN, 500 * NSEC_PER_MSEC);
		pid = exec_pid(e);
		if (pid)
			signal_session(pid, sig, true);
	}
	exec_put(o, e);
	return 0;
}

/*
 * Sets the size of the process's own terminal, which is another one than ours: not every runtime hands a change on. The
 * descriptor is fetched, never opened by name: what it refers to is up to the container.
 */
static void resize_inner(struct exec *e, const struct winsize *ws)
{
	int64_t end = mono_ns() + PIDFILE_NS;
	pid_t pid;

	/* right after the start the runtime may not have got that far */
	while (!(pid = exec_pid(e)) && mono_ns() < end) {
		if (fd_wait(e->pidfd, POLLIN, 5 * NSEC_PER_MSEC))
			return;
	}
	auto_close int pidfd = proc_open(pid, 0);
	for (int i = 0; pidfd >= 0 && i < 3; i++) {
		auto_close int tty = (int)syscall(SYS_pidfd_getfd, pidfd, i, 0u);

		if (tty >= 0 && isatty(tty)) {
			(void)ioctl(tty, TIOCSWINSZ, ws);
			return;
		}
	}
}

int exec_resize(void *self, crio_call *call, const struct crio_runtime_exec_ref *args, struct crio_runtime_no_out *out,
		crio_err *err)
{
	struct oci *o = self;
	struct exec *e = exec_get(o, args->exec_id);
	struct winsize ws = {.ws_row = args->height, .ws_col = args->width};
	int r = 0;

	(void)call;
	(void)out;
	if (!e)
		return o->host->fail(err, CRIO_E_NOT_FOUND, "exec '%s' of container '%s' is not there",
				     str0(args->exec_id), str0(args->id));
	if (e->tty < 0)
		r = o->host->fail(err, CRIO_E_PRECONDITION, "exec '%s' of container '%s' has no terminal", e->id,
				  e->ctr_id);
	else if (ioctl(e->tty, TIOCSWINSZ, &ws))
		r = o->host->fail(err, CRIO_E_IO, "resize exec '%s' of container '%s': %s", e->id, e->ctr_id,
				  strerror(errno));
	else if (!e->direct) {
		/* our terminal is not the runtime's controlling one, so the kernel does not tell it */
		(void)sys_pidfd_signal(e->pidfd, SIGWINCH);
		resize_inner(e, &ws);
	}
	exec_put(o, e);
	return r;
}

void exec_close_all(struct oci *o)
{
	struct exec *e;

	while ((e = o->execs)) {
		(void)kill(-e->pid, SIGKILL);
		(void)waitid(P_PIDFD, (id_t)e->pidfd, &(siginfo_t){0}, WEXITED);
		o->execs = e->next;
		exec_free(e);
	}
}
