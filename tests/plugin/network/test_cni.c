/* Fake CNI programs: everything that can go wrong, what exactly they are given, and following the directories. */
#include "tests/plugin/network/host.h"

#include <pthread.h>

static struct net_inst inst;

#define GOOD_RESULT                                                                                                    \
	"{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.1.0.5/16\"},{\"address\":\"10.1.0.6/16\"},"              \
	"{\"address\":\"FD00::05/64\"}],\"dns\":{\"nameservers\":[\"10.1.0.1\"]}}"

/* A program that logs "<name> <command> <id> <netns set?> <ifname>", keeps its input in in.<name>.<command> and its
 * CNI_ARGS in args.<name>.<command>, and does `body` for anything but VERSION. */
static void fake(const char *name, const char *versions, const char *body)
{
	cleanup_free char *text = path_fmt(
	    "#!/bin/sh\nD='%s'\nn=%s\necho \"$n $CNI_COMMAND $CNI_CONTAINERID ${CNI_NETNS:-none} $CNI_IFNAME\" >> "
	    "$D/log\n"
	    "cat > $D/in.$n.$CNI_COMMAND\nprintf %%s \"$CNI_ARGS\" > $D/args.$n.$CNI_COMMAND\nenv > $D/env.$n\n"
	    "if [ \"$CNI_COMMAND\" = VERSION ]; then\necho "
	    "'{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[%s]}'\nexit 0\nfi\n%s\n",
	    host.dir, name, versions, body);

	assert_non_null(text);
	put(text, 0755, "bin/%s", name);
}

#define ALL_VERSIONS "\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""
#define ONLY_ADD(text) "[ $CNI_COMMAND = ADD ] || exit 0\n" text

static void fake_ok(const char *name)
{
	fake(name, ALL_VERSIONS, "[ $CNI_COMMAND = ADD ] && echo '" GOOD_RESULT "'; exit 0");
}

static size_t count(const char *needle)
{
	cleanup_free char *log = slurp("log");
	size_t n = 0;

	for (const char *p = log; (p = strstr(p, needle)); p++)
		n++;
	return n;
}

/* A list named `net` of programs of these types. */
static void conf(const char *file, const char *version, const char *net, const char *plugins)
{
	cleanup_free char *text =
	    path_fmt("{\"cniVersion\":\"%s\",\"name\":\"%s\",\"plugins\":[%s]}", version, net, plugins);

	put(text, 0644, "conf/%s", file);
}

static struct json_object *input(const char *name)
{
	cleanup_free char *text = slurp("in.%s", name);
	struct json_object *o = NULL;
	cleanup_err crio_err err = ERR_INIT;

	if (json_parse(text, strlen(text), &o, &err) < 0)
		fail_msg("in.%s: %s: %s", name, err_text(&err), text);
	return o;
}

static int begin(void **state)
{
	(void)state;
	assert_int_equal(
	    sh("rm -rf $D/conf $D/bin $D/cache; rm -f $D/log $D/in.* $D/args.* $D/env.*; mkdir $D/conf $D/bin"), 0);
	inst_open(&inst, "cni", NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	inst_close(&inst);
	return 0;
}

static int add(struct pod_net *pod, struct crio_network_out *out, int64_t time, crio_err *err)
{
	cleanup_call crio_call *call = timed(time);
	struct crio_network_out o = {.size = sizeof(o)};
	int r = plugin_network_setup(inst.in, call, &pod->args, &o, err);

	if (out && r == 0) {
		*out = o;
		out->result_json = strdup(o.result_json);
		out->ips.v = NULL;
	}
	return r;
}

static int del(struct pod_net *pod, crio_err *err)
{
	struct crio_network_no_out none = {.size = sizeof(none)};
	cleanup_call crio_call *call = timed(20 * SEC);

	return plugin_network_teardown(inst.in, call, &pod->args, &none, err);
}

/* ---- what goes in ---- */

static void chain(void **state)
{
	cleanup_json struct json_object *in = NULL, *prev = NULL;
	cleanup_free char *log = NULL, *args = NULL, *want = NULL;
	struct crio_network_out out = {.size = sizeof(out)};
	cleanup_call crio_call *call = timed(20 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	struct pod_net pod;

	(void)state;
	fake_ok("one");
	fake("two", ALL_VERSIONS, ONLY_ADD("echo '{\"ips\":[{\"address\":\"10.9.9.9/8\",\"version\":\"4\"}]}'"));
	conf("10-x.conflist", "0.4.0", "net-x",
	     "{\"type\":\"one\",\"big\":12345678901234567},{\"type\":\"two\",\"name\":\"other\"}");
	inst_await(&inst, true, "");
	pod_make(&pod, "p1");
	if (plugin_network_setup(inst.in, call, &pod.args, &out, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(out.ips.n, 1);
	assert_string_equal(out.ips.v[0], "10.9.9.9");
	assert_non_null(strstr(out.result_json, "\"cniVersion\":\"0.4.0\"")); /* of the config, as it gave none */
	in = input("one.ADD");
	assert_string_equal(json_str(in, "name"), "net-x");
	assert_string_equal(json_str(in, "cniVersion"), "0.4.0");
	assert_int_equal(json_int(in, "big", 0), 12345678901234567);
	assert_null(json_get(in, "prevResult"));
	assert_null(json_get(in, "runtimeConfig"));
	prev = input("two.ADD");
	assert_string_equal(json_str(prev, "name"), "net-x");
	assert_string_equal(json_str(json_obj(json_obj(prev, "prevResult"), "dns") ? prev : NULL, "type"), "two");
	args = slurp("args.one.ADD");
	assert_string_equal(args,
			    "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=p1;"
			    "K8S_POD_UID=uid-1");
	assert_int_equal(del(&pod, &err), 0);
	(void)json_object_put(move_ptr(in));
	in = input("one.DEL");
	assert_string_equal(json_str(json_obj(in, "prevResult"), "cniVersion"), "0.4.0");
	log = slurp("log");
	want = path_fmt("one VERSION  dummy dummy\ntwo VERSION  dummy dummy\none ADD p1 %s eth0\ntwo ADD p1 %s eth0\n"
			"two DEL p1 %s eth0\none DEL p1 %s eth0\n",
			pod.path, pod.path, pod.path, pod.path);
	assert_string_equal(log, want);
	pod_drop(&pod);
}

static void families(void **state)
{
	struct crio_network_out out = {.size = sizeof(out)};
	cleanup_call crio_call *call = timed(20 * SEC);
	struct pod_net pod;

	(void)state;
	fake_ok("one");
	conf("10-x.conflist", "1.0.0", "x", "{\"type\":\"one\"}");
	inst_await(&inst, true, "");
	pod_make(&pod, "p1");
	assert_int_equal(plugin_network_setup(inst.in, call, &pod.args, &out, NULL), 0);
	assert_int_equal(out.ips.n, 2);
	assert_string_equal(out.ips.v[0], "10.1.0.5");
	assert_string_equal(out.ips.v[1], "fd00::5");
	fake("one", ALL_VERSIONS,
	     ONLY_ADD("echo '{\"cniVersion\":\"0.2.0\",\"ip6\":{\"ip\":\"fd00::7/64\"},"
		      "\"ip4\":{\"ip\":\"10.2.0.7/16\"}}'"));
	assert_int_equal(plugin_network_setup(inst.in, call, &pod.args, &out, NULL), 0);
	assert_int_equal(out.ips.n, 2);
	assert_string_equal(out.ips.v[0], "10.2.0.7");
	fake("one", ALL_VERSIONS, ONLY_ADD("echo '{\"cniVersion\":\"1.0.0\"}'")); /* no address is fine */
	assert_int_equal(plugin_network_setup(inst.in, call, &pod.args, &out, NULL), 0);
	assert_int_equal(out.ips.n, 0);
	assert_int_equal(del(&pod, NULL), 0);
	pod_drop(&pod);
}

static void capabilities(void **state)
{
	static const struct crio_kv ann[] = {{"a/b", "c\"d"}, {"x", ""}};
	static const char *const aliases[] = {"foo", "bar"};
	struct crio_port_mapping port[] = {{sizeof(*port), 0, 9090, 0, "tcp", ""},
					   {sizeof(*port), 8080, 80, 0, "tcp", "127.0.0.1"}};
	cleanup_json struct json_object *all = NULL, *none = NULL, *rt = NULL, *cached = NULL;
	cleanup_free char *text = NULL;
	struct pod_net pod;

	(void)state;
	fake_ok("one");
	fake_ok("two");
	conf("10-x.conflist", "1.0.0", "x",
	     "{\"type\":\"one\",\"capabilities\":{\"portMappings\":true,\"bandwidth\":true,\"aliases\":true,"
	     "\"cgroupPath\":true,"
	     "\"io.kubernetes.cri.pod-annotations\":true,\"ips\":true}},"
	     "{\"type\":\"two\",\"capabilities\":{\"portMappings\":false}}");
	inst_await(&inst, true, "");
	pod_make(&pod, "p1");
	pod.args.ports = (struct crio_port_mappings){port, 2, sizeof(*port)};
	pod.args.annotations = (struct crio_map){ann, 2};
	pod.args.aliases = (struct crio_strs){aliases, 2};
	pod.args.ingress_rate = 1000000;
	assert_int_equal(add(&pod, NULL, 20 * SEC, NULL), 0);
	all = input("one.ADD");
	rt = json_object_get(json_obj(all, "runtimeConfig"));
	assert_string_equal(
	    json_object_to_json_string_ext(rt, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
	    "{\"portMappings\":[{\"hostPort\":8080,\"containerPort\":80,\"protocol\":\"tcp\",\"hostIP\":\"127.0.0.1\"}]"
	    ","
	    "\"bandwidth\":{\"ingressRate\":1000000,\"ingressBurst\":34359738359,\"egressRate\":0,\"egressBurst\":0},"
	    "\"aliases\":[\"foo\",\"bar\"],\"cgroupPath\":\"/kubepods/pod1\","
	    "\"io.kubernetes.cri.pod-annotations\":{\"a/b\":\"c\\\"d\",\"x\":\"\"}}");
	none = input("two.ADD");
	assert_null(json_get(none, "runtimeConfig"));
	text = slurp("cache/results/x-p1-eth0");
	assert_int_equal(json_parse(text, strlen(text), &cached, NULL), 0);
	assert_true(json_object_equal(json_obj(cached, "capabilityArgs"), rt));
	/* The record, not what is passed, is what DEL is told. */
	pod.args.ports.n = 0;
	pod.args.name = "renamed";
	assert_int_equal(del(&pod, NULL), 0);
	(void)json_object_put(move_ptr(all));
	all = input("one.DEL");
	assert_true(json_object_equal(json_obj(all, "runtimeConfig"), rt));
	free(text);
	text = slurp("args.one.DEL");
	assert_non_null(strstr(text, "K8S_POD_NAME=web;"));
	pod_drop(&pod);
}

static void environment(void **state)
{
	cleanup_free char *env = NULL;
	struct pod_net pod;

	(void)state;
	fake_ok("one");
	conf("10-x.conflist", "1.0.0", "x", "{\"type\":\"one\"}");
	inst_await(&inst, true, "");
	pod_make(&pod, "p1");
	assert_int_equal(add(&pod, NULL, 20 * SEC, NULL), 0);
	env = slurp("env.one");
	assert_non_null(strstr(env, "PATH=/"));
	assert_non_null(strstr(env, "TEST_PASSED_ON=yes\n"));
	assert_null(strstr(env, "NOTIFY_SOCKET"));
	assert_null(strstr(env, "CNI_FOREIGN"));
	assert_int_equal(del(&pod, NULL), 0);
	pod_drop(&pod);
}

static void injection(void **state)
{
	static const char *const bad[] = {"a;IP=10.0.0.9", "a=b", "a\nb"};
	cleanup_err crio_err err = ERR_INIT;
	struct pod_net pod;

	(void)state;
	fake_ok("one");
	conf("10-x.conflist", "1.0.0", "x", "{\"type\":\"one\"}");
	inst_await(&inst, true, "");
	pod_make(&pod, "p1");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		pod.args.name = bad[i];
		assert_int_equal(add(&pod, NULL, 20 * SEC, &err), CRIO_E_INVALID);
		assert_int_equal(del(&pod, &err), 0);
	}
	pod.args.name = "web";
	pod.args.id = "../../etc/x";
	assert_int_equal(add(&pod, NULL, 20 * SEC, &err), CRIO_E_INVALID);
	pod.args.id = "p1";
	pod.args.ifname = "eth0/../x";
	assert_int_equal(add(&pod, NULL, 20 * SEC, &err), CRIO_E_INVALID);
	pod.args.ifname = "eth0";
	pod.args.netns_fd = -1;
	assert_int_equal(add(&pod, NULL, 20 * SEC, &err), CRIO_E_INVALID);
	assert_int_equal(count(" ADD "), 0);
	pod_drop(&pod);
}

/* ---- what comes out ---- */

static void misbehaving(void **state)
{
	static const struct {
		const char *body;
		int code;
		const char *text;
	} rows[] = {
	    {"exit 0", CRIO_E_CORRUPT, "without printing a result"},
	    {"echo ' '", CRIO_E_CORRUPT, "empty"},
	    {"echo garbage", CRIO_E_CORRUPT, "garbage"},
	    {"echo '[]'", CRIO_E_CORRUPT, "not an object"},
	    {"echo '{\"cniVersion\":\"1.0.0\"}{}'", CRIO_E_CORRUPT, "JSON"},
	    {"printf '{\"cniVersion\":\"1.0.0\",\"a\":\"\\377\"}'", CRIO_E_CORRUPT, "JSON"},
	    {"echo '{\"cniVersion\":\"9.0.0\"}'", CRIO_E_CORRUPT, "9.0.0"},
	    {"echo '{\"ips\":[{\"address\":\"evil\"}]}'", CRIO_E_CORRUPT, "evil"},
	    {"echo '{\"ips\":[{\"address\":7}]}'", CRIO_E_CORRUPT, "address"},
	    {"echo '{\"ips\":[7]}'", CRIO_E_CORRUPT, "address"},
	    {"i=0; while [ $i -lt 100 ]; do printf '{\"a\":'; i=$((i+1)); done", CRIO_E_CORRUPT, "JSON"},
	    {"head -c 1G /dev/zero | tr '\\0' x", CRIO_E_EXHAUSTED, "longer than"},
	    {"kill -SEGV $$", CRIO_E_INTERNAL, "killed by signal 11"},
	    {"exit 3", CRIO_E_INTERNAL, "exit status 3"},
	    {"echo oh no >&2; exit 1", CRIO_E_INTERNAL, "oh no"},
	    {"echo half; exit 1", CRIO_E_INTERNAL, "half"},
	    {"echo '{\"code\":7,\"msg\":\"bad config\",\"details\":\"line 3\"}'; exit 1", CRIO_E_INTERNAL,
	     "bad config; line 3"},
	    {"echo '{\"code\":11,\"msg\":\"later\"}'; exit 1", CRIO_E_UNAVAILABLE, "later"},
	    {"echo '{}'; exit 1", CRIO_E_INTERNAL, "without a message"},
	    {"printf '\\033[31mred\\377\\n' >&2; exit 1", CRIO_E_INTERNAL, " [31mred?"},
	};
	struct pod_net pod;

	(void)state;
	fake_ok("first");
	fake_ok("odd");
	conf("10-x.conflist", "1.0.0", "x", "{\"type\":\"first\"},{\"type\":\"odd\"}");
	inst_await(&inst, true, "");
	pod_make(&pod, "p1");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cleanup_free char *body = path_fmt(ONLY_ADD("%s"), rows[i].body);
		cleanup_err crio_err err = ERR_INIT;
		int r;

		gone("log");
		fake("odd", ALL_VERSIONS, body);
		r = add(&pod, NULL, 60 * SEC, &err);
		if (r != rows[i].code || !strstr(err_text(&err), rows[i].text))
			fail_msg("row %zu: %d %s", i, r, err_text(&err));
		assert_true(str_is_utf8(err_text(&err), strlen(err_text(&err))));
		if (!strstr(rows[i].body, "ips"))
			assert_non_null(strstr(err_text(&err), "plugin type=\"odd\" failed (ADD)"));
		/* All is undone, once. */
		assert_int_equal(count("odd DEL"), 1);
		assert_int_equal(count("first DEL"), 1);
		assert_false(there("cache/results/x-p1-eth0"));
	}
	pod_drop(&pod);
}

static void hangs(void **state)
{
	cleanup_err crio_err err = ERR_INIT;
	struct pod_net pod;
	int64_t t0;

	(void)state;
	fake_ok("first");
	fake("slow", ALL_VERSIONS, ONLY_ADD("sleep 1234.567"));
	conf("10-x.conflist", "1.0.0", "x", "{\"type\":\"first\"},{\"type\":\"slow\"}");
	inst_await(&inst, true, "");
	pod_make(&pod, "p1");
	t0 = now_mono_ns();
	assert_int_equal(add(&pod, NULL, 2 * SEC, &err), CRIO_E_DEADLINE);
	assert_true(now_mono_ns() - t0 < 2500 * MS);
	assert_non_null(strstr(err_text(&err), "plugin type=\"slow\" failed (ADD)"));
	assert_int_equal(count("slow DEL"), 1);
	assert_int_equal(count("first DEL"), 1);
	assert_false(there("cache/results/x-p1-eth0"));
	assert_int_not_equal(sh("ps ax | grep -q '[s]leep 1234.567'"), 0);
	pod_drop(&pod);
}

/* One program fails at DEL, or is gone: the others still give back what they hold, and a retry finds the record. */
static void del_goes_on(void **state)
{
	cleanup_err crio_err err = ERR_INIT;
	struct pod_net pod;

	(void)state;
	fake_ok("first");
	fake_ok("odd");
	conf("10-x.conflist", "1.0.0", "x", "{\"type\":\"first\"},{\"type\":\"odd\"}");
	inst_await(&inst, true, "");
	pod_make(&pod, "p1");
	assert_int_equal(add(&pod, NULL, 20 * SEC, &err), 0);
	fake("odd", ALL_VERSIONS, "echo '{\"code\":100,\"msg\":\"busy\"}'; exit 1");
	assert_int_equal(del(&pod, &err), CRIO_E_INTERNAL);
	assert_non_null(strstr(err_text(&err), "busy"));
	assert_int_equal(count("first DEL"), 1);
	gone("bin/odd");
	assert_int_equal(del(&pod, &err), CRIO_E_UNAVAILABLE);
	assert_non_null(strstr(err_text(&err), "failed to find plugin \"odd\""));
	assert_int_equal(count("first DEL"), 2);
	assert_true(there("cache/results/x-p1-eth0"));
	fake_ok("odd");
	assert_int_equal(del(&pod, &err), 0);
	assert_false(there("cache/results/x-p1-eth0"));
	pod_drop(&pod);
}

static void broken_cache(void **state)
{
	static const char *const bad[] = {
	    "",
	    "{",
	    "{}",
	    "[1]",
	    "{\"kind\":\"other\"}",
	    "{\"kind\":\"cniCacheV1\",\"containerId\":\"p1\",\"ifName\":\"eth0\",\"networkName\":\"x\","
	    "\"config\":\"!!!\"}"};
	struct pod_net pod;

	(void)state;
	fake_ok("one");
	conf("10-x.conflist", "1.0.0", "x", "{\"type\":\"one\"}");
	inst_await(&inst, true, "");
	pod_make(&pod, "p1");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(add(&pod, NULL, 20 * SEC, NULL), 0);
		gone("log");
		put(bad[i], 0600, "cache/results/x-p1-eth0");
		assert_int_equal(del(&pod, NULL), 0); /* by the configuration */
		assert_int_equal(count("one DEL p1"), 1);
		assert_false(there("cache/results/x-p1-eth0"));
	}
	pod_drop(&pod);
}

static void check_op(void **state)
{
	struct crio_network_no_out none = {.size = sizeof(none)};
	cleanup_call crio_call *call = timed(20 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	cleanup_json struct json_object *in = NULL;
	struct pod_net pod;

	(void)state;
	fake_ok("one");
	conf("10-x.conflist", "0.4.0", "x", "{\"type\":\"one\"}");
	inst_await(&inst, true, "");
	pod_make(&pod, "p1");
	assert_int_equal(plugin_network_check(inst.in, call, &pod.args, &none, &err), CRIO_E_NOT_FOUND);
	assert_int_equal(add(&pod, NULL, 20 * SEC, NULL), 0);
	assert_int_equal(plugin_network_check(inst.in, call, &pod.args, &none, &err), 0);
	in = input("one.CHECK");
	assert_non_null(json_obj(in, "prevResult"));
	fake("one", ALL_VERSIONS, "echo '{\"code\":100,\"msg\":\"address is gone\"}'; exit 1");
	assert_true(plugin_network_check(inst.in, call, &pod.args, &none, &err) < 0);
	assert_non_null(strstr(err_text(&err), "address is gone"));
	fake_ok("one");
	assert_int_equal(del(&pod, NULL), 0);
	put("{\"cniVersion\":\"1.0.0\",\"name\":\"x\",\"disableCheck\":true,\"plugins\":[{\"type\":\"one\"}]}", 0644,
	    "conf/10-x.conflist");
	for (int i = 0; i < 50; i++) {
		struct timespec ms = {0, 10 * MS};
		(void)nanosleep(&ms, NULL);
	}
	assert_int_equal(add(&pod, NULL, 20 * SEC, NULL), 0);
	gone("log");
	assert_int_equal(plugin_network_check(inst.in, call, &pod.args, &none, &err), 0);
	assert_int_equal(count("CHECK"), 0);
	assert_int_equal(del(&pod, NULL), 0);
	pod_drop(&pod);
}

/* ---- which network ---- */

static void status_is(bool ready, const char *network)
{
	struct crio_network_no_args no = {.size = sizeof(no)};
	struct crio_network_status_out st = {.size = sizeof(st)};
	cleanup_call crio_call *call = timed(5 * SEC);

	assert_int_equal(plugin_network_status(inst.in, call, &no, &st, NULL), 0);
	assert_int_equal(st.ready, ready);
	assert_string_equal(st.network, network);
	assert_string_equal(st.reason, ready ? "" : "NetworkPluginNotReady");
	assert_true(ready ? !*st.message : str_starts(st.message, "Network plugin returns error: "));
}

static void appears_changes_vanishes(void **state)
{
	cleanup_err crio_err err = ERR_INIT;
	struct pod_net pod;

	(void)state;
	inst_await(&inst, false, "Network plugin returns error: no CNI configuration file in");
	assert_string_equal(inst.reason, "NetworkPluginNotReady");
	status_is(false, "");
	pod_make(&pod, "p1");
	assert_int_equal(add(&pod, NULL, 5 * SEC, &err), CRIO_E_UNAVAILABLE);
	assert_non_null(strstr(err_text(&err), "Has your network provider started?"));

	conf("20-b.conflist", "1.0.0", "b", "{\"type\":\"one\"}");
	inst_await(&inst, false, "failed to find plugin \"one\""); /* named, with why */
	fake_ok("one");
	inst_await(&inst, true, ""); /* the program alone was missing */
	status_is(true, "b");
	conf("10-a.conflist", "1.0.0", "a", "{\"type\":\"one\"}");
	conf("15-other.txt", "1.0.0", "t", "{\"type\":\"one\"}");
	for (int i = 0; i < 100; i++) {
		struct timespec ms = {0, 20 * MS};
		cleanup_call crio_call *call = timed(5 * SEC);
		struct crio_network_no_args no = {.size = sizeof(no)};
		struct crio_network_status_out st = {.size = sizeof(st)};

		assert_int_equal(plugin_network_status(inst.in, call, &no, &st, NULL), 0);
		if (str_eq(st.network, "a"))
			break;
		(void)nanosleep(&ms, NULL);
	}
	status_is(true, "a");
	assert_int_equal(add(&pod, NULL, 5 * SEC, &err), 0);
	assert_true(there("cache/results/a-p1-eth0"));
	gone("conf/10-a.conflist");
	gone("conf/20-b.conflist");
	inst_await(&inst, false, "no CNI configuration file");
	assert_int_equal(del(&pod, &err), 0); /* from the record */
	assert_int_equal(count("one DEL p1"), 1);

	/* The whole directory goes and comes back. */
	assert_int_equal(sh("rm -r $D/conf && sleep 0.3 && mkdir $D/conf"), 0);
	conf("10-a.conflist", "1.0.0", "a", "{\"type\":\"one\"}");
	inst_await(&inst, true, "");
	assert_int_equal(sh("mv $D/bin $D/bin2"), 0);
	inst_await(&inst, false, "failed to find plugin");
	assert_int_equal(sh("mv $D/bin2 $D/bin"), 0);
	inst_await(&inst, true, "");
	pod_drop(&pod);
}

static void invalid_files(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
	    {"", "empty"},
	    {"{", "JSON"},
	    {"[]", "not an object"},
	    {"{\"name\":\"x\"}", "no plugins"},
	    {"{\"name\":\"x\",\"plugins\":[]}", "no plugins"},
	    {"{\"name\":\"x\",\"plugins\":[{}]}", "'type'"},
	    {"{\"name\":\"x\",\"plugins\":[{\"type\":\"../bin/one\"}]}", "'type'"},
	    {"{\"name\":\"x\",\"plugins\":[{\"type\":\"/bin/sh\"}]}", "'type'"},
	    {"{\"name\":\"x\",\"plugins\":[{\"type\":\"..\"}]}", "'type'"},
	    {"{\"name\":\"x\",\"plugins\":[{\"type\":\"one\\u0000\"}]}", "'type'"},
	    {"{\"plugins\":[{\"type\":\"one\"}]}", "network name"},
	    {"{\"name\":\"a/b\",\"plugins\":[{\"type\":\"one\"}]}", "network name"},
	    {"{\"name\":\"x\",\"cniVersion\":\"7.0.0\",\"plugins\":[{\"type\":\"one\"}]}", "7.0.0"},
	    {"{\"name\":\"x\",\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"old\"}]}",
	     "does not support config version \"1.0.0\""},
	    {"{\"name\":\"x\",\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"broken\"}]}", "broken"},
	    {"{\"name\":\"x\",\"cniVersion\":\"1.0.0\",\"plugins\":[{\"type\":\"noexec\"}]}",
	     "failed to find plugin \"noexec\""},
	};
	(void)state;
	fake_ok("one");
	fake("old", "\"0.3.1\",\"0.4.0\"", "exit 1");
	put("#!/bin/sh\nkill -SEGV $$\n", 0755, "bin/broken");
	put("#!/bin/sh\n", 0644, "bin/noexec");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		put(rows[i].text, 0644, "conf/%zu-x.conflist", i);
		inst_await(&inst, false, rows[i].why);
		gone("conf/%zu-x.conflist", i);
	}
	/* Such files do not stop a good one after them, and a FIFO or directory blocks nobody. */
	put("{", 0644, "conf/00.conflist");
	assert_int_equal(sh("mkfifo $D/conf/01.conf; mkdir $D/conf/02.conf; truncate -s 2M $D/conf/03.conf"), 0);
	conf("10-x.conflist", "1.0.0", "x", "{\"type\":\"one\"}");
	inst_await(&inst, true, "");
	status_is(true, "x");
}

static void loopback_is_no_default(void **state)
{
	(void)state;
	fake_ok("loopback");
	fake_ok("one");
	put("{\"cniVersion\":\"0.4.0\",\"name\":\"lo\",\"type\":\"loopback\"}", 0644, "conf/00-loopback.conf");
	conf("99-loopback.conflist", "1.0.0", "lo2", "{\"type\":\"loopback\"}");
	inst_await(&inst, false, "no CNI configuration file");
	conf("99-x.conflist", "1.0.0", "x", "{\"type\":\"one\"}");
	inst_await(&inst, true, "");
	status_is(true, "x");
	inst_close(&inst);
	inst_open(&inst, "cni", "default_network", "lo", NULL);
	inst_await(&inst, true, "");
	status_is(true, "lo");
	inst_close(&inst);
	inst_open(&inst, "cni", "default_network", "later", NULL);
	inst_await(&inst, false, "no CNI configuration file of network \"later\"");
	put("{\"cniVersion\":\"0.4.0\",\"name\":\"later\",\"type\":\"one\"}", 0644, "conf/50-later.json");
	inst_await(&inst, true, "");
	status_is(true, "later");
}

/* CNI 1.1: programs in <conf>/<network>/, cniVersions, and a version below what the file asks for. */
static void folder_and_versions(void **state)
{
	cleanup_json struct json_object *in = NULL;
	struct pod_net pod;

	(void)state;
	fake_ok("one");
	fake_ok("two");
	assert_int_equal(sh("mkdir $D/conf/x"), 0);
	put("{\"type\":\"two\"}", 0644, "conf/x/10-two.conf");
	put("{\"cniVersion\":\"0.4.0\",\"cniVersions\":[\"1.0.0\",\"0.3.1\",\"9.0.0\"],\"name\":\"x\",\"plugins\":[{"
	    "\"type\":\"one\"}]}",
	    0644, "conf/10-x.conflist");
	inst_await(&inst, true, "");
	pod_make(&pod, "p1");
	assert_int_equal(add(&pod, NULL, 20 * SEC, NULL), 0);
	in = input("two.ADD");
	assert_string_equal(json_str(in, "cniVersion"), "1.0.0");
	assert_non_null(json_obj(in, "prevResult"));
	gone("conf/x/10-two.conf"); /* the record has it */
	assert_int_equal(del(&pod, NULL), 0);
	assert_int_equal(count("two DEL"), 1);
	pod_drop(&pod);
}

static void version_is_remembered(void **state)
{
	struct timespec settle = {0, 300 * MS};
	uint64_t execs;

	(void)state;
	fake_ok("one");
	conf("10-x.conflist", "1.0.0", "x", "{\"type\":\"one\"},{\"type\":\"one\"}");
	inst_await(&inst, true, "");
	(void)nanosleep(&settle, NULL);
	assert_int_equal(count("one VERSION"), 1);
	conf("11-y.conflist", "1.0.0", "y", "{\"type\":\"one\"}");
	(void)nanosleep(&settle, NULL);
	assert_int_equal(count("one VERSION"), 1);
	fake_ok("one"); /* a new file */
	(void)nanosleep(&settle, NULL);
	assert_int_equal(count("one VERSION"), 2);
	/* Idle: nothing runs. */
	execs = spawn_count();
	settle.tv_sec = 1;
	(void)nanosleep(&settle, NULL);
	assert_int_equal(spawn_count(), execs);
}

static void status_polled(void **state)
{
	(void)state;
	fake("one", ALL_VERSIONS,
	     "if [ $CNI_COMMAND = STATUS ] && [ ! -e $D/up ]; then\n"
	     "echo '{\"code\":50,\"msg\":\"the agent is not up\"}'; exit 1\nfi\n"
	     "[ $CNI_COMMAND = ADD ] && echo '" GOOD_RESULT "'; exit 0");
	conf("10-x.conflist", "1.1.0", "x", "{\"type\":\"one\"}");
	inst_await(&inst, false, "the agent is not up");
	put("", 0644, "up");
	inst_await(&inst, true, "");
	gone("log");
	struct timespec wait = {1, 200 * MS};
	(void)nanosleep(&wait, NULL);
	assert_int_equal(count("STATUS"), 0); /* no grace period: not asked again */
	gone("up");
}

/* With a grace period a ready network that fails is told of only when that has lasted. */
static void grace(void **state)
{
	struct net_inst g;
	struct timespec some = {0, 400 * MS};

	(void)state;
	fake("one", ALL_VERSIONS,
	     "if [ $CNI_COMMAND = STATUS ] && [ -e $D/down ]; then\n"
	     "echo '{\"code\":50,\"msg\":\"the agent is down\"}'; exit 1\nfi\nexit 0");
	conf("10-x.conflist", "1.1.0", "x", "{\"type\":\"one\"}");
	inst_open(&g, "cni", "status_grace_period", "1500ms", NULL);
	inst_await(&g, true, "");
	/* Its file goes, and comes back in time. */
	gone("conf/10-x.conflist");
	(void)nanosleep(&some, NULL);
	assert_true(g.ready);
	conf("10-x.conflist", "1.1.0", "x", "{\"type\":\"one\"}");
	(void)nanosleep(&some, NULL);
	assert_true(g.ready);
	assert_int_equal(g.events, 1);
	/* STATUS fails, for longer. A changed file is reason to ask. */
	put("", 0644, "down");
	conf("10-x.conflist", "1.1.0", "x", "{\"type\":\"one\",\"a\":1}");
	(void)nanosleep(&some, NULL);
	assert_true(g.ready);
	inst_await(&g, false, "the agent is down");
	gone("down");
	inst_await(&g, true, "");
	/* So does its file. */
	gone("conf/10-x.conflist");
	inst_await(&g, false, "no CNI configuration file");
	inst_close(&g);
}

/* ---- garbage ---- */

static void garbage(void **state)
{
	struct crio_network_attachment keep = {sizeof(keep), 0, "keep", "eth0"};
	struct crio_network_gc_args args = {sizeof(args), 0, &keep, 1, sizeof(keep)};
	struct crio_network_no_out none = {.size = sizeof(none)};
	cleanup_call crio_call *call = timed(20 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	cleanup_json struct json_object *in = NULL;
	struct pod_net a, b, n;

	(void)state;
	fake_ok("one");
	conf("10-x.conflist", "1.1.0", "x", "{\"type\":\"one\"}");
	inst_await(&inst, true, "");
	assert_int_equal(plugin_network_gc(inst.in, call, &args, &none, &err), 0); /* no cache yet */
	pod_make(&a, "keep");
	pod_make(&b, "stale");
	assert_int_equal(add(&a, NULL, 20 * SEC, &err), 0);
	assert_int_equal(add(&b, NULL, 20 * SEC, &err), 0);
	/* Another user of the cache: not a pod, never ours to remove. */
	assert_int_equal(
	    sh("sed -e 's/K8S_POD_INFRA_CONTAINER_ID/X/; s/\"containerId\":\"stale\"/\"containerId\":\"podman\"/' "
	       "$D/cache/results/x-stale-eth0 > $D/cache/results/x-podman-eth0"),
	    0);
	/* A pod of a network that has no file here: another runtime's, perhaps. */
	assert_int_equal(sh("sed -e 's/stale/other/g; s/\"networkName\":\"x\"/\"networkName\":\"y\"/' "
			    "$D/cache/results/x-stale-eth0 > $D/cache/results/y-other-eth0"),
			 0);
	/* Begun by a process that was killed, and by one that lives. */
	char mine[64];
	(void)snprintf(mine, sizeof(mine), "cache/results/.crio.%d.77", (int)getpid());
	put("{", 0600, "cache/results/.crio.999999999.1");
	put("{", 0600, "%s", mine);
	inst_close(&inst); /* the daemon starts anew */
	inst_open(&inst, "cni", NULL);
	assert_false(there("cache/results/.crio.999999999.1"));
	assert_true(there("%s", mine));
	inst_await(&inst, true, "");
	pod_make(&n, "new");
	assert_int_equal(add(&n, NULL, 20 * SEC, &err), 0); /* since the list was made */
	gone("log");
	pod_drop(&b);
	if (plugin_network_gc(inst.in, call, &args, &none, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(count("one DEL stale none eth0"), 1);
	assert_int_equal(count("DEL"), 1);
	assert_false(there("cache/results/x-stale-eth0"));
	assert_true(there("cache/results/x-keep-eth0"));
	assert_true(there("cache/results/x-podman-eth0"));
	assert_true(there("cache/results/x-new-eth0"));
	assert_true(there("cache/results/y-other-eth0"));
	in = input("one.GC");
	assert_int_equal(json_object_array_length(json_arr(in, "cni.dev/valid-attachments")), 3);
	assert_int_equal(del(&a, &err), 0);
	assert_int_equal(del(&n, &err), 0);
	pod_drop(&a);
	pod_drop(&n);
}

/* ---- many at once ---- */

#define PODS 8

static void *one_pod(void *arg)
{
	struct pod_net *pod = arg;

	for (int i = 0; i < 5; i++) {
		if (add(pod, NULL, 60 * SEC, NULL) < 0 || del(pod, NULL) < 0)
			return pod;
	}
	return NULL;
}

static void at_once(void **state)
{
	static char ids[PODS][16];
	struct pod_net pods[PODS];
	pthread_t t[PODS];

	(void)state;
	fake_ok("one");
	conf("10-x.conflist", "1.0.0", "x", "{\"type\":\"one\"}");
	inst_await(&inst, true, "");
	for (int i = 0; i < PODS; i++) {
		(void)snprintf(ids[i], sizeof(ids[i]), "m%d", i);
		pod_make(&pods[i], ids[i]);
	}
	for (int i = 0; i < PODS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, one_pod, &pods[i]), 0);
	for (int i = 0; i < 20; i++) { /* the configuration changes under them */
		struct timespec ms = {0, 20 * MS};

		conf(i % 2 ? "20-y.conflist" : "10-x.conflist", "1.0.0", "x", "{\"type\":\"one\"}");
		(void)nanosleep(&ms, NULL);
	}
	for (int i = 0; i < PODS; i++) {
		void *failed = NULL;

		assert_int_equal(pthread_join(t[i], &failed), 0);
		assert_null(failed);
		pod_drop(&pods[i]);
	}
	assert_int_equal(count(" ADD "), PODS * 5);
	assert_int_equal(count(" DEL "), PODS * 5);
	assert_int_equal(sh("test -z \"$(ls -A $D/cache/results)\""), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(chain),
	    T(families),
	    T(capabilities),
	    T(environment),
	    T(injection),
	    T(misbehaving),
	    T(hangs),
	    T(del_goes_on),
	    T(broken_cache),
	    T(check_op),
	    T(appears_changes_vanishes),
	    T(invalid_files),
	    T(loopback_is_no_default),
	    T(folder_and_versions),
	    T(version_is_remembered),
	    T(status_polled),
		T(grace),
	    T(garbage),
	    T(at_once),
	};

	(void)setenv("TEST_PASSED_ON", "yes", 1);
	(void)setenv("NOTIFY_SOCKET", "/nowhere", 1);
	(void)setenv("CNI_FOREIGN", "x", 1);
	host_enter("cni");
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	host_leave();
	return r;
}
