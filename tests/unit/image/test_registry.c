/* test_registry.c: the registry client against tests/fixtures/evil-registry.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include "core/conf/registries.h"
#include "core/exec/spawn.h"
#include "core/image/registry.h"
#include "core/util/fs.h"
#include "tests/tmp.h"

#define MS 1000000LL

static struct proc server;
static int server_in = -1;
static unsigned int port, other_port;
static struct http *http;
static struct registries *regs;
static char dir[TEST_TMP_N];
static struct registry_env env;

static int start_server(void)
{
	const char *src = getenv("srcdir");
	char script[4096], line[64] = "";
	struct spawn s = SPAWN_INIT;
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return -1;
	(void)snprintf(script, sizeof(script), "%s/tests/fixtures/evil-registry.py", src ? src : "..");
	if (access(script, R_OK) < 0)
		(void)snprintf(script, sizeof(script), "tests/fixtures/evil-registry.py");
	cleanup_free char *abs = realpath(script, NULL);
	if (!abs)
		return -1;
	s.path = "/usr/bin/python3";
	s.argv = (const char *const[]){"python3", abs, NULL};
	s.env = (const char *const[]){"PATH=/usr/bin:/bin", NULL};
	s.stdin_fd = in[0];
	s.stdout_fd = out[1];
	s.stderr_fd = 2;
	if (spawn_start(&s, &server, NULL) < 0)
		return -1;
	close(in[0]);
	close(out[1]);
	server_in = in[1];
	for (size_t n = 0; n + 1 < sizeof(line) && !strchr(line, '\n');) {
		ssize_t k = read(out[0], line + n, sizeof(line) - 1 - n);

		if (k <= 0)
			return -1;
		n += (size_t)k;
	}
	close(out[0]);
	return sscanf(line, "%u %u", &port, &other_port) == 2 ? 0 : -1;
}

static int setup(void **state)
{
	cleanup_free char *conf = NULL;
	char text[512];

	(void)state;
	if (access("/usr/bin/python3", X_OK) < 0 || !test_tmp(dir, "registry") || start_server() < 0 || http_new(&http, NULL) < 0)
		return -1;
	conf = path_fmt("%s/registries.conf", dir);
	(void)snprintf(text, sizeof(text),
		       "[[registry]]\nlocation = \"127.0.0.1:%u\"\ninsecure = true\n"
		       "[[registry]]\nprefix = \"mirrored.example\"\nlocation = \"127.0.0.1:%u\"\ninsecure = true\n"
		       "[[registry.mirror]]\nlocation = \"127.0.0.1:1/none\"\ninsecure = true\n",
		       port, port);
	if (fs_write_path(conf, text, strlen(text), 0600, FS_RUN, NULL) < 0 ||
	    registries_load(conf, "", &regs, NULL) < 0)
		return -1;
	env.http = http;
	env.registries = regs;
	env.certs_dir = dir;
	env.auth_file = "/nonexistent/auth.json";
	env.user_agent = "test";
	env.backoff_ns = 10 * MS;
	http_limits_default(&env.limits);
	env.limits.connect_ns = 300 * MS;
	env.limits.answer_ns = 500 * MS;
	env.limits.window_ns = 1000 * MS;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(server_in);
	proc_kill(&server);
	registries_unref(regs);
	http_free(http);
	return fs_rm_rf(AT_FDCWD, dir, NULL);
}

static crio_call *new_call(int64_t ms)
{
	crio_call *c = call_new("test", now_mono_ns() + ms * MS);

	assert_non_null(c);
	return c;
}

/* Everything a pull reads, through the client alone. */
static int fetch_ref(const char *text, const char *user, const char *by_digest, crio_err *err)
{
	cleanup_registry struct registry_session *s = NULL;
	cleanup_reference struct reference ref = REFERENCE_INIT;
	CLEANUP(buf_release) struct buf doc = BUF_INIT, config = BUF_INIT, layer = BUF_INIT;
	cleanup_call crio_call *call = new_call(20000);
	struct image_auth a = {.username = user, .password = user ? "secret" : NULL};
	cleanup_cred struct cred cred = {0};
	cleanup_manifest struct manifest m = {0};
	cleanup_free char *type = NULL;
	char got[DIGEST_TEXT_MAX];
	int r;

	assert_int_equal(reference_parse(text, &ref, NULL), 0);
	assert_int_equal(reference_finish(&ref), 0);
	assert_int_equal(cred_of_request(&a, &cred, NULL), 0);
	r = registry_open(&env, call, &ref, &cred, &s, err);
	if (r == 0)
		r = registry_manifest(s, call, by_digest, &doc, &type, got, err);
	if (r < 0 && s && registry_unreachable(s))
		return CRIO_E_ABORTED; /* told apart for the tests */
	if (r == 0)
		r = manifest_parse(doc.p ? doc.p : "", doc.n, type, &m, err);
	for (int depth = 0; r == 0 && m.index; depth++) {
		struct manifest sub = {0};
		cleanup_free char *t = NULL;
		size_t i = 0;
		struct platform here = {(char *)(uintptr_t) "linux", (char *)(uintptr_t) "amd64",
					(char *)(uintptr_t) ""};

		if (depth == MANIFEST_DEPTH_MAX)
			return err_set(err, CRIO_E_EXHAUSTED, "too deep");
		r = manifest_choose(&m, &here, &i, err);
		if (r == 0)
			r = registry_manifest(s, call, m.entries[i].d.digest, &doc, &t, got, err);
		if (r == 0)
			r = manifest_parse(doc.p ? doc.p : "", doc.n, t, &sub, err);
		if (r == 0) {
			manifest_release(&m);
			m = sub;
		}
	}
	if (r == 0)
		r = registry_blob_get(s, call, &m.config, MANIFEST_MAX, &config, err);
	if (r == 0)
		r = registry_blob_get(s, call, &m.layers[0], 64 << 20, &layer, err);
	return r;
}

static void expect(const char *name, const char *user, int code, const char *words)
{
	cleanup_free char *ref = path_fmt("127.0.0.1:%u/%s", port, name);
	crio_err e = ERR_INIT;
	int r = fetch_ref(ref, user, NULL, &e);

	if (r != code)
		fail_msg("%s: %d instead of %d: %s", name, r, code, r < 0 ? err_text(&e) : "");
	if (words && !strstr(err_text(&e), words))
		fail_msg("%s: '%s' does not have '%s'", name, err_text(&e), words);
	if (strstr(r < 0 ? err_text(&e) : "", "secret"))
		fail_msg("%s: a password in the message", name);
	err_clear(&e);
}

static int ask(unsigned int p, const char *path)
{
	cleanup_http_xfer struct http_xfer *x = NULL;
	CLEANUP(buf_release) struct buf b = BUF_INIT;
	cleanup_call crio_call *call = new_call(5000);
	cleanup_free char *url = path_fmt("http://127.0.0.1:%u%s", p, path);
	struct http_args a = {.method = "GET", .url = url};

	assert_int_equal(http_open(http, call, &a, &x, NULL, NULL), 0);
	assert_int_equal(http_body(x, 100, &b, NULL, NULL), 0);
	return atoi(b.p);
}

static void test_good(void **state)
{
	(void)state;
	expect("good", NULL, 0, NULL);
	expect("text", NULL, 0, NULL); /* a Content-Type that says nothing */
	expect("index", NULL, 0, NULL);
	expect("503-once", NULL, 0, NULL);
	expect("429-once", NULL, 0, NULL);
	expect("resume", NULL, 0, NULL);
}

static void test_auth(void **state)
{
	(void)state;
	expect("basic", "user", 0, NULL);
	expect("basic", NULL, CRIO_E_UNAUTHENTICATED, "authentication required");
	expect("basic", "other", CRIO_E_UNAUTHENTICATED, "authentication required");
	expect("token", "user", 0, NULL);
	expect("token", "other", CRIO_E_UNAUTHENTICATED, "bad credentials");
	expect("401-loop", "user", CRIO_E_UNAUTHENTICATED, NULL);
	assert_in_range(ask(port, "/_/count/401-loop"), 1, 3);
	expect("token-loop", "user", CRIO_E_UNAUTHENTICATED, NULL);
	assert_in_range(ask(port, "/_/count/token-loop"), 1, 3);
	expect("realm-file", "user", CRIO_E_INVALID, "only http and https");
	expect("realm-metadata", "user", CRIO_E_DENIED, "link-local");
	expect("denied", NULL, CRIO_E_DENIED, "requested access to the resource is denied");
	expect("not-found", NULL, CRIO_E_NOT_FOUND, "manifest unknown");
}

static void test_redirects(void **state)
{
	(void)state;
	expect("redirect", "user", 0, NULL);
	assert_int_equal(ask(other_port, "/_/seen"), 0); /* the blob came from there, no credential went there */
	expect("foreign-401", "user", CRIO_E_UNAUTHENTICATED, NULL);
	assert_int_equal(ask(other_port, "/_/seen"), 0);
	expect("redirect-loop", NULL, CRIO_E_UNAVAILABLE, "redirects");
	assert_in_range(ask(port, "/_/count/redirect-loop"), 5, 12);
	expect("redirect-file", NULL, CRIO_E_INVALID, "only http and https");
	expect("redirect-unix", NULL, CRIO_E_INVALID, NULL);
	expect("redirect-metadata", NULL, CRIO_E_DENIED, "link-local");
}

static void test_documents(void **state)
{
	(void)state;
	expect("huge", NULL, CRIO_E_EXHAUSTED, NULL);
	expect("huge-length", NULL, CRIO_E_EXHAUSTED, NULL);
	expect("huge-headers", NULL, CRIO_E_EXHAUSTED, "headers");
	expect("bad-json", NULL, CRIO_E_CORRUPT, NULL);
	expect("nul", NULL, CRIO_E_CORRUPT, NULL);
	expect("depth", NULL, CRIO_E_CORRUPT, NULL);
	expect("ambiguous", NULL, CRIO_E_INVALID, "ambiguous");
	expect("type-clash", NULL, CRIO_E_INVALID, "disagree");
	expect("schema1", NULL, CRIO_E_UNSUPPORTED, "schema 1");
	expect("index-deep", NULL, CRIO_E_EXHAUSTED, NULL);
	expect("index-many", NULL, CRIO_E_EXHAUSTED, NULL);
	expect("index-other", NULL, CRIO_E_NOT_FOUND, "plan9/vax");
}

static void test_blobs(void **state)
{
	(void)state;
	expect("truncated", NULL, CRIO_E_UNAVAILABLE, NULL);
	assert_in_range(ask(port, "/_/count/truncated"), 3, 8);
	expect("no-range", NULL, 0, NULL); /* the rest again from the start */
	expect("wrong-digest", NULL, CRIO_E_CORRUPT, "digest");
	expect("size-short", NULL, CRIO_E_CORRUPT, "bytes instead of");
	expect("size-long", NULL, CRIO_E_CORRUPT, "bytes instead of");
	expect("size-chunked", NULL, CRIO_E_CORRUPT, "bytes instead of");
	expect("500-loop", NULL, CRIO_E_UNAVAILABLE, "500");
	assert_int_equal(ask(port, "/_/count/500-loop"), 3);
}

static void test_digest(void **state)
{
	cleanup_free char *good = path_fmt("127.0.0.1:%u/good@sha256:%064d", port, 0),
			  *wrong = path_fmt("127.0.0.1:%u/wrong-manifest", port);
	crio_err e = ERR_INIT;

	(void)state;
	assert_int_equal(fetch_ref(good, NULL, NULL, &e), CRIO_E_CORRUPT);
	err_clear(&e);
	assert_int_equal(
	    fetch_ref(wrong, NULL, "sha256:0000000000000000000000000000000000000000000000000000000000000001", &e),
	    CRIO_E_CORRUPT);
	err_clear(&e);
}

static void test_slow(void **state)
{
	int64_t from = now_mono_ns();

	(void)state;
	expect("hang", NULL, CRIO_E_UNAVAILABLE, "no answer");
	expect("hang-body", NULL, CRIO_E_UNAVAILABLE, "less than");
	expect("slow", NULL, CRIO_E_UNAVAILABLE, "less than");
	assert_true(now_mono_ns() - from < 30000 * MS);
}

static void test_unreachable(void **state)
{
	crio_err e = ERR_INIT;
	cleanup_free char *mirrored = path_fmt("mirrored.example/good");

	(void)state;
	assert_int_equal(fetch_ref("127.0.0.1:1/x", NULL, NULL, &e), CRIO_E_ABORTED);
	err_clear(&e);
	assert_int_equal(fetch_ref(mirrored, NULL, NULL, &e), 0); /* the mirror is down: its master has it */
	err_clear(&e);
}

static void cancel_later(void *arg)
{
	call_cancel(arg);
}

static void *cancel_thread(void *arg)
{
	struct timespec t = {0, 100 * MS};

	nanosleep(&t, NULL);
	cancel_later(arg);
	return NULL;
}

/* A call that is cancelled, or at its deadline, does not wait for the server. */
static void test_cancel(void **state)
{
	cleanup_free char *url = path_fmt("http://127.0.0.1:%u/v2/hang/manifests/latest", port);
	struct http_args a = {.method = "GET", .url = url};
	struct http_xfer *x = NULL;
	cleanup_call crio_call *cancelled = new_call(60000), *late = new_call(100);
	int64_t from = now_mono_ns();
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, cancel_thread, cancelled), 0);
	assert_int_equal(http_open(http, cancelled, &a, &x, NULL, NULL), CRIO_E_CANCELLED);
	pthread_join(t, NULL);
	assert_int_equal(http_open(http, late, &a, &x, NULL, NULL), CRIO_E_DEADLINE);
	assert_true(now_mono_ns() - from < 1500 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),      cmocka_unit_test(test_auth),	  cmocka_unit_test(test_redirects),
	    cmocka_unit_test(test_documents), cmocka_unit_test(test_blobs),	  cmocka_unit_test(test_digest),
	    cmocka_unit_test(test_slow),      cmocka_unit_test(test_unreachable), cmocka_unit_test(test_cancel),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("image registry", tests, setup, teardown);
}
