/* registries_load.c: registries.conf (format 2, and format 1 converted) and registries.conf.d. */
#include <dirent.h>
#include <fcntl.h>

#include "core/conf/registries.h"
#include "core/conf/toml.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define DEFAULT_CONF "/etc/containers/registries.conf"
#define DEFAULT_DIR "/etc/containers/registries.conf.d"
#define ALIAS_CACHE "/var/cache/containers/short-name-aliases.conf"
#define ENTRIES_MAX 5000
#define FILES_MAX 1000

struct source {
	struct registries *r;
	const char *file;
	crio_err *err;
};

static int bad(const struct source *s, const struct toml_node *n, const char *key, const char *expected)
{
	return err_set(s->err, CRIO_E_INVALID, "%s:%d: %s: expected %s, found %s", s->file, n->line, key, expected,
		       toml_type_name(n->type));
}

static int get_bool(const struct source *s, const struct toml_node *t, const char *key, bool *ret)
{
	const struct toml_node *n = toml_get(t, key);

	if (!n)
		return 0;
	if (n->type != TOML_BOOL)
		return bad(s, n, key, "a boolean");
	*ret = n->i != 0;
	return 0;
}

/* "" when absent. Blanks and a '/' at the end are cut; a scheme is refused. */
static int get_location(const struct source *s, const struct toml_node *t, const char *key, char **ret)
{
	const struct toml_node *n = toml_get(t, key);
	const char *text = n && n->type == TOML_STR ? n->str : "";
	size_t len;

	if (n && n->type != TOML_STR)
		return bad(s, n, key, "a string");
	text += strspn(text, " ");
	len = strlen(text);
	while (len && strchr(" /", text[len - 1]))
		len--;
	if (strstr(text, "://"))
		return err_set(s->err, CRIO_E_INVALID, "%s:%d: %s: \"%.200s\": URI schemes are not supported", s->file, n->line, key, text);
	if (!str_is_printable(text) || len > 1024 || memchr(text, ' ', len))
		return err_set(s->err, CRIO_E_INVALID, "%s:%d: %s: \"%.200s\" is not a registry", s->file, n->line, key, text);
	*ret = strndup(text, len);
	return *ret ? 0 : err_nomem(s->err);
}

static int get_pull_from(const struct source *s, const struct toml_node *t, bool digest_only, enum registry_pull_from *ret)
{
	static const char *const names[] = { "all", "digest-only", "tag-only" };
	const struct toml_node *n = toml_get(t, "pull-from-mirror");

	*ret = digest_only ? REGISTRY_DIGEST_ONLY : REGISTRY_ALL;
	if (!n)
		return 0;
	if (n->type != TOML_STR)
		return bad(s, n, "pull-from-mirror", "a string");
	if (!*n->str)
		return 0;
	if (digest_only)
		return err_set(s->err, CRIO_E_INVALID,
			       "%s:%d: pull-from-mirror: cannot be set where the registry has mirror-by-digest-only", s->file, n->line);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(n->str, names[i]) != 0)
			continue;
		*ret = (enum registry_pull_from)i;
		return 0;
	}
	return err_set(s->err, CRIO_E_INVALID, "%s:%d: pull-from-mirror: \"%.100s\" is not one of all, digest-only, tag-only", s->file,
		       n->line, n->str);
}

static void registry_release(struct registry *g)
{
	for (size_t i = 0; i < g->n_mirrors; i++)
		free(g->mirrors[i].location);
	free(g->mirrors);
	free(g->prefix);
	free(g->location);
}

/* Takes *g, in place of one with its prefix. */
static int put(const struct source *s, struct registry *g)
{
	struct registry *grown;

	for (size_t i = 0; i < s->r->n; i++) {
		if (strcmp(s->r->v[i].prefix, g->prefix) != 0)
			continue;
		registry_release(&s->r->v[i]);
		s->r->v[i] = *g;
		return 0;
	}
	grown = s->r->n < ENTRIES_MAX ? realloc(s->r->v, (s->r->n + 1) * sizeof *grown) : NULL;
	if (!grown) {
		registry_release(g);
		return s->r->n < ENTRIES_MAX ? err_nomem(s->err) :
					       err_set(s->err, CRIO_E_EXHAUSTED, "%s: more than %d registries", s->file, ENTRIES_MAX);
	}
	s->r->v = grown;
	grown[s->r->n++] = *g;
	return 0;
}

static int get_mirrors(const struct source *s, const struct toml_node *t, struct registry *g)
{
	const struct toml_node *m = toml_get(t, "mirror");
	bool digest_only = false;
	int r = get_bool(s, t, "mirror-by-digest-only", &digest_only);

	if (r < 0 || !m)
		return r;
	if (m->type != TOML_ARRAY)
		return bad(s, m, "registry.mirror", "an array of tables");
	g->mirrors = calloc(m->n + 1, sizeof *g->mirrors);
	if (!g->mirrors)
		return err_nomem(s->err);
	for (size_t i = 0; i < m->n; i++) {
		struct registry_mirror *x = &g->mirrors[i];
		if (m->v[i].type != TOML_TABLE)
			return bad(s, &m->v[i], "registry.mirror", "a table");
		g->n_mirrors = i + 1;
		if ((r = get_location(s, &m->v[i], "location", &x->location)) < 0 ||
		    (r = get_bool(s, &m->v[i], "insecure", &x->insecure)) < 0 ||
		    (r = get_pull_from(s, &m->v[i], digest_only, &x->pull_from)) < 0)
			return r;
		if (!*x->location)
			return err_set(s->err, CRIO_E_INVALID, "%s:%d: registry.mirror: location must be set", s->file, m->v[i].line);
	}
	return 0;
}

static int get_registry(const struct source *s, const struct toml_node *t)
{
	struct registry g = { 0 };
	int r;

	if (t->type != TOML_TABLE)
		return bad(s, t, "registry", "a table");
	if ((r = get_location(s, t, "prefix", &g.prefix)) >= 0 && (r = get_location(s, t, "location", &g.location)) >= 0 &&
	    (r = get_bool(s, t, "insecure", &g.insecure)) >= 0 && (r = get_bool(s, t, "blocked", &g.blocked)) >= 0 &&
	    (r = get_mirrors(s, t, &g)) >= 0) {
		if (!*g.prefix) {
			free(g.prefix);
			g.prefix = strdup(g.location);
			r = g.prefix ? 0 : err_nomem(s->err);
		}
		if (r >= 0 && !*g.prefix)
			r = err_set(s->err, CRIO_E_INVALID, "%s:%d: registry: prefix or location must be set", s->file, t->line);
		else if (r >= 0 && !*g.location && !str_starts(g.prefix, "*."))
			r = err_set(s->err, CRIO_E_INVALID,
				    "%s:%d: registry: location is unset and prefix is not in the format: *.example.com", s->file, t->line);
		else if (r >= 0 && (!strcmp(g.prefix, "*.") || (strchr(g.prefix, '*') && strrchr(g.prefix, '*') != g.prefix) ||
				    (*g.prefix == '*' && g.prefix[1] != '.') || strchr(g.location, '*')))
			r = err_set(s->err, CRIO_E_INVALID, "%s:%d: registry: a '*' can only begin a prefix, as in *.example.com", s->file,
				    t->line);
	}
	if (r < 0) {
		registry_release(&g);
		return r;
	}
	return put(s, &g);
}

/* A list of strings, checked as hosts when `hosts`. */
static int get_list(const struct source *s, const struct toml_node *n, const char *key, bool hosts, struct strv *ret)
{
	cleanup_strv struct strv l = STRV_INIT;

	if (n->type != TOML_ARRAY)
		return bad(s, n, key, "a list of strings");
	if (n->n > ENTRIES_MAX)
		return err_set(s->err, CRIO_E_EXHAUSTED, "%s:%d: %s: more than %d entries", s->file, n->line, key, ENTRIES_MAX);
	for (size_t i = 0; i < n->n; i++) {
		const char *e = n->v[i].str;
		if (n->v[i].type != TOML_STR)
			return bad(s, &n->v[i], key, "a list of strings");
		if (hosts && (!*e || strchr(e, '/') || strchr(e, ' ') || !str_is_printable(e)))
			return err_set(s->err, CRIO_E_INVALID, "%s:%d: %s: \"%.200s\" is not host[:port]", s->file, n->v[i].line, key, e);
		if (strv_add(&l, e) < 0)
			return err_nomem(s->err);
	}
	strv_release(ret);
	*ret = l;
	l = (struct strv)STRV_INIT;
	return 0;
}

static int get_aliases(const struct source *s, const struct toml_node *root)
{
	const struct toml_node *t = toml_get(root, "aliases");

	if (!t)
		return 0;
	if (t->type != TOML_TABLE)
		return bad(s, t, "aliases", "a table");
	for (size_t i = 0; i < t->n; i++) {
		const struct toml_node *n = &t->v[i];
		if (n->type != TOML_STR)
			return bad(s, n, n->key, "a string");
		if (!*n->str) {
			kvs_del(&s->r->aliases, n->key);
			continue;
		}
		if (registries_has_host(n->key) || !registries_has_host(n->str) || strchr(n->str, '@') || strchr(strchr(n->str, '/'), ':'))
			return err_set(s->err, CRIO_E_INVALID,
				       "%s:%d: aliases: \"%.200s\" = \"%.200s\": expected a short name and a name with a registry and no tag",
				       s->file, n->line, n->key, n->str);
		if (s->r->aliases.n >= ENTRIES_MAX)
			return err_set(s->err, CRIO_E_EXHAUSTED, "%s: more than %d aliases", s->file, ENTRIES_MAX);
		if (kvs_set(&s->r->aliases, n->key, n->str) < 0)
			return err_nomem(s->err);
	}
	return 0;
}

static int get_mode(const struct source *s, const struct toml_node *root)
{
	static const char *const names[] = { "enforcing", "permissive", "disabled" };
	const struct toml_node *n = toml_get(root, "short-name-mode");

	if (!n)
		return 0;
	if (n->type != TOML_STR)
		return bad(s, n, "short-name-mode", "a string");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(n->str, names[i]))
			s->r->short_mode = (enum registry_short_mode)i;
	if (*n->str && strcmp(n->str, names[s->r->short_mode]) != 0)
		return err_set(s->err, CRIO_E_INVALID, "%s:%d: short-name-mode: \"%.100s\" is not one of enforcing, permissive, disabled",
			       s->file, n->line, n->str);
	return 0;
}

/* [registries.search], [registries.insecure], [registries.block], each with a list `registries`. */
static int get_v1(const struct source *s, const struct toml_node *v1)
{
	static const char *const tables[] = { "search", "insecure", "block" };
	int r = 0;

	for (size_t k = 0; k < ARRAY_SIZE(tables) && r >= 0; k++) {
		const struct toml_node *n = toml_get(toml_get(v1, tables[k]), "registries");
		cleanup_strv struct strv l = STRV_INIT;

		if (!n)
			continue;
		r = get_list(s, n, tables[k], true, k ? &l : &s->r->search);
		for (size_t i = 0; i < l.n && r >= 0; i++) {
			struct registry g = { .prefix = strdup(l.v[i]), .location = strdup(l.v[i]) }, *had = NULL;
			for (size_t j = 0; j < s->r->n; j++)
				if (!strcmp(s->r->v[j].prefix, l.v[i]))
					had = &s->r->v[j];
			g.insecure = k == 1 || (had && had->insecure);
			g.blocked = k == 2 || (had && had->blocked);
			if (!g.prefix || !g.location) {
				registry_release(&g);
				return err_nomem(s->err);
			}
			r = put(s, &g);
		}
	}
	return r;
}

static int load_root(const struct source *s, const struct toml_node *root, bool drop_in)
{
	const struct toml_node *v1 = toml_get(root, "registries"), *search = toml_get(root, "unqualified-search-registries");
	const struct toml_node *reg = toml_get(root, "registry"), *helpers = toml_get(root, "credential-helpers");
	int r = 0;

	if (v1 && (reg || search))
		return err_set(s->err, CRIO_E_INVALID, "%s:%d: mixing sysregistry v1/v2 is not supported", s->file, v1->line);
	if (v1 && drop_in)
		return err_set(s->err, CRIO_E_INVALID, "%s:%d: registry must be in v2 format but is in v1", s->file, v1->line);
	if (v1)
		return get_v1(s, v1);
	if (search)
		r = get_list(s, search, "unqualified-search-registries", true, &s->r->search);
	if (r >= 0 && helpers)
		r = get_list(s, helpers, "credential-helpers", false, &s->r->credential_helpers);
	if (r >= 0 && reg && reg->type != TOML_ARRAY)
		r = bad(s, reg, "registry", "an array of tables");
	for (size_t i = 0; reg && i < reg->n && r >= 0; i++)
		r = get_registry(s, &reg->v[i]);
	if (r >= 0)
		r = get_aliases(s, root);
	return r < 0 ? r : get_mode(s, root);
}

static int load_file(struct registries *reg, const char *file, bool drop_in, crio_err *err)
{
	cleanup_toml struct toml_node *root = NULL;
	const struct source s = { reg, file, err };
	int r = toml_read(file, &root, err);

	if (r >= 0)
		r = load_root(&s, root, drop_in);
	if (r >= 0 && strv_add(&reg->files, file) < 0)
		r = err_nomem(err);
	return r;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int load_dir(struct registries *reg, const char *dir, crio_err *err)
{
	cleanup_closedir DIR *d = opendir(dir);
	cleanup_strv struct strv names = STRV_INIT;
	struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_errno(err, errno, "open directory %s", dir);
	while ((e = readdir(d))) {
		if (!str_ends(e->d_name, ".conf"))
			continue;
		if (names.n >= FILES_MAX)
			return err_set(err, CRIO_E_EXHAUSTED, "%s: more than %d files", dir, FILES_MAX);
		if (strv_add(&names, e->d_name) < 0)
			return err_nomem(err);
	}
	if (names.n)
		qsort(names.v, names.n, sizeof *names.v, compare_names);
	for (size_t i = 0; i < names.n && r >= 0; i++) {
		cleanup_free char *path = path_fmt("%s/%s", dir, names.v[i]);
		r = path ? load_file(reg, path, true, err) : err_nomem(err);
	}
	return r;
}

/* What podman's users chose; it is a cache, so a broken one stops nothing. */
static void load_alias_cache(struct registries *reg)
{
	cleanup_toml struct toml_node *root = NULL;
	cleanup_err crio_err err = ERR_INIT;
	const struct source s = { reg, ALIAS_CACHE, &err };

	if (access(ALIAS_CACHE, F_OK) < 0)
		return;
	if (toml_read(ALIAS_CACHE, &root, &err) < 0 || get_aliases(&s, root) < 0)
		log_warn("Short names of %s are left out: %s", ALIAS_CACHE, err_text(&err));
}

static int longest_first(const void *a, const void *b)
{
	size_t x = strlen(((const struct registry *)a)->prefix), y = strlen(((const struct registry *)b)->prefix);

	return x < y ? 1 : x > y ? -1 : strcmp(((const struct registry *)a)->prefix, ((const struct registry *)b)->prefix);
}

int registries_load(const char *conf, const char *dir, struct registries **ret, crio_err *err)
{
	struct registries *reg = calloc(1, sizeof *reg);
	const char *env = conf ? NULL : getenv("CONTAINERS_REGISTRIES_CONF");
	bool standard = !conf && !str_set(env);
	const char *file = conf ? conf : str_set(env) ? env : DEFAULT_CONF;
	int r = 0;

	if (!reg)
		return err_nomem(err);
	reg->refs = 1;
	if (!dir)
		dir = standard ? DEFAULT_DIR : "";
	if (*file && access(file, F_OK) == 0)
		r = load_file(reg, file, false, err);
	if (r >= 0 && *dir)
		r = load_dir(reg, dir, err);
	if (r < 0) {
		registries_unref(reg);
		return r;
	}
	if (standard)
		load_alias_cache(reg);
	if (reg->n)
		qsort(reg->v, reg->n, sizeof *reg->v, longest_first);
	*ret = reg;
	return 0;
}
