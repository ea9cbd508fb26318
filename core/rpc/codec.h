/*
 * codec.h: requests from bytes to structs and replies back, within limits. protobuf-c alone would cut strings at an
 * embedded NUL, take any bytes for text and multiply a message's size in memory; here a pass over the wire form, driven
 * by the descriptors, refuses the first two, and the decoded form lives in a counted arena.
 */
#ifndef RPC_CODEC_H
#define RPC_CODEC_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/util/err.h"

#define RPC_REPEATED_MAX 65536u	    /* elements of one repeated field */
#define RPC_MAP_MAX 4096u	    /* entries of one map */
#define RPC_DEPTH_MAX 16u	    /* messages within messages */
#define RPC_DECODED_MAX (64u << 20) /* bytes of one request's decoded form */

/* Bytes that several arenas share. */
struct rpc_budget {
	_Atomic uint64_t used;
	uint64_t limit;
};
/* False, and nothing taken, when n more bytes would pass the limit. Thread-safe. */
bool rpc_budget_take(struct rpc_budget *b, uint64_t n);
void rpc_budget_give(struct rpc_budget *b, uint64_t n);

/* Memory of one request's decoded form: freed at once. One thread at a time. */
struct rpc_arena {
	struct rpc_budget *budget; /* may be NULL */
	struct rpc_chunk *chunks;
	char *cur;
	size_t left;
	size_t used, limit; /* bytes taken from the heap */
	bool over;	    /* an allocation was refused by a limit */
};
void rpc_arena_init(struct rpc_arena *a, struct rpc_budget *budget, size_t limit);
void *rpc_arena_alloc(struct rpc_arena *a, size_t n); /* not zeroed; NULL past a limit or without memory */
void rpc_arena_release(struct rpc_arena *a);

/*
 * Checks n bytes of wire form and decodes them into the arena, where *ret lives. CRIO_E_INVALID names the field that
 * has a NUL, is no UTF-8, is of the wrong wire type, too numerous or a message given twice, or says where the bytes are
 * cut; CRIO_E_EXHAUSTED when a limit of bytes is passed.
 */
int rpc_decode(const ProtobufCMessageDescriptor *d, const void *p, size_t n, struct rpc_arena *a,
	       ProtobufCMessage **ret, crio_err *err);
/* The check alone. */
int rpc_wire_check(const ProtobufCMessageDescriptor *d, const void *p, size_t n, crio_err *err);
/* Puts '?' for each byte of a string field that is not UTF-8: a Go client refuses a reply that holds one. The wire form
 * is one that was packed here. */
void rpc_wire_fix_utf8(const ProtobufCMessageDescriptor *d, void *p, size_t n);
/* The same for a text of n bytes. */
void rpc_text_fix_utf8(char *s, size_t n);

/* A message in the one-line text form that CRI-O logs: `metadata:{name:"a" uid:"b"} labels:{key:"k" value:"v"}`.
 * Secrets are left out; the text is cut at limit bytes. The caller's; NULL without memory. */
char *rpc_text(const ProtobufCMessage *m, size_t limit);

#endif
