/*
 * server.h: the metrics endpoint: GET /metrics over HTTP, on metrics_host and metrics_port and, where it is set, on metrics_socket; over
 * TLS with metrics_cert and metrics_key, which are read again when they change.
 *
 * It stands on what the streaming server is made of: a thread of its own (core/stream/pump.h) listens and moves the bytes; the text is
 * made on a worker. A connection has one request. Nobody is asked who he is, as with CRI-O: the default address is the node's own.
 */
#ifndef OBSERVE_SERVER_H
#define OBSERVE_SERVER_H

#include "core/util/err.h"

struct conf;
struct plugins;
struct workers;
struct observe;

struct observe_args {
	const struct conf *conf; /* [crio.metrics], and [crio.api] for TLS; not kept */
	struct workers *workers; /* these outlive it */
	struct plugins *plugins;
};
/* Counting begins, and it serves. Errors name the address, path or file. */
int observe_new(const struct observe_args *a, struct observe **ret, crio_err *err);
/* After a reload. From any thread. */
void observe_set_conf(struct observe *o, const struct conf *conf);
/* Waits for texts that are being made. NULL is fine. */
void observe_free(struct observe *o);

#endif
