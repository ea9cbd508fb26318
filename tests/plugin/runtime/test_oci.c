/* test_oci.c: the OCI plugins with real runtimes: runc, crun, and crun through the plugin for any runtime. */
#include "tests/plugin/runtime/rt.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char *plugin;
static struct rt *rt;

static int set_up(void **st)
{
	(void)st;
	rt = str_eq(plugin, "oci") ? rt_new("oci", "path", "/usr/bin/crun", NULL) : rt_new(plugin, NULL);
	return 0;
}

static int tear_down(void **st)
{
	(void)st;
	rt_free(rt);
	return 0;
}

static void runs_and_logs_and_ends(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "aa01", .args = "[\"/bin/sh\",\"-c\",\"echo hello out; echo hello err >&2; exit 7\"]"};
	struct crio_runtime_state_out s;
	int64_t t0 = now_mono_ns();
	rt_ok(rt, rt_create(rt, &c));
	int64_t t1 = now_mono_ns();
	assert_true(c.out.pid > 0 && c.out.start_time > 0 && c.out.monitor_pid > 0 && c.out.monitor_start_time > 0);
	rt_ok(rt, rt_state(rt, c.id, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_CREATED);
	assert_int_equal(s.pid, c.out.pid);
	int64_t t2 = now_mono_ns();
	rt_ok(rt, rt_start(rt, c.id));
	int64_t t3 = now_mono_ns();
	struct rt_event e;
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, c.id, 10 * SEC, &e));
	printf("    %s: create %.1f ms, start %.1f ms, exit seen %.1f ms later\n", plugin, (double)(t1 - t0) / 1e6,
	       (double)(t3 - t2) / 1e6, (double)(e.at_ns - t3) / 1e6);
	assert_int_equal(e.exit_code, 7);
	assert_int_equal(e.oom, 0);
	assert_true(e.time_ns > now_real_ns() - 60 * SEC);
	rt_ok(rt, rt_state(rt, c.id, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_STOPPED);
	assert_int_equal(s.exit_code, 7);
	rt_free_ char *log = rt_path(rt, "log/aa01.log");
	assert_true(rt_file_has(log, " stdout F hello out\n", SEC));
	assert_true(rt_file_has(log, " stderr F hello err\n", SEC));
	assert_int_equal(rt_start(rt, c.id), CRIO_E_PRECONDITION);
	err_clear(&rt->err);
	rt_ok(rt, rt_kill(rt, c.id, SIGTERM));
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
	rt_ok(rt, rt_del(rt, c.id));
	assert_int_equal(rt_state(rt, c.id, &s), CRIO_E_NOT_FOUND);
	err_clear(&rt->err);
}

static void stops_by_signal(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "aa02",
			   .args = "[\"/bin/sh\",\"-c\",\"trap 'exit 3' TERM; while :; do sleep 0.01; done\"]"};
	struct rt_ctr d = {.id = "aa03", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct rt_event e;
	rt_run(rt, &c);
	rt_run(rt, &d);
	assert_int_equal(rt_start(rt, c.id), CRIO_E_PRECONDITION);
	err_clear(&rt->err);
	(void)usleep(200000); /* for the shell to set its trap */
	rt_ok(rt, rt_kill(rt, c.id, SIGTERM));
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, c.id, 10 * SEC, &e));
	assert_int_equal(e.exit_code, 3);
	int64_t t = now_mono_ns();
	rt_ok(rt, rt_kill(rt, d.id, SIGKILL));
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, d.id, 10 * SEC, &e));
	printf("    %s: KILL to exit event %.1f ms\n", plugin, (double)(e.at_ns - t) / 1e6);
	assert_int_equal(e.exit_code, 137);
	t = now_mono_ns();
	rt_ok(rt, rt_del(rt, c.id));
	printf("    %s: delete %.1f ms\n", plugin, (double)(now_mono_ns() - t) / 1e6);
	rt_ok(rt, rt_del(rt, d.id));
	rt_nothing_left(rt, c.id);
	rt_nothing_left(rt, d.id);
}

static void deletes_what_still_runs(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "aa04", .args = "[\"/bin/sleep\",\"1000\"]"};
	rt_run(rt, &c);
	struct crio_runtime_id_args a = {.size = sizeof(a), .id = c.id};
	struct crio_runtime_no_out out = {.size = sizeof(out)};
	assert_int_equal(plugin_runtime_del(rt->in, rt->call, &a, &out, &rt->err), CRIO_E_PRECONDITION);
	err_clear(&rt->err);
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
	/* created only, and again under the same id */
	rt_ok(rt, rt_create(rt, &c));
	assert_int_equal(rt_create(rt, &c), CRIO_E_EXISTS);
	err_clear(&rt->err);
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
}

static void execs(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "aa05", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct rt_exec x;
	rt_run(rt, &c);
	rt_ok(rt, rt_exec(rt, c.id, "[\"/bin/sh\",\"-c\",\"cat; echo to err >&2; exit 5\"]", "given", 0, &x));
	assert_int_equal(x.r, 0);
	assert_int_equal(x.code, 5);
	assert_int_equal(x.not_started, 0);
	assert_string_equal(x.out, "given");
	assert_string_equal(x.err, "to err\n");
	int64_t best = INT64_MAX;
	for (int i = 0; i < 5; i++) {
		rt_ok(rt, rt_exec(rt, c.id, "[\"true\"]", NULL, 0, &x));
		assert_int_equal(x.code, 0);
		best = x.ns < best ? x.ns : best;
	}
	printf("    %s: exec true %.1f ms\n", plugin, (double)best / 1e6);
	rt_ok(rt, rt_exec(rt, c.id, "[\"/bin/sh\",\"-c\",\"kill -9 $$\"]", NULL, 0, &x));
	assert_int_equal(x.code, 137);
	rt_ok(rt, rt_exec(rt, c.id, "[\"no-such-program\"]", NULL, 0, &x));
	assert_true(x.code == 126 || x.code == 127 || x.code == 255);
	assert_int_equal(x.not_started, 1);
	assert_non_null(strstr(x.message, "no-such-program"));
	assert_non_null(strstr(x.err, "no-such-program"));
	/* a command that itself ends with 127 did start */
	rt_ok(rt, rt_exec(rt, c.id, "[\"/bin/sh\",\"-c\",\"exit 127\"]", NULL, 0, &x));
	assert_int_equal(x.code, 127);
	assert_int_equal(x.not_started, 0);
	assert_int_equal(rt_exec(rt, c.id, "not json", NULL, 0, &x), CRIO_E_INVALID);
	err_clear(&rt->err);
	assert_int_equal(rt_exec(rt, "zz99", "[\"true\"]", NULL, 0, &x), CRIO_E_NOT_FOUND);
	err_clear(&rt->err);
	/* no descriptor of the host's is in the container */
	rt_ok(rt, rt_exec(rt, c.id, "[\"/bin/sh\",\"-c\",\"echo /proc/self/fd/*\"]", NULL, 0, &x));
	assert_null(strstr(x.out, "/4"));
	rt_ok(rt, rt_kill(rt, c.id, SIGKILL));
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, c.id, 10 * SEC, NULL));
	assert_int_equal(rt_exec(rt, c.id, "[\"true\"]", NULL, 0, &x), CRIO_E_PRECONDITION);
	err_clear(&rt->err);
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
}

static void exec_time_out_kills_its_session(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "aa06", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct rt_exec x;
	rt_run(rt, &c);
	rt_ok(rt, rt_exec(rt, c.id, "[\"/bin/sh\",\"-c\",\"echo begun; trap '' TERM; sleep 4711 & sleep 4711\"]", NULL,
			  500 * MS, &x));
	assert_int_equal(x.r, CRIO_E_DEADLINE);
	assert_int_equal(x.code, 137);
	assert_string_equal(x.out, "begun\n");
	assert_true(x.ns < 3 * SEC);
	for (int i = 0; i < 100 && rt_processes("4711"); i++)
		(void)usleep(10000);
	assert_int_equal(rt_processes("4711"), 0);
	/* killed before the runtime had the process ready */
	rt_ok(rt, rt_exec(rt, c.id, "[\"sleep\",\"4712\"]", NULL, 1, &x));
	assert_int_equal(x.r, CRIO_E_DEADLINE);
	for (int i = 0; i < 100 && rt_processes("4712"); i++)
		(void)usleep(10000);
	assert_int_equal(rt_processes("4712"), 0);
	rt_ok(rt, rt_exec(rt, c.id, "[\"true\"]", NULL, 0, &x));
	assert_int_equal(x.code, 0);
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
}

static void execs_end_with_the_container(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "aa07", .args = "[\"/bin/sleep\",\"1000\"]"};
	rt_run(rt, &c);
	struct crio_runtime_exec_args a = {.size = sizeof(a),
					   .id = c.id,
					   .stdin_fd = -1,
					   .stdout_fd = -1,
					   .stderr_fd = -1,
					   .process_json =
					       "{\"cwd\":\"/\",\"env\":[\"PATH=/bin\"],\"user\":{\"uid\":0,\"gid\":0},"
					       "\"args\":[\"sleep\",\"4713\"]}"};
	struct crio_runtime_exec_out o = {.size = sizeof(o)};
	rt_ok(rt, plugin_runtime_exec_start(rt->in, rt->call, &a, &o, &rt->err));
	for (int i = 0; i < 500 && rt_processes("4713") < 1; i++)
		(void)usleep(10000);
	rt_ok(rt, rt_kill(rt, c.id, SIGKILL));
	struct crio_runtime_exec_ref ref = {.size = sizeof(ref), .id = c.id, .exec_id = o.exec_id};
	struct crio_runtime_exec_exit x = {.size = sizeof(x)};
	rt_ok(rt, plugin_runtime_exec_wait(rt->in, rt->call, &ref, &x, &rt->err));
	assert_true(x.exit_code != 0);
	assert_int_equal(plugin_runtime_exec_wait(rt->in, rt->call, &ref, &x, &rt->err), CRIO_E_NOT_FOUND);
	err_clear(&rt->err);
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
}

static bool read_until(int fd, const char *want, int64_t timeout)
{
	char text[8192] = "";
	size_t n = 0;
	for (int64_t end = now_mono_ns() + timeout; now_mono_ns() < end && n < sizeof(text) - 1;) {
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

static void exec_with_a_terminal(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "aa08", .args = "[\"/bin/sleep\",\"1000\"]"};
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
	assert_true(o.tty_fd >= 0);
	assert_true(read_until(o.tty_fd, "#", 5 * SEC));
	struct crio_runtime_exec_ref ref = {
	    .size = sizeof(ref), .id = c.id, .exec_id = o.exec_id, .height = 33, .width = 111};
	struct crio_runtime_no_out no = {.size = sizeof(no)};
	rt_ok(rt, plugin_runtime_exec_resize(rt->in, rt->call, &ref, &no, &rt->err));
	assert_int_equal(poll(&(struct pollfd){o.exit_fd, POLLIN, 0}, 1, 200), 0);
	assert_int_equal(write(o.tty_fd, "stty size; tty; exit 9\n", 23), 23);
	assert_true(read_until(o.tty_fd, "33 111", 5 * SEC));
	struct crio_runtime_exec_exit x = {.size = sizeof(x)};
	/* the terminal must be read on, or the runtime cannot hand over what is left */
	(void)read_until(o.tty_fd, "never", 300 * MS);
	rt_ok(rt, plugin_runtime_exec_wait(rt->in, rt->call, &ref, &x, &rt->err));
	assert_int_equal(x.exit_code, 9);
	assert_int_equal(poll(&(struct pollfd){o.exit_fd, POLLIN, 0}, 1, 0), 1);
	(void)close(o.tty_fd);
	(void)close(o.exit_fd);
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
}

/* Packets come one at a time; what is asked for is one of them. */
static bool packet_is(int fd, char stream, const char *text)
{
	char p[256];
	struct pollfd f = {fd, POLLIN, 0};
	while (poll(&f, 1, 5000) == 1) {
		ssize_t n = recv(fd, p, sizeof(p), 0);
		if (n <= 0)
			return false;
		if (p[0] == stream && (size_t)n == strlen(text) + 1 && !memcmp(p + 1, text, (size_t)n - 1))
			return true;
	}
	return false;
}

static void attaches(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "aa09",
			   .stdin_open = true,
			   .args =
			       "[\"/bin/sh\",\"-c\",\"while read l; do echo got $l; echo err $l >&2; done; exit 4\"]"};
	rt_run(rt, &c);
	struct crio_runtime_id_args a = {.size = sizeof(a), .id = c.id};
	struct crio_runtime_fd_out o = {.size = sizeof(o)}, two = {.size = sizeof(two)};
	rt_ok(rt, plugin_runtime_attach(rt->in, rt->call, &a, &o, &rt->err));
	assert_int_equal(send(o.fd, "one\n", 4, 0), 4);
	assert_true(packet_is(o.fd, CRIO_ATTACH_STDOUT, "got one\n"));
	assert_int_equal(send(o.fd, "1\n", 2, 0), 2);
	assert_true(packet_is(o.fd, CRIO_ATTACH_STDERR, "err 1\n"));
	/* again: others see it too, and the end of one is not that of the container */
	rt_ok(rt, plugin_runtime_attach(rt->in, rt->call, &a, &two, &rt->err));
	(void)close(o.fd);
	assert_int_equal(send(two.fd, "two\n", 4, 0), 4);
	assert_true(packet_is(two.fd, CRIO_ATTACH_STDOUT, "got two\n"));
	rt_ok(rt, rt_kill(rt, c.id, SIGKILL));
	assert_false(packet_is(two.fd, 0, "never")); /* the end of the container */
	assert_int_equal(recv(two.fd, &(char){0}, 1, MSG_DONTWAIT), 0);
	(void)close(two.fd);
	rt_ok(rt, rt_del(rt, c.id));
	assert_int_equal(plugin_runtime_attach(rt->in, rt->call, &a, &o, NULL), CRIO_E_NOT_FOUND);
	rt_nothing_left(rt, c.id);
}

static void terminal_resize_and_log_reopen(void **st)
{
	(void)st;
	struct rt_ctr c = {
	    .id = "aa10", .terminal = true, .args = "[\"/bin/sh\",\"-c\",\"while :; do stty size; sleep 0.05; done\"]"};
	rt_run(rt, &c);
	struct crio_runtime_resize_args a = {.size = sizeof(a), .id = c.id, .height = 44, .width = 122};
	struct crio_runtime_no_out out = {.size = sizeof(out)};
	rt_free_ char *log = rt_path(rt, "log/aa10.log"), *old = rt_path(rt, "log/aa10.log.1");
	assert_true(rt_file_has(log, "stty: standard input", 5 * SEC));
	rt_ok(rt, plugin_runtime_resize(rt->in, rt->call, &a, &out, &rt->err));
	assert_true(rt_file_has(log, "44 122", 5 * SEC));
	assert_int_equal(rename(log, old), 0);
	struct crio_runtime_id_args ia = {.size = sizeof(ia), .id = c.id};
	rt_ok(rt, plugin_runtime_reopen_log(rt->in, rt->call, &ia, &out, &rt->err));
	assert_true(rt_file_has(log, "44 122", 5 * SEC));
	rt_ok(rt, rt_kill(rt, c.id, SIGKILL));
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, c.id, 10 * SEC, NULL));
	assert_int_equal(plugin_runtime_reopen_log(rt->in, rt->call, &ia, &out, &rt->err), CRIO_E_PRECONDITION);
	err_clear(&rt->err);
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
}

static void survives_a_restart(void **st)
{
	(void)st;
	struct rt_ctr run = {.id = "aa11", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct rt_ctr end = {.id = "aa12", .args = "[\"/bin/sh\",\"-c\",\"sleep 0.3; exit 42\"]"};
	struct rt_ctr made = {.id = "aa13", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct rt_ctr left = {.id = "aa14", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct crio_runtime_state_out s;
	struct rt_event e;
	struct rt_exec x;
	rt_run(rt, &run);
	rt_run(rt, &end);
	rt_ok(rt, rt_create(rt, &made));
	rt_run(rt, &left);
	plugin_inst_listen(rt->in, NULL, NULL);
	(void)usleep(700000);
	rt_restart(rt);
	rt_ok(rt, rt_reconnect(rt, &run, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_RUNNING);
	rt_ok(rt, rt_reconnect(rt, &run, &s));
	rt_ok(rt, rt_reconnect(rt, &end, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_STOPPED);
	assert_int_equal(s.exit_code, 42);
	assert_true(s.finished_ns > now_real_ns() - 60 * SEC);
	assert_false(rt_event(rt, CRIO_EVENT_EXIT, end.id, 100 * MS, NULL));
	rt_ok(rt, rt_reconnect(rt, &made, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_CREATED);
	rt_ok(rt, rt_start(rt, made.id));
	rt_ok(rt, rt_exec(rt, made.id, "[\"true\"]", NULL, 0, &x));
	assert_int_equal(x.code, 0);
	rt_ok(rt, rt_kill(rt, run.id, SIGKILL));
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, run.id, 10 * SEC, &e));
	assert_int_equal(e.exit_code, 137);
	/* pid taken by another process: the start time says so */
	struct rt_ctr other = {.id = "aa15", .args = "[]"};
	other.out.pid = getpid();
	other.out.start_time = 1;
	rt_ok(rt, rt_reconnect(rt, &other, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_STOPPED);
	rt_ok(rt, rt_kill(rt, other.id, SIGKILL));
	rt_ok(rt, rt_del(rt, run.id));
	rt_ok(rt, rt_del(rt, end.id));
	rt_ok(rt, rt_del(rt, made.id));
	/* never reconnected: an orphan of a crash; its record is enough to remove it */
	rt_ok(rt, rt_del(rt, left.id));
	rt_nothing_left(rt, run.id);
	rt_nothing_left(rt, end.id);
	rt_nothing_left(rt, made.id);
	rt_nothing_left(rt, left.id);
}

static void says_when_memory_killed_it(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "aa16",
			   .resources = "{\"memory\":{\"limit\":20971520,\"swap\":20971520}}",
			   .args = "[\"/bin/sh\",\"-c\",\"exec dd if=/dev/zero of=/dev/null bs=200M count=4\"]"};
	struct rt_event e;
	struct crio_runtime_state_out s;
	rt_run(rt, &c);
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, c.id, 20 * SEC, &e));
	assert_int_equal(e.exit_code, 137);
	assert_int_equal(e.oom, 1);
	rt_ok(rt, rt_state(rt, c.id, &s));
	assert_int_equal(s.oom, 1);
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
}

static void pauses_and_updates(void **st)
{
	(void)st;
	struct rt_ctr c = {
	    .id = "aa17", .args = "[\"/bin/sleep\",\"1000\"]", .resources = "{\"memory\":{\"limit\":52428800}}"};
	struct crio_runtime_id_args a = {.size = sizeof(a), .id = c.id};
	struct crio_runtime_no_out out = {.size = sizeof(out)};
	struct crio_runtime_state_out s;
	rt_run(rt, &c);
	rt_ok(rt, plugin_runtime_pause(rt->in, rt->call, &a, &out, &rt->err));
	/* A busy machine's freezer takes its time. */
	for (int i = 0; i < 500; i++) {
		rt_ok(rt, rt_state(rt, c.id, &s));
		if (s.status == CRIO_CONTAINER_PAUSED)
			break;
		(void)usleep(10000);
	}
	assert_int_equal(s.status, CRIO_CONTAINER_PAUSED);
	rt_ok(rt, plugin_runtime_pause(rt->in, rt->call, &a, &out, &rt->err));
	rt_ok(rt, plugin_runtime_resume(rt->in, rt->call, &a, &out, &rt->err));
	rt_ok(rt, rt_state(rt, c.id, &s));
	assert_int_equal(s.status, CRIO_CONTAINER_RUNNING);
	struct crio_runtime_update_args u = {
	    .size = sizeof(u), .id = c.id, .resources_json = "{\"memory\":{\"limit\":73400320}}"};
	rt_ok(rt, plugin_runtime_update(rt->in, rt->call, &u, &out, &rt->err));
	if (!access("/sys/fs/cgroup/memory", F_OK)) {
		rt_free_ char *f = path_fmt("/sys/fs/cgroup/memory%s/crio-%s/memory.limit_in_bytes", rt_cgroup(), c.id);
		assert_true(rt_file_has(f, "73400320", SEC));
	}
	/* killed while it is paused */
	rt_ok(rt, plugin_runtime_pause(rt->in, rt->call, &a, &out, &rt->err));
	rt_ok(rt, rt_kill(rt, c.id, SIGKILL));
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, c.id, 5 * SEC, NULL));
	u.resources_json = "[1]";
	assert_int_equal(plugin_runtime_update(rt->in, rt->call, &u, &out, &rt->err), CRIO_E_INVALID);
	err_clear(&rt->err);
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
}

static void tells_when_the_monitor_dies(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "aa18", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct crio_runtime_id_args a = {.size = sizeof(a), .id = c.id};
	struct crio_runtime_no_out out = {.size = sizeof(out)};
	struct rt_event e;
	rt_run(rt, &c);
	rt_ok(rt, plugin_runtime_probe_monitor(rt->in, rt->call, &a, &out, &rt->err));
	assert_int_equal(kill(c.out.monitor_pid, SIGKILL), 0);
	assert_true(rt_event(rt, CRIO_EVENT_MONITOR_DIED, c.id, 5 * SEC, NULL));
	assert_int_equal(plugin_runtime_probe_monitor(rt->in, rt->call, &a, &out, &rt->err), CRIO_E_UNAVAILABLE);
	err_clear(&rt->err);
	rt_ok(rt, rt_kill(rt, c.id, SIGKILL));
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, c.id, 5 * SEC, &e));
	assert_int_equal(e.exit_code, -1);
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
}

static void create_says_why_it_failed(void **st)
{
	(void)st;
	struct rt_ctr c = {.id = "aa19", .args = "[\"/no/such/program\"]"};
	int r = rt_create(rt, &c);
	assert_true(r < 0);
	printf("    %s\n", err_text(&rt->err));
	assert_non_null(strstr(err_text(&rt->err), "/no/such/program"));
	err_clear(&rt->err);
	rt_nothing_left(rt, c.id);
	struct rt_ctr bad = {.id = "../x", .args = "[]"};
	struct crio_runtime_create_args a = {.size = sizeof(a),
					     .cgroup_manager = CRIO_CGROUP_CGROUPFS,
					     .id = bad.id,
					     .sandbox_id = "",
					     .name = "x",
					     .bundle = "/tmp",
					     .persist_dir = "/tmp",
					     .log_path = "",
					     .exit_dir = "/tmp",
					     .attach_dir = "/tmp",
					     .cgroup_parent = "/x",
					     .sandbox_netns = "",
					     .monitor_cgroup = ""};
	struct crio_runtime_create_out out = {.size = sizeof(out)};
	assert_int_equal(plugin_runtime_create(rt->in, rt->call, &a, &out, &rt->err), CRIO_E_INVALID);
	err_clear(&rt->err);
	a.id = "ok";
	a.bundle = "relative";
	assert_int_equal(plugin_runtime_create(rt->in, rt->call, &a, &out, &rt->err), CRIO_E_INVALID);
	err_clear(&rt->err);
}

static void checks_and_features(void **st)
{
	(void)st;
	struct crio_runtime_id_args a = {.size = sizeof(a), .id = ""};
	struct crio_runtime_features_out f = {.size = sizeof(f)};
	rt_ok(rt, plugin_inst_check(rt->in, rt->call, &rt->err));
	rt_ok(rt, plugin_runtime_features(rt->in, rt->call, &a, &f, &rt->err));
	assert_non_null(strstr(f.version, "version"));
	if (str_eq(plugin, "runc"))
		assert_non_null(strstr(f.json, "ociVersionMax"));
}

static int body(void)
{
	static const char *const plugins[] = {"runc", "crun", "oci"};
	const char *only = getenv("RT_PLUGIN");
	int failed = 0;
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    T(checks_and_features),
	    T(runs_and_logs_and_ends),
	    T(stops_by_signal),
	    T(deletes_what_still_runs),
	    T(execs),
	    T(exec_time_out_kills_its_session),
	    T(execs_end_with_the_container),
	    T(exec_with_a_terminal),
	    T(attaches),
	    T(terminal_resize_and_log_reopen),
	    T(survives_a_restart),
	    T(says_when_memory_killed_it),
	    T(pauses_and_updates),
	    T(tells_when_the_monitor_dies),
	    T(create_says_why_it_failed),
	};
	for (size_t i = 0; i < ARRAY_SIZE(plugins); i++) {
		plugin = plugins[i];
		if (!only || str_eq(only, plugin))
			failed += _cmocka_run_group_tests(plugin, tests, ARRAY_SIZE(tests), NULL, NULL);
	}
	return failed ? 1 : 0;
}

int main(void)
{
	static const char *const programs[] = {"/usr/bin/runc", "/usr/bin/crun", "/usr/bin/conmon", "/bin/busybox",
					       NULL};
	return rt_main(body, programs);
}
