/* storage.c: graph drivers: what is absent, a stack of layers from apply to remove, recovery of half-made ones. */
#include <fcntl.h>
#include <sys/stat.h>

#include "sdk/check/check.h"

#define BASE "1111111111111111111111111111111111111111111111111111111111111111"
#define RW "2222222222222222222222222222222222222222222222222222222222222222"
#define HALF "3333333333333333333333333333333333333333333333333333333333333333"

static struct crio_storage_id_args id_args(const char *id)
{
	return (struct crio_storage_id_args){ .size = sizeof(struct crio_storage_id_args), .id = id, .mount_label = "" };
}

/* An operation with struct crio_storage_id_args. */
#define ID_OP(op, out_t)                                                                                  \
	static int do_##op(struct check *c, crio_call *call, const char *id, crio_err *err)               \
	{                                                                                                 \
		struct crio_storage_id_args a = id_args(id);                                              \
		struct crio_storage_##out_t o = { .size = sizeof(o) };                                    \
		return plugin_storage_##op(c->in, call, &a, &o, err);                                     \
	}
ID_OP(remove, no_out)
ID_OP(release, no_out)
ID_OP(mounts, mounts_out)
ID_OP(info, map_out)
ID_OP(changes, changes_out)

static int do_tree(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	struct crio_storage_id_args a = id_args(id);
	struct crio_storage_tree_out o = { .size = sizeof(o), .dirfd = -1 };
	int r = plugin_storage_tree_open(c->in, call, &a, &o, err);
	(void)safe_close(r == 0 ? o.dirfd : -1);
	return r;
}

static int do_status(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	(void)id;
	struct crio_storage_id_args a = id_args("");
	struct crio_storage_map_out o = { .size = sizeof(o) };
	return plugin_storage_status(c->in, call, &a, &o, err);
}

static int do_usage(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	struct crio_storage_usage_args a = { .size = sizeof(a), .id = id };
	struct crio_storage_usage_out o = { .size = sizeof(o) };
	return plugin_storage_usage(c->in, call, &a, &o, err);
}

static int do_recover(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	(void)id;
	struct crio_storage_recover_args a = { .size = sizeof(a) };
	struct crio_storage_no_out o = { .size = sizeof(o) };
	return plugin_storage_recover(c->in, call, &a, &o, err);
}

static int list(struct check *c, crio_call *call, struct crio_strs *ret, crio_err *err)
{
	struct crio_storage_id_args a = id_args("");
	struct crio_storage_strs_out o = { .size = sizeof(o) };
	int r = plugin_storage_list(c->in, call, &a, &o, err);
	*ret = o.v;
	return r;
}

static int do_list(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	(void)id;
	struct crio_strs v;
	return list(c, call, &v, err);
}

static bool listed(struct check *c, const char *id)
{
	cleanup_call crio_call *call = check_call(30 * SEC);
	struct crio_strs v = { NULL, 0 };
	if (!call || list(c, call, &v, NULL) < 0)
		return false;
	for (size_t i = 0; i < v.n; i++)
		if (str_eq(v.v[i], id))
			return true;
	return false;
}

static int begin(struct check *c, crio_call *call, const char *id, const char *parent, crio_err *err)
{
	struct crio_storage_apply_args a = { .size = sizeof(a), .id = id, .parent = parent };
	struct crio_storage_apply_out o = { .size = sizeof(o), .dirfd = -1 };
	int r = plugin_storage_apply_begin(c->in, call, &a, &o, err);
	if (r < 0)
		return r;
	static const char text[] = "from " BASE;
	if (o.dirfd < 0)
		return err_set(err, CRIO_E_INVALID, "apply_begin returned no directory");
	r = fs_write_file(o.dirfd, "file", text, sizeof(text) - 1, 0644, FS_RUN, err);
	(void)safe_close(o.dirfd);
	return r;
}

static int end(struct check *c, crio_call *call, const char *id, const char *parent, bool commit, crio_err *err)
{
	struct crio_storage_apply_args a = { .size = sizeof(a), .id = id, .parent = parent, .commit = commit };
	struct crio_storage_usage_out o = { .size = sizeof(o) };
	return plugin_storage_apply_end(c->in, call, &a, &o, err);
}

static int layer(struct check *c, crio_call *call, const char *id, const char *parent, crio_err *err)
{
	int r = begin(c, call, id, parent, err);
	if (r == 0)
		r = end(c, call, id, parent, true, err);
	return r;
}

static int create(struct check *c, crio_call *call, const char *id, const char *parent, crio_err *err)
{
	struct crio_storage_create_args a = { .size = sizeof(a), .id = id, .parent = parent, .mount_label = "" };
	struct crio_storage_no_out o = { .size = sizeof(o) };
	return plugin_storage_layer_create(c->in, call, &a, &o, err);
}

static int do_orphan(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	return create(c, call, RW, id, err); /* on a parent that is not there */
}

static int do_base(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	return layer(c, call, id, "", err);
}

static int do_rw(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	return create(c, call, id, BASE, err);
}

/* A layer made, read and removed: each step leaves nothing open. */
static int do_whole(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	int r = layer(c, call, id, BASE, err);
	if (r == 0)
		r = do_tree(c, call, id, err);
	if (r == 0)
		r = do_usage(c, call, id, err);
	if (r == 0)
		r = do_info(c, call, id, err);
	cleanup_call crio_call *own = check_call(30 * SEC); /* also what a cancelled call has begun */
	int d = own ? end(c, own, id, BASE, false, NULL) : CRIO_E_NOMEM;
	d = own ? do_remove(c, own, id, r < 0 ? NULL : err) : d;
	return r < 0 ? r : d;
}

static bool same_rows(const struct crio_mount_rows *a, const struct crio_mount_rows *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct crio_mount_row *x = CRIO_ROW(crio_mount_row, *a, i), *y = CRIO_ROW(crio_mount_row, *b, i);
		if (!str_eq(x->type, y->type) || !str_eq(x->source, y->source) || x->options.n != y->options.n)
			return false;
		for (size_t o = 0; o < x->options.n; o++)
			if (!str_eq(x->options.v[o], y->options.v[o]))
				return false;
	}
	return true;
}

static int do_rows_twice(struct check *c, crio_call *call, const char *id, crio_err *err)
{
	struct crio_storage_id_args a = id_args(id);
	struct crio_storage_mounts_out one = { .size = sizeof(one) }, two = { .size = sizeof(two) };
	int r = plugin_storage_mounts(c->in, call, &a, &one, err);
	if (r == 0)
		r = plugin_storage_mounts(c->in, call, &a, &two, err);
	if (r < 0)
		return r;
	if (one.rows.n == 0)
		return err_set(err, CRIO_E_INVALID, "mounts returned no row");
	return same_rows(&one.rows, &two.rows) ? 0 : err_set(err, CRIO_E_INVALID, "mounts returned other rows the second time");
}

static void expect(struct check *c, const char *what, int want, int r, const crio_err *err)
{
	check_ok(c, r == want, what, "it answered %s: %s", r < 0 ? err_code_name(r) : "success", err_text(err));
}

static void stack(struct check *c)
{
	cleanup_call crio_call *call = check_call(120 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	char detail[LEFT_TEXT];
	if (!call || !check_once(c, "a layer: begin, fill, commit", do_base, BASE))
		return;
	check_ok(c, listed(c, BASE), "list has it", "it is not in the list");
	expect(c, "apply_begin: a layer that is there answers CRIO_E_EXISTS", CRIO_E_EXISTS, begin(c, call, BASE, "", &err), &err);
	err_clear(&err);
	int r = begin(c, call, HALF, BASE, &err);
	r = r < 0 ? r : end(c, call, HALF, BASE, false, &err);
	check_ok(c, r == 0 && !listed(c, HALF), "apply_end without commit leaves no layer", "%s", err_text(&err));
	(void)check_once(c, "a read-write layer on it", do_rw, RW);
	expect(c, "layer_create: a layer that is there answers CRIO_E_EXISTS", CRIO_E_EXISTS, do_rw(c, call, RW, &err), &err);
	err_clear(&err);
	(void)check_once(c, "mounts: the same rows again", do_rows_twice, RW);
	(void)check_once(c, "release", do_release, RW);
	(void)check_once(c, "release again", do_release, RW);
	struct leftovers before;
	leftovers_take(&before);
	check_op(c, "apply_begin", do_whole, WANT_ANY);
	bool all = check_parallel(c, do_whole, 6, 2, &err);
	check_ok(c, all, "layers: six side by side, twice", "%s", err_text(&err));
	check_ok(c, leftovers_same(&before, LEFT_SOON, detail), "layers: nothing is left open or mounted", "%s", detail);
	err_clear(&err);
	/* A crash between begin and end: the next start's recover() knows what is on record. */
	r = begin(c, call, HALF, BASE, &err);
	const char *known[] = { BASE, RW };
	struct crio_storage_recover_args a = { .size = sizeof(a), .known = { known, 2 } };
	struct crio_storage_no_out o = { .size = sizeof(o) };
	r = r < 0 ? r : plugin_storage_recover(c->in, call, &a, &o, &err);
	check_ok(c, r == 0 && !listed(c, HALF) && listed(c, BASE) && listed(c, RW),
		 "recover removes what is half made, and keeps what is on record", "%s", err_text(&err));
	(void)check_once(c, "the same layer can be made afterwards", do_whole, HALF);
	(void)check_once(c, "remove the read-write layer", do_remove, RW);
	(void)check_once(c, "remove the layer", do_remove, BASE);
	(void)check_once(c, "remove it again", do_remove, BASE);
	check_ok(c, !listed(c, BASE) && !listed(c, RW) && !listed(c, HALF), "list is empty again", "something is still listed");
}

static bool open_store(struct check *c)
{
	cleanup_free char *root = c->root ? strdup(c->root) : path_fmt("%s/root", c->tmp), *run = path_fmt("%s/runroot", c->tmp);
	cleanup_call crio_call *call = check_call(30 * SEC);
	cleanup_err crio_err err = ERR_INIT;
	int r = root && run && call ? fs_mkdir_p(root, 0700, &err) : CRIO_E_NOMEM;
	r = r < 0 ? r : fs_mkdir_p(run, 0700, &err);
	struct crio_storage_open_args a = { .size = sizeof(a), .root = root, .runroot = run };
	struct crio_storage_open_out o = { .size = sizeof(o) };
	r = r < 0 ? r : plugin_storage_store_open(c->in, call, &a, &o, &err);
	if (r == 0 && (!str_set(o.driver) || !o.backing || o.whiteout < CRIO_WHITEOUT_REMOVE || o.whiteout > CRIO_WHITEOUT_OVERLAY_USER))
		r = err_set(&err, CRIO_E_INVALID, "driver, backing or whiteout is not set");
	check_ok(c, r == 0, "store_open", "%s", err_text(&err));
	return r == 0;
}

void check_storage(struct check *c)
{
	if (c->bare || geteuid() != 0) {
		check_skip(c, "a store", c->bare ? "--bare" : "needs root");
		return;
	}
	if (!open_store(c))
		return;
	check_op(c, "recover", do_recover, WANT_OK);
	check_op(c, "list", do_list, WANT_OK);
	check_op(c, "status", do_status, WANT_OK);
	check_op(c, "remove", do_remove, WANT_OK);
	check_op(c, "release", do_release, WANT_OK);
	check_op(c, "mounts", do_mounts, WANT_NOT_FOUND);
	check_op(c, "tree_open", do_tree, WANT_FAILURE);
	check_op(c, "info", do_info, WANT_ANY);
	check_op(c, "usage", do_usage, WANT_ANY);
	check_op(c, "changes", do_changes, WANT_FAILURE);
	check_op(c, "layer_create", do_orphan, WANT_FAILURE);
	stack(c);
}
