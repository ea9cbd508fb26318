/* Layers made by umoci in a store of containers/storage, kept by skopeo: our trees are its trees, its tar-split data gives
 * its layers back with our assembly, and skopeo copies layers out that we have unpacked. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

#include "core/unpack/assemble.h"
#include "core/util/fs.h"
#include "tests/unit/unpack/mktar.h"

static const char make_image[] =
	"set -e; cd '%s'; umask 022; exec >/dev/null 2>log; l=img\n"
	"umoci init --layout $l; umoci new --image $l:a; umoci unpack --image $l:a b1; cd b1/rootfs\n"
	"mkdir -p etc d/e gone opq usr/bin; echo one >etc/f; echo old >d/old; echo x >d/e/x; touch gone/y opq/old; ln d/old d/hard\n"
	"echo s >usr/bin/su; chmod 4755 usr/bin/su; chown 7:8 opq; ln -s d/e link; mkfifo d/p; head -c 200000 /dev/urandom >rnd\n"
	"cd ../..; umoci repack --image $l:b b1; umoci unpack --image $l:b b2; cd b2/rootfs\n"
	"rm -r gone d/old link; rm -r d/e opq; mkdir d/e opq; echo n >d/e/n; echo two >etc/f; touch opq/new; mkdir link; echo z >link/z\n"
	"cd ../..; umoci repack --image $l:c b2; umoci unpack --image $l:c b3\n"
	"skopeo --insecure-policy copy -q oci:$l:c \"containers-storage:[overlay@$PWD/st+$PWD/run]localhost/c:1\"\n"
	"python3 -c 'import json\n"
	"for l in json.load(open(\"st/overlay-layers/layers.json\")):\n"
	" print(l[\"id\"], \"img/blobs/sha256/\"+l[\"compressed-diff-digest\"][7:], l[\"diff-digest\"])' >plan\n";

static void assemble_to(struct place *p, int tree, const char *split_name, const char *want)
{
	cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE);
	cleanup_err crio_err err = ERR_INIT;
	cleanup_close int split = openat(p->top_fd, split_name, O_RDONLY | O_CLOEXEC), out = place_file(p);
	cleanup_free char *text = NULL;
	char digest[DIGEST_TEXT_MAX];
	struct assembly *a = NULL;
	size_t n;

	assert_true(split >= 0);
	assert_int_equal(assembly_new(tree, split, &a, &err), 0);
	if (assembly_copy(call, a, out, NULL, &err))
		fail_msg("%s: %s", split_name, err_text(&err));
	assembly_free(a);
	(void)lseek(out, 0, SEEK_SET);
	assert_int_equal(fs_read_fd(out, 64u << 20, &text, &n, &err), 0);
	digest_of(text, n, digest);
	assert_string_equal(digest, want);
}

static void replace_layer(struct place *p, const char *id, const char *blob, const char *diff_id)
{
	cleanup_unpack_result struct unpack_result res = { 0 };
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *text = NULL;
	char tree[300], split[300];
	size_t n;

	(void)snprintf(tree, sizeof(tree), "st/overlay/%s/diff", id);
	(void)snprintf(split, sizeof(split), "st/overlay-layers/%s.tar-split.gz", id);
	cleanup_close int theirs = openat(p->top_fd, tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(theirs >= 0);
	assemble_to(p, theirs, split, diff_id);

	assert_int_equal(mk_sh("cd '%s' && mv %s %s.old && mkdir %s", p->top, tree, tree, tree), 0);
	cleanup_close int ours = openat(p->top_fd, tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int sfd = openat(p->top_fd, split, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_int_equal(fs_read_file(p->top_fd, blob, 64u << 20, &text, &n, &err), 0);
	if (mk_unpack(text, n, ours, CRIO_WHITEOUT_OVERLAY, sfd, &res, &err))
		fail_msg("%s: %s", blob, err_text(&err));
	assert_string_equal(res.diff_id, diff_id);
	assert_int_equal(mk_sh("cd '%s' && chmod 755 %s.old && for i in %s.old %s; do tar --format=pax --mtime=@0 --sort=name --xattrs --xattrs-include='*' "
			       "--pax-option=exthdr.name=x,delete=atime,delete=ctime -C $i -cf $(basename $i).tar . || exit 1; "
			       "done; cmp diff.old.tar diff.tar",
			       p->top, tree, tree, tree),
			 0);
	assemble_to(p, ours, split, diff_id);

	/* The same layer on a tree that shows the one below. */
	cleanup_unpack_result struct unpack_result res2 = { 0 };

	if (mk_unpack(text, n, p->root, CRIO_WHITEOUT_REMOVE, -1, &res2, &err))
		fail_msg("%s: %s", blob, err_text(&err));
}

static void test_skopeo(void **state)
{
	struct strv lines = STRV_INIT, f = STRV_INIT;
	cleanup_free char *plan = NULL;
	struct place p;

	(void)state;
	if (mk_sh("command -v umoci >/dev/null && command -v skopeo >/dev/null")) {
		print_message("needs umoci and skopeo\n");
		skip();
	}
	place_new(&p);
	if (mk_sh(make_image, p.top))
		fail_msg("image: %d", mk_sh("cat %s/log", p.top));
	assert_int_equal(fs_read_file(p.top_fd, "plan", 65536, &plan, NULL, NULL), 0);
	assert_int_equal(str_split(plan, '\n', &lines), 0);
	assert_true(lines.n >= 3);
	for (size_t i = 0; i < lines.n && *lines.v[i]; i++) {
		strv_clear(&f);
		assert_int_equal(str_split(lines.v[i], ' ', &f), 0);
		replace_layer(&p, f.v[0], f.v[1], f.v[2]);
	}
	assert_int_equal(mk_sh("cd '%s' && for i in b3/rootfs root; do (cd $i && find . ! -type l -printf '%%p %%m %%U %%G %%y\\n' "
			       "| sort && find . -type f | sort | xargs sha256sum) >$(basename $i).list; done; diff *.list",
			       p.top),
			 0);
	assert_int_equal(mk_sh("cd '%s' && skopeo --insecure-policy copy -q \"containers-storage:[overlay@$PWD/st+$PWD/run]"
			       "localhost/c:1\" dir:out && cd out && for i in ????????????????????????????????????????????????"
			       "????????????????; do echo \"$i  $i\"; done | sha256sum -c --quiet",
			       p.top),
			 0);
	strv_release(&lines);
	strv_release(&f);
	(void)mk_sh("umount -l '%s/st/overlay' 2>/dev/null", p.top);
	place_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_skopeo),
	};

	if (geteuid()) {
		print_message("needs root: skipped\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
