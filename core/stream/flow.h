/*
 * flow.h: the two ends of what a channel carries: a source, which is read while its client keeps up, and a sink, which keeps what its
 * descriptor does not take yet. Of the pump's thread.
 */
#ifndef STREAM_FLOW_H
#define STREAM_FLOW_H

#include "core/stream/mux.h"

/* ---- sources: from a container or port to the client ---- */

struct source {
	struct pump *pump;
	struct watch watch; /* its fd is the source's; -1: none, or ended */
	struct mux *mux;
	bool packets;	    /* the first byte of each says which stream it is of: passed in front of the rest */
	bool empty;	    /* the last look found nothing, and it is being watched */
	/* n bytes at p, with PUMP_HEADROOM in front; the last look may come from within source_look(). */
	void (*some)(void *arg, struct source *s, uint8_t *p, size_t n);
	/* Its end, or (error: errno) a fault; the descriptor has been closed. */
	void (*over)(void *arg, struct source *s, int error);
	void *arg;
};
/* The descriptor, non-blocking, belongs to it. Its four fields from `packets` on but `empty` are set. False: no memory to watch it; then
 * nothing has happened. */
bool source_start(struct source *s, struct mux *m, int fd);
/* The client has taken everything: go on. */
void source_resume(struct source *s);
/* Reads what is there, if the client keeps up. */
void source_look(struct source *s);
void source_stop(struct source *s); /* closes; nothing is called any more */
int source_take(struct source *s);  /* likewise, but gives the descriptor back; -1: there is none any more */
static inline bool source_is_on(const struct source *s) { return s->watch.fd >= 0; }

/* ---- sinks: from the client to a container or port ---- */

/* Bytes that wait in all sinks of a server. */
struct sink_budget {
	size_t waiting;
};
#define SINK_MAX (256u << 10)	     /* bytes that wait in one sink; with more its connection is not read */
#define SINK_BUDGET_MAX (64u << 20) /* in all; with more, connections with any that wait are not read */

struct sink {
	struct sink_budget *budget;
	struct pump *pump;
	struct watch watch;  /* its fd is the sink's; -1: not there yet, or closed */
	struct buf waiting;  /* from `at` on */
	size_t at;
	size_t piece;	     /* bytes written at once at most; 0: any number */
	bool socket;	     /* its end is a shutdown; else a close */
	bool keeps_open;     /* its end is nothing: a terminal */
	bool end, closed;    /* nothing comes after what waits; nobody takes any more: what comes is dropped */
	void (*moved)(void *arg, struct sink *s); /* less waits than did */
	void *arg;
};
/* Before its first use; `moved` and what is special about it may be set after. */
void sink_init(struct sink *s, struct pump *p, struct sink_budget *b, void (*moved)(void *arg, struct sink *s), void *arg);
/* The descriptor, non-blocking, belongs to it; what waits is written. */
void sink_open(struct sink *s, int fd);
/* False: no memory; the stream should end. */
bool sink_put(struct sink *s, const uint8_t *p, size_t n);
/* After what waits there is nothing more. */
void sink_end(struct sink *s);
void sink_stop(struct sink *s); /* closes; what waits is dropped */
/* Should its connection not be read now? */
bool sink_is_full(const struct sink *s);

#endif
