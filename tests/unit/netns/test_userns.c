/* Id maps, the annotation's modes, and real user namespaces (those need root; without it they are left out). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "core/exec/userns.h"
#include "core/lifecycle/netns.h"
#include "core/lifecycle/userns.h"
#include "core/util/fs.h"
#include "tests/tmp.h"

static void map(struct id_map *m, const char *text)
{
	free(m->v);
	*m = (struct id_map){0};
	assert_int_equal(id_map_parse(text, "UID", m, NULL), 0);
}

/* Refused, with that in the text. */
static void wrong(const char *text, const char *why)
{
	cleanup_err crio_err err = ERR_INIT;
	cleanup_id_maps struct id_maps m = {0};
	int r = id_map_parse(text, "UID", &m.uids, &err);

	if (r == 0)
		r = id_map_parse(text, "GID", &m.gids, &err);
	if (r == 0)
		r = id_maps_check(&m, -1, -1, &err);
	assert_int_equal(r, CRIO_E_INVALID);
	if (!strstr(err_text(&err), why))
		fail_msg("'%s': '%s' lacks '%s'", text, err_text(&err), why);
}

static void checks(void **state)
{
	cleanup_id_maps struct id_maps m = {0};
	cleanup_err crio_err err = ERR_INIT;

	(void)state;
	wrong("", "no UID mappings");
	wrong("0:1", "not container:host:size");
	wrong("0:1:2:3", "not container:host:size");
	wrong("0:-1:2", "not container:host:size");
	wrong("0:1:4294967296", "not container:host:size");
	wrong("0:1000:0", "size 0");
	wrong("0:0:4294967295,1:1:1", "overlap");
	wrong("0:1000:10,5:5000:1", "container id 5");
	wrong("5:5000:1,0:1000:10", "container id 5");
	wrong("0:1000:10,20:1009:1", "host id 1009");
	wrong("1:1000:10", "container id 0");
	wrong("0:4294967290:6", "beyond the last id");
	wrong("0:1:10,4294967294:100:2", "beyond the last id");
	map(&m.uids, "0:4294967290:5,,10:0:1");
	assert_int_equal(m.uids.n, 2);
	map(&m.gids, "10:500:1,0:1000:10");
	assert_int_equal(id_maps_check(&m, -1, -1, NULL), 0);
	assert_int_equal(id_maps_check(&m, 0, 500, NULL), 0);
	assert_int_equal(id_maps_check(&m, 0, 501, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "GID range (500-500), below minimum mappable GID 501"));
	assert_int_equal(id_to_host(&m.gids, 10), 500);
	assert_int_equal(id_to_host(&m.gids, 9), 1009);
	assert_int_equal(id_to_host(&m.gids, 11), IDMAP_NONE);
	assert_int_equal(id_to_container(&m.gids, 1009), 9);
	assert_int_equal(id_to_container(&m.gids, 1010), IDMAP_NONE);
	assert_int_equal(id_map_last(&m.gids), 10);
	cleanup_free char *text = id_map_text(&m.gids);
	assert_string_equal(text, "10 500 1\n0 1000 10\n");
	cleanup_id_maps struct id_maps many = {0};
	for (uint32_t i = 0; i < IDMAP_LINES_MAX; i++)
		assert_int_equal(id_map_add(&many.uids, i, i * 2, 1, NULL), 0);
	assert_int_equal(id_map_check(&many.uids, "UID", -1, NULL), 0);
	assert_int_equal(id_map_add(&many.uids, 0, 0, 1, NULL), CRIO_E_INVALID);
	for (size_t i = 0; i < many.uids.n; i++)
		many.uids.v[i].host_id += 100000000;
	err_clear(&err);
	assert_int_equal(id_map_check(&many.uids, "UID", -1, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "bytes long"));
	for (int f = ID_MAP_OCI; f <= ID_MAP_CRI; f++) {
		cleanup_json struct json_object *o = id_map_json(&m.gids, (enum id_map_form)f);
		cleanup_id_maps struct id_maps back = {0};

		assert_int_equal(id_map_from_json(o, (enum id_map_form)f, &back.gids), 0);
		assert_int_equal(back.gids.n, 2);
		assert_memory_equal(back.gids.v, m.gids.v, 2 * sizeof(*m.gids.v));
	}
}

struct made {
	struct id_maps maps, available, used, dflt;
	struct security_context sec;
	struct userns_env env;
};

static void mode(struct made *d, const char *text, const char *uids, const char *gids)
{
	cleanup_err crio_err err = ERR_INIT;

	if (userns_by_mode(text, &d->env, &d->maps, &err) < 0)
		fail_msg("%s: %s", text, err_text(&err));
	cleanup_free char *u = id_map_text(&d->maps.uids), *g = id_map_text(&d->maps.gids);
	assert_string_equal(u, uids);
	assert_string_equal(g, gids);
}

static void no_mode(struct made *d, const char *text, int code, const char *why)
{
	cleanup_err crio_err err = ERR_INIT;

	assert_int_equal(userns_by_mode(text, &d->env, &d->maps, &err), code);
	if (!strstr(err_text(&err), why))
		fail_msg("'%s': '%s' lacks '%s'", text, err_text(&err), why);
}

static void modes(void **state)
{
	struct made d = {0};
	int64_t groups[] = {7, 8};

	(void)state;
	d.env = (struct userns_env){&d.sec, &d.dflt, -1, -1, &d.available, &d.used};
	assert_int_equal(userns_subids("root:1:5\ncontainers:5000:100\n\nbad\ncontainers:x:1\ncontainers:1000:50\ncontainers:0:7\n", "containers",
				       &d.available.uids, NULL),
			 0);
	map(&d.available.gids, "0:1000:1000");
	mode(&d, "auto:size=50", "0 1000 50\n", "0 1000 50\n");
	mode(&d, "auto:size=60", "0 1000 50\n50 5000 10\n", "0 1000 60\n");
	no_mode(&d, "auto:size=151", CRIO_E_EXHAUSTED, "not enough unused UIDs");
	no_mode(&d, "auto", CRIO_E_EXHAUSTED, "65536");
	map(&d.used.uids, "0:900:110,0:1040:5,0:5000:1");
	mode(&d, "auto:size=40", "0 1010 30\n30 1045 5\n35 5001 5\n", "0 1000 40\n");
	map(&d.used.uids, "");
	/* Who it runs as: the ids of the host get places of their own. */
	d.sec.run_as_user = (struct opt_i64){true, 1002};
	d.sec.run_as_group = (struct opt_i64){true, 3};
	d.sec.supplemental_groups = groups;
	d.sec.n_supplemental_groups = 2;
	mode(&d, "auto:size=4", "1 1000 2\n3 1003 1\n0 1002 1\n", "3 1000 1\n0 3 1\n1 7 1\n2 8 1\n");
	mode(&d, "auto:size=3;keep-id=true", "0 1000 2\n2 1003 1\n1002 1002 1\n", "0 1000 3\n3 3 1\n7 7 1\n8 8 1\n");
	mode(&d, "auto:size=3;map-to-root=true;nonsense=1", "1 1000 2\n0 1002 1\n", "0 3 1\n1 7 1\n2 8 1\n");
	d.env.min_uid = 1003;
	no_mode(&d, "auto:size=3", CRIO_E_INVALID, "below minimum mappable UID 1003");
	d.env.min_uid = -1;
	/* private */
	no_mode(&d, "private", CRIO_E_INVALID, "no userns mappings configured");
	no_mode(&d, "private:uidmapping=0:9000:10", CRIO_E_INVALID, "minimum mappable ID is not set");
	d.env.min_uid = 5000;
	no_mode(&d, "private:uidmapping=0:9000:10", CRIO_E_INVALID, "below minimum mappable ID 5000");
	d.env.min_uid = -1;
	d.sec.run_as_user.v = 0;
	mode(&d, "private:uidmapping=0:9000:10", "0 9000 10\n10 0 1\n", "0 9000 10\n10 3 1\n11 7 1\n12 8 1\n");
	mode(&d, "private:gidmapping=0:0:10;uidmapping=0:0:5", "0 0 5\n", "0 0 10\n");
	map(&d.dflt.uids, "0:100:10");
	map(&d.dflt.gids, "0:200:10");
	d.sec.n_supplemental_groups = 0;
	d.sec.run_as_user.set = d.sec.run_as_group.set = false;
	mode(&d, "private", "0 100 10\n", "0 200 10\n");
	no_mode(&d, "private:uidmapping=0:9000:10", CRIO_E_INVALID, "RunAsUser is not set");
	no_mode(&d, "host", CRIO_E_INVALID, "invalid userns mode: \"host\"");
	no_mode(&d, "autos", CRIO_E_INVALID, "invalid userns mode");
	no_mode(&d, "auto:keep-id=true;map-to-root=true", CRIO_E_INVALID, "cannot use both");
	no_mode(&d, "auto:size", CRIO_E_INVALID, "invalid argument");
	no_mode(&d, "auto:size=-1", CRIO_E_INVALID, "no number of ids");
	assert_true(userns_is_auto("auto") && userns_is_auto("auto:size=1") && !userns_is_auto("automatic") && !userns_is_auto("private"));
	id_maps_release(&d.maps);
	id_maps_release(&d.available);
	id_maps_release(&d.used);
	id_maps_release(&d.dflt);
}

static void ping(void **state)
{
	struct id_map m = {0};
	char *v = NULL;

	(void)state;
	map(&m, "0:1000:10,100:5000:10");
	assert_int_equal(sysctl_ping_range("net.ipv4.ip_forward", "1", &m, &v, NULL), 0);
	assert_int_equal(sysctl_ping_range("net/ipv4/ping_group_range", "0 2147483647", &m, &v, NULL), 1);
	assert_string_equal(v, "1000 5009");
	free(v);
	assert_int_equal(sysctl_ping_range("net.ipv4.ping_group_range", "2  5", &m, &v, NULL), 1);
	assert_string_equal(v, "1002 1005");
	free(v);
	assert_int_equal(sysctl_ping_range("net.ipv4.ping_group_range", "1 0", &m, &v, NULL), 1);
	assert_string_equal(v, "1 0");
	free(v);
	assert_int_equal(sysctl_ping_range("net.ipv4.ping_group_range", "0 50", &m, &v, NULL), CRIO_E_INVALID);
	assert_int_equal(sysctl_ping_range("net.ipv4.ping_group_range", "0", &m, &v, NULL), CRIO_E_INVALID);
	assert_int_equal(sysctl_ping_range("net.ipv4.ping_group_range", "0 1 2", &m, &v, NULL), CRIO_E_INVALID);
	free(m.v);
}

static ino_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static size_t open_fds(void)
{
	size_t n = 0;

	for (int i = 0; i < 200; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static void *make_many(void *arg)
{
	const struct id_maps *m = arg;

	for (int i = 0; i < 20; i++) {
		cleanup_userns struct userns u = USERNS_INIT;

		if (userns_make(m, i % 2 ? CLONE_NEWUTS : 0, &u, NULL) < 0 || u.user < 0 || (i % 2 && u.uts < 0))
			return arg;
		errno = i;
		if (errno != i)
			return arg;
	}
	return NULL;
}

static void real(void **state)
{
	cleanup_id_maps struct id_maps m = {0};
	cleanup_userns struct userns u = USERNS_INIT;
	cleanup_err crio_err err = ERR_INIT;
	cleanup_close int own = open("/proc/thread-self/ns/user", O_RDONLY | O_CLOEXEC);
	pthread_t t[4];
	size_t fds;

	(void)state;
	if (geteuid())
		return;
	map(&m.uids, "0:100000:1000,5000:0:1");
	map(&m.gids, "0:200000:1000");
	fds = open_fds();
	if (userns_make(&m, CLONE_NEWNET | CLONE_NEWIPC, &u, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_not_equal(inode(u.user), inode(own));
	assert_true(u.net >= 0 && u.ipc >= 0 && u.uts < 0);
	userns_release(&u);
	assert_int_equal(open_fds(), fds);
	assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
	/* From several threads, which go on with their own errno. */
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, make_many, &m), 0);
	for (size_t i = 0; i < 4; i++) {
		void *bad = NULL;

		assert_int_equal(pthread_join(t[i], &bad), 0);
		assert_null(bad);
	}
	assert_int_equal(open_fds(), fds);
	/* What the kernel refuses is told, and nothing stays. */
	map(&m.uids, "0:100000:10,5:200000:10");
	assert_int_equal(userns_make(&m, 0, &u, &err), CRIO_E_INVALID);
	assert_non_null(strstr(err_text(&err), "uid_map"));
	assert_int_equal(open_fds(), fds);
}

static void pinned(void **state)
{
	char dir[TEST_TMP_N];
	cleanup_kvs struct kvs sysctls = KVS_INIT;
	cleanup_id_maps struct id_maps m = {0};
	cleanup_err crio_err err = ERR_INIT;
	struct netns_args a = {.dir = dir, .name = "p", .net = true, .ipc = true, .uts = true, .hostname = "h", .sysctls = &sysctls, .maps = &m};

	(void)state;
	if (geteuid())
		return;
	assert_true(test_tmp(dir, "userns"));
	map(&m.uids, "0:100000:1000");
	map(&m.gids, "0:200000:1000");
	assert_int_equal(kvs_set(&sysctls, "kernel.shmmax", "12345"), 0);
	assert_int_equal(kvs_set(&sysctls, "net.ipv4.ip_forward", "1"), 0);
	assert_int_equal(kvs_set(&sysctls, "net.ipv4.ping_group_range", "0 2147483647"), 0);
	if (netns_create(&a, &err) < 0)
		fail_msg("%s", err_text(&err));
	cleanup_free char *user = netns_path(dir, NS_KIND_USER, "p"), *net = netns_path(dir, NS_KIND_NET, "p");
	assert_true(ns_is(user, NS_KIND_USER) && ns_is(net, NS_KIND_NET));
	assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
	assert_int_equal(netns_remove(dir, "p", NULL), 0);
	assert_int_equal(access(user, F_OK), -1);
	/* A failure leaves no pin. */
	assert_int_equal(kvs_set(&sysctls, "net.ipv4.no_such", "1"), 0);
	assert_int_equal(netns_create(&a, NULL), CRIO_E_INVALID);
	assert_int_equal(access(user, F_OK), -1);
	assert_int_equal(fs_rm_rf(AT_FDCWD, dir, NULL), 0);
}

static void reach(void **state)
{
	char dir[TEST_TMP_N];
	cleanup_id_maps struct id_maps m = {0};
	struct stat st;

	(void)state;
	if (geteuid())
		return;
	assert_true(test_tmp(dir, "reach"));
	map(&m.uids, "0:100000:1000");
	map(&m.gids, "0:200000:1000");
	cleanup_free char *own = path_fmt("%s/shared/%064d", dir, 7), *in = path_fmt("%s/in", own), *shared = path_fmt("%s/shared", dir);
	assert_int_equal(fs_mkdir_p(in, 0700, NULL), 0);
	assert_int_equal(userns_reach(&m, in, NULL), 0);
	assert_int_equal(stat(shared, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_int_equal(st.st_gid, 0);
	assert_int_equal(stat(own, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0710); /* nobody but that group */
	assert_int_equal(st.st_gid, 200000);
	assert_int_equal(stat(in, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0710);
	assert_int_equal(fs_rm_rf(AT_FDCWD, dir, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(checks), cmocka_unit_test(modes),	cmocka_unit_test(ping),
	    cmocka_unit_test(real),   cmocka_unit_test(pinned), cmocka_unit_test(reach),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
