/* net_stats.c: see net_stats.h. */
#include "core/lifecycle/net_stats.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "core/lifecycle/netns.h"
#include "core/util/str.h"

#define ANSWER_MAX (64u << 10) /* the kernel gives a part of a dump at a time, never more than it is offered */
#define IFS_MAX 65536u
#define WAIT_S 2

struct net_reader {
	_Atomic int refs;
	int fd;		      /* fixed */
	pthread_mutex_t lock; /* one question at a time; held over its answer, which the kernel has ready */
	uint32_t seq;
};

/* ---- the socket ---- */

struct in_netns {
	int netns, fd, error;
};

static void *make_socket(void *arg)
{
	struct in_netns *n = arg;

	if (n->netns >= 0 && setns(n->netns, CLONE_NEWNET) < 0)
		n->error = errno;
	else if ((n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) < 0)
		n->error = errno;
	return NULL;
}

/* On a thread that lives only for this: it cannot come back. */
static int socket_in(const char *path, crio_err *err)
{
	cleanup_close int ns = netns_open(path, err);
	struct in_netns n = {.netns = ns, .fd = -1};
	sigset_t every, old;
	pthread_t t;
	int e;

	if (ns < 0)
		return ns;
	(void)sigfillset(&every);
	(void)pthread_sigmask(SIG_SETMASK, &every, &old);
	e = pthread_create(&t, NULL, make_socket, &n);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (e)
		return err_errno(err, e, "start a thread for network namespace %s", path);
	(void)pthread_join(t, NULL);
	return n.fd >= 0 ? n.fd : err_errno(err, n.error, "make a socket in network namespace %s", path);
}

static int own_socket(crio_err *err)
{
	struct in_netns n = {.netns = -1, .fd = -1};

	(void)make_socket(&n);
	return n.fd >= 0 ? n.fd : err_errno(err, n.error, "make a netlink socket");
}

int net_reader_new(const char *path, struct net_reader **ret, crio_err *err)
{
	const struct timeval tv = {.tv_sec = WAIT_S};
	cleanup_close int fd = *path ? socket_in(path, err) : own_socket(err);
	struct net_reader *r;

	if (fd < 0)
		return fd;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) < 0)
		return err_errno(err, errno, "prepare a netlink socket");
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_nomem(err);
	r->refs = 1;
	r->fd = move_fd(fd);
	(void)pthread_mutex_init(&r->lock, NULL);
	*ret = r;
	return 0;
}

struct net_reader *net_reader_ref(struct net_reader *r)
{
	atomic_fetch_add(&r->refs, 1);
	return r;
}

void net_reader_unref(struct net_reader *r)
{
	if (!r || atomic_fetch_sub(&r->refs, 1) > 1)
		return;
	(void)safe_close(r->fd);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}

/* ---- the question ---- */

struct links {
	struct net_if *v;
	size_t n, cap;
};

static struct net_if *grow(struct links *l)
{
	size_t cap = l->cap ? l->cap * 2 : 4;
	struct net_if *v;

	if (l->n < l->cap)
		return &l->v[l->n++];
	v = l->n < IFS_MAX ? reallocarray(l->v, cap, sizeof(*v)) : NULL;
	if (!v)
		return NULL;
	l->v = v;
	l->cap = cap;
	return &l->v[l->n++];
}

static void counters(struct net_if *to, const struct rtattr *a)
{
	struct rtnl_link_stats64 s = {0};
	size_t n = RTA_PAYLOAD(a);

	memcpy(&s, RTA_DATA(a), n < sizeof(s) ? n : sizeof(s)); /* older kernels give less */
	to->rx = (struct net_counters){s.rx_bytes, s.rx_packets, s.rx_errors, s.rx_dropped};
	to->tx = (struct net_counters){s.tx_bytes, s.tx_packets, s.tx_errors, s.tx_dropped};
}

static int add_link(struct links *l, const struct nlmsghdr *h)
{
	const struct ifinfomsg *info = NLMSG_DATA(h);
	int left = (int)IFLA_PAYLOAD(h);
	struct net_if *to;

	if (h->nlmsg_type != RTM_NEWLINK || left < 0)
		return 0;
	to = grow(l);
	if (!to)
		return CRIO_E_NOMEM;
	*to = (struct net_if){.loopback = info->ifi_flags & IFF_LOOPBACK};
	for (const struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == IFLA_IFNAME)
			(void)snprintf(to->name, sizeof(to->name), "%.*s", (int)RTA_PAYLOAD(a), (const char *)RTA_DATA(a));
		else if (a->rta_type == IFLA_STATS64)
			counters(to, a);
	}
	return 0;
}

/* 1: that was the last part. */
static int take_part(const char *p, size_t n, uint32_t seq, struct links *l, crio_err *err)
{
	int left = (int)n;

	for (const struct nlmsghdr *h = (const void *)p; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_seq != seq)
			continue; /* of a question that was given up */
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *e = NLMSG_DATA(h);

			return err_errno(err, e->error ? -e->error : EIO, "list network interfaces");
		}
		if (add_link(l, h) < 0)
			return err_nomem(err);
	}
	return 0;
}

static int ask(struct net_reader *r, char *text, struct links *l, crio_err *err)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg info;
	} q = {.h = {.nlmsg_len = sizeof(q), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
	int done = 0;

	q.h.nlmsg_seq = ++r->seq;
	if (send(r->fd, &q, sizeof(q), 0) < 0)
		return err_errno(err, errno, "ask for network interfaces");
	while (!done) {
		ssize_t n = recv(r->fd, text, ANSWER_MAX, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_errno(err, n ? errno : EIO, "read network interfaces");
		done = take_part(text, (size_t)n, q.h.nlmsg_seq, l, err);
	}
	return done < 0 ? done : 0;
}

int net_reader_read(struct net_reader *r, struct net_if **ret, size_t *ret_n, crio_err *err)
{
	cleanup_free char *text = malloc(ANSWER_MAX);
	struct links l = {0};
	int e;

	if (!text)
		return err_nomem(err);
	(void)pthread_mutex_lock(&r->lock);
	e = ask(r, text, &l, err);
	(void)pthread_mutex_unlock(&r->lock);
	if (e < 0) {
		free(l.v);
		return e;
	}
	*ret = l.v;
	*ret_n = l.n;
	return 0;
}
