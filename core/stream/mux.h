/*
 * mux.h: the channels of a connection: SPDY's streams, or WebSocket messages with a channel's number in front. What is carried in them
 * is its user's. Of the pump's thread.
 *
 * A mux frees itself after its end, as a connection does: mux_finish(), mux_abort(), or the `gone` of its user.
 */
#ifndef STREAM_MUX_H
#define STREAM_MUX_H

#include "core/stream/conn.h"
#include "core/stream/spdy.h"

#define MUX_CHANNELS_MAX 512u

enum mux_kind {
	MUX_SPDY,
	MUX_WS,	       /* binary messages: a byte with the channel's number, then data */
	MUX_WS_BASE64, /* text: a digit with the channel's number, then data in base64 */
	MUX_WS_CLOSES, /* binary, and channel 255 says that a channel ends: v5 */
	MUX_TUNNEL     /* SPDY, its bytes in binary messages, wherever those are cut */
};

struct mux;
struct channel {
	struct channel *next;
	struct mux *mux;
	uint32_t id;
	bool can_in, can_out; /* the directions that have not ended */
	/* Its user's. */
	int role;
	void *user;
	struct { uint32_t word; unsigned n; bool ended; } base64; /* mux.c's: what is not a whole group yet */
};

/* Functions may end the mux; nothing of it is called after that. */
struct mux_user {
	/* SPDY, also in a tunnel: the client wants to open a stream. NULL: it may, and it is answered; otherwise it is refused, for the reason returned (static),
	 * and the channel is freed. Nothing is sent or ended in it. */
	const char *(*wants)(void *arg, struct channel *ch, const struct spdy_headers *h);
	/* It has been answered. */
	void (*opened)(void *arg, struct channel *ch);
	void (*data)(void *arg, struct channel *ch, const uint8_t *p, size_t n);
	/* The client's direction has ended; reset: both have, and the channel is freed when this returns. */
	void (*ended)(void *arg, struct channel *ch, bool reset);
	void (*drained)(void *arg);
	void (*gone)(void *arg, const char *why);
};

/* Takes the connection over. WebSockets have n channels from the start, 0 to n - 1. NULL without memory; the connection is then the
 * caller's as before. */
struct mux *mux_new(struct conn *c, enum mux_kind kind, unsigned n, const struct mux_user *user, void *arg);
/* Bytes that came with the request. */
void mux_input(struct mux *m, const uint8_t *p, size_t n);
struct channel *mux_channel(struct mux *m, uint32_t id); /* NULL: there is none */
struct conn *mux_conn(struct mux *m);
bool mux_is_spdy(const struct mux *m); /* or SPDY in a tunnel */

/* Sends what is at p, with PUMP_HEADROOM bytes in front of it to be written to; at most PUMP_CHUNK. Nothing when the direction has ended. */
void mux_send(struct channel *ch, uint8_t *p, size_t n);
/* The same from anywhere. */
void mux_send_copy(struct channel *ch, const void *p, size_t n);
/* Our direction ends: a frame with FIN in SPDY, nothing in WebSocket, which cannot say it. */
void mux_end(struct channel *ch);
/* Both do. The channel is freed. */
void mux_reset(struct channel *ch);
/* Forgets a channel whose directions have both ended, and frees it. */
void mux_drop(struct channel *ch);
/* The end of all, said to the client: GOAWAY, or a close frame with this text. */
void mux_finish(struct mux *m, const char *text);
/* Without a word. */
void mux_abort(struct mux *m);

#endif
