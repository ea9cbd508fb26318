/* sock.c: listening at a path. */
#include "core/util/sock.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "core/util/fs.h"

/* Is somebody answering at the path? */
static bool is_live(const struct sockaddr_un *a)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	/* EAGAIN: its queue is full, so somebody is there. */
	return connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN;
}

bool sock_is_live(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(a.sun_path))
		return false;
	memcpy(a.sun_path, path, strlen(path) + 1);
	return is_live(&a);
}

static int remove_stale(const char *path, const struct sockaddr_un *a, crio_err *err)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "stat %s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, CRIO_E_EXISTS, "%s is there and is no socket: remove it or configure another path", path);
	if (is_live(a))
		return err_set(err, CRIO_E_EXISTS, "%s: another process is listening there: stop it first", path);
	return fs_unlink(path, err);
}

int sock_listen_unix(const char *path, mode_t mode, int *ret_fd, struct sock_file *ret_file, crio_err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX }, tmp = { .sun_family = AF_UNIX };
	struct stat st;
	if (strlen(path) + 5 > sizeof(a.sun_path))
		return err_set(err, CRIO_E_INVALID, "socket path '%s' is too long: %zu characters at most", path, sizeof(a.sun_path) - 5);
	memcpy(a.sun_path, path, strlen(path) + 1);
	(void)snprintf(tmp.sun_path, sizeof(tmp.sun_path), "%s.tmp", path);
	int r = remove_stale(path, &a, err);
	if (r == 0)
		r = fs_unlink(tmp.sun_path, err);
	if (r < 0)
		return r;
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, errno, "socket");
	/* Made under another name and renamed, so that nobody connects before its mode is right. */
	if (bind(fd, (const struct sockaddr *)&tmp, sizeof(tmp)) < 0)
		return err_errno(err, errno, "bind %s", tmp.sun_path);
	if (chmod(tmp.sun_path, mode) < 0 || listen(fd, SOMAXCONN) < 0 || stat(tmp.sun_path, &st) < 0 || rename(tmp.sun_path, path) < 0) {
		r = err_errno(err, errno, "listen on %s", path);
		(void)unlink(tmp.sun_path);
		return r;
	}
	*ret_file = (struct sock_file){ .dev = st.st_dev, .ino = st.st_ino };
	*ret_fd = move_fd(fd);
	return 0;
}

void sock_unlink(const char *path, const struct sock_file *file)
{
	struct stat st;
	if (lstat(path, &st) == 0 && st.st_dev == file->dev && st.st_ino == file->ino)
		(void)unlink(path);
}
