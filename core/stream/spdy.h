/*
 * spdy.h: SPDY/3.1 frames, in either direction, without any input or output: bytes come from spdy_feed(), frames go into
 * a buffer. What kubelets, kubectl and crictl speak for exec, attach and port-forward.
 *
 * Strict where it costs the peer nothing: a frame that breaks the protocol ends the session with an error that says which and
 * why. Control frames and their headers are limited in size and number, so that a session holds at most some 100 KB whatever
 * the peer sends; data frames are handed on piece by piece and are never held. Windows are not kept: no peer of ours does
 * (they never send WINDOW_UPDATE), TCP's own hold back instead.
 *
 * A session belongs to one thread.
 */
#ifndef STREAM_SPDY_H
#define STREAM_SPDY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/str.h"

#define SPDY_CONTROL_MAX 16384u /* bytes of a control frame */
#define SPDY_HEADERS_MAX 16384u /* bytes of a header block, inflated */
#define SPDY_HEADER_COUNT 64u
#define SPDY_DATA_HEAD 8u	    /* bytes in front of a data frame's data */
#define SPDY_DATA_MAX 0xffffffu /* bytes of a data frame: the format's own limit */

enum spdy_flags { SPDY_FIN = 1, SPDY_UNIDIRECTIONAL = 2 };
enum spdy_rst { SPDY_PROTOCOL_ERROR = 1, SPDY_INVALID_STREAM = 2, SPDY_REFUSED_STREAM = 3, SPDY_CANCEL = 5 };
enum spdy_goaway { SPDY_GOAWAY_OK = 0, SPDY_GOAWAY_PROTOCOL_ERROR = 1 };

/* A header block: names in lower case, each once; values may have NULs (several values), of which str sees the first. */
struct spdy_headers {
	struct kvs kv;
};
/* "" when it is not there. */
const char *spdy_header(const struct spdy_headers *h, const char *name);

/*
 * What a frame does. Each returns 0, or a code with err set, which ends the session as a broken frame does. NULL: the frame
 * is ignored. `flags` are the frame's. data: pieces of at most what one feed brought; `fin` with the last piece of the stream,
 * which may be empty.
 */
struct spdy_handler {
	int (*syn_stream)(void *arg, uint32_t id, uint8_t flags, const struct spdy_headers *h, crio_err *err);
	int (*syn_reply)(void *arg, uint32_t id, uint8_t flags, const struct spdy_headers *h, crio_err *err);
	int (*headers)(void *arg, uint32_t id, uint8_t flags, const struct spdy_headers *h, crio_err *err);
	int (*data)(void *arg, uint32_t id, const uint8_t *p, size_t n, bool fin, crio_err *err);
	int (*rst)(void *arg, uint32_t id, uint32_t status, crio_err *err);
	int (*ping)(void *arg, uint32_t id, crio_err *err);
	int (*goaway)(void *arg, uint32_t last_id, uint32_t status, crio_err *err);
};

struct spdy;
/* NULL without memory. `h` and `arg` outlive it. */
struct spdy *spdy_new(const struct spdy_handler *h, void *arg);
void spdy_free(struct spdy *s); /* NULL is fine; not from a handler */

/* Takes all of the bytes and calls handlers for the frames that are whole. After an error (INVALID: the peer broke the protocol;
 * NOMEM; a handler's own) the session is over: it may only be freed, or be used to write a GOAWAY. */
int spdy_feed(struct spdy *s, const void *p, size_t n, crio_err *err);

/* Append a frame; failures stick in the buffer. Headers: n pairs of name and value. SYN frames of one session must be sent in the
 * order they were made in: their headers are compressed together. */
struct spdy_pair {
	const char *name, *value;
};
void spdy_put_syn_stream(struct spdy *s, struct buf *out, uint32_t id, uint8_t flags, const struct spdy_pair *h, size_t n);
void spdy_put_syn_reply(struct spdy *s, struct buf *out, uint32_t id, uint8_t flags, const struct spdy_pair *h, size_t n);
void spdy_put_rst(struct buf *out, uint32_t id, uint32_t status);
void spdy_put_ping(struct buf *out, uint32_t id);
void spdy_put_goaway(struct buf *out, uint32_t last_id, uint32_t status);
void spdy_put_data(struct buf *out, uint32_t id, uint8_t flags, const void *p, size_t n); /* n <= SPDY_DATA_MAX */
/* Only the bytes in front of n bytes of data. */
void spdy_data_head(uint8_t ret[SPDY_DATA_HEAD], uint32_t id, uint8_t flags, size_t n);

/* ---- between spdy.c and spdy_headers.c ---- */
struct spdy_coder; /* both directions' compression state; each is made when it is first needed */
struct spdy_coder *spdy_coder_new(void);
void spdy_coder_free(struct spdy_coder *c);
int spdy_headers_read(struct spdy_coder *c, const uint8_t *p, size_t n, struct spdy_headers *ret, crio_err *err);
/* Appends the compressed block; failures stick in the buffer. */
void spdy_headers_write(struct spdy_coder *c, const struct spdy_pair *h, size_t n, struct buf *out);
/* The dictionary that both sides' compression begins with, SPDY/3's: 1423 bytes. */
#define SPDY_DICTIONARY_N 1423u
void spdy_dictionary(uint8_t ret[SPDY_DICTIONARY_N]);

#endif
