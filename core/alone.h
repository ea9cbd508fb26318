/* alone.h: one daemon only for each storage root, run root and socket. */
#ifndef ALONE_H
#define ALONE_H

#include "core/conf/conf.h"
#include "core/util/err.h"

#define ALONE_PLACES 3

/* Locks, held until the process ends or alone_release. */
struct alone {
	int fds[ALONE_PLACES];
};

/* Takes the locks; the directories are made where they are missing, and nothing else is touched. PRECONDITION: another daemon
 * has one of the places, another program listens on the socket, or a root is not private; the message says which place, and who. */
int alone_init(struct alone *a, const struct conf *conf, crio_err *err);
void alone_release(struct alone *a);

#endif
