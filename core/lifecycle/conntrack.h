/* conntrack.h: what the kernel remembers of connections, as far as host ports need it. */
#ifndef LIFECYCLE_CONNTRACK_H
#define LIFECYCLE_CONNTRACK_H

#include <stdint.h>

/*
 * Forgets UDP flows to this port of the daemon's network namespace, family AF_INET or AF_INET6: a peer that was sending before the port
 * was mapped has a flow that leads past the mapping. Best effort: what fails is logged. Thread-safe.
 */
void conntrack_forget_udp(int family, uint16_t port);

#endif
