/* The table of containers of an instance. */
#include <stdio.h>

#include "oci.h"

static struct ctr **slot(struct oci *o, const char *id)
{
	uint32_t h = 2166136261u;
	struct ctr **p;

	for (const char *s = id; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	for (p = &o->ctrs[h % N_ELEMENTS(o->ctrs)]; *p && strcmp((*p)->id, id) != 0; p = &(*p)->next)
		;
	return p;
}

static void ctr_free(struct ctr *c)
{
	close_fd(c->pidfd);
	close_fd(c->monitor_fd);
	free(c->bundle);
	free(c->persist_dir);
	free(c->exit_dir);
	free(c->attach_dir);
	free(c->monitor_cgroup);
	free(c->cgroup);
	free(c->outer);
	free(c);
}

struct ctr *ctr_new(struct oci *o, const char *id, const char *bundle, const char *persist_dir, const char *exit_dir,
		    const char *attach_dir)
{
	struct ctr *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->o = o;
	c->refs = 1;
	c->pidfd = c->monitor_fd = -1;
	(void)snprintf(c->id, sizeof(c->id), "%s", id);
	c->bundle = strdup(str0(bundle));
	c->persist_dir = strdup(str0(persist_dir));
	c->exit_dir = strdup(str0(exit_dir));
	c->attach_dir = strdup(str0(attach_dir));
	c->monitor_cgroup = strdup("");
	if (!c->bundle || !c->persist_dir || !c->exit_dir || !c->attach_dir || !c->monitor_cgroup) {
		ctr_free(c);
		return NULL;
	}
	return c;
}

void ctr_know_group(struct ctr *c)
{
	cgroups_trim(c->cgroup, c->id);
	c->outer = cgroups_outer(c->cgroup, c->id);
	c->outer_kills = cgroups_oom_kills(&c->o->cgroups, c->outer);
	if (c->outer_kills < 0) {
		free(c->outer);
		c->outer = NULL;
	}
}

bool ctr_add(struct ctr *c)
{
	struct oci *o = c->o;
	struct ctr **p;
	bool free_slot;

	pthread_mutex_lock(&o->mu);
	p = slot(o, c->id);
	free_slot = !*p;
	if (free_slot) {
		*p = c;
		c->refs++;
	}
	pthread_mutex_unlock(&o->mu);
	return free_slot;
}

struct ctr *ctr_get(struct oci *o, const char *id)
{
	struct ctr *c;

	if (!id)
		return NULL;
	pthread_mutex_lock(&o->mu);
	c = *slot(o, id);
	if (c)
		c->refs++;
	pthread_mutex_unlock(&o->mu);
	return c;
}

void ctr_unref(struct ctr *c)
{
	bool last;

	pthread_mutex_lock(&c->o->mu);
	last = --c->refs == 0;
	pthread_mutex_unlock(&c->o->mu);
	if (last)
		ctr_free(c);
}

void ctr_drop(struct ctr *c)
{
	struct oci *o = c->o;
	struct ctr **p;
	int ids[3];
	bool mine;

	pthread_mutex_lock(&o->mu);
	p = slot(o, c->id);
	mine = *p == c;
	if (mine)
		*p = c->next;
	c->deleting = true; /* no watch or timer is added from here on */
	ids[0] = c->pid_watch;
	ids[1] = c->monitor_watch;
	ids[2] = c->grace_timer;
	pthread_mutex_unlock(&o->mu);
	/* outside of the mutex: this waits for callbacks, which take it */
	for (size_t i = 0; i < N_ELEMENTS(ids); i++) {
		if (ids[i] > 0)
			o->host->unwatch(o->in, ids[i]);
	}
	if (mine)
		ctr_unref(c);
}

int ctr_record(struct ctr *c, crio_call *call, crio_err *err)
{
	auto_free char *text = fmt(STATE_VERSION "\n%s\n%s\n%s\n%s\n%s\n", c->bundle, c->persist_dir, c->exit_dir,
				   c->attach_dir, c->monitor_cgroup);
	struct crio_bytes b = {text, text ? strlen(text) : 0};

	if (!text)
		return c->o->host->fail(err, CRIO_E_NOMEM, "record container '%s': no memory", c->id);
	return c->o->host->state_put(c->o->in, call, c->id, b, CRIO_STATE_RUN, err);
}

struct ctr *ctr_from_record(struct oci *o, crio_call *call, const char *id)
{
	auto_free char *text = NULL;
	struct crio_bytes b = {NULL, 0};
	char *field[6], *save = NULL;
	struct ctr *c;

	if (o->host->state_get(o->in, call, id, &b, NULL) < 0 || !b.n || b.n > 65536)
		return NULL;
	text = strndup(b.p, b.n);
	if (!text)
		return NULL;
	save = text;
	for (size_t i = 0; i < N_ELEMENTS(field); i++) {
		field[i] = strsep(&save, "\n");
		if (!field[i])
			return NULL;
	}
	if (strcmp(field[0], STATE_VERSION) != 0)
		return NULL;
	for (size_t i = 1; i < N_ELEMENTS(field); i++) {
		if (*field[i] && !path_is_good(field[i]))
			return NULL;
	}
	c = ctr_new(o, id, field[1], field[2], field[3], field[4]);
	if (c) {
		free(c->monitor_cgroup);
		c->monitor_cgroup = strdup(field[5]);
		if (!c->monitor_cgroup) {
			ctr_unref(c);
			return NULL;
		}
	}
	return c;
}
