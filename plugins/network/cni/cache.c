/*
 * The attachments on disk, as libcni keeps them: <cache_dir>/results/<network>-<id>-<ifname>, kind cniCacheV1, with the
 * list they were made by. A file is written before the first program runs, without `result`, and again with it: an
 * attachment that a crash cut short can be undone by the list it was begun with.
 *
 * No fsync: a lease that outlives its record after power loss is of an address that the next ADD of the id would not
 * get, and host-local and its like do not sync either. Replaced by rename, so that no torn file is read.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "cni.h"

#define KIND "cniCacheV1"

static int dir_open(struct cni *c, crio_call *call, bool make, crio_err *err)
{
	const char *path = cni_fmt(c, call, "%s/results", c->cache_dir);
	int fd;

	if (!path)
		return cni_nomem(c, err);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && make) {
		if (mkdir(c->cache_dir, 0700) < 0 && errno != EEXIST)
			return c->host->fail(err, CRIO_E_IO, "make cache directory %s: %s", c->cache_dir,
					     strerror(errno));
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return c->host->fail(err, CRIO_E_IO, "make cache directory %s: %s", path, strerror(errno));
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return c->host->fail(err, errno == ENOENT ? CRIO_E_NOT_FOUND : CRIO_E_IO, "open cache directory %s: %s",
				     path, strerror(errno));
	return fd;
}

/* All three parts are checked names, so the file stays in its directory. */
static const char *file_name(struct cni *c, crio_call *call, const char *network, const char *id, const char *ifname)
{
	return cni_fmt(c, call, "%s-%s-%s", network, id, ifname);
}

/* ---- writing ---- */

static int write_all(struct cni *c, int fd, const char *p, size_t n, crio_err *err)
{
	while (n > 0) {
		ssize_t k = write(fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return c->host->fail(err, errno == ENOSPC || errno == EDQUOT ? CRIO_E_NOSPACE : CRIO_E_IO,
					     "write cache file: %s", strerror(errno));
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

/* ".crio.<pid>.<n>" of a process that is no more, as a crash in `replace` leaves it. */
static bool is_leftover(const char *name)
{
	char path[64], *end;
	unsigned long pid;

	if (strncmp(name, ".crio.", 6) != 0 || name[6] < '1' || name[6] > '9')
		return false;
	pid = strtoul(name + 6, &end, 10);
	(void)snprintf(path, sizeof(path), "/proc/%lu", pid);
	return *end == '.' && access(path, F_OK) < 0 && errno == ENOENT;
}

void cni_cache_sweep(struct cni *c, crio_call *call)
{
	int fd = dir_open(c, call, false, NULL);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		(void)close(fd);
	for (struct dirent *e; d && (e = readdir(d));)
		if (is_leftover(e->d_name))
			(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		(void)closedir(d);
}

static int replace(struct cni *c, crio_call *call, const char *name, const char *text, crio_err *err)
{
	static _Atomic unsigned seq;
	cleanup_close int dir = dir_open(c, call, true, err), fd = -1;
	/* Leading dot and no "-<id>-" inside: libcni and CRI-O's own reader pass over it. */
	const char *tmp = cni_fmt(c, call, ".crio.%d.%u", (int)getpid(), atomic_fetch_add(&seq, 1));
	int r;

	if (dir < 0)
		return dir;
	if (!tmp)
		return cni_nomem(c, err);
	(void)unlinkat(dir, tmp, 0);
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return c->host->fail(err, CRIO_E_IO, "make cache file %s: %s", name, strerror(errno));
	r = write_all(c, fd, text, strlen(text), err);
	if (r == 0 && renameat(dir, tmp, dir, name) < 0)
		r = c->host->fail(err, CRIO_E_IO, "put cache file %s in place: %s", name, strerror(errno));
	if (r < 0)
		(void)unlinkat(dir, tmp, 0);
	return r;
}

int cni_cache_write(struct cni *c, crio_call *call, const struct list *l, const struct attach *at,
		    struct json_object *result, crio_err *err)
{
	cleanup_json struct json_object *o = json_object_new_object();
	const char *config = cni_base64(c, call, l->text, strlen(l->text));
	const char *name = file_name(c, call, l->name, at->id, at->ifname), *text;
	bool ok = config && name && cni_json_set(o, "kind", json_object_new_string(KIND)) &&
		  cni_json_set(o, "containerId", json_object_new_string(at->id)) &&
		  cni_json_set(o, "config", json_object_new_string(config)) &&
		  cni_json_set(o, "ifName", json_object_new_string(at->ifname)) &&
		  cni_json_set(o, "networkName", json_object_new_string(l->name));

	if (ok && *at->netns)
		ok = cni_json_set(o, "netns", json_object_new_string(at->netns));
	if (ok && at->args)
		ok = cni_json_set(o, "cniArgs", json_object_get(at->args));
	if (ok && at->caps && json_object_object_length(at->caps) > 0)
		ok = cni_json_set(o, "capabilityArgs", json_object_get(at->caps));
	if (ok && result)
		ok = cni_json_set(o, "result", json_object_get(result));
	text = ok ? cni_json_text(o) : NULL;
	if (!text)
		return cni_nomem(c, err);
	if (strlen(text) > CNI_CACHE_MAX)
		return c->host->fail(err, CRIO_E_EXHAUSTED, "attachment of more than %u bytes", CNI_CACHE_MAX);
	return replace(c, call, name, text, err);
}

/* ---- reading ---- */

void cni_cached_release(struct cached *c)
{
	json_putp(&c->root);
}

static int read_text(struct cni *c, crio_call *call, int dir, const char *name, const char **ret, size_t *ret_n,
		     crio_err *err)
{
	cleanup_close int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	char *p;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return c->host->fail(err, errno == ENOENT ? CRIO_E_NOT_FOUND : CRIO_E_IO, "open: %s", strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)CNI_CACHE_MAX)
		return c->host->fail(err, CRIO_E_CORRUPT, "not a regular file of at most %u bytes", CNI_CACHE_MAX);
	p = c->host->alloc(call, (size_t)st.st_size + 1);
	if (!p)
		return cni_nomem(c, err);
	n = pread(fd, p, (size_t)st.st_size, 0);
	if (n != (ssize_t)st.st_size)
		return c->host->fail(err, CRIO_E_IO, "read: %s", n < 0 ? strerror(errno) : "short");
	*ret = p;
	*ret_n = (size_t)n;
	return 0;
}

static int read_cached(struct cni *c, crio_call *call, int dir, const char *name, struct cached *ret, crio_err *err)
{
	struct cached k = {0};
	const char *text = NULL;
	size_t n = 0;
	int r = read_text(c, call, dir, name, &text, &n, err);

	if (r == 0)
		r = cni_json_parse(c, text, n, &k.root, err);
	if (r < 0)
		return r == CRIO_E_NOT_FOUND ? r : c->host->wrap(err, "cache file %s", name);
	k.id = cni_json_str(k.root, "containerId");
	k.ifname = cni_json_str(k.root, "ifName");
	k.network = cni_json_str(k.root, "networkName");
	k.netns = cni_json_str(k.root, "netns");
	k.args = cni_json_get(k.root, "cniArgs", json_type_array);
	k.caps = cni_json_get(k.root, "capabilityArgs", json_type_object);
	k.result = cni_json_get(k.root, "result", json_type_object);
	if (!strcmp(cni_json_str(k.root, "kind"), KIND))
		k.config = cni_unbase64(c, call, cni_json_str(k.root, "config"), &k.config_n);
	if (!k.config || !cni_name_ok(k.id, 255) || !cni_ifname_ok(k.ifname) || !cni_name_ok(k.network, CNI_NAME_MAX)) {
		cni_cached_release(&k);
		return c->host->fail(err, CRIO_E_CORRUPT, "cache file %s is not of kind " KIND " with all its fields",
				     name);
	}
	*ret = k;
	return 0;
}

int cni_cache_each(struct cni *c, crio_call *call, int (*fn)(void *arg, struct cached *cached), void *arg,
		   crio_err *err)
{
	int fd = dir_open(c, call, false, NULL), r = 0;
	DIR *d;

	if (fd == CRIO_E_NOT_FOUND)
		return 0;
	if (fd < 0)
		return c->host->fail(err, fd, "open cache directory %s/results: %s", c->cache_dir, strerror(errno));
	d = fdopendir(fd);
	if (!d) {
		(void)close(fd);
		return c->host->fail(err, CRIO_E_IO, "list the cache: %s", strerror(errno));
	}
	for (struct dirent *e; r == 0 && (e = readdir(d));) {
		cleanup_cached struct cached k = {0};
		crio_call *sub;

		if (*e->d_name == '.')
			continue;
		sub = c->host->call_sub(call, 0); /* each file's text goes when it has been looked at */
		if (!sub)
			r = cni_nomem(c, err);
		else if (read_cached(c, sub, dirfd(d), e->d_name, &k, NULL) == 0)
			r = fn(arg, &k);
		c->host->call_free(sub);
	}
	(void)closedir(d);
	return r;
}

struct search {
	const char *id, *ifname;
	const char *network;
	struct cni *c;
	crio_call *call;
};

static int search_one(void *arg, struct cached *k)
{
	struct search *s = arg;

	if (strcmp(k->id, s->id) != 0 || strcmp(k->ifname, s->ifname) != 0)
		return 0;
	s->network = s->c->host->strdup(s->call, k->network);
	return 1;
}

/* Names of the networks there are now, for a look without listing the directory. */
static int known(struct cni *c, crio_call *call, struct crio_strs *ret, crio_err *err)
{
	const char **v;
	size_t n = 0;
	bool ok = true;

	(void)pthread_mutex_lock(&c->mu);
	v = c->host->alloc(call, sizeof(*v) * (c->n_nets + 1));
	for (size_t i = 0; v && ok && i < c->n_nets; i++)
		ok = (v[n++] = c->host->strdup(call, c->nets[i]->name)) != NULL;
	(void)pthread_mutex_unlock(&c->mu);
	ret->v = v;
	ret->n = n;
	return v && ok ? 0 : cni_nomem(c, err);
}

int cni_cache_find(struct cni *c, crio_call *call, const char *id, const char *ifname, struct cached *ret,
		   crio_err *err)
{
	struct search s = {.id = id, .ifname = ifname, .c = c, .call = call};
	struct crio_strs names;
	cleanup_close int dir = dir_open(c, call, false, err);
	const char *name;
	int r;

	if (dir < 0)
		return dir;
	r = known(c, call, &names, err);
	for (size_t i = 0; r == 0 && i < names.n; i++) {
		name = file_name(c, call, names.v[i], id, ifname);
		if (!name)
			return cni_nomem(c, err);
		/* err is filled only when we return it. */
		if (faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		return read_cached(c, call, dir, name, ret, err);
	}
	if (r < 0)
		return r;
	/* The network was renamed or removed since. */
	r = cni_cache_each(c, call, search_one, &s, err);
	if (r < 0)
		return r;
	if (r == 0)
		return c->host->fail(err, CRIO_E_NOT_FOUND, "no cached attachment of '%s'", id);
	name = s.network ? file_name(c, call, s.network, id, ifname) : NULL;
	return name ? read_cached(c, call, dir, name, ret, err) : cni_nomem(c, err);
}

int cni_cache_del(struct cni *c, crio_call *call, const char *network, const char *id, const char *ifname, crio_err *err)
{
	cleanup_close int dir = dir_open(c, call, false, NULL);
	const char *name;

	if (dir == CRIO_E_NOT_FOUND)
		return 0;
	if (dir < 0)
		return c->host->fail(err, dir, "open the CNI cache in %s to remove the record of '%s'", c->cache_dir, id);
	name = file_name(c, call, network, id, ifname);
	if (!name)
		return cni_nomem(c, err);
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return c->host->fail(err, CRIO_E_IO, "remove CNI cache file %s: %s", name, strerror(errno));
	return 0;
}
