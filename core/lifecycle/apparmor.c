/*
 * apparmor.c: see apparmor.h.
 *
 * The kernel lists its profiles in a file, a line "name (mode)" for each. The name may have spaces, and of stacked name spaces only
 * ours is shown. Loading goes through apparmor_parser because the kernel takes compiled profiles only.
 */
#include "core/lifecycle/apparmor.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "core/exec/spawn.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define LIST_MAX (8u << 20)
#define LOAD_NS (30 * INT64_C(1000000000))

static char root[512] = "/sys/kernel/security/apparmor";
static bool faked;
static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER; /* one apparmor_parser at a time */

/*
 * What a container's programs may do beyond what capabilities, namespaces and seccomp leave: use files, the network and capabilities
 * freely, signal and trace each other. What they may not: mount, or write to those files of /proc and /sys that belong to the
 * machine. Masked and read-only paths hide most of these, but not from one who has CAP_SYS_ADMIN. Deny rules win over others.
 */
const char apparmor_default_text[] =
    "profile crio-default flags=(attach_disconnected,mediate_deleted) {\n"
    "  file,\n"
    "  network,\n"
    "  capability,\n"
    "  umount,\n"
    "  deny mount,\n"
    /* Signals come from the host's side, which has profiles of its own on some distributions, and from each other. */
    "  signal (receive) peer=unconfined,\n"
    "  signal (receive) peer={crio,cri-o,conmon,crun,runc,/usr/bin/crio,/usr/bin/conmon,/usr/bin/crun,/usr/{,s}bin/runc},\n"
    "  signal (send, receive) peer=crio-default,\n"
    "  ptrace (read, readby, trace, tracedby) peer=crio-default,\n"
    /* /proc: names that start with a letter are the machine's; below sys, what is counted by IPC namespace may be written. */
    "  deny /proc/[^0-9]* w,\n"
    "  deny /proc/{acpi,asound,bus,driver,fs,irq,scsi,tty}/** w,\n"
    "  deny /proc/sys/[^k]** w,\n"
    "  deny /proc/sys/kernel/[^ms]** w,\n"
    "  deny /proc/sys/kernel/m[^s]** w,\n"
    "  deny /proc/sys/kernel/s[^eh]** w,\n"
    "  deny /proc/sys/kernel/se[^m]** w,\n"
    "  deny /proc/sys/kernel/sh[^m]** w,\n"
    "  deny /proc/{sysrq-trigger,kcore,kmem,mem} rwklx,\n"
    /* /sys: all but the control groups, which the container's own mount guards. */
    "  deny /sys/[^f]** wklx,\n"
    "  deny /sys/fs/[^c]** wklx,\n"
    "  deny /sys/fs/c[^g]** wklx,\n"
    "  deny /sys/firmware/** rwklx,\n"
    "  deny /sys/devices/virtual/powercap/** rwklx,\n"
    "  deny /sys/kernel/security/** rwklx,\n"
    "}\n";

void apparmor_set_root_for_test(const char *r)
{
	faked = true;
	(void)snprintf(root, sizeof(root), "%s", r ? r : "");
}

bool apparmor_enabled(void)
{
	char t[8];

	if (faked)
		return *root;
	return fs_read_small(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", t, sizeof(t), NULL) > 0 && t[0] == 'Y' &&
	       access(root, F_OK) == 0;
}

/* 1: the kernel has it. */
static int is_loaded(const char *profile, crio_err *err)
{
	cleanup_free char *text = NULL;
	char path[600], *save = NULL;
	size_t n = strlen(profile);
	int r;

	(void)snprintf(path, sizeof(path), "%s/profiles", root);
	r = fs_read_file(AT_FDCWD, path, LIST_MAX, &text, NULL, err);
	if (r < 0)
		return err_wrap(err, "find out whether AppArmor profile '%s' is loaded", profile);
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *mode = strrchr(l, '(');

		if (mode && (size_t)(mode - l) == n + 1 && mode[-1] == ' ' && !strncmp(l, profile, n))
			return 1;
	}
	return 0;
}

static int load(crio_err *err)
{
	static const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
	/* -K, -W: without the cache of compiled profiles, which is keyed by file names. */
	static const char *const argv[] = {"apparmor_parser", "-KWr", NULL};
	cleanup_call crio_call *call = call_new("LoadAppArmorProfile", now_mono_ns() + LOAD_NS);
	cleanup_spawn_result struct spawn_result res = {0};
	cleanup_free char *path = NULL;
	cleanup_err crio_err why = ERR_INIT;
	struct spawn s = SPAWN_INIT;

	if (!call)
		return err_nomem(err);
	if (spawn_find(argv[0], NULL, &path, &why) < 0)
		return err_set(err, CRIO_E_UNAVAILABLE,
			       "load AppArmor profile %s: %s (install the package apparmor, or set apparmor_profile to \"unconfined\")",
			       APPARMOR_DEFAULT, err_text(&why));
	s.path = path;
	s.argv = argv;
	s.env = env;
	int r = spawn_capture(&s, call, apparmor_default_text, strlen(apparmor_default_text), 4096, 4096, &res, err);
	if (r < 0)
		return err_wrap(err, "load AppArmor profile %s", APPARMOR_DEFAULT);
	if (res.exit_code)
		return err_set(err, CRIO_E_UNAVAILABLE, "load AppArmor profile %s: %s ended with %d: %.500s", APPARMOR_DEFAULT, path,
			       res.exit_code, res.err.p ? res.err.p : "");
	log_info("Loaded AppArmor profile %s", APPARMOR_DEFAULT);
	return 0;
}

int apparmor_need(const char *profile, crio_err *err)
{
	int r;

	if (str_eq(profile, APPARMOR_UNCONFINED))
		return 0;
	r = is_loaded(profile, err);
	if (r)
		return r < 0 ? r : 0;
	if (!str_eq(profile, APPARMOR_DEFAULT))
		return err_set(err, CRIO_E_INVALID, "AppArmor profile '%.256s' is not loaded on this node: load it with apparmor_parser(8)",
			       profile);
	cleanup_unlock pthread_mutex_t *l = lock(&load_lock);
	r = is_loaded(profile, err); /* by who held the lock before us? */
	return r ? (r < 0 ? r : 0) : load(err);
}

int apparmor_init(const char *profile, crio_err *err)
{
	if (!apparmor_enabled()) {
		log_info("AppArmor is disabled by the system or at CRI-O build-time");
		return 0;
	}
	log_info("AppArmor profile of containers that name none: %s", profile);
	return apparmor_need(profile, err);
}
