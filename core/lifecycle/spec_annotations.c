/* spec_annotations.c: what config.json says about a pod or container besides how to run it. CRI-O, and this daemon
 * after a restart, read their state back from here: keys and forms are fixed. */
#include "core/lifecycle/annotations.h"
#include "core/lifecycle/spec_priv.h"
#include "core/util/fs.h"

static int put(struct json_object *o, const char *key, const char *v)
{
	return json_set_str(o, key, or_empty(v));
}

static int put_json(struct json_object *o, const char *key, const struct json_object *v)
{
	cleanup_free char *t = v ? json_text(v) : NULL;

	return t ? json_set_str(o, key, t) : CRIO_E_NOMEM;
}

static int put_bool(struct json_object *o, const char *key, bool v)
{
	return json_set_str(o, key, v ? "true" : "false");
}

/* A Go map: sorted keys, an empty one is {}. */
static int put_map(struct json_object *o, const char *key, const struct kvs *m)
{
	cleanup_kvs struct kvs sorted = KVS_INIT;
	cleanup_json struct json_object *j = NULL;

	if (kvs_copy(&sorted, m) < 0)
		return CRIO_E_NOMEM;
	kvs_sort(&sorted);
	j = json_from_kvs(&sorted);
	return put_json(o, key, j);
}

/* The client's own, flat, for hooks and runtimes. Never a key of the daemon's, nor one that a runtime acts on and that
 * the handler does not allow (labels are not filtered before). */
static int put_flat(struct spec_build *b, struct json_object *o, const struct kvs *m)
{
	for (size_t i = 0; i < m->n; i++) {
		if (annotation_reserved(m->v[i].key) || !annotation_allowed(m->v[i].key, b->a->allowed_annotations))
			continue;
		if (json_set_str(o, m->v[i].key, m->v[i].value) < 0)
			return CRIO_E_NOMEM;
	}
	return 0;
}

static int put_created(struct spec_build *b, struct json_object *o)
{
	char t[40];

	time_format(b->a->created_ns, t);
	return put(o, ANN_CREATED, t);
}

/* "org.systemd.property.*": how the scope behaves at the host's shutdown. Values are ours or a checked number. */
static int put_systemd(struct json_object *o, const struct kvs *annotations)
{
	const char *grace = annotations ? kvs_get(annotations, "io.kubernetes.pod.terminationGracePeriod") : NULL;
	cleanup_free char *t = NULL;
	uint64_t s;

	if (grace && str_to_u64(grace, UINT32_MAX, &s)) {
		t = path_fmt("uint64 %llu000000", (unsigned long long)s);
		if (!t || put(o, "org.systemd.property.TimeoutStopUSec", t) < 0)
			return CRIO_E_NOMEM;
	}
	if (put(o, "org.systemd.property.DefaultDependencies", "true") < 0)
		return CRIO_E_NOMEM;
	return put(o, "org.systemd.property.After", "['crio.service']");
}

static int put_ips(struct json_object *o, const struct strv *ips)
{
	char key[64];

	for (size_t i = 0; ips && i < ips->n; i++) {
		(void)snprintf(key, sizeof(key), "%s.%zu", ANN_IP, i);
		if (put(o, key, ips->v[i]) < 0)
			return CRIO_E_NOMEM;
	}
	return 0;
}

static int put_image(struct spec_build *b, struct json_object *o)
{
	const struct image *im = b->a->image;
	struct buf digests = BUF_INIT;
	cleanup_free char *t = NULL;

	if (put(o, ANN_IMAGE_NAME,
		im && im->repo_tags.n	   ? im->repo_tags.v[0]
		: im && im->repo_digests.n ? im->repo_digests.v[0]
					   : "") < 0)
		return CRIO_E_NOMEM;
	if (!im)
		return 0;
	if (put(o, ANN_IMAGE_REF, im->id) < 0)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < im->repo_digests.n; i++)
		buf_addf(&digests, "%s%s", i ? "," : "", im->repo_digests.v[i]);
	t = buf_take(&digests);
	if (!t)
		return CRIO_E_NOMEM;
	return *t ? put(o, ANN_IMAGE_REPO_DIGESTS, t) : 0;
}

static struct json_object *container_metadata(const struct container_metadata *m)
{
	cleanup_json struct json_object *o = json_object_new_object();

	if (!o || json_set_str(o, "name", m->name) < 0 || (m->attempt && json_set_int(o, "attempt", m->attempt) < 0))
		return NULL;
	return move_ptr(o);
}

static int trace_annotation(struct spec_build *b, struct json_object *o)
{
	const char *v = annotation_get(&b->a->pod->annotations, ANN_TRACE_SYSCALL, b->a->container->meta.name);

	return v ? put(o, ANN_TRACE_SYSCALL, v) : 0;
}

int spec_annotate_container(struct spec_build *b, struct json_object *volumes, crio_err *err)
{
	const struct spec_args *a = b->a;
	const struct container_config *c = a->container;
	struct json_object *o = json_need_obj(b->spec, "annotations");
	cleanup_json struct json_object *meta = container_metadata(&c->meta);

	if (!o || put_flat(b, o, &a->pod->annotations) < 0 || put_flat(b, o, &c->annotations) < 0 ||
	    put_flat(b, o, &c->labels) < 0 || trace_annotation(b, o) < 0)
		return err_nomem(err);
	if (put(o, ANN_IMAGE, c->image) < 0 || put_image(b, o) < 0 || put(o, ANN_NAME, a->name) < 0 ||
	    put(o, ANN_CONTAINER_ID, a->id) < 0 || put(o, ANN_SANDBOX_ID, a->pod_id) < 0 ||
	    put(o, ANN_SANDBOX_NAME, a->pod_name) < 0 || put(o, ANN_CONTAINER_TYPE, "container") < 0 ||
	    put(o, ANN_LOG_PATH, a->log_path) < 0 || put_bool(o, ANN_TTY, c->tty) < 0 ||
	    put_bool(o, ANN_STDIN, c->stdin_open) < 0 || put_bool(o, ANN_STDIN_ONCE, c->stdin_once) < 0 ||
	    put(o, ANN_RESOLV_PATH, a->resolv_path) < 0 || put(o, ANN_MANAGER, "cri-o") < 0 ||
	    put(o, ANN_MOUNT_POINT, a->rootfs_path) < 0 || put(o, ANN_SECCOMP_PROFILE_PATH, b->info.seccomp_ref) < 0 ||
	    put_created(b, o) < 0 || put(o, ANN_PLATFORM_RUNTIME_PATH, a->platform_runtime_path) < 0 ||
	    put_json(o, ANN_METADATA, meta) < 0 || put_map(o, ANN_LABELS, &c->labels) < 0 ||
	    put_json(o, ANN_VOLUMES, volumes) < 0 || put_map(o, ANN_ANNOTATIONS, &c->annotations) < 0 ||
	    put_ips(o, a->ips) < 0)
		return err_nomem(err);
	if (a->conf->runtime.cgroup_manager == CONF_CGROUP_SYSTEMD && put_systemd(o, &c->annotations) < 0)
		return err_nomem(err);
	if (*b->info.stop_signal && put(o, ANN_STOP_SIGNAL, b->info.stop_signal) < 0)
		return err_nomem(err);
	return 0;
}

/* ---- pods ---- */

static struct json_object *pod_metadata(const struct pod_metadata *m)
{
	cleanup_json struct json_object *o = json_object_new_object();

	if (!o || json_set_str(o, "name", m->name) < 0 || (*m->uid && json_set_str(o, "uid", m->uid) < 0) ||
	    (*m->ns && json_set_str(o, "namespace", m->ns) < 0) ||
	    (m->attempt && json_set_int(o, "attempt", m->attempt) < 0))
		return NULL;
	return move_ptr(o);
}

/* As Go writes the message: what is 0 is left out. */
static struct json_object *namespace_options(const struct namespace_options *n)
{
	cleanup_json struct json_object *o = json_object_new_object();
	struct json_object *u;

	if (!o || (n->network && json_set_int(o, "network", n->network) < 0) ||
	    (n->pid && json_set_int(o, "pid", n->pid) < 0) || (n->ipc && json_set_int(o, "ipc", n->ipc) < 0) ||
	    (str_set(n->target_id) && json_set_str(o, "target_id", n->target_id) < 0))
		return NULL;
	if (n->userns.set) {
		u = json_need_obj(o, "userns_options");
		if (!u || (n->userns.mode && json_set_int(u, "mode", n->userns.mode) < 0) ||
		    (n->userns.maps.uids.n && json_set(u, "uids", id_map_json(&n->userns.maps.uids, ID_MAP_CRI)) < 0) ||
		    (n->userns.maps.gids.n && json_set(u, "gids", id_map_json(&n->userns.maps.gids, ID_MAP_CRI)) < 0))
			return NULL;
	}
	return move_ptr(o);
}

static struct json_object *port_mappings(const struct pod_config *p)
{
	static const char *const names[] = {"TCP", "UDP", "SCTP"};
	cleanup_json struct json_object *arr = json_object_new_array();

	for (size_t i = 0; arr && i < p->n_ports; i++) {
		cleanup_json struct json_object *o = NULL;

		if (p->ports[i].host_port <= 0)
			continue;
		o = json_object_new_object();
		if (!o || json_set_int(o, "HostPort", p->ports[i].host_port) < 0 ||
		    json_set_int(o, "ContainerPort", p->ports[i].container_port) < 0 ||
		    json_set_str(o, "Protocol",
				 p->ports[i].protocol <= PROTO_SCTP ? names[p->ports[i].protocol] : "TCP") < 0 ||
		    json_set_str(o, "HostIP", or_empty(p->ports[i].host_ip)) < 0 || json_push(arr, move_ptr(o)) < 0)
			return NULL;
	}
	return move_ptr(arr);
}

static int nonzero(struct json_object *o, const char *key, int64_t v)
{
	return v ? json_set_int(o, key, v) : 0;
}

/* LinuxContainerResources as Go writes it; not given: null. */
static int put_resources(struct json_object *ann, const char *key, const struct resources *r)
{
	cleanup_json struct json_object *o = json_object_new_object();

	if (!r->set)
		return put(ann, key, "null");
	if (!o || nonzero(o, "cpu_period", r->cpu_period) < 0 || nonzero(o, "cpu_quota", r->cpu_quota) < 0 ||
	    nonzero(o, "cpu_shares", r->cpu_shares) < 0 || nonzero(o, "memory_limit_in_bytes", r->memory_limit) < 0 ||
	    nonzero(o, "oom_score_adj", r->oom_score_adj) < 0 ||
	    nonzero(o, "memory_swap_limit_in_bytes", r->memory_swap_limit) < 0 ||
	    (*r->cpuset_cpus && json_set_str(o, "cpuset_cpus", r->cpuset_cpus) < 0) ||
	    (*r->cpuset_mems && json_set_str(o, "cpuset_mems", r->cpuset_mems) < 0) ||
	    (r->unified.n && json_set(o, "unified", json_from_kvs(&r->unified)) < 0))
		return CRIO_E_NOMEM;
	return put_json(ann, key, o);
}

/* The pod's labels with those that crictl leaves out, and the infra container's name. */
static int pod_labels(const struct pod_config *p, struct kvs *ret)
{
	static const char *const names[] = {"io.kubernetes.pod.name", "io.kubernetes.pod.namespace",
					    "io.kubernetes.pod.uid"};
	const char *const values[] = {p->meta.name, p->meta.ns, p->meta.uid};

	if (kvs_copy(ret, &p->labels) < 0)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!kvs_get(ret, names[i]) && kvs_set(ret, names[i], values[i]) < 0)
			return CRIO_E_NOMEM;
	return kvs_set(ret, "io.kubernetes.container.name", "POD");
}

static int put_pod_identity(struct spec_build *b, struct json_object *o)
{
	const struct spec_args *a = b->a;
	const struct pod_config *p = a->pod;
	const char *pause = a->conf->image.pause_image;

	return put(o, ANN_LOG_PATH, a->log_path) < 0 || put(o, ANN_NAME, a->pod_name) < 0 ||
		       put(o, ANN_SANDBOX_NAME, a->pod_name) < 0 || put(o, ANN_NAMESPACE, p->meta.ns) < 0 ||
		       put(o, ANN_CONTAINER_TYPE, "sandbox") < 0 || put(o, ANN_SANDBOX_ID, a->pod_id) < 0 ||
		       put(o, ANN_IMAGE, pause) < 0 || put(o, ANN_IMAGE_NAME, pause) < 0 ||
		       put(o, ANN_CONTAINER_NAME, a->name) < 0 || put(o, ANN_CONTAINER_ID, a->pod_id) < 0 ||
		       put(o, ANN_KUBE_NAME, p->meta.name) < 0 || put(o, ANN_HOST_NAME, a->hostname) < 0 ||
		       put(o, ANN_MANAGER, "cri-o") < 0 || put_created(b, o) < 0
		   ? CRIO_E_NOMEM
		   : 0;
}

static int put_pod_files(struct spec_build *b, struct json_object *o)
{
	const struct spec_args *a = b->a;

	return put(o, ANN_SHM_PATH, str_set(a->shm_path) ? a->shm_path : "/dev/shm") < 0 ||
		       put(o, ANN_RESOLV_PATH, a->resolv_path) < 0 || put(o, ANN_HOSTNAME_PATH, a->hostname_path) < 0 ||
		       put(o, ANN_MOUNT_POINT, a->rootfs_path) < 0 || put(o, ANN_CGROUP_PARENT, a->cgroup_parent) < 0 ||
		       put(o, ANN_SECCOMP_PROFILE_PATH, b->info.seccomp_ref) < 0 || put_ips(o, a->ips) < 0 ||
		       (str_set(a->cni_result) && put(o, ANN_CNI_RESULT, a->cni_result) < 0) ||
		       (a->spoofed && put(o, ANN_SPOOFED, "true") < 0) ||
		       put(o, ANN_PLATFORM_RUNTIME_PATH, a->platform_runtime_path) < 0
		   ? CRIO_E_NOMEM
		   : 0;
}

int spec_annotate_pod(struct spec_build *b, crio_err *err)
{
	const struct spec_args *a = b->a;
	const struct pod_config *p = a->pod;
	struct json_object *o = json_need_obj(b->spec, "annotations");
	cleanup_json struct json_object *meta = pod_metadata(&p->meta), *ns = namespace_options(&p->sec.ns);
	cleanup_json struct json_object *ports = port_mappings(p);
	cleanup_kvs struct kvs labels = KVS_INIT, annotations = KVS_INIT;
	int r = pod_labels(p, &labels);

	if (!r)
		r = kvs_copy(&annotations, &p->annotations);
	for (size_t i = 0; !r && i < a->runtime->default_annotations.n; i++)
		if (!kvs_get(&annotations, a->runtime->default_annotations.v[i].key))
			r = kvs_set(&annotations, a->runtime->default_annotations.v[i].key,
				    a->runtime->default_annotations.v[i].value);
	if (r < 0 || !o || put_flat(b, o, &annotations) < 0 || put_flat(b, o, &labels) < 0)
		return err_nomem(err);
	if (put_json(o, ANN_METADATA, meta) < 0 || put_map(o, ANN_LABELS, &labels) < 0 ||
	    put_map(o, ANN_ANNOTATIONS, &annotations) < 0 || put_pod_identity(b, o) < 0 || put_pod_files(b, o) < 0 ||
	    put_bool(o, ANN_PRIVILEGED_RUNTIME, p->sec.privileged) < 0 ||
	    put(o, ANN_RUNTIME_HANDLER, a->runtime_handler) < 0 || put_json(o, ANN_NAMESPACE_OPTIONS, ns) < 0 ||
	    put_bool(o, ANN_HOST_NETWORK, p->sec.ns.network == NS_NODE) < 0 ||
	    put_json(o, ANN_PORT_MAPPINGS, ports) < 0 || put_resources(o, ANN_POD_OVERHEAD, &p->overhead) < 0 ||
	    put_resources(o, ANN_POD_RESOURCES, &p->resources) < 0)
		return err_nomem(err);
	if (a->conf->runtime.cgroup_manager == CONF_CGROUP_SYSTEMD && put_systemd(o, NULL) < 0)
		return err_nomem(err);
	return 0;
}
