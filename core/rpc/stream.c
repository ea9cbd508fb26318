/*
 * stream.c: see stream.h. One operation of a stream is under way at a time: the headers, a message, the status. A poller that
 * sees its end starts the next.
 */
#include <grpc/byte_buffer.h>

#include "core/rpc/rpc_call.h"
#include "core/rpc/status.h"

struct message {
	struct message *next;
	struct wire *w;
};

struct rpc_stream {
	_Atomic int refs;
	struct rpc_call *c; /* with its carrier's reference, from rpc_stream_begin until nothing is under way any more */
	void (*gone)(void *arg, struct rpc_stream *st);
	void *arg;
	struct rpc_tag sent;

	pthread_mutex_t lock; /* guards what follows; nothing is called with it but gRPC's start of an operation and the source */
	int (*source)(void *arg, struct wire **ret); /* NULL: none, or none any more */
	void (*source_release)(void *arg);
	void *source_arg;
	struct message *first, **last;
	size_t n, bytes;
	bool begun, headers, busy; /* busy: an operation is under way, which has a reference of the stream */
	bool ending, finished;	   /* a status is to be sent; it was, or cannot be: nothing more goes out */
	bool told;		   /* gone */
	int code;
	char *text;
};

/* With the lock, or by the last owner. */
static void source_end(struct rpc_stream *st)
{
	if (st->source)
		st->source_release(st->source_arg);
	st->source = NULL;
}

static struct message *take_first(struct rpc_stream *st)
{
	struct message *m = st->first;

	if (!m)
		return NULL;
	st->first = m->next;
	if (!st->first)
		st->last = &st->first;
	st->n--;
	st->bytes -= m->w->n;
	return m;
}

static void message_free(struct message *m)
{
	wire_unref(m->w);
	free(m);
}

static void drop_all(struct rpc_stream *st)
{
	struct message *m;

	source_end(st);
	while ((m = take_first(st)))
		message_free(m);
}

struct rpc_stream *rpc_stream_ref(struct rpc_stream *st)
{
	atomic_fetch_add(&st->refs, 1);
	return st;
}

void rpc_stream_unref(struct rpc_stream *st)
{
	if (!st || atomic_fetch_sub(&st->refs, 1) > 1)
		return;
	drop_all(st);
	free(st->text);
	(void)pthread_mutex_destroy(&st->lock);
	free(st);
}

static void wire_drop(void *w)
{
	wire_unref(w);
}

static bool start(struct rpc_stream *st, grpc_op *op)
{
	atomic_fetch_add(&st->refs, 1);
	st->busy = true;
	if (rpc_call_batch(st->c, op, 1, &st->sent))
		return true;
	st->busy = false;
	st->finished = true;
	atomic_fetch_sub(&st->refs, 1); /* never the last: the caller has one */
	return false;
}

/* Takes the reference of w. */
static void start_message(struct rpc_stream *st, struct wire *w)
{
	grpc_slice slice = grpc_slice_new_with_user_data(w->p, w->n, wire_drop, w);
	grpc_byte_buffer *b = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_op op;

	grpc_slice_unref(slice);
	memset(&op, 0, sizeof(op));
	op.op = GRPC_OP_SEND_MESSAGE;
	op.data.send_message.send_message = b;
	(void)start(st, &op);
	grpc_byte_buffer_destroy(b);
}

static void start_status(struct rpc_stream *st)
{
	grpc_op op;

	rpc_call_status_text(st->c, st->text);
	memset(&op, 0, sizeof(op));
	op.op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	op.data.send_status_from_server.status = (grpc_status_code)(st->code ? rpc_status_of(st->code) : 0);
	op.data.send_status_from_server.status_details = st->text ? &st->c->status_text : NULL;
	if (start(st, &op))
		st->finished = true;
}

/* What is to be sent next: a reference, or NULL. With the lock. */
static struct wire *next_message(struct rpc_stream *st)
{
	struct message *m = take_first(st);
	struct wire *w = m ? m->w : NULL;

	free(m);
	if (!w && st->source) {
		st->code = st->source(st->source_arg, &w);
		if (!w) {
			source_end(st);
			st->ending = true;
			st->text = st->code ? strdup("no memory for the next message of the list") : NULL;
		}
	}
	return w;
}

/* Starts what is next. With the lock. */
static void next(struct rpc_stream *st)
{
	struct wire *w;
	grpc_op op;

	if (!st->begun || st->busy || st->finished)
		return;
	if (!st->headers) {
		st->headers = true;
		memset(&op, 0, sizeof(op));
		op.op = GRPC_OP_SEND_INITIAL_METADATA;
		(void)start(st, &op);
	} else if ((w = next_message(st))) {
		start_message(st, w);
	} else if (st->ending) {
		start_status(st);
	}
}

/* With the lock, which it gives back: lets go of the call when all is over, and tells the owner once. Without the lock st is looked at
 * no more: what was sent meanwhile may have been the last, on another thread, and its reference the last one. */
static void settle(struct rpc_stream *st)
{
	void (*gone)(void *arg, struct rpc_stream *st) = st->gone;
	void *arg = st->arg;
	struct rpc_call *c = NULL;
	bool tell = st->begun && (st->finished || st->ending) && !st->told;

	if (st->begun && st->finished && !st->busy) {
		c = st->c;
		st->c = NULL;
		st->begun = false;
		drop_all(st);
	}
	st->told = st->told || tell;
	(void)pthread_mutex_unlock(&st->lock);
	if (tell && gone)
		gone(arg, st);
	if (c)
		rpc_call_unref(c);
}

static void on_sent(struct rpc_tag *t, bool ok)
{
	struct rpc_stream *st = (struct rpc_stream *)(void *)((char *)t - offsetof(struct rpc_stream, sent));

	(void)pthread_mutex_lock(&st->lock);
	st->busy = false;
	if (!ok)
		st->finished = true;
	next(st);
	settle(st);
	rpc_stream_unref(st);
}

int rpc_stream_open(const struct rpc_env *env, void (*gone)(void *arg, struct rpc_stream *st), void *arg, struct rpc_stream **ret,
		    crio_err *err)
{
	struct rpc_stream *st = calloc(1, sizeof(*st));

	if (!st)
		return err_nomem(err);
	st->refs = 2; /* the caller's and the call's */
	st->c = env->streaming;
	st->gone = gone;
	st->arg = arg;
	st->last = &st->first;
	st->sent.fn = on_sent;
	(void)pthread_mutex_init(&st->lock, NULL);
	atomic_store(&st->c->stream, st);
	*ret = st;
	return 0;
}

void rpc_stream_source(struct rpc_stream *st, int (*fetch)(void *arg, struct wire **ret), void (*release)(void *arg), void *arg)
{
	(void)pthread_mutex_lock(&st->lock);
	st->source = fetch;
	st->source_release = release;
	st->source_arg = arg;
	(void)pthread_mutex_unlock(&st->lock);
}

void rpc_stream_begin(struct rpc_stream *st)
{
	(void)pthread_mutex_lock(&st->lock);
	st->begun = true;
	if (call_over(st->c->cc)) /* before there was anybody to tell */
		st->finished = true;
	next(st);
	settle(st);
}

void rpc_stream_forget(struct rpc_stream *st)
{
	(void)pthread_mutex_lock(&st->lock);
	st->finished = true;
	st->c = NULL;
	drop_all(st);
	(void)pthread_mutex_unlock(&st->lock);
}

void rpc_stream_gone(struct rpc_stream *st)
{
	(void)pthread_mutex_lock(&st->lock);
	st->finished = true;
	settle(st);
}

static void end(struct rpc_stream *st, int code, const char *text)
{
	if (st->ending || st->finished)
		return;
	source_end(st);
	st->ending = true;
	st->code = code;
	st->text = text ? strdup(text) : NULL;
	next(st);
}

void rpc_stream_end(struct rpc_stream *st, int code, const char *text)
{
	(void)pthread_mutex_lock(&st->lock);
	end(st, code, text);
	settle(st);
}

bool rpc_stream_send(struct rpc_stream *st, struct wire *w)
{
	struct message *m = calloc(1, sizeof(*m));
	bool room;

	(void)pthread_mutex_lock(&st->lock);
	room = m && st->n < RPC_STREAM_MESSAGES && st->bytes + w->n <= RPC_STREAM_BYTES;
	if (st->ending || st->finished || !room) {
		free(m);
		if (!room) {
			drop_all(st);
			end(st, CRIO_E_EXHAUSTED, "this reader is too slow: events were dropped; list again, then ask for events anew");
		}
		settle(st);
		return false;
	}
	m->w = w;
	(void)atomic_fetch_add(&w->refs, 1);
	*st->last = m;
	st->last = &m->next;
	st->n++;
	st->bytes += w->n;
	next(st);
	settle(st);
	return true;
}
