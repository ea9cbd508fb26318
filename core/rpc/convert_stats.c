/* convert_stats.c: figures as the wire's structs. */
#include "core/lifecycle/stats.h"
#include "core/rpc/convert.h"

/* The next of the numbers that a message has room for. */
static CRI(UInt64Value) * number(CRI(UInt64Value) * v, size_t *n, uint64_t x)
{
	CRI(UInt64Value) *r = &v[(*n)++];

	*r = (CRI(UInt64Value))RUNTIME__V1__UINT64_VALUE__INIT;
	r->value = x;
	return r;
}

static CRI(PsiStats) * pressure(const struct cgroup_pressure *p, struct psi_out *out)
{
	const struct cgroup_psi *from[] = {&p->full, &p->some};

	if (!p->has)
		return NULL;
	for (size_t i = 0; i < 2; i++) {
		out->data[i] = (CRI(PsiData))RUNTIME__V1__PSI_DATA__INIT;
		out->data[i].total = from[i]->total_us;
		out->data[i].avg10 = from[i]->avg10;
		out->data[i].avg60 = from[i]->avg60;
		out->data[i].avg300 = from[i]->avg300;
	}
	out->stats = (CRI(PsiStats))RUNTIME__V1__PSI_STATS__INIT;
	out->stats.full = &out->data[0];
	out->stats.some = &out->data[1];
	return &out->stats;
}

/* CPU, memory and pressure, of pods and containers alike. */
static void usage(const struct stats_sample *s, struct usage_out *o)
{
	const struct cgroup_stats *g = &s->cg;

	o->n = 0;
	o->cpu = (CRI(CpuUsage))RUNTIME__V1__CPU_USAGE__INIT;
	o->cpu.timestamp = s->time_ns;
	o->cpu.usage_core_nano_seconds = number(o->v, &o->n, g->cpu_usage_ns);
	if (s->has_nano_cores)
		o->cpu.usage_nano_cores = number(o->v, &o->n, s->nano_cores);
	o->cpu.psi = pressure(&g->cpu_pressure, &o->psi[0]);
	o->memory = (CRI(MemoryUsage))RUNTIME__V1__MEMORY_USAGE__INIT;
	o->memory.timestamp = s->time_ns;
	o->memory.working_set_bytes = number(o->v, &o->n, g->memory_working_set);
	o->memory.available_bytes = number(o->v, &o->n, g->memory_available);
	o->memory.usage_bytes = number(o->v, &o->n, g->memory_usage);
	o->memory.rss_bytes = number(o->v, &o->n, g->memory_rss);
	o->memory.page_faults = number(o->v, &o->n, g->page_faults);
	o->memory.major_page_faults = number(o->v, &o->n, g->major_page_faults);
	o->memory.psi = pressure(&g->memory_pressure, &o->psi[1]);
	o->io = (CRI(IoUsage))RUNTIME__V1__IO_USAGE__INIT;
	o->io.timestamp = s->time_ns;
	o->io.psi = pressure(&g->io_pressure, &o->psi[2]);
}

static void layer(struct container *c, struct container_stats_out *o)
{
	struct layer_usage u = container_layer_usage(c);

	if (!*container_rootfs(c))
		return;
	o->fs = (CRI(FilesystemUsage))RUNTIME__V1__FILESYSTEM_USAGE__INIT;
	o->fs_id = (CRI(FilesystemIdentifier))RUNTIME__V1__FILESYSTEM_IDENTIFIER__INIT;
	o->fs_id.mountpoint = (char *)(uintptr_t)container_rootfs(c);
	o->fs.fs_id = &o->fs_id;
	o->fs.timestamp = u.known ? u.time_ns : o->cpu_time_ns;
	if (u.known) {
		o->fs.used_bytes = number(o->u.v, &o->u.n, u.bytes);
		o->fs.inodes_used = number(o->u.v, &o->u.n, u.inodes);
	}
	o->stats.writable_layer = &o->fs;
}

static void swap(const struct stats_sample *s, struct container_stats_out *o)
{
	const struct cgroup_stats *g = &s->cg;

	o->swap = (CRI(SwapUsage))RUNTIME__V1__SWAP_USAGE__INIT;
	o->swap.timestamp = s->time_ns;
	o->swap.swap_usage_bytes = number(o->u.v, &o->u.n, g->swap_usage);
	if (g->swap_limit != UINT64_MAX)
		o->swap.swap_available_bytes =
		    number(o->u.v, &o->u.n, g->swap_limit > g->swap_usage ? g->swap_limit - g->swap_usage : 0);
	o->stats.swap = &o->swap;
}

int convert_container_stats(crio_call *call, struct container *c, const struct stats_sample *s, struct container_stats_out *o,
			    crio_err *err)
{
	const struct stats_subject of = container_subject(c);
	int r;

	o->meta = (CRI(ContainerMetadata))RUNTIME__V1__CONTAINER_METADATA__INIT;
	o->meta.name = of.container->meta.name;
	o->meta.attempt = of.container->meta.attempt;
	o->attributes = (CRI(ContainerAttributes))RUNTIME__V1__CONTAINER_ATTRIBUTES__INIT;
	o->attributes.id = (char *)(uintptr_t)of.id;
	o->attributes.metadata = &o->meta;
	r = convert_kvs_out(call, &of.container->labels, &o->attributes.labels, &o->attributes.n_labels, err);
	if (!r)
		r = convert_kvs_out(call, &of.container->annotations, &o->attributes.annotations, &o->attributes.n_annotations, err);
	if (r < 0)
		return r;
	o->stats = (CRI(ContainerStats))RUNTIME__V1__CONTAINER_STATS__INIT;
	o->stats.attributes = &o->attributes;
	o->cpu_time_ns = s->time_ns;
	usage(s, &o->u);
	if (s->cg.has_cpu)
		o->stats.cpu = &o->u.cpu;
	if (s->cg.has_memory)
		o->stats.memory = &o->u.memory;
	if (s->cg.has_swap)
		swap(s, o);
	if (o->u.io.psi)
		o->stats.io = &o->u.io;
	layer(c, o);
	return 0;
}

/* ---- pods ---- */

struct if_out {
	CRI(NetworkInterfaceUsage) u;
	CRI(UInt64Value) v[4];
};

static CRI(NetworkInterfaceUsage) * interface(const struct net_if *f, struct if_out *o)
{
	size_t n = 0;

	o->u = (CRI(NetworkInterfaceUsage))RUNTIME__V1__NETWORK_INTERFACE_USAGE__INIT;
	o->u.name = (char *)(uintptr_t)f->name;
	o->u.rx_bytes = number(o->v, &n, f->rx.bytes);
	o->u.rx_errors = number(o->v, &n, f->rx.errors);
	o->u.tx_bytes = number(o->v, &n, f->tx.bytes);
	o->u.tx_errors = number(o->v, &n, f->tx.errors);
	return &o->u;
}

/* The default interface is the first that is not the loopback, which the network plugin made first; the others are the rest. */
static int network(crio_call *call, const struct stats_sample *s, struct pod_stats_out *o, crio_err *err)
{
	struct if_out *v = call_alloc(call, (s->n_ifs + 1) * sizeof(*v));

	o->network = (CRI(NetworkUsage))RUNTIME__V1__NETWORK_USAGE__INIT;
	o->network.timestamp = s->time_ns;
	o->network.interfaces = call_alloc(call, (s->n_ifs + 1) * sizeof(CRI(NetworkInterfaceUsage) *));
	if (!v || !o->network.interfaces)
		return err_nomem(err);
	for (size_t i = 0; i < s->n_ifs; i++) {
		CRI(NetworkInterfaceUsage) *u = interface(&s->ifs[i], &v[i]);

		if (!s->ifs[i].loopback && !o->network.default_interface)
			o->network.default_interface = u;
		else
			o->network.interfaces[o->network.n_interfaces++] = u;
	}
	o->linux_.network = &o->network;
	return 0;
}

static int containers(crio_call *call, const struct pod_sample *s, CRI(LinuxPodSandboxStats) * to, crio_err *err)
{
	struct container_stats_out *v;
	int r = 0;

	if (!s->n)
		return 0;
	v = call_alloc(call, s->n * sizeof(*v));
	to->containers = call_alloc(call, s->n * sizeof(CRI(ContainerStats) *));
	if (!v || !to->containers)
		return err_nomem(err);
	for (size_t i = 0; i < s->n && !r; i++) {
		r = convert_container_stats(call, s->containers[i], s->samples[i], &v[i], err);
		to->containers[i] = &v[i].stats;
	}
	to->n_containers = s->n;
	return r;
}

static int attributes(crio_call *call, const struct pod *p, struct pod_stats_out *o, crio_err *err)
{
	const struct stats_subject of = pod_subject(p);
	int r;

	o->meta = (CRI(PodSandboxMetadata))RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
	o->meta.name = of.pod->meta.name;
	o->meta.uid = of.pod->meta.uid;
	o->meta.namespace_ = of.pod->meta.ns;
	o->meta.attempt = of.pod->meta.attempt;
	o->attributes = (CRI(PodSandboxAttributes))RUNTIME__V1__POD_SANDBOX_ATTRIBUTES__INIT;
	o->attributes.id = (char *)(uintptr_t)of.id;
	o->attributes.metadata = &o->meta;
	r = convert_kvs_out(call, &of.pod->labels, &o->attributes.labels, &o->attributes.n_labels, err);
	if (!r)
		r = convert_kvs_out(call, &of.pod->annotations, &o->attributes.annotations, &o->attributes.n_annotations, err);
	return r;
}

int convert_pod_stats(crio_call *call, const struct pod *p, const struct pod_sample *s, struct pod_stats_out *o, crio_err *err)
{
	const struct stats_sample *g = s->pod;
	int r = attributes(call, p, o, err);

	o->stats = (CRI(PodSandboxStats))RUNTIME__V1__POD_SANDBOX_STATS__INIT;
	o->linux_ = (CRI(LinuxPodSandboxStats))RUNTIME__V1__LINUX_POD_SANDBOX_STATS__INIT;
	o->stats.attributes = &o->attributes;
	o->stats.linux = &o->linux_;
	usage(g, &o->u);
	if (g->cg.has_cpu)
		o->linux_.cpu = &o->u.cpu;
	if (g->cg.has_memory)
		o->linux_.memory = &o->u.memory;
	if (o->u.io.psi)
		o->linux_.io = &o->u.io;
	if (g->cg.has_pids) {
		o->process = (CRI(ProcessUsage))RUNTIME__V1__PROCESS_USAGE__INIT;
		o->process.timestamp = g->time_ns;
		o->process.process_count = number(o->u.v, &o->u.n, g->cg.pids);
		o->linux_.process = &o->process;
	}
	if (!r && g->has_net)
		r = network(call, g, o, err);
	return r ? r : containers(call, s, &o->linux_, err);
}
