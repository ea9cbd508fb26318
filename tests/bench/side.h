/*
 * side.h: one of the two daemons that are compared, and what is asked of it. Every call that fails ends the program: a figure over
 * errors is none. The functions may be called from several threads at once.
 */
#ifndef TESTS_BENCH_SIDE_H
#define TESTS_BENCH_SIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/rpc/cri.h"
#include "tests/client/client.h"

struct side {
	const char *name, *socket, *image, *handler;
	struct client *c;
	/* For mode restart: where its pid is, and the shell command that starts it again and writes that file. */
	const char *pid_file, *command;
};

/* What a RunPodSandbox and its containers' creates say; holds pointers into itself, so it stays where it was filled. */
struct pod_conf {
	Runtime__V1__PodSandboxMetadata meta;
	Runtime__V1__NamespaceOption ns;
	Runtime__V1__LinuxSandboxSecurityContext sec;
	Runtime__V1__LinuxPodSandboxConfig lin;
	Runtime__V1__PodSandboxConfig conf;
	char name[64], log[128];
};

double now_ms(void); /* of a clock that only goes forward */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);

void pod_conf(struct pod_conf *c, const char *name);
char *side_run_pod(struct side *s, struct pod_conf *c);	  /* the pod's id, the caller's to free */
char *side_create(struct side *s, struct pod_conf *pc, char *pod, const char *name); /* the container's id, the caller's to free */
void side_start(struct side *s, char *container);
void side_exec_true(struct side *s, char *container);
void side_status(struct side *s, char *container);
void side_version(struct side *s);
void side_container_stats(struct side *s); /* of all */
void side_pod_stats(struct side *s);
void side_stop(struct side *s, char *container); /* time-out 0 */
void side_down(struct side *s, char *pod);	 /* StopPodSandbox and RemovePodSandbox */
/* ret_n: how many pods or containers the list has; NULL: the reply is not unpacked. False if the daemon is not there (only with quiet). */
bool side_list_pods(struct side *s, size_t *ret_n, bool quiet);
bool side_list_containers(struct side *s, size_t *ret_n, bool quiet);

#endif
