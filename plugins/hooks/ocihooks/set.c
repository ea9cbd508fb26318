/* The directories: files of one name are one hook, that of the later directory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>

#include "plugins/hooks/ocihooks/ocihooks.h"

#define REFUSED_MAX 256

struct set *oh_set_ref(struct set *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void oh_set_unref(struct set *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	for (size_t i = 0; i < s->n; i++)
		oh_file_free(s->v[i]);
	for (size_t i = 0; i < s->n_refused; i++)
		free(s->refused[i]);
	free(s->v);
	free(s->refused);
	free(s);
}

struct set *oh_current(struct oh *o)
{
	struct set *s;

	(void)pthread_mutex_lock(&o->mu);
	s = oh_set_ref(o->set);
	(void)pthread_mutex_unlock(&o->mu);
	return s;
}

/* Logged when it is news. */
static void refuse(struct oh *o, const struct set *old, struct set *s, const char *dir, const char *name, const char *why)
{
	bool known = false;
	char *text;

	if (asprintf(&text, "%s/%s: %s", dir, name, why) < 0)
		return;
	for (size_t i = 0; old && i < old->n_refused; i++)
		known |= !strcmp(old->refused[i], text);
	if (!known)
		o->host->log(o->in, CRIO_LOG_WARN, "Hook file left out: %s", text);
	if (s->n_refused < REFUSED_MAX)
		s->refused[s->n_refused++] = text;
	else
		free(text);
}

static int read_text(struct oh *o, int dir, const char *name, char **ret, size_t *ret_n, crio_err *err)
{
	struct stat st;
	size_t n = 0;
	ssize_t got = 1;
	char *p;
	/* A fifo or a device must not hold us up. */
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r = 0;

	if (fd < 0)
		return o->host->fail(err, errno == ENOENT ? CRIO_E_NOT_FOUND : CRIO_E_IO, "open: %s", strerror(errno));
	p = malloc(OH_FILE_MAX + 1);
	if (!p)
		r = oh_nomem(o, err);
	else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		r = o->host->fail(err, CRIO_E_INVALID, "it is no regular file");
	while (r == 0 && got > 0 && n <= OH_FILE_MAX) {
		got = read(fd, p + n, OH_FILE_MAX + 1 - n);
		if (got < 0)
			r = o->host->fail(err, CRIO_E_IO, "read: %s", strerror(errno));
		else
			n += (size_t)got;
	}
	if (r == 0 && n > OH_FILE_MAX)
		r = o->host->fail(err, CRIO_E_EXHAUSTED, "it is longer than %u bytes", OH_FILE_MAX);
	(void)close(fd);
	if (r < 0) {
		free(p);
		return r;
	}
	*ret = p;
	*ret_n = n;
	return 0;
}

/* Puts it in the place of its namesake, or at the end. */
static int place(struct oh *o, struct set *s, struct hookfile *h, crio_err *err)
{
	size_t i = 0;

	while (i < s->n && strcmp(s->v[i]->name, h->name) != 0)
		i++;
	if (i == OH_FILES_MAX)
		return o->host->fail(err, CRIO_E_EXHAUSTED, "there are more than %d hook files", OH_FILES_MAX);
	if (s->patterns + oh_file_patterns(h) > OH_PATTERNS_MAX)
		return o->host->fail(err, CRIO_E_EXHAUSTED, "all hook files together have more than %d patterns", OH_PATTERNS_MAX);
	if (i < s->n) {
		s->patterns -= oh_file_patterns(s->v[i]);
		oh_file_free(s->v[i]);
	} else {
		s->n++;
	}
	s->v[i] = h;
	s->patterns += oh_file_patterns(h);
	return 0;
}

static void take_file(struct oh *o, const struct set *old, struct set *s, const char *path, int dir, const char *name)
{
	crio_err *err = o->host->err_new();
	struct hookfile *h = NULL;
	cleanup_free char *text = NULL;
	size_t n = 0;
	int r = read_text(o, dir, name, &text, &n, err);
	bool gone = r == CRIO_E_NOT_FOUND; /* it went while we looked */

	if (r == 0)
		r = oh_file_parse(o, name, text, n, &h, err);
	if (r == 0)
		r = place(o, s, h, err);
	if (r < 0) {
		oh_file_free(h);
		if (!gone)
			refuse(o, old, s, path, name, o->host->err_text(err));
	}
	o->host->err_free(err);
}

static int is_hook_file(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 5 && !strcmp(d->d_name + n - 5, ".json");
}

static void take_dir(struct oh *o, const struct set *old, struct set *s, const char *path)
{
	struct dirent **v = NULL;
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n;

	if (dir < 0) {
		if (errno != ENOENT)
			refuse(o, old, s, path, ".", strerror(errno));
		return;
	}
	n = scandirat(dir, ".", &v, is_hook_file, alphasort);
	if (n < 0)
		refuse(o, old, s, path, ".", strerror(errno));
	for (int i = 0; i < n; i++) {
		take_file(o, old, s, path, dir, v[i]->d_name);
		free(v[i]);
	}
	free(v);
	(void)close(dir);
}

static int by_name(const void *a, const void *b)
{
	const char *x = (*(struct hookfile *const *)a)->name, *y = (*(struct hookfile *const *)b)->name;
	int r = strcasecmp(x, y);

	return r ? r : strcmp(x, y);
}

int oh_set_read(struct oh *o, const struct set *old, struct set **ret, crio_err *err)
{
	struct set *s = calloc(1, sizeof(*s));

	if (s) {
		s->refs = 1;
		s->v = calloc(OH_FILES_MAX, sizeof(struct hookfile *));
		s->refused = calloc(REFUSED_MAX, sizeof(char *));
	}
	if (!s || !s->v || !s->refused) {
		oh_set_unref(s);
		return oh_nomem(o, err);
	}
	for (size_t i = 0; i < o->n_dirs; i++)
		take_dir(o, old, s, o->dirs[i]);
	qsort(s->v, s->n, sizeof(struct hookfile *), by_name);
	*ret = s;
	return 0;
}
