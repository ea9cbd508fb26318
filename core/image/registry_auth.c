/* registry_auth.c: answering challenges: Basic, and tokens from the service that the registry names. */
#include <string.h>

#include "core/image/registry_priv.h"
#include "core/util/json.h"

#define TOKEN_ANSWER_MAX (1u << 20)

char *auth_header(struct endpoint *ep, unsigned int *ret_gen)
{
	cleanup_unlock pthread_mutex_t *l = lock(&ep->lock);

	*ret_gen = ep->auth_gen;
	return ep->authorization ? strdup(ep->authorization) : NULL;
}

/* The request's own credentials are for the registry it named, not for its mirrors. */
static int load_cred(struct registry_session *s, struct endpoint *ep, crio_call *call, crio_err *err)
{
	struct auth_sources src = {s->env.auth_file, s->env.helpers};
	cleanup_free char *repo = NULL;
	struct buf b = BUF_INIT;
	int r;

	if (ep->cred_loaded)
		return 0;
	if (cred_is_set(&s->request_cred) && str_eq(ep->host, s->ref.domain)) {
		r = cred_copy(&ep->cred, &s->request_cred);
		if (r < 0)
			return err_nomem(err);
	} else {
		buf_addf(&b, "%s/%s", ep->host, ep->repo);
		repo = buf_take(&b);
		if (!repo)
			return err_nomem(err);
		r = auth_find(&src, call, repo, &ep->cred, err);
		if (r < 0)
			return r;
	}
	ep->cred_loaded = true;
	return 0;
}

static int set_auth(struct endpoint *ep, const char *scheme, const char *value, crio_err *err)
{
	struct buf b = BUF_INIT;
	char *s;

	buf_addf(&b, "%s %s", scheme, value);
	s = buf_take(&b);
	if (!s)
		return err_nomem(err);
	if (ep->authorization)
		explicit_bzero(ep->authorization, strlen(ep->authorization));
	free(ep->authorization);
	ep->authorization = s;
	ep->auth_gen++;
	return 0;
}

static char *basic_value(const struct cred *c)
{
	struct buf b = BUF_INIT;
	char *text, *enc;

	buf_addf(&b, "%s:%s", c->username, c->password);
	text = buf_take(&b);
	enc = text ? base64_encode(text, strlen(text)) : NULL;
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
	return enc;
}

static int check_realm(const struct endpoint *ep, const char *realm, crio_err *err)
{
	cleanup_url struct url u = {0}, base = {0};
	int r = url_parse(realm, NULL, &u, err);

	if (r == 0)
		r = url_parse(ep->base, NULL, &base, err);
	if (r < 0)
		return err_wrap(err, "the token service that registry %s names", ep->host);
	if (str_eq(base.scheme, "https") && !str_eq(u.scheme, "https") && !ep->insecure)
		return err_set(err, CRIO_E_DENIED, "registry %s names a token service that is not https (%s): refused",
			       ep->host, u.host);
	if (url_is_link_local(&u) && !url_same_host(&u, &base))
		return err_set(err, CRIO_E_DENIED, "registry %s names a link-local token service (%s): refused",
			       ep->host, u.host);
	return 0;
}

static void add_param(struct buf *b, char *sep, const char *name, const char *value)
{
	buf_addf(b, "%s%s=", sep, name);
	url_escape(b, value);
	sep[0] = '&';
}

/* service and scope: what we need, and what the registry asks for when that is to pull as well. */
static void add_scopes(struct buf *b, char *sep, const struct endpoint *ep, const struct challenge *c)
{
	struct buf want = BUF_INIT;

	buf_addf(&want, "repository:%s:pull", ep->repo);
	if (*c->service)
		add_param(b, sep, "service", c->service);
	if (want.p)
		add_param(b, sep, "scope", want.p);
	else
		b->oom = true;
	if (*c->scope && want.p && !str_eq(c->scope, want.p) && str_starts(c->scope, "repository:") &&
	    str_ends(c->scope, ":pull"))
		add_param(b, sep, "scope", c->scope);
	buf_release(&want);
}

static int token_of_answer(const struct buf *body, char **ret, crio_err *err)
{
	cleanup_json struct json_object *doc = NULL;
	const char *t;
	int r = json_parse(body->p ? body->p : "", body->n, &doc, err);

	if (r < 0)
		return r;
	t = json_str(doc, "token");
	if (!*t)
		t = json_str(doc, "access_token");
	if (!*t)
		return err_set(err, CRIO_E_UNAUTHENTICATED, "no token in the answer");
	if (!str_is_printable(t))
		return err_set(err, CRIO_E_CORRUPT, "the token has control characters");
	*ret = strdup(t);
	return *ret ? 0 : err_nomem(err);
}

static int send_token_request(struct registry_session *s, struct endpoint *ep, crio_call *call,
			      const struct request *rq, const char *auth, char **ret, crio_err *err)
{
	cleanup_http_xfer struct http_xfer *x = NULL;
	CLEANUP(buf_release) struct buf body = BUF_INIT;
	enum http_fail fail;
	bool foreign;
	int r;

	for (int try = 0;; try++) {
		r = request_follow(s, ep, call, rq, auth, &x, &foreign, &fail, err);
		if (r < 0)
			return r;
		if (try >= 2 || (http_head(x)->status != 429 && http_head(x)->status < 500))
			break;
		http_close(x);
		x = NULL;
		r = call_sleep(call, s->env.backoff_ns << try, err);
		if (r < 0)
			return r;
	}
	if (http_head(x)->status != 200)
		return answer_error(x, err);
	r = http_body(x, TOKEN_ANSWER_MAX, &body, NULL, err);
	if (r == 0)
		r = token_of_answer(&body, ret, err);
	if (body.p)
		explicit_bzero(body.p, body.n);
	return r;
}

static int fetch_token(struct registry_session *s, struct endpoint *ep, crio_call *call, const struct challenge *c,
		       char **ret, crio_err *err)
{
	CLEANUP(buf_release) struct buf url = BUF_INIT, form = BUF_INIT, auth = BUF_INIT;
	struct request rq = {"GET", NULL, NULL, NULL, 0};
	char sep[2] = "";
	int r = check_realm(ep, c->realm, err);

	if (r < 0)
		return r;
	if (*ep->cred.identity_token) {
		add_param(&form, sep, "grant_type", "refresh_token");
		add_param(&form, sep, "client_id", "crio");
		add_scopes(&form, sep, ep, c);
		add_param(&form, sep, "refresh_token", ep->cred.identity_token);
		rq.method = "POST";
		rq.url = c->realm;
		rq.body = form.p;
	} else {
		sep[0] = strchr(c->realm, '?') ? '&' : '?';
		buf_adds(&url, c->realm);
		if (*ep->cred.username) {
			cleanup_free char *basic = basic_value(&ep->cred);

			if (!basic)
				return err_nomem(err);
			add_param(&url, sep, "account", ep->cred.username);
			buf_addf(&auth, "Basic %s", basic);
		}
		add_scopes(&url, sep, ep, c);
		rq.url = url.p;
	}
	if (buf_bad(&url) || buf_bad(&form) || buf_bad(&auth))
		return err_nomem(err);
	r = send_token_request(s, ep, call, &rq, auth.p, ret, err);
	return r < 0 ? err_wrap(err, "token for %s/%s", ep->host, ep->repo) : 0;
}

static int no_cred(const struct endpoint *ep, crio_err *err)
{
	return err_set(err, CRIO_E_UNAUTHENTICATED, "unauthorized: authentication required (no credentials for %s/%s)",
		       ep->host, ep->repo);
}

int auth_renew(struct registry_session *s, struct endpoint *ep, crio_call *call, const struct http_head *head,
	       unsigned int gen, crio_err *err)
{
	cleanup_challenge struct challenge c = {0};
	cleanup_unlock pthread_mutex_t *l = lock(&ep->lock);
	cleanup_free char *value = NULL;
	int r;

	if (ep->auth_gen != gen) /* another thread has just done it */
		return 0;
	r = challenge_pick(&head->challenges, &c, err);
	if (r == 0)
		r = load_cred(s, ep, call, err);
	if (r < 0)
		return r;
	if (*ep->cred.registry_token) {
		if (ep->authorization)
			return err_set(err, CRIO_E_UNAUTHENTICATED,
				       "unauthorized: registry %s does not take the given token", ep->host);
		return set_auth(ep, "Bearer", ep->cred.registry_token, err);
	}
	switch (c.scheme) {
	case CHALLENGE_BASIC:
		if (!*ep->cred.username)
			return no_cred(ep, err);
		if (ep->authorization)
			return err_set(err, CRIO_E_UNAUTHENTICATED,
				       "unauthorized: authentication required (registry %s refused the credentials)",
				       ep->host);
		value = basic_value(&ep->cred);
		return value ? set_auth(ep, "Basic", value, err) : err_nomem(err);
	case CHALLENGE_BEARER:
		r = fetch_token(s, ep, call, &c, &value, err);
		return r < 0 ? r : set_auth(ep, "Bearer", value, err);
	default:
		return err_set(err, CRIO_E_UNAUTHENTICATED,
			       "unauthorized: authentication required (registry %s asks for it in no way known here)",
			       ep->host);
	}
}
