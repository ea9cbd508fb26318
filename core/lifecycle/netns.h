/*
 * netns.h: a pod's namespaces. They are made on a thread that lives only for that, pinned as bind mounts of nsfs on
 * <dir>/{netns,ipcns,utsns,userns}/<name>, and outlive the daemon. The thread also does what must happen inside: host name,
 * sysctls, loopback up. Those of a pod with a user namespace are made by a helper process (core/exec/userns.h), since that one must
 * own them, and entered by the thread. Nothing here runs a program.
 */
#ifndef LIFECYCLE_NETNS_H
#define LIFECYCLE_NETNS_H

#include <stdbool.h>

#include "core/exec/call.h"
#include "core/util/idmap.h"
#include "core/util/str.h"

enum ns_kind { NS_KIND_NET, NS_KIND_IPC, NS_KIND_UTS, NS_KIND_USER, NS_KIND_COUNT };

struct netns_args {
	const char *dir;	   /* namespaces_dir; made 0755 when missing */
	const char *name;	   /* of the pins: a single path component, usually uuid_new() */
	bool net, ipc, uts;	   /* which to make; the others stay the host's */
	const char *hostname;	   /* for the new UTS namespace; "" or NULL: leave */
	const struct kvs *sysctls; /* may be NULL; each is checked with sysctl_check against net and ipc above */
	const struct id_maps *maps; /* a user namespace with these, which owns the others; NULL or without lines: none */
};

/* "<dir>/netns/<name>", the caller's; NULL without memory. Known before netns_create, so that an intent can be
 * recorded. */
char *netns_path(const char *dir, enum ns_kind kind, const char *name);

/* Makes the namespaces asked for. On failure nothing is left. CRIO_E_INVALID for a bad name, host name or sysctl (also
 * one the kernel refuses to take: the message names it and the errno), EXISTS when something is there under that name.
 * Blocking, a millisecond; not on the loop thread. */
int netns_create(const struct netns_args *args, crio_err *err);
/* Unmounts and removes all pins of the name. Idempotent; goes on after a failure and returns the first. */
int netns_remove(const char *dir, const char *name, crio_err *err);
/* One pin by its path: detach and unlink. Idempotent. A path that is a plain file (its mount went with a reboot) is
 * removed as well; anything that is neither nsfs nor an empty regular file is CRIO_E_PRECONDITION and stays. */
int ns_remove(const char *path, crio_err *err);

/* Opens a pin read-only. NOT_FOUND when there is nothing; PRECONDITION when it is not a namespace of that kind (a plain
 * file left over by a reboot). The fd is the caller's. */
int ns_open(const char *path, enum ns_kind kind, crio_err *err);
static inline int netns_open(const char *path, crio_err *err)
{
	return ns_open(path, NS_KIND_NET, err);
}
/* A non-blocking TCP socket (family: AF_INET or AF_INET6) in a network namespace; fd < 0: the daemon's own. It is made on a thread that
 * lives only for that. Returns the descriptor, or a code. */
int netns_socket(int fd, int family, crio_err *err);
/* Does path hold a namespace of that kind now? */
bool ns_is(const char *path, enum ns_kind kind);
/* Does the fd name the namespace the daemon itself is in? Negative code when it cannot be told. */
int ns_is_own(int fd, enum ns_kind kind, crio_err *err);

/* ---- sysctls ----
 * Only what the kernel keeps per namespace may be set, and only when the pod has a namespace of its own for it:
 * kernel.sem, kernel.shm*, kernel.msg*, fs.mqueue.* (IPC) and net.* (network). Names are dotted or slashed
 * ("net.ipv4.conf.eth0.forwarding", "net/ipv4/conf/eth0.100/forwarding"). CRIO_E_INVALID names the sysctl and the rule.
 */
int sysctl_check(const char *name, const char *value, bool own_net, bool own_ipc, crio_err *err);
/* net.ipv4.ping_group_range as the host writes it for a pod with these group ids: both ends must be mapped, but the whole range there is
 * ("0 2147483647") ends at the last that is. True: name is that sysctl, and *ret (the caller's) is its value. Negative: INVALID, NOMEM. */
int sysctl_ping_range(const char *name, const char *value, const struct id_map *gids, char **ret, crio_err *err);
/* "name=value", as in default_sysctls, into m; "" is skipped. No spaces around either. The allow-list is checked too.
 */
int sysctl_parse(const char *text, struct kvs *m, crio_err *err);

#endif
