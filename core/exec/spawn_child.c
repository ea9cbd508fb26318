/*
 * spawn_child.c: the child shares our memory until exec (CLONE_VM|CLONE_VFORK): no allocation, no locks, no stdio, no
 * library call that is not a plain system call. The calling thread is stopped meanwhile; other threads run on.
 */
#include "core/exec/spawn_child.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Functions that never return would leave their frames in what ThreadSanitizer keeps of the parent's thread. */
#define UNTRACED __attribute__((no_sanitize("thread")))

static UNTRACED int fail(struct child *c, const char *step)
{
	c->failed_errno = errno;
	c->failed = step;
	syscall(SYS_exit_group, 127);
	return 127;
}

/* Ignored signals would stay ignored over exec; handlers are reset by exec itself. The raw call: glibc keeps state. */
static UNTRACED void reset_signals(void)
{
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		unsigned long mask;
	} sa;
	for (int sig = 1; sig < 65; sig++) {
		sa.handler = NULL;
		sa.flags = 0;
		sa.restorer = NULL;
		sa.mask = 0;
		(void)syscall(SYS_rt_sigaction, sig, &sa, NULL, 8);
	}
	unsigned long none = 0;
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
}

static UNTRACED void write_oom(int value)
{
	char buf[16];
	size_t n = 0;
	unsigned v = value < 0 ? (unsigned)-value : (unsigned)value;
	char tmp[12];
	size_t m = 0;
	do
		tmp[m++] = (char)('0' + v % 10);
	while ((v /= 10));
	if (value < 0)
		buf[n++] = '-';
	while (m)
		buf[n++] = tmp[--m];
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		/* Not fatal: lowering may not be allowed here. */
		ssize_t r = write(fd, buf, n);
		(void)r;
		(void)close(fd);
	}
}

UNTRACED int spawn_child_main(void *arg)
{
	struct child *c = arg;
	const struct spawn *s = c->s;
	reset_signals();
	if (s->new_session ? setsid() < 0 : setpgid(0, 0) < 0)
		return fail(c, "make a process group");
	for (size_t i = 0; i < c->n_cgroup_fds; i++)
		if (write(c->cgroup_fds[i], "0", 1) != 1)
			return fail(c, "join the cgroup");
	if (s->has_oom_score_adj)
		write_oom(s->oom_score_adj);
	if (s->netns_fd >= 0 && setns(s->netns_fd, CLONE_NEWNET) < 0)
		return fail(c, "enter the network namespace");
	if (chdir(s->cwd ? s->cwd : "/") < 0)
		return fail(c, "change directory");
	for (size_t i = 0; i < c->n; i++)
		if (dup2(c->src[i], (int)i) < 0)
			return fail(c, "place descriptors");
	/* The descriptor table is a copy (no CLONE_FILES): this touches only ours. */
	if (syscall(SYS_close_range, (unsigned)c->n, ~0u, 0u) < 0 && errno != ENOSYS)
		return fail(c, "close descriptors");
	(void)syscall(SYS_umask, 022);
	(void)execve(s->path, (char *const *)(uintptr_t)s->argv, (char *const *)(uintptr_t)s->env);
	return fail(c, "execute");
}
