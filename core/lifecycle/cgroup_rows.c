/* cgroup_rows.c: see cgroup_rows.h. Each text is gone through once. */
#include "core/lifecycle/cgroup_rows.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/util/str.h"

#define V1_NO_LIMIT (UINT64_C(1) << 60) /* v1 says "none" as the largest multiple of the page size */
#define AT(field) offsetof(struct cgroup_stats, field)

const char *const cgroup_io_names[IO_OPS] = {"read", "write", "sync", "async", "discard", "total"};

static uint64_t *number_at(struct cgroup_stats *s, size_t to)
{
	return (uint64_t *)(void *)((char *)s + to);
}

/* A number at the start of p. */
static bool number(const char *p, uint64_t *ret, char **end)
{
	if (*p < '0' || *p > '9')
		return false;
	*ret = strtoull(p, end, 10);
	return true;
}

static bool take_number(const struct cgroup_row *row, char *text, struct cgroup_stats *s)
{
	uint64_t v = UINT64_MAX;
	char *end;

	if (strncmp(text, "max", 3) != 0 && !number(text, &v, &end))
		return false;
	*number_at(s, row->to) = v;
	if (row->has)
		*(bool *)(void *)((char *)s + row->has) = true;
	return true;
}

/* A limit of a group further in: the lower one counts. */
static bool take_least(const struct cgroup_row *row, char *text, struct cgroup_stats *s)
{
	uint64_t v = UINT64_MAX, *to = number_at(s, row->to);
	char *end;

	if (strncmp(text, "max", 3) != 0 && !number(text, &v, &end))
		return false;
	if (v < *to || (!*to && v != UINT64_MAX)) /* pids have 0 for "not read" */
		*to = v;
	return true;
}

static void take_word(const struct cgroup_row *row, const char *line, size_t key_n, struct cgroup_stats *s)
{
	for (size_t i = 0; i < row->n_words; i++) {
		const struct cgroup_word *w = &row->words[i];
		uint64_t v;
		char *end;

		if (strncmp(w->key, line, key_n) != 0 || w->key[key_n])
			continue;
		if (number(line + key_n + 1, &v, &end))
			*number_at(s, w->to) = w->times ? v * w->times : v;
		return;
	}
}

static bool take_words(const struct cgroup_row *row, char *text, struct cgroup_stats *s)
{
	for (char *l = text, *end; *l; l = *end ? end + 1 : end) {
		char *space;

		end = strchrnul(l, '\n');
		space = memchr(l, ' ', (size_t)(end - l));
		if (space)
			take_word(row, l, (size_t)(space - l), s);
	}
	if (row->has)
		*(bool *)(void *)((char *)s + row->has) = true;
	return true;
}

/* Clock ticks, of v1. */
static bool take_ticks(const struct cgroup_row *row, char *text, struct cgroup_stats *s)
{
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);

	(void)take_words(row, text, s);
	s->cpu_user_ns *= hz ? 1000000000 / hz : 0;
	s->cpu_system_ns *= hz ? 1000000000 / hz : 0;
	return true;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and "full ..." */
static bool take_pressure(const struct cgroup_row *row, char *text, struct cgroup_stats *s)
{
	struct cgroup_pressure *p = (struct cgroup_pressure *)(void *)((char *)s + row->to);

	for (char *l = text, *end; *l; l = *end ? end + 1 : end) {
		struct cgroup_psi *v = !strncmp(l, "some ", 5) ? &p->some : !strncmp(l, "full ", 5) ? &p->full : NULL;
		char *at;

		end = strchrnul(l, '\n');
		if (!v)
			continue;
		/* The numbers are the kernel's and the locale is C: one of these cannot run into the next line. */
		if ((at = strstr(l, "avg10=")) && at < end)
			v->avg10 = strtod(at + 6, NULL);
		if ((at = strstr(l, "avg60=")) && at < end)
			v->avg60 = strtod(at + 6, NULL);
		if ((at = strstr(l, "avg300=")) && at < end)
			v->avg300 = strtod(at + 7, NULL);
		if ((at = strstr(l, "total=")) && at < end)
			v->total_us = strtoull(at + 6, NULL, 10);
		p->has = true;
	}
	return p->has;
}

/* ---- what only the metrics show ---- */

static bool take_cpus(const struct cgroup_row *row, char *text, struct cgroup_stats *s)
{
	uint64_t *v = calloc(CGROUP_CPUS_MAX, sizeof(*v)), x;
	size_t n = 0;

	(void)row;
	if (!v)
		return false;
	for (char *p = text; n < CGROUP_CPUS_MAX && number(p, &x, &p); p += strspn(p, " \n"))
		v[n++] = x;
	s->more->cpu_ns = v;
	s->more->n_cpus = n;
	return true;
}

/* The device of a line "8:0 ...", NULL: it names none or there is no room. *ret_rest is after the device. */
static struct cgroup_io *device(struct cgroup_more *m, char *line, char **ret_rest)
{
	uint64_t major, minor;
	char *p;

	if (!number(line, &major, &p) || *p != ':' || !number(p + 1, &minor, &p) || *p != ' ')
		return NULL;
	*ret_rest = p + 1;
	for (size_t i = 0; i < m->n_io; i++)
		if (m->io[i].major == major && m->io[i].minor == minor)
			return &m->io[i];
	if (!m->io)
		m->io = calloc(CGROUP_IO_MAX, sizeof(*m->io));
	if (!m->io || m->n_io == CGROUP_IO_MAX)
		return NULL;
	m->io[m->n_io].major = (uint32_t)major;
	m->io[m->n_io].minor = (uint32_t)minor;
	return &m->io[m->n_io++];
}

/* Not over what an earlier file has said: bfq's figures come before those of the throttling layer. */
static void put_io(struct cgroup_io *io, bool bytes, enum cgroup_io_op op, uint64_t v)
{
	unsigned *has = bytes ? &io->has_bytes : &io->has_times;

	if (*has & (1u << op))
		return;
	*has |= 1u << op;
	(bytes ? io->bytes : io->times)[op] = v;
}

/* "8:0 Read 123"; the last line is a sum without a device. row->to: bytes, else times. */
static bool take_io_v1(const struct cgroup_row *row, char *text, struct cgroup_stats *s)
{
	for (char *l = text, *end; *l; l = *end ? end + 1 : end) {
		char *op = NULL, *v;
		struct cgroup_io *io;
		uint64_t x;

		end = strchrnul(l, '\n');
		io = device(s->more, l, &op);
		v = io ? memchr(op, ' ', (size_t)(end - op)) : NULL;
		for (int i = 0; v && i < IO_OPS; i++)
			if (!strncasecmp(op, cgroup_io_names[i], (size_t)(v - op)) && !cgroup_io_names[i][v - op] &&
			    number(v + 1, &x, &op))
				put_io(io, row->to != 0, (enum cgroup_io_op)i, x);
	}
	return true;
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6" */
static bool take_io_v2(const struct cgroup_row *row, char *text, struct cgroup_stats *s)
{
	static const struct {
		const char *key;
		bool bytes;
		enum cgroup_io_op op;
	} keys[] = {{"rbytes=", true, IO_READ}, {"wbytes=", true, IO_WRITE}, {"dbytes=", true, IO_DISCARD},
		    {"rios=", false, IO_READ},	{"wios=", false, IO_WRITE},  {"dios=", false, IO_DISCARD}};

	(void)row;
	for (char *l = text, *end; *l; l = *end ? end + 1 : end) {
		char *p = NULL, *rest;
		struct cgroup_io *io;
		uint64_t x;

		end = strchrnul(l, '\n');
		io = device(s->more, l, &p);
		for (; io && p < end; p += strcspn(p, " \n"), p += *p == ' ')
			for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
				if (str_starts(p, keys[i].key) && number(p + strlen(keys[i].key), &x, &rest))
					put_io(io, keys[i].bytes, keys[i].op, x);
	}
	return true;
}

/* Of a group further in, whose quota is the one that holds processes back. */
static bool take_throttling(const struct cgroup_row *row, char *text, struct cgroup_stats *s)
{
	struct cgroup_stats inner = {0};

	if (!take_words(row, text, &inner))
		return false;
	if (inner.periods > s->periods) {
		s->periods = inner.periods;
		s->throttled_periods = inner.throttled_periods;
		s->throttled_ns = inner.throttled_ns;
	}
	return true;
}

/* ---- the tables ---- */

#define NUMBER(controller, file, what, to, has) {controller, file, what, take_number, NULL, 0, to, has}
#define WORDS(controller, file, what, words, has) {controller, file, what, take_words, words, ARRAY_SIZE(words), 0, has}
#define LEAST(file, what, to) {"", file, what, take_least, NULL, 0, to, 0}
#define PRESSURE(file, to) {"", file, CGROUP_BASIC, take_pressure, NULL, 0, to, 0}

static const struct cgroup_word v2_cpu[] = {{"usage_usec", AT(cpu_usage_ns), 1000},
					    {"user_usec", AT(cpu_user_ns), 1000},
					    {"system_usec", AT(cpu_system_ns), 1000},
					    {"nr_periods", AT(periods), 0},
					    {"nr_throttled", AT(throttled_periods), 0},
					    {"throttled_usec", AT(throttled_ns), 1000}};
static const struct cgroup_word v2_throttling[] = {
    {"nr_periods", AT(periods), 0}, {"nr_throttled", AT(throttled_periods), 0}, {"throttled_usec", AT(throttled_ns), 1000}};
static const struct cgroup_word v2_memory[] = {
    {"anon", AT(memory_rss), 0},	{"file", AT(memory_cache), 0},
    {"kernel", AT(memory_kernel), 0},	{"file_mapped", AT(memory_mapped_file), 0},
    {"inactive_file", AT(memory_inactive_file), 0}, {"pgfault", AT(page_faults), 0},
    {"pgmajfault", AT(major_page_faults), 0}};
static const struct cgroup_word v2_events[] = {{"oom_kill", AT(oom_kills), 0}, {"max", AT(memory_failcnt), 0}};
static const struct cgroup_row v2_rows[] = {
    WORDS("", "cpu.stat", CGROUP_BASIC, v2_cpu, AT(has_cpu)),
    NUMBER("", "memory.current", CGROUP_BASIC, AT(memory_usage), AT(has_memory)),
    NUMBER("", "memory.max", CGROUP_BASIC, AT(memory_limit), 0),
    WORDS("", "memory.stat", CGROUP_BASIC, v2_memory, 0),
    NUMBER("", "memory.swap.current", CGROUP_BASIC, AT(swap_usage), AT(has_swap)),
    NUMBER("", "memory.swap.max", CGROUP_BASIC, AT(swap_limit), 0),
    PRESSURE("cpu.pressure", AT(cpu_pressure)),
    PRESSURE("memory.pressure", AT(memory_pressure)),
    PRESSURE("io.pressure", AT(io_pressure)),
    NUMBER("", "pids.current", CGROUP_PIDS, AT(pids), AT(has_pids)),
    NUMBER("", "pids.max", CGROUP_MORE, AT(pids_limit), 0),
    NUMBER("", "memory.peak", CGROUP_MORE, AT(memory_max_usage), 0),
    WORDS("", "memory.events", CGROUP_MORE, v2_events, 0),
    {"", "io.stat", CGROUP_MORE, take_io_v2, NULL, 0, 0, 0},
    /* In a scope of systemd's crun makes a group of its own, and sets the limits there. What is used counts for the scope, too. */
    LEAST("container/memory.max", CGROUP_BASIC, AT(memory_limit)),
    LEAST("container/memory.swap.max", CGROUP_BASIC, AT(swap_limit)),
    LEAST("container/pids.max", CGROUP_MORE, AT(pids_limit)),
    {"", "container/cpu.stat", CGROUP_MORE, take_throttling, v2_throttling, ARRAY_SIZE(v2_throttling), 0, 0},
};

static const struct cgroup_word v1_cpu[] = {
    {"nr_periods", AT(periods), 0}, {"nr_throttled", AT(throttled_periods), 0}, {"throttled_time", AT(throttled_ns), 0}};
static const struct cgroup_word v1_ticks[] = {{"user", AT(cpu_user_ns), 0}, {"system", AT(cpu_system_ns), 0}};
static const struct cgroup_word v1_memory[] = {
    {"total_rss", AT(memory_rss), 0},	       {"total_cache", AT(memory_cache), 0},
    {"total_mapped_file", AT(memory_mapped_file), 0}, {"total_inactive_file", AT(memory_inactive_file), 0},
    {"total_pgfault", AT(page_faults), 0},     {"total_pgmajfault", AT(major_page_faults), 0}};
static const struct cgroup_word v1_oom[] = {{"oom_kill", AT(oom_kills), 0}};
static const struct cgroup_row v1_rows[] = {
    NUMBER("cpuacct", "cpuacct.usage", CGROUP_BASIC, AT(cpu_usage_ns), AT(has_cpu)),
    NUMBER("memory", "memory.usage_in_bytes", CGROUP_BASIC, AT(memory_usage), AT(has_memory)),
    NUMBER("memory", "memory.limit_in_bytes", CGROUP_BASIC, AT(memory_limit), 0),
    WORDS("memory", "memory.stat", CGROUP_BASIC, v1_memory, 0),
    /* Memory and swap together; cgroup_derive takes them apart. */
    NUMBER("memory", "memory.memsw.usage_in_bytes", CGROUP_BASIC, AT(swap_usage), AT(has_swap)),
    NUMBER("memory", "memory.memsw.limit_in_bytes", CGROUP_BASIC, AT(swap_limit), 0),
    NUMBER("pids", "pids.current", CGROUP_PIDS, AT(pids), AT(has_pids)),
    NUMBER("pids", "pids.max", CGROUP_MORE, AT(pids_limit), 0),
    {"cpuacct", "cpuacct.stat", CGROUP_MORE, take_ticks, v1_ticks, ARRAY_SIZE(v1_ticks), 0, 0},
    {"cpuacct", "cpuacct.usage_percpu", CGROUP_MORE, take_cpus, NULL, 0, 0, 0},
    WORDS("cpu", "cpu.stat", CGROUP_MORE, v1_cpu, 0),
    NUMBER("memory", "memory.max_usage_in_bytes", CGROUP_MORE, AT(memory_max_usage), 0),
    NUMBER("memory", "memory.kmem.usage_in_bytes", CGROUP_MORE, AT(memory_kernel), 0),
    NUMBER("memory", "memory.failcnt", CGROUP_MORE, AT(memory_failcnt), 0),
    WORDS("memory", "memory.oom_control", CGROUP_MORE, v1_oom, 0),
    {"blkio", "blkio.bfq.io_service_bytes_recursive", CGROUP_MORE, take_io_v1, NULL, 0, 1, 0},
    {"blkio", "blkio.bfq.io_serviced_recursive", CGROUP_MORE, take_io_v1, NULL, 0, 0, 0},
    {"blkio", "blkio.throttle.io_service_bytes_recursive", CGROUP_MORE, take_io_v1, NULL, 0, 1, 0},
    {"blkio", "blkio.throttle.io_serviced_recursive", CGROUP_MORE, take_io_v1, NULL, 0, 0, 0},
};

_Static_assert(ARRAY_SIZE(v1_rows) <= CGROUP_ROWS_MAX && ARRAY_SIZE(v2_rows) <= CGROUP_ROWS_MAX, "CGROUP_ROWS_MAX is too small");

const struct cgroup_row *cgroup_rows(bool v2, size_t *ret_n)
{
	*ret_n = v2 ? ARRAY_SIZE(v2_rows) : ARRAY_SIZE(v1_rows);
	return v2 ? v2_rows : v1_rows;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

void cgroup_derive(bool v2, struct cgroup_stats *s)
{
	if (!v2) {
		uint64_t memory = s->memory_limit;

		s->swap_usage = less(s->swap_usage, s->memory_usage);
		s->swap_limit = s->swap_limit >= V1_NO_LIMIT ? UINT64_MAX : less(s->swap_limit, memory);
		if (s->memory_limit >= V1_NO_LIMIT)
			s->memory_limit = UINT64_MAX;
	}
	s->memory_working_set = less(s->memory_usage, s->memory_inactive_file);
	s->memory_available = s->memory_limit == UINT64_MAX ? 0 : less(s->memory_limit, s->memory_working_set);
	if (s->pids_limit == UINT64_MAX)
		s->pids_limit = 0;
}
