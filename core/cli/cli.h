/*
 * cli.h: the command line: `crio [flags] [command] [arguments]`. Flags come from the table of keys (core/conf/keys.def) and are read as
 * Go programs do: one dash or two, "--flag value" or "--flag=value", booleans only with '='. Commands are rows of commands.def.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

#include "core/conf/conf.h"

/* What the daemon needs of main: core/cli does not know core/daemon. Returns the exit code. args lives as long as the
 * process: for conf_reload(). */
typedef int (*cli_daemon_fn)(const struct conf *c, const struct conf_args *args);

struct cli {
	struct conf_args args;       /* -c, -d and the flags */
	struct conf_setting *settings;
	size_t n_settings;
	cli_daemon_fn daemon;
	FILE *out, *err;
};

/* A command. argv[0] is its name as given, argv[argc] NULL. Returns the exit code. */
typedef int (*cli_command_fn)(struct cli *cli, int argc, char **argv);
struct cli_command {
	const char *name, *alias;    /* alias may be NULL */
	cli_command_fn fn;
	const char *usage;           /* "[--default]" */
	const char *help;            /* one line; NULL hides it */
};
#define COMMAND(name, alias, fn, usage, help) int fn(struct cli *cli, int argc, char **argv);
#include "core/cli/commands.def"
#undef COMMAND
extern const struct cli_command cli_commands[];
extern const size_t cli_commands_n;

/* Everything; daemon NULL: there is none in this build (tests). Returns the exit code. */
int cli_main(int argc, char **argv, cli_daemon_fn daemon);

/* The configuration the flags ask for. Prints the error and returns a negative code when it cannot be had. */
int cli_load(struct cli *cli, unsigned flags, const struct conf **ret);
/* One line on stderr in the log's form, level fatal. Returns 1. */
int cli_fail(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Flags of a command: "-j", "--json". Takes argv[*i] as this boolean flag? letter 0: none. */
bool cli_is_flag(const char *arg, char letter, const char *name);

#endif
