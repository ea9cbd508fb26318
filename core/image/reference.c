/* reference.c: the grammar of image names, by hand: no backtracking, every length bounded. */
#include "core/image/reference.h"

#include <string.h>

#include "core/util/digest.h"
#include "core/util/fs.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || is_digit(c);
}

static bool is_alnum(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

void reference_release(struct reference *r)
{
	if (!r)
		return;
	free(r->domain);
	free(r->path);
	free(r->tag);
	free(r->digest);
	memset(r, 0, sizeof(*r));
}

int reference_copy(struct reference *dst, const struct reference *src)
{
	struct reference c = {strdup(src->domain), strdup(src->path), strdup(src->tag), strdup(src->digest)};

	if (!c.domain || !c.path || !c.tag || !c.digest) {
		reference_release(&c);
		return CRIO_E_NOMEM;
	}
	reference_release(dst);
	*dst = c;
	return 0;
}

bool reference_tag_ok(const char *s)
{
	size_t i;

	for (i = 0; s[i]; i++)
		if (i >= REF_TAG_MAX || !(is_alnum(s[i]) || s[i] == '_' || (i && (s[i] == '.' || s[i] == '-'))))
			return false;
	return i > 0;
}

/* One path component: alphanumerics with separators between: ".", "_", "__" or any run of "-". */
static bool component_ok(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t from = i, sep;

		while (i < n && is_lower(s[i]))
			i++;
		if (i == from)
			return false;
		if (i == n)
			return true;
		sep = i;
		if (s[i] == '-') {
			while (i < n && s[i] == '-')
				i++;
		} else if (s[i] == '_') {
			while (i < n && s[i] == '_')
				i++;
			if (i - sep > 2)
				return false;
		} else if (s[i] == '.') {
			i++;
		} else {
			return false;
		}
	}
	return false; /* empty, or ends in a separator */
}

bool reference_path_ok(const char *s)
{
	size_t len = strlen(s);

	if (len == 0 || len > REF_PATH_MAX)
		return false;
	for (;;) {
		const char *slash = strchr(s, '/');

		if (!component_ok(s, slash ? (size_t)(slash - s) : strlen(s)))
			return false;
		if (!slash)
			return true;
		s = slash + 1;
	}
}

static bool host_name_ok(const char *s, size_t n)
{
	size_t from = 0;

	if (n == 0 || n > 253)
		return false;
	for (size_t i = 0; i <= n; i++) {
		if (i < n && s[i] != '.') {
			if (!is_alnum(s[i]) && s[i] != '-')
				return false;
			continue;
		}
		if (i == from || s[from] == '-' || s[i - 1] == '-')
			return false;
		from = i + 1;
	}
	return true;
}

static bool host_ip6_ok(const char *s, size_t n)
{
	bool colon = false;

	if (n < 4 || n > 64 || s[0] != '[' || s[n - 1] != ']')
		return false;
	for (size_t i = 1; i + 1 < n; i++) {
		if (s[i] == ':')
			colon = true;
		else if (!is_digit(s[i]) && !(s[i] >= 'a' && s[i] <= 'f') && !(s[i] >= 'A' && s[i] <= 'F'))
			return false;
	}
	return colon;
}

bool reference_domain_ok(const char *s)
{
	const char *host_end = s[0] == '[' ? strchr(s, ']') : strchr(s, ':');
	size_t n;

	if (s[0] == '[') {
		if (!host_end)
			return false;
		host_end++;
	} else if (!host_end) {
		host_end = s + strlen(s);
	}
	n = (size_t)(host_end - s);
	if (s[0] == '[' ? !host_ip6_ok(s, n) : !host_name_ok(s, n))
		return false;
	if (*host_end == ':') {
		uint64_t port;

		return str_to_u64(host_end + 1, 65535, &port) && is_digit(host_end[1]);
	}
	return *host_end == 0;
}

/* Is s[0..n) the part before the first '/' that names a host, not a path component? */
static bool names_host(const char *s, size_t n)
{
	if (n == 9 && !memcmp(s, "localhost", 9))
		return true;
	for (size_t i = 0; i < n; i++)
		if (s[i] == '.' || s[i] == ':' || (s[i] >= 'A' && s[i] <= 'Z'))
			return true;
	return false;
}

bool reference_is_short(const char *s)
{
	const char *slash = strchr(s, '/');

	return !slash || !names_host(s, (size_t)(slash - s));
}

static int bad(crio_err *err, const char *s, const char *why)
{
	/* The text may hold anything: show only what prints, and not too much of it. */
	if (!str_is_printable(s) || !str_is_utf8(s, strlen(s)))
		return err_set(err, CRIO_E_INVALID, "invalid reference format: %s", why);
	return err_set(err, CRIO_E_INVALID, "invalid reference format: '%.256s': %s", s, why);
}

/* Splits `work` (a copy of s behind the domain) into path, tag and digest. */
static int parse_rest(const char *s, char *work, struct reference *r, crio_err *err)
{
	char *at = strchr(work, '@'), *colon, *tag = work + strlen(work);

	if (at) {
		*at = 0;
		if (!digest_is_valid(at + 1))
			return bad(err, s,
				   "the part behind '@' is no digest (sha256, sha384 or sha512 in lower-case hex)");
		tag = at;
	}
	colon = strchr(work, ':');
	if (colon) {
		*colon = 0;
		tag = colon + 1;
		if (!reference_tag_ok(tag))
			return bad(err, s, "the tag must be 1 to 128 of [A-Za-z0-9_.-], not beginning with '.' or '-'");
	}
	for (const char *p = work; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			return bad(err, s, "repository name must be lowercase");
	if (strlen(work) > REF_PATH_MAX)
		return bad(err, s, "repository name must not be more than 255 characters");
	if (!reference_path_ok(work))
		return bad(err, s, "a component of the repository name is empty or has a character it must not have");
	r->path = strdup(work);
	r->tag = strdup(tag);
	r->digest = strdup(at ? at + 1 : "");
	return r->path && r->tag && r->digest ? 0 : err_nomem(err);
}

int reference_parse(const char *s, struct reference *ret, crio_err *err)
{
	cleanup_reference struct reference r = REFERENCE_INIT;
	cleanup_free char *work = NULL;
	const char *slash = strchr(s, '/'), *rest = s;
	int e;

	if (!*s)
		return bad(err, s, "it is empty");
	if (strlen(s) > REF_TEXT_MAX)
		return bad(err, "", "it is longer than 1024 characters");
	if (str_is_hex(s, 64))
		return bad(err, s, "64 hexadecimal digits alone are an image id, not a name");
	if (slash && names_host(s, (size_t)(slash - s))) {
		r.domain = strndup(s, (size_t)(slash - s));
		rest = slash + 1;
		if (r.domain && !reference_domain_ok(r.domain))
			return bad(err, s, "the part before the first '/' is no host[:port]");
		if (r.domain && str_eq(r.domain, "index.docker.io")) {
			free(r.domain);
			r.domain = strdup("docker.io");
		}
	} else {
		r.domain = strdup("docker.io");
	}
	if (!r.domain)
		return err_nomem(err);
	/* Official images have a name of one component. */
	work = path_fmt(
	    "%s%s", str_eq(r.domain, "docker.io") && !memchr(rest, '/', strcspn(rest, "@:")) ? "library/" : "", rest);
	if (!work)
		return err_nomem(err);
	e = parse_rest(s, work, &r, err);
	if (e < 0)
		return e;
	*ret = r;
	memset(&r, 0, sizeof(r));
	return 0;
}

int reference_finish(struct reference *r)
{
	const char *want = *r->digest ? "" : *r->tag ? r->tag : "latest";
	char *tag;

	if (str_eq(want, r->tag))
		return 0;
	tag = strdup(want);
	if (!tag)
		return CRIO_E_NOMEM;
	free(r->tag);
	r->tag = tag;
	return 0;
}

char *reference_repo(const struct reference *r)
{
	struct buf b = BUF_INIT;

	buf_addf(&b, "%s/%s", r->domain, r->path);
	return buf_take(&b);
}

char *reference_text(const struct reference *r)
{
	struct buf b = BUF_INIT;

	buf_addf(&b, "%s/%s", r->domain, r->path);
	if (*r->tag)
		buf_addf(&b, ":%s", r->tag);
	if (*r->digest)
		buf_addf(&b, "@%s", r->digest);
	return buf_take(&b);
}
