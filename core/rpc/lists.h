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
};
/* Takes the reference of w, also when it fails. */
int lists_add(struct list_builder *b, struct wire *w, crio_err *err);
int list_finish(const struct list_builder *b, struct rpc_reply *reply, crio_err *err);
void lists_release(struct list_builder *b);
#define cleanup_list CLEANUP(lists_release)

#endif
