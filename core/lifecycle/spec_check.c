/* spec_check.c: limits of a request, checked before anything is made. See spec.h. */
#include "core/lifecycle/spec.h"
#include "core/lifecycle/user.h"
#include "core/util/fs.h"

#define LABEL_MAX 4096 /* key and value together, as CRI-O */
#define MAP_MAX 1024   /* labels; annotations */
#define ANNOTATION_MAX (1u << 20)
#define LIST_MAX 65536 /* args, env */
#define MOUNTS_MAX 1024
#define PATH_LIMIT 4096
#define HOSTNAME_LIMIT 64 /* of the kernel */

static int check_labels(const struct kvs *m, crio_err *err)
{
	if (m->n > MAP_MAX)
		return err_set(err, CRIO_E_INVALID, "more than %d labels", MAP_MAX);
	for (size_t i = 0; i < m->n; i++)
		if (strlen(m->v[i].key) + strlen(m->v[i].value) > LABEL_MAX)
			return err_set(err, CRIO_E_INVALID,
				       "label key and value greater than maximum size (%d bytes), key: %.10s",
				       LABEL_MAX, m->v[i].key);
	return 0;
}

static int check_annotations(const struct kvs *m, crio_err *err)
{
	size_t n = 0;

	if (m->n > MAP_MAX)
		return err_set(err, CRIO_E_INVALID, "more than %d annotations", MAP_MAX);
	for (size_t i = 0; i < m->n; i++) {
		if (!str_is_printable(m->v[i].key))
			return err_set(err, CRIO_E_INVALID, "the name of an annotation has control bytes");
		n += strlen(m->v[i].key) + strlen(m->v[i].value);
	}
	return n > ANNOTATION_MAX ? err_set(err, CRIO_E_INVALID, "annotations of more than %u bytes", ANNOTATION_MAX)
				  : 0;
}

static int check_text(const char *what, const char *s, size_t max, crio_err *err)
{
	if (strlen(s) > max)
		return err_set(err, CRIO_E_INVALID, "%s is longer than %zu bytes", what, max);
	return str_is_printable(s) ? 0 : err_set(err, CRIO_E_INVALID, "%s has a newline or another control byte", what);
}

static int check_texts(const char *what, const struct strv *l, size_t max_n, size_t max, crio_err *err)
{
	int r = l->n > max_n ? err_set(err, CRIO_E_INVALID, "%s: more than %zu", what, max_n) : 0;

	for (size_t i = 0; !r && i < l->n; i++)
		r = check_text(what, l->v[i], max, err);
	return r;
}

static int check_security(const struct security_context *s, crio_err *err)
{
	int r = check_text("run_as_username", s->run_as_username, 256, err);

	if (!r && s->n_supplemental_groups > USER_GROUPS_MAX)
		r = err_set(err, CRIO_E_INVALID, "more than %d supplemental groups", USER_GROUPS_MAX);
	if (!r && s->groups_policy != GROUPS_MERGE && s->groups_policy != GROUPS_STRICT)
		r = err_set(err, CRIO_E_INVALID, "not implemented in this CRI-O release: SupplementalGroupsPolicy=%d",
			    (int)s->groups_policy);
	if (!r)
		r = check_texts("capabilities to add", &s->cap_add, 128, 64, err);
	if (!r)
		r = check_texts("capabilities to drop", &s->cap_drop, 128, 64, err);
	if (!r)
		r = check_texts("masked paths", &s->masked_paths, 1024, PATH_LIMIT, err);
	if (!r)
		r = check_texts("readonly paths", &s->readonly_paths, 1024, PATH_LIMIT, err);
	if (!r)
		r = check_text("seccomp profile", s->seccomp.localhost_ref, PATH_LIMIT, err);
	if (!r)
		r = check_text("apparmor profile", s->apparmor.localhost_ref, PATH_LIMIT, err);
	return r;
}

int pod_config_check(const struct pod_config *c, crio_err *err)
{
	int r = 0;

	if (!*c->meta.name)
		r = err_set(err, CRIO_E_INVALID, "metadata.Name should not be empty");
	if (!r)
		r = check_labels(&c->labels, err);
	if (!r)
		r = check_annotations(&c->annotations, err);
	if (!r)
		r = check_text("hostname", c->hostname, HOSTNAME_LIMIT, err);
	if (!r)
		r = check_text("log directory", c->log_directory, PATH_LIMIT, err);
	if (!r && *c->log_directory && !path_is_clean_abs(c->log_directory))
		r = err_set(err, CRIO_E_INVALID, "requested logDir is a relative path or has '..': %.256s",
			    c->log_directory);
	if (!r)
		r = check_text("cgroup parent", c->cgroup_parent, PATH_LIMIT, err);
	if (!r)
		r = check_texts("dns servers", &c->dns_servers, 64, 256, err);
	if (!r)
		r = check_texts("dns searches", &c->dns_searches, 256, 256, err);
	if (!r)
		r = check_texts("dns options", &c->dns_options, 64, 256, err);
	if (!r && c->n_ports > 4096)
		r = err_set(err, CRIO_E_INVALID, "more than 4096 port mappings");
	if (!r && c->sysctls.n > 1024)
		r = err_set(err, CRIO_E_INVALID, "more than 1024 sysctls");
	return r < 0 ? r : check_security(&c->sec, err);
}

static int check_env(const struct strv *env, crio_err *err)
{
	if (env->n > LIST_MAX)
		return err_set(err, CRIO_E_INVALID, "more than %d environment variables", LIST_MAX);
	for (size_t i = 0; i < env->n; i++) {
		const char *eq = strchrnul(env->v[i], '=');

		for (const char *p = env->v[i]; p < eq; p++)
			if ((unsigned char)*p < 0x20 || *p == 0x7f)
				return err_set(err, CRIO_E_INVALID,
					       "the name of environment variable %zu has control bytes", i);
		if (str_starts(env->v[i], "HOME=") && !str_is_printable(eq))
			return err_set(err, CRIO_E_INVALID, "invalid HOME environment; newline not allowed");
	}
	return 0;
}

static int check_log_path(const char *s, crio_err *err)
{
	int r = check_text("log path", s, PATH_LIMIT, err);
	const char *p = s;

	if (r < 0 || !*s)
		return r;
	/* Relative to the pod's log directory and below it. */
	for (; *p; p = *strchrnul(p, '/') ? strchrnul(p, '/') + 1 : "")
		if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
			return err_set(err, CRIO_E_INVALID, "log path '%.256s' leaves the pod's log directory", s);
	return 0;
}

int container_config_check(const struct container_config *c, crio_err *err)
{
	int r = 0;

	if (!*c->meta.name)
		r = err_set(err, CRIO_E_INVALID, "name is empty");
	if (!r && !*c->image)
		r = err_set(err, CRIO_E_INVALID, "CreateContainerRequest.ContainerConfig.Image.Image is empty");
	if (!r)
		r = check_labels(&c->labels, err);
	if (!r)
		r = check_annotations(&c->annotations, err);
	if (!r)
		r = check_env(&c->env, err);
	if (!r && (c->command.n > LIST_MAX || c->args.n > LIST_MAX))
		r = err_set(err, CRIO_E_INVALID, "more than %d arguments", LIST_MAX);
	if (!r && (c->n_mounts > MOUNTS_MAX || c->n_devices > MOUNTS_MAX))
		r = err_set(err, CRIO_E_INVALID, "more than %d mounts or devices", MOUNTS_MAX);
	if (!r)
		r = check_text("working directory", c->working_dir, PATH_LIMIT, err);
	if (!r)
		r = check_log_path(c->log_path, err);
	return r < 0 ? r : check_security(&c->sec, err);
}
