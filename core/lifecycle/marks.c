/* marks.c: see marks.h. */
#include "core/lifecycle/marks.h"

#include <fcntl.h>

#include "core/util/fs.h"
#include "core/util/log.h"

#define VERSION_MAX 256

void boot_id_get(char ret[BOOT_ID_SIZE])
{
	if (fs_read_small(-1, "/proc/sys/kernel/random/boot_id", ret, BOOT_ID_SIZE, NULL) <= 0)
		ret[0] = '\0';
}

static bool parse(const char *s, unsigned *major, unsigned *minor)
{
	char after;
	return sscanf(s, "%5u.%5u%c", major, minor, &after) == 3 && after == '.';
}

/* Is there no such file, or is it of another version than ours? The patch level does not count. */
static bool is_other_version(const char *path)
{
	char text[VERSION_MAX];
	unsigned v[2], own[2];
	if (!*path)
		return false;
	if (fs_read_small(-1, path, text, sizeof(text), NULL) <= 0) {
		log_info("There is no version file %s", path);
		return true;
	}
	if (*text != '"' || !parse(text + 1, &v[0], &v[1]) || !parse(PACKAGE_VERSION, &own[0], &own[1])) {
		log_warn("Version file %s does not have a version in it", path);
		return true;
	}
	return v[0] != own[0] || v[1] != own[1];
}

/* "<clean_shutdown_file>.supported": a daemon that leaves the other one has run. */
static char *supported(const struct conf *conf)
{
	return path_fmt("%s.supported", conf->crio.clean_shutdown_file);
}

void marks_read(const struct conf *conf, struct marks *ret)
{
	const char *clean = conf->crio.clean_shutdown_file;
	cleanup_free char *sup = supported(conf);
	ret->upgraded = is_other_version(conf->crio.version_file_persist);
	ret->rebooted = is_other_version(conf->crio.version_file);
	ret->unclean = *clean && sup && access(sup, F_OK) == 0 && access(clean, F_OK) < 0;
}

static int make_parent(const char *path, crio_err *err)
{
	cleanup_free char *dir = strdup(path);
	if (!dir)
		return err_nomem(err);
	*strrchr(dir, '/') = '\0'; /* conf has seen to it that the path is absolute */
	return *dir ? fs_mkdir_p(dir, 0755, err) : 0;
}

static int write_mark(const char *path, const char *text, enum fs_durability d, crio_err *err)
{
	int r = make_parent(path, err);
	return r < 0 ? r : fs_write_path(path, text, strlen(text), 0644, d, err);
}

int marks_begin(const struct conf *conf, crio_err *err)
{
	const char *clean = conf->crio.clean_shutdown_file;
	if (!*clean)
		return 0;
	cleanup_free char *sup = supported(conf);
	if (!sup)
		return err_nomem(err);
	int r = make_parent(clean, err);
	if (r == 0)
		r = fs_unlink(clean, err);
	/* Kept: with it the removal of the other is on the disk too. */
	return r < 0 ? r : write_mark(sup, "", FS_KEEP, err);
}

int marks_versions(const struct conf *conf, crio_err *err)
{
	const char *text = "\"" PACKAGE_VERSION "\"";
	int r = 0;
	if (*conf->crio.version_file)
		r = write_mark(conf->crio.version_file, text, FS_RUN, err);
	if (r == 0 && *conf->crio.version_file_persist)
		r = write_mark(conf->crio.version_file_persist, text, FS_KEEP, err);
	return r < 0 ? err_wrap(err, "write the version file") : 0;
}

int marks_end(const struct conf *conf, crio_err *err)
{
	if (!*conf->crio.clean_shutdown_file)
		return 0;
	cleanup_close int root = open(conf->crio.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root >= 0 && syncfs(root) < 0)
		return err_errno(err, errno, "sync %s", conf->crio.root);
	return write_mark(conf->crio.clean_shutdown_file, "", FS_KEEP, err);
}
