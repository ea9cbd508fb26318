/* The node's own addresses, in a network namespace that plays the node. */
#include "tests/plugin/network/host.h"

static struct crio_network_args args = {.size = sizeof(args),
					.netns_fd = -1,
					.id = "a",
					.name = "n",
					.ns = "s",
					.uid = "u",
					.netns_path = "",
					.ifname = "eth0",
					.cgroup_path = "",
					.result_json = ""};

static void no_address(void **state)
{
	struct crio_network_out out = {.size = sizeof(out)};
	cleanup_call crio_call *call = timed(10 * SEC);
	struct net_inst n;

	(void)state;
	inst_open(&n, "hostnetwork", NULL);
	inst_await(&n, true, "");
	assert_true(plugin_inst_caps(n.in) & CRIO_NETWORK_CAP_NO_NETNS);
	assert_int_equal(plugin_network_setup(n.in, call, &args, &out, NULL), 0);
	assert_int_equal(out.ips.n, 0);
	inst_close(&n);
}

static void addresses(void **state)
{
	struct crio_network_out out = {.size = sizeof(out)};
	struct crio_network_no_out none = {.size = sizeof(none)};
	struct crio_network_no_args no = {.size = sizeof(no)};
	struct crio_network_status_out st = {.size = sizeof(st)};
	cleanup_call crio_call *call = timed(30 * SEC);
	struct net_inst n;

	(void)state;
	assert_int_equal(
	    sh("ip link set lo up && ip link add a0 type veth peer name a1 && ip link add z0 type veth peer name z1 && "
	       "ip addr add 169.254.3.4/16 dev a0 && ip addr add 10.1.0.1/24 dev a0 && "
	       "ip addr add 10.2.0.9/24 dev z0 && ip -6 addr add fd00:2::9/64 dev z0 nodad && "
	       "for i in a0 a1 z0 z1; do ip link set $i up; done"),
	    0);
	inst_open(&n, "hostnetwork", NULL);
	assert_int_equal(plugin_network_setup(n.in, call, &args, &out, NULL), 0);
	assert_int_equal(out.ips.n, 2);
	assert_string_equal(out.ips.v[0], "10.1.0.1"); /* the first that is up and not link-local */
	assert_string_equal(out.ips.v[1], "fd00:2::9");
	assert_int_equal(
	    sh("ip route add default via 10.1.0.2 metric 200 && ip route add default via 10.2.0.1 metric 100"), 0);
	out = (struct crio_network_out){.size = sizeof(out)};
	assert_int_equal(plugin_network_setup(n.in, call, &args, &out, NULL), 0);
	assert_int_equal(out.ips.n, 2);
	assert_string_equal(out.ips.v[0], "10.2.0.9"); /* of the best default route */
	assert_int_equal(plugin_network_teardown(n.in, call, &args, &none, NULL), 0);
	assert_int_equal(plugin_network_teardown(n.in, call, &args, &none, NULL), 0);
	assert_int_equal(plugin_network_status(n.in, call, &no, &st, NULL), 0);
	assert_int_equal(st.ready, 1);
	assert_int_equal(plugin_network_check(n.in, call, &args, &none, NULL), CRIO_E_UNSUPPORTED);
	inst_close(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(no_address), cmocka_unit_test(addresses)};

	host_enter("hostnetwork");
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	host_leave();
	return r;
}
