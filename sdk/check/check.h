/*
 * check.h: the conformance tool's parts. It loads a plugin with the host that crio itself uses and holds it to what the SDK's
 * headers say. One TAP line a rule. A rule that cannot be tried here is skipped with its reason.
 */
#ifndef SDK_CHECK_H
#define SDK_CHECK_H

#include <pthread.h>
#include <stdbool.h>

#include "core/exec/call.h"
#include "core/exec/loop.h"
#include "core/exec/workers.h"
#include "core/plugin/ops.h"
#include "core/plugin/plugins.h"
#include "core/util/fs.h"

#define MS 1000000LL
#define SEC (1000 * MS)

struct check {
	enum crio_kind kind;
	char name[40];
	char tmp[64];         /* everything of ours is below it */
	const char *root;     /* --root: where a storage plugin's store goes; NULL: below tmp */
	const char *rootfs;   /* --program: what a container runs, a static busybox */
	bool own_ns;          /* in mount and network namespaces of our own: real pods may be tried */
	bool bare;            /* --bare: nothing real, only what is absent */
	struct kvs options;
	struct loop *loop;
	struct workers *workers;
	struct plugins *host;
	const struct crio_plugin *desc;
	struct plugin_inst *in;
	int n, failed;
	pthread_mutex_t lock; /* guards the rest */
	char breach[256];     /* the last one, "" none */
};

/* One operation, called again and again; `id` is the object. */
typedef int (*check_fn)(struct check *c, crio_call *call, const char *id, crio_err *err);

/* TAP. */
void check_ok(struct check *c, bool ok, const char *what, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void check_skip(struct check *c, const char *what, const char *why);

/* What an operation on something absent must answer. */
enum check_want { WANT_OK, WANT_NOT_FOUND, WANT_FAILURE, WANT_ANY };

/*
 * Holds one operation to the rules that hold for all: the wanted answer, each time; an error if and only if it fails; no
 * descriptor, mount or link left; a call that is cancelled or runs out of time comes back; side by side on many threads, for one
 * object and for many.
 */
void check_op(struct check *c, const char *name, check_fn fn, enum check_want want);
/* Runs fn on `id` once with a call of its own; the error's text goes to the TAP output when it fails. */
bool check_once(struct check *c, const char *what, check_fn fn, const char *id);
/* fn on n different objects at once, each `rounds` times; true when all succeeded. */
bool check_parallel(struct check *c, check_fn fn, int n, int rounds, crio_err *err);

/* What a process can leak. */
#define LEFT_TEXT 512
struct leftovers {
	int fds, mounts, links;
	bool open[1024]; /* which descriptors */
};
void leftovers_take(struct leftovers *l);
/* How long what is on its way out may take, in seconds. A runtime whose caller gave up still waits for its shim or monitor, to undo what
 * that answers: a minute (plugins/runtime/kata) and what the undoing takes. */
#define LEFT_SOON 10
#define LEFT_RUNTIME 90
/* Waits so long; false: something more is there than before, said in text. */
bool leftovers_same(const struct leftovers *before, int seconds, char text[LEFT_TEXT]);

crio_call *check_call(int64_t ns);

/* Each kind's part. */
void check_runtime(struct check *c);
void check_storage(struct check *c);
void check_network(struct check *c);
void check_hook(struct check *c);

#define ABSENT "00000000000000000000000000000000000000000000000000000000deadbeef"

#endif
