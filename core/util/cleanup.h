/* cleanup.h: variables that release themselves at the end of their scope. fds start at -1, pointers at NULL. */
#ifndef UTIL_CLEANUP_H
#define UTIL_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void cleanup_freep(void *p)
{
	free(*(void **)p);
}

/* Closes without touching errno, so that an error being reported keeps its cause. Returns -1: fd = safe_close(fd). */
static inline int safe_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;
		(void)close(fd);
		errno = saved;
	}
	return -1;
}

static inline void cleanup_closep(int *fd)
{
	(void)safe_close(*fd);
}

static inline void cleanup_fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static inline void cleanup_closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static inline void cleanup_unlockp(pthread_mutex_t **m)
{
	if (*m)
		(void)pthread_mutex_unlock(*m);
}

#define cleanup_free CLEANUP(cleanup_freep)
#define cleanup_close CLEANUP(cleanup_closep)
#define cleanup_fclose CLEANUP(cleanup_fclosep)
#define cleanup_closedir CLEANUP(cleanup_closedirp)
/* Locks now, unlocks at the end of the scope: cleanup_unlock pthread_mutex_t *l = lock(&m); */
#define cleanup_unlock CLEANUP(cleanup_unlockp) __attribute__((unused))

static inline pthread_mutex_t *lock(pthread_mutex_t *m)
{
	(void)pthread_mutex_lock(m);
	return m;
}

/* Gives the value away: return move_ptr(x); the variable's cleanup then does nothing. */
#define move_ptr(p)                     \
	__extension__({                 \
		__typeof__(p) p_ = (p); \
		(p) = NULL;             \
		p_;                     \
	})
#define move_fd(fd)               \
	__extension__({           \
		int fd_ = (fd);   \
		(fd) = -1;        \
		fd_;              \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
