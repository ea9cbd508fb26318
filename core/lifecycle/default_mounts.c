/*
 * default_mounts.c: what the node gives every container besides its own mounts: the lines "host:container" of mounts.conf. Each
 * is copied below the container's run directory, so that no container sees another's changes or can change the node's files.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/lifecycle/mounts.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define CONF_MAX (1u << 20)
#define LINES_MAX 256
#define FILE_MAX (16u << 20)
#define DEPTH_MAX 16 /* links are followed: one that leads up would never end */
#define FILES_MAX 10000

struct copy {
	size_t files;
	uid_t uid; /* who gets it */
	gid_t gid;
};

static int copy_tree(struct copy *k, const char *from, const char *to, int depth, crio_err *err);

static int copy_file(const char *from, const char *to, mode_t mode, crio_err *err)
{
	cleanup_free char *text = NULL;
	size_t n = 0;
	int r = fs_read_file(AT_FDCWD, from, FILE_MAX, &text, &n, err);
	return r < 0 ? r : fs_write_path(to, text, n, mode & 0777, FS_RUN, err);
}

static int copy_dir(struct copy *k, const char *from, const char *to, mode_t mode, int depth, crio_err *err)
{
	if (depth > DEPTH_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "%s: more than %d directories deep", from, DEPTH_MAX);
	cleanup_closedir DIR *d = opendir(from);
	if (!d)
		return err_errno(err, errno, "open %s", from);
	if (mkdir(to, mode & 0777) < 0 && errno != EEXIST)
		return err_errno(err, errno, "make directory %s", to);
	const struct dirent *e;
	while ((e = readdir(d))) {
		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		cleanup_free char *a = path_fmt("%s/%s", from, e->d_name), *b = path_fmt("%s/%s", to, e->d_name);
		if (!a || !b)
			return err_nomem(err);
		int r = copy_tree(k, a, b, depth + 1, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Links are followed, dangling ones left out, as are devices, pipes and sockets. */
static int copy_tree(struct copy *k, const char *from, const char *to, int depth, crio_err *err)
{
	struct stat st;
	if (stat(from, &st) < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "look at %s", from);
	if (++k->files > FILES_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %d files", FILES_MAX);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return 0;
	int r = S_ISDIR(st.st_mode) ? copy_dir(k, from, to, st.st_mode, depth, err) : copy_file(from, to, st.st_mode, err);
	if (r == 0 && (k->uid || k->gid) && lchown(to, k->uid, k->gid) < 0)
		return err_errno(err, errno, "give %s to root of the user namespace", to);
	return r;
}

/* "host:container" or a path that is both. */
static int one_line(char *line, size_t i, const char *run_dir, uid_t uid, gid_t gid, struct kvs *ret, crio_err *err)
{
	char *colon = strchr(line, ':');
	const char *dest = line;
	struct copy k = { .uid = uid, .gid = gid };
	struct stat st;
	if (colon) {
		*colon = '\0';
		dest = colon + 1;
	}
	if (stat(line, &st) < 0) {
		if (errno == ENOENT)
			return 0;
		return err_errno(err, errno, "look at %s", line);
	}
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(err, CRIO_E_INVALID, "unsupported file type for: \"%s\"", line);
	cleanup_free char *clean = NULL, *dir = path_fmt("%s/default-mounts", run_dir), *copy = path_fmt("%s/default-mounts/%zu", run_dir, i);
	if (!dir || !copy)
		return err_nomem(err);
	int r = mount_clean_path(dest, &clean, err);
	if (r == 0)
		r = fs_mkdir_p(dir, 0755, err);
	if (r == 0)
		r = copy_tree(&k, line, copy, 0, err);
	if (r == 0 && kvs_set(ret, clean, copy) < 0)
		return err_nomem(err);
	return r;
}

int default_mounts(const char *conf, const char *run_dir, uid_t uid, gid_t gid, struct kvs *ret, crio_err *err)
{
	static const char *const places[] = { "/etc/containers/mounts.conf", "/usr/share/containers/mounts.conf" };
	cleanup_free char *text = NULL;
	cleanup_strv struct strv lines = STRV_INIT;
	for (size_t i = 0; !*conf && i < ARRAY_SIZE(places); i++)
		if (access(places[i], F_OK) == 0)
			conf = places[i];
	if (!*conf || access(conf, F_OK) < 0)
		return 0;
	int r = fs_read_file(AT_FDCWD, conf, CONF_MAX, &text, NULL, err);
	if (r < 0)
		return err_wrap(err, "default mounts");
	if (str_split(text, '\n', &lines) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < lines.n && i < LINES_MAX; i++) {
		char *s = lines.v[i] + strspn(lines.v[i], " \t");
		cleanup_err crio_err why = ERR_INIT;
		s[strcspn(s, "\r")] = '\0';
		/* A line that does not work costs what it names, not the container. */
		r = *s == '/' ? one_line(s, i, run_dir, uid, gid, ret, &why) : 0;
		if (r == CRIO_E_NOMEM)
			return err_move(err, &why);
		if (r < 0)
			log_warn("Failed to mount subscriptions, skipping entry in %s: %s", conf, err_text(&why));
	}
	return 0;
}
