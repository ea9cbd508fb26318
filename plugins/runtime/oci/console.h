/*
 * console.h: the console socket by which an OCI runtime hands over the controlling side of a terminal that it has made inside the
 * container. What the process writes is then read from its own terminal, and nothing stands between: a runtime that copies from one terminal to
 * another may lose what is there when the process ends (crun does).
 */
#ifndef OCI_CONSOLE_H
#define OCI_CONSOLE_H

#include <crio/plugin.h>

struct console {
	int listener;
	int path; /* O_PATH, of the socket, which has no name any more: the runtime gets it, and connects to /proc/self/fd/N */
};
#define CONSOLE_NONE ((struct console){-1, -1})

/* dir: a directory of ours, where the socket has a name for a moment. 0 or -errno. */
int console_open(struct console *c, const char *dir);
void console_close(struct console *c);
/* Waits for the terminal, until the call ends or the runtime does (pidfd). 0: *ret is the caller's, or -1 if the runtime ended first. */
int console_take(const struct crio_host *host, crio_call *call, struct console *c, int pidfd, int *ret, crio_err *err);

#endif
