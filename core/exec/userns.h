/*
 * userns.h: new user namespaces, and other namespaces that belong to them. A thread cannot enter a user namespace, so each is made by
 * a helper process that lives for a millisecond: a child as spawn.h's, which shares our memory and makes plain system calls on a
 * stack of its own, while the thread that cloned it stands still. It runs no program and ends when it has done its part, or when we
 * do: its pipe is closed then.
 */
#ifndef EXEC_USERNS_H
#define EXEC_USERNS_H

#include "core/util/idmap.h"

/* Descriptors of namespaces, the caller's; -1: not asked for. */
struct userns {
	int user, net, ipc, uts;
};
#define USERNS_INIT { -1, -1, -1, -1 }
void userns_release(struct userns *u);
#define cleanup_userns CLEANUP(userns_release)

/* Makes a user namespace with these maps (checked with id_maps_check), and with flags of CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS
 * such namespaces that it owns. Nothing holds them but the descriptors. DENIED, EXHAUSTED, ... name the step. Blocking, a
 * millisecond; any thread but the loop's. */
int userns_make(const struct id_maps *maps, int flags, struct userns *ret, crio_err *err);

/*
 * May the process be dumped (PR_SET_DUMPABLE, 0 or 1)? As it was at the first call. A thread that changes its user takes the right from the
 * whole process and gives it back; it asks here before it changes, as what prctl says then may be another such thread's doing.
 * Any thread.
 */
int userns_dumpable(void);

#endif
