/* The ttrpc client: frames of a 10-byte head (length, stream, type, flags; big endian) around a protobuf Request or
 * Response. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "plugins/runtime/kata/kata.h"

#define UNDO_NS (3 * NSEC_PER_SEC)
#define HEAD 10
#define SERVICE "containerd.task.v2.Task"
#define TYPE_REQUEST 1
#define TYPE_RESPONSE 2

void reply_release(struct reply *r)
{
	free(r->p);
	memset(r, 0, sizeof(*r));
}

static int connect_to(struct kata *k, const char *address, crio_err *err)
{
	const char *path = !strncmp(address, "unix://", 7) ? address + 7 : address;
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t n = strlen(path);
	int fd;

	if (!n || n >= sizeof(a.sun_path))
		return k->host->fail(err, CRIO_E_UNAVAILABLE, "shim address '%.120s' is not a unix socket's", address);
	memcpy(a.sun_path, path, n);
	if (*path == '@')
		a.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return k->host->fail(err, CRIO_E_IO, "socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&a,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (*path != '@')))) {
		int e = errno;

		close(fd);
		return k->host->fail(err, CRIO_E_UNAVAILABLE, "shim at %s: %s", address, strerror(e));
	}
	return fd;
}

/* As call_wait; without a call (undoing after one that is over) each wait has a limit of its own. */
static int wait_for(struct kata *k, crio_call *call, int fd, short events, const char *what, crio_err *err)
{
	if (call)
		return call_wait(k->host, call, fd, events, -1, what, err);
	return fd_wait(fd, events, UNDO_NS) ? 0 : k->host->fail(err, CRIO_E_DEADLINE, "%s: timed out", what);
}

static void frame(struct pb *out, const char *method, struct pb *request, int64_t timeout_ns)
{
	struct pb body = {0}, meta = {0};
	uint8_t head[HEAD] = {0};

	pb_str(&body, 1, SERVICE);
	pb_str(&body, 2, method);
	body.oom |= request->oom;
	pb_bytes(&body, 3, request->p, request->n);
	pb_uint(&body, 4, timeout_ns > 0 ? (uint64_t)timeout_ns : 0);
	pb_str(&meta, 1, "containerd-namespace-ttrpc");
	pb_str(&meta, 2, SHIM_NAMESPACE);
	pb_msg(&body, 5, &meta);
	head[0] = (uint8_t)(body.n >> 24);
	head[1] = (uint8_t)(body.n >> 16);
	head[2] = (uint8_t)(body.n >> 8);
	head[3] = (uint8_t)body.n;
	head[7] = 1; /* stream; the client's are odd */
	head[8] = TYPE_REQUEST;
	pb_raw(out, head, sizeof(head));
	pb_raw(out, body.p, body.n);
	out->oom |= body.oom || body.n > TTRPC_MAX;
	pb_release(&body);
	pb_release(request);
}

int ttrpc_send(struct kata *k, crio_call *call, const char *address, const char *method, struct pb *request,
	       crio_err *err)
{
	auto_pb struct pb out = {0};
	auto_close int fd = -1;
	int64_t end = call ? k->host->deadline_ns(call) : INT64_MAX;
	bool waits = !strcmp(method, "Wait"); /* lasts longer than any call */
	int ret, r;

	frame(&out, method, request, waits || end == INT64_MAX ? 0 : end - k->host->now_ns());
	if (out.oom)
		return k->host->fail(err, CRIO_E_NOMEM, "shim %s: the request is too large", method);
	fd = connect_to(k, address, err);
	if (fd < 0)
		return fd;
	for (size_t at = 0; at < out.n;) {
		ssize_t n;

		r = wait_for(k, call, fd, POLLOUT, method, err);
		if (r < 0)
			return r;
		n = send(fd, out.p + at, out.n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return k->host->fail(err, CRIO_E_UNAVAILABLE, "shim %s: send: %s", method, strerror(errno));
		at += (size_t)n;
	}
	ret = fd;
	fd = -1;
	return ret;
}

static int code_of(uint64_t grpc)
{
	static const int map[] = {
	    CRIO_OK,	      CRIO_E_CANCELLED,	     CRIO_E_INTERNAL,	 CRIO_E_INVALID,   CRIO_E_DEADLINE,
	    CRIO_E_NOT_FOUND, CRIO_E_EXISTS,	     CRIO_E_DENIED,	 CRIO_E_EXHAUSTED, CRIO_E_PRECONDITION,
	    CRIO_E_ABORTED,   CRIO_E_INVALID,	     CRIO_E_UNSUPPORTED, CRIO_E_INTERNAL,  CRIO_E_UNAVAILABLE,
	    CRIO_E_CORRUPT,   CRIO_E_UNAUTHENTICATED};

	return grpc < N_ELEMENTS(map) ? map[grpc] : CRIO_E_INTERNAL;
}

/* r holds one whole frame: checks it and leaves the payload. */
static int unwrap(struct kata *k, struct reply *r, size_t body, crio_err *err)
{
	const uint8_t *p = r->p + HEAD, *status = NULL, *payload = NULL;
	size_t status_n = 0, payload_n = 0;

	if (r->p[8] != TYPE_RESPONSE || !pb_is_sound(p, body))
		return k->host->fail(err, CRIO_E_CORRUPT, "the shim's answer is not ttrpc");
	if (pb_get_bytes(p, body, 1, &status, &status_n)) {
		int code = code_of(pb_get_uint(status, status_n, 1));

		if (code != CRIO_OK) {
			auto_free char *text = pb_get_str(status, status_n, 2);

			if (text)
				tidy(text);
			return k->host->fail(err, code, "shim: %.4000s", text && *text ? text : "no reason given");
		}
	}
	(void)pb_get_bytes(p, body, 2, &payload, &payload_n);
	if (!pb_is_sound(payload, payload_n))
		return k->host->fail(err, CRIO_E_CORRUPT, "the shim's answer is not a message");
	if (payload_n)
		memmove(r->p, payload, payload_n);
	r->n = payload_n;
	return 1;
}

int ttrpc_take(struct kata *k, int fd, struct reply *r, crio_err *err)
{
	for (;;) {
		size_t want = HEAD;
		ssize_t n;

		if (r->n >= HEAD) {
			size_t body = (size_t)r->p[0] << 24 | (size_t)r->p[1] << 16 | (size_t)r->p[2] << 8 | r->p[3];

			if (body > TTRPC_MAX)
				return k->host->fail(err, CRIO_E_CORRUPT,
						     "the shim's answer has %zu bytes; %u are allowed", body,
						     TTRPC_MAX);
			want = HEAD + body;
			if (r->n == want)
				return unwrap(k, r, body, err);
		}
		if (want > r->cap) {
			uint8_t *p = realloc(r->p, want);

			if (!p)
				return k->host->fail(err, CRIO_E_NOMEM, "the shim's answer: no memory");
			r->p = p;
			r->cap = want;
		}
		n = recv(fd, r->p + r->n, want - r->n, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return k->host->fail(err, CRIO_E_UNAVAILABLE, "the shim closed the connection");
		r->n += (size_t)n;
	}
}

int ttrpc_call(struct kata *k, crio_call *call, const char *address, const char *method, struct pb *request,
	       struct reply *ret, crio_err *err)
{
	auto_reply struct reply own = {0};
	auto_close int fd = ttrpc_send(k, call, address, method, request, err);
	struct reply *to = ret ? ret : &own;
	int r = fd;

	while (r >= 0) {
		r = wait_for(k, call, fd, POLLIN, method, err);
		if (r < 0)
			break;
		r = ttrpc_take(k, fd, to, err);
		if (r == 1)
			return 0;
	}
	(void)k->host->wrap(err, "shim %s", method); /* without err it does not know the code */
	return r;
}
