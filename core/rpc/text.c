/* text.c: messages as text for the debug log. */
#include <inttypes.h>

#include "core/rpc/codec.h"
#include "core/util/str.h"

/* Fields of AuthConfig that open a registry. */
static bool is_secret(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f)
{
	static const char *const names[] = {"password", "auth", "identity_token", "registry_token"};
	size_t i;

	if (!str_eq(d->short_name, "AuthConfig") || f->type != PROTOBUF_C_TYPE_STRING)
		return false;
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(f->name, names[i]))
			return true;
	return false;
}

static void add_quoted(struct buf *b, const void *p, size_t n)
{
	const unsigned char *s = p;
	size_t i, from = 0;

	buf_addc(b, '"');
	for (i = 0; i < n && !buf_bad(b); i++) {
		unsigned char c = s[i];

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
			continue;
		buf_add(b, s + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\')
			buf_addf(b, "\\%c", c);
		else if (c == '\n')
			buf_adds(b, "\\n");
		else if (c == '\t')
			buf_adds(b, "\\t");
		else if (c >= 0x80)
			buf_addc(b, (char)c);
		else
			buf_addf(b, "\\x%02x", c);
	}
	buf_add(b, s + from, n - from);
	buf_addc(b, '"');
}

static void add_message(struct buf *b, const ProtobufCMessage *m);

static void add_enum(struct buf *b, const ProtobufCEnumDescriptor *d, int32_t v)
{
	const ProtobufCEnumValue *e = protobuf_c_enum_descriptor_get_value(d, v);

	if (e)
		buf_adds(b, e->name);
	else
		buf_addf(b, "%" PRId32, v);
}

/* One value; false: it is the default, which proto3 does not show. `all`: show it all the same (elements). */
static bool value_is_default(const ProtobufCFieldDescriptor *f, const void *p)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return !*(ProtobufCMessage *const *)p;
	case PROTOBUF_C_TYPE_STRING:
		return !str_set(*(char *const *)p);
	case PROTOBUF_C_TYPE_BYTES:
		return !((const ProtobufCBinaryData *)p)->len;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return !*(const uint64_t *)p;
	default:
		return !*(const uint32_t *)p;
	}
}

static void add_value(struct buf *b, const ProtobufCFieldDescriptor *f, const void *p)
{
	const ProtobufCBinaryData *bytes = p;
	const char *s;

	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		buf_addc(b, '{');
		add_message(b, *(ProtobufCMessage *const *)p);
		buf_addc(b, '}');
		break;
	case PROTOBUF_C_TYPE_STRING:
		s = *(char *const *)p;
		add_quoted(b, s ? s : "", s ? strlen(s) : 0);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		add_quoted(b, bytes->data, bytes->len);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		add_enum(b, f->descriptor, *(const int32_t *)p);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		buf_adds(b, *(const protobuf_c_boolean *)p ? "true" : "false");
		break;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		buf_addf(b, "%" PRId32, *(const int32_t *)p);
		break;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		buf_addf(b, "%" PRIu32, *(const uint32_t *)p);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		buf_addf(b, "%" PRId64, *(const int64_t *)p);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		buf_addf(b, "%" PRIu64, *(const uint64_t *)p);
		break;
	case PROTOBUF_C_TYPE_FLOAT:
		buf_addf(b, "%g", (double)*(const float *)p);
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		buf_addf(b, "%g", *(const double *)p);
		break;
	}
}

static size_t value_size(ProtobufCType t)
{
	switch (t) {
	case PROTOBUF_C_TYPE_MESSAGE:
	case PROTOBUF_C_TYPE_STRING:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	default:
		return 4;
	}
}

static void add_field(struct buf *b, const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, bool *first)
{
	const char *base = (const char *)m;
	const char *p = base + f->offset;
	size_t i, n = 1, size = value_size(f->type);

	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		n = *(const size_t *)(const void *)(base + f->quantifier_offset);
		p = *(char *const *)(const void *)p;
	} else if (value_is_default(f, p)) {
		return;
	}
	for (i = 0; i < n && !buf_bad(b); i++, p += size) {
		buf_addf(b, "%s%s:", *first ? "" : " ", f->name);
		*first = false;
		if (is_secret(m->descriptor, f))
			buf_adds(b, "[REDACTED]");
		else
			add_value(b, f, p);
	}
}

static void add_message(struct buf *b, const ProtobufCMessage *m)
{
	bool first = true;
	unsigned i;

	for (i = 0; m && i < m->descriptor->n_fields && !buf_bad(b); i++)
		add_field(b, m, &m->descriptor->fields[i], &first);
}

char *rpc_text(const ProtobufCMessage *m, size_t limit)
{
	cleanup_buf struct buf b = BUF_INIT;
	char *s;

	buf_init(&b, limit);
	add_message(&b, m);
	if (b.over) {
		b.over = false;
		b.limit = 0;
		buf_adds(&b, "...");
	}
	s = buf_take(&b);
	if (s)
		rpc_text_fix_utf8(s, strlen(s));
	return s;
}
