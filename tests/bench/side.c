#include "tests/bench/side.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	exit(1);
}

/* One unary call; false if it failed and quiet is set. */
static bool call(struct side *s, const char *method, const ProtobufCMessage *m, struct client_result *r, bool quiet)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	unsigned char *p = malloc(n + 1);
	char path[128];

	if (!p)
		die("no memory");
	(void)protobuf_c_message_pack(m, p);
	(void)snprintf(path, sizeof(path), "/runtime.v1.RuntimeService/%s", method);
	client_call(s->c, path, p, n, 120000, NULL, NULL, r);
	free(p);
	if (!r->status)
		return true;
	if (!quiet)
		die("%s: %s: status %d: %s", s->name, method, r->status, r->message);
	client_result_release(r);
	return false;
}

static void simple(struct side *s, const char *method, const ProtobufCMessage *m)
{
	struct client_result r;

	(void)call(s, method, m, &r, false);
	client_result_release(&r);
}

void pod_conf(struct pod_conf *c, const char *name)
{
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
	(void)snprintf(c->log, sizeof(c->log), "/tmp/cri-bench-logs/%s", name);
	runtime__v1__pod_sandbox_metadata__init(&c->meta);
	c->meta.name = c->meta.uid = c->name;
	c->meta.namespace_ = (char *)"bench";
	runtime__v1__namespace_option__init(&c->ns);
	c->ns.pid = RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
	runtime__v1__linux_sandbox_security_context__init(&c->sec);
	c->sec.namespace_options = &c->ns;
	runtime__v1__linux_pod_sandbox_config__init(&c->lin);
	c->lin.security_context = &c->sec;
	c->lin.cgroup_parent = (char *)"/crio_bench";
	runtime__v1__pod_sandbox_config__init(&c->conf);
	c->conf.metadata = &c->meta;
	c->conf.hostname = c->name;
	c->conf.log_directory = c->log;
	c->conf.linux = &c->lin;
}

char *side_run_pod(struct side *s, struct pod_conf *c)
{
	Runtime__V1__RunPodSandboxRequest q = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
	Runtime__V1__RunPodSandboxResponse *p;
	struct client_result r;
	char *id;

	q.config = &c->conf;
	q.runtime_handler = (char *)s->handler;
	(void)call(s, "RunPodSandbox", &q.base, &r, false);
	p = runtime__v1__run_pod_sandbox_response__unpack(NULL, r.reply_n, r.reply);
	if (!p || !(id = strdup(p->pod_sandbox_id)))
		die("%s: RunPodSandbox: no reply", s->name);
	runtime__v1__run_pod_sandbox_response__free_unpacked(p, NULL);
	client_result_release(&r);
	return id;
}

char *side_create(struct side *s, struct pod_conf *pc, char *pod, const char *name)
{
	Runtime__V1__ContainerMetadata meta = RUNTIME__V1__CONTAINER_METADATA__INIT;
	Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;
	Runtime__V1__LinuxContainerSecurityContext sec = RUNTIME__V1__LINUX_CONTAINER_SECURITY_CONTEXT__INIT;
	Runtime__V1__LinuxContainerConfig lin = RUNTIME__V1__LINUX_CONTAINER_CONFIG__INIT;
	Runtime__V1__ContainerConfig conf = RUNTIME__V1__CONTAINER_CONFIG__INIT;
	Runtime__V1__CreateContainerRequest q = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
	Runtime__V1__CreateContainerResponse *p;
	char *cmd[] = {(char *)"sleep", (char *)"1000"}, log[96], *id;
	struct client_result r;

	(void)snprintf(log, sizeof(log), "%s.log", name);
	meta.name = (char *)name;
	image.image = image.user_specified_image = (char *)s->image; /* CRI-O wants both */
	sec.namespace_options = &pc->ns;
	lin.security_context = &sec;
	conf.metadata = &meta;
	conf.image = &image;
	conf.command = cmd;
	conf.n_command = 2;
	conf.log_path = log;
	conf.linux = &lin;
	q.pod_sandbox_id = pod;
	q.config = &conf;
	q.sandbox_config = &pc->conf;
	(void)call(s, "CreateContainer", &q.base, &r, false);
	p = runtime__v1__create_container_response__unpack(NULL, r.reply_n, r.reply);
	if (!p || !(id = strdup(p->container_id)))
		die("%s: CreateContainer: no reply", s->name);
	runtime__v1__create_container_response__free_unpacked(p, NULL);
	client_result_release(&r);
	return id;
}

void side_start(struct side *s, char *container)
{
	Runtime__V1__StartContainerRequest q = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;

	q.container_id = container;
	simple(s, "StartContainer", &q.base);
}

void side_exec_true(struct side *s, char *container)
{
	Runtime__V1__ExecSyncRequest q = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
	char *cmd[] = {(char *)"true"};

	q.container_id = container;
	q.cmd = cmd;
	q.n_cmd = 1;
	q.timeout = 20;
	simple(s, "ExecSync", &q.base);
}

void side_status(struct side *s, char *container)
{
	Runtime__V1__ContainerStatusRequest q = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;

	q.container_id = container;
	simple(s, "ContainerStatus", &q.base);
}

void side_version(struct side *s)
{
	Runtime__V1__VersionRequest q = RUNTIME__V1__VERSION_REQUEST__INIT;

	simple(s, "Version", &q.base);
}

void side_container_stats(struct side *s)
{
	Runtime__V1__ListContainerStatsRequest q = RUNTIME__V1__LIST_CONTAINER_STATS_REQUEST__INIT;

	simple(s, "ListContainerStats", &q.base);
}

void side_pod_stats(struct side *s)
{
	Runtime__V1__ListPodSandboxStatsRequest q = RUNTIME__V1__LIST_POD_SANDBOX_STATS_REQUEST__INIT;

	simple(s, "ListPodSandboxStats", &q.base);
}

void side_stop(struct side *s, char *container)
{
	Runtime__V1__StopContainerRequest q = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;

	q.container_id = container;
	simple(s, "StopContainer", &q.base);
}

void side_down(struct side *s, char *pod)
{
	Runtime__V1__StopPodSandboxRequest q = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
	Runtime__V1__RemovePodSandboxRequest m = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;

	q.pod_sandbox_id = pod;
	simple(s, "StopPodSandbox", &q.base);
	m.pod_sandbox_id = pod;
	simple(s, "RemovePodSandbox", &m.base);
}

bool side_list_pods(struct side *s, size_t *ret_n, bool quiet)
{
	Runtime__V1__ListPodSandboxRequest q = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
	struct client_result r;

	if (!call(s, "ListPodSandbox", &q.base, &r, quiet))
		return false;
	if (ret_n) {
		Runtime__V1__ListPodSandboxResponse *p = runtime__v1__list_pod_sandbox_response__unpack(NULL, r.reply_n, r.reply);

		if (!p)
			die("%s: ListPodSandbox: no reply", s->name);
		*ret_n = p->n_items;
		runtime__v1__list_pod_sandbox_response__free_unpacked(p, NULL);
	}
	client_result_release(&r);
	return true;
}

bool side_list_containers(struct side *s, size_t *ret_n, bool quiet)
{
	Runtime__V1__ListContainersRequest q = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
	struct client_result r;

	if (!call(s, "ListContainers", &q.base, &r, quiet))
		return false;
	if (ret_n) {
		Runtime__V1__ListContainersResponse *p = runtime__v1__list_containers_response__unpack(NULL, r.reply_n, r.reply);

		if (!p)
			die("%s: ListContainers: no reply", s->name);
		*ret_n = p->n_containers;
		runtime__v1__list_containers_response__free_unpacked(p, NULL);
	}
	client_result_release(&r);
	return true;
}
