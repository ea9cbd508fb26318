/*
 * fuzz_mux.h: what fuzz_spdy and fuzz_ws share: bytes of a client on a connection, into a mux whose user does what its data says: sends it
 * back, ends channels, resets them. The first byte of the input says how the rest is cut, and which kind it is.
 */
#ifndef FUZZ_MUX_H
#define FUZZ_MUX_H

#include <sys/socket.h>

#include "core/stream/mux.h"
#include "core/util/log.h"

#define FUZZ_CHANNELS 5

struct fuzz_user {
	struct mux *m;
	bool gone;
};

static const char *fuzz_wants(void *arg, struct channel *ch, const struct spdy_headers *h)
{
	(void)arg;
	if (h->kv.n > SPDY_HEADER_COUNT)
		__builtin_trap();
	ch->role = (int)h->kv.n;
	return *spdy_header(h, "streamtype") ? NULL : "no type";
}

static void fuzz_opened(void *arg, struct channel *ch)
{
	(void)arg;
	mux_send_copy(ch, "hello", 5);
}

static void fuzz_data(void *arg, struct channel *ch, const uint8_t *p, size_t n)
{
	struct fuzz_user *u = arg;
	if (u->gone || !n)
		__builtin_trap();
	mux_send_copy(ch, p, n < 64 ? n : 64);
	if (*p == 'E')
		mux_end(ch);
	else if (*p == 'R' && mux_is_spdy(u->m))
		mux_reset(ch);
	else if (*p == 'F') {
		mux_finish(u->m, "bye");
		u->gone = true;
	}
}

static void fuzz_ended(void *arg, struct channel *ch, bool reset)
{
	struct fuzz_user *u = arg;
	if (u->gone)
		__builtin_trap();
	if (!reset)
		mux_end(ch);
}

static void fuzz_drained(void *arg)
{
	(void)arg;
}

static void fuzz_gone(void *arg, const char *why)
{
	struct fuzz_user *u = arg;
	if (u->gone || !why)
		__builtin_trap();
	u->gone = true;
}

static const struct mux_user fuzz_mux_user = { fuzz_wants, fuzz_opened, fuzz_data, fuzz_ended, fuzz_drained, fuzz_gone };
static const struct conn_user fuzz_conn_user; /* until the mux takes over */

static inline void fuzz_mux(enum mux_kind kind, size_t piece, const uint8_t *p, size_t n)
{
	struct fuzz_user u = { NULL, false };
	struct conn_place place = { 0 };
	struct conn *c;
	int sv[2];

	log_set_level(LOGL_FATAL);
	if (pump_new(&place.pump, NULL) < 0)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv) == 0) {
		c = conn_new(&place, sv[0], NULL, &fuzz_conn_user, NULL);
		u.m = c ? mux_new(c, kind, FUZZ_CHANNELS, &fuzz_mux_user, &u) : NULL;
		if (!u.m)
			__builtin_trap();
		for (size_t at = 0; at < n && !u.gone; at += piece) {
			/* A block of its own size: a sanitizer sees a read past it. */
			size_t k = n - at < piece ? n - at : piece;
			uint8_t *copy = malloc(k);

			memcpy(copy, p + at, k);
			mux_input(u.m, copy, k);
			free(copy);
		}
		if (!u.gone)
			mux_abort(u.m);
		conns_abort(&place);
		(void)close(sv[1]);
	}
	pump_free(place.pump);
	if (place.n)
		__builtin_trap();
}

#endif
