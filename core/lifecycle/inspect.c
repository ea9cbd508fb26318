/* inspect.c: what the HTTP side of the socket shows of a container and does to it: GET /containers/<id>, /pause, /unpause. */
#include "core/lifecycle/annotations.h"
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define SPEC_MAX (4u << 20)

/* ---- pause ---- */

static const char *state_of(const struct container *c)
{
	static const char *const w[] = { "created", "running", "stopped", "unknown" };
	return c->paused ? "paused" : w[(unsigned)c->state < 4 ? c->state : 3];
}

static int may_pause(struct container *c, bool pause, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	bool live = c->state == CONTAINER_RUNNING || c->state == CONTAINER_CREATED;
	if (pause && (!live || c->paused))
		return err_set(err, CRIO_E_PRECONDITION, "container is not in running or created state, now is %s", state_of(c));
	if (!pause && !c->paused)
		return err_set(err, CRIO_E_PRECONDITION, "container is not in paused state, now is %s", state_of(c));
	return 0;
}

int container_do_pause(struct container *c, crio_call *call, bool pause, crio_err *err)
{
	struct crio_runtime_id_args a = { .size = sizeof(a), .id = c->id };
	struct crio_runtime_no_out o = { .size = sizeof(o) };
	if (!c->pod->runtime)
		return err_set(err, CRIO_E_PRECONDITION, "the runtime plugin of container %s is not there (%s): put its file back and start crio again",
			       c->id, c->pod->plugins);
	int r = pause ? plugin_runtime_pause(c->pod->runtime, call, &a, &o, err) : plugin_runtime_resume(c->pod->runtime, call, &a, &o, err);
	if (r < 0)
		return err_wrap(err, "%s container %s", pause ? "pause" : "unpause", c->id);
	(void)pthread_mutex_lock(&c->lock);
	c->paused = pause && c->state != CONTAINER_EXITED;
	container_changed(c);
	(void)pthread_mutex_unlock(&c->lock);
	return container_write_state(c, err);
}

int container_pause(struct lifecycle *lc, crio_call *call, const char *id, bool pause, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	int r = registry_container(lc, id, &c, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&c->lock);
	r = job_begin(&c->job, &c->lock, &c->changed, pause ? "pause container" : "unpause container", call, err);
	(void)pthread_mutex_unlock(&c->lock);
	if (r < 0)
		return r;
	r = may_pause(c, pause, err);
	if (r == 0)
		r = container_do_pause(c, call, pause, err);
	if (r == 0)
		log_info("%s container %s: %s", pause ? "Paused" : "Unpaused", c->id, c->name);
	(void)pthread_mutex_lock(&c->lock);
	job_end(&c->job, &c->changed);
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

/* ---- inspect ---- */

static int put_annotations(struct json_object *o, const char *dir)
{
	cleanup_free char *path = path_fmt("%s/config.json", dir);
	cleanup_json struct json_object *spec = NULL;
	if (!path)
		return CRIO_E_NOMEM;
	struct json_object *ann = json_read_file(-1, path, SPEC_MAX, &spec, NULL) == 0 ? json_obj(spec, "annotations") : NULL;
	return json_set(o, "crio_annotations", ann ? json_object_get(ann) : json_object_new_object());
}

/* The parts that belong to the pod. */
static int put_pod(struct json_object *o, struct pod *p)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	int r = json_set_str(o, "sandbox", p->id);
	r = r < 0 ? r : json_set(o, "ip_addresses", json_from_strv(&p->ips));
	return r < 0 ? r : json_set_bool(o, "host_network", p->host_network);
}

static int put(struct json_object *o, const char *name, pid_t pid, const char *image, const char *image_ref, int64_t created_ns,
	       const struct kvs *labels, const struct kvs *annotations)
{
	int r = json_set_str(o, "name", name);
	r = r < 0 ? r : json_set_int(o, "pid", pid);
	r = r < 0 ? r : json_set_str(o, "image", image);
	r = r < 0 ? r : json_set_str(o, "image_ref", image_ref);
	r = r < 0 ? r : json_set_int(o, "created_time", created_ns);
	r = r < 0 ? r : json_set(o, "labels", json_from_kvs(labels));
	return r < 0 ? r : json_set(o, "annotations", json_from_kvs(annotations));
}

static pid_t pid_of(struct container *c)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	return c->pid;
}

static int put_container(struct json_object *o, struct container *c)
{
	cleanup_image_ref struct image *im = NULL;
	const char *image = c->image_name;
	/* Some name of the image: the kubelet makes containers by id. */
	if (str_eq(image, c->image_id) && images_get(c->lc->images, c->image_id, &im, NULL) == 0)
		image = im->repo_tags.n ? im->repo_tags.v[0] : im->repo_digests.n ? im->repo_digests.v[0] : image;
	int r = put(o, c->name, pid_of(c), image, c->image_ref, c->created_ns, &c->config.labels, &c->config.annotations);
	r = r < 0 ? r : put_annotations(o, c->dir);
	r = r < 0 ? r : json_set_str(o, "log_path", c->log_path);
	r = r < 0 ? r : json_set_str(o, "root", c->rootfs);
	return r < 0 ? r : put_pod(o, c->pod);
}

/* A pod without a process of its own has the network of its containers: one of them stands in. */
static pid_t some_pid(struct pod *p)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	pid_t pid = p->infra ? pid_of(p->infra) : 0;
	for (size_t i = 0; pid <= 0 && i < p->n_containers; i++)
		pid = pid_of(p->containers[i]);
	return pid > 0 ? pid : 0;
}

static int put_infra(struct json_object *o, struct pod *p)
{
	cleanup_free char *name = NULL;
	int r = name_of_infra(&p->config, &name, NULL);
	r = r < 0 ? r : put(o, name, some_pid(p), p->lc->conf->image.pause_image, p->infra ? p->infra->image_ref : "", p->created_ns,
			    &p->config.labels, &p->config.annotations);
	r = r < 0 ? r : put_annotations(o, p->dir);
	r = r < 0 ? r : json_set_str(o, "log_path", p->infra ? p->infra->log_path : "");
	r = r < 0 ? r : json_set_str(o, "root", p->infra ? p->infra->rootfs : "");
	return r < 0 ? r : put_pod(o, p);
}

int container_inspect(struct lifecycle *lc, const char *id, struct json_object **ret, crio_err *err)
{
	cleanup_json struct json_object *o = json_object_new_object();
	cleanup_container struct container *c = NULL;
	cleanup_pod struct pod *p = NULL;
	int r = o ? registry_container(lc, id, &c, NULL) : err_nomem(err);
	if (r == 0) {
		r = put_container(o, c);
	} else if (o) {
		r = registry_pod(lc, id, &p, err);
		if (r < 0)
			return r;
		r = put_infra(o, p);
	}
	if (r < 0)
		return err_nomem(err);
	*ret = move_ptr(o);
	return 0;
}
