/*
 * http1.c: HTTP/1 on the CRI socket: connections, and requests as jobs of the workers; what is served is in inspect.c. One
 * thread of libmicrohttpd, which starts with the first connection, reads and writes; a request sleeps there while its job runs.
 */
#include <microhttpd.h>

#include "core/rpc/server.h"
#include "core/util/fs.h"

#define HTTP_CONNECTIONS 64
#define HTTP_TIMEOUT_S 30
#define HTTP_WORK_NS (60 * 1000000000ll)
#define HTTP_BODY_MAX (16u << 20)

struct http1 {
	struct rpc_server *s;
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	struct MHD_Daemon *mhd;
	struct request *working; /* those whose jobs are queued or run */
	uint32_t n_working;
	bool stopping;
};

/* A request from its headers to the end of its reply. Of MHD's thread, but for its time as a job. */
struct request {
	struct http1 *h;
	struct MHD_Connection *conn;
	const struct http_place *place; /* NULL until its job was given away */
	char *arg;
	crio_call *call;
	struct http_reply reply;
	struct request *prev, *next; /* of h->working */
};

static void request_free(struct request *q)
{
	free(q->arg);
	call_unref(q->call);
	buf_release(&q->reply.body);
	free(q);
}

static void on_end(void *arg, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why)
{
	struct request *q = *state;

	(void)arg;
	(void)c;
	(void)why;
	*state = NULL;
	if (q)
		request_free(q);
}

static enum MHD_Result send_reply(struct request *q, unsigned status, const char *type, const char *p, size_t n)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(n, (void *)(uintptr_t)p, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result ok;

	if (!r)
		return MHD_NO;
	(void)MHD_add_response_header(r, "Content-Type", type);
	ok = MHD_queue_response(q->conn, status, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result send_text(struct request *q, unsigned status, const char *text)
{
	return send_reply(q, status, "text/plain; charset=utf-8", text, strlen(text));
}

static void job(void *arg)
{
	struct request *q = arg;
	struct http1 *h = q->h;

	q->place->fn(h->s, q->call, q->arg, &q->reply);
	(void)pthread_mutex_lock(&h->lock);
	if (q->prev)
		q->prev->next = q->next;
	else
		h->working = q->next;
	if (q->next)
		q->next->prev = q->prev;
	/* Within the lock: after the last one http1_stop ends MHD. */
	MHD_resume_connection(q->conn);
	h->n_working--;
	(void)pthread_cond_broadcast(&h->changed);
	(void)pthread_mutex_unlock(&h->lock);
}

/* The request goes to sleep and its job to a worker. False: neither. */
static bool give_away(struct request *q, const struct http_place *p, const char *arg)
{
	struct http1 *h = q->h;

	q->arg = strdup(arg);
	q->call = call_new("HTTP", now_mono_ns() + HTTP_WORK_NS);
	if (!q->arg || !q->call)
		return false;
	cleanup_unlock pthread_mutex_t *l = lock(&h->lock);
	if (h->stopping)
		return false;
	q->place = p;
	if (workers_run(h->s->args.workers, p->class, job, q, NULL) < 0) {
		q->place = NULL;
		return false;
	}
	/* The job may run already; its end waits for the lock. */
	MHD_suspend_connection(q->conn);
	q->next = h->working;
	if (q->next)
		q->next->prev = q;
	h->working = q;
	h->n_working++;
	return true;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *c, const char *url, const char *method, const char *version,
			      const char *upload, size_t *upload_n, void **state)
{
	struct request *q = *state;
	const struct http_place *p;
	const char *id = "";

	(void)version;
	(void)upload;
	if (!q) { /* the headers; a body may follow */
		q = calloc(1, sizeof(*q));
		if (!q)
			return MHD_NO;
		q->h = arg;
		q->conn = c;
		q->reply.status = MHD_HTTP_OK;
		q->reply.type = "text/plain";
		buf_init(&q->reply.body, HTTP_BODY_MAX);
		*state = q;
		return MHD_YES;
	}
	if (*upload_n) {
		*upload_n = 0;
		return MHD_YES;
	}
	if (q->place) { /* its job has been done */
		if (buf_bad(&q->reply.body))
			return send_text(q, MHD_HTTP_INTERNAL_SERVER_ERROR, "the answer does not fit\n");
		return send_reply(q, q->reply.status, q->reply.type, q->reply.body.p ? q->reply.body.p : "", q->reply.body.n);
	}
	p = http_place_of(url, &id);
	if (!p)
		return send_text(q, MHD_HTTP_NOT_FOUND, "404 page not found\n");
	if (!str_eq(method, MHD_HTTP_METHOD_GET))
		return send_text(q, MHD_HTTP_METHOD_NOT_ALLOWED, "");
	if (give_away(q, p, id))
		return MHD_YES;
	return send_text(q, MHD_HTTP_SERVICE_UNAVAILABLE, "too much to do, or the daemon is ending\n");
}

int http1_new(struct rpc_server *s, struct http1 **ret, crio_err *err)
{
	struct http1 *h = calloc(1, sizeof(*h));
	pthread_condattr_t a;

	if (!h)
		return err_nomem(err);
	h->s = s;
	(void)pthread_mutex_init(&h->lock, NULL);
	(void)pthread_condattr_init(&a);
	(void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&h->changed, &a);
	(void)pthread_condattr_destroy(&a);
	*ret = h;
	return 0;
}

int http1_add(void *arg, int fd, crio_err *err)
{
	struct http1 *h = arg;
	struct sockaddr_storage none = {.ss_family = AF_UNIX};
	cleanup_unlock pthread_mutex_t *l = lock(&h->lock);

	if (!h->mhd && !h->stopping)
		h->mhd = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC |
					      MHD_ALLOW_SUSPEND_RESUME,
					  0, NULL, NULL, answer, h, MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS,
					  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_TIMEOUT_S,
					  MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_END);
	if (!h->mhd) {
		(void)safe_close(fd);
		return err_set(err, CRIO_E_INTERNAL, "cannot start the HTTP thread");
	}
	if (MHD_add_connection(h->mhd, fd, (struct sockaddr *)&none, sizeof(sa_family_t)) != MHD_YES) /* closes fd */
		return err_set(err, CRIO_E_EXHAUSTED, "connection refused: at most %d at once", HTTP_CONNECTIONS);
	return 0;
}

int http1_stop(struct http1 *h, uint32_t wait_ms)
{
	int64_t until = now_mono_ns() + (int64_t)wait_ms * 1000000;
	struct timespec ts = {until / 1000000000, until % 1000000000};
	cleanup_unlock pthread_mutex_t *l = lock(&h->lock);

	h->stopping = true;
	for (struct request *q = h->working; q; q = q->next)
		call_cancel(q->call);
	while (h->n_working)
		if (pthread_cond_timedwait(&h->changed, &h->lock, &ts) == ETIMEDOUT)
			break;
	return (int)h->n_working;
}

void http1_free(struct http1 *h)
{
	if (!h)
		return;
	if (h->mhd)
		MHD_stop_daemon(h->mhd);
	(void)pthread_cond_destroy(&h->changed);
	(void)pthread_mutex_destroy(&h->lock);
	free(h);
}
