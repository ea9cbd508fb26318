/*
 * net_stats.h: the counters of a network namespace's interfaces, by rtnetlink. A reader has one socket that was made inside; no
 * thread ever stays there, and no program runs.
 */
#ifndef LIFECYCLE_NET_STATS_H
#define LIFECYCLE_NET_STATS_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/util/err.h"

struct net_counters {
	uint64_t bytes, packets, errors, dropped;
};
struct net_if {
	char name[IFNAMSIZ];
	bool loopback;
	struct net_counters rx, tx;
};

struct net_reader;
/* path: of a pinned namespace; "": the daemon's own. It keeps the namespace alive. One reference. NOT_FOUND when there is none. */
int net_reader_new(const char *path, struct net_reader **ret, crio_err *err);
struct net_reader *net_reader_ref(struct net_reader *r);
void net_reader_unref(struct net_reader *r); /* NULL is fine */
/* All interfaces, in the kernel's order; the array is the caller's, NULL for none. Thread-safe: a second caller waits for the
 * first one's answer, some microseconds. */
int net_reader_read(struct net_reader *r, struct net_if **ret, size_t *ret_n, crio_err *err);

#endif
