/* pbjson.c: see pbjson.h. */
#include "tests/client/pbjson.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *p)
{
	if (!p) {
		fputs("out of memory\n", stderr);
		exit(70);
	}
	return p;
}

static void camel(const char *snake, char *ret, size_t n)
{
	size_t i = 0;
	bool up = false;

	for (; *snake && i + 1 < n; snake++) {
		if (*snake == '_') {
			up = true;
			continue;
		}
		ret[i++] = up ? (char)toupper((unsigned char)*snake) : *snake;
		up = false;
	}
	ret[i] = '\0';
}

const ProtobufCFieldDescriptor *pbjson_field(const ProtobufCMessageDescriptor *d, const char *name)
{
	char c[128];
	unsigned i;

	for (i = 0; i < d->n_fields; i++) {
		camel(d->fields[i].name, c, sizeof(c));
		if (!strcmp(d->fields[i].name, name) || !strcmp(c, name))
			return &d->fields[i];
	}
	return NULL;
}

static bool is_map(const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;
	size_t n;

	if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
		return false;
	n = strlen(d->short_name);
	return d->n_fields == 2 && n > 5 && !strcmp(d->short_name + n - 5, "Entry") &&
	       !strcmp(d->fields[0].name, "key");
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
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	default:
		return 4;
	}
}

/* ---- base64 ---- */

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *b64_encode(const uint8_t *p, size_t n)
{
	char *s = need(malloc((n + 2) / 3 * 4 + 1)), *o = s;
	size_t i;

	for (i = 0; i < n; i += 3) {
		uint32_t v =
		    (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);

		*o++ = b64[v >> 18];
		*o++ = b64[v >> 12 & 63];
		*o++ = i + 1 < n ? b64[v >> 6 & 63] : '=';
		*o++ = i + 2 < n ? b64[v & 63] : '=';
	}
	*o = '\0';
	return s;
}

static bool b64_decode(const char *s, ProtobufCBinaryData *ret)
{
	uint8_t *p = need(malloc(strlen(s) / 4 * 3 + 4));
	uint32_t v = 0;
	unsigned bits = 0;
	size_t n = 0;

	for (; *s && *s != '='; s++) {
		const char *at = strchr(b64, *s);

		if (!at) {
			free(p);
			return false;
		}
		v = v << 6 | (uint32_t)(at - b64);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			p[n++] = (uint8_t)(v >> bits);
		}
	}
	ret->data = p;
	ret->len = n;
	return true;
}

/* ---- parsing ---- */

static bool bad(char why[256], const ProtobufCFieldDescriptor *f, const char *what)
{
	snprintf(why, 256, "%s: %s", f->name, what);
	return false;
}

static bool parse_number(const ProtobufCFieldDescriptor *f, struct json_object *v, int64_t min, uint64_t max, void *p,
			 size_t size, char why[256])
{
	const char *s = json_object_get_string(v);
	char *end = NULL;
	int64_t i;
	uint64_t u;

	if (!json_object_is_type(v, json_type_int) && !json_object_is_type(v, json_type_string))
		return bad(why, f, "is no whole number");
	errno = 0;
	if (*s == '-') {
		i = strtoll(s, &end, 10);
		if (errno || *end || end == s || i < min)
			return bad(why, f, "is out of range or no number");
		u = (uint64_t)i;
	} else {
		u = strtoull(s, &end, 10);
		if (errno || *end || end == s || u > max)
			return bad(why, f, "is out of range or no number");
	}
	if (size == 8)
		memcpy(p, &u, 8);
	else
		memcpy(p, &(uint32_t){(uint32_t)u}, 4);
	return true;
}

static bool parse_enum(const ProtobufCFieldDescriptor *f, struct json_object *v, void *p, char why[256])
{
	const ProtobufCEnumValue *e;

	if (!json_object_is_type(v, json_type_string))
		return parse_number(f, v, INT32_MIN, INT32_MAX, p, 4, why);
	e = protobuf_c_enum_descriptor_get_value_by_name(f->descriptor, json_object_get_string(v));
	if (!e)
		return bad(why, f, "is no name of its enum");
	*(int *)p = e->value;
	return true;
}

static bool parse_value(const ProtobufCFieldDescriptor *f, struct json_object *v, void *p, char why[256])
{
	char inner[256];

	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		if (!json_object_is_type(v, json_type_object))
			return bad(why, f, "is no object");
		*(ProtobufCMessage **)p = pbjson_parse(f->descriptor, v, inner);
		if (!*(ProtobufCMessage **)p) {
			snprintf(why, 256, "%.100s.%.150s", f->name, inner);
			return false;
		}
		return true;
	case PROTOBUF_C_TYPE_STRING:
		if (!json_object_is_type(v, json_type_string))
			return bad(why, f, "is no string");
		*(char **)p = need(strdup(json_object_get_string(v)));
		return true;
	case PROTOBUF_C_TYPE_BYTES:
		if (!json_object_is_type(v, json_type_string) || !b64_decode(json_object_get_string(v), p))
			return bad(why, f, "is no base64");
		return true;
	case PROTOBUF_C_TYPE_BOOL:
		if (!json_object_is_type(v, json_type_boolean))
			return bad(why, f, "is no boolean");
		*(protobuf_c_boolean *)p = json_object_get_boolean(v);
		return true;
	case PROTOBUF_C_TYPE_ENUM:
		return parse_enum(f, v, p, why);
	case PROTOBUF_C_TYPE_FLOAT:
		*(float *)p = (float)json_object_get_double(v);
		return true;
	case PROTOBUF_C_TYPE_DOUBLE:
		*(double *)p = json_object_get_double(v);
		return true;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return parse_number(f, v, INT32_MIN, INT32_MAX, p, 4, why);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return parse_number(f, v, 0, UINT32_MAX, p, 4, why);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return parse_number(f, v, 0, UINT64_MAX, p, 8, why);
	default:
		return parse_number(f, v, INT64_MIN, INT64_MAX, p, 8, why);
	}
}

/* An object's members as Entry messages. */
static bool parse_map(const ProtobufCFieldDescriptor *f, struct json_object *v, ProtobufCMessage ***ret, size_t *n,
		      char why[256])
{
	const ProtobufCMessageDescriptor *d = f->descriptor;
	struct json_object_iterator it, end;

	if (!json_object_is_type(v, json_type_object))
		return bad(why, f, "is no object");
	*ret = need(calloc((size_t)json_object_object_length(v) + 1, sizeof(**ret)));
	end = json_object_iter_end(v);
	for (it = json_object_iter_begin(v); !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
		struct json_object *key = json_object_new_string(json_object_iter_peek_name(&it));
		ProtobufCMessage *m = need(calloc(1, d->sizeof_message));
		bool ok;

		d->message_init(m);
		(*ret)[(*n)++] = m;
		ok = parse_value(&d->fields[0], key, (char *)m + d->fields[0].offset, why) &&
		     parse_value(&d->fields[1], json_object_iter_peek_value(&it), (char *)m + d->fields[1].offset, why);
		json_object_put(key);
		if (!ok)
			return false;
	}
	return true;
}

static bool parse_field(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, struct json_object *v, char why[256])
{
	char *base = (char *)m;
	void *at = base + f->offset;
	size_t *n = (size_t *)(void *)(base + f->quantifier_offset), i, len, size = value_size(f->type);
	char *p;

	if (!v)
		return true; /* null: absent */
	if (f->label != PROTOBUF_C_LABEL_REPEATED)
		return parse_value(f, v, at, why);
	if (is_map(f))
		return parse_map(f, v, at, n, why);
	if (!json_object_is_type(v, json_type_array))
		return bad(why, f, "is no array");
	len = json_object_array_length(v);
	p = *(char **)at = need(calloc(len + 1, size));
	for (i = 0; i < len; i++) {
		if (!parse_value(f, json_object_array_get_idx(v, i), p + i * size, why))
			return false;
		*n = i + 1;
	}
	return true;
}

ProtobufCMessage *pbjson_parse(const ProtobufCMessageDescriptor *d, struct json_object *o, char why[256])
{
	struct json_object_iterator it, end;
	ProtobufCMessage *m;

	if (!json_object_is_type(o, json_type_object)) {
		snprintf(why, 256, "%s: is no object", d->short_name);
		return NULL;
	}
	m = need(calloc(1, d->sizeof_message));
	d->message_init(m);
	end = json_object_iter_end(o);
	for (it = json_object_iter_begin(o); !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
		const ProtobufCFieldDescriptor *f = pbjson_field(d, json_object_iter_peek_name(&it));

		if (!f)
			snprintf(why, 256, "%.120s has no field '%.100s'", d->short_name,
				 json_object_iter_peek_name(&it));
		if (!f || !parse_field(m, f, json_object_iter_peek_value(&it), why)) {
			protobuf_c_message_free_unpacked(m, NULL);
			return NULL;
		}
	}
	return m;
}

/* ---- dumping ---- */

static struct json_object *dump_value(const ProtobufCFieldDescriptor *f, const void *p)
{
	const ProtobufCBinaryData *bytes = p;
	const ProtobufCEnumValue *e;
	struct json_object *o;
	char num[32], *s;

	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(ProtobufCMessage *const *)p ? pbjson_dump(*(ProtobufCMessage *const *)p) : NULL;
	case PROTOBUF_C_TYPE_STRING:
		return need(json_object_new_string(*(char *const *)p ? *(char *const *)p : ""));
	case PROTOBUF_C_TYPE_BYTES:
		s = b64_encode(bytes->data, bytes->len);
		o = need(json_object_new_string(s));
		free(s);
		return o;
	case PROTOBUF_C_TYPE_BOOL:
		return need(json_object_new_boolean(*(const protobuf_c_boolean *)p));
	case PROTOBUF_C_TYPE_ENUM:
		e = protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *)p);
		return need(e ? json_object_new_string(e->name) : json_object_new_int(*(const int *)p));
	case PROTOBUF_C_TYPE_FLOAT:
		return need(json_object_new_double((double)*(const float *)p));
	case PROTOBUF_C_TYPE_DOUBLE:
		return need(json_object_new_double(*(const double *)p));
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return need(json_object_new_int64(*(const uint32_t *)p));
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		snprintf(num, sizeof(num), "%" PRIu64, *(const uint64_t *)p);
		return need(json_object_new_string(num));
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		snprintf(num, sizeof(num), "%" PRId64, *(const int64_t *)p);
		return need(json_object_new_string(num));
	default:
		return need(json_object_new_int(*(const int32_t *)p));
	}
}

static struct json_object *dump_map(const ProtobufCFieldDescriptor *f, ProtobufCMessage **v, size_t n)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;
	struct json_object *o = need(json_object_new_object());
	size_t i;

	for (i = 0; i < n; i++) {
		const char *base = (const char *)v[i];
		struct json_object *key = dump_value(&d->fields[0], base + d->fields[0].offset);

		json_object_object_add(o, json_object_get_string(key),
				       dump_value(&d->fields[1], base + d->fields[1].offset));
		json_object_put(key);
	}
	return o;
}

struct json_object *pbjson_dump(const ProtobufCMessage *m)
{
	struct json_object *o = need(json_object_new_object());
	const char *base = (const char *)m;
	unsigned i;

	for (i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const void *at = base + f->offset;
		struct json_object *v;
		size_t k, n;

		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			n = *(const size_t *)(const void *)(base + f->quantifier_offset);
			if (is_map(f)) {
				v = dump_map(f, *(ProtobufCMessage * *const *)at, n);
			} else {
				v = need(json_object_new_array());
				for (k = 0; k < n; k++)
					json_object_array_add(
					    v, dump_value(f, *(char *const *)at + k * value_size(f->type)));
			}
		} else {
			v = dump_value(f, at);
		}
		json_object_object_add(o, f->name, v);
	}
	return o;
}
