/* stats.c: see stats.h. */
#include "core/lifecycle/stats.h"

#include <sys/statvfs.h>

#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define RATE_NS (SEC / 10)	/* looks that are closer together give no rate of their own */
#define HOST_NET_NS (SEC / 5)	/* pods of the host's network share one look at its interfaces */

/* ---- what is kept ---- */

void stats_keep_init(struct stats_keep *k)
{
	(void)pthread_mutex_init(&k->lock, NULL);
}

void stats_keep_end(struct stats_keep *k)
{
	struct cgroup_reader *cgroup;
	struct net_reader *net;

	(void)pthread_mutex_lock(&k->lock);
	cgroup = k->cgroup;
	net = k->net;
	k->cgroup = NULL;
	k->net = NULL;
	k->ended = true;
	(void)pthread_mutex_unlock(&k->lock);
	cgroup_reader_unref(cgroup);
	net_reader_unref(net);
}

void stats_keep_release(struct stats_keep *k)
{
	stats_keep_end(k);
	stats_sample_unref(k->last);
	(void)pthread_mutex_destroy(&k->lock);
}

static struct stats_sample *sample_ref(struct stats_sample *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void stats_sample_unref(struct stats_sample *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	cgroup_stats_release(&s->cg);
	free(s->ifs);
	free(s);
}

static struct stats_sample *sample_new(unsigned what)
{
	struct stats_sample *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->refs = 1;
	s->what = what;
	s->time_ns = now_real_ns();
	s->mono_ns = now_mono_ns();
	return s;
}

static void sample_unrefp(struct stats_sample **s)
{
	stats_sample_unref(*s);
}
#define cleanup_sample CLEANUP(sample_unrefp)

/* The last look, when it is recent enough and has all that is wanted: a reference, or NULL. */
static struct stats_sample *recent(struct stats_keep *k, unsigned what, int64_t max_age_ns)
{
	if (max_age_ns <= 0)
		return NULL;
	cleanup_unlock pthread_mutex_t *l = lock(&k->lock);
	struct stats_sample *s = k->last;
	return s && (s->what & what) == what && now_mono_ns() - s->mono_ns < max_age_ns ? sample_ref(s) : NULL;
}

static void rate(struct stats_keep *k, struct stats_sample *s)
{
	uint64_t cpu = s->cg.cpu_usage_ns;
	int64_t ns = s->mono_ns - k->base_ns;

	if (k->has_base && ns >= RATE_NS && cpu >= k->base_cpu) {
		k->nano_cores = (uint64_t)((double)(cpu - k->base_cpu) / (double)ns * 1e9);
		k->has_nano_cores = true;
	}
	if (!k->has_base || ns >= RATE_NS) {
		k->has_base = true;
		k->base_ns = s->mono_ns;
		k->base_cpu = cpu;
	}
	s->has_nano_cores = k->has_nano_cores;
	s->nano_cores = k->nano_cores;
}

/* Completes the look and remembers it. It is this thread's alone until here. */
static void remember(struct stats_keep *k, struct stats_sample *s, bool keep)
{
	struct stats_sample *old = NULL;

	(void)pthread_mutex_lock(&k->lock);
	if (s->cg.has_cpu)
		rate(k, s);
	if (keep && (!k->last || k->last->mono_ns <= s->mono_ns)) {
		old = k->last;
		k->last = sample_ref(s);
	}
	(void)pthread_mutex_unlock(&k->lock);
	stats_sample_unref(old);
}

static int64_t period_ns(const struct lifecycle *lc)
{
	const struct conf_stats *c = &lc->conf->stats;
	int64_t s = c->collection_period ? c->collection_period : c->stats_collection_period;

	return s * SEC;
}

struct stats_subject pod_subject(const struct pod *p)
{
	return (struct stats_subject){.id = p->id, .pod = &p->config, .image_name = "", .created_ns = p->created_ns};
}

struct stats_subject container_subject(const struct container *c)
{
	return (struct stats_subject){c->id, &c->pod->config, &c->config, c->image_name, c->created_ns};
}

/* ---- groups ---- */

/* A reference. */
static int cgroup_of(struct stats_keep *k, const char *path, struct cgroup_reader **ret, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&k->lock);

	if (k->ended)
		return err_set(err, CRIO_E_NOT_FOUND, "no cgroup '%s' any more", path);
	if (!k->cgroup)
		k->cgroup = cgroup_reader_new(path);
	if (!k->cgroup)
		return err_nomem(err);
	*ret = cgroup_reader_ref(k->cgroup);
	return 0;
}

static int read_cgroup(struct stats_keep *k, const char *path, unsigned what, struct cgroup_stats *ret, crio_err *err)
{
	struct cgroup_reader *r = NULL;
	int e = cgroup_of(k, path, &r, err);

	if (e < 0)
		return e;
	e = cgroup_reader_read(r, what, ret, err);
	cgroup_reader_unref(r);
	return e;
}

static bool alive(struct container *c)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	return c->state != CONTAINER_EXITED && !c->removed;
}

int container_sample(struct container *c, unsigned what, struct stats_sample **ret, crio_err *err)
{
	int64_t period = period_ns(c->lc);
	cleanup_sample struct stats_sample *s = NULL;
	cleanup_free char *path = NULL;
	int r;

	if (!alive(c)) {
		stats_keep_end(&c->stats);
		return err_set(err, CRIO_E_NOT_FOUND, "container %s has exited", c->id);
	}
	*ret = recent(&c->stats, what, period);
	if (*ret)
		return 0;
	s = sample_new(what);
	if (!s)
		return err_nomem(err);
	r = cgroup_fs_path(c->lc->systemd, c->pod->cgroup_parent, c->id, &path, err);
	if (!r)
		r = read_cgroup(&c->stats, path, what, &s->cg, err);
	if (r < 0)
		return r;
	s->has_cg = true;
	remember(&c->stats, s, period > 0);
	*ret = move_ptr(s);
	return 0;
}

/* ---- network ---- */

static int net_of(struct stats_keep *k, const char *path, struct net_reader **ret, crio_err *err)
{
	struct net_reader *made = NULL;
	int r;

	(void)pthread_mutex_lock(&k->lock);
	*ret = k->net ? net_reader_ref(k->net) : NULL;
	(void)pthread_mutex_unlock(&k->lock);
	if (*ret)
		return 0;
	r = net_reader_new(path, &made, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&k->lock);
	if (!k->ended && !k->net)
		k->net = net_reader_ref(made);
	(void)pthread_mutex_unlock(&k->lock);
	*ret = made;
	return 0;
}

static int read_net(struct stats_keep *k, const char *path, struct stats_sample *s, crio_err *err)
{
	struct net_reader *r = NULL;
	int e = net_of(k, path, &r, err);

	if (e < 0)
		return e;
	e = net_reader_read(r, &s->ifs, &s->n_ifs, err);
	net_reader_unref(r);
	s->has_net = e == 0;
	return e;
}

static int host_net(struct lifecycle *lc, struct stats_sample *s, crio_err *err)
{
	cleanup_sample struct stats_sample *h = recent(&lc->host_net, STATS_NET, HOST_NET_NS);
	int r = 0;

	if (!h) {
		h = sample_new(STATS_NET);
		r = h ? read_net(&lc->host_net, "", h, err) : err_nomem(err);
		if (r < 0)
			return r;
		remember(&lc->host_net, h, true);
	}
	s->ifs = calloc(h->n_ifs + 1, sizeof(*s->ifs));
	if (!s->ifs)
		return err_nomem(err);
	if (h->n_ifs)
		memcpy(s->ifs, h->ifs, h->n_ifs * sizeof(*s->ifs));
	s->n_ifs = h->n_ifs;
	s->has_net = true;
	return 0;
}

/* ---- pods ---- */

/* A pod that named no group shares the default one with others: its figures are those of its containers. */
static bool has_group(const struct pod *p)
{
	return !str_eq(p->cgroup_parent, p->lc->systemd ? "system.slice" : "/crio");
}

static void add_up(struct cgroup_stats *to, const struct cgroup_stats *s)
{
	to->cpu_usage_ns += s->cpu_usage_ns;
	to->memory_usage += s->memory_usage;
	to->memory_rss += s->memory_rss;
	to->memory_working_set += s->memory_working_set;
	to->page_faults += s->page_faults;
	to->major_page_faults += s->major_page_faults;
	to->pids += s->pids;
	to->has_cpu |= s->has_cpu;
	to->has_memory |= s->has_memory;
	to->has_pids |= s->has_pids;
}

static void sum_of(struct pod *p, const struct pod_sample *of, unsigned what, struct stats_sample *s)
{
	struct stats_sample *infra = NULL;

	for (size_t i = 0; i < of->n; i++)
		add_up(&s->cg, &of->samples[i]->cg);
	if (p->infra && container_sample(p->infra, what & CGROUP_ALL, &infra, NULL) == 0)
		add_up(&s->cg, &infra->cg);
	stats_sample_unref(infra);
	s->has_cg = of->n > 0 || infra;
}

/* What cannot be had is left out, and said to those who debug: a pod may be stopping right now. */
static void look_at_pod(struct pod *p, const struct pod_sample *of, struct stats_sample *s)
{
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *path = NULL;
	unsigned what = s->what & CGROUP_ALL;

	if (what && !has_group(p)) {
		sum_of(p, of, what, s);
	} else if (what) {
		int r = cgroup_parent_fs_path(p->lc->systemd, p->cgroup_parent, &path, &err);

		if (!r)
			r = read_cgroup(&p->stats, path, what, &s->cg, &err);
		s->has_cg = r == 0;
		if (r < 0)
			log_debug("Figures of pod sandbox %s: %s", p->id, err_text(&err));
		err_clear(&err);
	}
	if (!(s->what & STATS_NET))
		return;
	if ((*p->netns ? read_net(&p->stats, p->netns, s, &err) : host_net(p->lc, s, &err)) < 0)
		log_debug("Network figures of pod sandbox %s: %s", p->id, err_text(&err));
}

static int look_at_containers(struct pod *p, unsigned what, struct pod_sample *ret, crio_err *err)
{
	struct container **v = NULL;
	size_t n = 0;
	int r = pod_containers(p, &v, &n, err);

	if (r < 0)
		return r;
	ret->containers = v;
	ret->samples = calloc(n + 1, sizeof(struct stats_sample *));
	for (size_t i = 0; i < n; i++) {
		if (ret->samples && container_sample(v[i], what, &ret->samples[ret->n], NULL) == 0)
			v[ret->n++] = v[i];
		else
			container_unref(v[i]);
	}
	return ret->samples ? 0 : err_nomem(err);
}

static int fill(struct pod *p, unsigned pod_what, unsigned container_what, struct pod_sample *to, crio_err *err)
{
	/* A pod without a group of its own adds its containers up. */
	unsigned sum = has_group(p) ? 0 : pod_what & (CGROUP_BASIC | CGROUP_PIDS);
	int64_t period = period_ns(p->lc);
	int r = 0;

	if (pod_state_of(p) != POD_READY) {
		to->pod = sample_new(pod_what);
		return to->pod ? 0 : err_nomem(err);
	}
	if (container_what || sum)
		r = look_at_containers(p, container_what | sum, to, err);
	if (r < 0)
		return r;
	to->pod = recent(&p->stats, pod_what, period);
	if (to->pod)
		return 0;
	to->pod = sample_new(pod_what);
	if (!to->pod)
		return err_nomem(err);
	look_at_pod(p, to, to->pod);
	remember(&p->stats, to->pod, period > 0);
	return 0;
}

int pod_sample_get(struct pod *p, unsigned pod_what, unsigned container_what, struct pod_sample *ret, crio_err *err)
{
	struct pod_sample s = {0};
	int r = fill(p, pod_what, container_what, &s, err);

	if (r < 0)
		pod_sample_release(&s);
	else
		*ret = s;
	return r;
}

void pod_sample_release(struct pod_sample *s)
{
	stats_sample_unref(s->pod);
	for (size_t i = 0; i < s->n; i++) {
		container_unref(s->containers[i]);
		stats_sample_unref(s->samples[i]);
	}
	free(s->containers);
	free(s->samples);
	memset(s, 0, sizeof(*s));
}

/* ---- what containers write ---- */

struct layer_usage container_layer_usage(struct container *c)
{
	struct layer_usage u;
	bool want;

	(void)pthread_mutex_lock(&c->stats.lock);
	u = c->stats.layer;
	want = !c->stats.layer_queued && now_mono_ns() >= c->stats.layer_due;
	(void)pthread_mutex_unlock(&c->stats.lock);
	if (want)
		layer_meter_want(c);
	return u;
}

const char *container_rootfs(const struct container *c)
{
	return c->rootfs;
}

/* Asked of the store's directory, where writable layers are, and not of the container's mount, which may hang. */
bool container_fs_sizes(const struct container *c, struct fs_sizes *ret)
{
	struct statvfs s;

	if (!c->pod->store || statvfs(store_root(c->pod->store), &s) < 0)
		return false;
	*ret = (struct fs_sizes){(uint64_t)s.f_blocks * s.f_frsize, s.f_files, s.f_ffree};
	return true;
}
