/* kata: the runtime of type vm, any containerd shim v2. The operations. */
#include "plugins/runtime/kata/kata.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>

#define RESOURCES_TYPE "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"

/* containerd.v1.types.Status */
enum { SHIM_CREATED = 1, SHIM_RUNNING = 2, SHIM_STOPPED = 3, SHIM_PAUSED = 4, SHIM_PAUSING = 5 };

static int start(struct task *t, crio_call *call, crio_err *err)
{
	struct kata *k = t->k;
	int r;

	if (task_exited(t))
		return k->host->fail(err, CRIO_E_PRECONDITION, "start container '%s': it has already ended", t->id);
	pthread_mutex_lock(&k->mu);
	r = t->started;
	t->started = true;
	pthread_mutex_unlock(&k->mu);
	if (r)
		return k->host->fail(err, CRIO_E_PRECONDITION, "start container '%s': it was started already", t->id);
	r = task_call(t, call, "Start", NULL, err);
	if (r < 0) {
		pthread_mutex_lock(&k->mu);
		t->started = false;
		pthread_mutex_unlock(&k->mu);
		return k->host->wrap(err, "start container '%s'", t->id);
	}
	return 0;
}

static int op_start(void *self, crio_call *call, const struct crio_runtime_id_args *args,
		    struct crio_runtime_no_out *out, crio_err *err)
{
	auto_task struct task *t = NULL;
	int r = task_need(self, args->id, &t, err);

	(void)out;
	return r < 0 ? r : start(t, call, err);
}

static int op_del(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_no_out *out,
		  crio_err *err)
{
	struct kata *k = self;
	auto_task struct task *t = NULL;
	int r;

	(void)out;
	if (!id_is_good(args->id))
		return k->host->fail(err, CRIO_E_INVALID, "delete container: bad id '%.140s'", str0(args->id));
	r = making_settle(k, call, args->id, err);
	if (r < 0)
		return k->host->wrap(err, "delete container '%s'", args->id);
	t = task_get(k, args->id);
	if (t && !args->force && !task_exited(t) && t->started)
		return k->host->fail(err, CRIO_E_PRECONDITION,
				     "delete container '%s': it is still running; stop it first", t->id);
	if (!t)
		t = task_from_record(k, call, args->id);
	if (!t)
		return 0;
	task_undo(t, call);
	return 0;
}

/* ---- control */

static int op_kill(void *self, crio_call *call, const struct crio_runtime_kill_args *args,
		   struct crio_runtime_no_out *out, crio_err *err)
{
	struct kata *k = self;
	auto_task struct task *t = task_get(k, args->id);
	struct pb q = {0};
	crio_err *why;
	int r;

	(void)out;
	if (args->signal < 0 || args->signal > SIGRTMAX)
		return k->host->fail(err, CRIO_E_INVALID, "kill container '%s': bad signal %d", str0(args->id),
				     args->signal);
	if (!t || task_exited(t))
		return 0;
	pb_str(&q, 1, t->id);
	pb_uint(&q, 3, (uint64_t)args->signal);
	pb_uint(&q, 4, args->all ? 1 : 0);
	why = k->host->err_new();
	r = ttrpc_call(k, call, t->address, "Kill", &q, NULL, why);
	if (r == CRIO_E_UNAVAILABLE && t->pid && proc_is(t->pid, t->start)) {
		/* without its shim it is a process like others */
		auto_close int fd = proc_open(t->pid, t->start);

		if (fd >= 0 && sys_pidfd_signal(fd, args->signal) == 0) {
			if (args->signal == SIGKILL && fd_wait(fd, 1 /* POLLIN */, NSEC_PER_SEC))
				task_set_exit(t, -1, real_ns(), true);
			r = 0;
		}
	}
	if (r >= 0 || r == CRIO_E_NOT_FOUND || task_exited(t)) {
		k->host->err_free(why);
		return 0;
	}
	(void)err_give(k->host, why, err, r);
	return k->host->wrap(err, "kill container '%s'", t->id);
}

static void fill_stopped(struct task *t, struct crio_runtime_state_out *out)
{
	pthread_mutex_lock(&t->k->mu);
	out->status = CRIO_CONTAINER_STOPPED;
	out->pid = 0;
	out->exit_code = t->exited ? t->code : -1;
	out->finished_ns = t->finished_ns;
	pthread_mutex_unlock(&t->k->mu);
}

static int state_of(struct task *t, crio_call *call, struct crio_runtime_state_out *out, bool emit, crio_err *err)
{
	auto_reply struct reply r = {0};
	struct kata *k = t->k;
	crio_err *why;
	uint64_t code;
	int e;

	out->exit_code = -1;
	if (!task_exited(t)) {
		why = k->host->err_new();
		e = task_call(t, call, "State", &r, why);
		if (e < 0 && !task_exited(t)) {
			(void)err_give(k->host, why, err, e);
			return k->host->wrap(err, "state of container '%s'", t->id);
		}
		k->host->err_free(why);
		switch (e < 0 ? SHIM_STOPPED : pb_get_uint(r.p, r.n, 4)) {
		case SHIM_CREATED:
			out->status = CRIO_CONTAINER_CREATED;
			break;
		case SHIM_RUNNING:
			out->status = CRIO_CONTAINER_RUNNING;
			break;
		case SHIM_PAUSED:
		case SHIM_PAUSING:
			out->status = CRIO_CONTAINER_PAUSED;
			break;
		case SHIM_STOPPED:
			code = pb_get_uint(r.p, r.n, 9);
			task_set_exit(t, code <= 255 ? (int)code : -1, timestamp_ns(r.p, r.n, 10), emit);
			fill_stopped(t, out);
			return 0;
		default:
			return k->host->fail(err, CRIO_E_CORRUPT,
					     "state of container '%s': the shim named none it could have", t->id);
		}
		out->pid = (int32_t)pb_get_uint(r.p, r.n, 3);
		return 0;
	}
	fill_stopped(t, out);
	return 0;
}

static int op_state(void *self, crio_call *call, const struct crio_runtime_id_args *args,
		    struct crio_runtime_state_out *out, crio_err *err)
{
	auto_task struct task *t = NULL;
	int r = task_need(self, args->id, &t, err);

	return r < 0 ? r : state_of(t, call, out, true, err);
}

/* A container that an earlier daemon made and we have no record of: its bundle says where its shim is. */
static struct task *task_from_bundle(struct kata *k, const struct crio_runtime_reconnect_args *a)
{
	struct task *t = path_is_good(a->bundle) ? task_new(k, a->id, a->bundle, "") : NULL;

	if (t)
		task_address_from_bundle(t);
	return t;
}

static int op_reconnect(void *self, crio_call *call, const struct crio_runtime_reconnect_args *args,
			struct crio_runtime_state_out *out, crio_err *err)
{
	struct kata *k = self;
	auto_task struct task *t = NULL;
	int r;

	if (!id_is_good(args->id))
		return k->host->fail(err, CRIO_E_INVALID, "reconnect to container '%.140s': bad id", str0(args->id));
	t = task_get(k, args->id);
	if (t)
		return state_of(t, call, out, true, err);
	t = task_from_record(k, call, args->id);
	if (!t)
		t = task_from_bundle(k, args);
	if (!t)
		return k->host->fail(err, CRIO_E_NOT_FOUND, "reconnect to container '%s': nothing is known of its shim",
				     args->id);
	t->pid = args->pid;
	t->start = args->start_time ? args->start_time : UINT64_MAX;
	t->shim_pid = args->monitor_pid;
	t->shim_start = args->monitor_start_time;
	if (!task_add(t))
		return k->host->fail(err, CRIO_E_ABORTED, "reconnect to container '%s': done by another call",
				     args->id);
	r = task_fifos_open(t, err);
	if (r >= 0) {
		crio_err *why = k->host->err_new();

		r = state_of(t, call, out, false, why);
		if (r < 0 && r != CRIO_E_UNAVAILABLE && r != CRIO_E_NOT_FOUND)
			r = err_give(k->host, why, err, r);
		else
			k->host->err_free(why);
		if (r == CRIO_E_UNAVAILABLE || r == CRIO_E_NOT_FOUND) {
			/* no shim, or one that does not know it: without a process it has ended, nobody knows how */
			t->shim_died = true;
			if (t->pid && proc_is(t->pid, t->start)) {
				out->status = CRIO_CONTAINER_RUNNING;
				out->pid = t->pid;
				return 0;
			}
			task_set_exit(t, -1, 0, false);
			fill_stopped(t, out);
			return 0;
		}
	}
	if (r >= 0 && out->status != CRIO_CONTAINER_STOPPED) {
		pthread_mutex_lock(&k->mu);
		t->started = out->status != CRIO_CONTAINER_CREATED;
		pthread_mutex_unlock(&k->mu);
		r = task_watch(t, call, err);
	}
	if (r < 0)
		task_drop(t);
	return r;
}

static int op_update(void *self, crio_call *call, const struct crio_runtime_update_args *args,
		     struct crio_runtime_no_out *out, crio_err *err)
{
	struct kata *k = self;
	auto_task struct task *t = NULL;
	struct pb q = {0}, any = {0};
	int r = task_need(k, args->id, &t, err);

	(void)out;
	if (r < 0)
		return r;
	if (!json_is_object(str0(args->resources_json)))
		return k->host->fail(err, CRIO_E_INVALID, "update container '%s': the resources are not a JSON object",
				     t->id);
	pb_str(&q, 1, t->id);
	pb_str(&any, 1, RESOURCES_TYPE);
	pb_str(&any, 2, args->resources_json);
	pb_msg(&q, 2, &any);
	r = ttrpc_call(k, call, t->address, "Update", &q, NULL, err);
	return r < 0 ? k->host->wrap(err, "update container '%s'", t->id) : 0;
}

static int simple(struct kata *k, crio_call *call, const char *id, const char *method, crio_err *err)
{
	auto_task struct task *t = NULL;
	int r = task_need(k, id, &t, err);

	if (r < 0)
		return r;
	if (task_exited(t))
		return k->host->fail(err, CRIO_E_PRECONDITION, "%s container '%s': it has ended", method, t->id);
	r = task_call(t, call, method, NULL, err);
	return r < 0 ? k->host->wrap(err, "container '%s'", t->id) : 0;
}

static int op_pause(void *self, crio_call *call, const struct crio_runtime_id_args *args,
		    struct crio_runtime_no_out *out, crio_err *err)
{
	(void)out;
	return simple(self, call, args->id, "Pause", err);
}

static int op_resume(void *self, crio_call *call, const struct crio_runtime_id_args *args,
		     struct crio_runtime_no_out *out, crio_err *err)
{
	(void)out;
	return simple(self, call, args->id, "Resume", err);
}

static int op_resize(void *self, crio_call *call, const struct crio_runtime_resize_args *args,
		     struct crio_runtime_no_out *out, crio_err *err)
{
	struct kata *k = self;
	auto_task struct task *t = NULL;
	struct pb q = {0};
	int r = task_need(k, args->id, &t, err);

	(void)out;
	if (r < 0)
		return r;
	pb_str(&q, 1, t->id);
	pb_uint(&q, 3, args->width);
	pb_uint(&q, 4, args->height);
	return ttrpc_call(k, call, t->address, "ResizePty", &q, NULL, err);
}

static int op_reopen_log(void *self, crio_call *call, const struct crio_runtime_id_args *args,
			 struct crio_runtime_no_out *out, crio_err *err)
{
	struct kata *k = self;
	auto_task struct task *t = NULL;
	int r = task_need(k, args->id, &t, err);

	(void)call;
	(void)out;
	if (r < 0)
		return r;
	if (task_exited(t) || !t->log)
		return k->host->fail(err, CRIO_E_PRECONDITION, "reopen the log: container '%s' is not running", t->id);
	r = log_reopen(t->log);
	return r < 0 ? k->host->fail(err, CRIO_E_IO, "reopen log %s: %s", t->log_path, strerror(-r)) : 0;
}

static int op_features(void *self, crio_call *call, const struct crio_runtime_id_args *args,
		       struct crio_runtime_features_out *out, crio_err *err)
{
	struct kata *k = self;
	auto_free char *version = NULL;
	int r = shim_version(k, call, &version, err);

	(void)args;
	if (r < 0)
		return r;
	out->json = k->host->strdup(call, "");
	out->version = k->host->strdup(call, version);
	return out->json && out->version ? 0 : k->host->fail(err, CRIO_E_NOMEM, "no memory");
}

static int op_probe_monitor(void *self, crio_call *call, const struct crio_runtime_id_args *args,
			    struct crio_runtime_no_out *out, crio_err *err)
{
	struct kata *k = self;
	auto_task struct task *t = NULL;
	int r = task_need(k, args->id, &t, err);

	(void)call;
	(void)out;
	if (r < 0)
		return r;
	pthread_mutex_lock(&k->mu);
	r = t->shim_died && !t->exited;
	pthread_mutex_unlock(&k->mu);
	return r ? k->host->fail(err, CRIO_E_UNAVAILABLE, "the shim (pid %d) of container '%s' has died",
				 (int)t->shim_pid, t->id)
		 : 0;
}

/* ---- the instance */

static void kata_close(void *self)
{
	struct kata *k = self;

	kata_exec_close_all(k);
	makings_end(k);
	while (k->tasks) {
		struct task *t = k->tasks;

		t->refs++;
		task_drop(t);
		task_unref(t);
	}
	streams_close(k);
	close_fd(k->closing_fd);
	pthread_mutex_destroy(&k->mu);
	free(k->path);
	free(k->fifo_root);
	free(k->version);
	free(k);
}

static int kata_open(const struct crio_host *host, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	struct kata *k = calloc(1, sizeof(*k));
	const char *path = str0(host->opt_str(in, "path")), *root = str0(host->opt_str(in, "root"));
	int r;

	(void)call;
	if (!k)
		return host->fail(err, CRIO_E_NOMEM, "no memory");
	(void)pthread_mutex_init(&k->mu, NULL);
	k->host = host;
	k->closing_fd = eventfd(0, EFD_CLOEXEC);
	k->in = in;
	k->path = find_program(path);
	if (!k->path)
		k->path = strdup(path);
	k->fifo_root = fmt("%s/crio/fifo", *root ? root : "/run");
	if (k->closing_fd < 0)
		r = host->fail(err, CRIO_E_EXHAUSTED, "eventfd: %s", strerror(errno));
	else if (!k->path || !k->fifo_root)
		r = host->fail(err, CRIO_E_NOMEM, "no memory");
	else if (!path_is_good(k->fifo_root))
		r = host->fail(err, CRIO_E_INVALID, "option root: '%s' is not an absolute path", root);
	else
		r = streams_open(k, err);
	if (r < 0) {
		kata_close(k);
		return r;
	}
	*self = k;
	return 0;
}

/* ^containerd-shim-[a-zA-Z0-9+-]+$ */
static bool name_is_good(const char *path)
{
	static const char prefix[] = "containerd-shim-";
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	if (strncmp(base, prefix, sizeof(prefix) - 1) != 0)
		return false;
	base += sizeof(prefix) - 1;
	return *base &&
	       strspn(base, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-") == strlen(base);
}

static int kata_check(void *self, crio_call *call, crio_err *err)
{
	struct kata *k = self;
	const char *config = str0(k->host->opt_str(k->in, "config_path"));

	(void)call;
	if (!name_is_good(k->path))
		return k->host->fail(
		    err, CRIO_E_INVALID,
		    "runtime_path '%s': a runtime of type vm is named containerd-shim-NAME (letters, digits, + and -)",
		    k->path);
	if (access(k->path, X_OK) || k->path[0] != '/')
		return k->host->fail(err, CRIO_E_NOT_FOUND, "shim '%s' cannot be run: install it or set runtime_path",
				     k->path);
	if (*config && access(config, R_OK))
		return k->host->fail(err, CRIO_E_NOT_FOUND, "runtime_config_path %s: %s", config, strerror(errno));
	return 0;
}

static const struct crio_runtime_ops ops = {
    .create = kata_create,
    .start = op_start,
    .kill = op_kill,
    .del = op_del,
    .state = op_state,
    .reconnect = op_reconnect,
    .exec_start = kata_exec_start,
    .exec_wait = kata_exec_wait,
    .exec_kill = kata_exec_kill,
    .exec_resize = kata_exec_resize,
    .resize = op_resize,
    .reopen_log = op_reopen_log,
    .update = op_update,
    .pause = op_pause,
    .resume = op_resume,
    .features = op_features,
    .probe_monitor = op_probe_monitor,
};

#define OPT(type_, name_, dflt_, help_, min_, max_)                                                                    \
	{                                                                                                              \
		.size = sizeof(struct crio_option), .type = (type_), .name = (name_), .dflt = (dflt_),                 \
		.help = (help_), .min = (min_), .max = (max_)                                                          \
	}
static const struct crio_option options[] = {
    OPT(CRIO_OPT_STR, "path", "containerd-shim-kata-v2", "shim program; a bare name is looked up in PATH", 0, 0),
    OPT(CRIO_OPT_STR, "root", "", "directory for the fifos, as <root>/crio/fifo; empty: /run", 0, 0),
    OPT(CRIO_OPT_STR, "config_path", "", "configuration file given to the shim", 0, 0),
    OPT(CRIO_OPT_MS, "create_timeout", "240s", "longest time for creating a container", 1, 3600000),
};

static const struct crio_plugin plugin = {
    CRIO_PLUGIN_HEAD(CRIO_KIND_RUNTIME, CRIO_THREADS_PARALLEL, ops),
    .caps = CRIO_RUNTIME_CAP_EXEC_TTY | CRIO_RUNTIME_CAP_UPDATE | CRIO_RUNTIME_CAP_PAUSE | CRIO_RUNTIME_CAP_HOST_NETNS,
    .name = "kata",
    .version = VERSION,
    .summary = "runtimes of type vm: any containerd shim v2, such as Kata Containers",
    .options = options,
    .options_n = N_ELEMENTS(options),
    .open = kata_open,
    .close = kata_close,
    .check = kata_check,
};

CRIO_PLUGIN_REGISTER(kata, plugin)
