/* http1.c: HTTP/1 on the CRI socket: 404 for everything. Its thread starts with the first connection. */
#include <microhttpd.h>

#include "core/rpc/server.h"

#define HTTP_CONNECTIONS 64
#define HTTP_TIMEOUT_S 30

struct http1 {
	pthread_mutex_t lock; /* guards mhd */
	struct MHD_Daemon *mhd;
};

static enum MHD_Result answer(void *arg, struct MHD_Connection *c, const char *url, const char *method,
			      const char *version, const char *upload, size_t *upload_n, void **state)
{
	static char text[] = "404 page not found\n";
	struct MHD_Response *r;
	enum MHD_Result ok;

	(void)arg, (void)url, (void)method, (void)version, (void)upload;
	if (!*state) { /* the headers; a body may follow */
		*state = text;
		return MHD_YES;
	}
	if (*upload_n) {
		*upload_n = 0;
		return MHD_YES;
	}
	r = MHD_create_response_from_buffer(sizeof(text) - 1, text, MHD_RESPMEM_PERSISTENT);
	if (!r)
		return MHD_NO;
	(void)MHD_add_response_header(r, "Content-Type", "text/plain; charset=utf-8");
	ok = MHD_queue_response(c, MHD_HTTP_NOT_FOUND, r);
	MHD_destroy_response(r);
	return ok;
}

int http1_new(struct http1 **ret, crio_err *err)
{
	struct http1 *h = calloc(1, sizeof(*h));

	if (!h)
		return err_nomem(err);
	(void)pthread_mutex_init(&h->lock, NULL);
	*ret = h;
	return 0;
}

int http1_add(void *arg, int fd, crio_err *err)
{
	struct http1 *h = arg;
	struct sockaddr_storage none = {.ss_family = AF_UNIX};
	cleanup_unlock pthread_mutex_t *l = lock(&h->lock);

	if (!h->mhd)
		h->mhd =
		    MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC, 0, NULL,
				     NULL, answer, NULL, MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS,
				     MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_TIMEOUT_S, MHD_OPTION_END);
	if (!h->mhd) {
		(void)safe_close(fd);
		return err_set(err, CRIO_E_INTERNAL, "cannot start the HTTP thread");
	}
	if (MHD_add_connection(h->mhd, fd, (struct sockaddr *)&none, sizeof(sa_family_t)) != MHD_YES) /* closes fd */
		return err_set(err, CRIO_E_EXHAUSTED, "connection refused: at most %d at once", HTTP_CONNECTIONS);
	return 0;
}

void http1_free(struct http1 *h)
{
	if (!h)
		return;
	if (h->mhd)
		MHD_stop_daemon(h->mhd);
	(void)pthread_mutex_destroy(&h->lock);
	free(h);
}
