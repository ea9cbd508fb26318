/* check.c: what needs more than a value's type and range, and derived values. */
#include <ctype.h>
#include <limits.h>
#include <regex.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "core/conf/conf_int.h"
#include "core/util/fs.h"
#include "core/util/idmap.h"

#define LOG_SIZE_MIN 8192
#define STOP_TIMEOUT_MIN 30
#define IDLE_DEFAULT ((int64_t)4 * 3600 * 1000000000)

static int set(char **field, const char *s)
{
	char *copy = strdup(s);

	if (!copy)
		return CRIO_E_NOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int check_api(struct loader *l, crio_err *err)
{
	struct conf_api *a = &l->c->api;
	struct sockaddr_un un;
	int64_t port;

	if (str_starts(a->listen, "unix://") && set(&a->listen, a->listen + strlen("unix://")) < 0)
		return err_nomem(err);
	if (*a->listen != '/' || strlen(a->listen) >= sizeof un.sun_path)
		return loader_fail(l, "crio.api.listen", err, "\"%.200s\" is not an absolute path of less than %zu bytes", a->listen,
				   sizeof un.sun_path);
	if (*a->stream_port && !str_to_i64(a->stream_port, 0, 65535, &port))
		return loader_fail(l, "crio.api.stream_port", err, "\"%.100s\" is not a port number", a->stream_port);
	if (a->stream_enable_tls && !*a->stream_tls_cert)
		return loader_fail(l, "crio.api.stream_enable_tls", err, "stream TLS cert path is empty: set stream_tls_cert");
	if (a->stream_enable_tls && !*a->stream_tls_key)
		return loader_fail(l, "crio.api.stream_enable_tls", err, "stream TLS key path is empty: set stream_tls_key");
	a->stream_idle_timeout_ns = IDLE_DEFAULT;
	if (*a->stream_idle_timeout &&
	    (!duration_parse(a->stream_idle_timeout, &a->stream_idle_timeout_ns) || a->stream_idle_timeout_ns < 0))
		return loader_fail(l, "crio.api.stream_idle_timeout", err, "\"%.100s\" is not a duration such as \"90s\"",
				   a->stream_idle_timeout);
	if (!a->stream_idle_timeout_ns)
		a->stream_idle_timeout_ns = IDLE_DEFAULT;
	if (a->grpc_max_send_msg_size <= 0 || a->grpc_max_send_msg_size > INT32_MAX)
		a->grpc_max_send_msg_size = CONF_GRPC_MAX;
	if (a->grpc_max_recv_msg_size <= 0 || a->grpc_max_recv_msg_size > INT32_MAX)
		a->grpc_max_recv_msg_size = CONF_GRPC_MAX;
	return 0;
}

/* "name=value", nothing around the '='. */
static int check_sysctls(struct loader *l, crio_err *err)
{
	struct strv *s = &l->c->runtime.default_sysctls;

	for (size_t i = 0; i < s->n; i++) {
		const char *t = s->v[i], *eq = strchr(t, '=');

		if (!*t)
			continue;
		if (!eq || eq == t)
			return loader_fail(l, "crio.runtime.default_sysctls", err, "\"%.200s\" is not in key=value format", t);
		if (isspace((unsigned char)*t) || isspace((unsigned char)eq[-1]) || isspace((unsigned char)eq[1]) ||
		    isspace((unsigned char)t[strlen(t) - 1]))
			return loader_fail(l, "crio.runtime.default_sysctls", err,
					   "'%.200s' is invalid, extra spaces found: format should be key=value", t);
	}
	return 0;
}

static bool limit_value(const char *s, int64_t *ret)
{
	if (!strcmp(s, "unlimited") || !strcmp(s, "-1")) {
		*ret = INT64_MAX;
		return true;
	}
	return str_to_i64(s, 0, INT64_MAX, ret);
}

static int check_ulimits(struct loader *l, crio_err *err)
{
	static const char *const names[] = { "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice",
					     "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack" };
	struct strv *s = &l->c->runtime.default_ulimits;

	for (size_t i = 0; i < s->n; i++) {
		cleanup_strv struct strv parts = STRV_INIT;
		const char *eq = strchr(s->v[i], '=');
		int64_t soft, hard;
		bool known = false;

		for (size_t j = 0; eq && j < ARRAY_SIZE(names); j++)
			known |= strlen(names[j]) == (size_t)(eq - s->v[i]) &&
				 !strncasecmp(names[j], s->v[i], (size_t)(eq - s->v[i]));
		if (!known)
			return loader_fail(l, "crio.runtime.default_ulimits", err, "unrecognized ulimit %.100s: invalid ulimit type: %.*s",
					   s->v[i], (int)strcspn(s->v[i], "="), s->v[i]);
		if (str_split(eq + 1, ':', &parts) < 0)
			return err_nomem(err);
		if (parts.n > 2 || !limit_value(parts.v[0], &soft) || !limit_value(parts.v[parts.n - 1], &hard))
			return loader_fail(l, "crio.runtime.default_ulimits", err, "unrecognized ulimit %.100s: expected name=soft[:hard]",
					   s->v[i]);
		if (soft > hard)
			return loader_fail(l, "crio.runtime.default_ulimits", err,
					   "unrecognized ulimit %.100s: ulimit soft limit must be less than or equal to hard limit: %s > %s",
					   s->v[i], parts.v[0], parts.v[parts.n - 1]);
	}
	return 0;
}

static bool mode_valid(const char *s)
{
	return *s && !s[strspn(s, "rwm")];
}

static int check_devices(struct loader *l, crio_err *err)
{
	struct strv *s = &l->c->runtime.additional_devices;

	for (size_t i = 0; i < s->n; i++) {
		cleanup_strv struct strv p = STRV_INIT;
		bool bad;

		if (!*s->v[i])
			continue;
		if (str_split(s->v[i], ':', &p) < 0)
			return err_nomem(err);
		bad = p.n > 3 || !str_starts(p.v[0], "/dev/");
		if (p.n == 3)
			bad |= !str_starts(p.v[1], "/dev/") || !mode_valid(p.v[2]);
		if (p.n == 2)
			bad |= !str_starts(p.v[1], "/dev/") && !mode_valid(p.v[1]);
		if (bad)
			return loader_fail(l, "crio.runtime.additional_devices", err,
					   "\"%.200s\" is not a valid device: expected /dev/...[:/dev/...[:rwm]]", s->v[i]);
	}
	return 0;
}

static int check_capabilities(struct loader *l, crio_err *err)
{
	static const char *const caps[] = {
		"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
		"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
		"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
		"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
		"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
		"CHECKPOINT_RESTORE" };
	struct strv *s = &l->c->runtime.default_capabilities;

	for (size_t i = 0; i < s->n; i++) {
		char *c = s->v[i];
		bool known = false;

		for (char *p = c; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		if (str_starts(c, "CAP_"))
			memmove(c, c + 4, strlen(c + 4) + 1);
		for (size_t j = 0; j < ARRAY_SIZE(caps) && !known; j++)
			known = !strcmp(c, caps[j]);
		if (!known)
			return loader_fail(l, "crio.runtime.default_capabilities", err, "unknown capability \"%.100s\"", c);
	}
	return 0;
}

/* "container:host:size,..." */
static int check_mappings(struct loader *l, const char *key, const char *text, const char *what, crio_err *err)
{
	cleanup_id_maps struct id_maps m = {0};
	cleanup_err crio_err why = ERR_INIT;
	int r;

	if (!*text)
		return 0;
	r = id_map_parse(text, what, &m.uids, &why);
	if (!r)
		r = id_map_check(&m.uids, what, -1, &why);
	if (!r && id_to_host(&m.uids, 0) == IDMAP_NONE)
		r = err_set(&why, CRIO_E_INVALID, "container id 0 is not mapped");
	if (r < 0)
		return loader_fail(l, key, err, "\"%.100s\" is not container:host:size,...: %s", text, err_text(&why));
	return 0;
}

static int check_timezone(struct loader *l, crio_err *err)
{
	const char *tz = l->c->runtime.timezone;
	cleanup_free char *path = NULL;
	struct stat st;

	if (!*tz || !strcasecmp(tz, "local") || !strcmp(tz, "UTC"))
		return 0;
	path = path_fmt("/usr/share/zoneinfo/%s", tz);
	if (!path)
		return err_nomem(err);
	if (*tz == '/' || !path_is_clean_abs(path) || stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return loader_fail(l, "crio.runtime.timezone", err, "invalid timezone: %.100s: not in /usr/share/zoneinfo", tz);
	return 0;
}

static int check_filter(struct loader *l, crio_err *err)
{
	regex_t re;
	char text[128];
	int r;

	if (!*l->c->runtime.log_filter)
		return 0;
	r = regcomp(&re, l->c->runtime.log_filter, REG_EXTENDED | REG_NOSUB);
	if (!r) {
		regfree(&re);
		return 0;
	}
	(void)regerror(r, &re, text, sizeof text);
	return loader_fail(l, "crio.runtime.log_filter", err, "\"%.200s\" is not a regular expression: %s", l->c->runtime.log_filter,
			   text);
}

static int check_runtime_strings(struct loader *l, crio_err *err)
{
	struct conf_runtime_section *s = &l->c->runtime;

	if (!cpulist_valid(s->infra_ctr_cpuset))
		return loader_fail(l, "crio.runtime.infra_ctr_cpuset", err, "\"%.100s\" is not a CPU list such as 0-3,7",
				   s->infra_ctr_cpuset);
	if (!cpulist_valid(s->shared_cpuset))
		return loader_fail(l, "crio.runtime.shared_cpuset", err, "\"%.100s\" is not a CPU list such as 0-3,7", s->shared_cpuset);
	int r = check_mappings(l, "crio.runtime.uid_mappings", s->uid_mappings, "UID", err);
	if (!r)
		r = check_mappings(l, "crio.runtime.gid_mappings", s->gid_mappings, "GID", err);
	if (r < 0)
		return r;
	if (!*s->uid_mappings != !*s->gid_mappings && !l->quiet)
		log_warn("uid_mappings and gid_mappings act only together");
	for (size_t i = 0; i < s->default_env.n; i++)
		if (!strchr(s->default_env.v[i], '=') || *s->default_env.v[i] == '=')
			return loader_fail(l, "crio.runtime.default_env", err, "\"%.100s\" is not NAME=value", s->default_env.v[i]);
	return 0;
}

/* A file that is missing does not stop a node from being upgraded: the built-in profile is stricter than none. */
static int check_profile(struct loader *l, crio_err *err)
{
	struct conf_runtime_section *s = &l->c->runtime;
	cleanup_err crio_err why = ERR_INIT;
	int r;

	if ((l->args->flags & CONF_NO_CHECKS) || !*s->seccomp_profile || !strcmp(s->seccomp_profile, "unconfined"))
		return 0;
	r = conf_check_seccomp(s->seccomp_profile, &why);
	if (r == CRIO_E_NOT_FOUND) {
		if (!l->quiet)
			log_info("Seccomp profile does not exist on disk, fallback to internal default profile");
		return set(&s->seccomp_profile, "") < 0 ? err_nomem(err) : 0;
	}
	return r < 0 ? loader_fail(l, "crio.runtime.seccomp_profile", err, "unable to load seccomp profile: %s", err_text(&why)) : 0;
}

static int check_runtime(struct loader *l, crio_err *err)
{
	struct conf_runtime_section *s = &l->c->runtime;
	int r;

	if (s->log_size_max >= 0 && s->log_size_max < LOG_SIZE_MIN)
		return loader_fail(l, "crio.runtime.log_size_max", err, "log size max should be negative or >= %d", LOG_SIZE_MIN);
	if (s->ctr_stop_timeout < STOP_TIMEOUT_MIN) {
		s->ctr_stop_timeout = STOP_TIMEOUT_MIN;
		if (!l->quiet)
			log_warn("Forcing ctr_stop_timeout to lowest possible value of %ds", STOP_TIMEOUT_MIN);
	}
	if (!*s->apparmor_profile && set(&s->apparmor_profile, "crio-default") < 0)
		return err_nomem(err);
	if ((r = check_ulimits(l, err)) < 0 || (r = check_devices(l, err)) < 0 || (r = check_timezone(l, err)) < 0 ||
	    (r = check_sysctls(l, err)) < 0 || (r = check_capabilities(l, err)) < 0 || (r = check_filter(l, err)) < 0 ||
	    (r = check_runtime_strings(l, err)) < 0 || (r = check_profile(l, err)) < 0 || (r = conf_check_workloads(l, err)) < 0)
		return r;
	return conf_check_runtimes(l, err);
}

static int check_checkpoint(struct loader *l, crio_err *err)
{
	enum conf_checkpoint *level = &l->c->checkpoint_restore.container_level_enabled;
	cleanup_free char *criu = NULL;

	(void)err;
	if (!l->c->runtime.enable_criu_support)
		*level = CONF_CHECKPOINT_NONE;
	if (*level == CONF_CHECKPOINT_NONE || (l->args->flags & CONF_NO_CHECKS))
		return 0;
	criu = conf_find_program("criu");
	if (!criu) {
		log_info("There is no criu in PATH: checkpoint and restore are off");
		*level = CONF_CHECKPOINT_NONE;
	}
	return 0;
}

static int check_image(struct loader *l, crio_err *err)
{
	struct conf_image *i = &l->c->image;

	if (!str_is_printable(i->pause_image) || strpbrk(i->pause_image, " \t") || strlen(i->pause_image) > 4096)
		return loader_fail(l, "crio.image.pause_image", err, "invalid pause image \"%.200s\"", i->pause_image);
	return 0;
}

/* Names of hook plugins, each once, each with a "?" perhaps. */
static int check_hooks(struct loader *l, crio_err *err)
{
	struct strv *h = &l->c->plugins.hooks;

	for (size_t i = 0; i < h->n; i++) {
		const char *s = h->v[i];
		size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_");

		if (n == 0 || n > 32 || *s < 'a' || *s > 'z' || (s[n] && strcmp(s + n, "?") != 0))
			return loader_fail(l, "crio.plugins.hooks", err, "\"%.100s\" is not the name of a plugin", s);
		for (size_t j = 0; j < i; j++)
			if (strspn(h->v[j], "abcdefghijklmnopqrstuvwxyz0123456789_") == n && !strncmp(h->v[j], s, n))
				return loader_fail(l, "crio.plugins.hooks", err, "\"%.100s\" is there twice", s);
	}
	return 0;
}

static int check_stats(struct loader *l, crio_err *err)
{
	struct strv *m = &l->c->stats.included_pod_metrics;

	if (m->n > 1 && strv_has(m, "all"))
		return loader_fail(l, "crio.stats.included_pod_metrics", err, "'all' should be the only element");
	return 0;
}

static int check_network(struct loader *l, crio_err *err)
{
	struct conf_network *n = &l->c->network;

	/* The old key is one more directory, and is then forgotten. */
	if (*n->plugin_dir && !(l->args->flags & CONF_NO_CHECKS)) {
		if (strv_add(&n->plugin_dirs, n->plugin_dir) < 0 || set(&n->plugin_dir, "") < 0)
			return err_nomem(err);
	}
	return 0;
}

static void warn_deprecated(const struct loader *l)
{
	for (size_t i = 0; i < conf_keys_n && !l->quiet; i++)
		if ((conf_keys[i].flags & KEY_DEPRECATED) && *l->origin.v[i])
			log_debug("The config field %s is deprecated (set by %s)", conf_keys[i].name, l->origin.v[i]);
	if (!l->quiet && !l->c->runtime.enable_criu_support)
		log_warn("The config field enable_criu_support is deprecated. "
			 "Please use container_level_enabled of the table [crio.checkpoint_restore]");
	if (!l->quiet && *l->c->network.plugin_dir)
		log_warn("The config field plugin_dir is being deprecated. Please use plugin_dirs instead");
}

int conf_check(struct loader *l, crio_err *err)
{
	int r;

	warn_deprecated(l);
	if ((r = check_runtime(l, err)) < 0 || (r = check_checkpoint(l, err)) < 0 || (r = check_image(l, err)) < 0 ||
	    (r = check_network(l, err)) < 0 || (r = check_api(l, err)) < 0 || (r = check_stats(l, err)) < 0 ||
	    (r = check_hooks(l, err)) < 0)
		return r;
	return 0;
}
