/* test_pluginopts.c: options of a plugin, from its table, its file and the handler. */
#include "tests/unit/conf/tmp.h"

#include <pthread.h>

#include "core/conf/pluginopts.h"

#define OPT(t, n, d, ...) { .size = sizeof(struct crio_option), .type = t, .name = n, .dflt = d, .help = "h", ##__VA_ARGS__ }
static const struct crio_option rows[] = {
	OPT(CRIO_OPT_STR, "program", "/usr/bin/x", .flags = CRIO_OPT_PATH),
	OPT(CRIO_OPT_BOOL, "debug", "false", .flags = CRIO_OPT_RELOADABLE),
	OPT(CRIO_OPT_INT, "count", "5", .min = 1, .max = 10),
	OPT(CRIO_OPT_STRS, "args", "a, b"),
	OPT(CRIO_OPT_MS, "timeout", "1m30s", .min = 1000, .max = 600000),
	OPT(CRIO_OPT_STR, "unset", NULL),
};
#define N ARRAY_SIZE(rows)

static void is(const struct kvs *m, const char *name, const char *value)
{
	const char *v = kvs_get(m, name);

	if (value)
		assert_string_equal(v ? v : "(unset)", value);
	else
		assert_null(v);
}

static void defaults(void **state)
{
	cleanup_kvs struct kvs m = KVS_INIT;

	(void)state;
	assert_int_equal(pluginopts_check_table(rows, N, "test", NULL), 0);
	assert_int_equal(pluginopts_load(rows, N, tmp_dir, "runtime", "none", "x", NULL, &m, NULL), 0);
	is(&m, "program", "/usr/bin/x");
	is(&m, "debug", "false");
	is(&m, "args", "a,b");
	is(&m, "timeout", "90000");
	is(&m, "unset", NULL);
	assert_int_equal(pluginopts_load(NULL, 0, tmp_dir, "runtime", "none", "x", NULL, &m, NULL), 0);
	assert_int_equal(m.n, 0);
}

static void file_and_settings(void **state)
{
	cleanup_kvs struct kvs m = KVS_INIT, set = KVS_INIT;

	(void)state;
	(void)tmp_text("runtime-x.conf", "# a comment\ndebug = yes\ncount = 0x7\nargs = { \"one\", \"two words\" }\ntimeout = 2s\n"
					 "program = \"/bin/y\" // another\n");
	assert_int_equal(kvs_set(&set, "count", "9"), 0);
	assert_int_equal(kvs_set(&set, "unset", "v"), 0);
	assert_int_equal(pluginopts_load(rows, N, tmp_dir, "runtime", "x", "runtimes.x", &set, &m, NULL), 0);
	is(&m, "debug", "true");
	is(&m, "count", "9"); /* the handler's wins */
	is(&m, "args", "one,two words");
	is(&m, "timeout", "2000");
	is(&m, "program", "/bin/y");
	is(&m, "unset", "v");
}

static void refused(const char *text, size_t n, const char *place, const char *why)
{
	cleanup_err crio_err err = ERR_INIT;
	cleanup_kvs struct kvs m = KVS_INIT;

	(void)tmp_write("runtime-x.conf", text, n);
	assert_true(pluginopts_load(rows, N, tmp_dir, "runtime", "x", "w", NULL, &m, &err) < 0);
	assert_int_equal(m.n, 0);
	if (!strstr(err_text(&err), place) || !strstr(err_text(&err), why))
		fail_msg("\"%s\" lacks \"%s\" or \"%s\"", err_text(&err), place, why);
}
#define REFUSED(text, place, why) refused(text, sizeof(text) - 1, place, why)

static void bad_files(void **state)
{
	(void)state;
	REFUSED("\n\nnope = 1\n", "runtime-x.conf:3:", "there are: program, debug, count");
	REFUSED("count = 11\n", "runtime-x.conf:1:", "between 1 and 10");
	REFUSED("\ncount = many\n", "runtime-x.conf:2:", "count");
	REFUSED("count = 99999999999999999999999\n", "runtime-x.conf:1:", "count");
	REFUSED("debug = perhaps\n", "runtime-x.conf:1:", "debug");
	REFUSED("program = \"relative\"\n", "runtime-x.conf:1:", "absolute");
	REFUSED("program = \"/a/../b\"\n", "runtime-x.conf:1:", "absolute");
	REFUSED("timeout = \"10ms\"\n", "runtime-x.conf:1:", "between");
	REFUSED("timeout = \"soon\"\n", "runtime-x.conf:1:", "duration");
	REFUSED("timeout = \"-5s\"\n", "runtime-x.conf:1:", "duration");
	REFUSED("debug = true\nprogram = \"${HOME}/x\"\n", "runtime-x.conf:2:", "${");
	REFUSED("program = \"/a\0b\"\n", "runtime-x.conf:1:", "NUL");
	REFUSED("args = { \"a,b\" }\n", "runtime-x.conf:1:", "comma");
	REFUSED("args = { \"a\"\n", "runtime-x.conf:", "");
	REFUSED("program = \"unterminated\n", "runtime-x.conf", "");
	REFUSED("program = \n= = {", "runtime-x.conf:", "");
	REFUSED("unset = \"a\\tb\"\n", "runtime-x.conf:1:", "control");
	REFUSED("unset = \"\xff\"\n", "runtime-x.conf", "UTF-8");
	REFUSED("include(\"/etc/passwd\")\n", "runtime-x.conf:1:", "no such option");
}

static void bad_settings(void **state)
{
	static const char *const bad[][2] = { { "count", "x" }, { "count", "0" }, { "nope", "1" }, { "debug", "2" }, { "program", "x" },
					      { "unset", "${A}" }, { "timeout", "1" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_kvs struct kvs m = KVS_INIT, set = KVS_INIT;
		cleanup_err crio_err err = ERR_INIT;
		assert_int_equal(kvs_set(&set, bad[i][0], bad[i][1]), 0);
		assert_int_equal(pluginopts_merge(rows, N, "runtimes.kata", &set, &m, &err), CRIO_E_INVALID);
		assert_non_null(strstr(err_text(&err), "runtimes.kata: "));
	}
}

static void bad_tables(void **state)
{
	const struct crio_option twice[] = { OPT(CRIO_OPT_INT, "a", NULL), OPT(CRIO_OPT_INT, "a", NULL) };
	const struct crio_option bad[] = { OPT(CRIO_OPT_INT, "Upper", NULL), OPT(9, "a", NULL), OPT(CRIO_OPT_INT, "a", "x"),
					   OPT(CRIO_OPT_INT, "a", NULL, .min = 2, .max = 1), OPT(CRIO_OPT_STR, NULL, NULL) };
	struct crio_option small = OPT(CRIO_OPT_INT, "a", NULL);

	(void)state;
	assert_int_equal(pluginopts_check_table(twice, 2, "t", NULL), CRIO_E_INVALID);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_err crio_err err = ERR_INIT;
		assert_int_equal(pluginopts_check_table(&bad[i], 1, "t", &err), CRIO_E_INVALID);
	}
	small.size = 8;
	assert_int_equal(pluginopts_check_table(&small, 1, "t", NULL), CRIO_E_INVALID);
	small.size = 0;
	assert_int_equal(pluginopts_check_table(&small, 1, "t", NULL), CRIO_E_INVALID);
	assert_int_equal(pluginopts_check_table(rows, 100000, "t", NULL), CRIO_E_INVALID);
}

static void required(void **state)
{
	const struct crio_option need = OPT(CRIO_OPT_STR, "pool", NULL, .flags = CRIO_OPT_REQUIRED);
	cleanup_kvs struct kvs m = KVS_INIT;
	cleanup_err crio_err err = ERR_INIT;

	(void)state;
	assert_int_equal(pluginopts_load(&need, 1, tmp_dir, "storage", "dm", "w", NULL, &m, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "storage-dm.conf"));
	(void)tmp_text("storage-dm.conf", "pool = thin\n");
	assert_int_equal(pluginopts_load(&need, 1, tmp_dir, "storage", "dm", "w", NULL, &m, NULL), 0);
	is(&m, "pool", "thin");
}

static void reloadable(void **state)
{
	cleanup_kvs struct kvs a = KVS_INIT, b = KVS_INIT;
	const char *name = NULL;

	(void)state;
	assert_int_equal(pluginopts_defaults(rows, N, &a, NULL), 0);
	assert_int_equal(kvs_copy(&b, &a), 0);
	assert_int_equal(kvs_set(&b, "debug", "true"), 0);
	assert_true(pluginopts_reloadable(rows, N, &a, &b, &name));
	assert_int_equal(kvs_set(&b, "count", "6"), 0);
	assert_false(pluginopts_reloadable(rows, N, &a, &b, &name));
	assert_string_equal(name, "count");
}

/* libconfuse is not reentrant: many threads at once must each get their own answer. */
static void *reader(void *arg)
{
	for (int i = 0; i < 200; i++) {
		cleanup_kvs struct kvs m = KVS_INIT;
		char want[16];
		int id = *(int *)arg;
		char name[8];
		(void)snprintf(name, sizeof name, "t%d", id);
		(void)snprintf(want, sizeof want, "%d", id + 1);
		if (pluginopts_load(rows, N, tmp_dir, "hook", name, "w", NULL, &m, NULL) < 0 || strcmp(kvs_get(&m, "count"), want) != 0)
			return arg;
	}
	return NULL;
}

static void threads(void **state)
{
	pthread_t t[4];
	int ids[4];

	(void)state;
	for (int i = 0; i < 4; i++) {
		char file[32], text[32];
		ids[i] = i;
		(void)snprintf(file, sizeof file, "hook-t%d.conf", i);
		(void)snprintf(text, sizeof text, "count = %d\n", i + 1);
		(void)tmp_text(file, text);
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, reader, &ids[i]), 0);
	for (int i = 0; i < 4; i++) {
		void *r = NULL;
		assert_int_equal(pthread_join(t[i], &r), 0);
		assert_null(r);
	}
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, tmp_make, tmp_remove)
int main(void)
{
	const struct CMUnitTest tests[] = { TEST(defaults), TEST(file_and_settings), TEST(bad_files), TEST(bad_settings), TEST(bad_tables),
					    TEST(required), TEST(reloadable), TEST(threads) };

	return cmocka_run_group_tests_name("pluginopts", tests, NULL, NULL);
}
