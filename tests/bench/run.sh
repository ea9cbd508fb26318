#!/bin/bash
# run.sh [-r ROUNDS] [-p PODS]: crio against Debian's containerd, both with crun, the same image, the same CNI configuration, on one
# private node. Prints a table, then counts for one pod and container: processes executed, fsyncs, and the daemons' memory.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../integration/lib/node.sh"
node_enter "$0" "$@"
set -euo pipefail
NODE=$(mktemp -d /var/tmp/crio-bench.XXXXXX)
stop() {
	rm -rf /tmp/cri-bench-logs
	[ -z "${CTRD_PID:-}" ] || { kill "$CTRD_PID" 2>/dev/null; wait "$CTRD_PID" 2>/dev/null; }
	pkill -f "containerd-shim.*$NODE" || true
	node_stop >/dev/null 2>&1 || true
}
trap stop EXIT
node_start
LOG_LEVEL=warn crio_start
cat >"$NODE/containerd.toml" <<T
version = 2
root = "$NODE/root/containerd"
state = "$NODE/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "$NODE/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$REGISTRY/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$CNI_BIN"
    conf_dir = "$NODE/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "crun"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun.options]
        BinaryName = "/usr/bin/crun"
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."$REGISTRY"]
    endpoint = ["http://$REGISTRY"]
T
containerd -c "$NODE/containerd.toml" >"$NODE/containerd.log" 2>&1 &
CTRD_PID=$!
peer() { "$CRI_CLIENT" -s "$NODE/run/containerd.sock" -t 60 "$@"; }
node_wait 30 peer Version '{}' || { tail -5 "$NODE/containerd.log" >&2; exit 1; }
for i in busybox pause; do cri PullImage "{\"image\":{\"image\":\"$REGISTRY/$i:1\"}}" >/dev/null; peer PullImage "{\"image\":{\"image\":\"$REGISTRY/$i:1\"}}" >/dev/null; done
memory() { awk '/^(VmRSS|Rss)/{print FILENAME, $0}' "/proc/$1/status" | sed "s|/proc/$1/status|$2|" | grep VmRSS; }
echo "before:"; memory "$CRIO_PID" crio; memory "$CTRD_PID" containerd
"$BUILD/tests/bench/cri-bench" -a "$NODE/run/crio.sock" -b "$NODE/run/containerd.sock" -i "$REGISTRY/busybox:1" -I "$REGISTRY/busybox:1" "$@"
echo "after:"; memory "$CRIO_PID" crio; memory "$CTRD_PID" containerd
if command -v strace >/dev/null; then
	strace -f -qq -o "$NODE/trace" -e trace=execve,fsync,fdatasync,syncfs,sync -p "$CRIO_PID" & S=$!
	sleep 1
	pc='{"metadata":{"name":"n","uid":"n","namespace":"n"},"log_directory":"/tmp/cri-bench-logs/n","linux":{"cgroup_parent":"/crio_bench","security_context":{"namespace_options":{"pid":1}}}}'
	pod=$(cri -r pod_sandbox_id RunPodSandbox "{\"config\":$pc}")
	ctr=$(cri -r container_id CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":{\"metadata\":{\"name\":\"c\"},\"image\":{\"image\":\"$REGISTRY/busybox:1\"},\"command\":[\"sleep\",\"100\"],\"log_path\":\"c.log\",\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":1}}}},\"sandbox_config\":$pc}")
	cri StartContainer "{\"container_id\":\"$ctr\"}" >/dev/null
	sleep 0.3; kill $S; wait $S 2>/dev/null || true
	echo; echo "one pod and container up: processes executed by crio and what it starts"
	grep -o 'execve("[^"]*"[^)]*) *= 0' "$NODE/trace" | sed 's/execve("\([^"]*\)", \[\([^]]*\)\].*/\1 [\2]/' | cut -c1-110
	echo "fsyncs: $(grep -cE 'fsync|fdatasync|syncfs' "$NODE/trace" || true)"
	grep -E 'fsync|fdatasync|syncfs' "$NODE/trace" | awk '{print $2}' | sort | uniq -c
	rm_pod() { cri StopPodSandbox "{\"pod_sandbox_id\":\"$1\"}" >/dev/null; cri RemovePodSandbox "{\"pod_sandbox_id\":\"$1\"}" >/dev/null; }
	rm_pod "$pod"
fi
