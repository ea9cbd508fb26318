/* hook.c: hooks: each stage that the plugin asks for, with a pod of the smallest kind. */
#include "sdk/check/check.h"

#include "core/util/json.h"

static int do_stages(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	(void)id;
	struct crio_hook_no_args a = { .size = sizeof(a) };
	struct crio_hook_stages_out o = { .size = sizeof(o) };
	return plugin_hook_stages(c->in, call, &a, &o, err);
}

#define ALL_STAGES (2u * CRIO_HOOK_VALIDATE - 1)
#define ADJUSTING (CRIO_HOOK_CTR_CREATE | CRIO_HOOK_CTR_UPDATE)

static int wanted(struct check *c, crio_call *call, uint32_t *ret, crio_err *err)
{
	struct crio_hook_no_args a = { .size = sizeof(a) };
	struct crio_hook_stages_out o = { .size = sizeof(o) };
	int r = plugin_hook_stages(c->in, call, &a, &o, err);
	if (r == 0)
		*ret = o.stages;
	return r;
}

static struct crio_hook_args args_of(uint32_t stage, const char *id)
{
	bool pod = stage <= CRIO_HOOK_POD_REMOVE;
	return (struct crio_hook_args){ .size = sizeof(struct crio_hook_args),
					.stage = stage,
					.pod_id = id,
					.container_id = pod ? "" : ABSENT,
					.pod_json = "{\"name\":\"check\",\"namespace\":\"crio\",\"uid\":\"0\",\"annotations\":{\"a\":\"b\"}}",
					.container_json = pod ? "" : "{\"name\":\"check\",\"annotations\":{\"c\":\"d\"},\"mounts\":[]}",
					.spec_json = pod ? "" : "{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"true\"]},\"linux\":{}}" };
}

static int answer(const struct crio_hook_args *a, const struct crio_hook_out *o, crio_err *err)
{
	if (!o->adjust_json || !*o->adjust_json)
		return 0;
	if (!(a->stage & ADJUSTING))
		return err_set(err, CRIO_E_INVALID, "it adjusts at stage %#x, which has no adjustments", a->stage);
	cleanup_json struct json_object *patch = NULL;
	int r = json_parse(o->adjust_json, strlen(o->adjust_json), &patch, err);
	if (r == 0 && !json_object_is_type(patch, json_type_object))
		r = err_set(err, CRIO_E_INVALID, "its adjustment is no object");
	return r;
}

static int do_run(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	uint32_t stages = 0;
	int r = wanted(c, call, &stages, err);
	for (uint32_t stage = 1; r == 0 && stage <= CRIO_HOOK_VALIDATE; stage <<= 1) {
		if (!(stages & stage))
			continue;
		struct crio_hook_args a = args_of(stage, id);
		struct crio_hook_out o = { .size = sizeof(o) };
		r = plugin_hook_run(c->in, call, &a, &o, err);
		if (r == 0)
			r = answer(&a, &o, err);
	}
	return r;
}

/* A stage that it did not ask for is nothing to it. */
static int do_unwanted(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	uint32_t stages = 0;
	int r = wanted(c, call, &stages, err);
	for (uint32_t stage = 1; r == 0 && stage <= CRIO_HOOK_VALIDATE; stage <<= 1) {
		struct crio_hook_args a = args_of(stage, id);
		struct crio_hook_out o = { .size = sizeof(o) };
		if (!(stages & stage) && (r = plugin_hook_run(c->in, call, &a, &o, err)) == 0 && o.adjust_json)
			r = err_set(err, CRIO_E_INVALID, "it adjusts at stage %#x, which it did not ask for", stage);
	}
	return r;
}

/* Documents that are none: a failure or an answer, no crash. */
static int do_rubbish(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	static const char *const texts[] = { "", "{", "[]", "null", "{\"annotations\":[],\"process\":1,\"hooks\":\"x\"}" };
	for (uint32_t stage = 1; stage <= CRIO_HOOK_VALIDATE; stage <<= 1) {
		for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
			struct crio_hook_args a = args_of(stage, id);
			struct crio_hook_out o = { .size = sizeof(o) };
			a.pod_json = a.container_json = a.spec_json = texts[i];
			if (plugin_hook_run(c->in, call, &a, &o, NULL) == 0) {
				int r = answer(&a, &o, err);
				if (r < 0)
					return r;
			}
		}
	}
	return 0;
}

static int do_mask(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	uint32_t stages = 0;
	(void)id;
	int r = wanted(c, call, &stages, err);
	return r == 0 && (stages & ~ALL_STAGES) ? err_set(err, CRIO_E_INVALID, "stages %#x has bits that are no stage", stages) : r;
}

void check_hook(struct check *c)
{
	check_op(c, "stages", do_stages, WANT_OK);
	(void)check_once(c, "stages: only such as there are", do_mask, ABSENT);
	check_op(c, "run", do_run, WANT_OK);
	(void)check_once(c, "run: a stage it did not ask for is nothing to it", do_unwanted, ABSENT);
	(void)check_once(c, "run: documents that are none do it no harm", do_rubbish, ABSENT);
}
