/* The hooks directories are followed (plugins/common/follow.h); a thread of the plugin reads them. */
#include "plugins/hooks/ocihooks/ocihooks.h"

#define SETTLE (20 * OH_MS)

/* Loop thread. */
bool oh_matters(void *arg, const struct inotify_event *e)
{
	const char *dot = e->len ? strrchr(e->name, '.') : NULL;

	(void)arg;
	/* A directory above a missing one: anything may have come. */
	return (e->mask & IN_ISDIR) || (dot && !strcmp(dot, ".json"));
}

static void dirs(struct follow *f, void *arg)
{
	struct oh *o = arg;

	for (size_t i = 0; i < o->n_dirs; i++)
		(void)follow_dir(f, o->dirs[i]);
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

static void *watch_thread(void *arg)
{
	struct oh *o = arg;
	struct follow *f = &o->follow;
	bool dirty, rewatch;

	while (follow_wait(f, f->inotify < 0 ? o->host->now_ns() + FOLLOW_POLL_NS : FOLLOW_NEVER, SETTLE, &dirty, &rewatch)) {
		/* Watched first, read after: what comes between is seen twice, not never. */
		if (rewatch || f->inotify < 0)
			follow_arm(f, "the hooks directories", dirs);
		refresh(o);
	}
	return NULL;
}

int oh_watch_start(struct oh *o, crio_err *err)
{
	follow_arm(&o->follow, "the hooks directories", dirs);
	return follow_start(&o->follow, watch_thread, err);
}
