#include "tests/plugin/network/host.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <time.h>

#include "core/exec/loop.h"
#include "core/exec/workers.h"
#include "core/util/log.h"

struct host host;

#define DIE(...)                                                                                                       \
	do {                                                                                                           \
		(void)fprintf(stderr, __VA_ARGS__);                                                                    \
		exit(99);                                                                                              \
	} while (0)

crio_call *timed(int64_t ns)
{
	crio_call *c = call_new("test", now_mono_ns() + ns);

	assert_non_null(c);
	return c;
}

static char *path_va(const char *fmt, va_list ap)
{
	cleanup_free char *name = NULL;
	char *path;

	assert_true(vasprintf(&name, fmt, ap) >= 0);
	path = path_fmt("%s/%s", host.dir, name);
	assert_non_null(path);
	return path;
}

#define PATH(fmt)                                                                                                      \
	__extension__({                                                                                                \
		va_list ap_;                                                                                           \
		va_start(ap_, fmt);                                                                                    \
		char *p_ = path_va(fmt, ap_);                                                                          \
		va_end(ap_);                                                                                           \
		p_;                                                                                                    \
	})

void put(const char *text, mode_t mode, const char *fmt, ...)
{
	cleanup_free char *path = PATH(fmt);

	assert_int_equal(fs_write_path(path, text, strlen(text), mode, FS_RUN, NULL), 0);
}

void gone(const char *fmt, ...)
{
	cleanup_free char *path = PATH(fmt);

	assert_int_equal(fs_unlink(path, NULL), 0);
}

bool there(const char *fmt, ...)
{
	cleanup_free char *path = PATH(fmt);

	return access(path, F_OK) == 0;
}

char *slurp(const char *fmt, ...)
{
	cleanup_free char *path = PATH(fmt);
	char *text = NULL;

	if (fs_read_file(AT_FDCWD, path, 16u << 20, &text, NULL, NULL) < 0)
		text = strdup("");
	return text;
}

int sh(const char *fmt, ...)
{
	cleanup_free char *cmd = NULL;
	struct spawn s = SPAWN_INIT;
	cleanup_spawn_result struct spawn_result res = {0};
	cleanup_call crio_call *call = timed(60 * SEC);
	cleanup_free char *env = path_fmt("D=%s", host.dir);
	const char *envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", env, NULL};
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&cmd, fmt, ap) >= 0);
	va_end(ap);
	const char *argv[] = {"/bin/sh", "-c", cmd, NULL};
	s.path = "/bin/sh";
	s.argv = argv;
	s.env = envp;
	assert_int_equal(spawn_capture(&s, call, NULL, 0, 65536, 65536, &res, NULL), 0);
	if (res.exit_code != 0 && res.err.n > 0)
		print_message("%s: %s", cmd, res.err.p);
	return res.exit_code;
}

static void copy_module(const char *plugin)
{
	cleanup_free char *text = NULL, *from = path_fmt("plugins/network/.libs/%s.so", plugin);
	cleanup_free char *to = path_fmt("%s/plugins/network/%s.so", host.dir, plugin);
	size_t n;

	if (fs_read_file(AT_FDCWD, from, 64u << 20, &text, &n, NULL) < 0) {
		(void)fprintf(stderr, "%s is not built: skipped\n", from);
		exit(77);
	}
	if (fs_write_path(to, text, n, 0755, FS_RUN, NULL) < 0)
		DIE("cannot write %s\n", to);
}

void host_enter(const char *plugin)
{
	static const char *const dirs[] = {"plugins/network", "conf", "bin", "cache", "ns", "state", "run"};
	crio_err err = ERR_INIT;
	struct plugins_args a = {0};

	if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
		(void)fprintf(stderr, "needs root: skipped\n");
		exit(77);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		DIE("make mounts private: %s\n", strerror(errno));
	if (!test_tmp(host.dir, "net"))
		DIE("mkdtemp: %s\n", strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		cleanup_free char *p = path_fmt("%s/%s", host.dir, dirs[i]);
		if (fs_mkdir_p(p, 0755, &err) < 0)
			DIE("%s\n", err_text(&err));
	}
	copy_module(plugin);
	static char mod[80], opts[80], state[80], run[80];
	(void)snprintf(mod, sizeof(mod), "%s/plugins", host.dir);
	(void)snprintf(opts, sizeof(opts), "%s/none", host.dir);
	(void)snprintf(state, sizeof(state), "%s/state", host.dir);
	(void)snprintf(run, sizeof(run), "%s/run", host.dir);
	if (loop_new(&host.loop, &err) < 0 || workers_new(&host.workers, &err) < 0)
		DIE("%s\n", err_text(&err));
	a = (struct plugins_args){.dir = mod,
				 .options_dir = opts,
				 .state_dir = state,
				 .run_dir = run,
				 .loop = host.loop,
				 .workers = host.workers};
	if (plugins_new(&a, &host.plugins, &err) < 0)
		DIE("%s\n", err_text(&err));
}

void host_leave(void)
{
	plugins_free(host.plugins);
	(void)workers_free(host.workers, 5 * SEC);
	loop_free(host.loop);
	(void)fs_rm_rf(AT_FDCWD, host.dir, NULL);
}

/* ---- instances ---- */

static void on_event(void *arg, struct plugin_inst *in, int type, const void *event)
{
	const struct crio_event_ready *e = event;
	struct net_inst *n = arg;

	(void)in;
	if (type != CRIO_EVENT_READY)
		return;
	(void)pthread_mutex_lock(&n->mu);
	n->ready = e->ready;
	n->events++;
	(void)snprintf(n->message, sizeof(n->message), "%s", e->message);
	(void)snprintf(n->reason, sizeof(n->reason), "%s", e->reason);
	(void)pthread_cond_broadcast(&n->cond);
	(void)pthread_mutex_unlock(&n->mu);
}

void inst_open(struct net_inst *n, const char *plugin, const char *more, ...)
{
	cleanup_kvs struct kvs o = KVS_INIT;
	cleanup_call crio_call *call = timed(30 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	static const struct {
		const char *key, *dir;
	} dirs[] = {{"network_dir", "conf"}, {"plugin_dirs", "bin"}, {"cache_dir", "cache"}};
	va_list ap;
	/* A name of its own: the instance before may still be in use by a job that is ending, and would be found again. */
	static unsigned opened;
	char name[24];

	(void)snprintf(name, sizeof(name), "test%u", opened++);
	memset(n, 0, sizeof(*n));
	(void)pthread_mutex_init(&n->mu, NULL);
	(void)pthread_cond_init(&n->cond, NULL);
	for (size_t i = 0; str_eq(plugin, "cni") && i < ARRAY_SIZE(dirs); i++) {
		cleanup_free char *p = path_fmt("%s/%s", host.dir, dirs[i].dir);
		assert_int_equal(kvs_set(&o, dirs[i].key, p), 0);
	}
	va_start(ap, more);
	for (const char *k = more; k; k = va_arg(ap, const char *))
		assert_int_equal(kvs_set(&o, k, va_arg(ap, const char *)), 0);
	va_end(ap);
	if (plugins_open(host.plugins, call, CRIO_KIND_NETWORK, plugin, name, &o, &n->in, &err) < 0)
		fail_msg("%s", err_text(&err));
	plugin_inst_listen(n->in, on_event, n);
}

void inst_close(struct net_inst *n)
{
	plugin_inst_listen(n->in, NULL, NULL);
	plugin_inst_unref(n->in);
	(void)pthread_cond_destroy(&n->cond);
	(void)pthread_mutex_destroy(&n->mu);
}

void inst_await(struct net_inst *n, bool ready, const char *part)
{
	struct timespec ts;
	int e = 0;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 10;
	(void)pthread_mutex_lock(&n->mu);
	while (e == 0 && (n->ready != ready || !n->events || !strstr(n->message, part)))
		e = pthread_cond_timedwait(&n->cond, &n->mu, &ts);
	(void)pthread_mutex_unlock(&n->mu);
	if (e)
		fail_msg("expected ready=%d with '%s', have ready=%d '%s'", ready, part, n->ready, n->message);
}

/* ---- pods ---- */

void pod_make(struct pod_net *p, const char *id)
{
	cleanup_free char *dir = path_fmt("%s/ns", host.dir);
	cleanup_err crio_err err = ERR_INIT;
	struct netns_args a = {.dir = dir, .name = p->name, .net = true};

	memset(p, 0, sizeof(*p));
	(void)snprintf(p->name, sizeof(p->name), "%.31s", id);
	if (netns_create(&a, &err) < 0)
		fail_msg("%s", err_text(&err));
	p->path = netns_path(dir, NS_KIND_NET, p->name);
	p->fd = netns_open(p->path, &err);
	assert_true(p->fd >= 0);
	p->args = (struct crio_network_args){
	    .size = sizeof(p->args),
	    .netns_fd = p->fd,
	    .id = id,
	    .name = "web",
	    .ns = "default",
	    .uid = "uid-1",
	    .netns_path = p->path,
	    .ifname = "eth0",
	    .cgroup_path = "/kubepods/pod1",
	    .result_json = "",
	};
}

void pod_drop(struct pod_net *p)
{
	cleanup_free char *dir = path_fmt("%s/ns", host.dir);

	p->fd = safe_close(p->fd);
	assert_int_equal(netns_remove(dir, p->name, NULL), 0);
	free(p->path);
	p->path = NULL;
}
