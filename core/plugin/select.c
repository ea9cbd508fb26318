#include "core/plugin/select.h"

#include "core/util/fs.h"

void selection_release(struct selection *s)
{
	free(s->runtime);
	free(s->storage);
	free(s->network);
	free(s->runtime_instance);
	free(s->network_instance);
	kvs_release(&s->runtime_options);
	kvs_release(&s->network_options);
	free(s->why);
	memset(s, 0, sizeof(*s));
}

static int unknown_handler(const struct conf *conf, const char *handler, crio_err *err)
{
	cleanup_buf struct buf b = BUF_INIT;
	for (size_t i = 0; i < conf->runtime.n_runtimes; i++)
		buf_addf(&b, "%s%s", i ? ", " : "", conf->runtime.runtimes[i].name);
	return err_set(err, CRIO_E_NOT_FOUND, "failed to find runtime handler %s from runtime list [%s]", handler, b.p ? b.p : "");
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* The rule without runtime_plugin: by type, then by the runtime's name. */
static int default_runtime_plugin(struct plugins *p, const struct conf_runtime *h, const char **ret, const char **ret_why,
				  crio_err *err)
{
	switch (h->runtime_type) {
	case CONF_RUNTIME_VM:
		*ret = "kata";
		*ret_why = "runtime_type vm";
		return 0;
	case CONF_RUNTIME_POD:
		return err_set(err, CRIO_E_PRECONDITION, "runtime handler '%s' has runtime_type \"pod\", which needs a plugin of its own: "
			       "set runtime_plugin", h->name);
	case CONF_RUNTIME_OCI:
		break;
	}
	const char *const names[] = { h->name, base_of(h->runtime_path) };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (plugins_has(p, CRIO_KIND_RUNTIME, names[i])) {
			*ret = names[i];
			*ret_why = "named like the runtime";
			return 0;
		}
	}
	*ret = "oci";
	*ret_why = "runtime_type oci";
	return 0;
}

/* Sets what the plugin has an option for; handlers' general settings are offered, not forced. */
static int offer(struct plugins *p, enum crio_kind kind, const char *plugin, struct kvs *m, const char *name, const char *value)
{
	if (!str_set(value) || kvs_get(m, name) || !plugins_has_option(p, kind, plugin, name))
		return 0;
	return kvs_set(m, name, value);
}

static char *joined(const struct strv *l)
{
	cleanup_buf struct buf b = BUF_INIT;
	for (size_t i = 0; i < l->n; i++)
		buf_addf(&b, "%s%s", i ? "," : "", l->v[i]);
	return buf_take(&b);
}

static int merge(struct kvs *dst, const struct kvs *src)
{
	for (size_t i = 0; i < src->n; i++)
		if (kvs_set(dst, src->v[i].key, src->v[i].value) < 0)
			return CRIO_E_NOMEM;
	return 0;
}

static int runtime_options(struct plugins *p, const struct conf *conf, const struct conf_runtime *h,
			   const struct conf_workload *w, bool changed, const char *plugin, struct kvs *m)
{
	char timeout[32];
	(void)snprintf(timeout, sizeof(timeout), "%llds", (long long)h->container_create_timeout);
	cleanup_free char *env = joined(&h->monitor_env);
	if (!env || merge(m, &h->runtime_options) < 0 || (w && merge(m, &w->runtime_options) < 0))
		return CRIO_E_NOMEM;
	const struct {
		const char *name, *value;
	} v[] = {
		/* Another plugin than the handler's own finds its program by itself. */
		{ "path", changed ? "" : h->runtime_path },
		{ "root", changed ? "" : h->runtime_root },
		{ "config_path", h->runtime_config_path },
		{ "monitor_path", h->monitor_path },
		{ "monitor_env", env },
		{ "monitor_cgroup", h->monitor_cgroup },
		{ "create_timeout", timeout },
		{ "exit_dir", conf->runtime.container_exits_dir },
		{ "attach_dir", conf->runtime.container_attach_socket_dir },
		{ "cgroup_manager", conf->runtime.cgroup_manager == CONF_CGROUP_SYSTEMD ? "systemd" : "cgroupfs" },
		{ "no_sync_log", h->no_sync_log ? "true" : "" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		if (offer(p, CRIO_KIND_RUNTIME, plugin, m, v[i].name, v[i].value) < 0)
			return CRIO_E_NOMEM;
	return 0;
}

static int network_options(struct plugins *p, const struct conf *conf, const char *plugin, struct kvs *m)
{
	cleanup_free char *dirs = joined(&conf->network.plugin_dirs);
	char grace[32];
	(void)snprintf(grace, sizeof(grace), "%lldms", (long long)(conf->network.cni_status_grace_period / 1000000));
	const struct {
		const char *name, *value;
	} v[] = {
		{ "network_dir", conf->network.network_dir },
		{ "plugin_dirs", dirs },
		{ "default_network", conf->network.cni_default_network },
		{ "status_grace_period", conf->network.cni_status_grace_period ? grace : "" },
	};
	for (size_t i = 0; dirs && i < ARRAY_SIZE(v); i++)
		if (offer(p, CRIO_KIND_NETWORK, plugin, m, v[i].name, v[i].value) < 0)
			return CRIO_E_NOMEM;
	return dirs ? 0 : CRIO_E_NOMEM;
}

static int select_runtime(struct plugins *p, const struct conf *conf, const struct conf_runtime *h, const char *handler,
			  const struct conf_workload *w, struct selection *s, struct buf *why, crio_err *err)
{
	const char *plugin = h->runtime_plugin, *reason = "runtime_plugin of the handler";
	bool changed = false;
	if (!str_set(plugin)) {
		int r = default_runtime_plugin(p, h, &plugin, &reason, err);
		if (r < 0)
			return r;
	}
	if (w && (str_set(w->runtime_plugin) || w->runtime_options.n)) {
		if (!conf_workload_may_set_runtime(conf, handler, w)) {
			buf_addf(why, "workload '%s' may not change the runtime of handler '%s'; ", w->name, handler);
			w = NULL;
		} else {
			changed = str_set(w->runtime_plugin) && !str_eq(w->runtime_plugin, plugin);
			plugin = str_set(w->runtime_plugin) ? w->runtime_plugin : plugin;
			reason = "workload";
		}
	} else {
		w = NULL;
	}
	buf_addf(why, "runtime %s: handler '%s', %s%s%s; ", plugin, h->name, reason, w ? " " : "", w ? w->name : "");
	s->runtime = strdup(plugin);
	s->runtime_instance = w ? path_fmt("%s+%s", h->name, w->name) : strdup(h->name);
	if (!s->runtime || !s->runtime_instance || runtime_options(p, conf, h, w, changed, plugin, &s->runtime_options) < 0)
		return err_nomem(err);
	return 0;
}

static int select_network(struct plugins *p, const struct conf *conf, const struct conf_runtime *h, const struct conf_workload *w,
			  bool host_network, struct selection *s, struct buf *why, crio_err *err)
{
	/* Instances of one plugin are told apart by name alone: a handler and a workload may be called the same. */
	const char *plugin = "cni", *from = "default", *of = "default", *name = NULL;
	const struct kvs *options = NULL;
	if (host_network) {
		plugin = "hostnetwork";
		from = "the pod uses the node's network";
	} else if (w && (str_set(w->network_plugin) || w->network_options.n)) {
		plugin = str_set(w->network_plugin) ? w->network_plugin : h && str_set(h->network_plugin) ? h->network_plugin : plugin;
		from = "workload";
		of = from;
		name = w->name;
		options = &w->network_options;
	} else if (h && (str_set(h->network_plugin) || h->network_options.n)) {
		plugin = str_set(h->network_plugin) ? h->network_plugin : plugin;
		from = "handler";
		of = from;
		name = h->name;
		options = &h->network_options;
	}
	buf_addf(why, "network %s: %s", plugin, from);
	s->network = strdup(plugin);
	s->network_instance = path_fmt("%s%s%s", of, name ? " " : "", name ? name : "");
	if (!s->network || !s->network_instance || (options && merge(&s->network_options, options) < 0) ||
	    network_options(p, conf, plugin, &s->network_options) < 0)
		return err_nomem(err);
	return 0;
}

int select_plugins(struct plugins *p, const struct conf *conf, const char *handler, const struct conf_workload *w,
		   bool host_network, struct selection *ret, crio_err *err)
{
	const struct conf_runtime *h = conf_runtime(conf, handler);
	if (!h)
		return unknown_handler(conf, handler, err);
	cleanup_selection struct selection s;
	memset(&s, 0, sizeof(s));
	cleanup_buf struct buf why = BUF_INIT;
	int r = select_runtime(p, conf, h, handler, w, &s, &why, err);
	if (r < 0)
		return r;
	const char *storage = conf->crio.storage_driver, *from = "default";
	if (w && str_set(w->storage_plugin)) {
		storage = w->storage_plugin;
		from = "workload";
	} else if (str_set(h->storage_plugin)) {
		storage = h->storage_plugin;
		from = "handler";
	}
	buf_addf(&why, "storage %s: %s; ", storage, from);
	s.storage = strdup(storage);
	if (!s.storage)
		return err_nomem(err);
	r = select_network(p, conf, h, w, host_network, &s, &why, err);
	if (r < 0)
		return r;
	s.why = buf_take(&why);
	if (!s.why)
		return err_nomem(err);
	*ret = s;
	memset(&s, 0, sizeof(s));
	return 0;
}

int select_default_network(struct plugins *p, const struct conf *conf, struct selection *ret, crio_err *err)
{
	cleanup_selection struct selection s;
	memset(&s, 0, sizeof(s));
	cleanup_buf struct buf why = BUF_INIT;
	int r = select_network(p, conf, NULL, NULL, false, &s, &why, err);
	if (r < 0)
		return r;
	*ret = s;
	memset(&s, 0, sizeof(s));
	return 0;
}

int select_hook_options(struct plugins *p, const struct conf *conf, const char *plugin, struct kvs *ret, crio_err *err)
{
	cleanup_free char *hooks = joined(&conf->runtime.hooks_dir), *cdi = joined(&conf->runtime.cdi_spec_dirs);
	const struct {
		const char *name, *value;
	} v[] = { { "hooks_dir", hooks }, { "cdi_spec_dirs", cdi } };
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		if (!v[i].value || offer(p, CRIO_KIND_HOOK, plugin, ret, v[i].name, v[i].value) < 0)
			return err_nomem(err);
	return 0;
}
