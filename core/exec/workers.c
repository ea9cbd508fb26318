#include "core/exec/workers.h"

#include <stdbool.h>
#include <time.h>

#include "core/util/fs.h"
#include "core/util/log.h"

#define IDLE_S 60

struct job {
	void (*fn)(void *arg);
	void *arg;
	struct job *next;
};

/* Caps: threads a class may have, jobs that may wait, threads that stay while idle. High enough that a full node's
 * kubelet never meets them, low enough to bound memory (a thread's stack is 256 KiB of address space, ~12 KiB used). */
static const struct class_caps {
	const char *name;
	int threads, waiting, keep;
} caps[WORK_CLASSES] = {
	[WORK_FAST] = { "fast", 16, 4096, 1 },
	[WORK_SETUP] = { "setup", 256, 4096, 0 },
	[WORK_TEARDOWN] = { "teardown", 256, 4096, 0 },
	[WORK_EXEC] = { "exec", 512, 4096, 0 },
	[WORK_IMAGE] = { "image", 128, 4096, 0 },
	[WORK_WAIT] = { "wait", 512, 4096, 0 },
	[WORK_PLUGIN] = { "plugin", 1024, 8192, 1 },
};

struct pool {
	struct workers *w;
	enum work_class class;
	pthread_cond_t more;
	struct job *head, **tail;
	int waiting, threads, idle, abandoned;
};

struct workers {
	pthread_mutex_t lock; /* guards every pool */
	pthread_cond_t gone;  /* a thread has ended, or the last job */
	bool stop;
	int alive;
	int jobs;             /* queued and running */
	struct pool pools[WORK_CLASSES];
};

const char *work_class_name(enum work_class c)
{
	return caps[c].name;
}

int workers_new(struct workers **ret, crio_err *err)
{
	struct workers *w = calloc(1, sizeof(*w));
	if (!w)
		return err_nomem(err);
	(void)pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_t ca;
	(void)pthread_condattr_init(&ca);
	(void)pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&w->gone, &ca);
	for (int i = 0; i < WORK_CLASSES; i++) {
		struct pool *p = &w->pools[i];
		p->w = w;
		p->class = (enum work_class)i;
		p->tail = &p->head;
		(void)pthread_cond_init(&p->more, &ca);
	}
	(void)pthread_condattr_destroy(&ca);
	*ret = w;
	return 0;
}

static struct timespec in_ns(int64_t ns)
{
	int64_t t = now_mono_ns() + ns;
	struct timespec ts = { t / 1000000000, t % 1000000000 };
	return ts;
}

/* Waits for a job; NULL: this thread should end. Called with the lock. */
static struct job *next_job(struct pool *p)
{
	while (!p->head) {
		if (p->w->stop)
			return NULL;
		p->idle++;
		int r = 0;
		if (p->idle <= caps[p->class].keep) {
			(void)pthread_cond_wait(&p->more, &p->w->lock);
		} else {
			struct timespec ts = in_ns((int64_t)IDLE_S * 1000000000);
			r = pthread_cond_timedwait(&p->more, &p->w->lock, &ts);
		}
		p->idle--;
		if (r == ETIMEDOUT && !p->head && p->idle >= caps[p->class].keep)
			return NULL;
	}
	struct job *j = p->head;
	p->head = j->next;
	if (!p->head)
		p->tail = &p->head;
	p->waiting--;
	return j;
}

static void *worker_main(void *arg)
{
	struct pool *p = arg;
	struct workers *w = p->w;
	(void)pthread_mutex_lock(&w->lock);
	struct job *j;
	while ((j = next_job(p))) {
		(void)pthread_mutex_unlock(&w->lock);
		j->fn(j->arg);
		free(j);
		(void)pthread_mutex_lock(&w->lock);
		if (--w->jobs == 0)
			(void)pthread_cond_broadcast(&w->gone);
	}
	p->threads--;
	w->alive--;
	(void)pthread_cond_broadcast(&w->gone);
	(void)pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Called with the lock. */
static int start_thread(struct pool *p, crio_err *err)
{
	pthread_attr_t a;
	(void)pthread_attr_init(&a);
	(void)pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&a, 512 * 1024);
	pthread_t t;
	int r = pthread_create(&t, &a, worker_main, p);
	(void)pthread_attr_destroy(&a);
	if (r)
		return err_errno(err, r, "start a %s worker", caps[p->class].name);
	char name[16];
	(void)snprintf(name, sizeof(name), "crio-%s", caps[p->class].name);
	(void)pthread_setname_np(t, name);
	p->threads++;
	p->w->alive++;
	return 0;
}

int workers_run(struct workers *w, enum work_class c, void (*fn)(void *arg), void *arg, crio_err *err)
{
	struct job *j = calloc(1, sizeof(*j));
	if (!j)
		return err_nomem(err);
	j->fn = fn;
	j->arg = arg;
	struct pool *p = &w->pools[c];
	cleanup_unlock pthread_mutex_t *g = lock(&w->lock);
	int r = 0;
	if (w->stop)
		r = err_set(err, CRIO_E_UNAVAILABLE, "the daemon is stopping");
	else if (p->waiting >= caps[c].waiting)
		r = err_set(err, CRIO_E_EXHAUSTED, "%d %s jobs are waiting, the limit", p->waiting, caps[c].name);
	else if (p->idle <= p->waiting && p->threads - p->abandoned < caps[c].threads)
		r = start_thread(p, err);
	/* Without a new thread the job still runs when an old one is free. */
	if (r < 0 && (w->stop || p->waiting >= caps[c].waiting || p->threads - p->abandoned <= 0)) {
		free(j);
		return r;
	}
	if (r < 0)
		err_clear(err);
	*p->tail = j;
	p->tail = &j->next;
	p->waiting++;
	w->jobs++;
	(void)pthread_cond_signal(&p->more);
	return 0;
}

void workers_abandon(struct workers *w, enum work_class c, int n)
{
	cleanup_unlock pthread_mutex_t *g = lock(&w->lock);
	w->pools[c].abandoned += n;
}

int workers_quiet(struct workers *w, int64_t timeout_ns)
{
	cleanup_unlock pthread_mutex_t *g = lock(&w->lock);
	struct timespec ts = in_ns(timeout_ns);
	while (w->jobs > 0)
		if (pthread_cond_timedwait(&w->gone, &w->lock, &ts) == ETIMEDOUT)
			break;
	return w->jobs;
}

int workers_free(struct workers *w, int64_t timeout_ns)
{
	if (!w)
		return 0;
	(void)pthread_mutex_lock(&w->lock);
	w->stop = true;
	for (int i = 0; i < WORK_CLASSES; i++)
		(void)pthread_cond_broadcast(&w->pools[i].more);
	struct timespec ts = in_ns(timeout_ns);
	while (w->alive > 0)
		if (pthread_cond_timedwait(&w->gone, &w->lock, &ts) == ETIMEDOUT)
			break;
	int left = w->alive;
	(void)pthread_mutex_unlock(&w->lock);
	if (left)
		return left; /* stuck threads still use w: it stays */
	for (int i = 0; i < WORK_CLASSES; i++)
		(void)pthread_cond_destroy(&w->pools[i].more);
	(void)pthread_cond_destroy(&w->gone);
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
	return 0;
}
