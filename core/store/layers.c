/* layers.c: looking layers up, making and removing them. */
#include "core/store/priv.h"

#include <fcntl.h>

#include "core/util/digest.h"
#include "core/util/failpoint.h"
#include "core/util/json.h"
#include "core/util/log.h"

struct store_new_layer {
	struct store *s;
	char id[65], parent[65];
	char *diff_digest;
	int dirfd, tar_fd;
};

int id_check(const char *what, const char *id, crio_err *err)
{
	if (id && str_is_hex(id, 64))
		return 0;
	return err_set(err, CRIO_E_INVALID, "%s id '%.80s': expected 64 hexadecimal digits", what, id ? id : "");
}

crio_call *cleanup_new_call(crio_call *call)
{
	return call_detached(call, STORE_CLEANUP_NS);
}

/* ---- look up ---- */

struct store_layer *store_layer_get(struct store *s, const char *id)
{
	struct rec *r = table_find(&s->t[T_LAYERS], id);
	return r ? &r->u.layer : NULL;
}

enum layer_key { KEY_DIFF, KEY_COMPRESSED };

static struct store_layer *find(struct store *s, const char *parent, const char *digest, enum layer_key key)
{
	cleanup_set struct set *set = table_get(&s->t[T_LAYERS]);
	if (!*digest)
		return NULL;
	for (size_t i = 0; i < set->pub.n; i++) {
		struct store_layer *l = set->pub.v[i];
		if (!l->incomplete && str_eq(key == KEY_DIFF ? l->diff_digest : l->compressed_digest, digest) &&
		    (!parent || str_eq(l->parent, parent)))
			return store_layer_ref(l);
	}
	return NULL;
}

struct store_layer *store_layer_find(struct store *s, const char *parent, const char *diff_digest)
{
	char id[65];
	if (store_layer_id(parent, diff_digest, id, NULL) < 0)
		return NULL;
	struct store_layer *l = store_layer_get(s, id);
	if (l && !l->incomplete && str_eq(l->diff_digest, diff_digest))
		return l;
	store_layer_unref(l);
	return find(s, parent, diff_digest, KEY_DIFF);
}

struct store_layer *store_layer_find_compressed(struct store *s, const char *parent, const char *compressed_digest)
{
	return find(s, parent, compressed_digest, KEY_COMPRESSED);
}

struct store_layer *store_layer_find_diff(struct store *s, const char *diff_digest)
{
	return find(s, NULL, diff_digest, KEY_DIFF);
}

int store_layer_id(const char *parent, const char *diff_digest, char ret[65], crio_err *err)
{
	char text[65 + 1 + 129], sum[DIGEST_TEXT_MAX];

	if (!digest_is_valid(diff_digest) || strlen(digest_hex(diff_digest)) > 128)
		return err_set(err, CRIO_E_INVALID, "layer digest '%.80s' is not a digest", diff_digest);
	if (*parent && !str_is_hex(parent, 64))
		return id_check("parent layer", parent, err);
	if (!*parent && strlen(digest_hex(diff_digest)) == 64) {
		memcpy(ret, digest_hex(diff_digest), 65);
		return 0;
	}
	int n = snprintf(text, sizeof(text), "%s%s%s", parent, *parent ? "+" : "", digest_hex(diff_digest));
	digest_of(text, (size_t)n, sum);
	memcpy(ret, digest_hex(sum), 65);
	return 0;
}

bool store_layers_independent(const struct store *s)
{
	return s->whiteout != CRIO_WHITEOUT_REMOVE;
}

/* ---- ids in work ---- */

static struct busy **busy_find(struct store *s, const char *id)
{
	struct busy **p = &s->busy;
	while (*p && !str_eq((*p)->id, id))
		p = &(*p)->next;
	return p;
}

int busy_take(struct store *s, crio_call *call, const char *id, bool nowait, crio_err *err)
{
	struct busy *b = calloc(1, sizeof(*b));
	if (!b)
		return err_nomem(err);
	(void)snprintf(b->id, sizeof(b->id), "%.64s", id);
	cleanup_unlock pthread_mutex_t *l = lock(&s->busy_mu);
	while (*busy_find(s, id)) {
		int r = nowait ? err_set(err, CRIO_E_ABORTED, "layer %s is being worked on", id)
			       : call_check(call, "wait for a layer", err);
		if (r < 0) {
			free(b);
			return r;
		}
		int64_t end = now_mono_ns() + 100000000;
		struct timespec ts = {(time_t)(end / 1000000000), (long)(end % 1000000000)};
		(void)pthread_cond_clockwait(&s->busy_cond, &s->busy_mu, CLOCK_MONOTONIC, &ts);
	}
	b->next = s->busy;
	s->busy = b;
	return 0;
}

void busy_drop(struct store *s, const char *id)
{
	cleanup_unlock pthread_mutex_t *l = lock(&s->busy_mu);
	struct busy **p = busy_find(s, id), *b = *p;
	if (!b)
		return;
	*p = b->next;
	free(b);
	(void)pthread_cond_broadcast(&s->busy_cond);
}

/* ---- removing ---- */

int plugin_layer_remove(struct store *s, crio_call *call, const char *id, crio_err *err)
{
	struct crio_storage_id_args args = {.size = sizeof(args), .id = id, .mount_label = ""};
	struct crio_storage_no_out out = {.size = sizeof(out)};
	return plugin_storage_remove(s->inst, call, &args, &out, err);
}

void layer_files_remove(struct store *s, const char *id)
{
	char name[96];
	(void)snprintf(name, sizeof(name), "%.64s.tar-split.gz", id);
	(void)unlinkat(s->t[T_LAYERS].dirfd, name, 0);
	(void)fs_rm_rf(s->t[T_LAYERS].dirfd, id, NULL);
}

static bool layer_in_use(const struct edit *e, const struct set *images, const char *but, const struct set *containers,
			 const char *id)
{
	for (size_t i = 0; i < images->pub.n; i++) {
		struct rec *r = set_rec(images, i);
		struct json_object *mapped = json_arr(r->o, "mapped-layers");
		if (str_eq(r->id, but))
			continue;
		if (str_eq(r->u.image.layer, id))
			return true;
		for (size_t k = 0; mapped && k < json_object_array_length(mapped); k++) {
			struct json_object *m = json_object_array_get_idx(mapped, k);
			if (json_object_is_type(m, json_type_string) && str_eq(json_object_get_string(m), id))
				return true;
		}
	}
	for (size_t i = 0; i < containers->pub.n; i++)
		if (str_eq(set_rec(containers, i)->u.ctr.layer, id))
			return true;
	for (size_t i = 0; i < e->n; i++)
		if (str_eq(e->v[i]->u.layer.parent, id))
			return true;
	return false;
}

int layers_unreferenced(struct edit *e, const struct set *images, const char *but, const struct set *containers,
			const char *top, struct strv *gone, crio_err *err)
{
	char id[65], parent[65];

	(void)snprintf(id, sizeof(id), "%.64s", top);
	for (size_t depth = 0; *id && depth < STORE_DEPTH_MAX; depth++) {
		const struct rec *r = edit_get(e, id);
		if (!r || layer_in_use(e, images, but, containers, id))
			break;
		(void)snprintf(parent, sizeof(parent), "%.64s", r->u.layer.parent);
		if (strv_add(gone, id) < 0)
			return err_nomem(err);
		edit_del(e, id);
		memcpy(id, parent, sizeof(id));
	}
	return 0;
}

int layers_discard(struct store *s, crio_call *call, const struct strv *gone, crio_err *err)
{
	int code = 0;
	for (size_t i = 0; i < gone->n; i++) {
		int r = plugin_layer_remove(s, call, gone->v[i], code ? NULL : err);
		if (r < 0) {
			code = code ? code
				    : r; /* its journal entry stays: tried again by store_gc and at the next start */
			continue;
		}
		FAILPOINT_CUT("store.layer.tree_removed");
		layer_files_remove(s, gone->v[i]);
		journal_del(s, 'l', gone->v[i]);
	}
	return code < 0 ? err_wrap(err, "remove layers of store %s", s->root) : 0;
}

/* Another tool died while it made or removed this layer: it held the lock all the time, and now we do. */
int layer_incomplete_remove(struct store *s, crio_call *call, const char *id, crio_err *err)
{
	cleanup_edit struct edit e = {0};
	int r = edit_init(&e, &s->t[T_LAYERS], err);
	if (r < 0)
		return r;
	r = journal_add(s, 'l', id, "", err);
	if (r < 0)
		return r;
	edit_del(&e, id);
	r = edit_save(&e, FS_KEEP, err);
	if (r < 0)
		return r;
	cleanup_strv struct strv gone = STRV_INIT;
	if (strv_add(&gone, id) < 0)
		return err_nomem(err);
	return layers_discard(s, call, &gone, err);
}

/* ---- making ---- */

/* The tree is there but we know no whole layer of that id. Removes it, unless another tool has recorded it by now. */
static int stale_remove(struct store *s, crio_call *call, const char *id, crio_err *err)
{
	struct table *t = &s->t[T_LAYERS];
	cleanup_rec struct rec *r = NULL;

	int code = table_lock(t, call, true, err);
	if (code < 0)
		return code;
	cleanup_table struct table *held = t;
	r = table_find(t, id);
	if (r && !r->u.layer.incomplete)
		return err_set(err, CRIO_E_EXISTS, "layer %s", id);
	if (r)
		return layer_incomplete_remove(s, call, id, err);
	return plugin_layer_remove(s, call, id, err);
}

static int begin_tree(struct store_new_layer *n, crio_call *call, crio_err *err)
{
	struct crio_storage_apply_args args = {.size = sizeof(args), .id = n->id, .parent = n->parent};
	cleanup_err crio_err first = ERR_INIT;

	for (int again = 0;; again++) {
		struct crio_storage_apply_out out = {.size = sizeof(out), .dirfd = -1};
		int r = plugin_storage_apply_begin(n->s->inst, call, &args, &out, &first);
		if (!r) {
			n->dirfd = out.dirfd;
			return n->dirfd < 0 ? err_set(err, CRIO_E_INTERNAL, "the storage plugin gave no directory") : 0;
		}
		if (r != CRIO_E_EXISTS || again)
			return err_move(err, &first);
		err_clear(&first);
		r = stale_remove(n->s, call, n->id, err);
		if (r < 0)
			return r;
	}
}

static void tar_split_temp(const char *id, char ret[96])
{
	(void)snprintf(ret, 96, ".crio-%.64s.tmp", id);
}

static int begin_files(struct store_new_layer *n, crio_call *call, crio_err *err)
{
	char tmp[96];
	cleanup_layer struct store_layer *l = store_layer_get(n->s, n->id), *parent = NULL;

	if (l && !l->incomplete)
		return err_set(err, CRIO_E_EXISTS, "layer %s", n->id);
	if (l) {
		int r = stale_remove(n->s, call, n->id, err);
		if (r < 0)
			return r;
	}
	if (*n->parent && !store_layers_independent(n->s)) {
		parent = store_layer_get(n->s, n->parent);
		if (!parent)
			return err_set(err, CRIO_E_PRECONDITION, "layer %s: its parent %s is not there", n->id,
				       n->parent);
	}
	tar_split_temp(n->id, tmp);
	n->tar_fd = openat(n->s->t[T_LAYERS].dirfd, tmp, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (n->tar_fd < 0)
		return err_errno(err, errno, "create %s/%s", n->s->t[T_LAYERS].dir, tmp);
	int r = FAILPOINT("store.layer.tar_split", err);
	return r < 0 ? r : begin_tree(n, call, err);
}

static void new_layer_free(struct store_new_layer *n)
{
	char tmp[96];
	if (!n)
		return;
	if (n->tar_fd >= 0) {
		tar_split_temp(n->id, tmp);
		(void)unlinkat(n->s->t[T_LAYERS].dirfd, tmp, 0);
	}
	n->tar_fd = safe_close(n->tar_fd);
	n->dirfd = safe_close(n->dirfd);
	busy_drop(n->s, n->id);
	free(n->diff_digest);
	free(n);
}

int store_layer_begin(struct store *s, crio_call *call, const struct store_begin_args *args,
		      struct store_new_layer **ret, crio_err *err)
{
	char id[65];
	int r = store_layer_id(args->parent, args->diff_digest, id, err);
	if (r < 0)
		return r;
	if (s->read_only)
		return err_set(err, CRIO_E_DENIED, "store %s is read-only", s->root);
	struct store_new_layer *n = calloc(1, sizeof(*n));
	if (!n)
		return err_nomem(err);
	n->s = s;
	n->dirfd = n->tar_fd = -1;
	memcpy(n->id, id, sizeof(n->id));
	(void)snprintf(n->parent, sizeof(n->parent), "%s", args->parent);
	n->diff_digest = strdup(args->diff_digest);
	r = n->diff_digest ? busy_take(s, call, id, args->nowait, err) : err_nomem(err);
	if (r < 0) {
		free(n->diff_digest);
		free(n);
		return r;
	}
	r = begin_files(n, call, err);
	if (r < 0) {
		new_layer_free(n);
		return r;
	}
	*ret = n;
	return 0;
}

const char *store_new_layer_id(const struct store_new_layer *l)
{
	return l->id;
}

int store_new_layer_dirfd(const struct store_new_layer *l)
{
	return l->dirfd;
}

enum crio_whiteout store_new_layer_whiteout(const struct store_new_layer *l)
{
	return l->s->whiteout;
}

int store_new_layer_tar_split_fd(const struct store_new_layer *l)
{
	return l->tar_fd;
}

static int apply_end(struct store_new_layer *n, crio_call *call, bool commit, crio_err *err)
{
	struct crio_storage_apply_args args = {
	    .size = sizeof(args), .commit = commit, .id = n->id, .parent = n->parent};
	struct crio_storage_usage_out out = {.size = sizeof(out)};
	n->dirfd = safe_close(n->dirfd);
	return plugin_storage_apply_end(n->s->inst, call, &args, &out, err);
}

void store_layer_abort(struct store_new_layer *l)
{
	if (!l)
		return;
	cleanup_call crio_call *call = call_new("store_layer_abort", now_mono_ns() + STORE_CLEANUP_NS);
	cleanup_err crio_err err = ERR_INIT;
	/* The caller has an error of its own to report; what stays is removed at the next start. */
	if (call && apply_end(l, call, false, &err) < 0)
		log_warn("Unfinished layer %s of store %s not removed: %s", l->id, l->s->root, err_text(&err));
	new_layer_free(l);
}

int record_maps(struct json_object *o, const struct id_maps *maps)
{
	if (!maps || !id_maps_set(maps))
		return 0;
	if (json_set(o, "uidmap", id_map_json(&maps->uids, ID_MAP_STORAGE)) < 0)
		return CRIO_E_NOMEM;
	return json_set(o, "gidmap", id_map_json(&maps->gids, ID_MAP_STORAGE));
}

int layer_record(const char *id, const char *parent, const char *mount_label, const struct id_maps *maps, struct json_object **ret)
{
	char now[40];
	struct json_object *o = json_object_new_object();
	time_format(now_real_ns(), now);
	if (!o || json_set_str(o, "id", id) < 0 || (*parent && json_set_str(o, "parent", parent) < 0) ||
	    (*mount_label && json_set_str(o, "mountlabel", mount_label) < 0) || json_set_str(o, "created", now) < 0 ||
	    record_maps(o, maps) < 0) {
		json_object_put(o);
		return CRIO_E_NOMEM;
	}
	*ret = o;
	return 0;
}

static int set_owners(struct json_object *o, const char *key, const uint32_t *v, size_t n)
{
	struct json_object *a = n ? json_need_arr(o, key) : NULL;
	if (!n)
		return 0;
	if (!a)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < n; i++)
		if (json_push(a, json_object_new_int64(v[i])) < 0)
			return CRIO_E_NOMEM;
	return 0;
}

static int new_record(const struct store_new_layer *n, const struct store_layer_info *info, struct rec **ret,
		      crio_err *err)
{
	struct json_object *o = NULL;
	if (layer_record(n->id, n->parent, "", NULL, &o) < 0)
		return err_nomem(err);
	if (json_set_str(o, "diff-digest", info->diff_digest) < 0 ||
	    json_set_int(o, "diff-size", info->diff_size) < 0 ||
	    (info->compressed_digest && *info->compressed_digest &&
	     (json_set_str(o, "compressed-diff-digest", info->compressed_digest) < 0 ||
	      json_set_int(o, "compressed-size", info->compressed_size) < 0)) ||
	    (info->compression && json_set_int(o, "compression", info->compression) < 0) ||
	    set_owners(o, "uidset", info->uids, info->n_uids) < 0 ||
	    set_owners(o, "gidset", info->gids, info->n_gids) < 0) {
		json_object_put(o);
		return err_nomem(err);
	}
	return rec_new(T_LAYERS, o, false, false, ret, err);
}

/* Puts tree and tar-split in their places. layers locked. */
static int place(struct store_new_layer *n, crio_call *call, bool no_tar_split, crio_err *err)
{
	char tmp[96], name[96];
	cleanup_err crio_err first = ERR_INIT;
	int fd = n->s->t[T_LAYERS].dirfd;

	int r = apply_end(n, call, true, &first);
	if (r == CRIO_E_EXISTS) { /* a tree that nobody recorded came up meanwhile */
		err_clear(&first);
		r = plugin_layer_remove(n->s, call, n->id, &first);
		if (!r)
			r = apply_end(n, call, true, &first);
	}
	if (r < 0)
		return err_move(err, &first);
	(void)snprintf(name, sizeof(name), "%.64s.tar-split.gz", n->id);
	tar_split_temp(n->id, tmp);
	if (!no_tar_split && renameat(fd, tmp, fd, name) < 0)
		return err_errno(err, errno, "rename %s/%s", n->s->t[T_LAYERS].dir, tmp);
	if (!no_tar_split)
		n->tar_fd = safe_close(n->tar_fd);
	return FAILPOINT("store.layer.placed", err);
}

static int record(struct store_new_layer *n, crio_call *call, const struct store_layer_info *info, struct rec *r,
		  crio_err *err)
{
	cleanup_edit struct edit e = {0};
	struct table *t = &n->s->t[T_LAYERS];

	int code = edit_init(&e, t, err);
	if (code < 0)
		return code;
	if (*n->parent) {
		const struct rec *p = edit_get(&e, n->parent);
		if (!p || p->u.layer.incomplete)
			return err_set(err, CRIO_E_PRECONDITION, "layer %s: its parent %s is not there", n->id,
				       n->parent);
	}
	code = journal_add(n->s, 'l', n->id, "", err);
	if (code < 0)
		return code;
	code = place(n, call, info->no_tar_split, err);
	if (!code)
		code = edit_put(&e, rec_ref(r), err);
	if (!code)
		code = edit_save(&e, FS_KEEP, err);
	if (code < 0) {
		/* Also after a timeout: the entry stays in the journal when the tree or its record could not be removed. */
		cleanup_call crio_call *late = cleanup_new_call(call);
		cleanup_strv struct strv gone = STRV_INIT;
		if (edit_take_back(t, n->id, FS_KEEP) && late && strv_add(&gone, n->id) == 0)
			(void)layers_discard(n->s, late, &gone, NULL);
	}
	return code;
}

static int commit(struct store_new_layer *n, crio_call *call, const struct store_layer_info *info,
		  struct store_layer **ret, bool *ret_placed, crio_err *err)
{
	struct table *t = &n->s->t[T_LAYERS];
	cleanup_rec struct rec *r = NULL;

	if (!str_eq(info->diff_digest, n->diff_digest))
		return err_set(err, CRIO_E_CORRUPT, "layer %s unpacked to %s, but the image's configuration says %s",
			       n->id, info->diff_digest, n->diff_digest);
	/* Before the lock: this is the part that takes long. */
	if (syncfs(n->dirfd) < 0)
		return err_errno(err, errno, "sync of %s", n->s->root);
	if (!info->no_tar_split && fsync(n->tar_fd) < 0)
		return err_errno(err, errno, "sync of %s", t->dir);
	int code = table_lock(t, call, true, err);
	if (code < 0)
		return code;
	cleanup_table struct table *held = t;
	cleanup_rec struct rec *there = table_find(t, n->id);
	if (!there || there->u.layer.incomplete) {
		code = there ? layer_incomplete_remove(n->s, call, n->id, err) : 0;
		if (!code)
			code = new_record(n, info, &r, err);
		if (!code)
			code = record(n, call, info, r, err);
		if (code < 0)
			return code;
		*ret_placed = true;
	}
	if (ret)
		*ret = &rec_ref(r ? r : there)->u.layer;
	return 0;
}

int store_layer_commit(struct store_new_layer *l, crio_call *call, const struct store_layer_info *info,
		       struct store_layer **ret, crio_err *err)
{
	bool placed = false;
	int r = commit(l, call, info, ret, &placed, err);
	if (placed) {
		/* While the tree is in the caches; without this figure whoever asks for it first waits a little. */
		struct store_usage u;
		cleanup_err crio_err why = ERR_INIT;
		if (usage_measure(l->s, call, l->id, &u, &why) < 0)
			log_debug("Store %s: %s", l->s->root, err_text(&why));
		new_layer_free(l);
	} else
		store_layer_abort(l);
	return r;
}

/* ---- reading back ---- */

int store_layer_tree_open(struct store *s, crio_call *call, const char *id, int *ret_dirfd, crio_err *err)
{
	struct crio_storage_id_args args = {.size = sizeof(args), .read_only = 1, .id = id, .mount_label = ""};
	struct crio_storage_tree_out out = {.size = sizeof(out), .dirfd = -1};
	int r = id_check("layer", id, err);
	if (!r)
		r = plugin_storage_tree_open(s->inst, call, &args, &out, err);
	if (r < 0)
		return r;
	*ret_dirfd = out.dirfd;
	return 0;
}

int store_layer_tar_split_open(struct store *s, const char *id, int *ret_fd, crio_err *err)
{
	char name[96];
	int r = id_check("layer", id, err);
	if (r < 0)
		return r;
	(void)snprintf(name, sizeof(name), "%.64s.tar-split.gz", id);
	if (s->t[T_LAYERS].dirfd < 0)
		return err_set(err, CRIO_E_NOT_FOUND, "tar-split of layer %s", id);
	int fd = openat(s->t[T_LAYERS].dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open %s/%s", s->t[T_LAYERS].dir, name);
	*ret_fd = fd;
	return 0;
}

enum crio_whiteout store_whiteout(const struct store *s)
{
	return s->whiteout;
}

int store_layer_data(struct store *s, crio_call *call, const char *id, struct kvs *ret, crio_err *err)
{
	struct crio_storage_id_args args = {.size = sizeof(args), .id = id, .mount_label = ""};
	struct crio_storage_map_out out = {.size = sizeof(out)};
	int r = id_check("layer", id, err);
	if (!r)
		r = plugin_storage_info(s->inst, call, &args, &out, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < out.v.n; i++)
		if (kvs_set(ret, out.v.v[i].key, out.v.v[i].value) < 0)
			return err_nomem(err);
	return 0;
}
