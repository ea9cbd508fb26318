/* record.c: one record of layers.json, images.json or containers.json. Members we do not know are kept as they are. */
#include "core/store/priv.h"

#include "core/util/digest.h"
#include "core/util/json.h"

static int strings(const struct json_object *arr, const char **mem, struct crio_strs *ret)
{
	size_t n = arr ? json_object_array_length(arr) : 0;
	for (size_t i = 0; i < n; i++) {
		struct json_object *m = json_object_array_get_idx(arr, i);
		if (!json_object_is_type(m, json_type_string))
			return CRIO_E_CORRUPT;
		mem[i] = json_object_get_string(m);
	}
	*ret = (struct crio_strs){mem, n};
	return 0;
}

static int names_init(struct rec *r)
{
	struct json_object *names = json_arr(r->o, "names"), *hist = json_arr(r->o, "names-history");
	size_t n = names ? json_object_array_length(names) : 0, h = hist ? json_object_array_length(hist) : 0;

	r->strv = calloc(n + h + 1, sizeof(*r->strv));
	if (!r->strv)
		return CRIO_E_NOMEM;
	int code = strings(names, r->strv, &r->names);
	return code < 0 ? code : strings(hist, r->strv + n, &r->history);
}

static int layer_init(struct rec *r)
{
	struct store_layer *l = &r->u.layer;
	*l = (struct store_layer){
	    .id = r->id,
	    .parent = json_str(r->o, "parent"),
	    .mount_label = json_str(r->o, "mountlabel"),
	    .compressed_digest = json_str(r->o, "compressed-diff-digest"),
	    .diff_digest = json_str(r->o, "diff-digest"),
	    .compressed_size = json_int(r->o, "compressed-size", -1),
	    .diff_size = json_int(r->o, "diff-size", *json_str(r->o, "diff-digest") ? 0 : -1),
	    .compression = (int)json_int(r->o, "compression", 0),
	    .incomplete = json_flag(json_obj(r->o, "flags"), "incomplete", false),
	    .created_ns = r->created_ns,
	};
	if (*l->parent && (!str_is_hex(l->parent, 64) || str_eq(l->parent, l->id)))
		return CRIO_E_CORRUPT;
	return 0;
}

static int image_init(struct rec *r, bool read_only)
{
	struct store_image *i = &r->u.image;
	struct json_object *names = json_arr(r->o, "big-data-names");
	const struct json_object *sizes = json_obj(r->o, "big-data-sizes"),
				 *digests = json_obj(r->o, "big-data-digests");
	size_t n = names ? json_object_array_length(names) : 0;

	r->big = calloc(n + 1, sizeof(*r->big));
	if (!r->big)
		return CRIO_E_NOMEM;
	for (size_t k = 0; k < n; k++) {
		struct json_object *m = json_object_array_get_idx(names, k);
		if (!json_object_is_type(m, json_type_string))
			return CRIO_E_CORRUPT;
		const char *key = json_object_get_string(m);
		r->big[k] = (struct store_big){key, json_int(sizes, key, 0), json_str(digests, key)};
	}
	*i = (struct store_image){
	    .id = r->id,
	    .digest = json_str(r->o, "digest"),
	    .layer = json_str(r->o, "layer"),
	    .metadata = json_str(r->o, "metadata"),
	    .names = r->names,
	    .names_history = r->history,
	    .big = r->big,
	    .n_big = n,
	    .created_ns = r->created_ns,
	    .read_only = read_only,
	};
	return *i->layer && !str_is_hex(i->layer, 64) ? CRIO_E_CORRUPT : 0;
}

static int container_init(struct rec *r)
{
	struct store_container *c = &r->u.ctr;
	*c = (struct store_container){
	    .id = r->id,
	    .image = json_str(r->o, "image"),
	    .layer = json_str(r->o, "layer"),
	    .metadata = json_str(r->o, "metadata"),
	    .mount_label = json_str(json_obj(r->o, "flags"), "MountLabel"),
	    .process_label = json_str(json_obj(r->o, "flags"), "ProcessLabel"),
	    .names = r->names,
	    .created_ns = r->created_ns,
	};
	int code = id_map_from_json(json_get(r->o, "uidmap"), ID_MAP_STORAGE, &c->maps.uids);
	if (!code)
		code = id_map_from_json(json_get(r->o, "gidmap"), ID_MAP_STORAGE, &c->maps.gids);
	return code < 0 || str_is_hex(c->layer, 64) ? code : CRIO_E_CORRUPT;
}

static int rec_init(struct rec *r, bool read_only)
{
	if (!json_object_is_type(r->o, json_type_object) || !str_is_hex(json_str(r->o, "id"), 64))
		return CRIO_E_CORRUPT;
	r->id = (char *)(uintptr_t)json_str(r->o, "id");
	if (!time_parse(json_str(r->o, "created"), &r->created_ns))
		r->created_ns = 0;
	int code = names_init(r);
	if (code < 0)
		return code;
	switch (r->kind) {
	case T_LAYERS:
		code = layer_init(r);
		break;
	case T_IMAGES:
		code = image_init(r, read_only);
		break;
	default:
		code = container_init(r);
	}
	if (code < 0)
		return code;
	r->text = json_text(r->o);
	return r->text ? 0 : CRIO_E_NOMEM;
}

int rec_new(enum table_kind kind, struct json_object *o, bool is_volatile, bool read_only, struct rec **ret,
	    crio_err *err)
{
	struct rec *r = calloc(1, sizeof(*r));
	if (!r) {
		json_object_put(o);
		return err_nomem(err);
	}
	atomic_init(&r->refs, 1);
	r->kind = kind;
	r->is_volatile = is_volatile;
	r->o = o;
	int code = rec_init(r, read_only);
	if (code < 0) {
		rec_unref(r);
		return code == CRIO_E_NOMEM ? err_nomem(err)
					    : err_set(err, code, "a record without a valid id, layer or name list");
	}
	*ret = r;
	return 0;
}

struct rec *rec_ref(struct rec *r)
{
	if (r)
		atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

void rec_unref(struct rec *r)
{
	if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (r->kind == T_CONTAINERS)
		id_maps_release(&r->u.ctr.maps);
	json_object_put(r->o);
	free(r->text);
	free(r->strv);
	free(r->big);
	free(r);
}

struct json_object *rec_copy(const struct rec *r)
{
	struct json_object *o = NULL;
	return json_object_deep_copy(r->o, &o, NULL) < 0 ? NULL : o;
}

struct store_layer *store_layer_ref(struct store_layer *l)
{
	return &rec_ref(rec_of(l))->u.layer;
}

void store_layer_unref(struct store_layer *l)
{
	if (l)
		rec_unref(rec_of(l));
}

struct store_image *store_image_ref(struct store_image *i)
{
	return &rec_ref(rec_of(i))->u.image;
}

void store_image_unref(struct store_image *i)
{
	if (i)
		rec_unref(rec_of(i));
}

struct store_container *store_container_ref(struct store_container *c)
{
	return &rec_ref(rec_of(c))->u.ctr;
}

void store_container_unref(struct store_container *c)
{
	if (c)
		rec_unref(rec_of(c));
}

/* ---- sets ---- */

struct set *set_ref(struct set *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void set_unref(struct set *t)
{
	if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < t->pub.n; i++)
		rec_unref(set_rec(t, i));
	free(t->pub.v);
	free(t->by_id);
	free(t);
}

struct rec *set_get(const struct set *t, const char *id)
{
	size_t lo = 0, hi = t->pub.n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = strcmp(t->by_id[mid]->id, id);
		if (!c)
			return t->by_id[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

void store_images_unref(const struct store_images *l)
{
	if (l)
		set_unref((struct set *)(uintptr_t)l);
}

void store_containers_unref(const struct store_containers *l)
{
	if (l)
		set_unref((struct set *)(uintptr_t)l);
}

const struct store_images *store_images_get(struct store *s)
{
	return (const struct store_images *)(const void *)table_get(&s->t[T_IMAGES]);
}

const struct store_containers *store_containers_get(struct store *s)
{
	return (const struct store_containers *)(const void *)table_get(&s->t[T_CONTAINERS]);
}
