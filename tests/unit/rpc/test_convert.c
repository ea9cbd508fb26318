/* test_convert.c: requests into the core's structs and statuses into replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/rpc/codec.h"
#include "core/rpc/convert.h"
#include "core/rpc/lists.h"
#include "tests/client/pbjson.h"

/* A message from JSON, through the wire, as a request would come. */
struct msg {
	struct rpc_arena arena;
	ProtobufCMessage *m;
};

static void *request(struct msg *ret, const ProtobufCMessageDescriptor *d, const char *json)
{
	struct json_object *o = json_tokener_parse(json);
	char why[256] = "";
	ProtobufCMessage *m;
	crio_err err = ERR_INIT;
	uint8_t *p;
	size_t n;

	assert_non_null(o);
	m = pbjson_parse(d, o, why);
	assert_string_equal(why, "");
	p = malloc(protobuf_c_message_get_packed_size(m) + 1);
	n = protobuf_c_message_pack(m, p);
	protobuf_c_message_free_unpacked(m, NULL);
	json_object_put(o);
	rpc_arena_init(&ret->arena, NULL, RPC_DECODED_MAX);
	assert_int_equal(rpc_decode(d, p, n, &ret->arena, &ret->m, &err), 0);
	free(p);
	return ret->m;
}

#define POD_CONFIG &runtime__v1__pod_sandbox_config__descriptor
#define CONTAINER_CONFIG &runtime__v1__container_config__descriptor

static void test_pod(void **state)
{
	struct msg m;
	struct pod_config c;
	crio_err err = ERR_INIT;

	(void)state;
	request(
	    &m, POD_CONFIG,
	    "{\"metadata\":{\"name\":\"n\",\"uid\":\"u\",\"namespace\":\"ns\",\"attempt\":3},\"hostname\":\"h\",\"log_"
	    "directory\":\"/l\","
	    "\"dns_config\":{\"servers\":[\"1.1.1.1\"],\"searches\":[\"a\",\"b\"]},\"port_mappings\":[{\"protocol\":"
	    "\"UDP\","
	    "\"container_port\":53,\"host_port\":5353,\"host_ip\":\"127.0.0.1\"}],\"labels\":{\"z\":\"1\",\"a\":\"2\"},"
	    "\"annotations\":{\"x\":\"\"},\"linux\":{\"cgroup_parent\":\"p.slice\",\"sysctls\":{\"k\":\"v\"},"
	    "\"security_context\":{"
	    "\"namespace_options\":{\"network\":\"NODE\",\"pid\":\"CONTAINER\",\"ipc\":\"POD\",\"userns_options\":{"
	    "\"mode\":\"POD\","
	    "\"uids\":[{\"host_id\":100000,\"container_id\":0,\"length\":65536}],\"gids\":[]}},\"run_as_user\":{"
	    "\"value\":0},"
	    "\"supplemental_groups\":[5,6],\"supplemental_groups_policy\":\"Strict\",\"privileged\":true,"
	    "\"seccomp\":{\"profile_type\":\"Localhost\",\"localhost_ref\":\"/"
	    "s.json\"},\"selinux_options\":{\"level\":\"s0\"}},"
	    "\"overhead\":{\"cpu_shares\":7},\"resources\":{\"memory_limit_in_bytes\":\"1048576\",\"hugepage_limits\":"
	    "[{\"page_size\":\"2MB\",\"limit\":4}],\"unified\":{\"pids.max\":\"9\"}}}}");
	assert_int_equal(pod_config_init(&c), 0);
	assert_int_equal(convert_pod_config(&c, (const void *)m.m, &err), 0);
	assert_string_equal(c.meta.ns, "ns");
	assert_int_equal(c.meta.attempt, 3);
	assert_true(c.has_dns);
	assert_string_equal(c.dns_searches.v[1], "b");
	assert_int_equal(c.n_ports, 1);
	assert_int_equal(c.ports[0].protocol, PROTO_UDP);
	assert_int_equal(c.ports[0].host_port, 5353);
	assert_string_equal(c.labels.v[0].key, "a"); /* sorted */
	assert_string_equal(kvs_get(&c.annotations, "x"), "");
	assert_string_equal(c.cgroup_parent, "p.slice");
	assert_true(c.sec.set && c.sec.privileged && c.sec.run_as_user.set && !c.sec.run_as_group.set);
	assert_int_equal(c.sec.run_as_user.v, 0);
	assert_int_equal(c.sec.ns.network, NS_NODE);
	assert_int_equal(c.sec.ns.pid, NS_CONTAINER);
	assert_true(c.sec.ns.userns.set);
	assert_int_equal(c.sec.ns.userns.maps.uids.v[0].host_id, 100000);
	assert_int_equal(c.sec.groups_policy, GROUPS_STRICT);
	assert_int_equal(c.sec.supplemental_groups[1], 6);
	assert_int_equal(c.sec.seccomp.type, PROFILE_LOCALHOST);
	assert_false(c.sec.apparmor.set);
	assert_string_equal(c.sec.selinux.level, "s0");
	assert_string_equal(kvs_get(&c.sysctls, "k"), "v");
	assert_true(c.overhead.set && c.resources.set);
	assert_int_equal(c.resources.memory_limit, 1048576);
	assert_string_equal(c.resources.hugepages[0].page_size, "2MB");
	assert_string_equal(kvs_get(&c.resources.unified, "pids.max"), "9");
	pod_config_release(&c);
	rpc_arena_release(&m.arena);
}

static void pod_refused(const char *json, const char *text)
{
	struct msg m;
	struct pod_config c;
	crio_err err = ERR_INIT;

	request(&m, POD_CONFIG, json);
	assert_int_equal(pod_config_init(&c), 0);
	assert_int_equal(convert_pod_config(&c, (const void *)m.m, &err), CRIO_E_INVALID);
	if (!strstr(err_text(&err), text))
		fail_msg("'%s' is not in '%s'", text, err_text(&err));
	err_clear(&err);
	pod_config_release(&c);
	rpc_arena_release(&m.arena);
}

#define META "\"metadata\":{\"name\":\"n\",\"uid\":\"u\",\"namespace\":\"ns\"}"

static void test_pod_refused(void **state)
{
	struct pod_config c;
	crio_err err = ERR_INIT;

	(void)state;
	assert_int_equal(pod_config_init(&c), 0);
	assert_int_equal(convert_pod_config(&c, NULL, &err), CRIO_E_INVALID);
	assert_string_equal(err_text(&err), "setting sandbox config: config is nil");
	err_clear(&err);
	pod_config_release(&c);
	pod_refused("{}", "metadata is nil");
	pod_refused("{\"metadata\":{}}", "metadata.Name should not be empty");
	pod_refused("{\"metadata\":{\"name\":\"n\",\"uid\":\"u\"}}", "without namespace");
	pod_refused("{\"metadata\":{\"name\":\"n\",\"namespace\":\"u\"}}", "without uid");
	pod_refused("{" META ",\"port_mappings\":[{\"host_port\":65536}]}", "out of range");
	pod_refused("{" META ",\"port_mappings\":[{\"container_port\":-1}]}", "out of range");
	pod_refused("{" META ",\"port_mappings\":[{\"protocol\":7}]}", "is no protocol");
	pod_refused("{" META ",\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":9}}}}",
		    "namespace mode");
	pod_refused("{" META ",\"linux\":{\"security_context\":{\"namespace_options\":{\"network\":-1}}}}",
		    "namespace mode");
	pod_refused("{" META ",\"linux\":{\"security_context\":{\"seccomp\":{\"profile_type\":3}}}}", "profile type");
	pod_refused("{" META ",\"linux\":{\"security_context\":{\"supplemental_groups_policy\":3}}}", "policy");
}

#define CMETA "\"metadata\":{\"name\":\"c\"},\"image\":{\"image\":\"i\"}"

static void test_container(void **state)
{
	struct msg m;
	struct container_config c;
	crio_err err = ERR_INIT;

	(void)state;
	request(&m, CONTAINER_CONFIG,
		"{\"metadata\":{\"name\":\"c\",\"attempt\":2},\"image\":{\"image\":\"id\",\"user_specified_image\":"
		"\"busybox\"},"
		"\"command\":[\"sh\"],\"args\":[\"-c\",\"\"],\"working_dir\":\"/"
		"w\",\"envs\":[{\"key\":\"A\",\"value\":\"MQ==\"},"
		"{\"key\":\"\",\"value\":\"MQ==\"},{\"key\":\"B\"}],\"mounts\":[{\"container_path\":\"/"
		"c\",\"host_path\":\"/h\","
		"\"readonly\":true,\"propagation\":\"PROPAGATION_HOST_TO_CONTAINER\",\"uidMappings\":[{\"length\":1}]},"
		"{\"container_path\":\"/"
		"i\",\"image\":{\"image\":\"img\"},\"image_sub_path\":\"s\"}],\"devices\":[{\"container_path\":"
		"\"/dev/a\",\"host_path\":\"/dev/"
		"b\",\"permissions\":\"rwm\"}],\"labels\":{\"l\":\"1\"},\"log_path\":\"c/0.log\","
		"\"stdin\":true,\"tty\":true,\"CDI_devices\":[{\"name\":\"v.com/"
		"c=d\"}],\"stop_signal\":\"SIGRTMINPLUS3\",\"linux\":{"
		"\"resources\":{\"cpu_quota\":-1,\"oom_score_adj\":-997},\"security_context\":{\"capabilities\":{\"add_"
		"capabilities\":"
		"[\"NET_ADMIN\"],\"drop_capabilities\":[\"ALL\"],\"add_ambient_capabilities\":[\"CHOWN\"]},\"run_as_"
		"user\":{\"value\":5},"
		"\"run_as_group\":{\"value\":6},\"no_new_privs\":true,\"masked_paths\":[\"/m\"],\"readonly_paths\":[\"/"
		"r\"],"
		"\"apparmor_profile\":\"localhost/"
		"prof\",\"seccomp_profile_path\":\"unconfined\",\"readonly_rootfs\":true}}}");
	assert_int_equal(container_config_init(&c), 0);
	assert_int_equal(convert_container_config(&c, (const void *)m.m, &err), 0);
	assert_string_equal(c.image, "id");
	assert_string_equal(c.user_specified_image, "busybox");
	assert_int_equal(c.args.n, 2);
	assert_int_equal(c.env.n, 2); /* the nameless one is dropped */
	assert_string_equal(c.env.v[0], "A=1");
	assert_string_equal(c.env.v[1], "B=");
	assert_int_equal(c.n_mounts, 2);
	assert_int_equal(c.mounts[0].propagation, PROPAGATION_HOST_TO_CONTAINER);
	assert_int_equal(c.mounts[0].maps.uids.n, 1);
	assert_string_equal(c.mounts[1].image, "img");
	assert_string_equal(c.mounts[1].host_path, "");
	assert_string_equal(c.devices[0].permissions, "rwm");
	assert_true(c.stdin_open && c.tty && !c.stdin_once);
	assert_string_equal(c.cdi_devices.v[0], "v.com/c=d");
	assert_string_equal(c.stop_signal, "SIGRTMIN+3");
	assert_int_equal(c.resources.oom_score_adj, -997);
	assert_true(c.sec.no_new_privs && c.sec.readonly_rootfs);
	assert_int_equal(c.sec.run_as_group.v, 6);
	assert_string_equal(c.sec.cap_ambient.v[0], "CHOWN");
	assert_int_equal(c.sec.apparmor.type, PROFILE_LOCALHOST);
	assert_string_equal(c.sec.apparmor.localhost_ref, "prof");
	assert_int_equal(c.sec.seccomp.type, PROFILE_UNCONFINED);
	container_config_release(&c);
	rpc_arena_release(&m.arena);
}

static void container_refused(const char *json, const char *text)
{
	struct msg m;
	struct container_config c;
	crio_err err = ERR_INIT;

	request(&m, CONTAINER_CONFIG, json);
	assert_int_equal(container_config_init(&c), 0);
	assert_int_equal(convert_container_config(&c, (const void *)m.m, &err), CRIO_E_INVALID);
	if (!strstr(err_text(&err), text))
		fail_msg("'%s' is not in '%s'", text, err_text(&err));
	err_clear(&err);
	container_config_release(&c);
	rpc_arena_release(&m.arena);
}

static void test_container_refused(void **state)
{
	(void)state;
	container_refused("{}", "metadata is nil");
	container_refused("{\"metadata\":{}}", "name is empty");
	container_refused("{\"metadata\":{\"name\":\"c\"}}", "Image is nil");
	container_refused("{\"metadata\":{\"name\":\"c\"},\"image\":{}}", "Image is empty");
	container_refused("{" CMETA ",\"envs\":[{\"key\":\"A\",\"value\":\"YQBi\"}]}",
			  "envs[0].value (A) contains a NUL");
	container_refused("{" CMETA ",\"envs\":[{\"key\":\"A\",\"value\":\"/w==\"}]}", "is not valid UTF-8");
	container_refused("{" CMETA ",\"envs\":[{\"key\":\"A=B\"}]}", "contains '='");
	container_refused("{" CMETA ",\"mounts\":[{\"host_path\":\"/h\"}]}", "ContainerPath is empty");
	container_refused("{" CMETA ",\"mounts\":[{\"container_path\":\"/h\"}]}", "HostPath is empty");
	container_refused("{" CMETA ",\"mounts\":[{\"container_path\":\"/h\",\"host_path\":\"/\",\"propagation\":4}]}",
			  "propagation");
	container_refused("{" CMETA ",\"stop_signal\":99}", "is no signal");
	container_refused("{" CMETA ",\"linux\":{\"security_context\":{\"run_as_group\":{\"value\":1}}}}",
			  "without user");
}

/* Later keys win; what is equal comes once. */
static void test_map(void **state)
{
	CRI(PodSandboxConfig__LabelsEntry) e[5], *v[5];
	static const char *const kv[5][2] = {{"b", "1"}, {"a", "1"}, {"b", "2"}, {"", "x"}, {"b", "3"}};
	struct kvs m = KVS_INIT;
	crio_err err = ERR_INIT;
	size_t i;

	(void)state;
	for (i = 0; i < 5; i++) {
		e[i] = (CRI(PodSandboxConfig__LabelsEntry))RUNTIME__V1__POD_SANDBOX_CONFIG__LABELS_ENTRY__INIT;
		e[i].key = (char *)(uintptr_t)kv[i][0];
		e[i].value = (char *)(uintptr_t)kv[i][1];
		v[i] = &e[i];
	}
	assert_int_equal(convert_map(&m, v, 5, &err), 0);
	assert_int_equal(m.n, 3);
	assert_string_equal(kvs_get(&m, "b"), "3");
	assert_string_equal(kvs_get(&m, ""), "x");
	assert_string_equal(m.v[2].key, "b");
	kvs_release(&m);
}

/* A reply as a client decodes it. */
static ProtobufCMessage *as_client(const ProtobufCMessageDescriptor *d, const ProtobufCMessage *m)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *p = malloc(n + 1);
	ProtobufCMessage *r;

	(void)protobuf_c_message_pack(m, p);
	r = protobuf_c_message_unpack(d, NULL, n, p);
	assert_non_null(r);
	free(p);
	return r;
}

static void test_container_status(void **state)
{
	struct msg m;
	struct container_config c;
	struct container_status s = {.id = "id",
				     .name = "n",
				     .pod_id = "p",
				     .config = &c,
				     .state = CONTAINER_CREATED,
				     .created_ns = 10,
				     .started_ns = 20,
				     .finished_ns = 30,
				     .exit_code = 137,
				     .reason = "Error",
				     .message = (char *)(uintptr_t) "boom",
				     .image_id = "img",
				     .image_ref = "r@d",
				     .image_name = "nm",
				     .log_path = (char *)(uintptr_t) "/l",
				     .uid = -1};
	CRI(ContainerStatus) * out, *got;
	crio_call *call = call_new("t", CALL_NO_DEADLINE);
	crio_err err = ERR_INIT;

	(void)state;
	request(&m, CONTAINER_CONFIG,
		"{" CMETA ",\"mounts\":[{\"container_path\":\"/c\",\"host_path\":\"/h\",\"recursive_read_only\":true}],"
		"\"labels\":{\"a\":\"1\",\"b\":\"2\"},\"linux\":{\"resources\":{\"cpu_shares\":5,\"unified\":{\"x\":"
		"\"y\"}}}}");
	assert_int_equal(container_config_init(&c), 0);
	assert_int_equal(convert_container_config(&c, (const void *)m.m, &err), 0);
	assert_int_equal(resources_init(&s.resources), 0);
	assert_int_equal(resources_copy(&s.resources, &c.resources), 0);
	assert_int_equal(convert_container_status_out(call, &s, &out, &err), 0);
	got = (void *)as_client(out->base.descriptor, &out->base);
	/* Nothing of a state not reached. */
	assert_int_equal(got->state, RUNTIME__V1__CONTAINER_STATE__CONTAINER_CREATED);
	assert_int_equal(got->started_at, 0);
	assert_int_equal(got->exit_code, 0);
	assert_string_equal(got->reason, "");
	assert_null(got->user);
	assert_int_equal(got->n_labels, 2);
	assert_string_equal(got->labels[1]->value, "2");
	assert_true(got->mounts[0]->recursive_read_only);
	assert_int_equal(got->resources->linux->cpu_shares, 5);
	assert_string_equal(got->image->image, "nm");
	protobuf_c_message_free_unpacked(&got->base, NULL);
	s.state = CONTAINER_EXITED;
	s.uid = 5;
	s.gid = 6;
	assert_int_equal(convert_container_status_out(call, &s, &out, &err), 0);
	got = (void *)as_client(out->base.descriptor, &out->base);
	assert_int_equal(got->finished_at, 30);
	assert_int_equal(got->exit_code, 137);
	assert_string_equal(got->message, "boom");
	assert_int_equal(got->user->linux->gid, 6);
	protobuf_c_message_free_unpacked(&got->base, NULL);
	resources_release(&s.resources);
	container_config_release(&c);
	rpc_arena_release(&m.arena);
	call_unref(call);
}

static void test_pod_status(void **state)
{
	struct msg m;
	struct pod_config c;
	struct pod_status s = {
	    .id = "id", .name = "n", .config = &c, .state = POD_NOTREADY, .created_ns = 10, .runtime_handler = "x"};
	CRI(PodSandboxStatus) * out, *got;
	crio_call *call = call_new("t", CALL_NO_DEADLINE);
	crio_err err = ERR_INIT;

	(void)state;
	request(&m, POD_CONFIG,
		"{" META ",\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":\"NODE\",\"userns_options\":"
		"{\"uids\":[{\"host_id\":1,\"length\":2}]}}}}}");
	assert_int_equal(pod_config_init(&c), 0);
	assert_int_equal(convert_pod_config(&c, (const void *)m.m, &err), 0);
	assert_int_equal(convert_pod_status_out(call, &s, &out, &err), 0);
	got = (void *)as_client(out->base.descriptor, &out->base);
	assert_non_null(got->network); /* kubelet reads through it */
	assert_string_equal(got->network->ip, "");
	assert_string_equal(got->runtime_handler, "");
	assert_int_equal(got->linux->namespaces->options->pid, NS_NODE);
	assert_int_equal(got->linux->namespaces->options->userns_options->uids[0]->length, 2);
	protobuf_c_message_free_unpacked(&got->base, NULL);
	assert_int_equal(strv_add(&s.ips, "10.0.0.1"), 0);
	assert_int_equal(strv_add(&s.ips, "fd00::1"), 0);
	assert_int_equal(convert_pod_status_out(call, &s, &out, &err), 0);
	got = (void *)as_client(out->base.descriptor, &out->base);
	assert_string_equal(got->network->ip, "10.0.0.1");
	assert_string_equal(got->network->additional_ips[0]->ip, "fd00::1");
	protobuf_c_message_free_unpacked(&got->base, NULL);
	strv_release(&s.ips);
	pod_config_release(&c);
	rpc_arena_release(&m.arena);
	call_unref(call);
}

/* A list put together from parts is the list message. */
static void test_list(void **state)
{
	cleanup_list struct list_builder b = {0};
	struct rpc_reply reply = {0};
	CRI(ListContainersResponse) * got;
	crio_err err = ERR_INIT;
	char id[300];
	int i;

	(void)state;
	assert_int_equal(list_finish(&b, &reply, &err), 0);
	assert_int_equal(reply.n, 0);
	free(reply.p);
	for (i = 0; i < 200; i++) {
		CRI(Container) c = RUNTIME__V1__CONTAINER__INIT;
		struct wire *w = NULL;

		memset(id, 'a', sizeof(id));
		id[i] = '\0'; /* lengths around the second byte of the varint */
		c.id = id;
		c.created_at = i;
		assert_int_equal(list_entry(&c.base, &w, &err), 0);
		assert_int_equal(lists_add(&b, w, &err), 0);
	}
	assert_int_equal(list_finish(&b, &reply, &err), 0);
	got = (void *)protobuf_c_message_unpack(&runtime__v1__list_containers_response__descriptor, NULL, reply.n,
						reply.p);
	assert_non_null(got);
	assert_int_equal(got->n_containers, 200);
	for (i = 0; i < 200; i++) {
		assert_int_equal(got->containers[i]->created_at, i);
		assert_int_equal(strlen(got->containers[i]->id), i);
	}
	protobuf_c_message_free_unpacked(&got->base, NULL);
	free(reply.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pod),	       cmocka_unit_test(test_pod_refused),
	    cmocka_unit_test(test_container),  cmocka_unit_test(test_container_refused),
	    cmocka_unit_test(test_map),	       cmocka_unit_test(test_container_status),
	    cmocka_unit_test(test_pod_status), cmocka_unit_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
