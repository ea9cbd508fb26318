/*
 * serve.c: one call from gRPC's event to its answer.
 *
 *	poller: on_accept -> (RECV_MESSAGE) -> on_message -> workers
 *	worker: call_job: decode, handler, finish
 *	poller: on_sent; on_close (the client went away, or all is done)
 *
 * A call is freed with its last reference: one is held by the close operation, one by whoever carries it towards its
 * answer.
 */
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <malloc.h>

#include "core/conf/conf.h"
#include "core/rpc/rpc_call.h"
#include "core/rpc/status.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/meter.h"
#include "core/util/str.h"

#define TEXT_MAX (16u << 10) /* of a message in the log */

static void call_free(struct rpc_call *c);

void rpc_call_unref(struct rpc_call *c)
{
	if (atomic_fetch_sub(&c->refs, 1) == 1)
		call_free(c);
}

#define CALL_OF(t, member) ((struct rpc_call *)(void *)((char *)(t)-offsetof(struct rpc_call, member)))

static void trim_job(void *arg)
{
	struct rpc_server *s = arg;

	(void)malloc_trim(0);
	pthread_mutex_lock(&s->lock);
	s->trim_queued = false;
	s->active--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* Gives the heap's free pages back after a large call, on a worker: it takes milliseconds. Counts as a call, so that
 * stop waits for it. Returns with the lock held as it was. */
static void trim_later(struct rpc_server *s)
{
	if (s->trim_queued || s->stopping)
		return;
	s->trim_queued = true;
	s->active++;
	if (workers_run(s->args.workers, WORK_FAST, trim_job, s, NULL) < 0) {
		s->trim_queued = false;
		s->active--;
	}
}

static void call_free(struct rpc_call *c)
{
	struct rpc_server *s = c->s;

	if (c->request)
		grpc_byte_buffer_destroy(c->request);
	if (c->request_n)
		rpc_budget_give(&s->budget, c->request_n);
	grpc_slice_unref(c->status_text);
	if (c->call)
		grpc_call_unref(c->call);
	grpc_call_details_destroy(&c->details);
	grpc_metadata_array_destroy(&c->metadata);
	call_unref(c->cc);
	rpc_stream_unref(c->stream);
	pthread_mutex_lock(&s->lock);
	if (c->accepted) {
		s->active--;
		s->calls++;
	}
	if (c->biggest > RPC_TRIM_BYTES)
		trim_later(s);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	free(c);
}

static void on_sent(struct rpc_tag *t, bool ok)
{
	(void)ok; /* not delivered: the client is gone, and on_close says so */
	rpc_call_unref(CALL_OF(t, sent));
}

static void on_close(struct rpc_tag *t, bool ok)
{
	struct rpc_call *c = CALL_OF(t, close);
	struct rpc_stream *st;

	(void)ok;
	if (c->cancelled)
		call_cancel(c->cc);
	st = c->stream;
	if (st)
		rpc_stream_gone(st);
	rpc_call_unref(c);
}

bool rpc_call_batch(struct rpc_call *c, const grpc_op *ops, size_t n, struct rpc_tag *t)
{
	grpc_call *call = c->call; /* c may be gone as soon as the operation has started */

	RPC_GIVE(t);
	return grpc_call_start_batch(call, ops, n, t, NULL) == GRPC_CALL_OK;
}

void rpc_call_status_text(struct rpc_call *c, const char *text)
{
	size_t len = text ? strnlen(text, RPC_STATUS_MAX) : 0;

	if (!len)
		return;
	c->status_text = grpc_slice_from_copied_buffer(text, len);
	rpc_text_fix_utf8((char *)GRPC_SLICE_START_PTR(c->status_text), len);
}

/* Sends the answer and gives the caller's reference to on_sent. reply is NULL for an error. */
static void finish(struct rpc_call *c, int code, const char *text, struct rpc_reply *reply)
{
	grpc_byte_buffer *out = NULL;
	grpc_op ops[3];
	struct rpc_server *s = c->s;
	size_t n = 0, len = text ? strnlen(text, RPC_STATUS_MAX) : 0;

	/* Before the client knows: who has an answer finds it counted. */
	if (c->begun_ns)
		meter_op_done(s->ops[c->method - s->args.methods], now_mono_ns() - c->begun_ns, code != 0);
	memset(ops, 0, sizeof(ops));
	ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
	if (!code && reply) {
		grpc_slice slice = grpc_slice_new(reply->p ? reply->p : calloc(1, 1), reply->n, free);

		out = grpc_raw_byte_buffer_create(&slice, 1);
		grpc_slice_unref(slice);
		reply->p = NULL;
		ops[n].op = GRPC_OP_SEND_MESSAGE;
		ops[n++].data.send_message.send_message = out;
	}
	rpc_call_status_text(c, text);
	ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	ops[n].data.send_status_from_server.status = (grpc_status_code)code;
	ops[n++].data.send_status_from_server.status_details = len ? &c->status_text : NULL;
	c->sent.fn = on_sent;
	if (!rpc_call_batch(c, ops, n, &c->sent)) {
		log_error("cannot send the answer of %s", c->path);
		(void)grpc_call_cancel(c->call, NULL);
		rpc_call_unref(c);
	}
	if (out)
		grpc_byte_buffer_destroy(out);
}

static void finish_err(struct rpc_call *c, int code, const char *text)
{
	finish(c, rpc_status_of(code), text, NULL);
}

/* The request's bytes in one piece: ret_copy is set when they had to be copied together. */
static int flatten(struct rpc_call *c, grpc_slice *ret, crio_err *err)
{
	grpc_byte_buffer_reader r;

	if (!grpc_byte_buffer_reader_init(&r, c->request))
		return err_set(err, CRIO_E_INVALID, "malformed request: the message cannot be read");
	*ret = grpc_byte_buffer_reader_readall(&r);
	grpc_byte_buffer_reader_destroy(&r);
	return 0;
}

static bool is_list(const struct rpc_method *m)
{
	return str_starts(m->name, "List");
}

static void log_message(const char *what, const struct rpc_method *m, const ProtobufCMessage *msg)
{
	cleanup_free char *text = rpc_text(msg, TEXT_MAX);

	log_debug("%s: *v1.%s: %s", what, msg->descriptor->short_name, text ? text : "(no memory)");
	(void)m;
}

static void log_reply(struct rpc_call *c, const struct rpc_reply *reply)
{
	const ProtobufCMessageDescriptor *d = c->method->resp;
	ProtobufCMessage *m = NULL;
	struct rpc_arena a;

	if (log_get_level() < LOGL_DEBUG)
		return;
	if (is_list(c->method)) { /* these can be megabytes */
		log_debug("Response: *v1.%s: %zu bytes", d->short_name, reply->n);
		return;
	}
	rpc_arena_init(&a, &c->s->budget, RPC_DECODED_MAX);
	if (rpc_decode(d, reply->p, reply->n, &a, &m, NULL) == 0)
		log_message("Response", c->method, m);
	else
		log_debug("Response: *v1.%s: %zu bytes", d->short_name, reply->n);
	rpc_arena_release(&a);
}

/* Decode, run, log. */
static int handle(struct rpc_call *c, struct rpc_reply *reply, crio_err *err)
{
	struct rpc_server *s = c->s;
	struct rpc_env env = {.lifecycle = s->args.lifecycle,
			      .images = s->args.images,
			      .plugins = s->args.plugins,
			      .streams = s->args.streams,
			      .version = s->args.version,
			      .events = s->events,
			      .streaming = c,
			      .arg = s->args.methods_arg};
	ProtobufCMessage *req = NULL;
	struct rpc_arena a;
	grpc_slice in;
	int r;

	r = call_check(c->cc, c->method->name, err);
	if (r < 0)
		return r;
	r = flatten(c, &in, err);
	if (r < 0)
		return r;
	rpc_arena_init(&a, &s->budget, RPC_DECODED_MAX);
	r = rpc_decode(c->method->req, GRPC_SLICE_START_PTR(in), GRPC_SLICE_LENGTH(in), &a, &req, err);
	grpc_slice_unref(in);
	if (r == 0) {
		if (log_get_level() >= LOGL_DEBUG)
			log_message("Request", c->method, req);
		pthread_mutex_lock(&s->lock);
		env.conf = s->conf ? conf_ref(s->conf) : NULL;
		pthread_mutex_unlock(&s->lock);
		r = c->method->handler(&env, c->cc, req, reply, err);
		conf_unref(env.conf);
	}
	c->biggest = c->request_n + a.used + reply->n;
	rpc_arena_release(&a);
	if (r == 0 && reply->n > s->args.max_send_bytes)
		return err_set(err, CRIO_E_EXHAUSTED,
			       "the reply of %zu bytes is larger than grpc_max_send_msg_size (%u)", reply->n,
			       s->args.max_send_bytes);
	return r;
}

static void count_handler(struct rpc_call *c, int by)
{
	pthread_mutex_lock(&c->s->lock);
	c->s->in_handlers += (uint32_t)by;
	pthread_cond_broadcast(&c->s->changed);
	pthread_mutex_unlock(&c->s->lock);
}

/* Errors that only say what the client did or asked are no fault of ours: they are logged for debugging. */
static void log_failure(const struct rpc_call *c, int r, const crio_err *err)
{
	if (r == CRIO_E_NOT_FOUND || r == CRIO_E_CANCELLED || r == CRIO_E_INVALID || r == CRIO_E_EXISTS)
		log_debug("Response error: %s: %s", rpc_status_name(rpc_status_of(r)), err_text(err));
	else
		log_error("%s failed: %s: %s", c->method->name, rpc_status_name(rpc_status_of(r)), err_text(err));
}

static void call_job(void *arg)
{
	struct rpc_call *c = arg;
	struct rpc_reply reply = {NULL, 0};
	cleanup_err crio_err err = ERR_INIT;
	struct rpc_stream *st;
	int r;

	count_handler(c, 1);
	log_set_request(call_id(c->cc), c->path);
	r = handle(c, &reply, &err);
	st = c->stream;
	if (r < 0)
		log_failure(c, r, &err);
	else if (!st)
		log_reply(c, &reply);
	log_set_request(NULL, NULL);
	count_handler(c, -1);
	if (st && r == 0) {
		rpc_stream_begin(st); /* answers, and lets go of the call */
		free(reply.p);
		return;
	}
	if (st)
		rpc_stream_forget(st);
	if (r < 0)
		finish_err(c, r, err_text(&err));
	else
		finish(c, 0, NULL, &reply);
	free(reply.p);
}

static void on_message(struct rpc_tag *t, bool ok)
{
	struct rpc_call *c = CALL_OF(t, message);
	cleanup_err crio_err err = ERR_INIT;
	size_t n;

	c->begun_ns = now_mono_ns();
	if (!ok || !c->request) {
		finish_err(c, CRIO_E_INVALID, "malformed request: no message");
		return;
	}
	n = grpc_byte_buffer_length(c->request) * 2; /* as received, and in one piece */
	if (!rpc_budget_take(&c->s->budget, n)) {
		finish_err(c, CRIO_E_EXHAUSTED, "too much memory is in use by requests; try again later");
		return;
	}
	c->request_n = n;
	if (workers_run(c->s->args.workers, c->method->class, call_job, c, &err) < 0)
		finish_err(c, err.code, err_text(&err));
}

/* gRPC's deadline on our monotonic clock. Its own monotonic clock may have another zero. */
static int64_t deadline_of(gpr_timespec t)
{
	gpr_timespec left;
	int64_t now = now_mono_ns(), ns;

	if (gpr_time_cmp(t, gpr_inf_future(t.clock_type)) == 0)
		return CALL_NO_DEADLINE;
	left = gpr_time_sub(t, gpr_now(t.clock_type));
	if (left.tv_sec > (INT64_MAX - now) / 1000000000 - 1)
		return CALL_NO_DEADLINE;
	ns = left.tv_sec * 1000000000 + left.tv_nsec;
	return ns <= 0 ? now : now + ns;
}

static void copy_path(struct rpc_call *c)
{
	size_t n = GRPC_SLICE_LENGTH(c->details.method);

	if (n >= sizeof(c->path))
		n = sizeof(c->path) - 1;
	memcpy(c->path, GRPC_SLICE_START_PTR(c->details.method), n);
	rpc_text_fix_utf8(c->path, n);
}

static void refuse_method(struct rpc_call *c)
{
	char text[RPC_PATH_MAX + 80];

	if (c->method)
		snprintf(text, sizeof(text), "%s is not implemented by this version of crio", c->method->name);
	else
		snprintf(text, sizeof(text), "unknown method %s", c->path);
	finish_err(c, CRIO_E_UNSUPPORTED, text);
}

/* Starts the two operations every call has. */
static bool start_ops(struct rpc_call *c)
{
	grpc_op op;

	memset(&op, 0, sizeof(op));
	op.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
	op.data.recv_close_on_server.cancelled = &c->cancelled;
	c->close.fn = on_close;
	atomic_fetch_add(&c->refs, 1); /* on_close's, which may run before start_batch returns */
	if (!rpc_call_batch(c, &op, 1, &c->close)) {
		atomic_fetch_sub(&c->refs, 1);
		return false;
	}
	if (!c->method || !c->method->handler) {
		refuse_method(c);
		return true;
	}
	memset(&op, 0, sizeof(op));
	op.op = GRPC_OP_RECV_MESSAGE;
	op.data.recv_message.recv_message = &c->request;
	c->message.fn = on_message;
	if (!rpc_call_batch(c, &op, 1, &c->message))
		finish_err(c, CRIO_E_INTERNAL, "cannot read the request");
	return true;
}

static void on_accept(struct rpc_tag *t, bool ok)
{
	struct rpc_call *c = CALL_OF(t, accept);
	struct rpc_server *s = c->s;

	if (!ok) { /* shutting down */
		rpc_call_unref(c);
		return;
	}
	if (rpc_serve_next(c->e) < 0)
		log_error("no memory to accept another call");
	pthread_mutex_lock(&s->lock);
	c->accepted = true;
	s->active++;
	pthread_mutex_unlock(&s->lock);
	copy_path(c);
	c->method = map_get(s->methods, c->path);
	c->cc = call_new(c->method ? c->method->name : "unknown", deadline_of(c->details.deadline));
	if (!c->cc || !start_ops(c)) {
		(void)grpc_call_cancel_with_status(c->call, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory", NULL);
		rpc_call_unref(c);
	}
}

int rpc_serve_next(struct rpc_engine *e)
{
	struct rpc_call *c = calloc(1, sizeof(*c));

	if (!c)
		return CRIO_E_NOMEM;
	c->s = e->s;
	c->e = e;
	c->refs = 1;
	c->accept.fn = on_accept;
	c->status_text = grpc_empty_slice();
	grpc_call_details_init(&c->details);
	grpc_metadata_array_init(&c->metadata);
	RPC_GIVE(&c->accept);
	if (grpc_server_request_call(e->server, &c->call, &c->details, &c->metadata, e->cq, e->cq, &c->accept) !=
	    GRPC_CALL_OK) {
		rpc_call_unref(c);
		return CRIO_E_INTERNAL;
	}
	return 0;
}
