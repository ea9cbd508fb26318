/* test_bad.c: the OCI plugin with runtimes and monitors that hang, crash or talk nonsense: each call ends in time and
 * leaves nothing behind. */
#include "tests/plugin/runtime/rt.h"
#include "tests/tmp.h"

#include <signal.h>

#define LIMIT (400 * MS) /* of a create */
#define SLACK (3 * SEC)	 /* for killing and cleaning, on a busy machine */

static const char hang[] = "#!/bin/sh\nexec sleep 4720\n";
static const char spin[] = "#!/bin/sh\ntrap '' TERM INT\nsleep 4720 &\nwhile :; do sleep 4720; done\n";
static const char crash[] = "#!/bin/sh\nkill -SEGV $$\n";
static const char fails[] = "#!/bin/sh\nprintf 'no \\033[31mcgroups\\n here' >&2\nexit 3\n";
static const char silent[] = "#!/bin/sh\nexit 1\n";
static const char lies[] = "#!/bin/sh\nexit 0\n";
static const char garbage[] = "#!/bin/sh\necho '{\"pid\": \"many\"' >&3\n";
static const char flood[] = "#!/bin/sh\nexec cat /dev/zero >&3\n";
static const char wrong_pid[] = "#!/bin/sh\necho '{\"pid\": 99999999999}' >&3\n";
static const char no_pidfile[] = "#!/bin/sh\necho '{\"pid\": 4194999}' >&3\n";
static const char deaf[] = "#!/bin/sh\nexec 3>&- 4<&-\nexec sleep 4720\n";
static const char unicode[] =
    "#!/bin/sh\necho '{\"pid\":-1,\"message\":\"caf\\u00e9 \\ud83d\\ude00 \\\"x\\\"\"}' >&3\n";

static void one_create(const char *runtime, const char *monitor, int code, const char *says)
{
	struct rt *rt;
	char dir[TEST_TMP_N];
	assert_non_null(test_tmp(dir, "bad"));
	rt_free_ char *r = path_fmt("%s/runtime", dir), *m = path_fmt("%s/monitor", dir);
	crio_err err = ERR_INIT;
	if (runtime)
		assert_int_equal(fs_write_path(r, runtime, strlen(runtime), 0755, FS_RUN, &err), 0);
	if (monitor)
		assert_int_equal(fs_write_path(m, monitor, strlen(monitor), 0755, FS_RUN, &err), 0);
	rt =
	    rt_new("oci", "path", runtime ? r : "/usr/bin/crun", "monitor_path", monitor ? m : "/usr/bin/conmon", NULL);
	/* Those that end by themselves may take long on a busy machine. */
	int64_t limit = code == CRIO_E_DEADLINE ? LIMIT : 30 * SEC;
	struct rt_ctr c = {.id = "bb01", .args = "[\"/bin/sleep\",\"4720\"]", .timeout_ns = limit};
	int64_t t = now_mono_ns();
	int got = rt_create(rt, &c);
	t = now_mono_ns() - t;
	if (got != code)
		fail_msg("%d: %s", got, err_text(&rt->err));
	if (says && !strstr(err_text(&rt->err), says))
		fail_msg("message: %s", err_text(&rt->err));
	if (t > limit + SLACK)
		fail_msg("took %.1f s", (double)t / 1e9);
	for (const char *p = err_text(&rt->err); *p; p++)
		assert_true((unsigned char)*p >= 0x20);
	err_clear(&rt->err);
	for (int i = 0; i < 100 && rt_processes("4720"); i++)
		(void)usleep(10000);
	assert_int_equal(rt_processes("4720"), 0);
	rt_nothing_left(rt, c.id);
	rt_ok(rt, rt_del(rt, c.id));
	rt_free(rt);
	(void)unlink(r);
	(void)unlink(m);
	assert_int_equal(rmdir(dir), 0);
}

static void bad_runtimes(void **st)
{
	(void)st;
	one_create(hang, NULL, CRIO_E_DEADLINE, "timed out");
	one_create(spin, NULL, CRIO_E_DEADLINE, "timed out");
	one_create(crash, NULL, CRIO_E_INTERNAL, "");
	one_create(fails, NULL, CRIO_E_INTERNAL, "cgroups");
	one_create(silent, NULL, CRIO_E_INTERNAL, "");
	one_create(lies, NULL, CRIO_E_INTERNAL, "");
}

static void bad_monitors(void **st)
{
	(void)st;
	one_create(NULL, hang, CRIO_E_DEADLINE, "timed out");
	one_create(NULL, spin, CRIO_E_DEADLINE, "timed out");
	one_create(NULL, crash, CRIO_E_INTERNAL, "without a report");
	one_create(NULL, fails, CRIO_E_INTERNAL, "cgroups");
	one_create(NULL, silent, CRIO_E_INTERNAL, "without a report");
	one_create(NULL, garbage, CRIO_E_CORRUPT, "report");
	one_create(NULL, flood, CRIO_E_CORRUPT, "report");
	one_create(NULL, wrong_pid, CRIO_E_CORRUPT, "report");
	one_create(NULL, no_pidfile, CRIO_E_INTERNAL, "conmon-pidfile");
	one_create(NULL, deaf, CRIO_E_INTERNAL, "without a report");
	one_create(NULL, unicode, CRIO_E_INTERNAL, "caf\303\251 \360\237\230\200 \"x\"");
}

static void missing_programs(void **st)
{
	(void)st;
	struct rt *rt = rt_new("oci", "path", "/no/such/runtime", NULL);
	assert_int_equal(plugin_inst_check(rt->in, rt->call, &rt->err), CRIO_E_NOT_FOUND);
	err_clear(&rt->err);
	rt_free(rt);
	rt = rt_new("crun", "monitor_path", "/no/such/conmon", NULL);
	assert_int_equal(plugin_inst_check(rt->in, rt->call, &rt->err), CRIO_E_NOT_FOUND);
	err_clear(&rt->err);
	struct rt_ctr c = {.id = "bb02", .args = "[\"/bin/true\"]"};
	assert_true(rt_create(rt, &c) < 0);
	err_clear(&rt->err);
	rt_nothing_left(rt, c.id);
	rt_free(rt);
}

/* A container made with crun, then a runtime that misbehaves in every later call. */
static void later_calls(void **st)
{
	(void)st;
	struct rt *rt = rt_new("oci", "path", "/usr/bin/crun", NULL);
	struct rt_ctr c = {.id = "bb03", .args = "[\"/bin/sleep\",\"1000\"]"};
	struct crio_runtime_state_out s;
	struct rt_exec x;
	rt_run(rt, &c);
	rt_free_ char *bad = rt_script(rt, "bad", hang);
	assert_int_equal(kvs_set(&rt->options, "path", bad), 0);
	rt_restart(rt);
	crio_call *all = rt->call;
	rt->call = call_sub(all, 5 * SEC);
	struct crio_runtime_id_args ia = {.size = sizeof(ia), .id = c.id};
	struct crio_runtime_no_out no = {.size = sizeof(no)};
	crio_call *brief = call_sub(all, 300 * MS), *keep = rt->call;
	rt->call = brief;
	assert_int_equal(rt_reconnect(rt, &c, &s), CRIO_E_DEADLINE);
	err_clear(&rt->err);
	call_unref(brief);
	rt->call = brief = call_sub(all, 300 * MS);
	assert_int_equal(plugin_runtime_pause(rt->in, rt->call, &ia, &no, &rt->err), CRIO_E_DEADLINE);
	err_clear(&rt->err);
	rt->call = keep;
	call_unref(brief);
	/* exec: killed at its time-out, with the runtime that hangs */
	rt_ok(rt, rt_exec(rt, c.id, "[\"true\"]", NULL, 300 * MS, &x));
	assert_int_equal(x.r, CRIO_E_DEADLINE);
	assert_int_equal(x.not_started, 1);
	/* kill does not need the runtime */
	rt_ok(rt, rt_kill(rt, c.id, SIGKILL));
	assert_true(rt_event(rt, CRIO_EVENT_EXIT, c.id, 5 * SEC, NULL));
	rt_free_ char *again = rt_script(rt, "bad", garbage);
	assert_int_equal(rt_state(rt, c.id, &s), 0);
	assert_int_equal(s.status, CRIO_CONTAINER_STOPPED);
	call_unref(rt->call);
	rt->call = all;
	for (int i = 0; i < 100 && rt_processes("4720"); i++)
		(void)usleep(10000);
	assert_int_equal(rt_processes("4720"), 0);
	assert_int_equal(kvs_set(&rt->options, "path", "/usr/bin/crun"), 0);
	rt_restart(rt);
	rt_ok(rt, rt_reconnect(rt, &c, &s));
	rt_ok(rt, rt_del(rt, c.id));
	rt_nothing_left(rt, c.id);
	rt_free(rt);
}

/* Twelve at once, each through its whole life. */
struct life {
	struct rt *rt;
	int n, r;
	crio_err err;
};

static void *live(void *arg)
{
	struct life *l = arg;
	char id[16], args[64];
	struct rt_exec x;
	(void)snprintf(id, sizeof(id), "cc%02d", l->n);
	(void)snprintf(args, sizeof(args), "[\"/bin/sleep\",\"1000\"]");
	struct rt_ctr c = {.id = id, .args = args};
	if (rt_create(l->rt, &c) < 0 || rt_start(l->rt, id) < 0 || rt_exec(l->rt, id, "[\"true\"]", NULL, 0, &x) < 0 ||
	    x.code || rt_kill(l->rt, id, SIGKILL) < 0 || !rt_event(l->rt, CRIO_EVENT_EXIT, id, 20 * SEC, NULL) ||
	    rt_del(l->rt, id) < 0)
		l->r = -1;
	return NULL;
}

static void many_at_once(void **st)
{
	(void)st;
	struct rt *rt = rt_new("crun", NULL);
	struct life l[12];
	pthread_t t[12];
	memset(l, 0, sizeof(l));
	for (int i = 0; i < 12; i++) {
		l[i].rt = rt;
		l[i].n = i;
		assert_int_equal(pthread_create(&t[i], NULL, live, &l[i]), 0);
	}
	for (int i = 0; i < 12; i++) {
		(void)pthread_join(t[i], NULL);
		if (l[i].r)
			fail_msg("%s", err_text(&rt->err));
	}
	for (int i = 0; i < 12; i++) {
		char id[16];
		(void)snprintf(id, sizeof(id), "cc%02d", i);
		rt_nothing_left(rt, id);
	}
	rt_free(rt);
}

static int body(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(missing_programs), cmocka_unit_test(bad_runtimes), cmocka_unit_test(bad_monitors),
	    cmocka_unit_test(later_calls),	cmocka_unit_test(many_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}

int main(void)
{
	static const char *const programs[] = {"/usr/bin/crun", "/usr/bin/conmon", "/bin/busybox", NULL};
	return rt_main(body, programs);
}
