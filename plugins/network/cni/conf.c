/* Configuration files -> networks. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>

#include "cni.h"

#define SKIPPED_MAX 2048 /* bytes of reasons kept for the status message */

static const char *const extensions[] = {".conf", ".conflist", ".json"};

static bool has_ext(const char *name, const char *ext)
{
	const char *dot = strrchr(name, '.');

	return dot && !strcmp(dot, ext);
}

/* ---- references ---- */

struct net *cni_net_ref(struct net *n)
{
	atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
	return n;
}

void cni_net_unref(struct net *n)
{
	if (!n || atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) > 1)
		return;
	free(n->name);
	free(n->version);
	free(n->file);
	free(n->type);
	free(n->text);
	free(n);
}

struct net *cni_default(struct cni *c)
{
	struct net *n;

	(void)pthread_mutex_lock(&c->mu);
	n = c->dflt ? cni_net_ref(c->dflt) : NULL;
	(void)pthread_mutex_unlock(&c->mu);
	return n;
}

static void nets_free(struct net **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cni_net_unref(v[i]);
	free(v);
}

void cni_nets_release(struct cni *c)
{
	nets_free(c->nets, c->n_nets);
	c->nets = NULL;
	c->n_nets = 0;
	c->dflt = NULL;
}

/* ---- a list ---- */

void cni_list_release(struct list *l)
{
	json_putp(&l->root);
}

/* The highest of cniVersion and cniVersions that we know. */
static const char *list_version(struct json_object *root)
{
	const char *v = cni_json_str(root, "cniVersion");
	struct json_object *all = cni_json_get(root, "cniVersions", json_type_array);

	if (all && cni_version_cmp(v, CNI_NEWEST) > 0)
		v = "";
	for (size_t i = 0; all && i < json_object_array_length(all) && i < 64; i++) {
		struct json_object *o = json_object_array_get_idx(all, i);
		const char *s = json_object_is_type(o, json_type_string) ? json_object_get_string(o) : "";

		if (cni_version_known(s) && (!*v || cni_version_cmp(s, v) > 0))
			v = s;
	}
	return *v ? v : "0.1.0";
}

int cni_list_parse(struct cni *c, const char *text, size_t n, struct list *ret, crio_err *err)
{
	struct list l = {.text = text};
	struct json_object *p;
	int r = cni_json_parse(c, text, n, &l.root, err);

	if (r < 0)
		return r;
	l.name = cni_json_str(l.root, "name");
	l.version = list_version(l.root);
	l.plugins = cni_json_get(l.root, "plugins", json_type_array);
	if (!cni_name_ok(l.name, CNI_NAME_MAX))
		r = c->host->fail(err, CRIO_E_CORRUPT,
				  "network name is missing or has other characters than [a-zA-Z0-9_.-]");
	else if (!cni_version_known(l.version))
		r = c->host->fail(err, CRIO_E_UNSUPPORTED,
				  "cniVersion '%.32s' is unknown (0.1.0 to " CNI_NEWEST " are known)", l.version);
	else if (!l.plugins || json_object_array_length(l.plugins) == 0)
		r = c->host->fail(err, CRIO_E_CORRUPT, "no plugins in the list");
	else if (json_object_array_length(l.plugins) > CNI_LIST_MAX)
		r = c->host->fail(err, CRIO_E_EXHAUSTED, "more than %d plugins in the list", CNI_LIST_MAX);
	for (size_t i = 0; r == 0 && i < json_object_array_length(l.plugins); i++) {
		p = json_object_array_get_idx(l.plugins, i);
		if (!json_object_is_type(p, json_type_object) || !cni_name_ok(cni_json_str(p, "type"), CNI_NAME_MAX))
			r = c->host->fail(err, CRIO_E_CORRUPT, "plugin %zu: 'type' is missing or not a plain file name",
					  i);
	}
	if (r < 0) {
		cni_list_release(&l);
		return r;
	}
	*ret = l;
	return 0;
}

/* ---- files ---- */

static int read_file(struct cni *c, crio_call *call, int dir, const char *name, const char **ret, size_t *ret_n,
		     crio_err *err)
{
	cleanup_close int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	size_t n = 0;
	char *p;

	if (fd < 0 || fstat(fd, &st) < 0)
		return c->host->fail(err, errno == ENOENT ? CRIO_E_NOT_FOUND : CRIO_E_IO, "open: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return c->host->fail(err, CRIO_E_CORRUPT, "not a regular file");
	if (st.st_size > (off_t)CNI_CONF_MAX)
		return c->host->fail(err, CRIO_E_EXHAUSTED, "larger than %u bytes", CNI_CONF_MAX);
	p = c->host->alloc(call, (size_t)st.st_size + 1);
	if (!p)
		return cni_nomem(c, err);
	while (n < (size_t)st.st_size) {
		ssize_t k = read(fd, p + n, (size_t)st.st_size - n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return c->host->fail(err, CRIO_E_IO, "read: %s", strerror(errno));
		if (k == 0)
			break;
		n += (size_t)k;
	}
	*ret = p;
	*ret_n = n;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names with one of the extensions, sorted; directories are left out by read_file later. */
static int names(struct cni *c, crio_call *call, int dirfd, bool only_conf, struct crio_strs *ret, crio_err *err)
{
	const char **v = c->host->alloc(call, sizeof(*v) * CNI_CONF_FILES_MAX);
	int fd = dup(dirfd);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	size_t n = 0;

	if (!d) {
		if (fd >= 0)
			(void)close(fd);
		return c->host->fail(err, CRIO_E_IO, "list: %s", strerror(errno));
	}
	for (struct dirent *e; v && (e = readdir(d)) && n < CNI_CONF_FILES_MAX;) {
		bool take = has_ext(e->d_name, ".conf");

		for (size_t i = 0; !only_conf && i < 3; i++)
			take |= has_ext(e->d_name, extensions[i]);
		if (!take || e->d_type == DT_DIR)
			continue;
		v[n] = c->host->strdup(call, e->d_name);
		if (!v[n++])
			v = NULL;
	}
	(void)closedir(d);
	if (!v)
		return cni_nomem(c, err);
	qsort(v, n, sizeof(*v), by_name);
	ret->v = v;
	ret->n = n;
	return 0;
}

static bool flag(struct json_object *o, const char *key)
{
	struct json_object *v = cni_json_get(o, key, json_type_boolean);

	return v ? json_object_get_boolean(v) : !strcasecmp(cni_json_str(o, key), "true");
}

/* Programs of <dir>/<network>/(name).conf go to the end of the list. */
static int load_folder(struct cni *c, crio_call *call, int dir, struct json_object *root, crio_err *err)
{
	const char *name = cni_json_str(root, "name"), *text;
	cleanup_close int sub = -1;
	struct json_object *plugins = cni_json_get(root, "plugins", json_type_array);
	struct crio_strs files;
	size_t n;
	int r;

	if (flag(root, "loadOnlyInlinedPlugins") || !cni_name_ok(name, CNI_NAME_MAX))
		return 0;
	sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sub < 0)
		return 0;
	r = names(c, call, sub, true, &files, err);
	if (r == 0 && files.n > 0 && !plugins) {
		plugins = json_object_new_array();
		if (!cni_json_set(root, "plugins", plugins))
			return cni_nomem(c, err);
	}
	for (size_t i = 0; r == 0 && i < files.n; i++) {
		struct json_object *o = NULL;

		r = read_file(c, call, sub, files.v[i], &text, &n, err);
		if (r == 0)
			r = cni_json_parse(c, text, n, &o, err);
		if (r == 0 && !cni_json_push(plugins, o))
			r = cni_nomem(c, err);
		if (r < 0)
			return c->host->wrap(err, "%s/%s", name, files.v[i]);
	}
	return r;
}

/* A file with one program is a list of one, named by it or, without a name, by the file. */
static int wrap_single(struct cni *c, const char *file, struct json_object *o, struct json_object **ret, crio_err *err)
{
	cleanup_json struct json_object *root = json_object_new_object(), *arr = json_object_new_array();
	const char *name = cni_json_str(o, "name"), *version = cni_json_str(o, "cniVersion");
	bool ok = root && arr && cni_json_push(arr, json_object_get(o)) &&
		  cni_json_set(root, "name", json_object_new_string(*name ? name : file)) &&
		  (!*version || cni_json_set(root, "cniVersion", json_object_new_string(version))) &&
		  cni_json_set(root, "plugins", json_object_get(arr));

	if (!ok)
		return cni_nomem(c, err);
	*ret = root;
	root = NULL;
	return 0;
}

static int validate(struct cni *c, crio_call *call, const struct list *l, crio_err *err)
{
	for (size_t i = 0; i < json_object_array_length(l->plugins); i++) {
		int r = cni_supports(c, call, cni_json_str(json_object_array_get_idx(l->plugins, i), "type"),
				     l->version, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static struct net *net_new(const char *file, const struct list *l)
{
	struct net *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	atomic_init(&n->refs, 1);
	n->name = strdup(l->name);
	n->version = strdup(l->version);
	n->file = strdup(file);
	n->type = strdup(cni_json_str(json_object_array_get_idx(l->plugins, 0), "type"));
	n->text = strdup(l->text);
	n->loopback_only = true;
	for (size_t i = 0; i < json_object_array_length(l->plugins); i++)
		n->loopback_only &= !strcmp(cni_json_str(json_object_array_get_idx(l->plugins, i), "type"), "loopback");
	if (!n->name || !n->version || !n->file || !n->type || !n->text) {
		cni_net_unref(n);
		return NULL;
	}
	return n;
}

static int load(struct cni *c, crio_call *call, int dir, const char *file, struct net **ret, crio_err *err)
{
	cleanup_json struct json_object *o = NULL, *root = NULL;
	cleanup_list struct list l = {0};
	const char *text;
	size_t n;
	int r = read_file(c, call, dir, file, &text, &n, err);

	if (r == 0)
		r = cni_json_parse(c, text, n, &o, err);
	if (r < 0)
		return r;
	if (has_ext(file, ".conflist")) {
		root = json_object_get(o);
		r = load_folder(c, call, dir, root, err);
	} else {
		r = wrap_single(c, file, o, &root, err);
	}
	if (r < 0)
		return r;
	text = cni_json_text(root);
	if (!text)
		return cni_nomem(c, err);
	r = cni_list_parse(c, text, strlen(text), &l, err);
	if (r == 0)
		r = validate(c, call, &l, err);
	if (r < 0)
		return r;
	*ret = net_new(cni_fmt(c, call, "%s/%s", c->conf_dir, file) ?: file, &l);
	return *ret ? 0 : cni_nomem(c, err);
}

/* ---- the directory ---- */

static struct net *find(struct net **v, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(v[i]->name, name))
			return v[i];
	}
	return NULL;
}

static struct net *choose(struct cni *c, struct net **v, size_t n)
{
	if (*c->default_name)
		return find(v, n, c->default_name);
	for (size_t i = 0; i < n; i++) {
		if (!v[i]->loopback_only)
			return v[i];
	}
	return NULL;
}

static bool same_net(const struct net *a, const struct net *b)
{
	return a && b && !strcmp(a->name, b->name) && !strcmp(a->file, b->file) && !strcmp(a->text, b->text);
}

/* Puts the new set in place and says what has changed. */
static void install(struct cni *c, struct net **v, size_t n)
{
	struct net **old, *dflt = choose(c, v, n), *old_dflt;
	size_t n_old;

	(void)pthread_mutex_lock(&c->mu);
	old = c->nets;
	n_old = c->n_nets;
	old_dflt = c->dflt;
	c->nets = v;
	c->n_nets = n;
	c->dflt = dflt;
	(void)pthread_mutex_unlock(&c->mu);
	for (size_t i = 0; i < n; i++) {
		if (!same_net(find(old, n_old, v[i]->name), v[i]))
			c->host->log(c->in, CRIO_LOG_INFO, "Found CNI network %s (type=%s) at %s", v[i]->name,
				     v[i]->type, v[i]->file);
	}
	if (dflt && (!old_dflt || strcmp(old_dflt->name, dflt->name)))
		c->host->log(c->in, CRIO_LOG_INFO, "Updated default CNI network name to %s", dflt->name);
	else if (!dflt && old_dflt)
		c->host->log(c->in, CRIO_LOG_WARN, "Default CNI network %s is gone", old_dflt->name);
	nets_free(old, n_old);
}

static void skip(struct cni *c, crio_call *call, const char *file, const crio_err *why, const char **skipped)
{
	const char *s;

	if (c->host->err_code(why) == CRIO_E_NOT_FOUND)
		return; /* it went while we looked */
	c->host->log(c->in, CRIO_LOG_WARN, "Error validating CNI config file %s/%s: %s", c->conf_dir, file,
		     c->host->err_text(why));
	if (strlen(*skipped) > SKIPPED_MAX)
		return;
	s = cni_fmt(c, call, "%s%s%s: %s", *skipped, **skipped ? "; " : "", file, c->host->err_text(why));
	*skipped = s ? s : *skipped;
}

static int load_all(struct cni *c, crio_call *call, int dir, const struct crio_strs *files, const char **skipped,
		    crio_err *err)
{
	struct net **v = calloc(files->n + 1, sizeof(*v));
	size_t n = 0;

	if (!v)
		return cni_nomem(c, err);
	for (size_t i = 0; i < files->n; i++) {
		crio_err *why = c->host->err_new();
		struct net *net = NULL;

		if (load(c, call, dir, files->v[i], &net, why) < 0) {
			skip(c, call, files->v[i], why, skipped);
		} else if (find(v, n, net->name)) {
			c->host->log(c->in, CRIO_LOG_INFO, "Ignored CNI network %s at %s because already exists",
				     net->name, net->file);
			cni_net_unref(net);
		} else {
			v[n++] = net;
		}
		c->host->err_free(why);
	}
	install(c, v, n);
	return 0;
}

int cni_conf_read(struct cni *c, crio_call *call, const char **ret_skipped, crio_err *err)
{
	cleanup_close int dir = open(c->conf_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct crio_strs files = {NULL, 0};
	const char *skipped = "";
	int r = 0;

	if (dir < 0 && errno != ENOENT)
		return c->host->fail(err, CRIO_E_IO, "open network_dir %s: %s", c->conf_dir, strerror(errno));
	if (dir >= 0)
		r = names(c, call, dir, false, &files, err);
	if (r == 0)
		r = load_all(c, call, dir, &files, &skipped, err);
	if (r == 0)
		*ret_skipped = skipped;
	return r;
}
