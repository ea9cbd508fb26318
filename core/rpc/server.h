/* server.h: what the files of the server share. */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include <grpc/grpc.h>
#include <pthread.h>

#include "core/rpc/codec.h"
#include "core/rpc/method.h"
#include "core/rpc/rpc.h"
#include "core/util/map.h"
#include "core/util/str.h"

#define RPC_POLLERS 2
#define RPC_ACCEPTS 64		  /* calls asked of gRPC ahead */
#define RPC_TRIM_BYTES (4u << 20) /* a call that held more has the heap trimmed after it */

struct conns;
struct http1;
struct events;

struct rpc_server {
	struct rpc_args args; /* as given, defaults filled in; strings are copies */
	struct map *methods;  /* "/service/name" -> const struct rpc_method; never changes */
	int *ops;	      /* of each of args.methods, its number in meter.h */
	struct rpc_engine *engine; /* the accept thread's; after conns_stop, stop's. NULL: gRPC is down */
	struct conns *conns;
	struct http1 *http;
	struct events *events; /* NULL without a lifecycle */
	struct rpc_budget budget;

	pthread_mutex_t lock;	/* guards what follows */
	pthread_cond_t changed; /* active or the engine's shut_down changed; monotonic clock */
	const struct conf *conf;
	uint32_t active;      /* calls that exist, answered or not */
	uint32_t in_handlers; /* of these, on worker threads */
	uint64_t calls;
	bool started, stopping, trim_queued, grpc_up;
	int stuck; /* result of stop */
};

/* What a completion queue event points to. */
struct rpc_tag {
	void (*fn)(struct rpc_tag *t, bool ok);
};

/* gRPC hands a tag from the thread that starts an operation to the poller that sees its end, in that order. A library
 * without instrumentation cannot tell ThreadSanitizer so: we do. */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *);
void __tsan_release(void *);
#define RPC_GIVE(t) __tsan_release(t)
#define RPC_TAKE(t) __tsan_acquire(t)
#else
#define RPC_GIVE(t) ((void)(t))
#define RPC_TAKE(t) ((void)(t))
#endif

/* engine.c: gRPC, from its first connection to some time after its last. */
struct rpc_engine {
	struct rpc_server *s;
	grpc_server *server;
	grpc_completion_queue *cq;
	pthread_t pollers[RPC_POLLERS];
	int n_pollers;
	struct rpc_tag shutdown;
	bool shut_down; /* s->lock */
};
int engine_up(struct rpc_server *s, crio_err *err); /* nothing to do when it is */
void engine_add(struct rpc_server *s, int fd);	    /* a connection; gRPC's descriptor from here on */
bool engine_is_quiet(struct rpc_server *s);	    /* no call exists */
/* Calls in flight have grace_ms to end, then are cancelled and have another. 0, or the number of calls that are stuck. */
int engine_down(struct rpc_server *s, uint32_t grace_ms);

/* serve.c: asks gRPC for one more call. */
int rpc_serve_next(struct rpc_engine *e);

/* conns.c: the socket, its accept thread and the count of connections. */
int conns_new(struct rpc_server *s, struct conns **ret, crio_err *err);
/* No more connections; closes and removes the socket. Open gRPC connections go on. */
void conns_stop(struct conns *c);
void conns_free(struct conns *c);
uint32_t conns_count(struct conns *c);

/* http1.c: HTTP/1 on the socket. Started by its first connection; each request is a job of a worker. */
int http1_new(struct rpc_server *s, struct http1 **ret, crio_err *err);
int http1_add(void *http, int fd, crio_err *err); /* an rpc_http_fn */
/* No more requests; those at work are cancelled. Returns how many are still at work after wait_ms: then http1_free must not be called. */
int http1_stop(struct http1 *h, uint32_t wait_ms);
void http1_free(struct http1 *h); /* after http1_stop; NULL is fine */

/* inspect.c: what is served there. */
struct http_reply {
	unsigned status;
	const char *type; /* static */
	struct buf body;
};
struct http_place {
	const char *path; /* with a '/' at its end: one more component follows, the argument */
	enum work_class class;
	void (*fn)(struct rpc_server *s, crio_call *call, const char *arg, struct http_reply *ret);
};
/* NULL: nothing is there. *ret_arg points into url ("" without an argument). */
const struct http_place *http_place_of(const char *url, const char **ret_arg);

#endif
