/* reply.c: packing answers. */
#include "core/rpc/codec.h"
#include "core/rpc/method.h"

int rpc_reply_pack(struct rpc_reply *reply, const ProtobufCMessage *m, crio_err *err)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *p = malloc(n ? n : 1);

	if (!p)
		return err_nomem(err);
	n = protobuf_c_message_pack(m, p);
	rpc_wire_fix_utf8(m->descriptor, p, n);
	free(reply->p);
	reply->p = p;
	reply->n = n;
	return 0;
}
