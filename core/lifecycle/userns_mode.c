/* userns_mode.c: id maps from what was asked for. See userns.h. */
#include <stdlib.h>

#include "core/lifecycle/annotations.h"
#include "core/lifecycle/userns.h"
#include "core/util/log.h"

#define SIZE_DEFAULT 65536u
#define SIZE_UNKNOWN 1024u /* "size=0": as large as an image needs; of containers/storage, which looks into the image, the least */

struct mode {
	bool is_auto, keep_id, map_to_root, has_uids, has_gids;
	uint32_t size;
	struct id_maps maps;
};

static void mode_release(struct mode *m)
{
	id_maps_release(&m->maps);
}

/* ---- the text ---- */

static int parse_value(struct mode *m, char *key, crio_err *err)
{
	char *v = strchr(key, '=');
	int64_t n;

	if (!v)
		return err_set(err, CRIO_E_INVALID, ANN_USERNS_MODE ": invalid argument: \"%.64s\"", key);
	*v++ = '\0';
	if (str_eq(key, "size") && m->is_auto) {
		if (!str_to_i64(v, 0, UINT32_MAX, &n))
			return err_set(err, CRIO_E_INVALID, ANN_USERNS_MODE ": size '%.64s' is no number of ids", v);
		m->size = n ? (uint32_t)n : SIZE_UNKNOWN;
	} else if (str_eq(key, "uidmapping")) {
		m->has_uids = true;
		return id_map_parse(v, "UID", &m->maps.uids, err);
	} else if (str_eq(key, "gidmapping")) {
		m->has_gids = true;
		return id_map_parse(v, "GID", &m->maps.gids, err);
	} else if (str_eq(key, "keep-id")) {
		m->keep_id = str_eq(v, "true");
	} else if (str_eq(key, "map-to-root")) {
		m->map_to_root = str_eq(v, "true");
	} else {
		log_warn(ANN_USERNS_MODE ": '%.64s' means nothing there", key);
	}
	return 0;
}

static int parse(const char *text, struct mode *m, crio_err *err)
{
	cleanup_strv struct strv l = STRV_INIT;
	size_t n = strcspn(text, ":");
	int r = 0;

	m->is_auto = n == 4 && str_starts(text, "auto");
	m->size = SIZE_DEFAULT;
	if (!m->is_auto && !(n == 7 && str_starts(text, "private")))
		return err_set(err, CRIO_E_INVALID, "invalid userns mode: \"%.64s\"", text);
	if (!text[n])
		return 0;
	if (str_split(text + n + 1, ';', &l) < 0)
		return err_nomem(err);
	for (size_t i = 0; r == 0 && i < l.n; i++)
		r = parse_value(m, l.v[i], err);
	if (r == 0 && m->is_auto && m->keep_id && m->map_to_root)
		return err_set(err, CRIO_E_INVALID, "cannot use both keep-id and map-to-root: \"%.200s\"", text);
	return r;
}

bool userns_is_auto(const char *mode)
{
	return str_starts(mode, "auto") && (!mode[4] || mode[4] == ':');
}

/* ---- who the pod runs as ---- */

static bool has_host_id(const struct id_map *m, uint32_t id)
{
	return m->n && id_to_container(m, id) != IDMAP_NONE;
}

/* The host's id gets the place after the last, unless it has one. */
static int add_missing(struct id_map *m, int64_t id, crio_err *err)
{
	uint64_t next = 0;

	if (id < 0 || id >= UINT32_MAX)
		return err_set(err, CRIO_E_INVALID, "id %lld of the pod is out of range", (long long)id);
	if (has_host_id(m, (uint32_t)id))
		return 0;
	for (size_t i = 0; i < m->n; i++)
		if ((uint64_t)m->v[i].container_id + m->v[i].length > next)
			next = (uint64_t)m->v[i].container_id + m->v[i].length;
	if (next >= UINT32_MAX)
		return err_set(err, CRIO_E_INVALID, "no id is left in the user namespace for %lld", (long long)id);
	return id_map_add(m, (uint32_t)next, (uint32_t)id, 1, err);
}

static int add_id(const struct mode *mode, struct id_map *m, int64_t id, bool may_be_root, crio_err *err)
{
	if (mode->keep_id || (mode->map_to_root && may_be_root)) {
		if (id < 0 || id >= UINT32_MAX)
			return err_set(err, CRIO_E_INVALID, "id %lld of the pod is out of range", (long long)id);
		return id_map_add(m, mode->keep_id ? (uint32_t)id : 0, (uint32_t)id, 1, err);
	}
	return add_missing(m, id, err);
}

static int add_users(struct mode *mode, const struct security_context *sec, crio_err *err)
{
	int r = 0;

	if (sec->run_as_user.set)
		r = add_id(mode, &mode->maps.uids, sec->run_as_user.v, true, err);
	if (r == 0 && sec->run_as_group.set)
		r = add_id(mode, &mode->maps.gids, sec->run_as_group.v, true, err);
	for (size_t i = 0; r == 0 && i < sec->n_supplemental_groups; i++)
		r = add_id(mode, &mode->maps.gids, sec->supplemental_groups[i], false, err);
	return r;
}

/* Who names ids must say who the pod is; and only root may name those below the floor. */
static int check_user(const struct mode *m, const struct userns_env *env, crio_err *err)
{
	const struct opt_i64 *u = &env->sec->run_as_user;

	if (!m->has_uids && !m->has_gids)
		return 0;
	if (!u->set)
		return err_set(err, CRIO_E_INVALID, "cannot use uidmapping or gidmapping if RunAsUser is not set");
	if (u->v == 0)
		return 0;
	if (env->min_uid < 0)
		return err_set(err, CRIO_E_INVALID,
			       "cannot use uidmapping or gidmapping if not running as root and minimum mappable ID is not set");
	if (u->v < env->min_uid)
		return err_set(err, CRIO_E_INVALID,
			       "cannot use uidmapping or gidmapping if running as a UID below minimum mappable ID %lld",
			       (long long)env->min_uid);
	return 0;
}

static int check_floor(const struct id_map *m, const char *what, int64_t min_host, crio_err *err)
{
	return m->n ? id_map_check(m, what, min_host, err) : 0;
}

/* ---- auto ---- */

/* The next stretch of [from, end) that nobody has. False: none. */
static bool next_free(const struct id_map *used, const struct id_map *more, uint64_t from, uint64_t end, uint64_t *ret_from,
		      uint64_t *ret_end)
{
	const struct id_map *maps[] = {used, more};
	bool moved;

	do {
		moved = false;
		for (size_t k = 0; k < 2; k++)
			for (size_t i = 0; i < maps[k]->n; i++) {
				const struct id_mapping *e = &maps[k]->v[i];
				uint64_t e_end = (uint64_t)e->host_id + e->length;

				if (from >= e->host_id && from < e_end) {
					from = e_end;
					moved = true;
				}
			}
	} while (moved && from < end);
	if (from >= end)
		return false;
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < maps[k]->n; i++)
			if (maps[k]->v[i].length && maps[k]->v[i].host_id >= from && maps[k]->v[i].host_id < end)
				end = maps[k]->v[i].host_id;
	*ret_from = from;
	*ret_end = end;
	return true;
}

/* The next stretch of container ids from *at that `given` leaves. Its length; 0: none below size. */
static uint64_t next_wanted(const struct id_map *given, uint64_t size, uint64_t *at)
{
	uint64_t end = size;
	bool moved;

	do {
		moved = false;
		for (size_t i = 0; i < given->n; i++) {
			uint64_t e_end = (uint64_t)given->v[i].container_id + given->v[i].length;

			if (*at >= given->v[i].container_id && *at < e_end) {
				*at = e_end;
				moved = true;
			}
		}
	} while (moved && *at < size);
	for (size_t i = 0; i < given->n; i++)
		if (given->v[i].container_id >= *at && given->v[i].container_id < end)
			end = given->v[i].container_id;
	return *at < end ? end - *at : 0;
}

/* Container ids 0 to size-1 that `given` does not have, on host ids that are free; then what was given. */
static int allocate(const struct id_map *given, uint32_t size, const struct id_map *available, const struct id_map *used,
		    const char *what, struct id_map *ret, crio_err *err)
{
	CLEANUP(id_maps_release) struct id_maps out = {0};
	uint64_t at = 0, want = next_wanted(given, size, &at);
	int r = 0;

	for (size_t i = 0; i < available->n && want; i++) {
		uint64_t from = available->v[i].host_id, end = from + available->v[i].length, to;

		while (r == 0 && want && next_free(used, given, from, end, &from, &to)) {
			uint64_t n = to - from < want ? to - from : want;

			r = id_map_add(&out.uids, (uint32_t)at, (uint32_t)from, (uint32_t)n, err);
			from += n;
			at += n;
			want = want > n ? want - n : next_wanted(given, size, &at);
		}
		if (r < 0)
			return r;
	}
	if (want)
		return err_set(err, CRIO_E_EXHAUSTED,
			       "not enough unused %ss for a user namespace of %u: give user \"containers\" more in /etc/sub%cid", what, size,
			       *what == 'U' ? 'u' : 'g');
	for (size_t i = 0; r == 0 && i < given->n; i++)
		r = id_map_add(&out.uids, given->v[i].container_id, given->v[i].host_id, given->v[i].length, err);
	if (r < 0)
		return r;
	*ret = out.uids;
	out.uids = (struct id_map){0};
	return 0;
}

static int by_auto(struct mode *m, const struct userns_env *env, struct id_maps *ret, crio_err *err)
{
	cleanup_id_maps struct id_maps out = {0};
	int r = add_users(m, env->sec, err);

	if (r == 0)
		r = check_floor(&m->maps.uids, "UID", env->min_uid, err);
	if (r == 0)
		r = check_floor(&m->maps.gids, "GID", env->min_gid, err);
	if (r == 0)
		r = allocate(&m->maps.uids, m->size, &env->available->uids, &env->used->uids, "UID", &out.uids, err);
	if (r == 0)
		r = allocate(&m->maps.gids, m->size, &env->available->gids, &env->used->gids, "GID", &out.gids, err);
	if (r == 0)
		r = id_maps_check(&out, -1, -1, err);
	return r < 0 ? r : id_maps_copy(ret, &out) < 0 ? err_nomem(err) : 0;
}

/* ---- private ---- */

static int by_private(struct mode *m, const struct userns_env *env, struct id_maps *ret, crio_err *err)
{
	struct id_map *u = &m->maps.uids, *g = &m->maps.gids;
	int r = 0;

	if (!u->n && !g->n) {
		if (!id_maps_set(env->dflt))
			return err_set(err, CRIO_E_INVALID, "userns requested but no userns mappings configured");
		r = id_maps_copy(&m->maps, env->dflt);
	} else if (!u->n) {
		r = id_map_set(u, g->v, g->n);
	} else if (!g->n) {
		r = id_map_set(g, u->v, u->n);
	}
	if (r < 0)
		return err_nomem(err);
	m->keep_id = m->map_to_root = false;
	r = add_users(m, env->sec, err);
	if (r == 0)
		r = id_maps_check(&m->maps, env->min_uid, env->min_gid, err);
	return r < 0 ? r : id_maps_copy(ret, &m->maps) < 0 ? err_nomem(err) : 0;
}

int userns_by_mode(const char *mode, const struct userns_env *env, struct id_maps *ret, crio_err *err)
{
	CLEANUP(mode_release) struct mode m = {0};
	int r = parse(mode, &m, err);

	if (r == 0)
		r = check_user(&m, env, err);
	if (r < 0)
		return r;
	return m.is_auto ? by_auto(&m, env, ret, err) : by_private(&m, env, ret, err);
}

/* ---- the other two ---- */

int userns_by_options(const struct userns_options *o, int64_t min_uid, int64_t min_gid, struct id_maps *ret, crio_err *err)
{
	static const char *const names[] = {"POD", "CONTAINER", "NODE", "TARGET"};
	int r;

	if (o->mode == NS_NODE)
		return 0;
	if (o->mode != NS_POD)
		return err_set(err, CRIO_E_INVALID, "unsupported pod mode: \"%s\"", names[o->mode & 3]);
	r = id_maps_check(&o->maps, min_uid, min_gid, err);
	if (r < 0)
		return err_wrap(err, "userns_options");
	return id_maps_copy(ret, &o->maps) < 0 ? err_nomem(err) : 0;
}

int userns_by_conf(const char *uids, const char *gids, struct id_maps *ret, crio_err *err)
{
	cleanup_id_maps struct id_maps m = {0};
	int r;

	if (!*uids || !*gids)
		return 0;
	r = id_map_parse(uids, "UID", &m.uids, err);
	if (r == 0)
		r = id_map_parse(gids, "GID", &m.gids, err);
	if (r == 0)
		r = id_maps_check(&m, -1, -1, err);
	if (r < 0)
		return err_wrap(err, "uid_mappings and gid_mappings of the configuration");
	return id_maps_copy(ret, &m) < 0 ? err_nomem(err) : 0;
}

/* ---- subordinate ids ---- */

static int by_host(const void *a, const void *b)
{
	const struct id_mapping *x = a, *y = b;

	return x->host_id < y->host_id ? -1 : x->host_id > y->host_id;
}

int userns_subids(const char *text, const char *user, struct id_map *ret, crio_err *err)
{
	cleanup_strv struct strv lines = STRV_INIT;

	if (str_split(text, '\n', &lines) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < lines.n; i++) {
		cleanup_strv struct strv f = STRV_INIT;
		int64_t first, n;

		if (str_split(lines.v[i], ':', &f) < 0)
			return err_nomem(err);
		if (f.n != 3 || !str_eq(f.v[0], user) || !str_to_i64(f.v[1], 1, UINT32_MAX - 1, &first) ||
		    !str_to_i64(f.v[2], 1, UINT32_MAX - first, &n))
			continue;
		int r = id_map_add(ret, 0, (uint32_t)first, (uint32_t)n, err);
		if (r < 0)
			return r;
	}
	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_host);
	return 0;
}
