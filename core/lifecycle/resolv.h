/*
 * resolv.h: the texts of /etc/resolv.conf, /etc/hostname and /etc/hosts of a pod. Everything in them that a client
 * chose is checked: a line break in a name would forge a line.
 */
#ifndef LIFECYCLE_RESOLV_H
#define LIFECYCLE_RESOLV_H

#include "core/util/str.h"

#define RESOLV_MAX (64u << 10) /* bytes of the node's own file that are taken over */

/* resolv.conf from a pod's DNS configuration. With none of the three the node's file `host_path` is taken over ("" or
 * absent: an empty text). Text is the caller's. CRIO_E_INVALID names the value. */
int resolv_text(const struct strv *servers, const struct strv *searches, const struct strv *options,
		const char *host_path, char **ret, crio_err *err);

/* A host name for sethostname and /etc/hostname: 1 to 64 bytes of letters, digits, '-', '.', '_'. */
int hostname_check(const char *name, crio_err *err);
/* "name\n", checked. */
int hostname_text(const char *name, char **ret, crio_err *err);

/* /etc/hosts for a pod whose client mounts none: localhost lines, then one line for each address with the host name. */
int hosts_text(const struct strv *ips, const char *hostname, char **ret, crio_err *err);

#endif
