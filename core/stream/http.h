/*
 * http.h: the head of one HTTP/1.1 request, and plain replies. Every connection of the streaming server begins with a request for an
 * upgrade and carries nothing else of HTTP, so there is no more of it here: no bodies, no second request.
 *
 * Strict: lines end in CRLF, names are tokens, nothing is folded, no control bytes. What is refused gets a status and a line of
 * text that says why.
 */
#ifndef STREAM_HTTP_H
#define STREAM_HTTP_H

#include <stdbool.h>

#include "core/util/str.h"

#define HTTP_HEAD_MAX 16384u /* bytes, with the empty line */
#define HTTP_TARGET_MAX 2048u
#define HTTP_HEADERS_MAX 100u

struct http_header {
	const char *name, *value; /* into the head; values without white space around them */
};
struct http_request {
	const char *method, *path; /* the path without its query */
	struct http_header v[HTTP_HEADERS_MAX];
	size_t n;
};

/* Where the head ends: the offset behind its empty line, 0 when that has not come yet. `from`: bytes that were looked at before. */
size_t http_head_end(const char *p, size_t n, size_t from);
/* Takes the head of n bytes apart, in place; the result points into it. 0, or the status to refuse it with and the text in why. */
unsigned http_parse(char *p, size_t n, struct http_request *ret, struct buf *why);
/* The first header of that name (any case); NULL: none. */
const char *http_get(const struct http_request *q, const char *name);
/* Does one of the headers of that name have the token among its comma-separated values (any case)? */
bool http_has_token(const struct http_request *q, const char *name, const char *token);
/* All comma-separated values of all headers of that name, in order; empty ones are left out. */
int http_tokens(const struct http_request *q, const char *name, struct strv *ret);

const char *http_reason(unsigned status);
/* A whole reply that ends the connection. `extra`: header lines, each with CRLF, or "". */
void http_reply(struct buf *out, unsigned status, const char *extra, const char *text);

#endif
