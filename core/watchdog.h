/*
 * watchdog.h: tells systemd that the daemon works, where the unit has WatchdogSec=. Half that often it calls itself as a client would:
 * from a job of the workers over the socket to what answers there. When any of the event loop, the workers, the accepting thread and gRPC
 * hangs, systemd hears nothing more, kills the daemon and starts it again; containers go on.
 */
#ifndef WATCHDOG_H
#define WATCHDOG_H

#include "core/exec/loop.h"
#include "core/exec/workers.h"

struct watchdog;

/* *ret is NULL when nobody asked for it ($WATCHDOG_USEC). socket: a path, copied. To be called once the daemon serves. */
int watchdog_new(struct loop *loop, struct workers *workers, const char *socket, struct watchdog **ret, crio_err *err);
/* Before the loop and the workers end; waits up to a second for a look that is being made; one that hangs is left behind. NULL is fine. */
void watchdog_free(struct watchdog *w);

#endif
