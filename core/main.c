/* main.c: argv. Everything else is in core/cli (commands) and core/daemon.c (the daemon's life). */
#include <ltdl.h>
#include <string.h>

#include "core/cli/cli.h"
#include "core/daemon.h"
#include "core/kubens.h"
#include "core/plugin/probe.h"
#include "core/util/failpoint.h"

static int run_daemon(const struct conf *conf, const struct conf_args *args)
{
	cleanup_err crio_err err = ERR_INIT;
	if (daemon_run(conf, args, &err) == 0)
		return 0;
	log_at(LOGL_FATAL, __FILE__, __LINE__, "%s", err_text(&err));
	return 1;
}

int main(int argc, char **argv)
{
	LTDL_SET_PRELOADED_SYMBOLS(); /* plugins that were built in with --with-<kind>-<name>=static */
	if (argc == 5 && !strcmp(argv[1], "--probe-plugin"))
		return probe_main(argv[2], argv[3], argv[4]);
#ifdef CRIO_FAILPOINTS
	if (argc == 2 && !strcmp(argv[1], "--list-failpoints"))
		return failpoint_list(stdout), 0;
#endif
	kubens_enter(); /* before anything is read: files are those of that namespace */
	return cli_main(argc, argv, run_daemon);
}
