/* signal.c: names of signals, and the start time that tells a process from a later one of the same pid. */
#include <signal.h>

#include "core/lifecycle/inner.h"
#include "core/util/fs.h"

int signal_parse(const char *name, int *ret)
{
	int64_t n;
	if (str_to_i64(name, 1, 64, &n)) {
		*ret = (int)n;
		return 0;
	}
	const char *s = strncasecmp(name, "SIG", 3) == 0 ? name + 3 : name;
	int64_t off = 0;
	if (strncasecmp(s, "RTMIN", 5) == 0 && (!s[5] || (s[5] == '+' && str_to_i64(s + 6, 0, 30, &off)))) {
		*ret = 34 + (int)off; /* the kernel's real-time range as libc leaves it to programs */
		return 0;
	}
	if (strncasecmp(s, "RTMAX", 5) == 0 && (!s[5] || (s[5] == '-' && str_to_i64(s + 6, 0, 30, &off)))) {
		*ret = 64 - (int)off;
		return 0;
	}
	for (int i = 1; i < 32; i++) {
		const char *abbrev = sigabbrev_np(i);
		if (abbrev && strcasecmp(abbrev, s) == 0) {
			*ret = i;
			return 0;
		}
	}
	return CRIO_E_INVALID;
}

const char *signal_name(int sig, char buf[24])
{
	const char *abbrev = sig < 32 ? sigabbrev_np(sig) : NULL;
	if (abbrev)
		(void)snprintf(buf, 24, "SIG%s", abbrev);
	else
		(void)snprintf(buf, 24, "SIGRTMIN+%d", sig - 34);
	return buf;
}

uint64_t process_start_time(pid_t pid)
{
	char path[64], text[1024];
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (pid <= 0 || fs_read_small(-1, path, text, sizeof(text), NULL) <= 0)
		return 0;
	/* The command may hold anything, spaces and parentheses too: fields are counted from its last ')'. */
	char *p = strrchr(text, ')');
	for (int field = 2; p && field < 22; field++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	uint64_t v = 0;
	if (!p)
		return 0;
	p[strcspn(p, " ")] = '\0';
	return str_to_u64(p, UINT64_MAX, &v) ? v : 0;
}
