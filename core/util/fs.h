/*
 * fs.h: the one place that opens paths somebody else had a say in. Everything in a root file system, a layer or a
 * volume goes through fs_open_in(), which resolves inside a directory descriptor (openat2, RESOLVE_IN_ROOT and no
 * magic links): no "..", absolute link or race leads out of it. tests/lint refuses open-by-string elsewhere in core
 * folders that handle such trees.
 *
 * Also the durable-write rules for our own files. All descriptors are close-on-exec.
 */
#ifndef UTIL_FS_H
#define UTIL_FS_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "core/util/str.h"

/* Opens `path` below dirfd, links resolved as if dirfd were "/". flags as open(2); O_CLOEXEC is added. Returns the fd,
 * or a negative code. */
int fs_open_in(int dirfd, const char *path, int flags, mode_t mode, crio_err *err);
/* The same but refuses any symbolic link on the way (RESOLVE_NO_SYMLINKS|BENEATH): for layers being unpacked. */
int fs_open_beneath(int dirfd, const char *path, int flags, mode_t mode, crio_err *err);
/* A directory in the same way, to be read: the stream, with a descriptor and a position of its own ("" for dirfd itself), is the
 * caller's to close. Returns 0 or a negative code. */
int fs_opendir_beneath(int dirfd, const char *path, DIR **ret, crio_err *err);
/* Makes each missing directory of path below dirfd (RESOLVE_IN_ROOT), mode 0755 owner root; returns an O_PATH fd. */
int fs_mkdirs_in(int dirfd, const char *path, mode_t mode, crio_err *err);
/* The same, and what it makes belongs to that user and group. */
int fs_mkdirs_in_as(int dirfd, const char *path, mode_t mode, uid_t uid, gid_t gid, crio_err *err);

/* mkdir -p of an absolute path of our own configuration. */
int fs_mkdir_p(const char *path, mode_t mode, crio_err *err);

/* Whole regular file, at most `limit` bytes (more: CRIO_E_EXHAUSTED); FIFOs, devices and directories are refused without
 * blocking. The text is the caller's, NUL-terminated; *ret_n may be NULL. */
int fs_read_file(int dirfd, const char *path, size_t limit, char **ret, size_t *ret_n, crio_err *err);
int fs_read_fd(int fd, size_t limit, char **ret, size_t *ret_n, crio_err *err);
/* Small files of proc, sys and cgroup: one read of at most n-1 bytes into p, newline at the end cut. Returns bytes or a
 * negative code. */
ssize_t fs_read_small(int dirfd, const char *path, char *p, size_t n, crio_err *err);
/* One write(2) to an existing file (cgroup, proc). */
int fs_write_small(int dirfd, const char *path, const char *text, crio_err *err);

/* How much a new file must survive. */
enum fs_durability {
	FS_RUN,   /* this boot: no fsync */
	FS_KEEP   /* power loss: fsync of the file before rename and of the directory after */
};
/* Replaces dir/name at once: temporary file beside it (O_EXCL, random name), write, [fsync], rename, [fsync]. */
int fs_write_file(int dirfd, const char *name, const void *p, size_t n, mode_t mode, enum fs_durability d, crio_err *err);
int fs_write_path(const char *path, const void *p, size_t n, mode_t mode, enum fs_durability d, crio_err *err);

/* Removes what these have begun in a directory and a kill left there. Only while nobody else writes in it. */
void fs_sweep_begun(int dirfd);
void fs_sweep_begun_path(const char *path);

/* When a file's contents, name or attributes last changed, in ns since 1970: which of its states it is, with its inode and size. */
int64_t fs_ctime_ns(const struct stat *st);

/* Removes the tree `name` below dirfd, never leaving it, not crossing mounts; absent is success. */
int fs_rm_rf(int dirfd, const char *name, crio_err *err);
/* A directory <base>/<prefix>XXXXXX (mode 0700) for as long as the process lives, or less: its path is the caller's, who removes
 * it. Returns a descriptor that holds a lock on it, for fs_owned_sweep. */
int fs_owned_make(const char *base, const char *prefix, char **ret, crio_err *err);
/* Removes those of our user whose makers were killed. */
void fs_owned_sweep(const char *base, const char *prefix);
/* rmdir/unlink of an absolute path of our own; absent is success. */
int fs_unlink(const char *path, crio_err *err);

int fs_write_all(int fd, const void *p, size_t n, crio_err *err);
/* pread/read until n bytes or end; returns the count. */
ssize_t fs_read_all(int fd, void *p, size_t n, crio_err *err);

/* Whole-file lock by open file description (excludes fcntl locks of other programs), polled until deadline_ns
 * (monotonic, INT64_MAX none; 0 one try: UNAVAILABLE). Unlocks when the fd is closed. */
int fs_lock(int fd, bool exclusive, int64_t deadline_ns, crio_err *err);
int fs_unlock(int fd);

/* Is something mounted exactly at path? Negative code when it cannot be told. */
int fs_is_mountpoint(int dirfd, const char *path, crio_err *err);
/* umount2(path, MNT_DETACH|UMOUNT_NOFOLLOW); not mounted or absent is success. */
int fs_umount(const char *path, crio_err *err);

/* "a/b", freed by the caller; NULL without memory. Format like printf. */
char *path_fmt(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* True for a single path component that is not "", ".", ".." and has no '/'. */
bool path_is_name(const char *s);
/* Absolute and without ".." components. */
bool path_is_clean_abs(const char *s);

int64_t now_mono_ns(void);
int64_t now_real_ns(void);
/* RFC 3339 with nanoseconds, UTC ("2026-01-02T03:04:05.000000006Z"). */
void time_format(int64_t real_ns, char ret[40]);
bool time_parse(const char *s, int64_t *ret_real_ns);

#endif
