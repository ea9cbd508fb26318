#include "core/unpack/decompress.h"

#include <isa-l/igzip_lib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "core/util/str.h"

#define IN_SIZE (128u << 10)

struct decompress {
	struct source src;
	unsigned int window_log;
	enum compression kind;
	bool known;             /* kind is */
	bool src_end;
	int failed;             /* code: a stream that failed stays so */
	unsigned char *in;      /* IN_SIZE bytes, in_pos..in_n not used yet */
	size_t in_pos, in_n;
	bool in_member;         /* within a gzip member or zstd frame: the end of input is truncation */
	bool in_header;         /* of a gzip member */
	struct inflate_state *gz;
	struct isal_gzip_header gz_hdr;
	ZSTD_DStream *zs;
};

const char *compression_name(enum compression c)
{
	switch (c) {
	case COMPRESSION_NONE:
		return "none";
	case COMPRESSION_GZIP:
		return "gzip";
	case COMPRESSION_ZSTD:
		return "zstd";
	}
	return "unknown";
}

int compression_of_media_type(const char *media_type, enum compression *ret, crio_err *err)
{
	static const struct {
		const char *type;
		enum compression c;
	} types[] = {
		{ "application/vnd.oci.image.layer.v1.tar", COMPRESSION_NONE },
		{ "application/vnd.oci.image.layer.v1.tar+gzip", COMPRESSION_GZIP },
		{ "application/vnd.oci.image.layer.v1.tar+zstd", COMPRESSION_ZSTD },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar", COMPRESSION_NONE },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", COMPRESSION_GZIP },
		{ "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", COMPRESSION_ZSTD },
		{ "application/vnd.docker.image.rootfs.diff.tar", COMPRESSION_NONE },
		{ "application/vnd.docker.image.rootfs.diff.tar.gzip", COMPRESSION_GZIP },
		{ "application/vnd.docker.image.rootfs.diff.tar.zstd", COMPRESSION_ZSTD },
		{ "application/vnd.docker.image.rootfs.foreign.diff.tar", COMPRESSION_NONE },
		{ "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", COMPRESSION_GZIP },
		{ "application/vnd.docker.container.image.rootfs.diff+x-gtar", COMPRESSION_NONE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (str_eq(media_type, types[i].type)) {
			*ret = types[i].c;
			return 0;
		}
	return err_set(err, CRIO_E_UNSUPPORTED,
		       "layer media type '%.100s' is not one of tar, tar+gzip and tar+zstd; the image cannot be unpacked here",
		       media_type);
}

int decompress_new(struct source src, unsigned int window_log, struct decompress **ret, crio_err *err)
{
	struct decompress *d = calloc(1, sizeof(*d));

	if (!d)
		return err_nomem(err);
	d->src = src;
	d->window_log = window_log ? window_log : DECOMPRESS_WINDOW_LOG;
	d->in = malloc(IN_SIZE);
	if (!d->in) {
		free(d);
		return err_nomem(err);
	}
	*ret = d;
	return 0;
}

void decompress_free(struct decompress *d)
{
	if (!d)
		return;
	free(d->in);
	free(d->gz);
	if (d->zs)
		(void)ZSTD_freeDStream(d->zs);
	free(d);
}

enum compression decompress_kind(const struct decompress *d)
{
	return d->kind;
}

/* Adds what one read of the source gives. Call only with room left. */
static int fill(struct decompress *d, crio_err *err)
{
	ssize_t r;

	if (d->in_pos) {
		memmove(d->in, d->in + d->in_pos, d->in_n - d->in_pos);
		d->in_n -= d->in_pos;
		d->in_pos = 0;
	}
	r = source_read(&d->src, d->in + d->in_n, IN_SIZE - d->in_n, err);
	if (r < 0)
		return (int)r;
	if (!r)
		d->src_end = true;
	d->in_n += (size_t)r;
	return 0;
}

static bool zstd_magic(const unsigned char *p)
{
	uint32_t m = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

	return m == ZSTD_MAGICNUMBER || (m & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

static int start_gzip(struct decompress *d, crio_err *err)
{
	/* isal's state has members that need the alignment its type declares: malloc's is enough on all our machines. */
	d->gz = calloc(1, sizeof(*d->gz));
	if (!d->gz)
		return err_nomem(err);
	d->kind = COMPRESSION_GZIP;
	return 0;
}

static int start_zstd(struct decompress *d, crio_err *err)
{
	size_t z;

	d->zs = ZSTD_createDStream();
	if (!d->zs)
		return err_nomem(err);
	z = ZSTD_DCtx_setParameter(d->zs, ZSTD_d_windowLogMax, (int)d->window_log);
	if (ZSTD_isError(z))
		return err_set(err, CRIO_E_INVALID, "zstd window limit 2^%u: %s", d->window_log, ZSTD_getErrorName(z));
	d->kind = COMPRESSION_ZSTD;
	return 0;
}

static int detect(struct decompress *d, crio_err *err)
{
	int r;

	while (d->in_n < 6 && !d->src_end) {
		r = fill(d, err);
		if (r)
			return r;
	}
	const unsigned char *p = d->in;
	size_t n = d->in_n;

	if (n >= 3 && p[0] == 0x1f && p[1] == 0x8b && p[2] == 8)
		r = start_gzip(d, err);
	else if (n >= 4 && zstd_magic(p))
		r = start_zstd(d, err);
	else if (n >= 3 && !memcmp(p, "BZh", 3))
		return err_set(err, CRIO_E_UNSUPPORTED, "the blob is compressed with bzip2: only gzip and zstd are supported");
	else if (n >= 6 && !memcmp(p, "\xfd" "7zXZ", 6))
		return err_set(err, CRIO_E_UNSUPPORTED, "the blob is compressed with xz: only gzip and zstd are supported");
	else
		r = 0;
	if (!r)
		d->known = true;
	return r;
}

static int corrupt_gzip(int r, crio_err *err)
{
	switch (r) {
	case ISAL_INCORRECT_CHECKSUM:
		return err_set(err, CRIO_E_CORRUPT, "gzip data: wrong checksum or length");
	case ISAL_INVALID_WRAPPER:
		return err_set(err, CRIO_E_CORRUPT, "gzip data: invalid header, or trailing bytes after the last member");
	case ISAL_UNSUPPORTED_METHOD:
		return err_set(err, CRIO_E_CORRUPT, "gzip data: a compression method other than deflate");
	case ISAL_INVALID_BLOCK:
		return err_set(err, CRIO_E_CORRUPT, "gzip data: invalid block header");
	case ISAL_INVALID_SYMBOL:
		return err_set(err, CRIO_E_CORRUPT, "gzip data: invalid symbol");
	case ISAL_INVALID_LOOKBACK:
		return err_set(err, CRIO_E_CORRUPT, "gzip data: reference before the start");
	default:
		return err_set(err, CRIO_E_CORRUPT, "gzip data: damaged (%d)", r);
	}
}

static void member_begin(struct decompress *d)
{
	isal_inflate_init(d->gz);
	isal_gzip_header_init(&d->gz_hdr);
	d->gz->crc_flag = ISAL_GZIP_NO_HDR_VER;
	d->in_member = true;
	d->in_header = true;
}

/* One step over the input at hand: 0 (look again, or *ret_n bytes came out), or an error. */
static int step_gzip(struct decompress *d, unsigned char *p, size_t n, size_t *ret_n, crio_err *err)
{
	struct inflate_state *gz = d->gz;
	int r;

	if (!d->in_member)
		member_begin(d);
	gz->next_in = d->in + d->in_pos;
	gz->avail_in = (uint32_t)(d->in_n - d->in_pos);
	gz->next_out = p;
	gz->avail_out = (uint32_t)n;
	if (d->in_header) {
		r = isal_read_gzip_header(gz, &d->gz_hdr);
		if (r == ISAL_DECOMP_OK)
			d->in_header = false;
		else if (r != ISAL_END_INPUT)
			return corrupt_gzip(r, err);
	} else {
		r = isal_inflate(gz);
		if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT)
			return corrupt_gzip(r, err);
	}
	d->in_pos = d->in_n - gz->avail_in;
	*ret_n = n - gz->avail_out;
	if (!d->in_header && gz->block_state == ISAL_BLOCK_FINISH)
		d->in_member = false;
	return 0;
}

static int step_zstd(struct decompress *d, unsigned char *p, size_t n, size_t *ret_n, crio_err *err)
{
	ZSTD_inBuffer in = { d->in, d->in_n, d->in_pos };
	ZSTD_outBuffer out = { p, n, 0 };
	size_t z = ZSTD_decompressStream(d->zs, &out, &in);

	if (ZSTD_getErrorCode(z) == ZSTD_error_frameParameter_windowTooLarge)
		return err_set(err, CRIO_E_EXHAUSTED, "zstd data: wants a window of more than %u MiB",
			       (1u << d->window_log) >> 20);
	if (ZSTD_getErrorCode(z) == ZSTD_error_memory_allocation)
		return err_nomem(err);
	if (ZSTD_isError(z))
		return err_set(err, CRIO_E_CORRUPT, "zstd data: %s", ZSTD_getErrorName(z));
	d->in_pos = in.pos;
	*ret_n = out.pos;
	d->in_member = z != 0;
	return 0;
}

static int step_plain(struct decompress *d, unsigned char *p, size_t n, size_t *ret_n)
{
	size_t k = d->in_n - d->in_pos;

	if (k > n)
		k = n;
	memcpy(p, d->in + d->in_pos, k);
	d->in_pos += k;
	*ret_n = k;
	return 0;
}

static int step(struct decompress *d, unsigned char *p, size_t n, size_t *ret_n, crio_err *err)
{
	switch (d->kind) {
	case COMPRESSION_GZIP:
		return step_gzip(d, p, n, ret_n, err);
	case COMPRESSION_ZSTD:
		return step_zstd(d, p, n, ret_n, err);
	default:
		return step_plain(d, p, n, ret_n);
	}
}

static ssize_t read_some(struct decompress *d, void *p, size_t n, crio_err *err)
{
	size_t got = 0;
	int r;

	if (n > (1u << 30))
		n = 1u << 30;
	if (!d->known) {
		r = detect(d, err);
		if (r)
			return r;
	}
	for (;;) {
		/* Inside a member output may be pending without input. */
		if (d->in_pos < d->in_n || d->in_member) {
			size_t before = d->in_pos;

			r = step(d, p, n, &got, err);
			if (r)
				return r;
			if (got)
				return (ssize_t)got;
			if (d->in_pos != before)
				continue;
		}
		if (d->src_end) {
			if (d->in_member)
				return err_set(err, CRIO_E_CORRUPT, "%s data: ends too early", compression_name(d->kind));
			return 0;
		}
		if (d->in_n - d->in_pos == IN_SIZE)
			return err_set(err, CRIO_E_CORRUPT, "%s data: no progress", compression_name(d->kind));
		r = fill(d, err);
		if (r)
			return r;
	}
}

ssize_t decompress_read(void *arg, void *p, size_t n, crio_err *err)
{
	struct decompress *d = arg;
	ssize_t r;

	if (d->failed)
		return err_set(err, d->failed, "the blob's data failed before");
	r = read_some(d, p, n, err);
	if (r < 0)
		d->failed = (int)r;
	return r;
}
