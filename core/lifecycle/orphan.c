/*
 * orphan.c: a container whose runtime plugin has gone. It runs on and stays listed: its process is watched and signalled by
 * pidfd, and its monitor still leaves the exit code in the exits directory.
 */
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define EXIT_FILE_NS (2 * SEC) /* for the monitor to write it, once the process has gone */

static int open_process(pid_t pid, uint64_t start)
{
	if (pid <= 0)
		return -1;
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* Looked at after the open: the number cannot have gone to another process in between. */
	if (fd >= 0 && process_start_time(pid) != start)
		fd = safe_close(fd);
	return fd;
}

static bool read_exit(const struct container *c, int32_t *ret_code)
{
	cleanup_free char *path = path_fmt("%s/%s", c->lc->conf->runtime.container_exits_dir, c->id);
	char text[32];
	int64_t v;
	if (!path || fs_read_small(-1, path, text, sizeof(text), NULL) <= 0)
		return false;
	*ret_code = str_to_i64(text, -1, 255, &v) ? (int32_t)v : -1;
	return true;
}

static bool was_oom(const struct container *c)
{
	cleanup_free char *path = path_fmt("%s/oom", c->dir);
	return path && access(path, F_OK) == 0;
}

static void ended_job(void *arg)
{
	cleanup_any_container struct container *c = arg;
	cleanup_err crio_err err = ERR_INIT;
	int64_t until = now_mono_ns() + EXIT_FILE_NS;
	int32_t code = -1;
	while (!read_exit(c, &code) && now_mono_ns() < until)
		(void)usleep(20000);
	container_exited(c, code, 0, was_oom(c));
	if (container_write_state(c, &err) < 0)
		log_warn("Record the exit of container %s: %s", c->id, err_text(&err));
	if (!c->is_infra)
		tell_container(c, EVENT_STOPPED);
}

static void ended(struct container *c)
{
	if (workers_run(c->lc->workers, WORK_WAIT, ended_job, registry_any_ref(c), NULL) < 0)
		ended_job(c);
}

static int on_end(void *arg, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	ended(arg);
	return 1;
}

void orphan_adopt(struct container *c)
{
	if (c->state == CONTAINER_EXITED)
		return;
	c->orphan_fd = open_process(c->pid, c->start_time);
	if (c->orphan_fd >= 0)
		c->orphan_watch = loop_watch(c->lc->loop, c->orphan_fd, EPOLLIN, on_end, c, NULL);
	if (c->orphan_watch <= 0)
		ended(c);
}

void orphan_release(struct container *c)
{
	if (c->orphan_watch > 0)
		loop_remove(c->lc->loop, c->orphan_watch);
	c->orphan_watch = 0;
	c->orphan_fd = safe_close(c->orphan_fd);
}

int orphan_signal(struct container *c, int sig, crio_err *err)
{
	if (c->orphan_fd < 0)
		return 0;
	if (syscall(SYS_pidfd_send_signal, c->orphan_fd, sig, NULL, 0) < 0 && errno != ESRCH)
		return err_errno(err, errno, "send signal %d to container %s", sig, c->id);
	return 0;
}
