/* spec_process.c: the process part of a spec: arguments, environment, user, capabilities, limits, security. */
#include <fcntl.h>
#include <glob.h>
#include <sys/resource.h>

#include "core/lifecycle/annotations.h"
#include "core/lifecycle/apparmor.h"
#include "core/lifecycle/caps.h"
#include "core/lifecycle/clamp.h"
#include "core/lifecycle/mounts.h"
#include "core/lifecycle/notifier.h"
#include "core/lifecycle/seccomp.h"
#include "core/lifecycle/spec_priv.h"
#include "core/lifecycle/user.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* ---- arguments ---- */

static int append(struct strv *dst, const struct strv *src)
{
	for (size_t i = 0; src && i < src->n; i++)
		if (strv_add(dst, src->v[i]) < 0)
			return CRIO_E_NOMEM;
	return 0;
}

/* The request's command replaces the image's entrypoint and its cmd; the request's args replace the image's cmd. */
int spec_set_args(struct spec_build *b, crio_err *err)
{
	const struct container_config *c = b->a->container;
	const struct image *im = b->a->image;
	cleanup_strv struct strv args = STRV_INIT;
	struct json_object *p = spec_process(b);
	const char *base;
	int r;

	if (c->command.n) {
		r = append(&args, &c->command) < 0 || append(&args, &c->args) < 0;
	} else {
		r = append(&args, im ? &im->entrypoint : NULL) < 0 || append(&args, c->args.n ? &c->args
										    : im      ? &im->cmd
											      : NULL) < 0;
	}
	if (r || !p)
		return err_nomem(err);
	if (!args.n)
		return err_set(err, CRIO_E_INVALID, "no command specified");
	base = strrchr(args.v[0], '/');
	b->systemd = strstr(args.v[0], "/sbin/init") || str_eq(base ? base + 1 : args.v[0], "systemd");
	return json_set(p, "args", json_from_strv(&args)) < 0 ? err_nomem(err) : 0;
}

/* ---- environment ---- */

/* Sets "KEY=value": in the place of an earlier KEY, else at the end. Without '=' or with an empty key: left out. */
static int env_set(struct strv *env, const char *kv)
{
	const char *eq = strchr(kv, '=');
	size_t n = eq ? (size_t)(eq - kv) + 1 : 0;

	if (n < 2)
		return 0;
	for (size_t i = 0; i < env->n; i++) {
		char *copy;

		if (strncmp(env->v[i], kv, n) != 0)
			continue;
		copy = strdup(kv);
		if (!copy)
			return CRIO_E_NOMEM;
		free(env->v[i]);
		env->v[i] = copy;
		return 0;
	}
	return strv_add(env, kv);
}

static bool env_has(const struct strv *env, const char *kv)
{
	const char *eq = strchr(kv, '=');
	size_t n = eq ? (size_t)(eq - kv) + 1 : 0;

	for (size_t i = 0; i < env->n; i++)
		if (!strncmp(env->v[i], kv, n))
			return true;
	return false;
}

/* PATH and TERM as the base, the pod's name, default_env, then what the request says and, for keys it does not have,
 * the image. */
int spec_set_env(struct spec_build *b, crio_err *err)
{
	const struct spec_args *a = b->a;
	const struct strv *req = &a->container->env, *def = &a->conf->runtime.default_env;
	cleanup_strv struct strv env = STRV_INIT;
	cleanup_free char *host = path_fmt("HOSTNAME=%s", or_empty(a->hostname));
	struct json_object *p = spec_process(b);
	int r = !p || !host || env_set(&env, DEFAULT_PATH) < 0 || env_set(&env, "TERM=xterm") < 0 ||
		env_set(&env, host) < 0;

	if (!r && b->systemd)
		r = env_set(&env, "container=crio") < 0;
	for (size_t i = 0; !r && i < def->n; i++)
		r = env_set(&env, def->v[i]) < 0;
	for (size_t i = 0; !r && i < req->n; i++)
		r = env_set(&env, req->v[i]) < 0;
	for (size_t i = 0; !r && a->image && i < a->image->env.n; i++)
		if (!env_has(req, a->image->env.v[i]))
			r = env_set(&env, a->image->env.v[i]) < 0;
	if (r || json_set(p, "env", json_from_strv(&env)) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < env.n; i++)
		if (str_starts(env.v[i], "HOME=") && strpbrk(env.v[i], "\n\r"))
			return err_set(err, CRIO_E_INVALID, "invalid HOME environment; newline not allowed");
	return 0;
}

/* ---- user ---- */

static int add_gid(struct spec_info *info, int64_t gid, crio_err *err)
{
	uint32_t *p;

	if (gid < 0 || gid > USER_ID_MAX)
		return err_set(err, CRIO_E_INVALID, "supplemental group %lld is out of range (at most %u)",
			       (long long)gid, USER_ID_MAX);
	for (size_t i = 0; i < info->n_groups; i++)
		if (info->groups[i] == (uint32_t)gid)
			return 0;
	if (info->n_groups >= USER_GROUPS_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %d supplemental groups", USER_GROUPS_MAX);
	p = realloc(info->groups, (info->n_groups + 1) * sizeof(*p));
	if (!p)
		return err_nomem(err);
	info->groups = p;
	p[info->n_groups++] = (uint32_t)gid;
	return 0;
}

/* passwd and group files with the user's entries, in the run directory, with the image's owner and mode. */
static int write_db(struct spec_build *b, const char *name, const char *text, char **ret_path, crio_err *err)
{
	char in_root[32];
	cleanup_free char *path = path_fmt("%s/%s", b->a->run_dir, name);
	cleanup_close int src = -1, dst = -1;
	struct stat st;
	int r;

	if (!path)
		return err_nomem(err);
	(void)snprintf(in_root, sizeof(in_root), "/etc/%s", name);
	src = fs_open_in(b->a->rootfs_fd, in_root, O_PATH, 0, err);
	if (src < 0)
		return src;
	if (fstat(src, &st) < 0)
		return err_errno(err, errno, "stat %s of the image", in_root);
	r = fs_write_path(path, text, strlen(text), st.st_mode & 0777, FS_RUN, err);
	if (r < 0)
		return r;
	if (b->a->rootfs_container_ids) {
		st.st_uid = spec_host_uid(b->a, st.st_uid);
		st.st_gid = spec_host_gid(b->a, st.st_gid);
	}
	if (st.st_uid || st.st_gid) {
		dst = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (dst < 0 || fchownat(dst, "", st.st_uid, st.st_gid, AT_EMPTY_PATH) < 0)
			return err_errno(err, errno, "chown %s", path);
	}
	*ret_path = move_ptr(path);
	return 0;
}

static int make_db(struct spec_build *b, const char *user, const char *home, crio_err *err)
{
	const struct container_config *c = b->a->container;
	cleanup_free char *passwd = NULL, *group = NULL;
	int r;

	if (mounts_requested(c, "/etc"))
		return 0;
	if (!mounts_requested(c, "/etc/passwd")) {
		r = user_make_passwd(b->a->rootfs_fd, user, b->info.uid, b->info.gid, home, &passwd, err);
		if (!r && passwd)
			r = write_db(b, "passwd", passwd, &b->passwd_path, err);
		if (r < 0)
			return r;
	}
	if (!mounts_requested(c, "/etc/group")) {
		r = user_make_group(b->a->rootfs_fd, b->info.gid, &group, err);
		if (!r && group)
			r = write_db(b, "group", group, &b->group_path, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static const char *env_home(struct spec_build *b)
{
	struct json_object *env = json_arr(json_obj(b->spec, "process"), "env");

	for (size_t i = 0; env && i < json_object_array_length(env); i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(env, i));

		if (s && str_starts(s, "HOME="))
			return s + 5;
	}
	return "/";
}

static int put_user(struct spec_build *b, crio_err *err)
{
	struct json_object *u = json_need_obj(spec_process(b), "user"), *g;
	const char *umask_ = annotation_get(&b->a->pod->annotations, ANN_UMASK, NULL);

	g = u ? json_need_arr(u, "additionalGids") : NULL;
	if (!g || json_set_int(u, "uid", b->info.uid) < 0 || json_set_int(u, "gid", b->info.gid) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < b->info.n_groups; i++)
		if (json_push(g, json_object_new_int64(b->info.groups[i])) < 0)
			return err_nomem(err);
	if (str_set(umask_)) {
		if (strlen(umask_) > 4 || strspn(umask_, "01234567") != strlen(umask_))
			return err_set(err, CRIO_E_INVALID, "invalid umask string %.16s", umask_);
		if (json_set_int(u, "umask", strtol(umask_, NULL, 8)) < 0)
			return err_nomem(err);
	}
	return 0;
}

/* With the annotation's user namespaces ids are the host's where those are mapped; all others are ids inside already. */
static uint32_t inside(const struct spec_build *b, bool group, uint32_t id)
{
	const struct id_maps *m = b->a->userns_host_ids ? b->a->userns_maps : NULL;
	uint32_t in = m ? id_to_container(group ? &m->gids : &m->uids, id) : id;

	return in == IDMAP_NONE ? id : in;
}

static int add_supplemental(struct spec_build *b, int64_t gid, crio_err *err)
{
	return add_gid(&b->info, gid >= 0 && gid < UINT32_MAX ? inside(b, true, (uint32_t)gid) : gid, err);
}

/* run_as_username, else run_as_user, else the image's; run_as_group replaces the group. The gid is always among the
 * supplementary groups, so that none of the daemon's own stays. */
int spec_set_user(struct spec_build *b, crio_err *err)
{
	const struct security_context *sc = &b->a->container->sec;
	cleanup_user struct user u = {0};
	cleanup_free char *name = NULL;
	int r;

	if (sc->run_as_group.set && !sc->run_as_user.set && !*sc->run_as_username)
		return err_set(err, CRIO_E_INVALID, "user group is specified without user or username");
	if (sc->run_as_user.set && (sc->run_as_user.v < 0 || sc->run_as_user.v > USER_ID_MAX))
		return err_set(err, CRIO_E_INVALID, "run_as_user %lld is out of range (at most %u)",
			       (long long)sc->run_as_user.v, USER_ID_MAX);
	if (sc->run_as_group.set && (sc->run_as_group.v < 0 || sc->run_as_group.v > USER_ID_MAX))
		return err_set(err, CRIO_E_INVALID, "run_as_group %lld is out of range (at most %u)",
			       (long long)sc->run_as_group.v, USER_ID_MAX);
	name = *sc->run_as_username  ? strdup(sc->run_as_username)
	       : sc->run_as_user.set ? path_fmt("%lld", (long long)sc->run_as_user.v)
				     : strdup(b->a->image ? or_empty(b->a->image->user) : "");
	if (!name)
		return err_nomem(err);
	r = user_resolve(b->a->rootfs_fd, name, &u, err);
	if (r < 0)
		return err_wrap(err, "user of the container");
	b->info.uid = inside(b, false, u.uid);
	b->info.gid = inside(b, true, sc->run_as_group.set ? (uint32_t)sc->run_as_group.v : u.gid);
	r = add_gid(&b->info, b->info.gid, err);
	for (size_t i = 0; !r && sc->groups_policy == GROUPS_MERGE && i < u.n_groups; i++)
		r = add_gid(&b->info, inside(b, true, u.groups[i]), err);
	for (size_t i = 0; !r && i < sc->n_supplemental_groups; i++)
		r = add_supplemental(b, sc->supplemental_groups[i], err);
	if (!r)
		r = make_db(b, name, env_home(b), err);
	return r < 0 ? r : put_user(b, err);
}

/* ---- capabilities ---- */

int spec_set_caps(struct spec_build *b, crio_err *err)
{
	const struct spec_args *a = b->a;
	const struct security_context *sc = a->container ? &a->container->sec : NULL;
	struct json_object *c = json_need_obj(spec_process(b), "capabilities");
	uint64_t defaults = 0, set = caps_all(), ambient = 0, inheritable = 0;
	bool root = b->info.uid == 0;
	int r;

	if (!c)
		return err_nomem(err);
	if (!b->privileged) {
		r = caps_from_names(&a->conf->runtime.default_capabilities, &defaults, err);
		if (r < 0)
			return err_wrap(err, "default_capabilities");
		r = caps_apply(defaults, sc ? &sc->cap_add : NULL, sc ? &sc->cap_drop : NULL, &set, err);
		if (r < 0)
			return r;
	}
	b->caps = set = clamp_caps(set);
	if (sc && sc->cap_ambient.n) {
		r = caps_from_names(&sc->cap_ambient, &ambient, err);
		if (r < 0)
			return err_wrap(err, "ambient capabilities");
		ambient &= set;
	}
	/* The kernel keeps an ambient capability only while it is inheritable as well. */
	inheritable = ambient | (a->conf->runtime.add_inheritable_capabilities ? set : 0);
	if (json_set(c, "bounding", caps_json(set)) < 0 ||
	    json_set(c, "effective", caps_json(root ? set : ambient)) < 0 ||
	    json_set(c, "permitted", caps_json(set)) < 0 || json_set(c, "inheritable", caps_json(inheritable)) < 0 ||
	    json_set(c, "ambient", caps_json(ambient)) < 0)
		return err_nomem(err);
	return 0;
}

/* ---- limits ---- */

static const struct {
	const char *name;
	int resource;
} rlimits[] = {
    {"as", RLIMIT_AS},		 {"core", RLIMIT_CORE},		{"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},	 {"fsize", RLIMIT_FSIZE},	{"locks", RLIMIT_LOCKS},
    {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},	 {"nproc", RLIMIT_NPROC},	{"rss", RLIMIT_RSS},
    {"rtprio", RLIMIT_RTPRIO},	 {"rttime", RLIMIT_RTTIME},	{"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK},
};

static bool limit_value(const char *s, uint64_t *ret)
{
	if (str_eq(s, "-1") || str_eq(s, "unlimited")) {
		*ret = UINT64_MAX;
		return true;
	}
	return str_to_u64(s, UINT64_MAX, ret);
}

/* "nofile=1024:2048" or "nofile=1024". */
static int one_rlimit(struct json_object *arr, const char *text, crio_err *err)
{
	cleanup_free char *s = strdup(text);
	cleanup_json struct json_object *o = json_object_new_object();
	char *v, *h, type[32];
	uint64_t soft, hard;
	size_t i, j;

	if (!s || !o)
		return err_nomem(err);
	v = strchr(s, '=');
	if (!v)
		return err_set(err, CRIO_E_INVALID, "default_ulimits: '%.64s' is not name=soft:hard", text);
	*v++ = '\0';
	h = strchr(v, ':');
	if (h)
		*h++ = '\0';
	for (i = 0; i < ARRAY_SIZE(rlimits); i++)
		if (!strcasecmp(s, rlimits[i].name) ||
		    (!strncasecmp(s, "RLIMIT_", 7) && !strcasecmp(s + 7, rlimits[i].name)))
			break;
	if (i == ARRAY_SIZE(rlimits) || !limit_value(v, &soft) || !limit_value(h ? h : v, &hard) || soft > hard)
		return err_set(err, CRIO_E_INVALID, "default_ulimits: '%.64s' is not name=soft:hard of a known limit",
			       text);
	clamp_rlimit(rlimits[i].resource, rlimits[i].name, &soft, &hard);
	for (j = 0; rlimits[i].name[j]; j++)
		type[7 + j] = (char)(rlimits[i].name[j] - 'a' + 'A');
	(void)memcpy(type, "RLIMIT_", 7);
	type[7 + j] = '\0';
	if (json_set_str(o, "type", type) < 0 || json_set(o, "hard", json_object_new_uint64(hard)) < 0 ||
	    json_set(o, "soft", json_object_new_uint64(soft)) < 0 || json_push(arr, json_object_get(o)) < 0)
		return err_nomem(err);
	return 0;
}

int spec_set_rlimits(struct spec_build *b, crio_err *err)
{
	const struct strv *l = &b->a->conf->runtime.default_ulimits;
	struct json_object *arr;
	int r = 0;

	if (!l->n)
		return 0;
	arr = json_need_arr(spec_process(b), "rlimits");
	if (!arr)
		return err_nomem(err);
	for (size_t i = 0; !r && i < l->n; i++)
		r = one_rlimit(arr, l->v[i], err);
	return r;
}

/* ---- working directory, and what images lack ---- */

int spec_set_cwd(struct spec_build *b, crio_err *err)
{
	const struct spec_args *a = b->a;
	const char *cwd = *a->container->working_dir		     ? a->container->working_dir
			  : a->image && *or_empty(a->image->workdir) ? a->image->workdir
								     : "/";
	cleanup_free char *clean = NULL;
	cleanup_close int fd = -1, etc = -1;
	struct json_object *p = spec_process(b);
	int r = mount_clean_path(cwd, &clean, err);

	if (r < 0)
		return err_wrap(err, "working directory");
	fd = fs_mkdirs_in_as(a->rootfs_fd, clean, 0755, spec_root_uid(a, 0), spec_root_gid(a, 0), err);
	if (fd == CRIO_E_NOT_FOUND)
		return err_set(err, CRIO_E_INVALID, "working directory '%s': it, or a part of it, is not a directory in the image",
			       clean);
	if (fd < 0)
		return err_wrap(err, "working directory '%s'", clean);
	if (!p || json_set_str(p, "cwd", clean) < 0)
		return err_nomem(err);
	/* /etc/mtab for old programs. Never through a last link: symlinkat makes it or finds something there. */
	etc = fs_mkdirs_in_as(a->rootfs_fd, "/etc", 0755, spec_root_uid(a, 0), spec_root_gid(a, 0), err);
	if (etc < 0)
		return err_wrap(err, "directory /etc of the container");
	if (symlinkat("/proc/mounts", etc, "mtab") < 0)
		return errno == EEXIST ? 0 : err_errno(err, errno, "link /etc/mtab of the container");
	if (fchownat(etc, "mtab", spec_root_uid(a, 0), spec_root_gid(a, 0), AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, errno, "give /etc/mtab to the container");
	return 0;
}

/* ---- security ---- */

static const char *const default_masked[] = {
    "/proc/acpi",      "/proc/kcore",	   "/proc/keys",	"/proc/latency_stats",		 "/proc/sched_debug",
    "/proc/scsi",      "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
    "/sys/fs/selinux", "/proc/asound",	   "/proc/interrupts",
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What only some machines have: leaks of the host's thermal state. */
static int add_globbed(struct strv *l)
{
	glob_t g;
	int r = 0;

	if (glob("/sys/devices/system/cpu/cpu*/thermal_throttle", GLOB_NOSORT, NULL, &g) != 0)
		return 0;
	for (size_t i = 0; !r && i < g.gl_pathc && i < 1024; i++)
		r = strv_add(l, g.gl_pathv[i]);
	globfree(&g);
	return r;
}

static int path_list(struct spec_build *b, const char *key, const struct strv *req, bool with_defaults, crio_err *err)
{
	cleanup_strv struct strv l = STRV_INIT;
	struct json_object *arr;
	int r = 0;

	for (size_t i = 0; !r && with_defaults && i < ARRAY_SIZE(default_masked); i++)
		r = strv_add(&l, default_masked[i]);
	if (!r && with_defaults)
		r = add_globbed(&l);
	for (size_t i = 0; !r && i < req->n; i++) {
		if (!path_is_clean_abs(req->v[i]) || !str_is_printable(req->v[i]))
			return err_set(err, CRIO_E_INVALID, "%s: '%.256s' is not a clean absolute path", key,
				       req->v[i]);
		r = strv_add(&l, req->v[i]);
	}
	if (r < 0)
		return err_nomem(err);
	if (!l.n)
		return 0;
	if (with_defaults)
		qsort(l.v, l.n, sizeof(*l.v), by_text);
	arr = json_need_arr(spec_linux(b), key);
	for (size_t i = 0; arr && i < l.n; i++)
		if ((!i || !str_eq(l.v[i], l.v[i - 1])) && json_push_str(arr, l.v[i]) < 0)
			return err_nomem(err);
	return arr ? 0 : err_nomem(err);
}

/*
 * Containers need their profile. The pod's process, which only waits, takes the node's too when it is there: without it the pod
 * runs all the same, as it does with CRI-O, which gives it none.
 */
static int set_apparmor(struct spec_build *b, const struct security_profile *p, crio_err *err)
{
	const char *name = b->a->conf->runtime.apparmor_profile;
	struct json_object *o = spec_process(b);
	int r;

	if (!apparmor_enabled()) {
		if (p->set && p->type == PROFILE_LOCALHOST && !b->privileged)
			return err_set(err, CRIO_E_INVALID,
				       "apparmor is not enabled on this host, cannot run with profile '%.256s'",
				       p->localhost_ref);
		return 0;
	}
	if (b->privileged)
		return 0;
	if (p->set && p->type == PROFILE_UNCONFINED)
		name = APPARMOR_UNCONFINED;
	else if (p->set && p->type == PROFILE_LOCALHOST)
		name = str_starts(p->localhost_ref, "localhost/") ? p->localhost_ref + 10 : p->localhost_ref;
	if (!*name || !str_is_printable(name))
		return err_set(err, CRIO_E_INVALID, "apparmor profile name is empty or has control bytes");
	r = apparmor_need(name, err);
	if (r < 0) {
		if (b->a->container || (p->set && p->type == PROFILE_LOCALHOST))
			return r;
		log_warn("The process of pod %s is not confined: %s", b->a->pod_id, err_text(err));
		err_clear(err);
		return 0;
	}
	return !o || json_set_str(o, "apparmorProfile", name) < 0 ? err_nomem(err) : 0;
}

/* The pod's process takes the pod's choice, a container its own. */
static int set_seccomp(struct spec_build *b, const struct security_profile *req, crio_err *err)
{
	const struct spec_args *a = b->a;
	const char *priv = a->conf->runtime.privileged_seccomp_profile;
	const char *dflt =
	    *a->runtime->seccomp_profile ? a->runtime->seccomp_profile : a->conf->runtime.seccomp_profile;
	struct security_profile p = *req;
	struct json_object *seccomp = NULL;
	int r;

	if (b->privileged) {
		p.set = *priv;
		p.type = PROFILE_LOCALHOST;
		p.localhost_ref = (char *)(uintptr_t)priv; /* only read */
	}
	r = seccomp_choose(&p, dflt, b->caps, &seccomp, &b->info.seccomp_ref, err);
	if (r == 0 && seccomp && a->container && str_set(a->seccomp_listener)) {
		b->info.seccomp_action = notifier_action(&a->pod->annotations, a->container->meta.name);
		if (b->info.seccomp_action)
			r = notifier_change_profile(seccomp, a->seccomp_listener, err);
		if (r < 0)
			(void)json_object_put(seccomp);
	}
	if (r < 0)
		return err_wrap(err, "setup seccomp");
	if (seccomp && json_set(spec_linux(b), "seccomp", seccomp) < 0)
		return err_nomem(err);
	return 0;
}

int spec_set_labels(struct spec_build *b, crio_err *err)
{
	const struct spec_args *a = b->a;
	const char *process = b->systemd && str_set(a->init_label) ? a->init_label : or_empty(a->process_label);
	struct json_object *p = spec_process(b), *l = spec_linux(b);

	if (!p || !l || (*process && json_set_str(p, "selinuxLabel", process) < 0) ||
	    (str_set(a->mount_label) && json_set_str(l, "mountLabel", a->mount_label) < 0))
		return err_nomem(err);
	return 0;
}

int spec_set_security(struct spec_build *b, crio_err *err)
{
	const struct container_config *c = b->a->container;
	const struct security_context *sc = c ? &c->sec : &b->a->pod->sec;
	struct json_object *p = spec_process(b);
	int r;

	if (!p || json_set_bool(p, "noNewPrivileges", c && sc->no_new_privs) < 0)
		return err_nomem(err);
	if (c && sc->no_new_privs && (b->privileged || (b->caps & CAP_BIT(21 /* CAP_SYS_ADMIN */))))
		log_warn("Setting `noNewPrivileges` flag has no effect because container %s",
			 b->privileged ? "is privileged" : "has CAP_SYS_ADMIN capability");
	r = set_seccomp(b, &sc->seccomp, err);
	if (!r)
		r = set_apparmor(b, &sc->apparmor, err);
	if (!r && c && !b->privileged) {
		r = path_list(b, "maskedPaths", &sc->masked_paths, sc->masked_paths.n > 0, err);
		if (!r)
			r = path_list(b, "readonlyPaths", &sc->readonly_paths, false, err);
	}
	return r;
}
