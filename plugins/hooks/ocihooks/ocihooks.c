/* The ocihooks plugin: OCI hooks that files in hooks.d ask for. See ocihooks.md. */
#include "plugins/hooks/ocihooks/ocihooks.h"

static int stages(void *self, crio_call *call, const struct crio_hook_no_args *args, struct crio_hook_stages_out *out, crio_err *err)
{
	struct oh *o = self;
	struct set *s = oh_current(o);

	(void)call, (void)args, (void)err;
	/* Without a hook no container costs anything; READY is emitted when that changes. */
	out->stages = s->n ? CRIO_HOOK_CTR_CREATE : 0;
	oh_set_unref(s);
	return 0;
}

static int run(void *self, crio_call *call, const struct crio_hook_args *args, struct crio_hook_out *out, crio_err *err)
{
	if (args->stage != CRIO_HOOK_CTR_CREATE)
		return 0;
	return oh_apply(self, call, args, out, err);
}

static void oh_free(struct oh *o)
{
	follow_release(&o->follow);
	oh_set_unref(o->set);
	for (size_t i = 0; o->dirs && i < o->n_dirs; i++)
		free(o->dirs[i]);
	free(o->dirs);
	(void)pthread_mutex_destroy(&o->mu);
	free(o);
}

static int take_dirs(struct oh *o, crio_err *err)
{
	struct crio_strs dirs = o->host->opt_strs(o->in, "hooks_dir");

	o->dirs = calloc(dirs.n + 1, sizeof(*o->dirs));
	if (!o->dirs)
		return oh_nomem(o, err);
	for (size_t i = 0; i < dirs.n; i++) {
		if (!*dirs.v[i])
			continue;
		if (*dirs.v[i] != '/')
			return o->host->fail(err, CRIO_E_INVALID, "hooks_dir '%s' is not an absolute path", dirs.v[i]);
		o->dirs[o->n_dirs] = strdup(dirs.v[i]);
		if (!o->dirs[o->n_dirs])
			return oh_nomem(o, err);
		if (access(dirs.v[i], F_OK) < 0)
			o->host->log(o->in, CRIO_LOG_INFO, "Hooks directory %s is not there yet", dirs.v[i]);
		o->n_dirs++;
	}
	return 0;
}

static int ocihooks_open(const struct crio_host *host, crio_instance *in, crio_call *call, void **self, crio_err *err)
{
	struct oh *o = calloc(1, sizeof(*o));
	int r;

	(void)call;
	if (!o)
		return host->fail(err, CRIO_E_NOMEM, "no memory");
	o->host = host;
	o->in = in;
	(void)pthread_mutex_init(&o->mu, NULL);
	follow_init(&o->follow, host, in, oh_matters, o);
	r = take_dirs(o, err);
	if (r == 0)
		r = oh_set_read(o, NULL, &o->set, err);
	if (r == 0 && o->n_dirs) {
		host->log(in, CRIO_LOG_INFO, "%zu OCI hooks are in force", o->set->n);
		r = oh_watch_start(o, err);
		/* What came while nothing was watched yet. */
		if (r == 0)
			follow_kick(&o->follow);
	}
	if (r < 0) {
		oh_free(o);
		return r;
	}
	*self = o;
	return 0;
}

static void ocihooks_close(void *self)
{
	oh_free(self);
}

static const struct crio_option options[] = {
    {.size = sizeof(struct crio_option),
     .type = CRIO_OPT_STRS,
     .name = "hooks_dir",
     .help = "directories of hook files, a later one wins; crio.conf's hooks_dir"},
};

static const struct crio_hook_ops ops = {.stages = stages, .run = run};

static const struct crio_plugin plugin = {
    CRIO_PLUGIN_HEAD(CRIO_KIND_HOOK, CRIO_THREADS_PARALLEL, ops),
    .name = "ocihooks",
    .version = "1",
    .summary = "OCI hooks of hooks.d, as in oci-hooks(5)",
    .options = options,
    .options_n = sizeof(options) / sizeof(*options),
    .open = ocihooks_open,
    .close = ocihooks_close,
};

CRIO_PLUGIN_REGISTER(ocihooks, plugin)
