/* plugins.c: `crio plugins list` and `crio plugins describe NAME`, for people and as JSON. Needs no daemon. */
#include "core/cli/cli.h"
#include "core/conf/pluginopts.h"
#include "core/exec/loop.h"
#include "core/exec/workers.h"
#include "core/plugin/plugins.h"
#include "core/util/fs.h"
#include "core/util/json.h"

struct listing {
	struct cli *cli;
	struct json_object *rows; /* NULL: for people */
	const char *want;         /* describe: only this name ("crun" or "runtime/crun") */
	bool describe;
	size_t shown;
	int result;
};

static const char *type_name(uint32_t t)
{
	static const char *const n[] = { "?", "string", "boolean", "integer", "list of strings", "duration" };
	return n[t < ARRAY_SIZE(n) ? t : 0];
}

static const char *thread_name(uint32_t t)
{
	static const char *const n[] = { "?", "serial", "per object", "parallel" };
	return n[t < ARRAY_SIZE(n) ? t : 0];
}

/* "+" separated, the operations that the plugin has. */
static void each_op(const struct plugin_info *info, void (*fn)(void *arg, const char *op), void *arg)
{
	for (size_t i = 0; i < plugin_ops_count(info->kind); i++)
		if (plugin_info_has_op(info, i))
			fn(arg, plugin_op_name(info->kind, i));
}

static void print_op(void *arg, const char *op)
{
	(void)fprintf(arg, " %s", op);
}

static void push_op(void *arg, const char *op)
{
	(void)json_push_str(arg, op);
}

static struct json_object *options_json(const struct crio_plugin *d)
{
	struct json_object *a = json_object_new_array();
	for (size_t i = 0; a && i < d->options_n; i++) {
		const struct crio_option *o = pluginopts_row(d->options, i);
		struct json_object *r = json_object_new_object();
		if (!r || json_set_str(r, "name", o->name) < 0 || json_set_str(r, "type", type_name(o->type)) < 0 ||
		    (o->dflt && json_set_str(r, "default", o->dflt) < 0) || json_set_str(r, "help", o->help) < 0 ||
		    json_set_bool(r, "reloadable", (o->flags & CRIO_OPT_RELOADABLE) != 0) < 0 ||
		    json_set_bool(r, "required", (o->flags & CRIO_OPT_REQUIRED) != 0) < 0) {
			(void)json_object_put(r);
			(void)json_object_put(a);
			return NULL;
		}
		if (json_push(a, r) < 0) {
			(void)json_object_put(a);
			return NULL;
		}
	}
	return a;
}

static int row_json(const struct listing *l, const struct plugin_info *info, struct json_object *o)
{
	if (json_set_str(o, "kind", plugin_kind_name(info->kind)) < 0 || json_set_str(o, "name", info->name) < 0 ||
	    json_set_str(o, "path", info->path) < 0 || json_set_str(o, "state", info->refused ? "refused" : "loaded") < 0)
		return CRIO_E_NOMEM;
	if (info->refused)
		return json_set_str(o, "reason", info->refused);
	char abi[32];
	(void)snprintf(abi, sizeof(abi), "%u.%u", info->desc->abi_major, info->desc->abi_minor);
	if (json_set_str(o, "version", info->version) < 0 || json_set_str(o, "summary", info->summary) < 0 ||
	    json_set_str(o, "abi", abi) < 0)
		return CRIO_E_NOMEM;
	if (!l->describe)
		return 0;
	struct json_object *ops = json_need_arr(o, "operations");
	if (!ops || json_set_str(o, "threads", thread_name(info->desc->threads)) < 0)
		return CRIO_E_NOMEM;
	each_op(info, push_op, ops);
	return json_set(o, "options", options_json(info->desc));
}

static void describe_text(const struct listing *l, const struct plugin_info *info)
{
	FILE *f = l->cli->out;
	(void)fprintf(f, "%s/%s\n  file:       %s\n", plugin_kind_name(info->kind), info->name, info->path);
	if (info->refused) {
		(void)fprintf(f, "  refused:    %s\n", info->refused);
		return;
	}
	const struct crio_plugin *d = info->desc;
	(void)fprintf(f, "  version:    %s\n  summary:    %s\n  abi:        %u.%u\n  threads:    %s\n  operations:", info->version,
		      info->summary, d->abi_major, d->abi_minor, thread_name(d->threads));
	each_op(info, print_op, f);
	(void)fprintf(f, "\n  options:%s\n", d->options_n ? "" : "    none");
	for (size_t i = 0; i < d->options_n; i++) {
		const struct crio_option *o = pluginopts_row(d->options, i);
		(void)fprintf(f, "    %s (%s%s%s%s)\n        %s\n", o->name, type_name(o->type), o->dflt ? ", default " : "",
			      o->dflt ? o->dflt : "", o->flags & CRIO_OPT_REQUIRED ? ", required" : "", o->help);
	}
}

static bool wanted(const struct listing *l, const struct plugin_info *info)
{
	if (!l->want)
		return true;
	const char *slash = strchr(l->want, '/');
	if (!slash)
		return str_eq(info->name, l->want);
	const char *kind = plugin_kind_name(info->kind);
	return strlen(kind) == (size_t)(slash - l->want) && str_starts(l->want, kind) && str_eq(info->name, slash + 1);
}

static void show(void *arg, const struct plugin_info *info)
{
	struct listing *l = arg;
	if (!wanted(l, info))
		return;
	l->shown++;
	if (l->rows) {
		struct json_object *o = json_object_new_object();
		if (!o || row_json(l, info, o) < 0 || json_push(l->rows, o) < 0)
			l->result = 1;
	} else if (l->describe) {
		describe_text(l, info);
	} else if (info->refused) {
		(void)fprintf(l->cli->out, "%-8s %-16s %-10s refused: %s\n", plugin_kind_name(info->kind), info->name, "-", info->refused);
	} else {
		(void)fprintf(l->cli->out, "%-8s %-16s %-10s %s\n", plugin_kind_name(info->kind), info->name, info->version, info->summary);
	}
}

static int list(struct listing *l, const struct conf *conf)
{
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	cleanup_err crio_err err = ERR_INIT;
	struct loop *loop = NULL;
	struct workers *workers = NULL;
	struct plugins *p = NULL;
	int r = loop_new(&loop, &err);
	if (r == 0)
		r = workers_new(&workers, &err);
	struct plugins_args a = { .dir = conf->plugins.dir,
				  .options_dir = conf->plugins.options_dir,
				  .state_dir = conf->plugins.state_dir,
				  .run_dir = conf->plugins.run_dir,
				  .probe_path = n > 0 ? exe : NULL,
				  .loop = loop,
				  .workers = workers };
	if (r == 0)
		r = plugins_new(&a, &p, &err);
	if (r < 0)
		return cli_fail(l->cli, "%s", err_text(&err));
	log_set_level(LOGL_FATAL); /* a refused plugin is in the list, not in the log */
	plugins_each(p, show, l);
	plugins_free(p);
	(void)workers_free(workers, 1000000000);
	loop_free(loop);
	return l->result;
}

int cli_plugins(struct cli *cli, int argc, char **argv)
{
	struct listing l = { .cli = cli };
	bool as_json = false;
	const char *verb = NULL;
	for (int i = 1; i < argc; i++) {
		if (cli_is_flag(argv[i], 'j', "json"))
			as_json = true;
		else if (!verb)
			verb = argv[i];
		else if (!l.want)
			l.want = argv[i];
		else
			return cli_fail(cli, "plugins: '%s' is one argument too many", argv[i]);
	}
	if (!verb)
		verb = "list";
	l.describe = str_eq(verb, "describe");
	if (!l.describe && !str_eq(verb, "list"))
		return cli_fail(cli, "plugins: expected 'list' or 'describe NAME', got '%s'", verb);
	if (l.describe && !l.want)
		return cli_fail(cli, "plugins describe: which plugin? 'crio plugins list' shows their names");
	cleanup_conf const struct conf *conf = NULL;
	if (cli_load(cli, CONF_NO_CHECKS, &conf) < 0)
		return 1;
	l.rows = as_json ? json_object_new_array() : NULL;
	if (as_json && !l.rows)
		return cli_fail(cli, "no memory");
	if (!as_json && !l.describe)
		(void)fprintf(cli->out, "%-8s %-16s %-10s %s\n", "KIND", "NAME", "VERSION", "SUMMARY");
	int r = list(&l, conf);
	if (r == 0 && l.want && !l.shown)
		r = cli_fail(cli, "there is no plugin '%s' in %s", l.want, conf->plugins.dir);
	else if (r == 0 && l.rows)
		(void)fprintf(cli->out, "%s\n", json_object_to_json_string_ext(l.rows, JSON_C_TO_STRING_PRETTY |
									       JSON_C_TO_STRING_NOSLASHESCAPE));
	if (l.rows)
		(void)json_object_put(l.rows);
	return r;
}
