/* svc_stream.c: exec, attach, port-forward: a URL of the streaming server for what would work now. */
#include "core/lifecycle/lifecycle.h"
#include "core/rpc/convert.h"
#include "core/rpc/services.h"
#include "core/stream/server.h"

static int need(const char *id, const char *what, crio_err *err)
{
	return str_set(id) ? 0 : err_set(err, CRIO_E_INVALID, "missing required %s", what);
}

/* The URL, which lives as long as the call. */
static int url_of(const struct rpc_env *env, crio_call *call, const struct stream_want *w, char **ret, crio_err *err)
{
	cleanup_free char *url = NULL;
	int e;

	if (!env->streams)
		return err_set(err, CRIO_E_UNAVAILABLE, "the streaming server does not run");
	e = stream_url(env->streams, w, &url, err);
	if (e < 0)
		return e;
	*ret = call_strdup(call, url);
	return *ret ? 0 : err_nomem(err);
}

RPC_HANDLER(rpc_exec)
{
	const CRI(ExecRequest) *q = (const void *)req;
	CRI(ExecResponse) r = RUNTIME__V1__EXEC_RESPONSE__INIT;
	cleanup_strv struct strv cmd = STRV_INIT;
	struct stream_want w = {.kind = STREAM_EXEC, .id = q->container_id, .cmd = &cmd, .tty = q->tty, .in = q->stdin,
				.out = q->stdout, .err = q->stderr};
	int e = need(q->container_id, "container_id", err);

	if (!e)
		e = convert_strs(&cmd, q->cmd, q->n_cmd, "cmd", CONVERT_ARGS_MAX, err);
	if (!e)
		e = container_can_exec(env->lifecycle, q->container_id, err);
	if (!e)
		e = url_of(env, call, &w, &r.url, err);
	return e ? e : rpc_reply_pack(reply, &r.base, err);
}

RPC_HANDLER(rpc_attach)
{
	const CRI(AttachRequest) *q = (const void *)req;
	CRI(AttachResponse) r = RUNTIME__V1__ATTACH_RESPONSE__INIT;
	struct stream_want w = {.kind = STREAM_ATTACH, .id = q->container_id, .tty = q->tty, .in = q->stdin, .out = q->stdout,
				.err = q->stderr};
	int e = need(q->container_id, "container_id", err);

	if (!e)
		e = container_can_exec(env->lifecycle, q->container_id, err);
	if (!e)
		e = url_of(env, call, &w, &r.url, err);
	return e ? e : rpc_reply_pack(reply, &r.base, err);
}

RPC_HANDLER(rpc_port_forward)
{
	const CRI(PortForwardRequest) *q = (const void *)req;
	CRI(PortForwardResponse) r = RUNTIME__V1__PORT_FORWARD_RESPONSE__INIT;
	struct stream_want w = {.kind = STREAM_FORWARD, .id = q->pod_sandbox_id, .ports = q->port, .n_ports = q->n_port};
	int e = need(q->pod_sandbox_id, "pod_sandbox_id", err);

	if (!e)
		e = pod_can_forward(env->lifecycle, q->pod_sandbox_id, err);
	if (!e)
		e = url_of(env, call, &w, &r.url, err);
	return e ? e : rpc_reply_pack(reply, &r.base, err);
}
