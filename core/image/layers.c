/*
 * layers.c: an image's layers into a store. What the store has is skipped; what any store has is streamed through
 * tar-split; the rest is downloaded and unpacked in one pass. Layers are worked on side by side and recorded from the
 * bottom up.
 *
 * No deadlock between pulls that share layers: who waits for a layer that another pull makes holds no layer on the same
 * thread, and a layer that is held waits only for those below it.
 */
#include <string.h>

#include "core/image/images_priv.h"
#include "core/unpack/assemble.h"
#include "core/unpack/unpack.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/meter.h"

#define PARALLEL 3

enum layer_state { LAYER_MISSING = 0, LAYER_DONE };

struct fetch {
	const struct layers_args *a;
	crio_call *call;      /* cancelled at the first failure */
	pthread_mutex_t lock; /* guards next, state, code, error */
	pthread_cond_t changed;
	size_t n, next;
	enum layer_state *state;
	char (*ids)[65];
	int code; /* the first failure */
	struct crio_err error;
};

static void count(struct images *is, uint64_t *field, uint64_t by)
{
	cleanup_unlock pthread_mutex_t *l = lock(&is->lock);

	*field += by;
}

/* One that need not be transferred. */
static void count_reused(struct fetch *f, size_t i)
{
	const struct descriptor *d = f->a->blobs ? &f->a->blobs[i] : NULL;

	count(f->a->is, &f->a->is->stats.layers_reused, 1);
	if (!d)
		return;
	count(f->a->is, &f->a->is->stats.bytes_skipped, (uint64_t)d->size);
	cleanup_free char *layer = path_fmt("%s@%s", f->a->name, d->digest);
	if (layer)
		meter_add_for(METER_LAYER_REUSE, 1, layer, NULL);
	meter_add_for(METER_PULL_SKIPPED_BYTES, (uint64_t)d->size, meter_size_label((uint64_t)d->size), NULL);
}

static void progress(void *arg, size_t n)
{
	struct fetch *f = arg;

	if (f->a->last_progress_ns)
		*f->a->last_progress_ns = now_mono_ns();
	count(f->a->is, &f->a->is->stats.bytes_fetched, n);
}

/* Waits until the layer below is recorded. */
static int wait_below(struct fetch *f, size_t i, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&f->lock);

	while (i && f->state[i - 1] != LAYER_DONE) {
		struct timespec until;
		int r = call_check(f->call, "layer", err);

		if (r < 0)
			return r;
		(void)clock_gettime(CLOCK_REALTIME, &until); /* cancelling does not signal `changed` */
		until.tv_nsec += 200000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		(void)pthread_cond_timedwait(&f->changed, &f->lock, &until);
	}
	return 0;
}

/* Unpacks src into a layer begun, and records it. Frees nl. */
static int fill_layer(struct fetch *f, size_t i, struct store_new_layer *nl, struct unpack_opts *o,
		      const struct store_layer *like, crio_err *err)
{
	cleanup_unpack_result struct unpack_result res = {0};
	struct store_layer_info info = {0};
	int r;

	o->dirfd = store_new_layer_dirfd(nl);
	o->whiteout = store_new_layer_whiteout(nl);
	o->tar_split_fd = store_new_layer_tar_split_fd(nl);
	o->diff_id = f->a->diff_ids->v[i];
	r = unpack_layer(f->call, o, &res, err);
	if (r == 0)
		r = wait_below(f, i, err);
	if (r < 0) {
		store_layer_abort(nl);
		return r;
	}
	info.diff_digest = res.diff_id;
	info.diff_size = (int64_t)res.diff_size;
	info.compressed_digest = like ? like->compressed_digest : res.digest;
	info.compressed_size = like ? like->compressed_size : (int64_t)res.size;
	info.compression = like ? like->compression : (int)res.compression;
	info.uids = res.uids;
	info.n_uids = res.n_uids;
	info.gids = res.gids;
	info.n_gids = res.n_gids;
	return store_layer_commit(nl, f->call, &info, NULL, err);
}

/* From a layer of the same content in `from`. */
static int copy_layer(struct fetch *f, size_t i, struct store *from, const struct store_layer *like,
		      struct store_new_layer *nl, crio_err *err)
{
	struct unpack_opts o = {.size = -1, .media_type = ""};
	cleanup_close int tree = -1, split = -1;
	struct assembly *as = NULL;
	int r = store_layer_tree_open(from, f->call, like->id, &tree, err);

	if (r == 0)
		r = store_layer_tar_split_open(from, like->id, &split, err);
	if (r == 0)
		r = assembly_new(tree, split, &as, err);
	if (r < 0) {
		store_layer_abort(nl);
		return r;
	}
	o.src.read = assembly_read;
	o.src.arg = as;
	r = fill_layer(f, i, nl, &o, like, err);
	assembly_free(as);
	return r;
}

static int download_layer(struct fetch *f, size_t i, struct store_new_layer *nl, crio_err *err)
{
	const struct descriptor *d = &f->a->blobs[i];
	cleanup_blob struct registry_blob *blob = NULL;
	struct unpack_opts o = {.size = d->size, .media_type = d->media_type, .digest = d->digest};
	int r = registry_blob_open(f->a->session, f->call, d, progress, f, &blob, err);

	if (r < 0) {
		store_layer_abort(nl);
		return r;
	}
	o.src.read = registry_blob_read;
	o.src.arg = blob;
	r = fill_layer(f, i, nl, &o, NULL, err);
	if (r < 0)
		return err_wrap(err, "layer %s", d->digest);
	meter_size((uint64_t)d->size);
	meter_add_for(METER_PULL_BYTES, (uint64_t)d->size, d->media_type, meter_size_label((uint64_t)d->size));
	return 0;
}

/* CRIO_E_EXISTS: it is there. */
static int begin(struct fetch *f, size_t i, struct store_new_layer **ret, crio_err *err)
{
	struct store_begin_args b = {.parent = i ? f->ids[i - 1] : "", .diff_digest = f->a->diff_ids->v[i]};

	return store_layer_begin(f->a->store, f->call, &b, ret, err);
}

/* A copy from some store; NOT_FOUND when none has it or it cannot be read back. */
static int try_copy(struct fetch *f, size_t i, crio_err *err)
{
	struct store *s;

	for (size_t k = 0; (s = images_store_at(f->a->is, k)); k++) {
		cleanup_layer struct store_layer *like = store_layer_find_diff(s, f->a->diff_ids->v[i]);
		struct store_new_layer *nl;
		struct crio_err e = ERR_INIT;
		int r;

		if (!like)
			continue;
		r = begin(f, i, &nl, err);
		if (r < 0)
			return r;
		r = copy_layer(f, i, s, like, nl, &e);
		if (r == 0)
			return 0;
		if (call_over(f->call))
			return err_move(err, &e);
		log_debug("Layer %s of store %s cannot be copied: %s", like->id, store_root(s), err_text(&e));
		err_clear(&e);
	}
	return err_set(err, CRIO_E_NOT_FOUND, "no store has layer %s in a form that can be read back",
		       f->a->diff_ids->v[i]);
}

static int one_layer(struct fetch *f, size_t i, crio_err *err)
{
	struct store_new_layer *nl;
	struct crio_err e = ERR_INIT;
	int r = try_copy(f, i, &e);

	if (r == 0 || r == CRIO_E_EXISTS) {
		err_clear(&e);
		count_reused(f, i);
		return 0;
	}
	if (r != CRIO_E_NOT_FOUND || !f->a->blobs)
		return err_move(err, &e);
	err_clear(&e);
	r = begin(f, i, &nl, err);
	if (r == CRIO_E_EXISTS) {
		err_clear(err);
		return 0;
	}
	return r < 0 ? r : download_layer(f, i, nl, err);
}

static void finished(struct fetch *f, size_t i, int r, struct crio_err *e)
{
	bool first = false;

	(void)pthread_mutex_lock(&f->lock);
	if (r == 0) {
		f->state[i] = LAYER_DONE;
	} else if (!f->code) {
		f->code = r;
		(void)err_move(&f->error, e);
		first = true;
	}
	(void)pthread_cond_broadcast(&f->changed);
	(void)pthread_mutex_unlock(&f->lock);
	if (first)
		call_cancel(f->call);
	err_clear(e);
}

/* Takes layers from the bottom up until there are none. Run by the caller and by its helpers. */
static void *work(void *arg)
{
	struct fetch *f = arg;

	for (;;) {
		struct crio_err e = ERR_INIT;
		size_t i;
		int r;

		(void)pthread_mutex_lock(&f->lock);
		while (f->next < f->n && f->state[f->next] == LAYER_DONE)
			f->next++;
		i = f->code ? f->n : f->next;
		if (i < f->n)
			f->next++;
		(void)pthread_mutex_unlock(&f->lock);
		if (i >= f->n)
			return NULL;
		r = one_layer(f, i, &e);
		finished(f, i, r, &e);
	}
}

/* What is there already, and the ids of all. */
static int look(struct fetch *f, size_t *ret_missing, crio_err *err)
{
	const char *parent = "";

	*ret_missing = 0;
	for (size_t i = 0; i < f->n; i++) {
		cleanup_layer struct store_layer *l =
		    *ret_missing ? NULL : store_layer_find(f->a->store, parent, f->a->diff_ids->v[i]);
		int r = 0;

		if (l) {
			(void)snprintf(f->ids[i], sizeof(f->ids[i]), "%s", l->id);
			f->state[i] = LAYER_DONE;
			count_reused(f, i);
		} else {
			r = store_layer_id(parent, f->a->diff_ids->v[i], f->ids[i], err);
			++*ret_missing;
		}
		if (r < 0)
			return r;
		parent = f->ids[i];
	}
	return 0;
}

static void run(struct fetch *f, size_t missing)
{
	pthread_t helpers[PARALLEL - 1];
	size_t n = 0;

	/* Where a layer is a snapshot of the one below it, there is nothing to do side by side. */
	while (n < PARALLEL - 1 && n + 1 < missing && store_layers_independent(f->a->store) &&
	       pthread_create(&helpers[n], NULL, work, f) == 0)
		n++;
	(void)work(f);
	while (n)
		(void)pthread_join(helpers[--n], NULL);
}

int layers_fetch(const struct layers_args *a, crio_call *call, char ret_top[65], crio_err *err)
{
	cleanup_call crio_call *sub = call_sub(call, 0);
	size_t n = a->diff_ids->n, missing = 0;
	cleanup_free enum layer_state *state = calloc(n ? n : 1, sizeof(*state));
	cleanup_free char(*ids)[65] = calloc(n ? n : 1, sizeof(*ids));
	struct fetch f = {.a = a, .call = sub, .n = n, .state = state, .ids = ids};
	int r;

	if (!sub || !state || !ids)
		return err_nomem(err);
	(void)pthread_mutex_init(&f.lock, NULL);
	(void)pthread_cond_init(&f.changed, NULL);
	r = look(&f, &missing, err);
	if (r == 0 && missing)
		run(&f, missing);
	if (r == 0 && f.code) {
		/* The call's own end is told as such, not as a layer's. */
		r = call_check(call, "pull", err);
		if (r == 0)
			r = err_move(err, &f.error);
	}
	err_clear(&f.error);
	(void)pthread_cond_destroy(&f.changed);
	(void)pthread_mutex_destroy(&f.lock);
	if (r < 0)
		return r;
	(void)snprintf(ret_top, 65, "%s", n ? ids[n - 1] : "");
	return 0;
}
