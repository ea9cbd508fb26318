/* svc_runtime.c: the daemon itself. */
#include "core/conf/conf.h"
#include "core/rpc/convert.h"
#include "core/rpc/handlers.h"
#include "core/rpc/services.h"
#include "core/util/json.h"
#include "core/util/log.h"

#define CRI_VERSION "0.1.0"

RPC_HANDLER(rpc_version)
{
	CRI(VersionResponse) r = RUNTIME__V1__VERSION_RESPONSE__INIT;

	(void)call, (void)req;
	r.version = (char *)(uintptr_t)CRI_VERSION;
	r.runtime_name = (char *)(uintptr_t) "cri-o";
	r.runtime_version = (char *)(uintptr_t)env->version;
	r.runtime_api_version = (char *)(uintptr_t) "v1";
	return rpc_reply_pack(reply, &r.base, err);
}

RPC_HANDLER(rpc_runtime_config)
{
	CRI(RuntimeConfigResponse) r = RUNTIME__V1__RUNTIME_CONFIG_RESPONSE__INIT;
	CRI(LinuxRuntimeConfiguration) l = RUNTIME__V1__LINUX_RUNTIME_CONFIGURATION__INIT;

	(void)call, (void)req;
	l.cgroup_driver = env->conf->runtime.cgroup_manager == CONF_CGROUP_SYSTEMD
			      ? RUNTIME__V1__CGROUP_DRIVER__SYSTEMD
			      : RUNTIME__V1__CGROUP_DRIVER__CGROUPFS;
	r.linux = &l;
	return rpc_reply_pack(reply, &r.base, err);
}

/* The pod CIDR that kubelet sends is of no use here: CNI configurations have their own. */
RPC_HANDLER(rpc_update_config)
{
	(void)env, (void)call, (void)req, (void)reply, (void)err;
	return 0;
}

/* ---- Status ---- */

/* Every handler, and the default one once more as "". */
static int handlers_out(const struct rpc_env *env, crio_call *call, CRI(StatusResponse) * r, crio_err *err)
{
	const struct conf_runtime_section *rs = &env->conf->runtime;
	size_t i, n = 0;
	struct part {
		CRI(RuntimeHandler) h;
		CRI(RuntimeHandlerFeatures) f;
	} * p;

	p = call_alloc(call, (rs->n_runtimes + 1) * sizeof(*p));
	r->runtime_handlers = call_alloc(call, (rs->n_runtimes + 1) * sizeof(*r->runtime_handlers));
	if (!p || !r->runtime_handlers)
		return err_nomem(err);
	for (i = 0; i < rs->n_runtimes; i++) {
		const char *name = rs->runtimes[i].name;
		bool twice = str_eq(name, rs->default_runtime);
		struct runtime_features f;
		int k;

		handler_features(env, call, name, &f);
		for (k = 0; k < 1 + twice; k++, n++) {
			p[n].h = (CRI(RuntimeHandler))RUNTIME__V1__RUNTIME_HANDLER__INIT;
			p[n].f = (CRI(RuntimeHandlerFeatures))RUNTIME__V1__RUNTIME_HANDLER_FEATURES__INIT;
			p[n].f.recursive_read_only_mounts = f.recursive_read_only;
			p[n].f.user_namespaces = f.user_namespaces;
			p[n].h.name = (char *)(uintptr_t)(k ? "" : name);
			p[n].h.features = &p[n].f;
			r->runtime_handlers[n] = &p[n].h;
		}
	}
	r->n_runtime_handlers = n;
	return 0;
}

static int add_handler_json(struct json_object *o, const struct conf_runtime *rt)
{
	static const char *const types[] = {"oci", "vm", "pod"};
	struct json_object *h = json_need_obj(o, rt->name);

	return !h || json_set_str(h, "RuntimePath", rt->runtime_path) < 0 ||
		       json_set_str(h, "RuntimeType", types[rt->runtime_type]) < 0 ||
		       json_set_str(h, "RuntimeRoot", rt->runtime_root) < 0 ||
		       json_set_str(h, "MonitorPath", rt->monitor_path) < 0 ||
		       json_set_str(h, "MonitorCgroup", rt->monitor_cgroup) < 0 ||
		       json_set_int(h, "ContainerCreateTimeout", rt->container_create_timeout) < 0 ||
		       json_set_bool(h, "PrivilegedWithoutHostDevices", rt->privileged_without_host_devices) < 0 ||
		       json_set(h, "AllowedAnnotations", json_from_strv(&rt->allowed_annotations)) < 0 ||
		       json_set_str(h, "RuntimePlugin", rt->runtime_plugin) < 0 ||
		       json_set_str(h, "StoragePlugin", rt->storage_plugin) < 0 ||
		       json_set_str(h, "NetworkPlugin", rt->network_plugin) < 0
		   ? CRIO_E_NOMEM
		   : 0;
}

/* CRI-O marshals its RuntimeConfig under its Go names; these are the ones people look at. */
static int config_json(const struct conf *c, char **ret, crio_err *err)
{
	const struct conf_runtime_section *r = &c->runtime;
	cleanup_json struct json_object *o = json_object_new_object();
	struct json_object *k = o ? json_need_obj(o, "crio") : NULL, *rts = k ? json_need_obj(k, "Runtimes") : NULL;
	size_t i;

	if (!rts || json_set_str(o, "sandboxImage", c->image.pause_image) < 0 ||
	    json_set_str(k, "DefaultRuntime", r->default_runtime) < 0 ||
	    json_set_str(k, "CgroupManagerName", r->cgroup_manager == CONF_CGROUP_SYSTEMD ? "systemd" : "cgroupfs") <
		0 ||
	    json_set_str(k, "Conmon", r->conmon) < 0 || json_set_str(k, "ConmonCgroup", r->conmon_cgroup) < 0 ||
	    json_set_bool(k, "SELinux", r->selinux) < 0 || json_set_str(k, "SeccompProfile", r->seccomp_profile) < 0 ||
	    json_set_str(k, "ApparmorProfile", r->apparmor_profile) < 0 ||
	    json_set(k, "HooksDir", json_from_strv(&r->hooks_dir)) < 0 ||
	    json_set(k, "DefaultCapabilities", json_from_strv(&r->default_capabilities)) < 0 ||
	    json_set(k, "DefaultSysctls", json_from_strv(&r->default_sysctls)) < 0 ||
	    json_set(k, "DefaultUlimits", json_from_strv(&r->default_ulimits)) < 0 ||
	    json_set_int(k, "PidsLimit", r->pids_limit) < 0 || json_set_int(k, "LogSizeMax", r->log_size_max) < 0 ||
	    json_set_int(k, "CtrStopTimeout", r->ctr_stop_timeout) < 0 ||
	    json_set_str(k, "ContainerExitsDir", r->container_exits_dir) < 0 ||
	    json_set_str(k, "ContainerAttachSocketDir", r->container_attach_socket_dir) < 0 ||
	    json_set_str(k, "NamespacesDir", r->namespaces_dir) < 0 ||
	    json_set_str(k, "LogLevel", log_level_name(r->log_level)) < 0 ||
	    json_set_bool(k, "DropInfraCtr", r->drop_infra_ctr) < 0 || json_set_bool(k, "ReadOnly", r->read_only) < 0 ||
	    json_set_bool(k, "EnablePodEvents", r->enable_pod_events) < 0)
		return err_nomem(err);
	for (i = 0; i < r->n_runtimes; i++)
		if (add_handler_json(rts, &r->runtimes[i]) < 0)
			return err_nomem(err);
	*ret = json_text(o);
	return *ret ? 0 : err_nomem(err);
}

RPC_HANDLER(rpc_status)
{
	const CRI(StatusRequest) *q = (const void *)req;
	CRI(StatusResponse) r = RUNTIME__V1__STATUS_RESPONSE__INIT;
	CRI(RuntimeStatus) st = RUNTIME__V1__RUNTIME_STATUS__INIT;
	CRI(RuntimeCondition)
	runtime = RUNTIME__V1__RUNTIME_CONDITION__INIT,
	network = RUNTIME__V1__RUNTIME_CONDITION__INIT;
	CRI(RuntimeCondition) * conditions[] = {&runtime, &network};
	CRI(RuntimeFeatures) features = RUNTIME__V1__RUNTIME_FEATURES__INIT;
	CRI(StatusResponse__InfoEntry) info = RUNTIME__V1__STATUS_RESPONSE__INFO_ENTRY__INIT, *infos = &info;
	cleanup_free char *reason = NULL, *message = NULL, *json = NULL;
	bool ready = false;
	int e;

	e = lifecycle_network_ready(env->lifecycle, &ready, &reason, &message, err);
	if (e < 0)
		return e;
	runtime.type = (char *)(uintptr_t) "RuntimeReady";
	runtime.status = true;
	network.type = (char *)(uintptr_t) "NetworkReady";
	network.status = ready;
	network.reason = ready ? NULL : reason;
	network.message = ready ? NULL : message;
	st.conditions = conditions;
	st.n_conditions = ARRAY_SIZE(conditions);
	features.supplemental_groups_policy = true;
	features.user_namespaces_host_network = true;
	r.status = &st;
	r.features = &features;
	e = handlers_out(env, call, &r, err);
	if (!e && q->verbose) {
		e = config_json(env->conf, &json, err);
		info.key = (char *)(uintptr_t) "config";
		info.value = json;
		r.info = &infos;
		r.n_info = 1;
	}
	return e < 0 ? e : rpc_reply_pack(reply, &r.base, err);
}
