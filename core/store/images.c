/* images.c: records of images and their big data. */
#include "core/store/priv.h"

#include <fcntl.h>

#include "core/util/digest.h"
#include "core/util/failpoint.h"
#include "core/util/json.h"
#include "core/util/log.h"

#define BIG_KEY_MAX 180 /* base64 of it still fits a file name */
#define NAMES_MAX 1000	/* names of one image */
#define HISTORY_MAX 200

/* ---- look up ---- */

struct store_image *store_image_get(struct store *s, const char *id)
{
	struct rec *r = table_find(&s->t[T_IMAGES], id);
	return r ? &r->u.image : NULL;
}

struct store_image *store_image_by_name(struct store *s, const char *name)
{
	cleanup_set struct set *set = table_get(&s->t[T_IMAGES]);
	for (size_t i = 0; i < set->pub.n; i++)
		if (rec_has_name(set_rec(set, i), name))
			return store_image_ref(set->pub.v[i]);
	return NULL;
}

static bool has_digest(const struct store_image *i, const char *digest)
{
	if (str_eq(i->digest, digest))
		return true;
	for (size_t k = 0; k < i->n_big; k++)
		if (str_starts(i->big[k].key, "manifest") && str_eq(i->big[k].digest, digest))
			return true;
	return false;
}

struct store_image *store_image_by_digest(struct store *s, const char *digest)
{
	cleanup_set struct set *set = table_get(&s->t[T_IMAGES]);
	for (size_t i = 0; *digest && i < set->pub.n; i++)
		if (has_digest(set->pub.v[i], digest))
			return store_image_ref(set->pub.v[i]);
	return NULL;
}

static uint64_t image_size(const struct set *layers, const struct store_image *i)
{
	uint64_t n = 0;
	const char *id = i->layer;
	for (size_t depth = 0; *id && depth < STORE_DEPTH_MAX; depth++) {
		const struct rec *r = set_get(layers, id);
		if (!r)
			break;
		n += r->u.layer.diff_size > 0 ? (uint64_t)r->u.layer.diff_size : 0;
		id = r->u.layer.parent;
	}
	for (size_t k = 0; k < i->n_big; k++)
		n += i->big[k].size > 0 ? (uint64_t)i->big[k].size : 0;
	return n;
}

uint64_t store_image_size(struct store *s, const struct store_image *i)
{
	cleanup_set struct set *layers = table_get(&s->t[T_LAYERS]);
	return image_size(layers, i);
}

int store_image_layers(struct store *s, const struct store_image *i, struct strv *ret, crio_err *err)
{
	cleanup_set struct set *layers = table_get(&s->t[T_LAYERS]);
	cleanup_strv struct strv down = STRV_INIT;
	const char *id = i->layer;

	while (*id) {
		const struct rec *r = set_get(layers, id);
		if (!r || r->u.layer.incomplete)
			return err_set(err, CRIO_E_CORRUPT, "image %s: layer %s is missing; pull the image again",
				       i->id, id);
		if (down.n >= STORE_DEPTH_MAX)
			return err_set(err, CRIO_E_CORRUPT, "image %s has more than %d layers", i->id, STORE_DEPTH_MAX);
		if (strv_add(&down, id) < 0)
			return err_nomem(err);
		id = r->u.layer.parent;
	}
	strv_clear(ret);
	for (size_t k = down.n; k > 0; k--)
		if (strv_add(ret, down.v[k - 1]) < 0)
			return err_nomem(err);
	return 0;
}

/* ---- big data ---- */

static bool plain_key(const char *key)
{
	for (; *key; key++)
		if (*key != '.' && (*key < '0' || *key > '9') && (*key < 'a' || *key > 'z'))
			return false;
	return true;
}

char *big_file_name(const char *key)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = (const unsigned char *)key;
	size_t n = strlen(key);
	cleanup_buf struct buf b = BUF_INIT;

	if (plain_key(key))
		return strdup(key);
	buf_addc(&b, '=');
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v =
		    (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
		buf_addc(&b, digits[v >> 18]);
		buf_addc(&b, digits[v >> 12 & 63]);
		buf_addc(&b, i + 1 < n ? digits[v >> 6 & 63] : '=');
		buf_addc(&b, i + 2 < n ? digits[v & 63] : '=');
	}
	return buf_take(&b);
}

/* The name of a key's file; refuses what would not be a file name. */
static int key_file(const char *key, char **ret, crio_err *err)
{
	cleanup_free char *name = NULL;
	if (!*key || strlen(key) > BIG_KEY_MAX)
		return err_set(err, CRIO_E_INVALID, "big data key of %zu bytes", strlen(key));
	name = big_file_name(key);
	if (!name)
		return err_nomem(err);
	if (!path_is_name(name))
		return err_set(err, CRIO_E_INVALID, "big data key '%s' cannot be a file name", key);
	*ret = move_ptr(name);
	return 0;
}

int store_image_big_get(struct store *s, const char *id, const char *key, size_t limit, char **ret, size_t *ret_n,
			crio_err *err)
{
	cleanup_image struct store_image *i = store_image_get(s, id);
	cleanup_free char *name = NULL, *path = NULL, *text = NULL;
	const struct store_big *big = NULL;
	char sum[DIGEST_TEXT_MAX];
	size_t n;

	if (!i)
		return err_set(err, CRIO_E_NOT_FOUND, "image %s in store %s", id, s->root);
	for (size_t k = 0; k < i->n_big; k++)
		if (str_eq(i->big[k].key, key))
			big = &i->big[k];
	if (!big)
		return err_set(err, CRIO_E_NOT_FOUND, "image %s has no '%s'", id, key);
	int r = key_file(key, &name, err);
	if (r < 0)
		return r;
	path = path_fmt("%s/%s", i->id, name);
	if (!path)
		return err_nomem(err);
	r = fs_read_file(s->t[T_IMAGES].dirfd, path, limit < STORE_BIG_MAX ? limit : STORE_BIG_MAX, &text, &n, err);
	if (r < 0)
		return err_wrap(err, "image %s: '%s'", id, key);
	digest_of(text, n, sum);
	if (str_starts(big->digest, "sha256:") && !str_eq(big->digest, sum))
		return err_set(err, CRIO_E_CORRUPT,
			       "image %s: '%s' has digest %s, recorded is %s; pull the image again", id, key, sum,
			       big->digest);
	*ret = move_ptr(text);
	if (ret_n)
		*ret_n = n;
	return 0;
}

/* Writes one item and notes it in the record. */
static int big_put(struct json_object *o, int dirfd, const char *key, const void *p, size_t n, crio_err *err)
{
	cleanup_free char *name = NULL;
	char sum[DIGEST_TEXT_MAX];
	struct json_object *keys = json_need_arr(o, "big-data-names"), *sizes = json_need_obj(o, "big-data-sizes");
	struct json_object *digests = json_need_obj(o, "big-data-digests");
	bool there = false;

	if (n > STORE_BIG_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "'%s' has %zu bytes, more than %u", key, n, STORE_BIG_MAX);
	int r = key_file(key, &name, err);
	if (r < 0)
		return r;
	r = fs_write_file(dirfd, name, p, n, 0600, FS_RUN, err);
	if (r < 0)
		return r;
	if (!keys || !sizes || !digests)
		return err_nomem(err);
	for (size_t i = 0; i < json_object_array_length(keys); i++)
		there |= str_eq(json_object_get_string(json_object_array_get_idx(keys, i)), key);
	digest_of(p, n, sum);
	if ((!there && json_push_str(keys, key) < 0) || json_set_int(sizes, key, (int64_t)n) < 0 ||
	    json_set_str(digests, key, sum) < 0)
		return err_nomem(err);
	return 0;
}

static int image_dir(struct store *s, const char *id, crio_err *err)
{
	int fd = s->t[T_IMAGES].dirfd;
	if (mkdirat(fd, id, 0700) < 0 && errno != EEXIST)
		return err_errno(err, errno, "create %s/%s", s->t[T_IMAGES].dir, id);
	int d = openat(fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return d < 0 ? err_errno(err, errno, "open %s/%s", s->t[T_IMAGES].dir, id) : d;
}

static int big_put_all(struct store *s, struct json_object *o, const struct store_image_args *a, crio_err *err)
{
	cleanup_close int dir = image_dir(s, a->id, err);
	if (dir < 0)
		return dir;
	for (size_t i = 0; i < a->n_big; i++) {
		const struct store_big_data *b = &a->big[i];
		int r = big_put(o, dir, b->key, b->p, b->n, err);
		if (!r && str_eq(b->key, "manifest")) {
			cleanup_free char *key = path_fmt("manifest-%s", a->digest);
			r = key ? big_put(o, dir, key, b->p, b->n, err) : err_nomem(err);
		}
		if (r < 0)
			return r;
	}
	if (FAILPOINT("store.image.data", err) < 0)
		return CRIO_E_IO;
	if (syncfs(dir) < 0)
		return err_errno(err, errno, "sync of %s/%s", s->t[T_IMAGES].dir, a->id);
	return 0;
}

/* ---- names ---- */

/* Sets the record's names; those it gains go to the front of its history. */
static int set_names(struct json_object *o, struct crio_strs names)
{
	struct json_object *v = json_object_new_array(), *h = json_object_new_array();
	struct json_object *old = json_arr(o, "names-history");
	int r = v && h ? 0 : CRIO_E_NOMEM;

	for (size_t i = 0; !r && i < names.n; i++) {
		r = json_push_str(v, names.v[i]);
		if (!r)
			r = json_push_str(h, names.v[i]);
	}
	for (size_t i = 0; !r && old && i < json_object_array_length(old); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(old, i));
		bool dup = false;
		for (size_t k = 0; s && k < names.n; k++)
			dup |= str_eq(names.v[k], s);
		if (s && !dup && json_object_array_length(h) < HISTORY_MAX)
			r = json_push_str(h, s);
	}
	if (r < 0) {
		json_object_put(v);
		json_object_put(h);
		return r;
	}
	if (!names.n) {
		json_object_put(v);
		json_object_object_del(o, "names");
	} else if (json_set(o, "names", v) < 0) {
		json_object_put(h);
		return CRIO_E_NOMEM;
	}
	if (!json_object_array_length(h)) {
		json_object_put(h);
		return 0;
	}
	return json_set(o, "names-history", h);
}

/* Takes `names` from every image but `id`. */
static int steal_names(struct edit *e, const char *id, struct crio_strs names, crio_err *err)
{
	for (size_t i = 0; i < e->n; i++) {
		struct rec *r = e->v[i];
		cleanup_strv struct strv keep = STRV_INIT;
		if (str_eq(r->id, id))
			continue;
		for (size_t k = 0; k < r->names.n; k++) {
			bool taken = false;
			for (size_t m = 0; m < names.n; m++)
				taken |= str_eq(names.v[m], r->names.v[k]);
			if (!taken && strv_add(&keep, r->names.v[k]) < 0)
				return err_nomem(err);
		}
		if (keep.n == r->names.n)
			continue;
		struct json_object *o = rec_copy(r);
		struct rec *n = NULL;
		if (!o || set_names(o, strv_view(&keep)) < 0) {
			json_object_put(o);
			return err_nomem(err);
		}
		int code = rec_new(T_IMAGES, o, r->is_volatile, false, &n, err);
		if (!code)
			code = edit_put(e, n, err);
		if (code < 0)
			return code;
	}
	return 0;
}

/* Old names of the record and the new ones, without doubles. */
static int join_names(const struct rec *old, struct crio_strs names, struct strv *ret, crio_err *err)
{
	for (size_t i = 0; old && i < old->names.n; i++)
		if (strv_add(ret, old->names.v[i]) < 0)
			return err_nomem(err);
	for (size_t i = 0; i < names.n; i++)
		if (!strv_has(ret, names.v[i]) && strv_add(ret, names.v[i]) < 0)
			return err_nomem(err);
	if (ret->n > NAMES_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "an image with %zu names", ret->n);
	return 0;
}

/* ---- changes ---- */

static int fill(struct json_object *o, const struct store_image_args *a, struct crio_strs names, crio_err *err)
{
	char when[40];
	cleanup_free char *meta =
	    a->metadata ? strdup(a->metadata) : path_fmt("{\"signatures-sizes\":{\"%s\":[]}}", a->digest);
	time_format(a->created_ns ? a->created_ns : now_real_ns(), when);
	if (!meta || json_set_str(o, "id", a->id) < 0 || json_set_str(o, "digest", a->digest) < 0 ||
	    set_names(o, names) < 0 || (*a->layer && json_set_str(o, "layer", a->layer) < 0) ||
	    json_set_str(o, "metadata", meta) < 0)
		return err_nomem(err);
	if ((a->created_ns || !json_get(o, "created")) && json_set_str(o, "created", when) < 0)
		return err_nomem(err);
	return 0;
}

/* The layers of the image are in use from now on. */
static void journal_clear(struct store *s, const char *layer)
{
	cleanup_set struct set *layers = table_get(&s->t[T_LAYERS]);
	for (size_t depth = 0; *layer && depth < STORE_DEPTH_MAX; depth++) {
		const struct rec *r = set_get(layers, layer);
		if (!r)
			break;
		journal_del(s, 'l', layer);
		layer = r->u.layer.parent;
	}
}

static int image_put(struct store *s, const struct store_image_args *a, struct rec **ret, crio_err *err)
{
	cleanup_edit struct edit e = {0};
	cleanup_strv struct strv joined = STRV_INIT;

	int code = edit_init(&e, &s->t[T_IMAGES], err);
	if (code < 0)
		return code;
	struct rec *old = edit_get(&e, a->id), *r = NULL;
	code = join_names(old, a->names, &joined, err);
	if (code < 0)
		return code;
	struct json_object *o = old ? rec_copy(old) : json_object_new_object();
	if (!o)
		return err_nomem(err);
	code = fill(o, a, strv_view(&joined), err);
	if (!code)
		code = big_put_all(s, o, a, err);
	if (code < 0) {
		json_object_put(o);
		return code;
	}
	code = rec_new(T_IMAGES, o, false, false, &r, err);
	if (code < 0)
		return code;
	cleanup_rec struct rec *keep = rec_ref(r);
	code = edit_put(&e, r, err);
	if (!code)
		code = steal_names(&e, a->id, a->names, err);
	if (!code)
		code = edit_save(&e, FS_KEEP, err);
	if (code < 0)
		return code;
	*ret = move_ptr(keep);
	return 0;
}

int store_image_put(struct store *s, crio_call *call, const struct store_image_args *a, struct store_image **ret,
		    crio_err *err)
{
	cleanup_rec struct rec *r = NULL, *layer = NULL;

	int code = id_check("image", a->id, err);
	if (code < 0)
		return code;
	if (!digest_is_valid(a->digest))
		return err_set(err, CRIO_E_INVALID, "image %s: '%.80s' is not a digest", a->id, a->digest);
	code = table_lock(&s->t[T_LAYERS], call, false, err);
	if (code < 0)
		return code;
	cleanup_table struct table *held_l = &s->t[T_LAYERS];
	if (*a->layer) {
		layer = table_find(&s->t[T_LAYERS], a->layer);
		if (!layer || layer->u.layer.incomplete)
			return err_set(err, CRIO_E_PRECONDITION, "image %s: its layer %s is not there", a->id,
				       a->layer);
	}
	code = table_lock(&s->t[T_IMAGES], call, true, err);
	if (code < 0)
		return code;
	cleanup_table struct table *held_i = &s->t[T_IMAGES];
	code = image_put(s, a, &r, err);
	if (code < 0)
		return err_wrap(err, "record image %s", a->id);
	journal_clear(s, a->layer);
	if (ret)
		*ret = &rec_ref(r)->u.image;
	return 0;
}

int store_image_set_names(struct store *s, crio_call *call, const char *id, struct crio_strs names, crio_err *err)
{
	struct table *t = &s->t[T_IMAGES];
	cleanup_edit struct edit e = {0};
	cleanup_strv struct strv joined = STRV_INIT;
	struct rec *n = NULL;

	int code = table_lock(t, call, true, err);
	if (code < 0)
		return code;
	cleanup_table struct table *held = t;
	code = edit_init(&e, t, err);
	if (!code)
		code = join_names(NULL, names, &joined, err);
	if (code < 0)
		return code;
	struct rec *r = edit_get(&e, id);
	if (!r)
		return err_set(err, CRIO_E_NOT_FOUND, "image %s in store %s", id, s->root);
	struct json_object *o = rec_copy(r);
	if (!o || set_names(o, strv_view(&joined)) < 0) {
		json_object_put(o);
		return err_nomem(err);
	}
	code = rec_new(T_IMAGES, o, r->is_volatile, false, &n, err);
	if (!code)
		code = edit_put(&e, n, err);
	if (!code)
		code = steal_names(&e, id, strv_view(&joined), err);
	return code < 0 ? code : edit_save(&e, FS_KEEP, err);
}

/* Layers that only this image uses: out of the edit, into gone. */
static int own_layers(struct store *s, const struct rec *r, struct edit *layers, struct strv *gone, crio_err *err)
{
	cleanup_set struct set *images = table_get(&s->t[T_IMAGES]), *containers = table_get(&s->t[T_CONTAINERS]);
	struct json_object *mapped = json_arr(r->o, "mapped-layers");
	int code = 0;
	for (size_t i = 0; !code && mapped && i < json_object_array_length(mapped); i++) {
		const char *m = json_object_get_string(json_object_array_get_idx(mapped, i));
		if (m && str_is_hex(m, 64))
			code = layers_unreferenced(layers, images, r->id, containers, m, gone, err);
	}
	if (!code && *r->u.image.layer)
		code = layers_unreferenced(layers, images, r->id, containers, r->u.image.layer, gone, err);
	return code;
}

/* A save that failed may have been done, or may succeed for each record alone. */
static bool taken_back(struct table *t, const struct strv *ids)
{
	for (size_t i = 0; i < ids->n; i++)
		if (!edit_take_back(t, ids->v[i], FS_KEEP))
			return false;
	return true;
}

/* Layers noted in the journal, then records away; `gone` holds what to discard. All tables locked. A note for a layer that is in use
 * again, or still, is found stale. */
static int delete_records(struct store *s, const char *id, struct strv *gone, crio_err *err)
{
	cleanup_edit struct edit images = {0}, layers = {0};
	cleanup_set struct set *containers = table_get(&s->t[T_CONTAINERS]);
	cleanup_rec struct rec *r = table_find(&s->t[T_IMAGES], id);

	if (!r)
		return 0;
	for (size_t i = 0; i < containers->pub.n; i++) {
		const struct store_container *c = containers->pub.v[i];
		if (str_eq(c->image, id))
			return err_set(err, CRIO_E_PRECONDITION, "image %s is used by container %s", id, c->id);
	}
	int code = edit_init(&images, &s->t[T_IMAGES], err);
	if (!code)
		code = edit_init(&layers, &s->t[T_LAYERS], err);
	if (!code)
		code = own_layers(s, r, &layers, gone, err);
	for (size_t i = 0; !code && i < gone->n; i++)
		code = journal_add(s, 'l', gone->v[i], JOURNAL_REMOVE, err);
	if (code < 0)
		return code;
	edit_del(&images, id);
	cleanup_err crio_err why = ERR_INIT;
	code = edit_save(&images, FS_KEEP, &why);
	if (code < 0 && !edit_take_back(&s->t[T_IMAGES], id, FS_KEEP))
		return err_move(err, &why);
	/* From here on the image is no more: what fails now is left to the journal. */
	err_clear(&why);
	code = gone->n ? edit_save(&layers, FS_KEEP, &why) : 0;
	if (code < 0 && !taken_back(&s->t[T_LAYERS], gone)) {
		log_warn("Store %s: layers of image %s stay until the next start: %s", s->root, id, err_text(&why));
		strv_clear(gone);
	}
	return 0;
}

int store_image_delete(struct store *s, crio_call *call, const char *id, crio_err *err)
{
	cleanup_strv struct strv gone = STRV_INIT;
	int code = id_check("image", id, err);
	if (code < 0)
		return code;
	code = table_lock(&s->t[T_LAYERS], call, true, err);
	if (code < 0)
		return code;
	cleanup_table struct table *held_l = &s->t[T_LAYERS];
	code = table_lock(&s->t[T_IMAGES], call, true, err);
	if (code < 0)
		return code;
	cleanup_table struct table *held_i = &s->t[T_IMAGES];
	code = table_lock(&s->t[T_CONTAINERS], call, false, err);
	if (code < 0)
		return code;
	cleanup_table struct table *held_c = &s->t[T_CONTAINERS];
	code = delete_records(s, id, &gone, err);
	if (code < 0)
		return err_wrap(err, "remove image %s", id);
	FAILPOINT_CUT("store.image.records_removed");
	/* Twice, for a moment's lack of descriptors or memory: nobody will ask for it again, only the next start looks. */
	cleanup_err crio_err why = ERR_INIT;
	if (fs_rm_rf(s->t[T_IMAGES].dirfd, id, NULL) < 0 && fs_rm_rf(s->t[T_IMAGES].dirfd, id, &why) < 0)
		log_warn("The records of image %s are gone, its directory stays until the next start: %s", id, err_text(&why));
	/* With the locks: nobody makes a layer of the same id meanwhile. Drivers only rename here. */
	return layers_discard(s, call, &gone, err);
}
