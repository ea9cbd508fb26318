#!/bin/bash
# demo.sh: one pod from a real registry to nothing left. `./bootstrap demo` runs it.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib/node.sh"
node_enter "$0" "$@"
set -euo pipefail
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
NODE=$(mktemp -d /var/tmp/crio-demo.XXXXXX)
trap 'rc=$?; node_stop >/dev/null 2>&1 || true; [ $rc = 0 ] || echo "demo failed ($rc)" >&2; exit $rc' EXIT
say "A registry on loopback, with an image made of Debian's busybox"
node_start
say "crio, on a configuration of its own in $NODE"
LEAKS_OFF=1 # the demo compares before and after by itself
crio_start --log-level info
cri Version '{}' | jq -c .
crio_cmd plugins list
before=$(node_snapshot)

say "Pull"
ref=$(cri -r image_ref PullImage "{\"image\":{\"image\":\"$REGISTRY/busybox:1\"}}")
echo "image id:     $ref"
cri ImageStatus "{\"image\":{\"image\":\"$REGISTRY/busybox:1\"}}" | jq -r '"image digest: " + .image.repo_digests[0]'

say "Run a pod and a container"
pod_config='{"metadata":{"name":"demo","uid":"demo-uid","namespace":"default","attempt":0},"hostname":"demo","log_directory":"'$NODE'/log/demo","linux":{"cgroup_parent":"/pod_demo","security_context":{"namespace_options":{"pid":1}}}}'
pod=$(cri -r pod_sandbox_id RunPodSandbox "{\"config\":$pod_config}")
echo "pod id:  $pod"
cri PodSandboxStatus "{\"pod_sandbox_id\":\"$pod\",\"verbose\":true}" >"$NODE/pod.json"
jq -r '"pod ip:  " + .status.network.ip' "$NODE/pod.json"
jq -r '"plugins: " + (.info.info | fromjson | .plugins)' "$NODE/pod.json"
ctr=$(cri -r container_id CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":{\"metadata\":{\"name\":\"hello\"},\"image\":{\"image\":\"$ref\"},\"command\":[\"sh\",\"-c\",\"echo hello from \$(hostname); echo to stderr >&2; sleep 1000\"],\"log_path\":\"hello.log\",\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":1}}}},\"sandbox_config\":$pod_config}")
cri StartContainer "{\"container_id\":\"$ctr\"}" >/dev/null
echo "container id: $ctr"

say "Exec"
cri ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"sh\",\"-c\",\"id; hostname; ip -4 addr show eth0 | grep inet\"],\"timeout\":10}" | jq -r '.stdout | @base64d'
say "Log"
node_wait 5 grep -q stderr "$NODE/log/demo/hello.log"
cat "$NODE/log/demo/hello.log"

say "Stop and remove everything"
cri StopContainer "{\"container_id\":\"$ctr\",\"timeout\":1}" >/dev/null
cri ContainerStatus "{\"container_id\":\"$ctr\"}" | jq -c '.status | {state, exit_code, reason}'
cri RemoveContainer "{\"container_id\":\"$ctr\"}" >/dev/null
cri StopPodSandbox "{\"pod_sandbox_id\":\"$pod\"}" >/dev/null
cri RemovePodSandbox "{\"pod_sandbox_id\":\"$pod\"}" >/dev/null
cri RemoveImage "{\"image\":{\"image\":\"$REGISTRY/busybox:1\"}}" >/dev/null
rm -rf "$NODE/log/demo"
after=$(node_snapshot)
if diff <(echo "$before") <(echo "$after"); then say "Nothing is left: mounts, namespaces, cgroups, links, addresses, processes and files are as before"
else echo "the lines above were left behind" >&2; exit 1; fi
crio_stop
