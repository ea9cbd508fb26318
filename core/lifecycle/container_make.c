/* container_make.c: CreateContainer: the image's layer, the root file system, the spec, the runtime's create. */
#include <fcntl.h>
#include <sys/stat.h>

#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/checkpoint.h"
#include "core/lifecycle/features.h"
#include "core/lifecycle/hooks.h"
#include "core/lifecycle/inner.h"
#include "core/lifecycle/notifier.h"
#include "core/lifecycle/userns.h"
#include "core/util/failpoint.h"
#include "core/util/fs.h"
#include "core/util/log.h"

int container_mount(struct container *c, crio_call *call, crio_err *err)
{
	cleanup_free char *path = NULL;
	int r = store_mount(c->pod->store, call, c->id, &path, err);
	if (r < 0)
		return r;
	(void)config_take_str(&c->rootfs, move_ptr(path));
	r = userns_reach(&c->pod->maps, c->rootfs, err);
	return r < 0 ? r : userns_reach(&c->pod->maps, c->run_dir, err);
}

/* ---- the runtime's create ---- */

void container_fill_create(const struct container *c, struct crio_runtime_create_args *a)
{
	const struct lifecycle *lc = c->lc;
	const struct conf_runtime *h = conf_runtime(lc->conf, c->pod->handler);
	if (!h)
		h = conf_runtime(lc->conf, "");
	memset(a, 0, sizeof(*a));
	a->size = sizeof(*a);
	a->cgroup_manager = lc->systemd ? CRIO_CGROUP_SYSTEMD : CRIO_CGROUP_CGROUPFS;
	a->id = c->id;
	a->sandbox_id = c->pod->id;
	a->name = c->name;
	a->bundle = c->run_dir;
	a->persist_dir = c->dir;
	a->log_path = c->log_path;
	a->exit_dir = lc->conf->runtime.container_exits_dir;
	a->attach_dir = lc->conf->runtime.container_attach_socket_dir;
	a->cgroup_parent = c->pod->cgroup_parent;
	a->sandbox_netns = c->pod->netns;
	a->log_size_max = lc->conf->runtime.log_size_max;
	a->timeout_ns = h->container_create_timeout * SEC;
	a->terminal = c->config.tty;
	a->stdin_open = c->config.stdin_open;
	a->stdin_once = c->config.stdin_once;
	a->no_pivot = lc->conf->runtime.no_pivot;
	a->log_to_journald = lc->conf->runtime.log_to_journald;
	a->no_sync_log = h->no_sync_log;
	a->monitor_env = strv_view(&h->monitor_env);
	a->monitor_cgroup = h->monitor_cgroup;
}

void container_created(struct container *c, const struct crio_runtime_create_out *o)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	c->made = true;
	/* An exit may have been reported already. */
	if (c->state == CONTAINER_EXITED)
		return;
	c->pid = o->pid;
	c->start_time = o->start_time;
	c->monitor_pid = o->monitor_pid;
	c->monitor_start_time = o->monitor_start_time;
}

static int runtime_create(struct container *c, crio_call *call, crio_err *err)
{
	struct crio_runtime_create_args a;
	container_fill_create(c, &a);
	if (plugin_inst_caps(c->pod->runtime) & CRIO_RUNTIME_CAP_ROOTFS_ROWS) {
		int r = store_mount_rows(c->pod->store, call, c->id, false, &a.rootfs, err);
		if (r < 0)
			return r;
	}
	struct crio_runtime_create_out o = { .size = sizeof(o) };
	int r = plugin_runtime_create(c->pod->runtime, call, &a, &o, err);
	if (r == 0)
		container_created(c, &o);
	return r;
}

/* ---- the spec ---- */

/* Joins the pod's or a target's pid namespace. "" otherwise. The caller's. */
static int pid_namespace(struct container *c, char **ret, crio_err *err)
{
	struct container *from = NULL;
	cleanup_container struct container *target = NULL;
	const struct namespace_options *ns = &c->config.sec.ns;
	if (c->is_infra) {
		*ret = strdup("");
		return *ret ? 0 : err_nomem(err);
	}
	if (ns->pid == NS_POD) {
		from = c->pod->infra;
	} else if (ns->pid == NS_TARGET) {
		int r = registry_container(c->lc, ns->target_id, &target, err);
		if (r < 0)
			return err_wrap(err, "target of the pid namespace");
		from = target;
	}
	pid_t pid = 0;
	uint64_t start = 0;
	if (from) {
		(void)pthread_mutex_lock(&from->lock);
		pid = from->pid;
		start = from->start_time;
		(void)pthread_mutex_unlock(&from->lock);
		if (pid <= 0 || process_start_time(pid) != start)
			return err_set(err, CRIO_E_PRECONDITION, "container %s, whose pid namespace is asked for, is not running", from->id);
	}
	c->joined_pid = pid;
	c->joined_start = start;
	*ret = pid > 0 ? path_fmt("/proc/%d/ns/pid", (int)pid) : strdup("");
	return *ret ? 0 : err_nomem(err);
}

static int make_spec(struct container *c, crio_call *call, const struct image *im, struct json_object **ret, crio_err *err)
{
	cleanup_close int rootfs = -1;
	bool host_ids = true;
	int r = store_root_open(c->pod->store, call, c->id, c->rootfs, &rootfs, &host_ids, err);
	if (r < 0)
		return r;
	cleanup_free char *pidns = NULL, *env = path_fmt("%s/.containerenv", c->pod->run_dir);
	r = env ? pid_namespace(c, &pidns, err) : err_nomem(err);
	if (r < 0)
		return r;
	struct spec_args a;
	pod_spec_args(c->pod, &a);
	a.container = &c->config;
	a.image = im;
	a.id = c->id;
	a.name = c->name;
	a.created_ns = c->created_ns;
	a.rootfs_fd = rootfs;
	a.rootfs_container_ids = !host_ids;
	a.rootfs_path = c->rootfs;
	a.run_dir = c->run_dir;
	a.pidns = pidns;
	a.containerenv_path = env;
	a.log_path = c->log_path;
	cleanup_free const char **images = calloc(c->config.n_mounts + 1, sizeof(*images));
	if (!images)
		return err_nomem(err);
	bool ask = false;
	for (size_t i = 0; i < c->config.n_mounts; i++) {
		const struct mount_config *m = &c->config.mounts[i];
		images[i] = *m->image ? m->host_path : "";
		ask = ask || m->recursive_read_only || id_maps_set(&m->maps);
	}
	a.image_mounts = images;
	struct runtime_features f = { 0 };
	if (ask && c->pod->runtime)
		runtime_features(c->pod->runtime, a.runtime->runtime_path, call, &f);
	a.runtime_rro = f.recursive_read_only;
	a.runtime_idmap = f.user_namespaces;
	cleanup_free char *listener = notifier_path(c->lc->notifiers, c->id);
	cleanup_spec_labels struct spec_labels labels = { 0 };
	r = listener ? container_spec_labels(c, &labels, err) : err_nomem(err);
	if (r < 0)
		return r;
	a.seccomp_listener = listener;
	a.process_label = labels.process;
	a.init_label = labels.init;
	a.mount_label = labels.mount;
	r = spec_container(&a, ret, &c->info, err);
	if (r == 0)
		r = container_label_files(c, call, *ret, err);
	if (r == 0 && c->info.seccomp_action)
		r = notifier_add(c->lc->notifiers, c->id, c->name, str_eq(c->info.seccomp_action, "stop"), err);
	return r;
}

static int note_stop_signal(struct container *c, crio_err *err)
{
	char buf[24];
	if (!str_set(c->info.stop_signal) || signal_parse(c->info.stop_signal, &c->stop_signal) < 0)
		c->stop_signal = 15;
	if (*c->config.stop_signal)
		log_debug("Override stop signal to %s", signal_name(c->stop_signal, buf));
	return config_set_str(&c->stop_signal_name, signal_name(c->stop_signal, buf)) < 0 ? err_nomem(err) : 0;
}

int container_make_runtime(struct container *c, crio_call *call, const struct image *im, crio_err *err)
{
	int r = 0;
	if (!c->is_infra) {
		cleanup_json struct json_object *spec = NULL;
		names_stage(c->lc->names, c->name, "container volume configuration");
		r = image_mounts_make(c, call, err);
		names_stage(c->lc->names, c->name, "container spec configuration");
		if (r == 0)
			r = make_spec(c, call, im, &spec, err);
		if (r == 0 && c->restore)
			r = checkpoint_annotate(c, spec, err);
		if (r == 0)
			r = note_stop_signal(c, err);
		if (r == 0)
			r = hooks_create(c, call, &spec, err);
		if (r == 0)
			r = config_write(c->dir, c->run_dir, spec, err);
		if (r == 0) {
			resources_release(&c->resources);
			c->has_resources = spec_get_resources(spec, &c->resources, NULL) == 0;
			names_stage(c->lc->names, c->name, "container runtime creation");
		}
	}
	if (r == 0 && !c->restore) /* nobody else has it yet */
		r = runtime_create(c, call, err);
	/* The runtime opened the namespace by the process's number: it must have been that process's until now. */
	if (r == 0 && c->joined_pid > 0 && process_start_time(c->joined_pid) != c->joined_start)
		r = err_set(err, CRIO_E_PRECONDITION, "process %d, whose pid namespace was asked for, has ended meanwhile", (int)c->joined_pid);
	if (r == 0)
		(void)hooks_container(c, call, CRIO_HOOK_CTR_CREATED, NULL);
	return r < 0 ? r : container_write_state(c, err);
}

/* ---- records ---- */

char *pod_log_dir(const struct pod *p)
{
	const char *dir = p->config.log_directory;
	return *dir ? strdup(dir) : path_fmt("%s/%s", p->lc->conf->crio.log_dir, p->id);
}

static char *store_metadata(const struct container *c)
{
	cleanup_json struct json_object *o = json_object_new_object();
	int r = o ? 0 : CRIO_E_NOMEM;
	const struct pod_metadata *m = &c->pod->config.meta;
	const struct {
		const char *key, *value;
	} v[] = { { "pod-name", c->pod->name }, { "pod-id", c->pod->id },
		  { "image-name", c->image_name }, { "image-id", c->image_id },
		  { "name", c->name }, { "metadata-name", c->config.meta.name },
		  { "uid", m->uid }, { "namespace", m->ns } };
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(v); i++)
		r = json_set_str(o, v[i].key, v[i].value);
	if (r == 0)
		r = json_set_int(o, "created-at", c->created_ns / SEC);
	if (r == 0)
		r = json_set_int(o, "attempt", c->config.meta.attempt);
	if (r == 0)
		r = json_set_bool(o, "pod", false);
	if (r == 0)
		r = json_set_bool(o, "privileged", c->config.sec.privileged);
	return r < 0 ? NULL : json_text(o);
}

static int make_record(struct container *c, crio_call *call, const struct image *im, crio_err *err)
{
	struct pod *p = c->pod;
	struct store *store = NULL;
	char layer[65] = "";
	int r = images_container_layer(c->lc->images, call, im, p->driver, &store, layer, err);
	if (r < 0)
		return r;
	cleanup_free char *metadata = store_metadata(c);
	if (!metadata)
		return err_nomem(err);
	const char *names[] = { c->name };
	struct store_container_args a = { .id = c->id,
					  .names = { names, 1 },
					  .image = im->id,
					  .layer = layer,
					  .metadata = metadata,
					  .mount_label = c->mount_label,
					  .process_label = c->process_label,
					  .maps = &p->maps };
	r = store_container_create(p->store, call, &a, NULL, err);
	if (r < 0)
		return r;
	if (config_take_str(&c->dir, store_container_dir(p->store, c->id)) < 0 ||
	    config_take_str(&c->run_dir, store_container_run_dir(p->store, c->id)) < 0)
		return err_nomem(err);
	return FAILPOINT("container.record", err);
}

/* <log_directory>/<log_path>, or <log_dir>/<pod>/<id>.log when the client names none (contract 2.2 log_dir). */
static int make_log_path(struct container *c, crio_err *err)
{
	const struct pod *p = c->pod;
	const char *path = c->config.log_path;
	cleanup_free char *slashed = path_fmt("/%s", path);
	if (!slashed)
		return err_nomem(err);
	if (!path_is_clean_abs(slashed))
		return err_set(err, CRIO_E_INVALID, "log path '%s' has '..' in it", path);
	cleanup_free char *own = pod_log_dir(p);
	if (!own)
		return err_nomem(err);
	if (*own != '/' || !path_is_clean_abs(own))
		return err_set(err, CRIO_E_INVALID, "log directory '%s' is not an absolute path", own);
	if (config_take_str(&c->log_path, *path ? path_fmt("%s/%s", own, path) : path_fmt("%s/%s.log", own, c->id)) < 0)
		return err_nomem(err);
	char *slash = strrchr(c->log_path, '/');
	*slash = '\0';
	int r = fs_mkdir_p(c->log_path, 0755, err);
	*slash = '/';
	return r < 0 ? r : FAILPOINT("container.log_dir", err);
}

/* k: the checkpoint that it begins with; NULL none. */
static int container_make(struct container *c, crio_call *call, const struct checkpoint *k, crio_err *err)
{
	names_stage(c->lc->names, c->name, "container creating");
	cleanup_image_ref struct image *im = NULL;
	int r = images_get(c->lc->images, c->config.image, &im, err);
	if (r < 0)
		return r;
	const char *user_ref = *c->config.user_specified_image ? c->config.user_specified_image : c->config.image;
	r = images_check_allowed(c->lc->images, c->pod->config.meta.ns, user_ref, im, err);
	if (r < 0)
		return r;
	if (config_set_str(&c->image_id, im->id) < 0 || config_set_str(&c->image_ref, image_ref_of(im)) < 0 ||
	    config_set_str(&c->image_name, im->repo_tags.n ? im->repo_tags.v[0] : user_ref) < 0)
		return err_nomem(err);
	r = make_log_path(c, err);
	if (r == 0)
		r = link_logs_add(c, err);
	names_stage(c->lc->names, c->name, "container storage creation");
	if (r == 0)
		r = container_make_labels(c, err);
	if (r == 0)
		r = make_record(c, call, im, err);
	if (r == 0) {
		names_stage(c->lc->names, c->name, "container storage start");
		r = container_mount(c, call, err);
	}
	if (r == 0 && k)
		r = checkpoint_place(c, call, k, err);
	if (r == 0)
		r = container_make_runtime(c, call, im, err);
	if (r < 0)
		return err_wrap(err, "create container %s in pod sandbox %s", c->name, c->pod->id);
	return 0;
}

void container_set_removed(struct container *c)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	c->removed = true;
}

static bool is_removed(struct container *c)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	return c->removed;
}

int container_release_runtime(struct container *c, crio_call *call, crio_err *err)
{
	if (is_removed(c))
		return 0;
	if (!c->pod->runtime || !c->pod->store)
		return err_set(err, CRIO_E_PRECONDITION, "a plugin of container %s is not there (%s): put its file back and start crio again to remove it", c->id,
			       c->pod->plugins);
	struct crio_runtime_id_args a = { .size = sizeof(a), .force = 1, .id = c->id };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	int r = plugin_runtime_del(c->pod->runtime, call, &a, &o, err);
	if (r == 0 && *c->run_dir)
		r = image_mounts_release(c->pod->store, call, c->run_dir, err);
	if (r == 0)
		r = store_unmount(c->pod->store, call, c->id, true, err);
	return r < 0 ? err_wrap(err, "remove container %s", c->id) : 0;
}

int container_release_all(struct container *c, crio_call *call, crio_err *err)
{
	if (is_removed(c))
		return 0;
	int r = container_release_runtime(c, call, err);
	if (r < 0)
		return r;
	r = store_container_delete(c->pod->store, call, c->id, err);
	if (r < 0)
		return err_wrap(err, "remove container %s", c->id);
	link_logs_del(c);
	FAILPOINT_CUT("container.removed");
	container_set_removed(c);
	notifier_drop(c->lc->notifiers, c->id);
	return 0;
}

static int container_prepare(struct lifecycle *lc, struct pod *p, struct container_config *config, const char *name, const char *id,
			     struct container **ret, crio_err *err)
{
	cleanup_container struct container *c = container_new(lc);
	if (!c)
		return err_nomem(err);
	container_config_release(&c->config);
	c->config = *config;
	memset(config, 0, sizeof(*config));
	c->pod = pod_ref(p);
	memcpy(c->id, id, sizeof(c->id));
	c->created_ns = now_real_ns();
	if (config_set_str(&c->name, name) < 0)
		return err_nomem(err);
	*ret = move_ptr(c);
	return 0;
}

struct container_request {
	struct lifecycle *lc;
	crio_call *call;
	struct pod *pod;
	struct container_config *config;
	const char *name;
	const struct checkpoint *checkpoint; /* NULL none */
};

static int make_container(void *arg, const char *id, crio_err *err)
{
	struct container_request *q = arg;
	cleanup_container struct container *c = NULL;
	int r = container_prepare(q->lc, q->pod, q->config, q->name, id, &c, err);
	if (r < 0)
		return r;
	cleanup_call crio_call *work = call_detached(q->call, CONTAINER_WORK_NS);
	if (!work)
		return err_nomem(err);
	r = registry_making(q->lc, c, err);
	if (r < 0)
		return r;
	r = container_make(c, work, q->checkpoint, err);
	c->parked = call_over(q->call);
	if (r == 0)
		r = registry_add_container(q->lc, c, err);
	if (r < 0) {
		cleanup_err crio_err why = ERR_INIT;
		cleanup_call crio_call *undo = call_detached(q->call, CLEANUP_NS);
		if (!undo || container_release_all(c, undo, &why) < 0) {
			log_warn("Clean up after failed container %s: %s", c->id, err_text(&why));
			leftover_add(q->lc, NULL, c);
		}
	}
	registry_made(q->lc, c);
	if (r < 0)
		return r;
	log_info("Created container %s: %s", c->id, c->name);
	return 0;
}

int container_create(struct lifecycle *lc, crio_call *call, const char *pod_id, struct container_config *config, char **ret_id,
		     crio_err *err)
{
	int r = container_config_check(config, err);
	if (r < 0)
		return r;
	cleanup_pod struct pod *p = NULL;
	r = registry_pod(lc, pod_id, &p, err);
	if (r < 0)
		return err_wrap(err, "specified sandbox not found: %.80s", pod_id);
	(void)pthread_mutex_lock(&p->lock);
	bool stopped = p->stopped || p->removing;
	(void)pthread_mutex_unlock(&p->lock);
	if (stopped)
		return err_set(err, CRIO_E_PRECONDITION, "CreateContainer failed as the sandbox was stopped: %s", p->id);
	cleanup_free char *name = NULL;
	r = name_of_container(&p->config, config, &name, err);
	if (r < 0)
		return r;
	cleanup_checkpoint struct checkpoint k = CHECKPOINT_INIT;
	bool found = false;
	r = checkpoint_find(p, call, config, &k, &found, err);
	if (r == 0 && found)
		r = container_config_check(config, err);
	if (r < 0)
		return r;
	struct container_request q = { lc, call, p, config, name, found ? &k : NULL };
	return make_named(lc, call, "ctr", name, CONTAINER_WORK_NS, make_container, &q, ret_id, err);
}
