/* fuzz_image.c: documents and headers that registries send. The first byte says which. */
#include <stdint.h>

#include "core/image/images_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void one_manifest(const char *text, size_t n)
{
	cleanup_manifest struct manifest m = {0};
	struct platform here;
	size_t i;

	platform_here(&here);
	if (manifest_parse(text, n, "", &m, NULL) == 0 && m.index)
		(void)manifest_choose(&m, &here, &i, NULL);
}

static void one_config(const char *text, size_t n)
{
	cleanup_strv struct strv ids = STRV_INIT;
	struct image *im = image_new("00");

	if (im)
		(void)image_config_parse(text, n, im, &ids, NULL);
	image_unref(im);
}

static void one_header(const char *text, size_t n)
{
	cleanup_strv struct strv h = STRV_INIT;
	cleanup_challenge struct challenge c = {0};

	if (strv_addn(&h, text, n) == 0)
		(void)challenge_pick(&h, &c, NULL);
}

static void one_auth(const char *text, size_t n)
{
	cleanup_cred struct cred c = {0};
	cleanup_free char *helper = NULL;

	if (cred_init(&c) == 0)
		(void)auth_find_in_text(text, n, "docker.io/library/busybox", n & 1, &c, &helper, NULL);
}

static void one_policy(const char *text, size_t n)
{
	struct reference r = {(char *)(uintptr_t) "a.b.c:5000", (char *)(uintptr_t) "x/y", (char *)(uintptr_t) "t",
			      (char *)(uintptr_t) ""};

	(void)policy_check_text(text, n, &r, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *text = (const char *)data + 1;

	if (!n)
		return 0;
	n--;
	switch (data[0]) {
	case 'm':
		one_manifest(text, n);
		break;
	case 'c':
		one_config(text, n);
		break;
	case 'h':
		one_header(text, n);
		break;
	case 'a':
		one_auth(text, n);
		break;
	case 'p':
		one_policy(text, n);
		break;
	default:
		break;
	}
	return 0;
}
