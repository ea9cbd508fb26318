/* fuzz_decompress.c: compressed bytes. The first byte is the size of reads. */
#include <stdint.h>
#include <string.h>

#include "core/unpack/decompress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct input {
	const uint8_t *p;
	size_t n, step;
};

static ssize_t input_read(void *arg, void *p, size_t n, crio_err *err)
{
	struct input *in = arg;

	(void)err;
	if (n > in->step)
		n = in->step;
	if (n > in->n)
		n = in->n;
	memcpy(p, in->p, n);
	in->p += n;
	in->n -= n;
	return (ssize_t)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char out[70000];
	struct decompress *d = NULL;
	size_t total = 0;
	ssize_t r;

	if (!n)
		return 0;
	struct input in = {data + 1, n - 1, data[0] ? data[0] : 100000};
	struct source src = {input_read, &in};

	if (decompress_new(src, 20, &d, NULL))
		return 0;
	while ((r = decompress_read(d, out, data[0] & 1 ? 777 : sizeof(out), NULL)) > 0) {
		total += (size_t)r;
		if (total > 8u << 20)
			break;
	}
	/* The end is told only when all input was taken. */
	if (!r && in.n)
		abort();
	decompress_free(d);
	return 0;
}
