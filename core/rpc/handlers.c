/* handlers.c: see handlers.h. */
#include "core/rpc/handlers.h"

#include "core/conf/conf.h"
#include "core/plugin/ops.h"
#include "core/plugin/select.h"
#include "core/util/fs.h"
#include "core/util/json.h"
#include "core/util/log.h"
#include "core/util/map.h"

#define ASK_NS (5 * 1000000000ll)

/* Answers by plugin and runtime binary. One question at a time: the second asker finds the first one's answer. */
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *known; /* guarded by known_lock; values never go away */

static void parse(const char *json, struct handler_features *ret)
{
	cleanup_json struct json_object *o = NULL;
	struct json_object *options;
	cleanup_strv struct strv names = STRV_INIT;

	if (!str_set(json) || json_parse(json, strlen(json), &o, NULL) < 0)
		return;
	options = json_arr(o, "mountOptions");
	if (options && json_strs(options, &names) == 0)
		ret->recursive_read_only = strv_has(&names, "rro");
	ret->user_namespaces = json_flag(json_path(o, "linux.mountExtensions.idmap"), "enabled", false);
}

static int ask(const struct rpc_env *env, crio_call *call, const struct selection *s, struct handler_features *ret,
	       crio_err *err)
{
	struct crio_runtime_id_args args = {.size = sizeof(args), .id = "features"};
	struct crio_runtime_features_out out = {.size = sizeof(out)};
	cleanup_call crio_call *sub = call_sub(call, ASK_NS);
	struct plugin_inst *in = NULL;
	int r;

	if (!sub)
		return err_nomem(err);
	r = plugins_open(env->plugins, sub, CRIO_KIND_RUNTIME, s->runtime, s->runtime_instance, &s->runtime_options,
			 &in, err);
	if (r < 0)
		return r;
	if (plugin_inst_has_op(in, "features")) {
		r = plugin_runtime_features(in, sub, &args, &out, err);
		if (!r)
			parse(out.json, ret);
	}
	plugin_inst_unref(in);
	return r;
}

/* Which answer holds for a handler: that of its plugin and its program. */
static char *key_of(const struct conf *conf, const char *handler, const struct selection *s)
{
	const struct conf_runtime *rt = conf_runtime(conf, handler);

	return path_fmt("%s:%s", s->runtime, rt ? rt->runtime_path : "");
}

void handler_features(const struct rpc_env *env, crio_call *call, const char *handler, struct handler_features *ret)
{
	struct selection s;
	struct handler_features *f;
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *key = NULL;
	cleanup_unlock pthread_mutex_t *l = NULL;

	memset(ret, 0, sizeof(*ret));
	memset(&s, 0, sizeof(s));
	if (!env->plugins || select_plugins(env->plugins, env->conf, handler, NULL, false, &s, NULL) < 0)
		return;
	key = key_of(env->conf, handler, &s);
	l = lock(&known_lock);
	if (!known)
		known = map_new();
	f = known && key ? map_get(known, key) : NULL;
	if (f) {
		*ret = *f;
	} else if (ask(env, call, &s, ret, &err) < 0) {
		log_debug("handler '%s': no features: %s", handler, err_text(&err));
		memset(ret, 0, sizeof(*ret));
		if (call_over(call))
			key = (free(key), NULL); /* ask again */
	}
	if (!f && known && key) {
		f = malloc(sizeof(*f));
		if (f) {
			*f = *ret;
			if (map_set(known, key, f) < 0)
				free(f);
		}
	}
	selection_release(&s);
}

int handler_storage(const struct rpc_env *env, crio_call *call, const char *handler, const char **ret, crio_err *err)
{
	struct selection s;
	char *name;

	memset(&s, 0, sizeof(s));
	if (!env->plugins || !env->conf || select_plugins(env->plugins, env->conf, handler, NULL, true, &s, NULL) < 0)
		return 0;
	name = call_strdup(call, s.storage);
	selection_release(&s);
	if (!name)
		return err_nomem(err);
	*ret = name;
	return 0;
}
