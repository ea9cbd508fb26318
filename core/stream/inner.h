/* inner.h: what the files of the streaming server share. Private to core/stream. */
#ifndef STREAM_INNER_H
#define STREAM_INNER_H

#include <stdatomic.h>

#include "core/exec/call.h"
#include "core/lifecycle/lifecycle.h"
#include "core/stream/flow.h"
#include "core/stream/job.h"
#include "core/stream/server.h"
#include "core/stream/tls.h"
#include "core/stream/tokens.h"

#define CREATION_NS (30 * 1000000000LL) /* for a client to open all streams of what it asked for */
#define PORTS_MAX 64u			 /* of one port-forward request */

struct stream_request {
	enum stream_kind kind;
	char *id;
	struct strv cmd;
	bool tty, in, out, err;
	uint16_t ports[PORTS_MAX];
	size_t n_ports;
};
void stream_request_free(struct stream_request *q); /* NULL is fine */

/* One upgraded connection and its work: the common part of remote.c's and forward.c's. */
struct stream {
	struct stream *prev, *next; /* of the server's ring */
	void (*cut)(struct stream *s); /* end it: the server stops */
};

struct stream_server {
	struct lifecycle *lifecycle;
	struct workers *workers;
	struct pump *pump;
	struct tokens *tokens;
	struct tls *tls; /* the pump's; NULL: none */
	char *base;	 /* "https://127.0.0.1:1234" */
	int32_t max_ports;
	/* Of the pump. */
	struct conn_place place;
	struct sink_budget budget;
	struct watch listener;
	struct pump_timer accept_again;
	struct stream streams; /* ring */
	struct guest *guests;  /* connections that have not made their request */
	unsigned n_guests;
	struct farewell *farewells; /* connections to containers, about to be closed */
	unsigned n_farewells;
	int64_t complained_ns;
	bool closing;
	/* Shared. */
	_Atomic unsigned n_streams, n_conns;
	_Atomic uint64_t served;
	pthread_mutex_t lock; /* guards quiet */
	pthread_cond_t changed;
	bool quiet; /* closing, and the last stream and farewell have gone */
	bool stuck;
	struct pump_task stop_task;
};

/* A stream begins, and is over with all of its work. */
void stream_add(struct stream_server *s, struct stream *x, void (*cut)(struct stream *x));
void stream_del(struct stream_server *s, struct stream *x);
/* When the server stops and nothing is left of its streams, who waits for that is told. */
void server_look_quiet(struct stream_server *s);

#endif
