/* fixture.h: a root file system in a temporary directory, and requests to try on it. */
#ifndef TESTS_UNIT_SPEC_FIXTURE_H
#define TESTS_UNIT_SPEC_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/conf/conf.h"
#include "core/lifecycle/apparmor.h"
#include "core/lifecycle/spec.h"
#include "core/util/fs.h"
#include "tests/tmp.h"

struct fixture {
	char dir[TEST_TMP_N]; /* /tmp/...; root and run are below it */
	char root[96], run[96];
	int fd; /* of root */
	struct conf *conf;
	struct conf_runtime runtime;
	struct image image;
	struct pod_config pod;
	struct container_config c;
	struct spec_args a;
	struct json_object *spec;
	struct spec_info info;
};

static inline void put_file(struct fixture *f, const char *path, const char *text)
{
	char p[512];

	(void)snprintf(p, sizeof(p), "%s%s", f->root, path);
	assert_int_equal(fs_write_path(p, text, strlen(text), 0644, FS_RUN, NULL), 0);
}

static inline void put_dir(struct fixture *f, const char *path)
{
	char p[512];

	(void)snprintf(p, sizeof(p), "%s%s", f->root, path);
	assert_int_equal(fs_mkdir_p(p, 0755, NULL), 0);
}

static inline void fixture_open(struct fixture *f)
{
	struct conf_args ca = {
	    .config = "", .config_dir = "", .storage_conf = "", .flags = CONF_NO_CHECKS | CONF_NO_ENV};
	crio_err err = ERR_INIT;

	*f = (struct fixture){.dir = ""};
	apparmor_set_root_for_test(NULL); /* whatever this machine has */
	assert_non_null(test_tmp(f->dir, "spec"));
	(void)snprintf(f->root, sizeof(f->root), "%s/root", f->dir);
	(void)snprintf(f->run, sizeof(f->run), "%s/run", f->dir);
	assert_int_equal(mkdir(f->root, 0755), 0);
	assert_int_equal(mkdir(f->run, 0700), 0);
	assert_int_equal(chmod(f->dir, 0755), 0);
	put_dir(f, "/etc");
	put_file(f, "/etc/passwd",
		 "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:w:/var/www:/bin/false\napp:x:1000:1000::/home/app:/"
		 "bin/sh\n");
	put_file(f, "/etc/group",
		 "root:x:0:root\nwww-data:x:33:\ndevs:x:5000:app,www-data\nmore:x:5001:app\nothers:x:5002:root,x\n");
	f->fd = open(f->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
	if (conf_defaults(&ca, &f->conf, &err) < 0)
		fail_msg("conf_defaults: %s", err_text(&err));
	f->conf->runtime.cgroup_manager = CONF_CGROUP_CGROUPFS;
	assert_int_equal(config_set_str(&f->conf->image.pause_command, "/pause"), 0);
	f->runtime.name = (char *)"runc";
	f->runtime.seccomp_profile = (char *)"";
	(void)snprintf(f->image.id, sizeof(f->image.id), "%064d", 7);
	f->image.user = f->image.workdir = f->image.stop_signal = (char *)"";
	assert_int_equal(pod_config_init(&f->pod), 0);
	assert_int_equal(container_config_init(&f->c), 0);
	assert_int_equal(config_set_str(&f->pod.meta.name, "web"), 0);
	assert_int_equal(config_set_str(&f->pod.meta.ns, "default"), 0);
	assert_int_equal(config_set_str(&f->pod.meta.uid, "u-1"), 0);
	assert_int_equal(config_set_str(&f->c.meta.name, "main"), 0);
	assert_int_equal(config_set_str(&f->c.image, "busybox"), 0);
	f->c.sec.set = true;
	f->c.sec.ns.pid = NS_CONTAINER;
	f->a = (struct spec_args){
	    .pod = &f->pod,
	    .container = &f->c,
	    .image = &f->image,
	    .conf = f->conf,
	    .runtime = &f->runtime,
	    .id = "1111111111111111111111111111111111111111111111111111111111111111",
	    .name = "k8s_main_web_default_u-1_0",
	    .pod_id = "2222222222222222222222222222222222222222222222222222222222222222",
	    .pod_name = "k8s_web_default_u-1_0",
	    .runtime_handler = "",
	    .created_ns = INT64_C(1700000000000000001),
	    .rootfs_fd = f->fd,
	    .rootfs_path = f->root,
	    .run_dir = f->run,
	    .netns = "/run/netns/x",
	    .ipcns = "/run/ipcns/x",
	    .utsns = "/run/utsns/x",
	    .hostname = "web-0",
	    .cgroup_parent = "/pod1",
	    .resolv_path = "/run/r/resolv.conf",
	    .hostname_path = "/run/r/hostname",
	    .shm_path = "/run/r/shm",
	    .log_path = "/var/log/pods/x/0.log",
	};
}

static inline void fixture_clear(struct fixture *f)
{
	if (f->spec)
		(void)json_object_put(f->spec);
	f->spec = NULL;
	spec_info_release(&f->info);
}

static inline void fixture_close(struct fixture *f)
{
	int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	fixture_clear(f);
	pod_config_release(&f->pod);
	container_config_release(&f->c);
	strv_release(&f->image.entrypoint);
	strv_release(&f->image.cmd);
	strv_release(&f->image.env);
	strv_release(&f->image.volumes);
	strv_release(&f->image.repo_tags);
	strv_release(&f->image.repo_digests);
	kvs_release(&f->image.labels);
	conf_unref(f->conf);
	(void)close(f->fd);
	assert_int_equal(fs_rm_rf(tmp, strrchr(f->dir, '/') + 1, NULL), 0);
	(void)close(tmp);
}

static inline void make_spec(struct fixture *f)
{
	crio_err err = ERR_INIT;

	fixture_clear(f);
	if (spec_container(&f->a, &f->spec, &f->info, &err) < 0)
		fail_msg("spec_container: %s", err_text(&err));
}

/* Fails with code, and with this text in the message. */
static inline void refuse_spec(struct fixture *f, int code, const char *text)
{
	crio_err err = ERR_INIT;
	int r;

	fixture_clear(f);
	r = spec_container(&f->a, &f->spec, &f->info, &err);
	if (r != code || !strstr(err_text(&err), text))
		fail_msg("got %d '%s', expected %d '%s'", r, r < 0 ? err_text(&err) : "", code, text);
	err_clear(&err);
}

/* The array at a dotted path, joined with spaces. */
static inline char *joined(const struct json_object *spec, const char *path)
{
	static char out[8192];
	struct json_object *arr = json_path(spec, path);
	struct buf b = BUF_INIT;

	for (size_t i = 0; arr && i < json_object_array_length(arr); i++)
		buf_addf(&b, "%s%s", i ? " " : "", json_object_get_string(json_object_array_get_idx(arr, i)));
	(void)snprintf(out, sizeof(out), "%s", b.p ? b.p : "");
	buf_release(&b);
	return out;
}

static inline struct json_object *mount_at(const struct json_object *spec, const char *dest)
{
	struct json_object *arr = json_arr(spec, "mounts"), *found = NULL;

	for (size_t i = 0; arr && i < json_object_array_length(arr); i++)
		if (str_eq(json_str(json_object_array_get_idx(arr, i), "destination"), dest)) {
			assert_null(found); /* once only */
			found = json_object_array_get_idx(arr, i);
		}
	return found;
}

static inline struct mount_config *add_mount(struct fixture *f, const char *host, const char *dest)
{
	struct mount_config *m;

	/* All at once: tests keep pointers to earlier ones. */
	if (!f->c.mounts)
		f->c.mounts = calloc(8, sizeof(*f->c.mounts));
	assert_true(f->c.mounts && f->c.n_mounts < 8);
	m = &f->c.mounts[f->c.n_mounts++];
	assert_int_equal(mount_config_init(m), 0);
	assert_int_equal(config_set_str(&m->host_path, host), 0);
	assert_int_equal(config_set_str(&m->container_path, dest), 0);
	return m;
}

#endif
