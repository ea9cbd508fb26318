/*
 * policy.c: containers-policy.json. insecureAcceptAnything and reject are decided here. A policy that wants signatures
 * checked is answered with a refusal: this daemon cannot check them, and must not run what the policy does not let it
 * run.
 */
#include <fcntl.h>
#include <string.h>
#include <errno.h>
#include <sys/stat.h>

#include "core/image/images_priv.h"
#include "core/util/fs.h"
#include "core/util/json.h"

#define POLICY_MAX (1u << 20)

static int no(crio_err *err, const char *ref, const char *why)
{
	return err_set(err, CRIO_E_DENIED,
		       "SignatureValidationFailed: Source image rejected: Running image docker://%s %s", ref, why);
}

/* All requirements must hold. */
static int check_requirements(const struct json_object *list, const char *ref, crio_err *err)
{
	size_t n = json_object_array_length(list);

	if (!n)
		return no(err, ref, "is rejected: the policy has an empty list of requirements for it");
	for (size_t i = 0; i < n; i++) {
		const char *type = json_str(json_object_array_get_idx(list, i), "type");

		if (str_eq(type, "insecureAcceptAnything"))
			continue;
		if (str_eq(type, "reject"))
			return no(err, ref, "is rejected by policy.");
		if (str_eq(type, "signedBy") || str_eq(type, "sigstoreSigned") || str_eq(type, "signedBaseLayer"))
			return err_set(err, CRIO_E_DENIED,
				       "SignatureValidationFailed: Source image rejected: the policy for docker://%s "
				       "is of type %s, and this daemon "
				       "cannot verify signatures",
				       ref, type);
		return err_set(err, CRIO_E_INVALID, "the policy for docker://%s has an unknown type '%.64s'", ref,
			       type);
	}
	return 0;
}

/* Requirements for the longest scope: the whole name, then its parents, then "*." wildcards of the host. */
static int find_scope(const struct json_object *scopes, const char *ref, const struct reference *r,
		      struct json_object **ret)
{
	cleanup_free char *at = reference_repo(r), *host = strdup(r->domain);
	struct json_object *l = json_arr(scopes, ref);
	char *slash, *dot;

	*ret = l;
	if (!at || !host)
		return CRIO_E_NOMEM;
	while (!*ret) {
		*ret = json_arr(scopes, at);
		slash = strrchr(at, '/');
		if (!slash)
			break;
		*slash = 0;
	}
	host[strcspn(host, ":")] = 0;
	for (dot = strchr(host, '.'); !*ret && dot; dot = strchr(dot + 1, '.')) {
		cleanup_free char *wild = path_fmt("*%s", dot);

		if (!wild)
			return CRIO_E_NOMEM;
		*ret = json_arr(scopes, wild);
	}
	if (!*ret)
		*ret = json_arr(scopes, "");
	return 0;
}

int policy_check_text(const char *text, size_t n, const struct reference *ref, crio_err *err)
{
	cleanup_json struct json_object *doc = NULL;
	cleanup_free char *name = NULL;
	struct json_object *list = NULL, *scopes;
	int r = json_parse(text, n, &doc, err);

	if (r < 0)
		return r;
	if (!json_object_is_type(doc, json_type_object) || !json_arr(doc, "default"))
		return err_set(err, CRIO_E_INVALID, "no default policy in it");
	if (ref) {
		name = reference_text(ref);
		if (!name)
			return err_nomem(err);
		scopes = json_obj(json_obj(doc, "transports"), "docker");
		if (scopes && find_scope(scopes, name, ref, &list) < 0)
			return err_nomem(err);
	}
	if (!list)
		list = json_arr(doc, "default");
	return check_requirements(list, name ? name : "(unnamed)", err);
}

static char *policy_path(const struct conf *conf, const char *ns, crio_err *err)
{
	char *p = NULL;
	struct stat st;

	if (str_set(ns) && str_set(conf->image.signature_policy_dir)) {
		if (!path_is_name(ns)) {
			(void)err_set(err, CRIO_E_INVALID, "pod namespace '%.64s': not a name", ns);
			return NULL;
		}
		p = path_fmt("%s/%s.json", conf->image.signature_policy_dir, ns);
		if (p && stat(p, &st) < 0 && (errno == ENOENT || errno == ENOTDIR)) {
			free(p);
			p = strdup("");
		}
		if (!p || *p) {
			if (!p)
				(void)err_nomem(err);
			return p;
		}
		free(p);
	}
	p = strdup(str_set(conf->image.signature_policy) ? conf->image.signature_policy
							 : "/etc/containers/policy.json");
	if (!p)
		(void)err_nomem(err);
	return p;
}

int policy_check(const struct conf *conf, const char *pod_namespace, const struct reference *ref, crio_err *err)
{
	struct crio_err e = ERR_INIT;
	cleanup_free char *path = policy_path(conf, pod_namespace, &e), *text = NULL;
	size_t n;
	int r;

	if (!path)
		return err_move(err, &e);
	r = fs_read_file(AT_FDCWD, path, POLICY_MAX, &text, &n, err);
	if (r == 0)
		r = policy_check_text(text, n, ref, err);
	if (r < 0 && r != CRIO_E_DENIED)
		return err_wrap(err, "signature policy %s", path);
	return r;
}
