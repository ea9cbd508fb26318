#include "core/unpack/tar.h"

#include <limits.h>
#include <string.h>

#include "core/unpack/tar_header.h"
#include "core/unpack/tar_num.h"
#include "core/unpack/tar_pax.h"

#define BUF_SIZE (256u << 10)

struct tar_reader {
	struct source src;
	struct tar_limits limits;
	tar_raw_fn raw;
	void *raw_arg;
	unsigned char *buf; /* BUF_SIZE; pos..n not used yet */
	size_t pos, n;
	bool src_end, done;
	int failed;
	uint64_t headers;
	uint64_t left;      /* of the entry's content */
	uint32_t pad;       /* after it */
	uint32_t meta;      /* bytes of pax and long names for the entry being read */
	struct tar_entry e;
	struct buf name, link;       /* what e.name and e.link point to */
	struct buf long_name, long_link;
	struct buf pax_text;         /* the pax records; values are used in place */
	struct pax pax;
};

int tar_reader_new(struct source src, const struct tar_limits *limits, tar_raw_fn raw, void *raw_arg,
		   struct tar_reader **ret, crio_err *err)
{
	struct tar_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return err_nomem(err);
	r->buf = malloc(BUF_SIZE);
	if (!r->buf) {
		free(r);
		return err_nomem(err);
	}
	r->src = src;
	r->limits = *limits;
	r->raw = raw;
	r->raw_arg = raw_arg;
	*ret = r;
	return 0;
}

void tar_reader_free(struct tar_reader *r)
{
	if (!r)
		return;
	buf_release(&r->name);
	buf_release(&r->link);
	buf_release(&r->long_name);
	buf_release(&r->long_link);
	buf_release(&r->pax_text);
	pax_release(&r->pax);
	free(r->buf);
	free(r);
}

uint64_t tar_headers(const struct tar_reader *r)
{
	return r->headers;
}

static int corrupt(const struct tar_reader *r, const char *what, crio_err *err)
{
	return err_set(err, CRIO_E_CORRUPT, "tar archive, header %llu: %s", (unsigned long long)r->headers, what);
}

static int fill(struct tar_reader *r, crio_err *err)
{
	ssize_t got;

	/* Less than a block is left whenever more is needed. */
	memmove(r->buf, r->buf + r->pos, r->n - r->pos);
	r->n -= r->pos;
	r->pos = 0;
	got = source_read(&r->src, r->buf + r->n, BUF_SIZE - r->n, err);
	if (got < 0)
		return (int)got;
	if (!got)
		r->src_end = true;
	r->n += (size_t)got;
	return 0;
}

/* Until `need` bytes (at most a block) are there or the source has ended. */
static int want(struct tar_reader *r, size_t need, crio_err *err)
{
	while (r->n - r->pos < need && !r->src_end) {
		int code = fill(r, err);

		if (code)
			return code;
	}
	return 0;
}

static int raw_out(struct tar_reader *r, size_t n, crio_err *err)
{
	int code = r->raw && n ? r->raw(r->raw_arg, r->buf + r->pos, n, err) : 0;

	r->pos += n;
	return code;
}

/* A whole block at r->buf + r->pos, not yet given out as raw. */
static int want_block(struct tar_reader *r, crio_err *err)
{
	int code = want(r, TAR_BLOCK, err);

	if (!code && r->n - r->pos < TAR_BLOCK)
		return corrupt(r, "the data ends too early", err);
	return code;
}

static int count_header(struct tar_reader *r, crio_err *err)
{
	if (++r->headers > r->limits.max_headers)
		return err_set(err, CRIO_E_EXHAUSTED, "tar archive: more than %llu headers",
			       (unsigned long long)r->limits.max_headers);
	return 0;
}

/* n bytes as raw, and into `keep` when it is given. */
static int pass(struct tar_reader *r, uint64_t n, struct buf *keep, crio_err *err)
{
	while (n) {
		int code = want(r, 1, err);
		size_t k = r->n - r->pos;

		if (code)
			return code;
		if (!k)
			return corrupt(r, "the data ends too early", err);
		if (k > n)
			k = (size_t)n;
		if (keep)
			buf_add(keep, r->buf + r->pos, k);
		code = raw_out(r, k, err);
		if (code)
			return code;
		n -= k;
	}
	return 0;
}

/* Old writers leave out the padding of the last file: the end there is the archive's end. */
static int pass_padding(struct tar_reader *r, crio_err *err)
{
	int code = want(r, r->pad, err);
	size_t k = r->n - r->pos;

	if (code)
		return code;
	if (k > r->pad)
		k = r->pad;
	r->pad = 0;
	return raw_out(r, k, err);
}

static uint32_t padding(uint64_t n)
{
	return (uint32_t)(-n & (TAR_BLOCK - 1));
}

static int field(const struct tar_reader *r, size_t at, size_t n, const char *what, int64_t *ret, crio_err *err)
{
	if (tar_number(r->buf + r->pos + at, n, ret))
		return 0;
	return err_set(err, CRIO_E_CORRUPT, "tar archive, header %llu: field '%s' is not a number",
		       (unsigned long long)r->headers, what);
}

/* Data of a pax or long-name header, into out, replacing what was there. */
static int read_meta(struct tar_reader *r, struct buf *out, crio_err *err)
{
	int64_t size;
	int code = field(r, TAR_AT_SIZE, 12, "size", &size, err);

	if (code)
		return code;
	if (size < 0)
		return corrupt(r, "negative size", err);
	if ((uint64_t)size > r->limits.max_meta - r->meta)
		return err_set(err, CRIO_E_EXHAUSTED, "tar archive, header %llu: more than %u bytes of pax or long-name data",
			       (unsigned long long)r->headers, r->limits.max_meta);
	r->meta += (uint32_t)size;
	code = raw_out(r, TAR_BLOCK, err);
	if (code)
		return code;
	if (out)
		buf_clear(out);
	code = pass(r, (uint64_t)size, out, err);
	if (code)
		return code;
	if (out && buf_bad(out))
		return err_nomem(err);
	r->pad = padding((uint64_t)size);
	return pass_padding(r, err);
}

static void meta_forget(struct tar_reader *r)
{
	r->meta = 0;
	buf_clear(&r->long_name);
	buf_clear(&r->long_link);
	buf_clear(&r->pax_text);
	pax_clear(&r->pax);
}

static bool is_ascii(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n && p[i]; i++)
		if (p[i] >= 0x80)
			return false;
	return true;
}

/* The length of the prefix that belongs before the name. */
static size_t prefix_len(const unsigned char *h)
{
	size_t max = 0;
	int64_t t;

	if (!memcmp(h + TAR_AT_MAGIC, "ustar", 6)) {
		max = memcmp(h + TAR_AT_STAR_TRAILER, "tar", 4) ? 155 : 131;
	} else if (!memcmp(h + TAR_AT_MAGIC, "ustar  ", 8)) {
		/* GNU has times there, but Go before 1.8 wrote a prefix all the same. */
		if ((!tar_number(h + TAR_AT_GNU_ATIME, 12, &t) || !tar_number(h + TAR_AT_GNU_CTIME, 12, &t)) &&
		    is_ascii(h + TAR_AT_PREFIX, 155))
			max = 155;
	}
	return max ? strnlen((const char *)h + TAR_AT_PREFIX, max) : 0;
}

static int set_name(struct tar_reader *r, crio_err *err)
{
	const unsigned char *h = r->buf + r->pos;
	size_t prefix = prefix_len(h);

	buf_clear(&r->name);
	if (r->long_name.n && r->long_name.p[0]) {
		buf_adds(&r->name, r->long_name.p);
	} else if (str_set(r->pax.path)) {
		buf_adds(&r->name, r->pax.path);
	} else {
		if (prefix) {
			buf_add(&r->name, h + TAR_AT_PREFIX, prefix);
			buf_addc(&r->name, '/');
		}
		buf_add(&r->name, h + TAR_AT_NAME, strnlen((const char *)h + TAR_AT_NAME, TAR_NAME_LEN));
	}
	buf_clear(&r->link);
	if (r->long_link.n && r->long_link.p[0])
		buf_adds(&r->link, r->long_link.p);
	else if (str_set(r->pax.linkpath))
		buf_adds(&r->link, r->pax.linkpath);
	else
		buf_add(&r->link, h + TAR_AT_LINK, strnlen((const char *)h + TAR_AT_LINK, TAR_NAME_LEN));
	if (buf_bad(&r->name) || buf_bad(&r->link))
		return err_nomem(err);
	return 0;
}

static int set_id(struct tar_reader *r, size_t at, const char *what, const char *pax, uint32_t *ret, crio_err *err)
{
	int64_t v;
	int code = field(r, at, 8, what, &v, err);

	if (code)
		return code;
	if (str_set(pax) && !tar_pax_int(pax, &v))
		return err_set(err, CRIO_E_CORRUPT, "tar archive, header %llu: pax record '%s' is not a number",
			       (unsigned long long)r->headers, what);
	if (v < 0 || v >= UINT32_MAX)
		return err_set(err, CRIO_E_INVALID, "tar archive, header %llu: %s %lld is out of range",
			       (unsigned long long)r->headers, what, (long long)v);
	*ret = (uint32_t)v;
	return 0;
}

static int set_device(struct tar_reader *r, crio_err *err)
{
	int64_t major = 0, minor = 0;
	int code = 0;

	if (!memcmp(r->buf + r->pos + TAR_AT_MAGIC, "ustar", 5)) {
		code = field(r, TAR_AT_MAJOR, 8, "devmajor", &major, err);
		if (!code)
			code = field(r, TAR_AT_MINOR, 8, "devminor", &minor, err);
	}
	if (code)
		return code;
	if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff)
		return err_set(err, CRIO_E_INVALID, "tar archive, header %llu: device number %lld:%lld is out of range",
			       (unsigned long long)r->headers, (long long)major, (long long)minor);
	r->e.major = (uint32_t)major;
	r->e.minor = (uint32_t)minor;
	return 0;
}

static int set_type(struct tar_reader *r, unsigned char t, crio_err *err)
{
	switch (t) {
	case '\0':
		/* v7 has no type for directories. */
		r->e.type = r->name.n && r->name.p[r->name.n - 1] == '/' ? TAR_DIR : TAR_FILE;
		return 0;
	case '0':
	case '7':
	case 'S':
		r->e.type = TAR_FILE;
		return 0;
	case '1':
		r->e.type = TAR_HARDLINK;
		return 0;
	case '2':
		r->e.type = TAR_SYMLINK;
		return 0;
	case '3':
		r->e.type = TAR_CHAR;
		return set_device(r, err);
	case '4':
		r->e.type = TAR_BLOCK_DEV;
		return set_device(r, err);
	case '5':
		r->e.type = TAR_DIR;
		return 0;
	case '6':
		r->e.type = TAR_FIFO;
		return 0;
	default:
		return err_set(err, CRIO_E_UNSUPPORTED, "tar archive, header %llu: entry type 0x%02x is not supported",
			       (unsigned long long)r->headers, t);
	}
}

/* size, stored, left and pad, before any sparse map. */
static int set_size(struct tar_reader *r, crio_err *err)
{
	int64_t size;
	int code = field(r, TAR_AT_SIZE, 12, "size", &size, err);

	if (code)
		return code;
	if (str_set(r->pax.size) && !tar_pax_int(r->pax.size, &size))
		return corrupt(r, "pax record 'size' is not a number", err);
	if (size < 0)
		return corrupt(r, "negative size", err);
	if (r->e.type != TAR_FILE)
		size = 0; /* such entries have no content, whatever their size field says */
	if ((uint64_t)size > r->limits.max_size)
		return err_set(err, CRIO_E_EXHAUSTED, "tar archive, header %llu: a file of %lld bytes (limit: %llu)",
			       (unsigned long long)r->headers, (long long)size,
			       (unsigned long long)r->limits.max_size);
	r->e.size = r->e.stored = r->left = (uint64_t)size;
	r->pad = padding((uint64_t)size);
	return 0;
}

static int set_times(struct tar_reader *r, crio_err *err)
{
	int code = field(r, TAR_AT_MTIME, 12, "mtime", &r->e.mtime, err);

	r->e.mtime_ns = 0;
	if (code)
		return code;
	if (str_set(r->pax.mtime) && !tar_pax_time(r->pax.mtime, &r->e.mtime, &r->e.mtime_ns))
		return corrupt(r, "pax record 'mtime' is not a time", err);
	return 0;
}

static int add_extent(struct tar_reader *r, const unsigned char *p, bool *ret_more, crio_err *err)
{
	int64_t offset, n;

	*ret_more = p[0] != 0;
	if (!*ret_more)
		return 0;
	if (!tar_number(p, 12, &offset) || !tar_number(p + 12, 12, &n) || offset < 0 || n < 0)
		return corrupt(r, "sparse map: not numbers", err);
	return pax_add_extent(&r->pax, (uint64_t)offset, (uint64_t)n, r->limits.max_sparse, err);
}

/* Old GNU form: four extents in the header, the rest in blocks of 21 after it. The header is given out as raw here. */
static int sparse_gnu(struct tar_reader *r, crio_err *err)
{
	const unsigned char *h = r->buf + r->pos;
	bool more = true, extended = h[TAR_AT_GNU_EXTENDED] != 0;
	int64_t size;
	int code = field(r, TAR_AT_GNU_REALSIZE, 12, "realsize", &size, err);

	if (code)
		return code;
	if (size < 0)
		return corrupt(r, "negative size", err);
	r->pax.n_extents = 0;
	for (int i = 0; i < 4 && more; i++) {
		code = add_extent(r, h + TAR_AT_GNU_SPARSE + 24 * i, &more, err);
		if (code)
			return code;
	}
	code = raw_out(r, TAR_BLOCK, err);
	while (!code && extended) {
		code = want_block(r, err);
		if (!code)
			code = count_header(r, err);
		if (code)
			return code;
		h = r->buf + r->pos;
		extended = h[504] != 0;
		more = true;
		for (int i = 0; i < 21 && more; i++) {
			code = add_extent(r, h + 24 * i, &more, err);
			if (code)
				return code;
		}
		code = raw_out(r, TAR_BLOCK, err);
	}
	r->e.size = (uint64_t)size;
	return code;
}

/* pax form 1.0: the map is decimal lines at the start of the content, filled up to a block. */
static int sparse_1_0(struct tar_reader *r, crio_err *err)
{
	uint64_t v = 0, offset = 0, tokens = 0, total = 1;
	bool digits = false;
	int code;

	r->pax.n_extents = 0;
	while (tokens < total) {
		code = want_block(r, err);
		if (code)
			return code;
		if (r->left < TAR_BLOCK)
			return corrupt(r, "sparse map: longer than the content", err);
		const unsigned char *p = r->buf + r->pos;

		for (size_t i = 0; i < TAR_BLOCK && tokens < total; i++) {
			if (p[i] >= '0' && p[i] <= '9' && v < UINT64_MAX / 20) {
				v = v * 10 + (unsigned int)(p[i] - '0');
				digits = true;
				continue;
			}
			if (p[i] != '\n' || !digits)
				return corrupt(r, "sparse map: not numbers", err);
			if (!tokens) {
				if (v > r->limits.max_sparse)
					return err_set(err, CRIO_E_EXHAUSTED, "tar archive: a sparse file of more than %u parts",
						       r->limits.max_sparse);
				total = 1 + 2 * v;
			} else if (tokens & 1) {
				offset = v;
			} else {
				code = pax_add_extent(&r->pax, offset, v, r->limits.max_sparse, err);
				if (code)
					return code;
			}
			tokens++;
			v = 0;
			digits = false;
		}
		code = raw_out(r, TAR_BLOCK, err);
		if (code)
			return code;
		r->left -= TAR_BLOCK;
	}
	return 0;
}

static int sparse_check(struct tar_reader *r, crio_err *err)
{
	uint64_t end = 0, sum = 0;

	if (r->e.size > r->limits.max_size)
		return err_set(err, CRIO_E_EXHAUSTED, "tar archive, header %llu: a sparse file of %llu bytes (limit: %llu)",
			       (unsigned long long)r->headers, (unsigned long long)r->e.size,
			       (unsigned long long)r->limits.max_size);
	for (size_t i = 0; i < r->pax.n_extents; i++) {
		const struct tar_extent *x = &r->pax.extents[i];

		if (x->offset < end || x->offset > r->e.size || x->n > r->e.size - x->offset)
			return corrupt(r, "sparse map: parts overlap or exceed the file", err);
		end = x->offset + x->n;
		sum += x->n;
	}
	if (sum != r->left)
		return corrupt(r, "sparse map: its sum is not the content's size", err);
	r->e.stored = r->left;
	r->e.sparse = true;
	r->e.extents = r->pax.extents;
	r->e.n_extents = r->pax.n_extents;
	return 0;
}

/* The header block is at hand and is given out as raw by this. */
static int set_sparse(struct tar_reader *r, unsigned char type, crio_err *err)
{
	enum pax_sparse form = type == 'S' ? PAX_SPARSE_NONE : pax_sparse_form(&r->pax);
	int code;

	r->e.sparse = false;
	r->e.extents = NULL;
	r->e.n_extents = 0;
	if (type != 'S' && form == PAX_SPARSE_NONE)
		return raw_out(r, TAR_BLOCK, err);
	if (r->e.type != TAR_FILE)
		return corrupt(r, "only a file can be sparse", err);
	if (type == 'S') {
		code = sparse_gnu(r, err);
	} else {
		code = raw_out(r, TAR_BLOCK, err);
		if (!code)
			code = pax_sparse_size(&r->pax, &r->e.size, err);
		if (!code && str_set(r->pax.sparse_name)) {
			buf_clear(&r->name);
			buf_adds(&r->name, r->pax.sparse_name);
			if (buf_bad(&r->name))
				code = err_nomem(err);
		}
		if (!code)
			code = form == PAX_SPARSE_1_0 ? sparse_1_0(r, err) :
							pax_sparse_map(&r->pax, r->limits.max_sparse, err);
	}
	return code ? code : sparse_check(r, err);
}

static int read_entry(struct tar_reader *r, unsigned char type, crio_err *err)
{
	struct tar_entry *e = &r->e;
	int64_t mode;
	int code;

	memset(e, 0, sizeof(*e));
	code = set_name(r, err);
	if (!code)
		code = set_type(r, type, err);
	if (!code)
		code = field(r, TAR_AT_MODE, 8, "mode", &mode, err);
	if (!code)
		code = set_id(r, TAR_AT_UID, "uid", r->pax.uid, &e->uid, err);
	if (!code)
		code = set_id(r, TAR_AT_GID, "gid", r->pax.gid, &e->gid, err);
	if (!code)
		code = set_times(r, err);
	if (!code)
		code = set_size(r, err);
	if (code)
		return code;
	e->mode = (uint32_t)mode & 07777;
	code = set_sparse(r, type, err);
	if (code)
		return code;
	if (!r->name.n)
		return corrupt(r, "an entry without a name", err);
	e->name = r->name.p;
	e->link = r->link.p ? r->link.p : "";
	e->xattrs = r->pax.xattrs;
	e->n_xattrs = r->pax.n_xattrs;
	return 1;
}

/* 1: a header that checks is at hand; 0: the end of the archive. */
static int next_header(struct tar_reader *r, crio_err *err)
{
	int code = want(r, TAR_BLOCK, err);

	if (code)
		return code;
	if (r->n == r->pos)
		return 0;
	code = want_block(r, err);
	if (!code)
		code = count_header(r, err);
	if (code)
		return code;
	if (!tar_block_is_zero(r->buf + r->pos)) {
		if (!tar_checksum_ok(r->buf + r->pos))
			return corrupt(r, "wrong checksum: not a tar archive, or damaged", err);
		return 1;
	}
	code = raw_out(r, TAR_BLOCK, err);
	if (!code)
		code = want(r, TAR_BLOCK, err);
	if (code || r->n == r->pos)
		return code;
	code = want_block(r, err);
	if (code)
		return code;
	if (!tar_block_is_zero(r->buf + r->pos))
		return corrupt(r, "a single zero block", err);
	return raw_out(r, TAR_BLOCK, err);
}

static int read_pax(struct tar_reader *r, crio_err *err)
{
	int code = read_meta(r, &r->pax_text, err);

	return code ? code : pax_parse(&r->pax, &r->pax_text, r->limits.max_sparse, err);
}

static int next(struct tar_reader *r, crio_err *err)
{
	int code = pass(r, r->left, NULL, err);

	r->left = 0;
	if (!code)
		code = pass_padding(r, err);
	meta_forget(r);
	while (!code) {
		code = next_header(r, err);
		if (code <= 0)
			return code;
		unsigned char type = r->buf[r->pos + TAR_AT_TYPE];

		switch (type) {
		case 'x':
			code = read_pax(r, err);
			break;
		case 'g':
			/* Global records are for nobody: archive/tar hands them out as an entry of their own, which
			 * ends what belonged to the next one. */
			code = read_meta(r, NULL, err);
			meta_forget(r);
			break;
		case 'L':
			code = read_meta(r, &r->long_name, err);
			break;
		case 'K':
			code = read_meta(r, &r->long_link, err);
			break;
		default:
			return read_entry(r, type, err);
		}
	}
	return code;
}

int tar_next(struct tar_reader *r, const struct tar_entry **ret, crio_err *err)
{
	int code;

	if (r->failed)
		return err_set(err, r->failed, "the tar archive failed before");
	if (r->done)
		return 0;
	code = next(r, err);
	if (code < 0)
		r->failed = code;
	else if (!code)
		r->done = true;
	else
		*ret = &r->e;
	return code;
}

ssize_t tar_data(struct tar_reader *r, size_t most, const void **ret, crio_err *err)
{
	size_t k;
	int code;

	if (r->failed)
		return err_set(err, r->failed, "the tar archive failed before");
	if (!r->left || !most)
		return 0;
	code = want(r, 1, err);
	if (!code && r->n == r->pos)
		code = corrupt(r, "the data ends within a file", err);
	if (code) {
		r->failed = code;
		return code;
	}
	k = r->n - r->pos;
	if (k > r->left)
		k = (size_t)r->left;
	if (k > most)
		k = most;
	*ret = r->buf + r->pos;
	r->pos += k;
	r->left -= k;
	return (ssize_t)k;
}

int tar_drain(struct tar_reader *r, crio_err *err)
{
	int code = 0;

	while (!code && !(r->src_end && r->pos == r->n)) {
		code = want(r, 1, err);
		if (!code)
			code = raw_out(r, r->n - r->pos, err);
	}
	return code;
}
