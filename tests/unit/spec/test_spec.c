/* The spec's contents, by JSON paths. */
#include "tests/unit/spec/fixture.h"

#include <sys/mount.h>

#include "core/lifecycle/apparmor.h"
#include "core/lifecycle/caps.h"
#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/clamp.h"
#include "core/lifecycle/mounts.h"

static const struct clamp rich = {.bounding = UINT64_MAX, .sys_resource = true};

static int setup(void **state)
{
	struct fixture *f = malloc(sizeof(*f));

	fixture_open(f);
	assert_int_equal(strv_add(&f->image.cmd, "sh"), 0);
	clamp_set_for_test(&rich);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	clamp_set_for_test(NULL);
	fixture_close(*state);
	free(*state);
	return 0;
}

static const char *ann(struct fixture *f, const char *key)
{
	return json_str(json_obj(f->spec, "annotations"), key);
}

static const char *str_at(struct fixture *f, const char *path)
{
	const char *s = json_object_get_string(json_path(f->spec, path));

	return s ? s : "(absent)";
}

static void set_list(struct strv *l, const char *text)
{
	strv_clear(l);
	if (*text)
		assert_int_equal(str_split(text, ' ', l), 0);
}

static void expect_args(struct fixture *f, const char *command, const char *args, const char *want)
{
	set_list(&f->c.command, command);
	set_list(&f->c.args, args);
	make_spec(f);
	assert_string_equal(joined(f->spec, "process.args"), want);
}

static void arguments(void **state)
{
	struct fixture *f = *state;

	set_list(&f->image.entrypoint, "/entry -e");
	set_list(&f->image.cmd, "cmd1 cmd2");
	expect_args(f, "", "", "/entry -e cmd1 cmd2");
	expect_args(f, "", "a b", "/entry -e a b");
	expect_args(f, "c", "", "c");
	expect_args(f, "c d", "a", "c d a");
	set_list(&f->image.entrypoint, "");
	expect_args(f, "", "", "cmd1 cmd2");
	expect_args(f, "", "only", "only");
	set_list(&f->image.cmd, "");
	set_list(&f->c.args, "");
	refuse_spec(f, CRIO_E_INVALID, "no command specified");
}

static void environment(void **state)
{
	struct fixture *f = *state;

	set_list(&f->image.env, "PATH=/image A=image B=image broken =x");
	set_list(&f->c.env, "A=req D=req EMPTY=");
	set_list(&f->conf->runtime.default_env, "D=default E=default A=default");
	make_spec(f);
	assert_string_equal(joined(f->spec, "process.env"),
			    "PATH=/image TERM=xterm HOSTNAME=web-0 D=req E=default A=req EMPTY= B=image");
	/* Nothing of it is left for the next container. */
	set_list(&f->c.env, "");
	set_list(&f->image.env, "");
	set_list(&f->conf->runtime.default_env, "");
	make_spec(f);
	assert_string_equal(joined(f->spec, "process.env"),
			    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=xterm HOSTNAME=web-0");
	assert_int_equal(strv_add(&f->c.env, "HOME=/x\ny:x:0:0"), 0);
	refuse_spec(f, CRIO_E_INVALID, "newline not allowed");
}

static void gomaxprocs(void **state)
{
	struct fixture *f = *state;

	f->a.cgroup_parent = "/kubepods/burstable/pod1";
	f->conf->runtime.min_injected_gomaxprocs = 2;
	f->c.resources.set = true;
	f->c.resources.cpu_shares = 3072;
	make_spec(f);
	assert_non_null(strstr(joined(f->spec, "process.env"), "GOMAXPROCS=6"));
	f->c.resources.cpu_shares = 2;
	make_spec(f);
	assert_non_null(strstr(joined(f->spec, "process.env"), "GOMAXPROCS=2"));
	f->c.resources.cpu_quota = 1000;
	make_spec(f);
	assert_null(strstr(joined(f->spec, "process.env"), "GOMAXPROCS"));
	f->c.resources.cpu_quota = 0;
	set_list(&f->image.env, "GOMAXPROCS=9");
	make_spec(f);
	assert_non_null(strstr(joined(f->spec, "process.env"), "GOMAXPROCS=9"));
	set_list(&f->image.env, "");
	assert_int_equal(kvs_set(&f->pod.annotations, "skip-gomaxprocs.crio.io", "true"), 0);
	make_spec(f);
	assert_null(strstr(joined(f->spec, "process.env"), "GOMAXPROCS"));
}

static void exec_affinity(void **state)
{
	struct fixture *f = *state;

	f->runtime.exec_cpu_affinity = (char *)"first";
	f->a.runtime_handler = "high-performance";
	f->a.cgroup_parent = "/kubepods/pod1";
	f->c.resources.set = true;
	f->c.resources.cpu_shares = 2048;
	assert_int_equal(config_set_str(&f->c.resources.cpuset_cpus, "5-6,3,12"), 0);
	make_spec(f);
	assert_string_equal(json_str(json_path(f->spec, "process.execCPUAffinity"), "initial"), "3");
	f->a.runtime_handler = "runc"; /* not of such a handler */
	make_spec(f);
	assert_null(json_path(f->spec, "process.execCPUAffinity"));
	assert_int_equal(kvs_set(&f->pod.annotations, "cpu-quota.crio.io", "disable"), 0);
	make_spec(f);
	assert_non_null(json_path(f->spec, "process.execCPUAffinity"));
	f->c.resources.cpu_shares = 2047; /* no whole CPUs */
	make_spec(f);
	assert_null(json_path(f->spec, "process.execCPUAffinity"));
	f->c.resources.cpu_shares = 2048;
	f->a.cgroup_parent = "/kubepods/burstable/pod1";
	make_spec(f);
	assert_null(json_path(f->spec, "process.execCPUAffinity"));
	f->a.cgroup_parent = "/kubepods/pod1";
	assert_int_equal(config_set_str(&f->c.resources.cpuset_cpus, ""), 0);
	make_spec(f);
	assert_null(json_path(f->spec, "process.execCPUAffinity"));
	assert_int_equal(config_set_str(&f->c.resources.cpuset_cpus, "x-3"), 0);
	make_spec(f);
	assert_null(json_path(f->spec, "process.execCPUAffinity"));
	assert_int_equal(config_set_str(&f->c.resources.cpuset_cpus, "0"), 0);
	f->runtime.exec_cpu_affinity = (char *)"";
	make_spec(f);
	assert_null(json_path(f->spec, "process.execCPUAffinity"));
}

static void users(void **state)
{
	struct fixture *f = *state;
	int64_t extra[] = {7, 5000, 8};
	struct stat st;
	char p[256];

	f->image.user = (char *)"app";
	make_spec(f);
	assert_string_equal(str_at(f, "process.user.uid"), "1000");
	assert_string_equal(str_at(f, "process.user.gid"), "1000");
	assert_string_equal(joined(f->spec, "process.user.additionalGids"), "1000 5000 5001");
	assert_string_equal(joined(f->spec, "process.capabilities.effective"), "");
	assert_null(mount_at(f->spec, "/etc/passwd"));
	f->c.sec.supplemental_groups = extra;
	f->c.sec.n_supplemental_groups = 3;
	f->c.sec.run_as_group = (struct opt_i64){true, 99};
	refuse_spec(f, CRIO_E_INVALID, "user group is specified without user or username");
	f->c.sec.run_as_user = (struct opt_i64){true, 1000};
	make_spec(f);
	assert_string_equal(str_at(f, "process.user.gid"), "99");
	assert_string_equal(joined(f->spec, "process.user.additionalGids"), "99 5000 5001 7 8");
	f->c.sec.groups_policy = GROUPS_STRICT;
	make_spec(f);
	assert_string_equal(joined(f->spec, "process.user.additionalGids"), "99 7 5000 8");
	/* Without an entry: passwd and group with one, mounted. */
	f->c.sec.run_as_user.v = 4242;
	make_spec(f);
	assert_int_equal(f->info.uid, 4242);
	(void)snprintf(p, sizeof(p), "%s/passwd", f->run);
	assert_string_equal(json_str(mount_at(f->spec, "/etc/passwd"), "source"), p);
	assert_int_equal(stat(p, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_non_null(mount_at(f->spec, "/etc/group"));
	extra[0] = -4;
	refuse_spec(f, CRIO_E_INVALID, "out of range");
	extra[0] = 7;
	f->c.sec.run_as_user.v = INT64_C(4294967296);
	refuse_spec(f, CRIO_E_INVALID, "out of range");
	f->c.sec.supplemental_groups = NULL;
	f->c.sec.n_supplemental_groups = 0;
	f->image.user = (char *)"";
}

static void capabilities(void **state)
{
	struct fixture *f = *state;
	const struct clamp poor = {.bounding = CAP_BIT(0) | CAP_BIT(13), .sys_resource = false};

	make_spec(f);
	assert_string_equal(
	    joined(f->spec, "process.capabilities.bounding"),
	    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP "
	    "CAP_NET_BIND_SERVICE");
	assert_string_equal(joined(f->spec, "process.capabilities.inheritable"), "");
	assert_string_equal(joined(f->spec, "process.capabilities.ambient"), "");
	set_list(&f->c.sec.cap_add, "NET_RAW");
	set_list(&f->c.sec.cap_drop, "ALL");
	make_spec(f);
	assert_string_equal(joined(f->spec, "process.capabilities.effective"), "CAP_NET_RAW");
	set_list(&f->c.sec.cap_add, "NOT_A_CAP");
	refuse_spec(f, CRIO_E_INVALID, "unknown capability");
	set_list(&f->c.sec.cap_add, "NET_RAW NET_ADMIN");
	clamp_set_for_test(&poor);
	make_spec(f);
	assert_string_equal(joined(f->spec, "process.capabilities.bounding"), "CAP_NET_RAW");
}

static void baseline_mounts(void **state)
{
	struct fixture *f = *state;
	static const char *const order[] = {"/proc",	      "/dev",	  "/dev/pts",	      "/dev/mqueue",   "/sys",
					    "/sys/fs/cgroup", "/dev/shm", "/etc/resolv.conf", "/etc/hostname", "/a",
					    "/data/x"};
	struct json_object *arr;

	(void)add_mount(f, "/tmp", "/data//x/");
	(void)add_mount(f, "/tmp", "/a");
	make_spec(f);
	arr = json_arr(f->spec, "mounts");
	assert_int_equal(json_object_array_length(arr), ARRAY_SIZE(order));
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		assert_string_equal(json_str(json_object_array_get_idx(arr, i), "destination"), order[i]);
	assert_string_equal(joined(mount_at(f->spec, "/sys"), "options"), "nosuid noexec nodev ro");
	assert_string_equal(joined(mount_at(f->spec, "/etc/resolv.conf"), "options"), "rw bind nodev nosuid noexec");
	assert_string_equal(joined(mount_at(f->spec, "/a"), "options"), "rbind rprivate rw bind");
	assert_non_null(
	    strstr(ann(f, "io.kubernetes.cri-o.Volumes"),
		   "\"container_path\":\"/data//x/\",\"host_path\":\"/tmp\","
		   "\"readonly\":false,\"recursive_read_only\":false,\"propagation\":0,\"selinux_relabel\":false"));
	f->c.sec.readonly_rootfs = true;
	make_spec(f);
	assert_string_equal(str_at(f, "root.readonly"), "true");
	assert_string_equal(joined(mount_at(f->spec, "/etc/hostname"), "options"), "ro bind");
	/* A request's /sys or /dev takes what is below with it. */
	(void)add_mount(f, "/sys", "/sys");
	(void)add_mount(f, "/etc/hosts", "/etc/resolv.conf");
	make_spec(f);
	assert_string_equal(json_str(mount_at(f->spec, "/sys"), "type"), "bind");
	assert_null(mount_at(f->spec, "/sys/fs/cgroup"));
	assert_string_equal(json_str(mount_at(f->spec, "/etc/resolv.conf"), "source"), "/etc/hosts");
}

static void requested_mounts(void **state)
{
	struct fixture *f = *state;
	struct mount_config *m;
	char missing[160], link[160], target[160];
	struct stat st;

	(void)snprintf(missing, sizeof(missing), "%s/made/here", f->dir);
	(void)snprintf(target, sizeof(target), "%s/run", f->dir);
	(void)snprintf(link, sizeof(link), "%s/link", f->dir);
	assert_int_equal(symlink(target, link), 0);
	m = add_mount(f, missing, "/m");
	(void)add_mount(f, link, "/l");
	make_spec(f);
	assert_true(stat(missing, &st) == 0 && S_ISDIR(st.st_mode));
	assert_string_equal(json_str(mount_at(f->spec, "/l"), "source"), target);
	/* Sources that must not be made. */
	(void)config_set_str(&m->host_path, "/absent-hostname-file");
	assert_int_equal(strv_add(&f->conf->runtime.absent_mount_sources_to_reject, "/absent-hostname-file"), 0);
	refuse_spec(f, CRIO_E_INVALID, "path does not exist and will cause issues as a directory");
	(void)config_set_str(&m->host_path, "relative");
	refuse_spec(f, CRIO_E_INVALID, "not absolute");
	(void)config_set_str(&m->host_path, "");
	refuse_spec(f, CRIO_E_INVALID, "HostPath is empty");
	(void)config_set_str(&m->host_path, "/tmp");
	(void)config_set_str(&m->container_path, "");
	refuse_spec(f, CRIO_E_INVALID, "ContainerPath is empty");
	(void)config_set_str(&m->container_path, "/a\nb");
	refuse_spec(f, CRIO_E_INVALID, "control bytes");
	(void)config_set_str(&m->container_path, "/../../x");
	make_spec(f);
	assert_non_null(mount_at(f->spec, "/x"));
	m->recursive_read_only = true;
	refuse_spec(f, CRIO_E_INVALID, "conflicts with read-write");
	m->readonly = true;
	refuse_spec(f, CRIO_E_INVALID, "not available");
	f->a.runtime_rro = true;
	make_spec(f);
	assert_string_equal(joined(mount_at(f->spec, "/x"), "options"), "rbind rprivate rro bind");
	m->propagation = PROPAGATION_HOST_TO_CONTAINER;
	refuse_spec(f, CRIO_E_INVALID, "");
	m->propagation = PROPAGATION_PRIVATE;
	assert_int_equal(id_map_add(&m->maps.uids, 0, 100000, 65536, NULL), 0);
	refuse_spec(f, CRIO_E_INVALID, "idmap");
	f->a.runtime_idmap = true;
	refuse_spec(f, CRIO_E_INVALID, "no GID mappings");
	assert_int_equal(id_map_add(&m->maps.gids, 0, 0, 65536, NULL), 0);
	make_spec(f);
	assert_int_equal(
	    json_int(json_object_array_get_idx(json_arr(mount_at(f->spec, "/x"), "uidMappings"), 0), "size", 0), 65536);
}

static void sharing(void **state)
{
	static const char info[] = "1 0 8:1 / / rw - ext4 /dev/a rw\n"
				   "2 1 8:2 / /mnt rw shared:5 - ext4 /dev/b rw\n"
				   "3 2 8:3 / /mnt/s rw master:5 - ext4 /dev/b rw\n"
				   "4 2 8:3 / /mnt/b rw shared:7 master:5 - ext4 /dev/b rw\n"
				   "5 2 8:3 / /mnt/p rw - ext4 /dev/b rw";

	(void)state;
	assert_int_equal(mount_sharing_of(info, "/etc"), MOUNT_IS_PRIVATE);
	assert_int_equal(mount_sharing_of(info, "/mnt"), MOUNT_IS_SHARED);
	assert_int_equal(mount_sharing_of(info, "/mntx"), MOUNT_IS_PRIVATE);
	assert_int_equal(mount_sharing_of(info, "/mnt/x/y"), MOUNT_IS_SHARED);
	assert_int_equal(mount_sharing_of(info, "/mnt/s/y"), MOUNT_IS_SLAVE);
	assert_int_equal(mount_sharing_of(info, "/mnt/b"), MOUNT_IS_SHARED);
	assert_int_equal(mount_sharing_of(info, "/mnt/p"), MOUNT_IS_PRIVATE);
	assert_int_equal(mount_sharing_of("garbage\n\n1 2 3\n", "/x"), MOUNT_IS_PRIVATE);
}

/* What a hostile image makes of its own tree stays in it. */
static void hostile_root(void **state)
{
	struct fixture *f = *state;
	char p[256], outside[128], made[256];
	struct stat st;

	(void)snprintf(outside, sizeof(outside), "%s/outside", f->dir);
	assert_int_equal(mkdir(outside, 0755), 0);
	/* Working directory and volume over links that lead out. */
	(void)snprintf(p, sizeof(p), "%s/work", f->root);
	assert_int_equal(symlink(outside, p), 0);
	(void)snprintf(p, sizeof(p), "%s/vol", f->root);
	assert_int_equal(symlink("../outside", p), 0);
	f->image.workdir = (char *)"/work/here";
	set_list(&f->image.volumes, "/vol/data /../../v2 /v3");
	(void)snprintf(made, sizeof(made), "%s/here", outside);
	crio_err err = ERR_INIT;
	int r = spec_container(&f->a, &f->spec, &f->info, &err);
	assert_true(r < 0 || stat(made, &st) < 0);
	assert_int_equal(stat(made, &st), -1);
	err_clear(&err);
	fixture_clear(f);
	/* Where the links' ends exist in the root, they are used. */
	(void)snprintf(p, sizeof(p), "%s", outside);
	put_dir(f, p);
	put_dir(f, "/outside");
	make_spec(f);
	(void)snprintf(p, sizeof(p), "%s%s/here", f->root, outside);
	assert_int_equal(stat(p, &st), 0);
	assert_int_equal(stat(made, &st), -1);
	(void)snprintf(p, sizeof(p), "%s/outside/data", f->root);
	assert_int_equal(stat(p, &st), 0);
	(void)snprintf(p, sizeof(p), "%s/data", outside);
	assert_int_equal(stat(p, &st), -1);
	(void)snprintf(p, sizeof(p), "%s/v2", f->root);
	assert_int_equal(stat(p, &st), 0);
	/* /etc is a link to the host's: passwd comes from the root's own, mtab is not written outside. */
	f->image.workdir = (char *)"";
	set_list(&f->image.volumes, "");
	(void)snprintf(p, sizeof(p), "%s/etc", f->root);
	char moved[256];
	(void)snprintf(moved, sizeof(moved), "%s/etc2", f->root);
	assert_int_equal(rename(p, moved), 0);
	assert_int_equal(symlink(outside, p), 0);
	make_spec(f);
	(void)snprintf(made, sizeof(made), "%s/mtab", outside);
	assert_int_equal(lstat(made, &st), -1);
	(void)snprintf(made, sizeof(made), "%s%s/mtab", f->root, outside);
	assert_int_equal(lstat(made, &st), 0);
	f->c.sec.run_as_user = (struct opt_i64){true, 4242};
	make_spec(f);
	assert_null(mount_at(f->spec, "/etc/passwd"));
}

/* A newline, or another control byte, in anything that is a path or becomes a line of a file. */
static void control_bytes(void **state)
{
	struct fixture *f = *state;
	struct mount_config *m = add_mount(f, "/tmp", "/m");

	for (const char *const *bad = (const char *const[]){"/a\nb", "/a\tb", "/a\x7f", "/\x1b[2J", NULL}; *bad; bad++) {
		(void)config_set_str(&m->host_path, *bad);
		refuse_spec(f, CRIO_E_INVALID, "control bytes");
		(void)config_set_str(&m->host_path, "/tmp");
		(void)config_set_str(&m->container_path, *bad);
		refuse_spec(f, CRIO_E_INVALID, "control bytes");
		(void)config_set_str(&m->container_path, "/m");
		(void)config_set_str(&f->c.working_dir, *bad);
		refuse_spec(f, CRIO_E_INVALID, "control bytes");
		(void)config_set_str(&f->c.working_dir, "");
		f->image.workdir = (char *)(uintptr_t)*bad; /* only read */
		refuse_spec(f, CRIO_E_INVALID, "control bytes");
		f->image.workdir = (char *)"";
		set_list(&f->image.volumes, *bad);
		refuse_spec(f, CRIO_E_INVALID, "control bytes");
		set_list(&f->image.volumes, "");
		f->image.user = (char *)(uintptr_t)*bad;
		refuse_spec(f, CRIO_E_INVALID, "control bytes");
		f->image.user = (char *)"";
		set_list(&f->c.sec.readonly_paths, *bad);
		refuse_spec(f, CRIO_E_INVALID, "readonlyPaths");
		set_list(&f->c.sec.readonly_paths, "");
		set_list(&f->c.sec.masked_paths, *bad);
		refuse_spec(f, CRIO_E_INVALID, "maskedPaths");
		set_list(&f->c.sec.masked_paths, "");
		f->c.devices = calloc(1, sizeof(*f->c.devices));
		f->c.n_devices = 1;
		f->c.devices[0] = (struct device_config){strdup(*bad), strdup("/dev/null"), strdup("r")};
		refuse_spec(f, CRIO_E_INVALID, "");
		free(f->c.devices[0].container_path);
		f->c.devices[0].container_path = strdup("/dev/x");
		free(f->c.devices[0].permissions);
		f->c.devices[0].permissions = strdup("r\n");
		refuse_spec(f, CRIO_E_INVALID, "");
		for (char **p = (char *[]){f->c.devices[0].container_path, f->c.devices[0].host_path, f->c.devices[0].permissions, NULL}; *p; p++)
			free(*p);
		free(f->c.devices);
		f->c.devices = NULL;
		f->c.n_devices = 0;
		make_spec(f);
	}
}

static void image_volumes(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char p[256];

	f->image.user = (char *)"app";
	set_list(&f->image.volumes, "/data");
	make_spec(f);
	(void)snprintf(p, sizeof(p), "%s/data", f->root);
	assert_int_equal(stat(p, &st), 0);
	assert_true(st.st_uid == 1000 && st.st_gid == 1000);
	f->conf->image.image_volumes = CONF_VOLUMES_BIND;
	make_spec(f);
	assert_string_equal(joined(mount_at(f->spec, "/data"), "options"), "private rw bind");
	assert_int_equal(stat(json_str(mount_at(f->spec, "/data"), "source"), &st), 0);
	/* The request's mount wins. */
	(void)add_mount(f, "/tmp", "/data");
	make_spec(f);
	assert_string_equal(json_str(mount_at(f->spec, "/data"), "source"), "/tmp");
	f->image.user = (char *)"";
}

static void namespaces(void **state)
{
	struct fixture *f = *state;
	char *text;

	make_spec(f);
	text = json_text(json_path(f->spec, "linux.namespaces"));
	assert_non_null(strstr(
	    text, "{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/run/netns/x\"},{\"type\":\"ipc\",\"path\":"
		  "\"/run/ipcns/x\"},{\"type\":\"uts\",\"path\":\"/run/utsns/x\"},{\"type\":\"mount\"}"));
	free(text);
	assert_string_equal(str_at(f, "hostname"), "web-0");
	f->c.sec.ns.pid = NS_POD;
	refuse_spec(f, CRIO_E_PRECONDITION, "infra container");
	f->a.pidns = "/run/pidns/x";
	make_spec(f);
	text = json_text(json_path(f->spec, "linux.namespaces"));
	assert_non_null(strstr(text, "{\"type\":\"pid\",\"path\":\"/run/pidns/x\"}"));
	free(text);
	f->c.sec.ns.pid = NS_NODE;
	f->c.sec.ns.network = NS_NODE;
	f->c.sec.ns.ipc = NS_NODE;
	f->a.utsns = "";
	make_spec(f);
	text = json_text(json_path(f->spec, "linux.namespaces"));
	assert_null(strstr(text, "pid"));
	assert_null(strstr(text, "network"));
	assert_null(strstr(text, "ipc"));
	assert_null(strstr(text, "uts"));
	free(text);
	assert_null(json_get(f->spec, "hostname"));
	assert_non_null(mount_at(f->spec, "/etc/hosts"));
	f->c.sec.ns.pid = NS_TARGET;
	f->a.pidns = "";
	refuse_spec(f, CRIO_E_INVALID, "target");
}

static void resources(void **state)
{
	struct fixture *f = *state;
	struct resources *r = &f->c.resources, got;
	const struct clamp poor = {.bounding = UINT64_MAX, .oom_score_adj = 50};
	char *update = NULL;

	r->set = true;
	r->cpu_shares = 512;
	r->cpu_quota = 20000;
	r->cpu_period = 100000;
	r->memory_limit = 64 << 20;
	r->oom_score_adj = -997;
	(void)config_set_str(&r->cpuset_cpus, "0");
	f->conf->runtime.pids_limit = 77;
	make_spec(f);
	assert_string_equal(str_at(f, "linux.resources.cpu.shares"), "512");
	assert_string_equal(str_at(f, "linux.resources.cpu.quota"), "20000");
	assert_string_equal(str_at(f, "linux.resources.cpu.cpus"), "0");
	assert_string_equal(str_at(f, "linux.resources.memory.limit"), "67108864");
	if (cgroup_facts()->has_memory_swap)
		assert_string_equal(str_at(f, "linux.resources.memory.swap"), "67108864");
	if (cgroup_facts()->has_pids)
		assert_string_equal(str_at(f, "linux.resources.pids.limit"), "77");
	assert_string_equal(str_at(f, "process.oomScoreAdj"), "-997");
	assert_string_equal(str_at(f, "linux.cgroupsPath"),
			    "/pod1/crio-1111111111111111111111111111111111111111111111111111111111111111");
	clamp_set_for_test(&poor);
	make_spec(f);
	assert_string_equal(str_at(f, "process.oomScoreAdj"), "50");
	clamp_set_for_test(&rich);
	/* Back from a spec, and changed. */
	assert_int_equal(spec_get_resources(f->spec, &got, NULL), 0);
	assert_int_equal(got.memory_limit, 64 << 20);
	assert_string_equal(got.cpuset_cpus, "0");
	got.memory_limit = 128 << 20;
	got.memory_swap_limit = 0;
	got.cpu_shares = 0;
	assert_int_equal(spec_update_resources(f->spec, &got, 0, &update, NULL), 0);
	assert_string_equal(str_at(f, "linux.resources.memory.limit"), "134217728");
	assert_string_equal(str_at(f, "linux.resources.cpu.shares"), "512");
	assert_null(strstr(update, "shares"));
	free(update);
	resources_release(&got);
	r->memory_limit = 1000;
	refuse_spec(f, CRIO_E_INVALID, "too low");
	r->memory_limit = 64 << 20;
	r->memory_swap_limit = 32 << 20;
	refuse_spec(f, CRIO_E_INVALID, "swap limit");
	r->memory_swap_limit = 0;
	assert_int_equal(kvs_set(&r->unified, "../memory.max", "1"), 0);
	refuse_spec(f, CRIO_E_INVALID, "unified");
}

static void workloads(void **state)
{
	struct fixture *f = *state;
	struct conf_workload w = {.name = (char *)"w",
				  .activation_annotation = (char *)"a",
				  .annotation_prefix = (char *)"my.w",
				  .resources = {.cpushares = 100, .cpuset = (char *)"0-1"}};

	f->a.workload = &w;
	make_spec(f);
	assert_string_equal(str_at(f, "linux.resources.cpu.shares"), "100");
	assert_string_equal(str_at(f, "linux.resources.cpu.cpus"), "0-1");
	assert_int_equal(
	    kvs_set(&f->pod.annotations, "my.w/main", "{\"cpushares\": 300, \"cpuset\": \"1\", \"cpulimit\": 500}"), 0);
	make_spec(f);
	assert_string_equal(str_at(f, "linux.resources.cpu.shares"), "300");
	assert_string_equal(str_at(f, "linux.resources.cpu.cpus"), "1");
	assert_string_equal(str_at(f, "linux.resources.cpu.quota"), "50000");
	assert_int_equal(kvs_set(&f->pod.annotations, "my.w/main", "{"), 0);
	refuse_spec(f, CRIO_E_INVALID, "my.w/main");
	assert_int_equal(kvs_set(&f->pod.annotations, "my.w/main", "{\"cpushares\": \"x\"}"), 0);
	refuse_spec(f, CRIO_E_INVALID, "cpushares");
}

static void security(void **state)
{
	struct fixture *f = *state;
	struct json_object *rules;

	make_spec(f);
	assert_null(json_path(f->spec, "linux.seccomp"));
	assert_null(json_path(f->spec, "linux.maskedPaths"));
	assert_string_equal(str_at(f, "process.noNewPrivileges"), "false");
	f->c.sec.seccomp.set = true;
	f->c.sec.no_new_privs = true;
	set_list(&f->c.sec.masked_paths, "/proc/kcore /proc/mine");
	set_list(&f->c.sec.readonly_paths, "/proc/sys");
	make_spec(f);
	assert_non_null(json_path(f->spec, "linux.seccomp"));
	assert_string_equal(f->info.seccomp_ref, "RuntimeDefault");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.SeccompProfilePath"), "RuntimeDefault");
	assert_string_equal(str_at(f, "process.noNewPrivileges"), "true");
	assert_non_null(strstr(joined(f->spec, "linux.maskedPaths"), "/proc/kcore /proc/keys"));
	assert_non_null(strstr(joined(f->spec, "linux.maskedPaths"), "/proc/mine"));
	assert_string_equal(joined(f->spec, "linux.readonlyPaths"), "/proc/sys");
	set_list(&f->c.sec.masked_paths, "relative");
	refuse_spec(f, CRIO_E_INVALID, "maskedPaths");
	/* Privileged. */
	f->c.sec.privileged = true;
	refuse_spec(f, CRIO_E_INVALID, "no privileged container allowed in sandbox");
	f->pod.sec.privileged = true;
	make_spec(f);
	assert_true(f->info.privileged);
	assert_null(json_path(f->spec, "linux.seccomp"));
	assert_null(json_path(f->spec, "linux.maskedPaths"));
	assert_string_equal(joined(mount_at(f->spec, "/sys"), "options"), "nosuid noexec nodev rw rslave");
	assert_string_equal(joined(f->spec, "process.capabilities.inheritable"), "");
	rules = json_path(f->spec, "linux.resources.devices");
	assert_int_equal(json_object_array_length(rules), 1);
	assert_true(json_flag(json_object_array_get_idx(rules, 0), "allow", false));
	assert_true(json_object_array_length(json_path(f->spec, "linux.devices")) > 3);
}

static void labels(void **state)
{
	struct fixture *f = *state;

	make_spec(f);
	assert_string_equal(str_at(f, "process.selinuxLabel"), "(absent)");
	assert_string_equal(str_at(f, "linux.mountLabel"), "(absent)");
	f->a.process_label = "u:r:container_t:s0:c1,c2";
	f->a.init_label = "u:r:container_init_t:s0:c1,c2";
	f->a.mount_label = "u:object_r:container_file_t:s0:c1,c2";
	make_spec(f);
	assert_string_equal(str_at(f, "process.selinuxLabel"), f->a.process_label);
	assert_string_equal(str_at(f, "linux.mountLabel"), f->a.mount_label);
	set_list(&f->c.command, "/lib/systemd/systemd");
	make_spec(f);
	assert_string_equal(str_at(f, "process.selinuxLabel"), f->a.init_label);
	f->a.init_label = NULL; /* somebody chose the type */
	make_spec(f);
	assert_string_equal(str_at(f, "process.selinuxLabel"), f->a.process_label);
	crio_err err = ERR_INIT;
	fixture_clear(f);
	f->a.spoofed = true;
	if (spec_pod(&f->a, &f->spec, &f->info, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_string_equal(str_at(f, "process.selinuxLabel"), f->a.process_label);
	assert_string_equal(str_at(f, "linux.mountLabel"), f->a.mount_label);
}

static void write_profiles(struct fixture *f, const char *text)
{
	char path[sizeof(f->dir) + 16];

	(void)snprintf(path, sizeof(path), "%s/profiles", f->dir);
	assert_int_equal(fs_write_path(path, text, strlen(text), 0644, FS_RUN, NULL), 0);
}

/* A container needs its profile, a pod only one that it asks for by name. */
static void confined(void **state)
{
	struct fixture *f = *state;
	crio_err err = ERR_INIT;

	apparmor_set_root_for_test(f->dir);
	assert_int_equal(config_set_str(&f->conf->runtime.apparmor_profile, "node-own"), 0);
	for (int there = 0; there < 2; there++) {
		write_profiles(f, there ? "node-own (enforce)\n" : "other (enforce)\n");
		f->a.container = &f->c;
		f->a.spoofed = false;
		if (there) {
			make_spec(f);
			assert_string_equal(str_at(f, "process.apparmorProfile"), "node-own");
		} else {
			refuse_spec(f, CRIO_E_INVALID, "'node-own' is not loaded");
		}
		f->a.container = NULL;
		f->a.spoofed = true;
		fixture_clear(f);
		if (spec_pod(&f->a, &f->spec, &f->info, &err) < 0)
			fail_msg("%s", err_text(&err));
		assert_string_equal(str_at(f, "process.apparmorProfile"), there ? "node-own" : "(absent)");
	}
	f->pod.sec.apparmor.set = true;
	f->pod.sec.apparmor.type = PROFILE_LOCALHOST;
	assert_int_equal(config_set_str(&f->pod.sec.apparmor.localhost_ref, "localhost/gone"), 0);
	fixture_clear(f);
	assert_int_equal(spec_pod(&f->a, &f->spec, &f->info, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "'gone' is not loaded"));
	err_clear(&err);
	apparmor_set_root_for_test(NULL);
}

static void limits(void **state)
{
	struct fixture *f = *state;

	set_list(&f->conf->runtime.default_ulimits, "nofile=1024:2048 core=-1");
	make_spec(f);
	assert_string_equal(
	    joined(f->spec, "process.rlimits"),
	    "{ \"type\": \"RLIMIT_NOFILE\", \"hard\": 2048, \"soft\": 1024 } { \"type\": \"RLIMIT_CORE\", \"hard\": "
	    "18446744073709551615, \"soft\": 18446744073709551615 }");
	set_list(&f->conf->runtime.default_ulimits, "nofile=9:2");
	refuse_spec(f, CRIO_E_INVALID, "default_ulimits");
}

static void devices(void **state)
{
	struct fixture *f = *state;
	char buf[64];
	struct spec_device d;

	assert_int_equal(device_parse("/dev/fuse", buf, sizeof(buf), &d, NULL), 0);
	assert_string_equal(d.container_path, "/dev/fuse");
	assert_int_equal(device_parse("/dev/a:/dev/b:rw", buf, sizeof(buf), &d, NULL), 0);
	assert_string_equal(d.container_path, "/dev/b");
	assert_string_equal(d.permissions, "rw");
	assert_int_equal(device_parse("/dev/a:r", buf, sizeof(buf), &d, NULL), 0);
	assert_string_equal(d.permissions, "r");
	for (const char *const *bad = (const char *const[]){"/dev/a:/etc/b", "/dev/a:/dev/b:rr", "/dev/a:x", "a",
							    "/dev/../etc", "/dev/a:/dev/b:r:w", NULL};
	     *bad; bad++)
		assert_int_equal(device_parse(*bad, buf, sizeof(buf), &d, NULL), CRIO_E_INVALID);
	set_list(&f->conf->runtime.additional_devices, "/dev/null:/dev/mynull:rw");
	assert_int_equal(kvs_set(&f->pod.annotations, "devices.crio.io", "/dev/zero"), 0);
	set_list(&f->conf->runtime.allowed_devices, "/dev/zero");
	f->c.devices = calloc(1, sizeof(*f->c.devices));
	f->c.n_devices = 1;
	f->c.devices[0] = (struct device_config){strdup("/dev/full2"), strdup("/dev/full"), strdup("r")};
	make_spec(f);
	assert_int_equal(json_object_array_length(json_path(f->spec, "linux.devices")), 3);
	assert_string_equal(json_str(json_object_array_get_idx(json_path(f->spec, "linux.devices"), 0), "path"),
			    "/dev/mynull");
	assert_string_equal(json_str(json_object_array_get_idx(json_path(f->spec, "linux.devices"), 2), "path"),
			    "/dev/full2");
	assert_int_equal(json_object_array_length(json_path(f->spec, "linux.resources.devices")), 4);
	set_list(&f->conf->runtime.allowed_devices, "/dev/fuse");
	refuse_spec(f, CRIO_E_DENIED, "not in allowed_devices");
}

static void written_annotations(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(kvs_set(&f->c.annotations, "io.kubernetes.cri-o.SandboxID", "fake"), 0);
	assert_int_equal(kvs_set(&f->c.annotations, "my/own", "1"), 0);
	assert_int_equal(kvs_set(&f->c.labels, "run.oci.keep_original_groups", "1"), 0);
	/* What an image's labels say is for people: neither a label nor an annotation of the container. */
	assert_int_equal(kvs_set(&f->image.labels, "from-image", "1"), 0);
	assert_int_equal(kvs_set(&f->image.labels, "io.kubernetes.cri-o.Volumes", "[]"), 0);
	assert_int_equal(kvs_set(&f->c.labels, "b", "2"), 0);
	assert_int_equal(kvs_set(&f->c.labels, "a", "1"), 0);
	f->c.meta.attempt = 2;
	f->image.stop_signal = (char *)"SIGQUIT";
	assert_int_equal(strv_add(&f->image.repo_tags, "docker.io/library/busybox:latest"), 0);
	make_spec(f);
	assert_string_equal(ann(f, "io.kubernetes.cri-o.SandboxID"), f->a.pod_id);
	assert_string_equal(ann(f, "io.kubernetes.cri-o.ContainerID"), f->a.id);
	assert_string_equal(ann(f, "io.kubernetes.cri-o.ContainerType"), "container");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.Metadata"), "{\"name\":\"main\",\"attempt\":2}");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.Labels"),
			    "{\"a\":\"1\",\"b\":\"2\",\"run.oci.keep_original_groups\":\"1\"}");
	assert_string_equal(ann(f, "from-image"), "");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.Created"), "2023-11-14T22:13:20.000000001Z");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.Image"), "busybox");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.ImageName"), "docker.io/library/busybox:latest");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.ImageRef"), f->image.id);
	assert_string_equal(ann(f, "io.kubernetes.cri-o.TTY"), "false");
	assert_string_equal(ann(f, "io.container.manager"), "cri-o");
	assert_string_equal(ann(f, "org.opencontainers.image.stopSignal"), "SIGQUIT");
	assert_string_equal(ann(f, "run.oci.keep_original_groups"), "");
	assert_string_equal(ann(f, "my/own"), "1");
	assert_string_equal(f->info.stop_signal, "SIGQUIT");
	(void)config_set_str(&f->c.stop_signal, "SIGINT");
	make_spec(f);
	assert_string_equal(f->info.stop_signal, "SIGINT");
	f->conf->runtime.cgroup_manager = CONF_CGROUP_SYSTEMD;
	f->a.cgroup_parent = "kubepods-podx.slice";
	assert_int_equal(kvs_set(&f->c.annotations, "io.kubernetes.pod.terminationGracePeriod", "30"), 0);
	make_spec(f);
	assert_string_equal(ann(f, "org.systemd.property.TimeoutStopUSec"), "uint64 30000000");
	assert_non_null(strstr(str_at(f, "linux.cgroupsPath"), "kubepods-podx.slice:crio:1111"));
}

static void pods(void **state)
{
	struct fixture *f = *state;
	crio_err err = ERR_INIT;
	struct port_mapping port = {PROTO_UDP, 53, 5353, (char *)"127.0.0.1"};

	f->a.spoofed = true;
	f->a.name = "k8s_POD_web_default_u-1_0";
	f->pod.ports = &port;
	f->pod.n_ports = 1;
	f->pod.sec.ns.pid = NS_CONTAINER;
	assert_int_equal(kvs_set(&f->pod.labels, "app", "web"), 0);
	assert_int_equal(kvs_set(&f->pod.annotations, "io.kubernetes.cri-o.CNIResult", "fake"), 0);
	if (spec_pod(&f->a, &f->spec, &f->info, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_string_equal(ann(f, "io.kubernetes.cri-o.ContainerType"), "sandbox");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.SandboxID"), f->a.pod_id);
	assert_string_equal(ann(f, "io.kubernetes.cri-o.ContainerName"), f->a.name);
	assert_string_equal(ann(f, "io.kubernetes.cri-o.Metadata"),
			    "{\"name\":\"web\",\"uid\":\"u-1\",\"namespace\":\"default\"}");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.NamespaceOptions"), "{\"pid\":1}");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.PortMappings"),
			    "[{\"HostPort\":5353,\"ContainerPort\":53,\"Protocol\":\"UDP\",\"HostIP\":\"127.0.0.1\"}]");
	assert_string_equal(
	    ann(f, "io.kubernetes.cri-o.Labels"),
	    "{\"app\":\"web\",\"io.kubernetes.container.name\":\"POD\",\"io.kubernetes.pod.name\":\"web\","
	    "\"io.kubernetes.pod.namespace\":\"default\",\"io.kubernetes.pod.uid\":\"u-1\"}");
	assert_string_equal(ann(f, "spoofed.crio.io"), "true");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.CNIResult"), "");
	assert_string_equal(ann(f, "pod-linux-overhead.crio.io"), "null");
	assert_string_equal(ann(f, "io.kubernetes.cri-o.HostNetwork"), "false");
	assert_string_equal(str_at(f, "process.oomScoreAdj"), "-998");
	assert_string_equal(str_at(f, "linux.resources.cpu.shares"), "2");
	assert_string_equal(joined(f->spec, "process.args"), "/pause");
	assert_string_equal(str_at(f, "root.readonly"), "true");
	f->pod.ports = NULL;
	f->pod.n_ports = 0;
}

static void systemd_inside(void **state)
{
	struct fixture *f = *state;

	set_list(&f->c.command, "/usr/lib/systemd/systemd");
	make_spec(f);
	assert_non_null(mount_at(f->spec, "/run/lock"));
	assert_non_null(strstr(joined(f->spec, "process.env"), "container=crio"));
	set_list(&f->c.command, "/sbin/init");
	make_spec(f);
	assert_non_null(mount_at(f->spec, "/tmp"));
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(arguments),	T(environment),		T(gomaxprocs), T(exec_affinity), T(users),	  T(capabilities),
	    T(baseline_mounts), T(requested_mounts),	T(sharing),    T(hostile_root),	  T(control_bytes), T(image_volumes),
	    T(namespaces),	T(resources),		T(workloads),  T(security), T(labels), T(confined), T(limits),
	    T(devices),		T(written_annotations), T(pods),       T(systemd_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
