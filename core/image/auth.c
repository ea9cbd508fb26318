/* auth.c: credentials: the request's, auth files, helpers. */
#include "core/image/auth.h"

#include <fcntl.h>
#include <string.h>

#include "core/exec/spawn.h"
#include "core/util/fs.h"
#include "core/util/json.h"

#define AUTH_FILE_MAX (1u << 20)
#define HELPER_TIMEOUT_NS (30 * 1000000000LL)

static void wipe_free(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

void cred_release(struct cred *c)
{
	free(c->username);
	wipe_free(c->password);
	wipe_free(c->identity_token);
	wipe_free(c->registry_token);
	memset(c, 0, sizeof(*c));
}

static int set(char **field, const char *v)
{
	char *s = strdup(v);

	if (!s)
		return CRIO_E_NOMEM;
	wipe_free(*field);
	*field = s;
	return 0;
}

int cred_init(struct cred *c)
{
	memset(c, 0, sizeof(*c));
	if (set(&c->username, "") < 0 || set(&c->password, "") < 0 || set(&c->identity_token, "") < 0 ||
	    set(&c->registry_token, "") < 0) {
		cred_release(c);
		return CRIO_E_NOMEM;
	}
	return 0;
}

int cred_copy(struct cred *dst, const struct cred *src)
{
	if (set(&dst->username, src->username) < 0 || set(&dst->password, src->password) < 0 ||
	    set(&dst->identity_token, src->identity_token) < 0 || set(&dst->registry_token, src->registry_token) < 0)
		return CRIO_E_NOMEM;
	return 0;
}

bool cred_is_set(const struct cred *c)
{
	return *c->username || *c->password || *c->identity_token || *c->registry_token;
}

/* ---- base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *p, size_t n)
{
	const unsigned char *s = p;
	char *out = malloc((n + 2) / 3 * 4 + 1), *o = out;

	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v =
		    (uint32_t)s[i] << 16 | (i + 1 < n ? (uint32_t)s[i + 1] << 8 : 0) | (i + 2 < n ? s[i + 2] : 0);

		*o++ = alphabet[v >> 18];
		*o++ = alphabet[v >> 12 & 63];
		*o++ = i + 1 < n ? alphabet[v >> 6 & 63] : '=';
		*o++ = i + 2 < n ? alphabet[v & 63] : '=';
	}
	*o = 0;
	return out;
}

bool base64_decode(const char *s, char **ret, size_t *ret_n)
{
	size_t n = strlen(s), k = 0;
	uint32_t acc = 0;
	int bits = 0;
	char *out;

	while (n && s[n - 1] == '=' && strlen(s) - n < 2)
		n--;
	if (n % 4 == 1)
		return false;
	out = malloc(n / 4 * 3 + 3);
	if (!out)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *at = memchr(alphabet, s[i], 64);

		if (!at) {
			free(out);
			return false;
		}
		acc = acc << 6 | (uint32_t)(at - alphabet);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[k++] = (char)(acc >> bits & 255);
		}
	}
	out[k] = 0;
	*ret = out;
	*ret_n = k;
	return true;
}

/* "dXNlcjpwYXNz" -> user and password. Some tools pad the password with NULs. */
static int split_auth(const char *auth, struct cred *ret, crio_err *err)
{
	char *text = NULL, *colon;
	size_t n = 0;
	int r = 0;

	if (!base64_decode(auth, &text, &n))
		return err_set(err, CRIO_E_INVALID, "registry credentials: auth is not base64");
	colon = memchr(text, ':', n);
	if (!colon) {
		r = err_set(err, CRIO_E_INVALID, "registry credentials: auth is not \"user:password\" in base64");
	} else {
		*colon = 0;
		if (set(&ret->username, text) < 0 || set(&ret->password, colon + 1) < 0)
			r = err_nomem(err);
	}
	explicit_bzero(text, n);
	free(text);
	return r;
}

/* They end up in headers and forms. */
static int check(const struct cred *c, crio_err *err)
{
	if (!str_is_printable(c->username) || !str_is_printable(c->password) || !str_is_printable(c->identity_token) ||
	    !str_is_printable(c->registry_token))
		return err_set(err, CRIO_E_INVALID, "registry credentials: control characters in a value");
	return 0;
}

int cred_of_request(const struct image_auth *a, struct cred *ret, crio_err *err)
{
	cleanup_cred struct cred c = {0};
	int r;

	if (cred_init(&c) < 0)
		return err_nomem(err);
	if (str_set(a->auth)) {
		r = split_auth(a->auth, &c, err);
		if (r < 0)
			return r;
	} else if (set(&c.username, a->username ? a->username : "") < 0 ||
		   set(&c.password, a->password ? a->password : "") < 0) {
		return err_nomem(err);
	}
	if (!*c.username && set(&c.password, "") < 0) /* only a name says that credentials are meant */
		return err_nomem(err);
	if (set(&c.identity_token, a->identity_token ? a->identity_token : "") < 0 ||
	    set(&c.registry_token, a->registry_token ? a->registry_token : "") < 0)
		return err_nomem(err);
	r = check(&c, err);
	if (r < 0)
		return r;
	*ret = c;
	memset(&c, 0, sizeof(c));
	return 0;
}

/* ---- files ---- */

static const char *hub_name(const char *host)
{
	return str_eq(host, "registry-1.docker.io") || str_eq(host, "docker.io") ? "index.docker.io" : host;
}

/* "https://index.docker.io/v1/" -> "index.docker.io" */
static char *key_host(const char *key)
{
	if (str_starts(key, "https://"))
		key += 8;
	else if (str_starts(key, "http://"))
		key += 7;
	return strndup(key, strcspn(key, "/"));
}

static int from_entry(const struct json_object *e, struct cred *ret, crio_err *err)
{
	const char *auth = json_str(e, "auth");
	int r = 0;

	if (*auth)
		r = split_auth(auth, ret, err);
	if (r == 0 && set(&ret->identity_token, json_str(e, "identitytoken")) < 0)
		r = err_nomem(err);
	return r < 0 ? r : check(ret, err);
}

static int find_auth(struct json_object *auths, const char *repo, struct cred *ret, crio_err *err)
{
	cleanup_free char *at = strdup(repo), *host = strndup(repo, strcspn(repo, "/"));
	char *slash;

	if (!at || !host)
		return err_nomem(err);
	for (;;) {
		struct json_object *e = json_obj(auths, at);

		if (e)
			return from_entry(e, ret, err);
		slash = strrchr(at, '/');
		if (!slash)
			break;
		*slash = 0;
	}
	/* Keys that are URLs, as docker login writes them. */
	json_object_object_foreach(auths, key, val)
	{
		cleanup_free char *h = key_host(key);

		if (!h)
			return err_nomem(err);
		if (str_eq(hub_name(h), hub_name(host)) && json_object_is_type(val, json_type_object) &&
		    (str_starts(key, "http://") || str_starts(key, "https://") || !strchr(key, '/')))
			return from_entry(val, ret, err);
	}
	return 0;
}

int auth_find_in_text(const char *text, size_t n, const char *repo, bool legacy, struct cred *ret, char **ret_helper,
		      crio_err *err)
{
	cleanup_json struct json_object *doc = NULL;
	cleanup_free char *host = strndup(repo, strcspn(repo, "/"));
	struct json_object *auths;
	const char *helper;
	char *h;
	int r;

	if (!host)
		return err_nomem(err);
	r = json_parse(text, n, &doc, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(doc, json_type_object))
		return err_set(err, CRIO_E_CORRUPT, "not a JSON object");
	helper = legacy ? "" : json_str(json_obj(doc, "credHelpers"), host);
	h = strdup(helper);
	if (!h)
		return err_nomem(err);
	auths = legacy ? doc : json_obj(doc, "auths");
	r = !*helper && auths ? find_auth(auths, repo, ret, err) : 0;
	if (r < 0) {
		free(h);
		return r;
	}
	*ret_helper = h;
	return 0;
}

/* ---- helpers ---- */

static int parse_helper(const struct spawn_result *res, struct cred *ret, crio_err *err)
{
	cleanup_json struct json_object *doc = NULL;
	const char *user;
	int r = json_parse(res->out.p ? res->out.p : "", res->out.n, &doc, err);

	if (r < 0)
		return r;
	user = json_str(doc, "Username");
	if (str_eq(user, "<token>"))
		r = set(&ret->identity_token, json_str(doc, "Secret"));
	else if (set(&ret->username, user) < 0 || set(&ret->password, json_str(doc, "Secret")) < 0)
		r = CRIO_E_NOMEM;
	return r < 0 ? err_nomem(err) : check(ret, err);
}

static int run_helper(const char *name, crio_call *call, const char *host, struct cred *ret, crio_err *err)
{
	cleanup_free char *prog = NULL, *path = NULL;
	CLEANUP(spawn_result_release) struct spawn_result res = {0};
	cleanup_call crio_call *sub = NULL;
	struct spawn sp = SPAWN_INIT;
	const char *home = getenv("HOME"), *search = getenv("PATH");
	cleanup_free char *env_home = path_fmt("HOME=%s", home ? home : "/root");
	cleanup_free char *env_path = path_fmt("PATH=%s", search ? search : "/usr/sbin:/usr/bin:/sbin:/bin");
	int r;

	if (!path_is_name(name))
		return err_set(err, CRIO_E_INVALID, "credential helper '%.64s': not a name", name);
	prog = path_fmt("docker-credential-%s", name);
	sub = call_sub(call, HELPER_TIMEOUT_NS);
	if (!prog || !sub || !env_home || !env_path)
		return err_nomem(err);
	r = spawn_find(prog, NULL, &path, err);
	if (r < 0)
		return r;
	sp.path = path;
	sp.argv = (const char *const[]){prog, "get", NULL};
	sp.env = (const char *const[]){env_home, env_path, NULL};
	r = spawn_capture(&sp, sub, host, strlen(host), 65536, 4096, &res, err);
	if (r < 0)
		return r;
	if (res.exit_code != 0) { /* docker's protocol: says so on stdout when it has none */
		if (res.out.p && strstr(res.out.p, "credentials not found"))
			return 0;
		return err_set(err, CRIO_E_UNAUTHENTICATED, "%s: exit code %d", prog, res.exit_code);
	}
	r = parse_helper(&res, ret, err);
	if (res.out.p)
		explicit_bzero(res.out.p, res.out.n);
	return r < 0 ? err_wrap(err, "%s", prog) : 0;
}

static int look_in_file(const char *path, bool must, bool legacy, crio_call *call, const char *repo, struct cred *ret,
			crio_err *err)
{
	struct crio_err e = ERR_INIT;
	cleanup_free char *helper = NULL, *host = strndup(repo, strcspn(repo, "/"));
	char *text = NULL;
	size_t n = 0;
	int r;

	if (!host)
		return err_nomem(err);
	r = fs_read_file(AT_FDCWD, path, AUTH_FILE_MAX, &text, &n, &e);
	if (r == CRIO_E_NOT_FOUND || (r == CRIO_E_DENIED && !must)) {
		err_clear(&e);
		return 0;
	}
	if (r < 0)
		return err_move(err, &e);
	r = auth_find_in_text(text, n, repo, legacy, ret, &helper, err);
	explicit_bzero(text, n);
	free(text);
	if (r == 0 && str_set(helper))
		r = run_helper(helper, call, host, ret, err);
	return r < 0 ? err_wrap(err, "auth file %s", path) : 0;
}

static int look_in_files(const struct auth_sources *src, crio_call *call, const char *repo, struct cred *ret,
			 crio_err *err)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");
	cleanup_strv struct strv paths = STRV_INIT;
	int r = 0;

	if (str_set(src->file))
		return look_in_file(src->file, true, false, call, repo, ret, err);
	if (str_set(xdg))
		r = strv_addf(&paths, "%s/containers/auth.json", xdg);
	else
		r = strv_addf(&paths, "/run/containers/%u/auth.json", (unsigned int)getuid());
	if (str_set(home) && r == 0 &&
	    (strv_addf(&paths, "%s/.config/containers/auth.json", home) < 0 ||
	     strv_addf(&paths, "%s/.docker/config.json", home) < 0 || strv_addf(&paths, "%s/.dockercfg", home) < 0))
		r = CRIO_E_NOMEM;
	if (r < 0)
		return err_nomem(err);
	for (size_t i = 0; i < paths.n && !cred_is_set(ret); i++) {
		r = look_in_file(paths.v[i], false, str_ends(paths.v[i], "/.dockercfg"), call, repo, ret, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int auth_find(const struct auth_sources *src, crio_call *call, const char *repo, struct cred *ret, crio_err *err)
{
	cleanup_free char *host = strndup(repo, strcspn(repo, "/"));
	int r = 0;

	if (!host)
		return err_nomem(err);
	if (!src->helpers || !src->helpers->n)
		return look_in_files(src, call, repo, ret, err);
	for (size_t i = 0; i < src->helpers->n && r == 0 && !cred_is_set(ret); i++) {
		if (str_eq(src->helpers->v[i], "containers-auth.json"))
			r = look_in_files(src, call, repo, ret, err);
		else
			r = run_helper(src->helpers->v[i], call, host, ret, err);
	}
	return r;
}
