/* fuzz_spdy.c: a client's SPDY, into the codec and the channels over it. */
#include <stdint.h>

#include "tests/fuzz/fuzz_mux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 2)
		return 0;
	fuzz_mux(MUX_SPDY, data[0] ? data[0] : n, data + 1, n - 1);
	return 0;
}
