/* network.c: networks: what is absent, and where namespaces can be made, a pod from set-up to teardown. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "sdk/check/check.h"

static struct crio_network_args blank(const char *id)
{
	return (struct crio_network_args){ .size = sizeof(struct crio_network_args), .netns_fd = -1, .id = id, .name = "check", .ns = "crio",
					   .uid = "0", .netns_path = "", .ifname = "eth0", .cgroup_path = "", .result_json = "" };
}

static int do_teardown(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	struct crio_network_args a = blank(id);
	struct crio_network_no_out o = { .size = sizeof(o) };
	return plugin_network_teardown(c->in, call, &a, &o, err);
}

static int do_check(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	struct crio_network_args a = blank(id);
	struct crio_network_no_out o = { .size = sizeof(o) };
	return plugin_network_check(c->in, call, &a, &o, err);
}

static int do_status(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	(void)id;
	struct crio_network_no_args a = { .size = sizeof(a) };
	struct crio_network_status_out o = { .size = sizeof(o) };
	int r = plugin_network_status(c->in, call, &a, &o, err);
	if (r < 0)
		return r;
	if (!o.reason || !o.message || !o.network)
		return err_set(err, CRIO_E_INVALID, "reason, message or network is NULL");
	if (!o.ready != (*o.reason != '\0'))
		return err_set(err, CRIO_E_INVALID, "ready is %d and the reason '%s'", o.ready, o.reason);
	return 0;
}

static int do_gc(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	(void)id;
	struct crio_network_gc_args a = { .size = sizeof(a), .stride = sizeof(struct crio_network_attachment) };
	struct crio_network_no_out o = { .size = sizeof(o) };
	return plugin_network_gc(c->in, call, &a, &o, err);
}

/* ---- pods ---- */

static void *make_netns(void *arg)
{
	int *fd = arg;
	if (unshare(CLONE_NEWNET) == 0)
		*fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return NULL;
}

struct pod {
	int netns;
	char path[160];
	char result[16384];
};

static void pod_end(struct pod *p)
{
	if (p->netns >= 0) {
		(void)close(p->netns);
		(void)umount2(p->path, MNT_DETACH);
		(void)unlink(p->path);
	}
	p->netns = -1;
}

static int pod_begin(struct check *c, const char *id, struct pod *p, crio_err *err)
{
	p->netns = -1;
	p->result[0] = '\0';
	(void)snprintf(p->path, sizeof(p->path), "%s/ns-%.64s", c->tmp, id);
	if (c->desc->caps & CRIO_NETWORK_CAP_NO_NETNS)
		return 0;
	pthread_t t;
	if (pthread_create(&t, NULL, make_netns, &p->netns) || pthread_join(t, NULL) || p->netns < 0)
		return err_set(err, CRIO_E_IO, "make a network namespace");
	cleanup_free char *from = path_fmt("/proc/self/fd/%d", p->netns);
	int fd = open(p->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	(void)safe_close(fd);
	if (fd < 0 || !from || mount(from, p->path, NULL, MS_BIND, NULL) < 0) {
		int e = errno;
		(void)close(p->netns);
		(void)unlink(p->path);
		p->netns = -1;
		return err_errno(err, e, "bind %s", p->path);
	}
	return 0;
}

static struct crio_network_args args_of(const struct pod *p, const char *id)
{
	struct crio_network_args a = blank(id);
	a.netns_fd = p->netns;
	a.netns_path = p->netns < 0 ? "" : p->path;
	a.result_json = p->result;
	return a;
}

static int attach(struct check *c, crio_call *call, const char *id, struct pod *p, crio_err *err)
{
	struct crio_network_args a = args_of(p, id);
	struct crio_network_out o = { .size = sizeof(o) };
	int r = plugin_network_setup(c->in, call, &a, &o, err);
	if (r < 0)
		return r;
	unsigned char bin[16];
	for (size_t i = 0; i < o.ips.n; i++)
		if (inet_pton(AF_INET, o.ips.v[i], bin) != 1 && inet_pton(AF_INET6, o.ips.v[i], bin) != 1)
			return err_set(err, CRIO_E_INVALID, "setup returned '%s', which is no address", o.ips.v[i]);
	if (o.ips.n == 0 && p->netns >= 0)
		return err_set(err, CRIO_E_INVALID, "setup returned no address");
	if (o.result_json && strlen(o.result_json) < sizeof(p->result))
		(void)snprintf(p->result, sizeof(p->result), "%s", o.result_json);
	return 0;
}

static int detach(struct check *c, crio_call *call, const char *id, struct pod *p, crio_err *err)
{
	struct crio_network_args a = args_of(p, id);
	struct crio_network_no_out o = { .size = sizeof(o) };
	return plugin_network_teardown(c->in, call, &a, &o, err);
}

/* Set-up, check, teardown; both ways of teardown. */
static int whole(struct check *c, crio_call *call, const char *id, bool vanished, crio_err *err)
{
	struct pod *p = calloc(1, sizeof(*p));
	int r = p ? pod_begin(c, id, p, err) : err_nomem(err);
	if (r < 0) {
		free(p);
		return r;
	}
	r = attach(c, call, id, p, err);
	if (r == 0 && plugin_inst_has_op(c->in, "check")) {
		struct crio_network_args a = args_of(p, id);
		struct crio_network_no_out o = { .size = sizeof(o) };
		r = plugin_network_check(c->in, call, &a, &o, err);
	}
	if (vanished) {
		pod_end(p);
		p->result[0] = '\0';
	}
	cleanup_call crio_call *own = check_call(30 * SEC); /* a cancelled set-up is taken down all the same */
	int d = own ? detach(c, own, id, p, r < 0 ? NULL : err) : CRIO_E_NOMEM;
	if (d == 0)
		d = detach(c, own, id, p, r < 0 ? NULL : err);
	pod_end(p);
	free(p);
	return r < 0 ? r : d;
}

static int do_pod(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	return whole(c, call, id, false, err);
}

static int do_vanished(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	return whole(c, call, id, true, err);
}

static int do_without(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	struct crio_network_args a = blank(id);
	struct crio_network_out o = { .size = sizeof(o) };
	return plugin_network_setup(c->in, call, &a, &o, err);
}

static void pods(struct check *c)
{
	struct leftovers before;
	char detail[LEFT_TEXT];
	cleanup_err crio_err err = ERR_INIT;
	if (!check_once(c, "a pod: setup, check, teardown twice", do_pod, ABSENT))
		return;
	leftovers_take(&before);
	(void)check_once(c, "a pod whose namespace and result are gone is taken down", do_vanished, ABSENT);
	bool all = check_parallel(c, do_pod, 6, 2, &err);
	check_ok(c, all, "pods: six side by side, twice", "%s", err_text(&err));
	check_ok(c, leftovers_same(&before, LEFT_SOON, detail), "pods: nothing is left", "%s", detail);
	check_op(c, "setup", do_pod, WANT_ANY); /* cancelled at several points */
	check_ok(c, leftovers_same(&before, LEFT_SOON, detail), "setup: what was cut short is undone", "%s", detail);
	(void)check_once(c, "a pod after all that", do_pod, ABSENT);
}

void check_network(struct check *c)
{
	check_op(c, "status", do_status, WANT_OK);
	check_op(c, "teardown", do_teardown, WANT_OK);
	check_op(c, "check", do_check, c->desc->caps & CRIO_NETWORK_CAP_NO_NETNS ? WANT_ANY : WANT_FAILURE);
	check_op(c, "gc", do_gc, WANT_OK);
	if (!(c->desc->caps & CRIO_NETWORK_CAP_NO_NETNS))
		check_op(c, "setup", do_without, WANT_FAILURE);
	if (c->bare || (!c->own_ns && !(c->desc->caps & CRIO_NETWORK_CAP_NO_NETNS))) {
		check_skip(c, "pods", c->bare ? "--bare" : "namespaces cannot be made here");
		return;
	}
	struct crio_network_no_args a = { .size = sizeof(a) };
	struct crio_network_status_out o = { .size = sizeof(o) };
	cleanup_call crio_call *call = check_call(10 * SEC);
	if (!call || plugin_network_status(c->in, call, &a, &o, NULL) < 0 || !o.ready)
		check_skip(c, "pods", "the network is not ready with these options");
	else
		pods(c);
}
