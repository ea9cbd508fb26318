/*
 * stream.h: a call that is answered by any number of messages. It holds no worker: whoever has something to say queues it,
 * and the pollers send it as fast as the client reads. A client that reads too slowly has its stream ended; nobody waits.
 */
#ifndef RPC_STREAM_H
#define RPC_STREAM_H

#include <stdbool.h>

#include "core/lifecycle/lifecycle.h"
#include "core/rpc/method.h"

#define RPC_STREAM_MESSAGES 1000	/* waiting, of one stream */
#define RPC_STREAM_BYTES (16u << 20)

struct rpc_stream;

/* In the handler of a method that streams. When the handler returns 0 messages go out; when it fails the call ends with the
 * error. One reference, the caller's. `gone` is called once, on any thread and with no lock held, when the stream has ended:
 * the client has left or nothing more can be sent. It may be NULL. */
int rpc_stream_open(const struct rpc_env *env, void (*gone)(void *arg, struct rpc_stream *st), void *arg, struct rpc_stream **ret,
		    crio_err *err);
/* Queues a message, of which it takes a reference of its own; never waits. False: the stream has ended, or ends now with
 * RESOURCE_EXHAUSTED since its reader is too slow. */
bool rpc_stream_send(struct rpc_stream *st, struct wire *w);
/* From here on the stream fetches its messages itself, each when the one before it has gone to the client: any number of them,
 * at the client's pace. fetch gives a message (a reference, the stream's) or, after the last, NULL, which ends the stream; a code
 * ends it with that error. It runs with the stream's lock, so it must be short and call nothing of stream.h. release(arg) is called
 * once, when nothing more is fetched. In the handler, before it returns. */
void rpc_stream_source(struct rpc_stream *st, int (*fetch)(void *arg, struct wire **ret), void (*release)(void *arg), void *arg);
/* Ends it once what is queued has gone: code 0 or a CRIO_E_*. */
void rpc_stream_end(struct rpc_stream *st, int code, const char *text);
struct rpc_stream *rpc_stream_ref(struct rpc_stream *st);
void rpc_stream_unref(struct rpc_stream *st);

#endif
