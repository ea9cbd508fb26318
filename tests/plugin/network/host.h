/*
 * host.h: the ground the network plugins' tests stand on: a network and mount namespace of their own (nothing reaches
 * the machine), a directory of their own, the real plugin host, and pods that are just namespaces. Needs root;
 * host_enter ends the program with 77 (skipped) without it or without the plugin's module.
 */
#ifndef TESTS_NETWORK_HOST_H
#define TESTS_NETWORK_HOST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/exec/spawn.h"
#include "core/lifecycle/netns.h"
#include "core/plugin/ops.h"
#include "core/plugin/plugins.h"
#include "core/util/fs.h"
#include "core/util/json.h"
#include "tests/tmp.h"

#define MS 1000000LL
#define SEC (1000 * MS)

struct host {
	char dir[TEST_TMP_N]; /* conf/, bin/, cache/, ns/, log in it */
	struct loop *loop;
	struct workers *workers;
	struct plugins *plugins;
};
extern struct host host;

/* Before any thread: enters the namespaces, makes the directory, starts the plugin host with the one module. */
void host_enter(const char *plugin);
void host_leave(void);

/* An instance with what it last said of its readiness. */
struct net_inst {
	struct plugin_inst *in;
	pthread_mutex_t mu;
	pthread_cond_t cond;
	bool ready;
	char message[4096], reason[64];
	int events;
};
/* Options of cni are set to the host's directories; more are pairs of name and value, NULL at the end. */
void inst_open(struct net_inst *n, const char *plugin, const char *more, ...);
void inst_close(struct net_inst *n);
/* Waits 10 s at most until readiness is so and the message has `part` in it. */
void inst_await(struct net_inst *n, bool ready, const char *part);

/* A file below the host's directory. */
void put(const char *text, mode_t mode, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void gone(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool there(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *slurp(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* "" when absent; the caller's */
/* Shell command; its exit status. "@D" stands for the host's directory. */
int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Arguments of a pod whose namespace is made under ns/. */
struct pod_net {
	char name[32];
	char *path;
	int fd;
	struct crio_network_args args;
};
void pod_make(struct pod_net *p, const char *id);
void pod_drop(struct pod_net *p);

/* A call with so much time; the caller's. */
crio_call *timed(int64_t ns);

#endif
