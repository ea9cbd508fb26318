/*
 * fuzz_tar.c: a layer blob into a tree. Whatever the bytes say, nothing appears beside the tree; what was unpacked
 * without an error and without duplicates gives the same archive again. Header checksums are put right first, or no
 * input would get far.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "core/unpack/assemble.h"
#include "core/unpack/unpack.h"
#include "tests/fuzz/fuzz_archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct input {
	const uint8_t *p;
	size_t n;
};

static ssize_t input_read(void *arg, void *p, size_t n, crio_err *err)
{
	struct input *in = arg;

	(void)err;
	if (n > in->n)
		n = in->n;
	memcpy(p, in->p, n);
	in->p += n;
	in->n -= n;
	return (ssize_t)n;
}

static void check_outside(void)
{
	cleanup_closedir DIR *d = opendir(fuzz_top);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (n != 3)
		abort();
}

static void check_back(crio_call *call, int root, int split, const struct unpack_result *res)
{
	struct unpack_opts o = {.size = -1, .dirfd = -1, .tar_split_fd = -1};
	cleanup_unpack_result struct unpack_result again = {0};
	struct assembly *a = NULL;

	(void)lseek(split, 0, SEEK_SET);
	if (assembly_new(root, split, &a, NULL))
		return;
	o.src.read = assembly_read;
	o.src.arg = a;
	if (unpack_layer(call, &o, &again, NULL) || strcmp(again.diff_id, res->diff_id))
		abort();
	assembly_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleanup_call crio_call *call = call_new("fuzz", CALL_NO_DEADLINE);
	cleanup_unpack_result struct unpack_result res = {0};
	cleanup_free uint8_t *copy = malloc(n ? n : 1);
	struct input in = {copy, n};
	struct unpack_opts o = {.src = {input_read, &in}, .size = -1};

	fuzz_set_up();
	if (!call || !copy || mkdirat(fuzz_top_fd, "r", 0700) < 0)
		abort();
	memcpy(copy, data, n);
	fuzz_fix_sums(copy, n);
	cleanup_close int root = openat(fuzz_top_fd, "r", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int split = open(fuzz_top, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	o.dirfd = root;
	o.tar_split_fd = split;
	o.whiteout = (enum crio_whiteout)(CRIO_WHITEOUT_REMOVE + n / 512 % 3);
	o.limits.max_plain = 16u << 20;
	o.limits.max_entries = 2000;
	int r = unpack_layer(call, &o, &res, NULL);

	/* A plain tar whose first bytes are a compression's magic cannot be told from that. */
	if (!r && !res.duplicates && o.whiteout != CRIO_WHITEOUT_REMOVE && res.compression == COMPRESSION_NONE)
		check_back(call, root, split, &res);
	check_outside();
	if (fs_rm_rf(fuzz_top_fd, "r", NULL))
		abort();
	return 0;
}
