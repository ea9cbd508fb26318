/* spec_devices.c: device nodes of a container and the rules that allow them. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/lifecycle/annotations.h"
#include "core/lifecycle/mounts.h"
#include "core/lifecycle/spec_priv.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define DEVICES_MAX 4096
#define DEV_DEPTH_MAX 8

/* Any of r, w, m, each once at most. */
static bool is_mode(const char *s)
{
	unsigned seen = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		unsigned bit = *s == 'r' ? 1 : *s == 'w' ? 2 : *s == 'm' ? 4 : 0;

		if (!bit || (seen & bit))
			return false;
		seen |= bit;
	}
	return true;
}

int device_parse(const char *s, char *buf, size_t n, struct spec_device *ret, crio_err *err)
{
	struct spec_device d = {.permissions = "rwm"};
	char *second, *third = NULL;

	if (strlen(s) >= n)
		return err_set(err, CRIO_E_INVALID, "device '%.64s...' is too long", s);
	(void)memcpy(buf, s, strlen(s) + 1);
	d.host_path = buf;
	second = strchr(buf, ':');
	if (second) {
		*second++ = '\0';
		third = strchr(second, ':');
		if (third)
			*third++ = '\0';
	}
	if (second && is_mode(second))
		d.permissions = second;
	else if (str_set(second))
		d.container_path = second;
	if (third) {
		if (!is_mode(third))
			return err_set(err, CRIO_E_INVALID, "invalid device mode: %.64s", third);
		d.permissions = third;
	}
	if (!d.container_path)
		d.container_path = d.host_path;
	if (d.container_path[0] != '/')
		return err_set(err, CRIO_E_INVALID, "invalid device mode: %.64s", d.container_path);
	if (!path_is_clean_abs(d.host_path) || !path_is_clean_abs(d.container_path) ||
	    !str_starts(d.container_path, "/dev/") || !str_is_printable(s))
		return err_set(err, CRIO_E_INVALID,
			       "device '%.256s': paths must be absolute and clean, below /dev in the container", s);
	*ret = d;
	return 0;
}

/* ---- rows of the spec ---- */

static const char *type_of(mode_t m)
{
	return S_ISCHR(m) ? "c" : S_ISBLK(m) ? "b" : S_ISFIFO(m) ? "p" : NULL;
}

static int add_node(struct spec_build *b, const char *path, const struct stat *st, int64_t uid, int64_t gid,
		    bool with_mode)
{
	struct json_object *arr = json_need_arr(spec_linux(b), "devices");
	cleanup_json struct json_object *o = json_object_new_object();

	if (!arr || !o || json_set_str(o, "path", path) < 0 || json_set_str(o, "type", type_of(st->st_mode)) < 0 ||
	    json_set_int(o, "major", major(st->st_rdev)) < 0 || json_set_int(o, "minor", minor(st->st_rdev)) < 0 ||
	    (with_mode && json_set_int(o, "fileMode", st->st_mode & 07777) < 0) || json_set_int(o, "uid", uid) < 0 ||
	    json_set_int(o, "gid", gid) < 0)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < json_object_array_length(arr); i++)
		if (str_eq(json_str(json_object_array_get_idx(arr, i), "path"), path))
			return json_object_array_put_idx(arr, i, move_ptr(o)) < 0 ? CRIO_E_NOMEM : 0;
	if (json_object_array_length(arr) >= DEVICES_MAX)
		return CRIO_E_EXHAUSTED;
	return json_push(arr, move_ptr(o));
}

static int add_rule(struct spec_build *b, bool allow, const struct stat *st, const char *access_)
{
	struct json_object *res = json_need_obj(spec_linux(b), "resources"),
			   *arr = res ? json_need_arr(res, "devices") : NULL;
	cleanup_json struct json_object *o = json_object_new_object();

	if (!arr || !o || json_set_bool(o, "allow", allow) < 0)
		return CRIO_E_NOMEM;
	if (st &&
	    (json_set_str(o, "type", type_of(st->st_mode)) < 0 || json_set_int(o, "major", major(st->st_rdev)) < 0 ||
	     json_set_int(o, "minor", minor(st->st_rdev)) < 0))
		return CRIO_E_NOMEM;
	if (json_set_str(o, "access", access_) < 0)
		return CRIO_E_NOMEM;
	return json_push(arr, move_ptr(o));
}

static int add_both(struct spec_build *b, const char *path, const struct stat *st, int64_t uid, int64_t gid,
		    bool with_mode, const char *access_, crio_err *err)
{
	int r = add_node(b, path, st, uid, gid, with_mode);

	if (!r && (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)))
		r = add_rule(b, true, st, access_);
	return r < 0 ? err_set(err, r, "device %s: no memory, or more than %d devices", path, DEVICES_MAX) : 0;
}

/* additional_devices of the configuration, or the annotation's list. */
static int add_configured(struct spec_build *b, const char *text, const struct strv *allowed, crio_err *err)
{
	cleanup_free char *buf = malloc(strlen(text) + 1);
	struct spec_device d;
	struct stat st;
	int r;

	if (!*text)
		return 0;
	if (!buf)
		return err_nomem(err);
	r = device_parse(text, buf, strlen(text) + 1, &d, err);
	if (r < 0)
		return r;
	if (allowed && !strv_has(allowed, d.host_path))
		return err_set(err, CRIO_E_DENIED, "device %s is specified but is not in allowed_devices", d.host_path);
	if (stat(d.host_path, &st) < 0)
		return err_errno(err, errno, "%s is not a valid device", d.host_path);
	if (!type_of(st.st_mode))
		return err_set(err, CRIO_E_INVALID, "%s is not a valid device: not a device node", d.host_path);
	return add_both(b, d.container_path, &st, st.st_uid, st.st_gid, true, d.permissions, err);
}

/* Every node below dir (an open descriptor, taken), as `prefix`/name. Directories that are other file systems' are left
 * out, as is what cannot be looked at. */
static int walk(struct spec_build *b, int dir, const char *prefix, bool host, const char *access_, int depth,
		crio_err *err)
{
	static const char *const skip[] = {"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"};
	cleanup_closedir DIR *d = fdopendir(dir);
	struct dirent *e;
	struct stat st;
	int r = 0;

	if (!d) {
		(void)safe_close(dir);
		return err_nomem(err);
	}
	while (!r && (e = readdir(d))) {
		cleanup_free char *path = NULL;
		bool skipped =
		    str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || (host && str_eq(e->d_name, "console"));

		for (size_t i = 0; !skipped && host && depth == 0 && i < ARRAY_SIZE(skip); i++)
			skipped = str_eq(e->d_name, skip[i]);
		if (skipped || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		path = path_fmt("%s/%s", prefix, e->d_name);
		if (!path)
			return err_nomem(err);
		if (S_ISDIR(st.st_mode) && depth < DEV_DEPTH_MAX) {
			int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			r = sub < 0 ? 0 : walk(b, sub, path, host, access_, depth + 1, err);
		} else if ((S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) && st.st_rdev) {
			r = host ? add_node(b, path, &st, st.st_uid, st.st_gid, false)
				 : add_both(b, path, &st, st.st_uid, st.st_gid, false, access_, err);
			if (r == CRIO_E_NOMEM)
				return err_nomem(err);
			if (r == CRIO_E_EXHAUSTED) {
				log_warn("More than %d device nodes in %s: the rest are not given to the container",
					 DEVICES_MAX, prefix);
				return 0;
			}
		}
	}
	return r;
}

static int add_host_devices(struct spec_build *b, crio_err *err)
{
	struct json_object *res = json_need_obj(spec_linux(b), "resources");
	int fd = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_errno(err, errno, "open /dev");
	r = walk(b, fd, "/dev", true, "rwm", 0, err);
	if (r < 0)
		return r;
	/* In place of the rules so far: all of them are within it. */
	if (!res || json_set(res, "devices", json_object_new_array()) < 0 || add_rule(b, true, NULL, "rwm") < 0)
		return err_nomem(err);
	return 0;
}

static int add_requested(struct spec_build *b, const struct device_config *d, crio_err *err)
{
	const struct security_context *sc = &b->a->container->sec;
	bool own = b->a->conf->runtime.device_ownership_from_security_context;
	const char *access_ = *d->permissions ? d->permissions : "rwm";
	cleanup_free char *dest = NULL, *host = NULL;
	struct stat st;
	int r, fd;

	if (!*d->container_path || !path_is_clean_abs(d->host_path) || !is_mode(access_))
		return err_set(err, CRIO_E_INVALID,
			       "device '%.256s': the host path must be absolute and clean, permissions of r, w, m",
			       d->host_path);
	r = mount_clean_path(d->container_path, &dest, err);
	if (r < 0)
		return err_wrap(err, "device '%s'", d->host_path);
	if (b->privileged && !str_eq(d->container_path, d->host_path) && access(dest, F_OK) == 0)
		return err_set(
		    err, CRIO_E_INVALID,
		    "privileged container was configured with a device container path that already exists on "
		    "the host");
	host = realpath(d->host_path, NULL);
	if (!host || stat(host, &st) < 0)
		return err_errno(err, errno, "device %s", d->host_path);
	if (type_of(st.st_mode)) {
		int64_t uid = own && sc->run_as_user.set && sc->run_as_user.v > 0 ? sc->run_as_user.v : st.st_uid;
		int64_t gid = own && sc->run_as_group.set && sc->run_as_group.v > 0 ? sc->run_as_group.v : st.st_gid;

		return add_both(b, dest, &st, uid, gid, false, access_, err);
	}
	if (!S_ISDIR(st.st_mode))
		return 0;
	fd = open(host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "device directory %s", host);
	r = walk(b, fd, dest, false, access_, 0, err);
	return r < 0 ? err_wrap(err, "device directory %s", host) : 0;
}

int spec_set_devices(struct spec_build *b, crio_err *err)
{
	const struct spec_args *a = b->a;
	const struct conf_runtime_section *c = &a->conf->runtime;
	const char *ann = a->container ? annotation_get(&a->pod->annotations, ANN_DEVICES, NULL) : NULL;
	cleanup_strv struct strv from_ann = STRV_INIT;
	int r = add_rule(b, false, NULL, "rwm") < 0 ? err_nomem(err) : 0;

	if (!a->container)
		return r;
	for (size_t i = 0; !r && i < c->additional_devices.n; i++)
		r = add_configured(b, c->additional_devices.v[i], NULL, err);
	if (!r && ann && str_split(ann, ',', &from_ann) < 0)
		return err_nomem(err);
	for (size_t i = 0; !r && i < from_ann.n; i++)
		r = add_configured(b, from_ann.v[i], &c->allowed_devices, err);
	if (!r && b->privileged && !a->runtime->privileged_without_host_devices)
		r = add_host_devices(b, err);
	for (size_t i = 0; !r && i < a->container->n_devices; i++)
		r = add_requested(b, &a->container->devices[i], err);
	return r;
}
