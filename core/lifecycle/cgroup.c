/* cgroup.c: paths and groups; cgroup_stats.c reads the numbers. See cgroup.h. */
#include "core/lifecycle/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "core/lifecycle/cgroup_tree.h"
#include "core/util/fs.h"

#define PATH_MAX_DEPTH 64

static struct cgroup_facts facts;
static struct cgroup_tree tree = {.root = "/sys/fs/cgroup"};
static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static bool ready; /* facts and tree are filled and do not change; guarded by init_lock */

static bool is_fs(const char *path, unsigned long magic)
{
	struct statfs s;

	return statfs(path, &s) == 0 && (unsigned long)s.f_type == magic;
}

static bool exists(const char *name)
{
	char p[512];

	(void)snprintf(p, sizeof(p), "%s/%s", tree.root, name);
	return access(p, F_OK) == 0;
}

/* v1: the directories below the root that are a hierarchy each; links (cpu -> cpu,cpuacct) are not counted twice. */
static void find_controllers(bool real)
{
	cleanup_closedir DIR *d = opendir(tree.root);
	struct dirent *e;
	struct stat st;
	char p[512];

	tree.n = 0;
	while (d && (e = readdir(d)) && tree.n < ARRAY_SIZE(tree.name)) {
		if (e->d_name[0] == '.' || strlen(e->d_name) >= sizeof(tree.name[0]))
			continue;
		(void)snprintf(p, sizeof(p), "%s/%s", tree.root, e->d_name);
		if (lstat(p, &st) < 0 || !S_ISDIR(st.st_mode) || (real && !is_fs(p, CGROUP_SUPER_MAGIC)))
			continue;
		(void)memcpy(tree.name[tree.n++], e->d_name, strlen(e->d_name) + 1);
	}
}

static void read_facts(bool real, bool v2)
{
	char t[256];

	facts = (struct cgroup_facts){.v2 = real ? is_fs(tree.root, CGROUP2_SUPER_MAGIC) : v2};
	if (facts.v2) {
		tree.n = 0;
		if (fs_read_small(AT_FDCWD, real ? "/sys/fs/cgroup/cgroup.controllers" : "/dev/null", t, sizeof(t),
				  NULL) > 0) {
			facts.has_pids = strstr(t, "pids") != NULL;
			facts.has_hugetlb = strstr(t, "hugetlb") != NULL;
		}
		/* Swap accounting has a file in each group but the root: our own tells. */
		facts.has_memory_swap = access("/proc/swaps", F_OK) == 0 &&
					(exists("system.slice/memory.swap.max") ||
					 exists("init.scope/memory.swap.max") || exists("memory.swap.max"));
		return;
	}
	find_controllers(real);
	facts.has_pids = exists("pids");
	facts.has_hugetlb = exists("hugetlb");
	facts.has_memory_swap = exists("memory/memory.memsw.limit_in_bytes");
}

static void need_facts(void)
{
	cleanup_unlock pthread_mutex_t *l = lock(&init_lock);

	if (!ready)
		read_facts(true, false);
	ready = true;
}

const struct cgroup_facts *cgroup_facts(void)
{
	need_facts();
	return &facts;
}

const struct cgroup_tree *cgroup_tree(void)
{
	need_facts();
	return &tree;
}

void cgroup_set_root_for_test(const char *root, bool v2)
{
	cleanup_unlock pthread_mutex_t *l = lock(&init_lock);

	(void)snprintf(tree.root, sizeof(tree.root), "%s", root ? root : "/sys/fs/cgroup");
	read_facts(!root, v2);
	ready = true;
}

/* ---- paths ---- */

static bool good_path(const char *s)
{
	char part[256];
	const char *end;
	int depth = 0;

	if (!str_is_printable(s) || strlen(s) > 2048 || strchr(s, ':'))
		return false;
	for (; *s; s = *end ? end + 1 : end) {
		end = strchrnul(s, '/');
		if (end == s)
			continue;
		if ((size_t)(end - s) >= sizeof(part) || ++depth > PATH_MAX_DEPTH)
			return false;
		(void)memcpy(part, s, (size_t)(end - s));
		part[end - s] = '\0';
		if (str_eq(part, ".") || str_eq(part, ".."))
			return false;
	}
	return true;
}

/* "/a//b/" to "/a/b". */
static char *clean(const char *s)
{
	struct buf b = BUF_INIT;
	const char *end;

	for (; *s; s = *end ? end + 1 : end) {
		end = strchrnul(s, '/');
		if (end == s)
			continue;
		buf_addc(&b, '/');
		buf_add(&b, s, (size_t)(end - s));
	}
	if (!b.n)
		buf_addc(&b, '/');
	return buf_take(&b);
}

static const char *base_of(const char *s)
{
	const char *p = strrchr(s, '/');

	return p ? p + 1 : s;
}

int cgroup_parent_check(bool systemd, const char *parent, char **ret, crio_err *err)
{
	cleanup_free char *c = NULL;
	const char *base;

	if (!str_set(parent))
		parent = systemd ? "system.slice" : "/crio";
	if (!good_path(parent))
		return err_set(err, CRIO_E_INVALID,
			       "cgroup parent '%.256s' has a '..', ':' or control byte, or is too long", parent);
	c = clean(parent);
	if (!c)
		return err_nomem(err);
	base = base_of(c);
	if (!systemd) {
		if (str_ends(base, ".slice"))
			return err_set(err, CRIO_E_INVALID,
				       "cri-o configured with cgroupfs cgroup manager, but received systemd slice as "
				       "parent: %s",
				       parent);
		*ret = move_ptr(c);
		return 0;
	}
	if (!str_ends(base, ".slice") || str_eq(base, ".slice") || strstr(base, "--") ||
	    (base[0] == '-' && !str_eq(base, "-.slice")))
		return err_set(err, CRIO_E_INVALID,
			       "cri-o configured with systemd cgroup manager, but did not receive slice as parent: %s",
			       parent);
	*ret = strdup(base);
	return *ret ? 0 : err_nomem(err);
}

/* "a-b-c.slice" to "/a.slice/a-b.slice/a-b-c.slice"; "-.slice" to "". */
static int expand_slice(const char *slice, struct buf *b)
{
	size_t n = strlen(slice) - strlen(".slice");

	if (str_eq(slice, "-.slice"))
		return 0;
	for (size_t i = 1; i <= n; i++)
		if (i == n || slice[i] == '-')
			buf_addf(b, "/%.*s.slice", (int)i, slice);
	return buf_bad(b) ? CRIO_E_NOMEM : 0;
}

int cgroup_oci_path(bool systemd, const char *parent, const char *id, char **ret, crio_err *err)
{
	cleanup_free char *p = NULL;
	int r = cgroup_parent_check(systemd, parent, &p, err);

	if (r < 0)
		return r;
	*ret = systemd ? path_fmt("%s:crio:%s", p, id) : path_fmt("%s/crio-%s", str_eq(p, "/") ? "" : p, id);
	return *ret ? 0 : err_nomem(err);
}

int cgroup_parent_fs_path(bool systemd, const char *parent, char **ret, crio_err *err)
{
	cleanup_free char *p = NULL;
	cleanup_buf struct buf b = BUF_INIT;
	int r = cgroup_parent_check(systemd, parent, &p, err);

	if (r < 0)
		return r;
	if (!systemd) {
		*ret = move_ptr(p);
		return 0;
	}
	if (expand_slice(p, &b) < 0)
		return err_nomem(err);
	*ret = buf_take(&b);
	return *ret ? 0 : err_nomem(err);
}

int cgroup_fs_path(bool systemd, const char *parent, const char *id, char **ret, crio_err *err)
{
	cleanup_free char *p = NULL;
	int r = cgroup_parent_fs_path(systemd, parent, &p, err);

	if (r < 0)
		return r;
	*ret = path_fmt("%s/crio-%s%s", str_eq(p, "/") ? "" : p, id, systemd ? ".scope" : "");
	return *ret ? 0 : err_nomem(err);
}

/* ---- groups ---- */

/* An O_PATH descriptor of a hierarchy's root; controller "" is v2's. */
static int open_root(const char *controller, crio_err *err)
{
	char p[512];
	int fd;

	(void)snprintf(p, sizeof(p), "%s/%s", tree.root, controller);
	fd = open(p, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : err_errno(err, errno, "open %s", p);
}

static const char *rel(const char *fs_path)
{
	while (*fs_path == '/')
		fs_path++;
	return *fs_path ? fs_path : ".";
}

int cgroup_open(const char *controller, const char *fs_path, crio_err *err)
{
	cleanup_close int root = -1;
	int fd;

	need_facts();
	root = open_root(facts.v2 ? "" : controller, err);
	if (root < 0)
		return root;
	fd = openat(root, rel(fs_path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : err_errno(err, errno, "open cgroup %s%s%s", controller, *controller ? ":" : "", fs_path);
}

/* cpuset of v1: a new group is of no use until its cpus and mems are set; taken from the parent. */
static int inherit_cpuset(int parent, int child, crio_err *err)
{
	static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
	char v[4096];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (fs_read_small(child, files[i], v, sizeof(v), NULL) != 0)
			continue;
		if (fs_read_small(parent, files[i], v, sizeof(v), NULL) <= 0)
			continue;
		int r = fs_write_small(child, files[i], v, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* v2: gives the children of dir every controller that dir has. One that cannot be given (an older kernel's threaded
 * group, a process in dir) is left out: what needs it says so itself. */
static void enable_controllers(int dir)
{
	char have[512], one[64], *save = NULL;

	if (fs_read_small(dir, "cgroup.controllers", have, sizeof(have), NULL) <= 0)
		return;
	for (char *c = strtok_r(have, " ", &save); c; c = strtok_r(NULL, " ", &save)) {
		(void)snprintf(one, sizeof(one), "+%s", c);
		(void)fs_write_small(dir, "cgroup.subtree_control", one, NULL);
	}
}

static int make_in(const char *controller, const char *fs_path, crio_err *err)
{
	cleanup_close int dir = -1;
	cleanup_strv struct strv parts = STRV_INIT;
	int root = open_root(controller, err);

	if (root < 0)
		return root;
	dir = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)safe_close(root);
	if (dir < 0)
		return err_errno(err, errno, "open the root of cgroup %s", controller);
	if (str_split(fs_path, '/', &parts) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < parts.n; i++) {
		int next, r;

		if (!*parts.v[i])
			continue;
		if (!*controller)
			enable_controllers(dir);
		if (mkdirat(dir, parts.v[i], 0755) < 0 && errno != EEXIST)
			return err_errno(err, errno, "make cgroup %s:%s", controller, fs_path);
		next = openat(dir, parts.v[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (next < 0)
			return err_errno(err, errno, "open cgroup %s:%s", controller, fs_path);
		r = str_eq(controller, "cpuset") ? inherit_cpuset(dir, next, err) : 0;
		(void)safe_close(dir);
		dir = next;
		if (r < 0)
			return err_wrap(err, "cgroup %s", fs_path);
	}
	return 0;
}

int cgroup_make(const char *fs_path, crio_err *err)
{
	int r = 0;

	need_facts();
	if (!good_path(fs_path))
		return err_set(err, CRIO_E_INVALID, "bad cgroup path '%.256s'", fs_path);
	if (facts.v2)
		return make_in("", fs_path, err);
	for (size_t i = 0; !r && i < tree.n; i++)
		r = make_in(tree.name[i], fs_path, err);
	return r;
}

/* Removes dir/name and the groups below it. */
static int remove_tree(int at, const char *name, int depth, crio_err *err)
{
	cleanup_closedir DIR *d = NULL;
	struct dirent *e;
	int fd, r = 0;

	/* An empty group goes at once; the tree is walked only when it is not a leaf. */
	if (unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != EBUSY && errno != ENOTEMPTY)
		return err_errno(err, errno, "remove cgroup %s", name);
	if (depth > PATH_MAX_DEPTH)
		return err_set(err, CRIO_E_EXHAUSTED, "cgroup %s is nested too deep", name);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "open cgroup %s", name);
	d = fdopendir(fd);
	if (!d) {
		(void)safe_close(fd);
		return err_nomem(err);
	}
	while (!r && (e = readdir(d)))
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			r = remove_tree(dirfd(d), e->d_name, depth + 1, err);
	if (r < 0)
		return r;
	if (unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return err_set(err, errno == EBUSY ? CRIO_E_UNAVAILABLE : CRIO_E_IO, "remove cgroup %s: %s", name,
		       strerror(errno));
}

int cgroup_remove(const char *fs_path, crio_err *err)
{
	const char *const v2[] = {""};
	cleanup_err crio_err first = ERR_INIT;
	size_t n;
	int ret = 0;

	need_facts();
	if (!good_path(fs_path) || str_eq(rel(fs_path), "."))
		return err_set(err, CRIO_E_INVALID, "bad cgroup path '%.256s'", fs_path);
	n = facts.v2 ? 1 : tree.n;
	for (size_t i = 0; i < n; i++) {
		cleanup_err crio_err e = ERR_INIT;
		cleanup_close int root = open_root(facts.v2 ? v2[0] : tree.name[i], &e);
		int r = root < 0 ? root : remove_tree(root, rel(fs_path), 0, &e);

		if (r < 0 && !ret) {
			ret = r;
			(void)err_move(&first, &e);
		}
	}
	return ret < 0 ? err_move(err, &first) : 0;
}

int cgroup_procs_files(const char *fs_path, struct strv *ret, crio_err *err)
{
	need_facts();
	if (facts.v2)
		return strv_addf(ret, "%s/%s/cgroup.procs", tree.root, rel(fs_path)) < 0 ? err_nomem(err) : 0;
	for (size_t i = 0; i < tree.n; i++)
		if (strv_addf(ret, "%s/%s/%s/cgroup.procs", tree.root, tree.name[i], rel(fs_path)) < 0)
			return err_nomem(err);
	return 0;
}

int cgroup_join(const char *fs_path, pid_t pid, crio_err *err)
{
	cleanup_strv struct strv files = STRV_INIT;
	int r = cgroup_procs_files(fs_path, &files, err);
	char t[16];

	(void)snprintf(t, sizeof(t), "%d", (int)pid);
	for (size_t i = 0; !r && i < files.n; i++)
		r = fs_write_small(AT_FDCWD, files.v[i], t, err);
	return r;
}

static int pids_of(int dir, int depth, pid_t *ret, size_t max, size_t *n, crio_err *err)
{
	cleanup_fclose FILE *f = NULL;
	cleanup_closedir DIR *d = NULL;
	struct dirent *e;
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC), pid, r = 0;

	f = fd >= 0 ? fdopen(fd, "r") : NULL;
	if (!f) {
		(void)safe_close(fd);
		return 0;
	}
	while (*n < max && fscanf(f, "%d", &pid) == 1)
		ret[(*n)++] = pid;
	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d) {
		(void)safe_close(fd);
		return 0;
	}
	while (!r && *n < max && depth < PATH_MAX_DEPTH && (e = readdir(d))) {
		cleanup_close int sub = -1;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (sub >= 0)
			r = pids_of(sub, depth + 1, ret, max, n, err);
	}
	return r;
}

int cgroup_pids(const char *fs_path, pid_t *ret, size_t max, size_t *ret_n, crio_err *err)
{
	const char *controller = "pids";
	cleanup_close int dir = -1;
	size_t n = 0;
	int r;

	need_facts();
	if (!facts.v2 && !facts.has_pids)
		controller = "memory";
	dir = cgroup_open(controller, fs_path, err);
	if (dir < 0)
		return dir;
	r = pids_of(dir, 0, ret, max, &n, err);
	if (!r)
		*ret_n = n;
	return r;
}

int cgroup_of_pid(pid_t pid, const char *controller, char **ret, crio_err *err)
{
	char path[64], *save = NULL;
	cleanup_free char *text = NULL;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	need_facts();
	r = fs_read_file(AT_FDCWD, path, 1 << 16, &text, NULL, err);
	if (r < 0)
		return r;
	/* "4:memory:/a/b", v2 "0::/a/b" */
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *list = strchr(l, ':'), *at = list ? strchr(list + 1, ':') : NULL, *save2 = NULL;

		if (!at)
			continue;
		*list++ = *at++ = '\0';
		if (facts.v2 && !*list && str_eq(l, "0"))
			goto found;
		for (char *c = facts.v2 ? NULL : strtok_r(list, ",", &save2); c; c = strtok_r(NULL, ",", &save2))
			if (str_eq(c, controller))
				goto found;
		continue;
	found:
		*ret = strdup(at);
		return *ret ? 0 : err_nomem(err);
	}
	return err_set(err, CRIO_E_NOT_FOUND, "process %d is in no cgroup of %s", (int)pid, controller);
}

/* ---- limits ---- */

static int put(const char *controller, const char *fs_path, const char *file, const char *value, crio_err *err)
{
	cleanup_close int dir = cgroup_open(controller, fs_path, err);
	int r = dir < 0 ? dir : fs_write_small(dir, file, value, err);

	return r < 0 ? err_wrap(err, "set %s of cgroup %s to '%s'", file, fs_path, value) : 0;
}

static int put_int(const char *controller, const char *fs_path, const char *file, int64_t v, crio_err *err)
{
	char t[32];

	(void)snprintf(t, sizeof(t), "%lld", (long long)v);
	return put(controller, fs_path, file, t, err);
}

uint64_t cgroup_weight_of_shares(uint64_t shares)
{
	if (!shares)
		return 0;
	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	return 1 + ((shares - 2) * 9999) / 262142;
}

static int apply_v2(const char *fs_path, const struct resources *r, crio_err *err)
{
	char t[64];
	int x = 0;

	if (r->cpu_shares)
		x = put_int("", fs_path, "cpu.weight", (int64_t)cgroup_weight_of_shares((uint64_t)r->cpu_shares), err);
	if (!x && r->cpu_quota) {
		if (r->cpu_quota > 0)
			(void)snprintf(t, sizeof(t), "%lld %lld", (long long)r->cpu_quota,
				       (long long)(r->cpu_period ? r->cpu_period : 100000));
		else
			(void)snprintf(t, sizeof(t), "max");
		x = put("", fs_path, "cpu.max", t, err);
	}
	if (!x && r->memory_limit)
		x = put_int("", fs_path, "memory.max", r->memory_limit, err);
	for (size_t i = 0; !x && i < r->unified.n; i++) {
		if (!path_is_name(r->unified.v[i].key))
			return err_set(err, CRIO_E_INVALID, "bad cgroup file '%.64s'", r->unified.v[i].key);
		x = put("", fs_path, r->unified.v[i].key, r->unified.v[i].value, err);
	}
	return x;
}

static int apply_v1(const char *fs_path, const struct resources *r, crio_err *err)
{
	int x = 0;

	if (r->cpu_shares)
		x = put_int("cpu", fs_path, "cpu.shares", r->cpu_shares, err);
	if (!x && r->cpu_period)
		x = put_int("cpu", fs_path, "cpu.cfs_period_us", r->cpu_period, err);
	if (!x && r->cpu_quota)
		x = put_int("cpu", fs_path, "cpu.cfs_quota_us", r->cpu_quota, err);
	if (!x && r->memory_limit)
		x = put_int("memory", fs_path, "memory.limit_in_bytes", r->memory_limit, err);
	return x;
}

int cgroup_apply(const char *fs_path, const struct resources *r, crio_err *err)
{
	int x;

	need_facts();
	x = facts.v2 ? apply_v2(fs_path, r, err) : apply_v1(fs_path, r, err);
	if (!x && *r->cpuset_cpus)
		x = put("cpuset", fs_path, "cpuset.cpus", r->cpuset_cpus, err);
	if (!x && *r->cpuset_mems)
		x = put("cpuset", fs_path, "cpuset.mems", r->cpuset_mems, err);
	return x;
}
