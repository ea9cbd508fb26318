/*
 * alone.c: a second daemon on the same store, run directory or socket would undo what the first is making. It is refused before
 * anything is looked at. The locks are files of their own: those of the store are also taken by other programs, for moments.
 */
#include "core/alone.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/util/fs.h"

/* A daemon that was just killed has its locks until its last thread has ended. */
#define LAST_BREATH_NS (1000 * 1000000LL)
#define OWNER_MAX 4300

/* The lock's file says who has it: "<pid> <socket>". */
static int refuse(int fd, const char *what, const char *path, crio_err *err)
{
	cleanup_free char *text = NULL;
	if (fs_read_fd(fd, OWNER_MAX, &text, NULL, NULL) < 0)
		text = NULL;
	char *socket = text ? strchr(text, ' ') : NULL;
	if (!socket || strspn(text, "0123456789") != (size_t)(socket - text))
		return err_set(err, CRIO_E_PRECONDITION, "the %s %s is in use by another crio: stop that first, or give this one another",
			       what, path);
	*socket++ = '\0';
	socket[strcspn(socket, "\n")] = '\0';
	return err_set(err, CRIO_E_PRECONDITION,
		       "the %s %s is in use by another crio, pid %s, which serves on %s: stop that first, or give this one another", what, path,
		       text, socket);
}

static int take(const char *file, const char *what, const char *path, const char *listen, int *ret, crio_err *err)
{
	cleanup_close int fd = open(file, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "open %s", file);
	int r = fs_lock(fd, true, now_mono_ns() + LAST_BREATH_NS, err);
	if (r == CRIO_E_DEADLINE) {
		err_clear(err);
		return refuse(fd, what, path, err);
	}
	if (r < 0)
		return err_wrap(err, "%s", file);
	cleanup_free char *text = path_fmt("%d %s\n", (int)getpid(), listen);
	if (!text)
		return err_nomem(err);
	if (ftruncate(fd, 0) < 0)
		return err_errno(err, errno, "write %s", file);
	r = fs_write_all(fd, text, strlen(text), err);
	if (r < 0)
		return err_wrap(err, "%s", file);
	*ret = move_fd(fd);
	return 0;
}

/* Who could write there could give containers of others any file, and us any record. */
static int check_private(const char *dir, const char *what, crio_err *err)
{
	struct stat st;
	if (stat(dir, &st) < 0)
		return err_errno(err, errno, "look at the %s %s", what, dir);
	if (st.st_uid && st.st_uid != geteuid())
		return err_set(err, CRIO_E_PRECONDITION, "the %s %s belongs to user %u: it must be root's (chown root %s)", what, dir,
			       (unsigned)st.st_uid, dir);
	if (st.st_mode & S_IWOTH)
		return err_set(err, CRIO_E_PRECONDITION, "the %s %s may be written by everybody (mode %04o): chmod 0700 %s", what, dir,
			       (unsigned)(st.st_mode & 07777), dir);
	return 0;
}

static int take_dir(const char *dir, const char *what, const char *listen, int *ret, crio_err *err)
{
	int r = fs_mkdir_p(dir, 0700, err);
	if (r == 0)
		r = check_private(dir, what, err);
	if (r < 0)
		return r;
	cleanup_free char *file = path_fmt("%s/crio-daemon.lock", dir);
	return file ? take(file, what, dir, listen, ret, err) : err_nomem(err);
}

/* Of another kind of daemon, which knows nothing of our locks. */
static int check_listener(const char *path, crio_err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(a.sun_path))
		return 0; /* who makes the socket says so */
	memcpy(a.sun_path, path, strlen(path));
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, errno, "socket");
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 && errno != EAGAIN)
		return 0;
	struct ucred who;
	socklen_t n = sizeof(who);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0 || who.pid <= 0)
		return err_set(err, CRIO_E_PRECONDITION, "another process is listening on %s: stop it first, or change 'listen'", path);
	return err_set(err, CRIO_E_PRECONDITION, "process %d is listening on %s: stop it first, or change 'listen'", (int)who.pid, path);
}

static int take_socket(const char *listen, int *ret, crio_err *err)
{
	cleanup_free char *dir = strdup(listen), *file = path_fmt("%s.lock", listen);
	if (!dir || !file)
		return err_nomem(err);
	char *slash = strrchr(dir, '/');
	if (!slash)
		return err_set(err, CRIO_E_INVALID, "listen: '%s' is not an absolute path", listen);
	*slash = '\0';
	int r = *dir ? fs_mkdir_p(dir, 0755, err) : 0;
	if (r == 0)
		r = take(file, "socket", listen, listen, ret, err);
	return r < 0 ? r : check_listener(listen, err);
}

int alone_init(struct alone *a, const struct conf *conf, crio_err *err)
{
	for (size_t i = 0; i < ALONE_PLACES; i++)
		a->fds[i] = -1;
	const char *listen = conf->api.listen;
	/* Two names for one directory are one place: they lead to the same file. */
	int r = take_dir(conf->crio.root, "storage root", listen, &a->fds[0], err);
	if (r == 0)
		r = take_dir(conf->crio.runroot, "run root", listen, &a->fds[1], err);
	if (r == 0)
		r = take_socket(listen, &a->fds[2], err);
	return r;
}

void alone_release(struct alone *a)
{
	for (size_t i = ALONE_PLACES; i-- > 0;) {
		(void)safe_close(a->fds[i]);
		a->fds[i] = -1;
	}
}
