/* server.c: the metrics endpoint. */
#include "core/observe/server.h"

#include <netdb.h>
#include <sys/socket.h>

#include "core/conf/conf.h"
#include "core/observe/text.h"
#include "core/stream/conn.h"
#include "core/stream/http.h"
#include "core/stream/job.h"
#include "core/stream/selfsigned.h"
#include "core/stream/tls.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/meter.h"
#include "core/util/sock.h"

#define CONNS_MAX 64u
#define VISIT_NS (30 * 1000000000LL) /* for TLS and the request; and without a byte taken of the answer */
#define PAUSE_NS (200 * 1000000LL)	 /* without descriptors: how long nothing is accepted */
#define TEXT_MAX (16u << 20)
#define PIECE (256u << 10) /* of the answer, given to the connection at once */

enum { TCP, UNIX, LISTENERS };

struct listener {
	struct observe *o;
	struct watch watch;
	struct pump_timer again;
};

struct observe {
	struct workers *workers;
	struct plugins *plugins;
	struct pump *pump;
	struct tls *tls; /* the pump's; NULL: none */
	uint64_t chosen;
	struct listener listeners[LISTENERS];
	char *socket;
	struct sock_file socket_file;
	/* Of the pump. */
	struct conn_place place;
	struct visit *visits;
	struct visit *working; /* the one whose text is being made; the others wait */
	bool closing;
	struct pump_task stop_task;
	/* Shared. */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	char *runtime;
	bool quiet; /* closing, and no visit is left */
};

/* One connection and its request. */
struct visit {
	struct visit *prev, *next;
	struct observe *o;
	struct conn *conn; /* NULL: it has gone while the text was made */
	struct buf head, text;
	size_t at; /* of the text, given to the connection */
	bool waiting; /* for its text to be begun */
	struct job job;
};

static void look_quiet(struct observe *o)
{
	if (!o->closing || o->visits)
		return;
	cleanup_unlock pthread_mutex_t *l = lock(&o->lock);
	o->quiet = true;
	(void)pthread_cond_broadcast(&o->changed);
}

static void visit_free(struct visit *v)
{
	struct observe *o = v->o;
	if (v->prev)
		v->prev->next = v->next;
	else
		o->visits = v->next;
	if (v->next)
		v->next->prev = v->prev;
	buf_release(&v->head);
	buf_release(&v->text);
	free(v);
	look_quiet(o);
}

static void refuse(struct visit *v, unsigned status, const char *extra, const char *text)
{
	cleanup_buf struct buf out = BUF_INIT;
	http_reply(&out, status, extra, text);
	conn_send(v->conn, out.p, out.n);
	conn_finish(v->conn);
	visit_free(v);
}

/* ---- the answer ---- */

/* Gives the connection as much as it has room for. */
static void send_on(struct visit *v)
{
	while (v->at < v->text.n && conn_is_clear(v->conn)) {
		size_t n = v->text.n - v->at;
		if (n > PIECE)
			n = PIECE;
		conn_send(v->conn, v->text.p + v->at, n);
		v->at += n;
	}
	if (v->at < v->text.n)
		return; /* drained() goes on */
	conn_finish(v->conn);
	visit_free(v);
}

static void work(struct job *j)
{
	struct visit *v = j->arg;
	cleanup_free char *runtime = NULL;
	(void)pthread_mutex_lock(&v->o->lock);
	runtime = strdup(v->o->runtime);
	(void)pthread_mutex_unlock(&v->o->lock);
	struct text_args a = { .chosen = v->o->chosen, .default_runtime = runtime ? runtime : "", .plugins = v->o->plugins, .proc = "/proc" };
	text_write(&v->text, &a);
}

static void start_next(struct observe *o);

static void after(struct job *j)
{
	struct visit *v = j->arg;
	cleanup_buf struct buf out = BUF_INIT;
	v->o->working = NULL;
	start_next(v->o);
	if (!v->conn) {
		visit_free(v);
		return;
	}
	if (buf_bad(&v->text)) {
		refuse(v, 500, "", "the figures do not fit into memory\n");
		return;
	}
	buf_addf(&out, "HTTP/1.1 200 OK\r\nContent-Type: " TEXT_TYPE "\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", v->text.n);
	conn_must_read(v->conn, VISIT_NS);
	conn_send(v->conn, out.p, out.n);
	send_on(v);
}

/* One text at a time: a flood of requests costs one thread, and waits. */
static void start_next(struct observe *o)
{
	struct visit *v = NULL;
	for (struct visit *x = o->visits; x; x = x->next)
		v = x->waiting ? x : v; /* the oldest is the last of them */
	if (!v || o->working || o->closing)
		return;
	v->waiting = false;
	o->working = v;
	v->job = (struct job){ .pump = o->pump, .workers = o->workers, .class = WORK_FAST, .work = work, .after = after, .arg = v };
	job_start(&v->job);
}

/* ---- the request ---- */

static void serve(struct visit *v, const struct http_request *q)
{
	if (!str_eq(q->path, "/metrics")) {
		refuse(v, 404, "", "404 page not found\n");
		return;
	}
	if (!str_eq(q->method, "GET")) {
		refuse(v, 405, "Allow: GET\r\n", "405: Method Not Allowed\n");
		return;
	}
	conn_until(v->conn, 0, NULL);
	conn_hold(v->conn, true);
	v->waiting = true;
	start_next(v->o);
}

static void input(void *arg, const uint8_t *p, size_t n)
{
	struct visit *v = arg;
	struct http_request q;
	cleanup_buf struct buf why = BUF_INIT;
	size_t before = v->head.n, room = HTTP_HEAD_MAX - before;
	if (v->waiting || v == v->o->working || v->text.n)
		return; /* behind the request: nothing is asked twice */
	buf_add(&v->head, p, n < room ? n : room);
	if (buf_bad(&v->head)) {
		refuse(v, 500, "", "no memory\n");
		return;
	}
	size_t end = http_head_end(v->head.p, v->head.n, before);
	if (!end && v->head.n < HTTP_HEAD_MAX)
		return;
	unsigned status = end ? http_parse(v->head.p, end, &q, &why) : 431;
	if (status)
		refuse(v, status, "", why.p ? why.p : "the head of the request is too long\n");
	else
		serve(v, &q);
}

static void drained(void *arg)
{
	struct visit *v = arg;
	if (v->at || v->text.n)
		send_on(v);
}

static void gone(void *arg, const char *why)
{
	struct visit *v = arg;
	log_debug("The metrics endpoint lost %s: %s", conn_peer(v->conn), why);
	v->conn = NULL;
	if (v != v->o->working)
		visit_free(v);
}

static const struct conn_user user = { input, drained, gone };

/* ---- connections ---- */

/* The descriptor is taken on success. */
static bool visit_begin(struct observe *o, int fd)
{
	struct visit *v = calloc(1, sizeof(*v));
	SSL *ssl = NULL;
	if (!v)
		return false;
	v->o = o;
	buf_init(&v->head, 0);
	buf_init(&v->text, TEXT_MAX);
	if (o->tls && tls_accept(o->tls, fd, &ssl, NULL) < 0) {
		free(v);
		return false;
	}
	v->conn = conn_new(&o->place, fd, ssl, &user, v);
	if (!v->conn) {
		SSL_free(ssl);
		free(v);
		return false;
	}
	conn_until(v->conn, pump_now(o->pump) + VISIT_NS, "no request came in time");
	v->next = o->visits;
	if (v->next)
		v->next->prev = v;
	o->visits = v;
	return true;
}

static void on_accept_again(void *arg)
{
	struct listener *l = arg;
	(void)pump_watch(l->o->pump, &l->watch, EPOLLIN);
}

/* One at a time: with several waiting, the loop comes back at once. */
static void on_connection(void *arg, uint32_t events)
{
	struct listener *l = arg;
	(void)events;
	int fd = accept4(l->watch.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		if (l->o->place.n >= CONNS_MAX || !visit_begin(l->o, fd))
			(void)safe_close(fd);
		return;
	}
	if (errno == EINTR || errno == ECONNABORTED || errno == EAGAIN)
		return;
	/* It stays queued and would wake us for ever. */
	(void)pump_watch(l->o->pump, &l->watch, 0);
	pump_at(l->o->pump, &l->again, pump_now(l->o->pump) + PAUSE_NS, on_accept_again, l);
}

static int listen_fd(struct observe *o, int which, int fd, const char *where, crio_err *err)
{
	struct listener *l = &o->listeners[which];
	watch_init(&l->watch, fd, on_connection, l);
	if (!pump_watch(o->pump, &l->watch, EPOLLIN))
		return err_errno(err, errno, "metrics endpoint: watch %s", where);
	log_info("Serving metrics on %s using %s", where, o->tls ? "HTTPS" : "HTTP");
	return 0;
}

static int open_address(const struct addrinfo *a)
{
	int on = 1;
	cleanup_close int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0)
		return -1;
	return move_fd(fd);
}

/* A name may stand for several addresses: the first of IPv4, else the first; "" is all of the node's. */
static int listen_tcp(struct observe *o, const struct conf_metrics *c, crio_err *err)
{
	struct addrinfo want = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *all = NULL;
	char port[8];
	cleanup_free char *where = path_fmt(strchr(c->metrics_host, ':') ? "[%s]:%d" : "%s:%d", c->metrics_host, (int)c->metrics_port);
	if (!where)
		return err_nomem(err);
	(void)snprintf(port, sizeof(port), "%d", (int)c->metrics_port);
	int e = getaddrinfo(*c->metrics_host ? c->metrics_host : "::", port, &want, &all);
	if (e)
		return err_set(err, CRIO_E_INVALID, "metrics_host '%.100s': %s", c->metrics_host, gai_strerror(e));
	const struct addrinfo *a = all;
	while (a && a->ai_family != AF_INET)
		a = a->ai_next;
	int fd = open_address(a ? a : all), saved = errno;
	freeaddrinfo(all);
	if (fd < 0)
		return err_errno(err, saved, "metrics endpoint: listen at metrics_host '%.100s', metrics_port %d", c->metrics_host,
				 (int)c->metrics_port);
	return listen_fd(o, TCP, fd, where, err);
}

static int listen_unix(struct observe *o, const char *path, crio_err *err)
{
	int fd = -1, r = sock_listen_unix(path, 0660, &fd, &o->socket_file, err);
	if (r < 0)
		return err_wrap(err, "metrics_socket");
	o->socket = strdup(path);
	if (!o->socket) {
		sock_unlink(path, &o->socket_file);
		(void)safe_close(fd);
		return err_nomem(err);
	}
	return listen_fd(o, UNIX, fd, path, err);
}

/* ---- life ---- */

static int set_up_tls(struct observe *o, const struct conf *c, crio_err *err)
{
	const struct conf_metrics *m = &c->metrics;
	struct tls_args t = { .who = "The metrics endpoint",
			      .cert = m->metrics_cert,
			      .key = m->metrics_key,
			      .ca = "",
			      .only_13 = c->api.tls_min_version == CONF_TLS13,
			      .ciphers = &c->api.tls_cipher_suites };
	/* One of the two means nothing, as with CRI-O; but then nobody wants to send in the clear. */
	if (!*m->metrics_cert != !*m->metrics_key)
		return err_set(err, CRIO_E_INVALID, "metrics_cert and metrics_key belong together: set both, or none");
	if (!*m->metrics_cert)
		return 0;
	int r = selfsigned_make(m->metrics_cert, m->metrics_key, err);
	return r < 0 ? r : tls_new(&t, &o->tls, err);
}

static int set_up(struct observe *o, const struct conf *c, crio_err *err)
{
	o->runtime = strdup(c->runtime.default_runtime);
	if (!o->runtime)
		return err_nomem(err);
	int r = pump_new(&o->pump, err);
	if (r < 0)
		return r;
	o->place = (struct conn_place){ .pump = o->pump };
	o->chosen = text_chosen(&c->metrics.metrics_collectors);
	r = set_up_tls(o, c, err);
	if (r < 0)
		return err_wrap(err, "metrics endpoint");
	r = listen_tcp(o, &c->metrics, err);
	if (r == 0 && *c->metrics.metrics_socket)
		r = listen_unix(o, c->metrics.metrics_socket, err);
	return r < 0 ? r : pump_start(o->pump, "crio-metrics", err);
}

static void tear_down(struct observe *o)
{
	for (int i = 0; i < LISTENERS; i++)
		(void)safe_close(o->listeners[i].watch.fd);
	if (o->socket)
		sock_unlink(o->socket, &o->socket_file);
	pump_free(o->pump);
	tls_free(o->tls);
	free(o->socket);
	free(o->runtime);
	(void)pthread_cond_destroy(&o->changed);
	(void)pthread_mutex_destroy(&o->lock);
	free(o);
}

int observe_new(const struct observe_args *a, struct observe **ret, crio_err *err)
{
	struct observe *o = calloc(1, sizeof(*o));
	if (!o)
		return err_nomem(err);
	o->workers = a->workers;
	o->plugins = a->plugins;
	for (int i = 0; i < LISTENERS; i++)
		o->listeners[i] = (struct listener){ .o = o, .watch = WATCH_NONE };
	(void)pthread_mutex_init(&o->lock, NULL);
	(void)pthread_cond_init(&o->changed, NULL);
	int r = set_up(o, a->conf, err);
	if (r < 0) {
		tear_down(o);
		return r;
	}
	meter_enable();
	*ret = o;
	return 0;
}

void observe_set_conf(struct observe *o, const struct conf *conf)
{
	char *now = strdup(conf->runtime.default_runtime);
	if (!now)
		return;
	cleanup_unlock pthread_mutex_t *l = lock(&o->lock);
	free(o->runtime);
	o->runtime = now;
}

static void stop_task(void *arg)
{
	struct observe *o = arg;
	o->closing = true;
	for (int i = 0; i < LISTENERS; i++) {
		pump_timer_off(o->pump, &o->listeners[i].again);
		(void)pump_watch(o->pump, &o->listeners[i].watch, 0);
	}
	conns_abort(&o->place);
	for (struct visit *v = o->visits, *next; v; v = next) {
		next = v->next;
		v->conn = NULL;
		if (v != o->working)
			visit_free(v);
	}
	look_quiet(o);
}

void observe_free(struct observe *o)
{
	if (!o)
		return;
	o->stop_task = (struct pump_task){ .fn = stop_task, .arg = o };
	pump_post(o->pump, &o->stop_task);
	(void)pthread_mutex_lock(&o->lock);
	while (!o->quiet)
		(void)pthread_cond_wait(&o->changed, &o->lock);
	(void)pthread_mutex_unlock(&o->lock);
	pump_stop(o->pump);
	tear_down(o);
}
