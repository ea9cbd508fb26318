/* wipe.c: see wipe.h. */
#include "core/lifecycle/wipe.h"

#include <fcntl.h>
#include <dirent.h>

#include "core/unpack/assemble.h"
#include "core/util/digest.h"
#include "core/util/fs.h"
#include "core/util/json.h"
#include "core/util/log.h"

#define MOUNTINFO_MAX (64u << 20)
#define OURS "crio-daemon.lock" /* who runs on this root holds it */

bool wipe_is_ours(const struct store_container *rec, bool *ret_pod)
{
	cleanup_json struct json_object *m = NULL;
	if (json_parse(rec->metadata, strlen(rec->metadata), &m, NULL) < 0 || !*json_str(m, "pod-id"))
		return false;
	/* CRI-O leaves "pod" out of a container's. */
	*ret_pod = json_get(m, "pod") ? json_flag(m, "pod", false) : str_eq(json_str(m, "pod-id"), rec->id);
	return true;
}

static void first(int *r, int now, crio_err *err, crio_err *why)
{
	if (now < 0 && *r == 0) {
		*r = now;
		(void)err_move(err, why);
	}
	err_clear(why);
}

static int wipe_record(struct store *s, crio_call *call, const struct store_container *rec, crio_err *err)
{
	log_info("Wipe container %s", rec->id);
	int r = store_unmount(s, call, rec->id, true, err);
	return r < 0 ? r : store_container_delete(s, call, rec->id, err);
}

int wipe_records(struct images *is, crio_call *call, struct strv *ret_images, crio_err *err)
{
	struct store *s;
	int r = 0;
	for (size_t i = 0; (s = images_store_at(is, i)); i++) {
		const struct store_containers *all = store_containers_get(s);
		for (size_t j = 0; j < all->n; j++) {
			const struct store_container *rec = all->v[j];
			bool pod;
			crio_err why = ERR_INIT;
			if (!wipe_is_ours(rec, &pod))
				continue;
			if (*rec->image && !strv_has(ret_images, rec->image) && strv_add(ret_images, rec->image) < 0)
				r = r < 0 ? r : err_nomem(err);
			first(&r, wipe_record(s, call, rec, &why), err, &why);
		}
		store_containers_unref(all);
	}
	return r;
}

/* ---- whole stores ---- */

static int refuse_foreign(struct store *s, crio_err *err)
{
	const struct store_containers *all = store_containers_get(s);
	int r = 0;
	for (size_t j = 0; j < all->n && r == 0; j++) {
		bool pod;
		if (!wipe_is_ours(all->v[j], &pod) && store_is_mounted(s, all->v[j]->id))
			r = err_set(err, CRIO_E_PRECONDITION, "container %s of another program is mounted in %s: end it first", all->v[j]->id,
				    store_root(s));
	}
	store_containers_unref(all);
	return r;
}

/* Undoes mountinfo's escapes in place. */
static void unescape(char *s)
{
	char *to = s;
	for (; *s; s++, to++) {
		unsigned v = 0;
		if (*s == '\\' && sscanf(s + 1, "%3o", &v) == 1) {
			*to = (char)v;
			s += 3;
		} else {
			*to = *s;
		}
	}
	*to = '\0';
}

/* What is mounted below root, in the order it was mounted. */
static int mounts_below(const char *root, struct strv *ret, crio_err *err)
{
	cleanup_close int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	cleanup_free char *text = NULL;
	size_t n = strlen(root);
	char *save = NULL;
	if (fd < 0)
		return err_errno(err, errno, "open /proc/self/mountinfo");
	int r = fs_read_fd(fd, MOUNTINFO_MAX, &text, NULL, err);
	for (char *l = r < 0 ? NULL : strtok_r(text, "\n", &save); l && r == 0; l = strtok_r(NULL, "\n", &save)) {
		char path[4096];
		if (sscanf(l, "%*s %*s %*s %*s %4095s", path) != 1)
			continue;
		unescape(path);
		if (strncmp(path, root, n) == 0 && path[n] == '/' && strv_add(ret, path) < 0)
			r = err_nomem(err);
	}
	return r;
}

static int wipe_dir(const char *root, crio_err *err)
{
	cleanup_strv struct strv mounts = STRV_INIT;
	int r = mounts_below(root, &mounts, err);
	for (size_t i = mounts.n; i > 0 && r == 0; i--)
		r = fs_umount(mounts.v[i - 1], err);
	cleanup_closedir DIR *d = r < 0 ? NULL : opendir(root);
	for (struct dirent *e; d && r == 0 && (e = readdir(d));)
		if (!str_eq(e->d_name, ".") && !str_eq(e->d_name, "..") && !str_eq(e->d_name, OURS))
			r = fs_rm_rf(dirfd(d), e->d_name, err);
	return r < 0 ? err_wrap(err, "remove everything below %s", root) : 0;
}

int wipe_stores(struct images **is, crio_call *call, bool force, crio_err *err)
{
	cleanup_strv struct strv roots = STRV_INIT, images = STRV_INIT;
	struct store *s;
	int r = 0;
	for (size_t i = 0; (s = images_store_at(*is, i)) && r == 0; i++) {
		if (strv_add(&roots, store_root(s)) < 0 || strv_add(&roots, store_runroot(s)) < 0)
			r = err_nomem(err);
		else if (!force)
			r = refuse_foreign(s, err);
	}
	if (r < 0)
		return r;
	cleanup_err crio_err why = ERR_INIT;
	/* As far as it goes: it undoes more than the removal of files does. */
	if (wipe_records(*is, call, &images, &why) < 0)
		log_warn("Wipe: %s", err_text(&why));
	images_free(*is);
	*is = NULL;
	for (size_t i = 0; i < roots.n && r == 0; i++) {
		log_info("Wiping storage directory %s", roots.v[i]);
		r = wipe_dir(roots.v[i], err);
	}
	return r;
}

/* ---- repair ---- */

void wipe_findings_release(struct wipe_findings *f)
{
	strv_release(&f->lines);
}

static int repair_one(struct store *s, crio_call *call, struct wipe_findings *ret, crio_err *err)
{
	cleanup_strv struct strv again = STRV_INIT;
	size_t before = ret->lines.n;
	int r = store_check(s, call, true, &ret->lines, err);
	if (r < 0 || ret->lines.n == before)
		return r;
	for (size_t i = before; i < ret->lines.n; i++)
		log_warn("Store %s: %s", store_root(s), ret->lines.v[i]);
	r = store_check(s, call, false, &again, err);
	if (r == 0 && again.n) {
		log_error("Store %s: still so after the repair: %s", store_root(s), again.v[0]);
		ret->hopeless = true;
	}
	return r;
}

int wipe_repair(struct images *is, crio_call *call, struct wipe_findings *ret, crio_err *err)
{
	struct store *s;
	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; (s = images_store_at(is, i)); i++) {
		int r = repair_one(s, call, ret, err);
		if (r < 0) {
			ret->hopeless = true;
			return r;
		}
	}
	return 0;
}

/* ---- the content of layers ---- */

static int layer_digest(struct store *s, crio_call *call, const char *id, char ret[DIGEST_TEXT_MAX], crio_err *err)
{
	cleanup_close int tree = -1, split = -1;
	cleanup_free char *buf = malloc(256u << 10);
	struct assembly *a = NULL;
	struct digester *d = NULL;
	ssize_t n = 0;
	int r = buf ? store_layer_tar_split_open(s, id, &split, err) : err_nomem(err);
	if (r == 0)
		r = store_layer_tree_open(s, call, id, &tree, err);
	if (r == 0)
		r = assembly_new(tree, split, &a, err);
	if (r == 0 && !(d = digester_new("sha256")))
		r = err_nomem(err);
	while (r == 0 && (n = assembly_read(a, buf, 256u << 10, err)) > 0) {
		digester_add(d, buf, (size_t)n);
		r = call_check(call, "check layers", err);
	}
	if (r == 0 && n < 0)
		r = (int)n;
	assembly_free(a);
	if (r < 0)
		digester_free(d);
	else
		digester_finish(d, ret);
	return r;
}

/* Is it as it was unpacked? Without a tar-split nobody can tell. *ret_why is the caller's, NULL when it is. */
static int layer_look(struct store *s, crio_call *call, const char *id, char **ret_why, crio_err *err)
{
	cleanup_layer struct store_layer *l = store_layer_get(s, id);
	cleanup_err crio_err why = ERR_INIT;
	char now[DIGEST_TEXT_MAX];
	*ret_why = NULL;
	if (!l || !str_starts(l->diff_digest, "sha256:"))
		return 0;
	int r = layer_digest(s, call, id, now, &why);
	if (r == CRIO_E_NOMEM || call_over(call))
		return err_move(err, &why);
	if (r == CRIO_E_NOT_FOUND || (r == 0 && str_eq(now, l->diff_digest)))
		return 0;
	*ret_why = path_fmt("layer %s is not as it was unpacked: %s", id, r < 0 ? err_text(&why) : "its digest differs");
	return *ret_why ? 0 : err_nomem(err);
}

static int drop_containers(struct store *s, crio_call *call, const char *image, crio_err *err)
{
	const struct store_containers *all = store_containers_get(s);
	int r = 0;
	for (size_t i = 0; i < all->n && r == 0; i++)
		if (str_eq(all->v[i]->image, image))
			r = wipe_record(s, call, all->v[i], err);
	store_containers_unref(all);
	return r;
}

/* Known layers, good or bad, so that each is read once. */
struct seen {
	struct strv good, bad;
};

static int look_at_image(struct store *s, crio_call *call, const struct store_image *im, struct seen *k, struct strv *lines, bool *ret_bad,
			 crio_err *err)
{
	cleanup_strv struct strv ids = STRV_INIT;
	*ret_bad = false;
	if (store_image_layers(s, im, &ids, NULL) < 0)
		return 0; /* store_check has said so */
	for (size_t i = 0; i < ids.n; i++) {
		cleanup_free char *why = NULL;
		bool bad = strv_has(&k->bad, ids.v[i]);
		if (!bad && !strv_has(&k->good, ids.v[i])) {
			int r = layer_look(s, call, ids.v[i], &why, err);
			if (r < 0)
				return r;
			bad = why != NULL;
			if (strv_add(bad ? &k->bad : &k->good, ids.v[i]) < 0 || (bad && strv_add(lines, why) < 0))
				return err_nomem(err);
		}
		*ret_bad = *ret_bad || bad;
	}
	return 0;
}

int wipe_check_layers(struct store *s, crio_call *call, bool repair, bool force, struct strv *ret, crio_err *err)
{
	const struct store_images *all = store_images_get(s);
	struct seen k = { STRV_INIT, STRV_INIT };
	int r = 0;
	for (size_t i = 0; i < all->n && r == 0; i++) {
		bool bad;
		r = look_at_image(s, call, all->v[i], &k, ret, &bad, err);
		if (r < 0 || !bad || !repair)
			continue;
		if (force)
			r = drop_containers(s, call, all->v[i]->id, err);
		cleanup_err crio_err why = ERR_INIT;
		int d = r < 0 ? 0 : store_image_delete(s, call, all->v[i]->id, &why);
		if (d < 0) /* a container uses it: it is found again, and --force is the way */
			log_warn("Image %s: %s", all->v[i]->id, err_text(&why));
	}
	store_images_unref(all);
	strv_release(&k.good);
	strv_release(&k.bad);
	return r;
}
