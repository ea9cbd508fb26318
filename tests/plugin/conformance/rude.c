/* rude.c: a network plugin that keeps the rules, and by -DRUDE_<WHAT> breaks one: what crio-plugin-check must find. */
#include <crio/network.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <time.h>

static const struct crio_host *host;
static atomic_int calls, inside;

static void rest(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	(void)nanosleep(&ts, NULL);
}

static int r_open(const struct crio_host *h, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	(void)in, (void)call, (void)self, (void)err;
	host = h;
	return 0;
}

static void r_close(void *self)
{
	(void)self;
}

static int r_setup(void *self, crio_call *call, const struct crio_network_args *a, struct crio_network_out *o, crio_err *err)
{
	(void)self, (void)call, (void)a, (void)o;
	return host->fail(err, CRIO_E_UNAVAILABLE, "no pods here");
}

static int r_teardown(void *self, crio_call *call, const struct crio_network_args *a, struct crio_network_no_out *o, crio_err *err)
{
	int n = atomic_fetch_add(&calls, 1), r = 0;

	(void)self, (void)call, (void)a, (void)o, (void)err, (void)n;
#ifdef RUDE_LEAK
	(void)open("/dev/null", O_RDONLY | O_CLOEXEC);
#endif
#ifdef RUDE_SILENT
	r = n == 3 ? CRIO_E_IO : 0;
#endif
#ifdef RUDE_BOTH
	(void)host->fail(err, CRIO_E_IO, "not really");
#endif
#ifdef RUDE_ABSENT
	r = host->fail(err, CRIO_E_NOT_FOUND, "there is no %s", a->id);
#endif
#ifdef RUDE_DEAF
	/* Only some, so that the test does not take for ever. */
	if (n >= 9 && n < 11)
		rest(2500);
#endif
#ifdef RUDE_RACE
	if (atomic_fetch_add(&inside, 1))
		r = host->fail(err, CRIO_E_INTERNAL, "not one at a time");
	rest(2);
	(void)atomic_fetch_sub(&inside, 1);
#endif
	rest(0);
	return r;
}

static int r_status(void *self, crio_call *call, const struct crio_network_no_args *a, struct crio_network_status_out *o, crio_err *err)
{
	(void)self, (void)call, (void)a, (void)err;
	o->ready = 0;
	o->reason = "Test";
	o->message = "a plugin for a test";
	o->network = "";
	return 0;
}

static const struct crio_option options[] = {
	{ .size = sizeof(struct crio_option), .type = CRIO_OPT_INT, .name = "count", .dflt = "1", .max = 5,
#ifdef RUDE_HELP
	  .help = "a sentence.",
#else
	  .help = "a number of things",
#endif
	},
};

static const struct crio_network_ops ops = { .setup = r_setup, .teardown = r_teardown, .status = r_status };

static const struct crio_plugin plugin = {
	CRIO_PLUGIN_HEAD(CRIO_KIND_NETWORK, CRIO_THREADS_PARALLEL, ops),
	.name = "rude",
	.version = "1",
	.summary = "breaks a rule",
	.options = options,
	.options_n = 1,
	.open = r_open,
	.close = r_close,
};

CRIO_PLUGIN_REGISTER(rude, plugin)
