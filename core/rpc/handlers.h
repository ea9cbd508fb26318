/* handlers.h: what the services need to know of runtime handlers. */
#ifndef RPC_HANDLERS_H
#define RPC_HANDLERS_H

#include <stdbool.h>

#include "core/lifecycle/features.h"
#include "core/rpc/method.h"

/* What the handler's runtime says it can do; a runtime that cannot be asked can do nothing. */
void handler_features(const struct rpc_env *env, crio_call *call, const char *handler, struct runtime_features *ret);

/* The storage driver of the handler's pods, the call's memory; NULL: the default one (also for an unknown handler,
 * which only matters when a pod names it). */
int handler_storage(const struct rpc_env *env, crio_call *call, const char *handler, const char **ret, crio_err *err);

#endif
