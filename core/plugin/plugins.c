/* plugins.c: the host object: the list of modules, and the life of instances. */
#include <sys/stat.h>

#include "core/conf/pluginopts.h"
#include "core/plugin/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define OPEN_NS (30 * 1000000000LL)

static void args_release(struct plugins_args *a)
{
	free((char *)(uintptr_t)a->dir);
	free((char *)(uintptr_t)a->options_dir);
	free((char *)(uintptr_t)a->state_dir);
	free((char *)(uintptr_t)a->run_dir);
	free((char *)(uintptr_t)a->probe_path);
}

int plugins_new(const struct plugins_args *args, struct plugins **ret, crio_err *err)
{
	struct plugins *p = calloc(1, sizeof(*p));
	if (!p)
		return err_nomem(err);
	p->args = *args;
	p->args.dir = strdup(args->dir);
	p->args.options_dir = strdup(args->options_dir);
	p->args.state_dir = strdup(args->state_dir);
	p->args.run_dir = strdup(args->run_dir);
	p->args.probe_path = args->probe_path ? strdup(args->probe_path) : NULL;
	(void)pthread_mutex_init(&p->load_lock, NULL);
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_mutex_init(&p->reload_lock, NULL);
	int r = 0;
	if (!p->args.dir || !p->args.options_dir || !p->args.state_dir || !p->args.run_dir ||
	    (args->probe_path && !p->args.probe_path))
		r = err_nomem(err);
	else if (lt_dlinit() != 0)
		r = err_set(err, CRIO_E_INTERNAL, "libltdl: %s", lt_dlerror());
	if (r < 0) {
		args_release(&p->args);
		free(p);
		return r;
	}
	probe_sweep(p->args.run_dir);
	verdicts_read(p);
	loader_add_linked(p);
	loader_scan(p);
	*ret = p;
	return 0;
}

/* The thread of an operation drops its reference a moment after the caller has the result. */
static bool has_instances(struct plugins *p)
{
	for (int i = 0; i < 100; i++) {
		(void)pthread_mutex_lock(&p->lock);
		bool any = p->instances != NULL;
		(void)pthread_mutex_unlock(&p->lock);
		if (!any)
			return false;
		(void)usleep(10000);
	}
	return true;
}

void plugins_free(struct plugins *p)
{
	if (!p)
		return;
	if (has_instances(p))
		log_warn("plugin instances are still in use at the end, the first: %s '%s'", p->instances->mod->name, p->instances->name);
	else {
		while (p->modules) {
			struct module *m = p->modules;
			p->modules = m->next;
			free(m->name);
			free(m->path);
			free(m->refused);
			free(m);
		}
		args_release(&p->args);
		free(p->verdicts);
		(void)pthread_mutex_destroy(&p->lock);
		(void)pthread_mutex_destroy(&p->load_lock);
		(void)pthread_mutex_destroy(&p->reload_lock);
		free(p);
	}
}

void plugins_rescan(struct plugins *p)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->load_lock);
	loader_scan(p);
	for (struct module *m = p->modules; m; m = m->next)
		if (!m->loaded && !m->refused)
			(void)loader_load(m, NULL);
	if (!p->settled)
		verdicts_write(p);
	p->settled = true;
}

static int not_found(struct plugins *p, enum crio_kind kind, const char *name, crio_err *err)
{
	cleanup_buf struct buf b = BUF_INIT;
	(void)pthread_mutex_lock(&p->lock);
	for (struct module *m = p->modules; m; m = m->next)
		if (m->kind == kind)
			buf_addf(&b, "%s%s", b.n ? ", " : "", m->name);
	(void)pthread_mutex_unlock(&p->lock);
	return err_set(err, CRIO_E_NOT_FOUND, "there is no %s plugin '%s' in %s; there are: %s", plugin_kind_name(kind), name, p->args.dir,
		       b.n ? b.p : "none");
}

static int load_by_name(struct plugins *p, enum crio_kind kind, const char *name, struct module **ret, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->load_lock);
	for (int pass = 0; pass < 2; pass++) {
		for (struct module *m = p->modules; m; m = m->next) {
			if (m->kind != kind || !str_eq(m->name, name))
				continue;
			*ret = m;
			if (m->refused)
				loader_scan(p); /* its file may have been put back or mended since */
			return loader_load(m, err);
		}
		if (pass == 0)
			loader_scan(p); /* it may have been dropped in since */
	}
	return not_found(p, kind, name, err);
}

bool plugins_has(struct plugins *p, enum crio_kind kind, const char *name)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	for (struct module *m = p->modules; m; m = m->next)
		if (m->kind == kind && str_eq(m->name, name))
			return true;
	return false;
}

bool plugins_has_option(struct plugins *p, enum crio_kind kind, const char *name, const char *option)
{
	struct module *m = NULL;
	if (load_by_name(p, kind, name, &m, NULL) < 0)
		return false;
	return m->desc.options_n && pluginopts_find(m->desc.options, m->desc.options_n, option);
}

void plugins_each_metric(struct plugins *p,
			 void (*fn)(void *arg, const char *kind, const char *plugin, const char *instance, const char *metric, int64_t value),
			 void *arg)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	for (struct plugin_inst *in = p->instances; in; in = in->next) {
		cleanup_unlock pthread_mutex_t *inner = lock(&in->lock);
		const char *name;
		size_t it = 0;
		void *v;
		while (map_next(in->metrics, &it, &name, &v))
			fn(arg, plugin_kind_name(in->mod->kind), in->mod->name, in->name, name, *(int64_t *)v);
	}
}

static void inst_free(struct plugin_inst *in)
{
	size_t it = 0;
	void *v;
	while (in->metrics && map_next(in->metrics, &it, NULL, &v))
		free(v);
	map_free(in->metrics);
	inst_options_free(in->options);
	kvs_release(&in->given);
	free(in->ready_reason);
	free(in->ready_message);
	free(in->name);
	(void)pthread_mutex_destroy(&in->lock);
	(void)pthread_cond_destroy(&in->changed);
	free(in);
}

static int inst_new(struct plugins *p, struct module *m, const char *name, const struct kvs *options, struct plugin_inst **ret,
		    crio_err *err)
{
	struct plugin_inst *in = calloc(1, sizeof(*in));
	if (!in)
		return err_nomem(err);
	in->handle.in = in;
	in->host = p;
	in->mod = m;
	in->refs = 1;
	in->ready = -1;
	(void)pthread_mutex_init(&in->lock, NULL);
	pthread_condattr_t ca;
	(void)pthread_condattr_init(&ca);
	(void)pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&in->changed, &ca);
	(void)pthread_condattr_destroy(&ca);
	in->name = strdup(name);
	in->options = inst_options_new();
	in->metrics = map_new();
	int r = in->name && in->options && in->metrics && (!options || kvs_copy(&in->given, options) == 0) ? 0 : err_nomem(err);
	cleanup_free char *where = path_fmt("%s plugin %s, instance '%s'", plugin_kind_name(m->kind), m->name, name);
	if (r == 0 && !where)
		r = err_nomem(err);
	if (r == 0)
		r = pluginopts_load(m->desc.options, m->desc.options_n, p->args.options_dir, plugin_kind_name(m->kind), m->name, where,
				    options, &in->options->kv, err);
	if (r < 0) {
		inst_free(in);
		return r;
	}
	*ret = in;
	return 0;
}

static struct plugin_inst *find_inst(struct plugins *p, const struct module *m, const char *name)
{
	for (struct plugin_inst *in = p->instances; in; in = in->next)
		if (in->mod == m && str_eq(in->name, name))
			return in;
	return NULL;
}

bool plugin_inst_try_ref(struct plugin_inst *in)
{
	int n = atomic_load(&in->refs);
	while (n > 0)
		if (atomic_compare_exchange_weak(&in->refs, &n, n + 1))
			return true;
	return false;
}

int plugins_open(struct plugins *p, crio_call *call, enum crio_kind kind, const char *name, const char *instance,
		 const struct kvs *options, struct plugin_inst **ret, crio_err *err)
{
	struct module *m = NULL;
	int r = load_by_name(p, kind, name, &m, err);
	if (r < 0)
		return r;
	/* One open at a time keeps "opened once an instance" simple; opening is rare. */
	cleanup_unlock pthread_mutex_t *opening = lock(&p->load_lock);
	(void)pthread_mutex_lock(&p->lock);
	struct plugin_inst *in = find_inst(p, m, instance);
	bool have = in && plugin_inst_try_ref(in);
	(void)pthread_mutex_unlock(&p->lock);
	if (have) {
		*ret = in;
		return 0;
	}
	r = inst_new(p, m, instance, options, &in, err);
	if (r < 0)
		return r;
	cleanup_call crio_call *sub = call_sub(call, OPEN_NS);
	if (!sub) {
		inst_free(in);
		return err_nomem(err);
	}
	cleanup_err crio_err why = ERR_INIT;
	state_sweep(in);
	r = m->desc.open(&host_table, &in->handle, sub, &in->self, &why);
	if (r < 0 || why.code) {
		r = r < 0 ? r : why.code;
		inst_free(in);
		return err_set(err, r, "open %s plugin '%s' for '%s': %s", plugin_kind_name(kind), name, instance,
			       why.code ? err_text(&why) : "it failed without saying why");
	}
	(void)pthread_mutex_lock(&p->lock);
	in->next = p->instances;
	p->instances = in;
	m->instances++;
	(void)pthread_mutex_unlock(&p->lock);
	*ret = in;
	return 0;
}

struct plugin_inst *plugin_inst_ref(struct plugin_inst *in)
{
	atomic_fetch_add(&in->refs, 1);
	return in;
}

void plugin_inst_unref(struct plugin_inst *in)
{
	if (!in || atomic_fetch_sub(&in->refs, 1) > 1)
		return;
	struct plugins *p = in->host;
	/* Listed until it is closed, so that plugins_free() does not take the module from under it. */
	if (in->mod->desc.close)
		in->mod->desc.close(in->self);
	(void)pthread_mutex_lock(&p->lock);
	for (struct plugin_inst **pp = &p->instances; *pp; pp = &(*pp)->next) {
		if (*pp == in) {
			*pp = in->next;
			break;
		}
	}
	in->mod->instances--;
	(void)pthread_mutex_unlock(&p->lock);
	inst_free(in);
}

int plugin_inst_check(struct plugin_inst *in, crio_call *call, crio_err *err)
{
	if (!in->mod->desc.check)
		return 0;
	cleanup_err crio_err why = ERR_INIT;
	int r = in->mod->desc.check(in->self, call, &why);
	if (r >= 0)
		return 0;
	return err_set(err, r, "%s plugin '%s' cannot work here: %s", plugin_kind_name(in->mod->kind), in->mod->name,
		       why.code ? err_text(&why) : "it does not say why");
}

const char *plugin_inst_plugin(const struct plugin_inst *in)
{
	return in->mod->name;
}

const char *plugin_inst_name(const struct plugin_inst *in)
{
	return in->name;
}

uint64_t plugin_inst_caps(const struct plugin_inst *in)
{
	return in->mod->desc.caps;
}

static int by_kind_and_name(const void *a, const void *b)
{
	const struct module *x = *(struct module *const *)a, *y = *(struct module *const *)b;
	return x->kind != y->kind ? (int)x->kind - (int)y->kind : strcmp(x->name, y->name);
}

void plugins_each(struct plugins *p, void (*fn)(void *arg, const struct plugin_info *info), void *arg)
{
	plugins_rescan(p);
	size_t n = 0;
	(void)pthread_mutex_lock(&p->lock);
	for (struct module *m = p->modules; m; m = m->next)
		n++;
	struct module **v = calloc(n + 1, sizeof(*v));
	n = 0;
	for (struct module *m = p->modules; v && m; m = m->next)
		v[n++] = m;
	(void)pthread_mutex_unlock(&p->lock);
	if (!v)
		return;
	qsort(v, n, sizeof(*v), by_kind_and_name);
	for (size_t i = 0; i < n; i++) {
		(void)pthread_mutex_lock(&p->lock);
		struct plugin_info info = { .kind = v[i]->kind,
					    .name = v[i]->name,
					    .path = v[i]->path,
					    .version = v[i]->loaded ? v[i]->desc.version : "",
					    .summary = v[i]->loaded ? v[i]->desc.summary : "",
					    .refused = v[i]->refused,
					    .desc = v[i]->loaded ? &v[i]->desc : NULL,
					    .instances = v[i]->instances,
					    .module = v[i] };
		(void)pthread_mutex_unlock(&p->lock);
		fn(arg, &info);
	}
	free(v);
}
