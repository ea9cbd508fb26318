/* blob.c: downloading a blob: resumed where it broke, never longer than announced. */
#include <string.h>

#include "core/image/registry_priv.h"
#include "core/util/log.h"

#define RESUMES_MAX 3

struct registry_blob {
	struct registry_session *s;
	struct endpoint *ep;
	crio_call *call;
	char digest[DIGEST_TEXT_MAX];
	int64_t size, at; /* bytes expected; bytes handed out */
	int64_t skip;	  /* of an answer that begins at 0 though less was asked for */
	struct http_xfer *x;
	const char *p; /* what x has given and the reader has not taken */
	size_t n;
	int resumes;
	void (*progress)(void *arg, size_t n);
	void *arg;
};

void registry_blob_close(struct registry_blob *b)
{
	if (!b)
		return;
	http_close(b->x);
	call_unref(b->call);
	free(b);
}

static int corrupt_size(const struct registry_blob *b, int64_t got, crio_err *err)
{
	return err_set(err, CRIO_E_CORRUPT, "blob %s: %lld bytes instead of %lld", b->digest, (long long)got,
		       (long long)b->size);
}

/* (Re)opens at b->at. */
static int blob_request(struct registry_blob *b, enum http_fail *fail, crio_err *err)
{
	cleanup_free char *url = NULL;
	struct request rq = {"GET", NULL, NULL, NULL, b->at};
	struct buf t = BUF_INIT;
	const struct http_head *h;
	int r;

	buf_addf(&t, "%s/v2/%s/blobs/%s", b->ep->base, b->ep->repo, b->digest);
	rq.url = url = buf_take(&t);
	if (!url)
		return err_nomem(err);
	r = endpoint_request(b->s, b->ep, b->call, &rq, &b->x, fail, err);
	if (r < 0) {
		if (*fail == HTTP_FAIL_CONNECT)
			b->s->unreachable = true;
		return r;
	}
	*fail = HTTP_FAIL_OTHER;
	h = http_head(b->x);
	if (h->status == 206 && b->at > 0) {
		if (h->range_from != b->at)
			return err_set(err, CRIO_E_CORRUPT,
				       "blob %s: asked for the rest from byte %lld, got it from %lld", b->digest,
				       (long long)b->at, (long long)h->range_from);
		b->skip = 0;
		return 0;
	}
	if (h->status != 200)
		return answer_error(b->x, err);
	b->skip = b->at;
	if (h->length >= 0 && h->length != b->size)
		return corrupt_size(b, h->length, err);
	return 0;
}

int registry_blob_open(struct registry_session *s, crio_call *call, const struct descriptor *d,
		       void (*progress)(void *arg, size_t n), void *arg, struct registry_blob **ret, crio_err *err)
{
	cleanup_blob struct registry_blob *b = calloc(1, sizeof(*b));
	enum http_fail fail;
	int r;

	if (!b)
		return err_nomem(err);
	b->s = s;
	b->ep = &s->ep[s->current];
	b->call = call_ref(call);
	b->size = d->size;
	b->progress = progress;
	b->arg = arg;
	(void)snprintf(b->digest, sizeof(b->digest), "%s", d->digest);
	r = blob_request(b, &fail, err);
	if (r < 0)
		return err_wrap(err, "reading blob %s", b->digest);
	*ret = move_ptr(b);
	return 0;
}

/* The transfer broke with *e. Goes on after a pause, or gives *e back. */
static int resume(struct registry_blob *b, enum http_fail fail, struct crio_err *e, crio_err *err)
{
	int r;

	if (fail != HTTP_FAIL_BROKEN)
		return err_move(err, e);
	for (;;) {
		if (b->resumes++ >= RESUMES_MAX)
			return err_move(err, e);
		log_debug("%s: going on from byte %lld", err_text(e), (long long)b->at);
		err_clear(e);
		http_close(b->x);
		b->x = NULL;
		r = call_sleep(b->call, b->s->env.backoff_ns << (b->resumes - 1), err);
		if (r < 0)
			return r;
		r = blob_request(b, &fail, e);
		if (r == 0)
			return 0;
		if (fail != HTTP_FAIL_BROKEN && fail != HTTP_FAIL_CONNECT)
			return err_move(err, e);
	}
}

/* Makes b->n > 0, or finds the end. */
static int fill(struct registry_blob *b, crio_err *err)
{
	while (!b->n) {
		struct crio_err e = ERR_INIT;
		enum http_fail fail;
		const void *p;
		size_t n;
		int r = http_next(b->x, &p, &n, &fail, &e);

		if (r < 0) {
			r = resume(b, fail, &e, err);
			if (r < 0)
				return r;
			continue;
		}
		if (n == 0)
			return b->at == b->size ? 0 : corrupt_size(b, b->at, err);
		if (b->progress)
			b->progress(b->arg, n);
		if ((int64_t)n <= b->skip) {
			b->skip -= (int64_t)n;
			continue;
		}
		b->p = (const char *)p + b->skip;
		b->n = n - (size_t)b->skip;
		b->skip = 0;
		if ((int64_t)b->n > b->size - b->at)
			return corrupt_size(b, b->at + (int64_t)b->n, err);
	}
	return 0;
}

ssize_t registry_blob_read(void *blob, void *p, size_t n, crio_err *err)
{
	struct registry_blob *b = blob;
	int r = fill(b, err);

	if (r < 0) {
		(void)err_wrap(err, "reading blob %s", b->digest);
		return r;
	}
	if (n > b->n)
		n = b->n;
	memcpy(p, b->p, n);
	b->p += n;
	b->n -= n;
	b->at += (int64_t)n;
	return (ssize_t)n;
}

int registry_blob_get(struct registry_session *s, crio_call *call, const struct descriptor *d, size_t limit,
		      struct buf *ret, crio_err *err)
{
	cleanup_blob struct registry_blob *b = NULL;
	char name[16], got[DIGEST_TEXT_MAX], piece[16384];
	struct digester *dg;
	ssize_t n;
	int r;

	if (d->size > (int64_t)limit)
		return err_set(err, CRIO_E_EXHAUSTED, "blob %s: %lld bytes, more than %zu", d->digest,
			       (long long)d->size, limit);
	r = registry_blob_open(s, call, d, NULL, NULL, &b, err);
	if (r < 0)
		return r;
	while ((n = registry_blob_read(b, piece, sizeof(piece), err)) > 0)
		buf_add(ret, piece, (size_t)n);
	if (n < 0)
		return (int)n;
	if (buf_bad(ret))
		return err_nomem(err);
	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(d->digest, ":"), d->digest);
	dg = digester_new(name);
	if (!dg)
		return err_nomem(err);
	digester_add(dg, ret->p ? ret->p : "", ret->n);
	digester_finish(dg, got);
	if (!str_eq(got, d->digest))
		return err_set(err, CRIO_E_CORRUPT, "blob %s: the digest of what was received is %s", d->digest, got);
	return 0;
}
