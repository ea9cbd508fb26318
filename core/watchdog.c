/* watchdog.c: see watchdog.h. */
#include "core/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/str.h"

#define END_SECONDS 1

struct watchdog {
	struct loop *loop;
	struct workers *workers;
	char *socket;
	int64_t period_ns; /* of looks: half of what systemd allows */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	int timer;     /* id; 0: none */
	bool checking; /* a job is queued or at work */
	bool ended;
};

#ifdef HAVE_SYSTEMD
/* What opens an HTTP/2 connection: the preface and an empty frame of settings. */
static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
#define FRAME_HEAD 9
#define FRAME_SETTINGS 4

/* Does who listens there speak HTTP/2? Each step gets a quarter of the period. */
static int ask(const struct watchdog *w, crio_err *err)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int64_t t = w->period_ns / 4 / 1000;
	struct timeval wait = {.tv_sec = t / 1000000, .tv_usec = t % 1000000};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned char head[FRAME_HEAD];

	if (strlen(w->socket) >= sizeof(a.sun_path))
		return err_set(err, CRIO_E_INVALID, "socket path %s is too long", w->socket);
	(void)memcpy(a.sun_path, w->socket, strlen(w->socket) + 1);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
		return err_errno(err, errno, "make a socket");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_errno(err, errno, "connect to %s", w->socket);
	if (send(fd, hello, sizeof(hello) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(hello) - 1)
		return err_errno(err, errno, "greet %s", w->socket);
	ssize_t n = recv(fd, head, sizeof(head), MSG_WAITALL);
	if (n < 0)
		return err_errno(err, errno, "hear from %s", w->socket);
	if (n != FRAME_HEAD || head[3] != FRAME_SETTINGS)
		return err_set(err, CRIO_E_UNAVAILABLE, "%s answers with something else than HTTP/2", w->socket);
	return 0;
}

static void check(void *arg)
{
	struct watchdog *w = arg;
	cleanup_err crio_err err = ERR_INIT;

	if (ask(w, &err) < 0)
		log_error("The daemon does not answer itself, systemd is not told that it works: %s", err_text(&err));
	else
		(void)sd_notify(0, "WATCHDOG=1");
	cleanup_unlock pthread_mutex_t *l = lock(&w->lock);
	w->checking = false;
	(void)pthread_cond_broadcast(&w->changed);
}

/* On the loop's thread. */
static void tick(void *arg)
{
	struct watchdog *w = arg;
	cleanup_err crio_err err = ERR_INIT;
	cleanup_unlock pthread_mutex_t *l = lock(&w->lock);

	w->timer = 0;
	if (w->ended)
		return;
	if (!w->checking) {
		w->checking = workers_run(w->workers, WORK_FAST, check, w, &err) == 0;
		if (!w->checking)
			log_error("The watchdog's look at the daemon cannot be made: %s", err_text(&err));
	}
	int id = loop_timer(w->loop, w->period_ns, tick, w, &err);
	if (id > 0)
		w->timer = id;
	else
		log_error("The watchdog has no timer: %s", err_text(&err));
}
#endif

int watchdog_new(struct loop *loop, struct workers *workers, const char *socket, struct watchdog **ret, crio_err *err)
{
	*ret = NULL;
#ifdef HAVE_SYSTEMD
	uint64_t usec = 0;

	if (sd_watchdog_enabled(0, &usec) <= 0)
		return 0;
	struct watchdog *w = calloc(1, sizeof(*w));
	if (!w)
		return err_nomem(err);
	w->loop = loop;
	w->workers = workers;
	w->socket = strdup(socket);
	w->period_ns = (int64_t)(usec < 2 ? 2 : usec / 2 < INT64_MAX / 1000 ? usec / 2 : INT64_MAX / 1000) * 1000;
	(void)pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_t ca;
	(void)pthread_condattr_init(&ca);
	(void)pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&w->changed, &ca);
	(void)pthread_condattr_destroy(&ca);
	if (!w->socket) {
		watchdog_free(w);
		return err_nomem(err);
	}
	log_info("The watchdog looks every %lld ms", (long long)(w->period_ns / 1000000));
	tick(w);
	*ret = w;
#else
	(void)loop, (void)workers, (void)socket, (void)err;
#endif
	return 0;
}

void watchdog_free(struct watchdog *w)
{
	if (!w)
		return;
	(void)pthread_mutex_lock(&w->lock);
	w->ended = true;
	int timer = w->timer;
	struct timespec end;
	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += END_SECONDS;
	while (w->checking && pthread_cond_timedwait(&w->changed, &w->lock, &end) != ETIMEDOUT)
		;
	bool stuck = w->checking;
	(void)pthread_mutex_unlock(&w->lock);
	if (timer)
		loop_remove(w->loop, timer);
	if (stuck) /* behind jobs that hang: it is theirs to be cut off with */
		return;
	(void)pthread_cond_destroy(&w->changed);
	(void)pthread_mutex_destroy(&w->lock);
	free(w->socket);
	free(w);
}
