/*
 * engine.c: gRPC's half of the server, there only while somebody speaks gRPC. Its timer threads wake every second for nothing,
 * and it holds memory; bringing it up takes less than a millisecond. So the accept thread brings it up for the first connection
 * (conns.c) and down when none has been there for a while. No call outlives it: each belongs to a connection's end or to the
 * count `active`, which is 0 before it goes down.
 */
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <malloc.h>

#include "core/rpc/server.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define QUOTA_BYTES (1024ull << 20) /* of gRPC's own buffers */
#define METADATA_MAX (64 << 10)

static void *poller(void *arg)
{
	struct rpc_engine *e = arg;

	(void)pthread_setname_np(pthread_self(), "crio-grpc");
	for (;;) {
		grpc_event ev = grpc_completion_queue_next(e->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		struct rpc_tag *t = ev.tag;

		if (ev.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (ev.type != GRPC_OP_COMPLETE)
			continue;
		RPC_TAKE(t);
		t->fn(t, ev.success);
	}
}

static void on_shut_down(struct rpc_tag *t, bool ok)
{
	struct rpc_engine *e = (struct rpc_engine *)(void *)((char *)t - offsetof(struct rpc_engine, shutdown));

	(void)ok;
	pthread_mutex_lock(&e->s->lock);
	e->shut_down = true;
	pthread_cond_broadcast(&e->s->changed);
	pthread_mutex_unlock(&e->s->lock);
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

static int make_grpc(struct rpc_engine *e, crio_err *err)
{
	const struct rpc_args *args = &e->s->args;
	grpc_resource_quota *quota = grpc_resource_quota_create("crio");
	grpc_arg v[] = {
	    int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, clamp_int(args->max_recv_bytes)),
	    int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1), /* checked in serve.c, which says what to do */
	    int_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, clamp_int(args->max_streams)),
	    int_arg(GRPC_ARG_MAX_CONNECTION_IDLE_MS, clamp_int(args->idle_ms)),
	    int_arg(GRPC_ARG_MAX_METADATA_SIZE, METADATA_MAX),
	    int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
	    {.type = GRPC_ARG_POINTER,
	     .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
	     .value.pointer = {quota, grpc_resource_quota_arg_vtable()}},
	};
	grpc_channel_args channel_args = {ARRAY_SIZE(v), v};

	grpc_resource_quota_resize(quota, QUOTA_BYTES);
	e->server = grpc_server_create(&channel_args, NULL);
	grpc_resource_quota_unref(quota);
	e->cq = grpc_completion_queue_create_for_next(NULL);
	if (!e->server || !e->cq)
		return err_set(err, CRIO_E_INTERNAL, "cannot make the gRPC server");
	grpc_server_register_completion_queue(e->server, e->cq, NULL);
	grpc_server_start(e->server);
	return 0;
}

/* The queue's events until it is empty, by the pollers or, where there are none, here. */
static void drain(struct rpc_engine *e)
{
	grpc_completion_queue_shutdown(e->cq);
	if (!e->n_pollers)
		(void)poller(e);
	while (e->n_pollers)
		(void)pthread_join(e->pollers[--e->n_pollers], NULL);
}

static void engine_free(struct rpc_engine *e)
{
	if (e->server)
		grpc_server_destroy(e->server);
	if (e->cq) {
		drain(e);
		grpc_completion_queue_destroy(e->cq);
	}
	free(e);
	grpc_shutdown_blocking();
}

static void ask_shutdown(struct rpc_engine *e)
{
	e->shutdown.fn = on_shut_down;
	RPC_GIVE(&e->shutdown);
	grpc_server_shutdown_and_notify(e->server, e->cq, &e->shutdown);
}

/* A server that was started but has no pollers must still be shut down through its queue. */
static void shut_unserved(struct rpc_engine *e)
{
	ask_shutdown(e);
	while (!e->shut_down) {
		grpc_event ev = grpc_completion_queue_next(e->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		struct rpc_tag *t = ev.tag;

		t->fn(t, ev.success);
	}
}

static void set_engine(struct rpc_server *s, struct rpc_engine *e)
{
	s->engine = e;
	pthread_mutex_lock(&s->lock);
	s->grpc_up = e != NULL;
	pthread_mutex_unlock(&s->lock);
}

int engine_up(struct rpc_server *s, crio_err *err)
{
	struct rpc_engine *e;
	int i, r;

	if (s->engine)
		return 0;
	e = calloc(1, sizeof(*e));
	if (!e)
		return err_nomem(err);
	grpc_init();
	e->s = s;
	r = make_grpc(e, err);
	if (r < 0) {
		engine_free(e);
		return r;
	}
	for (i = 0; !r && i < RPC_ACCEPTS; i++)
		r = rpc_serve_next(e) < 0 ? err_nomem(err) : 0;
	for (i = 0; !r && i < RPC_POLLERS; i++) {
		r = pthread_create(&e->pollers[i], NULL, poller, e);
		if (r)
			r = i ? 0 : err_errno(err, r, "start a gRPC poller"); /* one is enough */
		else
			e->n_pollers++;
	}
	if (r < 0) {
		if (!e->n_pollers)
			shut_unserved(e);
		engine_free(e);
		return r;
	}
	set_engine(s, e);
	log_debug("gRPC is up");
	return 0;
}

void engine_add(struct rpc_server *s, int fd)
{
	grpc_server_credentials *creds = grpc_insecure_server_credentials_create();

	grpc_server_add_channel_from_fd(s->engine->server, fd, creds);
	grpc_server_credentials_release(creds);
}

bool engine_is_quiet(struct rpc_server *s)
{
	bool quiet;

	pthread_mutex_lock(&s->lock);
	quiet = !s->active;
	pthread_mutex_unlock(&s->lock);
	return quiet;
}

/* Waits until all calls are done and gRPC is down; false: time is up. Lock held. */
static bool wait_down(struct rpc_engine *e, uint32_t ms)
{
	int64_t ns = now_mono_ns() + (int64_t)ms * 1000000;
	struct timespec until = {ns / 1000000000, ns % 1000000000};
	struct rpc_server *s = e->s;

	while (!(e->shut_down && !s->active))
		if (pthread_cond_timedwait(&s->changed, &s->lock, &until) == ETIMEDOUT)
			return e->shut_down && !s->active;
	return true;
}

int engine_down(struct rpc_server *s, uint32_t grace_ms)
{
	struct rpc_engine *e = s->engine;
	int stuck = 0;
	bool down;

	if (!e)
		return 0;
	ask_shutdown(e);
	pthread_mutex_lock(&s->lock);
	down = wait_down(e, grace_ms);
	pthread_mutex_unlock(&s->lock);
	if (!down) {
		grpc_server_cancel_all_calls(e->server);
		pthread_mutex_lock(&s->lock);
		if (!wait_down(e, grace_ms))
			stuck = s->in_handlers ? (int)s->in_handlers : 1;
		pthread_mutex_unlock(&s->lock);
	}
	set_engine(s, NULL);
	if (stuck)
		return stuck; /* its calls still use it: it is left to them */
	engine_free(e);
	(void)malloc_trim(0);
	log_debug("gRPC is down");
	return 0;
}
