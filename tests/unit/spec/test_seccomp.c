/* Seccomp profiles: the built-in one, conversion, and what the kernel then does. */
#define CRIO_ALLOW_BANNED /* fork, to try a filter on a child */
#include "tests/unit/spec/fixture.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/lifecycle/caps.h"
#include "core/lifecycle/seccomp.h"
#include "tests/tmp.h"

static struct json_object *convert(const char *text, uint64_t caps)
{
	struct json_object *p = NULL, *o = NULL;
	char path[] = "/tmp/crio-seccomp-XXXXXX";
	crio_err err = ERR_INIT;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(fs_write_all(fd, text, strlen(text), NULL), 0);
	(void)close(fd);
	int r = seccomp_profile_load(path, &p, &err);
	(void)unlink(path);
	if (r < 0 || seccomp_to_oci(p, caps, &o, &err) < 0)
		fail_msg("%s", err_text(&err));
	(void)json_object_put(p);
	return o;
}

static struct json_object *builtin(uint64_t caps)
{
	struct json_object *p = NULL, *o = NULL;
	crio_err err = ERR_INIT;

	if (seccomp_profile_load("", &p, &err) < 0 || seccomp_to_oci(p, caps, &o, &err) < 0)
		fail_msg("%s", err_text(&err));
	(void)json_object_put(p);
	return o;
}

static uint32_t action_of(const char *s, int64_t eno)
{
	if (str_eq(s, "SCMP_ACT_ALLOW"))
		return SCMP_ACT_ALLOW;
	assert_string_equal(s, "SCMP_ACT_ERRNO");
	return SCMP_ACT_ERRNO((uint32_t)eno);
}

static enum scmp_compare op_of(const char *s)
{
	static const struct {
		const char *n;
		enum scmp_compare c;
	} ops[] = {{"SCMP_CMP_EQ", SCMP_CMP_EQ},
		   {"SCMP_CMP_NE", SCMP_CMP_NE},
		   {"SCMP_CMP_LT", SCMP_CMP_LT},
		   {"SCMP_CMP_GT", SCMP_CMP_GT},
		   {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (str_eq(s, ops[i].n))
			return ops[i].c;
	fail_msg("operator %s", s);
	return SCMP_CMP_EQ;
}

/* As an OCI runtime does it. */
static scmp_filter_ctx filter_of(const struct json_object *oci)
{
	uint32_t dflt = action_of(json_str(oci, "defaultAction"), json_int(oci, "defaultErrnoRet", 1));
	scmp_filter_ctx ctx = seccomp_init(dflt);
	struct json_object *rows = json_arr(oci, "syscalls");

	assert_non_null(ctx);
	assert_int_equal(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0), 0);
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		const struct json_object *row = json_object_array_get_idx(rows, i);
		struct json_object *names = json_arr(row, "names"), *args = json_arr(row, "args");
		uint32_t action = action_of(json_str(row, "action"), json_int(row, "errnoRet", 1));
		struct scmp_arg_cmp cmp[6];
		unsigned n = 0;

		for (; args && n < json_object_array_length(args); n++) {
			const struct json_object *a = json_object_array_get_idx(args, n);

			cmp[n] = (struct scmp_arg_cmp){(unsigned)json_int(a, "index", 0), op_of(json_str(a, "op")),
						       json_object_get_uint64(json_get(a, "value")),
						       json_object_get_uint64(json_get(a, "valueTwo"))};
		}
		for (size_t j = 0; action != dflt && j < json_object_array_length(names); j++) {
			const char *s = json_object_get_string(json_object_array_get_idx(names, j));
			int nr = seccomp_syscall_resolve_name(s);

			if (nr == __NR_SCMP_ERROR) /* as runc and crun do */
				continue;
			int r = seccomp_rule_add_array(ctx, action, nr, n, cmp);
			if (r < 0)
				fail_msg("libseccomp refuses %s: %s", s, strerror(-r));
		}
	}
	return ctx;
}

/* The row of this syscall with this action, without arguments when plain. */
static bool has_row(const struct json_object *oci, const char *name, const char *action)
{
	struct json_object *rows = json_arr(oci, "syscalls");

	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		const struct json_object *row = json_object_array_get_idx(rows, i);
		struct json_object *names = json_arr(row, "names");

		for (size_t j = 0; j < json_object_array_length(names); j++)
			if (str_eq(json_object_get_string(json_object_array_get_idx(names, j)), name) &&
			    str_eq(json_str(row, "action"), action))
				return true;
	}
	return false;
}

static void builtin_rows(void **state)
{
	struct json_object *poor = builtin(0), *rich = builtin(caps_all());

	(void)state;
	assert_string_equal(json_str(poor, "defaultAction"), "SCMP_ACT_ERRNO");
	assert_int_equal(json_int(poor, "defaultErrnoRet", 0), 38);
	assert_true(has_row(poor, "read", "SCMP_ACT_ALLOW"));
	assert_true(has_row(poor, "mount", "SCMP_ACT_ERRNO") && !has_row(poor, "mount", "SCMP_ACT_ALLOW"));
	assert_true(has_row(poor, "clone3", "SCMP_ACT_ERRNO") && !has_row(poor, "clone3", "SCMP_ACT_ALLOW"));
	assert_true(has_row(rich, "clone3", "SCMP_ACT_ALLOW") && !has_row(rich, "clone3", "SCMP_ACT_ERRNO"));
	assert_true(has_row(rich, "mount", "SCMP_ACT_ALLOW") && has_row(rich, "unshare", "SCMP_ACT_ALLOW"));
	assert_true(has_row(rich, "kexec_load", "SCMP_ACT_ERRNO"));
	assert_true(has_row(rich, "bpf", "SCMP_ACT_ALLOW") && !has_row(rich, "bpf", "SCMP_ACT_ERRNO"));
#ifdef __x86_64__
	assert_string_equal(joined(poor, "architectures"), "SCMP_ARCH_X86_64 SCMP_ARCH_X86 SCMP_ARCH_X32");
	assert_true(has_row(poor, "arch_prctl", "SCMP_ACT_ALLOW") && !has_row(poor, "set_tls", "SCMP_ACT_ALLOW"));
#endif
	(void)json_object_put(poor);
	(void)json_object_put(rich);
}

/* In a child under the filter; the exit code is the number of what went wrong first. */
static int under_filter(scmp_filter_ctx ctx, bool rich)
{
	if (seccomp_load(ctx) < 0)
		return 1;
	if (syscall(SYS_getppid) <= 0)
		return 2;
	errno = 0;
	if (!rich && (syscall(SYS_unshare, CLONE_NEWUSER) != -1 || errno != EPERM))
		return 3;
	errno = 0;
	if (!rich && (syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL) != -1 || errno != EPERM))
		return 4;
	errno = 0;
	if (!rich && (syscall(435 /* clone3 */, NULL, 0) != -1 || errno != ENOSYS))
		return 5;
	errno = 0;
	if (!rich && (mount("none", "/nowhere", "tmpfs", 0, NULL) != -1 || errno != EPERM))
		return 6;
	errno = 0;
	if (syscall(SYS_socket, 40, SOCK_STREAM, 0) != -1 || errno != EPERM)
		return 7;
	int fd = (int)syscall(SYS_socket, 2 /* AF_INET */, 1, 0);
	if (fd < 0)
		return 8;
	pid_t p = fork();
	if (p == 0)
		_exit(0);
	if (p < 0 || waitpid(p, NULL, 0) != p)
		return 9;
	errno = 0;
	if (rich && (syscall(SYS_unshare, 0x1) != -1 || errno != EINVAL))
		return 10;
	errno = 0;
	if (syscall(9999) != -1 || errno != ENOSYS)
		return 11;
	return 0;
}

static void builtin_in_kernel(void **state)
{
	(void)state;
	for (int rich = 0; rich < 2; rich++) {
		struct json_object *o = builtin(rich ? caps_all() : CAP_BIT(0));
		scmp_filter_ctx ctx = filter_of(o);
		pid_t p = fork();
		int st = 0;

		if (p == 0)
			_exit(under_filter(ctx, rich));
		assert_int_equal(waitpid(p, &st, 0), p);
		assert_true(WIFEXITED(st));
		assert_int_equal(WEXITSTATUS(st), 0);
		seccomp_release(ctx);
		(void)json_object_put(o);
	}
}

static void conversion(void **state)
{
	struct json_object *o;

	(void)state;
	o = convert("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\",\"no_such_call\"],"
		    "\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":13},{\"name\":\"rmdir\",\"action\":\"SCMP_ACT_KILL\"},"
		    "{\"names\":[\"no_such_call\"],\"action\":\"SCMP_ACT_KILL\"}]}",
		    0);
	/* A name that libseccomp does not know is the runtime's to pass over. */
	assert_int_equal(json_object_array_length(json_arr(o, "syscalls")), 3);
	assert_true(has_row(o, "mkdir", "SCMP_ACT_ERRNO") && has_row(o, "no_such_call", "SCMP_ACT_ERRNO") && has_row(o, "no_such_call", "SCMP_ACT_KILL"));
	assert_null(json_get(o, "architectures"));
	(void)json_object_put(o);
	/* includes need all of their capabilities, excludes one; kernels compare as numbers. */
	o = convert("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":["
		    "{\"names\":[\"chroot\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"caps\":[\"CAP_SYS_CHROOT\","
		    "\"CAP_SYS_ADMIN\"]}},"
		    "{\"names\":[\"acct\"],\"action\":\"SCMP_ACT_ALLOW\",\"excludes\":{\"caps\":[\"CAP_SYS_CHROOT\","
		    "\"CAP_SYS_ADMIN\"]}},"
		    "{\"names\":[\"bpf\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"minKernel\":\"4.8\"}},"
		    "{\"names\":[\"sync\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"minKernel\":\"99.0\"}},"
		    "{\"names\":[\"idle\"],\"action\":\"SCMP_ACT_ALLOW\",\"includes\":{\"arches\":[\"none\"]}}]}",
		    CAP_BIT(18));
	assert_false(has_row(o, "chroot", "SCMP_ACT_ALLOW"));
	assert_false(has_row(o, "acct", "SCMP_ACT_ALLOW"));
	assert_true(has_row(o, "bpf", "SCMP_ACT_ALLOW"));
	assert_false(has_row(o, "sync", "SCMP_ACT_ALLOW"));
	assert_false(has_row(o, "idle", "SCMP_ACT_ALLOW"));
	(void)json_object_put(o);
}

static void bad_profiles(void **state)
{
	static const char *const bad[] = {
	    "",
	    "[]",
	    "{}",
	    "{\"defaultAction\":\"SCMP_ACT_WHAT\"}",
	    "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_Z80\"]}",
	    "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[1]}",
	    "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"action\":\"SCMP_ACT_ALLOW\"}]}",
	    "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[1],\"action\":\"SCMP_ACT_ALLOW\"}]}",
	    "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"X\"}]}",
	    "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_LOG\","
	    "\"args\":[{\"index\":6,\"op\":\"SCMP_CMP_EQ\"}]}]}",
	};
	char dir[TEST_TMP_N], path[TEST_TMP_N + 8];
	struct json_object *p = NULL;
	crio_err err = ERR_INIT;

	(void)state;
	assert_non_null(test_tmp(dir, "seccomp"));
	(void)snprintf(path, sizeof(path), "%s/p", dir);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(fs_write_path(path, bad[i], strlen(bad[i]), 0644, FS_RUN, NULL), 0);
		assert_true(seccomp_profile_load(path, &p, NULL) < 0);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(seccomp_profile_load(path, &p, &err), CRIO_E_NOT_FOUND);
	err_clear(&err);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_true(seccomp_profile_load(path, &p, NULL) < 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void choices(void **state)
{
	struct security_profile p = {.localhost_ref = (char *)""};
	struct json_object *o = NULL;
	crio_err err = ERR_INIT;
	char *ref = NULL;

	(void)state;
	assert_int_equal(seccomp_choose(&p, "", 0, &o, &ref, NULL), 0);
	assert_null(o);
	assert_string_equal(ref, "Unconfined");
	free(ref);
	p.set = true;
	assert_int_equal(seccomp_choose(&p, "", 0, &o, &ref, NULL), 0);
	assert_non_null(o);
	assert_string_equal(ref, "RuntimeDefault");
	(void)json_object_put(o);
	free(ref);
	p.type = PROFILE_LOCALHOST;
	p.localhost_ref = (char *)"../../etc/x";
	assert_int_equal(seccomp_choose(&p, "", 0, &o, &ref, NULL), CRIO_E_INVALID);
	p.localhost_ref = (char *)"/does/not/exist";
	assert_int_equal(seccomp_choose(&p, "", 0, &o, &ref, &err), CRIO_E_NOT_FOUND);
	err_clear(&err);
	seccomp_reload();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(builtin_rows), cmocka_unit_test(builtin_in_kernel), cmocka_unit_test(conversion),
	    cmocka_unit_test(bad_profiles), cmocka_unit_test(choices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
