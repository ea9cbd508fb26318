/* status.h: the one place where error codes become gRPC statuses. */
#ifndef RPC_STATUS_H
#define RPC_STATUS_H

/* The gRPC status for 0 or a CRIO_E_*. */
int rpc_status_of(int code);
/* "NotFound", as Go's clients print it. */
const char *rpc_status_name(int status);

#endif
