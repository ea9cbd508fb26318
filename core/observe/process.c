/* process.c: see process.h. */
#include "core/observe/process.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "core/util/fs.h"

/* What is behind the name of a process in its stat, the name's closing parenthesis first: "S 1 2 ...". NULL: nothing. */
static char *read_stat(int proc, const char *pid, char *buf, size_t n)
{
	char path[64];
	(void)snprintf(path, sizeof(path), "%s/stat", pid);
	if (fs_read_small(proc, path, buf, n, NULL) <= 0)
		return NULL;
	char *end = strrchr(buf, ')');
	return end && end[1] == ' ' ? end + 2 : NULL;
}

uint64_t process_defunct(const char *proc)
{
	cleanup_closedir DIR *d = opendir(proc);
	struct dirent *e;
	uint64_t n = 0;
	while (d && (e = readdir(d))) {
		char text[512];
		if (*e->d_name < '1' || *e->d_name > '9' || strlen(e->d_name) > 20)
			continue;
		const char *s = read_stat(dirfd(d), e->d_name, text, sizeof(text));
		n += s && *s == 'Z';
	}
	return n;
}

static uint64_t count_fds(void)
{
	cleanup_closedir DIR *d = opendir("/proc/self/fd");
	uint64_t n = 0;
	while (d && readdir(d))
		n++;
	return n > 3 ? n - 3 : 0; /* ".", ".." and our own */
}

/* Since 1970, of the kernel's start. */
static double boot_time(void)
{
	char text[64];
	double up = 0;
	if (fs_read_small(-1, "/proc/uptime", text, sizeof(text), NULL) <= 0 || (up = strtod(text, NULL)) <= 0)
		return 0;
	return (double)now_real_ns() / 1e9 - up;
}

void process_look(struct process_figures *ret)
{
	char text[1024], *at = read_stat(-1, "/proc/self", text, sizeof(text)), *save = NULL;
	double tick = (double)sysconf(_SC_CLK_TCK);
	struct rlimit lim;
	*ret = (struct process_figures){ .open_fds = count_fds() };
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0)
		ret->max_fds = lim.rlim_cur;
	if (tick <= 0)
		return;
	/* The state is field 3 of proc(5). */
	int field = 3;
	for (char *w = at ? strtok_r(at, " ", &save) : NULL; w; w = strtok_r(NULL, " ", &save), field++) {
		uint64_t v = 0;
		if (!str_to_u64(w, UINT64_MAX, &v))
			continue;
		if (field == 14 || field == 15)
			ret->cpu_s += (double)v / tick;
		else if (field == 20)
			ret->threads = v;
		else if (field == 22 && boot_time() > 0)
			ret->start_s = boot_time() + (double)v / tick;
		else if (field == 23)
			ret->virtual_bytes = v;
		else if (field == 24)
			ret->resident_bytes = v * (uint64_t)sysconf(_SC_PAGESIZE);
	}
}
