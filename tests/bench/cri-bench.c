/*
 * cri-bench: the same work on two CRI sockets in interleaved rounds, with medians, ratios and their interval.
 *
 *	cri-bench -a SOCKET -b SOCKET -i IMAGE_A -I IMAGE_B [-r ROUNDS] [-o CSV] [-H HANDLER_A] [-K HANDLER_B] [-p PODS]
 *
 * A is ours, B the peer. Each round does, on A then B (B then A in odd rounds): a pod and a container up, an exec, the lists,
 * the container stopped with time-out 0, the pod stopped and removed. A row for each operation: median of A and of B in
 * milliseconds, the ratio of the medians, and the 95 % interval of that ratio by bootstrap. With -p, PODS pods stay up
 * meanwhile on both sides.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>

#include "core/rpc/cri.h"
#include "tests/client/client.h"

enum op { OP_RUN, OP_CREATE, OP_START, OP_UP, OP_EXEC, OP_LIST, OP_STATUS, OP_STOP, OP_REMOVE, OP_N };
static const char *const op_names[] = { "RunPodSandbox", "CreateContainer", "StartContainer", "pod and container up", "ExecSync true",
					"ListPodSandbox and ListContainers", "ContainerStatus", "StopContainer timeout 0",
					"stop and remove the pod" };
#define ROUNDS_MAX 1000
#define BOOT 2000

struct side {
	const char *name, *socket, *image, *handler;
	struct client *c;
	double ms[OP_N][ROUNDS_MAX];
};

static double now_ms(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	exit(1);
}

/* One unary call; the reply must be unpacked by the caller through r. */
static void call(struct side *s, const char *method, const ProtobufCMessage *m, struct client_result *r)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	unsigned char *p = malloc(n + 1);
	if (!p)
		die("no memory");
	(void)protobuf_c_message_pack(m, p);
	char path[128];
	(void)snprintf(path, sizeof(path), "/runtime.v1.RuntimeService/%s", method);
	client_call(s->c, path, p, n, 120000, NULL, NULL, r);
	free(p);
	if (r->status)
		die("%s: %s: status %d: %s", s->name, method, r->status, r->message);
}

static void simple(struct side *s, const char *method, const ProtobufCMessage *m)
{
	struct client_result r;
	call(s, method, m, &r);
	client_result_release(&r);
}

struct pod_conf {
	Runtime__V1__PodSandboxMetadata meta;
	Runtime__V1__NamespaceOption ns;
	Runtime__V1__LinuxSandboxSecurityContext sec;
	Runtime__V1__LinuxPodSandboxConfig lin;
	Runtime__V1__PodSandboxConfig conf;
	char name[64], log[128];
};

static void pod_conf(struct pod_conf *c, const char *name)
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

static char *run_pod(struct side *s, struct pod_conf *c)
{
	Runtime__V1__RunPodSandboxRequest q = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
	q.config = &c->conf;
	q.runtime_handler = (char *)s->handler;
	struct client_result r;
	call(s, "RunPodSandbox", &q.base, &r);
	Runtime__V1__RunPodSandboxResponse *p = runtime__v1__run_pod_sandbox_response__unpack(NULL, r.reply_n, r.reply);
	char *id = strdup(p->pod_sandbox_id);
	runtime__v1__run_pod_sandbox_response__free_unpacked(p, NULL);
	client_result_release(&r);
	return id;
}

static char *create(struct side *s, struct pod_conf *pc, char *pod)
{
	Runtime__V1__ContainerMetadata meta = RUNTIME__V1__CONTAINER_METADATA__INIT;
	meta.name = (char *)"c";
	Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;
	image.image = (char *)s->image;
	Runtime__V1__LinuxContainerSecurityContext sec = RUNTIME__V1__LINUX_CONTAINER_SECURITY_CONTEXT__INIT;
	sec.namespace_options = &pc->ns;
	Runtime__V1__LinuxContainerConfig lin = RUNTIME__V1__LINUX_CONTAINER_CONFIG__INIT;
	lin.security_context = &sec;
	char *cmd[] = { (char *)"sleep", (char *)"1000" };
	Runtime__V1__ContainerConfig conf = RUNTIME__V1__CONTAINER_CONFIG__INIT;
	conf.metadata = &meta;
	conf.image = &image;
	conf.command = cmd;
	conf.n_command = 2;
	conf.log_path = (char *)"c.log";
	conf.linux = &lin;
	Runtime__V1__CreateContainerRequest q = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
	q.pod_sandbox_id = pod;
	q.config = &conf;
	q.sandbox_config = &pc->conf;
	struct client_result r;
	call(s, "CreateContainer", &q.base, &r);
	Runtime__V1__CreateContainerResponse *p = runtime__v1__create_container_response__unpack(NULL, r.reply_n, r.reply);
	char *id = strdup(p->container_id);
	runtime__v1__create_container_response__free_unpacked(p, NULL);
	client_result_release(&r);
	return id;
}

static void start(struct side *s, char *id)
{
	Runtime__V1__StartContainerRequest q = RUNTIME__V1__START_CONTAINER_REQUEST__INIT;
	q.container_id = id;
	simple(s, "StartContainer", &q.base);
}

static void down(struct side *s, char *pod)
{
	Runtime__V1__StopPodSandboxRequest q = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
	q.pod_sandbox_id = pod;
	simple(s, "StopPodSandbox", &q.base);
	Runtime__V1__RemovePodSandboxRequest m = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
	m.pod_sandbox_id = pod;
	simple(s, "RemovePodSandbox", &m.base);
}

static void exec_true(struct side *s, char *id)
{
	char *cmd[] = { (char *)"true" };
	Runtime__V1__ExecSyncRequest q = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
	q.container_id = id;
	q.cmd = cmd;
	q.n_cmd = 1;
	q.timeout = 20;
	simple(s, "ExecSync", &q.base);
}

static void round_of(struct side *s, int n)
{
	struct pod_conf pc;
	char name[32];
	(void)snprintf(name, sizeof(name), "bench-%d-%d", (int)getpid(), n);
	pod_conf(&pc, name);
	double t0 = now_ms(), t;
	char *pod = run_pod(s, &pc);
	s->ms[OP_RUN][n] = (t = now_ms()) - t0;
	char *id = create(s, &pc, pod);
	double t1 = now_ms();
	s->ms[OP_CREATE][n] = t1 - t;
	start(s, id);
	t = now_ms();
	s->ms[OP_START][n] = t - t1;
	s->ms[OP_UP][n] = t - t0;
	exec_true(s, id); /* warm */
	t = now_ms();
	exec_true(s, id);
	s->ms[OP_EXEC][n] = now_ms() - t;
	Runtime__V1__ListPodSandboxRequest lp = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
	Runtime__V1__ListContainersRequest lc = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
	t = now_ms();
	for (int i = 0; i < 10; i++) {
		simple(s, "ListPodSandbox", &lp.base);
		simple(s, "ListContainers", &lc.base);
	}
	s->ms[OP_LIST][n] = (now_ms() - t) / 10;
	Runtime__V1__ContainerStatusRequest cs = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
	cs.container_id = id;
	t = now_ms();
	for (int i = 0; i < 10; i++)
		simple(s, "ContainerStatus", &cs.base);
	s->ms[OP_STATUS][n] = (now_ms() - t) / 10;
	Runtime__V1__StopContainerRequest sc = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT;
	sc.container_id = id;
	t = now_ms();
	simple(s, "StopContainer", &sc.base);
	double t2 = now_ms();
	s->ms[OP_STOP][n] = t2 - t;
	down(s, pod);
	s->ms[OP_REMOVE][n] = now_ms() - t2;
	free(pod);
	free(id);
}

static int cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(const double *v, int n)
{
	double t[ROUNDS_MAX];
	memcpy(t, v, (size_t)n * sizeof(*t));
	qsort(t, (size_t)n, sizeof(*t), cmp);
	return n % 2 ? t[n / 2] : (t[n / 2 - 1] + t[n / 2]) / 2;
}

/* Interval of the ratio of medians: rounds are drawn as pairs, since both sides of a round met the same machine. */
static void interval(const double *a, const double *b, int n, double *lo, double *hi)
{
	static double ratios[BOOT];
	double x[ROUNDS_MAX], y[ROUNDS_MAX];
	unsigned seed = 1; /* the same input gives the same interval */
	for (int k = 0; k < BOOT; k++) {
		for (int i = 0; i < n; i++) {
			int j = (int)((double)rand_r(&seed) / ((double)RAND_MAX + 1) * n);
			x[i] = a[j];
			y[i] = b[j];
		}
		ratios[k] = median(x, n) / median(y, n);
	}
	qsort(ratios, BOOT, sizeof(*ratios), cmp);
	*lo = ratios[BOOT / 40];
	*hi = ratios[BOOT - 1 - BOOT / 40];
}

static double load_average(void)
{
	double l = 0;
	if (getloadavg(&l, 1) != 1)
		l = -1;
	return l;
}

int main(int argc, char **argv)
{
	static struct side a = { .name = "crio", .handler = "" }, b = { .name = "peer", .handler = "" };
	int rounds = 15, pods = 0, o;
	while ((o = getopt(argc, argv, "a:b:i:I:r:H:K:p:")) != -1) {
		switch (o) {
		case 'a': a.socket = optarg; break;
		case 'b': b.socket = optarg; break;
		case 'i': a.image = optarg; break;
		case 'I': b.image = optarg; break;
		case 'r': rounds = atoi(optarg); break;
		case 'H': a.handler = optarg; break;
		case 'K': b.handler = optarg; break;
		case 'p': pods = atoi(optarg); break;
		default: die("usage: cri-bench -a SOCKET -b SOCKET -i IMAGE -I IMAGE [-r ROUNDS] [-p PODS] [-H HANDLER] [-K HANDLER]");
		}
	}
	if (!a.socket || !b.socket || !a.image || !b.image || rounds < 3 || rounds > ROUNDS_MAX - 1)
		die("-a, -b, -i and -I are needed, and 3 to %d rounds", ROUNDS_MAX - 1);
	a.c = client_new(a.socket);
	b.c = client_new(b.socket);
	struct side *sides[] = { &a, &b };
	char **up[2];
	for (int k = 0; k < 2; k++) {
		up[k] = calloc((size_t)pods + 1, sizeof(char *));
		for (int i = 0; i < pods; i++) {
			struct pod_conf pc;
			char name[32];
			(void)snprintf(name, sizeof(name), "idle-%d-%d", (int)getpid(), i);
			pod_conf(&pc, name);
			up[k][i] = run_pod(sides[k], &pc);
			char *id = create(sides[k], &pc, up[k][i]);
			start(sides[k], id);
			free(id);
		}
	}
	double load = load_average();
	for (int n = -1; n < rounds; n++) { /* the first is a warm-up, overwritten */
		int slot = n < 0 ? rounds : n;
		round_of(n % 2 ? &b : &a, slot);
		round_of(n % 2 ? &a : &b, slot);
	}
	(void)printf("| operation | crio ms | peer ms | ratio | 95 %% interval |\n| --- | ---: | ---: | ---: | --- |\n");
	for (int k = 0; k < OP_N; k++) {
		double x = median(a.ms[k], rounds), y = median(b.ms[k], rounds), lo, hi;
		interval(a.ms[k], b.ms[k], rounds, &lo, &hi);
		(void)printf("| %s | %.2f | %.2f | %.2f | %.2f to %.2f |\n", op_names[k], x, y, x / y, lo, hi);
	}
	(void)printf("\n%d rounds, %d pods up on each side, load average %.1f before and %.1f after\n", rounds, pods, load, load_average());
	for (int k = 0; k < 2; k++)
		for (int i = 0; i < pods; i++)
			down(sides[k], up[k][i]);
	client_free(a.c);
	client_free(b.c);
	return 0;
}
