/* The operations of the OCI plugins that are one call of the runtime, and the instance. */
#include "oci.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

static bool has_exited(struct ctr *c)
{
	return watch_look(c, true);
}

static int need(struct oci *o, const char *id, struct ctr **ret, crio_err *err)
{
	*ret = ctr_get(o, id);
	if (!*ret)
		return o->host->fail(err, CRIO_E_NOT_FOUND, "container '%s' is not one of runtime handler '%s'",
				     str0(id), o->host->instance_name(o->in));
	return 0;
}

static int simple(struct oci *o, crio_call *call, const char *what, const char *id, crio_err *err)
{
	struct run_args a = {.what = what};
	int r;

	list_add(&a.argv, what);
	list_add(&a.argv, id);
	r = run(o, call, &a, NULL, err);
	list_release(&a.argv);
	return r;
}

/* True: created and not yet started. Only for runtimes that show it by their fifo. */
static bool fifo_there(struct oci *o, const char *id)
{
	auto_free char *p = fmt("%s/%s/exec.fifo", o->root, id);

	return p && !access(p, F_OK);
}

static uint32_t status_of(const char *word)
{
	static const struct {
		const char *word;
		uint32_t status;
	} all[] = {{"creating", CRIO_CONTAINER_CREATED},
		   {"created", CRIO_CONTAINER_CREATED},
		   {"running", CRIO_CONTAINER_RUNNING},
		   {"paused", CRIO_CONTAINER_PAUSED},
		   {"stopped", CRIO_CONTAINER_STOPPED}};

	for (size_t i = 0; word && i < N_ELEMENTS(all); i++) {
		if (!strcmp(all[i].word, word))
			return all[i].status;
	}
	return CRIO_CONTAINER_UNKNOWN;
}

/* The runtime's own word. */
static int ask_state(struct oci *o, crio_call *call, struct ctr *c, struct crio_runtime_state_out *out, crio_err *err)
{
	struct run_args a = {.what = "state"};
	struct crio_bytes text = {NULL, 0};
	auto_free char *word = NULL;
	int64_t pid;
	int r;

	list_add(&a.argv, "state");
	list_add(&a.argv, c->id);
	r = run(o, call, &a, &text, err);
	list_release(&a.argv);
	if (r < 0)
		return o->host->wrap(err, "state of container '%s'", c->id);
	word = text.p ? json_find_str(text.p, "status") : NULL;
	out->status = status_of(word);
	if (out->status == CRIO_CONTAINER_UNKNOWN)
		return o->host->fail(err, CRIO_E_CORRUPT,
				     "state of container '%s': %s answered without a status it could have", c->id,
				     o->path);
	out->pid = json_find_int(text.p, "pid", &pid) && pid > 0 && pid <= INT32_MAX ? (int32_t)pid : c->pid;
	return 0;
}

static int op_start(void *self, crio_call *call, const struct crio_runtime_id_args *args,
		    struct crio_runtime_no_out *out, crio_err *err)
{
	struct oci *o = self;
	auto_ctr struct ctr *c = NULL;
	struct crio_runtime_state_out now = {.size = sizeof(now)};
	crio_err *why;
	int r = need(o, args->id, &c, err);

	(void)out;
	if (r < 0)
		return r;
	if (has_exited(c))
		return o->host->fail(err, CRIO_E_PRECONDITION, "start container '%s': it has already ended", c->id);
	if (o->profile->fifo_state && run_knows(o, c->id) && !fifo_there(o, c->id))
		return o->host->fail(err, CRIO_E_PRECONDITION, "start container '%s': it is already running", c->id);
	why = o->host->err_new();
	r = simple(o, call, "start", c->id, why);
	if (r < 0 && !o->profile->fifo_state && ask_state(o, call, c, &now, NULL) == 0 &&
	    now.status == CRIO_CONTAINER_RUNNING) {
		o->host->err_free(why);
		return o->host->fail(err, CRIO_E_PRECONDITION, "start container '%s': it is already running", c->id);
	}
	if (r < 0) {
		(void)err_give(o->host, why, err, r);
		return o->host->wrap(err, "start container '%s'", c->id);
	}
	o->host->err_free(why);
	return 0;
}

static int op_kill(void *self, crio_call *call, const struct crio_runtime_kill_args *args,
		   struct crio_runtime_no_out *out, crio_err *err)
{
	struct oci *o = self;
	auto_ctr struct ctr *c = ctr_get(o, args->id);
	auto_close int fd = -1;
	int r;

	(void)call;
	(void)out;
	if (args->signal < 0 || args->signal > SIGRTMAX)
		return o->host->fail(err, CRIO_E_INVALID, "kill container '%s': bad signal %d", str0(args->id),
				     args->signal);
	if (!c)
		return 0;
	if (args->signal == SIGKILL) {
		pthread_mutex_lock(&o->mu);
		c->killed = true;
		pthread_mutex_unlock(&o->mu);
	}
	if (args->all && c->cgroup)
		(void)cgroups_signal(&o->cgroups, c->cgroup, args->signal);
	if (has_exited(c))
		return 0;
	fd = proc_open(c->pid, c->start);
	if (fd < 0 || (args->all && c->cgroup && args->signal != SIGKILL))
		return 0;
	r = sys_pidfd_signal(fd, args->signal);
	if (r < 0 && r != -ESRCH)
		return o->host->fail(err, CRIO_E_IO, "kill container '%s' (pid %d, signal %d): %s", c->id, (int)c->pid,
				     args->signal, strerror(-r));
	/* a paused container dies only once it is thawed */
	if (args->signal == SIGKILL && c->cgroup && cgroups_frozen(&o->cgroups, c->cgroup))
		cgroups_thaw(&o->cgroups, c->cgroup);
	return 0;
}

static int op_del(void *self, crio_call *call, const struct crio_runtime_id_args *args, struct crio_runtime_no_out *out,
		  crio_err *err)
{
	struct oci *o = self;
	auto_ctr struct ctr *c = NULL;
	struct run_args a = {.what = "delete"};
	bool strangers = false;
	int r = 0;

	(void)out;
	if (!id_is_good(args->id))
		return o->host->fail(err, CRIO_E_INVALID, "delete container: bad id '%.140s'", str0(args->id));
	c = ctr_get(o, args->id);
	if (c && !args->force && !has_exited(c) && proc_is(c->pid, c->start) &&
	    !(o->profile->fifo_state && fifo_there(o, c->id)))
		return o->host->fail(err, CRIO_E_PRECONDITION,
				     "delete container '%s': it is still running; stop it first", c->id);
	if (!c) {
		c = ctr_from_record(o, call, args->id);
		strangers = c != NULL;
		if (strangers)
			conmon_end_strangers(c);
	}
	if (run_knows(o, args->id)) {
		crio_err *why = o->host->err_new();

		list_add(&a.argv, "delete");
		list_add(&a.argv, "-f");
		list_add(&a.argv, args->id);
		r = run(o, call, &a, NULL, why);
		list_release(&a.argv);
		/* a runtime that was killed half-way leaves a record that it cannot read itself */
		if (r < 0 && strangers)
			run_forget(o, args->id);
		if (r < 0 && run_knows(o, args->id)) {
			(void)err_give(o->host, why, err, r);
			return o->host->wrap(err, "delete container '%s'", args->id);
		}
		o->host->err_free(why);
	}
	if (!c) /* or its record could not be read */
		return o->host->state_del(o->in, call, args->id, err);
	ctr_drop(c);
	if (c->cgroup)
		(void)cgroups_remove(&o->cgroups, c->cgroup, 2 * NSEC_PER_SEC);
	conmon_remove(c);
	return o->host->state_del(o->in, call, c->id, err);
}

static void fill_stopped(struct ctr *c, struct crio_runtime_state_out *out)
{
	pthread_mutex_lock(&c->o->mu);
	out->status = CRIO_CONTAINER_STOPPED;
	out->pid = 0;
	out->exit_code = c->exited ? c->code : -1;
	out->finished_ns = c->exited ? c->finished_ns : 0;
	out->oom = c->oom;
	pthread_mutex_unlock(&c->o->mu);
}

static int state_of(struct oci *o, crio_call *call, struct ctr *c, struct crio_runtime_state_out *out, crio_err *err)
{
	crio_err *why;
	int r;

	out->exit_code = -1;
	if (has_exited(c)) {
		fill_stopped(c, out);
		return 0;
	}
	if (!proc_is(c->pid, c->start)) {
		/* ended a moment ago: its monitor is about to say how, and the event will */
		fill_stopped(c, out);
		return 0;
	}
	out->pid = c->pid;
	if (o->profile->fifo_state && c->cgroup) {
		/* no process needed: its state directory and its freezer say it all */
		out->status = fifo_there(o, c->id)		       ? CRIO_CONTAINER_CREATED
			      : cgroups_frozen(&o->cgroups, c->cgroup) ? CRIO_CONTAINER_PAUSED
								       : CRIO_CONTAINER_RUNNING;
		return 0;
	}
	why = o->host->err_new();
	r = ask_state(o, call, c, out, why);
	if (r < 0 && !has_exited(c))
		return err_give(o->host, why, err, r);
	o->host->err_free(why);
	if (r < 0)
		fill_stopped(c, out);
	return 0;
}

static int op_state(void *self, crio_call *call, const struct crio_runtime_id_args *args,
		    struct crio_runtime_state_out *out, crio_err *err)
{
	auto_ctr struct ctr *c = NULL;
	int r = need(self, args->id, &c, err);

	return r < 0 ? r : state_of(self, call, c, out, err);
}

/* Takes the container's cgroup from its process, or from its specification when that has gone. */
static void find_cgroup(struct ctr *c)
{
	auto_free char *cgroup = proc_is(c->pid, c->start) ? cgroups_of(&c->o->cgroups, c->pid) : NULL;

	if (!cgroup) {
		auto_free char *path = fmt("%s/config.json", c->bundle);
		auto_free char *spec = path ? file_read(path, 16u << 20, NULL) : NULL;

		cgroup = spec ? json_find_str(spec, "linux.cgroupsPath") : NULL;
	}
	if (cgroup && *cgroup == '/' && strstr(cgroup, c->id)) {
		c->cgroup = cgroup;
		cgroup = NULL;
		ctr_know_group(c);
	}
}

/* The conmon cgroup is where the monitor is, when that is one of its own. */
static void find_monitor_cgroup(struct oci *o, crio_call *call, struct ctr *c)
{
	auto_free char *cgroup =
	    proc_is(c->monitor_pid, c->monitor_start) ? cgroups_of(&o->cgroups, c->monitor_pid) : NULL;
	auto_free char *name = fmt("/crio-conmon-%s", c->id);
	auto_ctr struct ctr *old = ctr_from_record(o, call, c->id);
	/* With a monitor that has gone and no record: beside the container's own, where CRI-O puts it. */
	const char *slash = c->cgroup ? strrchr(c->cgroup, '/') : NULL;
	auto_free char *beside = slash && name ? fmt("%.*s%s", (int)(slash - c->cgroup), c->cgroup, name) : NULL;
	const char *found = cgroup && name && strstr(cgroup, name) ? cgroup
			    : old					 ? old->monitor_cgroup
			    : !cgroup && beside			 ? beside
								 : "";
	char *copy = strdup(strstr(found, ".scope") ? "" : found);

	if (copy) {
		free(c->monitor_cgroup);
		c->monitor_cgroup = copy;
	}
}

/* Versions of CRI-O that do not record the monitor left its pid file: it is the one when its command line says so. */
static void find_monitor(struct ctr *c)
{
	pid_t pid;

	if (c->monitor_pid > 0 || read_pidfile(c, "conmon-pidfile", &pid) < 0 || !is_conmon_of(pid, c->id) ||
	    !proc_start_time(pid, &c->monitor_start))
		return;
	c->monitor_pid = pid;
}

/* It runs, and nobody reads what it says or would learn of its end. */
static void report_monitor(struct ctr *c)
{
	struct crio_event_exit e = {.size = sizeof(e), .id = c->id, .time_ns = real_ns()};

	if (c->monitor_pid > 0 && c->monitor_died && proc_is(c->pid, c->start))
		(void)c->o->host->emit(c->o->in, CRIO_EVENT_MONITOR_DIED, &e);
}

static int op_reconnect(void *self, crio_call *call, const struct crio_runtime_reconnect_args *args,
			struct crio_runtime_state_out *out, crio_err *err)
{
	struct oci *o = self;
	auto_ctr struct ctr *c = NULL;
	int r;

	if (!id_is_good(args->id) || !path_is_good(args->exit_dir))
		return o->host->fail(err, CRIO_E_INVALID,
				     "reconnect to container '%.140s': bad id or exit directory '%s'", str0(args->id),
				     str0(args->exit_dir));
	c = ctr_get(o, args->id);
	if (c) /* done before */
		return state_of(o, call, c, out, err);
	c = ctr_new(o, args->id, args->bundle, args->persist_dir, args->exit_dir, args->attach_dir);
	if (!c)
		return o->host->fail(err, CRIO_E_NOMEM, "reconnect to container '%s': no memory", args->id);
	c->pid = args->pid;
	c->start = args->start_time ? args->start_time : UINT64_MAX;
	c->monitor_pid = args->monitor_pid;
	c->monitor_start = args->monitor_start_time ? args->monitor_start_time : UINT64_MAX;
	find_monitor(c);
	find_cgroup(c);
	find_monitor_cgroup(o, call, c);
	if (!ctr_add(c))
		return o->host->fail(err, CRIO_E_ABORTED, "reconnect to container '%s': done by another call",
				     args->id);
	/* an exit directory that is gone (a reboot) has nothing to tell; the processes are gone with it */
	(void)watch_exit_dir(o, c->exit_dir, NULL);
	if (watch_look(c, false)) {
		fill_stopped(c, out);
		return 0;
	}
	r = watch_arm(c, err);
	if (r < 0) {
		ctr_drop(c);
		return r;
	}
	/* it has ended and its monitor is about to say how */
	if (!proc_is(c->pid, c->start) && c->monitor_fd >= 0) {
		(void)fd_wait(c->monitor_fd, POLLIN, EXIT_GRACE_NS);
		if (watch_look(c, false)) {
			fill_stopped(c, out);
			return 0;
		}
	}
	if (!proc_is(c->pid, c->start) && !proc_is(c->monitor_pid, c->monitor_start)) {
		/* neither it nor anyone who would tell is left */
		(void)watch_look(c, false);
		fill_stopped(c, out);
		return 0;
	}
	report_monitor(c);
	return state_of(o, call, c, out, err);
}

static int op_update(void *self, crio_call *call, const struct crio_runtime_update_args *args,
		     struct crio_runtime_no_out *out, crio_err *err)
{
	struct oci *o = self;
	auto_ctr struct ctr *c = NULL;
	struct run_args a = {.what = "update", .input = args->resources_json};
	int r = need(o, args->id, &c, err);

	(void)out;
	if (r < 0)
		return r;
	if (!json_is_object(str0(args->resources_json)))
		return o->host->fail(err, CRIO_E_INVALID, "update container '%s': the resources are not a JSON object",
				     c->id);
	list_add(&a.argv, "update");
	list_add(&a.argv, "--resources");
	list_add(&a.argv, "-");
	list_add(&a.argv, c->id);
	r = run(o, call, &a, NULL, err);
	list_release(&a.argv);
	return r < 0 ? o->host->wrap(err, "update container '%s'", c->id) : 0;
}

static int freeze(struct oci *o, crio_call *call, const char *what, const char *id, bool frozen, crio_err *err)
{
	auto_ctr struct ctr *c = NULL;
	int r = need(o, id, &c, err);

	if (r < 0)
		return r;
	if (has_exited(c))
		return o->host->fail(err, CRIO_E_PRECONDITION, "%s container '%s': it has ended", what, c->id);
	if (c->cgroup && cgroups_frozen(&o->cgroups, c->cgroup) == frozen)
		return 0;
	r = simple(o, call, what, c->id, err);
	return r < 0 ? o->host->wrap(err, "%s container '%s'", what, c->id) : 0;
}

static int op_pause(void *self, crio_call *call, const struct crio_runtime_id_args *args,
		    struct crio_runtime_no_out *out, crio_err *err)
{
	(void)out;
	return freeze(self, call, "pause", args->id, true, err);
}

static int op_resume(void *self, crio_call *call, const struct crio_runtime_id_args *args,
		     struct crio_runtime_no_out *out, crio_err *err)
{
	(void)out;
	return freeze(self, call, "resume", args->id, false, err);
}

static int op_probe_monitor(void *self, crio_call *call, const struct crio_runtime_id_args *args,
			    struct crio_runtime_no_out *out, crio_err *err)
{
	struct oci *o = self;
	auto_ctr struct ctr *c = NULL;
	int r = need(o, args->id, &c, err);

	(void)call;
	(void)out;
	if (r < 0)
		return r;
	if (!has_exited(c) && !proc_is(c->monitor_pid, c->monitor_start))
		return o->host->fail(err, CRIO_E_UNAVAILABLE, "the monitor (conmon %d) of container '%s' has died",
				     (int)c->monitor_pid, c->id);
	return 0;
}

/* Asks once; a runtime without the command has "". */
static char *ask(struct oci *o, crio_call *call, const char *word)
{
	struct run_args a = {.what = word};
	struct crio_bytes text = {NULL, 0};
	int r;

	list_add(&a.argv, word);
	r = run(o, call, &a, &text, NULL);
	list_release(&a.argv);
	return strdup(r < 0 ? "" : str0(text.p));
}

static int op_features(void *self, crio_call *call, const struct crio_runtime_id_args *args,
		       struct crio_runtime_features_out *out, crio_err *err)
{
	struct oci *o = self;
	bool known;

	(void)args;
	pthread_mutex_lock(&o->mu);
	known = o->features && o->version;
	pthread_mutex_unlock(&o->mu);
	if (!known) {
		auto_free char *version = ask(o, call, "--version"), *features = ask(o, call, "features");

		if (o->host->cancelled(call))
			return o->host->fail(err, CRIO_E_DEADLINE, "features of %s: no answer in time", o->path);
		if (version)
			version[strcspn(version, "\n")] = 0;
		if (features && !json_is_object(features))
			*features = 0;
		pthread_mutex_lock(&o->mu);
		if (!o->features) {
			o->features = features;
			features = NULL;
		}
		if (!o->version) {
			o->version = version;
			version = NULL;
		}
		pthread_mutex_unlock(&o->mu);
	}
	/* written once, never replaced: readable without the mutex from here on */
	out->json = o->host->strdup(call, str0(o->features));
	out->version = o->host->strdup(call, str0(o->version));
	if (!out->json || !out->version)
		return o->host->fail(err, CRIO_E_NOMEM, "features of %s: no memory", o->path);
	return 0;
}

const struct crio_runtime_ops oci_ops = {
    .create = conmon_create,
    .start = op_start,
    .kill = op_kill,
    .del = op_del,
    .state = op_state,
    .reconnect = op_reconnect,
    .exec_start = exec_start,
    .exec_wait = exec_wait,
    .exec_kill = exec_kill,
    .exec_resize = exec_resize,
    .attach = attach,
    .resize = resize,
    .reopen_log = reopen_log,
    .update = op_update,
    .pause = op_pause,
    .resume = op_resume,
    .features = op_features,
    .probe_monitor = op_probe_monitor,
    .checkpoint = op_checkpoint,
    .restore = op_restore,
};

/* ---- the instance */

static char *choose_runtime(const struct oci_profile *profile, const struct crio_host *host, crio_instance *in)
{
	const char *path = str0(host->opt_str(in, "path"));

	if (*path)
		return strdup(path);
	path = profile->program ? profile->program : host->instance_name(in);
	char *found = find_program(path);
	return found ? found : strdup(path);
}

int oci_open(const struct oci_profile *profile, const struct crio_host *host, crio_instance *in, crio_call *call,
	     void **self, crio_err *err)
{
	struct oci *o = calloc(1, sizeof(*o));
	const char *root = str0(host->opt_str(in, "root")), *monitor = str0(host->opt_str(in, "monitor_path"));
	int r;

	(void)call;
	if (!o)
		return host->fail(err, CRIO_E_NOMEM, "no memory");
	(void)pthread_mutex_init(&o->mu, NULL);
	o->host = host;
	o->in = in;
	o->profile = profile;
	o->inotify = -1;
	o->path = choose_runtime(profile, host, in);
	o->root = strdup(*root ? root : "/run/crun");
	o->monitor = *monitor ? strdup(monitor) : find_program("conmon");
	if (!o->monitor)
		o->monitor = strdup("");
	cgroups_init(&o->cgroups);
	if (!o->path || !o->root || !o->monitor)
		r = host->fail(err, CRIO_E_NOMEM, "no memory");
	else if (!path_is_good(o->root))
		r = host->fail(err, CRIO_E_INVALID, "option root: '%s' is not an absolute path", o->root);
	else
		r = watch_open(o, err);
	if (r < 0) {
		oci_close(o);
		return r;
	}
	*self = o;
	return 0;
}

void oci_close(void *self)
{
	struct oci *o = self;

	watch_close(o);
	exec_close_all(o);
	for (size_t i = 0; i < N_ELEMENTS(o->ctrs); i++) {
		while (o->ctrs[i]) {
			struct ctr *c = o->ctrs[i];

			c->refs++;
			ctr_drop(c);
			ctr_unref(c);
		}
	}
	cgroups_release(&o->cgroups);
	pthread_mutex_destroy(&o->mu);
	free(o->path);
	free(o->root);
	free(o->monitor);
	free(o->features);
	free(o->version);
	free(o);
}

int oci_check(void *self, crio_call *call, crio_err *err)
{
	struct oci *o = self;

	(void)call;
	if (o->path[0] != '/')
		return o->host->fail(err, CRIO_E_NOT_FOUND,
				     "runtime '%s' not found in PATH: install it or set runtime_path", o->path);
	if (access(o->path, X_OK))
		return o->host->fail(err, CRIO_E_NOT_FOUND, "runtime %s cannot be run: %s", o->path, strerror(errno));
	if (!*o->monitor || access(o->monitor, X_OK))
		return o->host->fail(err, CRIO_E_NOT_FOUND, "conmon '%s' cannot be run: install it or set monitor_path",
				     *o->monitor ? o->monitor : "conmon");
	return 0;
}
