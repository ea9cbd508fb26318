/* ocihooks in the real plugin host: files in both formats, conditions, directories, limits, and what it says of broken ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>

#include "core/exec/loop.h"
#include "core/exec/workers.h"
#include "core/plugin/ops.h"
#include "core/plugin/plugins.h"
#include "core/util/fs.h"
#include "core/util/json.h"
#include "core/util/log.h"
#include "tests/tmp.h"

#define SEC 1000000000LL

static char dir[TEST_TMP_N];
static struct loop *host_loop;
static struct workers *host_workers;
static struct plugins *host_plugins;
static struct plugin_inst *in;
static _Atomic int events;

static char *path_of(const char *name)
{
	char *p = path_fmt("%s/%s", dir, name);
	assert_non_null(p);
	return p;
}

static void put(const char *name, const char *text)
{
	cleanup_free char *p = path_of(name);
	assert_int_equal(fs_write_path(p, text, strlen(text), 0644, FS_RUN, NULL), 0);
}

static void drop(const char *name)
{
	cleanup_free char *p = path_of(name);
	(void)fs_unlink(p, NULL);
}

static void on_event(void *arg, struct plugin_inst *i, int type, const void *event)
{
	(void)arg, (void)i, (void)event;
	events += type == CRIO_EVENT_READY;
}

static void open_it(void)
{
	cleanup_kvs struct kvs o = KVS_INIT;
	cleanup_call crio_call *call = call_new("open", now_mono_ns() + 20 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *dirs = path_fmt("%s/d1,%s/d2/deep", dir, dir);
	static unsigned n;
	char name[16];
	(void)snprintf(name, sizeof(name), "t%u", n++);
	assert_int_equal(kvs_set(&o, "hooks_dir", dirs), 0);
	if (plugins_open(host_plugins, call, CRIO_KIND_HOOK, "ocihooks", name, &o, &in, &err) < 0)
		fail_msg("%s", err_text(&err));
	events = 0;
	plugin_inst_listen(in, on_event, NULL);
}

static void close_it(void)
{
	plugin_inst_listen(in, NULL, NULL);
	plugin_inst_unref(in);
	in = NULL;
}

static uint32_t stages(void)
{
	cleanup_call crio_call *call = call_new("stages", now_mono_ns() + 20 * SEC);
	struct crio_hook_no_args a = { .size = sizeof(a) };
	struct crio_hook_stages_out o = { .size = sizeof(o) };
	assert_int_equal(plugin_hook_stages(in, call, &a, &o, NULL), 0);
	return o.stages;
}

/* The adjustment as text, "" none; NULL: failed, err says why. */
static char *run(const char *pod, const char *container, const char *spec, crio_err *err)
{
	cleanup_call crio_call *call = call_new("run", now_mono_ns() + 20 * SEC);
	struct crio_hook_args a = { .size = sizeof(a), .stage = CRIO_HOOK_CTR_CREATE, .pod_id = "p", .container_id = "c", .pod_json = pod,
				    .container_json = container, .spec_json = spec };
	struct crio_hook_out o = { .size = sizeof(o) };
	if (plugin_hook_run(in, call, &a, &o, err) < 0)
		return NULL;
	return strdup(o.adjust_json ? o.adjust_json : "");
}

#define SPEC "{\"process\":{\"args\":[\"sh\"]}}"

static bool hits(const char *pod, const char *container, const char *spec)
{
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *t = run(pod, container, spec, &err);
	if (!t)
		fail_msg("%s", err_text(&err));
	return *t != '\0';
}

/* ---- conditions ---- */

static void test_conditions(void **state)
{
	static const struct {
		const char *file;
		const char *pod, *container, *spec;
		bool hit;
	} v[] = {
#define NEW(when) "{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\"},\"when\":" when ",\"stages\":[\"prestart\"]}"
		{ NEW("{\"always\":true}"), "{}", "{}", SPEC, true },
		{ NEW("{\"always\":false}"), "{}", "{}", SPEC, false },
		{ NEW("{\"always\":false,\"commands\":[\"sh\"]}"), "{}", "{}", SPEC, false },
		{ NEW("{}"), "{}", "{}", SPEC, false },
		{ NEW("{\"commands\":[\"^s\"]}"), "{}", "{}", SPEC, true },
		{ NEW("{\"commands\":[\"^h\"]}"), "{}", "{}", SPEC, false },
		{ NEW("{\"always\":true,\"commands\":[\"^h\"]}"), "{}", "{}", SPEC, false },
		{ NEW("{\"always\":true,\"commands\":[\"^h\"]}"), "{}", "{}", "{}", true }, /* no process: nothing to match */
		{ NEW("{\"hasBindMounts\":true}"), "{}", "{\"mounts\":[{}]}", SPEC, true },
		{ NEW("{\"hasBindMounts\":true}"), "{}", "{\"mounts\":[]}", SPEC, false },
		{ NEW("{\"hasBindMounts\":false}"), "{}", "{\"mounts\":[]}", SPEC, false },
		{ NEW("{\"annotations\":{\"^k\":\"v$\"}}"), "{\"annotations\":{\"key\":\"iv\"}}", "{}", SPEC, true },
		{ NEW("{\"annotations\":{\"^k\":\"v$\"}}"), "{}", "{\"annotations\":{\"key\":\"iv\"}}", SPEC, true },
		{ NEW("{\"annotations\":{\"^k\":\"v$\"}}"), "{\"annotations\":{\"key\":\"no\"}}", "{\"annotations\":{\"key\":\"iv\"}}", SPEC, false },
		{ NEW("{\"annotations\":{\"a\":\"1\",\"b\":\"2\"}}"), "{\"annotations\":{\"a\":\"1\"}}", "{}", SPEC, false },
		{ NEW("{\"annotations\":{\"a\":\"1\",\"b\":\"2\"}}"), "{\"annotations\":{\"a\":\"1\",\"b\":\"2\"}}", "{}", SPEC, true },
		{ NEW("{\"annotations\":{\"a\":\"\\\\d{2}(?i)X\"}}"), "{\"annotations\":{\"a\":\"17x\"}}", "{}", SPEC, true },
#define OLD(rest) "{\"hook\":\"/bin/true\",\"stages\":[\"prestart\"]" rest "}"
		{ OLD(""), "{}", "{}", SPEC, false },
		{ OLD(",\"cmds\":[\"sh\"]"), "{}", "{}", SPEC, true },
		{ OLD(",\"cmd\":[\"zsh\"],\"hasbindmounts\":true"), "{}", "{\"mounts\":[{}]}", SPEC, true },
		{ OLD(",\"annotation\":[\"^a$\",\"^b$\"]"), "{\"annotations\":{\"x\":\"b\"}}", "{}", SPEC, true },
		{ OLD(",\"annotation\":[\"^a$\",\"^b$\"]"), "{\"annotations\":{\"x\":\"ab\"}}", "{}", SPEC, false },
		{ "{\"version\":\"0.1.0\",\"Hook\":\"/bin/true\",\"STAGE\":[\"poststop\"],\"hasBindMounts\":true}", "{}", "{\"mounts\":[{}]}", SPEC, true },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		put("d1/x.json", v[i].file);
		open_it();
		assert_int_equal(stages(), CRIO_HOOK_CTR_CREATE);
		if (hits(v[i].pod, v[i].container, v[i].spec) != v[i].hit)
			fail_msg("%s with %s %s", v[i].file, v[i].pod, v[i].container);
		close_it();
	}
	drop("d1/x.json");
}

/* ---- what goes into the spec ---- */

static void test_entries(void **state)
{
	(void)state;
	put("d1/B.json", "{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\",\"args\":[\"t\",\"x\"],\"env\":[\"A=b\"],\"timeout\":3,\"odd\":1},"
			 "\"when\":{\"always\":true},\"stages\":[\"prestart\",\"createRuntime\",\"createContainer\",\"startContainer\",\"poststart\",\"poststop\"]}");
	put("d1/a.json", "{\"hook\":\"/bin/true\",\"arguments\":[\"y\"],\"stages\":[\"poststop\"],\"cmds\":[\".\"]}");
	open_it();
	cleanup_free char *t = run("{}", "{}", "{\"process\":{\"args\":[\"sh\"]},\"hooks\":{\"poststop\":[{\"path\":\"/first\"}]}}", NULL);
	assert_string_equal(t, "{\"hooks\":{\"poststop\":[{\"path\":\"/first\"},{\"path\":\"/bin/true\",\"args\":[\"/bin/true\",\"y\"]},"
			       "{\"path\":\"/bin/true\",\"args\":[\"t\",\"x\"],\"env\":[\"A=b\"],\"timeout\":3}],"
			       "\"createRuntime\":[{\"path\":\"/bin/true\",\"args\":[\"t\",\"x\"],\"env\":[\"A=b\"],\"timeout\":3},"
			       "{\"path\":\"/bin/true\",\"args\":[\"t\",\"x\"],\"env\":[\"A=b\"],\"timeout\":3}],"
			       "\"createContainer\":[{\"path\":\"/bin/true\",\"args\":[\"t\",\"x\"],\"env\":[\"A=b\"],\"timeout\":3}],"
			       "\"startContainer\":[{\"path\":\"/bin/true\",\"args\":[\"t\",\"x\"],\"env\":[\"A=b\"],\"timeout\":3}],"
			       "\"poststart\":[{\"path\":\"/bin/true\",\"args\":[\"t\",\"x\"],\"env\":[\"A=b\"],\"timeout\":3}]}}");
	/* No command to match is an error, as elsewhere; documents that are none, too. */
	cleanup_err crio_err err = ERR_INIT;
	assert_null(run("{}", "{}", "{\"process\":{\"args\":[]}}", &err));
	assert_non_null(strstr(err_text(&err), "process.args must have at least one entry"));
	assert_null(run("{}", "[]", SPEC, &err));
	assert_null(run("", "{}", SPEC, &err));
	close_it();
	drop("d1/a.json");
	drop("d1/B.json");
}

static void test_precreate(void **state)
{
	(void)state;
	cleanup_err crio_err err = ERR_INIT;
#define PRE(args, more)                                                                                               \
	"{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"" args "\"]" more                \
	"},\"when\":{\"always\":true},\"stages\":[\"precreate\"]}"
	put("d1/1.json", PRE("sed 's/\\\"a\\\":1/\\\"a\\\":2,\\\"c\\\":[null]/; s/,\\\"b\\\":{\\\"d\\\":1}/,\\\"b\\\":{}/'", ""));
	open_it();
	cleanup_free char *t = run("{}", "{}", "{\"process\":{\"args\":[\"sh\"]},\"a\":1,\"b\":{\"d\":1}}", &err);
	if (!t)
		fail_msg("%s", err_text(&err));
	assert_string_equal(t, "{\"a\":2,\"c\":[null],\"b\":{\"d\":null}}");
	close_it();
	static const struct {
		const char *file, *why;
	} v[] = {
		{ PRE("echo one >&2; echo two >&2; exit 4", ""), "precreate hook 1.json: /bin/sh ended with 4: two" },
		{ PRE("echo nonsense", ""), "precreate hook 1.json: invalid JSON" },
		{ PRE("exit 0", ""), "precreate hook 1.json: empty" },
		{ PRE("head -c 9000000 /dev/zero", ""), "wrote more than" },
		{ PRE("exec sleep 1000", ",\"timeout\":1"), "precreate hook 1.json" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		put("d1/1.json", v[i].file);
		open_it();
		err_clear(&err);
		assert_null(run("{}", "{}", SPEC, &err));
		if (!strstr(err_text(&err), v[i].why))
			fail_msg("%s: %s", v[i].file, err_text(&err));
		close_it();
	}
	drop("d1/1.json");
}

/* ---- broken files ---- */

static void test_broken(void **state)
{
	static const char *const v[] = {
		"", "{", "[]", "{} x", "{\"version\":1}", "{\"version\":\"3\"}", "{}",
		"{\"hook\":\"/bin/true\"}",
		"{\"hook\":\"/bin/true\",\"stages\":[\"x\"]}",
		"{\"hook\":\"/bin/true\",\"stages\":[\"prestart\"],\"stage\":[]}",
		"{\"hook\":\"/bin/true\",\"stages\":[],\"cmd\":[],\"cmds\":[]}",
		"{\"hook\":\"/bin/true\",\"stages\":[],\"annotation\":[],\"annotations\":[]}",
		"{\"hook\":\"/bin/true\",\"stages\":[1]}", "{\"hook\":\"/bin/true\",\"stages\":\"prestart\"}",
		"{\"hook\":\"true\",\"stages\":[\"prestart\"]}", "{\"hook\":\"\",\"stages\":[\"prestart\"]}",
		"{\"hook\":\"/nonexistent\",\"stages\":[\"prestart\"]}", "{\"hook\":\"/bin\",\"stages\":[\"prestart\"]}",
		"{\"hook\":\"/bin/true\",\"stages\":[\"prestart\"],\"cmds\":[\"(\"]}",
		"{\"hook\":\"/bin/true\",\"stages\":[\"prestart\"],\"cmds\":[\"(?=look)ahead\"]}",
		"{\"hook\":\"/bin/true\",\"stages\":[\"prestart\"],\"cmds\":[\"a\\u0000b\"]}",
		"{\"hook\":\"/bin/true\",\"stages\":[\"prestart\"],\"hasbindmounts\":\"yes\"}",
		"{\"version\":\"1.0.0\"}", "{\"version\":\"1.0.0\",\"hook\":{}}", "{\"version\":\"1.0.0\",\"hook\":\"/bin/true\"}",
		"{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\"}}",
		"{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\",\"timeout\":0},\"stages\":[]}",
		"{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\",\"timeout\":\"9\"},\"stages\":[]}",
		"{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\",\"env\":[1]},\"stages\":[]}",
		"{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\"},\"when\":[],\"stages\":[]}",
		"{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\"},\"when\":{\"always\":1},\"stages\":[]}",
		"{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\"},\"when\":{\"annotations\":{\"a\":1}},\"stages\":[]}",
		"{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\"},\"when\":{\"annotations\":{\"a\":\"[\"}},\"stages\":[]}",
		"{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\"},\"when\":{\"commands\":[\"((a{100}){100}){100}\"]},\"stages\":[]}",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		put("d1/x.json", v[i]);
		open_it();
		if (stages() != 0)
			fail_msg("taken: %s", v[i]);
		close_it();
	}
	/* A pattern of more than 4 KiB, too many strings, a deep document. */
	for (int k = 0; k < 3; k++) {
		cleanup_buf struct buf b = BUF_INIT;
		buf_adds(&b, "{\"hook\":\"/bin/true\",\"stages\":[\"prestart\"],\"cmds\":[");
		for (int i = 0; i < 5000; i++)
			buf_adds(&b, k == 0 ? (i ? "a" : "\"") : k == 1 ? (i ? ",\"a\"" : "\"a\"") : "[");
		buf_adds(&b, k == 0 ? "\"]}" : k == 1 ? "]}" : "");
		put("d1/x.json", b.p);
		open_it();
		assert_int_equal(stages(), 0);
		close_it();
	}
	drop("d1/x.json");
}

/* No pattern and no text makes it slow: this one takes a backtracking matcher longer than the universe has. */
static void test_linear(void **state)
{
	(void)state;
	put("d1/x.json", NEW("{\"annotations\":{\"^k$\":\"^(a+)+(a|a)*(a*)*b$\"}}"));
	open_it();
	cleanup_buf struct buf b = BUF_INIT;
	buf_adds(&b, "{\"annotations\":{\"k\":\"");
	for (int i = 0; i < 200000; i++)
		buf_addc(&b, 'a');
	buf_adds(&b, "\"}}");
	int64_t start = now_mono_ns();
	assert_false(hits(b.p, "{}", SPEC));
	assert_true(now_mono_ns() - start < 5 * SEC);
	close_it();
	drop("d1/x.json");
}

/* ---- directories ---- */

static bool soon(bool (*fn)(const void *arg), const void *arg)
{
	for (int i = 0; i < 500; i++) {
		if (fn(arg))
			return true;
		(void)usleep(20000);
	}
	return false;
}

static bool adjusts_to(const void *want)
{
	cleanup_free char *t = run("{}", "{}", SPEC, NULL);
	return t && (*(const char *)want ? strstr(t, want) != NULL : !*t);
}

#define ARGS(a) "{\"version\":\"1.0.0\",\"hook\":{\"path\":\"/bin/true\",\"args\":[\"" a "\"]},\"when\":{\"always\":true},\"stages\":[\"poststop\"]}"

static void test_follow(void **state)
{
	(void)state;
	open_it();
	assert_int_equal(stages(), 0);
	put("d1/x.json", ARGS("one"));
	assert_true(soon(adjusts_to, "one"));
	assert_int_equal(events, 1);
	put("d1/x.json", ARGS("two"));
	assert_true(soon(adjusts_to, "two"));
	assert_int_equal(events, 1); /* there were hooks before: the stages are the same */
	/* A later directory, and its parent, appear; its file wins; a broken one of the name does not. */
	cleanup_free char *d2 = path_of("d2/deep"), *top = path_of("d2");
	assert_int_equal(fs_mkdir_p(d2, 0755, NULL), 0);
	put("d2/deep/x.json", ARGS("three"));
	assert_true(soon(adjusts_to, "three"));
	put("d2/deep/x.json", "{");
	assert_true(soon(adjusts_to, "two"));
	put("d2/deep/x.json", ARGS("four"));
	assert_true(soon(adjusts_to, "four"));
	assert_int_equal(fs_rm_rf(AT_FDCWD, top, NULL), 0);
	assert_true(soon(adjusts_to, "two"));
	drop("d1/x.json");
	assert_true(soon(adjusts_to, ""));
	assert_int_equal(stages(), 0);
	assert_int_equal(events, 2);
	/* Not by itself a hook file. */
	put("d1/readme.txt", "{");
	put("d1/.json", ARGS("hidden"));
	close_it();
	open_it();
	assert_int_equal(stages(), 0);
	close_it();
	drop("d1/readme.txt");
	drop("d1/.json");
}

static void test_many(void **state)
{
	(void)state;
	for (int i = 0; i < 600; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "d1/%03d.json", i);
		put(name, ARGS("many"));
	}
	open_it();
	cleanup_free char *t = run("{}", "{}", SPEC, NULL);
	cleanup_json struct json_object *o = NULL;
	assert_int_equal(json_parse(t, strlen(t), &o, NULL), 0);
	assert_int_equal(json_object_array_length(json_path(o, "hooks.poststop")), 512);
	close_it();
	for (int i = 0; i < 600; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "d1/%03d.json", i);
		drop(name);
	}
}

static int enter(void **state)
{
	static const char *const dirs[] = { "plugins/hooks", "d1", "state", "run" };
	static char mod[96], opts[96], keep[96], run_dir[96];
	cleanup_free char *text = NULL;
	size_t n = 0;
	(void)state;
	if (geteuid() != 0 || fs_read_file(AT_FDCWD, "plugins/hooks/.libs/ocihooks.so", 64u << 20, &text, &n, NULL) < 0)
		exit(77);
	assert_true(test_tmp(dir, "oci"));
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		cleanup_free char *p = path_of(dirs[i]);
		assert_int_equal(fs_mkdir_p(p, 0755, NULL), 0);
	}
	cleanup_free char *so = path_of("plugins/hooks/ocihooks.so");
	assert_int_equal(fs_write_path(so, text, n, 0755, FS_RUN, NULL), 0);
	(void)snprintf(mod, sizeof(mod), "%s/plugins", dir);
	(void)snprintf(opts, sizeof(opts), "%s/none", dir);
	(void)snprintf(keep, sizeof(keep), "%s/state", dir);
	(void)snprintf(run_dir, sizeof(run_dir), "%s/run", dir);
	assert_int_equal(loop_new(&host_loop, NULL), 0);
	assert_int_equal(workers_new(&host_workers, NULL), 0);
	struct plugins_args a = { .dir = mod, .options_dir = opts, .state_dir = keep, .run_dir = run_dir, .loop = host_loop, .workers = host_workers };
	assert_int_equal(plugins_new(&a, &host_plugins, NULL), 0);
	return 0;
}

static int leave(void **state)
{
	(void)state;
	plugins_free(host_plugins);
	(void)workers_free(host_workers, 5 * SEC);
	loop_free(host_loop);
	(void)fs_rm_rf(AT_FDCWD, dir, NULL);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conditions), cmocka_unit_test(test_entries), cmocka_unit_test(test_precreate), cmocka_unit_test(test_broken),
		cmocka_unit_test(test_linear),	   cmocka_unit_test(test_follow),  cmocka_unit_test(test_many),
	};
	(void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	log_set_level(LOGL_ERROR);
	return cmocka_run_group_tests(tests, enter, leave);
}
