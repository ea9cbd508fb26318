/* tls.c: OpenSSL's contexts, made anew when the files change. */
#include "core/stream/tls.h"

#include <openssl/err.h>
#include <sys/stat.h>

#include "core/util/log.h"

enum file { CERT, KEY, CA, FILES };

struct tls {
	const char *who;
	char *path[FILES];
	struct stat seen[FILES]; /* as of the last look, whatever came of it */
	char *ciphers;		  /* in OpenSSL's names; NULL: its choice */
	bool only_13;
	SSL_CTX *ctx;
};

/* The last of OpenSSL's errors, and none of them is left. */
static int fail(crio_err *err, int code, const char *what, const char *path)
{
	unsigned long e = ERR_peek_last_error();
	const char *why = e ? ERR_reason_error_string(e) : NULL;
	ERR_clear_error();
	return err_set(err, code, "%s %s: %s", what, path, why ? why : "OpenSSL says no more");
}

/* The chosen suites in OpenSSL's names. Those of TLS 1.3 are not chosen, as Go does not either. */
static int find_ciphers(struct tls *t, const struct strv *names, crio_err *err)
{
	static const char *const of_13[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256" };
	cleanup_buf struct buf b = BUF_INIT;
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx || SSL_CTX_set_cipher_list(ctx, "ALL:COMPLEMENTOFALL") != 1) {
		SSL_CTX_free(ctx);
		return fail(err, CRIO_E_INTERNAL, "list cipher suites of", "OpenSSL");
	}
	STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
	int r = 0;
	for (size_t i = 0; i < names->n && r == 0; i++) {
		const char *want = names->v[i], *found = NULL;
		bool is_13 = false;
		for (size_t k = 0; k < ARRAY_SIZE(of_13); k++)
			is_13 = is_13 || str_eq(want, of_13[k]);
		for (int k = 0; !is_13 && !found && k < sk_SSL_CIPHER_num(all); k++) {
			const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, k);
			const char *name = SSL_CIPHER_standard_name(c);
			/* Go has two names without their hash, for its own sake. */
			if (name && (str_eq(name, want) || (str_starts(name, want) && str_eq(name + strlen(want), "_SHA256"))))
				found = SSL_CIPHER_get_name(c);
		}
		if (found)
			buf_addf(&b, "%s%s", b.n ? ":" : "", found);
		else if (!is_13)
			r = err_set(err, CRIO_E_INVALID, "tls_cipher_suites: '%.100s' is no cipher suite of this OpenSSL", want);
	}
	SSL_CTX_free(ctx);
	if (r < 0 || !b.n)
		return r;
	t->ciphers = buf_take(&b);
	return t->ciphers ? 0 : err_nomem(err);
}

static int load(struct tls *t, SSL_CTX *ctx, crio_err *err)
{
	if (SSL_CTX_set_min_proto_version(ctx, t->only_13 ? TLS1_3_VERSION : TLS1_2_VERSION) != 1)
		return fail(err, CRIO_E_INTERNAL, "set the lowest version of", "TLS");
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* What a write could not send may be sent from another place; memory goes back when a connection is quiet. */
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	if (t->ciphers && SSL_CTX_set_cipher_list(ctx, t->ciphers) != 1)
		return fail(err, CRIO_E_INVALID, "use the cipher suites", t->ciphers);
	if (SSL_CTX_use_certificate_chain_file(ctx, t->path[CERT]) != 1)
		return fail(err, CRIO_E_INVALID, "read the certificate", t->path[CERT]);
	if (SSL_CTX_use_PrivateKey_file(ctx, t->path[KEY], SSL_FILETYPE_PEM) != 1)
		return fail(err, CRIO_E_INVALID, "read the key", t->path[KEY]);
	if (SSL_CTX_check_private_key(ctx) != 1)
		return fail(err, CRIO_E_INVALID, "the key does not belong to the certificate:", t->path[KEY]);
	if (!*t->path[CA])
		return 0;
	if (SSL_CTX_load_verify_file(ctx, t->path[CA]) != 1)
		return fail(err, CRIO_E_INVALID, "read the certificate authorities of clients from", t->path[CA]);
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(t->path[CA]);
	if (!names)
		return fail(err, CRIO_E_INVALID, "read the certificate authorities of clients from", t->path[CA]);
	SSL_CTX_set_client_CA_list(ctx, names);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return 0;
}

/* Looks at the files; true: one is not what it was. */
static bool changed(struct tls *t)
{
	bool any = false;
	for (int i = 0; i < FILES; i++) {
		struct stat st = { .st_ino = 0 };
		const struct stat *old = &t->seen[i];
		if (!*t->path[i])
			continue;
		if (stat(t->path[i], &st) < 0)
			st = (struct stat){ .st_ino = 0 };
		if (st.st_ino != old->st_ino || st.st_dev != old->st_dev || st.st_size != old->st_size ||
		    st.st_mtim.tv_sec != old->st_mtim.tv_sec || st.st_mtim.tv_nsec != old->st_mtim.tv_nsec)
			any = true;
		t->seen[i] = st;
	}
	return any;
}

static int renew(struct tls *t, crio_err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx)
		return fail(err, CRIO_E_NOMEM, "set up", "TLS");
	int r = load(t, ctx, err);
	if (r < 0) {
		SSL_CTX_free(ctx);
		return r;
	}
	SSL_CTX_free(t->ctx); /* connections have references of their own */
	t->ctx = ctx;
	return 0;
}

int tls_new(const struct tls_args *a, struct tls **ret, crio_err *err)
{
	struct tls *t = calloc(1, sizeof(*t));
	if (!t)
		return err_nomem(err);
	t->who = a->who;
	t->only_13 = a->only_13;
	t->path[CERT] = strdup(a->cert);
	t->path[KEY] = strdup(a->key);
	t->path[CA] = strdup(a->ca);
	int r = t->path[CERT] && t->path[KEY] && t->path[CA] ? 0 : err_nomem(err);
	if (r == 0 && a->ciphers->n)
		r = find_ciphers(t, a->ciphers, err);
	if (r == 0) {
		(void)changed(t);
		r = renew(t, err);
	}
	if (r < 0) {
		tls_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	for (int i = 0; i < FILES; i++)
		free(t->path[i]);
	free(t->ciphers);
	SSL_CTX_free(t->ctx);
	free(t);
}

int tls_accept(struct tls *t, int fd, SSL **ret, crio_err *err)
{
	if (changed(t)) {
		cleanup_err crio_err why = ERR_INIT;
		if (renew(t, &why) < 0)
			log_warn("%s keeps its old certificate: %s", t->who, err_text(&why));
		else
			log_info("%s uses the new certificate %s", t->who, t->path[CERT]);
	}
	SSL *ssl = SSL_new(t->ctx);
	if (!ssl || SSL_set_fd(ssl, fd) != 1) {
		SSL_free(ssl);
		return fail(err, CRIO_E_NOMEM, "accept", "a TLS connection");
	}
	SSL_set_accept_state(ssl);
	*ret = ssl;
	return 0;
}
