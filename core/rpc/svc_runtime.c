/* svc_runtime.c: the daemon itself. */
#include "core/conf/conf.h"
#include "core/rpc/config_json.h"
#include "core/rpc/convert.h"
#include "core/rpc/handlers.h"
#include "core/rpc/services.h"

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
