/*
 * remote.h: a command in a container, or the container itself, and a client: kubectl's exec and attach ("remote command"), versions 1 to
 * 4 over SPDY and 4 and 5 over WebSocket. Of the pump's thread.
 */
#ifndef STREAM_REMOTE_H
#define STREAM_REMOTE_H

#include "core/stream/inner.h"

/* Does the client's connection, which has just been upgraded. The request is taken. version: 1 to 5. False: no memory; the
 * connection is as it was, and the request is freed. */
bool remote_begin(struct stream_server *s, struct conn *c, enum mux_kind kind, int version, struct stream_request *q,
		  const uint8_t *rest, size_t n);

#endif
