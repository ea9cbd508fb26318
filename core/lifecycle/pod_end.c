/* pod_end.c: StopPodSandbox and RemovePodSandbox. Both may be called again at any time, and for pods that are half there. */
#include <sys/eventfd.h>
#include <sys/mount.h>

#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/hooks.h"
#include "core/lifecycle/inner.h"
#include "core/lifecycle/netns.h"
#include "core/util/failpoint.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define GRACE_DEFAULT_NS (10 * SEC) /* of a client without a deadline */
#define INFRA_SHARE_NS SEC         /* of the time, for the infra container */

/* How long the containers may take before they are killed: as long as the client waits, but for what the infra container gets. */
static int64_t grace_of(const crio_call *call, bool infra)
{
	int64_t left = call_deadline(call) == CALL_NO_DEADLINE ? GRACE_DEFAULT_NS : call_left_ns(call) / SEC * SEC;
	if (infra)
		return left;
	return left < 2 * INFRA_SHARE_NS ? left / 2 : left - INFRA_SHARE_NS;
}

static int release_sandbox(struct pod *p, crio_call *call, crio_err *err)
{
	int r = 0;
	if (p->infra)
		r = container_do_stop(p->infra, call, grace_of(call, true), err);
	if (r == 0 && p->runtime && plugin_inst_has_op(p->runtime, "sandbox_stop")) {
		struct crio_runtime_id_args a = { .size = sizeof(a), .force = 1, .id = p->id };
		struct crio_runtime_no_out o = { .size = sizeof(o) };
		r = plugin_runtime_sandbox_stop(p->runtime, call, &a, &o, err);
	}
	return r;
}

static int release_shm(struct pod *p, crio_err *err)
{
	if (!*p->shm_path || str_eq(p->shm_path, "/dev/shm"))
		return 0;
	return fs_umount(p->shm_path, err);
}

static int release_namespaces(struct pod *p, crio_err *err)
{
	if (!*p->ns_name)
		return 0;
	int r = netns_remove(p->lc->conf->runtime.namespaces_dir, p->ns_name, err);
	if (r == 0 && *p->netns)
		log_info("Removed netns path %s from pod sandbox %s", p->netns, p->id);
	return r;
}

static void first(int *r, int now, crio_err *err, crio_err *why)
{
	if (now < 0 && *r == 0) {
		*r = now;
		(void)err_move(err, why);
	}
	err_clear(why);
}

/* What stop takes down, in order: the network first, so that the address is free for others. */
static int stop_parts(struct pod *p, crio_call *call, crio_err *err)
{
	int r = 0;
	crio_err why = ERR_INIT;
	stats_keep_end(&p->stats);
	first(&r, pod_release_network(p, call, &why), err, &why);
	first(&r, release_sandbox(p, call, &why), err, &why);
	first(&r, release_shm(p, &why), err, &why);
	first(&r, link_logs_unmount(p, &why), err, &why);
	/* The namespaces are needed as long as the network is up in them. */
	if (!p->network_up)
		first(&r, release_namespaces(p, &why), err, &why);
	return r;
}

/* CRI-O makes a cgroup for a pod without an infra container as if it had one, with cgroupfs. Empty, but it keeps the parent's. */
static void release_sandbox_cgroup(const struct pod *p)
{
	cleanup_free char *parent = NULL;
	if (p->infra || p->lc->systemd || cgroup_parent_fs_path(false, p->cgroup_parent, &parent, NULL) < 0)
		return;
	cleanup_free char *path = path_fmt("%s/crio-%s", parent, p->id);
	if (path && cgroup_remove(path, NULL) < 0)
		log_debug("cgroup %s of pod sandbox %s stays", path, p->id);
}

int pod_release_all(struct pod *p, crio_call *call, crio_err *err)
{
	int r = stop_parts(p, call, err);
	r = r < 0 ? r : FAILPOINT("pod.stopped", err);
	if (r < 0)
		return r;
	if (p->infra)
		r = container_release_runtime(p->infra, call, err);
	if (r == 0)
		release_sandbox_cgroup(p);
	/* Before the record, which is what tells of it. */
	if (r == 0 && p->cgroup_made) {
		cleanup_free char *path = NULL;
		if (cgroup_parent_fs_path(p->lc->systemd, p->cgroup_parent, &path, NULL) == 0 && cgroup_remove(path, NULL) < 0)
			log_debug("cgroup %s of pod sandbox %s is still in use", path, p->id);
	}
	if (r == 0 && p->store)
		r = store_container_delete(p->store, call, p->id, err);
	if (r == 0 && p->infra)
		container_set_removed(p->infra);
	FAILPOINT_CUT("pod.record_removed");
	return r;
}

/* ---- stopping a pod's containers side by side ---- */

struct stop_one {
	struct container *c;
	crio_call *call;
	int result;
	crio_err err;
	struct stop_all *all;
};
struct stop_all {
	pthread_mutex_t lock;
	pthread_cond_t done;
	size_t left;
};

static void stop_job(void *arg)
{
	struct stop_one *o = arg;
	o->result = container_do_stop(o->c, o->call, grace_of(o->call, false), &o->err);
	(void)pthread_mutex_lock(&o->all->lock);
	o->all->left--;
	(void)pthread_cond_signal(&o->all->done);
	(void)pthread_mutex_unlock(&o->all->lock);
}

static int stop_containers(struct pod *p, crio_call *call, crio_err *err)
{
	struct container **v = NULL;
	size_t n = 0;
	int r = pod_containers(p, &v, &n, err);
	if (r < 0)
		return r;
	cleanup_free struct stop_one *o = calloc(n + 1, sizeof(*o));
	struct stop_all all = { .left = 0 };
	(void)pthread_mutex_init(&all.lock, NULL);
	(void)pthread_cond_init(&all.done, NULL);
	if (!o)
		r = err_nomem(err);
	all.left = o ? n : 0;
	for (size_t i = 0; o && i < n; i++) {
		o[i] = (struct stop_one){ v[i], call, 0, ERR_INIT, &all };
		/* The last by ourselves, and any that finds no thread: a caller never waits for its own class. */
		if (i + 1 == n || workers_run(p->lc->workers, WORK_TEARDOWN, stop_job, &o[i], NULL) < 0)
			stop_job(&o[i]);
	}
	(void)pthread_mutex_lock(&all.lock);
	while (all.left)
		(void)pthread_cond_wait(&all.done, &all.lock);
	(void)pthread_mutex_unlock(&all.lock);
	for (size_t i = 0; o && i < n; i++) {
		if (o[i].result < 0 && r == 0) {
			r = o[i].result;
			(void)err_move(err, &o[i].err);
		}
		err_clear(&o[i].err);
	}
	for (size_t i = 0; i < n; i++)
		container_unref(v[i]);
	free(v);
	(void)pthread_mutex_destroy(&all.lock);
	(void)pthread_cond_destroy(&all.done);
	return r;
}

/* Holding the pod's job slot. */
static int pod_do_stop(struct pod *p, crio_call *call, crio_err *err)
{
	(void)pthread_mutex_lock(&p->lock);
	bool stopped = p->stopped;
	(void)pthread_mutex_unlock(&p->lock);
	if (stopped)
		return 0;
	int r = stop_containers(p, call, err);
	if (r == 0) {
		(void)hooks_pod(p, call, CRIO_HOOK_POD_STOP, NULL);
		r = stop_parts(p, call, err);
	}
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&p->lock);
	p->stopped = true;
	if (p->end_fd >= 0)
		(void)eventfd_write(p->end_fd, 1);
	pod_changed(p);
	(void)pthread_mutex_unlock(&p->lock);
	r = pod_write_state(p, err);
	log_info("Stopped pod sandbox: %s", p->id);
	tell_pod(p, EVENT_STOPPED);
	return r;
}

static int begin(struct pod *p, const char *what, crio_call *call, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	return job_begin(&p->job, &p->lock, &p->changed, what, call, err);
}

static void end(struct pod *p)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	job_end(&p->job, &p->changed);
}

/* Unknown is success: 1. */
static int find(struct lifecycle *lc, const char *id, struct pod **ret, crio_err *err)
{
	int r = registry_pod(lc, id, ret, err);
	if (r != CRIO_E_NOT_FOUND)
		return r;
	if (err)
		err_clear(err);
	return 1;
}

int pod_stop(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err)
{
	cleanup_pod struct pod *p = NULL;
	int r = find(lc, id, &p, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = begin(p, "stop pod sandbox", call, err);
	if (r < 0)
		return r;
	r = pod_do_stop(p, call, err);
	end(p);
	return r;
}

/* What cannot be removed whole is not begun with. */
static int need_plugins(const struct pod *p, crio_err *err)
{
	const char *kind = !p->runtime ? "runtime" : !p->store ? "storage" : p->network_up && !p->network ? "network" : NULL;
	if (!kind)
		return 0;
	return err_set(err, CRIO_E_PRECONDITION,
		       "the %s plugin '%s' of pod sandbox %s is not there (%s): put its file back and start crio again to remove it",
		       kind, !p->runtime ? p->runtime_plugin : !p->store ? p->driver : p->network_plugin, p->id, p->plugins);
}

static int pod_do_remove(struct pod *p, crio_call *call, crio_err *err)
{
	(void)pthread_mutex_lock(&p->lock);
	bool removed = p->removed;
	p->removing = true;
	(void)pthread_mutex_unlock(&p->lock);
	if (removed)
		return 0;
	struct container **v = NULL;
	size_t n = 0;
	int r = need_plugins(p, err);
	if (r == 0)
		r = pod_containers(p, &v, &n, err);
	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			r = container_do_remove(v[i], call, err);
		container_unref(v[i]);
	}
	free(v);
	if (r == 0)
		r = leftovers_remove(p->lc, call, NULL, p, err);
	if (r == 0)
		r = pod_do_stop(p, call, err);
	if (r == 0) {
		(void)hooks_pod(p, call, CRIO_HOOK_POD_REMOVE, NULL);
		r = pod_release_all(p, call, err);
	}
	if (r < 0) {
		(void)pthread_mutex_lock(&p->lock);
		p->removing = false;
		(void)pthread_mutex_unlock(&p->lock);
		return r;
	}
	(void)pthread_mutex_lock(&p->lock);
	p->removed = true;
	(void)pthread_mutex_unlock(&p->lock);
	tell_pod(p, EVENT_DELETED);
	registry_del_pod(p->lc, p);
	names_release(p->lc->names, p->name, p->id);
	log_info("Removed pod sandbox: %s", p->id);
	return 0;
}

static int remove_one(struct pod *p, crio_call *call, crio_err *err)
{
	int r = begin(p, "remove pod sandbox", call, err);
	if (r < 0)
		return r;
	/* Once begun it goes on without its client: half a removal helps nobody. */
	cleanup_call crio_call *work = call_detached(call, CLEANUP_NS);
	r = work ? pod_do_remove(p, work, err) : err_nomem(err);
	end(p);
	return r;
}

int pod_remove(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err)
{
	cleanup_pod struct pod *p = NULL;
	int r = find(lc, id, &p, err);
	if (r != 0)
		return r < 0 ? r : 0;
	return remove_one(p, call, err);
}

int pod_remove_parked(struct lifecycle *lc, crio_call *call, const char *id, crio_err *err)
{
	cleanup_pod struct pod *p = registry_whole_pod(lc, id);
	return p ? remove_one(p, call, err) : 0;
}
