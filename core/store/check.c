/* check.c: do the records and what is on disk agree? */
#include "core/store/priv.h"

struct checking {
	struct store *s;
	crio_call *call;
	struct map *trees; /* ids that the driver has */
	struct strv *report, images, containers;
	bool repair;
};

static int found(struct checking *c, struct strv *list, const char *id, const char *what, crio_err *err)
{
	if (strv_addf(c->report, "%s", what) < 0 || (list && !strv_has(list, id) && strv_add(list, id) < 0))
		return err_nomem(err);
	return 0;
}

static int list_trees(struct checking *c, crio_err *err)
{
	struct crio_storage_id_args args = {.size = sizeof(args), .id = "", .mount_label = ""};
	struct crio_storage_strs_out out = {.size = sizeof(out)};
	int r = plugin_storage_list(c->s->inst, c->call, &args, &out, err);
	for (size_t i = 0; !r && i < out.v.n; i++)
		if (map_set(c->trees, out.v.v[i], c) < 0)
			return err_nomem(err);
	return r;
}

/* A layer is bad when it or one of its parents is incomplete or has no tree. */
static bool layer_bad(struct checking *c, const struct set *layers, const char *id)
{
	for (size_t depth = 0; *id && depth <= STORE_DEPTH_MAX; depth++) {
		const struct rec *r = set_get(layers, id);
		if (!r || r->u.layer.incomplete || !map_get(c->trees, id))
			return true;
		id = r->u.layer.parent;
	}
	return *id != '\0';
}

static int check_layers(struct checking *c, const struct set *layers, crio_err *err)
{
	for (size_t i = 0; i < layers->pub.n; i++) {
		const struct store_layer *l = layers->pub.v[i];
		cleanup_free char *text = NULL;
		if (!map_get(c->trees, l->id))
			text = path_fmt("layer %s is recorded but has no tree", l->id);
		else if (l->incomplete)
			text = path_fmt("layer %s is incomplete", l->id);
		else if (*l->parent && !set_get(layers, l->parent))
			text = path_fmt("layer %s lacks its parent %s", l->id, l->parent);
		else
			continue;
		int r = text ? found(c, NULL, l->id, text, err) : err_nomem(err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_images(struct checking *c, const struct set *layers, const struct set *images, crio_err *err)
{
	for (size_t i = 0; i < images->pub.n; i++) {
		const struct store_image *im = images->pub.v[i];
		int r = call_check(c->call, "check the store", err);
		if (!r && *im->layer && layer_bad(c, layers, im->layer)) {
			cleanup_free char *text = path_fmt("image %s lacks a layer", im->id);
			r = text ? found(c, &c->images, im->id, text, err) : err_nomem(err);
		}
		for (size_t k = 0; !r && k < im->n_big; k++) {
			cleanup_free char *data = NULL;
			cleanup_err crio_err why = ERR_INIT;
			if (store_image_big_get(c->s, im->id, im->big[k].key, STORE_BIG_MAX, &data, NULL, &why) < 0)
				r = found(c, &c->images, im->id, err_text(&why), err);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_containers(struct checking *c, const struct set *layers, const struct set *ctrs, crio_err *err)
{
	for (size_t i = 0; i < ctrs->pub.n; i++) {
		const struct store_container *k = ctrs->pub.v[i];
		if (!layer_bad(c, layers, k->layer))
			continue;
		cleanup_free char *text = path_fmt("container %s lacks a layer", k->id);
		int r = text ? found(c, &c->containers, k->id, text, err) : err_nomem(err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Trees without a record: reported, and removed unless somebody records them meanwhile. */
static int check_orphans(struct checking *c, crio_err *err)
{
	struct table *t = &c->s->t[T_LAYERS];
	size_t it = 0;
	const char *id;
	void *v;

	while (map_next(c->trees, &it, &id, &v)) {
		cleanup_rec struct rec *known = table_find(t, id);
		cleanup_free char *text = known ? NULL : path_fmt("tree %s has no record", id);
		if (known || journal_age_ns(c->s, 'l', id) >= 0)
			continue; /* the journal looks after it */
		int r = text ? found(c, NULL, id, text, err) : err_nomem(err);
		if (r < 0 || !c->repair || t->damaged)
			return r;
		r = table_lock(t, c->call, true, err);
		if (r < 0)
			return r;
		cleanup_rec struct rec *now = table_find(t, id);
		if (!now)
			r = plugin_layer_remove(c->s, c->call, id, err);
		table_unlock(t);
		if (r < 0)
			return r;
	}
	return 0;
}

static int repair(struct checking *c, crio_err *err)
{
	int r = 0;
	for (size_t i = 0; !r && i < c->containers.n; i++)
		r = store_container_delete(c->s, c->call, c->containers.v[i], err);
	for (size_t i = 0; !r && i < c->images.n; i++) {
		cleanup_err crio_err why = ERR_INIT;
		r = store_image_delete(c->s, c->call, c->images.v[i], &why);
		if (r == CRIO_E_PRECONDITION) /* a container that works still uses it */
			r = found(c, NULL, c->images.v[i], err_text(&why), err);
		else if (r < 0)
			(void)err_move(err, &why);
	}
	return r;
}

int store_check(struct store *s, crio_call *call, bool do_repair, struct strv *ret, crio_err *err)
{
	cleanup_map struct map *trees = map_new();
	struct checking c = {.s = s, .call = call, .trees = trees, .report = ret, .repair = do_repair && !s->read_only};
	int r = trees ? store_refresh(s, call, err) : err_nomem(err);
	if (r < 0)
		return r;
	cleanup_set struct set *layers = table_get(&s->t[T_LAYERS]), *images = table_get(&s->t[T_IMAGES]);
	cleanup_set struct set *ctrs = table_get(&s->t[T_CONTAINERS]);
	r = list_trees(&c, err);
	if (!r)
		r = check_layers(&c, layers, err);
	if (!r)
		r = check_images(&c, layers, images, err);
	if (!r)
		r = check_containers(&c, layers, ctrs, err);
	if (!r && c.repair)
		r = repair(&c, err);
	if (!r)
		r = check_orphans(&c, err);
	strv_release(&c.images);
	strv_release(&c.containers);
	return r < 0 ? err_wrap(err, "check store %s", s->root) : 0;
}
