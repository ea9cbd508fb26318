/* registry.c: sessions, requests, redirects, manifests. */
#include <string.h>

#include "core/conf/registries.h"
#include "core/image/registry_priv.h"
#include "core/util/json.h"
#include "core/util/log.h"

#define REDIRECTS_MAX 10
#define TRIES_MAX 3
#define SEC 1000000000LL

/* ---- sessions ---- */

void registry_close(struct registry_session *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_ep; i++) {
		struct endpoint *ep = &s->ep[i];

		free(ep->host);
		free(ep->repo);
		free(ep->base);
		certs_release(&ep->certs);
		cred_release(&ep->cred);
		if (ep->authorization)
			explicit_bzero(ep->authorization, strlen(ep->authorization));
		free(ep->authorization);
		(void)pthread_mutex_destroy(&ep->lock);
	}
	free(s->ep);
	reference_release(&s->ref);
	cred_release(&s->request_cred);
	free(s);
}

static int endpoint_init(struct registry_session *s, struct endpoint *ep, const struct registry_endpoint *from,
			 crio_err *err)
{
	int r;

	(void)pthread_mutex_init(&ep->lock, NULL);
	s->n_ep++;
	ep->insecure = from->insecure;
	ep->mirror = from->mirror;
	ep->host = strdup(from->host);
	ep->repo = strdup(from->repo);
	if (!ep->host || !ep->repo || cred_init(&ep->cred) < 0)
		return err_nomem(err);
	if (!reference_domain_ok(ep->host) || !reference_path_ok(ep->repo))
		return err_set(err, CRIO_E_INVALID,
			       "registries.conf: location '%.200s/%.200s' is not host[:port]/repository", ep->host,
			       ep->repo);
	r = certs_load(s->env.certs_dir, ep->host, &ep->certs, err);
	if (r < 0)
		return r;
	ep->tls = (struct http_tls){ep->insecure, ep->certs.ca_pem, ep->certs.cert_file, ep->certs.key_file};
	return 0;
}

int registry_open(const struct registry_env *env, crio_call *call, const struct reference *ref, const struct cred *cred,
		  struct registry_session **ret, crio_err *err)
{
	cleanup_registry struct registry_session *s = calloc(1, sizeof(*s));
	cleanup_endpoints struct registry_endpoints eps = {0};
	cleanup_free char *repo = NULL;
	int r = call_check(call, "pull", err);

	if (r < 0)
		return r;
	if (!s || reference_copy(&s->ref, ref) < 0 || cred_init(&s->request_cred) < 0 ||
	    (cred && cred_copy(&s->request_cred, cred) < 0))
		return err_nomem(err);
	s->env = *env;
	repo = reference_repo(ref);
	if (!repo)
		return err_nomem(err);
	r = registries_resolve(env->registries, repo, *ref->digest != 0, &eps, err);
	if (r < 0)
		return r;
	s->ep = calloc(eps.n ? eps.n : 1, sizeof(*s->ep));
	if (!s->ep)
		return err_nomem(err);
	for (size_t i = 0; i < eps.n; i++) {
		r = endpoint_init(s, &s->ep[i], &eps.v[i], err);
		if (r < 0)
			return r;
	}
	if (!s->n_ep)
		return err_set(err, CRIO_E_INTERNAL, "no registry to ask for %s", repo);
	*ret = move_ptr(s);
	return 0;
}

bool registry_unreachable(const struct registry_session *s)
{
	return s->unreachable;
}

/* ---- requests ---- */

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static int next_hop(const struct endpoint *ep, const char *from, const char *location, bool *foreign, char **ret,
		    crio_err *err)
{
	cleanup_url struct url old = {0}, new = {0};
	int r = url_parse(from, NULL, &old, err);

	if (r == 0)
		r = url_parse(location, from, &new, err);
	if (r < 0)
		return err_wrap(err, "registry %s redirects", ep->host);
	if (str_eq(old.scheme, "https") && str_eq(new.scheme, "http") && !ep->insecure)
		return err_set(err, CRIO_E_DENIED, "registry %s redirects from https to http (%s): refused", ep->host,
			       new.host);
	if (url_is_link_local(&new) && !url_same_host(&old, &new))
		return err_set(err, CRIO_E_DENIED, "registry %s redirects to a link-local address (%s): refused",
			       ep->host, new.host);
	/* For good: a way back to the first host may be the other one's doing. */
	if (!url_same_host(&old, &new))
		*foreign = true;
	*ret = url_text(&new);
	return *ret ? 0 : err_nomem(err);
}

static int send_one(struct registry_session *s, struct endpoint *ep, crio_call *call, const struct request *rq,
		    const char *url, const char *authorization, bool foreign, struct http_xfer **ret,
		    enum http_fail *ret_fail, crio_err *err)
{
	struct http_tls tls = ep->tls;
	cleanup_strv struct strv headers = STRV_INIT;
	struct http_args a = {
	    .method = rq->method, .url = url, .body = rq->body, .limits = &s->env.limits, .range_from = rq->range_from};

	if (rq->headers && strv_copy(&headers, rq->headers) < 0)
		return err_nomem(err);
	if (strv_addf(&headers, "User-Agent: %s", s->env.user_agent) < 0 ||
	    (authorization && !foreign && strv_addf(&headers, "Authorization: %s", authorization) < 0))
		return err_nomem(err);
	if (foreign)
		tls.cert_file = tls.key_file = NULL;
	a.headers = &headers;
	a.tls = &tls;
	return http_open(s->env.http, call, &a, ret, ret_fail, err);
}

int request_follow(struct registry_session *s, struct endpoint *ep, crio_call *call, const struct request *rq,
		   const char *authorization, struct http_xfer **ret, bool *ret_foreign, enum http_fail *ret_fail,
		   crio_err *err)
{
	cleanup_free char *url = strdup(rq->url);
	/* A token service is another host than the registry: no client certificate for it. */
	cleanup_url struct url to = {0}, base = {0};
	bool foreign = false, other;
	int r;

	*ret_fail = HTTP_FAIL_OTHER;
	if (!url)
		return err_nomem(err);
	r = url_parse(url, NULL, &to, err);
	if (r == 0)
		r = url_parse(ep->base, NULL, &base, err);
	if (r < 0)
		return r;
	other = !url_same_host(&to, &base);
	for (int hop = 0; hop <= REDIRECTS_MAX; hop++) {
		cleanup_http_xfer struct http_xfer *x = NULL;
		struct endpoint as = *ep;
		char *next = NULL;

		if (other)
			as.tls.cert_file = as.tls.key_file = NULL;
		r = send_one(s, &as, call, rq, url, authorization, foreign, &x, ret_fail, err);
		if (r < 0)
			return r;
		if (!is_redirect(http_head(x)->status) || str_eq(rq->method, "POST") || !*http_head(x)->location) {
			*ret = move_ptr(x);
			*ret_foreign = foreign;
			return 0;
		}
		*ret_fail = HTTP_FAIL_OTHER;
		r = next_hop(ep, url, http_head(x)->location, &foreign, &next, err);
		if (r < 0)
			return r;
		free(url);
		url = next;
	}
	return err_set(err, CRIO_E_UNAVAILABLE, "registry %s: more than %d redirects", ep->host, REDIRECTS_MAX);
}

/* Retry-After in seconds wins over the back-off, within reason. */
static int wait_again(struct registry_session *s, crio_call *call, const struct http_head *h, int try, crio_err *err)
{
	int64_t ns = s->env.backoff_ns << try, secs;

	if (h && str_to_i64(h->retry_after, 0, 30, &secs) && secs * SEC > ns)
		ns = secs * SEC;
	return call_sleep(call, ns, err);
}

int endpoint_request(struct registry_session *s, struct endpoint *ep, crio_call *call, const struct request *rq,
		     struct http_xfer **ret, enum http_fail *ret_fail, crio_err *err)
{
	bool answered = false;

	for (int try = 0;;) {
		cleanup_http_xfer struct http_xfer *x = NULL;
		cleanup_free char *auth = NULL;
		struct crio_err e = ERR_INIT;
		unsigned int gen;
		bool foreign = false;
		int r, status;

		auth = auth_header(ep, &gen);
		r = request_follow(s, ep, call, rq, auth, &x, &foreign, ret_fail, &e);
		if (r < 0) {
			if (*ret_fail != HTTP_FAIL_BROKEN || ++try >= TRIES_MAX)
				return err_move(err, &e);
			log_debug("%s: trying again", err_text(&e));
			err_clear(&e);
			r = wait_again(s, call, NULL, try - 1, err);
			if (r < 0)
				return r;
			continue;
		}
		status = http_head(x)->status;
		if (status == 401 && !foreign && !answered) {
			answered = true;
			*ret_fail = HTTP_FAIL_OTHER;
			r = auth_renew(s, ep, call, http_head(x), gen, err);
			if (r < 0)
				return r;
			continue;
		}
		if ((status == 429 || status >= 500) && ++try < TRIES_MAX) {
			log_debug("registry %s answers %d: trying again", ep->host, status);
			r = wait_again(s, call, http_head(x), try - 1, err);
			if (r < 0)
				return r;
			continue;
		}
		*ret = move_ptr(x);
		return 0;
	}
}

/* "MANIFEST_UNKNOWN" and "manifest unknown" from {"errors":[{...}]}; what is odd is left out. */
static void registry_words(struct http_xfer *x, char code[64], char message[256])
{
	CLEANUP(buf_release) struct buf body = BUF_INIT;
	cleanup_json struct json_object *doc = NULL;
	struct json_object *list, *first;

	*code = *message = 0;
	if (http_body(x, 65536, &body, NULL, NULL) < 0 || json_parse(body.p ? body.p : "", body.n, &doc, NULL) < 0 ||
	    !json_object_is_type(doc, json_type_object))
		return;
	list = json_arr(doc, "errors");
	first = list && json_object_array_length(list) ? json_object_array_get_idx(list, 0) : doc;
	if (!json_object_is_type(first, json_type_object))
		return;
	if (str_is_printable(json_str(first, "code")))
		(void)snprintf(code, 64, "%s", json_str(first, "code"));
	if (str_is_printable(json_str(first, "message")))
		(void)snprintf(message, 256, "%s", json_str(first, "message"));
	else if (str_is_printable(json_str(first, "details"))) /* a token service's */
		(void)snprintf(message, 256, "%s", json_str(first, "details"));
}

int answer_error(struct http_xfer *x, crio_err *err)
{
	int status = http_head(x)->status;
	char code[64], message[256];

	registry_words(x, code, message);
	switch (status) {
	case 401:
		return err_set(err, CRIO_E_UNAUTHENTICATED, "unauthorized: %s",
			       *message ? message : "authentication required");
	case 403:
		return err_set(err, CRIO_E_DENIED, "%s",
			       *message ? message : "requested access to the resource is denied");
	case 404:
		if (str_eq(code, "NAME_UNKNOWN"))
			return err_set(err, CRIO_E_NOT_FOUND, "name unknown: %s",
				       *message ? message : "repository name not known to registry");
		return err_set(err, CRIO_E_NOT_FOUND, "%s", *message ? message : "manifest unknown");
	case 429:
		return err_set(err, CRIO_E_UNAVAILABLE, "toomanyrequests: %s",
			       *message ? message : "too many requests");
	default:
		return err_set(err, status >= 500 ? CRIO_E_UNAVAILABLE : CRIO_E_INTERNAL,
			       "the registry answered %d%s%s", status, *message ? ": " : "", message);
	}
}

/* ---- manifests ---- */

/* An insecure registry may speak TLS (unverified) or plain HTTP: ask. */
static int find_scheme(struct registry_session *s, struct endpoint *ep, crio_call *call, enum http_fail *fail,
		       crio_err *err)
{
	const char *api = str_eq(ep->host, "docker.io") ? "registry-1.docker.io" : ep->host;
	struct buf b = BUF_INIT;

	if (ep->base)
		return 0;
	*fail = HTTP_FAIL_OTHER;
	if (ep->insecure) {
		cleanup_http_xfer struct http_xfer *x = NULL;
		cleanup_free char *url = NULL;
		struct http_args a = {.method = "GET", .limits = &s->env.limits, .tls = &ep->tls};
		struct crio_err e = ERR_INIT;
		int r;

		buf_addf(&b, "https://%s/v2/", api);
		a.url = url = buf_take(&b);
		if (!url)
			return err_nomem(err);
		r = http_open(s->env.http, call, &a, &x, fail, &e);
		if (r < 0 && *fail == HTTP_FAIL_OTHER)
			return err_move(err, &e);
		err_clear(&e);
		buf_addf(&b, "%s://%s", r < 0 ? "http" : "https", api);
	} else {
		buf_addf(&b, "https://%s", api);
	}
	ep->base = buf_take(&b);
	return ep->base ? 0 : err_nomem(err);
}

static int accept_headers(struct strv *h)
{
	static const char *const types[] = {MT_OCI_MANIFEST, MT_OCI_INDEX, MT_DOCKER_MANIFEST, MT_DOCKER_LIST};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strv_addf(h, "Accept: %s", types[i]) < 0)
			return CRIO_E_NOMEM;
	/* So that an old image is told from a missing one. */
	return strv_add(h, "Accept: application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1");
}

static int check_digest(const struct buf *text, const char *want, char ret_digest[DIGEST_TEXT_MAX], crio_err *err)
{
	char name[16], got[DIGEST_TEXT_MAX];
	struct digester *d;

	if (!want) {
		digest_of(text->p ? text->p : "", text->n, ret_digest);
		return 0;
	}
	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(want, ":"), want);
	d = digester_new(name);
	if (!d)
		return err_nomem(err);
	digester_add(d, text->p ? text->p : "", text->n);
	digester_finish(d, got);
	if (!str_eq(got, want))
		return err_set(err, CRIO_E_CORRUPT, "the manifest's digest is %s, not %s", got, want);
	(void)snprintf(ret_digest, DIGEST_TEXT_MAX, "%s", got);
	return 0;
}

static int get_manifest(struct registry_session *s, struct endpoint *ep, crio_call *call, const char *digest,
			struct buf *ret, char **ret_type, char ret_digest[DIGEST_TEXT_MAX], enum http_fail *fail,
			crio_err *err)
{
	const char *want = digest ? digest : *s->ref.digest ? s->ref.digest : NULL;
	cleanup_http_xfer struct http_xfer *x = NULL;
	cleanup_strv struct strv headers = STRV_INIT;
	cleanup_free char *url = NULL, *type = NULL;
	struct request rq = {"GET", NULL, &headers, NULL, 0};
	struct buf b = BUF_INIT;
	int r = find_scheme(s, ep, call, fail, err);

	if (r < 0)
		return r;
	*fail = HTTP_FAIL_OTHER;
	buf_addf(&b, "%s/v2/%s/manifests/%s", ep->base, ep->repo, want ? want : s->ref.tag);
	rq.url = url = buf_take(&b);
	if (!url || accept_headers(&headers) < 0)
		return err_nomem(err);
	r = endpoint_request(s, ep, call, &rq, &x, fail, err);
	if (r < 0)
		return r;
	if (http_head(x)->status != 200)
		return answer_error(x, err);
	if (http_head(x)->length > MANIFEST_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "a manifest of %lld bytes, more than %u",
			       (long long)http_head(x)->length, MANIFEST_MAX);
	buf_clear(ret);
	r = http_body(x, MANIFEST_MAX, ret, fail, err);
	if (r == 0)
		r = check_digest(ret, want, ret_digest, err);
	if (r < 0)
		return r;
	type = strdup(http_head(x)->type);
	if (!type)
		return err_nomem(err);
	*ret_type = move_ptr(type);
	return 0;
}

int registry_manifest(struct registry_session *s, crio_call *call, const char *digest, struct buf *ret, char **ret_type,
		      char ret_digest[DIGEST_TEXT_MAX], crio_err *err)
{
	size_t first = s->chosen ? s->current : 0, end = s->chosen ? s->current + 1 : s->n_ep;
	CLEANUP(buf_release) struct buf mirrors = BUF_INIT;
	const char *what = digest ? digest : *s->ref.digest ? s->ref.digest : s->ref.tag;
	struct crio_err e = ERR_INIT;
	int r = 0;

	buf_init(&mirrors, 2048);
	for (size_t i = first; i < end; i++) {
		enum http_fail fail = HTTP_FAIL_OTHER;

		r = get_manifest(s, &s->ep[i], call, digest, ret, ret_type, ret_digest, &fail, &e);
		if (r == 0) {
			s->current = i;
			s->chosen = true;
			s->unreachable = false;
			return 0;
		}
		s->unreachable = fail == HTTP_FAIL_CONNECT;
		if (call_over(call))
			break;
		if (i + 1 < end) {
			log_debug("registry %s: %s", s->ep[i].host, err_text(&e));
			buf_addf(&mirrors, "%s%s: %s", mirrors.n ? "; " : "", s->ep[i].host, err_text(&e));
			err_clear(&e);
		}
	}
	(void)err_move(err, &e);
	if (mirrors.n && err)
		(void)err_set(err, r, "%s (Mirrors also failed: [%s])", err_text(err), mirrors.p);
	(void)err_wrap(err, "reading manifest %s in %s/%s", what, s->ref.domain, s->ref.path);
	return r;
}
