/*
 * image_mounts.c: images as volumes of a container: their layers, mounted read-only below its run directory, each in a directory
 * named "<number>-<layer>". The names are the record: who takes the container apart needs nothing else.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define DIR_NAME "image-volumes"

static int unmount_one(struct store *s, crio_call *call, const char *dir, const char *name, crio_err *err)
{
	const char *layer = strchr(name, '-');
	cleanup_free char *path = path_fmt("%s/%s", dir, name);
	if (!path)
		return err_nomem(err);
	int r = layer ? store_layer_unmount_at(s, call, layer + 1, path, err) : 0;
	return r < 0 ? r : fs_unlink(path, err);
}

int image_mounts_release(struct store *s, crio_call *call, const char *run_dir, crio_err *err)
{
	cleanup_free char *dir = path_fmt("%s/" DIR_NAME, run_dir);
	if (!dir)
		return err_nomem(err);
	cleanup_closedir DIR *d = opendir(dir);
	if (!d)
		return errno == ENOENT ? 0 : err_errno(err, errno, "open %s", dir);
	const struct dirent *e;
	while ((e = readdir(d))) {
		int r = *e->d_name == '.' ? 0 : unmount_one(s, call, dir, e->d_name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Where the part of the image that the mount asks for is. Nobody writes to the tree: what a link in it leads to stays so. */
static int sub_path(const struct mount_config *m, const char *path, char **ret, crio_err *err)
{
	char link[48], real[4096];
	if (!*m->image_sub_path) {
		*ret = strdup(path);
		return *ret ? 0 : err_nomem(err);
	}
	cleanup_close int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(err, errno, "open %s", path);
	cleanup_close int fd = fs_open_in(root, m->image_sub_path, O_PATH, 0, err);
	if (fd == CRIO_E_NOT_FOUND)
		return err_set(err, CRIO_E_NOT_FOUND, "ImageVolumeMountFailed: sub path \"%.256s\" does not exist in image volume \"%.256s\"",
			       m->image_sub_path, m->image);
	if (fd < 0)
		return err_wrap(err, "ImageVolumeMountFailed: sub path \"%.256s\"", m->image_sub_path);
	(void)snprintf(link, sizeof(link), "/proc/thread-self/fd/%d", fd);
	ssize_t n = readlink(link, real, sizeof(real) - 1);
	if (n < 0)
		return err_errno(err, errno, "find sub path \"%.256s\"", m->image_sub_path);
	real[n] = '\0';
	*ret = strdup(real);
	return *ret ? 0 : err_nomem(err);
}

/* The mount's image, by id from here on: it may not be removed any more (image_in_use). */
static int take_image(struct container *c, struct mount_config *m, struct image **ret, crio_err *err)
{
	cleanup_image_ref struct image *im = NULL;
	int r = images_get(c->lc->images, m->image, &im, err);
	if (r == CRIO_E_NOT_FOUND)
		return err_set(err, r, "ImageVolumeMountFailed: image \"%.256s\" does not exist locally", m->image);
	if (r == 0)
		r = images_check_allowed(c->lc->images, c->pod->config.meta.ns, m->image, im, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&c->lock);
	r = config_set_str(&m->image, im->id) < 0 ? err_nomem(err) : 0;
	(void)pthread_mutex_unlock(&c->lock);
	/* It may have been removed in between. */
	return r < 0 ? r : images_get(c->lc->images, m->image, ret, err);
}

static int mount_one(struct container *c, crio_call *call, size_t i, crio_err *err)
{
	struct mount_config *m = &c->config.mounts[i];
	cleanup_image_ref struct image *im = NULL;
	struct store *store = NULL;
	char layer[65] = "";
	int r = take_image(c, m, &im, err);
	if (r == 0)
		r = images_container_layer(c->lc->images, call, im, c->pod->driver, &store, layer, err);
	if (r < 0)
		return r;
	if (!*layer)
		return err_set(err, CRIO_E_INVALID, "ImageVolumeMountFailed: image %s has no layers", im->id);
	cleanup_free char *path = path_fmt("%s/" DIR_NAME "/%zu-%s", c->run_dir, i, layer), *source = NULL;
	if (!path)
		return err_nomem(err);
	/* By the mount's own maps, or so that the files are root's in the pod's user namespace. */
	const struct id_maps *maps = id_maps_set(&m->maps) ? &m->maps : &c->pod->maps;
	r = fs_mkdir_p(path, 0700, err);
	if (r == 0)
		r = store_layer_mount_at(c->pod->store, call, layer, c->mount_label, maps, path, err);
	if (r == 0)
		r = sub_path(m, path, &source, err);
	if (r == 0)
		r = config_set_str(&m->host_path, source) < 0 ? err_nomem(err) : 0;
	return r;
}

int image_mounts_make(struct container *c, crio_call *call, crio_err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < c->config.n_mounts; i++)
		if (*c->config.mounts[i].image)
			r = mount_one(c, call, i, err);
	return r;
}

/* ---- for RemoveImage ---- */

static bool uses(struct container *c, const char *image_id)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	for (size_t i = 0; !c->removed && i < c->config.n_mounts; i++)
		if (str_eq(c->config.mounts[i].image, image_id))
			return true;
	return false;
}

bool image_in_use(void *arg, const char *image_id, char ret_by[65])
{
	struct lifecycle *lc = arg;
	struct container *c = NULL;
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	for (size_t i = 0; !c && i < lc->n_containers; i++)
		if (uses(lc->container_order[i], image_id))
			c = lc->container_order[i];
	size_t it = 0;
	void *v;
	while (!c && map_next(lc->making, &it, NULL, &v))
		if (uses(v, image_id))
			c = v;
	if (c)
		memcpy(ret_by, c->id, 65);
	return c != NULL;
}
