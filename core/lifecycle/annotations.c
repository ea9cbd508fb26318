/* annotations.c: see annotations.h. */
#include "core/lifecycle/annotations.h"

/* Names that CRI-O acts on, with their older form. */
static const struct {
	const char *v2, *v1;
} known[] = {
    {ANN_CGROUP2_RW, "io.kubernetes.cri-o.cgroup2-mount-hierarchy-rw"},
    {ANN_DEVICES, "io.kubernetes.cri-o.Devices"},
    {ANN_DISABLE_FIPS, "io.kubernetes.cri-o.DisableFIPS"},
    {ANN_LINK_LOGS, "io.kubernetes.cri-o.LinkLogs"},
    {ANN_PLATFORM_RUNTIME_PATH, "io.kubernetes.cri-o.PlatformRuntimePath"},
    {ANN_POD_OVERHEAD, "io.kubernetes.cri-o.PodLinuxOverhead"},
    {ANN_POD_RESOURCES, "io.kubernetes.cri-o.PodLinuxResources"},
    {ANN_SECCOMP_NOTIFIER, "io.kubernetes.cri-o.seccompNotifierAction"},
    {ANN_SECCOMP_PROFILE, "seccomp-profile.kubernetes.cri-o.io"},
    {ANN_SHM_SIZE, "io.kubernetes.cri-o.ShmSize"},
    {ANN_SPOOFED, "io.kubernetes.cri-o.Spoofed"},
    {ANN_SKIP_SELINUX_LABEL, "io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel"},
    {ANN_UMASK, "io.kubernetes.cri-o.umask"},
    {ANN_UNIFIED_CGROUP, "io.kubernetes.cri-o.UnifiedCgroup"},
    {ANN_USERNS_MODE, "io.kubernetes.cri-o.userns-mode"},
    {"cpu-c-states.crio.io", NULL},
    {"cpu-freq-governor.crio.io", NULL},
    {"cpu-load-balancing.crio.io", NULL},
    {"cpu-quota.crio.io", NULL},
    {"cpu-shared.crio.io", NULL},
    {"irq-load-balancing.crio.io", NULL},
    {ANN_TRACE_SYSCALL, NULL},
    {ANN_STOP_SIGNAL, NULL},
    {"io.kubernetes.cri.rdt-class", NULL},
    /* What OCI runtimes act on. */
    {"bundle", NULL},
    {"org.systemd.property.", NULL},
    {"org.criu.config", NULL},
    {"module.wasm.image/variant", NULL},
    {"io.kubernetes.cri.container-type", NULL},
    {"run.oci.", NULL},
};

static size_t known_index(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_eq(name, known[i].v2) || (known[i].v1 && str_eq(name, known[i].v1)))
			return i;
	return ARRAY_SIZE(known);
}

bool annotation_known(const char *name)
{
	return known_index(name) < ARRAY_SIZE(known);
}

/* Is known[i] in the list, in either form? */
static bool is_allowed(size_t i, const struct strv *allowed)
{
	for (size_t j = 0; allowed && j < allowed->n; j++)
		if (known_index(allowed->v[j]) == i)
			return true;
	return false;
}

bool annotation_allowed(const char *key, const struct strv *allowed)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if ((str_starts(key, known[i].v2) || (known[i].v1 && str_starts(key, known[i].v1))) &&
		    !is_allowed(i, allowed))
			return false;
	return true;
}

bool annotation_reserved(const char *key)
{
	static const char *const names[] = {
	    ANN_ANNOTATIONS,
	    ANN_LABELS,
	    ANN_METADATA,
	    ANN_CONTAINER_ID,
	    ANN_CONTAINER_NAME,
	    ANN_CONTAINER_TYPE,
	    ANN_CREATED,
	    ANN_HOST_NAME,
	    ANN_HOSTNAME_PATH,
	    ANN_IMAGE,
	    ANN_IMAGE_NAME,
	    ANN_IMAGE_REF,
	    ANN_IMAGE_REPO_DIGESTS,
	    ANN_KUBE_NAME,
	    ANN_NAMESPACE,
	    ANN_NAMESPACE_OPTIONS,
	    ANN_PORT_MAPPINGS,
	    ANN_LOG_PATH,
	    ANN_NAME,
	    ANN_PRIVILEGED_RUNTIME,
	    ANN_RESOLV_PATH,
	    ANN_RUNTIME_HANDLER,
	    ANN_SANDBOX_ID,
	    ANN_SANDBOX_NAME,
	    ANN_SECCOMP_PROFILE_PATH,
	    ANN_SHM_PATH,
	    ANN_MOUNT_POINT,
	    ANN_STDIN,
	    ANN_STDIN_ONCE,
	    ANN_TTY,
	    ANN_VOLUMES,
	    ANN_HOST_NETWORK,
	    ANN_CGROUP_PARENT,
	    ANN_CNI_RESULT,
	    ANN_MANAGER,
	    ANN_SPOOFED,
	    ANN_PLATFORM_RUNTIME_PATH,
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(key, names[i]))
			return true;
	/* "io.kubernetes.cri-o.crio.*": what later versions of this daemon keep; ".IP.<n>". */
	return str_starts(key, ANN_IP ".") || str_starts(key, ANN_("crio."));
}

int annotations_filter(struct kvs *m, const struct strv *allowed, crio_err *err)
{
	(void)err;
	for (size_t i = m->n; i-- > 0;)
		if (!annotation_allowed(m->v[i].key, allowed))
			kvs_del(m, m->v[i].key);
	return 0;
}

static const char *get_form(const struct kvs *m, const char *name, const char *container)
{
	const char *v = NULL;
	char *key;

	if (!str_set(container))
		return kvs_get(m, name);
	for (int i = 0; !v && i < 2; i++) {
		if (asprintf(&key, "%s%c%s", name, "/."[i], container) < 0)
			return NULL;
		v = kvs_get(m, key);
		free(key);
	}
	return v;
}

const char *annotation_get(const struct kvs *m, const char *v2_name, const char *container)
{
	size_t i = known_index(v2_name);
	const char *v = get_form(m, v2_name, container);

	if (!v && i < ARRAY_SIZE(known) && known[i].v1)
		v = get_form(m, known[i].v1, container);
	return v;
}

/* 10^n or 2^n behind the number; false: unknown. */
static bool quantity_suffix(const char *s, int *ret_base, int *ret_exp)
{
	static const char binary[] = "KMGTPE", decimal[] = "kMGTPE";
	const char *at = *s ? strchr(binary, *s) : NULL;
	int64_t e;

	*ret_base = 10;
	*ret_exp = 0;
	if (!*s)
		return true;
	if (at && str_eq(s + 1, "i")) {
		*ret_base = 2;
		*ret_exp = 10 * (int)(at - binary + 1);
		return true;
	}
	at = strchr(decimal, *s);
	if (at && !s[1]) {
		*ret_exp = 3 * (int)(at - decimal + 1);
		return true;
	}
	if ((*s != 'e' && *s != 'E') || !str_to_i64(s + 1, 0, 18, &e))
		return false;
	*ret_exp = (int)e;
	return true;
}

bool quantity_parse(const char *s, int64_t *ret)
{
	size_t whole = strspn(s, "0123456789"), part = s[whole] == '.' ? strspn(s + whole + 1, "0123456789") : 0;
	long double v = 0, scale = 1;
	int base, exp;

	if (whole > 18 || part > 9 || whole + part == 0 ||
	    !quantity_suffix(s + whole + (s[whole] == '.' ? part + 1 : 0), &base, &exp))
		return false;
	for (size_t i = 0; i < whole; i++)
		v = v * 10 + (s[i] - '0');
	for (size_t i = 0; i < part; i++) {
		v = v * 10 + (s[whole + 1 + i] - '0');
		scale *= 10;
	}
	while (exp-- > 0)
		v *= base;
	v /= scale;
	if (v <= 0 || v >= 9.2e18L)
		return false;
	*ret = (int64_t)v;
	*ret += (long double)*ret < v;
	return true;
}
