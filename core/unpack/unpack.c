#include "core/unpack/unpack.h"

#include <string.h>

#include "core/unpack/extract.h"
#include "core/unpack/seen.h"
#include "core/unpack/tar.h"
#include "core/unpack/tarsplit.h"

#define GIB (1ull << 30)
#define OWNERS_MAX 65536
#define PIECE (256u << 10) /* of content, between two looks at the call */

struct unpack {
	crio_call *call;
	const struct unpack_opts *opts;
	struct unpack_limits lim;
	struct digester *blob_digest, *plain_digest;
	uint64_t blob_n, plain_n, entries;
	struct decompress *decompress;
	struct tar_reader *tar;
	struct tarsplit *split;  /* NULL: not wanted */
	struct extract *extract; /* NULL: nothing is written */
	struct seen uids, gids;
};

void unpack_result_release(struct unpack_result *r)
{
	free(r->uids);
	free(r->gids);
	memset(r, 0, sizeof(*r));
}

static struct unpack_limits limits_of(const struct unpack_limits *l)
{
	struct unpack_limits r = *l;

	if (!r.max_blob)
		r.max_blob = 64 * GIB;
	if (!r.max_plain)
		r.max_plain = 256 * GIB;
	if (!r.max_entries)
		r.max_entries = 4000000;
	if (!r.max_meta)
		r.max_meta = 1u << 20;
	if (!r.max_sparse)
		r.max_sparse = 65536;
	return r;
}

/* The blob as it comes. */
static ssize_t read_blob(void *arg, void *p, size_t n, crio_err *err)
{
	struct unpack *u = arg;
	ssize_t r = call_check(u->call, "unpack layer", err);

	if (!r)
		r = source_read(&u->opts->src, p, n, err);
	if (r <= 0)
		return r;
	u->blob_n += (uint64_t)r;
	if (u->blob_n > u->lim.max_blob)
		return err_set(err, CRIO_E_EXHAUSTED, "the blob is larger than %llu bytes",
			       (unsigned long long)u->lim.max_blob);
	if (u->opts->size >= 0 && u->blob_n > (uint64_t)u->opts->size)
		return err_set(err, CRIO_E_CORRUPT, "the blob is larger than the %lld bytes it should have",
			       (long long)u->opts->size);
	digester_add(u->blob_digest, p, (size_t)r);
	return r;
}

/* The tar. The decompressor may give much for little input: the call is looked at here too. */
static ssize_t read_plain(void *arg, void *p, size_t n, crio_err *err)
{
	struct unpack *u = arg;
	ssize_t r = call_check(u->call, "unpack layer", err);

	if (!r)
		r = decompress_read(u->decompress, p, n, err);
	if (r <= 0)
		return r;
	u->plain_n += (uint64_t)r;
	if (u->plain_n > u->lim.max_plain)
		return err_set(err, CRIO_E_EXHAUSTED, "the layer is larger than %llu bytes when decompressed",
			       (unsigned long long)u->lim.max_plain);
	digester_add(u->plain_digest, p, (size_t)r);
	return r;
}

static int put_raw(void *arg, const void *p, size_t n, crio_err *err)
{
	struct unpack *u = arg;

	return u->split ? tarsplit_raw(u->split, p, n, err) : 0;
}

static int start_digest(const char *expected, const char *what, struct digester **ret, crio_err *err)
{
	char algorithm[8] = "sha256";
	struct digester *d;

	if (str_set(expected)) {
		size_t n = strcspn(expected, ":");

		if (!digest_is_valid(expected) || n >= sizeof(algorithm))
			return err_set(err, CRIO_E_INVALID, "%s '%.200s' is not a digest", what, expected);
		memcpy(algorithm, expected, n);
		algorithm[n] = '\0';
	}
	d = digester_new(algorithm);
	if (!d)
		return err_nomem(err);
	*ret = d;
	return 0;
}

static int start(struct unpack *u, crio_err *err)
{
	const struct unpack_opts *o = u->opts;
	struct source blob = { read_blob, u }, plain = { read_plain, u };
	struct tar_limits tl = { u->lim.max_entries, u->lim.max_plain, u->lim.max_meta, u->lim.max_sparse };
	int r;

	if (o->tar_split_fd >= 0 && o->dirfd < 0)
		return err_set(err, CRIO_E_INVALID, "unpack: tar-split data needs a tree");
	r = start_digest(o->digest, "blob digest", &u->blob_digest, err);
	if (!r)
		r = start_digest(o->diff_id, "diffID", &u->plain_digest, err);
	if (!r)
		r = decompress_new(blob, u->lim.zstd_window_log, &u->decompress, err);
	if (!r)
		r = tar_reader_new(plain, &tl, put_raw, u, &u->tar, err);
	if (!r && o->tar_split_fd >= 0)
		r = tarsplit_new(o->tar_split_fd, &u->split, err);
	if (!r && o->dirfd >= 0)
		r = extract_new(o->dirfd, o->whiteout, u->lim.max_entries, &u->extract, err);
	if (!r && u->extract && o->literal)
		extract_literally(u->extract);
	seen_init(&u->uids);
	seen_init(&u->gids);
	return r;
}

static void release(struct unpack *u)
{
	digester_free(u->blob_digest);
	digester_free(u->plain_digest);
	decompress_free(u->decompress);
	tar_reader_free(u->tar);
	tarsplit_free(u->split);
	extract_free(u->extract);
	seen_release(&u->uids);
	seen_release(&u->gids);
}

static int check_media_type(struct unpack *u, bool *ret_differs, crio_err *err)
{
	enum compression promised, is = decompress_kind(u->decompress);
	int r;

	*ret_differs = false;
	if (!str_set(u->opts->media_type))
		return 0;
	r = compression_of_media_type(u->opts->media_type, &promised, err);
	if (r)
		return r;
	*ret_differs = promised != is;
	if (*ret_differs && u->opts->strict_media_type)
		return err_set(err, CRIO_E_CORRUPT, "the layer's media type '%s' does not fit its data, whose compression is '%s'",
			       u->opts->media_type, compression_name(is));
	return 0;
}

static int note_owner(struct unpack *u, const struct tar_entry *e, crio_err *err)
{
	if (seen_add(&u->uids, e->uid) < 0 || seen_add(&u->gids, e->gid) < 0)
		return err_nomem(err);
	if (u->uids.n > OWNERS_MAX || u->gids.n > OWNERS_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "the layer's files have more than %d owners", OWNERS_MAX);
	return 0;
}

/* Content of a sparse file goes to its extents, one after the other. */
struct place {
	const struct tar_entry *e;
	size_t extent;
	uint64_t done; /* in the extent; in the file when it is not sparse */
};

static size_t place_room(struct place *pl)
{
	if (!pl->e->sparse)
		return PIECE;
	while (pl->extent < pl->e->n_extents && pl->done == pl->e->extents[pl->extent].n) {
		pl->extent++;
		pl->done = 0;
	}
	if (pl->extent == pl->e->n_extents)
		return 0;
	uint64_t room = pl->e->extents[pl->extent].n - pl->done;

	return room < PIECE ? (size_t)room : PIECE;
}

static uint64_t place_offset(const struct place *pl)
{
	return pl->e->sparse ? pl->e->extents[pl->extent].offset + pl->done : pl->done;
}

static int copy_content(struct unpack *u, const struct tar_entry *e, const struct extract_step *step, crio_err *err)
{
	struct place pl = { e, 0, 0 };
	uint64_t crc = 0;
	const void *p;
	ssize_t n;
	int r = 0;

	while (!r && (n = tar_data(u->tar, place_room(&pl), &p, err)) != 0) {
		if (n < 0)
			return (int)n;
		if (step->open)
			r = extract_write(u->extract, p, (size_t)n, place_offset(&pl), err);
		if (!r && u->split && step->in_tree)
			crc = tarsplit_crc(crc, p, (size_t)n);
		else if (!r && u->split)
			r = tarsplit_raw(u->split, p, (size_t)n, err);
		pl.done += (size_t)n;
	}
	if (!r && step->open)
		r = extract_close(u->extract, e, err);
	if (!r && u->split && step->listed)
		r = tarsplit_file(u->split, e->name, step->in_tree ? e->stored : 0, crc, err);
	return r;
}

static int do_entry(struct unpack *u, const struct tar_entry *e, crio_err *err)
{
	struct extract_step step = { false, false, false };
	int r = note_owner(u, e, err);

	u->entries++;
	if (!r && u->opts->check)
		r = u->opts->check(e, err);
	if (!r && u->extract)
		r = extract_begin(u->extract, e, &step, err);
	return r ? r : copy_content(u, e, &step, err);
}

static int finish_digest(struct digester **d, const char *expected, const char *what, char ret[DIGEST_TEXT_MAX],
			 crio_err *err)
{
	digester_finish(move_ptr(*d), ret);
	if (!digest_is_valid(ret))
		return err_set(err, CRIO_E_INTERNAL, "%s: the digest could not be computed", what);
	if (str_set(expected) && !str_eq(expected, ret))
		return err_set(err, CRIO_E_CORRUPT, "%s is %s, expected %s: the data is damaged or not what was asked for",
			       what, ret, expected);
	return 0;
}

static int finish(struct unpack *u, struct unpack_result *ret, crio_err *err)
{
	struct extract_totals t = { 0 };
	int r = 0;

	if (u->opts->size >= 0 && u->blob_n != (uint64_t)u->opts->size)
		return err_set(err, CRIO_E_CORRUPT, "the blob has %llu bytes, expected %lld", (unsigned long long)u->blob_n,
			       (long long)u->opts->size);
	r = finish_digest(&u->blob_digest, u->opts->digest, "the blob's digest", ret->digest, err);
	if (!r)
		r = finish_digest(&u->plain_digest, u->opts->diff_id, "the layer's diffID", ret->diff_id, err);
	if (!r && u->split)
		r = tarsplit_finish(u->split, err);
	if (!r && u->extract)
		r = extract_finish(u->extract, &t, err);
	if (r)
		return r;
	if (seen_sorted(&u->uids, &ret->uids, &ret->n_uids) || seen_sorted(&u->gids, &ret->gids, &ret->n_gids))
		return err_nomem(err);
	ret->size = u->blob_n;
	ret->diff_size = u->plain_n;
	ret->compression = decompress_kind(u->decompress);
	ret->duplicates = t.duplicates;
	ret->entries = u->entries;
	ret->file_bytes = t.file_bytes;
	ret->disk_bytes = t.disk_bytes;
	ret->xattrs_skipped = t.xattrs_skipped;
	return 0;
}

static int run(struct unpack *u, struct unpack_result *ret, crio_err *err)
{
	const struct tar_entry *e;
	int r, media = 0;
	bool checked = false;

	do {
		r = tar_next(u->tar, &e, err);
		if (r >= 0 && !checked) {
			checked = true;
			media = check_media_type(u, &ret->media_type_differs, err);
			if (media)
				return media;
		}
		if (r > 0) {
			int code = do_entry(u, e, err);

			if (code)
				return code;
		}
	} while (r > 0);
	if (!r)
		r = tar_drain(u->tar, err);
	return r ? r : finish(u, ret, err);
}

int unpack_layer(crio_call *call, const struct unpack_opts *opts, struct unpack_result *ret, crio_err *err)
{
	struct unpack u = { .call = call, .opts = opts, .lim = limits_of(&opts->limits) };
	struct unpack_result res = { 0 };
	int r = start(&u, err);

	if (!r)
		r = run(&u, &res, err);
	release(&u);
	if (r) {
		unpack_result_release(&res);
		return r;
	}
	*ret = res;
	return 0;
}
