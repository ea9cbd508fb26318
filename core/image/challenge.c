/* challenge.c: WWW-Authenticate: scheme, then name=value pairs; several challenges may share a line. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "core/image/auth.h"

#define CHALLENGE_MAX 8192 /* bytes of one header */

void challenge_release(struct challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	memset(c, 0, sizeof(*c));
}

static bool is_token(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip(const char *p)
{
	while (*p == ' ' || *p == '\t' || *p == ',')
		p++;
	return p;
}

static const char *token(const char *p, struct buf *b)
{
	buf_clear(b);
	for (; is_token(*p); p++)
		buf_addc(b, *p);
	return p;
}

/* After '='. NULL: a quote without an end. */
static const char *value(const char *p, struct buf *b)
{
	buf_clear(b);
	if (*p != '"') {
		for (; *p && *p != ',' && *p != ' ' && *p != '\t'; p++)
			buf_addc(b, *p);
		return p;
	}
	for (p++; *p != '"'; p++) {
		if (*p == '\\')
			p++;
		if (!*p)
			return NULL;
		buf_addc(b, *p);
	}
	return p + 1;
}

static int keep(struct challenge *c, const struct buf *name, const struct buf *val)
{
	const char *n = name->p ? name->p : "", *v = val->p ? val->p : "";
	char **field = !strcasecmp(n, "realm")	   ? &c->realm
		       : !strcasecmp(n, "service") ? &c->service
		       : !strcasecmp(n, "scope")   ? &c->scope
						   : NULL;
	char *s;

	if (!field)
		return 0;
	s = strdup(v);
	if (!s)
		return CRIO_E_NOMEM;
	free(*field);
	*field = s;
	return 0;
}

/* One header. Stops in front of the challenge after the one it takes. */
static int pick_in(const char *p, struct challenge *c)
{
	CLEANUP(buf_release) struct buf name = BUF_INIT, val = BUF_INIT;

	for (;;) {
		const char *after;

		p = skip(p);
		if (!*p)
			return 0;
		p = token(p, &name);
		if (!name.n)
			return 0; /* not a challenge: ignored, what was found stays */
		for (after = p; *after == ' ' || *after == '\t';)
			after++;
		if (*after == '=') {
			for (p = after + 1; *p == ' ' || *p == '\t';)
				p++;
			p = value(p, &val);
			if (!p)
				return 0;
			if (buf_bad(&name) || buf_bad(&val) || (c->scheme && keep(c, &name, &val) < 0))
				return CRIO_E_NOMEM;
			continue;
		}
		if (c->scheme)
			return 0;
		if (!strcasecmp(name.p, "Basic"))
			c->scheme = CHALLENGE_BASIC;
		else if (!strcasecmp(name.p, "Bearer"))
			c->scheme = CHALLENGE_BEARER;
	}
}

int challenge_pick(const struct strv *headers, struct challenge *ret, crio_err *err)
{
	for (size_t i = 0; i < headers->n; i++) {
		cleanup_challenge struct challenge c = {0};

		if (strlen(headers->v[i]) > CHALLENGE_MAX)
			continue;
		if (pick_in(headers->v[i], &c) < 0)
			return err_nomem(err);
		if (c.scheme == CHALLENGE_NONE || (c.scheme == CHALLENGE_BEARER && !str_set(c.realm)))
			continue;
		if ((!c.realm && !(c.realm = strdup(""))) || (!c.service && !(c.service = strdup(""))) ||
		    (!c.scope && !(c.scope = strdup(""))))
			return err_nomem(err);
		*ret = c;
		memset(&c, 0, sizeof(c));
		return 0;
	}
	memset(ret, 0, sizeof(*ret));
	return 0;
}
