/*
 * restore.c: CreateContainer and StartContainer of a container that begins with a checkpoint. What the checkpoint says is taken as
 * little as can be: mounts, user, capabilities, seccomp, devices, limits and labels are the request's. criu's own files are another
 * matter: whoever may restore them decides what the processes are, which is why the configuration can forbid it.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "core/lifecycle/annotations.h"
#include "core/lifecycle/checkpoint.h"
#include "core/util/failpoint.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define ANN_CHECKPOINT "io.kubernetes.cri-o.annotations.checkpoint.name"
#define ANN_HASH "io.kubernetes.container.hash"
#define ANN_POD_UID "io.kubernetes.pod.uid"
#define ANN_CRIU_CONFIG "org.criu.config"
#define LAYERS_MAX 512

void checkpoint_release(struct checkpoint *k)
{
	checkpoint_source_release(&k->source);
	checkpoint_meta_release(&k->meta);
}

/* ---- where it is ---- */

/* A checkpoint image has it in one layer: the topmost that has config.dump. */
static int find_layer(struct store *s, crio_call *call, const char *top, int *ret, crio_err *err)
{
	cleanup_free char *id = strdup(top);
	for (int i = 0; id && *id && i < LAYERS_MAX; i++) {
		cleanup_close int tree = -1;
		struct stat st;
		int r = store_layer_tree_open(s, call, id, &tree, err);
		if (r < 0)
			return r;
		if (fstatat(tree, CHECKPOINT_CONFIG, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
			*ret = move_fd(tree);
			return 0;
		}
		cleanup_layer struct store_layer *l = store_layer_get(s, id);
		free(id);
		id = strdup(l ? l->parent : "");
	}
	return id ? err_set(err, CRIO_E_INVALID, "no layer of it has " CHECKPOINT_CONFIG) : err_nomem(err);
}

static int open_image(struct pod *p, crio_call *call, const struct container_config *config, const struct image *im,
		      struct checkpoint_source *ret, crio_err *err)
{
	const char *user_ref = *config->user_specified_image ? config->user_specified_image : config->image;
	struct store *store = NULL;
	char layer[65] = "";
	int r = images_check_allowed(p->lc->images, p->config.meta.ns, user_ref, im, err);
	r = r < 0 ? r : images_container_layer(p->lc->images, call, im, p->driver, &store, layer, err);
	r = r < 0 ? r : find_layer(store, call, layer, &ret->fd, err);
	ret->is_dir = true;
	return r < 0 ? err_wrap(err, "checkpoint image %.256s", config->image) : 0;
}

static int open_source(struct pod *p, crio_call *call, const struct container_config *config, struct checkpoint_source *ret, bool *ret_found,
		       crio_err *err)
{
	struct stat st;
	if (p->lc->conf->checkpoint_restore.container_level_enabled != CONF_CHECKPOINT_RESTORE)
		return 0;
	if (*config->image == '/' && stat(config->image, &st) == 0) {
		*ret_found = true;
		return checkpoint_source_open(config->image, ret, err);
	}
	cleanup_image_ref struct image *im = NULL;
	if (images_get(p->lc->images, config->image, &im, NULL) < 0 || !kvs_get(&im->annotations, ANN_CHECKPOINT))
		return 0; /* whoever makes the container says what is wrong with the image */
	*ret_found = true;
	return open_image(p, call, config, im, ret, err);
}

/* ---- what is taken from it ---- */

/* Those of the container as it was, but none that anything acts on; the request's win. */
static int take_annotations(const struct pod *p, const struct json_object *spec, struct kvs *request, crio_err *err)
{
	cleanup_json struct json_object *o = NULL;
	cleanup_kvs struct kvs all = KVS_INIT;
	const char *text = json_str(json_obj(spec, "annotations"), ANN_ANNOTATIONS);
	int r = json_parse(text, strlen(text), &o, err);
	if (r < 0 || json_map(o, &all) < 0)
		return err_set(err, CRIO_E_INVALID, "failed to read \"" ANN_ANNOTATIONS "\" of " CHECKPOINT_SPEC);
	r = annotations_filter(&all, NULL, err);
	if (r == 0 && *p->config.meta.uid && kvs_get(&all, ANN_POD_UID))
		r = kvs_set(&all, ANN_POD_UID, p->config.meta.uid);
	for (size_t i = 0; r == 0 && i < request->n; i++)
		r = kvs_set(&all, request->v[i].key, request->v[i].value);
	return r == 0 && kvs_copy(request, &all) == 0 ? 0 : err_nomem(err);
}

/* More may be masked than the request says, never less: what criu restores was masked so. */
static int take_paths(const struct json_object *spec, const char *key, struct strv *list, crio_err *err)
{
	cleanup_strv struct strv were = STRV_INIT;
	struct json_object *v = json_arr(json_obj(spec, "linux"), key);
	if (v && json_strs(v, &were) < 0)
		return err_set(err, CRIO_E_INVALID, "%s of " CHECKPOINT_SPEC " is not a list of paths", key);
	for (size_t i = 0; i < were.n; i++)
		if (!strv_has(list, were.v[i]) && strv_add(list, were.v[i]) < 0)
			return err_nomem(err);
	return 0;
}

/* Made for each container anew. */
static bool is_ours(const char *dest)
{
	static const char *const v[] = { "/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys", "/sys/fs/cgroup", "/dev/shm", "/etc/resolv.conf",
					 "/etc/hostname", "/etc/passwd", "/etc/group", "/run/secrets", "/run/.containerenv" };
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		if (str_eq(dest, v[i]))
			return true;
	return false;
}

static struct mount_config *find_mount(struct container_config *config, const char *dest)
{
	for (size_t i = 0; i < config->n_mounts; i++)
		if (str_eq(config->mounts[i].container_path, dest))
			return &config->mounts[i];
	return NULL;
}

/* Every mount that the processes had must be one of the request's: an archive never mounts anything. */
static int check_mounts(const struct json_object *spec, struct container_config *config, const char *image, crio_err *err)
{
	struct json_object *v = json_arr(spec, "mounts");
	size_t n = v ? json_object_array_length(v) : 0;
	cleanup_buf struct buf missing = BUF_INIT;
	missing.limit = 2048;
	for (size_t i = 0; i < n; i++) {
		const char *dest = json_str(json_object_array_get_idx(v, i), "destination");
		if (!is_ours(dest) && !find_mount(config, dest))
			buf_addf(&missing, "%s%.512s", missing.n ? "," : "", dest);
	}
	if (missing.oom)
		return err_nomem(err);
	return missing.n ? err_set(err, CRIO_E_INVALID, "restoring \"%.1024s\" expects following bind mounts defined (%s)", image, missing.p) : 0;
}

/* A source that is missing would be made a directory, where the processes had a file. */
static int make_files(const struct json_object *binds, struct container_config *config, crio_err *err)
{
	size_t n = binds ? json_object_array_length(binds) : 0;
	for (size_t i = 0; i < n; i++) {
		const struct json_object *o = json_object_array_get_idx(binds, i);
		const struct mount_config *m = find_mount(config, json_str(o, "destination"));
		struct stat st;
		if (!m || *m->image || !str_eq(json_str(o, "file_type"), "file") || !path_is_clean_abs(m->host_path) ||
		    lstat(m->host_path, &st) == 0 || errno != ENOENT)
			continue;
		cleanup_free char *dir = strdup(m->host_path);
		if (!dir)
			return err_nomem(err);
		*strrchr(dir, '/') = '\0';
		int r = *dir ? fs_mkdir_p(dir, 0755, err) : 0;
		if (r < 0)
			return err_wrap(err, "make the source of mount %.256s", m->container_path);
		cleanup_close int fd = open(m->host_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
					    (mode_t)json_int(o, "permissions", 0644) & 0777);
		if (fd < 0 && errno != EEXIST)
			return err_errno(err, errno, "make the source of mount %.256s, %.1024s", m->container_path, m->host_path);
	}
	return 0;
}

/* The image that the container had, which must be here. Its id where there is one: a name may mean another image by now. */
static int take_image(const struct json_object *dump, struct container_config *config, crio_err *err)
{
	const char *id = json_str(dump, "rootfsImageRef"), *name = json_str(dump, "rootfsImageName");
	if (*id && !str_is_hex(id, 64))
		return err_set(err, CRIO_E_INVALID, "invalid RootfsImageRef \"%.80s\"", id);
	if (!*id && !*name)
		return err_set(err, CRIO_E_INVALID, CHECKPOINT_CONFIG " does not name the image of the container");
	return config_set_str(&config->image, *id ? id : name) < 0 || config_set_str(&config->user_specified_image, "") < 0 ? err_nomem(err) : 0;
}

static int adapt(struct pod *p, struct container_config *config, const struct checkpoint *k, crio_err *err)
{
	const struct json_object *spec = k->meta.spec;
	int r = check_mounts(spec, config, config->image, err);
	r = r < 0 ? r : take_annotations(p, spec, &config->annotations, err);
	r = r < 0 ? r : take_paths(spec, "maskedPaths", &config->sec.masked_paths, err);
	r = r < 0 ? r : take_paths(spec, "readonlyPaths", &config->sec.readonly_paths, err);
	return r < 0 ? r : take_image(k->meta.config, config, err);
}

int checkpoint_find(struct pod *p, crio_call *call, struct container_config *config, struct checkpoint *ret, bool *ret_found, crio_err *err)
{
	int r = open_source(p, call, config, &ret->source, ret_found, err);
	if (r < 0 || !*ret_found)
		return r;
	cleanup_free char *image = strdup(config->image);
	if (!image)
		return err_nomem(err);
	if (!p->runtime || !(plugin_inst_caps(p->runtime) & CRIO_RUNTIME_CAP_CHECKPOINT))
		return err_set(err, CRIO_E_UNSUPPORTED, "restore from checkpoint %.1024s: configured runtime does not support checkpoint/restore", image);
	r = checkpoint_read_meta(&ret->source, call, &ret->meta, err);
	r = r < 0 ? r : adapt(p, config, ret, err);
	if (r < 0)
		return err_wrap(err, "restore from checkpoint %.1024s", image);
	int64_t at = 0;
	ret->at_ns = time_parse(json_str(ret->meta.config, "checkpointedTime"), &at) && at > 0 ? at : 0;
	log_debug("%s is a checkpoint of container %.80s", image, json_str(ret->meta.config, "id"));
	return 0;
}

/* ---- at the creation ---- */

static bool may_have_devices(const struct container_config *config)
{
	return config->sec.privileged || strv_has(&config->sec.cap_add, "MKNOD") || strv_has(&config->sec.cap_add, "ALL");
}

int checkpoint_place(struct container *c, crio_call *call, const struct checkpoint *k, crio_err *err)
{
	bool host_ids;
	cleanup_close int dir = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), root = -1;
	if (dir < 0)
		return err_errno(err, errno, "open %s", c->dir);
	int r = make_files(k->meta.binds, &c->config, err);
	r = r < 0 ? r : store_root_open(c->pod->store, call, c->id, c->rootfs, &root, &host_ids, err);
	if (r < 0)
		return r;
	/* The descriptor that we get is only a path. */
	cleanup_close int tree = fs_open_beneath(root, ".", O_RDONLY | O_DIRECTORY, 0, err);
	if (tree < 0)
		return tree;
	const struct checkpoint_target t = { .dir = dir,
					     .root = tree,
					     .devices = may_have_devices(&c->config),
					     .log_path = c->log_path,
					     .deleted = &k->meta.deleted };
	r = checkpoint_unpack(&k->source, call, &t, err);
	if (r < 0)
		return err_wrap(err, "unpack checkpoint");
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	c->restore = true;
	c->checkpointed_ns = k->at_ns;
	return 0;
}

/* runc and crun know the annotation; with a file that is not there they do without. */
int checkpoint_annotate(const struct container *c, struct json_object *spec, crio_err *err)
{
	struct json_object *o = json_need_obj(spec, "annotations");
	cleanup_free char *path = path_fmt("%s/criu.conf", c->run_dir);
	if (!o || !path)
		return err_nomem(err);
	return json_get(o, ANN_CRIU_CONFIG) || json_set_str(o, ANN_CRIU_CONFIG, path) == 0 ? 0 : err_nomem(err);
}

/* ---- at the start ---- */

/* A restore that nobody was told of is undone; its checkpoint is still there. */
static void undo_restore(struct container *c, crio_call *call)
{
	struct crio_runtime_id_args a = { .size = sizeof(a), .force = 1, .id = c->id };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	cleanup_err crio_err why = ERR_INIT;
	if (c->pod->runtime && plugin_runtime_del(c->pod->runtime, call, &a, &o, &why) < 0)
		log_warn("Container %s, which is still to be restored: %s", c->id, err_text(&why));
}

int container_do_restore(struct container *c, crio_call *call, crio_err *err)
{
	struct crio_runtime_create_args create;
	cleanup_free char *images = path_fmt("%s/" CHECKPOINT_DIR, c->dir);
	if (!images)
		return err_nomem(err);
	if (c->joined_pid > 0 && process_start_time(c->joined_pid) != c->joined_start)
		return err_set(err, CRIO_E_PRECONDITION, "process %d, whose pid namespace was asked for, has ended meanwhile", (int)c->joined_pid);
	container_fill_create(c, &create);
	struct crio_runtime_checkpoint_args a = { .size = sizeof(a),
						  .id = c->id,
						  .image_dir = images,
						  .work_dir = c->run_dir,
						  .create = { &create, 1, sizeof(create) },
						  .process_label = c->process_label,
						  .mount_label = c->mount_label };
	struct crio_runtime_create_out o = { .size = sizeof(o) };
	int r = FAILPOINT("restore.run", err);
	r = r < 0 ? r : plugin_runtime_restore(c->pod->runtime, call, &a, &o, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&c->lock);
	bool stopped = !c->restore; /* container_do_stop has been here meanwhile */
	c->restored = !stopped;
	c->restore = false;
	(void)pthread_mutex_unlock(&c->lock);
	if (stopped) {
		undo_restore(c, call);
		return err_set(err, CRIO_E_ABORTED, "container %s was stopped while it was restored", c->id);
	}
	container_created(c, &o);
	return FAILPOINT("restore.done", err);
}

static void remove_dir(struct container *c, const char *name)
{
	cleanup_err crio_err why = ERR_INIT;
	cleanup_close int dir = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0 && fs_rm_rf(dir, name, &why) < 0)
		log_warn("Remove %s/%s: %s", c->dir, name, err_text(&why)); /* it goes with the container */
}

void checkpoint_forget(struct container *c)
{
	remove_dir(c, CHECKPOINT_DIR);
}

void checkpoint_recover(struct container *c, crio_call *call)
{
	cleanup_err crio_err why = ERR_INIT;
	cleanup_free char *work = path_fmt("%s/" CHECKPOINT_WORK, c->dir);
	if (c->restore)
		undo_restore(c, call);
	if (!work || access(work, F_OK) < 0)
		return;
	/* The daemon was killed while it made a checkpoint: it had frozen the container. */
	if (c->paused && c->pod->runtime && !c->pod->dead && container_do_pause(c, call, false, &why) < 0)
		log_warn("Container %s was frozen for a checkpoint, and stays so: %s", c->id, err_text(&why));
	remove_dir(c, CHECKPOINT_WORK);
}
