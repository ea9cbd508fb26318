/*
 * nth.c: makes one call of the daemon fail: a library for LD_PRELOAD, steered through a small file that CRASH_NTH names and
 * that is mapped by daemon and test. Classes: allocation, opening a file, writing, pipes and descriptors, new processes and
 * threads. Counted are calls by our own program and plugins and by the C library on their behalf; those of gRPC, which ends
 * the process without memory by design, and of the dynamic linker are left alone.
 *
 * The test arms "the n-th call of class c from now fails with errno e", or, by call site, "the first call from there". A site is a
 * hash over the callers' places in their files, so that it is the same in each run.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/crash/nth.h"

static struct nth *ctl;
static __thread bool inside; /* of this library: its own calls pass */

static void __attribute__((constructor)) start(void)
{
	const char *path = getenv("CRASH_NTH");
	char exe[512];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	/* Programs that the daemon runs, and its own probe of plugins, are not meant. */
	exe[n > 0 ? n : 0] = '\0';
	if (!path || !strstr(exe, "/crio"))
		return;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct nth), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		(void)syscall(SYS_close, fd);
	if (p == MAP_FAILED)
		return;
	void *warm[4];
	inside = true;
	(void)backtrace(warm, 4); /* loads what it needs, once */
	inside = false;
	ctl = p;
}

struct look {
	uintptr_t at;
	const char *name;
	uintptr_t base;
};

static int in_module(struct dl_phdr_info *i, size_t size, void *arg)
{
	struct look *l = arg;
	(void)size;
	for (int k = 0; k < i->dlpi_phnum; k++) {
		const ElfW(Phdr) *p = &i->dlpi_phdr[k];
		if (p->p_type == PT_LOAD && l->at >= i->dlpi_addr + p->p_vaddr && l->at < i->dlpi_addr + p->p_vaddr + p->p_memsz) {
			l->name = i->dlpi_name;
			l->base = i->dlpi_addr;
			return 1;
		}
	}
	return 0;
}

static bool foreign(const char *name)
{
	static const char *const no[] = { "libgrpc", "libabsl", "libgpr", "libupb", "libstdc++", "ld-linux", "libcares", "libaddress_sorting",
					  "libre2", "libcurl", "libcrypto", "libssl", "libnghttp", "libgnutls", "libp11", "libgcc", "libltdl" };
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		if (strstr(name, no[i]))
			return true;
	return false;
}

/* Is this a call that counts? Its site. */
static bool site_of(uint64_t *ret)
{
	void *at[12];
	int n = backtrace(at, 12);
	uint64_t h = 1469598103934665603u;
	bool first = true, from_libc = false;
	for (int i = 0, told = 0; i < n && told < 8; i++) {
		struct look l = { (uintptr_t)at[i] - 1, NULL, 0 };
		if (!dl_iterate_phdr(in_module, &l))
			break;
		if (!told && strstr(l.name, "nth.so")) /* this file's own, as many as the compiler has made */
			continue;
		told++;
		bool libc = strstr(l.name, "libc.so") != NULL, json = strstr(l.name, "libjson-c") != NULL;
		if (json && told > 1 && from_libc)
			return false; /* its parser does not check the strdup of a member's name, and ends in a fault */
		from_libc = libc;
		if (first && !libc && !json) {
			if (foreign(l.name))
				return false;
			first = false;
		}
		const char *base = strrchr(l.name, '/');
		for (const char *c = base ? base : l.name; *c; c++)
			h = (h ^ (unsigned char)*c) * 1099511628211u;
		h = (h ^ (l.at - l.base)) * 1099511628211u;
	}
	*ret = h | 1;
	return !first;
}

static void note_site(uint64_t site, int class)
{
	uint32_t slot = (uint32_t)(site % NTH_SITES);
	for (uint32_t i = 0; i < NTH_SITES; i++, slot = (slot + 1) % NTH_SITES) {
		uint64_t none = 0;
		if (atomic_compare_exchange_strong(&ctl->sites[slot].hash, &none, site)) {
			ctl->sites[slot].class = class;
			return;
		}
		if (none == site)
			return;
	}
}

/* True: this call fails; errno is set. */
static bool __attribute__((noinline)) fails(int class)
{
	if (!ctl || inside || !atomic_load(&ctl->armed) || !(atomic_load(&ctl->classes) & 1u << class))
		return false;
	int saved = errno;
	uint64_t site = 0;
	bool hit = false;
	inside = true;
	if (site_of(&site)) {
		if (ctl->record)
			note_site(site, class);
		uint32_t n = atomic_fetch_add(&ctl->count, 1) + 1;
		if (ctl->site ? ctl->site == site : ctl->nth && n == ctl->nth)
			hit = atomic_fetch_add(&ctl->fired, 1) < 1;
		if (hit) { /* into the daemon's log: where it was */
			void *at[16];
			backtrace_symbols_fd(at, backtrace(at, 16), 2);
		}
	}
	inside = false;
	errno = hit ? ctl->error : saved;
	return hit;
}

#define REAL(type, name, ...)                                            \
	static type (*real)(__VA_ARGS__);                                \
	if (!real)                                                       \
		real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

void *malloc(size_t n)
{
	return fails(NTH_ALLOC) ? NULL : __libc_malloc(n);
}

void *calloc(size_t a, size_t b)
{
	return fails(NTH_ALLOC) ? NULL : __libc_calloc(a, b);
}

void *realloc(void *p, size_t n)
{
	return fails(NTH_ALLOC) ? NULL : __libc_realloc(p, n);
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(ap, int) : 0;
}

static int open_or_fail(int dir, const char *path, int flags, mode_t mode)
{
	return fails(NTH_OPEN) ? -1 : (int)syscall(SYS_openat, dir, path, flags, mode);
}

/* The function of that name: its arguments but the mode, and where it opens. */
#define OPEN(name, dir, ...)                               \
	int name(__VA_ARGS__, int flags, ...)              \
	{                                                  \
		va_list ap;                                \
		va_start(ap, flags);                       \
		mode_t mode = mode_of(flags, ap);          \
		va_end(ap);                                \
		return open_or_fail(dir, path, flags, mode); \
	}
OPEN(open, AT_FDCWD, const char *path)
OPEN(open64, AT_FDCWD, const char *path)
OPEN(openat, dir, int dir, const char *path)
OPEN(openat64, dir, int dir, const char *path)
/* What _FORTIFY_SOURCE makes of them. */
int __open_2(const char *path, int flags)
{
	return open_or_fail(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char *path, int flags)
{
	return open_or_fail(AT_FDCWD, path, flags, 0);
}
int __openat_2(int dir, const char *path, int flags)
{
	return fails(NTH_OPEN) ? -1 : (int)syscall(SYS_openat, dir, path, flags, 0);
}
int __openat64_2(int dir, const char *path, int flags)
{
	return fails(NTH_OPEN) ? -1 : (int)syscall(SYS_openat, dir, path, flags, 0);
}

ssize_t write(int fd, const void *p, size_t n)
{
	return fails(NTH_WRITE) ? -1 : (ssize_t)syscall(SYS_write, fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	return fails(NTH_WRITE) ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	return fails(NTH_WRITE) ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, p, n, at);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
	return fails(NTH_WRITE) ? -1 : (int)syscall(SYS_mkdirat, dir, path, mode);
}

int mkdir(const char *path, mode_t mode)
{
	return fails(NTH_WRITE) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int renameat(int a, const char *from, int b, const char *to)
{
	return fails(NTH_WRITE) ? -1 : (int)syscall(SYS_renameat2, a, from, b, to, 0);
}

int rename(const char *from, const char *to)
{
	return fails(NTH_WRITE) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int fsync(int fd)
{
	return fails(NTH_WRITE) ? -1 : (int)syscall(SYS_fsync, fd);
}

int pipe2(int fds[2], int flags)
{
	return fails(NTH_PIPE) ? -1 : (int)syscall(SYS_pipe2, fds, flags);
}

int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	REAL(int, "clone", int (*)(void *), void *, int, void *, ...);
	va_list ap;
	va_start(ap, arg);
	pid_t *ptid = va_arg(ap, pid_t *);
	va_end(ap);
	if (fails(NTH_SPAWN))
		return -1;
	bool was = inside;
	inside = true; /* for the child too, which shares our memory until it runs its program */
	int pid = real(fn, stack, flags, arg, ptid, NULL, NULL);
	inside = was;
	return pid;
}

int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
	REAL(int, "pthread_create", pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	return fails(NTH_SPAWN) ? ctl->error : real(t, a, fn, arg);
}
