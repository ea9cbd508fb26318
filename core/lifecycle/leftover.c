/*
 * leftover.c: pods and containers whose making failed, or was cut off by the daemon's end, and whose clean-up failed too. No client
 * knows of them, so nobody would ask again: they are kept here and taken down when the same name is asked for, when their pod is
 * removed, and once a minute.
 */
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define RETRY_NS (60 * SEC)

struct leftover {
	struct leftover *next;
	struct pod *pod;             /* one of the two, a reference */
	struct container *container;
};

static void leftover_free(struct leftover *o)
{
	if (o->pod && o->pod->infra)
		registry_made(o->pod->lc, o->pod->infra);
	pod_unref(o->pod);
	container_unref(o->container);
	free(o);
}

static void retry_job(void *arg)
{
	struct lifecycle *lc = arg;
	cleanup_call crio_call *call = call_new("Leftovers", now_mono_ns() + CLEANUP_NS);
	if (call)
		(void)leftovers_remove(lc, call, NULL, NULL, NULL);
}

static void on_timer(void *arg)
{
	struct lifecycle *lc = arg;
	(void)pthread_mutex_lock(&lc->lock);
	lc->leftover_timer = 0;
	bool stopping = lc->stopping;
	(void)pthread_mutex_unlock(&lc->lock);
	if (!stopping)
		(void)workers_run(lc->workers, WORK_TEARDOWN, retry_job, lc, NULL);
}

/* With lc->lock. */
static void keep(struct lifecycle *lc, struct leftover *o)
{
	o->next = lc->leftovers;
	lc->leftovers = o;
	if (lc->leftover_timer || lc->stopping)
		return;
	int id = loop_timer(lc->loop, RETRY_NS, on_timer, lc, NULL);
	lc->leftover_timer = id > 0 ? id : 0;
}

void leftover_add(struct lifecycle *lc, struct pod *p, struct container *c)
{
	struct leftover *o = calloc(1, sizeof(*o));
	if (!o) {
		/* The next start finds it. */
		if (p && p->infra)
			registry_made(lc, p->infra);
		return;
	}
	o->pod = p ? pod_ref(p) : NULL;
	o->container = c ? container_ref(c) : NULL;
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	keep(lc, o);
}

static bool matches(const struct leftover *o, const char *name, const struct pod *pod)
{
	if (name)
		return str_eq(o->pod ? o->pod->name : o->container->name, name);
	return !pod || (o->container && o->container->pod == pod);
}

/* Takes the first that matches out of the list; NULL: there is none. */
static struct leftover *take(struct lifecycle *lc, const char *name, const struct pod *pod)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	for (struct leftover **p = &lc->leftovers; *p; p = &(*p)->next) {
		struct leftover *o = *p;
		if (!matches(o, name, pod))
			continue;
		*p = o->next;
		return o;
	}
	return NULL;
}

int leftovers_remove(struct lifecycle *lc, crio_call *call, const char *name, const struct pod *pod, crio_err *err)
{
	struct leftover *failed = NULL, *o;
	int r = 0;
	while ((o = take(lc, name, pod))) {
		const char *id = o->pod ? o->pod->id : o->container->id;
		cleanup_err crio_err why = ERR_INIT;
		int now = o->pod ? pod_release_all(o->pod, call, &why) : container_release_all(o->container, call, &why);
		if (now == 0) {
			log_info("Removed what was left of the failed making of %s", id);
			leftover_free(o);
			continue;
		}
		log_warn("Remove what is left of the failed making of %s: %s", id, err_text(&why));
		if (r == 0)
			r = err_move(err, &why);
		o->next = failed;
		failed = o;
	}
	(void)pthread_mutex_lock(&lc->lock);
	while ((o = failed)) {
		failed = o->next;
		keep(lc, o);
	}
	(void)pthread_mutex_unlock(&lc->lock);
	return r < 0 ? err_wrap(err, "remove what is left of an earlier try") : 0;
}

void leftovers_release(struct lifecycle *lc)
{
	if (lc->leftover_timer)
		loop_remove(lc->loop, lc->leftover_timer);
	for (struct leftover *o; (o = lc->leftovers);) {
		lc->leftovers = o->next;
		leftover_free(o);
	}
}
