/* mux.c: channels over SPDY and WebSocket. */
#include "core/stream/mux.h"

#include "core/stream/ws.h"
#include "core/util/log.h"

#define SIGNAL_CLOSE 255 /* the channel of WebSocket's v5 that ends others */
#define MESSAGE_CONTROL 2 /* bytes of such a message */

struct mux {
	struct conn *conn;
	enum mux_kind kind;
	const struct mux_user *user;
	void *arg;
	struct spdy *spdy;
	struct ws *ws;
	struct channel *channels, *last_used;
	unsigned n_channels;
	uint32_t last_id; /* the newest stream's */
	/* WebSocket: the message that is being read. */
	struct channel *message;
	bool control;	   /* it is on channel 255 */
	uint8_t said[MESSAGE_CONTROL];
	size_t said_n;
	bool dead;
	struct pump_task task;
	struct pump *pump;
};

/* ---- life ---- */

static void free_task(void *arg)
{
	struct mux *m = arg;
	while (m->channels) {
		struct channel *next = m->channels->next;
		free(m->channels);
		m->channels = next;
	}
	spdy_free(m->spdy);
	ws_free(m->ws);
	free(m);
}

/* Later, as a handler of it may be on the stack. */
static void die(struct mux *m)
{
	if (m->dead)
		return;
	m->dead = true;
	m->user = NULL;
	m->task = (struct pump_task){ .fn = free_task, .arg = m };
	pump_post(m->pump, &m->task);
}

static struct channel *add_channel(struct mux *m, uint32_t id)
{
	struct channel *ch = calloc(1, sizeof(*ch));
	if (!ch)
		return NULL;
	ch->mux = m;
	ch->id = id;
	ch->can_in = ch->can_out = true;
	ch->next = m->channels;
	m->channels = ch;
	m->n_channels++;
	return ch;
}

struct channel *mux_channel(struct mux *m, uint32_t id)
{
	if (m->last_used && m->last_used->id == id)
		return m->last_used;
	struct channel *ch = m->channels;
	while (ch && ch->id != id)
		ch = ch->next;
	if (ch)
		m->last_used = ch;
	return ch;
}

void mux_drop(struct channel *ch)
{
	struct mux *m = ch->mux;
	struct channel **p = &m->channels;
	while (*p && *p != ch)
		p = &(*p)->next;
	if (*p)
		*p = ch->next;
	m->n_channels--;
	if (m->last_used == ch)
		m->last_used = NULL;
	if (m->message == ch)
		m->message = NULL;
	free(ch);
}

struct conn *mux_conn(struct mux *m)
{
	return m->conn;
}

bool mux_is_spdy(const struct mux *m)
{
	return m->spdy != NULL;
}

/* Sends what a codec has put together. */
static void send_buf(struct mux *m, struct buf *b)
{
	if (!m->dead)
		conn_send(m->conn, b->p, b->n);
}

/* The same of SPDY frames, which a tunnel carries in a message. */
static void send_frames(struct mux *m, struct buf *b)
{
	uint8_t head[WS_HEAD_MAX];
	if (m->kind == MUX_TUNNEL && b->n && !m->dead) {
		size_t n = ws_head_before(head + WS_HEAD_MAX, WS_BINARY, b->n);
		conn_send(m->conn, head + WS_HEAD_MAX - n, n);
	}
	send_buf(m, b);
}

/* ---- SPDY ---- */

static int on_syn(void *arg, uint32_t id, uint8_t flags, const struct spdy_headers *h, crio_err *err)
{
	static const struct spdy_pair none[1];
	struct mux *m = arg;
	cleanup_buf struct buf out = BUF_INIT;
	if (m->dead)
		return 0;
	if (id % 2 == 0 || id <= m->last_id)
		return err_set(err, CRIO_E_INVALID, "SPDY: stream %u after stream %u: a client's are odd and grow", id, m->last_id);
	m->last_id = id;
	struct channel *ch = m->n_channels < MUX_CHANNELS_MAX ? add_channel(m, id) : NULL;
	const char *why = ch ? m->user->wants(m->arg, ch, h) : "there are too many streams on the connection, or there is no memory";
	if (why) {
		log_debug("%s: stream %u refused: %s", conn_peer(m->conn), id, why);
		spdy_put_rst(&out, id, SPDY_REFUSED_STREAM);
	} else {
		spdy_put_syn_reply(m->spdy, &out, id, 0, none, 0);
	}
	if (buf_bad(&out))
		return err_nomem(err);
	send_frames(m, &out);
	if (why && ch)
		mux_drop(ch);
	if (why)
		return 0;
	ch->can_in = !(flags & SPDY_FIN);
	ch->can_out = !(flags & SPDY_UNIDIRECTIONAL);
	m->user->opened(m->arg, ch);
	return 0;
}

static void ended(struct mux *m, struct channel *ch, bool reset)
{
	ch->can_in = false;
	if (reset)
		ch->can_out = false;
	if (m->user)
		m->user->ended(m->arg, ch, reset);
}

static int on_data(void *arg, uint32_t id, const uint8_t *p, size_t n, bool fin, crio_err *err)
{
	struct mux *m = arg;
	(void)err;
	/* Of streams that are over, some may still be on its way. */
	struct channel *ch = m->dead ? NULL : mux_channel(m, id);
	if (!ch || !ch->can_in)
		return 0;
	if (n)
		m->user->data(m->arg, ch, p, n);
	/* It may have gone with that. */
	if (fin && !m->dead && mux_channel(m, id) == ch && ch->can_in)
		ended(m, ch, false);
	return 0;
}

static int on_rst(void *arg, uint32_t id, uint32_t status, crio_err *err)
{
	struct mux *m = arg;
	(void)status;
	(void)err;
	struct channel *ch = m->dead ? NULL : mux_channel(m, id);
	if (!ch)
		return 0;
	ended(m, ch, true);
	if (!m->dead && mux_channel(m, id) == ch)
		mux_drop(ch);
	return 0;
}

static int on_ping(void *arg, uint32_t id, crio_err *err)
{
	struct mux *m = arg;
	cleanup_buf struct buf out = BUF_INIT;
	if (id % 2 == 0)
		return 0; /* an answer; we ask for none */
	spdy_put_ping(&out, id);
	if (buf_bad(&out))
		return err_nomem(err);
	send_frames(m, &out);
	return 0;
}

static int on_goaway(void *arg, uint32_t last_id, uint32_t status, crio_err *err)
{
	/* The client opens no more streams, and will close. */
	(void)arg;
	(void)last_id;
	(void)status;
	(void)err;
	return 0;
}

static const struct spdy_handler spdy_handler = { .syn_stream = on_syn, .data = on_data, .rst = on_rst, .ping = on_ping, .goaway = on_goaway };

/* ---- WebSocket ---- */

static int8_t digit64(uint8_t c)
{
	return (int8_t)(c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 :
			c == '+' ? 62 : c == '/' ? 63 : -1);
}

/* Decodes a piece, in place of a copy; what is not a whole group waits for the next piece. */
static int decode(struct channel *ch, const uint8_t *p, size_t n, bool last, struct buf *out, crio_err *err)
{
	for (size_t i = 0; i < n; i++) {
		int8_t d = digit64(p[i]);
		if (p[i] == '=' && ch->base64.n >= 2) {
			ch->base64.ended = true;
			continue;
		}
		if (d < 0 || ch->base64.ended)
			return err_set(err, CRIO_E_INVALID, "WebSocket: a message that is not base64");
		ch->base64.word = ch->base64.word << 6 | (uint32_t)d;
		if (++ch->base64.n < 4)
			continue;
		uint8_t three[3] = { (uint8_t)(ch->base64.word >> 16), (uint8_t)(ch->base64.word >> 8), (uint8_t)ch->base64.word };
		buf_add(out, three, 3);
		ch->base64.n = 0;
		ch->base64.word = 0;
	}
	if (!last)
		return buf_bad(out) ? err_nomem(err) : 0;
	unsigned have = ch->base64.n;
	uint32_t word = ch->base64.word << 6 * (4 - have);
	uint8_t rest[2] = { (uint8_t)(word >> 16), (uint8_t)(word >> 8) };
	memset(&ch->base64, 0, sizeof(ch->base64));
	if (have == 1)
		return err_set(err, CRIO_E_INVALID, "WebSocket: a message that is not base64");
	if (have)
		buf_add(out, rest, have - 1);
	return buf_bad(out) ? err_nomem(err) : 0;
}

/* A message on channel 255, whole. */
static int close_signal(struct mux *m, crio_err *err)
{
	if (m->said_n != 1)
		return err_set(err, CRIO_E_INVALID, "WebSocket: a close signal that does not name one channel");
	struct channel *ch = mux_channel(m, m->said[0]);
	if (!ch)
		return err_set(err, CRIO_E_INVALID, "WebSocket: a close signal for channel %u, which there is not", m->said[0]);
	if (ch->can_in)
		ended(m, ch, false);
	return 0;
}

static int on_piece(void *arg, const uint8_t *p, size_t n, bool first, bool last, crio_err *err)
{
	struct mux *m = arg;
	if (m->dead)
		return 0;
	if (m->kind == MUX_TUNNEL)
		return n ? spdy_feed(m->spdy, p, n, err) : 0;
	if (first) {
		m->message = NULL;
		m->control = false;
		m->said_n = 0;
		if (n) {
			unsigned id = m->kind == MUX_WS_BASE64 ? (unsigned)(uint8_t)(*p - '0') : *p;
			m->control = m->kind == MUX_WS_CLOSES && id == SIGNAL_CLOSE;
			m->message = m->control ? NULL : mux_channel(m, id); /* what is on none is dropped */
			p++;
			n--;
		}
	}
	if (m->control) {
		for (; n && m->said_n < MESSAGE_CONTROL; n--)
			m->said[m->said_n++] = *p++;
		return last ? close_signal(m, err) : 0;
	}
	struct channel *ch = m->message;
	if (!ch || !ch->can_in)
		return 0;
	if (m->kind != MUX_WS_BASE64) {
		if (n)
			m->user->data(m->arg, ch, p, n);
		return 0;
	}
	cleanup_buf struct buf plain = BUF_INIT;
	int r = decode(ch, p, n, last, &plain, err);
	if (r == 0 && plain.n)
		m->user->data(m->arg, ch, (const uint8_t *)plain.p, plain.n);
	return r;
}

static int on_ws_closed(void *arg, unsigned code, crio_err *err)
{
	struct mux *m = arg;
	(void)code;
	(void)err;
	if (!m->dead && m->user) {
		/* Our answer goes out when the feed is done. */
		const struct mux_user *user = m->user;
		m->user = NULL;
		user->gone(m->arg, "the client has closed the WebSocket");
	}
	return 0;
}

static const struct ws_handler ws_handler = { .piece = on_piece, .closed = on_ws_closed };

/* ---- in ---- */

/* The client broke the protocol: it is told what we know, and that is all. */
static void fault(struct mux *m, const char *why)
{
	const struct mux_user *user = m->user;
	void *arg = m->arg;
	log_info("Stream of %s ended: %s", conn_peer(m->conn), why);
	if (m->spdy) {
		cleanup_buf struct buf out = BUF_INIT;
		spdy_put_goaway(&out, m->last_id, SPDY_GOAWAY_PROTOCOL_ERROR);
		send_frames(m, &out);
	}
	conn_finish(m->conn);
	die(m);
	if (user)
		user->gone(arg, "the client broke the protocol");
}

void mux_input(struct mux *m, const uint8_t *p, size_t n)
{
	cleanup_err crio_err err = ERR_INIT;
	cleanup_buf struct buf out = BUF_INIT;
	if (m->dead)
		return;
	int r = m->ws ? ws_feed(m->ws, p, n, &out, &err) : spdy_feed(m->spdy, p, n, &err);
	if (m->dead)
		return;
	send_buf(m, &out);
	if (r < 0) {
		fault(m, err_text(&err));
	} else if (!m->user) { /* closed by the client */
		conn_finish(m->conn);
		die(m);
	}
}

static void conn_input(void *arg, const uint8_t *p, size_t n)
{
	mux_input(arg, p, n);
}

static void conn_drained(void *arg)
{
	struct mux *m = arg;
	if (m->user)
		m->user->drained(m->arg);
}

static void conn_gone(void *arg, const char *why)
{
	struct mux *m = arg;
	const struct mux_user *user = m->user;
	void *user_arg = m->arg;
	die(m);
	if (user)
		user->gone(user_arg, why);
}

static const struct conn_user conn_user = { conn_input, conn_drained, conn_gone };

struct mux *mux_new(struct conn *c, enum mux_kind kind, unsigned n, const struct mux_user *user, void *arg)
{
	struct mux *m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->conn = c;
	m->kind = kind;
	m->user = user;
	m->arg = arg;
	m->pump = conn_pump(c);
	bool ok = true;
	if (kind == MUX_SPDY || kind == MUX_TUNNEL)
		ok = (m->spdy = spdy_new(&spdy_handler, m)) != NULL;
	if (ok && kind != MUX_SPDY)
		ok = (m->ws = ws_new(&ws_handler, m, false)) != NULL;
	for (unsigned i = 0; ok && !m->spdy && i < n; i++)
		ok = add_channel(m, i) != NULL;
	if (!ok) {
		free_task(m);
		return NULL;
	}
	conn_set_user(c, &conn_user, m);
	return m;
}

/* ---- out ---- */

static void send_base64(struct channel *ch, const uint8_t *p, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	cleanup_buf struct buf b = BUF_INIT, out = BUF_INIT;
	buf_addc(&b, (char)('0' + ch->id));
	for (size_t i = 0; i < n; i += 3) {
		uint32_t w = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
		char four[4] = { digits[w >> 18], digits[w >> 12 & 63], i + 1 < n ? digits[w >> 6 & 63] : '=', i + 2 < n ? digits[w & 63] : '=' };
		buf_add(&b, four, 4);
	}
	ws_put(ch->mux->ws, &out, WS_TEXT, b.p, b.n);
	send_buf(ch->mux, &out);
}

void mux_send(struct channel *ch, uint8_t *p, size_t n)
{
	struct mux *m = ch->mux;
	if (m->dead || !ch->can_out)
		return;
	if (m->spdy) {
		uint8_t *at = p - SPDY_DATA_HEAD;
		spdy_data_head(at, ch->id, 0, n);
		size_t head = m->ws ? ws_head_before(at, WS_BINARY, n + SPDY_DATA_HEAD) : 0;
		conn_send(m->conn, at - head, n + SPDY_DATA_HEAD + head);
	} else if (m->kind == MUX_WS_BASE64) {
		send_base64(ch, p, n);
	} else {
		p[-1] = (uint8_t)ch->id;
		size_t head = ws_head_before(p - 1, WS_BINARY, n + 1);
		conn_send(m->conn, p - 1 - head, n + 1 + head);
	}
}

void mux_send_copy(struct channel *ch, const void *p, size_t n)
{
	cleanup_free uint8_t *copy = malloc(PUMP_HEADROOM + n);
	if (!copy) {
		conn_until(ch->mux->conn, 1, "no memory");
		return;
	}
	if (n)
		memcpy(copy + PUMP_HEADROOM, p, n);
	mux_send(ch, copy + PUMP_HEADROOM, n);
}

void mux_end(struct channel *ch)
{
	struct mux *m = ch->mux;
	if (m->dead || !ch->can_out)
		return;
	ch->can_out = false;
	if (!m->spdy)
		return;
	uint8_t both[WS_HEAD_MAX + SPDY_DATA_HEAD], *at = both + WS_HEAD_MAX;
	spdy_data_head(at, ch->id, SPDY_FIN, 0);
	size_t head = m->ws ? ws_head_before(at, WS_BINARY, SPDY_DATA_HEAD) : 0;
	conn_send(m->conn, at - head, SPDY_DATA_HEAD + head);
}

void mux_reset(struct channel *ch)
{
	struct mux *m = ch->mux;
	cleanup_buf struct buf out = BUF_INIT;
	if (!m->dead && m->spdy && (ch->can_in || ch->can_out)) {
		spdy_put_rst(&out, ch->id, SPDY_CANCEL);
		send_frames(m, &out);
	}
	mux_drop(ch);
}

void mux_finish(struct mux *m, const char *text)
{
	cleanup_buf struct buf out = BUF_INIT;
	if (m->dead)
		return;
	if (m->spdy)
		spdy_put_goaway(&out, m->last_id, SPDY_GOAWAY_OK);
	send_frames(m, &out);
	buf_clear(&out);
	if (m->ws)
		ws_put_close(m->ws, &out, WS_NORMAL, text);
	send_buf(m, &out);
	conn_finish(m->conn);
	die(m);
}

void mux_abort(struct mux *m)
{
	if (m->dead)
		return;
	conn_abort(m->conn);
	die(m);
}
