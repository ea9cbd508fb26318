/* test_reference.c: the grammar of image names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/image/images_priv.h"

#define SHA "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void good(const char *in, const char *repo, const char *tag, const char *digest)
{
	cleanup_reference struct reference r = REFERENCE_INIT;
	crio_err e = ERR_INIT;
	cleanup_free char *got = NULL;

	if (reference_parse(in, &r, &e) < 0)
		fail_msg("%s: %s", in, err_text(&e));
	got = reference_repo(&r);
	assert_string_equal(got, repo);
	assert_string_equal(r.tag, tag);
	assert_string_equal(r.digest, digest);
}

static void bad(const char *in)
{
	cleanup_reference struct reference r = REFERENCE_INIT;
	crio_err e = ERR_INIT;

	if (reference_parse(in, &r, &e) != CRIO_E_INVALID)
		fail_msg("'%s' was taken", in);
	assert_non_null(strstr(err_text(&e), "invalid reference format"));
	err_clear(&e);
}

static void test_normalised(void **state)
{
	(void)state;
	good("busybox", "docker.io/library/busybox", "", "");
	good("busybox:1.36", "docker.io/library/busybox", "1.36", "");
	good("index.docker.io/busybox", "docker.io/library/busybox", "", "");
	good("docker.io/busybox", "docker.io/library/busybox", "", "");
	good("library/busybox", "docker.io/library/busybox", "", "");
	good("a/b/c:t", "docker.io/a/b/c", "t", "");
	good("quay.io/a/b@" SHA, "quay.io/a/b", "", SHA);
	good("quay.io/a/b:v1@" SHA, "quay.io/a/b", "v1", SHA);
	good("localhost/x", "localhost/x", "", "");
	good("localhost:5000/x:y", "localhost:5000/x", "y", "");
	good("127.0.0.1:5000/x", "127.0.0.1:5000/x", "", "");
	good("[::1]:5000/x:t", "[::1]:5000/x", "t", "");
	good("Host/x", "Host/x", "", ""); /* upper case: a host */
	good("a-b__c.d_e---f", "docker.io/library/a-b__c.d_e---f", "", "");
	good("foo:5000", "docker.io/library/foo", "5000", "");
	good("foo:5000/bar", "foo:5000/bar", "", "");
}

static void test_refused(void **state)
{
	static const char *const list[] = {"",
					   " ",
					   "a b",
					   "a//b",
					   "/a",
					   "a/",
					   "a:",
					   "a:-x",
					   "a:.x",
					   "-a",
					   "a-",
					   "a___b",
					   "a..b",
					   "_a",
					   "Busybox",
					   "a/B",
					   "a@sha256:12",
					   "a@sha512:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
					   "a@md5:0123456789abcdef0123456789abcdef",
					   "a@",
					   "a@" SHA "x",
					   "a\n",
					   "a:b\n",
					   "a:b/c:d:e",
					   "x.io:99999/a",
					   "x.io:/a",
					   "x..io/a",
					   "-x.io/a",
					   "x-.io/a",
					   "[::1/a",
					   "[zz::1]:5/a",
					   "a?b",
					   "a%2fb",
					   "http://x/y",
					   "../x",
					   "a/../b",
					   "a:b@c",
					   "\xff\xfe",
					   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"};
	char longer[2048];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		bad(list[i]);
	memset(longer, 'a', sizeof(longer));
	longer[1100] = 0;
	bad(longer);
	longer[300] = 0;
	bad(longer);
	memcpy(longer, "a:", 2);
	longer[2 + REF_TAG_MAX + 1] = 0;
	bad(longer);
	longer[2 + REF_TAG_MAX] = 0;
	good(longer, "docker.io/library/a", longer + 2, "");
}

static void test_finish(void **state)
{
	cleanup_reference struct reference r = REFERENCE_INIT, d = REFERENCE_INIT;
	cleanup_free char *a = NULL, *b = NULL;

	(void)state;
	assert_int_equal(reference_parse("busybox", &r, NULL), 0);
	assert_int_equal(reference_finish(&r), 0);
	a = reference_text(&r);
	assert_string_equal(a, "docker.io/library/busybox:latest");
	assert_int_equal(reference_parse("x.io/y:v@" SHA, &d, NULL), 0);
	assert_int_equal(reference_finish(&d), 0);
	b = reference_text(&d);
	assert_string_equal(b, "x.io/y@" SHA);
}

static void test_ids(void **state)
{
	(void)state;
	assert_non_null(image_id_of_text("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
	assert_non_null(image_id_of_text(SHA));
	assert_null(image_id_of_text("0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"));
	assert_null(image_id_of_text("0123"));
	assert_true(reference_is_short("busybox"));
	assert_true(reference_is_short("a/b"));
	assert_false(reference_is_short("a.b/c"));
	assert_false(reference_is_short("localhost/c"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_normalised),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_finish),
	    cmocka_unit_test(test_ids),
	};

	return cmocka_run_group_tests_name("image reference", tests, NULL, NULL);
}
