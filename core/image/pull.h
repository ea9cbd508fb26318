/* pull.h: a transfer in progress, shared by pull.c (who waits for it) and transfer.c (what it does). */
#ifndef IMAGE_PULL_H
#define IMAGE_PULL_H

#include "core/image/images_priv.h"

struct pull {
	struct pull *next;
	struct images *is;
	char *key; /* image, credentials, driver, namespace; secret */
	char *ref, *driver, *ns;
	struct cred cred;
	crio_call *call; /* the transfer's */
	_Atomic int64_t last_progress_ns;
	/* Guarded by images.lock: */
	int refs; /* the thread's and the waiters' */
	size_t waiters;
	bool done, stalled;
	pthread_cond_t ended;
	int code;
	struct crio_err error;
	char *id, *repo_digest;
};

/* The whole transfer, on its own thread. Sets id and repo_digest. */
int pull_transfer(struct pull *p, crio_err *err);

#endif
