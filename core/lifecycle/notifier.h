/*
 * notifier.h: the seccomp notifier: a container with the annotation seccomp-notifier-action gets a profile whose forbidden system calls
 * are not only refused but told. Its runtime sends a descriptor for each process that it starts in the container to a socket of ours
 * (linux.seccomp.listenerPath); the kernel asks there about each such call, and the answer is always ENOSYS. What was asked for is counted,
 * and with the action "stop" the container is to be ended.
 *
 * The caller waits while the kernel asks, so nobody here waits: all of it runs on the event loop, on descriptors that are ready. A container
 * may ask as often as it likes: of one process tree NOTIFIER_ASKED_MAX questions are answered, then its descriptor is closed, and the kernel
 * refuses by itself (with ENOSYS too). An end of the daemon does the same; a new daemon hears of what is started from then on.
 *
 * Thread-safe. The lock is taken last of all.
 */
#ifndef LIFECYCLE_NOTIFIER_H
#define LIFECYCLE_NOTIFIER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/err.h"
#include "core/util/json.h"

struct loop;
struct notifiers;

#define NOTIFIER_ASKED_MAX 1000u /* questions of one descriptor */
#define NOTIFIER_PEERS_MAX 256u	 /* connections and descriptors of one container: more are turned away */
#define NOTIFIER_NAMES_MAX 512u	 /* different system calls of one container that are counted */

struct notifiers_args {
	struct loop *loop;
	const char *dir; /* of the sockets; made with mode 0700 when there is one, removed with the last */
	/* A container whose action is "stop" has made forbidden calls, and is due. `used`: "swapoff (3x)", sorted. On the loop's thread,
	 * without locks: only to start a job. */
	void (*due)(void *arg, const char *id, const char *used);
	void *arg;
	/* 0 in each: the default that its comment gives. */
	int64_t hello_ns; /* for a connection to send its descriptor; 10 s */
	int64_t quiet_ns; /* after the last forbidden call the container is due; 5 s */
	int64_t wait_ns;  /* after the first one it is due at the latest; 30 s */
};
int notifiers_new(const struct notifiers_args *a, struct notifiers **ret, crio_err *err);
void notifiers_free(struct notifiers *n); /* NULL is fine */
/* Removes sockets that an earlier run left and that belong to nothing now. */
void notifiers_sweep(struct notifiers *n);

/* "<dir>/<id>", the caller's. */
char *notifier_path(const struct notifiers *n, const char *id);
/* Listens for container id, from before its runtime makes it. `name` is for the metric. INVALID: the path is too long for a socket. */
int notifier_add(struct notifiers *n, const char *id, const char *name, bool stop, crio_err *err);
/* What the pod's annotations, of which only allowed ones are left, say for a container: its own or for all. NULL: it has no notifier. */
const char *notifier_action(const struct kvs *annotations, const char *container);
/* Forgets it. None is fine. */
void notifier_drop(struct notifiers *n, const char *id);

/*
 * Changes an OCI linux.seccomp so that what it refuses is told at `path`. The calls that it only pretends not to know (ENOSYS, for which
 * programs have other ways) stay refused: they are no offence. What the default action refuses cannot be told, as in CRI-O.
 */
int notifier_change_profile(struct json_object *seccomp, const char *path, crio_err *err);

#endif
