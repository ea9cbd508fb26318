/* Trees of files as the kernel writes them, of v1 and of v2; what is kept open; and, where it can be had, a real group. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>

#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/cgroup_stats.h"
#include "core/util/fs.h"
#include "tests/tmp.h"

static char dir[TEST_TMP_N];

static int setup(void **state)
{
	(void)state;
	return test_tmp(dir, "cgstats") ? 0 : -1;
}

static int teardown(void **state)
{
	cleanup_close int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	cgroup_set_root_for_test(NULL, false);
	return fs_rm_rf(tmp, strrchr(dir, '/') + 1, NULL);
}

struct file {
	const char *path, *text;
};

static void put(const char *path, const char *text)
{
	cleanup_free char *p = path_fmt("%s/%s", dir, path), *parent = strdup(p);

	assert_non_null(parent);
	*strrchr(parent, '/') = '\0';
	assert_int_equal(fs_mkdir_p(parent, 0755, NULL), 0);
	assert_int_equal(fs_write_path(p, text, strlen(text), 0644, FS_RUN, NULL), 0);
}

static void put_all(const struct file *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		put(f[i].path, f[i].text);
}

static const struct file v2[] = {
    {"a/cpu.stat", "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\ncore_sched.force_idle_usec 0\nnr_periods 4\nnr_throttled 1\n"
		   "throttled_usec 7\nnr_bursts 0\nburst_usec 0\n"},
    {"a/memory.current", "1000000\n"},
    {"a/memory.max", "3000000\n"},
    {"a/memory.peak", "2000000\n"},
    {"a/memory.stat", "anon 600000\nfile 300000\nkernel 50000\nkernel_stack 1\nfile_mapped 200\nfile_dirty 9\ninactive_anon 5\n"
		      "inactive_file 100000\nactive_file 3\npgfault 12\npgmajfault 2\npgrefill 99\n"},
    {"a/memory.events", "low 0\nhigh 0\nmax 3\noom 4\noom_kill 1\noom_group_kill 0\n"},
    {"a/memory.swap.current", "4096\n"},
    {"a/memory.swap.max", "max\n"},
    {"a/pids.current", "7\n"},
    {"a/pids.max", "100\n"},
    {"a/cpu.pressure", "some avg10=1.50 avg60=0.25 avg300=0.01 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n"},
    {"a/memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"},
    {"a/io.pressure", "some avg10=99.99 avg60=50.00 avg300=10.00 total=18446744073709551615\n"},
    {"a/io.stat", "8:0 rbytes=1024 wbytes=2048 rios=3 wios=4 dbytes=5 dios=6\n7:1 \n254:16 rbytes=1 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n"},
};

static void check_v2_basic(const struct cgroup_stats *s)
{
	assert_true(s->has_cpu && s->has_memory && s->has_swap);
	assert_int_equal(s->cpu_usage_ns, 5000000);
	assert_int_equal(s->memory_usage, 1000000);
	assert_int_equal(s->memory_working_set, 900000);
	assert_int_equal(s->memory_limit, 3000000);
	assert_int_equal(s->memory_available, 2100000);
	assert_int_equal(s->memory_rss, 600000);
	assert_int_equal(s->memory_cache, 300000);
	assert_int_equal(s->memory_mapped_file, 200);
	assert_int_equal(s->page_faults, 12);
	assert_int_equal(s->major_page_faults, 2);
	assert_int_equal(s->swap_usage, 4096);
	assert_true(s->swap_limit == UINT64_MAX);
	assert_true(s->cpu_pressure.has && s->memory_pressure.has && s->io_pressure.has);
	assert_int_equal(s->cpu_pressure.some.total_us, 2500000);
	assert_int_equal(s->cpu_pressure.full.total_us, 1000000);
	assert_true(s->cpu_pressure.some.avg10 > 1.49 && s->cpu_pressure.some.avg10 < 1.51);
	assert_true(s->cpu_pressure.full.avg10 < 0.01);
	assert_true(s->io_pressure.some.total_us == UINT64_MAX && s->io_pressure.some.avg60 > 49.9);
	assert_int_equal(s->io_pressure.full.total_us, 0);
}

static void test_v2(void **state)
{
	struct cgroup_stats s;

	(void)state;
	put_all(v2, ARRAY_SIZE(v2));
	cgroup_set_root_for_test(dir, true);
	assert_int_equal(cgroup_stats_read("/a", CGROUP_BASIC, &s, NULL), 0);
	check_v2_basic(&s);
	assert_false(s.has_pids);
	assert_null(s.more);
	assert_int_equal(cgroup_stats_read("/a", CGROUP_ALL, &s, NULL), 0);
	check_v2_basic(&s);
	assert_int_equal(s.pids, 7);
	assert_int_equal(s.pids_limit, 100);
	assert_int_equal(s.cpu_user_ns, 3000000);
	assert_int_equal(s.cpu_system_ns, 2000000);
	assert_int_equal(s.periods, 4);
	assert_int_equal(s.throttled_periods, 1);
	assert_int_equal(s.throttled_ns, 7000);
	assert_int_equal(s.memory_max_usage, 2000000);
	assert_int_equal(s.memory_kernel, 50000);
	assert_int_equal(s.memory_failcnt, 3);
	assert_int_equal(s.oom_kills, 1);
	assert_int_equal(s.more->n_cpus, 0);
	assert_int_equal(s.more->n_io, 3);
	assert_true(s.more->io[0].major == 8 && s.more->io[0].minor == 0 && s.more->io[2].major == 254 && s.more->io[2].minor == 16);
	assert_int_equal(s.more->io[0].bytes[IO_READ], 1024);
	assert_int_equal(s.more->io[0].bytes[IO_WRITE], 2048);
	assert_int_equal(s.more->io[0].bytes[IO_DISCARD], 5);
	assert_int_equal(s.more->io[0].times[IO_READ], 3);
	assert_int_equal(s.more->io[0].times[IO_WRITE], 4);
	assert_int_equal(s.more->io[0].has_bytes, 1 << IO_READ | 1 << IO_WRITE | 1 << IO_DISCARD);
	assert_int_equal(s.more->io[1].has_bytes, 0);
	cgroup_stats_release(&s);
	assert_int_equal(cgroup_stats_read("/none", CGROUP_ALL, &s, NULL), CRIO_E_NOT_FOUND);
}

/* crun, in a scope of systemd's, sets limits in a group of its own: the lower one counts, wherever it is. */
static void test_inner_limits(void **state)
{
	static const struct file inner[] = {
	    {"a/container/memory.max", "2000000\n"},
	    {"a/container/memory.swap.max", "8192\n"},
	    {"a/container/pids.max", "max\n"},
	    {"a/container/memory.current", "5\n"},
	    {"a/container/cpu.stat", "usage_usec 1\nnr_periods 9\nnr_throttled 5\nthrottled_usec 11\n"},
	};
	struct cgroup_stats s;

	(void)state;
	put_all(v2, ARRAY_SIZE(v2));
	put_all(inner, ARRAY_SIZE(inner));
	cgroup_set_root_for_test(dir, true);
	assert_int_equal(cgroup_stats_read("/a", CGROUP_ALL, &s, NULL), 0);
	assert_int_equal(s.memory_usage, 1000000);
	assert_int_equal(s.cpu_usage_ns, 5000000);
	assert_int_equal(s.memory_limit, 2000000);
	assert_int_equal(s.memory_available, 1100000);
	assert_int_equal(s.swap_limit, 8192);
	assert_int_equal(s.pids_limit, 100);
	assert_int_equal(s.periods, 9);
	assert_int_equal(s.throttled_periods, 5);
	assert_int_equal(s.throttled_ns, 11000);
	cgroup_stats_release(&s);
	put("a/container/memory.max", "4000000\n");
	put("a/pids.max", "max\n");
	put("a/container/pids.max", "50\n");
	assert_int_equal(cgroup_stats_read("/a", CGROUP_ALL, &s, NULL), 0);
	assert_int_equal(s.memory_limit, 3000000);
	assert_int_equal(s.pids_limit, 50);
	cgroup_stats_release(&s);
}

static const struct file v1[] = {
    {"cpuacct/p/a/cpuacct.usage", "5000000000\n"},
    {"cpuacct/p/a/cpuacct.usage_percpu", "3000000000 0 2000000000 \n"},
    {"cpuacct/p/a/cpuacct.stat", "user 300\nsystem 150\n"},
    {"cpu/p/a/cpu.stat", "nr_periods 10\nnr_throttled 2\nthrottled_time 12345\n"},
    {"memory/p/a/memory.usage_in_bytes", "1000000\n"},
    {"memory/p/a/memory.limit_in_bytes", "9223372036854771712\n"},
    {"memory/p/a/memory.max_usage_in_bytes", "1500000\n"},
    {"memory/p/a/memory.kmem.usage_in_bytes", "70000\n"},
    {"memory/p/a/memory.failcnt", "5\n"},
    {"memory/p/a/memory.memsw.usage_in_bytes", "1300000\n"},
    {"memory/p/a/memory.memsw.limit_in_bytes", "9223372036854771712\n"},
    {"memory/p/a/memory.stat", "cache 1\nrss 2\npgfault 3\nhierarchical_memory_limit 9\ntotal_cache 300000\ntotal_rss 600000\n"
			       "total_mapped_file 200\ntotal_pgfault 12\ntotal_pgmajfault 2\ntotal_inactive_file 1100000\n"},
    {"memory/p/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n"},
    {"pids/p/a/pids.current", "3\n"},
    {"pids/p/a/pids.max", "max\n"},
    {"blkio/p/a/blkio.throttle.io_service_bytes_recursive",
     "8:0 Read 1024\n8:0 Write 2048\n8:0 Sync 3\n8:0 Async 4\n8:0 Discard 0\n8:0 Total 3072\nTotal 3072\n"},
    {"blkio/p/a/blkio.throttle.io_serviced_recursive", "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n"},
};

static void test_v1(void **state)
{
	struct cgroup_stats s;
	uint64_t tick = 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);

	(void)state;
	put_all(v1, ARRAY_SIZE(v1));
	cgroup_set_root_for_test(dir, false);
	assert_int_equal(cgroup_stats_read("/p/a", CGROUP_ALL, &s, NULL), 0);
	assert_true(s.has_cpu && s.has_memory && s.has_swap && s.has_pids);
	assert_int_equal(s.cpu_usage_ns, 5000000000);
	assert_int_equal(s.cpu_user_ns, 300 * tick);
	assert_int_equal(s.cpu_system_ns, 150 * tick);
	assert_int_equal(s.periods, 10);
	assert_int_equal(s.throttled_ns, 12345);
	assert_int_equal(s.memory_rss, 600000);
	assert_int_equal(s.memory_cache, 300000);
	assert_int_equal(s.memory_working_set, 0); /* never below nothing */
	assert_true(s.memory_limit == UINT64_MAX && s.memory_available == 0);
	assert_int_equal(s.memory_kernel, 70000);
	assert_int_equal(s.memory_max_usage, 1500000);
	assert_int_equal(s.swap_usage, 300000);
	assert_true(s.swap_limit == UINT64_MAX);
	assert_int_equal(s.page_faults, 12);
	assert_int_equal(s.oom_kills, 6);
	assert_int_equal(s.memory_failcnt, 5);
	assert_int_equal(s.pids, 3);
	assert_int_equal(s.pids_limit, 0);
	assert_false(s.cpu_pressure.has || s.memory_pressure.has || s.io_pressure.has);
	assert_int_equal(s.more->n_cpus, 3);
	assert_int_equal(s.more->cpu_ns[2], 2000000000);
	assert_int_equal(s.more->n_io, 1);
	assert_int_equal(s.more->io[0].bytes[IO_TOTAL], 3072);
	assert_int_equal(s.more->io[0].times[IO_WRITE], 2);
	assert_int_equal(s.more->io[0].has_times, 1 << IO_READ | 1 << IO_WRITE | 1 << IO_TOTAL);
	cgroup_stats_release(&s);
	/* With limits; without swap accounting; with bfq's own figures. */
	put("memory/p/a/memory.limit_in_bytes", "2000000\n");
	put("memory/p/a/memory.memsw.limit_in_bytes", "2500000\n");
	put("blkio/p/a/blkio.bfq.io_service_bytes_recursive", "8:0 Read 7\nTotal 7\n");
	assert_int_equal(cgroup_stats_read("/p/a", CGROUP_ALL, &s, NULL), 0);
	assert_int_equal(s.memory_available, 2000000);
	assert_int_equal(s.swap_limit, 500000);
	assert_int_equal(s.more->io[0].bytes[IO_READ], 7);
	cgroup_stats_release(&s);
}

/* What a kernel, or somebody with a file system of his own, may write. */
static void test_nonsense(void **state)
{
	static const struct file odd[] = {
	    {"a/cpu.stat", "usage_usec\nuser_usec x\n\n \nusage_usec 7"},
	    {"a/memory.current", ""},
	    {"a/memory.max", "many\n"},
	    {"a/memory.stat", "anon -5\nanon\n"},
	    {"a/cpu.pressure", "some avg10= total=\nhalf total=3\n"},
	    {"a/io.stat", ":0 rbytes=1\n8: rbytes=1\n8:0rbytes=1\n8:1 rbytes= wbytes=x\n8:2 rbytes=5"},
	};
	char *long_text = malloc(200000);
	struct cgroup_stats s;

	(void)state;
	put_all(odd, ARRAY_SIZE(odd));
	memset(long_text, 'x', 200000);
	long_text[199999] = '\0';
	put("a/memory.events", long_text);
	free(long_text);
	cgroup_set_root_for_test(dir, true);
	assert_int_equal(cgroup_stats_read("/a", CGROUP_ALL, &s, NULL), 0);
	assert_int_equal(s.cpu_usage_ns, 7000);
	assert_false(s.has_memory);
	assert_int_equal(s.memory_rss, 0);
	assert_true(s.memory_limit == UINT64_MAX);
	assert_int_equal(s.more->n_io, 2);
	assert_int_equal(s.more->io[0].has_bytes, 0);
	assert_int_equal(s.more->io[1].bytes[IO_READ], 5);
	cgroup_stats_release(&s);
}

/* ---- the reader ---- */

static size_t open_files(void)
{
	cleanup_closedir DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(d))
		n++;
	return n;
}

static void test_kept_open(void **state)
{
	struct cgroup_reader *r;
	struct cgroup_stats s;
	size_t before = open_files();

	(void)state;
	put_all(v2, ARRAY_SIZE(v2));
	cgroup_set_root_for_test(dir, true);
	r = cgroup_reader_new("/a");
	assert_int_equal(cgroup_reader_read(r, CGROUP_BASIC, &s, NULL), 0);
	assert_int_equal(open_files(), before); /* not for one look */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(cgroup_reader_read(r, CGROUP_BASIC, &s, NULL), 0);
		check_v2_basic(&s);
	}
	assert_int_equal(open_files(), before + 9);
	/* The files' new text is seen, as the kernel would give it. */
	cleanup_free char *p = path_fmt("%s/a/memory.current", dir);
	cleanup_close int fd = open(p, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "1500000\n", 8, 0), 8);
	assert_int_equal(cgroup_reader_read(r, CGROUP_BASIC, &s, NULL), 0);
	assert_int_equal(s.memory_usage, 1500000);
	cgroup_reader_unref(r);
	assert_int_equal(open_files(), before + 1);
}

static void *read_often(void *arg)
{
	struct cgroup_stats s;

	for (int i = 0; i < 300; i++) {
		assert_int_equal(cgroup_reader_read(arg, i % 3 ? CGROUP_BASIC : CGROUP_ALL, &s, NULL), 0);
		check_v2_basic(&s);
		cgroup_stats_release(&s);
	}
	return NULL;
}

static void test_many_readers(void **state)
{
	size_t before = open_files();
	struct cgroup_reader *r;
	pthread_t t[4];

	(void)state;
	put_all(v2, ARRAY_SIZE(v2));
	cgroup_set_root_for_test(dir, true);
	r = cgroup_reader_new("/a");
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, read_often, r), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		(void)pthread_join(t[i], NULL);
	cgroup_reader_unref(r);
	assert_int_equal(open_files(), before);
}

static void test_real_group(void **state)
{
	char path[64];
	struct cgroup_reader *r;
	struct cgroup_stats s;

	(void)state;
	(void)snprintf(path, sizeof(path), "/crio-test-%d", (int)getpid());
	if (cgroup_make(path, NULL) < 0) {
		print_message("cgroups cannot be written here\n");
		skip();
	}
	r = cgroup_reader_new(path);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(cgroup_reader_read(r, CGROUP_ALL, &s, NULL), 0);
		assert_true(s.has_memory || s.has_pids || s.has_cpu);
		assert_int_equal(s.pids, 0);
		cgroup_stats_release(&s);
	}
	/* It can be removed while its files are open, and is then gone. */
	assert_int_equal(cgroup_remove(path, NULL), 0);
	assert_int_equal(cgroup_reader_read(r, CGROUP_BASIC, &s, NULL), CRIO_E_NOT_FOUND);
	cgroup_reader_unref(r);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_v2), T(test_inner_limits), T(test_v1), T(test_nonsense), T(test_kept_open), T(test_many_readers), T(test_real_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
