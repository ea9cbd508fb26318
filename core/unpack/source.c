#include "core/unpack/source.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "core/util/fs.h"

ssize_t source_read(const struct source *s, void *p, size_t n, crio_err *err)
{
	ssize_t r = s->read(s->arg, p, n, err);

	if (r > 0 && (size_t)r > n)
		return err_set(err, CRIO_E_INTERNAL, "a byte source returned %zd bytes of %zu", r, n);
	return r;
}

ssize_t source_fd_read(void *arg, void *p, size_t n, crio_err *err)
{
	int fd = (int)(intptr_t)arg;
	ssize_t r;

	do
		r = read(fd, p, n);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_errno(err, errno, "read blob from descriptor %d", fd);
	return r;
}

struct ring {
	size_t size;
	crio_call *call;
	int watch;
	pthread_mutex_t mutex; /* guards all below */
	pthread_cond_t cond;   /* any change */
	size_t start, used;
	bool write_closed, read_closed;
	int code;              /* of the writer */
	char *text;
	char bytes[];
};

/* The call was cancelled: wake both ends, who look at it themselves. */
static void ring_wake(void *arg)
{
	struct ring *r = arg;
	cleanup_unlock pthread_mutex_t *l = lock(&r->mutex);

	(void)pthread_cond_broadcast(&r->cond);
}

int ring_new(crio_call *call, size_t size, struct ring **ret, crio_err *err)
{
	pthread_condattr_t attr;
	struct ring *r;
	int id;

	if (size < 4096 || size > (256u << 20))
		return err_set(err, CRIO_E_INVALID, "ring of %zu bytes: must be 4 KiB to 256 MiB", size);
	r = malloc(sizeof(*r) + size);
	if (!r)
		return err_nomem(err);
	memset(r, 0, sizeof(*r));
	r->size = size;
	if (pthread_condattr_init(&attr) || pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) ||
	    pthread_mutex_init(&r->mutex, NULL) || pthread_cond_init(&r->cond, &attr)) {
		free(r);
		return err_nomem(err);
	}
	(void)pthread_condattr_destroy(&attr);
	r->call = call_ref(call);
	id = call_on_cancel(call, ring_wake, r, err);
	if (id < 0) {
		r->watch = -1;
		ring_free(r);
		return id;
	}
	r->watch = id;
	*ret = r;
	return 0;
}

void ring_free(struct ring *r)
{
	if (!r)
		return;
	if (r->watch >= 0)
		call_off_cancel(r->call, r->watch);
	call_unref(r->call);
	(void)pthread_cond_destroy(&r->cond);
	(void)pthread_mutex_destroy(&r->mutex);
	free(r->text);
	free(r);
}

/* With the mutex held. 0: something may have changed. */
static int ring_wait(struct ring *r, const char *what, crio_err *err)
{
	int64_t deadline = call_deadline(r->call);
	struct timespec ts;
	int code = call_check(r->call, what, err);

	if (code)
		return code;
	if (deadline == CALL_NO_DEADLINE) {
		(void)pthread_cond_wait(&r->cond, &r->mutex);
		return 0;
	}
	ts.tv_sec = deadline / 1000000000;
	ts.tv_nsec = deadline % 1000000000;
	(void)pthread_cond_timedwait(&r->cond, &r->mutex, &ts);
	return 0;
}

int ring_write(struct ring *r, const void *p, size_t n, crio_err *err)
{
	const char *from = p;
	cleanup_unlock pthread_mutex_t *l = lock(&r->mutex);

	while (n) {
		if (r->read_closed)
			return err_set(err, CRIO_E_ABORTED, "blob data is no longer wanted");
		if (r->used == r->size) {
			int code = ring_wait(r, "wait for the blob to be unpacked", err);

			if (code)
				return code;
			continue;
		}
		size_t end = (r->start + r->used) % r->size;
		size_t room = r->size - r->used;
		size_t k = r->size - end;

		if (k > room)
			k = room;
		if (k > n)
			k = n;
		memcpy(r->bytes + end, from, k);
		from += k;
		n -= k;
		if (!r->used)
			(void)pthread_cond_broadcast(&r->cond);
		r->used += k;
	}
	return 0;
}

void ring_close_write(struct ring *r, int code, const char *text)
{
	cleanup_unlock pthread_mutex_t *l = lock(&r->mutex);

	if (r->write_closed)
		return;
	r->write_closed = true;
	r->code = code;
	if (code)
		r->text = strdup(text ? text : err_code_name(code));
	(void)pthread_cond_broadcast(&r->cond);
}

ssize_t ring_read(void *ring, void *p, size_t n, crio_err *err)
{
	struct ring *r = ring;
	cleanup_unlock pthread_mutex_t *l = lock(&r->mutex);

	while (!r->used) {
		if (r->write_closed) {
			if (!r->code)
				return 0;
			return err_set(err, r->code, "%s", r->text ? r->text : err_code_name(r->code));
		}
		int code = ring_wait(r, "wait for blob data", err);

		if (code)
			return code;
	}
	size_t k = r->size - r->start;

	if (k > r->used)
		k = r->used;
	if (k > n)
		k = n;
	memcpy(p, r->bytes + r->start, k);
	/* The writer is woken with half the ring free, not at every read: fewer switches. */
	bool was_full = r->used > r->size / 2;

	r->start = (r->start + k) % r->size;
	r->used -= k;
	if (was_full && r->used <= r->size / 2)
		(void)pthread_cond_broadcast(&r->cond);
	return (ssize_t)k;
}

void ring_close_read(struct ring *r)
{
	cleanup_unlock pthread_mutex_t *l = lock(&r->mutex);

	r->read_closed = true;
	(void)pthread_cond_broadcast(&r->cond);
}
