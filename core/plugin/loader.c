/*
 * loader.c: from files to modules. The order of the checks is the order of what they may cost: name, owner and mode, ELF
 * bounds, the probe in a child, dlopen for its error text, libltdl, the descriptor. All under plugins.load_lock: neither
 * libltdl nor dlerror is made for threads.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/conf/pluginopts.h"
#include "core/plugin/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define FILES_MAX 256 /* plugin files of one kind */

const char *plugin_kind_name(enum crio_kind kind)
{
	switch (kind) {
	case CRIO_KIND_RUNTIME:
		return "runtime";
	case CRIO_KIND_STORAGE:
		return "storage";
	case CRIO_KIND_NETWORK:
		return "network";
	case CRIO_KIND_HOOK:
		return "hook";
	}
	return "unknown";
}

static const char *kind_dir(enum crio_kind kind)
{
	return kind == CRIO_KIND_HOOK ? "hooks" : plugin_kind_name(kind);
}

/* [a-z][a-z0-9_]{0,31} */
static bool name_ok(const char *s, size_t n)
{
	if (n < 1 || n > 32 || s[0] < 'a' || s[0] > 'z')
		return false;
	for (size_t i = 1; i < n; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '_'))
			return false;
	return true;
}

/* Who may write here may run code as the daemon: only root and the daemon's own user. A sticky directory is fine for others
 * to write in, as they cannot replace what is not theirs. */
static int check_owner(const char *path, const struct stat *st, bool dir, crio_err *err)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return err_set(err, CRIO_E_DENIED, "%s belongs to user %u: plugins and their directories must belong to root", path,
			       (unsigned)st->st_uid);
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) && !(dir && (st->st_mode & S_ISVTX)))
		return err_set(err, CRIO_E_DENIED, "%s can be written by others than its owner (mode %04o): run 'chmod go-w %s'", path,
			       (unsigned)(st->st_mode & 07777), path);
	return 0;
}

int loader_check_file(const char *path, struct stat *ret, crio_err *err)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return err_errno(err, errno, "plugin %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, CRIO_E_DENIED, "%s is not a regular file (links are not followed)", path);
	int r = check_owner(path, &st, false, err);
	if (r < 0)
		return r;
	cleanup_free char *dir = strdup(path);
	if (!dir)
		return err_nomem(err);
	for (char *slash; (slash = strrchr(dir, '/'));) {
		slash[slash == dir] = '\0'; /* keeps "/" itself */
		struct stat ds;
		if (stat(dir, &ds) < 0)
			return err_errno(err, errno, "directory %s", dir);
		r = check_owner(dir, &ds, true, err);
		if (r < 0)
			return r;
		if (str_eq(dir, "/"))
			break;
	}
	*ret = st;
	return 0;
}

static struct module *find_file(struct plugins *p, enum crio_kind kind, const char *name)
{
	for (struct module *m = p->modules; m; m = m->next)
		if (m->kind == kind && str_eq(m->name, name))
			return m;
	return NULL;
}

static struct module *module_add(struct plugins *p, enum crio_kind kind, const char *name, const char *path)
{
	struct module *m = calloc(1, sizeof(*m));
	if (!m || !(m->name = strdup(name)) || !(m->path = strdup(path))) {
		if (m)
			free(m->name);
		free(m);
		return NULL;
	}
	m->host = p;
	m->kind = kind;
	cleanup_unlock pthread_mutex_t *l = lock(&p->lock);
	m->next = p->modules;
	p->modules = m;
	return m;
}

static void scan_kind(struct plugins *p, enum crio_kind kind)
{
	cleanup_free char *dir = path_fmt("%s/%s", p->args.dir, kind_dir(kind));
	cleanup_closedir DIR *d = dir ? opendir(dir) : NULL;
	if (!d)
		return;
	size_t seen = 0;
	struct dirent *e;
	while ((e = readdir(d))) {
		size_t n = strlen(e->d_name);
		if (n < 4 || e->d_name[0] == '.' || !str_ends(e->d_name, ".so"))
			continue;
		if (++seen > FILES_MAX) {
			log_warn("%s: more than %d plugins, the rest is not looked at", dir, FILES_MAX);
			return;
		}
		cleanup_free char *path = path_fmt("%s/%s", dir, e->d_name);
		cleanup_free char *name = strndup(e->d_name, n - 3);
		if (!path || !name)
			return;
		struct module *m = find_file(p, kind, name);
		struct stat st;
		if (m && !m->loaded && lstat(path, &st) == 0 &&
		    (st.st_ino != m->ino || st.st_dev != m->dev || st.st_size != m->file_size ||
		     fs_ctime_ns(&st) != m->ctime_ns)) {
			/* A refused file was replaced, put back or mended: it gets another chance. */
			(void)pthread_mutex_lock(&p->lock);
			free(m->refused);
			m->refused = NULL;
			(void)pthread_mutex_unlock(&p->lock);
		}
		if (!m)
			m = module_add(p, kind, name, path);
		if (m && !name_ok(name, strlen(name)) && !m->refused)
			m->refused = path_fmt("'%s' is not a plugin's name: a lower-case letter, then letters, digits and '_', 32 at most",
					      name);
	}
}

void loader_scan(struct plugins *p)
{
	for (int k = CRIO_KIND_RUNTIME; k <= CRIO_KIND_HOOK; k++)
		scan_kind(p, (enum crio_kind)k);
}

static size_t ops_size(enum crio_kind kind)
{
	switch (kind) {
	case CRIO_KIND_RUNTIME:
		return sizeof(struct crio_runtime_ops);
	case CRIO_KIND_STORAGE:
		return sizeof(struct crio_storage_ops);
	case CRIO_KIND_NETWORK:
		return sizeof(struct crio_network_ops);
	case CRIO_KIND_HOOK:
		return sizeof(struct crio_hook_ops);
	}
	return 0;
}

static int check_head(const struct module *m, const struct crio_plugin *d, crio_err *err)
{
	if (!d)
		return err_set(err, CRIO_E_INVALID, "%s: its entry returned no descriptor", m->path);
	if (d->magic != CRIO_PLUGIN_MAGIC)
		return err_set(err, CRIO_E_INVALID, "%s: field magic is 0x%08x, expected 0x%08x: not a crio plugin", m->path, d->magic,
			       CRIO_PLUGIN_MAGIC);
	if (d->abi_major != CRIO_ABI_MAJOR)
		return err_set(err, CRIO_E_INVALID, "%s: field abi_major is %u, expected %u: build it against this crio's SDK", m->path,
			       d->abi_major, CRIO_ABI_MAJOR);
	if (CRIO_ABI_MAJOR == 0 && d->abi_minor != CRIO_ABI_MINOR)
		return err_set(err, CRIO_E_INVALID, "%s: field abi_minor is %u, expected %u while the ABI is 0.x", m->path, d->abi_minor,
			       CRIO_ABI_MINOR);
	if (d->size < offsetof(struct crio_plugin, close))
		return err_set(err, CRIO_E_INVALID, "%s: field size is %u, expected at least %zu", m->path, d->size,
			       offsetof(struct crio_plugin, close));
	return 0;
}

int loader_take_desc(struct module *m, const struct crio_plugin *d, crio_err *err)
{
	int r = check_head(m, d, err);
	if (r < 0)
		return r;
	struct crio_plugin c;
	memset(&c, 0, sizeof(c));
	memcpy(&c, d, d->size < sizeof(c) ? d->size : sizeof(c));
	if (c.kind != m->kind)
		return err_set(err, CRIO_E_INVALID, "%s: field kind is %u, expected %u (%s), as its directory says", m->path, c.kind, m->kind,
			       plugin_kind_name(m->kind));
	if (!c.name || !str_eq(c.name, m->name))
		return err_set(err, CRIO_E_INVALID, "%s: field name is '%s', expected '%s', as the file is called", m->path,
			       c.name ? c.name : "(none)", m->name);
	if (c.threads < CRIO_THREADS_SERIAL || c.threads > CRIO_THREADS_PARALLEL)
		return err_set(err, CRIO_E_INVALID, "%s: field threads is %u, expected 1 to 3", m->path, c.threads);
	if (!c.ops || !c.ops_size)
		return err_set(err, CRIO_E_INVALID, "%s: field ops is empty", m->path);
	if (!c.open)
		return err_set(err, CRIO_E_INVALID, "%s: field open is empty", m->path);
	if (!c.version || !c.summary)
		return err_set(err, CRIO_E_INVALID, "%s: field %s is empty", m->path, c.version ? "summary" : "version");
	if (c.options_n > 256 || (c.options_n && !c.options))
		return err_set(err, CRIO_E_INVALID, "%s: field options_n is %u, expected at most 256 rows in options", m->path, c.options_n);
	cleanup_free char *what = path_fmt("%s plugin %s", plugin_kind_name(m->kind), m->name);
	if (!what)
		return err_nomem(err);
	r = c.options_n ? pluginopts_check_table(c.options, c.options_n, what, err) : 0;
	if (r < 0)
		return r;
	memset(&m->ops, 0, sizeof(m->ops));
	memcpy(&m->ops, c.ops, c.ops_size < ops_size(m->kind) ? c.ops_size : ops_size(m->kind));
	m->desc = c;
	return 0;
}

static int open_library(struct module *m, crio_err *err)
{
	/* First the system's own call, for a true and complete error: libltdl binds lazily, so that an undefined symbol would end
	 * the daemon in the middle of a call. */
	void *h = dlopen(m->path, RTLD_NOW | RTLD_LOCAL);
	if (!h) {
		const char *why = dlerror();
		return err_set(err, CRIO_E_INVALID, "%s", why ? why : "dlopen failed");
	}
	lt_dladvise advise;
	if (lt_dladvise_init(&advise) == 0) {
		(void)lt_dladvise_local(&advise);
		m->handle = lt_dlopenadvise(m->path, advise);
		(void)lt_dladvise_destroy(&advise);
	}
	if (!m->handle) {
		const char *why = lt_dlerror();
		(void)dlclose(h);
		return err_set(err, CRIO_E_INVALID, "%s: %s", m->path, why ? why : "libltdl cannot open it");
	}
	return 0; /* h stays: modules are never unloaded */
}

static int take_entry(struct module *m, crio_err *err)
{
	/* libltdl looks for <name>_LTX_crio_plugin_entry first. ISO C has no cast from data to function pointers. */
	union {
		void *p;
		crio_plugin_entry_fn fn;
	} entry;
	entry.p = lt_dlsym(m->handle, "crio_plugin_entry");
	if (!entry.p)
		return err_set(err, CRIO_E_INVALID, "%s does not export %s_LTX_crio_plugin_entry", m->path, m->name);
	return loader_take_desc(m, entry.fn(), err);
}

static int load_file(struct module *m, crio_err *err)
{
	struct stat st;
	if (lstat(m->path, &st) < 0)
		memset(&st, 0, sizeof(st)); /* when it is there again it is another one */
	int r = loader_check_file(m->path, &st, err);
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	m->file_size = st.st_size;
	m->ctime_ns = fs_ctime_ns(&st);
	if (r == 0)
		r = elf_check(m->path, err);
	m->passed_before = r == 0 && verdicts_has(m);
	if (r == 0 && m->host->args.probe_path && !m->passed_before)
		r = probe_run(m, err);
	if (r == 0)
		r = open_library(m, err);
	if (r == 0)
		r = take_entry(m, err);
	return r;
}

int loader_load(struct module *m, crio_err *err)
{
	if (m->loaded)
		return 0;
	if (m->refused)
		return err_set(err, CRIO_E_PRECONDITION, "%s plugin '%s' was refused: %s", plugin_kind_name(m->kind), m->name, m->refused);
	cleanup_err crio_err why = ERR_INIT;
	int r = m->linked_in ? take_entry(m, &why) : load_file(m, &why);
	if (r < 0) {
		(void)pthread_mutex_lock(&m->host->lock);
		m->refused = strdup(err_text(&why));
		(void)pthread_mutex_unlock(&m->host->lock);
		log_warn("%s plugin '%s' is refused: %s", plugin_kind_name(m->kind), m->name, err_text(&why));
		return err_set(err, CRIO_E_PRECONDITION, "%s plugin '%s' was refused: %s", plugin_kind_name(m->kind), m->name,
			       err_text(&why));
	}
	m->loaded = true;
	if (m->host->settled)
		verdicts_write(m->host);
	log_debug("Loaded %s plugin %s %s from %s%s", plugin_kind_name(m->kind), m->name, m->desc.version, m->path,
		  m->passed_before ? ", which has passed its probe before" : "");
	return 0;
}

/* libltdl's callback has no argument; used under load_lock. */
static struct plugins *linked_host;

static int add_linked(lt_dlhandle h)
{
	const lt_dlinfo *info = lt_dlgetinfo(h);
	union {
		void *p;
		crio_plugin_entry_fn fn;
	} entry;
	entry.p = lt_dlsym(h, "crio_plugin_entry");
	const struct crio_plugin *d = entry.p ? entry.fn() : NULL;
	if (!d || d->magic != CRIO_PLUGIN_MAGIC || !info || !info->name)
		return 0;
	struct module *m = module_add(linked_host, (enum crio_kind)d->kind, info->name, "(linked in)");
	if (m) {
		m->linked_in = true;
		m->handle = h;
	}
	return 0;
}

void loader_add_linked(struct plugins *p)
{
	linked_host = p;
	(void)lt_dlpreload_open(NULL, add_linked);
	linked_host = NULL;
}
