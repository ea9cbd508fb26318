/* conf_int.h: between the files of core/conf that build a snapshot. */
#ifndef CONF_CONF_INT_H
#define CONF_CONF_INT_H

#include "core/conf/conf.h"
#include "core/conf/keys.h"

#define CONF_DEFAULT_RUNTIME "crun"
#define CONF_DEFAULT_RUNTIME_ROOT "/run/crun"
#define CONF_MIN_MEMORY (12LL << 20)
#define CONF_GRPC_MAX (80LL << 20)

/* A snapshot being built, and where each value came from ("file:line", "flag --x"), for messages of checks that need the whole. */
struct loader {
	struct conf *c;
	const struct conf_args *args;
	struct strv origin;        /* by index in conf_keys; "" is the default */
	struct kvs entries;        /* "runtimes.x" and "workloads.x" -> origin */
	bool quiet;                /* no warnings */
	const struct conf *old;    /* what is loaded again; NULL: nothing was before */
};

int conf_new(struct conf **ret, crio_err *err);
/* conf_load(), again. */
int conf_load_again(const struct conf_args *args, const struct conf *old, struct conf **ret, crio_err *err);
/* New entry with the defaults of its keys, in place of one of that name. */
int conf_put_runtime(struct conf *c, const char *name, struct conf_runtime **ret, crio_err *err);
int conf_put_workload(struct conf *c, const char *name, struct conf_workload **ret, crio_err *err);
void conf_del_runtime(struct conf *c, const char *name);
int conf_copy_runtimes(struct conf *dst, const struct conf *src, crio_err *err);
struct conf_runtime *conf_find_runtime(const struct conf *c, const char *name);

/* [crio.runtime.runtimes] and [crio.runtime.workloads] of one file. */
int conf_decode_runtimes(struct loader *l, const struct toml_node *runtime_table, const char *file, crio_err *err);
/* One value of --runtimes. */
int conf_runtime_flag(struct conf *c, const char *text, crio_err *err);

int loader_init(struct loader *l, struct conf *c, const struct conf_args *args, crio_err *err);
void loader_release(struct loader *l);
int loader_note(struct loader *l, const struct conf_key *k, const char *origin);
/* "file:line: crio.api.listen: " + text, as an error; `key` is the name in the table. */
int loader_fail(const struct loader *l, const char *path, crio_err *err, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

int storageconf_load(struct conf *c, const struct conf_args *args, crio_err *err);
/* Checks and derived values. Handlers that are not the default one may be dropped. */
int conf_check(struct loader *l, crio_err *err);
int conf_check_runtimes(struct loader *l, crio_err *err);
int conf_check_workloads(struct loader *l, crio_err *err);
/* NOT_FOUND: no such file; INVALID, CORRUPT: no profile. */
int conf_check_seccomp(const char *path, crio_err *err);

/* Absolute path of an executable in PATH; NULL: not there, or no memory. The caller's. */
char *conf_find_program(const char *name);

#endif
