/* spec.c: see spec.h. Puts the parts together in the order they depend on each other. */
#include "core/lifecycle/spec.h"

#include "core/lifecycle/annotations.h"
#include "core/lifecycle/caps.h"
#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/clamp.h"
#include "core/lifecycle/mounts.h"
#include "core/lifecycle/spec_priv.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define OCI_VERSION "1.0.2"
#define INFRA_OOM_SCORE_ADJ (-998)
#define INFRA_CPU_SHARES 2

void spec_info_release(struct spec_info *i)
{
	free(i->groups);
	free(i->stop_signal);
	free(i->seccomp_ref);
	*i = (struct spec_info){0};
}

void spec_build_release(struct spec_build *b)
{
	if (b->spec)
		(void)json_object_put(b->spec);
	spec_info_release(&b->info);
	free(b->passwd_path);
	free(b->group_path);
	*b = (struct spec_build){0};
}

static int start(struct spec_build *b, crio_err *err)
{
	struct json_object *root;

	b->spec = json_object_new_object();
	if (!b->spec || json_set_str(b->spec, "ociVersion", OCI_VERSION) < 0 || !spec_process(b) || !spec_linux(b))
		return err_nomem(err);
	root = json_need_obj(b->spec, "root");
	if (!root || json_set_str(root, "path", or_empty(b->a->rootfs_path)) < 0 ||
	    json_set_bool(root, "readonly", b->read_only) < 0)
		return err_nomem(err);
	return 0;
}

static int set_cgroup(struct spec_build *b, const char *id, crio_err *err)
{
	bool systemd = b->a->conf->runtime.cgroup_manager == CONF_CGROUP_SYSTEMD;
	cleanup_free char *path = NULL;
	int r = cgroup_oci_path(systemd, b->a->cgroup_parent, id, &path, err);

	if (r < 0)
		return r;
	return json_set_str(spec_linux(b), "cgroupsPath", path) < 0 ? err_nomem(err) : 0;
}

/* unified-cgroup.crio.io/<container>: "file=value;file=value", values may be base64. */
static bool base64(const char *s, char *out, size_t n)
{
	static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strlen(s), o = 0;

	if (!len || len % 4)
		return false;
	for (size_t i = 0; i < len; i += 4) {
		uint32_t v = 0;
		int pad = 0;

		for (size_t j = 0; j < 4; j++) {
			const char *p = s[i + j] == '=' ? NULL : strchr(abc, s[i + j]);

			if (s[i + j] == '=' && i + 4 == len && j >= 2)
				pad++;
			else if (!p || pad)
				return false;
			v = v << 6 | (p ? (uint32_t)(p - abc) : 0);
		}
		for (int k = 0; k < 3 - pad; k++) {
			if (o + 1 >= n)
				return false;
			out[o++] = (char)(v >> (16 - 8 * k));
		}
	}
	out[o] = '\0';
	return str_is_utf8(out, o);
}

static int set_unified(struct spec_build *b, crio_err *err)
{
	const char *name = kvs_get(&b->a->container->labels, "io.kubernetes.container.name");
	const char *v = str_set(name) ? annotation_get(&b->a->pod->annotations, ANN_UNIFIED_CGROUP, name) : NULL;
	struct json_object *res = json_need_obj(spec_linux(b), "resources"), *u;
	cleanup_strv struct strv l = STRV_INIT;
	char decoded[1024];

	if (!str_set(v) || !cgroup_facts()->v2)
		return 0;
	u = res ? json_need_obj(res, "unified") : NULL;
	if (!u || str_split(v, ';', &l) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < l.n; i++) {
		char *eq = strchr(l.v[i], '=');

		if (!*l.v[i])
			continue;
		if (!eq || eq == l.v[i] || strchr(l.v[i], '/'))
			return err_set(err, CRIO_E_INVALID, "invalid annotation \"%s/%.64s\"", ANN_UNIFIED_CGROUP,
				       name);
		*eq++ = '\0';
		if (json_set_str(u, l.v[i], base64(eq, decoded, sizeof(decoded)) ? decoded : eq) < 0)
			return err_nomem(err);
	}
	return 0;
}

/* min_injected_gomaxprocs: pods without a CPU limit get GOMAXPROCS of twice their CPU request, at least that key's
 * value, unless something sets it. The QoS class is only in the name of the pod's cgroup. */
static int set_gomaxprocs(struct spec_build *b, crio_err *err)
{
	const struct spec_args *a = b->a;
	int64_t floor_ = a->conf->runtime.min_injected_gomaxprocs, shares, n;
	const char *parent = or_empty(a->cgroup_parent),
		   *skip = kvs_get(&a->pod->annotations, "skip-gomaxprocs.crio.io");
	struct json_object *env = json_need_arr(spec_process(b), "env"),
			   *cpu = json_path(b->spec, "linux.resources.cpu");
	char text[40];

	if (floor_ <= 0 || (skip && str_eq(skip, "true")) ||
	    (!strstr(parent, "burstable") && !strstr(parent, "besteffort")) || json_int(cpu, "quota", 0) > 0)
		return 0;
	for (size_t i = 0; env && i < json_object_array_length(env); i++)
		if (str_starts(json_object_get_string(json_object_array_get_idx(env, i)), "GOMAXPROCS="))
			return 0;
	shares = json_int(cpu, "shares", 0);
	n = shares > 262144 ? 512 : (shares * 2 + 1023) / 1024;
	(void)snprintf(text, sizeof(text), "GOMAXPROCS=%lld", (long long)(n > floor_ ? n : floor_));
	return !env || json_push_str(env, text) < 0 ? err_nomem(err) : 0;
}

/* Is the container one of those that CRI-O tunes for latency: of a handler with that name, or with one of the annotations; of a guaranteed
 * pod, which only the name of its cgroup tells; with whole CPUs? */
static bool is_tuned(const struct spec_build *b, const struct json_object *cpu)
{
	static const char *const words[] = {"cpu-load-balancing.crio.io", "cpu-quota.crio.io",	      "irq-load-balancing.crio.io",
					    "cpu-c-states.crio.io",	  "cpu-freq-governor.crio.io", "cpu-shared.crio.io"};
	const struct kvs *m = &b->a->pod->annotations;
	const char *parent = or_empty(b->a->cgroup_parent);
	bool wanted = strstr(or_empty(b->a->runtime_handler), "high-performance") != NULL;
	int64_t shares = json_int(cpu, "shares", -1);

	for (size_t i = 0; i < m->n; i++)
		for (size_t k = 0; k < ARRAY_SIZE(words); k++)
			wanted = wanted || str_starts(m->v[i].key, words[k]);
	return wanted && !strstr(parent, "burstable") && !strstr(parent, "besteffort") && shares >= 0 && shares % 1024 == 0;
}

/* The lowest CPU of "2-3,0": -1 when the list is empty or is none. */
static int64_t first_cpu(const char *list)
{
	cleanup_strv struct strv parts = STRV_INIT;
	int64_t first = -1, n;

	if (!*list || str_split(list, ',', &parts) < 0)
		return -1;
	for (size_t i = 0; i < parts.n; i++) {
		parts.v[i][strcspn(parts.v[i], "-")] = '\0';
		if (!str_to_i64(parts.v[i], 0, INT32_MAX, &n))
			return -1;
		first = first < 0 || n < first ? n : first;
	}
	return first;
}

/* exec_cpu_affinity "first": what is run in the container is put on its first CPU, away from those that it works on. The runtime does it. */
static int set_exec_affinity(struct spec_build *b, crio_err *err)
{
	struct json_object *cpu = json_path(b->spec, "linux.resources.cpu"), *o;
	cleanup_free char *shared = NULL;
	int64_t first;
	char text[24];

	shared = path_fmt("cpu-shared.crio.io/%s", b->a->container->meta.name);
	if (shared && str_eq(or_empty(kvs_get(&b->a->pod->annotations, shared)), "enable"))
		log_warn("Container %s asks for shared CPUs, which are not supported yet: it has its own alone", b->a->id);
	if (!str_eq(or_empty(b->a->runtime->exec_cpu_affinity), "first") || !is_tuned(b, cpu))
		return 0;
	first = first_cpu(json_str(cpu, "cpus"));
	if (first < 0) {
		log_error("exec_cpu_affinity is 'first', but container %s has no CPUs of its own: its execs run where it does", b->a->id);
		return 0;
	}
	(void)snprintf(text, sizeof(text), "%lld", (long long)first);
	o = json_need_obj(spec_process(b), "execCPUAffinity");
	return !o || json_set_str(o, "initial", text) < 0 ? err_nomem(err) : 0;
}

static int mask_release_agent(struct spec_build *b, crio_err *err)
{
	struct json_object *arr;

	if (!b->systemd || cgroup_facts()->v2)
		return 0;
	arr = json_need_arr(spec_linux(b), "maskedPaths");
	return !arr || json_push_str(arr, "/sys/fs/cgroup/systemd/release_agent") < 0 ? err_nomem(err) : 0;
}

static int choose_stop_signal(struct spec_build *b, crio_err *err)
{
	const struct spec_args *a = b->a;
	const char *s = *a->container->stop_signal ? a->container->stop_signal
			: a->image		   ? or_empty(a->image->stop_signal)
						   : "";

	b->info.stop_signal = strdup(s);
	return b->info.stop_signal ? 0 : err_nomem(err);
}

static int finish(struct spec_build *b, struct json_object **ret, struct spec_info *ret_info)
{
	b->info.privileged = b->privileged;
	*ret = b->spec;
	b->spec = NULL;
	if (ret_info) {
		*ret_info = b->info;
		b->info = (struct spec_info){0};
	}
	return 0;
}

/* The process: everything of it that does not depend on the mounts. */
static int build_process(struct spec_build *b, crio_err *err)
{
	int r = spec_set_args(b, err);

	if (!r && json_set_bool(spec_process(b), "terminal", b->a->container->tty) < 0)
		r = err_nomem(err);
	if (!r)
		r = spec_set_env(b, err);
	if (!r)
		r = spec_set_user(b, err);
	if (!r)
		r = spec_set_caps(b, err);
	if (!r)
		r = spec_set_rlimits(b, err);
	if (!r)
		r = spec_set_cwd(b, err);
	return r;
}

static int build_linux(struct spec_build *b, crio_err *err)
{
	int r = spec_set_namespaces(b, &b->a->container->sec.ns, err);

	if (!r)
		r = spec_set_devices(b, err);
	if (!r)
		r = spec_set_resources(b, err);
	if (!r)
		r = spec_set_workload(b, err);
	if (!r)
		r = set_unified(b, err);
	if (!r)
		r = set_gomaxprocs(b, err);
	if (!r)
		r = set_exec_affinity(b, err);
	if (!r)
		r = set_cgroup(b, b->a->id, err);
	if (!r)
		r = spec_set_security(b, err);
	if (!r)
		r = spec_set_labels(b, err);
	if (!r)
		r = mask_release_agent(b, err);
	return r;
}

int spec_container(const struct spec_args *a, struct json_object **ret, struct spec_info *ret_info, crio_err *err)
{
	CLEANUP(spec_build_release) struct spec_build b = {.a = a};
	cleanup_json struct json_object *volumes = NULL;
	int r;

	if (a->container->sec.privileged && !a->pod->sec.privileged)
		return err_set(err, CRIO_E_INVALID, "no privileged container allowed in sandbox");
	if (a->container->cdi_devices.n)
		return err_set(err, CRIO_E_UNSUPPORTED, "CDI devices are not supported yet ('%.128s' was asked for)",
			       a->container->cdi_devices.v[0]);
	b.privileged = a->container->sec.privileged;
	b.read_only = a->container->sec.readonly_rootfs || a->conf->runtime.read_only;
	r = start(&b, err);
	if (!r)
		r = choose_stop_signal(&b, err);
	if (!r)
		r = build_process(&b, err);
	if (!r)
		r = build_linux(&b, err);
	if (!r) {
		struct mounts_args m = {.a = a,
					.privileged = b.privileged,
					.systemd = b.systemd,
					.read_only = b.read_only,
					.uid = b.info.uid,
					.gid = b.info.gid,
					.passwd_path = b.passwd_path,
					.group_path = b.group_path};

		r = mounts_build(&m, b.spec, &volumes, err);
	}
	if (!r)
		r = spec_annotate_container(&b, volumes, err);
	return r < 0 ? r : finish(&b, ret, ret_info);
}

/* ---- pods ---- */

/* pause_command, else what the image says. */
static int infra_args(struct spec_build *b, crio_err *err)
{
	const char *cmd = b->a->conf->image.pause_command;
	const struct image *im = b->a->image;
	struct json_object *args = json_need_arr(spec_process(b), "args"), *env = json_need_arr(spec_process(b), "env");
	int r = !args || !env ? CRIO_E_NOMEM : 0;

	if (!r && *cmd)
		r = json_push_str(args, cmd);
	for (size_t i = 0; !r && !*cmd && im && i < im->entrypoint.n; i++)
		r = json_push_str(args, im->entrypoint.v[i]);
	for (size_t i = 0; !r && !*cmd && im && i < im->cmd.n; i++)
		r = json_push_str(args, im->cmd.v[i]);
	if (!r && !json_object_array_length(args)) {
		if (!b->a->spoofed)
			return err_set(err, CRIO_E_INVALID,
				       "unable to run pause image \"%s\": neither Cmd nor Entrypoint specified",
				       b->a->conf->image.pause_image);
		r = json_push_str(args, "/pause");
	}
	if (!r)
		r = json_push_str(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (!r)
		r = json_push_str(env, "TERM=xterm");
	return r < 0 ? err_nomem(err) : 0;
}

static int infra_process(struct spec_build *b, crio_err *err)
{
	struct json_object *p = spec_process(b), *u = json_need_obj(p, "user"),
			   *g = u ? json_need_arr(u, "additionalGids") : NULL;
	int r;

	if (!g || json_set_int(u, "uid", 0) < 0 || json_set_int(u, "gid", 0) < 0 ||
	    json_push(g, json_object_new_int64(0)) < 0 || json_set_bool(p, "terminal", false) < 0 ||
	    json_set_str(p, "cwd", "/") < 0 ||
	    json_set_int(p, "oomScoreAdj", clamp_oom_score_adj(INFRA_OOM_SCORE_ADJ)) < 0)
		return err_nomem(err);
	r = infra_args(b, err);
	if (!r)
		r = spec_set_caps(b, err);
	if (!r)
		r = spec_set_rlimits(b, err);
	return r;
}

static int infra_resources(struct spec_build *b, crio_err *err)
{
	struct json_object *res = json_need_obj(spec_linux(b), "resources"),
			   *cpu = res ? json_need_obj(res, "cpu") : NULL;
	const char *set = b->a->conf->runtime.infra_ctr_cpuset;

	if (!cpu || json_set_int(cpu, "shares", INFRA_CPU_SHARES) < 0 || (*set && json_set_str(cpu, "cpus", set) < 0))
		return err_nomem(err);
	return spec_set_devices(b, err);
}

int spec_pod(const struct spec_args *args, struct json_object **ret, struct spec_info *ret_info, crio_err *err)
{
	struct spec_args a = *args;
	CLEANUP(spec_build_release) struct spec_build b = {.a = &a, .read_only = true};
	int r;

	/* As upstream: the pod's own process has the default capabilities even in a privileged pod; only seccomp
	 * follows. */
	a.container = NULL;
	r = start(&b, err);
	if (!r && !(b.info.stop_signal = strdup(a.image ? or_empty(a.image->stop_signal) : "")))
		r = err_nomem(err);
	if (!r)
		r = infra_process(&b, err);
	if (!r)
		r = spec_set_namespaces(&b, &a.pod->sec.ns, err);
	if (!r)
		r = infra_resources(&b, err);
	if (!r)
		r = set_cgroup(&b, a.pod_id, err);
	b.privileged = a.pod->sec.privileged;
	if (!r)
		r = spec_set_security(&b, err);
	if (!r)
		r = spec_set_labels(&b, err);
	if (!r)
		r = mounts_build_pod(&a, b.spec, err);
	if (!r)
		r = spec_annotate_pod(&b, err);
	return r < 0 ? r : finish(&b, ret, ret_info);
}
