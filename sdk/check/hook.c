/* hook.c: hooks: each stage that the plugin asks for, with a pod of the smallest kind. */
#include "sdk/check/check.h"

static int do_stages(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	(void)id;
	struct crio_hook_no_args a = { .size = sizeof(a) };
	struct crio_hook_stages_out o = { .size = sizeof(o) };
	return plugin_hook_stages(c->in, call, &a, &o, err);
}

static int do_run(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	struct crio_hook_no_args na = { .size = sizeof(na) };
	struct crio_hook_stages_out so = { .size = sizeof(so) };
	int r = plugin_hook_stages(c->in, call, &na, &so, err);
	for (uint32_t stage = 1; r == 0 && stage <= CRIO_HOOK_VALIDATE; stage <<= 1) {
		if (!(so.stages & stage))
			continue;
		bool pod = stage <= CRIO_HOOK_POD_REMOVE;
		struct crio_hook_args a = { .size = sizeof(a), .stage = stage, .pod_id = id, .container_id = pod ? "" : ABSENT,
					    .pod_json = "{\"name\":\"check\",\"namespace\":\"crio\",\"uid\":\"0\"}",
					    .container_json = pod ? "" : "{\"name\":\"check\"}",
					    .spec_json = pod ? "" : "{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"true\"]},\"linux\":{}}" };
		struct crio_hook_out o = { .size = sizeof(o) };
		r = plugin_hook_run(c->in, call, &a, &o, err);
	}
	return r;
}

void check_hook(struct check *c)
{
	check_op(c, "stages", do_stages, WANT_OK);
	check_op(c, "run", do_run, WANT_OK);
}
