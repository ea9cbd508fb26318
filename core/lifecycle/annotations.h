/*
 * annotations.h: CRI-O's annotations: which a pod may use, and the ones written into config.json. Names are V2
 * ("devices.crio.io") with an older V1 form ("io.kubernetes.cri-o.Devices"); V2 wins where both are given.
 */
#ifndef LIFECYCLE_ANNOTATIONS_H
#define LIFECYCLE_ANNOTATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/str.h"

/* Annotations with a gate, by their V2 name. */
#define ANN_USERNS_MODE "userns-mode.crio.io"
#define ANN_DEVICES "devices.crio.io"
#define ANN_SHM_SIZE "shm-size.crio.io"
#define ANN_UNIFIED_CGROUP "unified-cgroup.crio.io"
#define ANN_UMASK "umask.crio.io"
#define ANN_CGROUP2_RW "cgroup2-mount-hierarchy-rw.crio.io"
#define ANN_SECCOMP_NOTIFIER "seccomp-notifier-action.crio.io"
#define ANN_SECCOMP_PROFILE "seccomp-profile.crio.io"
#define ANN_LINK_LOGS "link-logs.crio.io"
#define ANN_DISABLE_FIPS "disable-fips.crio.io"
#define ANN_SKIP_SELINUX_LABEL "try-skip-volume-selinux-label.crio.io"
#define ANN_PLATFORM_RUNTIME_PATH "platform-runtime-path.crio.io"
#define ANN_POD_OVERHEAD "pod-linux-overhead.crio.io"
#define ANN_POD_RESOURCES "pod-linux-resources.crio.io"
#define ANN_SPOOFED "spoofed.crio.io"
#define ANN_TRACE_SYSCALL "io.containers.trace-syscall"
#define ANN_STOP_SIGNAL "org.opencontainers.image.stopSignal"

/* Written into config.json ("io.kubernetes.cri-o." and the name). */
#define ANN_(n) "io.kubernetes.cri-o." n
#define ANN_ANNOTATIONS ANN_("Annotations")
#define ANN_LABELS ANN_("Labels")
#define ANN_METADATA ANN_("Metadata")
#define ANN_CONTAINER_ID ANN_("ContainerID")
#define ANN_CONTAINER_NAME ANN_("ContainerName")
#define ANN_CONTAINER_TYPE ANN_("ContainerType")
#define ANN_CREATED ANN_("Created")
#define ANN_HOST_NAME ANN_("HostName")
#define ANN_HOSTNAME_PATH ANN_("HostnamePath")
#define ANN_IMAGE ANN_("Image")
#define ANN_IMAGE_NAME ANN_("ImageName")
#define ANN_IMAGE_REF ANN_("ImageRef")
#define ANN_IMAGE_REPO_DIGESTS ANN_("ImageRepoDigests")
#define ANN_KUBE_NAME ANN_("KubeName")
#define ANN_NAMESPACE ANN_("Namespace")
#define ANN_NAMESPACE_OPTIONS ANN_("NamespaceOptions")
#define ANN_PORT_MAPPINGS ANN_("PortMappings")
#define ANN_LOG_PATH ANN_("LogPath")
#define ANN_NAME ANN_("Name")
#define ANN_PRIVILEGED_RUNTIME ANN_("PrivilegedRuntime")
#define ANN_RESOLV_PATH ANN_("ResolvPath")
#define ANN_RUNTIME_HANDLER ANN_("RuntimeHandler")
#define ANN_SANDBOX_ID ANN_("SandboxID")
#define ANN_SANDBOX_NAME ANN_("SandboxName")
#define ANN_SECCOMP_PROFILE_PATH ANN_("SeccompProfilePath")
#define ANN_SHM_PATH ANN_("ShmPath")
#define ANN_MOUNT_POINT ANN_("MountPoint")
#define ANN_STDIN ANN_("Stdin")
#define ANN_STDIN_ONCE ANN_("StdinOnce")
#define ANN_TTY ANN_("TTY")
#define ANN_VOLUMES ANN_("Volumes")
#define ANN_HOST_NETWORK ANN_("HostNetwork")
#define ANN_CGROUP_PARENT ANN_("CgroupParent")
#define ANN_CNI_RESULT ANN_("CNIResult")
#define ANN_IP ANN_("IP")		   /* + ".0", ".1" */
#define ANN_MANAGER "io.container.manager" /* = "cri-o" */

/* May this name stand in allowed_annotations? */
bool annotation_known(const char *name);
/* True unless CRI-O or a runtime would act on key and `allowed` (names; NULL none) does not have it. Prefix match; the
 * V1 and V2 forms of a name count as one. _filter removes the keys that are not. */
/* One that the daemon itself writes into config.json and reads at recovery: a client's of that name is not written
 * flat. */
bool annotation_reserved(const char *key);
bool annotation_allowed(const char *key, const struct strv *allowed);
int annotations_filter(struct kvs *m, const struct strv *allowed, crio_err *err);
/* The value by V2 name, V2 form first; container ("" pod-wide): "<name>/<container>" or the old "<name>.<container>".
 * NULL: absent. */
const char *annotation_get(const struct kvs *m, const char *v2_name, const char *container);
/* A Kubernetes quantity above 0, of bytes or bits a second: "128Mi", "1.5G", "67108864", "1e6"; fractions are rounded up. */
bool quantity_parse(const char *s, int64_t *ret);

#endif
