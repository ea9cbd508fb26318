/*
 * The directories are followed (plugins/common/follow.h); a thread of the plugin reads, runs VERSION of programs that
 * changed, and emits readiness. It sleeps without time-out while all is well; it polls STATUS only for networks of 1.1.0, until ready, and after that only with status_grace_period.
 */

#include "cni.h"

#define SETTLE (30 * CNI_MS)	   /* files are written in several steps */
#define STATUS_FAST (500 * CNI_MS) /* until ready */
#define STATUS_SLOW (5 * CNI_SEC)
#define READ_TIMEOUT (120 * CNI_SEC)
#define STATUS_TIMEOUT (20 * CNI_SEC)
#define NEVER FOLLOW_NEVER

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

/* ---- what is followed ---- */

/* Loop thread. */
bool cni_matters(void *arg, const struct inotify_event *e)
{
	struct cni *c = arg;
	const char *dot = e->len ? strrchr(e->name, '.') : NULL;

	if (e->wd != atomic_load(&c->conf_wd) || e->mask & IN_ISDIR)
		return true;
	return dot && (!strcmp(dot, ".conf") || !strcmp(dot, ".conflist") || !strcmp(dot, ".json"));
}

static void dirs(struct follow *f, void *arg)
{
	struct cni *c = arg;

	atomic_store(&c->conf_wd, follow_dir(f, c->conf_dir));
	for (size_t i = 0; i < c->n_bin_dirs; i++)
		(void)follow_dir(f, c->bin_dirs[i]);
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
	if (c->follow.inotify < 0) {
		int64_t soon = c->host->now_ns() + FOLLOW_POLL_NS;
		again = again < soon ? again : soon;
	}
	return again;
}

/* ---- the thread ---- */

static void *watch_thread(void *arg)
{
	struct cni *c = arg;
	bool dirty, rewatch;

	while (follow_wait(&c->follow, c->again, SETTLE, &dirty, &rewatch)) {
		crio_call *call = c->host->call_sub(NULL, READ_TIMEOUT);

		if (!call) {
			c->again = c->host->now_ns() + STATUS_SLOW;
			continue;
		}
		/* Watched first, read after: what comes between is seen twice, not never. */
		if (rewatch)
			follow_arm(&c->follow, c->conf_dir, dirs);
		c->again = refresh(c, call, dirty || c->follow.inotify < 0);
		c->host->call_free(call);
	}
	return NULL;
}

int cni_watch_start(struct cni *c, crio_call *call, crio_err *err)
{
	follow_arm(&c->follow, c->conf_dir, dirs);
	c->again = refresh(c, call, true);
	return follow_start(&c->follow, watch_thread, err);
}
