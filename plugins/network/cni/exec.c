/* Running one CNI program. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "cni.h"

#define BUSY_TRIES 25 /* x 200 ms: a program that is being replaced */
#define VERSION_TIMEOUT (10 * CNI_SEC)
#define ENV_MAX 4096

extern char **environ;

int cni_find(struct cni *c, crio_call *call, const char *type, const char **ret_path, crio_err *err)
{
	struct stat st;

	/* A '/' or ".." here would run any program of the node (CVE-2021-20206). */
	if (!cni_name_ok(type, CNI_NAME_MAX))
		return c->host->fail(err, CRIO_E_INVALID, "plugin type '%s' is not a plain file name",
				     cni_printable(c, call, type, strnlen(type, 64)));
	for (size_t i = 0; i < c->n_bin_dirs; i++) {
		cleanup_close int dir = open(c->bin_dirs[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (dir < 0 || fstatat(dir, type, &st, 0) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
			continue;
		*ret_path = cni_fmt(c, call, "%s/%s", c->bin_dirs[i], type);
		return *ret_path ? 0 : cni_nomem(c, err);
	}
	return c->host->fail(err, CRIO_E_UNAVAILABLE,
			     "failed to find plugin \"%s\" in path [%s]: install it, or correct plugin_dirs", type,
			     c->bin_path);
}

/* ---- environment ---- */

/* The daemon's own, as other runtimes give it (proxies, KUBECONFIG), without what belongs to the daemon alone. */
static bool inherited(const char *kv)
{
	static const char *const own[] = {"CNI_",      "NOTIFY_SOCKET=", "LISTEN_",
					  "WATCHDOG_", "INVOCATION_ID=", "JOURNAL_STREAM="};

	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
		if (!strncmp(kv, own[i], strlen(own[i])))
			return false;
	}
	return strchr(kv, '=') != NULL;
}

/* "K=V;K=V" of [["K","V"],...]. */
static const char *args_text(struct cni *c, crio_call *call, struct json_object *args)
{
	const char *s = "";
	size_t n = args && json_object_is_type(args, json_type_array) ? json_object_array_length(args) : 0;

	for (size_t i = 0; s && i < n && i < 64; i++) {
		struct json_object *pair = json_object_array_get_idx(args, i);

		if (!json_object_is_type(pair, json_type_array) || json_object_array_length(pair) != 2)
			continue;
		s = cni_fmt(c, call, "%s%s%s=%s", s, *s ? ";" : "",
			    json_object_get_string(json_object_array_get_idx(pair, 0)),
			    json_object_get_string(json_object_array_get_idx(pair, 1)));
	}
	return s;
}

static int env_make(struct cni *c, crio_call *call, const char *command, const struct attach *at, const char *path,
		    struct crio_strs *ret, crio_err *err)
{
	const char *args = args_text(c, call, at->args);
	const char **v, *mine[8];
	bool have_path = false;
	size_t n = 0, total = 0;

	while (environ && environ[total] && total < ENV_MAX)
		total++;
	v = c->host->alloc(call, sizeof(*v) * (total + 9));
	if (!v || !args)
		return cni_nomem(c, err);
	for (size_t i = 0; i < total; i++) {
		if (!inherited(environ[i]))
			continue;
		have_path |= !strncmp(environ[i], "PATH=", 5);
		v[n++] = environ[i];
	}
	mine[0] = have_path ? "" : "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	mine[1] = cni_fmt(c, call, "CNI_COMMAND=%s", command);
	mine[2] = cni_fmt(c, call, "CNI_CONTAINERID=%s", at->id);
	mine[3] = cni_fmt(c, call, "CNI_NETNS=%s", at->netns);
	mine[4] = cni_fmt(c, call, "CNI_ARGS=%s", args);
	mine[5] = cni_fmt(c, call, "CNI_IFNAME=%s", at->ifname);
	mine[6] = cni_fmt(c, call, "CNI_PATH=%s", path);
	for (size_t i = 0; i < 7; i++) {
		if (!mine[i])
			return cni_nomem(c, err);
		if (*mine[i])
			v[n++] = mine[i];
	}
	ret->v = v;
	ret->n = n;
	return 0;
}

/* ---- one run ---- */

static int run(struct cni *c, crio_call *call, const char *path, const char *command, const struct attach *at,
	       const char *cni_path, const char *input, struct crio_spawned *out, crio_err *err)
{
	const char *argv[] = {path};
	struct crio_spawn s = {.size = sizeof(s),
			       .flags = CRIO_SPAWN_CAPTURE,
			       .path = path,
			       .argv = {argv, 1},
			       .cwd = "/",
			       .stdin_fd = -1,
			       .stdout_fd = -1,
			       .stderr_fd = -1,
			       .netns_fd = -1,
			       .stdin_data = {input, strlen(input)},
			       .stdout_limit = CNI_OUT_MAX,
			       .stderr_limit = 64 << 10};
	int r = env_make(c, call, command, at, cni_path, &s.env, err);

	for (int i = 0; r == 0; i++) {
		static const struct timespec pause = {0, 200 * CNI_MS};
		crio_err *why = c->host->err_new();

		r = c->host->spawn(c->in, call, &s, out, why);
		if (r < 0 && i < BUSY_TRIES && strstr(c->host->err_text(why), strerror(ETXTBSY)) &&
		    !c->host->cancelled(call)) {
			c->host->err_free(why);
			(void)nanosleep(&pause, NULL);
			r = 0;
			continue;
		}
		if (r < 0)
			r = c->host->fail(err, r, "%s", c->host->err_text(why));
		c->host->err_free(why);
		break;
	}
	return r;
}

/* What a program that failed has to say: its error object on stdout, else its stderr. */
static int failed(struct cni *c, crio_call *call, const struct crio_spawned *out, crio_err *err)
{
	cleanup_json struct json_object *o = NULL;
	const char *how = out->exit_code > 128 ? cni_fmt(c, call, "killed by signal %d", out->exit_code - 128)
					       : cni_fmt(c, call, "exit status %d", out->exit_code);
	const char *msg, *details;
	struct json_object *code;
	int64_t n;

	if (out->out.n == 0 && out->err.n == 0)
		return c->host->fail(err, CRIO_E_INTERNAL, "netplugin failed with no error message: %s",
				     how ? how : "");
	if (out->out.n == 0)
		return c->host->fail(err, CRIO_E_INTERNAL, "netplugin failed: \"%s\" (%s)",
				     cni_printable(c, call, out->err.p, out->err.n), how ? how : "");
	if (cni_json_parse(c, out->out.p, out->out.n, &o, NULL) < 0)
		return c->host->fail(err, CRIO_E_INTERNAL,
				     "netplugin failed (%s), and what it printed is no error object: \"%s\"",
				     how ? how : "", cni_printable(c, call, out->out.p, out->out.n));
	msg = cni_json_str(o, "msg");
	details = cni_json_str(o, "details");
	code = cni_json_get(o, "code", json_type_int);
	n = code ? json_object_get_int64(code) : 0;
	msg = cni_printable(c, call, msg, strlen(msg));
	details = cni_printable(c, call, details, strlen(details));
	/* 11: try again later; 50, 51: the plugin cannot serve now. */
	return c->host->fail(err, n == 11 || n == 50 || n == 51 ? CRIO_E_UNAVAILABLE : CRIO_E_INTERNAL, "%s%s%s%s",
			     *msg ? msg : "netplugin failed without a message", *details ? "; " : "", details,
			     *msg ? "" : " (see the node's log of the plugin)");
}

/* The config that goes to stdin: the program's own, with what the list and the runtime add. */
static int config_make(struct cni *c, const struct list *l, struct json_object *plugin, const struct attach *at,
		       struct json_object *prev, struct json_object *inject, struct json_object **ret, crio_err *err)
{
	cleanup_json struct json_object *conf = NULL, *rt = json_object_new_object();
	struct json_object *caps = cni_json_get(plugin, "capabilities", json_type_object);
	bool ok = rt && json_object_deep_copy(plugin, &conf, NULL) == 0;

	ok = ok && cni_json_set(conf, "name", json_object_new_string(l->name)) &&
	     cni_json_set(conf, "cniVersion", json_object_new_string(l->version));
	if (ok && prev)
		ok = cni_json_set(conf, "prevResult", json_object_get(prev));
	if (ok && caps && at->caps) {
		json_object_object_foreach(caps, key, wants)
		{
			struct json_object *arg = NULL;

			if (ok && json_object_is_type(wants, json_type_boolean) && json_object_get_boolean(wants) &&
			    json_object_object_get_ex(at->caps, key, &arg))
				ok = cni_json_set(rt, key, json_object_get(arg));
		}
	}
	if (ok && json_object_object_length(rt) > 0)
		ok = cni_json_set(conf, "runtimeConfig", json_object_get(rt));
	if (ok && inject) {
		json_object_object_foreach(inject, key, v)
		{
			ok = ok && cni_json_set(conf, key, json_object_get(v));
		}
	}
	if (!ok)
		return cni_nomem(c, err);
	*ret = conf;
	conf = NULL;
	return 0;
}

static int result_take(struct cni *c, crio_call *call, const struct list *l, const struct crio_spawned *out,
		       struct json_object **ret, crio_err *err)
{
	cleanup_json struct json_object *o = NULL;
	int r;

	if (out->out_truncated)
		return c->host->fail(err, CRIO_E_EXHAUSTED, "result is longer than %u bytes", CNI_OUT_MAX);
	if (out->out.n == 0)
		return c->host->fail(err, CRIO_E_CORRUPT, "succeeded without printing a result");
	r = cni_json_parse(c, out->out.p, out->out.n, &o, err);
	if (r < 0) {
		const char *text = cni_printable(c, call, out->out.p, out->out.n < 200 ? out->out.n : 200);
		return c->host->wrap(err, "result \"%s\"", text);
	}
	/* A result without version is of the config's. */
	if (!*cni_json_str(o, "cniVersion") && !cni_json_set(o, "cniVersion", json_object_new_string(l->version)))
		return cni_nomem(c, err);
	r = cni_result_check(c, o, err);
	if (r < 0)
		return r;
	*ret = o;
	o = NULL;
	return 0;
}

int cni_exec(struct cni *c, crio_call *call, const char *command, const struct list *l, struct json_object *plugin,
	     const struct attach *at, struct json_object *prev, struct json_object *inject, struct json_object **ret,
	     crio_err *err)
{
	cleanup_json struct json_object *conf = NULL;
	struct crio_spawned out = {.size = sizeof(out), .pidfd = -1};
	const char *type = cni_json_str(plugin, "type"), *path, *text;
	int r = cni_find(c, call, type, &path, err);

	if (r == 0)
		r = config_make(c, l, plugin, at, prev, inject, &conf, err);
	if (r == 0) {
		text = cni_json_text(conf);
		r = text ? run(c, call, path, command, at, c->bin_path, text, &out, err) : cni_nomem(c, err);
	}
	if (r == 0 && out.exit_code != 0)
		r = failed(c, call, &out, err);
	else if (r == 0 && ret)
		r = result_take(c, call, l, &out, ret, err);
	if (r < 0) {
		const char *t = cni_printable(c, call, type, strnlen(type, CNI_NAME_MAX));
		return c->host->wrap(err, "plugin type=\"%s\" failed (%s)", t, command);
	}
	if (out.err.n > 0)
		c->host->log(c->in, CRIO_LOG_DEBUG, "CNI plugin %s (%s) printed: %s", type, command,
			     cni_printable(c, call, out.err.p, out.err.n));
	return 0;
}

/* ---- VERSION ---- */

static bool same_file(const struct version *v, const char *path, const struct stat *st)
{
	return !strcmp(v->path, path) && v->dev == st->st_dev && v->ino == st->st_ino && v->size == st->st_size &&
	       v->mtime.tv_sec == st->st_mtim.tv_sec && v->mtime.tv_nsec == st->st_mtim.tv_nsec &&
	       v->ctime.tv_sec == st->st_ctim.tv_sec && v->ctime.tv_nsec == st->st_ctim.tv_nsec;
}

static const char *version_recall(struct cni *c, crio_call *call, const char *path, const struct stat *st)
{
	const char *ret = NULL;

	(void)pthread_mutex_lock(&c->mu);
	for (size_t i = 0; i < c->n_versions && !ret; i++) {
		if (same_file(&c->versions[i], path, st))
			ret = c->host->strdup(call, c->versions[i].supported);
	}
	(void)pthread_mutex_unlock(&c->mu);
	return ret;
}

static void version_release(struct version *v)
{
	free(v->path);
	free(v->supported);
}

/* Losing an entry to lack of memory only costs another run. */
static void version_remember(struct cni *c, const char *path, const struct stat *st, const char *supported)
{
	struct version v = {.path = strdup(path),
			    .supported = strdup(supported),
			    .dev = st->st_dev,
			    .ino = st->st_ino,
			    .size = st->st_size,
			    .mtime = st->st_mtim,
			    .ctime = st->st_ctim};
	struct version *grown;
	size_t i = 0;

	if (!v.path || !v.supported) {
		version_release(&v);
		return;
	}
	(void)pthread_mutex_lock(&c->mu);
	while (i < c->n_versions && strcmp(c->versions[i].path, path))
		i++;
	if (i == c->n_versions) {
		grown = realloc(c->versions, sizeof(*grown) * (c->n_versions + 1));
		if (grown) {
			c->versions = grown;
			memset(&c->versions[c->n_versions++], 0, sizeof(v));
		}
	}
	if (i < c->n_versions) {
		version_release(&c->versions[i]);
		c->versions[i] = v;
		memset(&v, 0, sizeof(v));
	}
	(void)pthread_mutex_unlock(&c->mu);
	version_release(&v);
}

void cni_versions_release(struct cni *c)
{
	for (size_t i = 0; i < c->n_versions; i++)
		version_release(&c->versions[i]);
	free(c->versions);
	c->versions = NULL;
	c->n_versions = 0;
}

/* ",0.3.1,0.4.0," from {"cniVersion":..,"supportedVersions":[..]}. */
static int version_decode(struct cni *c, crio_call *call, const struct crio_spawned *out, const char **ret,
			  crio_err *err)
{
	cleanup_json struct json_object *o = NULL;
	struct json_object *arr;
	const char *s = ",";
	int r = cni_json_parse(c, out->out.p, out->out.n, &o, err);

	if (r < 0)
		return r;
	arr = cni_json_get(o, "supportedVersions", json_type_array);
	if (!arr || json_object_array_length(arr) == 0) {
		if (strcmp(cni_json_str(o, "cniVersion"), "0.2.0") != 0)
			return c->host->fail(err, CRIO_E_CORRUPT, "answer has no supportedVersions");
		*ret = ",0.1.0,0.2.0,";
		return 0;
	}
	for (size_t i = 0; s && i < json_object_array_length(arr) && i < 64; i++) {
		const char *v = json_object_get_string(json_object_array_get_idx(arr, i));

		if (v && strlen(v) < 32)
			s = cni_fmt(c, call, "%s%s,", s, v);
	}
	*ret = s;
	return s ? 0 : cni_nomem(c, err);
}

static int version_ask(struct cni *c, crio_call *call, const char *path, const char **ret, crio_err *err)
{
	/* Programs built with early versions of the library insist on the variables. */
	struct attach at = {.id = "", .ifname = "dummy", .netns = "dummy"};
	struct crio_spawned out = {.size = sizeof(out), .pidfd = -1};
	crio_call *sub = c->host->call_sub(call, VERSION_TIMEOUT);
	const char *s = NULL;
	int r;

	if (!sub)
		return cni_nomem(c, err);
	r = run(c, sub, path, "VERSION", &at, "dummy", "{\"cniVersion\":\"" CNI_NEWEST "\"}", &out, err);
	if (r == 0 && out.exit_code != 0) {
		/* Before 0.2.0 there was no VERSION. */
		if (out.out.n > 0 && strstr(out.out.p, "unknown CNI_COMMAND: VERSION"))
			s = ",0.1.0,";
		else
			r = failed(c, sub, &out, err);
	} else if (r == 0) {
		r = version_decode(c, sub, &out, &s, err);
	}
	if (r == 0) {
		*ret = c->host->strdup(call, s);
		r = *ret ? 0 : cni_nomem(c, err);
	}
	c->host->call_free(sub);
	return r;
}

int cni_supports(struct cni *c, crio_call *call, const char *type, const char *version, crio_err *err)
{
	const char *path, *supported, *want;
	struct stat st;
	int r = cni_find(c, call, type, &path, err);

	if (r < 0)
		return r;
	if (stat(path, &st) < 0)
		return c->host->fail(err, CRIO_E_UNAVAILABLE, "plugin %s: %s", path, strerror(errno));
	supported = version_recall(c, call, path, &st);
	if (!supported) {
		r = version_ask(c, call, path, &supported, err);
		if (r < 0)
			return c->host->wrap(err, "plugin type=\"%s\" failed (VERSION)", type);
		version_remember(c, path, &st, supported);
	}
	want = cni_fmt(c, call, ",%s,", version);
	if (!want)
		return cni_nomem(c, err);
	if (!strstr(supported, want))
		return c->host->fail(err, CRIO_E_UNSUPPORTED,
				     "plugin %s does not support config version \"%s\" (it supports %.*s)", type,
				     version, (int)strlen(supported) - 2, supported + 1);
	return 0;
}
