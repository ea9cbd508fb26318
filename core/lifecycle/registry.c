/* registry.c: which pods and containers there are; references, job slots, look-up by id or prefix, lists. */
#include <time.h>

#include "core/lifecycle/inner.h"
#include "core/util/fs.h"

void cond_init(pthread_cond_t *c)
{
	pthread_condattr_t a;
	(void)pthread_condattr_init(&a);
	(void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	(void)pthread_cond_init(c, &a);
	(void)pthread_condattr_destroy(&a);
}

bool cond_wait_until(pthread_cond_t *c, pthread_mutex_t *l, int64_t until_ns)
{
	if (until_ns == INT64_MAX) {
		(void)pthread_cond_wait(c, l);
		return true;
	}
	struct timespec ts = { until_ns / SEC, until_ns % SEC };
	return pthread_cond_timedwait(c, l, &ts) != ETIMEDOUT;
}

int job_begin(struct job_slot *j, pthread_mutex_t *l, pthread_cond_t *changed, const char *what, crio_call *call, crio_err *err)
{
	while (j->busy) {
		/* A cancelled caller is noticed at the next change or within a second: nobody is waiting for it any more. */
		if (call_over(call))
			return call_check(call, what, err);
		int64_t until = now_mono_ns() + SEC;
		(void)cond_wait_until(changed, l, until < call_deadline(call) ? until : call_deadline(call));
	}
	j->busy = true;
	j->what = what;
	return 0;
}

void job_end(struct job_slot *j, pthread_cond_t *changed)
{
	j->busy = false;
	j->what = NULL;
	(void)pthread_cond_broadcast(changed);
}

static void drop_wire(struct wire_cache *w)
{
	if (w->w)
		wire_unref(w->w);
	w->w = NULL;
}

void pod_changed(struct pod *p)
{
	atomic_fetch_add(&p->wire.version, 1);
	drop_wire(&p->wire);
	(void)pthread_cond_broadcast(&p->changed);
}

void container_changed(struct container *c)
{
	atomic_fetch_add(&c->wire.version, 1);
	drop_wire(&c->wire);
	(void)pthread_cond_broadcast(&c->changed);
}

static bool empty_strings(char **const *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(*f[i] = strdup("")))
			return false;
	return true;
}

struct pod *pod_new(struct lifecycle *lc)
{
	struct pod *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->refs = 1;
	p->lc = lc;
	(void)pthread_mutex_init(&p->lock, NULL);
	p->end_fd = -1;
	cond_init(&p->changed);
	p->wire.version = 1;
	stats_keep_init(&p->stats);
	char **const f[] = { &p->name, &p->handler, &p->driver, &p->network_plugin, &p->runtime_plugin, &p->runtime_instance, &p->network_instance,
			     &p->plugins, &p->ns_name, &p->netns, &p->ipcns, &p->utsns, &p->userns, &p->cgroup_parent, &p->dir, &p->run_dir,
			     &p->hostname, &p->resolv_path, &p->hostname_path, &p->shm_path, &p->cni_result, &p->process_label, &p->mount_label,
			     &p->runtime_options, &p->network_options };
	if (!empty_strings(f, ARRAY_SIZE(f)) || pod_config_init(&p->config) < 0) {
		pod_unref(p);
		return NULL;
	}
	return p;
}

struct pod *pod_ref(struct pod *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void pod_unref(struct pod *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) > 1)
		return;
	container_unref(p->infra);
	labels_release(p->process_label, p->mount_label);
	plugin_inst_unref(p->runtime);
	plugin_inst_unref(p->network);
	char *f[] = { p->name, p->handler, p->driver, p->network_plugin, p->runtime_plugin, p->runtime_instance, p->network_instance, p->plugins,
		      p->ns_name, p->netns, p->ipcns, p->utsns, p->userns, p->cgroup_parent, p->dir, p->run_dir, p->hostname, p->resolv_path,
		      p->hostname_path, p->shm_path, p->cni_result, p->runtime_options, p->network_options };
	for (size_t i = 0; i < ARRAY_SIZE(f); i++)
		free(f[i]);
	pod_config_release(&p->config);
	id_maps_release(&p->maps);
	strv_release(&p->allowed_annotations);
	strv_release(&p->ips);
	free(p->containers);
	(void)safe_close(p->end_fd);
	drop_wire(&p->wire);
	stats_keep_release(&p->stats);
	(void)pthread_mutex_destroy(&p->lock);
	(void)pthread_cond_destroy(&p->changed);
	free(p);
}

struct container *container_new(struct lifecycle *lc)
{
	struct container *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->refs = 1;
	c->lc = lc;
	c->stop_at = INT64_MAX;
	c->orphan_fd = -1;
	c->exit_code = -1;
	c->wire.version = 1;
	stats_keep_init(&c->stats);
	(void)pthread_mutex_init(&c->lock, NULL);
	cond_init(&c->changed);
	char **const f[] = { &c->name, &c->image_id, &c->image_ref, &c->image_name, &c->dir, &c->run_dir, &c->log_path, &c->rootfs,
			     &c->stop_signal_name, &c->message, &c->process_label, &c->mount_label };
	if (!empty_strings(f, ARRAY_SIZE(f)) || container_config_init(&c->config) < 0 || resources_init(&c->resources) < 0) {
		container_unref(c);
		return NULL;
	}
	return c;
}

struct container *container_ref(struct container *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void container_unref(struct container *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	orphan_release(c);
	if (!c->is_infra)
		pod_unref(c->pod);
	char *f[] = { c->name, c->image_id, c->image_ref, c->image_name, c->dir, c->run_dir, c->log_path, c->rootfs,
		      c->stop_signal_name, c->message };
	for (size_t i = 0; i < ARRAY_SIZE(f); i++)
		free(f[i]);
	labels_release(c->process_label, c->mount_label);
	container_config_release(&c->config);
	resources_release(&c->resources);
	spec_info_release(&c->info);
	drop_wire(&c->wire);
	stats_keep_release(&c->stats);
	(void)pthread_mutex_destroy(&c->lock);
	(void)pthread_cond_destroy(&c->changed);
	free(c);
}

/* ---- membership ---- */

/* Room for one more pointer. */
static bool grow(void *pv, size_t n, size_t *cap)
{
	void **v;
	memcpy(&v, pv, sizeof(v));
	if (n < *cap)
		return true;
	size_t want = *cap ? *cap * 2 : 16;
	v = reallocarray(v, want, sizeof(*v));
	if (!v)
		return false;
	memcpy(pv, &v, sizeof(v));
	*cap = want;
	return true;
}

static void cut(void **v, size_t *n, const void *what)
{
	for (size_t i = 0; i < *n; i++) {
		if (v[i] != what)
			continue;
		memmove(&v[i], &v[i + 1], (*n - i - 1) * sizeof(*v));
		(*n)--;
		return;
	}
}

int registry_add_pod(struct lifecycle *lc, struct pod *p, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	if (!grow(&lc->pod_order, lc->n_pods, &lc->cap_pods) || map_set(lc->pods, p->id, p) < 0)
		return err_nomem(err);
	lc->pod_order[lc->n_pods++] = pod_ref(p);
	return 0;
}

int registry_add_container(struct lifecycle *lc, struct container *c, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	cleanup_unlock pthread_mutex_t *pl = lock(&c->pod->lock);
	if (c->pod->removing)
		return err_set(err, CRIO_E_PRECONDITION, "pod sandbox %s is being removed", c->pod->id);
	if (!grow(&lc->container_order, lc->n_containers, &lc->cap_containers) ||
	    !grow(&c->pod->containers, c->pod->n_containers, &c->pod->cap_containers) || map_set(lc->containers, c->id, c) < 0)
		return err_nomem(err);
	lc->container_order[lc->n_containers++] = container_ref(c);
	c->pod->containers[c->pod->n_containers++] = container_ref(c);
	return 0;
}

static int by_made(int64_t a, int64_t b, const char *id_a, const char *id_b)
{
	return a < b ? -1 : a > b ? 1 : strcmp(id_a, id_b);
}

static int pods_by_made(const void *a, const void *b)
{
	const struct pod *x = *(struct pod *const *)a, *y = *(struct pod *const *)b;
	return by_made(x->created_ns, y->created_ns, x->id, y->id);
}

static int containers_by_made(const void *a, const void *b)
{
	const struct container *x = *(struct container *const *)a, *y = *(struct container *const *)b;
	return by_made(x->created_ns, y->created_ns, x->id, y->id);
}

void registry_sort(struct lifecycle *lc)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	if (lc->n_pods)
		qsort(lc->pod_order, lc->n_pods, sizeof(struct pod *), pods_by_made);
	if (lc->n_containers)
		qsort(lc->container_order, lc->n_containers, sizeof(struct container *), containers_by_made);
	for (size_t i = 0; i < lc->n_pods; i++) {
		struct pod *p = lc->pod_order[i];
		cleanup_unlock pthread_mutex_t *pl = lock(&p->lock);
		if (p->n_containers)
			qsort(p->containers, p->n_containers, sizeof(struct container *), containers_by_made);
	}
}

void registry_del_pod(struct lifecycle *lc, struct pod *p)
{
	(void)pthread_mutex_lock(&lc->lock);
	bool was = map_del(lc->pods, p->id) != NULL;
	if (was)
		cut((void **)lc->pod_order, &lc->n_pods, p);
	(void)pthread_mutex_unlock(&lc->lock);
	if (was)
		pod_unref(p);
}

void registry_del_container(struct lifecycle *lc, struct container *c)
{
	(void)pthread_mutex_lock(&lc->lock);
	bool was = map_del(lc->containers, c->id) != NULL;
	if (was)
		cut((void **)lc->container_order, &lc->n_containers, c);
	(void)pthread_mutex_lock(&c->pod->lock);
	size_t n = c->pod->n_containers;
	cut((void **)c->pod->containers, &c->pod->n_containers, c);
	bool in_pod = c->pod->n_containers < n;
	(void)pthread_mutex_unlock(&c->pod->lock);
	(void)pthread_mutex_unlock(&lc->lock);
	if (was)
		container_unref(c);
	if (in_pod)
		container_unref(c);
}

/* ---- look-up ---- */

static bool pod_parked(const void *v)
{
	return ((const struct pod *)v)->parked;
}

static bool container_parked(const void *v)
{
	return ((const struct container *)v)->parked;
}

/* The one entry whose id starts with prefix. Called with lc->lock. */
static int by_prefix(const struct map *m, const char *what, bool (*parked)(const void *), const char *prefix, void **ret, crio_err *err)
{
	void *found = map_get(m, prefix);
	size_t it = 0, n = strlen(prefix), hits = 0;
	const char *key;
	void *v;
	if (n == 0)
		return err_set(err, CRIO_E_INVALID, "the %s id is empty", what);
	while (!found && n < 64 && map_next(m, &it, &key, &v)) {
		if (strncmp(key, prefix, n) != 0 || parked(v))
			continue;
		hits++;
		*ret = v;
	}
	if (found && parked(found))
		return err_set(err, CRIO_E_PRECONDITION, "%s %s is not created: the request that made it has not come back for it", what, prefix);
	if (found)
		*ret = found;
	else if (hits > 1)
		return err_set(err, CRIO_E_INVALID, "%s id '%s' is ambiguous: %zu begin with it", what, prefix, hits);
	else if (hits == 0)
		return err_set(err, CRIO_E_NOT_FOUND, "could not find %s \"%.80s\": no %s with that id", what, prefix, what);
	return 0;
}

int registry_pod(struct lifecycle *lc, const char *id, struct pod **ret, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	void *v = NULL;
	int r = by_prefix(lc->pods, "pod", pod_parked, id, &v, err);
	if (r == 0)
		*ret = pod_ref(v);
	return r;
}

int registry_container(struct lifecycle *lc, const char *id, struct container **ret, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	void *v = NULL;
	int r = by_prefix(lc->containers, "container", container_parked, id, &v, err);
	if (r == 0)
		*ret = container_ref(v);
	return r;
}

bool registry_park(struct lifecycle *lc, const char *id, bool parked)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	struct pod *p = map_get(lc->pods, id);
	struct container *c = map_get(lc->containers, id);
	bool *field = p ? &p->parked : c ? &c->parked : NULL, was = field && *field;
	if (field)
		*field = parked;
	return was;
}

bool registry_shows(struct lifecycle *lc, const char *id)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	const struct pod *p = map_get(lc->pods, id);
	const struct container *c = map_get(lc->containers, id);
	return (p && !p->parked) || (c && !c->parked);
}

struct pod *registry_whole_pod(struct lifecycle *lc, const char *id)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	struct pod *p = map_get(lc->pods, id);
	return p ? pod_ref(p) : NULL;
}

struct container *registry_whole_container(struct lifecycle *lc, const char *id)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	struct container *c = map_get(lc->containers, id);
	return c ? container_ref(c) : NULL;
}

struct container *registry_any_container(struct lifecycle *lc, const char *id)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	struct container *c = map_get(lc->containers, id);
	if (!c) {
		struct pod *p = map_get(lc->pods, id);
		c = p ? p->infra : NULL;
	}
	if (!c)
		c = map_get(lc->making, id);
	return c ? registry_any_ref(c) : NULL;
}

struct container *registry_any_ref(struct container *c)
{
	if (c->is_infra)
		(void)pod_ref(c->pod);
	return container_ref(c);
}

void registry_any_unref(struct container *c)
{
	struct pod *p = c && c->is_infra ? c->pod : NULL;
	container_unref(c);
	pod_unref(p);
}

int registry_making(struct lifecycle *lc, struct container *c, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	return map_set(lc->making, c->id, c) < 0 ? err_nomem(err) : 0;
}

void registry_made(struct lifecycle *lc, struct container *c)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	(void)map_del(lc->making, c->id);
}

int pod_containers(struct pod *p, struct container ***ret, size_t *ret_n, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	struct container **v = calloc(p->n_containers + 1, sizeof(*v));
	if (!v)
		return err_nomem(err);
	for (size_t i = 0; i < p->n_containers; i++)
		v[i] = container_ref(p->containers[i]);
	*ret = v;
	*ret_n = p->n_containers;
	return 0;
}

/* ---- wire caches ---- */

struct wire *wire_new(size_t n)
{
	struct wire *w = malloc(sizeof(*w) + n);
	if (!w)
		return NULL;
	w->refs = 1;
	w->n = n;
	return w;
}

void wire_unref(struct wire *w)
{
	if (w && atomic_fetch_sub(&w->refs, 1) == 1)
		free(w);
}

static struct wire *wire_get(struct wire_cache *c, pthread_mutex_t *m, uint64_t *ret_version)
{
	cleanup_unlock pthread_mutex_t *l = lock(m);
	*ret_version = c->version;
	if (!c->w || c->w_version != c->version)
		return NULL;
	atomic_fetch_add(&c->w->refs, 1);
	return c->w;
}

static void wire_put(struct wire_cache *c, pthread_mutex_t *m, uint64_t version, struct wire *w)
{
	cleanup_unlock pthread_mutex_t *l = lock(m);
	if (version != c->version)
		return; /* changed meanwhile */
	drop_wire(c);
	atomic_fetch_add(&w->refs, 1);
	c->w = w;
	c->w_version = version;
}

struct wire *pod_wire_get(struct pod *p, uint64_t *ret_version)
{
	return wire_get(&p->wire, &p->lock, ret_version);
}

void pod_wire_put(struct pod *p, uint64_t version, struct wire *w)
{
	wire_put(&p->wire, &p->lock, version, w);
}

struct wire *container_wire_get(struct container *c, uint64_t *ret_version)
{
	return wire_get(&c->wire, &c->lock, ret_version);
}

void container_wire_put(struct container *c, uint64_t version, struct wire *w)
{
	wire_put(&c->wire, &c->lock, version, w);
}
