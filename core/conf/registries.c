/* registries.c: from a name to the places to ask, by what registries_load.c read. */
#include "core/conf/registries.h"
#include "core/util/fs.h"

#define DOCKER "docker.io"

const struct registries *registries_ref(const struct registries *r)
{
	(void)__atomic_add_fetch(&((struct registries *)(uintptr_t)r)->refs, 1, __ATOMIC_RELAXED);
	return r;
}

void registries_unref(const struct registries *rc)
{
	struct registries *r = (struct registries *)(uintptr_t)rc;

	if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	for (size_t i = 0; i < r->n; i++) {
		for (size_t j = 0; j < r->v[i].n_mirrors; j++)
			free(r->v[i].mirrors[j].location);
		free(r->v[i].mirrors);
		free(r->v[i].prefix);
		free(r->v[i].location);
	}
	free(r->v);
	strv_release(&r->search);
	strv_release(&r->credential_helpers);
	strv_release(&r->files);
	kvs_release(&r->aliases);
	free(r);
}

void registry_endpoints_release(struct registry_endpoints *e)
{
	for (size_t i = 0; i < e->n; i++) {
		free(e->v[i].host);
		free(e->v[i].repo);
	}
	free(e->v);
	*e = (struct registry_endpoints){ 0 };
}

bool registries_has_host(const char *name)
{
	const char *slash = strchr(name, '/');
	size_t n = slash ? (size_t)(slash - name) : 0;

	if (!slash || !n)
		return false;
	return memchr(name, '.', n) || memchr(name, ':', n) || (n == 9 && !strncmp(name, "localhost", 9));
}

/* How much of name the prefix covers; 0: it does not match. It ends at a component's end. */
static size_t match(const char *prefix, const char *name)
{
	size_t n;

	if (str_starts(prefix, "*.")) {
		const char *slash = strchr(name, '/'), *at = strstr(name, prefix + 1);
		if (!at || at == name || (slash && at > slash))
			return 0;
		n = (size_t)(at - name) + strlen(prefix + 1);
	} else {
		n = strlen(prefix);
		if (strncmp(name, prefix, n) != 0)
			return 0;
	}
	return !name[n] || strchr("/:@", name[n]) ? n : 0;
}

static const struct registry *find(const struct registries *r, const char *name, size_t *ret_len)
{
	const struct registry *best = NULL;
	size_t len = 0;

	for (size_t i = 0; i < r->n; i++) {
		size_t n = match(r->v[i].prefix, name);
		if (n > len) {
			best = &r->v[i];
			len = n;
		}
	}
	*ret_len = len;
	return best;
}

/* location + rest, split into host and repository. */
static int add(struct registry_endpoints *e, const char *location, const char *rest, bool insecure, bool mirror, crio_err *err)
{
	cleanup_free char *full = path_fmt("%s%s", location, rest);
	struct registry_endpoint *v = realloc(e->v, (e->n + 1) * sizeof *v);
	const char *slash;

	if (v)
		e->v = v;
	if (!v || !full)
		return err_nomem(err);
	slash = strchr(full, '/');
	if (!slash || slash == full || !slash[1])
		return err_set(err, CRIO_E_INVALID, "'%s' has no registry or no repository", full);
	e->v[e->n] = (struct registry_endpoint){ .host = strndup(full, (size_t)(slash - full)), .repo = strdup(slash + 1),
						 .insecure = insecure, .mirror = mirror };
	e->n++; /* released with the others, complete or not */
	return e->v[e->n - 1].host && e->v[e->n - 1].repo ? 0 : err_nomem(err);
}

int registries_resolve(const struct registries *r, const char *name, bool by_digest, struct registry_endpoints *ret, crio_err *err)
{
	cleanup_endpoints struct registry_endpoints e = { 0 };
	const struct registry *reg;
	size_t len;
	int rc = 0;

	if (!registries_has_host(name))
		return err_set(err, CRIO_E_INVALID, "image name '%s' has no registry", name);
	reg = find(r, name, &len);
	if (reg && reg->blocked)
		return err_set(err, CRIO_E_DENIED, "registry %s is blocked in registries.conf (image '%s')", reg->prefix, name);
	for (size_t i = 0; reg && i < reg->n_mirrors && rc >= 0; i++) {
		const struct registry_mirror *m = &reg->mirrors[i];
		if (m->pull_from == (by_digest ? REGISTRY_TAG_ONLY : REGISTRY_DIGEST_ONLY))
			continue;
		rc = add(&e, m->location, name + len, m->insecure, true, err);
	}
	if (rc >= 0 && reg && *reg->location)
		rc = add(&e, reg->location, name + len, reg->insecure, false, err);
	else if (rc >= 0)
		rc = add(&e, name, "", reg && reg->insecure, false, err);
	if (rc < 0)
		return rc;
	*ret = e;
	e = (struct registry_endpoints){ 0 };
	return 0;
}

/* "docker.io/busybox" -> "docker.io/library/busybox" */
static int add_name(struct strv *l, const char *host, const char *rest)
{
	if (!strcmp(host, "index." DOCKER))
		host = DOCKER;
	if (!strcmp(host, DOCKER) && !strchr(rest, '/'))
		return strv_addf(l, "%s/library/%s", host, rest);
	return strv_addf(l, "%s/%s", host, rest);
}

static int add_full(struct strv *l, const char *name)
{
	const char *slash = strchr(name, '/');
	cleanup_free char *host = strndup(name, (size_t)(slash - name));

	return host ? add_name(l, host, slash + 1) : CRIO_E_NOMEM;
}

int registries_candidates(const struct registries *r, const char *name, bool enforcing, struct strv *ret, crio_err *err)
{
	cleanup_strv struct strv l = STRV_INIT;
	const char *alias = kvs_get(&r->aliases, name);
	int rc = 0;

	if (!*name || *name == '/' || str_ends(name, "/") || !str_is_printable(name))
		return err_set(err, CRIO_E_INVALID, "'%.200s' is not an image name", name);
	if (registries_has_host(name)) {
		rc = add_full(&l, name);
	} else if (str_set(alias) && registries_has_host(alias)) {
		rc = add_full(&l, alias);
	} else if (!r->search.n) {
		return err_set(err, CRIO_E_INVALID,
			       "short-name \"%s\" did not resolve to an alias and no unqualified-search registries are defined in %s: "
			       "use the full name, such as docker.io/library/%s",
			       name, r->files.n ? r->files.v[0] : "registries.conf", name);
	} else if (enforcing && r->search.n > 1) {
		return err_set(err, CRIO_E_INVALID,
			       "short name mode is enforcing, but image name %s returns ambiguous list: use the full name, or one search registry",
			       name);
	}
	if (rc >= 0 && !l.n)
		for (size_t i = 0; rc >= 0 && i < r->search.n; i++)
			rc = add_name(&l, r->search.v[i], name);
	if (rc < 0)
		return err_nomem(err);
	strv_release(ret);
	*ret = l;
	l = (struct strv)STRV_INIT;
	return 0;
}
