/*
 * spawn.h: the only way to run another program. The child is made with clone(CLONE_VM|CLONE_VFORK): no copy of the
 * daemon's memory, no code of ours after fork but async-signal-safe calls, then exec. It starts in a clean state: only
 * the given descriptors, default signals, empty mask, own process group, umask 022.
 */
#ifndef EXEC_SPAWN_H
#define EXEC_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/exec/call.h"
#include "core/util/str.h"

struct spawn {
	const char *path;              /* absolute */
	const char *const *argv;       /* NULL-terminated */
	const char *const *env;        /* NULL-terminated; exactly these */
	const char *cwd;               /* NULL: "/" */
	int stdin_fd, stdout_fd, stderr_fd; /* -1: /dev/null */
	int netns_fd;                  /* -1: stay */
	const int *fds;                /* given as 3, 4, ... */
	size_t n_fds;
	const char *const *cgroup_procs; /* NULL-terminated, joined before exec; may be NULL */
	bool new_session;
	bool has_oom_score_adj;
	int oom_score_adj;
};
#define SPAWN_INIT { .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .netns_fd = -1 }

struct proc {
	pid_t pid;
	int pidfd; /* -1 once released */
};

/* Starts it. NOT_FOUND, DENIED, ... name the program and the step that failed. */
int spawn_start(const struct spawn *s, struct proc *ret, crio_err *err);
/* Waits until it ends or the call does. *exit_code: 0..255, 128+signal. Reaps. */
int proc_wait(struct proc *p, crio_call *call, int *exit_code, crio_err *err);
/* SIGKILL to its process group, reap, release. */
void proc_kill(struct proc *p);
void proc_release(struct proc *p); /* closes the pidfd; does not wait */

struct spawn_result {
	int exit_code;
	struct buf out, err;
	bool out_truncated, err_truncated;
};
void spawn_result_release(struct spawn_result *r);
#define cleanup_spawn_result CLEANUP(spawn_result_release)
/* Runs it to its end with `input` on stdin (may be NULL), keeping at most out_limit/err_limit bytes and draining the rest.
 * When the call ends first the process group is killed and CRIO_E_DEADLINE or _CANCELLED returned. A grandchild that
 * keeps the pipes open after the program's end is waited for 1 s at most. */
int spawn_capture(const struct spawn *s, crio_call *call, const void *input, size_t input_n, size_t out_limit,
		  size_t err_limit, struct spawn_result *ret, crio_err *err);

/* "NAME" looked up in dirs (NULL: PATH of the environment the daemon was started with); absolute path, caller's. */
int spawn_find(const char *name, const struct strv *dirs, char **ret, crio_err *err);

/* Processes started since start; shown by tests/bench. */
uint64_t spawn_count(void);

#endif
