/* svc_metrics.c: the kubelet's metrics of pods and containers. */
#include "core/conf/conf.h"
#include "core/rpc/lists.h"
#include "core/rpc/metrics.h"
#include "core/rpc/services.h"

#define POD_MAX (32u << 20) /* bytes of one pod's metrics */

/* ---- what there is ---- */

static int label_keys(crio_call *call, const char *more, CRI(MetricDescriptor) * d, crio_err *err)
{
	char *text = call_strdup(call, more), *save = NULL;
	char **v = call_alloc(call, (METRIC_BASE_LABELS + strlen(more) + 1) * sizeof(char *));
	size_t n = METRIC_BASE_LABELS;

	if (!text || !v)
		return err_nomem(err);
	memcpy(v, metric_base_labels, sizeof(metric_base_labels));
	for (char *k = strtok_r(text, " ", &save); k; k = strtok_r(NULL, " ", &save))
		v[n++] = k;
	d->label_keys = v;
	d->n_label_keys = n;
	return 0;
}

RPC_HANDLER(rpc_list_descriptors)
{
	unsigned groups = metrics_groups(&env->conf->stats.included_pod_metrics);
	CRI(ListMetricDescriptorsResponse) r = RUNTIME__V1__LIST_METRIC_DESCRIPTORS_RESPONSE__INIT;
	CRI(MetricDescriptor) d[METRICS_N], *v[METRICS_N];
	int e = 0;

	(void)req;
	r.descriptors = v;
	for (size_t i = 0; i < METRICS_N && !e; i++) {
		CRI(MetricDescriptor) *m = &d[r.n_descriptors];

		if (!(groups & (1u << metric_rows[i].group)))
			continue;
		*m = (CRI(MetricDescriptor))RUNTIME__V1__METRIC_DESCRIPTOR__INIT;
		m->name = (char *)(uintptr_t)metric_rows[i].name;
		m->help = (char *)(uintptr_t)metric_rows[i].help;
		e = label_keys(call, metric_rows[i].labels, m, err);
		v[r.n_descriptors++] = m;
	}
	return e ? e : rpc_reply_pack(reply, &r.base, err);
}

/* ---- their values ---- */

static int add_pod(struct pod *p, unsigned groups, struct list_builder *b, crio_err *err)
{
	struct pod_sample s = {0};
	CRI(PodSandboxMetrics) *m = NULL;
	struct wire *w = NULL;
	struct rpc_arena a;
	int e = pod_sample_get(p, metrics_pod_what(groups), metrics_container_what(groups), &s, err);

	if (e < 0)
		return e;
	rpc_arena_init(&a, NULL, POD_MAX);
	e = metrics_of_pod(p, &s, groups, &a, &m, err);
	if (!e)
		e = list_entry(&m->base, &w, err);
	if (!e)
		e = lists_add(b, w, err);
	rpc_arena_release(&a);
	pod_sample_release(&s);
	return e;
}

static int list_metrics(const struct rpc_env *env, struct list_builder *b, crio_err *err)
{
	const struct list_filter all = {.id = "", .pod_id = "", .state = -1};
	unsigned groups = metrics_groups(&env->conf->stats.included_pod_metrics);
	struct pod **v = NULL;
	size_t n = 0;
	int e = pods_list(env->lifecycle, &all, &v, &n, err);

	for (size_t i = 0; i < n; i++) {
		if (!e)
			e = add_pod(v[i], groups, b, err);
		pod_unref(v[i]);
	}
	free(v);
	return e;
}

RPC_HANDLER(rpc_list_metrics)
{
	cleanup_list struct list_builder b = {0};
	int e = list_metrics(env, &b, err);

	(void)call, (void)req;
	return e ? e : list_finish(&b, reply, err);
}

RPC_HANDLER(rpc_stream_metrics)
{
	cleanup_list struct list_builder b = {0};
	int e = list_metrics(env, &b, err);

	(void)call, (void)req, (void)reply;
	return e ? e : list_stream(&b, env, err);
}
