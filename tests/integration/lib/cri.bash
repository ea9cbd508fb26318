# cri.bash: what every suite loads: requests as JSON, and checks. The node is started by run.sh; crio by each file's setup_file,
# unless a test wants its own.
. "$(dirname "${BASH_SOURCE[0]}")/node.sh"

# pod_json NAME [JQ FILTER]: a PodSandboxConfig; the filter changes it.
pod_json() {
	jq -nc --arg n "$1" --arg l "$NODE/log/$1" '{metadata:{name:$n,uid:("uid-"+$n),namespace:"test",attempt:0},hostname:$n,log_directory:$l,
		linux:{cgroup_parent:("/pod_"+$n),security_context:{namespace_options:{pid:1}}}}'" | (${2:-.})"
}
# ctr_json NAME [JQ FILTER]: a ContainerConfig that sleeps. Values of envs are written as text.
ctr_json() {
	jq -nc --arg n "$1" --arg i "$REGISTRY/busybox:1" '{metadata:{name:$n,attempt:0},image:{image:$i},command:["sh","-c","trap \"exit 3\" TERM; while :; do sleep 0.05; done"],
		log_path:($n+".log"),linux:{security_context:{namespace_options:{pid:1}}}}'" | (${2:-.}) | if .envs then .envs[].value |= @base64 else . end"
}
# run_pod NAME [FILTER] [HANDLER]: prints the id.
run_pod() { cri -r pod_sandbox_id RunPodSandbox "{\"config\":$(pod_json "$1" "${2:-.}"),\"runtime_handler\":\"${3:-}\"}"; }
# create_ctr POD PODNAME NAME [FILTER] [POD FILTER]: prints the id.
create_ctr() { cri -r container_id CreateContainer "{\"pod_sandbox_id\":\"$1\",\"config\":$(ctr_json "$3" "${4:-.}"),\"sandbox_config\":$(pod_json "$2" "${5:-.}")}"; }
start_ctr() { cri StartContainer "{\"container_id\":\"$1\"}" >/dev/null; }
# run_ctr POD PODNAME NAME [FILTER]: created and started.
run_ctr() { local id; id=$(create_ctr "$@") && start_ctr "$id" && echo "$id"; }
# exec_ctr ID COMMAND...: its standard output; status is the command's.
exec_ctr() {
	local id=$1 out; shift
	out=$(cri ExecSync "$(jq -nc --arg id "$id" '{container_id:$id,timeout:20,cmd:$ARGS.positional}' --args -- "$@")") || return
	jq -r '.stdout // "" | @base64d' <<<"$out"; jq -r '.stderr // "" | @base64d' <<<"$out" >&2
	return "$(jq -r '.exit_code // 0' <<<"$out")"
}
ctr_field() { cri ContainerStatus "{\"container_id\":\"$1\"}" | jq -r ".status.$2"; }
pod_field() { cri PodSandboxStatus "{\"pod_sandbox_id\":\"$1\"}" | jq -r ".status.$2"; }
ctr_exited() { [ "$(ctr_field "$1" state)" = CONTAINER_EXITED ]; }
wait_exit() { node_wait "${2:-10}" ctr_exited "$1"; }
stop_ctr() { cri StopContainer "{\"container_id\":\"$1\",\"timeout\":${2:-0}}" >/dev/null; }
rm_ctr() { cri RemoveContainer "{\"container_id\":\"$1\"}" >/dev/null; }
rm_pod() { cri StopPodSandbox "{\"pod_sandbox_id\":\"$1\"}" >/dev/null && cri RemovePodSandbox "{\"pod_sandbox_id\":\"$1\"}" >/dev/null; }
pull() { cri -r image_ref PullImage "{\"image\":{\"image\":\"${1:-$REGISTRY/busybox:1}\"}}"; }
remove_all_pods() { local p; for p in $(cri ListPodSandbox '{}' | jq -r '.items[]?.id'); do rm_pod "$p"; done; }
# fails STATUS TEXT METHOD JSON: the call fails with that gRPC status (its number's name) and a message that has the text.
fails() {
	local want=$1 text=$2 out; shift 2
	if out=$(cri "$@" 2>&1); then echo "expected $want, it succeeded: $out" >&2; return 1; fi
	[[ $out == *"code = $want "* ]] || { echo "expected $want: $out" >&2; return 1; }
	[[ $out == *"$text"* ]] || { echo "expected text '$text': $out" >&2; return 1; }
}
log_has() { node_wait 5 grep -qiE -- "$1" "$NODE/crio.log"; }
# not COMMAND...: fails when it succeeds; a plain "!" fails no test.
not() { ! "$@"; }
# use_evil_cni: the node's network ends in a plugin that misbehaves as evil_cni says. Before crio_start.
use_evil_cni() {
	mkdir -p "$NODE/cnibin"; cp "$FIXTURES/cni-evil.sh" "$NODE/cnibin/evil"; evil_cni ok
	sed -i "s|plugin_dirs = .*|plugin_dirs = [\"$NODE/cnibin\", \"$CNI_BIN\"]|" "$NODE/etc/crio.conf"
	jq '.plugins += [{"type":"evil"}]' "$NODE/cni/10-crio.conflist" >"$NODE/cni.new" && mv "$NODE/cni.new" "$NODE/cni/10-crio.conflist"
}
evil_cni() { echo "$*" >"$NODE/cnibin/mode"; }
# What the fakes leave hanging, and only of this node.
sleepers() { local p; for p in $(pgrep -x sleep); do [ "$(readlink "/proc/$p/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ] && [[ $(tr '\0' ' ' <"/proc/$p/cmdline") == "sleep 1000 " ]] && echo "$p"; done; true; }
end_sleepers() { local p; for p in $(sleepers); do kill -KILL "$p" 2>/dev/null || true; done; }
# 0 on a sanitizer's build: it keeps freed memory.
rss_mb() { if grep -qE '__(asan|tsan)_init' "$CRIO"; then echo 0; return; fi; crio_pid; awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$CRIO_PID/status"; }
# Everything the CRI tells of every pod and container.
state_of_all() {
	local id
	cri ListPodSandbox '{}' | jq '[.items[]?]|sort_by(.id)'
	cri ListContainers '{}' | jq '[.containers[]?]|sort_by(.id)'
	for id in $(cri ListPodSandbox '{}' | jq -r '.items[]?.id' | sort); do
		cri PodSandboxStatus "{\"pod_sandbox_id\":\"$id\",\"verbose\":true}" | jq 'del(.timestamp)'; done
	for id in $(cri ListContainers '{}' | jq -r '.containers[]?.id' | sort); do
		cri ContainerStatus "{\"container_id\":\"$id\",\"verbose\":true}" | jq .; done
}
ctr_pid() { cri ContainerStatus "{\"container_id\":\"$1\",\"verbose\":true}" | jq -r '.info.info|fromjson|.pid'; }
