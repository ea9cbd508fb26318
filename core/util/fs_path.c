/* fs_path.c: path text and time. */
#include "core/util/fs.h"

#include <stdarg.h>
#include <time.h>

char *path_fmt(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : s;
}

bool path_is_name(const char *s)
{
	return *s && strcmp(s, ".") && strcmp(s, "..") && !strchr(s, '/') && strlen(s) <= 255;
}

bool path_is_clean_abs(const char *s)
{
	if (*s != '/')
		return false;
	while (*s) {
		while (*s == '/')
			s++;
		size_t n = strcspn(s, "/");
		if (n == 2 && s[0] == '.' && s[1] == '.')
			return false;
		s += n;
	}
	return true;
}

static int64_t clock_ns(clockid_t c)
{
	struct timespec ts;
	(void)clock_gettime(c, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t now_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t now_real_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

void time_format(int64_t real_ns, char ret[40])
{
	time_t s = (time_t)(real_ns / 1000000000);
	long ns = (long)(real_ns % 1000000000);
	if (ns < 0) {
		ns += 1000000000;
		s--;
	}
	struct tm tm;
	(void)gmtime_r(&s, &tm);
	size_t n = strftime(ret, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(ret + n, 40 - n, ".%09ldZ", ns);
}

bool time_parse(const char *s, int64_t *ret_real_ns)
{
	struct tm tm;
	memset(&tm, 0, sizeof(tm));
	const char *p = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!p)
		return false;
	int64_t ns = 0;
	if (*p == '.') {
		int64_t unit = 100000000;
		for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
			ns += (*p - '0') * unit;
	}
	int64_t off = 0;
	if (*p == '+' || *p == '-') {
		int h, m;
		char colon;
		if (sscanf(p + 1, "%2d%c%2d", &h, &colon, &m) != 3 || colon != ':')
			return false;
		off = (h * 3600 + m * 60) * (*p == '-' ? -1 : 1);
	} else if (*p != 'Z' && *p != 'z') {
		return false;
	}
	int64_t secs = (int64_t)timegm(&tm) - off;
	if (secs > INT64_MAX / 1000000000 - 1 || secs < INT64_MIN / 1000000000 + 1) /* before 1677 or after 2262 */
		return false;
	*ret_real_ns = secs * 1000000000 + ns;
	return true;
}
