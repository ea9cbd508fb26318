/* config.c: `crio config`, `crio help`. */
#include "core/cli/cli.h"
#include "core/conf/keys.h"

static int print_conf(struct cli *cli, bool only_defaults)
{
	cleanup_conf const struct conf *c = NULL;
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *text = NULL;
	struct conf *defaults = NULL;

	if (cli_load(cli, CONF_NO_CHECKS, &c) < 0)
		return 1;
	if (conf_defaults(&cli->args, &defaults, &err) < 0)
		return cli_fail(cli, "%s", err_text(&err));
	text = only_defaults ? conf_template(defaults, NULL) : conf_template(c, defaults);
	conf_unref(defaults);
	if (!text)
		return cli_fail(cli, "no memory");
	(void)fputs(text, cli->out);
	return 0;
}

/* Words that are no flags are ignored, as `crio config check` always was: it loads, checks and prints. */
int cli_config(struct cli *cli, int argc, char **argv)
{
	cleanup_free char *text = NULL;
	bool dflt = false;

	for (int i = 1; i < argc; i++) {
		if (cli_is_flag(argv[i], 0, "default")) {
			dflt = true;
		} else if (cli_is_flag(argv[i], 0, "unimplemented")) {
			text = conf_unimplemented();
			if (!text)
				return cli_fail(cli, "no memory");
			(void)fputs(text, cli->out);
			return 0;
		} else if (argv[i][0] == '-') {
			return cli_fail(cli, "config: flag provided but not defined: %.100s", argv[i]);
		}
	}
	return print_conf(cli, dflt);
}

static void help_flag(FILE *out, const struct conf_key *k)
{
	char flag[96], env[96], left[128];

	if ((k->flags & KEY_HIDDEN) || !key_flag(k, flag))
		return;
	if (k->letter)
		(void)snprintf(left, sizeof left, "--%s, -%c", flag, k->letter);
	else
		(void)snprintf(left, sizeof left, "--%s%s", flag, k->type == KEY_BOOL ? "" : " value");
	(void)fprintf(out, "   %-44s %.*s", left, (int)strcspn(k->help, "\n"), k->help);
	if (k->dflt && *k->dflt && strlen(k->dflt) < 60)
		(void)fprintf(out, " (default: %s)", k->dflt);
	if (key_env(k, env))
		(void)fprintf(out, " [$%s]", env);
	(void)fputc('\n', out);
}

int cli_help(struct cli *cli, int argc, char **argv)
{
	FILE *out = cli->out;

	for (size_t i = 0; argc > 1 && i < cli_commands_n; i++) {
		if (strcmp(cli_commands[i].name, argv[1]) != 0)
			continue;
		(void)fprintf(out, "crio %s %s\n\n%s\n", cli_commands[i].name, cli_commands[i].usage, cli_commands[i].help);
		return 0;
	}
	if (argc > 1)
		return cli_fail(cli, "No help topic for '%.100s'", argv[1]);
	(void)fputs("NAME:\n   crio - container runtime daemon for Kubernetes\n\n"
		    "USAGE:\n   crio [flags] [command] [arguments]\n\n"
		    "Without a command it runs the daemon.\n\nCOMMANDS:\n", out);
	for (size_t i = 0; i < cli_commands_n; i++)
		if (cli_commands[i].help)
			(void)fprintf(out, "   %-12s %s\n", cli_commands[i].name, cli_commands[i].help);
	(void)fputs("\nGLOBAL OPTIONS:\n"
		    "   --config, -c value                           Configuration file (default: " CRIO_SYSCONFDIR
		    "/crio/crio.conf) [$CONTAINER_CONFIG]\n"
		    "   --config-dir, -d value                       Directory of drop-in files (default: " CRIO_SYSCONFDIR
		    "/crio/crio.conf.d) [$CONTAINER_CONFIG_DIR]\n"
		    "   --runtimes value                             Runtime handlers, name:path:root[:type[:privileged_without_host_devices"
		    "[:config_path[:min_memory]]]] [$CONTAINER_RUNTIMES]\n", out);
	for (size_t i = 0; i < conf_keys_n; i++)
		help_flag(out, &conf_keys[i]);
	(void)fputs("   --help, -h                                   Print this\n"
		    "   --version, -v                                Print the version\n", out);
	return 0;
}
