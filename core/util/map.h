/*
 * map.h: string -> pointer hash table. Not thread-safe: guard it with the lock of the structure it is in. Keys are
 * copied; values are the caller's.
 */
#ifndef UTIL_MAP_H
#define UTIL_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct map;
struct map *map_new(void); /* NULL without memory */
void map_free(struct map *m); /* keys only; NULL is fine */
void *map_get(const struct map *m, const char *key);
/* Replaces. CRIO_E_NOMEM leaves the map as it was. */
int map_set(struct map *m, const char *key, void *value);
/* The value that was there, or NULL. */
void *map_del(struct map *m, const char *key);
size_t map_count(const struct map *m);
/* Entries in no promised order; start with *it = 0. False at the end. Do not change the map meanwhile. */
bool map_next(const struct map *m, size_t *it, const char **key, void **value);

static inline void map_freep(struct map **m) { map_free(*m); }
#define cleanup_map __attribute__((cleanup(map_freep)))

#endif
