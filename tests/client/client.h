/* client.h: a blocking gRPC client for tests, on gRPC's C core. Thread-safe: each call has its own queue. */
#ifndef TESTS_CLIENT_CLIENT_H
#define TESTS_CLIENT_CLIENT_H

#include <stddef.h>
#include <stdint.h>

struct client;
/* One connection to a unix socket, made by the first call. NULL without memory. */
struct client *client_new(const char *socket_path);
void client_free(struct client *c);

struct client_result {
	int status;    /* gRPC's number */
	char *message; /* never NULL */
	void *reply;   /* the last message received; NULL: none */
	size_t reply_n;
};
void client_result_release(struct client_result *r);

/* Called for each message of the answer. Non-zero: cancels the call. */
typedef int (*client_message_fn)(void *arg, const void *p, size_t n);
/* timeout_ms <= 0: none. fn may be NULL. Handles unary and server-streaming methods alike. */
void client_call(struct client *c, const char *path, const void *p, size_t n, int64_t timeout_ms, client_message_fn fn,
		 void *arg, struct client_result *ret);
/* As client_call, but gives up (cancels) after cancel_ms. */
void client_call_cancel(struct client *c, const char *path, const void *p, size_t n, int64_t cancel_ms,
			struct client_result *ret);

#endif
