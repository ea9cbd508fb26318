/*
 * mounts.c: who has which layer mounted. Counts are in memory; what an earlier run of ours (or CRI-O) left mounted is
 * found on the mountpoint itself at the first look and counts as one. <runroot>/<driver>-layers/mountpoints.json tells
 * the Go tools, which unmount what it lists before they remove a layer.
 */
#include "core/store/priv.h"

#include <fcntl.h>

#include "core/exec/userns.h"
#include "core/util/failpoint.h"
#include "core/util/json.h"
#include "core/util/log.h"

static struct mnt *mnt_get(struct store *s, const char *layer, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&s->mnt_mu);
	struct mnt *m = map_get(s->mnts, layer);
	if (!m) {
		m = calloc(1, sizeof(*m));
		if (!m || map_set(s->mnts, layer, m) < 0) {
			free(m);
			(void)err_nomem(err);
			return NULL;
		}
		(void)pthread_mutex_init(&m->mu, NULL);
		(void)snprintf(m->id, sizeof(m->id), "%.64s", layer);
		m->refs = 1; /* the map's */
	}
	m->refs++;
	return m;
}

static void mnt_free(struct mnt *m)
{
	(void)pthread_mutex_destroy(&m->mu);
	free(m->path);
	free(m);
}

static void mnt_put(struct store *s, struct mnt *m)
{
	(void)pthread_mutex_lock(&s->mnt_mu);
	bool last = --m->refs == 0;
	(void)pthread_mutex_unlock(&s->mnt_mu);
	if (last)
		mnt_free(m);
}

void mnt_forget(struct store *s, const char *layer)
{
	(void)pthread_mutex_lock(&s->mnt_mu);
	struct mnt *m = map_del(s->mnts, layer);
	(void)pthread_mutex_unlock(&s->mnt_mu);
	if (m)
		mnt_put(s, m);
}

void mnts_release(struct store *s)
{
	size_t it = 0;
	const char *key;
	void *v;
	while (s->mnts && map_next(s->mnts, &it, &key, &v))
		mnt_free(v);
	map_free(s->mnts);
	s->mnts = NULL;
}

static int mnt_lock(struct mnt *m, crio_call *call, crio_err *err)
{
	if (!lock_until(&m->mu, call_deadline(call)))
		return err_set(err, CRIO_E_DEADLINE, "layer %s is being mounted or unmounted", m->id);
	return 0;
}

/* ---- mountpoints.json ---- */

static void mountpoints_edit(struct json_object *arr, const char *layer, const char *path, unsigned count)
{
	for (size_t i = json_object_array_length(arr); i > 0; i--)
		if (str_eq(json_str(json_object_array_get_idx(arr, i - 1), "id"), layer))
			(void)json_object_array_del_idx(arr, i - 1, 1);
	struct json_object *o = count ? json_object_new_object() : NULL;
	if (!o)
		return;
	if (json_set_str(o, "id", layer) < 0 || json_set_str(o, "path", path) < 0 ||
	    json_set_int(o, "count", count) < 0)
		json_object_put(o);
	else
		(void)json_push(arr, o);
}

/* The mounts themselves are the truth; failing to tell the Go tools is only worth a line in the log. */
static void mountpoints_note(struct store *s, crio_call *call, const struct mnt *m)
{
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *dir = path_fmt("%s/%s-layers", s->runroot, s->driver), *text = NULL;
	cleanup_json struct json_object *arr = NULL;
	char w[65];

	if (!dir || fs_mkdir_p(dir, 0700, &err) < 0)
		return;
	cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int lk = fd < 0 ? -1 : openat(fd, "mountpoints.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int64_t end = now_mono_ns() + 2000000000;
	if (lk < 0 || fs_lock(lk, true, end < call_deadline(call) ? end : call_deadline(call), &err) < 0)
		return;
	if (json_read_file(fd, "mountpoints.json", STORE_FILE_MAX, &arr, NULL) < 0 ||
	    !json_object_is_type(arr, json_type_array)) {
		json_object_put(arr);
		arr = json_object_new_array();
	}
	if (!arr)
		return;
	mountpoints_edit(arr, m->id, m->path, m->count);
	text = json_text(arr);
	if (text && fs_write_file(fd, "mountpoints.json", text, strlen(text), 0600, FS_RUN, &err) == 0 && id_new(w) &&
	    pwrite(lk, w, 64, 0) == 64)
		return;
	log_debug("Store %s: mountpoints.json not written: %s", s->root, err_text(&err));
}

/* ---- mounting ---- */

static int plugin_rows(struct store *s, crio_call *call, const char *layer, bool read_only, const char *label,
		       struct crio_storage_mounts_out *out, crio_err *err)
{
	struct crio_storage_id_args args = {
	    .size = sizeof(args), .read_only = read_only, .id = layer, .mount_label = label ? label : ""};
	return plugin_storage_mounts(s->inst, call, &args, out, err);
}

static int plugin_release(struct store *s, crio_call *call, const char *layer, bool read_only, crio_err *err)
{
	struct crio_storage_id_args args = {
	    .size = sizeof(args), .read_only = read_only, .id = layer, .mount_label = ""};
	struct crio_storage_no_out out = {.size = sizeof(out)};
	return plugin_storage_release(s->inst, call, &args, &out, err);
}

/* Where the layer is mounted, by the driver's own word ("MergedDir"), and whether it is now. m->mu held. */
static int look(struct store *s, crio_call *call, struct mnt *m, crio_err *err)
{
	cleanup_kvs struct kvs data = KVS_INIT;
	if (m->looked)
		return 0;
	int r = store_layer_data(s, call, m->id, &data, err);
	if (r < 0)
		return r;
	const char *merged = kvs_get(&data, "MergedDir");
	m->path = merged ? strdup(merged) : path_fmt("%s/%s-layers/%s.mnt", s->runroot, s->driver, m->id);
	if (!m->path)
		return err_nomem(err);
	m->own_dir = !merged;
	if (fs_is_mountpoint(AT_FDCWD, m->path, NULL) == 1) {
		m->count = 1;
		atomic_store(&m->mounted, true);
	}
	m->looked = true;
	return 0;
}

/* One directory, shown as it is: it is its own mountpoint (btrfs), as with the Go driver. */
static const char *direct_path(const struct crio_mount_rows *rows)
{
	const struct crio_mount_row *row = rows->n == 1 ? CRIO_ROW(crio_mount_row, *rows, 0) : NULL;
	if (!row || !str_eq(row->type, "bind") || *row->target)
		return NULL;
	for (size_t i = 0; i < row->options.n; i++)
		if (!str_eq(row->options.v[i], "rw") && !str_eq(row->options.v[i], "bind") &&
		    !str_eq(row->options.v[i], "rbind"))
			return NULL;
	return row->source;
}

/* A user namespace for mounting; the mount keeps its maps. */
static int maps_open(const struct id_maps *maps, struct userns *ret, crio_err *err)
{
	if (!maps || !id_maps_set(maps))
		return 0;
	int r = id_maps_check(maps, -1, -1, err);
	return r < 0 ? r : userns_make(maps, 0, ret, err);
}

static int mount_first(struct store *s, crio_call *call, struct mnt *m, const struct store_container *c, crio_err *err)
{
	struct crio_storage_mounts_out out = {.size = sizeof(out)};
	cleanup_userns struct userns u = USERNS_INIT;
	int r = maps_open(&c->maps, &u, err);
	if (!r)
		r = plugin_rows(s, call, m->id, false, c->mount_label, &out, err);
	if (r < 0)
		return r;
	const char *direct = u.user < 0 ? direct_path(&out.rows) : NULL;
	m->direct = direct;
	if (direct) {
		char *path = strdup(direct);
		if (!path)
			return err_nomem(err);
		free(m->path);
		m->path = path;
		return 0;
	}
	r = fs_mkdir_p(m->path, 0700, err);
	if (!r)
		r = FAILPOINT("store.mount.dir", err);
	if (!r)
		r = mount_rows(&out.rows, u.user, m->path, err);
	if (r < 0) {
		cleanup_call crio_call *late = cleanup_new_call(call);
		if (late)
			(void)plugin_release(s, late, m->id, false, NULL);
		if (m->own_dir)
			(void)rmdir(m->path);
	}
	return r;
}

static int mount_locked(struct store *s, crio_call *call, struct mnt *m, const struct store_container *c, char **ret_path,
			crio_err *err)
{
	int r = look(s, call, m, err);
	if (!r && !m->count)
		r = mount_first(s, call, m, c, err);
	if (r < 0)
		return r;
	char *path = strdup(m->path);
	m->count++;
	atomic_store(&m->mounted, true);
	FAILPOINT_CUT("store.mount.mounted");
	if (!m->direct)
		mountpoints_note(s, call, m);
	if (!path)
		return err_nomem(err); /* stays mounted: the caller's undo unmounts */
	*ret_path = path;
	return 0;
}

int store_mount(struct store *s, crio_call *call, const char *container_id, char **ret_path, crio_err *err)
{
	cleanup_rec struct rec *c = table_find(&s->t[T_CONTAINERS], container_id);
	if (!c)
		return err_set(err, CRIO_E_NOT_FOUND, "container %s in store %s", container_id, s->root);
	struct mnt *m = mnt_get(s, c->u.ctr.layer, err);
	if (!m)
		return CRIO_E_NOMEM;
	int r = mnt_lock(m, call, err);
	if (!r) {
		r = mount_locked(s, call, m, &c->u.ctr, ret_path, err);
		(void)pthread_mutex_unlock(&m->mu);
	}
	mnt_put(s, m);
	return r < 0 ? err_wrap(err, "mount container %s", container_id) : 0;
}

static int unmount_locked(struct store *s, crio_call *call, struct mnt *m, bool force, crio_err *err)
{
	int r = look(s, call, m, err);
	if (r == CRIO_E_NOT_FOUND) {
		err_clear(err);
		return 0; /* no such layer any more */
	}
	if (r < 0)
		return r;
	if (m->count > 1 && !force) {
		m->count--;
		mountpoints_note(s, call, m);
		return 0;
	}
	if (!m->direct) {
		/* Somebody may have mounted over it more than once. */
		for (int i = 0; i < 16 && fs_is_mountpoint(AT_FDCWD, m->path, NULL) == 1; i++) {
			r = fs_umount(m->path, err);
			if (r < 0)
				return r;
		}
	}
	FAILPOINT_CUT("store.mount.unmounted");
	if (!m->direct && m->own_dir)
		(void)rmdir(m->path);
	bool was = m->count > 0;
	m->count = 0;
	atomic_store(&m->mounted, false);
	if (was && !m->direct)
		mountpoints_note(s, call, m);
	return was || force ? plugin_release(s, call, m->id, false, err) : 0;
}

int mnt_unmount(struct store *s, crio_call *call, const char *layer, bool force, crio_err *err)
{
	struct mnt *m = mnt_get(s, layer, err);
	if (!m)
		return CRIO_E_NOMEM;
	int r = mnt_lock(m, call, err);
	if (!r) {
		cleanup_err crio_err why = ERR_INIT;
		r = unmount_locked(s, call, m, force, &why);
		if (r < 0)
			(void)err_move(err, &why);
		(void)pthread_mutex_unlock(&m->mu);
	}
	mnt_put(s, m);
	return r;
}

int store_unmount(struct store *s, crio_call *call, const char *container_id, bool force, crio_err *err)
{
	cleanup_rec struct rec *c = table_find(&s->t[T_CONTAINERS], container_id);
	if (!c)
		return 0;
	int r = mnt_unmount(s, call, c->u.ctr.layer, force, err);
	return r < 0 ? err_wrap(err, "unmount container %s", container_id) : 0;
}

bool store_is_mounted(struct store *s, const char *container_id)
{
	cleanup_rec struct rec *c = table_find(&s->t[T_CONTAINERS], container_id);
	struct mnt *m = c ? mnt_get(s, c->u.ctr.layer, NULL) : NULL;
	if (!m)
		return false;
	bool yes = atomic_load(&m->mounted);
	/* Not looked at since we started: only the fixed place of overlay can be told without asking the driver. */
	if (!yes && pthread_mutex_trylock(&m->mu) == 0) {
		if (!m->looked) {
			cleanup_free char *path = path_fmt("%s/%s/merged", s->driver_dir, m->id);
			yes = path && fs_is_mountpoint(AT_FDCWD, path, NULL) == 1;
		}
		(void)pthread_mutex_unlock(&m->mu);
	}
	mnt_put(s, m);
	return yes;
}

int store_root_open(struct store *s, crio_call *call, const char *container_id, const char *mountpoint, int *ret_fd, bool *ret_host_ids,
		    crio_err *err)
{
	cleanup_rec struct rec *c = table_find(&s->t[T_CONTAINERS], container_id);
	if (!c)
		return err_set(err, CRIO_E_NOT_FOUND, "container %s in store %s", container_id, s->root);
	bool host_ids = !id_maps_set(&c->u.ctr.maps) || s->whiteout != CRIO_WHITEOUT_REMOVE;
	if (!host_ids) {
		int r = store_layer_tree_open(s, call, c->u.ctr.layer, ret_fd, err);
		if (r < 0)
			return r;
	} else {
		int fd = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return err_errno(err, errno, "open %s", mountpoint);
		*ret_fd = fd;
	}
	*ret_host_ids = host_ids;
	return 0;
}

int store_layer_mount_at(struct store *s, crio_call *call, const char *layer_id, const char *label, const struct id_maps *maps,
			 const char *path, crio_err *err)
{
	struct crio_storage_mounts_out out = {.size = sizeof(out)};
	cleanup_userns struct userns u = USERNS_INIT;
	int r = id_check("layer", layer_id, err);
	if (!r)
		r = maps_open(maps, &u, err);
	if (!r)
		r = plugin_rows(s, call, layer_id, true, label, &out, err);
	if (!r)
		r = mount_rows(&out.rows, u.user, path, err);
	return r < 0 ? err_wrap(err, "mount layer %s", layer_id) : 0;
}

int store_layer_unmount_at(struct store *s, crio_call *call, const char *layer_id, const char *path, crio_err *err)
{
	int r = id_check("layer", layer_id, err);
	if (!r)
		r = fs_umount(path, err);
	if (!r)
		r = plugin_release(s, call, layer_id, true, err);
	return r < 0 ? err_wrap(err, "unmount layer %s", layer_id) : 0;
}

int store_mount_rows(struct store *s, crio_call *call, const char *layer_id, bool read_only,
		     struct crio_mount_rows *ret, crio_err *err)
{
	struct crio_storage_mounts_out out = {.size = sizeof(out)};
	int r = id_check("layer", layer_id, err);
	if (!r)
		r = plugin_rows(s, call, layer_id, read_only, "", &out, err);
	if (r < 0)
		return r;
	*ret = out.rows;
	return 0;
}
