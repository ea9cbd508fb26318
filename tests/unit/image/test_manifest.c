/* test_manifest.c: manifests, indexes, platforms, configs: what is taken and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/image/images_priv.h"

#define D "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define CONFIG "\"config\":{\"mediaType\":\"" MT_OCI_CONFIG "\",\"digest\":\"" D "\",\"size\":2}"
#define LAYER "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"" D "\",\"size\":7}"

static int parse(const char *text, const char *type, struct manifest *m)
{
	crio_err e = ERR_INIT;
	int r;

	memset(m, 0, sizeof(*m));
	r = manifest_parse(text, strlen(text), type, m, &e);
	if (r < 0 && !*err_text(&e))
		fail_msg("no message");
	err_clear(&e);
	return r;
}

static void test_image(void **state)
{
	struct manifest m;

	(void)state;
	assert_int_equal(parse("{\"schemaVersion\":2," CONFIG ",\"layers\":[" LAYER "," LAYER
			       "],\"annotations\":{\"a\":\"b\"}}",
			       "", &m),
			 0);
	assert_false(m.index);
	assert_string_equal(m.media_type, MT_OCI_MANIFEST);
	assert_int_equal(m.n_layers, 2);
	assert_int_equal(m.layers[1].size, 7);
	assert_string_equal(kvs_get(&m.annotations, "a"), "b");
	manifest_release(&m);
	/* A general Content-Type decides nothing. */
	assert_int_equal(parse("{\"schemaVersion\":2,\"mediaType\":\"" MT_DOCKER_MANIFEST "\"," CONFIG
			       ",\"layers\":[]}",
			       "application/json", &m),
			 0);
	assert_string_equal(m.media_type, MT_DOCKER_MANIFEST);
	manifest_release(&m);
}

static void refused(const char *text, const char *type, int code)
{
	struct manifest m;
	int r = parse(text, type, &m);

	if (r != code)
		fail_msg("%s: %d instead of %d", text, r, code);
	manifest_release(&m);
}

static void test_refused(void **state)
{
	(void)state;
	refused("", "", CRIO_E_CORRUPT);
	refused("[]", "", CRIO_E_CORRUPT);
	refused("{", "", CRIO_E_CORRUPT);
	refused("{}", "", CRIO_E_CORRUPT);
	refused("{\"schemaVersion\":2," CONFIG ",\"layers\":[],\"manifests\":[]}", "", CRIO_E_INVALID);
	refused("{\"schemaVersion\":2,\"mediaType\":\"" MT_OCI_INDEX "\"," CONFIG ",\"layers\":[]}", MT_OCI_MANIFEST,
		CRIO_E_INVALID);
	refused("{\"schemaVersion\":2,\"mediaType\":\"" MT_OCI_MANIFEST "\"," CONFIG ",\"layers\":[]}",
		MT_DOCKER_MANIFEST, CRIO_E_INVALID);
	refused("{\"schemaVersion\":2," CONFIG ",\"layers\":[]}", MT_OCI_INDEX, CRIO_E_CORRUPT);
	refused("{\"schemaVersion\":2,\"manifests\":[]}", MT_OCI_MANIFEST, CRIO_E_CORRUPT);
	refused("{\"schemaVersion\":1,\"fsLayers\":[]}", "", CRIO_E_UNSUPPORTED);
	refused("{\"schemaVersion\":1}", "application/vnd.docker.distribution.manifest.v1+prettyjws",
		CRIO_E_UNSUPPORTED);
	refused("{\"schemaVersion\":3," CONFIG ",\"layers\":[]}", "", CRIO_E_CORRUPT);
	refused("{\"schemaVersion\":2,\"layers\":[]}", "", CRIO_E_CORRUPT);
	refused("{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"sha256:../../etc\",\"size\":1}]}", "",
		CRIO_E_CORRUPT);
	refused("{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"" D "\",\"size\":-1}]}", "", CRIO_E_CORRUPT);
	refused("{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"" D "\",\"size\":1e99}]}", "",
		CRIO_E_CORRUPT);
	refused("{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"" D "\"}]}", "", CRIO_E_CORRUPT);
	refused("{\"schemaVersion\":2," CONFIG ",\"layers\":[1]}", "", CRIO_E_CORRUPT);
	refused("{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"" D "\",\"size\":999999999999999}]}", "",
		CRIO_E_EXHAUSTED);
	refused("{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"" D
		"\",\"size\":2},\"layers\":[]}",
		"", CRIO_E_UNSUPPORTED);
	refused("{\"schemaVersion\":2,\"config\":{\"digest\":\"" D "\",\"size\":99999999},\"layers\":[]}", "",
		CRIO_E_EXHAUSTED);
}

static void test_many(void **state)
{
	CLEANUP(buf_release) struct buf b = BUF_INIT;
	struct manifest m;

	(void)state;
	buf_adds(&b, "{\"schemaVersion\":2," CONFIG ",\"layers\":[" LAYER);
	for (int i = 0; i < MANIFEST_LAYERS_MAX; i++)
		buf_adds(&b, "," LAYER);
	buf_adds(&b, "]}");
	assert_int_equal(parse(b.p, "", &m), CRIO_E_EXHAUSTED);
	manifest_release(&m);
}

static struct manifest index_of(const char *const *platforms)
{
	CLEANUP(buf_release) struct buf b = BUF_INIT;
	struct manifest m;

	buf_adds(&b, "{\"schemaVersion\":2,\"manifests\":[");
	for (size_t i = 0; platforms[i]; i++)
		buf_addf(&b, "%s{\"digest\":\"" D "\",\"size\":5%s%s}", i ? "," : "",
			 *platforms[i] ? ",\"platform\":" : "", platforms[i]);
	buf_adds(&b, "]}");
	assert_int_equal(parse(b.p, "", &m), 0);
	assert_true(m.index);
	return m;
}

static void choose(const char *const *platforms, const char *arch, const char *variant, int want)
{
	struct manifest m = index_of(platforms);
	struct platform p = {(char *)(uintptr_t) "linux", (char *)(uintptr_t)arch, (char *)(uintptr_t)variant};
	size_t i = 99;
	int r = manifest_choose(&m, &p, &i, NULL);

	if (want < 0)
		assert_int_equal(r, CRIO_E_NOT_FOUND);
	else
		assert_int_equal(r == 0 ? (int)i : -1, want);
	manifest_release(&m);
}

#define P(arch) "{\"os\":\"linux\",\"architecture\":\"" arch "\"}"
#define PV(arch, v) "{\"os\":\"linux\",\"architecture\":\"" arch "\",\"variant\":\"" v "\"}"

static void test_platform(void **state)
{
	static const char *const all[] = {
	    PV("arm", "v5"), PV("arm", "v7"), PV("arm", "v6"), P("amd64"), PV("arm64", "v8"), "", NULL};
	static const char *const odd[] = {"{\"os\":\"windows\",\"architecture\":\"amd64\"}", PV("amd64", "v3"),
					  PV("amd64", "v1"), NULL};
	static const char *const none[] = {NULL};

	(void)state;
	choose(all, "amd64", "", 3);
	choose(all, "arm64", "v8", 4);
	choose(all, "arm", "v7", 1);
	choose(all, "arm", "v6", 2);
	choose(all, "arm", "v8", 1);
	choose(all, "s390x", "", -1);
	choose(odd, "amd64", "", 2);
	choose(none, "amd64", "", -1);
}

static int config(const char *text, struct image **ret, struct strv *ids)
{
	*ret = image_new(D + 7);
	assert_non_null(*ret);
	return image_config_parse(text, strlen(text), *ret, ids, NULL);
}

static void test_config(void **state)
{
	static const char text[] =
	    "{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"2020-01-02T03:04:05Z\",\"config\":{\"User\":"
	    "\"1000:50\","
	    "\"Env\":[\"A=b\",\"C=d\"],\"Entrypoint\":[\"/e\"],\"Cmd\":null,\"WorkingDir\":\"/"
	    "w\",\"StopSignal\":\"SIGINT\","
	    "\"Volumes\":{\"/b\":{},\"/a\":{}},\"ExposedPorts\":{\"80/tcp\":{}},\"Labels\":{\"k\":\"v\"}},"
	    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D "\"]}}";
	cleanup_strv struct strv ids = STRV_INIT;
	struct image *im;

	(void)state;
	assert_int_equal(config(text, &im, &ids), 0);
	assert_true(im->has_uid);
	assert_int_equal(im->uid, 1000);
	assert_string_equal(im->username, "");
	assert_string_equal(im->user, "1000:50");
	assert_string_equal(im->env.v[1], "C=d");
	assert_int_equal(im->cmd.n, 0);
	assert_string_equal(im->volumes.v[0], "/a");
	assert_string_equal(kvs_get(&im->labels, "k"), "v");
	assert_int_equal(im->created_ns, 1577934245LL * 1000000000);
	assert_int_equal(ids.n, 1);
	image_unref(im);
	assert_int_equal(config("{\"config\":{\"User\":\"www-data:x\"}}", &im, NULL), 0);
	assert_false(im->has_uid);
	assert_string_equal(im->username, "www-data");
	image_unref(im);
}

static void test_config_bad(void **state)
{
	static const char *const list[] = {"",
					   "[]",
					   "{\"config\":[]}",
					   "{\"config\":{\"Env\":\"A=b\"}}",
					   "{\"config\":{\"Env\":[1]}}",
					   "{\"config\":{\"User\":1}}",
					   "{\"config\":{\"Labels\":{\"a\":1}}}",
					   "{\"rootfs\":{\"diff_ids\":[\"sha256:12\"]}}",
					   "{\"rootfs\":{\"diff_ids\":[1]}}",
					   "{\"rootfs\":1}",
					   "{\"config\":{\"User\":\"a\\u0000b\"}}",
					   "{\"os\":7}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
		cleanup_strv struct strv ids = STRV_INIT;
		struct image *im;

		if (config(list[i], &im, &ids) == 0)
			fail_msg("%s was taken", list[i]);
		image_unref(im);
	}
}

static void test_pins(void **state)
{
	struct conf c = {0};
	char *v[] = {(char *)(uintptr_t) "docker.io/library/exact:1", (char *)(uintptr_t) "quay.io/pre*",
		     (char *)(uintptr_t) "*word*", NULL};

	(void)state;
	c.image.pinned_images.v = v;
	c.image.pinned_images.n = 3;
	c.image.pause_image = (char *)(uintptr_t) "registry.k8s.io/pause:3.10.1";
	assert_true(pinned_match(&c, "docker.io/library/exact:1"));
	assert_false(pinned_match(&c, "docker.io/library/exact:12"));
	assert_true(pinned_match(&c, "quay.io/prefix/x:1"));
	assert_true(pinned_match(&c, "a/KeyWord/b"));
	assert_true(pinned_match(&c, "registry.k8s.io/pause:3.10.1"));
	assert_false(pinned_match(&c, "registry.k8s.io/pause:3.10"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_image),    cmocka_unit_test(test_refused), cmocka_unit_test(test_many),
	    cmocka_unit_test(test_platform), cmocka_unit_test(test_config),  cmocka_unit_test(test_config_bad),
	    cmocka_unit_test(test_pins),
	};

	return cmocka_run_group_tests_name("image manifest", tests, NULL, NULL);
}
