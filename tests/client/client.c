/* client.c: see client.h. */
#include "tests/client/client.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct client {
	grpc_channel *channel;
};

struct client *client_new(const char *socket_path)
{
	grpc_channel_credentials *creds;
	struct client *c = calloc(1, sizeof(*c));
	char target[256];
	char keys[][48] = {GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, GRPC_ARG_MAX_SEND_MESSAGE_LENGTH,
			   GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,	GRPC_ARG_ENABLE_RETRIES,
			   GRPC_ARG_ENABLE_HTTP_PROXY,		GRPC_ARG_MAX_METADATA_SIZE};
	grpc_arg v[] = {
	    {.type = GRPC_ARG_INTEGER, .key = keys[0], .value.integer = -1},
	    {.type = GRPC_ARG_INTEGER, .key = keys[1], .value.integer = -1},
	    {.type = GRPC_ARG_INTEGER, .key = keys[2], .value.integer = 1},
	    {.type = GRPC_ARG_INTEGER, .key = keys[3], .value.integer = 0},
	    {.type = GRPC_ARG_INTEGER, .key = keys[4], .value.integer = 0},
	    {.type = GRPC_ARG_INTEGER, .key = keys[5], .value.integer = 1 << 20},
	};
	grpc_channel_args args = {sizeof(v) / sizeof(v[0]), v};

	if (!c)
		return NULL;
	grpc_init();
	snprintf(target, sizeof(target), "unix:%s", socket_path);
	creds = grpc_insecure_credentials_create();
	c->channel = grpc_channel_create(target, creds, &args);
	grpc_channel_credentials_release(creds);
	return c;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	grpc_channel_destroy(c->channel);
	free(c);
	grpc_shutdown();
}

void client_result_release(struct client_result *r)
{
	free(r->message);
	free(r->reply);
	memset(r, 0, sizeof(*r));
}

static gpr_timespec deadline(int64_t ms)
{
	if (ms <= 0)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

/* Replaces ret->reply; frees b. */
static void take_message(grpc_byte_buffer *b, struct client_result *ret)
{
	grpc_byte_buffer_reader r;
	grpc_slice s;

	free(ret->reply);
	ret->reply = NULL;
	ret->reply_n = 0;
	if (grpc_byte_buffer_reader_init(&r, b)) {
		s = grpc_byte_buffer_reader_readall(&r);
		grpc_byte_buffer_reader_destroy(&r);
		ret->reply_n = GRPC_SLICE_LENGTH(s);
		ret->reply = malloc(ret->reply_n + 1);
		if (ret->reply)
			memcpy(ret->reply, GRPC_SLICE_START_PTR(s), ret->reply_n);
		grpc_slice_unref(s);
	}
	grpc_byte_buffer_destroy(b);
}

static void run(struct client *c, const char *path, const void *p, size_t n, int64_t timeout_ms, int64_t cancel_ms,
		client_message_fn fn, void *arg, struct client_result *ret)
{
	grpc_completion_queue *cq = grpc_completion_queue_create_for_pluck(NULL);
	grpc_slice method = grpc_slice_from_copied_string(path), body = grpc_slice_from_copied_buffer(p, n);
	grpc_slice details = grpc_empty_slice();
	grpc_byte_buffer *out = grpc_raw_byte_buffer_create(&body, 1), *in = NULL;
	gpr_timespec end = deadline(timeout_ms), give_up = deadline(cancel_ms);
	grpc_call *call =
	    grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, cq, method, NULL, end, NULL);
	grpc_metadata_array initial, trailing;
	grpc_status_code status = GRPC_STATUS_UNKNOWN;
	static char t_status, t_message;
	grpc_event ev;
	grpc_op ops[5];

	memset(ret, 0, sizeof(*ret));
	memset(ops, 0, sizeof(ops));
	grpc_metadata_array_init(&initial);
	grpc_metadata_array_init(&trailing);
	ops[0].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	ops[0].data.recv_status_on_client.trailing_metadata = &trailing;
	ops[0].data.recv_status_on_client.status = &status;
	ops[0].data.recv_status_on_client.status_details = &details;
	(void)grpc_call_start_batch(call, ops, 1, &t_status, NULL);
	memset(ops, 0, sizeof(ops));
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = out;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &initial;
	ops[4].op = GRPC_OP_RECV_MESSAGE;
	ops[4].data.recv_message.recv_message = &in;
	(void)grpc_call_start_batch(call, ops, 5, &t_message, NULL);
	for (;;) {
		ev = grpc_completion_queue_pluck(cq, &t_message, give_up, NULL);
		if (ev.type == GRPC_QUEUE_TIMEOUT) {
			(void)grpc_call_cancel(call, NULL);
			ev = grpc_completion_queue_pluck(cq, &t_message, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
		}
		if (!in)
			break;
		take_message(in, ret);
		in = NULL;
		if (fn && fn(arg, ret->reply, ret->reply_n))
			(void)grpc_call_cancel(call, NULL);
		memset(ops, 0, sizeof(ops));
		ops[0].op = GRPC_OP_RECV_MESSAGE;
		ops[0].data.recv_message.recv_message = &in;
		(void)grpc_call_start_batch(call, ops, 1, &t_message, NULL);
	}
	(void)grpc_completion_queue_pluck(cq, &t_status, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	ret->status = (int)status;
	ret->message = malloc(GRPC_SLICE_LENGTH(details) + 1);
	if (ret->message) {
		memcpy(ret->message, GRPC_SLICE_START_PTR(details), GRPC_SLICE_LENGTH(details));
		ret->message[GRPC_SLICE_LENGTH(details)] = '\0';
	}
	grpc_slice_unref(details);
	grpc_slice_unref(method);
	grpc_slice_unref(body);
	grpc_byte_buffer_destroy(out);
	grpc_metadata_array_destroy(&initial);
	grpc_metadata_array_destroy(&trailing);
	grpc_call_unref(call);
	grpc_completion_queue_shutdown(cq);
	(void)grpc_completion_queue_pluck(cq, NULL, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
	grpc_completion_queue_destroy(cq);
}

void client_call(struct client *c, const char *path, const void *p, size_t n, int64_t timeout_ms, client_message_fn fn,
		 void *arg, struct client_result *ret)
{
	run(c, path, p, n, timeout_ms, 0, fn, arg, ret);
}

void client_call_cancel(struct client *c, const char *path, const void *p, size_t n, int64_t cancel_ms,
			struct client_result *ret)
{
	run(c, path, p, n, 0, cancel_ms, NULL, NULL, ret);
}
