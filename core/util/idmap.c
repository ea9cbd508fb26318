/* idmap.c: see idmap.h. */
#include "core/util/idmap.h"

#include <stdlib.h>

#define ID_END ((uint64_t)UINT32_MAX) /* one beyond the last id: 4294967295 is no id */

void id_maps_release(struct id_maps *m)
{
	free(m->uids.v);
	free(m->gids.v);
	*m = (struct id_maps){0};
}

int id_map_set(struct id_map *dst, const struct id_mapping *v, size_t n)
{
	struct id_mapping *copy = n ? calloc(n, sizeof(*copy)) : NULL;

	if (n && !copy)
		return CRIO_E_NOMEM;
	if (n)
		memcpy(copy, v, n * sizeof(*copy));
	free(dst->v);
	*dst = (struct id_map){copy, n};
	return 0;
}

int id_maps_copy(struct id_maps *dst, const struct id_maps *src)
{
	cleanup_id_maps struct id_maps m = {0};

	if (id_map_set(&m.uids, src->uids.v, src->uids.n) < 0 || id_map_set(&m.gids, src->gids.v, src->gids.n) < 0)
		return CRIO_E_NOMEM;
	id_maps_release(dst);
	*dst = m;
	m = (struct id_maps){0};
	return 0;
}

int id_map_add(struct id_map *m, uint32_t container_id, uint32_t host_id, uint32_t length, crio_err *err)
{
	struct id_mapping *v;

	if (m->n >= IDMAP_LINES_MAX)
		return err_set(err, CRIO_E_INVALID, "more than %u id mappings, which is what the kernel takes",
			       IDMAP_LINES_MAX);
	v = reallocarray(m->v, m->n + 1, sizeof(*v));
	if (!v)
		return err_nomem(err);
	v[m->n] = (struct id_mapping){.host_id = host_id, .container_id = container_id, .length = length};
	m->v = v;
	m->n++;
	return 0;
}

static bool numbers(const char *s, int64_t ret[3])
{
	cleanup_strv struct strv p = STRV_INIT;

	if (str_split(s, ':', &p) < 0 || p.n != 3)
		return false;
	for (size_t i = 0; i < 3; i++)
		if (!str_to_i64(p.v[i], 0, UINT32_MAX, &ret[i]))
			return false;
	return true;
}

int id_map_parse(const char *text, const char *what, struct id_map *m, crio_err *err)
{
	cleanup_strv struct strv l = STRV_INIT;

	if (str_split(text, ',', &l) < 0)
		return err_nomem(err);
	for (size_t i = 0; i < l.n; i++) {
		int64_t v[3];
		int r;

		if (!*l.v[i])
			continue;
		if (!numbers(l.v[i], v))
			return err_set(err, CRIO_E_INVALID, "%s mapping '%.64s' is not container:host:size", what, l.v[i]);
		r = id_map_add(m, (uint32_t)v[0], (uint32_t)v[1], (uint32_t)v[2], err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- checks ---- */

static int by_container(const void *a, const void *b)
{
	const struct id_mapping *x = a, *y = b;

	return x->container_id < y->container_id ? -1 : x->container_id > y->container_id;
}

static int by_host(const void *a, const void *b)
{
	const struct id_mapping *x = a, *y = b;

	return x->host_id < y->host_id ? -1 : x->host_id > y->host_id;
}

/* Sorts a copy by one side: neighbours tell whether an id is there twice. */
static int check_twice(struct id_mapping *v, size_t n, bool host, const char *what, crio_err *err)
{
	qsort(v, n, sizeof(*v), host ? by_host : by_container);
	for (size_t i = 1; i < n; i++) {
		uint32_t a = host ? v[i - 1].host_id : v[i - 1].container_id, b = host ? v[i].host_id : v[i].container_id;

		if ((uint64_t)a + v[i - 1].length > b)
			return err_set(err, CRIO_E_INVALID, "%s mappings overlap: %s id %u is in two of them", what,
				       host ? "host" : "container", b);
	}
	return 0;
}

int id_map_check(const struct id_map *m, const char *what, int64_t min_host, crio_err *err)
{
	cleanup_free struct id_mapping *copy = NULL;
	cleanup_free char *text = NULL;
	int r;

	if (!m->n)
		return err_set(err, CRIO_E_INVALID, "no %s mappings for the user namespace", what);
	if (m->n > IDMAP_LINES_MAX)
		return err_set(err, CRIO_E_INVALID, "%zu %s mappings are more than %u, which is what the kernel takes", m->n, what,
			       IDMAP_LINES_MAX);
	for (size_t i = 0; i < m->n; i++) {
		const struct id_mapping *e = &m->v[i];

		if (!e->length)
			return err_set(err, CRIO_E_INVALID, "%s mapping %u:%u:0 has the size 0", what, e->container_id, e->host_id);
		if ((uint64_t)e->container_id + e->length > ID_END || (uint64_t)e->host_id + e->length > ID_END)
			return err_set(err, CRIO_E_INVALID, "%s mapping %u:%u:%u goes beyond the last id, 4294967294", what,
				       e->container_id, e->host_id, e->length);
		if (e->host_id < min_host)
			return err_set(err, CRIO_E_INVALID,
				       "not allowed to map %s range (%u-%llu), below minimum mappable %s %lld", what, e->host_id,
				       (unsigned long long)e->host_id + e->length - 1, what, (long long)min_host);
	}
	copy = calloc(m->n, sizeof(*copy));
	if (!copy)
		return err_nomem(err);
	memcpy(copy, m->v, m->n * sizeof(*copy));
	r = check_twice(copy, m->n, true, what, err);
	if (!r)
		r = check_twice(copy, m->n, false, what, err);
	if (r < 0)
		return r;
	text = id_map_text(m);
	if (!text)
		return err_nomem(err);
	if (strlen(text) > IDMAP_TEXT_MAX)
		return err_set(err, CRIO_E_INVALID, "%zu %s mappings are %zu bytes long, more than the kernel takes (%u)", m->n, what,
			       strlen(text), IDMAP_TEXT_MAX);
	return 0;
}

static int check_ns(const struct id_map *m, const char *what, int64_t min_host, crio_err *err)
{
	int r = id_map_check(m, what, min_host, err);

	if (r == 0 && id_to_host(m, 0) == IDMAP_NONE)
		return err_set(err, CRIO_E_INVALID, "%s mappings leave out container id 0: root of the user namespace must be somebody",
			       what);
	return r;
}

int id_maps_check(const struct id_maps *m, int64_t min_uid, int64_t min_gid, crio_err *err)
{
	int r = check_ns(&m->uids, "UID", min_uid, err);

	return r < 0 ? r : check_ns(&m->gids, "GID", min_gid, err);
}

/* ---- looking up ---- */

uint32_t id_to_host(const struct id_map *m, uint32_t id)
{
	if (!m->n)
		return id;
	for (size_t i = 0; i < m->n; i++)
		if (id >= m->v[i].container_id && id - m->v[i].container_id < m->v[i].length)
			return m->v[i].host_id + (id - m->v[i].container_id);
	return IDMAP_NONE;
}

uint32_t id_to_container(const struct id_map *m, uint32_t id)
{
	if (!m->n)
		return id;
	for (size_t i = 0; i < m->n; i++)
		if (id >= m->v[i].host_id && id - m->v[i].host_id < m->v[i].length)
			return m->v[i].container_id + (id - m->v[i].host_id);
	return IDMAP_NONE;
}

uint32_t id_map_last(const struct id_map *m)
{
	uint32_t last = 0;

	for (size_t i = 0; i < m->n; i++)
		if (m->v[i].container_id + (m->v[i].length - 1) > last)
			last = m->v[i].container_id + (m->v[i].length - 1);
	return last;
}

/* ---- other forms ---- */

char *id_map_text(const struct id_map *m)
{
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < m->n; i++)
		buf_addf(&b, "%u %u %u\n", m->v[i].container_id, m->v[i].host_id, m->v[i].length);
	return buf_take(&b);
}

static const struct {
	const char *container, *host, *size;
} keys[] = {
    [ID_MAP_OCI] = {"containerID", "hostID", "size"},
    [ID_MAP_STORAGE] = {"container_id", "host_id", "size"},
    [ID_MAP_CRI] = {"container_id", "host_id", "length"},
};

static int put(struct json_object *o, const char *key, uint32_t v, enum id_map_form form)
{
	return form == ID_MAP_CRI && !v ? 0 : json_set_int(o, key, v);
}

struct json_object *id_map_json(const struct id_map *m, enum id_map_form form)
{
	cleanup_json struct json_object *a = json_object_new_array();

	for (size_t i = 0; a && i < m->n; i++) {
		struct json_object *o = json_object_new_object();

		if (json_push(a, o) < 0 || put(o, keys[form].container, m->v[i].container_id, form) < 0 ||
		    put(o, keys[form].host, m->v[i].host_id, form) < 0 || put(o, keys[form].size, m->v[i].length, form) < 0)
			return NULL;
	}
	return move_ptr(a);
}

static bool get(const struct json_object *o, const char *key, uint32_t *ret)
{
	int64_t v = json_int(o, key, 0);

	*ret = (uint32_t)v;
	return v >= 0 && v <= UINT32_MAX;
}

int id_map_from_json(const struct json_object *o, enum id_map_form form, struct id_map *ret)
{
	size_t n = json_object_is_type(o, json_type_array) ? json_object_array_length(o) : 0;
	cleanup_free struct id_mapping *v = calloc(n + 1, sizeof(*v));

	if (n > IDMAP_LINES_MAX)
		return CRIO_E_CORRUPT;
	if (!v)
		return CRIO_E_NOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct json_object *e = json_object_array_get_idx(o, i);

		if (!get(e, keys[form].container, &v[i].container_id) || !get(e, keys[form].host, &v[i].host_id) ||
		    !get(e, keys[form].size, &v[i].length))
			return CRIO_E_CORRUPT;
	}
	return id_map_set(ret, v, n);
}
