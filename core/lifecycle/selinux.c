/* selinux.c: see selinux.h. */
#include "core/lifecycle/selinux.h"

#include <fcntl.h>
#include <pthread.h>
#include <selinux/selinux.h>
#include <sys/random.h>

#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/map.h"

#define CATEGORIES 1024u   /* of MCS policies */
#define TRIES 1000	   /* at a free pair of categories: there are half a million */
#define CONTEXTS_MAX 65536 /* bytes of lxc_contexts */
#define LABEL_MAX 1024

static bool on;
static char fake[512]; /* of tests */
static pthread_mutex_t levels_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *levels; /* level -> how many hold it, never 0; guarded by levels_lock */

void selinux_set_root_for_test(const char *dir)
{
	on = dir != NULL;
	(void)snprintf(fake, sizeof(fake), "%s", dir ? dir : "");
}

bool selinux_enabled(void)
{
	return on;
}

/* ---- parts of a label ---- */

enum part { USER, ROLE, TYPE, LEVEL, PARTS };

struct label {
	char *v[PARTS]; /* NULL: it has none */
};

static void label_release(struct label *l)
{
	for (size_t i = 0; i < PARTS; i++)
		free(l->v[i]);
}
#define cleanup_label CLEANUP(label_release)

/* The level may have colons of its own. */
static int label_parse(const char *text, struct label *ret, crio_err *err)
{
	for (size_t i = 0; i < PARTS && text; i++) {
		size_t n = i == LEVEL ? strlen(text) : strcspn(text, ":");

		ret->v[i] = strndup(text, n);
		if (!ret->v[i])
			return err_nomem(err);
		text = text[n] ? text + n + 1 : NULL;
	}
	return 0;
}

static int label_set(struct label *l, enum part i, const char *v, crio_err *err)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";

	if (!str_set(v))
		return 0;
	/* A level has more: "s0-s0:c0.c1023". */
	for (const char *p = v; *p; p++)
		if (!strchr(ok, *p) && !(i == LEVEL && (*p == ':' || *p == ',')))
			return err_set(err, CRIO_E_INVALID, "SELinux options: '%.64s' has a byte that no label has", v);
	free(l->v[i]);
	l->v[i] = strdup(v);
	return l->v[i] ? 0 : err_nomem(err);
}

static char *label_text(const struct label *l)
{
	return path_fmt(str_set(l->v[LEVEL]) ? "%s:%s:%s:%s" : "%s:%s:%s", l->v[USER] ? l->v[USER] : "", l->v[ROLE] ? l->v[ROLE] : "",
			l->v[TYPE] ? l->v[TYPE] : "", l->v[LEVEL] ? l->v[LEVEL] : "");
}

/* As the kernel says it, with categories in order: only so are two the same when their texts are. */
static int canonical(const struct label *l, char **ret, crio_err *err)
{
	cleanup_free char *text = label_text(l);
	char *good = NULL;

	if (!text)
		return err_nomem(err);
	if (strlen(text) > LABEL_MAX)
		return err_set(err, CRIO_E_INVALID, "SELinux label '%.64s...' is longer than %d bytes", text, LABEL_MAX);
	if (*fake) {
		*ret = move_ptr(text);
		return 0;
	}
	if (security_canonicalize_context_raw(text, &good) < 0) {
		if (errno == EINVAL)
			return err_set(err, CRIO_E_INVALID,
				       "SELinux label '%s' is not known to the policy in force: see 'seinfo -u -r -t', or load the module that has it",
				       text);
		return err_errno(err, errno, "check SELinux label '%s'", text);
	}
	*ret = strdup(good);
	freecon(good);
	return *ret ? 0 : err_nomem(err);
}

/* ---- what the policy has for containers ---- */

/* name = "label", a line of lxc_contexts; "" when it has none. The caller's. */
static int context_of(const char *name, char **ret, crio_err *err)
{
	cleanup_free char *path = *fake ? path_fmt("%s/lxc_contexts", fake) : strdup(selinux_lxc_contexts_path()), *text = NULL;
	cleanup_err crio_err e = ERR_INIT;
	char *save = NULL;

	if (!path)
		return err_nomem(err);
	int r = fs_read_file(AT_FDCWD, path, CONTEXTS_MAX, &text, NULL, &e);
	if (r < 0 && r != CRIO_E_NOT_FOUND)
		return err_wrap((err_move(err, &e), err), "SELinux labels of containers");
	for (char *l = text ? strtok_r(text, "\n", &save) : NULL; l; l = strtok_r(NULL, "\n", &save)) {
		size_t n = strspn(l, " \t");
		char *v = l + n, *end;

		if (strncmp(v, name, strlen(name)) != 0)
			continue;
		v += strlen(name);
		v += strspn(v, " \t");
		if (*v++ != '=')
			continue;
		v += strspn(v, " \t\"");
		end = v + strcspn(v, " \t\"\r#");
		*end = '\0';
		*ret = strdup(v);
		return *ret ? 0 : err_nomem(err);
	}
	*ret = strdup("");
	return *ret ? 0 : err_nomem(err);
}

int selinux_init(bool wanted, crio_err *err)
{
	if (*fake)
		return 0;
	on = false;
	if (!wanted) {
		log_debug("SELinux: not used");
		return 0;
	}
	if (is_selinux_enabled() != 1)
		return err_set(err, CRIO_E_PRECONDITION,
			       "selinux = true, but this node has no SELinux: %s. Boot with \"security=selinux selinux=1\" and a policy, or set "
			       "selinux = false",
			       access("/sys/fs/selinux", F_OK) == 0 ? "the kernel has it, no policy is loaded" : "the kernel has none, or it is off");
	on = true;
	cleanup_free char *process = NULL;
	int r = context_of("process", &process, err);
	if (r < 0)
		return r;
	if (!*process)
		log_warn("SELinux: %s has no label for processes of containers: they are run without one", selinux_lxc_contexts_path());
	else
		log_info("SELinux: containers run as %s (%s)", process, security_getenforce() == 1 ? "enforcing" : "permissive");
	return 0;
}

/* ---- levels ---- */

/* The count of a level is its value. levels_lock is held. */
static size_t held(const char *level)
{
	return levels ? (size_t)(uintptr_t)map_get(levels, level) : 0;
}

static int hold(const char *level, crio_err *err)
{
	if (!levels)
		levels = map_new();
	if (!levels || map_set(levels, level, (void *)(uintptr_t)(held(level) + 1)) < 0)
		return err_nomem(err);
	return 0;
}

int selinux_hold(const char *label, crio_err *err)
{
	cleanup_label struct label l = {0};
	int r = str_set(label) ? label_parse(label, &l, err) : 0;

	if (r < 0 || !str_set(l.v[LEVEL]))
		return r;
	cleanup_unlock pthread_mutex_t *lk = lock(&levels_lock);
	return hold(l.v[LEVEL], err);
}

void selinux_release(const char *label)
{
	cleanup_label struct label l = {0};

	if (!str_set(label) || label_parse(label, &l, NULL) < 0 || !str_set(l.v[LEVEL]))
		return;
	cleanup_unlock pthread_mutex_t *lk = lock(&levels_lock);
	size_t n = held(l.v[LEVEL]);
	if (n > 1) /* a key that is there: nothing is allocated */
		(void)map_set(levels, l.v[LEVEL], (void *)(uintptr_t)(n - 1));
	else if (n)
		(void)map_del(levels, l.v[LEVEL]);
}

/* Two categories that nobody holds; held. */
static int new_level(char ret[32], crio_err *err)
{
	cleanup_unlock pthread_mutex_t *lk = lock(&levels_lock);

	for (int i = 0; i < TRIES; i++) {
		uint16_t c[2];

		if (getrandom(c, sizeof(c), 0) != (ssize_t)sizeof(c))
			return err_set(err, CRIO_E_IO, "no random numbers");
		unsigned a = c[0] % CATEGORIES, b = c[1] % CATEGORIES;
		if (a == b)
			continue;
		(void)snprintf(ret, 32, "s0:c%u,c%u", a < b ? a : b, a < b ? b : a);
		if (!held(ret))
			return hold(ret, err);
	}
	return err_set(err, CRIO_E_EXHAUSTED, "no two SELinux categories are free");
}

static void drop_level(const char *level)
{
	cleanup_free char *as_label = path_fmt(":::%s", level);

	selinux_release(as_label);
}

/* ---- labels ---- */

static int merge(const char *base, const struct selinux_option *o, struct label *process, struct label *mount, crio_err *err)
{
	cleanup_label struct label b = {0};
	int r = str_set(base) ? label_parse(base, &b, err) : 0;

	for (int from = 0; r == 0 && from < 2; from++) {
		const char *v[PARTS] = {b.v[USER], b.v[ROLE], b.v[TYPE], b.v[LEVEL]};

		if (from == 1 && !o)
			break;
		if (from == 1) {
			v[USER] = o->user;
			v[ROLE] = o->role;
			v[TYPE] = o->type;
			v[LEVEL] = o->level;
		}
		for (enum part i = 0; r == 0 && i < PARTS; i++)
			r = label_set(process, i, v[i], err);
		/* Files have roles and types of their own. */
		if (r == 0)
			r = label_set(mount, USER, v[USER], err);
		if (r == 0)
			r = label_set(mount, LEVEL, v[LEVEL], err);
	}
	return r;
}

int selinux_labels(const char *base, const struct selinux_option *o, char **ret_process, char **ret_mount, crio_err *err)
{
	cleanup_free char *process = NULL, *mount = NULL, *ptext = NULL, *mtext = NULL;
	cleanup_label struct label p = {0}, m = {0};
	char level[32] = "";
	int r = 0;

	if (on)
		r = context_of("process", &ptext, err);
	if (on && r == 0)
		r = context_of("file", &mtext, err);
	if (r < 0)
		return r;
	if (!str_set(ptext) || !str_set(mtext)) {
		process = strdup("");
		mount = strdup("");
		if (!process || !mount)
			return err_nomem(err);
		*ret_process = move_ptr(process);
		*ret_mount = move_ptr(mount);
		return 0;
	}
	r = label_parse(ptext, &p, err);
	if (r == 0)
		r = label_parse(mtext, &m, err);
	/* A policy without levels separates nobody. */
	if (r == 0 && str_set(p.v[LEVEL]) && !str_set(base) && !(o && str_set(o->level)))
		r = new_level(level, err);
	if (r == 0 && *level)
		r = label_set(&p, LEVEL, level, err);
	if (r == 0 && *level)
		r = label_set(&m, LEVEL, level, err);
	if (r == 0)
		r = merge(base, o, &p, &m, err);
	if (r == 0)
		r = canonical(&p, &process, err);
	if (r == 0)
		r = canonical(&m, &mount, err);
	/* What the options made of it, canonically, is what is held. */
	if (r == 0)
		r = selinux_hold(process, err);
	if (*level)
		drop_level(level);
	if (r < 0)
		return r;
	*ret_process = move_ptr(process);
	*ret_mount = move_ptr(mount);
	return 0;
}

int selinux_as(enum selinux_kind kind, const char *label, char **ret, crio_err *err)
{
	cleanup_label struct label l = {0}, as = {0};
	cleanup_free char *text = NULL;

	if (!str_set(label)) {
		*ret = strdup("");
		return *ret ? 0 : err_nomem(err);
	}
	int r = context_of(kind == SELINUX_INIT ? "init_process" : "kvm_process", &text, err);
	if (r == 0 && !*text) {
		free(move_ptr(text));
		r = context_of("process", &text, err);
	}
	if (r == 0)
		r = label_parse(text, &as, err);
	if (r == 0)
		r = label_parse(label, &l, err);
	if (r == 0)
		r = label_set(&l, TYPE, as.v[TYPE], err);
	return r < 0 ? r : canonical(&l, ret, err);
}

bool selinux_has_type(const char *label, const char *type)
{
	cleanup_label struct label l = {0};

	return str_set(label) && label_parse(label, &l, NULL) == 0 && str_set(l.v[TYPE]) && str_eq(l.v[TYPE], type);
}

bool selinux_is_default(const char *label)
{
	cleanup_label struct label l = {0};
	cleanup_free char *text = NULL;

	return str_set(label) && context_of("process", &text, NULL) == 0 && label_parse(text, &l, NULL) == 0 && str_set(l.v[TYPE]) &&
	       selinux_has_type(label, l.v[TYPE]);
}

char *selinux_mount_options(const char *options, const char *label)
{
	if (!str_set(label))
		return strdup(options);
	/* In quotes: levels have commas. */
	return path_fmt("%s%scontext=\"%s\"", options, *options ? "," : "", label);
}
