/* storageconf.c: what of containers' storage.conf is a default for [crio]: where the store is and its driver's options. */
#include "core/conf/conf_int.h"

static const char *const search[] = { CRIO_SYSCONFDIR "/containers/storage.conf", "/usr/share/containers/storage.conf" };

/* Options of the driver's own table; those that hold for several drivers are also in [storage.options]. */
static const char *const driver_options[] = { "mountopt", "mount_program", "size", "inodes", "ignore_chown_errors", "force_mask",
					      "skip_mount_home", "use_composefs", "min_space", "basesize", "thinpooldev",
					      "directlvm_device", "fs", "mkfsarg" };

static int get_string(const struct toml_node *t, const char *key, const char *path, const char *file, char **ret, crio_err *err)
{
	const struct toml_node *n = toml_get(t, key);
	char *s;

	if (!n || (n->type == TOML_STR && !*n->str))
		return 0;
	if (n->type != TOML_STR)
		return err_set(err, CRIO_E_INVALID, "%s:%d: %s.%s: expected a string, found %s", file, n->line, path, key,
			       toml_type_name(n->type));
	s = strdup(n->str);
	if (!s)
		return err_nomem(err);
	free(*ret);
	*ret = s;
	return 0;
}

static int add_option(struct conf *c, const char *name, const struct toml_node *n, const char *file, crio_err *err)
{
	const char *v;

	if (n->type == TOML_BOOL)
		v = n->i ? "true" : "false";
	else if (n->type == TOML_STR)
		v = n->str;
	else
		return err_set(err, CRIO_E_INVALID, "%s:%d: %s: expected a string, found %s", file, n->line, name,
			       toml_type_name(n->type));
	if (!*v)
		return 0;
	return strv_addf(&c->crio.storage_option, "%s.%s=%s", c->crio.storage_driver, name, v) < 0 ? err_nomem(err) : 0;
}

static int get_options(struct conf *c, const struct toml_node *storage, const char *file, crio_err *err)
{
	const struct toml_node *o = toml_get(storage, "options"), *d = toml_get(o, c->crio.storage_driver);
	const struct toml_node *a = toml_get(o, "additionalimagestores");
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(driver_options); i++) {
		const struct toml_node *n = toml_get(d, driver_options[i]);
		if (!n)
			n = toml_get(o, driver_options[i]);
		if (n) {
			r = add_option(c, driver_options[i], n, file, err);
			if (r < 0)
				return r;
		}
	}
	if (!a)
		return 0;
	if (a->type != TOML_ARRAY)
		return err_set(err, CRIO_E_INVALID, "%s:%d: storage.options.additionalimagestores: expected a list of strings", file,
			       a->line);
	for (size_t i = 0; i < a->n; i++) {
		if (a->v[i].type != TOML_STR || *a->v[i].str != '/')
			return err_set(err, CRIO_E_INVALID,
				       "%s:%d: storage.options.additionalimagestores: expected absolute paths", file, a->v[i].line);
		if (strv_add(&c->crio.additional_image_stores, a->v[i].str) < 0)
			return err_nomem(err);
	}
	return 0;
}

static int get_storage(struct conf *c, const struct toml_node *root, const char *file, crio_err *err)
{
	const struct toml_node *s = toml_get(root, "storage"), *n;
	int r;

	if (!s)
		return 0;
	if (s->type != TOML_TABLE)
		return err_set(err, CRIO_E_INVALID, "%s:%d: storage: expected a table, found %s", file, s->line,
			       toml_type_name(s->type));
	if ((r = get_string(s, "driver", "storage", file, &c->crio.storage_driver, err)) < 0 ||
	    (r = get_string(s, "graphroot", "storage", file, &c->crio.root, err)) < 0 ||
	    (r = get_string(s, "runroot", "storage", file, &c->crio.runroot, err)) < 0 ||
	    (r = get_string(s, "imagestore", "storage", file, &c->crio.imagestore, err)) < 0)
		return r;
	if (*c->crio.root != '/' || *c->crio.runroot != '/')
		return err_set(err, CRIO_E_INVALID, "%s:%d: storage: graphroot and runroot must be absolute paths", file, s->line);
	n = toml_get(s, "transient_store");
	if (n && n->type == TOML_BOOL)
		c->crio.transient_store = n->i != 0;
	return get_options(c, s, file, err);
}

/* The library's own variables. */
static int from_environment(struct conf *c, crio_err *err)
{
	const char *driver = getenv("STORAGE_DRIVER"), *opts = getenv("STORAGE_OPTS");
	cleanup_strv struct strv l = STRV_INIT;
	char *s;

	if (str_set(driver)) {
		s = strdup(driver);
		if (!s)
			return err_nomem(err);
		free(c->crio.storage_driver);
		c->crio.storage_driver = s;
	}
	if (str_set(opts)) {
		if (str_split(opts, ',', &l) < 0)
			return err_nomem(err);
		strv_release(&c->crio.storage_option);
		c->crio.storage_option = l;
		l = (struct strv)STRV_INIT;
	}
	return 0;
}

int storageconf_load(struct conf *c, const struct conf_args *args, crio_err *err)
{
	const char *path = args->storage_conf;
	bool env = !(args->flags & CONF_NO_ENV);
	int r = CRIO_E_NOT_FOUND;

	if (path && !*path)
		return 0;
	if (!path && env)
		path = getenv("CONTAINERS_STORAGE_CONF");
	for (size_t i = 0; i < (str_set(path) ? 1 : ARRAY_SIZE(search)) && r == CRIO_E_NOT_FOUND; i++) {
		cleanup_toml struct toml_node *root = NULL;
		cleanup_err crio_err e = ERR_INIT;
		const char *file = str_set(path) ? path : search[i];

		r = toml_read(file, &root, &e);
		if (r == CRIO_E_NOT_FOUND && !str_set(path))
			continue;
		if (r < 0)
			return err_move(err, &e);
		r = get_storage(c, root, file, err);
		if (r < 0)
			return r;
		if (strv_add(&c->files, file) < 0)
			return err_nomem(err);
	}
	return env ? from_environment(c, err) : 0;
}
