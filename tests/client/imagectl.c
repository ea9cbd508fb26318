/*
 * imagectl.c: core/image from the command line, for its tests: imagectl CONFIG COMMAND ARGS...
 *	pull [-u USER:PASSWORD] [-d DRIVER] [-n NAMESPACE] [-t MS] REF...   all REFs at once; prints "id ref" for each,
 *in order list | status REF | rm REF | layer REF DRIVER | fsinfo tree REF DIR    mounts the image read only at DIR
 *	untree REF DIR
 *	allowed NAMESPACE REF
 *	stats is printed by pull on standard error: "fetched=N reused=N shared=N"
 * CONFIG is a crio.conf; REGISTRIES, CERTS and AUTH of the environment are the files to use. Exit code: minus the
 *CRIO_E_*.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "core/conf/conf.h"
#include "core/exec/loop.h"
#include "core/exec/workers.h"
#include "core/image/image.h"
#include "core/plugin/plugins.h"
#include "core/store/store.h"
#include "core/util/fs.h"
#include "core/util/log.h"

static struct images *images;
static crio_call *call;

struct job {
	pthread_t thread;
	struct pull_args args;
	int64_t timeout_ms;
	char *id, *ref;
	int code;
	crio_err err;
};

static void *pull_one(void *arg)
{
	struct job *j = arg;
	cleanup_call crio_call *c = call_sub(call, j->timeout_ms * 1000000);

	j->code = images_pull(images, c, &j->args, &j->id, &j->ref, &j->err);
	return NULL;
}

static int cmd_pull(int argc, char **argv)
{
	struct job jobs[64] = {0};
	struct pull_args a = {0};
	struct images_stats st;
	int64_t timeout = 0;
	char *colon;
	int o, n, code = 0;

	while ((o = getopt(argc, argv, "u:d:n:t:")) != -1)
		switch (o) {
		case 'u':
			colon = strchr(optarg, ':');
			if (!colon)
				return 1;
			*colon = 0;
			a.auth.username = optarg;
			a.auth.password = colon + 1;
			break;
		case 'd':
			a.driver = optarg;
			break;
		case 'n':
			a.pod_namespace = optarg;
			break;
		case 't':
			timeout = atoll(optarg);
			break;
		default:
			return 1;
		}
	n = argc - optind;
	if (n < 1 || n > (int)ARRAY_SIZE(jobs))
		return 1;
	for (int i = 0; i < n; i++) {
		jobs[i].args = a;
		jobs[i].args.ref = argv[optind + i];
		jobs[i].timeout_ms = timeout;
		if (pthread_create(&jobs[i].thread, NULL, pull_one, &jobs[i]))
			return 1;
	}
	for (int i = 0; i < n; i++) {
		pthread_join(jobs[i].thread, NULL);
		if (jobs[i].code < 0)
			fprintf(stderr, "%s\n", err_text(&jobs[i].err));
		else
			printf("%s %s\n", jobs[i].id, jobs[i].ref);
		if (jobs[i].code < 0)
			code = jobs[i].code;
		free(jobs[i].id);
		free(jobs[i].ref);
		err_clear(&jobs[i].err);
	}
	images_stats(images, &st);
	fprintf(stderr, "fetched=%llu reused=%llu shared=%llu\n", (unsigned long long)st.bytes_fetched,
		(unsigned long long)st.layers_reused, (unsigned long long)st.pulls_shared);
	return -code;
}

static void show_list(const char *name, const struct strv *l)
{
	printf(" %s=", name);
	for (size_t i = 0; i < l->n; i++)
		printf("%s%s", i ? "," : "", l->v[i]);
}

static void show(const struct image *im)
{
	printf("%s size=%llu user=%s uid=%lld username=%s pinned=%d workdir=%s stop=%s digest=%s", im->id,
	       (unsigned long long)im->size, im->user, im->has_uid ? (long long)im->uid : -1, im->username, im->pinned,
	       im->workdir, im->stop_signal, im->digest);
	show_list("tags", &im->repo_tags);
	show_list("digests", &im->repo_digests);
	show_list("entrypoint", &im->entrypoint);
	show_list("cmd", &im->cmd);
	show_list("env", &im->env);
	show_list("volumes", &im->volumes);
	printf("\n");
}

static int cmd_list(const char *filter, crio_err *err)
{
	struct image **v;
	size_t n;
	int r = images_list(images, filter, &v, &n, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		show(v[i]);
	images_list_free(v, n);
	return 0;
}

static int cmd_layer(const char *ref, const char *driver, crio_err *err)
{
	cleanup_image_ref struct image *im = NULL;
	struct store *s;
	char layer[65];
	int r = images_get(images, ref, &im, err);

	if (r == 0)
		r = images_container_layer(images, call, im, driver, &s, layer, err);
	if (r == 0)
		printf("%s %s\n", store_root(s), layer);
	return r;
}

static int cmd_tree(const char *ref, const char *dir, bool mount, crio_err *err)
{
	cleanup_image_ref struct image *im = NULL;
	struct store *s;
	char layer[65];
	int r = images_get(images, ref, &im, err);

	if (r == 0)
		r = images_container_layer(images, call, im, "", &s, layer, err);
	if (r == 0)
		r = mount ? store_layer_mount_at(s, call, layer, NULL, NULL, dir, err)
			  : store_layer_unmount_at(s, call, layer, dir, err);
	return r;
}

static int cmd_fsinfo(crio_err *err)
{
	struct image_fs *v;
	size_t n;
	int r = images_fs_info(images, call, &v, &n, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		printf("%s %llu %llu\n", v[i].mountpoint, (unsigned long long)v[i].bytes,
		       (unsigned long long)v[i].inodes);
	image_fs_free(v, n);
	return 0;
}

static int cmd_allowed(const char *ns, const char *ref, crio_err *err)
{
	cleanup_image_ref struct image *im = NULL;
	int r = images_get(images, ref, &im, err);

	return r < 0 ? r : images_check_allowed(images, ns, ref, im, err);
}

static int command(int argc, char **argv, crio_err *err)
{
	const char *c = argv[0], *a = argc > 1 ? argv[1] : NULL, *b = argc > 2 ? argv[2] : NULL;

	if (str_eq(c, "pull"))
		return -cmd_pull(argc, argv);
	if (str_eq(c, "list"))
		return cmd_list(a, err);
	if (str_eq(c, "status") && a) {
		cleanup_image_ref struct image *im = NULL;
		int r = images_get(images, a, &im, err);

		if (r == 0)
			show(im);
		return r;
	}
	if (str_eq(c, "rm") && a)
		return images_remove(images, call, a, err);
	if (str_eq(c, "layer") && b)
		return cmd_layer(a, b, err);
	if (str_eq(c, "tree") && b)
		return cmd_tree(a, b, true, err);
	if (str_eq(c, "untree") && b)
		return cmd_tree(a, b, false, err);
	if (str_eq(c, "allowed") && b)
		return cmd_allowed(a, b, err);
	if (str_eq(c, "fsinfo"))
		return cmd_fsinfo(err);
	return err_set(err, CRIO_E_INVALID, "no such command");
}

static int open_all(const char *config, const struct conf **ret_conf, struct loop **loop, struct workers **workers,
		    struct plugins **plugins, crio_err *err)
{
	struct conf_setting s[] = {{"registries-conf", getenv("REGISTRIES")}, {"registries-conf-dir", ""}};
	struct conf_args ca = {.config = config,
			       .config_dir = "",
			       .storage_conf = "",
			       .settings = s,
			       .n_settings = 1,
			       .flags = CONF_NO_CHECKS | CONF_NO_ENV};
	struct plugins_args pa = {0};
	struct images_args ia = {.auth_file = getenv("AUTH"), .certs_dir = getenv("CERTS")};
	struct conf *conf;
	int r = conf_load(&ca, &conf, err);

	if (r < 0)
		return r;
	*ret_conf = conf;
	r = loop_new(loop, err);
	if (r == 0)
		r = workers_new(workers, err);
	if (r < 0)
		return r;
	pa.dir = conf->plugins.dir;
	pa.options_dir = conf->plugins.options_dir;
	pa.state_dir = conf->plugins.state_dir;
	pa.run_dir = conf->plugins.run_dir;
	pa.loop = *loop;
	pa.workers = *workers;
	r = plugins_new(&pa, plugins, err);
	if (r < 0)
		return r;
	ia.conf = conf;
	ia.plugins = *plugins;
	return images_new(&ia, call, &images, err);
}

int main(int argc, char **argv)
{
	const struct conf *conf = NULL;
	struct loop *loop = NULL;
	struct workers *workers = NULL;
	struct plugins *plugins = NULL;
	crio_err e = ERR_INIT;
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022);
	if (argc < 3)
		return 2;
	if (getenv("DEBUG"))
		log_set_level(LOGL_DEBUG);
	call = call_new("imagectl", now_mono_ns() + 300 * 1000000000LL);
	r = call ? open_all(argv[1], &conf, &loop, &workers, &plugins, &e) : CRIO_E_NOMEM;
	if (r == 0)
		r = command(argc - 2, argv + 2, &e);
	if (r < 0 && e.msg)
		fprintf(stderr, "%s\n", err_text(&e));
	err_clear(&e);
	images_free(images);
	if (plugins)
		plugins_free(plugins);
	if (workers)
		(void)workers_free(workers, 1000000000);
	if (loop)
		loop_free(loop);
	conf_unref(conf);
	call_unref(call);
	return -r;
}
