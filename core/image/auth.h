/*
 * auth.h: credentials for registries and the challenges registries send. Pure functions and file reading; who gets to
 * see a credential is decided in registry.c. Nothing here logs or puts into an error what is secret.
 */
#ifndef IMAGE_AUTH_H
#define IMAGE_AUTH_H

#include <stdbool.h>

#include "core/exec/call.h"
#include "core/image/image.h"
#include "core/util/str.h"

/* All strings set, "" for none. */
struct cred {
	char *username, *password;
	char *identity_token; /* refresh token for the token service */
	char *registry_token; /* bearer token, sent as it is */
};
void cred_release(struct cred *c); /* wipes */
#define cleanup_cred CLEANUP(cred_release)
int cred_init(struct cred *c);
int cred_copy(struct cred *dst, const struct cred *src);
bool cred_is_set(const struct cred *c);

/* From a PullImage request. INVALID: auth is not base64 of "user:password", or a value with control characters. */
int cred_of_request(const struct image_auth *a, struct cred *ret, crio_err *err);

/* Where credentials are looked for. */
struct auth_sources {
	const char *file;	    /* this file alone, then; NULL or "": the default places */
	const struct strv *helpers; /* of registries.conf; may be NULL */
};
/*
 * For a repository ("docker.io/library/busybox"). Files are in the form of docker's config.json and
 * containers-auth.json: the longest key of "auths" that is a parent of the repository wins; credHelpers are run
 * (docker-credential-<name> get). The default places: $XDG_RUNTIME_DIR/containers/auth.json or
 * /run/containers/<uid>/auth.json, $HOME/.config/containers/auth.json, $HOME/.docker/config.json, $HOME/.dockercfg. ret
 * is initialised; it stays empty when there is nothing.
 */
int auth_find(const struct auth_sources *src, crio_call *call, const char *repo, struct cred *ret, crio_err *err);
/* One file's text; separate for tests. *ret_helper (the caller's, "" none): the credHelper that has the answer. */
int auth_find_in_text(const char *text, size_t n, const char *repo, bool legacy, struct cred *ret, char **ret_helper,
		      crio_err *err);

/* ---- WWW-Authenticate ---- */

enum challenge_scheme { CHALLENGE_NONE = 0, CHALLENGE_BASIC, CHALLENGE_BEARER };
struct challenge {
	enum challenge_scheme scheme;
	char *realm, *service, *scope; /* of Bearer; "" absent */
};
void challenge_release(struct challenge *c);
#define cleanup_challenge CLEANUP(challenge_release)
/* The first Basic or Bearer challenge of the headers; scheme NONE when there is none that can be used. */
int challenge_pick(const struct strv *headers, struct challenge *ret, crio_err *err);

/* ---- base64 ---- */
char *base64_encode(const void *p, size_t n); /* the caller's; NULL without memory */
/* Standard alphabet, padding optional. False: not base64 or no memory. The bytes get a NUL after them. */
bool base64_decode(const char *s, char **ret, size_t *ret_n);

#endif
