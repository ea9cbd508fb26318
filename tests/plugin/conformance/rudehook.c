/* rudehook.c: a hook plugin that keeps the rules, and by -DRUDE_<WHAT> breaks one: what crio-plugin-check must find. */
#include <crio/hook.h>

static int r_open(const struct crio_host *h, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	(void)h, (void)in, (void)call, (void)self, (void)err;
	return 0;
}

static void r_close(void *self)
{
	(void)self;
}

static int r_stages(void *self, crio_call *call, const struct crio_hook_no_args *a, struct crio_hook_stages_out *o, crio_err *err)
{
	(void)self, (void)call, (void)a, (void)err;
	o->stages = CRIO_HOOK_CTR_CREATE | CRIO_HOOK_CTR_STARTED;
#ifdef RUDE_MASK
	o->stages |= 1u << 30;
#endif
	return 0;
}

static int r_run(void *self, crio_call *call, const struct crio_hook_args *a, struct crio_hook_out *o, crio_err *err)
{
	(void)self, (void)call, (void)err;
	if (a->stage == CRIO_HOOK_CTR_CREATE)
		o->adjust_json = "{\"annotations\":{\"x\":\"y\"}}";
#ifdef RUDE_TEXT
	if (a->stage == CRIO_HOOK_CTR_CREATE)
		o->adjust_json = "annotations: none";
#endif
#ifdef RUDE_LATE
	o->adjust_json = "{}";
#endif
#ifdef RUDE_EAGER
	if (a->stage == CRIO_HOOK_POD_RUN)
		o->adjust_json = "{}";
#endif
	return 0;
}

static const struct crio_hook_ops ops = { .stages = r_stages, .run = r_run };
static const struct crio_plugin plugin = {
	CRIO_PLUGIN_HEAD(CRIO_KIND_HOOK, CRIO_THREADS_PARALLEL, ops),
	.name = "rudehook",
	.version = "1",
	.summary = "breaks a rule",
	.open = r_open,
	.close = r_close,
};

CRIO_PLUGIN_REGISTER(rudehook, plugin)
