/* cgroup_stats.c: what a group has used. Each file is read with one read(2); a file that is not there leaves its number
 * 0. */
#include <unistd.h>

#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/cgroup_tree.h"
#include "core/util/fs.h"

#define STAT_MAX 8192
#define V1_NO_LIMIT (UINT64_C(1) << 60) /* v1 says "none" as the largest multiple of the page size */

static bool read_u64(int dir, const char *file, uint64_t *ret)
{
	char t[64];
	uint64_t v;

	if (fs_read_small(dir, file, t, sizeof(t), NULL) <= 0)
		return false;
	if (str_eq(t, "max"))
		v = UINT64_MAX;
	else if (!str_to_u64(t, UINT64_MAX, &v))
		return false;
	*ret = v;
	return true;
}

/* One word of a file of "key value" lines and where its number goes. */
struct word {
	const char *key;
	uint64_t *to;
};

static bool read_words(int dir, const char *file, const struct word *w, size_t n)
{
	char t[STAT_MAX], *save = NULL;

	if (fs_read_small(dir, file, t, sizeof(t), NULL) < 0)
		return false;
	for (char *l = strtok_r(t, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *v = strchr(l, ' ');

		if (!v)
			continue;
		*v++ = '\0';
		for (size_t i = 0; i < n; i++)
			if (str_eq(l, w[i].key))
				(void)str_to_u64(v, UINT64_MAX, w[i].to);
	}
	return true;
}

static void derive(struct cgroup_stats *s)
{
	s->memory_working_set =
	    s->memory_usage > s->memory_inactive_file ? s->memory_usage - s->memory_inactive_file : 0;
	if (s->memory_limit >= V1_NO_LIMIT)
		s->memory_limit = UINT64_MAX;
	else if (s->memory_limit > s->memory_working_set)
		s->memory_available = s->memory_limit - s->memory_working_set;
	if (s->pids_limit == UINT64_MAX)
		s->pids_limit = 0;
}

static int read_v2(const char *path, struct cgroup_stats *s, crio_err *err)
{
	cleanup_close int d = cgroup_open("", path, err);
	uint64_t usage = 0, user = 0, sys = 0, throttled = 0;
	const struct word cpu[] = {{"usage_usec", &usage},
				   {"user_usec", &user},
				   {"system_usec", &sys},
				   {"nr_periods", &s->periods},
				   {"nr_throttled", &s->throttled_periods},
				   {"throttled_usec", &throttled}};
	const struct word mem[] = {{"anon", &s->memory_rss},
				   {"file", &s->memory_cache},
				   {"file_mapped", &s->memory_mapped_file},
				   {"inactive_file", &s->memory_inactive_file},
				   {"active_file", &s->memory_active_file},
				   {"pgfault", &s->page_faults},
				   {"pgmajfault", &s->major_page_faults}};
	const struct word events[] = {{"oom_kill", &s->oom_kills}, {"max", &s->memory_failcnt}};

	if (d < 0)
		return d;
	s->has_cpu = read_words(d, "cpu.stat", cpu, ARRAY_SIZE(cpu));
	s->cpu_usage_ns = usage * 1000;
	s->cpu_user_ns = user * 1000;
	s->cpu_system_ns = sys * 1000;
	s->throttled_ns = throttled * 1000;
	s->has_memory = read_u64(d, "memory.current", &s->memory_usage);
	s->memory_limit = UINT64_MAX;
	(void)read_u64(d, "memory.max", &s->memory_limit);
	(void)read_u64(d, "memory.peak", &s->memory_max_usage);
	(void)read_words(d, "memory.stat", mem, ARRAY_SIZE(mem));
	(void)read_words(d, "memory.events", events, ARRAY_SIZE(events));
	s->has_swap = read_u64(d, "memory.swap.current", &s->swap_usage);
	(void)read_u64(d, "memory.swap.max", &s->swap_limit);
	s->has_pids = read_u64(d, "pids.current", &s->pids);
	(void)read_u64(d, "pids.max", &s->pids_limit);
	derive(s);
	return 0;
}

/* User and system time of v1: in nanoseconds where the kernel gives them, else in clock ticks. */
static void v1_cpu(const char *path, struct cgroup_stats *s, bool *any)
{
	cleanup_close int acct = cgroup_open("cpuacct", path, NULL), cpu = cgroup_open("cpu", path, NULL);
	const struct word st[] = {
	    {"nr_periods", &s->periods}, {"nr_throttled", &s->throttled_periods}, {"throttled_time", &s->throttled_ns}};
	const struct word ticks[] = {{"user", &s->cpu_user_ns}, {"system", &s->cpu_system_ns}};

	*any |= acct >= 0 || cpu >= 0;
	if (acct >= 0) {
		s->has_cpu = read_u64(acct, "cpuacct.usage", &s->cpu_usage_ns);
		if (!read_u64(acct, "cpuacct.usage_user", &s->cpu_user_ns) ||
		    !read_u64(acct, "cpuacct.usage_sys", &s->cpu_system_ns)) {
			uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);

			(void)read_words(acct, "cpuacct.stat", ticks, ARRAY_SIZE(ticks));
			s->cpu_user_ns *= hz ? 1000000000 / hz : 0;
			s->cpu_system_ns *= hz ? 1000000000 / hz : 0;
		}
	}
	if (cpu >= 0)
		(void)read_words(cpu, "cpu.stat", st, ARRAY_SIZE(st));
}

static void v1_memory(const char *path, struct cgroup_stats *s, bool *any)
{
	cleanup_close int d = cgroup_open("memory", path, NULL);
	const struct word st[] = {{"total_rss", &s->memory_rss},
				  {"total_cache", &s->memory_cache},
				  {"total_mapped_file", &s->memory_mapped_file},
				  {"total_inactive_file", &s->memory_inactive_file},
				  {"total_active_file", &s->memory_active_file},
				  {"total_pgfault", &s->page_faults},
				  {"total_pgmajfault", &s->major_page_faults}};
	const struct word oom[] = {{"oom_kill", &s->oom_kills}};
	uint64_t memsw = 0, memsw_limit = 0;

	s->memory_limit = UINT64_MAX;
	if (d < 0)
		return;
	*any = true;
	s->has_memory = read_u64(d, "memory.usage_in_bytes", &s->memory_usage);
	(void)read_u64(d, "memory.limit_in_bytes", &s->memory_limit);
	(void)read_u64(d, "memory.max_usage_in_bytes", &s->memory_max_usage);
	(void)read_u64(d, "memory.failcnt", &s->memory_failcnt);
	(void)read_words(d, "memory.stat", st, ARRAY_SIZE(st));
	(void)read_words(d, "memory.oom_control", oom, ARRAY_SIZE(oom));
	s->has_swap = read_u64(d, "memory.memsw.usage_in_bytes", &memsw);
	(void)read_u64(d, "memory.memsw.limit_in_bytes", &memsw_limit);
	/* v1 counts memory and swap together */
	s->swap_usage = memsw > s->memory_usage ? memsw - s->memory_usage : 0;
	s->swap_limit = memsw_limit >= V1_NO_LIMIT	? UINT64_MAX
			: memsw_limit > s->memory_limit ? memsw_limit - s->memory_limit
							: 0;
}

static int read_v1(const char *path, struct cgroup_stats *s, crio_err *err)
{
	cleanup_close int pids = -1;
	bool any = false;

	v1_cpu(path, s, &any);
	v1_memory(path, s, &any);
	pids = cgroup_open("pids", path, NULL);
	if (pids >= 0) {
		any = true;
		s->has_pids = read_u64(pids, "pids.current", &s->pids);
		(void)read_u64(pids, "pids.max", &s->pids_limit);
	}
	if (!any)
		return err_set(err, CRIO_E_NOT_FOUND, "no cgroup '%s'", path);
	derive(s);
	return 0;
}

int cgroup_stats_read(const char *fs_path, struct cgroup_stats *ret, crio_err *err)
{
	struct cgroup_stats s = {0};
	int r = cgroup_facts()->v2 ? read_v2(fs_path, &s, err) : read_v1(fs_path, &s, err);

	if (!r)
		*ret = s;
	return r;
}
