/*
 * checkpoint.h: containers that begin with a checkpoint: what lifecycle's own files need of it. Making one is lifecycle.h's
 * container_checkpoint (checkpoint.c); this is the way back (restore.c). A container is made from a checkpoint in two steps, as in CRI-O:
 * at its creation the checkpoint is read whole, its files put in place, and the container is created but unknown to
 * its runtime; its start restores the processes.
 */
#ifndef LIFECYCLE_CHECKPOINT_H
#define LIFECYCLE_CHECKPOINT_H

#include "core/lifecycle/checkpoint_source.h"
#include "core/lifecycle/inner.h"

#define CHECKPOINT_WORK "checkpoint.work" /* in a container's directory: while one is made of it */

/* Where one was found, for the time of a container's creation. */
struct checkpoint {
	struct checkpoint_source source;
	struct checkpoint_meta meta;
	int64_t at_ns;    /* when it was made; 0 unknown */
};
#define CHECKPOINT_INIT { CHECKPOINT_SOURCE_INIT, { NULL, NULL, NULL, STRV_INIT }, 0 }
void checkpoint_release(struct checkpoint *k);
#define cleanup_checkpoint CLEANUP(checkpoint_release)

/*
 * Is the request's image a checkpoint: an absolute path of a file, or an image with CRI-O's annotation? *ret_found. Never unless the
 * configuration allows it. If so `config` becomes one of the image that the container had, and is to be checked again. From the
 * checkpoint come that image's id, annotations that nothing acts on and paths to be masked; all else is what the request says.
 * INVALID when the request has not every mount that the processes had.
 */
int checkpoint_find(struct pod *p, crio_call *call, struct container_config *config, struct checkpoint *ret, bool *ret_found, crio_err *err);
/* Into the new container's directory and mounted root; c->restore is set from here on. */
int checkpoint_place(struct container *c, crio_call *call, const struct checkpoint *k, crio_err *err);

/* Its spec: says where the runtime plugin may leave options for criu. */
int checkpoint_annotate(const struct container *c, struct json_object *spec, crio_err *err);

/* The start of such a container, with its job slot. */
int container_do_restore(struct container *c, crio_call *call, crio_err *err);
/* What is left in its directory once it has begun. */
void checkpoint_forget(struct container *c);
/* After a restart of the daemon, whose end may have cut a restore short: back to where it can be tried. */
void checkpoint_recover(struct container *c, crio_call *call);

#endif
