/*
 * marks.h: files that tell the next start how the last run ended, under which version, and whether the machine was booted since.
 * They are CRI-O's own, in its form, so that either can follow the other.
 */
#ifndef LIFECYCLE_MARKS_H
#define LIFECYCLE_MARKS_H

#include <stdbool.h>

#include "core/conf/conf.h"
#include "core/util/err.h"

#define BOOT_ID_SIZE 40

struct marks {
	bool rebooted; /* version_file, on a file system that a reboot empties, is not there or of another minor version */
	bool upgraded; /* version_file_persist likewise */
	bool unclean;  /* clean_shutdown_file is not there, and a daemon that would have left it has run */
};
/* As the files are now. A key that is "" says nothing. */
void marks_read(const struct conf *conf, struct marks *ret);
/* The daemon starts: until marks_end its end would not be an orderly one. */
int marks_begin(const struct conf *conf, crio_err *err);
/* Nothing of an earlier boot or version is left. */
int marks_versions(const struct conf *conf, crio_err *err);
/* The daemon has ended: what it wrote below the root is on the disk, and the file says so. */
int marks_end(const struct conf *conf, crio_err *err);
/* What this boot of the machine is called; "" when the kernel does not say. */
void boot_id_get(char ret[BOOT_ID_SIZE]);

#endif
