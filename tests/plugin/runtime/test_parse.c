/* test_parse.c: the runtime plugins' readers of other programs' words: JSON, protocol buffers, pids and paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugins/runtime/kata/pb.h"
#include "plugins/runtime/oci/cgroup.h"
#include "plugins/runtime/oci/json.h"
#include "plugins/runtime/oci/util.h"

static void json_finds(void **st)
{
	(void)st;
	static const char doc[] = " { \"a\" : {\"b\":[1,{\"c\":\"x]}\"},[]], "
				  "\"s\":\"q\\\"\\\\\\u00e9\\ud83d\\ude00\\n\"}, \"n\":-12, \"f\":1.5,"
				  "\"t\":true, \"e\":{}, \"z\":null} ";
	int64_t v;
	const char *p;
	size_t n;
	assert_true(json_is_object(doc));
	auto_free char *s = json_find_str(doc, "a.s");
	assert_string_equal(s, "q\"\\\303\251\360\237\230\200\n");
	assert_true(json_find_int(doc, "n", &v));
	assert_int_equal(v, -12);
	assert_false(json_find_int(doc, "f", &v));
	assert_false(json_find_int(doc, "a", &v));
	assert_true(json_find_bool(doc, "t"));
	assert_false(json_find_bool(doc, "z"));
	assert_true(json_find(doc, "a.b", &p, &n));
	assert_int_equal(n, strlen("[1,{\"c\":\"x]}\"},[]]"));
	assert_false(json_find(doc, "a.x", &p, &n));
	assert_false(json_find(doc, "n.x", &p, &n));
	assert_null(json_find_str(doc, "n"));
	auto_free char *q = json_quote("a\"b\\c\n\001");
	assert_string_equal(q, "\"a\\\"b\\\\c\\u000a\\u0001\"");
}

static void json_refuses(void **st)
{
	(void)st;
	static const char *const bad[] = {"",
					  "{",
					  "}",
					  "[]",
					  "{\"a\"}",
					  "{\"a\":}",
					  "{\"a\":1,}",
					  "{\"a\":[1,]}",
					  "{\"a\":[1}",
					  "{a:1}",
					  "{\"a\":\"x}",
					  "{\"a\":\"\\",
					  "{\"a\":1}}",
					  "{\"a\":1} x",
					  "{\"a\":\"x\ny\"}",
					  "{\"a\" 1}",
					  "{\"a\":{\"b\":1}"};
	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		if (json_is_object(bad[i]))
			fail_msg("accepted: %s", bad[i]);
		auto_free char *s = json_find_str(bad[i], "a.b");
		assert_null(s);
	}
	static const char *const strings[] = {
	    "{\"a\":\"\\u0000\"}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\\udc00\"}", "{\"a\":\"\\ud800\\u0041\"}",
	    "{\"a\":\"\\x\"}",	   "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\u12\"}"};
	for (size_t i = 0; i < N_ELEMENTS(strings); i++) {
		auto_free char *s = json_find_str(strings[i], "a");
		assert_null(s);
	}
	/* deep nesting costs nothing */
	auto_free char *deep = malloc(2000003);
	memset(deep, '[', 2000000);
	memcpy(deep, "{\"a\":", 5);
	deep[2000000] = 0;
	assert_false(json_is_object(deep));
	auto_free char *s = json_find_str(deep, "a");
	assert_null(s);
}

static void pb_round_trip(void **st)
{
	(void)st;
	struct pb m = {0}, inner = {0};
	const uint8_t *p;
	size_t n;
	pb_str(&m, 1, "text");
	pb_str(&m, 2, "");
	pb_uint(&m, 3, 300);
	pb_uint(&m, 4, UINT64_MAX);
	pb_uint(&inner, 1, 7);
	pb_msg(&m, 5, &inner);
	pb_msg(&m, 6, &inner);
	assert_false(m.oom);
	assert_true(pb_is_sound(m.p, m.n));
	auto_free char *s = pb_get_str(m.p, m.n, 1), *none = pb_get_str(m.p, m.n, 2);
	assert_string_equal(s, "text");
	assert_string_equal(none, "");
	assert_int_equal(pb_get_uint(m.p, m.n, 3), 300);
	assert_true(pb_get_uint(m.p, m.n, 4) == UINT64_MAX);
	assert_int_equal(pb_get_uint(m.p, m.n, 1), 0); /* of another type */
	assert_true(pb_get_bytes(m.p, m.n, 5, &p, &n));
	assert_int_equal(pb_get_uint(p, n, 1), 7);
	assert_true(pb_get_bytes(m.p, m.n, 6, &p, &n));
	assert_int_equal(n, 0);
	/* cut anywhere: never beyond the end, and unsound unless between fields */
	for (size_t cut = 0; cut < m.n; cut++) {
		auto_free uint8_t *copy = malloc(cut ? cut : 1);
		memcpy(copy, m.p, cut);
		(void)pb_is_sound(copy, cut);
		(void)pb_get_uint(copy, cut, 9);
	}
	pb_release(&m);
}

static void pb_refuses(void **st)
{
	(void)st;
	static const struct {
		uint8_t p[12];
		size_t n;
	} bad[] = {
	    {{0x0a, 0x05, 'a'}, 3},
	    {{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 'a'}, 7},
	    {{0x08}, 1},
	    {{0x00, 0x01}, 2},
	    {{0x0b, 0x01}, 2},
	    {{0x0d, 1, 2, 3}, 4},
	    {{0x09, 1, 2, 3}, 4},
	    {{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 12},
	    {{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'a'}, 12},
	};
	for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
		if (pb_is_sound(bad[i].p, bad[i].n))
			fail_msg("accepted %zu", i);
	}
	assert_true(pb_is_sound(NULL, 0));
}

static void small_things(void **st)
{
	(void)st;
	int64_t v = 5;
	assert_true(parse_i64(" 42\n", 0, 100, &v) && v == 42);
	assert_false(parse_i64("", 0, 9, &v));
	assert_false(parse_i64("4x", 0, 9, &v));
	assert_false(parse_i64("99999999999999999999", 0, INT64_MAX, &v));
	assert_false(parse_i64("-1", 0, 9, &v));
	assert_int_equal(v, 42);
	assert_true(id_is_good("ab_c.1-2"));
	assert_false(id_is_good(""));
	assert_false(id_is_good("-rf"));
	assert_false(id_is_good("a/b"));
	assert_false(id_is_good(".."));
	assert_false(id_is_good(NULL));
	assert_true(path_is_good("/a/b..c/..d"));
	assert_false(path_is_good("/a/../b"));
	assert_false(path_is_good("/a/.."));
	assert_false(path_is_good("a"));
	assert_false(path_is_good("/a\nb"));
	char text[] = "a\tb\033[31m \n\n";
	tidy(text);
	assert_string_equal(text, "a b [31m");
	uint64_t start;
	assert_true(proc_start_time(getpid(), &start) && start > 0);
	assert_true(proc_is(getpid(), start));
	assert_false(proc_is(getpid(), start + 1));
	assert_int_equal(proc_open(getpid(), start + 1), -1);
	assert_false(proc_start_time(-1, &start));
}

static void trimmed(const char *path, const char *want, const char *outer)
{
	char *p = strdup(path), *o;

	assert_non_null(p);
	cgroups_trim(p, "0abc");
	assert_string_equal(p, want);
	o = cgroups_outer(p, "0abc");
	if (outer)
		assert_string_equal(o, outer);
	else
		assert_null(o);
	free(o);
	free(p);
}

/* A container's group whatever its processes have made below it, and the pod's. */
static void groups(void **state)
{
	char dir[] = "/tmp/crio-test-groups.XXXXXX", file[64];
	struct cgroups g = {.v2 = true, .n = 1};

	(void)state;
	trimmed("/a.slice/crio-0abc.scope", "/a.slice/crio-0abc.scope", "/a.slice");
	trimmed("/a.slice/crio-0abc.scope/container", "/a.slice/crio-0abc.scope/container", "/a.slice");
	trimmed("/a.slice/crio-0abc.scope/container/init.scope", "/a.slice/crio-0abc.scope/container", "/a.slice");
	trimmed("/a.slice/crio-0abc.scope/containers", "/a.slice/crio-0abc.scope", "/a.slice");
	trimmed("/a.slice/crio-0abc.scope/init.scope", "/a.slice/crio-0abc.scope", "/a.slice");
	trimmed("/pod/x/crio-0abc", "/pod/x/crio-0abc", "/pod/x");
	trimmed("/pod/crio-0abc/container", "/pod/crio-0abc", "/pod");
	trimmed("/crio-0abc", "/crio-0abc", NULL);
	trimmed("/system.slice/crio-0abc.scope", "/system.slice/crio-0abc.scope", NULL);

	assert_non_null(mkdtemp(dir));
	g.h[0].mount = dir;
	assert_int_equal(cgroups_oom_kills(&g, "/g"), -1);
	(void)snprintf(file, sizeof(file), "%s/g", dir);
	assert_int_equal(mkdir(file, 0755), 0);
	(void)snprintf(file, sizeof(file), "%s/g/memory.events", dir);
	FILE *f = fopen(file, "we");
	assert_non_null(f);
	assert_true(fputs("low 0\nmax 4\noom 3\noom_kill 2\noom_group_kill 0\n", f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(cgroups_oom_kills(&g, "/g"), 2);
	assert_int_equal(cgroups_oom_kills(&g, NULL), -1);
	assert_int_equal(unlink(file), 0);
	(void)snprintf(file, sizeof(file), "%s/g", dir);
	assert_int_equal(rmdir(file), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(json_finds), cmocka_unit_test(json_refuses),
					   cmocka_unit_test(pb_round_trip), cmocka_unit_test(pb_refuses),
					   cmocka_unit_test(small_things), cmocka_unit_test(groups)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
