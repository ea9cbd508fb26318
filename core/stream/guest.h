/*
 * guest.h: a connection before its upgrade: the request is read, its token is redeemed, the protocol is agreed on. Guests have little
 * time and are few: of too many, the oldest goes. Of the pump's thread.
 */
#ifndef STREAM_GUEST_H
#define STREAM_GUEST_H

#include "core/stream/inner.h"

#define GUESTS_MAX 256u
#define GUEST_NS (30 * 1000000000LL) /* for TLS and the request */

/* The descriptor is taken on success. False: no memory, or TLS cannot be set up. */
bool guest_begin(struct stream_server *s, int fd);
void guests_end(struct stream_server *s);

#endif
