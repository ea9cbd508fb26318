/* runtime.c: runtimes: what is absent, and with a static busybox, real containers from create to delete. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "sdk/check/check.h"

#define CGROUP "/crio-check"

static struct crio_runtime_id_args id_args(const char *id)
{
	return (struct crio_runtime_id_args){ .size = sizeof(struct crio_runtime_id_args), .id = id, .force = 1 };
}

/* An operation with struct crio_runtime_id_args. */
#define ID_OP(op, out_t)                                                                                  \
	static int do_##op(struct check *c, crio_call *call, const char *id, crio_err *err)               \
	{                                                                                                 \
		struct crio_runtime_id_args a = id_args(id);                                              \
		struct crio_runtime_##out_t o = { .size = sizeof(o) };                                    \
		return plugin_runtime_##op(c->in, call, &a, &o, err);                                     \
	}
ID_OP(sandbox_stop, no_out)
ID_OP(start, no_out)
ID_OP(del, no_out)
ID_OP(state, state_out)
ID_OP(reopen_log, no_out)
ID_OP(pause, no_out)
ID_OP(resume, no_out)
ID_OP(stats, stats_out)
ID_OP(pids, pids_out)

static int do_features(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	(void)id;
	struct crio_runtime_id_args a = id_args("");
	struct crio_runtime_features_out o = { .size = sizeof(o) };
	return plugin_runtime_features(c->in, call, &a, &o, err);
}

static int kill_ctr(struct check *c, crio_call *call, const char *id, int sig, crio_err *err)
{
	struct crio_runtime_kill_args a = { .size = sizeof(a), .signal = sig, .id = id };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	return plugin_runtime_kill(c->in, call, &a, &o, err);
}

static int do_kill(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	return kill_ctr(c, call, id, SIGTERM, err);
}

static int do_exec_kill(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	struct crio_runtime_exec_ref a = { .size = sizeof(a), .signal = SIGKILL, .id = id, .exec_id = "none" };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	return plugin_runtime_exec_kill(c->in, call, &a, &o, err);
}

static int do_exec(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	struct crio_runtime_exec_args a = { .size = sizeof(a), .id = id, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1,
					    .process_json = "{\"terminal\":false,\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"/bin/true\"],"
							    "\"env\":[\"PATH=/bin\"],\"cwd\":\"/\"}" };
	struct crio_runtime_exec_out o = { .size = sizeof(o), .tty_fd = -1, .exit_fd = -1 };
	int r = plugin_runtime_exec_start(c->in, call, &a, &o, err);
	if (r < 0)
		return r;
	(void)safe_close(o.exit_fd);
	struct crio_runtime_exec_ref w = { .size = sizeof(w), .id = id, .exec_id = o.exec_id };
	struct crio_runtime_exec_exit e = { .size = sizeof(e) };
	r = plugin_runtime_exec_wait(c->in, call, &w, &e, err);
	if (r < 0) { /* the handle stays until it was waited for, which is the caller's to do */
		cleanup_call crio_call *own = check_call(30 * SEC);
		struct crio_runtime_exec_ref k = { .size = sizeof(k), .signal = SIGKILL, .id = id, .exec_id = o.exec_id };
		struct crio_runtime_no_out no = { .size = sizeof(no) };
		if (own) {
			(void)plugin_runtime_exec_kill(c->in, own, &k, &no, NULL);
			(void)plugin_runtime_exec_wait(c->in, own, &w, &e, NULL);
		}
		return r;
	}
	if (e.not_started)
		return err_set(err, CRIO_E_NOT_FOUND, "%s", e.message ? e.message : "it was not started");
	if (e.exit_code)
		return err_set(err, CRIO_E_INVALID, "true ended with %d", e.exit_code);
	return r;
}

static int do_update(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	struct crio_runtime_update_args a = { .size = sizeof(a), .id = id, .resources_json = "{\"cpu\":{\"shares\":512}}" };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	return plugin_runtime_update(c->in, call, &a, &o, err);
}

static int do_resize(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	struct crio_runtime_resize_args a = { .size = sizeof(a), .height = 24, .width = 80, .id = id };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	return plugin_runtime_resize(c->in, call, &a, &o, err);
}

/* ---- real containers ---- */

static const char spec_form[] =
	"{\"ociVersion\":\"1.0.2\",\"hostname\":\"check\",\"process\":{\"terminal\":false,\"user\":{\"uid\":0,\"gid\":0},"
	"\"args\":[\"/bin/busybox\",\"sleep\",\"600\"],\"env\":[\"PATH=/bin\"],\"cwd\":\"/\"},\"root\":{\"path\":\"rootfs\"},"
	"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"mode=755\"]}],"
	"\"annotations\":{\"io.kubernetes.cri.container-type\":\"%s\",\"io.kubernetes.cri.sandbox-id\":\"%s\"},"
	"\"linux\":{\"cgroupsPath\":\"" CGROUP "/crio-%s\",\"resources\":{},\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"},"
	"{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"network\"}]}}";

struct dirs {
	char sandbox[80]; /* the pod's id */
	char *pod_bundle; /* of runtimes that have a process for each pod */
	char *bundle, *persist, *exits, *attach, *log;
};

static void dirs_release(struct dirs *d)
{
	free(d->pod_bundle);
	free(d->bundle);
	free(d->persist);
	free(d->exits);
	free(d->attach);
	free(d->log);
}

static int dirs_of(struct check *c, const char *id, struct dirs *d, crio_err *err)
{
	(void)snprintf(d->sandbox, sizeof(d->sandbox), "f%.78s", id + 1);
	d->pod_bundle = path_fmt("%s/s-%s", c->tmp, id);
	d->bundle = path_fmt("%s/b-%s", c->tmp, id);
	d->persist = path_fmt("%s/p-%s", c->tmp, id);
	d->exits = path_fmt("%s/exits", c->tmp);
	d->attach = path_fmt("%s/attach", c->tmp);
	d->log = path_fmt("%s/l-%s.log", c->tmp, id);
	if (!d->pod_bundle || !d->bundle || !d->persist || !d->exits || !d->attach || !d->log)
		return err_nomem(err);
	int r = fs_mkdir_p(d->exits, 0755, err);
	r = r < 0 ? r : fs_mkdir_p(d->attach, 0755, err);
	return r < 0 ? r : fs_mkdir_p(d->persist, 0755, err);
}

static int bundle_make(struct check *c, const char *bundle, const char *id, const char *type, const char *sandbox, crio_err *err)
{
	static const char *const subdirs[] = { "bin", "proc", "dev" };
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(subdirs); i++) {
		cleanup_free char *p = path_fmt("%s/rootfs/%s", bundle, subdirs[i]);
		r = p ? fs_mkdir_p(p, 0755, err) : err_nomem(err);
	}
	cleanup_free char *text = NULL, *to = path_fmt("%s/rootfs/bin/busybox", bundle), *spec = path_fmt(spec_form, type, sandbox, id);
	cleanup_free char *config = path_fmt("%s/config.json", bundle), *link_ = path_fmt("%s/rootfs/bin/true", bundle);
	size_t n = 0;
	if (r == 0 && (!to || !spec || !config || !link_))
		r = err_nomem(err);
	r = r < 0 ? r : fs_read_file(AT_FDCWD, c->rootfs, 64u << 20, &text, &n, err);
	r = r < 0 ? r : fs_write_path(to, text, n, 0755, FS_RUN, err);
	if (r == 0 && symlink("busybox", link_) < 0 && errno != EEXIST)
		r = err_errno(err, errno, "link %s", link_);
	return r < 0 ? r : fs_write_path(config, spec, strlen(spec), 0644, FS_RUN, err);
}

static int sandbox(struct check *c, crio_call *call, const struct dirs *d, crio_err *err)
{
	if (!plugin_inst_has_op(c->in, "sandbox_create"))
		return 0;
	int r = bundle_make(c, d->pod_bundle, d->sandbox, "sandbox", d->sandbox, err);
	if (r < 0)
		return r;
	struct crio_runtime_sandbox_args a = { .size = sizeof(a), .netns_fd = -1, .id = d->sandbox, .bundle = d->pod_bundle, .netns_path = "",
					       .cgroup_parent = CGROUP, .created_ns = now_real_ns() };
	struct crio_runtime_sandbox_out o = { .size = sizeof(o) };
	return plugin_runtime_sandbox_create(c->in, call, &a, &o, err);
}

static int create(struct check *c, crio_call *call, const char *id, const struct dirs *d, crio_err *err)
{
	struct crio_runtime_create_args a = { .size = sizeof(a), .cgroup_manager = CRIO_CGROUP_CGROUPFS, .id = id, .sandbox_id = d->sandbox,
					      .name = "check", .bundle = d->bundle, .persist_dir = d->persist, .log_path = d->log,
					      .exit_dir = d->exits, .attach_dir = d->attach, .cgroup_parent = CGROUP, .sandbox_netns = "",
					      .log_size_max = -1, .timeout_ns = 30 * SEC, .monitor_cgroup = "" };
	struct crio_runtime_create_out o = { .size = sizeof(o) };
	int r = plugin_runtime_create(c->in, call, &a, &o, err);
	if (r == 0 && o.pid <= 0)
		return err_set(err, CRIO_E_INVALID, "create returned pid %d", o.pid);
	return r;
}

static int expect_state(struct check *c, crio_call *call, const char *id, unsigned want, crio_err *err)
{
	struct crio_runtime_id_args a = id_args(id);
	struct crio_runtime_state_out o = { .size = sizeof(o) };
	int64_t end = now_mono_ns() + 10 * SEC;
	for (;;) {
		int r = plugin_runtime_state(c->in, call, &a, &o, err);
		if (r < 0 || o.status == want)
			return r;
		if (want != CRIO_CONTAINER_STOPPED || now_mono_ns() > end)
			return err_set(err, CRIO_E_INVALID, "state is %u, expected %u", o.status, want);
		r = call_sleep(call, 10 * MS, err);
		if (r < 0)
			return r;
	}
}

static int live(struct check *c, crio_call *call, const char *id, const struct dirs *d, crio_err *err)
{
	int r = sandbox(c, call, d, err);
	r = r < 0 ? r : create(c, call, id, d, err);
	r = r < 0 ? r : expect_state(c, call, id, CRIO_CONTAINER_CREATED, err);
	r = r < 0 ? r : do_start(c, call, id, err);
	if (r == 0 && do_start(c, call, id, NULL) == 0)
		r = err_set(err, CRIO_E_INVALID, "a container that runs was started again");
	r = r < 0 ? r : expect_state(c, call, id, CRIO_CONTAINER_RUNNING, err);
	r = r < 0 ? r : do_exec(c, call, id, err);
	r = r < 0 ? r : kill_ctr(c, call, id, SIGKILL, err);
	r = r < 0 ? r : expect_state(c, call, id, CRIO_CONTAINER_STOPPED, err);
	return r < 0 ? r : kill_ctr(c, call, id, SIGKILL, err); /* one that has stopped: success */
}

/* Create, start, exec, kill, delete twice. Whatever happened, the clean-up has a call of its own and must succeed. */
static int do_container(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	CLEANUP(dirs_release) struct dirs d = { 0 };
	int r = dirs_of(c, id, &d, err);
	r = r < 0 ? r : bundle_make(c, d.bundle, id, "container", d.sandbox, err);
	r = r < 0 ? r : live(c, call, id, &d, err);
	cleanup_call crio_call *own = check_call(30 * SEC);
	crio_err *e = r < 0 ? NULL : err;
	int x = own ? do_del(c, own, id, e) : CRIO_E_NOMEM;
	x = x < 0 ? x : do_del(c, own, id, e);
	if (x == 0 && plugin_inst_has_op(c->in, "sandbox_stop"))
		x = do_sandbox_stop(c, own, d.sandbox, e);
	if (x == 0 && do_state(c, own, id, NULL) != CRIO_E_NOT_FOUND)
		x = err_set(e, CRIO_E_INVALID, "state still knows the container after del");
	if (d.bundle)
		(void)fs_rm_rf(-1, d.bundle, NULL);
	if (d.pod_bundle)
		(void)fs_rm_rf(-1, d.pod_bundle, NULL);
	return r < 0 ? r : x;
}

/* The pods' cgroup: the core's to make and to remove, and so ours here. */
static void rm_cgroup(void)
{
	cleanup_closedir DIR *d = opendir("/sys/fs/cgroup");
	for (struct dirent *e; d && (e = readdir(d));) {
		cleanup_free char *p = path_fmt("/sys/fs/cgroup/%s" CGROUP, e->d_name);
		if (p)
			(void)rmdir(p);
	}
	(void)rmdir("/sys/fs/cgroup" CGROUP);
}

static void containers(struct check *c)
{
	struct leftovers before;
	char detail[LEFT_TEXT];
	cleanup_err crio_err err = ERR_INIT;
	if (!check_once(c, "a container: create, start, exec, kill, delete twice", do_container, ABSENT))
		return;
	leftovers_take(&before);
	bool all = check_parallel(c, do_container, 4, 1, &err);
	check_ok(c, all, "containers: four side by side", "%s", err_text(&err));
	check_op(c, "create", do_container, WANT_ANY); /* cancelled at several points */
	check_ok(c, leftovers_same(&before, LEFT_RUNTIME, detail), "containers: nothing is left", "%s", detail);
	(void)check_once(c, "a container after all that", do_container, ABSENT);
}

void check_runtime(struct check *c)
{
	check_op(c, "kill", do_kill, WANT_OK);
	check_op(c, "del", do_del, WANT_OK);
	check_op(c, "sandbox_stop", do_sandbox_stop, WANT_OK);
	check_op(c, "exec_kill", do_exec_kill, WANT_OK);
	check_op(c, "state", do_state, WANT_NOT_FOUND);
	check_op(c, "start", do_start, WANT_FAILURE);
	check_op(c, "exec_start", do_exec, WANT_FAILURE);
	check_op(c, "update", do_update, WANT_FAILURE);
	check_op(c, "pause", do_pause, WANT_FAILURE);
	check_op(c, "resume", do_resume, WANT_FAILURE);
	check_op(c, "resize", do_resize, WANT_FAILURE);
	check_op(c, "reopen_log", do_reopen_log, WANT_FAILURE);
	check_op(c, "stats", do_stats, WANT_FAILURE);
	check_op(c, "pids", do_pids, WANT_FAILURE);
	check_op(c, "features", do_features, WANT_ANY);
	if (c->bare || !c->own_ns || access(c->rootfs, R_OK) < 0)
		check_skip(c, "containers", c->bare ? "--bare" : !c->own_ns ? "namespaces cannot be made here" :
			   "there is no busybox to run (--program)");
	else
		containers(c);
	rm_cgroup();
}
