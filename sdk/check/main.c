/*
 * crio-plugin-check KIND FILE.so: does a plugin keep the rules of the SDK? See crio-plugin(7).
 *
 * With root it works in mount and network namespaces of its own, so that real pods and containers can be tried and nothing of
 * them is left on the machine.
 */
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/conf/pluginopts.h"
#include "core/plugin/probe.h"
#include "core/util/log.h"
#include "sdk/check/check.h"

static const char usage[] =
	"usage: crio-plugin-check [OPTION]... KIND FILE.so\n"
	"Loads a plugin as crio does and checks that it keeps the rules of the SDK. TAP on standard output; 0: it does.\n"
	"  KIND                      runtime, storage, network or hook\n"
	"  -o, --option NAME=VALUE   an option of the instance; may be repeated\n"
	"  -r, --root DIR            storage: the store's directory (its file system matters); it must be empty\n"
	"  -p, --program FILE        runtime: the static busybox that containers run; /bin/busybox\n"
	"  -b, --bare                only what is absent: no pods, containers or layers\n"
	"  -v, --verbose             the plugin's log, on standard error\n"
	"  -h, --help\n";

/* ---- the descriptor and the table of options ---- */

static void find_module(void *arg, const struct plugin_info *info)
{
	struct check *c = arg;
	if (info->kind != c->kind || !str_eq(info->name, c->name))
		return;
	c->desc = info->desc;
	check_ok(c, info->desc != NULL, "it loads, and survives the probe", "%s", info->refused ? info->refused : "");
}

static int open_inst(struct check *c, const char *instance, const struct kvs *options, struct plugin_inst **ret, crio_err *err)
{
	cleanup_call crio_call *call = check_call(30 * SEC);
	return call ? plugins_open(c->host, call, c->kind, c->name, instance, options, ret, err) : err_nomem(err);
}

static void refuses(struct check *c, const char *what, const char *name, const char *value)
{
	cleanup_kvs struct kvs m = KVS_INIT;
	cleanup_err crio_err err = ERR_INIT;
	struct plugin_inst *in = NULL;
	if (kvs_copy(&m, &c->options) < 0 || kvs_set(&m, name, value) < 0)
		return;
	int r = open_inst(c, "refuses", &m, &in, &err);
	check_ok(c, r == CRIO_E_INVALID && strstr(err_text(&err), name), what, "%s=%s: %s", name, value,
		 r < 0 ? err_text(&err) : "it was accepted");
	if (r == 0)
		plugin_inst_unref(in);
}

static void check_options(struct check *c)
{
	cleanup_buf struct buf bad = BUF_INIT;
	cleanup_kvs struct kvs all = KVS_INIT;
	for (size_t i = 0; i < c->desc->options_n; i++) {
		const struct crio_option *o = pluginopts_row(c->desc->options, i);
		size_t n = o->help ? strlen(o->help) : 0;
		if (!n || strchr(o->help, '\n') || o->help[n - 1] == '.')
			buf_addf(&bad, "option %s: its help is to be one line without a full stop\n", o->name);
		if (o->dflt && !kvs_get(&c->options, o->name) && kvs_set(&all, o->name, o->dflt) < 0)
			return;
	}
	check_ok(c, !bad.n, "options: each has a line of help", "%s", bad.n ? bad.p : "");
	/* Its own defaults, written by a person. */
	struct plugin_inst *in = NULL;
	cleanup_err crio_err err = ERR_INIT;
	for (size_t i = 0; i < c->options.n; i++)
		(void)kvs_set(&all, c->options.v[i].key, c->options.v[i].value);
	int r = open_inst(c, "defaults", &all, &in, &err);
	check_ok(c, r == 0, "options: its defaults, written out, open it", "%s", err_text(&err));
	if (r == 0)
		plugin_inst_unref(in);
	refuses(c, "options: an unknown one is refused by name", "no_such_option_here", "1");
	for (size_t i = 0; i < c->desc->options_n; i++) {
		const struct crio_option *o = pluginopts_row(c->desc->options, i);
		if (o->type == CRIO_OPT_INT || o->type == CRIO_OPT_MS || o->type == CRIO_OPT_BOOL) {
			refuses(c, "options: a wrong value is refused by name", o->name, "neither");
			break;
		}
	}
}

static void count_instances(void *arg, const struct plugin_info *info)
{
	*(size_t *)arg += info->instances;
}

/* The thread of the last operation may hold the instance for a moment longer. */
static bool all_closed(struct check *c)
{
	for (int i = 0; i < 500; i++) {
		size_t n = 0;
		plugins_each(c->host, count_instances, &n);
		if (!n)
			return true;
		(void)usleep(10000);
	}
	return false;
}

static void check_life(struct check *c)
{
	struct leftovers before;
	leftovers_take(&before);
	char detail[LEFT_TEXT];
	bool ok = true;
	cleanup_err crio_err err = ERR_INIT;
	for (int i = 0; ok && i < 6; i++) {
		struct plugin_inst *in = NULL;
		if (i == 1)
			leftovers_take(&before);
		ok = open_inst(c, "life", &c->options, &in, &err) == 0;
		if (ok) {
			cleanup_call crio_call *call = check_call(30 * SEC);
			(void)plugin_inst_check(in, call, NULL); /* may say that it cannot work here */
			plugin_inst_unref(in);
		}
	}
	check_ok(c, ok, "it opens, checks and closes, again and again", "%s", err_text(&err));
	if (ok)
		check_ok(c, leftovers_same(&before, LEFT_SOON, detail), "open and close leave no descriptor, mount or link behind", "%s", detail);
	/* Two instances live side by side: two handlers of one plugin. */
	struct plugin_inst *a = NULL, *b = NULL;
	err_clear(&err);
	ok = open_inst(c, "one", &c->options, &a, &err) == 0 && open_inst(c, "two", &c->options, &b, &err) == 0;
	check_ok(c, ok, "two instances live side by side", "%s", err_text(&err));
	plugin_inst_unref(a);
	plugin_inst_unref(b);
}

/* ---- set-up ---- */

static void on_breach(void *arg, const char *op, const char *what)
{
	struct check *c = arg;
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	(void)snprintf(c->breach, sizeof(c->breach), "%s: %s", op, what);
}

/* The file goes into a plugin directory of ours: the host takes <dir>/<kind>/<name>.so and nothing else. */
static int stage(struct check *c, const char *file, crio_err *err)
{
	const char *base = strrchr(file, '/');
	base = base ? base + 1 : file;
	size_t n = strlen(base);
	if (n < 4 || n > 35 || !str_ends(base, ".so"))
		return err_set(err, CRIO_E_INVALID, "%s: a plugin's file is called NAME.so", file);
	(void)snprintf(c->name, sizeof(c->name), "%.*s", (int)(n - 3), base);
	const char *kind = c->kind == CRIO_KIND_HOOK ? "hooks" : plugin_kind_name(c->kind);
	cleanup_free char *dir = path_fmt("%s/plugins/%s", c->tmp, kind), *to = path_fmt("%s/plugins/%s/%s", c->tmp, kind, base);
	cleanup_free char *data = NULL;
	struct stat st;
	size_t size = 0;
	if (!dir || !to)
		return err_nomem(err);
	if (stat(file, &st) < 0)
		return err_errno(err, errno, "%s", file);
	int r = fs_mkdir_p(dir, 0755, err);
	r = r < 0 ? r : fs_read_file(AT_FDCWD, file, 256u << 20, &data, &size, err);
	return r < 0 ? r : fs_write_path(to, data, size, st.st_mode & 07777, FS_RUN, err);
}

static int host_new(struct check *c, crio_err *err)
{
	cleanup_free char *dir = path_fmt("%s/plugins", c->tmp), *state = path_fmt("%s/state", c->tmp), *run = path_fmt("%s/run", c->tmp);
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	int r = dir && state && run ? loop_new(&c->loop, err) : err_nomem(err);
	r = r < 0 ? r : workers_new(&c->workers, err);
	struct plugins_args a = { .dir = dir, .options_dir = "", .state_dir = state, .run_dir = run, .probe_path = n > 0 ? exe : NULL,
				  .loop = c->loop, .workers = c->workers, .breach = on_breach, .breach_arg = c };
	return r < 0 ? r : plugins_new(&a, &c->host, err);
}

static void run_checks(struct check *c)
{
	cleanup_err crio_err err = ERR_INIT;
	plugins_each(c->host, find_module, c);
	if (!c->desc)
		return;
	check_options(c);
	check_life(c);
	if (open_inst(c, "check", &c->options, &c->in, &err) < 0) {
		check_ok(c, false, "open", "%s", err_text(&err));
		return;
	}
	switch (c->kind) {
	case CRIO_KIND_RUNTIME:
		check_runtime(c);
		break;
	case CRIO_KIND_STORAGE:
		check_storage(c);
		break;
	case CRIO_KIND_NETWORK:
		check_network(c);
		break;
	case CRIO_KIND_HOOK:
		check_hook(c);
		break;
	}
	plugin_inst_unref(c->in);
	check_ok(c, all_closed(c), "the instance closes when its last operation has ended", "an operation is still in progress");
}

static int body(struct check *c, const char *file)
{
	cleanup_err crio_err err = ERR_INIT;
	int r = stage(c, file, &err);
	r = r < 0 ? r : host_new(c, &err);
	if (r < 0)
		(void)fprintf(stderr, "crio-plugin-check: %s\n", err_text(&err));
	else
		run_checks(c);
	plugins_free(c->host);
	(void)workers_free(c->workers, 5 * SEC);
	loop_free(c->loop);
	kvs_release(&c->options);
	(void)printf("1..%d\n", c->n);
	return r < 0 ? 2 : c->failed != 0;
}

/* In a child, with the parent as the reaper of what containers leave behind: a monitor may outlive its starter. Before any thread. */
static int in_own_namespaces(struct check *c, const char *file)
{
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t pid = _Fork();
	if (pid < 0)
		return 2;
	if (!pid) {
		if (geteuid() == 0 && unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0) {
			c->own_ns = true;
			/* Some versions of crun refuse a unified tree beside v1 hierarchies. */
			if (access("/sys/fs/cgroup/memory", F_OK) == 0)
				(void)umount2("/sys/fs/cgroup/unified", MNT_DETACH);
		}
		int r = body(c, file);
		(void)fflush(stdout);
		_exit(r); /* a broken plugin's destructors are not wanted */
	}
	for (int st;;) {
		pid_t got = waitpid(-1, &st, 0);
		if (got == pid && WIFSIGNALED(st)) {
			(void)printf("not ok - the plugin crashed: signal %d (%s)\n", WTERMSIG(st), strsignal(WTERMSIG(st)));
			return 1;
		}
		if (got == pid)
			return WEXITSTATUS(st);
		if (got < 0 && errno != EINTR)
			return 2;
	}
}

/* The directory is the parent's: a broken plugin may end the child. */
static int in_own_directory(struct check *c, const char *file)
{
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *dir = NULL;
	fs_owned_sweep("/tmp", "crio-check-");
	cleanup_close int held = fs_owned_make("/tmp", "crio-check-", &dir, &err);
	if (held < 0) {
		(void)fprintf(stderr, "crio-plugin-check: %s\n", err_text(&err));
		return 2;
	}
	(void)snprintf(c->tmp, sizeof(c->tmp), "%s", dir);
	int r = in_own_namespaces(c, file);
	(void)fs_rm_rf(-1, dir, NULL);
	return r;
}

static bool add_option(struct check *c, const char *text)
{
	const char *eq = strchr(text, '=');
	cleanup_free char *name = eq ? strndup(text, (size_t)(eq - text)) : NULL;
	return name && kvs_set(&c->options, name, eq + 1) == 0;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "option", 1, NULL, 'o' }, { "root", 1, NULL, 'r' },    { "program", 1, NULL, 'p' },
					       { "bare", 0, NULL, 'b' },   { "verbose", 0, NULL, 'v' }, { "help", 0, NULL, 'h' },
					       { NULL, 0, NULL, 0 } };
	if (argc == 5 && str_eq(argv[1], "--probe-plugin"))
		return probe_main(argv[2], argv[3], argv[4]);
	struct check c = { .rootfs = "/bin/busybox", .lock = PTHREAD_MUTEX_INITIALIZER };
	log_set_level(LOGL_FATAL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022);
	for (int o; (o = getopt_long(argc, argv, "o:r:p:bvh", longs, NULL)) != -1;) {
		if (o == 'o' && add_option(&c, optarg))
			continue;
		if (o == 'r')
			c.root = optarg;
		else if (o == 'p')
			c.rootfs = optarg;
		else if (o == 'b')
			c.bare = true;
		else if (o == 'v')
			log_set_level(LOGL_DEBUG);
		else
			return (void)fputs(usage, o == 'h' ? stdout : stderr), o == 'h' ? 0 : 2;
	}
	if (argc - optind != 2)
		return (void)fputs(usage, stderr), 2;
	int kind = CRIO_KIND_RUNTIME;
	while (kind <= CRIO_KIND_HOOK && !str_eq(plugin_kind_name((enum crio_kind)kind), argv[optind]))
		kind++;
	if (kind > CRIO_KIND_HOOK)
		return (void)fprintf(stderr, "crio-plugin-check: '%s' is no kind of plugin\n%s", argv[optind], usage), 2;
	c.kind = (enum crio_kind)kind;
	int r = in_own_directory(&c, argv[optind + 1]);
	kvs_release(&c.options);
	return r;
}
