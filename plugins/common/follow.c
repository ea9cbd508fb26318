/* follow.c: see follow.h. */
#include "plugins/common/follow.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define SEC 1000000000ll
#define DIR_EVENTS                                                                                                     \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF |           \
	 IN_MOVE_SELF | IN_ONLYDIR)
#define PARENT_EVENTS (IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

void follow_init(struct follow *f, const struct crio_host *host, crio_instance *in,
		 bool (*matters)(void *arg, const struct inotify_event *e), void *arg)
{
	pthread_condattr_t ca;

	memset(f, 0, sizeof(*f));
	f->host = host;
	f->in = in;
	f->matters = matters;
	f->arg = arg;
	f->inotify = -1;
	(void)pthread_mutex_init(&f->mu, NULL);
	(void)pthread_condattr_init(&ca);
	(void)pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&f->cond, &ca);
	(void)pthread_condattr_destroy(&ca);
}

static void mark(struct follow *f, bool rewatch)
{
	(void)pthread_mutex_lock(&f->mu);
	f->dirty = true;
	f->rewatch |= rewatch;
	(void)pthread_cond_signal(&f->cond);
	(void)pthread_mutex_unlock(&f->mu);
}

void follow_kick(struct follow *f)
{
	mark(f, false);
}

/* Loop thread. */
static int on_event(void *arg, int fd, uint32_t events)
{
	struct follow *f = arg;
	bool dirty = false, rewatch = false;
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	(void)events;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *e = (const struct inotify_event *)(const void *)p;
			bool self = (e->mask & FOLLOW_SELF_EVENTS) != 0;

			dirty |= self || f->matters(f->arg, e);
			rewatch |= self;
			p += sizeof(*e) + e->len;
		}
	}
	if (dirty)
		mark(f, rewatch);
	return 0;
}

/* ---- watches */

static void unwatch(struct follow *f)
{
	if (f->watch_id > 0)
		f->host->unwatch(f->in, f->watch_id);
	if (f->inotify >= 0)
		(void)close(f->inotify);
	f->watch_id = 0;
	f->inotify = -1;
}

int follow_dir(struct follow *f, const char *path)
{
	char *copy, *slash;
	/* Added to what another directory may await in this one. */
	int wd = inotify_add_watch(f->inotify, path, DIR_EVENTS | IN_MASK_ADD);

	if (wd >= 0)
		return wd;
	f->missing = true;
	copy = strdup(path);
	while (wd < 0 && copy && (slash = strrchr(copy, '/'))) {
		*slash = '\0';
		wd = inotify_add_watch(f->inotify, *copy ? copy : "/", PARENT_EVENTS | IN_MASK_ADD);
	}
	free(copy);
	return -1;
}

void follow_arm(struct follow *f, const char *what, void (*dirs)(struct follow *f, void *arg))
{
	crio_err *err;

	unwatch(f);
	f->missing = false;
	f->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (f->inotify < 0) {
		f->host->log(f->in, CRIO_LOG_WARN, "Cannot follow %s (%s; see fs.inotify.max_user_instances): reading every 5 s",
			     what, strerror(errno));
		return;
	}
	dirs(f, f->arg);
	err = f->host->err_new();
	f->watch_id = f->host->watch_fd(f->in, f->inotify, EPOLLIN, on_event, f, err);
	if (f->watch_id <= 0) {
		f->host->log(f->in, CRIO_LOG_WARN, "Cannot follow %s (%s): reading every 5 s", what, f->host->err_text(err));
		unwatch(f);
	}
	f->host->err_free(err);
}

/* ---- the thread */

int follow_start(struct follow *f, void *(*thread)(void *arg), crio_err *err)
{
	sigset_t all, old;
	int e;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(&f->thread, NULL, thread, f->arg);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e)
		return f->host->fail(err, CRIO_E_IO, "start a thread: %s", strerror(e));
	f->have_thread = true;
	return 0;
}

bool follow_wait(struct follow *f, int64_t until_ns, int64_t settle_ns, bool *ret_dirty, bool *ret_rewatch)
{
	struct timespec until = {until_ns / SEC, until_ns % SEC}, settle = {settle_ns / SEC, settle_ns % SEC};
	int e = 0;
	bool go;

	(void)pthread_mutex_lock(&f->mu);
	while (!f->stop && !f->dirty && e != ETIMEDOUT)
		e = until_ns == FOLLOW_NEVER ? pthread_cond_wait(&f->cond, &f->mu)
					     : pthread_cond_timedwait(&f->cond, &f->mu, &until);
	go = !f->stop;
	*ret_dirty = f->dirty;
	(void)pthread_mutex_unlock(&f->mu);
	if (go && *ret_dirty)
		(void)nanosleep(&settle, NULL);
	(void)pthread_mutex_lock(&f->mu);
	f->dirty = false;
	*ret_rewatch = f->rewatch || (*ret_dirty && f->missing);
	f->rewatch = false;
	(void)pthread_mutex_unlock(&f->mu);
	return go;
}

void follow_release(struct follow *f)
{
	if (f->have_thread) {
		(void)pthread_mutex_lock(&f->mu);
		f->stop = true;
		(void)pthread_cond_signal(&f->cond);
		(void)pthread_mutex_unlock(&f->mu);
		(void)pthread_join(f->thread, NULL);
		f->have_thread = false;
	}
	unwatch(f);
	(void)pthread_cond_destroy(&f->cond);
	(void)pthread_mutex_destroy(&f->mu);
}
