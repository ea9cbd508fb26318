/* test_growth.c: plugins compiled against shorter and longer structs than ours load and work; what only one side knows is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <sys/stat.h>

#include "core/exec/loop.h"
#include "core/exec/spawn.h"
#include "core/exec/workers.h"
#include "core/plugin/ops.h"
#include "core/plugin/plugins.h"
#include "core/util/fs.h"
#include "tests/tmp.h"

#define SEC 1000000000LL

static char dir[TEST_TMP_N];
static struct loop *loop;
static struct workers *workers;
static struct plugins *host;
static crio_call *call;

static int setup(void **st)
{
	(void)st;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022);
	assert_non_null(test_tmp(dir, "growth"));
	call = call_new("growth", now_mono_ns() + 120 * SEC);
	const char *const argv[] = { "bash", SRCDIR "/tests/abi/growth.sh", SRCDIR "/sdk", dir, NULL };
	static const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
	struct spawn s = SPAWN_INIT;
	s.path = "/bin/bash";
	s.argv = argv;
	s.env = env;
	struct spawn_result r;
	memset(&r, 0, sizeof(r));
	assert_int_equal(spawn_capture(&s, call, NULL, 0, 65536, 65536, &r, NULL), 0);
	if (r.exit_code)
		print_error("%s\n", r.err.p);
	assert_int_equal(r.exit_code, 0);
	spawn_result_release(&r);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(workers_new(&workers, NULL), 0);
	struct plugins_args a = { .dir = dir, .options_dir = "", .state_dir = dir, .run_dir = dir, .loop = loop, .workers = workers };
	assert_int_equal(plugins_new(&a, &host, NULL), 0);
	return 0;
}

static int teardown(void **st)
{
	(void)st;
	plugins_free(host);
	(void)workers_free(workers, 5 * SEC);
	loop_free(loop);
	call_unref(call);
	return fs_rm_rf(-1, dir, NULL);
}

static struct plugin_inst *open_one(const char *name, const struct kvs *options)
{
	struct plugin_inst *in = NULL;
	cleanup_err crio_err err = ERR_INIT;
	int r = plugins_open(host, call, CRIO_KIND_NETWORK, name, "x", options, &in, &err);
	if (r < 0)
		print_error("%s: %s\n", name, err_text(&err));
	assert_int_equal(r, 0);
	return in;
}

static void attach(struct plugin_inst *in, struct crio_network_out *o)
{
	struct crio_network_args a = { .size = sizeof(a), .netns_fd = -1, .id = "the id", .name = "", .ns = "", .uid = "", .netns_path = "",
				       .ifname = "eth0", .cgroup_path = "", .result_json = "kept" };
	memset(o, 0, sizeof(*o));
	o->size = sizeof(*o);
	assert_int_equal(plugin_network_setup(in, call, &a, o, NULL), 0);
	assert_int_equal(o->size, sizeof(*o));
	assert_int_equal(o->ips.n, 4);
	assert_string_equal(o->ips.v[0], "knows state_list");
	assert_string_equal(o->ips.v[1], "the id");
}

static int collect(struct plugin_inst *in, crio_err *err)
{
	struct crio_network_attachment rows[] = { { .size = sizeof(rows[0]), .id = "a", .ifname = "eth0" },
						  { .size = sizeof(rows[0]), .id = "b", .ifname = "eth1" } };
	struct crio_network_gc_args a = { .size = sizeof(a), .v = rows, .n = 2, .stride = sizeof(rows[0]) };
	struct crio_network_no_out o = { .size = sizeof(o) };
	return plugin_network_gc(in, call, &a, &o, err);
}

/* Yesterday's: what it lacks is NULL or unsupported here, never read beyond its end. */
static void an_old_plugin_loads(void **st)
{
	(void)st;
	struct plugin_inst *in = open_one("old", NULL);
	struct crio_network_out o;
	attach(in, &o);
	assert_string_equal(o.ips.v[3], "-");
	assert_null(o.result_json);
	assert_int_equal(plugin_inst_check(in, call, NULL), 0); /* its descriptor ends before `check` */
	assert_false(plugin_inst_has_op(in, "gc"));
	cleanup_err crio_err err = ERR_INIT;
	assert_int_equal(collect(in, &err), CRIO_E_UNSUPPORTED);
	assert_non_null(strstr(err_text(&err), "gc"));
	plugin_inst_unref(in);
}

static void a_plugin_of_today_loads(void **st)
{
	(void)st;
	struct plugin_inst *in = open_one("now", NULL);
	struct crio_network_out o;
	attach(in, &o);
	assert_string_equal(o.ips.v[3], "kept");
	assert_string_equal(o.result_json, "{\"now\":true}");
	assert_int_equal(collect(in, NULL), 0);
	plugin_inst_unref(in);
}

/* Tomorrow's: CRIO_HAS tells it that we do not know the new fields; its longer rows and tables are read with its stride. */
static void a_future_plugin_loads(void **st)
{
	(void)st;
	struct kvs options = KVS_INIT;
	(void)kvs_set(&options, "two", "7");
	struct plugin_inst *in = open_one("future", &options);
	struct crio_network_out o;
	attach(in, &o);
	assert_string_equal(o.ips.v[2], "no future");
	assert_string_equal(o.ips.v[3], "kept");
	assert_int_equal(collect(in, NULL), 0);
	plugin_inst_unref(in);
	kvs_release(&options);
}

/* A caller of ours whose struct is shorter (a core built before a field was appended) is filled up with zeroes. */
static void short_structs_of_the_caller(void **st)
{
	(void)st;
	struct plugin_inst *in = open_one("now", NULL);
	struct crio_network_args a = { .size = offsetof(struct crio_network_args, result_json), .netns_fd = -1, .id = "i", .name = "", .ns = "",
				       .uid = "", .netns_path = "", .ifname = "", .cgroup_path = "", .result_json = "beyond the size" };
	struct crio_network_out o = { .size = offsetof(struct crio_network_out, result_json), .result_json = "untouched" };
	assert_int_equal(plugin_network_setup(in, call, &a, &o, NULL), 0);
	assert_null(o.ips.v[3]);
	assert_string_equal(o.result_json, "untouched");
	plugin_inst_unref(in);
}

/* CRIO_HAS by itself: true up to the last whole field that the size covers. */
static void has_knows_sizes(void **st)
{
	(void)st;
	struct crio_network_out o = { .size = sizeof(o) };
	assert_true(CRIO_HAS(&o, ips) && CRIO_HAS(&o, result_json));
	o.size = offsetof(struct crio_network_out, result_json) + sizeof(o.result_json) - 1;
	assert_true(CRIO_HAS(&o, ips));
	assert_false(CRIO_HAS(&o, result_json));
	o.size = 0;
	assert_false(CRIO_HAS(&o, size));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_old_plugin_loads),
		cmocka_unit_test(a_plugin_of_today_loads),
		cmocka_unit_test(a_future_plugin_loads),
		cmocka_unit_test(short_structs_of_the_caller),
		cmocka_unit_test(has_knows_sizes),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
