/* test_store.c: the store on the driver named by the program's name (test_store_overlay, test_store_btrfs). */
#include "tests/plugin/storage/ground.h"

#include <sys/stat.h>

#include "core/exec/userns.h"
#include "core/store/priv.h"

static void ids(void **state)
{
	char id[65];
	(void)state;
	ok(store_layer_id("", "sha256:38a2d4cc91c384020761bbc3978d5b24de31c0451bc10c03b900acca3b61551d", id, err));
	assert_string_equal(id, "38a2d4cc91c384020761bbc3978d5b24de31c0451bc10c03b900acca3b61551d");
	ok(store_layer_id(id, "sha256:347e1f533c326ccf52640b830f88d553c0f1507bad9f80c860dc620d175e209c", id, err));
	assert_string_equal(id, "9e245f117ae9ed4712070b2877c8cb7f14097ff32b9f7efa7ea3449d98060778");
	fails(CRIO_E_INVALID, store_layer_id("", "sha256:../../etc", id, err));
	fails(CRIO_E_INVALID,
	      store_layer_id("..", "sha256:347e1f533c326ccf52640b830f88d553c0f1507bad9f80c860dc620d175e209c", id, err));
}

static void layers(void **state)
{
	struct store *s = open_store("layers");
	char a[65], b[65], digest[DIGEST_TEXT_MAX], other[DIGEST_TEXT_MAX];
	struct store_new_layer *n = NULL;
	int fd = -1;
	(void)state;

	make_layer(s, "", "one", "1", a);
	make_layer(s, a, "two", "2", b);
	fake_digest("two", "2", digest);
	cleanup_layer struct store_layer *l = store_layer_find(s, a, digest);
	assert_non_null(l);
	assert_string_equal(l->id, b);
	assert_string_equal(l->parent, a);
	assert_int_equal(l->compression, STORE_GZIP);
	assert_int_equal(l->diff_size, 1);
	assert_null(store_layer_find(s, "", digest));
	cleanup_layer struct store_layer *any = store_layer_find_diff(s, digest),
					 *comp = store_layer_find_compressed(s, a, digest);
	assert_ptr_equal(any, l);
	assert_ptr_equal(comp, l);

	struct store_begin_args again = {.parent = a, .diff_digest = digest};
	fails(CRIO_E_EXISTS, store_layer_begin(s, CALL, &again, &n, err));
	ok(store_layer_tree_open(s, CALL, b, &fd, err));
	assert_int_equal(faccessat(fd, "two", F_OK, 0), 0);
	(void)close(fd);
	fails(CRIO_E_NOT_FOUND, store_layer_tar_split_open(s, b, &fd, err));

	/* Content that is not what was announced. */
	fake_digest("x", "x", digest);
	fake_digest("y", "y", other);
	struct store_begin_args bad = {.parent = "", .diff_digest = digest};
	ok(store_layer_begin(s, CALL, &bad, &n, err));
	struct store_layer_info i = {.diff_digest = other, .no_tar_split = true};
	struct store_new_layer *second = NULL;
	bad.nowait = true;
	fails(CRIO_E_ABORTED, store_layer_begin(s, CALL, &bad, &second, err));
	fails(CRIO_E_CORRUPT, store_layer_commit(n, CALL, &i, NULL, err));
	ok(store_layer_begin(s, CALL, &bad, &n, err));
	store_layer_abort(n);
	assert_int_equal(
	    sh(NULL, "test -z \"$(find layers -name '.crio-new-*' -o -name '.crio-*.tmp' -o -name 'new-*')\""), 0);

	/* A parent that is not there. */
	char ghost[65];
	assert_true(id_new(ghost));
	struct store_begin_args orphan = {.parent = ghost, .diff_digest = digest};
	if (ground.overlay) {
		assert_true(store_layers_independent(s));
		ok(store_layer_begin(s, CALL, &orphan, &n, err));
		i.diff_digest = digest;
		fails(CRIO_E_PRECONDITION, store_layer_commit(n, CALL, &i, NULL, err));
	} else {
		fails(CRIO_E_PRECONDITION, store_layer_begin(s, CALL, &orphan, &n, err));
	}
	store_close(s);

	/* Durable: the same again after opening anew. */
	s = open_store("layers");
	cleanup_layer struct store_layer *back = store_layer_get(s, b);
	assert_non_null(back);
	store_close(s);
	wipe_store("layers");
}

/* The child is filled and even finished before its parent. */
static void child_first(void **state)
{
	struct store *s = open_store("child");
	char a[65], b[65], da[DIGEST_TEXT_MAX], db[DIGEST_TEXT_MAX];
	struct store_new_layer *na = NULL, *nb = NULL;
	struct stat st;
	(void)state;

	fake_digest("p", "p", da);
	fake_digest("c", "c", db);
	ok(store_layer_id("", da, a, err));
	ok(store_layer_id(a, db, b, err));
	struct store_begin_args aa = {.parent = "", .diff_digest = da}, ab = {.parent = a, .diff_digest = db};
	if (ground.overlay) {
		ok(store_layer_begin(s, CALL, &ab, &nb, err));
		ok(store_layer_begin(s, CALL, &aa, &na, err));
		assert_int_equal(fchmod(store_new_layer_dirfd(na), 0711), 0);
		struct store_layer_info ia = {.diff_digest = da, .no_tar_split = true},
					ib = {.diff_digest = db, .no_tar_split = true};
		ok(store_layer_commit(na, CALL, &ia, NULL, err));
		ok(store_layer_commit(nb, CALL, &ib, NULL, err));
		/* No root entry in the child: its root directory is like the parent's. */
		cleanup_free char *p = path_fmt("%s/child/root/overlay/%s/diff", ground.dir, b);
		assert_int_equal(stat(p, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0711);
	}
	store_close(s);
	wipe_store("child");
}

static void images(void **state)
{
	struct store *s = open_store("images");
	char a[65], b[65], c[65], i1[65], i2[65];
	const char *names[] = {"localhost/a:1", "localhost/a:2"};
	cleanup_free char *text = NULL;
	size_t n;
	(void)state;

	make_layer(s, "", "one", "1", a);
	make_layer(s, a, "two", "22", b);
	struct store_usage before, u, u2;
	ok(store_images_usage(s, CALL, &before, err));
	make_layer(s, a, "three", "333", c);
	ok(store_images_usage(s, CALL, &u, err));
	assert_in_range(u.inodes, before.inodes + 1, before.inodes + 2); /* btrfs counts the root too */
	uint64_t gen = store_generation(s);
	make_image(s, b, "localhost/a:1", "first", i1);
	make_image(s, c, "localhost/b:1", "second", i2);
	assert_true(store_generation(s) > gen);
	const struct store_images *all = store_images_get(s);
	assert_int_equal(all->n, 2);
	cleanup_image struct store_image *im = store_image_by_name(s, "localhost/a:1");
	assert_non_null(im);
	assert_string_equal(im->id, i1);
	assert_int_equal(im->n_big, 3); /* config, manifest, manifest-<digest> */
	assert_int_equal(im->created_ns, 1000000007);
	assert_true(store_image_size(s, im) > 3);
	cleanup_image struct store_image *bydig = store_image_by_digest(s, im->digest);
	assert_ptr_equal(bydig, im);
	cleanup_strv struct strv ls = STRV_INIT;
	ok(store_image_layers(s, im, &ls, err));
	assert_int_equal(ls.n, 2);
	assert_string_equal(ls.v[0], a);

	ok(store_image_big_get(s, i1, "manifest", 1000, &text, &n, err));
	assert_string_equal(text, "{\"manifest\":\"first\"}");
	free(move_ptr(text));
	fails(CRIO_E_EXHAUSTED, store_image_big_get(s, i1, "manifest", 3, &text, &n, err));
	fails(CRIO_E_NOT_FOUND, store_image_big_get(s, i1, "nope", 3, &text, &n, err));

	/* A name moves to who took it last. */
	ok(store_image_set_names(s, CALL, i2, (struct crio_strs){names, 2}, err));
	cleanup_image struct store_image *now = store_image_by_name(s, "localhost/a:1");
	assert_string_equal(now->id, i2);
	cleanup_image struct store_image *bare = store_image_get(s, i1);
	assert_int_equal(bare->names.n, 0);
	assert_int_equal(bare->names_history.n, 1);
	/* The snapshot is as it was. */
	assert_int_equal(all->n, 2);
	assert_int_equal(all->v[0]->names.n, 1);
	store_images_unref(all);

	/* Three layers of one file each, the metadata's few files, and a second opening that has the same figures. */
	ok(store_images_usage(s, CALL, &u, err));
	assert_in_range(u.inodes, 3, 40);
	assert_true(u.bytes > 3 && u.bytes < 400000);
	struct store *beside = open_store_as("images", true, true);
	ok(store_images_usage(beside, CALL, &u2, err));
	assert_int_equal(u2.inodes, u.inodes);
	store_close(beside);

	/* Putting it again keeps it one record. */
	make_image(s, b, "localhost/new:1", "first", i1);
	cleanup_image struct store_image *again = store_image_get(s, i1);
	assert_int_equal(again->names.n, 1);
	assert_int_equal(again->n_big, 3);

	/* Only what is not shared goes. */
	ok(store_image_delete(s, CALL, i1, err));
	ok(store_image_delete(s, CALL, i1, err));
	cleanup_layer struct store_layer *la = store_layer_get(s, a), *lb = store_layer_get(s, b),
					 *lc = store_layer_get(s, c);
	assert_non_null(la);
	assert_null(lb);
	assert_non_null(lc);
	assert_false(there("images/root/%s-images/%s", ground.driver, i1));
	ok(store_image_delete(s, CALL, i2, err));
	cleanup_layer struct store_layer *none = store_layer_get(s, a);
	assert_null(none);
	cleanup_strv struct strv report = STRV_INIT;
	ok(store_check(s, CALL, false, &report, err));
	assert_int_equal(report.n, 0);
	fails(CRIO_E_INVALID, store_image_delete(s, CALL, "../../x", err));
	store_close(s);
	wipe_store("images");
}

static void bad_big_data(void **state)
{
	struct store *s = open_store("big");
	char l[65], i[65];
	cleanup_free char *text = NULL;
	cleanup_strv struct strv report = STRV_INIT;
	(void)state;

	make_layer(s, "", "f", "f", l);
	make_image(s, l, "localhost/x:1", "x", i);
	put("{\"manifest\":\"evil!\"}", "big/root/%s-images/%s/manifest", ground.driver, i);
	fails(CRIO_E_CORRUPT, store_image_big_get(s, i, "manifest", 1000, &text, NULL, err));
	struct store_big_data odd = {"manifest/../../x", "x", 1};
	struct store_image_args a = {.id = i,
				     .digest = "sha256:"
					       "347e1f533c326ccf52640b830f88d553c0f1507bad9f80c860dc620d175e209c",
				     .layer = l,
				     .big = &odd,
				     .n_big = 1};
	ok(store_image_put(s, CALL, &a, NULL, err)); /* base64: an ordinary file name */
	assert_true(there("big/root/%s-images/%s/=bWFuaWZlc3QvLi4vLi4veA==", ground.driver, i));
	odd.key = "";
	fails(CRIO_E_INVALID, store_image_put(s, CALL, &a, NULL, err));
	ok(store_check(s, CALL, false, &report, err));
	assert_int_equal(report.n, 1);
	strv_clear(&report);
	ok(store_check(s, CALL, true, &report, err));
	cleanup_image struct store_image *gone = store_image_get(s, i);
	assert_null(gone);
	store_close(s);
	wipe_store("big");
}

static void containers(void **state)
{
	struct store *s = open_store("ctr");
	char a[65], b[65], i[65], c[65], d[65];
	const char *name = "k8s_one";
	(void)state;

	make_layer(s, "", "low", "low", a);
	make_layer(s, a, "file", "content", b);
	make_image(s, b, "localhost/c:1", "c", i);
	make_container(s, i, name, c);
	fails(CRIO_E_PRECONDITION, store_image_delete(s, CALL, i, err));
	assert_true(id_new(d));
	struct store_container_args args = {.id = d, .names = {&name, 1}, .image = i, .metadata = "{}"};
	fails(CRIO_E_EXISTS, store_container_create(s, CALL, &args, NULL, err));
	args.id = c;
	fails(CRIO_E_EXISTS, store_container_create(s, CALL, &args, NULL, err));
	args = (struct store_container_args){.id = d, .image = d, .metadata = ""};
	fails(CRIO_E_NOT_FOUND, store_container_create(s, CALL, &args, NULL, err));
	args.id = "../x";
	fails(CRIO_E_INVALID, store_container_create(s, CALL, &args, NULL, err));

	cleanup_free char *dir = store_container_dir(s, c), *run = store_container_run_dir(s, c);
	assert_true(there("%s", dir));
	assert_true(there("%s", run));
	assert_int_equal(sh(NULL, "test $(stat -c %%a %s) = 700 && test $(stat -c %%a %s) = 700", dir, run), 0);

	cleanup_free char *path = NULL, *p2 = NULL, *p3 = NULL;
	assert_false(store_is_mounted(s, c));
	ok(store_mount(s, CALL, c, &path, err));
	assert_true(there("%s/low", path));
	cleanup_free char *text = slurp("%s/file", path);
	assert_string_equal(text, "content");
	assert_int_equal(sh(NULL, "echo new >%s/written && rm %s/low && mkdir %s/d", path, path, path), 0);
	assert_true(store_is_mounted(s, c));
	ok(store_mount(s, CALL, c, &p2, err));
	assert_string_equal(path, p2);
	ok(store_unmount(s, CALL, c, false, err));
	assert_true(there("%s/written", path));
	if (ground.overlay) {
		cleanup_free char *mp = slurp("ctr/run/overlay-layers/mountpoints.json");
		assert_non_null(strstr(mp, "\"count\":1"));
	}
	struct store_usage u = {0, 0};
	ok(store_container_usage(s, CALL, c, true, &u, err));
	assert_true(u.bytes > 0 && u.bytes < 65536);
	assert_in_range(u.inodes, ground.overlay ? 3 : 2, 4); /* the tree itself, written, d, and the whiteout of low */

	/* The daemon goes, the mount stays and is taken over. */
	store_close(s);
	s = open_store("ctr");
	ok(store_mount(s, CALL, c, &p3, err));
	assert_string_equal(path, p3);
	assert_true(there("%s/written", p3));
	if (ground.overlay)
		assert_int_equal(sh(NULL, "test $(grep -c %s /proc/self/mountinfo) = 1", path), 0);
	ok(store_unmount(s, CALL, c, false, err));
	ok(store_unmount(s, CALL, c, false, err));
	ok(store_unmount(s, CALL, c, false, err));
	if (ground.overlay)
		assert_false(there("%s/file", path));
	assert_false(store_is_mounted(s, c));

	ok(store_container_set_metadata(s, CALL, c, "{\"pod\":false}", err));
	cleanup_store_container struct store_container *rec = store_container_get(s, c);
	assert_string_equal(rec->metadata, "{\"pod\":false}");
	fails(CRIO_E_NOT_FOUND, store_container_set_metadata(s, CALL, d, "", err));

	free(move_ptr(path));
	ok(store_mount(s, CALL, c, &path, err));
	ok(store_container_delete(s, CALL, c, err));
	ok(store_container_delete(s, CALL, c, err));
	assert_false(there("%s", dir));
	assert_false(there("%s", run));
	cleanup_layer struct store_layer *l = store_layer_get(s, rec->layer);
	assert_null(l);
	ok(store_image_delete(s, CALL, i, err));
	assert_int_equal(sh(NULL, "test -z \"$(ls ctr/root/crio/journal)\""), 0);
	store_close(s);
	wipe_store("ctr");
}

static void views(void **state)
{
	struct store *s = open_store("views");
	char id[65] = "", first[65] = "", middle[65] = "", c[65], text[16], im[65];
	int depth = ground.overlay ? 240 : 12;
	(void)state;

	for (int k = 0; k < depth; k++) {
		(void)snprintf(text, sizeof(text), "f%d", k);
		make_layer(s, id, text, text, id);
		if (!k)
			memcpy(first, id, sizeof(first));
		if (k < 130)
			memcpy(middle, id, sizeof(middle));
	}
	assert_int_equal(sh(NULL, "mkdir -p view"), 0);
	cleanup_free char *at = path_fmt("%s/view", ground.dir), *path = NULL;
	ok(store_layer_mount_at(s, CALL, first, "", NULL, at, err));
	assert_true(there("view/f0"));
	assert_int_not_equal(sh(NULL, "touch view/x 2>/dev/null"), 0);
	ok(store_layer_unmount_at(s, CALL, first, at, err));
	assert_false(there("view/f0"));
	ok(store_layer_mount_at(s, CALL, id, NULL, NULL, at, err));
	assert_true(there("view/f0") && there("view/%s", text));
	assert_int_not_equal(sh(NULL, "touch view/x 2>/dev/null"), 0);
	ok(store_layer_unmount_at(s, CALL, id, at, err));
	ok(store_layer_unmount_at(s, CALL, id, at, err));

	make_image(s, id, "localhost/deep:1", "deep", im);
	make_container(s, im, "deep", c);
	ok(store_mount(s, CALL, c, &path, err));
	assert_true(there("%s/f0", path) && there("%s/%s", path, text));
	struct crio_mount_rows rows;
	ok(store_mount_rows(s, CALL, id, true, &rows, err));
	assert_int_equal(rows.n, 1);
	ok(store_container_delete(s, CALL, c, err));
	if (ground.overlay) { /* the way of older kernels, with more options than fit a page */
		fails(CRIO_E_EXHAUSTED, mount_row_old(CRIO_ROW(crio_mount_row, rows, 0), at, err));
		ok(store_mount_rows(s, CALL, middle, true, &rows, err));
		ok(mount_row_old(CRIO_ROW(crio_mount_row, rows, 0), at, err));
		assert_true(there("view/f0") && there("view/f129") && !there("view/f130"));
		ok(fs_umount(at, err));
	}
	if (ground.overlay) { /* lost links are made again */
		assert_int_equal(sh(NULL, "rm views/root/overlay/l/*"), 0);
		ok(store_layer_mount_at(s, CALL, id, NULL, NULL, at, err));
		assert_true(there("view/f0"));
		ok(store_layer_unmount_at(s, CALL, id, at, err));
	}
	ok(store_image_delete(s, CALL, im, err));
	store_close(s);
	wipe_store("views");
}

/* "owner:group" of a path. */
static void owned(const char *want, const char *path, const char *below)
{
	cleanup_free char *out = NULL;

	assert_int_equal(sh(&out, "stat -c %%u:%%g %s%s", path, below), 0);
	out[strcspn(out, "\n")] = '\0';
	assert_string_equal(out, want);
}

static void mapped(void **state)
{
	struct store *s = open_store("mapped");
	char low[65], id[65], im[65], c[65];
	struct id_maps maps = {0};
	const char *names[] = {"mapped"};
	cleanup_free char *path = NULL, *again = NULL, *at = path_fmt("%s/view", ground.dir);
	bool host_ids = false;
	int fd = -1;
	(void)state;

	make_layer(s, "", "low", "1", low);
	make_layer(s, low, "high", "2", id);
	make_image(s, id, "localhost/mapped:1", "mapped", im);
	assert_int_equal(id_map_parse("0:100000:1000", "UID", &maps.uids, NULL), 0);
	assert_int_equal(id_map_parse("0:200000:1000", "GID", &maps.gids, NULL), 0);
	assert_true(id_new(c));
	struct store_container_args args = {.id = c, .names = {names, 1}, .image = im, .metadata = "", .maps = &maps};
	ok(store_container_create(s, CALL, &args, NULL, err));
	ok(store_mount(s, CALL, c, &path, err));
	owned("100000:200000", path, "");
	owned("100000:200000", path, "/low");
	owned("100000:200000", path, "/high");
	/* Written to from outside: through the descriptor. */
	ok(store_root_open(s, CALL, c, path, &fd, &host_ids, err));
	assert_true(host_ids == ground.overlay);
	int dir = -1;
	ok((dir = fs_mkdirs_in_as(fd, "/a/b", 0755, host_ids ? 100000 : 0, host_ids ? 200000 : 0, err)));
	(void)close(dir);
	(void)close(fd);
	owned("100000:200000", path, "/a/b");
	/* And from inside: as who is root there. */
	assert_int_equal(sh(NULL, "chmod 711 . mapped mapped/* mapped/*/* 2>/dev/null; chmod 755 %s; cd %s && setpriv --reuid 100000 --regid 200000 --clear-groups sh -c 'echo x >in && echo y >>low && mkdir d && rmdir a/b'", path, path), 0);
	owned("100000:200000", path, "/in");
	owned("100000:200000", path, "/low");
	/* The layer is as it was. */
	int tree = -1;
	ok(store_layer_tree_open(s, CALL, low, &tree, err));
	struct stat st;
	assert_int_equal(fstatat(tree, "low", &st, 0), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_size, 1);
	(void)close(tree);
	/* The daemon goes and comes: the record has the maps, and what was written stays whose it is. */
	store_close(s);
	s = open_store("mapped");
	cleanup_store_container struct store_container *rec = store_container_get(s, c);
	assert_int_equal(id_to_host(&rec->maps.gids, 0), 200000);
	ok(store_unmount(s, CALL, c, true, err));
	assert_false(there("%s/in", path));
	ok(store_mount(s, CALL, c, &again, err));
	assert_string_equal(path, again);
	owned("100000:200000", path, "/in");
	owned("100000:200000", path, "");
	/* A view of the image for the same users. */
	assert_int_equal(sh(NULL, "mkdir -p view"), 0);
	ok(store_layer_mount_at(s, CALL, id, NULL, &maps, at, err));
	owned("100000:200000", at, "/low");
	ok(store_layer_unmount_at(s, CALL, id, at, err));
	if (ground.overlay) { /* the way of kernels before 6.15 */
		cleanup_userns struct userns u = USERNS_INIT;
		struct crio_mount_rows rows;
		ok(userns_make(&maps, 0, &u, err));
		ok(store_mount_rows(s, CALL, id, true, &rows, err));
		ok(mount_overlay_apart(CRIO_ROW(crio_mount_row, rows, 0), u.user, at, err));
		owned("100000:200000", at, "/low");
		owned("100000:200000", at, "/high");
		assert_int_equal(sh(NULL, "test $(grep -c view /proc/self/mountinfo) = 1"), 0);
		ok(fs_umount(at, err));
		/* A lower directory that cannot be mapped. */
		assert_int_equal(sh(NULL, "mkdir -p raw && mount -t ramfs none raw"), 0);
		cleanup_free char *lower = path_fmt("lowerdir=%s/raw", ground.dir);
		const char *opts[] = {lower};
		const struct crio_mount_row row = {.size = sizeof(row), .type = "overlay", .source = "overlay", .target = "", .options = {opts, 1}};
		fails(CRIO_E_UNSUPPORTED, mount_overlay_apart(&row, u.user, at, err));
		const struct crio_mount_rows one = {&row, 1, sizeof(row)};
		fails(CRIO_E_UNSUPPORTED, mount_rows(&one, u.user, at, err));
		assert_int_equal(sh(NULL, "umount raw && rmdir raw"), 0);
	}
	ok(store_container_delete(s, CALL, c, err));
	ok(store_image_delete(s, CALL, im, err));
	store_close(s);
	id_maps_release(&maps);
	wipe_store("mapped");
}

static void driver_words(void **state)
{
	struct store *s = open_store("words");
	cleanup_kvs struct kvs kv = KVS_INIT;
	char a[65], ghost[65];
	(void)state;
	ok(store_status(s, CALL, &kv, err));
	assert_non_null(kvs_get(&kv, "Backing Filesystem"));
	assert_string_equal(store_driver(s), ground.driver);
	make_layer(s, "", "f", "f", a);
	ok(store_layer_data(s, CALL, a, &kv, err));
	if (ground.overlay)
		assert_true(str_ends(kvs_get(&kv, "UpperDir"), "/diff"));
	assert_true(id_new(ghost));
	fails(CRIO_E_NOT_FOUND, store_layer_data(s, CALL, ghost, &kv, err));
	struct crio_mount_rows rows;
	fails(CRIO_E_NOT_FOUND, store_mount_rows(s, CALL, ghost, false, &rows, err));
	fails(CRIO_E_INVALID, store_mount_rows(s, CALL, "../..", false, &rows, err));
	ok(plugin_inst_check(store_instance(s), CALL, err));
	store_close(s);
	wipe_store("words");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ids),    cmocka_unit_test(layers),	      cmocka_unit_test(child_first),
	    cmocka_unit_test(images), cmocka_unit_test(bad_big_data), cmocka_unit_test(containers),
	    cmocka_unit_test(views), cmocka_unit_test(mapped),  cmocka_unit_test(driver_words),
	};
	(void)argc;
	ground_enter(ground_driver(argv[0]));
	int r = cmocka_run_group_tests_name("store", tests, NULL, NULL);
	ground_leave();
	return r;
}
