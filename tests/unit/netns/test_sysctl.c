/* What may be set, and the texts of resolv.conf, hosts and hostname. No privileges needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/lifecycle/netns.h"
#include "core/lifecycle/resolv.h"
#include "core/util/fs.h"
#include "tests/tmp.h"

static int check(const char *name, const char *value)
{
	crio_err err = ERR_INIT;
	int r = sysctl_check(name, value, true, true, &err);

	if (r < 0) {
		assert_int_equal(r, CRIO_E_INVALID);
		assert_true(str_set(err_text(&err)));
	}
	err_clear(&err);
	return r;
}

static void allowed(void **state)
{
	(void)state;
	assert_int_equal(check("net.ipv4.ip_forward", "1"), 0);
	assert_int_equal(check("net/ipv4/conf/eth0.100/forwarding", "1"), 0);
	assert_int_equal(check("net.ipv4.conf.eth0/100.forwarding", "1"), 0);
	assert_int_equal(check("net.ipv4.ip_local_port_range", "1024 65000"), 0);
	assert_int_equal(check("net.ipv4.tcp_rmem", "4096\t131072\t6291456"), 0);
	assert_int_equal(check("kernel.sem", "250 32000 32 128"), 0);
	assert_int_equal(check("kernel.shm_rmid_forced", "1"), 0);
	assert_int_equal(check("kernel.shmmax", "68719476736"), 0);
	assert_int_equal(check("kernel.msgmax", "65536"), 0);
	assert_int_equal(check("fs.mqueue.msg_max", "100"), 0);
}

static void refused(void **state)
{
	static const char *const names[] = {
	    "kernel.core_pattern",
	    "kernel.semx",
	    "kernel.sem.x",
	    "kernel",
	    "kernel.",
	    "vm.overcommit_memory",
	    "fs.mqueue",
	    "fs.mqueue.",
	    "fs.file-max",
	    "net",
	    "net.",
	    "netx.a",
	    "",
	    ".",
	    "..",
	    "net..ipv4",
	    "net.ipv4.",
	    ".net.ipv4",
	    "net/../kernel/core_pattern",
	    "net/./x",
	    "net.ipv4.ip_forward=1",
	    "net.ipv4+kernel.core_pattern",
	    "net.ipv4 x",
	    "net.ipv4\nx",
	    "net.ipv4\tx",
	    "net.ipv\xc3\xa4",
	    "kernel.shm\x01",
	    "NET.ipv4.x",
	    "/net/ipv4",
	    "kernel.shm*",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (check(names[i], "1") == 0)
			fail_msg("'%s' was allowed", names[i]);
	}
}

static void bad_values(void **state)
{
	static const char *const values[] = {
	    "",	   " ",	  " 1",	  "1 ",	   "\t1", "1\n", "1\n2", "1\r", "1+kernel.core_pattern=|/bin/x",
	    "1+2", "a=b", "\x7f", "1\x01", "\xc3\xa4",
	};
	char longest[2048];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		if (check("net.ipv4.ip_forward", values[i]) == 0)
			fail_msg("value %zu was allowed", i);
	}
	memset(longest, '1', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(check("net.ipv4.ip_forward", longest), CRIO_E_INVALID);
	memcpy(longest, "net.", 4);
	assert_int_equal(check(longest, "1"), CRIO_E_INVALID);
}

static void host_namespaces(void **state)
{
	cleanup_err crio_err err = ERR_INIT;

	(void)state;
	assert_int_equal(sysctl_check("net.ipv4.ip_forward", "1", false, true, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "not allowed with host net enabled"));
	assert_int_equal(sysctl_check("kernel.shmmax", "1", true, false, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "not allowed with host ipc enabled"));
	assert_int_equal(sysctl_check("fs.mqueue.msg_max", "1", true, false, NULL), CRIO_E_INVALID);
	assert_int_equal(sysctl_check("kernel.shmmax", "1", false, true, NULL), 0);
	assert_int_equal(sysctl_check("net.ipv4.ip_forward", "1", true, false, NULL), 0);
}

static void parse(void **state)
{
	cleanup_kvs struct kvs m = KVS_INIT;

	(void)state;
	assert_int_equal(sysctl_parse("", &m, NULL), 0);
	assert_int_equal(sysctl_parse("net.ipv4.ip_forward=1", &m, NULL), 0);
	assert_int_equal(sysctl_parse("kernel.sem=250 32000 32 128", &m, NULL), 0);
	assert_int_equal(sysctl_parse("net.ipv4.ping_group_range=0   2147483647", &m, NULL), 0);
	assert_int_equal(sysctl_parse("net.ipv4.ip_forward = 1", &m, NULL), CRIO_E_INVALID);
	assert_int_equal(sysctl_parse("net.ipv4.ip_forward", &m, NULL), CRIO_E_INVALID);
	assert_int_equal(sysctl_parse("=1", &m, NULL), CRIO_E_INVALID);
	assert_int_equal(sysctl_parse("net.ipv4.ip_forward=", &m, NULL), CRIO_E_INVALID);
	assert_int_equal(sysctl_parse("net.ipv4.ip_forward=1=2", &m, NULL), CRIO_E_INVALID);
	assert_int_equal(sysctl_parse("kernel.core_pattern=x", &m, NULL), CRIO_E_INVALID);
	assert_int_equal(m.n, 3);
	assert_string_equal(kvs_get(&m, "net.ipv4.ip_forward"), "1");
	assert_string_equal(kvs_get(&m, "kernel.sem"), "250 32000 32 128");
}

static void resolv(void **state)
{
	cleanup_strv struct strv servers = STRV_INIT, searches = STRV_INIT, options = STRV_INIT, none = STRV_INIT,
				 bad = STRV_INIT;
	cleanup_free char *text = NULL;

	(void)state;
	assert_int_equal(strv_add(&servers, "10.96.0.10"), 0);
	assert_int_equal(strv_add(&servers, "fd00::10"), 0);
	assert_int_equal(strv_add(&searches, "default.svc.cluster.local"), 0);
	assert_int_equal(strv_add(&searches, "svc.cluster.local"), 0);
	assert_int_equal(strv_add(&options, "ndots:5"), 0);
	assert_int_equal(resolv_text(&servers, &searches, &options, NULL, &text, NULL), 0);
	assert_string_equal(
	    text, "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\nnameserver fd00::10\n"
		  "options ndots:5\n");
	free(move_ptr(text));
	assert_int_equal(resolv_text(&none, &none, &options, NULL, &text, NULL), 0);
	assert_string_equal(text, "options ndots:5\n");
	free(move_ptr(text));
	assert_int_equal(strv_add(&bad, "a\nnameserver 6.6.6.6"), 0);
	assert_int_equal(resolv_text(&bad, &none, &none, NULL, &text, NULL), CRIO_E_INVALID);
	assert_int_equal(resolv_text(&servers, &bad, &none, NULL, &text, NULL), CRIO_E_INVALID);
	assert_int_equal(resolv_text(&servers, &none, &bad, NULL, &text, NULL), CRIO_E_INVALID);
	strv_clear(&bad);
	assert_int_equal(strv_add(&bad, ""), 0);
	assert_int_equal(resolv_text(&servers, &bad, &none, NULL, &text, NULL), CRIO_E_INVALID);
	assert_null(text);
}

static void resolv_of_node(void **state)
{
	cleanup_strv struct strv none = STRV_INIT;
	cleanup_free char *text = NULL;
	char dir[TEST_TMP_N], path[TEST_TMP_N + 16];

	(void)state;
	assert_non_null(test_tmp(dir, "resolv"));
	(void)snprintf(path, sizeof(path), "%s/resolv.conf", dir);
	assert_int_equal(resolv_text(&none, &none, &none, path, &text, NULL), 0);
	assert_string_equal(text, "");
	free(move_ptr(text));
	assert_int_equal(fs_write_path(path, "nameserver 1.1.1.1\n", 19, 0644, FS_RUN, NULL), 0);
	assert_int_equal(resolv_text(&none, &none, &none, path, &text, NULL), 0);
	assert_string_equal(text, "nameserver 1.1.1.1\n");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void hostnames(void **state)
{
	cleanup_strv struct strv ips = STRV_INIT;
	cleanup_free char *text = NULL;
	char name[80];

	(void)state;
	assert_int_equal(hostname_text("web-0", &text, NULL), 0);
	assert_string_equal(text, "web-0\n");
	free(move_ptr(text));
	assert_int_equal(hostname_check("", NULL), CRIO_E_INVALID);
	assert_int_equal(hostname_check("a b", NULL), CRIO_E_INVALID);
	assert_int_equal(hostname_check("a\n10.0.0.1 db", NULL), CRIO_E_INVALID);
	assert_int_equal(hostname_check("a/b", NULL), CRIO_E_INVALID);
	memset(name, 'a', sizeof(name));
	name[64] = '\0';
	assert_int_equal(hostname_check(name, NULL), 0);
	name[64] = 'a';
	name[65] = '\0';
	assert_int_equal(hostname_check(name, NULL), CRIO_E_INVALID);
	assert_int_equal(strv_add(&ips, "10.88.0.5"), 0);
	assert_int_equal(strv_add(&ips, "fd00::5"), 0);
	assert_int_equal(hosts_text(&ips, "web-0", &text, NULL), 0);
	assert_non_null(strstr(text, "127.0.0.1\tlocalhost\n"));
	assert_non_null(strstr(text, "\n10.88.0.5\tweb-0\nfd00::5\tweb-0\n"));
	free(move_ptr(text));
	assert_int_equal(strv_add(&ips, "10.0.0.1 evil"), 0);
	assert_int_equal(hosts_text(&ips, "web-0", &text, NULL), CRIO_E_INVALID);
	assert_int_equal(hosts_text(&ips, "web 0", &text, NULL), CRIO_E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(allowed),	       cmocka_unit_test(refused),   cmocka_unit_test(bad_values),
	    cmocka_unit_test(host_namespaces), cmocka_unit_test(parse),	    cmocka_unit_test(resolv),
	    cmocka_unit_test(resolv_of_node),  cmocka_unit_test(hostnames),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
