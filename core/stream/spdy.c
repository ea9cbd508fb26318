/* spdy.c: frames. */
#include "core/stream/spdy.h"

enum frame_type {
	SYN_STREAM = 1,
	SYN_REPLY = 2,
	RST_STREAM = 3,
	SETTINGS = 4,
	PING = 6,
	GOAWAY = 7,
	HEADERS = 8,
	WINDOW_UPDATE = 9
};

#define VERSION_3 3
#define HEAD 8 /* bytes before every frame's payload */

enum reading { READ_HEAD, READ_CONTROL, READ_DATA, READ_SKIP, READ_DEAD };

struct spdy {
	const struct spdy_handler *h;
	void *arg;
	struct spdy_coder *coder;
	enum reading state;
	/* The head, then a control frame's payload, as far as they have come. */
	uint8_t head[HEAD];
	uint8_t *payload; /* SPDY_CONTROL_MAX bytes, while a control frame is read */
	size_t have;
	/* The frame that is being read. */
	uint16_t type;
	uint8_t flags;
	uint32_t id;	/* of a data frame */
	uint32_t length; /* of the payload; of data: what is still to come */
};

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

struct spdy *spdy_new(const struct spdy_handler *h, void *arg)
{
	struct spdy *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->h = h;
	s->arg = arg;
	s->coder = spdy_coder_new();
	if (!s->coder) {
		free(s);
		return NULL;
	}
	return s;
}

void spdy_free(struct spdy *s)
{
	if (!s)
		return;
	spdy_coder_free(s->coder);
	free(s->payload);
	free(s);
}

/* ---- reading ---- */

static const char *type_name(unsigned type)
{
	static const char *const names[] = { [SYN_STREAM] = "SYN_STREAM", [SYN_REPLY] = "SYN_REPLY",   [RST_STREAM] = "RST_STREAM",
					     [SETTINGS] = "SETTINGS",	  [PING] = "PING",	       [GOAWAY] = "GOAWAY",
					     [HEADERS] = "HEADERS",	  [WINDOW_UPDATE] = "WINDOW_UPDATE" };
	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "frame of an unknown type";
}

/* Bytes before the headers of a frame that has some; otherwise its whole length. */
static size_t fixed_part(unsigned type)
{
	return type == SYN_STREAM ? 10 : type == SYN_REPLY || type == HEADERS || type == PING || type == SETTINGS ? 4 : 8;
}

static int with_headers(struct spdy *s, const uint8_t *p, uint32_t id, crio_err *err)
{
	struct spdy_headers h = { .kv = KVS_INIT };
	size_t fixed = fixed_part(s->type);
	int (*fn)(void *, uint32_t, uint8_t, const struct spdy_headers *, crio_err *) =
		s->type == SYN_STREAM ? s->h->syn_stream : s->type == SYN_REPLY ? s->h->syn_reply : s->h->headers;
	/* Read even when nobody asks: the blocks of a session are one compressed stream. */
	int r = spdy_headers_read(s->coder, p + fixed, s->length - fixed, &h, err);
	if (r == 0 && fn)
		r = fn(s->arg, id, s->flags, &h, err);
	kvs_release(&h.kv);
	return r;
}

/* A control frame is whole. */
static int control(struct spdy *s, crio_err *err)
{
	const uint8_t *p = s->payload;
	size_t fixed = fixed_part(s->type);
	bool grows = s->type == SYN_STREAM || s->type == SYN_REPLY || s->type == HEADERS || s->type == SETTINGS;
	if (s->length < fixed || (!grows && s->length != fixed))
		return err_set(err, CRIO_E_INVALID, "SPDY: a %s of %u bytes", type_name(s->type), s->length);
	uint32_t first = get32(p) & 0x7fffffff;
	bool of_stream = s->type != SETTINGS && s->type != PING && s->type != GOAWAY && s->type != WINDOW_UPDATE;
	if (of_stream && !first)
		return err_set(err, CRIO_E_INVALID, "SPDY: a %s of stream 0", type_name(s->type));
	switch (s->type) {
	case SYN_STREAM:
	case SYN_REPLY:
	case HEADERS:
		return with_headers(s, p, first, err);
	case RST_STREAM:
		if (!get32(p + 4))
			return err_set(err, CRIO_E_INVALID, "SPDY: a RST_STREAM of stream %u with status 0", first);
		return s->h->rst ? s->h->rst(s->arg, first, get32(p + 4), err) : 0;
	case SETTINGS:
		if (get32(p) != (s->length - 4) / 8 || (s->length - 4) % 8)
			return err_set(err, CRIO_E_INVALID, "SPDY: SETTINGS of %u bytes for %u settings", s->length, get32(p));
		return 0;
	case PING:
		if (!get32(p) || s->flags)
			return err_set(err, CRIO_E_INVALID, "SPDY: a PING with id %u and flags 0x%02x", get32(p), s->flags);
		return s->h->ping ? s->h->ping(s->arg, get32(p), err) : 0;
	case GOAWAY:
		return s->h->goaway ? s->h->goaway(s->arg, first, get32(p + 4), err) : 0;
	default: /* WINDOW_UPDATE: no windows are kept */
		return 0;
	}
}

static bool known(unsigned type)
{
	return type >= SYN_STREAM && type <= WINDOW_UPDATE && type != 5;
}

/* The head of a frame is whole. */
static int begin(struct spdy *s, crio_err *err)
{
	uint32_t word = get32(s->head);
	s->flags = s->head[4];
	s->length = get32(s->head + 4) & 0xffffff;
	s->have = 0;
	if (!(word & 0x80000000)) {
		s->id = word;
		if (!s->id)
			return err_set(err, CRIO_E_INVALID, "SPDY: a data frame of stream 0");
		if (s->flags & ~(unsigned)SPDY_FIN)
			return err_set(err, CRIO_E_INVALID, "SPDY: a data frame of stream %u with flags 0x%02x", s->id, s->flags);
		s->state = READ_DATA;
		return 0;
	}
	unsigned version = word >> 16 & 0x7fff;
	s->type = (uint16_t)word;
	if (version != VERSION_3)
		return err_set(err, CRIO_E_INVALID, "SPDY: a frame of version %u, only 3 is spoken here", version);
	if (!known(s->type)) {
		s->state = READ_SKIP;
		return 0;
	}
	if (s->length > SPDY_CONTROL_MAX)
		return err_set(err, CRIO_E_INVALID, "SPDY: a %s of %u bytes, at most %u are taken", type_name(s->type), s->length,
			       SPDY_CONTROL_MAX);
	s->payload = malloc(s->length ? s->length : 1);
	if (!s->payload)
		return err_nomem(err);
	s->state = READ_CONTROL;
	return 0;
}

/* Data, or what is skipped: hands on what there is. Returns how much that was, or a code. */
static int64_t pass(struct spdy *s, const uint8_t *p, size_t n, crio_err *err)
{
	size_t take = n < s->length ? n : s->length;
	s->length -= (uint32_t)take;
	bool last = s->length == 0;
	bool fin = last && s->flags & SPDY_FIN;
	int r = 0;
	if (s->state == READ_DATA && s->h->data && (take || fin))
		r = s->h->data(s->arg, s->id, p, take, fin, err);
	if (last)
		s->state = READ_HEAD;
	return r < 0 ? r : (int64_t)take;
}

static int64_t collect(struct spdy *s, uint8_t *to, size_t want, const uint8_t *p, size_t n)
{
	size_t take = n < want - s->have ? n : want - s->have;
	if (take)
		memcpy(to + s->have, p, take);
	s->have += take;
	return (int64_t)take;
}

static int64_t step(struct spdy *s, const uint8_t *p, size_t n, crio_err *err)
{
	int64_t took;
	int r = 0;
	switch (s->state) {
	case READ_HEAD:
		took = collect(s, s->head, HEAD, p, n);
		if (s->have == HEAD)
			r = begin(s, err);
		return r < 0 ? r : took;
	case READ_CONTROL:
		took = collect(s, s->payload, s->length, p, n);
		if (s->have < s->length)
			return took;
		r = control(s, err);
		free(s->payload);
		s->payload = NULL;
		s->have = 0;
		s->state = READ_HEAD;
		return r < 0 ? r : took;
	case READ_DATA:
	case READ_SKIP:
		return pass(s, p, n, err);
	case READ_DEAD:
		break;
	}
	return err_set(err, CRIO_E_INVALID, "SPDY: the session is over");
}

int spdy_feed(struct spdy *s, const void *data, size_t n, crio_err *err)
{
	const uint8_t *p = data;
	/* A frame without payload is whole with its head: it is not left for the next bytes. */
	while (n || (s->state != READ_HEAD && s->state != READ_DEAD && s->length == s->have)) {
		int64_t took = step(s, p, n, err);
		if (took < 0) {
			s->state = READ_DEAD;
			return (int)took;
		}
		p += took;
		n -= (size_t)took;
	}
	return 0;
}

/* ---- writing ---- */

void spdy_data_head(uint8_t ret[SPDY_DATA_HEAD], uint32_t id, uint8_t flags, size_t n)
{
	put32(ret, id & 0x7fffffff);
	put32(ret + 4, (uint32_t)flags << 24 | (uint32_t)(n & SPDY_DATA_MAX));
}

void spdy_put_data(struct buf *out, uint32_t id, uint8_t flags, const void *p, size_t n)
{
	uint8_t head[SPDY_DATA_HEAD];
	spdy_data_head(head, id, flags, n);
	buf_add(out, head, sizeof(head));
	if (n)
		buf_add(out, p, n);
}

static void put_control(struct buf *out, unsigned type, uint8_t flags, const uint8_t *p, size_t n)
{
	uint8_t head[HEAD];
	put32(head, 0x80000000 | VERSION_3 << 16 | type);
	put32(head + 4, (uint32_t)flags << 24 | (uint32_t)n);
	buf_add(out, head, sizeof(head));
	buf_add(out, p, n);
}

static void put_two(struct buf *out, unsigned type, uint32_t a, uint32_t b)
{
	uint8_t p[8];
	put32(p, a);
	put32(p + 4, b);
	put_control(out, type, 0, p, sizeof(p));
}

void spdy_put_rst(struct buf *out, uint32_t id, uint32_t status)
{
	put_two(out, RST_STREAM, id, status);
}

void spdy_put_goaway(struct buf *out, uint32_t last_id, uint32_t status)
{
	put_two(out, GOAWAY, last_id, status);
}

void spdy_put_ping(struct buf *out, uint32_t id)
{
	uint8_t p[4];
	put32(p, id);
	put_control(out, PING, 0, p, sizeof(p));
}

static void put_syn(struct spdy *s, struct buf *out, unsigned type, uint32_t id, uint8_t flags, const struct spdy_pair *h, size_t n)
{
	cleanup_buf struct buf b = BUF_INIT;
	uint8_t fixed[10] = { 0 };
	put32(fixed, id);
	buf_add(&b, fixed, fixed_part(type));
	spdy_headers_write(s->coder, h, n, &b);
	if (buf_bad(&b) || b.n > SPDY_DATA_MAX)
		out->oom = true;
	else
		put_control(out, type, flags, (const uint8_t *)b.p, b.n);
}

void spdy_put_syn_stream(struct spdy *s, struct buf *out, uint32_t id, uint8_t flags, const struct spdy_pair *h, size_t n)
{
	put_syn(s, out, SYN_STREAM, id, flags, h, n);
}

void spdy_put_syn_reply(struct spdy *s, struct buf *out, uint32_t id, uint8_t flags, const struct spdy_pair *h, size_t n)
{
	put_syn(s, out, SYN_REPLY, id, flags, h, n);
}
