/* rpc_call.h: a call from inside: serve.c, which carries it, and stream.c. */
#ifndef RPC_RPC_CALL_H
#define RPC_RPC_CALL_H

#include <stdatomic.h>

#include "core/rpc/server.h"
#include "core/rpc/stream.h"

#define RPC_STATUS_MAX 4000u /* of a status message: it travels in a header */
#define RPC_PATH_MAX 160

struct rpc_call {
	struct rpc_server *s;
	struct rpc_engine *e; /* outlives it */
	_Atomic int refs;
	struct rpc_tag accept, message, close, sent;
	grpc_call *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
	grpc_byte_buffer *request;
	size_t request_n; /* taken from the budget */
	int64_t begun_ns; /* when it was complete: what its time is counted from */
	int cancelled;	  /* written by gRPC before on_close */
	crio_call *cc;
	const struct rpc_method *method;
	char path[RPC_PATH_MAX];
	bool accepted;
	bool handling;		/* counted in in_handlers */
	size_t biggest;		/* bytes it held at once */
	grpc_slice status_text; /* until sent */
	struct rpc_stream *_Atomic stream; /* a reference: it is answered by messages */
};

void rpc_call_unref(struct rpc_call *c);
bool rpc_call_batch(struct rpc_call *c, const grpc_op *ops, size_t n, struct rpc_tag *t);
/* The text of a status, in c->status_text. */
void rpc_call_status_text(struct rpc_call *c, const char *text);

/* stream.c: the handler has returned without an error: messages go out from here on, and the carrier's reference of the call
 * is the stream's. */
void rpc_stream_begin(struct rpc_stream *st);
/* The client has gone. */
void rpc_stream_gone(struct rpc_stream *st);
/* The handler failed after all: the call is answered without the stream. */
void rpc_stream_forget(struct rpc_stream *st);

#endif
