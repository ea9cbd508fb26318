/* hostport_rules.h: between hostport.c and the two ways of making rules (hostport_nft.c, hostport_iptables.c) only. */
#ifndef LIFECYCLE_HOSTPORT_RULES_H
#define LIFECYCLE_HOSTPORT_RULES_H

#include <stdint.h>

#include "core/lifecycle/hostport.h"

#define HOSTPORT_HASH_N 16 /* characters of a hash in comments and names of chains */

struct hostport_rule {
	const char *protocol; /* "tcp", "udp", "sctp" */
	uint16_t host_port, container_port;
	const char *host_ip; /* one of the family; "": all addresses */
};

/* A pod's rules in one family: AF_INET or AF_INET6. */
struct hostport_set {
	int family;
	const char *id, *name;
	const char *ip; /* the pod's; NULL to remove */
	const struct hostport_rule *v;
	size_t n;
};

/*
 * All return 0 or an error; remove 1 when it has removed something. UNSUPPORTED: this way does not work on this machine (no program, no
 * support in the kernel), and nothing was done. Another code, UNAVAILABLE for a moment's lack of processes too, says nothing of that: the
 * other way must not be taken then. add fails as a whole. remove of what is not there succeeds.
 */
int hostport_nft_add(crio_call *call, const struct hostport_set *s, crio_err *err);
int hostport_nft_remove(crio_call *call, const struct hostport_set *s, crio_err *err);
int hostport_iptables_add(crio_call *call, const struct hostport_set *s, crio_err *err);
int hostport_iptables_remove(crio_call *call, const struct hostport_set *s, crio_err *err);

/* The first characters of the base32 form (RFC 4648) of the SHA-256 of text. */
void hostport_hash(const char *text, char ret[HOSTPORT_HASH_N + 1]);

struct spawn_result;
/* Runs a program that is looked for in PATH with text (NULL: none) as its input. UNSUPPORTED without the program. */
int hostport_run(crio_call *call, const char *const *argv, const char *text, struct spawn_result *ret, crio_err *err);
/* The error of a program that did not end with 0: UNSUPPORTED where it says that the kernel cannot do it, EXISTS for a port that is taken. */
int hostport_failed(const struct spawn_result *r, const char *what, const struct hostport_set *s, crio_err *err);
/* Runs a program that changes rules as the script says, which may have outgrown its limit. */
int hostport_change(crio_call *call, const char *const *argv, const struct buf *script, const struct hostport_set *s, crio_err *err);

#endif
