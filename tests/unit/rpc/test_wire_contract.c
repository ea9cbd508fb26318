/* test_wire_contract.c: the messages, enums and methods we were built with are those of wire.tsv, no more and no fewer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/rpc/cri.h"
#include "core/rpc/method.h"
#include "core/util/str.h"

#define FIELDS_MAX 8

static const ProtobufCServiceDescriptor *const services[] = {&runtime__v1__runtime_service__descriptor,
							     &runtime__v1__image_service__descriptor};

/* Descriptors reachable from the services. */
static const ProtobufCMessageDescriptor *messages[512];
static size_t n_messages;
static const ProtobufCEnumDescriptor *enums[64];
static size_t n_enums;

static bool is_map(const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;

	return f->type == PROTOBUF_C_TYPE_MESSAGE && f->label == PROTOBUF_C_LABEL_REPEATED &&
	       str_ends(d->short_name, "Entry") && d->n_fields == 2;
}

static void add_enum(const ProtobufCEnumDescriptor *d)
{
	size_t i;

	for (i = 0; i < n_enums; i++)
		if (enums[i] == d)
			return;
	assert_true(n_enums < ARRAY_SIZE(enums));
	enums[n_enums++] = d;
}

static void add_message(const ProtobufCMessageDescriptor *d, bool entry)
{
	size_t i;

	for (i = 0; i < n_messages; i++)
		if (messages[i] == d)
			return;
	assert_true(n_messages < ARRAY_SIZE(messages));
	if (!entry)
		messages[n_messages++] = d;
	for (i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];

		if (f->type == PROTOBUF_C_TYPE_MESSAGE)
			add_message(f->descriptor, is_map(f));
		else if (f->type == PROTOBUF_C_TYPE_ENUM)
			add_enum(f->descriptor);
	}
}

static int setup(void **state)
{
	size_t i;
	unsigned k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(services); i++) {
		for (k = 0; k < services[i]->n_methods; k++) {
			add_message(services[i]->methods[k].input, false);
			add_message(services[i]->methods[k].output, false);
		}
	}
	return 0;
}

static const ProtobufCMessageDescriptor *message(const char *name)
{
	size_t i;

	for (i = 0; i < n_messages; i++)
		if (str_eq(messages[i]->short_name, name))
			return messages[i];
	fail_msg("message %s is missing", name);
	return NULL;
}

static const char *type_of(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return ((const ProtobufCMessageDescriptor *)f->descriptor)->short_name;
	case PROTOBUF_C_TYPE_ENUM:
		return ((const ProtobufCEnumDescriptor *)f->descriptor)->short_name;
	case PROTOBUF_C_TYPE_STRING:
		return "string";
	case PROTOBUF_C_TYPE_BYTES:
		return "bytes";
	case PROTOBUF_C_TYPE_BOOL:
		return "bool";
	case PROTOBUF_C_TYPE_INT32:
		return "int32";
	case PROTOBUF_C_TYPE_UINT32:
		return "uint32";
	case PROTOBUF_C_TYPE_INT64:
		return "int64";
	case PROTOBUF_C_TYPE_UINT64:
		return "uint64";
	case PROTOBUF_C_TYPE_DOUBLE:
		return "double";
	case PROTOBUF_C_TYPE_FLOAT:
		return "float";
	default:
		return "other";
	}
}

static void check_field(char **v)
{
	const ProtobufCMessageDescriptor *d = message(v[1]);
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(d, v[2]);
	char type[128];

	if (!f)
		fail_msg("%s.%s is missing", v[1], v[2]);
	assert_int_equal(f->id, strtoul(v[3], NULL, 10));
	if (is_map(f)) {
		const ProtobufCMessageDescriptor *e = f->descriptor;

		snprintf(type, sizeof(type), "map<%s,%s>", type_of(&e->fields[0]), type_of(&e->fields[1]));
		assert_string_equal("map", v[5]);
	} else {
		snprintf(type, sizeof(type), "%s", type_of(f));
		assert_string_equal(f->label == PROTOBUF_C_LABEL_REPEATED ? "repeated" : "single", v[5]);
	}
	assert_string_equal(type, v[4]);
}

static void check_enum(char **v)
{
	const char *name = strrchr(v[1], '.') ? strrchr(v[1], '.') + 1 : v[1];
	const ProtobufCEnumValue *e;
	size_t i;

	for (i = 0; i < n_enums; i++)
		if (str_eq(enums[i]->short_name, name))
			break;
	if (i == n_enums)
		fail_msg("enum %s is missing", v[1]);
	e = protobuf_c_enum_descriptor_get_value_by_name(enums[i], v[2]);
	if (!e)
		fail_msg("%s has no %s", v[1], v[2]);
	assert_int_equal(e->value, strtol(v[3], NULL, 10));
}

/* The wire's method, and its line in methods.def. */
static void check_rpc(char **v)
{
	const ProtobufCServiceDescriptor *s = services[str_eq(v[1], "ImageService")];
	const ProtobufCMethodDescriptor *m = protobuf_c_service_descriptor_get_method_by_name(s, v[2]);
	size_t i;

	assert_non_null(m);
	assert_string_equal(m->input->short_name, v[3]);
	assert_string_equal(m->output->short_name, v[4]);
	for (i = 0; i < rpc_cri_n_methods; i++)
		if (str_eq(rpc_cri_methods[i].service, s->name) && str_eq(rpc_cri_methods[i].name, v[2]))
			break;
	if (i == rpc_cri_n_methods)
		fail_msg("%s is not in methods.def", v[2]);
	assert_ptr_equal(rpc_cri_methods[i].req, m->input);
	assert_ptr_equal(rpc_cri_methods[i].resp, m->output);
	if (!str_eq(v[5], "stream") || str_eq(v[2], "GetContainerEvents"))
		return;
	/* What lists.h makes of its entries. A handler is in methods.def when it exists at all. */
	assert_true(!rpc_cri_methods[i].handler || str_starts(v[2], "Stream"));
	assert_int_equal(m->output->n_fields, 1);
	assert_int_equal(m->output->fields[0].id, 1);
	assert_int_equal(m->output->fields[0].label, PROTOBUF_C_LABEL_REPEATED);
	assert_int_equal(m->output->fields[0].type, PROTOBUF_C_TYPE_MESSAGE);
}

static void test_contract(void **state)
{
	FILE *f = fopen(WIRE_TSV, "re");
	size_t n_msg = 0, n_rpc = 0, i;
	char line[512];

	(void)state;
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char *v[FIELDS_MAX] = {0}, *p = line;
		size_t n = 0;

		line[strcspn(line, "\n")] = '\0';
		if (*line == '#')
			continue;
		while (n < FIELDS_MAX && (v[n] = strsep(&p, "\t")))
			n++;
		if (str_eq(v[0], "message")) {
			assert_int_equal(message(v[1])->n_fields, strtoul(v[2], NULL, 10));
			n_msg++;
		} else if (str_eq(v[0], "field")) {
			check_field(v);
		} else if (str_eq(v[0], "enum")) {
			check_enum(v);
		} else if (str_eq(v[0], "rpc")) {
			check_rpc(v);
			n_rpc++;
		} else {
			fail_msg("line of kind '%s'", v[0]);
		}
	}
	(void)fclose(f);
	assert_int_equal(n_rpc, 43);
	assert_int_equal(n_rpc, rpc_cri_n_methods);
	for (i = 0; i < n_messages; i++)
		assert_non_null(messages[i]->short_name);
	assert_in_range(n_messages, 1, n_msg); /* some are of use to nobody */
	if (n_messages != n_msg)
		print_message("%zu messages are in the contract, %zu are reachable\n", n_msg, n_messages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_contract)};

	return cmocka_run_group_tests(tests, setup, NULL);
}
