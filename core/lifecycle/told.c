/* told.c: what happens to pods and containers, told to the one listener (the CRI's event streams) in the order it happened. */
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

void lifecycle_listen(struct lifecycle *lc, lifecycle_event_fn fn, void *arg)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->event_lock);
	lc->event_fn = fn;
	lc->event_arg = arg;
}

static void tell(struct lifecycle *lc, enum lifecycle_event type, struct pod *p, const char *id)
{
	static const char *const names[] = { "CREATED", "STARTED", "STOPPED", "DELETED" };
	if (!lc->event_fn)
		return;
	lc->event_fn(lc->event_arg, type, p, id, now_real_ns());
	log_debug("Container event CONTAINER_%s_EVENT generated for %s", names[type], id);
}

static bool has_exited(struct container *c)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	return c->state == CONTAINER_EXITED;
}

/* With event_lock. */
static void tell_exit(struct container *c)
{
	if (!c->told_exit)
		tell(c->lc, EVENT_STOPPED, c->pod, c->id);
	c->told_exit = true;
}

static void tell_stop(struct pod *p)
{
	if (!p->told_stop)
		tell(p->lc, EVENT_STOPPED, p, p->id);
	p->told_stop = true;
}

void tell_container(struct container *c, enum lifecycle_event type)
{
	if (type != EVENT_DELETED && !registry_shows(c->lc, c->id))
		return;
	cleanup_unlock pthread_mutex_t *l = lock(&c->lc->event_lock);
	if (type == EVENT_STOPPED || (type == EVENT_DELETED && has_exited(c)))
		tell_exit(c);
	if (type != EVENT_STOPPED)
		tell(c->lc, type, c->pod, c->id);
}

void tell_pod(struct pod *p, enum lifecycle_event type)
{
	if (!registry_shows(p->lc, p->id))
		return;
	cleanup_unlock pthread_mutex_t *l = lock(&p->lc->event_lock);
	if (type == EVENT_STOPPED || type == EVENT_DELETED)
		tell_stop(p);
	if (type != EVENT_STOPPED)
		tell(p->lc, type, p, p->id);
}

void tell_made(struct lifecycle *lc, const char *id)
{
	cleanup_pod struct pod *p = registry_whole_pod(lc, id);
	cleanup_container struct container *c = p ? NULL : registry_whole_container(lc, id);
	if (p) {
		tell_pod(p, EVENT_CREATED);
		tell_pod(p, EVENT_STARTED);
	}
	if (c) {
		tell_container(c, EVENT_CREATED);
		if (has_exited(c)) /* while it was parked */
			tell_container(c, EVENT_STOPPED);
	}
}
