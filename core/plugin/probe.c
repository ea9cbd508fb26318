/*
 * probe.c: a file that was never loaded is tried first in a child that runs this same program again: a crash in a
 * constructor, in open or in check costs nothing there. A probe takes about 20 ms, most of them the linking of this program;
 * verdicts.c says when there is none.
 */
#include "core/plugin/probe.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "core/conf/pluginopts.h"
#include "core/exec/spawn.h"
#include "core/plugin/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define PROBE_NS (20 * 1000000000LL)
#define DIR_PREFIX ".probe-"

void probe_sweep(const char *run_dir)
{
	fs_owned_sweep(run_dir, DIR_PREFIX);
}

static void remove_dir(char **path)
{
	if (*path)
		(void)fs_rm_rf(-1, *path, NULL);
	free(*path);
}

int probe_run(struct module *m, crio_err *err)
{
	/* Where the plugin's records go in its probe. It is ours and not the child's, which may crash. Who may not write in the run
	 * directory can list plugins all the same: a record cannot be put below a device. */
	const char *run_dir = m->host->args.run_dir;
	CLEANUP(remove_dir) char *dir = NULL;
	cleanup_close int held = fs_mkdir_p(run_dir, 0755, NULL);
	held = held < 0 ? held : fs_owned_make(run_dir, DIR_PREFIX, &dir, NULL);
	cleanup_call crio_call *call = call_new("probe", now_mono_ns() + PROBE_NS);
	if (!call)
		return err_nomem(err);
	const char *argv[] = { "crio", "--probe-plugin", plugin_kind_name(m->kind), m->path, dir ? dir : "/dev/null", NULL };
	static const char *const env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	struct spawn s = SPAWN_INIT;
	s.path = m->host->args.probe_path;
	s.argv = argv;
	s.env = env;
	cleanup_spawn_result struct spawn_result res;
	memset(&res, 0, sizeof(res));
	int r = spawn_capture(&s, call, NULL, 0, 4096, 4096, &res, err);
	if (r == CRIO_E_DEADLINE)
		return err_set(err, CRIO_E_DEADLINE, "its probe did not end within %lld s", PROBE_NS / 1000000000);
	if (r < 0)
		return err_wrap(err, "probe");
	if (res.exit_code == 0)
		return 0;
	if (res.exit_code > 128)
		return err_set(err, CRIO_E_INVALID, "it crashed in the probe (signal %d, %s)", res.exit_code - 128,
			       strsignal(res.exit_code - 128));
	int n = res.out.n ? (int)strcspn(res.out.p, "\n") : 0;
	if (!n) /* the plugin itself called exit, or a sanitizer did */
		return err_set(err, CRIO_E_INVALID, "its probe ended with exit code %d and did not say why", res.exit_code);
	return err_set(err, CRIO_E_INVALID, "%.*s", n, res.out.p);
}

/* Options that must be given cannot be known here: such a plugin is loaded but not opened. */
static bool can_open(const struct module *m)
{
	for (size_t i = 0; i < m->desc.options_n; i++) {
		const struct crio_option *o = pluginopts_row(m->desc.options, i);
		if ((o->flags & CRIO_OPT_REQUIRED) && !o->dflt)
			return false;
	}
	return true;
}

static int try_plugin(struct plugins *p, enum crio_kind kind, const char *name, crio_err *err)
{
	struct module *m = p->modules;
	while (m && !(m->kind == kind && str_eq(m->name, name)))
		m = m->next;
	if (!m)
		return err_set(err, CRIO_E_NOT_FOUND, "no such plugin");
	(void)pthread_mutex_lock(&p->load_lock);
	int r = loader_load(m, err);
	(void)pthread_mutex_unlock(&p->load_lock);
	if (r < 0) {
		/* The parent adds its own "was refused". */
		return err_set(err, r, "%s", m->refused ? m->refused : err_text(err));
	}
	if (!can_open(m))
		return 0;
	cleanup_call crio_call *call = call_new("probe", now_mono_ns() + PROBE_NS / 2);
	if (!call)
		return err_nomem(err);
	struct plugin_inst *in = NULL;
	r = plugins_open(p, call, kind, name, "probe", NULL, &in, err);
	if (r < 0)
		return r;
	/* A plugin that says it cannot work here is sound all the same; who needs it asks again. */
	(void)plugin_inst_check(in, call, NULL);
	plugin_inst_unref(in);
	return 0;
}

int probe_main(const char *kind_name, const char *path, const char *tmp)
{
	/* A crash must show as what it is, whatever handler a library (a sanitizer's, say) has put there. */
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
	for (size_t i = 0; i < ARRAY_SIZE(crashes); i++)
		(void)signal(crashes[i], SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody removes what it would make after its parent's end */
	enum crio_kind kind = CRIO_KIND_RUNTIME;
	while (kind <= CRIO_KIND_HOOK && !str_eq(plugin_kind_name(kind), kind_name))
		kind = (enum crio_kind)(kind + 1);
	cleanup_free char *file = strdup(path);
	char *slash = file ? strrchr(file, '/') : NULL;
	if (kind > CRIO_KIND_HOOK || !slash || !str_ends(path, ".so") || *tmp != '/') {
		(void)printf("unusable arguments\n");
		return 2;
	}
	*slash = '\0';
	char *name = slash + 1;
	name[strlen(name) - 3] = '\0';
	char *up = strrchr(file, '/');
	if (up)
		*up = '\0';
	log_set_level(LOGL_FATAL);
	struct loop *loop = NULL;
	struct workers *workers = NULL;
	struct plugins *p = NULL;
	cleanup_err crio_err err = ERR_INIT;
	int r = loop_new(&loop, &err);
	if (r == 0)
		r = workers_new(&workers, &err);
	struct plugins_args a = { .dir = file, .options_dir = "", .state_dir = tmp, .run_dir = tmp, .loop = loop, .workers = workers };
	if (r == 0)
		r = plugins_new(&a, &p, &err);
	if (r == 0)
		r = try_plugin(p, kind, name, &err);
	if (r < 0)
		(void)printf("%s\n", err_text(&err));
	(void)fflush(stdout);
	_exit(r < 0 ? 1 : 0); /* not exit: a broken plugin's destructors are not wanted either */
}
