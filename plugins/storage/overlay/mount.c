/* mount.c: how a layer is shown: as rows of mounts, as a directory, and in words. */
#include "plugins/storage/overlay/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is mounted ---- */

/* "l/A:l/B" as absolute paths with `first` before them, for lowerdir. NULL without memory. */
static char *abs_lowers(struct ov *o, crio_call *call, const char *first, const char *lower, size_t *ret_n)
{
	size_t n = 0, entries = 1;
	for (const char *c = lower; *c; c++)
		entries += *c == ':';
	size_t cap = strlen("lowerdir=") + (entries + 1) * (strlen(o->l.home) + OV_LINK_LEN + 80);
	char *s = o->l.host->alloc(call, cap);
	if (!s)
		return NULL;
	size_t at = (size_t)snprintf(s, cap, "lowerdir=");
	if (*first) {
		at += (size_t)snprintf(s + at, cap - at, "%s/%s", o->l.home, first);
		n++;
	}
	while (*lower) {
		size_t len = strcspn(lower, ":");
		if (len)
			at +=
			    (size_t)snprintf(s + at, cap - at, "%s%s/%.*s", n++ ? ":" : "", o->l.home, (int)len, lower);
		lower += len + (lower[len] == ':');
	}
	*ret_n = n;
	return s;
}

struct options {
	const char **v;
	size_t n, cap;
};

static void add_option(struct options *l, const char *s)
{
	if (s && l->n < l->cap)
		l->v[l->n++] = s;
}

static char *text(struct ov *o, crio_call *call, const char *a, const char *b, const char *c, const char *d)
{
	size_t n = strlen(a) + strlen(b) + strlen(c) + strlen(d) + 1;
	char *s = o->l.host->alloc(call, n);
	if (s)
		(void)snprintf(s, n, "%s%s%s%s", a, b, c, d);
	return s;
}

/* mountopt of the configuration. */
static void add_mountopt(struct ov *o, crio_call *call, struct options *l)
{
	struct crio_strs opts = o->l.host->opt_strs(o->in, "mountopt");
	for (size_t i = 0; i < opts.n; i++) {
		const char *s = opts.v[i];
		if (!*s || (!o->metacopy && !strncmp(s, "metacopy", 8)) || !strcmp(s, "volatile"))
			continue;
		add_option(l, o->l.host->strdup(call, s));
	}
}

/* The kernel leaves this behind to refuse a volatile layer after a crash. What a container wrote is not worth more than
 * its container: it may be mounted again, as CRI-O does. */
static void forget_volatile(struct ov *o, const char *id)
{
	char path[160];
	(void)snprintf(path, sizeof(path), "%.64s/work/work/incompat/volatile/dirty", id);
	if (unlinkat(o->l.fd, path, 0) < 0 && errno == ENOENT)
		return;
	path[strlen(path) - strlen("/dirty")] = '\0';
	(void)unlinkat(o->l.fd, path, AT_REMOVEDIR);
}

static int rows_rw(struct ov *o, crio_call *call, const char *id, const char *lower, struct options *l,
		   struct crio_storage_mounts_out *out, crio_err *err)
{
	char empty[80];
	size_t n;

	(void)snprintf(empty, sizeof(empty), "%.64s/empty", id);
	if (!*lower && mkdirat(o->l.fd, empty, 0700) < 0 && errno != EEXIST)
		return layers_fail_errno(&o->l, err, "create", empty);
	char *dirs = abs_lowers(o, call, *lower ? "" : empty, lower, &n);
	char *up = text(o, call, "upperdir=", o->l.home, "/", id),
	     *work = text(o, call, "workdir=", o->l.home, "/", id);
	if (!dirs || !up || !work)
		return o->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
	add_option(l, dirs);
	add_option(l, text(o, call, up, "/diff", "", ""));
	add_option(l, text(o, call, work, "/work", "", ""));
	if (o->l.host->opt_int(o->in, "volatile")) {
		forget_volatile(o, id);
		add_option(l, "volatile");
	}
	return layers_row(&o->l, call, "overlay", "overlay", (struct crio_strs){l->v, l->n}, out, err);
}

static int rows_ro(struct ov *o, crio_call *call, const char *id, const char *lower, struct options *l,
		   struct crio_storage_mounts_out *out, crio_err *err)
{
	char link[OV_LINK_LEN + 1], first[96];
	size_t n;

	add_option(l, "ro");
	if (!*lower)
		return layers_row(&o->l, call, "bind", text(o, call, o->l.home, "/", id, "/diff"),
				  (struct crio_strs){l->v, l->n}, out, err);
	if (ov_read_link(o, id, link) == 0)
		(void)snprintf(first, sizeof(first), "l/%s", link);
	else
		(void)snprintf(first, sizeof(first), "%.64s/diff", id);
	char *dirs = abs_lowers(o, call, first, lower, &n);
	if (!dirs)
		return o->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
	add_option(l, dirs);
	return layers_row(&o->l, call, "overlay", "overlay", (struct crio_strs){l->v, l->n}, out, err);
}

int ov_mounts(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_mounts_out *out,
	      crio_err *err)
{
	struct ov *o = p;
	char lower[OV_LOWER_MAX];
	struct options l = {.cap = 16 + a->options.n + o->l.host->opt_strs(o->in, "mountopt").n};

	int r = layers_check_there(&o->l, a->id, err);
	if (r < 0)
		return r;
	if (ov_read_lower(o, a->id, lower, sizeof(lower)) < 0)
		return layers_fail_errno(&o->l, err, "read the lower directories of", a->id);
	r = ov_check_lowers(o, lower, err);
	if (r < 0)
		return r;
	l.v = o->l.host->alloc(call, l.cap * sizeof(*l.v));
	if (!l.v)
		return o->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
	int bind = a->read_only && !*lower;
	if (!bind)
		add_mountopt(o, call, &l);
	for (size_t i = 0; i < a->options.n; i++)
		add_option(&l, o->l.host->strdup(call, a->options.v[i]));
	if (*a->mount_label && !bind)
		add_option(&l, text(o, call, "context=", a->mount_label, "", ""));
	return a->read_only ? rows_ro(o, call, a->id, lower, &l, out, err)
			    : rows_rw(o, call, a->id, lower, &l, out, err);
}

int ov_tree_open(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_tree_out *out,
		 crio_err *err)
{
	struct ov *o = p;
	char path[80];
	(void)call;
	int r = layers_check_id(&o->l, a->id, err);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%.64s/diff", a->id);
	int fd = openat(o->l.fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return layers_fail_errno(&o->l, err, "open", path);
	out->dirfd = fd;
	return 0;
}

/* ---- telling about layers ---- */

/* The parents' diff directories, as `podman inspect` shows them. */
static char *lower_dirs(struct ov *o, crio_call *call, const char *lower)
{
	char path[64], to[128];
	size_t n = 1, at = 0;
	for (const char *c = lower; *c; c++)
		n += *c == ':';
	size_t cap = n * (strlen(o->l.home) + 80);
	char *s = o->l.host->alloc(call, cap);
	while (s && *lower) {
		size_t len = strcspn(lower, ":");
		(void)snprintf(path, sizeof(path), "%.*s", (int)(len < 60 ? len : 60), lower);
		ssize_t r = readlinkat(o->l.fd, path, to, sizeof(to) - 1);
		to[r > 0 ? r : 0] = '\0';
		if (r > 3 && !strncmp(to, "../", 3) && strlen(to) < 80)
			at += (size_t)snprintf(s + at, cap - at, "%s%s/%s", at ? ":" : "", o->l.home, to + 3);
		lower += len + (lower[len] == ':');
	}
	return s;
}

int ov_info(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_map_out *out,
	    crio_err *err)
{
	struct ov *o = p;
	char lower[OV_LOWER_MAX];
	size_t n = 0;

	int r = layers_check_there(&o->l, a->id, err);
	if (r < 0)
		return r;
	struct crio_kv *v = o->l.host->alloc(call, 4 * sizeof(*v));
	char *base = text(o, call, o->l.home, "/", a->id, "");
	if (!v || !base)
		return o->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
	if (ov_read_lower(o, a->id, lower, sizeof(lower)) == 0 && *lower)
		v[n++] = (struct crio_kv){"LowerDir", lower_dirs(o, call, lower)};
	v[n++] = (struct crio_kv){"MergedDir", text(o, call, base, "/merged", "", "")};
	v[n++] = (struct crio_kv){"UpperDir", text(o, call, base, "/diff", "", "")};
	v[n++] = (struct crio_kv){"WorkDir", text(o, call, base, "/work", "", "")};
	for (size_t i = 0; i < n; i++)
		if (!v[i].value)
			return o->l.host->fail(err, CRIO_E_NOMEM, "out of memory");
	out->v = (struct crio_map){v, n};
	return 0;
}
