/* svc_pod.c: pod sandboxes. */
#include "core/conf/conf.h"
#include "core/rpc/convert.h"
#include "core/rpc/events.h"
#include "core/rpc/lists.h"
#include "core/rpc/services.h"
#include "core/util/log.h"

RPC_HANDLER(rpc_run_pod)
{
	const CRI(RunPodSandboxRequest) *q = (const void *)req;
	CRI(RunPodSandboxResponse) r = RUNTIME__V1__RUN_POD_SANDBOX_RESPONSE__INIT;
	cleanup_pod_config struct pod_config c = {0};
	cleanup_free char *id = NULL;
	int e;

	if (pod_config_init(&c) < 0)
		return err_nomem(err);
	e = convert_pod_config(&c, q->config, err);
	if (e < 0)
		return e;
	log_info("Running pod sandbox: %s/%s/POD", c.meta.ns, c.meta.name);
	e = pod_run(env->lifecycle, call, &c, q->runtime_handler, &id, err);
	if (e < 0)
		return e;
	r.pod_sandbox_id = id;
	return rpc_reply_pack(reply, &r.base, err);
}

static int need_id(const char *id, const char *what, crio_err *err)
{
	return str_set(id) ? 0 : err_set(err, CRIO_E_INVALID, "%s ID should not be empty", what);
}

RPC_HANDLER(rpc_stop_pod)
{
	const CRI(StopPodSandboxRequest) *q = (const void *)req;
	int e = need_id(q->pod_sandbox_id, "PodSandbox", err);

	(void)reply;
	if (e < 0)
		return e;
	log_info("Stopping pod sandbox: %s", q->pod_sandbox_id);
	return pod_stop(env->lifecycle, call, q->pod_sandbox_id, err);
}

RPC_HANDLER(rpc_remove_pod)
{
	const CRI(RemovePodSandboxRequest) *q = (const void *)req;
	int e = need_id(q->pod_sandbox_id, "PodSandbox", err);

	(void)reply;
	if (e < 0)
		return e;
	log_info("Removing pod sandbox: %s", q->pod_sandbox_id);
	return pod_remove(env->lifecycle, call, q->pod_sandbox_id, err);
}

/* "info": the verbose JSON. */
static void info_entry(CRI(PodSandboxStatusResponse__InfoEntry) * e, char *json)
{
	*e = (CRI(PodSandboxStatusResponse__InfoEntry))RUNTIME__V1__POD_SANDBOX_STATUS_RESPONSE__INFO_ENTRY__INIT;
	e->key = (char *)(uintptr_t) "info";
	e->value = json;
}

RPC_HANDLER(rpc_pod_status)
{
	const CRI(PodSandboxStatusRequest) *q = (const void *)req;
	CRI(PodSandboxStatusResponse) r = RUNTIME__V1__POD_SANDBOX_STATUS_RESPONSE__INIT;
	CRI(PodSandboxStatusResponse__InfoEntry) info, *infos = &info;
	struct pod_status s = {0};
	int e = need_id(q->pod_sandbox_id, "PodSandbox", err);

	if (e < 0)
		return e;
	e = pod_status(env->lifecycle, q->pod_sandbox_id, q->verbose, &s, err);
	if (e < 0)
		return e;
	e = convert_pod_status_out(call, &s, &r.status, err);
	if (!e && q->verbose && s.info_json) {
		info_entry(&info, s.info_json);
		r.info = &infos;
		r.n_info = 1;
	}
	if (!e && env->conf->runtime.enable_pod_events)
		e = rpc_pod_containers(call, s.pod, &r, reply, err);
	else if (!e)
		e = rpc_reply_pack(reply, &r.base, err);
	pod_status_release(&s);
	return e;
}

/* The kubelet has changed the pod's own group by itself. It is told to plugins that follow resources, of which there are none yet. */
RPC_HANDLER(rpc_update_pod)
{
	const CRI(UpdatePodSandboxResourcesRequest) *q = (const void *)req;
	struct pod *p = NULL;
	int e = need_id(q->pod_sandbox_id, "PodSandbox", err);

	(void)call, (void)reply;
	if (!e)
		e = pod_find(env->lifecycle, q->pod_sandbox_id, &p, err);
	pod_unref(p);
	return e;
}

/* One list entry, packed with tag and length: made anew, and kept with the pod. */
static int pod_wire_make(crio_call *call, struct pod *p, uint64_t version, struct wire **ret, crio_err *err)
{
	struct pod_status s = {0};
	CRI(PodSandbox) *m = NULL;
	int e = pod_status_of(p, false, &s, err);

	if (e < 0)
		return e;
	e = convert_pod_out(call, &s, &m, err);
	if (!e)
		e = list_entry(&m->base, ret, err);
	if (!e)
		pod_wire_put(p, version, *ret);
	pod_status_release(&s);
	return e;
}

static int list_pods(const struct rpc_env *env, crio_call *call, const CRI(PodSandboxFilter) * f, struct list_builder *b,
		     crio_err *err)
{
	struct list_filter lf = {.id = "", .pod_id = "", .state = -1};
	cleanup_kvs struct kvs labels = KVS_INIT;
	struct pod **v = NULL;
	size_t n = 0, i;
	int e = 0;

	if (f) {
		e = convert_map(&labels, f->label_selector, f->n_label_selector, err);
		lf.id = f->id;
		lf.state = f->state ? (int)f->state->state : -1;
		lf.labels = labels.n ? &labels : NULL;
	}
	if (!e)
		e = pods_list(env->lifecycle, &lf, &v, &n, err);
	for (i = 0; i < n; i++) {
		struct wire *w = NULL;
		uint64_t version;

		if (!e) {
			w = pod_wire_get(v[i], &version);
			if (!w)
				e = pod_wire_make(call, v[i], version, &w, err);
			if (!e)
				e = lists_add(b, w, err);
		}
		pod_unref(v[i]);
	}
	free(v);
	return e;
}

RPC_HANDLER(rpc_list_pods)
{
	const CRI(ListPodSandboxRequest) *q = (const void *)req;
	cleanup_list struct list_builder b = {0};
	int e = list_pods(env, call, q->filter, &b, err);

	return e ? e : list_finish(&b, reply, err);
}

RPC_HANDLER(rpc_stream_pods)
{
	const CRI(StreamPodSandboxesRequest) *q = (const void *)req;
	cleanup_list struct list_builder b = {0};
	int e = list_pods(env, call, q->filter, &b, err);

	(void)reply;
	return e ? e : list_stream(&b, env, err);
}
