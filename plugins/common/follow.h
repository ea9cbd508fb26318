/*
 * follow.h: following directories for a plugin that reads them again when something has changed. inotify tells the host's loop
 * thread, which only marks; a thread of the plugin waits for that and reads. It sleeps without time-out while directories can be
 * followed. One that is not there is awaited in the nearest one above it that is. Linked into each plugin that uses it.
 *
 *	follow_init        once
 *	follow_arm         before the thread starts, and on it when follow_wait says so
 *	follow_start       the thread, which loops on follow_wait
 *	follow_release     ends and joins it, and watches no more
 */
#ifndef PLUGINS_COMMON_FOLLOW_H
#define PLUGINS_COMMON_FOLLOW_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/inotify.h>

#include <crio/plugin.h>

#define FOLLOW_NEVER INT64_MAX
#define FOLLOW_POLL_NS 5000000000ll /* how often who cannot follow reads; the log says so */
/* What is watched, or the watch of it, has gone. */
#define FOLLOW_SELF_EVENTS (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT | IN_Q_OVERFLOW)

struct follow {
	const struct crio_host *host;
	crio_instance *in;
	/* Loop thread: is this event a reason to read? FOLLOW_SELF_EVENTS always are. */
	bool (*matters)(void *arg, const struct inotify_event *e);
	void *arg;
	pthread_mutex_t mu; /* guards the next four */
	pthread_cond_t cond;
	bool stop, dirty, rewatch;
	bool have_thread;
	pthread_t thread;
	/* Of whoever arms. inotify < 0: nothing can be followed. */
	int inotify, watch_id;
	bool missing; /* a directory is not there */
};

void follow_init(struct follow *f, const struct crio_host *host, crio_instance *in,
		 bool (*matters)(void *arg, const struct inotify_event *e), void *arg);

/* Watches anew: `dirs` calls follow_dir for each. `what` is named in the log when nothing can be followed, "the hooks directories". */
void follow_arm(struct follow *f, const char *what, void (*dirs)(struct follow *f, void *arg));
/* The watch of the directory, or -1: it is not there and is awaited above. */
int follow_dir(struct follow *f, const char *path);

/* All signals are blocked in the thread. */
int follow_start(struct follow *f, void *(*thread)(void *arg), crio_err *err);
/* Waits until something has changed or `until_ns` (monotonic; FOLLOW_NEVER) has come; after a change settle_ns more, because files come in
 * several steps. false: stop. *ret_dirty: something has changed; *ret_rewatch: what is watched is no longer what should be. */
bool follow_wait(struct follow *f, int64_t until_ns, int64_t settle_ns, bool *ret_dirty, bool *ret_rewatch);
/* As if something had changed. */
void follow_kick(struct follow *f);
void follow_release(struct follow *f); /* not on the loop thread */

#endif
