/* test_server.c: the server on a real socket with methods of its own, from the first byte to shutdown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "core/rpc/cri.h"
#include "core/rpc/lists.h"
#include "core/rpc/method.h"
#include "core/rpc/rpc.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "tests/client/client.h"
#include "tests/tmp.h"

enum {
	OK = 0,
	CANCELLED = 1,
	INVALID = 3,
	DEADLINE = 4,
	NOT_FOUND = 5,
	EXHAUSTED = 8,
	UNIMPLEMENTED = 12,
	UNAVAILABLE = 14
};

struct fixture {
	char dir[TEST_TMP_N], path[TEST_TMP_N + 32];
	struct workers *workers;
	struct rpc_server *server;
	struct client *client;
	_Atomic int started, cancelled, gate;
};

/* ---- methods ---- */

static int m_echo(const struct rpc_env *env, crio_call *call, const ProtobufCMessage *req, struct rpc_reply *reply,
		  crio_err *err)
{
	const CRI(VersionRequest) *q = (const void *)req;
	CRI(VersionResponse) r = RUNTIME__V1__VERSION_RESPONSE__INIT;

	(void)env, (void)call;
	r.version = q->version;
	r.runtime_name = (char *)(uintptr_t) "echo";
	return rpc_reply_pack(reply, &r.base, err);
}

/* Until the call ends. */
static int m_block(const struct rpc_env *env, crio_call *call, const ProtobufCMessage *req, struct rpc_reply *reply,
		   crio_err *err)
{
	struct fixture *f = env->arg;
	int r;

	(void)req, (void)reply;
	f->started++;
	r = call_sleep(call, 60 * 1000000000ll, err);
	if (r == CRIO_E_CANCELLED)
		f->cancelled++;
	return r;
}

/* Until the gate opens. */
static int m_gate(const struct rpc_env *env, crio_call *call, const ProtobufCMessage *req, struct rpc_reply *reply,
		  crio_err *err)
{
	struct fixture *f = env->arg;

	(void)call;
	f->started++;
	while (!f->gate)
		usleep(1000);
	return m_echo(env, call, req, reply, err);
}

static int m_fail(const struct rpc_env *env, crio_call *call, const ProtobufCMessage *req, struct rpc_reply *reply,
		  crio_err *err)
{
	(void)env, (void)call, (void)req, (void)reply;
	return err_set(err, CRIO_E_NOT_FOUND, "container '%s' is not there: \xff\xc3\xa4", "x");
}

static int m_pull(const struct rpc_env *env, crio_call *call, const ProtobufCMessage *req, struct rpc_reply *reply,
		  crio_err *err)
{
	CRI(PullImageResponse) r = RUNTIME__V1__PULL_IMAGE_RESPONSE__INIT;

	(void)env, (void)call, (void)req;
	r.image_ref = (char *)(uintptr_t) "ok";
	return rpc_reply_pack(reply, &r.base, err);
}

/* A reply of as many bytes as the request's version says. */
static int m_big(const struct rpc_env *env, crio_call *call, const ProtobufCMessage *req, struct rpc_reply *reply,
		 crio_err *err)
{
	const CRI(VersionRequest) *q = (const void *)req;
	size_t n = strtoul(q->version, NULL, 10);
	char *s = malloc(n + 1);
	CRI(VersionResponse) r = RUNTIME__V1__VERSION_RESPONSE__INIT;
	int e;

	(void)env, (void)call;
	if (!s)
		return err_nomem(err);
	memset(s, 'a', n);
	s[n] = '\0';
	r.version = s;
	e = rpc_reply_pack(reply, &r.base, err);
	free(s);
	return e;
}

/* A streamed list of as many containers as the request's version says, with labels of as many bytes as follow after a space. */
static int m_list(const struct rpc_env *env, crio_call *call, const ProtobufCMessage *req, struct rpc_reply *reply,
		  crio_err *err)
{
	const CRI(VersionRequest) *q = (const void *)req;
	cleanup_list struct list_builder b = {0};
	char *end, id[32], text[4096];
	unsigned long n = strtoul(q->version, &end, 10), bytes = strtoul(end, &end, 10);
	int e = 0;

	(void)call, (void)reply;
	memset(text, 'x', sizeof(text));
	text[bytes < sizeof(text) ? bytes : sizeof(text) - 1] = '\0';
	for (unsigned long i = 0; i < n && !e; i++) {
		CRI(Container) c = RUNTIME__V1__CONTAINER__INIT;
		struct wire *w = NULL;

		(void)snprintf(id, sizeof(id), "%lu", i);
		c.id = id;
		c.image_ref = text;
		e = list_entry(&c.base, &w, err);
		if (!e)
			e = lists_add(&b, w, err);
	}
	if (!e)
		e = list_stream(&b, env, err);
	return e ? e : *end == '!' ? err_set(err, CRIO_E_NOT_FOUND, "failed after all") : 0;
}

#define MSGS &runtime__v1__version_request__descriptor, &runtime__v1__version_response__descriptor
static const struct rpc_method methods[] = {
    {"t.T", "Echo", WORK_FAST, MSGS, m_echo},
    {"t.T", "Block", WORK_EXEC, MSGS, m_block},
    {"t.T", "Gate", WORK_EXEC, MSGS, m_gate},
    {"t.T", "Fail", WORK_FAST, MSGS, m_fail},
    {"t.T", "Big", WORK_FAST, MSGS, m_big},
    {"t.T", "List", WORK_FAST, &runtime__v1__version_request__descriptor,
     &runtime__v1__stream_containers_response__descriptor, m_list},
    {"t.T", "Later", WORK_FAST, MSGS, NULL},
    {"t.T", "Pull", WORK_IMAGE, &runtime__v1__pull_image_request__descriptor,
     &runtime__v1__pull_image_response__descriptor, m_pull},
};

/* ---- fixture ---- */

static int start(struct fixture *f, struct rpc_args a)
{
	crio_err err = ERR_INIT;
	int r;

	a.workers = f->workers;
	a.socket_path = f->path;
	a.methods = methods;
	a.n_methods = ARRAY_SIZE(methods);
	a.methods_arg = f;
	r = rpc_server_new(&a, &f->server, &err);
	if (r == 0)
		r = rpc_server_start(f->server, &err);
	if (r < 0) {
		rpc_server_free(f->server);
		f->server = NULL;
		err_clear(&err);
		return r;
	}
	f->client = client_new(f->path);
	return 0;
}

static void stop(struct fixture *f)
{
	client_free(f->client);
	f->client = NULL;
	rpc_server_free(f->server);
	f->server = NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	crio_err err = ERR_INIT;

	assert_non_null(f);
	log_set_level(LOGL_PANIC);
	assert_non_null(test_tmp(f->dir, "rpc"));
	snprintf(f->path, sizeof(f->path), "%s/crio.sock", f->dir);
	assert_int_equal(workers_new(&f->workers, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->gate = 1;
	stop(f);
	assert_int_equal(workers_free(f->workers, 5000000000), 0);
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static int64_t ms_since(int64_t ns)
{
	return (now_mono_ns() - ns) / 1000000;
}

static size_t pack_version(const char *text, void *buf)
{
	CRI(VersionRequest) q = RUNTIME__V1__VERSION_REQUEST__INIT;

	q.version = (char *)(uintptr_t)text;
	return protobuf_c_message_pack(&q.base, buf);
}

static int call(struct fixture *f, const char *path, const char *text, int64_t timeout_ms, struct client_result *r)
{
	uint8_t b[256];
	size_t n = pack_version(text, b);

	client_call(f->client, path, b, n, timeout_ms, NULL, NULL, r);
	return r->status;
}

static int connect_raw(struct fixture *f)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* Milliseconds until the server ends the connection; -1: it did not within ms. */
static int64_t until_eof(int fd, int ms)
{
	int64_t t = now_mono_ns();
	char b[4096];

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = ms - ms_since(t);

		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return -1;
		if (read(fd, b, sizeof(b)) <= 0)
			return ms_since(t);
	}
}

static void wait_for(_Atomic int *v, int want)
{
	int64_t t = now_mono_ns();

	while (*v < want && ms_since(t) < 20000)
		usleep(1000);
	assert_true(*v >= want);
}

/* ---- tests ---- */

static void test_calls(void **state)
{
	struct fixture *f = *state;
	struct client_result r;
	CRI(VersionResponse) * v;
	struct stat st;

	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	assert_int_equal(stat(f->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(call(f, "/t.T/Echo", "hello", 5000, &r), OK);
	v = (void *)protobuf_c_message_unpack(&runtime__v1__version_response__descriptor, NULL, r.reply_n, r.reply);
	assert_string_equal(v->version, "hello");
	assert_string_equal(v->runtime_name, "echo");
	protobuf_c_message_free_unpacked(&v->base, NULL);
	client_result_release(&r);
	/* An empty message, and an empty answer. */
	client_call(f->client, "/t.T/Echo", "", 0, 5000, NULL, NULL, &r);
	assert_int_equal(r.status, OK);
	client_result_release(&r);
	assert_int_equal(call(f, "/t.T/Fail", "", 5000, &r), NOT_FOUND);
	assert_string_equal(r.message, "container 'x' is not there: ?\xc3\xa4");
	client_result_release(&r);
}

static void test_unknown_methods(void **state)
{
	struct fixture *f = *state;
	struct client_result r;
	char path[600];

	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	assert_int_equal(call(f, "/t.T/Later", "x", 5000, &r), UNIMPLEMENTED);
	assert_non_null(strstr(r.message, "Later"));
	client_result_release(&r);
	assert_int_equal(call(f, "/t.T/Nonesuch", "x", 5000, &r), UNIMPLEMENTED);
	assert_non_null(strstr(r.message, "/t.T/Nonesuch"));
	client_result_release(&r);
	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(call(f, path, "x", 5000, &r), UNIMPLEMENTED);
	client_result_release(&r);
	assert_int_equal(call(f, "/t.T/Echo", "x", 5000, &r), OK);
	client_result_release(&r);
}

static void test_malformed(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *names; /* in the message */
	} cases[] = {
	    {"\x0a\x03"
	     "a\0b",
	     5, "'version' contains a NUL byte"},
	    {"\x0a\x02\xff\xfe", 4, "'version' is not valid UTF-8"},
	    {"\x0a\x02\xc0\x80", 4, "'version' is not valid UTF-8"},	 /* an overlong NUL */
	    {"\x0a\x03\xed\xa0\x80", 5, "'version' is not valid UTF-8"}, /* a surrogate */
	    {"\x0a\x7f"
	     "abc",
	     5, "cut off"},
	    {"\x0a", 1, "cut off"},
	    {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, "cut off"},
	    {"\x08\x01", 2, "'version' is of another type"},
	    {"\x0b\x0c", 2, "protobuf form"}, /* a group */
	    {"\x00\x01", 2, "protobuf form"}, /* field 0 */
	};
	struct fixture *f = *state;
	struct client_result r;
	size_t i;

	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		client_call(f->client, "/t.T/Echo", cases[i].bytes, cases[i].n, 5000, NULL, NULL, &r);
		assert_int_equal(r.status, INVALID);
		assert_non_null(strstr(r.message, cases[i].names));
		client_result_release(&r);
	}
	/* Fields of a newer client are skipped. */
	client_call(f->client, "/t.T/Echo", "\xfa\x01\x02\xff\x00\x0a\x01z", 8, 5000, NULL, NULL, &r);
	assert_int_equal(r.status, OK);
	client_result_release(&r);
}

static void test_too_large(void **state)
{
	struct fixture *f = *state;
	struct client_result r;
	size_t n = 2u << 20;
	uint8_t *b = calloc(1, n);

	assert_int_equal(start(f, (struct rpc_args){.max_recv_bytes = 1u << 20, .max_send_bytes = 1u << 20}), 0);
	client_call(f->client, "/t.T/Echo", b, n, 5000, NULL, NULL, &r);
	assert_int_equal(r.status, EXHAUSTED);
	client_result_release(&r);
	assert_int_equal(call(f, "/t.T/Big", "1000000", 5000, &r), OK);
	assert_true(r.reply_n > 1000000);
	client_result_release(&r);
	assert_int_equal(call(f, "/t.T/Big", "1100000", 5000, &r), EXHAUSTED);
	assert_non_null(strstr(r.message, "grpc_max_send_msg_size"));
	client_result_release(&r);
	free(b);
}

/* 16 MB of two-byte unknown fields would become gigabytes. */
static void test_amplification(void **state)
{
	struct fixture *f = *state;
	struct client_result r;
	struct rpc_stats st;
	size_t n = 16u << 20, i;
	uint8_t *b = malloc(n);
	int64_t t;

	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	for (i = 0; i + 1 < n; i += 2) {
		b[i] = 0x78; /* field 15, varint: unknown */
		b[i + 1] = 1;
	}
	client_call(f->client, "/t.T/Echo", b, n, 20000, NULL, NULL, &r);
	assert_int_equal(r.status, EXHAUSTED);
	assert_non_null(strstr(r.message, "bytes of memory"));
	client_result_release(&r);
	/* Empty messages in a repeated field: refused by their count. */
	for (i = 0; i + 1 < n; i += 2) {
		b[i] = 0x1a; /* PullImageRequest.sandbox_config */
		b[i + 1] = 0;
	}
	client_call(f->client, "/t.T/Pull", b, n, 20000, NULL, NULL, &r);
	assert_int_not_equal(r.status, OK);
	client_result_release(&r);
	free(b);
	for (t = now_mono_ns(); ms_since(t) < 5000; usleep(1000)) {
		rpc_server_stats(f->server, &st);
		if (!st.calls_active && !st.request_bytes)
			break;
	}
	assert_int_equal(st.request_bytes, 0);
	assert_int_equal(call(f, "/t.T/Echo", "x", 5000, &r), OK);
	client_result_release(&r);
}

static void *block_thread(void *arg)
{
	struct fixture *f = arg;
	struct client *c = client_new(f->path);
	struct client_result r;
	intptr_t status;

	client_call(c, "/t.T/Block", "", 0, 0, NULL, NULL, &r);
	status = r.status;
	client_result_release(&r);
	client_free(c);
	return (void *)status;
}

static void *gate_thread(void *arg)
{
	struct fixture *f = arg;
	struct client *c = client_new(f->path);
	struct client_result r;
	intptr_t status;

	client_call(c, "/t.T/Gate", "", 0, 30000, NULL, NULL, &r);
	status = r.status;
	client_result_release(&r);
	client_free(c);
	return (void *)status;
}

static void test_budget(void **state)
{
	struct fixture *f = *state;
	struct client_result r;
	size_t n = 1u << 20;
	uint8_t *b = malloc(n);

	assert_int_equal(start(f, (struct rpc_args){.request_budget = 1u << 20}), 0);
	memset(b, 0, n);
	client_call(f->client, "/t.T/Echo", b, n, 5000, NULL, NULL, &r);
	assert_int_equal(r.status, EXHAUSTED);
	assert_non_null(strstr(r.message, "too much memory"));
	client_result_release(&r);
	free(b);
	assert_int_equal(call(f, "/t.T/Echo", "x", 5000, &r), OK);
	client_result_release(&r);
}

static void test_deadline_and_cancel(void **state)
{
	struct fixture *f = *state;
	struct client_result r;
	uint8_t b[16];
	int64_t t = now_mono_ns();

	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	assert_int_equal(call(f, "/t.T/Block", "", 200, &r), DEADLINE);
	assert_true(ms_since(t) < 5000);
	client_result_release(&r);
	wait_for(&f->started, 1);
	f->cancelled = 0;
	client_call_cancel(f->client, "/t.T/Block", b, 0, 200, &r);
	assert_int_equal(r.status, CANCELLED);
	client_result_release(&r);
	wait_for(&f->cancelled, 1); /* it arrived at the handler */
}

/* The client's process going away is a cancellation too. */
static void test_disconnect(void **state)
{
	struct fixture *f = *state;
	struct rpc_stats st;
	int64_t t;

	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	{
		struct client *c = client_new(f->path);
		struct client_result r;

		client_call_cancel(c, "/t.T/Block", "", 0, 100, &r);
		client_result_release(&r);
		client_free(c);
	}
	wait_for(&f->cancelled, 1);
	for (t = now_mono_ns(), st.connections = 1; ms_since(t) < 5000 && st.connections; usleep(1000))
		rpc_server_stats(f->server, &st);
	assert_int_equal(st.connections, 0);
}

struct many {
	struct fixture *f;
	_Atomic int good, bad;
};

static void *many_thread(void *arg)
{
	struct many *m = arg;
	struct client_result r;
	char text[32];
	int i;

	for (i = 0; i < 20; i++) {
		snprintf(text, sizeof(text), "%d", i);
		if (call(m->f, "/t.T/Echo", text, 20000, &r) == OK)
			m->good++;
		else
			m->bad++;
		client_result_release(&r);
	}
	return NULL;
}

static void test_200_at_once(void **state)
{
	struct fixture *f = *state;
	struct many m = {.f = f};
	pthread_t t[200];
	size_t i;

	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, many_thread, &m), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	assert_int_equal(m.good, 4000);
	assert_int_equal(m.bad, 0);
}

static void test_first_bytes(void **state)
{
	struct fixture *f = *state;
	struct rpc_stats st;
	int fd, silent, partial;
	char b[512];
	ssize_t n;
	int64_t t;

	assert_int_equal(start(f, (struct rpc_args){.first_bytes_ms = 300, .idle_ms = 1000}), 0);
	/* Nothing, and half a preface. */
	silent = connect_raw(f);
	partial = connect_raw(f);
	assert_int_equal(write(partial, "PRI * HT", 8), 8);
	assert_in_range(until_eof(silent, 5000), 200, 3000);
	assert_in_range(until_eof(partial, 5000), 0, 3000);
	close(silent);
	close(partial);
	/* The preface and nothing else: gone after the idle time. */
	fd = connect_raw(f);
	assert_int_equal(write(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24), 24);
	assert_in_range(until_eof(fd, 15000), 500, 14000);
	close(fd);
	/* The preface byte by byte, then rubbish. */
	fd = connect_raw(f);
	for (n = 0; n < 24; n++)
		assert_int_equal(write(fd, &"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[n], 1), 1);
	memset(b, 0xff, sizeof(b));
	assert_int_equal(write(fd, b, sizeof(b)), (ssize_t)sizeof(b));
	assert_true(until_eof(fd, 15000) >= 0);
	close(fd);
	/* HTTP/1. */
	fd = connect_raw(f);
	assert_int_equal(write(fd, "GET /nonesuch HTTP/1.0\r\n\r\n", 26), 26);
	t = now_mono_ns();
	for (n = 0; n < 12 && ms_since(t) < 5000;) {
		ssize_t k = read(fd, b + n, sizeof(b) - 1 - (size_t)n);

		assert_true(k > 0);
		n += k;
	}
	b[n] = '\0';
	assert_non_null(strstr(b, " 404 "));
	close(fd);
	for (t = now_mono_ns(), st.connections = 1; ms_since(t) < 5000 && st.connections; usleep(1000))
		rpc_server_stats(f->server, &st);
	assert_int_equal(st.connections, 0);
}

static void test_connection_cap(void **state)
{
	struct fixture *f = *state;
	struct client_result r;
	int fd[4], extra;
	size_t i;

	assert_int_equal(start(f, (struct rpc_args){.max_connections = 4}), 0);
	for (i = 0; i < 4; i++)
		fd[i] = connect_raw(f);
	extra = connect_raw(f);
	assert_true(until_eof(extra, 5000) >= 0);
	close(extra);
	for (i = 0; i < 4; i++)
		close(fd[i]);
	usleep(100000);
	assert_int_equal(call(f, "/t.T/Echo", "x", 5000, &r), OK);
	client_result_release(&r);
}

static void test_socket_file(void **state)
{
	struct fixture *f = *state, other = {.workers = f->workers};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	memcpy(other.path, f->path, sizeof(f->path));
	/* A stale socket: bound, nobody listens. */
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", f->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	/* A live one. */
	assert_int_equal(start(&other, (struct rpc_args){0}), CRIO_E_EXISTS);
	assert_int_equal(access(f->path, F_OK), 0);
	/* A file that is none. */
	snprintf(other.path, sizeof(other.path), "%s/file", f->dir);
	fd = open(other.path, O_CREAT | O_CLOEXEC | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(start(&other, (struct rpc_args){0}), CRIO_E_EXISTS);
	assert_int_equal(unlink(other.path), 0);
	snprintf(other.path, sizeof(other.path), "%s/nonesuch/crio.sock", f->dir);
	assert_true(start(&other, (struct rpc_args){0}) < 0);
}

static void test_shutdown_waits(void **state)
{
	struct fixture *f = *state;
	pthread_t t[8];
	void *status;
	size_t i;

	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, gate_thread, f), 0);
	wait_for(&f->started, ARRAY_SIZE(t));
	f->gate = 1; /* they are about to end: the stop must let them */
	assert_int_equal(rpc_server_stop(f->server, 20000), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		pthread_join(t[i], &status);
		assert_int_equal((intptr_t)status, OK);
	}
}

static void test_shutdown_cancels(void **state)
{
	struct fixture *f = *state;
	pthread_t t[8];
	void *status;
	int64_t start_ns;
	size_t i;

	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, block_thread, f), 0);
	wait_for(&f->started, ARRAY_SIZE(t));
	start_ns = now_mono_ns();
	assert_int_equal(rpc_server_stop(f->server, 500), 0);
	assert_true(ms_since(start_ns) < 5000);
	assert_int_equal(f->cancelled, ARRAY_SIZE(t));
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		pthread_join(t[i], &status);
		assert_int_not_equal((intptr_t)status, OK);
	}
}

/* Until gRPC is there, or is not. */
static bool grpc_becomes(struct fixture *f, bool up, int ms)
{
	struct rpc_stats st;
	int64_t t = now_mono_ns();

	do {
		rpc_server_stats(f->server, &st);
		if (st.grpc_up == up)
			return true;
		usleep(500);
	} while (ms_since(t) < ms);
	return false;
}

static void echo_once(struct fixture *f)
{
	struct client_result r;

	client_free(f->client);
	f->client = client_new(f->path);
	assert_int_equal(call(f, "/t.T/Echo", "here", 20000, &r), OK);
	client_result_release(&r);
}

/* Without connections gRPC goes, and a connection brings it back: nobody notices. */
static void test_quiet(void **state)
{
	struct fixture *f = *state;
	int i;

	assert_int_equal(start(f, (struct rpc_args){.quiet_ms = 20}), 0);
	assert_true(grpc_becomes(f, false, 0));
	for (i = 0; i < 20; i++) {
		echo_once(f);
		assert_true(grpc_becomes(f, true, 0));
		client_free(f->client);
		f->client = NULL;
		assert_true(grpc_becomes(f, false, 10000));
	}
	/* A connection that stays keeps it. */
	echo_once(f);
	assert_false(grpc_becomes(f, false, 200));
	echo_once(f);
}

/* A handler that outlives its client keeps gRPC until it ends. */
static void test_quiet_waits_for_calls(void **state)
{
	struct fixture *f = *state;
	struct client_result r;

	assert_int_equal(start(f, (struct rpc_args){.quiet_ms = 20}), 0);
	client_call_cancel(f->client, "/t.T/Gate", "", 0, 100, &r);
	client_result_release(&r);
	client_free(f->client);
	f->client = NULL;
	wait_for(&f->started, 1);
	assert_false(grpc_becomes(f, false, 1500));
	f->gate = 1;
	assert_true(grpc_becomes(f, false, 10000));
	echo_once(f);
}

static void *come_and_go(void *arg)
{
	struct fixture *f = arg;
	unsigned seed = (unsigned)(uintptr_t)&seed;
	struct client_result r;
	uint8_t b[64];
	size_t n = pack_version("go", b);
	int i;

	for (i = 0; i < 100; i++) {
		struct client *c = client_new(f->path);

		client_call(c, "/t.T/Echo", b, n, 20000, NULL, NULL, &r);
		if (r.status == OK)
			f->started++;
		client_result_release(&r);
		client_free(c);
		usleep((useconds_t)(rand_r(&seed) % 4000));
	}
	return NULL;
}

/* Connections that come while gRPC is about to go. */
static void test_quiet_races(void **state)
{
	struct fixture *f = *state;
	pthread_t t[3];
	size_t i;

	assert_int_equal(start(f, (struct rpc_args){.quiet_ms = 1}), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, come_and_go, f), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	assert_int_equal(f->started, 300);
	assert_true(grpc_becomes(f, false, 10000));
}

/* ---- streamed lists ---- */

struct heard {
	size_t messages, entries, biggest; /* biggest: entries of one message */
	size_t most_bytes;
	useconds_t pause; /* after each message */
	size_t leave;	  /* after this many; 0: never */
};

static int on_list(void *arg, const void *p, size_t n)
{
	struct heard *h = arg;
	CRI(StreamContainersResponse) *m = runtime__v1__stream_containers_response__unpack(NULL, n, p);

	assert_non_null(m);
	for (size_t i = 0; i < m->n_containers; i++)
		assert_int_equal(strtoul(m->containers[i]->id, NULL, 10), h->entries++);
	h->messages++;
	h->biggest = m->n_containers > h->biggest ? m->n_containers : h->biggest;
	h->most_bytes = n > h->most_bytes ? n : h->most_bytes;
	runtime__v1__stream_containers_response__free_unpacked(m, NULL);
	(void)usleep(h->pause);
	return h->leave && h->messages == h->leave;
}

static int stream(struct fixture *f, const char *text, struct heard *h)
{
	uint8_t b[256];
	struct client_result r;
	int status;

	client_call(f->client, "/t.T/List", b, pack_version(text, b), 60000, on_list, h, &r);
	status = r.status;
	client_result_release(&r);
	return status;
}

static void test_list_chunks(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0}, none = {0}, wide = {0}, failed = {0};

	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	assert_int_equal(stream(f, "7000 10", &h), OK);
	assert_int_equal(h.entries, 7000);
	assert_int_equal(h.messages, 3); /* 3000, 3000, 1000 */
	assert_int_equal(h.biggest, LIST_CHUNK);
	assert_int_equal(stream(f, "0", &none), OK);
	assert_int_equal(none.messages, 0);
	/* 20 MB: more than a stream of events may have waiting, and messages that every client takes. */
	assert_int_equal(stream(f, "5000 4000", &wide), OK);
	assert_int_equal(wide.entries, 5000);
	assert_true(wide.most_bytes <= LIST_CHUNK_BYTES);
	assert_int_equal(stream(f, "10 10!", &failed), NOT_FOUND);
	assert_int_equal(failed.messages, 0);
}

/* It waits for a client that reads slowly, and stops for one that goes. */
static void test_list_pace(void **state)
{
	struct fixture *f = *state;
	struct heard slow = {.pause = 200000}, gone = {.leave = 2}, after = {0};

	assert_int_equal(start(f, (struct rpc_args){0}), 0);
	assert_int_equal(stream(f, "6000 4000", &slow), OK);
	assert_int_equal(slow.entries, 6000);
	assert_int_equal(stream(f, "20000 1000", &gone), CANCELLED);
	assert_int_equal(gone.messages, 2);
	assert_int_equal(stream(f, "1", &after), OK);
	assert_int_equal(after.entries, 1);
}

static void test_never_started(void **state)
{
	struct fixture *f = *state;
	struct rpc_args a = {
	    .workers = f->workers, .socket_path = f->path, .methods = methods, .n_methods = ARRAY_SIZE(methods)};
	crio_err err = ERR_INIT;

	assert_int_equal(rpc_server_new(&a, &f->server, &err), 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_calls),	    T(test_unknown_methods),  T(test_malformed),	   T(test_too_large),
	    T(test_amplification),  T(test_budget),	      T(test_deadline_and_cancel), T(test_disconnect),
	    T(test_200_at_once),    T(test_first_bytes),      T(test_connection_cap),	   T(test_socket_file),
	    T(test_shutdown_waits), T(test_shutdown_cancels), T(test_never_started),
	    T(test_quiet),	    T(test_quiet_waits_for_calls), T(test_quiet_races),
	    T(test_list_chunks),    T(test_list_pace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
