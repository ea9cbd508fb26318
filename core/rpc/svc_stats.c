/* svc_stats.c: what pods and containers use. Each list entry is packed by itself, for the reply or for the stream. */
#include "core/lifecycle/stats.h"
#include "core/rpc/convert.h"
#include "core/rpc/lists.h"
#include "core/rpc/services.h"

static int add_entry(const ProtobufCMessage *m, struct list_builder *b, crio_err *err)
{
	struct wire *w = NULL;
	int e = list_entry(m, &w, err);

	return e ? e : lists_add(b, w, err);
}

/* ---- containers ---- */

RPC_HANDLER(rpc_container_stats)
{
	const CRI(ContainerStatsRequest) *q = (const void *)req;
	CRI(ContainerStatsResponse) r = RUNTIME__V1__CONTAINER_STATS_RESPONSE__INIT;
	struct stats_sample *s = NULL;
	struct container *c = NULL;
	struct container_stats_out out;
	int e = str_set(q->container_id) ? container_find(env->lifecycle, q->container_id, &c, err)
					 : err_set(err, CRIO_E_INVALID, "container ID should not be empty");

	if (e < 0)
		return e;
	e = container_sample(c, CGROUP_BASIC, &s, err);
	if (e == CRIO_E_NOT_FOUND) { /* it has exited: an answer without figures */
		err_clear(err);
		container_unref(c);
		return rpc_reply_pack(reply, &r.base, err);
	}
	if (!e)
		e = convert_container_stats(call, c, s, &out, err);
	if (!e) {
		r.stats = &out.stats;
		e = rpc_reply_pack(reply, &r.base, err);
	}
	stats_sample_unref(s);
	container_unref(c);
	return e;
}

static int add_container(crio_call *call, struct container *c, struct list_builder *b, crio_err *err)
{
	struct container_stats_out out;
	struct stats_sample *s = NULL;
	int e = container_sample(c, CGROUP_BASIC, &s, NULL);

	if (e < 0) /* it has exited, or goes right now */
		return e == CRIO_E_NOMEM ? err_nomem(err) : 0;
	e = convert_container_stats(call, c, s, &out, err);
	if (!e)
		e = add_entry(&out.stats.base, b, err);
	stats_sample_unref(s);
	return e;
}

static int list_containers(const struct rpc_env *env, crio_call *call, const CRI(ContainerStatsFilter) * f, struct list_builder *b,
			   crio_err *err)
{
	struct list_filter lf = {.id = "", .pod_id = "", .state = -1};
	cleanup_kvs struct kvs labels = KVS_INIT;
	struct container **v = NULL;
	size_t n = 0;
	int e = 0;

	if (f) {
		e = convert_map(&labels, f->label_selector, f->n_label_selector, err);
		lf.id = f->id;
		lf.pod_id = f->pod_sandbox_id;
		lf.labels = labels.n ? &labels : NULL;
	}
	if (!e)
		e = containers_list(env->lifecycle, &lf, &v, &n, err);
	for (size_t i = 0; i < n; i++) {
		if (!e)
			e = add_container(call, v[i], b, err);
		container_unref(v[i]);
	}
	free(v);
	return e;
}

RPC_HANDLER(rpc_list_container_stats)
{
	const CRI(ListContainerStatsRequest) *q = (const void *)req;
	cleanup_list struct list_builder b = {0};
	int e = list_containers(env, call, q->filter, &b, err);

	return e ? e : list_finish(&b, reply, err);
}

RPC_HANDLER(rpc_stream_container_stats)
{
	const CRI(StreamContainerStatsRequest) *q = (const void *)req;
	cleanup_list struct list_builder b = {0};
	int e = list_containers(env, call, q->filter, &b, err);

	(void)reply;
	return e ? e : list_stream(&b, env, err);
}

/* ---- pods ---- */

#define POD_WHAT (CGROUP_BASIC | CGROUP_PIDS | STATS_NET)

/* `out` borrows from ret_sample. */
static int pod_stats(crio_call *call, struct pod *p, struct pod_sample *ret_sample, struct pod_stats_out *out, crio_err *err)
{
	int e = pod_sample_get(p, POD_WHAT, CGROUP_BASIC, ret_sample, err);

	return e ? e : convert_pod_stats(call, p, ret_sample, out, err);
}

RPC_HANDLER(rpc_pod_stats)
{
	const CRI(PodSandboxStatsRequest) *q = (const void *)req;
	CRI(PodSandboxStatsResponse) r = RUNTIME__V1__POD_SANDBOX_STATS_RESPONSE__INIT;
	struct pod_sample s = {0};
	struct pod_stats_out out;
	struct pod *p = NULL;
	int e = str_set(q->pod_sandbox_id) ? pod_find(env->lifecycle, q->pod_sandbox_id, &p, err)
					   : err_set(err, CRIO_E_INVALID, "PodSandbox ID should not be empty");

	if (!e)
		e = pod_stats(call, p, &s, &out, err);
	if (!e) {
		r.stats = &out.stats;
		e = rpc_reply_pack(reply, &r.base, err);
	}
	pod_sample_release(&s);
	pod_unref(p);
	return e;
}

static int list_pods(const struct rpc_env *env, crio_call *call, const CRI(PodSandboxStatsFilter) * f, struct list_builder *b,
		     crio_err *err)
{
	struct list_filter lf = {.id = "", .pod_id = "", .state = POD_READY};
	cleanup_kvs struct kvs labels = KVS_INIT;
	struct pod **v = NULL;
	size_t n = 0;
	int e = 0;

	if (f) {
		e = convert_map(&labels, f->label_selector, f->n_label_selector, err);
		lf.id = f->id;
		lf.labels = labels.n ? &labels : NULL;
	}
	if (!e)
		e = pods_list(env->lifecycle, &lf, &v, &n, err);
	for (size_t i = 0; i < n; i++) {
		struct pod_sample s = {0};
		struct pod_stats_out out;

		if (!e)
			e = pod_stats(call, v[i], &s, &out, err);
		if (!e)
			e = add_entry(&out.stats.base, b, err);
		pod_sample_release(&s);
		pod_unref(v[i]);
	}
	free(v);
	return e;
}

RPC_HANDLER(rpc_list_pod_stats)
{
	const CRI(ListPodSandboxStatsRequest) *q = (const void *)req;
	cleanup_list struct list_builder b = {0};
	int e = list_pods(env, call, q->filter, &b, err);

	return e ? e : list_finish(&b, reply, err);
}

RPC_HANDLER(rpc_stream_pod_stats)
{
	const CRI(StreamPodSandboxStatsRequest) *q = (const void *)req;
	cleanup_list struct list_builder b = {0};
	int e = list_pods(env, call, q->filter, &b, err);

	(void)reply;
	return e ? e : list_stream(&b, env, err);
}
