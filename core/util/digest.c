#include "core/util/digest.h"

#include <openssl/evp.h>
#include <string.h>

#include "core/util/str.h"

static const struct {
	const char *name;
	size_t hex_len;
} algorithms[] = {
	{ "sha256", 64 },
	{ "sha384", 96 },
	{ "sha512", 128 },
};

struct digester {
	EVP_MD_CTX *ctx;
	const char *name;
	bool failed; /* a library error: finish gives a text that no comparison accepts */
};

static const EVP_MD *md_of(const char *name)
{
	if (str_eq(name, "sha256"))
		return EVP_sha256();
	if (str_eq(name, "sha384"))
		return EVP_sha384();
	return EVP_sha512();
}

struct digester *digester_new(const char *algorithm)
{
	struct digester *d;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(algorithms); i++)
		if (str_eq(algorithm, algorithms[i].name))
			break;
	if (i == ARRAY_SIZE(algorithms))
		return NULL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	d->name = algorithms[i].name;
	d->ctx = EVP_MD_CTX_new();
	if (!d->ctx || EVP_DigestInit_ex(d->ctx, md_of(d->name), NULL) != 1) {
		digester_free(d);
		return NULL;
	}
	return d;
}

void digester_add(struct digester *d, const void *p, size_t n)
{
	if (n && EVP_DigestUpdate(d->ctx, p, n) != 1)
		d->failed = true;
}

void digester_finish(struct digester *d, char ret[DIGEST_TEXT_MAX])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	size_t len = strlen(d->name);

	if (EVP_DigestFinal_ex(d->ctx, md, &n) != 1)
		d->failed = true;
	memcpy(ret, d->name, len);
	ret[len++] = ':';
	ret[len] = '\0';
	if (!d->failed && len + 2 * (size_t)n < DIGEST_TEXT_MAX)
		hex_encode(md, n, ret + len);
	digester_free(d);
}

void digester_free(struct digester *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->ctx);
	free(d);
}

void digest_of(const void *p, size_t n, char ret[DIGEST_TEXT_MAX])
{
	struct digester *d = digester_new("sha256");

	if (!d) {
		/* Not a valid digest, so that it equals none. */
		memcpy(ret, "sha256:", sizeof("sha256:"));
		return;
	}
	digester_add(d, p, n);
	digester_finish(d, ret);
}

bool digest_is_valid(const char *s)
{
	const char *colon = strchr(s, ':');
	size_t i, n;

	if (!colon)
		return false;
	n = (size_t)(colon - s);
	for (i = 0; i < ARRAY_SIZE(algorithms); i++)
		if (strlen(algorithms[i].name) == n && !memcmp(s, algorithms[i].name, n))
			return str_is_hex(colon + 1, algorithms[i].hex_len);
	return false;
}

const char *digest_hex(const char *s)
{
	const char *colon = strchr(s, ':');

	return colon ? colon + 1 : s;
}
