/* svc_events.c: see events.h. */
#include "core/conf/conf.h"
#include "core/rpc/codec.h"
#include "core/rpc/convert.h"
#include "core/rpc/events.h"
#include "core/rpc/services.h"
#include "core/rpc/stream.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/meter.h"

#define LISTENERS_MAX 64
#define PACK_NS (60 * INT64_C(1000000000))

struct events {
	struct lifecycle *lc;
	pthread_mutex_t lock; /* guards what follows; taken after the lifecycle's own for events */
	struct rpc_stream *v[LISTENERS_MAX]; /* a reference each */
	size_t n;
	bool ended;
};

/* ---- statuses: also of PodSandboxStatus ---- */

struct family {
	struct container **v;
	struct container_status *s;
	size_t n;
};

static void family_release(struct family *f)
{
	for (size_t i = 0; i < f->n; i++) {
		container_status_release(&f->s[i]);
		container_unref(f->v[i]);
	}
	free(f->v);
	free(f->s);
}

static int family_get(crio_call *call, struct pod *p, struct family *f, CRI(ContainerStatus) * **ret, crio_err *err)
{
	CRI(ContainerStatus) **out;
	int r = pod_family(p, &f->v, &f->n, err);

	if (r < 0)
		return r;
	f->s = calloc(f->n + 1, sizeof(*f->s));
	out = call_alloc(call, (f->n + 1) * sizeof(CRI(ContainerStatus) *));
	if (!f->s || !out) {
		for (size_t i = 0; i < f->n; i++)
			container_unref(f->v[i]);
		f->n = 0;
		return err_nomem(err);
	}
	for (size_t i = 0; i < f->n && r == 0; i++) {
		r = container_status_of(f->v[i], false, &f->s[i], err);
		if (r == 0)
			r = convert_container_status_out(call, &f->s[i], &out[i], err);
	}
	*ret = out;
	return r;
}

int rpc_pod_containers(crio_call *call, struct pod *p, CRI(PodSandboxStatusResponse) * r, struct rpc_reply *reply, crio_err *err)
{
	CLEANUP(family_release) struct family f = {0};
	CRI(ContainerStatus) **v = NULL;
	int e = family_get(call, p, &f, &v, err);

	if (e < 0)
		return e;
	r->containers_statuses = v;
	r->n_containers_statuses = f.n;
	r->timestamp = now_real_ns();
	return rpc_reply_pack(reply, &r->base, err);
}

/* ---- one event ---- */

static int pack_with(crio_call *call, CRI(ContainerEventResponse) * m, struct pod *p, struct wire **ret, crio_err *err)
{
	CLEANUP(family_release) struct family f = {0};
	CRI(ContainerStatus) **v = NULL;
	int r = family_get(call, p, &f, &v, err);
	struct wire *w;

	if (r < 0)
		return r;
	m->containers_statuses = v;
	m->n_containers_statuses = f.n;
	w = wire_new(protobuf_c_message_get_packed_size(&m->base));
	if (!w)
		return err_nomem(err);
	(void)protobuf_c_message_pack(&m->base, w->p);
	rpc_wire_fix_utf8(m->base.descriptor, w->p, w->n);
	*ret = w;
	return 0;
}

static int pack(enum lifecycle_event type, struct pod *p, const char *id, int64_t at_ns, struct wire **ret, crio_err *err)
{
	CRI(ContainerEventResponse) m = RUNTIME__V1__CONTAINER_EVENT_RESPONSE__INIT;
	cleanup_call crio_call *call = call_new("GetContainerEvents", now_mono_ns() + PACK_NS);
	struct pod_status s = {0};
	int r;

	if (!call)
		return err_nomem(err);
	r = pod_status_of(p, false, &s, err);
	if (r < 0)
		return r;
	m.container_id = (char *)(uintptr_t)id;
	m.container_event_type = (CRI(ContainerEventType))type;
	m.created_at = at_ns;
	r = convert_pod_status_out(call, &s, &m.pod_sandbox_status, err);
	if (r == 0)
		r = pack_with(call, &m, p, ret, err);
	pod_status_release(&s);
	return r;
}

static size_t listeners(struct events *ev)
{
	cleanup_unlock pthread_mutex_t *l = lock(&ev->lock);
	return ev->n;
}

/* References to those who listen. */
static size_t all(struct events *ev, struct rpc_stream **ret)
{
	cleanup_unlock pthread_mutex_t *l = lock(&ev->lock);
	for (size_t i = 0; i < ev->n; i++)
		ret[i] = rpc_stream_ref(ev->v[i]);
	return ev->n;
}

static void on_event(void *arg, enum lifecycle_event type, struct pod *p, const char *id, int64_t at_ns)
{
	static const char *const words[] = {"created", "started", "stopped", "deleted"};
	struct events *ev = arg;
	struct rpc_stream *v[LISTENERS_MAX];
	cleanup_err crio_err err = ERR_INIT;
	struct wire *w = NULL;
	size_t n;

	if (!listeners(ev))
		return;
	if (pack(type, p, id, at_ns, &w, &err) < 0) {
		log_error("Event '%s' of %s is lost: %s", words[type], id, err_text(&err));
		return;
	}
	n = all(ev, v);
	for (size_t i = 0; i < n; i++) {
		if (!rpc_stream_send(v[i], w)) {
			log_warn("Event '%s' of %s does not reach a client, which has gone or reads too slowly", words[type], id);
			meter_add(METER_EVENTS_DROPPED, 1);
		}
		rpc_stream_unref(v[i]);
	}
	wire_unref(w);
}

/* ---- who listens ---- */

static void on_gone(void *arg, struct rpc_stream *st)
{
	struct events *ev = arg;
	bool was = false;

	(void)pthread_mutex_lock(&ev->lock);
	for (size_t i = 0; i < ev->n && !was; i++) {
		was = ev->v[i] == st;
		if (was)
			ev->v[i] = ev->v[--ev->n];
	}
	(void)pthread_mutex_unlock(&ev->lock);
	if (was)
		rpc_stream_unref(st);
}

RPC_HANDLER(rpc_container_events)
{
	struct events *ev = env->events;
	struct rpc_stream *st = NULL;
	bool enabled = env->conf->runtime.enable_pod_events;
	int r = rpc_stream_open(env, on_gone, ev, &st, err);

	(void)call, (void)req, (void)reply;
	if (r < 0)
		return r;
	if (!enabled) {
		rpc_stream_end(st, 0, NULL);
		rpc_stream_unref(st);
		return 0;
	}
	(void)pthread_mutex_lock(&ev->lock);
	if (ev->ended)
		r = err_set(err, CRIO_E_UNAVAILABLE, "crio is ending");
	else if (ev->n == LISTENERS_MAX)
		r = err_set(err, CRIO_E_EXHAUSTED, "%d clients listen to events already", LISTENERS_MAX);
	else
		ev->v[ev->n++] = st;
	(void)pthread_mutex_unlock(&ev->lock);
	if (r < 0)
		rpc_stream_unref(st);
	return r;
}

int events_new(struct lifecycle *lc, struct events **ret, crio_err *err)
{
	struct events *ev = calloc(1, sizeof(*ev));

	if (!ev)
		return err_nomem(err);
	ev->lc = lc;
	(void)pthread_mutex_init(&ev->lock, NULL);
	lifecycle_listen(lc, on_event, ev);
	*ret = ev;
	return 0;
}

void events_end(struct events *ev)
{
	struct rpc_stream *v[LISTENERS_MAX];
	size_t n;

	if (!ev)
		return;
	lifecycle_listen(ev->lc, NULL, NULL);
	(void)pthread_mutex_lock(&ev->lock);
	ev->ended = true;
	(void)pthread_mutex_unlock(&ev->lock);
	n = all(ev, v);
	for (size_t i = 0; i < n; i++) {
		rpc_stream_end(v[i], CRIO_E_UNAVAILABLE, "crio is ending");
		rpc_stream_unref(v[i]);
	}
}

void events_free(struct events *ev)
{
	if (!ev)
		return;
	for (size_t i = 0; i < ev->n; i++)
		rpc_stream_unref(ev->v[i]);
	(void)pthread_mutex_destroy(&ev->lock);
	free(ev);
}
