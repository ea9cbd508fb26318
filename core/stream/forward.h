/*
 * forward.h: ports of a pod and a client: kubectl's port-forward, over SPDY with a pair of streams for each connection, or over
 * WebSocket with a pair of channels for each port of the request. Of the pump's thread.
 */
#ifndef STREAM_FORWARD_H
#define STREAM_FORWARD_H

#include "core/stream/inner.h"

/* As remote_begin(). */
bool forward_begin(struct stream_server *s, struct conn *c, enum mux_kind kind, struct stream_request *q, const uint8_t *rest, size_t n);

#endif
