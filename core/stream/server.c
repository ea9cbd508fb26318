/* server.c: the listener, URLs and tokens, and the life of the server. */
#include "core/stream/inner.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/conf/conf.h"
#include "core/stream/farewell.h"
#include "core/stream/guest.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define CONNS_MAX 4096u		     /* connections at once, streams included */
#define ACCEPTS 32		     /* of one turn */
#define PAUSE_NS (200 * 1000000LL) /* without descriptors: how long nothing is accepted */

/* ---- what streams call ---- */

void stream_request_free(struct stream_request *q)
{
	if (!q)
		return;
	free(q->id);
	strv_release(&q->cmd);
	free(q);
}

static void free_request(void *what)
{
	stream_request_free(what);
}

void stream_add(struct stream_server *s, struct stream *x, void (*cut)(struct stream *x))
{
	x->cut = cut;
	x->prev = s->streams.prev;
	x->next = &s->streams;
	x->prev->next = x;
	s->streams.prev = x;
	s->n_streams++;
	s->served++;
}

void server_look_quiet(struct stream_server *s)
{
	if (!s->closing || s->n_streams || s->n_farewells)
		return;
	cleanup_unlock pthread_mutex_t *l = lock(&s->lock);
	s->quiet = true;
	(void)pthread_cond_broadcast(&s->changed);
}

void stream_del(struct stream_server *s, struct stream *x)
{
	x->prev->next = x->next;
	x->next->prev = x->prev;
	s->n_streams--;
	server_look_quiet(s);
}

/* ---- URLs ---- */

static int check(const struct stream_want *w, crio_err *err)
{
	if (w->kind == STREAM_FORWARD) {
		if (w->n_ports > PORTS_MAX)
			return err_set(err, CRIO_E_INVALID, "%zu ports at once: at most %u are forwarded", w->n_ports, PORTS_MAX);
		for (size_t i = 0; i < w->n_ports; i++)
			if (w->ports[i] < 1 || w->ports[i] > UINT16_MAX)
				return err_set(err, CRIO_E_INVALID, "port %d is not from 1 to 65535", (int)w->ports[i]);
		return 0;
	}
	if (w->tty && w->err)
		return err_set(err, CRIO_E_INVALID, "tty and stderr cannot both be true");
	if (!w->in && !w->out && !w->err)
		return err_set(err, CRIO_E_INVALID, "one of stdin, stdout, or stderr must be set");
	if (w->kind == STREAM_EXEC && !w->cmd->n)
		return err_set(err, CRIO_E_INVALID, "exec command cannot be empty");
	return 0;
}

static struct stream_request *make_request(const struct stream_want *w, size_t *ret_weight)
{
	struct stream_request *q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	q->kind = w->kind;
	q->tty = w->tty;
	q->in = w->in;
	q->out = w->out;
	q->err = w->err;
	q->id = strdup(w->id);
	bool ok = q->id != NULL;
	*ret_weight = sizeof(*q) + strlen(w->id);
	for (size_t i = 0; ok && w->cmd && i < w->cmd->n; i++) {
		ok = strv_add(&q->cmd, w->cmd->v[i]) == 0;
		*ret_weight += strlen(w->cmd->v[i]) + sizeof(char *);
	}
	for (size_t i = 0; i < w->n_ports; i++)
		q->ports[q->n_ports++] = (uint16_t)w->ports[i];
	if (!ok) {
		stream_request_free(q);
		return NULL;
	}
	return q;
}

int stream_url(struct stream_server *s, const struct stream_want *w, char **ret, crio_err *err)
{
	static const char *const places[] = { [STREAM_EXEC] = "exec", [STREAM_ATTACH] = "attach", [STREAM_FORWARD] = "portforward" };
	char token[TOKEN_SIZE];
	size_t weight;
	int r = check(w, err);
	if (r < 0)
		return r;
	struct stream_request *q = make_request(w, &weight);
	if (!q)
		return err_nomem(err);
	r = tokens_put(s->tokens, q, weight, now_mono_ns(), token, err);
	if (r < 0) {
		stream_request_free(q);
		return r;
	}
	*ret = path_fmt("%s/%s/%s", s->base, places[w->kind], token);
	return *ret ? 0 : err_nomem(err);
}

/* ---- the listener ---- */

static bool may_complain(struct stream_server *s)
{
	int64_t now = pump_now(s->pump);
	if (s->complained_ns && now - s->complained_ns < 1000000000)
		return false;
	s->complained_ns = now;
	return true;
}

static void on_accept_again(void *arg)
{
	struct stream_server *s = arg;
	(void)pump_watch(s->pump, &s->listener, EPOLLIN);
}

static void on_connection(void *arg, uint32_t events)
{
	struct stream_server *s = arg;
	(void)events;
	for (int i = 0; i < ACCEPTS; i++) {
		int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			if (s->place.n < CONNS_MAX && guest_begin(s, fd))
				continue;
			(void)safe_close(fd);
			if (may_complain(s))
				log_warn("The streaming server refuses a connection: %u are open, at most %u may be, or there is no memory",
					 s->place.n, CONNS_MAX);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno == EAGAIN)
			break;
		/* It stays queued and would wake us for ever. */
		if (may_complain(s))
			log_error("The streaming server cannot accept connections: %s; waiting", strerror(errno));
		(void)pump_watch(s->pump, &s->listener, 0);
		pump_at(s->pump, &s->accept_again, pump_now(s->pump) + PAUSE_NS, on_accept_again, s);
		break;
	}
	s->n_conns = s->place.n;
}

/* "" is all addresses, as CRI-O has it. */
static int make_address(const struct conf_api *c, struct sockaddr_storage *ret, socklen_t *ret_n, crio_err *err)
{
	struct sockaddr_in *v4 = (void *)ret;
	struct sockaddr_in6 *v6 = (void *)ret;
	int64_t port = 0;
	if (*c->stream_port && !str_to_i64(c->stream_port, 0, UINT16_MAX, &port))
		return err_set(err, CRIO_E_INVALID, "stream_port '%.100s' is no port number", c->stream_port);
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, c->stream_address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		*ret_n = sizeof(*v4);
	} else if (!*c->stream_address || inet_pton(AF_INET6, c->stream_address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*ret_n = sizeof(*v6);
	} else {
		return err_set(err, CRIO_E_INVALID, "stream_address '%.100s' is no IP address", c->stream_address);
	}
	return 0;
}

static int listen_at(struct stream_server *s, const struct conf_api *c, crio_err *err)
{
	struct sockaddr_storage a;
	socklen_t n = 0;
	char ip[INET6_ADDRSTRLEN] = "";
	int on = 1, r = make_address(c, &a, &n, err);
	if (r < 0)
		return r;
	cleanup_close int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(err, errno, "streaming server: socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&a, n) < 0 || listen(fd, SOMAXCONN) < 0 || getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		return err_errno(err, errno, "streaming server: listen at stream_address '%s', stream_port %s", c->stream_address, c->stream_port);
	const struct sockaddr_in *v4 = (const void *)&a;
	const struct sockaddr_in6 *v6 = (const void *)&a;
	bool is_6 = a.ss_family == AF_INET6;
	(void)inet_ntop(a.ss_family, is_6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, ip, sizeof(ip));
	s->base = path_fmt(is_6 ? "%s://[%s]:%u" : "%s://%s:%u", s->tls ? "https" : "http", ip, ntohs(is_6 ? v6->sin6_port : v4->sin_port));
	if (!s->base)
		return err_nomem(err);
	watch_init(&s->listener, move_fd(fd), on_connection, s);
	return pump_watch(s->pump, &s->listener, EPOLLIN) ? 0 : err_errno(err, errno, "streaming server: watch the listener");
}

/* ---- life ---- */

static int set_up(struct stream_server *s, const struct conf_api *c, crio_err *err)
{
	int r = pump_new(&s->pump, err);
	if (r < 0)
		return r;
	s->place = (struct conn_place){ .pump = s->pump, .idle_ns = c->stream_idle_timeout_ns };
	s->tokens = tokens_new(free_request);
	if (!s->tokens)
		return err_nomem(err);
	if (c->stream_enable_tls) {
		struct tls_args t = { .who = "The streaming server",
				      .cert = c->stream_tls_cert,
				      .key = c->stream_tls_key,
				      .ca = c->stream_tls_ca,
				      .only_13 = c->tls_min_version == CONF_TLS13,
				      .ciphers = &c->tls_cipher_suites };
		r = tls_new(&t, &s->tls, err);
		if (r < 0)
			return err_wrap(err, "streaming server");
	}
	r = listen_at(s, c, err);
	return r < 0 ? r : pump_start(s->pump, "crio-streams", err);
}

static void tear_down(struct stream_server *s)
{
	(void)safe_close(s->listener.fd);
	tls_free(s->tls);
	tokens_free(s->tokens);
	pump_free(s->pump);
	free(s->base);
	(void)pthread_cond_destroy(&s->changed);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

int stream_server_new(const struct stream_args *args, struct stream_server **ret, crio_err *err)
{
	struct stream_server *s = calloc(1, sizeof(*s));
	pthread_condattr_t a;
	if (!s)
		return err_nomem(err);
	s->lifecycle = args->lifecycle;
	s->workers = args->workers;
	s->listener = (struct watch)WATCH_NONE;
	s->streams.prev = s->streams.next = &s->streams;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_condattr_init(&a);
	(void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->changed, &a);
	(void)pthread_condattr_destroy(&a);
	int r = set_up(s, &args->conf->api, err);
	if (r < 0) {
		tear_down(s);
		return r;
	}
	if (s->tls)
		log_info("TLS enabled for streaming server");
	log_debug("The streaming server serves at %s", s->base);
	*ret = s;
	return 0;
}

static void stop_task(void *arg)
{
	struct stream_server *s = arg;
	s->closing = true;
	pump_timer_off(s->pump, &s->accept_again);
	(void)pump_watch(s->pump, &s->listener, 0);
	guests_end(s);
	/* One that is cut may leave the ring at once. */
	for (struct stream *x = s->streams.next, *next; x != &s->streams; x = next) {
		next = x->next;
		x->cut(x);
	}
	conns_abort(&s->place); /* those whose streams have finished, and that are only to be closed */
	farewells_hurry(s);
	server_look_quiet(s);
}

unsigned stream_server_stop(struct stream_server *s, uint32_t timeout_ms)
{
	int64_t until = now_mono_ns() + (int64_t)timeout_ms * 1000000;
	struct timespec ts = { until / 1000000000, until % 1000000000 };
	if (!s->stop_task.fn) {
		s->stop_task = (struct pump_task){ .fn = stop_task, .arg = s };
		pump_post(s->pump, &s->stop_task);
	}
	(void)pthread_mutex_lock(&s->lock);
	while (!s->quiet)
		if (pthread_cond_timedwait(&s->changed, &s->lock, &ts) == ETIMEDOUT)
			break;
	s->stuck = !s->quiet;
	(void)pthread_mutex_unlock(&s->lock);
	return s->n_streams;
}

void stream_server_free(struct stream_server *s)
{
	if (!s)
		return;
	(void)stream_server_stop(s, 10000);
	if (s->stuck)
		return;
	pump_stop(s->pump);
	tear_down(s);
}

void stream_server_stats(struct stream_server *s, struct stream_stats *ret)
{
	*ret = (struct stream_stats){ .connections = s->n_conns, .streams = s->n_streams, .served = s->served };
}
