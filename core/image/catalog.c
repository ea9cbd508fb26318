/* catalog.c: one list of images out of the records of all stores. */
#include <string.h>

#include "core/image/images_priv.h"
#include "core/util/log.h"
#include "core/util/map.h"

/* ---- making one ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_once(struct strv *l, const char *s)
{
	return strv_has(l, s) ? 0 : strv_add(l, s);
}

static void sort(struct strv *l)
{
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), by_text);
}

static int manifest_digests(const struct store_image *si, struct image *im, struct strv *digests)
{
	if (!*im->digest) {
		const char *d = si->digest;

		for (size_t i = 0; i < si->n_big && !*d; i++)
			if (str_eq(si->big[i].key, "manifest"))
				d = si->big[i].digest;
		free(im->digest);
		im->digest = strdup(d);
		if (!im->digest)
			return CRIO_E_NOMEM;
	}
	if (*im->digest && add_once(digests, im->digest) < 0)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < si->n_big; i++)
		if (str_starts(si->big[i].key, "manifest") && *si->big[i].digest &&
		    add_once(digests, si->big[i].digest) < 0)
			return CRIO_E_NOMEM;
	return 0;
}

/* Sorts names into tags and digests, and combines each repository with each digest, as CRI-O does. */
static int name_image(struct image *im, const struct strv *digests)
{
	cleanup_strv struct strv repos = STRV_INIT;

	for (size_t i = 0; i < im->names.n; i++) {
		cleanup_reference struct reference r = REFERENCE_INIT;
		cleanup_free char *repo = NULL;

		if (reference_parse(im->names.v[i], &r, NULL) < 0 || (!*r.tag && !*r.digest))
			continue;
		repo = reference_repo(&r);
		if (!repo || add_once(&repos, repo) < 0)
			return CRIO_E_NOMEM;
		if (add_once(*r.digest ? &im->repo_digests : &im->repo_tags, im->names.v[i]) < 0)
			return CRIO_E_NOMEM;
	}
	for (size_t i = 0; i < repos.n; i++)
		for (size_t k = 0; k < digests->n; k++) {
			cleanup_free char *name = NULL;
			struct buf b = BUF_INIT;

			buf_addf(&b, "%s@%s", repos.v[i], digests->v[k]);
			name = buf_take(&b);
			if (!name || add_once(&im->repo_digests, name) < 0)
				return CRIO_E_NOMEM;
		}
	sort(&im->repo_tags);
	sort(&im->repo_digests);
	return 0;
}

/* An image that lost its names is still shown with the repository it came from. */
static int previous_name(struct image *im, const struct store_image *si)
{
	const char *old;

	if (im->repo_digests.n || im->repo_tags.n || !si->names_history.n || !*im->digest)
		return 0;
	old = si->names_history.v[0];
	return strv_addf(&im->repo_digests, "%.*s@%s", (int)strcspn(old, ":@"), old, im->digest);
}

static const struct store_big *find_big(const struct store_image *si, const char *key)
{
	for (size_t i = 0; i < si->n_big; i++)
		if (str_eq(si->big[i].key, key))
			return &si->big[i];
	return NULL;
}

int image_read_config(struct store *s, const struct store_image *si, char **ret_config, size_t *ret_n,
		      struct kvs *annotations, crio_err *err)
{
	cleanup_manifest struct manifest m = {0};
	cleanup_free char *text = NULL;
	char key[DIGEST_TEXT_MAX];
	size_t n;
	int r;

	(void)snprintf(key, sizeof(key), "sha256:%s", si->id);
	if (find_big(si, "manifest") &&
	    store_image_big_get(s, si->id, "manifest", MANIFEST_MAX, &text, &n, NULL) == 0 &&
	    manifest_parse(text, n, "", &m, NULL) == 0 && !m.index) {
		if (annotations && str_eq(m.media_type, MT_OCI_MANIFEST) && kvs_copy(annotations, &m.annotations) < 0)
			return err_nomem(err);
		if (!find_big(si, key))
			(void)snprintf(key, sizeof(key), "%s", m.config.digest);
	}
	r = store_image_big_get(s, si->id, key, MANIFEST_MAX, ret_config, ret_n, err);
	return r < 0 ? err_wrap(err, "config of image %s", si->id) : 0;
}

/* What the store records of one image, added to im. */
static int add_record(struct image *im, struct store *s, const struct store_image *si, struct strv *digests)
{
	for (size_t i = 0; i < si->names.n; i++)
		if (add_once(&im->names, si->names.v[i]) < 0)
			return CRIO_E_NOMEM;
	if (!im->size)
		im->size = store_image_size(s, si);
	return manifest_digests(si, im, digests);
}

static bool same(const struct strv *a, const struct strv *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!str_eq(a->v[i], b->v[i]))
			return false;
	return true;
}

static int read_parsed(struct image *im, struct store *s, const struct store_image *si, const struct image *old)
{
	cleanup_free char *text = NULL;
	struct crio_err e = ERR_INIT;
	size_t n = 0;
	int r;

	if (old) { /* the config of an id never changes */
		if (kvs_copy(&im->annotations, &old->annotations) < 0)
			return CRIO_E_NOMEM;
		return image_config_parse(old->config_json, strlen(old->config_json), im, NULL, NULL);
	}
	r = image_read_config(s, si, &text, &n, &im->annotations, &e);
	if (r == 0)
		r = image_config_parse(text, n, im, NULL, &e);
	if (r < 0 && r != CRIO_E_NOMEM)
		log_warn("Image %s is left out: %s", si->id, err_text(&e));
	err_clear(&e);
	return r;
}

/* Makes the image of `id` out of every store's record of it. *ret NULL: it cannot be read. */
static int make_image(struct images *is, const struct conf *conf, const struct catalog *c, const char *id,
		      struct image *old, struct image **ret)
{
	CLEANUP(image_unrefp) struct image *im = image_new(id);
	cleanup_strv struct strv digests = STRV_INIT;
	const struct store_image *first = NULL;
	struct store *store = NULL;
	int r = 0;

	*ret = NULL;
	if (!im)
		return CRIO_E_NOMEM;
	for (size_t k = 0; k < c->n_snap; k++)
		for (size_t i = 0; i < c->snap[k]->n; i++)
			if (str_eq(c->snap[k]->v[i]->id, id)) {
				if (!first) {
					first = c->snap[k]->v[i];
					store = images_store_at(is, k);
				}
				if (add_record(im, images_store_at(is, k), c->snap[k]->v[i], &digests) < 0)
					return CRIO_E_NOMEM;
			}
	if (!first)
		return 0;
	if (name_image(im, &digests) < 0 || previous_name(im, first) < 0)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < im->names.n && !im->pinned; i++)
		im->pinned = pinned_match(conf, im->names.v[i]);
	if (old && same(&old->names, &im->names) && same(&old->repo_digests, &im->repo_digests) &&
	    old->pinned == im->pinned && old->size == im->size) {
		*ret = image_ref(old);
		return 0;
	}
	r = read_parsed(im, store, first, old);
	if (r == CRIO_E_NOMEM)
		return r;
	if (r == 0)
		*ret = move_ptr(im);
	return 0;
}

/* ---- catalogues ---- */

static void catalog_free(struct catalog *c)
{
	for (size_t i = 0; i < c->n; i++)
		image_unref(c->v[i]);
	for (size_t i = 0; i < c->n_snap; i++)
		store_images_unref(c->snap[i]);
	free(c->v);
	free(c);
}

void catalog_put(struct images *is, struct catalog *c)
{
	bool last;

	if (!c)
		return;
	(void)pthread_mutex_lock(&is->lock);
	last = --c->refs == 0;
	(void)pthread_mutex_unlock(&is->lock);
	if (last)
		catalog_free(c);
}

static struct catalog *snapshot(struct images *is)
{
	struct catalog *c = calloc(1, sizeof(*c));
	struct store *s;

	if (!c)
		return NULL;
	c->refs = 1;
	for (size_t i = 0; (s = images_store_at(is, i)); i++)
		c->snap[c->n_snap++] = store_images_get(s);
	return c;
}

static bool unchanged(const struct catalog *now, const struct catalog *old)
{
	if (!old || now->n_snap != old->n_snap || now->pins != old->pins)
		return false;
	for (size_t i = 0; i < now->n_snap; i++)
		if (now->snap[i] != old->snap[i])
			return false;
	return true;
}

static int newest_first(const void *a, const void *b)
{
	const struct image *x = *(struct image *const *)a, *y = *(struct image *const *)b;

	if (x->created_ns != y->created_ns)
		return x->created_ns < y->created_ns ? 1 : -1;
	return strcmp(x->id, y->id);
}

static int fill(struct images *is, const struct conf *conf, struct catalog *c, const struct catalog *old)
{
	cleanup_map struct map *seen = map_new(), *known = map_new();
	size_t total = 0;
	int r = 0;

	if (!seen || !known)
		return CRIO_E_NOMEM;
	for (size_t i = 0; old && i < old->n; i++)
		if (map_set(known, old->v[i]->id, old->v[i]) < 0)
			return CRIO_E_NOMEM;
	for (size_t k = 0; k < c->n_snap; k++)
		total += c->snap[k]->n;
	c->v = calloc(total ? total : 1, sizeof(*c->v));
	if (!c->v)
		return CRIO_E_NOMEM;
	for (size_t k = 0; k < c->n_snap; k++)
		for (size_t i = 0; i < c->snap[k]->n; i++) {
			const char *id = c->snap[k]->v[i]->id;
			struct image *im;

			if (map_get(seen, id))
				continue;
			if (map_set(seen, id, c) < 0)
				return CRIO_E_NOMEM;
			r = make_image(is, conf, c, id, map_get(known, id), &im);
			if (r < 0)
				return r;
			if (im)
				c->v[c->n++] = im;
		}
	qsort(c->v, c->n, sizeof(*c->v), newest_first);
	return 0;
}

int catalog_get(struct images *is, struct catalog **ret, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *b = lock(&is->build_lock);
	cleanup_conf const struct conf *conf = images_conf(is);
	struct catalog *c = snapshot(is), *old;
	int r = 0;

	if (!c)
		return err_nomem(err);
	(void)pthread_mutex_lock(&is->lock);
	old = is->catalog; /* only this function, under build_lock, replaces it */
	c->pins = is->pins;
	if (unchanged(c, old)) {
		old->refs++;
		*ret = old;
	} else {
		*ret = NULL;
	}
	(void)pthread_mutex_unlock(&is->lock);
	if (*ret) {
		catalog_free(c);
		return 0;
	}
	r = fill(is, conf, c, old);
	if (r < 0) {
		catalog_free(c);
		return r == CRIO_E_NOMEM ? err_nomem(err) : err_set(err, r, "list of images");
	}
	(void)pthread_mutex_lock(&is->lock);
	is->catalog = c;
	c->refs++;
	(void)pthread_mutex_unlock(&is->lock);
	catalog_put(is, old);
	*ret = c;
	return 0;
}

struct image *catalog_by_id(const struct catalog *c, const char *id)
{
	for (size_t i = 0; i < c->n; i++)
		if (str_eq(c->v[i]->id, id))
			return c->v[i];
	return NULL;
}

struct image *catalog_by_prefix(const struct catalog *c, const char *prefix)
{
	struct image *found = NULL;

	for (size_t i = 0; i < c->n; i++)
		if (str_starts(c->v[i]->id, prefix)) {
			if (found)
				return NULL;
			found = c->v[i];
		}
	return found;
}

struct image *catalog_by_ref(const struct catalog *c, const struct reference *ref)
{
	cleanup_free char *name = reference_text(ref);

	for (size_t i = 0; name && i < c->n; i++)
		if (strv_has(&c->v[i]->names, name))
			return c->v[i];
	/* repo@digest, though it was pulled by another name of the same repository */
	for (size_t i = 0; name && *ref->digest && i < c->n; i++)
		if (strv_has(&c->v[i]->repo_digests, name))
			return c->v[i];
	return NULL;
}
