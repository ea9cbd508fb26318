/* layers.c: see layers.h. */
#include "plugins/storage/common/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int layers_code(int errnum)
{
	switch (errnum) {
	case ENOENT:
		return CRIO_E_NOT_FOUND;
	case EEXIST:
		return CRIO_E_EXISTS;
	case ENOSPC:
	case EDQUOT:
		return CRIO_E_NOSPACE;
	case EACCES:
	case EPERM:
	case EROFS:
		return CRIO_E_DENIED;
	default:
		return CRIO_E_IO;
	}
}

int layers_fail_errno(const struct layers *l, crio_err *err, const char *what, const char *name)
{
	int e = errno;
	return l->host->fail(err, layers_code(e), "%s %s/%s: %s", what, l->home ? l->home : "", name, strerror(e));
}

int layers_is_id(const char *s)
{
	size_t n = strspn(s, "0123456789abcdef");
	return n == 64 && !s[n];
}

int layers_check_open(const struct layers *l, crio_err *err)
{
	return l->fd >= 0 ? 0 : l->host->fail(err, CRIO_E_PRECONDITION, "store_open comes first");
}

int layers_check_id(const struct layers *l, const char *id, crio_err *err)
{
	int r = layers_check_open(l, err);
	return r < 0 || layers_is_id(id) ? r : l->host->fail(err, CRIO_E_INVALID, "layer id '%.80s'", id);
}

int layers_check_ids(const struct layers *l, const char *id, const char *parent, crio_err *err)
{
	int r = layers_check_id(l, id, err);
	return !r && *parent ? layers_check_id(l, parent, err) : r;
}

int layers_check_there(const struct layers *l, const char *id, crio_err *err)
{
	int r = layers_check_id(l, id, err);
	if (!r && !layers_exists(l->fd, id))
		r = l->host->fail(err, CRIO_E_NOT_FOUND, "layer %s in %s", id, l->home);
	return r;
}

int layers_check_kernel(const struct layers *l, const char *fs, crio_err *err)
{
	char line[128];
	int found = 0;
	/* Opening a file system context loads the module when there is one, and makes nothing. */
	int fd = (int)syscall(SYS_fsopen, fs, 1u /* FSOPEN_CLOEXEC */);
	if (fd >= 0) {
		(void)close(fd);
		return 0;
	}
	FILE *f = fopen("/proc/filesystems", "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		const char *name = strrchr(line, '\t');
		line[strcspn(line, "\n")] = '\0';
		found = name && !strcmp(name + 1, fs);
	}
	if (f)
		(void)fclose(f);
	return found
		   ? 0
		   : l->host->fail(err, CRIO_E_UNSUPPORTED, "this kernel has no file system %s (modprobe %s)", fs, fs);
}

int layers_exists(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

DIR *layers_dir(int dir, const char *sub)
{
	int fd = openat(dir, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d && fd >= 0)
		(void)close(fd);
	return d;
}

int layers_list(const struct layers *l, crio_call *call, const char *where, struct crio_storage_strs_out *out,
		crio_err *err)
{
	size_t n = 0, cap = 0;
	const char **v = NULL;

	int r = layers_check_open(l, err);
	/* Twice: memory of the call cannot grow. */
	for (int pass = 0; !r && pass < 2; pass++) {
		DIR *d = layers_dir(l->fd, ".");
		if (!d)
			return layers_fail_errno(l, err, "read", where);
		for (struct dirent *e; (e = readdir(d));) {
			if (!layers_is_id(e->d_name))
				continue;
			if (!pass)
				cap++;
			else if (n < cap && !(v[n++] = l->host->strdup(call, e->d_name)))
				r = l->host->fail(err, CRIO_E_NOMEM, "out of memory");
		}
		(void)closedir(d);
		if (!pass && !(v = l->host->alloc(call, (cap + 1) * sizeof(*v))))
			r = l->host->fail(err, CRIO_E_NOMEM, "out of memory");
	}
	if (!r)
		out->v = (struct crio_strs){v, n};
	return r;
}

int layers_row(const struct layers *l, crio_call *call, const char *type, const char *source, struct crio_strs options,
	       struct crio_storage_mounts_out *out, crio_err *err)
{
	struct crio_mount_row *row = l->host->alloc(call, sizeof(*row));
	if (!row || !source)
		return l->host->fail(err, CRIO_E_NOMEM, "out of memory");
	*row = (struct crio_mount_row){
	    .size = sizeof(*row), .type = type, .source = source, .target = "", .options = options};
	out->rows = (struct crio_mount_rows){.v = row, .n = 1, .stride = sizeof(*row)};
	return 0;
}
