#include "core/unpack/tar_num.h"

#include <string.h>

#include "core/unpack/tar.h"
#include "core/unpack/tar_header.h"

static bool base256(const unsigned char *p, size_t n, int64_t *ret)
{
	/* Two's complement; bit 6 of the first byte is the sign. The top bit only marks the form. */
	unsigned char inv = p[0] & 0x40 ? 0xff : 0x00;
	uint64_t x = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = p[i] ^ inv;

		if (!i)
			c &= 0x7f;
		if (x >> 56)
			return false;
		x = x << 8 | c;
	}
	if (x >> 63)
		return false;
	*ret = inv ? (int64_t)~x : (int64_t)x;
	return true;
}

bool tar_number(const unsigned char *p, size_t n, int64_t *ret)
{
	uint64_t x = 0;

	if (n && p[0] & 0x80)
		return base256(p, n, ret);
	while (n && (*p == ' ' || !*p)) {
		p++;
		n--;
	}
	while (n && (p[n - 1] == ' ' || !p[n - 1]))
		n--;
	for (size_t i = 0; i < n && p[i]; i++) {
		if (p[i] < '0' || p[i] > '7' || x >> 60)
			return false;
		x = x << 3 | (unsigned int)(p[i] - '0');
	}
	*ret = (int64_t)x;
	return true;
}

bool tar_checksum_ok(const unsigned char *block)
{
	int64_t want, u = 0, s = 0;

	if (!tar_number(block + TAR_AT_SUM, TAR_SUM_LEN, &want))
		return false;
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		unsigned char c = i >= TAR_AT_SUM && i < TAR_AT_SUM + TAR_SUM_LEN ? ' ' : block[i];

		u += c;
		s += (signed char)c;
	}
	return want == u || want == s;
}

bool tar_block_is_zero(const unsigned char *block)
{
	static const unsigned char zero[TAR_BLOCK];

	return !memcmp(block, zero, TAR_BLOCK);
}

bool tar_pax_int(const char *s, int64_t *ret)
{
	if (*s == '+' && s[1] != '-')
		s++;
	return str_to_i64(s, INT64_MIN, INT64_MAX, ret);
}

bool tar_pax_time(const char *s, int64_t *ret_sec, uint32_t *ret_ns)
{
	const char *dot = strchr(s, '.');
	size_t n = dot ? (size_t)(dot - s) : strlen(s);
	char whole[24];
	int64_t sec;
	uint32_t ns = 0, digits = 0;

	if (!n || n >= sizeof(whole))
		return false;
	memcpy(whole, s, n);
	whole[n] = '\0';
	if (!tar_pax_int(whole, &sec))
		return false;
	for (const char *p = dot ? dot + 1 : ""; *p; p++) {
		if (*p < '0' || *p > '9')
			return false;
		if (digits < 9) {
			ns = ns * 10 + (uint32_t)(*p - '0');
			digits++;
		}
	}
	for (; digits < 9; digits++)
		ns *= 10;
	if (*s == '-' && ns) {
		if (sec == INT64_MIN)
			return false;
		sec--;
		ns = 1000000000 - ns;
	}
	*ret_sec = sec;
	*ret_ns = ns;
	return true;
}
