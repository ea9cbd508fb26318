/*
 * hostport.h: ports of the host that lead to a pod, by rules in the host's network namespace (the daemon's own). nftables where
 * it works, else iptables. Tables, chains, comments and the way names are derived from a pod's id are CRI-O's, so that either
 * program takes down what the other has set up: nftables' table `crio-hostports` in the families ip and ip6; iptables' chains
 * KUBE-HOSTPORTS, KUBE-HP-*, CRIO-HOSTPORTS-MASQ and CRIO-MASQ-*.
 *
 * Who calls: network.c, for networks whose plugin does not map ports itself (CRIO_NETWORK_CAP_HOSTPORT), unless
 * disable_hostport_mapping. The pod's record, with its mappings, is on disk before the first rule is made: what a crash leaves is
 * removed with the pod. Thread-safe; changes take turns, and who waits for a turn waits no longer than its call.
 */
#ifndef LIFECYCLE_HOSTPORT_H
#define LIFECYCLE_HOSTPORT_H

#include "core/exec/call.h"
#include "core/lifecycle/config.h"
#include "core/util/str.h"

/*
 * Maps those of ports that have a host port to the first address of each family in ips; a mapping for an address of the other
 * family is left out, as there is none to lead to. Afterwards what the kernel remembers of UDP traffic to these ports is
 * forgotten, so that peers who were sending already reach the pod. name: for the rules' comments.
 * EXISTS: another pod has the port. UNAVAILABLE: neither nftables nor iptables works here. On failure nothing is left.
 */
int hostport_add(crio_call *call, const char *id, const char *name, const struct strv *ips, const struct port_mapping *ports, size_t n,
		 crio_err *err);
/* Removes all of the pod's rules, of both kinds. Idempotent; success where neither kind works. */
int hostport_remove(crio_call *call, const char *id, const struct port_mapping *ports, size_t n, crio_err *err);

#endif
