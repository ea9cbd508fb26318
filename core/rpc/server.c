/* server.c: the gRPC server's life: settings, pollers, shutdown. */
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <stdatomic.h>

#include "core/conf/conf.h"
#include "core/rpc/events.h"
#include "core/rpc/server.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define QUOTA_BYTES (1024ull << 20) /* of gRPC's own buffers */
#define METADATA_MAX (64 << 10)

static void on_gpr_log(gpr_log_func_args *a)
{
	/* What gRPC calls an error is mostly a peer that went away. */
	if (a->severity == GPR_LOG_SEVERITY_ERROR)
		log_debug("grpc: %s", a->message);
	else
		log_trace("grpc: %s", a->message);
}

static void *poller(void *arg)
{
	struct rpc_server *s = arg;

	(void)pthread_setname_np(pthread_self(), "crio-grpc");
	for (;;) {
		grpc_event ev = grpc_completion_queue_next(s->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		struct rpc_tag *t = ev.tag;

		if (ev.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (ev.type != GRPC_OP_COMPLETE)
			continue;
		RPC_TAKE(t);
		t->fn(t, ev.success);
	}
}

/* The shutdown's tag is global to a server: it carries the server. */
struct shutdown_tag {
	struct rpc_tag tag;
	struct rpc_server *s;
};

static void on_cq_down(struct rpc_tag *t, bool ok)
{
	struct shutdown_tag *st = (struct shutdown_tag *)(void *)t;
	struct rpc_server *s = st->s;

	(void)ok;
	pthread_mutex_lock(&s->lock);
	s->shut_down = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	free(st);
}

static grpc_arg int_arg(const char *key, int v)
{
	grpc_arg a = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = v};

	return a;
}

static int clamp_int(uint64_t v)
{
	return v > INT32_MAX ? INT32_MAX : (int)v;
}

static int make_grpc(struct rpc_server *s, crio_err *err)
{
	grpc_resource_quota *quota = grpc_resource_quota_create("crio");
	grpc_arg v[] = {
	    int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, clamp_int(s->args.max_recv_bytes)),
	    int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1), /* checked in serve.c, which says what to do */
	    int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, clamp_int(s->args.max_streams)),
	    int_arg(GRPC_ARG_MAX_CONNECTION_IDLE_MS, clamp_int(s->args.idle_ms)),
	    int_arg(GRPC_ARG_MAX_METADATA_SIZE, METADATA_MAX),
	    int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
	    {.type = GRPC_ARG_POINTER,
	     .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
	     .value.pointer = {quota, grpc_resource_quota_arg_vtable()}},
	};
	grpc_channel_args args = {ARRAY_SIZE(v), v};

	grpc_resource_quota_resize(quota, QUOTA_BYTES);
	s->server = grpc_server_create(&args, NULL);
	grpc_resource_quota_unref(quota);
	s->cq = grpc_completion_queue_create_for_next(NULL);
	if (!s->server || !s->cq)
		return err_set(err, CRIO_E_INTERNAL, "cannot make the gRPC server");
	grpc_server_register_completion_queue(s->server, s->cq, NULL);
	return 0;
}

static int add_methods(struct rpc_server *s, crio_err *err)
{
	size_t i;

	s->methods = map_new();
	if (!s->methods)
		return err_nomem(err);
	for (i = 0; i < s->args.n_methods; i++) {
		const struct rpc_method *m = &s->args.methods[i];
		cleanup_free char *path = path_fmt("/%s/%s", m->service, m->name);

		if (!path || map_set(s->methods, path, (void *)(uintptr_t)m) < 0)
			return err_nomem(err);
	}
	return 0;
}

static void fill_defaults(struct rpc_args *a)
{
	if (!a->max_recv_bytes)
		a->max_recv_bytes = 80u << 20;
	if (!a->max_send_bytes)
		a->max_send_bytes = 80u << 20;
	if (!a->max_connections)
		a->max_connections = 500;
	if (!a->max_streams)
		a->max_streams = 250;
	if (!a->idle_ms)
		a->idle_ms = 600 * 1000;
	if (!a->first_bytes_ms)
		a->first_bytes_ms = 10 * 1000;
	if (!a->request_budget)
		a->request_budget = 512ull << 20;
	if (!a->version)
		a->version = PACKAGE_VERSION;
}

int rpc_server_new(const struct rpc_args *args, struct rpc_server **ret, crio_err *err)
{
	struct rpc_server *s = calloc(1, sizeof(*s));
	pthread_condattr_t ca;
	int r = 0;

	if (!s)
		return err_nomem(err);
	gpr_set_log_function(on_gpr_log);
	grpc_init();
	s->args = *args;
	fill_defaults(&s->args);
	s->conf = args->conf ? conf_ref(args->conf) : NULL;
	s->budget.limit = s->args.request_budget;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_condattr_init(&ca);
	(void)pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->changed, &ca);
	(void)pthread_condattr_destroy(&ca);
	s->args.socket_path = strdup(args->socket_path);
	s->args.version = strdup(s->args.version);
	if (!s->args.socket_path || !s->args.version)
		r = err_nomem(err);
	if (!r && !s->args.http) {
		r = http1_new(s, &s->http, err);
		s->args.http = http1_add;
		s->args.http_arg = s->http;
	}
	if (!r && args->lifecycle)
		r = events_new(args->lifecycle, &s->events, err);
	if (!r)
		r = add_methods(s, err);
	if (!r)
		r = make_grpc(s, err);
	if (r < 0) {
		rpc_server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int rpc_server_start(struct rpc_server *s, crio_err *err)
{
	int i, r;

	if (s->started)
		return err_set(err, CRIO_E_PRECONDITION, "the RPC server has been started already");
	s->started = true;
	grpc_server_start(s->server);
	for (i = 0; i < RPC_ACCEPTS; i++)
		if (rpc_serve_next(s) < 0)
			return err_nomem(err);
	for (i = 0; i < RPC_POLLERS; i++) {
		r = pthread_create(&s->pollers[i], NULL, poller, s);
		if (r)
			return err_errno(err, r, "start a gRPC poller");
		s->n_pollers++;
	}
	return conns_new(s, &s->conns, err);
}

static struct timespec after_ms(uint32_t ms)
{
	int64_t ns = now_mono_ns() + (int64_t)ms * 1000000;
	struct timespec ts = {ns / 1000000000, ns % 1000000000};

	return ts;
}

/* Waits until all calls are done and gRPC is down; false: time is up. Lock held. */
static bool wait_down(struct rpc_server *s, uint32_t ms)
{
	struct timespec until = after_ms(ms);

	while (!(s->shut_down && !s->active))
		if (pthread_cond_timedwait(&s->changed, &s->lock, &until) == ETIMEDOUT)
			return s->shut_down && !s->active;
	return true;
}

int rpc_server_stop(struct rpc_server *s, uint32_t grace_ms)
{
	struct shutdown_tag *st;
	bool down;

	if (!s->started || s->stopped)
		return s->stuck;
	s->stopped = true;
	events_end(s->events);
	if (s->conns)
		conns_stop(s->conns);
	if (!s->n_pollers)
		return 0; /* it never served; rpc_server_free drains the queue */
	st = calloc(1, sizeof(*st));
	if (!st)
		return s->stuck = 1;
	st->tag.fn = on_cq_down;
	st->s = s;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_mutex_unlock(&s->lock);
	RPC_GIVE(&st->tag);
	grpc_server_shutdown_and_notify(s->server, s->cq, &st->tag);
	pthread_mutex_lock(&s->lock);
	down = wait_down(s, grace_ms);
	pthread_mutex_unlock(&s->lock);
	if (!down) {
		grpc_server_cancel_all_calls(s->server);
		pthread_mutex_lock(&s->lock);
		down = wait_down(s, grace_ms);
		s->stuck = down ? 0 : s->in_handlers ? (int)s->in_handlers : 1;
		pthread_mutex_unlock(&s->lock);
	}
	if (s->http)
		s->stuck += http1_stop(s->http, grace_ms);
	return s->stuck;
}

/* Takes what is left in the queue when no poller runs. */
static void drain(struct rpc_server *s)
{
	grpc_completion_queue_shutdown(s->cq);
	if (s->n_pollers) {
		while (s->n_pollers)
			(void)pthread_join(s->pollers[--s->n_pollers], NULL);
		return;
	}
	(void)poller(s);
}

/* A server that was started but has no pollers must still be shut down through its queue. */
static void shut_unserved(struct rpc_server *s)
{
	struct shutdown_tag *st = calloc(1, sizeof(*st));

	if (!st)
		return;
	st->tag.fn = on_cq_down;
	st->s = s;
	grpc_server_shutdown_and_notify(s->server, s->cq, &st->tag);
	while (!s->shut_down) {
		grpc_event ev = grpc_completion_queue_next(s->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		struct rpc_tag *t = ev.tag;

		t->fn(t, ev.success);
	}
}

void rpc_server_free(struct rpc_server *s)
{
	if (!s)
		return;
	if (rpc_server_stop(s, 1000) > 0)
		return; /* stuck handlers still use it */
	if (s->server && !s->shut_down)
		shut_unserved(s);
	conns_free(s->conns);
	http1_free(s->http);
	if (s->server)
		grpc_server_destroy(s->server);
	if (s->cq) {
		drain(s);
		grpc_completion_queue_destroy(s->cq);
	}
	map_free(s->methods);
	events_free(s->events);
	conf_unref(s->conf);
	free((void *)(uintptr_t)s->args.socket_path);
	free((void *)(uintptr_t)s->args.version);
	(void)pthread_cond_destroy(&s->changed);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
	grpc_shutdown();
}

void rpc_server_set_conf(struct rpc_server *s, const struct conf *conf)
{
	const struct conf *old;

	pthread_mutex_lock(&s->lock);
	old = s->conf;
	s->conf = conf ? conf_ref(conf) : NULL;
	pthread_mutex_unlock(&s->lock);
	conf_unref(old);
}

void rpc_server_stats(struct rpc_server *s, struct rpc_stats *ret)
{
	pthread_mutex_lock(&s->lock);
	ret->calls = s->calls;
	ret->calls_active = s->active;
	pthread_mutex_unlock(&s->lock);
	ret->connections = conns_count(s->conns);
	ret->request_bytes = s->budget.used;
}
