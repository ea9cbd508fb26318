/* rules.c: the rules that hold for every operation of every kind. */
#include "sdk/check/check.h"

#include <net/if.h>
#include <stdarg.h>

#define ROUNDS 8
#define THREADS 6
#define BACK_NS (1800 * MS) /* the host gives a cancelled operation 2 s */

static void tap_text(const char *text)
{
	for (const char *p = text; *p;) {
		int n = (int)strcspn(p, "\n");
		(void)printf("#   %.*s\n", n, p);
		p += n + (p[n] == '\n');
	}
}

void check_ok(struct check *c, bool ok, const char *what, const char *fmt, ...)
{
	(void)printf("%s %d - %s\n", ok ? "ok" : "not ok", ++c->n, what);
	c->failed += !ok;
	if (!ok) {
		char text[1024];
		va_list ap;
		va_start(ap, fmt);
		(void)vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
		tap_text(text);
	}
	(void)fflush(stdout);
}

void check_skip(struct check *c, const char *what, const char *why)
{
	(void)printf("ok %d - %s # skip %s\n", ++c->n, what, why);
}

crio_call *check_call(int64_t ns)
{
	return call_new("check", now_mono_ns() + ns);
}

/* ---- leaks ---- */

static int count_lines(const char *file)
{
	FILE *f = fopen(file, "re");
	int n = 0;
	for (int ch; f && (ch = fgetc(f)) != EOF;)
		n += ch == '\n';
	if (f)
		(void)fclose(f);
	return n;
}

static int count_links(void)
{
	struct if_nameindex *v = if_nameindex();
	int n = 0;
	while (v && v[n].if_index)
		n++;
	if (v)
		if_freenameindex(v);
	return n;
}

static int count_fds(bool open_[1024])
{
	cleanup_closedir DIR *d = opendir("/proc/self/fd");
	int n = 0;
	memset(open_, 0, 1024);
	for (struct dirent *e; d && (e = readdir(d));) {
		int fd = atoi(e->d_name);
		if (*e->d_name == '.' || fd == dirfd(d))
			continue;
		n++;
		if (fd < 1024)
			open_[fd] = true;
	}
	return n;
}

void leftovers_take(struct leftovers *l)
{
	l->fds = count_fds(l->open);
	l->mounts = count_lines("/proc/self/mountinfo");
	l->links = count_links();
}

bool leftovers_same(const struct leftovers *before, int seconds, char text[LEFT_TEXT])
{
	struct leftovers now;
	for (int i = 0;; i++) {
		leftovers_take(&now);
		if (now.fds <= before->fds && now.mounts <= before->mounts && now.links <= before->links)
			return true;
		if (i >= seconds * 100)
			break;
		(void)usleep(10000);
	}
	int n = snprintf(text, LEFT_TEXT, "left behind: %d descriptors, %d mounts, %d network links", now.fds - before->fds,
			 now.mounts - before->mounts, now.links - before->links);
	for (int fd = 0; fd < 1024 && n < LEFT_TEXT - 160; fd++) {
		char path[32], what[128];
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t len = now.open[fd] && !before->open[fd] ? readlink(path, what, sizeof(what) - 1) : -1;
		if (len < 0)
			continue;
		what[len] = '\0';
		n += snprintf(text + n, (size_t)(LEFT_TEXT - n), "\n%d: %s", fd, what);
	}
	return false;
}

/* ---- answers ---- */

static const char *wanted(enum check_want w)
{
	static const char *const names[] = { "success", "CRIO_E_NOT_FOUND", "a failure", "any answer" };
	return names[w];
}

static bool answers(int r, enum check_want w)
{
	switch (w) {
	case WANT_OK:
		return r == 0;
	case WANT_NOT_FOUND:
		return r == CRIO_E_NOT_FOUND;
	case WANT_FAILURE:
		return r < 0;
	case WANT_ANY:
		return true;
	}
	return false;
}

static void breach_reset(struct check *c)
{
	(void)pthread_mutex_lock(&c->lock);
	c->breach[0] = '\0';
	(void)pthread_mutex_unlock(&c->lock);
}

static void say(struct check *c, bool ok, const char *op, const char *rule, const char *detail)
{
	char what[160];
	(void)snprintf(what, sizeof(what), "%s: %s", op, rule);
	check_ok(c, ok, what, "%s", detail);
}

static void repeated(struct check *c, const char *op, check_fn fn, enum check_want want)
{
	char detail[LEFT_TEXT] = "", rule[96];
	struct leftovers before;
	bool right = true;
	breach_reset(c);
	for (int i = 0; i <= ROUNDS; i++) {
		if (i == 1)
			leftovers_take(&before); /* what the first call opens for good is no leak */
		cleanup_call crio_call *call = check_call(30 * SEC);
		cleanup_err crio_err err = ERR_INIT;
		int r = call ? fn(c, call, ABSENT, &err) : CRIO_E_NOMEM;
		if (answers(r, want) || !right)
			continue;
		right = false;
		(void)snprintf(detail, sizeof(detail), "call %d answered %s%s%s", i + 1, r < 0 ? err_code_name(r) : "success",
			       r < 0 ? ": " : "", r < 0 ? err_text(&err) : "");
	}
	if (want != WANT_ANY) {
		(void)snprintf(rule, sizeof(rule), "on something absent it answers %s, again and again", wanted(want));
		say(c, right, op, rule, detail);
	}
	say(c, leftovers_same(&before, LEFT_SOON, detail), op, "it leaves no descriptor, mount or link behind", detail);
	(void)pthread_mutex_lock(&c->lock);
	(void)snprintf(detail, sizeof(detail), "%s", c->breach);
	(void)pthread_mutex_unlock(&c->lock);
	say(c, !*detail, op, "an error is set if, and only if, it fails", detail);
}

/* ---- calls that end early ---- */

struct runner {
	struct check *c;
	check_fn fn;
	crio_call *call;
	char id[80];
	int rounds, result;
	crio_err err;
};

static void *runner_main(void *arg)
{
	struct runner *r = arg;
	for (int i = 0; i < r->rounds && r->result == 0; i++)
		r->result = r->fn(r->c, r->call, r->id, &r->err);
	return NULL;
}

static bool comes_back(struct check *c, check_fn fn, int64_t cancel_after, int64_t deadline, char detail[256])
{
	struct runner r = { .c = c, .fn = fn, .call = check_call(deadline), .rounds = 1, .err = ERR_INIT };
	pthread_t t;
	(void)snprintf(r.id, sizeof(r.id), "%s", ABSENT);
	if (!r.call || pthread_create(&t, NULL, runner_main, &r))
		return false;
	int64_t start = now_mono_ns();
	if (cancel_after >= 0) {
		(void)usleep((useconds_t)(cancel_after / 1000));
		call_cancel(r.call);
	}
	(void)pthread_join(t, NULL);
	int64_t took = now_mono_ns() - start;
	bool ok = took < BACK_NS && !strstr(err_text(&r.err), "did not return in time");
	(void)snprintf(detail, 256, "it took %lld ms%s%s", (long long)(took / MS), r.result < 0 ? ": " : "",
		       r.result < 0 ? err_text(&r.err) : "");
	err_clear(&r.err);
	call_unref(r.call);
	return ok;
}

static void early(struct check *c, const char *op, check_fn fn)
{
	static const int64_t after[] = { 0, 1 * MS, 5 * MS, 20 * MS, 60 * MS, 150 * MS };
	char detail[256] = "";
	bool ok = true;
	for (size_t i = 0; ok && i < ARRAY_SIZE(after); i++)
		ok = comes_back(c, fn, after[i], 30 * SEC, detail);
	say(c, ok, op, "a call that is cancelled comes back quickly", detail);
	ok = true;
	for (size_t i = 1; ok && i < ARRAY_SIZE(after); i++)
		ok = comes_back(c, fn, -1, after[i], detail);
	say(c, ok, op, "a call that runs out of time comes back quickly", detail);
}

/* ---- threads ---- */

/* As different as real ones are: plugins make short names of their heads. */
static void object_id(int i, char ret[80])
{
	uint64_t x = 0x9e3779b97f4a7c15u * (uint64_t)(i + 1);
	for (int k = 0; k < 64; k += 16, x = x * 6364136223846793005u + 1442695040888963407u)
		(void)snprintf(ret + k, 17, "%016llx", (unsigned long long)x);
}

bool check_parallel(struct check *c, check_fn fn, int n, int rounds, crio_err *err)
{
	struct runner r[THREADS * 2];
	pthread_t t[ARRAY_SIZE(r)];
	bool ok = true;
	n = n > (int)ARRAY_SIZE(r) ? (int)ARRAY_SIZE(r) : n;
	int started = 0;
	for (int i = 0; i < n; i++) {
		r[i] = (struct runner){ .c = c, .fn = fn, .call = check_call(60 * SEC), .rounds = rounds, .err = ERR_INIT };
		object_id(i, r[i].id);
		if (!r[i].call || pthread_create(&t[i], NULL, runner_main, &r[i])) {
			call_unref(r[i].call);
			break;
		}
		started++;
	}
	for (int i = 0; i < started; i++) {
		(void)pthread_join(t[i], NULL);
		if (r[i].result < 0 && ok) {
			ok = false;
			(void)err_move(err, &r[i].err);
		}
		err_clear(&r[i].err);
		call_unref(r[i].call);
	}
	return ok && started == n;
}

static void side_by_side(struct check *c, const char *op, check_fn fn)
{
	cleanup_err crio_err err = ERR_INIT;
	bool all = check_parallel(c, fn, THREADS, 4, &err);
	say(c, all, op, "it works side by side for many objects", err_text(&err));
}

void check_op(struct check *c, const char *name, check_fn fn, enum check_want want)
{
	if (!plugin_inst_has_op(c->in, name)) {
		char what[96];
		(void)snprintf(what, sizeof(what), "%s", name);
		check_skip(c, what, "the plugin does not have it");
		return;
	}
	repeated(c, name, fn, want);
	early(c, name, fn);
	if (want == WANT_OK)
		side_by_side(c, name, fn);
}

bool check_once(struct check *c, const char *what, check_fn fn, const char *id)
{
	cleanup_call crio_call *call = check_call(60 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	int r = call ? fn(c, call, id, &err) : CRIO_E_NOMEM;
	check_ok(c, r == 0, what, "%s", err_text(&err));
	return r == 0;
}
