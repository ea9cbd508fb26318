/* fuzz_request.c: a CRI request from bytes to the core's structs. The first byte says which method's. */
#include <stdint.h>

#include "core/rpc/codec.h"
#include "core/rpc/convert.h"
#include "core/rpc/method.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void pod(const CRI(PodSandboxConfig) * m)
{
	struct pod_config c;

	if (pod_config_init(&c) == 0)
		(void)convert_pod_config(&c, m, NULL);
	pod_config_release(&c);
}

static void container(const CRI(ContainerConfig) * m)
{
	struct container_config c;

	if (container_config_init(&c) == 0)
		(void)convert_container_config(&c, m, NULL);
	container_config_release(&c);
}

static void resources(const CRI(LinuxContainerResources) * m)
{
	struct resources r;

	if (resources_init(&r) == 0)
		(void)convert_resources(&r, m, NULL);
	resources_release(&r);
}

static void convert(const ProtobufCMessage *m)
{
	if (m->descriptor == &runtime__v1__run_pod_sandbox_request__descriptor) {
		pod(((const CRI(RunPodSandboxRequest) *)(const void *)m)->config);
	} else if (m->descriptor == &runtime__v1__create_container_request__descriptor) {
		container(((const CRI(CreateContainerRequest) *)(const void *)m)->config);
		pod(((const CRI(CreateContainerRequest) *)(const void *)m)->sandbox_config);
	} else if (m->descriptor == &runtime__v1__update_container_resources_request__descriptor) {
		resources(((const CRI(UpdateContainerResourcesRequest) *)(const void *)m)->linux);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const ProtobufCMessageDescriptor *d;
	ProtobufCMessage *m;
	struct rpc_arena a;
	uint8_t *p;

	if (!n)
		return 0;
	d = rpc_cri_methods[data[0] % rpc_cri_n_methods].req;
	rpc_arena_init(&a, NULL, RPC_DECODED_MAX);
	if (rpc_decode(d, data + 1, n - 1, &a, &m, NULL) == 0) {
		free(rpc_text(m, 4096));
		convert(m);
		/* What was taken packs again, and is text already. */
		p = malloc(protobuf_c_message_get_packed_size(m) + 1);
		if (p && rpc_wire_check(d, p, protobuf_c_message_pack(m, p), NULL) < 0)
			__builtin_trap();
		free(p);
	}
	rpc_arena_release(&a);
	return 0;
}
