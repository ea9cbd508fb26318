/* test_exec.c: calls, the loop, workers and running programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "core/exec/call.h"
#include "core/exec/loop.h"
#include "core/exec/spawn.h"
#include "core/exec/workers.h"
#include "core/util/fs.h"

#define MS 1000000LL

static void count(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

static void call_cancels_children_and_watchers(void **st)
{
	(void)st;
	_Atomic int n = 0;
	crio_call *c = call_new("Test", CALL_NO_DEADLINE);
	crio_call *sub = call_sub(c, 0);
	assert_true(call_on_cancel(sub, count, &n, NULL) > 0);
	int gone = call_on_cancel(sub, count, &n, NULL);
	call_off_cancel(sub, gone);
	assert_false(call_over(sub));
	int fd = call_cancel_fd(sub);
	call_cancel(c);
	assert_int_equal(n, 1);
	assert_true(call_over(sub));
	struct pollfd p = { fd, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, 0), 1);
	/* Late watchers run at once. */
	assert_true(call_on_cancel(c, count, &n, NULL) > 0);
	assert_int_equal(n, 2);
	crio_err err = ERR_INIT;
	assert_int_equal(call_check(sub, "x", &err), CRIO_E_CANCELLED);
	err_clear(&err);
	call_unref(sub);
	call_unref(c);
}

static void call_deadline_is_the_earlier(void **st)
{
	(void)st;
	crio_call *c = call_new("Test", now_mono_ns() + 20 * MS);
	crio_call *sub = call_sub(c, 3600000 * MS);
	assert_int_equal(call_deadline(sub), call_deadline(c));
	crio_call *det = call_detached(c, 0);
	assert_true(call_deadline(det) == CALL_NO_DEADLINE);
	assert_int_equal(call_sleep(sub, 1000 * MS, NULL), CRIO_E_DEADLINE);
	assert_true(call_over(c));
	assert_false(call_over(det));
	call_unref(det);
	call_unref(sub);
	call_unref(c);
}

static void call_memory_is_bounded(void **st)
{
	(void)st;
	crio_call *c = call_new("Test", CALL_NO_DEADLINE);
	assert_non_null(call_alloc(c, 1 << 20));
	assert_null(call_alloc(c, CALL_MEM_MAX));
	assert_string_equal(call_strdup(c, "hello"), "hello");
	call_unref(c);
}

static int on_fd(void *arg, int fd, uint32_t ev)
{
	(void)ev;
	eventfd_t v;
	(void)eventfd_read(fd, &v);
	count(arg);
	return 0;
}

static void wait_for(_Atomic int *n, int want)
{
	for (int i = 0; i < 2000 && *n < want; i++)
		(void)usleep(1000);
	assert_int_equal(*n, want);
}

static void loop_watches_and_timers(void **st)
{
	(void)st;
	struct loop *l;
	assert_int_equal(loop_new(&l, NULL), 0);
	_Atomic int n = 0, t = 0;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int id = loop_watch(l, fd, POLLIN, on_fd, &n, NULL);
	assert_true(id > 0);
	(void)eventfd_write(fd, 1);
	wait_for(&n, 1);
	assert_true(loop_timer(l, MS, count, &t, NULL) > 0);
	int never = loop_timer(l, 3600000 * MS, count, &t, NULL);
	wait_for(&t, 1);
	loop_remove(l, never);
	loop_remove(l, id);
	(void)eventfd_write(fd, 1);
	(void)usleep(5000);
	assert_int_equal(n, 1);
	loop_free(l);
	(void)close(fd);
}

static void workers_run_all(void **st)
{
	(void)st;
	struct workers *w;
	assert_int_equal(workers_new(&w, NULL), 0);
	_Atomic int n = 0;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(workers_run(w, (enum work_class)(i % WORK_CLASSES), count, &n, NULL), 0);
	wait_for(&n, 1000);
	assert_int_equal(workers_free(w, 5000 * MS), 0);
}

static int sh(const char *script, crio_call *c, const char *in, size_t limit, struct spawn_result *res, crio_err *err)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	const char *env[] = { "PATH=/usr/bin:/bin", "A=1", NULL };
	struct spawn s = SPAWN_INIT;
	s.path = "/bin/sh";
	s.argv = argv;
	s.env = env;
	return spawn_capture(&s, c, in, in ? strlen(in) : 0, limit, 1024, res, err);
}

static void spawn_captures(void **st)
{
	(void)st;
	crio_call *c = call_new("Test", now_mono_ns() + 10000 * MS);
	struct spawn_result r;
	crio_err err = ERR_INIT;
	assert_int_equal(sh("read x; echo got $x $A; echo bad >&2; pwd; exit 7", c, "line\n", 1000, &r, &err), 0);
	assert_int_equal(r.exit_code, 7);
	assert_string_equal(r.out.p, "got line 1\n/\n");
	assert_string_equal(r.err.p, "bad\n");
	spawn_result_release(&r);
	/* More than the limit is drained, not kept. */
	assert_int_equal(sh("head -c 3000000 /dev/zero | tr '\\0' x", c, NULL, 100, &r, &err), 0);
	assert_int_equal(r.out.n, 100);
	assert_true(r.out_truncated);
	spawn_result_release(&r);
	assert_int_equal(sh("kill -9 $$", c, NULL, 100, &r, &err), 0);
	assert_int_equal(r.exit_code, 128 + 9);
	spawn_result_release(&r);
	/* It gets no descriptor of ours, and no ignored signal. */
	assert_int_equal(sh("ls /proc/self/fd | wc -l; grep SigIgn /proc/self/status", c, NULL, 1000, &r, &err), 0);
	assert_string_equal(r.out.p, "4\nSigIgn:\t0000000000000000\n");
	spawn_result_release(&r);
	call_unref(c);
}

static void spawn_deadline_kills_the_group(void **st)
{
	(void)st;
	crio_call *c = call_new("Test", now_mono_ns() + 100 * MS);
	struct spawn_result r;
	crio_err err = ERR_INIT;
	int64_t t = now_mono_ns();
	assert_int_equal(sh("sleep 100 & sleep 100", c, NULL, 100, &r, &err), CRIO_E_DEADLINE);
	assert_true(now_mono_ns() - t < 3000 * MS);
	err_clear(&err);
	call_unref(c);
}

static void spawn_does_not_wait_for_orphans(void **st)
{
	(void)st;
	crio_call *c = call_new("Test", now_mono_ns() + 20000 * MS);
	struct spawn_result r;
	crio_err err = ERR_INIT;
	assert_int_equal(sh("sleep 5 & echo done", c, NULL, 100, &r, &err), 0);
	assert_string_equal(r.out.p, "done\n");
	spawn_result_release(&r);
	call_unref(c);
}

static void spawn_errors_name_the_step(void **st)
{
	(void)st;
	struct spawn s = SPAWN_INIT;
	const char *argv[] = { "x", NULL };
	s.path = "/nonexistent/x";
	s.argv = argv;
	struct proc p;
	crio_err err = ERR_INIT;
	assert_int_equal(spawn_start(&s, &p, &err), CRIO_E_NOT_FOUND);
	assert_non_null(strstr(err_text(&err), "/nonexistent/x: execute"));
	s.path = "/bin/true";
	s.cwd = "/nonexistent";
	assert_int_equal(spawn_start(&s, &p, &err), CRIO_E_NOT_FOUND);
	assert_non_null(strstr(err_text(&err), "change directory"));
	char *path = NULL;
	assert_int_equal(spawn_find("no-such-program", NULL, &path, &err), CRIO_E_NOT_FOUND);
	assert_int_equal(spawn_find("../x", NULL, &path, &err), CRIO_E_INVALID);
	assert_int_equal(spawn_find("sh", NULL, &path, &err), 0);
	free(path);
	err_clear(&err);
}

static void spawn_gives_extra_descriptors(void **st)
{
	(void)st;
	int pfd[2];
	assert_int_equal(pipe2(pfd, O_CLOEXEC), 0);
	const char *argv[] = { "sh", "-c", "echo three >&3", NULL };
	struct spawn s = SPAWN_INIT;
	s.path = "/bin/sh";
	s.argv = argv;
	s.fds = &pfd[1];
	s.n_fds = 1;
	struct proc p;
	crio_err err = ERR_INIT;
	assert_int_equal(spawn_start(&s, &p, &err), 0);
	(void)close(pfd[1]);
	char b[16];
	assert_int_equal(fs_read_all(pfd[0], b, sizeof(b), &err), 6);
	crio_call *c = call_new("Test", CALL_NO_DEADLINE);
	int code;
	assert_int_equal(proc_wait(&p, c, &code, &err), 0);
	assert_int_equal(code, 0);
	proc_release(&p);
	call_unref(c);
	(void)close(pfd[0]);
}

/* A library may open one without O_CLOEXEC: a program that we start does not get it. */
static void spawn_gives_no_others(void **st)
{
	(void)st;
	int fd = fcntl(STDERR_FILENO, F_DUPFD, 50);
	assert_true(fd >= 50);
	char test[64];
	(void)snprintf(test, sizeof(test), "test ! -e /proc/self/fd/%d -a ! -e /proc/self/fd/3", fd);
	const char *argv[] = { "sh", "-c", test, NULL };
	struct spawn s = SPAWN_INIT;
	s.path = "/bin/sh";
	s.argv = argv;
	struct spawn_result res = { 0 };
	crio_call *c = call_new("Test", CALL_NO_DEADLINE);
	assert_int_equal(spawn_capture(&s, c, NULL, 0, 4096, 4096, &res, NULL), 0);
	assert_int_equal(res.exit_code, 0);
	spawn_result_release(&res);
	call_unref(c);
	(void)close(fd);
}

int main(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(call_cancels_children_and_watchers),
		cmocka_unit_test(call_deadline_is_the_earlier),
		cmocka_unit_test(call_memory_is_bounded),
		cmocka_unit_test(loop_watches_and_timers),
		cmocka_unit_test(workers_run_all),
		cmocka_unit_test(spawn_captures),
		cmocka_unit_test(spawn_deadline_kills_the_group),
		cmocka_unit_test(spawn_does_not_wait_for_orphans),
		cmocka_unit_test(spawn_errors_name_the_step),
		cmocka_unit_test(spawn_gives_extra_descriptors),
		cmocka_unit_test(spawn_gives_no_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
