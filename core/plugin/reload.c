/* reload.c: plugins.d is read again while instances are open. */
#include "core/conf/pluginopts.h"
#include "core/plugin/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define RELOAD_NS (30 * 1000000000LL)
#define INSTANCES_MAX 4096

struct inst_options *inst_options_new(void)
{
	struct inst_options *o = calloc(1, sizeof(*o));
	if (o && !(o->lists = map_new())) {
		free(o);
		return NULL;
	}
	return o;
}

void inst_options_free(struct inst_options *o)
{
	while (o) {
		struct inst_options *older = o->older;
		size_t it = 0;
		void *v;
		while (map_next(o->lists, &it, NULL, &v)) {
			strv_release(v);
			free(v);
		}
		map_free(o->lists);
		kvs_release(&o->kv);
		free(o);
		o = older;
	}
}

/* Reloadable options as they are now, the others as they were. */
static int take_reloadable(const struct module *m, const struct kvs *old, const struct kvs *now, struct kvs *ret)
{
	for (size_t i = 0; i < m->desc.options_n; i++) {
		const struct crio_option *o = pluginopts_row(m->desc.options, i);
		const char *v = kvs_get((o->flags & CRIO_OPT_RELOADABLE) ? now : old, o->name);
		if (v && kvs_set(ret, o->name, v) < 0)
			return CRIO_E_NOMEM;
	}
	return 0;
}

static int read_again(struct plugin_inst *in, struct inst_options **ret, crio_err *err)
{
	const struct module *m = in->mod;
	cleanup_kvs struct kvs now = KVS_INIT;
	cleanup_free char *where = path_fmt("%s plugin %s, instance '%s'", plugin_kind_name(m->kind), m->name, in->name);
	struct inst_options *o = inst_options_new();
	int r = o && where ? 0 : err_nomem(err);
	if (r == 0)
		r = pluginopts_load(m->desc.options, m->desc.options_n, in->host->args.options_dir, plugin_kind_name(m->kind), m->name,
				    where, &in->given, &now, err);
	const char *name = NULL;
	/* Only reload changes in->options, and one runs at a time. */
	if (r == 0 && !pluginopts_reloadable(m->desc.options, m->desc.options_n, &in->options->kv, &now, &name))
		log_warn("%s: option %s has changed: it takes effect at the next start", where, name);
	if (r == 0 && take_reloadable(m, &in->options->kv, &now, &o->kv) < 0)
		r = err_nomem(err);
	if (r < 0) {
		inst_options_free(o);
		return r;
	}
	*ret = o;
	return 0;
}

static struct inst_options *swap(struct plugin_inst *in, struct inst_options *o)
{
	cleanup_unlock pthread_mutex_t *l = lock(&in->lock);
	struct inst_options *old = in->options;
	in->options = o;
	return old;
}

static int reload_one(struct plugin_inst *in, crio_err *err)
{
	cleanup_call crio_call *call = call_new("reload", now_mono_ns() + RELOAD_NS);
	struct inst_options *o = NULL;
	if (!call)
		return err_nomem(err);
	int r = read_again(in, &o, err);
	if (r < 0)
		return r;
	/* An operation may still use strings of the old ones: those go when the instance does. */
	struct inst_options *old = swap(in, o);
	o->older = old;
	r = in->mod->desc.reload ? plugin_inst_call_reload(in, call, err) : 0;
	if (r < 0) {
		(void)pthread_mutex_lock(&in->lock);
		/* It keeps what it had; what it may have seen of the new ones stays for it as well. */
		o->older = old->older;
		old->older = o;
		in->options = old;
		(void)pthread_mutex_unlock(&in->lock);
	}
	return r;
}

void plugins_reload(struct plugins *p)
{
	cleanup_unlock pthread_mutex_t *one = lock(&p->reload_lock);
	struct plugin_inst **v = NULL;
	size_t n = 0;
	(void)pthread_mutex_lock(&p->lock);
	for (struct plugin_inst *in = p->instances; in && n < INSTANCES_MAX; in = in->next)
		n++;
	v = calloc(n + 1, sizeof(struct plugin_inst *));
	n = 0;
	for (struct plugin_inst *in = p->instances; v && in && n < INSTANCES_MAX; in = in->next)
		if (plugin_inst_try_ref(in))
			v[n++] = in;
	(void)pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < n; i++) {
		cleanup_err crio_err err = ERR_INIT;
		int r = reload_one(v[i], &err);
		if (r < 0)
			log_error("%s plugin '%s', instance '%s': its options are not reloaded: %s", plugin_kind_name(v[i]->mod->kind),
				  v[i]->mod->name, v[i]->name, err_text(&err));
		else
			log_debug("Reloaded the options of %s plugin %s, instance '%s'", plugin_kind_name(v[i]->mod->kind),
				  v[i]->mod->name, v[i]->name);
		plugin_inst_unref(v[i]);
	}
	free(v);
}
