/*
 * loop.h: one epoll thread for everything that waits: descriptors, timers, pidfds. Callbacks run on that thread, must
 * not block and must not call into plugins; they hand long work to workers. An idle loop makes no wake-ups.
 */
#ifndef EXEC_LOOP_H
#define EXEC_LOOP_H

#include <stdint.h>

#include "core/util/err.h"

struct loop;
int loop_new(struct loop **ret, crio_err *err); /* starts the thread */
void loop_free(struct loop *l);                 /* stops and joins it; callbacks never run again */

/* Return 0 to go on, anything else to be removed. */
typedef int (*loop_fd_cb)(void *arg, int fd, uint32_t epoll_events);
typedef void (*loop_timer_cb)(void *arg);
/* Return an id > 0. The fd stays the caller's, who removes the watch before closing it. */
int loop_watch(struct loop *l, int fd, uint32_t epoll_events, loop_fd_cb cb, void *arg, crio_err *err);
int loop_timer(struct loop *l, int64_t delay_ns, loop_timer_cb cb, void *arg, crio_err *err); /* once */
/* Waits while the callback is running on the loop thread, unless called from it. Unknown ids are ignored. */
void loop_remove(struct loop *l, int id);

#endif
