/* A network's list of programs, one after the other. */
#include "cni.h"

int cni_chain_add(struct cni *c, crio_call *call, const struct list *l, const struct attach *at,
		  struct json_object **ret, crio_err *err)
{
	cleanup_json struct json_object *result = NULL;

	for (size_t i = 0; i < json_object_array_length(l->plugins); i++) {
		struct json_object *next = NULL;
		int r =
		    cni_exec(c, call, "ADD", l, json_object_array_get_idx(l->plugins, i), at, result, NULL, &next, err);

		if (r < 0)
			return r;
		json_putp(&result);
		result = next;
	}
	*ret = result;
	result = NULL;
	return 0;
}

int cni_chain_del(struct cni *c, crio_call *call, const struct list *l, const struct attach *at,
		  struct json_object *prev, crio_err *err)
{
	int first = 0;

	/* Before 0.4.0 DEL is not told the result. */
	if (cni_version_cmp(l->version, "0.4.0") < 0)
		prev = NULL;
	for (size_t i = json_object_array_length(l->plugins); i-- > 0;) {
		crio_err *why = first ? c->host->err_new() : err;
		int r =
		    cni_exec(c, call, "DEL", l, json_object_array_get_idx(l->plugins, i), at, prev, NULL, NULL, why);

		if (r < 0 && !first)
			first = r;
		else if (r < 0)
			c->host->log(c->in, CRIO_LOG_WARN, "CNI network %s, pod %s: %s", l->name, at->id,
				     c->host->err_text(why));
		if (why != err)
			c->host->err_free(why);
	}
	return first;
}

int cni_chain_check(struct cni *c, crio_call *call, const struct list *l, const struct attach *at,
		    struct json_object *prev, crio_err *err)
{
	struct json_object *off = cni_json_get(l->root, "disableCheck", json_type_boolean);

	if (cni_version_cmp(l->version, "0.4.0") < 0 || (off && json_object_get_boolean(off)) ||
	    !strcmp(cni_json_str(l->root, "disableCheck"), "true"))
		return 0;
	for (size_t i = 0; i < json_object_array_length(l->plugins); i++) {
		int r =
		    cni_exec(c, call, "CHECK", l, json_object_array_get_idx(l->plugins, i), at, prev, NULL, NULL, err);

		if (r < 0)
			return r;
	}
	return 0;
}

int cni_chain_status(struct cni *c, crio_call *call, const struct list *l, crio_err *err)
{
	static const struct attach nobody = {.id = "", .ifname = "", .netns = ""};

	if (cni_version_cmp(l->version, "1.1.0") < 0)
		return 0;
	for (size_t i = 0; i < json_object_array_length(l->plugins); i++) {
		int r = cni_exec(c, call, "STATUS", l, json_object_array_get_idx(l->plugins, i), &nobody, NULL, NULL,
				 NULL, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- garbage ---- */

/* Ids attached since open, of all instances: they may share a cache. Not garbage, whatever the caller of gc knew. */
static struct {
	pthread_mutex_t mu;
	struct active {
		char *id;
		const struct cni *of;
	} *v;
	size_t n, cap;
} active = {.mu = PTHREAD_MUTEX_INITIALIZER};

int cni_active_add(struct cni *c, const char *id, crio_err *err)
{
	char *copy = strdup(id);
	bool ok = copy != NULL;

	(void)pthread_mutex_lock(&active.mu);
	if (ok && active.n == active.cap) {
		size_t cap = active.cap ? 2 * active.cap : 16;
		struct active *grown = realloc(active.v, sizeof(*grown) * cap);

		ok = grown != NULL;
		if (ok) {
			active.v = grown;
			active.cap = cap;
		}
	}
	if (ok) {
		active.v[active.n++] = (struct active){copy, c};
		copy = NULL;
	}
	(void)pthread_mutex_unlock(&active.mu);
	free(copy);
	return ok ? 0 : cni_nomem(c, err);
}

void cni_active_del(const struct cni *c, const char *id)
{
	(void)pthread_mutex_lock(&active.mu);
	for (size_t i = 0; i < active.n; i++) {
		if (id ? strcmp(active.v[i].id, id) != 0 : active.v[i].of != c)
			continue;
		free(active.v[i].id);
		active.v[i--] = active.v[--active.n];
	}
	if (active.n == 0) {
		free(active.v);
		active.v = NULL;
		active.cap = 0;
	}
	(void)pthread_mutex_unlock(&active.mu);
}

static bool active_has(const char *id)
{
	bool has = false;

	(void)pthread_mutex_lock(&active.mu);
	for (size_t i = 0; i < active.n && !has; i++)
		has = !strcmp(active.v[i].id, id);
	(void)pthread_mutex_unlock(&active.mu);
	return has;
}

/* A network and what of it is wanted: [{"containerID","ifname"}], for GC of its programs. */
struct gc_net {
	struct net *net;
	struct json_object *keep;
	bool off; /* disableGC */
};

struct gc {
	struct cni *c;
	crio_call *call;
	const struct crio_network_gc_args *args;
	struct gc_net *nets;
	size_t n_nets;
	int failed;
	crio_err *err;
};

static bool is_wanted(const struct gc *g, const struct cached *k)
{
	for (size_t i = 0; i < g->args->n; i++) {
		const struct crio_network_attachment *a = CRIO_ROW(crio_network_attachment, *g->args, i);

		if (!strcmp(a->id, k->id) && !strcmp(*a->ifname ? a->ifname : "eth0", k->ifname))
			return true;
	}
	return active_has(k->id);
}

/* Attachments of other users of the cache (podman) have no such argument. */
static bool is_pod(const struct cached *k)
{
	for (size_t i = 0; k->args && i < json_object_array_length(k->args); i++) {
		struct json_object *pair = json_object_array_get_idx(k->args, i);
		const char *key = json_object_is_type(pair, json_type_array)
				      ? json_object_get_string(json_object_array_get_idx(pair, 0))
				      : NULL;
		const char *v = key ? json_object_get_string(json_object_array_get_idx(pair, 1)) : NULL;

		if (v && !strcmp(key, "K8S_POD_INFRA_CONTAINER_ID"))
			return !strcmp(v, k->id);
	}
	return false;
}

static int gc_keep(struct gc_net *n, const struct cached *k)
{
	struct json_object *o = json_object_new_object();

	if (!cni_json_set(o, "containerID", json_object_new_string(k->id)) ||
	    !cni_json_set(o, "ifname", json_object_new_string(k->ifname))) {
		json_putp(&o);
		return CRIO_E_NOMEM;
	}
	return cni_json_push(n->keep, o) ? 0 : CRIO_E_NOMEM;
}

/* Of networks that have no file here others may take care: their attachments are nobody's garbage. */
static struct gc_net *gc_net_of(const struct gc *g, const struct cached *k)
{
	for (size_t i = 0; i < g->n_nets; i++)
		if (!strcmp(g->nets[i].net->name, k->network))
			return &g->nets[i];
	return NULL;
}

static int gc_one(void *arg, struct cached *k)
{
	struct gc *g = arg;
	struct cni *c = g->c;
	cleanup_list struct list l = {0};
	struct attach at = {.id = k->id, .ifname = k->ifname, .netns = k->netns, .args = k->args, .caps = k->caps};
	struct gc_net *n = gc_net_of(g, k);
	crio_err *why;
	int r;

	if (!n || n->off)
		return 0;
	if (!is_pod(k) || is_wanted(g, k))
		return gc_keep(n, k);
	if (c->host->cancelled(g->call))
		return c->host->fail(g->err, CRIO_E_DEADLINE, "collect stale attachments: time is up");
	if (access(at.netns, F_OK) < 0)
		at.netns = "";
	why = c->host->err_new();
	r = cni_list_parse(c, k->config, k->config_n, &l, why);
	if (r == 0)
		r = cni_chain_del(c, g->call, &l, &at, k->result, why);
	if (r == 0) {
		c->host->log(c->in, CRIO_LOG_INFO, "Removed stale attachment of %s to CNI network %s", k->id,
			     k->network);
		(void)cni_cache_del(c, g->call, k->network, k->id, k->ifname, NULL); /* else the next one does */
	} else if (!g->failed) {
		g->failed = c->host->fail(g->err, r, "remove stale attachment of '%s' to '%s': %s", k->id, k->network,
					  c->host->err_text(why));
	}
	c->host->err_free(why);
	return 0;
}

/* GC of the programs themselves, for what has no cache file any more. */
static int gc_programs(struct gc *g, const struct gc_net *n)
{
	struct cni *c = g->c;
	cleanup_list struct list l = {0};
	cleanup_json struct json_object *inject = json_object_new_object();
	static const struct attach nobody = {.id = "", .ifname = "", .netns = ""};
	int r;

	if (n->off || cni_version_cmp(n->net->version, "1.1.0") < 0)
		return 0;
	r = cni_list_parse(c, n->net->text, strlen(n->net->text), &l, g->err);
	if (r < 0)
		return r;
	if (!inject || !cni_json_set(inject, "cni.dev/valid-attachments", json_object_get(n->keep)) ||
	    !cni_json_set(inject, "cni.dev/attachments", json_object_get(n->keep)))
		return cni_nomem(c, g->err);
	for (size_t i = 0; r == 0 && i < json_object_array_length(l.plugins); i++)
		r = cni_exec(c, g->call, "GC", &l, json_object_array_get_idx(l.plugins, i), &nobody, NULL, inject, NULL,
			     g->err);
	return r;
}

/* References to all networks that are known now. */
static int gc_nets(struct gc *g)
{
	struct cni *c = g->c;
	int r = 0;

	(void)pthread_mutex_lock(&c->mu);
	g->nets = calloc(c->n_nets + 1, sizeof(*g->nets));
	for (size_t i = 0; g->nets && i < c->n_nets; i++)
		g->nets[g->n_nets++].net = cni_net_ref(c->nets[i]);
	(void)pthread_mutex_unlock(&c->mu);
	for (size_t i = 0; g->nets && r == 0 && i < g->n_nets; i++) {
		struct gc_net *n = &g->nets[i];
		cleanup_list struct list l = {0};
		struct json_object *off;

		n->keep = json_object_new_array();
		r = n->keep ? cni_list_parse(c, n->net->text, strlen(n->net->text), &l, g->err) : cni_nomem(c, g->err);
		off = r == 0 ? cni_json_get(l.root, "disableGC", json_type_boolean) : NULL;
		n->off = off && json_object_get_boolean(off);
	}
	return g->nets ? r : cni_nomem(c, g->err);
}

int cni_gc(struct cni *c, crio_call *call, const struct crio_network_gc_args *args, crio_err *err)
{
	struct gc g = {.c = c, .call = call, .args = args, .err = err};
	int r = gc_nets(&g);

	if (r == 0)
		r = cni_cache_each(c, call, gc_one, &g, err);
	if (r == CRIO_E_NOMEM)
		r = cni_nomem(c, err);
	for (size_t i = 0; r == 0 && !g.failed && i < g.n_nets; i++)
		r = gc_programs(&g, &g.nets[i]);
	for (size_t i = 0; i < g.n_nets; i++) {
		cni_net_unref(g.nets[i].net);
		json_putp(&g.nets[i].keep);
	}
	free(g.nets);
	return r < 0 ? r : g.failed;
}
