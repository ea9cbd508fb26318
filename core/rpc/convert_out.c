/* convert_out.c: what the core knows, as the wire's structs. */
#include "core/rpc/convert.h"

#define NEW(call, var, type, INIT, err)                                                                                \
	do {                                                                                                           \
		(var) = call_alloc(call, sizeof(CRI(type)));                                                           \
		if (!(var))                                                                                            \
			return err_nomem(err);                                                                         \
		*(var) = (CRI(type))INIT;                                                                              \
	} while (0)

/* Entries of all maps are alike on the wire, so one type serves for all. */
int convert_kvs_out(crio_call *call, const struct kvs *m, void *ret_entries, size_t *ret_n, crio_err *err)
{
	CRI(PodSandboxConfig__LabelsEntry) * *v, *e;
	size_t i;

	if (!m->n)
		return 0;
	v = call_alloc(call, m->n * sizeof(*v));
	e = call_alloc(call, m->n * sizeof(*e));
	if (!v || !e)
		return err_nomem(err);
	for (i = 0; i < m->n; i++) {
		e[i] = (CRI(PodSandboxConfig__LabelsEntry))RUNTIME__V1__POD_SANDBOX_CONFIG__LABELS_ENTRY__INIT;
		e[i].key = m->v[i].key;
		e[i].value = m->v[i].value;
		v[i] = &e[i];
	}
	memcpy(ret_entries, &v, sizeof(v));
	*ret_n = m->n;
	return 0;
}

static int mappings_out(crio_call *call, const struct id_map *m, CRI(IDMapping) * **ret, size_t *ret_n, crio_err *err)
{
	CRI(IDMapping) * *v, *e;
	size_t i;

	if (!m->n)
		return 0;
	v = call_alloc(call, m->n * sizeof(*v));
	e = call_alloc(call, m->n * sizeof(*e));
	if (!v || !e)
		return err_nomem(err);
	for (i = 0; i < m->n; i++) {
		e[i] = (CRI(IDMapping))RUNTIME__V1__IDMAPPING__INIT;
		e[i].host_id = m->v[i].host_id;
		e[i].container_id = m->v[i].container_id;
		e[i].length = m->v[i].length;
		v[i] = &e[i];
	}
	*ret = v;
	*ret_n = m->n;
	return 0;
}

static int pod_metadata(crio_call *call, const struct pod_metadata *m, CRI(PodSandboxMetadata) * *ret, crio_err *err)
{
	NEW(call, *ret, PodSandboxMetadata, RUNTIME__V1__POD_SANDBOX_METADATA__INIT, err);
	(*ret)->name = m->name;
	(*ret)->uid = m->uid;
	(*ret)->namespace_ = m->ns;
	(*ret)->attempt = m->attempt;
	return 0;
}

static int container_metadata(crio_call *call, const struct container_metadata *m, CRI(ContainerMetadata) * *ret,
			      crio_err *err)
{
	NEW(call, *ret, ContainerMetadata, RUNTIME__V1__CONTAINER_METADATA__INIT, err);
	(*ret)->name = m->name;
	(*ret)->attempt = m->attempt;
	return 0;
}

static int network_out(crio_call *call, const struct strv *ips, CRI(PodSandboxNetworkStatus) * *ret, crio_err *err)
{
	CRI(PodIP) * *v;
	size_t i;

	NEW(call, *ret, PodSandboxNetworkStatus, RUNTIME__V1__POD_SANDBOX_NETWORK_STATUS__INIT, err);
	if (ips->n)
		(*ret)->ip = ips->v[0];
	if (ips->n < 2)
		return 0;
	v = call_alloc(call, (ips->n - 1) * sizeof(*v));
	if (!v)
		return err_nomem(err);
	for (i = 1; i < ips->n; i++) {
		NEW(call, v[i - 1], PodIP, RUNTIME__V1__POD_IP__INIT, err);
		v[i - 1]->ip = ips->v[i];
	}
	(*ret)->additional_ips = v;
	(*ret)->n_additional_ips = ips->n - 1;
	return 0;
}

static int namespaces_out(crio_call *call, const struct namespace_options *o, CRI(LinuxPodSandboxStatus) * *ret,
			  crio_err *err)
{
	CRI(NamespaceOption) * n;
	CRI(UserNamespace) * u;
	int r;

	NEW(call, *ret, LinuxPodSandboxStatus, RUNTIME__V1__LINUX_POD_SANDBOX_STATUS__INIT, err);
	NEW(call, (*ret)->namespaces, Namespace, RUNTIME__V1__NAMESPACE__INIT, err);
	NEW(call, n, NamespaceOption, RUNTIME__V1__NAMESPACE_OPTION__INIT, err);
	(*ret)->namespaces->options = n;
	n->network = (Runtime__V1__NamespaceMode)o->network;
	n->pid = (Runtime__V1__NamespaceMode)o->pid;
	n->ipc = (Runtime__V1__NamespaceMode)o->ipc;
	n->target_id = o->target_id;
	if (!o->userns.set)
		return 0;
	NEW(call, u, UserNamespace, RUNTIME__V1__USER_NAMESPACE__INIT, err);
	n->userns_options = u;
	u->mode = (Runtime__V1__NamespaceMode)o->userns.mode;
	r = mappings_out(call, &o->userns.maps.uids, &u->uids, &u->n_uids, err);
	if (!r)
		r = mappings_out(call, &o->userns.maps.gids, &u->gids, &u->n_gids, err);
	return r;
}

/* runtime_handler is not filled in either message: CRI-O does not. */
int convert_pod_status_out(crio_call *call, const struct pod_status *s, CRI(PodSandboxStatus) * *ret, crio_err *err)
{
	CRI(PodSandboxStatus) * p;
	int r;

	NEW(call, p, PodSandboxStatus, RUNTIME__V1__POD_SANDBOX_STATUS__INIT, err);
	p->id = (char *)(uintptr_t)s->id;
	p->state = (Runtime__V1__PodSandboxState)s->state;
	p->created_at = s->created_ns;
	r = pod_metadata(call, &s->config->meta, &p->metadata, err);
	if (!r)
		r = network_out(call, &s->ips, &p->network, err);
	if (!r && s->config->sec.set)
		r = namespaces_out(call, &s->config->sec.ns, &p->linux, err);
	if (!r)
		r = convert_kvs_out(call, &s->config->labels, &p->labels, &p->n_labels, err);
	if (!r)
		r = convert_kvs_out(call, &s->config->annotations, &p->annotations, &p->n_annotations, err);
	*ret = p;
	return r;
}

int convert_pod_out(crio_call *call, const struct pod_status *s, CRI(PodSandbox) * *ret, crio_err *err)
{
	CRI(PodSandbox) * p;
	int r;

	NEW(call, p, PodSandbox, RUNTIME__V1__POD_SANDBOX__INIT, err);
	p->id = (char *)(uintptr_t)s->id;
	p->state = (Runtime__V1__PodSandboxState)s->state;
	p->created_at = s->created_ns;
	r = pod_metadata(call, &s->config->meta, &p->metadata, err);
	if (!r)
		r = convert_kvs_out(call, &s->config->labels, &p->labels, &p->n_labels, err);
	if (!r)
		r = convert_kvs_out(call, &s->config->annotations, &p->annotations, &p->n_annotations, err);
	*ret = p;
	return r;
}

static int resources_out(crio_call *call, const struct resources *s, CRI(ContainerResources) * *ret, crio_err *err)
{
	CRI(LinuxContainerResources) * l;
	size_t i;

	NEW(call, *ret, ContainerResources, RUNTIME__V1__CONTAINER_RESOURCES__INIT, err);
	NEW(call, l, LinuxContainerResources, RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT, err);
	(*ret)->linux = l;
	l->cpu_period = s->cpu_period;
	l->cpu_quota = s->cpu_quota;
	l->cpu_shares = s->cpu_shares;
	l->memory_limit_in_bytes = s->memory_limit;
	l->memory_swap_limit_in_bytes = s->memory_swap_limit;
	l->oom_score_adj = s->oom_score_adj;
	l->cpuset_cpus = s->cpuset_cpus;
	l->cpuset_mems = s->cpuset_mems;
	if (s->n_hugepages) {
		l->hugepage_limits = call_alloc(call, s->n_hugepages * sizeof(*l->hugepage_limits));
		if (!l->hugepage_limits)
			return err_nomem(err);
		for (i = 0; i < s->n_hugepages; i++) {
			NEW(call, l->hugepage_limits[i], HugepageLimit, RUNTIME__V1__HUGEPAGE_LIMIT__INIT, err);
			l->hugepage_limits[i]->page_size = s->hugepages[i].page_size;
			l->hugepage_limits[i]->limit = s->hugepages[i].limit;
		}
		l->n_hugepage_limits = s->n_hugepages;
	}
	return convert_kvs_out(call, &s->unified, &l->unified, &l->n_unified, err);
}

static int mounts_out(crio_call *call, const struct container_config *c, CRI(Mount) * **ret, size_t *ret_n,
		      crio_err *err)
{
	CRI(Mount) * *v;
	size_t i;

	if (!c->n_mounts)
		return 0;
	v = call_alloc(call, c->n_mounts * sizeof(*v));
	if (!v)
		return err_nomem(err);
	for (i = 0; i < c->n_mounts; i++) {
		const struct mount_config *m = &c->mounts[i];

		NEW(call, v[i], Mount, RUNTIME__V1__MOUNT__INIT, err);
		v[i]->container_path = m->container_path;
		v[i]->host_path = m->host_path;
		v[i]->readonly = m->readonly;
		v[i]->recursive_read_only = m->recursive_read_only;
		v[i]->selinux_relabel = m->selinux_relabel;
		v[i]->propagation = (Runtime__V1__MountPropagation)m->propagation;
		if (str_set(m->image)) {
			NEW(call, v[i]->image, ImageSpec, RUNTIME__V1__IMAGE_SPEC__INIT, err);
			v[i]->image->image = m->image;
		}
		v[i]->image_sub_path = m->image_sub_path;
	}
	*ret = v;
	*ret_n = c->n_mounts;
	return 0;
}

static int user_out(crio_call *call, const struct container_status *s, CRI(ContainerUser) * *ret, crio_err *err)
{
	CRI(LinuxContainerUser) * l;

	if (s->uid < 0)
		return 0;
	NEW(call, *ret, ContainerUser, RUNTIME__V1__CONTAINER_USER__INIT, err);
	NEW(call, l, LinuxContainerUser, RUNTIME__V1__LINUX_CONTAINER_USER__INIT, err);
	(*ret)->linux = l;
	l->uid = s->uid;
	l->gid = s->gid;
	l->supplemental_groups = s->groups;
	l->n_supplemental_groups = s->n_groups;
	return 0;
}

/* Times, exit code and reason: only those of a state the container has reached. */
static void state_out(const struct container_status *s, CRI(ContainerStatus) * c)
{
	c->state = (Runtime__V1__ContainerState)s->state;
	c->created_at = s->created_ns;
	if (s->state == CONTAINER_RUNNING || s->state == CONTAINER_EXITED)
		c->started_at = s->started_ns;
	if (s->state != CONTAINER_EXITED)
		return;
	c->finished_at = s->finished_ns;
	c->exit_code = s->exit_code;
	c->reason = (char *)(uintptr_t)s->reason;
	c->message = s->message;
}

/* stop_signal is not filled: CRI-O does not. */
int convert_container_status_out(crio_call *call, const struct container_status *s, CRI(ContainerStatus) * *ret,
				 crio_err *err)
{
	CRI(ContainerStatus) * c;
	int r;

	NEW(call, c, ContainerStatus, RUNTIME__V1__CONTAINER_STATUS__INIT, err);
	c->id = (char *)(uintptr_t)s->id;
	c->image_id = (char *)(uintptr_t)s->image_id;
	c->image_ref = (char *)(uintptr_t)s->image_ref;
	c->log_path = s->log_path;
	state_out(s, c);
	NEW(call, c->image, ImageSpec, RUNTIME__V1__IMAGE_SPEC__INIT, err);
	c->image->image = (char *)(uintptr_t)s->image_name;
	r = container_metadata(call, &s->config->meta, &c->metadata, err);
	if (!r)
		r = mounts_out(call, s->config, &c->mounts, &c->n_mounts, err);
	if (!r)
		r = resources_out(call, &s->resources, &c->resources, err);
	if (!r)
		r = user_out(call, s, &c->user, err);
	if (!r)
		r = convert_kvs_out(call, &s->config->labels, &c->labels, &c->n_labels, err);
	if (!r)
		r = convert_kvs_out(call, &s->config->annotations, &c->annotations, &c->n_annotations, err);
	*ret = c;
	return r;
}

int convert_container_out(crio_call *call, const struct container_status *s, CRI(Container) * *ret, crio_err *err)
{
	CRI(Container) * c;
	int r;

	NEW(call, c, Container, RUNTIME__V1__CONTAINER__INIT, err);
	c->id = (char *)(uintptr_t)s->id;
	c->pod_sandbox_id = (char *)(uintptr_t)s->pod_id;
	c->image_id = (char *)(uintptr_t)s->image_id;
	c->image_ref = (char *)(uintptr_t)s->image_ref;
	c->state = (Runtime__V1__ContainerState)s->state;
	c->created_at = s->created_ns;
	NEW(call, c->image, ImageSpec, RUNTIME__V1__IMAGE_SPEC__INIT, err);
	c->image->image = (char *)(uintptr_t)s->image_name;
	r = container_metadata(call, &s->config->meta, &c->metadata, err);
	if (!r)
		r = convert_kvs_out(call, &s->config->labels, &c->labels, &c->n_labels, err);
	if (!r)
		r = convert_kvs_out(call, &s->config->annotations, &c->annotations, &c->n_annotations, err);
	*ret = c;
	return r;
}

int convert_image_out(crio_call *call, const struct image *im, CRI(Image) * *ret, crio_err *err)
{
	CRI(Image) * i;

	NEW(call, i, Image, RUNTIME__V1__IMAGE__INIT, err);
	i->id = (char *)(uintptr_t)im->id;
	i->repo_tags = im->repo_tags.v;
	i->n_repo_tags = im->repo_tags.n;
	i->repo_digests = im->repo_digests.v;
	i->n_repo_digests = im->repo_digests.n;
	i->size = im->size;
	i->pinned = im->pinned;
	i->username = im->username;
	if (im->has_uid) {
		NEW(call, i->uid, Int64Value, RUNTIME__V1__INT64_VALUE__INIT, err);
		i->uid->value = im->uid;
	}
	*ret = i;
	return 0;
}
