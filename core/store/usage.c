/*
 * usage.c: what the images of a store take on disk. A layer's tree never changes once it is committed, so it is measured once: when
 * it is committed, or, for layers of other tools, when somebody first asks. The figures are kept in <root>/crio/usage, one line
 * "<layer id> <bytes> <inodes>" each; a line that a crash cut short is measured again.
 */
#include <fcntl.h>
#include <inttypes.h>

#include "core/store/priv.h"
#include "core/util/failpoint.h"
#include "core/util/log.h"

#define BOOK_MAX (64u << 20)
#define LINE_SIZE 120
#define METADATA_DEPTH 2

/* usage_mu held. */
static int book_set(struct store *s, const char *id, struct store_usage u)
{
	struct store_usage *have = map_get(s->usage, id);
	if (have) {
		*have = u;
		return 0;
	}
	struct store_usage *v = malloc(sizeof(*v));
	if (!v)
		return CRIO_E_NOMEM;
	*v = u;
	if (map_set(s->usage, id, v) < 0) {
		free(v);
		return CRIO_E_NOMEM;
	}
	return 0;
}

static int line_of(char text[LINE_SIZE], const char *id, struct store_usage u)
{
	return snprintf(text, LINE_SIZE, "%.64s %" PRIu64 " %" PRIu64 "\n", id, u.bytes, u.inodes);
}

static bool parse_line(char *line, struct store_usage *ret)
{
	char *bytes = strchr(line, ' '), *inodes = bytes ? strchr(bytes + 1, ' ') : NULL;
	if (!inodes || bytes - line != 64)
		return false;
	*bytes++ = *inodes++ = '\0';
	return str_is_hex(line, 64) && str_to_u64(bytes, INT64_MAX, &ret->bytes) && str_to_u64(inodes, INT64_MAX, &ret->inodes);
}

/* Writes the book anew when it has lines of layers that are gone. */
static void book_shorten(struct store *s, const char *path, size_t lines)
{
	cleanup_buf struct buf b = BUF_INIT;
	size_t it = 0;
	const char *id;
	void *v;
	if (s->read_only || lines <= map_count(s->usage))
		return;
	while (map_next(s->usage, &it, &id, &v)) {
		char line[LINE_SIZE];
		(void)buf_add(&b, line, (size_t)line_of(line, id, *(struct store_usage *)v));
	}
	cleanup_err crio_err err = ERR_INIT;
	if (!buf_bad(&b) && fs_write_path(path, b.p ? b.p : "", b.n, 0600, FS_RUN, &err) < 0)
		log_debug("%s: %s", path, err_text(&err));
}

int usage_open(struct store *s, crio_err *err)
{
	cleanup_free char *path = path_fmt("%s/crio/usage", s->root), *text = NULL;
	s->usage = map_new();
	if (!path || !s->usage)
		return err_nomem(err);
	size_t n = 0, lines = 0;
	/* It can always be made again: one that cannot be read is as good as none. */
	if (fs_read_file(-1, path, BOOK_MAX, &text, &n, NULL) < 0)
		n = 0;
	for (char *p = text, *end; n && *p && (end = strchr(p, '\n')); p = end + 1) {
		struct store_usage u;
		*end = '\0';
		lines++;
		cleanup_rec struct rec *layer = parse_line(p, &u) ? table_find(&s->t[T_LAYERS], p) : NULL;
		if (layer && book_set(s, p, u) < 0)
			return err_nomem(err);
	}
	book_shorten(s, path, lines);
	if (s->read_only)
		return 0;
	s->usage_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return s->usage_fd < 0 ? err_errno(err, errno, "open %s", path) : 0;
}

void usage_release(struct store *s)
{
	size_t it = 0;
	void *v;
	while (s->usage && map_next(s->usage, &it, NULL, &v))
		free(v);
	map_free(s->usage);
	(void)safe_close(s->usage_fd);
}

int usage_measure(struct store *s, crio_call *call, const char *id, struct store_usage *ret, crio_err *err)
{
	struct crio_storage_usage_args args = {.size = sizeof(args), .exact = 1, .id = id};
	struct crio_storage_usage_out out = {.size = sizeof(out)};
	int r = plugin_storage_usage(s->inst, call, &args, &out, err);
	if (r < 0)
		return err_wrap(err, "disk usage of layer %s", id);
	char line[LINE_SIZE];
	*ret = (struct store_usage){out.bytes, out.inodes};
	int n = line_of(line, id, *ret);
	cleanup_unlock pthread_mutex_t *l = lock(&s->usage_mu);
	if (book_set(s, id, *ret) < 0)
		return err_nomem(err);
	FAILPOINT_CUT("store.usage.note");
	/* One write, so that lines of several daemons' never mix. */
	if (s->usage_fd >= 0 && write(s->usage_fd, line, (size_t)n) != n)
		log_debug("Store %s: the usage of layer %s is not kept", s->root, id);
	return 0;
}

static bool known(struct store *s, const char *id, struct store_usage *ret)
{
	cleanup_unlock pthread_mutex_t *l = lock(&s->usage_mu);
	const struct store_usage *u = map_get(s->usage, id);
	if (u)
		*ret = *u;
	return u != NULL;
}

/* Records, big data and tar-splits: a few files each. */
static void add_metadata(int parent, const char *name, int depth, struct store_usage *sum)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	cleanup_closedir DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	if (!d)
		(void)safe_close(fd);
	while (d && (e = readdir(d))) {
		struct stat st;
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		sum->inodes++;
		sum->bytes += (uint64_t)st.st_blocks * 512;
		if (S_ISDIR(st.st_mode) && depth > 0)
			add_metadata(fd, e->d_name, depth - 1, sum);
	}
}

int store_images_usage(struct store *s, crio_call *call, struct store_usage *ret, crio_err *err)
{
	cleanup_set struct set *layers = table_get(&s->t[T_LAYERS]);
	struct store_usage sum = {0, 0};

	/* Layers once each, whoever shares them; those of containers are the containers'. */
	for (size_t i = 0; i < layers->pub.n; i++) {
		const struct store_layer *l = layers->pub.v[i];
		struct store_usage u = {0, 0};
		if (!*l->diff_digest || l->incomplete)
			continue;
		cleanup_err crio_err why = ERR_INIT;
		if (!known(s, l->id, &u) && usage_measure(s, call, l->id, &u, &why) < 0) {
			if (call_over(call))
				return err_move(err, &why);
			log_debug("Store %s: %s", s->root, err_text(&why)); /* gone meanwhile, or damaged */
			continue;
		}
		sum.bytes += u.bytes;
		sum.inodes += u.inodes;
	}
	add_metadata(s->t[T_LAYERS].dirfd, ".", METADATA_DEPTH, &sum);
	add_metadata(s->t[T_IMAGES].dirfd, ".", METADATA_DEPTH, &sum);
	*ret = sum;
	return 0;
}
