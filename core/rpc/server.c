/* server.c: the server's life: settings, start, stop. */
#include <grpc/support/log.h>

#include "core/conf/conf.h"
#include "core/rpc/events.h"
#include "core/rpc/server.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/meter.h"

static void on_gpr_log(gpr_log_func_args *a)
{
	/* What gRPC calls an error is mostly a peer that went away. */
	if (a->severity == GPR_LOG_SEVERITY_ERROR)
		log_debug("grpc: %s", a->message);
	else
		log_trace("grpc: %s", a->message);
}

static int add_methods(struct rpc_server *s, crio_err *err)
{
	size_t i;

	s->methods = map_new();
	s->ops = calloc(s->args.n_methods + 1, sizeof(*s->ops));
	if (!s->methods || !s->ops)
		return err_nomem(err);
	for (i = 0; i < s->args.n_methods; i++) {
		const struct rpc_method *m = &s->args.methods[i];
		cleanup_free char *path = path_fmt("/%s/%s", m->service, m->name);

		if (!path || map_set(s->methods, path, (void *)(uintptr_t)m) < 0)
			return err_nomem(err);
		s->ops[i] = meter_op(m->name);
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
	if (!a->quiet_ms)
		a->quiet_ms = 10 * 1000;
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
	if (r < 0) {
		rpc_server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int rpc_server_start(struct rpc_server *s, crio_err *err)
{
	if (s->started)
		return err_set(err, CRIO_E_PRECONDITION, "the RPC server has been started already");
	s->started = true;
	return conns_new(s, &s->conns, err);
}

int rpc_server_stop(struct rpc_server *s, uint32_t grace_ms)
{
	if (!s->started || s->stopping)
		return s->stuck;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_mutex_unlock(&s->lock);
	if (s->conns)
		conns_stop(s->conns);
	events_end(s->events);
	s->stuck = engine_down(s, grace_ms);
	if (s->http)
		s->stuck += http1_stop(s->http, grace_ms);
	return s->stuck;
}

void rpc_server_free(struct rpc_server *s)
{
	if (!s)
		return;
	if (rpc_server_stop(s, 1000) > 0)
		return; /* stuck handlers still use it */
	conns_free(s->conns);
	http1_free(s->http);
	events_free(s->events);
	map_free(s->methods);
	free(s->ops);
	conf_unref(s->conf);
	free((void *)(uintptr_t)s->args.socket_path);
	free((void *)(uintptr_t)s->args.version);
	(void)pthread_cond_destroy(&s->changed);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
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
	ret->grpc_up = s->grpc_up;
	pthread_mutex_unlock(&s->lock);
	ret->connections = conns_count(s->conns);
	ret->request_bytes = s->budget.used;
}
