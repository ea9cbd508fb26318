/* spec_linux.c: namespaces and resources of a spec, and the reading and changing of resources later. */
#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/clamp.h"
#include "core/lifecycle/spec_priv.h"
#include "core/util/fs.h"

#include <unistd.h>

#define MIN_MEMORY_DEFAULT (12 << 20)

/* ---- namespaces ---- */

static int add_ns(struct json_object *arr, const char *type, const char *path)
{
	cleanup_json struct json_object *o = json_object_new_object();

	if (!o || json_set_str(o, "type", type) < 0 || (*path && json_set_str(o, "path", path) < 0))
		return CRIO_E_NOMEM;
	return json_push(arr, move_ptr(o));
}

static int pid_ns(struct spec_build *b, const struct namespace_options *ns, struct json_object *arr, crio_err *err)
{
	const char *path = or_empty(b->a->pidns);

	switch (ns->pid) {
	case NS_NODE:
		return 0;
	case NS_POD:
		/* The pod's own process is the one whose namespace the others join. */
		if (!*path && b->a->container)
			return err_set(
			    err, CRIO_E_PRECONDITION,
			    b->a->pod->sec.ns.pid != NS_POD
				? "pod level PID namespace requested for the container, but pod sandbox was not "
				  "similarly configured, "
				  "and does not have an infra container"
				: "PID namespace requested, but sandbox infra container unexpectedly invalid");
		break;
	case NS_TARGET:
		if (!*path && b->a->container)
			return err_set(err, CRIO_E_INVALID, "target PID namespace specified with invalid target ID");
		break;
	case NS_CONTAINER:
		path = "";
		break;
	}
	return add_ns(arr, "pid", path) < 0 ? err_nomem(err) : 0;
}

/* ---- owners in a user namespace ---- */

static uint32_t host_id(const struct id_map *m, uint32_t id)
{
	uint32_t h = id_to_host(m, id);

	return h == IDMAP_NONE ? id_to_host(m, 0) : h;
}

uid_t spec_host_uid(const struct spec_args *a, uint32_t id)
{
	return a->userns_maps ? host_id(&a->userns_maps->uids, id) : id;
}

gid_t spec_host_gid(const struct spec_args *a, uint32_t id)
{
	return a->userns_maps ? host_id(&a->userns_maps->gids, id) : id;
}

uid_t spec_root_uid(const struct spec_args *a, uint32_t id)
{
	return a->rootfs_container_ids ? id : spec_host_uid(a, id);
}

gid_t spec_root_gid(const struct spec_args *a, uint32_t id)
{
	return a->rootfs_container_ids ? id : spec_host_gid(a, id);
}

int spec_give(const struct spec_args *a, const char *path, crio_err *err)
{
	if (!str_set(a->userns))
		return 0;
	if (lchown(path, spec_host_uid(a, 0), spec_host_gid(a, 0)) < 0)
		return err_errno(err, errno, "give %s to root of the user namespace", path);
	return 0;
}

int spec_set_namespaces(struct spec_build *b, const struct namespace_options *ns, crio_err *err)
{
	const struct spec_args *a = b->a;
	struct json_object *arr = json_need_arr(spec_linux(b), "namespaces");
	int r = arr ? pid_ns(b, ns, arr, err) : err_nomem(err);

	if (r < 0)
		return r;
	if (ns->network != NS_NODE && str_set(a->netns))
		r = add_ns(arr, "network", a->netns);
	if (!r && ns->ipc != NS_NODE && str_set(a->ipcns))
		r = add_ns(arr, "ipc", a->ipcns);
	if (!r && str_set(a->utsns))
		r = add_ns(arr, "uts", a->utsns);
	if (!r)
		r = add_ns(arr, "mount", "");
	if (!r && !b->privileged && cgroup_facts()->v2)
		r = add_ns(arr, "cgroup", "");
	if (!r && str_set(a->userns)) {
		r = add_ns(arr, "user", a->userns);
		/* With a path too: they say whom the runtime gives files, and cgroups that it hands over. */
		if (!r)
			r = json_set(spec_linux(b), "uidMappings", id_map_json(&a->userns_maps->uids, ID_MAP_OCI));
		if (!r)
			r = json_set(spec_linux(b), "gidMappings", id_map_json(&a->userns_maps->gids, ID_MAP_OCI));
	}
	if (!r && str_set(a->utsns) && str_set(a->hostname))
		r = json_set_str(b->spec, "hostname", a->hostname);
	return r < 0 ? err_nomem(err) : 0;
}

/* ---- resources ---- */

static int set_if(struct json_object *res, const char *group, const char *key, int64_t v)
{
	struct json_object *o;

	if (!v)
		return 0;
	o = json_need_obj(res, group);
	return o ? json_set_int(o, key, v) : CRIO_E_NOMEM;
}

static int set_text_if(struct json_object *res, const char *group, const char *key, const char *v)
{
	struct json_object *o;

	if (!str_set(v))
		return 0;
	o = json_need_obj(res, group);
	return o ? json_set_str(o, key, v) : CRIO_E_NOMEM;
}

static int check(const struct resources *r, int64_t min_memory, crio_err *err)
{
	if (r->cpu_period < 0 || r->cpu_shares < 0 || r->memory_limit < 0)
		return err_set(err, CRIO_E_INVALID,
			       "cpu_period, cpu_shares and memory_limit_in_bytes cannot be negative");
	if (!str_is_printable(r->cpuset_cpus) || !str_is_printable(r->cpuset_mems))
		return err_set(err, CRIO_E_INVALID, "cpuset has control bytes");
	if (min_memory <= 0)
		min_memory = MIN_MEMORY_DEFAULT;
	if (r->memory_limit && r->memory_limit < min_memory)
		return err_set(err, CRIO_E_INVALID, "set memory limit %lld too low; should be at least %lld bytes",
			       (long long)r->memory_limit, (long long)min_memory);
	if (r->memory_limit && r->memory_swap_limit > 0 && r->memory_swap_limit < r->memory_limit)
		return err_set(err, CRIO_E_INVALID, "memory swap limit (%lld) cannot be lower than memory limit (%lld)",
			       (long long)r->memory_swap_limit, (long long)r->memory_limit);
	for (size_t i = 0; i < r->unified.n; i++)
		if (!path_is_name(r->unified.v[i].key))
			return err_set(err, CRIO_E_INVALID, "unified: '%.64s' is no file name of a cgroup",
				       r->unified.v[i].key);
	return 0;
}

static int set_hugepages(struct json_object *res, const struct resources *r)
{
	struct json_object *arr;

	if (!r->n_hugepages || !cgroup_facts()->has_hugetlb)
		return 0;
	arr = json_need_arr(res, "hugepageLimits");
	for (size_t i = 0; i < r->n_hugepages; i++) {
		cleanup_json struct json_object *o = json_object_new_object();

		if (!arr || !o || json_set_str(o, "pageSize", r->hugepages[i].page_size) < 0 ||
		    json_set(o, "limit", json_object_new_uint64(r->hugepages[i].limit)) < 0 ||
		    json_push(arr, move_ptr(o)) < 0)
			return CRIO_E_NOMEM;
	}
	return 0;
}

/* Into res (an OCI linux.resources object). */
static int put_resources(struct json_object *res, const struct resources *r)
{
	struct json_object *u;

	if (set_if(res, "cpu", "shares", r->cpu_shares) < 0 || set_if(res, "cpu", "period", r->cpu_period) < 0 ||
	    set_if(res, "cpu", "quota", r->cpu_quota) < 0 || set_text_if(res, "cpu", "cpus", r->cpuset_cpus) < 0 ||
	    set_text_if(res, "cpu", "mems", r->cpuset_mems) < 0 ||
	    set_if(res, "memory", "limit", r->memory_limit) < 0 || set_hugepages(res, r) < 0)
		return CRIO_E_NOMEM;
	if (r->memory_limit && cgroup_facts()->has_memory_swap &&
	    set_if(res, "memory", "swap", r->memory_swap_limit ? r->memory_swap_limit : r->memory_limit) < 0)
		return CRIO_E_NOMEM;
	if (!cgroup_facts()->v2 || !r->unified.n)
		return 0;
	u = json_need_obj(res, "unified");
	for (size_t i = 0; i < r->unified.n; i++)
		if (!u || json_set_str(u, r->unified.v[i].key, r->unified.v[i].value) < 0)
			return CRIO_E_NOMEM;
	return 0;
}

int spec_set_resources(struct spec_build *b, crio_err *err)
{
	const struct resources *r = &b->a->container->resources;
	struct json_object *res = json_need_obj(spec_linux(b), "resources"), *p = spec_process(b);
	const struct conf *c = b->a->conf;
	int x = check(r, b->a->runtime->container_min_memory_bytes, err);

	if (x < 0)
		return x;
	if (!res || !p || put_resources(res, r) < 0)
		return err_nomem(err);
	if (r->set && json_set_int(p, "oomScoreAdj", clamp_oom_score_adj(r->oom_score_adj)) < 0)
		return err_nomem(err);
	if (c->runtime.pids_limit > 0 && cgroup_facts()->has_pids &&
	    set_if(res, "pids", "limit", c->runtime.pids_limit) < 0)
		return err_nomem(err);
	return 0;
}

/* ---- workloads ---- */

static int override(const struct json_object *o, const char *key, int64_t *v, crio_err *err)
{
	struct json_object *x = json_get(o, key);

	if (!x)
		return 0;
	if (!json_object_is_type(x, json_type_int) || json_object_get_int64(x) < -1)
		return err_set(err, CRIO_E_INVALID, "'%s' is not a number of resources", key);
	if (json_object_get_int64(x))
		*v = json_object_get_int64(x);
	return 0;
}

/* The CPU resources of the workload that the pod activates, with what "<prefix>/<container>" of the pod says instead.
 */
int spec_set_workload(struct spec_build *b, crio_err *err)
{
	const struct conf_workload *w = b->a->workload;
	cleanup_free char *key = NULL;
	cleanup_json struct json_object *o = NULL;
	cleanup_err crio_err e = ERR_INIT;
	struct resources r = {0};
	const char *text;
	int64_t limit;
	int x;

	if (!w)
		return 0;
	r.cpu_shares = w->resources.cpushares;
	r.cpu_quota = w->resources.cpuquota;
	r.cpu_period = w->resources.cpuperiod;
	r.cpuset_cpus = w->resources.cpuset;
	limit = w->resources.cpulimit;
	key = path_fmt("%s/%s", or_empty(w->annotation_prefix), b->a->container->meta.name);
	if (!key)
		return err_nomem(err);
	text = kvs_get(&b->a->pod->annotations, key);
	if (text) {
		x = json_parse(text, strlen(text), &o, &e);
		if (!x)
			x = override(o, "cpushares", &r.cpu_shares, &e);
		if (!x)
			x = override(o, "cpuquota", &r.cpu_quota, &e);
		if (!x)
			x = override(o, "cpuperiod", &r.cpu_period, &e);
		if (!x)
			x = override(o, "cpulimit", &limit, &e);
		if (x < 0)
			return err_set(err, CRIO_E_INVALID, "annotation '%s': %s", key, err_text(&e));
		if (*json_str(o, "cpuset"))
			r.cpuset_cpus = (char *)(uintptr_t)json_str(o, "cpuset"); /* only read */
	}
	if (limit > 0) { /* millicores of a period, at least a millisecond of it */
		int64_t period = r.cpu_period ? r.cpu_period : 100000;

		r.cpu_quota = limit > INT64_MAX / period ? INT64_MAX / 1000 : limit * period / 1000;
		if (r.cpu_quota < 1000)
			r.cpu_quota = 1000;
	}
	if (r.cpuset_cpus && !str_is_printable(r.cpuset_cpus))
		return err_set(err, CRIO_E_INVALID, "annotation '%s': cpuset has control bytes", key);
	return put_resources(json_need_obj(spec_linux(b), "resources"), &r) < 0 ? err_nomem(err) : 0;
}

/* ---- later ---- */

int spec_update_resources(struct json_object *spec, const struct resources *r, int64_t min_memory, char **ret_update,
			  crio_err *err)
{
	struct json_object *l = json_need_obj(spec, "linux"), *res = l ? json_need_obj(l, "resources") : NULL;
	cleanup_json struct json_object *update = json_object_new_object();
	int x = check(r, min_memory, err);

	if (x < 0)
		return x;
	if (!res || !update || put_resources(update, r) < 0 || put_resources(res, r) < 0)
		return err_nomem(err);
	*ret_update = json_text(update);
	return *ret_update ? 0 : err_nomem(err);
}

int spec_get_resources(const struct json_object *spec, struct resources *ret, crio_err *err)
{
	struct json_object *res = json_path(spec, "linux.resources"), *cpu = json_obj(res, "cpu"),
			   *mem = json_obj(res, "memory");
	struct json_object *huge = json_arr(res, "hugepageLimits"), *u = json_obj(res, "unified");
	cleanup_resources struct resources r = {0};

	if (resources_init(&r) < 0 || config_set_str(&r.cpuset_cpus, json_str(cpu, "cpus")) < 0 ||
	    config_set_str(&r.cpuset_mems, json_str(cpu, "mems")) < 0)
		return err_nomem(err);
	r.set = res != NULL;
	r.cpu_shares = json_int(cpu, "shares", 0);
	r.cpu_period = json_int(cpu, "period", 0);
	r.cpu_quota = json_int(cpu, "quota", 0);
	r.memory_limit = json_int(mem, "limit", 0);
	r.memory_swap_limit = json_int(mem, "swap", 0);
	r.oom_score_adj = json_int(json_obj(spec, "process"), "oomScoreAdj", 0);
	if (u && json_map(u, &r.unified) < 0)
		return err_set(err, CRIO_E_CORRUPT, "linux.resources.unified of the spec");
	if (huge && json_object_array_length(huge) <= 64) {
		r.hugepages = calloc(json_object_array_length(huge) + 1, sizeof(*r.hugepages));
		if (!r.hugepages)
			return err_nomem(err);
		for (; r.n_hugepages < json_object_array_length(huge); r.n_hugepages++) {
			const struct json_object *h = json_object_array_get_idx(huge, r.n_hugepages);

			r.hugepages[r.n_hugepages].limit =
			    json_get(h, "limit") ? json_object_get_uint64(json_get(h, "limit")) : 0;
			if (config_set_str(&r.hugepages[r.n_hugepages].page_size, json_str(h, "pageSize")) < 0)
				return err_nomem(err);
		}
	}
	*ret = r;
	r = (struct resources){0};
	return 0;
}
