/* fuzz_reference.c: image names. What is taken must be taken again, unchanged, in its full form. */
#include <stdint.h>

#include "core/image/http.h"
#include "core/image/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok)
{
	if (!ok)
		__builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleanup_free char *text = strndup((const char *)data, n);
	cleanup_reference struct reference a = REFERENCE_INIT, b = REFERENCE_INIT;
	cleanup_free char *one = NULL, *two = NULL;
	cleanup_url struct url u = {0};
	crio_err e = ERR_INIT;

	if (!text)
		return 0;
	(void)reference_is_short(text);
	(void)reference_domain_ok(text);
	if (url_parse(text, NULL, &u, NULL) == 0)
		must(str_eq(u.scheme, "http") || str_eq(u.scheme, "https"));
	if (reference_parse(text, &a, &e) < 0) {
		must(*err_text(&e) != 0);
		err_clear(&e);
		return 0;
	}
	must(strlen(a.path) <= REF_PATH_MAX && strlen(a.tag) <= REF_TAG_MAX);
	must(!strstr(a.path, "..") && a.path[0] != '/' && reference_domain_ok(a.domain));
	one = reference_text(&a);
	must(one && reference_parse(one, &b, NULL) == 0);
	two = reference_text(&b);
	must(two && str_eq(one, two));
	return 0;
}
