/* test_auth.c: challenges, credentials, URLs, certificates' directories, policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/image/images_priv.h"
#include "core/util/fs.h"
#include "tests/tmp.h"

static void pick(const char *header, enum challenge_scheme scheme, const char *realm, const char *service)
{
	cleanup_strv struct strv h = STRV_INIT;
	cleanup_challenge struct challenge c = {0};

	assert_int_equal(strv_add(&h, header), 0);
	assert_int_equal(challenge_pick(&h, &c, NULL), 0);
	assert_int_equal(c.scheme, scheme);
	if (scheme == CHALLENGE_NONE)
		return;
	assert_string_equal(c.realm, realm);
	assert_string_equal(c.service, service);
}

static void test_challenges(void **state)
{
	char longer[9000];

	(void)state;
	pick("Basic realm=\"Registry\"", CHALLENGE_BASIC, "Registry", "");
	pick("basic", CHALLENGE_BASIC, "", "");
	pick("Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x:pull\"", CHALLENGE_BEARER, "https://a/t",
	     "s");
	pick("Bearer  realm = \"https://a/t\" , service= s", CHALLENGE_BEARER, "https://a/t", "s");
	pick("Negotiate, Bearer realm=\"https://a/t\"", CHALLENGE_BEARER, "https://a/t", "");
	pick("Digest realm=\"d\", nonce=\"n\", Basic realm=\"b\"", CHALLENGE_BASIC, "b", "");
	pick("Basic realm=\"b\", Bearer realm=\"https://x\"", CHALLENGE_BASIC, "b", "");
	pick("Bearer realm=\"a\\\"b\"", CHALLENGE_BEARER, "a\"b", "");
	pick("Bearer service=\"s\"", CHALLENGE_NONE, "", ""); /* no realm: of no use */
	pick("Bearer realm=\"open", CHALLENGE_NONE, "", "");
	pick("Bearer realm=\"x\\", CHALLENGE_NONE, "", "");
	pick("", CHALLENGE_NONE, "", "");
	pick(",,,", CHALLENGE_NONE, "", "");
	pick("=\"\"", CHALLENGE_NONE, "", "");
	memset(longer, 'a', sizeof(longer));
	memcpy(longer, "Basic realm=", 12);
	longer[sizeof(longer) - 1] = 0;
	pick(longer, CHALLENGE_NONE, "", "");
}

static void test_base64(void **state)
{
	static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
	static const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	char *out;
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		cleanup_free char *e = base64_encode(plain[i], strlen(plain[i]));

		assert_string_equal(e, coded[i]);
		assert_true(base64_decode(coded[i], &out, &n));
		assert_int_equal(n, strlen(plain[i]));
		assert_string_equal(out, plain[i]);
		free(out);
	}
	assert_false(base64_decode("Zm9v!", &out, &n));
	assert_false(base64_decode("Z", &out, &n));
	assert_false(base64_decode("Zg===", &out, &n));
}

static void test_request(void **state)
{
	struct image_auth a = {.auth = "dXNlcjpwYTpzcw=="};
	cleanup_cred struct cred c = {0}, d = {0}, f = {0};
	crio_err e = ERR_INIT;

	(void)state;
	assert_int_equal(cred_of_request(&a, &c, NULL), 0);
	assert_string_equal(c.username, "user");
	assert_string_equal(c.password, "pa:ss");
	a.auth = "nonsense*";
	assert_int_equal(cred_of_request(&a, &d, &e), CRIO_E_INVALID);
	assert_null(strstr(err_text(&e), "nonsense")); /* a secret is not for messages */
	err_clear(&e);
	a = (struct image_auth){.username = "u\r\nX: y", .password = "p"};
	assert_int_equal(cred_of_request(&a, &d, NULL), CRIO_E_INVALID);
	a = (struct image_auth){.password = "p"};
	assert_int_equal(cred_of_request(&a, &f, NULL), 0);
	assert_false(cred_is_set(&f));
}

static const char *user_for(const char *text, const char *repo, struct cred *c)
{
	cleanup_free char *helper = NULL;
	crio_err e = ERR_INIT;

	cred_release(c);
	assert_int_equal(cred_init(c), 0);
	if (auth_find_in_text(text, strlen(text), repo, false, c, &helper, &e) < 0)
		fail_msg("%s", err_text(&e));
	return c->username;
}

static void test_files(void **state)
{
	/* a:1, b:2, c:3, d:4 */
	static const char text[] =
	    "{\"auths\":{\"quay.io\":{\"auth\":\"YTox\"},\"quay.io/team\":{\"auth\":\"Yjoy\"},"
	    "\"https://index.docker.io/v1/\":{\"auth\":\"Yzoz\"},\"host:5000/x/y\":{\"auth\":\"ZDo0\"}},"
	    "\"credHelpers\":{\"gcr.io\":\"gcloud\"}}";
	struct cred c = {0};
	cleanup_free char *helper = NULL;

	(void)state;
	assert_string_equal(user_for(text, "quay.io/other/x", &c), "a");
	assert_string_equal(user_for(text, "quay.io/team/x", &c), "b");
	assert_string_equal(user_for(text, "quay.io/team", &c), "b");
	assert_string_equal(user_for(text, "quay.io/teamx", &c), "a");
	assert_string_equal(user_for(text, "docker.io/library/busybox", &c), "c");
	assert_string_equal(user_for(text, "host:5000/x/y", &c), "d");
	assert_string_equal(user_for(text, "host:5000/x", &c), "");
	assert_string_equal(user_for(text, "quay.io.evil.com/x", &c), "");
	assert_int_equal(auth_find_in_text(text, sizeof(text) - 1, "gcr.io/x", false, &c, &helper, NULL), 0);
	assert_string_equal(helper, "gcloud");
	cred_release(&c);
	free(helper);
	helper = NULL;
	assert_int_equal(cred_init(&c), 0);
	assert_true(auth_find_in_text("[]", 2, "a/b", false, &c, &helper, NULL) < 0);
	assert_true(auth_find_in_text("{", 1, "a/b", false, &c, &helper, NULL) < 0);
	assert_int_equal(
	    auth_find_in_text("{\"auths\":{\"a\":{\"auth\":\"***\"}}}", 29, "a/b", false, &c, &helper, NULL) < 0, 1);
	cred_release(&c);
}

static void test_urls(void **state)
{
	cleanup_url struct url a = {0}, b = {0}, c = {0}, d = {0};
	struct url none = {0};

	(void)state;
	assert_int_equal(url_parse("https://Host.example/v2/x?y=1#z", NULL, &a, NULL), 0);
	assert_string_equal(a.host, "host.example");
	assert_string_equal(a.port, "443");
	assert_string_equal(a.rest, "/v2/x?y=1");
	assert_int_equal(url_parse("/other", "https://host.example:443/v2/", &b, NULL), 0);
	assert_true(url_same_host(&a, &b));
	assert_int_equal(url_parse("https://host.example:444/", NULL, &c, NULL), 0);
	assert_false(url_same_host(&a, &c));
	assert_int_equal(url_parse("http://169.254.169.254/latest", NULL, &d, NULL), 0);
	assert_true(url_is_link_local(&d));
	assert_false(url_is_link_local(&a));
	assert_int_equal(url_parse("file:///etc/passwd", NULL, &none, NULL), CRIO_E_INVALID);
	assert_int_equal(url_parse("gopher://x/", NULL, &none, NULL), CRIO_E_INVALID);
	assert_int_equal(url_parse("https://user:pw@x/", NULL, &none, NULL), CRIO_E_INVALID);
	assert_int_equal(url_parse("https://", NULL, &none, NULL), CRIO_E_INVALID);
	assert_int_equal(url_parse("relative", NULL, &none, NULL), CRIO_E_INVALID);
	assert_int_equal(url_parse("http://x/\r\nHost: y", NULL, &none, NULL), CRIO_E_INVALID);
	/* Another spelling of the same address is the same address. */
	{
		cleanup_url struct url e = {0};

		assert_int_equal(url_parse("http://0xa9fea9fe/", NULL, &e, NULL), 0);
		assert_true(url_is_link_local(&e));
	}
}

static int policy(const char *text, const char *name)
{
	cleanup_reference struct reference r = REFERENCE_INIT;

	assert_int_equal(reference_parse(name, &r, NULL), 0);
	assert_int_equal(reference_finish(&r), 0);
	return policy_check_text(text, strlen(text), &r, NULL);
}

static void test_policy(void **state)
{
	static const char text[] =
	    "{\"default\":[{\"type\":\"reject\"}],\"transports\":{\"docker\":{"
	    "\"quay.io\":[{\"type\":\"insecureAcceptAnything\"}],\"quay.io/bad\":[{\"type\":\"reject\"}],"
	    "\"quay.io/bad/"
	    "ok:v1\":[{\"type\":\"insecureAcceptAnything\"}],\"*.corp.example\":[{\"type\":\"insecureAcceptAnything\"}]"
	    ","
	    "\"signed.io\":[{\"type\":\"signedBy\",\"keyType\":\"GPGKeys\",\"keyPath\":\"/k\"}],\"empty.io\":[]}}}";

	(void)state;
	assert_int_equal(policy(text, "quay.io/x"), 0);
	assert_int_equal(policy(text, "quay.io/bad/x"), CRIO_E_DENIED);
	assert_int_equal(policy(text, "quay.io/badge"), 0);
	assert_int_equal(policy(text, "quay.io/bad/ok:v1"), 0);
	assert_int_equal(policy(text, "quay.io/bad/ok:v2"), CRIO_E_DENIED);
	assert_int_equal(policy(text, "a.corp.example/x"), 0);
	assert_int_equal(policy(text, "a.corp.example:5000/x"), 0);
	assert_int_equal(policy(text, "corp.example/x"), CRIO_E_DENIED);
	assert_int_equal(policy(text, "other.io/x"), CRIO_E_DENIED);
	assert_int_equal(policy(text, "signed.io/x"), CRIO_E_DENIED); /* never let through unchecked */
	assert_int_equal(policy(text, "empty.io/x"), CRIO_E_DENIED);
	assert_int_equal(policy("{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}", "a/b"), 0);
	assert_int_equal(policy("{\"default\":[{\"type\":\"new\"}]}", "a/b"), CRIO_E_INVALID);
	assert_int_equal(policy("{}", "a/b"), CRIO_E_INVALID);
	assert_true(policy("{", "a/b") < 0);
}

static void test_certs(void **state)
{
	char dir[TEST_TMP_N];
	struct certs c = {0};
	cleanup_free char *host = NULL;
	crio_err e = ERR_INIT;

	(void)state;
	assert_non_null(test_tmp(dir, "certs"));
	host = path_fmt("%s/h.example:5000", dir);
	assert_int_equal(certs_load(dir, "h.example:5000", &c, NULL), 0); /* nothing there */
	assert_null(c.ca_pem);
	assert_int_equal(mkdir(host, 0700), 0);
	for (const char *const *f = (const char *const[]){"ca.crt", "client.cert", NULL}; *f; f++) {
		cleanup_free char *p = path_fmt("%s/%s", host, *f);

		assert_int_equal(fs_write_path(p, "pem", 3, 0600, FS_RUN, NULL), 0);
	}
	assert_int_equal(certs_load(dir, "h.example:5000", &c, &e), CRIO_E_INVALID); /* no key */
	err_clear(&e);
	{
		cleanup_free char *p = path_fmt("%s/client.key", host);

		assert_int_equal(fs_write_path(p, "key", 3, 0600, FS_RUN, NULL), 0);
	}
	assert_int_equal(certs_load(dir, "h.example:5000", &c, NULL), 0);
	assert_string_equal(c.ca_pem, "pem\n");
	assert_true(str_ends(c.cert_file, "/client.cert"));
	certs_release(&c);
	assert_int_equal(certs_load(dir, "../etc", &c, NULL), CRIO_E_INVALID);
	assert_int_equal(fs_rm_rf(AT_FDCWD, dir, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_challenges), cmocka_unit_test(test_base64), cmocka_unit_test(test_request),
	    cmocka_unit_test(test_files),      cmocka_unit_test(test_urls),   cmocka_unit_test(test_policy),
	    cmocka_unit_test(test_certs),
	};

	return cmocka_run_group_tests_name("image auth", tests, NULL, NULL);
}
