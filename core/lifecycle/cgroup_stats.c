/*
 * cgroup_stats.c: see cgroup_stats.h. A file that is kept open is read with one pread(2). Descriptors are only ever added to a
 * reader, and closed with it: reading needs no lock. A group that has gone gives ENODEV.
 */
#include "core/lifecycle/cgroup_stats.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/cgroup_rows.h"
#include "core/lifecycle/cgroup_tree.h"
#include "core/util/fs.h"

#define BASIC_MAX 8192u		       /* bytes of a file that is read often */
#define MORE_MAX (64u << 10)	       /* of one with a line for each device or CPU */
#define KEEP_NS (120 * INT64_C(1000000000))
#define KEPT_MAX 4096		       /* files of all readers that are kept open; each has a buffer in the kernel */
#define NOT_OPEN (-1)
#define MISSING (-2) /* the group has no such file; believed for KEEP_NS */

struct cgroup_reader {
	_Atomic int refs;
	char *path; /* fixed */
	_Atomic int fd[CGROUP_ROWS_MAX];
	_Atomic int64_t last, looked; /* monotonic: when it was read, and when files that are missing were looked for */
};

static _Atomic int kept;

/* Room for one more file to keep. */
static bool keep_one(void)
{
	static _Atomic int limit;
	struct rlimit l;

	if (!limit)
		limit = getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur / 4 < KEPT_MAX ? (int)(l.rlim_cur / 4) + 1 : KEPT_MAX;
	if (atomic_fetch_add(&kept, 1) < limit)
		return true;
	atomic_fetch_sub(&kept, 1);
	return false;
}

void cgroup_stats_release(struct cgroup_stats *s)
{
	if (!s->more)
		return;
	free(s->more->cpu_ns);
	free(s->more->io);
	free(s->more);
	s->more = NULL;
}

static int reader_init(struct cgroup_reader *r, const char *fs_path)
{
	*r = (struct cgroup_reader){.refs = 1, .path = strdup(fs_path)};
	for (size_t i = 0; i < CGROUP_ROWS_MAX; i++)
		r->fd[i] = NOT_OPEN;
	return r->path ? 0 : CRIO_E_NOMEM;
}

struct cgroup_reader *cgroup_reader_new(const char *fs_path)
{
	struct cgroup_reader *r = malloc(sizeof(*r));

	if (!r || reader_init(r, fs_path) == 0)
		return r;
	free(r);
	return NULL;
}

struct cgroup_reader *cgroup_reader_ref(struct cgroup_reader *r)
{
	atomic_fetch_add(&r->refs, 1);
	return r;
}

void cgroup_reader_unref(struct cgroup_reader *r)
{
	if (!r || atomic_fetch_sub(&r->refs, 1) > 1)
		return;
	for (size_t i = 0; i < CGROUP_ROWS_MAX; i++) {
		if (r->fd[i] < 0)
			continue;
		(void)safe_close(r->fd[i]);
		atomic_fetch_sub(&kept, 1);
	}
	free(r->path);
	free(r);
}

static int open_file(const struct cgroup_reader *r, bool v2, const char *controller, const char *file)
{
	char p[4096];
	int n = snprintf(p, sizeof(p), "%s/%s%s%s/%s", cgroup_tree()->root, v2 ? "" : controller, v2 ? "" : "/", r->path, file);

	return n > 0 && (size_t)n < sizeof(p) ? open(p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
}

/* The descriptor of row i, to be given back with leave_row; negative: it is not there. */
static int enter_row(struct cgroup_reader *r, bool v2, size_t i, const struct cgroup_row *row, bool look)
{
	int fd = r->fd[i];

	if (fd >= 0)
		return fd;
	return fd == MISSING && !look ? fd : open_file(r, v2, row->controller, row->file);
}

static void leave_row(struct cgroup_reader *r, size_t i, int fd, bool keep)
{
	int was = r->fd[i];

	if (was == fd)
		return;
	if (was < 0 && keep && keep_one()) {
		if (atomic_compare_exchange_strong(&r->fd[i], &was, fd))
			return;
		atomic_fetch_sub(&kept, 1);
	}
	(void)safe_close(fd);
}

/* 1 when the file was read and made sense, 0 when it is missing or not understood. */
static int read_row(struct cgroup_reader *r, bool v2, size_t i, const struct cgroup_row *row, bool keep, bool look, char *text,
		    size_t size, struct cgroup_stats *s)
{
	int fd = enter_row(r, v2, i, row, look);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = pread(fd, text, size - 1, 0);
	leave_row(r, i, fd, keep && n >= 0);
	if (n < 0)
		return 0;
	text[n] = '\0';
	return row->take(row, text, s);
}

/* Files that a group lacks while it has others are not asked for again, for a while. */
static void note_missing(struct cgroup_reader *r, uint32_t read, unsigned what, const struct cgroup_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int was = NOT_OPEN;

		if ((rows[i].what & what) && !(read & (1u << i)))
			(void)atomic_compare_exchange_strong(&r->fd[i], &was, MISSING);
	}
}

/* ---- huge pages: a file for each size that the machine has ---- */

/* "hugepages-2048kB" to "2MB". */
static bool huge_size(const char *name, char ret[16])
{
	static const char units[] = "KMGT";
	unsigned long kb;
	size_t u = 0;
	char *end;

	if (!str_starts(name, "hugepages-"))
		return false;
	kb = strtoul(name + 10, &end, 10);
	if (!kb || !str_eq(end, "kB"))
		return false;
	for (; kb % 1024 == 0 && u < 3; u++)
		kb /= 1024;
	return snprintf(ret, 16, "%lu%cB", kb, units[u]) < 16;
}

static bool read_huge_file(struct cgroup_reader *r, bool v2, const char *size, const char *what, uint64_t *ret)
{
	char file[64], t[32];
	cleanup_close int fd = -1;
	ssize_t n;

	(void)snprintf(file, sizeof(file), "hugetlb.%s.%s", size, what);
	fd = open_file(r, v2, "hugetlb", file);
	n = fd < 0 ? -1 : read(fd, t, sizeof(t) - 1);
	if (n <= 0)
		return false;
	t[n] = '\0';
	*ret = strtoull(t, NULL, 10);
	return true;
}

/* Reserved pages where the kernel counts them, as the limits do. v2 has no maximum. */
static void read_huge(struct cgroup_reader *r, bool v2, struct cgroup_more *m)
{
	cleanup_closedir DIR *d = opendir("/sys/kernel/mm/hugepages");
	struct dirent *e;

	while (d && (e = readdir(d)) && m->n_huge < CGROUP_HUGE_MAX) {
		struct cgroup_huge *h = &m->huge[m->n_huge];

		*h = (struct cgroup_huge){0};
		if (!huge_size(e->d_name, h->size))
			continue;
		if (!read_huge_file(r, v2, h->size, v2 ? "rsvd.current" : "rsvd.usage_in_bytes", &h->usage) &&
		    !read_huge_file(r, v2, h->size, v2 ? "current" : "usage_in_bytes", &h->usage))
			continue;
		if (!v2 && !read_huge_file(r, v2, h->size, "rsvd.max_usage_in_bytes", &h->max_usage))
			(void)read_huge_file(r, v2, h->size, "max_usage_in_bytes", &h->max_usage);
		m->n_huge++;
	}
}

/* ---- */

static int read_rows(struct cgroup_reader *r, bool v2, unsigned what, struct cgroup_stats *s, char *big, bool keep, crio_err *err)
{
	char small[BASIC_MAX], *text = big ? big : small;
	size_t room = big ? MORE_MAX : BASIC_MAX;
	int64_t now = now_mono_ns();
	bool look = now - r->looked > KEEP_NS;
	uint32_t read = 0;
	size_t n;
	const struct cgroup_row *rows = cgroup_rows(v2, &n);

	keep = keep && now - r->last < KEEP_NS;
	r->last = now;
	for (size_t i = 0; i < n; i++)
		if ((rows[i].what & what) && read_row(r, v2, i, &rows[i], keep, look, text, room, s))
			read |= 1u << i;
	if (!read)
		return err_set(err, CRIO_E_NOT_FOUND, "no cgroup '%s'", r->path);
	if (look)
		r->looked = now;
	note_missing(r, read, what, rows, n);
	return 0;
}

static int read_all(struct cgroup_reader *r, unsigned what, struct cgroup_stats *ret, bool keep, crio_err *err)
{
	bool v2 = cgroup_facts()->v2;
	struct cgroup_stats s = {.memory_limit = UINT64_MAX, .swap_limit = UINT64_MAX};
	cleanup_free char *big = NULL;
	int e;

	if (what & CGROUP_MORE) {
		big = malloc(MORE_MAX);
		s.more = calloc(1, sizeof(*s.more));
		if (!big || !s.more) {
			free(s.more);
			return err_nomem(err);
		}
	}
	e = read_rows(r, v2, what, &s, big, keep, err);
	if (e < 0) {
		cgroup_stats_release(&s);
		return e;
	}
	if (s.more)
		read_huge(r, v2, s.more);
	cgroup_derive(v2, &s);
	*ret = s;
	return 0;
}

int cgroup_reader_read(struct cgroup_reader *r, unsigned what, struct cgroup_stats *ret, crio_err *err)
{
	return read_all(r, what, ret, true, err);
}

int cgroup_stats_read(const char *fs_path, unsigned what, struct cgroup_stats *ret, crio_err *err)
{
	struct cgroup_reader r;
	int e = reader_init(&r, fs_path) < 0 ? err_nomem(err) : read_all(&r, what, ret, false, err);

	free(r.path);
	return e;
}
