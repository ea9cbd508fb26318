/*
 * util.h: the few helpers that the runtime plugins share. They use nothing but libc; memory is on the heap and the
 * caller's unless a comment says otherwise.
 */
#ifndef RUNTIME_UTIL_H
#define RUNTIME_UTIL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <crio/plugin.h>

static inline void free_ptr(void *p)
{
	free(*(void **)p);
}
static inline int close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
	return -1;
}
static inline void close_fdp(int *fd)
{
	*fd = close_fd(*fd);
}
#define auto_free __attribute__((cleanup(free_ptr)))
#define auto_close __attribute__((cleanup(close_fdp)))
#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define NSEC_PER_SEC 1000000000ll
#define NSEC_PER_MSEC 1000000ll

/* A growing list of strings in argv shape. A failed allocation sticks in `oom`, checked once at the end. */
struct list {
	char **v; /* NULL after the last; NULL when nothing was added */
	size_t n, cap;
	bool oom;
};
void list_add(struct list *l, const char *s);
void list_addf(struct list *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void list_release(struct list *l);
static inline struct crio_strs list_view(const struct list *l)
{
	struct crio_strs s = {(const char *const *)l->v, l->n};
	return s;
}
#define auto_list __attribute__((cleanup(list_release)))

/* printf to the heap; NULL without memory. */
char *fmt(const char *f, ...) __attribute__((format(printf, 1, 2)));
/* s, or "" for NULL. */
static inline const char *str0(const char *s)
{
	return s ? s : "";
}

/* The whole file, at most `limit` bytes of it, NUL-terminated; NULL with errno set. Regular files only (ESPIPE). */
char *file_read(const char *path, size_t limit, size_t *ret_n);
/* The bytes of fd (a memfd or a regular file) from its start. */
char *fd_read(int fd, size_t limit, size_t *ret_n);
int file_write(const char *path, const char *text); /* existing file, one write; -errno */
/* A memfd holding p, readable by others only through /proc/<pid>/fd; position 0. -errno. */
int memfd_with(const char *name, const void *p, size_t n);
/* A whole decimal number, spaces and a newline around it allowed. */
bool parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret);
/* Safe as a file name and as an argument: [A-Za-z0-9][A-Za-z0-9_.-]{0,127}. */
bool id_is_good(const char *id);
/* Absolute, no "..", no control characters. */
bool path_is_good(const char *p);
/* Cuts spaces and newlines at the end, and turns other control characters to spaces: text of other programs on its way
 * into a message. */
void tidy(char *s);

/* start time of a process (field 22 of /proc/<pid>/stat, clock ticks since boot). False: errno is ESRCH when there is no such
 * process, or only a zombie; otherwise it could not be told. */
bool proc_start_time(pid_t pid, uint64_t *ret);
/* The pid is that of a living process with this start time (0: any). */
bool proc_is(pid_t pid, uint64_t start_time);
/* A pidfd for it, verified after opening; -1: it is gone. */
int proc_open(pid_t pid, uint64_t start_time);
int sys_pidfd_open(pid_t pid);
int sys_pidfd_signal(int pidfd, int sig); /* 0 or -errno */
/* Waits until fd has `events`, at most timeout_ns. 1 ready, 0 time is over. Not for calls: see call_wait. */
int fd_wait(int fd, short events, int64_t timeout_ns);
int64_t mono_ns(void);
int64_t real_ns(void);

/* Looks `name` up in PATH; NULL when there is none. An absolute name is returned as it is when executable. */
char *find_program(const char *name);
/*
 * An error that may turn out to be none: begin with h->err_new() (which may be NULL), then either give it to the
 * caller, or free it and succeed. Gives `own` to err and frees it; returns code.
 */
int err_give(const struct crio_host *h, crio_err *own, crio_err *err, int code);
/* Waits until fd has events or the call ends or timeout_ns (< 0: none) passes. 0; DEADLINE or CANCELLED with "<what>:
 * ...". */
int call_wait(const struct crio_host *h, crio_call *call, int fd, short events, int64_t timeout_ns, const char *what,
	      crio_err *err);

#endif
