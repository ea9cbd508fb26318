/* Merge patches, the rules for what a hook may change, and the notes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/lifecycle/hooks.h"

static struct json_object *doc(const char *text)
{
	struct json_object *o = NULL;
	assert_int_equal(json_parse(text, strlen(text), &o, NULL), 0);
	return o;
}

static void test_merge(void **state)
{
	static const struct {
		const char *doc, *patch, *want;
	} v[] = {
		{ "{\"a\":1}", "{\"a\":2}", "{\"a\":2}" },
		{ "{\"a\":1}", "{\"b\":[1,{\"c\":null}]}", "{\"a\":1,\"b\":[1,{\"c\":null}]}" },
		{ "{\"a\":1,\"b\":2}", "{\"a\":null}", "{\"b\":2}" },
		{ "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":null,\"d\":3}}", "{\"a\":{\"c\":2,\"d\":3}}" },
		{ "{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}" },
		{ "{\"a\":\"x\"}", "{\"a\":{\"b\":null,\"c\":1}}", "{\"a\":{\"c\":1}}" },
		{ "{}", "{\"a\":{\"b\":{\"c\":null}}}", "{\"a\":{\"b\":{}}}" },
		{ "{\"a\":1}", "[1]", "[1]" },
		{ "[1]", "{\"a\":1}", "{\"a\":1}" },
		{ "{\"a\":1}", "{}", "{\"a\":1}" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		cleanup_json struct json_object *d = doc(v[i].doc), *p = doc(v[i].patch);
		assert_int_equal(json_merge(&d, p), 0);
		cleanup_free char *got = json_text(d);
		assert_string_equal(got, v[i].want);
		/* Nothing of the patch is shared. */
		cleanup_free char *patch = json_text(p);
		assert_string_equal(patch, v[i].patch);
	}
}

#define SPEC                                                                                                         \
	"{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"/r\"},\"process\":{\"args\":[\"sh\"],\"env\":[\"A=b\"]},"     \
	"\"annotations\":{\"io.kubernetes.cri-o.Name\":\"n\",\"storage.crio.io\":\"overlay\",\"mine\":\"x\"}}"

static void test_check(void **state)
{
	static const struct {
		const char *patch, *why; /* NULL: fine */
	} v[] = {
		{ "{}", NULL },
		{ "{\"annotations\":{\"mine\":null,\"other\":\"y\",\"hooks.crio.io\":\"z\"}}", NULL },
		{ "{\"hooks\":{\"createRuntime\":[{\"path\":\"/x\",\"args\":[\"x\"],\"env\":[],\"timeout\":1}]}}", NULL },
		{ "{\"process\":{\"args\":[\"a\",\"b\"]},\"linux\":{\"devices\":[]}}", NULL },
		{ "{\"ociVersion\":\"9\"}", "ociVersion may not be changed" },
		{ "{\"root\":{\"readonly\":true}}", "root may not be changed" },
		{ "{\"root\":null}", "root may not be changed" },
		{ "{\"process\":null}", "process.args" },
		{ "{\"process\":{\"args\":[]}}", "process.args" },
		{ "{\"process\":{\"args\":[1]}}", "process.args" },
		{ "{\"process\":{\"env\":{}}}", "process.env" },
		{ "{\"hooks\":[]}", "hooks is no object" },
		{ "{\"hooks\":{\"poststop\":{}}}", "hooks.poststop is no list" },
		{ "{\"hooks\":{\"poststop\":[1]}}", "is not absolute" },
		{ "{\"hooks\":{\"poststop\":[{\"path\":\"x\"}]}}", "is not absolute" },
		{ "{\"hooks\":{\"poststop\":[{\"path\":\"/x\",\"timeout\":0}]}}", "timeout" },
		{ "{\"hooks\":{\"poststop\":[{\"path\":\"/x\",\"args\":\"x\"}]}}", "args or env" },
		{ "{\"annotations\":null}", "taken away" },
		{ "{\"annotations\":{\"storage.crio.io\":\"btrfs\"}}", "storage.crio.io is crio's own" },
		{ "{\"annotations\":{\"io.kubernetes.cri-o.New\":\"1\"}}", "crio's own" },
		{ "{\"annotations\":{\"mine\":1}}", "is no string" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		cleanup_json struct json_object *spec = doc(SPEC), *patch = doc(v[i].patch), *kept = hooks_kept(spec);
		cleanup_err crio_err err = ERR_INIT;
		assert_non_null(kept);
		assert_int_equal(json_merge(&spec, patch), 0);
		int r = hooks_check(spec, kept, &err);
		if (!v[i].why) {
			assert_int_equal(r, 0);
			continue;
		}
		assert_int_equal(r, CRIO_E_INVALID);
		if (!strstr(err_text(&err), v[i].why))
			fail_msg("%s: %s", v[i].patch, err_text(&err));
	}
}

static void test_members(void **state)
{
	(void)state;
	cleanup_buf struct buf b = BUF_INIT;
	cleanup_json struct json_object *p = doc("{\"hooks\":{\"poststop\":[]},\"process\":{\"env\":[],\"cwd\":\"/\"},\"hostname\":null}");
	hooks_members(p, &b);
	assert_string_equal(b.p, "hooks process.env process.cwd hostname");
	/* A patch of thousands of members makes no note of thousands. */
	cleanup_json struct json_object *many = json_object_new_object();
	for (int i = 0; i < 5000; i++) {
		char key[32];
		(void)snprintf(key, sizeof(key), "member-%d", i);
		assert_int_equal(json_set_int(many, key, i), 0);
	}
	buf_clear(&b);
	hooks_members(many, &b);
	assert_true(b.n < 2048);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_members),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
