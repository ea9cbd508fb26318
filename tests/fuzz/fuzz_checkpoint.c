/*
 * fuzz_checkpoint.c: a checkpoint archive into a container's directory and root. Whatever the bytes say, nothing appears or goes
 * beside the two; header checksums are put right first.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "core/lifecycle/checkpoint_source.h"
#include "tests/fuzz/fuzz_archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Only the two and, at most, the log; in the container's directory only criu's files. */
static void check_places(int dir)
{
	cleanup_closedir DIR *d = opendir(fuzz_top), *c = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 3));
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (!strchr(".dr", *e->d_name) && strcmp(e->d_name, "log") != 0)
			abort();
	while (c && (e = readdir(c)))
		if (*e->d_name != '.' && strcmp(e->d_name, CHECKPOINT_DIR) != 0)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	cleanup_call crio_call *call = call_new("fuzz", CALL_NO_DEADLINE);
	cleanup_free uint8_t *copy = malloc(n ? n : 1);
	struct checkpoint_meta m = {0};
	cleanup_free char *log = NULL;

	fuzz_set_up();
	log = path_fmt("%s/log", fuzz_top);
	if (!call || !copy || !log || mkdirat(fuzz_top_fd, "r", 0700) < 0 || mkdirat(fuzz_top_fd, "d", 0700) < 0)
		abort();
	memcpy(copy, data, n);
	fuzz_fix_sums(copy, n);
	cleanup_close int root = openat(fuzz_top_fd, "r", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int dir = openat(fuzz_top_fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_checkpoint_source struct checkpoint_source s = {open(fuzz_top, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), false};

	if (root < 0 || dir < 0 || s.fd < 0 || fs_write_all(s.fd, copy, n, NULL) < 0)
		abort();
	if (!checkpoint_read_meta(&s, call, &m, NULL)) {
		const struct checkpoint_target t = {.dir = dir, .root = root, .devices = n % 2, .log_path = log, .deleted = &m.deleted};

		(void)checkpoint_unpack(&s, call, &t, NULL);
	}
	checkpoint_meta_release(&m);
	check_places(dir);
	(void)unlinkat(fuzz_top_fd, "log", 0);
	if (fs_rm_rf(fuzz_top_fd, "r", NULL) || fs_rm_rf(fuzz_top_fd, "d", NULL))
		abort();
	return 0;
}
