/* fs.c: confined opens, whole-file reads, durable writes, locks. Path text helpers and time are in fs_path.c. */
#include "core/util/fs.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>

#include "core/util/failpoint.h"

static int do_openat2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how;
	memset(&how, 0, sizeof(how));
	how.flags = (uint64_t)(flags | O_CLOEXEC);
	how.mode = (flags & (O_CREAT | O_TMPFILE)) ? mode : 0;
	how.resolve = resolve;
	for (int i = 0;; i++) {
		int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
		/* EAGAIN: a rename elsewhere raced with "..", the kernel asks for another try. */
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || i >= 64)
			return fd;
	}
}

int fs_open_in(int dirfd, const char *path, int flags, mode_t mode, crio_err *err)
{
	int fd = do_openat2(dirfd, *path ? path : ".", flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return err_errno(err, errno, "open '%s' in root", path);
	return fd;
}

int fs_open_beneath(int dirfd, const char *path, int flags, mode_t mode, crio_err *err)
{
	int fd = do_openat2(dirfd, *path ? path : ".", flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return err_errno(err, errno, "open '%s' beneath", path);
	return fd;
}

int fs_opendir_beneath(int dirfd, const char *path, DIR **ret, crio_err *err)
{
	int fd = fs_open_beneath(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (fd >= 0 && !d) {
		(void)safe_close(fd);
		return err_nomem(err);
	}
	*ret = d;
	return d ? 0 : fd;
}

int fs_mkdirs_in_as(int dirfd, const char *path, mode_t mode, uid_t uid, gid_t gid, crio_err *err)
{
	cleanup_free char *p = strdup(path);
	if (!p)
		return err_nomem(err);
	for (char *e = p;;) {
		while (*e == '/')
			e++;
		if (!*e)
			break;
		char *slash = strchrnul(e, '/');
		char saved = *slash;
		*slash = '\0';
		int fd = do_openat2(dirfd, p, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
		if (fd < 0 && errno == ENOENT) {
			/* The parent exists by now; make the last component through its descriptor. */
			char *last = strrchr(p, '/');
			cleanup_close int parent = -1;
			if (last) {
				*last = '\0';
				parent = do_openat2(dirfd, *p ? p : "/", O_PATH | O_DIRECTORY, 0,
						    RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
				*last = '/';
			} else {
				parent = do_openat2(dirfd, ".", O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT);
			}
			if (parent < 0)
				return err_errno(err, errno, "open parent of '%s' in root", p);
			bool made = mkdirat(parent, last ? last + 1 : p, mode) == 0;
			if (!made && errno != EEXIST)
				return err_errno(err, errno, "make directory '%s' in root", p);
			if (made && (uid || gid) && fchownat(parent, last ? last + 1 : p, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
				return err_errno(err, errno, "give directory '%s' in root to %u:%u", p, uid, gid);
			fd = do_openat2(dirfd, p, O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
		}
		if (fd < 0)
			return err_errno(err, errno, "make directory '%s' in root", p);
		(void)close(fd);
		*slash = saved;
		e = slash;
	}
	return fs_open_in(dirfd, path, O_PATH | O_DIRECTORY, 0, err);
}

int fs_mkdirs_in(int dirfd, const char *path, mode_t mode, crio_err *err)
{
	return fs_mkdirs_in_as(dirfd, path, mode, 0, 0, err);
}

int fs_mkdir_p(const char *path, mode_t mode, crio_err *err)
{
	struct stat st;
	/* Mostly all but the last part is there. */
	if (mkdir(path, mode) == 0 || (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
		return 0;
	cleanup_free char *p = strdup(path);
	if (!p)
		return err_nomem(err);
	for (char *e = p + 1;; e++) {
		if (*e && *e != '/')
			continue;
		char saved = *e;
		*e = '\0';
		if (mkdir(p, mode) < 0 && errno != EEXIST)
			return err_errno(err, errno, "make directory %s", p);
		*e = saved;
		if (!saved)
			break;
	}
	if (stat(path, &st) < 0)
		return err_errno(err, errno, "stat %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, CRIO_E_PRECONDITION, "%s is not a directory", path);
	return 0;
}

int fs_read_fd(int fd, size_t limit, char **ret, size_t *ret_n, crio_err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "stat");
	/* proc and sys files say 0: grow as needed. */
	size_t cap = st.st_size > 0 && (uint64_t)st.st_size < limit ? (size_t)st.st_size + 1 : limit < 4096 ? limit + 1 : 4096;
	cleanup_free char *p = malloc(cap + 1);
	if (!p)
		return err_nomem(err);
	size_t n = 0;
	for (;;) {
		ssize_t r = read(fd, p + n, cap - n);
		if (r < 0) {
			if (errno == EINTR)
				continue;
			return err_errno(err, errno, "read");
		}
		if (r == 0)
			break;
		n += (size_t)r;
		if (n > limit)
			return err_set(err, CRIO_E_EXHAUSTED, "larger than %zu bytes", limit);
		if (n == cap) {
			size_t more = cap * 2 > limit + 1 ? limit + 1 : cap * 2;
			char *q = realloc(p, more + 1);
			if (!q)
				return err_nomem(err);
			p = q;
			cap = more;
		}
	}
	p[n] = '\0';
	*ret = move_ptr(p);
	if (ret_n)
		*ret_n = n;
	return 0;
}

int fs_read_file(int dirfd, const char *path, size_t limit, char **ret, size_t *ret_n, crio_err *err)
{
	/* O_NONBLOCK: a FIFO must not hang us; O_NOCTTY: a terminal must not become ours. */
	cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return err_errno(err, errno, "open %s", path);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "stat %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, CRIO_E_INVALID, "%s is not a regular file", path);
	int r = fs_read_fd(fd, limit, ret, ret_n, err);
	if (r < 0)
		(void)err_wrap(err, "%s", path); /* r: the code is wanted by who wants no text, too */
	return r;
}

ssize_t fs_read_small(int dirfd, const char *path, char *p, size_t n, crio_err *err)
{
	cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open %s", path);
	ssize_t r;
	do
		r = read(fd, p, n - 1);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_errno(err, errno, "read %s", path);
	while (r > 0 && p[r - 1] == '\n')
		r--;
	p[r] = '\0';
	return r;
}

int fs_write_small(int dirfd, const char *path, const char *text, crio_err *err)
{
	cleanup_close int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open %s", path);
	size_t n = strlen(text);
	ssize_t r;
	do
		r = write(fd, text, n);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_errno(err, errno, "write '%s' to %s", text, path);
	if ((size_t)r != n)
		return err_set(err, CRIO_E_IO, "write '%s' to %s: only %zd bytes taken", text, path, r);
	return 0;
}

int fs_write_all(int fd, const void *p, size_t n, crio_err *err)
{
	const char *c = p;
	while (n) {
		ssize_t r = write(fd, c, n);
		if (r < 0) {
			if (errno == EINTR)
				continue;
			return err_errno(err, errno, "write");
		}
		c += r;
		n -= (size_t)r;
	}
	return 0;
}

ssize_t fs_read_all(int fd, void *p, size_t n, crio_err *err)
{
	char *c = p;
	size_t got = 0;
	while (got < n) {
		ssize_t r = read(fd, c + got, n - got);
		if (r < 0) {
			if (errno == EINTR)
				continue;
			return err_errno(err, errno, "read");
		}
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

int fs_write_file(int dirfd, const char *name, const void *p, size_t n, mode_t mode, enum fs_durability d, crio_err *err)
{
	char uuid[37], tmp[320];
	if (!uuid_new(uuid))
		return err_set(err, CRIO_E_IO, "no random numbers");
	if ((size_t)snprintf(tmp, sizeof(tmp), ".tmp-%.8s-%s", uuid, name) >= sizeof(tmp))
		return err_set(err, CRIO_E_INVALID, "file name '%s' is too long", name);
	cleanup_close int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return err_errno(err, errno, "create %s", tmp);
	int r = FAILPOINT("fs.write.made", err);
	r = r < 0 ? r : fs_write_all(fd, p, n, err);
	if (r == 0 && d == FS_KEEP && fsync(fd) < 0)
		r = err_errno(err, errno, "fsync");
	r = r < 0 ? r : FAILPOINT("fs.write.full", err);
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = err_errno(err, errno, "rename");
	if (r < 0) {
		(void)unlinkat(dirfd, tmp, 0);
		(void)err_wrap(err, "write %s", name);
		return r;
	}
	if (d == FS_KEEP && fsync(dirfd) < 0)
		return err_errno(err, errno, "fsync directory of %s", name);
	return FAILPOINT("fs.write.done", err);
}

int64_t fs_ctime_ns(const struct stat *st)
{
	return st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
}

/* ".tmp-XXXXXXXX-name" */
static bool is_begun(const char *name)
{
	return str_starts(name, ".tmp-") && strspn(name + 5, "0123456789abcdef") == 8 && name[13] == '-' && name[14];
}

void fs_sweep_begun(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d)
		(void)safe_close(fd);
	for (struct dirent *e; d && (e = readdir(d));)
		if (is_begun(e->d_name))
			(void)unlinkat(fd, e->d_name, 0);
}

void fs_sweep_begun_path(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fs_sweep_begun(fd);
}

int fs_write_path(const char *path, const void *p, size_t n, mode_t mode, enum fs_durability d, crio_err *err)
{
	const char *slash = strrchr(path, '/');
	cleanup_free char *dir = slash ? strndup(path, (size_t)(slash - path) + (slash == path)) : strdup(".");
	if (!dir)
		return err_nomem(err);
	cleanup_close int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_errno(err, errno, "open %s", dir);
	return fs_write_file(dirfd, slash ? slash + 1 : path, p, n, mode, d, err);
}

/* A tree can be deeper than any path or number of descriptors (a container may make it so): at this depth directories
 * are moved up to the top of the tree and removed from there. */
#define RM_DEPTH_MAX 64
#define RM_TRIES 8

struct rm {
	dev_t dev;
	int top;        /* the tree's root */
	unsigned int n; /* moved there so far */
	bool again;     /* something was moved since the top was read */
	int tries;      /* directories that were filled again meanwhile */
};

static int rm_lift(struct rm *s, int dirfd, const char *name, crio_err *err)
{
	char to[32];

	for (;;) {
		(void)snprintf(to, sizeof(to), ".removed-%u", s->n++);
		if (renameat(dirfd, name, s->top, to) == 0)
			break;
		/* The tree's own names may be like that; a file or a full directory is in the way. */
		if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
			return err_errno(err, errno, "move deep directory '%s' to remove it", name);
	}
	s->again = true;
	return 0;
}

static int rm_tree(struct rm *s, int dirfd, const char *name, int depth, crio_err *err)
{
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_errno(err, errno, "remove '%s'", name);
	if (depth > RM_DEPTH_MAX)
		return rm_lift(s, dirfd, name, err);
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "open '%s' to remove it", name);
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_dev != s->dev) {
		(void)close(fd);
		return err_set(err, CRIO_E_PRECONDITION, "remove '%s': something is mounted there", name);
	}
	cleanup_closedir DIR *d = fdopendir(fd);
	if (!d) {
		(void)close(fd);
		return err_nomem(err);
	}
	if (!depth)
		s->top = fd;
	do {
		struct dirent *e;
		if (!depth)
			s->again = false;
		rewinddir(d);
		while ((errno = 0, e = readdir(d))) {
			if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
				continue;
			int r = rm_tree(s, fd, e->d_name, depth + 1, err);
			if (r < 0)
				return r;
		}
	} while (!depth && s->again);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	/* Somebody was still writing: what came after the last look goes too. */
	if (errno == ENOTEMPTY && s->tries++ < RM_TRIES)
		return rm_tree(s, dirfd, name, depth, err);
	return err_errno(err, errno, "remove directory '%s'", name);
}

int fs_rm_rf(int dirfd, const char *name, crio_err *err)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "stat '%s'", name);
	struct rm s = { .dev = st.st_dev, .top = -1 };
	return rm_tree(&s, dirfd, name, 0, err);
}

int fs_unlink(const char *path, crio_err *err)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	if (errno == EISDIR || errno == EPERM) {
		if (rmdir(path) == 0 || errno == ENOENT)
			return 0;
	}
	return err_errno(err, errno, "remove %s", path);
}

int fs_lock(int fd, bool exclusive, int64_t deadline_ns, crio_err *err)
{
	struct flock fl;
	memset(&fl, 0, sizeof(fl));
	fl.l_type = exclusive ? F_WRLCK : F_RDLCK;
	fl.l_whence = SEEK_SET;
	int64_t wait = 200000; /* 0.2 ms, doubling to 20 ms */
	for (;;) {
		if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
			return 0;
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return err_errno(err, errno, "lock");
		if (deadline_ns == 0)
			return err_set(err, CRIO_E_UNAVAILABLE, "locked by another process");
		if (now_mono_ns() >= deadline_ns)
			return err_set(err, CRIO_E_DEADLINE, "lock held by another process");
		struct timespec ts = { 0, wait };
		(void)nanosleep(&ts, NULL);
		wait = wait < 10000000 ? wait * 2 : 20000000;
	}
}

int fs_unlock(int fd)
{
	struct flock fl;
	memset(&fl, 0, sizeof(fl));
	fl.l_type = F_UNLCK;
	fl.l_whence = SEEK_SET;
	return fcntl(fd, F_OFD_SETLK, &fl);
}

int fs_is_mountpoint(int dirfd, const char *path, crio_err *err)
{
	struct statx sx;
	if (statx(dirfd, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &sx) < 0)
		return err_errno(err, errno, "stat %s", path);
	if (!(sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
		return err_set(err, CRIO_E_UNSUPPORTED, "the kernel does not tell mount points");
	return (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

int fs_umount(const char *path, crio_err *err)
{
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
		return 0;
	return err_errno(err, errno, "unmount %s", path);
}
