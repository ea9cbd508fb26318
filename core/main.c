/* main.c: argv. Everything else is in core/cli (commands) and core/daemon.c (the daemon's life). */
#include <stdio.h>

int main(void)
{
	return 0;
}
