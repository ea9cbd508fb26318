/* userns.c: see userns.h. */
#include "core/exec/userns.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/exec/spawn_child.h"
#include "core/util/failpoint.h"
#include "core/util/fs.h"

#define UNTRACED __attribute__((no_sanitize("thread")))

/* Shared by the caller, the thread that stands still, and the child. */
struct helper {
	int go[2];   /* a byte each time the child may go on; its end: the child's end */
	int told[2]; /* a byte of the child's for each step; [1] is the thread's to close */
	int flags;
	int dumpable;
	int pid; /* set by the kernel before the child runs */
	/* Set by the child. */
	const char *failed;
	int failed_errno;
	int r; /* of the clone, with err; the thread's until it is joined */
	crio_err err;
};

/* ---- the child: plain system calls only, and not the library's functions for them, which sanitizers watch for the thread's sake ---- */

static UNTRACED int child_fail(struct helper *h, const char *step)
{
	h->failed_errno = errno;
	h->failed = step;
	syscall(SYS_exit_group, 1);
	return 1;
}

/* The table of descriptors is a copy: all but the two that it needs go. Above all go[1], whose last end ends the child. */
static UNTRACED int close_others(const struct helper *h)
{
	unsigned a = (unsigned)h->go[0], b = (unsigned)h->told[1], low = a < b ? a : b, high = a < b ? b : a;

	if ((low > 0 && syscall(SYS_close_range, 0u, low - 1, 0u) < 0) ||
	    (high > low + 1 && syscall(SYS_close_range, low + 1, high - 1, 0u) < 0))
		return -1;
	return (int)syscall(SYS_close_range, high + 1, ~0u, 0u);
}

static UNTRACED int child_main(void *arg)
{
	struct helper *h = arg;
	char c = 0;

	if (close_others(h) < 0)
		return child_fail(h, "close descriptors");
	if (syscall(SYS_write, h->told[1], &c, 1) != 1 || syscall(SYS_read, h->go[0], &c, 1) != 1)
		return child_fail(h, "wait for the mappings");
	/* Root of the new namespace: what the others have of files is made as this user. Not the library's calls, which change all threads. */
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
		return child_fail(h, "become its root");
	/* The change of user took this from the memory, which is ours too. */
	if (syscall(SYS_prctl, PR_SET_DUMPABLE, h->dumpable, 0, 0, 0) < 0)
		return child_fail(h, "stay dumpable");
	if (h->flags && syscall(SYS_unshare, h->flags) < 0)
		return child_fail(h, "make the namespaces that it owns");
	if (syscall(SYS_write, h->told[1], &c, 1) == 1)
		(void)syscall(SYS_read, h->go[0], &c, 1); /* until the descriptors are taken */
	syscall(SYS_exit_group, 0);
	return 0;
}

/* ---- ours ---- */

static pthread_once_t dumpable_once = PTHREAD_ONCE_INIT;
static int dumpable_was;

static void look_dumpable(void)
{
	dumpable_was = prctl(PR_GET_DUMPABLE) == 1;
}

int userns_dumpable(void)
{
	(void)pthread_once(&dumpable_once, look_dumpable);
	return dumpable_was;
}

static void *clone_thread(void *arg)
{
	struct helper *h = arg;
	int flags = CLONE_VM | CLONE_VFORK | CLONE_NEWUSER | CLONE_PARENT_SETTID | SIGCHLD;

	h->r = spawn_child_clone(child_main, h, flags, &h->pid, &h->err);
	h->told[1] = safe_close(h->told[1]);
	return NULL;
}

/* The child's next step, or why it did not get there. */
static int await(const struct helper *h, crio_err *err)
{
	char c;
	ssize_t n;

	do
		n = read(h->told[0], &c, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return 0;
	return n < 0 ? err_errno(err, errno, "wait for the helper") : CRIO_E_ABORTED; /* finish() says why */
}

static int write_map(int pid, const char *file, const struct id_map *m, crio_err *err)
{
	cleanup_free char *text = id_map_text(m);
	char path[48];

	if (!text)
		return err_nomem(err);
	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return fs_write_small(AT_FDCWD, path, text, err);
}

static int take(int pid, const char *name, int *ret, crio_err *err)
{
	char path[48];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	*ret = open(path, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? err_errno(err, errno, "open %s", path) : 0;
}

static int lead(struct helper *h, const struct id_maps *maps, struct userns *u, crio_err *err)
{
	char c = 0;
	int r = await(h, err);

	if (r == 0)
		r = FAILPOINT("userns.unmapped", err);
	if (r == 0)
		r = write_map(h->pid, "gid_map", &maps->gids, err);
	if (r == 0)
		r = write_map(h->pid, "uid_map", &maps->uids, err);
	if (r == 0 && write(h->go[1], &c, 1) != 1)
		r = CRIO_E_ABORTED;
	if (r == 0)
		r = await(h, err);
	if (r == 0)
		r = take(h->pid, "user", &u->user, err);
	if (r == 0 && (h->flags & CLONE_NEWNET))
		r = take(h->pid, "net", &u->net, err);
	if (r == 0 && (h->flags & CLONE_NEWIPC))
		r = take(h->pid, "ipc", &u->ipc, err);
	if (r == 0 && (h->flags & CLONE_NEWUTS))
		r = take(h->pid, "uts", &u->uts, err);
	return r;
}

/* The child ends, and the thread with it. Its own word of a failure says more than that it is gone. */
static int finish(struct helper *h, pthread_t t, int r, crio_err *err)
{
	h->go[1] = safe_close(h->go[1]);
	(void)pthread_join(t, NULL);
	if (h->r < 0) {
		const char *hint = h->failed_errno == ENOSPC ? " (see the sysctl user.max_user_namespaces)" : "";

		if (err)
			err_clear(err);
		(void)err_move(err, &h->err);
		return err_wrap(err, "make a user namespace%s", hint);
	}
	spawn_child_reap(h->pid);
	if (r == 0)
		return 0;
	if (r == CRIO_E_ABORTED && h->failed)
		return err_errno(err, h->failed_errno, "make a user namespace: %s", h->failed);
	if (r == CRIO_E_ABORTED)
		return err_set(err, CRIO_E_ABORTED, "make a user namespace: its helper was killed");
	return err_wrap(err, "make a user namespace");
}

static int start(struct helper *h, pthread_t *ret, crio_err *err)
{
	sigset_t all, old;
	int e;

	if (pipe2(h->go, O_CLOEXEC) < 0 || pipe2(h->told, O_CLOEXEC) < 0)
		return err_errno(err, errno, "make a pipe");
	h->dumpable = userns_dumpable();
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(ret, NULL, clone_thread, h);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e ? err_errno(err, e, "start a thread for a user namespace") : 0;
}

int userns_make(const struct id_maps *maps, int flags, struct userns *ret, crio_err *err)
{
	struct helper h = {.go = {-1, -1}, .told = {-1, -1}, .flags = flags};
	cleanup_userns struct userns u = USERNS_INIT;
	pthread_t t;
	int r = start(&h, &t, err);

	if (r == 0) {
		r = lead(&h, maps, &u, err);
		r = finish(&h, t, r, err);
	}
	(void)safe_close(h.go[0]);
	(void)safe_close(h.go[1]);
	(void)safe_close(h.told[0]);
	(void)safe_close(h.told[1]);
	if (r < 0)
		return r;
	*ret = u;
	u = (struct userns)USERNS_INIT;
	return 0;
}

void userns_release(struct userns *u)
{
	u->user = safe_close(u->user);
	u->net = safe_close(u->net);
	u->ipc = safe_close(u->ipc);
	u->uts = safe_close(u->uts);
}
