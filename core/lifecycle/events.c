/* events.c: what runtime plugins report. Called on their threads or the loop's: only fields are set, the rest is a job. */
#include "core/lifecycle/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/meter.h"

static void save_job(void *arg)
{
	cleanup_any_container struct container *c = arg;
	cleanup_err crio_err err = ERR_INIT;
	(void)pthread_mutex_lock(&c->lock);
	bool removed = c->removed;
	(void)pthread_mutex_unlock(&c->lock);
	/* The directory goes with the container; a lost race with its removal is no loss. */
	container_end_execs(c, NULL);
	if (!removed && container_write_state(c, &err) < 0 && err.code != CRIO_E_NOT_FOUND)
		log_warn("Record the exit of container %s: %s", c->id, err_text(&err));
	if (c->is_infra)
		tell_pod(c->pod, EVENT_STOPPED);
	else
		tell_container(c, EVENT_STOPPED);
}

static void count_oom(const struct container *c)
{
	meter_add(METER_OOM, 1);
	meter_add_for(METER_OOM_COUNT, 1, c->name, NULL);
}

void container_exited(struct container *c, int32_t code, int64_t finished_ns, bool oom)
{
	cleanup_unlock pthread_mutex_t *l = lock(&c->lock);
	if (c->state == CONTAINER_EXITED)
		return;
	c->state = CONTAINER_EXITED;
	c->exit_code = code;
	c->finished_ns = finished_ns > 0 ? finished_ns : now_real_ns();
	if (c->finished_ns < c->started_ns)
		c->finished_ns = c->started_ns; /* file times are of a coarser clock */
	c->oom = c->oom || oom;
	if (c->oom)
		count_oom(c);
	c->pid = 0;
	c->paused = false;
	container_changed(c);
}

static void on_exit_event(struct lifecycle *lc, const struct crio_event_exit *e)
{
	cleanup_any_container struct container *c = registry_any_container(lc, e->id);
	if (!c)
		return; /* of a creation that failed, or removed meanwhile */
	container_exited(c, e->exit_code, e->time_ns, e->oom);
	log_debug("Container %s exited with code %d%s", e->id, e->exit_code, e->oom ? " (out of memory)" : "");
	if (c->is_infra) {
		(void)pthread_mutex_lock(&c->pod->lock);
		pod_changed(c->pod);
		(void)pthread_mutex_unlock(&c->pod->lock);
	}
	if (workers_run(lc->workers, WORK_TEARDOWN, save_job, registry_any_ref(c), NULL) < 0)
		save_job(c); /* the reference was taken for it */
}

static void on_oom(struct lifecycle *lc, const struct crio_event_exit *e)
{
	cleanup_any_container struct container *c = registry_any_container(lc, e->id);
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->lock);
	if (c->state == CONTAINER_EXITED && !c->oom) /* its exit was told first */
		count_oom(c);
	c->oom = true;
	container_changed(c);
	(void)pthread_mutex_unlock(&c->lock);
}

static void kill_job(void *arg)
{
	struct container *c = arg;
	cleanup_call crio_call *call = call_new("MonitorDied", now_mono_ns() + CLEANUP_NS);
	cleanup_err crio_err err = ERR_INIT;
	if (call && container_do_stop(c, call, 0, &err) < 0)
		log_warn("End container %s, whose monitor died: %s", c->id, err_text(&err));
	registry_any_unref(c);
}

/* Without a monitor nobody reads its output or learns its exit code: CRI-O ends such a container, and so do we. */
static void on_monitor_died(struct lifecycle *lc, const struct crio_event_exit *e)
{
	struct container *c = registry_any_container(lc, e->id);
	if (!c)
		return;
	log_error("Conmon for container %s is stopped, although the container is running: it is ended", e->id);
	meter_add_for(METER_MONITOR_STOPPED, 1, c->name, NULL);
	if (workers_run(lc->workers, WORK_TEARDOWN, kill_job, c, NULL) < 0)
		registry_any_unref(c);
}

void lifecycle_on_event(void *arg, struct plugin_inst *in, int type, const void *event)
{
	(void)in;
	switch (type) {
	case CRIO_EVENT_EXIT:
		on_exit_event(arg, event);
		break;
	case CRIO_EVENT_OOM:
		on_oom(arg, event);
		break;
	case CRIO_EVENT_MONITOR_DIED:
		on_monitor_died(arg, event);
		break;
	default:
		break;
	}
}
