#include "tests/unit/unpack/mktar.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/exec/spawn.h"
#include "core/util/fs.h"

void mk_octal(struct mk_head *h, int at, int n, unsigned long long v)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%0*llo", n - 1, v);
	memcpy(h->b + at, text, (size_t)n);
}

void mk_sum(struct mk_head *h)
{
	unsigned long long sum = 0;

	memset(h->b + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)h->b[i];
	mk_octal(h, 148, 7, sum);
}

static void set_text(struct mk_head *h, int at, size_t max, const char *s)
{
	size_t n = strlen(s);

	memcpy(h->b + at, s, n < max ? n : max);
}

void mk_head(struct mk_head *h, char type, const char *name, const char *link, long long size)
{
	memset(h, 0, sizeof(*h));
	set_text(h, 0, 100, name);
	mk_octal(h, 100, 8, type == '5' ? 0755 : 0644);
	mk_octal(h, 108, 8, 0);
	mk_octal(h, 116, 8, 0);
	mk_octal(h, 124, 12, (unsigned long long)size);
	mk_octal(h, 136, 12, 1000000000);
	h->b[156] = type;
	set_text(h, 157, 100, link ? link : "");
	memcpy(h->b + 257, "ustar\0" "00", 8);
	mk_octal(h, 329, 8, 0);
	mk_octal(h, 337, 8, 0);
}

void mk_block(struct buf *t, struct mk_head *h)
{
	mk_sum(h);
	buf_add(t, h->b, 512);
}

void mk_data(struct buf *t, const void *p, size_t n)
{
	static const char zero[512];

	buf_add(t, p, n);
	buf_add(t, zero, -n & 511);
}

void mk_entry(struct buf *t, char type, const char *name, const char *link, const char *data)
{
	struct mk_head h;

	mk_head(&h, type, name, link, data ? (long long)strlen(data) : 0);
	mk_block(t, &h);
	if (data)
		mk_data(t, data, strlen(data));
}

void mk_owned(struct buf *t, char type, const char *name, unsigned mode, unsigned uid, unsigned gid, const char *data)
{
	struct mk_head h;

	mk_head(&h, type, name, "", data ? (long long)strlen(data) : 0);
	mk_octal(&h, 100, 8, mode);
	mk_octal(&h, 108, 8, uid);
	mk_octal(&h, 116, 8, gid);
	mk_block(t, &h);
	if (data)
		mk_data(t, data, strlen(data));
}

void mk_device(struct buf *t, char type, const char *name, unsigned major, unsigned minor)
{
	struct mk_head h;

	mk_head(&h, type, name, "", 0);
	mk_octal(&h, 329, 8, major);
	mk_octal(&h, 337, 8, minor);
	mk_block(t, &h);
}

void mk_pax_raw(struct buf *t, char type, const void *p, size_t n)
{
	struct mk_head h;

	mk_head(&h, type, "pax", "", (long long)n);
	mk_block(t, &h);
	mk_data(t, p, n);
}

void mk_pax(struct buf *t, char type, ...)
{
	cleanup_buf struct buf b = BUF_INIT;
	const char *k;
	va_list ap;

	va_start(ap, type);
	while ((k = va_arg(ap, const char *))) {
		const char *v = va_arg(ap, const char *);
		size_t n = strlen(k) + strlen(v) + 3, len = n + 1;
		char text[24];

		while (len != n + (size_t)snprintf(text, sizeof(text), "%zu", len))
			len = n + strlen(text);
		buf_addf(&b, "%zu %s=%s\n", len, k, v);
	}
	va_end(ap);
	mk_pax_raw(t, type, b.p, b.n);
}

void mk_long(struct buf *t, char type, const char *text)
{
	struct mk_head h;

	mk_head(&h, type, "././@LongLink", "", (long long)strlen(text) + 1);
	memcpy(h.b + 257, "ustar  ", 8);
	mk_block(t, &h);
	mk_data(t, text, strlen(text) + 1);
}

void mk_end(struct buf *t)
{
	static const char zero[1024];

	buf_add(t, zero, sizeof(zero));
}

#define CANARY "do not touch"

void place_new(struct place *p)
{
	const char *tmp = getenv("TMPDIR");

	cleanup_free char *top = NULL;
	fs_owned_sweep(tmp ? tmp : "/tmp", "crio-test-unpack.");
	p->lock = fs_owned_make(tmp ? tmp : "/tmp", "crio-test-unpack.", &top, NULL);
	if (p->lock < 0)
		abort();
	(void)snprintf(p->top, sizeof(p->top), "%s", top);
	p->top_fd = open(p->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->top_fd < 0 || mkdirat(p->top_fd, "root", 0700) < 0)
		abort();
	p->root = openat(p->top_fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->root < 0 || fs_write_file(p->top_fd, "canary", CANARY, strlen(CANARY), 0640, FS_RUN, NULL))
		abort();
}

void place_free(struct place *p)
{
	(void)close(p->root);
	(void)close(p->top_fd);
	(void)mk_sh("rm -rf '%s'", p->top);
	(void)close(p->lock);
}

int place_clean(const struct place *p)
{
	cleanup_free char *text = NULL;
	cleanup_closedir DIR *d = NULL;
	struct dirent *e;
	struct stat st;
	int n = 0;

	if (fs_read_file(p->top_fd, "canary", 100, &text, NULL, NULL) || strcmp(text, CANARY))
		return 0;
	if (fstatat(p->top_fd, "canary", &st, AT_SYMLINK_NOFOLLOW) || (st.st_mode & 07777) != 0640 || st.st_uid ||
	    st.st_nlink != 1)
		return 0;
	int fd = openat(p->top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	d = fdopendir(fd);
	while (d && (e = readdir(d)))
		n++;
	return n == 4;
}

int place_file(const struct place *p)
{
	return openat(p->top_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

ssize_t mem_read(void *arg, void *p, size_t n, crio_err *err)
{
	struct mem *m = arg;
	size_t k = m->n - m->at;

	(void)err;
	if (k > n)
		k = n;
	if (m->step && k > m->step)
		k = m->step;
	if (k)
		memcpy(p, m->p + m->at, k);
	m->at += k;
	return (ssize_t)k;
}

int mk_unpack(const void *p, size_t n, int root, enum crio_whiteout style, int split, struct unpack_result *ret,
	      crio_err *err)
{
	struct mem m = { p, n, 0, 0 };
	cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE);
	struct unpack_opts o = { .src = { mem_read, &m }, .size = -1, .dirfd = root, .whiteout = style,
				 .tar_split_fd = split };

	return unpack_layer(call, &o, ret, err);
}

int mk_sh(const char *fmt, ...)
{
	cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE);
	cleanup_spawn_result struct spawn_result res = { 0 };
	cleanup_err crio_err err = ERR_INIT;
	static const char *const env[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root", NULL };
	struct spawn s = SPAWN_INIT;
	cleanup_free char *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&line, fmt, ap) < 0)
		abort();
	va_end(ap);
	const char *const argv[] = { "sh", "-c", line, NULL };

	s.path = "/bin/sh";
	s.argv = argv;
	s.env = env;
	if (spawn_capture(&s, call, NULL, 0, 65536, 65536, &res, &err)) {
		fprintf(stderr, "%s: %s\n", line, err_text(&err));
		return -1;
	}
	if (res.err.n)
		fprintf(stderr, "%s\n", res.err.p);
	if (res.out.n)
		fprintf(stderr, "%s\n", res.out.p);
	return res.exit_code;
}
