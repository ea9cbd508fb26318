/* Real network namespaces. Needs root; skipped without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>

#include "core/lifecycle/net_stats.h"
#include "core/lifecycle/netns.h"
#include "core/util/fs.h"
#include "tests/tmp.h"

static char dir[TEST_TMP_N];

static int setup(void **state)
{
	const struct netns_args a = {.dir = dir, .name = "n", .net = true};

	(void)state;
	if (geteuid() != 0)
		exit(77);
	return test_tmp(dir, "netstats") && netns_create(&a, NULL) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	cleanup_close int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	return netns_remove(dir, "n", NULL) < 0 ? -1 : fs_rm_rf(tmp, strrchr(dir, '/') + 1, NULL);
}

/* Sends one datagram of 1000 bytes to the namespace's own loopback. */
static void *send_inside(void *arg)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	cleanup_close int ns = netns_open(arg, NULL), fd = -1;
	char text[1000] = "";

	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(sendto(fd, text, sizeof(text), 0, (struct sockaddr *)&a, sizeof(a)), sizeof(text));
	return NULL;
}

static void test_inside(void **state)
{
	cleanup_free char *path = netns_path(dir, NS_KIND_NET, "n");
	struct net_if *v = NULL;
	struct net_reader *r;
	pthread_t t;
	size_t n = 0;

	(void)state;
	assert_int_equal(net_reader_new(path, &r, NULL), 0);
	assert_int_equal(net_reader_read(r, &v, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_string_equal(v[0].name, "lo");
	assert_true(v[0].loopback);
	assert_int_equal(v[0].rx.bytes, 0);
	free(v);
	assert_int_equal(pthread_create(&t, NULL, send_inside, path), 0);
	(void)pthread_join(t, NULL);
	assert_int_equal(net_reader_read(r, &v, &n, NULL), 0);
	assert_in_range(v[0].rx.bytes, 1000, 3000);
	assert_in_range(v[0].tx.packets, 1, 4);
	assert_int_equal(v[0].rx.errors, 0);
	free(v);
	net_reader_unref(r);
}

static void *read_often(void *arg)
{
	for (int i = 0; i < 200; i++) {
		struct net_if *v = NULL;
		size_t n = 0;

		assert_int_equal(net_reader_read(arg, &v, &n, NULL), 0);
		assert_int_equal(n, 1);
		free(v);
	}
	return NULL;
}

static void test_at_once(void **state)
{
	cleanup_free char *path = netns_path(dir, NS_KIND_NET, "n");
	struct net_reader *r;
	pthread_t t[4];

	(void)state;
	assert_int_equal(net_reader_new(path, &r, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, read_often, r), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		(void)pthread_join(t[i], NULL);
	net_reader_unref(r);
}

static void test_own_and_none(void **state)
{
	struct net_if *v = NULL;
	struct net_reader *r;
	size_t n = 0;
	bool lo = false;

	(void)state;
	assert_int_equal(net_reader_new("", &r, NULL), 0);
	assert_int_equal(net_reader_read(r, &v, &n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		lo |= v[i].loopback;
	assert_true(lo);
	free(v);
	net_reader_unref(r);
	assert_int_equal(net_reader_new("/nonesuch", &r, NULL), CRIO_E_NOT_FOUND);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {T(test_inside), T(test_at_once), T(test_own_and_none)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
