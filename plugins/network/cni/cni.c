/* The cni plugin: pod networks by CNI programs. See cni.md. */
#include "cni.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>

#define ROLLBACK_MAX (60 * CNI_SEC)
#define ROLLBACK_MIN (2 * CNI_SEC)
#define BURST 34359738359LL /* bits: 4 GiB, what CRI-O gives */
#define ARG_MAX_LEN 1024

/* ---- arguments ---- */

/* A ';' or '=' in a name would be an argument of its own (CNI_ARGS="K8S_POD_NAME=x;IP=10.0.0.1"). */
static bool arg_ok(const char *s)
{
	if (strlen(s) > ARG_MAX_LEN)
		return false;
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f || *s == ';' || *s == '=')
			return false;
	}
	return true;
}

static bool pair(struct json_object *args, const char *key, const char *value)
{
	struct json_object *p = json_object_new_array();

	if (!cni_json_push(p, json_object_new_string(key)) || !cni_json_push(p, json_object_new_string(value))) {
		json_putp(&p);
		return false;
	}
	return cni_json_push(args, p);
}

/* A bad name is refused at set-up, and left out at tear-down, which must work for whatever came so far. */
static int args_make(struct cni *c, const struct crio_network_args *a, bool strict, struct json_object **ret,
		     crio_err *err)
{
	const struct {
		const char *key, *value;
	} rows[] = {{"K8S_POD_NAMESPACE", a->ns},
		    {"K8S_POD_NAME", a->name},
		    {"K8S_POD_INFRA_CONTAINER_ID", a->id},
		    {"K8S_POD_UID", a->uid}};
	cleanup_json struct json_object *args = json_object_new_array();
	bool ok = args && pair(args, "IgnoreUnknown", "1");

	for (size_t i = 0; ok && i < sizeof(rows) / sizeof(*rows); i++) {
		bool fine = arg_ok(rows[i].value);

		if (!fine && strict)
			return c->host->fail(
			    err, CRIO_E_INVALID,
			    "%s must not have control characters, ';' or '=' in it, nor be longer than %d bytes",
			    rows[i].key, ARG_MAX_LEN);
		ok = pair(args, rows[i].key, fine ? rows[i].value : "");
	}
	if (!ok)
		return cni_nomem(c, err);
	*ret = args;
	args = NULL;
	return 0;
}

/* A kubelet lists every container port; those without a host port are no mapping, and portmap refuses them. */
static size_t ports_count(const struct crio_port_mappings *ports)
{
	size_t n = 0;

	for (size_t i = 0; i < ports->n; i++)
		n += CRIO_ROW(crio_port_mapping, *ports, i)->host_port != 0;
	return n;
}

static struct json_object *ports_make(const struct crio_port_mappings *ports)
{
	struct json_object *arr = json_object_new_array();
	bool ok = arr != NULL;

	for (size_t i = 0; ok && i < ports->n; i++) {
		const struct crio_port_mapping *p = CRIO_ROW(crio_port_mapping, *ports, i);
		struct json_object *o;

		if (p->host_port == 0)
			continue;
		o = json_object_new_object();
		ok = cni_json_set(o, "hostPort", json_object_new_int64(p->host_port)) &&
		     cni_json_set(o, "containerPort", json_object_new_int64(p->container_port)) &&
		     cni_json_set(o, "protocol", json_object_new_string(p->protocol)) &&
		     cni_json_set(o, "hostIP", json_object_new_string(p->host_ip));
		if (!ok)
			json_putp(&o);
		ok = ok && cni_json_push(arr, o);
	}
	if (!ok)
		json_putp(&arr);
	return arr;
}

static struct json_object *bandwidth_make(int64_t in, int64_t out)
{
	struct json_object *o = json_object_new_object();

	if (!cni_json_set(o, "ingressRate", json_object_new_int64(in > 0 ? in : 0)) ||
	    !cni_json_set(o, "ingressBurst", json_object_new_int64(in > 0 ? BURST : 0)) ||
	    !cni_json_set(o, "egressRate", json_object_new_int64(out > 0 ? out : 0)) ||
	    !cni_json_set(o, "egressBurst", json_object_new_int64(out > 0 ? BURST : 0)))
		json_putp(&o);
	return o;
}

static struct json_object *annotations_make(const struct crio_map *m)
{
	struct json_object *o = json_object_new_object();
	bool ok = o != NULL;

	for (size_t i = 0; ok && i < m->n; i++)
		ok = cni_json_set(o, m->v[i].key, json_object_new_string(m->v[i].value));
	if (!ok)
		json_putp(&o);
	return o;
}

static struct json_object *aliases_make(const struct crio_strs *l)
{
	struct json_object *arr = json_object_new_array();
	bool ok = arr != NULL;

	for (size_t i = 0; ok && i < l->n; i++)
		ok = cni_json_push(arr, json_object_new_string(l->v[i]));
	if (!ok)
		json_putp(&arr);
	return arr;
}

/* Everything that can be told; each program gets what its `capabilities` ask for. */
static int caps_make(struct cni *c, const struct crio_network_args *a, struct json_object **ret, crio_err *err)
{
	cleanup_json struct json_object *caps = json_object_new_object();
	bool ok = caps != NULL;

	if (ok && ports_count(&a->ports) > 0)
		ok = cni_json_set(caps, "portMappings", ports_make(&a->ports));
	if (ok && (a->ingress_rate > 0 || a->egress_rate > 0))
		ok = cni_json_set(caps, "bandwidth", bandwidth_make(a->ingress_rate, a->egress_rate));
	if (ok && a->aliases.n > 0)
		ok = cni_json_set(caps, "aliases", aliases_make(&a->aliases));
	if (ok && *a->cgroup_path)
		ok = cni_json_set(caps, "cgroupPath", json_object_new_string(a->cgroup_path));
	if (ok)
		ok = cni_json_set(caps, "io.kubernetes.cri.pod-annotations", annotations_make(&a->annotations));
	if (!ok)
		return cni_nomem(c, err);
	*ret = caps;
	caps = NULL;
	return 0;
}

/* ids become parts of file names and of the environment. */
static int attach_make(struct cni *c, const struct crio_network_args *a, struct attach *ret, crio_err *err)
{
	ret->id = a->id;
	ret->ifname = *a->ifname ? a->ifname : "eth0";
	/* A path whose namespace is gone (a plain file after a reboot) would make programs fail: "" is what they know.
	 */
	ret->netns = a->netns_fd >= 0 ? a->netns_path : "";
	if (!cni_name_ok(ret->id, 110))
		return c->host->fail(err, CRIO_E_INVALID,
				     "sandbox id has other characters than [a-zA-Z0-9_.-], or more than 110");
	if (!cni_ifname_ok(ret->ifname))
		return c->host->fail(err, CRIO_E_INVALID, "interface name '%.16s' is no name of an interface",
				     ret->ifname);
	return 0;
}

/* ---- operations ---- */

/* What is left of the call after an ADD that used its part of it; runs on when the call has ended. */
static crio_call *rollback_call(struct cni *c, crio_call *call)
{
	int64_t d = c->host->deadline_ns(call), left = ROLLBACK_MAX;

	if (d != INT64_MAX)
		left = d - c->host->now_ns();
	left = left > ROLLBACK_MAX ? ROLLBACK_MAX : left < ROLLBACK_MIN ? ROLLBACK_MIN : left;
	return c->host->call_sub(NULL, left);
}

static void rollback(struct cni *c, crio_call *call, const struct list *l, const struct attach *at)
{
	crio_call *own = rollback_call(c, call);
	crio_err *why = c->host->err_new();
	int r = own ? cni_chain_del(c, own, l, at, NULL, why) : CRIO_E_NOMEM;

	if (r == 0)
		(void)cni_cache_del(c, own, l->name, at->id, at->ifname, NULL); /* teardown does, if this cannot */
	else /* the cache file stays, for teardown or gc to try again */
		c->host->log(c->in, CRIO_LOG_WARN, "Undo the failed attachment of %s to CNI network %s: %s", at->id,
			     l->name, c->host->err_text(why));
	c->host->err_free(why);
	if (own)
		c->host->call_free(own);
}

/* ADD may take all of the call's time but the part that its rollback needs. */
static int64_t add_budget(struct cni *c, crio_call *call)
{
	int64_t d = c->host->deadline_ns(call), left, keep;

	if (d == INT64_MAX)
		return 0;
	left = d - c->host->now_ns();
	keep = left / 4 < 10 * CNI_SEC ? left / 4 : 10 * CNI_SEC;
	return left - keep > 0 ? left - keep : 1;
}

static int attach(struct cni *c, crio_call *call, const struct list *l, const struct attach *at,
		  struct json_object **ret, crio_err *err)
{
	cleanup_json struct json_object *result = NULL;
	crio_call *sub = c->host->call_sub(call, add_budget(c, call));
	struct crio_strs ips;
	/* Before its record is there to be seen by a gc. */
	int r = sub ? cni_active_add(c, at->id, err) : cni_nomem(c, err);

	if (r == 0 && (r = cni_cache_write(c, sub, l, at, NULL, err)) < 0)
		cni_active_del(c, at->id);
	if (r == 0) {
		r = cni_chain_add(c, sub, l, at, &result, err);
		if (r == 0)
			r = cni_result_ips(c, sub, result, &ips, err);
		if (r == 0)
			r = cni_cache_write(c, sub, l, at, result, err);
		if (r < 0) {
			rollback(c, call, l, at);
			cni_active_del(c, at->id);
		}
	}
	if (sub)
		c->host->call_free(sub);
	if (r < 0)
		return r;
	*ret = result;
	result = NULL;
	return 0;
}

static int setup(void *self, crio_call *call, const struct crio_network_args *args, struct crio_network_out *out,
		 crio_err *err)
{
	struct cni *c = self;
	cleanup_net struct net *net = cni_default(c);
	cleanup_json struct json_object *a = NULL, *caps = NULL, *result = NULL;
	cleanup_list struct list l = {0};
	struct attach at;
	const char *text;
	int r = attach_make(c, args, &at, err);

	if (r < 0)
		return r;
	if (!net)
		return c->host->fail(err, CRIO_E_UNAVAILABLE, "%s", cni_missing_text(c, call));
	if (!*at.netns)
		return c->host->fail(err, CRIO_E_INVALID, "pod has no network namespace to attach");
	r = args_make(c, args, true, &a, err);
	if (r == 0)
		r = caps_make(c, args, &caps, err);
	if (r == 0)
		r = cni_list_parse(c, net->text, strlen(net->text), &l, err);
	if (r < 0)
		return r;
	at.args = a;
	at.caps = caps;
	c->host->log(c->in, CRIO_LOG_DEBUG, "Adding pod %s_%s to CNI network \"%s\" (type=%s)", args->ns, args->name,
		     net->name, net->type);
	r = attach(c, call, &l, &at, &result, err);
	if (r < 0)
		return c->host->wrap(err, "error adding pod %s_%s to CNI network \"%s\"", args->ns, args->name,
				     net->name);
	r = cni_result_ips(c, call, result, &out->ips, err);
	text = cni_json_text(result);
	out->result_json = text ? c->host->strdup(call, text) : NULL;
	if (r < 0 || !out->result_json) {
		rollback(c, call, &l, &at);
		return r < 0 ? r : cni_nomem(c, err);
	}
	return 0;
}

/* With what the attachment was made by, or, when that is lost, by the default network of today. */
static int teardown(void *self, crio_call *call, const struct crio_network_args *args, struct crio_network_no_out *out,
		    crio_err *err)
{
	struct cni *c = self;
	cleanup_net struct net *net = cni_default(c);
	cleanup_cached struct cached k = {0};
	cleanup_json struct json_object *a = NULL, *caps = NULL, *lost = NULL;
	cleanup_list struct list l = {0};
	struct attach at;
	int r = attach_make(c, args, &at, err);

	(void)out;
	if (r < 0)
		return r;
	if (cni_cache_find(c, call, at.id, at.ifname, &k, NULL) == 0) {
		r = cni_list_parse(c, k.config, k.config_n, &l, err);
	} else if (net) {
		r = cni_list_parse(c, net->text, strlen(net->text), &l, err);
	} else {
		c->host->log(c->in, CRIO_LOG_INFO,
			     "Pod %s_%s (%s) has no cached CNI attachment, and there is no CNI network: "
			     "nothing to detach",
			     args->ns, args->name, at.id);
		return 0;
	}
	if (r == 0 && !k.args)
		r = args_make(c, args, false, &a, err);
	if (r == 0 && !k.root)
		r = caps_make(c, args, &caps, err);
	if (r < 0)
		return r;
	at.args = k.args ? k.args : a;
	at.caps = k.root ? k.caps : caps;
	if (!k.result && *args->result_json)
		(void)cni_json_parse(c, args->result_json, strlen(args->result_json), &lost, NULL);
	c->host->log(c->in, CRIO_LOG_DEBUG, "Deleting pod %s_%s from CNI network \"%s\"", args->ns, args->name, l.name);
	r = cni_chain_del(c, call, &l, &at, k.result ? k.result : lost, err);
	if (r < 0)
		return c->host->wrap(err, "error removing pod %s_%s from CNI network \"%s\"", args->ns, args->name,
				     l.name);
	/* The caller asks again: DEL of what is gone succeeds, and the record goes then. */
	r = cni_cache_del(c, call, l.name, at.id, at.ifname, err);
	if (r < 0)
		return c->host->wrap(err, "error removing pod %s_%s from CNI network \"%s\"", args->ns, args->name, l.name);
	cni_active_del(c, at.id);
	return 0;
}

static int check_attached(void *self, crio_call *call, const struct crio_network_args *args,
			  struct crio_network_no_out *out, crio_err *err)
{
	struct cni *c = self;
	cleanup_cached struct cached k = {0};
	cleanup_json struct json_object *lost = NULL;
	cleanup_list struct list l = {0};
	struct attach at;
	int r = attach_make(c, args, &at, err);

	(void)out;
	if (r == 0)
		r = cni_cache_find(c, call, at.id, at.ifname, &k, err);
	if (r == 0)
		r = cni_list_parse(c, k.config, k.config_n, &l, err);
	if (r < 0)
		return r;
	at.args = k.args;
	at.caps = k.caps;
	if (!k.result && *args->result_json)
		(void)cni_json_parse(c, args->result_json, strlen(args->result_json), &lost, NULL);
	r = cni_chain_check(c, call, &l, &at, k.result ? k.result : lost, err);
	return r < 0
		   ? c->host->wrap(err, "error checking pod %s_%s for CNI network \"%s\"", args->ns, args->name, l.name)
		   : 0;
}

static int status(void *self, crio_call *call, const struct crio_network_no_args *args,
		  struct crio_network_status_out *out, crio_err *err)
{
	struct cni *c = self;
	bool ready;
	char *message, *network;

	(void)args;
	(void)pthread_mutex_lock(&c->mu);
	ready = c->ready;
	message = c->host->strdup(call, c->message ? c->message : "");
	network = c->host->strdup(call, c->dflt ? c->dflt->name : "");
	(void)pthread_mutex_unlock(&c->mu);
	if (!message || !network)
		return cni_nomem(c, err);
	out->ready = ready;
	out->reason = ready ? "" : "NetworkPluginNotReady";
	out->message = message;
	out->network = network;
	return 0;
}

static int gc(void *self, crio_call *call, const struct crio_network_gc_args *args, struct crio_network_no_out *out,
	      crio_err *err)
{
	(void)out;
	return cni_gc(self, call, args, err);
}

/* ---- life ---- */

static void release(struct cni *c)
{
	follow_release(&c->follow);
	cni_nets_release(c);
	cni_versions_release(c);
	cni_active_del(c, NULL);
	for (size_t i = 0; i < c->n_bin_dirs; i++)
		free(c->bin_dirs[i]);
	free(c->bin_dirs);
	free(c->bin_path);
	free(c->conf_dir);
	free(c->cache_dir);
	free(c->default_name);
	free(c->message);
	(void)pthread_mutex_destroy(&c->mu);
	free(c);
}

/* A trailing slash goes from all but messages of conf_dir, which CRI-O shows as configured. */
static char *dir_copy(const char *s)
{
	char *p = strdup(s);

	for (size_t n = p ? strlen(p) : 0; n > 1 && p[n - 1] == '/'; n--)
		p[n - 1] = '\0';
	return p;
}

static int options_take(struct cni *c, crio_err *err)
{
	const struct crio_host *h = c->host;
	const char *conf = h->opt_str(c->in, "network_dir"), *cache = h->opt_str(c->in, "cache_dir");
	const char *dflt = h->opt_str(c->in, "default_network");
	struct crio_strs dirs = h->opt_strs(c->in, "plugin_dirs");
	size_t total = 1;

	c->grace_ns = h->opt_int(c->in, "status_grace_period") * CNI_MS;
	c->conf_dir = conf ? strdup(conf) : NULL;
	c->cache_dir = cache ? dir_copy(cache) : NULL;
	c->default_name = strdup(dflt ? dflt : "");
	c->bin_dirs = calloc(dirs.n + 1, sizeof(*c->bin_dirs));
	if (!c->conf_dir || !c->cache_dir || !c->default_name || !c->bin_dirs)
		return cni_nomem(c, err);
	for (size_t i = 0; i < dirs.n; i++) {
		if (dirs.v[i][0] != '/')
			return h->fail(err, CRIO_E_INVALID, "plugin_dirs: '%s' is not an absolute path", dirs.v[i]);
		c->bin_dirs[c->n_bin_dirs] = dir_copy(dirs.v[i]);
		if (!c->bin_dirs[c->n_bin_dirs++])
			return cni_nomem(c, err);
		total += strlen(dirs.v[i]) + 1;
	}
	c->bin_path = calloc(1, total);
	if (!c->bin_path)
		return cni_nomem(c, err);
	for (size_t i = 0, at = 0; i < c->n_bin_dirs; i++)
		at += (size_t)snprintf(c->bin_path + at, total - at, "%s%s", i ? ":" : "", c->bin_dirs[i]);
	return 0;
}

/* So that a network provider has where to install to, as CRI-O does. What cannot be made is awaited. */
static void make_dirs(const char *path)
{
	char *copy = strdup(path);

	for (char *p = copy ? copy + 1 : NULL; p && *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		(void)mkdir(copy, 0755);
		*p = '/';
	}
	if (copy)
		(void)mkdir(copy, 0755);
	free(copy);
}

static int cni_open(const struct crio_host *host, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	struct cni *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return host->fail(err, CRIO_E_NOMEM, "no memory");
	c->host = host;
	c->in = in;
	c->grace_ns = 0;
	atomic_init(&c->conf_wd, -1);
	(void)pthread_mutex_init(&c->mu, NULL);
	follow_init(&c->follow, host, in, cni_matters, c);
	r = options_take(c, err);
	if (r == 0) {
		make_dirs(c->conf_dir);
		for (size_t i = 0; i < c->n_bin_dirs; i++)
			make_dirs(c->bin_dirs[i]);
		cni_cache_sweep(c, call);
		r = cni_watch_start(c, call, err);
	}
	if (r < 0) {
		release(c);
		return r;
	}
	*self = c;
	return 0;
}

static void cni_close(void *self)
{
	release(self);
}

static const struct crio_option options[] = {
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "network_dir",
     .dflt = "/etc/cni/net.d/",
     .help = "Directory of CNI configuration files",
     .flags = CRIO_OPT_PATH},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STRS,
     .name = "plugin_dirs",
     .dflt = "/opt/cni/bin/",
     .help = "Directories of CNI programs, searched in order",
     .flags = CRIO_OPT_PATH},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "default_network",
     .dflt = "",
     .help = "Name of the network that pods join; empty: the first valid file"},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STR,
     .name = "cache_dir",
     .dflt = "/var/lib/cni",
     .help = "Directory of the attachments' records, shared with other users of libcni",
     .flags = CRIO_OPT_PATH},
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_MS,
     .name = "status_grace_period",
     .dflt = "0s",
     .help = "How long STATUS may fail before a ready network counts as not ready; 0s: STATUS is not asked again once "
	     "ready",
     .min = 0,
     .max = 24 * 3600 * 1000LL},
};

static const struct crio_network_ops ops = {
    .setup = setup,
    .teardown = teardown,
    .check = check_attached,
    .status = status,
    .gc = gc,
};

static const struct crio_plugin plugin = {
    CRIO_PLUGIN_HEAD(CRIO_KIND_NETWORK, CRIO_THREADS_PER_OBJECT, ops),
    .caps = 0,
    .name = "cni",
    .version = "1",
    .summary = "Pod networks by CNI programs (CNI 0.1.0 to 1.1.0)",
    .options = options,
    .options_n = sizeof(options) / sizeof(*options),
    .open = cni_open,
    .close = cni_close,
};

CRIO_PLUGIN_REGISTER(cni, plugin)
