/* status.c: PodSandboxStatus, ContainerStatus and the lists, from memory. */
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"

void pod_status_release(struct pod_status *s)
{
	strv_release(&s->ips);
	free(s->netns_path);
	free(s->plugins);
	free(s->info_json);
	pod_unref(s->pod);
	memset(s, 0, sizeof(*s));
}

/* With the pod's lock. */
static enum pod_state state_of(struct pod *p)
{
	if (p->stopped || p->removing || p->dead)
		return POD_NOTREADY;
	if (!p->infra)
		return POD_READY;
	cleanup_unlock pthread_mutex_t *l = lock(&p->infra->lock);
	return p->infra->state == CONTAINER_RUNNING || p->infra->state == CONTAINER_CREATED ? POD_READY : POD_NOTREADY;
}

enum pod_state pod_state_of(struct pod *p)
{
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	return state_of(p);
}

static struct json_object *read_spec(const char *dir)
{
	cleanup_free char *path = path_fmt("%s/config.json", dir);
	struct json_object *o = NULL;
	return path && json_read_file(-1, path, 4u << 20, &o, NULL) == 0 ? o : NULL;
}

static char *pod_info(struct pod *p, pid_t pid)
{
	cleanup_json struct json_object *o = json_object_new_object();
	struct json_object *spec = read_spec(p->dir);
	int r = o ? 0 : CRIO_E_NOMEM;
	r = r < 0 ? r : json_set_str(o, "image", p->infra ? p->lc->conf->image.pause_image : "");
	r = r < 0 ? r : json_set_int(o, "pid", pid);
	r = r < 0 ? r : json_set_str(o, "plugins", p->plugins);
	if (spec)
		r = r < 0 ? (json_object_put(spec), r) : json_set(o, "runtimeSpec", spec);
	return r < 0 ? NULL : json_text(o);
}

int pod_status_of(struct pod *p, bool verbose, struct pod_status *ret, crio_err *err)
{
	struct pod_status s;
	memset(&s, 0, sizeof(s));
	s.pod = pod_ref(p);
	s.id = p->id;
	s.name = p->name;
	s.config = &p->config;
	s.runtime_handler = p->handler;
	s.created_ns = p->created_ns;
	(void)pthread_mutex_lock(&p->lock);
	s.state = state_of(p);
	int r = strv_copy(&s.ips, &p->ips);
	pid_t pid = 0;
	if (p->infra) {
		(void)pthread_mutex_lock(&p->infra->lock);
		pid = p->infra->pid;
		(void)pthread_mutex_unlock(&p->infra->lock);
	}
	(void)pthread_mutex_unlock(&p->lock);
	s.netns_path = strdup(p->netns);
	s.plugins = strdup(p->plugins);
	if (verbose)
		s.info_json = pod_info(p, pid);
	if (r < 0 || !s.netns_path || !s.plugins || (verbose && !s.info_json)) {
		pod_status_release(&s);
		return err_nomem(err);
	}
	*ret = s;
	return 0;
}

/* What is parked does not exist for who asks for its status. */
static int not_there(int r, crio_err *err)
{
	if (r != CRIO_E_PRECONDITION)
		return r;
	cleanup_free char *text = err ? strdup(err_text(err)) : NULL;
	return err_set(err, CRIO_E_NOT_FOUND, "%s", text ? text : "not created");
}

int pod_find(struct lifecycle *lc, const char *id, struct pod **ret, crio_err *err)
{
	int r = registry_pod(lc, id, ret, err);
	return r < 0 ? not_there(r, err) : 0;
}

int container_find(struct lifecycle *lc, const char *id, struct container **ret, crio_err *err)
{
	int r = registry_container(lc, id, ret, err);
	return r < 0 ? not_there(r, err) : 0;
}

int pod_status(struct lifecycle *lc, const char *id, bool verbose, struct pod_status *ret, crio_err *err)
{
	cleanup_pod struct pod *p = NULL;
	int r = pod_find(lc, id, &p, err);
	return r < 0 ? r : pod_status_of(p, verbose, ret, err);
}

void container_status_release(struct container_status *s)
{
	free(s->message);
	free(s->log_path);
	resources_release(&s->resources);
	free(s->groups);
	free(s->info_json);
	container_unref(s->container);
	memset(s, 0, sizeof(*s));
}

static const char *reason_of(const struct container *c)
{
	if (c->state != CONTAINER_EXITED)
		return "";
	if (c->oom)
		return "OOMKilled";
	if (c->seccomp_killed)
		return "seccomp killed";
	return c->exit_code == 0 ? "Completed" : "Error";
}

/* Where there are checkpoints at all. */
static int checkpoint_info(struct container *c, struct json_object *o)
{
	char text[40];
	if (c->lc->conf->checkpoint_restore.container_level_enabled == CONF_CHECKPOINT_NONE)
		return 0;
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	time_format(c->checkpointed_ns, text);
	int r = json_set_str(o, "checkpointedAt", c->checkpointed_ns ? text : "0001-01-01T00:00:00Z");
	return r < 0 ? r : json_set_bool(o, "restored", c->restored);
}

static char *container_info(struct container *c, pid_t pid)
{
	cleanup_json struct json_object *o = json_object_new_object();
	struct json_object *spec = read_spec(c->dir);
	int r = o ? 0 : CRIO_E_NOMEM;
	r = r < 0 ? r : json_set_str(o, "sandboxID", c->pod->id);
	r = r < 0 ? r : json_set_int(o, "pid", pid);
	if (spec)
		r = r < 0 ? (json_object_put(spec), r) : json_set(o, "runtimeSpec", spec);
	r = r < 0 ? r : json_set_bool(o, "privileged", c->config.sec.privileged);
	r = r < 0 ? r : checkpoint_info(c, o);
	return r < 0 ? NULL : json_text(o);
}

static int copy_groups(const struct container *c, struct container_status *s)
{
	s->groups = calloc(c->info.n_groups + 1, sizeof(*s->groups));
	if (!s->groups)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < c->info.n_groups; i++)
		s->groups[i] = c->info.groups[i];
	s->n_groups = c->info.n_groups;
	return 0;
}

int container_status_of(struct container *c, bool verbose, struct container_status *ret, crio_err *err)
{
	struct container_status s;
	memset(&s, 0, sizeof(s));
	s.container = container_ref(c);
	s.id = c->id;
	s.name = c->name;
	s.pod_id = c->pod->id;
	s.config = &c->config;
	s.created_ns = c->created_ns;
	s.image_id = c->image_id;
	s.image_ref = c->image_ref;
	s.image_name = c->image_name;
	s.stop_signal = c->stop_signal_name;
	s.uid = c->info.uid;
	s.gid = c->info.gid;
	(void)pthread_mutex_lock(&c->lock);
	s.state = c->state;
	s.started_ns = c->started_ns;
	s.finished_ns = c->finished_ns;
	s.exit_code = c->exit_code;
	s.reason = reason_of(c);
	s.pid = c->pid;
	s.message = strdup(c->message);
	int r = c->has_resources ? resources_copy(&s.resources, &c->resources) : resources_init(&s.resources);
	(void)pthread_mutex_unlock(&c->lock);
	s.log_path = strdup(c->log_path);
	if (r == 0)
		r = copy_groups(c, &s);
	if (verbose)
		s.info_json = container_info(c, s.pid);
	if (r < 0 || !s.message || !s.log_path || (verbose && !s.info_json)) {
		container_status_release(&s);
		return err_nomem(err);
	}
	*ret = s;
	return 0;
}

int container_status(struct lifecycle *lc, const char *id, bool verbose, struct container_status *ret, crio_err *err)
{
	cleanup_container struct container *c = NULL;
	int r = container_find(lc, id, &c, err);
	return r < 0 ? r : container_status_of(c, verbose, ret, err);
}

/* ---- lists ---- */

static bool labels_match(const struct kvs *want, const struct kvs *have)
{
	for (size_t i = 0; want && i < want->n; i++) {
		const char *v = kvs_get(have, want->v[i].key);
		if (!v || !str_eq(v, want->v[i].value))
			return false;
	}
	return true;
}

static bool pod_matches(struct pod *p, const struct list_filter *f)
{
	if (str_set(f->id) && !str_starts(p->id, f->id))
		return false;
	if (f->state >= 0 && (int)pod_state_of(p) != f->state)
		return false;
	return labels_match(f->labels, &p->config.labels);
}

int pods_list(struct lifecycle *lc, const struct list_filter *f, struct pod ***ret, size_t *ret_n, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	struct pod **v = calloc(lc->n_pods + 1, sizeof(*v));
	size_t n = 0;
	if (!v)
		return err_nomem(err);
	for (size_t i = 0; i < lc->n_pods; i++)
		if (!lc->pod_order[i]->parked && pod_matches(lc->pod_order[i], f))
			v[n++] = pod_ref(lc->pod_order[i]);
	*ret = v;
	*ret_n = n;
	return 0;
}

static bool container_matches(struct container *c, const struct list_filter *f)
{
	if (str_set(f->id) && !str_starts(c->id, f->id))
		return false;
	if (str_set(f->pod_id) && !str_starts(c->pod->id, f->pod_id))
		return false;
	if (f->state >= 0) {
		cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
		if ((int)c->state != f->state)
			return false;
	}
	return labels_match(f->labels, &c->config.labels);
}

int containers_list(struct lifecycle *lc, const struct list_filter *f, struct container ***ret, size_t *ret_n, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	struct container **v = calloc(lc->n_containers + 1, sizeof(*v));
	size_t n = 0;
	if (!v)
		return err_nomem(err);
	for (size_t i = 0; i < lc->n_containers; i++)
		if (!lc->container_order[i]->parked && container_matches(lc->container_order[i], f))
			v[n++] = container_ref(lc->container_order[i]);
	*ret = v;
	*ret_n = n;
	return 0;
}

int pod_family(struct pod *p, struct container ***ret, size_t *ret_n, crio_err *err)
{
	struct lifecycle *lc = p->lc;
	const char *uid = p->config.meta.uid;
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	struct container **v = calloc(lc->n_containers + 1, sizeof(*v));
	size_t n = 0;
	if (!v)
		return err_nomem(err);
	for (size_t i = 0; i < lc->n_containers; i++) {
		struct container *c = lc->container_order[i];
		if (!c->parked && (c->pod == p || (*uid && str_eq(c->pod->config.meta.uid, uid))))
			v[n++] = container_ref(c);
	}
	*ret = v;
	*ret_n = n;
	return 0;
}
