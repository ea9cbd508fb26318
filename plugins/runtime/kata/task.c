/* The table of tasks, their fifos, and their exits. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "plugins/runtime/kata/kata.h"

#define RECORD_VERSION "1"

struct task *task_new(struct kata *k, const char *id, const char *bundle, const char *log_path)
{
	struct task *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->k = k;
	t->refs = 1;
	t->stdin_fd = t->wait_fd = -1;
	t->log_size_max = -1;
	(void)snprintf(t->id, sizeof(t->id), "%s", id);
	t->bundle = strdup(str0(bundle));
	t->log_path = strdup(str0(log_path));
	t->address = strdup("");
	if (!t->bundle || !t->log_path || !t->address) {
		task_unref(t);
		return NULL;
	}
	return t;
}

void task_unref(struct task *t)
{
	bool last;

	pthread_mutex_lock(&t->k->mu);
	last = --t->refs == 0;
	pthread_mutex_unlock(&t->k->mu);
	if (!last)
		return;
	close_fd(t->stdin_fd);
	close_fd(t->wait_fd);
	reply_release(&t->wait_reply);
	free(t->address);
	free(t->bundle);
	free(t->log_path);
	free(t);
}

struct task *task_find(struct kata *k, const char *id)
{
	struct task *t = k->tasks;

	while (t && strcmp(t->id, id) != 0)
		t = t->next;
	return t;
}

struct task *task_get(struct kata *k, const char *id)
{
	struct task *t;

	pthread_mutex_lock(&k->mu);
	t = task_find(k, str0(id));
	if (t)
		t->refs++;
	pthread_mutex_unlock(&k->mu);
	return t;
}

void task_enter(struct task *t)
{
	t->refs++;
	t->next = t->k->tasks;
	t->k->tasks = t;
}

bool task_add(struct task *t)
{
	struct kata *k = t->k;
	bool ok;

	pthread_mutex_lock(&k->mu);
	ok = !task_find(k, t->id);
	if (ok)
		task_enter(t);
	pthread_mutex_unlock(&k->mu);
	return ok;
}

void task_drop(struct task *t)
{
	struct kata *k = t->k;
	bool mine = false;
	int watch;

	pthread_mutex_lock(&k->mu);
	for (struct task **p = &k->tasks; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			mine = true;
			break;
		}
	}
	watch = t->wait_watch;
	t->wait_watch = 0;
	pthread_mutex_unlock(&k->mu);
	if (watch > 0)
		k->host->unwatch(k->in, watch);
	streams_drop(k, t->log);
	t->log = NULL;
	if (mine)
		task_unref(t);
}

int task_need(struct kata *k, const char *id, struct task **ret, crio_err *err)
{
	*ret = task_get(k, id);
	if (!*ret)
		return k->host->fail(err, CRIO_E_NOT_FOUND, "container '%s' is not one of runtime handler '%s'",
				     str0(id), k->host->instance_name(k->in));
	return 0;
}

int task_call(struct task *t, crio_call *call, const char *method, struct reply *ret, crio_err *err)
{
	struct pb q = {0};

	pb_str(&q, 1, t->id);
	return ttrpc_call(t->k, call, t->address, method, &q, ret, err);
}

void task_address_from_bundle(struct task *t)
{
	auto_free char *path = fmt("%s/address", t->bundle);
	char *text = path ? file_read(path, 512, NULL) : NULL;

	if (!text)
		return;
	tidy(text);
	free(t->address);
	t->address = text;
}

/* ---- fifos: <root>/crio/fifo/<id>/[<exec>-]<stream> */

char *task_fifo(struct kata *k, const char *id, const char *exec_id, const char *stream)
{
	return fmt("%s/%s/%s%s%s", k->fifo_root, id, exec_id, *exec_id ? "-" : "", stream);
}

static int make_dirs(const char *path)
{
	auto_free char *p = strdup(path);

	if (!p)
		return -ENOMEM;
	for (char *s = p + 1;; s++) {
		char c = *s;

		if (c && c != '/')
			continue;
		*s = 0;
		if (mkdir(p, 0711) && errno != EEXIST)
			return -errno;
		*s = c;
		if (!c)
			return 0;
	}
}

int task_fifos_make(struct task *t, bool with_stdin, crio_err *err)
{
	static const char *const names[] = {"stdout", "stderr", "stdin"};
	struct kata *k = t->k;
	auto_free char *dir = fmt("%s/%s", k->fifo_root, t->id);
	int r = dir ? make_dirs(dir) : -ENOMEM;

	for (size_t i = 0; r >= 0 && i < N_ELEMENTS(names); i++) {
		auto_free char *p = task_fifo(k, t->id, "", names[i]);

		if ((i == 1 && t->terminal) || (i == 2 && !with_stdin))
			continue;
		(void)(p && unlink(p));
		if (!p || mkfifo(p, 0600))
			r = p ? -errno : -ENOMEM;
	}
	return r < 0 ? k->host->fail(err, CRIO_E_IO, "fifos in %s: %s", str0(dir), strerror(-r)) : 0;
}

/* Opens what there is for reading, and stdin so that it does not end. */
int task_fifos_open(struct task *t, crio_err *err)
{
	static const char *const names[] = {"stdout", "stderr"};
	struct kata *k = t->k;
	auto_free char *in = task_fifo(k, t->id, "", "stdin"), *shim_log = fmt("%s/log", t->bundle);
	int fd, r;

	t->log = log_open(t->log_path, t->log_size_max);
	if (!t->log)
		return k->host->fail(err, CRIO_E_IO, "open log %s: %s", t->log_path, strerror(errno));
	for (size_t i = 0; i < N_ELEMENTS(names); i++) {
		auto_free char *p = task_fifo(k, t->id, "", names[i]);

		fd = p ? open(p, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW) : -1;
		if (fd < 0)
			continue;
		r = streams_add(k, fd, names[i], t->log, err);
		if (r < 0)
			return r;
	}
	fd = shim_log ? open(shim_log, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd >= 0 && (r = streams_add(k, fd, NULL, t->log, err)) < 0)
		return r;
	t->stdin_fd = in ? open(in, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW) : -1;
	return 0;
}

void task_fifos_remove(struct kata *k, const char *id)
{
	static const char *const names[] = {"stdout", "stderr", "stdin"};
	auto_free char *dir = fmt("%s/%s", k->fifo_root, id);

	for (size_t i = 0; i < N_ELEMENTS(names); i++) {
		auto_free char *p = task_fifo(k, id, "", names[i]);

		if (p)
			(void)unlink(p);
	}
	if (dir)
		(void)rmdir(dir);
}

/* ---- exits */

int64_t timestamp_ns(const uint8_t *p, size_t n, unsigned field)
{
	const uint8_t *m = NULL;
	size_t len = 0;
	int64_t s, ns;

	if (!pb_get_bytes(p, n, field, &m, &len))
		return 0;
	s = (int64_t)pb_get_uint(m, len, 1);
	ns = (int64_t)pb_get_uint(m, len, 2);
	if (s <= 0 || s > 9000000000ll || ns < 0 || ns >= NSEC_PER_SEC)
		return 0;
	return s * NSEC_PER_SEC + ns;
}

bool task_exited(struct task *t)
{
	bool yes;

	pthread_mutex_lock(&t->k->mu);
	yes = t->exited;
	pthread_mutex_unlock(&t->k->mu);
	return yes;
}

void task_set_exit(struct task *t, int code, int64_t when_ns, bool emit)
{
	struct crio_event_exit e = {.size = sizeof(e), .id = t->id, .exit_code = code, .time_ns = when_ns};
	bool first;

	pthread_mutex_lock(&t->k->mu);
	first = !t->exited;
	if (first) {
		t->exited = true;
		t->code = code;
		t->finished_ns = when_ns;
	}
	pthread_mutex_unlock(&t->k->mu);
	if (first && emit)
		(void)t->k->host->emit(t->k->in, CRIO_EVENT_EXIT, &e);
}

/* The answer to Wait, or the end of its connection: then the shim has died. */
static int on_wait(void *arg, int fd, uint32_t events)
{
	struct task *t = arg;
	struct kata *k = t->k;
	struct crio_event_exit e = {.size = sizeof(e), .id = t->id, .time_ns = real_ns()};
	int r = ttrpc_take(k, fd, &t->wait_reply, NULL);

	(void)events;
	if (!r)
		return 0;
	if (r == 1) {
		int64_t when = timestamp_ns(t->wait_reply.p, t->wait_reply.n, 2);
		uint64_t code = pb_get_uint(t->wait_reply.p, t->wait_reply.n, 1);

		task_set_exit(t, code <= 255 ? (int)code : -1, when ? when : real_ns(), true);
		return 1;
	}
	pthread_mutex_lock(&k->mu);
	t->shim_died = true;
	pthread_mutex_unlock(&k->mu);
	if (t->pid && proc_is(t->pid, t->start))
		(void)k->host->emit(k->in, CRIO_EVENT_MONITOR_DIED, &e);
	else
		task_set_exit(t, -1, real_ns(), true);
	return 1;
}

int task_watch(struct task *t, crio_call *call, crio_err *err)
{
	struct kata *k = t->k;
	struct pb q = {0};
	int r;

	pb_str(&q, 1, t->id);
	t->wait_fd = ttrpc_send(k, call, t->address, "Wait", &q, err);
	if (t->wait_fd < 0)
		return k->host->wrap(err, "wait for container '%s'", t->id);
	pthread_mutex_lock(&k->mu);
	r = t->wait_watch = k->host->watch_fd(k->in, t->wait_fd, EPOLLIN, on_wait, t, err);
	pthread_mutex_unlock(&k->mu);
	return r < 0 ? k->host->wrap(err, "wait for container '%s'", t->id) : 0;
}

/* ---- records: what a restarted daemon cannot tell us */

int task_record(struct task *t, crio_call *call, crio_err *err)
{
	auto_free char *text = fmt(RECORD_VERSION "\n%s\n%s\n%s\n%lld\n%d %d %llu %d %llu\n", t->address, t->bundle,
				   t->log_path, (long long)t->log_size_max, t->terminal, (int)t->pid,
				   (unsigned long long)t->start, (int)t->shim_pid, (unsigned long long)t->shim_start);
	struct crio_bytes b = {text, text ? strlen(text) : 0};

	if (!text)
		return t->k->host->fail(err, CRIO_E_NOMEM, "record container '%s': no memory", t->id);
	return t->k->host->state_put(t->k->in, call, t->id, b, CRIO_STATE_RUN, err);
}

struct task *task_from_record(struct kata *k, crio_call *call, const char *id)
{
	auto_free char *text = NULL;
	struct crio_bytes b = {NULL, 0};
	unsigned long long start, shim_start;
	int terminal, pid, shim_pid;
	char *field[6], *save;
	int64_t size_max;
	struct task *t;

	if (k->host->state_get(k->in, call, id, &b, NULL) < 0 || !b.n || b.n > 65536)
		return NULL;
	text = strndup(b.p, b.n);
	save = text;
	for (size_t i = 0; i < N_ELEMENTS(field); i++) {
		field[i] = save ? strsep(&save, "\n") : NULL;
		if (!field[i])
			return NULL;
	}
	if (strcmp(field[0], RECORD_VERSION) != 0 || !path_is_good(field[2]) ||
	    (*field[3] && !path_is_good(field[3])) || !parse_i64(field[4], INT64_MIN, INT64_MAX, &size_max) ||
	    sscanf(field[5], "%d %d %llu %d %llu", &terminal, &pid, &start, &shim_pid, &shim_start) != 5)
		return NULL;
	t = task_new(k, id, field[2], field[3]);
	if (!t)
		return NULL;
	free(t->address);
	t->address = strdup(field[1]);
	t->log_size_max = size_max;
	t->terminal = terminal;
	t->pid = pid;
	t->start = start;
	t->shim_pid = shim_pid;
	t->shim_start = shim_start;
	if (!t->address) {
		task_unref(t);
		return NULL;
	}
	return t;
}
