/* copy.c: an image's first use on another driver: its layers through tar-split from a store that has them. */
#include <string.h>

#include "core/image/images_priv.h"

/* The record of the image in `to`, made from the one in `from`. */
static int copy_record(struct images *is, crio_call *call, struct store *from, const struct store_image *si,
		       struct store *to, const char *top, crio_err *err)
{
	cleanup_free struct store_big_data *big = calloc(si->n_big ? si->n_big : 1, sizeof(*big));
	struct store_image_args a = {
	    .id = si->id, .digest = si->digest, .layer = top, .metadata = si->metadata, .names = si->names};
	int r = big ? 0 : err_nomem(err);

	for (size_t i = 0; r == 0 && i < si->n_big; i++) {
		char *text;
		size_t n;

		r = store_image_big_get(from, si->id, si->big[i].key, MANIFEST_MAX, &text, &n, err);
		if (r == 0)
			big[a.n_big++] = (struct store_big_data){si->big[i].key, text, n};
	}
	a.big = big;
	a.created_ns = si->created_ns;
	if (r == 0)
		r = images_record(is, call, to, &a, err);
	for (size_t i = 0; i < a.n_big; i++)
		free((void *)(uintptr_t)big[i].p);
	return r;
}

static int copy_image(struct images *is, crio_call *call, struct store *from, struct store *to, const char *id,
		      char ret_layer[65], crio_err *err)
{
	CLEANUP(store_image_unrefp) struct store_image *si = store_image_get(from, id);
	cleanup_strv struct strv layers = STRV_INIT, diff_ids = STRV_INIT;
	struct layers_args la = {.is = is, .store = to, .diff_ids = &diff_ids};
	int r;

	if (!si)
		return err_set(err, CRIO_E_NOT_FOUND, "image %s", id);
	r = store_image_layers(from, si, &layers, err);
	for (size_t i = 0; r == 0 && i < layers.n; i++) {
		cleanup_layer struct store_layer *l = store_layer_get(from, layers.v[i]);

		if (!l || !*l->diff_digest)
			r = err_set(err, CRIO_E_CORRUPT, "layer %s of image %s has no digest", layers.v[i], id);
		else if (strv_add(&diff_ids, l->diff_digest) < 0)
			r = err_nomem(err);
	}
	if (r == 0)
		r = layers_fetch(&la, call, ret_layer, err);
	return r < 0 ? r : copy_record(is, call, from, si, to, ret_layer, err);
}

int images_container_layer(struct images *is, crio_call *call, const struct image *im, const char *driver,
			   struct store **ret_store, char ret_layer[65], crio_err *err)
{
	CLEANUP(store_image_unrefp) struct store_image *si = NULL;
	struct store *to, *from;
	int r = images_store(is, call, driver, &to, err);

	if (r < 0)
		return r;
	si = store_image_get(to, im->id);
	if (si) {
		(void)snprintf(ret_layer, 65, "%s", si->layer);
		*ret_store = to;
		return 0;
	}
	r = err_set(err, CRIO_E_NOT_FOUND, "image %s", im->id);
	for (size_t i = 0; r < 0 && (from = images_store_at(is, i)); i++) {
		CLEANUP(store_image_unrefp) struct store_image *there = store_image_get(from, im->id);

		if (!there)
			continue;
		err_clear(err);
		r = copy_image(is, call, from, to, im->id, ret_layer, err);
		if (r < 0 && call_over(call))
			break;
	}
	if (r < 0)
		return err_wrap(err, "copy image %s to the %s store", im->id, store_driver(to));
	*ret_store = to;
	return 0;
}
