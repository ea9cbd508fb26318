/*
 * process.c: processes that are started in containers, by ExecSync and by streams. The runtime plugin has the process; here are its
 * record among those of its container, its end, and who sees to it when its caller has gone.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define CONFIG_MAX (4u << 20)
#define KILL_NS (2 * SEC) /* with a caller who waits for it */
#define KILL_LATER_NS (20 * SEC) /* nobody does: a runtime that is slow gets half of it to say what it has started */
#define COLLECT_NS (10 * SEC)

struct process {
	_Atomic int refs;
	struct container *c;
	struct process *next;   /* of c->processes, guarded by c->lock; a reference is not counted: unref takes it out */
	char *exec_id;          /* the runtime's; never changes */
	int end_fd;             /* readable once it has ended: the runtime's, or waiter's */
	struct waiter *waiter;  /* NULL: the runtime gave a descriptor */
};

/* For runtimes that cannot say by a descriptor that the process has ended: a thread waits. Shared by that thread and the process. */
struct waiter {
	_Atomic int refs;
	struct container *c;
	crio_call *call;      /* detached: the process must be reaped even when its client has gone */
	char *exec_id;
	int done_fd;          /* readable once the rest is set */
	_Atomic bool done;    /* likewise: orders the rest before who reads it */
	int result;
	crio_err err;
	int32_t exit_code;
	char *message;        /* why it was not started; NULL otherwise */
};

static void waiter_unref(struct waiter *w)
{
	if (!w || atomic_fetch_sub(&w->refs, 1) > 1)
		return;
	container_unref(w->c);
	call_unref(w->call);
	free(w->exec_id);
	(void)safe_close(w->done_fd);
	err_clear(&w->err);
	free(w->message);
	free(w);
}

static int collect(struct container *c, crio_call *call, const char *exec_id, int32_t *ret_code, char **ret_why, crio_err *err)
{
	struct crio_runtime_exec_ref ref = { .size = sizeof(ref), .id = c->id, .exec_id = exec_id };
	struct crio_runtime_exec_exit e = { .size = sizeof(e) };
	int r = plugin_runtime_exec_wait(c->pod->runtime, call, &ref, &e, err);
	if (r < 0)
		return r;
	*ret_code = e.exit_code;
	*ret_why = e.not_started ? strdup(e.message ? e.message : "") : NULL;
	return 0;
}

static void wait_job(void *arg)
{
	struct waiter *w = arg;
	w->result = collect(w->c, w->call, w->exec_id, &w->exit_code, &w->message, &w->err);
	atomic_store(&w->done, true);
	(void)eventfd_write(w->done_fd, 1);
	waiter_unref(w);
}

static int waiter_start(struct container *c, crio_call *call, const char *exec_id, struct waiter **ret, crio_err *err)
{
	struct waiter *w = calloc(1, sizeof(*w));
	if (!w)
		return err_nomem(err);
	w->refs = 1;
	w->c = container_ref(c);
	w->call = call_detached(call, 0);
	w->exec_id = strdup(exec_id);
	w->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = 0;
	if (!w->call || !w->exec_id)
		r = err_nomem(err);
	else if (w->done_fd < 0)
		r = err_errno(err, errno, "make an eventfd");
	if (r == 0) {
		atomic_fetch_add(&w->refs, 1);
		r = workers_run(c->lc->workers, WORK_WAIT, wait_job, w, err);
		if (r < 0)
			waiter_unref(w);
	}
	if (r < 0) {
		waiter_unref(w);
		return r;
	}
	*ret = w;
	return 0;
}

static void kill_exec(struct container *c, crio_call *like, const char *exec_id, int64_t ns)
{
	cleanup_call crio_call *call = like ? call_detached(like, ns) : call_new("EndExec", now_mono_ns() + ns);
	if (!call)
		return;
	cleanup_err crio_err why = ERR_INIT;
	struct crio_runtime_exec_ref ref = { .size = sizeof(ref), .signal = SIGKILL, .id = c->id, .exec_id = exec_id };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	if (plugin_runtime_exec_kill(c->pod->runtime, call, &ref, &o, &why) < 0)
		log_warn("End exec in container %s: %s", c->id, err_text(&why));
}

/* With the lock: may something be started in it? */
static int may_exec(const struct container *c, crio_err *err)
{
	if (c->state != CONTAINER_RUNNING && c->state != CONTAINER_CREATED)
		return err_set(err, CRIO_E_PRECONDITION, "container is not created or running: nothing can be started in container %s", c->id);
	if (c->killing)
		return err_set(err, CRIO_E_PRECONDITION, "container %s is being killed: nothing is started in it any more", c->id);
	return 0;
}

int container_may_exec(struct container *c, crio_err *err)
{
	(void)pthread_mutex_lock(&c->lock);
	int r = may_exec(c, err);
	(void)pthread_mutex_unlock(&c->lock);
	if (r == 0 && !c->pod->runtime)
		r = err_set(err, CRIO_E_PRECONDITION, "the runtime plugin of container %s is not there: put its file back", c->id);
	return r;
}

/* Known to container_end_execs() from here on; PRECONDITION when its container has ended meanwhile. */
static int track(struct process *p, crio_err *err)
{
	struct container *c = p->c;
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	int r = may_exec(c, err);
	if (r < 0)
		return r;
	p->next = c->processes;
	c->processes = p;
	return 0;
}

static void untrack(struct process *p)
{
	struct container *c = p->c;
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	for (struct process **at = &c->processes; *at; at = &(*at)->next) {
		if (*at != p)
			continue;
		*at = p->next;
		return;
	}
}

void container_end_execs(struct container *c, crio_call *like)
{
	CLEANUP(strv_release) struct strv ids = { 0 };
	(void)pthread_mutex_lock(&c->lock);
	for (const struct process *p = c->processes; p; p = p->next)
		if (strv_add(&ids, p->exec_id) < 0)
			break; /* its caller's time-out is left */
	(void)pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; i < ids.n; i++) {
		log_debug("End exec %s: container %s has ended", ids.v[i], c->id);
		kill_exec(c, like, ids.v[i], KILL_NS);
	}
}

void process_unref(struct process *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) > 1)
		return;
	untrack(p);
	if (!p->waiter)
		(void)safe_close(p->end_fd);
	waiter_unref(p->waiter);
	free(p->exec_id);
	container_unref(p->c);
	free(p);
}

struct process *process_ref(struct process *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

/* The container's own process object with another command line. */
static int process_json(struct container *c, const struct strv *cmd, bool tty, char **ret, crio_err *err)
{
	cleanup_free char *path = path_fmt("%s/config.json", c->dir);
	if (!path)
		return err_nomem(err);
	cleanup_json struct json_object *spec = NULL;
	int r = json_read_file(-1, path, CONFIG_MAX, &spec, err);
	if (r < 0)
		return r;
	struct json_object *p = json_obj(spec, "process");
	if (!p)
		return err_set(err, CRIO_E_CORRUPT, "%s has no process", path);
	if (json_set(p, "args", json_from_strv(cmd)) < 0 || json_set_bool(p, "terminal", tty) < 0)
		return err_nomem(err);
	json_object_object_del(p, "consoleSize");
	*ret = json_text(p);
	return *ret ? 0 : err_nomem(err);
}

/* It runs: from here on what fails ends it again. */
static int adopt(struct process *p, crio_call *call, const struct crio_runtime_exec_out *out, crio_err *err)
{
	p->end_fd = out->exit_fd;
	p->exec_id = strdup(out->exec_id);
	int r = p->exec_id ? track(p, err) : err_nomem(err);
	if (r == 0 && p->end_fd < 0) {
		r = waiter_start(p->c, call, p->exec_id, &p->waiter, err);
		if (r == 0)
			p->end_fd = p->waiter->done_fd;
	}
	if (r < 0 && p->exec_id)
		process_abandon(p, call);
	else if (r < 0)
		kill_exec(p->c, call, out->exec_id, KILL_NS);
	return r;
}

/* monitor_exec_cgroup "container": what runs an exec, here the runtime, is in the container's group. As with CRI-O only where the pods' own
 * processes are kept to CPUs of theirs, which those of execs would else share. */
static int exec_cgroup(const struct container *c, struct strv *ret, crio_err *err)
{
	const struct conf *conf = c->lc->conf;
	const struct conf_runtime *h = conf_runtime(conf, c->pod->handler);
	cleanup_free char *path = NULL;
	if (!h || !str_eq(h->monitor_exec_cgroup, "container") || !*conf->runtime.infra_ctr_cpuset)
		return 0;
	int r = cgroup_fs_path(c->lc->systemd, c->pod->cgroup_parent, c->id, &path, err);
	return r < 0 ? r : cgroup_procs_files(path, ret, err);
}

int process_start_in(struct container *c, crio_call *call, const struct process_args *args, struct process **ret, int *ret_tty,
		     crio_err *err)
{
	int r = container_may_exec(c, err);
	if (r < 0)
		return r;
	cleanup_free char *json = NULL;
	r = process_json(c, args->cmd, args->tty, &json, err);
	if (r < 0)
		return r;
	cleanup_strv struct strv procs = STRV_INIT;
	r = exec_cgroup(c, &procs, err);
	if (r < 0)
		return r;
	CLEANUP(process_unrefp) struct process *p = calloc(1, sizeof(*p));
	if (!p)
		return err_nomem(err);
	p->refs = 1;
	p->end_fd = -1;
	p->c = container_ref(c);
	struct crio_runtime_exec_args a = { .size = sizeof(a),
					    .id = c->id,
					    .tty = args->tty,
					    .process_json = json,
					    .cgroup_procs = strv_view(&procs),
					    .stdin_fd = args->in,
					    .stdout_fd = args->out,
					    .stderr_fd = args->err };
	struct crio_runtime_exec_out out = { .size = sizeof(out), .tty_fd = -1, .exit_fd = -1 };
	r = plugin_runtime_exec_start(c->pod->runtime, call, &a, &out, err);
	if (r < 0)
		return r;
	cleanup_close int tty = out.tty_fd;
	r = adopt(p, call, &out, err);
	if (r == 0 && args->tty && tty < 0) {
		process_abandon(p, call);
		r = err_set(err, CRIO_E_INTERNAL, "exec in container %s: the runtime plugin gave no terminal", c->id);
	}
	if (r < 0)
		return r;
	if (args->tty)
		*ret_tty = move_fd(tty);
	*ret = move_ptr(p);
	return 0;
}

int process_start(struct lifecycle *lc, crio_call *call, const char *id, const struct process_args *args, struct process **ret,
		  int *ret_tty, crio_err *err)
{
	if (args->cmd->n == 0)
		return err_set(err, CRIO_E_INVALID, "exec command cannot be empty");
	cleanup_container struct container *c = NULL;
	int r = registry_container(lc, id, &c, err);
	if (r == 0)
		r = process_start_in(c, call, args, ret, ret_tty, err);
	return r < 0 ? err_wrap(err, "exec in container %s", id) : 0;
}

int process_fd(const struct process *p)
{
	return p->end_fd;
}

int process_end(struct process *p, crio_call *call, int32_t *ret_code, char **ret_why, crio_err *err)
{
	struct waiter *w = p->waiter;
	if (!w) {
		/* The caller may be at its end: the process is reaped all the same. */
		cleanup_call crio_call *own = call_detached(call, COLLECT_NS);
		return own ? collect(p->c, own, p->exec_id, ret_code, ret_why, err) : err_nomem(err);
	}
	if (!atomic_load(&w->done))
		return err_set(err, CRIO_E_INTERNAL, "exec in container %s: its end was not seen", p->c->id);
	if (w->result < 0)
		return err_move(err, &w->err);
	*ret_code = w->exit_code;
	*ret_why = move_ptr(w->message);
	return 0;
}

int process_resize(struct process *p, crio_call *call, uint16_t width, uint16_t height, crio_err *err)
{
	struct crio_runtime_exec_ref ref = { .size = sizeof(ref), .id = p->c->id, .exec_id = p->exec_id, .height = height, .width = width };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	return plugin_runtime_exec_resize(p->c->pod->runtime, call, &ref, &o, err);
}

void process_abandon(struct process *p, crio_call *like)
{
	kill_exec(p->c, like, p->exec_id, like ? KILL_NS : KILL_LATER_NS);
	if (p->waiter)
		return; /* which reaps it */
	struct waiter *w = NULL;
	cleanup_err crio_err why = ERR_INIT;
	cleanup_call crio_call *call = like ? call_ref(like) : call_new("EndExec", CALL_NO_DEADLINE);
	if (call && waiter_start(p->c, call, p->exec_id, &w, &why) == 0) {
		waiter_unref(w);
		return;
	}
	/* No thread for it: here, then, and not for long. */
	int32_t code;
	cleanup_free char *text = NULL;
	cleanup_call crio_call *own = call_new("EndExec", now_mono_ns() + SEC);
	if (!own || collect(p->c, own, p->exec_id, &code, &text, &why) < 0)
		log_warn("End exec in container %s: %s", p->c->id, err_text(&why));
}
