/* spill.c: reading a runtime's pipes in conmon's place while it is creating a container. */
#include "spill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define LOOK_NS (100 * NSEC_PER_MSEC) /* most creates are over before the second look */
#define FLOOD_NS (2 * NSEC_PER_MSEC)
#define MUCH (16u << 20)
#define TAIL_MAX (4u << 20) /* of what is read for the end of a message */

/* Is it the reading end of a pipe without a name? Opening anything else could do something. */
static bool is_reading_end(int dir, const char *name)
{
	struct stat st;
	char to[8];

	return !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && (st.st_mode & (S_IRUSR | S_IWUSR)) == S_IRUSR &&
	       readlinkat(dir, name, to, sizeof(to)) >= 6 && !memcmp(to, "pipe:[", 6);
}

static void reopen(int dir, int fd, int *held)
{
	char name[16];
	struct stat now, old;

	(void)snprintf(name, sizeof(name), "%d", fd);
	if (*held >= 0 && !fstatat(dir, name, &now, 0) && !fstat(*held, &old) && now.st_ino == old.st_ino)
		return;
	*held = close_fd(*held);
	*held = openat(dir, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

/* conmon has the reading ends of the runtime's standard output, unless there is a terminal, and, made after it, of its errors. The
 * runtime's own descriptors tell less: it may be a script, which redirects them as it goes. */
static void find_pipes(struct spill *s, pid_t conmon)
{
	int last = -1, before = -1;
	char path[40];

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)conmon);
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));) {
		int64_t fd;

		if (!parse_i64(e->d_name, 0, INT32_MAX, &fd) || !is_reading_end(dirfd(d), e->d_name))
			continue;
		before = fd > last ? last : fd > before ? (int)fd : before;
		last = fd > last ? (int)fd : last;
	}
	if (d && last >= 0)
		reopen(dirfd(d), last, &s->err);
	if (d && before >= 0)
		reopen(dirfd(d), before, &s->out);
	if (d)
		(void)closedir(d);
}

/* More than a quarter: short writes use a page each, so that a pipe can be full long before its bytes are. */
static bool fills_up(int fd)
{
	int size = fd >= 0 ? fcntl(fd, F_GETPIPE_SZ) : -1, have = 0;

	return size > 0 && !ioctl(fd, FIONREAD, &have) && have > size / 4;
}

/* Not all of it: conmon itself reads what is there at the end. */
static bool take(struct spill *s, int fd)
{
	bool any = false;
	char part[8192];

	while (fills_up(fd)) {
		ssize_t n = read(fd, part, sizeof(part));
		size_t keep;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		any = true;
		if (fd != s->err)
			continue;
		keep = SPILL_KEEP - s->head_n < (size_t)n ? SPILL_KEEP - s->head_n : (size_t)n;
		memcpy(s->head + s->head_n, part, keep);
		s->head_n += keep;
		s->taken += (uint64_t)n;
	}
	return any;
}

int64_t spill_look(struct spill *s, pid_t conmon)
{
	bool any;

	if ((s->err < 0 || s->out < 0) && conmon > 1)
		find_pipes(s, conmon);
	any = take(s, s->err);
	if (!take(s, s->out) && !any)
		return LOOK_NS;
	return s->taken < MUCH ? FLOOD_NS : 10 * FLOOD_NS; /* who does not come to an end need not be fast */
}

/* The last SPILL_KEEP bytes of what has gone through. */
struct tail {
	char p[SPILL_KEEP + 1];
	size_t n;
	uint64_t all;
};

static void tail_add(struct tail *t, const char *p, size_t n)
{
	size_t keep;

	t->all += n;
	if (n > SPILL_KEEP) {
		p += n - SPILL_KEEP;
		n = SPILL_KEEP;
	}
	keep = t->n + n > SPILL_KEEP ? SPILL_KEEP - n : t->n;
	memmove(t->p, t->p + t->n - keep, keep);
	memcpy(t->p + keep, p, n);
	t->n = keep + n;
}

/* Text for a message: no NUL, which would end it. */
static char *words(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!p[i])
			p[i] = ' ';
	}
	p[n] = 0;
	tidy(p);
	return p;
}

char *spill_message(struct spill *s, const char *message)
{
	auto_free struct tail *t = calloc(1, sizeof(*t));
	size_t said = strlen(str0(message));
	char part[8192];

	if (!t || s->err < 0)
		return NULL;
	tail_add(t, str0(message), said);
	for (ssize_t got; t->all < TAIL_MAX && (got = read(s->err, part, sizeof(part)));) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			break;
		tail_add(t, part, (size_t)got);
	}
	if (!s->taken && t->all == said)
		return NULL;
	if (!s->taken && t->all <= SPILL_KEEP)
		return strdup(words(t->p, t->n));
	if (!s->head_n) {
		s->head_n = said < SPILL_KEEP ? said : SPILL_KEEP;
		memcpy(s->head, str0(message), s->head_n);
	}
	uint64_t all = s->taken + t->all, shown = s->head_n + t->n;
	return fmt("%s ... (%llu bytes left out) ... %s", words(s->head, s->head_n), (unsigned long long)(all > shown ? all - shown : 0),
		   words(t->p, t->n));
}

void spill_release(struct spill *s)
{
	s->out = close_fd(s->out);
	s->err = close_fd(s->err);
}
