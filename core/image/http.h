/*
 * http.h: HTTP for the registry client, over libcurl (the one file that knows it). Transfers are read by the caller
 * piece by piece, on the caller's thread, and stop at once when the call is cancelled. Connections are kept and reused.
 *
 * Redirects are not followed here but in registry.c, which knows which host may see credentials. Only http and https
 * are spoken. HTTP/1.1, so that what is buffered of a paused transfer is bounded.
 */
#ifndef IMAGE_HTTP_H
#define IMAGE_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/exec/call.h"
#include "core/util/str.h"

#define HTTP_HEAD_MAX (256u << 10) /* bytes of headers of one answer */

struct http;
int http_new(struct http **ret, crio_err *err);
/* All transfers are closed. NULL is fine. */
void http_free(struct http *h);

/* How to trust and to be trusted; what is NULL is not used. */
struct http_tls {
	bool insecure;	       /* do not verify the server */
	const char *ca_pem;    /* more authorities, beside the system's */
	const char *cert_file; /* client certificate and key */
	const char *key_file;
};

/* Why a transfer failed, for those who can try something else. */
enum http_fail {
	HTTP_OK = 0,
	HTTP_FAIL_CONNECT, /* refused, unreachable, name unknown, timed out before the server was there */
	HTTP_FAIL_TLS,	   /* handshake or certificate, or the server does not speak TLS */
	HTTP_FAIL_BROKEN,  /* cut off, stalled, too slow: a new try may succeed */
	HTTP_FAIL_OTHER	   /* refused by a rule of ours, cancelled, no memory */
};

/* Time-outs; http_limits_default() fills in what is usual. */
struct http_limits {
	int64_t connect_ns;
	int64_t answer_ns; /* from the request to the end of the headers */
	int64_t window_ns; /* over each window of waiting at least min_rate bytes/s must come */
	int64_t min_rate;
};
void http_limits_default(struct http_limits *l);

struct http_args {
	const char *method; /* "GET", "HEAD", "POST" */
	const char *url;
	const struct strv *headers;	  /* "Name: value"; without CR, LF */
	const char *body;		  /* of POST: a form; NULL none */
	const struct http_tls *tls;	  /* NULL: defaults */
	const struct http_limits *limits; /* NULL: defaults */
	int64_t range_from;		  /* > 0: ask for the rest from this byte */
};

/* The answer's head. Strings are "" when absent. */
struct http_head {
	int status;
	int64_t length;	    /* -1 unknown */
	int64_t range_from; /* of Content-Range; -1 none */
	char *type;	    /* Content-Type without parameters, lower case */
	char *location;
	char *docker_digest;
	char *retry_after;
	struct strv challenges; /* each WWW-Authenticate */
};

struct http_xfer;
/* Sends the request and waits for the head. *ret_fail is set when it fails (may be NULL). Close the transfer in any
 * state. UNAVAILABLE for what a later try may cure. */
int http_open(struct http *h, crio_call *call, const struct http_args *args, struct http_xfer **ret,
	      enum http_fail *ret_fail, crio_err *err);
const struct http_head *http_head(const struct http_xfer *x);
/* The next bytes of the body; they live until the next call on x. *ret_n 0: the end, and all that was announced has
 * come. */
int http_next(struct http_xfer *x, const void **ret_p, size_t *ret_n, enum http_fail *ret_fail, crio_err *err);
void http_close(struct http_xfer *x); /* NULL is fine */
static inline void http_closep(struct http_xfer **x)
{
	http_close(*x);
}
#define cleanup_http_xfer CLEANUP(http_closep)
/* The whole body, at most `limit` bytes (EXHAUSTED), added to b. */
int http_body(struct http_xfer *x, size_t limit, struct buf *b, enum http_fail *ret_fail, crio_err *err);

/* ---- URLs ---- */

struct url {
	char *scheme, *host, *port, *rest; /* port is always there; rest is path and query, "/..." */
};
void url_release(struct url *u);
#define cleanup_url CLEANUP(url_release)
/* http and https only, without user:password, with a host. `base` (may be NULL) completes a relative text. INVALID. */
int url_parse(const char *text, const char *base, struct url *ret, crio_err *err);
char *url_text(const struct url *u);
bool url_same_host(const struct url *a, const struct url *b); /* scheme, host and port */
/* An address that only this machine's neighbours have a meaning for (169.254/16, fe80::/10): cloud metadata services.
 */
bool url_is_link_local(const struct url *u);
/* Percent-encodes everything but unreserved characters into b. */
void url_escape(struct buf *b, const char *s);

#endif
