/*
 * rpc.h: the CRI server. One unix socket: connections that begin with the HTTP/2 preface go to gRPC, all others to the
 * HTTP/1 hook. Each call runs from start to end on one worker thread of its class (methods.def); the pollers never run
 * handlers.
 */
#ifndef RPC_RPC_H
#define RPC_RPC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/exec/call.h"
#include "core/exec/workers.h"
#include "core/util/err.h"

struct conf;
struct lifecycle;
struct images;
struct plugins;
struct rpc_method;
struct stream_server;
struct rpc_server;

/* Takes a connection that does not speak HTTP/2. The descriptor is the callee's, also when it fails (then closed). */
typedef int (*rpc_http_fn)(void *arg, int fd, crio_err *err);

struct rpc_args {
	const struct conf *conf;     /* referenced; NULL where the methods do not use it (tests), as the four below */
	struct lifecycle *lifecycle; /* these outlive the server */
	struct images *images;
	struct plugins *plugins;
	struct stream_server *streams;
	struct workers *workers; /* required */
	const char *socket_path; /* required; made with mode 0660 in a directory that exists */
	const char *version;	 /* NULL: the daemon's own */
	/* 0 in each: the default that its comment gives. */
	uint32_t max_recv_bytes;  /* of one message; 80 MiB */
	uint32_t max_send_bytes;  /* 80 MiB */
	uint32_t max_connections; /* 500; more are closed at once */
	uint32_t max_streams;	  /* calls at once of one connection; 250 */
	uint32_t idle_ms;	  /* a connection without calls is ended after this; 10 min */
	uint32_t quiet_ms;	  /* gRPC is taken down this long after its last connection; 10 s */
	uint32_t first_bytes_ms;  /* a connection that has not said what it speaks; 10 s */
	uint64_t request_budget;  /* bytes of all requests in memory, decoded form included; 512 MiB */
	/* Required. The CRI's are rpc_cri_methods and rpc_cri_n_methods (method.h). */
	const struct rpc_method *methods;
	size_t n_methods;
	void *methods_arg; /* given to handlers of `methods` through rpc_env.arg */
	rpc_http_fn http;  /* NULL: answers 404 */
	void *http_arg;
};

/* Everything is copied or referenced; nothing listens yet. */
int rpc_server_new(const struct rpc_args *args, struct rpc_server **ret, crio_err *err);
/* Makes the socket and serves. A socket file that nobody listens on is replaced; a live listener is CRIO_E_EXISTS. */
int rpc_server_start(struct rpc_server *s, crio_err *err);
/*
 * No new connections and calls; calls in flight have grace_ms to end, then they are cancelled and have another
 * grace_ms. Removes the socket. 0, or the number of calls that are still stuck in their handlers: then rpc_server_free
 * leaks the server rather than pulling it from under them.
 */
int rpc_server_stop(struct rpc_server *s, uint32_t grace_ms);
void rpc_server_free(struct rpc_server *s); /* stops first when nobody did; NULL is fine */

/* After a reload: later calls see the new snapshot, which is referenced. */
void rpc_server_set_conf(struct rpc_server *s, const struct conf *conf);

/* Figures for tests and metrics. */
struct rpc_stats {
	uint64_t calls; /* answered */
	uint32_t calls_active;
	uint32_t connections;
	bool grpc_up; /* gRPC is there: it has connections, or had some lately */
	uint64_t request_bytes; /* of the budget, in use */
};
void rpc_server_stats(struct rpc_server *s, struct rpc_stats *ret);

#endif
