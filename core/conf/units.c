/* units.c: durations, sizes and CPU lists as Go programs write them. */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <strings.h>

#include "core/conf/keys.h"

#define NS_US ((int64_t)1000)
#define NS_MS ((int64_t)1000000)
#define NS_S ((int64_t)1000000000)

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit time_units[] = {
	{ "ns", 1 }, { "us", NS_US }, { "\xc2\xb5s", NS_US }, { "\xce\xbcs", NS_US }, { "ms", NS_MS },
	{ "s", NS_S }, { "m", 60 * NS_S }, { "h", 3600 * NS_S },
};

/* Digits with an optional fraction, scaled. */
static bool scaled(const char **s, int64_t factor, size_t digits, int64_t *ret)
{
	int64_t v = 0, f = 0, scale = 1;
	size_t i = 0;

	for (; i < digits && (*s)[i] != '.'; i++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (*s)[i] - '0', &v))
			return false;
	if (i < digits)
		i++;
	for (; i < digits; i++) {
		if (scale > INT64_MAX / 10 / 10)
			continue; /* beyond what a nanosecond can show */
		f = f * 10 + ((*s)[i] - '0');
		scale *= 10;
	}
	if (__builtin_mul_overflow(v, factor, &v))
		return false;
	return !__builtin_add_overflow(v, (int64_t)((long double)f * (long double)factor / (long double)scale), ret);
}

bool duration_parse(const char *s, int64_t *ret_ns)
{
	bool neg = *s == '-';
	int64_t total = 0;

	if (*s == '-' || *s == '+')
		s++;
	if (!strcmp(s, "0")) {
		*ret_ns = 0;
		return true;
	}
	if (!*s)
		return false;
	while (*s) {
		size_t digits = strspn(s, "0123456789"), len;
		const struct unit *u = NULL;
		int64_t part;

		if (s[digits] == '.') {
			len = strspn(s + digits + 1, "0123456789");
			digits = digits + len ? digits + 1 + len : 0;
		}
		if (!digits)
			return false;
		len = strcspn(s + digits, "0123456789.");
		for (size_t i = 0; i < ARRAY_SIZE(time_units); i++)
			if (strlen(time_units[i].name) == len && !strncmp(time_units[i].name, s + digits, len))
				u = &time_units[i];
		if (!u || !scaled(&s, u->factor, digits, &part) || __builtin_add_overflow(total, part, &total))
			return false;
		s += digits + len;
	}
	*ret_ns = neg ? -total : total;
	return true;
}

/* "1.5" and so on: whole units and a fraction of `unit` nanoseconds, without trailing zeros. */
static void decimal(uint64_t v, uint32_t unit, char ret[40])
{
	uint32_t frac = (uint32_t)(v % unit), digits = 0;

	for (uint32_t u = unit; u > 1; u /= 10)
		digits++;
	for (; digits && frac % 10 == 0; digits--)
		frac /= 10;
	if (digits)
		(void)snprintf(ret, 40, "%" PRIu64 ".%0*" PRIu32, v / unit, (int)digits, frac);
	else
		(void)snprintf(ret, 40, "%" PRIu64, v / unit);
}

void duration_format(int64_t ns, char ret[DURATION_LEN])
{
	const uint64_t second = NS_S, u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	const char *sign = ns < 0 ? "-" : "";
	char text[40];

	if (u && u < second) {
		uint32_t unit = u < 1000 ? 1 : u < 1000000 ? 1000 : 1000000;
		decimal(u, unit, text);
		(void)snprintf(ret, DURATION_LEN, "%s%s%s", sign, text, unit == 1 ? "ns" : unit == 1000 ? "us" : "ms");
		return;
	}
	decimal(u % (60 * second), 1000000000, text);
	if (u >= 3600 * second)
		(void)snprintf(ret, DURATION_LEN, "%s%" PRIu64 "h%" PRIu64 "m%ss", sign, u / (3600 * second),
			       u / (60 * second) % 60, text);
	else if (u >= 60 * second)
		(void)snprintf(ret, DURATION_LEN, "%s%" PRIu64 "m%ss", sign, u / (60 * second), text);
	else
		(void)snprintf(ret, DURATION_LEN, "%s%ss", sign, text);
}

bool size_parse(const char *s, int64_t *ret_bytes)
{
	static const char letters[] = "bkmgtp";
	size_t digits = strspn(s, "0123456789.");
	const char *suffix = s + digits, *unit;
	long double factor = 1, v;
	char num[32], *end;

	if (!digits || digits >= sizeof num)
		return false;
	(void)snprintf(num, sizeof num, "%.*s", (int)digits, s);
	v = strtold(num, &end);
	if (*end)
		return false;
	suffix += strspn(suffix, " ");
	if (*suffix) {
		unit = strchr(letters, tolower((unsigned char)*suffix));
		if (!unit || !*unit)
			return false;
		for (ptrdiff_t i = 0; i < unit - letters; i++)
			factor *= 1024;
		suffix++;
		if (unit != letters && tolower((unsigned char)*suffix) == 'i')
			suffix++;
		if (unit != letters && tolower((unsigned char)*suffix) == 'b')
			suffix++;
		if (*suffix)
			return false;
	}
	v *= factor;
	if (v > 9.0e18L)
		return false;
	*ret_bytes = (int64_t)v;
	return true;
}

bool cpulist_valid(const char *s)
{
	while (*s) {
		char *end;
		unsigned long a, b;

		if (!isdigit((unsigned char)*s))
			return false;
		a = b = strtoul(s, &end, 10);
		if (*end == '-') {
			if (!isdigit((unsigned char)end[1]))
				return false;
			b = strtoul(end + 1, &end, 10);
		}
		if (b < a || b > 1u << 20)
			return false;
		if (*end == ',') {
			if (!end[1])
				return false;
			end++;
		} else if (*end) {
			return false;
		}
		s = end;
	}
	return true;
}
