/* features.c: see features.h. */
#include "core/lifecycle/features.h"

#include "core/plugin/ops.h"
#include "core/plugin/plugins.h"
#include "core/util/fs.h"
#include "core/util/json.h"
#include "core/util/log.h"
#include "core/util/map.h"

#define ASK_NS (5 * 1000000000ll)

/* Answers by plugin and program. One question at a time: the second asker finds the first one's answer. */
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *known; /* guarded by known_lock; values never go away */

static void parse(const char *json, struct runtime_features *ret)
{
	cleanup_json struct json_object *o = NULL;
	cleanup_strv struct strv names = STRV_INIT;
	struct json_object *options;

	if (!str_set(json) || json_parse(json, strlen(json), &o, NULL) < 0)
		return;
	options = json_arr(o, "mountOptions");
	if (options && json_strs(options, &names) == 0)
		ret->recursive_read_only = strv_has(&names, "rro");
	ret->user_namespaces = json_flag(json_path(o, "linux.mountExtensions.idmap"), "enabled", false);
}

static int ask(struct plugin_inst *in, crio_call *call, struct runtime_features *ret, crio_err *err)
{
	struct crio_runtime_id_args args = {.size = sizeof(args), .id = "features"};
	struct crio_runtime_features_out out = {.size = sizeof(out)};
	cleanup_call crio_call *sub = call_sub(call, ASK_NS);
	int r;

	if (!sub)
		return err_nomem(err);
	if (!plugin_inst_has_op(in, "features"))
		return 0;
	r = plugin_runtime_features(in, sub, &args, &out, err);
	if (!r)
		parse(out.json, ret);
	return r;
}

bool runtime_features_known(const char *plugin, const char *program, struct runtime_features *ret)
{
	cleanup_free char *key = path_fmt("%s:%s", plugin, program);
	cleanup_unlock pthread_mutex_t *l = lock(&known_lock);
	const struct runtime_features *f = known && key ? map_get(known, key) : NULL;

	if (f)
		*ret = *f;
	return f != NULL;
}

void runtime_features(struct plugin_inst *in, const char *program, crio_call *call, struct runtime_features *ret)
{
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *key = path_fmt("%s:%s", plugin_inst_plugin(in), program);
	cleanup_unlock pthread_mutex_t *l = lock(&known_lock);
	struct runtime_features *f;

	*ret = (struct runtime_features){0};
	if (!known)
		known = map_new();
	f = known && key ? map_get(known, key) : NULL;
	if (f) {
		*ret = *f;
		return;
	}
	if (ask(in, call, ret, &err) < 0) {
		log_debug("runtime plugin '%s' with program '%s': no features: %s", plugin_inst_plugin(in), program, err_text(&err));
		*ret = (struct runtime_features){0};
		if (call_over(call))
			return; /* ask again */
	}
	f = known && key ? malloc(sizeof(*f)) : NULL;
	if (!f)
		return;
	*f = *ret;
	if (map_set(known, key, f) < 0)
		free(f);
}
