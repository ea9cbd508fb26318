/* images.c: the catalogue's public face: looking up, removing, figures. */
#include <string.h>

#include "core/image/images_priv.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define REFRESH_NS (2 * 1000000000LL)

const struct conf *images_conf(struct images *is)
{
	cleanup_unlock pthread_mutex_t *l = lock(&is->lock);

	return conf_ref(is->conf);
}

const struct registries *images_registries(struct images *is)
{
	cleanup_unlock pthread_mutex_t *l = lock(&is->lock);

	return registries_ref(is->registries);
}

static const char *set_or_null(const char *s)
{
	return str_set(s) ? s : NULL;
}

static int load_registries(const struct conf *c, struct registries **ret, crio_err *err)
{
	return registries_load(set_or_null(c->flags.registries_conf), set_or_null(c->flags.registries_conf_dir), ret,
			       err);
}

static char *user_agent(void)
{
	struct platform p;

	platform_here(&p);
	return path_fmt("cri-o/%s os/%s arch/%s", PACKAGE_VERSION, p.os, p.architecture);
}

int images_new(const struct images_args *args, crio_call *call, struct images **ret, crio_err *err)
{
	struct images *is = calloc(1, sizeof(*is));
	struct registries *regs = NULL;
	int r;

	if (!is)
		return err_nomem(err);
	(void)pthread_mutex_init(&is->lock, NULL);
	(void)pthread_mutex_init(&is->open_lock, NULL);
	(void)pthread_mutex_init(&is->build_lock, NULL);
	(void)pthread_cond_init(&is->pulls_idle, NULL);
	is->conf = conf_ref(args->conf);
	is->plugins = args->plugins;
	is->user_agent = user_agent();
	r = is->user_agent ? 0 : err_nomem(err);
	if (r == 0 && str_set(args->certs_dir) && !(is->certs_dir = strdup(args->certs_dir)))
		r = err_nomem(err);
	if (r == 0 && str_set(args->auth_file) && !(is->auth_file = strdup(args->auth_file)))
		r = err_nomem(err);
	if (r == 0)
		r = load_registries(args->conf, &regs, err);
	is->registries = regs;
	if (r == 0)
		r = http_new(&is->http, err);
	if (r == 0)
		r = stores_open_all(is, call, err);
	if (r < 0) {
		images_free(is);
		return r;
	}
	*ret = is;
	return 0;
}

void images_free(struct images *is)
{
	if (!is)
		return;
	(void)pthread_mutex_lock(&is->lock);
	while (is->n_pulls)
		(void)pthread_cond_wait(&is->pulls_idle, &is->lock);
	pulls_join_locked(is);
	(void)pthread_mutex_unlock(&is->lock);
	catalog_put(is, is->catalog);
	stores_close_all(is);
	http_free(is->http);
	registries_unref(is->registries);
	conf_unref(is->conf);
	free(is->certs_dir);
	free(is->auth_file);
	free(is->user_agent);
	(void)pthread_cond_destroy(&is->pulls_idle);
	(void)pthread_mutex_destroy(&is->build_lock);
	(void)pthread_mutex_destroy(&is->open_lock);
	(void)pthread_mutex_destroy(&is->lock);
	free(is);
}

int images_reload(struct images *is, const struct conf *conf, crio_err *err)
{
	const struct conf *old_conf;
	const struct registries *old_regs;
	struct registries *regs;
	int r = load_registries(conf, &regs, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&is->lock);
	old_conf = is->conf;
	old_regs = is->registries;
	is->conf = conf_ref(conf);
	is->registries = regs;
	is->pins++;
	(void)pthread_mutex_unlock(&is->lock);
	conf_unref(old_conf);
	registries_unref(old_regs);
	return 0;
}

void images_on_remove(struct images *is, image_in_use_fn fn, void *arg)
{
	cleanup_unlock pthread_mutex_t *l = lock(&is->lock);

	is->in_use = fn;
	is->in_use_arg = arg;
}

/* ---- looking up ---- */

int images_refresh(struct images *is, crio_err *err)
{
	cleanup_call crio_call *call = call_new("refresh images", now_mono_ns() + REFRESH_NS);
	struct store *s;
	int r = 0;

	if (!call)
		return err_nomem(err);
	for (size_t i = 0; r == 0 && (s = images_store_at(is, i)); i++)
		r = store_refresh(s, call, err);
	return r;
}

/* What is in memory will do when another program holds a store's lock. */
static int current(struct images *is, struct catalog **ret, crio_err *err)
{
	struct crio_err e = ERR_INIT;

	if (images_refresh(is, &e) < 0)
		log_debug("Images are listed from memory: %s", err_text(&e));
	err_clear(&e);
	return catalog_get(is, ret, err);
}

static bool is_hex(const char *s)
{
	return s[strspn(s, "0123456789abcdefABCDEF")] == 0;
}

/* The text as an id: whole (then *ret_absent when there is none), or a prefix. NULL: perhaps a name. */
static struct image *find_id(const struct catalog *c, const char *text, bool *ret_absent)
{
	const char *id = image_id_of_text(text);
	struct image *im;

	*ret_absent = false;
	if (id) {
		im = catalog_by_id(c, id);
		*ret_absent = !im;
		return im;
	}
	return strlen(text) >= 3 && str_is_hex(text, strlen(text)) ? catalog_by_prefix(c, text) : NULL;
}

/* With the name it was found by. */
static int find_named(struct images *is, const struct catalog *c, const char *text, struct image **ret,
		      struct reference *ret_ref, crio_err *err)
{
	cleanup_references struct references cand = {0};
	int r = images_candidates(is, text, &cand, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < cand.n; i++) {
		struct image *im = catalog_by_ref(c, &cand.v[i]);

		if (im) {
			if (ret_ref && reference_copy(ret_ref, &cand.v[i]) < 0)
				return err_nomem(err);
			*ret = im;
			return 0;
		}
	}
	return err_set(err, CRIO_E_NOT_FOUND, "image '%.256s'", text);
}

int images_get(struct images *is, const char *text, struct image **ret, crio_err *err)
{
	struct catalog *c = NULL;
	struct image *im;
	bool absent;
	int r;

	if (!str_set(text))
		return err_set(err, CRIO_E_INVALID, "no image specified");
	r = current(is, &c, err);
	if (r < 0)
		return r;
	im = find_id(c, text, &absent);
	if (!im && absent)
		r = err_set(err, CRIO_E_NOT_FOUND, "image '%s'", text);
	else if (!im)
		r = find_named(is, c, text, &im, NULL, err);
	if (r == CRIO_E_INVALID && strlen(text) >= 3 && is_hex(text)) /* an id that is not ours */
		r = err_set(err, CRIO_E_NOT_FOUND, "image '%.256s'", text);
	if (r == 0)
		*ret = image_ref(im);
	catalog_put(is, c);
	return r;
}

void images_list_free(struct image **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		image_unref(v[i]);
	free(v);
}

static int list_one(struct images *is, const char *filter, struct image ***ret, size_t *ret_n, crio_err *err)
{
	struct image **v = calloc(1, sizeof(*v));
	struct crio_err e = ERR_INIT;
	int r;

	if (!v)
		return err_nomem(err);
	r = images_get(is, filter, &v[0], &e);
	if (r < 0 && r != CRIO_E_NOT_FOUND) {
		free(v);
		return err_move(err, &e);
	}
	err_clear(&e);
	*ret = v;
	*ret_n = r == 0 ? 1 : 0;
	return 0;
}

int images_list(struct images *is, const char *filter, struct image ***ret, size_t *ret_n, crio_err *err)
{
	struct catalog *c = NULL;
	struct image **v;
	int r;

	if (str_set(filter))
		return list_one(is, filter, ret, ret_n, err);
	r = current(is, &c, err);
	if (r < 0)
		return r;
	v = calloc(c->n ? c->n : 1, sizeof(*v));
	if (v) {
		for (size_t i = 0; i < c->n; i++)
			v[i] = image_ref(c->v[i]);
		*ret = v;
		*ret_n = c->n;
	}
	catalog_put(is, c);
	return v ? 0 : err_nomem(err);
}

/* ---- names ---- */

/* The names of si but `name`. v is the caller's array of at least names.n pointers. */
static struct crio_strs names_without(const struct store_image *si, const char *name, const char **v)
{
	struct crio_strs left = {v, 0};

	for (size_t i = 0; i < si->names.n; i++)
		if (!str_eq(si->names.v[i], name))
			v[left.n++] = si->names.v[i];
	return left;
}

static int drop_name(struct store *s, crio_call *call, const struct store_image *si, const char *name, crio_err *err)
{
	cleanup_free const char **v = calloc(si->names.n ? si->names.n : 1, sizeof(*v));

	if (!v)
		return err_nomem(err);
	return store_image_set_names(s, call, si->id, names_without(si, name, v), err);
}

int images_take_name(struct images *is, crio_call *call, const char *name, const char *keep, const struct store *but,
		     crio_err *err)
{
	struct store *s;

	for (size_t i = 0; (s = images_store_at(is, i)); i++) {
		struct store_image *si = s == but ? NULL : store_image_by_name(s, name);
		int r = 0;

		if (si && !si->read_only && !str_eq(si->id, keep))
			r = drop_name(s, call, si, name, err);
		store_image_unref(si);
		if (r < 0)
			return r;
	}
	return 0;
}

int images_record(struct images *is, crio_call *call, struct store *s, const struct store_image_args *a, crio_err *err)
{
	int r = store_image_put(s, call, a, NULL, err);

	for (size_t i = 0; r == 0 && i < a->names.n; i++)
		r = images_take_name(is, call, a->names.v[i], a->id, s, err);
	return r;
}

/* ---- removing ---- */

static int check_unused(struct images *is, const char *id, crio_err *err)
{
	image_in_use_fn fn;
	void *arg;
	char by[65] = "";
	struct store *s;
	int r = 0;

	(void)pthread_mutex_lock(&is->lock);
	fn = is->in_use;
	arg = is->in_use_arg;
	(void)pthread_mutex_unlock(&is->lock);
	if (fn && fn(arg, id, by))
		return err_set(err, CRIO_E_PRECONDITION, "the image is in use by %s", by);
	for (size_t i = 0; r == 0 && (s = images_store_at(is, i)); i++) {
		const struct store_containers *l = store_containers_get(s);

		for (size_t k = 0; r == 0 && k < l->n; k++)
			if (str_eq(l->v[k]->image, id))
				r = err_set(err, CRIO_E_PRECONDITION,
					    "image used by %s: image is in use by a container", l->v[k]->id);
		store_containers_unref(l);
	}
	return r;
}

static int delete_image(struct images *is, crio_call *call, const char *id, crio_err *err)
{
	struct store *s;
	int r = check_unused(is, id, err);

	for (size_t i = 0; r == 0 && (s = images_store_at(is, i)); i++)
		r = store_image_delete(s, call, id, err);
	return r < 0 ? err_wrap(err, "delete image") : 0;
}

static int untag(struct images *is, crio_call *call, const struct image *im, const struct reference *ref, crio_err *err)
{
	cleanup_free char *name = reference_text(ref);
	size_t others = 0;
	struct store *s;
	char by[65] = "";
	image_in_use_fn fn;
	void *arg;

	if (!name)
		return err_nomem(err);
	for (size_t i = 0; i < im->names.n; i++)
		others += !str_eq(im->names.v[i], name);
	if (!others)
		return delete_image(is, call, im->id, err);
	(void)pthread_mutex_lock(&is->lock);
	fn = is->in_use;
	arg = is->in_use_arg;
	(void)pthread_mutex_unlock(&is->lock);
	if (fn && fn(arg, im->id, by))
		return err_set(err, CRIO_E_PRECONDITION, "the image is in use by %s", by);
	for (size_t i = 0; (s = images_store_at(is, i)); i++) {
		CLEANUP(store_image_unrefp) struct store_image *si = store_image_get(s, im->id);
		int r = si && !si->read_only ? drop_name(s, call, si, name, err) : 0;

		if (r < 0 && r != CRIO_E_NOT_FOUND)
			return r;
		err_clear(err);
	}
	return 0;
}

/* Whatever the text names, as a catalogue's image; *ret_ref is filled when it was found by name. */
static int find_for_removal(struct images *is, const char *text, struct image **ret, struct reference *ret_ref,
			    crio_err *err)
{
	struct catalog *c = NULL;
	struct image *im;
	bool absent;
	int r = current(is, &c, err);

	if (r < 0)
		return r;
	im = find_id(c, text, &absent);
	if (!im && absent)
		r = CRIO_E_NOT_FOUND;
	else if (!im)
		r = find_named(is, c, text, &im, ret_ref, err);
	if (r == 0)
		*ret = image_ref(im);
	catalog_put(is, c);
	return r;
}

int images_remove(struct images *is, crio_call *call, const char *text, crio_err *err)
{
	cleanup_image_ref struct image *im = NULL;
	cleanup_reference struct reference ref = REFERENCE_INIT;
	struct crio_err e = ERR_INIT;
	int r;

	if (!str_set(text))
		return err_set(err, CRIO_E_INVALID, "no image specified");
	r = find_for_removal(is, text, &im, &ref, &e);
	if (r == CRIO_E_NOT_FOUND) {
		const char *id = image_id_of_text(text);

		/* A record that cannot be read is not in the catalogue, but it can be removed by its id. */
		err_clear(&e);
		return id ? delete_image(is, call, id, err) : 0;
	}
	if (r < 0)
		return err_move(err, &e);
	return ref.path ? untag(is, call, im, &ref, err) : delete_image(is, call, im->id, err);
}

/* ---- for containers ---- */

int images_check_allowed(struct images *is, const char *pod_namespace, const char *user_ref, const struct image *im,
			 crio_err *err)
{
	cleanup_conf const struct conf *conf = images_conf(is);
	cleanup_references struct references cand = {0};
	cleanup_reference struct reference ref = REFERENCE_INIT;
	const char *name = user_ref;

	/* By id: the image's own names say where it is from. */
	if (!str_set(user_ref) || image_id_of_text(user_ref) ||
	    (str_is_hex(user_ref, strlen(user_ref)) && str_starts(im->id, user_ref)))
		name = im->repo_tags.n ? im->repo_tags.v[0] : im->repo_digests.n ? im->repo_digests.v[0] : "";
	if (!*name)
		return policy_check(conf, pod_namespace, NULL, err);
	if (images_candidates(is, name, &cand, err) == 0 && cand.n)
		return policy_check(conf, pod_namespace, &cand.v[0], err);
	err_clear(err);
	if (reference_parse(name, &ref, err) < 0)
		return CRIO_E_INVALID;
	return reference_finish(&ref) < 0 ? err_nomem(err) : policy_check(conf, pod_namespace, &ref, err);
}

/* ---- figures ---- */

void image_fs_free(struct image_fs *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i].mountpoint);
	free(v);
}

int images_fs_info(struct images *is, crio_call *call, struct image_fs **ret, size_t *ret_n, crio_err *err)
{
	struct image_fs *v = calloc(STORES_MAX, sizeof(*v));
	struct store *s;
	size_t n = 0;

	if (!v)
		return err_nomem(err);
	for (; n < STORES_MAX && (s = images_store_at(is, n)); n++) {
		struct store_usage u;
		int r = store_images_usage(s, call, &u, err);

		if (r < 0) {
			image_fs_free(v, n);
			return r;
		}
		v[n].bytes = u.bytes;
		v[n].inodes = u.inodes;
		v[n].time_ns = now_real_ns();
		v[n].mountpoint = strdup(store_image_fs(s));
		if (!v[n].mountpoint) {
			image_fs_free(v, n);
			return err_nomem(err);
		}
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

void images_stats(struct images *is, struct images_stats *ret)
{
	cleanup_unlock pthread_mutex_t *l = lock(&is->lock);

	*ret = is->stats;
}
