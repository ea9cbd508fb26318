/*
 * apparmor.h: AppArmor profiles that containers run under. A profile is in the kernel, by name; ours, "crio-default", is put there by
 * apparmor_parser(8) when it is needed and missing. It is never taken out: containers outlive the daemon. Thread-safe.
 */
#ifndef LIFECYCLE_APPARMOR_H
#define LIFECYCLE_APPARMOR_H

#include <stdbool.h>

#include "core/util/err.h"

#define APPARMOR_DEFAULT "crio-default"
#define APPARMOR_UNCONFINED "unconfined"

/* The text of crio-default, as apparmor_parser reads it. It includes no files. */
extern const char apparmor_default_text[];

/* Has the kernel AppArmor, and is it on? */
bool apparmor_enabled(void);
/*
 * Sees to it that processes can be started under the profile. "unconfined" always can; crio-default is loaded when it is not, or not any more
 * (aa-remove-unknown(8) takes it out); every other one must be there: CRIO_E_INVALID says that it is not. UNAVAILABLE: crio-default is
 * not loaded and cannot be. Blocks for as long as apparmor_parser runs, at most half a minute. Not to be asked where AppArmor is off.
 */
int apparmor_need(const char *profile, crio_err *err);
/* The configured profile, at start: logs what is used; an error says that containers could not run under it. */
int apparmor_init(const char *profile, crio_err *err);
/* Another directory than /sys/kernel/security/apparmor, in which "profiles" lists what is loaded; NULL: AppArmor is off. */
void apparmor_set_root_for_test(const char *root);

#endif
