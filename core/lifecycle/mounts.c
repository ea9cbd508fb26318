/* mounts.c: see mounts.h. The runtime makes the mount points inside the root; nothing here touches them. */
#include "core/lifecycle/mounts.h"

#include <fcntl.h>

#include "core/lifecycle/annotations.h"
#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/spec_priv.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define CONTAINER_PATH_MAX 4096
#define MOUNTINFO_MAX (8u << 20)

int mount_clean_path(const char *path, char **ret, crio_err *err)
{
	cleanup_strv struct strv in = STRV_INIT, out = STRV_INIT;
	struct buf b = BUF_INIT;

	if (!*path)
		return err_set(err, CRIO_E_INVALID, "mount.ContainerPath is empty");
	if (strlen(path) > CONTAINER_PATH_MAX || !str_is_printable(path))
		return err_set(err, CRIO_E_INVALID, "container path '%.64s' is too long or has control bytes", path);
	if (str_split(path, '/', &in) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < in.n; i++) {
		if (!*in.v[i] || str_eq(in.v[i], "."))
			continue;
		if (str_eq(in.v[i], "..")) {
			if (out.n) {
				free(out.v[--out.n]);
				out.v[out.n] = NULL;
			}
		} else if (strv_add(&out, in.v[i]) < 0) {
			return err_nomem(err);
		}
	}
	for (size_t i = 0; i < out.n; i++)
		buf_addf(&b, "/%s", out.v[i]);
	if (!out.n)
		buf_addc(&b, '/');
	*ret = buf_take(&b);
	return *ret ? 0 : err_nomem(err);
}

/* ---- the list being built ---- */

struct list {
	struct json_object *arr;      /* borrowed from the spec */
	const struct strv *requested; /* clean container paths of the request, in its order */
	int r;			      /* the first failure sticks */
};

/* "ro,bind" as an array. */
static struct json_object *options_json(const char *opts)
{
	cleanup_strv struct strv l = STRV_INIT;

	return str_split(opts, ',', &l) < 0 ? NULL : json_from_strv(&l);
}

static struct json_object *mount_json(const char *dest, const char *type, const char *source, const char *opts)
{
	cleanup_json struct json_object *o = json_object_new_object();

	if (!o || json_set_str(o, "destination", dest) < 0 || json_set_str(o, "type", type) < 0 ||
	    json_set_str(o, "source", source) < 0 || json_set(o, "options", options_json(opts)) < 0)
		return NULL;
	return move_ptr(o);
}

static void drop(struct list *l, const char *dest)
{
	for (size_t i = json_object_array_length(l->arr); i-- > 0;)
		if (str_eq(json_str(json_object_array_get_idx(l->arr, i), "destination"), dest))
			(void)json_object_array_del_idx(l->arr, i, 1);
}

/* Appends, replacing an earlier one at the same place. */
static void add(struct list *l, const char *dest, const char *type, const char *source, const char *opts)
{
	if (l->r < 0)
		return;
	drop(l, dest);
	l->r = json_push(l->arr, mount_json(dest, type, source, opts));
}

/* Unless the request mounts there, or (tree) on /dev or /sys above it. */
static void add_default(struct list *l, const char *dest, const char *type, const char *source, const char *opts,
			bool tree)
{
	if (strv_has(l->requested, dest))
		return;
	if (tree && ((str_starts(dest, "/dev/") && strv_has(l->requested, "/dev")) ||
		     (str_starts(dest, "/sys/") && strv_has(l->requested, "/sys"))))
		return;
	add(l, dest, type, source, opts);
}

static bool has(const struct list *l, const char *dest)
{
	for (size_t i = 0; i < json_object_array_length(l->arr); i++)
		if (str_eq(json_str(json_object_array_get_idx(l->arr, i), "destination"), dest))
			return true;
	return false;
}

/* ---- what every container has ---- */

static void add_kernel(struct list *l, const struct spec_args *a, const struct namespace_options *ns, bool privileged)
{
	const char *rw = a->container ? annotation_get(&a->pod->annotations, ANN_CGROUP2_RW, NULL) : NULL;
	bool userns = str_set(a->userns);

	if (userns && ns->pid == NS_NODE) /* only who owns the pid namespace can mount its proc; so with mqueue and sysfs */
		add_default(l, "/proc", "bind", "/proc", "rw,rbind,nodev,nosuid,noexec", true);
	else
		add_default(l, "/proc", "proc", "proc", "nosuid,noexec,nodev", true);
	add_default(l, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k", true);
	add_default(l, "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5", true);
	if (userns && ns->ipc == NS_NODE) {
		if (access("/dev/mqueue", F_OK) == 0)
			add_default(l, "/dev/mqueue", "bind", "/dev/mqueue", "rw,rbind,nodev,nosuid,noexec", true);
	} else {
		add_default(l, "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev", true);
	}
	if (userns && ns->network == NS_NODE)
		add_default(l, "/sys", "bind", "/sys",
			    privileged	     ? "nosuid,noexec,nodev,rw,rbind"
			    : a->runtime_rro ? "nosuid,noexec,nodev,rro,rbind"
					     : "nosuid,noexec,nodev,ro,rbind",
			    true);
	else if (privileged)
		add_default(l, "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,rw,rslave", true);
	else
		add_default(l, "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro", true);
	if (privileged)
		add_default(l, "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,rw,relatime,rslave", true);
	else
		add_default(l, "/sys/fs/cgroup", "cgroup", "cgroup",
			    cgroup_facts()->v2 && rw && str_eq(rw, "true") ? "nosuid,noexec,nodev,relatime,rw"
									   : "nosuid,noexec,nodev,relatime,ro",
			    true);
}

static void add_pod_files(struct list *l, const struct spec_args *a, const struct namespace_options *ns, bool read_only)
{
	const char *plain = read_only ? "ro,bind" : "rw,bind",
		   *strict = read_only ? "ro,bind,nodev,nosuid,noexec" : "rw,bind,nodev,nosuid,noexec";

	if (str_set(a->shm_path))
		add_default(l, "/dev/shm", "bind", a->shm_path, "rw,bind", false);
	else if (ns->ipc == NS_NODE)
		add_default(l, "/dev/shm", "bind", "/dev/shm", "rw,bind", false);
	if (str_set(a->resolv_path))
		add_default(l, "/etc/resolv.conf", "bind", a->resolv_path, strict, false);
	if (str_set(a->hostname_path))
		add_default(l, "/etc/hostname", "bind", a->hostname_path, plain, false);
	if (str_set(a->containerenv_path))
		add_default(l, "/run/.containerenv", "bind", a->containerenv_path, plain, false);
	if (ns->network == NS_NODE && access("/etc/hosts", F_OK) == 0)
		add_default(l, "/etc/hosts", "bind", "/etc/hosts", plain, false);
}

/* The daemon-wide read_only key: the root is read-only and the usual places to write are in memory. */
static void add_read_only_tmpfs(struct list *l)
{
	add_default(l, "/run", "tmpfs", "tmpfs", "rw,noexec,nosuid,nodev,tmpcopyup,mode=0755", false);
	add_default(l, "/tmp", "tmpfs", "tmpfs", "rw,noexec,nosuid,nodev,tmpcopyup,mode=1777", false);
	add_default(l, "/var/tmp", "tmpfs", "tmpfs", "rw,noexec,nosuid,nodev,tmpcopyup,mode=1777", false);
}

/* A privileged container writes to all of its own mounts. */
static void clear_read_only(struct list *l)
{
	for (size_t i = 0; l->r >= 0 && i < json_object_array_length(l->arr); i++) {
		struct json_object *m = json_object_array_get_idx(l->arr, i), *opts = json_arr(m, "options");
		cleanup_strv struct strv old = STRV_INIT, now = STRV_INIT;

		if (!opts || json_strs(opts, &old) < 0 || strv_has(&old, "rw"))
			continue;
		for (size_t j = 0; j < old.n; j++)
			if (!str_eq(old.v[j], "ro") && strv_add(&now, old.v[j]) < 0)
				l->r = CRIO_E_NOMEM;
		if (strv_add(&now, "rw") < 0 || json_set(m, "options", json_from_strv(&now)) < 0)
			l->r = CRIO_E_NOMEM;
	}
}

static bool is_bind(const struct json_object *m)
{
	cleanup_strv struct strv o = STRV_INIT;

	return json_strs(json_arr(m, "options"), &o) == 0 && (strv_has(&o, "bind") || strv_has(&o, "rbind"));
}

/* What systemd as the container's first process wants to write to. */
static void add_systemd(struct list *l)
{
	static const char *const tmpfs[] = {"/run", "/run/lock", "/tmp", "/var/log/journal"};

	for (size_t i = 0; i < ARRAY_SIZE(tmpfs); i++)
		if (!has(l, tmpfs[i]))
			add_default(l, tmpfs[i], "tmpfs", "tmpfs", "rw,rprivate,noexec,nosuid,nodev,tmpcopyup", false);
	if (cgroup_facts()->v2) {
		add(l, "/sys/fs/cgroup", "cgroup", "cgroup", "private,rw");
		return;
	}
	for (size_t i = 0; i < json_object_array_length(l->arr); i++) {
		const struct json_object *m = json_object_array_get_idx(l->arr, i);
		const char *d = json_str(m, "destination");

		if ((str_eq(d, "/sys") || str_eq(d, "/sys/fs") || str_eq(d, "/sys/fs/cgroup")) && is_bind(m))
			return;
	}
	if (access("/sys/fs/cgroup/systemd", F_OK) == 0)
		add(l, "/sys/fs/cgroup/systemd", "bind", "/sys/fs/cgroup/systemd", "bind,nodev,noexec,nosuid");
}

/* ---- the request's ---- */

enum mount_sharing mount_sharing_of(const char *mountinfo, const char *path)
{
	enum mount_sharing ret = MOUNT_IS_PRIVATE;
	size_t best = 0;

	/* "36 35 98:0 /root /mount/point options shared:1 master:2 - type source super" */
	for (const char *l = mountinfo; *l; l = *strchrnul(l, '\n') ? strchrnul(l, '\n') + 1 : "") {
		const char *end = strchrnul(l, '\n'), *f = l, *opts;
		size_t n;

		for (int i = 0; i < 4 && f && f < end; i++) {
			f = strchr(f, ' ');
			f = f ? f + 1 : NULL;
		}
		if (!f || f >= end)
			continue;
		n = (size_t)(strchrnul(f, ' ') - f);
		if (n == 1)
			n = 0; /* "/" is a prefix of all */
		if (strncmp(path, f, n) != 0 || (path[n] && path[n] != '/') || n < best)
			continue;
		best = n;
		ret = MOUNT_IS_PRIVATE;
		opts = strstr(f, " - ");
		for (const char *o = f; opts && o && o < opts && o < end; o = strchr(o + 1, ' ')) {
			if (str_starts(o, " shared:")) {
				ret = MOUNT_IS_SHARED;
				break;
			}
			if (str_starts(o, " master:"))
				ret = MOUNT_IS_SLAVE;
		}
	}
	return ret;
}

/* A mount of the request on its way into the spec; sorted so that what is mounted on comes first. */
struct want {
	char *dest, *source;
	const char *type;
	struct strv opts;
	const struct mount_config *m; /* NULL: image volume or a file of ours */
	size_t depth, order;
};

struct wants {
	struct want *v;
	size_t n;
	char *mountinfo;	 /* read when first needed */
	const char *propagation; /* of the root: "", "rslave", "rshared" */
};

static void wants_release(struct wants *w)
{
	for (size_t i = 0; i < w->n; i++) {
		free(w->v[i].dest);
		free(w->v[i].source);
		strv_release(&w->v[i].opts);
	}
	free(w->v);
	free(w->mountinfo);
}

static int by_depth(const void *a, const void *b)
{
	const struct want *x = a, *y = b;

	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static size_t depth_of(const char *path)
{
	size_t n = 0;

	if (str_eq(path, "/"))
		return 0;
	for (; *path; path++)
		n += *path == '/';
	return n;
}

/* Does directory `above` contain `below`? */
static bool contains(const char *above, const char *below)
{
	size_t n = strlen(above);

	while (n && above[n - 1] == '/')
		n--;
	return !strncmp(above, below, n) && (!below[n] || below[n] == '/');
}

/* The source with its last link followed inside the prefix; a missing one is made a directory. */
static int resolve_source(const struct spec_args *a, const char *host_path, char **ret, crio_err *err)
{
	const struct conf_runtime_section *c = &a->conf->runtime;
	cleanup_free char *src = path_fmt("%s%s", c->bind_mount_prefix, host_path);
	cleanup_close int root = -1, fd = -1;
	char link[64], real[4096];
	struct stat st;
	ssize_t n;

	if (!src)
		return err_nomem(err);
	if (lstat(src, &st) < 0) {
		if (errno != ENOENT)
			return err_errno(err, errno, "look at mount source %s", src);
		for (size_t i = 0; i < c->absent_mount_sources_to_reject.n; i++)
			if (str_eq(src, c->absent_mount_sources_to_reject.v[i]))
				return err_set(
				    err, CRIO_E_INVALID,
				    "cannot mount %s: path does not exist and will cause issues as a directory", src);
		if (fs_mkdir_p(src, 0755, err) < 0)
			return err_wrap(err, "failed to mkdir %s", src);
	} else if (S_ISLNK(st.st_mode)) {
		root = open(*c->bind_mount_prefix ? c->bind_mount_prefix : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (root < 0)
			return err_errno(err, errno, "open %s", c->bind_mount_prefix);
		fd = fs_open_in(root, host_path, O_PATH, 0, err);
		if (fd < 0)
			return err_wrap(err, "failed to resolve symlink '%s'", src);
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, real, sizeof(real) - 1);
		if (n < 0)
			return err_errno(err, errno, "failed to resolve symlink '%s'", src);
		real[n] = '\0';
		*ret = strdup(real);
		return *ret ? 0 : err_nomem(err);
	}
	*ret = move_ptr(src);
	return 0;
}

static int sharing_of(struct wants *w, const char *src, enum mount_sharing *ret, crio_err *err)
{
	if (!w->mountinfo) {
		int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
		int r;

		if (fd < 0)
			return err_errno(err, errno, "open /proc/self/mountinfo");
		r = fs_read_fd(fd, MOUNTINFO_MAX, &w->mountinfo, NULL, err);
		(void)safe_close(fd);
		if (r < 0)
			return err_wrap(err, "read the mount table");
	}
	*ret = mount_sharing_of(w->mountinfo, src);
	return 0;
}

static int add_propagation(struct wants *w, const struct spec_args *a, const struct mount_config *m, struct want *x,
			   crio_err *err)
{
	enum mount_propagation p = m->propagation;
	enum mount_sharing s = MOUNT_IS_PRIVATE;
	bool ours = p == PROPAGATION_PRIVATE && contains(m->host_path, a->conf->crio.root);
	int r;

	if (p == PROPAGATION_PRIVATE && !ours)
		return strv_add(&x->opts, "rprivate") < 0 ? err_nomem(err) : 0;
	r = sharing_of(w, x->source, &s, err);
	if (r < 0)
		return r;
	if (ours) {
		/* Without it the container would keep every other container's root busy; where the host's mounts are
		 * private there is nothing to follow. */
		p = s == MOUNT_IS_PRIVATE ? PROPAGATION_PRIVATE : PROPAGATION_HOST_TO_CONTAINER;
		log_info("Mount propagation for the host path %s %s as it includes the container storage root",
			 m->host_path,
			 s == MOUNT_IS_PRIVATE ? "cannot be HostToContainer" : "will be set to HostToContainer");
	}
	if (p == PROPAGATION_BIDIRECTIONAL) {
		if (s != MOUNT_IS_SHARED)
			return err_set(err, CRIO_E_INVALID,
				       "path \"%s\" is not on a shared mount: Bidirectional needs one", x->source);
		w->propagation = "rshared";
	} else if (p == PROPAGATION_HOST_TO_CONTAINER) {
		if (s == MOUNT_IS_PRIVATE)
			return err_set(err, CRIO_E_INVALID,
				       "path \"%s\" is not on a shared or slave mount: HostToContainer needs one",
				       x->source);
		if (!*w->propagation)
			w->propagation = "rslave";
	}
	return strv_add(&x->opts, p == PROPAGATION_BIDIRECTIONAL       ? "rshared"
				  : p == PROPAGATION_HOST_TO_CONTAINER ? "rslave"
								       : "rprivate") < 0
		   ? err_nomem(err)
		   : 0;
}

/* Before the propagation is looked at: that the two do not go together is what helps the user. */
static int check_read_mode(const struct spec_args *a, const struct mount_config *m, crio_err *err)
{
	if (!m->recursive_read_only)
		return 0;
	if (!m->readonly)
		return err_set(err, CRIO_E_INVALID, "recursive read-only mount conflicts with read-write mount for hostPath \"%s\"",
			       m->host_path);
	if (!a->runtime_rro)
		return err_set(err, CRIO_E_INVALID, "recursive read-only mount support is not available for hostPath \"%s\"",
			       m->host_path);
	if (m->propagation != PROPAGATION_PRIVATE)
		return err_set(err, CRIO_E_INVALID, "recursive read-only mount requires private propagation for hostPath \"%s\"",
			       m->host_path);
	return 0;
}

static int add_read_mode(const struct mount_config *m, struct want *x, crio_err *err)
{
	const char *mode = m->recursive_read_only ? "rro" : m->readonly ? "ro" : "rw";

	return strv_add(&x->opts, mode) < 0 ? err_nomem(err) : 0;
}

/* Mounts of images are not asked about: we map those ourselves. */
static int check_maps(const struct spec_args *a, const struct mount_config *m, crio_err *err)
{
	int r;

	if (!a->runtime_idmap)
		return err_set(err, CRIO_E_INVALID,
			       "idmap mounts specified but OCI runtime does not support them. Perhaps the OCI runtime "
			       "is too old");
	r = id_map_check(&m->maps.uids, "UID", -1, err);
	if (r == 0)
		r = id_map_check(&m->maps.gids, "GID", -1, err);
	return r < 0 ? err_wrap(err, "mount of hostPath \"%s\"", m->host_path) : 0;
}

static struct want *push_want(struct wants *w)
{
	struct want *x = &w->v[w->n];

	*x = (struct want){.type = "bind", .order = w->n};
	w->n++;
	return x;
}

static int want_request(struct wants *w, const struct spec_args *a, size_t i, const char *dest, crio_err *err)
{
	const struct mount_config *m = &a->container->mounts[i];
	const char *image =
	    *m->image ? (a->image_mounts && str_set(a->image_mounts[i]) ? a->image_mounts[i] : "") : NULL;
	struct want *x = push_want(w);
	int r;

	x->m = m;
	x->depth = depth_of(dest);
	x->dest = strdup(dest);
	if (!x->dest || strv_add(&x->opts, "rbind") < 0)
		return err_nomem(err);
	if (image) {
		if (!*image)
			return err_set(err, CRIO_E_INTERNAL, "image volume '%s' is not mounted", m->image);
		x->source = strdup(image);
		if (!x->source || strv_add(&x->opts, "rprivate") < 0 || strv_add(&x->opts, "ro") < 0)
			return err_nomem(err);
	} else {
		if (!*m->host_path)
			return err_set(err, CRIO_E_INVALID, "mount.HostPath is empty");
		if (m->host_path[0] != '/' || strlen(m->host_path) > CONTAINER_PATH_MAX ||
		    !str_is_printable(m->host_path))
			return err_set(err, CRIO_E_INVALID,
				       "mount.HostPath '%.256s' is not absolute, too long or has control bytes",
				       m->host_path);
		r = check_read_mode(a, m, err);
		if (!r)
			r = resolve_source(a, m->host_path, &x->source, err);
		if (!r)
			r = add_propagation(w, a, m, x, err);
		if (!r)
			r = add_read_mode(m, x, err);
		if (r < 0)
			return r;
	}
	if (!image && id_maps_set(&m->maps)) {
		r = check_maps(a, m, err);
		if (r < 0)
			return r;
	}
	return strv_add(&x->opts, "bind") < 0 ? err_nomem(err) : 0;
}

/* A volume named by the image's config: a directory in the root, or one beside it. */
static int want_image_volume(struct wants *w, const struct mounts_args *ma, const struct strv *requested,
			     const char *path, crio_err *err)
{
	const struct spec_args *a = ma->a;
	cleanup_free char *dest = NULL;
	cleanup_close int fd = -1;
	struct want *x;
	char id[37];
	int r = mount_clean_path(path, &dest, err);

	if (r < 0)
		return err_wrap(err, "volume of the image");
	if (strv_has(requested, dest))
		return 0;
	if (a->conf->image.image_volumes == CONF_VOLUMES_MKDIR) {
		cleanup_err crio_err e = ERR_INIT;

		fd = fs_open_in(a->rootfs_fd, dest, O_PATH, 0, &e);
		if (fd >= 0)
			return 0;
		if (fd != CRIO_E_NOT_FOUND)
			return err_move(err, &e);
		fd = fs_mkdirs_in_as(a->rootfs_fd, dest, 0755, spec_root_uid(a, 0), spec_root_gid(a, 0), err);
		if (fd < 0)
			return err_wrap(err, "volume '%s' of the image", path);
		if (fchownat(fd, "", spec_root_uid(a, ma->uid), spec_root_gid(a, ma->gid), AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(err, errno, "chown volume '%s' of the image", path);
		return 0;
	}
	if (!uuid_new(id))
		return err_set(err, CRIO_E_INTERNAL, "no random numbers");
	x = push_want(w);
	x->source = path_fmt("%s/mounts/%s", a->run_dir, id);
	x->depth = depth_of(dest);
	x->dest = move_ptr(dest);
	if (!x->source || strv_add(&x->opts, "private") < 0 || strv_add(&x->opts, "rw") < 0 ||
	    strv_add(&x->opts, "bind") < 0)
		return err_nomem(err);
	r = fs_mkdir_p(x->source, 0755, err);
	if (r == 0)
		r = spec_give(a, x->source, err);
	return r < 0 ? err_wrap(err, "volume '%s' of the image", path) : 0;
}

static int want_default(struct wants *w, const char *dest, const char *source, crio_err *err)
{
	struct want *x = push_want(w);

	x->dest = strdup(dest);
	x->source = strdup(source);
	x->depth = depth_of(dest);
	return !x->dest || !x->source || strv_add(&x->opts, "bind") < 0 || strv_add(&x->opts, "rprivate") < 0 ? err_nomem(err) : 0;
}

static int emit(struct list *l, const struct want *x)
{
	cleanup_json struct json_object *o = mount_json(x->dest, x->type, x->source, "");

	if (!o || json_set(o, "options", json_from_strv(&x->opts)) < 0)
		return CRIO_E_NOMEM;
	if (x->m && !*x->m->image && id_maps_set(&x->m->maps) &&
	    (json_set(o, "uidMappings", id_map_json(&x->m->maps.uids, ID_MAP_OCI)) < 0 ||
	     json_set(o, "gidMappings", id_map_json(&x->m->maps.gids, ID_MAP_OCI)) < 0))
		return CRIO_E_NOMEM;
	drop(l, x->dest);
	return json_push(l->arr, move_ptr(o));
}

/* As CRI-O records it in the annotation Volumes. */
static int record(struct json_object *volumes, const struct want *x)
{
	cleanup_json struct json_object *o = json_object_new_object(), *image = NULL;

	if (!o || json_set_str(o, "container_path", x->m->container_path) < 0 ||
	    json_set_str(o, "host_path", x->source) < 0 || json_set_bool(o, "readonly", x->m->readonly) < 0 ||
	    json_set_bool(o, "recursive_read_only", x->m->recursive_read_only) < 0 ||
	    json_set_int(o, "propagation", x->m->propagation) < 0 ||
	    json_set_bool(o, "selinux_relabel", x->m->selinux_relabel) < 0)
		return CRIO_E_NOMEM;
	if (*x->m->image) {
		image = json_object_new_object();
		if (!image || json_set_str(image, "image", x->m->image) < 0 ||
		    json_set(o, "image", move_ptr(image)) < 0)
			return CRIO_E_NOMEM;
	}
	return json_push(volumes, move_ptr(o));
}

static int add_requested(struct list *l, const struct mounts_args *ma, struct wants *w, struct json_object *spec,
			 struct json_object *volumes, crio_err *err)
{
	const struct spec_args *a = ma->a;
	size_t n_image = a->image && a->conf->image.image_volumes != CONF_VOLUMES_IGNORE ? a->image->volumes.n : 0;
	cleanup_kvs struct kvs dflt = KVS_INIT;
	int r = default_mounts(a->conf->runtime.default_mounts_file, a->run_dir, spec_host_uid(a, 0), spec_host_gid(a, 0), &dflt, err);

	if (r < 0)
		return r;
	w->v = calloc(a->container->n_mounts + n_image + dflt.n + 1, sizeof(*w->v));
	if (!w->v)
		return err_nomem(err);
	for (size_t i = 0; !r && i < dflt.n; i++)
		if (!strv_has(l->requested, dflt.v[i].key))
			r = want_default(w, dflt.v[i].key, dflt.v[i].value, err);
	for (size_t i = 0; !r && i < a->container->n_mounts; i++)
		r = want_request(w, a, i, l->requested->v[i], err);
	for (size_t i = 0; !r && i < n_image; i++)
		r = want_image_volume(w, ma, l->requested, a->image->volumes.v[i], err);
	if (r < 0)
		return r;
	qsort(w->v, w->n, sizeof(*w->v), by_depth);
	for (size_t i = 0; i < w->n; i++)
		if (emit(l, &w->v[i]) < 0 || (w->v[i].m && record(volumes, &w->v[i]) < 0))
			return err_nomem(err);
	if (*w->propagation) {
		struct json_object *linux_ = json_need_obj(spec, "linux");

		if (!linux_ || json_set_str(linux_, "rootfsPropagation", w->propagation) < 0)
			return err_nomem(err);
	}
	return 0;
}

/* "Local" is the host's /etc/localtime; else a file of the zone database. Names come from a checked configuration. */
static void add_timezone(struct list *l, const struct spec_args *a, bool read_only)
{
	const char *tz = a->conf->runtime.timezone;
	cleanup_free char *path = NULL;

	if (!str_set(tz))
		return;
	path = str_eq(tz, "Local") || str_eq(tz, "local") ? realpath("/etc/localtime", NULL)
							  : path_fmt("/usr/share/zoneinfo/%s", tz);
	if (!path || access(path, R_OK) < 0) {
		log_warn("timezone '%s': no zone file on this host; the container keeps its own", tz);
		return;
	}
	add_default(l, "/etc/localtime", "bind", path,
		    read_only ? "ro,bind,nodev,nosuid,noexec" : "rw,bind,nodev,nosuid,noexec", false);
}

/* ---- */

int mounts_build(const struct mounts_args *ma, struct json_object *spec, struct json_object **ret_volumes,
		 crio_err *err)
{
	const struct spec_args *a = ma->a;
	const struct namespace_options *ns = &a->container->sec.ns;
	cleanup_json struct json_object *volumes = json_object_new_array();
	cleanup_strv struct strv requested = STRV_INIT;
	CLEANUP(wants_release) struct wants w = {.propagation = ""};
	struct list l = {.arr = json_need_arr(spec, "mounts"), .requested = &requested};
	int r;

	if (!volumes || !l.arr)
		return err_nomem(err);
	for (size_t i = 0; i < a->container->n_mounts; i++) {
		char *p = NULL;

		r = mount_clean_path(a->container->mounts[i].container_path, &p, err);
		if (r < 0)
			return r;
		if (strv_take(&requested, p) < 0)
			return err_nomem(err);
	}
	add_kernel(&l, a, ns, ma->privileged);
	if (a->conf->runtime.read_only)
		add_read_only_tmpfs(&l);
	add_pod_files(&l, a, ns, ma->read_only);
	if (ma->privileged)
		clear_read_only(&l);
	if (ma->systemd)
		add_systemd(&l);
	if (!strv_has(&requested, "/etc") && str_set(ma->passwd_path))
		add_default(&l, "/etc/passwd", "bind", ma->passwd_path, "rw,bind,nodev,nosuid,noexec", false);
	if (!strv_has(&requested, "/etc") && str_set(ma->group_path))
		add_default(&l, "/etc/group", "bind", ma->group_path, "rw,bind,nodev,nosuid,noexec", false);
	if (l.r < 0)
		return err_nomem(err);
	r = add_requested(&l, ma, &w, spec, volumes, err);
	if (r < 0)
		return r;
	add_timezone(&l, a, ma->read_only);
	if (l.r < 0)
		return err_nomem(err);
	*ret_volumes = move_ptr(volumes);
	return 0;
}

int mounts_build_pod(const struct spec_args *a, struct json_object *spec, crio_err *err)
{
	const struct namespace_options *ns = &a->pod->sec.ns;
	const struct strv none = STRV_INIT;
	struct list l = {.arr = json_need_arr(spec, "mounts"), .requested = &none};

	if (!l.arr)
		return err_nomem(err);
	add_kernel(&l, a, ns, false);
	if (str_set(a->shm_path))
		add(&l, "/dev/shm", "bind", a->shm_path, "rw,bind");
	if (str_set(a->resolv_path))
		add(&l, "/etc/resolv.conf", "bind", a->resolv_path, "ro,bind,nodev,nosuid,noexec");
	if (str_set(a->hostname_path))
		add(&l, "/etc/hostname", "bind", a->hostname_path, "ro,bind,nodev,nosuid,noexec");
	return l.r < 0 ? err_nomem(err) : 0;
}

bool mounts_requested(const struct container_config *c, const char *path)
{
	for (size_t i = 0; i < c->n_mounts; i++) {
		cleanup_free char *p = NULL;

		if (mount_clean_path(c->mounts[i].container_path, &p, NULL) == 0 && str_eq(p, path))
			return true;
	}
	return false;
}
