/*
 * Exits. A conmon writes <exit_dir>/<id> and ends; inotify on the directory says so at once, and the end of the conmon
 * process (a pidfd) is the second witness, for a lost event. The container's own pidfd is the third, for a conmon that
 * died before it or hangs. Whichever comes first emits the one event.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "oci.h"

/* The first to report wins. Returns whether this was the first. */
static bool set_exit(struct ctr *c, int code, int64_t when_ns, bool oom)
{
	struct oci *o = c->o;
	bool first;

	pthread_mutex_lock(&o->mu);
	first = !c->exited;
	if (first) {
		c->exited = true;
		c->code = code;
		c->finished_ns = when_ns;
		c->oom = oom;
	}
	pthread_mutex_unlock(&o->mu);
	return first;
}

static void emit_exit(struct ctr *c)
{
	struct crio_event_exit e = {
	    .size = sizeof(e), .exit_code = c->code, .id = c->id, .time_ns = c->finished_ns, .oom = c->oom};

	(void)c->o->host->emit(c->o->in, CRIO_EVENT_EXIT, &e);
}

static bool was_oom(struct ctr *c, int code)
{
	const char *dirs[] = {c->persist_dir, c->bundle};

	for (size_t i = 0; i < N_ELEMENTS(dirs); i++) {
		auto_free char *p = *dirs[i] ? fmt("%s/oom", dirs[i]) : NULL;

		if (p && !access(p, F_OK))
			return true;
	}
	if (code != 137 || !c->cgroup)
		return false;
	/* conmon may see the end before the notice: the cgroup is still there and has counted */
	int64_t n = cgroups_oom_kills(&c->o->cgroups, c->cgroup);
	if (n >= 0 || !c->o->cgroups.v2)
		return n > 0;
	/* systemd takes a scope away with its last process, and then nobody can read it any more. But the pod's group counts, too: if it has
	 * while this container was there, and nobody of ours killed it, that is why it ended. */
	pthread_mutex_lock(&c->o->mu);
	bool killed = c->killed;
	pthread_mutex_unlock(&c->o->mu);
	return !killed && c->outer && cgroups_oom_kills(&c->o->cgroups, c->outer) > c->outer_kills;
}

bool watch_look(struct ctr *c, bool emit)
{
	auto_free char *path = *c->exit_dir ? fmt("%s/%s", c->exit_dir, c->id) : NULL, *text = NULL;
	struct stat st;
	int64_t code;
	bool known;

	pthread_mutex_lock(&c->o->mu);
	known = c->exited;
	pthread_mutex_unlock(&c->o->mu);
	if (known)
		return true;
	if (!path || stat(path, &st) || !(text = file_read(path, 64, NULL)))
		return false;
	/* conmon writes -1 when it does not know */
	if (!parse_i64(text, -255, 255, &code) || code < -1)
		code = -1;
	if (set_exit(c, (int)code, st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec, was_oom(c, (int)code)) &&
	    emit)
		emit_exit(c);
	return true;
}

/* No exit file will tell any more. */
static void exit_unknown(struct ctr *c)
{
	if (!watch_look(c, true) && set_exit(c, -1, real_ns(), was_oom(c, -1)))
		emit_exit(c);
}

static void on_grace(void *arg)
{
	struct ctr *c = arg;

	if (!watch_look(c, true)) {
		c->o->host->log(c->o->in, CRIO_LOG_WARN, "container %s ended but its monitor %d has not said how",
				c->id, (int)c->monitor_pid);
		exit_unknown(c);
	}
}

/* The container's process has ended. */
static int on_pid(void *arg, int fd, uint32_t events)
{
	struct ctr *c = arg;
	struct oci *o = c->o;
	bool monitor_died;
	int timer = 0;

	(void)fd;
	(void)events;
	if (watch_look(c, true))
		return 1;
	pthread_mutex_lock(&o->mu);
	monitor_died = c->monitor_died;
	if (!monitor_died && !c->deleting) {
		timer = o->host->timer(o->in, EXIT_GRACE_NS, on_grace, c, NULL);
		c->grace_timer = timer > 0 ? timer : 0;
	}
	pthread_mutex_unlock(&o->mu);
	if (monitor_died)
		exit_unknown(c);
	return 1;
}

/* The monitor has ended: after the container, or by accident. */
static int on_monitor(void *arg, int fd, uint32_t events)
{
	struct ctr *c = arg;
	struct crio_event_exit e = {.size = sizeof(e), .id = c->id, .time_ns = real_ns()};

	(void)fd;
	(void)events;
	if (watch_look(c, true))
		return 1;
	pthread_mutex_lock(&c->o->mu);
	c->monitor_died = true;
	pthread_mutex_unlock(&c->o->mu);
	if (proc_is(c->pid, c->start))
		(void)c->o->host->emit(c->o->in, CRIO_EVENT_MONITOR_DIED, &e);
	else
		exit_unknown(c);
	return 1;
}

static void look_at_all(struct oci *o)
{
	for (size_t i = 0; i < N_ELEMENTS(o->ctrs); i++) {
		struct ctr *all[64];
		size_t n = 0;

		pthread_mutex_lock(&o->mu);
		for (struct ctr *c = o->ctrs[i]; c && n < N_ELEMENTS(all); c = c->next) {
			c->refs++;
			all[n++] = c;
		}
		pthread_mutex_unlock(&o->mu);
		for (size_t k = 0; k < n; k++) {
			(void)watch_look(all[k], true);
			ctr_unref(all[k]);
		}
	}
}

static int on_inotify(void *arg, int fd, uint32_t events)
{
	char text[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)] __attribute__((aligned(8)));
	struct oci *o = arg;
	ssize_t n = read(fd, text, sizeof(text));

	(void)events;
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const void *)(text + at);

		at += (ssize_t)(sizeof(*e) + e->len);
		if (e->mask & IN_Q_OVERFLOW) {
			look_at_all(o);
		} else if (e->mask & IN_IGNORED) { /* the directory was removed: a new one needs a new watch */
			pthread_mutex_lock(&o->mu);
			for (struct exit_dir *d = o->exit_dirs; d; d = d->next) {
				if (d->wd == e->wd)
					d->wd = -1;
			}
			pthread_mutex_unlock(&o->mu);
		} else if (e->len) {
			auto_ctr struct ctr *c = ctr_get(o, e->name);

			if (c)
				(void)watch_look(c, true);
		}
	}
	return 0;
}

int watch_exit_dir(struct oci *o, const char *dir, crio_err *err)
{
	struct exit_dir *d;
	int e = 0;

	pthread_mutex_lock(&o->mu);
	for (d = o->exit_dirs; d && strcmp(d->path, dir) != 0; d = d->next)
		;
	if (!d) {
		d = calloc(1, sizeof(*d));
		if (d && !(d->path = strdup(dir))) {
			free(d);
			d = NULL;
		}
		if (d) {
			d->wd = -1;
			d->next = o->exit_dirs;
			o->exit_dirs = d;
		}
	}
	if (!d) {
		e = ENOMEM;
	} else if (d->wd < 0) {
		/* conmon writes a temporary file and renames it; others may write in place */
		d->wd = inotify_add_watch(o->inotify, dir, IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR);
		e = d->wd < 0 ? errno : 0;
	}
	pthread_mutex_unlock(&o->mu);
	return e ? o->host->fail(err, CRIO_E_IO, "watch exit directory %s: %s", dir, strerror(e)) : 0;
}

int watch_arm(struct ctr *c, crio_err *err)
{
	struct oci *o = c->o;
	int r = 0;

	pthread_mutex_lock(&o->mu);
	c->pidfd = proc_open(c->pid, c->start);
	c->monitor_fd = proc_open(c->monitor_pid, c->monitor_start);
	if (c->monitor_fd >= 0)
		r = c->monitor_watch = o->host->watch_fd(o->in, c->monitor_fd, EPOLLIN, on_monitor, c, err);
	else
		c->monitor_died = true;
	if (r >= 0 && c->pidfd >= 0)
		r = c->pid_watch = o->host->watch_fd(o->in, c->pidfd, EPOLLIN, on_pid, c, err);
	else if (r >= 0 && c->monitor_fd >= 0)
		r = c->grace_timer = o->host->timer(o->in, EXIT_GRACE_NS, on_grace, c, err);
	pthread_mutex_unlock(&o->mu);
	return r < 0 ? o->host->wrap(err, "watch container '%s'", c->id) : 0;
}

int watch_open(struct oci *o, crio_err *err)
{
	o->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (o->inotify < 0)
		return o->host->fail(err, CRIO_E_IO,
				     "watch for exits: inotify_init: %s (fs.inotify.max_user_instances?)",
				     strerror(errno));
	o->inotify_watch = o->host->watch_fd(o->in, o->inotify, EPOLLIN, on_inotify, o, err);
	return o->inotify_watch < 0 ? o->host->wrap(err, "watch for exits") : 0;
}

void watch_close(struct oci *o)
{
	struct exit_dir *d;

	if (o->inotify_watch > 0)
		o->host->unwatch(o->in, o->inotify_watch);
	o->inotify_watch = 0;
	o->inotify = close_fd(o->inotify);
	while ((d = o->exit_dirs)) {
		o->exit_dirs = d->next;
		free(d->path);
		free(d);
	}
}
