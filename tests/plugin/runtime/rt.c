#include "tests/plugin/runtime/rt.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "core/exec/spawn.h"
#include "core/util/log.h"

/* The pods' cgroup, one for each test program: they may run side by side. */
static char parent[40];

const char *rt_cgroup(void)
{
	return parent;
}

int rt_main(int (*body)(void), const char *const *programs)
{
	for (const char *const *p = programs; *p; p++) {
		if (geteuid() != 0 || access(*p, X_OK)) {
			fprintf(stderr, "skipped: needs root and %s\n", *p);
			return 77;
		}
	}
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t pid = _Fork(); /* one thread, before anything else */
	if (pid < 0)
		return 1;
	if (!pid) {
		if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(77);
		/* crun refuses a unified tree beside v1 hierarchies */
		if (!access("/sys/fs/cgroup/memory", F_OK))
			(void)umount2("/sys/fs/cgroup/unified", MNT_DETACH);
		exit(body());
	}
	for (int st;;) {
		pid_t got = waitpid(-1, &st, 0);
		if (got == pid)
			return WIFEXITED(st) ? WEXITSTATUS(st) : 1;
		if (got < 0 && errno != EINTR)
			return 1;
	}
}

void rt_ok(struct rt *rt, int r)
{
	if (r < 0)
		fail_msg("%s", err_text(&rt->err));
	err_clear(&rt->err);
}

char *rt_path(struct rt *rt, const char *fmt, ...)
{
	char *tail = NULL, *ret;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&tail, fmt, ap);
	va_end(ap);
	assert_true(n >= 0);
	ret = path_fmt("%s/%s", rt->dir, tail);
	assert_non_null(ret);
	free(tail);
	return ret;
}

static void on_event(void *arg, struct plugin_inst *in, int type, const void *event)
{
	(void)in;
	struct rt *rt = arg;
	const struct crio_event_exit *e = event;
	cleanup_unlock pthread_mutex_t *l = lock(&rt->mu);
	if (rt->n_events == RT_EVENTS || type == CRIO_EVENT_READY)
		return;
	struct rt_event *x = &rt->events[rt->n_events++];
	x->type = type;
	x->exit_code = e->exit_code;
	x->oom = e->oom;
	x->time_ns = e->time_ns;
	x->at_ns = now_mono_ns();
	(void)snprintf(x->id, sizeof(x->id), "%s", e->id);
	(void)pthread_cond_broadcast(&rt->cond);
}

bool rt_event(struct rt *rt, int type, const char *id, int64_t timeout_ns, struct rt_event *ret)
{
	int64_t end = now_real_ns() + timeout_ns;
	struct timespec ts = {end / SEC, end % SEC};
	cleanup_unlock pthread_mutex_t *l = lock(&rt->mu);
	for (;;) {
		for (size_t i = 0; i < rt->n_events; i++) {
			if (rt->events[i].type == type && str_eq(rt->events[i].id, id)) {
				if (ret)
					*ret = rt->events[i];
				return true;
			}
		}
		if (now_real_ns() >= end)
			return false;
		(void)pthread_cond_timedwait(&rt->cond, &rt->mu, &ts);
	}
}

static void copy_file(const char *from, const char *to, mode_t mode)
{
	cleanup_free char *text = NULL;
	size_t n = 0;
	crio_err err = ERR_INIT;
	if (fs_read_file(AT_FDCWD, from, 64u << 20, &text, &n, &err) < 0 ||
	    fs_write_path(to, text, n, mode, FS_RUN, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static void open_instance(struct rt *rt)
{
	rt_ok(rt, plugins_open(rt->plugins, rt->call, CRIO_KIND_RUNTIME, rt->plugin, "handler", &rt->options, &rt->in,
			       &rt->err));
	plugin_inst_listen(rt->in, on_event, rt);
}

struct rt *rt_new(const char *plugin, ...)
{
	struct rt *rt = calloc(1, sizeof(*rt));
	assert_non_null(rt);
	log_set_level(getenv("RT_DEBUG") ? LOGL_DEBUG : LOGL_ERROR);
	assert_non_null(test_tmp(rt->dir, "rt"));
	(void)snprintf(parent, sizeof(parent), "/crio-test-rt-%d", (int)getpid());
	assert_int_equal(chmod(rt->dir, 0755), 0);
	(void)pthread_mutex_init(&rt->mu, NULL);
	(void)pthread_cond_init(&rt->cond, NULL);
	static const char *const dirs[] = {"plugins/runtime", "options", "state", "run",
					   "exits",	      "attach",	 "log",	  "bundles"};
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		rt_free_ char *p = rt_path(rt, "%s", dirs[i]);
		rt_ok(rt, fs_mkdir_p(p, 0755, &rt->err));
	}
	rt_free_ char *from = path_fmt("%s/runtime/.libs/%s.so", RT_PLUGINS, plugin),
		      *to = rt_path(rt, "plugins/runtime/%s.so", plugin);
	copy_file(from, to, 0755);
	(void)snprintf(rt->plugin, sizeof(rt->plugin), "%s", plugin);
	rt_free_ char *root = rt_path(rt, "root");
	assert_int_equal(kvs_set(&rt->options, "root", root), 0);
	va_list ap;
	va_start(ap, plugin);
	for (const char *k; (k = va_arg(ap, const char *));)
		assert_int_equal(kvs_set(&rt->options, k, va_arg(ap, const char *)), 0);
	va_end(ap);
	rt_ok(rt, loop_new(&rt->loop, &rt->err));
	rt_ok(rt, workers_new(&rt->workers, &rt->err));
	rt->call = call_new("test", now_mono_ns() + 120 * SEC);
	rt_free_ char *dir = rt_path(rt, "plugins"), *options = rt_path(rt, "options");
	rt_free_ char *state = rt_path(rt, "state"), *run = rt_path(rt, "run");
	struct plugins_args a = {.dir = dir,
				 .options_dir = options,
				 .state_dir = state,
				 .run_dir = run,
				 .loop = rt->loop,
				 .workers = rt->workers};
	rt_ok(rt, plugins_new(&a, &rt->plugins, &rt->err));
	open_instance(rt);
	return rt;
}

static void count_instances(void *arg, const struct plugin_info *info)
{
	*(size_t *)arg += info->instances;
}

/* The thread of the last operation may still hold the instance for a moment. */
static void close_instance(struct rt *rt)
{
	plugin_inst_listen(rt->in, NULL, NULL);
	plugin_inst_unref(rt->in);
	for (int i = 0; i < 1000; i++) {
		size_t n = 0;
		plugins_each(rt->plugins, count_instances, &n);
		if (!n)
			return;
		(void)usleep(1000);
	}
	fail_msg("the instance is still open");
}

void rt_restart(struct rt *rt)
{
	close_instance(rt);
	(void)pthread_mutex_lock(&rt->mu);
	rt->n_events = 0;
	(void)pthread_mutex_unlock(&rt->mu);
	open_instance(rt);
}

static int rm_one(const char *p, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(p);
}

static void rm_parent_cgroup(void)
{
	DIR *d = opendir("/sys/fs/cgroup");
	for (struct dirent *e; d && (e = readdir(d));) {
		rt_free_ char *p = path_fmt("/sys/fs/cgroup/%s%s", e->d_name, parent);
		if (p)
			(void)rmdir(p);
	}
	if (d)
		(void)closedir(d);
	rt_free_ char *v2 = path_fmt("/sys/fs/cgroup%s", parent);
	if (v2)
		(void)rmdir(v2);
}

void rt_free(struct rt *rt)
{
	close_instance(rt);
	plugins_free(rt->plugins);
	call_unref(rt->call);
	(void)workers_free(rt->workers, 10 * SEC);
	loop_free(rt->loop);
	kvs_release(&rt->options);
	err_clear(&rt->err);
	rm_parent_cgroup();
	(void)nftw(rt->dir, rm_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	free(rt);
}

static void write_text(const char *path, const char *text, mode_t mode)
{
	crio_err err = ERR_INIT;
	if (fs_write_path(path, text, strlen(text), mode, FS_RUN, &err) < 0)
		fail_msg("%s", err_text(&err));
}

char *rt_script(struct rt *rt, const char *name, const char *text)
{
	char *p = rt_path(rt, "%s", name);
	write_text(p, text, 0755);
	return p;
}

/* Not with rt->err: containers may be made on many threads. */
static void mkdir_ok(const char *path)
{
	cleanup_err crio_err err = ERR_INIT;
	if (fs_mkdir_p(path, 0755, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static void make_rootfs(const char *bundle)
{
	static const char *const dirs[] = {"bin", "proc", "dev", "tmp", "sys"};
	static const char *const applets[] = {"sh", "sleep", "echo", "cat",  "true", "ls",
					      "id", "stty",  "dd",   "head", "tty"};
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		rt_free_ char *p = path_fmt("%s/rootfs/%s", bundle, dirs[i]);
		mkdir_ok(p);
	}
	rt_free_ char *bb = path_fmt("%s/rootfs/bin/busybox", bundle);
	copy_file("/bin/busybox", bb, 0755);
	for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
		rt_free_ char *p = path_fmt("%s/rootfs/bin/%s", bundle, applets[i]);
		assert_int_equal(symlink("busybox", p), 0);
	}
}

static void make_bundle(const struct rt_ctr *c, const char *bundle)
{
	rt_free_ char *spec = path_fmt("%s/config.json", bundle);
	cleanup_buf struct buf b = BUF_INIT;
	make_rootfs(bundle);
	buf_addf(&b,
		 "{\"ociVersion\":\"1.0.2\",\"hostname\":\"test\",\"process\":{\"terminal\":%s,\"user\":{\"uid\":0,"
		 "\"gid\":0},"
		 "\"args\":%s,\"env\":[\"PATH=/bin\",\"TERM=xterm\"],\"cwd\":\"/\"},\"root\":{\"path\":\"rootfs\"},",
		 c->terminal ? "true" : "false", c->args);
	buf_addf(&b,
		 "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
		 "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"mode=755\"]},"
		 "{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"newinstance\","
		 "\"ptmxmode=0666\"]}],");
	buf_addf(&b,
		 "\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\",\"io.kubernetes.cri.sandbox-id\":"
		 "\"pod1\"},"
		 "\"linux\":{\"cgroupsPath\":\"%s/crio-%s\",\"resources\":%s,\"namespaces\":[{\"type\":\"pid\"},"
		 "{\"type\":\"mount\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"network\"}]}}",
		 parent, c->id, c->resources ? c->resources : "{}");
	rt_free_ char *text = buf_take(&b);
	assert_non_null(text);
	write_text(spec, text, 0644);
}

int rt_create(struct rt *rt, struct rt_ctr *c)
{
	rt_free_ char *bundle = rt_path(rt, "bundles/%s", c->id), *log = rt_path(rt, "log/%s.log", c->id);
	rt_free_ char *exits = rt_path(rt, "exits"), *attach = rt_path(rt, "attach"),
		      *persist = rt_path(rt, "persist-%s", c->id);
	struct stat st;
	if (stat(bundle, &st) < 0)
		make_bundle(c, bundle);
	mkdir_ok(persist);
	struct crio_runtime_create_args a = {.size = sizeof(a),
					     .cgroup_manager = CRIO_CGROUP_CGROUPFS,
					     .id = c->id,
					     .sandbox_id = "pod1",
					     .name = c->id,
					     .bundle = bundle,
					     .persist_dir = persist,
					     .log_path = log,
					     .exit_dir = exits,
					     .attach_dir = attach,
					     .cgroup_parent = parent,
					     .sandbox_netns = "",
					     .log_size_max = -1,
					     .timeout_ns = c->timeout_ns,
					     .terminal = c->terminal,
					     .stdin_open = c->stdin_open,
					     .monitor_cgroup = ""};
	c->out = (struct crio_runtime_create_out){.size = sizeof(c->out)};
	return plugin_runtime_create(rt->in, rt->call, &a, &c->out, &rt->err);
}

int rt_start(struct rt *rt, const char *id)
{
	struct crio_runtime_id_args a = {.size = sizeof(a), .id = id};
	struct crio_runtime_no_out out = {.size = sizeof(out)};
	return plugin_runtime_start(rt->in, rt->call, &a, &out, &rt->err);
}

void rt_run(struct rt *rt, struct rt_ctr *c)
{
	rt_ok(rt, rt_create(rt, c));
	rt_ok(rt, rt_start(rt, c->id));
}

int rt_kill(struct rt *rt, const char *id, int sig)
{
	struct crio_runtime_kill_args a = {.size = sizeof(a), .id = id, .signal = sig};
	struct crio_runtime_no_out out = {.size = sizeof(out)};
	return plugin_runtime_kill(rt->in, rt->call, &a, &out, &rt->err);
}

int rt_del(struct rt *rt, const char *id)
{
	struct crio_runtime_id_args a = {.size = sizeof(a), .id = id, .force = 1};
	struct crio_runtime_no_out out = {.size = sizeof(out)};
	return plugin_runtime_del(rt->in, rt->call, &a, &out, &rt->err);
}

int rt_state(struct rt *rt, const char *id, struct crio_runtime_state_out *out)
{
	struct crio_runtime_id_args a = {.size = sizeof(a), .id = id};
	*out = (struct crio_runtime_state_out){.size = sizeof(*out)};
	return plugin_runtime_state(rt->in, rt->call, &a, out, &rt->err);
}

int rt_reconnect(struct rt *rt, struct rt_ctr *c, struct crio_runtime_state_out *out)
{
	rt_free_ char *bundle = rt_path(rt, "bundles/%s", c->id), *persist = rt_path(rt, "persist-%s", c->id);
	rt_free_ char *exits = rt_path(rt, "exits"), *attach = rt_path(rt, "attach");
	struct crio_runtime_reconnect_args a = {.size = sizeof(a),
						.pid = c->out.pid,
						.start_time = c->out.start_time,
						.id = c->id,
						.sandbox_id = "pod1",
						.bundle = bundle,
						.persist_dir = persist,
						.exit_dir = exits,
						.attach_dir = attach,
						.monitor_pid = c->out.monitor_pid,
						.monitor_start_time = c->out.monitor_start_time};
	*out = (struct crio_runtime_state_out){.size = sizeof(*out)};
	return plugin_runtime_reconnect(rt->in, rt->call, &a, out, &rt->err);
}

struct reader {
	int fd;
	char *to;
	size_t cap, n;
};

static void *read_all(void *arg)
{
	struct reader *r = arg;
	char drop[4096];
	for (;;) {
		bool full = r->n + 1 >= r->cap;
		ssize_t n = read(r->fd, full ? drop : r->to + r->n, full ? sizeof(drop) : r->cap - 1 - r->n);
		if (n <= 0)
			break;
		r->n += full ? 0 : (size_t)n;
	}
	r->to[r->n] = 0;
	return NULL;
}

int rt_exec(struct rt *rt, const char *id, const char *args, const char *input, int64_t timeout_ns, struct rt_exec *ret)
{
	int in[2], out[2], err[2];
	assert_true(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
	rt_free_ char *process =
	    path_fmt("{\"user\":{\"uid\":0,\"gid\":0},\"cwd\":\"/\",\"env\":[\"PATH=/bin\"],\"args\":%s}", args);
	struct crio_runtime_exec_args a = {.size = sizeof(a),
					   .id = id,
					   .process_json = process,
					   .stdin_fd = in[0],
					   .stdout_fd = out[1],
					   .stderr_fd = err[1]};
	struct crio_runtime_exec_out o = {.size = sizeof(o)};
	int64_t t = now_mono_ns();
	memset(ret, 0, sizeof(*ret));
	int r = plugin_runtime_exec_start(rt->in, rt->call, &a, &o, &rt->err);
	(void)close(in[0]);
	(void)close(out[1]);
	(void)close(err[1]);
	if (r == 0) {
		struct reader ro = {out[0], ret->out, sizeof(ret->out), 0},
			      re = {err[0], ret->err, sizeof(ret->err), 0};
		pthread_t to, te;
		assert_int_equal(pthread_create(&to, NULL, read_all, &ro), 0);
		assert_int_equal(pthread_create(&te, NULL, read_all, &re), 0);
		if (input)
			assert_int_equal(write(in[1], input, strlen(input)), (int)strlen(input));
		(void)close(in[1]);
		in[1] = -1;
		struct crio_runtime_exec_ref ref = {.size = sizeof(ref), .id = id, .exec_id = o.exec_id};
		struct crio_runtime_exec_exit x = {.size = sizeof(x)};
		crio_call *sub = call_sub(rt->call, timeout_ns);
		ret->r = plugin_runtime_exec_wait(rt->in, sub, &ref, &x, NULL);
		if (ret->r < 0) {
			struct crio_runtime_no_out no = {.size = sizeof(no)};
			ref.signal = SIGKILL;
			rt_ok(rt, plugin_runtime_exec_kill(rt->in, rt->call, &ref, &no, &rt->err));
			rt_ok(rt, plugin_runtime_exec_wait(rt->in, rt->call, &ref, &x, &rt->err));
		}
		ret->code = x.exit_code;
		ret->not_started = x.not_started;
		(void)snprintf(ret->message, sizeof(ret->message), "%s", x.message ? x.message : "");
		call_unref(sub);
		(void)pthread_join(to, NULL);
		(void)pthread_join(te, NULL);
	}
	ret->ns = now_mono_ns() - t;
	(void)safe_close(in[1]);
	(void)close(out[0]);
	(void)close(err[0]);
	return r;
}

bool rt_file_has(const char *path, const char *text, int64_t timeout_ns)
{
	for (int64_t end = now_mono_ns() + timeout_ns; now_mono_ns() < end; (void)usleep(2000)) {
		cleanup_free char *got = NULL;
		if (fs_read_file(AT_FDCWD, path, 1u << 20, &got, NULL, NULL) == 0 && strstr(got, text))
			return true;
	}
	return false;
}

/* As a word: four characters are found in many a container's id of somebody else. */
static bool has_word(const char *line, size_t n, const char *word)
{
	size_t len = strlen(word);
	for (const char *at = line, *end = line + n; (at = memmem(at, (size_t)(end - at), word, len)); at++) {
		bool before = at > line && isalnum((unsigned char)at[-1]);
		bool after = at + len < end && isalnum((unsigned char)at[len]);
		if (!before && !after)
			return true;
	}
	return false;
}

int rt_processes(const char *text)
{
	DIR *d = opendir("/proc");
	int n = 0;
	for (struct dirent *e; d && (e = readdir(d));) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9' || atoi(e->d_name) == getpid())
			continue;
		char path[300], line[4096];
		(void)snprintf(path, sizeof(path), "/proc/%s/cmdline", e->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t got = fd < 0 ? -1 : read(fd, line, sizeof(line));
		(void)safe_close(fd);
		if (got > 0 && has_word(line, (size_t)got, text))
			n++;
	}
	if (d)
		(void)closedir(d);
	return n;
}

static void no_cgroup(const char *id)
{
	DIR *d = opendir("/sys/fs/cgroup");
	for (struct dirent *e; d && (e = readdir(d));) {
		if (str_eq(e->d_name, "unified")) /* a plain directory here, which crun takes for a hierarchy */
			continue;
		rt_free_ char *own = path_fmt("/sys/fs/cgroup/%s%s/crio-%s", e->d_name, parent, id);
		rt_free_ char *mon = path_fmt("/sys/fs/cgroup/%s%s/crio-conmon-%s", e->d_name, parent, id);
		if (!access(own, F_OK) || !access(mon, F_OK))
			fail_msg("cgroup of %s is left in %s", id, e->d_name);
	}
	if (d)
		(void)closedir(d);
}

void rt_nothing_left(struct rt *rt, const char *id)
{
	static const char *const places[] = {"root/%s",
					     "exits/%s",
					     "attach/%s",
					     "bundles/%s/pidfile",
					     "bundles/%s/conmon-pidfile",
					     "bundles/%s/ctl",
					     "bundles/%s/attach",
					     "bundles/%s/winsz",
					     "persist-%s/exit"};
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char tail[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		(void)snprintf(tail, sizeof(tail), places[i], id);
#pragma GCC diagnostic pop
		rt_free_ char *p = rt_path(rt, "%s", tail);
		struct stat st;
		if (lstat(p, &st) == 0)
			fail_msg("%s is left", p);
	}
	no_cgroup(id);
	/* A monitor ends a moment after it has told the exit. */
	for (int i = 0; i < 1000 && rt_processes(id); i++)
		(void)usleep(10000);
	if (rt_processes(id))
		fail_msg("processes of %s are left", id);
}
