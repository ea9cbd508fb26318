/*
 * pull.c: PullImage. A transfer runs on a thread of its own and belongs to everyone who asked for the same: each caller
 * waits with its own deadline and may leave; when the last has left the transfer is cancelled.
 */
#include <string.h>

#include "core/image/pull.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define SEC 1000000000LL

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

static void *transfer_thread(void *arg)
{
	struct pull *p = arg, **at;
	struct images *is = p->is;
	struct crio_err e = ERR_INIT;
	int r = pull_transfer(p, &e);

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
	buf_addf(&b, "%s\n%s\n%s\n%s\n%s\n%s\n%s", ref, driver, ns, c->username, c->password, c->identity_token,
		 c->registry_token);
	return buf_take(&b);
}

static struct pull *pull_new(struct images *is, const char *ref, const char *driver, const char *ns,
			     const struct cred *c)
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
	if (p->key && p->ref && p->driver && p->ns && p->call && cred_init(&p->cred) == 0 &&
	    cred_copy(&p->cred, c) == 0)
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
		return err_set(
		    err, CRIO_E_DEADLINE,
		    "unable to pull image %s: timed out on waiting up to %llds for image pull progress updates", p->ref,
		    (long long)(stall_ns / SEC));
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

static int wait_for(struct images *is, struct pull *p, crio_call *call, int64_t stall_ns, char **ret_id, char **ret_ref,
		    crio_err *err)
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

int images_pull(struct images *is, crio_call *call, const struct pull_args *args, char **ret_id, char **ret_ref,
		crio_err *err)
{
	cleanup_conf const struct conf *conf = images_conf(is);
	const char *ref = args->ref ? args->ref : "", *transport = conf->image.default_transport;
	cleanup_cred struct cred cred = {0};
	struct pull *mine, *p = NULL;
	int r;

	if (str_set(transport) && !str_eq(transport, "docker://"))
		return err_set(err, CRIO_E_UNSUPPORTED, "default_transport '%.64s': only docker:// is supported",
			       transport);
	if (str_starts(ref, "docker://"))
		ref += 9;
	r = cred_of_request(&args->auth, &cred, err);
	if (r < 0)
		return r;
	auto_reload(is, conf);
	mine =
	    pull_new(is, ref, args->driver ? args->driver : "", args->pod_namespace ? args->pod_namespace : "", &cred);
	if (!mine)
		return err_nomem(err);
	r = join(is, mine, &p, err);
	(void)pthread_mutex_lock(&is->lock);
	pull_unref_locked(mine);
	(void)pthread_mutex_unlock(&is->lock);
	return r < 0 ? r : wait_for(is, p, call, conf->image.pull_progress_timeout, ret_id, ret_ref, err);
}
