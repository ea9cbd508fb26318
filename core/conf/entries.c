/* entries.c: [crio.runtime.runtimes.X] and [crio.runtime.workloads.X]: an entry given again replaces the whole entry. */
#include "core/conf/conf_int.h"
#include "core/util/fs.h"

#define NAME_MAX_ENTRY 128

static int note(struct loader *l, const char *kind, const char *name, const char *file, int line, crio_err *err)
{
	cleanup_free char *key = path_fmt("crio.runtime.%s.%s", kind, name), *origin = path_fmt("%s:%d", file, line);

	return !key || !origin || kvs_set(&l->entries, key, origin) < 0 ? err_nomem(err) : 0;
}

static int check_entry(const struct toml_node *e, const char *kind, const char *file, crio_err *err)
{
	if (e->type != TOML_TABLE)
		return err_set(err, CRIO_E_INVALID, "%s:%d: crio.runtime.%s.%.100s: expected a table, found %s", file, e->line, kind,
			       e->key, toml_type_name(e->type));
	if (!*e->key || strlen(e->key) > NAME_MAX_ENTRY || !str_is_printable(e->key) || strchr(e->key, '/'))
		return err_set(err, CRIO_E_INVALID,
			       "%s:%d: crio.runtime.%s: \"%.200s\" is not a name (at most %d characters, no '/' and no control characters)",
			       file, e->line, kind, e->key, NAME_MAX_ENTRY);
	return 0;
}

/* The keys of one entry; rows with the table's name `sub` are looked up in that member of it. */
static int decode_keys(const struct conf_key *rows, size_t n, void *base, const struct toml_node *e, const char *kind,
		       const char *file, crio_err *err)
{
	for (size_t i = 0; i < n; i++) {
		const char *sub = strstr(rows[i].table, ">.");
		const struct toml_node *t = sub ? toml_get(e, sub + 2) : e, *v;
		int line = 0, r;

		if (t && t->type != TOML_TABLE)
			return err_set(err, CRIO_E_INVALID, "%s:%d: crio.runtime.%s.%s.%s: expected a table, found %s", file, t->line,
				       kind, e->key, sub + 2, toml_type_name(t->type));
		v = toml_get(t, rows[i].name);
		if (!v)
			continue;
		r = key_set_node(&rows[i], base, v, &line, err);
		if (r < 0)
			return err_wrap(err, "%s:%d: crio.runtime.%s.%s.%s%s%s", file, line, kind, e->key, sub ? sub + 2 : "",
					sub ? "." : "", rows[i].name);
	}
	return 0;
}

static int decode_runtime(struct loader *l, const struct toml_node *e, const char *file, crio_err *err)
{
	struct conf_runtime *h;
	int r = check_entry(e, "runtimes", file, err);

	if (r >= 0)
		r = conf_put_runtime(l->c, e->key, &h, err);
	if (r >= 0)
		r = decode_keys(runtime_keys, runtime_keys_n, h, e, "runtimes", file, err);
	return r < 0 ? r : note(l, "runtimes", e->key, file, e->line, err);
}

static int decode_workload(struct loader *l, const struct toml_node *e, const char *file, crio_err *err)
{
	struct conf_workload *w;
	int r = check_entry(e, "workloads", file, err);

	if (r >= 0)
		r = conf_put_workload(l->c, e->key, &w, err);
	if (r >= 0)
		r = decode_keys(workload_keys, workload_keys_n, w, e, "workloads", file, err);
	return r < 0 ? r : note(l, "workloads", e->key, file, e->line, err);
}

int conf_decode_runtimes(struct loader *l, const struct toml_node *runtime_table, const char *file, crio_err *err)
{
	static const char *const kinds[] = { "runtimes", "workloads" };
	int r = 0;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		const struct toml_node *t = toml_get(runtime_table, kinds[k]);

		if (t && t->type != TOML_TABLE)
			return err_set(err, CRIO_E_INVALID, "%s:%d: crio.runtime.%s: expected a table, found %s", file, t->line,
				       kinds[k], toml_type_name(t->type));
		for (size_t i = 0; t && i < t->n && r >= 0; i++)
			r = k ? decode_workload(l, &t->v[i], file, err) : decode_runtime(l, &t->v[i], file, err);
	}
	return r;
}

/* name:path:root[:type[:privileged_without_host_devices[:config_path[:min_memory]]]] */
int conf_runtime_flag(struct conf *c, const char *text, crio_err *err)
{
	static const char *const order[] = { NULL, "runtime_path", "runtime_root", "runtime_type", NULL, "runtime_config_path",
					     "container_min_memory" };
	cleanup_strv struct strv f = STRV_INIT;
	struct conf_runtime *h;
	int64_t bytes;
	int r;

	if (str_split(text, ':', &f) < 0)
		return err_nomem(err);
	if (f.n < 3 || f.n > ARRAY_SIZE(order) || !*f.v[0] || strlen(f.v[0]) > NAME_MAX_ENTRY || strchr(f.v[0], '/'))
		return err_set(err, CRIO_E_INVALID,
			       "runtimes: \"%.200s\" is not name:path:root[:type[:privileged_without_host_devices[:config_path[:min_memory]]]]",
			       text);
	if (f.n == 7 && *f.v[6] && !size_parse(f.v[6], &bytes))
		return err_set(err, CRIO_E_INVALID, "runtimes: \"%.200s\": \"%s\" is not a size such as 500KiB", text, f.v[6]);
	r = conf_put_runtime(c, f.v[0], &h, err);
	if (r < 0)
		return r;
	h->privileged_without_host_devices = f.n > 4 && !strcmp(f.v[4], "true");
	for (size_t i = 0; i < f.n; i++) {
		for (size_t k = 0; order[i] && k < runtime_keys_n; k++) {
			if (strcmp(runtime_keys[k].name, order[i]) != 0)
				continue;
			r = key_set_text(&runtime_keys[k], h, f.v[i], err);
			if (r < 0)
				return err_wrap(err, "runtimes: \"%.200s\": %s", text, order[i]);
		}
	}
	return 0;
}
