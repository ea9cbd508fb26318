/* gendoc.c: build-time program: writes crio.conf, crio.conf.5 or crio.8 from the tables to standard output. */
#include "core/cli/cli.h"
#include "core/conf/keys.h"

static char *conf_file(void)
{
	const struct conf_args args = { .config = "", .config_dir = "", .storage_conf = "", .flags = CONF_NO_CHECKS | CONF_NO_ENV };
	struct conf *c = NULL;
	char *text;

	if (conf_defaults(&args, &c, NULL) < 0)
		return NULL;
	c->runtime.selinux = false; /* whatever the building machine does */
	text = conf_template(c, c);
	conf_unref(c);
	return text;
}

static void man_flag(const struct conf_key *k, struct buf *b)
{
	char flag[96], env[96];

	if ((k->flags & KEY_HIDDEN) || !key_flag(k, flag))
		return;
	buf_addf(b, ".It Fl -%s", flag);
	if (k->letter)
		buf_addf(b, " , Fl %c", k->letter);
	if (k->type != KEY_BOOL)
		buf_addf(b, " Ar %s", k->type == KEY_INT ? "number" : k->type == KEY_DUR ? "duration" : k->type == KEY_STRS ? "list" : "value");
	buf_addf(b, "\n%s\n", k->help);
	if (key_env(k, env))
		buf_addf(b, "Variable:\n.Ev %s .\n", env);
	if (k->flags & KEY_TODO)
		buf_adds(b, "Nothing acts on it yet.\n");
}

static char *man_page(void)
{
	struct buf b = BUF_INIT;

	buf_adds(&b, ".Dd November 1, 2026\n.Dt CRIO 8\n.Os\n.Sh NAME\n.Nm crio\n.Nd container runtime daemon for Kubernetes\n"
		     ".Sh SYNOPSIS\n.Nm\n.Op Ar flags\n.Op Ar command Op Ar arguments\n.Sh DESCRIPTION\n"
		     "Without a command,\n.Nm\nruns the daemon that the kubelet talks to.\n.Pp\nCommands:\n.Bl -tag -width Ds\n");
	for (size_t i = 0; i < cli_commands_n; i++)
		if (cli_commands[i].help)
			buf_addf(&b, ".It Ic %s Li %s\n%s.\n", cli_commands[i].name, *cli_commands[i].usage ? cli_commands[i].usage : "\\&",
				 cli_commands[i].help);
	buf_adds(&b, ".El\n.Sh FLAGS\nFlags come before the command, with one dash or two, their value after a blank or\n.Sq = .\n"
		     "Booleans take a value only after\n.Sq = .\nA list is one value with commas, or the flag several times.\n"
		     "Flags win over environment variables, and those over files.\n.Bl -tag -width Ds\n"
		     ".It Fl -config , Fl c Ar file\nConfiguration file, instead of\n.Pa /etc/crio/crio.conf ;\nempty for none.\n"
		     "Variable:\n.Ev CONTAINER_CONFIG .\n"
		     ".It Fl -config-dir , Fl d Ar directory\nDirectory of drop-in files, instead of\n.Pa /etc/crio/crio.conf.d ;\n"
		     "empty for none.\nVariable:\n.Ev CONTAINER_CONFIG_DIR .\n"
		     ".It Fl -runtimes Ar list\nRuntime handlers:\n"
		     "name:path:root[:type[:privileged_without_host_devices[:config_path[:min_memory]]]].\n"
		     "Variable:\n.Ev CONTAINER_RUNTIMES .\n"
		     ".It Fl -help , Fl h\nPrint the flags.\n.It Fl -version , Fl v\nPrint the version.\n");
	for (size_t i = 0; i < conf_keys_n; i++)
		man_flag(&conf_keys[i], &b);
	buf_adds(&b, ".El\n.Sh SIGNALS\n.Bl -tag -width Ds\n.It SIGHUP\nRead the configuration again, and look for new plugin files.\n"
		     ".It SIGTERM , SIGINT\nStop. Containers keep running.\n.It SIGUSR2\nGive unused memory back.\n.El\n"
		     ".Sh ENVIRONMENT\nBeside the variables of the flags:\n.Bl -tag -width Ds\n.It Ev KUBENSMNT\n"
		     "A file that is a mount namespace, which is joined first of all; when that fails a warning is logged.\n.El\n"
		     ".Sh FILES\n.Bl -tag -width Ds\n.It Pa /etc/crio/crio.conf\n.It Pa /etc/crio/crio.conf.d\n"
		     ".It Pa /etc/crio/plugins.d\nOptions of the plugins, a file each.\n"
		     ".It Pa /usr/lib/crio/plugins\nThe plugins.\n"
		     ".It Pa /var/run/crio/crio.sock\nThe socket for the kubelet.\n.El\n"
		     ".Sh EXIT STATUS\n.Ex -std\n.Sh SEE ALSO\n.Xr crictl 1 ,\n.Xr crio.conf 5\n");
	return buf_take(&b);
}

int main(int argc, char **argv)
{
	cleanup_free char *text = NULL;
	const char *what = argc == 2 ? argv[1] : "";

	if (!strcmp(what, "crio.conf"))
		text = conf_file();
	else if (!strcmp(what, "crio.conf.5"))
		text = conf_manual();
	else if (!strcmp(what, "crio.8"))
		text = man_page();
	if (!text) {
		(void)fprintf(stderr, "usage: gendoc crio.conf|crio.conf.5|crio.8\n");
		return 1;
	}
	return fputs(text, stdout) < 0 || fflush(stdout) != 0;
}
