/*
 * grower.c: one plugin, compiled by growth.sh against yesterday's headers (-DOLD: fields at the ends are missing), today's, and
 * tomorrow's (-DNEW: fields were appended). It tells what it sees of the host in the "addresses" of setup.
 */
#include <crio/network.h>
#include <string.h>

static const struct crio_host *host;

static int g_open(const struct crio_host *h, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	(void)in, (void)call, (void)self, (void)err;
	host = h;
	return 0;
}

static void g_close(void *self)
{
	(void)self;
}

#ifndef OLD
static int g_check(void *self, crio_call *call, crio_err *err)
{
	(void)self, (void)call, (void)err;
	return 0;
}

static int g_gc(void *self, crio_call *call, const struct crio_network_gc_args *a, struct crio_network_no_out *o, crio_err *err)
{
	(void)self, (void)call, (void)o;
	/* Rows have the writer's stride. */
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(CRIO_ROW(crio_network_attachment, *a, i)->ifname, i ? "eth1" : "eth0"))
			return host->fail(err, CRIO_E_CORRUPT, "row %zu", i);
	return 0;
}
#endif

static int g_setup(void *self, crio_call *call, const struct crio_network_args *a, struct crio_network_out *o, crio_err *err)
{
	const char **ips = host->alloc(call, 4 * sizeof(*ips));

	(void)self, (void)err;
	ips[0] = CRIO_HAS(host, state_list) ? "knows state_list" : "no state_list";
	ips[1] = CRIO_HAS(a, annotations) ? a->id : "no annotations";
	ips[2] = ips[3] = "-";
#ifdef NEW
	ips[2] = CRIO_HAS(host, future_service) || CRIO_HAS(a, future_arg) || CRIO_HAS(o, future_out) ? "future seen" : "no future";
	if (CRIO_HAS(o, future_out))
		o->future_out = 1;
#endif
#ifndef OLD
	ips[3] = CRIO_HAS(host, metric_add) && CRIO_HAS(a, result_json) ? a->result_json : "no present";
	o->result_json = "{\"now\":true}";
#endif
	o->ips.v = ips;
	o->ips.n = 4;
	return 0;
}

static int g_teardown(void *self, crio_call *call, const struct crio_network_args *a, struct crio_network_no_out *o, crio_err *err)
{
	(void)self, (void)call, (void)a, (void)o, (void)err;
	return 0;
}

#ifdef NEW
static int never(void)
{
	return -1;
}
#endif

static const struct crio_network_ops ops = {
	.setup = g_setup,
	.teardown = g_teardown,
#ifndef OLD
	.gc = g_gc,
#endif
#ifdef NEW
	.future_op = never,
#endif
};

/* Two rows: the second is found only with the right stride. */
static const struct crio_option options[] = {
	{ .size = sizeof(struct crio_option), .type = CRIO_OPT_STR, .name = "one", .dflt = "1", .help = "first" },
	{ .size = sizeof(struct crio_option), .type = CRIO_OPT_INT, .name = "two", .dflt = "2", .help = "second", .max = 9 },
};

static const struct crio_plugin plugin = {
	CRIO_PLUGIN_HEAD(CRIO_KIND_NETWORK, CRIO_THREADS_PARALLEL, ops),
	.name = NAME,
	.version = "1",
	.summary = "grows",
	.options = options,
	.options_n = 2,
	.open = g_open,
	.close = g_close,
#ifndef OLD
	.check = g_check,
#endif
#ifdef NEW
	.future_member = never,
#endif
};

#define REGISTER(name) CRIO_PLUGIN_REGISTER(name, plugin) /* the name is a macro itself here */
REGISTER(ENTRY)
