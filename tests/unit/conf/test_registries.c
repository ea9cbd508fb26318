/* test_registries.c: registries.conf in both formats, drop-ins, and what names resolve to. */
#include "tests/unit/conf/tmp.h"

#include "core/conf/registries.h"
#include "core/util/log.h"

static struct registries *load(const char *text)
{
	cleanup_err crio_err err = ERR_INIT;
	struct registries *r = NULL;

	if (registries_load(tmp_text("registries.conf", text), tmp_path("registries.conf.d"), &r, &err) < 0)
		fail_msg("%s", err_text(&err));
	return r;
}

static void refused(const char *text, const char *why)
{
	cleanup_err crio_err err = ERR_INIT;
	struct registries *r = NULL;

	assert_true(registries_load(tmp_text("registries.conf", text), "", &r, &err) < 0);
	if (!strstr(err_text(&err), why) || !strstr(err_text(&err), "registries.conf:"))
		fail_msg("\"%s\" lacks \"%s\" or the place", err_text(&err), why);
}

/* "host/repo" of each endpoint, '!' for insecure, '~' for a mirror, joined by blanks. */
static void resolves(const struct registries *r, const char *name, bool digest, const char *expected)
{
	cleanup_endpoints struct registry_endpoints e = { 0 };
	cleanup_err crio_err err = ERR_INIT;
	cleanup_buf struct buf b = BUF_INIT;

	if (registries_resolve(r, name, digest, &e, &err) < 0)
		fail_msg("%s", err_text(&err));
	for (size_t i = 0; i < e.n; i++)
		buf_addf(&b, "%s%s/%s%s%s", i ? " " : "", e.v[i].host, e.v[i].repo, e.v[i].insecure ? "!" : "", e.v[i].mirror ? "~" : "");
	assert_string_equal(b.p, expected);
}

static void candidates(const struct registries *r, const char *name, bool enforcing, const char *expected)
{
	cleanup_strv struct strv l = STRV_INIT;
	cleanup_buf struct buf b = BUF_INIT;

	assert_int_equal(registries_candidates(r, name, enforcing, &l, NULL), 0);
	for (size_t i = 0; i < l.n; i++)
		buf_addf(&b, "%s%s", i ? " " : "", l.v[i]);
	assert_string_equal(b.p, expected);
}

static void nothing(void **state)
{
	struct registries *r = load("");

	(void)state;
	resolves(r, "docker.io/library/busybox", false, "docker.io/library/busybox");
	resolves(r, "localhost:5000/a/b", false, "localhost:5000/a/b");
	assert_int_equal(registries_resolve(r, "busybox", false, &(struct registry_endpoints){ 0 }, NULL), CRIO_E_INVALID);
	assert_int_equal(registries_candidates(r, "busybox", false, &(struct strv){ 0 }, NULL), CRIO_E_INVALID);
	candidates(r, "docker.io/busybox", true, "docker.io/library/busybox");
	candidates(r, "index.docker.io/a/b", true, "docker.io/a/b");
	candidates(r, "quay.io/x", true, "quay.io/x");
	registries_unref(r);
}

static const char full[] =
	"unqualified-search-registries = [\"docker.io\", \"quay.io\"]\nshort-name-mode = \"permissive\"\n"
	"[[registry]]\nprefix = \"example.com/ns\"\nlocation = \"internal.example.net/other/\"\ninsecure = true\n"
	"[[registry.mirror]]\nlocation = \"m1.example.net:5000/x\"\n[[registry.mirror]]\nlocation = \"m2.example.net\"\ninsecure = true\n"
	"pull-from-mirror = \"digest-only\"\n[[registry.mirror]]\nlocation = \"m3.example.net\"\npull-from-mirror = \"tag-only\"\n"
	"[[registry]]\nlocation = \"example.com\"\n"
	"[[registry]]\nprefix = \"*.wild.org\"\ninsecure = true\n[[registry.mirror]]\nlocation = \"wm.org/w\"\n"
	"[[registry]]\nlocation = \"bad.com\"\nblocked = true\n"
	"[[registry]]\nlocation = \"digest.com\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"dm.com\"\n"
	"[aliases]\nfedora = \"registry.fedoraproject.org/fedora\"\n\"a/b\" = \"docker.io/b\"\n";

static void resolution(void **state)
{
	struct registries *r = load(full);

	(void)state;
	assert_int_equal(r->short_mode, REGISTRY_SHORT_PERMISSIVE);
	resolves(r, "example.com/ns/img", false, "m1.example.net:5000/x/img~ m3.example.net/img~ internal.example.net/other/img!");
	resolves(r, "example.com/ns/img", true, "m1.example.net:5000/x/img~ m2.example.net/img!~ internal.example.net/other/img!");
	resolves(r, "example.com/nsx/img", false, "example.com/nsx/img"); /* not at a component's end */
	resolves(r, "example.com.evil.org/ns/img", false, "example.com.evil.org/ns/img");
	resolves(r, "a.b.wild.org/i", false, "wm.org/w/i~ a.b.wild.org/i!");
	resolves(r, "wild.org/i", false, "wild.org/i");
	resolves(r, "x.org/a.wild.org/i", false, "x.org/a.wild.org/i");
	resolves(r, "digest.com/i", false, "digest.com/i");
	resolves(r, "digest.com/i", true, "dm.com/i~ digest.com/i");
	assert_int_equal(registries_resolve(r, "bad.com/i", false, &(struct registry_endpoints){ 0 }, NULL), CRIO_E_DENIED);
	candidates(r, "fedora", true, "registry.fedoraproject.org/fedora");
	candidates(r, "a/b", true, "docker.io/library/b");
	candidates(r, "nginx", false, "docker.io/library/nginx quay.io/nginx");
	candidates(r, "u/nginx", false, "docker.io/u/nginx quay.io/u/nginx");
	assert_int_equal(registries_candidates(r, "nginx", true, &(struct strv){ 0 }, NULL), CRIO_E_INVALID);
	assert_int_equal(registries_candidates(r, "", false, &(struct strv){ 0 }, NULL), CRIO_E_INVALID);
	assert_ptr_equal(registries_ref(r), r);
	registries_unref(r);
	registries_unref(r);
}

static void drop_ins(void **state)
{
	struct registries *r;

	(void)state;
	(void)tmp_text("registries.conf.d/10-a.conf", "unqualified-search-registries = [\"one.org\"]\n[[registry]]\nlocation = \"example.com\"\n"
						      "insecure = true\n[aliases]\nfedora = \"\"\nx = \"y.org/x\"\n");
	(void)tmp_text("registries.conf.d/20-b.txt", "nonsense");
	r = load(full);
	candidates(r, "nginx", true, "one.org/nginx");
	candidates(r, "fedora", true, "one.org/fedora");
	candidates(r, "x", true, "y.org/x");
	resolves(r, "example.com/z", false, "example.com/z!");
	assert_int_equal(r->files.n, 2);
	registries_unref(r);
	(void)tmp_text("registries.conf.d/30.conf", "[registries.search]\nregistries = [\"a.org\"]\n");
	r = NULL;
	assert_int_equal(registries_load(tmp_path("registries.conf"), tmp_path("registries.conf.d"), &r, NULL), CRIO_E_INVALID);
}

static void format_1(void **state)
{
	struct registries *r = load("[registries.search]\nregistries = [\"docker.io\"]\n[registries.insecure]\nregistries = [\"lab:5000\"]\n"
				    "[registries.block]\nregistries = [\"bad.com\"]\n");

	(void)state;
	candidates(r, "nginx", true, "docker.io/library/nginx");
	resolves(r, "lab:5000/a", false, "lab:5000/a!");
	assert_int_equal(registries_resolve(r, "bad.com/a", false, &(struct registry_endpoints){ 0 }, NULL), CRIO_E_DENIED);
	registries_unref(r);
}

static void bad_files(void **state)
{
	(void)state;
	refused("[registries.search]\nregistries = [\"a.org\"]\n[[registry]]\nlocation = \"b.org\"\n", "mixing");
	refused("[[registry]]\nprefix = \"a.org\"\n", "location is unset");
	refused("[[registry]]\ninsecure = true\n", "must be set");
	refused("[[registry]]\nlocation = \"https://a.org\"\n", "schemes");
	refused("[[registry]]\nlocation = \"a.org\"\ninsecure = \"yes\"\n", "expected a boolean");
	refused("[[registry]]\nlocation = \"a.org\"\n[[registry.mirror]]\ninsecure = true\n", "location must be set");
	refused("[[registry]]\nlocation = \"a.org\"\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"x\"\n", "digest-only");
	refused("[[registry]]\nlocation = \"a.org\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"m\"\n"
		"pull-from-mirror = \"all\"\n", "mirror-by-digest-only");
	refused("[registry]\nlocation = \"a.org\"\n", "array of tables");
	refused("unqualified-search-registries = [\"a.org/ns\"]\n", "host[:port]");
	refused("unqualified-search-registries = \"a.org\"\n", "list of strings");
	refused("short-name-mode = \"maybe\"\n", "enforcing");
	refused("[aliases]\nx = \"y\"\n", "aliases");
	refused("[aliases]\nx = \"y.org/x:tag\"\n", "aliases");
	refused("[aliases]\n\"a.org/x\" = \"y.org/x\"\n", "aliases");
	refused("[[registry]]\nprefix = \"a.*.org\"\nlocation = \"x\"\n[[registry]]\nprefix = \"*org\"\nlocation = \"x\"\n", "'*'");
	refused("[[registry\n", "unable to decode");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, tmp_make, tmp_remove)
int main(void)
{
	const struct CMUnitTest tests[] = { TEST(nothing), TEST(resolution), TEST(drop_ins), TEST(format_1), TEST(bad_files) };

	log_set_level(LOGL_FATAL);
	return cmocka_run_group_tests_name("registries", tests, NULL, NULL);
}
