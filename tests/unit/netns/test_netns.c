/* Real namespaces, pinned in a directory of the test's own. Needs root; skipped without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/utsname.h>

#include "core/lifecycle/netns.h"
#include "core/util/fs.h"
#include "tests/tmp.h"

static char dir[TEST_TMP_N];

static int setup(void **state)
{
	(void)state;
	if (geteuid() != 0)
		exit(77);
	return test_tmp(dir, "netns") ? 0 : -1;
}

static size_t mounts_below(const char *path)
{
	cleanup_fclose FILE *f = fopen("/proc/thread-self/mountinfo", "re");
	char line[4096];
	size_t n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, path) != NULL;
	return n;
}

static int teardown(void **state)
{
	(void)state;
	if (mounts_below(dir) != 0)
		return -1;
	return fs_rm_rf(AT_FDCWD, dir, NULL);
}

/* What is seen from inside, collected on a thread that enters. */
struct seen {
	char *net, *ipc, *uts;
	bool lo_up;
	struct utsname name;
	char forward[32], shmmax[64], sem[64];
};

static void *look(void *arg)
{
	struct seen *s = arg;
	struct ifaddrs *list = NULL;
	char *paths[] = {s->net, s->ipc, s->uts};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		cleanup_close int fd = paths[i] ? ns_open(paths[i], (enum ns_kind)i, NULL) : -1;
		if (paths[i] && (fd < 0 || setns(fd, 0) < 0))
			return s;
	}
	(void)uname(&s->name);
	(void)fs_read_small(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", s->forward, sizeof(s->forward), NULL);
	(void)fs_read_small(AT_FDCWD, "/proc/sys/kernel/shmmax", s->shmmax, sizeof(s->shmmax), NULL);
	(void)fs_read_small(AT_FDCWD, "/proc/sys/kernel/sem", s->sem, sizeof(s->sem), NULL);
	if (getifaddrs(&list) == 0) {
		for (struct ifaddrs *a = list; a; a = a->ifa_next)
			s->lo_up |= !strcmp(a->ifa_name, "lo") && (a->ifa_flags & IFF_UP);
		freeifaddrs(list);
	}
	return NULL;
}

static void look_inside(struct seen *s)
{
	pthread_t t;
	void *failed = NULL;

	assert_int_equal(pthread_create(&t, NULL, look, s), 0);
	assert_int_equal(pthread_join(t, &failed), 0);
	assert_null(failed);
}

static void seen_release(struct seen *s)
{
	free(s->net);
	free(s->ipc);
	free(s->uts);
}

static void all_kinds(void **state)
{
	cleanup_kvs struct kvs sysctls = KVS_INIT;
	cleanup_err crio_err err = ERR_INIT;
	struct netns_args a = {
	    .dir = dir, .name = "one", .net = true, .ipc = true, .uts = true, .hostname = "pod-1", .sysctls = &sysctls};
	struct seen s = {.net = netns_path(dir, NS_KIND_NET, "one"),
			 .ipc = netns_path(dir, NS_KIND_IPC, "one"),
			 .uts = netns_path(dir, NS_KIND_UTS, "one")};
	struct utsname before, after;
	struct stat st;

	(void)state;
	assert_int_equal(uname(&before), 0);
	assert_int_equal(kvs_set(&sysctls, "net.ipv4.ip_forward", "1"), 0);
	assert_int_equal(kvs_set(&sysctls, "kernel.shmmax", "123456789"), 0);
	assert_int_equal(kvs_set(&sysctls, "kernel.sem", "251 32001 33 129"), 0);
	if (netns_create(&a, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_true(ns_is(s.net, NS_KIND_NET));
	assert_true(ns_is(s.ipc, NS_KIND_IPC));
	assert_true(ns_is(s.uts, NS_KIND_UTS));
	assert_false(ns_is(s.net, NS_KIND_UTS));
	look_inside(&s);
	assert_true(s.lo_up);
	assert_string_equal(s.name.nodename, "pod-1");
	assert_string_equal(s.forward, "1");
	assert_string_equal(s.shmmax, "123456789");
	assert_string_equal(s.sem, "251\t32001\t33\t129");
	assert_int_equal(uname(&after), 0);
	assert_string_equal(before.nodename, after.nodename);
	/* A second one of the name is refused and leaves the first alone. */
	assert_int_equal(netns_create(&a, &err), CRIO_E_EXISTS);
	assert_true(ns_is(s.net, NS_KIND_NET));
	cleanup_close int fd = netns_open(s.net, &err);
	assert_true(fd >= 0);
	assert_int_equal(ns_is_own(fd, NS_KIND_NET, NULL), 0);
	cleanup_close int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(ns_is_own(own, NS_KIND_NET, NULL), 1);
	assert_int_equal(netns_remove(dir, "one", &err), 0);
	assert_int_equal(netns_remove(dir, "one", &err), 0);
	assert_int_equal(lstat(s.net, &st), -1);
	assert_int_equal(lstat(s.uts, &st), -1);
	assert_int_equal(mounts_below(dir), 0);
	seen_release(&s);
}

static void only_net(void **state)
{
	struct netns_args a = {.dir = dir, .name = "two", .net = true, .hostname = "ignored"};
	cleanup_free char *net = netns_path(dir, NS_KIND_NET, "two");
	cleanup_free char *uts = netns_path(dir, NS_KIND_UTS, "two");
	struct stat st;

	(void)state;
	assert_int_equal(netns_create(&a, NULL), 0);
	assert_true(ns_is(net, NS_KIND_NET));
	assert_int_equal(lstat(uts, &st), -1);
	assert_int_equal(ns_remove(net, NULL), 0);
	assert_int_equal(ns_remove(net, NULL), 0);
	a.net = false;
	assert_int_equal(netns_create(&a, NULL), 0); /* nothing asked for */
}

static void failures_leave_nothing(void **state)
{
	cleanup_kvs struct kvs sysctls = KVS_INIT;
	cleanup_err crio_err err = ERR_INIT;
	struct netns_args a = {.dir = dir, .name = "bad", .net = true, .ipc = true, .uts = true, .sysctls = &sysctls};
	cleanup_free char *net = netns_path(dir, NS_KIND_NET, "bad");
	struct stat st;

	(void)state;
	assert_int_equal(kvs_set(&sysctls, "net.ipv4.no_such_thing", "1"), 0);
	assert_int_equal(netns_create(&a, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "net.ipv4.no_such_thing"));
	assert_int_equal(lstat(net, &st), -1);
	assert_int_equal(kvs_set(&sysctls, "kernel.core_pattern", "|/bin/evil"), 0);
	assert_int_equal(netns_create(&a, &err), CRIO_E_INVALID);
	a.sysctls = NULL;
	a.hostname = "bad name";
	assert_int_equal(netns_create(&a, &err), CRIO_E_INVALID);
	a.hostname = NULL;
	a.name = "../escape";
	assert_int_equal(netns_create(&a, &err), CRIO_E_INVALID);
	assert_int_equal(netns_remove(dir, "../escape", &err), CRIO_E_INVALID);
	a.name = "bad";
	a.dir = "relative";
	assert_int_equal(netns_create(&a, &err), CRIO_E_INVALID);
	assert_int_equal(mounts_below(dir), 0);
}

static void strange_paths(void **state)
{
	cleanup_free char *path = netns_path(dir, NS_KIND_NET, "odd");
	cleanup_err crio_err err = ERR_INIT;
	struct stat st;

	(void)state;
	assert_int_equal(netns_open(path, &err), CRIO_E_NOT_FOUND);
	assert_int_equal(fs_write_path(path, "", 0, 0444, FS_RUN, NULL), 0);
	assert_int_equal(netns_open(path, &err), CRIO_E_PRECONDITION); /* after a reboot */
	assert_int_equal(ns_remove(path, &err), 0);
	assert_int_equal(fs_write_path(path, "data", 4, 0444, FS_RUN, NULL), 0);
	assert_int_equal(ns_remove(path, &err), CRIO_E_PRECONDITION);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(netns_open(path, &err), CRIO_E_PRECONDITION);
	assert_int_equal(ns_remove(path, &err), CRIO_E_PRECONDITION);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/proc/thread-self/ns/net", path), 0);
	assert_true(netns_open(path, &err) < 0);
	assert_int_equal(ns_remove(path, &err), CRIO_E_PRECONDITION);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(ns_remove(path, &err), CRIO_E_PRECONDITION);
	/* Something else mounted there is not ours to unmount. */
	assert_int_equal(mount("none", path, "tmpfs", 0, NULL), 0);
	assert_int_equal(ns_remove(path, &err), CRIO_E_PRECONDITION);
	assert_int_equal(umount(path), 0);
	assert_int_equal(rmdir(path), 0);
}

#define THREADS 4
#define ROUNDS 10

static void *churn(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		char name[32];
		struct netns_args a = {
		    .dir = dir, .name = name, .net = true, .ipc = true, .uts = true, .hostname = "x"};

		(void)snprintf(name, sizeof(name), "c%d-%d", (int)(intptr_t)arg, i);
		if (netns_create(&a, NULL) < 0 || netns_remove(dir, name, NULL) < 0)
			return dir;
	}
	return NULL;
}

static void many_at_once(void **state)
{
	pthread_t t[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, churn, (void *)(intptr_t)i), 0);
	for (int i = 0; i < THREADS; i++) {
		void *failed = NULL;

		assert_int_equal(pthread_join(t[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(mounts_below(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_kinds),     cmocka_unit_test(only_net),     cmocka_unit_test(failures_leave_nothing),
	    cmocka_unit_test(strange_paths), cmocka_unit_test(many_at_once),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
