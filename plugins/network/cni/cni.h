/*
 * cni.h: inside the cni plugin. Files, from the bottom up:
 *	util.c    text in the call's memory, bounded JSON, base64
 *	exec.c    running one CNI program: its config, environment, answer, supported versions
 *	result.c  addresses of a result
 *	conf.c    configuration files -> networks
 *	cache.c   the attachments on disk, in libcni's format
 *	chain.c   ADD, DEL, CHECK, STATUS and GC over a network's list of programs
 *	watch.c   what is followed, the thread that re-reads, readiness
 *	cni.c     descriptor and operations
 *
 * json-c objects count their references without atomics and cache their text, so none is shared between threads: what
 * threads share is text, and each operation parses its own copy.
 */
#ifndef CNI_H
#define CNI_H

#include <json-c/json.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <crio/network.h>

#include "plugins/common/follow.h"

#define CNI_NEWEST "1.1.0"
#define CNI_CONF_MAX (1u << 20) /* bytes of one configuration file */
#define CNI_CONF_FILES_MAX 512
#define CNI_LIST_MAX 64		 /* programs of one network */
#define CNI_OUT_MAX (1u << 20)	 /* bytes of a program's answer */
#define CNI_CACHE_MAX (4u << 20) /* bytes of one cached attachment */
#define CNI_DEPTH_MAX 32
#define CNI_NAME_MAX 128 /* of a network or a program's type: both become parts of file names */
#define CNI_MS 1000000LL
#define CNI_SEC (1000 * CNI_MS)

/* A network as read from a file. Immutable, shared by reference. */
struct net {
	_Atomic int refs;
	char *name, *version, *file;
	char *type;	    /* of the first program, for messages */
	char *text;	    /* the list as JSON, programs of <dir>/<name>/ included */
	bool loopback_only; /* never the default by itself */
};

/* What VERSION said, good for as long as the file is the same. */
struct version {
	char *path;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
	char *supported; /* ",0.3.1,0.4.0," */
};

struct cni {
	const struct crio_host *host;
	crio_instance *in;
	/* Fixed at open. */
	char *conf_dir, *cache_dir, *default_name; /* default_name "": the first valid file */
	char **bin_dirs;
	size_t n_bin_dirs;
	char *bin_path; /* joined by ':' */
	int64_t grace_ns;

	pthread_mutex_t mu; /* guards what follows; never held over a program or a file */
	struct net **nets;
	size_t n_nets;
	struct net *dflt; /* one of nets, or NULL */
	bool ready;
	char *message; /* why not ready; NULL without memory */
	struct version *versions;
	size_t n_versions;

	/* The thread; see watch.c. */
	struct follow follow;
	bool published;	 /* readiness was emitted; set by open, then only by the thread, as are the rest */
	bool monitoring; /* it was ready once */
	int64_t first_failure_ns;
	int64_t again; /* when the thread looks again by itself */
	_Atomic int conf_wd;
};

/* An attachment: whose, and what is told about it. */
struct attach {
	const char *id, *ifname, *netns;
	struct json_object *args; /* [["K8S_POD_NAME","x"],...] */
	struct json_object *caps; /* capability -> argument */
};

/* A list in use by one operation. */
struct list {
	struct json_object *root;    /* owned */
	struct json_object *plugins; /* array, borrowed */
	const char *name, *version;  /* borrowed; version never "" */
	const char *text;	     /* borrowed from whoever gave it */
};

/* ---- util.c ---- */
static inline void json_putp(struct json_object **o)
{
	if (*o)
		(void)json_object_put(*o);
}
#define cleanup_json __attribute__((cleanup(json_putp)))
static inline void freep(void *p)
{
	free(*(void **)p);
}
#define cleanup_free __attribute__((cleanup(freep)))
static inline void closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}
#define cleanup_close __attribute__((cleanup(closep)))

/* In the call's memory; NULL without. */
char *cni_fmt(struct cni *c, crio_call *call, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int cni_nomem(struct cni *c, crio_err *err);
/* One JSON object and nothing after it; CORRUPT otherwise. */
int cni_json_parse(struct cni *c, const char *p, size_t n, struct json_object **ret, crio_err *err);
const char *cni_json_str(struct json_object *o, const char *key); /* "" when absent or no string */
struct json_object *cni_json_get(struct json_object *o, const char *key, enum json_type type); /* NULL likewise */
/* Takes v; false when there was no memory (also for a NULL v). */
bool cni_json_set(struct json_object *o, const char *key, struct json_object *v);
bool cni_json_push(struct json_object *arr, struct json_object *v);
const char *cni_json_text(struct json_object *o); /* lives with o; NULL without memory */
/* What a program printed, fit for a message: one line of valid UTF-8, cut at 1 KiB. */
const char *cni_printable(struct cni *c, crio_call *call, const void *p, size_t n);
char *cni_base64(struct cni *c, crio_call *call, const void *p, size_t n);
/* NULL when it is not base64 or without memory. */
char *cni_unbase64(struct cni *c, crio_call *call, const char *s, size_t *ret_n);
/* [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most max bytes: ids and network names. */
bool cni_name_ok(const char *s, size_t max);
bool cni_ifname_ok(const char *s);
/* Major.minor.patch: <0, 0, >0; what is no version compares as 0.0.0. */
int cni_version_cmp(const char *a, const char *b);
bool cni_version_known(const char *v);

/* ---- exec.c ---- */
/* The program of a type: looked for in the configured directories, in order. A type is a plain file name. */
int cni_find(struct cni *c, crio_call *call, const char *type, const char **ret_path, crio_err *err);
/* Runs `command` of one program of the list. `prev` and `inject` (extra members) may be NULL. ret (NULL when the
 * command has no result) gets the result object, with its cniVersion set. */
int cni_exec(struct cni *c, crio_call *call, const char *command, const struct list *l, struct json_object *plugin,
	     const struct attach *at, struct json_object *prev, struct json_object *inject, struct json_object **ret,
	     crio_err *err);
/* Is the program there, and does it speak this version? Runs VERSION only for files that have changed. */
int cni_supports(struct cni *c, crio_call *call, const char *type, const char *version, crio_err *err);
void cni_versions_release(struct cni *c);

/* ---- result.c ---- */
/* The first address of each family, in the order of the result, without prefix lengths, in the call's memory. */
int cni_result_ips(struct cni *c, crio_call *call, struct json_object *result, struct crio_strs *ret, crio_err *err);
int cni_result_check(struct cni *c, struct json_object *result, crio_err *err);

/* ---- conf.c ---- */
int cni_list_parse(struct cni *c, const char *text, size_t n, struct list *ret, crio_err *err);
void cni_list_release(struct list *l);
#define cleanup_list __attribute__((cleanup(cni_list_release)))
/* Reads the directory, replaces c->nets and c->dflt. *ret_skipped: files left out and why, or "", in the call's memory.
 */
int cni_conf_read(struct cni *c, crio_call *call, const char **ret_skipped, crio_err *err);
struct net *cni_net_ref(struct net *n);
void cni_net_unref(struct net *n);
static inline void net_unrefp(struct net **n)
{
	cni_net_unref(*n);
}
#define cleanup_net __attribute__((cleanup(net_unrefp)))
struct net *cni_default(struct cni *c); /* a reference, or NULL */
void cni_nets_release(struct cni *c);

/* ---- cache.c ---- */
struct cached {
	struct json_object *root;
	char *config; /* the list's text, in the call's memory */
	size_t config_n;
	const char *id, *ifname, *network, *netns;
	struct json_object *args, *caps, *result; /* borrowed from root; may be NULL */
};
void cni_cached_release(struct cached *c);
#define cleanup_cached __attribute__((cleanup(cni_cached_release)))
/* Removes what crashed processes have begun to write. */
void cni_cache_sweep(struct cni *c, crio_call *call);
int cni_cache_write(struct cni *c, crio_call *call, const struct list *l, const struct attach *at,
		    struct json_object *result, crio_err *err);
/* The attachment of id and ifname, of whichever network. NOT_FOUND. */
int cni_cache_find(struct cni *c, crio_call *call, const char *id, const char *ifname, struct cached *ret,
		   crio_err *err);
/* 0 also when it is not there. */
int cni_cache_del(struct cni *c, crio_call *call, const char *network, const char *id, const char *ifname, crio_err *err);
/* Calls fn for each sound file; stops and returns what fn returns when that is not 0. */
int cni_cache_each(struct cni *c, crio_call *call, int (*fn)(void *arg, struct cached *cached), void *arg,
		   crio_err *err);

/* ---- chain.c ---- */
int cni_chain_add(struct cni *c, crio_call *call, const struct list *l, const struct attach *at,
		  struct json_object **ret, crio_err *err);
/* All programs in reverse order, also after one has failed: one that is gone must not keep the others' leases. The
 * first error is returned. */
int cni_chain_del(struct cni *c, crio_call *call, const struct list *l, const struct attach *at,
		  struct json_object *prev, crio_err *err);
int cni_chain_check(struct cni *c, crio_call *call, const struct list *l, const struct attach *at,
		    struct json_object *prev, crio_err *err);
int cni_chain_status(struct cni *c, crio_call *call, const struct list *l, crio_err *err);
int cni_gc(struct cni *c, crio_call *call, const struct crio_network_gc_args *args, crio_err *err);
int cni_active_add(struct cni *c, const char *id, crio_err *err);
void cni_active_del(const struct cni *c, const char *id); /* id NULL: all of this instance */

/* ---- watch.c ---- */
/* Reads everything once, emits readiness, and starts following. */
int cni_watch_start(struct cni *c, crio_call *call, crio_err *err);
bool cni_matters(void *arg, const struct inotify_event *e);
/* "no CNI configuration file in ...". */
const char *cni_missing_text(struct cni *c, crio_call *call);

#endif
