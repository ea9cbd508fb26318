/* store.c: opening and closing a store, and its figures. */
#include "core/store/store.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "core/plugin/plugins.h"
#include "core/store/priv.h"

/* Renaming over a file never shows an empty or half-written one after a crash on these, even without fsync. */
static enum fs_durability rename_durability(const char *path)
{
	struct statfs f;
	if (statfs(path, &f) < 0)
		return FS_KEEP;
	switch ((unsigned long)f.f_type) {
	case EXT4_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case TMPFS_MAGIC:
		return FS_RUN;
	default:
		return FS_KEEP;
	}
}

static int open_driver(struct store *s, crio_call *call, const char *driver, crio_err *err)
{
	struct crio_storage_open_args args = {
	    .size = sizeof(args), .read_only = s->read_only, .root = s->root, .runroot = s->runroot};
	struct crio_storage_open_out out = {.size = sizeof(out)};

	int r = plugin_storage_store_open(s->inst, call, &args, &out, err);
	if (r < 0)
		return r;
	if (!out.driver || !path_is_name(out.driver))
		return err_set(err, CRIO_E_INTERNAL, "the storage plugin '%s' gave no driver name",
			       plugin_inst_plugin(s->inst));
	if (str_set(driver) && !str_eq(driver, out.driver))
		return err_set(err, CRIO_E_INVALID, "the driver is '%s' in the configuration, but the plugin is '%s'",
			       driver, out.driver);
	s->whiteout = (enum crio_whiteout)out.whiteout;
	s->driver = strdup(out.driver);
	s->backing = strdup(out.backing ? out.backing : "");
	s->image_fs = path_fmt("%s/%s-images", s->root, out.driver);
	s->container_fs = path_fmt("%s/%s-containers", s->root, out.driver);
	s->driver_dir = path_fmt("%s/%s", s->root, out.driver);
	if (!s->driver || !s->backing || !s->image_fs || !s->container_fs || !s->driver_dir)
		return err_nomem(err);
	return 0;
}

/* Who holds this lock may undo what has no record: there is no other daemon of ours making something. */
static int own(struct store *s, crio_err *err)
{
	cleanup_free char *path = path_fmt("%s/crio/lock", s->root);
	if (!path)
		return err_nomem(err);
	cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "open %s", path);
	if (fs_lock(fd, true, 0, NULL) == 0)
		s->owner_fd = move_fd(fd);
	return 0;
}

static int load(struct store *s, crio_call *call, crio_err *err)
{
	int r = 0;
	for (int k = 0; !r && k < T_KINDS; k++)
		r = table_init(&s->t[k], s, (enum table_kind)k, err);
	return r < 0 ? r : store_refresh(s, call, err);
}

static int open_all(struct store *s, const struct store_args *a, crio_call *call, crio_err *err)
{
	int r = 0;
	if (!s->read_only) {
		r = fs_mkdir_p(s->root, 0700, err);
		if (!r)
			r = fs_mkdir_p(s->runroot, 0700, err);
	}
	if (!r)
		r = open_driver(s, call, a->driver, err);
	if (!r && !s->read_only)
		r = journal_open(s, err);
	s->ctr_durability = rename_durability(s->root);
	if (!r)
		r = load(s, call, err);
	if (!r)
		r = usage_open(s, err);
	if (!r && !s->read_only && !a->no_recover)
		r = own(s, err);
	if (!r && s->owner_fd >= 0)
		r = store_recover(s, call, err);
	return r;
}

static struct store *store_new(const struct store_args *a)
{
	struct store *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->owner_fd = s->journal_fd = s->usage_fd = -1;
	(void)pthread_mutex_init(&s->mu, NULL);
	(void)pthread_mutex_init(&s->busy_mu, NULL);
	(void)pthread_mutex_init(&s->mnt_mu, NULL);
	(void)pthread_mutex_init(&s->usage_mu, NULL);
	(void)pthread_cond_init(&s->busy_cond, NULL);
	for (int k = 0; k < T_KINDS; k++) {
		s->t[k].lock_fd = s->t[k].dirfd = -1;
		(void)pthread_mutex_init(&s->t[k].wr, NULL);
	}
	s->read_only = a->read_only;
	s->inst = plugin_inst_ref(a->instance);
	s->mnts = map_new();
	s->root = strdup(a->root);
	s->runroot = strdup(a->runroot);
	if (!s->mnts || !s->root || !s->runroot) {
		store_close(s);
		return NULL;
	}
	return s;
}

int store_open(const struct store_args *a, crio_call *call, struct store **ret, crio_err *err)
{
	if (!path_is_clean_abs(a->root) || !path_is_clean_abs(a->runroot))
		return err_set(err, CRIO_E_INVALID,
			       "storage root '%s' and run root '%s' must be absolute paths without '..'", a->root,
			       a->runroot);
	struct store *s = store_new(a);
	if (!s)
		return err_nomem(err);
	int r = open_all(s, a, call, err);
	if (r < 0) {
		store_close(s);
		return err_wrap(err, "open store %s", a->root);
	}
	*ret = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	for (int k = 0; k < T_KINDS; k++)
		table_release(&s->t[k]);
	mnts_release(s);
	usage_release(s);
	for (struct busy *b = s->busy; b; b = s->busy) {
		s->busy = b->next;
		free(b);
	}
	(void)safe_close(s->owner_fd);
	(void)safe_close(s->journal_fd);
	plugin_inst_unref(s->inst);
	(void)pthread_mutex_destroy(&s->mu);
	(void)pthread_mutex_destroy(&s->busy_mu);
	(void)pthread_mutex_destroy(&s->mnt_mu);
	(void)pthread_mutex_destroy(&s->usage_mu);
	(void)pthread_cond_destroy(&s->busy_cond);
	free(s->root);
	free(s->runroot);
	free(s->driver);
	free(s->backing);
	free(s->image_fs);
	free(s->container_fs);
	free(s->driver_dir);
	free(s);
}

int store_refresh(struct store *s, crio_call *call, crio_err *err)
{
	for (int k = 0; k < T_KINDS; k++) {
		int r = table_lock(&s->t[k], call, false, err);
		if (r < 0)
			return r;
		table_unlock(&s->t[k]);
	}
	return 0;
}

const char *store_driver(const struct store *s)
{
	return s->driver;
}

const char *store_root(const struct store *s)
{
	return s->root;
}

const char *store_runroot(const struct store *s)
{
	return s->runroot;
}

const char *store_backing(const struct store *s)
{
	return s->backing;
}

struct plugin_inst *store_instance(const struct store *s)
{
	return s->inst;
}

bool store_owned(const struct store *s)
{
	return s->owner_fd >= 0;
}

uint64_t store_generation(const struct store *s)
{
	return atomic_load(&s->generation);
}

const char *store_image_fs(const struct store *s)
{
	return s->image_fs;
}

const char *store_container_fs(const struct store *s)
{
	return s->container_fs;
}

int store_container_usage(struct store *s, crio_call *call, const char *container_id, bool exact,
			  struct store_usage *ret, crio_err *err)
{
	cleanup_store_container struct store_container *c = store_container_get(s, container_id);
	if (!c)
		return err_set(err, CRIO_E_NOT_FOUND, "container %s in store %s", container_id, s->root);
	struct crio_storage_usage_args args = {.size = sizeof(args), .exact = exact, .id = c->layer};
	struct crio_storage_usage_out out = {.size = sizeof(out)};
	int r = plugin_storage_usage(s->inst, call, &args, &out, err);
	if (r < 0)
		return err_wrap(err, "disk usage of container %s", container_id);
	*ret = (struct store_usage){out.bytes, out.inodes};
	return 0;
}

int store_status(struct store *s, crio_call *call, struct kvs *ret, crio_err *err)
{
	struct crio_storage_id_args args = {.size = sizeof(args), .id = "", .mount_label = ""};
	struct crio_storage_map_out out = {.size = sizeof(out)};
	int r = plugin_storage_status(s->inst, call, &args, &out, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < out.v.n; i++)
		if (kvs_set(ret, out.v.v[i].key, out.v.v[i].value) < 0)
			return err_nomem(err);
	return 0;
}
