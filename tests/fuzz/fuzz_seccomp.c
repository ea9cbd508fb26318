/* fuzz_seccomp.c: seccomp profiles. What is taken becomes a document of the OCI's form, which is a profile as well. */
#include <stdint.h>

#include "core/lifecycle/caps.h"
#include "core/lifecycle/seccomp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool ok)
{
	if (!ok)
		__builtin_trap();
}

static void check(const struct json_object *oci)
{
	struct json_object *rows = json_arr(oci, "syscalls");
	cleanup_json struct json_object *again = NULL;
	cleanup_free char *text = json_text(oci);

	must(*json_str(oci, "defaultAction") != 0);
	for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
		const struct json_object *row = json_object_array_get_idx(rows, i);

		must(*json_str(row, "action") && json_arr(row, "names") && json_object_array_length(json_arr(row, "names")) > 0);
		must(!json_get(row, "includes") && !json_get(row, "excludes"));
	}
	must(text && seccomp_profile_parse(text, strlen(text), &again, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint64_t sets[] = {0, UINT64_MAX, CAP_BIT(21), CAP_BIT(0) | CAP_BIT(12)};
	cleanup_json struct json_object *p = NULL;
	crio_err e = ERR_INIT;

	if (n > SECCOMP_FILE_MAX || seccomp_profile_parse((const char *)data, n, &p, &e) < 0) {
		must(n > SECCOMP_FILE_MAX || (*err_text(&e) && !p));
		err_clear(&e);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		cleanup_json struct json_object *oci = NULL;

		if (seccomp_to_oci(p, sets[i], &oci, &e) == 0)
			check(oci);
		else
			must(*err_text(&e) != 0);
		err_clear(&e);
	}
	return 0;
}
