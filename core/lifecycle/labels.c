/*
 * labels.c: which SELinux label a pod, its containers and their files have. A pod's label is made when it is, with a level of its
 * own; its containers have it with what they ask for instead, so that they share the pod's files and nobody else's.
 * The record in the store keeps both labels: the files are mounted with the one again, and the other's level is not given to
 * another pod after a restart.
 */
#include "core/lifecycle/annotations.h"
#include "core/lifecycle/inner.h"
#include "core/lifecycle/mounts.h"
#include "core/lifecycle/selinux.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define SPC_TYPE "spc_t" /* "super privileged": the policy lets it use files of any label */

static void take(char **field, char *label)
{
	free(*field);
	*field = label;
}

int pod_make_labels(struct pod *p, crio_err *err)
{
	char *process = NULL, *mount = NULL;
	int r = selinux_labels("", &p->config.sec.selinux, &process, &mount, err);

	if (r < 0)
		return err_wrap(err, "SELinux label of the pod");
	take(&p->process_label, process);
	take(&p->mount_label, mount);
	return 0;
}

int container_make_labels(struct container *c, crio_err *err)
{
	char *process = NULL, *mount = NULL;
	int r = selinux_labels(c->pod->process_label, &c->config.sec.selinux, &process, &mount, err);

	if (r < 0)
		return err_wrap(err, "SELinux label of the container");
	take(&c->process_label, process);
	take(&c->mount_label, mount);
	return 0;
}

int labels_restore(char **process_field, char **mount_field, const char *process, const char *mount)
{
	int r = config_set_str(mount_field, mount);

	if (r == 0)
		r = config_set_str(process_field, process);
	return r < 0 ? r : selinux_hold(process, NULL);
}

void labels_release(char *process, char *mount)
{
	selinux_release(process);
	free(process);
	free(mount);
}

/* Who sees the host's processes or memory is not kept from them by a label. */
static bool of_host(const struct namespace_options *ns)
{
	return ns->pid == NS_NODE || ns->ipc == NS_NODE;
}

const char *pod_file_label(const struct pod *p)
{
	return of_host(&p->config.sec.ns) ? "" : p->mount_label;
}

int pod_spec_labels(const struct pod *p, struct spec_labels *ret, crio_err *err)
{
	const struct conf_runtime *h = conf_runtime(p->lc->conf, p->handler);
	const char *label = of_host(&p->config.sec.ns) ? "" : p->process_label;
	int r = 0;

	ret->mount = pod_file_label(p);
	if (p->infra && h && h->runtime_type == CONF_RUNTIME_VM)
		r = selinux_as(SELINUX_KVM, label, &ret->process, err);
	else if (!(ret->process = strdup(label)))
		r = err_nomem(err);
	return r;
}

int container_spec_labels(const struct container *c, struct spec_labels *ret, crio_err *err)
{
	const struct security_context *s = &c->config.sec;
	const char *label = c->process_label;
	int r = 0;

	if (s->privileged || of_host(&s->ns) || (s->ns.network == NS_NODE && c->lc->conf->runtime.hostnetwork_disable_selinux))
		label = "";
	ret->mount = of_host(&s->ns) ? "" : c->mount_label;
	ret->process = strdup(label);
	if (!ret->process)
		return err_nomem(err);
	/* A type that somebody asked for is what they get. */
	if (selinux_is_default(label))
		r = selinux_as(SELINUX_INIT, label, &ret->init, err);
	return r;
}

void spec_labels_release(struct spec_labels *l)
{
	free(l->process);
	free(l->init);
}

int pod_label_files(const struct pod *p, crio_err *err)
{
	cleanup_free char *env = path_fmt("%s/.containerenv", p->run_dir);
	const char *label = pod_file_label(p), *ours[] = {p->resolv_path, p->hostname_path, env};
	int r = env ? 0 : err_nomem(err);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(ours); i++)
		r = selinux_relabel(NULL, ours[i], label, 0, err);
	return r;
}

/* What was made for this container alone, in its run directory. */
static int label_own(const struct container *c, const char *label, crio_err *err)
{
	static const struct {
		const char *name;
		int flags;
	} own[] = {{"passwd", 0}, {"group", 0}, {"default-mounts", 0}, {"mounts", SELINUX_SHARED}};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(own); i++) {
		cleanup_free char *path = path_fmt("%s/%s", c->run_dir, own[i].name);

		if (!path)
			return err_nomem(err);
		if (access(path, F_OK) == 0)
			r = selinux_relabel(NULL, path, label, own[i].flags, err);
	}
	return r;
}

/* Where the spec has it from: links in the request's path are followed, and a missing source has been made. */
static const char *source_of(const struct json_object *spec, const char *container_path)
{
	cleanup_free char *dest = NULL;
	struct json_object *mounts = json_arr(spec, "mounts");

	if (mount_clean_path(container_path, &dest, NULL) < 0)
		return "";
	for (size_t i = 0; mounts && i < json_object_array_length(mounts); i++) {
		const struct json_object *m = json_object_array_get_idx(mounts, i);

		if (str_eq(json_str(m, "destination"), dest))
			return json_str(m, "source");
	}
	return "";
}

static bool is_spc(const struct container *c)
{
	return selinux_has_type(c->process_label, SPC_TYPE);
}

static int label_volumes(const struct container *c, crio_call *call, const struct json_object *spec, crio_err *err)
{
	const char *skip = annotation_get(&c->pod->config.annotations, ANN_SKIP_SELINUX_LABEL, NULL);
	int flags = skip && str_eq(skip, "true") ? SELINUX_UNLESS_RIGHT : 0, r = 0;

	for (size_t i = 0; r == 0 && i < c->config.n_mounts; i++) {
		const struct mount_config *m = &c->config.mounts[i];

		/* Never a path that only happens to be mounted where we mount files of ours; images are mounted with their label. */
		if (!m->selinux_relabel || *m->image)
			continue;
		if (is_spc(c)) {
			log_debug("Skipping relabel for %s because of super privileged container (type: " SPC_TYPE ")", m->host_path);
			continue;
		}
		r = selinux_relabel(call, source_of(spec, m->container_path), c->mount_label, flags, err);
	}
	return r;
}

int container_label_files(const struct container *c, crio_call *call, const struct json_object *spec, crio_err *err)
{
	if (!str_set(c->mount_label))
		return 0;
	int r = 0;
	/* A storage plugin that could not mount it with the label leaves that to us. */
	if (!of_host(&c->config.sec.ns))
		r = selinux_relabel(call, c->rootfs, c->mount_label, SELINUX_UNLESS_RIGHT, err);
	if (r == 0)
		r = label_own(c, of_host(&c->config.sec.ns) ? "" : c->mount_label, err);
	if (r == 0)
		r = label_volumes(c, call, spec, err);
	return r < 0 ? err_wrap(err, "relabel for container %s", c->id) : 0;
}
