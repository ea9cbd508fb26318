/* stores.c: one store per storage plugin. The default driver's has crio.conf's root; driver X's is "<root>-X". */
#include <string.h>
#include <sys/stat.h>

#include "core/image/images_priv.h"
#include "core/plugin/plugins.h"
#include "core/util/fs.h"
#include "core/util/log.h"

static const char *default_driver(const struct conf *c)
{
	const char *d = c->crio.storage_driver;

	return !str_set(d) || str_eq(d, "overlay2") ? "overlay" : d;
}

/* "overlay.mountopt=nodev" -> mountopt=nodev. Options of other drivers are none of this one's. */
static int default_options(const struct conf *c, const char *driver, struct kvs *ret)
{
	for (size_t i = 0; i < c->crio.storage_option.n; i++) {
		const char *o = c->crio.storage_option.v[i], *eq = strchr(o, '='), *dot = strchr(o, '.');
		cleanup_free char *name = NULL;
		size_t len;

		if (!eq || !dot || dot > eq)
			continue;
		len = (size_t)(dot - o);
		if (len && !(len == strlen(driver) && !strncmp(o, driver, len)) &&
		    !(str_eq(driver, "overlay") && len == 8 && !strncmp(o, "overlay2", 8)))
			continue;
		name = strndup(dot + 1, (size_t)(eq - dot - 1));
		if (!name || kvs_set(ret, name, eq + 1) < 0)
			return CRIO_E_NOMEM;
	}
	return 0;
}

/* Of the first handler or workload that names the driver. */
static int other_options(const struct conf *c, const char *driver, struct kvs *ret)
{
	for (size_t i = 0; i < c->runtime.n_runtimes; i++)
		if (str_eq(c->runtime.runtimes[i].storage_plugin, driver))
			return kvs_copy(ret, &c->runtime.runtimes[i].storage_options);
	for (size_t i = 0; i < c->runtime.n_workloads; i++)
		if (str_eq(c->runtime.workloads[i].storage_plugin, driver))
			return kvs_copy(ret, &c->runtime.workloads[i].storage_options);
	return 0;
}

static int open_one(struct images *is, crio_call *call, const struct conf *c, const char *driver, struct store **ret,
		    crio_err *err)
{
	bool dflt = str_eq(driver, default_driver(c));
	cleanup_kvs struct kvs options = KVS_INIT;
	cleanup_free char *root = path_fmt("%s%s%s", c->crio.root, dflt ? "" : "-", dflt ? "" : driver);
	cleanup_free char *runroot = path_fmt("%s%s%s", c->crio.runroot, dflt ? "" : "-", dflt ? "" : driver);
	struct plugin_inst *inst = NULL;
	struct store_args a = {0};
	int r;

	if (!root || !runroot || (dflt ? default_options(c, driver, &options) : other_options(c, driver, &options)) < 0)
		return err_nomem(err);
	r = plugins_open(is->plugins, call, CRIO_KIND_STORAGE, driver, driver, &options, &inst, err);
	if (r < 0)
		return r;
	a.root = root;
	a.runroot = runroot;
	a.instance = inst;
	r = store_open(&a, call, ret, err);
	plugin_inst_unref(inst); /* the store has its own reference */
	return r < 0 ? err_wrap(err, "store %s (driver %s)", root, driver) : 0;
}

static struct store *find_store(struct images *is, const char *driver)
{
	for (size_t i = 0; i < is->n_stores; i++)
		if (str_eq(is->stores[i].driver, driver))
			return is->stores[i].store;
	return NULL;
}

int images_store(struct images *is, crio_call *call, const char *driver, struct store **ret, crio_err *err)
{
	cleanup_conf const struct conf *c = images_conf(is);
	struct store *s = NULL;
	char *name;
	int r;

	if (!str_set(driver))
		driver = default_driver(c);
	s = find_store(is, driver);
	if (s) {
		*ret = s;
		return 0;
	}
	if (!path_is_name(driver))
		return err_set(err, CRIO_E_INVALID, "storage driver '%.64s': not a plugin's name", driver);
	cleanup_unlock pthread_mutex_t *l = lock(&is->open_lock);
	s = find_store(is, driver);
	if (s) {
		*ret = s;
		return 0;
	}
	if (is->n_stores >= STORES_MAX)
		return err_set(err, CRIO_E_EXHAUSTED, "more than %d storage drivers in use", STORES_MAX);
	name = strdup(driver);
	if (!name)
		return err_nomem(err);
	r = open_one(is, call, c, driver, &s, err);
	if (r < 0) {
		free(name);
		return r;
	}
	is->stores[is->n_stores].driver = name;
	is->stores[is->n_stores].store = s;
	is->n_stores++;
	*ret = s;
	return 0;
}

struct store *images_store_at(struct images *is, size_t i)
{
	return i < is->n_stores ? is->stores[i].store : NULL;
}

static void try_open(struct images *is, crio_call *call, const char *driver)
{
	struct crio_err e = ERR_INIT;
	struct store *s;

	if (str_set(driver) && images_store(is, call, driver, &s, &e) < 0)
		log_error("Images and containers of storage driver %s are not available: %s", driver, err_text(&e));
	err_clear(&e);
}

struct left_over {
	struct images *is;
	crio_call *call;
	const char *root;
};

/* A driver that no handler names any more may still have containers. */
static void open_left_over(void *arg, const struct plugin_info *info)
{
	struct left_over *lo = arg;
	cleanup_free char *path = NULL;
	struct stat st;

	if (info->kind != CRIO_KIND_STORAGE || info->refused)
		return;
	path = path_fmt("%s-%s", lo->root, info->name);
	if (path && lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
		try_open(lo->is, lo->call, info->name);
}

int stores_open_all(struct images *is, crio_call *call, crio_err *err)
{
	cleanup_conf const struct conf *c = images_conf(is);
	struct left_over lo = {is, call, c->crio.root};
	struct store *s;
	int r = images_store(is, call, "", &s, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < c->runtime.n_runtimes; i++)
		try_open(is, call, c->runtime.runtimes[i].storage_plugin);
	for (size_t i = 0; i < c->runtime.n_workloads; i++)
		try_open(is, call, c->runtime.workloads[i].storage_plugin);
	plugins_each(is->plugins, open_left_over, &lo);
	return 0;
}

void stores_close_all(struct images *is)
{
	while (is->n_stores) {
		size_t i = --is->n_stores;

		store_close(is->stores[i].store);
		free(is->stores[i].driver);
	}
}
