/* names.c: see names.h. */
#include "core/lifecycle/names.h"

#include <time.h>

#include "core/util/fs.h"
#include "core/util/map.h"
#include "core/util/meter.h"

#define NAME_PART_MAX 253
#define NAME_RETRY_WAIT_NS (240 * INT64_C(1000000000))

/* A component is one the kubelet could give: DNS-like names, UIDs; never a path, a separator of lines or a control
 * byte.
 * "_" stands between components; upstream lets it pass inside them, so do we. */
static int check_part(const char *what, const char *s, bool may_be_empty, crio_err *err)
{
	size_t n = strlen(s);

	if (!n)
		return may_be_empty ? 0 : err_set(err, CRIO_E_INVALID, "metadata of the request has no %s", what);
	if (n > NAME_PART_MAX)
		return err_set(err, CRIO_E_INVALID, "%s '%.32s...' is longer than %d bytes", what, s, NAME_PART_MAX);
	if (strchr(s, '/') || !str_is_printable(s) || !str_is_utf8(s, n))
		return err_set(err, CRIO_E_INVALID, "%s has a '/', a control byte or is not UTF-8", what);
	return 0;
}

static int check_pod(const struct pod_config *p, crio_err *err)
{
	int r = check_part("pod name", p->meta.name, false, err);

	/* As upstream: crictl users leave out the uid, never the namespace. */
	if (!r)
		r = check_part("pod namespace", p->meta.ns, false, err);
	if (!r)
		r = check_part("pod uid", p->meta.uid, true, err);
	return r;
}

static int make_name(const char *container, const struct pod_config *p, uint32_t attempt, char **ret, crio_err *err)
{
	int r = check_pod(p, err);

	if (r < 0)
		return r;
	*ret = path_fmt("k8s_%s%s%s_%s_%s_%u", container, *container ? "_" : "", p->meta.name, p->meta.ns, p->meta.uid,
			attempt);
	return *ret ? 0 : err_nomem(err);
}

int name_of_pod(const struct pod_config *p, char **ret, crio_err *err)
{
	return make_name("", p, p->meta.attempt, ret, err);
}

int name_of_infra(const struct pod_config *p, char **ret, crio_err *err)
{
	return make_name("POD", p, p->meta.attempt, ret, err);
}

int name_of_container(const struct pod_config *p, const struct container_config *c, char **ret, crio_err *err)
{
	int r = check_part("container name", c->meta.name, false, err);

	return r < 0 ? r : make_name(c->meta.name, p, c->meta.attempt, ret, err);
}

/* ---- reservations ---- */

struct entry {
	char id[65];
	enum name_state state;
	const char *stage;
	int64_t expire_ns; /* PARKED */
};

struct names {
	pthread_mutex_t lock;	/* guards all below */
	pthread_cond_t changed; /* a name left BUSY, or a waiter's call was cancelled */
	struct map *map;	/* name -> struct entry */
};

struct names *names_new(void)
{
	struct names *n = calloc(1, sizeof(*n));
	pthread_condattr_t a;

	if (!n)
		return NULL;
	n->map = map_new();
	if (!n->map) {
		free(n);
		return NULL;
	}
	(void)pthread_condattr_init(&a);
	(void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&n->lock, NULL);
	(void)pthread_cond_init(&n->changed, &a);
	(void)pthread_condattr_destroy(&a);
	return n;
}

void names_free(struct names *n)
{
	size_t it = 0;
	void *v;

	if (!n)
		return;
	while (map_next(n->map, &it, NULL, &v))
		free(v);
	map_free(n->map);
	(void)pthread_cond_destroy(&n->changed);
	(void)pthread_mutex_destroy(&n->lock);
	free(n);
}

static void holder_of(const struct entry *e, struct name_holder *ret)
{
	if (!ret)
		return;
	(void)memcpy(ret->id, e->id, sizeof(ret->id));
	ret->state = e->state;
	ret->stage = e->stage;
}

static int add(struct names *n, const char *name, const char *id, enum name_state state, struct name_holder *ret_holder,
	       crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&n->lock);
	struct entry *e = map_get(n->map, name);

	if (e) {
		holder_of(e, ret_holder);
		return err_set(err, CRIO_E_EXISTS, "name is reserved: '%s' is held by id %s", name, e->id);
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return err_nomem(err);
	(void)snprintf(e->id, sizeof(e->id), "%s", id);
	e->state = state;
	e->stage = "";
	if (map_set(n->map, name, e) < 0) {
		free(e);
		return err_nomem(err);
	}
	return 0;
}

int names_reserve(struct names *n, const char *name, const char *id, struct name_holder *ret_holder, crio_err *err)
{
	return add(n, name, id, NAME_BUSY, ret_holder, err);
}

int names_restore(struct names *n, const char *name, const char *id, crio_err *err)
{
	return add(n, name, id, NAME_DONE, NULL, err);
}

void names_stage(struct names *n, const char *name, const char *stage)
{
	cleanup_unlock pthread_mutex_t *l = lock(&n->lock);
	struct entry *e = map_get(n->map, name);

	if (e)
		e->stage = stage;
}

static void leave_busy(struct names *n, const char *name, enum name_state state, int64_t expire_ns)
{
	cleanup_unlock pthread_mutex_t *l = lock(&n->lock);
	struct entry *e = map_get(n->map, name);

	if (!e)
		return;
	e->state = state;
	e->expire_ns = expire_ns;
	(void)pthread_cond_broadcast(&n->changed);
}

void names_done(struct names *n, const char *name)
{
	leave_busy(n, name, NAME_DONE, 0);
}

void names_park(struct names *n, const char *name, int64_t expire_ns)
{
	leave_busy(n, name, NAME_PARKED, expire_ns);
}

void names_release(struct names *n, const char *name, const char *id)
{
	cleanup_unlock pthread_mutex_t *l = lock(&n->lock);
	struct entry *e = map_get(n->map, name);

	if (!e || !str_eq(e->id, id))
		return;
	free(map_del(n->map, name));
	(void)pthread_cond_broadcast(&n->changed);
}

static void wake(void *arg)
{
	struct names *n = arg;
	cleanup_unlock pthread_mutex_t *l = lock(&n->lock);

	(void)pthread_cond_broadcast(&n->changed);
}

/* Until the name is not BUSY or until_ns. Called with the lock held. */
static struct entry *wait_changed(struct names *n, const char *name, crio_call *call, int64_t until_ns)
{
	struct timespec ts = {until_ns / 1000000000, until_ns % 1000000000};
	struct entry *e;

	for (;;) {
		e = map_get(n->map, name);
		if (!e || e->state != NAME_BUSY || call_over(call) || now_mono_ns() >= until_ns)
			return e;
		if (until_ns == INT64_MAX)
			(void)pthread_cond_wait(&n->changed, &n->lock);
		else
			(void)pthread_cond_timedwait(&n->changed, &n->lock, &ts);
	}
}

/* Upstream's words, which people search for. */
static int still_busy(const char *kind, const char *name, const struct entry *e, crio_call *call, crio_err *err)
{
	const char *stage = *e->stage ? e->stage : "unknown";
	const char *thing = str_eq(kind, "pod") ? "sandbox" : "container";
	int code = call_check(call, "waiting", NULL);

	if (!code)
		code = CRIO_E_DEADLINE;
	return err_set(err, code,
		       "error reserving %s name %s for id %s: kubelet may be retrying requests that are timing out in "
		       "CRI-O due to "
		       "system load. Currently at stage %s: %s %s %s",
		       kind, name, e->id, stage,
		       code == CRIO_E_CANCELLED ? "request ended before" : "waited too long for request to timeout or",
		       thing, code == CRIO_E_CANCELLED ? "was created" : "to be created");
}

int names_wait(struct names *n, const char *kind, const char *name, crio_call *call, int64_t max_wait_ns,
	       struct name_holder *ret, crio_err *err)
{
	int64_t until = max_wait_ns > 0 ? now_mono_ns() + max_wait_ns : now_mono_ns() + NAME_RETRY_WAIT_NS;
	struct entry *e;
	int watch, r = 0;

	if (call_deadline(call) < until)
		until = call_deadline(call);
	watch = call_on_cancel(call, wake, n, err);
	if (watch < 0)
		return watch;
	(void)pthread_mutex_lock(&n->lock);
	e = map_get(n->map, name);
	if (e && e->state == NAME_BUSY)
		meter_add_for(METER_STALLED, 1, *e->stage ? e->stage : "unknown", NULL);
	e = wait_changed(n, name, call, until);
	if (!e) {
		r = err_set(err, CRIO_E_NOT_FOUND, "the request that was making '%s' failed", name);
	} else if (e->state == NAME_BUSY) {
		r = still_busy(kind, name, e, call, err);
	} else {
		holder_of(e, ret);
		e->state = NAME_DONE;
	}
	(void)pthread_mutex_unlock(&n->lock);
	call_off_cancel(call, watch);
	return r;
}

bool names_expired(struct names *n, int64_t now_ns, char **ret_name, char ret_id[65], int64_t *ret_next_ns)
{
	cleanup_unlock pthread_mutex_t *l = lock(&n->lock);
	int64_t next = INT64_MAX;
	const char *name;
	size_t it = 0;
	void *v;

	while (map_next(n->map, &it, &name, &v)) {
		struct entry *e = v;

		if (e->state != NAME_PARKED)
			continue;
		if (e->expire_ns > now_ns) {
			next = e->expire_ns < next ? e->expire_ns : next;
			continue;
		}
		*ret_name = strdup(name);
		if (!*ret_name) { /* try again when there is memory */
			next = now_ns + 1000000000;
			continue;
		}
		e->state = NAME_DONE;
		(void)memcpy(ret_id, e->id, sizeof(e->id));
		return true;
	}
	*ret_next_ns = next;
	return false;
}

int names_get(struct names *n, const char *name, struct name_holder *ret, crio_err *err)
{
	cleanup_unlock pthread_mutex_t *l = lock(&n->lock);
	struct entry *e = map_get(n->map, name);

	if (!e)
		return err_set(err, CRIO_E_NOT_FOUND, "no one holds the name '%s'", name);
	holder_of(e, ret);
	return 0;
}
