/*
 * cgroup_stats.h: what a control group has used, of v1 and v2 in the same terms. A reader keeps the files of a group that is asked
 * about often open: opening one of them costs far more than reading it.
 */
#ifndef LIFECYCLE_CGROUP_STATS_H
#define LIFECYCLE_CGROUP_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/util/err.h"

/* Which files are read. */
enum cgroup_what {
	CGROUP_BASIC = 1 << 0, /* CPU time; memory, swap and their limits; pressure */
	CGROUP_PIDS = 1 << 1,
	CGROUP_MORE = 1 << 2   /* what only the metrics show; fills `more` */
};
#define CGROUP_ALL (CGROUP_BASIC | CGROUP_PIDS | CGROUP_MORE)

/* Pressure stall information: time in which some, or all, of the group's tasks waited. */
struct cgroup_psi {
	uint64_t total_us;
	double avg10, avg60, avg300; /* per cent */
};
struct cgroup_pressure {
	bool has;
	struct cgroup_psi some, full;
};

enum cgroup_io_op { IO_READ, IO_WRITE, IO_SYNC, IO_ASYNC, IO_DISCARD, IO_TOTAL, IO_OPS };
extern const char *const cgroup_io_names[IO_OPS]; /* "read", ... */
struct cgroup_io { /* one block device */
	uint32_t major, minor;
	uint64_t bytes[IO_OPS], times[IO_OPS];
	unsigned has_bytes, has_times; /* bit (1 << op) */
};
struct cgroup_huge {
	char size[16]; /* "2MB" */
	uint64_t usage, max_usage;
};
#define CGROUP_CPUS_MAX 4096u
#define CGROUP_IO_MAX 256u
#define CGROUP_HUGE_MAX 8u
struct cgroup_more {
	uint64_t *cpu_ns; /* of each CPU, v1 only */
	size_t n_cpus;
	struct cgroup_io *io;
	size_t n_io;
	struct cgroup_huge huge[CGROUP_HUGE_MAX];
	size_t n_huge;
};

struct cgroup_stats {
	uint64_t cpu_usage_ns;
	uint64_t memory_usage, memory_limit; /* limit UINT64_MAX: none */
	uint64_t memory_rss, memory_cache, memory_mapped_file, memory_inactive_file;
	uint64_t memory_working_set; /* usage less inactive file pages */
	uint64_t memory_available;   /* limit less working set; 0 without limit */
	uint64_t page_faults, major_page_faults;
	uint64_t swap_usage, swap_limit; /* limit UINT64_MAX: none */
	struct cgroup_pressure cpu_pressure, memory_pressure, io_pressure; /* v2 only */
	bool has_cpu, has_memory, has_swap;
	/* CGROUP_PIDS */
	uint64_t pids, pids_limit; /* limit 0: none */
	bool has_pids;
	/* CGROUP_MORE */
	uint64_t cpu_user_ns, cpu_system_ns, throttled_periods, periods, throttled_ns;
	uint64_t memory_max_usage, memory_kernel, memory_failcnt, oom_kills;
	struct cgroup_more *more; /* NULL without CGROUP_MORE */
};
void cgroup_stats_release(struct cgroup_stats *s);

struct cgroup_reader;
/* fs_path: below the cgroup root, of a group that need not exist yet. One reference; NULL without memory. */
struct cgroup_reader *cgroup_reader_new(const char *fs_path);
struct cgroup_reader *cgroup_reader_ref(struct cgroup_reader *r);
void cgroup_reader_unref(struct cgroup_reader *r); /* closes its files with the last; NULL is fine */
/* What is missing (a controller, a file) leaves its has_* false; no group at all is NOT_FOUND. Thread-safe; holds no lock. Files
 * stay open from the second read within two minutes on, within a limit for all readers together. */
int cgroup_reader_read(struct cgroup_reader *r, unsigned what, struct cgroup_stats *ret, crio_err *err);
/* Once, without keeping anything. */
int cgroup_stats_read(const char *fs_path, unsigned what, struct cgroup_stats *ret, crio_err *err);

#endif
