/* cli.c: flags, and which command to run. */
#include <stdarg.h>
#include <unistd.h>

#include "core/cli/cli.h"
#include "core/conf/keys.h"

#define SETTINGS_MAX 1000

#define COMMAND(name, alias, fn, usage, help) { name, alias, fn, usage, help },
const struct cli_command cli_commands[] = {
#include "core/cli/commands.def"
};
#undef COMMAND
const size_t cli_commands_n = ARRAY_SIZE(cli_commands);

int cli_fail(const struct cli *cli, const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	va_list ap;

	(void)cli;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	log_at(LOGL_FATAL, __FILE__, __LINE__, "%s", text ? text : "no memory");
	return 1;
}

bool cli_is_flag(const char *arg, char letter, const char *name)
{
	if (*arg++ != '-')
		return false;
	if (*arg == '-')
		arg++;
	return (letter && arg[0] == letter && !arg[1]) || !strcmp(arg, name);
}

int cli_load(struct cli *cli, unsigned flags, const struct conf **ret)
{
	cleanup_err crio_err err = ERR_INIT;
	struct conf *c;
	int r;

	cli->args.flags = flags;
	r = conf_load(&cli->args, &c, &err);
	if (r < 0) {
		(void)cli_fail(cli, "%s", err_text(&err));
		return r;
	}
	*ret = c;
	return 0;
}

/* ---- flags */

enum flag_kind { FLAG_UNKNOWN, FLAG_VALUE, FLAG_BOOL };

/* Canonical long name and kind of a flag as written, without dashes. */
static enum flag_kind find_flag(const char *name, char ret[96])
{
	static const struct {
		const char *name, *full;
	} own[] = { { "c", "config" }, { "config", "config" }, { "d", "config-dir" }, { "config-dir", "config-dir" },
		    { "runtimes", "runtimes" }, { "address", "address" } };
	const struct conf_key *k;

	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		if (!strcmp(name, own[i].name)) {
			(void)snprintf(ret, 96, "%s", own[i].full);
			return FLAG_VALUE;
		}
	}
	k = key_by_flag(name);
	for (size_t i = 0; !k && name[0] && !name[1] && i < conf_keys_n; i++)
		if (conf_keys[i].letter == name[0])
			k = &conf_keys[i];
	if (!k || !key_flag(k, ret))
		return FLAG_UNKNOWN;
	return k->type == KEY_BOOL ? FLAG_BOOL : FLAG_VALUE;
}

static int take_flag(struct cli *cli, const char *name, const char *value)
{
	if (!strcmp(name, "config")) {
		cli->args.config = value;
	} else if (!strcmp(name, "config-dir")) {
		cli->args.config_dir = value;
	} else if (strcmp(name, "address") != 0) { /* address: of the shims' publish command, nothing to us */
		struct conf_setting *s;
		char *flag;

		if (cli->n_settings >= SETTINGS_MAX)
			return cli_fail(cli, "more than %d flags", SETTINGS_MAX);
		s = realloc(cli->settings, (cli->n_settings + 1) * sizeof *s);
		if (!s)
			return cli_fail(cli, "no memory");
		cli->settings = s;
		flag = strdup(name);
		if (!flag)
			return cli_fail(cli, "no memory");
		s[cli->n_settings++] = (struct conf_setting){ flag, value };
	}
	return 0;
}

static int usage_error(struct cli *cli, const char *what, const char *name)
{
	(void)fprintf(cli->err, "Incorrect Usage: %s: -%s\n\n", what, name);
	return cli_fail(cli, "%s: -%s", what, name);
}

/* As Go's flag package says it, before anything is read. Other types are checked when all is put together. */
static int check_number(struct cli *cli, const char *full, const char *name, const char *value)
{
	const struct conf_key *k = key_by_flag(full);
	const char *why;
	int64_t v;

	if (!k || k->type != KEY_INT || str_to_i64(value, INT64_MIN, INT64_MAX, &v))
		return 0;
	why = !*value || value[strspn(value, "+-0123456789")] ? "parse error" : "value out of range";
	(void)fprintf(cli->err, "Incorrect Usage: invalid value \"%.200s\" for flag -%s: %s\n\n", value, name, why);
	return cli_fail(cli, "invalid value \"%.200s\" for flag -%s: %s", value, name, why);
}

/* Reads argv[*i], a flag, and its value. 0, or the exit code. */
static int parse_flag(struct cli *cli, int argc, char **argv, int *i)
{
	const char *arg = argv[*i] + (argv[*i][1] == '-' ? 2 : 1), *eq = strchr(arg, '='), *value;
	char name[96], full[96];
	int r;

	if ((eq ? (size_t)(eq - arg) : strlen(arg)) >= sizeof name)
		return usage_error(cli, "flag provided but not defined", "(too long)");
	(void)snprintf(name, sizeof name, "%.*s", (int)(eq ? eq - arg : (ptrdiff_t)strlen(arg)), arg);
	switch (find_flag(name, full)) {
	case FLAG_UNKNOWN:
		return usage_error(cli, "flag provided but not defined", name);
	case FLAG_BOOL:
		value = eq ? eq + 1 : "true";
		break;
	case FLAG_VALUE:
	default:
		if (!eq && *i + 1 >= argc)
			return usage_error(cli, "flag needs an argument", name);
		value = eq ? eq + 1 : argv[++*i];
		break;
	}
	r = check_number(cli, full, name, value);
	return r ? r : take_flag(cli, full, value);
}

/* ---- dispatch */

/* Where and what to log, before anything else is started. */
static int set_log(const struct conf *c, crio_err *err)
{
	int r = log_set_filter(c->runtime.log_filter, err);

	if (r < 0)
		return r;
	log_set_level(c->runtime.log_level);
	log_set_json(c->flags.log_format == CONF_LOG_JSON);
	return log_set_file(c->flags.log, err);
}

static int run_daemon(struct cli *cli)
{
	cleanup_err crio_err err = ERR_INIT;
	const struct conf *c = NULL;
	int r;

	if (!cli->daemon)
		return cli_fail(cli, "this build has no daemon");
	if (cli_load(cli, 0, &c) < 0)
		return 1;
	if (set_log(c, &err) < 0)
		r = cli_fail(cli, "%s", err_text(&err));
	else
		r = cli->daemon(c, &cli->args);
	conf_unref(c);
	return r;
}

static int run_command(struct cli *cli, int argc, char **argv)
{
	for (size_t i = 0; i < cli_commands_n; i++) {
		const struct cli_command *cmd = &cli_commands[i];
		if (!strcmp(argv[0], cmd->name) || (cmd->alias && !strcmp(argv[0], cmd->alias)))
			return cmd->fn(cli, argc, argv);
	}
	return cli_fail(cli, "command \"%.100s\" not supported", argv[0]);
}

static int parse_and_run(struct cli *cli, int argc, char **argv)
{
	int i, r;

	for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		if (cli_is_flag(argv[i], 'h', "help"))
			return cli_help(cli, 1, argv);
		if (cli_is_flag(argv[i], 'v', "version"))
			return cli_version(cli, 0, argv);
		r = parse_flag(cli, argc, argv, &i);
		if (r)
			return r;
	}
	cli->args.settings = cli->settings;
	cli->args.n_settings = cli->n_settings;
	return i < argc ? run_command(cli, argc - i, argv + i) : run_daemon(cli);
}

int cli_main(int argc, char **argv, cli_daemon_fn daemon)
{
	struct cli cli = { .daemon = daemon, .out = stdout, .err = stderr };
	int r;

	cli.args.config = getenv("CONTAINER_CONFIG");
	cli.args.config_dir = getenv("CONTAINER_CONFIG_DIR");
	r = parse_and_run(&cli, argc, argv);
	for (size_t i = 0; i < cli.n_settings; i++)
		free((void *)(uintptr_t)cli.settings[i].flag);
	free(cli.settings);
	if (fflush(stdout) != 0 && !r)
		r = cli_fail(&cli, "write to standard output: %m");
	return r;
}
