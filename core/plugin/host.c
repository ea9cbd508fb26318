/* host.c: the services of struct crio_host, each a thin skin over the core's own. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "core/conf/pluginopts.h"
#include "core/exec/spawn.h"
#include "core/plugin/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define METRICS_MAX 64
#define DEFAULT_OUT (1u << 20)
#define DEFAULT_ERR (64u << 10)
#define OUTPUT_MAX (64u << 20)

static void h_log(crio_instance *i, int level, const char *fmt, ...)
{
	static const enum log_level map[] = { LOGL_ERROR, LOGL_ERROR, LOGL_WARN, LOGL_INFO, LOGL_DEBUG, LOGL_TRACE };
	enum log_level l = level < 1 || level > 5 ? LOGL_INFO : map[level];
	if (l > log_get_level())
		return;
	char *msg = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&msg, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	log_at(l, i->in->mod->name, 0, "%s", msg);
	free(msg);
}

static int h_fail(crio_err *err, int code, const char *fmt, ...)
{
	char *msg = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&msg, fmt, ap);
	va_end(ap);
	if (code >= 0)
		code = CRIO_E_INTERNAL;
	int r = err_set(err, code, "%s", n < 0 ? err_code_name(code) : msg);
	if (n >= 0)
		free(msg);
	return r;
}

static int h_wrap(crio_err *err, const char *fmt, ...)
{
	char *msg = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&msg, fmt, ap);
	va_end(ap);
	int r = err_wrap(err, "%s", n < 0 ? "plugin" : msg);
	if (n >= 0)
		free(msg);
	return r;
}

static int h_err_code(const crio_err *err)
{
	return err ? err->code : 0;
}

static crio_err *h_err_new(void)
{
	return calloc(1, sizeof(crio_err));
}

static void h_err_free(crio_err *err)
{
	err_clear(err);
	free(err);
}

static int h_cancelled(crio_call *call)
{
	return call_over(call) ? 1 : 0;
}

static int64_t h_deadline(crio_call *call)
{
	return call_deadline(call);
}

static const char *h_opt_str(crio_instance *i, const char *name)
{
	cleanup_unlock pthread_mutex_t *l = lock(&i->in->lock);
	return kvs_get(&i->in->options->kv, name);
}

static int64_t h_opt_int(crio_instance *i, const char *name)
{
	const char *v = h_opt_str(i, name);
	int64_t n = 0;
	if (!v)
		return 0;
	if (str_eq(v, "true"))
		return 1;
	(void)str_to_i64(v, INT64_MIN, INT64_MAX, &n);
	return n;
}

static struct crio_strs h_opt_strs(crio_instance *i, const char *name)
{
	struct plugin_inst *in = i->in;
	struct crio_strs none = { NULL, 0 };
	cleanup_unlock pthread_mutex_t *l = lock(&in->lock);
	struct strv *v = map_get(in->options->lists, name);
	if (v)
		return strv_view(v);
	const char *text = kvs_get(&in->options->kv, name);
	if (!str_set(text))
		return none;
	v = calloc(1, sizeof(*v));
	if (!v || str_split(text, ',', v) < 0 || map_set(in->options->lists, name, v) < 0) {
		if (v)
			strv_release(v);
		free(v);
		return none;
	}
	return strv_view(v);
}

static const char *h_instance_name(crio_instance *i)
{
	return i->in->name;
}

/* ---- programs ---- */

static const char **null_ended(crio_call *call, struct crio_strs l)
{
	const char **v = call_alloc(call, (l.n + 1) * sizeof(*v));
	if (v && l.n)
		memcpy(v, l.v, l.n * sizeof(*v));
	return v;
}

/* Reaps a detached child without a thread of its own. */
struct reaper {
	struct loop *loop;
	int id;
	int pidfd;
};

/* Held while a watch is added, so that its callback finds the id. */
static pthread_mutex_t reaper_lock = PTHREAD_MUTEX_INITIALIZER;

static int reap_child(void *arg, int fd, uint32_t events)
{
	(void)events;
	struct reaper *r = arg;
	siginfo_t si;
	while (waitid(P_PIDFD, (id_t)fd, &si, WEXITED) < 0 && errno == EINTR)
		;
	(void)pthread_mutex_lock(&reaper_lock);
	int id = r->id;
	(void)pthread_mutex_unlock(&reaper_lock);
	/* Out of the epoll set first: the plugin's copy of the pidfd would keep it there after a close. */
	loop_remove(r->loop, id);
	(void)close(r->pidfd);
	free(r);
	return 1;
}

static int watch_child(struct plugin_inst *in, int pidfd, crio_err *err)
{
	struct reaper *r = calloc(1, sizeof(*r));
	if (!r)
		return err_nomem(err);
	r->loop = in->host->args.loop;
	r->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
	int id = r->pidfd < 0 ? err_errno(err, errno, "duplicate a pidfd") : 0;
	if (id == 0) {
		cleanup_unlock pthread_mutex_t *l = lock(&reaper_lock);
		id = loop_watch(r->loop, r->pidfd, 1 /* EPOLLIN */, reap_child, r, err);
		if (id > 0)
			r->id = id; /* r is the callback's from the unlocking on */
	}
	if (id < 0) {
		(void)safe_close(r->pidfd);
		free(r);
	}
	return id < 0 ? id : 0;
}

static int detach(struct plugin_inst *in, struct proc *p, bool owned, struct crio_spawned *out, crio_err *err)
{
	int r = owned ? 0 : watch_child(in, p->pidfd, err);
	if (r < 0) {
		proc_kill(p);
		return r;
	}
	out->pid = p->pid;
	out->pidfd = p->pidfd;
	return 0;
}

/* Copies the captured text into the call, so that it lives as results do. */
static int take_output(crio_call *call, const struct buf *b, struct crio_bytes *ret)
{
	char *p = call_alloc(call, b->n + 1);
	if (!p)
		return CRIO_E_NOMEM;
	if (b->n)
		memcpy(p, b->p, b->n);
	ret->p = p;
	ret->n = b->n;
	return 0;
}

static size_t limit_of(size_t asked, size_t dflt)
{
	return asked == 0 ? dflt : asked > OUTPUT_MAX ? OUTPUT_MAX : asked;
}

static int capture(const struct spawn *s, crio_call *call, const struct crio_spawn *a, struct crio_spawned *out, crio_err *err)
{
	cleanup_spawn_result struct spawn_result res;
	memset(&res, 0, sizeof(res));
	int r = spawn_capture(s, call, a->stdin_data.p, a->stdin_data.n, limit_of(a->stdout_limit, DEFAULT_OUT),
			      limit_of(a->stderr_limit, DEFAULT_ERR), &res, err);
	if (r < 0)
		return r;
	out->exit_code = res.exit_code;
	out->out_truncated = res.out_truncated;
	out->err_truncated = res.err_truncated;
	if (take_output(call, &res.out, &out->out) < 0 || take_output(call, &res.err, &out->err) < 0)
		return err_nomem(err);
	return 0;
}

static int h_spawn(crio_instance *i, crio_call *call, const struct crio_spawn *args, struct crio_spawned *out, crio_err *err)
{
	struct crio_spawn a;
	memset(&a, 0, sizeof(a));
	memcpy(&a, args, args->size < sizeof(a) ? args->size : sizeof(a));
	bool detached = a.flags & CRIO_SPAWN_DETACHED;
	if (detached == !!(a.flags & CRIO_SPAWN_CAPTURE))
		return err_set(err, CRIO_E_INVALID, "spawn: one of CRIO_SPAWN_CAPTURE and CRIO_SPAWN_DETACHED is needed");
	if (!a.path || *a.path != '/' || a.argv.n < 1)
		return err_set(err, CRIO_E_INVALID, "spawn: an absolute path and argv[0] are needed");
	struct spawn s = SPAWN_INIT;
	s.path = a.path;
	s.argv = null_ended(call, a.argv);
	s.env = null_ended(call, a.env);
	s.cwd = a.cwd;
	s.stdin_fd = a.stdin_fd;
	s.stdout_fd = a.stdout_fd;
	s.stderr_fd = a.stderr_fd;
	s.netns_fd = a.netns_fd;
	s.fds = a.fds;
	s.n_fds = a.n_fds;
	s.cgroup_procs = a.cgroup_procs;
	s.new_session = a.flags & CRIO_SPAWN_NEW_SESSION;
	if (a.oom_score_adj) {
		s.has_oom_score_adj = true;
		s.oom_score_adj = (int)*a.oom_score_adj;
	}
	if (!s.argv || !s.env)
		return err_nomem(err);
	struct crio_spawned o;
	memset(&o, 0, sizeof(o));
	o.pidfd = -1;
	int r;
	if (detached) {
		struct proc p = { 0, -1 };
		r = spawn_start(&s, &p, err);
		if (r == 0)
			r = detach(i->in, &p, a.flags & CRIO_SPAWN_OWNED, &o, err);
	} else {
		r = capture(&s, call, &a, &o, err);
	}
	if (r < 0)
		return r;
	o.size = out->size;
	memcpy(out, &o, out->size < sizeof(o) ? out->size : sizeof(o));
	return 0;
}

/* ---- network namespaces ---- */

struct in_netns {
	int netns_fd;
	int (*fn)(void *arg, crio_err *err);
	void *arg;
	int result;
	crio_err err;
};

static void *netns_main(void *p)
{
	struct in_netns *n = p;
	if (setns(n->netns_fd, CLONE_NEWNET) < 0)
		n->result = err_errno(&n->err, errno, "enter the network namespace");
	else
		n->result = n->fn(n->arg, &n->err);
	return NULL;
}

static int run_in_netns(struct in_netns *n, crio_err *err)
{
	pthread_t t;
	int e = pthread_create(&t, NULL, netns_main, n);
	if (e)
		return err_errno(err, e, "start a thread for the network namespace");
	(void)pthread_join(t, NULL);
	if (n->result < 0)
		(void)err_move(err, &n->err);
	else
		err_clear(&n->err);
	return n->result;
}

static int h_netns_run(crio_instance *i, crio_call *call, int netns_fd, int (*fn)(void *arg, crio_err *err), void *arg,
		       crio_err *err)
{
	(void)i;
	int r = call_check(call, "work in a network namespace", err);
	if (r < 0)
		return r;
	struct in_netns n = { netns_fd, fn, arg, 0, ERR_INIT };
	return run_in_netns(&n, err);
}

struct socket_args {
	int family, type, protocol, fd;
};

static int make_socket(void *arg, crio_err *err)
{
	struct socket_args *a = arg;
	a->fd = socket(a->family, a->type | SOCK_CLOEXEC, a->protocol);
	return a->fd < 0 ? err_errno(err, errno, "make a socket in the network namespace") : 0;
}

static int h_socket_in(crio_instance *i, int netns_fd, int family, int type, int protocol, crio_err *err)
{
	(void)i;
	struct socket_args a = { family, type, protocol, -1 };
	struct in_netns n = { netns_fd, make_socket, &a, 0, ERR_INIT };
	int r = run_in_netns(&n, err);
	return r < 0 ? r : a.fd;
}

/* ---- events ---- */

static int h_watch_fd(crio_instance *i, int fd, uint32_t events, crio_fd_cb cb, void *arg, crio_err *err)
{
	return loop_watch(i->in->host->args.loop, fd, events, cb, arg, err);
}

static void h_unwatch(crio_instance *i, int id)
{
	loop_remove(i->in->host->args.loop, id);
}

static int h_timer(crio_instance *i, int64_t delay_ns, crio_timer_cb cb, void *arg, crio_err *err)
{
	return loop_timer(i->in->host->args.loop, delay_ns, cb, arg, err);
}

/* Kept, so that a listener that comes later learns it. */
static void keep_ready(struct plugin_inst *in, const struct crio_event_ready *e)
{
	cleanup_unlock pthread_mutex_t *l = lock(&in->lock);
	in->ready = e->ready != 0;
	free(in->ready_reason);
	free(in->ready_message);
	in->ready_reason = strdup(e->reason ? e->reason : "");
	in->ready_message = strdup(e->message ? e->message : "");
}

static int h_emit(crio_instance *i, int type, const void *event)
{
	struct plugin_inst *in = i->in;
	if (type == CRIO_EVENT_READY)
		keep_ready(in, event);
	(void)pthread_mutex_lock(&in->lock);
	plugin_event_fn fn = in->listener;
	void *arg = in->listener_arg;
	(void)pthread_mutex_unlock(&in->lock);
	if (fn)
		fn(arg, in, type, event);
	return 0;
}

void plugin_inst_listen(struct plugin_inst *in, plugin_event_fn fn, void *arg)
{
	(void)pthread_mutex_lock(&in->lock);
	in->listener = fn;
	in->listener_arg = arg;
	struct crio_event_ready e = { sizeof(e), in->ready, in->ready_reason, in->ready_message };
	bool tell = fn && in->ready >= 0 && in->ready_reason && in->ready_message;
	cleanup_free char *reason = tell ? strdup(in->ready_reason) : NULL;
	cleanup_free char *message = tell ? strdup(in->ready_message) : NULL;
	(void)pthread_mutex_unlock(&in->lock);
	if (reason && message) {
		e.reason = reason;
		e.message = message;
		fn(arg, in, CRIO_EVENT_READY, &e);
	}
}

static int h_state_put(crio_instance *i, crio_call *call, const char *key, struct crio_bytes v, int durability, crio_err *err)
{
	(void)call;
	return state_put(i->in, key, v, durability, err);
}

static int h_state_get(crio_instance *i, crio_call *call, const char *key, struct crio_bytes *ret, crio_err *err)
{
	return state_get(i->in, call, key, ret, err);
}

static int h_state_del(crio_instance *i, crio_call *call, const char *key, crio_err *err)
{
	(void)call;
	return state_del(i->in, key, err);
}

static int h_state_list(crio_instance *i, crio_call *call, struct crio_strs *ret, crio_err *err)
{
	return state_list(i->in, call, ret, err);
}

static void h_metric_add(crio_instance *i, const char *metric, int64_t delta)
{
	struct plugin_inst *in = i->in;
	cleanup_unlock pthread_mutex_t *l = lock(&in->lock);
	int64_t *v = map_get(in->metrics, metric);
	if (!v && map_count(in->metrics) < METRICS_MAX) {
		v = calloc(1, sizeof(*v));
		if (v && map_set(in->metrics, metric, v) < 0) {
			free(v);
			v = NULL;
		}
	}
	if (v)
		*v += delta;
}

const struct crio_host host_table = {
	.size = sizeof(struct crio_host),
	.abi_major = CRIO_ABI_MAJOR,
	.abi_minor = CRIO_ABI_MINOR,
	.log = h_log,
	.fail = h_fail,
	.wrap = h_wrap,
	.err_code = h_err_code,
	.err_text = err_text,
	.err_new = h_err_new,
	.err_free = h_err_free,
	.alloc = call_alloc,
	.strdup = call_strdup,
	.deadline_ns = h_deadline,
	.now_ns = now_mono_ns,
	.cancelled = h_cancelled,
	.cancel_fd = call_cancel_fd,
	.call_sub = call_sub,
	.call_free = call_unref,
	.opt_str = h_opt_str,
	.opt_int = h_opt_int,
	.opt_strs = h_opt_strs,
	.instance_name = h_instance_name,
	.spawn = h_spawn,
	.netns_run = h_netns_run,
	.socket_in = h_socket_in,
	.watch_fd = h_watch_fd,
	.unwatch = h_unwatch,
	.timer = h_timer,
	.emit = h_emit,
	.state_put = h_state_put,
	.state_get = h_state_get,
	.state_del = h_state_del,
	.state_list = h_state_list,
	.metric_add = h_metric_add,
};
