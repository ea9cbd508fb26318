/*
 * toml.cc: toml++ turned into the plain tree of toml.h. Header-only and without exceptions of its own: the packaged shared library
 * was built without the TOML 1.1 features we need. NDEBUG because it asserts on some malformed input ("[[").
 */
#ifndef NDEBUG
#define NDEBUG
#endif
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ENABLE_UNRELEASED_FEATURES 1
#define TOML_MAX_NESTED_VALUES 64 /* TOML_MAX_DEPTH */
#include <toml++/toml.h>

#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

extern "C" {
#include "core/util/err.h"
}

#include "core/conf/toml.h"

namespace
{

char *dup(std::string_view s)
{
	char *p = static_cast<char *>(std::malloc(s.size() + 1));
	if (p) {
		if (!s.empty())
			std::memcpy(p, s.data(), s.size());
		p[s.size()] = '\0';
	}
	return p;
}

/* Skips a string that starts at p (one of the four kinds); returns the index behind it. An unterminated one ends at its line's
 * end (basic, literal) or at the end of the text, which is how far the parser can get too. */
size_t skip_string(const char *s, size_t n, size_t p)
{
	char q = s[p];
	if (p + 2 < n && s[p + 1] == q && s[p + 2] == q) {
		p += 3;
		while (p < n) {
			if (q == '"' && s[p] == '\\')
				p += 2;
			else if (p + 2 < n && s[p] == q && s[p + 1] == q && s[p + 2] == q)
				return p + 3;
			else
				p++;
		}
		return n;
	}
	for (p++; p < n && s[p] != '\n'; p++) {
		if (q == '"' && s[p] == '\\') {
			p++;
			continue;
		}
		if (s[p] == q)
			return p + 1;
	}
	return p < n ? p : n;
}

/* toml++ recurses once a dot of a key and nests a table for each, so the count is bounded before it sees the text. */
int check_dots(const char *s, size_t n, const char *file, crio_err *err)
{
	int line = 1;
	unsigned dots = 0;
	for (size_t p = 0; p < n;) {
		switch (s[p]) {
		case '"':
		case '\'': {
			size_t e = skip_string(s, n, p);
			for (; p < e && p < n; p++)
				line += s[p] == '\n';
			continue;
		}
		case '#':
			while (p < n && s[p] != '\n')
				p++;
			continue;
		case '\n':
			line++;
			dots = 0;
			break;
		case '=':
		case ',':
		case '{':
		case '}':
		case '[':
		case ']':
			dots = 0;
			break;
		case '.':
			if (++dots > TOML_MAX_DOTS)
				return err_set(err, CRIO_E_EXHAUSTED, "%s:%d: a key has more than %d dots", file, line,
					       TOML_MAX_DOTS);
			break;
		default:
			break;
		}
		p++;
	}
	return 0;
}

struct ctx {
	const char *file;
	crio_err *err;
};

int convert(const ctx &c, const toml::node &in, struct toml_node *out, unsigned depth);

int convert_members(const ctx &c, const toml::node &in, struct toml_node *out, unsigned depth)
{
	const toml::table *t = in.as_table();
	const toml::array *a = in.as_array();
	size_t n = t ? t->size() : a->size();
	if (depth >= 4 * TOML_MAX_DEPTH)
		return err_set(c.err, CRIO_E_EXHAUSTED, "%s:%d: nested too deeply", c.file, out->line);
	if (!n)
		return 0;
	out->v = static_cast<struct toml_node *>(std::calloc(n, sizeof *out->v));
	if (!out->v)
		return err_nomem(c.err);
	if (a) {
		for (auto &&e : *a) {
			int r = convert(c, e, &out->v[out->n++], depth + 1);
			if (r < 0)
				return r;
		}
		return 0;
	}
	for (auto &&kv : *t) {
		struct toml_node *m = &out->v[out->n++];
		std::string_view k = kv.first.str();
		if (k.find('\0') != k.npos)
			return err_set(c.err, CRIO_E_INVALID, "%s:%d: a key contains a NUL character", c.file, out->line);
		m->key = dup(k);
		if (!m->key)
			return err_nomem(c.err);
		int r = convert(c, kv.second, m, depth + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

int convert(const ctx &c, const toml::node &in, struct toml_node *out, unsigned depth)
{
	out->line = static_cast<int>(in.source().begin.line);
	if (in.is_table() || in.is_array()) {
		out->type = in.is_table() ? TOML_TABLE : TOML_ARRAY;
		return convert_members(c, in, out, depth);
	}
	if (auto s = in.as_string()) {
		out->type = TOML_STR;
		if (s->get().find('\0') != std::string::npos)
			return err_set(c.err, CRIO_E_INVALID, "%s:%d: a string contains a NUL character", c.file, out->line);
		out->str = dup(s->get());
		return out->str ? 0 : err_nomem(c.err);
	}
	if (auto i = in.as_integer()) {
		out->type = TOML_INT;
		out->i = i->get();
	} else if (auto f = in.as_floating_point()) {
		out->type = TOML_FLOAT;
		out->f = f->get();
	} else if (auto b = in.as_boolean()) {
		out->type = TOML_BOOL;
		out->i = b->get() ? 1 : 0;
	} else {
		out->type = TOML_TIME;
	}
	return 0;
}

void release(struct toml_node *t)
{
	for (size_t i = 0; i < t->n; i++)
		release(&t->v[i]);
	std::free(t->v);
	std::free(t->key);
	std::free(t->str);
}

} // namespace

extern "C" void toml_free(struct toml_node *root)
{
	if (!root)
		return;
	release(root);
	std::free(root);
}

extern "C" int toml_parse(const char *text, size_t n, const char *file, struct toml_node **ret, crio_err *err)
try {
	if (n > TOML_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "%s: more than %u bytes", file, TOML_MAX);
	if (std::memchr(text, 0, n))
		return err_set(err, CRIO_E_INVALID, "%s: contains a NUL byte", file);
	int r = check_dots(text, n, file, err);
	if (r < 0)
		return r;
	toml::parse_result res = toml::parse(std::string_view(text, n));
	if (!res) {
		const toml::parse_error &e = res.error();
		std::string_view d = e.description();
		return err_set(err, CRIO_E_INVALID, "%s:%u: unable to decode configuration: %.*s", file,
			       static_cast<unsigned>(e.source().begin.line), static_cast<int>(d.size()), d.data());
	}
	struct toml_node *root = static_cast<struct toml_node *>(std::calloc(1, sizeof *root));
	if (!root)
		return err_nomem(err);
	ctx c = { file, err };
	r = convert(c, res.table(), root, 0);
	if (r < 0) {
		toml_free(root);
		return r;
	}
	*ret = root;
	return 0;
} catch (const std::bad_alloc &) {
	return err_nomem(err);
} catch (...) {
	return err_set(err, CRIO_E_INTERNAL, "%s: the TOML parser failed", file);
}
