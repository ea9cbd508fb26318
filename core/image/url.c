/* url.c: URLs that registries give us, through libcurl's parser, so that we judge what curl will do. */
#include <curl/curl.h>
#include <string.h>

#include "core/image/http.h"

void url_release(struct url *u)
{
	free(u->scheme);
	free(u->host);
	free(u->port);
	free(u->rest);
	memset(u, 0, sizeof(*u));
}

static bool part(CURLU *h, CURLUPart what, unsigned int flags, char **ret)
{
	char *s = NULL;

	if (curl_url_get(h, what, &s, flags) == CURLUE_OK && s)
		*ret = strdup(s);
	curl_free(s);
	return *ret != NULL;
}

static int split(CURLU *h, const char *text, struct url *u, crio_err *err)
{
	cleanup_free char *path = NULL, *query = NULL, *user = NULL;
	struct buf b = BUF_INIT;

	if (part(h, CURLUPART_USER, 0, &user))
		return err_set(err, CRIO_E_INVALID, "a URL with credentials in it is not used");
	if (part(h, CURLUPART_SCHEME, 0, &u->scheme) && !str_eq(u->scheme, "http") && !str_eq(u->scheme, "https"))
		return err_set(err, CRIO_E_INVALID, "'%.200s': only http and https are spoken", text);
	if (!u->scheme || !part(h, CURLUPART_HOST, 0, &u->host) ||
	    !part(h, CURLUPART_PORT, CURLU_DEFAULT_PORT, &u->port) || !part(h, CURLUPART_PATH, 0, &path))
		return err_set(err, CRIO_E_INVALID, "'%.200s' is not a complete URL", text);
	for (char *c = u->host; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	buf_adds(&b, path);
	if (part(h, CURLUPART_QUERY, 0, &query)) {
		buf_addc(&b, '?');
		buf_adds(&b, query);
	}
	u->rest = buf_take(&b);
	return u->rest ? 0 : err_nomem(err);
}

int url_parse(const char *text, const char *base, struct url *ret, crio_err *err)
{
	cleanup_url struct url u = {0};
	CURLU *h = curl_url();
	int r = 0;

	if (!h)
		return err_nomem(err);
	if (strlen(text) > 16384 || !str_is_printable(text))
		r = err_set(err, CRIO_E_INVALID, "a URL is longer than 16384 bytes or has control characters");
	else if (base && curl_url_set(h, CURLUPART_URL, base, 0) != CURLUE_OK)
		r = err_set(err, CRIO_E_INVALID, "'%.200s' is not a URL", base);
	/* NON_SUPPORT_SCHEME: so that a foreign scheme gets the message that says so. */
	else if (curl_url_set(h, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
		r = err_set(err, CRIO_E_INVALID, "'%.200s' is not a URL", text);
	else
		r = split(h, text, &u, err);
	curl_url_cleanup(h);
	if (r < 0)
		return r;
	*ret = u;
	memset(&u, 0, sizeof(u));
	return 0;
}

char *url_text(const struct url *u)
{
	struct buf b = BUF_INIT;

	buf_addf(&b, "%s://%s:%s%s", u->scheme, u->host, u->port, u->rest);
	return buf_take(&b);
}

bool url_same_host(const struct url *a, const struct url *b)
{
	return str_eq(a->scheme, b->scheme) && str_eq(a->host, b->host) && str_eq(a->port, b->port);
}

bool url_is_link_local(const struct url *u)
{
	return str_starts(u->host, "169.254.") || str_starts(u->host, "[fe8") || str_starts(u->host, "[fe9") ||
	       str_starts(u->host, "[fea") || str_starts(u->host, "[feb") || str_starts(u->host, "[::ffff:169.254.") ||
	       str_starts(u->host, "[::ffff:a9fe:");
}

void url_escape(struct buf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
			buf_addc(b, (char)c);
		else
			buf_addf(b, "%%%02X", c);
	}
}
