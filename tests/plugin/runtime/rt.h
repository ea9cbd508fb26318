/*
 * rt.h: a small node for the tests of runtime plugins: the plugin host over a directory of the built plugins, a bundle
 * with busybox in it, and the events of an instance. Everything is below one temporary directory.
 */
#ifndef TESTS_RT_H
#define TESTS_RT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>

#include "core/exec/call.h"
#include "core/exec/loop.h"
#include "core/exec/workers.h"
#include "core/plugin/ops.h"
#include "core/plugin/plugins.h"
#include "core/util/fs.h"
#include "tests/tmp.h"

#define MS 1000000LL
#define SEC (1000 * MS)
#define RT_EVENTS 64

struct rt_event {
	int type, exit_code, oom;
	char id[72];
	int64_t time_ns, at_ns; /* at_ns: monotonic, when it came */
};

struct rt {
	char dir[TEST_TMP_N];
	struct loop *loop;
	struct workers *workers;
	struct plugins *plugins;
	struct plugin_inst *in;
	crio_call *call; /* 60 s, for everything that needs no other */
	crio_err err;
	char plugin[32];
	struct kvs options;
	pthread_mutex_t mu; /* guards the rest */
	pthread_cond_t cond;
	struct rt_event events[RT_EVENTS];
	size_t n_events;
};

/* Runs body in a child with mounts of its own and this process as the reaper of all orphans; 77 when this
 * machine lacks what is needed (root, and each program of the NULL-terminated list). */
int rt_main(int (*body)(void), const char *const *programs);

/* A node with plugin `plugin` opened; options are name, value, ..., NULL. */
struct rt *rt_new(const char *plugin, ...) __attribute__((sentinel));
void rt_free(struct rt *rt);
void rt_restart(struct rt *rt); /* closes the instance and opens another, as a restarted daemon does */
/* Fails the test with the error's text unless r is 0. */
void rt_ok(struct rt *rt, int r);

struct rt_ctr {
	const char *id;
	const char *args;      /* JSON array */
	const char *resources; /* JSON of linux.resources; NULL none */
	bool terminal, stdin_open;
	int64_t timeout_ns;
	struct crio_runtime_create_out out;
};
/* Makes bundle and root file system and calls create. */
int rt_create(struct rt *rt, struct rt_ctr *c);
int rt_start(struct rt *rt, const char *id);
int rt_kill(struct rt *rt, const char *id, int sig);
int rt_del(struct rt *rt, const char *id);
int rt_state(struct rt *rt, const char *id, struct crio_runtime_state_out *out);
int rt_reconnect(struct rt *rt, struct rt_ctr *c, struct crio_runtime_state_out *out);
/* create + start */
void rt_run(struct rt *rt, struct rt_ctr *c);

struct rt_exec {
	int code, not_started;
	char out[8192], err[8192], message[512];
	int r; /* of exec_wait */
	int64_t ns;
};
/* Runs args (JSON array) in the container and collects; kills it when timeout_ns > 0 has passed. */
int rt_exec(struct rt *rt, const char *id, const char *args, const char *input, int64_t timeout_ns,
	    struct rt_exec *ret);

/* The event of this type for this container, waiting for it; false after timeout_ns. */
bool rt_event(struct rt *rt, int type, const char *id, int64_t timeout_ns, struct rt_event *ret);
/* Waits until the file holds `text`. */
bool rt_file_has(const char *path, const char *text, int64_t timeout_ns);
char *rt_path(struct rt *rt, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Fails the test when a process, cgroup or file of the container is left. */
void rt_nothing_left(struct rt *rt, const char *id);
const char *rt_cgroup(void); /* the pods', below each hierarchy */
/* Processes whose command line holds `text`. */
int rt_processes(const char *text);
/* An executable script in the node's directory; its path. */
char *rt_script(struct rt *rt, const char *name, const char *text);
#define rt_free_ __attribute__((cleanup(cleanup_freep)))

#endif
