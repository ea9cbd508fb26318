/*
 * sample.c: one source for the plugins that test_host loads: a sound network plugin, and by -DBAD_<WHAT> each kind of broken
 * one. Built outside the SDK's rules on purpose where a rule is what the test breaks.
 */
#include <crio/network.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef NAME
#define NAME sample
#endif
#define STR2(x) #x
#define STR(x) STR2(x)

struct self {
	const struct crio_host *host;
	crio_instance *in;
	int reloads;
};

static int s_open(const struct crio_host *host, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	(void)call;
#ifdef BAD_OPEN
	return host->fail(err, CRIO_E_UNAVAILABLE, "open says no");
#endif
	struct self *s = calloc(1, sizeof(*s));
	if (!s)
		return host->fail(err, CRIO_E_NOMEM, "no memory");
	s->host = host;
	s->in = in;
	*self = s;
	return 0;
}

static void s_close(void *self)
{
	free(self);
}

static int s_check(void *self, crio_call *call, crio_err *err)
{
	(void)self;
	(void)call;
	(void)err;
#ifdef BAD_CRASH
	struct self *s = self;
	struct crio_bytes v = { (const uint8_t *)"x", 1 };
	if (s->host->state_put(s->in, call, "record", v, CRIO_STATE_RUN, err) < 0)
		return CRIO_E_INTERNAL;
	abort();
#endif
	return 0;
}

static int s_reload(void *self, crio_call *call, crio_err *err)
{
	struct self *s = self;
	(void)call;
	s->reloads++;
	if (!strcmp(s->host->opt_str(s->in, "second"), "no"))
		return s->host->fail(err, CRIO_E_INVALID, "'no' is not an address");
	return 0;
}

static void pause_ms(long ms)
{
	struct timespec ts = { ms / 1000, (ms % 1000) * 1000000 };
	(void)nanosleep(&ts, NULL);
}

/* What it does is said by the pod's name. */
static int s_setup(void *self, crio_call *call, const struct crio_network_args *a, struct crio_network_out *o, crio_err *err)
{
	struct self *s = self;
	if (!strcmp(a->name, "fail"))
		return s->host->fail(err, CRIO_E_EXHAUSTED, "no addresses for %s", a->id);
	if (!strcmp(a->name, "silent"))
		return CRIO_E_IO;
	if (!strcmp(a->name, "hang")) {
		/* Long after the caller has left it still reads its arguments. */
		pause_ms(1500);
		return strcmp(a->ports.v[0].protocol, "tcp") ? CRIO_E_INTERNAL : 0;
	}
	if (!strcmp(a->name, "slow"))
		pause_ms(100);
	const char **ips = s->host->alloc(call, 2 * sizeof(*ips));
	ips[0] = s->host->strdup(call, a->annotations.n ? a->annotations.v[0].value : "10.0.0.1");
	ips[1] = s->host->opt_str(s->in, "second");
	o->ips.v = ips;
	o->ips.n = 2;
	o->result_json = "{}";
	if (!strcmp(a->name, "fd") && write(a->netns_fd, "x", 1) != 1)
		return s->host->fail(err, CRIO_E_IO, "descriptor does not work");
	return 0;
}

static int s_teardown(void *self, crio_call *call, const struct crio_network_args *a, struct crio_network_no_out *o, crio_err *err)
{
	(void)o;
	struct self *s = self;
	static const char text[] = "value";
	struct crio_bytes v = { text, sizeof(text) }, got;
	int r = s->host->state_put(s->in, call, a->id, v, CRIO_STATE_RUN, err);
	if (r == 0)
		r = s->host->state_get(s->in, call, a->id, &got, err);
	if (r == 0 && (got.n != v.n || memcmp(got.p, text, got.n)))
		return s->host->fail(err, CRIO_E_CORRUPT, "state differs");
	return r < 0 ? r : s->host->state_del(s->in, call, a->id, err);
}

static int s_status(void *self, crio_call *call, const struct crio_network_no_args *a, struct crio_network_status_out *o, crio_err *err)
{
	(void)a;
	struct self *s = self;
	const char *const argv[] = { "sh", "-c", "echo out; echo err >&2; exit 3" };
	struct crio_spawn sp;
	memset(&sp, 0, sizeof(sp));
	sp.size = sizeof(sp);
	sp.flags = CRIO_SPAWN_CAPTURE;
	sp.path = "/bin/sh";
	sp.argv.v = argv;
	sp.argv.n = 3;
	sp.stdin_fd = sp.stdout_fd = sp.stderr_fd = sp.netns_fd = -1;
	struct crio_spawned out;
	memset(&out, 0, sizeof(out));
	out.size = sizeof(out);
	int r = s->host->spawn(s->in, call, &sp, &out, err);
	if (r < 0)
		return r;
	o->ready = out.exit_code == 3 && out.out.n == 4 && out.err.n == 4;
	o->network = s->host->instance_name(s->in);
	o->reason = o->message = "";
	return 0;
}

static const struct crio_network_ops ops = { .setup = s_setup, .teardown = s_teardown, .status = s_status };

static const struct crio_option options[] = {
	{ sizeof(struct crio_option), CRIO_OPT_STR, "second", "fd00::1", "the second address", 0, 0, CRIO_OPT_RELOADABLE, 0 },
	{ sizeof(struct crio_option), CRIO_OPT_INT, "count", "3", "a number", 1, 10, 0, 0 },
};

#ifdef BAD_UNDEFINED
extern int no_such_function_anywhere(void);
#endif
#ifdef BAD_CONSTRUCTOR
__attribute__((constructor)) static void boom(void)
{
	*(volatile int *)0 = 1;
}
#endif

static const struct crio_plugin desc = {
#ifdef BAD_MAGIC
	.magic = 0x12345678,
#else
	.magic = CRIO_PLUGIN_MAGIC,
#endif
	.size = sizeof(struct crio_plugin),
#ifdef BAD_ABI
	.abi_major = CRIO_ABI_MAJOR + 7,
#else
	.abi_major = CRIO_ABI_MAJOR,
#endif
	.abi_minor = CRIO_ABI_MINOR,
#ifdef BAD_KIND
	.kind = CRIO_KIND_STORAGE,
#else
	.kind = CRIO_KIND_NETWORK,
#endif
#ifdef SERIAL
	.threads = CRIO_THREADS_SERIAL,
#else
	.threads = CRIO_THREADS_PER_OBJECT,
#endif
#ifdef BAD_NAME
	.name = "othername",
#else
	.name = STR(NAME),
#endif
	.version = "1.2",
	.summary = "a plugin for tests",
	.options = options,
	.options_n = 2,
	.ops_size = sizeof(ops),
	.ops = &ops,
	.open = s_open,
	.close = s_close,
	.check = s_check,
	.reload = s_reload,
};

#define ENTRY2(n) n##_LTX_crio_plugin_entry
#define ENTRY(n) ENTRY2(n)
CRIO_EXPORT const struct crio_plugin *ENTRY(NAME)(void);
CRIO_EXPORT const struct crio_plugin *ENTRY(NAME)(void)
{
#ifdef BAD_UNDEFINED
	if (no_such_function_anywhere())
		return NULL;
#endif
	return &desc;
}
