/* tokens.c: in order of age, as all live equally long: the expired ones are at the head. */
#include "core/stream/tokens.h"

#include <sys/random.h>

#include "core/util/str.h"

struct entry {
	struct entry *next;
	char token[TOKEN_SIZE];
	void *what;
	size_t weight;
	int64_t until_ns;
};

struct tokens {
	pthread_mutex_t lock; /* guards the rest */
	void (*free_fn)(void *what);
	struct entry *head, **tail;
	size_t n, weight;
};

struct tokens *tokens_new(void (*free_fn)(void *what))
{
	struct tokens *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	(void)pthread_mutex_init(&t->lock, NULL);
	t->free_fn = free_fn;
	t->tail = &t->head;
	return t;
}

/* Out of the list; the entry is freed, what it stands for is returned. */
static void *cut(struct tokens *t, struct entry **at)
{
	struct entry *e = *at;
	void *what = e->what;
	*at = e->next;
	if (!*at)
		t->tail = at;
	t->n--;
	t->weight -= e->weight;
	free(e);
	return what;
}

static void expire(struct tokens *t, int64_t now_ns)
{
	while (t->head && t->head->until_ns <= now_ns)
		t->free_fn(cut(t, &t->head));
}

void tokens_free(struct tokens *t)
{
	if (!t)
		return;
	expire(t, INT64_MAX);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

static struct entry **find(struct tokens *t, const char *token)
{
	struct entry **p = &t->head;
	while (*p && !str_eq((*p)->token, token))
		p = &(*p)->next;
	return p;
}

static int make_token(struct tokens *t, char ret[TOKEN_SIZE], crio_err *err)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned char raw[TOKEN_SIZE - 1];
	do {
		if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
			return err_errno(err, errno, "make a token: getrandom");
		for (size_t i = 0; i < sizeof(raw); i++)
			ret[i] = digits[raw[i] & 63];
		ret[sizeof(raw)] = '\0';
	} while (*find(t, ret));
	return 0;
}

int tokens_put(struct tokens *t, void *what, size_t n, int64_t now_ns, char ret[TOKEN_SIZE], crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&t->lock);
	expire(t, now_ns);
	if (t->n >= TOKENS_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "maximum number of in-flight requests exceeded: %d streaming URLs wait for their clients",
			       TOKENS_MAX);
	if (n > TOKENS_BYTES_MAX - t->weight)
		return err_set(err, CRIO_E_EXHAUSTED, "the requests that wait for their clients take %zu bytes, and this one of %zu is too much",
			       t->weight, n);
	struct entry *e = calloc(1, sizeof(*e));
	if (!e)
		return err_nomem(err);
	int r = make_token(t, e->token, err);
	if (r < 0) {
		free(e);
		return r;
	}
	memcpy(ret, e->token, TOKEN_SIZE);
	e->what = what;
	e->weight = n;
	e->until_ns = now_ns + TOKEN_LIFE_NS;
	*t->tail = e;
	t->tail = &e->next;
	t->n++;
	t->weight += n;
	return 0;
}

void *tokens_take(struct tokens *t, const char *token, int64_t now_ns)
{
	cleanup_unlock pthread_mutex_t *l = lock(&t->lock);
	expire(t, now_ns);
	struct entry **p = find(t, token);
	return *p ? cut(t, p) : NULL;
}

size_t tokens_count(struct tokens *t)
{
	cleanup_unlock pthread_mutex_t *l = lock(&t->lock);
	return t->n;
}
