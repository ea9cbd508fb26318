/*
 * checkpoint.c: CheckpointContainer. The container is frozen while criu writes down its processes and while its changed files are
 * read, and goes on afterwards, whatever happened. What is made on the way is in <userdata>/checkpoint.work, which never outlives
 * the request; the archive gets its name once it is whole.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "core/lifecycle/annotations.h"
#include "core/lifecycle/checkpoint.h"
#include "core/lifecycle/rootfs_diff.h"
#include "core/lifecycle/selinux.h"
#include "core/util/failpoint.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define WORK_DIR CHECKPOINT_WORK
#define WORK_NS (30 * 60 * SEC) /* criu writes all memory of the container */
#define SPEC_MAX (4u << 20)
#define LOWERS_MAX 512
#define LOG_TAIL 16384

struct making {
	struct container *c;
	crio_call *call;
	struct json_object *spec; /* config.json */
	char *work;               /* <userdata>/checkpoint.work */
	int workfd;
	int64_t at_ns;
	struct tar_out out;
};

/* ---- what the archive says of the container ---- */

static int set_time(struct json_object *o, const char *key, int64_t ns)
{
	char text[40];
	time_format(ns, text);
	return json_set_str(o, key, ns ? text : "0001-01-01T00:00:00Z");
}

/* Names as checkpointctl has them. */
static struct json_object *config_dump(const struct making *m)
{
	const struct container *c = m->c;
	cleanup_json struct json_object *o = json_object_new_object();
	if (!o || json_set_str(o, "id", c->id) < 0 || json_set_str(o, "name", c->name) < 0 ||
	    (*c->config.image && json_set_str(o, "rootfsImage", c->config.image) < 0) ||
	    (*c->image_id && json_set_str(o, "rootfsImageRef", c->image_id) < 0) ||
	    (*c->image_name && json_set_str(o, "rootfsImageName", c->image_name) < 0) ||
	    json_set_str(o, "runtime", *c->pod->handler ? c->pod->handler : c->lc->conf->runtime.default_runtime) < 0 ||
	    set_time(o, "createdTime", c->created_ns) < 0 || set_time(o, "checkpointedTime", m->at_ns) < 0 ||
	    set_time(o, "restoredTime", 0) < 0 || json_set_bool(o, "restored", c->restored) < 0)
		return NULL;
	return move_ptr(o);
}

static int put_json(struct making *m, const char *name, const struct json_object *o, crio_err *err)
{
	cleanup_free char *text = o ? json_text(o) : NULL;
	return text ? tar_out_file(&m->out, name, text, strlen(text), err) : err_nomem(err);
}

static bool is_bind(const struct json_object *mount)
{
	return str_eq(json_str(mount, "type"), "bind");
}

/* Of what type the sources of bind mounts are: on another node they may have to be made. */
static int put_binds(struct making *m, crio_err *err)
{
	static const char *const pod_files[] = { "/dev", "/dev/shm", "/proc", "/run", "/run/.containerenv", "/run/secrets", "/sys" };
	struct json_object *v = json_arr(m->spec, "mounts");
	cleanup_json struct json_object *all = json_object_new_array();
	size_t n = v ? json_object_array_length(v) : 0;
	for (size_t i = 0; all && i < n; i++) {
		const struct json_object *mount = json_object_array_get_idx(v, i);
		const char *dest = json_str(mount, "destination"), *source = json_str(mount, "source");
		bool skip = !is_bind(mount);
		struct stat st;
		for (size_t j = 0; j < ARRAY_SIZE(pod_files); j++)
			skip = skip || str_eq(dest, pod_files[j]);
		if (skip)
			continue;
		if (stat(source, &st) < 0)
			return err_errno(err, errno, "look at the source of mount %.256s, %.1024s", dest, source);
		cleanup_json struct json_object *o = json_object_new_object();
		if (!o || json_set_str(o, "source", source) < 0 || json_set_str(o, "destination", dest) < 0 ||
		    json_set_str(o, "file_type", S_ISDIR(st.st_mode) ? "directory" : "file") < 0 ||
		    json_set_int(o, "permissions", st.st_mode & 0777) < 0 || json_push(all, move_ptr(o)) < 0)
			return err_nomem(err);
	}
	if (!all)
		return err_nomem(err);
	return json_object_array_length(all) ? put_json(m, CHECKPOINT_BINDS, all, err) : 0;
}

/* ---- files into the archive ---- */

/* All of a file, whose size is known only once it has been read. */
static int put_file(struct making *m, int fd, const char *name, crio_err *err)
{
	cleanup_free char *piece = malloc(256u << 10);
	const struct tar_entry e = { .type = TAR_FILE, .name = name, .link = "", .mode = 0600, .mtime = m->at_ns / SEC };
	struct tar_mark mark;
	if (!piece)
		return err_nomem(err);
	int r = tar_out_begin(&m->out, &e, &mark, err);
	while (r == 0) {
		ssize_t n = read(fd, piece, 256u << 10);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "read %s", name);
		if (n == 0)
			break;
		r = tar_out_data(&m->out, piece, (size_t)n, err);
		r = r < 0 ? r : call_check(m->call, "write checkpoint", err);
	}
	return r < 0 ? r : tar_out_end(&m->out, &mark, err);
}

/* One that need not be there. */
static int put_if_there(struct making *m, int dir, const char *path, const char *name, crio_err *err)
{
	struct stat st;
	cleanup_close int fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ? 0 : put_file(m, fd, name, err);
}

static int put_criu(struct making *m, crio_err *err)
{
	const struct tar_entry dir = { .type = TAR_DIR, .name = CHECKPOINT_DIR "/", .link = "", .mode = 0700, .mtime = m->at_ns / SEC };
	cleanup_closedir DIR *d = NULL;
	int r = fs_opendir_beneath(m->workfd, CHECKPOINT_DIR, &d, err);
	if (r < 0)
		return r;
	r = tar_out_begin(&m->out, &dir, NULL, err);
	const struct dirent *e;
	while (r == 0 && (e = readdir(d))) {
		char name[sizeof(CHECKPOINT_DIR) + 1 + NAME_MAX];
		(void)snprintf(name, sizeof(name), CHECKPOINT_DIR "/%s", e->d_name);
		if (*e->d_name != '.')
			r = put_if_there(m, m->workfd, name, name, err);
	}
	return r;
}

/* ---- the changed files ---- */

struct lowers {
	struct making *m;
	struct strv ids; /* of the layers below the container's, the nearest first */
};

static int open_lower(void *arg, size_t i, int *ret, crio_err *err)
{
	struct lowers *l = arg;
	if (i >= l->ids.n)
		return err_set(err, CRIO_E_NOT_FOUND, "no more layers");
	return store_layer_tree_open(l->m->c->pod->store, l->m->call, l->ids.v[i], ret, err);
}

static int find_lowers(struct lowers *l, const char *top, crio_err *err)
{
	cleanup_free char *id = strdup(top);
	while (id && l->ids.n < LOWERS_MAX) {
		cleanup_layer struct store_layer *layer = store_layer_get(l->m->c->pod->store, id);
		if (!layer || !*layer->parent)
			return 0;
		if (strv_add(&l->ids, layer->parent) < 0)
			break;
		free(id);
		id = strdup(layer->parent);
	}
	return id && l->ids.n == LOWERS_MAX ? 0 : err_nomem(err);
}

static int bind_targets(const struct making *m, struct strv *ret)
{
	struct json_object *v = json_arr(m->spec, "mounts");
	size_t n = v ? json_object_array_length(v) : 0;
	int r = 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct json_object *mount = json_object_array_get_idx(v, i);
		r = is_bind(mount) ? strv_add(ret, json_str(mount, "destination")) : 0;
	}
	return r;
}

static int open_trees(struct making *m, struct rootfs_diff *d, struct lowers *l, crio_err *err)
{
	struct container *c = m->c;
	bool host_ids;
	if (store_whiteout(c->pod->store) == CRIO_WHITEOUT_REMOVE)
		return err_set(err, CRIO_E_UNSUPPORTED, "the storage driver %s cannot tell what a container has changed: only overlay can",
			       store_driver(c->pod->store));
	cleanup_store_container struct store_container *rec = store_container_get(c->pod->store, c->id);
	if (!rec)
		return err_set(err, CRIO_E_NOT_FOUND, "the record of container %s", c->id);
	int r = store_layer_tree_open(c->pod->store, m->call, rec->layer, &d->upper, err);
	r = r < 0 ? r : store_root_open(c->pod->store, m->call, c->id, c->rootfs, &d->merged, &host_ids, err);
	return r < 0 ? r : find_lowers(l, rec->layer, err);
}

/* An archive within the archive, and the list of what is gone. */
static int put_changes(struct making *m, crio_err *err)
{
	const struct tar_entry e = { .type = TAR_FILE, .name = CHECKPOINT_DIFF, .link = "", .mode = 0600, .mtime = m->at_ns / SEC };
	cleanup_strv struct strv deleted = STRV_INIT, mounts = STRV_INIT;
	struct lowers l = { .m = m, .ids = STRV_INIT };
	struct rootfs_diff d = { .upper = -1, .merged = -1, .lower = open_lower, .arg = &l, .mounts = &mounts };
	uint64_t before = m->out.at;
	struct tar_mark mark;
	bool any = false;
	int r = bind_targets(m, &mounts) < 0 ? err_nomem(err) : open_trees(m, &d, &l, err);
	r = r < 0 ? r : tar_out_begin(&m->out, &e, &mark, err);
	r = r < 0 ? r : rootfs_diff_write(&d, m->call, &m->out, &deleted, &any, err);
	r = r < 0 ? r : tar_out_finish(&m->out, err);
	r = r < 0 ? r : tar_out_end(&m->out, &mark, err);
	(void)safe_close(d.upper);
	(void)safe_close(d.merged);
	strv_release(&l.ids);
	if (r == 0 && !any)
		m->out.at = before; /* what follows is written over it */
	if (r < 0 || !deleted.n)
		return r;
	cleanup_json struct json_object *list = json_from_strv(&deleted);
	return put_json(m, CHECKPOINT_DELETED, list, err);
}

static int write_archive(struct making *m, crio_err *err)
{
	cleanup_json struct json_object *config = config_dump(m);
	int r = put_if_there(m, m->workfd, CHECKPOINT_STATS, CHECKPOINT_STATS, err);
	r = r < 0 ? r : put_if_there(m, m->workfd, CHECKPOINT_DUMP_LOG, CHECKPOINT_DUMP_LOG, err);
	r = r < 0 ? r : put_criu(m, err);
	r = r < 0 ? r : put_json(m, CHECKPOINT_CONFIG, config, err);
	r = r < 0 ? r : put_json(m, CHECKPOINT_SPEC, m->spec, err);
	r = r < 0 ? r : put_binds(m, err);
	r = r < 0 ? r : put_changes(m, err);
	if (r == 0 && *m->c->log_path)
		r = put_if_there(m, AT_FDCWD, m->c->log_path, CHECKPOINT_LOG, err);
	return r < 0 ? r : tar_out_finish(&m->out, err);
}

/* ---- the file ---- */

static int check_location(const char *path, crio_err *err)
{
	struct stat st;
	if (!path_is_clean_abs(path) || str_ends(path, "/"))
		return err_set(err, CRIO_E_INVALID, "location '%.1024s' is not an absolute path of a file", path);
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, CRIO_E_INVALID, "location '%.1024s' is there and not a regular file", path);
	return 0;
}

/* Beside its place, for nobody else to read (it has all of the container's memory), then at its place. */
static int write_file(struct making *m, const char *location, crio_err *err)
{
	char id[65];
	if (!id_new(id))
		return err_set(err, CRIO_E_IO, "no random numbers");
	/* A name of its own length: the place's may be as long as names can be. */
	cleanup_free char *tmp = path_fmt("%.*s/.checkpoint-%.12s.tmp", (int)(strrchr(location, '/') - location), location, id);
	if (!tmp)
		return err_nomem(err);
	cleanup_close int fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "make checkpoint archive %.1024s", tmp);
	m->out = (struct tar_out){ .fd = fd, .max = CHECKPOINT_BYTES_MAX };
	int r = FAILPOINT("checkpoint.archive", err);
	r = r < 0 ? r : write_archive(m, err);
	if (r == 0 && ftruncate(fd, (off_t)m->out.at) < 0)
		r = err_errno(err, errno, "write checkpoint archive");
	if (r == 0 && fsync(fd) < 0)
		r = err_errno(err, errno, "write checkpoint archive");
	r = r < 0 ? r : FAILPOINT("checkpoint.archive.written", err);
	if (r == 0 && rename(tmp, location) < 0)
		r = err_errno(err, errno, "rename checkpoint archive to %.1024s", location);
	if (r < 0)
		(void)unlink(tmp);
	return r;
}

/* ---- criu ---- */

/* criu's own reasons are in its log, which goes with the work directory. */
static int add_reasons(struct making *m, int r, crio_err *err)
{
	cleanup_free char *text = NULL;
	char reasons[1024] = "";
	size_t n = 0;
	cleanup_close int fd = openat(m->workfd, CHECKPOINT_DUMP_LOG, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	if (size > LOG_TAIL)
		(void)lseek(fd, -LOG_TAIL, SEEK_END);
	else if (size > 0)
		(void)lseek(fd, 0, SEEK_SET);
	if (size <= 0 || fs_read_fd(fd, LOG_TAIL, &text, NULL, NULL) < 0)
		return r;
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line && n < sizeof(reasons) - 1; line = strtok_r(NULL, "\n", &save)) {
		const char *at = strstr(line, "Error");
		int w = at ? snprintf(reasons + n, sizeof(reasons) - n, "; criu: %s", at) : 0;
		n += w > 0 ? (size_t)w : 0;
	}
	if (!*reasons)
		return r;
	for (char *p = reasons; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	cleanup_free char *was = strdup(err_text(err));
	return was ? err_set(err, r, "%s%s", was, reasons) : r;
}

/* criu's code inside the container writes to this log: it has the container's label. */
static int make_log(struct making *m, crio_err *err)
{
	cleanup_close int fd = openat(m->workfd, CHECKPOINT_DUMP_LOG, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	cleanup_free char *path = path_fmt("%s/" CHECKPOINT_DUMP_LOG, m->work);
	if (fd < 0)
		return err_errno(err, errno, "make " CHECKPOINT_DUMP_LOG);
	if (!path)
		return err_nomem(err);
	return *m->c->mount_label ? selinux_relabel(m->call, path, m->c->mount_label, 0, err) : 0;
}

static int run_criu(struct making *m, crio_err *err)
{
	struct container *c = m->c;
	cleanup_free char *images = path_fmt("%s/" CHECKPOINT_DIR, m->work);
	if (!images)
		return err_nomem(err);
	struct crio_runtime_checkpoint_args a = { .size = sizeof(a), .leave_running = 1, .id = c->id, .image_dir = images, .work_dir = m->work };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	crio_err why = ERR_INIT;
	int r = make_log(m, &why);
	r = r < 0 ? r : plugin_runtime_checkpoint(c->pod->runtime, m->call, &a, &o, &why);
	if (r < 0)
		r = add_reasons(m, r, &why);
	return r < 0 ? err_move(err, &why) : 0;
}

/* ---- the request ---- */

static int sweep(const struct container *c, crio_err *err)
{
	cleanup_close int dir = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? err_errno(err, errno, "open %s", c->dir) : fs_rm_rf(dir, WORK_DIR, err);
}

static int prepare(struct making *m, crio_err *err)
{
	struct container *c = m->c;
	cleanup_free char *path = path_fmt("%s/config.json", c->dir), *images = NULL;
	m->at_ns = now_real_ns();
	m->work = path_fmt("%s/" WORK_DIR, c->dir);
	images = m->work ? path_fmt("%s/" CHECKPOINT_DIR, m->work) : NULL;
	if (!path || !images)
		return err_nomem(err);
	int r = json_read_file(-1, path, SPEC_MAX, &m->spec, err);
	r = r < 0 ? r : sweep(c, err); /* of a daemon that was killed */
	if (r == 0 && (mkdir(m->work, 0700) < 0 || mkdir(images, 0700) < 0))
		r = err_errno(err, errno, "make directory %s", m->work);
	if (r < 0)
		return r;
	m->workfd = open(m->work, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return m->workfd < 0 ? err_errno(err, errno, "open %s", m->work) : 0;
}

static bool is_frozen(struct container *c)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	return c->paused; /* not of one that has ended */
}

/* It goes on, whatever became of the call. */
static void thaw(struct making *m)
{
	if (!is_frozen(m->c))
		return;
	cleanup_call crio_call *call = call_detached(m->call, CLEANUP_NS);
	cleanup_err crio_err why = ERR_INIT;
	if (call && container_do_pause(m->c, call, false, &why) < 0)
		log_error("Checkpoint container %s: it stays frozen: %s", m->c->id, err_text(&why));
}

/* With the job slot. */
static int make(struct container *c, crio_call *call, const char *location, crio_err *err)
{
	struct making m = { .c = c, .call = call, .workfd = -1 };
	cleanup_err crio_err why = ERR_INIT;
	int r = prepare(&m, err);
	/* criu freezes by itself, but then the files would be those of a later moment. */
	r = r < 0 ? r : container_do_pause(c, call, true, err);
	r = r < 0 ? r : FAILPOINT("checkpoint.frozen", err);
	r = r < 0 ? r : run_criu(&m, err);
	r = r < 0 ? r : write_file(&m, location, err);
	if (r == 0) {
		(void)pthread_mutex_lock(&c->lock);
		c->checkpointed_ns = m.at_ns;
		(void)pthread_mutex_unlock(&c->lock);
	}
	thaw(&m);
	if (m.work && sweep(c, &why) < 0)
		log_warn("Checkpoint container %s: remove %s: %s", c->id, m.work, err_text(&why));
	(void)safe_close(m.workfd);
	(void)json_object_put(m.spec);
	free(m.work);
	return r;
}

static int may_checkpoint(struct container *c, crio_err *err)
{
	if (!c->pod->runtime || !c->pod->store)
		return err_set(err, CRIO_E_PRECONDITION, "a plugin of the container is not there (%s)", c->pod->plugins);
	if (!(plugin_inst_caps(c->pod->runtime) & CRIO_RUNTIME_CAP_CHECKPOINT))
		return err_set(err, CRIO_E_UNSUPPORTED, "configured runtime does not support checkpoint/restore");
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	if (c->state != CONTAINER_RUNNING || c->paused)
		return err_set(err, CRIO_E_PRECONDITION, "container %s is not running", c->id);
	return 0;
}

int container_checkpoint(struct lifecycle *lc, crio_call *call, const char *id, const char *location, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	if (lc->conf->checkpoint_restore.container_level_enabled == CONF_CHECKPOINT_NONE)
		return err_set(err, CRIO_E_UNSUPPORTED, "checkpoint/restore support not available");
	int r = registry_container(lc, id, &c, err);
	if (r < 0)
		return err_wrap(err, "could not find container \"%.80s\"", id);
	r = check_location(location, err);
	if (r < 0)
		return err_wrap(err, "checkpoint container %s", c->id);
	(void)pthread_mutex_lock(&c->lock);
	r = job_begin(&c->job, &c->lock, &c->changed, "checkpoint container", call, err);
	(void)pthread_mutex_unlock(&c->lock);
	if (r < 0)
		return r;
	/* A client that leaves must not end criu while it is inside the container's processes. */
	cleanup_call crio_call *work = call_detached(call, WORK_NS);
	r = may_checkpoint(c, err);
	if (r == 0)
		r = work ? make(c, work, location, err) : err_nomem(err);
	(void)pthread_mutex_lock(&c->lock);
	job_end(&c->job, &c->changed);
	(void)pthread_mutex_unlock(&c->lock);
	if (r < 0)
		return err_wrap(err, "checkpoint container %s", c->id);
	log_info("Checkpointed container %s: %s, to %s", c->id, c->name, location);
	return 0;
}
