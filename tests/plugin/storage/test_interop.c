/*
 * test_interop.c: one store, many tools. Images that skopeo put there are ours, and ours are skopeo's and podman's;
 * what one removes is gone for the others. Needs skopeo, umoci and podman on PATH (77 without).
 */
#include "tests/plugin/storage/ground.h"

#include <fcntl.h>

#include "core/unpack/assemble.h"
#include "core/unpack/unpack.h"

#define PODMAN "podman --cgroup-manager=cgroupfs --events-backend=none --tmpdir $D/lib"

/* An image of two layers, the second with a whiteout. */
static int group_setup(void **state)
{
	(void)state;
	if (sh(NULL, "for p in skopeo umoci podman; do command -v $p >/dev/null || exit 1; done") != 0) {
		print_message("skopeo, umoci or podman is missing: skipped\n");
		return -1;
	}
	assert_int_equal(
	    sh(NULL,
	       "umoci init --layout oci && umoci new --image oci:t && umoci unpack --image oci:t b >/dev/null && "
	       "mkdir -p b/rootfs/bin b/rootfs/etc/x && cp /bin/busybox b/rootfs/bin/ && echo hi >b/rootfs/etc/hi && "
	       "ln b/rootfs/bin/busybox b/rootfs/bin/sh && umoci repack --image oci:t b && rm -rf b && "
	       "umoci unpack --image oci:t b >/dev/null && echo l2 >b/rootfs/l2 && rm b/rootfs/etc/hi && "
	       "umoci repack --image oci:t b && rm -rf b"),
	    0);
	return 0;
}

static void use(const char *name)
{
	cleanup_free char *conf =
	    path_fmt("[storage]\ndriver=\"overlay\"\nrunroot=\"%s/%s/run\"\ngraphroot=\"%s/%s/root\"\n", ground.dir,
		     name, ground.dir, name);
	put(conf, "storage.conf");
	assert_int_equal(sh(NULL, "mkdir -p %s/root %s/run", name, name), 0);
}

/* Theirs, read and used by us. */
static void theirs(void **state)
{
	cleanup_free char *path = NULL, *out = NULL;
	char c[65];
	(void)state;
	use("theirs");
	assert_int_equal(sh(NULL, "skopeo --insecure-policy copy -q oci:oci:t containers-storage:localhost/test:1"), 0);
	struct store *s = open_store("theirs");
	cleanup_image struct store_image *im = store_image_by_name(s, "localhost/test:1");
	assert_non_null(im);
	cleanup_strv struct strv layers = STRV_INIT, report = STRV_INIT;
	ok(store_image_layers(s, im, &layers, err));
	assert_int_equal(layers.n, 2);
	/* Their ids are those that we compute. */
	cleanup_layer struct store_layer *l0 = store_layer_get(s, layers.v[0]), *l1 = store_layer_get(s, layers.v[1]);
	char id[65];
	ok(store_layer_id("", l0->diff_digest, id, err));
	assert_string_equal(id, l0->id);
	ok(store_layer_id(l0->id, l1->diff_digest, id, err));
	assert_string_equal(id, l1->id);
	ok(store_check(s, CALL, false, &report, err));
	assert_int_equal(report.n, 0);

	make_container(s, im->id, "ours-on-theirs", c);
	ok(store_mount(s, CALL, c, &path, err));
	assert_true(there("%s/l2", path) && there("%s/bin/busybox", path) && !there("%s/etc/hi", path));
	/* The mode of the root directory comes through all layers. */
	assert_int_equal(sh(NULL, "test $(stat -c %%a %s) = $(stat -c %%a theirs/root/overlay/%s/diff)", path, l1->id),
			 0);
	assert_int_equal(sh(&out, PODMAN " ps -a --external --no-trunc"), 0);
	assert_non_null(strstr(out, "ours-on-theirs"));
	/* podman will not remove the image under our container. */
	assert_int_not_equal(sh(NULL, PODMAN " rmi localhost/test:1 2>/dev/null"), 0);
	ok(store_unmount(s, CALL, c, false, err));
	ok(store_container_delete(s, CALL, c, err));

	/* A second image on the same layers by them while we have the store open. */
	assert_int_equal(sh(NULL, "skopeo --insecure-policy copy -q oci:oci:t containers-storage:localhost/other:1"),
			 0);
	ok(store_refresh(s, CALL, err));
	cleanup_image struct store_image *other = store_image_by_name(s, "localhost/other:1");
	assert_non_null(other);
	assert_string_equal(other->id, im->id);

	/* A podman container in the store is seen, and keeps its image. */
	assert_int_equal(sh(NULL, PODMAN " create --name pc localhost/test:1 /bin/sh >/dev/null"), 0);
	ok(store_refresh(s, CALL, err));
	const struct store_containers *all = store_containers_get(s);
	assert_int_equal(all->n, 1);
	assert_string_equal(all->v[0]->names.v[0], "pc");
	store_containers_unref(all);
	fails(CRIO_E_PRECONDITION, store_image_delete(s, CALL, im->id, err));
	assert_int_equal(sh(NULL, PODMAN " rm pc >/dev/null"), 0);

	/* We remove, they see nothing. */
	ok(store_image_delete(s, CALL, im->id, err));
	free(move_ptr(out));
	assert_int_equal(sh(&out, PODMAN " images -q"), 0);
	assert_string_equal(out, "");
	assert_int_equal(
	    sh(NULL,
	       "grep -q '^\\[\\]' theirs/root/overlay-layers/layers.json && test -z \"$(ls theirs/root/overlay/l)\""),
	    0);
	store_close(s);
	wipe_store("theirs");
}

static struct json_object *blob_json(const char *digest)
{
	struct json_object *o = NULL;
	cleanup_free char *p = path_fmt("%s/oci/blobs/sha256/%s", ground.dir, digest_hex(digest));
	ok(json_read_file(AT_FDCWD, p, 1u << 20, &o, err));
	return o;
}

static void pull_layer(struct store *s, const char *parent, const char *blob, const char *diff_id, char ret[65])
{
	struct store_new_layer *n = NULL;
	cleanup_unpack_result struct unpack_result r = {0};
	cleanup_free char *p = path_fmt("%s/oci/blobs/sha256/%s", ground.dir, digest_hex(blob));
	cleanup_close int fd = open(p, O_RDONLY | O_CLOEXEC);
	struct store_begin_args b = {.parent = parent, .diff_digest = diff_id};

	assert_true(fd >= 0);
	ok(store_layer_begin(s, CALL, &b, &n, err));
	(void)snprintf(ret, 65, "%s", store_new_layer_id(n));
	struct unpack_opts o = {.src = source_of_fd(fd),
				.digest = blob,
				.diff_id = diff_id,
				.size = -1,
				.dirfd = store_new_layer_dirfd(n),
				.whiteout = store_new_layer_whiteout(n),
				.tar_split_fd = store_new_layer_tar_split_fd(n)};
	ok(unpack_layer(CALL, &o, &r, err));
	struct store_layer_info i = {.diff_digest = r.diff_id,
				     .diff_size = (int64_t)r.diff_size,
				     .compressed_digest = r.digest,
				     .compressed_size = (int64_t)r.size,
				     .compression = (int)r.compression,
				     .uids = r.uids,
				     .gids = r.gids,
				     .n_uids = r.n_uids,
				     .n_gids = r.n_gids};
	ok(store_layer_commit(n, CALL, &i, NULL, err));
}

/* The OCI layout's image into s, as a pull does it. */
static void pull(struct store *s, const char *name, char ret[65], char ret_top[65])
{
	cleanup_json struct json_object *index = NULL, *manifest = NULL, *config = NULL;
	cleanup_free char *p = path_fmt("%s/oci/index.json", ground.dir), *mtext = NULL, *ctext = NULL;
	char top[65] = "";

	ok(json_read_file(AT_FDCWD, p, 1u << 20, &index, err));
	struct json_object *m0 = json_object_array_get_idx(json_arr(index, "manifests"), 0);
	const char *md = json_str(m0, "digest");
	manifest = blob_json(md);
	const char *cd = json_str(json_obj(manifest, "config"), "digest");
	config = blob_json(cd);
	struct json_object *layers = json_arr(manifest, "layers"), *diffs = json_path(config, "rootfs.diff_ids");
	for (size_t k = 0; k < json_object_array_length(layers); k++)
		pull_layer(s, top, json_str(json_object_array_get_idx(layers, k), "digest"),
			   json_object_get_string(json_object_array_get_idx(diffs, k)), top);
	mtext = slurp("oci/blobs/sha256/%s", digest_hex(md));
	ctext = slurp("oci/blobs/sha256/%s", digest_hex(cd));
	struct store_big_data big[] = {{cd, ctext, strlen(ctext)}, {"manifest", mtext, strlen(mtext)}};
	struct store_image_args a = {
	    .id = digest_hex(cd), .digest = md, .layer = top, .names = {&name, 1}, .big = big, .n_big = 2};
	ok(store_image_put(s, CALL, &a, NULL, err));
	(void)snprintf(ret, 65, "%s", digest_hex(cd));
	(void)snprintf(ret_top, 65, "%s", top);
}

/* Ours, read and used by them. */
static void ours(void **state)
{
	char id[65], top[65];
	cleanup_free char *out = NULL;
	(void)state;
	use("ours");
	struct store *s = open_store("ours");
	pull(s, "localhost/mine:1", id, top);
	assert_int_equal(sh(&out, PODMAN " images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.Id}}'"), 0);
	assert_non_null(strstr(out, "localhost/mine:1"));
	assert_non_null(strstr(out, id));
	assert_int_equal(sh(NULL, PODMAN " inspect localhost/mine:1 >/dev/null"), 0);
	assert_int_equal(sh(NULL, "skopeo inspect containers-storage:localhost/mine:1 >/dev/null"), 0);
	/* Back out, layer by layer from the tree and our tar-split, byte for byte. */
	assert_int_equal(
	    sh(NULL, "rm -rf back && skopeo --insecure-policy copy -q containers-storage:localhost/mine:1 oci:back:t"),
	    0);
	assert_int_equal(
	    sh(NULL, "skopeo --insecure-policy copy -q --dest-compress=false containers-storage:localhost/mine:1 "
		     "dir:backdir && "
		     "cd backdir && for d in $(grep -o '\"sha256:[0-9a-f]*\"' ../ours/root/overlay-layers/layers.json "
		     "| tr -d '\"' | "
		     "sed 's/sha256://'); do test -e $d && sha256sum $d | grep -q ^$d && echo yes; done | grep -q yes"),
	    0);
	/* And by us. */
	int tree = -1, split = -1;
	struct assembly *as = NULL;
	char buf[4096];
	cleanup_layer struct store_layer *l = store_layer_get(s, top);
	ok(store_layer_tree_open(s, CALL, top, &tree, err));
	ok(store_layer_tar_split_open(s, top, &split, err));
	ok(assembly_new(tree, split, &as, err));
	struct digester *d = digester_new("sha256");
	for (;;) {
		ssize_t n = assembly_read(as, buf, sizeof(buf), NULL);
		assert_true(n >= 0);
		if (!n)
			break;
		digester_add(d, buf, (size_t)n);
	}
	char sum[DIGEST_TEXT_MAX];
	digester_finish(d, sum);
	assert_string_equal(sum, l->diff_digest);
	assembly_free(as);
	(void)close(tree);
	(void)close(split);

	/* A podman container on our image runs over our layers. */
	free(move_ptr(out));
	assert_int_equal(sh(&out, PODMAN " create --name pc localhost/mine:1 /bin/sh >/dev/null && m=$(" PODMAN
					 " mount pc) && cat $m/l2 && "
					 "test ! -e $m/etc/hi && " PODMAN " umount pc >/dev/null && " PODMAN
					 " rm pc >/dev/null"),
			 0);
	assert_string_equal(out, "l2\n");

	/* Skopeo reuses our layers instead of making its own. */
	cleanup_free char *before = slurp("ours/root/overlay-layers/layers.json");
	assert_int_equal(sh(NULL, "skopeo --insecure-policy copy -q oci:oci:t containers-storage:localhost/same:1"), 0);
	cleanup_free char *after = slurp("ours/root/overlay-layers/layers.json");
	assert_string_equal(before, after);

	/* A CRI-O container of ours is known to podman as somebody else's, and its image is safe. */
	char c[65];
	make_container(s, id, "ours", c);
	assert_int_not_equal(sh(NULL, PODMAN " rmi -a 2>/dev/null"), 0);
	ok(store_refresh(s, CALL, err));
	cleanup_image struct store_image *still = store_image_get(s, id);
	assert_non_null(still);
	ok(store_container_delete(s, CALL, c, err));

	/* They remove, we see nothing. */
	assert_int_equal(sh(NULL, PODMAN " rmi -a -f >/dev/null"), 0);
	ok(store_refresh(s, CALL, err));
	const struct store_images *all = store_images_get(s);
	assert_int_equal(all->n, 0);
	store_images_unref(all);
	cleanup_layer struct store_layer *gone = store_layer_get(s, top);
	assert_null(gone);
	cleanup_strv struct strv report = STRV_INIT;
	ok(store_check(s, CALL, false, &report, err));
	assert_int_equal(report.n, 0);
	store_close(s);
	wipe_store("ours");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(theirs), cmocka_unit_test(ours)};
	ground_enter("overlay");
	void *none = NULL;
	int r = group_setup(&none) < 0 ? 77 : cmocka_run_group_tests(tests, NULL, NULL);
	ground_leave();
	return r;
}
