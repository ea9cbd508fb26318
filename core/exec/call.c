#include "core/exec/call.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>

#include "core/util/fs.h"

struct watcher {
	int id;
	void (*fn)(void *arg);
	void *arg;
	bool running;
	pthread_t runner; /* valid while running */
	struct watcher *next;
};

struct chunk {
	struct chunk *next;
	max_align_t p[];
};

struct crio_call {
	_Atomic int refs;
	char *name;
	char id[37];
	int64_t deadline_ns;
	_Atomic bool cancelled;
	crio_call *parent;     /* holds a reference; NULL: none. The parent cancels us through a watcher */
	int parent_watch;

	pthread_mutex_t lock;  /* guards the rest */
	pthread_cond_t idle;   /* a watcher has stopped running */
	int event_fd;          /* -1 until asked for */
	int next_id;
	struct watcher *watchers;
	struct chunk *mem;
	size_t mem_n;
};

static crio_call *make(const char *name, int64_t deadline_ns)
{
	crio_call *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->name = strdup(name);
	if (!c->name || !uuid_new(c->id)) {
		free(c->name);
		free(c);
		return NULL;
	}
	c->refs = 1;
	c->deadline_ns = deadline_ns;
	c->event_fd = -1;
	c->next_id = 1;
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_cond_init(&c->idle, NULL);
	return c;
}

crio_call *call_new(const char *name, int64_t deadline_ns)
{
	return make(name, deadline_ns);
}

static void cancel_child(void *arg)
{
	call_cancel(arg);
}

static int64_t after(int64_t timeout_ns)
{
	if (timeout_ns <= 0)
		return CALL_NO_DEADLINE;
	int64_t now = now_mono_ns();
	return timeout_ns > CALL_NO_DEADLINE - now ? CALL_NO_DEADLINE : now + timeout_ns;
}

crio_call *call_sub(crio_call *parent, int64_t timeout_ns)
{
	int64_t d = after(timeout_ns);
	crio_call *c;
	if (!parent)
		return call_new("background", d);
	c = make(parent->name, d < parent->deadline_ns ? d : parent->deadline_ns);
	if (!c)
		return NULL;
	memcpy(c->id, parent->id, sizeof(c->id));
	c->parent_watch = call_on_cancel(parent, cancel_child, c, NULL);
	if (c->parent_watch < 0) {
		call_unref(c);
		return NULL;
	}
	c->parent = call_ref(parent);
	return c;
}

crio_call *call_detached(crio_call *like, int64_t timeout_ns)
{
	crio_call *c = make(like->name, after(timeout_ns));
	if (c)
		memcpy(c->id, like->id, sizeof(c->id));
	return c;
}

crio_call *call_ref(crio_call *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

void call_unref(crio_call *c)
{
	if (!c)
		return;
	/* A child is unregistered from its parent by its last holder, before the count can reach zero under a running
	 * cancellation: off_cancel waits for that. */
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	if (c->parent) {
		call_off_cancel(c->parent, c->parent_watch);
		call_unref(c->parent);
	}
	while (c->watchers) {
		struct watcher *w = c->watchers;
		c->watchers = w->next;
		free(w);
	}
	while (c->mem) {
		struct chunk *m = c->mem;
		c->mem = m->next;
		free(m);
	}
	(void)safe_close(c->event_fd);
	(void)pthread_mutex_destroy(&c->lock);
	(void)pthread_cond_destroy(&c->idle);
	free(c->name);
	free(c);
}

const char *call_name(const crio_call *c)
{
	return c->name;
}

const char *call_id(const crio_call *c)
{
	return c->id;
}

int64_t call_deadline(const crio_call *c)
{
	return c->deadline_ns;
}

int64_t call_left_ns(const crio_call *c)
{
	if (c->deadline_ns == CALL_NO_DEADLINE)
		return CALL_NO_DEADLINE;
	int64_t left = c->deadline_ns - now_mono_ns();
	return left > 0 ? left : 0;
}

/* The next watcher that has not run; they run without the lock, one at a time. */
static void run_watchers(crio_call *c)
{
	(void)pthread_mutex_lock(&c->lock);
	struct watcher *w;
	while ((w = c->watchers)) {
		w->running = true;
		w->runner = pthread_self();
		(void)pthread_mutex_unlock(&c->lock);
		w->fn(w->arg);
		(void)pthread_mutex_lock(&c->lock);
		/* off_cancel leaves a running one in the list for us. */
		for (struct watcher **pp = &c->watchers; *pp; pp = &(*pp)->next) {
			if (*pp == w) {
				*pp = w->next;
				break;
			}
		}
		free(w);
		(void)pthread_cond_broadcast(&c->idle);
	}
	(void)pthread_mutex_unlock(&c->lock);
}

void call_cancel(crio_call *c)
{
	(void)pthread_mutex_lock(&c->lock);
	bool first = !atomic_exchange(&c->cancelled, true);
	if (first && c->event_fd >= 0)
		(void)eventfd_write(c->event_fd, 1);
	(void)pthread_mutex_unlock(&c->lock);
	if (first)
		run_watchers(c);
}

bool call_over(const crio_call *c)
{
	return atomic_load(&c->cancelled) || call_left_ns(c) == 0;
}

int call_cancel_fd(crio_call *c)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	if (c->event_fd < 0) {
		c->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (c->event_fd >= 0 && atomic_load(&c->cancelled))
			(void)eventfd_write(c->event_fd, 1);
	}
	return c->event_fd;
}

int call_check(const crio_call *c, const char *what, crio_err *err)
{
	if (atomic_load(&c->cancelled))
		return err_set(err, CRIO_E_CANCELLED, "%s: the caller gave up", what);
	if (call_left_ns(c) == 0)
		return err_set(err, CRIO_E_DEADLINE, "%s: the deadline has passed", what);
	return 0;
}

int call_wait_fd(crio_call *c, int fd, short events, int64_t timeout_ns, crio_err *err)
{
	int64_t until = timeout_ns < 0 ? CALL_NO_DEADLINE : timeout_ns ? after(timeout_ns) : now_mono_ns();
	if (c->deadline_ns < until)
		until = c->deadline_ns;
	struct pollfd p[2] = { { fd, events, 0 }, { call_cancel_fd(c), POLLIN, 0 } };
	for (;;) {
		struct timespec ts;
		int64_t left = until == CALL_NO_DEADLINE ? 0 : until - now_mono_ns();
		if (left < 0)
			left = 0;
		ts.tv_sec = left / 1000000000;
		ts.tv_nsec = left % 1000000000;
		int n = ppoll(p, p[1].fd >= 0 ? 2 : 1, until == CALL_NO_DEADLINE ? NULL : &ts, NULL);
		if (n < 0 && errno != EINTR)
			return err_errno(err, errno, "poll");
		if (n > 0 && p[0].revents)
			return 0;
		if (atomic_load(&c->cancelled))
			return err_set(err, CRIO_E_CANCELLED, "the caller gave up");
		if (n == 0)
			return err_set(err, CRIO_E_DEADLINE, "timed out");
	}
}

int call_sleep(crio_call *c, int64_t ns, crio_err *err)
{
	int r = call_wait_fd(c, -1, 0, ns, err);
	if (r == CRIO_E_DEADLINE && call_left_ns(c) > 0) {
		err_clear(err);
		return 0;
	}
	return r;
}

int call_on_cancel(crio_call *c, void (*fn)(void *arg), void *arg, crio_err *err)
{
	struct watcher *w = calloc(1, sizeof(*w));
	if (!w)
		return err_nomem(err);
	(void)pthread_mutex_lock(&c->lock);
	int id = c->next_id++;
	bool now = atomic_load(&c->cancelled);
	if (!now) {
		w->id = id;
		w->fn = fn;
		w->arg = arg;
		w->next = c->watchers;
		c->watchers = w;
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (now) {
		free(w);
		fn(arg);
	}
	return id;
}

void call_off_cancel(crio_call *c, int id)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	for (;;) {
		struct watcher **pp = &c->watchers;
		while (*pp && (*pp)->id != id)
			pp = &(*pp)->next;
		struct watcher *w = *pp;
		if (!w)
			return;
		if (!w->running) {
			*pp = w->next;
			free(w);
			return;
		}
		if (pthread_equal(w->runner, pthread_self()))
			return;
		(void)pthread_cond_wait(&c->idle, &c->lock);
	}
}

void *call_alloc(crio_call *c, size_t n)
{
	if (n > CALL_MEM_MAX)
		return NULL;
	struct chunk *m = calloc(1, sizeof(*m) + n);
	if (!m)
		return NULL;
	(void)pthread_mutex_lock(&c->lock);
	bool over = c->mem_n + n > CALL_MEM_MAX;
	if (!over) {
		c->mem_n += n;
		m->next = c->mem;
		c->mem = m;
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (over) {
		free(m);
		return NULL;
	}
	return m->p;
}

char *call_strdup(crio_call *c, const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = call_alloc(c, n);
	if (p)
		memcpy(p, s, n);
	return p;
}
