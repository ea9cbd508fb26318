/* guest.c: from a TCP connection to a stream. */
#include "core/stream/guest.h"

#include <strings.h>

#include "core/stream/forward.h"
#include "core/stream/http.h"
#include "core/stream/remote.h"
#include "core/stream/ws.h"
#include "core/util/log.h"

struct guest {
	struct guest *prev, *next; /* oldest first */
	struct stream_server *s;
	struct conn *conn;
	struct buf head;
};

/* ---- the list ---- */

static void unlink_guest(struct guest *g)
{
	struct stream_server *s = g->s;
	if (g->prev)
		g->prev->next = g->next;
	else
		s->guests = g->next;
	if (g->next)
		g->next->prev = g->prev;
	s->n_guests--;
}

static void guest_free(struct guest *g)
{
	unlink_guest(g);
	buf_release(&g->head);
	free(g);
}

static void link_last(struct guest *g)
{
	struct guest **p = &g->s->guests;
	while (*p) {
		g->prev = *p;
		p = &(*p)->next;
	}
	*p = g;
	g->s->n_guests++;
}

void guests_end(struct stream_server *s)
{
	while (s->guests) {
		conn_abort(s->guests->conn);
		guest_free(s->guests);
	}
}

/* ---- answers ---- */

static void refuse(struct guest *g, unsigned status, const char *extra, const char *text)
{
	cleanup_buf struct buf out = BUF_INIT;
	struct conn *c = g->conn;
	log_debug("The streaming server refuses a request of %s: %u %.*s", conn_peer(c), status, (int)strcspn(text, "\n"), text);
	http_reply(&out, status, extra, text);
	conn_send(c, out.p, out.n);
	conn_finish(c);
	guest_free(g);
}

/* What the request stands for; NULL: it has been refused. */
static struct stream_request *redeem(struct guest *g, const struct http_request *q)
{
	static const struct {
		const char *path;
		enum stream_kind kind;
	} places[] = { { "/exec/", STREAM_EXEC }, { "/attach/", STREAM_ATTACH }, { "/portforward/", STREAM_FORWARD } };
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (!str_starts(q->path, places[i].path))
			continue;
		if (!str_eq(q->method, "GET") && !str_eq(q->method, "POST")) {
			refuse(g, 405, "Allow: GET, POST\r\n", "405: Method Not Allowed\n");
			return NULL;
		}
		struct stream_request *r = tokens_take(g->s->tokens, q->path + strlen(places[i].path), pump_now(g->s->pump));
		if (r && r->kind == places[i].kind)
			return r;
		/* Of another place: it is used up, as somebody has guessed with it. */
		stream_request_free(r);
		break;
	}
	refuse(g, 404, "", "404 page not found\n");
	return NULL;
}

/* ---- WebSocket ---- */

static const struct ws_protocol {
	const char *name;
	enum mux_kind kind;
	int version;
	bool exec, forward; /* who has it: exec and attach; port-forward */
} ws_protocols[] = {
	{ "v5.channel.k8s.io", MUX_WS_CLOSES, 5, true, false },
	{ "v4.channel.k8s.io", MUX_WS, 4, true, true },
	{ "v4.base64.channel.k8s.io", MUX_WS_BASE64, 4, true, true },
	{ "channel.k8s.io", MUX_WS, 1, true, false },
	{ "base64.channel.k8s.io", MUX_WS_BASE64, 1, true, false },
	{ "SPDY/3.1+portforward.k8s.io", MUX_TUNNEL, 1, false, true },
};
static const struct ws_protocol ws_unnamed = { "", MUX_WS, 1, true, true };

/* The first of the client's that we have; unnamed when it names none. NULL: it names only others. */
static const struct ws_protocol *choose_ws(const struct http_request *q, bool forward)
{
	cleanup_strv struct strv names = STRV_INIT;
	if (http_tokens(q, "sec-websocket-protocol", &names) < 0)
		return NULL;
	if (!names.n)
		return &ws_unnamed;
	for (size_t i = 0; i < names.n; i++)
		for (size_t k = 0; k < ARRAY_SIZE(ws_protocols); k++)
			if (str_eq(names.v[i], ws_protocols[k].name) && (forward ? ws_protocols[k].forward : ws_protocols[k].exec))
				return &ws_protocols[k];
	return NULL;
}

/* True: it has been answered with 101, and kind and version are set. */
static bool upgrade_ws(struct guest *g, const struct http_request *q, const struct stream_request *want, enum mux_kind *ret_kind, int *ret_version)
{
	const char *key = http_get(q, "sec-websocket-key"), *version = http_get(q, "sec-websocket-version");
	char accept[WS_ACCEPT_SIZE];
	cleanup_buf struct buf out = BUF_INIT;
	if (!version || !str_eq(version, "13")) {
		refuse(g, 426, "Sec-WebSocket-Version: 13\r\n", "unable to upgrade: only version 13 of WebSocket is spoken here\n");
		return false;
	}
	if (!key || !ws_key_valid(key)) {
		refuse(g, 400, "", "unable to upgrade: Sec-WebSocket-Key is missing, or not 16 bytes in base64\n");
		return false;
	}
	bool forward = want->kind == STREAM_FORWARD;
	const struct ws_protocol *p = choose_ws(q, forward);
	if (!p) {
		refuse(g, 403, "", "unable to upgrade: none of the protocols in Sec-WebSocket-Protocol is spoken here\n");
		return false;
	}
	if (forward && p->kind != MUX_TUNNEL && !want->n_ports) {
		refuse(g, 400, "", "unable to upgrade: the request named no ports, and over WebSocket there are no others\n");
		return false;
	}
	ws_accept(key, accept);
	buf_addf(&out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n", accept);
	if (*p->name)
		buf_addf(&out, "Sec-WebSocket-Protocol: %s\r\n", p->name);
	buf_adds(&out, "\r\n");
	conn_send(g->conn, out.p, out.n);
	*ret_kind = p->kind;
	*ret_version = p->version;
	return true;
}

/* ---- SPDY ---- */

#define VERSION_HEADER "x-stream-protocol-version"

static const char *const remote_names[] = { "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io" };
static const char *const forward_names[] = { "portforward.k8s.io" };

static bool upgrade_spdy(struct guest *g, const struct http_request *q, bool forward, int *ret_version)
{
	const char *const *names = forward ? forward_names : remote_names;
	size_t n = forward ? ARRAY_SIZE(forward_names) : ARRAY_SIZE(remote_names), at = n;
	cleanup_strv struct strv asked = STRV_INIT;
	cleanup_buf struct buf out = BUF_INIT;
	if (http_tokens(q, VERSION_HEADER, &asked) < 0) {
		refuse(g, 500, "", "no memory\n");
		return false;
	}
	if (!asked.n) {
		refuse(g, 400, "", "unable to upgrade: the request names no protocol in X-Stream-Protocol-Version\n");
		return false;
	}
	for (size_t i = 0; i < asked.n && at == n; i++)
		for (size_t k = 0; k < n && at == n; k++)
			if (str_eq(asked.v[i], names[k]))
				at = k;
	if (at == n) {
		for (size_t k = 0; k < n; k++)
			buf_addf(&out, "X-Accepted-Stream-Protocol-Versions: %s\r\n", names[k]);
		refuse(g, 403, out.p ? out.p : "", "unable to upgrade: none of the protocols in X-Stream-Protocol-Version is spoken here\n");
		return false;
	}
	if (!http_has_token(q, "connection", "upgrade") || !http_has_token(q, "upgrade", "SPDY/3.1")) {
		refuse(g, 400, "", "unable to upgrade: missing upgrade headers in request: Connection: Upgrade and Upgrade: SPDY/3.1\n");
		return false;
	}
	buf_addf(&out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: %s\r\n\r\n",
		 names[at]);
	conn_send(g->conn, out.p, out.n);
	*ret_version = (int)(n - at);
	return true;
}

/* ---- the request ---- */

static void serve(struct guest *g, const struct http_request *q, const uint8_t *rest, size_t rest_n)
{
	struct stream_server *s = g->s;
	struct stream_request *r = redeem(g, q);
	enum mux_kind kind = MUX_SPDY;
	int version = 0;
	if (!r)
		return;
	bool forward = r->kind == STREAM_FORWARD;
	bool is_ws = http_has_token(q, "connection", "upgrade") && http_has_token(q, "upgrade", "websocket");
	if (!(is_ws ? upgrade_ws(g, q, r, &kind, &version) : upgrade_spdy(g, q, forward, &version))) {
		stream_request_free(r);
		return;
	}
	struct conn *c = g->conn;
	guest_free(g);
	log_debug("Stream for %s: %s %s, %s version %d", conn_peer(c), forward ? "port-forward to pod" : "container", r->id,
		  is_ws ? "WebSocket" : "SPDY", version);
	bool ok = forward ? forward_begin(s, c, kind, r, rest, rest_n) : remote_begin(s, c, kind, version, r, rest, rest_n);
	if (!ok)
		conn_abort(c);
}

static void input(void *arg, const uint8_t *p, size_t n)
{
	struct guest *g = arg;
	struct http_request q;
	cleanup_buf struct buf why = BUF_INIT;
	size_t before = g->head.n;
	/* What comes with the request, behind it, stays where it is. */
	size_t room = HTTP_HEAD_MAX - before, take = n < room ? n : room;
	buf_add(&g->head, p, take);
	if (buf_bad(&g->head)) {
		refuse(g, 500, "", "no memory\n");
		return;
	}
	size_t end = http_head_end(g->head.p, g->head.n, before);
	if (!end && g->head.n < HTTP_HEAD_MAX)
		return;
	if (!end) {
		refuse(g, 431, "", "the head of the request is too long\n");
		return;
	}
	unsigned status = http_parse(g->head.p, end, &q, &why);
	if (status) {
		refuse(g, status, "", why.p ? why.p : "bad request\n");
		return;
	}
	conn_until(g->conn, 0, NULL);
	size_t used = end - before;
	cleanup_free char *head = g->head.p; /* q points into it, and g may go */
	buf_init(&g->head, 0);
	serve(g, &q, p + used, n - used);
}

static void drained(void *arg)
{
	(void)arg;
}

static void gone(void *arg, const char *why)
{
	struct guest *g = arg;
	log_debug("The streaming server lost %s before its request: %s", conn_peer(g->conn), why);
	guest_free(g);
}

static const struct conn_user user = { input, drained, gone };

bool guest_begin(struct stream_server *s, int fd)
{
	struct guest *g = calloc(1, sizeof(*g));
	SSL *ssl = NULL;
	if (!g)
		return false;
	g->s = s;
	buf_init(&g->head, 0);
	if (s->tls && tls_accept(s->tls, fd, &ssl, NULL) < 0) {
		free(g);
		return false;
	}
	g->conn = conn_new(&s->place, fd, ssl, &user, g);
	if (!g->conn) {
		SSL_free(ssl);
		free(g);
		return false;
	}
	if (s->n_guests >= GUESTS_MAX) {
		struct guest *oldest = s->guests;
		conn_abort(oldest->conn);
		guest_free(oldest);
	}
	link_last(g);
	conn_until(g->conn, pump_now(s->pump) + GUEST_NS, "it has made no request in time");
	return true;
}
