/* tree.c: listing, counting and recovering layers of the overlay plugin. */
#include "plugins/storage/overlay/overlay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PENDING_MAX 1000000u /* directories noted and not yet counted */
#define HARD_MAX 1000000u    /* names of files with several links */

/* ---- list ---- */

static DIR *home_dir(struct ov *o, const char *sub)
{
	int fd = openat(o->fd, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d && fd >= 0)
		(void)close(fd);
	return d;
}

int ov_list(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_strs_out *out,
	    crio_err *err)
{
	struct ov *o = p;
	size_t n = 0, cap = 0;
	const char **v = NULL;
	(void)a;

	if (o->fd < 0)
		return o->host->fail(err, CRIO_E_PRECONDITION, "store_open comes first");
	/* Twice: memory of the call cannot grow. */
	for (int pass = 0; pass < 2; pass++) {
		DIR *d = home_dir(o, ".");
		if (!d)
			return ov_fail_errno(o, err, "read", "");
		for (struct dirent *e; (e = readdir(d));) {
			if (!ov_is_id(e->d_name))
				continue;
			if (!pass)
				cap++;
			else if (n < cap && (v[n] = o->host->strdup(call, e->d_name)))
				n++;
		}
		(void)closedir(d);
		if (!pass && !(v = o->host->alloc(call, (cap + 1) * sizeof(*v))))
			return o->host->fail(err, CRIO_E_NOMEM, "out of memory");
	}
	out->v = (struct crio_strs){v, n};
	return 0;
}

/* ---- usage ---- */

struct hard {
	dev_t dev;
	ino_t ino;
};

struct count {
	struct ov *o;
	crio_call *call;
	uint64_t bytes, inodes;
	char **dirs; /* relative to home */
	size_t n_dirs, cap_dirs;
	struct hard *hard; /* open hash of files with several links, counted once */
	size_t n_hard, cap_hard;
};

static int hard_seen(struct count *c, const struct stat *st)
{
	if ((c->n_hard + 1) * 2 > c->cap_hard) {
		if (c->n_hard >= HARD_MAX)
			return 0;
		size_t cap = c->cap_hard ? c->cap_hard * 2 : 256;
		struct hard *t = calloc(cap, sizeof(*t));
		if (!t)
			return 0; /* counted twice at worst */
		for (size_t i = 0; i < c->cap_hard; i++) {
			if (!c->hard[i].ino)
				continue;
			size_t at = (size_t)(c->hard[i].ino * 0x9e3779b97f4a7c15u) & (cap - 1);
			while (t[at].ino)
				at = (at + 1) & (cap - 1);
			t[at] = c->hard[i];
		}
		free(c->hard);
		c->hard = t;
		c->cap_hard = cap;
	}
	size_t at = (size_t)(st->st_ino * 0x9e3779b97f4a7c15u) & (c->cap_hard - 1);
	for (; c->hard[at].ino; at = (at + 1) & (c->cap_hard - 1))
		if (c->hard[at].ino == st->st_ino && c->hard[at].dev == st->st_dev)
			return 1;
	c->hard[at] = (struct hard){st->st_dev, st->st_ino};
	c->n_hard++;
	return 0;
}

static void push_dir(struct count *c, const char *dir, const char *name)
{
	char *s = NULL;
	if (c->n_dirs == c->cap_dirs) {
		size_t cap = c->cap_dirs ? c->cap_dirs * 2 : 64;
		char **v = c->n_dirs < PENDING_MAX ? reallocarray(c->dirs, cap, sizeof(char *)) : NULL;
		if (!v)
			return;
		c->dirs = v;
		c->cap_dirs = cap;
	}
	if (asprintf(&s, "%s%s%s", dir, *name ? "/" : "", name) >= 0)
		c->dirs[c->n_dirs++] = s;
}

/* Longer paths than the kernel takes are left out: nobody writes much there. */
static void count_dir(struct count *c, const char *path)
{
	DIR *d = home_dir(c->o, path);
	struct stat st;
	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue; /* gone meanwhile */
		if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && hard_seen(c, &st))
			continue;
		c->inodes++;
		c->bytes += (uint64_t)st.st_blocks * 512;
		if (S_ISDIR(st.st_mode))
			push_dir(c, path, e->d_name);
	}
	(void)closedir(d);
}

int ov_usage(void *p, crio_call *call, const struct crio_storage_usage_args *a, struct crio_storage_usage_out *out,
	     crio_err *err)
{
	struct ov *o = p;
	struct count c = {.o = o, .call = call};
	char path[80];
	int r = 0;

	if (o->fd < 0)
		return o->host->fail(err, CRIO_E_PRECONDITION, "store_open comes first");
	if (*a->id && !ov_is_id(a->id))
		return o->host->fail(err, CRIO_E_INVALID, "layer id '%.80s'", a->id);
	(void)snprintf(path, sizeof(path), "%.64s%s", *a->id ? a->id : ".", *a->id ? "/diff" : "");
	if (faccessat(o->fd, path, F_OK, 0) < 0)
		return ov_fail_errno(o, err, "look at", path);
	push_dir(&c, path, "");
	while (c.n_dirs) {
		char *dir = c.dirs[--c.n_dirs];
		if (!r && o->host->cancelled(call))
			r = o->host->fail(err, CRIO_E_CANCELLED, "disk usage of %s", path);
		if (!r)
			count_dir(&c, dir);
		free(dir);
	}
	free(c.dirs);
	free(c.hard);
	if (r < 0)
		return r;
	out->bytes = c.bytes;
	out->inodes = c.inodes;
	return 0;
}

/* ---- recover ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Links that lead nowhere, or are not the ones their layers know. */
static void drop_stale_links(struct ov *o)
{
	char to[128], link[OV_LINK_LEN + 1];
	DIR *d = home_dir(o, "l");
	for (struct dirent *e; d && (e = readdir(d));) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1);
		if (n < 0)
			continue;
		to[n] = '\0';
		char *slash = strrchr(to, '/');
		if (strncmp(to, "../", 3) != 0 || !slash || strcmp(slash, "/diff") != 0)
			continue; /* not ours */
		*slash = '\0';
		if (!ov_is_id(to + 3))
			continue;
		if (faccessat(o->fd, to + 3, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
			(void)unlinkat(dirfd(d), e->d_name, 0);
		else if (ov_read_link(o, to + 3, link) == 0 && strcmp(link, e->d_name) != 0)
			(void)unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		(void)closedir(d);
}

void ov_repair_links(struct ov *o)
{
	char link[OV_LINK_LEN + 1];
	DIR *d = home_dir(o, ".");
	for (struct dirent *e; d && (e = readdir(d));)
		if (ov_is_id(e->d_name) && ov_read_link(o, e->d_name, link) == 0)
			(void)ov_make_link(o, link, e->d_name); /* there already: fine */
	if (d)
		(void)closedir(d);
}

int ov_recover(void *p, crio_call *call, const struct crio_storage_recover_args *a, struct crio_storage_no_out *out,
	       crio_err *err)
{
	struct ov *o = p;
	char link[OV_LINK_LEN + 1];
	(void)call;
	(void)out;

	if (o->fd < 0)
		return o->host->fail(err, CRIO_E_PRECONDITION, "store_open comes first");
	const char **known = calloc(a->known.n + 1, sizeof(*known));
	DIR *d = known ? home_dir(o, ".") : NULL;
	if (!d) {
		free(known);
		return o->host->fail(err, CRIO_E_IO, "read %s: %s", o->home, strerror(errno));
	}
	if (a->known.n)
		memcpy(known, a->known.v, a->known.n * sizeof(*known));
	qsort(known, a->known.n, sizeof(*known), by_text);
	for (struct dirent *e; (e = readdir(d));) {
		const char *name = e->d_name;
		if (!strncmp(name, OV_NEW, strlen(OV_NEW)) || !strncmp(name, OV_DEL, strlen(OV_DEL))) {
			(void)ov_trash(o, name);
			continue;
		}
		/* Whole layers without a record are left alone here: only the records' owner knows what that means. */
		if (ov_is_id(name) && ov_read_link(o, name, link) < 0 && errno == ENOENT &&
		    !bsearch(&name, known, a->known.n, sizeof(*known), by_text))
			(void)ov_trash(o, name);
	}
	(void)closedir(d);
	free(known);
	drop_stale_links(o);
	ov_repair_links(o);
	return 0;
}
