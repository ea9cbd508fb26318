/*
 * veth: a pod network of routed veth pairs. Each pod gets one address of the option `subnet` as a /32, with a route to
 * it on the node and a default route through the subnet's first address in the pod. No bridge, no second layer.
 *
 * State: one record a sandbox, key the sandbox id, value its address. That is all it takes to give the address back after a
 * restart of crio. The set of addresses in use is rebuilt from the records in open.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <crio/network.h>

#define PREFIX_MIN 16
#define PREFIX_MAX 30
#define BATCH_MAX 1024
#define UNDO_NS (10 * 1000000000LL)

struct veth {
	const struct crio_host *host;
	crio_instance *in;
	uint32_t net;          /* host byte order; its first address is the gateway */
	unsigned prefix;
	char gateway[INET_ADDRSTRLEN];
	const char *ip_path;
	pthread_mutex_t lock;  /* guards used and next: set-ups of different pods run side by side */
	uint8_t *used;         /* one byte an address of the subnet */
	uint32_t next;
};

/* ---- addresses ---- */

static uint32_t subnet_size(const struct veth *s)
{
	return (uint32_t)1 << (32 - s->prefix);
}

static void address_text(const struct veth *s, uint32_t i, char ret[INET_ADDRSTRLEN])
{
	struct in_addr a = { htonl(s->net + i) };

	(void)inet_ntop(AF_INET, &a, ret, INET_ADDRSTRLEN);
}

/* The number of an address within the subnet; 0 when it is not one that we give out. */
static uint32_t address_index(const struct veth *s, const char *text)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1)
		return 0;
	uint32_t i = ntohl(a.s_addr) - s->net;
	return i > 1 && i < subnet_size(s) - 1 ? i : 0;
}

/* Round robin, so that an address that was just given back rests a while. 0: all are taken. */
static uint32_t address_take(struct veth *s)
{
	uint32_t n = subnet_size(s), found = 0;

	(void)pthread_mutex_lock(&s->lock);
	for (uint32_t tries = 0; tries < n && !found; tries++) {
		uint32_t i = s->next;

		s->next = i + 1 < n - 1 ? i + 1 : 2;
		if (!s->used[i])
			found = i;
	}
	if (found)
		s->used[found] = 1;
	(void)pthread_mutex_unlock(&s->lock);
	return found;
}

static void address_give(struct veth *s, uint32_t i)
{
	(void)pthread_mutex_lock(&s->lock);
	s->used[i] = 0;
	(void)pthread_mutex_unlock(&s->lock);
}

/* The address on record for a sandbox. 0: none. */
static uint32_t address_of(struct veth *s, crio_call *call, const char *id)
{
	struct crio_bytes v = { NULL, 0 };

	/* Without an error to fill: that there is no record is an ordinary answer here. */
	if (s->host->state_get(s->in, call, id, &v, NULL) < 0)
		return 0;
	return address_index(s, v.p); /* the host puts a NUL behind what it returns */
}

/* ---- links ---- */

/* The node's end of a pod's pair: names have 15 bytes at most. */
static void link_name(const char *id, char ret[IFNAMSIZ])
{
	(void)snprintf(ret, IFNAMSIZ, "veth%.11s", id);
}

/* Runs `ip -batch -` in a namespace (-1: the node's). The host ends it at the call's deadline. */
static int run_ip(struct veth *s, crio_call *call, int netns_fd, const char *batch, crio_err *err)
{
	static const char *const argv[] = { "ip", "-batch", "-" };
	struct crio_spawn a = { .size = sizeof(a), .flags = CRIO_SPAWN_CAPTURE, .path = s->ip_path };
	struct crio_spawned out = { .size = sizeof(out) };

	a.argv.v = argv;
	a.argv.n = 3;
	a.stdin_fd = a.stdout_fd = a.stderr_fd = -1;
	a.netns_fd = netns_fd;
	a.stdin_data.p = batch;
	a.stdin_data.n = strlen(batch);
	int r = s->host->spawn(s->in, call, &a, &out, err);
	if (r < 0)
		return s->host->wrap(err, "run %s", s->ip_path);
	if (out.exit_code) {
		const char *said = out.err.p;

		return s->host->fail(err, CRIO_E_IO, "%s ended with %d: %.*s", s->ip_path, out.exit_code,
				     (int)strcspn(said, "\n"), said);
	}
	return 0;
}

static int link_make(struct veth *s, crio_call *call, const struct crio_network_args *a, const char *address, crio_err *err)
{
	char link[IFNAMSIZ], batch[BATCH_MAX];
	long long mtu = (long long)s->host->opt_int(s->in, "mtu");

	link_name(a->id, link);
	int n = snprintf(batch, sizeof(batch),
			 "link add %s mtu %lld type veth peer name %s mtu %lld netns %s\n"
			 "addr add %s/32 dev %s\n"
			 "link set %s up\n"
			 "route replace %s/32 dev %s scope link\n",
			 link, mtu, a->ifname, mtu, a->netns_path, s->gateway, link, link, address, link);
	if (n < 0 || (size_t)n >= sizeof(batch))
		return s->host->fail(err, CRIO_E_INVALID, "the path %s is too long", a->netns_path);
	int r = run_ip(s, call, -1, batch, err);
	if (r < 0)
		return s->host->wrap(err, "connect link %s", link);
	(void)snprintf(batch, sizeof(batch),
		       "addr add %s/32 dev %s\n"
		       "link set %s up\n"
		       "route replace %s dev %s scope link\n"
		       "route replace default via %s dev %s\n",
		       address, a->ifname, a->ifname, s->gateway, a->ifname, s->gateway, a->ifname);
	r = run_ip(s, call, a->netns_fd, batch, err);
	return r < 0 ? s->host->wrap(err, "configure %s in the pod", a->ifname) : 0;
}

/* The other end, addresses and routes go with it; it has gone by itself when the namespace has. */
static int link_remove(struct veth *s, crio_call *call, const char *id, crio_err *err)
{
	char link[IFNAMSIZ], batch[64];

	link_name(id, link);
	if (!if_nametoindex(link))
		return 0;
	(void)snprintf(batch, sizeof(batch), "link del %s\n", link);
	crio_err *why = s->host->err_new();
	int r = run_ip(s, call, -1, batch, why);
	if (r < 0 && !if_nametoindex(link))
		r = 0; /* someone was faster */
	if (r < 0)
		r = s->host->fail(err, r, "remove link %s: %s", link, why ? s->host->err_text(why) : "no memory");
	if (why)
		s->host->err_free(why);
	return r;
}

/* ---- operations ---- */

static int detach(struct veth *s, crio_call *call, const char *id, crio_err *err)
{
	int r = link_remove(s, call, id, err);
	if (r < 0)
		return r;
	/* The record goes last and the address after it: a crash in between repeats all of this. */
	uint32_t i = address_of(s, call, id);
	r = s->host->state_del(s->in, call, id, err);
	if (r == 0 && i)
		address_give(s, i);
	return r;
}

static int fill_result(struct veth *s, crio_call *call, const struct crio_network_args *a, const char *address,
		       struct crio_network_out *out, crio_err *err)
{
	static const char form[] = "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"%s\",\"sandbox\":\"%s\"}],"
				   "\"ips\":[{\"address\":\"%s/32\",\"gateway\":\"%s\",\"interface\":0}]}";
	size_t n = sizeof(form) + strlen(a->ifname) + strlen(a->netns_path) + 2 * INET_ADDRSTRLEN;
	char *json = s->host->alloc(call, n);
	const char **ips = s->host->alloc(call, sizeof(*ips));

	if (!json || !ips || !(ips[0] = s->host->strdup(call, address)))
		return s->host->fail(err, CRIO_E_NOMEM, "no memory");
	(void)snprintf(json, n, form, a->ifname, a->netns_path, address, s->gateway);
	out->ips.v = ips;
	out->ips.n = 1;
	out->result_json = json;
	return 0;
}

static int setup(void *self, crio_call *call, const struct crio_network_args *a, struct crio_network_out *out, crio_err *err)
{
	struct veth *s = self;
	char address[INET_ADDRSTRLEN];

	if (a->netns_fd < 0)
		return s->host->fail(err, CRIO_E_INVALID, "pod '%s' has no network namespace", a->name);
	/* What an attempt that was cut short has left. */
	int r = detach(s, call, a->id, err);
	if (r < 0)
		return r;
	uint32_t i = address_take(s);
	if (!i)
		return s->host->fail(err, CRIO_E_EXHAUSTED, "every address of subnet %s is taken",
				     s->host->opt_str(s->in, "subnet"));
	address_text(s, i, address);
	struct crio_bytes v = { address, strlen(address) };
	r = s->host->state_put(s->in, call, a->id, v, CRIO_STATE_RUN, err);
	if (r < 0) {
		address_give(s, i);
		return r;
	}
	r = link_make(s, call, a, address, err);
	if (r == 0)
		r = fill_result(s, call, a, address, out, err);
	if (r < 0) {
		/* The call may be over, which is why this is needed: cleaning up has a time of its own. */
		crio_call *undo = s->host->call_sub(NULL, UNDO_NS);

		if (undo) {
			(void)detach(s, undo, a->id, NULL);
			s->host->call_free(undo);
		}
	}
	return r;
}

static int teardown(void *self, crio_call *call, const struct crio_network_args *a, struct crio_network_no_out *out, crio_err *err)
{
	(void)out;
	return detach(self, call, a->id, err);
}

static int check(void *self, crio_call *call, const struct crio_network_args *a, struct crio_network_no_out *out, crio_err *err)
{
	struct veth *s = self;
	char link[IFNAMSIZ];

	(void)out;
	link_name(a->id, link);
	if (!address_of(s, call, a->id))
		return s->host->fail(err, CRIO_E_NOT_FOUND, "sandbox %s has no address on record", a->id);
	if (!if_nametoindex(link))
		return s->host->fail(err, CRIO_E_UNAVAILABLE, "link %s of sandbox %s is gone", link, a->id);
	return 0;
}

static int status(void *self, crio_call *call, const struct crio_network_no_args *a, struct crio_network_status_out *out, crio_err *err)
{
	struct veth *s = self;

	(void)call, (void)a, (void)err;
	out->ready = 1;
	out->reason = out->message = "";
	out->network = s->host->instance_name(s->in);
	return 0;
}

static int gc(void *self, crio_call *call, const struct crio_network_gc_args *a, struct crio_network_no_out *out, crio_err *err)
{
	struct veth *s = self;
	struct crio_strs have = { NULL, 0 };

	(void)out;
	int r = s->host->state_list(s->in, call, &have, err);
	for (size_t i = 0; r == 0 && i < have.n; i++) {
		int wanted = 0;

		for (size_t j = 0; j < a->n && !wanted; j++)
			wanted = !strcmp(CRIO_ROW(crio_network_attachment, *a, j)->id, have.v[i]);
		if (!wanted)
			r = detach(s, call, have.v[i], err);
	}
	return r;
}

/* ---- life ---- */

static void veth_close(void *self)
{
	struct veth *s = self;

	(void)pthread_mutex_destroy(&s->lock);
	free(s->used);
	free(s);
}

static int parse_subnet(struct veth *s, crio_err *err)
{
	const char *text = s->host->opt_str(s->in, "subnet"), *slash = strchr(text, '/');
	char host[INET_ADDRSTRLEN];
	struct in_addr a;

	if (!slash || (size_t)(slash - text) >= sizeof(host))
		return s->host->fail(err, CRIO_E_INVALID, "option subnet: '%s' is not of the form 10.86.0.0/24", text);
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	char *end;
	unsigned long prefix = strtoul(slash + 1, &end, 10);
	if (inet_pton(AF_INET, host, &a) != 1 || *end || end == slash + 1 || prefix < PREFIX_MIN || prefix > PREFIX_MAX)
		return s->host->fail(err, CRIO_E_INVALID, "option subnet: '%s' is not an IPv4 subnet of /%d to /%d", text,
				     PREFIX_MIN, PREFIX_MAX);
	s->prefix = (unsigned)prefix;
	s->net = ntohl(a.s_addr) & ~(subnet_size(s) - 1);
	s->next = 2;
	address_text(s, 1, s->gateway);
	s->used = calloc(subnet_size(s), 1);
	return s->used ? 0 : s->host->fail(err, CRIO_E_NOMEM, "no memory");
}

static int load_records(struct veth *s, crio_call *call, crio_err *err)
{
	struct crio_strs keys = { NULL, 0 };
	int r = s->host->state_list(s->in, call, &keys, err);

	for (size_t i = 0; r == 0 && i < keys.n; i++) {
		uint32_t n = address_of(s, call, keys.v[i]);

		if (n)
			s->used[n] = 1;
	}
	return r;
}

static int find_ip(struct veth *s)
{
	static const char *const places[] = { "/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip" };

	s->ip_path = s->host->opt_str(s->in, "ip_path");
	for (size_t i = 0; !s->ip_path && i < sizeof(places) / sizeof(places[0]); i++)
		if (access(places[i], X_OK) == 0)
			s->ip_path = places[i];
	if (!s->ip_path)
		s->ip_path = places[0];
	return access(s->ip_path, X_OK);
}

static int veth_open(const struct crio_host *host, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	struct crio_event_ready ready = { .size = sizeof(ready), .ready = 1, .reason = "", .message = "" };
	struct veth *s = calloc(1, sizeof(*s));

	if (!s)
		return host->fail(err, CRIO_E_NOMEM, "no memory");
	s->host = host;
	s->in = in;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)find_ip(s); /* check() says it when there is none */
	int r = parse_subnet(s, err);
	if (r == 0)
		r = load_records(s, call, err);
	if (r < 0) {
		veth_close(s);
		return r;
	}
	(void)host->emit(in, CRIO_EVENT_READY, &ready);
	*self = s;
	return 0;
}

static int veth_check(void *self, crio_call *call, crio_err *err)
{
	struct veth *s = self;

	(void)call;
	if (access(s->ip_path, X_OK) < 0)
		return s->host->fail(err, CRIO_E_UNAVAILABLE, "program %s: %s", s->ip_path, strerror(errno));
	return 0;
}

static const struct crio_option options[] = {
	{ .size = sizeof(struct crio_option), .type = CRIO_OPT_STR, .name = "subnet", .dflt = "10.86.0.0/24",
	  .help = "IPv4 subnet of the pods, /16 to /30; its first address is their gateway" },
	{ .size = sizeof(struct crio_option), .type = CRIO_OPT_INT, .name = "mtu", .dflt = "1500", .help = "MTU of the links in bytes",
	  .min = 576, .max = 65535 },
	{ .size = sizeof(struct crio_option), .type = CRIO_OPT_STR, .name = "ip_path", .flags = CRIO_OPT_PATH,
	  .help = "the program ip; unset: looked for in the usual places" },
};

static const struct crio_network_ops ops = {
	.setup = setup,
	.teardown = teardown,
	.check = check,
	.status = status,
	.gc = gc,
};

static const struct crio_plugin plugin = {
	CRIO_PLUGIN_HEAD(CRIO_KIND_NETWORK, CRIO_THREADS_PER_OBJECT, ops),
	.name = "veth",
	.version = "1",
	.summary = "Routed veth pairs, an address a pod",
	.options = options,
	.options_n = sizeof(options) / sizeof(options[0]),
	.open = veth_open,
	.close = veth_close,
	.check = veth_check,
};

CRIO_PLUGIN_REGISTER(veth, plugin)
