/* services.h: the handlers of methods.def. */
#ifndef RPC_SERVICES_H
#define RPC_SERVICES_H

#include "core/rpc/method.h"

#define RPC_HANDLER(fn)                                                                                                \
	int fn(const struct rpc_env *env, crio_call *call, const ProtobufCMessage *req, struct rpc_reply *reply,       \
	       crio_err *err)

/* svc_runtime.c */
RPC_HANDLER(rpc_version);
RPC_HANDLER(rpc_status);
RPC_HANDLER(rpc_runtime_config);
RPC_HANDLER(rpc_update_config);
/* svc_pod.c */
RPC_HANDLER(rpc_run_pod);
RPC_HANDLER(rpc_stop_pod);
RPC_HANDLER(rpc_remove_pod);
RPC_HANDLER(rpc_pod_status);
RPC_HANDLER(rpc_list_pods);
RPC_HANDLER(rpc_stream_pods);
RPC_HANDLER(rpc_update_pod);
/* svc_events.c */
RPC_HANDLER(rpc_container_events);
/* svc_container.c */
RPC_HANDLER(rpc_create_container);
RPC_HANDLER(rpc_start_container);
RPC_HANDLER(rpc_stop_container);
RPC_HANDLER(rpc_remove_container);
RPC_HANDLER(rpc_list_containers);
RPC_HANDLER(rpc_stream_containers);
RPC_HANDLER(rpc_container_status);
RPC_HANDLER(rpc_update_container);
RPC_HANDLER(rpc_reopen_log);
RPC_HANDLER(rpc_checkpoint_container);
RPC_HANDLER(rpc_exec_sync);
/* svc_stats.c */
RPC_HANDLER(rpc_container_stats);
RPC_HANDLER(rpc_list_container_stats);
RPC_HANDLER(rpc_stream_container_stats);
RPC_HANDLER(rpc_pod_stats);
RPC_HANDLER(rpc_list_pod_stats);
RPC_HANDLER(rpc_stream_pod_stats);
/* svc_metrics.c */
RPC_HANDLER(rpc_list_descriptors);
RPC_HANDLER(rpc_list_metrics);
RPC_HANDLER(rpc_stream_metrics);
/* svc_stream.c */
RPC_HANDLER(rpc_exec);
RPC_HANDLER(rpc_attach);
RPC_HANDLER(rpc_port_forward);
/* svc_image.c */
RPC_HANDLER(rpc_list_images);
RPC_HANDLER(rpc_stream_images);
RPC_HANDLER(rpc_image_status);
RPC_HANDLER(rpc_pull_image);
RPC_HANDLER(rpc_remove_image);
RPC_HANDLER(rpc_image_fs_info);

#endif
