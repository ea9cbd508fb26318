#include "core/daemon.h"

#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "core/alone.h"
#include "core/exec/loop.h"
#include "core/exec/workers.h"
#include "core/image/image.h"
#include "core/kubens.h"
#include "core/lifecycle/lifecycle.h"
#include "core/lifecycle/marks.h"
#include "core/lifecycle/wipe.h"
#include "core/observe/server.h"
#include "core/plugin/plugins.h"
#include "core/rpc/method.h"
#include "core/rpc/rpc.h"
#include "core/stream/server.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/mem.h"
#include "core/watchdog.h"

#define STOP_GRACE_MS 5000
#define WORKERS_END_NS (10 * 1000000000LL)
#define QUIET_NS (2 * 1000000000LL) /* for what goes on without a client, once the calls have had their grace */
#define START_NS (10 * 60 * 1000000000LL)

struct daemon {
	const struct conf *conf; /* the one in force; a reference once it was reloaded */
	const struct conf_args *args;
	struct alone alone;
	struct marks marks;      /* what the last run left */
	bool orderly;            /* it has served, and ends since it was asked to */
	crio_call *start;        /* bounds what happens at start */
	char *self;              /* our own program, for probing plugins */
	struct loop *loop;
	struct workers *workers;
	struct plugins *plugins;
	struct images *images;
	struct lifecycle *lifecycle;
	struct observe *observe; /* NULL: no metrics are served */
	struct stream_server *streams;
	struct rpc_server *rpc;
	struct watchdog *watchdog;
};

/* ---- steps ---- */

static int init_log(struct daemon *d, crio_err *err)
{
	log_set_level(d->conf->runtime.log_level);
	log_set_json(d->conf->flags.log_format == CONF_LOG_JSON);
	int r = log_set_filter(d->conf->runtime.log_filter, err);
	if (r == 0)
		r = log_set_file(d->conf->flags.log, err);
	if (r == 0)
		kubens_log();
	/* Said here, as the configuration was read before the level was known. */
	for (size_t i = 0; r == 0 && i < d->conf->runtime.n_runtimes; i++)
		log_debug("Runtime handler \"%s\" container minimum memory set to %lld bytes", d->conf->runtime.runtimes[i].name,
			  (long long)d->conf->runtime.runtimes[i].container_min_memory_bytes);
	return r;
}

static void end_nothing(struct daemon *d)
{
	(void)d;
}

static int init_alone(struct daemon *d, crio_err *err)
{
	return alone_init(&d->alone, d->conf, err);
}

static void end_alone(struct daemon *d)
{
	alone_release(&d->alone);
}

static int init_process(struct daemon *d, crio_err *err)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022);
	/* Nobody of our own user may trace us or read our memory: it has registry credentials. */
	(void)prctl(PR_SET_DUMPABLE, 0);
	/* Threads come and go with requests: more arenas would only keep freed memory. */
	(void)mallopt(M_ARENA_MAX, 2);
	(void)mallopt(M_TRIM_THRESHOLD, 256 * 1024);
	struct rlimit nofile;
	if (getrlimit(RLIMIT_NOFILE, &nofile) == 0 && nofile.rlim_cur < nofile.rlim_max) {
		nofile.rlim_cur = nofile.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &nofile);
	}
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n <= 0)
		return err_errno(err, errno, "find our own program");
	exe[n] = '\0';
	d->self = strdup(exe);
	d->start = call_new("Start", now_mono_ns() + START_NS);
	return d->self && d->start ? 0 : err_nomem(err);
}

static void end_process(struct daemon *d)
{
	free(d->self);
	call_unref(d->start);
}

static int init_marks(struct daemon *d, crio_err *err)
{
	marks_read(d->conf, &d->marks);
	return marks_begin(d->conf, err);
}

static void end_marks(struct daemon *d)
{
	cleanup_err crio_err err = ERR_INIT;
	if (d->orderly && marks_end(d->conf, &err) < 0)
		log_error("The next start will take this end for a crash: %s", err_text(&err));
}

static int init_loop(struct daemon *d, crio_err *err)
{
	return loop_new(&d->loop, err);
}

static void end_loop(struct daemon *d)
{
	loop_free(d->loop);
}

static int init_workers(struct daemon *d, crio_err *err)
{
	return workers_new(&d->workers, err);
}

static void end_workers(struct daemon *d)
{
	int left = workers_free(d->workers, WORKERS_END_NS);
	if (left)
		log_warn("%d threads did not end", left);
}

static int init_plugins(struct daemon *d, crio_err *err)
{
	const struct conf_plugins *c = &d->conf->plugins;
	struct plugins_args a = { .dir = c->dir,
				  .options_dir = c->options_dir,
				  .state_dir = c->state_dir,
				  .run_dir = c->run_dir,
				  .probe_path = d->self,
				  .remember = true,
				  .loop = d->loop,
				  .workers = d->workers };
	return plugins_new(&a, &d->plugins, err);
}

static void end_plugins(struct daemon *d)
{
	plugins_free(d->plugins);
}

static int init_images(struct daemon *d, crio_err *err)
{
	struct images_args a = { .conf = d->conf, .plugins = d->plugins };
	int r = images_new(&a, d->start, &d->images, err);
	if (r < 0 || !d->marks.unclean || !d->conf->crio.internal_repair)
		return r;
	CLEANUP(wipe_findings_release) struct wipe_findings f = { .hopeless = false };
	cleanup_err crio_err why = ERR_INIT;
	log_warn("Checking storage directory %s for errors because of unclean shutdown", d->conf->crio.root);
	if (wipe_repair(d->images, d->start, &f, &why) < 0)
		log_error("Check the storage: %s", err_text(&why));
	if (!f.hopeless || !d->marks.rebooted)
		return 0; /* containers may run: what works of it is better than nothing */
	log_warn("Wiping storage directory %s because of unclean shutdown", d->conf->crio.root);
	r = wipe_stores(&d->images, d->start, false, err);
	return r < 0 ? r : images_new(&a, d->start, &d->images, err);
}

static void end_images(struct daemon *d)
{
	images_free(d->images);
}

static int init_lifecycle(struct daemon *d, crio_err *err)
{
	struct lifecycle_args a = {
		.conf = d->conf, .images = d->images, .plugins = d->plugins, .loop = d->loop, .workers = d->workers,
		.rebooted = d->marks.rebooted, .upgraded = d->marks.upgraded
	};
	int r = lifecycle_new(&a, d->start, &d->lifecycle, err);
	return r < 0 ? r : marks_versions(d->conf, err);
}

static void end_lifecycle(struct daemon *d)
{
	lifecycle_free(d->lifecycle);
}

static int init_observe(struct daemon *d, crio_err *err)
{
	struct observe_args a = { .conf = d->conf, .workers = d->workers, .plugins = d->plugins };
	return d->conf->metrics.enable_metrics ? observe_new(&a, &d->observe, err) : 0;
}

static void end_observe(struct daemon *d)
{
	observe_free(d->observe);
}

static int init_streams(struct daemon *d, crio_err *err)
{
	struct stream_args a = { .conf = d->conf, .lifecycle = d->lifecycle, .workers = d->workers };
	return stream_server_new(&a, &d->streams, err);
}

static void end_streams(struct daemon *d)
{
	stream_server_free(d->streams);
}

static int init_rpc(struct daemon *d, crio_err *err)
{
	const struct conf_api *c = &d->conf->api;
	struct rpc_args a = { .conf = d->conf,
			      .lifecycle = d->lifecycle,
			      .images = d->images,
			      .plugins = d->plugins,
			      .streams = d->streams,
			      .workers = d->workers,
			      .socket_path = c->listen,
			      .methods = rpc_cri_methods,
			      .n_methods = rpc_cri_n_methods,
			      .max_recv_bytes = (uint32_t)(c->grpc_max_recv_msg_size < UINT32_MAX ? c->grpc_max_recv_msg_size : INT32_MAX),
			      .max_send_bytes = (uint32_t)(c->grpc_max_send_msg_size < UINT32_MAX ? c->grpc_max_send_msg_size : INT32_MAX) };
	int r = rpc_server_new(&a, &d->rpc, err);
	if (r == 0)
		r = rpc_server_start(d->rpc, err);
	return r;
}

static void end_rpc(struct daemon *d)
{
	if (!d->rpc)
		return;
	/* First, so that what runs for clients ends while calls do. */
	unsigned streams = stream_server_stop(d->streams, STOP_GRACE_MS);
	if (streams)
		log_warn("%u streams were still at work at the end", streams);
	int left = rpc_server_stop(d->rpc, STOP_GRACE_MS);
	if (left)
		log_warn("%d calls were still running at the end", left);
	rpc_server_free(d->rpc);
}

static int init_watchdog(struct daemon *d, crio_err *err)
{
	return watchdog_new(d->loop, d->workers, d->conf->api.listen, &d->watchdog, err);
}

static void end_watchdog(struct daemon *d)
{
	watchdog_free(d->watchdog);
}

static const struct step {
	const char *name;
	int (*init)(struct daemon *d, crio_err *err);
	void (*end)(struct daemon *d);
} steps[] = {
	{ "the log", init_log, end_nothing },
	{ "process", init_process, end_process },
	{ "as the only daemon", init_alone, end_alone },
	{ "marks of the last run", init_marks, end_marks },
	{ "event loop", init_loop, end_loop },
	{ "workers", init_workers, end_workers },
	{ "plugins", init_plugins, end_plugins },
	{ "images", init_images, end_images },
	{ "pods and containers", init_lifecycle, end_lifecycle },
	{ "metrics endpoint", init_observe, end_observe },
	{ "streaming server", init_streams, end_streams },
	{ "CRI server", init_rpc, end_rpc },
	{ "watchdog", init_watchdog, end_watchdog },
};

/* ---- running ---- */

static void notify(const char *what)
{
#ifdef HAVE_SYSTEMD
	(void)sd_notify(0, what);
#else
	(void)what;
#endif
}

static void rescan_job(void *arg)
{
	plugins_rescan(arg);
}

static void reload_job(void *arg)
{
	struct daemon *d = arg;
	plugins_rescan(d->plugins);
	plugins_reload(d->plugins);
	lifecycle_reload_hooks(d->lifecycle);
}

static void reload(struct daemon *d)
{
	const struct conf *old = d->conf;
	struct conf *now = NULL;
	cleanup_err crio_err err = ERR_INIT;
	notify("RELOADING=1");
	if (conf_reload(old, d->args, &now, &err) < 0) {
		log_error("unable to reload configuration: %s", err_text(&err));
		notify("READY=1");
		return;
	}
	log_set_level(now->runtime.log_level);
	if (log_set_filter(now->runtime.log_filter, &err) < 0 || images_reload(d->images, now, &err) < 0 ||
	    lifecycle_set_conf(d->lifecycle, now, &err) < 0)
		log_error("unable to reload configuration: %s", err_text(&err));
	rpc_server_set_conf(d->rpc, now);
	if (d->observe)
		observe_set_conf(d->observe, now);
	d->conf = now;
	conf_unref(old);
	(void)workers_run(d->workers, WORK_IMAGE, reload_job, d, NULL);
	log_info("Configuration reload completed");
	notify("READY=1");
}

static void serve(struct daemon *d, const sigset_t *signals)
{
	for (;;) {
		int sig = sigwaitinfo(signals, NULL);
		if (sig < 0)
			continue;
		if (sig == SIGHUP) {
			reload(d);
			continue;
		}
		if (sig == SIGUSR2) {
			(void)malloc_trim(0);
			continue;
		}
		if (sig == SIGTERM || sig == SIGINT) {
			log_info("Ending on signal %d; containers go on", sig);
			notify("STOPPING=1");
			return;
		}
	}
}

int daemon_run(const struct conf *conf, const struct conf_args *args, crio_err *err)
{
	struct daemon d = { .conf = conf_ref(conf), .args = args };
	/* Blocked before the first thread is made, so that only sigwaitinfo here takes them. */
	sigset_t signals;
	(void)sigemptyset(&signals);
	static const int wanted[] = { SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2 };
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		(void)sigaddset(&signals, wanted[i]);
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);

	size_t done = 0;
	int r = 0;
	for (; done < ARRAY_SIZE(steps); done++) {
		r = steps[done].init(&d, err);
		if (r < 0) {
			(void)err_wrap(err, "start %s", steps[done].name);
			done++; /* its end copes with a half-made part */
			break;
		}
	}
	if (r == 0) {
		mem_give_back();
		notify("READY=1");
		log_info("crio serves on %s", d.conf->api.listen);
		/* New files are looked at beside serving, so that an operator sees at once which are refused. */
		(void)workers_run(d.workers, WORK_IMAGE, rescan_job, d.plugins, NULL);
		serve(&d, &signals);
		d.orderly = true;
	}
	/* The order of the steps is also the order of use: pods before the workers that serve them is the one exception, which
	 * lifecycle_free copes with. */
	if (done == ARRAY_SIZE(steps)) {
		steps[--done].end(&d); /* who looks at the server, and the server */
		steps[--done].end(&d);
		lifecycle_stop_measuring(d.lifecycle);
		int busy = workers_quiet(d.workers, QUIET_NS);
		if (busy) {
			/* They may hang in a plugin or a program for minutes and use all that would be freed below. Every step of their
			 * work is one that the next start finishes or takes back. */
			log_warn("%d jobs are still at work at the end: they are cut off, and the next start puts in order what they leave",
				 busy);
			_exit(0);
		}
	}
	while (done > 0)
		steps[--done].end(&d);
	conf_unref(d.conf);
	return r;
}
