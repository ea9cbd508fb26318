/* map.c: over json-c's linked hash table, which the daemon has loaded anyway. */
#include "core/util/map.h"

#include <json-c/linkhash.h>

#include "core/util/err.h"

struct map {
	struct lh_table *t;
};

static void free_entry(struct lh_entry *e)
{
	free(lh_entry_k(e));
}

struct map *map_new(void)
{
	struct map *m = malloc(sizeof(*m));
	if (!m)
		return NULL;
	m->t = lh_kchar_table_new(16, free_entry);
	if (!m->t) {
		free(m);
		return NULL;
	}
	return m;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	lh_table_free(m->t);
	free(m);
}

void *map_get(const struct map *m, const char *key)
{
	void *v = NULL;
	return lh_table_lookup_ex(m->t, key, &v) ? v : NULL;
}

int map_set(struct map *m, const char *key, void *value)
{
	struct lh_entry *e = lh_table_lookup_entry(m->t, key);
	if (e) {
		lh_entry_set_val(e, value);
		return 0;
	}
	char *k = strdup(key);
	if (!k)
		return CRIO_E_NOMEM;
	if (lh_table_insert(m->t, k, value) < 0) {
		free(k);
		return CRIO_E_NOMEM;
	}
	return 0;
}

void *map_del(struct map *m, const char *key)
{
	struct lh_entry *e = lh_table_lookup_entry(m->t, key);
	if (!e)
		return NULL;
	void *v = lh_entry_v(e);
	(void)lh_table_delete_entry(m->t, e);
	return v;
}

size_t map_count(const struct map *m)
{
	return (size_t)lh_table_length(m->t);
}

bool map_next(const struct map *m, size_t *it, const char **key, void **value)
{
	/* *it is the current entry's address; 0 before the first, 1 after the last. */
	struct lh_entry *e = *it == 0 ? lh_table_head(m->t) : *it == 1 ? NULL : ((struct lh_entry *)*it)->next;
	if (!e) {
		*it = 1;
		return false;
	}
	*it = (size_t)e;
	if (key)
		*key = lh_entry_k(e);
	if (value)
		*value = lh_entry_v(e);
	return true;
}
