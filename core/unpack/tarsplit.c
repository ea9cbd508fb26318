#include "core/unpack/tarsplit.h"

#include <isa-l/crc64.h>
#include <isa-l/igzip_lib.h>
#include <openssl/evp.h>
#include <string.h>

#include "core/util/fs.h"
#include "core/util/str.h"

#define SEGMENT (48u << 10) /* bytes of a raw segment; a multiple of 3 */
#define OUT_SIZE (64u << 10)

struct tarsplit {
	int fd;
	uint64_t position;
	size_t n_raw;
	struct isal_zstream z;
	struct buf line;
	unsigned char raw[SEGMENT];
	char text[SEGMENT / 3 * 4 + 1];
	unsigned char level_buf[ISAL_DEF_LVL1_DEFAULT];
	unsigned char out[OUT_SIZE];
};

int tarsplit_new(int fd, struct tarsplit **ret, crio_err *err)
{
	struct tarsplit *t = calloc(1, sizeof(*t));

	if (!t)
		return err_nomem(err);
	t->fd = fd;
	isal_deflate_init(&t->z);
	t->z.gzip_flag = IGZIP_GZIP;
	t->z.level = 1;
	t->z.level_buf = t->level_buf;
	t->z.level_buf_size = sizeof(t->level_buf);
	*ret = t;
	return 0;
}

void tarsplit_free(struct tarsplit *t)
{
	if (!t)
		return;
	buf_release(&t->line);
	free(t);
}

static int deflate(struct tarsplit *t, const void *p, size_t n, bool end, crio_err *err)
{
	t->z.next_in = (uint8_t *)(uintptr_t)p;
	t->z.avail_in = (uint32_t)n;
	t->z.end_of_stream = end;
	t->z.flush = NO_FLUSH;
	do {
		t->z.next_out = t->out;
		t->z.avail_out = OUT_SIZE;
		int r = isal_deflate(&t->z);

		if (r != COMP_OK)
			return err_set(err, CRIO_E_INTERNAL, "compress tar-split data: isal_deflate gave %d", r);
		r = fs_write_all(t->fd, t->out, OUT_SIZE - t->z.avail_out, err);
		if (r)
			return err_wrap(err, "write tar-split data");
	} while (!t->z.avail_out || (end && t->z.internal_state.state != ZSTATE_END));
	return 0;
}

static int put_line(struct tarsplit *t, crio_err *err)
{
	int r;

	buf_addf(&t->line, ",\"position\":%llu}\n", (unsigned long long)t->position++);
	if (buf_bad(&t->line))
		return err_nomem(err);
	r = deflate(t, t->line.p, t->line.n, false, err);
	buf_clear(&t->line);
	return r;
}

static int flush_raw(struct tarsplit *t, crio_err *err)
{
	if (!t->n_raw)
		return 0;
	int n = EVP_EncodeBlock((unsigned char *)t->text, t->raw, (int)t->n_raw);

	t->n_raw = 0;
	buf_adds(&t->line, "{\"type\":2,\"payload\":\"");
	buf_add(&t->line, t->text, (size_t)n);
	buf_adds(&t->line, "\"");
	return put_line(t, err);
}

int tarsplit_raw(struct tarsplit *t, const void *p, size_t n, crio_err *err)
{
	const unsigned char *from = p;

	while (n) {
		size_t k = SEGMENT - t->n_raw;

		if (k > n)
			k = n;
		memcpy(t->raw + t->n_raw, from, k);
		t->n_raw += k;
		from += k;
		n -= k;
		if (t->n_raw == SEGMENT) {
			int r = flush_raw(t, err);

			if (r)
				return r;
		}
	}
	return 0;
}

static void add_quoted(struct buf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f)
			buf_addf(b, "\\u%04x", c);
		else
			buf_addc(b, *s);
	}
}

static int add_name(struct tarsplit *t, const char *name, crio_err *err)
{
	size_t n = strlen(name);

	if (str_is_utf8(name, n)) {
		buf_adds(&t->line, "\"name\":\"");
		add_quoted(&t->line, name);
	} else {
		cleanup_free char *text = malloc(n / 3 * 4 + 5);

		if (!text || n > (1u << 24))
			return err_nomem(err);
		buf_adds(&t->line, "\"name_raw\":\"");
		(void)EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)name, (int)n);
		buf_adds(&t->line, text);
	}
	buf_adds(&t->line, "\"");
	return 0;
}

int tarsplit_file(struct tarsplit *t, const char *name, uint64_t size, uint64_t crc, crio_err *err)
{
	unsigned char sum[8];
	char text[13];
	int r = flush_raw(t, err);

	if (r)
		return r;
	buf_adds(&t->line, "{\"type\":1,");
	r = add_name(t, name, err);
	if (r)
		return r;
	if (size) {
		tarsplit_crc_bytes(crc, sum);
		(void)EVP_EncodeBlock((unsigned char *)text, sum, sizeof(sum));
		buf_addf(&t->line, ",\"size\":%llu,\"payload\":\"%s\"", (unsigned long long)size, text);
	} else {
		buf_adds(&t->line, ",\"payload\":null");
	}
	return put_line(t, err);
}

int tarsplit_finish(struct tarsplit *t, crio_err *err)
{
	int r = flush_raw(t, err);

	return r ? r : deflate(t, NULL, 0, true, err);
}

uint64_t tarsplit_crc(uint64_t crc, const void *p, size_t n)
{
	return crc64_iso_refl(crc, p, n);
}

void tarsplit_crc_bytes(uint64_t crc, unsigned char ret[8])
{
	for (int i = 0; i < 8; i++)
		ret[i] = (unsigned char)(crc >> (56 - 8 * i));
}
