/* seccomp.c: see seccomp.h. */
#include "core/lifecycle/seccomp.h"

#include <fcntl.h>
#include <seccomp.h>
#include <sys/utsname.h>

#include "core/lifecycle/caps.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/map.h"

#define SYSCALL_ROWS_MAX 4096
#define NAMES_MAX 4096
#define ARGS_MAX 64
#define CACHE_MAX 64

/* ---- words of the format ---- */

static const char *const actions[] = {"SCMP_ACT_KILL",	"SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS",
				      "SCMP_ACT_TRAP",	"SCMP_ACT_ERRNO",	"SCMP_ACT_TRACE",
				      "SCMP_ACT_ALLOW", "SCMP_ACT_LOG",		"SCMP_ACT_NOTIFY"};
static const char *const operators[] = {"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE",	   "SCMP_CMP_EQ",
					"SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"};
/* What includes/excludes call an architecture, by libseccomp's name. */
static const struct {
	const char *scmp, *go;
	uint32_t token;
} arches[] = {
    {"SCMP_ARCH_X86_64", "amd64", SCMP_ARCH_X86_64},
    {"SCMP_ARCH_X86", "x86", SCMP_ARCH_X86},
    {"SCMP_ARCH_X32", "x32", SCMP_ARCH_X32},
    {"SCMP_ARCH_AARCH64", "arm64", SCMP_ARCH_AARCH64},
    {"SCMP_ARCH_ARM", "arm", SCMP_ARCH_ARM},
    {"SCMP_ARCH_MIPS", "mips", SCMP_ARCH_MIPS},
    {"SCMP_ARCH_MIPS64", "mips64", SCMP_ARCH_MIPS64},
    {"SCMP_ARCH_MIPS64N32", "mips64n32", SCMP_ARCH_MIPS64N32},
    {"SCMP_ARCH_MIPSEL", "mipsle", SCMP_ARCH_MIPSEL},
    {"SCMP_ARCH_MIPSEL64", "mips64le", SCMP_ARCH_MIPSEL64},
    {"SCMP_ARCH_MIPSEL64N32", "mips64n32le", SCMP_ARCH_MIPSEL64N32},
    {"SCMP_ARCH_PPC", "ppc", SCMP_ARCH_PPC},
    {"SCMP_ARCH_PPC64", "ppc64", SCMP_ARCH_PPC64},
    {"SCMP_ARCH_PPC64LE", "ppc64le", SCMP_ARCH_PPC64LE},
    {"SCMP_ARCH_S390", "s390", SCMP_ARCH_S390},
    {"SCMP_ARCH_S390X", "s390x", SCMP_ARCH_S390X},
    {"SCMP_ARCH_RISCV64", "riscv64", SCMP_ARCH_RISCV64},
};

static bool word_in(const char *s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(s, list[i]))
			return true;
	return false;
}

static size_t native_arch(void)
{
	uint32_t token = seccomp_arch_native();

	for (size_t i = 0; i < ARRAY_SIZE(arches); i++)
		if (arches[i].token == token)
			return i;
	return 0;
}

static bool known_arch(const char *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(arches); i++)
		if (str_eq(s, arches[i].scmp))
			return true;
	return false;
}

/* ---- checking a file ---- */

static int check_args(const struct json_object *row, crio_err *err)
{
	struct json_object *args = json_arr(row, "args");

	if (args && json_object_array_length(args) > ARGS_MAX) /* several on one index are alternatives */
		return err_set(err, CRIO_E_INVALID, "more than %d args in a syscalls row", ARGS_MAX);
	for (size_t i = 0; args && i < json_object_array_length(args); i++) {
		struct json_object *a = json_object_array_get_idx(args, i);
		int64_t index = json_int(a, "index", 0);

		if (!json_object_is_type(a, json_type_object) || index < 0 || index > 5)
			return err_set(err, CRIO_E_INVALID, "an argument that is no object or has an index above 5");
		if (!word_in(json_str(a, "op"), operators, ARRAY_SIZE(operators)))
			return err_set(err, CRIO_E_INVALID, "unknown operator '%.40s'", json_str(a, "op"));
	}
	return 0;
}

static int check_row(const struct json_object *row, crio_err *err)
{
	struct json_object *names = json_arr(row, "names");

	if (!json_object_is_type(row, json_type_object))
		return err_set(err, CRIO_E_INVALID, "a syscalls row is no object");
	if (!word_in(json_str(row, "action"), actions, ARRAY_SIZE(actions)))
		return err_set(err, CRIO_E_INVALID, "unknown action '%.40s'", json_str(row, "action"));
	if (!names && !*json_str(row, "name"))
		return err_set(err, CRIO_E_INVALID, "a syscalls row without names");
	if (names && json_object_array_length(names) > NAMES_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %d names in a row", NAMES_MAX);
	for (size_t i = 0; names && i < json_object_array_length(names); i++)
		if (!json_object_is_type(json_object_array_get_idx(names, i), json_type_string))
			return err_set(err, CRIO_E_INVALID, "a syscall name is no string");
	return check_args(row, err);
}

static int check_profile(const struct json_object *p, crio_err *err)
{
	struct json_object *rows = json_arr(p, "syscalls"), *map = json_arr(p, "archMap"),
			   *list = json_arr(p, "architectures");
	int r = 0;

	if (!json_object_is_type(p, json_type_object))
		return err_set(err, CRIO_E_INVALID, "not an object");
	if (!word_in(json_str(p, "defaultAction"), actions, ARRAY_SIZE(actions)))
		return err_set(err, CRIO_E_INVALID, "unknown defaultAction '%.40s'", json_str(p, "defaultAction"));
	if (map && list && json_object_array_length(map) && json_object_array_length(list))
		return err_set(err, CRIO_E_INVALID, "both 'architectures' and 'archMap'");
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(list, i));

		if (!s || !known_arch(s))
			return err_set(err, CRIO_E_INVALID, "unknown architecture '%.40s'", s ? s : "");
	}
	if (rows && json_object_array_length(rows) > SYSCALL_ROWS_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %d syscalls rows", SYSCALL_ROWS_MAX);
	for (size_t i = 0; !r && rows && i < json_object_array_length(rows); i++)
		r = check_row(json_object_array_get_idx(rows, i), err);
	return r;
}

int seccomp_profile_parse(const char *text, size_t n, struct json_object **ret, crio_err *err)
{
	cleanup_json struct json_object *p = NULL;
	int r = json_parse(text, n, &p, err);

	if (!r)
		r = check_profile(p, err);
	if (!r)
		*ret = move_ptr(p);
	return r;
}

/* Files by path, with what tells that one has changed. Guarded by cache_lock; entries are never changed, only replaced.
 */
struct cached {
	struct json_object *profile;
	struct timespec mtime;
	off_t size;
	ino_t ino;
};
static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *cache;

static void cached_free(struct cached *c)
{
	if (!c)
		return;
	(void)json_object_put(c->profile);
	free(c);
}

/* json-c counts references without atomics unless built so: a cached document is handed out as a copy, made under the
 * lock. */
static struct json_object *cache_get(const char *path, const struct stat *st)
{
	cleanup_unlock pthread_mutex_t *l = lock(&cache_lock);
	struct cached *c = cache ? map_get(cache, path) : NULL;
	struct json_object *copy = NULL;

	if (!c || (st && (c->mtime.tv_sec != st->st_mtim.tv_sec || c->mtime.tv_nsec != st->st_mtim.tv_nsec ||
			  c->size != st->st_size || c->ino != st->st_ino)))
		return NULL;
	return json_object_deep_copy(c->profile, &copy, NULL) < 0 ? NULL : copy;
}

static void cache_put(const char *path, const struct stat *st, const struct json_object *p)
{
	cleanup_unlock pthread_mutex_t *l = lock(&cache_lock);
	struct cached *c = calloc(1, sizeof(*c));
	struct json_object *from = (struct json_object *)(uintptr_t)p;

	if (!cache)
		cache = map_new();
	if (!c || !cache || map_count(cache) >= CACHE_MAX || json_object_deep_copy(from, &c->profile, NULL) < 0) {
		free(c);
		return;
	}
	if (st) {
		c->mtime = st->st_mtim;
		c->size = st->st_size;
		c->ino = st->st_ino;
	}
	cached_free(map_del(cache, path));
	if (map_set(cache, path, c) < 0)
		cached_free(c);
}

void seccomp_reload(void)
{
	cleanup_unlock pthread_mutex_t *l = lock(&cache_lock);
	size_t it = 0;
	void *v;

	if (!cache)
		return;
	while (map_next(cache, &it, NULL, &v))
		cached_free(v);
	map_free(cache);
	cache = NULL;
}

/* The profile is the administrator's or a file the kubelet has put on the node: opened by its path, like any of ours.
 */
static int read_file(const char *path, struct json_object **ret, struct stat *st, crio_err *err)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	cleanup_free char *text = NULL;
	size_t n;
	int r;

	if (fd < 0)
		return err_errno(err, errno, "open");
	if (fstat(fd, st) < 0)
		return err_errno(err, errno, "stat");
	if (!S_ISREG(st->st_mode))
		return err_set(err, CRIO_E_INVALID, "not a regular file");
	*ret = cache_get(path, st);
	if (*ret)
		return 0;
	r = fs_read_fd(fd, SECCOMP_FILE_MAX, &text, &n, err);
	return r < 0 ? r : seccomp_profile_parse(text, n, ret, err);
}

int seccomp_profile_load(const char *path, struct json_object **ret, crio_err *err)
{
	cleanup_json struct json_object *p = NULL;
	struct stat st = {0};
	int r;

	if (!str_set(path)) {
		p = cache_get("", NULL);
		if (!p) {
			r = seccomp_profile_parse(seccomp_builtin, seccomp_builtin_n, &p, err);
			if (r < 0)
				return err_wrap(err, "built-in seccomp profile");
			cache_put("", NULL, p);
		}
		*ret = move_ptr(p);
		return 0;
	}
	r = read_file(path, &p, &st, err);
	if (r < 0)
		return err_wrap(err, "unable to load seccomp profile '%s'", path);
	cache_put(path, &st, p);
	*ret = move_ptr(p);
	return 0;
}

/* ---- conversion ---- */

struct conv {
	uint64_t caps;
	const char *arch; /* "amd64" */
	int major, minor; /* of the kernel */
};

static bool any_cap(const struct json_object *filter, const struct conv *c)
{
	struct json_object *a = json_arr(filter, "caps");
	unsigned n;

	for (size_t i = 0; a && i < json_object_array_length(a); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(a, i));

		if (s && cap_parse(s, &n) && (c->caps & CAP_BIT(n)))
			return true;
	}
	return false;
}

static bool all_caps(const struct json_object *filter, const struct conv *c)
{
	struct json_object *a = json_arr(filter, "caps");
	unsigned n;

	for (size_t i = 0; a && i < json_object_array_length(a); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(a, i));

		if (!s || !cap_parse(s, &n) || !(c->caps & CAP_BIT(n)))
			return false;
	}
	return true;
}

static bool has_arch(const struct json_object *filter, const struct conv *c)
{
	struct json_object *a = json_arr(filter, "arches");

	for (size_t i = 0; a && i < json_object_array_length(a); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(a, i));

		if (s && str_eq(s, c->arch))
			return true;
	}
	return false;
}

static size_t len_of(const struct json_object *filter, const char *key)
{
	struct json_object *a = json_arr(filter, key);

	return a ? json_object_array_length(a) : 0;
}

/* Is the kernel at least the filter's minKernel ("4.8")? */
static bool kernel_at_least(const char *min, const struct conv *c)
{
	int a = 0, b = 0;

	if (sscanf(min, "%9d.%9d", &a, &b) < 1)
		return false;
	return c->major > a || (c->major == a && c->minor >= b);
}

/* Does the row hold for this container? As containers/common: an exclude that matches at all drops the row, an include
 * must match in each of its parts. */
static bool row_applies(const struct json_object *row, const struct conv *c)
{
	struct json_object *ex = json_obj(row, "excludes"), *in = json_obj(row, "includes");

	if (ex) {
		if (has_arch(ex, c) || any_cap(ex, c))
			return false;
		if (*json_str(ex, "minKernel") && kernel_at_least(json_str(ex, "minKernel"), c))
			return false;
	}
	if (in) {
		if (len_of(in, "arches") && !has_arch(in, c))
			return false;
		if (len_of(in, "caps") && !all_caps(in, c))
			return false;
		if (*json_str(in, "minKernel") && !kernel_at_least(json_str(in, "minKernel"), c))
			return false;
	}
	return true;
}

/* Also those that libseccomp does not know, as upstream has it: a newer runtime may, and one that does not passes over them. */
static struct json_object *row_names(const struct json_object *row)
{
	cleanup_json struct json_object *out = json_object_new_array();
	struct json_object *names = json_arr(row, "names");
	const char *one = json_str(row, "name");

	for (size_t i = 0; out && names && i < json_object_array_length(names); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(names, i));

		if (json_push_str(out, s) < 0)
			return NULL;
	}
	if (out && *one && json_push_str(out, one) < 0)
		return NULL;
	return move_ptr(out);
}

/* Numbers are 64 bits without sign in the format. */
static int copy_u64(struct json_object *dst, const struct json_object *src, const char *key)
{
	struct json_object *v = json_get(src, key);

	return json_set(dst, key, json_object_new_uint64(v ? json_object_get_uint64(v) : 0));
}

static struct json_object *row_args(const struct json_object *row)
{
	cleanup_json struct json_object *out = json_object_new_array();
	struct json_object *args = json_arr(row, "args");

	for (size_t i = 0; out && args && i < json_object_array_length(args); i++) {
		const struct json_object *a = json_object_array_get_idx(args, i);
		cleanup_json struct json_object *o = json_object_new_object();

		if (!o || json_set_int(o, "index", json_int(a, "index", 0)) < 0 || copy_u64(o, a, "value") < 0 ||
		    copy_u64(o, a, "valueTwo") < 0 || json_set_str(o, "op", json_str(a, "op")) < 0 ||
		    json_push(out, json_object_get(o)) < 0)
			return NULL;
	}
	return move_ptr(out);
}

/* One row with given args ("errnoRet" from the row or the default). */
static int push_row(struct json_object *rows, const struct json_object *row, struct json_object *names,
		    struct json_object *args, crio_err *err)
{
	cleanup_json struct json_object *o = json_object_new_object();
	int64_t eno = json_int(row, "errnoRet", -1);

	if (!o || json_set(o, "names", json_object_get(names)) < 0 ||
	    json_set_str(o, "action", json_str(row, "action")) < 0)
		return err_nomem(err);
	if (eno >= 0 && json_set_int(o, "errnoRet", eno) < 0)
		return err_nomem(err);
	if (args && json_object_array_length(args) && json_set(o, "args", json_object_get(args)) < 0)
		return err_nomem(err);
	return json_push(rows, json_object_get(o)) < 0 ? err_nomem(err) : 0;
}

static bool same_index_twice(const struct json_object *args)
{
	unsigned seen = 0;

	for (size_t i = 0; i < json_object_array_length(args); i++) {
		unsigned bit = 1u << json_int(json_object_array_get_idx(args, i), "index", 0);

		if (seen & bit)
			return true;
		seen |= bit;
	}
	return false;
}

/* Conditions of one row hold together, but several on the same argument are alternatives: the runtimes (libseccomp
 * takes one condition an argument) make a rule of each. Written as rows of their own here, so that no runtime reads it
 * otherwise. */
static int add_row(struct json_object *rows, const struct json_object *row, crio_err *err)
{
	cleanup_json struct json_object *names = row_names(row), *args = row_args(row);
	int r = 0;

	if (!names || !args)
		return err_nomem(err);
	if (!json_object_array_length(names))
		return 0;
	if (!same_index_twice(args))
		return push_row(rows, row, names, args, err);
	for (size_t i = 0; !r && i < json_object_array_length(args); i++) {
		cleanup_json struct json_object *one = json_object_new_array();

		if (!one || json_push(one, json_object_get(json_object_array_get_idx(args, i))) < 0)
			return err_nomem(err);
		r = push_row(rows, row, names, one, err);
	}
	return r;
}

static int add_arches(struct json_object *oci, const struct json_object *profile, size_t native, crio_err *err)
{
	struct json_object *map = json_arr(profile, "archMap"), *list = json_arr(profile, "architectures");
	struct json_object *out = json_need_arr(oci, "architectures");
	int r = 0;

	if (!out)
		return err_nomem(err);
	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		r |= json_push(out, json_object_get(json_object_array_get_idx(list, i)));
	for (size_t i = 0; map && i < json_object_array_length(map); i++) {
		const struct json_object *m = json_object_array_get_idx(map, i);
		struct json_object *sub = json_arr(m, "subArchitectures");

		if (!str_eq(json_str(m, "architecture"), arches[native].scmp))
			continue;
		r |= json_push_str(out, arches[native].scmp);
		for (size_t j = 0; sub && j < json_object_array_length(sub); j++) {
			const char *s = json_object_get_string(json_object_array_get_idx(sub, j));

			if (s && known_arch(s))
				r |= json_push_str(out, s);
		}
	}
	if (!json_object_array_length(out))
		json_object_object_del(oci, "architectures");
	return r ? err_nomem(err) : 0;
}

int seccomp_to_oci(const struct json_object *profile, uint64_t caps, struct json_object **ret, crio_err *err)
{
	cleanup_json struct json_object *o = json_object_new_object();
	struct json_object *rows = json_arr(profile, "syscalls"), *out, *flags = json_arr(profile, "flags");
	int64_t eno = json_int(profile, "defaultErrnoRet", -1);
	size_t native = native_arch();
	struct conv c = {.caps = caps, .arch = arches[native].go};
	struct utsname u;
	int r;

	if (uname(&u) < 0 || sscanf(u.release, "%9d.%9d", &c.major, &c.minor) != 2)
		return err_set(err, CRIO_E_INTERNAL, "cannot tell the kernel's version");
	if (!o || json_set_str(o, "defaultAction", json_str(profile, "defaultAction")) < 0)
		return err_nomem(err);
	if (eno >= 0 && json_set_int(o, "defaultErrnoRet", eno) < 0)
		return err_nomem(err);
	r = add_arches(o, profile, native, err);
	if (r < 0)
		return r;
	if (flags && json_object_array_length(flags) && json_set(o, "flags", json_object_get(flags)) < 0)
		return err_nomem(err);
	out = json_need_arr(o, "syscalls");
	if (!out)
		return err_nomem(err);
	for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
		const struct json_object *row = json_object_array_get_idx(rows, i);

		if (!row_applies(row, &c))
			continue;
		r = add_row(out, row, err);
		if (r < 0)
			return r;
	}
	*ret = move_ptr(o);
	return 0;
}

/* ---- the CRI's choice ---- */

int seccomp_choose(const struct security_profile *p, const char *default_path, uint64_t caps, struct json_object **ret,
		   char **ret_ref, crio_err *err)
{
	cleanup_json struct json_object *profile = NULL, *oci = NULL;
	cleanup_free char *ref = NULL;
	const char *path = default_path;
	bool off = !p->set || p->type == PROFILE_UNCONFINED;
	int r;

	if (!off && p->type == PROFILE_LOCALHOST) {
		path = p->localhost_ref;
		if (!path_is_clean_abs(path))
			return err_set(err, CRIO_E_INVALID,
				       "seccomp: unable to load local profile '%.256s': no such file or directory: it is not a clean absolute path", path);
	} else if (!off && str_set(path) && str_eq(path, "unconfined")) {
		off = true;
	}
	ref = strdup(off ? "Unconfined" : p->type == PROFILE_LOCALHOST ? path : "RuntimeDefault");
	if (!ref)
		return err_nomem(err);
	if (!off) {
		r = seccomp_profile_load(path, &profile, err);
		if (!r)
			r = seccomp_to_oci(profile, caps, &oci, err);
		if (r < 0)
			return r;
	}
	*ret = move_ptr(oci);
	*ret_ref = move_ptr(ref);
	return 0;
}
