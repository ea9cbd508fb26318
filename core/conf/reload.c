/* reload.c: what changes while running, and saying so. */
#include "core/conf/conf_int.h"

/* The words that CRI-O logs, which tools look for. */
static void log_change(const struct conf_key *k, const struct conf *now)
{
	cleanup_buf struct buf b = BUF_INIT;
	cleanup_free char *text = NULL;

	key_text(k, now, &b);
	text = buf_take(&b);
	log_info("Set config %s to \"%s\"", k->name, text ? text : "");
}

static bool runtimes_equal(const struct conf *a, const struct conf *b)
{
	if (a->runtime.n_runtimes != b->runtime.n_runtimes)
		return false;
	for (size_t i = 0; i < a->runtime.n_runtimes; i++) {
		const struct conf_runtime *x = &a->runtime.runtimes[i], *y = &b->runtime.runtimes[i];
		if (strcmp(x->name, y->name) != 0 || !keys_equal(runtime_keys, runtime_keys_n, x, y))
			return false;
	}
	return true;
}

static bool workloads_equal(const struct conf *a, const struct conf *b)
{
	if (a->runtime.n_workloads != b->runtime.n_workloads)
		return false;
	for (size_t i = 0; i < a->runtime.n_workloads; i++) {
		const struct conf_workload *x = &a->runtime.workloads[i], *y = &b->runtime.workloads[i];
		if (strcmp(x->name, y->name) != 0 || !keys_equal(workload_keys, workload_keys_n, x, y))
			return false;
	}
	return true;
}

static int copy_workloads(struct conf *dst, const struct conf *src, crio_err *err)
{
	for (size_t i = 0; i < src->runtime.n_workloads; i++) {
		const struct conf_workload *from = &src->runtime.workloads[i];
		struct conf_workload *to;
		int r = conf_put_workload(dst, from->name, &to, err);
		if (r >= 0)
			r = keys_copy(workload_keys, workload_keys_n, to, from, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Values that no key holds. */
static int copy_rest(struct conf *dst, const struct conf *old, const struct conf *now, crio_err *err)
{
	dst->api.stream_idle_timeout_ns = old->api.stream_idle_timeout_ns;
	dst->crio.transient_store = old->crio.transient_store;
	if (strv_copy(&dst->crio.additional_image_stores, &old->crio.additional_image_stores) < 0 ||
	    strv_copy(&dst->files, &now->files) < 0)
		return err_nomem(err);
	return 0;
}

static int merge(const struct conf *old, const struct conf *now, struct conf *dst, crio_err *err)
{
	for (size_t i = 0; i < conf_keys_n; i++) {
		const struct conf_key *k = &conf_keys[i];
		bool live = (k->flags & KEY_RELOAD) != 0, same = key_equal(k, old, now);
		int r = key_copy(k, dst, live ? now : old, err);

		if (r < 0)
			return r;
		if (!same && live)
			log_change(k, now);
		else if (!same)
			log_warn("%s.%s has changed in the configuration: it takes effect at the next start", k->table, k->name);
	}
	if (!runtimes_equal(old, now))
		log_info("Updating runtime configuration");
	if (!workloads_equal(old, now))
		log_warn("crio.runtime.workloads has changed in the configuration: it takes effect at the next start");
	if (conf_copy_runtimes(dst, now, err) < 0 || copy_workloads(dst, old, err) < 0)
		return err_nomem(err);
	return copy_rest(dst, old, now, err);
}

int conf_reload(const struct conf *old, const struct conf_args *args, struct conf **ret, crio_err *err)
{
	struct conf *now = NULL, *dst = NULL;
	int r = conf_load_again(args, old, &now, err);

	if (r < 0)
		return r;
	r = conf_new(&dst, err);
	if (r >= 0)
		r = merge(old, now, dst, err);
	if (r >= 0 && strv_copy(&dst->files_win, &now->files_win) < 0)
		r = err_nomem(err);
	if (r >= 0)
		dst->from_files = move_ptr(now->from_files);
	conf_unref(now);
	if (r < 0) {
		conf_unref(dst);
		return r;
	}
	*ret = dst;
	return 0;
}
