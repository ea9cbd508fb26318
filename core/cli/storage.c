/* storage.c: `crio wipe` and `crio check`: the stores without a daemon. */
#include "core/cli/cli.h"
#include "core/conf/keys.h"
#include "core/exec/loop.h"
#include "core/exec/workers.h"
#include "core/lifecycle/marks.h"
#include "core/lifecycle/wipe.h"
#include "core/plugin/plugins.h"
#include "core/util/fs.h"

#define LIMIT_NS (60 * 60 * INT64_C(1000000000))
#define WIPE_DONE "/run/crio/crio-wipe-done" /* gone with a reboot: the root was wiped in this boot */

/* What it takes to open the stores. */
struct place {
	const struct conf *conf;
	struct loop *loop;
	struct workers *workers;
	struct plugins *plugins;
	struct images *images;
	crio_call *call;
};

static void place_release(struct place *p)
{
	images_free(p->images);
	if (p->plugins)
		plugins_free(p->plugins);
	if (p->workers)
		(void)workers_free(p->workers, 1000000000);
	loop_free(p->loop);
	call_unref(p->call);
	conf_unref(p->conf);
}

static int place_open(struct cli *cli, const char *command, struct place *p, crio_err *err)
{
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	int r;

	memset(p, 0, sizeof(*p));
	exe[n > 0 ? n : 0] = '\0';
	if (cli_load(cli, CONF_NO_CHECKS, &p->conf) < 0)
		return err_set(err, CRIO_E_INVALID, "the configuration cannot be used");
	log_set_level(p->conf->runtime.log_level);
	log_set_json(p->conf->flags.log_format == CONF_LOG_JSON);
	p->call = call_new(command, now_mono_ns() + LIMIT_NS);
	r = p->call ? loop_new(&p->loop, err) : err_nomem(err);
	if (r == 0)
		r = workers_new(&p->workers, err);
	struct plugins_args a = { .dir = p->conf->plugins.dir,
				  .options_dir = p->conf->plugins.options_dir,
				  .state_dir = p->conf->plugins.state_dir,
				  .run_dir = p->conf->plugins.run_dir,
				  .probe_path = n > 0 ? exe : NULL,
				  .loop = p->loop,
				  .workers = p->workers };
	if (r == 0)
		r = plugins_new(&a, &p->plugins, err);
	struct images_args ia = { .conf = p->conf, .plugins = p->plugins };
	return r < 0 ? r : images_new(&ia, p->call, &p->images, err);
}

/* Nobody else has the stores open. */
static int need_alone(const struct place *p, crio_err *err)
{
	const struct store *s;

	for (size_t i = 0; (s = images_store_at(p->images, i)); i++)
		if (!store_owned(s))
			return err_set(err, CRIO_E_PRECONDITION, "a crio daemon is running on %s: stop it first", store_root(s));
	return 0;
}

/* ---- wipe ---- */

static int wipe_all(struct place *p, bool force, crio_err *err)
{
	int r;

	log_info("File %s not found. Wiping storage directory %s because of suspected unclean shutdown", p->conf->crio.clean_shutdown_file,
		 p->conf->crio.root);
	if (access(WIPE_DONE, F_OK) == 0) {
		log_info("Unclean shutdown check already succeeded by previous crio wipe command");
		return 1;
	}
	r = wipe_stores(&p->images, p->call, force, err);
	if (r == 0)
		r = fs_mkdir_p("/run/crio", 0755, err);
	return r < 0 ? r : fs_write_path(WIPE_DONE, "done", 4, 0644, FS_RUN, err);
}

static int wipe_some(struct place *p, bool images, crio_err *err)
{
	cleanup_strv struct strv ids = STRV_INIT;
	int r = wipe_records(p->images, p->call, &ids, err);

	for (size_t i = 0; images && i < ids.n; i++) {
		cleanup_err crio_err why = ERR_INIT;
		log_info("Wipe image %s", ids.v[i]);
		if (images_remove(p->images, p->call, ids.v[i], &why) < 0)
			log_warn("Wipe image %s: %s", ids.v[i], err_text(&why));
	}
	return r;
}

static int wipe(struct place *p, bool force, crio_err *err)
{
	struct marks m;
	int r = need_alone(p, err);

	if (r < 0)
		return r;
	marks_read(p->conf, &m);
	if ((force || m.rebooted) && m.unclean) {
		r = wipe_all(p, false, err);
		if (r < 0 || r == 1)
			return r < 0 ? r : 0;
	}
	if (p->conf->crio.internal_wipe && !force)
		return 0; /* the daemon does the rest at its start */
	if (!force && !m.rebooted) {
		log_info("Version unchanged and node not rebooted; no wipe needed");
		return 0;
	}
	return p->images ? wipe_some(p, force || m.upgraded, err) : 0;
}

int cli_wipe(struct cli *cli, int argc, char **argv)
{
	CLEANUP(place_release) struct place p;
	cleanup_err crio_err err = ERR_INIT;
	bool force = false;
	int r;

	memset(&p, 0, sizeof(p));
	for (int i = 1; i < argc; i++) {
		if (!cli_is_flag(argv[i], 'f', "force"))
			return cli_fail(cli, "wipe: what is '%.100s'? Only --force can be given", argv[i]);
		force = true;
	}
	r = place_open(cli, "wipe", &p, &err);
	if (r == 0)
		r = wipe(&p, force, &err);
	return r < 0 ? cli_fail(cli, "%s", err_text(&err)) : 0;
}

/* ---- check ---- */

struct check_flags {
	bool force, repair, quick, wipe;
	int64_t age_ns;
};

static int parse_age(struct cli *cli, const char *text, int64_t *ret)
{
	if (!duration_parse(text, ret) || *ret < 0)
		return cli_fail(cli, "unable to parse age duration: '%.50s' is none, such as 24h", text);
	return 0;
}

static int parse_check(struct cli *cli, int argc, char **argv, struct check_flags *f)
{
	f->age_ns = 24 * 3600 * INT64_C(1000000000);
	for (int i = 1; i < argc; i++) {
		const char *eq = strchr(argv[i], '=');
		if (cli_is_flag(argv[i], 'f', "force"))
			f->force = true;
		else if (cli_is_flag(argv[i], 'r', "repair"))
			f->repair = true;
		else if (cli_is_flag(argv[i], 'q', "quick"))
			f->quick = true;
		else if (cli_is_flag(argv[i], 'w', "wipe"))
			f->wipe = true;
		else if (cli_is_flag(argv[i], 'a', "age") && i + 1 < argc) {
			if (parse_age(cli, argv[++i], &f->age_ns))
				return 1;
		} else if (eq && (!strncmp(argv[i], "--age=", 6) || !strncmp(argv[i], "-a=", 3))) {
			if (parse_age(cli, eq + 1, &f->age_ns))
				return 1;
		} else {
			return cli_fail(cli, "check: what is '%.100s'? 'crio help check' shows the flags", argv[i]);
		}
	}
	return 0;
}

static int look(struct place *p, bool repair, const struct check_flags *f, struct strv *lines, crio_err *err)
{
	struct store *s;
	int r = 0;

	for (size_t i = 0; (s = images_store_at(p->images, i)) && r == 0; i++) {
		size_t before = lines->n;
		log_info("Checking storage directory %s for errors", store_root(s));
		r = store_check(s, p->call, repair, lines, err);
		if (r == 0 && !f->quick)
			r = wipe_check_layers(s, p->call, repair, f->force, lines, err);
		for (size_t k = before; k < lines->n; k++)
			log_warn("%s", lines->v[k]);
		log_debug("Storage directory %s has errors: %s", store_root(s), lines->n > before ? "true" : "false");
	}
	return r;
}

static int repair(struct place *p, const struct check_flags *f, crio_err *err)
{
	cleanup_strv struct strv was = STRV_INIT, left = STRV_INIT;
	struct store *s;
	int r = look(p, true, f, &was, err);

	for (size_t i = 0; r == 0 && (s = images_store_at(p->images, i)); i++)
		r = store_gc(s, p->call, f->age_ns, NULL, err);
	if (r == 0)
		r = look(p, false, f, &left, err);
	if (r == 0 && !left.n)
		return 0;
	if (f->wipe) {
		log_warn("Wiping storage directory %s", p->conf->crio.root);
		if (err)
			err_clear(err);
		return wipe_stores(&p->images, p->call, f->force, err);
	}
	return r < 0 ? r : err_set(err, CRIO_E_CORRUPT, "%zu errors are left after the repair, the first: %s", left.n, left.v[0]);
}

int cli_check(struct cli *cli, int argc, char **argv)
{
	CLEANUP(place_release) struct place p;
	cleanup_strv struct strv lines = STRV_INIT;
	cleanup_err crio_err err = ERR_INIT;
	struct check_flags f = { .force = false };
	int r;

	memset(&p, 0, sizeof(p));
	if (parse_check(cli, argc, argv, &f))
		return 1;
	r = place_open(cli, "check", &p, &err);
	if (r == 0 && f.repair)
		r = need_alone(&p, &err);
	if (r == 0)
		r = f.repair ? repair(&p, &f, &err) : look(&p, false, &f, &lines, &err);
	if (r == 0 && lines.n)
		r = err_set(&err, CRIO_E_CORRUPT, "%zu errors in the storage directory; 'crio check --repair' removes what is damaged", lines.n);
	return r < 0 ? cli_fail(cli, "%s", err_text(&err)) : 0;
}
