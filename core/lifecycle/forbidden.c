/* forbidden.c: what becomes of containers whose forbidden system calls the seccomp notifier hears of (notifier.h). */
#include "core/lifecycle/inner.h"
#include "core/lifecycle/notifier.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define NOTIFIER_TOP_MAX 30u /* of a socket's 107 characters, "/seccomp/", an id and ".tmp" take 77 */

struct verdict {
	struct container *c; /* a reference */
	char *message;
};

/* True: it runs, and is marked as ended for this. */
static bool mark(struct container *c, char **message)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	if (c->state != CONTAINER_RUNNING || c->removed)
		return false;
	c->seccomp_killed = true;
	free(c->message);
	c->message = move_ptr(*message);
	container_changed(c);
	return true;
}

static void stop_job(void *arg)
{
	struct verdict *v = arg;
	cleanup_call crio_call *call = call_new("SeccompNotifier", now_mono_ns() + CLEANUP_NS);
	cleanup_err crio_err err = ERR_INIT;
	if (call && mark(v->c, &v->message)) {
		log_info("Seccomp notifier timer expired, stopping container %s: %s", v->c->id, v->c->message);
		if (container_do_stop(v->c, call, 0, &err) < 0)
			log_error("Unable to stop container %s, which used forbidden system calls: %s", v->c->id, err_text(&err));
	}
	container_unref(v->c);
	free(v->message);
	free(v);
}

static void on_due(void *arg, const char *id, const char *used)
{
	struct lifecycle *lc = arg;
	struct verdict *v = calloc(1, sizeof(*v));
	if (v) {
		v->c = registry_whole_container(lc, id);
		v->message = path_fmt("Used forbidden syscalls: %s", used);
	}
	if (v && v->c && v->message && workers_run(lc->workers, WORK_TEARDOWN, stop_job, v, NULL) == 0)
		return;
	/* Its next call, or its next process's, makes it due again. */
	log_error("Container %s, which used forbidden system calls (%s), is not there or cannot be stopped for want of memory", id, used);
	if (v && v->c)
		container_unref(v->c);
	if (v)
		free(v->message);
	free(v);
}

int forbidden_init(struct lifecycle *lc, crio_err *err)
{
	/* CRI-O's place, which this is by default; and where the configured one has no room for a socket's path. */
	const char *top = lc->conf->runtime.container_attach_socket_dir;
	cleanup_free char *dir = path_fmt("%s/seccomp", strlen(top) < NOTIFIER_TOP_MAX ? top : "/var/run/crio");
	struct notifiers_args a = { .loop = lc->loop, .dir = dir, .due = on_due, .arg = lc };
	return dir ? notifiers_new(&a, &lc->notifiers, err) : err_nomem(err);
}

void forbidden_recover(struct container *c, struct json_object *spec)
{
	cleanup_free char *path = notifier_path(c->lc->notifiers, c->id);
	cleanup_err crio_err err = ERR_INIT;
	const char *action = notifier_action(&c->pod->config.annotations, c->config.meta.name);
	if (!path || c->state == CONTAINER_EXITED || !str_eq(json_str(json_obj(json_obj(spec, "linux"), "seccomp"), "listenerPath"), path))
		return;
	/* Without a listener nothing could be started in it. */
	if (notifier_add(c->lc->notifiers, c->id, c->name, action && str_eq(action, "stop"), &err) < 0)
		log_warn("Nothing can be started in container %s: %s", c->id, err_text(&err));
}
