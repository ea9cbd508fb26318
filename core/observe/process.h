/* process.h: figures of this process and of the node's, from /proc. */
#ifndef OBSERVE_PROCESS_H
#define OBSERVE_PROCESS_H

#include <stdint.h>

/* Processes below `proc` ("/proc") that have ended and that nobody has waited for. 0 when it cannot be read. */
uint64_t process_defunct(const char *proc);

struct process_figures {
	double cpu_s, start_s; /* time used; when it began, since 1970 */
	uint64_t open_fds, max_fds, virtual_bytes, resident_bytes, threads;
};
/* What cannot be read is 0. */
void process_look(struct process_figures *ret);

#endif
