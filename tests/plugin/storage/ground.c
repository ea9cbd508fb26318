#include "tests/plugin/storage/ground.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include "core/exec/loop.h"
#include "core/exec/workers.h"

struct ground ground;

#define DIE(...)                                                                                                       \
	do {                                                                                                           \
		(void)fprintf(stderr, __VA_ARGS__);                                                                    \
		exit(99);                                                                                              \
	} while (0)
#define SKIP(...)                                                                                                      \
	do {                                                                                                           \
		(void)fprintf(stderr, __VA_ARGS__);                                                                    \
		exit(77);                                                                                              \
	} while (0)

static char *path_va(const char *fmt, va_list ap)
{
	char *s = NULL;
	assert_true(vasprintf(&s, fmt, ap) >= 0);
	if (*s == '/')
		return s;
	char *full = path_fmt("%s/%s", ground.dir, s);
	free(s);
	assert_non_null(full);
	return full;
}

bool there(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	cleanup_free char *p = path_va(fmt, ap);
	va_end(ap);
	return faccessat(AT_FDCWD, p, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

char *slurp(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	cleanup_free char *p = path_va(fmt, ap);
	va_end(ap);
	if (fs_read_file(AT_FDCWD, p, 16u << 20, &text, NULL, NULL) < 0)
		text = strdup("");
	return text;
}

void put(const char *text, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	cleanup_free char *p = path_va(fmt, ap);
	va_end(ap);
	ok(fs_write_path(p, text, strlen(text), 0644, FS_RUN, err));
}

int sh(char **out, const char *fmt, ...)
{
	cleanup_free char *cmd = NULL, *env = path_fmt("D=%s", ground.dir), *home = path_fmt("HOME=%s", ground.dir);
	cleanup_free char *conf = path_fmt("CONTAINERS_STORAGE_CONF=%s/storage.conf", ground.dir);
	const char *envp[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", env, home, conf, NULL};
	struct spawn s = SPAWN_INIT;
	cleanup_spawn_result struct spawn_result res = {0};
	cleanup_call crio_call *call = call_new("sh", now_mono_ns() + 120 * SEC);
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&cmd, fmt, ap) >= 0);
	va_end(ap);
	const char *argv[] = {"/bin/sh", "-c", cmd, NULL};
	s.path = "/bin/sh";
	s.argv = argv;
	s.env = envp;
	s.cwd = ground.dir;
	ok(spawn_capture(&s, call, NULL, 0, 1u << 20, 65536, &res, err));
	if (res.exit_code && res.err.n)
		print_message("%s: %s", cmd, res.err.p);
	if (out)
		*out = buf_take(&res.out);
	return res.exit_code;
}

static void copy_module(const char *plugin)
{
	cleanup_free char *text = NULL, *from = path_fmt("plugins/storage/.libs/%s.so", plugin);
	cleanup_free char *to = path_fmt("%s/plugins/storage/%s.so", ground.dir, plugin);
	size_t n;
	if (fs_read_file(AT_FDCWD, from, 64u << 20, &text, &n, NULL) < 0)
		SKIP("%s is not built: skipped\n", from);
	if (fs_write_path(to, text, n, 0755, FS_RUN, NULL) < 0)
		DIE("cannot write %s\n", to);
}

static void start_host(void)
{
	static char mod[96], opts[96], state[96], run[96];
	crio_err err = ERR_INIT;

	(void)snprintf(mod, sizeof(mod), "%s/plugins", ground.dir);
	(void)snprintf(opts, sizeof(opts), "%s/none", ground.dir);
	(void)snprintf(state, sizeof(state), "%s/state", ground.dir);
	(void)snprintf(run, sizeof(run), "%s/run", ground.dir);
	if (loop_new(&ground.loop, &err) < 0 || workers_new(&ground.workers, &err) < 0)
		DIE("%s\n", err_text(&err));
	struct plugins_args a = {.dir = mod,
				 .options_dir = opts,
				 .state_dir = state,
				 .run_dir = run,
				 .loop = ground.loop,
				 .workers = ground.workers};
	if (plugins_new(&a, &ground.plugins, &err) < 0)
		DIE("%s\n", err_text(&err));
	ground.call = call_new("test", CALL_NO_DEADLINE);
}

const char *ground_driver(const char *program)
{
	return str_ends(program, "btrfs") ? "btrfs" : "overlay";
}

void ground_enter(const char *driver)
{
	static const char *const dirs[] = {"plugins/storage", "state", "run"};
	crio_err err = ERR_INIT;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
		SKIP("needs root: skipped\n");
	(void)signal(SIGPIPE, SIG_IGN);
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		DIE("make mounts private: %s\n", strerror(errno));
	ground.driver = driver;
	ground.overlay = str_eq(driver, "overlay");
	if (!test_tmp_in(ground.dir, "/var/tmp", "store"))
		DIE("mkdtemp: %s\n", strerror(errno));
	if (str_eq(driver, "btrfs") &&
	    sh(NULL, "truncate -s 300M $D.img && mkfs.btrfs -q $D.img && mount -o loop $D.img $D") != 0) {
		(void)sh(NULL, "rm -f $D.img");
		(void)rmdir(ground.dir);
		SKIP("no btrfs here: skipped\n");
	}
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		cleanup_free char *p = path_fmt("%s/%s", ground.dir, dirs[i]);
		if (fs_mkdir_p(p, 0755, &err) < 0)
			DIE("%s\n", err_text(&err));
	}
	copy_module(driver);
	start_host();
}

void ground_share(const char *driver, const char *dir)
{
	ground.driver = driver;
	ground.overlay = str_eq(driver, "overlay");
	(void)snprintf(ground.dir, sizeof(ground.dir), "%s", dir);
	start_host();
}

void ground_leave(void)
{
	call_unref(ground.call);
	plugins_free(ground.plugins);
	(void)workers_free(ground.workers, 5 * SEC);
	loop_free(ground.loop);
	if (str_eq(ground.driver, "btrfs"))
		(void)sh(NULL, "cd / && umount -l $D && rm -f $D.img");
	(void)sh(
	    NULL,
	    "cd / && for m in $(grep -o \"$D[^ ]*\" /proc/self/mountinfo | sort -r); do umount -l $m; done; rm -rf $D");
	(void)fs_rm_rf(AT_FDCWD, ground.dir, NULL);
}

/* ---- stores ---- */

struct store *open_store_as(const char *name, bool read_only, bool no_recover)
{
	static int serial;
	char inst[32];
	cleanup_free char *root = path_fmt("%s/%s/root", ground.dir, name),
			  *run = path_fmt("%s/%s/run", ground.dir, name);
	struct plugin_inst *in = NULL;
	struct store *s = NULL;

	(void)snprintf(inst, sizeof(inst), "t%d", serial++);
	ok(plugins_open(ground.plugins, ground.call, CRIO_KIND_STORAGE, ground.driver, inst, NULL, &in, err));
	struct store_args a = {.root = root,
			       .runroot = run,
			       .driver = ground.driver,
			       .instance = in,
			       .read_only = read_only,
			       .no_recover = no_recover};
	ok(store_open(&a, ground.call, &s, err));
	plugin_inst_unref(in);
	return s;
}

struct store *open_store(const char *name)
{
	return open_store_as(name, false, false);
}

void wipe_store(const char *name)
{
	if (str_eq(ground.driver, "btrfs"))
		(void)sh(NULL,
			 "btrfs subvolume delete -c %s/root/btrfs/subvolumes/* %s/root/btrfs/.crio/* >/dev/null 2>&1",
			 name, name);
	(void)sh(NULL, "rm -rf %s", name);
}

void fake_digest(const char *name, const char *text, char ret[DIGEST_TEXT_MAX])
{
	cleanup_free char *both = path_fmt("%s\n%s", name, text);
	digest_of(both, strlen(both), ret);
}

void make_layer(struct store *s, const char *parent, const char *name, const char *text, char ret[65])
{
	char digest[DIGEST_TEXT_MAX];
	struct store_new_layer *n = NULL;
	uint32_t owner = 0;

	fake_digest(name, text, digest);
	struct store_begin_args b = {.parent = parent, .diff_digest = digest};
	ok(store_layer_begin(s, ground.call, &b, &n, err));
	ok(fs_write_file(store_new_layer_dirfd(n), name, text, strlen(text), 0644, FS_RUN, err));
	struct store_layer_info i = {.diff_digest = digest,
				     .diff_size = (int64_t)strlen(text),
				     .compressed_digest = digest,
				     .compressed_size = 5,
				     .compression = STORE_GZIP,
				     .uids = &owner,
				     .gids = &owner,
				     .n_uids = 1,
				     .n_gids = 1,
				     .no_tar_split = true};
	(void)snprintf(ret, 65, "%s", store_new_layer_id(n));
	ok(store_layer_commit(n, ground.call, &i, NULL, err));
}

void make_image(struct store *s, const char *layer, const char *name, const char *text, char ret[65])
{
	cleanup_free char *config = path_fmt("{\"config\":\"%s\"}", text),
			  *manifest = path_fmt("{\"manifest\":\"%s\"}", text);
	cleanup_free char *key = NULL;
	char cd[DIGEST_TEXT_MAX], md[DIGEST_TEXT_MAX];

	digest_of(config, strlen(config), cd);
	digest_of(manifest, strlen(manifest), md);
	key = strdup(cd);
	struct store_big_data big[] = {{key, config, strlen(config)}, {"manifest", manifest, strlen(manifest)}};
	struct store_image_args a = {.id = digest_hex(cd),
				     .digest = md,
				     .layer = layer,
				     .names = {&name, *name ? 1 : 0},
				     .created_ns = 1000000007,
				     .big = big,
				     .n_big = 2};
	ok(store_image_put(s, ground.call, &a, NULL, err));
	(void)snprintf(ret, 65, "%.64s", digest_hex(cd));
}

void make_container(struct store *s, const char *image, const char *name, char ret[65])
{
	assert_true(id_new(ret));
	struct store_container_args a = {.id = ret, .names = {&name, 1}, .image = image, .metadata = "{\"pod\":true}"};
	ok(store_container_create(s, ground.call, &a, NULL, err));
}
