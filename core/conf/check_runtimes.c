/* check_runtimes.c: handlers and workloads. A handler that cannot work is dropped with a warning; the default one must work. */
#include <limits.h>
#include <sys/stat.h>

#include "core/conf/annotations.h"
#include "core/conf/conf_int.h"
#include "core/util/fs.h"

#define CREATE_TIMEOUT 240
#define CREATE_TIMEOUT_MIN 30
#define MONITOR_SLICE "system.slice"

char *conf_find_program(const char *name)
{
	const char *path = getenv("PATH");
	cleanup_strv struct strv dirs = STRV_INIT;

	if (!path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	if (!*name || strchr(name, '/') || str_split(path, ':', &dirs) < 0)
		return NULL;
	for (size_t i = 0; i < dirs.n; i++) {
		char *file;
		struct stat st;
		if (*dirs.v[i] != '/')
			continue; /* never a program of the working directory */
		file = path_fmt("%s/%s", dirs.v[i], name);
		if (file && stat(file, &st) == 0 && S_ISREG(st.st_mode) && access(file, X_OK) == 0)
			return file;
		free(file);
	}
	return NULL;
}

static int set(char **field, const char *s)
{
	char *copy = strdup(s);

	if (!copy)
		return CRIO_E_NOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int check_exists(const char *path, const char *key, crio_err *err)
{
	struct stat st;

	if (*path != '/')
		return err_set(err, CRIO_E_INVALID, "%s: \"%.200s\" is not an absolute path", key, path);
	if (stat(path, &st) < 0)
		return err_errno(err, errno, "%s: %s", key, path);
	return 0;
}

/* containerd-shim-<letters, digits, '-', '+'> */
static bool is_shim_name(const char *path)
{
	static const char prefix[] = "containerd-shim-";
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	if (!str_starts(base, prefix) || !base[strlen(prefix)])
		return false;
	base += strlen(prefix);
	return !base[strspn(base, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+")];
}

static int check_path(struct conf_runtime *h, crio_err *err)
{
	int r;

	if (!*h->runtime_path) {
		char *found = conf_find_program(h->name);
		if (!found)
			return err_set(err, CRIO_E_NOT_FOUND,
				       "runtime_path: not set, and there is no \"%s\" in PATH: install it or set runtime_path", h->name);
		free(h->runtime_path);
		h->runtime_path = found;
	} else if ((r = check_exists(h->runtime_path, "runtime_path", err)) < 0) {
		return r;
	}
	if (h->runtime_type == CONF_RUNTIME_VM && !is_shim_name(h->runtime_path))
		return err_set(err, CRIO_E_INVALID,
			       "runtime_path: \"%s\" does not follow the naming of containerd shims (containerd-shim-<name>), which type vm needs",
			       h->runtime_path);
	return 0;
}

static int check_annotations(const struct strv *l, crio_err *err)
{
	for (size_t i = 0; i < l->n; i++)
		if (!conf_annotation_known(l->v[i]))
			return err_set(err, CRIO_E_INVALID, "allowed_annotations: \"%.200s\" is not an annotation that can be allowed",
				       l->v[i]);
	return 0;
}

/* What can be told without looking at the machine. */
static int check_values(struct conf_runtime *h, bool quiet, crio_err *err)
{
	int r = check_annotations(&h->allowed_annotations, err);

	if (r < 0)
		return r;
	if (*h->runtime_config_path && h->runtime_type != CONF_RUNTIME_VM)
		return err_set(err, CRIO_E_INVALID, "runtime_config_path is only for runtime_type \"vm\"");
	if (h->no_sync_log && h->runtime_type != CONF_RUNTIME_OCI)
		return err_set(err, CRIO_E_INVALID, "no_sync_log is only for runtime_type \"oci\"");
	if (h->stream_websockets && h->runtime_type != CONF_RUNTIME_POD)
		return err_set(err, CRIO_E_INVALID, "stream_websockets is only for runtime_type \"pod\"");
	h->container_min_memory_bytes = CONF_MIN_MEMORY;
	if (*h->container_min_memory && !size_parse(h->container_min_memory, &h->container_min_memory_bytes))
		log_warn("Runtime handler \"%s\": container_min_memory: \"%.100s\" is not a size such as 500KiB; using 12MiB", h->name,
			 h->container_min_memory);
	if (!h->container_create_timeout)
		h->container_create_timeout = CREATE_TIMEOUT;
	if (h->container_create_timeout < CREATE_TIMEOUT_MIN) {
		if (!quiet)
			log_warn("Runtime handler \"%s\": container_create_timeout: %lld is less than %d seconds; using %d", h->name,
				 (long long)h->container_create_timeout, CREATE_TIMEOUT_MIN, CREATE_TIMEOUT_MIN);
		h->container_create_timeout = CREATE_TIMEOUT_MIN;
	}
	return 0;
}

/* The old global conmon keys win over each oci handler's own. */
static int take_monitor(const struct conf *c, struct conf_runtime *h)
{
	if (h->runtime_type != CONF_RUNTIME_OCI)
		return 0;
	if (*c->runtime.conmon_cgroup && set(&h->monitor_cgroup, c->runtime.conmon_cgroup) < 0)
		return CRIO_E_NOMEM;
	if (*c->runtime.conmon && set(&h->monitor_path, c->runtime.conmon) < 0)
		return CRIO_E_NOMEM;
	if (c->runtime.conmon_env.n && strv_copy(&h->monitor_env, &c->runtime.conmon_env) < 0)
		return CRIO_E_NOMEM;
	if (c->runtime.cgroup_manager == CONF_CGROUP_SYSTEMD && !*h->monitor_cgroup)
		return set(&h->monitor_cgroup, MONITOR_SLICE);
	return 0;
}

static int check_monitor(const struct conf *c, struct conf_runtime *h, crio_err *err)
{
	bool pod = !strcmp(h->monitor_cgroup, "pod");
	int r;

	if (h->runtime_type != CONF_RUNTIME_OCI)
		return 0;
	if (!*h->monitor_path) {
		char *found = conf_find_program("conmon");
		if (!found)
			return err_set(err, CRIO_E_NOT_FOUND,
				       "monitor_path: not set, and there is no conmon in PATH: install it or set monitor_path");
		free(h->monitor_path);
		h->monitor_path = found;
	} else if ((r = check_exists(h->monitor_path, "monitor_path", err)) < 0) {
		return r;
	}
	if (c->runtime.cgroup_manager == CONF_CGROUP_SYSTEMD)
		return pod || str_ends(h->monitor_cgroup, ".slice") ?
			       0 :
			       err_set(err, CRIO_E_INVALID, "monitor_cgroup: \"%.100s\" is neither \"pod\" nor a systemd slice",
				       h->monitor_cgroup);
	if (!strcmp(h->monitor_cgroup, MONITOR_SLICE))
		return set(&h->monitor_cgroup, "") < 0 ? err_nomem(err) : 0;
	if (!pod && *h->monitor_cgroup)
		return err_set(err, CRIO_E_INVALID, "monitor_cgroup: with cgroupfs it must be \"pod\" or empty, not \"%.100s\"",
			       h->monitor_cgroup);
	return 0;
}

static int check_machine(const struct conf *c, struct conf_runtime *h, crio_err *err)
{
	int r = check_path(h, err);

	if (r >= 0 && *h->runtime_config_path)
		r = check_exists(h->runtime_config_path, "runtime_config_path", err);
	if (r >= 0)
		r = check_monitor(c, h, err);
	if (r >= 0 && *h->seccomp_profile && (r = conf_check_seccomp(h->seccomp_profile, err)) < 0)
		return err_wrap(err, "unable to load runtime handler seccomp profile");
	if (r >= 0 && !*h->runtime_root && h->runtime_type != CONF_RUNTIME_VM)
		r = set(&h->runtime_root, CONF_DEFAULT_RUNTIME_ROOT) < 0 ? err_nomem(err) : 0;
	return r;
}

static int inherit(struct conf_runtime *h, const struct conf_runtime *from)
{
	h->runtime_type = from->runtime_type;
	if (set(&h->runtime_config_path, from->runtime_config_path) < 0 || set(&h->runtime_root, from->runtime_root) < 0 ||
	    set(&h->runtime_path, from->runtime_path) < 0)
		return CRIO_E_NOMEM;
	if (!*h->runtime_path) {
		/* The default's program, not one of this handler's name. */
		char *found = conf_find_program(from->name);
		if (found) {
			free(h->runtime_path);
			h->runtime_path = found;
		}
	}
	/* A plugin named like the runtime goes with the runtime. */
	if (!*h->runtime_plugin && *from->runtime_plugin)
		return set(&h->runtime_plugin, from->runtime_plugin);
	return 0;
}

static int check_one(struct loader *l, struct conf_runtime *h, const struct conf_runtime *dflt, crio_err *err)
{
	bool machine = !(l->args->flags & CONF_NO_CHECKS);
	int r;

	if (machine && h->inherit_default_runtime && h != dflt && inherit(h, dflt) < 0)
		return err_nomem(err);
	r = check_values(h, l->quiet, err);
	if (r >= 0 && take_monitor(l->c, h) < 0)
		r = err_nomem(err);
	if (r >= 0 && machine)
		r = check_machine(l->c, h, err);
	return r;
}

int conf_check_runtimes(struct loader *l, crio_err *err)
{
	struct conf_runtime_section *s = &l->c->runtime;
	const struct conf_runtime *dflt;

	if (!*s->default_runtime && set(&s->default_runtime, CONF_DEFAULT_RUNTIME) < 0)
		return err_nomem(err);
	dflt = conf_find_runtime(l->c, s->default_runtime);
	if (!dflt)
		return loader_fail(l, "crio.runtime.default_runtime", err,
				   "default_runtime set to \"%.100s\", but no runtime entry table [crio.runtime.runtimes.%.100s] was found",
				   s->default_runtime, s->default_runtime);
	for (size_t i = s->n_runtimes; i-- > 0;) {
		struct conf_runtime *h = &s->runtimes[i];
		cleanup_err crio_err e = ERR_INIT;
		cleanup_free char *path = path_fmt("crio.runtime.runtimes.%s", h->name);

		if (!path)
			return err_nomem(err);
		dflt = conf_find_runtime(l->c, s->default_runtime);
		if (check_one(l, h, dflt, &e) >= 0)
			continue;
		if (e.code == CRIO_E_NOMEM)
			return err_nomem(err);
		if (h == dflt || (l->args->flags & CONF_NO_CHECKS))
			return loader_fail(l, path, err, "%s", err_text(&e));
		log_warn("Runtime handler \"%s\" is being ignored due to: %s", h->name, err_text(&e));
		conf_del_runtime(l->c, h->name);
	}
	return 0;
}

static int check_workload(struct conf_workload *w, crio_err *err)
{
	const struct conf_workload_resources *r = &w->resources;

	if (!*w->activation_annotation)
		return err_set(err, CRIO_E_INVALID, "activation_annotation: must be set");
	if (check_annotations(&w->allowed_annotations, err) < 0)
		return CRIO_E_INVALID;
	if (r->cpuperiod && r->cpuperiod < 1000)
		return err_set(err, CRIO_E_INVALID, "resources.cpuperiod: %lld is less than 1000 microseconds", (long long)r->cpuperiod);
	if (r->cpuquota > 0 && r->cpushares && r->cpuquota < r->cpushares)
		return err_set(err, CRIO_E_INVALID, "resources.cpuquota: %lld is less than cpushares (%lld)", (long long)r->cpuquota,
			       (long long)r->cpushares);
	if (!cpulist_valid(r->cpuset))
		return err_set(err, CRIO_E_INVALID, "resources.cpuset: \"%.100s\" is not a CPU list such as 0-3,7", r->cpuset);
	return 0;
}

int conf_check_workloads(struct loader *l, crio_err *err)
{
	for (size_t i = 0; i < l->c->runtime.n_workloads; i++) {
		struct conf_workload *w = &l->c->runtime.workloads[i];
		cleanup_err crio_err e = ERR_INIT;
		cleanup_free char *path = path_fmt("crio.runtime.workloads.%s", w->name);

		if (!path)
			return err_nomem(err);
		if (check_workload(w, &e) < 0)
			return loader_fail(l, path, err, "%s", err_text(&e));
	}
	return 0;
}
