/* hooks.c: opening hook plugins, asking them, and doing what they say. */
#include <stdatomic.h>

#include "core/lifecycle/hooks.h"
#include "core/plugin/select.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define DOC_MAX (4u << 20)  /* bytes of an adjustment */
#define OTHERS_MAX 256      /* containers that one answer may update, or evict */
#define MAY_REFUSE (CRIO_HOOK_POD_RUN | CRIO_HOOK_CTR_CREATE | CRIO_HOOK_CTR_START | CRIO_HOOK_CTR_UPDATE | CRIO_HOOK_VALIDATE)
#define MAY_ADJUST (CRIO_HOOK_CTR_CREATE | CRIO_HOOK_CTR_UPDATE)
/* What is asked of a plugin that is not there: enough to refuse each pod and container. */
#define UNKNOWN_STAGES (CRIO_HOOK_POD_RUN | CRIO_HOOK_CTR_CREATE)

struct hook {
	char *name;
	bool lenient;            /* "name?" */
	_Atomic uint32_t stages;
	struct plugin_inst *in;  /* guarded by hooks.lock; NULL: not there */
};

struct hooks {
	struct lifecycle *lc;
	struct hook *v;
	size_t n;
	pthread_mutex_t lock;      /* guards in, jobs, stopping */
	pthread_cond_t idle;
	size_t jobs;
	bool stopping, asking;     /* asking: a refresh is queued */
	pthread_mutex_t open_lock; /* one opening at a time; taken first */
};

static const char *stage_name(uint32_t stage)
{
	static const char *const names[] = { "pod run", "pod stop", "pod remove", "container create", "container created", "container start",
					     "container started", "container update", "container stop", "container remove", "validate" };
	size_t i = (size_t)__builtin_ctz(stage | 1u << 31);
	return i < ARRAY_SIZE(names) ? names[i] : "unknown";
}

/* ---- jobs of our own: work that no request waits for ---- */

static bool job_enter(struct hooks *h)
{
	cleanup_unlock pthread_mutex_t *l = lock(&h->lock);
	h->jobs += !h->stopping;
	return !h->stopping;
}

static void job_leave(struct hooks *h)
{
	cleanup_unlock pthread_mutex_t *l = lock(&h->lock);
	h->jobs--;
	(void)pthread_cond_broadcast(&h->idle);
}

static void refresh_job(void *arg)
{
	struct hooks *h = arg;
	(void)pthread_mutex_lock(&h->lock);
	h->asking = false;
	(void)pthread_mutex_unlock(&h->lock);
	cleanup_call crio_call *call = call_new("Hooks", now_mono_ns() + CLEANUP_NS);
	if (call)
		hooks_refresh(h, call);
	job_leave(h);
}

/* A plugin says by its readiness event that it may want other stages than it did. */
static void on_event(void *arg, struct plugin_inst *in, int type, const void *event)
{
	struct hooks *h = arg;
	(void)in, (void)event;
	if (type != CRIO_EVENT_READY || !job_enter(h))
		return;
	(void)pthread_mutex_lock(&h->lock);
	bool queued = h->asking;
	h->asking = true;
	(void)pthread_mutex_unlock(&h->lock);
	if (queued || workers_run(h->lc->workers, WORK_TEARDOWN, refresh_job, h, NULL) < 0)
		job_leave(h);
}

/* ---- opening ---- */

static struct plugin_inst *hook_ref(struct hooks *h, struct hook *k)
{
	cleanup_unlock pthread_mutex_t *l = lock(&h->lock);
	return k->in ? plugin_inst_ref(k->in) : NULL;
}

static int ask_stages(struct hook *k, struct plugin_inst *in, crio_call *call, crio_err *err)
{
	struct crio_hook_no_args a = { .size = sizeof(a) };
	struct crio_hook_stages_out o = { .size = sizeof(o) };
	int r = plugin_hook_stages(in, call, &a, &o, err);
	if (r == 0)
		atomic_store(&k->stages, o.stages);
	return r;
}

static int hook_open(struct hooks *h, struct hook *k, crio_call *call, struct plugin_inst **ret, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&h->open_lock);
	struct plugin_inst *in = hook_ref(h, k);
	if (in) {
		*ret = in;
		return 0;
	}
	cleanup_kvs struct kvs options = KVS_INIT;
	int r = select_hook_options(h->lc->plugins, h->lc->conf, k->name, &options, err);
	if (r == 0)
		r = plugins_open(h->lc->plugins, call, CRIO_KIND_HOOK, k->name, "default", &options, &in, err);
	if (r == 0) {
		r = ask_stages(k, in, call, err);
		if (r < 0)
			plugin_inst_unref(in);
	}
	if (r < 0)
		return r;
	plugin_inst_listen(in, on_event, h);
	(void)pthread_mutex_lock(&h->lock);
	k->in = plugin_inst_ref(in);
	(void)pthread_mutex_unlock(&h->lock);
	log_info("Hook plugin %s is there", k->name);
	*ret = in;
	return 0;
}

void hooks_refresh(struct hooks *h, crio_call *call)
{
	for (size_t i = 0; i < h->n; i++) {
		cleanup_err crio_err err = ERR_INIT;
		struct hook *k = &h->v[i];
		struct plugin_inst *in = hook_ref(h, k);
		int r = in ? ask_stages(k, in, call, &err) : hook_open(h, k, call, &in, &err);
		if (r < 0)
			log_warn("Hook plugin %s: %s", k->name, err_text(&err));
		if (in)
			plugin_inst_unref(in);
	}
}

int hooks_new(struct lifecycle *lc, crio_call *call, struct hooks **ret, crio_err *err)
{
	const struct strv *names = &lc->conf->plugins.hooks;
	struct hooks *h = calloc(1, sizeof(*h));
	if (!h)
		return err_nomem(err);
	h->lc = lc;
	(void)pthread_mutex_init(&h->lock, NULL);
	(void)pthread_mutex_init(&h->open_lock, NULL);
	cond_init(&h->idle);
	h->v = calloc(names->n + 1, sizeof(*h->v));
	for (size_t i = 0; h->v && i < names->n; i++) {
		size_t n = strlen(names->v[i]);
		h->v[i].lenient = n && names->v[i][n - 1] == '?';
		h->v[i].name = strndup(names->v[i], n - h->v[i].lenient);
		atomic_store(&h->v[i].stages, h->v[i].lenient ? 0 : UNKNOWN_STAGES);
		h->n++;
		if (!h->v[i].name)
			break;
	}
	if (!h->v || (h->n && !h->v[h->n - 1].name)) {
		hooks_free(h);
		return err_nomem(err);
	}
	hooks_refresh(h, call);
	*ret = h;
	return 0;
}

void hooks_free(struct hooks *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n; i++)
		if (h->v[i].in)
			plugin_inst_listen(h->v[i].in, NULL, NULL);
	(void)pthread_mutex_lock(&h->lock);
	h->stopping = true;
	while (h->jobs)
		(void)pthread_cond_wait(&h->idle, &h->lock);
	(void)pthread_mutex_unlock(&h->lock);
	for (size_t i = 0; i < h->n; i++) {
		plugin_inst_unref(h->v[i].in);
		free(h->v[i].name);
	}
	free(h->v);
	(void)pthread_mutex_destroy(&h->lock);
	(void)pthread_mutex_destroy(&h->open_lock);
	(void)pthread_cond_destroy(&h->idle);
	free(h);
}

/* ---- what a hook asks of other containers: after the stage, on a thread of its own ---- */

struct others {
	struct hooks *h;
	char *hook;
	struct kvs updates, evict;
};

static void others_free(struct others *o)
{
	free(o->hook);
	kvs_release(&o->updates);
	kvs_release(&o->evict);
	free(o);
}

static void others_job(void *arg)
{
	struct others *o = arg;
	struct hooks *h = o->h;
	cleanup_call crio_call *call = call_new("Hooks", now_mono_ns() + CLEANUP_NS);
	for (size_t i = 0; call && i < o->updates.n; i++) {
		cleanup_err crio_err err = ERR_INIT;
		const struct kv *u = &o->updates.v[i];
		if (container_update_json(h->lc, call, u->key, u->value, &err) < 0)
			log_warn("Update of container %s by hook plugin %s: %s", u->key, o->hook, err_text(&err));
		else
			log_info("Hook plugin %s has updated container %s", o->hook, u->key);
	}
	for (size_t i = 0; call && i < o->evict.n; i++) {
		cleanup_err crio_err err = ERR_INIT;
		const struct kv *e = &o->evict.v[i];
		log_warn("Hook plugin %s evicts container %s: %s", o->hook, e->key, e->value);
		if (container_stop(h->lc, call, e->key, 0, &err) < 0)
			log_warn("Evict container %s: %s", e->key, err_text(&err));
	}
	others_free(o);
	job_leave(h);
}

static int take_others(struct hooks *h, const struct hook *k, const struct crio_hook_out *out, crio_err *err)
{
	if (out->updates.n > OTHERS_MAX || out->evict.n > OTHERS_MAX)
		return err_set(err, CRIO_E_INVALID, "it asks for changes of more than %d containers", OTHERS_MAX);
	if (!out->updates.n && !out->evict.n)
		return 0;
	struct others *o = calloc(1, sizeof(*o));
	if (!o)
		return err_nomem(err);
	o->h = h;
	o->hook = strdup(k->name);
	int r = o->hook ? 0 : CRIO_E_NOMEM;
	for (size_t i = 0; r == 0 && i < out->updates.n; i++)
		r = kvs_set(&o->updates, out->updates.v[i].key, out->updates.v[i].value);
	for (size_t i = 0; r == 0 && i < out->evict.n; i++)
		r = kvs_set(&o->evict, out->evict.v[i].key, out->evict.v[i].value);
	if (r < 0) {
		others_free(o);
		return err_nomem(err);
	}
	if (!job_enter(h)) {
		others_free(o);
		return 0;
	}
	r = workers_run(h->lc->workers, WORK_TEARDOWN, others_job, o, err);
	if (r < 0) {
		others_free(o);
		job_leave(h);
	}
	return r;
}

/* ---- one stage ---- */

/* One stage in progress. Texts are made when the first hook wants them. */
struct run {
	struct hooks *h;
	struct pod *pod;
	struct container *c;       /* NULL at pod stages */
	uint32_t stage;
	struct json_object **spec; /* replaced by an adjustment; NULL at pod stages */
	struct json_object *kept;
	char *pod_json, *container_json, *spec_json;
	struct buf notes;          /* who changed what */
	bool changed;
};

static void run_release(struct run *u)
{
	(void)json_object_put(u->kept);
	free(u->pod_json);
	free(u->container_json);
	free(u->spec_json);
	buf_release(&u->notes);
}

static int run_texts(struct run *u, crio_err *err)
{
	if (!u->pod_json)
		u->pod_json = hooks_pod_json(u->pod);
	if (!u->container_json)
		u->container_json = u->c ? hooks_container_json(u->c) : strdup("");
	if (!u->spec_json)
		u->spec_json = u->spec && *u->spec ? json_text(*u->spec) : strdup("");
	return u->pod_json && u->container_json && u->spec_json ? 0 : err_nomem(err);
}

static int take_adjustment(struct run *u, const struct hook *k, const char *text, crio_err *err)
{
	if (!text || !*text)
		return 0;
	if (!(u->stage & MAY_ADJUST))
		return err_set(err, CRIO_E_INVALID, "it adjusts at a stage that has no adjustments");
	if (strlen(text) > DOC_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "its adjustment is longer than %u bytes", DOC_MAX);
	cleanup_json struct json_object *patch = NULL;
	int r = json_parse(text, strlen(text), &patch, err);
	if (r < 0)
		return err_wrap(err, "its adjustment");
	if (!json_object_is_type(patch, json_type_object))
		return err_set(err, CRIO_E_INVALID, "its adjustment is no object");
	if (json_object_object_length(patch) == 0)
		return 0;
	if (u->stage == CRIO_HOOK_CTR_UPDATE &&
	    (json_object_object_length(patch) != 1 || !json_path(patch, "linux.resources") ||
	     json_object_object_length(json_obj(patch, "linux")) != 1))
		return err_set(err, CRIO_E_INVALID, "an update may change nothing but linux.resources");
	/* On a copy, so that what is refused has changed nothing. */
	cleanup_json struct json_object *next = NULL;
	if (!u->kept && !(u->kept = hooks_kept(*u->spec)))
		return err_nomem(err);
	if (json_object_deep_copy(*u->spec, &next, NULL) < 0 || json_merge(&next, patch) < 0)
		return err_nomem(err);
	r = hooks_check(next, u->kept, err);
	if (r < 0)
		return err_wrap(err, "its adjustment");
	(void)json_object_put(*u->spec);
	*u->spec = move_ptr(next);
	free(u->spec_json);
	u->spec_json = NULL;
	u->changed = true;
	buf_addf(&u->notes, "%s%s: ", u->notes.n ? "; " : "", k->name);
	hooks_members(patch, &u->notes);
	return 0;
}

static int run_one(struct run *u, struct hook *k, crio_call *call, crio_err *err)
{
	struct plugin_inst *in = hook_ref(u->h, k);
	int r = 0;
	if (!in)
		r = hook_open(u->h, k, call, &in, err);
	if (r < 0)
		return err_wrap(err, "it is not there: put its file back or take it out of crio.plugins.hooks");
	if (!(atomic_load(&k->stages) & u->stage)) {
		plugin_inst_unref(in);
		return 0;
	}
	cleanup_call crio_call *sub = call_sub(call, u->h->lc->conf->plugins.hooks_timeout);
	r = sub ? run_texts(u, err) : err_nomem(err);
	if (r == 0) {
		struct crio_hook_args a = { .size = sizeof(a),
					    .stage = u->stage,
					    .pod_id = u->pod->id,
					    .container_id = u->c ? u->c->id : "",
					    .pod_json = u->pod_json,
					    .container_json = u->container_json,
					    .spec_json = u->spec_json };
		struct crio_hook_out o = { .size = sizeof(o) };
		r = plugin_hook_run(in, sub, &a, &o, err);
		if (r == 0)
			r = take_adjustment(u, k, o.adjust_json, err);
		if (r == 0)
			r = take_others(u->h, k, &o, err);
	}
	plugin_inst_unref(in);
	return r;
}

static int run_stage(struct run *u, crio_call *call, crio_err *err)
{
	for (size_t i = 0; i < u->h->n; i++) {
		struct hook *k = &u->h->v[i];
		if (!(atomic_load(&k->stages) & u->stage))
			continue;
		cleanup_err crio_err why = ERR_INIT;
		int r = run_one(u, k, call, &why);
		if (r >= 0)
			continue;
		(void)err_wrap(&why, "hook plugin %s at stage '%s'", k->name, stage_name(u->stage));
		if ((u->stage & MAY_REFUSE) && !k->lenient)
			return err_move(err, &why);
		log_warn("%s %s: %s", u->c ? "Container" : "Pod sandbox", u->c ? u->c->id : u->pod->id, err_text(&why));
	}
	return 0;
}

static bool wanted(const struct hooks *h, uint32_t stage)
{
	for (size_t i = 0; h && i < h->n; i++)
		if (atomic_load(&h->v[i].stages) & stage)
			return true;
	return false;
}

int hooks_pod(struct pod *p, crio_call *call, uint32_t stage, crio_err *err)
{
	struct hooks *h = p->lc->hooks;
	if (!wanted(h, stage))
		return 0;
	CLEANUP(run_release) struct run u = { .h = h, .pod = p, .stage = stage };
	return run_stage(&u, call, err);
}

int hooks_container(struct container *c, crio_call *call, uint32_t stage, crio_err *err)
{
	struct hooks *h = c->lc->hooks;
	if (c->is_infra || !wanted(h, stage))
		return 0;
	cleanup_free char *path = path_fmt("%s/config.json", c->dir);
	cleanup_json struct json_object *spec = NULL;
	cleanup_err crio_err why = ERR_INIT;
	int r = path ? json_read_file(-1, path, DOC_MAX, &spec, &why) : err_nomem(&why);
	if (r < 0 && stage != CRIO_HOOK_CTR_REMOVE && (stage & MAY_REFUSE))
		return err_move(err, &why);
	CLEANUP(run_release) struct run u = { .h = h, .pod = c->pod, .c = c, .stage = stage, .spec = &spec };
	return run_stage(&u, call, err);
}

int hooks_create(struct container *c, crio_call *call, struct json_object **spec, crio_err *err)
{
	struct hooks *h = c->lc->hooks;
	CLEANUP(run_release) struct run u = { .h = h, .pod = c->pod, .c = c, .stage = CRIO_HOOK_CTR_CREATE, .spec = spec };
	int r = wanted(h, CRIO_HOOK_CTR_CREATE) ? run_stage(&u, call, err) : 0;
	if (r == 0 && u.changed && u.notes.n) {
		struct json_object *ann = json_need_obj(*spec, "annotations");
		if (buf_bad(&u.notes) || !ann || json_set_str(ann, HOOKS_ANNOTATION, u.notes.p) < 0)
			return err_nomem(err);
		log_info("Hooks have changed container %s: %s", c->id, u.notes.p);
		free(u.spec_json);
		u.spec_json = NULL;
	}
	if (r < 0 || !wanted(h, CRIO_HOOK_VALIDATE))
		return r;
	u.stage = CRIO_HOOK_VALIDATE;
	return run_stage(&u, call, err);
}

int hooks_update(struct container *c, crio_call *call, struct json_object **spec, bool *ret_changed, crio_err *err)
{
	struct hooks *h = c->lc->hooks;
	CLEANUP(run_release) struct run u = { .h = h, .pod = c->pod, .c = c, .stage = CRIO_HOOK_CTR_UPDATE, .spec = spec };
	int r = wanted(h, CRIO_HOOK_CTR_UPDATE) ? run_stage(&u, call, err) : 0;
	*ret_changed = r == 0 && u.changed;
	if (*ret_changed)
		log_info("Hooks have changed the update of container %s: %s", c->id, u.notes.p ? u.notes.p : "");
	return r;
}
