/* Real CNI programs: bridge, host-local, portmap, loopback. Skipped where they are not installed. */
#include "tests/plugin/network/host.h"

#define CNI_DIR "/usr/lib/cni"

static struct net_inst inst;

static void conflist(const char *file, const char *version, const char *bridge, const char *more)
{
	cleanup_free char *text =
	    path_fmt("{\"cniVersion\":\"%s\",\"name\":\"real\",\"plugins\":[{\"type\":\"bridge\",\"bridge\":\"%s\","
		     "\"isGateway\":true,"
		     "\"ipMasq\":true,\"hairpinMode\":true,\"ipam\":{\"type\":\"host-local\",\"dataDir\":\"%s/leases\","
		     "\"routes\":[{\"dst\":\"0.0.0.0/0\"},{\"dst\":\"::/0\"}],"
		     "\"ranges\":[[{\"subnet\":\"10.88.0.0/16\"}],[{\"subnet\":\"1100:200::/24\"}]]}}%s]}",
		     version, bridge, host.dir, more);

	put(text, 0644, "conf/%s", file);
}

static size_t leases(void)
{
	cleanup_free char *p = path_fmt("%s/leases/real", host.dir);
	cleanup_closedir DIR *d = opendir(p);
	size_t n = 0;

	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] == '1'; /* addresses; not lock, last_reserved_ip.* */
	return n;
}

static size_t veths(void)
{
	cleanup_free char *text = NULL;
	size_t n = 0;

	assert_int_equal(sh("ip -o link show type veth > $D/veths"), 0);
	text = slurp("veths");
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		n++;
	return n;
}

static int open_inst(void **state)
{
	(void)state;
	inst_open(&inst, "cni", "plugin_dirs", CNI_DIR, NULL);
	return 0;
}

static int close_inst(void **state)
{
	(void)state;
	inst_close(&inst);
	return sh("rm -rf $D/conf/* $D/cache/* $D/leases");
}

static void look_at_cache(const char *id, const struct crio_network_out *out)
{
	cleanup_free char *text = slurp("cache/results/real-%s-eth0", id);
	cleanup_json struct json_object *o = NULL, *result = NULL;

	assert_int_equal(json_parse(text, strlen(text), &o, NULL), 0);
	assert_string_equal(json_str(o, "kind"), "cniCacheV1");
	assert_string_equal(json_str(o, "containerId"), id);
	assert_string_equal(json_str(o, "ifName"), "eth0");
	assert_string_equal(json_str(o, "networkName"), "real");
	assert_int_equal(json_object_array_length(json_arr(o, "cniArgs")), 5);
	assert_int_equal(json_parse(out->result_json, strlen(out->result_json), &result, NULL), 0);
	assert_true(json_object_equal(json_obj(o, "result"), result));
	text = (free(text), path_fmt("printf %%s '%s' | base64 -d > $D/config", json_str(o, "config")));
	assert_int_equal(sh("%s", text), 0);
	free(text);
	text = slurp("config");
	cleanup_jsonp(&o);
	o = NULL;
	assert_int_equal(json_parse(text, strlen(text), &o, NULL), 0);
	assert_string_equal(json_str(o, "name"), "real");
	assert_int_equal(json_object_array_length(json_arr(o, "plugins")), 2);
}

static void dual_stack(void **state)
{
	struct crio_network_out out = {.size = sizeof(out)};
	struct crio_network_no_out none = {.size = sizeof(none)};
	struct crio_port_mapping port = {sizeof(port), 18080, 80, 0, "tcp", ""};
	cleanup_call crio_call *call = timed(60 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	struct pod_net pod;
	uint64_t execs;

	(void)state;
	conflist("10-real.conflist", "1.0.0", "crionet0",
		 ",{\"type\":\"portmap\",\"snat\":true,\"capabilities\":{\"portMappings\":true}}");
	inst_await(&inst, true, "");
	pod_make(&pod, "aaaa1111");
	pod.args.ports = (struct crio_port_mappings){&port, 1, sizeof(port)};
	execs = spawn_count();
	if (plugin_network_setup(inst.in, call, &pod.args, &out, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(spawn_count() - execs, 2); /* one a program of the list */
	assert_int_equal(out.ips.n, 2);
	assert_true(str_starts(out.ips.v[0], "10.88.0."));
	assert_true(str_starts(out.ips.v[1], "1100:200::"));
	look_at_cache("aaaa1111", &out);
	assert_int_equal(sh("nsenter --net=%s busybox ping -c1 -W2 127.0.0.1 >/dev/null", pod.path), 0);
	assert_int_equal(sh("nsenter --net=%s busybox ping -c1 -W2 10.88.0.1 >/dev/null", pod.path), 0);
	assert_int_equal(sh("busybox ping -c1 -W2 %s >/dev/null", out.ips.v[0]), 0);
	assert_int_equal(sh("iptables-save -t nat | grep -q 18080"), 0);
	assert_int_equal(leases(), 2);
	assert_int_equal(veths(), 1);

	pod.args.result_json = out.result_json;
	execs = spawn_count();
	assert_int_equal(plugin_network_teardown(inst.in, call, &pod.args, &none, &err), 0);
	assert_int_equal(spawn_count() - execs, 2);
	assert_int_equal(leases(), 0);
	assert_int_equal(veths(), 0);
	assert_int_not_equal(sh("iptables-save -t nat | grep -q 18080"), 0);
	assert_false(there("cache/results/real-aaaa1111-eth0"));
	assert_int_equal(plugin_network_teardown(inst.in, call, &pod.args, &none, &err), 0);
	pod_drop(&pod);
}

/* Without ports: CHECK of portmap 1.1.1 looks for the IPv4 rule in the IPv6 table as well. */
static void check(void **state)
{
	struct crio_network_out out = {.size = sizeof(out)};
	struct crio_network_no_out none = {.size = sizeof(none)};
	cleanup_call crio_call *call = timed(60 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	struct pod_net pod;

	(void)state;
	conflist("10-real.conflist", "0.4.0", "crionet4",
		 ",{\"type\":\"portmap\",\"capabilities\":{\"portMappings\":true}}");
	inst_await(&inst, true, "");
	pod_make(&pod, "eeee5555");
	assert_int_equal(plugin_network_setup(inst.in, call, &pod.args, &out, &err), 0);
	pod.args.result_json = out.result_json;
	if (plugin_network_check(inst.in, call, &pod.args, &none, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(sh("nsenter --net=%s ip addr flush dev eth0", pod.path), 0);
	assert_true(plugin_network_check(inst.in, call, &pod.args, &none, &err) < 0);
	assert_non_null(strstr(err_text(&err), "type=\"bridge\" failed (CHECK)"));
	assert_int_equal(plugin_network_teardown(inst.in, call, &pod.args, &none, &err), 0);
	assert_int_equal(leases(), 0);
	assert_int_equal(plugin_network_check(inst.in, call, &pod.args, &none, &err), CRIO_E_NOT_FOUND);
	pod_drop(&pod);
}

/* The namespace went with a reboot, the result is lost: the lease is still given back. */
static void teardown_without_namespace(void **state)
{
	struct crio_network_out out = {.size = sizeof(out)};
	struct crio_network_no_out none = {.size = sizeof(none)};
	cleanup_call crio_call *call = timed(60 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	struct pod_net pod;

	(void)state;
	conflist("10-real.conflist", "1.0.0", "crionet1", "");
	inst_await(&inst, true, "");
	for (int i = 0; i < 3; i++) {
		pod_make(&pod, "bbbb2222");
		out = (struct crio_network_out){.size = sizeof(out)};
		if (plugin_network_setup(inst.in, call, &pod.args, &out, &err) < 0)
			fail_msg("%s", err_text(&err));
		assert_int_equal(leases(), 2);
		pod.args.netns_fd = -1;
		if (i == 1) /* no record: by the configuration of today */
			gone("cache/results/real-bbbb2222-eth0");
		if (i == 2) { /* no configuration: by the record */
			gone("conf/10-real.conflist");
			inst_await(&inst, false, "no CNI configuration file in");
		}
		if (plugin_network_teardown(inst.in, call, &pod.args, &none, &err) < 0)
			fail_msg("round %d: %s", i, err_text(&err));
		assert_int_equal(leases(), 0);
		assert_int_equal(plugin_network_teardown(inst.in, call, &pod.args, &none, &err), 0);
		pod_drop(&pod);
	}
}

/* Old style: one program in a .conf, a result of 0.2.0. */
static void single_conf(void **state)
{
	struct crio_network_out out = {.size = sizeof(out)};
	struct crio_network_no_out none = {.size = sizeof(none)};
	cleanup_call crio_call *call = timed(60 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *text =
	    path_fmt("{\"cniVersion\":\"0.2.0\",\"name\":\"real\",\"type\":\"bridge\",\"bridge\":\"crionet2\","
		     "\"isGateway\":true,\"ipam\":{\"type\":\"host-local\",\"subnet\":\"10.89.0.0/16\","
		     "\"dataDir\":\"%s/leases\"}}",
		     host.dir);
	struct pod_net pod;

	(void)state;
	put(text, 0644, "conf/10-old.conf");
	put("{\"cniVersion\":\"1.0.0\",\"name\":\"lo\",\"type\":\"loopback\"}", 0644, "conf/00-loopback.conf");
	inst_await(&inst, true, "");
	pod_make(&pod, "cccc3333");
	if (plugin_network_setup(inst.in, call, &pod.args, &out, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(out.ips.n, 1);
	assert_true(str_starts(out.ips.v[0], "10.89.0."));
	assert_non_null(strstr(out.result_json, "\"ip4\""));
	/* Nothing to run before 0.4.0. */
	if (plugin_network_check(inst.in, call, &pod.args, &none, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(plugin_network_teardown(inst.in, call, &pod.args, &none, &err), 0);
	assert_int_equal(leases(), 0);
	pod_drop(&pod);
}

/* A failure in the middle gives back what the first program took. */
static void rollback(void **state)
{
	struct crio_network_out out = {.size = sizeof(out)};
	cleanup_call crio_call *call = timed(60 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	struct pod_net pod;

	(void)state;
	/* tuning refuses a sysctl that is not there. */
	conflist("10-real.conflist", "1.0.0", "crionet3",
		 ",{\"type\":\"tuning\",\"sysctl\":{\"net.ipv4.nothing\":\"1\"}}");
	inst_await(&inst, true, "");
	pod_make(&pod, "dddd4444");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(plugin_network_setup(inst.in, call, &pod.args, &out, &err), CRIO_E_INTERNAL);
		assert_non_null(strstr(err_text(&err), "plugin type=\"tuning\" failed (ADD): "));
		assert_non_null(strstr(err_text(&err), "default_web"));
		assert_int_equal(leases(), 0);
		assert_int_equal(veths(), 0);
		assert_false(there("cache/results/real-dddd4444-eth0"));
	}
	pod_drop(&pod);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(dual_stack, open_inst, close_inst),
	    cmocka_unit_test_setup_teardown(check, open_inst, close_inst),
	    cmocka_unit_test_setup_teardown(teardown_without_namespace, open_inst, close_inst),
	    cmocka_unit_test_setup_teardown(single_conf, open_inst, close_inst),
	    cmocka_unit_test_setup_teardown(rollback, open_inst, close_inst),
	};

	if (access(CNI_DIR "/bridge", X_OK) < 0 || access(CNI_DIR "/tuning", X_OK) < 0)
		return 77;
	host_enter("cni");
	if (sh("ip link set lo up") != 0)
		return 99;
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	host_leave();
	return r;
}
