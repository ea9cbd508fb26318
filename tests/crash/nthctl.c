/*
 * nthctl.c: steers nth.so through its file: nthctl FILE COMMAND
 *	new            makes the file
 *	record CLASSES notes call sites from now on; off stops everything; sites prints "class hash" of each
 *	nth CLASSES N ERRNO | site CLASSES HASH ERRNO   arms
 *	state          prints "count fired"
 * CLASSES: letters of a(lloc) o(pen) w(rite) p(ipe) s(pawn).
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/crash/nth.h"

static const char letters[] = "aowps";

static uint32_t classes(const char *s)
{
	uint32_t r = 0;
	for (; *s; s++)
		if (strchr(letters, *s))
			r |= 1u << (strchr(letters, *s) - letters);
	return r;
}

static void arm(struct nth *c, const char *which, uint32_t nth, uint64_t site, int error, uint32_t record)
{
	atomic_store(&c->armed, 0);
	atomic_store(&c->classes, classes(which));
	c->nth = nth;
	c->site = site;
	c->error = error;
	c->record = record;
	atomic_store(&c->count, 0);
	atomic_store(&c->fired, 0);
	atomic_store(&c->armed, 1);
}

int main(int argc, char **argv)
{
	int fd = argc < 3 ? -1 : open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || (!strcmp(argv[2], "new") && ftruncate(fd, 0) < 0) || ftruncate(fd, sizeof(struct nth)) < 0)
		return 2;
	struct nth *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c == MAP_FAILED)
		return 2;
	const char *what = argv[2];
	if (!strcmp(what, "record") && argc == 4) {
		arm(c, argv[3], 0, 0, 0, 1);
	} else if (!strcmp(what, "nth") && argc == 6) {
		arm(c, argv[3], (uint32_t)strtoul(argv[4], NULL, 10), 0, (int)strtol(argv[5], NULL, 10), 0);
	} else if (!strcmp(what, "site") && argc == 6) {
		arm(c, argv[3], 0, strtoull(argv[4], NULL, 16), (int)strtol(argv[5], NULL, 10), 0);
	} else if (!strcmp(what, "off")) {
		atomic_store(&c->armed, 0);
	} else if (!strcmp(what, "state")) {
		printf("%u %u\n", atomic_load(&c->count), atomic_load(&c->fired));
	} else if (!strcmp(what, "sites")) {
		for (int i = 0; i < NTH_SITES; i++)
			if (c->sites[i].hash)
				printf("%c %llx\n", letters[c->sites[i].class], (unsigned long long)c->sites[i].hash);
	} else if (strcmp(what, "new")) {
		return 64;
	}
	return 0;
}
