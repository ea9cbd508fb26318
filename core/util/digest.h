/* digest.h: SHA-256/384/512 through OpenSSL, and digest strings ("sha256:<64 hex>"). */
#ifndef UTIL_DIGEST_H
#define UTIL_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "core/util/err.h"

#define DIGEST_TEXT_MAX 140 /* "sha512:" + 128 + NUL, rounded up */

struct digester;
/* algorithm "sha256", "sha384" or "sha512"; NULL without memory or for another. */
struct digester *digester_new(const char *algorithm);
void digester_add(struct digester *d, const void *p, size_t n);
/* "<algorithm>:<hex>" and frees d. */
void digester_finish(struct digester *d, char ret[DIGEST_TEXT_MAX]);
void digester_free(struct digester *d); /* NULL is fine */

/* "sha256:..." of a buffer. */
void digest_of(const void *p, size_t n, char ret[DIGEST_TEXT_MAX]);
/* Known algorithm, lower-case hex of its exact length. Nothing else may be used in a path or URL. */
bool digest_is_valid(const char *s);
/* The hex part of a valid digest. */
const char *digest_hex(const char *s);

#endif
