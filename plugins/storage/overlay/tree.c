/* tree.c: counting and recovering layers of the overlay plugin. */
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
	DIR *d = layers_dir(c->o->l.fd, path);
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
	struct stat st;
	char path[80];
	int r = 0;

	r = *a->id ? layers_check_id(&o->l, a->id, err) : layers_check_open(&o->l, err);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%.64s%s", *a->id ? a->id : ".", *a->id ? "/diff" : "");
	if (fstatat(o->l.fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return layers_fail_errno(&o->l, err, "look at", path);
	if (*a->id) { /* the tree's own directory is the layer's too */
		c.inodes = 1;
		c.bytes = (uint64_t)st.st_blocks * 512;
	}
	push_dir(&c, path, "");
	while (c.n_dirs) {
		char *dir = c.dirs[--c.n_dirs];
		if (!r && o->l.host->cancelled(call))
			r = o->l.host->fail(err, CRIO_E_CANCELLED, "disk usage of %s", path);
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

int ov_recover(void *p, crio_call *call, const struct crio_storage_recover_args *a, struct crio_storage_no_out *out,
	       crio_err *err)
{
	struct ov *o = p;
	char link[OV_LINK_LEN + 1];
	(void)call;
	(void)out;

	int r = layers_check_open(&o->l, err);
	if (r < 0)
		return r;
	const char **known = calloc(a->known.n + 1, sizeof(*known));
	DIR *d = known ? layers_dir(o->l.fd, ".") : NULL;
	if (!d) {
		free(known);
		return o->l.host->fail(err, CRIO_E_IO, "read %s: %s", o->l.home, strerror(errno));
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
		if (layers_is_id(name) && ov_read_link(o, name, link) < 0 && errno == ENOENT &&
		    !bsearch(&name, known, a->known.n, sizeof(*known), by_text))
			(void)ov_trash(o, name);
	}
	(void)closedir(d);
	free(known);
	ov_drop_stale_links(o);
	ov_repair_links(o);
	return 0;
}
