/*
 * server.h: the streaming server: exec, attach and port-forward by URL, over HTTP upgraded to SPDY/3.1 or WebSocket. An RPC asks for a URL,
 * which is good for one connection within a minute; a client connects there, usually through the kubelet.
 *
 * One thread (pump.h) listens and moves all bytes. doc/design/streaming.md is its page.
 */
#ifndef STREAM_SERVER_H
#define STREAM_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/str.h"

struct conf;
struct lifecycle;
struct workers;
struct stream_server;

struct stream_args {
	const struct conf *conf; /* its [crio.api]; not kept */
	struct lifecycle *lifecycle; /* outlive the server */
	struct workers *workers;
};
/* Listens at stream_address and stream_port and serves. Errors name the address, file or cipher suite. */
int stream_server_new(const struct stream_args *args, struct stream_server **ret, crio_err *err);
/* No new connections; those that are there are cut, what they started is ended. Waits until it has, timeout_ms at most. 0, or the number
 * of streams whose work is stuck: then stream_server_free() leaks the server rather than pulling it from under them. */
unsigned stream_server_stop(struct stream_server *s, uint32_t timeout_ms);
void stream_server_free(struct stream_server *s); /* stops first when nobody did; NULL is fine */

enum stream_kind { STREAM_EXEC, STREAM_ATTACH, STREAM_FORWARD };
/* What a URL is for. Strings and lists are copied. */
struct stream_want {
	enum stream_kind kind;
	const char *id;		 /* of the container, or of the pod */
	const struct strv *cmd;	 /* exec */
	bool tty, in, out, err;	 /* exec, attach */
	const int32_t *ports;	 /* forward */
	size_t n_ports;
};
/* The URL, the caller's. From any thread. INVALID: what is wanted makes no sense; EXHAUSTED: too many URLs wait for their clients. */
int stream_url(struct stream_server *s, const struct stream_want *w, char **ret, crio_err *err);

/* Figures for tests and metrics; from any thread, as of a moment ago. */
struct stream_stats {
	unsigned connections, streams; /* TCP connections; of these, upgraded ones whose work is not over */
	uint64_t served;	       /* streams since the start */
};
void stream_server_stats(struct stream_server *s, struct stream_stats *ret);

#endif
