/*
 * ws.h: WebSocket (RFC 6455) without any input or output, over wslay: what comes is fed in, frames are put into a buffer.
 * Messages are handed on piece by piece and never held, so that their length needs no limit; pings are answered. wslay ends
 * a connection that breaks the protocol: unmasked frames, reserved bits, text that is no UTF-8, control frames that are too long.
 *
 * A connection belongs to one thread.
 */
#ifndef STREAM_WS_H
#define STREAM_WS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/str.h"

#define WS_HEAD_MAX 10u	 /* bytes in front of a frame's data, unmasked */
#define WS_REASON_MAX 120u /* bytes of a close frame's text */

enum ws_opcode { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8 };
enum ws_code { WS_NORMAL = 1000, WS_GOING_AWAY = 1001, WS_PROTOCOL_ERROR = 1002, WS_INTERNAL_ERROR = 1011 };

/* Each returns 0, or a code with err set, which ends the connection. */
struct ws_handler {
	/* A piece of a message; `first` and `last` say where in it. An empty message is one piece of no bytes. */
	int (*piece)(void *arg, const uint8_t *p, size_t n, bool first, bool last, crio_err *err);
	/* The other side has said that it closes; nothing comes after. The answer to it is in `out` already. */
	int (*closed)(void *arg, unsigned code, crio_err *err);
};

struct ws;
/* Of the server's side, or (client) the other. NULL without memory. */
struct ws *ws_new(const struct ws_handler *h, void *arg, bool client);
void ws_free(struct ws *w);
/* Takes all of the bytes; answers (pongs, the close frame of a protocol error) are appended to out. INVALID: the peer broke the
 * protocol. */
int ws_feed(struct ws *w, const void *p, size_t n, struct buf *out, crio_err *err);

/* Writes the head of a whole, unmasked message of n bytes that ends at `end`: for writing it in front of the data. Returns its length,
 * at most WS_HEAD_MAX. */
size_t ws_head_before(uint8_t *end, enum ws_opcode op, uint64_t n);
/* Appends a whole message; masked from a client. */
void ws_put(struct ws *w, struct buf *out, enum ws_opcode op, const void *p, size_t n);
/* Appends a ping, from either side. */
void ws_put_ping(struct ws *w, struct buf *out);
/* Appends a close frame; the reason is cut. */
void ws_put_close(struct ws *w, struct buf *out, enum ws_code code, const char *reason);

/* The value of Sec-WebSocket-Accept for a client's key. */
#define WS_ACCEPT_SIZE 29
void ws_accept(const char *key, char ret[WS_ACCEPT_SIZE]);
/* Is it a key: 16 bytes in base64? */
bool ws_key_valid(const char *key);

#endif
