#include "core/kubens.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/util/cleanup.h"
#include "core/util/log.h"

#define ENV_NAME "KUBENSMNT"

/* Written by kubens_enter before the first thread, read afterwards. */
static const char *path;  /* the environment's; NULL: not asked for */
static const char *step;  /* that failed; NULL: joined */
static int why;           /* its errno */

void kubens_enter(void)
{
	path = getenv(ENV_NAME);
	if (!path || !*path) {
		path = NULL;
		return;
	}
	/* A FIFO in its place must not hang us. */
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		step = "open";
	else if (setns(fd, CLONE_NEWNS) < 0)
		step = "join";
	why = step ? errno : 0;
}

void kubens_log(void)
{
	if (!path)
		return;
	if (step)
		log_warn("Could not %s mount namespace \"%s\" of " ENV_NAME ": %s; going on without", step, path, strerror(why));
	else
		log_info("Joined mount namespace \"%s\"", path);
}
