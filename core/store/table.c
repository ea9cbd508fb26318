/*
 * table.c: a table's files and their lock.
 *
 * <root>/<driver>-layers/{layers.json,volatile-layers.json,layers.lock} and likewise for images and containers. The
 * lock file holds 64 bytes that every writer replaces, so that the others see that they must load again. Records in the
 * volatile files (Go tools keep those there that need not survive a power cut) are read and kept there; ours go into
 * the main file, because older tools read nothing else.
 */
#include "core/store/priv.h"

#include <fcntl.h>
#include <sys/random.h>
#include <time.h>

#include "core/util/failpoint.h"
#include "core/util/json.h"
#include "core/util/log.h"

static const struct {
	const char *suffix, *files[2], *lock, *noun;
} names[T_KINDS] = {
    [T_LAYERS] = {"layers", {"layers.json", "volatile-layers.json"}, "layers.lock", "layer"},
    [T_IMAGES] = {"images", {"images.json", NULL}, "images.lock", "image"},
    [T_CONTAINERS] = {"containers", {"containers.json", "volatile-containers.json"}, "containers.lock", "container"},
};

static struct set *set_new(size_t n)
{
	struct set *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	atomic_init(&t->refs, 1);
	t->pub.v = calloc(n + 1, sizeof(*t->pub.v));
	t->by_id = calloc(n + 1, sizeof(struct rec *));
	if (!t->pub.v || !t->by_id) {
		set_unref(t);
		return NULL;
	}
	return t;
}

int table_init(struct table *t, struct store *s, enum table_kind kind, crio_err *err)
{
	t->s = s;
	t->kind = kind;
	t->last_n = -1;
	t->dir = path_fmt("%s/%s-%s", s->root, s->driver, names[kind].suffix);
	t->cur = set_new(0);
	if (!t->dir || !t->cur)
		return err_nomem(err);
	if (!s->read_only) {
		int r = fs_mkdir_p(t->dir, 0700, err);
		if (r < 0)
			return r;
	}
	t->dirfd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dirfd < 0)
		return s->read_only && errno == ENOENT ? 0 : err_errno(err, errno, "open %s", t->dir);
	t->lock_fd = openat(t->dirfd, names[kind].lock, (s->read_only ? O_RDONLY : O_RDWR | O_CREAT) | O_CLOEXEC, 0600);
	if (t->lock_fd < 0 && !s->read_only)
		return err_errno(err, errno, "open %s/%s", t->dir, names[kind].lock);
	return 0;
}

void table_release(struct table *t)
{
	t->lock_fd = safe_close(t->lock_fd);
	t->dirfd = safe_close(t->dirfd);
	free(t->dir);
	t->dir = NULL;
	set_unref(t->cur);
	t->cur = NULL;
	(void)pthread_mutex_destroy(&t->wr);
}

struct set *table_get(struct table *t)
{
	cleanup_unlock pthread_mutex_t *l = lock(&t->s->mu);
	return set_ref(t->cur);
}

struct rec *table_find(struct table *t, const char *id)
{
	cleanup_set struct set *set = table_get(t);
	return rec_ref(set_get(set, id));
}

static void table_swap(struct table *t, struct set *set)
{
	struct set *old;
	(void)pthread_mutex_lock(&t->s->mu);
	old = t->cur;
	t->cur = set;
	(void)pthread_mutex_unlock(&t->s->mu);
	atomic_fetch_add(&t->s->generation, 1);
	set_unref(old);
}

static int by_id(const void *a, const void *b)
{
	const struct rec *x = *(struct rec *const *)a, *y = *(struct rec *const *)b;
	return strcmp(x->id, y->id);
}

/* A set of e's records; takes them over. */
static struct set *edit_set(struct edit *e)
{
	struct set *t = set_new(e->n);
	if (!t)
		return NULL;
	for (size_t i = 0; i < e->n; i++) {
		t->pub.v[i] = &e->v[i]->u;
		t->by_id[i] = e->v[i];
	}
	t->pub.n = e->n;
	e->n = 0;
	qsort(t->by_id, t->pub.n, sizeof(struct rec *), by_id);
	return t;
}

static int edit_add(struct edit *e, struct rec *r)
{
	if (e->n == e->cap) {
		size_t cap = e->cap ? e->cap * 2 : 64;
		struct rec **v = reallocarray(e->v, cap, sizeof(struct rec *));
		if (!v) {
			rec_unref(r);
			return CRIO_E_NOMEM;
		}
		e->v = v;
		e->cap = cap;
	}
	e->v[e->n++] = r;
	return 0;
}

/* ---- loading ---- */

/* Puts text aside where people can look at it. Not being able to is no reason to stop. */
static void quarantine(struct table *t, const char *what, const char *text, size_t n, const char *why)
{
	char stamp[40];
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *path = NULL;

	time_format(now_real_ns(), stamp);
	path = path_fmt("%s/crio/quarantine/%s-%s.%s", t->s->root, names[t->kind].suffix, what, stamp);
	if (t->s->read_only) {
		log_error("Store %s: damaged %s %s ignored: %s", t->s->root, names[t->kind].noun, what, why);
		return;
	}
	if (!path || fs_write_path(path, text, n, 0600, FS_KEEP, &err) < 0)
		log_error("Store %s: damaged %s %s left out: %s (no copy kept: %s)", t->s->root, names[t->kind].noun,
			  what, why, err_text(&err));
	else
		log_error("Store %s: damaged %s %s left out: %s; a copy is in %s", t->s->root, names[t->kind].noun,
			  what, why, path);
}

/* Adds the records of one document. *ret_bad: some were set aside. */
static int load_records(struct table *t, struct json_object *doc, bool is_volatile, struct map *seen, struct edit *e,
			bool *ret_bad, crio_err *err)
{
	size_t n = json_object_array_length(doc);
	if (n > STORE_RECORDS_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "%s: %zu records, more than %u", t->dir, n, STORE_RECORDS_MAX);
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(doc, i);
		struct rec *r = NULL;
		cleanup_err crio_err why = ERR_INIT;
		char what[32];

		int code = rec_new(t->kind, json_object_get(o), is_volatile, t->s->read_only, &r, &why);
		if (code == CRIO_E_NOMEM)
			return err_move(err, &why);
		if (!code && map_get(seen, r->id)) {
			code = err_set(&why, CRIO_E_CORRUPT, "a second record of id %s", r->id);
			rec_unref(r);
		}
		if (code < 0) {
			cleanup_free char *text = json_text(o);
			(void)snprintf(what, sizeof(what), "record-%zu", i);
			quarantine(t, what, text ? text : "", text ? strlen(text) : 0, err_text(&why));
			*ret_bad = true;
			continue;
		}
		code = map_set(seen, r->id, r);
		if (code < 0) {
			rec_unref(r);
			return err_nomem(err);
		}
		if (edit_add(e, r) < 0)
			return err_nomem(err);
	}
	return 0;
}

/* All zero: no file. */
static struct file_seen file_look(const struct table *t, int which)
{
	const char *name = names[t->kind].files[which];
	struct file_seen f;
	struct stat st;
	memset(&f, 0, sizeof(f));
	if (name && t->dirfd >= 0 && fstatat(t->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		f.mtime = st.st_mtim;
		f.ino = st.st_ino;
		f.size = st.st_size;
	}
	return f;
}

static int load_file(struct table *t, int which, struct map *seen, struct edit *e, crio_err *err)
{
	const char *name = names[t->kind].files[which];
	cleanup_free char *text = NULL;
	size_t n = 0;
	cleanup_json struct json_object *doc = NULL;
	cleanup_err crio_err why = ERR_INIT;
	bool bad = false;

	t->seen[which] = file_look(t, which);
	if (!t->seen[which].ino)
		return 0;
	int r = fs_read_file(t->dirfd, name, STORE_FILE_MAX, &text, &n, err);
	if (r < 0)
		return err_wrap(err, "%s", t->dir);
	if (!n)
		return 0;
	r = json_parse(text, n, &doc, &why);
	if (r == CRIO_E_NOMEM)
		return err_move(err, &why);
	if (r < 0 || !json_object_is_type(doc, json_type_array)) {
		quarantine(t, name, text, n, r < 0 ? err_text(&why) : "not a JSON array");
		t->damaged = true;
		return 0;
	}
	r = load_records(t, doc, which == 1, seen, e, &bad, err);
	if (bad)
		t->damaged = true;
	return r;
}

static int table_load(struct table *t, crio_err *err)
{
	cleanup_map struct map *seen = map_new();
	cleanup_edit struct edit e = {.t = t};

	if (!seen)
		return err_nomem(err);
	for (int i = 0; i < 2; i++) {
		int r = load_file(t, i, seen, &e, err);
		if (r < 0)
			return r;
	}
	struct set *set = edit_set(&e);
	if (!set)
		return err_nomem(err);
	table_swap(t, set);
	return 0;
}

static bool files_changed(const struct table *t)
{
	for (int i = 0; i < 2; i++) {
		struct file_seen now = file_look(t, i);
		if (memcmp(&now, &t->seen[i], sizeof(now)) != 0)
			return true;
	}
	return false;
}

static int reload_if_changed(struct table *t, crio_err *err)
{
	char last[sizeof(t->last)];
	ssize_t n = 0;

	if (t->lock_fd >= 0) {
		n = pread(t->lock_fd, last, sizeof(last), 0);
		if (n < 0)
			return err_errno(err, errno, "read %s/%s", t->dir, names[t->kind].lock);
	}
	if (n == t->last_n && !memcmp(last, t->last, (size_t)n) && !files_changed(t))
		return 0;
	int r = table_load(t, err);
	if (r < 0)
		return r;
	memcpy(t->last, last, (size_t)n);
	t->last_n = n;
	return 0;
}

static int wr_lock(struct table *t, crio_call *call, crio_err *err)
{
	if (!lock_until(&t->wr, call_deadline(call)))
		return err_set(err, CRIO_E_DEADLINE, "%s: waited for another change of the %s records", t->s->root,
			       names[t->kind].noun);
	return 0;
}

int table_lock(struct table *t, crio_call *call, bool exclusive, crio_err *err)
{
	int r = wr_lock(t, call, err);
	if (r < 0)
		return r;
	if (t->lock_fd >= 0)
		r = fs_lock(t->lock_fd, exclusive && !t->s->read_only, call_deadline(call), err);
	if (r < 0) {
		(void)pthread_mutex_unlock(&t->wr);
		return err_wrap(err, "%s/%s", t->dir, names[t->kind].lock);
	}
	r = reload_if_changed(t, err);
	if (r < 0)
		table_unlock(t);
	return r;
}

void table_unlock(struct table *t)
{
	if (t->lock_fd >= 0)
		(void)fs_unlock(t->lock_fd);
	(void)pthread_mutex_unlock(&t->wr);
}

/* ---- changing ---- */

int edit_init(struct edit *e, struct table *t, crio_err *err)
{
	*e = (struct edit){.t = t};
	if (t->s->read_only)
		return err_set(err, CRIO_E_DENIED, "store %s is read-only", t->s->root);
	cleanup_set struct set *set = table_get(t);
	for (size_t i = 0; i < set->pub.n; i++)
		if (edit_add(e, rec_ref(set_rec(set, i))) < 0)
			return err_nomem(err);
	return 0;
}

void edit_release(struct edit *e)
{
	for (size_t i = 0; i < e->n; i++)
		rec_unref(e->v[i]);
	free(e->v);
	e->v = NULL;
	e->n = 0;
}

struct rec *edit_get(const struct edit *e, const char *id)
{
	for (size_t i = 0; i < e->n; i++)
		if (str_eq(e->v[i]->id, id))
			return e->v[i];
	return NULL;
}

int edit_put(struct edit *e, struct rec *r, crio_err *err)
{
	e->touched[r->is_volatile] = true;
	for (size_t i = 0; i < e->n; i++) {
		if (!str_eq(e->v[i]->id, r->id))
			continue;
		e->touched[e->v[i]->is_volatile] = true;
		rec_unref(e->v[i]);
		e->v[i] = r;
		return 0;
	}
	if (e->n >= STORE_RECORDS_MAX) {
		rec_unref(r);
		return err_set(err, CRIO_E_EXHAUSTED, "%s has %u records", e->t->dir, STORE_RECORDS_MAX);
	}
	return edit_add(e, r) < 0 ? err_nomem(err) : 0;
}

void edit_del(struct edit *e, const char *id)
{
	for (size_t i = 0; i < e->n; i++) {
		if (!str_eq(e->v[i]->id, id))
			continue;
		e->touched[e->v[i]->is_volatile] = true;
		rec_unref(e->v[i]);
		memmove(&e->v[i], &e->v[i + 1], (e->n - i - 1) * sizeof(struct rec *));
		e->n--;
		return;
	}
}

static int write_file(const struct edit *e, int which, enum fs_durability d, crio_err *err)
{
	cleanup_buf struct buf b = BUF_INIT;
	bool first = true;

	buf_init(&b, STORE_FILE_MAX);
	buf_addc(&b, '[');
	for (size_t i = 0; i < e->n; i++) {
		if (e->v[i]->is_volatile != (which == 1))
			continue;
		if (!first)
			buf_addc(&b, ',');
		first = false;
		buf_adds(&b, e->v[i]->text);
	}
	buf_addc(&b, ']');
	if (b.oom)
		return err_nomem(err);
	if (b.over)
		return err_set(err, CRIO_E_EXHAUSTED, "%s would be larger than %u bytes", e->t->dir, STORE_FILE_MAX);
	int r = fs_write_file(e->t->dirfd, names[e->t->kind].files[which], b.p, b.n, 0600, d, err);
	return r < 0 ? err_wrap(err, "%s", e->t->dir) : 0;
}

/* Tells the other tools, in the form they use themselves: time, counter, pid, random bytes. */
static int bump(struct table *t, crio_err *err)
{
	static _Atomic uint64_t counter;
	char w[sizeof(t->last)];
	uint64_t now = (uint64_t)now_real_ns(), c = atomic_fetch_add(&counter, 1) + 1;
	uint32_t pid = (uint32_t)getpid();

	memcpy(w, &now, 8);
	memcpy(w + 8, &c, 8);
	memcpy(w + 16, &pid, 4);
	if (getrandom(w + 20, sizeof(w) - 20, 0) != (ssize_t)sizeof(w) - 20)
		return err_errno(err, errno, "random bytes");
	if (pwrite(t->lock_fd, w, sizeof(w), 0) != (ssize_t)sizeof(w))
		return err_errno(err, errno, "write %s/%s", t->dir, names[t->kind].lock);
	memcpy(t->last, w, sizeof(w));
	t->last_n = sizeof(w);
	return 0;
}

/* One point for each kind of record. */
#define TABLE_POINT(kind, what, err)                                                                              \
	((kind) == T_LAYERS ? FAILPOINT("store.layers." what, err) :                                              \
	 (kind) == T_IMAGES ? FAILPOINT("store.images." what, err) : FAILPOINT("store.containers." what, err))

int edit_save(struct edit *e, enum fs_durability d, crio_err *err)
{
	struct table *t = e->t;

	if (TABLE_POINT(t->kind, "save", err) < 0)
		return CRIO_E_IO;
	for (int i = 0; i < 2; i++) {
		if (!e->touched[i] || !names[t->kind].files[i])
			continue;
		int r = write_file(e, i, d, err);
		if (r < 0) {
			t->last_n = -1; /* load again: we do not know which files are new */
			return r;
		}
		t->seen[i] = file_look(t, i);
	}
	int r = TABLE_POINT(t->kind, "saved", err);
	r = r < 0 ? r : bump(t, err);
	if (r < 0)
		return r;
	struct set *set = edit_set(e);
	if (!set) {
		t->last_n = -1;
		return err_nomem(err);
	}
	table_swap(t, set);
	return 0;
}

bool edit_take_back(struct table *t, const char *id, enum fs_durability d)
{
	cleanup_edit struct edit e = {0};
	if (reload_if_changed(t, NULL) < 0 || edit_init(&e, t, NULL) < 0)
		return false;
	if (!edit_get(&e, id))
		return true;
	edit_del(&e, id);
	return edit_save(&e, d, NULL) == 0;
}
