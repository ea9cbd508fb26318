/* conf.c: the snapshot itself: its life, its handlers and workloads. */
#include "core/conf/conf_int.h"

#define ENTRIES_MAX 512

int conf_new(struct conf **ret, crio_err *err)
{
	struct conf *c = calloc(1, sizeof *c);

	if (!c)
		return err_nomem(err);
	c->refs = 1;
	*ret = c;
	return 0;
}

static void runtime_release(struct conf_runtime *h)
{
	keys_release(runtime_keys, runtime_keys_n, h);
	free(h->name);
}

static void workload_release(struct conf_workload *w)
{
	keys_release(workload_keys, workload_keys_n, w);
	free(w->name);
}

const struct conf *conf_ref(const struct conf *c)
{
	/* The count is the one field of a snapshot that changes. */
	(void)__atomic_add_fetch(&((struct conf *)(uintptr_t)c)->refs, 1, __ATOMIC_RELAXED);
	return c;
}

void conf_unref(const struct conf *cc)
{
	struct conf *c = (struct conf *)(uintptr_t)cc;

	if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	keys_release(conf_keys, conf_keys_n, c);
	for (size_t i = 0; i < c->runtime.n_runtimes; i++)
		runtime_release(&c->runtime.runtimes[i]);
	for (size_t i = 0; i < c->runtime.n_workloads; i++)
		workload_release(&c->runtime.workloads[i]);
	free(c->runtime.runtimes);
	free(c->runtime.workloads);
	strv_release(&c->crio.additional_image_stores);
	strv_release(&c->files);
	strv_release(&c->files_win);
	conf_unref(c->from_files);
	free(c);
}

struct conf_runtime *conf_find_runtime(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->runtime.n_runtimes; i++)
		if (!strcmp(c->runtime.runtimes[i].name, name))
			return &c->runtime.runtimes[i];
	return NULL;
}

const struct conf_runtime *conf_runtime(const struct conf *c, const char *handler)
{
	return conf_find_runtime(c, *handler ? handler : c->runtime.default_runtime);
}

const struct conf_workload *conf_workload(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->runtime.n_workloads; i++)
		if (!strcmp(c->runtime.workloads[i].name, name))
			return &c->runtime.workloads[i];
	return NULL;
}

const struct conf_workload *conf_workload_for(const struct conf *c, const struct kvs *annotations)
{
	for (size_t i = 0; i < c->runtime.n_workloads; i++)
		if (kvs_get(annotations, c->runtime.workloads[i].activation_annotation))
			return &c->runtime.workloads[i];
	return NULL;
}

bool conf_workload_may_set_runtime(const struct conf *c, const char *handler, const struct conf_workload *w)
{
	const struct conf_runtime *h = conf_runtime(c, handler);

	if (!w || !h || !*w->runtime_plugin)
		return false;
	return !*handler || h->allow_workload_runtime;
}

int conf_put_runtime(struct conf *c, const char *name, struct conf_runtime **ret, crio_err *err)
{
	struct conf_runtime_section *s = &c->runtime;
	struct conf_runtime h = { 0 }, *grown;
	size_t i;
	int r;

	if (s->n_runtimes >= ENTRIES_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %d runtime handlers", ENTRIES_MAX);
	h.name = strdup(name);
	r = h.name ? keys_set_defaults(runtime_keys, runtime_keys_n, &h, err) : err_nomem(err);
	grown = r < 0 ? NULL : realloc(s->runtimes, (s->n_runtimes + 1) * sizeof *grown);
	if (!grown) {
		runtime_release(&h);
		return r < 0 ? r : err_nomem(err);
	}
	s->runtimes = grown;
	for (i = 0; i < s->n_runtimes && strcmp(s->runtimes[i].name, name) < 0; i++)
		;
	if (i < s->n_runtimes && !strcmp(s->runtimes[i].name, name)) {
		runtime_release(&s->runtimes[i]);
	} else {
		memmove(&s->runtimes[i + 1], &s->runtimes[i], (s->n_runtimes - i) * sizeof *s->runtimes);
		s->n_runtimes++;
	}
	s->runtimes[i] = h;
	*ret = &s->runtimes[i];
	return 0;
}

void conf_del_runtime(struct conf *c, const char *name)
{
	struct conf_runtime_section *s = &c->runtime;

	for (size_t i = 0; i < s->n_runtimes; i++) {
		if (strcmp(s->runtimes[i].name, name) != 0)
			continue;
		runtime_release(&s->runtimes[i]);
		memmove(&s->runtimes[i], &s->runtimes[i + 1], (s->n_runtimes - i - 1) * sizeof *s->runtimes);
		s->n_runtimes--;
		return;
	}
}

int conf_put_workload(struct conf *c, const char *name, struct conf_workload **ret, crio_err *err)
{
	struct conf_runtime_section *s = &c->runtime;
	struct conf_workload w = { 0 }, *grown;
	size_t i;
	int r;

	if (s->n_workloads >= ENTRIES_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %d workloads", ENTRIES_MAX);
	w.name = strdup(name);
	r = w.name ? keys_set_defaults(workload_keys, workload_keys_n, &w, err) : err_nomem(err);
	grown = r < 0 ? NULL : realloc(s->workloads, (s->n_workloads + 1) * sizeof *grown);
	if (!grown) {
		workload_release(&w);
		return r < 0 ? r : err_nomem(err);
	}
	s->workloads = grown;
	for (i = 0; i < s->n_workloads && strcmp(s->workloads[i].name, name) < 0; i++)
		;
	if (i < s->n_workloads && !strcmp(s->workloads[i].name, name)) {
		workload_release(&s->workloads[i]);
	} else {
		memmove(&s->workloads[i + 1], &s->workloads[i], (s->n_workloads - i) * sizeof *s->workloads);
		s->n_workloads++;
	}
	s->workloads[i] = w;
	*ret = &s->workloads[i];
	return 0;
}

int conf_copy_runtimes(struct conf *dst, const struct conf *src, crio_err *err)
{
	for (size_t i = dst->runtime.n_runtimes; i-- > 0;)
		conf_del_runtime(dst, dst->runtime.runtimes[i].name);
	for (size_t i = 0; i < src->runtime.n_runtimes; i++) {
		const struct conf_runtime *from = &src->runtime.runtimes[i];
		struct conf_runtime *to;
		int r = conf_put_runtime(dst, from->name, &to, err);
		if (r >= 0)
			r = keys_copy(runtime_keys, runtime_keys_n, to, from, err);
		if (r < 0)
			return r;
		to->container_min_memory_bytes = from->container_min_memory_bytes;
	}
	return 0;
}

int conf_storage_options(const struct conf *c, const char *driver, struct kvs *ret)
{
	size_t n = strlen(driver);

	for (size_t i = 0; i < c->crio.storage_option.n; i++) {
		cleanup_free char *key = NULL;
		const char *o = c->crio.storage_option.v[i], *eq = strchr(o, '=');

		/* "overlay2." is what old files call overlay. */
		if (str_starts(o, "overlay2.") && !strcmp(driver, "overlay"))
			o += strlen("overlay2.");
		else if (!strncmp(o, driver, n) && o[n] == '.')
			o += n + 1;
		else
			continue;
		if (!eq || str_starts(o, "imagestore="))
			continue;
		key = strndup(o, (size_t)(eq - o));
		if (!key || kvs_set(ret, key, eq + 1) < 0)
			return CRIO_E_NOMEM;
	}
	return 0;
}
