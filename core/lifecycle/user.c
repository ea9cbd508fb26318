/* user.c: see user.h. */
#include "core/lifecycle/user.h"

#include <fcntl.h>

#include "core/util/fs.h"

#define FILE_MAX (1u << 20)
#define LINE_MAX_ (4u << 10)

void user_release(struct user *u)
{
	free(u->groups);
	free(u->name);
	free(u->home);
	*u = (struct user){0};
}

/* Opens the image's file: regular or nothing. Looked at through an O_PATH descriptor first, so that a FIFO or a device
 * node in its place is never opened. */
static int open_db(int rootfs_fd, const char *path, crio_err *err)
{
	cleanup_close int fd = fs_open_in(rootfs_fd, path, O_PATH, 0, err), real = -1;
	struct stat st, st2;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "stat");
	if (!S_ISREG(st.st_mode))
		return err_set(err, CRIO_E_INVALID, "not a regular file");
	real = fs_open_in(rootfs_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, err);
	if (real < 0)
		return real;
	if (fstat(real, &st2) < 0)
		return err_errno(err, errno, "stat");
	if (st.st_dev != st2.st_dev || st.st_ino != st2.st_ino)
		return err_set(err, CRIO_E_INVALID, "changed while it was opened");
	return move_fd(real);
}

/* The text of an image's file; *ret NULL when there is none. */
static int read_db(int rootfs_fd, const char *path, char **ret, crio_err *err)
{
	cleanup_err crio_err e = ERR_INIT;
	cleanup_close int fd = open_db(rootfs_fd, path, &e);
	int r;

	*ret = NULL;
	if (fd == CRIO_E_NOT_FOUND)
		return 0;
	r = fd < 0 ? err_move(err, &e) : fs_read_fd(fd, FILE_MAX, ret, NULL, err);
	return r < 0 ? err_wrap(err, "read %s of the image", path) : 0;
}

/* Cuts text into lines and those into at most max fields at ':', in place. Returns the count of fields of the next
 * usable line, 0 at the end. Lines that are too long, empty or comments are skipped. */
static size_t next_line(char **at, char **fields, size_t max)
{
	while (*at && **at) {
		char *line = *at, *end = strchr(line, '\n');
		size_t len = end ? (size_t)(end - line) : strlen(line), n = 0;

		*at = end ? end + 1 : line + len;
		if (!len || len > LINE_MAX_ || line[0] == '#')
			continue;
		line[len] = '\0';
		if (line[len - 1] == '\r')
			line[len - 1] = '\0';
		while (line && n < max) {
			fields[n++] = line;
			if (n == max)
				break;
			line = strchr(line, ':');
			if (line)
				*line++ = '\0';
		}
		return n;
	}
	return 0;
}

static bool all_digits(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s);
}

static bool to_id(const char *s, uint32_t *ret)
{
	uint64_t v;

	if (!all_digits(s) || !str_to_u64(s, USER_ID_MAX, &v))
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* passwd: name:x:uid:gid:gecos:home:shell. Looks up by name, or by uid when name is NULL. */
static int find_passwd(char *text, const char *name, uint32_t uid, struct user *u, bool *ret_found)
{
	char *f[7];
	size_t n;
	uint32_t id, gid;

	*ret_found = false;
	while ((n = next_line(&text, f, 7)) > 0) {
		if (n < 4 || !*f[0] || !to_id(f[2], &id) || !to_id(f[3], &gid))
			continue;
		if (name ? !str_eq(name, f[0]) : id != uid)
			continue;
		u->uid = id;
		u->gid = gid;
		free(u->name);
		free(u->home);
		u->name = strdup(f[0]);
		u->home = strdup(n > 5 && str_is_printable(f[5]) ? f[5] : "");
		u->in_passwd = *ret_found = true;
		return u->name && u->home ? 0 : CRIO_E_NOMEM;
	}
	return 0;
}

static bool is_member(char *list, const char *name)
{
	char *save = NULL;

	for (char *m = strtok_r(list, ",", &save); m; m = strtok_r(NULL, ",", &save))
		if (str_eq(m, name))
			return true;
	return false;
}

static int add_group(struct user *u, uint32_t gid, crio_err *err)
{
	uint32_t *p;

	for (size_t i = 0; i < u->n_groups; i++)
		if (u->groups[i] == gid)
			return 0;
	if (u->n_groups >= USER_GROUPS_MAX)
		return err_set(err, CRIO_E_EXHAUSTED,
			       "user '%.64s' is in more than %d groups of the image's /etc/group", u->name,
			       USER_GROUPS_MAX);
	p = realloc(u->groups, (u->n_groups + 1) * sizeof(*p));
	if (!p)
		return err_nomem(err);
	u->groups = p;
	p[u->n_groups++] = gid;
	return 0;
}

/* group: name:x:gid:member,member. Sets u->gid from want (a name) and u->groups from membership of u->name. */
static int scan_groups(char *text, const char *want, bool members, struct user *u, crio_err *err)
{
	bool found = !want;
	char *f[4];
	size_t n;
	uint32_t gid;
	int r;

	while ((n = next_line(&text, f, 4)) > 0) {
		if (n < 3 || !*f[0] || !to_id(f[2], &gid))
			continue;
		if (!found && str_eq(want, f[0])) {
			u->gid = gid;
			found = true;
		}
		if (members && n > 3 && *u->name && is_member(f[3], u->name)) {
			r = add_group(u, gid, err);
			if (r < 0)
				return r;
		}
	}
	return found ? 0 : err_set(err, CRIO_E_INVALID, "no group '%.64s' in the image's /etc/group", want);
}

static int resolve_uid(int rootfs_fd, const char *name, struct user *u, crio_err *err)
{
	cleanup_free char *text = NULL;
	cleanup_err crio_err e = ERR_INIT;
	bool digits = all_digits(name), found;
	int r;

	if (digits && !to_id(name, &u->uid))
		return err_set(err, CRIO_E_INVALID, "uid %.32s is out of range (at most %u)", name, USER_ID_MAX);
	r = read_db(rootfs_fd, "/etc/passwd", &text, &e);
	if (r < 0 && !digits)
		return err_move(err, &e);
	if (find_passwd(text, digits ? NULL : name, u->uid, u, &found) < 0)
		return err_nomem(err);
	if (!found && !digits)
		return err_set(err, CRIO_E_INVALID, "no user '%.64s' in the image's /etc/passwd", name);
	return 0;
}

int user_resolve(int rootfs_fd, const char *user, struct user *ret, crio_err *err)
{
	cleanup_user struct user u = {.name = strdup(""), .home = strdup("")};
	cleanup_free char *spec = strdup(str_set(user) ? user : "0"), *text = NULL;
	cleanup_err crio_err e = ERR_INIT;
	const char *want = NULL;
	char *group;
	bool given;
	int r;

	if (!spec || !u.name || !u.home)
		return err_nomem(err);
	if (!str_is_printable(spec) || strlen(spec) > 512)
		return err_set(err, CRIO_E_INVALID, "the user has control bytes or more than 512 bytes");
	group = strchr(spec, ':');
	if (group)
		*group++ = '\0';
	given = str_set(group);
	r = resolve_uid(rootfs_fd, *spec ? spec : "0", &u, err);
	if (r < 0)
		return r;
	if (given && all_digits(group)) {
		if (!to_id(group, &u.gid))
			return err_set(err, CRIO_E_INVALID, "gid %.32s is out of range (at most %u)", group,
				       USER_ID_MAX);
	} else if (given) {
		want = group;
	}
	r = read_db(rootfs_fd, "/etc/group", &text, &e);
	if (r < 0 && want)
		return err_move(err, &e);
	/* As docker and CRI-O: a group given with the user replaces the groups of the image. */
	r = scan_groups(text, want, !given, &u, err);
	if (r < 0)
		return r;
	*ret = u;
	u = (struct user){0};
	return 0;
}

/* May the file be replaced by one of ours? Upstream leaves alone files that the user could write itself. */
static bool leave_alone(int rootfs_fd, const char *path, uint32_t id, bool by_gid)
{
	cleanup_close int fd = fs_open_in(rootfs_fd, path, O_PATH, 0, NULL);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0 || (st.st_mode & 022))
		return true;
	return id == (by_gid ? st.st_gid : st.st_uid) && (st.st_mode & 0200);
}

static int finish(struct buf *b, char **ret, crio_err *err)
{
	*ret = buf_take(b);
	return *ret ? 0 : err_nomem(err);
}

static void add_text(struct buf *b, const char *text)
{
	buf_adds(b, text);
	if (b->n && b->p[b->n - 1] != '\n')
		buf_addc(b, '\n');
}

int user_make_passwd(int rootfs_fd, const char *user, uint32_t uid, uint32_t gid, const char *home, char **ret,
		     crio_err *err)
{
	cleanup_free char *text = NULL, *copy = NULL;
	cleanup_user struct user u = {0};
	cleanup_buf struct buf b = BUF_INIT;
	size_t len = strcspn(user ? user : "", ":");
	bool found;

	if (home && !str_is_printable(home))
		return err_set(err, CRIO_E_INVALID, "the home directory (HOME) has a newline or another control byte");
	/* It is fine in the environment, but a line of passwd has no way to write it. */
	if (home && strchr(home, ':'))
		home = "/";
	*ret = NULL;
	if (leave_alone(rootfs_fd, "/etc/passwd", uid, false) || read_db(rootfs_fd, "/etc/passwd", &text, NULL) < 0 ||
	    !text)
		return 0;
	copy = strdup(text);
	if (!copy || find_passwd(copy, NULL, uid, &u, &found) < 0)
		return err_nomem(err);
	if (found)
		return 0;
	add_text(&b, text);
	if (!len || len > 64 || !str_is_printable(user)) {
		user = "default";
		len = strlen(user);
	}
	buf_addf(&b, "%.*s:x:%u:%u:%.*s user:%s:/sbin/nologin\n", (int)len, user, uid, gid, (int)len, user,
		 str_set(home) ? home : "/tmp");
	return finish(&b, ret, err);
}

int user_make_group(int rootfs_fd, uint32_t gid, char **ret, crio_err *err)
{
	cleanup_free char *text = NULL, *copy = NULL;
	cleanup_buf struct buf b = BUF_INIT;
	char *at, *f[4];
	uint32_t id;
	size_t n;

	*ret = NULL;
	if (leave_alone(rootfs_fd, "/etc/group", gid, true) || read_db(rootfs_fd, "/etc/group", &text, NULL) < 0 ||
	    !text)
		return 0;
	at = copy = strdup(text);
	if (!copy)
		return err_nomem(err);
	while ((n = next_line(&at, f, 4)) > 0)
		if (n >= 3 && to_id(f[2], &id) && id == gid)
			return 0;
	add_text(&b, text);
	buf_addf(&b, "%u:x:%u:\n", gid, gid);
	return finish(&b, ret, err);
}
