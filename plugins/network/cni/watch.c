/*
 * Following the directories. inotify tells the loop thread, which only marks; a thread of the plugin reads, runs
 * VERSION of programs that changed, and emits readiness. It sleeps without time-out while all is well; it polls STATUS
 * only for networks of 1.1.0, until ready, and after that only with status_grace_period.
 */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#include "cni.h"

#define SETTLE (30 * CNI_MS)	   /* files are written in several steps */
#define STATUS_FAST (500 * CNI_MS) /* until ready */
#define STATUS_SLOW (5 * CNI_SEC)
#define READ_TIMEOUT (120 * CNI_SEC)
#define STATUS_TIMEOUT (20 * CNI_SEC)
#define NEVER INT64_MAX

#define DIR_EVENTS                                                                                                     \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF |           \
	 IN_MOVE_SELF | IN_ONLYDIR)
#define PARENT_EVENTS (IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define SELF_EVENTS (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)

const char *cni_missing_text(struct cni *c, crio_call *call)
{
	const char *s;

	if (*c->default_name)
		s = cni_fmt(c, call,
			    "no CNI configuration file of network \"%s\" in %s. Has your network provider started?",
			    c->default_name, c->conf_dir);
	else
		s = cni_fmt(c, call, "no CNI configuration file in %s. Has your network provider started?",
			    c->conf_dir);
	return s ? s : "no CNI configuration file";
}

/* ---- inotify ---- */

static bool matters(struct cni *c, const struct inotify_event *e)
{
	const char *dot = e->len ? strrchr(e->name, '.') : NULL;

	if (e->mask & (SELF_EVENTS | IN_Q_OVERFLOW) || e->wd != atomic_load(&c->conf_wd) || e->mask & IN_ISDIR)
		return true;
	return dot && (!strcmp(dot, ".conf") || !strcmp(dot, ".conflist") || !strcmp(dot, ".json"));
}

/* Loop thread. */
static int on_event(void *arg, int fd, uint32_t events)
{
	struct cni *c = arg;
	bool dirty = false, rewatch = false;
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	(void)events;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (char *p = buf; p < buf + n;) {
			const struct inotify_event *e = (const struct inotify_event *)(const void *)p;

			dirty |= matters(c, e);
			rewatch |= (e->mask & SELF_EVENTS) != 0;
			p += sizeof(*e) + e->len;
		}
	}
	if (dirty) {
		(void)pthread_mutex_lock(&c->mu);
		c->dirty = true;
		c->rewatch |= rewatch;
		(void)pthread_cond_signal(&c->cond);
		(void)pthread_mutex_unlock(&c->mu);
	}
	return 0;
}

static void unwatch(struct cni *c)
{
	if (c->watch_id > 0)
		c->host->unwatch(c->in, c->watch_id);
	if (c->inotify >= 0)
		(void)close(c->inotify);
	c->watch_id = 0;
	c->inotify = -1;
}

/* A directory that is not there is awaited in the nearest one above it that is. */
static int watch_dir(struct cni *c, const char *path)
{
	char *copy, *slash;
	int wd = inotify_add_watch(c->inotify, path, DIR_EVENTS);

	if (wd >= 0)
		return wd;
	c->missing = true;
	copy = strdup(path);
	while (wd < 0 && copy && (slash = strrchr(copy, '/'))) {
		*slash = '\0';
		wd = inotify_add_watch(c->inotify, *copy ? copy : "/", PARENT_EVENTS | IN_MASK_ADD);
	}
	free(copy);
	return -1;
}

static void watch(struct cni *c)
{
	crio_err *err;

	unwatch(c);
	c->missing = false;
	c->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (c->inotify < 0) {
		c->host->log(c->in, CRIO_LOG_WARN,
			     "Cannot follow %s (%s; see fs.inotify.max_user_instances): reading it every 5 s",
			     c->conf_dir, strerror(errno));
		return;
	}
	atomic_store(&c->conf_wd, watch_dir(c, c->conf_dir));
	for (size_t i = 0; i < c->n_bin_dirs; i++)
		(void)watch_dir(c, c->bin_dirs[i]);
	err = c->host->err_new();
	c->watch_id = c->host->watch_fd(c->in, c->inotify, EPOLLIN, on_event, c, err);
	if (c->watch_id <= 0) {
		c->host->log(c->in, CRIO_LOG_WARN, "Cannot follow %s (%s): reading it every 5 s", c->conf_dir,
			     c->host->err_text(err));
		unwatch(c);
	}
	c->host->err_free(err);
}

/* ---- readiness ---- */

static void publish(struct cni *c, bool ready, const char *why)
{
	struct crio_event_ready ev = {
	    .size = sizeof(ev), .ready = ready, .reason = ready ? "" : "NetworkPluginNotReady"};
	char *message = NULL;
	bool same;

	if (ready)
		message = strdup("");
	else if (asprintf(&message, "Network plugin returns error: %s", why) < 0)
		message = NULL;
	(void)pthread_mutex_lock(&c->mu);
	same = c->published && c->ready == ready && c->message && message && !strcmp(c->message, message);
	free(c->message);
	c->message = message;
	c->ready = ready;
	(void)pthread_mutex_unlock(&c->mu);
	if (same)
		return;
	c->published = true;
	ev.message = message ? message : "";
	c->host->log(c->in, CRIO_LOG_INFO, "CNI network is %s%s%s", ready ? "ready" : "not ready", ready ? "" : ": ",
		     ready ? "" : why);
	/* Only this thread replaces the message. */
	(void)c->host->emit(c->in, CRIO_EVENT_READY, &ev);
}

/* The network was ready and its programs say that it is not, or its file has gone: with status_grace_period that is told only
 * once it has lasted so long. Returns when to look again. */
static int64_t unhealthy(struct cni *c, const char *why, bool wait_for_it)
{
	int64_t now = c->host->now_ns(), end;

	if (!c->ready || c->grace_ns <= 0) {
		publish(c, false, why);
		return now + STATUS_FAST;
	}
	if (!c->first_failure_ns) {
		c->first_failure_ns = now;
		c->host->log(c->in, CRIO_LOG_WARN, "CNI plugin status check failed, will report unhealthy after grace period (%lld ms): %s",
			     (long long)(c->grace_ns / CNI_MS), why);
	}
	end = c->first_failure_ns + c->grace_ns;
	if (now < end)
		return wait_for_it || end < now + STATUS_SLOW ? end : now + STATUS_SLOW;
	c->host->log(c->in, CRIO_LOG_ERROR, "CNI plugin unhealthy beyond grace period (%lld ms): %s", (long long)(c->grace_ns / CNI_MS), why);
	publish(c, false, why);
	return now + STATUS_FAST;
}

static void healthy(struct cni *c)
{
	c->first_failure_ns = 0;
	publish(c, true, "");
	if (c->monitoring)
		return;
	c->monitoring = true;
	if (c->grace_ns > 0)
		c->host->log(c->in, CRIO_LOG_INFO, "Continuous CNI STATUS monitoring enabled: every %lld s, %lld ms of grace",
			     STATUS_SLOW / CNI_SEC, (long long)(c->grace_ns / CNI_MS));
	else
		c->host->log(c->in, CRIO_LOG_INFO, "Continuous CNI STATUS monitoring is disabled: status_grace_period is 0");
}

/* STATUS of the default network. Returns when to ask again, or NEVER. */
static int64_t status_poll(struct cni *c, crio_call *call, struct net *dflt)
{
	cleanup_list struct list l = {0};
	crio_call *sub;
	crio_err *err;
	int64_t again = NEVER;
	int r;

	if (cni_version_cmp(dflt->version, "1.1.0") < 0) {
		healthy(c);
		return NEVER;
	}
	err = c->host->err_new();
	sub = c->host->call_sub(call, STATUS_TIMEOUT);
	r = sub ? cni_list_parse(c, dflt->text, strlen(dflt->text), &l, err) : cni_nomem(c, err);
	if (r == 0)
		r = cni_chain_status(c, sub, &l, err);
	if (r == 0) {
		healthy(c);
		again = c->grace_ns > 0 ? c->host->now_ns() + STATUS_SLOW : NEVER;
	} else {
		again = unhealthy(c, c->host->err_text(err), false);
	}
	c->host->err_free(err);
	if (sub)
		c->host->call_free(sub);
	return again;
}

/* Reads when asked to, and settles readiness. Returns when to come back. */
static int64_t refresh(struct cni *c, crio_call *call, bool read)
{
	cleanup_net struct net *dflt = NULL;
	const char *skipped = "", *text;
	crio_err *err;
	int64_t again = NEVER;
	int r = 0;

	err = c->host->err_new();
	if (read)
		r = cni_conf_read(c, call, &skipped, err);
	if (r < 0)
		c->host->log(c->in, CRIO_LOG_ERROR, "CNI config loading failed: %s", c->host->err_text(err));
	c->host->err_free(err);
	dflt = cni_default(c);
	if (dflt) {
		again = status_poll(c, call, dflt);
	} else {
		text = cni_missing_text(c, call);
		if (*skipped)
			text = cni_fmt(c, call, "%s (left out: %s)", text, skipped) ?: text;
		again = unhealthy(c, text, true);
		/* Files are followed: nothing to look for until one comes, unless the grace is running. */
		if (!c->ready) {
			c->first_failure_ns = 0;
			again = NEVER;
		}
	}
	if (c->inotify < 0) {
		int64_t soon = c->host->now_ns() + STATUS_SLOW;
		again = again < soon ? again : soon;
	}
	return again;
}

/* ---- the thread ---- */

/* Waits until there is something to do; false: stop. */
static bool wait_work(struct cni *c, int64_t until, bool *ret_dirty, bool *ret_rewatch)
{
	struct timespec ts = {until / CNI_SEC, until % CNI_SEC};
	int e = 0;
	bool go;

	(void)pthread_mutex_lock(&c->mu);
	while (!c->stop && !c->dirty && e != ETIMEDOUT)
		e = until == NEVER ? pthread_cond_wait(&c->cond, &c->mu)
				   : pthread_cond_timedwait(&c->cond, &c->mu, &ts);
	go = !c->stop;
	*ret_dirty = c->dirty;
	(void)pthread_mutex_unlock(&c->mu);
	if (go && *ret_dirty) {
		static const struct timespec settle = {0, SETTLE};
		(void)nanosleep(&settle, NULL);
	}
	(void)pthread_mutex_lock(&c->mu);
	c->dirty = false;
	*ret_rewatch = c->rewatch;
	c->rewatch = false;
	(void)pthread_mutex_unlock(&c->mu);
	return go;
}

static void *watch_thread(void *arg)
{
	struct cni *c = arg;
	bool dirty, rewatch;

	while (wait_work(c, c->again, &dirty, &rewatch)) {
		crio_call *call = c->host->call_sub(NULL, READ_TIMEOUT);

		if (!call) {
			c->again = c->host->now_ns() + STATUS_SLOW;
			continue;
		}
		/* Watched first, read after: what comes between is seen twice, not never. */
		if (rewatch || (dirty && c->missing))
			watch(c);
		c->again = refresh(c, call, dirty || c->inotify < 0);
		c->host->call_free(call);
	}
	return NULL;
}

int cni_watch_start(struct cni *c, crio_call *call, crio_err *err)
{
	sigset_t all, old;
	int e;

	watch(c);
	c->again = refresh(c, call, true);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(&c->thread, NULL, watch_thread, c);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e)
		return c->host->fail(err, CRIO_E_IO, "start a thread: %s", strerror(e));
	c->have_thread = true;
	return 0;
}

void cni_watch_stop(struct cni *c)
{
	if (c->have_thread) {
		(void)pthread_mutex_lock(&c->mu);
		c->stop = true;
		(void)pthread_cond_signal(&c->cond);
		(void)pthread_mutex_unlock(&c->mu);
		(void)pthread_join(c->thread, NULL);
		c->have_thread = false;
	}
	unwatch(c);
}
