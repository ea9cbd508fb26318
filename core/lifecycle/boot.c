/*
 * boot.c: internal_wipe. After a reboot nothing of any pod runs, and the kubelet makes new ones: the old ones are removed at the
 * start, their networks taken down, and images stay. After an upgrade to another minor version their images go too. What cannot be
 * removed yet (a network that is not up yet, most often) is tried again until it can.
 */
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define FIRST_NS (20 * SEC) /* for all, before the daemon serves */
#define AGAIN_NS (2 * SEC)

static void add_image(struct strv *v, const char *id)
{
	if (*id && !strv_has(v, id))
		(void)strv_add(v, id); /* without memory an image is kept */
}

static void images_of(struct pod *p, struct strv *v)
{
	struct container **c = NULL;
	size_t n = 0;
	if (p->infra)
		add_image(v, p->infra->image_id);
	if (pod_containers(p, &c, &n, NULL) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		add_image(v, c[i]->image_id);
		container_unref(c[i]);
	}
	free(c);
}

/* References to the pods that are to go. */
static size_t wiping(struct lifecycle *lc, struct pod ***ret)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	struct pod **v = calloc(lc->n_pods + 1, sizeof(*v));
	size_t n = 0;
	for (size_t i = 0; v && i < lc->n_pods; i++)
		if (lc->pod_order[i]->wiping)
			v[n++] = pod_ref(lc->pod_order[i]);
	*ret = v;
	return n;
}

/* Returns how many there still are. */
static size_t wipe_once(struct lifecycle *lc, crio_call *call, bool quiet)
{
	struct pod **v = NULL;
	size_t n = wiping(lc, &v), left = 0;
	for (size_t i = 0; i < n; i++) {
		cleanup_err crio_err err = ERR_INIT;
		int r = call_check(call, "wipe", &err);
		if (r == 0)
			r = pod_remove_parked(lc, call, v[i]->id, &err);
		left += r < 0;
		if (r < 0 && !quiet)
			log_warn("Pod sandbox %s cannot be removed yet, which is tried again: %s", v[i]->id, err_text(&err));
		pod_unref(v[i]);
	}
	free(v);
	return left;
}

static void again_later(struct lifecycle *lc);

static void again_job(void *arg)
{
	struct lifecycle *lc = arg;
	cleanup_call crio_call *call = call_new("Wipe", now_mono_ns() + CLEANUP_NS);
	if (!call || wipe_once(lc, call, true))
		again_later(lc);
}

static void on_timer(void *arg)
{
	struct lifecycle *lc = arg;
	(void)pthread_mutex_lock(&lc->lock);
	lc->wipe_timer = 0;
	bool stopping = lc->stopping;
	(void)pthread_mutex_unlock(&lc->lock);
	if (!stopping && workers_run(lc->workers, WORK_TEARDOWN, again_job, lc, NULL) < 0)
		again_later(lc);
}

static void again_later(struct lifecycle *lc)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	if (lc->wipe_timer || lc->stopping)
		return;
	int id = loop_timer(lc->loop, AGAIN_NS, on_timer, lc, NULL);
	lc->wipe_timer = id > 0 ? id : 0;
}

static size_t choose(struct lifecycle *lc, bool all, struct strv *images)
{
	struct pod **v = NULL;
	size_t n = 0;
	(void)pthread_mutex_lock(&lc->lock);
	for (size_t i = 0; i < lc->n_pods; i++)
		lc->pod_order[i]->wiping = all || lc->pod_order[i]->dead;
	(void)pthread_mutex_unlock(&lc->lock);
	n = wiping(lc, &v);
	for (size_t i = 0; i < n; i++) {
		images_of(v[i], images);
		pod_unref(v[i]);
	}
	free(v);
	return n;
}

void wipe_pods(struct lifecycle *lc, bool rebooted, bool upgraded, crio_call *call)
{
	if (!lc->conf->crio.internal_wipe)
		return;
	cleanup_strv struct strv images = STRV_INIT;
	size_t n = choose(lc, rebooted || upgraded, &images);
	if (n) {
		cleanup_call crio_call *sub = call_sub(call, FIRST_NS);
		log_info("Wiping %zu pod sandboxes: %s", n, upgraded ? "crio was upgraded" : rebooted ? "the node was rebooted" : "nothing of them runs");
		if (!sub || wipe_once(lc, sub, false))
			again_later(lc);
	}
	for (size_t i = 0; upgraded && i < images.n; i++) {
		cleanup_err crio_err err = ERR_INIT;
		log_info("Wiping image %s", images.v[i]);
		if (images_remove(lc->images, call, images.v[i], &err) < 0)
			log_warn("Wipe image %s: %s", images.v[i], err_text(&err));
	}
}
