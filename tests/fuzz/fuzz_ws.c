/* fuzz_ws.c: a client's WebSocket frames, into wslay, our glue, and the channels over them. */
#include <stdint.h>

#include "tests/fuzz/fuzz_mux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const enum mux_kind kinds[] = { MUX_WS, MUX_WS_BASE64, MUX_WS_CLOSES, MUX_TUNNEL };

	if (n < 3)
		return 0;
	fuzz_mux(kinds[data[1] % 4], data[0] ? data[0] : n, data + 2, n - 2);
	return 0;
}
