/*
 * replay.c: runs a fuzz target over its kept inputs, so that `make check` repeats what fuzzing found. The corpus of
 * fuzz_NAME is tests/fuzz/corpus/NAME; each input is also cut short at every length up to 64 bytes.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int replay(const char *path)
{
	static uint8_t data[1 << 20];
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f)
		return -1;
	n = fread(data, 1, sizeof(data), f);
	(void)fclose(f);
	for (size_t k = 0; k <= (n < 64 ? n : 64); k++) {
		/* A block of its own size, so that a sanitizer sees a read past it. */
		uint8_t *p = malloc(k ? k : 1);

		if (!p)
			return -1;
		memcpy(p, data, k);
		(void)LLVMFuzzerTestOneInput(p, k);
		free(p);
	}
	(void)LLVMFuzzerTestOneInput(data, n);
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/'), *src = getenv("srcdir");
	char dir[4096], path[8192];
	struct dirent *e;
	unsigned int count = 0;
	DIR *d;

	for (int i = 1; i < argc; i++)
		count += replay(argv[i]) == 0;
	if (argc > 1)
		return count == (unsigned int)argc - 1 ? 0 : 1;
	name = name ? name + 1 : argv[0];
	if (!strncmp(name, "lt-", 3))
		name += 3;
	if (!strncmp(name, "replay_", 7))
		name += 7;
	(void)snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", src ? src : "..", name);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		count += replay(path) == 0;
	}
	if (d)
		(void)closedir(d);
	printf("%s: %u inputs\n", name, count);
	return count ? 0 : 1;
}
