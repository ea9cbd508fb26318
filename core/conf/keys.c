/* keys.c: the table, and looking things up in it. */
#include <ctype.h>
#include <limits.h>
#include <strings.h>

#include "core/conf/keys.h"

static const char *const tls_names[] = { "VersionTLS12", "VersionTLS13", NULL };
static const char *const cgroup_names[] = { "systemd", "cgroupfs", NULL };
static const char *const level_names[] = { "fatal", "panic", "error", "warn", "info", "debug", "trace", NULL };
static const char *const checkpoint_names[] = { "none", "checkpoint_only", "checkpoint_restore", NULL };
static const char *const volumes_names[] = { "mkdir", "bind", "ignore", NULL };
static const char *const short_names[] = { "enforcing", "disabled", NULL };
static const char *const format_names[] = { "text", "json", NULL };
static const char *const runtime_types[] = { "oci", "vm", "pod", NULL };
static const char *const exec_cgroups[] = { "container", NULL };
static const char *const exec_affinities[] = { "first", NULL };
static const char *const pod_metrics[] = { "cpu", "disk", "diskIO", "hugetlb", "memory", "network",
					   "oom", "process", "spec", "pressure", "all", NULL };

#define METRICS_ALL                                                                                                      \
	"crio_image_pulls_layer_size,crio_containers_events_dropped_total,crio_containers_oom_total,"                    \
	"crio_processes_defunct,crio_operations_total,crio_operations_latency_seconds,"                                  \
	"crio_operations_latency_seconds_total,crio_operations_errors_total,crio_image_pulls_bytes_total,"               \
	"crio_image_pulls_skipped_bytes_total,crio_image_pulls_failure_total,crio_image_pulls_success_total,"            \
	"crio_image_layer_reuse_total,crio_containers_oom_count_total,crio_containers_seccomp_notifier_count_total,"     \
	"crio_resources_stalled_at_stage,crio_containers_stopped_monitor_count,crio_default_runtime"

/* The C type that each key type needs: a row whose field is of another type does not compile. */
#define CTYPE_STR char *
#define CTYPE_BOOL bool
#define CTYPE_INT int64_t
#define CTYPE_DUR int64_t
#define CTYPE_STRS struct strv
#define CTYPE_MAP struct kvs
#define TYPED_ENUM(f) (sizeof(f) == sizeof(int))
#define TYPED_STR(f) __builtin_types_compatible_p(__typeof__(f), CTYPE_STR)
#define TYPED_BOOL(f) __builtin_types_compatible_p(__typeof__(f), CTYPE_BOOL)
#define TYPED_INT(f) __builtin_types_compatible_p(__typeof__(f), CTYPE_INT)
#define TYPED_DUR(f) __builtin_types_compatible_p(__typeof__(f), CTYPE_DUR)
#define TYPED_STRS(f) __builtin_types_compatible_p(__typeof__(f), CTYPE_STRS)
#define TYPED_MAP(f) __builtin_types_compatible_p(__typeof__(f), CTYPE_MAP)
#define CHECKED_OFFSET(st, f, type_) \
	(offsetof(st, f) + 0 * sizeof(char[TYPED_##type_(((st *)NULL)->f) ? 1 : -1]))
#define ROW(st, path, field, type_, d, fl, h, ...)                                                                 \
	{ .table = TABLE, .name = #field, .type = KEY_##type_, .flags = (fl), .offset = CHECKED_OFFSET(st, path, type_), \
	  .dflt = d, .help = h, ##__VA_ARGS__ },

#define CONF_KEYS
#define K(field, ...) ROW(struct conf, MEMBER.field, field, __VA_ARGS__)
const struct conf_key conf_keys[] = {
#include "core/conf/keys.def"
};
#undef K
#undef CONF_KEYS
const size_t conf_keys_n = ARRAY_SIZE(conf_keys);

#define RUNTIME_KEYS
#define K(field, ...) ROW(struct conf_runtime, field, field, __VA_ARGS__)
const struct conf_key runtime_keys[] = {
#include "core/conf/keys.def"
};
#undef K
#undef RUNTIME_KEYS
const size_t runtime_keys_n = ARRAY_SIZE(runtime_keys);

#define WORKLOAD_KEYS
#define K(field, ...) ROW(struct conf_workload, field, field, __VA_ARGS__)
#define KM(field, ...) ROW(struct conf_workload, MEMBER.field, field, __VA_ARGS__)
const struct conf_key workload_keys[] = {
#include "core/conf/keys.def"
};
#undef KM
#undef K
#undef WORKLOAD_KEYS
const size_t workload_keys_n = ARRAY_SIZE(workload_keys);

const struct conf_table conf_tables[] = {
	{ "crio", "Storage and files of the daemon." },
	{ "crio.plugins", "Where plugins and their options are. CRI-O has no such table and ignores it." },
	{ "crio.api", "The servers: CRI, and streaming of exec, attach and port-forward." },
	{ "crio.runtime", "How pods and containers run." },
	{ "crio.checkpoint_restore", "Checkpoint and restore." },
	{ "crio.image", "Images and registries. Search registries, mirrors and insecure registries are in\n"
			"/etc/containers/registries.conf." },
	{ "crio.network", "Pod networks." },
	{ "crio.metrics", "Metrics for Prometheus." },
	{ "crio.tracing", "OpenTelemetry traces." },
	{ "crio.nri", "Node Resource Interface." },
	{ "crio.nri.default_validator", "What NRI plugins may not change." },
	{ "crio.stats", "Statistics of pods and containers." },
};
const size_t conf_tables_n = ARRAY_SIZE(conf_tables);

bool key_flag(const struct conf_key *k, char ret[96])
{
	size_t i;

	if ((k->flags & KEY_NO_FLAG) || k->type == KEY_MAP)
		return false;
	(void)snprintf(ret, 96, "%s", k->flag ? k->flag : k->name);
	for (i = 0; ret[i]; i++)
		if (ret[i] == '_')
			ret[i] = '-';
	return true;
}

bool key_env(const struct conf_key *k, char ret[96])
{
	size_t i;

	if (k->flags & (KEY_NO_ENV | KEY_NO_FLAG))
		return false;
	if (k->env) {
		(void)snprintf(ret, 96, "%s", k->env);
		return true;
	}
	(void)snprintf(ret, 96, "CONTAINER_%s", k->name);
	for (i = 0; ret[i]; i++)
		ret[i] = (char)toupper((unsigned char)ret[i]);
	return true;
}

const struct conf_key *key_by_flag(const char *flag)
{
	char name[96];

	if (!strcmp(flag, "tz"))
		flag = "timezone";
	for (size_t i = 0; i < conf_keys_n; i++)
		if (key_flag(&conf_keys[i], name) && !strcmp(name, flag))
			return &conf_keys[i];
	return NULL;
}

const struct conf_key *key_by_path(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (!dot)
		return NULL;
	for (size_t i = 0; i < conf_keys_n; i++) {
		const struct conf_key *k = &conf_keys[i];
		if (strlen(k->table) == (size_t)(dot - path) && !strncmp(k->table, path, (size_t)(dot - path)) &&
		    !strcmp(k->name, dot + 1))
			return k;
	}
	return NULL;
}

const char *key_type_text(const struct conf_key *k)
{
	switch (k->type) {
	case KEY_STR:
	case KEY_ENUM:
		return "string";
	case KEY_BOOL:
		return "boolean";
	case KEY_INT:
		return "integer";
	case KEY_STRS:
		return "list of strings";
	case KEY_DUR:
		return "duration";
	case KEY_MAP:
		return "table of strings";
	}
	return "";
}
