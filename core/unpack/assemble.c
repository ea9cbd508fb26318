#include "core/unpack/assemble.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

#include "core/unpack/decompress.h"
#include "core/unpack/extract.h"
#include "core/unpack/tarsplit.h"
#include "core/util/fs.h"
#include "core/util/json.h"

/* A raw segment of up to 4 MiB in base64, with its frame. containers/storage writes padding in pieces of 1 MiB and a
 * header with its pax data in one. */
#define TEXT_MAX (6u << 20)
#define READ_SIZE (64u << 10)

struct assembly {
	int tree;
	struct decompress *lines;
	struct buf line;
	char *in;             /* READ_SIZE bytes, in_pos..in_n not used yet */
	size_t in_pos, in_n;
	bool in_end;
	int failed;

	unsigned char *raw;   /* the segment being given out: raw_pos..raw_n left */
	size_t raw_pos, raw_n;
	int fd;               /* the file being given out; -1 */
	uint64_t left;
	uint64_t crc;
	unsigned char want[8];
	char *name;
};

int assembly_new(int tree, int tar_split_fd, struct assembly **ret, crio_err *err)
{
	struct assembly *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return err_nomem(err);
	a->tree = tree;
	a->fd = -1;
	buf_init(&a->line, TEXT_MAX);
	a->in = malloc(READ_SIZE);
	r = a->in ? decompress_new(source_of_fd(tar_split_fd), 0, &a->lines, err) : err_nomem(err);
	if (r) {
		assembly_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void assembly_free(struct assembly *a)
{
	if (!a)
		return;
	decompress_free(a->lines);
	buf_release(&a->line);
	free(a->in);
	free(a->raw);
	free(a->name);
	(void)safe_close(a->fd);
	free(a);
}

static int damaged(const char *what, crio_err *err)
{
	return err_set(err, CRIO_E_CORRUPT, "tar-split data: %s", what);
}

/* 1: a->line has the next line; 0: the end. */
static int next_line(struct assembly *a, crio_err *err)
{
	buf_clear(&a->line);
	for (;;) {
		char *from = a->in + a->in_pos, *nl = memchr(from, '\n', a->in_n - a->in_pos);
		size_t n = nl ? (size_t)(nl - from) : a->in_n - a->in_pos;

		buf_add(&a->line, from, n);
		a->in_pos += n + (nl != NULL);
		if (a->line.over)
			return damaged("a line is too long", err);
		if (a->line.oom)
			return err_nomem(err);
		if (nl && a->line.n)
			return 1;
		if (nl)
			continue;
		if (a->in_end)
			return a->line.n > 0;
		ssize_t r = decompress_read(a->lines, a->in, READ_SIZE, err);

		if (r < 0)
			return err_wrap(err, "tar-split data");
		a->in_pos = 0;
		a->in_n = (size_t)r;
		a->in_end = !r;
	}
}

/* Base64 text to bytes, the caller's to free. */
static int decode(const char *text, unsigned char **ret, size_t *ret_n, crio_err *err)
{
	size_t n = strlen(text), pad = 0;
	cleanup_free unsigned char *p = malloc(n / 4 * 3 + 4);

	if (!p)
		return err_nomem(err);
	while (pad < 2 && pad < n && text[n - 1 - pad] == '=')
		pad++;
	if (n % 4 || n > TEXT_MAX || EVP_DecodeBlock(p, (const unsigned char *)text, (int)n) != (int)(n / 4 * 3))
		return damaged("a payload is not base64", err);
	p[n / 4 * 3 - pad] = '\0';
	*ret = move_ptr(p);
	*ret_n = n / 4 * 3 - pad;
	return 0;
}

static int begin_raw(struct assembly *a, struct json_object *o, crio_err *err)
{
	free(a->raw);
	a->raw = NULL;
	a->raw_pos = a->raw_n = 0;
	return decode(json_str(o, "payload"), &a->raw, &a->raw_n, err);
}

static int entry_name(struct json_object *o, char **ret, crio_err *err)
{
	const char *raw = json_str(o, "name_raw");
	size_t n;

	if (*raw) {
		unsigned char *p;
		int r = decode(raw, &p, &n, err);

		if (!r && strlen((char *)p) != n) {
			free(p);
			return damaged("a name with a NUL", err);
		}
		if (!r)
			*ret = (char *)p;
		return r;
	}
	*ret = strdup(json_str(o, "name"));
	return *ret ? 0 : err_nomem(err);
}

static int begin_file(struct assembly *a, struct json_object *o, crio_err *err)
{
	int64_t size = json_int(o, "size", 0);
	char path[4096];
	cleanup_free unsigned char *sum = NULL;
	struct stat st;
	size_t n;
	int r;

	if (!size)
		return 0;
	if (size < 0)
		return damaged("a file of negative size", err);
	r = decode(json_str(o, "payload"), &sum, &n, err);
	if (r)
		return r;
	if (n != sizeof(a->want))
		return damaged("a file without a checksum", err);
	memcpy(a->want, sum, sizeof(a->want));
	free(a->name);
	a->name = NULL;
	r = entry_name(o, &a->name, err);
	if (r)
		return r;
	/* As it was unpacked: "f/" can be a file's name in an archive. Other programs' names may have "..". */
	const char *at = extract_clean(a->name, path, sizeof(path), NULL) ? a->name : path;

	/* Not a FIFO to hang on, nor a link to follow. */
	a->fd = fs_open_in(a->tree, at, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, err);
	if (a->fd < 0) {
		r = a->fd;
		a->fd = -1;
		(void)err_wrap(err, "put layer together");
		return r == CRIO_E_NOT_FOUND ? err_set(err, CRIO_E_CORRUPT, "put layer together: file '%.200s' is missing",
						       a->name) :
					       r;
	}
	if (fstat(a->fd, &st) < 0)
		return err_errno(err, errno, "stat '%.200s'", a->name);
	if (!S_ISREG(st.st_mode) || st.st_size != size)
		return err_set(err, CRIO_E_CORRUPT, "put layer together: file '%.200s' has %lld bytes, expected %lld", a->name,
			       (long long)st.st_size, (long long)size);
	a->left = (uint64_t)size;
	a->crc = 0;
	return 0;
}

/* 1: something may be there to give out; 0: the end. */
static int next_entry(struct assembly *a, crio_err *err)
{
	cleanup_json struct json_object *o = NULL;
	int r = next_line(a, err);

	if (r <= 0)
		return r;
	r = json_parse(a->line.p, a->line.n, &o, err);
	if (r)
		return err_wrap(err, "tar-split data");
	switch (json_int(o, "type", 0)) {
	case 1:
		r = begin_file(a, o, err);
		break;
	case 2:
		r = begin_raw(a, o, err);
		break;
	default:
		r = damaged("an entry of unknown type", err);
		break;
	}
	return r ? r : 1;
}

static ssize_t give_raw(struct assembly *a, void *p, size_t n)
{
	size_t k = a->raw_n - a->raw_pos;

	if (k > n)
		k = n;
	memcpy(p, a->raw + a->raw_pos, k);
	a->raw_pos += k;
	return (ssize_t)k;
}

static ssize_t give_file(struct assembly *a, void *p, size_t n, crio_err *err)
{
	unsigned char sum[8];
	ssize_t r;

	r = source_fd_read((void *)(intptr_t)a->fd, p, n < a->left ? n : (size_t)a->left, err);
	if (r < 0)
		return r;
	if (!r)
		return err_set(err, CRIO_E_CORRUPT, "put layer together: file '%.200s' became shorter", a->name);
	a->crc = tarsplit_crc(a->crc, p, (size_t)r);
	a->left -= (uint64_t)r;
	if (!a->left) {
		a->fd = safe_close(a->fd);
		tarsplit_crc_bytes(a->crc, sum);
		if (memcmp(sum, a->want, sizeof(sum)))
			return err_set(err, CRIO_E_CORRUPT, "put layer together: file '%.200s' was changed: wrong checksum",
				       a->name);
	}
	return r;
}

static ssize_t give(struct assembly *a, void *p, size_t n, crio_err *err)
{
	for (;;) {
		if (a->raw_pos < a->raw_n)
			return give_raw(a, p, n);
		if (a->fd >= 0)
			return give_file(a, p, n, err);
		int r = next_entry(a, err);

		if (r <= 0)
			return r;
	}
}

ssize_t assembly_read(void *arg, void *p, size_t n, crio_err *err)
{
	struct assembly *a = arg;
	ssize_t r;

	if (a->failed)
		return err_set(err, a->failed, "putting the layer together failed before");
	r = give(a, p, n, err);
	if (r < 0)
		a->failed = (int)r;
	return r;
}

int assembly_copy(crio_call *call, struct assembly *a, int fd, uint64_t *ret_size, crio_err *err)
{
	cleanup_free char *p = malloc(READ_SIZE);
	uint64_t total = 0;
	ssize_t n;
	int r;

	if (!p)
		return err_nomem(err);
	for (;;) {
		r = call_check(call, "put layer together", err);
		if (r)
			return r;
		n = assembly_read(a, p, READ_SIZE, err);
		if (n <= 0)
			break;
		r = fs_write_all(fd, p, (size_t)n, err);
		if (r)
			return r;
		total += (uint64_t)n;
	}
	if (n < 0)
		return (int)n;
	if (ret_size)
		*ret_size = total;
	return 0;
}
