/* selfsigned.c: see selfsigned.h. */
#include "core/stream/selfsigned.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "core/util/fs.h"
#include "core/util/log.h"

#define LIFE_S (365 * 86400L)
#define BEFORE_S 3600L /* clocks of clients may be behind */

static void free_key(EVP_PKEY **p)
{
	EVP_PKEY_free(*p);
}
static void free_cert(X509 **p)
{
	X509_free(*p);
}
static void free_bio(BIO **p)
{
	BIO_free(*p);
}

static bool add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	bool ok = e && X509_add_ext(x, e, -1) == 1;
	X509_EXTENSION_free(e);
	return ok;
}

/* Only what a host name may consist of gets into the text of an extension. */
static bool is_host_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
	return n && n <= 63 && !s[n];
}

static bool fill(X509 *x, EVP_PKEY *k, const char *host)
{
	unsigned char serial[16];
	cleanup_free char *names = path_fmt("DNS:%s,DNS:localhost,IP:127.0.0.1,IP:::1", host);
	if (!names || RAND_bytes(serial, sizeof(serial)) != 1)
		return false;
	serial[0] &= 0x7f;
	BIGNUM *n = BN_bin2bn(serial, sizeof(serial), NULL);
	bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
	BN_free(n);
	X509_NAME *name = X509_get_subject_name(x);
	return ok && X509_set_version(x, 2) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), -BEFORE_S) &&
	       X509_gmtime_adj(X509_getm_notAfter(x), LIFE_S) && X509_set_pubkey(x, k) == 1 &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)host, -1, -1, 0) == 1 &&
	       X509_set_issuer_name(x, name) == 1 && add_extension(x, NID_subject_alt_name, names) &&
	       add_extension(x, NID_basic_constraints, "critical,CA:TRUE") &&
	       add_extension(x, NID_key_usage, "critical,digitalSignature,keyCertSign") &&
	       add_extension(x, NID_ext_key_usage, "serverAuth") && X509_sign(x, k, EVP_sha256()) > 0;
}

static int write_bio(const char *path, BIO *b, crio_err *err)
{
	cleanup_free char *dir = strdup(path);
	char *text = NULL;
	long n = BIO_get_mem_data(b, &text);
	if (!dir || n <= 0)
		return err_nomem(err);
	char *slash = strrchr(dir, '/');
	int r = 0;
	if (slash && slash > dir) {
		*slash = '\0';
		r = fs_mkdir_p(dir, 0700, err);
	}
	return r < 0 ? r : fs_write_path(path, text, (size_t)n, 0600, FS_KEEP, err);
}

int selfsigned_make(const char *cert, const char *key, crio_err *err)
{
	char host[HOST_NAME_MAX + 1] = "";
	if (access(cert, F_OK) == 0 || access(key, F_OK) == 0)
		return 0;
	if (gethostname(host, sizeof(host) - 1) < 0 || !is_host_name(host))
		(void)snprintf(host, sizeof(host), "localhost");
	log_info("Neither %s nor %s is there: a self-signed certificate of %s is made", cert, key, host);
	CLEANUP(free_key) EVP_PKEY *k = EVP_EC_gen("P-256");
	CLEANUP(free_cert) X509 *x = X509_new();
	CLEANUP(free_bio) BIO *key_text = BIO_new(BIO_s_mem());
	CLEANUP(free_bio) BIO *cert_text = BIO_new(BIO_s_mem());
	if (!k || !x || !key_text || !cert_text || !fill(x, k, host) || PEM_write_bio_PrivateKey(key_text, k, NULL, NULL, 0, NULL, NULL) != 1 ||
	    PEM_write_bio_X509(cert_text, x) != 1) {
		ERR_clear_error();
		return err_set(err, CRIO_E_INTERNAL, "make a certificate for %s: OpenSSL could not", cert);
	}
	int r = write_bio(key, key_text, err);
	return r < 0 ? r : write_bio(cert, cert_text, err);
}
