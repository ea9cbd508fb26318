/* containers.c: records of containers, with their read-write layers and directories. */
#include "core/store/priv.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "core/util/failpoint.h"
#include "core/util/json.h"

#define METADATA_MAX (1u << 20)

struct store_container *store_container_get(struct store *s, const char *id)
{
	struct rec *r = table_find(&s->t[T_CONTAINERS], id);
	return r ? &r->u.ctr : NULL;
}

char *store_container_dir(const struct store *s, const char *id)
{
	return path_fmt("%s/%s/userdata", s->container_fs, id);
}

char *store_container_run_dir(const struct store *s, const char *id)
{
	cleanup_free char *dir = path_fmt("%s/%s-containers/%s/userdata", s->runroot, s->driver, id);
	if (dir && str_is_hex(id, 64))
		(void)fs_mkdir_p(dir, 0700, NULL); /* what uses it says why it cannot */
	return move_ptr(dir);
}

static int make_dirs(struct store *s, const char *id, crio_err *err)
{
	cleanup_free char *a = store_container_dir(s, id),
			  *b = path_fmt("%s/%s-containers/%s/userdata", s->runroot, s->driver, id);
	if (!a || !b)
		return err_nomem(err);
	int r = fs_mkdir_p(a, 0700, err);
	r = r < 0 ? r : FAILPOINT("store.container.dir", err);
	r = r < 0 ? r : fs_mkdir_p(b, 0700, err);
	return r < 0 ? r : FAILPOINT("store.container.dirs", err);
}

int container_dirs_remove(struct store *s, const char *id, crio_err *err)
{
	int r = fs_rm_rf(s->t[T_CONTAINERS].dirfd, id, err);
	FAILPOINT_CUT("store.container.dir_removed");
	cleanup_free char *run = path_fmt("%s/%s-containers", s->runroot, s->driver);
	if (!run)
		return r < 0 ? r : err_nomem(err);
	cleanup_close int fd = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return r < 0 || errno == ENOENT ? r : err_errno(err, errno, "open %s", run);
	int r2 = fs_rm_rf(fd, id, r < 0 ? NULL : err);
	return r < 0 ? r : r2;
}

/* ---- create ---- */

static int ctr_record(const struct store_container_args *a, const char *layer, struct rec **ret, crio_err *err)
{
	char now[40];
	struct json_object *o = json_object_new_object(), *names = NULL, *flags;
	int r = o ? 0 : CRIO_E_NOMEM;

	time_format(now_real_ns(), now);
	if (!r)
		r = json_set_str(o, "id", a->id);
	if (!r && a->names.n)
		names = json_need_arr(o, "names");
	for (size_t i = 0; !r && i < a->names.n; i++)
		r = names ? json_push_str(names, a->names.v[i]) : CRIO_E_NOMEM;
	if (!r)
		r = json_set_str(o, "image", a->image);
	if (!r)
		r = json_set_str(o, "layer", layer);
	if (!r)
		r = json_set_str(o, "metadata", a->metadata);
	if (!r)
		r = json_set_str(o, "created", now);
	flags = r ? NULL : json_need_obj(o, "flags");
	if (!r)
		r = flags ? json_set_str(flags, "MountLabel", a->mount_label ? a->mount_label : "") : CRIO_E_NOMEM;
	if (!r)
		r = json_set_str(flags, "ProcessLabel", a->process_label ? a->process_label : "");
	if (!r)
		r = record_maps(o, a->maps);
	if (r < 0) {
		json_object_put(o);
		return err_nomem(err);
	}
	return rec_new(T_CONTAINERS, o, false, false, ret, err);
}

static int conflict(struct store *s, const struct store_container_args *a, crio_err *err)
{
	cleanup_set struct set *set = table_get(&s->t[T_CONTAINERS]);
	if (set_get(set, a->id))
		return err_set(err, CRIO_E_EXISTS, "container %s", a->id);
	for (size_t i = 0; i < set->pub.n; i++)
		for (size_t k = 0; k < a->names.n; k++)
			if (rec_has_name(set_rec(set, i), a->names.v[k]))
				return err_set(err, CRIO_E_EXISTS, "container name '%s' is in use by %s", a->names.v[k],
					       set_rec(set, i)->id);
	return 0;
}

/* The layer to put the container's own on. Tables may be locked or not: it only looks. */
static int parent_layer(struct store *s, const struct store_container_args *a, char ret[65], crio_err *err)
{
	cleanup_rec struct rec *image = NULL, *layer = NULL;
	const char *id = str_set(a->layer) ? a->layer : "";

	if (*a->image) {
		image = table_find(&s->t[T_IMAGES], a->image);
		if (!image)
			return err_set(err, CRIO_E_NOT_FOUND, "image %s in store %s", a->image, s->root);
		if (!*id)
			id = image->u.image.layer;
	}
	(void)snprintf(ret, 65, "%.64s", id);
	if (!*id)
		return 0;
	layer = table_find(&s->t[T_LAYERS], id);
	if (!layer || layer->u.layer.incomplete)
		return err_set(err, CRIO_E_CORRUPT, "layer %s of image %s is missing; pull the image again", id,
			       a->image);
	return 0;
}

struct creating {
	struct store *s;
	const struct store_container_args *a;
	char layer[65], parent[65];
	struct rec *ctr, *lrec;
	bool recorded; /* in spite of a failure: nothing may be undone */
};

/* The root directory that the container will see is its own layer's where layers are deltas: it is given to the user who is
 * inside whom it belonged to. All else of the image is mapped when it is mounted. */
static int hand_over(struct creating *c, crio_call *call, crio_err *err)
{
	const struct id_maps *m = c->a->maps;
	cleanup_close int fd = -1;
	struct stat st;

	if (!m || !id_maps_set(m) || c->s->whiteout == CRIO_WHITEOUT_REMOVE)
		return 0;
	int r = store_layer_tree_open(c->s, call, c->layer, &fd, err);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "look at the tree of layer %s", c->layer);
	uint32_t uid = id_to_host(&m->uids, st.st_uid), gid = id_to_host(&m->gids, st.st_gid);
	if (fchown(fd, uid == IDMAP_NONE ? id_to_host(&m->uids, 0) : uid, gid == IDMAP_NONE ? id_to_host(&m->gids, 0) : gid) < 0 ||
	    fchmod(fd, st.st_mode & 07777) < 0)
		return err_errno(err, errno, "hand the root directory of layer %s over", c->layer);
	return 0;
}

static int make_layer(struct creating *c, crio_call *call, crio_err *err)
{
	struct crio_storage_create_args args = {.size = sizeof(args),
						.id = c->layer,
						.parent = c->parent,
						.mount_label = c->a->mount_label ? c->a->mount_label : "",
						.quota = c->a->quota};
	struct crio_storage_no_out out = {.size = sizeof(out)};
	struct json_object *o = NULL;

	if (layer_record(c->layer, c->parent, args.mount_label, c->a->maps, &o) < 0)
		return err_nomem(err);
	int r = rec_new(T_LAYERS, o, false, false, &c->lrec, err);
	if (!r)
		r = ctr_record(c->a, c->layer, &c->ctr, err);
	if (!r)
		r = journal_add(c->s, 'l', c->layer, "", err);
	if (!r)
		r = journal_add(c->s, 'c', c->a->id, c->layer, err);
	if (!r)
		r = plugin_storage_layer_create(c->s->inst, call, &args, &out, err);
	return r < 0 ? r : hand_over(c, call, err);
}

static int put_and_save(struct table *t, struct rec *r, enum fs_durability d, crio_err *err)
{
	cleanup_edit struct edit e = {0};
	int code = edit_init(&e, t, err);
	if (!code)
		code = edit_put(&e, rec_ref(r), err);
	return code < 0 ? code : edit_save(&e, d, err);
}

static int del_and_save(struct table *t, const char *id, enum fs_durability d, crio_err *err)
{
	cleanup_edit struct edit e = {0};
	int code = edit_init(&e, t, err);
	if (code < 0 || !edit_get(&e, id))
		return code;
	edit_del(&e, id);
	return edit_save(&e, d, err);
}

static int record_both(struct creating *c, crio_call *call, crio_err *err)
{
	struct store *s = c->s;
	char parent[65];

	int r = table_lock(&s->t[T_LAYERS], call, true, err);
	if (r < 0)
		return r;
	cleanup_table struct table *held_l = &s->t[T_LAYERS];
	r = table_lock(&s->t[T_IMAGES], call, false, err);
	if (r < 0)
		return r;
	cleanup_table struct table *held_i = &s->t[T_IMAGES];
	r = table_lock(&s->t[T_CONTAINERS], call, true, err);
	if (r < 0)
		return r;
	cleanup_table struct table *held_c = &s->t[T_CONTAINERS];
	r = conflict(s, c->a, err); /* again: others may have been quicker */
	if (!r)
		r = parent_layer(s, c->a, parent, err);
	if (r < 0)
		return r;
	r = put_and_save(&s->t[T_LAYERS], c->lrec, s->ctr_durability, err);
	if (!r)
		r = put_and_save(&s->t[T_CONTAINERS], c->ctr, s->ctr_durability, err);
	if (r < 0)
		c->recorded = !edit_take_back(&s->t[T_CONTAINERS], c->a->id, s->ctr_durability) ||
			      !edit_take_back(&s->t[T_LAYERS], c->layer, s->ctr_durability);
	return r;
}

static void create_undo(struct creating *c, crio_call *call)
{
	cleanup_call crio_call *late = cleanup_new_call(call);
	cleanup_strv struct strv gone = STRV_INIT;
	if (c->recorded || !late || strv_add(&gone, c->layer) < 0)
		return; /* the journal has it */
	bool clean = layers_discard(c->s, late, &gone, NULL) == 0;
	/* The directories may be those of a container that had the id before us. */
	cleanup_rec struct rec *other = table_find(&c->s->t[T_CONTAINERS], c->a->id);
	if (!other)
		clean &= container_dirs_remove(c->s, c->a->id, NULL) == 0;
	if (clean)
		journal_del(c->s, 'c', c->a->id);
}

int store_container_create(struct store *s, crio_call *call, const struct store_container_args *a,
			   struct store_container **ret, crio_err *err)
{
	struct creating c = {.s = s, .a = a};
	int r = id_check("container", a->id, err);
	if (r < 0)
		return r;
	if (s->read_only)
		return err_set(err, CRIO_E_DENIED, "store %s is read-only", s->root);
	if (strlen(a->metadata) > METADATA_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "container %s: metadata of more than %u bytes", a->id,
			       METADATA_MAX);
	if (!id_new(c.layer))
		return err_set(err, CRIO_E_INTERNAL, "no source of random numbers");
	r = conflict(s, a, err);
	if (!r)
		r = parent_layer(s, a, c.parent, err);
	if (!r)
		r = busy_take(s, call, c.layer, true, err);
	if (r < 0)
		return r;
	r = make_layer(&c, call, err);
	if (!r)
		r = make_dirs(s, a->id, err);
	if (!r)
		r = record_both(&c, call, err);
	if (r < 0) {
		create_undo(&c, call);
	} else {
		journal_del(s, 'l', c.layer);
		journal_del(s, 'c', a->id);
		if (ret)
			*ret = &rec_ref(c.ctr)->u.ctr;
	}
	busy_drop(s, c.layer);
	rec_unref(c.ctr);
	rec_unref(c.lrec);
	return r < 0 ? err_wrap(err, "create container %s in store %s", a->id, s->root) : 0;
}

/* ---- change ---- */

static int change(struct store *s, crio_call *call, const char *id, int (*fn)(struct json_object *o, const void *arg),
		  const void *arg, crio_err *err)
{
	struct table *t = &s->t[T_CONTAINERS];
	struct rec *n = NULL;
	int r = table_lock(t, call, true, err);
	if (r < 0)
		return r;
	cleanup_table struct table *held = t;
	cleanup_rec struct rec *old = table_find(t, id);
	if (!old)
		return err_set(err, CRIO_E_NOT_FOUND, "container %s in store %s", id, s->root);
	struct json_object *o = rec_copy(old);
	if (!o || fn(o, arg) < 0) {
		json_object_put(o);
		return err_nomem(err);
	}
	r = rec_new(T_CONTAINERS, o, old->is_volatile, false, &n, err);
	if (r < 0)
		return r;
	r = put_and_save(t, n, s->ctr_durability, err);
	rec_unref(n);
	return r;
}

static int set_meta(struct json_object *o, const void *arg)
{
	return json_set_str(o, "metadata", arg);
}

static int set_ctr_names(struct json_object *o, const void *arg)
{
	const struct crio_strs *names = arg;
	struct json_object *a = json_object_new_array();
	for (size_t i = 0; a && i < names->n; i++) {
		if (json_push_str(a, names->v[i]) < 0) {
			json_object_put(a);
			return CRIO_E_NOMEM;
		}
	}
	return json_set(o, "names", a);
}

int store_container_set_metadata(struct store *s, crio_call *call, const char *id, const char *metadata, crio_err *err)
{
	if (strlen(metadata) > METADATA_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "container %s: metadata of more than %u bytes", id, METADATA_MAX);
	return change(s, call, id, set_meta, metadata, err);
}

int store_container_set_names(struct store *s, crio_call *call, const char *id, struct crio_strs names, crio_err *err)
{
	cleanup_set struct set *set = table_get(&s->t[T_CONTAINERS]);
	for (size_t i = 0; i < set->pub.n; i++)
		for (size_t k = 0; k < names.n; k++)
			if (!str_eq(set_rec(set, i)->id, id) && rec_has_name(set_rec(set, i), names.v[k]))
				return err_set(err, CRIO_E_EXISTS, "container name '%s' is in use by %s", names.v[k],
					       set_rec(set, i)->id);
	return change(s, call, id, set_ctr_names, &names, err);
}

/* ---- delete ---- */

static int delete_records(struct store *s, crio_call *call, const char *id, const char *layer, crio_err *err)
{
	int r = table_lock(&s->t[T_LAYERS], call, true, err);
	if (r < 0)
		return r;
	cleanup_table struct table *held_l = &s->t[T_LAYERS];
	r = table_lock(&s->t[T_CONTAINERS], call, true, err);
	if (r < 0)
		return r;
	cleanup_table struct table *held_c = &s->t[T_CONTAINERS];
	r = journal_add(s, 'c', id, layer, err);
	if (!r)
		r = journal_add(s, 'l', layer, "", err);
	if (!r)
		r = del_and_save(&s->t[T_CONTAINERS], id, s->ctr_durability, err);
	if (!r)
		r = del_and_save(&s->t[T_LAYERS], layer, s->ctr_durability, err);
	return r;
}

int store_container_delete(struct store *s, crio_call *call, const char *id, crio_err *err)
{
	cleanup_rec struct rec *ctr = table_find(&s->t[T_CONTAINERS], id);
	cleanup_strv struct strv gone = STRV_INIT;
	char layer[65];

	int r = id_check("container", id, err);
	if (r < 0)
		return r;
	if (ctr)
		(void)snprintf(layer, sizeof(layer), "%.64s", ctr->u.ctr.layer);
	else if (s->read_only || !journal_note(s, 'c', id, layer, sizeof(layer)) || !str_is_hex(layer, 64))
		return 0; /* absent, and nothing of it was left over */
	if (s->read_only)
		return err_set(err, CRIO_E_DENIED, "store %s is read-only", s->root);
	r = mnt_unmount(s, call, layer, true, err);
	if (!r)
		r = delete_records(s, call, id, layer, err);
	if (!r)
		r = strv_add(&gone, layer) < 0 ? err_nomem(err) : 0;
	/* The layer's id is ours alone: no lock is needed for the rest. */
	if (!r)
		r = layers_discard(s, call, &gone, err);
	if (!r)
		r = container_dirs_remove(s, id, err);
	if (r < 0)
		return err_wrap(err, "remove container %s", id);
	journal_del(s, 'c', id);
	mnt_forget(s, layer);
	return 0;
}
