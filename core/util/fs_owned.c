/* fs_owned.c: temporary directories that do not outlive who made them by more than one start. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/util/fs.h"

#define TRIES 8

int fs_owned_make(const char *base, const char *prefix, char **ret, crio_err *err)
{
	for (int i = 0; i < TRIES; i++) {
		cleanup_free char *path = path_fmt("%s/%sXXXXXX", base, prefix);
		if (!path)
			return err_nomem(err);
		if (!mkdtemp(path))
			return err_errno(err, errno, "make a directory %s/%sXXXXXX", base, prefix);
		cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		struct stat st;
		/* A sweep may have come before the lock. */
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || stat(path, &st) < 0)
			continue;
		*ret = move_ptr(path);
		return move_fd(fd);
	}
	return err_set(err, CRIO_E_ABORTED, "make a directory %s/%sXXXXXX: another process removes it each time", base, prefix);
}

void fs_owned_sweep(const char *base, const char *prefix)
{
	cleanup_closedir DIR *dir = opendir(base);
	struct dirent *e;
	while (dir && (e = readdir(dir))) {
		if (!str_starts(e->d_name, prefix))
			continue;
		cleanup_close int fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		struct stat st;
		/* In /tmp others may make directories of that name: only what is our own user's is ours. */
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0)
			(void)fs_rm_rf(dirfd(dir), e->d_name, NULL);
	}
}
