/* method.h: what a method is, and what its handler sees. */
#ifndef RPC_METHOD_H
#define RPC_METHOD_H

#include <protobuf-c/protobuf-c.h>

#include "core/exec/call.h"
#include "core/exec/workers.h"

struct conf;
struct lifecycle;
struct images;
struct plugins;
struct events;
struct rpc_call;
struct stream_server;

/* What handlers stand on, as of the call's start. */
struct rpc_env {
	const struct conf *conf; /* a reference that the call holds; NULL in tests */
	struct lifecycle *lifecycle;
	struct images *images;
	struct plugins *plugins;
	struct stream_server *streams;
	const char *version;
	struct events *events;	     /* events.h; NULL in tests */
	struct rpc_call *streaming;  /* for rpc_stream_open */
	void *arg; /* rpc_args.methods_arg */
};

/* A packed message on the heap, freed by the server. */
struct rpc_reply {
	void *p;
	size_t n;
};

/* Runs on a worker thread of the method's class. 0 with *reply filled (empty is a valid message), or a code with err
 * set. req lives until it returns. */
typedef int (*rpc_handler)(const struct rpc_env *env, crio_call *call, const ProtobufCMessage *req,
			   struct rpc_reply *reply, crio_err *err);

struct rpc_method {
	const char *service; /* "runtime.v1.RuntimeService" */
	const char *name;    /* "Version" */
	enum work_class class;
	const ProtobufCMessageDescriptor *req, *resp;
	rpc_handler handler; /* NULL: UNIMPLEMENTED */
};

/* The CRI's, from methods.def. */
extern const struct rpc_method rpc_cri_methods[];
extern const size_t rpc_cri_n_methods;

/* Packs the message. Text in it that is no UTF-8 is made so. */
int rpc_reply_pack(struct rpc_reply *reply, const ProtobufCMessage *m, crio_err *err);

#endif
