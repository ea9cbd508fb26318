/*
 * sock.h: listening at a path: the CRI socket and the metrics socket. A file that an earlier run left is replaced, one that somebody
 * listens on never is. From any thread.
 */
#ifndef UTIL_SOCK_H
#define UTIL_SOCK_H

#include <stdbool.h>
#include <sys/stat.h>

#include "core/util/err.h"

/* The file of a listener, to know it again. */
struct sock_file {
	dev_t dev;
	ino_t ino;
};
/*
 * A listener at path, non-blocking, with that mode from its first moment on. A socket file that nobody listens on is replaced; a live
 * listener, or a file that is no socket, is EXISTS. The directory must be there.
 */
int sock_listen_unix(const char *path, mode_t mode, int *ret_fd, struct sock_file *ret_file, crio_err *err);
/* Does somebody listen there? */
bool sock_is_live(const char *path);
/* Removes the file if it still is that one. */
void sock_unlink(const char *path, const struct sock_file *file);

#endif
