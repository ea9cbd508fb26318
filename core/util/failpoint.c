/* failpoint.c: see failpoint.h. Nothing here allocates: the points are passed in the middle of anything. */
#include "core/util/failpoint.h"

#ifdef CRIO_FAILPOINTS

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/util/cleanup.h"

enum action { NONE, KILL, ERROR, DELAY };

/* NULL: the linker may leave a hole between two files' parts. */
extern struct failpoint *__start_failpoints[], *__stop_failpoints[];

static struct {
	pthread_mutex_t lock;
	bool looked;
	struct stat seen; /* the file as it was read */
	char name[96];
	unsigned nth;
	enum action action;
	long delay_ms;
	char trace[256];
} arm = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void trace(const char *name)
{
	int fd = open(arm.trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		(void)dprintf(fd, "%s\n", name);
	(void)safe_close(fd);
}

static void take(char *text)
{
	arm.action = NONE;
	arm.nth = 1;
	*arm.trace = '\0';
	for (struct failpoint **p = __start_failpoints; p < __stop_failpoints; p++)
		if (*p)
			(*p)->hits = 0;
	text[strcspn(text, "\n")] = '\0';
	char *what = strchr(text, '=');
	if (!what)
		return;
	*what++ = '\0';
	if (!strcmp(text, "trace")) {
		(void)snprintf(arm.trace, sizeof(arm.trace), "%s", what);
		return;
	}
	char *nth = strchr(text, ':');
	if (nth) {
		*nth++ = '\0';
		arm.nth = (unsigned)strtoul(nth, NULL, 10);
	}
	(void)snprintf(arm.name, sizeof(arm.name), "%s", text);
	arm.action = !strcmp(what, "kill") ? KILL : !strcmp(what, "error") ? ERROR : !strncmp(what, "delay:", 6) ? DELAY : NONE;
	arm.delay_ms = arm.action == DELAY ? strtol(what + 6, NULL, 10) : 0;
}

static void look(void)
{
	char text[512];
	struct stat st;
	const char *env = getenv("CRIO_FAILPOINT"), *file = getenv("CRIO_FAILPOINT_FILE");
	if (!arm.looked && env) {
		(void)snprintf(text, sizeof(text), "%s", env);
		take(text);
	}
	arm.looked = true;
	if (!file || stat(file, &st) < 0)
		return;
	if (st.st_ino == arm.seen.st_ino && !memcmp(&st.st_mtim, &arm.seen.st_mtim, sizeof(st.st_mtim)) && st.st_size == arm.seen.st_size)
		return;
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	(void)safe_close(fd);
	if (n < 0)
		return;
	text[n] = '\0';
	arm.seen = st;
	take(text);
}

int failpoint_pass(struct failpoint *p, crio_err *err)
{
	int saved = errno;
	enum action what = NONE;
	(void)pthread_mutex_lock(&arm.lock);
	look();
	p->hits++;
	if (*arm.trace)
		trace(p->name);
	if (arm.action != NONE && p->hits == arm.nth && !strcmp(arm.name, p->name))
		what = arm.action;
	long ms = arm.delay_ms;
	(void)pthread_mutex_unlock(&arm.lock);
	if (what == KILL) {
		(void)kill(getpid(), SIGKILL);
		(void)pause();
	}
	if (what == DELAY) {
		struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
		(void)nanosleep(&t, NULL);
	}
	errno = saved;
	return what == ERROR ? err_set(err, CRIO_E_IO, "failpoint %s: made to fail", p->name) : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct failpoint *const *)a)->name, (*(struct failpoint *const *)b)->name);
}

void failpoint_list(FILE *f)
{
	const char *last = "";
	struct failpoint **end = __start_failpoints;
	for (struct failpoint **p = __start_failpoints; p < __stop_failpoints; p++)
		if (*p)
			*end++ = *p;
	qsort(__start_failpoints, (size_t)(end - __start_failpoints), sizeof(*__start_failpoints), by_name);
	for (struct failpoint **p = __start_failpoints; p < end; p++) {
		if (strcmp((*p)->name, last))
			(void)fprintf(f, "%s\n", (*p)->name);
		last = (*p)->name;
	}
}

#else

typedef int failpoint_nothing; /* a file of C has something in it */

#endif
