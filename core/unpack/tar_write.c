#include "core/unpack/tar_write.h"

#include <string.h>
#include <unistd.h>

#include "core/unpack/tar_header.h"

#define OCTAL_11 077777777777ull /* what 11 octal digits can say */
#define OCTAL_7 07777777u
#define PAX_MAX (1u << 20)

static int room(const struct tar_out *o, uint64_t n, crio_err *err)
{
	if (n <= o->max && o->at <= o->max - n)
		return 0;
	return err_set(err, CRIO_E_EXHAUSTED, "the archive would be larger than %llu bytes", (unsigned long long)o->max);
}

static int put(struct tar_out *o, const void *p, size_t n, crio_err *err)
{
	const char *from = p;
	int r = room(o, n, err);

	if (r)
		return r;
	while (n) {
		ssize_t w = pwrite(o->fd, from, n, (off_t)o->at);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return err_errno(err, errno, "write the archive");
		from += w;
		n -= (size_t)w;
		o->at += (size_t)w;
	}
	return 0;
}

/* `digits` octal digits and a NUL; what has more is in a pax record, or (size) in GNU's binary form. */
static void octal(unsigned char *p, unsigned digits, uint64_t v)
{
	p[digits] = 0;
	for (unsigned i = digits; i-- > 0; v >>= 3)
		p[i] = (unsigned char)('0' + (v & 7));
}

static void put_size(unsigned char block[TAR_BLOCK], uint64_t v)
{
	unsigned char *p = block + TAR_AT_SIZE;

	if (v <= OCTAL_11) {
		octal(p, 11, v);
		return;
	}
	memset(p, 0, 12);
	p[0] = 0x80;
	for (unsigned i = 11; i >= 4; i--, v >>= 8)
		p[i] = (unsigned char)v;
}

static void put_sum(unsigned char block[TAR_BLOCK])
{
	unsigned sum = 0;

	memset(block + TAR_AT_SUM, ' ', TAR_SUM_LEN);
	for (unsigned i = 0; i < TAR_BLOCK; i++)
		sum += block[i];
	octal(block + TAR_AT_SUM, 6, sum);
	block[TAR_AT_SUM + 7] = ' ';
}

static void put_name(unsigned char *p, const char *name)
{
	size_t n = strlen(name);

	memcpy(p, name, n < TAR_NAME_LEN ? n : TAR_NAME_LEN);
}

static char type_of(enum tar_type t)
{
	static const char types[] = { [TAR_FILE] = '0', [TAR_HARDLINK] = '1', [TAR_SYMLINK] = '2', [TAR_CHAR] = '3',
				      [TAR_BLOCK_DEV] = '4', [TAR_DIR] = '5', [TAR_FIFO] = '6' };

	return types[t];
}

static void fill(unsigned char block[TAR_BLOCK], const struct tar_entry *e, const char *name)
{
	memset(block, 0, TAR_BLOCK);
	put_name(block + TAR_AT_NAME, name);
	octal(block + TAR_AT_MODE, 7, e->mode & 07777);
	octal(block + TAR_AT_UID, 7, e->uid <= OCTAL_7 ? e->uid : 0);
	octal(block + TAR_AT_GID, 7, e->gid <= OCTAL_7 ? e->gid : 0);
	put_size(block, e->size);
	octal(block + TAR_AT_MTIME, 11, e->mtime >= 0 && (uint64_t)e->mtime <= OCTAL_11 ? (uint64_t)e->mtime : 0);
	block[TAR_AT_TYPE] = (unsigned char)type_of(e->type);
	if (e->link)
		put_name(block + TAR_AT_LINK, e->link);
	memcpy(block + TAR_AT_MAGIC, "ustar\0" "00", 8);
	octal(block + TAR_AT_MAJOR, 7, e->major <= OCTAL_7 ? e->major : 0);
	octal(block + TAR_AT_MINOR, 7, e->minor <= OCTAL_7 ? e->minor : 0);
	put_sum(block);
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static void record(struct buf *b, const char *key, const void *value, size_t n)
{
	size_t rest = strlen(key) + n + 3, all = rest + 1; /* space, '=', newline; a digit at least */

	for (size_t digits = 1, ten = 10;; digits++, ten *= 10) {
		all = rest + digits;
		if (all < ten)
			break;
	}
	buf_addf(b, "%zu %s=", all, key);
	buf_add(b, value, n);
	buf_addc(b, '\n');
}

static void record_number(struct buf *b, const char *key, uint64_t v)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)v);

	record(b, key, text, (size_t)n);
}

static void record_mtime(struct buf *b, const struct tar_entry *e)
{
	char text[48];
	/* Before 1970 the fraction counts down from the second. */
	int64_t s = e->mtime < 0 && e->mtime_ns ? e->mtime + 1 : e->mtime;
	uint32_t ns = e->mtime < 0 && e->mtime_ns ? 1000000000u - e->mtime_ns : e->mtime_ns;
	int n = snprintf(text, sizeof(text), "%s%llu.%09u", e->mtime < 0 ? "-" : "", (unsigned long long)(s < 0 ? -(uint64_t)s : (uint64_t)s), ns);

	record(b, "mtime", text, (size_t)n);
}

static void pax_records(struct buf *b, const struct tar_entry *e)
{
	if (strlen(e->name) > TAR_NAME_LEN)
		record(b, "path", e->name, strlen(e->name));
	if (e->link && strlen(e->link) > TAR_NAME_LEN)
		record(b, "linkpath", e->link, strlen(e->link));
	if (e->uid > OCTAL_7)
		record_number(b, "uid", e->uid);
	if (e->gid > OCTAL_7)
		record_number(b, "gid", e->gid);
	if (e->mtime_ns || e->mtime < 0 || (uint64_t)e->mtime > OCTAL_11)
		record_mtime(b, e);
	for (size_t i = 0; i < e->n_xattrs; i++) {
		char key[320];
		int n = snprintf(key, sizeof(key), "SCHILY.xattr.%s", e->xattrs[i].name);

		if (n > 0 && (size_t)n < sizeof(key))
			record(b, key, e->xattrs[i].value, e->xattrs[i].n);
	}
}

static int pad(struct tar_out *o, crio_err *err)
{
	static const char zeros[TAR_BLOCK];
	size_t over = (size_t)(o->at % TAR_BLOCK);

	return over ? put(o, zeros, TAR_BLOCK - over, err) : 0;
}

static int put_pax(struct tar_out *o, const struct tar_entry *e, crio_err *err)
{
	cleanup_buf struct buf b = BUF_INIT;
	unsigned char block[TAR_BLOCK];
	int r;

	b.limit = PAX_MAX;
	pax_records(&b, e);
	if (b.over)
		return err_set(err, CRIO_E_EXHAUSTED, "'%.200s': more than %u bytes of attributes", e->name, PAX_MAX);
	if (b.oom)
		return err_nomem(err);
	if (!b.n)
		return 0;
	fill(block, &(struct tar_entry){ .type = TAR_FILE, .size = b.n, .mode = 0600 }, "PaxHeaders/entry");
	block[TAR_AT_TYPE] = 'x';
	put_sum(block);
	r = put(o, block, sizeof(block), err);
	if (!r)
		r = put(o, b.p, b.n, err);
	return r ? r : pad(o, err);
}

int tar_out_begin(struct tar_out *o, const struct tar_entry *e, struct tar_mark *ret, crio_err *err)
{
	struct tar_mark m;
	int r;

	if (e->sparse || !e->name || !*e->name)
		return err_set(err, CRIO_E_INVALID, "write an archive: an entry of this form cannot be written");
	r = put_pax(o, e, err);
	if (r)
		return r;
	m.at = o->at;
	fill(m.block, e, e->name);
	r = put(o, m.block, sizeof(m.block), err);
	if (!r && ret)
		*ret = m;
	return r;
}

int tar_out_data(struct tar_out *o, const void *p, size_t n, crio_err *err)
{
	return put(o, p, n, err);
}

int tar_out_zeros(struct tar_out *o, uint64_t n, crio_err *err)
{
	int r = room(o, n, err);

	if (!r)
		o->at += n;
	return r;
}

int tar_out_end(struct tar_out *o, const struct tar_mark *mark, crio_err *err)
{
	struct tar_out patch = *o;
	struct tar_mark m;
	uint64_t size;
	int r;

	if (!mark)
		return pad(o, err);
	m = *mark;
	size = o->at - m.at - TAR_BLOCK;
	r = pad(o, err);
	if (r)
		return r;
	put_size(m.block, size);
	put_sum(m.block);
	patch.at = m.at;
	return put(&patch, m.block, sizeof(m.block), err);
}

int tar_out_finish(struct tar_out *o, crio_err *err)
{
	static const char zeros[2 * TAR_BLOCK];

	return put(o, zeros, sizeof(zeros), err);
}

int tar_out_file(struct tar_out *o, const char *name, const void *p, size_t n, crio_err *err)
{
	struct tar_entry e = { .type = TAR_FILE, .name = name, .link = "", .size = n, .mode = 0600 };
	int r = tar_out_begin(o, &e, NULL, err);

	if (!r)
		r = put(o, p, n, err);
	return r ? r : tar_out_end(o, NULL, err);
}
