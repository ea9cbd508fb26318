/* Counting, and the text that it becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <sys/stat.h>

#include "core/observe/process.h"
#include "core/observe/text.h"
#include "core/stream/selfsigned.h"
#include "core/util/fs.h"
#include "core/util/meter.h"
#include "tests/tmp.h"

#define MINUTE (60 * 1000000000LL)

static char dir[TEST_TMP_N];

static char *text_of(uint64_t chosen)
{
	struct buf out = BUF_INIT;
	const struct text_args a = { .chosen = chosen, .default_runtime = "crun", .proc = dir };
	text_write(&out, &a);
	assert_false(buf_bad(&out));
	return buf_take(&out);
}

/* The value of the line that begins so; NaN: there is none. */
static double value(const char *text, const char *line)
{
	for (const char *p = text; (p = strstr(p, line)); p++)
		if ((p == text || p[-1] == '\n') && p[strlen(line)] == ' ')
			return strtod(p + strlen(line) + 1, NULL);
	return NAN;
}

static struct meter_op_figures look(int op, int64_t now)
{
	struct meter_op_figures f;
	assert_true(meter_op_look_at(op, &f, now));
	return f;
}

static void test_off(void **state)
{
	(void)state;
	int op = meter_op("Off");
	meter_add(METER_OOM, 1);
	meter_add_for(METER_OOM_COUNT, 1, "a", NULL);
	meter_size(1);
	meter_op_done(op, 5, true);
	cleanup_free char *t = text_of(UINT64_MAX);
	assert_int_equal((int)value(t, "container_runtime_crio_containers_oom_total"), 0);
	assert_null(strstr(t, "oom_count_total"));
	assert_null(strstr(t, "Off"));
	assert_true(value(t, "container_runtime_crio_image_pulls_layer_size_count") == 0);
	meter_enable();
}

static void test_plain(void **state)
{
	(void)state;
	meter_add(METER_OOM, 2);
	meter_add(METER_OOM, 1);
	cleanup_free char *t = text_of(UINT64_MAX);
	assert_int_equal((int)value(t, "container_runtime_crio_containers_oom_total"), 3);
	assert_non_null(strstr(t, "# TYPE container_runtime_crio_containers_oom_total counter\n"));
	assert_int_equal((int)value(t, "container_runtime_crio_default_runtime{runtime=\"crun\"}"), 1);
}

/* Quotes, line ends and backslashes of a hostile name stay within their label. */
static void test_labels(void **state)
{
	(void)state;
	meter_add_for(METER_SECCOMP, 2, "k8s_c\"} 9\nx\\", "swapoff");
	meter_add_for(METER_SECCOMP, 3, "k8s_c\"} 9\nx\\", "swapoff");
	meter_add_for(METER_SECCOMP, 1, "k8s_c\"} 9\nx\\", "chmod");
	meter_add_for(METER_SECCOMP, 1, "no utf-8 \xff", "chmod");
	cleanup_free char *t = text_of(UINT64_MAX);
	assert_int_equal((int)value(t, "container_runtime_crio_containers_seccomp_notifier_count_total{name=\"k8s_c\\\"} 9\\nx\\\\\",syscall=\"swapoff\"}"), 5);
	assert_int_equal((int)value(t, "container_runtime_crio_containers_seccomp_notifier_count_total{name=\"k8s_c\\\"} 9\\nx\\\\\",syscall=\"chmod\"}"), 1);
	assert_null(strstr(t, "no utf-8"));
	meter_forget(METER_SECCOMP, "k8s_c\"} 9\nx\\");
	cleanup_free char *after = text_of(UINT64_MAX);
	assert_null(strstr(after, "seccomp"));
}

static void count(void *arg, const char *a, const char *b, uint64_t v)
{
	size_t *n = arg;
	(void)a, (void)b, (void)v;
	++*n;
}

static void test_bounds(void **state)
{
	(void)state;
	char name[64];
	size_t n = 0;
	for (unsigned i = 0; i < 3 * METER_SERIES; i++) {
		(void)snprintf(name, sizeof(name), "c%u", i);
		meter_add_for(METER_OOM_COUNT, 1, name, NULL);
		meter_add_for(METER_OOM_COUNT, 1, "kept", NULL); /* counted often: it stays */
	}
	meter_each(METER_OOM_COUNT, count, &n);
	assert_int_equal(n, METER_SERIES);
	cleanup_free char *t = text_of(UINT64_MAX);
	assert_int_equal((int)value(t, "container_runtime_crio_containers_oom_count_total{name=\"kept\"}"), 3 * METER_SERIES);
	/* And by bytes. */
	char *big = calloc(1, METER_BYTES / 2 + 1);
	memset(big, 'x', METER_BYTES / 2);
	for (char c = 'a'; c < 'e'; c++) {
		*big = c;
		meter_add_for(METER_OOM_COUNT, 1, big, NULL);
	}
	n = 0;
	meter_each(METER_OOM_COUNT, count, &n);
	assert_int_equal(n, 1);
	free(big);
	big = calloc(1, METER_BYTES + 2);
	memset(big, 'y', METER_BYTES + 1);
	meter_add_for(METER_OOM_COUNT, 1, big, NULL); /* of no size that is kept */
	free(big);
	n = 0;
	meter_each(METER_OOM_COUNT, count, &n);
	assert_int_equal(n, 1);
}

static void test_sizes(void **state)
{
	(void)state;
	meter_size(1000);
	meter_size(1001);
	meter_size(20000000000u);
	cleanup_free char *t = text_of(UINT64_MAX);
	assert_int_equal((int)value(t, "container_runtime_crio_image_pulls_layer_size_bucket{le=\"1000\"}"), 1);
	assert_int_equal((int)value(t, "container_runtime_crio_image_pulls_layer_size_bucket{le=\"1e+06\"}"), 2);
	assert_int_equal((int)value(t, "container_runtime_crio_image_pulls_layer_size_bucket{le=\"1e+10\"}"), 2);
	assert_int_equal((int)value(t, "container_runtime_crio_image_pulls_layer_size_bucket{le=\"+Inf\"}"), 3);
	assert_int_equal((int)value(t, "container_runtime_crio_image_pulls_layer_size_count"), 3);
	assert_true(value(t, "container_runtime_crio_image_pulls_layer_size_sum") == 20000002001.0);
	assert_string_equal(meter_size_label(1000), ">0 B");
	assert_string_equal(meter_size_label(1001), ">1 KiB");
	assert_string_equal(meter_size_label(10000001), ">10 MiB");
	assert_string_equal(meter_size_label(UINT64_MAX), ">10 GiB");
}

static void test_operations(void **state)
{
	(void)state;
	int op = meter_op("RunPodSandbox");
	assert_int_equal(meter_op("RunPodSandbox"), op);
	for (int i = 1; i <= 1000; i++) /* 1 to 1000 ms */
		meter_op_done_at(op, i * 1000000LL, i % 10 == 0, 5 * MINUTE);
	struct meter_op_figures f = look(op, 5 * MINUTE);
	assert_int_equal(f.done, 1000);
	assert_int_equal(f.failed, 100);
	assert_true(fabs(f.sum_s - 500.5) < 1e-6);
	assert_true(f.last_s == 1.0);
	assert_true(fabs(f.quantile_s[0] / 0.5 - 1) < 0.07);
	assert_true(fabs(f.quantile_s[1] / 0.9 - 1) < 0.07);
	assert_true(fabs(f.quantile_s[2] / 0.99 - 1) < 0.07);
	/* Quantiles forget what is older than ten minutes, totals do not. */
	meter_op_done_at(op, 2000000, false, 11 * MINUTE);
	assert_true(look(op, 11 * MINUTE).quantile_s[1] > 0.8);
	f = look(op, 17 * MINUTE);
	assert_true(fabs(f.quantile_s[2] / 0.002 - 1) < 0.07);
	assert_int_equal(f.done, 1001);
	assert_true(isnan(look(op, 60 * MINUTE).quantile_s[0]));
	/* A window that is used again has nothing of its last turn. */
	meter_op_done_at(op, 1000, false, 65 * MINUTE);
	assert_true(look(op, 65 * MINUTE).quantile_s[2] < 2e-6);
	/* What cannot be, and what is longest. */
	meter_op_done_at(op, -5, false, 120 * MINUTE);
	assert_true(look(op, 120 * MINUTE).quantile_s[2] < 1e-6);
	meter_op_done_at(op, INT64_MAX, false, 150 * MINUTE);
	assert_true(look(op, 150 * MINUTE).quantile_s[2] > 3600);
	meter_op_took(meter_op("network_setup_pod"), 1500000000);
	cleanup_free char *t = text_of(UINT64_MAX);
	assert_int_equal((int)value(t, "container_runtime_crio_operations_total{operation=\"RunPodSandbox\"}"), 1004);
	assert_int_equal((int)value(t, "container_runtime_crio_operations_errors_total{operation=\"RunPodSandbox\"}"), 100);
	assert_int_equal((int)value(t, "container_runtime_crio_operations_latency_seconds_total_count{operation=\"RunPodSandbox\"}"), 1004);
	assert_true(value(t, "container_runtime_crio_operations_latency_seconds{operation=\"network_setup_pod\"}") == 1.5);
	assert_null(strstr(t, "operations_total{operation=\"network_setup_pod\"}"));
	assert_non_null(strstr(t, "{operation=\"RunPodSandbox\",quantile=\"0.99\"} "));
	meter_op_done(-1, 1, false); /* there was no room for it */
	for (int i = 0; i < 2 * METER_OPS; i++) {
		char name[16];
		(void)snprintf(name, sizeof(name), "op%d", i);
		(void)meter_op(name);
	}
	assert_int_equal(meter_op("one more"), -1);
	assert_int_equal(meter_op("RunPodSandbox"), op);
}

/* Every bin's middle is within its bounds, whatever was measured. */
static void test_bins(void **state)
{
	(void)state;
	int op = meter_op("op1"); /* of the test before */
	int64_t now = 1000 * MINUTE;
	for (double us = 1; us < 4e9; us *= 1.07, now += 20 * MINUTE) {
		meter_op_done_at(op, (int64_t)(us * 1000), false, now);
		double s = look(op, now).quantile_s[0];
		assert_true(us < 8 ? s * 1e6 < us + 1 && s * 1e6 > us - 1 : fabs(s * 1e6 / us - 1) < 0.07);
	}
}

#define THREADS 4
#define TIMES 50000

static void *count_much(void *arg)
{
	int op = *(int *)arg;
	for (int i = 0; i < TIMES; i++) {
		meter_op_done(op, i, i & 1);
		meter_add(METER_EVENTS_DROPPED, 1);
		if (i % 100 == 0)
			meter_add_for(METER_STALLED, 1, "sandbox creating", NULL);
	}
	return NULL;
}

static void test_threads(void **state)
{
	(void)state;
	int op = meter_op("op2");
	pthread_t t[THREADS];
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, count_much, &op), 0);
	for (int i = 0; i < 50; i++) {
		cleanup_free char *text = text_of(UINT64_MAX);
		assert_non_null(text);
	}
	for (int i = 0; i < THREADS; i++)
		(void)pthread_join(t[i], NULL);
	struct meter_op_figures f = look(op, now_mono_ns());
	assert_int_equal(f.done, THREADS * TIMES);
	assert_int_equal(f.failed, THREADS * TIMES / 2);
	assert_int_equal(meter_value(METER_EVENTS_DROPPED), THREADS * TIMES);
	cleanup_free char *text = text_of(UINT64_MAX);
	assert_int_equal((int)value(text, "container_runtime_crio_resources_stalled_at_stage{stage=\"sandbox creating\"}"), THREADS * TIMES / 100);
}

static void test_chosen(void **state)
{
	(void)state;
	cleanup_strv struct strv v = STRV_INIT;
	assert_int_equal(strv_add(&v, "containers_oom_total"), 0);
	assert_int_equal(strv_add(&v, "crio_default_runtime"), 0);
	assert_int_equal(strv_add(&v, "container_runtime_crio_processes_defunct"), 0);
	assert_int_equal(strv_add(&v, "crio_no_such"), 0);
	uint64_t chosen = text_chosen(&v);
	assert_int_equal(__builtin_popcountll(chosen), 3);
	cleanup_free char *t = text_of(chosen);
	assert_non_null(strstr(t, "\ncontainer_runtime_crio_containers_oom_total "));
	assert_non_null(strstr(t, "\ncontainer_runtime_crio_default_runtime{"));
	assert_null(strstr(t, "operations"));
	assert_non_null(strstr(t, "\nprocess_resident_memory_bytes ")); /* always */
}

static void put(const char *pid, const char *text)
{
	cleanup_free char *d = path_fmt("%s/%s", dir, pid), *p = path_fmt("%s/%s/stat", dir, pid);
	assert_int_equal(mkdir(d, 0755), 0);
	assert_int_equal(fs_write_path(p, text, strlen(text), 0644, FS_RUN, NULL), 0);
}

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static void *waits(void *arg)
{
	assert_int_equal(pthread_mutex_lock(&held), 0);
	assert_int_equal(pthread_mutex_unlock(&held), 0);
	return arg;
}

static void test_process(void **state)
{
	(void)state;
	put("1", "1 (init) S 0 1");
	put("20", "20 (odd) Z (name) S 1 2");
	put("21", "21 (gone) Z 1 2");
	put("22", "22 (a) Z) Z 1 2");
	put("sys", "1 (x) Z 1");
	put("23", "");
	assert_int_equal(process_defunct(dir), 2);
	assert_int_equal(process_defunct("/does/not/exist"), 0);
	struct process_figures p;
	process_look(&p);
	assert_true(p.open_fds > 0 && p.open_fds < 1000);
	assert_true(p.resident_bytes > 100000 && p.resident_bytes < p.virtual_bytes);
	/* A sanitizer has a thread of its own. */
	pthread_t t;
	struct process_figures more;
	assert_int_equal(pthread_mutex_lock(&held), 0);
	assert_int_equal(pthread_create(&t, NULL, waits, NULL), 0);
	process_look(&more);
	assert_int_equal(pthread_mutex_unlock(&held), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_true(p.threads >= 1);
	assert_int_equal(more.threads, p.threads + 1);
	assert_true(fabs(p.start_s - (double)now_real_ns() / 1e9) < 120);
}

static void test_selfsigned(void **state)
{
	(void)state;
	cleanup_free char *cert = path_fmt("%s/a/b/cert.pem", dir), *key = path_fmt("%s/c/key.pem", dir);
	struct stat st;
	assert_int_equal(selfsigned_make(cert, key, NULL), 0);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	FILE *f = fopen(cert, "re"), *k = fopen(key, "re");
	assert_non_null(f);
	assert_non_null(k);
	X509 *x = PEM_read_X509(f, NULL, NULL, NULL);
	EVP_PKEY *priv = PEM_read_PrivateKey(k, NULL, NULL, NULL);
	(void)fclose(f);
	(void)fclose(k);
	assert_int_equal(X509_check_private_key(x, priv), 1);
	assert_int_equal(X509_verify(x, priv), 1);
	assert_int_equal(X509_check_host(x, "localhost", 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(x, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(x, "::1", 0), 1);
	assert_int_equal(X509_cmp_current_time(X509_get0_notBefore(x)), -1);
	assert_int_equal(X509_cmp_current_time(X509_get0_notAfter(x)), 1);
	X509_free(x);
	EVP_PKEY_free(priv);
	/* Files that are there are left alone, also one of the two. */
	assert_int_equal(unlink(key), 0);
	assert_int_equal(selfsigned_make(cert, key, NULL), 0);
	assert_int_equal(access(key, F_OK), -1);
}

static int setup(void **state)
{
	(void)state;
	return test_tmp(dir, "observe") ? 0 : -1;
}

static int teardown(void **state)
{
	cleanup_close int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)state;
	return fs_rm_rf(tmp, strrchr(dir, '/') + 1, NULL);
}

int main(void)
{
	/* In this order: the counters are the process's. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off),	   cmocka_unit_test(test_plain),   cmocka_unit_test(test_labels),
		cmocka_unit_test(test_bounds),	   cmocka_unit_test(test_sizes),   cmocka_unit_test(test_operations),
		cmocka_unit_test(test_bins),	   cmocka_unit_test(test_threads), cmocka_unit_test(test_chosen),
		cmocka_unit_test(test_process),	   cmocka_unit_test(test_selfsigned),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
