/* annotations.c */
#include <string.h>

#include "core/conf/annotations.h"
#include "core/util/cleanup.h"

const struct conf_annotation conf_annotations[] = {
	{ "userns-mode.crio.io", "io.kubernetes.cri-o.userns-mode" },
	{ "devices.crio.io", "io.kubernetes.cri-o.Devices" },
	{ "shm-size.crio.io", "io.kubernetes.cri-o.ShmSize" },
	{ "unified-cgroup.crio.io", "io.kubernetes.cri-o.UnifiedCgroup" },
	{ "umask.crio.io", "io.kubernetes.cri-o.umask" },
	{ "cgroup2-mount-hierarchy-rw.crio.io", "io.kubernetes.cri-o.cgroup2-mount-hierarchy-rw" },
	{ "seccomp-notifier-action.crio.io", "io.kubernetes.cri-o.seccompNotifierAction" },
	{ "seccomp-profile.crio.io", "seccomp-profile.kubernetes.cri-o.io" },
	{ "link-logs.crio.io", "io.kubernetes.cri-o.LinkLogs" },
	{ "disable-fips.crio.io", "io.kubernetes.cri-o.DisableFIPS" },
	{ "try-skip-volume-selinux-label.crio.io", "io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel" },
	{ "platform-runtime-path.crio.io", "io.kubernetes.cri-o.PlatformRuntimePath" },
	{ "pod-linux-overhead.crio.io", "io.kubernetes.cri-o.PodLinuxOverhead" },
	{ "pod-linux-resources.crio.io", "io.kubernetes.cri-o.PodLinuxResources" },
	{ "spoofed.crio.io", "io.kubernetes.cri-o.Spoofed" },
	{ "cpu-load-balancing.crio.io", NULL },
	{ "cpu-quota.crio.io", NULL },
	{ "irq-load-balancing.crio.io", NULL },
	{ "cpu-c-states.crio.io", NULL },
	{ "cpu-freq-governor.crio.io", NULL },
	{ "cpu-shared.crio.io", NULL },
	{ "io.containers.trace-syscall", NULL },
	{ "org.opencontainers.image.stopSignal", NULL },
	{ "io.kubernetes.cri.rdt-class", NULL },
	/* Read by runc and crun, with effects on the host. */
	{ "bundle", NULL },
	{ "org.systemd.property.", NULL },
	{ "org.criu.config", NULL },
	{ "module.wasm.image/variant", NULL },
	{ "io.kubernetes.cri.container-type", NULL },
	{ "run.oci.", NULL },
};
const size_t conf_annotations_n = ARRAY_SIZE(conf_annotations);

static bool names(const struct conf_annotation *a, const char *s)
{
	return !strcmp(a->name, s) || (a->old && !strcmp(a->old, s));
}

bool conf_annotation_known(const char *name)
{
	for (size_t i = 0; i < conf_annotations_n; i++)
		if (names(&conf_annotations[i], name))
			return true;
	return false;
}
