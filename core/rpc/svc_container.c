/* svc_container.c: containers. */
#include "core/rpc/convert.h"
#include "core/rpc/lists.h"
#include "core/rpc/services.h"
#include "core/util/log.h"

static int need_id(const char *id, crio_err *err)
{
	return str_set(id) ? 0 : err_set(err, CRIO_E_INVALID, "container ID should not be empty");
}

RPC_HANDLER(rpc_create_container)
{
	const CRI(CreateContainerRequest) *q = (const void *)req;
	CRI(CreateContainerResponse) r = RUNTIME__V1__CREATE_CONTAINER_RESPONSE__INIT;
	cleanup_container_config struct container_config c = {0};
	cleanup_free char *id = NULL;
	int e;

	if (container_config_init(&c) < 0)
		return err_nomem(err);
	e = convert_container_config(&c, q->config, err);
	if (e < 0)
		return e;
	if (!q->sandbox_config)
		return err_set(err, CRIO_E_INVALID, "sandbox config is nil");
	if (!q->sandbox_config->metadata)
		return err_set(err, CRIO_E_INVALID, "sandbox config metadata is nil");
	if (!str_set(q->pod_sandbox_id))
		return err_set(err, CRIO_E_INVALID, "PodSandbox ID should not be empty");
	log_info("Creating container: %s/%s/%s", q->sandbox_config->metadata->namespace_,
		 q->sandbox_config->metadata->name, c.meta.name);
	e = container_create(env->lifecycle, call, q->pod_sandbox_id, &c, &id, err);
	if (e < 0)
		return e;
	log_info("Created container %s: %s/%s/%s", id, q->sandbox_config->metadata->namespace_,
		 q->sandbox_config->metadata->name, q->config->metadata->name); /* c has been moved from */
	r.container_id = id;
	return rpc_reply_pack(reply, &r.base, err);
}

RPC_HANDLER(rpc_start_container)
{
	const CRI(StartContainerRequest) *q = (const void *)req;
	int e = need_id(q->container_id, err);

	(void)reply;
	if (e < 0)
		return e;
	log_info("Starting container: %s", q->container_id);
	return container_start(env->lifecycle, call, q->container_id, err);
}

RPC_HANDLER(rpc_stop_container)
{
	const CRI(StopContainerRequest) *q = (const void *)req;
	int e = need_id(q->container_id, err);

	(void)reply;
	if (e < 0)
		return e;
	log_info("Stopping container: %s (timeout: %llds)", q->container_id, (long long)q->timeout);
	return container_stop(env->lifecycle, call, q->container_id, q->timeout, err);
}

RPC_HANDLER(rpc_remove_container)
{
	const CRI(RemoveContainerRequest) *q = (const void *)req;
	int e = need_id(q->container_id, err);

	(void)reply;
	if (e < 0)
		return e;
	log_info("Removing container: %s", q->container_id);
	return container_remove(env->lifecycle, call, q->container_id, err);
}

/* Some name of the image: kubelet creates containers by id, and the status should tell people more than that. */
static int some_image_name(const struct rpc_env *env, crio_call *call, const struct container_status *s, char **ret,
			   crio_err *err)
{
	cleanup_image_ref struct image *im = NULL;
	const char *name;

	if (!env->images || !str_eq(s->image_name, s->image_id) || images_get(env->images, s->image_id, &im, NULL) < 0)
		return 0;
	name = im->repo_tags.n ? im->repo_tags.v[0] : im->repo_digests.n ? im->repo_digests.v[0] : NULL;
	if (!name)
		return 0;
	*ret = call_strdup(call, name);
	return *ret ? 0 : err_nomem(err);
}

RPC_HANDLER(rpc_container_status)
{
	const CRI(ContainerStatusRequest) *q = (const void *)req;
	CRI(ContainerStatusResponse) r = RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INIT;
	CRI(ContainerStatusResponse__InfoEntry)
	info = RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INFO_ENTRY__INIT,
	*infos = &info;
	struct container_status s = {0};
	int e = need_id(q->container_id, err);

	if (e < 0)
		return e;
	e = container_status(env->lifecycle, q->container_id, q->verbose, &s, err);
	if (e < 0)
		return e;
	e = convert_container_status_out(call, &s, &r.status, err);
	if (!e)
		e = some_image_name(env, call, &s, &r.status->image->image, err);
	if (!e && q->verbose && s.info_json) {
		info.key = (char *)(uintptr_t) "info";
		info.value = s.info_json;
		r.info = &infos;
		r.n_info = 1;
	}
	if (!e)
		e = rpc_reply_pack(reply, &r.base, err);
	container_status_release(&s);
	return e;
}

/* One list entry, packed with tag and length: made anew, and kept with the container. */
static int container_wire_make(crio_call *call, struct container *c, uint64_t version, struct wire **ret, crio_err *err)
{
	struct container_status s = {0};
	CRI(Container) *m = NULL;
	int e = container_status_of(c, false, &s, err);

	if (e < 0)
		return e;
	e = convert_container_out(call, &s, &m, err);
	if (!e)
		e = list_entry(&m->base, ret, err);
	if (!e)
		container_wire_put(c, version, *ret);
	container_status_release(&s);
	return e;
}

static int list_containers(const struct rpc_env *env, crio_call *call, const CRI(ContainerFilter) * f, struct list_builder *b,
			   crio_err *err)
{
	struct list_filter lf = {.id = "", .pod_id = "", .state = -1};
	cleanup_kvs struct kvs labels = KVS_INIT;
	struct container **v = NULL;
	size_t n = 0, i;
	int e = 0;

	if (f) {
		e = convert_map(&labels, f->label_selector, f->n_label_selector, err);
		lf.id = f->id;
		lf.pod_id = f->pod_sandbox_id;
		lf.state = f->state ? (int)f->state->state : -1;
		lf.labels = labels.n ? &labels : NULL;
	}
	if (!e)
		e = containers_list(env->lifecycle, &lf, &v, &n, err);
	for (i = 0; i < n; i++) {
		struct wire *w = NULL;
		uint64_t version;

		if (!e) {
			w = container_wire_get(v[i], &version);
			if (!w)
				e = container_wire_make(call, v[i], version, &w, err);
			if (!e)
				e = lists_add(b, w, err);
		}
		container_unref(v[i]);
	}
	free(v);
	return e;
}

RPC_HANDLER(rpc_list_containers)
{
	const CRI(ListContainersRequest) *q = (const void *)req;
	cleanup_list struct list_builder b = {0};
	int e = list_containers(env, call, q->filter, &b, err);

	return e ? e : list_finish(&b, reply, err);
}

RPC_HANDLER(rpc_stream_containers)
{
	const CRI(StreamContainersRequest) *q = (const void *)req;
	cleanup_list struct list_builder b = {0};
	int e = list_containers(env, call, q->filter, &b, err);

	(void)reply;
	return e ? e : list_stream(&b, env, err);
}

RPC_HANDLER(rpc_update_container)
{
	const CRI(UpdateContainerResourcesRequest) *q = (const void *)req;
	cleanup_resources struct resources res = {0};
	int e = need_id(q->container_id, err);

	(void)reply;
	if (e < 0)
		return e;
	if (resources_init(&res) < 0)
		return err_nomem(err);
	e = convert_resources(&res, q->linux, err);
	if (e < 0)
		return e;
	return container_update(env->lifecycle, call, q->container_id, &res, err);
}

RPC_HANDLER(rpc_reopen_log)
{
	const CRI(ReopenContainerLogRequest) *q = (const void *)req;
	int e = need_id(q->container_id, err);

	(void)reply;
	return e < 0 ? e : container_reopen_log(env->lifecycle, call, q->container_id, err);
}

/* Its timeout is not looked at, as in CRI-O: criu is not to be ended while it works. */
RPC_HANDLER(rpc_checkpoint_container)
{
	const CRI(CheckpointContainerRequest) *q = (const void *)req;
	int e;

	(void)reply;
	e = container_checkpoint(env->lifecycle, call, q->container_id ? q->container_id : "", q->location ? q->location : "", err);
	if (!e)
		log_info("Checkpointed container: %s", q->container_id);
	return e;
}

RPC_HANDLER(rpc_exec_sync)
{
	const CRI(ExecSyncRequest) *q = (const void *)req;
	CRI(ExecSyncResponse) r = RUNTIME__V1__EXEC_SYNC_RESPONSE__INIT;
	cleanup_strv struct strv cmd = STRV_INIT;
	struct exec_result x = {.exit_code = -1, .out = BUF_INIT, .err = BUF_INIT};
	int e = need_id(q->container_id, err);

	if (e < 0)
		return e;
	if (!q->n_cmd)
		return err_set(err, CRIO_E_INVALID, "exec command cannot be empty");
	e = convert_strs(&cmd, q->cmd, q->n_cmd, "cmd", CONVERT_ARGS_MAX, err);
	if (!e)
		e = container_exec_sync(env->lifecycle, call, q->container_id, &cmd, q->timeout, &x, err);
	if (!e) {
		r.exit_code = x.exit_code;
		r.stdout = (ProtobufCBinaryData){x.out.n, (uint8_t *)x.out.p};
		r.stderr = (ProtobufCBinaryData){x.err.n, (uint8_t *)x.err.p};
		e = rpc_reply_pack(reply, &r.base, err);
	}
	exec_result_release(&x);
	return e;
}
