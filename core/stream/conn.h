/*
 * conn.h: one client's connection: its socket, TLS, what could not be sent yet, its times, and an end that loses nothing. It knows
 * nothing of what the bytes mean. Of the pump's thread.
 *
 * A connection frees itself after its end: conn_finish(), conn_abort(), or the `gone` of its user. It is not touched after that.
 */
#ifndef STREAM_CONN_H
#define STREAM_CONN_H

#include <openssl/ssl.h>

#include "core/stream/pump.h"

#define CONN_KEPT_MAX (1u << 20) /* bytes that wait for a client that does not read: more end the connection */

struct conn;
/* What its user is told. None is called from within a function of this header. */
struct conn_user {
	void (*input)(void *arg, const uint8_t *p, size_t n);
	/* Everything has been sent: more is welcome. */
	void (*drained)(void *arg);
	/* It is over, by the client, by a time, or by an error; `why` says. Nothing can be sent any more. The last call. */
	void (*gone)(void *arg, const char *why);
};

struct conn_place { /* what connections of a server share */
	struct pump *pump;
	int64_t idle_ns;    /* without a byte in either direction: the end */
	unsigned n;	    /* connections, those included whose user has finished */
	struct conn *all;
};

/* The descriptor, which is non-blocking, and ssl (NULL: none) belong to it on success. NULL: no memory. */
struct conn *conn_new(struct conn_place *place, int fd, SSL *ssl, const struct conn_user *user, void *arg);
void conn_set_user(struct conn *c, const struct conn_user *user, void *arg);
/* Sends, and keeps what the socket does not take. Without memory, or with more kept than CONN_KEPT_MAX, `gone` follows. */
void conn_send(struct conn *c, const void *p, size_t n);
/* Is nothing kept? Who has a choice sends only then. */
bool conn_is_clear(const struct conn *c);
/* Reads no more, or again. While held, only the client's end is noticed. */
void conn_hold(struct conn *c, bool hold);
/* `gone` at this time, for this reason (static); 0: no such time. */
void conn_until(struct conn *c, int64_t at_ns, const char *why);
/* `gone` once the client has not taken a byte of what is kept for this long; 0: it may take as long as it likes. */
void conn_must_read(struct conn *c, int64_t ns);
/* The user has said all: what is kept is sent, then our side is closed, and what the client still sends is dropped until it closes too. */
void conn_finish(struct conn *c);
/* At once. */
void conn_abort(struct conn *c);
/* All that there are, whoever still has one. */
void conns_abort(struct conn_place *place);
struct pump *conn_pump(const struct conn *c);
/* "127.0.0.1:1234", for the log. */
const char *conn_peer(const struct conn *c);

#endif
