/* tar_num.h: the fields of a tar header and of pax records, parsed strictly. */
#ifndef UNPACK_TAR_NUM_H
#define UNPACK_TAR_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Octal, or base-256 when the top bit is set, in n bytes. False: neither, or beyond 64 bits. "" is 0. */
bool tar_number(const unsigned char *p, size_t n, int64_t *ret);
/* The sum over the block is the one in its field, with bytes taken as unsigned or (old writers) signed. */
bool tar_checksum_ok(const unsigned char *block);
bool tar_block_is_zero(const unsigned char *block);
/* "-12.345" to seconds and nanoseconds (0..999999999). */
bool tar_pax_time(const char *s, int64_t *ret_sec, uint32_t *ret_ns);
bool tar_pax_int(const char *s, int64_t *ret);

#endif
