/* pump.c: the thread of the streams. */
#include "core/stream/pump.h"

#include <stdatomic.h>
#include <sys/eventfd.h>

#include "core/util/fs.h"
#include "core/util/log.h"

#define EVENTS 64
#define STACK_BYTES (256u << 10)

struct pump {
	int epoll_fd, wake_fd;
	pthread_t thread;
	bool running;
	_Atomic bool stop;
	const char *name;
	pthread_mutex_t lock; /* guards tasks */
	struct pump_task *tasks, **tasks_tail;
	/* of the thread */
	struct pump_timer timers; /* ring, soonest first */
	struct epoll_event ev[EVENTS];
	int ev_n, ev_i; /* of this round: those after ev_i are still to be told */
	int64_t now_ns;
	uint8_t in[PUMP_CHUNK];
	uint8_t out[PUMP_HEADROOM + PUMP_CHUNK];
};

int pump_new(struct pump **ret, crio_err *err)
{
	struct pump *p = calloc(1, sizeof(*p));
	if (!p)
		return err_nomem(err);
	(void)pthread_mutex_init(&p->lock, NULL);
	p->tasks_tail = &p->tasks;
	p->timers.prev = p->timers.next = &p->timers;
	p->now_ns = now_mono_ns();
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event ev = { .events = EPOLLIN };
	if (p->epoll_fd < 0 || p->wake_fd < 0 || epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->wake_fd, &ev) < 0) {
		int r = err_errno(err, errno, "epoll for the streams");
		pump_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

static struct pump_task *take_tasks(struct pump *p)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	struct pump_task *t = p->tasks;
	p->tasks = NULL;
	p->tasks_tail = &p->tasks;
	return t;
}

static void run_tasks(struct pump *p)
{
	eventfd_t n;
	(void)eventfd_read(p->wake_fd, &n);
	for (struct pump_task *t = take_tasks(p), *next; t; t = next) {
		next = t->next;
		t->fn(t->arg);
	}
}

static void run_timers(struct pump *p)
{
	struct pump_timer *t;
	while ((t = p->timers.next) != &p->timers && t->at_ns <= p->now_ns) {
		pump_timer_off(p, t);
		t->fn(t->arg);
	}
}

static int timeout_ms(const struct pump *p)
{
	const struct pump_timer *t = p->timers.next;
	if (t == &p->timers)
		return -1;
	int64_t ms = (t->at_ns - now_mono_ns()) / 1000000 + 1;
	return ms < 0 ? 0 : ms > 3600000 ? 3600000 : (int)ms;
}

static void *pump_thread(void *arg)
{
	struct pump *p = arg;
	(void)pthread_setname_np(pthread_self(), p->name);
	while (!p->stop) {
		int n = epoll_wait(p->epoll_fd, p->ev, EVENTS, timeout_ms(p));
		p->now_ns = now_mono_ns();
		bool woken = false;
		p->ev_n = n > 0 ? n : 0;
		for (p->ev_i = 0; p->ev_i < p->ev_n; p->ev_i++) {
			const struct epoll_event *e = &p->ev[p->ev_i];
			struct watch *w = e->data.ptr;
			if (w && w->events)
				w->fn(w->arg, e->events);
			else
				woken = true; /* or a watch that was removed in this round */
		}
		p->ev_n = 0;
		run_timers(p);
		if (woken)
			run_tasks(p);
	}
	return NULL;
}

int pump_start(struct pump *p, const char *name, crio_err *err)
{
	p->name = name;
	pthread_attr_t a;
	(void)pthread_attr_init(&a);
	(void)pthread_attr_setstacksize(&a, STACK_BYTES);
	int e = pthread_create(&p->thread, &a, pump_thread, p);
	(void)pthread_attr_destroy(&a);
	if (e)
		return err_errno(err, e, "start the thread %s", name);
	p->running = true;
	return 0;
}

void pump_stop(struct pump *p)
{
	if (!p->running)
		return;
	p->stop = true;
	(void)eventfd_write(p->wake_fd, 1);
	(void)pthread_join(p->thread, NULL);
	p->running = false;
}

void pump_free(struct pump *p)
{
	if (!p)
		return;
	pump_stop(p);
	/* What was put off to the end of the last round. */
	while (p->tasks)
		run_tasks(p);
	(void)safe_close(p->epoll_fd);
	(void)safe_close(p->wake_fd);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

void pump_post(struct pump *p, struct pump_task *t)
{
	(void)pthread_mutex_lock(&p->lock);
	t->next = NULL;
	*p->tasks_tail = t;
	p->tasks_tail = &t->next;
	(void)pthread_mutex_unlock(&p->lock);
	(void)eventfd_write(p->wake_fd, 1);
}

void watch_init(struct watch *w, int fd, void (*fn)(void *arg, uint32_t events), void *arg)
{
	*w = (struct watch){ .fd = fd, .fn = fn, .arg = arg };
}

bool pump_watch(struct pump *p, struct watch *w, uint32_t events)
{
	if (events == w->events)
		return true;
	struct epoll_event ev = { .events = events, .data.ptr = w };
	int op = !events ? EPOLL_CTL_DEL : !w->events ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
	if (epoll_ctl(p->epoll_fd, op, w->fd, &ev) < 0 && events)
		return false;
	w->events = events;
	for (int i = p->ev_i + 1; !events && i < p->ev_n; i++)
		if (p->ev[i].data.ptr == w)
			p->ev[i].data.ptr = NULL;
	return true;
}

void pump_timer_off(struct pump *p, struct pump_timer *t)
{
	(void)p;
	if (!t->next)
		return;
	t->prev->next = t->next;
	t->next->prev = t->prev;
	t->prev = t->next = NULL;
}

void pump_at(struct pump *p, struct pump_timer *t, int64_t at_ns, void (*fn)(void *arg), void *arg)
{
	pump_timer_off(p, t);
	t->at_ns = at_ns;
	t->fn = fn;
	t->arg = arg;
	struct pump_timer *after = p->timers.prev;
	while (after != &p->timers && after->at_ns > at_ns)
		after = after->prev;
	t->prev = after;
	t->next = after->next;
	after->next->prev = t;
	after->next = t;
}

int64_t pump_now(const struct pump *p)
{
	return p->now_ns;
}

uint8_t *pump_in(struct pump *p)
{
	return p->in;
}

uint8_t *pump_out(struct pump *p)
{
	return p->out + PUMP_HEADROOM;
}
