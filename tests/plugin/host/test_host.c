/* test_host.c: the plugin host against plugins of every kind of brokenness, built by this test from sample.c. Needs cc and root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "core/exec/loop.h"
#include "core/exec/spawn.h"
#include "core/exec/workers.h"
#include "core/plugin/fields.h"
#include "core/plugin/ops.h"
#include "core/plugin/plugins.h"
#include "core/util/fs.h"
#include "tests/tmp.h"

#define MS 1000000LL

static char dir[TEST_TMP_N];
static struct loop *loop;
static struct workers *workers;
static char *crio; /* the program, for the probe */

static int run(const char *const *argv)
{
	crio_call *c = call_new("cc", now_mono_ns() + 60000 * MS);
	struct spawn s = SPAWN_INIT;
	char *path = NULL;
	assert_int_equal(spawn_find(argv[0], NULL, &path, NULL), 0);
	static const char *const env[] = { "PATH=/usr/bin:/bin", NULL };
	s.path = path;
	s.argv = argv;
	s.env = env;
	struct spawn_result r;
	memset(&r, 0, sizeof(r));
	assert_int_equal(spawn_capture(&s, c, NULL, 0, 65536, 65536, &r, NULL), 0);
	if (r.exit_code)
		print_error("%s\n", r.err.p);
	int code = r.exit_code;
	spawn_result_release(&r);
	free(path);
	call_unref(c);
	return code;
}

static char *file_of(const char *name)
{
	return path_fmt("%s/network/%s.so", dir, name);
}

/* Builds <name>.so with -D<what>. */
static void build(const char *name, const char *what)
{
	cleanup_free char *out = file_of(name), *def = path_fmt("-DNAME=%s", name), *bad = path_fmt("-D%s", what);
	const char *const argv[] = { "cc", "-std=gnu11", "-fPIC", "-shared", "-I" SRCDIR "/sdk", def, bad, "-o", out,
				     SRCDIR "/tests/plugin/host/sample.c", NULL };
	assert_int_equal(run(argv), 0);
}

static struct plugins *open_host(bool probe)
{
	struct plugins *p = NULL;
	cleanup_free char *state = path_fmt("%s/state", dir), *rundir = path_fmt("%s/run", dir), *opts = path_fmt("%s/options", dir);
	struct plugins_args a = { .dir = dir, .options_dir = opts, .state_dir = state, .run_dir = rundir, .probe_path = probe ? crio : NULL,
				  .loop = loop, .workers = workers };
	assert_int_equal(plugins_new(&a, &p, NULL), 0);
	return p;
}

static crio_call *new_call(int64_t ms)
{
	return call_new("test", now_mono_ns() + ms * MS);
}

static int setup(void **st)
{
	(void)st;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022);
	assert_non_null(test_tmp(dir, "host"));
	cleanup_free char *net = path_fmt("%s/network", dir);
	assert_int_equal(fs_mkdir_p(net, 0755, NULL), 0);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(workers_new(&workers, NULL), 0);
	crio = realpath(BUILDDIR "/crio", NULL);
	assert_non_null(crio);
	build("sample", "GOOD");
	return 0;
}

static int teardown(void **st)
{
	(void)st;
	(void)workers_free(workers, 5000 * MS);
	loop_free(loop);
	free(crio);
	return fs_rm_rf(-1, dir, NULL);
}

static struct plugin_inst *open_sample(struct plugins *p, const char *name, const char *instance, const struct kvs *opts)
{
	struct plugin_inst *in = NULL;
	cleanup_call crio_call *c = new_call(30000);
	crio_err err = ERR_INIT;
	int r = plugins_open(p, c, CRIO_KIND_NETWORK, name, instance, opts, &in, &err);
	if (r < 0)
		print_error("%s\n", err_text(&err));
	err_clear(&err);
	assert_int_equal(r, 0);
	return in;
}

static int net_setup(struct plugin_inst *in, crio_call *c, const char *id, const char *name, int fd, struct crio_network_out *o,
		     crio_err *err)
{
	static const struct crio_port_mapping port = { .size = sizeof(port), .protocol = "tcp", .host_ip = "" };
	static const struct crio_kv kv = { "k", "10.9.8.7" };
	struct crio_network_args a = { .size = sizeof(a), .netns_fd = fd, .id = id, .name = name, .ns = "", .uid = "", .netns_path = "",
				       .ifname = "eth0", .cgroup_path = "", .result_json = "" };
	a.ports.v = &port;
	a.ports.n = 1;
	a.ports.stride = sizeof(port);
	a.annotations.v = &kv;
	a.annotations.n = 1;
	memset(o, 0, sizeof(*o));
	o->size = sizeof(*o);
	return plugin_network_setup(in, c, &a, o, err);
}

static void calls_and_services(void **st)
{
	(void)st;
	struct plugins *p = open_host(true);
	struct kvs opts = KVS_INIT;
	(void)kvs_set(&opts, "second", "fd00::2");
	struct plugin_inst *in = open_sample(p, "sample", "a", &opts);
	assert_ptr_equal(open_sample(p, "sample", "a", NULL), in); /* the same instance */
	plugin_inst_unref(in);
	cleanup_call crio_call *c = new_call(10000);
	struct crio_network_out o;
	crio_err err = ERR_INIT;
	assert_int_equal(net_setup(in, c, "id", "pod", -1, &o, &err), 0);
	assert_string_equal(o.ips.v[0], "10.9.8.7");
	assert_string_equal(o.ips.v[1], "fd00::2");
	/* Descriptors work in the plugin and stay ours. */
	int pfd[2];
	assert_int_equal(pipe2(pfd, O_CLOEXEC), 0);
	assert_int_equal(net_setup(in, c, "id", "fd", pfd[1], &o, &err), 0);
	char b;
	assert_int_equal(read(pfd[0], &b, 1), 1);
	assert_int_equal(fcntl(pfd[1], F_GETFD) >= 0, 1);
	(void)close(pfd[0]);
	(void)close(pfd[1]);
	/* Errors come through; one without a text gets one. */
	assert_int_equal(net_setup(in, c, "id", "fail", -1, &o, &err), CRIO_E_EXHAUSTED);
	assert_string_equal(err_text(&err), "no addresses for id");
	assert_int_equal(net_setup(in, c, "id", "silent", -1, &o, &err), CRIO_E_IO);
	assert_non_null(strstr(err_text(&err), "without saying why"));
	struct crio_network_no_args na = { .size = sizeof(na) };
	struct crio_network_status_out so = { .size = sizeof(so) };
	assert_int_equal(plugin_network_status(in, c, &na, &so, &err), 0);
	assert_int_equal(so.ready, 1);
	assert_string_equal(so.network, "a");
	struct crio_network_args ta = { .size = sizeof(ta), .netns_fd = -1, .id = "key", .name = "", .ns = "", .uid = "", .netns_path = "",
					.ifname = "", .cgroup_path = "", .result_json = "" };
	struct crio_network_no_out no = { .size = sizeof(no) };
	err_clear(&err);
	int r = plugin_network_teardown(in, c, &ta, &no, &err);
	assert_string_equal(err_text(&err), r ? err_text(&err) : "success");
	assert_int_equal(r, 0);
	/* What it does not have. */
	assert_false(plugin_inst_has_op(in, "check"));
	assert_int_equal(plugin_network_check(in, c, &ta, &no, &err), CRIO_E_UNSUPPORTED);
	err_clear(&err);
	plugin_inst_unref(in);
	kvs_release(&opts);
	plugins_free(p);
}

static void unknown_and_bad_options(void **st)
{
	(void)st;
	struct plugins *p = open_host(false);
	struct plugin_inst *in = NULL;
	cleanup_call crio_call *c = new_call(10000);
	crio_err err = ERR_INIT;
	assert_int_equal(plugins_open(p, c, CRIO_KIND_NETWORK, "nothere", "x", NULL, &in, &err), CRIO_E_NOT_FOUND);
	assert_non_null(strstr(err_text(&err), "sample")); /* names what there is */
	struct kvs opts = KVS_INIT;
	(void)kvs_set(&opts, "count", "11");
	assert_int_equal(plugins_open(p, c, CRIO_KIND_NETWORK, "sample", "x", &opts, &in, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "count"));
	kvs_release(&opts);
	(void)kvs_set(&opts, "nosuch", "1");
	assert_int_equal(plugins_open(p, c, CRIO_KIND_NETWORK, "sample", "x", &opts, &in, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "nosuch"));
	kvs_release(&opts);
	err_clear(&err);
	plugins_free(p);
}

/* A plugin that does not return: its caller leaves, the object is closed to others, everything else works. */
static void overrun_is_abandoned(void **st)
{
	(void)st;
	struct plugins *p = open_host(false);
	struct plugin_inst *in = open_sample(p, "sample", "hang", NULL);
	cleanup_call crio_call *c = new_call(100), *other = new_call(10000);
	struct crio_network_out o;
	crio_err err = ERR_INIT;
	int64_t t = now_mono_ns();
	assert_int_equal(net_setup(in, c, "stuck", "hang", -1, &o, &err), CRIO_E_DEADLINE);
	assert_true(now_mono_ns() - t < 1300 * MS);
	assert_int_equal(net_setup(in, other, "stuck", "pod", -1, &o, &err), CRIO_E_UNAVAILABLE);
	assert_int_equal(net_setup(in, other, "free", "pod", -1, &o, &err), 0);
	(void)usleep(1500000); /* it returns */
	assert_int_equal(net_setup(in, other, "stuck", "pod", -1, &o, &err), 0);
	err_clear(&err);
	plugin_inst_unref(in);
	plugins_free(p);
}

static void cancel_leaves_early(void **st)
{
	(void)st;
	struct plugins *p = open_host(false);
	struct plugin_inst *in = open_sample(p, "sample", "cancel", NULL);
	cleanup_call crio_call *c = new_call(60000);
	call_cancel(c);
	struct crio_network_out o;
	crio_err err = ERR_INIT;
	assert_int_equal(net_setup(in, c, "x", "pod", -1, &o, &err), CRIO_E_CANCELLED);
	err_clear(&err);
	plugin_inst_unref(in);
	plugins_free(p);
}

struct racer {
	struct plugin_inst *in;
	const char *id;
	pthread_t t;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	crio_call *c = new_call(20000);
	struct crio_network_out o;
	int e = net_setup(r->in, c, r->id, "slow", -1, &o, NULL);
	call_unref(c);
	return (void *)(intptr_t)e;
}

static int64_t time_race(struct plugin_inst *in, const char *const *ids, size_t n)
{
	struct racer r[4];
	int64_t t = now_mono_ns();
	for (size_t i = 0; i < n; i++) {
		r[i].in = in;
		r[i].id = ids[i];
		assert_int_equal(pthread_create(&r[i].t, NULL, race, &r[i]), 0);
	}
	for (size_t i = 0; i < n; i++) {
		void *e;
		(void)pthread_join(r[i].t, &e);
		assert_null(e);
	}
	return now_mono_ns() - t;
}

/* slow takes 100 ms: the same object one after the other, different ones side by side, a serial plugin one at a time. */
static void thread_model_is_kept(void **st)
{
	(void)st;
	build("serial", "SERIAL");
	struct plugins *p = open_host(false);
	struct plugin_inst *in = open_sample(p, "sample", "m", NULL), *ser = open_sample(p, "serial", "m", NULL);
	static const char *const same[] = { "a", "a", "a", "a" }, *const differ[] = { "a", "b", "c", "d" };
	assert_true(time_race(in, same, 4) >= 390 * MS);
	assert_true(time_race(in, differ, 4) < 390 * MS);
	assert_true(time_race(ser, differ, 4) >= 390 * MS);
	plugin_inst_unref(in);
	plugin_inst_unref(ser);
	plugins_free(p);
}

struct want {
	const char *name, *what, *message;
};

static void refused(struct plugins *p, const char *name, const char *message)
{
	struct plugin_inst *in = NULL;
	cleanup_call crio_call *c = new_call(30000);
	crio_err err = ERR_INIT;
	int r = plugins_open(p, c, CRIO_KIND_NETWORK, name, "x", NULL, &in, &err);
	if (r >= 0 || !strstr(err_text(&err), message))
		print_error("%s: got %d '%s', wanted '%s'\n", name, r, err_text(&err), message);
	assert_true(r < 0);
	assert_non_null(strstr(err_text(&err), message));
	err_clear(&err);
}

static size_t probe_dirs(void)
{
	cleanup_free char *run_dir = path_fmt("%s/run", dir);
	cleanup_closedir DIR *d = opendir(run_dir);
	size_t n = 0;
	struct dirent *e;
	while (d && (e = readdir(d)))
		n += str_starts(e->d_name, ".probe-");
	return n;
}

/* What a killed daemon's probe left goes at the next start; what is in use stays. */
static void left_probe_directories_are_removed(void **st)
{
	(void)st;
	cleanup_free char *left = path_fmt("%s/run/.probe-Left00/network-x/probe", dir), *run_dir = path_fmt("%s/run", dir), *used = NULL;
	assert_int_equal(fs_mkdir_p(left, 0700, NULL), 0);
	cleanup_close int held = fs_owned_make(run_dir, ".probe-", &used, NULL);
	assert_true(held >= 0);
	assert_int_equal(probe_dirs(), 2);
	plugins_free(open_host(false));
	assert_int_equal(probe_dirs(), 1);
	assert_int_equal(access(used, F_OK), 0);
	assert_int_equal(rmdir(used), 0);
}

static void broken_plugins_are_refused(void **st)
{
	(void)st;
	static const struct want wants[] = {
		{ "badmagic", "BAD_MAGIC", "field magic is 0x12345678" },
		{ "badabi", "BAD_ABI", "field abi_major is 7, expected 0" },
		{ "badkind", "BAD_KIND", "field kind is 2, expected 3 (network)" },
		{ "badname", "BAD_NAME", "field name is 'othername', expected 'badname'" },
		{ "undefined", "BAD_UNDEFINED", "no_such_function_anywhere" },
		{ "noopen", "BAD_OPEN", "open says no" },
		{ "crash", "BAD_CRASH", "crashed in the probe (signal 6" },
		{ "ctor", "BAD_CONSTRUCTOR", "crashed in the probe (signal 11" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(wants); i++)
		build(wants[i].name, wants[i].what);
	struct plugins *p = open_host(true);
	for (size_t i = 0; i < ARRAY_SIZE(wants); i++)
		refused(p, wants[i].name, wants[i].message);
	assert_int_equal(probe_dirs(), 0); /* the one that crashes has put a record before */
	/* The sound one works beside them. */
	plugin_inst_unref(open_sample(p, "sample", "beside", NULL));
	plugins_free(p);
	for (size_t i = 0; i < ARRAY_SIZE(wants); i++) {
		cleanup_free char *f = file_of(wants[i].name);
		(void)unlink(f);
	}
}

static void unsound_files_are_refused(void **st)
{
	(void)st;
	cleanup_free char *good = file_of("sample"), *cut = file_of("cut"), *text = file_of("text"), *open_ = file_of("writable"),
			  *owned = file_of("owned"), *link = file_of("link"), *upper = file_of("Upper");
	char *data = NULL;
	size_t n = 0;
	assert_int_equal(fs_read_file(-1, good, 1 << 24, &data, &n, NULL), 0);
	assert_int_equal(fs_write_path(cut, data, n / 2, 0755, FS_RUN, NULL), 0);
	assert_int_equal(fs_write_path(text, "not an object at all, but long enough to hold a header of the kind\n", 67, 0755, FS_RUN, NULL), 0);
	assert_int_equal(fs_write_path(open_, data, n, 0755, FS_RUN, NULL), 0);
	assert_int_equal(chmod(open_, 0777), 0);
	assert_int_equal(fs_write_path(owned, data, n, 0755, FS_RUN, NULL), 0);
	assert_int_equal(chown(owned, 1234, 1234), 0);
	assert_int_equal(symlink(good, link), 0);
	assert_int_equal(fs_write_path(upper, data, n, 0755, FS_RUN, NULL), 0);
	free(data);
	struct plugins *p = open_host(true);
	refused(p, "cut", "truncated");
	refused(p, "text", "not an ELF file");
	refused(p, "writable", "can be written by others");
	refused(p, "owned", "belongs to user 1234");
	refused(p, "link", "not a regular file");
	refused(p, "Upper", "not a plugin's name");
	plugins_free(p);
	const char *const files[] = { cut, text, open_, owned, link, upper };
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		(void)unlink(files[i]);
}

static void new_files_are_found(void **st)
{
	(void)st;
	struct plugins *p = open_host(false);
	assert_false(plugins_has(p, CRIO_KIND_NETWORK, "later"));
	build("later", "GOOD");
	plugin_inst_unref(open_sample(p, "later", "x", NULL)); /* without being told */
	plugins_free(p);
}

/* Neither needs another host: a file that was away, and one that was refused, work once they are as they should be. */
static void mended_files_are_found(void **st)
{
	(void)st;
	build("mended", "GOOD");
	cleanup_free char *file = file_of("mended"), *away = path_fmt("%s/network/mended.away", dir);
	struct plugins *p = open_host(true);
	assert_int_equal(rename(file, away), 0);
	refused(p, "mended", "No such file");
	assert_int_equal(rename(away, file), 0);
	assert_int_equal(chmod(file, 0777), 0);
	refused(p, "mended", "can be written by others");
	refused(p, "mended", "can be written by others");
	assert_int_equal(chmod(file, 0755), 0);
	plugin_inst_unref(open_sample(p, "mended", "x", NULL));
	plugins_free(p);
	assert_int_equal(unlink(file), 0);
}

static void write_options(const char *text)
{
	cleanup_free char *d = path_fmt("%s/options", dir), *file = path_fmt("%s/network-sample.conf", d);
	assert_int_equal(fs_mkdir_p(d, 0755, NULL), 0);
	assert_int_equal(fs_write_path(file, text, strlen(text), 0644, FS_RUN, NULL), 0);
}

static void expect_second(struct plugin_inst *in, const char *want)
{
	cleanup_call crio_call *c = new_call(10000);
	struct crio_network_out o;
	assert_int_equal(net_setup(in, c, "id", "pod", -1, &o, NULL), 0);
	assert_string_equal(o.ips.v[1], want);
}

static void options_are_reloaded(void **st)
{
	(void)st;
	struct kvs opts = KVS_INIT;
	write_options("second = \"fd00::3\"\ncount = 4\n");
	struct plugins *p = open_host(false);
	(void)kvs_set(&opts, "second", "fd00::2");
	struct plugin_inst *plain = open_sample(p, "sample", "plain", NULL), *given = open_sample(p, "sample", "given", &opts);
	expect_second(plain, "fd00::3");
	expect_second(given, "fd00::2");
	write_options("second = \"fd00::4\"\ncount = 5\n");
	expect_second(plain, "fd00::3");
	plugins_reload(p);
	expect_second(plain, "fd00::4");
	expect_second(given, "fd00::2"); /* who opened it said so */
	/* What the plugin refuses, and what cannot be read, changes nothing. */
	write_options("second = \"no\"\n");
	plugins_reload(p);
	expect_second(plain, "fd00::4");
	write_options("second = \n");
	plugins_reload(p);
	expect_second(plain, "fd00::4");
	write_options("");
	plugins_reload(p);
	expect_second(plain, "fd00::1");
	plugin_inst_unref(plain);
	plugin_inst_unref(given);
	kvs_release(&opts);
	plugins_free(p);
	cleanup_free char *file = path_fmt("%s/options/network-sample.conf", dir);
	assert_int_equal(unlink(file), 0);
}

/* Each table covers its struct to the last byte: a field that was forgotten would not be copied. */
static void tables_cover_structs(void **st)
{
	(void)st;
	static const struct {
		const char *name;
		const struct field *t;
		size_t size;
	} all[] = {
#define OP(kind, op, class, args_t, out_t, id_field) \
	{ #args_t, fields_##args_t, sizeof(struct crio_##args_t) }, { #out_t, fields_##out_t, sizeof(struct crio_##out_t) },
#include "core/plugin/ops.def"
#undef OP
	};
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		size_t at = 0;
		for (const struct field *f = all[i].t; f->type != FIELD_END; f++) {
			/* Padding before a field is less than its alignment. */
			if (f->offset < at || f->offset - at >= 8)
				print_error("%s.%s at %zu, expected about %zu\n", all[i].name, f->name, f->offset, at);
			assert_true(f->offset >= at && f->offset - at < 8);
			at = f->offset + f->size;
		}
		assert_true(at <= all[i].size && all[i].size - at < 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_cover_structs),
		cmocka_unit_test(calls_and_services),
		cmocka_unit_test(unknown_and_bad_options),
		cmocka_unit_test(overrun_is_abandoned),
		cmocka_unit_test(cancel_leaves_early),
		cmocka_unit_test(thread_model_is_kept),
		cmocka_unit_test(left_probe_directories_are_removed),
		cmocka_unit_test(broken_plugins_are_refused),
		cmocka_unit_test(unsound_files_are_refused),
		cmocka_unit_test(new_files_are_found),
		cmocka_unit_test(mended_files_are_found),
		cmocka_unit_test(options_are_reloaded),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
