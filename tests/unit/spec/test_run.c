/* The spec as real runtimes take it: runc and crun start a process from it, which tells what it sees. Skipped where
 * there is no runtime, no static busybox, or no right to make namespaces and cgroups. */
#include "tests/unit/spec/fixture.h"

#include <sys/mount.h>

#include "core/exec/spawn.h"
#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/netns.h"

#define SCRIPT                                                                                                         \
	"echo host=$(hostname) env=$A:$HOSTNAME:$PATH; id; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; "   \
	"pwd; ls -di /proc/self/ns/net | cut -d' ' -f2; cat /data/file; "                                              \
	"echo x > /proc/sys/kernel/domainname && echo WROTE-SYS; echo x > /data/no && echo WROTE-RO; echo ok > "       \
	"/work/w && cat /work/w; "                                                                                     \
	"cat /proc/keys | head -c1 | wc -c; mount -t tmpfs x /mnt 2>&1; unshare -U true 2>&1; cat /etc/resolv.conf; "  \
	"cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max; "               \
	"ls /dev/mynull /dev/null; mkdir /sys/fs/cgroup/memory/x /sys/fs/cgroup/x/y 2>/dev/null && echo WROTE-CG; "    \
	"touch /root-is-ro 2>&1; echo end"

struct real {
	struct fixture f;
	struct netns_args ns;
	char ns_name[37], ns_dir[96], bundle[96], parent[64];
	char *net, *ipc, *uts;
	crio_call *call;
};

static bool have(const char *name)
{
	char *p = NULL;
	bool ok = spawn_find(name, NULL, &p, NULL) == 0;

	free(p);
	return ok;
}

/* Runs argv and gives its output; fails the test on a bad exit code. */
static char *run(struct real *r, const char *const *argv, int expect)
{
	static const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	struct spawn s = SPAWN_INIT;
	struct spawn_result res = {0};
	crio_err err = ERR_INIT;
	char *path = NULL, *out;

	assert_int_equal(spawn_find(argv[0], NULL, &path, NULL), 0);
	s.path = path;
	s.argv = argv;
	s.env = env;
	if (spawn_capture(&s, r->call, NULL, 0, 1 << 20, 1 << 20, &res, &err) < 0)
		fail_msg("%s: %s", argv[0], err_text(&err));
	if (res.exit_code != expect)
		fail_msg("%s ended with %d: %s%s", argv[0], res.exit_code, res.out.p ? res.out.p : "",
			 res.err.p ? res.err.p : "");
	out = buf_take(&res.out);
	assert_non_null(out);
	spawn_result_release(&res);
	free(path);
	return out;
}

static void make_root(struct real *r)
{
	static const char *const names[] = {"sh",    "hostname", "id",	  "grep",  "cut",     "cat", "head", "wc",
					    "mount", "ls",	 "mkdir", "touch", "unshare", "pwd", "true"};
	struct fixture *f = &r->f;
	char p[256];

	put_dir(f, "/bin");
	put_dir(f, "/work");
	put_dir(f, "/mnt");
	(void)snprintf(p, sizeof(p), "%s/bin/busybox", f->root);
	free(run(r, (const char *const[]){"cp", "/bin/busybox", p, NULL}, 0));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(p, sizeof(p), "%s/bin/%s", f->root, names[i]);
		assert_int_equal(symlink("busybox", p), 0);
	}
}

static void run_file(struct real *r, char ret[160], const char *name, const char *text)
{
	(void)snprintf(ret, 160, "%s/%s", r->f.run, name);
	assert_int_equal(fs_write_path(ret, text, strlen(text), 0644, FS_RUN, NULL), 0);
}

static void open_real(struct real *r)
{
	static char resolv[160], host[160], shm[160];
	struct fixture *f = &r->f;
	crio_err err = ERR_INIT;

	*r = (struct real){0};
	r->call = call_new("test", now_mono_ns() + INT64_C(60000000000));
	assert_non_null(r->call);
	fixture_open(f);
	make_root(r);
	(void)snprintf(r->ns_dir, sizeof(r->ns_dir), "%s/ns", f->dir);
	(void)snprintf(r->bundle, sizeof(r->bundle), "%s/bundle", f->dir);
	(void)snprintf(r->parent, sizeof(r->parent), "/crio-test-run-%d", (int)getpid());
	assert_int_equal(mkdir(r->bundle, 0700), 0);
	assert_true(uuid_new(r->ns_name));
	r->ns = (struct netns_args){
	    .dir = r->ns_dir, .name = r->ns_name, .net = true, .ipc = true, .uts = true, .hostname = "web-0"};
	if (netns_create(&r->ns, &err) < 0)
		fail_msg("%s", err_text(&err));
	f->a.netns = r->net = netns_path(r->ns_dir, NS_KIND_NET, r->ns_name);
	f->a.ipcns = r->ipc = netns_path(r->ns_dir, NS_KIND_IPC, r->ns_name);
	f->a.utsns = r->uts = netns_path(r->ns_dir, NS_KIND_UTS, r->ns_name);
	f->a.cgroup_parent = r->parent;
	run_file(r, resolv, "resolv.conf", "nameserver 192.0.2.1\n");
	run_file(r, host, "hostname", "web-0\n");
	(void)snprintf(shm, sizeof(shm), "%s/shm", f->run);
	assert_int_equal(mkdir(shm, 0777), 0);
	f->a.resolv_path = resolv;
	f->a.hostname_path = host;
	f->a.shm_path = shm;
}

static void close_real(struct real *r)
{
	assert_int_equal(netns_remove(r->ns_dir, r->ns_name, NULL), 0);
	assert_int_equal(cgroup_remove(r->parent, NULL), 0);
	free(r->net);
	free(r->ipc);
	free(r->uts);
	fixture_close(&r->f);
	call_unref(r->call);
}

static void write_bundle(struct real *r)
{
	char *t = json_text(r->f.spec), p[128];

	assert_non_null(t);
	(void)snprintf(p, sizeof(p), "%s/config.json", r->bundle);
	assert_int_equal(fs_write_path(p, t, strlen(t), 0600, FS_RUN, NULL), 0);
	free(t);
}

/* crun before 1.9 refuses a v1 tree with a cgroup2 tree inside; it is given a view without it. */
static char *run_bundle(struct real *r, const char *runtime)
{
	char state[128], *cmd, *out;
	bool hybrid = !cgroup_facts()->v2 && access("/sys/fs/cgroup/unified", F_OK) == 0;

	(void)snprintf(state, sizeof(state), "%s/state", r->f.dir);
	cmd = path_fmt("%s %s --root %s run -b %s crio-test-%d",
		       hybrid ? "umount /sys/fs/cgroup/unified 2>/dev/null; exec" : "exec", runtime, state, r->bundle,
		       (int)getpid());
	assert_non_null(cmd);
	out = run(r, (const char *const[]){"unshare", "-m", "sh", "-c", cmd, NULL}, 0);
	free(cmd);
	return out;
}

static void expect(const char *out, const char *want)
{
	if (!strstr(out, want))
		fail_msg("no '%s' in:\n%s", want, out);
}

static void expect_not(const char *out, const char *bad)
{
	if (strstr(out, bad))
		fail_msg("'%s' in:\n%s", bad, out);
}

static void build(struct real *r)
{
	struct fixture *f = &r->f;
	struct container_config *c = &f->c;
	char data[128], file[160];

	(void)snprintf(data, sizeof(data), "%s/data", f->dir);
	(void)snprintf(file, sizeof(file), "%s/file", data);
	assert_int_equal(mkdir(data, 0755), 0);
	assert_int_equal(fs_write_path(file, "from-host\n", 10, 0644, FS_RUN, NULL), 0);
	add_mount(f, data, "/data")->readonly = true;
	(void)config_set_str(&c->working_dir, "/made/by/us");
	for (const char *const *a = (const char *const[]){"/bin/sh", "-c", SCRIPT, NULL}; *a; a++)
		assert_int_equal(strv_add(&c->command, *a), 0);
	assert_int_equal(strv_add(&c->env, "A=from-request"), 0);
	assert_int_equal(strv_add(&f->conf->runtime.additional_devices, "/dev/null:/dev/mynull:rw"), 0);
	assert_int_equal(strv_add(&f->conf->runtime.default_ulimits, "nofile=1024:1048576"), 0);
	c->sec.seccomp.set = true;
	c->sec.no_new_privs = true;
	assert_int_equal(strv_add(&c->sec.masked_paths, "/proc/keys"), 0);
	assert_int_equal(strv_add(&c->sec.readonly_paths, "/proc/sys"), 0);
	c->resources.set = true;
	c->resources.memory_limit = 64 << 20;
	c->resources.cpu_shares = 102;
	c->resources.oom_score_adj = -997;
}

static void check_restricted(const char *out)
{
	expect(out, "host=web-0 env=from-request:web-0:/usr/local/sbin:");
	expect(out, "/made/by/us\n");
	expect(out, "from-host\n");
	expect(out, "nameserver 192.0.2.1\n");
	expect(out, "NoNewPrivs:\t1\n");
	expect(out, "Seccomp:\t2\n");
	expect(out, "CapInh:\t0000000000000000\n");
	expect(out, "CapAmb:\t0000000000000000\n");
	expect(out, "67108864\n");
	expect(out, "/dev/mynull\n");
	expect(out, "ok\n");
	expect(out, "\nend\n");
	expect(out, "\n0\n"); /* bytes of /proc/keys */
	expect_not(out, "WROTE");
}

static void restricted(struct real *r, const char *runtime)
{
	char *out;

	build(r);
	make_spec(&r->f);
	write_bundle(r);
	out = run_bundle(r, runtime);
	check_restricted(out);
	expect(out, "uid=0(root) gid=0(root)");
	expect(out, "CapPrm:\t00000000000005fb\n");
	expect(out, "CapBnd:\t00000000000005fb\n");
	free(out);
	/* Another user, without an entry; root read-only. */
	r->f.c.sec.run_as_user = (struct opt_i64){true, 4242};
	int64_t groups[] = {5000};
	r->f.c.sec.supplemental_groups = groups;
	r->f.c.sec.n_supplemental_groups = 1;
	r->f.c.sec.readonly_rootfs = true;
	(void)config_set_str(&r->f.c.mounts[0].container_path, "/data");
	free(run(r, (const char *const[]){"chmod", "0777", r->f.root, NULL}, 0));
	make_spec(&r->f);
	write_bundle(r);
	out = run_bundle(r, runtime);
	expect(out, "uid=4242(4242) gid=0(root) groups=0(root),5000(devs)");
	expect(out, "CapEff:\t0000000000000000\n");
	expect(out, "CapBnd:\t00000000000005fb\n");
	expect_not(out, "WROTE");
	r->f.c.sec.supplemental_groups = NULL;
	r->f.c.sec.n_supplemental_groups = 0;
	free(out);
	assert_int_equal(access(r->f.root, F_OK), 0);
}

static void privileged(struct real *r, const char *runtime)
{
	char *out;

	build(r);
	r->f.c.sec.privileged = r->f.pod.sec.privileged = true;
	make_spec(&r->f);
	write_bundle(r);
	out = run_bundle(r, runtime);
	expect(out, "Seccomp:\t0\n");
	expect(out, "\nend\n");
	expect(out, "CapInh:\t0000000000000000\n");
	expect_not(out, "WROTE-RO");
	free(out);
}

static bool possible(const char *runtime)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/crio-test-possible-%d", (int)getpid());
	if (geteuid() != 0 || !have(runtime) || access("/bin/busybox", X_OK) < 0 || cgroup_make(path, NULL) < 0)
		return false;
	return cgroup_remove(path, NULL) == 0;
}

static void on(const char *runtime, void (*fn)(struct real *, const char *))
{
	struct real r;

	if (!possible(runtime)) {
		print_message("no %s, no static busybox or no rights here\n", runtime);
		skip();
	}
	open_real(&r);
	fn(&r, runtime);
	close_real(&r);
}

static void runc_restricted(void **state)
{
	(void)state;
	on("runc", restricted);
}

static void runc_privileged(void **state)
{
	(void)state;
	on("runc", privileged);
}

static void crun_restricted(void **state)
{
	(void)state;
	on("crun", restricted);
}

static void crun_privileged(void **state)
{
	(void)state;
	on("crun", privileged);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(runc_restricted),
	    cmocka_unit_test(runc_privileged),
	    cmocka_unit_test(crun_restricted),
	    cmocka_unit_test(crun_privileged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
