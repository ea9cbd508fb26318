/* Which hooks a container gets, what that makes of its spec, and the hooks that change the spec themselves (precreate). */
#include "plugins/hooks/ocihooks/ocihooks.h"

/* What the conditions look at. */
struct subject {
	struct json_object *pod, *container, *spec; /* owned */
	const char *command;			    /* NULL: no process */
	bool mounts;
};

static void subject_release(struct subject *s)
{
	oh_json_putp(&s->pod);
	oh_json_putp(&s->container);
	oh_json_putp(&s->spec);
}

static struct json_object *member(struct json_object *o, const char *key, enum json_type type)
{
	struct json_object *v = NULL;

	return o && json_object_object_get_ex(o, key, &v) && json_object_is_type(v, type) ? v : NULL;
}

static int subject_take(struct oh *o, const struct crio_hook_args *a, struct subject *s, crio_err *err)
{
	struct json_object *args, *first, *mounts;
	int r = oh_parse(o, a->pod_json, strlen(a->pod_json), &s->pod, err);

	if (r == 0)
		r = oh_parse(o, a->container_json, strlen(a->container_json), &s->container, err);
	if (r == 0)
		r = oh_parse(o, a->spec_json, strlen(a->spec_json), &s->spec, err);
	if (r < 0)
		return o->host->wrap(err, "the container's description");
	args = member(member(s->spec, "process", json_type_object), "args", json_type_array);
	first = args && json_object_array_length(args) ? json_object_array_get_idx(args, 0) : NULL;
	if (member(s->spec, "process", json_type_object))
		s->command = first && json_object_is_type(first, json_type_string) ? json_object_get_string(first) : "";
	mounts = member(s->container, "mounts", json_type_array);
	s->mounts = mounts && json_object_array_length(mounts) > 0;
	return 0;
}

/* ---- conditions ---- */

static bool pair_in(const struct oh_pair *p, struct json_object *annotations, struct json_object *hidden_by)
{
	if (!annotations)
		return false;
	json_object_object_foreach(annotations, key, v)
	{
		const char *s = v && json_object_is_type(v, json_type_string) ? json_object_get_string(v) : NULL;

		if (s && (!hidden_by || !json_object_object_get_ex(hidden_by, key, NULL)) && oh_pattern_match(p->key, key) &&
		    oh_pattern_match(p->value, s))
			return true;
	}
	return false;
}

/* The container's annotations, and over them the pod's. */
static bool pair_matches(const struct oh_pair *p, const struct subject *s)
{
	struct json_object *pod = member(s->pod, "annotations", json_type_object);

	return pair_in(p, pod, NULL) || pair_in(p, member(s->container, "annotations", json_type_object), pod);
}

/*
 * 1.0.0: all conditions that are there must hold, and there must be one. 0.1.0: one is enough. Of the commands one must match in
 * either; "always" and "hasBindMounts" hold when they are true. 1 matches, 0 does not, negative: an error.
 */
static int matches(struct oh *o, crio_call *call, const struct hookfile *h, const struct subject *s, crio_err *err)
{
	const struct {
		bool has, holds;
	} flags[] = {{h->has_always, h->always}, {h->has_mounts, h->mounts && s->mounts}};
	size_t held = 0;

	for (size_t i = 0; i < 2; i++) {
		if (!flags[i].has)
			continue;
		if (flags[i].holds && h->any)
			return 1;
		if (!flags[i].holds && !h->any)
			return 0;
		held += flags[i].holds;
	}
	for (size_t i = 0; i < h->n_pairs; i++) {
		bool m = pair_matches(&h->pairs[i], s);

		if (o->host->cancelled(call))
			return o->host->fail(err, CRIO_E_CANCELLED, "match hook %s: the call is over", h->name);
		if (m && h->any)
			return 1;
		if (!m && !h->any)
			return 0;
		held += m;
	}
	if (!h->n_commands || !s->command)
		return held > 0;
	if (!*s->command)
		return o->host->fail(err, CRIO_E_INVALID, "match hook %s: process.args must have at least one entry", h->name);
	for (size_t i = 0; i < h->n_commands; i++)
		if (oh_pattern_match(h->commands[i], s->command))
			return 1;
	return 0;
}

/* ---- the adjustment ---- */

static struct json_object *need(struct json_object *o, const char *key, enum json_type type)
{
	struct json_object *v = member(o, key, type);

	if (v)
		return v;
	v = type == json_type_array ? json_object_new_array() : json_object_new_object();
	return oh_set_member(o, key, v) ? v : NULL;
}

/* Adds the hook to the spec's lists; *ret_pre: it is also one of those that we run. */
static int add(struct oh *o, const struct hookfile *h, struct json_object *spec, bool *ret_pre, crio_err *err)
{
	static const char *const lists[OH_STAGES] = {"createRuntime", "createContainer", "startContainer", "poststart", "poststop", NULL};

	for (size_t i = 0; i < h->n_stages; i++) {
		cleanup_json struct json_object *entry = NULL;
		struct json_object *hooks, *list;

		if (!lists[h->stages[i]]) {
			*ret_pre = true;
			continue;
		}
		hooks = need(spec, "hooks", json_type_object);
		list = hooks ? need(hooks, lists[h->stages[i]], json_type_array) : NULL;
		if (!list || oh_parse(o, h->entry, strlen(h->entry), &entry, err) < 0 || !oh_push(list, json_object_get(entry)))
			return oh_nomem(o, err);
	}
	return 0;
}

static int argv_of(struct oh *o, crio_call *call, struct json_object *a, const char *dflt, struct crio_strs *ret, crio_err *err)
{
	size_t n = a ? json_object_array_length(a) : 0;
	const char **v = o->host->alloc(call, (n + 2) * sizeof(*v));

	if (!v)
		return oh_nomem(o, err);
	for (size_t i = 0; i < n; i++) {
		v[i] = o->host->strdup(call, json_object_get_string(json_object_array_get_idx(a, i)));
		if (!v[i])
			return oh_nomem(o, err);
	}
	if (!n && dflt)
		v[n++] = dflt;
	ret->v = v;
	ret->n = n;
	return 0;
}

/* The last line of what it said, without control characters. */
static const char *last_words(struct oh *o, crio_call *call, const struct crio_bytes *b)
{
	char *s = b->n ? o->host->alloc(call, b->n + 1) : NULL;
	size_t n = b->n, at;

	if (!s)
		return "(it says nothing)";
	memcpy(s, b->p, n);
	while (n && (unsigned char)s[n - 1] <= ' ')
		s[--n] = '\0';
	for (at = n; at > 0 && s[at - 1] != '\n' && n - at < 512; at--)
		if ((unsigned char)s[at - 1] < ' ' || (unsigned char)s[at - 1] > '~')
			s[at - 1] = '?';
	return s + at;
}

/* Runs a precreate hook: the spec goes in, what comes out is the spec. */
static int precreate(struct oh *o, crio_call *call, const struct hookfile *h, struct json_object **spec, crio_err *err)
{
	int64_t limit = (h->timeout ? h->timeout : OH_PRECREATE_SEC) * OH_SEC;
	cleanup_json struct json_object *entry = NULL;
	struct json_object *next = NULL;
	const char *text = oh_text(*spec);
	struct crio_spawn s = {.size = sizeof(s), .flags = CRIO_SPAWN_CAPTURE, .path = h->path, .stdin_fd = -1, .stdout_fd = -1,
			       .stderr_fd = -1, .netns_fd = -1, .stdout_limit = OH_DOC_MAX};
	struct crio_spawned out = {.size = sizeof(out), .pidfd = -1};
	crio_call *sub;
	int r = text ? oh_parse(o, h->entry, strlen(h->entry), &entry, err) : oh_nomem(o, err);

	if (r == 0)
		r = argv_of(o, call, member(entry, "args", json_type_array), h->path, &s.argv, err);
	if (r == 0)
		r = argv_of(o, call, member(entry, "env", json_type_array), NULL, &s.env, err);
	if (r < 0)
		return r;
	s.stdin_data.p = (const void *)text;
	s.stdin_data.n = strlen(text);
	sub = o->host->call_sub(call, limit);
	if (!sub)
		return oh_nomem(o, err);
	r = o->host->spawn(o->in, sub, &s, &out, err);
	if (r == 0 && out.exit_code != 0)
		r = o->host->fail(err, CRIO_E_IO, "%s ended with %d: %s", h->path, out.exit_code, last_words(o, call, &out.err));
	else if (r == 0 && out.out_truncated)
		r = o->host->fail(err, CRIO_E_EXHAUSTED, "%s wrote more than %u bytes", h->path, OH_DOC_MAX);
	else if (r == 0)
		r = oh_parse(o, (const char *)out.out.p, out.out.n, &next, err);
	o->host->call_free(sub);
	if (r < 0)
		return o->host->wrap(err, "precreate hook %s", h->name);
	oh_json_putp(spec);
	*spec = next;
	return 0;
}

static int run_all(struct oh *o, crio_call *call, const struct set *set, const struct subject *s, struct json_object **spec,
		   crio_err *err)
{
	const struct hookfile **pre = o->host->alloc(call, (set->n + 1) * sizeof(*pre));
	size_t n = 0;
	int r = pre ? 0 : oh_nomem(o, err);

	for (size_t i = 0; r == 0 && i < set->n; i++) {
		const struct hookfile *h = set->v[i];
		bool run = false;
		int m = matches(o, call, h, s, err);

		if (m < 0)
			return m;
		o->host->log(o->in, CRIO_LOG_DEBUG, "hook %s %s", h->name, m ? "matched" : "did not match");
		if (m)
			r = add(o, h, *spec, &run, err);
		if (run)
			pre[n++] = h;
	}
	/* After the others, so that they see the spec with everything in it. */
	for (size_t i = 0; r == 0 && i < n; i++)
		r = precreate(o, call, pre[i], spec, err);
	return r;
}

int oh_apply(struct oh *o, crio_call *call, const struct crio_hook_args *args, struct crio_hook_out *out, crio_err *err)
{
	__attribute__((cleanup(subject_release))) struct subject s = {NULL, NULL, NULL, NULL, false};
	cleanup_json struct json_object *spec = NULL, *patch = NULL;
	struct set *set = oh_current(o);
	int r = 0;

	if (set->n) {
		r = subject_take(o, args, &s, err);
		if (r == 0 && json_object_deep_copy(s.spec, &spec, NULL) < 0)
			r = oh_nomem(o, err);
		if (r == 0)
			r = run_all(o, call, set, &s, &spec, err);
		if (r == 0) {
			patch = oh_diff(s.spec, spec);
			if (!patch || !oh_text(patch))
				r = oh_nomem(o, err);
		}
		if (r == 0 && json_object_object_length(patch)) {
			out->adjust_json = o->host->strdup(call, oh_text(patch));
			if (!out->adjust_json)
				r = oh_nomem(o, err);
		}
	}
	oh_set_unref(set);
	return r;
}
