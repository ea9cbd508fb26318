/*
 * source.h: streams of bytes that are pulled, and the bounded ring that joins the thread that downloads a blob to the
 * thread that unpacks it.
 */
#ifndef UNPACK_SOURCE_H
#define UNPACK_SOURCE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/exec/call.h"
#include "core/util/err.h"

/* Reads 1 to n bytes (n > 0) into p. Returns their count, 0 at the end (again and again), or a negative code with err
 * filled. May block, but must return once the call it works for is over. */
typedef ssize_t (*source_fn)(void *arg, void *p, size_t n, crio_err *err);
struct source {
	source_fn read;
	void *arg;
};
ssize_t source_read(const struct source *s, void *p, size_t n, crio_err *err);
/* A file or pipe; arg is (void *)(intptr_t)fd, which stays the caller's. Waits in read(2), so use it for files and for
 * pipes whose writer ends with the call. */
ssize_t source_fd_read(void *arg, void *p, size_t n, crio_err *err);
static inline struct source source_of_fd(int fd)
{
	struct source s = { source_fd_read, (void *)(intptr_t)fd };
	return s;
}

/*
 * A ring of `size` bytes (RING_DEFAULT is a good one) between one writing and one reading thread. Whoever stops first
 * closes its end, so that the other never hangs: the writer with the error of the download (code 0: all was written),
 * the reader when it needs no more. Waiting also ends with the call (its reference is kept until ring_free).
 *
 * ring_read is a source_fn (arg: the ring); ring_write has the shape of a download's write callback.
 */
#define RING_DEFAULT (1u << 20)
struct ring;
int ring_new(crio_call *call, size_t size, struct ring **ret, crio_err *err);
void ring_free(struct ring *r); /* no thread may be in it any more; NULL is fine */
/* All n bytes, or: CRIO_E_ABORTED when the reader has closed, CRIO_E_CANCELLED, CRIO_E_DEADLINE. */
int ring_write(struct ring *r, const void *p, size_t n, crio_err *err);
/* After this the reader gets what is left, then the end (code 0) or this code with this text. Once is enough. */
void ring_close_write(struct ring *r, int code, const char *text);
ssize_t ring_read(void *ring, void *p, size_t n, crio_err *err);
void ring_close_read(struct ring *r);

#endif
