/* recover.c: undoing what a crash left half done, and removing layers that no pull came to use. */
#include "core/store/priv.h"

#include "core/util/log.h"

/* A step that did not work is logged and tried again at the next start: recovery goes on with the rest. */
static void step_failed(const struct store *s, const char *what, const char *id, crio_err *err)
{
	log_warn("Store %s: %s%s%s: %s", s->root, what, *id ? " " : "", id, err_text(err));
	err_clear(err);
}

static bool is_busy(struct store *s, const char *id)
{
	cleanup_unlock pthread_mutex_t *l = lock(&s->busy_mu);
	for (const struct busy *b = s->busy; b; b = b->next)
		if (str_eq(b->id, id))
			return true;
	return false;
}

/* In use by an image or container: no longer ours to watch. By a child: it may become garbage yet. */
static void gc_in_use(struct store *s, const struct edit *e, const char *id)
{
	for (size_t i = 0; i < e->n; i++)
		if (str_eq(e->v[i]->u.layer.parent, id))
			return;
	journal_del(s, 'l', id);
}

/* Parents that this daemon did not make are not ours to remove: back into the edit. */
static int gc_keep_foreign(struct store *s, struct edit *e, struct strv *gone, crio_err *err)
{
	size_t ours = 0;
	while (ours < gone->n && journal_age_ns(s, 'l', gone->v[ours]) >= 0)
		ours++;
	for (size_t i = ours; i < gone->n; i++) {
		struct rec *back = table_find(&s->t[T_LAYERS], gone->v[i]);
		int r = back ? edit_put(e, back, err) : 0;
		if (r < 0)
			return r;
		free(gone->v[i]);
		gone->v[i] = NULL;
	}
	gone->n = ours;
	return 0;
}

/* Takes a recorded layer, and its parents as far as nothing uses them, out of the records. */
static int gc_records(struct store *s, const char *id, struct strv *gone, crio_err *err)
{
	cleanup_edit struct edit e = {0};
	cleanup_set struct set *images = table_get(&s->t[T_IMAGES]), *ctrs = table_get(&s->t[T_CONTAINERS]);

	int code = edit_init(&e, &s->t[T_LAYERS], err);
	if (!code)
		code = layers_unreferenced(&e, images, "", ctrs, id, gone, err);
	if (code < 0)
		return code;
	if (!gone->n) {
		gc_in_use(s, &e, id);
		return 0;
	}
	code = gc_keep_foreign(s, &e, gone, err);
	return code < 0 ? code : edit_save(&e, FS_KEEP, err);
}

/* Removes one journalled layer if nothing uses it. All tables locked. */
static int gc_layer(struct store *s, crio_call *call, const char *id, int64_t min_age_ns, size_t *removed,
		    crio_err *err)
{
	cleanup_strv struct strv gone = STRV_INIT;
	cleanup_rec struct rec *r = table_find(&s->t[T_LAYERS], id);
	int code = 0;

	if (is_busy(s, id))
		return 0;
	/* An image's layer may still be wanted by a pull that goes on; one of a container without a record is not. */
	char note[16] = "";
	bool removing = journal_note(s, 'l', id, note, sizeof(note)) && str_eq(note, JOURNAL_REMOVE);
	if (r && *r->u.layer.diff_digest && !removing && journal_age_ns(s, 'l', id) < min_age_ns)
		return 0;
	if (r)
		code = gc_records(s, id, &gone, err);
	else if (strv_add(&gone, id) < 0)
		return err_nomem(err);
	for (size_t i = 0; !code && i < gone.n; i++)
		code = mnt_unmount(s, call, gone.v[i], true, err);
	if (!code)
		code = layers_discard(s, call, &gone, err);
	if (!code)
		*removed += gone.n;
	return code;
}

static int gc_locked(struct store *s, crio_call *call, int64_t min_age_ns, size_t *removed, crio_err *err)
{
	cleanup_strv struct strv ids = STRV_INIT;
	int code = journal_list(s, 'l', &ids, err);
	for (size_t i = 0; !code && i < ids.n; i++) {
		cleanup_err crio_err why = ERR_INIT;
		code = call_check(call, "remove unused layers", err);
		if (!code && gc_layer(s, call, ids.v[i], min_age_ns, removed, &why) < 0)
			step_failed(s, "unused layer not removed:", ids.v[i], &why);
	}
	return code;
}

static int lock_all(struct store *s, crio_call *call, crio_err *err)
{
	for (int k = 0; k < T_KINDS; k++) {
		int r = table_lock(&s->t[k], call, true, err);
		if (r < 0) {
			while (k-- > 0)
				table_unlock(&s->t[k]);
			return r;
		}
	}
	return 0;
}

static void unlock_all(struct store *s)
{
	for (int k = T_KINDS; k-- > 0;)
		table_unlock(&s->t[k]);
}

int store_gc(struct store *s, crio_call *call, int64_t min_age_ns, size_t *ret_removed, crio_err *err)
{
	size_t removed = 0;
	if (s->read_only)
		return err_set(err, CRIO_E_DENIED, "store %s is read-only", s->root);
	int code = lock_all(s, call, err);
	if (code < 0)
		return code;
	code = gc_locked(s, call, min_age_ns, &removed, err);
	unlock_all(s);
	if (!code && ret_removed)
		*ret_removed = removed;
	return code;
}

/* A file that lost records is written anew, so that the other tools can read it again. */
static int rewrite_damaged(struct store *s, crio_err *err)
{
	for (int k = 0; k < T_KINDS; k++) {
		cleanup_edit struct edit e = {0};
		if (!s->t[k].damaged)
			continue;
		int r = edit_init(&e, &s->t[k], err);
		if (r < 0)
			return r;
		e.touched[0] = true;
		e.touched[1] = k != T_IMAGES;
		r = edit_save(&e, FS_KEEP, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int recover_incomplete(struct store *s, crio_call *call, crio_err *err)
{
	cleanup_set struct set *set = table_get(&s->t[T_LAYERS]);
	for (size_t i = 0; i < set->pub.n; i++) {
		cleanup_err crio_err why = ERR_INIT;
		const struct store_layer *l = set->pub.v[i];
		int r = l->incomplete ? call_check(call, "remove incomplete layers", err) : 0;
		if (r < 0)
			return r;
		if (l->incomplete && layer_incomplete_remove(s, call, l->id, &why) < 0)
			step_failed(s, "incomplete layer not removed:", l->id, &why);
	}
	return 0;
}

/* Containers that were being made or removed. Their layers have journal entries of their own. */
static int recover_containers(struct store *s, crio_err *err)
{
	cleanup_strv struct strv ids = STRV_INIT;
	int code = journal_list(s, 'c', &ids, err);
	for (size_t i = 0; !code && i < ids.n; i++) {
		cleanup_err crio_err why = ERR_INIT;
		cleanup_rec struct rec *r = table_find(&s->t[T_CONTAINERS], ids.v[i]);
		if (!r && container_dirs_remove(s, ids.v[i], &why) < 0)
			step_failed(s, "directories of an unfinished container not removed:", ids.v[i], &why);
		else
			journal_del(s, 'c', ids.v[i]);
	}
	return code;
}

/* Files of ours that were being written. */
static void recover_begun(struct store *s)
{
	cleanup_set struct set *images = table_get(&s->t[T_IMAGES]);
	cleanup_free char *own = path_fmt("%s/crio", s->root), *run = path_fmt("%s/%s-layers", s->runroot, s->driver);
	for (int k = 0; k < T_KINDS; k++)
		fs_sweep_begun(s->t[k].dirfd);
	for (size_t i = 0; i < images->pub.n; i++) {
		cleanup_free char *dir = path_fmt("%s/%s", s->t[T_IMAGES].dir, set_rec(images, i)->id);
		if (dir)
			fs_sweep_begun_path(dir);
	}
	if (own)
		fs_sweep_begun_path(own);
	if (run)
		fs_sweep_begun_path(run);
}

/* Half-written tar-splits; data of images that were never recorded. */
static void recover_files(struct store *s)
{
	for (int k = T_LAYERS; k <= T_IMAGES; k++) {
		struct table *t = &s->t[k];
		cleanup_set struct set *set = table_get(t);
		cleanup_closedir DIR *d = opendir(t->dir);
		for (struct dirent *e; d && (e = readdir(d));) {
			if (k == T_LAYERS && str_starts(e->d_name, ".crio-") && str_ends(e->d_name, ".tmp"))
				(void)unlinkat(t->dirfd, e->d_name, 0);
			if (k == T_IMAGES && !t->damaged && str_is_hex(e->d_name, 64) && !set_get(set, e->d_name))
				(void)fs_rm_rf(t->dirfd, e->d_name, NULL);
		}
	}
}

static int recover_plugin(struct store *s, crio_call *call, crio_err *err)
{
	cleanup_set struct set *set = table_get(&s->t[T_LAYERS]);
	cleanup_strv struct strv known = STRV_INIT;
	struct crio_storage_recover_args args = {.size = sizeof(args)};
	struct crio_storage_no_out out = {.size = sizeof(out)};

	for (size_t i = 0; i < set->pub.n; i++)
		if (strv_add(&known, set_rec(set, i)->id) < 0)
			return err_nomem(err);
	args.known = strv_view(&known);
	return plugin_storage_recover(s->inst, call, &args, &out, err);
}

int store_recover(struct store *s, crio_call *call, crio_err *err)
{
	size_t removed = 0;
	int r = lock_all(s, call, err);
	if (r < 0)
		return r;
	r = recover_plugin(s, call, err);
	if (!r)
		r = rewrite_damaged(s, err);
	if (!r)
		r = recover_incomplete(s, call, err);
	if (!r)
		r = recover_containers(s, err);
	if (!r)
		r = gc_locked(s, call, STORE_GC_AGE_NS, &removed, err);
	if (!r)
		recover_files(s);
	if (!r)
		recover_begun(s);
	unlock_all(s);
	if (removed)
		log_info("Store %s: removed %zu layers that nothing used", s->root, removed);
	return r < 0 ? err_wrap(err, "recover store %s", s->root) : 0;
}
