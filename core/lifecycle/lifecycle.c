/* lifecycle.c: the object itself, and results that wait for their client's retry. */
#include "core/lifecycle/apparmor.h"
#include "core/lifecycle/hooks.h"
#include "core/lifecycle/inner.h"
#include "core/lifecycle/notifier.h"
#include "core/lifecycle/selinux.h"
#include "core/util/fs.h"
#include "core/util/log.h"

int lifecycle_new(const struct lifecycle_args *args, crio_call *call, struct lifecycle **ret, crio_err *err)
{
	struct lifecycle *lc = calloc(1, sizeof(*lc));
	if (!lc)
		return err_nomem(err);
	lc->conf = conf_ref(args->conf);
	lc->images = args->images;
	lc->plugins = args->plugins;
	lc->loop = args->loop;
	lc->workers = args->workers;
	lc->systemd = args->conf->runtime.cgroup_manager == CONF_CGROUP_SYSTEMD;
	(void)pthread_mutex_init(&lc->lock, NULL);
	(void)pthread_mutex_init(&lc->net_lock, NULL);
	(void)pthread_mutex_init(&lc->event_lock, NULL);
	(void)pthread_mutex_init(&lc->userns_lock, NULL);
	cond_init(&lc->net_changed);
	lc->names = names_new();
	lc->pods = map_new();
	lc->containers = map_new();
	lc->making = map_new();
	int r = lc->names && lc->pods && lc->containers && lc->making ? 0 : err_nomem(err);
	const struct conf_runtime_section *rt = &args->conf->runtime;
	if (r == 0)
		r = fs_mkdir_p(rt->container_exits_dir, 0755, err);
	if (r == 0)
		r = fs_mkdir_p(rt->container_attach_socket_dir, 0755, err);
	if (lc->images)
		images_on_remove(lc->images, image_in_use, lc);
	if (r == 0)
		r = apparmor_init(rt->apparmor_profile, err);
	if (r == 0)
		r = selinux_init(rt->selinux, err);
	stats_keep_init(&lc->host_net);
	if (r == 0)
		r = layer_meter_new(lc, err);
	if (r == 0)
		r = forbidden_init(lc, err);
	if (r == 0)
		r = network_init(lc, call);
	boot_id_get(lc->boot_id);
	if (r == 0)
		r = hooks_new(lc, call, &lc->hooks, err);
	if (r == 0)
		r = recover(lc, call, err);
	if (r == 0) {
		wipe_pods(lc, args->rebooted, args->upgraded, call);
		network_gc_after_start(lc);
	}
	if (r < 0) {
		lifecycle_free(lc);
		return r;
	}
	*ret = lc;
	return 0;
}

int lifecycle_set_conf(struct lifecycle *lc, const struct conf *conf, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	const struct conf **v = realloc(lc->old_confs, (lc->n_old_confs + 1) * sizeof(*v));
	if (!v)
		return err_nomem(err);
	lc->old_confs = v;
	lc->old_confs[lc->n_old_confs++] = lc->conf;
	lc->conf = conf_ref(conf);
	return 0;
}

void lifecycle_reload_hooks(struct lifecycle *lc)
{
	cleanup_call crio_call *call = call_new("Reload", now_mono_ns() + CLEANUP_NS);
	if (call)
		hooks_refresh(lc->hooks, call);
}

void lifecycle_free(struct lifecycle *lc)
{
	if (!lc)
		return;
	(void)pthread_mutex_lock(&lc->lock);
	lc->stopping = true;
	int timers[] = { lc->park_timer, lc->wipe_timer };
	(void)pthread_mutex_unlock(&lc->lock);
	for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
		if (timers[i])
			loop_remove(lc->loop, timers[i]);
	if (lc->images)
		images_on_remove(lc->images, NULL, NULL);
	leftovers_release(lc);
	hooks_free(lc->hooks);
	layer_meter_free(lc);
	notifiers_free(lc->notifiers);
	lc->notifiers = NULL;
	network_gc_stop(lc);
	if (lc->net) {
		plugin_inst_listen(lc->net, NULL, NULL);
		plugin_inst_unref(lc->net);
	}
	while (lc->n_containers)
		registry_del_container(lc, lc->container_order[lc->n_containers - 1]);
	while (lc->n_pods) {
		struct pod *p = lc->pod_order[lc->n_pods - 1];
		if (p->runtime)
			plugin_inst_listen(p->runtime, NULL, NULL);
		registry_del_pod(lc, p);
	}
	free(lc->pod_order);
	free(lc->container_order);
	map_free(lc->pods);
	map_free(lc->containers);
	map_free(lc->making);
	names_free(lc->names);
	stats_keep_release(&lc->host_net);
	free(lc->net_reason);
	free(lc->net_message);
	conf_unref(lc->conf);
	for (size_t i = 0; i < lc->n_old_confs; i++)
		conf_unref(lc->old_confs[i]);
	free(lc->old_confs);
	(void)pthread_mutex_destroy(&lc->lock);
	(void)pthread_mutex_destroy(&lc->net_lock);
	(void)pthread_mutex_destroy(&lc->event_lock);
	(void)pthread_cond_destroy(&lc->net_changed);
	free(lc);
}

/* ---- parked results: removed when no retry has come ---- */

static void park_schedule(struct lifecycle *lc);

static void expire_job(void *arg)
{
	struct lifecycle *lc = arg;
	cleanup_free char *name = NULL;
	char id[65];
	int64_t next = INT64_MAX;
	while (names_expired(lc->names, now_mono_ns(), &name, id, &next)) {
		cleanup_call crio_call *call = call_new("Expire", now_mono_ns() + CLEANUP_NS);
		cleanup_err crio_err err = ERR_INIT;
		log_info("Nobody came back for '%s' (%s): it is removed", name, id);
		int r = call ? container_remove_parked(lc, call, id, &err) : 0;
		if (r == 0 && call)
			r = pod_remove_parked(lc, call, id, &err);
		if (r < 0)
			log_warn("Remove what nobody came back for, '%s': %s", name, err_text(&err));
		free(name);
		name = NULL;
	}
	if (next != INT64_MAX)
		park_schedule(lc);
}

static void on_timer(void *arg)
{
	struct lifecycle *lc = arg;
	(void)pthread_mutex_lock(&lc->lock);
	lc->park_timer = 0;
	bool stopping = lc->stopping;
	(void)pthread_mutex_unlock(&lc->lock);
	if (!stopping)
		(void)workers_run(lc->workers, WORK_TEARDOWN, expire_job, lc, NULL);
}

static void park_schedule(struct lifecycle *lc)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	if (lc->park_timer || lc->stopping)
		return;
	int id = loop_timer(lc->loop, PARK_NS + SEC, on_timer, lc, NULL);
	lc->park_timer = id > 0 ? id : 0;
}

/* ---- one request, one object ---- */

static int take_id(char **ret_id, const char *id, crio_err *err)
{
	*ret_id = strdup(id);
	return *ret_id ? 0 : err_nomem(err);
}

static void settle(struct lifecycle *lc, crio_call *call, const char *name, const char *id)
{
	bool parked = call_over(call);
	(void)registry_park(lc, id, parked);
	if (!parked) {
		names_done(lc->names, name);
		tell_made(lc, id);
		return;
	}
	names_park(lc->names, name, now_mono_ns() + PARK_NS);
	park_schedule(lc);
}

int make_named(struct lifecycle *lc, crio_call *call, const char *kind, const char *name, int64_t max_wait_ns,
	       int (*make)(void *arg, const char *id, crio_err *err), void *arg, char **ret_id, crio_err *err)
{
	for (;;) {
		char id[65];
		if (!id_new(id))
			return err_set(err, CRIO_E_IO, "no random numbers");
		struct name_holder holder;
		crio_err why = ERR_INIT;
		int r = names_reserve(lc->names, name, id, &holder, &why);
		if (r == 0) {
			r = leftovers_remove(lc, call, name, NULL, err);
			r = r < 0 ? r : make(arg, id, err);
			if (r < 0) {
				names_release(lc->names, name, id);
				return r;
			}
			settle(lc, call, name, id);
			return take_id(ret_id, id, err);
		}
		if (r != CRIO_E_EXISTS)
			return err_move(err, &why);
		err_clear(&why);
		r = names_wait(lc->names, kind, name, call, max_wait_ns, &holder, &why);
		if (r == 0) {
			if (registry_park(lc, holder.id, false))
				tell_made(lc, holder.id);
			return take_id(ret_id, holder.id, err);
		}
		if (r != CRIO_E_NOT_FOUND)
			return err_move(err, &why);
		err_clear(&why); /* whoever held it failed: our turn */
	}
}
