/* Text, JSON and base64. */
#include <ctype.h>
#include <stdarg.h>

#include "cni.h"

char *cni_fmt(struct cni *c, crio_call *call, const char *fmt, ...)
{
	va_list ap;
	char *p = NULL, *ret;

	va_start(ap, fmt);
	if (vasprintf(&p, fmt, ap) < 0)
		p = NULL;
	va_end(ap);
	if (!p)
		return NULL;
	ret = c->host->strdup(call, p);
	free(p);
	return ret;
}

int cni_nomem(struct cni *c, crio_err *err)
{
	return c->host->fail(err, CRIO_E_NOMEM, "no memory");
}

int cni_json_parse(struct cni *c, const char *p, size_t n, struct json_object **ret, crio_err *err)
{
	struct json_tokener *tok;
	struct json_object *o;
	enum json_tokener_error e;

	while (n > 0 && isspace((unsigned char)p[n - 1]))
		n--;
	if (n == 0)
		return c->host->fail(err, CRIO_E_CORRUPT, "empty instead of a JSON object");
	tok = json_tokener_new_ex(CNI_DEPTH_MAX);
	if (!tok)
		return cni_nomem(c, err);
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, p, (int)n);
	e = json_tokener_get_error(tok);
	if (e != json_tokener_success || json_tokener_get_parse_end(tok) != n) {
		size_t at = json_tokener_get_parse_end(tok);

		json_tokener_free(tok);
		json_putp(&o);
		return c->host->fail(err, CRIO_E_CORRUPT, "invalid JSON at byte %zu: %s", at,
				     e == json_tokener_success ? "text after the object" : json_tokener_error_desc(e));
	}
	json_tokener_free(tok);
	if (!json_object_is_type(o, json_type_object)) {
		json_putp(&o);
		return c->host->fail(err, CRIO_E_CORRUPT, "JSON, but not an object");
	}
	*ret = o;
	return 0;
}

struct json_object *cni_json_get(struct json_object *o, const char *key, enum json_type type)
{
	struct json_object *v = NULL;

	if (!o || !json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, type))
		return NULL;
	return v;
}

const char *cni_json_str(struct json_object *o, const char *key)
{
	struct json_object *v = cni_json_get(o, key, json_type_string);
	const char *s = v ? json_object_get_string(v) : "";

	/* A NUL inside would be cut off silently. */
	return s && (!v || strlen(s) == (size_t)json_object_get_string_len(v)) ? s : "";
}

bool cni_json_set(struct json_object *o, const char *key, struct json_object *v)
{
	if (!o || !v || json_object_object_add(o, key, v) < 0) {
		json_putp(&v);
		return false;
	}
	return true;
}

bool cni_json_push(struct json_object *arr, struct json_object *v)
{
	if (!arr || !v || json_object_array_add(arr, v) < 0) {
		json_putp(&v);
		return false;
	}
	return true;
}

const char *cni_json_text(struct json_object *o)
{
	return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* Length of the UTF-8 sequence at p (n bytes are there), 0 when it is none. Overlong forms and surrogates are none. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
	size_t len = p[0] < 0x80		   ? 1
		     : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
		     : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
		     : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
						   : 0;

	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

const char *cni_printable(struct cni *c, crio_call *call, const void *data, size_t n)
{
	const unsigned char *p = data;
	char text[1024 + 8];
	size_t o = 0;

	while (n > 0 && isspace(p[n - 1]))
		n--;
	for (size_t i = 0; i < n && o < 1024;) {
		size_t len = utf8_len(p + i, n - i);

		if (len == 1 && (p[i] < 0x20 || p[i] == 0x7f))
			text[o++] = ' ';
		else if (len == 0)
			text[o++] = '?';
		for (size_t k = 0; len > 0 && !(len == 1 && (p[i] < 0x20 || p[i] == 0x7f)) && k < len; k++)
			text[o++] = (char)p[i + k];
		i += len ? len : 1;
	}
	if (o >= 1024) {
		memcpy(text + o, "...", 3);
		o += 3;
	}
	text[o] = '\0';
	const char *ret = c->host->strdup(call, text);
	return ret ? ret : "";
}

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *cni_base64(struct cni *c, crio_call *call, const void *data, size_t n)
{
	const unsigned char *p = data;
	char *ret = c->host->alloc(call, (n + 2) / 3 * 4 + 1);
	char *o = ret;

	for (size_t i = 0; ret && i < n; i += 3) {
		size_t left = n - i;
		unsigned v =
		    (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);

		*o++ = b64[v >> 18];
		*o++ = b64[v >> 12 & 63];
		*o++ = left > 1 ? b64[v >> 6 & 63] : '=';
		*o++ = left > 2 ? b64[v & 63] : '=';
	}
	return ret;
}

char *cni_unbase64(struct cni *c, crio_call *call, const char *s, size_t *ret_n)
{
	size_t n = strlen(s), pad = 0, o = 0;
	char *ret;

	if (n % 4 != 0)
		return NULL;
	while (pad < 2 && n > pad && s[n - 1 - pad] == '=')
		pad++;
	ret = c->host->alloc(call, n / 4 * 3 + 1);
	for (size_t i = 0; ret && i < n; i += 4) {
		unsigned v = 0;

		for (size_t k = 0; k < 4; k++) {
			const char *at = i + k >= n - pad ? b64 : strchr(b64, s[i + k]);

			if (!at || !s[i + k])
				return NULL;
			v = v << 6 | (unsigned)(at - b64);
		}
		ret[o++] = (char)(v >> 16);
		ret[o++] = (char)(v >> 8);
		ret[o++] = (char)v;
	}
	if (!ret)
		return NULL;
	*ret_n = o - pad;
	ret[*ret_n] = '\0';
	return ret;
}

bool cni_name_ok(const char *s, size_t max)
{
	if (!isalnum((unsigned char)*s) || strlen(s) > max)
		return false;
	for (; *s; s++) {
		if (!isalnum((unsigned char)*s) && !strchr("_.-", *s))
			return false;
	}
	return true;
}

bool cni_ifname_ok(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > 15 || !strcmp(s, ".") || !strcmp(s, ".."))
		return false;
	for (; *s; s++) {
		if (*s == '/' || *s == ':' || (unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f)
			return false;
	}
	return true;
}

static void version_split(const char *s, unsigned long v[3])
{
	char *end;

	memset(v, 0, 3 * sizeof(*v));
	for (int i = 0; i < 3 && isdigit((unsigned char)*s); i++) {
		v[i] = strtoul(s, &end, 10);
		s = *end == '.' ? end + 1 : end;
	}
}

int cni_version_cmp(const char *a, const char *b)
{
	unsigned long x[3], y[3];

	version_split(a, x);
	version_split(b, y);
	for (int i = 0; i < 3; i++) {
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	return 0;
}

bool cni_version_known(const char *v)
{
	static const char *const known[] = {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", CNI_NEWEST};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (!strcmp(v, known[i]))
			return true;
	}
	return false;
}
