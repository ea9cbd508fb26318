/*
 * tls.h: a server's TLS. Certificate, key and client authorities are read again when their files have changed, which is looked
 * at with each connection: it costs no timer, and a renewed certificate is in use at once. Files that cannot be read leave what was
 * there in force, and are logged once.
 *
 * Of one thread.
 */
#ifndef STREAM_TLS_H
#define STREAM_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "core/util/str.h"

struct tls_args {
	const char *who;	      /* for the log: "The streaming server"; static */
	const char *cert, *key, *ca; /* PEM files; ca "": clients need no certificate */
	bool only_13;		      /* TLS 1.3 and nothing older; else 1.2 too */
	const struct strv *ciphers;   /* of TLS 1.2, by their IANA names, which are Go's; empty: the library's choice */
};
struct tls;
/* Strings are copied. NOT_FOUND, INVALID, ...: names the file or cipher suite and why. */
int tls_new(const struct tls_args *a, struct tls **ret, crio_err *err);
void tls_free(struct tls *t);
/* For a new connection, as a server; the caller's. */
int tls_accept(struct tls *t, int fd, SSL **ret, crio_err *err);

#endif
