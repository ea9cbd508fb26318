/* test_hostport.c: names that other programs must find again. The rules themselves: tests/integration/hostports.bats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/lifecycle/hostport_rules.h"

/* Made with Python's base64.b32encode(hashlib.sha256(text).digest())[:16]. */
static void test_hash(void **state)
{
	char h[HOSTPORT_HASH_N + 1];

	(void)state;
	hostport_hash("abc", h);
	assert_string_equal(h, "XJ4BNP4PAHH6UQKB");
	hostport_hash("8e9f1c3dd1f4a0b7c2e5a60d3f2b19e7c4d8a5b6f7e8091a2b3c4d5e6f708192", h);
	assert_string_equal(h, "FICPOAR55OJHVW3F");
}

static void refused(int32_t host, int32_t container, const char *ip, const char *text)
{
	struct port_mapping m = {.host_port = host, .container_port = container, .host_ip = (char *)(uintptr_t)ip};
	struct strv ips = STRV_INIT;
	cleanup_err crio_err err = ERR_INIT;
	cleanup_call crio_call *call = call_new("test", 0);

	assert_int_equal(strv_add(&ips, "10.0.0.1"), 0);
	assert_int_equal(hostport_add(call, "id", "name", &ips, &m, 1, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), text));
	strv_release(&ips);
}

static void test_refused(void **state)
{
	(void)state;
	refused(65536, 80, "", "65536");
	refused(80, 0, "", "port 0");
	refused(80, 70000, "", "70000");
	refused(80, 80, "10.0.0.1; flush ruleset", "flush ruleset");
	refused(80, 80, "localhost", "is no address");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_hash), cmocka_unit_test(test_refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
