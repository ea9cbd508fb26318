/* events.h: GetContainerEvents: each event is packed once and queued for every client that listens. */
#ifndef RPC_EVENTS_H
#define RPC_EVENTS_H

#include "core/lifecycle/lifecycle.h"
#include "core/rpc/cri.h"
#include "core/rpc/method.h"

struct events;
/* Listens to the lifecycle, which outlives it. */
int events_new(struct lifecycle *lc, struct events **ret, crio_err *err);
/* Ends all streams, and takes no more. NULL is fine. */
void events_end(struct events *ev);
void events_free(struct events *ev); /* after events_end, when no stream's owner can be called any more */

/* PodSandboxStatus with enable_pod_events: the reply, with the containers' statuses and a time. */
int rpc_pod_containers(crio_call *call, struct pod *p, CRI(PodSandboxStatusResponse) * r, struct rpc_reply *reply, crio_err *err);

#endif
