/*
 * registry.h: the registry's HTTP API (distribution spec) for one pull: which hosts to ask (mirrors first), TLS, who
 * gets to see credentials, tokens, redirects, retries. Rules that hold for every request:
 *   - credentials and tokens go to the registry's own host, and to the token service it names; a redirect to another
 *     scheme, host or port is followed without them, and an answer from there is never a challenge to answer;
 *   - https never becomes http, unless registries.conf calls the registry insecure;
 *   - at most 10 redirects; http and https only; no link-local addresses unless the registry is one;
 *   - 429 and 5xx are tried again, 3 times in all.
 */
#ifndef IMAGE_REGISTRY_H
#define IMAGE_REGISTRY_H

#include "core/image/auth.h"
#include "core/image/http.h"
#include "core/image/manifest.h"
#include "core/image/reference.h"
#include "core/unpack/source.h"

struct registries;

struct registry_env { /* shared by all pulls; all borrowed */
	struct http *http;
	const struct registries *registries;
	const char *certs_dir;	    /* NULL: the default places */
	const char *auth_file;	    /* "" or NULL: the default places */
	const struct strv *helpers; /* credential helpers of registries.conf; may be NULL */
	const char *user_agent;
	struct http_limits limits;
	int64_t backoff_ns; /* before the second try; doubles */
};

struct registry_session;
/* ref is finished (reference_finish). cred: of the request, for the reference's own domain only; not set: the files.
 * CRIO_E_DENIED: blocked by registries.conf. */
int registry_open(const struct registry_env *env, crio_call *call, const struct reference *ref, const struct cred *cred,
		  struct registry_session **ret, crio_err *err);
void registry_close(struct registry_session *s); /* NULL is fine */
static inline void registry_closep(struct registry_session **s)
{
	registry_close(*s);
}
#define cleanup_registry CLEANUP(registry_closep)

/* Fetches the manifest of the session's reference from the first host that has it; later calls, and blobs, go to that
 * host. The text is checked against the digest when `digest` is given (an instance of an index; NULL: the reference's
 * own tag or digest). *ret_digest is the text's own. */
int registry_manifest(struct registry_session *s, crio_call *call, const char *digest, struct buf *ret, char **ret_type,
		      char ret_digest[DIGEST_TEXT_MAX], crio_err *err);
/* True when the last failure was that no host could be reached. */
bool registry_unreachable(const struct registry_session *s);

/* A blob being downloaded, from any thread; a broken transfer goes on where it broke, 3 times. `progress` (may be NULL)
 * is called with the bytes of each piece. Its digest is the reader's to check; its size is checked here. */
struct registry_blob;
int registry_blob_open(struct registry_session *s, crio_call *call, const struct descriptor *d,
		       void (*progress)(void *arg, size_t n), void *arg, struct registry_blob **ret, crio_err *err);
ssize_t registry_blob_read(void *blob, void *p, size_t n, crio_err *err); /* a source_fn */
void registry_blob_close(struct registry_blob *b);
static inline void registry_blob_closep(struct registry_blob **b)
{
	registry_blob_close(*b);
}
#define cleanup_blob CLEANUP(registry_blob_closep)
/* A small one whole, checked against size and digest. */
int registry_blob_get(struct registry_session *s, crio_call *call, const struct descriptor *d, size_t limit,
		      struct buf *ret, crio_err *err);

/* ---- TLS material: certs.c ---- */

struct certs {
	char *ca_pem, *cert_file, *key_file; /* NULL: none */
};
void certs_release(struct certs *c);
/* <dir>/<host:port>/: each *.crt is an authority, *.cert with *.key of the same name the client's. Absent: nothing.
 * INVALID: a certificate without its key or the other way round. */
int certs_load(const char *dir, const char *host, struct certs *ret, crio_err *err);

#endif
