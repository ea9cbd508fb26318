/*
 * state.c: state.json, in CRI-O's form: <userdata>/state.json of a container, and of a pod. It is written once the object is
 * whole and at each change; an object without it was never finished. It must survive the daemon, not the machine: after a
 * power loss nothing of it is true any more, so there is no fsync.
 */
#include "core/lifecycle/inner.h"
#include "core/util/failpoint.h"
#include "core/util/fs.h"

#define STATE_MAX (256u << 10)
#define OCI_VERSION "1.0.2"

static int set_time(struct json_object *o, const char *key, int64_t ns)
{
	char text[40];
	if (ns <= 0)
		return json_set_str(o, key, "0001-01-01T00:00:00Z"); /* Go's zero time */
	time_format(ns, text);
	return json_set_str(o, key, text);
}

static int64_t get_time(const struct json_object *o, const char *key)
{
	int64_t ns;
	const char *s = json_str(o, key);
	return !str_starts(s, "0001-") && time_parse(s, &ns) ? ns : 0;
}

static int set_monitor(struct json_object *o, pid_t pid, uint64_t start)
{
	char text[24];
	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)start);
	struct json_object *m = json_need_obj(o, "containerMonitorProcess");
	return !m || json_set_int(m, "pid", pid) < 0 || json_set_str(m, "startTime", text) < 0 ? CRIO_E_NOMEM : 0;
}

static struct json_object *container_json(struct container *c)
{
	static const char *const words[] = { "created", "running", "stopped", "unknown" };
	char start[24];
	struct json_object *o = json_object_new_object();
	if (!o)
		return NULL;
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	(void)snprintf(start, sizeof(start), "%llu", (unsigned long long)c->start_time);
	int r = json_set_str(o, "ociVersion", OCI_VERSION);
	r = r < 0 ? r : json_set_str(o, "id", c->id);
	r = r < 0 ? r : json_set_str(o, "status", c->paused ? "paused" : words[c->state]);
	r = r < 0 ? r : json_set_int(o, "pid", c->pid);
	r = r < 0 ? r : json_set_str(o, "bundle", c->run_dir);
	r = r < 0 ? r : set_time(o, "created", c->created_ns);
	r = r < 0 ? r : set_time(o, "started", c->started_ns);
	r = r < 0 ? r : set_time(o, "finished", c->finished_ns);
	if (c->state == CONTAINER_EXITED)
		r = r < 0 ? r : json_set_int(o, "exitCode", c->exit_code);
	if (c->checkpointed_ns)
		r = r < 0 ? r : set_time(o, "checkpointedTime", c->checkpointed_ns);
	if (c->restore) /* the two are ours */
		r = r < 0 ? r : json_set_bool(o, "restore", true);
	if (c->restored)
		r = r < 0 ? r : json_set_bool(o, "restored", true);
	if (c->oom)
		r = r < 0 ? r : json_set_bool(o, "oomKilled", true);
	if (c->seccomp_killed)
		r = r < 0 ? r : json_set_bool(o, "seccompKilled", true);
	if (*c->message)
		r = r < 0 ? r : json_set_str(o, "error", c->message);
	r = r < 0 ? r : json_set_int(o, "initPid", c->pid);
	r = r < 0 ? r : json_set_str(o, "initStartTime", start);
	if (c->monitor_pid)
		r = r < 0 ? r : set_monitor(o, c->monitor_pid, c->monitor_start_time);
	if (r < 0) {
		(void)json_object_put(o);
		return NULL;
	}
	return o;
}

static int write_text(const char *dir, const char *file, const char *text, crio_err *err)
{
	cleanup_free char *path = path_fmt("%s/%s", dir, file);
	return path ? fs_write_path(path, text, strlen(text), 0600, FS_RUN, err) : err_nomem(err);
}

int config_write(const char *dir, const char *run_dir, const struct json_object *spec, crio_err *err)
{
	cleanup_free char *text = json_text(spec);
	if (!text)
		return err_nomem(err);
	int r = FAILPOINT("lifecycle.config", err);
	r = r < 0 ? r : write_text(dir, "config.json", text, err);
	r = r < 0 ? r : FAILPOINT("lifecycle.config.kept", err);
	r = r < 0 ? r : write_text(run_dir, "config.json", text, err);
	return r < 0 ? r : FAILPOINT("lifecycle.config.done", err);
}

static int write_state(const char *dir, const struct json_object *o, crio_err *err)
{
	cleanup_free char *text = json_text(o);
	return text ? write_text(dir, "state.json", text, err) : err_nomem(err);
}

int container_write_state(struct container *c, crio_err *err)
{
	if (c->is_infra && !atomic_load(&c->pod->whole))
		return 0;
	cleanup_json struct json_object *o = container_json(c);
	if (!o)
		return err_nomem(err);
	int r = FAILPOINT("container.state", err);
	r = r < 0 ? r : write_state(c->dir, o, err);
	r = r < 0 ? r : FAILPOINT("container.state.done", err);
	return r < 0 ? err_wrap(err, "record state of container %s", c->id) : 0;
}

static int read_state(const char *dir, struct json_object **ret, crio_err *err)
{
	cleanup_free char *path = path_fmt("%s/state.json", dir);
	return path ? json_read_file(-1, path, STATE_MAX, ret, err) : err_nomem(err);
}

int container_read_state(struct container *c, crio_err *err)
{
	cleanup_json struct json_object *o = NULL;
	int r = read_state(c->dir, &o, err);
	if (r < 0)
		return r;
	const char *status = json_str(o, "status");
	c->restore = json_flag(o, "restore", false);
	c->restored = json_flag(o, "restored", false);
	c->checkpointed_ns = get_time(o, "checkpointedTime");
	c->made = !c->restore;
	c->paused = str_eq(status, "paused");
	c->state = str_eq(status, "created")   ? CONTAINER_CREATED :
		   str_eq(status, "running")   ? CONTAINER_RUNNING :
		   str_eq(status, "paused")    ? CONTAINER_RUNNING :
		   str_eq(status, "stopped")   ? CONTAINER_EXITED :
						 CONTAINER_UNKNOWN;
	int64_t created = get_time(o, "created");
	if (created)
		c->created_ns = created;
	c->started_ns = get_time(o, "started");
	c->finished_ns = get_time(o, "finished");
	c->exit_code = (int32_t)json_int(o, "exitCode", c->state == CONTAINER_EXITED ? 0 : -1);
	c->oom = json_flag(o, "oomKilled", false);
	c->seccomp_killed = json_flag(o, "seccompKilled", false);
	c->pid = (pid_t)json_int(o, "initPid", json_int(o, "pid", 0));
	(void)str_to_u64(json_str(o, "initStartTime"), UINT64_MAX, &c->start_time);
	struct json_object *m = json_obj(o, "containerMonitorProcess");
	c->monitor_pid = (pid_t)json_int(m, "pid", 0);
	(void)str_to_u64(json_str(m, "startTime"), UINT64_MAX, &c->monitor_start_time);
	return config_set_str(&c->message, json_str(o, "error")) < 0 ? err_nomem(err) : 0;
}

static int write_marks(const char *dir, bool stopped, bool net_stopped, crio_err *err)
{
	const struct {
		const char *name;
		bool on;
	} marks[] = { { "stopped", stopped }, { "network-stopped", net_stopped } }; /* CRI-O's */
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(marks); i++) {
		cleanup_free char *path = path_fmt("%s/%s", dir, marks[i].name);
		if (!path)
			return err_nomem(err);
		if (marks[i].on)
			r = fs_write_path(path, "", 0, 0600, FS_RUN, err);
		r = r < 0 ? r : FAILPOINT("pod.state.mark", err);
	}
	return r;
}

/* CRI-O keeps the state of a pod without an infra container in the run directory, and looks for it there. Ours is beside
 * config.json: a reboot takes the other away, and a pod without state was never whole. */
static int write_for_crio(const struct pod *p, const struct json_object *o, bool stopped, bool net_stopped, crio_err *err)
{
	int r = p->infra ? 0 : write_state(p->run_dir, o, err);
	return r < 0 || p->infra ? r : write_marks(p->run_dir, stopped, net_stopped, err);
}

/* A pod's: its infra container's state, with whether it was stopped. A spoofed pod has one all the same. */
int pod_write_state(struct pod *p, crio_err *err)
{
	cleanup_json struct json_object *o = p->infra ? container_json(p->infra) : json_object_new_object();
	if (!o)
		return err_nomem(err);
	(void)pthread_mutex_lock(&p->lock);
	bool stopped = p->stopped, net = p->network_up;
	(void)pthread_mutex_unlock(&p->lock);
	int r = 0;
	if (!p->infra) {
		r = json_set_str(o, "ociVersion", OCI_VERSION);
		r = r < 0 ? r : json_set_str(o, "id", p->id);
		r = r < 0 ? r : json_set_str(o, "status", stopped ? "stopped" : "running");
		r = r < 0 ? r : set_time(o, "created", p->created_ns);
		r = r < 0 ? r : set_time(o, "started", p->created_ns);
	}
	if (r < 0)
		return err_nomem(err);
	bool net_stopped = !net && !p->host_network;
	r = FAILPOINT("pod.state", err);
	r = r < 0 ? r : write_for_crio(p, o, stopped, net_stopped, err);
	r = r < 0 ? r : write_state(p->dir, o, err);
	r = r < 0 ? r : FAILPOINT("pod.state.done", err);
	r = r < 0 ? r : write_marks(p->dir, stopped, net_stopped, err);
	return r < 0 ? err_wrap(err, "record state of pod sandbox %s", p->id) : 0;
}

/* Either daemon may have left it. Negative without memory. */
static int has_mark(const struct pod *p, const char *name)
{
	cleanup_free char *kept = path_fmt("%s/%s", p->dir, name), *run = path_fmt("%s/%s", p->run_dir, name);
	return kept && run ? access(kept, F_OK) == 0 || access(run, F_OK) == 0 : CRIO_E_NOMEM;
}

int pod_read_state(struct pod *p, crio_err *err)
{
	cleanup_json struct json_object *o = NULL;
	int r = read_state(p->dir, &o, err);
	if (r == CRIO_E_NOT_FOUND) { /* a pod of CRI-O's without an infra container */
		if (err)
			err_clear(err);
		r = read_state(p->run_dir, &o, err);
	}
	if (r < 0)
		return r;
	int stopped = has_mark(p, "stopped"), net_stopped = has_mark(p, "network-stopped");
	if (stopped < 0 || net_stopped < 0)
		return err_nomem(err);
	atomic_store(&p->whole, true);
	p->stopped = stopped;
	p->network_up = !p->host_network && !net_stopped;
	return 0;
}
