/* test_kata.c: the vm runtime with a real shim v2, containerd's for runc, and with shims that misbehave. */
#include "tests/plugin/runtime/rt.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define SHIM "/usr/bin/containerd-shim-runc-v2"

static struct rt *rt;

static int set_up(void **st)
{
	(void)st;
	rt = rt_new("kata", "path", SHIM, NULL);
	return 0;
}

static int tear_down(void **st)
{
	(void)st;
	rt_free(rt);
	return 0;
}

static void no_shim_left(void)
{
	for (int i = 0; i < 300 && rt_processes("containerd-shim-runc-v2"); i++)
		(void)usleep(10000);
	assert_int_equal(rt_processes("containerd-shim-runc-v2"), 0);
}

static void gone(const char *id)
{
	rt_free_ char *fifos = rt_path(rt, "root/crio/fifo/%s", id), *log = rt_path(rt, "bundles/%s/log", id);
	rt_free_ char *runc = path_fmt("/run/containerd/runc/default/%s", id);
	assert_int_not_equal(access(fifos, F_OK), 0);
	assert_int_not_equal(access(log, F_OK), 0);
	assert_int_not_equal(access(runc, F_OK), 0);
	/* a shim that served its last container ends a moment after it has said so */
	for (int i = 0; i < 300 && rt_processes(id); i++)
		(void)usleep(10000);
	rt_nothing_left(rt, id);
}

static void lives(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "kk01",
			   .args = "[\"/bin/sh\",\"-c\",\"echo out; echo err >&2; printf part; exit 7\"]"};
	struct crio_runtime_state_out s;
	struct rt_event e;
	int64_t t0 = now_mono_ns();
	rt_ok(rt, rt_create(rt, &c));
	int64_t t1 = now_mono_ns();
	assert_true(c.out.pid > 0 && c.out.start_time > 0 && c.out.monitor_pid > 0);
	rt_ok(rt, rt_state(rt, c.id, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_CREATED);
	assert_int_equal(s.pid, c.out.pid);
	int64_t t2 = now_mono_ns();
	rt_ok(rt, rt_start(rt, c.id));
	printf("    create %.1f ms, start %.1f ms\n", (double)(t1 - t0) / 1e6, (double)(now_mono_ns() - t2) / 1e6);
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, c.id, 10 * SEC, &e));
	assert_int_equal(e.exit_code, 7);
	assert_true(e.time_ns > now_real_ns() - 60 * SEC);
	rt_free_ char *log = rt_path(rt, "log/kk01.log");
	assert_true(rt_file_has(log, " stdout F out\n", 5 * SEC));
	assert_true(rt_file_has(log, " stderr F err\n", 5 * SEC));
	assert_true(rt_file_has(log, " stdout P part\n", 5 * SEC));
	rt_ok(rt, rt_state(rt, c.id, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_STOPPED);
	assert_int_equal(s.exit_code, 7);
	assert_int_equal(rt_start(rt, c.id), CRIO_E_PRECONDITION);
	err_clear(&rt->err);
	rt_ok(rt, rt_kill(rt, c.id, SIGKILL));
	rt_ok(rt, rt_del(rt, c.id));
	rt_ok(rt, rt_del(rt, c.id));
	gone(c.id);
	no_shim_left();
}

static void execs_and_stops(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "kk02", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct rt_exec x;
	struct rt_event e;
	rt_run(rt, &c);
	rt_ok(rt, rt_exec(rt, c.id, "[\"/bin/sh\",\"-c\",\"cat; echo to err >&2; exit 5\"]", "given", 0, &x));
	assert_int_equal(x.code, 5);
	assert_string_equal(x.out, "given");
	assert_string_equal(x.err, "to err\n");
	rt_ok(rt, rt_exec(rt, c.id, "[\"true\"]", NULL, 0, &x));
	assert_int_equal(x.code, 0);
	printf("    exec true %.1f ms\n", (double)x.ns / 1e6);
	rt_ok(rt, rt_exec(rt, c.id, "[\"no-such-program\"]", NULL, 0, &x));
	assert_int_equal(x.not_started, 1);
	assert_int_equal(x.code, 255);
	assert_non_null(strstr(x.message, "no-such-program"));
	assert_non_null(strstr(x.err, "no-such-program"));
	rt_ok(rt, rt_exec(rt, c.id, "[\"sleep\",\"4730\"]", NULL, 300 * MS, &x));
	assert_int_equal(x.r, CRIO_E_DEADLINE);
	assert_int_equal(x.code, 137);
	assert_int_equal(rt_processes("4730"), 0);
	/* more than a pipe holds */
	rt_ok(rt, rt_exec(rt, c.id, "[\"/bin/sh\",\"-c\",\"dd if=/dev/zero bs=1k count=3000; echo end >&2\"]", NULL, 0,
			  &x));
	assert_int_equal(x.code, 0);
	assert_non_null(strstr(x.err, "end\n"));
	int64_t t = now_mono_ns();
	rt_ok(rt, rt_kill(rt, c.id, SIGKILL));
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, c.id, 10 * SEC, &e));
	assert_int_equal(e.exit_code, 137);
	printf("    KILL to exit event %.1f ms\n", (double)(e.at_ns - t) / 1e6);
	assert_int_equal(rt_exec(rt, c.id, "[\"true\"]", NULL, 0, &x), CRIO_E_PRECONDITION);
	err_clear(&rt->err);
	rt_ok(rt, rt_del(rt, c.id));
	gone(c.id);
	no_shim_left();
}

static bool read_until(int fd, const char *want)
{
	char text[8192] = "";
	size_t n = 0;
	for (int64_t end = now_mono_ns() + 5 * SEC; now_mono_ns() < end && n < sizeof(text) - 1;) {
		struct pollfd p = {fd, POLLIN, 0};
		if (poll(&p, 1, 50) <= 0)
			continue;
		ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);
		if (got <= 0)
			break;
		n += (size_t)got;
		text[n] = 0;
		if (strstr(text, want))
			return true;
	}
	printf("    got: %s\n", text);
	return false;
}

struct waiter {
	struct crio_runtime_exec_ref ref;
	struct crio_runtime_exec_exit x;
	int r;
};

static void *wait_main(void *arg)
{
	struct waiter *w = arg;
	w->r = plugin_runtime_exec_wait(rt->in, rt->call, &w->ref, &w->x, NULL);
	return NULL;
}

static void exec_with_a_terminal(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "kk03", .args = "[\"/bin/sleep\",\"1000\"]"};
	rt_run(rt, &c);
	struct crio_runtime_exec_args a = {
	    .size = sizeof(a),
	    .id = c.id,
	    .tty = 1,
	    .stdin_fd = -1,
	    .stdout_fd = -1,
	    .stderr_fd = -1,
	    .process_json = "{\"terminal\":true,\"cwd\":\"/\",\"env\":[\"PATH=/bin\",\"TERM=xterm\"],"
			    "\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"sh\"]}"};
	struct crio_runtime_exec_out o = {.size = sizeof(o)};
	rt_ok(rt, plugin_runtime_exec_start(rt->in, rt->call, &a, &o, &rt->err));
	struct waiter w = {.ref = {.size = sizeof(w.ref), .id = c.id, .exec_id = o.exec_id, .height = 33, .width = 111},
			   .x = {.size = sizeof(w.x)}};
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, wait_main, &w), 0);
	assert_true(read_until(o.tty_fd, "#"));
	struct crio_runtime_no_out no = {.size = sizeof(no)};
	rt_ok(rt, plugin_runtime_exec_resize(rt->in, rt->call, &w.ref, &no, &rt->err));
	assert_int_equal(write(o.tty_fd, "stty size; exit 9\n", 18), 18);
	assert_true(read_until(o.tty_fd, "33 111"));
	(void)pthread_join(t, NULL);
	assert_int_equal(w.r, 0);
	assert_int_equal(w.x.exit_code, 9);
	(void)close(o.tty_fd);
	rt_ok(rt, rt_del(rt, c.id));
	gone(c.id);
	no_shim_left();
}

static void survives_a_restart(void **st)
{
	(void)st;
	struct rt_ctr run = {.id = "kk04", .args = "[\"/bin/sh\",\"-c\",\"while :; do echo tick; sleep 0.05; done\"]"};
	struct rt_ctr end = {.id = "kk05", .args = "[\"/bin/sh\",\"-c\",\"sleep 0.3; exit 42\"]"};
	struct crio_runtime_state_out s;
	struct rt_event e;
	struct rt_exec x;
	rt_run(rt, &run);
	rt_run(rt, &end);
	plugin_inst_listen(rt->in, NULL, NULL);
	(void)usleep(700000);
	rt_restart(rt);
	rt_ok(rt, rt_reconnect(rt, &run, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_RUNNING);
	rt_ok(rt, rt_reconnect(rt, &end, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_STOPPED);
	assert_int_equal(s.exit_code, 42);
	rt_ok(rt, rt_exec(rt, run.id, "[\"true\"]", NULL, 0, &x));
	assert_int_equal(x.code, 0);
	/* its log goes on, also in a new file */
	rt_free_ char *log = rt_path(rt, "log/kk04.log"), *old = rt_path(rt, "log/kk04.log.1");
	assert_int_equal(rename(log, old), 0);
	struct crio_runtime_id_args ia = {.size = sizeof(ia), .id = run.id};
	struct crio_runtime_no_out no = {.size = sizeof(no)};
	rt_ok(rt, plugin_runtime_reopen_log(rt->in, rt->call, &ia, &no, &rt->err));
	assert_true(rt_file_has(log, "stdout F tick\n", 5 * SEC));
	rt_ok(rt, plugin_runtime_pause(rt->in, rt->call, &ia, &no, &rt->err));
	rt_ok(rt, rt_state(rt, run.id, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_PAUSED);
	rt_ok(rt, plugin_runtime_resume(rt->in, rt->call, &ia, &no, &rt->err));
	rt_ok(rt, rt_kill(rt, run.id, SIGKILL));
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, run.id, 10 * SEC, &e));
	assert_int_equal(e.exit_code, 137);
	rt_ok(rt, rt_del(rt, run.id));
	rt_ok(rt, rt_del(rt, end.id));
	gone(run.id);
	gone(end.id);
	no_shim_left();
}

static void one_shim_for_a_pod(void **st)
{
	(void)st;
	/* the pod's own container has the id of the pod */
	struct rt_ctr pod = {.id = "pod1", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct rt_ctr a = {.id = "kk06", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct rt_ctr b = {.id = "kk07", .args = "[\"/bin/sleep\",\"1000\"]"};
	rt_run(rt, &pod);
	rt_run(rt, &a);
	rt_run(rt, &b);
	assert_int_equal(a.out.monitor_pid, pod.out.monitor_pid);
	assert_int_equal(b.out.monitor_pid, pod.out.monitor_pid);
	rt_ok(rt, rt_del(rt, a.id));
	rt_ok(rt, rt_del(rt, b.id));
	assert_true(rt_processes("containerd-shim-runc-v2") > 0);
	rt_ok(rt, rt_del(rt, pod.id));
	no_shim_left();
	gone(pod.id);
	gone(a.id);
	gone(b.id);
}

static void the_shim_dies(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "kk08", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct crio_runtime_id_args ia = {.size = sizeof(ia), .id = c.id};
	struct crio_runtime_no_out no = {.size = sizeof(no)};
	struct rt_event e;
	rt_run(rt, &c);
	rt_ok(rt, plugin_runtime_probe_monitor(rt->in, rt->call, &ia, &no, &rt->err));
	assert_int_equal(kill(c.out.monitor_pid, SIGKILL), 0);
	assert_true(rt_event(rt, CRIO_EVENT_MONITOR_DIED, c.id, 5 * SEC, NULL));
	assert_int_equal(plugin_runtime_probe_monitor(rt->in, rt->call, &ia, &no, &rt->err), CRIO_E_UNAVAILABLE);
	err_clear(&rt->err);
	rt_ok(rt, rt_kill(rt, c.id, SIGKILL));
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, c.id, 5 * SEC, &e));
	assert_int_equal(e.exit_code, -1);
	rt_ok(rt, rt_del(rt, c.id));
	gone(c.id);
}

static void create_says_why_it_failed(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "kk09", .args = "[\"/no/such/program\"]"};
	assert_true(rt_create(rt, &c) < 0);
	printf("    %s\n", err_text(&rt->err));
	assert_non_null(strstr(err_text(&rt->err), "/no/such/program"));
	err_clear(&rt->err);
	gone(c.id);
	no_shim_left();
}

/* Programs in place of the shim. */
static void bad_shims(void **st)
{
	(void)st;
	static const struct {
		const char *text;
		int code;
		const char *says;
	} bad[] = {
	    {"#!/bin/sh\nexec sleep 4740\n", CRIO_E_DEADLINE, ""},
	    {"#!/bin/sh\necho broken >&2\nexit 1\n", CRIO_E_INTERNAL, "broken"},
	    {"#!/bin/sh\nkill -SEGV $$\n", CRIO_E_INTERNAL, ""},
	    {"#!/bin/sh\nexit 0\n", CRIO_E_CORRUPT, "no address"},
	    {"#!/bin/sh\necho garbage\n", CRIO_E_CORRUPT, "no address"},
	    {"#!/bin/sh\nexec head -c 3000000 /dev/zero\n", CRIO_E_CORRUPT, "no address"},
	    {"#!/bin/sh\necho unix:///no/such/socket\n", CRIO_E_UNAVAILABLE, "/no/such/socket"},
	    {"#!/bin/sh\necho '{\"version\":3,\"address\":\"unix:///x\",\"protocol\":\"ttrpc\"}'\n", CRIO_E_UNSUPPORTED,
	     "version 3"},
	    {"#!/bin/sh\necho '{\"version\":2,\"address\":\"unix:///no/x\",\"protocol\":\"grpc\"}'\n",
	     CRIO_E_UNSUPPORTED, "grpc"},
	    {"#!/bin/sh\necho '{\"version\":2,\"address\":\"unix:///no/x\",\"protocol\":\"ttrpc\"}'\n",
	     CRIO_E_UNAVAILABLE, "/no/x"},
	};
	rt_free_ char *shim = rt_path(rt, "containerd-shim-bad-v2");
	assert_int_equal(kvs_set(&rt->options, "path", shim), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		rt_free_ char *p = rt_script(rt, "containerd-shim-bad-v2", bad[i].text);
		rt_restart(rt);
		struct rt_ctr c = {.id = "kk10", .args = "[\"/bin/true\"]", .timeout_ns = 400 * MS};
		int64_t t = now_mono_ns();
		int r = rt_create(rt, &c);
		t = now_mono_ns() - t;
		if (r != bad[i].code || !strstr(err_text(&rt->err), bad[i].says))
			fail_msg("%zu: %d %s", i, r, err_text(&rt->err));
		assert_true(t < 14 * SEC);
		err_clear(&rt->err);
		for (int j = 0; j < 300 && rt_processes("4740"); j++)
			(void)usleep(10000);
		assert_int_equal(rt_processes("4740"), 0);
		gone(c.id);
	}
}

static int count_fds(void)
{
	cleanup_closedir DIR *d = opendir("/proc/self/fd");
	int n = 0;
	while (d && readdir(d))
		n++;
	return n;
}

/* The caller leaves while the shim starts; the delete, which waits for the undoing, is the last that is heard of the container. */
static void left_by_its_caller(void **st)
{
	(void)st;
	rt_free_ char *shim = rt_path(rt, "containerd-shim-slow-v2");
	rt_free_ char *script = rt_script(rt, "containerd-shim-slow-v2", "#!/bin/sh\nfor a; do :; done\n"
					  "[ \"$a\" != start ] || sleep 2\nexec " SHIM " \"$@\"\n");
	assert_non_null(script);
	assert_int_equal(kvs_set(&rt->options, "path", shim), 0);
	rt_restart(rt);
	struct rt_ctr c = {.id = "kk11", .args = "[\"/bin/true\"]"};
	crio_call *own = rt->call;
	(void)call_cancel_fd(own); /* made when it is first asked for */
	int before = count_fds();
	rt->call = call_new("short", now_mono_ns() + 300 * MS);
	assert_non_null(rt->call);
	int r = rt_create(rt, &c);
	call_unref(rt->call);
	rt->call = own;
	assert_int_equal(r, CRIO_E_DEADLINE);
	err_clear(&rt->err);
	assert_true(count_fds() > before); /* it is being undone */
	rt_ok(rt, rt_del(rt, c.id));
	for (int i = 0; i < 100 && count_fds() > before; i++) /* the host's thread of the call */
		(void)usleep(10000);
	assert_int_equal(count_fds(), before);
	gone(c.id);
	no_shim_left();
}

static void checks(void **st)
{
	(void)st;
	rt_ok(rt, plugin_inst_check(rt->in, rt->call, &rt->err));
	struct crio_runtime_id_args a = {.size = sizeof(a), .id = ""};
	struct crio_runtime_features_out f = {.size = sizeof(f)};
	rt_ok(rt, plugin_runtime_features(rt->in, rt->call, &a, &f, &rt->err));
	assert_non_null(strstr(f.version, "1."));
	assert_string_equal(f.json, "");
	static const char *const names[] = {"/usr/bin/kata-runtime", "/usr/bin/containerd-shim-",
					    "/x/containerd-shim-a_b"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(kvs_set(&rt->options, "path", names[i]), 0);
		rt_restart(rt);
		assert_int_equal(plugin_inst_check(rt->in, rt->call, &rt->err), CRIO_E_INVALID);
		err_clear(&rt->err);
	}
}

static int body(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(checks),
	    T(lives),
	    T(execs_and_stops),
	    T(exec_with_a_terminal),
	    T(survives_a_restart),
	    T(one_shim_for_a_pod),
	    T(the_shim_dies),
	    T(create_says_why_it_failed),
	    T(bad_shims),
	    T(left_by_its_caller),
	};
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}

int main(void)
{
	static const char *const programs[] = {SHIM, "/usr/sbin/runc", "/bin/busybox", NULL};
	/* The shim has fixed places for its state, whoever runs it: ours are empty, whatever another run left. */
	if (geteuid() == 0 && (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
			       (mkdir("/run/containerd", 0711) && errno != EEXIST) ||
			       mount("kata", "/run/containerd", "tmpfs", 0, "mode=711"))) {
		perror("a /run/containerd of our own");
		return 1;
	}
	return rt_main(body, programs);
}
