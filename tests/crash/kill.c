/*
 * kill.c: workers run pods, containers, execs and pulls against a daemon that is killed (-9) at random moments and started again.
 *
 *	kill -s SOCKET -i REGISTRY -l LOGDIR -p PIDFILE -o OUTPUT [-r ROUNDS] [-w WORKERS] [-m MAX_MS] [-S SEED] -- CRIO ARGUMENTS...
 *
 * Each worker keeps a journal of what was acknowledged to it. After each start all journals are compared with what the daemon says:
 * every pod, container, state and exit code, and with the log files: every line. What was under way when the daemon died is asked
 * again, as a kubelet would, and must work then. At the end all is removed; the daemon is left running for the caller's leak check.
 * Exit status 1 and lines "FAIL ..." on standard output when anything was lost.
 */
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/rpc/cri.h"
#include "tests/client/client.h"
#include "tests/client/pbjson.h"

#define CTRS 3
#define NOT_FOUND 5
#define CALL_MS 60000

extern char **environ;

enum state { ABSENT, CREATED, STARTED, ENDED };
enum op { NOTHING, RUN_POD, CREATE, START, SAY, STOP, REMOVE, STOP_POD, REMOVE_POD, PULL, REMOVE_IMAGE, OPS };
static const char *const op_names[OPS] = { "nothing", "RunPodSandbox", "CreateContainer", "StartContainer", "ExecSync", "StopContainer",
					   "RemoveContainer", "StopPodSandbox", "RemovePodSandbox", "PullImage", "RemoveImage" };

struct ctr {
	enum state state;
	bool is_short; /* prints three lines and exits with 42 by itself */
	int n, grace, said;
	int says[64];  /* numbers that an acknowledged exec has put into the log */
	size_t n_says;
	char id[80];
};

struct worker {
	int index;
	unsigned seed;
	pthread_t thread;
	struct client *client;
	bool pod, pod_stopped, image;
	int pod_n, ctr_n;
	char pod_id[80];
	struct ctr ctrs[CTRS];
	enum op op; /* under way, or (after a kill) to be asked again */
	int op_ctr;
	long acknowledged;
};

static struct {
	const char *socket, *registry, *logs, *pidfile, *output;
	char **argv;
	int rounds, workers, max_ms;
	unsigned seed;
	pid_t pid;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int parked;
	bool down, ending; /* guarded by lock; down: the daemon is being killed or is not verified yet */
	_Atomic int failures;
	_Atomic long again[OPS], acknowledged;
} t = { .rounds = 20, .workers = 4, .max_ms = 1500, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void fail(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	flockfile(stdout);
	printf("FAIL ");
	vprintf(fmt, ap);
	printf("\n");
	(void)fflush(stdout);
	funlockfile(stdout);
	va_end(ap);
	t.failures++;
}

static void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };
	(void)nanosleep(&ts, NULL);
}

/* ---- calls ---- */

/* gRPC's status; the reply as JSON (the caller's) and the error's text. */
static int call(struct client *c, const char *method, struct json_object **ret, char why[512], const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
static int call(struct client *c, const char *method, struct json_object **ret, char why[512], const char *fmt, ...)
{
	const ProtobufCServiceDescriptor *const services[] = { &runtime__v1__runtime_service__descriptor, &runtime__v1__image_service__descriptor };
	const ProtobufCMethodDescriptor *m = NULL;
	char json[4096], path[160], text[256];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(json, sizeof(json), fmt, ap);
	va_end(ap);
	for (int i = 0; i < 2 && !m; i++) {
		m = protobuf_c_service_descriptor_get_method_by_name(services[i], method);
		if (m)
			(void)snprintf(path, sizeof(path), "/%s/%s", services[i]->name, method);
	}
	struct json_object *o = json_tokener_parse(json);
	ProtobufCMessage *msg = m && o ? pbjson_parse(m->input, o, text) : NULL;
	if (!msg) {
		fprintf(stderr, "kill: %s: bad request %s\n", method, json);
		exit(2);
	}
	void *p = malloc(protobuf_c_message_get_packed_size(msg) + 1);
	size_t n = p ? protobuf_c_message_pack(msg, p) : 0;
	struct client_result r;
	client_call(c, path, p, n, CALL_MS, NULL, NULL, &r);
	free(p);
	protobuf_c_message_free_unpacked(msg, NULL);
	json_object_put(o);
	int status = r.status;
	(void)snprintf(why, 512, "%s", r.message);
	if (ret)
		*ret = NULL;
	if (!status && ret) {
		ProtobufCMessage *reply = protobuf_c_message_unpack(m->output, NULL, r.reply_n, r.reply);
		*ret = reply ? pbjson_dump(reply) : NULL;
		if (reply)
			protobuf_c_message_free_unpacked(reply, NULL);
	}
	client_result_release(&r);
	return status;
}

static struct json_object *field(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;
	return o && json_object_object_get_ex(o, key, &v) ? v : NULL;
}

static const char *text(struct json_object *o, const char *key)
{
	const char *s = json_object_get_string(field(o, key));
	return s ? s : "";
}

/* ---- one operation ---- */

#define POD_JSON "{\"metadata\":{\"name\":\"w%d-%d\",\"uid\":\"u\",\"namespace\":\"kill\"},\"log_directory\":\"%s/w%d-%d\"," \
		 "\"linux\":{\"cgroup_parent\":\"/pod_w%d\",\"security_context\":{\"namespace_options\":{\"pid\":1}}}}"
#define POD_ARGS(w) (w)->index, (w)->pod_n, t.logs, (w)->index, (w)->pod_n, (w)->index

static const char *const commands[] = {
	"trap 'exit 3' TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done",
	"echo line 1; echo line 2; echo line 3; exit 42"
};

static int do_create(struct worker *w, struct ctr *c, char why[512])
{
	struct json_object *o = NULL;
	int s = call(w->client, "CreateContainer", &o, why,
		     "{\"pod_sandbox_id\":\"%s\",\"config\":{\"metadata\":{\"name\":\"c%d\"},\"image\":{\"image\":\"%s/busybox:1\"},\"command\":[\"sh\","
		     "\"-c\",\"%s\"],\"log_path\":\"c%d.log\",\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":1}}}},\"sandbox_config\":" POD_JSON "}",
		     w->pod_id, c->n, t.registry, commands[c->is_short], c->n, POD_ARGS(w));
	if (!s) {
		(void)snprintf(c->id, sizeof(c->id), "%s", text(o, "container_id"));
		c->state = CREATED;
	}
	json_object_put(o);
	return s;
}

static int ctr_status(struct client *c, const char *id, char state[64], long *code, char why[512])
{
	struct json_object *o = NULL;
	int s = call(c, "ContainerStatus", &o, why, "{\"container_id\":\"%s\"}", id);
	if (!s) {
		(void)snprintf(state, 64, "%s", text(field(o, "status"), "state"));
		*code = (long)json_object_get_int64(field(field(o, "status"), "exit_code"));
	}
	json_object_put(o);
	return s;
}

/* A start whose answer was lost may have been done: then it is not in created state any more. */
static int do_start(struct worker *w, struct ctr *c, bool again, char why[512])
{
	char state[64] = "";
	long code;
	int s = again ? ctr_status(w->client, c->id, state, &code, why) : 0;
	if (!s && (!again || !strcmp(state, "CONTAINER_CREATED")))
		s = call(w->client, "StartContainer", NULL, why, "{\"container_id\":\"%s\"}", c->id);
	if (!s)
		c->state = STARTED;
	return s;
}

/* Between the answer to StartContainer and the exec of the container's own program process 1 is still the runtime's, whose descriptors
 * nobody may open: then nothing was said. */
static int do_say(struct worker *w, struct ctr *c, char why[512])
{
	struct json_object *o = NULL;
	int n = ++c->said; /* a lost answer's number is never used again */
	int s = call(w->client, "ExecSync", &o, why, "{\"container_id\":\"%s\",\"timeout\":30,\"cmd\":[\"sh\",\"-c\",\"echo say %d >/proc/1/fd/1 && echo done || echo early\"]}", c->id, n);
	bool early = !s && !strcmp(text(o, "stdout"), "ZWFybHkK");
	if (!s && (json_object_get_int64(field(o, "exit_code")) || (!early && strcmp(text(o, "stdout"), "ZG9uZQo=")))) {
		(void)snprintf(why, 512, "the answer of exec %d is %s", n, json_object_get_string(o));
		s = 13;
	} else if (!s && !early && c->n_says < sizeof(c->says) / sizeof(*c->says)) {
		c->says[c->n_says++] = n;
	}
	json_object_put(o);
	return s;
}

static int do_stop(struct worker *w, struct ctr *c, char why[512])
{
	int s = call(w->client, "StopContainer", NULL, why, "{\"container_id\":\"%s\",\"timeout\":%d}", c->id, c->grace);
	if (!s)
		c->state = ENDED;
	return s;
}

/* A short one's exit is waited for first: it must be reported whatever happened. */
static int do_remove(struct worker *w, struct ctr *c, char why[512])
{
	if (c->is_short && c->state == STARTED) {
		char state[64] = "";
		long code = -1;
		int s = 0;
		for (int i = 0; i < 200 && !s && strcmp(state, "CONTAINER_EXITED"); i++) {
			s = ctr_status(w->client, c->id, state, &code, why);
			if (!s && strcmp(state, "CONTAINER_EXITED"))
				sleep_ms(50);
		}
		if (s)
			return s;
		if (strcmp(state, "CONTAINER_EXITED") || code != 42) {
			(void)snprintf(why, 512, "container %.12s should have exited with 42: %s %ld", c->id, state, code);
			return 13;
		}
		c->state = ENDED;
	}
	int s = call(w->client, "RemoveContainer", NULL, why, "{\"container_id\":\"%s\"}", c->id);
	if (!s)
		memset(c, 0, sizeof(*c));
	return s;
}

static void check_log(struct worker *w, const struct ctr *c);

static int perform(struct worker *w, bool again, char why[512])
{
	struct ctr *c = &w->ctrs[w->op_ctr];
	struct json_object *o = NULL;
	int s = 0;
	switch (w->op) {
	case RUN_POD:
		s = call(w->client, "RunPodSandbox", &o, why, "{\"config\":" POD_JSON "}", POD_ARGS(w));
		if (!s) {
			(void)snprintf(w->pod_id, sizeof(w->pod_id), "%s", text(o, "pod_sandbox_id"));
			w->pod = true;
			w->pod_stopped = false;
		}
		json_object_put(o);
		return s;
	case CREATE:
		return do_create(w, c, why);
	case START:
		return do_start(w, c, again, why);
	case SAY:
		return do_say(w, c, why);
	case STOP:
		return do_stop(w, c, why);
	case REMOVE:
		if (c->state != ABSENT)
			check_log(w, c);
		return do_remove(w, c, why);
	case STOP_POD:
		s = call(w->client, "StopPodSandbox", NULL, why, "{\"pod_sandbox_id\":\"%s\"}", w->pod_id);
		w->pod_stopped = !s || w->pod_stopped;
		return s;
	case REMOVE_POD:
		s = call(w->client, "RemovePodSandbox", NULL, why, "{\"pod_sandbox_id\":\"%s\"}", w->pod_id);
		if (!s) {
			memset(w->ctrs, 0, sizeof(w->ctrs));
			w->pod = false;
			w->pod_n++;
		}
		return s;
	case PULL:
		s = call(w->client, "PullImage", NULL, why, "{\"image\":{\"image\":\"%s/kill%d:1\"}}", t.registry, w->index);
		w->image = !s || w->image;
		return s;
	case REMOVE_IMAGE:
		s = call(w->client, "RemoveImage", NULL, why, "{\"image\":{\"image\":\"%s/kill%d:1\"}}", t.registry, w->index);
		w->image = s && w->image;
		return s;
	default:
		return 0;
	}
}

/* ---- what a worker does ---- */

static unsigned pick(struct worker *w, unsigned n)
{
	return (unsigned)rand_r(&w->seed) / 7 % n;
}

static void choose(struct worker *w)
{
	w->op_ctr = (int)pick(w, CTRS);
	struct ctr *c = &w->ctrs[w->op_ctr];
	unsigned what = pick(w, 20);
	if (what == 0) {
		w->op = w->image ? REMOVE_IMAGE : PULL;
	} else if (!w->pod) {
		w->op = RUN_POD;
	} else if (w->pod_stopped || what == 1) {
		w->op = w->pod_stopped ? REMOVE_POD : pick(w, 2) ? STOP_POD : REMOVE_POD;
	} else if (c->state == ABSENT) {
		w->op = CREATE;
		c->n = ++w->ctr_n;
		c->is_short = pick(w, 3) == 0;
	} else if (c->state == CREATED) {
		w->op = START;
	} else if (c->state == STARTED && !c->is_short && what < 12) {
		w->op = SAY;
	} else if (c->state == STARTED && !c->is_short) {
		w->op = STOP;
		c->grace = pick(w, 2) ? 10 : 0;
	} else {
		w->op = REMOVE;
	}
}

/* The last things a worker does: all of its own is removed. */
static bool choose_end(struct worker *w)
{
	w->op = w->pod ? REMOVE_POD : w->image ? REMOVE_IMAGE : NOTHING;
	return w->op != NOTHING;
}

static bool park(struct worker *w)
{
	(void)w;
	(void)pthread_mutex_lock(&t.lock);
	bool was = t.down;
	if (t.down) {
		t.parked++;
		(void)pthread_cond_broadcast(&t.changed);
		while (t.down)
			(void)pthread_cond_wait(&t.changed, &t.lock);
	}
	(void)pthread_mutex_unlock(&t.lock);
	return was;
}

static bool is_down(void)
{
	(void)pthread_mutex_lock(&t.lock);
	bool d = t.down;
	(void)pthread_mutex_unlock(&t.lock);
	return d;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	char why[512];
	bool again = false;
	for (;;) {
		(void)park(w);
		(void)pthread_mutex_lock(&t.lock);
		bool ending = t.ending;
		(void)pthread_mutex_unlock(&t.lock);
		if (!again) {
			if (ending && !choose_end(w))
				return NULL;
			if (!ending)
				choose(w);
		}
		enum op op = w->op;
		int s = perform(w, again, why);
		if (!s) {
			t.acknowledged++;
			again = false;
			w->op = NOTHING;
			continue;
		}
		if (!is_down()) {
			fail("worker %d: %s%s: status %d: %s", w->index, op_names[op], again ? " (again)" : "", s, why);
			if (again || ending)
				return NULL;
			continue;
		}
		t.again[op]++;
		again = true;
	}
}

/* ---- verifying ---- */

static void check_log(struct worker *w, const struct ctr *c)
{
	char path[512], line[512], found[65] = "";
	(void)snprintf(path, sizeof(path), "%s/w%d-%d/c%d.log", t.logs, w->index, w->pod_n, c->n);
	FILE *f = fopen(path, "re");
	long last = 0;
	if (!f) {
		if (c->state >= STARTED)
			fail("worker %d: the log %s is gone", w->index, path);
		return;
	}
	while (fgets(line, sizeof(line), f)) {
		long n;
		const char *at = strstr(line, " line "), *say = strstr(line, " say ");
		if (at && (n = strtol(at + 6, NULL, 10)) > 0) {
			if (n != last + 1)
				fail("worker %d: %s: line %ld comes after line %ld", w->index, path, n, last);
			last = n;
		}
		if (say && (n = strtol(say + 5, NULL, 10)) > 0 && n <= 64)
			found[n] = 1;
	}
	(void)fclose(f);
	for (size_t i = 0; i < c->n_says; i++)
		if (c->says[i] <= 64 && !found[c->says[i]])
			fail("worker %d: %s: what exec %d printed is not there", w->index, path, c->says[i]);
	if (c->state == ENDED && c->is_short && last != 3)
		fail("worker %d: %s has %ld lines of 3", w->index, path, last);
}

struct lists {
	struct json_object *pods, *ctrs, *images;
};

static struct json_object *by_id(struct json_object *list, const char *id)
{
	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		if (!strcmp(text(json_object_array_get_idx(list, i), "id"), id))
			return json_object_array_get_idx(list, i);
	return NULL;
}

static void check_ctr(struct worker *w, struct client *cl, const struct lists *l, int i)
{
	struct ctr *c = &w->ctrs[i];
	bool mine = w->op_ctr == i, gone_ok = w->op == REMOVE_POD || (mine && w->op == REMOVE);
	struct json_object *o = by_id(l->ctrs, c->id);
	char why[512], state[64] = "";
	long code = -1;
	if (c->state == ABSENT || (!o && gone_ok))
		return;
	if (!o) {
		fail("worker %d: container c%d (%.12s) is lost; %s was under way", w->index, c->n, c->id, op_names[w->op]);
		return;
	}
	if (ctr_status(cl, c->id, state, &code, why)) {
		fail("worker %d: status of container c%d: %s", w->index, c->n, why);
		return;
	}
	bool ended = !strcmp(state, "CONTAINER_EXITED"), running = !strcmp(state, "CONTAINER_RUNNING");
	bool may_end = w->op == STOP_POD || w->op == REMOVE_POD || w->pod_stopped || (mine && (w->op == STOP || w->op == REMOVE));
	if (c->state == CREATED && !(mine && w->op == START) && !may_end && strcmp(state, "CONTAINER_CREATED"))
		fail("worker %d: container c%d was only created and is %s", w->index, c->n, state);
	if (c->state == STARTED && !(running || (ended && (c->is_short || may_end))))
		fail("worker %d: container c%d was started and is %s", w->index, c->n, state);
	if (c->state == ENDED && !ended)
		fail("worker %d: container c%d was ended and is %s", w->index, c->n, state);
	/* A pod that is stopped may be quicker than its container. */
	if (c->is_short && ended && c->state >= STARTED && code != 42 && !(may_end && code == 137))
		fail("worker %d: the exit code of container c%d is %ld, not 42", w->index, c->n, code);
	if (!c->is_short && c->state == ENDED && code != (c->grace ? 3 : 137) && !(c->grace == 10 && code == 137))
		fail("worker %d: the exit code of container c%d is %ld (grace %d)", w->index, c->n, code, c->grace);
	if (!c->is_short && c->state == ENDED && c->grace && code != 3)
		fail("worker %d: the exit code 3 of container c%d has become %ld", w->index, c->n, code);
	check_log(w, c);
}

static void check_worker(struct worker *w, struct client *cl, const struct lists *l)
{
	struct json_object *o = w->pod ? by_id(l->pods, w->pod_id) : NULL;
	if (w->pod && !o && w->op != REMOVE_POD)
		fail("worker %d: pod w%d-%d (%.12s) is lost; %s was under way", w->index, w->index, w->pod_n, w->pod_id, op_names[w->op]);
	if (o && w->op != STOP_POD && w->op != REMOVE_POD &&
	    strcmp(text(o, "state"), w->pod_stopped ? "SANDBOX_NOTREADY" : "SANDBOX_READY"))
		fail("worker %d: pod w%d-%d is %s", w->index, w->index, w->pod_n, text(o, "state"));
	for (int i = 0; i < CTRS; i++)
		check_ctr(w, cl, l, i);
	char name[256];
	bool there = false;
	(void)snprintf(name, sizeof(name), "%s/kill%d:1", t.registry, w->index);
	for (size_t i = 0; l->images && i < json_object_array_length(l->images); i++) {
		struct json_object *tags = field(json_object_array_get_idx(l->images, i), "repo_tags");
		for (size_t k = 0; tags && k < json_object_array_length(tags); k++)
			there |= !strcmp(json_object_get_string(json_object_array_get_idx(tags, k)), name);
	}
	if (w->op != PULL && w->op != REMOVE_IMAGE && there != w->image)
		fail("worker %d: image %s is %s", w->index, name, there ? "still there" : "lost");
}

/* Whatever no worker knows of was never acknowledged: only one that was being made may be there. */
static void check_strangers(struct worker *ws, const struct lists *l)
{
	for (size_t i = 0; l->ctrs && i < json_object_array_length(l->ctrs); i++) {
		struct json_object *o = json_object_array_get_idx(l->ctrs, i);
		bool known = false;
		for (int k = 0; k < t.workers; k++) {
			char name[32];
			(void)snprintf(name, sizeof(name), "c%d", ws[k].ctrs[ws[k].op_ctr].n);
			known |= ws[k].op == CREATE && !strcmp(text(o, "pod_sandbox_id"), ws[k].pod_id) && !strcmp(text(field(o, "metadata"), "name"), name);
			for (int c = 0; c < CTRS; c++)
				known |= ws[k].ctrs[c].state != ABSENT && !strcmp(ws[k].ctrs[c].id, text(o, "id"));
		}
		if (!known)
			fail("container %.12s (%s) is nobody's", text(o, "id"), text(field(o, "metadata"), "name"));
	}
	for (size_t i = 0; l->pods && i < json_object_array_length(l->pods); i++) {
		struct json_object *o = json_object_array_get_idx(l->pods, i);
		bool known = false;
		for (int k = 0; k < t.workers; k++) {
			char name[32];
			(void)snprintf(name, sizeof(name), "w%d-%d", ws[k].index, ws[k].pod_n);
			known |= (ws[k].pod || ws[k].op == RUN_POD) && !strcmp(text(field(o, "metadata"), "name"), name);
		}
		if (!known)
			fail("pod %.12s (%s) is nobody's", text(o, "id"), text(field(o, "metadata"), "name"));
	}
}

static void verify(struct worker *ws, struct client *cl)
{
	struct json_object *p = NULL, *c = NULL, *i = NULL;
	char why[512];
	if (call(cl, "ListPodSandbox", &p, why, "{}") || call(cl, "ListContainers", &c, why, "{}") || call(cl, "ListImages", &i, why, "{}"))
		fail("list: %s", why);
	struct lists l = { field(p, "items"), field(c, "containers"), field(i, "images") };
	check_strangers(ws, &l);
	for (int k = 0; k < t.workers; k++)
		check_worker(&ws[k], cl, &l);
	json_object_put(p);
	json_object_put(c);
	json_object_put(i);
}

/* ---- the daemon ---- */

/* With a connection of its own: one that has met a dead daemon waits longer and longer before it tries again. */
static struct client *daemon_start(void)
{
	char why[512] = "";
	posix_spawn_file_actions_t fa;
	(void)posix_spawn_file_actions_init(&fa);
	(void)posix_spawn_file_actions_addopen(&fa, 1, t.output, O_WRONLY | O_CREAT | O_APPEND, 0600);
	(void)posix_spawn_file_actions_adddup2(&fa, 1, 2);
	int e = posix_spawn(&t.pid, t.argv[0], &fa, NULL, t.argv, environ);
	(void)posix_spawn_file_actions_destroy(&fa);
	FILE *f = fopen(t.pidfile, "we");
	if (e || !f) {
		fprintf(stderr, "kill: cannot start %s\n", t.argv[0]);
		exit(2);
	}
	fprintf(f, "%d\n", (int)t.pid);
	(void)fclose(f);
	for (int i = 0; i < 3000; i++) {
		struct client *cl = client_new(t.socket);
		if (cl && call(cl, "Version", NULL, why, "{}") == 0)
			return cl;
		client_free(cl);
		if (waitpid(t.pid, NULL, WNOHANG) == t.pid)
			break;
		sleep_ms(10);
	}
	printf("FAIL the daemon does not start: %s\n", why);
	exit(1);
}

static void set_down(bool down)
{
	(void)pthread_mutex_lock(&t.lock);
	t.down = down;
	(void)pthread_cond_broadcast(&t.changed);
	(void)pthread_mutex_unlock(&t.lock);
}

static void wait_parked(void)
{
	(void)pthread_mutex_lock(&t.lock);
	while (t.parked < t.workers)
		(void)pthread_cond_wait(&t.changed, &t.lock);
	t.parked = 0;
	(void)pthread_mutex_unlock(&t.lock);
}

static void options(int argc, char **argv)
{
	int c;
	t.seed = (unsigned)time(NULL);
	while ((c = getopt(argc, argv, "s:i:l:p:o:r:w:m:S:")) != -1) {
		switch (c) {
		case 's': t.socket = optarg; break;
		case 'i': t.registry = optarg; break;
		case 'l': t.logs = optarg; break;
		case 'p': t.pidfile = optarg; break;
		case 'o': t.output = optarg; break;
		case 'r': t.rounds = (int)strtol(optarg, NULL, 10); break;
		case 'w': t.workers = (int)strtol(optarg, NULL, 10); break;
		case 'm': t.max_ms = (int)strtol(optarg, NULL, 10); break;
		case 'S': t.seed = (unsigned)strtoul(optarg, NULL, 10); break;
		default: exit(64);
		}
	}
	t.argv = argv + optind;
	if (!t.socket || !t.registry || !t.logs || !t.pidfile || !t.output || !*t.argv || t.workers < 1 || t.workers > 64) {
		fprintf(stderr, "usage: kill -s SOCKET -i REGISTRY -l LOGDIR -p PIDFILE -o OUTPUT [-r ROUNDS] [-w WORKERS] [-m MAX_MS] [-S SEED] -- CRIO...\n");
		exit(64);
	}
}

int main(int argc, char **argv)
{
	options(argc, argv);
	struct worker *ws = calloc((size_t)t.workers, sizeof(*ws));
	char why[512], busybox[256];
	unsigned seed = t.seed;
	if (!ws)
		return 2;
	printf("# seed %u, %d rounds, %d workers\n", t.seed, t.rounds, t.workers);
	struct client *cl = daemon_start();
	(void)snprintf(busybox, sizeof(busybox), "%s/busybox:1", t.registry);
	if (call(cl, "PullImage", NULL, why, "{\"image\":{\"image\":\"%s\"}}", busybox))
		fail("pull: %s", why);
	for (int i = 0; i < t.workers; i++) {
		ws[i] = (struct worker){ .index = i, .seed = t.seed * 31 + (unsigned)i, .client = client_new(t.socket) };
		(void)pthread_create(&ws[i].thread, NULL, work, &ws[i]);
	}
	int round;
	for (round = 0; round < t.rounds && t.failures < 10; round++) {
		sleep_ms(100 + rand_r(&seed) % (t.max_ms - 99));
		set_down(true);
		(void)kill(t.pid, SIGKILL);
		(void)waitpid(t.pid, NULL, 0);
		wait_parked();
		client_free(cl);
		cl = daemon_start();
		for (int i = 0; i < t.workers; i++) {
			client_free(ws[i].client);
			ws[i].client = client_new(t.socket);
		}
		verify(ws, cl);
		set_down(false);
	}
	(void)pthread_mutex_lock(&t.lock);
	t.ending = true;
	(void)pthread_mutex_unlock(&t.lock);
	for (int i = 0; i < t.workers; i++)
		(void)pthread_join(ws[i].thread, NULL);
	verify(ws, cl);
	printf("# %d kills, %ld operations acknowledged, asked again:", round, t.acknowledged);
	for (int i = 1; i < OPS; i++)
		printf(" %s %ld", op_names[i], t.again[i]);
	printf("\n");
	for (int i = 0; i < t.workers; i++)
		client_free(ws[i].client);
	client_free(cl);
	free(ws);
	return t.failures ? 1 : 0;
}
