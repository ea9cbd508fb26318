/*
 * selinux.h: SELinux labels ("user:role:type:level") of processes and files, by libselinux. What the types of containers are called is
 * the policy's (lxc_contexts). Which label what has is labels.c's. Where SELinux is off all labels are "" and nothing is done.
 * Thread-safe.
 */
#ifndef LIFECYCLE_SELINUX_H
#define LIFECYCLE_SELINUX_H

#include <stdbool.h>

#include "core/exec/call.h"
#include "core/lifecycle/config.h"

/* At start. wanted: the key `selinux`. PRECONDITION: it is wanted, and the kernel has none or no policy is loaded. */
int selinux_init(bool wanted, crio_err *err);
/* Are labels given? */
bool selinux_enabled(void);

/*
 * Labels of a process and of the files that it may use: the policy's, with a level that no other has, then what `base` (the process
 * label of the pod, "" none) says instead, then what `o` does. Both are the caller's, "" where SELinux is off or the policy has no
 * types for containers. The level of ret_process is held: selinux_release gives it back. INVALID: the policy in force
 * does not know the label, or a part of it has a byte that labels have not.
 */
int selinux_labels(const char *base, const struct selinux_option *o, char **ret_process, char **ret_mount, crio_err *err);
/* Of a label that was given in an earlier run: no other gets its level until as many calls of selinux_release. "" is fine. */
int selinux_hold(const char *label, crio_err *err);
void selinux_release(const char *label);

/* The label with the type that the policy has for it, or for containers where it has none. "" gives "". The caller's. */
enum selinux_kind { SELINUX_INIT /* systemd as the first process */, SELINUX_KVM /* a machine */ };
int selinux_as(enum selinux_kind kind, const char *label, char **ret, crio_err *err);

/* Is the label's type this one; the one that containers have which ask for none? */
bool selinux_has_type(const char *label, const char *type);
bool selinux_is_default(const char *label);

/* Mount options for a file system that has this label as a whole: "options,context=..."; label "": options. The caller's, NULL without
 * memory. */
char *selinux_mount_options(const char *options, const char *label);

enum {
	SELINUX_SHARED = 1,	  /* with the level that all may use, s0 */
	SELINUX_UNLESS_RIGHT = 2, /* not when path itself has the label already, whatever is below */
};
/*
 * Gives the label to a file or to a directory with all below it. Links are labelled, never followed but for path itself, and what is
 * below is found by descriptors, so that who writes there cannot lead us elsewhere. What has the label is left alone and the top
 * comes last: a call that was cut short is gone on with by the next, and SELINUX_UNLESS_RIGHT believes only whole ones. File systems
 * without labels are none of our business. INVALID: a directory of the system's. CANCELLED, DEADLINE: as call says (NULL: never).
 */
int selinux_relabel(crio_call *call, const char *path, const char *label, int flags, crio_err *err);

/* A directory with a file lxc_contexts in place of the kernel and the policy, and every label is a good one; NULL: SELinux is off. */
void selinux_set_root_for_test(const char *dir);

#endif
