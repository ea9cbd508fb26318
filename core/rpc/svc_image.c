/* svc_image.c: images. */
#include "core/rpc/convert.h"
#include "core/rpc/handlers.h"
#include "core/rpc/lists.h"
#include "core/rpc/services.h"
#include "core/util/json.h"
#include "core/util/log.h"

static int need_image(const CRI(ImageSpec) * i, crio_err *err)
{
	return i && str_set(i->image) ? 0 : err_set(err, CRIO_E_INVALID, "no image specified");
}

static int list_images(const struct rpc_env *env, crio_call *call, const CRI(ImageFilter) * f, struct list_builder *b, crio_err *err)
{
	struct image **v = NULL;
	size_t n = 0, i;
	int e = images_list(env->images, f && f->image ? f->image->image : "", &v, &n, err);

	if (e < 0)
		return e;
	for (i = 0; i < n && !e; i++) {
		struct wire *w = NULL;
		CRI(Image) *m = NULL;

		e = convert_image_out(call, v[i], &m, err);
		if (!e)
			e = list_entry(&m->base, &w, err);
		if (!e)
			e = lists_add(b, w, err);
	}
	images_list_free(v, n);
	return e;
}

RPC_HANDLER(rpc_list_images)
{
	const CRI(ListImagesRequest) *q = (const void *)req;
	cleanup_list struct list_builder b = {0};
	int e = list_images(env, call, q->filter, &b, err);

	return e ? e : list_finish(&b, reply, err);
}

RPC_HANDLER(rpc_stream_images)
{
	const CRI(StreamImagesRequest) *q = (const void *)req;
	cleanup_list struct list_builder b = {0};
	int e = list_images(env, call, q->filter, &b, err);

	(void)reply;
	return e ? e : list_stream(&b, env, err);
}

/* {"labels":..,"imageSpec":<the config document>} */
static int image_info(const struct image *im, char **ret, crio_err *err)
{
	cleanup_json struct json_object *o = json_object_new_object();
	struct json_object *spec = NULL;

	if (!o)
		return err_nomem(err);
	if (str_set(im->config_json) && json_parse(im->config_json, strlen(im->config_json), &spec, NULL) < 0)
		spec = NULL;
	if ((im->labels.n && json_set(o, "labels", json_from_kvs(&im->labels)) < 0) ||
	    json_set(o, "imageSpec", spec ? spec : json_object_new_object()) < 0)
		return err_nomem(err);
	*ret = json_text(o);
	return *ret ? 0 : err_nomem(err);
}

static int image_status(crio_call *call, const struct image *im, bool verbose, struct rpc_reply *reply, crio_err *err)
{
	CRI(ImageStatusResponse) r = RUNTIME__V1__IMAGE_STATUS_RESPONSE__INIT;
	CRI(ImageStatusResponse__InfoEntry) info = RUNTIME__V1__IMAGE_STATUS_RESPONSE__INFO_ENTRY__INIT, *infos = &info;
	CRI(ImageSpec) spec = RUNTIME__V1__IMAGE_SPEC__INIT;
	cleanup_free char *json = NULL;
	int e;

	e = convert_image_out(call, im, &r.image, err);
	if (e < 0)
		return e;
	r.image->spec = &spec;
	e = convert_kvs_out(call, &im->annotations, &spec.annotations, &spec.n_annotations, err);
	if (e < 0)
		return e;
	if (verbose) {
		e = image_info(im, &json, err);
		if (e < 0)
			return e;
		info.key = (char *)(uintptr_t) "info";
		info.value = json;
		r.info = &infos;
		r.n_info = 1;
	}
	return rpc_reply_pack(reply, &r.base, err);
}

/* Absent is an answer without an image, not an error: kubelet asks before it pulls. */
RPC_HANDLER(rpc_image_status)
{
	const CRI(ImageStatusRequest) *q = (const void *)req;
	cleanup_image_ref struct image *im = NULL;
	int e = need_image(q->image, err);

	if (e < 0)
		return e;
	log_info("Checking image status: %s", q->image->image);
	e = images_get(env->images, q->image->image, &im, err);
	if (e == CRIO_E_NOT_FOUND) {
		log_info("Image %s not found", q->image->image);
		err_clear(err);
		return 0;
	}
	return e < 0 ? e : image_status(call, im, q->verbose, reply, err);
}

RPC_HANDLER(rpc_pull_image)
{
	const CRI(PullImageRequest) *q = (const void *)req;
	CRI(PullImageResponse) r = RUNTIME__V1__PULL_IMAGE_RESPONSE__INIT;
	struct pull_args a = {.ref = ""};
	cleanup_free char *id = NULL, *ref = NULL;
	int e = need_image(q->image, err);

	if (e < 0)
		return e;
	a.ref = q->image->image;
	if (q->auth) {
		a.auth.username = q->auth->username;
		a.auth.password = q->auth->password;
		a.auth.auth = q->auth->auth;
		a.auth.server_address = q->auth->server_address;
		a.auth.identity_token = q->auth->identity_token;
		a.auth.registry_token = q->auth->registry_token;
	}
	if (q->sandbox_config && q->sandbox_config->metadata)
		a.pod_namespace = q->sandbox_config->metadata->namespace_;
	log_info("Pulling image: %s", a.ref);
	e = handler_storage(env, call, q->image->runtime_handler, &a.driver, err);
	if (!e)
		e = images_pull(env->images, call, &a, &id, &ref, err);
	if (e < 0)
		return e;
	log_info("Pulled image: %s", ref);
	r.image_ref = id;
	return rpc_reply_pack(reply, &r.base, err);
}

RPC_HANDLER(rpc_remove_image)
{
	const CRI(RemoveImageRequest) *q = (const void *)req;
	int e = need_image(q->image, err);

	(void)reply;
	if (e < 0)
		return e;
	log_info("Removing image: %s", q->image->image);
	return images_remove(env->images, call, q->image->image, err);
}

RPC_HANDLER(rpc_image_fs_info)
{
	CRI(ImageFsInfoResponse) r = RUNTIME__V1__IMAGE_FS_INFO_RESPONSE__INIT;
	CRI(FilesystemUsage) * u;
	struct image_fs *v = NULL;
	size_t n = 0, i;
	int e = images_fs_info(env->images, call, &v, &n, err);

	(void)req;
	if (e < 0)
		return e;
	u = call_alloc(call, n * (sizeof(*u) + sizeof(*u->fs_id) + 2 * sizeof(*u->used_bytes)) + 1);
	r.image_filesystems = call_alloc(call, n * sizeof(u) + 1);
	if (!u || !r.image_filesystems)
		e = err_nomem(err);
	for (i = 0; i < n && !e; i++) {
		CRI(FilesystemIdentifier) *id = (CRI(FilesystemIdentifier) *)(void *)(u + n) + i;
		CRI(UInt64Value) *bytes =
		    (CRI(UInt64Value) *)(void *)((CRI(FilesystemIdentifier) *)(void *)(u + n) + n) + 2 * i;

		u[i] = (CRI(FilesystemUsage))RUNTIME__V1__FILESYSTEM_USAGE__INIT;
		*id = (CRI(FilesystemIdentifier))RUNTIME__V1__FILESYSTEM_IDENTIFIER__INIT;
		bytes[0] = bytes[1] = (CRI(UInt64Value))RUNTIME__V1__UINT64_VALUE__INIT;
		id->mountpoint = v[i].mountpoint;
		bytes[0].value = v[i].bytes;
		bytes[1].value = v[i].inodes;
		u[i].timestamp = v[i].time_ns;
		u[i].fs_id = id;
		u[i].used_bytes = &bytes[0];
		u[i].inodes_used = &bytes[1];
		r.image_filesystems[i] = &u[i];
	}
	r.n_image_filesystems = r.n_container_filesystems = n;
	r.container_filesystems = r.image_filesystems;
	if (!e)
		e = rpc_reply_pack(reply, &r.base, err);
	image_fs_free(v, n);
	return e;
}
