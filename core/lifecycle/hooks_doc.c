/* hooks_doc.c: the documents between the core and its hooks: snapshots out, adjustments in. */
#include "core/lifecycle/hooks.h"

#define HOOK_ENTRIES_MAX 256 /* of one stage in a spec */
#define MEMBERS_MAX 1024     /* bytes of the note for one plugin */

static const char *const pod_states[] = { "ready", "notready" };
static const char *const container_states[] = { "created", "running", "exited", "unknown" };

char *hooks_pod_json(struct pod *p)
{
	const struct pod_config *k = &p->config;
	cleanup_json struct json_object *o = json_object_new_object();
	int r = o ? 0 : CRIO_E_NOMEM;
	const struct {
		const char *key, *value;
	} v[] = { { "id", p->id }, { "name", k->meta.name }, { "namespace", k->meta.ns }, { "uid", k->meta.uid },
		  { "hostname", p->hostname }, { "runtimeHandler", p->handler }, { "runtimePlugin", p->runtime_plugin },
		  { "netns", p->netns }, { "cgroupParent", p->cgroup_parent } };
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(v); i++)
		r = json_set_str(o, v[i].key, v[i].value ? v[i].value : "");
	if (r == 0)
		r = json_set_int(o, "attempt", k->meta.attempt);
	if (r == 0)
		r = json_set_int(o, "createdAt", p->created_ns);
	if (r == 0)
		r = json_set_bool(o, "privileged", p->privileged);
	if (r == 0)
		r = json_set_bool(o, "hostNetwork", p->host_network);
	if (r == 0)
		r = json_set(o, "labels", json_from_kvs(&k->labels));
	if (r == 0)
		r = json_set(o, "annotations", json_from_kvs(&k->annotations));
	(void)pthread_mutex_lock(&p->lock);
	if (r == 0)
		r = json_set(o, "ips", json_from_strv(&p->ips));
	if (r == 0)
		r = json_set_str(o, "state", pod_states[p->stopped]);
	(void)pthread_mutex_unlock(&p->lock);
	return r < 0 ? NULL : json_text(o);
}

static struct json_object *mounts_json(const struct container_config *k)
{
	struct json_object *a = json_object_new_array();
	for (size_t i = 0; a && i < k->n_mounts; i++) {
		const struct mount_config *m = &k->mounts[i];
		struct json_object *o = json_object_new_object();
		if (json_push(a, o) < 0 || json_set_str(o, "containerPath", m->container_path) < 0 ||
		    json_set_str(o, "hostPath", m->host_path) < 0 || json_set_str(o, "image", m->image) < 0 ||
		    json_set_bool(o, "readonly", m->readonly) < 0) {
			(void)json_object_put(a);
			return NULL;
		}
	}
	return a;
}

char *hooks_container_json(struct container *c)
{
	const struct container_config *k = &c->config;
	cleanup_json struct json_object *o = json_object_new_object();
	int r = o ? 0 : CRIO_E_NOMEM;
	const struct {
		const char *key, *value;
	} v[] = { { "id", c->id }, { "name", k->meta.name }, { "image", c->image_name }, { "imageId", c->image_id }, { "rootfs", c->rootfs } };
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(v); i++)
		r = json_set_str(o, v[i].key, v[i].value ? v[i].value : "");
	if (r == 0)
		r = json_set_int(o, "attempt", k->meta.attempt);
	if (r == 0)
		r = json_set_int(o, "createdAt", c->created_ns);
	if (r == 0)
		r = json_set(o, "labels", json_from_kvs(&k->labels));
	if (r == 0)
		r = json_set(o, "annotations", json_from_kvs(&k->annotations));
	if (r == 0)
		r = json_set(o, "mounts", mounts_json(k));
	(void)pthread_mutex_lock(&c->lock);
	enum container_state state = c->state;
	pid_t pid = c->pid;
	(void)pthread_mutex_unlock(&c->lock);
	if (r == 0)
		r = json_set_str(o, "state", container_states[(unsigned)state < 4 ? state : 3]);
	if (r == 0)
		r = json_set_int(o, "pid", pid);
	return r < 0 ? NULL : json_text(o);
}

/* ---- what may be changed ---- */

/* Annotations that the daemon, another of its plugins or a later start reads as its own. */
static bool own_annotation(const char *key)
{
	return str_starts(key, "io.kubernetes.cri-o.") || (str_ends(key, ".crio.io") && !str_eq(key, HOOKS_ANNOTATION));
}

struct json_object *hooks_kept(const struct json_object *spec)
{
	static const char *const members[] = { "ociVersion", "root" };
	struct json_object *kept = json_object_new_object(), *copy;
	struct json_object *own = kept ? json_need_obj(kept, "annotations") : NULL, *all = json_obj(spec, "annotations");
	bool ok = own != NULL;
	for (size_t i = 0; ok && i < ARRAY_SIZE(members); i++) {
		copy = NULL;
		struct json_object *v = json_get(spec, members[i]);
		ok = !v || (json_object_deep_copy(v, &copy, NULL) == 0 && json_set(kept, members[i], copy) == 0);
	}
	if (ok && all) {
		json_object_object_foreach(all, key, v)
		{
			if (ok && v && own_annotation(key))
				ok = json_set_str(own, key, json_object_get_string(v)) == 0;
		}
	}
	if (ok)
		return kept;
	(void)json_object_put(kept);
	return NULL;
}

static bool strings(const struct json_object *a, size_t min)
{
	if (!a || !json_object_is_type(a, json_type_array) || json_object_array_length(a) < min)
		return false;
	for (size_t i = 0; i < json_object_array_length(a); i++)
		if (!json_object_is_type(json_object_array_get_idx(a, i), json_type_string))
			return false;
	return true;
}

static int check_stage(const char *stage, const struct json_object *list, crio_err *err)
{
	if (!list || !json_object_is_type(list, json_type_array) || json_object_array_length(list) > HOOK_ENTRIES_MAX)
		return err_set(err, CRIO_E_INVALID, "hooks.%.64s is no list of at most %d hooks", stage, HOOK_ENTRIES_MAX);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const struct json_object *h = json_object_array_get_idx(list, i);
		const char *path = h && json_object_is_type(h, json_type_object) ? json_str(h, "path") : "";
		if (*path != '/')
			return err_set(err, CRIO_E_INVALID, "hooks.%.64s[%zu].path '%.200s' is not absolute", stage, i, path);
		if ((json_get(h, "args") && !strings(json_get(h, "args"), 0)) || (json_get(h, "env") && !strings(json_get(h, "env"), 0)))
			return err_set(err, CRIO_E_INVALID, "args or env of hooks.%.64s[%zu] is no list of strings", stage, i);
		if (json_get(h, "timeout") && json_int(h, "timeout", 0) <= 0)
			return err_set(err, CRIO_E_INVALID, "hooks.%.64s[%zu].timeout is not a number of seconds above 0", stage, i);
	}
	return 0;
}

static int check_annotations(const struct json_object *spec, const struct json_object *kept, crio_err *err)
{
	struct json_object *now = json_obj(spec, "annotations"), *own = json_obj(kept, "annotations");
	size_t found = 0;
	if (now) {
		json_object_object_foreach(now, key, v)
		{
			if (!v || !json_object_is_type(v, json_type_string))
				return err_set(err, CRIO_E_INVALID, "annotation %.200s is no string", key);
			if (!own_annotation(key))
				continue;
			if (!json_get(own, key) || !str_eq(json_str(own, key), json_object_get_string(v)))
				return err_set(err, CRIO_E_INVALID, "annotation %.200s is crio's own", key);
			found++;
		}
	}
	if (found != (size_t)json_object_object_length(own))
		return err_set(err, CRIO_E_INVALID, "an annotation of crio's own has been taken away");
	return 0;
}

int hooks_check(const struct json_object *spec, const struct json_object *kept, crio_err *err)
{
	static const char *const same[] = { "ociVersion", "root" };
	if (!json_object_is_type(spec, json_type_object))
		return err_set(err, CRIO_E_INVALID, "the spec is no object");
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		if (!json_object_equal(json_get(spec, same[i]), json_get(kept, same[i])))
			return err_set(err, CRIO_E_INVALID, "%s may not be changed", same[i]);
	struct json_object *process = json_get(spec, "process"), *hooks = json_get(spec, "hooks");
	if (!process || !json_object_is_type(process, json_type_object) || !strings(json_get(process, "args"), 1))
		return err_set(err, CRIO_E_INVALID, "process.args is not a list of at least one string");
	if (json_get(process, "env") && !strings(json_get(process, "env"), 0))
		return err_set(err, CRIO_E_INVALID, "process.env is not a list of strings");
	if (hooks && !json_object_is_type(hooks, json_type_object))
		return err_set(err, CRIO_E_INVALID, "hooks is no object");
	if (hooks) {
		json_object_object_foreach(hooks, stage, list)
		{
			int r = check_stage(stage, list, err);
			if (r < 0)
				return r;
		}
	}
	return check_annotations(spec, kept, err);
}

void hooks_members(const struct json_object *patch, struct buf *b)
{
	size_t limit = b->n + MEMBERS_MAX;
	const char *sep = "";
	json_object_object_foreach((struct json_object *)(uintptr_t)patch, key, v)
	{
		if (b->n > limit)
			break;
		if (!v || !json_object_is_type(v, json_type_object) || str_eq(key, "hooks")) {
			buf_addf(b, "%s%.64s", sep, key);
			sep = " ";
			continue;
		}
		json_object_object_foreach(v, inner, ignored)
		{
			(void)ignored;
			if (b->n > limit)
				break;
			buf_addf(b, "%s%.64s.%.64s", sep, key, inner);
			sep = " ";
		}
	}
}
