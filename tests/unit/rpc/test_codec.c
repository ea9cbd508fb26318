/* test_codec.c: checking and decoding of requests, the text form, the statuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <grpc/status.h>

#include "core/rpc/codec.h"
#include "core/rpc/cri.h"
#include "core/rpc/method.h"
#include "core/rpc/status.h"
#include "core/util/str.h"
#include "tests/client/pbjson.h"

/* A request in wire form from JSON. */
static uint8_t *wire(const ProtobufCMessageDescriptor *d, const char *json, size_t *ret_n)
{
	struct json_object *o = json_tokener_parse(json);
	char why[256] = "";
	ProtobufCMessage *m = pbjson_parse(d, o, why);
	uint8_t *p;

	assert_string_equal(why, "");
	assert_non_null(m);
	p = malloc(protobuf_c_message_get_packed_size(m) + 1);
	*ret_n = protobuf_c_message_pack(m, p);
	protobuf_c_message_free_unpacked(m, NULL);
	json_object_put(o);
	return p;
}

#define CREATE &runtime__v1__create_container_request__descriptor
static const char create_json[] =
    "{\"podSandboxId\":\"p\",\"config\":{\"metadata\":{\"name\":\"c\",\"attempt\":7},\"envs\":[{\"key\":\"A\","
    "\"value\":\"1\"},"
    "{\"key\":\"B\"}],\"mounts\":[{\"host_path\":\"/h\",\"container_path\":\"/"
    "c\",\"propagation\":\"PROPAGATION_BIDIRECTIONAL\","
    "\"uidMappings\":[{\"hostId\":5,\"length\":1}]}],\"labels\":{\"k\":\"v\",\"l\":\"w\"},\"linux\":{\"resources\":"
    "{\"memoryLimitInBytes\":\"9223372036854775807\",\"cpuQuota\":-1},\"securityContext\":{\"supplementalGroups\":[1,2,"
    "300]}}}}";

static void test_decode(void **state)
{
	struct rpc_arena a;
	crio_err err = ERR_INIT;
	CRI(CreateContainerRequest) * m;
	size_t n;
	uint8_t *p = wire(CREATE, create_json, &n);

	(void)state;
	rpc_arena_init(&a, NULL, RPC_DECODED_MAX);
	assert_int_equal(rpc_decode(CREATE, p, n, &a, (ProtobufCMessage **)(void *)&m, &err), 0);
	assert_string_equal(m->pod_sandbox_id, "p");
	assert_int_equal(m->config->metadata->attempt, 7);
	assert_int_equal(m->config->n_envs, 2);
	assert_string_equal(m->config->envs[1]->key, "B");
	assert_int_equal(m->config->mounts[0]->uidmappings[0]->host_id, 5);
	assert_true(m->config->linux->resources->memory_limit_in_bytes == INT64_MAX);
	assert_int_equal(m->config->linux->resources->cpu_quota, -1);
	assert_int_equal(m->config->linux->security_context->supplemental_groups[2], 300);
	rpc_arena_release(&a);
	free(p);
}

/* Every cut of a valid request is refused or valid, never more; run under ASan. */
static void test_truncated(void **state)
{
	struct rpc_arena a;
	ProtobufCMessage *m;
	size_t n, i;
	uint8_t *p = wire(CREATE, create_json, &n);

	(void)state;
	for (i = 0; i < n; i++) {
		uint8_t *q = malloc(i ? i : 1);

		memcpy(q, p, i);
		rpc_arena_init(&a, NULL, RPC_DECODED_MAX);
		(void)rpc_decode(CREATE, q, i, &a, &m, NULL);
		rpc_arena_release(&a);
		free(q);
	}
	/* And every byte changed. */
	for (i = 0; i < n; i++) {
		uint8_t was = p[i];

		for (p[i] = (uint8_t)(was + 1); p[i] != was; p[i] = (uint8_t)(p[i] + 13)) {
			rpc_arena_init(&a, NULL, RPC_DECODED_MAX);
			(void)rpc_decode(CREATE, p, n, &a, &m, NULL);
			rpc_arena_release(&a);
			if ((uint8_t)(p[i] + 13) == (uint8_t)(was + 1))
				break;
		}
		p[i] = was;
	}
	free(p);
}

static void refused(const ProtobufCMessageDescriptor *d, const void *p, size_t n, const char *text)
{
	crio_err err = ERR_INIT;

	assert_int_equal(rpc_wire_check(d, p, n, &err), CRIO_E_INVALID);
	if (!strstr(err_text(&err), text))
		fail_msg("'%s' is not in '%s'", text, err_text(&err));
	err_clear(&err);
}

static void test_names_the_field(void **state)
{
	size_t n;
	uint8_t *p = wire(CREATE, create_json, &n), *at;

	(void)state;
	at = memmem(p, n, "/c", 2);
	at[1] = 0;
	refused(CREATE, p, n, "field 'config.mounts[0].container_path' contains a NUL byte");
	at[1] = 0xff;
	refused(CREATE, p, n, "field 'config.mounts[0].container_path' is not valid UTF-8");
	at[1] = 'c';
	at = memmem(p, n, "\x0a\x01k", 3); /* a map's key */
	at[2] = 0x80;
	refused(CREATE, p, n, "field 'config.labels[0].key' is not valid UTF-8");
	free(p);
}

static void test_counts(void **state)
{
	size_t n = 2 * 70000, i;
	uint8_t *p = malloc(n);
	const ProtobufCMessageDescriptor *exec = &runtime__v1__exec_sync_request__descriptor;

	(void)state;
	for (i = 0; i < n; i += 2) {
		p[i] = 0x12; /* cmd: "" */
		p[i + 1] = 0;
	}
	assert_int_equal(rpc_wire_check(exec, p, 2 * RPC_REPEATED_MAX, NULL), 0);
	refused(exec, p, 2 * RPC_REPEATED_MAX + 2, "field 'cmd[65536]' has more than");
	for (i = 0; i < n; i += 2) {
		p[i] = 0x32; /* annotations of UpdateContainerResources: empty entries */
		p[i + 1] = 0;
	}
	assert_non_null(protobuf_c_message_descriptor_get_field(&runtime__v1__pod_sandbox_config__descriptor, 6));
	assert_int_equal(rpc_wire_check(&runtime__v1__pod_sandbox_config__descriptor, p, 2 * RPC_MAP_MAX, NULL), 0);
	refused(&runtime__v1__pod_sandbox_config__descriptor, p, 2 * RPC_MAP_MAX + 2,
		"field 'labels[4096]' has more than");
	free(p);
}

/* No message of the CRI contains its own kind; one that did could not make us recurse without end. */
static void test_depth(void **state)
{
	ProtobufCMessageDescriptor d = *(CREATE);
	ProtobufCFieldDescriptor fields[8];
	uint8_t p[128];
	size_t n;

	(void)state;
	assert_true(d.n_fields <= ARRAY_SIZE(fields));
	memcpy(fields, d.fields, d.n_fields * sizeof(*fields));
	d.fields = fields;
	for (size_t i = 0; i < d.n_fields; i++)
		if (fields[i].id == 2)
			fields[i].descriptor = &d;
	for (size_t depth = 8; depth <= 32; depth += 24) {
		for (n = 0; n < depth; n++) { /* field 2, of the length that is left */
			p[2 * n] = 0x12;
			p[2 * n + 1] = (uint8_t)(2 * (depth - n - 1));
		}
		assert_int_equal(rpc_wire_check(&d, p, 2 * depth, NULL), depth == 8 ? 0 : CRIO_E_INVALID);
	}
}

/* Merging would get past the counts. */
static void test_given_twice(void **state)
{
	(void)state;
	refused(CREATE, "\x12\x00\x12\x00", 4, "field 'config' is given more than once");
	assert_int_equal(rpc_wire_check(CREATE,
					"\x0a\x01"
					"a\x0a\x01"
					"b",
					6, NULL),
			 0); /* a string: the last wins */
}

static void test_arena(void **state)
{
	struct rpc_budget b = {.used = 0, .limit = 100000};
	struct rpc_arena a;
	size_t i;

	(void)state;
	rpc_arena_init(&a, &b, 50000);
	for (i = 0; i < 100; i++) {
		char *p = rpc_arena_alloc(&a, 17);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		memset(p, 1, 17);
	}
	assert_null(rpc_arena_alloc(&a, 50000));
	assert_true(a.over);
	assert_null(rpc_arena_alloc(&a, SIZE_MAX));
	assert_null(rpc_arena_alloc(&a, SIZE_MAX - 8));
	assert_true(b.used > 0 && b.used <= 50000);
	rpc_arena_release(&a);
	assert_int_equal(b.used, 0);
	assert_true(rpc_budget_take(&b, 100000));
	assert_false(rpc_budget_take(&b, 1));
	assert_false(rpc_budget_take(&b, UINT64_MAX));
	rpc_budget_give(&b, 100000);
}

static void test_reply_text_is_utf8(void **state)
{
	CRI(ContainerStatusResponse) r = RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INIT;
	CRI(ContainerStatus) s = RUNTIME__V1__CONTAINER_STATUS__INIT;
	char message[] = "a\xff\xc3\xa4\xe2\x82";
	struct rpc_reply reply = {0};
	crio_err err = ERR_INIT;

	(void)state;
	r.status = &s;
	s.message = message;
	assert_int_equal(rpc_reply_pack(&reply, &r.base, &err), 0);
	assert_int_equal(rpc_wire_check(r.base.descriptor, reply.p, reply.n, &err), 0);
	assert_non_null(memmem(reply.p, reply.n, "a?\xc3\xa4??", 6));
	free(reply.p);
}

static void test_text(void **state)
{
	struct rpc_arena a;
	ProtobufCMessage *m;
	size_t n;
	uint8_t *p =
	    wire(&runtime__v1__pull_image_request__descriptor,
		 "{\"image\":{\"image\":\"x:1\",\"annotations\":{\"a\":\"\\\"b\\n\"}},\"auth\":{\"username\":\"u\","
		 "\"password\":"
		 "\"hunter2\",\"auth\":\"aHVudGVyMg\",\"identityToken\":\"hunter2\",\"registryToken\":\"hunter2\"}}",
		 &n);
	char *s;

	(void)state;
	rpc_arena_init(&a, NULL, RPC_DECODED_MAX);
	assert_int_equal(rpc_decode(&runtime__v1__pull_image_request__descriptor, p, n, &a, &m, NULL), 0);
	s = rpc_text(m, 4096);
	assert_non_null(strstr(s, "image:{image:\"x:1\" annotations:{key:\"a\" value:\"\\\"b\\n\"}}"));
	assert_non_null(strstr(s, "username:\"u\""));
	assert_null(strstr(s, "hunter2"));
	assert_null(strstr(s, "aHVudGVyMg"));
	free(s);
	s = rpc_text(m, 20);
	assert_true(strlen(s) <= 23);
	assert_true(str_ends(s, "..."));
	free(s);
	rpc_arena_release(&a);
	free(p);
}

static void test_status(void **state)
{
	static const int want[] = {GRPC_STATUS_OK,
				   GRPC_STATUS_INVALID_ARGUMENT,
				   GRPC_STATUS_NOT_FOUND,
				   GRPC_STATUS_ALREADY_EXISTS,
				   GRPC_STATUS_FAILED_PRECONDITION,
				   GRPC_STATUS_RESOURCE_EXHAUSTED,
				   GRPC_STATUS_DEADLINE_EXCEEDED,
				   GRPC_STATUS_CANCELLED,
				   GRPC_STATUS_UNAVAILABLE,
				   GRPC_STATUS_UNIMPLEMENTED,
				   GRPC_STATUS_PERMISSION_DENIED,
				   GRPC_STATUS_UNAUTHENTICATED,
				   GRPC_STATUS_INTERNAL,
				   GRPC_STATUS_DATA_LOSS,
				   GRPC_STATUS_INTERNAL,
				   GRPC_STATUS_RESOURCE_EXHAUSTED,
				   GRPC_STATUS_RESOURCE_EXHAUSTED,
				   GRPC_STATUS_ABORTED};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(rpc_status_of(-(int)i), want[i]);
	assert_int_equal(rpc_status_of(-1000), GRPC_STATUS_INTERNAL);
	assert_int_equal(rpc_status_of(1), GRPC_STATUS_INTERNAL);
	assert_string_equal(rpc_status_name(GRPC_STATUS_NOT_FOUND), "NotFound");
	assert_string_equal(rpc_status_name(99), "Unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_decode),
	    cmocka_unit_test(test_truncated),
	    cmocka_unit_test(test_names_the_field),
	    cmocka_unit_test(test_counts),
	    cmocka_unit_test(test_depth), cmocka_unit_test(test_given_twice),
	    cmocka_unit_test(test_arena),
	    cmocka_unit_test(test_reply_text_is_utf8),
	    cmocka_unit_test(test_text),
	    cmocka_unit_test(test_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
