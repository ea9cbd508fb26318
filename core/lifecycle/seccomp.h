/*
 * seccomp.h: seccomp profiles in the docker/containers form (defaultAction, archMap, syscalls with includes/excludes)
 * turned into the OCI form for one set of capabilities. The built-in profile is compiled in from etc/seccomp.json.
 */
#ifndef LIFECYCLE_SECCOMP_H
#define LIFECYCLE_SECCOMP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/lifecycle/config.h"
#include "core/util/json.h"

#define SECCOMP_FILE_MAX (4u << 20)

/* The built-in profile's text. */
extern const char seccomp_builtin[];
extern const size_t seccomp_builtin_n;

/* Reads and checks a profile: actions, architectures, operators and arguments known; names of system calls may be any. path "" is the
 * built-in one. The caller puts *ret. */
int seccomp_profile_load(const char *path, struct json_object **ret, crio_err *err);
/* The same for a text of n bytes. */
int seccomp_profile_parse(const char *text, size_t n, struct json_object **ret, crio_err *err);
/* OCI linux.seccomp for these capabilities (mask, caps.h) on this machine and kernel. */
int seccomp_to_oci(const struct json_object *profile, uint64_t caps, struct json_object **ret, crio_err *err);
/*
 * The CRI's choice: profile not set is Unconfined; RUNTIME_DEFAULT is `default_path` ("" built-in, "unconfined" off);
 * LOCALHOST a path. *ret is NULL for unconfined. *ret_ref: "Unconfined", "RuntimeDefault" or the path; the caller's.
 */
int seccomp_choose(const struct security_profile *p, const char *default_path, uint64_t caps, struct json_object **ret,
		   char **ret_ref, crio_err *err);
/* Forgets cached files (SIGHUP). */
void seccomp_reload(void);

#endif
