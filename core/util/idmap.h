/*
 * idmap.h: mappings of user and group ids: what /proc/PID/uid_map holds, as values. A container id is one inside the user
 * namespace, a host id one outside. No state, no locks.
 */
#ifndef UTIL_IDMAP_H
#define UTIL_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/util/json.h"
#include "core/util/str.h"

#define IDMAP_LINES_MAX 340u /* of /proc/PID/uid_map */
#define IDMAP_TEXT_MAX 4095u /* bytes that the kernel takes in the one write there is: less than a page */
#define IDMAP_NONE UINT32_MAX /* the id that nobody has */

struct id_mapping {
	uint32_t host_id, container_id, length;
};
struct id_map {
	struct id_mapping *v;
	size_t n;
};
/* Of a user namespace; without any: there is none. */
struct id_maps {
	struct id_map uids, gids;
};
static inline bool id_maps_set(const struct id_maps *m)
{
	return m->uids.n || m->gids.n;
}
void id_maps_release(struct id_maps *m);
#define cleanup_id_maps CLEANUP(id_maps_release)
/* All or nothing; what dst had is released. NOMEM. */
int id_map_set(struct id_map *dst, const struct id_mapping *v, size_t n);
int id_maps_copy(struct id_maps *dst, const struct id_maps *src);
/* NOMEM, or INVALID: more than the kernel takes. */
int id_map_add(struct id_map *m, uint32_t container_id, uint32_t host_id, uint32_t length, crio_err *err);

/* "container:host:size,..." appended to m; empty parts are passed over. INVALID. What: "uid", "gid", for messages. */
int id_map_parse(const char *text, const char *what, struct id_map *m, crio_err *err);

/* INVALID unless the kernel takes it: at least one line and not too many, no size of 0, no id beyond the last, no id twice on
 * either side. min_host (-1: none) is the lowest host id allowed. */
int id_map_check(const struct id_map *m, const char *what, int64_t min_host, crio_err *err);
/* Of a pod's namespace: container id 0 is mapped too, since somebody must own what the runtime makes. */
int id_maps_check(const struct id_maps *m, int64_t min_uid, int64_t min_gid, crio_err *err);

/* Where an id is on the other side; IDMAP_NONE: nowhere. A map without lines maps each id to itself. */
uint32_t id_to_host(const struct id_map *m, uint32_t id);
uint32_t id_to_container(const struct id_map *m, uint32_t id);
uint32_t id_map_last(const struct id_map *m); /* the highest container id; 0 without lines */

/* Lines of /proc/PID/uid_map. The caller's; NULL without memory. */
char *id_map_text(const struct id_map *m);

/* As arrays of objects: names of the OCI spec (containerID, hostID, size), of containers/storage (container_id, host_id, size),
 * of the CRI in Go's JSON (host_id, container_id, length, zeros left out). */
enum id_map_form { ID_MAP_OCI, ID_MAP_STORAGE, ID_MAP_CRI };
struct json_object *id_map_json(const struct id_map *m, enum id_map_form form); /* NULL without memory */
/* o NULL: no lines. CORRUPT, NOMEM leave *ret as it was. */
int id_map_from_json(const struct json_object *o, enum id_map_form form, struct id_map *ret);

#endif
