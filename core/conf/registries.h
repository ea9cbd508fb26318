/*
 * registries.h: /etc/containers/registries.conf and registries.conf.d: where images are pulled from. Immutable once loaded,
 * refcounted; thread-safe. TLS material under certs.d and credentials are core/image's.
 */
#ifndef CONF_REGISTRIES_H
#define CONF_REGISTRIES_H

#include <stdbool.h>

#include "core/util/str.h"

enum registry_pull_from { REGISTRY_ALL = 0, REGISTRY_DIGEST_ONLY = 1, REGISTRY_TAG_ONLY = 2 };
enum registry_short_mode { REGISTRY_SHORT_ENFORCING = 0, REGISTRY_SHORT_PERMISSIVE = 1, REGISTRY_SHORT_DISABLED = 2 };

struct registry_mirror {
	char *location;            /* "mirror.example.com:5000/sub" */
	bool insecure;
	enum registry_pull_from pull_from;
};
struct registry {
	char *prefix;              /* "example.com", "example.com/ns", "*.example.com" */
	char *location;
	bool insecure, blocked;
	struct registry_mirror *mirrors;
	size_t n_mirrors;
};
struct registries {
	struct strv search;        /* unqualified-search-registries */
	struct registry *v;        /* the longest prefix first */
	size_t n;
	struct kvs aliases;        /* short name -> "host/repo"; a value "" in a later file removes */
	enum registry_short_mode short_mode;
	struct strv credential_helpers;
	struct strv files;         /* read, in order */
	int refs;
};

/* conf: NULL is $CONTAINERS_REGISTRIES_CONF, else /etc/containers/registries.conf; dir: NULL is its registries.conf.d (only with the
 * default conf: another conf has no drop-ins unless dir is given). "" none. Absent files are no error. CRIO_E_INVALID names file,
 * line and key. */
int registries_load(const char *conf, const char *dir, struct registries **ret, crio_err *err);
const struct registries *registries_ref(const struct registries *r);
void registries_unref(const struct registries *r);
static inline void registries_unrefp(const struct registries **r) { registries_unref(*r); }
#define cleanup_registries CLEANUP(registries_unrefp)

/* One place to ask for an image. */
struct registry_endpoint {
	char *host;                /* "mirror.example.com:5000", no scheme */
	char *repo;                /* "sub/library/busybox" */
	bool insecure;             /* plain HTTP and unverified TLS are allowed */
	bool mirror;
};
struct registry_endpoints {
	struct registry_endpoint *v;
	size_t n;
};
void registry_endpoints_release(struct registry_endpoints *e);
#define cleanup_endpoints CLEANUP(registry_endpoints_release)

/* The places to try, in order, for a repository with its registry: "docker.io/library/busybox" (no tag, no digest). by_digest: the
 * reference has a digest; mirrors limited to the other kind are left out. CRIO_E_DENIED when the registry is blocked; CRIO_E_INVALID
 * for a name without a registry. "docker.io" stays: its API host is core/image's business. */
int registries_resolve(const struct registries *r, const char *name, bool by_digest, struct registry_endpoints *ret, crio_err *err);

/* Candidates for a name as a client wrote it, without tag and digest ("busybox", "lib/app", "host:5000/x"):
 *   with a registry: the name itself ("docker.io/busybox" becomes "docker.io/library/busybox");
 *   an alias: its target alone;
 *   else one for each search registry. With short_mode enforcing and more than one: CRIO_E_INVALID, as nobody can be asked.
 * enforcing is the daemon's short_name_mode, which wins over the file's. CRIO_E_INVALID when there is no search registry. */
int registries_candidates(const struct registries *r, const char *name, bool enforcing, struct strv *ret, crio_err *err);
/* Does the first component name a registry: has '.' or ':' or is "localhost"? */
bool registries_has_host(const char *name);

#endif
