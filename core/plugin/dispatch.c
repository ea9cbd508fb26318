/*
 * dispatch.c: the wrappers of ops.h. An operation runs on a thread of its own class (WORK_PLUGIN) so that the caller can
 * leave at its deadline; what the plugin was given is a copy that lives as long as the plugin's thread needs it.
 */
#include <time.h>

#include "core/plugin/inner.h"
#include "core/util/failpoint.h"
#include "core/util/fs.h"
#include "core/util/log.h"

/* How long after its deadline, or after its caller gave up, a plugin may still take to return by itself. */
#define GRACE_DEADLINE_NS (500 * 1000000LL)
#define GRACE_CANCEL_NS (2000 * 1000000LL)

#define CRIO_KIND_runtime CRIO_KIND_RUNTIME
#define CRIO_KIND_storage CRIO_KIND_STORAGE
#define CRIO_KIND_network CRIO_KIND_NETWORK
#define CRIO_KIND_hook CRIO_KIND_HOOK
#define NONE_ID size /* at offset 0, which no id has */

#define OP(kind, op, class, args_t, out_t, id_field)                                                                  \
	static int run_##kind##_##op(const void *ops, void *self, crio_call *call, const void *args, void *out,       \
				     crio_err *err)                                                                   \
	{                                                                                                             \
		return ((const struct crio_##kind##_ops *)ops)->op(self, call, args, out, err);                       \
	}
#include "core/plugin/ops.def"
#undef OP

const struct op_desc op_descs[OP_COUNT] = {
#define OP(k, o, c, a, r, i)                                                                                          \
	[OP_##k##_##o] = { CRIO_KIND_##k, #o, CLASS_##c, offsetof(struct crio_##k##_ops, o), sizeof(struct crio_##a), \
			   sizeof(struct crio_##r), offsetof(struct crio_##a, i), fields_##a, fields_##r, run_##k##_##o },
#include "core/plugin/ops.def"
#undef OP
};

#ifdef CRIO_FAILPOINTS
static struct failpoint op_points[OP_COUNT][2] = {
#define OP(k, o, c, a, r, i) [OP_##k##_##o] = { { #k "." #o ".before", 0 }, { #k "." #o ".after", 0 } },
#include "core/plugin/ops.def"
#undef OP
};
#define OP(k, o, c, a, r, i)                                                                                           \
	static struct failpoint *known_##k##_##o[] __attribute__((section("failpoints"), used)) = {                    \
		&op_points[OP_##k##_##o][0], &op_points[OP_##k##_##o][1]                                               \
	};
#include "core/plugin/ops.def"
#undef OP
#define OP_POINT(index, after, err) failpoint_pass(&op_points[index][after], err)
#else
#define OP_POINT(index, after, err) 0
#endif

/* One operation under way, shared by the caller and the plugin's thread. */
struct flight {
	_Atomic int refs;
	struct plugin_inst *in;
	const struct op_desc *op;
	crio_call *call;
	void *args, *out;
	struct object *obj; /* NULL: not limited by the thread model */
	pthread_mutex_t lock;
	pthread_cond_t done_cond;
	bool done, abandoned;
	int result;
	crio_err err;
};

static void flight_unref(struct flight *f)
{
	if (atomic_fetch_sub(&f->refs, 1) > 1)
		return;
	(void)pthread_mutex_destroy(&f->lock);
	(void)pthread_cond_destroy(&f->done_cond);
	err_clear(&f->err);
	call_unref(f->call);
	plugin_inst_unref(f->in);
	free(f);
}

/* ---- the thread model ---- */

static struct object *object_get(struct plugin_inst *in, const char *id)
{
	struct object *o = in->objects;
	while (o && strcmp(o->id, id))
		o = o->next;
	if (o)
		return o;
	o = calloc(1, sizeof(*o));
	if (!o || !(o->id = strdup(id))) {
		free(o);
		return NULL;
	}
	o->next = in->objects;
	in->objects = o;
	return o;
}

static void object_put(struct plugin_inst *in, struct object *o)
{
	if (o->busy[0] || o->busy[1] || o->waiters)
		return;
	for (struct object **pp = &in->objects; *pp; pp = &(*pp)->next) {
		if (*pp == o) {
			*pp = o->next;
			break;
		}
	}
	free(o->id);
	free(o);
}

static void wake_waiters(void *arg)
{
	struct plugin_inst *in = arg;
	(void)pthread_mutex_lock(&in->lock);
	(void)pthread_cond_broadcast(&in->changed);
	(void)pthread_mutex_unlock(&in->lock);
}

static struct timespec to_ts(int64_t mono_ns)
{
	struct timespec ts = { mono_ns / 1000000000, mono_ns % 1000000000 };
	return ts;
}

/* Waits for the object's turn. Called with in->lock. */
static int wait_turn(struct plugin_inst *in, struct object *o, int slot, const struct op_desc *op, crio_call *call, crio_err *err)
{
	while (o->busy[slot]) {
		if (o->stuck[slot])
			return err_set(err, CRIO_E_UNAVAILABLE, "plugin %s: '%s' is still in an operation that did not return",
				       in->mod->name, o->id);
		cleanup_free char *what = path_fmt("wait for plugin %s to be free for %s", in->mod->name, op->name);
		int r = call_check(call, what ? what : "wait for a plugin", err);
		if (r < 0)
			return r;
		if (call_deadline(call) == CALL_NO_DEADLINE) {
			(void)pthread_cond_wait(&in->changed, &in->lock);
		} else {
			struct timespec ts = to_ts(call_deadline(call));
			(void)pthread_cond_timedwait(&in->changed, &in->lock, &ts);
		}
	}
	return 0;
}

static int slot_of(const struct op_desc *op)
{
	return op->class == CLASS_MAIN ? 0 : 1;
}

static int take_turn(struct plugin_inst *in, const struct op_desc *op, const char *id, crio_call *call, struct object **ret,
		     crio_err *err)
{
	uint32_t model = in->mod->desc.threads;
	*ret = NULL;
	if (model == CRIO_THREADS_PARALLEL || (model == CRIO_THREADS_PER_OBJECT && (op->class == CLASS_FREE || !id)))
		return 0;
	int slot = slot_of(op);
	(void)pthread_mutex_lock(&in->lock);
	struct object *o = object_get(in, model == CRIO_THREADS_SERIAL ? "" : id);
	int r = 0;
	if (!o) {
		r = err_nomem(err);
	} else if (!o->busy[slot]) {
		o->busy[slot] = true;
	} else {
		o->waiters++;
		(void)pthread_mutex_unlock(&in->lock);
		int watch = call_on_cancel(call, wake_waiters, in, NULL);
		(void)pthread_mutex_lock(&in->lock);
		r = wait_turn(in, o, slot, op, call, err);
		o->waiters--;
		if (r == 0)
			o->busy[slot] = true;
		else
			object_put(in, o);
		(void)pthread_mutex_unlock(&in->lock);
		if (watch > 0)
			call_off_cancel(call, watch);
		(void)pthread_mutex_lock(&in->lock);
	}
	(void)pthread_mutex_unlock(&in->lock);
	if (r == 0)
		*ret = o;
	return r;
}

/* f->obj is read and cleared under in->lock: a caller that abandons the flight may look at it at the same time. */
static void give_turn(struct flight *f)
{
	struct plugin_inst *in = f->in;
	cleanup_unlock pthread_mutex_t *l = lock(&in->lock);
	struct object *o = f->obj;
	if (!o)
		return;
	f->obj = NULL;
	o->busy[slot_of(f->op)] = false;
	o->stuck[slot_of(f->op)] = false;
	(void)pthread_cond_broadcast(&in->changed);
	object_put(in, o);
}

/* ---- running ---- */

static void measure(struct plugin_inst *in, const struct op_desc *op, int64_t ns, bool failed)
{
	struct op_stats *s = &in->stats[op - op_descs];
	atomic_fetch_add(&s->calls, 1);
	if (failed)
		atomic_fetch_add(&s->failures, 1);
	atomic_fetch_add(&s->total_ns, (uint64_t)ns);
	uint64_t max = atomic_load(&s->max_ns);
	while ((uint64_t)ns > max && !atomic_compare_exchange_weak(&s->max_ns, &max, (uint64_t)ns))
		;
}

/* A plugin that breaks the rules: they are kept on our side. */
static int mend(const struct flight *f, int r, crio_err *err)
{
	const struct plugins *host = f->in->host;
	const char *what = r > 0 ? "it returned a positive number" : r == 0 && err->code ? "it succeeded, but set an error" :
			   r < 0 && !err->code ? "it failed without saying why" : NULL;
	if (!what)
		return r;
	if (host->args.breach)
		host->args.breach(host->args.breach_arg, f->op->name, what);
	if (r < 0)
		return err_set(err, r, "plugin %s: %s failed without saying why", f->in->mod->name, f->op->name);
	return err->code ? err->code : 0;
}

static void fly(void *arg)
{
	struct flight *f = arg;
	struct plugin_inst *in = f->in;
	crio_err err = ERR_INIT;
	int64_t t = now_mono_ns();
	int r = OP_POINT(f->op - op_descs, 0, &err);
	r = r < 0 ? r : f->op->run(&in->mod->ops, in->self, f->call, f->args, f->out, &err);
	if (r == 0 && OP_POINT(f->op - op_descs, 1, &err) < 0) {
		fields_close(f->op->out, f->out);
		r = CRIO_E_IO;
	}
	measure(in, f->op, now_mono_ns() - t, r < 0);
	r = mend(f, r, &err);
	fields_close(f->op->args, f->args);
	give_turn(f);
	(void)pthread_mutex_lock(&f->lock);
	f->done = true;
	f->result = r;
	(void)err_move(&f->err, &err);
	bool abandoned = f->abandoned;
	(void)pthread_cond_signal(&f->done_cond);
	(void)pthread_mutex_unlock(&f->lock);
	if (abandoned) {
		if (r == 0)
			fields_close(f->op->out, f->out);
		log_warn("plugin %s: %s returned at last (%s)", in->mod->name, f->op->name, r < 0 ? err_text(&f->err) : "success");
		(void)pthread_mutex_lock(&in->lock);
		in->stuck--;
		(void)pthread_mutex_unlock(&in->lock);
		workers_abandon(in->host->args.workers, WORK_PLUGIN, -1);
	}
	flight_unref(f);
}

int plugin_inst_call_reload(struct plugin_inst *in, crio_call *call, crio_err *err)
{
	static const struct op_desc op = { .name = "reload", .class = CLASS_MAIN };
	struct flight f = { .in = in, .op = &op };
	int r = take_turn(in, &op, NULL, call, &f.obj, err);
	if (r < 0)
		return r;
	cleanup_err crio_err why = ERR_INIT;
	r = in->mod->desc.reload(in->self, call, &why);
	r = mend(&f, r, &why);
	give_turn(&f);
	return r < 0 ? err_move(err, &why) : 0;
}

static void on_cancel(void *arg)
{
	struct flight *f = arg;
	(void)pthread_mutex_lock(&f->lock);
	(void)pthread_cond_signal(&f->done_cond);
	(void)pthread_mutex_unlock(&f->lock);
}

/* Waits for the plugin, at most until the call is over plus a grace. True: it has returned. */
static bool wait_flight(struct flight *f)
{
	cleanup_unlock pthread_mutex_t *l = lock(&f->lock);
	int64_t give_up = 0; /* set once the call is over */
	while (!f->done) {
		int64_t until = CALL_NO_DEADLINE;
		if (give_up) {
			until = give_up;
		} else if (call_over(f->call)) {
			bool late = call_left_ns(f->call) == 0;
			give_up = now_mono_ns() + (late ? GRACE_DEADLINE_NS : GRACE_CANCEL_NS);
			until = give_up;
		} else {
			until = call_deadline(f->call);
		}
		if (give_up && now_mono_ns() >= give_up) {
			f->abandoned = true;
			return false;
		}
		if (until == CALL_NO_DEADLINE) {
			(void)pthread_cond_wait(&f->done_cond, &f->lock);
		} else {
			struct timespec ts = to_ts(until);
			(void)pthread_cond_timedwait(&f->done_cond, &f->lock, &ts);
		}
	}
	return true;
}

static int abandon(struct flight *f, crio_err *err)
{
	struct plugin_inst *in = f->in;
	(void)pthread_mutex_lock(&in->lock);
	in->stuck++;
	int stuck = in->stuck;
	if (f->obj) {
		f->obj->stuck[slot_of(f->op)] = true;
		(void)pthread_cond_broadcast(&in->changed);
	}
	(void)pthread_mutex_unlock(&in->lock);
	workers_abandon(in->host->args.workers, WORK_PLUGIN, 1);
	log_warn("plugin %s: %s did not return in time; its thread is left to itself (%d in instance '%s')", in->mod->name,
		 f->op->name, stuck, in->name);
	bool late = call_left_ns(f->call) == 0;
	return err_set(err, late ? CRIO_E_DEADLINE : CRIO_E_CANCELLED, "plugin %s: %s did not return in time", in->mod->name,
		       f->op->name);
}

static struct flight *flight_new(struct plugin_inst *in, const struct op_desc *op, crio_call *call, const void *args,
				 crio_err *err)
{
	struct flight *f = calloc(1, sizeof(*f));
	if (!f) {
		(void)err_nomem(err);
		return NULL;
	}
	int e = ENOMEM;
	f->out = call_alloc(call, op->out_size);
	f->args = f->out ? fields_copy(op->args, args, op->args_size, call, &e) : NULL;
	if (!f->args) {
		(void)err_errno(err, e, "prepare %s of plugin %s", op->name, in->mod->name);
		free(f);
		return NULL;
	}
	uint32_t size = (uint32_t)op->args_size;
	memcpy(f->args, &size, sizeof(size));
	size = (uint32_t)op->out_size;
	memcpy(f->out, &size, sizeof(size));
	for (const struct field *t = op->out; t->type != FIELD_END; t++)
		if (t->type == FIELD_FD)
			*(int32_t *)(void *)((char *)f->out + t->offset) = -1;
	f->refs = 2;
	f->op = op;
	f->call = call_ref(call);
	f->in = plugin_inst_ref(in);
	(void)pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_t ca;
	(void)pthread_condattr_init(&ca);
	(void)pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&f->done_cond, &ca);
	(void)pthread_condattr_destroy(&ca);
	return f;
}

static bool module_has_op(const struct module *m, const struct op_desc *op)
{
	if (m->kind != op->kind)
		return false;
	/* Every op is a function pointer; all-zero bytes is NULL here. */
	static const char zero[sizeof(void (*)(void))];
	return memcmp((const char *)&m->ops + op->offset, zero, sizeof(zero)) != 0;
}

static bool has_op(const struct plugin_inst *in, const struct op_desc *op)
{
	return module_has_op(in->mod, op);
}

static const struct op_desc *nth_op(enum crio_kind kind, size_t n)
{
	for (size_t i = 0; i < OP_COUNT; i++)
		if (op_descs[i].kind == kind && n-- == 0)
			return &op_descs[i];
	return NULL;
}

size_t plugin_ops_count(enum crio_kind kind)
{
	size_t n = 0;
	while (nth_op(kind, n))
		n++;
	return n;
}

const char *plugin_op_name(enum crio_kind kind, size_t i)
{
	const struct op_desc *op = nth_op(kind, i);
	return op ? op->name : "";
}

bool plugin_info_has_op(const struct plugin_info *info, size_t i)
{
	const struct op_desc *op = nth_op(info->kind, i);
	return op && module_has_op(info->module, op);
}

bool plugin_inst_has_op(const struct plugin_inst *in, const char *name)
{
	for (size_t i = 0; i < OP_COUNT; i++)
		if (op_descs[i].kind == in->mod->kind && str_eq(op_descs[i].name, name))
			return has_op(in, &op_descs[i]);
	return false;
}

static int dispatch(struct plugin_inst *in, enum op_index index, crio_call *call, const void *args, void *out, crio_err *err)
{
	const struct op_desc *op = &op_descs[index];
	if (!has_op(in, op))
		return err_set(err, CRIO_E_UNSUPPORTED, "the %s plugin '%s' does not support %s", plugin_kind_name(in->mod->kind),
			       in->mod->name, op->name);
	(void)pthread_mutex_lock(&in->lock);
	int stuck = in->stuck;
	(void)pthread_mutex_unlock(&in->lock);
	if (stuck >= STUCK_MAX)
		return err_set(err, CRIO_E_UNAVAILABLE, "%d operations of plugin %s (instance '%s') have not returned; no new ones "
			       "are started", stuck, in->mod->name, in->name);
	int r = call_check(call, op->name, err);
	if (r < 0)
		return r;
	const char *id = op->id_offset ? *(const char *const *)(const void *)((const char *)args + op->id_offset) : NULL;
	struct flight *f = flight_new(in, op, call, args, err);
	if (!f)
		return CRIO_E_NOMEM;
	r = take_turn(in, op, id, call, &f->obj, err);
	if (r == 0) {
		r = workers_run(in->host->args.workers, WORK_PLUGIN, fly, f, err);
		if (r < 0)
			give_turn(f);
	}
	if (r < 0) {
		fields_close(op->args, f->args);
		flight_unref(f);
		flight_unref(f);
		return r;
	}
	int watch = call_on_cancel(call, on_cancel, f, NULL);
	bool back = wait_flight(f);
	if (watch > 0)
		call_off_cancel(call, watch);
	if (!back) {
		r = abandon(f, err);
	} else {
		r = f->result;
		if (r < 0) {
			(void)err_move(err, &f->err);
		} else {
			uint32_t want;
			memcpy(&want, out, sizeof(want));
			memcpy((char *)out + sizeof(want), (char *)f->out + sizeof(want),
			       (want < op->out_size ? want : op->out_size) - sizeof(want));
		}
	}
	flight_unref(f);
	return r;
}

#define OP(kind, op, class, args_t, out_t, id_field)                                                              \
	int plugin_##kind##_##op(struct plugin_inst *in, crio_call *call, const struct crio_##args_t *args,       \
				 struct crio_##out_t *out, crio_err *err)                                         \
	{                                                                                                         \
		return dispatch(in, OP_##kind##_##op, call, args, out, err);                                      \
	}
#include "core/plugin/ops.def"
#undef OP
