/*
 * pump.h: the thread that moves all bytes of all streams: descriptors by epoll, timers, and tasks from other threads. Everything in
 * core/stream but tokens.h runs on it, so that connections and streams need no locks. It never waits for anything but epoll; what may
 * wait (plugins, namespaces) runs on workers, as a job (job.h). Idle, it makes no wake-ups.
 */
#ifndef STREAM_PUMP_H
#define STREAM_PUMP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "core/util/err.h"

#define PUMP_CHUNK 65536u /* bytes read at once */
#define PUMP_HEADROOM 32u /* bytes in front of what is read from a source, for the head of a frame */

struct pump;
int pump_new(struct pump **ret, crio_err *err);
int pump_start(struct pump *p, const char *name, crio_err *err); /* the thread, under that name (static) */
/* Ends the thread. From another one; what is still watched stays as it is. */
void pump_stop(struct pump *p);
/* Runs the tasks that were posted and not run. NULL is fine. */
void pump_free(struct pump *p);

/* From any thread: runs fn(arg) on the pump's, soon and once. The task is the caller's and is not touched after its fn began. */
struct pump_task {
	struct pump_task *next;
	void (*fn)(void *arg);
	void *arg;
};
void pump_post(struct pump *p, struct pump_task *t);

/* The rest is for the pump's own thread, and before pump_start(). */

/* A descriptor. Level-triggered. fn may remove or change any watch; one that was removed is not called any more. */
struct watch {
	int fd;
	uint32_t events; /* 0: not watched at all, not even for its end */
	void (*fn)(void *arg, uint32_t events);
	void *arg;
};
#define WATCH_NONE { -1, 0, NULL, NULL }
void watch_init(struct watch *w, int fd, void (*fn)(void *arg, uint32_t events), void *arg);
/* Changes what is watched for. False: the kernel has no memory for it (or the descriptor cannot be watched). */
bool pump_watch(struct pump *p, struct watch *w, uint32_t events);

/* A time, once. Zero it before use. */
struct pump_timer {
	struct pump_timer *prev, *next; /* NULL: not set */
	int64_t at_ns;
	void (*fn)(void *arg);
	void *arg;
};
void pump_at(struct pump *p, struct pump_timer *t, int64_t at_ns, void (*fn)(void *arg), void *arg); /* monotonic; replaces */
void pump_timer_off(struct pump *p, struct pump_timer *t);

int64_t pump_now(const struct pump *p); /* monotonic, as of this round */
/* Two buffers for whoever has the turn: PUMP_CHUNK bytes for what comes from clients; PUMP_CHUNK for what goes to them, with
 * PUMP_HEADROOM in front. */
uint8_t *pump_in(struct pump *p);
uint8_t *pump_out(struct pump *p);

#endif
