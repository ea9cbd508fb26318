/* network.c: the pod's network through its plugin, and the node's readiness. */
#include "core/lifecycle/annotations.h"
#include "core/lifecycle/hostport.h"
#include "core/lifecycle/inner.h"
#include "core/lifecycle/netns.h"
#include "core/plugin/select.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/meter.h"

#define SETUP_NS (5 * 60 * SEC)
#define GC_NS (30 * SEC)
#define TEARDOWN_NS (60 * SEC) /* contract: one minute for the network at stop */

static void set_ready(struct lifecycle *lc, bool ready, const char *reason, const char *message)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->net_lock);
	lc->net_ready = ready;
	(void)config_set_str(&lc->net_reason, reason);
	(void)config_set_str(&lc->net_message, message);
	(void)pthread_cond_broadcast(&lc->net_changed);
}

/* ---- what a crash left ---- */

/* References; also pods that no list shows yet. */
static int all_pods(struct lifecycle *lc, struct pod ***ret, size_t *ret_n, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->lock);
	struct pod **v = calloc(lc->n_pods + 1, sizeof(struct pod *));
	if (!v)
		return err_nomem(err);
	for (size_t i = 0; i < lc->n_pods; i++)
		v[i] = pod_ref(lc->pod_order[i]);
	*ret = v;
	*ret_n = lc->n_pods;
	return 0;
}

/* Rows borrow from the pods. */
static int collect(struct pod **pods, size_t n, struct plugin_inst *in, crio_call *call, crio_err *err)
{
	cleanup_free struct crio_network_attachment *v = calloc(n + 1, sizeof(*v));
	if (!v)
		return err_nomem(err);
	/* All pods, whatever their network: instances may share a cache. */
	struct crio_network_gc_args a = { .size = sizeof(a), .v = v, .stride = sizeof(*v) };
	for (size_t i = 0; i < n; i++)
		if (!pods[i]->host_network)
			v[a.n++] = (struct crio_network_attachment){ .size = sizeof(*v), .id = pods[i]->id, .ifname = "eth0" };
	struct crio_network_no_out o = { .size = sizeof(o) };
	cleanup_call crio_call *sub = call_sub(call, GC_NS);
	return sub ? plugin_network_gc(in, sub, &a, &o, err) : err_nomem(err);
}

/* Attachments of pods that nobody knows any more are undone, once after a start, when the network is ready. Pods that are being made
 * meanwhile are the plugin's own to spare: it has attached them. */
static void gc_job(void *arg)
{
	struct lifecycle *lc = arg;
	cleanup_call crio_call *call = call_new("CollectNetwork", now_mono_ns() + 2 * GC_NS);
	cleanup_err crio_err err = ERR_INIT;
	struct pod **pods = NULL;
	size_t n = 0;
	int r = call ? all_pods(lc, &pods, &n, &err) : err_nomem(&err);
	if (r == 0)
		r = collect(pods, n, lc->net, call, &err);
	if (r < 0)
		log_warn("Collect what is left of earlier pods' networks: %s", err_text(&err));
	for (size_t i = 0; i < n; i++)
		pod_unref(pods[i]);
	free(pods);
	cleanup_unlock pthread_mutex_t *l = lock(&lc->net_lock);
	lc->gc_running = false;
	(void)pthread_cond_broadcast(&lc->net_changed);
}

static void gc_start(struct lifecycle *lc)
{
	(void)pthread_mutex_lock(&lc->net_lock);
	bool go = lc->gc_due && lc->net_ready;
	if (go) {
		lc->gc_due = false;
		lc->gc_running = true;
	}
	(void)pthread_mutex_unlock(&lc->net_lock);
	if (go && workers_run(lc->workers, WORK_TEARDOWN, gc_job, lc, NULL) < 0) {
		cleanup_unlock pthread_mutex_t *l = lock(&lc->net_lock);
		lc->gc_running = false;
		(void)pthread_cond_broadcast(&lc->net_changed);
	}
}

void network_gc_after_start(struct lifecycle *lc)
{
	if (!lc->net || !plugin_inst_has_op(lc->net, "gc"))
		return;
	(void)pthread_mutex_lock(&lc->net_lock);
	lc->gc_due = true;
	(void)pthread_mutex_unlock(&lc->net_lock);
	gc_start(lc);
}

void network_gc_stop(struct lifecycle *lc)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->net_lock);
	lc->gc_due = false;
	while (lc->gc_running)
		(void)pthread_cond_wait(&lc->net_changed, &lc->net_lock);
}

/* ---- readiness ---- */

static void on_network_event(void *arg, struct plugin_inst *in, int type, const void *event)
{
	(void)in;
	if (type != CRIO_EVENT_READY)
		return;
	const struct crio_event_ready *e = event;
	set_ready(arg, e->ready, e->reason ? e->reason : "", e->message ? e->message : "");
	gc_start(arg);
}

int network_init(struct lifecycle *lc, crio_call *call)
{
	set_ready(lc, false, "NetworkPluginNotReady", "Network plugin returns error: the network plugin has not reported yet");
	cleanup_selection struct selection s;
	memset(&s, 0, sizeof(s));
	cleanup_err crio_err err = ERR_INIT;
	int r = select_default_network(lc->plugins, lc->conf, &s, &err);
	if (r == 0)
		r = plugins_open(lc->plugins, call, CRIO_KIND_NETWORK, s.network, s.network_instance, &s.network_options, &lc->net, &err);
	if (r < 0) {
		/* The node stays up for pods on the host's network; Status says why others cannot run. */
		cleanup_free char *m = path_fmt("Network plugin returns error: %s", err_text(&err));
		log_warn("The default network is not available: %s", err_text(&err));
		set_ready(lc, false, "NetworkPluginNotReady", m ? m : "Network plugin returns error");
		return 0;
	}
	struct crio_network_no_args a = { .size = sizeof(a) };
	struct crio_network_status_out o = { .size = sizeof(o) };
	if (plugin_network_status(lc->net, call, &a, &o, NULL) == 0)
		set_ready(lc, o.ready, o.reason ? o.reason : "", o.message ? o.message : "");
	plugin_inst_listen(lc->net, on_network_event, lc);
	return 0;
}

int lifecycle_network_ready(struct lifecycle *lc, bool *ret_ready, char **ret_reason, char **ret_message, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&lc->net_lock);
	cleanup_free char *reason = strdup(lc->net_ready ? "" : lc->net_reason);
	cleanup_free char *message = strdup(lc->net_ready ? "" : lc->net_message);
	if (!reason || !message)
		return err_nomem(err);
	*ret_ready = lc->net_ready;
	*ret_reason = move_ptr(reason);
	*ret_message = move_ptr(message);
	return 0;
}

static void wake(void *arg)
{
	struct lifecycle *lc = arg;
	cleanup_unlock pthread_mutex_t *l = lock(&lc->net_lock);
	(void)pthread_cond_broadcast(&lc->net_changed);
}

int network_wait_ready(struct pod *p, crio_call *call, crio_err *err)
{
	struct lifecycle *lc = p->lc;
	if (p->network != lc->net) {
		struct crio_network_no_args a = { .size = sizeof(a) };
		struct crio_network_status_out o = { .size = sizeof(o) };
		int r = plugin_network_status(p->network, call, &a, &o, err);
		if (r < 0 || o.ready)
			return r;
		return err_set(err, CRIO_E_UNAVAILABLE, "network '%s' is not ready: %s", p->network_instance, o.message ? o.message : "");
	}
	int watch = call_on_cancel(call, wake, lc, NULL);
	(void)pthread_mutex_lock(&lc->net_lock);
	while (!lc->net_ready && !call_over(call)) {
		int64_t until = call_deadline(call);
		(void)cond_wait_until(&lc->net_changed, &lc->net_lock, until);
	}
	int r = lc->net_ready ? 0 : err_set(err, CRIO_E_UNAVAILABLE, "%s: %s", lc->net_reason, lc->net_message);
	(void)pthread_mutex_unlock(&lc->net_lock);
	if (watch > 0)
		call_off_cancel(call, watch);
	return r;
}

/* Bits a second, a Kubernetes quantity such as "10M", as the kubelet's annotations have it; untouched without one. */
static int rate_of(const struct kvs *m, const char *key, int64_t *ret, crio_err *err)
{
	const char *s = kvs_get(m, key);
	*ret = 0;
	if (!s || quantity_parse(s, ret))
		return 0;
	return err_set(err, CRIO_E_INVALID, "annotation %s: '%.40s' is not a rate such as 10M (bits a second)", key, s);
}

/* Whether host ports are the core's work for this pod, or are told to its network. */
static bool maps_ports(const struct pod *p)
{
	return p->config.n_ports > 0 && p->network && !(plugin_inst_caps(p->network) & CRIO_NETWORK_CAP_HOSTPORT) &&
	       !p->lc->conf->runtime.disable_hostport_mapping;
}

/* Rows and args borrow from the pod. */
static int fill_args(struct pod *p, int netns, struct crio_port_mapping *rows, struct crio_kv *kv, struct crio_network_args *a,
		     crio_err *err)
{
	static const char *const protocols[] = { "tcp", "udp", "sctp" };
	for (size_t i = 0; i < p->config.n_ports; i++) {
		const struct port_mapping *m = &p->config.ports[i];
		rows[i] = (struct crio_port_mapping){ .size = sizeof(rows[i]),
						      .host_port = (uint32_t)m->host_port,
						      .container_port = (uint32_t)m->container_port,
						      .protocol = protocols[(unsigned)m->protocol < 3 ? m->protocol : 0],
						      .host_ip = m->host_ip };
	}
	for (size_t i = 0; i < p->config.annotations.n; i++)
		kv[i] = (struct crio_kv){ p->config.annotations.v[i].key, p->config.annotations.v[i].value };
	memset(a, 0, sizeof(*a));
	a->size = sizeof(*a);
	a->netns_fd = netns;
	a->id = p->id;
	a->name = p->config.meta.name;
	a->ns = p->config.meta.ns;
	a->uid = p->config.meta.uid;
	a->netns_path = p->netns;
	a->ifname = "eth0";
	a->cgroup_path = p->cgroup_parent;
	a->ports.v = rows;
	a->ports.n = maps_ports(p) ? 0 : p->config.n_ports;
	a->ports.stride = sizeof(rows[0]);
	a->annotations.v = kv;
	a->annotations.n = p->config.annotations.n;
	a->result_json = p->cni_result;
	int r = rate_of(&p->config.annotations, "kubernetes.io/ingress-bandwidth", &a->ingress_rate, err);
	return r < 0 ? r : rate_of(&p->config.annotations, "kubernetes.io/egress-bandwidth", &a->egress_rate, err);
}

struct net_rows {
	struct crio_port_mapping *ports;
	struct crio_kv *kv;
};

static void net_rows_release(struct net_rows *n)
{
	free(n->ports);
	free(n->kv);
}

static int rows_new(const struct pod *p, struct net_rows *n, crio_err *err)
{
	n->ports = calloc(p->config.n_ports + 1, sizeof(*n->ports));
	n->kv = calloc(p->config.annotations.n + 1, sizeof(*n->kv));
	return n->ports && n->kv ? 0 : err_nomem(err);
}

static int set_up(struct pod *p, crio_call *call, crio_err *err)
{
	CLEANUP(net_rows_release) struct net_rows rows = { NULL, NULL };
	cleanup_close int netns = -1;
	int r = rows_new(p, &rows, err);
	if (r == 0 && *p->netns) {
		netns = netns_open(p->netns, err);
		r = netns < 0 ? netns : 0;
	}
	struct crio_network_args a;
	if (r == 0)
		r = fill_args(p, netns, rows.ports, rows.kv, &a, err);
	if (r < 0)
		return r;
	struct crio_network_out o = { .size = sizeof(o) };
	cleanup_call crio_call *sub = call_sub(call, SETUP_NS);
	if (!sub)
		return err_nomem(err);
	p->network_up = true; /* from here on there is something to take down */
	int64_t begun = now_mono_ns();
	r = plugin_network_setup(p->network, sub, &a, &o, err);
	if (r < 0)
		return err_wrap(err, "create pod network sandbox %s (%s)", p->name, p->id);
	meter_op_took(meter_op("network_setup_pod"), now_mono_ns() - begun);
	for (size_t i = 0; i < o.ips.n; i++)
		if (strv_add(&p->ips, o.ips.v[i]) < 0)
			return err_nomem(err);
	if (config_set_str(&p->cni_result, o.result_json) < 0)
		return err_nomem(err);
	if (!maps_ports(p))
		return 0;
	r = hostport_add(sub, p->id, p->name, &p->ips, p->config.ports, p->config.n_ports, err);
	return r < 0 ? err_wrap(err, "add host ports for pod sandbox %s (%s)", p->name, p->id) : 0;
}

int network_setup(struct pod *p, crio_call *call, crio_err *err)
{
	int64_t begun = now_mono_ns();
	int r = set_up(p, call, err);
	if (r == 0)
		meter_op_took(meter_op("network_setup_overall"), now_mono_ns() - begun);
	return r;
}

int pod_release_network(struct pod *p, crio_call *call, crio_err *err)
{
	if (!p->network_up)
		return 0;
	if (!p->network)
		return err_set(err, CRIO_E_PRECONDITION, "the network plugin '%s' of pod sandbox %s is not there: put its file back to "
			       "take the pod's network down", p->network_plugin, p->id);
	cleanup_call crio_call *sub = call_sub(call, TEARDOWN_NS);
	CLEANUP(net_rows_release) struct net_rows rows = { NULL, NULL };
	int r = sub ? rows_new(p, &rows, err) : err_nomem(err);
	/* Before the address is given back. Also when the configuration has changed since. */
	if (r == 0 && p->config.n_ports > 0 && !p->host_network) {
		r = hostport_remove(sub, p->id, p->config.ports, p->config.n_ports, err);
		if (r < 0)
			return err_wrap(err, "remove host ports of pod sandbox %s", p->id);
	}
	if (r < 0)
		return r;
	/* A namespace that has vanished is no reason not to give the address back. */
	cleanup_close int netns = *p->netns ? netns_open(p->netns, NULL) : -1;
	struct crio_network_args a;
	r = fill_args(p, netns, rows.ports, rows.kv, &a, err);
	if (r < 0)
		return r;
	if (netns < 0)
		a.netns_path = "";
	log_info("Deleting pod %s_%s from CNI network", p->config.meta.ns, p->config.meta.name);
	struct crio_network_no_out o = { .size = sizeof(o) };
	r = plugin_network_teardown(p->network, sub, &a, &o, err);
	if (r < 0)
		return err_wrap(err, "take down the network of pod sandbox %s", p->id);
	log_info("Successfully cleaned up network for pod %s", p->id);
	p->network_up = false;
	return 0;
}
