/* Capabilities, clamps, annotations, names, cgroup paths, request limits, configs. */
#include "tests/unit/spec/fixture.h"

#include "core/exec/call.h"
#include "core/lifecycle/annotations.h"
#include "core/lifecycle/caps.h"
#include "core/lifecycle/cgroup.h"
#include "core/lifecycle/clamp.h"
#include "core/lifecycle/names.h"
#include "tests/tmp.h"

static struct strv list(const char *text)
{
	struct strv l = STRV_INIT;

	if (*text)
		assert_int_equal(str_split(text, ' ', &l), 0);
	return l;
}

static uint64_t apply(const char *add, const char *drop)
{
	cleanup_strv struct strv a = list(add), d = list(drop);
	uint64_t set = 0;

	assert_int_equal(caps_apply(CAP_BIT(0) | CAP_BIT(5), &a, &d, &set, NULL), 0);
	return set;
}

static void capabilities(void **state)
{
	cleanup_strv struct strv bad = list("CAP_NOT_THERE");
	uint64_t set;
	unsigned n;

	(void)state;
	assert_true(cap_parse("CHOWN", &n) && n == 0);
	assert_true(cap_parse("cap_net_raw", &n) && n == 13);
	assert_false(cap_parse("CAP_", &n));
	assert_string_equal(cap_text(21), "CAP_SYS_ADMIN");
	assert_int_equal(apply("", ""), CAP_BIT(0) | CAP_BIT(5));
	assert_int_equal(apply("NET_RAW", "CHOWN"), CAP_BIT(5) | CAP_BIT(13));
	assert_int_equal(apply("ALL", ""), caps_all());
	assert_int_equal(apply("all", "CAP_CHOWN"), caps_all() & ~CAP_BIT(0));
	assert_int_equal(apply("", "ALL"), 0);
	assert_int_equal(apply("NET_RAW", "ALL"), CAP_BIT(13));
	assert_int_equal(apply("ALL NET_RAW", "ALL"), CAP_BIT(13));
	assert_int_equal(apply("NET_RAW", "NET_RAW NOT_KNOWN"), CAP_BIT(0) | CAP_BIT(5));
	assert_int_equal(caps_apply(0, &bad, NULL, &set, NULL), CRIO_E_INVALID);
}

static void clamps(void **state)
{
	const struct clamp poor = {.bounding = CAP_BIT(0), .oom_score_adj = 100};
	const struct clamp rich = {.bounding = UINT64_MAX, .sys_resource = true, .oom_score_adj = 100};
	uint64_t soft = 10, hard = UINT64_MAX;

	(void)state;
	clamp_set_for_test(&poor);
	assert_int_equal(clamp_caps(CAP_BIT(0) | CAP_BIT(21)), CAP_BIT(0));
	assert_int_equal(clamp_oom_score_adj(-998), 100);
	assert_int_equal(clamp_oom_score_adj(900), 900);
	clamp_set_for_test(&rich);
	assert_int_equal(clamp_caps(CAP_BIT(21)), CAP_BIT(21));
	assert_int_equal(clamp_oom_score_adj(-998), -998);
	assert_int_equal(clamp_oom_score_adj(-5000), -1000);
	clamp_rlimit(7, "nofile", &soft, &hard);
	assert_int_equal(hard, UINT64_MAX);
	clamp_set_for_test(NULL);
}

static void annotations(void **state)
{
	cleanup_kvs struct kvs m = KVS_INIT;
	cleanup_strv struct strv allowed = list("io.kubernetes.cri-o.Devices umask.crio.io");

	(void)state;
	assert_int_equal(kvs_set(&m, "devices.crio.io", "/dev/fuse"), 0);
	assert_int_equal(kvs_set(&m, "io.kubernetes.cri-o.umask/x", "022"), 0);
	assert_int_equal(kvs_set(&m, "run.oci.keep_original_groups", "1"), 0);
	assert_int_equal(kvs_set(&m, "org.systemd.property.ExecStart", "x"), 0);
	assert_int_equal(kvs_set(&m, "io.kubernetes.cri-o.userns-mode", "auto"), 0);
	assert_int_equal(kvs_set(&m, "userns-mode.crio.io/anything", "auto"), 0);
	assert_int_equal(kvs_set(&m, "my.own/key", "kept"), 0);
	assert_int_equal(annotations_filter(&m, &allowed, NULL), 0);
	assert_int_equal(m.n, 3);
	assert_string_equal(annotation_get(&m, ANN_DEVICES, NULL), "/dev/fuse");
	assert_string_equal(annotation_get(&m, ANN_UMASK, "x"), "022");
	assert_string_equal(kvs_get(&m, "my.own/key"), "kept");
	assert_true(annotation_known("run.oci.") && annotation_known("io.kubernetes.cri-o.ShmSize"));
	assert_false(annotation_known("skip-gomaxprocs.crio.io"));
	assert_true(annotation_reserved("io.kubernetes.cri-o.SandboxID") &&
		    annotation_reserved("io.kubernetes.cri-o.IP.3"));
}

static void quantities(void **state)
{
	static const struct {
		const char *text;
		int64_t value;
	} good[] = {
	    {"1", 1},		   {"67108864", 67108864}, {"128Mi", 128 << 20}, {"1.5Gi", 3LL << 29}, {"1.5G", 1500000000},
	    {"64k", 64000},	   {"1e6", 1000000},	   {"2E3", 2000},	 {".5Ki", 512},	       {"0.0001k", 1},
	    {"1E", 1000000000000000000},
	};
	static const char *const bad[] = {"",	 "0",	"0Mi",	"-1",	"+1",  "Mi",   ".",   "1 Mi", "1mi",
					  "1Kib", "1e",	"1e19", "1e-3", "0x1", "much", "10E", "8Ei",	"9999999999999999999"};
	int64_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(quantity_parse(good[i].text, &v));
		assert_int_equal(v, good[i].value);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(quantity_parse(bad[i], &v));
}

static void names_text(void **state)
{
	struct pod_config p;
	struct container_config c;
	crio_err err = ERR_INIT;
	char *n;

	(void)state;
	assert_int_equal(pod_config_init(&p), 0);
	assert_int_equal(container_config_init(&c), 0);
	assert_int_equal(name_of_pod(&p, &n, NULL), CRIO_E_INVALID);
	(void)config_set_str(&p.meta.name, "web");
	(void)config_set_str(&p.meta.ns, "ns1");
	(void)config_set_str(&p.meta.uid, "uid1");
	p.meta.attempt = 3;
	assert_int_equal(name_of_pod(&p, &n, NULL), 0);
	assert_string_equal(n, "k8s_web_ns1_uid1_3");
	free(n);
	assert_int_equal(name_of_infra(&p, &n, NULL), 0);
	assert_string_equal(n, "k8s_POD_web_ns1_uid1_3");
	free(n);
	(void)config_set_str(&c.meta.name, "main");
	assert_int_equal(name_of_container(&p, &c, &n, NULL), 0);
	assert_string_equal(n, "k8s_main_web_ns1_uid1_0");
	free(n);
	for (const char *const *bad = (const char *const[]){"a/b", "../x", "a\nb", "a\x7f", "\xff\xfe", NULL}; *bad;
	     bad++) {
		(void)config_set_str(&p.meta.name, *bad);
		assert_int_equal(name_of_pod(&p, &n, &err), CRIO_E_INVALID);
	}
	char big[400];
	(void)memset(big, 'a', sizeof(big));
	big[399] = '\0';
	(void)config_set_str(&p.meta.name, big);
	assert_int_equal(name_of_pod(&p, &n, &err), CRIO_E_INVALID);
	err_clear(&err);
	pod_config_release(&p);
	container_config_release(&c);
}

struct waiter {
	struct names *n;
	crio_call *call;
	int r;
	struct name_holder h;
};

static void *wait_name(void *arg)
{
	struct waiter *w = arg;

	w->r = names_wait(w->n, "pod", "a", w->call, 0, &w->h, NULL);
	return NULL;
}

static void names_table(void **state)
{
	struct names *n = names_new();
	struct name_holder h;
	crio_err err = ERR_INIT;
	struct waiter w = {.n = n};
	char *name, id[65];
	int64_t next;
	pthread_t t;

	(void)state;
	assert_non_null(n);
	assert_int_equal(names_reserve(n, "a", "id1", NULL, NULL), 0);
	names_stage(n, "a", "sandbox network ready");
	assert_int_equal(names_reserve(n, "a", "id2", &h, &err), CRIO_E_EXISTS);
	assert_string_equal(h.id, "id1");
	assert_string_equal(h.stage, "sandbox network ready");
	assert_non_null(strstr(err_text(&err), "name is reserved"));
	/* A retry whose own time ends says where the work is. */
	w.call = call_new("RunPodSandbox", now_mono_ns() + 50000000);
	err_clear(&err);
	assert_int_equal(names_wait(n, "pod", "a", w.call, 0, &h, &err), CRIO_E_DEADLINE);
	assert_non_null(strstr(err_text(&err),
			       "kubelet may be retrying requests that are timing out in CRI-O due to system load. "
			       "Currently at stage sandbox network ready"));
	call_unref(w.call);
	/* One that waits gets the parked result. */
	w.call = call_new("RunPodSandbox", CALL_NO_DEADLINE);
	assert_int_equal(pthread_create(&t, NULL, wait_name, &w), 0);
	(void)usleep(20000);
	names_park(n, "a", now_mono_ns() + 1000000000);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(w.r, 0);
	assert_int_equal(w.h.state, NAME_PARKED);
	assert_int_equal(names_get(n, "a", &h, NULL), 0);
	assert_int_equal(h.state, NAME_DONE);
	/* Cancelled while waiting. */
	assert_int_equal(names_reserve(n, "b", "id3", NULL, NULL), 0);
	names_release(n, "a", "wrong");
	assert_int_equal(names_get(n, "a", &h, NULL), 0);
	names_release(n, "a", "id1");
	assert_int_equal(names_reserve(n, "a", "id4", NULL, NULL), 0);
	assert_int_equal(pthread_create(&t, NULL, wait_name, &w), 0);
	(void)usleep(20000);
	call_cancel(w.call);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(w.r, CRIO_E_CANCELLED);
	call_unref(w.call);
	/* The work fails: the waiter may try itself. */
	w.call = call_new("RunPodSandbox", CALL_NO_DEADLINE);
	assert_int_equal(pthread_create(&t, NULL, wait_name, &w), 0);
	(void)usleep(20000);
	names_release(n, "a", "id4");
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(w.r, CRIO_E_NOT_FOUND);
	call_unref(w.call);
	/* Nobody came for it. */
	names_park(n, "b", 1000);
	assert_true(names_expired(n, 2000, &name, id, &next));
	assert_string_equal(name, "b");
	assert_string_equal(id, "id3");
	free(name);
	assert_false(names_expired(n, 2000, &name, id, &next));
	assert_int_equal(next, INT64_MAX);
	err_clear(&err);
	names_free(n);
}

static void expect_cgroup(bool systemd, const char *parent, const char *oci, const char *fs)
{
	char *p = NULL, *q = NULL;

	assert_int_equal(cgroup_oci_path(systemd, parent, "ID", &p, NULL), 0);
	assert_string_equal(p, oci);
	assert_int_equal(cgroup_fs_path(systemd, parent, "ID", &q, NULL), 0);
	assert_string_equal(q, fs);
	free(p);
	free(q);
}

static void cgroup_paths(void **state)
{
	char *p;

	(void)state;
	expect_cgroup(false, "", "/crio/crio-ID", "/crio/crio-ID");
	expect_cgroup(false, "kubepods//burstable/pod1/", "/kubepods/burstable/pod1/crio-ID",
		      "/kubepods/burstable/pod1/crio-ID");
	expect_cgroup(false, "/", "/crio-ID", "/crio-ID");
	expect_cgroup(true, "", "system.slice:crio:ID", "/system.slice/crio-ID.scope");
	expect_cgroup(true, "kubepods-burstable-podx.slice", "kubepods-burstable-podx.slice:crio:ID",
		      "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx.slice/crio-ID.scope");
	expect_cgroup(true, "/kubepods.slice/kubepods-podx.slice", "kubepods-podx.slice:crio:ID",
		      "/kubepods.slice/kubepods-podx.slice/crio-ID.scope");
	assert_int_equal(cgroup_parent_check(false, "a.slice", &p, NULL), CRIO_E_INVALID);
	assert_int_equal(cgroup_parent_check(true, "/a/b", &p, NULL), CRIO_E_INVALID);
	assert_int_equal(cgroup_parent_check(true, "a--b.slice", &p, NULL), CRIO_E_INVALID);
	assert_int_equal(cgroup_parent_check(false, "/a/../b", &p, NULL), CRIO_E_INVALID);
	assert_int_equal(cgroup_parent_check(false, "/a:b", &p, NULL), CRIO_E_INVALID);
	assert_int_equal(cgroup_parent_check(false, "/a\nb", &p, NULL), CRIO_E_INVALID);
}

static void cgroup_groups(void **state)
{
	char path[64], sub[80];
	pid_t pids[4];
	size_t n = 9;
	int r;

	(void)state;
	(void)snprintf(path, sizeof(path), "/crio-test-%d/pod", (int)getpid());
	(void)snprintf(sub, sizeof(sub), "%s/crio-x", path);
	r = cgroup_make(sub, NULL);
	if (r < 0) {
		print_message("cgroups cannot be written here\n");
		skip();
	}
	assert_int_equal(cgroup_make(sub, NULL), 0);
	assert_int_equal(cgroup_pids(sub, pids, 4, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(cgroup_make("/../x", NULL), CRIO_E_INVALID);
	assert_int_equal(cgroup_remove("/", NULL), CRIO_E_INVALID);
	(void)snprintf(path, sizeof(path), "/crio-test-%d", (int)getpid());
	assert_int_equal(cgroup_remove(path, NULL), 0);
	assert_int_equal(cgroup_remove(path, NULL), 0);
}

static void spoof_profiles(const char *dir, const char *text)
{
	char path[TEST_TMP_N + 16];

	(void)snprintf(path, sizeof(path), "%s/profiles", dir);
	assert_int_equal(fs_write_path(path, text, strlen(text), 0644, FS_RUN, NULL), 0);
}

static void apparmor_profiles(void **state)
{
	cleanup_err crio_err err = ERR_INIT;
	char dir[TEST_TMP_N], path[TEST_TMP_N + 16];

	(void)state;
	assert_non_null(test_tmp(dir, "apparmor"));
	apparmor_set_root_for_test(dir);
	assert_true(apparmor_enabled());
	assert_int_equal(apparmor_need("unconfined", NULL), 0); /* without a look */
	assert_int_equal(apparmor_need("own", &err), CRIO_E_NOT_FOUND);
	assert_non_null(strstr(err_text(&err), "own"));
	spoof_profiles(dir, "/usr/bin/man (enforce)\ntwo words (complain)\ncrio-default (enforce)\nownish (kill)\nnaked\n");
	assert_int_equal(apparmor_need("/usr/bin/man", NULL), 0);
	assert_int_equal(apparmor_need("two words", NULL), 0);
	assert_int_equal(apparmor_need("crio-default", NULL), 0);
	assert_int_equal(apparmor_need("two", NULL), CRIO_E_INVALID);
	assert_int_equal(apparmor_need("naked", NULL), CRIO_E_INVALID);
	err_clear(&err);
	assert_int_equal(apparmor_need("own", &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "'own' is not loaded"));
	apparmor_set_root_for_test(NULL);
	assert_false(apparmor_enabled());
	(void)snprintf(path, sizeof(path), "%s/profiles", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void request_limits(void **state)
{
	struct pod_config p;
	struct container_config c;
	char big[5000];

	(void)state;
	assert_int_equal(pod_config_init(&p), 0);
	assert_int_equal(container_config_init(&c), 0);
	assert_int_equal(pod_config_check(&p, NULL), CRIO_E_INVALID);
	(void)config_set_str(&p.meta.name, "x");
	assert_int_equal(pod_config_check(&p, NULL), 0);
	(void)memset(big, 'v', sizeof(big));
	big[4097 - 3] = '\0';
	assert_int_equal(kvs_set(&p.labels, "key", big), 0);
	assert_int_equal(pod_config_check(&p, NULL), CRIO_E_INVALID);
	big[4096 - 3] = '\0';
	assert_int_equal(kvs_set(&p.labels, "key", big), 0);
	assert_int_equal(pod_config_check(&p, NULL), 0);
	(void)config_set_str(&p.hostname, "a\nb");
	assert_int_equal(pod_config_check(&p, NULL), CRIO_E_INVALID);
	(void)config_set_str(&p.hostname, "ok");
	assert_int_equal(strv_add(&p.dns_searches, "x\nnameserver 1.2.3.4"), 0);
	assert_int_equal(pod_config_check(&p, NULL), CRIO_E_INVALID);
	(void)config_set_str(&c.meta.name, "c");
	(void)config_set_str(&c.image, "i");
	assert_int_equal(container_config_check(&c, NULL), 0);
	(void)config_set_str(&c.log_path, "main/../../x.log");
	assert_int_equal(container_config_check(&c, NULL), CRIO_E_INVALID);
	(void)config_set_str(&c.log_path, "main/0..log");
	assert_int_equal(container_config_check(&c, NULL), 0);
	/* What becomes a path or a line, with a byte that is none of either. */
	char **const fields[] = {&c.working_dir, &c.log_path, &c.sec.seccomp.localhost_ref, &c.sec.apparmor.localhost_ref,
				 &c.sec.run_as_username};
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		(void)config_set_str(fields[i], "/a\nb");
		assert_int_equal(container_config_check(&c, NULL), CRIO_E_INVALID);
		(void)config_set_str(fields[i], "");
		assert_int_equal(container_config_check(&c, NULL), 0);
	}
	char **const pod_fields[] = {&p.log_directory, &p.cgroup_parent, &p.hostname};
	strv_clear(&p.dns_searches);
	for (size_t i = 0; i < ARRAY_SIZE(pod_fields); i++) {
		(void)config_set_str(pod_fields[i], "/a\nb");
		assert_int_equal(pod_config_check(&p, NULL), CRIO_E_INVALID);
		(void)config_set_str(pod_fields[i], "");
		assert_int_equal(pod_config_check(&p, NULL), 0);
	}
	/* More groups than a process can have. */
	int64_t *many = calloc(1025, sizeof(*many));
	assert_non_null(many);
	c.sec.supplemental_groups = many;
	c.sec.n_supplemental_groups = 1025;
	assert_int_equal(container_config_check(&c, NULL), CRIO_E_INVALID);
	c.sec.n_supplemental_groups = 1024;
	assert_int_equal(container_config_check(&c, NULL), 0);
	assert_int_equal(strv_add(&c.env, "HOME=/a\nroot::0"), 0);
	assert_int_equal(container_config_check(&c, NULL), CRIO_E_INVALID);
	pod_config_release(&p);
	container_config_release(&c);
}

static void config_copies(void **state)
{
	struct resources a, b;
	struct namespace_options n = {0}, m = {0};
	struct id_mapping map = {.host_id = 100000, .length = 65536};

	(void)state;
	assert_int_equal(resources_init(&a), 0);
	assert_int_equal(resources_init(&b), 0);
	(void)config_set_str(&a.cpuset_cpus, "0-1");
	a.hugepages = calloc(1, sizeof(*a.hugepages));
	a.n_hugepages = 1;
	(void)config_set_str(&a.hugepages[0].page_size, "2MB");
	assert_int_equal(kvs_set(&a.unified, "memory.high", "1"), 0);
	assert_int_equal(resources_copy(&b, &a), 0);
	resources_release(&a);
	assert_string_equal(b.cpuset_cpus, "0-1");
	assert_string_equal(b.hugepages[0].page_size, "2MB");
	resources_release(&b);
	n.target_id = strdup("t");
	n.userns = (struct userns_options){.set = true, .maps.uids = {&map, 1}};
	assert_int_equal(namespace_options_copy(&m, &n), 0);
	assert_int_equal(m.userns.maps.uids.v[0].host_id, 100000);
	free(n.target_id);
	free(m.target_id);
	id_maps_release(&m.userns.maps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(capabilities),   cmocka_unit_test(clamps),
	    cmocka_unit_test(annotations),    cmocka_unit_test(quantities),
	    cmocka_unit_test(names_text),
	    cmocka_unit_test(names_table),    cmocka_unit_test(cgroup_paths),
	    cmocka_unit_test(cgroup_groups),
	    cmocka_unit_test(apparmor_profiles),
	    cmocka_unit_test(request_limits), cmocka_unit_test(config_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
