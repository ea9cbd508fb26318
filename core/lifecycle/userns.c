/* userns.c: the user namespaces of pods. See userns.h. */
#include "core/lifecycle/userns.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "core/lifecycle/annotations.h"
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define AUTO_USER "containers" /* of /etc/subuid, as containers/storage has it */
#define SUBIDS_MAX (1u << 20)

/* ---- reaching files ---- */

static bool is_id(const char *s, size_t n)
{
	if (n != 64)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!strchr("0123456789abcdef", s[i]))
			return false;
	return true;
}

/* For each directory of path from the outside in: one that root of the namespace cannot search gets the bit for it. */
static int reach_one(const char *dir, bool own, uid_t uid, gid_t gid, crio_err *err)
{
	struct stat st;

	if (stat(dir, &st) < 0)
		return err_errno(err, errno, "look at %s", dir);
	if (!S_ISDIR(st.st_mode))
		return 0;
	if (st.st_uid == uid ? st.st_mode & 0100 : st.st_gid == gid ? st.st_mode & 0010 : st.st_mode & 0001)
		return 0;
	if (st.st_uid == uid)
		return chmod(dir, (st.st_mode & 07777) | 0100) < 0 ? err_errno(err, errno, "chmod %s", dir) : 0;
	if (!own) {
		log_info("Let all users search %s: pods with user namespaces are below it", dir);
		return chmod(dir, (st.st_mode & 07777) | 0011) < 0 ? err_errno(err, errno, "chmod %s", dir) : 0;
	}
	/* The mode after the group: until then the bit would be the old group's. */
	if (chown(dir, (uid_t)-1, gid) < 0 || chmod(dir, (st.st_mode & 07777) | 0010) < 0)
		return err_errno(err, errno, "let root of the user namespace search %s", dir);
	return 0;
}

int userns_reach(const struct id_maps *maps, const char *path, crio_err *err)
{
	cleanup_free char *p = strdup(path);
	uid_t uid = id_to_host(&maps->uids, 0);
	gid_t gid = id_to_host(&maps->gids, 0);
	bool own = false;

	if (!id_maps_set(maps) || *path != '/')
		return 0;
	if (!p)
		return err_nomem(err);
	for (char *s = p; *s;) {
		char *end = strchrnul(s + 1, '/'), saved = *end;

		*end = '\0';
		own = own || is_id(s + 1, strlen(s + 1));
		int r = reach_one(p, own, uid, gid, err);
		if (r < 0)
			return r;
		*end = saved;
		s = end;
	}
	return 0;
}

/* ---- ids that are taken ---- */

static int add_all(struct id_map *to, const struct id_map *from)
{
	/* More than a map may have, so not by id_map_add. */
	struct id_mapping *v = reallocarray(to->v, to->n + from->n + 1, sizeof(*v));

	if (!v)
		return CRIO_E_NOMEM;
	if (from->n)
		memcpy(v + to->n, from->v, from->n * sizeof(*v));
	to->v = v;
	to->n += from->n;
	return 0;
}

static int add_used(struct id_maps *to, const struct id_maps *from)
{
	int r = add_all(&to->uids, &from->uids);

	return r < 0 ? r : add_all(&to->gids, &from->gids);
}

/* Of the containers of all stores: podman's too, and pods of CRI-O. */
static int used_in_stores(struct lifecycle *lc, struct id_maps *used)
{
	struct store *s;
	int r = 0;

	for (size_t i = 0; r == 0 && (s = images_store_at(lc->images, i)); i++) {
		const struct store_containers *all = store_containers_get(s);

		for (size_t j = 0; r == 0 && all && j < all->n; j++)
			r = add_used(used, &all->v[j]->maps);
		store_containers_unref(all);
	}
	return r;
}

/* A pod being made has no record yet. */
struct userns_claim {
	struct userns_claim *next;
	const struct pod *pod;
	struct id_maps maps;
};

static int read_subids(const char *path, struct id_map *ret, crio_err *err)
{
	cleanup_free char *text = NULL;
	int r = fs_read_file(AT_FDCWD, path, SUBIDS_MAX, &text, NULL, err);

	if (r < 0)
		return err_wrap(err, "userns mode auto");
	r = userns_subids(text, AUTO_USER, ret, err);
	if (r == 0 && !ret->n)
		return err_set(err, CRIO_E_PRECONDITION, "userns mode auto: no ids of user \"" AUTO_USER "\" in %s", path);
	return r;
}

/* Guarded by lc->userns_lock: from looking at what is taken until the claim is there. */
static int claim_auto(struct pod *p, const char *mode, const struct userns_env *env, crio_err *err)
{
	struct lifecycle *lc = p->lc;
	cleanup_id_maps struct id_maps used = {0}, available = {0};
	cleanup_free struct userns_claim *c = calloc(1, sizeof(*c));
	int r = c ? read_subids("/etc/subuid", &available.uids, err) : err_nomem(err);

	if (r == 0)
		r = read_subids("/etc/subgid", &available.gids, err);
	if (r < 0)
		return r;
	cleanup_unlock pthread_mutex_t *l = lock(&lc->userns_lock);
	/* The claims first: a pod that gets its record in between is then in both. */
	for (const struct userns_claim *o = lc->userns_claims; r == 0 && o; o = o->next)
		r = add_used(&used, &o->maps);
	if (r == 0)
		r = used_in_stores(lc, &used);
	if (r < 0)
		return err_nomem(err);
	struct userns_env own = *env;
	own.used = &used;
	own.available = &available;
	r = userns_by_mode(mode, &own, &p->maps, err);
	if (r < 0)
		return r;
	if (id_maps_copy(&c->maps, &p->maps) < 0)
		return err_nomem(err);
	c->pod = p;
	c->next = lc->userns_claims;
	lc->userns_claims = move_ptr(c);
	return 0;
}

void pod_forget_userns(struct pod *p)
{
	struct userns_claim *c = NULL;

	(void)pthread_mutex_lock(&p->lc->userns_lock);
	for (struct userns_claim **at = &p->lc->userns_claims; *at; at = &(*at)->next)
		if ((*at)->pod == p) {
			c = *at;
			*at = c->next;
			break;
		}
	(void)pthread_mutex_unlock(&p->lc->userns_lock);
	if (c)
		id_maps_release(&c->maps);
	free(c);
}

/* ---- choosing ---- */

bool pod_userns_host_ids(const struct pod *p)
{
	const struct conf_runtime_section *c = &p->lc->conf->runtime;
	const char *mode = annotation_get(&p->config.annotations, ANN_USERNS_MODE, NULL);

	return id_maps_set(&p->maps) && !p->config.sec.ns.userns.set && str_set(mode) && !(*c->uid_mappings && *c->gid_mappings);
}

static int choose(struct pod *p, crio_err *err)
{
	const struct conf_runtime_section *c = &p->lc->conf->runtime;
	const char *mode = annotation_get(&p->config.annotations, ANN_USERNS_MODE, NULL);
	cleanup_id_maps struct id_maps dflt = {0};
	int r;

	if (p->config.sec.ns.userns.set)
		return userns_by_options(&p->config.sec.ns.userns, c->minimum_mappable_uid, c->minimum_mappable_gid, &p->maps, err);
	r = userns_by_conf(c->uid_mappings, c->gid_mappings, &dflt, err);
	if (r < 0)
		return r;
	if (!str_set(mode))
		return id_maps_copy(&p->maps, &dflt) < 0 ? err_nomem(err) : 0;
	log_warn("Annotation 'io.kubernetes.cri-o.userns-mode' is deprecated, and will be replaced with native Kubernetes support for user "
		 "namespaces in the future");
	struct userns_env env = {.sec = &p->config.sec,
				 .dflt = &dflt,
				 .min_uid = c->minimum_mappable_uid,
				 .min_gid = c->minimum_mappable_gid};
	return userns_is_auto(mode) ? claim_auto(p, mode, &env, err) : userns_by_mode(mode, &env, &p->maps, err);
}

int pod_choose_userns(struct pod *p, crio_err *err)
{
	int r = choose(p, err);

	if (r < 0)
		return err_wrap(err, "user namespace of the pod");
	if (id_maps_set(&p->maps) && p->runtime && (plugin_inst_caps(p->runtime) & CRIO_RUNTIME_CAP_ROOTFS_ROWS))
		return err_set(err, CRIO_E_UNSUPPORTED, "user namespaces are not for pods of runtime plugin '%s': it mounts their root file systems by itself",
			       p->runtime_plugin);
	return 0;
}
