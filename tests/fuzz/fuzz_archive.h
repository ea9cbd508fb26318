/*
 * fuzz_archive.h: what fuzz_tar and fuzz_checkpoint share: a directory of their own, where nothing may appear that they did not ask for,
 * and headers whose checksums are right, without which no input would get far.
 */
#ifndef FUZZ_ARCHIVE_H
#define FUZZ_ARCHIVE_H

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "core/unpack/tar.h"
#include "core/unpack/tar_header.h"
#include "core/util/fs.h"

static char fuzz_top[64];
static int fuzz_top_fd = -1;

static void fuzz_at_end(void)
{
	(void)fs_rm_rf(AT_FDCWD, fuzz_top, NULL);
}

/* Makes the directory, once; it goes with the process. */
static void fuzz_set_up(void)
{
	if (fuzz_top_fd >= 0)
		return;
	(void)snprintf(fuzz_top, sizeof(fuzz_top), "%s/crio-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	if (!mkdtemp(fuzz_top))
		abort();
	fuzz_top_fd = open(fuzz_top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fuzz_top_fd < 0 || atexit(fuzz_at_end))
		abort();
}

static void fuzz_fix_sums(uint8_t *p, size_t n)
{
	for (size_t at = 0; at + TAR_BLOCK <= n; at += TAR_BLOCK) {
		uint8_t *h = p + at;
		unsigned int sum = 0;
		char text[16];

		if (memcmp(h + TAR_AT_MAGIC, "ustar", 5))
			continue;
		memset(h + TAR_AT_SUM, ' ', TAR_SUM_LEN);
		for (size_t i = 0; i < TAR_BLOCK; i++)
			sum += h[i];
		(void)snprintf(text, sizeof(text), "%06o", sum);
		memcpy(h + TAR_AT_SUM, text, 7);
	}
}

#endif
