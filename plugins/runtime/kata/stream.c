/*
 * Standard streams: one thread for the instance reads all fifos and writes CRI log lines, "<time> <stream> <F|P>
 * <text>". A slow disk holds up this thread and so the containers' output, and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "plugins/runtime/kata/kata.h"

#define CHUNK 8192

struct log_file {
	pthread_mutex_t mu; /* guards the rest */
	int fd;
	char *path;
	int64_t size, size_max;
};

struct stream {
	struct stream *next;
	int fd;
	const char *name;
	struct log_file *log;
};

struct streams {
	pthread_t thread;
	pthread_mutex_t mu; /* guards list and stop; held while a stream is read, so that dropping waits for it */
	struct stream *list;
	int epoll, wake;
	bool stop;
	struct kata *k;
};

struct log_file *log_open(const char *path, int64_t size_max)
{
	struct log_file *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	(void)pthread_mutex_init(&l->mu, NULL);
	l->fd = -1;
	l->size_max = size_max;
	l->path = strdup(path);
	if (!l->path || (*path && log_reopen(l) < 0)) {
		int e = errno;

		free(l->path);
		free(l);
		errno = e;
		return NULL;
	}
	return l;
}

static int open_log(struct log_file *l, int flags)
{
	int fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		close_fd(fd);
		return -errno;
	}
	close_fd(l->fd);
	l->fd = fd;
	l->size = st.st_size;
	return 0;
}

int log_reopen(struct log_file *l)
{
	int r;

	pthread_mutex_lock(&l->mu);
	r = *l->path ? open_log(l, 0) : 0;
	pthread_mutex_unlock(&l->mu);
	if (r < 0)
		errno = -r;
	return r;
}

static void log_free(struct log_file *l)
{
	close_fd(l->fd);
	free(l->path);
	free(l);
}

static void log_line(struct log_file *l, const char *name, const char *p, size_t n, bool whole)
{
	struct timespec ts;
	struct tm tm;
	char date[32], head[80];
	struct iovec v[3];
	int h;

	if (l->fd < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	(void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	h = snprintf(head, sizeof(head), "%s.%09ld+00:00 %s %c ", date, ts.tv_nsec, name, whole ? 'F' : 'P');
	if (l->size_max > 0 && l->size + h + (int64_t)n + 1 > l->size_max && l->size)
		(void)open_log(l, O_TRUNC);
	v[0] = (struct iovec){head, (size_t)h};
	v[1] = (struct iovec){(void *)(uintptr_t)p, n};
	v[2] = (struct iovec){(void *)(uintptr_t) "\n", 1};
	ssize_t w = writev(l->fd, v, 3);
	if (w > 0)
		l->size += w;
}

/* Lines of a chunk; what has no newline at its end is a partial line. */
static void log_chunk(struct log_file *l, const char *name, const char *p, size_t n)
{
	pthread_mutex_lock(&l->mu);
	while (n) {
		const char *nl = memchr(p, '\n', n);
		size_t len = nl ? (size_t)(nl - p) : n;

		log_line(l, name, p, len, nl != NULL);
		p += len + (nl != NULL);
		n -= len + (nl != NULL);
	}
	pthread_mutex_unlock(&l->mu);
}

/* Reads what is there. False: it has ended. */
static bool drain(struct streams *s, struct stream *st)
{
	char buf[CHUNK + 1];

	for (int i = 0; i < 64; i++) { /* the others get their turn */
		ssize_t n = read(st->fd, buf, CHUNK);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (!n)
			return false;
		if (st->name) {
			log_chunk(st->log, st->name, buf, (size_t)n);
			continue;
		}
		buf[n] = 0;
		for (char *save, *line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
			tidy(line);
			s->k->host->log(s->k->in, CRIO_LOG_DEBUG, "shim: %.2000s", line);
		}
	}
	return true;
}

static void stream_free(struct streams *s, struct stream *st)
{
	for (struct stream **p = &s->list; *p; p = &(*p)->next) {
		if (*p == st) {
			*p = st->next;
			break;
		}
	}
	(void)epoll_ctl(s->epoll, EPOLL_CTL_DEL, st->fd, NULL);
	close_fd(st->fd);
	free(st);
}

static struct stream *find(struct streams *s, int fd)
{
	struct stream *st = s->list;

	while (st && st->fd != fd)
		st = st->next;
	return st;
}

static void *pump(void *arg)
{
	struct streams *s = arg;
	struct epoll_event ev[16];

	for (bool stop = false; !stop;) {
		int n = epoll_wait(s->epoll, ev, N_ELEMENTS(ev), -1);

		for (int i = 0; i < n; i++) {
			pthread_mutex_lock(&s->mu);
			/* by descriptor: the stream may have been dropped since */
			struct stream *st = find(s, ev[i].data.fd);
			if (st && !drain(s, st))
				stream_free(s, st);
			pthread_mutex_unlock(&s->mu);
		}
		pthread_mutex_lock(&s->mu);
		stop = s->stop;
		pthread_mutex_unlock(&s->mu);
	}
	return NULL;
}

int streams_open(struct kata *k, crio_err *err)
{
	struct streams *s = calloc(1, sizeof(*s));
	struct epoll_event e = {.events = EPOLLIN};
	int r;

	if (!s)
		return k->host->fail(err, CRIO_E_NOMEM, "no memory");
	s->k = k;
	(void)pthread_mutex_init(&s->mu, NULL);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e.data.fd = s->wake;
	r = s->epoll < 0 || s->wake < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake, &e) ? errno : 0;
	if (!r)
		r = pthread_create(&s->thread, NULL, pump, s);
	if (r) {
		close_fd(s->epoll);
		close_fd(s->wake);
		free(s);
		return k->host->fail(err, CRIO_E_IO, "thread for the containers' streams: %s", strerror(r));
	}
	k->streams = s;
	return 0;
}

void streams_close(struct kata *k)
{
	struct streams *s = k->streams;

	if (!s)
		return;
	pthread_mutex_lock(&s->mu);
	s->stop = true;
	pthread_mutex_unlock(&s->mu);
	(void)eventfd_write(s->wake, 1);
	(void)pthread_join(s->thread, NULL);
	while (s->list)
		stream_free(s, s->list);
	close_fd(s->epoll);
	close_fd(s->wake);
	free(s);
	k->streams = NULL;
}

int streams_add(struct kata *k, int fd, const char *name, struct log_file *l, crio_err *err)
{
	struct streams *s = k->streams;
	struct stream *st = calloc(1, sizeof(*st));
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	int r = 0;

	if (!st) {
		close_fd(fd);
		return k->host->fail(err, CRIO_E_NOMEM, "no memory");
	}
	st->fd = fd;
	st->name = name;
	st->log = l;
	pthread_mutex_lock(&s->mu);
	st->next = s->list;
	s->list = st;
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e)) {
		r = k->host->fail(err, CRIO_E_IO, "watch a container's stream: %s", strerror(errno));
		stream_free(s, st);
	}
	pthread_mutex_unlock(&s->mu);
	return r;
}

void streams_drop(struct kata *k, struct log_file *l)
{
	struct streams *s = k->streams;

	if (!l)
		return;
	pthread_mutex_lock(&s->mu);
	for (struct stream *st = s->list, *next; st; st = next) {
		next = st->next;
		if (st->log != l)
			continue;
		(void)drain(s, st);
		stream_free(s, st);
	}
	pthread_mutex_unlock(&s->mu);
	log_free(l);
}
