/* codec.c: the pass over the wire form, and decoding. */
#include "core/rpc/codec.h"

#include "core/util/str.h"

#define FIELDS_MAX 64 /* of one message; the CRI's largest has 24 */

/* Where in the request a fault is: names and indexes from the top. */
struct where {
	const struct where *up;
	const char *name;
	uint32_t index;
	bool repeated;
};

struct rd {
	const uint8_t *p, *end;
};

static int fault(crio_err *err, const struct where *w, const char *what)
{
	cleanup_buf struct buf b = BUF_INIT;
	const struct where *v[RPC_DEPTH_MAX + 2];
	size_t n = 0;

	for (; w && n < ARRAY_SIZE(v); w = w->up)
		v[n++] = w;
	buf_init(&b, 512);
	while (n--) {
		buf_addf(&b, "%s%s", b.n ? "." : "", v[n]->name);
		if (v[n]->repeated)
			buf_addf(&b, "[%u]", v[n]->index);
	}
	if (!b.n)
		return err_set(err, CRIO_E_INVALID, "malformed request: %s", what);
	return err_set(err, CRIO_E_INVALID, "malformed request: field '%s' %s", b.p, what);
}

static bool rd_varint(struct rd *r, uint64_t *ret)
{
	uint64_t v = 0;
	unsigned i;

	for (i = 0; i < 10 && r->p < r->end; i++) {
		uint8_t c = *r->p++;

		if (i == 9 && c > 1)
			return false;
		v |= (uint64_t)(c & 0x7f) << (7 * i);
		if (!(c & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* Splits off the next field. False: the bytes end or make no sense. */
static bool rd_field(struct rd *r, uint32_t *num, unsigned *wt, struct rd *val)
{
	uint64_t tag, n;

	if (!rd_varint(r, &tag) || tag > UINT32_MAX || !(tag >> 3))
		return false;
	*num = (uint32_t)(tag >> 3);
	*wt = tag & 7;
	val->p = r->p;
	switch (*wt) {
	case PROTOBUF_C_WIRE_TYPE_VARINT:
		if (!rd_varint(r, &n))
			return false;
		break;
	case PROTOBUF_C_WIRE_TYPE_64BIT:
	case PROTOBUF_C_WIRE_TYPE_32BIT:
		n = *wt == PROTOBUF_C_WIRE_TYPE_64BIT ? 8 : 4;
		if ((size_t)(r->end - r->p) < n)
			return false;
		r->p += n;
		break;
	case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
		if (!rd_varint(r, &n) || (uint64_t)(r->end - r->p) < n)
			return false;
		val->p = r->p;
		r->p += n;
		break;
	default: /* groups are not of proto3 */
		return false;
	}
	val->end = r->p;
	return true;
}

static unsigned wire_type(ProtobufCType t)
{
	switch (t) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return PROTOBUF_C_WIRE_TYPE_32BIT;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return PROTOBUF_C_WIRE_TYPE_64BIT;
	default:
		return PROTOBUF_C_WIRE_TYPE_VARINT;
	}
}

static bool is_map(const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *d;

	if (f->label != PROTOBUF_C_LABEL_REPEATED || f->type != PROTOBUF_C_TYPE_MESSAGE)
		return false;
	d = f->descriptor;
	return d->n_fields == 2 && str_ends(d->short_name, "Entry") && str_eq(d->fields[0].name, "key");
}

/* A packed run of varints, or of fixed numbers: how many; false when it does not come out even. */
static bool packed_count(ProtobufCType t, struct rd v, uint64_t *ret)
{
	uint64_t n = 0, x;
	unsigned wt = wire_type(t);

	if (wt != PROTOBUF_C_WIRE_TYPE_VARINT) {
		size_t size = wt == PROTOBUF_C_WIRE_TYPE_64BIT ? 8 : 4;

		*ret = (uint64_t)(v.end - v.p) / size;
		return (size_t)(v.end - v.p) % size == 0;
	}
	for (; v.p < v.end; n++)
		if (!rd_varint(&v, &x))
			return false;
	*ret = n;
	return true;
}

static int check_message(const ProtobufCMessageDescriptor *d, struct rd r, const struct where *up, unsigned depth,
			 crio_err *err);

static int check_value(const ProtobufCFieldDescriptor *f, struct rd v, const struct where *w, unsigned depth,
		       crio_err *err)
{
	size_t n = (size_t)(v.end - v.p);

	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return check_message(f->descriptor, v, w, depth + 1, err);
	if (f->type != PROTOBUF_C_TYPE_STRING)
		return 0;
	if (n && memchr(v.p, 0, n))
		return fault(err, w, "contains a NUL byte");
	if (!str_is_utf8((const char *)v.p, n))
		return fault(err, w, "is not valid UTF-8");
	return 0;
}

static int check_message(const ProtobufCMessageDescriptor *d, struct rd r, const struct where *up, unsigned depth,
			 crio_err *err)
{
	uint32_t count[FIELDS_MAX] = {0};

	if (depth > RPC_DEPTH_MAX || d->n_fields > FIELDS_MAX)
		return fault(err, up, "is nested too deeply");
	while (r.p < r.end) {
		const ProtobufCFieldDescriptor *f;
		struct where w = {up, NULL, 0, false};
		uint64_t more = 1;
		struct rd v;
		uint32_t num;
		unsigned wt;
		int e;

		if (!rd_field(&r, &num, &wt, &v))
			return fault(err, up, "is cut off or not in protobuf form");
		f = protobuf_c_message_descriptor_get_field(d, num);
		if (!f)
			continue; /* of a newer client: ignored, as protobuf has it */
		w.name = f->name;
		w.repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
		w.index = count[f - d->fields];
		if (w.repeated && wt == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED && wire_type(f->type) != wt) {
			if (!packed_count(f->type, v, &more))
				return fault(err, &w, "is cut off or not in protobuf form");
		} else if (wt != wire_type(f->type)) {
			return fault(err, &w, "is of another type on the wire");
		}
		if (more > RPC_REPEATED_MAX)
			more = RPC_REPEATED_MAX + 1;
		/* Protobuf would merge the two, and so get past the counts below. No encoder writes this. */
		if (!w.repeated && f->type == PROTOBUF_C_TYPE_MESSAGE && count[f - d->fields])
			return fault(err, &w, "is given more than once");
		count[f - d->fields] += (uint32_t)more;
		if (w.repeated && count[f - d->fields] > (is_map(f) ? RPC_MAP_MAX : RPC_REPEATED_MAX))
			return fault(err, &w,
				     is_map(f) ? "has more than 4096 entries" : "has more than 65536 elements");
		e = check_value(f, v, &w, depth, err);
		if (e < 0)
			return e;
	}
	return 0;
}

int rpc_wire_check(const ProtobufCMessageDescriptor *d, const void *p, size_t n, crio_err *err)
{
	struct rd r = {p, (const uint8_t *)p + n};

	return check_message(d, r, NULL, 0, err);
}

static void *pb_alloc(void *arg, size_t n)
{
	return rpc_arena_alloc(arg, n);
}

static void pb_free(void *arg, void *p)
{
	(void)arg; /* with the arena */
	(void)p;
}

int rpc_decode(const ProtobufCMessageDescriptor *d, const void *p, size_t n, struct rpc_arena *a,
	       ProtobufCMessage **ret, crio_err *err)
{
	ProtobufCAllocator alloc = {pb_alloc, pb_free, a};
	static const uint8_t none[1];
	ProtobufCMessage *m;
	int e;

	if (!n)
		p = none;
	e = rpc_wire_check(d, p, n, err);
	if (e < 0)
		return e;
	m = protobuf_c_message_unpack(d, &alloc, n, p);
	if (m) {
		*ret = m;
		return 0;
	}
	if (a->over && a->budget && a->used < a->limit / 2)
		return err_set(err, CRIO_E_EXHAUSTED,
			       "too much memory is in use by requests (limit %llu bytes); try again later",
			       (unsigned long long)a->budget->limit);
	if (a->over)
		return err_set(err, CRIO_E_EXHAUSTED, "request needs more than %zu bytes of memory when decoded",
			       a->limit);
	return err_set(err, CRIO_E_INVALID, "malformed request: not in protobuf form");
}

/* Length of the UTF-8 character at s, 0: none. */
static size_t utf8_len(const unsigned char *s, size_t n)
{
	size_t k = s[0] < 0x80			 ? 1
		   : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		   : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
		   : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
						 : 0;

	if (!k || k > n)
		return 0;
	if (k == 1)
		return 1;
	return str_is_utf8((const char *)s, k) ? k : 0;
}

void rpc_text_fix_utf8(char *s, size_t n)
{
	unsigned char *p = (unsigned char *)s;
	size_t i = 0, k;

	while (i < n) {
		k = utf8_len(p + i, n - i);
		if (!k) {
			p[i] = '?';
			k = 1;
		}
		i += k;
	}
}

void rpc_wire_fix_utf8(const ProtobufCMessageDescriptor *d, void *p, size_t n)
{
	struct rd r = {p, (const uint8_t *)p + n}, v;
	const ProtobufCFieldDescriptor *f;
	uint32_t num;
	unsigned wt;

	while (r.p < r.end) {
		if (!rd_field(&r, &num, &wt, &v))
			return;
		f = protobuf_c_message_descriptor_get_field(d, num);
		if (!f || wt != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
			continue;
		n = (size_t)(v.end - v.p);
		p = (void *)(uintptr_t)v.p;
		if (f->type == PROTOBUF_C_TYPE_MESSAGE)
			rpc_wire_fix_utf8(f->descriptor, p, n);
		else if (f->type == PROTOBUF_C_TYPE_STRING && !str_is_utf8(p, n))
			rpc_text_fix_utf8(p, n);
	}
}
