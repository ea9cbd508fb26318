/* checkpoint_source.c: see checkpoint_source.h. Two passes: what is small, to decide by; then all the rest, where it belongs. */
#include "core/lifecycle/checkpoint_source.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/lifecycle/rootfs_diff.h"
#include "core/unpack/decompress.h"
#include "core/unpack/extract.h"
#include "core/util/failpoint.h"
#include "core/util/fs.h"

#define META_MAX (4u << 20)     /* of each JSON part, as of any config.json */
#define DELETED_MAX (64u << 20)
#define HEADERS_MAX 200000u     /* of the archive itself; the changed files are one entry of it */
#define FILES_MAX 100000u       /* of criu's */
#define PIECE (256u << 10)

void checkpoint_source_release(struct checkpoint_source *s)
{
	s->fd = safe_close(s->fd);
}

int checkpoint_source_open(const char *path, struct checkpoint_source *ret, crio_err *err)
{
	struct stat st;
	cleanup_close int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "open checkpoint archive %.1024s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, CRIO_E_INVALID, "checkpoint archive %.1024s is not a regular file", path);
	ret->fd = move_fd(fd);
	ret->is_dir = false;
	return 0;
}

void checkpoint_meta_release(struct checkpoint_meta *m)
{
	(void)json_object_put(m->spec);
	(void)json_object_put(m->config);
	(void)json_object_put(m->binds);
	strv_release(&m->deleted);
	memset(m, 0, sizeof(*m));
}

/* ---- an archive, entry by entry ---- */

struct reader {
	int fd;
	uint64_t at; /* in the file: the descriptor is shared by all readers, so its own position is not used */
	crio_call *call;
	struct decompress *plain;
	struct tar_reader *tar;
};

static ssize_t read_file(void *arg, void *p, size_t n, crio_err *err)
{
	struct reader *r = arg;
	ssize_t got = call_check(r->call, "read checkpoint", err);
	if (got < 0)
		return got;
	do
		got = pread(r->fd, p, n, (off_t)r->at);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_errno(err, errno, "read checkpoint archive");
	r->at += (uint64_t)got;
	return got;
}

static ssize_t read_plain(void *arg, void *p, size_t n, crio_err *err)
{
	struct reader *r = arg;
	ssize_t got = call_check(r->call, "read checkpoint", err);
	return got < 0 ? got : decompress_read(r->plain, p, n, err);
}

static int reader_open(struct reader *r, int fd, crio_call *call, crio_err *err)
{
	static const struct tar_limits limits = { HEADERS_MAX, CHECKPOINT_BYTES_MAX, 1u << 20, 0 };
	*r = (struct reader){ .fd = fd, .call = call };
	int e = decompress_new((struct source){ read_file, r }, DECOMPRESS_WINDOW_LOG, &r->plain, err);
	return e < 0 ? e : tar_reader_new((struct source){ read_plain, r }, &limits, NULL, NULL, &r->tar, err);
}

static void reader_close(struct reader *r)
{
	tar_reader_free(r->tar);
	decompress_free(r->plain);
}

/* The content of the entry at hand, as a source. */
static ssize_t read_entry(void *arg, void *p, size_t n, crio_err *err)
{
	struct reader *r = arg;
	const void *from = NULL;
	ssize_t got = tar_data(r->tar, n, &from, err);
	if (got > 0)
		memcpy(p, from, (size_t)got);
	return got;
}

/* Calls fn for each regular file by its clean name; whatever else there is must not bear the name of a part. */
typedef int (*part_fn)(void *arg, const char *name, uint64_t size, struct source content, crio_err *err);

static bool is_part(const char *name)
{
	static const char *const names[] = { CHECKPOINT_SPEC, CHECKPOINT_CONFIG, CHECKPOINT_BINDS, CHECKPOINT_DELETED,
					     CHECKPOINT_DIFF, CHECKPOINT_LOG };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(name, names[i]))
			return true;
	return str_starts(name, CHECKPOINT_DIR "/");
}

static int each_of_archive(int fd, crio_call *call, part_fn fn, void *arg, crio_err *err)
{
	struct reader rd;
	const struct tar_entry *e;
	char name[4096];
	int r = reader_open(&rd, fd, call, err);
	while (r == 0 && (r = tar_next(rd.tar, &e, err)) > 0) {
		struct source content = { read_entry, &rd };
		r = extract_clean(e->name, name, sizeof(name), err);
		if (r < 0 || !is_part(name))
			continue;
		if (e->type != TAR_FILE || e->sparse)
			r = err_set(err, CRIO_E_INVALID, "'%.256s' is not a plain file", name);
		else
			r = fn(arg, name, e->size, content, err);
	}
	reader_close(&rd);
	return r;
}

/* ---- a directory ---- */

static int part_of_dir(int dir, const char *path, crio_call *call, part_fn fn, void *arg, crio_err *err)
{
	struct stat st;
	cleanup_close int fd = fs_open_beneath(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, err);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "stat '%.256s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, CRIO_E_INVALID, "'%.256s' is not a plain file", path);
	struct reader rd = { .fd = fd, .call = call };
	return fn(arg, path, (uint64_t)st.st_size, (struct source){ read_file, &rd }, err);
}

static int each_of_dir(int dir, crio_call *call, part_fn fn, void *arg, crio_err *err)
{
	static const char *const names[] = { CHECKPOINT_SPEC, CHECKPOINT_CONFIG, CHECKPOINT_BINDS, CHECKPOINT_DELETED,
					     CHECKPOINT_DIFF, CHECKPOINT_LOG };
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++) {
		cleanup_err crio_err why = ERR_INIT;
		r = part_of_dir(dir, names[i], call, fn, arg, &why);
		if (r == CRIO_E_NOT_FOUND)
			r = 0;
		if (r < 0)
			return err_move(err, &why);
	}
	cleanup_closedir DIR *d = NULL;
	if (r == 0)
		r = fs_opendir_beneath(dir, CHECKPOINT_DIR, &d, err);
	const struct dirent *e;
	while (r == 0 && (e = readdir(d))) {
		char path[sizeof(CHECKPOINT_DIR) + 1 + NAME_MAX];
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		(void)snprintf(path, sizeof(path), CHECKPOINT_DIR "/%s", e->d_name);
		r = part_of_dir(dir, path, call, fn, arg, err);
	}
	return r;
}

static int each(const struct checkpoint_source *s, crio_call *call, part_fn fn, void *arg, crio_err *err)
{
	return s->is_dir ? each_of_dir(s->fd, call, fn, arg, err) : each_of_archive(s->fd, call, fn, arg, err);
}

/* ---- what is small ---- */

static int read_whole(struct source content, uint64_t size, size_t max, const char *name, struct buf *ret, crio_err *err)
{
	char piece[16384];
	ssize_t n;
	if (size > max)
		return err_set(err, CRIO_E_EXHAUSTED, "'%s' has %llu bytes, at most %zu are allowed", name, (unsigned long long)size, max);
	ret->limit = max;
	while ((n = source_read(&content, piece, sizeof(piece), err)) > 0)
		buf_add(ret, piece, (size_t)n);
	if (n < 0)
		return (int)n;
	if (ret->over)
		return err_set(err, CRIO_E_EXHAUSTED, "'%s' has more than %zu bytes", name, max);
	return ret->oom ? err_nomem(err) : 0;
}

static int take_json(struct source content, uint64_t size, size_t max, const char *name, enum json_type type, struct json_object **ret,
		     crio_err *err)
{
	cleanup_buf struct buf b = BUF_INIT;
	if (*ret)
		return err_set(err, CRIO_E_INVALID, "'%s' is there twice", name);
	int r = read_whole(content, size, max, name, &b, err);
	if (r == 0)
		r = json_parse(b.p ? b.p : "", b.n, ret, err);
	if (r < 0)
		return err_wrap(err, "'%s'", name);
	if (!json_object_is_type(*ret, type))
		return err_set(err, CRIO_E_INVALID, "'%s' is not the kind of JSON that it should be", name);
	return 0;
}

struct meta_pass {
	struct checkpoint_meta *m;
	struct json_object *deleted;
	bool criu;
};

static int meta_part(void *arg, const char *name, uint64_t size, struct source content, crio_err *err)
{
	struct meta_pass *p = arg;
	if (str_eq(name, CHECKPOINT_SPEC))
		return take_json(content, size, META_MAX, name, json_type_object, &p->m->spec, err);
	if (str_eq(name, CHECKPOINT_CONFIG))
		return take_json(content, size, META_MAX, name, json_type_object, &p->m->config, err);
	if (str_eq(name, CHECKPOINT_BINDS))
		return take_json(content, size, META_MAX, name, json_type_array, &p->m->binds, err);
	if (str_eq(name, CHECKPOINT_DELETED))
		return take_json(content, size, DELETED_MAX, name, json_type_array, &p->deleted, err);
	p->criu = p->criu || str_eq(name, CHECKPOINT_DIR "/inventory.img");
	return 0;
}

int checkpoint_read_meta(const struct checkpoint_source *s, crio_call *call, struct checkpoint_meta *ret, crio_err *err)
{
	struct meta_pass p = { .m = ret };
	int r = each(s, call, meta_part, &p, err);
	if (r == 0 && (!ret->spec || !ret->config || !p.criu))
		r = err_set(err, CRIO_E_INVALID, "this is no checkpoint: %s is missing",
			    !ret->spec ? CHECKPOINT_SPEC : !ret->config ? CHECKPOINT_CONFIG : CHECKPOINT_DIR "/inventory.img");
	if (r == 0 && p.deleted) {
		if (json_object_array_length(p.deleted) > ROOTFS_DELETED_MAX)
			r = err_set(err, CRIO_E_EXHAUSTED, "'" CHECKPOINT_DELETED "' names more than %u paths", ROOTFS_DELETED_MAX);
		else if (json_strs(p.deleted, &ret->deleted) < 0)
			r = err_set(err, CRIO_E_INVALID, "'" CHECKPOINT_DELETED "' is not a list of paths");
	}
	(void)json_object_put(p.deleted);
	if (r < 0)
		checkpoint_meta_release(ret);
	return r;
}

/* ---- the rest ---- */

struct unpack_pass {
	const struct checkpoint_target *t;
	crio_call *call;
	int dir; /* <t->dir>/checkpoint */
	unsigned files;
	uint64_t bytes;
	bool diff, log;
};

/* A new file, or CRIO_E_EXISTS. */
static int write_new(struct unpack_pass *p, int dir, const char *name, struct source content, crio_err *err)
{
	cleanup_free char *piece = malloc(PIECE);
	cleanup_close int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t n;
	if (fd < 0 || !piece)
		return fd < 0 ? err_errno(err, errno, "make '%.256s'", name) : err_nomem(err);
	while ((n = source_read(&content, piece, PIECE, err)) > 0) {
		int r = fs_write_all(fd, piece, (size_t)n, err);
		if (r < 0)
			return err_wrap(err, "write '%.256s'", name);
		p->bytes += (uint64_t)n;
		if (p->bytes > CHECKPOINT_BYTES_MAX)
			return err_set(err, CRIO_E_EXHAUSTED, "the checkpoint has more than %llu bytes", CHECKPOINT_BYTES_MAX);
	}
	return (int)n;
}

static int criu_file(struct unpack_pass *p, const char *name, struct source content, crio_err *err)
{
	if (!path_is_name(name))
		return err_set(err, CRIO_E_INVALID, "'" CHECKPOINT_DIR "/%.256s': criu has no directories there", name);
	if (++p->files > FILES_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %u files of criu's", FILES_MAX);
	return write_new(p, p->dir, name, content, err);
}

/* A log that is there, or anything else in its place, stays as it is: the monitor adds to it. */
static int log_file(struct unpack_pass *p, struct source content, crio_err *err)
{
	if (!*p->t->log_path)
		return 0;
	cleanup_err crio_err why = ERR_INIT;
	int r = write_new(p, AT_FDCWD, p->t->log_path, content, &why);
	p->log = r != CRIO_E_EXISTS;
	return r == 0 || r == CRIO_E_EXISTS ? 0 : err_move(err, &why);
}

static int unpack_part(void *arg, const char *name, uint64_t size, struct source content, crio_err *err)
{
	struct unpack_pass *p = arg;
	(void)size;
	if (str_starts(name, CHECKPOINT_DIR "/"))
		return criu_file(p, name + strlen(CHECKPOINT_DIR "/"), content, err);
	if (str_eq(name, CHECKPOINT_LOG))
		return log_file(p, content, err);
	if (!str_eq(name, CHECKPOINT_DIFF))
		return 0;
	if (p->diff)
		return err_set(err, CRIO_E_INVALID, "'%s' is there twice", name);
	p->diff = true;
	int r = rootfs_diff_apply(p->t->root, p->call, content, CHECKPOINT_BYTES_MAX, p->t->devices, err);
	return r < 0 ? err_wrap(err, "'%s'", name) : 0;
}

int checkpoint_unpack(const struct checkpoint_source *s, crio_call *call, const struct checkpoint_target *t, crio_err *err)
{
	struct stat st;
	if (mkdirat(t->dir, CHECKPOINT_DIR, 0700) < 0)
		return err_errno(err, errno, "make directory '" CHECKPOINT_DIR "'");
	cleanup_close int dir = fs_open_beneath(t->dir, CHECKPOINT_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
	if (dir < 0)
		return dir;
	struct unpack_pass p = { .t = t, .call = call, .dir = dir };
	int r = FAILPOINT("checkpoint.unpack", err);
	r = r < 0 ? r : each(s, call, unpack_part, &p, err);
	if (r == 0 && fstatat(dir, "inventory.img", &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = err_set(err, CRIO_E_INVALID, "a complete checkpoint cannot be found in it: there is no " CHECKPOINT_DIR "/inventory.img");
	r = r < 0 ? r : rootfs_diff_delete(t->root, t->deleted, err);
	r = r < 0 ? r : FAILPOINT("checkpoint.unpack.done", err);
	if (r < 0 && p.log)
		(void)unlink(t->log_path);
	return r;
}
