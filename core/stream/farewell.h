/*
 * farewell.h: leaving a container that was attached to. conmon up to 2.1.6 at least reads memory that it has freed when it finds out by a
 * failed write, before it has read the end of our input, that we have gone: it dies of that sooner or later, and its container with it.
 * So our input ends first, and the connection is kept and read until conmon must have seen that: a few packets later, or after the
 * longest time that it can be held up by another client.
 */
#ifndef STREAM_FAREWELL_H
#define STREAM_FAREWELL_H

#include "core/stream/inner.h"

/* The descriptor, a connection as the SDK's attach gives, is taken and closed in time. */
void farewell_begin(struct stream_server *s, int fd);
/* The server stops: those that there are have a moment left. */
void farewells_hurry(struct stream_server *s);

#endif
