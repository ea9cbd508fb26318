#include "core/exec/loop.h"

#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "core/util/fs.h"
#include "core/util/log.h"

/* A watch or a timer. Timers have a timerfd each: few exist at a time, and an idle loop needs no wake-up. */
struct entry {
	int id;
	int fd;
	bool timer;
	bool gone;     /* removed while its callback ran: freed by the loop thread */
	loop_fd_cb cb;
	loop_timer_cb tcb;
	void *arg;
	struct entry *next;
};

struct loop {
	pthread_t thread;
	int epfd, wakefd;
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t idle;
	bool stop;
	int next_id;
	int current;          /* id whose callback is running; 0: none */
	struct entry *entries;
};

static void *loop_main(void *arg);

int loop_new(struct loop **ret, crio_err *err)
{
	struct loop *l = calloc(1, sizeof(*l));
	if (!l)
		return err_nomem(err);
	l->next_id = 1;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->wakefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	(void)pthread_mutex_init(&l->lock, NULL);
	(void)pthread_cond_init(&l->idle, NULL);
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 0 };
	int r = 0;
	if (l->epfd < 0 || l->wakefd < 0 || epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->wakefd, &ev) < 0)
		r = err_errno(err, errno, "set up the event loop");
	else if ((r = pthread_create(&l->thread, NULL, loop_main, l)))
		r = err_errno(err, r, "start the event loop's thread");
	if (r < 0) {
		(void)safe_close(l->epfd);
		(void)safe_close(l->wakefd);
		free(l);
		return r;
	}
	(void)pthread_setname_np(l->thread, "crio-loop");
	*ret = l;
	return 0;
}

static struct entry *find(struct loop *l, uint64_t id)
{
	for (struct entry *e = l->entries; e; e = e->next)
		if ((uint64_t)e->id == id)
			return e;
	return NULL;
}

/* Takes e out of the list and the epoll set. Called with the lock. */
static void detach(struct loop *l, struct entry *e)
{
	for (struct entry **pp = &l->entries; *pp; pp = &(*pp)->next) {
		if (*pp == e) {
			*pp = e->next;
			break;
		}
	}
	(void)epoll_ctl(l->epfd, EPOLL_CTL_DEL, e->fd, NULL);
	if (e->timer)
		(void)close(e->fd);
}

static void dispatch(struct loop *l, uint64_t id, uint32_t events)
{
	(void)pthread_mutex_lock(&l->lock);
	struct entry *e = find(l, id);
	if (!e) {
		(void)pthread_mutex_unlock(&l->lock);
		return;
	}
	l->current = e->id;
	(void)pthread_mutex_unlock(&l->lock);
	int done = 1;
	if (e->timer)
		e->tcb(e->arg);
	else
		done = e->cb(e->arg, e->fd, events);
	(void)pthread_mutex_lock(&l->lock);
	l->current = 0;
	if (e->gone || done) {
		if (!e->gone)
			detach(l, e);
		free(e);
	}
	(void)pthread_cond_broadcast(&l->idle);
	(void)pthread_mutex_unlock(&l->lock);
}

static void *loop_main(void *arg)
{
	struct loop *l = arg;
	struct epoll_event ev[32];
	for (;;) {
		int n = epoll_wait(l->epfd, ev, ARRAY_SIZE(ev), -1);
		if (n < 0 && errno != EINTR) {
			log_error("event loop: epoll_wait: %m");
			return NULL;
		}
		for (int i = 0; i < n; i++)
			if (ev[i].data.u64)
				dispatch(l, ev[i].data.u64, ev[i].events);
		(void)pthread_mutex_lock(&l->lock);
		bool stop = l->stop;
		(void)pthread_mutex_unlock(&l->lock);
		if (stop)
			return NULL;
	}
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	(void)pthread_mutex_lock(&l->lock);
	l->stop = true;
	(void)pthread_mutex_unlock(&l->lock);
	(void)eventfd_write(l->wakefd, 1);
	(void)pthread_join(l->thread, NULL);
	while (l->entries) {
		struct entry *e = l->entries;
		detach(l, e);
		free(e);
	}
	(void)close(l->epfd);
	(void)close(l->wakefd);
	(void)pthread_mutex_destroy(&l->lock);
	(void)pthread_cond_destroy(&l->idle);
	free(l);
}

static int add(struct loop *l, struct entry *e, uint32_t events, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *g = lock(&l->lock);
	e->id = l->next_id++;
	struct epoll_event ev = { .events = events, .data.u64 = (uint64_t)e->id };
	e->next = l->entries;
	l->entries = e;
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, e->fd, &ev) < 0) {
		int r = err_errno(err, errno, "watch descriptor %d", e->fd);
		l->entries = e->next;
		return r;
	}
	return e->id;
}

int loop_watch(struct loop *l, int fd, uint32_t epoll_events, loop_fd_cb cb, void *arg, crio_err *err)
{
	struct entry *e = calloc(1, sizeof(*e));
	if (!e)
		return err_nomem(err);
	e->fd = fd;
	e->cb = cb;
	e->arg = arg;
	int id = add(l, e, epoll_events, err);
	if (id < 0)
		free(e);
	return id;
}

int loop_timer(struct loop *l, int64_t delay_ns, loop_timer_cb cb, void *arg, crio_err *err)
{
	struct entry *e = calloc(1, sizeof(*e));
	if (!e)
		return err_nomem(err);
	e->timer = true;
	e->tcb = cb;
	e->arg = arg;
	e->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (delay_ns < 1)
		delay_ns = 1;
	struct itimerspec its = { .it_value = { delay_ns / 1000000000, delay_ns % 1000000000 } };
	int id;
	if (e->fd < 0 || timerfd_settime(e->fd, 0, &its, NULL) < 0)
		id = err_errno(err, errno, "make a timer");
	else
		id = add(l, e, EPOLLIN, err);
	if (id < 0) {
		(void)safe_close(e->fd);
		free(e);
	}
	return id;
}

void loop_remove(struct loop *l, int id)
{
	cleanup_unlock pthread_mutex_t *g = lock(&l->lock);
	struct entry *e = id > 0 ? find(l, (uint64_t)id) : NULL;
	if (!e)
		return;
	detach(l, e);
	if (l->current != id) {
		free(e);
		return;
	}
	e->gone = true; /* the loop thread frees it */
	while (l->current == id && !pthread_equal(pthread_self(), l->thread))
		(void)pthread_cond_wait(&l->idle, &l->lock);
}
