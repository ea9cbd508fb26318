/* methods.c: the table of methods.def. */
#include "core/rpc/cri.h"
#include "core/rpc/method.h"
#include "core/rpc/services.h"

#define NONE NULL
#define RPC(service, name, class, req, resp, handler)                                                                  \
	{"runtime.v1." #service,                                                                                       \
	 #name,                                                                                                        \
	 WORK_##class,                                                                                                 \
	 &runtime__v1__##req##__descriptor,                                                                            \
	 &runtime__v1__##resp##__descriptor,                                                                           \
	 handler},
const struct rpc_method rpc_cri_methods[] = {
#include "core/rpc/methods.def"
};
#undef RPC
const size_t rpc_cri_n_methods = ARRAY_SIZE(rpc_cri_methods);
