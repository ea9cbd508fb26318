/*
 * tmp.h: a directory of its own for a test. A test that is killed cannot remove it: the next run of a test of the same name does.
 */
#ifndef TESTS_TMP_H
#define TESTS_TMP_H

#include <stdio.h>

#include "core/util/fs.h"

#define TEST_TMP_N 64

/* Makes <base>/crio-test-<name>.XXXXXX, which the test removes at its end; its path goes to ret. NULL: failed. It is locked until
 * the program ends. */
static inline char *test_tmp_in(char ret[TEST_TMP_N], const char *base, const char *name)
{
	char prefix[TEST_TMP_N / 2];
	cleanup_free char *path = NULL;

	(void)snprintf(prefix, sizeof(prefix), "crio-test-%s.", name);
	fs_owned_sweep(base, prefix);
	if (fs_owned_make(base, prefix, &path, NULL) < 0)
		return NULL;
	(void)snprintf(ret, TEST_TMP_N, "%s", path);
	return ret;
}

static inline char *test_tmp(char ret[TEST_TMP_N], const char *name)
{
	return test_tmp_in(ret, "/tmp", name);
}

#endif
