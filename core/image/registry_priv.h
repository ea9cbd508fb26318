/* registry_priv.h: between registry.c (requests), registry_auth.c and blob.c. */
#ifndef IMAGE_REGISTRY_PRIV_H
#define IMAGE_REGISTRY_PRIV_H

#include <pthread.h>

#include "core/image/registry.h"

/* One host to ask. Everything but what `lock` guards is fixed before blobs are opened. */
struct endpoint {
	char *host; /* as registries.conf names it */
	char *repo;
	char *base; /* "https://registry-1.docker.io", once known; NULL before */
	bool insecure, mirror;
	struct certs certs;
	struct http_tls tls;
	pthread_mutex_t lock; /* guards what follows; held over a token's request, which ends with the call */
	bool cred_loaded;
	struct cred cred;
	char *authorization;   /* "Basic ...", "Bearer ..."; NULL none yet */
	unsigned int auth_gen; /* grows with each new one */
};

struct registry_session {
	struct registry_env env;
	struct reference ref;
	struct cred request_cred;
	struct endpoint *ep;
	size_t n_ep;
	size_t current; /* the one that had the manifest, once `chosen` */
	bool chosen;
	_Atomic bool unreachable;
};

struct request {
	const char *method;
	const char *url;
	const struct strv *headers;
	const char *body;
	int64_t range_from;
};
/* Sends and follows redirects. authorization (may be NULL) goes to the URL's own host only. *ret_foreign: the answer is
 * from another host. The answer's status is anything but a redirect. */
int request_follow(struct registry_session *s, struct endpoint *ep, crio_call *call, const struct request *rq,
		   const char *authorization, struct http_xfer **ret, bool *ret_foreign, enum http_fail *ret_fail,
		   crio_err *err);
/* The same with authorization, challenges answered, and tries repeated. */
int endpoint_request(struct registry_session *s, struct endpoint *ep, crio_call *call, const struct request *rq,
		     struct http_xfer **ret, enum http_fail *ret_fail, crio_err *err);
/* Turns an answer that is no success into an error, with the text of the registry's own. */
int answer_error(struct http_xfer *x, crio_err *err);

/* A copy of what to send now, NULL for nothing; *ret_gen is its generation. NULL without memory as well (then nothing
 * is sent). */
char *auth_header(struct endpoint *ep, unsigned int *ret_gen);
/* Answers the challenge: afterwards auth_header gives something newer than `gen`. UNAUTHENTICATED, or what the token
 * service said. */
int auth_renew(struct registry_session *s, struct endpoint *ep, crio_call *call, const struct http_head *head,
	       unsigned int gen, crio_err *err);

#endif
