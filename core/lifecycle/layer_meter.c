/*
 * layer_meter.c: how much containers have written. Without the file system's accounting a storage plugin goes through all files, so
 * nobody waits for it: who asks gets the last figure, and one worker measures, one container after the other, what is asked for and
 * due again: at least ten seconds after the last time, and twenty times as long as it took, so that it is never more than a twentieth
 * of one CPU's time.
 */
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define AGAIN_NS (10 * SEC)
#define AGAIN_TIMES 20
#define MEASURE_NS (60 * SEC) /* a walk that takes longer is given up */

struct layer_meter {
	pthread_mutex_t lock; /* guards the rest; taken with no other lock */
	pthread_cond_t idle;
	struct container **v; /* to be measured, a reference each; [at, n) */
	size_t at, n, cap;
	bool running, stopping;
	crio_call *call; /* of the running worker */
};

/* The next one, whose reference is the caller's; NULL ends the run. What is left then is layer_meter_free's. */
static struct container *take(struct layer_meter *m, crio_call *call)
{
	cleanup_unlock pthread_mutex_t *l = lock(&m->lock);

	if (m->at < m->n && !m->stopping)
		return m->v[m->at++];
	m->running = false;
	m->call = NULL;
	call_unref(call);
	(void)pthread_cond_broadcast(&m->idle);
	return NULL;
}

static int measure(struct container *c, crio_call *call, struct store_usage *ret, crio_err *err)
{
	cleanup_call crio_call *sub = call_sub(call, MEASURE_NS);

	if (!sub)
		return err_nomem(err);
	if (!c->pod->store)
		return err_set(err, CRIO_E_UNAVAILABLE, "its storage plugin has gone");
	return store_container_usage(c->pod->store, sub, c->id, false, ret, err);
}

static void measure_one(struct container *c, crio_call *call)
{
	cleanup_err crio_err err = ERR_INIT;
	struct store_usage u = {0, 0};
	int64_t begin = now_mono_ns(), took;
	int r = measure(c, call, &u, &err);

	took = now_mono_ns() - begin;
	if (r < 0)
		log_debug("How much container %s has written: %s", c->id, err_text(&err));
	(void)pthread_mutex_lock(&c->stats.lock);
	if (r == 0)
		c->stats.layer = (struct layer_usage){true, u.bytes, u.inodes, now_real_ns()};
	c->stats.layer_due = begin + took + (took > AGAIN_NS / AGAIN_TIMES ? took * AGAIN_TIMES : AGAIN_NS);
	c->stats.layer_queued = false;
	(void)pthread_mutex_unlock(&c->stats.lock);
}

static void meter_job(void *arg)
{
	struct layer_meter *m = arg;
	struct container *c;
	crio_call *call;

	(void)pthread_mutex_lock(&m->lock);
	call = m->call;
	(void)pthread_mutex_unlock(&m->lock);
	while ((c = take(m, call))) {
		measure_one(c, call);
		container_unref(c);
	}
}

/* With the lock. */
static bool push(struct layer_meter *m, struct container *c)
{
	if (m->at == m->n)
		m->at = m->n = 0;
	if (m->n == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 64;
		struct container **v = reallocarray(m->v, cap, sizeof(struct container *));

		if (!v)
			return false;
		m->v = v;
		m->cap = cap;
	}
	m->v[m->n++] = container_ref(c);
	return true;
}

void layer_meter_want(struct container *c)
{
	struct layer_meter *m = c->lc->meter;
	bool was;

	(void)pthread_mutex_lock(&c->stats.lock);
	was = c->stats.layer_queued;
	c->stats.layer_queued = true;
	(void)pthread_mutex_unlock(&c->stats.lock);
	if (was)
		return;
	cleanup_unlock pthread_mutex_t *l = lock(&m->lock);
	if (m->stopping || !push(m, c) || m->running)
		return;
	m->call = call_new("Usage", CALL_NO_DEADLINE);
	m->running = m->call && workers_run(c->lc->workers, WORK_IMAGE, meter_job, m, NULL) == 0;
	if (!m->running) {
		call_unref(m->call);
		m->call = NULL; /* what is queued waits for the next who asks */
	}
}

int layer_meter_new(struct lifecycle *lc, crio_err *err)
{
	struct layer_meter *m = calloc(1, sizeof(*m));

	if (!m)
		return err_nomem(err);
	(void)pthread_mutex_init(&m->lock, NULL);
	cond_init(&m->idle);
	lc->meter = m;
	return 0;
}

void lifecycle_stop_measuring(struct lifecycle *lc)
{
	struct layer_meter *m = lc ? lc->meter : NULL;

	if (!m)
		return;
	cleanup_unlock pthread_mutex_t *l = lock(&m->lock);
	m->stopping = true;
	if (m->call)
		call_cancel(m->call);
}

void layer_meter_free(struct lifecycle *lc)
{
	struct layer_meter *m = lc->meter;

	if (!m)
		return;
	lifecycle_stop_measuring(lc);
	(void)pthread_mutex_lock(&m->lock);
	while (m->running)
		(void)pthread_cond_wait(&m->idle, &m->lock);
	(void)pthread_mutex_unlock(&m->lock);
	while (m->at < m->n)
		container_unref(m->v[m->at++]);
	free(m->v);
	(void)pthread_mutex_destroy(&m->lock);
	(void)pthread_cond_destroy(&m->idle);
	free(m);
	lc->meter = NULL;
}
