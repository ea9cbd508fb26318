/* spawn_child.h: what runs between clone and exec. Private to exec. */
#ifndef EXEC_SPAWN_CHILD_H
#define EXEC_SPAWN_CHILD_H

#include "core/exec/spawn.h"

struct child {
	const struct spawn *s;
	int devnull;        /* -1 when all three are given */
	int *cgroup_fds;    /* opened by the parent */
	size_t n_cgroup_fds;
	const int *src;     /* n descriptors, all >= 3 + n, to become 0..n-1 */
	size_t n;
	char **env;
	int oom_fd;         /* /proc/self/oom_score_adj cannot be opened by the parent: text and a directory fd */
	/* Set by the child (memory is shared) when a step fails. */
	const char *failed;
	int failed_errno;
};

/* clone(2) of a child that shares our memory (flags: CLONE_VM and CLONE_VFORK among them) on a stack of its own, with all signals
 * blocked; the calling thread stands still until it ends or executes. ret_slot: what CLONE_PIDFD or CLONE_PARENT_SETTID fill.
 * Returns the pid, or a code. */
int spawn_child_clone(int (*fn)(void *), void *arg, int flags, int *ret_slot, crio_err *err);
/* Waits for the end of such a child that has no pidfd. */
void spawn_child_reap(int pid);

/* The child's main: async-signal-safe only, on a stack of its own, memory shared with the parent. Never returns to it. */
int spawn_child_main(void *arg);

#endif
