/* nth.h: what the test and the library in the daemon (nth.c) share. */
#ifndef TESTS_CRASH_NTH_H
#define TESTS_CRASH_NTH_H

#include <stdatomic.h>
#include <stdint.h>

enum { NTH_ALLOC, NTH_OPEN, NTH_WRITE, NTH_PIPE, NTH_SPAWN };
#define NTH_SITES 16384

struct nth {
	_Atomic uint32_t armed;
	_Atomic uint32_t classes; /* bits */
	uint32_t nth;             /* 0: none */
	int32_t error;            /* errno */
	uint64_t site;            /* 0: by number */
	uint32_t record;          /* note the sites of all that counts */
	_Atomic uint32_t count, fired;
	struct {
		_Atomic uint64_t hash;
		int32_t class;
	} sites[NTH_SITES];
};

#endif
