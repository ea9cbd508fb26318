/* The seccomp notifier, with the kernel's own notifications: threads under a filter make forbidden calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "core/exec/loop.h"
#include "core/lifecycle/notifier.h"
#include "core/util/fs.h"
#include "core/util/meter.h"
#include "tests/tmp.h"

#define ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SEC 1000000000LL
#define HELLO (2 * SEC)
#define QUIET (1 * SEC)
#define WAIT (4 * SEC)

static char top[TEST_TMP_N];
static struct loop *loop;
static struct notifiers *set;

static pthread_mutex_t due_lock = PTHREAD_MUTEX_INITIALIZER;
static char *due_text;
static int64_t due_at;

static void on_due(void *arg, const char *id, const char *used)
{
	cleanup_unlock pthread_mutex_t *l = lock(&due_lock);
	assert_ptr_equal(arg, &due_text);
	assert_string_equal(id, ID);
	free(due_text);
	due_text = strdup(used);
	due_at = now_mono_ns();
}

/* The text, and when it came. */
static char *take_due_at(int64_t wait_ns, int64_t *ret_at)
{
	int64_t until = now_mono_ns() + wait_ns;
	char *text = NULL;
	while (!text && now_mono_ns() < until) {
		(void)usleep(20000);
		cleanup_unlock pthread_mutex_t *l = lock(&due_lock);
		text = move_ptr(due_text);
		*ret_at = due_at;
	}
	return text;
}

static char *take_due(int64_t wait_ns)
{
	int64_t at = 0;
	return take_due_at(wait_ns, &at);
}

static int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	cleanup_free char *path = notifier_path(set, ID);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_true(fd >= 0);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		fd = safe_close(fd);
	return fd;
}

/* As a runtime does it. */
static void hand_over(int sock, int fd)
{
	char text[] = "{\"ociVersion\":\"1.0\",\"fds\":[\"seccompFd\"]}", control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec v = { .iov_base = text, .iov_len = sizeof(text) - 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	assert_int_equal(sendmsg(sock, &m, 0), sizeof(text) - 1);
}

/* libseccomp would make but one descriptor in a process. */
static int load(scmp_filter_ctx ctx)
{
	cleanup_close int mem = memfd_create("filter", MFD_CLOEXEC);
	struct sock_filter code[256];
	assert_int_equal(seccomp_export_bpf(ctx, mem), 0);
	ssize_t n = pread(mem, code, sizeof(code), 0);
	struct sock_fprog prog = { .len = (unsigned short)((size_t)n / sizeof(*code)), .filter = code };
	int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	assert_true(n > 0 && fd >= 0);
	return fd;
}

struct offender {
	unsigned swapoff, chroot; /* how often each */
	int64_t every_ns;
	_Atomic int other; /* answers that were not ENOSYS */
};

/* Puts this thread under a filter, hands its descriptor over, and does what is forbidden. */
static void *offend(void *arg)
{
	struct offender *o = arg;
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(swapoff), 0), 0);
	assert_int_equal(seccomp_rule_add(ctx, SCMP_ACT_NOTIFY, SCMP_SYS(chroot), 0), 0);
	int fd = load(ctx), sock = dial();
	hand_over(sock, fd);
	(void)safe_close(sock);
	(void)safe_close(fd);
	seccomp_release(ctx);
	for (unsigned i = 0; i < o->swapoff + o->chroot; i++) {
		long r = i < o->swapoff ? syscall(SYS_swapoff, "/") : syscall(SYS_chroot, "/");
		o->other += r != -1 || errno != ENOSYS;
		if (o->every_ns)
			(void)usleep((useconds_t)(o->every_ns / 1000));
	}
	return NULL;
}

static void run(struct offender *o)
{
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, offend, o), 0);
	(void)pthread_join(t, NULL);
	assert_int_equal(o->other, 0);
}

static size_t count_fds(void)
{
	cleanup_closedir DIR *d = opendir("/proc/self/fd");
	size_t n = 0;
	while (readdir(d))
		n++;
	return n;
}

static void wait_fds(size_t want)
{
	int64_t until = now_mono_ns() + 15 * SEC;
	while (count_fds() > want && now_mono_ns() < until)
		(void)usleep(20000);
	assert_int_equal(count_fds(), want);
}

static uint64_t counted;
static void add_up(void *arg, const char *name, const char *call, uint64_t v)
{
	assert_string_equal(name, "k8s_c");
	counted += str_eq(call, arg) ? v : 0;
}
static uint64_t counted_of(const char *call)
{
	counted = 0;
	meter_each(METER_SECCOMP, add_up, (void *)(uintptr_t)call);
	return counted;
}

static int start(void **state)
{
	struct notifiers_args a = { .due = on_due, .arg = &due_text, .hello_ns = HELLO, .quiet_ns = QUIET, .wait_ns = WAIT };
	cleanup_free char *dir = path_fmt("%s/s", top);
	(void)state;
	meter_enable();
	meter_forget(METER_SECCOMP, "k8s_c");
	a.dir = dir;
	if (loop_new(&loop, NULL) < 0)
		return -1;
	a.loop = loop;
	return notifiers_new(&a, &set, NULL);
}

static int stop(void **state)
{
	(void)state;
	notifiers_free(set);
	loop_free(loop);
	free(due_text);
	due_text = NULL;
	return 0;
}

/* Calls are answered with ENOSYS and counted; some time after the last one the container is due, with what it asked for. */
static void test_stop(void **state)
{
	(void)state;
	assert_int_equal(notifier_add(set, ID, "k8s_c", true, NULL), 0);
	size_t fds = count_fds();
	struct offender a = { .swapoff = 2, .chroot = 1 }, b = { .swapoff = 1 };
	run(&a);
	run(&b);
	int64_t last = now_mono_ns();
	int64_t at = 0;
	cleanup_free char *text = take_due_at(5 * SEC, &at);
	assert_non_null(text);
	assert_string_equal(text, "chroot (1x), swapoff (3x)");
	assert_true(at - last > QUIET - SEC / 5 && at - last < QUIET + 2 * SEC);
	assert_int_equal(counted_of("swapoff"), 3);
	assert_int_equal(counted_of("chroot"), 1);
	wait_fds(fds); /* what has ended is let go of */
	notifier_drop(set, ID);
	cleanup_free char *dir = path_fmt("%s/s", top);
	assert_int_equal(access(dir, F_OK), -1);
}

/* Only counted, never due. */
static void test_count(void **state)
{
	(void)state;
	assert_int_equal(notifier_add(set, ID, "k8s_c", false, NULL), 0);
	struct offender a = { .swapoff = 1 };
	run(&a);
	cleanup_free char *text = take_due(2 * SEC);
	assert_null(text);
	assert_int_equal(counted_of("swapoff"), 1);
	notifier_drop(set, ID);
}

/* One who goes on and on is not waited for for ever. */
static void test_late(void **state)
{
	(void)state;
	assert_int_equal(notifier_add(set, ID, "k8s_c", true, NULL), 0);
	struct offender a = { .swapoff = 40, .every_ns = SEC / 5 };
	pthread_t t;
	int64_t begun = now_mono_ns(), at = 0;
	assert_int_equal(pthread_create(&t, NULL, offend, &a), 0);
	cleanup_free char *text = take_due_at(10 * SEC, &at);
	assert_non_null(text);
	assert_true(at - begun > WAIT - SEC && at - begun < WAIT + 2 * SEC);
	(void)pthread_join(t, NULL);
	notifier_drop(set, ID);
}

static void *flood(void *arg)
{
	struct offender o = { .swapoff = 100000 };
	(void)arg;
	(void)offend(&o);
	assert_int_equal(o.other, 0);
	return NULL;
}

/* A flood is answered up to a limit, then by the kernel, and nobody else waits for it. */
static void test_flood(void **state)
{
	(void)state;
	assert_int_equal(notifier_add(set, ID, "k8s_c", false, NULL), 0);
	size_t fds = count_fds();
	pthread_t t[4];
	int64_t begun = now_mono_ns();
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, flood, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		(void)pthread_join(t[i], NULL);
	assert_true(now_mono_ns() - begun < 30 * SEC);
	assert_int_equal(counted_of("swapoff"), 4 * NOTIFIER_ASKED_MAX);
	wait_fds(fds);
	notifier_drop(set, ID);
}

/* Connections that say nothing, that bring something else, or that are too many. */
static void test_strangers(void **state)
{
	(void)state;
	assert_int_equal(notifier_add(set, ID, "k8s_c", false, NULL), 0);
	size_t fds = count_fds();
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), sock = dial();
	hand_over(sock, null);
	(void)safe_close(null);
	char b;
	assert_int_equal(read(sock, &b, 1), 0); /* closed on the other side */
	(void)safe_close(sock);
	sock = dial();
	assert_int_equal(write(sock, "{}", 2), 2); /* no descriptor */
	assert_int_equal(read(sock, &b, 1), 0);
	(void)safe_close(sock);
	int many[NOTIFIER_PEERS_MAX + 20];
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = dial();
	int64_t until = now_mono_ns() + 5 * SEC;
	size_t closed = 0;
	while (closed < 20 && now_mono_ns() < until) {
		closed = 0;
		for (size_t i = 0; i < ARRAY_SIZE(many); i++)
			closed += recv(many[i], &b, 1, MSG_DONTWAIT) == 0;
		(void)usleep(20000);
	}
	assert_int_equal(closed, 20);
	/* In the end the silent ones go, and there is room again. */
	for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
		assert_true(read(many[i], &b, 1) <= 0);
		(void)safe_close(many[i]);
	}
	wait_fds(fds);
	struct offender a = { .swapoff = 1 };
	run(&a);
	assert_int_equal(counted_of("swapoff"), 1);
	notifier_drop(set, ID);
	wait_fds(fds - 1);
}

/* Who is under a filter goes on when the daemon ends; a new one listens at the same place. */
static void test_restart(void **state)
{
	assert_int_equal(notifier_add(set, ID, "k8s_c", false, NULL), 0);
	struct offender a = { .swapoff = 60, .every_ns = SEC / 20 };
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, offend, &a), 0);
	(void)usleep(500000);
	assert_int_equal(stop(state), 0);
	assert_int_equal(start(state), 0);
	assert_int_equal(notifier_add(set, ID, "k8s_c", false, NULL), 0);
	(void)pthread_join(t, NULL);
	assert_int_equal(a.other, 0);
	struct offender b = { .swapoff = 1 };
	run(&b);
	assert_int_equal(counted_of("swapoff"), 1);
	/* A socket that belongs to nothing is removed, ours is not. */
	cleanup_free char *stray = path_fmt("%s/s/stray", top), *ours = notifier_path(set, ID);
	assert_int_equal(fs_write_path(stray, "", 0, 0600, FS_RUN, NULL), 0);
	notifiers_sweep(set);
	assert_int_equal(access(stray, F_OK), -1);
	assert_int_equal(access(ours, F_OK), 0);
	notifier_drop(set, ID);
	notifier_drop(set, ID);
}

static void test_names(void **state)
{
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *long_dir = path_fmt("%s/%060d", top, 0);
	struct notifiers_args a = { .loop = loop, .dir = long_dir, .due = on_due };
	struct notifiers *n = NULL;
	(void)state;
	assert_int_equal(notifiers_new(&a, &n, NULL), 0);
	assert_int_equal(notifier_add(n, ID, "k8s_c", true, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "container_attach_socket_dir"));
	notifiers_free(n);
}

static void test_action(void **state)
{
	cleanup_kvs struct kvs m = KVS_INIT;
	(void)state;
	assert_null(notifier_action(&m, "c"));
	assert_int_equal(kvs_set(&m, "io.kubernetes.cri-o.seccompNotifierAction", ""), 0);
	assert_string_equal(notifier_action(&m, "c"), "");
	assert_int_equal(kvs_set(&m, "seccomp-notifier-action.crio.io/c", "stop"), 0);
	assert_string_equal(notifier_action(&m, "c"), "stop");
	assert_string_equal(notifier_action(&m, "d"), "");
}

static struct json_object *parse(const char *text)
{
	struct json_object *o = NULL;
	assert_int_equal(json_parse(text, strlen(text), &o, NULL), 0);
	return o;
}

static void test_profile(void **state)
{
	(void)state;
	struct json_object *o = parse("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":["
				      "{\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\"},"
				      "{\"names\":[\"b\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1},"
				      "{\"names\":[\"c\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38},"
				      "{\"names\":[\"d\"],\"action\":\"SCMP_ACT_KILL_PROCESS\"},"
				      "{\"names\":[\"e\"],\"action\":\"SCMP_ACT_TRAP\"}]}");
	assert_int_equal(notifier_change_profile(o, "/p", NULL), 0);
	struct json_object *want = parse("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":["
					 "{\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\"},"
					 "{\"names\":[\"b\"],\"action\":\"SCMP_ACT_NOTIFY\"},"
					 "{\"names\":[\"c\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38},"
					 "{\"names\":[\"d\"],\"action\":\"SCMP_ACT_NOTIFY\"},"
					 "{\"names\":[\"e\"],\"action\":\"SCMP_ACT_TRAP\"}],\"listenerPath\":\"/p\"}");
	assert_int_equal(json_object_equal(o, want), 1);
	(void)json_object_put(o);
	(void)json_object_put(want);
	o = parse("{\"defaultAction\":\"SCMP_ACT_ALLOW\"}"); /* no rows */
	assert_int_equal(notifier_change_profile(o, "/p", NULL), 0);
	(void)json_object_put(o);
}

static int setup(void **state)
{
	(void)state;
	return test_tmp(top, "notifier") ? 0 : -1;
}

static int teardown(void **state)
{
	cleanup_close int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)state;
	return fs_rm_rf(tmp, strrchr(top, '/') + 1, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_profile),
		cmocka_unit_test(test_action),
		cmocka_unit_test_setup_teardown(test_stop, start, stop),
		cmocka_unit_test_setup_teardown(test_count, start, stop),
		cmocka_unit_test_setup_teardown(test_late, start, stop),
		cmocka_unit_test_setup_teardown(test_flood, start, stop),
		cmocka_unit_test_setup_teardown(test_strangers, start, stop),
		cmocka_unit_test_setup_teardown(test_restart, start, stop),
		cmocka_unit_test_setup_teardown(test_names, start, stop),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
