/* daemon.h: the daemon's life: everything made in order at start, undone in reverse at the end. */
#ifndef CORE_DAEMON_H
#define CORE_DAEMON_H

#include "core/conf/conf.h"
#include "core/util/err.h"

/*
 * Runs the daemon until SIGTERM or SIGINT. conf is the loaded configuration, args how to load it again at SIGHUP; both
 * outlive the call. Call it from the main thread before any other thread exists. Containers go on when it returns.
 * 0: a clean end.
 */
int daemon_run(const struct conf *conf, const struct conf_args *args, crio_err *err);

#endif
