/* transfer.c: what a pull's thread does: credentials, manifest, config, layers, record; each candidate of a short name
 * in turn. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/image/pull.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/meter.h"

#define LAYER_TRIES 3
#define SEC 1000000000LL

/* <namespaced_auth_dir>/<namespace>-<sha256 of the repository>.json is for one pull: moved away so that no other takes
 * it. *ret is NULL when there is none; else who got it removes it. */
static int take_namespaced_auth(const struct conf *conf, const char *ns, const char *text, char **ret, crio_err *err)
{
	cleanup_reference struct reference ref = REFERENCE_INIT;
	cleanup_free char *repo = NULL, *path = NULL, *dir = NULL;
	char digest[DIGEST_TEXT_MAX], uuid[37], *to;
	struct stat st;
	int r;

	*ret = NULL;
	if (!str_set(ns) || !str_set(conf->image.namespaced_auth_dir) || !path_is_name(ns))
		return 0;
	r = reference_parse(text, &ref, err);
	if (r < 0)
		return r;
	repo = reference_repo(&ref);
	if (!repo || !uuid_new(uuid))
		return err_nomem(err);
	digest_of(repo, strlen(repo), digest);
	path = path_fmt("%s/%s-%s.json", conf->image.namespaced_auth_dir, ns, digest_hex(digest));
	dir = path_fmt("%s/in-use", conf->image.namespaced_auth_dir);
	if (!path || !dir)
		return err_nomem(err);
	if (stat(path, &st) < 0)
		return 0;
	to = path_fmt("%s/%s-%s-%s.json", dir, ns, digest_hex(digest), uuid);
	if (!to)
		return err_nomem(err);
	r = fs_mkdir_p(dir, 0700, err);
	if (r == 0 && rename(path, to) < 0)
		r = err_errno(err, errno, "move %s away", path);
	if (r < 0) {
		(void)unlink(path); /* secrets do not stay */
		free(to);
		return r;
	}
	*ret = to;
	return 0;
}

struct fetched {
	struct buf top, text; /* the first document, and the image's manifest when that is another */
	char top_digest[DIGEST_TEXT_MAX], digest[DIGEST_TEXT_MAX];
	struct manifest m;
};

static void fetched_release(struct fetched *f)
{
	buf_release(&f->top);
	buf_release(&f->text);
	manifest_release(&f->m);
}

/* From the reference's document through indexes to this platform's image. */
static int fetch_manifest(struct registry_session *s, crio_call *call, struct fetched *f, crio_err *err)
{
	struct platform here;
	cleanup_free char *type = NULL;
	int r = registry_manifest(s, call, NULL, &f->top, &type, f->top_digest, err);

	if (r == 0)
		r = manifest_parse(f->top.p ? f->top.p : "", f->top.n, type, &f->m, err);
	if (r < 0)
		return r;
	(void)snprintf(f->digest, sizeof(f->digest), "%s", f->top_digest);
	platform_here(&here);
	for (int depth = 0; f->m.index; depth++) {
		struct manifest m = {0};
		cleanup_free char *sub_type = NULL;
		size_t i = 0;

		if (depth >= MANIFEST_DEPTH_MAX)
			return err_set(err, CRIO_E_EXHAUSTED, "indexes within indexes, more than %d deep",
				       MANIFEST_DEPTH_MAX);
		r = manifest_choose(&f->m, &here, &i, err);
		if (r < 0)
			return r;
		r = registry_manifest(s, call, f->m.entries[i].d.digest, &f->text, &sub_type, f->digest, err);
		if (r < 0)
			return r;
		if ((int64_t)f->text.n != f->m.entries[i].d.size)
			return err_set(err, CRIO_E_CORRUPT, "manifest %s: %zu bytes instead of %lld", f->digest,
				       f->text.n, (long long)f->m.entries[i].d.size);
		r = manifest_parse(f->text.p ? f->text.p : "", f->text.n, sub_type, &m, err);
		if (r < 0)
			return r;
		manifest_release(&f->m);
		f->m = m;
	}
	return 0;
}

/* The config, from a store that has it or from the registry. */
static int fetch_config(struct images *is, struct registry_session *s, crio_call *call, const struct descriptor *d,
			struct buf *ret, crio_err *err)
{
	struct store *st;

	if (!str_starts(d->digest, "sha256:"))
		return err_set(err, CRIO_E_UNSUPPORTED, "config digest %s: only sha256 can be an image's id",
			       d->digest);
	for (size_t i = 0; (st = images_store_at(is, i)); i++) {
		cleanup_free char *text = NULL;
		size_t n;

		if (store_image_big_get(st, digest_hex(d->digest), d->digest, MANIFEST_MAX, &text, &n, NULL) == 0) {
			buf_add(ret, text, n);
			return buf_bad(ret) ? err_nomem(err) : 0;
		}
	}
	int r = registry_blob_get(s, call, d, MANIFEST_MAX, ret, err);
	if (r == 0)
		meter_add_for(METER_PULL_BYTES, ret->n, d->media_type, meter_size_label(ret->n));
	return r;
}

static int record(struct pull *p, struct store *st, const struct fetched *f, const struct buf *config,
		  const struct image *im, const struct reference *ref, const char *top_layer, crio_err *err)
{
	cleanup_free char *name = reference_text(ref), *top_key = path_fmt("manifest-%s", f->top_digest);
	const struct buf *m = f->text.n ? &f->text : &f->top;
	struct store_big_data big[3] = {
	    {"manifest", m->p, m->n},
	    {f->m.config.digest, config->p ? config->p : "", config->n},
	    {top_key, f->top.p, f->top.n},
	};
	struct store_image_args a = {
	    .id = im->id, .digest = f->digest, .layer = top_layer, .big = big, .n_big = f->text.n ? 3 : 2};

	if (!name || !top_key)
		return err_nomem(err);
	a.names.v = (const char *const *)&name;
	a.names.n = 1;
	a.created_ns = im->created_ns;
	return images_record(p->is, p->call, st, &a, err);
}

/* Everything between the manifest and the record. */
static int fetch_image(struct pull *p, struct registry_session *s, const struct reference *ref, crio_err *err)
{
	CLEANUP(fetched_release) struct fetched f = {0};
	CLEANUP(buf_release) struct buf config = BUF_INIT;
	cleanup_image_ref struct image *im = NULL;
	cleanup_strv struct strv diff_ids = STRV_INIT;
	struct layers_args la = {
	    .is = p->is, .diff_ids = &diff_ids, .session = s, .last_progress_ns = &p->last_progress_ns};
	cleanup_free char *name = reference_text(ref);
	char top[65];
	int r = images_store(p->is, p->call, p->driver, &la.store, err);

	if (r == 0)
		r = fetch_manifest(s, p->call, &f, err);
	if (r == 0)
		r = fetch_config(p->is, s, p->call, &f.m.config, &config, err);
	if (r < 0)
		return r;
	p->last_progress_ns = now_mono_ns();
	im = image_new(digest_hex(f.m.config.digest));
	if (!im)
		return err_nomem(err);
	r = image_config_parse(config.p ? config.p : "", config.n, im, &diff_ids, err);
	if (r < 0)
		return r;
	if (diff_ids.n != f.m.n_layers)
		return err_set(err, CRIO_E_CORRUPT, "the manifest has %zu layers, the config %zu", f.m.n_layers,
			       diff_ids.n);
	if (!name)
		return err_nomem(err);
	la.blobs = f.m.layers;
	la.name = name;
	/* Until it is recorded nothing keeps a layer that was there already: its last image may be removed meanwhile. */
	for (int again = 0;; again++) {
		cleanup_err crio_err why = ERR_INIT;
		r = layers_fetch(&la, p->call, top, &why);
		if (r == 0)
			r = record(p, la.store, &f, &config, im, ref, top, &why);
		if (r == 0)
			break;
		if (r != CRIO_E_PRECONDITION || again == LAYER_TRIES)
			return err_move(err, &why);
	}
	free(p->id);
	free(p->repo_digest);
	p->id = strdup(im->id);
	p->repo_digest = path_fmt("%s/%s@%s", ref->domain, ref->path, f.digest);
	return p->id && p->repo_digest ? 0 : err_nomem(err);
}

static void env_init(struct registry_env *env, struct images *is, const struct conf *conf,
		     const struct registries *regs, const char *auth_file)
{
	int64_t stall = conf->image.pull_progress_timeout;

	memset(env, 0, sizeof(*env));
	env->http = is->http;
	env->registries = regs;
	env->certs_dir = is->certs_dir;
	env->auth_file = str_set(auth_file)	  ? auth_file
			 : str_set(is->auth_file) ? is->auth_file
						  : conf->image.global_auth_file;
	env->helpers = &regs->credential_helpers;
	env->user_agent = is->user_agent;
	env->backoff_ns = SEC;
	http_limits_default(&env->limits);
	if (stall > 0 && stall < env->limits.answer_ns)
		env->limits.answer_ns = stall < SEC ? SEC : stall;
}

/* What failed, in the words of CRI-O's metric: a registry's own code where there is one. */
static const char *failure_label(int code, const crio_err *err, bool unreachable)
{
	const char *text = err_text(err);

	switch (code) {
	case CRIO_E_UNAUTHENTICATED:
		return "UNAUTHORIZED";
	case CRIO_E_DENIED:
		return "DENIED";
	case CRIO_E_NOT_FOUND:
		return strstr(text, "name unknown") ? "NAME_UNKNOWN" : strstr(text, "manifest unknown") ? "MANIFEST_UNKNOWN" : "NOT_FOUND";
	case CRIO_E_DEADLINE:
		return "CONNECTION_TIMEOUT";
	default:
		return strstr(text, "toomanyrequests") ? "TOOMANYREQUESTS" : unreachable ? "CONNECTION_REFUSED" : "UNKNOWN";
	}
}

static int pull_candidate(struct pull *p, const struct conf *conf, const struct registries *regs, const char *auth_file,
			  const struct reference *ref, crio_err *err)
{
	cleanup_registry struct registry_session *s = NULL;
	cleanup_free char *name = reference_text(ref);
	struct registry_env env;
	int r;

	if (!name)
		return err_nomem(err);
	env_init(&env, p->is, conf, regs, auth_file);
	r = policy_check(conf, p->ns, ref, err);
	if (r < 0) {
		meter_add_for(METER_PULL_FAILURES, 1, "UNKNOWN", NULL);
		return r;
	}
	r = registry_open(&env, p->call, ref, &p->cred, &s, err);
	if (r == 0)
		r = fetch_image(p, s, ref, err);
	if (r == 0) {
		meter_add(METER_PULL_SUCCESSES, 1);
		return 0;
	}
	meter_add_for(METER_PULL_FAILURES, 1, failure_label(r, err, s && registry_unreachable(s)), NULL);
	r = err_wrap(err, "unable to pull image: initializing source docker://%s", name);
	if (s && registry_unreachable(s))
		return err_wrap(err, "RegistryUnavailable");
	return r;
}

int pull_transfer(struct pull *p, crio_err *err)
{
	cleanup_conf const struct conf *conf = images_conf(p->is);
	cleanup_registries const struct registries *regs = images_registries(p->is);
	cleanup_references struct references cand = {0};
	cleanup_free char *auth_file = NULL;
	const char *use = str_eq(p->ref, conf->image.pause_image) ? conf->image.pause_image_auth_file : "";
	int r = images_candidates(p->is, p->ref, &cand, err);

	if (r == 0)
		r = take_namespaced_auth(conf, p->ns, p->ref, &auth_file, err);
	for (size_t i = 0; r == 0 && i < cand.n; i++) {
		struct crio_err e = ERR_INIT;

		r = pull_candidate(p, conf, regs, auth_file ? auth_file : use, &cand.v[i], &e);
		if (r == 0)
			break;
		if (i + 1 == cand.n || call_over(p->call)) {
			r = err_move(err, &e);
			break;
		}
		log_debug("Error pulling image: %s", err_text(&e));
		err_clear(&e);
		r = 0;
	}
	if (auth_file)
		(void)unlink(auth_file);
	return r;
}
