/* metrics.c: figures as the kubelet's and cAdvisor's metrics. Values are whole numbers: times are in seconds, rounded down. */
#include "core/rpc/metrics.h"

#include "core/lifecycle/lifecycle.h"

#define SECOND UINT64_C(1000000000)
#define MEMORY_NONE (UINT64_C(1) << 62) /* a limit from here on is none */

const struct metric_row metric_rows[METRICS_N] = {
#define METRIC(id, group, name, type, help, labels) {METRICS_##group, "container_" name, help, labels, RUNTIME__V1__METRIC_TYPE__##type},
#include "core/rpc/metrics.def"
#undef METRIC
};

const char *const metric_base_labels[METRIC_BASE_LABELS] = {"id", "image", "namespace", "pod", "container"};

unsigned metrics_groups(const struct strv *included)
{
	static const char *const words[METRICS_ALWAYS] = {"cpu",     "disk", "diskIO",	"hugetlb", "memory",
							  "network", "oom",  "process", "spec",	   "pressure"};
	unsigned r = 1u << METRICS_ALWAYS;

	for (size_t i = 0; i < METRICS_ALWAYS; i++)
		if (strv_has(included, words[i]) || strv_has(included, "all"))
			r |= 1u << i;
	return r;
}

static bool on(unsigned groups, enum metric_group g)
{
	return groups & (1u << g);
}

unsigned metrics_pod_what(unsigned groups)
{
	return on(groups, METRICS_NETWORK) ? STATS_NET : 0;
}

unsigned metrics_container_what(unsigned groups)
{
	unsigned what = CGROUP_PIDS; /* at least one file: is it still there? */

	if (on(groups, METRICS_CPU) || on(groups, METRICS_MEMORY) || on(groups, METRICS_PRESSURE))
		what |= CGROUP_BASIC;
	if (on(groups, METRICS_CPU) || on(groups, METRICS_MEMORY) || on(groups, METRICS_DISK_IO) || on(groups, METRICS_HUGETLB) ||
	    on(groups, METRICS_OOM) || on(groups, METRICS_PROCESS))
		what |= CGROUP_MORE;
	return what;
}

/* ---- building ---- */

struct builder {
	struct rpc_arena *a;
	CRI(Metric) * *v;
	size_t n, cap;
	const char *base[METRIC_BASE_LABELS];
	int64_t time_ns;
	bool bad; /* no memory: seen once at the end */
};

static void *take(struct builder *b, size_t n)
{
	void *p = b->bad ? NULL : rpc_arena_alloc(b->a, n);

	b->bad |= !p;
	return p;
}

static bool grow(struct builder *b)
{
	size_t cap = b->cap ? b->cap * 2 : 64;
	CRI(Metric) * *v;

	if (b->n < b->cap)
		return true;
	v = take(b, cap * sizeof(*v));
	if (!v)
		return false;
	if (b->n)
		memcpy(v, b->v, b->n * sizeof(*v));
	b->v = v;
	b->cap = cap;
	return true;
}

/* `labels` are copied pointers; their texts must live as long as the arena. */
static void put(struct builder *b, enum metric id, uint64_t value, const char *const *labels, size_t n)
{
	struct {
		CRI(Metric) m;
		CRI(UInt64Value) v;
		char *labels[METRIC_BASE_LABELS];
	} *o = take(b, sizeof(*o) + n * sizeof(char *));

	if (!o || !grow(b))
		return;
	o->m = (CRI(Metric))RUNTIME__V1__METRIC__INIT;
	o->v = (CRI(UInt64Value))RUNTIME__V1__UINT64_VALUE__INIT;
	o->v.value = value;
	memcpy(o->labels, b->base, sizeof(b->base));
	if (n)
		memcpy((char *)o + sizeof(*o), labels, n * sizeof(char *));
	o->m.name = (char *)(uintptr_t)metric_rows[id].name;
	o->m.metric_type = metric_rows[id].type;
	o->m.timestamp = b->time_ns;
	o->m.value = &o->v;
	o->m.label_values = o->labels;
	o->m.n_label_values = METRIC_BASE_LABELS + n;
	b->v[b->n++] = &o->m;
}

#define PUT(b, id, value) put(b, METRIC_##id, value, NULL, 0)
#define PUT1(b, id, value, label) put(b, METRIC_##id, value, (const char *const[]){label}, 1)

/* "cpu" and 3 in at least 2 digits: "cpu03". */
static const char *numbered(struct builder *b, const char *prefix, int digits, unsigned x)
{
	char *p = take(b, 24);

	if (p)
		(void)snprintf(p, 24, "%.8s%0*u", prefix, digits, x);
	return p ? p : "";
}

/* ---- the groups ---- */

static void cpu(struct builder *b, const struct cgroup_stats *g)
{
	PUT(b, CPU_USER, g->cpu_user_ns / SECOND);
	PUT(b, CPU_SYSTEM, g->cpu_system_ns / SECOND);
	for (size_t i = 0; i < g->more->n_cpus; i++)
		if (g->more->cpu_ns[i])
			PUT1(b, CPU_USAGE, g->more->cpu_ns[i] / SECOND, numbered(b, "cpu", 2, (unsigned)i));
	if (!g->more->n_cpus && g->cpu_usage_ns)
		PUT1(b, CPU_USAGE, g->cpu_usage_ns / SECOND, "total");
	PUT(b, CPU_PERIODS, g->periods);
	PUT(b, CPU_THROTTLED_PERIODS, g->throttled_periods);
	PUT(b, CPU_THROTTLED, g->throttled_ns / SECOND);
}

static void disk(struct builder *b, struct container *c)
{
	struct layer_usage u = container_layer_usage(c);
	struct fs_sizes s;

	if (container_fs_sizes(c, &s)) {
		PUT(b, FS_INODES_FREE, s.inodes_free);
		PUT(b, FS_INODES, s.inodes);
		PUT(b, FS_LIMIT, s.bytes);
	}
	if (u.known)
		PUT(b, FS_USAGE, u.bytes);
}

static void disk_io(struct builder *b, const struct cgroup_more *m)
{
	for (size_t i = 0; i < m->n_io; i++) {
		const struct cgroup_io *io = &m->io[i];
		const char *major = numbered(b, "", 1, io->major), *minor = numbered(b, "", 1, io->minor);
		char *device = take(b, 32);

		if (!device)
			return;
		(void)snprintf(device, 32, "%u:%u", io->major, io->minor);
		if (io->has_times & (1u << IO_READ))
			PUT1(b, FS_READS, io->times[IO_READ], device);
		if (io->has_times & (1u << IO_WRITE))
			PUT1(b, FS_WRITES, io->times[IO_WRITE], device);
		if (io->has_bytes & (1u << IO_READ))
			PUT1(b, FS_READS_BYTES, io->bytes[IO_READ], device);
		if (io->has_bytes & (1u << IO_WRITE))
			PUT1(b, FS_WRITES_BYTES, io->bytes[IO_WRITE], device);
		for (int op = 0; op < IO_OPS; op++)
			if (io->has_bytes & (1u << op))
				put(b, METRIC_BLKIO_USAGE, io->bytes[op],
				    (const char *const[]){device, major, minor, cgroup_io_names[op]}, 4);
	}
}

static void hugetlb(struct builder *b, const struct cgroup_more *m)
{
	for (size_t i = 0; i < m->n_huge; i++) {
		PUT1(b, HUGETLB_USAGE, m->huge[i].usage, m->huge[i].size);
		PUT1(b, HUGETLB_MAX, m->huge[i].max_usage, m->huge[i].size);
	}
}

static void memory(struct builder *b, const struct cgroup_stats *g)
{
	static const char *const scopes[] = {"container", "hierarchy"};

	PUT(b, MEMORY_CACHE, g->memory_cache);
	PUT(b, MEMORY_RSS, g->memory_rss);
	PUT(b, MEMORY_KERNEL, g->memory_kernel);
	PUT(b, MEMORY_MAPPED, g->memory_mapped_file);
	PUT(b, MEMORY_SWAP, g->swap_usage);
	PUT(b, MEMORY_FAILCNT, g->memory_failcnt);
	PUT(b, MEMORY_USAGE, g->memory_usage);
	PUT(b, MEMORY_MAX, g->memory_max_usage);
	PUT(b, MEMORY_WORKING_SET, g->memory_working_set);
	for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
		put(b, METRIC_MEMORY_FAILURES, g->page_faults, (const char *const[]){"pgfault", scopes[i]}, 2);
		put(b, METRIC_MEMORY_FAILURES, g->major_page_faults, (const char *const[]){"pgmajfault", scopes[i]}, 2);
	}
}

static void network(struct builder *b, const struct stats_sample *s)
{
	for (size_t i = 0; i < s->n_ifs; i++) {
		const struct net_if *f = &s->ifs[i];

		PUT1(b, NET_RX_BYTES, f->rx.bytes, f->name);
		PUT1(b, NET_RX_PACKETS, f->rx.packets, f->name);
		PUT1(b, NET_RX_DROPPED, f->rx.dropped, f->name);
		PUT1(b, NET_RX_ERRORS, f->rx.errors, f->name);
		PUT1(b, NET_TX_BYTES, f->tx.bytes, f->name);
		PUT1(b, NET_TX_PACKETS, f->tx.packets, f->name);
		PUT1(b, NET_TX_DROPPED, f->tx.dropped, f->name);
		PUT1(b, NET_TX_ERRORS, f->tx.errors, f->name);
	}
}

static void process(struct builder *b, struct container *c, const struct cgroup_stats *g)
{
	struct process_figures f;

	if (container_processes(c, &f, NULL) < 0)
		return; /* it has just exited */
	PUT(b, FILES, f.descriptors);
	PUT(b, PROCESSES, f.processes);
	PUT(b, SOCKETS, f.sockets);
	PUT(b, THREADS, g->pids);
	PUT(b, THREADS_MAX, g->pids_limit);
	PUT1(b, ULIMITS_SOFT, f.files_soft, "max_open_files");
}

static uint64_t memory_limit(int64_t v)
{
	return v < 0 || (uint64_t)v > MEMORY_NONE ? 0 : (uint64_t)v;
}

static void spec(struct builder *b, struct container *c)
{
	struct container_status s;
	const char *min;
	int64_t v = 0;

	if (container_status_of(c, false, &s, NULL) < 0) {
		b->bad = true;
		return;
	}
	PUT(b, SPEC_CPU_PERIOD, (uint64_t)s.resources.cpu_period);
	PUT(b, SPEC_CPU_SHARES, (uint64_t)s.resources.cpu_shares);
	if (s.resources.cpu_quota > 0)
		PUT(b, SPEC_CPU_QUOTA, (uint64_t)s.resources.cpu_quota);
	PUT(b, SPEC_MEMORY_LIMIT, memory_limit(s.resources.memory_limit));
	PUT(b, SPEC_MEMORY_SWAP, memory_limit(s.resources.memory_swap_limit));
	min = kvs_get(&s.resources.unified, "memory.min");
	if (!min || str_to_i64(min, INT64_MIN, INT64_MAX, &v))
		PUT(b, SPEC_MEMORY_RESERVATION, memory_limit(v));
	PUT(b, START_TIME, (uint64_t)s.created_ns / SECOND);
	container_status_release(&s);
}

static void pressure(struct builder *b, const struct cgroup_stats *g)
{
	const struct {
		const struct cgroup_pressure *p;
		enum metric full, some;
	} v[] = {{&g->cpu_pressure, METRIC_PRESSURE_CPU_FULL, METRIC_PRESSURE_CPU_SOME},
		 {&g->memory_pressure, METRIC_PRESSURE_MEMORY_FULL, METRIC_PRESSURE_MEMORY_SOME},
		 {&g->io_pressure, METRIC_PRESSURE_IO_FULL, METRIC_PRESSURE_IO_SOME}};

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		if (!v[i].p->has)
			continue;
		put(b, v[i].full, v[i].p->full.total_us / 1000000, NULL, 0);
		put(b, v[i].some, v[i].p->some.total_us / 1000000, NULL, 0);
	}
}

/* ---- */

static void container(struct builder *b, struct container *c, const struct stats_sample *s, unsigned groups)
{
	const struct cgroup_stats *g = &s->cg;

	PUT(b, LAST_SEEN, (uint64_t)s->time_ns / SECOND);
	if (on(groups, METRICS_CPU))
		cpu(b, g);
	if (on(groups, METRICS_DISK))
		disk(b, c);
	if (on(groups, METRICS_DISK_IO))
		disk_io(b, g->more);
	if (on(groups, METRICS_HUGETLB))
		hugetlb(b, g->more);
	if (on(groups, METRICS_MEMORY))
		memory(b, g);
	if (on(groups, METRICS_OOM))
		PUT(b, OOM_EVENTS, g->oom_kills);
	if (on(groups, METRICS_PROCESS))
		process(b, c, g);
	if (on(groups, METRICS_SPEC))
		spec(b, c);
	if (on(groups, METRICS_PRESSURE))
		pressure(b, g);
}

static struct builder builder(struct rpc_arena *a, const struct stats_subject *of, const struct stats_sample *s)
{
	return (struct builder){.a = a,
				.time_ns = s->time_ns,
				.base = {of->id, of->image_name, of->pod->meta.ns, of->pod->meta.name,
					 of->container ? of->container->meta.name : "POD"}};
}

static CRI(ContainerMetrics) * of_container(struct container *c, const struct stats_sample *s, unsigned groups, struct rpc_arena *a)
{
	const struct stats_subject of = container_subject(c);
	struct builder b = builder(a, &of, s);
	CRI(ContainerMetrics) *m = take(&b, sizeof(*m));

	container(&b, c, s, groups);
	if (b.bad)
		return NULL;
	*m = (CRI(ContainerMetrics))RUNTIME__V1__CONTAINER_METRICS__INIT;
	m->container_id = (char *)(uintptr_t)of.id;
	m->metrics = b.v;
	m->n_metrics = b.n;
	return m;
}

int metrics_of_pod(struct pod *p, const struct pod_sample *s, unsigned groups, struct rpc_arena *a, CRI(PodSandboxMetrics) * *ret,
		   crio_err *err)
{
	const struct stats_subject of = pod_subject(p);
	struct builder b = builder(a, &of, s->pod);
	CRI(PodSandboxMetrics) *m = take(&b, sizeof(*m));
	CRI(ContainerMetrics) **v = take(&b, (s->n + 1) * sizeof(CRI(ContainerMetrics) *));

	if (on(groups, METRICS_NETWORK))
		network(&b, s->pod);
	for (size_t i = 0; i < s->n && !b.bad; i++) {
		v[i] = of_container(s->containers[i], s->samples[i], groups, a);
		b.bad |= !v[i];
	}
	if (b.bad)
		return err_nomem(err);
	*m = (CRI(PodSandboxMetrics))RUNTIME__V1__POD_SANDBOX_METRICS__INIT;
	m->pod_sandbox_id = (char *)(uintptr_t)of.id;
	m->metrics = b.v;
	m->n_metrics = b.n;
	m->container_metrics = v;
	m->n_container_metrics = s->n;
	*ret = m;
	return 0;
}
