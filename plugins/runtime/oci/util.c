#include "util.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

static void list_take(struct list *l, char *s)
{
	char **v = l->v;

	if (s && l->n + 2 > l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;

		v = realloc(l->v, cap * sizeof(*v));
		if (v) {
			l->v = v;
			l->cap = cap;
		}
	}
	if (!s || !v) {
		free(s);
		l->oom = true;
		return;
	}
	l->v[l->n++] = s;
	l->v[l->n] = NULL;
}

void list_add(struct list *l, const char *s)
{
	list_take(l, strdup(s));
}

void list_addf(struct list *l, const char *f, ...)
{
	va_list ap;
	char *s = NULL;

	va_start(ap, f);
	if (vasprintf(&s, f, ap) < 0)
		s = NULL;
	va_end(ap);
	list_take(l, s);
}

void list_release(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	memset(l, 0, sizeof(*l));
}

char *fmt(const char *f, ...)
{
	va_list ap;
	char *s = NULL;

	va_start(ap, f);
	if (vasprintf(&s, f, ap) < 0)
		s = NULL;
	va_end(ap);
	return s;
}

char *fd_read(int fd, size_t limit, size_t *ret_n)
{
	size_t n = 0, cap = 4096;
	auto_free char *p = malloc(cap);
	char *ret;

	if (!p)
		return NULL;
	while (n < limit) {
		ssize_t r;

		if (cap - n < 2) {
			char *q = realloc(p, cap * 2);

			if (!q)
				return NULL;
			p = q;
			cap *= 2;
		}
		r = pread(fd, p + n, (cap - n - 1) < limit - n ? cap - n - 1 : limit - n, (off_t)n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return NULL;
		if (!r)
			break;
		n += (size_t)r;
	}
	p[n] = 0;
	if (ret_n)
		*ret_n = n;
	ret = p;
	p = NULL;
	return ret;
}

char *file_read(const char *path, size_t limit, size_t *ret_n)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return NULL;
	if (!S_ISREG(st.st_mode)) {
		errno = ESPIPE;
		return NULL;
	}
	return fd_read(fd, limit, ret_n);
}

int file_write(const char *path, const char *text)
{
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t n = strlen(text);

	if (fd < 0)
		return -errno;
	return write(fd, text, n) == (ssize_t)n ? 0 : -errno;
}

int memfd_with(const char *name, const void *p, size_t n)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < n) {
		ssize_t r = pwrite(fd, (const char *)p + done, n - done, (off_t)done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			int e = r < 0 ? errno : EIO;

			close(fd);
			return -e;
		}
		done += (size_t)r;
	}
	return fd;
}

bool parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	char *end;
	long long v;

	while (isspace((unsigned char)*s))
		s++;
	if (!isdigit((unsigned char)*s) && *s != '-')
		return false;
	errno = 0;
	v = strtoll(s, &end, 10);
	if (errno || end == s)
		return false;
	while (isspace((unsigned char)*end))
		end++;
	if (*end || v < min || v > max)
		return false;
	*ret = v;
	return true;
}

bool id_is_good(const char *id)
{
	size_t n = 0;

	if (!id || !isalnum((unsigned char)*id))
		return false;
	for (; id[n]; n++) {
		if (n >= 128 || (!isalnum((unsigned char)id[n]) && !strchr("_.-", id[n])))
			return false;
	}
	return true;
}

bool path_is_good(const char *p)
{
	if (!p || *p != '/' || strlen(p) >= PATH_MAX)
		return false;
	for (const char *s = p; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return false;
		if (s[0] == '/' && s[1] == '.' && s[2] == '.' && (s[3] == '/' || !s[3]))
			return false;
	}
	return true;
}

void tidy(char *s)
{
	size_t n = strlen(s);

	while (n && isspace((unsigned char)s[n - 1]))
		s[--n] = 0;
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			s[i] = ' ';
	}
}

bool proc_start_time(pid_t pid, uint64_t *ret)
{
	char path[64], text[1024];
	auto_close int fd = -1;
	unsigned long long start;
	const char *p;
	char state;
	ssize_t n;

	errno = ESRCH;
	if (pid <= 0)
		return false;
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0) {
		if (n == 0 || errno == ENOENT)
			errno = ESRCH;
		return false;
	}
	errno = ESRCH;
	text[n] = 0;
	/* the command name may hold anything, ')' and spaces too: what follows its last ')' is numbers */
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
			 &state, &start) != 2)
		return false;
	if (state == 'Z' || state == 'X')
		return false;
	*ret = start;
	return true;
}

bool proc_is(pid_t pid, uint64_t start_time)
{
	uint64_t now;

	return proc_start_time(pid, &now) && (!start_time || now == start_time);
}

int sys_pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0u);
}

int sys_pidfd_signal(int pidfd, int sig)
{
	return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0u) ? -errno : 0;
}

int proc_open(pid_t pid, uint64_t start_time)
{
	int fd;

	if (pid <= 0)
		return -1;
	fd = sys_pidfd_open(pid);
	if (fd < 0)
		return -1;
	/* checked after opening: from here on the descriptor cannot come to mean another process */
	if (!proc_is(pid, start_time)) {
		close(fd);
		return -1;
	}
	return fd;
}

int64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

int64_t real_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

int fd_wait(int fd, short events, int64_t timeout_ns)
{
	int64_t end = mono_ns() + timeout_ns;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		int64_t left = end - mono_ns();
		struct timespec ts;
		int r;

		if (left < 0)
			left = 0;
		ts.tv_sec = left / NSEC_PER_SEC;
		ts.tv_nsec = left % NSEC_PER_SEC;
		r = ppoll(&p, 1, &ts, NULL);
		if (r > 0)
			return 1;
		if (!r || errno != EINTR)
			return 0;
	}
}

int call_wait(const struct crio_host *h, crio_call *call, int fd, short events, int64_t timeout_ns, const char *what,
	      crio_err *err)
{
	int64_t end = h->deadline_ns(call), now = h->now_ns();
	int cancel = h->cancel_fd(call);

	if (timeout_ns >= 0 && end - now > timeout_ns)
		end = now + timeout_ns;
	for (;;) {
		struct pollfd p[2] = {{.fd = fd, .events = events}, {.fd = cancel, .events = POLLIN}};
		int64_t left = end == INT64_MAX ? 3600 * NSEC_PER_SEC : end - h->now_ns();
		struct timespec ts;
		int r;

		if (left < 0)
			left = 0;
		ts.tv_sec = left / NSEC_PER_SEC;
		ts.tv_nsec = left % NSEC_PER_SEC;
		r = ppoll(p, 2, &ts, NULL);
		if (r < 0 && errno != EINTR)
			return h->fail(err, CRIO_E_IO, "%s: poll: %s", what, strerror(errno));
		if (r > 0 && p[0].revents)
			return 0;
		if (h->now_ns() >= end)
			return h->fail(err, CRIO_E_DEADLINE, "%s: timed out", what);
		if (r > 0 && p[1].revents)
			return h->fail(err, CRIO_E_CANCELLED, "%s: the caller gave up", what);
	}
}

char *find_program(const char *name)
{
	const char *path = getenv("PATH");

	if (name[0] == '/')
		return access(name, X_OK) ? NULL : strdup(name);
	if (!*name || strchr(name, '/'))
		return NULL;
	if (!path || !*path)
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	while (*path) {
		size_t n = strcspn(path, ":");
		auto_free char *p = fmt("%.*s/%s", (int)n, path, name);
		struct stat st;

		if (p && *p == '/' && !access(p, X_OK) && !stat(p, &st) && S_ISREG(st.st_mode)) {
			char *ret = p;

			p = NULL;
			return ret;
		}
		path += n;
		path += *path == ':';
	}
	return NULL;
}

int err_give(const struct crio_host *h, crio_err *own, crio_err *err, int code)
{
	code = h->fail(err, code, "%s", own ? h->err_text(own) : "no memory");
	h->err_free(own);
	return code;
}
