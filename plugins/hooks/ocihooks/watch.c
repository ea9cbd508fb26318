/*
 * Following the directories. inotify tells the loop thread, which only marks; a thread of the plugin reads. It sleeps without
 * time-out. A directory that is not there is awaited in the nearest one above it that is.
 */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <time.h>

#include "plugins/hooks/ocihooks/ocihooks.h"

#define SETTLE (20 * OH_MS) /* files come in several steps */
#define POLL (5 * OH_SEC)   /* where there is no inotify */

#define DIR_EVENTS                                                                                                     \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF |           \
	 IN_MOVE_SELF | IN_ONLYDIR)
#define PARENT_EVENTS (IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define SELF_EVENTS (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT | IN_Q_OVERFLOW)

static bool matters(const struct inotify_event *e)
{
	const char *dot = e->len ? strrchr(e->name, '.') : NULL;

	/* A directory above a missing one: anything may have come. */
	return (e->mask & (SELF_EVENTS | IN_ISDIR)) || (dot && !strcmp(dot, ".json"));
}

/* Loop thread. */
static int on_event(void *arg, int fd, uint32_t events)
{
	struct oh *o = arg;
	bool dirty = false, rewatch = false;
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	(void)events;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *e = (const struct inotify_event *)(const void *)p;

			dirty |= matters(e);
			rewatch |= (e->mask & (SELF_EVENTS | IN_ISDIR)) != 0;
			p += sizeof(*e) + e->len;
		}
	}
	if (dirty) {
		(void)pthread_mutex_lock(&o->mu);
		o->dirty = true;
		o->rewatch |= rewatch;
		(void)pthread_cond_signal(&o->cond);
		(void)pthread_mutex_unlock(&o->mu);
	}
	return 0;
}

static void unwatch(struct oh *o)
{
	if (o->watch_id > 0)
		o->host->unwatch(o->in, o->watch_id);
	if (o->inotify >= 0)
		(void)close(o->inotify);
	o->watch_id = 0;
	o->inotify = -1;
}

static void watch_dir(struct oh *o, const char *path)
{
	char *copy, *slash;

	if (inotify_add_watch(o->inotify, path, DIR_EVENTS | IN_MASK_ADD) >= 0)
		return;
	o->missing = true;
	copy = strdup(path);
	while (copy && *copy && (slash = strrchr(copy, '/'))) {
		*slash = '\0';
		if (inotify_add_watch(o->inotify, *copy ? copy : "/", PARENT_EVENTS | IN_MASK_ADD) >= 0)
			break;
	}
	free(copy);
}

static void watch(struct oh *o)
{
	crio_err *err;

	unwatch(o);
	o->missing = false;
	o->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (o->inotify < 0) {
		o->host->log(o->in, CRIO_LOG_WARN,
			     "Cannot follow the hooks directories (%s; see fs.inotify.max_user_instances): reading them every 5 s",
			     strerror(errno));
		return;
	}
	for (size_t i = 0; i < o->n_dirs; i++)
		watch_dir(o, o->dirs[i]);
	err = o->host->err_new();
	o->watch_id = o->host->watch_fd(o->in, o->inotify, EPOLLIN, on_event, o, err);
	if (o->watch_id <= 0) {
		o->host->log(o->in, CRIO_LOG_WARN, "Cannot follow the hooks directories (%s): reading them every 5 s",
			     o->host->err_text(err));
		unwatch(o);
	}
	o->host->err_free(err);
}

/* Reads, and says so to the core when there are hooks now and were none, or the other way round: it asks for the stages again. */
static void refresh(struct oh *o)
{
	struct crio_event_ready ready = {.size = sizeof(ready), .ready = 1, .reason = "", .message = ""};
	struct set *s = NULL, *old = oh_current(o);
	crio_err *err = o->host->err_new();
	size_t was = old->n, is = was;

	if (oh_set_read(o, old, &s, err) < 0) {
		o->host->log(o->in, CRIO_LOG_ERROR, "The hooks directories cannot be read, what is known stays: %s",
			     o->host->err_text(err));
	} else {
		is = s->n;
		(void)pthread_mutex_lock(&o->mu);
		o->set = s;
		(void)pthread_mutex_unlock(&o->mu);
		o->host->log(o->in, CRIO_LOG_INFO, "%zu OCI hooks are in force", is);
		oh_set_unref(old);
	}
	o->host->err_free(err);
	oh_set_unref(old);
	if (!was != !is)
		(void)o->host->emit(o->in, CRIO_EVENT_READY, &ready);
}

/* Waits until there is something to do; false: stop. */
static bool wait_work(struct oh *o, bool *ret_rewatch)
{
	static const struct timespec settle = {0, SETTLE};
	int64_t until = o->host->now_ns() + POLL;
	struct timespec ts = {until / OH_SEC, until % OH_SEC};
	bool poll = o->inotify < 0, go;
	int e = 0;

	(void)pthread_mutex_lock(&o->mu);
	while (!o->stop && !o->dirty && e != ETIMEDOUT)
		e = poll ? pthread_cond_timedwait(&o->cond, &o->mu, &ts) : pthread_cond_wait(&o->cond, &o->mu);
	go = !o->stop;
	(void)pthread_mutex_unlock(&o->mu);
	if (go && !poll)
		(void)nanosleep(&settle, NULL);
	(void)pthread_mutex_lock(&o->mu);
	o->dirty = false;
	*ret_rewatch = o->rewatch || poll;
	o->rewatch = false;
	(void)pthread_mutex_unlock(&o->mu);
	return go;
}

static void *watch_thread(void *arg)
{
	struct oh *o = arg;
	bool rewatch;

	while (wait_work(o, &rewatch)) {
		/* Watched first, read after: what comes between is seen twice, not never. */
		if (rewatch)
			watch(o);
		refresh(o);
	}
	return NULL;
}

int oh_watch_start(struct oh *o, crio_err *err)
{
	sigset_t all, old;
	int e;

	watch(o);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(&o->thread, NULL, watch_thread, o);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e) {
		unwatch(o);
		return o->host->fail(err, CRIO_E_IO, "start a thread: %s", strerror(e));
	}
	o->have_thread = true;
	return 0;
}

void oh_watch_stop(struct oh *o)
{
	if (o->have_thread) {
		(void)pthread_mutex_lock(&o->mu);
		o->stop = true;
		(void)pthread_cond_signal(&o->cond);
		(void)pthread_mutex_unlock(&o->mu);
		(void)pthread_join(o->thread, NULL);
		o->have_thread = false;
	}
	unwatch(o);
}
