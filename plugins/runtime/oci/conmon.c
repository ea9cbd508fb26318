/*
 * Creating a container under a conmon, and removing what a conmon leaves.
 *
 * conmon gets descriptor 3, on which it reports the container's pid (or the runtime's error) as one JSON line, and 4,
 * on which it waits for a byte before it does anything, so that it can be moved into its cgroup first. It forks once:
 * the process started here writes the pid file of the other and ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "oci.h"
#include "spill.h"

#define REPORT_MAX (64u << 10) /* conmon gives 8 KiB of the runtime's words, six bytes for each at worst */

struct creation {
	struct oci *o;
	struct ctr *c;
	const struct crio_runtime_create_args *args;
	const struct crio_runtime_checkpoint_args *restore; /* NULL: to be created */
	int sync;  /* reading end */
	int start; /* writing end */
	int said;  /* memfd: what conmon said before it had somewhere to log to */
	int pidfd; /* of the first process */
	pid_t pid;
	bool spawned;
	struct spill spill;
	int64_t end_ns;
};

static char *default_cgroup(const struct crio_runtime_create_args *a)
{
	const char *p = str0(a->cgroup_parent);
	size_t n = strlen(p);

	while (n && p[n - 1] == '/')
		n--;
	return fmt("%s%.*s/crio-conmon-%s", *p == '/' || !n ? "" : "/", (int)n, p, a->id);
}

static int check_args(struct oci *o, const struct crio_runtime_create_args *a, const char *monitor_cgroup,
		      crio_err *err)
{
	const char *const paths[] = {a->bundle, a->persist_dir, a->exit_dir, a->attach_dir};

	if (!id_is_good(a->id))
		return o->host->fail(err, CRIO_E_INVALID, "create container: bad id '%.140s'", str0(a->id));
	for (size_t i = 0; i < N_ELEMENTS(paths); i++) {
		if (!path_is_good(paths[i]))
			return o->host->fail(err, CRIO_E_INVALID, "create container '%s': '%s' is not an absolute path",
					     a->id, str0(paths[i]));
	}
	if (*a->log_path && !path_is_good(a->log_path))
		return o->host->fail(err, CRIO_E_INVALID, "create container '%s': log path '%s' is not absolute", a->id,
				     a->log_path);
	if (a->cgroup_manager == CRIO_CGROUP_CGROUPFS && *monitor_cgroup && strcmp(monitor_cgroup, "pod") != 0)
		return o->host->fail(
		    err, CRIO_E_INVALID,
		    "monitor_cgroup '%s' is not valid with cgroup_manager cgroupfs: use \"pod\" or nothing",
		    monitor_cgroup);
	if (!*o->monitor)
		return o->host->fail(err, CRIO_E_UNAVAILABLE,
				     "create container '%s': conmon not found: install it or set "
				     "monitor_path",
				     a->id);
	return 0;
}

static void conmon_argv(struct creation *k, struct list *l)
{
	const struct crio_runtime_create_args *a = k->args;
	struct oci *o = k->o;
	const char *level = o->host->opt_str(o->in, "monitor_log_level");

	list_add(l, o->monitor);
	list_add(l, "-b"), list_add(l, a->bundle);
	list_add(l, "-c"), list_add(l, a->id);
	list_add(l, "--exit-dir"), list_add(l, a->exit_dir);
	list_add(l, "-l"), list_add(l, *a->log_path ? a->log_path : "off");
	if (a->log_to_journald)
		list_add(l, "--log-path"), list_add(l, "journald:");
	if (level && *level)
		list_add(l, "--log-level"), list_add(l, level);
	list_add(l, "-n"), list_add(l, a->name);
	list_add(l, "-P"), list_addf(l, "%s/conmon-pidfile", a->bundle);
	list_add(l, "-p"), list_addf(l, "%s/pidfile", a->bundle);
	list_add(l, "--persist-dir"), list_add(l, a->persist_dir);
	list_add(l, "-r"), list_add(l, o->path);
	list_add(l, "--runtime-arg"), list_addf(l, "--root=%s", o->root);
	list_add(l, "--socket-dir-path"), list_add(l, a->attach_dir);
	list_add(l, "--syslog");
	list_add(l, "-u"), list_add(l, a->id);
	if (a->cgroup_manager == CRIO_CGROUP_SYSTEMD)
		list_add(l, "-s");
	if (a->log_size_max >= 0)
		list_add(l, "--log-size-max"), list_addf(l, "%lld", (long long)a->log_size_max);
	if (a->no_sync_log || o->host->opt_int(o->in, "no_sync_log"))
		list_add(l, "--no-sync-log");
	if (a->no_pivot)
		list_add(l, "--no-pivot");
	if (a->terminal) {
		list_add(l, "-t");
	} else if (a->stdin_open) {
		if (!a->stdin_once)
			list_add(l, "--leave-stdin-open");
		list_add(l, "-i");
	}
	if (!k->restore)
		return;
	list_add(l, "--restore"), list_add(l, k->restore->image_dir);
	if (*str0(k->restore->process_label))
		list_add(l, "--runtime-opt"), list_addf(l, "--lsm-profile=selinux:%s", k->restore->process_label);
	if (*str0(k->restore->mount_label))
		list_add(l, "--runtime-opt"), list_addf(l, "--lsm-mount-context=%s", k->restore->mount_label);
}

static void conmon_env(struct creation *k, struct list *l)
{
	struct crio_strs own = k->o->host->opt_strs(k->o->in, "monitor_env");
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	for (size_t i = 0; i < own.n; i++)
		list_add(l, own.v[i]);
	for (size_t i = 0; i < k->args->monitor_env.n; i++)
		list_add(l, k->args->monitor_env.v[i]);
	list_add(l, "_OCI_SYNCPIPE=3");
	list_add(l, "_OCI_STARTPIPE=4");
	list_add(l, "CRI_O_EXTERNAL=1");
	if (xdg && *xdg)
		list_addf(l, "XDG_RUNTIME_DIR=%s", xdg);
}

/* Starts conmon and lets it go once it is where it belongs. */
static int conmon_spawn(struct creation *k, crio_call *call, const char *monitor_cgroup, crio_err *err)
{
	struct oci *o = k->o;
	auto_list struct list argv = {0}, env = {0}, procs = {0};
	auto_close int sync_w = -1, start_r = -1;
	struct crio_spawned got = {.size = sizeof(got), .pidfd = -1};
	int fds[2], sync[2], start[2], r;

	if (pipe2(sync, O_CLOEXEC) < 0)
		return o->host->fail(err, CRIO_E_IO, "pipe: %s", strerror(errno));
	k->sync = sync[0];
	sync_w = sync[1];
	/* a socket, not a pipe: writing to a conmon that has died must not raise SIGPIPE */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, start) < 0)
		return o->host->fail(err, CRIO_E_IO, "socketpair: %s", strerror(errno));
	start_r = start[0];
	k->start = start[1];
	k->said = memfd_with("conmon", "", 0);
	if (*k->c->monitor_cgroup) {
		r = cgroups_make(&o->cgroups, k->c->monitor_cgroup, &procs, o->host, err);
		if (r < 0)
			return r;
	}
	conmon_argv(k, &argv);
	conmon_env(k, &env);
	if (argv.oom || env.oom)
		return o->host->fail(err, CRIO_E_NOMEM, "no memory");
	fds[0] = sync_w;
	fds[1] = start_r;
	struct crio_spawn s = {.size = sizeof(s),
			       .flags = CRIO_SPAWN_DETACHED,
			       .path = o->monitor,
			       .argv = list_view(&argv),
			       .env = list_view(&env),
			       .cwd = k->args->bundle,
			       .stdin_fd = -1,
			       .stdout_fd = -1,
			       .stderr_fd = k->said,
			       .netns_fd = -1,
			       .fds = fds,
			       .n_fds = 2,
			       .cgroup_procs = (const char *const *)procs.v};
	r = o->host->spawn(o->in, call, &s, &got, err);
	if (r < 0)
		return o->host->wrap(err, "start conmon");
	k->spawned = true;
	k->pid = got.pid;
	k->pidfd = got.pidfd;
	if (k->c->systemd) {
		auto_free char *unit = fmt("crio-conmon-%s.scope", k->args->id);
		const char *slice = !*monitor_cgroup		     ? "system.slice"
				    : !strcmp(monitor_cgroup, "pod") ? k->args->cgroup_parent
								     : monitor_cgroup;

		r = unit
			? scope_start(o, call, unit, strrchr(slice, '/') ? strrchr(slice, '/') + 1 : slice, k->pid, err)
			: o->host->fail(err, CRIO_E_NOMEM, "no memory");
		if (r < 0)
			return r;
	}
	if (send(k->start, "", 1, MSG_NOSIGNAL) != 1)
		return o->host->fail(err, CRIO_E_INTERNAL, "conmon ended at once");
	return 0;
}

/* What conmon wrote to its standard error before it had a log: the reason when it ended early. */
static char *conmon_words(struct creation *k)
{
	char *text = k->said >= 0 ? fd_read(k->said, MESSAGE_MAX, NULL) : NULL;

	if (text)
		tidy(text);
	return text;
}

int read_pidfile(struct ctr *c, const char *name, pid_t *ret)
{
	auto_free char *path = fmt("%s/%s", c->bundle, name), *text = path ? file_read(path, 32, NULL) : NULL;
	int64_t pid;

	if (!text || !parse_i64(text, 2, INT32_MAX, &pid))
		return -1;
	*ret = (pid_t)pid;
	return 0;
}

/* Waits for something on the sync pipe, and sees to it that the runtime does not wait for somebody to read what it says. */
static int wait_report(struct creation *k, crio_call *call, crio_err *err)
{
	const struct crio_host *h = k->o->host;
	const char *what = "wait for conmon and the runtime";

	for (;;) {
		pid_t conmon = 0;
		(void)read_pidfile(k->c, "conmon-pidfile", &conmon);
		int64_t next = spill_look(&k->spill, conmon), left = k->end_ns - mono_ns();
		int r;

		if (left <= next || h->deadline_ns(call) - h->now_ns() <= next)
			return call_wait(h, call, k->sync, POLLIN, left > 0 ? left : 0, what, err);
		r = call_wait(h, call, k->sync, POLLIN, next, what, NULL);
		if (r >= 0)
			return 0;
		if (r != CRIO_E_DEADLINE)
			return call_wait(h, call, k->sync, POLLIN, 0, what, err);
	}
}

/* Reads the one line from the sync pipe. */
static int read_report(struct creation *k, crio_call *call, char *line, size_t size, crio_err *err)
{
	struct oci *o = k->o;
	size_t n = 0;

	for (;;) {
		ssize_t got;
		int r = wait_report(k, call, err);

		if (r < 0)
			return r;
		got = read(k->sync, line + n, size - 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
		line[n] = 0;
		if (strchr(line, '\n') || json_is_object(line))
			return 0;
		if (n == size - 1)
			return o->host->fail(err, CRIO_E_CORRUPT, "conmon's report is longer than %zu bytes", size);
	}
	line[n] = 0;
	if (n)
		return 0;
	auto_free char *words = conmon_words(k);
	return o->host->fail(err, CRIO_E_INTERNAL, "conmon ended without a report%s%s", words && *words ? ": " : "",
			     str0(words));
}

static int parse_report(struct creation *k, char *line, crio_err *err)
{
	struct oci *o = k->o;
	auto_free char *message = json_find_str(line, "message");
	int64_t pid;

	tidy(line);
	if (message)
		tidy(message);
	if (!json_find_int(line, "pid", &pid) || pid > INT32_MAX)
		return o->host->fail(err, CRIO_E_CORRUPT, "conmon's report is not what it should be: %.200s", line);
	if (pid <= 0) {
		auto_free char *more = spill_message(&k->spill, message);
		const char *text = more ? more : str0(message);

		return o->host->fail(err, CRIO_E_INTERNAL, "container %s failed: %.*s", k->restore ? "restore" : "create", MESSAGE_MAX,
				     *text ? text : "the runtime gave no reason");
	}
	if (k->spill.taken)
		o->host->log(o->in, CRIO_LOG_WARN, "container %s: its runtime wrote %llu bytes of errors and created it: %.200s",
			     k->c->id, (unsigned long long)k->spill.taken, k->spill.head);
	k->c->pid = (pid_t)pid;
	return 0;
}

/* After a good report: the monitor's pid, the start times, the container's cgroup. */
static int learn(struct creation *k, crio_call *call, crio_err *err)
{
	struct ctr *c = k->c;
	int64_t left = k->end_ns - mono_ns();
	int r;

	/* the first process writes the pid file and then ends */
	r = call_wait(k->o->host, call, k->pidfd, POLLIN, left > 0 ? left : 0, "wait for conmon", err);
	if (r < 0)
		return r;
	if (read_pidfile(c, "conmon-pidfile", &c->monitor_pid) < 0)
		return k->o->host->fail(err, CRIO_E_INTERNAL, "conmon wrote no pid to %s/conmon-pidfile", c->bundle);
	if (!proc_start_time(c->monitor_pid, &c->monitor_start))
		c->monitor_start = UINT64_MAX; /* gone: nothing that has this pid later is it */
	if (!proc_start_time(c->pid, &c->start)) {
		if (errno != ESRCH) /* it runs, and without this we would never know it again */
			return k->o->host->fail(err, CRIO_E_IO, "container %s: read the start time of process %d: %s", c->id, (int)c->pid,
						strerror(errno));
		c->start = UINT64_MAX;
	}
	c->cgroup = cgroups_of(&k->o->cgroups, c->pid);
	if (c->cgroup && !strstr(c->cgroup, c->id)) {
		/* shared with others: not ours to signal as a whole */
		free(c->cgroup);
		c->cgroup = NULL;
	}
	if (c->cgroup)
		ctr_know_group(c);
	return 0;
}

static void unlink_in(const char *dir, const char *name)
{
	auto_free char *p = *dir ? fmt("%s/%s", dir, name) : NULL;

	if (p)
		(void)unlink(p);
}

/* The container's own cgroup, for a runtime that was killed half-way and has no record of it. */
static void remove_container_cgroup(struct ctr *c)
{
	auto_free char *path = fmt("%s/config.json", c->bundle), *spec = path ? file_read(path, 16u << 20, NULL) : NULL;
	auto_free char *cgroup = spec ? json_find_str(spec, "linux.cgroupsPath") : NULL;

	if (cgroup && *cgroup == '/' && strstr(cgroup, c->id))
		(void)cgroups_remove(&c->o->cgroups, cgroup, CLEANUP_NS);
}

bool is_conmon_of(pid_t pid, const char *id)
{
	auto_free char *path = fmt("/proc/%d/cmdline", (int)pid), *text = NULL;
	size_t n = 0;

	if (pid <= 1 || !path || !(text = file_read(path, 65536, &n)))
		return false;
	for (size_t i = 0; i < n; i += strlen(text + i) + 1) {
		if (!strcmp(text + i, id))
			return true;
	}
	return false;
}

void conmon_end_strangers(struct ctr *c)
{
	if (read_pidfile(c, "conmon-pidfile", &c->monitor_pid) < 0 || !proc_start_time(c->monitor_pid, &c->monitor_start) ||
	    !is_conmon_of(c->monitor_pid, c->id))
		c->monitor_pid = 0;
	auto_close int fd = proc_open(c->monitor_pid, c->monitor_start);
	if (fd >= 0) {
		(void)sys_pidfd_signal(fd, SIGKILL);
		(void)fd_wait(fd, POLLIN, 2 * NSEC_PER_SEC);
	}
	if (*c->monitor_cgroup)
		(void)cgroups_remove(&c->o->cgroups, c->monitor_cgroup, 2 * NSEC_PER_SEC);
	remove_container_cgroup(c);
}

void conmon_remove(struct ctr *c)
{
	static const char *const left[] = {"ctl", "winsz", "attach", "conmon-pidfile", "pidfile"};
	auto_close int fd = proc_open(c->monitor_pid, c->monitor_start);

	/* its container is gone, so it is about to write the exit file and end: that must come before the removal */
	if (fd >= 0 && !fd_wait(fd, POLLIN, 2 * NSEC_PER_SEC)) {
		(void)sys_pidfd_signal(fd, SIGKILL);
		(void)fd_wait(fd, POLLIN, 2 * NSEC_PER_SEC);
	}
	if (*c->monitor_cgroup && !cgroups_remove(&c->o->cgroups, c->monitor_cgroup, CLEANUP_NS))
		c->o->host->log(c->o->in, CRIO_LOG_WARN, "container %s: cgroup %s of its monitor stays", c->id,
				c->monitor_cgroup);
	unlink_in(c->attach_dir, c->id);
	unlink_in(c->exit_dir, c->id);
	unlink_in(c->persist_dir, "exit");
	for (size_t i = 0; i < N_ELEMENTS(left); i++)
		unlink_in(c->bundle, left[i]);
}

/* Undoes a create that failed, whatever its caller's patience: nothing of the container may be left. */
static void undo(struct creation *k, crio_call *call)
{
	struct ctr *c = k->c;

	if (k->spawned) {
		if (!c->monitor_pid && read_pidfile(c, "conmon-pidfile", &c->monitor_pid) == 0 &&
		    !proc_start_time(c->monitor_pid, &c->monitor_start))
			c->monitor_pid = 0;
		/* killing conmon ends a runtime that hangs: the runtime's parent-death signal sees to it */
		auto_close int fd = proc_open(c->monitor_pid, c->monitor_start);
		if (fd >= 0)
			(void)sys_pidfd_signal(fd, SIGKILL);
		if (!fd_wait(k->pidfd, POLLIN, 0))
			(void)sys_pidfd_signal(k->pidfd, SIGKILL);
		if (*c->monitor_cgroup)
			(void)cgroups_remove(&k->o->cgroups, c->monitor_cgroup, CLEANUP_NS);
		if (run_knows(k->o, c->id))
			run_delete_detached(k->o, call, c->id);
		remove_container_cgroup(c);
		if (*k->args->log_path)
			(void)unlink(k->args->log_path);
	}
	conmon_remove(c);
}

static int create(struct creation *k, crio_call *call, const char *monitor_cgroup, crio_err *err)
{
	auto_free char *line = malloc(REPORT_MAX);
	struct ctr *c = k->c;
	int r;

	if (!line)
		return k->o->host->fail(err, CRIO_E_NOMEM, "no memory");
	r = ctr_record(c, call, err);
	if (r < 0)
		return r;
	/* what an earlier container of this name left would be taken for this one's end */
	unlink_in(c->exit_dir, c->id);
	unlink_in(c->persist_dir, "exit");
	unlink_in(c->persist_dir, "oom");
	unlink_in(c->bundle, "oom");
	unlink_in(c->bundle, "conmon-pidfile");
	r = watch_exit_dir(k->o, c->exit_dir, err);
	if (r >= 0)
		r = conmon_spawn(k, call, monitor_cgroup, err);
	if (r >= 0)
		r = read_report(k, call, line, REPORT_MAX, err);
	if (r >= 0)
		r = parse_report(k, line, err);
	if (r >= 0)
		r = learn(k, call, err);
	if (r >= 0)
		r = watch_arm(c, err);
	return r < 0 ? r : 0;
}

static int make(struct oci *o, crio_call *call, const struct crio_runtime_create_args *args,
		const struct crio_runtime_checkpoint_args *restore, struct crio_runtime_create_out *out, crio_err *err)
{
	const char *monitor_cgroup =
	    *str0(args->monitor_cgroup) ? args->monitor_cgroup : str0(o->host->opt_str(o->in, "monitor_cgroup"));
	auto_ctr struct ctr *c = NULL;
	struct creation k = {.o = o, .args = args, .restore = restore, .sync = -1, .start = -1, .said = -1, .pidfd = -1, .spill = SPILL_INIT};
	int64_t limit =
	    args->timeout_ns > 0 ? args->timeout_ns : o->host->opt_int(o->in, "create_timeout") * NSEC_PER_MSEC;
	int r = check_args(o, args, monitor_cgroup, err);

	if (r < 0)
		return r;
	c = ctr_new(o, args->id, args->bundle, args->persist_dir, args->exit_dir, args->attach_dir);
	if (!c)
		return o->host->fail(err, CRIO_E_NOMEM, "create container '%s': no memory", args->id);
	c->systemd = args->cgroup_manager == CRIO_CGROUP_SYSTEMD;
	if (!c->systemd) {
		free(c->monitor_cgroup);
		c->monitor_cgroup = default_cgroup(args);
		if (!c->monitor_cgroup)
			return o->host->fail(err, CRIO_E_NOMEM, "create container '%s': no memory", args->id);
	}
	if (!ctr_add(c))
		return o->host->fail(err, CRIO_E_EXISTS, "create container '%s': there is one of that id", args->id);
	k.c = c;
	k.end_ns = mono_ns() + limit;
	r = create(&k, call, monitor_cgroup, err);
	if (r < 0) {
		if (mono_ns() >= k.end_ns)
			o->host->log(o->in, CRIO_LOG_ERROR, "Container creation timeout (%llds): container %s, runtime %s",
				     (long long)(limit / NSEC_PER_SEC), args->id, o->path);
		ctr_drop(c);
		undo(&k, call);
		(void)o->host->state_del(o->in, call, c->id, NULL);
		r = o->host->wrap(err, "%s container '%s' with %s", restore ? "restore" : "create", args->id, o->path);
	} else {
		(void)watch_look(c, true);
		out->pid = c->pid;
		out->start_time = c->start == UINT64_MAX ? 0 : c->start;
		out->monitor_pid = c->monitor_pid;
		out->monitor_start_time = c->monitor_start == UINT64_MAX ? 0 : c->monitor_start;
	}
	close_fd(k.sync);
	close_fd(k.start);
	close_fd(k.said);
	close_fd(k.pidfd);
	spill_release(&k.spill);
	return r;
}

int conmon_create(void *self, crio_call *call, const struct crio_runtime_create_args *args,
		  struct crio_runtime_create_out *out, crio_err *err)
{
	return make(self, call, args, NULL, out, err);
}

int conmon_restore(struct oci *o, crio_call *call, const struct crio_runtime_checkpoint_args *args,
		   struct crio_runtime_create_out *out, crio_err *err)
{
	return make(o, call, args->create.v, args, out, err);
}
