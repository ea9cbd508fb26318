/*
 * ocihooks.h: inside the ocihooks plugin. Files, from the bottom up:
 *	pattern.cc   regular expressions: RE2
 *	util.c       bounded JSON
 *	file.c       one hook file, both formats -> struct hookfile
 *	set.c        the directories -> struct set
 *	watch.c      what is followed, the thread that reads again
 *	apply.c      which hooks a container gets, and the adjustment that says so
 *	ocihooks.c   descriptor and operations
 *
 * json-c objects are not shared between threads: a hookfile keeps text.
 */
#ifndef OCIHOOKS_H
#define OCIHOOKS_H

#include <json-c/json.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <crio/hook.h>

#include "plugins/common/follow.h"
#include "plugins/hooks/ocihooks/pattern.h"

#define OH_FILE_MAX (256u << 10) /* bytes of a hook file */
#define OH_FILES_MAX 512	 /* hooks in force */
#define OH_STRINGS_MAX 1024	 /* arguments, variables, conditions, stages of one file */
#define OH_PATTERNS_MAX 1024	 /* of all files */
#define OH_DEPTH_MAX 32
#define OH_DOC_MAX (4u << 20) /* bytes of a spec */
#define OH_MS 1000000LL
#define OH_SEC (1000 * OH_MS)
#define OH_PRECREATE_SEC 30 /* of a hook that names no timeout */

enum oh_stage { OH_CREATE_RUNTIME, OH_CREATE_CONTAINER, OH_START_CONTAINER, OH_POSTSTART, OH_POSTSTOP, OH_PRECREATE, OH_STAGES };

struct oh_pair {
	struct pattern *key, *value;
};

/* A hook as read from a file. Never changes. */
struct hookfile {
	char *name;  /* the file's, without directory */
	char *path;  /* the program */
	char *entry; /* the spec's form: {"path":...,"args":...} */
	int timeout; /* seconds; 0: none */
	bool any;    /* 0.1.0: one condition is enough */
	bool has_always, always, has_mounts, mounts;
	struct oh_pair *pairs;
	size_t n_pairs;
	struct pattern **commands;
	size_t n_commands;
	enum oh_stage *stages; /* as written, repetitions too */
	size_t n_stages;
};

/* What is in force: by name without regard to case, then by bytes. Never changes; shared by reference. */
struct set {
	_Atomic int refs;
	struct hookfile **v;
	size_t n, patterns;
	char **refused; /* "file: why", for what was left out; logged when new */
	size_t n_refused;
};

struct oh {
	const struct crio_host *host;
	crio_instance *in;
	/* Fixed at open. */
	char **dirs;
	size_t n_dirs;

	pthread_mutex_t mu; /* guards the set; never held over a file */
	struct set *set;
	struct follow follow;
};

static inline void oh_json_putp(struct json_object **o)
{
	if (*o)
		(void)json_object_put(*o);
}
#define cleanup_json __attribute__((cleanup(oh_json_putp)))
static inline void oh_freep(void *p)
{
	free(*(void **)p);
}
#define cleanup_free __attribute__((cleanup(oh_freep)))

/* ---- util.c ---- */
int oh_nomem(struct oh *o, crio_err *err);
/* One JSON object and nothing after it; CORRUPT otherwise. */
int oh_parse(struct oh *o, const char *p, size_t n, struct json_object **ret, crio_err *err);
/* Without regard to case, as both formats are read elsewhere; the last one counts. NULL: absent or null. */
struct json_object *oh_get(struct json_object *o, const char *key);
/* Takes v; false without memory (also for a NULL v). */
bool oh_set_member(struct json_object *o, const char *key, struct json_object *v);
bool oh_push(struct json_object *arr, struct json_object *v);
const char *oh_text(struct json_object *o);
/* The RFC 7396 patch that makes `to` of `from`, both objects; an empty one when they are equal. NULL without memory. */
struct json_object *oh_diff(struct json_object *from, struct json_object *to);

/* ---- file.c ---- */
/* Parses and checks; the program must be there. */
int oh_file_parse(struct oh *o, const char *name, const char *text, size_t n, struct hookfile **ret, crio_err *err);
void oh_file_free(struct hookfile *h);
size_t oh_file_patterns(const struct hookfile *h);

/* ---- set.c ---- */
/* Reads the directories. What is broken is left out, and logged when `old` did not have the same fault. */
int oh_set_read(struct oh *o, const struct set *old, struct set **ret, crio_err *err);
struct set *oh_set_ref(struct set *s);
void oh_set_unref(struct set *s);
struct set *oh_current(struct oh *o); /* a reference */

/* ---- watch.c ---- */
int oh_watch_start(struct oh *o, crio_err *err);
bool oh_matters(void *arg, const struct inotify_event *e);

/* ---- apply.c ---- */
int oh_apply(struct oh *o, crio_call *call, const struct crio_hook_args *args, struct crio_hook_out *out, crio_err *err);

#endif
