/* tmp.h: a temporary directory for a test's files. */
#ifndef TESTS_CONF_TMP_H
#define TESTS_CONF_TMP_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/util/fs.h"
#include "tests/tmp.h"

static char tmp_dir[TEST_TMP_N];

static int tmp_make(void **state)
{
	(void)state;
	return test_tmp(tmp_dir, "conf") ? 0 : -1;
}

static int tmp_remove(void **state)
{
	(void)state;
	return fs_rm_rf(AT_FDCWD, tmp_dir, NULL) < 0 ? -1 : 0;
}

/* Path of a file in it; the last eight stay valid. */
static const char *tmp_path(const char *name)
{
	static char paths[8][256];
	static unsigned next;
	char *p = paths[next++ % 8];

	(void)snprintf(p, 256, "%s/%s", tmp_dir, name);
	return p;
}

/* Writes n bytes, making directories above it. */
static const char *tmp_write(const char *name, const void *text, size_t n)
{
	const char *path = tmp_path(name);
	char dir[256];
	char *slash;
	FILE *f;

	(void)snprintf(dir, sizeof dir, "%s", path);
	slash = strrchr(dir, '/');
	*slash = '\0';
	assert_int_equal(fs_mkdir_p(dir, 0755, NULL), 0);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	return path;
}

static inline const char *tmp_text(const char *name, const char *text)
{
	return tmp_write(name, text, strlen(text));
}

#endif
