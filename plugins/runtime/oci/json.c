#include "json.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64

static const char *skip_space(const char *p)
{
	while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
		p++;
	return p;
}

/* After the closing quote; NULL: not a string. */
static const char *skip_string(const char *p)
{
	if (*p++ != '"')
		return NULL;
	for (; *p != '"'; p++) {
		if ((unsigned char)*p < 0x20)
			return NULL;
		if (*p == '\\' && !*++p)
			return NULL;
	}
	return p + 1;
}

/*
 * Skips one value. Nesting is kept as a bit for each level, so that no document can exhaust the stack.
 */
static const char *skip_value(const char *p)
{
	bool object[DEPTH_MAX];
	size_t depth = 0;

	for (;;) {
		p = skip_space(p);
		if (depth && object[depth - 1] && *p != '}') {
			p = skip_string(p);
			if (!p)
				return NULL;
			p = skip_space(p);
			if (*p++ != ':')
				return NULL;
			p = skip_space(p);
		}
		if (*p == '{' || *p == '[') {
			if (depth == DEPTH_MAX)
				return NULL;
			object[depth++] = *p == '{';
			p = skip_space(p + 1);
			if (*p != '}' && *p != ']')
				continue;
		} else if (*p == '"') {
			p = skip_string(p);
			if (!p)
				return NULL;
		} else {
			const char *s = p;

			while (isalnum((unsigned char)*p) || *p == '-' || *p == '+' || *p == '.')
				p++;
			if (p == s)
				return NULL;
		}
		for (;;) {
			if (!depth)
				return p;
			p = skip_space(p);
			if (*p == ',') {
				p++;
				break;
			}
			if (*p != (object[depth - 1] ? '}' : ']'))
				return NULL;
			p++;
			depth--;
		}
	}
}

/* The member of the object at p whose key is the n bytes of key; NULL: none. */
static const char *member(const char *p, const char *key, size_t n)
{
	p = skip_space(p);
	if (*p++ != '{')
		return NULL;
	for (p = skip_space(p); *p == '"'; p = skip_space(p)) {
		const char *k = p + 1, *end = skip_string(p);
		bool hit;

		if (!end)
			return NULL;
		hit = (size_t)(end - 1 - k) == n && !memcmp(k, key, n);
		p = skip_space(end);
		if (*p++ != ':')
			return NULL;
		p = skip_space(p);
		if (hit)
			return p;
		p = skip_value(p);
		if (!p)
			return NULL;
		p = skip_space(p);
		if (*p++ != ',')
			return NULL;
	}
	return NULL;
}

bool json_find(const char *doc, const char *path, const char **ret, size_t *ret_n)
{
	const char *p = doc, *end;

	while (*path) {
		size_t n = strcspn(path, ".");

		p = member(p, path, n);
		if (!p)
			return false;
		path += n;
		path += *path == '.';
	}
	p = skip_space(p);
	end = skip_value(p);
	if (!end)
		return false;
	*ret = p;
	*ret_n = (size_t)(end - p);
	return true;
}

bool json_find_int(const char *doc, const char *path, int64_t *ret)
{
	const char *p;
	char *end;
	long long v;
	size_t n;

	if (!json_find(doc, path, &p, &n) || (!isdigit((unsigned char)*p) && *p != '-'))
		return false;
	errno = 0;
	v = strtoll(p, &end, 10);
	if (errno || (size_t)(end - p) != n)
		return false;
	*ret = v;
	return true;
}

bool json_find_bool(const char *doc, const char *path)
{
	const char *p;
	size_t n;

	return json_find(doc, path, &p, &n) && n == 4 && !memcmp(p, "true", 4);
}

static int hex4(const char *p)
{
	int v = 0;

	for (int i = 0; i < 4; i++) {
		if (!isxdigit((unsigned char)p[i]))
			return -1;
		v = v * 16 + (isdigit((unsigned char)p[i]) ? p[i] - '0' : (p[i] | 32) - 'a' + 10);
	}
	return v;
}

static char *put_utf8(char *o, unsigned int c)
{
	if (c < 0x80) {
		*o++ = (char)c;
	} else if (c < 0x800) {
		*o++ = (char)(0xc0 | c >> 6);
		*o++ = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		*o++ = (char)(0xe0 | c >> 12);
		*o++ = (char)(0x80 | (c >> 6 & 63));
		*o++ = (char)(0x80 | (c & 63));
	} else {
		*o++ = (char)(0xf0 | c >> 18);
		*o++ = (char)(0x80 | (c >> 12 & 63));
		*o++ = (char)(0x80 | (c >> 6 & 63));
		*o++ = (char)(0x80 | (c & 63));
	}
	return o;
}

/* Decodes \uXXXX at p ("u" is next), with its other half where it has one. Returns what follows, NULL: faulty. */
static const char *get_unicode(const char *p, unsigned int *ret)
{
	int c = hex4(p + 1), d;

	if (c <= 0)
		return NULL;
	p += 5;
	if (c >= 0xd800 && c < 0xdc00) {
		if (p[0] != '\\' || p[1] != 'u')
			return NULL;
		d = hex4(p + 2);
		if (d < 0xdc00 || d > 0xdfff)
			return NULL;
		c = 0x10000 + ((c - 0xd800) << 10) + (d - 0xdc00);
		p += 6;
	} else if (c >= 0xdc00 && c <= 0xdfff) {
		return NULL;
	}
	*ret = (unsigned int)c;
	return p;
}

char *json_find_str(const char *doc, const char *path)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *p, *end;
	char *s, *o;
	size_t n;

	if (!json_find(doc, path, &p, &n) || *p != '"')
		return NULL;
	end = p + n - 1;
	s = o = malloc(n); /* decoding never lengthens */
	if (!s)
		return NULL;
	for (p++; p < end;) {
		const char *e;
		unsigned int c;

		if (*p != '\\') {
			*o++ = *p++;
			continue;
		}
		p++;
		if (*p == 'u') {
			p = get_unicode(p, &c);
			if (!p) {
				free(s);
				return NULL;
			}
			o = put_utf8(o, c);
			continue;
		}
		e = strchr(from, *p);
		if (!e) {
			free(s);
			return NULL;
		}
		*o++ = to[e - from];
		p++;
	}
	*o = 0;
	return s;
}

bool json_is_object(const char *doc)
{
	const char *p = skip_space(doc);

	if (*p != '{')
		return false;
	p = skip_value(p);
	return p && !*skip_space(p);
}

char *json_quote(const char *s)
{
	static const char hex[] = "0123456789abcdef";
	char *ret = malloc(strlen(s) * 6 + 3), *o = ret;

	if (!ret)
		return NULL;
	*o++ = '"';
	for (; *s; s++) {
		if (*s == '"' || *s == '\\') {
			*o++ = '\\';
			*o++ = *s;
		} else if ((unsigned char)*s < 0x20) {
			memcpy(o, "\\u00", 4);
			o[4] = hex[(unsigned char)*s >> 4];
			o[5] = hex[*s & 15];
			o += 6;
		} else {
			*o++ = *s;
		}
	}
	*o++ = '"';
	*o = 0;
	return ret;
}
