/* main.c: argv. Everything else is in core/cli (commands) and core/daemon.c (the daemon's life). */
#include <stddef.h>

#include "core/cli/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv, NULL);
}
