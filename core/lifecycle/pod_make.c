/*
 * pod_make.c: RunPodSandbox. The steps are in pod_make(); each leaves what pod_release_all() knows how to undo, so that a
 * failure anywhere, and a restart of the daemon anywhere, end in the same clean-up.
 */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "core/lifecycle/annotations.h"
#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/hooks.h"
#include "core/lifecycle/inner.h"
#include "core/lifecycle/netns.h"
#include "core/lifecycle/resolv.h"
#include "core/lifecycle/selinux.h"
#include "core/lifecycle/userns.h"
#include "core/plugin/select.h"
#include "core/util/failpoint.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define SHM_SIZE (64u << 20) /* the kernel's and CRI-O's default for /dev/shm */

static int set_fmt(char **field, char *value, crio_err *err)
{
	if (!value)
		return err_nomem(err);
	free(*field);
	*field = value;
	return 0;
}

/* ---- what the configuration says ---- */

static int allowed_of(struct pod *p, const struct conf_runtime *h, const struct conf_workload *w, crio_err *err)
{
	for (size_t i = 0; i < h->allowed_annotations.n; i++)
		if (strv_add(&p->allowed_annotations, h->allowed_annotations.v[i]) < 0)
			return err_nomem(err);
	for (size_t i = 0; w && i < w->allowed_annotations.n; i++)
		if (strv_add(&p->allowed_annotations, w->allowed_annotations.v[i]) < 0)
			return err_nomem(err);
	/* The handler's defaults first, so that the pod's own win. */
	for (size_t i = 0; i < h->default_annotations.n; i++)
		if (!kvs_get(&p->config.annotations, h->default_annotations.v[i].key) &&
		    kvs_set(&p->config.annotations, h->default_annotations.v[i].key, h->default_annotations.v[i].value) < 0)
			return err_nomem(err);
	return annotations_filter(&p->config.annotations, &p->allowed_annotations, err);
}

/* An instance's options as JSON text. */
static int keep_options(char **field, const struct kvs *options)
{
	cleanup_json struct json_object *o = json_from_kvs(options);
	cleanup_free char *text = o ? json_text(o) : NULL;
	return text ? config_set_str(field, text) : CRIO_E_NOMEM;
}

int pod_open_plugins(struct pod *p, crio_call *call, const struct selection *s, crio_err *err)
{
	struct lifecycle *lc = p->lc;
	if (keep_options(&p->runtime_options, &s->runtime_options) < 0 || keep_options(&p->network_options, &s->network_options) < 0)
		return err_nomem(err);
	if (config_set_str(&p->driver, s->storage) < 0 || config_set_str(&p->network_plugin, s->network) < 0 ||
	    config_set_str(&p->runtime_plugin, s->runtime) < 0 ||
	    config_set_str(&p->runtime_instance, s->runtime_instance) < 0 ||
	    config_set_str(&p->network_instance, s->network_instance) < 0)
		return err_nomem(err);
	int r = plugins_open(lc->plugins, call, CRIO_KIND_RUNTIME, s->runtime, s->runtime_instance, &s->runtime_options, &p->runtime,
			     err);
	if (r == 0)
		plugin_inst_listen(p->runtime, lifecycle_on_event, lc);
	/* A restored pod makes do with those that are there: all are tried, and the first failure is returned. */
	int now = images_store(lc->images, call, s->storage, &p->store, r < 0 ? NULL : err);
	r = r < 0 ? r : now;
	if (lc->net && str_eq(plugin_inst_plugin(lc->net), s->network) && str_eq(plugin_inst_name(lc->net), s->network_instance)) {
		p->network = plugin_inst_ref(lc->net);
		return r;
	}
	now = plugins_open(lc->plugins, call, CRIO_KIND_NETWORK, s->network, s->network_instance, &s->network_options, &p->network,
			   r < 0 ? NULL : err);
	return r < 0 ? r : now;
}

static int choose(struct pod *p, crio_call *call, crio_err *err)
{
	const struct conf *conf = p->lc->conf;
	const struct conf_runtime *h = conf_runtime(conf, p->handler);
	const struct conf_workload *w = conf_workload_for(conf, &p->config.annotations);
	cleanup_selection struct selection s;
	memset(&s, 0, sizeof(s));
	int r = select_plugins(p->lc->plugins, conf, p->handler, w, p->host_network, &s, err);
	if (r < 0)
		return r;
	r = allowed_of(p, h, w, err);
	if (r < 0)
		return r;
	if (config_set_str(&p->plugins, s.why) < 0)
		return err_nomem(err);
	return pod_open_plugins(p, call, &s, err);
}

/* The labels that kubelet sets and other clients leave out, and the infra container's name, as CRI-O shows them. */
static int fill_labels(struct pod *p, crio_err *err)
{
	const struct pod_metadata *m = &p->config.meta;
	const struct {
		const char *key, *value;
	} v[] = { { "io.kubernetes.pod.name", m->name }, { "io.kubernetes.pod.namespace", m->ns }, { "io.kubernetes.pod.uid", m->uid } };
	struct kvs *l = &p->config.labels;
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		if (!kvs_get(l, v[i].key) && kvs_set(l, v[i].key, v[i].value) < 0)
			return err_nomem(err);
	return kvs_set(l, "io.kubernetes.container.name", "POD") < 0 ? err_nomem(err) : 0;
}

static int name_hostname(struct pod *p, crio_err *err)
{
	const char *h = p->config.hostname;
	if (p->config.sec.ns.network == NS_NODE && !*h) {
		char node[65] = "";
		if (gethostname(node, sizeof(node) - 1) < 0)
			return err_errno(err, errno, "gethostname");
		return config_set_str(&p->hostname, node) < 0 ? err_nomem(err) : 0;
	}
	if (!*h) {
		char short_id[13];
		(void)snprintf(short_id, sizeof(short_id), "%.12s", p->id);
		return config_set_str(&p->hostname, short_id) < 0 ? err_nomem(err) : 0;
	}
	int r = hostname_check(h, err);
	if (r < 0)
		return r;
	return config_set_str(&p->hostname, h) < 0 ? err_nomem(err) : 0;
}

/* ---- the store's record: the pod's directories, and the infra container's root when there is one ---- */

static int pause_image(struct lifecycle *lc, crio_call *call, const char *driver, struct image **ret, crio_err *err)
{
	const char *name = lc->conf->image.pause_image;
	int r = images_get(lc->images, name, ret, err);
	if (r != CRIO_E_NOT_FOUND)
		return r;
	if (err)
		err_clear(err);
	cleanup_free char *id = NULL, *ref = NULL;
	struct pull_args a = { .ref = name, .driver = driver };
	r = images_pull(lc->images, call, &a, &id, &ref, err);
	if (r < 0)
		return err_wrap(err, "pull the pause image");
	return images_get(lc->images, id, ret, err);
}

static char *store_metadata(const struct pod *p, const struct image *im)
{
	cleanup_json struct json_object *o = json_object_new_object();
	int r = o ? 0 : CRIO_E_NOMEM;
	const struct pod_metadata *m = &p->config.meta;
	const struct {
		const char *key, *value;
	} v[] = { { "pod-name", p->name }, { "pod-id", p->id },
		  { "image-name", im ? p->lc->conf->image.pause_image : "" }, { "image-id", im ? im->id : "" },
		  { "name", p->name }, { "metadata-name", m->name },
		  { "uid", m->uid }, { "namespace", m->ns } };
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(v); i++)
		r = json_set_str(o, v[i].key, v[i].value);
	if (r == 0)
		r = json_set_int(o, "created-at", p->created_ns / SEC);
	if (r == 0)
		r = json_set_int(o, "attempt", m->attempt);
	if (r == 0)
		r = json_set_bool(o, "pod", true);
	if (r == 0)
		r = json_set_bool(o, "privileged", p->privileged);
	return r < 0 ? NULL : json_text(o);
}

static int make_record(struct pod *p, crio_call *call, const struct image *im, crio_err *err)
{
	cleanup_free char *metadata = store_metadata(p, im);
	if (!metadata)
		return err_nomem(err);
	struct store *store = p->store;
	char layer[65] = "";
	if (im) {
		int r = images_container_layer(p->lc->images, call, im, p->driver, &store, layer, err);
		if (r < 0)
			return r;
	}
	const char *names[] = { p->name };
	struct store_container_args a = { .id = p->id,
					  .names = { names, 1 },
					  .image = im ? im->id : "",
					  .layer = layer,
					  .metadata = metadata,
					  .mount_label = p->mount_label,
					  .process_label = p->process_label,
					  .maps = &p->maps };
	int r = store_container_create(p->store, call, &a, NULL, err);
	if (r < 0)
		return r;
	if (config_take_str(&p->dir, store_container_dir(p->store, p->id)) < 0 ||
	    config_take_str(&p->run_dir, store_container_run_dir(p->store, p->id)) < 0)
		return err_nomem(err);
	return FAILPOINT("pod.record", err);
}

/* ---- namespaces, files, cgroup ---- */

static int name_namespaces(struct pod *p, crio_err *err)
{
	const char *dir = p->lc->conf->runtime.namespaces_dir;
	char uuid[37];
	if (!uuid_new(uuid))
		return err_set(err, CRIO_E_IO, "no random numbers");
	int r = config_set_str(&p->ns_name, uuid) < 0 ? err_nomem(err) : 0;
	if (r == 0 && p->config.sec.ns.network != NS_NODE)
		r = set_fmt(&p->netns, netns_path(dir, NS_KIND_NET, uuid), err);
	if (r == 0 && p->config.sec.ns.ipc != NS_NODE)
		r = set_fmt(&p->ipcns, netns_path(dir, NS_KIND_IPC, uuid), err);
	if (r == 0 && id_maps_set(&p->maps))
		r = set_fmt(&p->userns, netns_path(dir, NS_KIND_USER, uuid), err);
	/* The host's host name stays the host's only when the network is too (contract 7.3). */
	if (r == 0 && p->config.sec.ns.network != NS_NODE)
		r = set_fmt(&p->utsns, netns_path(dir, NS_KIND_UTS, uuid), err);
	return r;
}

static int make_namespaces(struct pod *p, crio_err *err)
{
	cleanup_kvs struct kvs sysctls = KVS_INIT;
	const struct strv *dflt = &p->lc->conf->runtime.default_sysctls;
	bool own_net = *p->netns, own_ipc = *p->ipcns;
	for (size_t i = 0; i < dflt->n; i++) {
		/* The node's defaults apply where the pod has the namespace for them. */
		cleanup_kvs struct kvs one = KVS_INIT;
		int r = sysctl_parse(dflt->v[i], &one, err);
		if (r < 0)
			return r;
		if (one.n && sysctl_check(one.v[0].key, one.v[0].value, own_net, own_ipc, NULL) == 0 &&
		    kvs_set(&sysctls, one.v[0].key, one.v[0].value) < 0)
			return err_nomem(err);
	}
	for (size_t i = 0; i < p->config.sysctls.n; i++) {
		const struct kv *s = &p->config.sysctls.v[i];
		cleanup_err crio_err why = ERR_INIT;
		int r = sysctl_check(s->key, s->value, true, true, err);
		if (r < 0)
			return r;
		/* Those of the host are not this pod's to set; it runs without them, as it does with CRI-O. */
		if (sysctl_check(s->key, s->value, own_net, own_ipc, &why) < 0)
			log_warn("Skipping invalid sysctl specified over CRI {%s %s}: %s", s->key, s->value, err_text(&why));
		else if (kvs_set(&sysctls, s->key, s->value) < 0)
			return err_nomem(err);
	}
	struct netns_args a = { .dir = p->lc->conf->runtime.namespaces_dir,
				.name = p->ns_name,
				.net = own_net,
				.ipc = own_ipc,
				.uts = *p->utsns,
				.hostname = *p->utsns ? p->hostname : "",
				.sysctls = &sysctls,
				.maps = &p->maps };
	return netns_create(&a, err);
}

static int write_text(const char *path, const char *text, crio_err *err)
{
	return fs_write_path(path, text, strlen(text), 0644, FS_RUN, err);
}

/* Something of ours that the containers see: root's, for them. */
static int give_to_root(const struct pod *p, const char *path, crio_err *err)
{
	const struct id_maps *m = &p->maps;
	if (id_maps_set(m) && lchown(path, id_to_host(&m->uids, 0), id_to_host(&m->gids, 0)) < 0)
		return err_errno(err, errno, "give %s to root of the pod's user namespace", path);
	return 0;
}

static int make_files(struct pod *p, crio_err *err)
{
	int r = set_fmt(&p->resolv_path, path_fmt("%s/resolv.conf", p->run_dir), err);
	if (r == 0)
		r = set_fmt(&p->hostname_path, path_fmt("%s/hostname", p->run_dir), err);
	if (r < 0)
		return r;
	cleanup_free char *text = NULL, *host = NULL;
	r = resolv_text(&p->config.dns_servers, &p->config.dns_searches, &p->config.dns_options, "/etc/resolv.conf", &text, err);
	if (r == 0)
		r = write_text(p->resolv_path, text, err);
	if (r == 0)
		r = hostname_text(p->hostname, &host, err);
	if (r == 0)
		r = write_text(p->hostname_path, host, err);
	if (r < 0)
		return r;
	cleanup_free char *env = path_fmt("%s/.containerenv", p->run_dir);
	r = env ? write_text(env, "", err) : err_nomem(err);
	const char *ours[] = { p->resolv_path, p->hostname_path, env };
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(ours); i++)
		r = give_to_root(p, ours[i], err);
	if (r == 0)
		r = userns_reach(&p->maps, p->run_dir, err);
	if (r == 0)
		r = pod_label_files(p, err);
	return r < 0 ? r : FAILPOINT("pod.files", err);
}

static int name_shm(struct pod *p, crio_err *err)
{
	bool node = p->config.sec.ns.ipc == NS_NODE;
	return set_fmt(&p->shm_path, node ? strdup("/dev/shm") : path_fmt("%s/shm", p->run_dir), err);
}

static int make_shm(struct pod *p, crio_err *err)
{
	if (p->config.sec.ns.ipc == NS_NODE)
		return 0;
	const char *text = annotation_get(&p->config.annotations, ANN_SHM_SIZE, NULL);
	int64_t size = SHM_SIZE;
	if (text && !quantity_parse(text, &size))
		return err_set(err, CRIO_E_INVALID, "failed to parse shm size '%.64s': not a quantity of bytes above 0", text);
	if (mkdir(p->shm_path, 0700) < 0 && errno != EEXIST)
		return err_errno(err, errno, "make directory %s", p->shm_path);
	char plain[64];
	(void)snprintf(plain, sizeof(plain), "mode=1777,size=%lld", (long long)size);
	cleanup_free char *opts = selinux_mount_options(plain, pod_file_label(p));
	if (!opts)
		return err_nomem(err);
	if (mount("shm", p->shm_path, "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV, opts) < 0)
		return err_errno(err, errno, "mount %s", p->shm_path);
	int r = give_to_root(p, p->shm_path, err);
	return r < 0 ? r : FAILPOINT("pod.shm", err);
}

static int name_cgroup(struct pod *p, crio_err *err)
{
	cleanup_free char *fs_path = NULL, *parent = NULL;
	int r = cgroup_parent_check(p->lc->systemd, p->config.cgroup_parent, &parent, err);
	if (r == 0)
		(void)config_take_str(&p->cgroup_parent, move_ptr(parent));
	if (r == 0)
		r = cgroup_parent_fs_path(p->lc->systemd, p->cgroup_parent, &fs_path, err);
	if (r < 0 || p->lc->systemd)
		return r;
	/* The kubelet makes and removes its own; without a kubelet nobody does. */
	cleanup_strv struct strv procs = STRV_INIT;
	r = cgroup_procs_files(fs_path, &procs, err);
	if (r < 0)
		return r;
	p->cgroup_made = *p->config.cgroup_parent && !(procs.n && access(procs.v[0], F_OK) == 0);
	return 0;
}

static int make_cgroup(struct pod *p, crio_err *err)
{
	cleanup_free char *fs_path = NULL;
	if (p->lc->systemd)
		return 0;
	int r = cgroup_parent_fs_path(false, p->cgroup_parent, &fs_path, err);
	r = r < 0 ? r : cgroup_make(fs_path, err);
	return r < 0 ? r : FAILPOINT("pod.cgroup", err);
}

/* ---- the spec and the infra container ---- */

void pod_spec_args(const struct pod *p, struct spec_args *a)
{
	memset(a, 0, sizeof(*a));
	a->pod = &p->config;
	a->conf = p->lc->conf;
	a->runtime = conf_runtime(p->lc->conf, p->handler);
	if (!a->runtime)
		a->runtime = conf_runtime(p->lc->conf, "");
	a->workload = conf_workload_for(p->lc->conf, &p->config.annotations);
	a->allowed_annotations = &p->allowed_annotations;
	a->pod_id = p->id;
	a->pod_name = p->name;
	a->runtime_handler = p->handler;
	a->netns = p->netns;
	a->ipcns = p->ipcns;
	a->utsns = p->utsns;
	a->userns = p->userns;
	a->userns_maps = &p->maps;
	a->userns_host_ids = pod_userns_host_ids(p);
	a->pidns = "";
	a->cgroup_parent = p->cgroup_parent;
	a->hostname = p->hostname;
	a->resolv_path = p->resolv_path;
	a->hostname_path = p->hostname_path;
	a->shm_path = p->shm_path;
	a->containerenv_path = "";
	a->ips = &p->ips;
	a->cni_result = p->cni_result;
	a->rootfs_fd = -1;
	a->image_mounts = NULL;
}

static int write_pod_spec(struct pod *p, crio_err *err)
{
	struct spec_args a;
	pod_spec_args(p, &a);
	cleanup_free char *infra = NULL;
	cleanup_spec_labels struct spec_labels labels = { 0 };
	int r = name_of_infra(&p->config, &infra, err);
	if (r == 0)
		r = pod_spec_labels(p, &labels, err);
	a.process_label = labels.process;
	a.mount_label = labels.mount;
	if (r < 0)
		return r;
	a.id = p->id;
	a.name = infra;
	a.created_ns = p->created_ns;
	a.run_dir = p->run_dir;
	/* As CRI-O: of this a restart takes the directory. */
	cleanup_free char *log_dir = pod_log_dir(p), *log = log_dir ? path_fmt("%s/%s.log", log_dir, p->id) : NULL;
	if (!log)
		return err_nomem(err);
	a.log_path = log;
	a.spoofed = p->infra == NULL;
	cleanup_close int rootfs = -1;
	cleanup_image_ref struct image *im = NULL;
	if (p->infra) {
		a.rootfs_path = p->infra->rootfs;
		rootfs = open(p->infra->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (rootfs < 0)
			return err_errno(err, errno, "open %s", p->infra->rootfs);
		a.rootfs_fd = rootfs;
		r = images_get(p->lc->images, p->infra->image_id, &im, err);
		if (r < 0)
			return r;
		a.image = im;
	}
	cleanup_json struct json_object *spec = NULL;
	r = spec_pod(&a, &spec, NULL, err);
	if (r < 0)
		return r;
	/* Ours: which plugins, so that a restart opens the same ones. */
	struct json_object *ann = json_need_obj(spec, "annotations");
	if (!ann || json_set_str(ann, "plugins.crio.io", p->plugins) < 0 ||
	    json_set_str(ann, "namespaces.crio.io", p->ns_name) < 0 || json_set_str(ann, "storage.crio.io", p->driver) < 0 ||
	    json_set_str(ann, "runtime.crio.io", p->runtime_plugin) < 0 ||
	    json_set_str(ann, "runtime-instance.crio.io", p->runtime_instance) < 0 ||
	    json_set_str(ann, "network.crio.io", p->network_plugin) < 0 ||
	    json_set_str(ann, "network-instance.crio.io", p->network_instance) < 0 ||
	    json_set_str(ann, "runtime-options.crio.io", p->runtime_options) < 0 ||
	    json_set_str(ann, "network-options.crio.io", p->network_options) < 0 ||
	    json_set_str(ann, "boot-id.crio.io", p->lc->boot_id) < 0 ||
	    json_set_str(ann, "cgroup-made.crio.io", p->cgroup_made ? "true" : "false") < 0)
		return err_nomem(err);
	return config_write(p->dir, p->run_dir, spec, err);
}

static int make_infra(struct pod *p, const struct image *im, crio_err *err)
{
	struct container *c = container_new(p->lc);
	if (!c)
		return err_nomem(err);
	p->infra = c;
	c->pod = p;
	c->is_infra = true;
	memcpy(c->id, p->id, sizeof(c->id));
	c->created_ns = p->created_ns;
	c->stop_signal = 15;
	if (config_set_str(&c->image_id, im->id) < 0 || config_set_str(&c->dir, p->dir) < 0 ||
	    config_set_str(&c->run_dir, p->run_dir) < 0 || config_set_str(&c->stop_signal_name, "SIGTERM") < 0)
		return err_nomem(err);
	char *name = NULL;
	int r = name_of_infra(&p->config, &name, err);
	if (r < 0)
		return r;
	(void)config_take_str(&c->name, name);
	return registry_making(p->lc, c, err);
}

/* A machine (runtime_type vm) is kept there by the pod's own container, whatever drop_infra_ctr says. */
static bool needs_infra(const struct pod *p)
{
	const struct conf_runtime *h = conf_runtime(p->lc->conf, p->handler);
	return !p->lc->conf->runtime.drop_infra_ctr || p->config.sec.ns.pid == NS_POD || (h && h->runtime_type == CONF_RUNTIME_VM);
}

static int start_sandbox(struct pod *p, crio_call *call, crio_err *err)
{
	if (!plugin_inst_has_op(p->runtime, "sandbox_create"))
		return 0;
	cleanup_close int netns = -1;
	if (*p->netns) {
		netns = netns_open(p->netns, err);
		if (netns < 0)
			return netns;
	}
	struct crio_runtime_sandbox_args a = { .size = sizeof(a),
					       .netns_fd = netns,
					       .id = p->id,
					       .bundle = p->run_dir,
					       .netns_path = p->netns,
					       .cgroup_parent = p->cgroup_parent,
					       .created_ns = p->created_ns };
	struct crio_runtime_sandbox_out o = { .size = sizeof(o) };
	return plugin_runtime_sandbox_create(p->runtime, call, &a, &o, err);
}

static void stage(struct pod *p, const char *s)
{
	names_stage(p->lc->names, p->name, s);
}

static int pod_make(struct pod *p, crio_call *call, crio_err *err)
{
	stage(p, "sandbox storage creation");
	cleanup_image_ref struct image *im = NULL;
	int r = 0;
	if (needs_infra(p))
		r = pause_image(p->lc, call, p->driver, &im, err);
	if (r == 0)
		r = pod_make_labels(p, err);
	if (r == 0)
		r = make_record(p, call, im, err);
	if (r == 0 && im)
		r = make_infra(p, im, err);
	if (r == 0)
		r = make_files(p, err);
	stage(p, "sandbox spec configuration");
	if (r == 0)
		r = name_shm(p, err);
	if (r == 0)
		r = name_namespaces(p, err);
	if (r == 0)
		r = name_cgroup(p, err);
	stage(p, "sandbox storage start");
	if (r == 0 && p->infra)
		r = container_mount(p->infra, call, err);
	/* Before the first thing outside our own directories is made: the record says what to undo. */
	if (r == 0)
		r = write_pod_spec(p, err);
	stage(p, "sandbox shm creation");
	if (r == 0)
		r = make_shm(p, err);
	if (r == 0)
		r = link_logs_mount(p, err);
	if (r == 0)
		r = make_cgroup(p, err);
	stage(p, "sandbox namespace creation");
	if (r == 0)
		r = make_namespaces(p, err);
	stage(p, "sandbox network creation");
	if (r == 0)
		r = network_setup(p, call, err);
	stage(p, "sandbox container runtime creation");
	if (r == 0 && (p->ips.n || *p->cni_result))
		r = write_pod_spec(p, err);
	if (r == 0)
		r = start_sandbox(p, call, err);
	if (r == 0 && p->infra)
		r = container_make_runtime(p->infra, call, im, err);
	if (r == 0 && p->infra)
		r = container_do_start(p->infra, call, err);
	if (r == 0)
		r = hooks_pod(p, call, CRIO_HOOK_POD_RUN, err);
	if (r < 0)
		return r;
	atomic_store(&p->whole, true);
	return pod_write_state(p, err);
}

static int pod_prepare(struct lifecycle *lc, crio_call *call, struct pod_config *config, const char *handler, const char *name,
		       const char *id, struct pod **ret, crio_err *err)
{
	cleanup_pod struct pod *p = pod_new(lc);
	if (!p)
		return err_nomem(err);
	pod_config_release(&p->config);
	p->config = *config;
	memset(config, 0, sizeof(*config));
	memcpy(p->id, id, sizeof(p->id));
	p->created_ns = now_real_ns();
	p->host_network = p->config.sec.ns.network == NS_NODE;
	p->privileged = p->config.sec.privileged;
	if (config_set_str(&p->name, name) < 0 || config_set_str(&p->handler, handler) < 0)
		return err_nomem(err);
	stage(p, "sandbox creating");
	int r = fill_labels(p, err);
	if (r == 0)
		r = name_hostname(p, err);
	if (r == 0)
		r = choose(p, call, err);
	if (r == 0)
		r = pod_choose_userns(p, err);
	if (r == 0) {
		stage(p, "sandbox network ready");
		r = network_wait_ready(p, call, err);
	}
	if (r < 0) {
		pod_forget_userns(p);
		return r;
	}
	*ret = move_ptr(p);
	return 0;
}

struct pod_request {
	struct lifecycle *lc;
	crio_call *call;
	struct pod_config *config;
	const char *handler, *name;
};

static int make_pod(void *arg, const char *id, crio_err *err)
{
	struct pod_request *q = arg;
	cleanup_pod struct pod *p = NULL;
	int r = pod_prepare(q->lc, q->call, q->config, q->handler, q->name, id, &p, err);
	if (r < 0)
		return r;
	cleanup_call crio_call *work = call_detached(q->call, POD_WORK_NS);
	if (!work) {
		pod_forget_userns(p);
		return err_nomem(err);
	}
	r = pod_make(p, work, err);
	pod_forget_userns(p);
	p->parked = call_over(q->call);
	if (r == 0)
		r = registry_add_pod(q->lc, p, err);
	if (r < 0) {
		cleanup_err crio_err why = ERR_INIT;
		cleanup_call crio_call *undo = call_detached(q->call, CLEANUP_NS);
		if (!undo || pod_release_all(p, undo, &why) < 0) {
			log_warn("Clean up after failed pod sandbox %s: %s", p->id, err_text(&why));
			leftover_add(q->lc, p, NULL);
			return r;
		}
	}
	/* Not before: the clean-up waits for the infra container's exit to be reported. */
	if (p->infra)
		registry_made(q->lc, p->infra);
	if (r < 0)
		return r;
	log_info("Ran pod sandbox %s with infra container: %s (%s)", p->id, p->name, p->plugins);
	return 0;
}

int pod_run(struct lifecycle *lc, crio_call *call, struct pod_config *config, const char *handler, char **ret_id, crio_err *err)
{
	int r = pod_config_check(config, err);
	if (r < 0)
		return r;
	cleanup_free char *name = NULL;
	r = name_of_pod(config, &name, err);
	if (r < 0)
		return r;
	struct pod_request q = { lc, call, config, handler, name };
	return make_named(lc, call, "pod", name, POD_WORK_NS, make_pod, &q, ret_id, err);
}
