/*
 * The hostnetwork plugin: pods that share the node's network. Nothing is attached; a pod's addresses are the node's
 * own: those of the interfaces that carry the default routes, else the first ones that are up. See hostnetwork.md.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <crio/network.h>

#define ROUTES_BUF 32768
#define ROUTES_MSGS_MAX 4096 /* reads of one dump */

struct hostnet {
	const struct crio_host *host;
	crio_instance *in;
};

struct route {
	unsigned ifindex; /* 0: none */
	uint32_t metric;
};

static void route_look(const struct nlmsghdr *h, int family, struct route *best)
{
	const struct rtmsg *rt = NLMSG_DATA(h);
	int left = (int)RTM_PAYLOAD(h);
	struct route r = {0, 0};

	if (h->nlmsg_type != RTM_NEWROUTE || rt->rtm_family != family || rt->rtm_dst_len != 0 ||
	    rt->rtm_type != RTN_UNICAST || rt->rtm_table != RT_TABLE_MAIN)
		return;
	for (const struct rtattr *a = RTM_RTA(rt); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (RTA_PAYLOAD(a) < sizeof(uint32_t))
			continue;
		if (a->rta_type == RTA_OIF)
			memcpy(&r.ifindex, RTA_DATA(a), sizeof(uint32_t));
		else if (a->rta_type == RTA_PRIORITY)
			memcpy(&r.metric, RTA_DATA(a), sizeof(uint32_t));
		else if (a->rta_type == RTA_MULTIPATH && RTA_PAYLOAD(a) >= sizeof(struct rtnexthop) && !r.ifindex)
			r.ifindex = (unsigned)((const struct rtnexthop *)RTA_DATA(a))->rtnh_ifindex;
	}
	if (r.ifindex && (!best->ifindex || r.metric < best->metric))
		*best = r;
}

/* The interface of the family's default route; 0 when there is none or it cannot be told. */
static unsigned default_interface(int family)
{
	struct {
		struct nlmsghdr h;
		struct rtmsg rt;
	} req = {{.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
		  .nlmsg_type = RTM_GETROUTE,
		  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		 {.rtm_family = (unsigned char)family}};
	struct timeval limit = {.tv_sec = 2};
	struct route best = {0, 0};
	char *buf = malloc(ROUTES_BUF);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	bool done = fd < 0 || !buf || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
		    send(fd, &req, sizeof(req), 0) < 0;

	for (int i = 0; !done && i < ROUTES_MSGS_MAX; i++) {
		ssize_t n = recv(fd, buf, ROUTES_BUF, 0);
		int left = (int)n;

		if (n <= 0)
			break;
		for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
				done = true;
			else if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct rtmsg)))
				route_look(h, family, &best);
		}
	}
	if (fd >= 0)
		(void)close(fd);
	free(buf);
	return best.ifindex;
}

/* Text of a usable global address, or false. */
static bool address(const struct ifaddrs *a, int family, char *ret, size_t n)
{
	if (!a->ifa_addr || a->ifa_addr->sa_family != family || !(a->ifa_flags & IFF_UP) || a->ifa_flags & IFF_LOOPBACK)
		return false;
	if (family == AF_INET) {
		const struct in_addr *ip = &((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr;

		return (ntohl(ip->s_addr) >> 16) != 0xa9fe && inet_ntop(family, ip, ret, (socklen_t)n);
	}
	const struct in6_addr *ip6 = &((const struct sockaddr_in6 *)(const void *)a->ifa_addr)->sin6_addr;

	return !IN6_IS_ADDR_LINKLOCAL(ip6) && !IN6_IS_ADDR_MULTICAST(ip6) && inet_ntop(family, ip6, ret, (socklen_t)n);
}

/* The node's address of a family: of the default route's interface, else of the first that has one. "" none. */
static const char *primary(const struct hostnet *s, crio_call *call, const struct ifaddrs *list, int family)
{
	unsigned want = default_interface(family);
	char text[INET6_ADDRSTRLEN], first[INET6_ADDRSTRLEN] = "";

	for (const struct ifaddrs *a = list; a; a = a->ifa_next) {
		if (!address(a, family, text, sizeof(text)))
			continue;
		if (want && if_nametoindex(a->ifa_name) == want)
			return s->host->strdup(call, text);
		if (!*first)
			(void)snprintf(first, sizeof(first), "%s", text);
	}
	return s->host->strdup(call, first);
}

static int setup(void *self, crio_call *call, const struct crio_network_args *args, struct crio_network_out *out,
		 crio_err *err)
{
	static const int families[] = {AF_INET, AF_INET6};
	const struct hostnet *s = self;
	const char **v = s->host->alloc(call, 3 * sizeof(*v));
	struct ifaddrs *list = NULL;
	size_t n = 0;

	(void)args;
	if (!v)
		return s->host->fail(err, CRIO_E_NOMEM, "no memory");
	if (getifaddrs(&list) < 0)
		return s->host->fail(err, CRIO_E_IO, "list the node's addresses: %s", strerror(errno));
	for (size_t i = 0; i < 2; i++) {
		v[n] = primary(s, call, list, families[i]);
		if (!v[n]) {
			freeifaddrs(list);
			return s->host->fail(err, CRIO_E_NOMEM, "no memory");
		}
		n += *v[n] != '\0';
	}
	freeifaddrs(list);
	out->ips.v = v;
	out->ips.n = n;
	out->result_json = "";
	return 0;
}

static int teardown(void *self, crio_call *call, const struct crio_network_args *args, struct crio_network_no_out *out,
		    crio_err *err)
{
	(void)self, (void)call, (void)args, (void)out, (void)err;
	return 0;
}

static int status(void *self, crio_call *call, const struct crio_network_no_args *args,
		  struct crio_network_status_out *out, crio_err *err)
{
	(void)self, (void)call, (void)args, (void)err;
	out->ready = 1;
	out->reason = "";
	out->message = "";
	out->network = "host";
	return 0;
}

static int hostnetwork_open(const struct crio_host *host, crio_instance *in, crio_call *call, void **self,
			    crio_err *err)
{
	struct crio_event_ready ready = {.size = sizeof(ready), .ready = 1, .reason = "", .message = ""};
	struct hostnet *s = calloc(1, sizeof(*s));

	(void)call;
	if (!s)
		return host->fail(err, CRIO_E_NOMEM, "no memory");
	s->host = host;
	s->in = in;
	(void)host->emit(in, CRIO_EVENT_READY, &ready);
	*self = s;
	return 0;
}

static void hostnetwork_close(void *self)
{
	free(self);
}

static const struct crio_network_ops ops = {
    .setup = setup,
    .teardown = teardown,
    .status = status,
};

static const struct crio_plugin plugin = {
    CRIO_PLUGIN_HEAD(CRIO_KIND_NETWORK, CRIO_THREADS_PARALLEL, ops),
    .caps = CRIO_NETWORK_CAP_NO_NETNS | CRIO_NETWORK_CAP_HOSTPORT,
    .name = "hostnetwork",
    .version = "1",
    .summary = "Pods share the node's network",
    .open = hostnetwork_open,
    .close = hostnetwork_close,
};

CRIO_PLUGIN_REGISTER(hostnetwork, plugin)
