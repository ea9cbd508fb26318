/* metrics.h: the metrics of metrics.def, and what fills a pod's (metrics.c); svc_metrics.c answers with them. */
#ifndef RPC_METRICS_H
#define RPC_METRICS_H

#include "core/lifecycle/stats.h"
#include "core/rpc/codec.h"
#include "core/rpc/cri.h"

enum metric_group { /* the words of included_pod_metrics, in keys.c's order */
	METRICS_CPU,
	METRICS_DISK,
	METRICS_DISK_IO,
	METRICS_HUGETLB,
	METRICS_MEMORY,
	METRICS_NETWORK,
	METRICS_OOM,
	METRICS_PROCESS,
	METRICS_SPEC,
	METRICS_PRESSURE,
	METRICS_ALWAYS,
	METRICS_GROUPS
};

enum metric {
#define METRIC(id, ...) METRIC_##id,
#include "core/rpc/metrics.def"
#undef METRIC
	METRICS_N
};

struct metric_row {
	enum metric_group group;
	const char *name, *help, *labels; /* labels: besides the base ones, a space between */
	Runtime__V1__MetricType type;
};
extern const struct metric_row metric_rows[METRICS_N];

#define METRIC_BASE_LABELS 5u
extern const char *const metric_base_labels[METRIC_BASE_LABELS];

/* Bits (1 << group) of the configuration's words; METRICS_ALWAYS is always there. */
unsigned metrics_groups(const struct strv *included);

/* The metrics of one pod and its containers as a message in the arena, whose strings are borrowed from p and s. */
int metrics_of_pod(struct pod *p, const struct pod_sample *s, unsigned groups, struct rpc_arena *a, CRI(PodSandboxMetrics) * *ret,
		   crio_err *err);
/* What of a pod and of its containers has to be looked at for the groups. */
unsigned metrics_pod_what(unsigned groups);
unsigned metrics_container_what(unsigned groups);

#endif
