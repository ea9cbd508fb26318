/* elf.c: a plugin file must hold all that its headers promise: mapping a truncated one ends in SIGBUS, not in an error. */
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/plugin/inner.h"
#include "core/util/fs.h"

#define PHDRS_MAX 64

#if __SIZEOF_POINTER__ == 8
typedef Elf64_Ehdr ehdr_t;
typedef Elf64_Phdr phdr_t;
#define CLASS_HERE ELFCLASS64
#else
typedef Elf32_Ehdr ehdr_t;
typedef Elf32_Phdr phdr_t;
#define CLASS_HERE ELFCLASS32
#endif

int elf_check(const char *path, crio_err *err)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_errno(err, errno, "open %s", path);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "stat %s", path);
	ehdr_t h;
	if (pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
		return err_set(err, CRIO_E_CORRUPT, "%s is not an ELF file", path);
	if (h.e_ident[EI_CLASS] != CLASS_HERE || h.e_type != ET_DYN)
		return err_set(err, CRIO_E_CORRUPT, "%s is not a shared object for this machine", path);
	if (h.e_phentsize != sizeof(phdr_t) || h.e_phnum == 0 || h.e_phnum > PHDRS_MAX)
		return err_set(err, CRIO_E_CORRUPT, "%s has unusable program headers", path);
	phdr_t ph[PHDRS_MAX];
	size_t n = h.e_phnum * sizeof(ph[0]);
	if (h.e_phoff > (uint64_t)st.st_size || pread(fd, ph, n, (off_t)h.e_phoff) != (ssize_t)n)
		return err_set(err, CRIO_E_CORRUPT, "%s is truncated: its program headers end beyond the file", path);
	for (size_t i = 0; i < h.e_phnum; i++) {
		if (ph[i].p_offset > (uint64_t)st.st_size || ph[i].p_filesz > (uint64_t)st.st_size - ph[i].p_offset)
			return err_set(err, CRIO_E_CORRUPT, "%s is truncated: segment %zu needs %llu bytes, the file has %lld", path, i,
				       (unsigned long long)(ph[i].p_offset + ph[i].p_filesz), (long long)st.st_size);
	}
	return 0;
}
