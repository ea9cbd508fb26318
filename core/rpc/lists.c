/* lists.c: see lists.h. */
#include "core/rpc/lists.h"

#include "core/rpc/codec.h"
#include "core/rpc/stream.h"

#define TAG 0x0a /* field 1, length-delimited */

int list_entry(const ProtobufCMessage *m, struct wire **ret, crio_err *err)
{
	size_t n = protobuf_c_message_get_packed_size(m), len = n, k = 0;
	unsigned char head[1 + 10];
	struct wire *w;

	head[k++] = TAG;
	for (; len >= 0x80; len >>= 7)
		head[k++] = (unsigned char)(len | 0x80);
	head[k++] = (unsigned char)len;
	w = wire_new(k + n);
	if (!w)
		return err_nomem(err);
	memcpy(w->p, head, k);
	(void)protobuf_c_message_pack(m, w->p + k);
	rpc_wire_fix_utf8(m->descriptor, w->p + k, n);
	*ret = w;
	return 0;
}

int lists_add(struct list_builder *b, struct wire *w, crio_err *err)
{
	struct wire **v;
	size_t cap;

	if (b->n == b->cap) {
		cap = b->cap ? b->cap * 2 : 64;
		v = realloc(b->v, cap * sizeof(*v));
		if (!v) {
			wire_unref(w);
			return err_nomem(err);
		}
		b->v = v;
		b->cap = cap;
	}
	b->v[b->n++] = w;
	b->bytes += w->n;
	return 0;
}

int list_finish(const struct list_builder *b, struct rpc_reply *reply, crio_err *err)
{
	char *p = malloc(b->bytes ? b->bytes : 1);
	size_t i, at = 0;

	if (!p)
		return err_nomem(err);
	for (i = 0; i < b->n; i++) {
		memcpy(p + at, b->v[i]->p, b->v[i]->n);
		at += b->v[i]->n;
	}
	reply->p = p;
	reply->n = at;
	return 0;
}

/* ---- streamed ---- */

static int next_chunk(void *arg, struct wire **ret)
{
	struct list_builder *b = arg;
	size_t n = 0, bytes = 0, at = 0, i;
	struct wire *w;

	if (b->sent == b->n)
		return 0;
	while (b->sent + n < b->n && n < LIST_CHUNK && (!n || bytes + b->v[b->sent + n]->n <= LIST_CHUNK_BYTES))
		bytes += b->v[b->sent + n++]->n;
	w = wire_new(bytes);
	if (!w)
		return CRIO_E_NOMEM;
	for (i = 0; i < n; i++) {
		struct wire *e = b->v[b->sent++];

		memcpy(w->p + at, e->p, e->n);
		at += e->n;
		wire_unref(e);
	}
	*ret = w;
	return 0;
}

static void chunks_end(void *arg)
{
	lists_release(arg);
	free(arg);
}

int list_stream(struct list_builder *b, const struct rpc_env *env, crio_err *err)
{
	struct list_builder *own = malloc(sizeof(*own));
	struct rpc_stream *st;
	int r;

	if (!own)
		return err_nomem(err);
	r = rpc_stream_open(env, NULL, NULL, &st, err);
	if (r < 0) {
		free(own);
		return r;
	}
	*own = *b;
	*b = (struct list_builder){0};
	rpc_stream_source(st, next_chunk, chunks_end, own);
	rpc_stream_unref(st);
	return 0;
}

void lists_release(struct list_builder *b)
{
	while (b->n > b->sent)
		wire_unref(b->v[--b->n]);
	free(b->v);
	*b = (struct list_builder){0};
}
