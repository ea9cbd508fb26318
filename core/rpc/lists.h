/*
 * lists.h: list replies made of cached parts. A repeated message field is a concatenation of tag, length and bytes, so
 * a list is its entries' wire forms one after the other. Every list response of the CRI has its entries in field 1.
 */
#ifndef RPC_LISTS_H
#define RPC_LISTS_H

#include <protobuf-c/protobuf-c.h>

#include "core/lifecycle/lifecycle.h"
#include "core/rpc/method.h"

/* Packs one entry with its tag and length; one reference. */
int list_entry(const ProtobufCMessage *m, struct wire **ret, crio_err *err);

struct list_builder {
	struct wire **v;
	size_t n, cap;
	size_t bytes;
	size_t sent; /* list_stream: entries that went out, whose references are gone */
};
/* Takes the reference of w, also when it fails. */
int lists_add(struct list_builder *b, struct wire *w, crio_err *err);
int list_finish(const struct list_builder *b, struct rpc_reply *reply, crio_err *err);
/* The streaming form: messages of at most LIST_CHUNK entries and about LIST_CHUNK_BYTES, as fast as the client takes them, then
 * the end. An empty list is no message at all. In the handler of a method that streams; b is empty afterwards. */
#define LIST_CHUNK 3000u
#define LIST_CHUNK_BYTES (4u << 20) /* the kubelet takes 16 MiB; an entry is never cut */
int list_stream(struct list_builder *b, const struct rpc_env *env, crio_err *err);
void lists_release(struct list_builder *b);
#define cleanup_list CLEANUP(lists_release)

#endif
