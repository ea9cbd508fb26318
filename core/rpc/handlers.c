/* handlers.c: see handlers.h. */
#include "core/rpc/handlers.h"

#include "core/conf/conf.h"
#include "core/plugin/plugins.h"
#include "core/plugin/select.h"
#include "core/util/log.h"

static int open_and_ask(const struct rpc_env *env, crio_call *call, const struct selection *s, const char *program,
			struct runtime_features *ret, crio_err *err)
{
	struct plugin_inst *in = NULL;
	int r = plugins_open(env->plugins, call, CRIO_KIND_RUNTIME, s->runtime, s->runtime_instance, &s->runtime_options, &in, err);

	if (r < 0)
		return r;
	runtime_features(in, program, call, ret);
	plugin_inst_unref(in);
	return 0;
}

void handler_features(const struct rpc_env *env, crio_call *call, const char *handler, struct runtime_features *ret)
{
	struct selection s;
	cleanup_err crio_err err = ERR_INIT;
	const struct conf_runtime *rt = conf_runtime(env->conf, handler);
	const char *program = rt ? rt->runtime_path : "";

	*ret = (struct runtime_features){0};
	memset(&s, 0, sizeof(s));
	if (!env->plugins || select_plugins(env->plugins, env->conf, handler, NULL, false, &s, NULL) < 0)
		return;
	if (!runtime_features_known(s.runtime, program, ret) && open_and_ask(env, call, &s, program, ret, &err) < 0)
		log_debug("handler '%s': no features: %s", handler, err_text(&err));
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
