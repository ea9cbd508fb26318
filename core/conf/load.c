/* load.c: from files, environment and flags to a snapshot. */
#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/conf/conf_int.h"
#include "core/util/fs.h"

#define DEFAULT_CONF CRIO_SYSCONFDIR "/crio/crio.conf"
#define DEFAULT_DIR CRIO_SYSCONFDIR "/crio/crio.conf.d"
#define DROP_IN_DEPTH 16
#define DROP_IN_FILES 1000

int loader_init(struct loader *l, struct conf *c, const struct conf_args *args, crio_err *err)
{
	*l = (struct loader){ .c = c, .args = args };
	for (size_t i = 0; i < conf_keys_n; i++)
		if (strv_add(&l->origin, "") < 0)
			return err_nomem(err);
	return 0;
}

void loader_release(struct loader *l)
{
	strv_release(&l->origin);
	kvs_release(&l->entries);
}

int loader_note(struct loader *l, const struct conf_key *k, const char *origin)
{
	char *s = strdup(origin);

	if (!s)
		return CRIO_E_NOMEM;
	free(l->origin.v[k - conf_keys]);
	l->origin.v[k - conf_keys] = s;
	return 0;
}

int loader_fail(const struct loader *l, const char *path, crio_err *err, const char *fmt, ...)
{
	const struct conf_key *k = key_by_path(path);
	const char *origin = k ? l->origin.v[k - conf_keys] : kvs_get(&l->entries, path);
	cleanup_free char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (!text)
		return err_nomem(err);
	if (!str_set(origin))
		origin = "default";
	return err_set(err, CRIO_E_INVALID, "%s: %s: %s", origin, path, text);
}

/* ---- files */

/* The table's node; NULL in *ret when the file has none. */
static int find_table(const struct toml_node *root, const char *path, const char *file, const struct toml_node **ret, crio_err *err)
{
	cleanup_strv struct strv parts = STRV_INIT;
	const struct toml_node *n = root;

	if (str_split(path, '.', &parts) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < parts.n && n; i++) {
		n = toml_get(n, parts.v[i]);
		if (n && n->type != TOML_TABLE)
			return err_set(err, CRIO_E_INVALID, "%s:%d: %s: expected a table, found %s", file, n->line, path,
				       toml_type_name(n->type));
	}
	*ret = n;
	return 0;
}

static int decode_table(struct loader *l, const struct conf_table *t, const struct toml_node *node, const char *file, crio_err *err)
{
	for (size_t i = 0; i < conf_keys_n; i++) {
		const struct conf_key *k = &conf_keys[i];
		const struct toml_node *v;
		cleanup_free char *origin = NULL;
		int r, line = 0;

		if (strcmp(k->table, t->name) != 0 || (k->flags & KEY_FLAG_ONLY))
			continue;
		v = toml_get(node, k->name);
		if (!v)
			continue;
		r = key_set_node(k, l->c, v, &line, err);
		if (r < 0)
			return err_wrap(err, "%s:%d: %s.%s", file, line, k->table, k->name);
		origin = path_fmt("%s:%d", file, v->line);
		if (!origin || loader_note(l, k, origin) < 0)
			return err_nomem(err);
	}
	return 0;
}

static int load_file(struct loader *l, const char *file, crio_err *err)
{
	cleanup_toml struct toml_node *root = NULL;
	const struct toml_node *node = NULL;
	int r;

	r = toml_read(file, &root, err);
	if (r < 0)
		return err_wrap(err, "read configuration %s", file);
	for (size_t i = 0; i < conf_tables_n; i++) {
		r = find_table(root, conf_tables[i].name, file, &node, err);
		if (r >= 0 && node)
			r = decode_table(l, &conf_tables[i], node, file, err);
		if (r < 0)
			return r;
		if (node && !strcmp(conf_tables[i].name, "crio.runtime")) {
			r = conf_decode_runtimes(l, node, file, err);
			if (r < 0)
				return r;
		}
	}
	return strv_add(&l->c->files, file) < 0 ? err_nomem(err) : 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_dir(const char *dir, struct strv *ret, crio_err *err)
{
	cleanup_closedir DIR *d = opendir(dir);
	struct dirent *e;

	if (!d)
		return err_errno(err, errno, "open directory %s", dir);
	for (errno = 0; (e = readdir(d)); errno = 0) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (ret->n >= DROP_IN_FILES)
			return err_set(err, CRIO_E_EXHAUSTED, "%s: more than %d files", dir, DROP_IN_FILES);
		if (strv_add(ret, e->d_name) < 0)
			return err_nomem(err);
	}
	if (errno)
		return err_errno(err, errno, "read directory %s", dir);
	if (ret->n)
		qsort(ret->v, ret->n, sizeof *ret->v, compare_names);
	return 0;
}

static int load_dir(struct loader *l, const char *dir, unsigned depth, crio_err *err)
{
	cleanup_strv struct strv names = STRV_INIT;
	int r;

	if (depth > DROP_IN_DEPTH)
		return err_set(err, CRIO_E_EXHAUSTED, "%s: more than %d directories deep", dir, DROP_IN_DEPTH);
	r = list_dir(dir, &names, err);
	for (size_t i = 0; i < names.n && r >= 0; i++) {
		cleanup_free char *path = path_fmt("%s/%s", dir, names.v[i]);
		struct stat st, target;

		if (!path)
			return err_nomem(err);
		if (lstat(path, &st) < 0)
			return err_errno(err, errno, "stat %s", path);
		/* A link to a directory is how a mounted ConfigMap looks; its files are linked from here as well. */
		if (S_ISLNK(st.st_mode) && stat(path, &target) == 0 && S_ISDIR(target.st_mode))
			continue;
		if (l->c->files.n > DROP_IN_FILES)
			return err_set(err, CRIO_E_EXHAUSTED, "%s: more than %d files", dir, DROP_IN_FILES);
		r = S_ISDIR(st.st_mode) ? load_dir(l, path, depth + 1, err) : load_file(l, path, err);
	}
	return r;
}

static int load_files(struct loader *l, crio_err *err)
{
	const char *file = l->args->config ? l->args->config : DEFAULT_CONF;
	const char *dir = l->args->config_dir ? l->args->config_dir : DEFAULT_DIR;
	struct stat st;
	int r = 0;

	if (*file && (l->args->config || access(file, F_OK) == 0))
		r = load_file(l, file, err);
	if (r < 0 || !*dir)
		return r;
	if (stat(dir, &st) < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "stat %s", dir);
	return S_ISDIR(st.st_mode) ? load_dir(l, dir, 0, err) : load_file(l, dir, err);
}

/* ---- what a reload finds changed in them */

static bool files_win(const struct loader *l, const struct conf_key *k)
{
	char path[128];

	(void)snprintf(path, sizeof path, "%s.%s", k->table, k->name);
	return strv_has(&l->c->files_win, path);
}

/* Keeps what the files say of the keys that may change while running. Where that is not what they said before, who edited it and asked for
 * a reload means it: it wins over environment and flags, as with CRI-O (which forgets those at any reload, for all keys). */
static int note_files(struct loader *l, crio_err *err)
{
	const struct conf *before = l->old ? l->old->from_files : NULL;
	struct conf *f;
	int r = conf_new(&f, err);

	if (r < 0)
		return r;
	l->c->from_files = f;
	if (l->old && strv_copy(&l->c->files_win, &l->old->files_win) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < conf_keys_n && r >= 0; i++) {
		const struct conf_key *k = &conf_keys[i];

		if (!(k->flags & KEY_RELOAD))
			continue;
		r = key_copy(k, f, l->c, err);
		if (r >= 0 && before && !key_equal(k, before, f) && !files_win(l, k) &&
		    strv_addf(&l->c->files_win, "%s.%s", k->table, k->name) < 0)
			r = err_nomem(err);
	}
	return r;
}

/* ---- environment and flags */

/* "overlay.mountopt=nodev,metacopy=on,overlay.size=1G" is two options: a part that does not begin with "<driver>." belongs to the
 * one before. */
static int split_storage(const char *text, struct strv *ret)
{
	cleanup_strv struct strv raw = STRV_INIT;

	if (str_split(text, ',', &raw) < 0)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < raw.n; i++) {
		size_t word = strspn(raw.v[i], "abcdefghijklmnopqrstuvwxyz0123456789_-");
		char *joined;
		if (!ret->n || (word && raw.v[i][word] == '.')) {
			if (strv_add(ret, raw.v[i]) < 0)
				return CRIO_E_NOMEM;
			continue;
		}
		joined = path_fmt("%s,%s", ret->v[ret->n - 1], raw.v[i]);
		if (!joined)
			return CRIO_E_NOMEM;
		free(ret->v[ret->n - 1]);
		ret->v[ret->n - 1] = joined;
	}
	return 0;
}

static int trim_all(struct strv *l)
{
	for (size_t i = 0; i < l->n; i++) {
		char *s = l->v[i];
		size_t skip = strspn(s, " \t"), n;
		memmove(s, s + skip, strlen(s + skip) + 1);
		for (n = strlen(s); n && strchr(" \t", s[n - 1]); n--)
			s[n - 1] = '\0';
	}
	return 0;
}

/* One value: split at commas. Several: each as it is. */
static int set_values(struct loader *l, const struct conf_key *k, const char *const *v, size_t n, crio_err *err)
{
	cleanup_strv struct strv list = STRV_INIT;

	if (k->type != KEY_STRS)
		return key_set_text(k, l->c, v[n - 1], err);
	if (n == 1 && !(k->flags & KEY_MERGE))
		return key_set_text(k, l->c, v[0], err);
	for (size_t i = 0; i < n; i++) {
		int r = k->flags & KEY_MERGE ? split_storage(v[i], &list) : strv_add(&list, v[i]);
		if (r < 0)
			return err_nomem(err);
	}
	(void)trim_all(&list);
	return key_set_list(k, l->c, (const char *const *)list.v, list.n, err);
}

static int set_runtimes(struct loader *l, const char *const *v, size_t n, const char *origin, crio_err *err)
{
	cleanup_strv struct strv list = STRV_INIT;
	int r = 0;

	if (n == 1 && str_split(v[0], ',', &list) < 0)
		return err_nomem(err);
	for (size_t i = 0; n > 1 && i < n; i++)
		if (strv_add(&list, v[i]) < 0)
			return err_nomem(err);
	(void)trim_all(&list);
	for (size_t i = 0; i < list.n && r >= 0; i++) {
		r = conf_runtime_flag(l->c, list.v[i], err);
		if (r < 0)
			return err_wrap(err, "%s", origin);
	}
	return r;
}

static int load_env(struct loader *l, crio_err *err)
{
	const char *v = getenv("CONTAINER_RUNTIMES");
	int r;

	if (str_set(v)) {
		r = set_runtimes(l, &v, 1, "environment CONTAINER_RUNTIMES", err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < conf_keys_n; i++) {
		const struct conf_key *k = &conf_keys[i];
		char name[96], origin[128];

		if (!key_env(k, name))
			continue;
		v = getenv(name);
		if (!v && k->env2)
			v = getenv(k->env2);
		if (!v || (!*v && k->type != KEY_STR) || files_win(l, k))
			continue;
		(void)snprintf(origin, sizeof origin, "environment %s", name);
		r = set_values(l, k, &v, 1, err);
		if (r < 0)
			return err_wrap(err, "%s", origin);
		if (loader_note(l, k, origin) < 0)
			return err_nomem(err);
	}
	return 0;
}

static int load_flag(struct loader *l, size_t first, crio_err *err)
{
	const struct conf_setting *s = l->args->settings;
	const char *flag = s[first].flag;
	const struct conf_key *k = key_by_flag(flag);
	cleanup_free const char **v = calloc(l->args->n_settings, sizeof *v);
	char origin[128];
	size_t n = 0;
	int r;

	if (!v)
		return err_nomem(err);
	for (size_t i = first; i < l->args->n_settings; i++)
		if (!strcmp(s[i].flag, flag))
			v[n++] = s[i].value;
	(void)snprintf(origin, sizeof origin, "flag --%s", flag);
	if (!strcmp(flag, "runtimes"))
		return set_runtimes(l, v, n, origin, err);
	if (!k)
		return err_set(err, CRIO_E_INVALID, "%s: no such flag", origin);
	if (files_win(l, k))
		return 0;
	r = set_values(l, k, v, n, err);
	if (r < 0)
		return err_wrap(err, "invalid value \"%.200s\" for flag -%s", v[n - 1], flag);
	return loader_note(l, k, origin) < 0 ? err_nomem(err) : 0;
}

static int load_flags(struct loader *l, crio_err *err)
{
	const struct conf_setting *s = l->args->settings;
	int r = 0;

	for (size_t i = 0; i < l->args->n_settings && r >= 0; i++) {
		bool seen = false;
		for (size_t j = 0; j < i && !seen; j++)
			seen = !strcmp(s[j].flag, s[i].flag);
		if (!seen)
			r = load_flag(l, i, err);
	}
	return r;
}

/* ---- the whole */

/* The handler that is there without any configuration. */
static int default_handler(struct conf *c, crio_err *err)
{
	static const char *const allowed[] = { "io.containers.trace-syscall", "devices.crio.io" };
	struct conf_runtime *h;
	int r;

	r = conf_put_runtime(c, CONF_DEFAULT_RUNTIME, &h, err);
	if (r < 0)
		return r;
	h->container_create_timeout = 240;
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (strv_add(&h->allowed_annotations, allowed[i]) < 0)
			return err_nomem(err);
	if (strv_add(&h->monitor_env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") < 0)
		return err_nomem(err);
	free(h->runtime_root);
	free(h->container_min_memory);
	free(h->monitor_cgroup);
	h->runtime_root = strdup(CONF_DEFAULT_RUNTIME_ROOT);
	h->container_min_memory = strdup("500KiB");
	h->monitor_cgroup = strdup("system.slice");
	return h->runtime_root && h->container_min_memory && h->monitor_cgroup ? 0 : err_nomem(err);
}

static int fill_defaults(struct conf *c, const struct conf_args *args, crio_err *err)
{
	int r = keys_set_defaults(conf_keys, conf_keys_n, c, err);

	if (r >= 0)
		r = default_handler(c, err);
	if (r >= 0)
		r = storageconf_load(c, args, err);
	c->runtime.selinux = access("/sys/fs/selinux/enforce", F_OK) == 0;
	return r;
}

int conf_defaults(const struct conf_args *args, struct conf **ret, crio_err *err)
{
	struct conf_args quiet = *args;
	struct loader l;
	struct conf *c;
	int r;

	quiet.flags |= CONF_NO_CHECKS;
	r = conf_new(&c, err);
	if (r < 0)
		return r;
	r = loader_init(&l, c, &quiet, err);
	l.quiet = true;
	if (r >= 0)
		r = fill_defaults(c, &quiet, err);
	if (r >= 0)
		r = conf_check(&l, err);
	loader_release(&l);
	if (r < 0) {
		conf_unref(c);
		return r;
	}
	*ret = c;
	return 0;
}

int conf_load(const struct conf_args *args, struct conf **ret, crio_err *err)
{
	return conf_load_again(args, NULL, ret, err);
}

int conf_load_again(const struct conf_args *args, const struct conf *old, struct conf **ret, crio_err *err)
{
	struct loader l;
	struct conf *c;
	int r;

	r = conf_new(&c, err);
	if (r < 0)
		return r;
	r = loader_init(&l, c, args, err);
	l.old = old;
	if (r >= 0)
		r = fill_defaults(c, args, err);
	if (r >= 0)
		r = load_files(&l, err);
	if (r >= 0)
		r = note_files(&l, err);
	if (r >= 0 && !(args->flags & CONF_NO_ENV))
		r = load_env(&l, err);
	if (r >= 0)
		r = load_flags(&l, err);
	if (r >= 0)
		r = conf_check(&l, err);
	loader_release(&l);
	if (r < 0) {
		conf_unref(c);
		return r;
	}
	*ret = c;
	return 0;
}
