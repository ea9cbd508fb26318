/*
 * pull.c: PullImage. A transfer runs on a thread of its own and belongs to everyone who asked for the same: each caller waits with
 * its own deadline and may leave; when the last has left the transfer is cancelled.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "core/image/images_priv.h"
#include "core/util/fs.h"
#include "core/util/json.h"
#include "core/util/log.h"

#define SEC 1000000000LL

struct pull {
	struct pull *next;
	struct images *is;
	char *key;                    /* image, credentials, driver, namespace; secret */
	char *ref, *driver, *ns;
	struct cred cred;
	crio_call *call;              /* the transfer's */
	_Atomic int64_t last_progress_ns;
	/* Guarded by images.lock: */
	int refs;                     /* the thread's and the waiters' */
	size_t waiters;
	bool done, stalled;
	pthread_cond_t ended;
	int code;
	struct crio_err error;
	char *id, *repo_digest;
};

static void pull_unref_locked(struct pull *p)
{
	if (--p->refs)
		return;
	if (p->key)
		explicit_bzero(p->key, strlen(p->key));
	free(p->key);
	free(p->ref);
	free(p->driver);
	free(p->ns);
	cred_release(&p->cred);
	call_unref(p->call);
	err_clear(&p->error);
	free(p->id);
	free(p->repo_digest);
	(void)pthread_cond_destroy(&p->ended);
	free(p);
}

/* ---- the transfer ---- */

/* <namespaced_auth_dir>/<namespace>-<sha256 of the repository>.json is for one pull: moved away so that no other takes it. *ret is
 * NULL when there is none; else who got it removes it. */
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
	struct buf top, text;               /* the first document, and the image's manifest when that is another */
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
		struct manifest m = { 0 };
		cleanup_free char *sub_type = NULL;
		size_t i = 0;

		if (depth >= MANIFEST_DEPTH_MAX)
			return err_set(err, CRIO_E_EXHAUSTED, "indexes within indexes, more than %d deep", MANIFEST_DEPTH_MAX);
		r = manifest_choose(&f->m, &here, &i, err);
		if (r < 0)
			return r;
		r = registry_manifest(s, call, f->m.entries[i].d.digest, &f->text, &sub_type, f->digest, err);
		if (r < 0)
			return r;
		if ((int64_t)f->text.n != f->m.entries[i].d.size)
			return err_set(err, CRIO_E_CORRUPT, "manifest %s: %zu bytes instead of %lld", f->digest, f->text.n,
				       (long long)f->m.entries[i].d.size);
		r = manifest_parse(f->text.p ? f->text.p : "", f->text.n, sub_type, &m, err);
		if (r < 0)
			return r;
		manifest_release(&f->m);
		f->m = m;
	}
	return 0;
}

/* The config, from a store that has it or from the registry. */
static int fetch_config(struct images *is, struct registry_session *s, crio_call *call, const struct descriptor *d, struct buf *ret, crio_err *err)
{
	struct store *st;

	if (!str_starts(d->digest, "sha256:"))
		return err_set(err, CRIO_E_UNSUPPORTED, "config digest %s: only sha256 can be an image's id", d->digest);
	for (size_t i = 0; (st = images_store_at(is, i)); i++) {
		cleanup_free char *text = NULL;
		size_t n;

		if (store_image_big_get(st, digest_hex(d->digest), d->digest, MANIFEST_MAX, &text, &n, NULL) == 0) {
			buf_add(ret, text, n);
			return buf_bad(ret) ? err_nomem(err) : 0;
		}
	}
	return registry_blob_get(s, call, d, MANIFEST_MAX, ret, err);
}

static int record(struct pull *p, struct store *st, const struct fetched *f, const struct buf *config, const struct image *im,
		  const struct reference *ref, const char *top_layer, crio_err *err)
{
	cleanup_free char *name = reference_text(ref), *top_key = path_fmt("manifest-%s", f->top_digest);
	const struct buf *m = f->text.n ? &f->text : &f->top;
	struct store_big_data big[3] = {
		{ "manifest", m->p, m->n },
		{ f->m.config.digest, config->p ? config->p : "", config->n },
		{ top_key, f->top.p, f->top.n },
	};
	struct store_image_args a = { .id = im->id, .digest = f->digest, .layer = top_layer, .big = big, .n_big = f->text.n ? 3 : 2 };

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
	CLEANUP(fetched_release) struct fetched f = { 0 };
	CLEANUP(buf_release) struct buf config = BUF_INIT;
	cleanup_image_ref struct image *im = NULL;
	cleanup_strv struct strv diff_ids = STRV_INIT;
	struct layers_args la = { .is = p->is, .diff_ids = &diff_ids, .session = s, .last_progress_ns = &p->last_progress_ns };
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
		return err_set(err, CRIO_E_CORRUPT, "the manifest has %zu layers, the config %zu", f.m.n_layers, diff_ids.n);
	la.blobs = f.m.layers;
	r = layers_fetch(&la, p->call, top, err);
	if (r == 0)
		r = record(p, la.store, &f, &config, im, ref, top, err);
	if (r < 0)
		return r;
	free(p->id);
	free(p->repo_digest);
	p->id = strdup(im->id);
	p->repo_digest = path_fmt("%s/%s@%s", ref->domain, ref->path, f.digest);
	return p->id && p->repo_digest ? 0 : err_nomem(err);
}

static void env_init(struct registry_env *env, struct images *is, const struct conf *conf, const struct registries *regs, const char *auth_file)
{
	int64_t stall = conf->image.pull_progress_timeout;

	memset(env, 0, sizeof(*env));
	env->http = is->http;
	env->registries = regs;
	env->certs_dir = is->certs_dir;
	env->auth_file = str_set(auth_file) ? auth_file : str_set(is->auth_file) ? is->auth_file : conf->image.global_auth_file;
	env->helpers = &regs->credential_helpers;
	env->user_agent = is->user_agent;
	env->backoff_ns = SEC;
	http_limits_default(&env->limits);
	if (stall > 0 && stall < env->limits.answer_ns)
		env->limits.answer_ns = stall < SEC ? SEC : stall;
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
	if (r < 0)
		return r;
	r = registry_open(&env, p->call, ref, &p->cred, &s, err);
	if (r == 0)
		r = fetch_image(p, s, ref, err);
	if (r == 0)
		return 0;
	r = err_wrap(err, "unable to pull image: initializing source docker://%s", name);
	if (s && registry_unreachable(s))
		return err_wrap(err, "RegistryUnavailable");
	return r;
}

static int transfer(struct pull *p, crio_err *err)
{
	cleanup_conf const struct conf *conf = images_conf(p->is);
	cleanup_registries const struct registries *regs = images_registries(p->is);
	cleanup_references struct references cand = { 0 };
	cleanup_free char *auth_file = NULL;
	int r = images_candidates(p->is, p->ref, &cand, err);

	if (r == 0)
		r = take_namespaced_auth(conf, p->ns, p->ref, &auth_file, err);
	for (size_t i = 0; r == 0 && i < cand.n; i++) {
		struct crio_err e = ERR_INIT;

		r = pull_candidate(p, conf, regs, auth_file, &cand.v[i], &e);
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

static void *transfer_thread(void *arg)
{
	struct pull *p = arg, **at;
	struct images *is = p->is;
	struct crio_err e = ERR_INIT;
	int r = transfer(p, &e);

	(void)pthread_mutex_lock(&is->lock);
	for (at = &is->pulls; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	p->done = true;
	p->code = r;
	(void)err_move(&p->error, &e);
	if (r < 0)
		is->stats.pulls_failed++;
	else
		is->stats.pulls_ok++;
	(void)pthread_cond_broadcast(&p->ended);
	pull_unref_locked(p);
	is->ended[is->n_ended++] = pthread_self();
	if (--is->n_pulls == 0)
		(void)pthread_cond_broadcast(&is->pulls_idle);
	(void)pthread_mutex_unlock(&is->lock);
	return NULL;
}

/* ---- callers ---- */

static char *make_key(const char *ref, const char *driver, const char *ns, const struct cred *c)
{
	struct buf b = BUF_INIT;

	/* None of the parts has a newline. */
	buf_addf(&b, "%s\n%s\n%s\n%s\n%s\n%s\n%s", ref, driver, ns, c->username, c->password, c->identity_token, c->registry_token);
	return buf_take(&b);
}

static struct pull *pull_new(struct images *is, const char *ref, const char *driver, const char *ns, const struct cred *c)
{
	struct pull *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->is = is;
	p->refs = 1;
	(void)pthread_cond_init(&p->ended, NULL);
	p->key = make_key(ref, driver, ns, c);
	p->ref = strdup(ref);
	p->driver = strdup(driver);
	p->ns = strdup(ns);
	p->call = call_new("PullImage", CALL_NO_DEADLINE);
	p->last_progress_ns = now_mono_ns();
	if (p->key && p->ref && p->driver && p->ns && p->call && cred_init(&p->cred) == 0 && cred_copy(&p->cred, c) == 0)
		return p;
	pull_unref_locked(p);
	return NULL;
}

/* They have let go of the lock or are about to end without it. */
void pulls_join_locked(struct images *is)
{
	while (is->n_ended)
		(void)pthread_join(is->ended[--is->n_ended], NULL);
}

static int start_locked(struct images *is, struct pull *p, crio_err *err)
{
	pthread_t t;
	int e;

	pulls_join_locked(is);
	if (is->n_pulls >= PULLS_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "%d images are being pulled: try again later", PULLS_MAX);
	e = pthread_create(&t, NULL, transfer_thread, p);
	if (e)
		return err_errno(err, e, "start a thread for the pull");
	p->refs++;
	is->n_pulls++;
	p->next = is->pulls;
	is->pulls = p;
	return 0;
}

/* Finds the same transfer in progress, or starts `mine`. *ret has a reference and a waiter for the caller. */
static int join(struct images *is, struct pull *mine, struct pull **ret, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&is->lock);
	struct pull *p;
	int r;

	for (p = is->pulls; p; p = p->next)
		if (str_eq(p->key, mine->key) && p->waiters) /* without waiters it is being cancelled */
			break;
	if (p) {
		is->stats.pulls_shared++;
	} else {
		p = mine;
		r = start_locked(is, p, err);
		if (r < 0)
			return r;
	}
	p->refs++;
	p->waiters++;
	*ret = p;
	return 0;
}

static void check_stall(struct pull *p, int64_t limit_ns)
{
	if (limit_ns <= 0 || p->stalled || now_mono_ns() - p->last_progress_ns < limit_ns)
		return;
	p->stalled = true;
	call_cancel(p->call); /* wakes descriptors only: takes no lock of ours */
}

static void wake(void *arg)
{
	struct pull *p = arg;

	(void)pthread_cond_broadcast(&p->ended); /* a lost one is made up for by the time limit of the wait */
}

/* Waits for the end or for the caller's own. Returns with images.lock held. */
static int wait_locked(struct images *is, struct pull *p, crio_call *call, int64_t stall_ns, crio_err *err)
{
	int r = 0, id = call_on_cancel(call, wake, p, err);

	if (id < 0) {
		(void)pthread_mutex_lock(&is->lock);
		return id;
	}
	(void)pthread_mutex_lock(&is->lock);
	while (!p->done && r == 0) {
		struct timespec until;

		r = call_check(call, "pull", err);
		if (r < 0)
			break;
		check_stall(p, stall_ns);
		(void)clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 250000000;
		if (until.tv_nsec >= SEC) {
			until.tv_sec++;
			until.tv_nsec -= SEC;
		}
		(void)pthread_cond_timedwait(&p->ended, &is->lock, &until);
	}
	(void)pthread_mutex_unlock(&is->lock);
	call_off_cancel(call, id);
	(void)pthread_mutex_lock(&is->lock);
	return r;
}

static int result_locked(const struct pull *p, int64_t stall_ns, char **ret_id, char **ret_ref, crio_err *err)
{
	char *id, *ref;

	if (p->code < 0 && p->stalled)
		return err_set(err, CRIO_E_DEADLINE, "unable to pull image %s: timed out on waiting up to %llds for image pull progress updates",
			       p->ref, (long long)(stall_ns / SEC));
	if (p->code < 0)
		return err_set(err, p->code, "%s", err_text(&p->error));
	id = strdup(p->id);
	ref = strdup(p->repo_digest);
	if (!id || !ref) {
		free(id);
		free(ref);
		return err_nomem(err);
	}
	*ret_id = id;
	*ret_ref = ref;
	return 0;
}

static int wait_for(struct images *is, struct pull *p, crio_call *call, int64_t stall_ns, char **ret_id, char **ret_ref, crio_err *err)
{
	int r = wait_locked(is, p, call, stall_ns, err);
	crio_call *cancel = NULL;

	p->waiters--;
	if (r == 0)
		r = result_locked(p, stall_ns, ret_id, ret_ref, err);
	else if (!p->waiters && !p->done)
		cancel = call_ref(p->call);
	pull_unref_locked(p);
	(void)pthread_mutex_unlock(&is->lock);
	if (cancel) {
		call_cancel(cancel);
		call_unref(cancel);
	}
	return r;
}

/* registries.conf is read again when the configuration says so. */
static void auto_reload(struct images *is, const struct conf *conf)
{
	struct crio_err e = ERR_INIT;

	if (conf->image.auto_reload_registries && images_reload(is, conf, &e) < 0)
		log_error("System registries reload failed: %s", err_text(&e));
	err_clear(&e);
}

int images_pull(struct images *is, crio_call *call, const struct pull_args *args, char **ret_id, char **ret_ref, crio_err *err)
{
	cleanup_conf const struct conf *conf = images_conf(is);
	const char *ref = args->ref ? args->ref : "", *transport = conf->image.default_transport;
	cleanup_cred struct cred cred = { 0 };
	struct pull *mine, *p = NULL;
	int r;

	if (str_set(transport) && !str_eq(transport, "docker://"))
		return err_set(err, CRIO_E_UNSUPPORTED, "default_transport '%.64s': only docker:// is supported", transport);
	if (str_starts(ref, "docker://"))
		ref += 9;
	r = cred_of_request(&args->auth, &cred, err);
	if (r < 0)
		return r;
	auto_reload(is, conf);
	mine = pull_new(is, ref, args->driver ? args->driver : "", args->pod_namespace ? args->pod_namespace : "", &cred);
	if (!mine)
		return err_nomem(err);
	r = join(is, mine, &p, err);
	(void)pthread_mutex_lock(&is->lock);
	pull_unref_locked(mine);
	(void)pthread_mutex_unlock(&is->lock);
	return r < 0 ? r : wait_for(is, p, call, conf->image.pull_progress_timeout, ret_id, ret_ref, err);
}

/* ---- another driver ---- */

/* The record of the image in `to`, made from the one in `from`. */
static int copy_record(struct images *is, crio_call *call, struct store *from, const struct store_image *si, struct store *to, const char *top,
		       crio_err *err)
{
	cleanup_free struct store_big_data *big = calloc(si->n_big ? si->n_big : 1, sizeof(*big));
	struct store_image_args a = { .id = si->id, .digest = si->digest, .layer = top, .metadata = si->metadata, .names = si->names };
	int r = big ? 0 : err_nomem(err);

	for (size_t i = 0; r == 0 && i < si->n_big; i++) {
		char *text;
		size_t n;

		r = store_image_big_get(from, si->id, si->big[i].key, MANIFEST_MAX, &text, &n, err);
		if (r == 0)
			big[a.n_big++] = (struct store_big_data){ si->big[i].key, text, n };
	}
	a.big = big;
	a.created_ns = si->created_ns;
	if (r == 0)
		r = images_record(is, call, to, &a, err);
	for (size_t i = 0; i < a.n_big; i++)
		free((void *)(uintptr_t)big[i].p);
	return r;
}

static int copy_image(struct images *is, crio_call *call, struct store *from, struct store *to, const char *id, char ret_layer[65], crio_err *err)
{
	CLEANUP(store_image_unrefp) struct store_image *si = store_image_get(from, id);
	cleanup_strv struct strv layers = STRV_INIT, diff_ids = STRV_INIT;
	struct layers_args la = { .is = is, .store = to, .diff_ids = &diff_ids };
	int r;

	if (!si)
		return err_set(err, CRIO_E_NOT_FOUND, "image %s", id);
	r = store_image_layers(from, si, &layers, err);
	for (size_t i = 0; r == 0 && i < layers.n; i++) {
		cleanup_layer struct store_layer *l = store_layer_get(from, layers.v[i]);

		if (!l || !*l->diff_digest)
			r = err_set(err, CRIO_E_CORRUPT, "layer %s of image %s has no digest", layers.v[i], id);
		else if (strv_add(&diff_ids, l->diff_digest) < 0)
			r = err_nomem(err);
	}
	if (r == 0)
		r = layers_fetch(&la, call, ret_layer, err);
	return r < 0 ? r : copy_record(is, call, from, si, to, ret_layer, err);
}

int images_container_layer(struct images *is, crio_call *call, const struct image *im, const char *driver, struct store **ret_store,
			   char ret_layer[65], crio_err *err)
{
	CLEANUP(store_image_unrefp) struct store_image *si = NULL;
	struct store *to, *from;
	int r = images_store(is, call, driver, &to, err);

	if (r < 0)
		return r;
	si = store_image_get(to, im->id);
	if (si) {
		(void)snprintf(ret_layer, 65, "%s", si->layer);
		*ret_store = to;
		return 0;
	}
	r = err_set(err, CRIO_E_NOT_FOUND, "image %s", im->id);
	for (size_t i = 0; r < 0 && (from = images_store_at(is, i)); i++) {
		CLEANUP(store_image_unrefp) struct store_image *there = store_image_get(from, im->id);

		if (!there)
			continue;
		err_clear(err);
		r = copy_image(is, call, from, to, im->id, ret_layer, err);
		if (r < 0 && call_over(call))
			break;
	}
	if (r < 0)
		return err_wrap(err, "copy image %s to the %s store", im->id, store_driver(to));
	*ret_store = to;
	return 0;
}
