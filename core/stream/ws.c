/* ws.c: the glue between wslay and our buffers. */
#include "core/stream/ws.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <wslay/wslay.h>

#define KEY_BYTES 16
#define KEY_TEXT 24

struct ws {
	const struct ws_handler *h;
	void *arg;
	wslay_event_context_ptr ctx;
	bool client;
	/* During ws_feed. */
	const uint8_t *in;
	size_t in_n;
	struct buf *out;
	crio_err *err;
	int result;
	bool fed;
	/* The frame that is being read, and the message that it is of. */
	bool is_data, fin;
	uint64_t left; /* bytes of the frame */
	bool first;	/* no piece of the message was handed on yet */
	bool said_closed;
};

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *p, size_t n, int flags, void *arg)
{
	struct ws *w = arg;
	(void)flags;
	if (!w->in_n || w->result < 0) {
		wslay_event_set_error(ctx, w->result < 0 ? WSLAY_ERR_CALLBACK_FAILURE : WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	size_t take = n < w->in_n ? n : w->in_n;
	memcpy(p, w->in, take);
	w->in += take;
	w->in_n -= take;
	return (ssize_t)take;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *p, size_t n, int flags, void *arg)
{
	struct ws *w = arg;
	(void)ctx;
	(void)flags;
	buf_add(w->out, p, n);
	return (ssize_t)n;
}

static int on_mask(wslay_event_context_ptr ctx, uint8_t *p, size_t n, void *arg)
{
	(void)ctx;
	(void)arg;
	return RAND_bytes(p, (int)n) == 1 ? 0 : -1;
}

static void hand_on(struct ws *w, const uint8_t *p, size_t n, bool last)
{
	if (w->result < 0)
		return;
	w->result = w->h->piece(w->arg, p, n, w->first, last, w->err);
	w->first = last;
}

static void on_frame(wslay_event_context_ptr ctx, const struct wslay_event_on_frame_recv_start_arg *a, void *arg)
{
	struct ws *w = arg;
	(void)ctx;
	w->is_data = !wslay_is_ctrl_frame(a->opcode);
	if (!w->is_data)
		return;
	w->fin = a->fin;
	w->left = a->payload_length;
	if (a->opcode != WSLAY_CONTINUATION_FRAME)
		w->first = true;
	if (!w->left && w->fin)
		hand_on(w, NULL, 0, true);
}

static void on_chunk(wslay_event_context_ptr ctx, const struct wslay_event_on_frame_recv_chunk_arg *a, void *arg)
{
	struct ws *w = arg;
	(void)ctx;
	if (!w->is_data || !a->data_length)
		return;
	w->left -= a->data_length;
	hand_on(w, a->data, a->data_length, w->fin && !w->left);
}

static void on_msg(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *a, void *arg)
{
	struct ws *w = arg;
	(void)ctx;
	if (a->opcode != WSLAY_CONNECTION_CLOSE || w->result < 0 || w->said_closed)
		return;
	w->said_closed = true;
	w->result = w->h->closed(w->arg, a->status_code, w->err);
}

static const struct wslay_event_callbacks callbacks = { .recv_callback = on_recv,
							.send_callback = on_send,
							.genmask_callback = on_mask,
							.on_frame_recv_start_callback = on_frame,
							.on_frame_recv_chunk_callback = on_chunk,
							.on_msg_recv_callback = on_msg };

struct ws *ws_new(const struct ws_handler *h, void *arg, bool client)
{
	struct ws *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->h = h;
	w->arg = arg;
	w->client = client;
	int r = client ? wslay_event_context_client_init(&w->ctx, &callbacks, w) : wslay_event_context_server_init(&w->ctx, &callbacks, w);
	if (r) {
		free(w);
		return NULL;
	}
	wslay_event_config_set_no_buffering(w->ctx, 1);
	return w;
}

void ws_free(struct ws *w)
{
	if (!w)
		return;
	wslay_event_context_free(w->ctx);
	free(w);
}

static int flush(struct ws *w, struct buf *out, crio_err *err)
{
	w->out = out;
	int r = wslay_event_send(w->ctx);
	w->out = NULL;
	if (r == WSLAY_ERR_NOMEM || buf_bad(out))
		return err_nomem(err);
	return r < 0 ? err_set(err, CRIO_E_INTERNAL, "WebSocket: cannot make a frame") : 0;
}

int ws_feed(struct ws *w, const void *p, size_t n, struct buf *out, crio_err *err)
{
	w->in = p;
	w->in_n = n;
	w->err = err;
	w->result = 0;
	int r = wslay_event_recv(w->ctx);
	bool broken = !wslay_event_get_read_enabled(w->ctx) && !w->said_closed;
	unsigned code = wslay_event_get_status_code_sent(w->ctx);
	w->in = NULL;
	w->in_n = 0;
	w->err = NULL;
	if (w->result < 0)
		return w->result;
	if (r == WSLAY_ERR_NOMEM)
		return err_nomem(err);
	r = flush(w, out, err);
	if (r == 0 && broken) {
		code = wslay_event_get_status_code_sent(w->ctx);
		r = err_set(err, CRIO_E_INVALID, "WebSocket: the peer broke the protocol (close code %u)", code);
	}
	return r;
}

size_t ws_head_before(uint8_t *end, enum ws_opcode op, uint64_t n)
{
	size_t len = n < 126 ? 2 : n <= 0xffff ? 4 : 10;
	uint8_t *p = end - len;
	p[0] = (uint8_t)(0x80 | op);
	p[1] = (uint8_t)(n < 126 ? n : n <= 0xffff ? 126 : 127);
	for (size_t i = 2; i < len; i++)
		p[i] = (uint8_t)(n >> 8 * (len - 1 - i));
	return len;
}

static void queue(struct ws *w, struct buf *out, unsigned op, const void *p, size_t n)
{
	struct wslay_event_msg m = { .opcode = (uint8_t)op, .msg = p, .msg_length = n };
	/* After a close frame nothing may be sent any more: that is no fault of ours. */
	if (wslay_event_queue_msg(w->ctx, &m) == WSLAY_ERR_NOMEM || flush(w, out, NULL) < 0)
		out->oom = true;
}

void ws_put(struct ws *w, struct buf *out, enum ws_opcode op, const void *p, size_t n)
{
	queue(w, out, op, p, n);
}

void ws_put_ping(struct ws *w, struct buf *out)
{
	queue(w, out, WSLAY_PING, "", 0);
}

void ws_put_close(struct ws *w, struct buf *out, enum ws_code code, const char *reason)
{
	size_t n = strlen(reason);
	n = n < WS_REASON_MAX ? n : WS_REASON_MAX;
	/* Not in the middle of a character. */
	while (n && n < strlen(reason) && ((unsigned char)reason[n] & 0xc0) == 0x80)
		n--;
	if (wslay_event_queue_close(w->ctx, (uint16_t)code, (const uint8_t *)reason, n) == WSLAY_ERR_NOMEM || flush(w, out, NULL) < 0)
		out->oom = true;
}

void ws_accept(const char *key, char ret[WS_ACCEPT_SIZE])
{
	char text[KEY_TEXT + 37];
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	(void)snprintf(text, sizeof(text), "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	*ret = '\0';
	if (EVP_Digest(text, strlen(text), sum, &n, EVP_sha1(), NULL) == 1)
		(void)EVP_EncodeBlock((unsigned char *)ret, sum, (int)n);
}

bool ws_key_valid(const char *key)
{
	unsigned char raw[KEY_TEXT];
	/* 16 bytes: 24 characters, of which the last two are padding. */
	return strlen(key) == KEY_TEXT && str_ends(key, "==") && key[KEY_TEXT - 3] != '=' &&
	       EVP_DecodeBlock(raw, (const unsigned char *)key, KEY_TEXT) == KEY_BYTES + 2;
}
