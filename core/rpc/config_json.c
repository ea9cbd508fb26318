/*
 * config_json.c: the configuration of the runtime table as CRI-O shows it in Status: a Go structure in JSON, whose members have Go's
 * names: log_level is LogLevel. Keys of our own are there in the same manner.
 */
#include "core/rpc/config_json.h"

#include "core/conf/keys.h"
#include "core/util/json.h"

/* Names that are not their key in camel case. */
static const struct {
	const char *key, *name;
} odd[] = {{"selinux", "SELinux"},
	   {"cdi_spec_dirs", "CDISpecDirs"},
	   {"min_injected_gomaxprocs", "MinInjectedGOMAXPROCS"},
	   {"blockio_config_file", "BlockIOConfigFile"},
	   {"blockio_reload", "BlockIOReload"},
	   {"irqbalance_config_file", "IrqBalanceConfigFile"},
	   {"irqbalance_config_restore_file", "IrqBalanceConfigRestoreFile"},
	   {"cgroup_manager", "CgroupManagerName"},
	   {"uid_mappings", "UIDMappings"},
	   {"gid_mappings", "GIDMappings"},
	   {"minimum_mappable_uid", "MinimumMappableUID"},
	   {"minimum_mappable_gid", "MinimumMappableGID"},
	   {"infra_ctr_cpuset", "InfraCtrCPUSet"},
	   {"shared_cpuset", "SharedCPUSet"},
	   {"hostnetwork_disable_selinux", "HostNetworkDisableSELinux"},
	   {"disable_hostport_mapping", "DisableHostPortMapping"},
	   {"exec_cpu_affinity", "ExecCPUAffinity"},
	   {"cpushares", "CPUShares"},
	   {"cpuquota", "CPUQuota"},
	   {"cpuperiod", "CPUPeriod"},
	   {"cpuset", "CPUSet"},
	   {"cpulimit", "CPULimit"}};

static void go_name(const char *key, char ret[96])
{
	bool up = true;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		if (!str_eq(odd[i].key, key))
			continue;
		(void)snprintf(ret, 96, "%s", odd[i].name);
		return;
	}
	for (; *key && n < 95; key++) {
		if (*key == '_') {
			up = true;
			continue;
		}
		ret[n++] = (char)(up && *key >= 'a' && *key <= 'z' ? *key - 'a' + 'A' : *key);
		up = false;
	}
	ret[n] = '\0';
}

static int put_key(struct json_object *o, const struct conf_key *k, const void *base)
{
	const void *p = (const char *)base + k->offset;
	const char *s;
	char name[96];

	go_name(k->name, name);
	switch (k->type) {
	case KEY_STR:
		(void)memcpy(&s, p, sizeof(s));
		return json_set_str(o, name, s ? s : "");
	case KEY_ENUM:
		return json_set_str(o, name, k->names[*(const int *)p]);
	case KEY_BOOL:
		return json_set_bool(o, name, *(const bool *)p);
	case KEY_INT:
	case KEY_DUR:
		return json_set_int(o, name, *(const int64_t *)p);
	case KEY_STRS:
		return json_set(o, name, json_from_strv(p));
	case KEY_MAP:
		return json_set(o, name, json_from_kvs(p));
	}
	return 0;
}

/* Keys of a table in a table go to an object of that name. */
static int put_keys(struct json_object *o, const struct conf_key *k, size_t n, const void *base)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		struct json_object *to = strstr(k[i].table, ">.") ? json_need_obj(o, "Resources") : o;

		r = to ? put_key(to, &k[i], base) : CRIO_E_NOMEM;
	}
	return r;
}

static int put_runtime_table(struct json_object *o, const struct conf *c)
{
	struct json_object *rts = json_need_obj(o, "Runtimes"), *wls = json_need_obj(o, "Workloads"), *e;
	int r = rts && wls ? 0 : CRIO_E_NOMEM;

	for (size_t i = 0; i < conf_keys_n && !r; i++)
		if (str_eq(conf_keys[i].table, "crio.runtime") && !(conf_keys[i].flags & KEY_FLAG_ONLY))
			r = put_key(o, &conf_keys[i], c);
	for (size_t i = 0; i < c->runtime.n_runtimes && !r; i++) {
		e = json_need_obj(rts, c->runtime.runtimes[i].name);
		r = e ? put_keys(e, runtime_keys, runtime_keys_n, &c->runtime.runtimes[i]) : CRIO_E_NOMEM;
	}
	for (size_t i = 0; i < c->runtime.n_workloads && !r; i++) {
		e = json_need_obj(wls, c->runtime.workloads[i].name);
		r = e ? put_keys(e, workload_keys, workload_keys_n, &c->runtime.workloads[i]) : CRIO_E_NOMEM;
	}
	return r;
}

int config_json(const struct conf *c, char **ret, crio_err *err)
{
	cleanup_json struct json_object *o = json_object_new_object();
	struct json_object *k = o ? json_need_obj(o, "crio") : NULL;

	if (!k || json_set_str(o, "sandboxImage", c->image.pause_image) < 0 || put_runtime_table(k, c) < 0)
		return err_nomem(err);
	*ret = json_text(o);
	return *ret ? 0 : err_nomem(err);
}
