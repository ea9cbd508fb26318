/* convert_parts.c: the parts that pods and containers share. */
#include "core/rpc/convert.h"

int convert_str(char **dst, const char *src, crio_err *err)
{
	return config_set_str(dst, src) < 0 ? err_nomem(err) : 0;
}

static int too_many(const char *field, size_t n, size_t max, crio_err *err)
{
	return err_set(err, CRIO_E_INVALID, "%s has %zu elements: at most %zu are allowed", field, n, max);
}

int convert_strs(struct strv *dst, char *const *v, size_t n, const char *field, size_t max, crio_err *err)
{
	size_t i;

	if (n > max)
		return too_many(field, n, max, err);
	strv_clear(dst);
	for (i = 0; i < n; i++)
		if (strv_add(dst, v[i]) < 0)
			return err_nomem(err);
	return 0;
}

/* What every generated XEntry of a map<string, string> looks like. */
struct entry {
	ProtobufCMessage base;
	char *key, *value;
};
_Static_assert(sizeof(struct entry) == sizeof(CRI(PodSandboxConfig__LabelsEntry)) &&
		   offsetof(struct entry, value) == offsetof(CRI(PodSandboxConfig__LabelsEntry), value),
	       "layout of map entries");

struct indexed {
	const struct entry *e;
	size_t i;
};

static int by_key(const void *a, const void *b)
{
	const struct indexed *x = a, *y = b;
	int r = strcmp(x->e->key, y->e->key);

	return r ? r : x->i < y->i ? -1 : 1;
}

int convert_map(struct kvs *dst, const void *entries, size_t n, crio_err *err)
{
	const struct entry *const *v = entries;
	cleanup_free struct indexed *s = NULL;
	size_t i;

	kvs_release(dst);
	if (!n)
		return 0;
	s = calloc(n, sizeof(*s));
	if (!s)
		return err_nomem(err);
	for (i = 0; i < n; i++)
		s[i] = (struct indexed){v[i], i};
	qsort(s, n, sizeof(*s), by_key);
	for (i = 0; i < n; i++) {
		if (i + 1 < n && str_eq(s[i].e->key, s[i + 1].e->key))
			continue; /* a later one wins */
		if (kvs_set(dst, s[i].e->key, s[i].e->value) < 0)
			return err_nomem(err);
	}
	return 0;
}

int convert_mappings(struct id_map *dst, CRI(IDMapping) *const *v, size_t n, const char *field, crio_err *err)
{
	if (n > CONVERT_MAPPINGS_MAX)
		return too_many(field, n, CONVERT_MAPPINGS_MAX, err);
	for (size_t i = 0; i < n; i++) {
		int r = id_map_add(dst, v[i]->container_id, v[i]->host_id, v[i]->length, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int convert_resources(struct resources *dst, const CRI(LinuxContainerResources) * src, crio_err *err)
{
	size_t i;
	int r;

	if (!src)
		return 0;
	dst->set = true;
	dst->cpu_period = src->cpu_period;
	dst->cpu_quota = src->cpu_quota;
	dst->cpu_shares = src->cpu_shares;
	dst->memory_limit = src->memory_limit_in_bytes;
	dst->memory_swap_limit = src->memory_swap_limit_in_bytes;
	dst->oom_score_adj = src->oom_score_adj;
	r = convert_str(&dst->cpuset_cpus, src->cpuset_cpus, err);
	if (!r)
		r = convert_str(&dst->cpuset_mems, src->cpuset_mems, err);
	if (!r)
		r = convert_map(&dst->unified, src->unified, src->n_unified, err);
	if (r < 0 || !src->n_hugepage_limits)
		return r;
	if (src->n_hugepage_limits > CONVERT_LIST_MAX)
		return too_many("hugepage_limits", src->n_hugepage_limits, CONVERT_LIST_MAX, err);
	dst->hugepages = calloc(src->n_hugepage_limits, sizeof(*dst->hugepages));
	if (!dst->hugepages)
		return err_nomem(err);
	for (i = 0; i < src->n_hugepage_limits && !r; i++, dst->n_hugepages++) {
		dst->hugepages[i].limit = src->hugepage_limits[i]->limit;
		r = convert_str(&dst->hugepages[i].page_size, src->hugepage_limits[i]->page_size, err);
	}
	return r;
}

static int ns_mode(enum ns_mode *dst, int src, const char *field, crio_err *err)
{
	if (src < NS_POD || src > NS_TARGET)
		return err_set(err, CRIO_E_INVALID, "%s: %d is no namespace mode", field, src);
	*dst = (enum ns_mode)src;
	return 0;
}

static int namespaces(struct namespace_options *dst, const CRI(NamespaceOption) * src, crio_err *err)
{
	const CRI(UserNamespace) * u;
	int r;

	if (!src)
		return 0;
	r = ns_mode(&dst->network, (int)src->network, "namespace_options.network", err);
	if (!r)
		r = ns_mode(&dst->pid, (int)src->pid, "namespace_options.pid", err);
	if (!r)
		r = ns_mode(&dst->ipc, (int)src->ipc, "namespace_options.ipc", err);
	if (!r)
		r = convert_str(&dst->target_id, src->target_id, err);
	u = src->userns_options;
	if (r < 0 || !u)
		return r;
	dst->userns.set = true;
	r = ns_mode(&dst->userns.mode, (int)u->mode, "userns_options.mode", err);
	if (!r)
		r = convert_mappings(&dst->userns.maps.uids, u->uids, u->n_uids, "userns_options.uids", err);
	if (!r)
		r = convert_mappings(&dst->userns.maps.gids, u->gids, u->n_gids, "userns_options.gids", err);
	return r;
}

static int selinux(struct selinux_option *dst, const CRI(SELinuxOption) * src, crio_err *err)
{
	int r;

	if (!src)
		return 0;
	dst->set = true;
	r = convert_str(&dst->user, src->user, err);
	if (!r)
		r = convert_str(&dst->role, src->role, err);
	if (!r)
		r = convert_str(&dst->type, src->type, err);
	if (!r)
		r = convert_str(&dst->level, src->level, err);
	return r;
}

/* `old` is the deprecated text field: "runtime/default", "unconfined", "localhost/<name>"; it counts when src is
 * absent. */
static int profile(struct security_profile *dst, const CRI(SecurityProfile) * src, const char *old, const char *field,
		   crio_err *err)
{
	if (!src && !str_set(old))
		return 0;
	dst->set = true;
	if (src) {
		if ((int)src->profile_type < PROFILE_RUNTIME_DEFAULT || (int)src->profile_type > PROFILE_LOCALHOST)
			return err_set(err, CRIO_E_INVALID, "%s: %d is no profile type", field, (int)src->profile_type);
		dst->type = (enum profile_type)src->profile_type;
		return convert_str(&dst->localhost_ref, src->localhost_ref, err);
	}
	if (str_eq(old, "runtime/default") || str_eq(old, "docker/default")) {
		dst->type = PROFILE_RUNTIME_DEFAULT;
		return 0;
	}
	if (str_eq(old, "unconfined")) {
		dst->type = PROFILE_UNCONFINED;
		return 0;
	}
	dst->type = PROFILE_LOCALHOST;
	return convert_str(&dst->localhost_ref, str_starts(old, "localhost/") ? old + strlen("localhost/") : old, err);
}

static void opt(struct opt_i64 *dst, const CRI(Int64Value) * src)
{
	dst->set = src != NULL;
	dst->v = src ? src->value : 0;
}

static int groups(struct security_context *dst, const int64_t *v, size_t n, int policy, crio_err *err)
{
	if (n > CONVERT_GROUPS_MAX)
		return too_many("supplemental_groups", n, CONVERT_GROUPS_MAX, err);
	if (policy < GROUPS_MERGE || policy > GROUPS_STRICT)
		return err_set(err, CRIO_E_INVALID, "supplemental_groups_policy: %d is no policy", policy);
	dst->groups_policy = (enum groups_policy)policy;
	if (!n)
		return 0;
	dst->supplemental_groups = calloc(n, sizeof(*v));
	if (!dst->supplemental_groups)
		return err_nomem(err);
	memcpy(dst->supplemental_groups, v, n * sizeof(*v));
	dst->n_supplemental_groups = n;
	return 0;
}

int convert_pod_security(struct security_context *dst, const CRI(LinuxSandboxSecurityContext) * src, crio_err *err)
{
	int r;

	if (!src)
		return 0;
	dst->set = true;
	opt(&dst->run_as_user, src->run_as_user);
	opt(&dst->run_as_group, src->run_as_group);
	dst->readonly_rootfs = src->readonly_rootfs;
	dst->privileged = src->privileged;
	r = namespaces(&dst->ns, src->namespace_options, err);
	if (!r)
		r = selinux(&dst->selinux, src->selinux_options, err);
	if (!r)
		r = groups(dst, src->supplemental_groups, src->n_supplemental_groups,
			   (int)src->supplemental_groups_policy, err);
	if (!r)
		r = profile(&dst->seccomp, src->seccomp, src->seccomp_profile_path, "seccomp", err);
	if (!r)
		r = profile(&dst->apparmor, src->apparmor, NULL, "apparmor", err);
	return r;
}

static int capabilities(struct security_context *dst, const CRI(Capability) * src, crio_err *err)
{
	int r;

	if (!src)
		return 0;
	r = convert_strs(&dst->cap_add, src->add_capabilities, src->n_add_capabilities, "add_capabilities",
			 CONVERT_LIST_MAX, err);
	if (!r)
		r = convert_strs(&dst->cap_drop, src->drop_capabilities, src->n_drop_capabilities, "drop_capabilities",
				 CONVERT_LIST_MAX, err);
	if (!r)
		r = convert_strs(&dst->cap_ambient, src->add_ambient_capabilities, src->n_add_ambient_capabilities,
				 "add_ambient_capabilities", CONVERT_LIST_MAX, err);
	return r;
}

int convert_container_security(struct security_context *dst, const CRI(LinuxContainerSecurityContext) * src,
			       crio_err *err)
{
	int r;

	if (!src)
		return 0;
	dst->set = true;
	opt(&dst->run_as_user, src->run_as_user);
	opt(&dst->run_as_group, src->run_as_group);
	dst->readonly_rootfs = src->readonly_rootfs;
	dst->privileged = src->privileged;
	dst->no_new_privs = src->no_new_privs;
	if (dst->run_as_group.set && !dst->run_as_user.set && !str_set(src->run_as_username))
		return err_set(err, CRIO_E_INVALID, "user group is specified without user or username");
	r = convert_str(&dst->run_as_username, src->run_as_username, err);
	if (!r)
		r = capabilities(dst, src->capabilities, err);
	if (!r)
		r = namespaces(&dst->ns, src->namespace_options, err);
	if (!r)
		r = selinux(&dst->selinux, src->selinux_options, err);
	if (!r)
		r = groups(dst, src->supplemental_groups, src->n_supplemental_groups,
			   (int)src->supplemental_groups_policy, err);
	if (!r)
		r = profile(&dst->seccomp, src->seccomp, src->seccomp_profile_path, "seccomp", err);
	if (!r)
		r = profile(&dst->apparmor, src->apparmor, src->apparmor_profile, "apparmor", err);
	if (!r)
		r = convert_strs(&dst->masked_paths, src->masked_paths, src->n_masked_paths, "masked_paths",
				 CONVERT_LIST_MAX, err);
	if (!r)
		r = convert_strs(&dst->readonly_paths, src->readonly_paths, src->n_readonly_paths, "readonly_paths",
				 CONVERT_LIST_MAX, err);
	return r;
}
