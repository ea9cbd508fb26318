/* http.c: the head of a request. */
#include "core/stream/http.h"

#include <strings.h>

static const char blank[] = "\r\n\r\n";

size_t http_head_end(const char *p, size_t n, size_t from)
{
	size_t at = from > 3 ? from - 3 : 0;
	const char *end = n > at ? memmem(p + at, n - at, blank, 4) : NULL;
	return end ? (size_t)(end - p) + 4 : 0;
}

static bool is_token_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *s)
{
	const char *p = s;
	while (is_token_char((unsigned char)*p))
		p++;
	return p > s && !*p;
}

static unsigned refuse(struct buf *why, unsigned status, const char *text)
{
	buf_clear(why);
	buf_addf(why, "%s\n", text);
	return status;
}

/* The next line without its CRLF, made a string. NULL: a control byte, or a bare CR or LF. */
static char *take_line(char **at, const char *end)
{
	char *p = *at;
	char *cr = memchr(p, '\r', (size_t)(end - p));
	if (!cr || cr + 1 >= end || cr[1] != '\n')
		return NULL;
	for (char *q = p; q < cr; q++)
		if (((unsigned char)*q < ' ' && *q != '\t') || *q == 127)
			return NULL;
	*cr = '\0';
	*at = cr + 2;
	return p;
}

static unsigned parse_first(char *line, struct http_request *ret, struct buf *why)
{
	char *target = strchr(line, ' ');
	char *version = target ? strchr(target + 1, ' ') : NULL;
	if (!version || strchr(version + 1, ' '))
		return refuse(why, 400, "the request line is not METHOD PATH VERSION");
	*target++ = '\0';
	*version++ = '\0';
	if (!is_token(line))
		return refuse(why, 400, "the method is no token");
	if (!str_eq(version, "HTTP/1.1"))
		return refuse(why, str_starts(version, "HTTP/") ? 505 : 400, "only HTTP/1.1 is spoken here");
	if (strlen(target) > HTTP_TARGET_MAX)
		return refuse(why, 414, "the path is too long");
	if (*target != '/')
		return refuse(why, 400, "the path does not begin with a slash");
	for (const char *p = target; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 127)
			return refuse(why, 400, "the path has bytes that may not be in one");
	target[strcspn(target, "?")] = '\0';
	ret->method = line;
	ret->path = target;
	return 0;
}

static unsigned parse_header(char *line, struct http_request *ret, struct buf *why)
{
	char *colon = strchr(line, ':');
	if (!colon)
		return refuse(why, 400, "a header without a colon");
	*colon = '\0';
	if (!is_token(line))
		return refuse(why, 400, "the name of a header is no token");
	if (ret->n == HTTP_HEADERS_MAX)
		return refuse(why, 431, "too many headers");
	char *value = colon + 1 + strspn(colon + 1, " \t");
	size_t n = strlen(value);
	while (n && (value[n - 1] == ' ' || value[n - 1] == '\t'))
		value[--n] = '\0';
	ret->v[ret->n++] = (struct http_header){ .name = line, .value = value };
	return 0;
}

/* What is between the head and an upgrade: nothing. */
static unsigned check_rest(const struct http_request *q, struct buf *why)
{
	size_t hosts = 0;
	for (size_t i = 0; i < q->n; i++) {
		hosts += !strcasecmp(q->v[i].name, "host");
		if (!strcasecmp(q->v[i].name, "transfer-encoding") ||
		    (!strcasecmp(q->v[i].name, "content-length") && !str_eq(q->v[i].value, "0")))
			return refuse(why, 413, "a request with a body is not taken");
	}
	return hosts == 1 ? 0 : refuse(why, 400, "there must be one Host header");
}

unsigned http_parse(char *p, size_t n, struct http_request *ret, struct buf *why)
{
	char *at = p;
	const char *end = p + n;
	ret->n = 0;
	char *line = take_line(&at, end);
	if (!line)
		return refuse(why, 400, "the request line has a control byte, or does not end in CRLF");
	unsigned status = parse_first(line, ret, why);
	while (!status) {
		line = take_line(&at, end);
		if (!line)
			return refuse(why, 400, "a header has a control byte, or does not end in CRLF");
		if (!*line)
			return check_rest(ret, why);
		status = parse_header(line, ret, why);
	}
	return status;
}

const char *http_get(const struct http_request *q, const char *name)
{
	for (size_t i = 0; i < q->n; i++)
		if (!strcasecmp(q->v[i].name, name))
			return q->v[i].value;
	return NULL;
}

int http_tokens(const struct http_request *q, const char *name, struct strv *ret)
{
	for (size_t i = 0; i < q->n; i++) {
		if (strcasecmp(q->v[i].name, name) != 0)
			continue;
		for (const char *p = q->v[i].value; *p;) {
			p += strspn(p, ", \t");
			size_t n = strcspn(p, ",");
			const char *next = p + n;
			while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
				n--;
			if (n && strv_addn(ret, p, n) < 0)
				return CRIO_E_NOMEM;
			p = next;
		}
	}
	return 0;
}

bool http_has_token(const struct http_request *q, const char *name, const char *token)
{
	cleanup_strv struct strv v = STRV_INIT;
	if (http_tokens(q, name, &v) < 0)
		return false;
	for (size_t i = 0; i < v.n; i++)
		if (!strcasecmp(v.v[i], token))
			return true;
	return false;
}

const char *http_reason(unsigned status)
{
	static const struct {
		unsigned status;
		const char *text;
	} known[] = { { 101, "Switching Protocols" }, { 400, "Bad Request" }, { 403, "Forbidden" }, { 404, "Not Found" },
		      { 405, "Method Not Allowed" }, { 408, "Request Timeout" }, { 413, "Content Too Large" }, { 414, "URI Too Long" },
		      { 426, "Upgrade Required" }, { 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" },
		      { 503, "Service Unavailable" }, { 505, "HTTP Version Not Supported" } };
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].status == status)
			return known[i].text;
	return "Error";
}

void http_reply(struct buf *out, unsigned status, const char *extra, const char *text)
{
	buf_addf(out,
		 "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
		 "Content-Length: %zu\r\nConnection: close\r\n%s\r\n%s",
		 status, http_reason(status), strlen(text), extra, text);
}
