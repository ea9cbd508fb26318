/*
 * state.c: an instance's small records: one file each, <state_dir|run_dir>/<kind>-<plugin>/<instance>/<key>. A key lives in
 * one of the two directories, by the durability it was last put with.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "core/plugin/inner.h"
#include "core/util/failpoint.h"
#include "core/util/fs.h"

#define STATE_MAX (1u << 20)
#define STATE_KEYS_MAX 65536

static bool key_ok(const char *k)
{
	size_t n = strlen(k);
	if (n < 1 || n > 128 || *k == '.')
		return false;
	return strspn(k, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

/* Instance names hold anything ("/var/lib/containers/storage"): other bytes are written %xx. */
static char *dir_of(const struct plugin_inst *in, int durability)
{
	cleanup_buf struct buf b = BUF_INIT;
	buf_addf(&b, "%s/%s-%s/", durability == CRIO_STATE_KEEP ? in->host->args.state_dir : in->host->args.run_dir,
		 plugin_kind_name(in->mod->kind), in->mod->name);
	for (const char *c = *in->name ? in->name : "default"; *c; c++) {
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '_')
			buf_addc(&b, *c);
		else
			buf_addf(&b, "%%%02x", (unsigned char)*c);
	}
	return buf_take(&b);
}

static int open_dir(const struct plugin_inst *in, int durability, bool make, crio_err *err)
{
	cleanup_free char *dir = dir_of(in, durability);
	if (!dir)
		return err_nomem(err);
	int r = make ? fs_mkdir_p(dir, 0700, err) : 0;
	if (r < 0)
		return r;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : err_errno(err, errno, "open %s", dir);
}

/* NOT_FOUND, without an error set, where nothing was ever kept. All else is an error: who cannot look must not say that there is nothing. */
static int open_kept(const struct plugin_inst *in, int durability, crio_err *err)
{
	cleanup_err crio_err why = ERR_INIT;
	int fd = open_dir(in, durability, false, &why);

	if (fd < 0 && fd != CRIO_E_NOT_FOUND)
		err_move(err, &why);
	return fd;
}

static int check_key(const char *key, crio_err *err)
{
	return key_ok(key) ? 0 : err_set(err, CRIO_E_INVALID, "'%s' is not a state key: 1 to 128 of A-Za-z0-9._-", key);
}

void state_sweep(const struct plugin_inst *in)
{
	for (int d = CRIO_STATE_RUN; d <= CRIO_STATE_KEEP; d++) {
		cleanup_free char *dir = dir_of(in, d);
		if (dir)
			fs_sweep_begun_path(dir);
	}
}

int state_put(struct plugin_inst *in, const char *key, struct crio_bytes v, int durability, crio_err *err)
{
	int r = check_key(key, err);
	if (r < 0)
		return r;
	if (v.n > STATE_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "state '%s' has %zu bytes, the limit is %u", key, v.n, STATE_MAX);
	if (durability != CRIO_STATE_RUN && durability != CRIO_STATE_KEEP)
		return err_set(err, CRIO_E_INVALID, "state '%s': unknown durability %d", key, durability);
	cleanup_close int dir = open_dir(in, durability, true, err);
	if (dir < 0)
		return dir;
	r = FAILPOINT("plugin.state_put", err);
	if (r == 0)
		r = fs_write_file(dir, key, v.p, v.n, 0600, durability == CRIO_STATE_KEEP ? FS_KEEP : FS_RUN, err);
	r = r < 0 ? r : FAILPOINT("plugin.state_put.done", err);
	if (r < 0)
		return r;
	/* The older record is read first when it is the one of the run directory. */
	cleanup_close int other = open_kept(in, durability == CRIO_STATE_KEEP ? CRIO_STATE_RUN : CRIO_STATE_KEEP, err);
	if (other < 0)
		return other == CRIO_E_NOT_FOUND ? 0 : other;
	if (!str_eq(in->host->args.state_dir, in->host->args.run_dir) && unlinkat(other, key, 0) < 0 && errno != ENOENT)
		return err_errno(err, errno, "delete the older record of state '%s'", key);
	return 0;
}

int state_get(struct plugin_inst *in, crio_call *call, const char *key, struct crio_bytes *ret, crio_err *err)
{
	int r = check_key(key, err);
	for (int d = CRIO_STATE_RUN; r == 0 && d <= CRIO_STATE_KEEP; d++) {
		cleanup_close int dir = open_kept(in, d, err);
		if (dir < 0 && dir != CRIO_E_NOT_FOUND)
			return dir;
		if (dir < 0 || (faccessat(dir, key, F_OK, 0) < 0 && errno == ENOENT))
			continue;
		cleanup_free char *text = NULL;
		size_t n = 0;
		r = fs_read_file(dir, key, STATE_MAX, &text, &n, err);
		if (r < 0)
			return err_wrap(err, "state '%s'", key);
		char *p = call_alloc(call, n + 1);
		if (!p)
			return err_nomem(err);
		memcpy(p, text, n);
		ret->p = p;
		ret->n = n;
		return 0;
	}
	return r < 0 ? r : err_set(err, CRIO_E_NOT_FOUND, "there is no state '%s'", key);
}

int state_del(struct plugin_inst *in, const char *key, crio_err *err)
{
	int r = check_key(key, err);
	r = r < 0 ? r : FAILPOINT("plugin.state_del", err);
	for (int d = CRIO_STATE_RUN; r == 0 && d <= CRIO_STATE_KEEP; d++) {
		cleanup_close int dir = open_kept(in, d, err);
		if (dir < 0 && dir != CRIO_E_NOT_FOUND)
			r = dir;
		else if (dir >= 0 && unlinkat(dir, key, 0) < 0 && errno != ENOENT)
			r = err_errno(err, errno, "delete state '%s'", key);
	}
	return r;
}

int state_list(struct plugin_inst *in, crio_call *call, struct crio_strs *ret, crio_err *err)
{
	cleanup_strv struct strv keys = STRV_INIT;
	for (int d = CRIO_STATE_RUN; d <= CRIO_STATE_KEEP; d++) {
		int fd = open_kept(in, d, err);
		if (fd == CRIO_E_NOT_FOUND)
			continue;
		if (fd < 0)
			return fd;
		cleanup_closedir DIR *dir = fdopendir(fd);
		if (!dir) {
			int e = errno;
			(void)safe_close(fd);
			return err_errno(err, e, "list the state records");
		}
		struct dirent *e;
		while ((e = readdir(dir))) {
			if (!key_ok(e->d_name) || strv_has(&keys, e->d_name))
				continue;
			if (keys.n >= STATE_KEYS_MAX)
				return err_set(err, CRIO_E_EXHAUSTED, "more than %d state records", STATE_KEYS_MAX);
			if (strv_add(&keys, e->d_name) < 0)
				return err_nomem(err);
		}
	}
	const char **v = call_alloc(call, (keys.n + 1) * sizeof(*v));
	if (!v)
		return err_nomem(err);
	for (size_t i = 0; i < keys.n; i++)
		if (!(v[i] = call_strdup(call, keys.v[i])))
			return err_nomem(err);
	ret->v = v;
	ret->n = keys.n;
	return 0;
}
