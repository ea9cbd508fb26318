/* http.c: libcurl's multi interface, one transfer a handle, read by the caller. */
#include "core/image/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "core/util/fs.h"

#define IDLE_MAX 8 /* handles (each with its connections) kept for the next transfer */
#define BUFFERED_MAX (256u << 10)
#define SEC 1000000000LL

/* A curl handle and the multi handle that drives it and keeps its connections. */
struct client {
	CURLM *multi;
	CURL *easy;
	struct client *next;
};

struct http {
	pthread_mutex_t lock; /* guards idle, n_idle */
	struct client *idle;
	size_t n_idle;
	CURLSH *share; /* names resolved */
	pthread_mutex_t share_lock[CURL_LOCK_DATA_LAST];
};

struct http_xfer {
	struct http *h;
	struct client *c;
	crio_call *call;
	struct curl_slist *headers;
	struct http_head head;
	struct http_limits limits;
	char *name; /* "GET https://host/..." for messages */
	char fault[CURL_ERROR_SIZE];
	struct buf data; /* bytes not read yet */
	size_t given;	 /* of data, handed out by the last http_next */
	size_t head_bytes;
	bool head_done, done, paused, no_body, head_too_big;
	bool sent_body;	 /* any byte of the body came */
	CURLcode result; /* once done */
	int64_t waited_ns, waited_bytes;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void init_curl(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void share_take(CURL *e, curl_lock_data what, curl_lock_access access, void *arg)
{
	struct http *h = arg;

	(void)e;
	(void)access;
	(void)pthread_mutex_lock(&h->share_lock[what]);
}

static void share_give(CURL *e, curl_lock_data what, void *arg)
{
	struct http *h = arg;

	(void)e;
	(void)pthread_mutex_unlock(&h->share_lock[what]);
}

int http_new(struct http **ret, crio_err *err)
{
	struct http *h;

	(void)pthread_once(&curl_once, init_curl);
	if (curl_ready != CURLE_OK)
		return err_set(err, CRIO_E_INTERNAL, "libcurl does not start: %s", curl_easy_strerror(curl_ready));
	h = calloc(1, sizeof(*h));
	if (!h)
		return err_nomem(err);
	(void)pthread_mutex_init(&h->lock, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(h->share_lock); i++)
		(void)pthread_mutex_init(&h->share_lock[i], NULL);
	h->share = curl_share_init();
	if (!h->share) {
		http_free(h);
		return err_nomem(err);
	}
	(void)curl_share_setopt(h->share, CURLSHOPT_LOCKFUNC, share_take);
	(void)curl_share_setopt(h->share, CURLSHOPT_UNLOCKFUNC, share_give);
	(void)curl_share_setopt(h->share, CURLSHOPT_USERDATA, h);
	(void)curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	*ret = h;
	return 0;
}

static void client_free(struct client *c)
{
	if (c->easy)
		curl_easy_cleanup(c->easy);
	if (c->multi)
		(void)curl_multi_cleanup(c->multi);
	free(c);
}

void http_free(struct http *h)
{
	if (!h)
		return;
	while (h->idle) {
		struct client *c = h->idle;

		h->idle = c->next;
		client_free(c);
	}
	if (h->share)
		(void)curl_share_cleanup(h->share);
	for (size_t i = 0; i < ARRAY_SIZE(h->share_lock); i++)
		(void)pthread_mutex_destroy(&h->share_lock[i]);
	(void)pthread_mutex_destroy(&h->lock);
	free(h);
}

static struct client *client_get(struct http *h)
{
	struct client *c;

	(void)pthread_mutex_lock(&h->lock);
	c = h->idle;
	if (c) {
		h->idle = c->next;
		h->n_idle--;
	}
	(void)pthread_mutex_unlock(&h->lock);
	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->multi = curl_multi_init();
	c->easy = curl_easy_init();
	if (!c->multi || !c->easy) {
		client_free(c);
		return NULL;
	}
	(void)curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, 4L);
	return c;
}

static void client_put(struct http *h, struct client *c)
{
	curl_easy_reset(c->easy);
	(void)pthread_mutex_lock(&h->lock);
	if (h->n_idle < IDLE_MAX) {
		c->next = h->idle;
		h->idle = c;
		h->n_idle++;
		c = NULL;
	}
	(void)pthread_mutex_unlock(&h->lock);
	if (c)
		client_free(c);
}

void http_limits_default(struct http_limits *l)
{
	l->connect_ns = 30 * SEC;
	l->answer_ns = 60 * SEC;
	l->window_ns = 60 * SEC;
	l->min_rate = 1024;
}

/* ---- the head ---- */

static void head_release(struct http_head *hd)
{
	free(hd->type);
	free(hd->location);
	free(hd->docker_digest);
	free(hd->retry_after);
	strv_release(&hd->challenges);
	memset(hd, 0, sizeof(*hd));
}

static int head_clear(struct http_head *hd)
{
	head_release(hd);
	hd->length = hd->range_from = -1;
	hd->type = strdup("");
	hd->location = strdup("");
	hd->docker_digest = strdup("");
	hd->retry_after = strdup("");
	return hd->type && hd->location && hd->docker_digest && hd->retry_after ? 0 : CRIO_E_NOMEM;
}

static bool header_is(const char *p, size_t n, const char *name, const char **value, size_t *value_n)
{
	size_t k = strlen(name);

	if (n <= k || p[k] != ':' || strncasecmp(p, name, k))
		return false;
	p += k + 1;
	n -= k + 1;
	while (n && (*p == ' ' || *p == '\t'))
		p++, n--;
	while (n && (p[n - 1] == '\r' || p[n - 1] == '\n' || p[n - 1] == ' ' || p[n - 1] == '\t'))
		n--;
	*value = p;
	*value_n = n;
	return true;
}

static bool keep(char **field, const char *v, size_t n)
{
	char *s = strndup(v, n);

	if (!s)
		return false;
	free(*field);
	*field = s;
	return true;
}

static bool head_line(struct http_head *hd, const char *p, size_t n)
{
	const char *v;
	size_t k;

	if (n > 5 && !memcmp(p, "HTTP/", 5)) /* a new head: after "100 Continue" or a proxy's answer */
		return head_clear(hd) == 0;
	if (header_is(p, n, "Content-Type", &v, &k)) {
		const char *semi = memchr(v, ';', k);

		k = semi ? (size_t)(semi - v) : k;
		while (k && v[k - 1] == ' ')
			k--;
		if (!keep(&hd->type, v, k))
			return false;
		for (char *c = hd->type; *c; c++)
			*c = (char)tolower((unsigned char)*c);
	} else if (header_is(p, n, "Location", &v, &k)) {
		return keep(&hd->location, v, k);
	} else if (header_is(p, n, "Docker-Content-Digest", &v, &k)) {
		return keep(&hd->docker_digest, v, k);
	} else if (header_is(p, n, "Retry-After", &v, &k)) {
		return keep(&hd->retry_after, v, k);
	} else if (header_is(p, n, "WWW-Authenticate", &v, &k)) {
		return hd->challenges.n >= 16 || strv_addn(&hd->challenges, v, k) == 0;
	} else if (header_is(p, n, "Content-Range", &v, &k)) {
		char num[24] = "";
		size_t i = 0;

		if (k > 6 && !strncasecmp(v, "bytes ", 6))
			for (v += 6, k -= 6; i < k && i + 1 < sizeof(num) && isdigit((unsigned char)v[i]); i++)
				num[i] = v[i];
		(void)str_to_i64(num, 0, INT64_MAX, &hd->range_from);
	}
	return true;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct http_xfer *x = arg;

	n *= size;
	x->head_bytes += n;
	if (x->head_bytes > HTTP_HEAD_MAX) {
		x->head_too_big = true;
		return 0;
	}
	if (n <= 2 && (*p == '\r' || *p == '\n')) {
		long status = 0;

		(void)curl_easy_getinfo(x->c->easy, CURLINFO_RESPONSE_CODE, &status);
		if (status >= 200) { /* not an interim answer */
			curl_off_t len = -1;

			x->head.status = (int)status;
			(void)curl_easy_getinfo(x->c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &len);
			x->head.length = len;
			x->head_done = true;
		}
		return n;
	}
	if (x->head_done) /* trailers */
		return n;
	return head_line(&x->head, p, n) ? n : 0;
}

static size_t on_data(char *p, size_t size, size_t n, void *arg)
{
	struct http_xfer *x = arg;

	n *= size;
	if (x->data.n + n > BUFFERED_MAX && x->data.n) {
		x->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	buf_add(&x->data, p, n);
	if (buf_bad(&x->data))
		return 0;
	x->sent_body = true;
	x->waited_bytes += (int64_t)n;
	return n;
}

/* ---- driving ---- */

static bool code_is_connect(CURLcode r)
{
	return r == CURLE_COULDNT_CONNECT || r == CURLE_COULDNT_RESOLVE_HOST || r == CURLE_COULDNT_RESOLVE_PROXY;
}

static bool code_is_tls(CURLcode r)
{
	switch (r) {
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return true;
	default:
		return false;
	}
}

static int failed(struct http_xfer *x, enum http_fail *ret_fail, crio_err *err)
{
	const char *why = *x->fault ? x->fault : curl_easy_strerror(x->result);
	enum http_fail f = HTTP_FAIL_BROKEN;
	double connected = 0;

	(void)curl_easy_getinfo(x->c->easy, CURLINFO_CONNECT_TIME, &connected);
	if (x->head_too_big) {
		if (ret_fail)
			*ret_fail = HTTP_FAIL_OTHER;
		return err_set(err, CRIO_E_EXHAUSTED, "%s: the answer's headers are larger than %u bytes", x->name,
			       HTTP_HEAD_MAX);
	}
	if (code_is_connect(x->result) || (x->result == CURLE_OPERATION_TIMEDOUT && connected == 0))
		f = HTTP_FAIL_CONNECT;
	else if (code_is_tls(x->result))
		f = HTTP_FAIL_TLS;
	else if (x->result == CURLE_OUT_OF_MEMORY || x->result == CURLE_WRITE_ERROR)
		f = HTTP_FAIL_OTHER;
	if (ret_fail)
		*ret_fail = f;
	if (x->result == CURLE_OUT_OF_MEMORY || (f == HTTP_FAIL_OTHER && x->data.oom))
		return err_nomem(err);
	return err_set(err, CRIO_E_UNAVAILABLE, "%s: %s", x->name, why);
}

/* Lets curl work once and collects the result when the transfer has ended. */
static int step(struct http_xfer *x, crio_err *err)
{
	CURLMcode m;
	CURLMsg *msg;
	int running = 0, left;

	m = curl_multi_perform(x->c->multi, &running);
	if (m != CURLM_OK)
		return err_set(err, CRIO_E_INTERNAL, "%s: %s", x->name, curl_multi_strerror(m));
	while ((msg = curl_multi_info_read(x->c->multi, &left)))
		if (msg->msg == CURLMSG_DONE && msg->easy_handle == x->c->easy) {
			x->done = true;
			x->result = msg->data.result;
		}
	return 0;
}

/* Waits until curl has something to do, the call ends, or until_ns. */
static int wait_some(struct http_xfer *x, int64_t until_ns, crio_err *err)
{
	struct curl_waitfd fds[1] = {{.fd = call_cancel_fd(x->call), .events = CURL_WAIT_POLLIN}};
	int64_t before = now_mono_ns(), left = until_ns - before, call_left = call_left_ns(x->call);
	int ms;

	if (call_left < left)
		left = call_left;
	if (left > SEC) /* so that a call without a descriptor is looked at too */
		left = SEC;
	ms = left <= 0 ? 0 : (int)(left / 1000000) + 1;
	(void)curl_multi_poll(x->c->multi, fds, fds[0].fd >= 0 ? 1 : 0, ms, NULL);
	x->waited_ns += now_mono_ns() - before;
	return call_check(x->call, x->name, err);
}

static void setup_tls(CURL *e, const struct http_tls *t)
{
	struct curl_blob blob = {0};

	if (!t)
		return;
	if (t->insecure) {
		(void)curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
		(void)curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (str_set(t->ca_pem)) { /* the system's stay trusted through its CAPATH */
		blob.data = (void *)(uintptr_t)t->ca_pem;
		blob.len = strlen(t->ca_pem);
		blob.flags = CURL_BLOB_COPY;
		(void)curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &blob);
	}
	if (str_set(t->cert_file) && str_set(t->key_file)) {
		(void)curl_easy_setopt(e, CURLOPT_SSLCERT, t->cert_file);
		(void)curl_easy_setopt(e, CURLOPT_SSLKEY, t->key_file);
	}
}

static void setup_request(struct http_xfer *x, const struct http_args *a)
{
	CURL *e = x->c->easy;
	char range[32];

	if (str_eq(a->method, "HEAD")) {
		x->no_body = true;
		(void)curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
	} else if (str_eq(a->method, "POST")) {
		(void)curl_easy_setopt(e, CURLOPT_POST, 1L);
		(void)curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(a->body ? a->body : ""));
		(void)curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, a->body ? a->body : "");
	}
	if (a->range_from > 0) {
		(void)snprintf(range, sizeof(range), "%lld-", (long long)a->range_from);
		(void)curl_easy_setopt(e, CURLOPT_RANGE, range);
	}
}

static int setup(struct http_xfer *x, const struct http_args *a, crio_err *err)
{
	CURL *e = x->c->easy;
	cleanup_url struct url u = {0};
	int r = url_parse(a->url, NULL, &u, err);

	if (r < 0)
		return r;
	for (size_t i = 0; a->headers && i < a->headers->n; i++) {
		struct curl_slist *l;

		if (!str_is_printable(a->headers->v[i]))
			return err_set(err, CRIO_E_INVALID, "%s: a header has control characters", x->name);
		l = curl_slist_append(x->headers, a->headers->v[i]);
		if (!l)
			return err_nomem(err);
		x->headers = l;
	}
	(void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(e, CURLOPT_SHARE, x->h->share);
	(void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, x->fault);
	(void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
	(void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	(void)curl_easy_setopt(e, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	(void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 131072L);
	(void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(x->limits.connect_ns / 1000000));
	(void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, x->headers);
	(void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
	(void)curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	(void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
	(void)curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
	/* A registry on this machine is never behind the node's proxy. */
	if (str_eq(u.host, "localhost") || str_starts(u.host, "127.") || str_eq(u.host, "[::1]"))
		(void)curl_easy_setopt(e, CURLOPT_PROXY, "");
	setup_tls(e, a->tls);
	setup_request(x, a);
	if (curl_easy_setopt(e, CURLOPT_URL, a->url) != CURLE_OK)
		return err_nomem(err);
	return curl_multi_add_handle(x->c->multi, e) == CURLM_OK ? 0 : err_nomem(err);
}

int http_open(struct http *h, crio_call *call, const struct http_args *a, struct http_xfer **ret,
	      enum http_fail *ret_fail, crio_err *err)
{
	cleanup_http_xfer struct http_xfer *x = calloc(1, sizeof(*x));
	int64_t until;
	int r;

	if (ret_fail)
		*ret_fail = HTTP_FAIL_OTHER;
	if (!x)
		return err_nomem(err);
	x->h = h;
	if (a->limits)
		x->limits = *a->limits;
	else
		http_limits_default(&x->limits);
	/* Queries may hold signatures of a storage service: not for messages. */
	x->name = path_fmt("%s %.*s", a->method, (int)strcspn(a->url, "?"), a->url);
	x->c = client_get(h);
	x->call = call_ref(call);
	if (!x->name || !x->c || head_clear(&x->head) < 0)
		return err_nomem(err);
	r = setup(x, a, err);
	if (r < 0)
		return r;
	until = now_mono_ns() + x->limits.connect_ns + x->limits.answer_ns;
	while (!x->head_done && !x->done) {
		r = step(x, err);
		if (r < 0 || x->head_done || x->done)
			continue;
		r = wait_some(x, until, err);
		if (r < 0)
			return r;
		if (now_mono_ns() >= until) {
			if (ret_fail)
				*ret_fail = HTTP_FAIL_BROKEN;
			return err_set(err, CRIO_E_UNAVAILABLE, "%s: no answer within %lld s", x->name,
				       (long long)(x->limits.answer_ns / SEC));
		}
	}
	if (!x->head_done)
		return failed(x, ret_fail, err);
	x->waited_ns = x->waited_bytes = 0;
	if (ret_fail)
		*ret_fail = HTTP_OK;
	*ret = move_ptr(x);
	return 0;
}

const struct http_head *http_head(const struct http_xfer *x)
{
	return &x->head;
}

static int too_slow(struct http_xfer *x, enum http_fail *ret_fail, crio_err *err)
{
	int64_t need = x->limits.window_ns / SEC * x->limits.min_rate, got = x->waited_bytes;

	if (x->waited_ns < x->limits.window_ns)
		return 0;
	x->waited_ns = x->waited_bytes = 0;
	if (need < 1)
		need = 1;
	if (got >= need)
		return 0;
	if (ret_fail)
		*ret_fail = HTTP_FAIL_BROKEN;
	return err_set(err, CRIO_E_UNAVAILABLE, "%s: the server sent %lld bytes in %lld s, less than %lld", x->name,
		       (long long)got, (long long)(x->limits.window_ns / SEC), (long long)need);
}

int http_next(struct http_xfer *x, const void **ret_p, size_t *ret_n, enum http_fail *ret_fail, crio_err *err)
{
	int r;

	if (ret_fail)
		*ret_fail = HTTP_FAIL_OTHER;
	if (x->given) {
		buf_clear(&x->data);
		x->given = 0;
	}
	if (x->paused && !x->data.n) {
		x->paused = false;
		(void)curl_easy_pause(x->c->easy, CURLPAUSE_CONT); /* may call on_data, which may pause again */
	}
	while (!x->data.n && !x->done) {
		r = step(x, err);
		if (r < 0)
			return r;
		if (x->data.n || x->done)
			break;
		r = wait_some(x, now_mono_ns() + SEC, err);
		if (r == 0)
			r = too_slow(x, ret_fail, err);
		if (r < 0)
			return r;
	}
	if (!x->data.n && x->result != CURLE_OK)
		return failed(x, ret_fail, err);
	if (ret_fail)
		*ret_fail = HTTP_OK;
	x->given = x->data.n;
	*ret_p = x->data.p;
	*ret_n = x->data.n;
	return 0;
}

void http_close(struct http_xfer *x)
{
	if (!x)
		return;
	if (x->c) {
		(void)curl_multi_remove_handle(x->c->multi,
					       x->c->easy); /* an unfinished transfer's connection is closed */
		client_put(x->h, x->c);
	}
	curl_slist_free_all(x->headers);
	head_release(&x->head);
	buf_release(&x->data);
	call_unref(x->call);
	free(x->name);
	free(x);
}

int http_body(struct http_xfer *x, size_t limit, struct buf *b, enum http_fail *ret_fail, crio_err *err)
{
	for (;;) {
		const void *p;
		size_t n;
		int r = http_next(x, &p, &n, ret_fail, err);

		if (r < 0 || n == 0)
			return r;
		if (b->n + n > limit) {
			if (ret_fail)
				*ret_fail = HTTP_FAIL_OTHER;
			return err_set(err, CRIO_E_EXHAUSTED, "%s: the answer is larger than %zu bytes", x->name,
				       limit);
		}
		buf_add(b, p, n);
		if (buf_bad(b))
			return err_nomem(err);
	}
}
