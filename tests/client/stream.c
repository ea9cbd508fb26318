/*
 * stream-client: the other side of the streaming server: exec, attach and port-forward over SPDY and WebSocket, well-behaved or not.
 *
 *	stream-client [OPTIONS] URL
 *	stream-client [OPTIONS] -S SOCKET METHOD JSON     asks for the URL itself
 *
 *	-p spdy|ws|base64|tunnel   protocol (tunnel: port-forward by SPDY in a WebSocket); -v VERSION of it (spdy 4, ws 5, base64 4); -P NAME: offers this name instead
 *	-i -t -O -E         with stdin; with a terminal; without stdout; without stderr
 *	-s ROWSxCOLS        the terminal's size; again: what it becomes with each SIGUSR1
 *	-f PORT             port-forward; over WebSocket the request's ports, of which stdin and stdout get the first
 *	-q                  counts what comes on stdout, and says how much it was, how long it took
 *	-x WHEN             breaks the connection off: connect, request, open (its streams), data (has come)
 *	-R                  never reads, once its streams are open; for -d SECONDS, then goes
 *	-b HEX              sends this once it is upgraded, and says which frames come back
 *	-n TIMES -j THREADS that many runs; with -S each with a URL of its own. Says how many ended with 0
 *	-k CA -c CERT -K KEY   TLS: the server's authority, and a certificate; -m 1.2: that version and no other; -C CIPHERS
 *
 * The exit status is the command's; 125 for a failure of the stream, with its words on stderr; 124 for a refused upgrade, with the
 * reply on stderr.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/rpc/cri.h"
#include "core/stream/spdy.h"
#include "core/stream/ws.h"
#include "core/util/json.h"
#include "tests/client/client.h"
#include "tests/client/pbjson.h"

enum { FAILED = 125, REFUSED = 124, USAGE = 64 };
enum role { IN, OUT, ERR, STATUS, SIZE, ROLES };
enum when { NEVER, CONNECT, REQUEST, OPEN, SOME_DATA };

static struct options {
	bool ws, base64, tunnel, in, tty, no_out, no_err, quiet, never_reads;
	int version, port, seconds;
	const char *offer, *sizes[8], *hex, *socket, *ca, *cert, *key, *tls_version, *ciphers;
	size_t n_sizes;
	enum when cut;
	long times, threads;
} o = { .times = 1, .threads = 1, .seconds = 5, .version = -1 };
static const char *url_arg, *method_arg, *json_arg;
static volatile sig_atomic_t resizes;

struct run {
	int fd;
	SSL *ssl;
	struct spdy *spdy;
	struct ws *ws;
	struct buf out, status;
	uint32_t id[ROLES]; /* SPDY's streams; 0: none. Of port-forward: OUT is the data stream, STATUS the error stream */
	unsigned replies, wanted;
	bool open, over, in_ended, says_port[2];
	size_t size_at;
	uint64_t bytes;
	struct buf frames; /* with -b */
};

static void die(const char *what, const char *why)
{
	fprintf(stderr, "stream-client: %s%s%s\n", what, why ? ": " : "", why ? why : "");
	exit(USAGE);
}

static void on_usr1(int sig)
{
	(void)sig;
	resizes++;
}

static double now(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- bytes ---- */

static bool put(struct run *r, const void *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t w = r->ssl ? SSL_write(r->ssl, (const char *)p + at, (int)(n - at)) : send(r->fd, (const char *)p + at, n - at, MSG_NOSIGNAL);
		if (w <= 0)
			return false;
		at += (size_t)w;
	}
	return true;
}

static ssize_t get(struct run *r, void *p, size_t n)
{
	return r->ssl ? SSL_read(r->ssl, p, (int)n) : recv(r->fd, p, n, 0);
}

static bool flush(struct run *r)
{
	/* A tunnel's messages have nothing to do with its frames: pieces of odd sizes. */
	struct buf all = BUF_INIT;
	for (size_t at = 0, n; o.tunnel && at < r->out.n; at += n) {
		n = r->out.n - at < 1021 ? r->out.n - at : 1021;
		ws_put(r->ws, &all, WS_BINARY, r->out.p + at, n);
	}
	bool ok = o.tunnel ? put(r, all.p, all.n) : put(r, r->out.p, r->out.n);
	buf_release(&all);
	buf_clear(&r->out);
	return ok;
}

/* On a channel of ours; FIN, or v5's close signal, with n 0 and fin. */
static bool say(struct run *r, enum role role, const void *p, size_t n, bool fin)
{
	char digits[] = "01234";
	struct buf b = BUF_INIT;
	if (r->spdy) {
		spdy_put_data(&r->out, r->id[role], fin ? SPDY_FIN : 0, p, n);
	} else if (fin) {
		if (o.version == 5)
			ws_put(r->ws, &r->out, WS_BINARY, (const char[]){ (char)255, (char)role }, 2);
	} else if (o.base64) {
		unsigned char *text = malloc(n * 4 / 3 + 8);
		int k = EVP_EncodeBlock(text, p, (int)n);
		buf_addc(&b, digits[role]);
		buf_add(&b, text, (size_t)k);
		ws_put(r->ws, &r->out, WS_TEXT, b.p, b.n);
		free(text);
	} else {
		buf_addc(&b, (char)role);
		buf_add(&b, p, n);
		ws_put(r->ws, &r->out, WS_BINARY, b.p, b.n);
	}
	buf_release(&b);
	return flush(r);
}

static void heard(struct run *r, enum role role, const void *p, size_t n)
{
	if (role == STATUS) {
		buf_add(&r->status, p, n);
		return;
	}
	r->bytes += n;
	FILE *to = role == ERR ? stderr : stdout;
	if (!o.quiet && ((n && fwrite(p, 1, n, to) != n) || fflush(to) != 0))
		exit(FAILED); /* nobody wants it */
}

static enum role role_of(const struct run *r, uint32_t id)
{
	for (int i = 0; i < ROLES; i++)
		if (r->id[i] == id)
			return (enum role)i;
	return ROLES;
}

static int on_reply(void *arg, uint32_t id, uint8_t flags, const struct spdy_headers *h, crio_err *err)
{
	struct run *r = arg;
	(void)flags;
	(void)h;
	(void)err;
	buf_addf(&r->frames, "reply %u\n", id);
	r->replies++;
	return 0;
}

static int on_data(void *arg, uint32_t id, const uint8_t *p, size_t n, bool fin, crio_err *err)
{
	struct run *r = arg;
	(void)err;
	buf_addf(&r->frames, "data %u %zu%s\n", id, n, fin ? " fin" : "");
	if (n)
		heard(r, role_of(r, id), p, n);
	if (fin && o.port && id == r->id[OUT])
		r->over = true;
	return 0;
}

static int on_rst(void *arg, uint32_t id, uint32_t status, crio_err *err)
{
	struct run *r = arg;
	(void)err;
	buf_addf(&r->frames, "reset %u %u\n", id, status);
	if (o.port && id == r->id[OUT])
		r->over = true;
	return 0;
}

static int on_ping(void *arg, uint32_t id, crio_err *err)
{
	(void)err;
	buf_addf(&((struct run *)arg)->frames, "ping %u\n", id);
	return 0;
}

static int on_goaway(void *arg, uint32_t last, uint32_t status, crio_err *err)
{
	struct run *r = arg;
	(void)err;
	buf_addf(&r->frames, "goaway %u %u\n", last, status);
	r->over = true;
	return 0;
}

static const struct spdy_handler spdy_handler = { NULL, on_reply, NULL, on_data, on_rst, on_ping, on_goaway };

static int on_piece(void *arg, const uint8_t *p, size_t n, bool first, bool last, crio_err *err)
{
	static _Thread_local struct buf text;
	static _Thread_local enum role role;
	struct run *r = arg;
	if (o.tunnel)
		return n ? spdy_feed(r->spdy, p, n, err) : 0;
	if (first && n) {
		role = (enum role)(o.base64 ? *p - '0' : *p);
		buf_addf(&r->frames, "message on %u\n", role);
		p++;
		n--;
		buf_clear(&text);
	}
	/* Port-forward begins each channel with its port. */
	if (o.port && role < 2 && !r->says_port[role]) {
		r->says_port[role] = true;
		return 0;
	}
	enum role to = !o.port ? role : role == 0 ? OUT : role == 1 ? STATUS : ROLES;
	if (!o.base64) {
		heard(r, to, p, n);
		return 0;
	}
	buf_add(&text, p, n);
	if (last && text.n) {
		unsigned char *plain = malloc(text.n);
		int k = EVP_DecodeBlock(plain, (const unsigned char *)text.p, (int)text.n);
		for (size_t i = text.n; i && text.p[i - 1] == '='; i--)
			k--;
		if (k > 0)
			heard(r, to, plain, (size_t)k);
		free(plain);
	}
	return 0;
}

static int on_closed(void *arg, unsigned code, crio_err *err)
{
	struct run *r = arg;
	(void)err;
	buf_addf(&r->frames, "close %u\n", code);
	r->over = true;
	return 0;
}

static const struct ws_handler ws_handler = { on_piece, on_closed };

/* ---- connecting ---- */

struct place {
	char host[64], port[8], path[128];
	bool tls;
};

static void parse_url(const char *url, struct place *p)
{
	const char *at = strstr(url, "://"), *end;
	if (!at)
		die("no URL", url);
	p->tls = !strncmp(url, "https:", 6);
	at += 3;
	end = at[0] == '[' ? strchr(at, ']') : strchr(at, ':');
	if (!end || end - at >= (int)sizeof(p->host))
		die("no URL", url);
	(void)snprintf(p->host, sizeof(p->host), "%.*s", (int)(end - at - (*at == '[')), at + (*at == '['));
	at = strchr(end, ':') + 1;
	(void)snprintf(p->port, sizeof(p->port), "%.*s", (int)strcspn(at, "/"), at);
	(void)snprintf(p->path, sizeof(p->path), "%s", at + strcspn(at, "/"));
}

static int dial(const struct place *p)
{
	struct addrinfo hint = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *ai = NULL;
	int on = 1, fd = -1;
	if (getaddrinfo(p->host, p->port, &hint, &ai) == 0) {
		fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
			(void)close(fd);
			fd = -1;
		}
		freeaddrinfo(ai);
	}
	if (fd >= 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static bool wrap_tls(struct run *r)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (o.ca && (SSL_CTX_load_verify_file(ctx, o.ca) != 1))
		die("cannot read", o.ca);
	SSL_CTX_set_verify(ctx, o.ca ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	if (o.cert && (SSL_CTX_use_certificate_chain_file(ctx, o.cert) != 1 || SSL_CTX_use_PrivateKey_file(ctx, o.key, SSL_FILETYPE_PEM) != 1))
		die("cannot read", o.cert);
	if (o.tls_version) {
		int v = !strcmp(o.tls_version, "1.1") ? TLS1_1_VERSION : !strcmp(o.tls_version, "1.2") ? TLS1_2_VERSION : TLS1_3_VERSION;
		(void)SSL_CTX_set_min_proto_version(ctx, v);
		(void)SSL_CTX_set_max_proto_version(ctx, v);
	}
	if (o.ciphers && SSL_CTX_set_cipher_list(ctx, o.ciphers) != 1)
		die("no ciphers", o.ciphers);
	r->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	(void)SSL_set_fd(r->ssl, r->fd);
	if (SSL_connect(r->ssl) == 1)
		return true;
	unsigned long e = ERR_peek_last_error();
	fprintf(stderr, "TLS: %s\n", e ? ERR_reason_error_string(e) : "the handshake failed");
	return false;
}

/* The reply's head; what came behind it is fed on. False: refused. */
static bool upgrade(struct run *r, const struct place *p, char **ret_rest, size_t *ret_n)
{
	static const char *const spdy_names[] = { "", "channel.k8s.io", "v2.channel.k8s.io", "v3.channel.k8s.io", "v4.channel.k8s.io" };
	struct buf b = BUF_INIT;
	char name[64], tmp[4096];
	if (o.tunnel)
		(void)snprintf(name, sizeof(name), "SPDY/3.1+portforward.k8s.io");
	else if (r->spdy)
		(void)snprintf(name, sizeof(name), "%s", o.port ? "portforward.k8s.io" : spdy_names[o.version]);
	else
		(void)snprintf(name, sizeof(name), "%s%schannel.k8s.io", o.version == 5 ? "v5." : o.version == 4 ? "v4." : "", o.base64 ? "base64." : "");
	buf_addf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\n", !r->ws ? "POST" : "GET", p->path, p->host);
	if (!r->ws)
		buf_addf(&b, "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: %s\r\nContent-Length: 0\r\n\r\n", o.offer ? o.offer : name);
	else
		buf_addf(&b, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
			 o.version ? "Sec-WebSocket-Protocol: " : "", o.version ? o.offer ? o.offer : name : "", o.version ? "\r\n" : "");
	bool ok = put(r, b.p, b.n);
	buf_clear(&b);
	const char *end = NULL;
	if (o.cut == REQUEST)
		ok = false;
	while (ok && !end) {
		ssize_t n = get(r, tmp, sizeof(tmp));
		if (n <= 0)
			break;
		buf_add(&b, tmp, (size_t)n);
		end = strstr(b.p, "\r\n\r\n");
	}
	ok = end && strstr(b.p, " 101 ") && strstr(b.p, " 101 ") < strchr(b.p, '\n');
	if (!ok && o.cut != REQUEST) {
		/* The rest of the reply. */
		for (ssize_t n; end && (n = get(r, tmp, sizeof(tmp))) > 0;)
			buf_add(&b, tmp, (size_t)n);
		fprintf(stderr, "%s\n", b.p ? b.p : "the connection was closed");
	}
	if (ok) {
		*ret_n = b.n - (size_t)(end + 4 - b.p);
		*ret_rest = malloc(*ret_n + 1);
		memcpy(*ret_rest, end + 4, *ret_n);
	}
	buf_release(&b);
	return ok;
}

static void open_stream(struct run *r, enum role role, uint32_t id, const struct spdy_pair *h, size_t n)
{
	r->id[role] = id;
	r->wanted++;
	spdy_put_syn_stream(r->spdy, &r->out, id, 0, h, n);
}

static bool open_streams(struct run *r)
{
	static const struct { enum role role; const char *type; } all[] = {
		{ STATUS, "error" }, { IN, "stdin" }, { OUT, "stdout" }, { ERR, "stderr" }, { SIZE, "resize" } };
	uint32_t id = 1;
	char port[8];
	if (o.port) {
		(void)snprintf(port, sizeof(port), "%d", o.port);
		struct spdy_pair h[3] = { { "streamtype", "error" }, { "port", port }, { "requestid", "7" } };
		open_stream(r, STATUS, 1, h, 3);
		h[0].value = "data";
		open_stream(r, OUT, 3, h, 3);
		r->id[IN] = 3;
		return flush(r);
	}
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		bool has = all[i].role == STATUS || (all[i].role == IN && o.in) || (all[i].role == OUT && !o.no_out) ||
			   (all[i].role == ERR && !o.no_err && !o.tty) || (all[i].role == SIZE && o.tty && o.version >= 3);
		struct spdy_pair h = { "streamtype", all[i].type };
		if (!has)
			continue;
		open_stream(r, all[i].role, id, &h, 1);
		id += 2;
	}
	return flush(r);
}

/* ---- a run ---- */

static void send_sizes(struct run *r)
{
	char text[64];
	unsigned rows, cols;
	while (r->open && r->size_at < o.n_sizes && r->size_at <= (size_t)resizes) {
		if (sscanf(o.sizes[r->size_at++], "%ux%u", &rows, &cols) != 2)
			die("no size", o.sizes[r->size_at - 1]);
		(void)snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}\n", cols, rows);
		(void)say(r, SIZE, text, strlen(text), false);
	}
}

static bool feed(struct run *r, const void *p, size_t n)
{
	crio_err err = ERR_INIT;
	struct buf answers = BUF_INIT; /* of the WebSocket itself */
	int e = r->ws ? ws_feed(r->ws, p, n, &answers, &err) : spdy_feed(r->spdy, p, n, &err);
	if (e < 0)
		fprintf(stderr, "the server: %s\n", err_text(&err));
	err_clear(&err);
	if (answers.n)
		(void)put(r, answers.p, answers.n);
	buf_release(&answers);
	if (r->out.n)
		(void)flush(r);
	return e == 0;
}

static void send_hex(struct run *r)
{
	struct buf b = BUF_INIT;
	for (const char *p = o.hex; p[0] && p[1]; p += 2) {
		unsigned v;
		if (sscanf(p, "%2x", &v) != 1)
			die("no hex", p);
		buf_addc(&b, (char)v);
	}
	(void)put(r, b.p, b.n);
	buf_release(&b);
}

/* What there is to be done until the server is through. False: cut off on purpose. */
static bool converse(struct run *r)
{
	char p[65536];
	double until = o.never_reads ? now() + o.seconds : 0;
	while (!r->over) {
		if (!r->open && (r->spdy ? r->replies == r->wanted : r->ws != NULL) && !o.hex) {
			r->open = true;
			if (o.cut == OPEN)
				return false;
		}
		send_sizes(r);
		if (o.cut == SOME_DATA && r->bytes)
			return false;
		if (o.never_reads && r->open) {
			if (now() > until)
				return false;
			(void)usleep(50000);
			continue;
		}
		struct pollfd f[2] = { { r->fd, POLLIN, 0 }, { r->open && o.in && !r->in_ended && o.times == 1 ? 0 : -1, POLLIN, 0 } };
		if ((!r->ssl || !SSL_pending(r->ssl)) && poll(f, 2, -1) < 0 && errno != EINTR)
			return true;
		if (f[0].revents || (r->ssl && SSL_pending(r->ssl))) {
			ssize_t n = get(r, p, sizeof(p));
			if (n <= 0 || !feed(r, p, (size_t)n))
				return true;
		}
		if (f[1].revents) {
			ssize_t n = read(0, p, 32768);
			r->in_ended = n <= 0;
			enum role to = o.port && !r->spdy ? (enum role)0 : IN;
			if (!say(r, to, p, n > 0 ? (size_t)n : 0, n <= 0))
				r->in_ended = true;
		}
	}
	return true;
}

/* The stream's own word on how it ended. */
static int result(const struct run *r)
{
	struct json_object *j = NULL;
	const char *text = r->status.p ? r->status.p : "";
	int code = FAILED;
	if (o.port || (o.version < 4 && *text)) {
		if (*text)
			fprintf(stderr, "%s\n", text);
		return *text ? 1 : 0;
	}
	if (o.version < 4)
		return 0;
	if (json_parse(text, strlen(text), &j, NULL) < 0) {
		fprintf(stderr, "the stream ended without a status: '%s'\n", text);
		return FAILED;
	}
	if (str_eq(json_str(j, "status"), "Success"))
		code = 0;
	else if (str_eq(json_str(j, "reason"), "NonZeroExitCode"))
		code = (int)strtol(json_str(json_object_array_get_idx(json_arr(json_obj(j, "details"), "causes"), 0), "message"), NULL, 10);
	else
		fprintf(stderr, "%s\n", json_str(j, "message"));
	json_object_put(j);
	return code;
}

/* Goes without a word: a reset, not an end. */
static void hang_up(struct run *r)
{
	struct linger l = { 1, 0 };
	(void)setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static int run(const char *url)
{
	struct run r = { .fd = -1, .out = BUF_INIT, .status = BUF_INIT, .frames = BUF_INIT };
	struct place p;
	char *rest = NULL;
	size_t rest_n = 0;
	double t = now();
	int code = FAILED;
	parse_url(url, &p);
	r.fd = dial(&p);
	if (r.fd < 0) {
		fprintf(stderr, "cannot connect to %s: %s\n", url, strerror(errno));
		return FAILED;
	}
	r.spdy = o.ws && !o.tunnel ? NULL : spdy_new(&spdy_handler, &r);
	r.ws = o.ws ? ws_new(&ws_handler, &r, true) : NULL;
	if (o.cut == CONNECT) {
		hang_up(&r);
		code = 0;
	} else if (p.tls && !wrap_tls(&r)) {
		code = REFUSED;
	} else if (!upgrade(&r, &p, &rest, &rest_n)) {
		code = o.cut == REQUEST ? 0 : REFUSED;
	} else {
		if (o.hex)
			send_hex(&r);
		bool ok = (!r.spdy || o.hex || open_streams(&r)) && (!rest_n || feed(&r, rest, rest_n));
		if (ok && !converse(&r)) {
			hang_up(&r);
			code = 0;
		} else {
			code = o.hex ? 0 : result(&r);
		}
		if (o.hex && r.frames.p)
			(void)fputs(r.frames.p, stdout);
		if (o.quiet)
			fprintf(stderr, "%llu bytes in %.3f s\n", (unsigned long long)r.bytes, now() - t);
	}
	SSL_free(r.ssl);
	(void)close(r.fd);
	free(rest);
	spdy_free(r.spdy);
	ws_free(r.ws);
	buf_release(&r.out);
	buf_release(&r.status);
	buf_release(&r.frames);
	return code;
}

/* ---- URLs by RPC ---- */

static int take_url(void *arg, const void *p, size_t n)
{
	/* Exec, Attach and PortForward alike: a message whose field 1 is the URL. */
	CRI(ExecResponse) *m = runtime__v1__exec_response__unpack(NULL, n, p);
	if (m)
		*(char **)arg = strdup(m->url);
	runtime__v1__exec_response__free_unpacked(m, NULL);
	return 0;
}

static char *ask(struct client *c)
{
	const ProtobufCMethodDescriptor *m = protobuf_c_service_descriptor_get_method_by_name(&runtime__v1__runtime_service__descriptor, method_arg);
	struct json_object *j = json_tokener_parse(json_arg);
	struct client_result res;
	char why[256] = "", path[128], *url = NULL;
	ProtobufCMessage *q = m && j ? pbjson_parse(m->input, j, why) : NULL;
	if (!q)
		die("no such request", *why ? why : method_arg);
	size_t n = protobuf_c_message_get_packed_size(q);
	uint8_t *body = malloc(n + 1);
	(void)protobuf_c_message_pack(q, body);
	(void)snprintf(path, sizeof(path), "/runtime.v1.RuntimeService/%s", method_arg);
	client_call(c, path, body, n, 120000, take_url, &url, &res);
	if (res.status)
		fprintf(stderr, "%s: %d %s\n", method_arg, res.status, res.message);
	client_result_release(&res);
	protobuf_c_message_free_unpacked(q, NULL);
	json_object_put(j);
	free(body);
	return url;
}

static int one(struct client *c)
{
	if (!c)
		return run(url_arg);
	char *url = ask(c);
	int code = url ? run(url) : FAILED;
	free(url);
	return code;
}

static _Atomic long next_run, good;

static void *many(void *arg)
{
	struct client *c = o.socket ? client_new(o.socket) : NULL;
	(void)arg;
	while (next_run++ < o.times)
		good += one(c) == 0;
	client_free(c);
	return NULL;
}

static void parse_options(int argc, char **argv)
{
	static const char *const cuts[] = { "", "connect", "request", "open", "data" };
	int c;
	while ((c = getopt(argc, argv, "p:v:P:itOEs:f:qx:Rd:b:n:j:S:k:c:K:m:C:")) != -1) {
		switch (c) {
		case 'p': o.ws = strcmp(optarg, "spdy") != 0; o.tunnel = !strcmp(optarg, "tunnel"); o.base64 = !strcmp(optarg, "base64"); break;
		case 'v': o.version = (int)strtol(optarg, NULL, 10); break;
		case 'P': o.offer = optarg; break;
		case 'i': o.in = true; break;
		case 't': o.tty = true; break;
		case 'O': o.no_out = true; break;
		case 'E': o.no_err = true; break;
		case 's': if (o.n_sizes < ARRAY_SIZE(o.sizes)) o.sizes[o.n_sizes++] = optarg; break;
		case 'f': o.port = (int)strtol(optarg, NULL, 10); o.in = true; break;
		case 'q': o.quiet = true; break;
		case 'x':
			for (size_t i = 0; i < ARRAY_SIZE(cuts); i++)
				if (!strcmp(optarg, cuts[i]))
					o.cut = (enum when)i;
			break;
		case 'R': o.never_reads = true; break;
		case 'd': o.seconds = (int)strtol(optarg, NULL, 10); break;
		case 'b': o.hex = optarg; break;
		case 'n': o.times = strtol(optarg, NULL, 10); break;
		case 'j': o.threads = strtol(optarg, NULL, 10); break;
		case 'S': o.socket = optarg; break;
		case 'k': o.ca = optarg; break;
		case 'c': o.cert = optarg; break;
		case 'K': o.key = optarg; break;
		case 'm': o.tls_version = optarg; break;
		case 'C': o.ciphers = optarg; break;
		default: exit(USAGE);
		}
	}
	if (o.version < 0)
		o.version = !o.ws || o.base64 || o.port ? 4 : 5;
	if (argc - optind != (o.socket ? 2 : 1))
		die("usage: stream-client [OPTIONS] URL, or [OPTIONS] -S SOCKET METHOD JSON", NULL);
	url_arg = method_arg = argv[optind];
	json_arg = o.socket ? argv[optind + 1] : NULL;
}

int main(int argc, char **argv)
{
	parse_options(argc, argv);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = on_usr1 }, NULL);
	if (o.times == 1) {
		struct client *c = o.socket ? client_new(o.socket) : NULL;
		int code = one(c);
		client_free(c);
		return code;
	}
	pthread_t *t = calloc((size_t)o.threads, sizeof(*t));
	double start = now();
	for (long i = 0; t && i < o.threads; i++)
		if (pthread_create(&t[i], NULL, many, NULL))
			die("cannot start a thread", NULL);
	for (long i = 0; t && i < o.threads; i++)
		(void)pthread_join(t[i], NULL);
	free(t);
	printf("%ld of %ld in %.1f s\n", (long)good, o.times, now() - start);
	return good == o.times ? 0 : 1;
}
