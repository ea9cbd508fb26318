/*
 * recover.c: what an earlier run left. The truth is each object's userdata directory: config.json with CRI-O's annotations and
 * state.json; an object without state.json was being made when the daemon ended and is taken apart again. Pods first, then
 * containers, which find their pod by the SandboxID annotation.
 */
#include <stdatomic.h>

#include "core/lifecycle/annotations.h"
#include "core/lifecycle/checkpoint.h"
#include "core/lifecycle/inner.h"
#include "core/lifecycle/notifier.h"
#include "core/lifecycle/netns.h"
#include "core/lifecycle/wipe.h"
#include "core/plugin/select.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define CONFIG_MAX (4u << 20)
#define THREADS_MAX 4
#define EACH_MIN 8 /* objects that are worth a thread: one costs as much as a thread's making */

struct found {
	struct lifecycle *lc;
	struct store *store;
	const struct store_container *rec;
	struct json_object *ann; /* borrowed from spec */
	struct json_object *spec;
	char *dir;
};

static void found_release(struct found *f)
{
	if (f->spec)
		(void)json_object_put(f->spec);
	free(f->dir);
}

static const char *ann(const struct found *f, const char *key)
{
	return json_str(f->ann, key);
}

/* A JSON text in an annotation; NULL when it is not one. */
static struct json_object *ann_json(const struct found *f, const char *key)
{
	const char *s = ann(f, key);
	struct json_object *o = NULL;
	return *s && json_parse(s, strlen(s), &o, NULL) == 0 ? o : NULL;
}

static int restore_maps(const struct found *f, struct kvs *labels, struct kvs *annotations)
{
	cleanup_json struct json_object *l = ann_json(f, ANN_LABELS), *a = ann_json(f, ANN_ANNOTATIONS);
	int r = json_map(l, labels);
	return r < 0 ? r : json_map(a, annotations);
}

static int ns_int(const struct json_object *o, const char *key)
{
	return (int)json_int(o, key, 0);
}

static int restore_pod_config(const struct found *f, struct pod *p)
{
	struct pod_config *c = &p->config;
	cleanup_json struct json_object *meta = ann_json(f, ANN_METADATA), *ns = ann_json(f, ANN_NAMESPACE_OPTIONS),
				   *ports = ann_json(f, ANN_PORT_MAPPINGS);
	c->meta.attempt = (uint32_t)json_int(meta, "attempt", 0);
	c->sec.set = true;
	c->sec.ns.network = (enum ns_mode)ns_int(ns, "network");
	c->sec.ns.pid = (enum ns_mode)ns_int(ns, "pid");
	c->sec.ns.ipc = (enum ns_mode)ns_int(ns, "ipc");
	const struct json_object *user = json_obj(ns, "userns_options");
	if (user) {
		struct userns_options *u = &c->sec.ns.userns;
		u->set = true;
		u->mode = (enum ns_mode)ns_int(user, "mode");
		if (id_map_from_json(json_get(user, "uids"), ID_MAP_CRI, &u->maps.uids) < 0 ||
		    id_map_from_json(json_get(user, "gids"), ID_MAP_CRI, &u->maps.gids) < 0)
			return CRIO_E_CORRUPT;
	}
	if (str_eq(ann(f, ANN_HOST_NETWORK), "true"))
		c->sec.ns.network = NS_NODE;
	c->sec.privileged = str_eq(ann(f, ANN_PRIVILEGED_RUNTIME), "true");
	/* <log directory>/<id>.log */
	const char *log = ann(f, ANN_LOG_PATH), *slash = strrchr(log, '/');
	cleanup_free char *log_dir = slash && slash > log ? strndup(log, (size_t)(slash - log)) : strdup("");
	if (!log_dir || config_set_str(&c->meta.name, json_str(meta, "name")) < 0 || config_set_str(&c->meta.uid, json_str(meta, "uid")) < 0 ||
	    config_set_str(&c->meta.ns, json_str(meta, "namespace")) < 0 || config_set_str(&c->log_directory, log_dir) < 0 ||
	    config_set_str(&c->cgroup_parent, ann(f, ANN_CGROUP_PARENT)) < 0)
		return CRIO_E_NOMEM;
	size_t n = json_object_is_type(ports, json_type_array) ? json_object_array_length(ports) : 0;
	c->ports = calloc(n + 1, sizeof(*c->ports));
	if (!c->ports)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct json_object *o = json_object_array_get_idx(ports, i);
		const char *proto = json_str(o, "Protocol"); /* names as CRI-O and port_mappings (spec_annotations.c) write them */
		c->ports[i].protocol = strcasecmp(proto, "udp") == 0 ? PROTO_UDP : strcasecmp(proto, "sctp") == 0 ? PROTO_SCTP : PROTO_TCP;
		c->ports[i].container_port = (int32_t)json_int(o, "ContainerPort", 0);
		c->ports[i].host_port = (int32_t)json_int(o, "HostPort", 0);
		if (config_set_str(&c->ports[i].host_ip, json_str(o, "HostIP")) < 0)
			return CRIO_E_NOMEM;
		c->n_ports = i + 1;
	}
	return restore_maps(f, &c->labels, &c->annotations);
}

/* An annotation of our own. A pod that CRI-O ran may bring one of the same name by its own will: that one says nothing. */
static const char *ours(const struct found *f, const struct pod *p, const char *key)
{
	return kvs_get(&p->config.annotations, key) ? "" : ann(f, key);
}

/* linux.namespaces has the pins. */
static int restore_namespaces(const struct found *f, struct pod *p)
{
	struct json_object *linux_ = json_obj(f->spec, "linux");
	struct json_object *v = json_arr(linux_, "namespaces");
	size_t n = v ? json_object_array_length(v) : 0;
	for (size_t i = 0; i < n; i++) {
		const struct json_object *o = json_object_array_get_idx(v, i);
		const char *type = json_str(o, "type"), *path = json_str(o, "path");
		char **field = str_eq(type, "network") ? &p->netns
			       : str_eq(type, "ipc")   ? &p->ipcns
			       : str_eq(type, "uts")   ? &p->utsns
			       : str_eq(type, "user")  ? &p->userns
						       : NULL;
		if (field && config_set_str(field, path) < 0)
			return CRIO_E_NOMEM;
	}
	const char *name = ours(f, p, "namespaces.crio.io");
	const char *pin = *p->netns ? p->netns : *p->userns ? p->userns : p->ipcns;
	if (!*name && strchr(pin, '/')) /* written by CRI-O: <dir>/netns/<name> */
		name = strrchr(pin, '/') + 1;
	if (*p->userns && (id_map_from_json(json_get(linux_, "uidMappings"), ID_MAP_OCI, &p->maps.uids) < 0 ||
			   id_map_from_json(json_get(linux_, "gidMappings"), ID_MAP_OCI, &p->maps.gids) < 0))
		return CRIO_E_CORRUPT;
	return config_set_str(&p->ns_name, name);
}

/* Of a pod of CRI-O's: it records no addresses but those in the network's result. */
static int ips_of_result(const struct json_object *result, struct pod *p)
{
	struct json_object *v = json_arr(result, "ips");
	size_t n = v ? json_object_array_length(v) : 0;
	for (size_t i = 0; i < n && i < 16; i++) {
		const char *address = json_str(json_object_array_get_idx(v, i), "address");
		cleanup_free char *ip = strndup(address, strcspn(address, "/"));
		if (!ip || (*ip && strv_add(&p->ips, ip) < 0))
			return CRIO_E_NOMEM;
	}
	return 0;
}

static int restore_ips(const struct found *f, struct pod *p)
{
	for (int i = 0; i < 16; i++) {
		char key[64];
		(void)snprintf(key, sizeof(key), ANN_IP ".%d", i);
		const char *ip = ann(f, key);
		if (!*ip)
			break;
		if (strv_add(&p->ips, ip) < 0)
			return CRIO_E_NOMEM;
	}
	cleanup_json struct json_object *result = p->ips.n ? NULL : ann_json(f, ANN_CNI_RESULT);
	int r = ips_of_result(result, p);
	return r < 0 ? r : config_set_str(&p->cni_result, ann(f, ANN_CNI_RESULT));
}

/* The recorded plugin and instance in place of the selected ones. Where they are the same the configuration's options of today
 * count; else it says nothing of this instance, or speaks of another plugin, and the recorded ones are all there is. */
static int take_recorded(const struct found *f, const struct pod *p, const char *kind, char **plugin, char **instance,
			 struct kvs *options)
{
	char keys[3][48];
	static const char *const parts[] = { "", "-instance", "-options" };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		(void)snprintf(keys[i], sizeof(keys[i]), "%s%s.crio.io", kind, parts[i]);
	const char *was = ours(f, p, keys[0]), *was_instance = ours(f, p, keys[1]);
	if (!*was || !*was_instance || (str_eq(was, *plugin) && str_eq(was_instance, *instance)))
		return 0;
	if (config_set_str(plugin, was) < 0 || config_set_str(instance, was_instance) < 0)
		return CRIO_E_NOMEM;
	kvs_release(options);
	cleanup_json struct json_object *o = *ours(f, p, keys[2]) ? ann_json(f, keys[2]) : NULL;
	return o ? json_map(o, options) : 0;
}

/* The recorded choice wins over what the configuration would say now. A plugin that has gone leaves its field NULL: the pod stays
 * listed. */
static int restore_plugins(const struct found *f, crio_call *call, struct pod *p)
{
	struct lifecycle *lc = f->lc;
	cleanup_selection struct selection s;
	memset(&s, 0, sizeof(s));
	cleanup_err crio_err err = ERR_INIT;
	const struct conf_workload *w = conf_workload_for(lc->conf, &p->config.annotations);
	int r = select_plugins(lc->plugins, lc->conf, p->handler, w, p->host_network, &s, &err);
	if (r < 0) {
		err_clear(&err);
		r = select_plugins(lc->plugins, lc->conf, "", NULL, p->host_network, &s, &err);
	}
	if (r == 0)
		r = take_recorded(f, p, "runtime", &s.runtime, &s.runtime_instance, &s.runtime_options);
	if (r == 0)
		r = take_recorded(f, p, "network", &s.network, &s.network_instance, &s.network_options);
	if (r == 0 && *ours(f, p, "storage.crio.io"))
		r = config_set_str(&s.storage, ours(f, p, "storage.crio.io"));
	if (config_set_str(&p->plugins, ours(f, p, "plugins.crio.io")) < 0)
		return CRIO_E_NOMEM;
	p->store = f->store;
	if (r == 0)
		r = pod_open_plugins(p, call, &s, &err);
	if (r < 0)
		log_warn("Pod sandbox %s: %s", p->id, err_text(&err));
	p->store = f->store; /* where it was found */
	return config_set_str(&p->driver, store_driver(f->store));
}

static int fill_paths(struct pod *p)
{
	if (config_take_str(&p->run_dir, store_container_run_dir(p->store, p->id)) < 0 ||
	    config_take_str(&p->dir, store_container_dir(p->store, p->id)) < 0)
		return CRIO_E_NOMEM;
	if (!*p->resolv_path && config_take_str(&p->resolv_path, path_fmt("%s/resolv.conf", p->run_dir)) < 0)
		return CRIO_E_NOMEM;
	return *p->hostname_path ? 0 : config_take_str(&p->hostname_path, path_fmt("%s/hostname", p->run_dir));
}

static int restore_pod(const struct found *f, crio_call *call, struct pod *p)
{
	memcpy(p->id, f->rec->id, 64);
	int r = restore_pod_config(f, p);
	p->host_network = p->config.sec.ns.network == NS_NODE;
	p->privileged = p->config.sec.privileged;
	p->cgroup_made = str_eq(ours(f, p, "cgroup-made.crio.io"), "true");
	if (!time_parse(ann(f, ANN_CREATED), &p->created_ns))
		p->created_ns = f->rec->created_ns;
	const struct {
		char **field;
		const char *value;
	} v[] = { { &p->name, ann(f, ANN_SANDBOX_NAME) }, { &p->handler, ann(f, ANN_RUNTIME_HANDLER) },
		  { &p->hostname, ann(f, ANN_HOST_NAME) }, { &p->cgroup_parent, ann(f, ANN_CGROUP_PARENT) },
		  { &p->resolv_path, ann(f, ANN_RESOLV_PATH) }, { &p->hostname_path, ann(f, ANN_HOSTNAME_PATH) },
		  { &p->shm_path, ann(f, ANN_SHM_PATH) } };
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(v); i++)
		r = config_set_str(v[i].field, v[i].value);
	/* CRI-O keeps "k8s_..." as the container's name too. */
	if (r == 0 && !*p->name)
		r = config_set_str(&p->name, ann(f, ANN_NAME));
	const struct conf_runtime *h = conf_runtime(f->lc->conf, p->handler);
	for (size_t i = 0; r == 0 && h && i < h->allowed_annotations.n; i++)
		r = strv_add(&p->allowed_annotations, h->allowed_annotations.v[i]);
	r = r < 0 ? r : labels_restore(&p->process_label, &p->mount_label, f->rec->process_label, f->rec->mount_label);
	r = r < 0 ? r : restore_namespaces(f, p);
	r = r < 0 ? r : restore_ips(f, p);
	r = r < 0 ? r : restore_plugins(f, call, p);
	return r < 0 ? r : fill_paths(p);
}

/* ---- containers ---- */

static int restore_container(const struct found *f, struct container *c)
{
	struct container_config *cc = &c->config;
	cleanup_json struct json_object *meta = ann_json(f, ANN_METADATA);
	memcpy(c->id, f->rec->id, 64);
	cc->meta.attempt = (uint32_t)json_int(meta, "attempt", 0);
	cc->tty = str_eq(ann(f, ANN_TTY), "true");
	cc->stdin_open = str_eq(ann(f, ANN_STDIN), "true");
	cc->stdin_once = str_eq(ann(f, ANN_STDIN_ONCE), "true");
	if (!time_parse(ann(f, ANN_CREATED), &c->created_ns))
		c->created_ns = f->rec->created_ns;
	const struct {
		char **field;
		const char *value;
	} v[] = { { &c->name, ann(f, ANN_NAME) },
		  { &cc->meta.name, json_str(meta, "name") },
		  { &cc->image, ann(f, ANN_IMAGE) },
		  { &c->image_id, f->rec->image },
		  { &c->image_name, ann(f, ANN_IMAGE_NAME) },
		  { &c->image_ref, ann(f, ANN_IMAGE_REF) },
		  { &c->log_path, ann(f, ANN_LOG_PATH) },
		  { &c->rootfs, ann(f, ANN_MOUNT_POINT) } };
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		if (config_set_str(v[i].field, v[i].value) < 0)
			return CRIO_E_NOMEM;
	/* The first digest is what the status shows; without one it is the image's id. */
	const char *digests = ann(f, ANN_IMAGE_REPO_DIGESTS);
	if (*digests && config_take_str(&c->image_ref, strndup(digests, strcspn(digests, ","))) < 0)
		return CRIO_E_NOMEM;
	if (config_take_str(&c->dir, store_container_dir(f->store, c->id)) < 0 ||
	    config_take_str(&c->run_dir, store_container_run_dir(f->store, c->id)) < 0 ||
	    labels_restore(&c->process_label, &c->mount_label, f->rec->process_label, f->rec->mount_label) < 0)
		return CRIO_E_NOMEM;
	/* What the process runs as, and the mounts, are in the spec. */
	struct json_object *user = json_path(f->spec, "process.user");
	c->info.uid = (uint32_t)json_int(user, "uid", 0);
	c->info.gid = (uint32_t)json_int(user, "gid", 0);
	struct json_object *groups = json_arr(user, "additionalGids");
	size_t n = groups ? json_object_array_length(groups) : 0;
	c->info.groups = calloc(n + 1, sizeof(*c->info.groups));
	for (size_t i = 0; c->info.groups && i < n; i++)
		c->info.groups[c->info.n_groups++] = (uint32_t)json_object_get_int64(json_object_array_get_idx(groups, i));
	resources_release(&c->resources);
	c->has_resources = spec_get_resources(f->spec, &c->resources, NULL) == 0;
	char buf[24];
	const char *sig = ann(f, ANN_STOP_SIGNAL);
	if (!*sig || signal_parse(sig, &c->stop_signal) < 0)
		c->stop_signal = 15;
	if (config_set_str(&c->stop_signal_name, signal_name(c->stop_signal, buf)) < 0)
		return CRIO_E_NOMEM;
	cleanup_json struct json_object *vols = ann_json(f, ANN_VOLUMES);
	size_t m = json_object_is_type(vols, json_type_array) ? json_object_array_length(vols) : 0;
	cc->mounts = calloc(m + 1, sizeof(*cc->mounts));
	for (size_t i = 0; cc->mounts && i < m; i++) {
		const struct json_object *o = json_object_array_get_idx(vols, i);
		if (mount_config_init(&cc->mounts[i]) < 0)
			return CRIO_E_NOMEM;
		cc->n_mounts = i + 1;
		cc->mounts[i].readonly = json_flag(o, "readonly", false);
		cc->mounts[i].recursive_read_only = json_flag(o, "recursive_read_only", false);
		cc->mounts[i].selinux_relabel = json_flag(o, "selinux_relabel", false);
		cc->mounts[i].propagation = (enum mount_propagation)json_int(o, "propagation", 0);
		if (config_set_str(&cc->mounts[i].container_path, json_str(o, "container_path")) < 0 ||
		    config_set_str(&cc->mounts[i].host_path, json_str(o, "host_path")) < 0 ||
		    config_set_str(&cc->mounts[i].image, json_str(json_obj(o, "image"), "image")) < 0)
			return CRIO_E_NOMEM;
	}
	return restore_maps(f, &cc->labels, &cc->annotations);
}

/* Hands the container back to its runtime plugin, which says what has happened meanwhile. */
static void reconnect(struct container *c, crio_call *call)
{
	bool ended = c->state == CONTAINER_EXITED;
	/* The plugin has its own record of what it made; of CRI-O's it must hear to remove what there is of an ended one. */
	if (ended && (*c->pod->plugins || !c->pod->runtime || c->pod->dead))
		return;
	if (c->pod->dead) { /* its number may be another process's by now */
		container_exited(c, -1, 0, false);
		(void)container_write_state(c, NULL);
		return;
	}
	if (c->restore && !ended) /* its runtime does not know it */
		return;
	if (!c->pod->runtime) {
		orphan_adopt(c);
		return;
	}
	if (ended)
		log_debug("Container %s had ended before", c->id);
	else if (c->monitor_pid <= 0) /* CRI-O's words, here and below */
		log_debug("Skipping loading conmon process for container %s: none is recorded", c->id);
	else if (process_start_time(c->monitor_pid) != c->monitor_start_time)
		log_error("Failed to load conmon process for container %s: process %d has gone", c->id, (int)c->monitor_pid);
	const struct lifecycle *lc = c->lc;
	struct crio_runtime_reconnect_args a = { .size = sizeof(a),
						 .pid = c->pid,
						 .start_time = c->start_time,
						 .id = c->id,
						 .sandbox_id = c->pod->id,
						 .bundle = c->run_dir,
						 .persist_dir = c->dir,
						 .exit_dir = lc->conf->runtime.container_exits_dir,
						 .attach_dir = lc->conf->runtime.container_attach_socket_dir,
						 .monitor_pid = c->monitor_pid,
						 .monitor_start_time = c->monitor_start_time };
	struct crio_runtime_state_out o = { .size = sizeof(o) };
	cleanup_err crio_err err = ERR_INIT;
	int r = plugin_runtime_reconnect(c->pod->runtime, call, &a, &o, &err);
	if (ended)
		return;
	if (r < 0) {
		log_warn("Container %s: %s", c->id, err_text(&err));
		if (process_start_time(c->pid) != c->start_time || c->pid <= 0)
			container_exited(c, -1, 0, false);
		return;
	}
	if (o.status == CRIO_CONTAINER_STOPPED) {
		container_exited(c, o.exit_code, o.finished_ns, o.oom);
		(void)container_write_state(c, NULL);
	} else if (o.status == CRIO_CONTAINER_RUNNING && c->state == CONTAINER_CREATED) {
		(void)pthread_mutex_lock(&c->lock);
		c->state = CONTAINER_RUNNING; /* started, and the daemon killed before it was recorded */
		c->started_ns = c->started_ns ? c->started_ns : now_real_ns();
		container_changed(c);
		(void)pthread_mutex_unlock(&c->lock);
		(void)container_write_state(c, NULL);
	}
}

static int load(struct lifecycle *lc, struct store *s, const struct store_container *rec, struct found *f)
{
	memset(f, 0, sizeof(*f));
	f->lc = lc;
	f->store = s;
	f->rec = rec;
	f->dir = store_container_dir(s, rec->id);
	cleanup_free char *path = f->dir ? path_fmt("%s/config.json", f->dir) : NULL;
	if (!path)
		return CRIO_E_NOMEM;
	int r = json_read_file(-1, path, CONFIG_MAX, &f->spec, NULL);
	f->ann = r == 0 ? json_obj(f->spec, "annotations") : NULL;
	return r;
}

static void discard(struct store *s, crio_call *call, const char *id, const char *what)
{
	cleanup_err crio_err err = ERR_INIT;
	log_info("Remove %s %s, which was being made when the daemon ended", what, id);
	cleanup_free char *run_dir = store_container_run_dir(s, id);
	if ((run_dir && image_mounts_release(s, call, run_dir, &err) < 0) || store_unmount(s, call, id, true, &err) < 0 ||
	    store_container_delete(s, call, id, &err) < 0)
		log_warn("Remove half-made %s %s: %s", what, id, err_text(&err));
}

/* Returns whether there is one to reconnect to. */
static bool recover_infra(struct pod *p, const struct found *f)
{
	if (str_eq(ann(f, ANN_SPOOFED), "true") || str_eq(ann(f, "io.kubernetes.cri-o.Spoofed"), "true") || !*f->rec->image)
		return false;
	struct container *c = container_new(p->lc);
	if (!c)
		return false;
	c->pod = p;
	c->is_infra = true;
	p->infra = c;
	return restore_container(f, c) == 0 && container_read_state(c, NULL) == 0;
}

/* Of an earlier boot: by its own word, or (CRI-O's) since its pinned namespace is only a file any more. */
static bool is_dead(const struct found *f, const struct pod *p)
{
	const char *boot = ours(f, p, "boot-id.crio.io");
	if (*boot && *p->lc->boot_id)
		return !str_eq(boot, p->lc->boot_id);
	return !p->stopped && !p->host_network && *p->netns && !ns_is(p->netns, NS_KIND_NET);
}

static void recover_pod(struct lifecycle *lc, struct store *s, const struct store_container *rec, crio_call *call)
{
	CLEANUP(found_release) struct found f;
	cleanup_pod struct pod *p = NULL;
	if (load(lc, s, rec, &f) < 0 || !f.ann) {
		discard(s, call, rec->id, "pod sandbox"); /* nothing outside its directories was made before config.json */
		return;
	}
	p = pod_new(lc);
	if (!p || restore_pod(&f, call, p) < 0) {
		log_warn("Pod sandbox %s cannot be restored: its config.json is not usable", rec->id);
		return;
	}
	if (pod_read_state(p, NULL) < 0) {
		cleanup_err crio_err err = ERR_INIT;
		log_info("Take down pod sandbox %s, which was being made when the daemon ended", p->id);
		p->network_up = !p->host_network;
		if (recover_infra(p, &f))
			reconnect(p->infra, call);
		if (pod_release_all(p, call, &err) < 0) {
			log_warn("Take down half-made pod sandbox %s: %s", p->id, err_text(&err));
			leftover_add(lc, p, NULL);
		}
		return;
	}
	bool infra = recover_infra(p, &f);
	p->dead = is_dead(&f, p);
	if (p->dead)
		log_info("Nothing of pod sandbox %s runs any more: the machine was booted since", p->id);
	p->told_stop = p->stopped || p->dead;
	if (names_restore(lc->names, p->name, p->id, NULL) < 0)
		log_warn("Pod sandbox %s: its name '%s' is taken by another", p->id, p->name);
	if (registry_add_pod(lc, p, NULL) < 0)
		log_warn("Pod sandbox %s: no memory", p->id);
	else if (infra) /* known first: its exit may be reported at any moment from here on */
		reconnect(p->infra, call);
}

static void recover_container(struct lifecycle *lc, struct store *s, const struct store_container *rec, crio_call *call)
{
	CLEANUP(found_release) struct found f;
	cleanup_container struct container *c = container_new(lc);
	int r = load(lc, s, rec, &f);
	if (!c)
		return;
	cleanup_pod struct pod *p = NULL;
	if (r == 0 && f.ann)
		(void)registry_pod(lc, ann(&f, ANN_SANDBOX_ID), &p, NULL);
	if (!p || restore_container(&f, c) < 0) {
		discard(s, call, rec->id, "container");
		return;
	}
	c->pod = pod_ref(p);
	if (container_read_state(c, NULL) < 0) {
		cleanup_err crio_err err = ERR_INIT;
		log_info("Take down container %s, which was being made when the daemon ended", c->id);
		if (container_release_all(c, call, &err) < 0) {
			log_warn("Take down half-made container %s: %s", c->id, err_text(&err));
			leftover_add(lc, NULL, c);
		}
		return;
	}
	c->told_exit = c->state == CONTAINER_EXITED;
	forbidden_recover(c, f.spec);
	if (names_restore(lc->names, c->name, c->id, NULL) < 0)
		log_warn("Container %s: its name '%s' is taken by another", c->id, c->name);
	if (registry_add_container(lc, c, NULL) < 0)
		log_warn("Container %s: no memory", c->id);
	else {
		reconnect(c, call);
		checkpoint_recover(c, call);
	}
}

static int by_age(const void *a, const void *b)
{
	const struct store_container *x = *(struct store_container *const *)a, *y = *(struct store_container *const *)b;
	return x->created_ns < y->created_ns ? -1 : x->created_ns > y->created_ns;
}

/* What is recovered of one store: its pods, or its containers. */
struct batch {
	struct lifecycle *lc;
	struct store *s;
	crio_call *call;
	bool pods;
	struct store_container **v;
	size_t n;
	_Atomic size_t next;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	int helpers; /* at work; guarded by lock */
};

static void take_from(struct batch *b)
{
	size_t i;

	while ((i = atomic_fetch_add(&b->next, 1)) < b->n)
		if (b->pods)
			recover_pod(b->lc, b->s, b->v[i], b->call);
		else
			recover_container(b->lc, b->s, b->v[i], b->call);
}

static void help(void *arg)
{
	struct batch *b = arg;

	take_from(b);
	(void)pthread_mutex_lock(&b->lock);
	if (--b->helpers == 0)
		(void)pthread_cond_signal(&b->ended);
	(void)pthread_mutex_unlock(&b->lock);
}

/* By several threads: each object is files to read and parse, and questions to its runtime's plugin, which another thread answers. */
static void recover_batch(struct batch *b)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t wanted = cpus > THREADS_MAX ? THREADS_MAX : cpus > 1 ? (size_t)cpus : 1;

	(void)pthread_mutex_init(&b->lock, NULL);
	(void)pthread_cond_init(&b->ended, NULL);
	for (size_t i = 1; i < wanted && i * EACH_MIN < b->n; i++) {
		(void)pthread_mutex_lock(&b->lock);
		b->helpers++;
		(void)pthread_mutex_unlock(&b->lock);
		if (workers_run(b->lc->workers, WORK_SETUP, help, b, NULL) < 0) { /* then with fewer */
			(void)pthread_mutex_lock(&b->lock);
			b->helpers--;
			(void)pthread_mutex_unlock(&b->lock);
			break;
		}
	}
	take_from(b);
	(void)pthread_mutex_lock(&b->lock);
	while (b->helpers > 0)
		(void)pthread_cond_wait(&b->ended, &b->lock);
	(void)pthread_mutex_unlock(&b->lock);
	(void)pthread_cond_destroy(&b->ended);
	(void)pthread_mutex_destroy(&b->lock);
}

int recover(struct lifecycle *lc, crio_call *call, crio_err *err)
{
	struct store *s;
	/* Pods of all stores before containers of any: a container may stand on another store than its pod's record. */
	for (int pods = 1; pods >= 0; pods--) {
		for (size_t i = 0; (s = images_store_at(lc->images, i)); i++) {
			const struct store_containers *all = store_containers_get(s);
			cleanup_free struct store_container **v = calloc(all->n + 1, sizeof(*v));
			struct batch b = { .lc = lc, .s = s, .call = call, .pods = pods == 1, .v = v };
			if (!v) {
				store_containers_unref(all);
				return err_nomem(err);
			}
			for (size_t j = 0; j < all->n; j++) {
				bool is_pod = false;
				if (wipe_is_ours(all->v[j], &is_pod) && is_pod == b.pods)
					v[b.n++] = all->v[j];
			}
			qsort(v, b.n, sizeof(*v), by_age);
			recover_batch(&b);
			store_containers_unref(all);
		}
	}
	registry_sort(lc);
	notifiers_sweep(lc->notifiers);
	return 0;
}
