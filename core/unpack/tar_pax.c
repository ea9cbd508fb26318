#include "core/unpack/tar_pax.h"

#include <string.h>

#include "core/unpack/tar_num.h"

#define XATTR_PREFIX "SCHILY.xattr."

void pax_clear(struct pax *x)
{
	struct tar_xattr *xattrs = x->xattrs;
	struct tar_extent *extents = x->extents;
	size_t cap_xattrs = x->cap_xattrs, cap_extents = x->cap_extents;

	memset(x, 0, sizeof(*x));
	x->xattrs = xattrs;
	x->cap_xattrs = cap_xattrs;
	x->extents = extents;
	x->cap_extents = cap_extents;
}

void pax_release(struct pax *x)
{
	free(x->xattrs);
	free(x->extents);
	memset(x, 0, sizeof(*x));
}

static int bad(const char *what, crio_err *err)
{
	return err_set(err, CRIO_E_CORRUPT, "tar archive: pax records: %s", what);
}

int pax_add_extent(struct pax *x, uint64_t offset, uint64_t n, uint32_t max_sparse, crio_err *err)
{
	if (x->n_extents >= max_sparse)
		return err_set(err, CRIO_E_EXHAUSTED, "tar archive: a sparse file of more than %u parts", max_sparse);
	if (x->n_extents == x->cap_extents) {
		size_t cap = x->cap_extents ? 2 * x->cap_extents : 32;
		struct tar_extent *p = reallocarray(x->extents, cap, sizeof(*p));

		if (!p)
			return err_nomem(err);
		x->extents = p;
		x->cap_extents = cap;
	}
	x->extents[x->n_extents].offset = offset;
	x->extents[x->n_extents].n = n;
	x->n_extents++;
	return 0;
}

static int add_xattr(struct pax *x, const char *name, const char *value, size_t n, crio_err *err)
{
	if (!*name)
		return bad("an extended attribute without a name", err);
	if (x->n_xattrs == x->cap_xattrs) {
		size_t cap = x->cap_xattrs ? 2 * x->cap_xattrs : 8;
		struct tar_xattr *p = reallocarray(x->xattrs, cap, sizeof(*p));

		if (!p)
			return err_nomem(err);
		x->xattrs = p;
		x->cap_xattrs = cap;
	}
	x->xattrs[x->n_xattrs].name = name;
	x->xattrs[x->n_xattrs].value = value;
	x->xattrs[x->n_xattrs].n = n;
	x->n_xattrs++;
	return 0;
}

/* Form 0.0: offset and numbytes records, in turn. */
static int add_pair(struct pax *x, bool is_offset, const char *value, uint32_t max_sparse, crio_err *err)
{
	uint64_t v;

	if (is_offset == x->pair_open || !str_to_u64(value, INT64_MAX, &v))
		return bad("sparse map: offsets and lengths do not pair", err);
	x->pair_open = is_offset;
	if (is_offset) {
		x->pair_offset = v;
		return 0;
	}
	x->pairs = true;
	return pax_add_extent(x, x->pair_offset, v, max_sparse, err);
}

static int record(struct pax *x, const char *key, const char *value, size_t n, uint32_t max_sparse, crio_err *err)
{
	static const struct {
		const char *key;
		size_t at;
	} texts[] = {
		{ "path", offsetof(struct pax, path) },
		{ "linkpath", offsetof(struct pax, linkpath) },
		{ "size", offsetof(struct pax, size) },
		{ "uid", offsetof(struct pax, uid) },
		{ "gid", offsetof(struct pax, gid) },
		{ "mtime", offsetof(struct pax, mtime) },
		{ "GNU.sparse.major", offsetof(struct pax, sparse_major) },
		{ "GNU.sparse.minor", offsetof(struct pax, sparse_minor) },
		{ "GNU.sparse.name", offsetof(struct pax, sparse_name) },
		{ "GNU.sparse.size", offsetof(struct pax, sparse_size) },
		{ "GNU.sparse.realsize", offsetof(struct pax, sparse_realsize) },
		{ "GNU.sparse.map", offsetof(struct pax, sparse_map) },
		{ "GNU.sparse.numblocks", offsetof(struct pax, sparse_numblocks) },
	};

	if (str_starts(key, XATTR_PREFIX))
		return add_xattr(x, key + strlen(XATTR_PREFIX), value, n, err);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (!str_eq(key, texts[i].key))
			continue;
		if (strlen(value) != n)
			return bad("a NUL in a name or number", err);
		*(const char **)(void *)((char *)x + texts[i].at) = value;
		return 0;
	}
	if (str_eq(key, "GNU.sparse.offset") || str_eq(key, "GNU.sparse.numbytes")) {
		if (strlen(value) != n)
			return bad("a NUL in a name or number", err);
		return add_pair(x, str_ends(key, "offset"), value, max_sparse, err);
	}
	return 0;
}

int pax_parse(struct pax *x, struct buf *text, uint32_t max_sparse, crio_err *err)
{
	char *p = text->p;
	size_t left = text->n;

	pax_clear(x);
	while (left) {
		/* "<length of it all> <key>=<value>\n" */
		size_t n = 0, d = 0;

		while (d < left && d < 8 && p[d] >= '0' && p[d] <= '9')
			n = n * 10 + (size_t)(p[d++] - '0');
		if (!d || d == left || p[d] != ' ' || n < d + 3 || n > left || p[n - 1] != '\n')
			return bad("wrong length of a record", err);
		char *key = p + d + 1, *eq = memchr(key, '=', n - d - 2);

		if (!eq || eq == key || memchr(key, '\0', (size_t)(eq - key)))
			return bad("a record without a key", err);
		*eq = '\0';
		p[n - 1] = '\0';
		int code = record(x, key, eq + 1, (size_t)(p + n - 1 - (eq + 1)), max_sparse, err);

		if (code)
			return code;
		p += n;
		left -= n;
	}
	return x->pair_open ? bad("sparse map: offsets and lengths do not pair", err) : 0;
}

enum pax_sparse pax_sparse_form(const struct pax *x)
{
	const char *major = x->sparse_major ? x->sparse_major : "", *minor = x->sparse_minor ? x->sparse_minor : "";

	if (str_eq(major, "1") && str_eq(minor, "0"))
		return PAX_SPARSE_1_0;
	if (str_eq(major, "0") && (str_eq(minor, "0") || str_eq(minor, "1")))
		return PAX_SPARSE_0;
	if (*major || *minor)
		return PAX_SPARSE_NONE; /* of a later version: an ordinary file to us, as to archive/tar */
	return str_set(x->sparse_map) || x->pairs ? PAX_SPARSE_0 : PAX_SPARSE_NONE;
}

int pax_sparse_size(const struct pax *x, uint64_t *ret, crio_err *err)
{
	const char *s = str_set(x->sparse_size) ? x->sparse_size : x->sparse_realsize;

	if (str_set(s) && !str_to_u64(s, INT64_MAX, ret))
		return bad("GNU.sparse.size is not a number", err);
	return 0;
}

static const char *map_number(const char *p, uint64_t *ret)
{
	uint64_t v = 0;
	const char *from = p;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (v > INT64_MAX / 20)
			return NULL;
		v = v * 10 + (unsigned int)(*p - '0');
	}
	*ret = v;
	return p == from ? NULL : p;
}

int pax_sparse_map(struct pax *x, uint32_t max_sparse, crio_err *err)
{
	const char *p = x->sparse_map;
	uint64_t blocks;

	if (str_set(p)) {
		x->n_extents = 0;
		for (;;) {
			uint64_t offset, n;
			int code;

			p = map_number(p, &offset);
			if (!p || *p != ',' || !(p = map_number(p + 1, &n)) || (*p && *p != ','))
				return bad("sparse map: not numbers", err);
			code = pax_add_extent(x, offset, n, max_sparse, err);
			if (code)
				return code;
			if (!*p++)
				break;
		}
	}
	if (str_set(x->sparse_numblocks) &&
	    (!str_to_u64(x->sparse_numblocks, INT64_MAX, &blocks) || blocks != x->n_extents))
		return bad("sparse map: not as many parts as it says", err);
	return 0;
}
