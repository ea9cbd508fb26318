/* Labels, without a kernel that has SELinux: the policy's file and the labels of files are real, the check of a label is not. */
#include "tests/unit/spec/fixture.h"

#include <sys/xattr.h>

#include "core/exec/call.h"
#include "core/lifecycle/selinux.h"

#define XATTR "security.selinux"
static const char contexts[] = "# the policy's\n"
			       "process = \"system_u:system_r:container_t:s0\"\n"
			       "content = \"system_u:object_r:virt_var_lib_t:s0\"\n"
			       "file = \"system_u:object_r:container_file_t:s0\"\n"
			       "init_process= \"system_u:system_r:container_init_t:s0\" # systemd\n";

struct ground {
	char dir[TEST_TMP_N], top[TEST_TMP_N + 8], out[TEST_TMP_N + 8];
};

static void put(const char *dir, const char *name, const char *text)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(fs_write_path(path, text, strlen(text), 0644, FS_RUN, NULL), 0);
}

static int setup(void **state)
{
	struct ground *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	assert_non_null(test_tmp(g->dir, "selinux"));
	(void)snprintf(g->top, sizeof(g->top), "%s/vol", g->dir);
	(void)snprintf(g->out, sizeof(g->out), "%s/out", g->dir);
	put(g->dir, "lxc_contexts", contexts);
	selinux_set_root_for_test(g->dir);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct ground *g = *state;
	int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	selinux_set_root_for_test(NULL);
	assert_int_equal(fs_rm_rf(tmp, strrchr(g->dir, '/') + 1, NULL), 0);
	(void)close(tmp);
	free(g);
	return 0;
}

struct pair {
	char *process, *mount;
};

static struct pair labels(const char *base, const struct selinux_option *o)
{
	struct pair p = {NULL, NULL};
	crio_err err = ERR_INIT;

	if (selinux_labels(base, o, &p.process, &p.mount, &err) < 0)
		fail_msg("%s", err_text(&err));
	return p;
}

static void drop(struct pair *p)
{
	selinux_release(p->process);
	free(p->process);
	free(p->mount);
}

static const char *level_of(const char *label)
{
	for (int i = 0; i < 3; i++)
		label = strchr(label, ':') + 1;
	return label;
}

static void levels(void **state)
{
	enum { N = 300 };
	static struct pair all[N];
	unsigned a, b;

	(void)state;
	for (size_t i = 0; i < N; i++) {
		all[i] = labels("", NULL);
		assert_true(str_starts(all[i].process, "system_u:system_r:container_t:s0:c"));
		assert_true(str_starts(all[i].mount, "system_u:object_r:container_file_t:s0:c"));
		assert_string_equal(level_of(all[i].process), level_of(all[i].mount));
		assert_int_equal(sscanf(level_of(all[i].process), "s0:c%u,c%u", &a, &b), 2);
		assert_true(a < b && b < 1024);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(all[i].process, all[j].process);
	}
	for (size_t i = 0; i < N; i++)
		drop(&all[i]);
}

/* What an earlier run gave is nobody else's; that it is given back is seen when nearly all are taken. */
static void held(void **state)
{
	char label[80];

	(void)state;
	assert_int_equal(selinux_hold("", NULL), 0);
	selinux_release("");
	for (unsigned a = 0; a < 1024; a++)
		for (unsigned b = a + 1; b < 1024; b++) {
			(void)snprintf(label, sizeof(label), "u:r:t:s0:c%u,c%u", a, b);
			assert_int_equal(selinux_hold(label, NULL), 0);
		}
	char *p = NULL, *m = NULL;
	crio_err err = ERR_INIT;
	assert_int_equal(selinux_labels("", NULL, &p, &m, &err), CRIO_E_EXHAUSTED);
	assert_non_null(strstr(err_text(&err), "categories"));
	err_clear(&err);
	/* Held twice: one release is not enough. */
	assert_int_equal(selinux_hold("u:r:t:s0:c1,c2", NULL), 0);
	for (unsigned a = 0; a < 1024; a++)
		for (unsigned b = a + 1; b < 1024; b++) {
			(void)snprintf(label, sizeof(label), "u:r:t:s0:c%u,c%u", a, b);
			selinux_release(label);
		}
	for (int i = 0; i < 300; i++) {
		struct pair x = labels("", NULL);
		assert_string_not_equal(level_of(x.process), "s0:c1,c2");
		drop(&x);
	}
	selinux_release("u:r:t:s0:c1,c2");
}

static void options(void **state)
{
	struct selinux_option o = {true, (char *)"", (char *)"", (char *)"", (char *)"s0"};
	struct pair pod = labels("", &o), c;

	(void)state;
	assert_string_equal(pod.process, "system_u:system_r:container_t:s0");
	assert_string_equal(pod.mount, "system_u:object_r:container_file_t:s0");
	drop(&pod);
	o = (struct selinux_option){true, (char *)"user_u", (char *)"user_r", (char *)"mine_t", (char *)"s0-s0:c1,c9"};
	pod = labels("", &o);
	assert_string_equal(pod.process, "user_u:user_r:mine_t:s0-s0:c1,c9");
	/* Files have their own role and type. */
	assert_string_equal(pod.mount, "user_u:object_r:container_file_t:s0-s0:c1,c9");
	/* A container has its pod's, but for what it says itself. */
	c = labels(pod.process, NULL);
	assert_string_equal(c.process, pod.process);
	assert_string_equal(c.mount, pod.mount);
	drop(&c);
	o = (struct selinux_option){true, (char *)"", (char *)"", (char *)"spc_t", (char *)""};
	c = labels(pod.process, &o);
	assert_string_equal(c.process, "user_u:user_r:spc_t:s0-s0:c1,c9");
	assert_true(selinux_has_type(c.process, "spc_t"));
	assert_false(selinux_has_type(pod.process, "spc_t"));
	drop(&c);
	drop(&pod);
	/* Two that ask for the same level have it. */
	o = (struct selinux_option){true, (char *)"", (char *)"", (char *)"", (char *)"s0:c100,c200"};
	pod = labels("", &o);
	c = labels("", &o);
	assert_string_equal(pod.process, c.process);
	drop(&c);
	drop(&pod);
	for (const char *const *bad = (const char *const[]){"a\nb", "a b", "a\"b", "t:s0", "a/b", "\xc3\xa4", NULL}; *bad; bad++) {
		crio_err err = ERR_INIT;
		char *p = NULL, *m = NULL;

		o = (struct selinux_option){true, (char *)"", (char *)"", (char *)(uintptr_t)*bad, (char *)""};
		assert_int_equal(selinux_labels("", &o, &p, &m, &err), CRIO_E_INVALID);
		assert_non_null(strstr(err_text(&err), "SELinux options"));
		err_clear(&err);
		assert_true(!p && !m);
	}
}

static void kinds(void **state)
{
	struct ground *g = *state;
	struct pair p = labels("", NULL);
	char *as = NULL, *o;

	assert_true(selinux_is_default(p.process) && !selinux_is_default("u:r:other_t:s0") && !selinux_is_default(""));
	assert_int_equal(selinux_as(SELINUX_INIT, p.process, &as, NULL), 0);
	assert_true(str_starts(as, "system_u:system_r:container_init_t:s0:c"));
	assert_string_equal(level_of(as), level_of(p.process));
	free(as);
	/* The policy has none for machines: they have that of containers. */
	assert_int_equal(selinux_as(SELINUX_KVM, p.process, &as, NULL), 0);
	assert_string_equal(as, p.process);
	free(as);
	assert_int_equal(selinux_as(SELINUX_INIT, "", &as, NULL), 0);
	assert_string_equal(as, "");
	free(as);
	o = selinux_mount_options("mode=1777", "u:o:t:s0:c1,c2");
	assert_string_equal(o, "mode=1777,context=\"u:o:t:s0:c1,c2\"");
	free(o);
	o = selinux_mount_options("mode=1777", "");
	assert_string_equal(o, "mode=1777");
	free(o);
	drop(&p);
	/* A policy that knows no containers gives them no labels; no file is the same. */
	put(g->dir, "lxc_contexts", "file = \"a:b:c:s0\"\nprocessor = \"x:y:z:s0\"\n");
	p = labels("", NULL);
	assert_true(!*p.process && !*p.mount);
	drop(&p);
	put(g->dir, "lxc_contexts", contexts);
	/* Off: nothing at all. */
	selinux_set_root_for_test(NULL);
	assert_false(selinux_enabled());
	p = labels("u:r:t:s0", NULL);
	assert_true(!*p.process && !*p.mount);
	drop(&p);
}

static void not_there(void **state)
{
	crio_err err = ERR_INIT;

	(void)state;
	selinux_set_root_for_test(NULL);
	assert_int_equal(selinux_init(false, NULL), 0);
	assert_false(selinux_enabled());
	if (access("/sys/fs/selinux/enforce", F_OK) == 0)
		skip();
	assert_int_equal(selinux_init(true, &err), CRIO_E_PRECONDITION);
	assert_non_null(strstr(err_text(&err), "selinux = true, but this node has no SELinux"));
	assert_false(selinux_enabled());
	err_clear(&err);
}

/* ---- files ---- */

static const char *label_at(const char *dir, const char *name)
{
	static char text[256];
	char path[512];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	n = lgetxattr(path, XATTR, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

#define L "u:object_r:container_file_t:s0:c1,c2"
#define SHARED "u:object_r:container_file_t:s0"

static bool has_labels(struct ground *g)
{
	assert_int_equal(mkdir(g->top, 0755), 0);
	assert_int_equal(mkdir(g->out, 0755), 0);
	if (geteuid() == 0 && lsetxattr(g->top, XATTR, "x", 2, 0) == 0 && lremovexattr(g->top, XATTR) == 0)
		return true;
	print_message("no labels can be set here\n");
	return false;
}

static void files(void **state)
{
	struct ground *g = *state;
	char p[512];

	if (!has_labels(g))
		skip();
	put(g->top, "a", "x");
	put(g->out, "secret", "x");
	(void)snprintf(p, sizeof(p), "%s/d/e", g->top);
	assert_int_equal(fs_mkdir_p(p, 0755, NULL), 0);
	put(p, "deep", "x");
	(void)snprintf(p, sizeof(p), "%s/link", g->top);
	assert_int_equal(symlink("../out", p), 0);
	(void)snprintf(p, sizeof(p), "%s/filelink", g->top);
	assert_int_equal(symlink("../out/secret", p), 0);
	(void)snprintf(p, sizeof(p), "%s/fifo", g->top);
	assert_int_equal(mkfifo(p, 0600), 0);
	assert_int_equal(selinux_relabel(NULL, g->top, L, 0, NULL), 0);
	for (const char *const *n = (const char *const[]){".", "a", "d", "d/e", "d/e/deep", "link", "filelink", "fifo", NULL}; *n; n++)
		if (!str_eq(label_at(g->top, *n), L))
			fail_msg("%s: '%s'", *n, label_at(g->top, *n));
	/* Not what the links lead to. */
	assert_string_equal(label_at(g->out, "."), "");
	assert_string_equal(label_at(g->out, "secret"), "");
	/* For all. */
	assert_int_equal(selinux_relabel(NULL, g->top, L, SELINUX_SHARED, NULL), 0);
	assert_string_equal(label_at(g->top, "d/e/deep"), SHARED);
	/* The top is right: nothing is looked at. Else everything is. */
	assert_int_equal(selinux_relabel(NULL, g->top, L, 0, NULL), 0);
	(void)snprintf(p, sizeof(p), "%s/a", g->top);
	assert_int_equal(lsetxattr(p, XATTR, "other", 6, 0), 0);
	assert_int_equal(selinux_relabel(NULL, g->top, L, SELINUX_UNLESS_RIGHT, NULL), 0);
	assert_string_equal(label_at(g->top, "a"), "other");
	assert_int_equal(selinux_relabel(NULL, g->top, L, 0, NULL), 0);
	assert_string_equal(label_at(g->top, "a"), L);
	/* A link as the volume itself is followed, as the mount does. */
	(void)snprintf(p, sizeof(p), "%s/link", g->top);
	assert_int_equal(selinux_relabel(NULL, p, L, 0, NULL), 0);
	assert_string_equal(label_at(g->out, "secret"), L);
	assert_int_equal(selinux_relabel(NULL, g->top, "", 0, NULL), 0); /* none: nothing */
	assert_string_equal(label_at(g->top, "a"), L);
}

static void files_refused(void **state)
{
	struct ground *g = *state;
	crio_err err = ERR_INIT;

	for (const char *const *bad = (const char *const[]){"/", "//", "/etc", "/etc/", "/usr", "/var/lib", "/etc/passwd", "/proc", NULL}; *bad; bad++) {
		assert_int_equal(selinux_relabel(NULL, *bad, L, 0, &err), CRIO_E_INVALID);
		assert_non_null(strstr(err_text(&err), "not allowed"));
		err_clear(&err);
	}
	assert_int_equal(selinux_relabel(NULL, g->top, L, 0, &err), CRIO_E_NOT_FOUND);
	err_clear(&err);
	if (!has_labels(g))
		skip();
	/* Cut short: the top has no label, so that the next call does not take it for done. */
	cleanup_call crio_call *call = call_new("test", CALL_NO_DEADLINE);
	put(g->top, "a", "x");
	call_cancel(call);
	assert_int_equal(selinux_relabel(call, g->top, L, 0, &err), CRIO_E_CANCELLED);
	assert_string_equal(label_at(g->top, "."), "");
	err_clear(&err);
	/* Deeper than descriptors go. */
	int dir = open(g->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 1005; i++) {
		assert_int_equal(mkdirat(dir, "d", 0755), 0);
		int sub = openat(dir, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		(void)close(dir);
		dir = sub;
		assert_true(dir >= 0);
	}
	(void)close(dir);
	assert_int_equal(selinux_relabel(NULL, g->top, L, 0, &err), CRIO_E_EXHAUSTED);
	assert_string_equal(label_at(g->top, "."), "");
	err_clear(&err);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {T(levels), T(held), T(options), T(kinds), T(not_there), T(files), T(files_refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
