/* container_run.c: StartContainer, StopContainer, RemoveContainer, UpdateContainerResources, ReopenContainerLog. */
#include <signal.h>

#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/cgroup_stats.h"
#include "core/lifecycle/checkpoint.h"
#include "core/lifecycle/hooks.h"
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/meter.h"

#define KILL_FIRST_NS (20 * 1000000LL)  /* back-off between KILLs: 20 ms, doubling */
#define LOG_WAIT_NS (2 * SEC)
#define KILL_MAX_NS (2 * 60 * SEC)
#define BLOCKED_NS SEC                  /* what has not died after this is looked at */

static int begin(struct container *c, const char *what, crio_call *call, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	return job_begin(&c->job, &c->lock, &c->changed, what, call, err);
}

static void end(struct container *c)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	job_end(&c->job, &c->changed);
}

static const char *state_word(enum container_state s)
{
	static const char *const w[] = { "created", "running", "stopped", "unknown" };
	return w[(unsigned)s < 4 ? s : 3];
}

static int no_runtime(const struct container *c, crio_err *err)
{
	return err_set(err, CRIO_E_PRECONDITION, "the runtime plugin of container %s is not there (%s): put its file back and start crio again", c->id,
		       c->pod->plugins);
}

/* ---- start ---- */

int container_do_start(struct container *c, crio_call *call, crio_err *err)
{
	if (!c->pod->runtime)
		return no_runtime(c, err);
	struct crio_runtime_id_args a = { .size = sizeof(a), .id = c->id };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	crio_err why = ERR_INIT;
	int r = hooks_container(c, call, CRIO_HOOK_CTR_START, &why);
	int64_t at = now_real_ns(); /* before: a short-lived process ends while start is still returning */
	(void)pthread_mutex_lock(&c->lock);
	bool restore = c->restore;
	(void)pthread_mutex_unlock(&c->lock);
	if (r == 0)
		r = restore ? container_do_restore(c, call, &why) : plugin_runtime_start(c->pod->runtime, call, &a, &o, &why);
	(void)pthread_mutex_lock(&c->lock);
	if (c->state != CONTAINER_EXITED)
		c->state = r < 0 ? c->state : CONTAINER_RUNNING;
	if (c->finished_ns && c->finished_ns < at)
		at = c->finished_ns; /* file times are of a coarser clock */
	if (r == 0)
		c->started_ns = c->started_ns ? c->started_ns : at;
	else
		(void)config_set_str(&c->message, err_text(&why));
	container_changed(c);
	(void)pthread_mutex_unlock(&c->lock);
	if (r < 0) {
		(void)err_move(err, &why);
		(void)err_wrap(err, "start container %s", c->id);
	}
	/* Whoever starts a container that ended at once still gets a recorded state. It runs also when that cannot be written: a
	 * restart asks its runtime. */
	cleanup_err crio_err ws = ERR_INIT;
	if (container_write_state(c, &ws) < 0)
		log_warn("Started container %s: %s", c->id, err_text(&ws));
	else if (restore && r == 0)
		checkpoint_forget(c);
	if (r == 0)
		(void)hooks_container(c, call, CRIO_HOOK_CTR_STARTED, NULL);
	return r;
}

/* With the job slot. */
static int remove_it(struct container *c, crio_call *call, crio_err *err)
{
	int r = container_do_stop(c, call, 0, err);
	if (r < 0)
		return r;
	(void)hooks_container(c, call, CRIO_HOOK_CTR_REMOVE, NULL);
	r = container_release_all(c, call, err);
	if (r < 0)
		return r;
	bool shown = registry_shows(c->lc, c->id);
	registry_del_container(c->lc, c);
	names_release(c->lc->names, c->name, c->id);
	meter_forget(METER_OOM_COUNT, c->name);
	log_info("Removed container %s: %s", c->id, c->name);
	if (shown)
		tell_container(c, EVENT_DELETED);
	return 0;
}

static void after_failed_start(struct container *c, crio_call *call, bool restore)
{
	cleanup_err crio_err why = ERR_INIT;
	/* A start that failed leaves nothing that could run later. Of a container that was to be restored nothing at all, as in
	 * CRI-O: there is no other way to start it. */
	int r = restore ? remove_it(c, call, &why) : container_do_stop(c, call, 0, &why);
	if (r < 0)
		log_warn("%s container %s after its failed start: %s", restore ? "Remove" : "Stop", c->id, err_text(&why));
}

int container_start(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	int r = registry_container(lc, id, &c, err);
	if (r == 0)
		r = begin(c, "start container", call, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&c->lock);
	enum container_state s = c->state;
	bool paused = c->paused, restore = c->restore;
	(void)pthread_mutex_unlock(&c->lock);
	if (s != CONTAINER_CREATED || paused) {
		r = err_set(err, CRIO_E_PRECONDITION, "container %s is not in created state: %s", c->id, paused ? "paused" : state_word(s));
	} else {
		cleanup_call crio_call *work = call_detached(call, CONTAINER_WORK_NS);
		r = work ? container_do_start(c, work, err) : err_nomem(err);
		if (r < 0 && work) {
			after_failed_start(c, work, restore);
		} else if (r == 0) {
			log_info("Started container %s: %s", c->id, c->name);
			tell_container(c, EVENT_STARTED);
		}
	}
	end(c);
	return r;
}

/* ---- stop ---- */

static int send_signal(struct container *c, crio_call *call, int sig, bool all, crio_err *err)
{
	if (!c->pod->runtime)
		return orphan_signal(c, sig, err);
	struct crio_runtime_kill_args a = { .size = sizeof(a), .signal = sig, .id = c->id, .all = all };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	return plugin_runtime_kill(c->pod->runtime, call, &a, &o, err);
}

/* Waits until it has exited or until_ns, which a later stop may bring nearer (c->stop_at). True: it has. */
static bool wait_exit(struct container *c, crio_call *call, int64_t until_ns, bool follow_stop_at)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	while (c->state != CONTAINER_EXITED) {
		int64_t until = follow_stop_at && c->stop_at < until_ns ? c->stop_at : until_ns;
		if (call_deadline(call) < until)
			until = call_deadline(call);
		if (now_mono_ns() >= until || call_over(call))
			return false;
		(void)cond_wait_until(&c->changed, &c->lock, until);
	}
	return true;
}

/* KILL until it is gone: the signal may meet a process that is just being made, and a task in D state dies when it can. */
static int kill_it(struct container *c, crio_call *call, crio_err *err)
{
	int64_t begun = now_mono_ns();
	(void)pthread_mutex_lock(&c->lock);
	c->killing = true;
	(void)pthread_mutex_unlock(&c->lock);
	for (int64_t pause = KILL_FIRST_NS;; pause = pause * 2 < KILL_MAX_NS ? pause * 2 : KILL_MAX_NS) {
		int r = send_signal(c, call, SIGKILL, c->config.sec.ns.pid == NS_NODE, err);
		if (r < 0)
			return r;
		if (wait_exit(c, call, now_mono_ns() + pause, false))
			return 0;
		char who[512] = "";
		if (pause >= BLOCKED_NS || call_over(call))
			container_blocked(c, who, sizeof(who));
		if (pause >= BLOCKED_NS && *who)
			log_error("Detected process (%s) blocked in uninterruptible sleep for more than %d seconds for container %s", who,
				  (int)((now_mono_ns() - begun) / SEC), c->id);
		r = call_check(call, "kill container", err);
		if (r < 0)
			return err_wrap(err, "container %s does not die of SIGKILL%s%s", c->id,
					*who ? "; in an uninterruptible wait: process " : "", who);
	}
}

static int end_unstarted(struct container *c, crio_err *err)
{
	container_exited(c, 128 + SIGKILL, 0, false);
	int r = container_write_state(c, err);
	tell_container(c, EVENT_STOPPED);
	return r;
}

/* A container that was created and never started has an init of the runtime that waits: it is killed, not asked. */
int container_do_stop(struct container *c, crio_call *call, int64_t grace_ns, crio_err *err)
{
	(void)pthread_mutex_lock(&c->lock);
	enum container_state s = c->state;
	bool other = c->stop_at != INT64_MAX, made = c->made, paused = c->paused, restore = c->restore && s != CONTAINER_EXITED;
	c->restore = c->restore && !restore;
	int64_t until = grace_ns > INT64_MAX - now_mono_ns() ? INT64_MAX - 1 : now_mono_ns() + grace_ns;
	if (other && until < c->stop_at) {
		c->stop_at = until; /* a shorter grace wins */
		(void)pthread_cond_broadcast(&c->changed);
	}
	if (!other && made && s != CONTAINER_EXITED)
		c->stop_at = until;
	(void)pthread_mutex_unlock(&c->lock);
	if (restore) /* its runtime does not know it: it ends as those do that were never started */
		return end_unstarted(c, err);
	if (s == CONTAINER_EXITED || !made)
		return 0;
	if (other) /* somebody is at it: wait with them */
		return wait_exit(c, call, INT64_MAX, false) ? 0 : call_check(call, "stop container", err);
	int r = 0;
	bool gone = false;
	crio_err why = ERR_INIT;
	/* A frozen process takes no signal. */
	if (paused && container_do_pause(c, call, false, &why) < 0)
		log_warn("Stop container %s: %s", c->id, err_text(&why));
	err_clear(&why);
	if (grace_ns > 0 && s == CONTAINER_RUNNING) {
		r = send_signal(c, call, c->stop_signal, false, err);
		gone = r == 0 && wait_exit(c, call, INT64_MAX - 1, true);
		if (r == 0 && !gone && !call_over(call))
			log_warn("Stopping container %s with stop signal(%d) timed out. Killing...", c->id, c->stop_signal);
	}
	if (r == 0 && !gone)
		r = kill_it(c, call, err);
	(void)pthread_mutex_lock(&c->lock);
	c->stop_at = INT64_MAX;
	c->killing = false; /* it has exited, or its KILL is for a later stop */
	(void)pthread_cond_broadcast(&c->changed);
	(void)pthread_mutex_unlock(&c->lock);
	if (r == 0)
		container_end_execs(c, call);
	if (r < 0)
		return err_wrap(err, "stop container %s", c->id);
	log_info("Stopped container %s: %s", c->id, c->name);
	(void)hooks_container(c, call, CRIO_HOOK_CTR_STOP, NULL);
	return 0;
}

/* Unknown is success: 1. */
static int find(struct lifecycle *lc, const char *id, struct container **ret, crio_err *err)
{
	int r = registry_container(lc, id, ret, err);
	if (r != CRIO_E_NOT_FOUND)
		return r;
	if (err)
		err_clear(err);
	return 1;
}

int container_stop(struct lifecycle *lc, crio_call *call, const char *id, int64_t timeout_s, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	int r = find(lc, id, &c, err);
	if (r != 0)
		return r < 0 ? r : 0;
	if (timeout_s < 0)
		timeout_s = 0;
	if (timeout_s > INT32_MAX)
		timeout_s = INT32_MAX;
	/* No job slot: a stop must get through while another is waiting out its grace. */
	r = container_do_stop(c, call, timeout_s * SEC, err);
	if (r < 0)
		return r;
	return c->pod->store ? store_unmount(c->pod->store, call, c->id, true, err) : 0;
}

/* ---- remove ---- */

int container_do_remove(struct container *c, crio_call *call, crio_err *err)
{
	int r = begin(c, "remove container", call, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&c->lock);
	bool removed = c->removed;
	(void)pthread_mutex_unlock(&c->lock);
	/* Nothing of it is touched when it cannot be removed. */
	if (!removed && !c->pod->runtime)
		r = no_runtime(c, err);
	else if (!removed)
		r = remove_it(c, call, err);
	end(c);
	return r;
}

int container_remove(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	int r = find(lc, id, &c, err);
	if (r != 0)
		return r < 0 ? r : 0;
	cleanup_call crio_call *work = call_detached(call, CLEANUP_NS);
	return work ? container_do_remove(c, work, err) : err_nomem(err);
}

int container_remove_parked(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err)
{
	cleanup_container struct container *c = registry_whole_container(lc, id);
	return c ? container_do_remove(c, call, err) : 0;
}

/* ---- update, log ---- */

/* A limit below what it uses would end it, or never take hold. */
static int check_memory(struct container *c, const struct resources *r, crio_err *err)
{
	cleanup_free char *path = NULL;
	struct cgroup_stats s;
	if (r->memory_limit <= 0 || cgroup_fs_path(c->lc->systemd, c->pod->cgroup_parent, c->id, &path, NULL) < 0 ||
	    cgroup_stats_read(path, CGROUP_BASIC, &s, NULL) < 0 || !s.has_memory || s.memory_usage <= (uint64_t)r->memory_limit)
		return 0;
	return err_set(err, CRIO_E_PRECONDITION, "memory validation failed: cannot decrease memory limit to %lld bytes: current usage is %llu bytes",
		       (long long)r->memory_limit, (unsigned long long)s.memory_usage);
}

static int read_spec(const struct container *c, struct json_object **ret, crio_err *err)
{
	cleanup_free char *path = path_fmt("%s/config.json", c->dir);
	return path ? json_read_file(-1, path, 4u << 20, ret, err) : err_nomem(err);
}

/* `spec` has the new resources; `json` tells the runtime of them. */
static int apply_update(struct container *c, crio_call *call, const struct json_object *spec, const char *json, crio_err *err)
{
	struct crio_runtime_update_args a = { .size = sizeof(a), .id = c->id, .resources_json = json };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	int e = plugin_runtime_update(c->pod->runtime, call, &a, &o, err);
	if (e < 0)
		return e;
	e = config_write(c->dir, c->run_dir, spec, err);
	cleanup_resources struct resources now = {0};
	if (spec_get_resources(spec, &now, NULL) == 0) {
		(void)pthread_mutex_lock(&c->lock);
		resources_release(&c->resources);
		c->resources = now;
		c->has_resources = true;
		container_changed(c);
		(void)pthread_mutex_unlock(&c->lock);
		memset(&now, 0, sizeof(now));
	}
	return e;
}

/* All resources in force but the devices, which no update changes. */
static char *all_resources(const struct json_object *spec)
{
	struct json_object *res = json_path(spec, "linux.resources");
	cleanup_json struct json_object *copy = NULL;
	if (!res || json_object_deep_copy(res, &copy, NULL) < 0)
		return NULL;
	json_object_object_del(copy, "devices");
	return json_text(copy);
}

static int do_update(struct container *c, crio_call *call, const void *resources, crio_err *err)
{
	const struct resources *r = resources;
	cleanup_json struct json_object *spec = NULL;
	const struct conf_runtime *h = conf_runtime(c->lc->conf, c->pod->handler);
	cleanup_free char *json = NULL;
	bool changed = false;
	int e = read_spec(c, &spec, err);
	if (e == 0)
		e = spec_update_resources(spec, r, h ? h->container_min_memory_bytes : 0, &json, err);
	if (e == 0)
		e = check_memory(c, r, err);
	if (e == 0)
		e = hooks_update(c, call, &spec, &changed, err);
	if (e < 0)
		return e;
	if (changed) {
		free(json);
		json = all_resources(spec);
		if (!json)
			return err_nomem(err);
	}
	return apply_update(c, call, spec, json, err);
}

static int need_live(struct container *c, bool created_too, const char *what, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	if (c->state == CONTAINER_RUNNING || (created_too && c->state == CONTAINER_CREATED))
		return 0;
	return err_set(err, CRIO_E_PRECONDITION, "%s: container %s is not running or created: %s", what, c->id, state_word(c->state));
}

static int merge_update(struct container *c, crio_call *call, const void *text, crio_err *err)
{
	const char *resources = text;
	cleanup_json struct json_object *spec = NULL, *patch = NULL;
	int r = json_parse(resources, strlen(resources), &patch, err);
	if (r == 0 && !json_object_is_type(patch, json_type_object))
		r = err_set(err, CRIO_E_INVALID, "the resources are no object");
	if (r == 0)
		r = read_spec(c, &spec, err);
	if (r < 0)
		return r;
	struct json_object *l = json_need_obj(spec, "linux"), *res = l ? json_need_obj(l, "resources") : NULL;
	if (!res || json_merge(&res, patch) < 0)
		return err_nomem(err);
	return apply_update(c, call, spec, resources, err);
}

/* Runs one of the two on a container that has not ended. *ret is the container (a reference) once its turn has come, also on failure. */
static int update(struct lifecycle *lc, crio_call *call, const char *id, const void *resources,
		  int (*fn)(struct container *c, crio_call *call, const void *resources, crio_err *err), struct container **ret, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	int r = registry_container(lc, id, &c, err);
	if (r == 0)
		r = begin(c, "update container", call, err);
	if (r < 0)
		return r;
	r = need_live(c, true, "update resources", err);
	if (r == 0)
		r = c->pod->runtime ? fn(c, call, resources, err) : no_runtime(c, err);
	end(c);
	*ret = c;
	c = NULL;
	return r;
}

int container_update(struct lifecycle *lc, crio_call *call, const char *id, const struct resources *res, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	int r = update(lc, call, id, res, do_update, &c, err);
	return r < 0 && c ? err_wrap(err, "update container %s", c->id) : r;
}

int container_update_json(struct lifecycle *lc, crio_call *call, const char *id, const char *resources, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	return update(lc, call, id, resources, merge_update, &c, err);
}

int container_reopen_log(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	int r = registry_container(lc, id, &c, err);
	if (r == 0)
		r = need_live(c, false, "reopen log", err);
	if (r < 0)
		return r;
	if (!c->pod->runtime)
		return no_runtime(c, err);
	struct crio_runtime_id_args a = { .size = sizeof(a), .id = c->id };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	r = plugin_runtime_reopen_log(c->pod->runtime, call, &a, &o, err);
	/* The monitor is only asked. Kubelet has moved the old file away and compresses it next: the answer means a new one is there. */
	int64_t until = now_mono_ns() + LOG_WAIT_NS;
	while (r == 0 && *c->log_path && access(c->log_path, F_OK) < 0 && now_mono_ns() < until && need_live(c, false, "", NULL) == 0)
		r = call_sleep(call, 2000000, err);
	return r;
}
