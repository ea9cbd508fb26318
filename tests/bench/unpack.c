/* unpack.c: unpacks a layer blob: bench_unpack BLOB DIRECTORY [TAR-SPLIT-FILE]. Times and sizes on stdout. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>

#include "core/unpack/unpack.h"
#include "core/util/fs.h"

int main(int argc, char **argv)
{
	cleanup_unpack_result struct unpack_result res = { 0 };
	cleanup_call crio_call *call = call_new("bench", CALL_NO_DEADLINE);
	cleanup_err crio_err err = ERR_INIT;
	struct rusage ru;
	int64_t start;

	if (argc < 3) {
		fprintf(stderr, "usage: %s BLOB DIRECTORY [TAR-SPLIT-FILE]\n", argv[0]);
		return 2;
	}
	cleanup_close int blob = open(argv[1], O_RDONLY | O_CLOEXEC);
	cleanup_close int dir = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_close int split = argc > 3 ? open(argv[3], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
	struct unpack_opts o = { .src = source_of_fd(blob), .size = -1, .dirfd = dir, .whiteout = CRIO_WHITEOUT_OVERLAY,
				 .tar_split_fd = split };

	start = now_mono_ns();
	if (blob < 0 || dir < 0 || unpack_layer(call, &o, &res, &err)) {
		fprintf(stderr, "%s\n", err_text(&err));
		return 1;
	}
	start = now_mono_ns() - start;
	(void)getrusage(RUSAGE_SELF, &ru);
	printf("%.3f s wall, %ld.%06ld s user, %ld.%06ld s system, %ld KiB RSS; %llu bytes in, %llu out, %llu entries, %s\n",
	       (double)start / 1e9, (long)ru.ru_utime.tv_sec, (long)ru.ru_utime.tv_usec, (long)ru.ru_stime.tv_sec,
	       (long)ru.ru_stime.tv_usec, ru.ru_maxrss, (unsigned long long)res.size, (unsigned long long)res.diff_size,
	       (unsigned long long)res.entries, res.diff_id);
	return 0;
}
