/* fuzz_tarsplit.c: tar-split data of another program, over an empty tree. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>

#include "core/unpack/assemble.h"
#include "core/util/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char out[5000];
	static int tree = -1;
	struct assembly *a = NULL;
	size_t total = 0;
	ssize_t r;

	if (tree < 0) {
		char dir[] = "/tmp/crio-fuzz-XXXXXX";

		/* Removed at once: it stays empty. */
		tree = mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
		(void)rmdir(dir);
	}
	cleanup_close int fd = memfd_create("split", MFD_CLOEXEC);

	if (fd < 0 || fs_write_all(fd, data, n, NULL) || lseek(fd, 0, SEEK_SET) < 0 || assembly_new(tree, fd, &a, NULL))
		return 0;
	while ((r = assembly_read(a, out, sizeof(out), NULL)) > 0 && total < (8u << 20))
		total += (size_t)r;
	assembly_free(a);
	return 0;
}
