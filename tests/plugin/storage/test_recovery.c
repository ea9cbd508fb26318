/*
 * test_recovery.c: what kills, damaged files, other tools and many at once do to a store. On the driver named by the
 * program's name (test_recovery_overlay, test_recovery_btrfs).
 */
#include "tests/plugin/storage/ground.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>

#include "core/store/priv.h"

/* What a kill at each point leaves is gone after the next start. */
static void crash(void **state)
{
	struct store *s = open_store("crash");
	char a[65], b[65], i[65], c[65], digest[DIGEST_TEXT_MAX], layer[65];
	static struct store_new_layer *n; /* never finished */
	(void)state;

	make_layer(s, "", "f", "f", a);
	make_image(s, a, "localhost/k:1", "k", i);
	/* In the middle of a layer; the store is left as a killed daemon leaves it. */
	fake_digest("half", "half", digest);
	struct store_begin_args ba = {.parent = a, .diff_digest = digest};
	ok(store_layer_begin(s, CALL, &ba, &n, err));
	(void)close(store_new_layer_dirfd(n));
	/* A container whose records were not written. */
	make_container(s, i, "lost", c);
	cleanup_store_container struct store_container *rec = store_container_get(s, c);
	(void)snprintf(layer, sizeof(layer), "%s", rec->layer);
	put("[]", "crash/root/%s-containers/containers.json", ground.driver);
	put(layer, "crash/root/crio/journal/c-%s", c);
	put("", "crash/root/crio/journal/l-%s", layer);
	/* A layer that no image came for, an hour old; and one that has just been made. */
	make_layer(s, a, "orphan", "old", b);
	assert_int_equal(sh(NULL, "touch -d '2 hours ago' crash/root/crio/journal/l-%s", b), 0);
	char young[65];
	make_layer(s, a, "orphan", "young", young);
	assert_true(there("crash/root/crio/lock"));
	assert_int_equal(sh(NULL, "ls -A crash/root/%s | grep -q . ", ground.driver), 0);
	if (ground.overlay)
		assert_int_equal(sh(NULL, "ls -A crash/root/overlay | grep -q crio-new"), 0);

	/* A tool beside a running daemon leaves all that alone. */
	struct store *tool = open_store_as("crash", false, true);
	store_close(tool);
	tool = open_store("crash"); /* another daemon, which finds the store owned */
	store_close(tool);
	assert_true(there("crash/root/crio/journal/c-%s", c));

	store_close(s);
	s = open_store("crash");
	cleanup_strv struct strv report = STRV_INIT;
	ok(store_check(s, CALL, false, &report, err));
	for (size_t k = 0; k < report.n; k++)
		print_message("%s\n", report.v[k]);
	assert_int_equal(report.n, 0);
	cleanup_layer struct store_layer *gone = store_layer_get(s, layer), *old = store_layer_get(s, b),
					 *fresh = store_layer_get(s, young);
	assert_null(gone);
	assert_null(old);
	assert_non_null(fresh);
	assert_false(there("crash/root/%s-containers/%s", ground.driver, c));
	assert_int_equal(sh(NULL, "for k in 1 2 3 4 5 6 7 8 9; do l=$(find crash/root -name '.crio-new*' -o -name "
				  "'.crio-del*' -o -name 'new-*'); "
				  "test -z \"$l\" && exit 0; sleep 0.2; done; exit 1"),
			 0);
	cleanup_layer struct store_layer *base = store_layer_get(s, a);
	assert_non_null(base);

	size_t removed = 0;
	ok(store_gc(s, CALL, 0, &removed, err));
	assert_int_equal(removed, 1);
	assert_int_equal(sh(NULL, "test -z \"$(ls crash/root/crio/journal)\""), 0);
	store_close(s);
	wipe_store("crash");
}

/* Killed again and again in the middle of everything (churn below), the store is whole after each start. */
static void killed(void **state)
{
	cleanup_close int log = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	unsigned caught = 0;
	(void)state;
	assert_true(len > 0);
	self[len] = '\0';
	for (unsigned round = 0; round < 12; round++) {
		char seed[16];
		const char *argv[] = {self, "--churn", ground.dir, seed, NULL};
		const char *env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
		struct spawn sp = SPAWN_INIT;
		struct proc p;

		(void)snprintf(seed, sizeof(seed), "%u", round);
		sp.path = self;
		sp.argv = argv;
		sp.env = env;
		sp.stdout_fd = sp.stderr_fd = log;
		ok(spawn_start(&sp, &p, err));
		for (int k = 0; k < 500 && !there("kill/ready"); k++)
			ok(call_sleep(CALL, SEC / 100, err));
		assert_true(there("kill/ready"));
		ok(call_sleep(CALL, (int64_t)(now_real_ns() % 120 + 3) * 1000000, err));
		struct pollfd alive = {p.pidfd, POLLIN, 0};
		assert_int_equal(poll(&alive, 1, 0), 0); /* it did not end by itself */
		proc_kill(&p);
		assert_int_equal(sh(NULL, "rm kill/ready"), 0);
		caught += sh(NULL, "test -n \"$(ls kill/root/crio/journal)\"") == 0;

		struct store *s = open_store("kill");
		cleanup_strv struct strv report = STRV_INIT;
		ok(store_check(s, CALL, false, &report, err));
		for (size_t k = 0; k < report.n; k++)
			print_message("round %u: %s\n", round, report.v[k]);
		assert_int_equal(report.n, 0);
		/* No directory without a container, no container without its directories. */
		assert_int_equal(sh(NULL,
				    "cd kill/root/%s-containers && for d in *; do test -d $d || continue; "
				    "grep -q $d containers.json || exit 1; done",
				    ground.driver),
				 0);
		assert_int_equal(sh(NULL,
				    "test -z \"$(ls kill/root/crio/journal | grep ^c-)\" && "
				    "test -z \"$(ls -A kill/root/%s-layers | grep '^.crio')\"",
				    ground.driver),
				 0);
		size_t removed;
		ok(store_gc(s, CALL, 0, &removed, err));
		const struct store_containers *all = store_containers_get(s);
		for (size_t k = 0; k < all->n; k++)
			ok(store_container_delete(s, CALL, all->v[k]->id, err));
		store_containers_unref(all);
		store_close(s);
	}
	assert_true(caught > 0); /* else the kills hit nothing */
	wipe_store("kill");
}

static void *churn(void *arg)
{
	struct store *s = arg;
	for (unsigned k = 0;; k++) {
		char a[65], b[65], i[65], c[65], name[40];
		cleanup_free char *path = NULL;
		(void)snprintf(name, sizeof(name), "n%u-%p", k % 7, (void *)&k);
		make_layer(s, "", name, "low", a);
		make_layer(s, a, name, "high", b);
		make_image(s, b, name, name, i);
		make_container(s, i, name, c);
		ok(store_mount(s, CALL, c, &path, err));
		ok(store_unmount(s, CALL, c, false, err));
		ok(store_container_delete(s, CALL, c, err));
		ok(store_image_delete(s, CALL, i, err));
	}
	return NULL;
}

/* The program that is killed. */
static int churn_main(const char *driver, const char *dir)
{
	pthread_t th;
	ground_share(driver, dir);
	struct store *s = open_store("kill");
	put("", "kill/ready");
	if (pthread_create(&th, NULL, churn, s) != 0)
		return 1;
	(void)churn(s);
	return 0;
}

/* A tree without a record does not stand in the way. */
static void stale_tree(void **state)
{
	struct store *s = open_store("stale");
	char a[65];
	(void)state;
	make_layer(s, "", "f", "f", a);
	put("[]", "stale/root/%s-layers/layers.json", ground.driver);
	ok(store_refresh(s, CALL, err));
	cleanup_layer struct store_layer *none = store_layer_get(s, a);
	assert_null(none);
	char again[65];
	make_layer(s, "", "f", "f", again);
	assert_string_equal(a, again);
	/* Another tool's unfinished layer: taken out of the way too. */
	cleanup_free char *text =
	    path_fmt("[{\"id\":\"%s\",\"created\":\"2026-01-02T03:04:05Z\",\"flags\":{\"incomplete\":true}}]", a);
	put(text, "stale/root/%s-layers/layers.json", ground.driver);
	ok(store_refresh(s, CALL, err));
	make_layer(s, "", "f", "f", again);
	cleanup_layer struct store_layer *l = store_layer_get(s, a);
	assert_false(l->incomplete);
	store_close(s);
	wipe_store("stale");
}

static void quarantine(void **state)
{
	struct store *s = open_store("bad");
	char a[65], i[65], c[65];
	(void)state;
	make_layer(s, "", "f", "f", a);
	make_image(s, a, "localhost/q:1", "q", i);
	make_container(s, i, "q", c);
	store_close(s);
	cleanup_free char *images = slurp("bad/root/%s-images/images.json", ground.driver);
	cleanup_free char *mixed = path_fmt("[{\"id\":\"../../etc\"},7,%s", images + 1);
	put(mixed, "bad/root/%s-images/images.json", ground.driver);
	put("[{\"id\": tru", "bad/root/%s-layers/layers.json", ground.driver);
	s = open_store("bad");
	cleanup_image struct store_image *im = store_image_get(s, i);
	assert_non_null(im);
	cleanup_layer struct store_layer *l = store_layer_get(s, a);
	assert_null(l);
	assert_int_equal(
	    sh(NULL,
	       "test $(ls bad/root/crio/quarantine | wc -l) = 3 && grep -q 'tru$' bad/root/crio/quarantine/layers-*"),
	    0);
	/* Trees whose records are lost are not thrown away with them. */
	if (ground.overlay)
		assert_true(there("bad/root/overlay/%s/diff/f", a));
	/* The files can be read by everybody again. */
	assert_int_equal(sh(NULL,
			    "python3 -m json.tool <bad/root/%s-layers/layers.json >/dev/null && "
			    "python3 -m json.tool <bad/root/%s-images/images.json >/dev/null",
			    ground.driver, ground.driver),
			 0);
	cleanup_strv struct strv report = STRV_INIT;
	ok(store_check(s, CALL, true, &report, err));
	assert_true(report.n >= 2);
	store_close(s);
	s = open_store("bad");
	strv_clear(&report);
	ok(store_check(s, CALL, true, &report, err));
	strv_clear(&report);
	ok(store_check(s, CALL, false, &report, err));
	assert_int_equal(report.n, 0);
	store_close(s);
	wipe_store("bad");
}

static void volatile_records(void **state)
{
	struct store *s = open_store("vol");
	char a[65], i[65], c[65];
	(void)state;
	make_layer(s, "", "f", "f", a);
	make_image(s, a, "localhost/v:1", "v", i);
	make_container(s, i, "v", c);
	/* As CRI-O leaves them: a volatile container. */
	assert_int_equal(
	    sh(NULL, "cd vol/root/%s-containers && mv containers.json volatile-containers.json", ground.driver), 0);
	ok(store_refresh(s, CALL, err));
	ok(store_container_set_metadata(s, CALL, c, "changed", err));
	cleanup_free char *v = slurp("vol/root/%s-containers/volatile-containers.json", ground.driver);
	assert_non_null(strstr(v, "changed"));
	char d[65];
	make_container(s, i, "w", d);
	cleanup_free char *n = slurp("vol/root/%s-containers/containers.json", ground.driver);
	assert_non_null(strstr(n, d));
	assert_null(strstr(n, c));
	ok(store_container_delete(s, CALL, c, err));
	ok(store_container_delete(s, CALL, d, err));
	const struct store_containers *all = store_containers_get(s);
	assert_int_equal(all->n, 0);
	store_containers_unref(all);
	store_close(s);
	wipe_store("vol");
}

static void read_only(void **state)
{
	struct store *s = open_store("ro");
	char a[65], i[65];
	struct store_new_layer *n = NULL;
	(void)state;
	make_layer(s, "", "f", "f", a);
	make_image(s, a, "localhost/r:1", "r", i);
	store_close(s);
	s = open_store_as("ro", true, false);
	cleanup_image struct store_image *im = store_image_get(s, i);
	assert_non_null(im);
	assert_true(im->read_only);
	struct store_begin_args b = {
	    .parent = "", .diff_digest = "sha256:347e1f533c326ccf52640b830f88d553c0f1507bad9f80c860dc620d175e209c"};
	fails(CRIO_E_DENIED, store_layer_begin(s, CALL, &b, &n, err));
	fails(CRIO_E_DENIED, store_image_set_names(s, CALL, i, (struct crio_strs){NULL, 0}, err));
	fails(CRIO_E_DENIED, store_image_delete(s, CALL, i, err));
	store_close(s);
	wipe_store("ro");
}

/* ---- many at once ---- */

#define WORKERS 6
#define ROUNDS 8
static struct {
	struct store *s[2];
	char image[65];
	atomic_int bad;
} many;

static void *worker(void *arg)
{
	struct store *s = many.s[(intptr_t)arg & 1];
	cleanup_call crio_call *call = call_new("worker", now_mono_ns() + 60 * SEC);
	for (int k = 0; k < ROUNDS; k++) {
		char id[65], name[64];
		cleanup_free char *path = NULL;
		cleanup_err crio_err err = ERR_INIT;
		const char *np = name;
		(void)snprintf(name, sizeof(name), "w%d-%d", (int)(intptr_t)arg, k);
		struct store_container_args a = {.id = id, .names = {&np, 1}, .image = many.image, .metadata = ""};
		if (!id_new(id) || store_container_create(s, call, &a, NULL, &err) < 0 ||
		    store_mount(s, call, id, &path, &err) < 0 || !there("%s/f", path) ||
		    store_unmount(s, call, id, false, &err) < 0 ||
		    (k % 2 && store_container_delete(s, call, id, &err) < 0)) {
			(void)fprintf(stderr, "worker: %s\n", err_text(&err));
			atomic_fetch_add(&many.bad, 1);
		}
	}
	return NULL;
}

static void concurrent(void **state)
{
	char a[65];
	pthread_t th[WORKERS];
	(void)state;
	many.s[0] = open_store("many");
	make_layer(many.s[0], "", "f", "f", a);
	make_image(many.s[0], a, "localhost/m:1", "m", many.image);
	many.s[1] = open_store_as("many", false, true); /* as another process: locks of its own */
	for (intptr_t k = 0; k < WORKERS; k++)
		assert_int_equal(pthread_create(&th[k], NULL, worker, (void *)k), 0);
	for (int k = 0; k < WORKERS; k++)
		(void)pthread_join(th[k], NULL);
	assert_int_equal(atomic_load(&many.bad), 0);
	for (int k = 0; k < 2; k++) {
		ok(store_refresh(many.s[k], CALL, err));
		const struct store_containers *all = store_containers_get(many.s[k]);
		assert_int_equal(all->n, WORKERS * ROUNDS / 2);
		if (k)
			for (size_t m = 0; m < all->n; m++)
				ok(store_container_delete(many.s[1], CALL, all->v[m]->id, err));
		store_containers_unref(all);
	}
	ok(store_image_delete(many.s[1], CALL, many.image, err));
	cleanup_strv struct strv report = STRV_INIT;
	ok(store_check(many.s[0], CALL, false, &report, err));
	assert_int_equal(report.n, 0);
	store_close(many.s[1]);
	store_close(many.s[0]);
	wipe_store("many");
}

static void *same_layer(void *arg)
{
	char digest[DIGEST_TEXT_MAX];
	struct store_new_layer *n = NULL;
	cleanup_err crio_err err = ERR_INIT;
	(void)arg;
	fake_digest("same", "same", digest);
	struct store_begin_args b = {.parent = "", .diff_digest = digest};
	struct store_layer_info i = {.diff_digest = digest, .no_tar_split = true};
	int r = store_layer_begin(many.s[(intptr_t)arg & 1], ground.call, &b, &n, &err);
	if (r == CRIO_E_EXISTS)
		return NULL;
	if (r < 0 || store_layer_commit(n, ground.call, &i, NULL, &err) < 0) {
		(void)fprintf(stderr, "same_layer: %s\n", err_text(&err));
		atomic_fetch_add(&many.bad, 1);
	}
	return NULL;
}

static void layer_race(void **state)
{
	pthread_t th[4];
	(void)state;
	many.s[0] = many.s[1] = open_store("race");
	for (intptr_t k = 0; k < 4; k++)
		assert_int_equal(pthread_create(&th[k], NULL, same_layer, (void *)k), 0);
	for (int k = 0; k < 4; k++)
		(void)pthread_join(th[k], NULL);
	assert_int_equal(atomic_load(&many.bad), 0);
	store_close(many.s[0]);
	wipe_store("race");
}

/* A lock that another program holds is waited for no longer than the call lives. */
static void held_lock(void **state)
{
	struct store *s = open_store("held");
	cleanup_call crio_call *call = call_new("short", now_mono_ns() + SEC / 5);
	(void)state;
	cleanup_free char *p = path_fmt("%s/held/root/%s-layers/layers.lock", ground.dir, ground.driver);
	cleanup_close int fd = open(p, O_RDWR | O_CLOEXEC);
	ok(fs_lock(fd, true, 0, err));
	fails(CRIO_E_DEADLINE, store_refresh(s, call, err));
	const struct store_images *all = store_images_get(s); /* reads do not care */
	store_images_unref(all);
	(void)fs_unlock(fd);
	ok(store_refresh(s, CALL, err));
	store_close(s);
	wipe_store("held");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(crash),	  cmocka_unit_test(killed),	      cmocka_unit_test(stale_tree),
	    cmocka_unit_test(quarantine), cmocka_unit_test(volatile_records), cmocka_unit_test(read_only),
	    cmocka_unit_test(concurrent), cmocka_unit_test(layer_race),	      cmocka_unit_test(held_lock),
	};
	if (argc > 2 && str_eq(argv[1], "--churn"))
		return churn_main(ground_driver(argv[0]), argv[2]);
	ground_enter(ground_driver(argv[0]));
	int r = cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
	ground_leave();
	return r;
}
