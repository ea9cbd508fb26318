/*
 * crio/network.h: pod networks (kind CRIO_KIND_NETWORK).
 *
 * One instance serves one network. The core makes and removes the network namespace and brings its loopback up; the
 * plugin attaches it and detaches it. The core keeps the result text with the pod and hands it back.
 *
 * Readiness: an instance that can serve emits CRIO_EVENT_READY with ready=1; until then the core refuses pods for it
 * with UNAVAILABLE and the reason. The default instance's readiness is the node's NetworkReady.
 *
 * Object id of the thread model: the sandbox id.
 */
#ifndef CRIO_NETWORK_H
#define CRIO_NETWORK_H

#include <crio/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

enum crio_network_caps {
	CRIO_NETWORK_CAP_HOSTPORT = 1 << 0,  /* does port mappings itself; else the core does, unless disable_hostport_mapping */
	CRIO_NETWORK_CAP_NO_NETNS = 1 << 1   /* pods share the host's namespace: setup gets netns_fd -1 */
};

struct crio_port_mapping {
	uint32_t size;
	uint32_t host_port, container_port;
	uint32_t reserved;
	const char *protocol;          /* "tcp", "udp", "sctp" */
	const char *host_ip;           /* "" : all */
};
struct crio_port_mappings {
	const struct crio_port_mapping *v;
	size_t n;
	size_t stride;
};

struct crio_network_args {
	uint32_t size;
	int32_t netns_fd;              /* -1: none (host network, or it has vanished: teardown and gc still work) */
	const char *id;                /* sandbox id */
	const char *name, *ns, *uid;   /* of the pod */
	const char *netns_path;        /* "" when there is none */
	const char *ifname;            /* "eth0" */
	const char *cgroup_path;
	struct crio_port_mappings ports; /* empty when the core maps them: see CRIO_NETWORK_CAP_HOSTPORT and disable_hostport_mapping */
	int64_t ingress_rate, egress_rate; /* bit/s; 0: none */
	struct crio_strs aliases;
	struct crio_map annotations;   /* of the pod */
	const char *result_json;       /* teardown, check: what setup returned; "" when lost */
};
struct crio_network_out {
	uint32_t size;
	uint32_t reserved;
	struct crio_strs ips;          /* text, without prefix length; the primary one first */
	const char *result_json;       /* CNI result (of the version of the network), kept by the core */
};
struct crio_network_no_args {
	uint32_t size;
	uint32_t reserved;
};
struct crio_network_no_out {
	uint32_t size;
	uint32_t reserved;
};

struct crio_network_status_out {
	uint32_t size;
	int32_t ready;
	const char *reason;            /* CamelCase, "" when ready */
	const char *message;
	const char *network;           /* name of the network in use, "" none */
};

/* gc: every attachment that is still wanted, by instances that share a cache. */
struct crio_network_attachment {
	uint32_t size;
	uint32_t reserved;
	const char *id;
	const char *ifname;
};
struct crio_network_gc_args {
	uint32_t size;
	uint32_t reserved;
	const struct crio_network_attachment *v;
	size_t n;
	size_t stride;
};

struct crio_network_ops {
	/* M    Attaches. On failure everything it had done is undone. */
	int (*setup)(void *self, crio_call *call, const struct crio_network_args *args, struct crio_network_out *out, crio_err *err);
	/* M    Detaches. Idempotent, and works without the namespace and without the result. */
	int (*teardown)(void *self, crio_call *call, const struct crio_network_args *args, struct crio_network_no_out *out, crio_err *err);
	/* C ?  Still as set up? */
	int (*check)(void *self, crio_call *call, const struct crio_network_args *args, struct crio_network_no_out *out, crio_err *err);
	/* C    From memory: never runs a program. */
	int (*status)(void *self, crio_call *call, const struct crio_network_no_args *args, struct crio_network_status_out *out, crio_err *err);
	/* M ?  Removes attachments that nobody wants. */
	int (*gc)(void *self, crio_call *call, const struct crio_network_gc_args *args, struct crio_network_no_out *out, crio_err *err);
};

#ifdef __cplusplus
}
#endif
#endif
