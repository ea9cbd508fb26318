#!/bin/bash
# run.sh [-r ROUNDS] [-l LOAD] [-o CSV] [PART...]: crio against a peer (PEER=containerd, Debian's; PEER=cri-o with CRI_O, CRI_O_PINNS), both
# with the same crun (CRUN), image, registry and CNI configuration, on one private node. Parts, all unless named:
#
#	rounds     a pod and container up, exec, status, stop, remove
#	burst      8 pods and containers at once
#	pods100    the lists, the figures of all containers and pods, and kill -9 to the first complete list, with 100 pods on both sides; memory; wake-ups of an idle crio
#	synth      the lists over 1,000 and 10,000 pods: made state for crio and CRI-O; over 1,000 containers that were never started in containerd
#	streams    exec streams: bytes in both directions, a short command (streams.sh)
#	counts     programs and fsyncs of one pod and container
# IDLE=no leaves out the minutes of strace.
# Not part of any check: figures are for people. A load average above LOAD (1.5) ends it: ratios would tell of other things.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/integration/lib/node.sh
. "$here/../integration/lib/node.sh"
node_enter "$0" "$@"
# shellcheck source=tests/bench/peers.sh
. "$here/peers.sh"
# shellcheck source=tests/bench/streams.sh
. "$here/streams.sh"
set -euo pipefail
CRUN=${CRUN:-/usr/bin/crun} rounds=15 load=1.5 csv=/dev/null
while getopts r:l:o: o; do
	case $o in r) rounds=$OPTARG ;; l) load=$OPTARG ;; o) csv=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- rounds burst pods100 synth streams counts
NODE=$(mktemp -d /var/tmp/crio-bench.XXXXXX)
stop() {
	rm -rf /tmp/cri-bench-logs
	peer_stop || true
	pkill -f "containerd-shim.*$NODE" || true
	pkill -f "conmon.*$NODE" || true
	node_stop >/dev/null 2>&1 || true
	rm -rf "$NODE" 2>/dev/null || true
}
trap stop EXIT
export LEAKS_OFF=1
node_start
sed -i "s|runtime_path = \"/usr/bin/crun\"|runtime_path = \"$CRUN\"|" "$NODE/etc/crio.conf"
crio_argv
CRIO_COMMAND=$(in_background "${CRIO_ARGV[*]} --log-level warn" "$NODE/crio.pid" "$NODE/crio.log")
ours_start() { sh -c "$CRIO_COMMAND"; crio_pid; node_wait 30 crio_ready || { tail -5 "$NODE/crio.log" >&2; return 1; }; }
ours_start
peer_start
for i in busybox pause; do
	cri PullImage "{\"image\":{\"image\":\"$REGISTRY/$i:1\"}}" >/dev/null
	peer PullImage "{\"image\":{\"image\":\"$REGISTRY/$i:1\"}}" >/dev/null
done
calm() { # the one-minute load average has to sink to what cri-bench accepts
	local i
	for i in $(seq 40); do awk -v l="$load" '{exit !($1 < l)}' /proc/loadavg && return; sleep 6; done
}
bench() {
	calm
	"$BUILD/tests/bench/cri-bench" -a "$NODE/run/crio.sock" -b "$PEER_SOCKET" -i "$REGISTRY/busybox:1" -I "$REGISTRY/busybox:1" -m crio -M "$PEER" \
		-r "$rounds" -l "$load" -o "$csv" -A "$NODE/crio.pid" -x "$CRIO_COMMAND" -B "$PEER_PID_FILE" -X "$PEER_COMMAND" "$@"
}
memory() {
	awk -v who="$2" '/^VmRSS|^RssAnon/{printf "%s %s %.1f MB\n", who, $1, $2 / 1024}' "/proc/$(cat "$1")/status"
}
memories() { memory "$NODE/crio.pid" crio; memory "$PEER_PID_FILE" "$PEER"; }

part_rounds() { memories; bench rounds; memories; }
part_burst() { bench burst; }

pod_conf() { # pod_conf NAME
	echo '{"metadata":{"name":"'"$1"'","uid":"'"$1"'","namespace":"bench"},"log_directory":"/tmp/cri-bench-logs/'"$1"'","linux":{"cgroup_parent":"/crio_bench","security_context":{"namespace_options":{"pid":1}}}}'
}
up() { # up CLIENT NAME: pod id and container id
	local pc pod ctr; pc=$(pod_conf "$2")
	pod=$("$1" -r pod_sandbox_id RunPodSandbox "{\"config\":$pc}")
	ctr=$("$1" -r container_id CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":{\"metadata\":{\"name\":\"c\"},\"image\":{\"image\":\"$REGISTRY/busybox:1\",\"user_specified_image\":\"$REGISTRY/busybox:1\"},\"command\":[\"sleep\",\"1000\"],\"log_path\":\"c.log\",\"linux\":{\"security_context\":{\"namespace_options\":{\"pid\":1}}}},\"sandbox_config\":$pc}")
	"$1" StartContainer "{\"container_id\":\"$ctr\"}" >/dev/null
	echo "$pod $ctr"
}
ended() { # ended CLIENT POD CONTAINER
	"$1" StopContainer "{\"container_id\":\"$3\"}" >/dev/null
	"$1" StopPodSandbox "{\"pod_sandbox_id\":\"$2\"}" >/dev/null
}
down() { # down CLIENT POD CONTAINER
	ended "$@"; "$1" RemovePodSandbox "{\"pod_sandbox_id\":\"$2\"}" >/dev/null
}

idle() { # system calls that return in a minute without clients, in all threads
	[ -n "$(command -v strace)" ] && [ "${IDLE:-}" != no ] || return 0
	sleep 75 # gRPC goes when its last connection has been gone for a while, and threads that have nothing to do after a minute
	timeout 60 strace -f -qq -o "$NODE/idle" -p "$(cat "$NODE/crio.pid")" || true
	echo "system calls of an idle crio in a minute, $1 pods: $(grep -vcE 'strace|<unfinished|resumed>|detached|exited|restart_syscall' "$NODE/idle" || true)"
}

part_pods100() {
	local mine=() theirs=() i
	memories; idle 0
	for i in $(seq 100); do mine+=("$(up cri "idle-$i")"); theirs+=("$(up peer "idle-$i")"); done
	memories
	bench lists
	bench stats
	bench restart
	crio_pid; memories; idle 100
	for i in "${mine[@]}"; do down cri "${i% *}" "${i#* }"; done
	for i in "${theirs[@]}"; do down peer "${i% *}" "${i#* }"; done
}

# The daemon whose state grows is down meanwhile.
part_synth() {
	local n own='' other='' what=lists sizes=(1000 10000)
	own=$(up cri synth)
	ended cri "${own% *}" "${own#* }"
	if [ "$PEER" = cri-o ]; then other=$(up peer synth); ended peer "${other% *}" "${other#* }"; fi
	crio_stop; cp -a "$NODE/root" "$NODE/root.one"; cp -a "$NODE/run/storage" "$NODE/run.one"
	[ -z "$other" ] || { peer_stop; cp -a "$NODE/peer/root" "$NODE/peer.one"; cp -a "$NODE/peer/run/storage" "$NODE/peer-run.one"; }
	[ -n "$other" ] || what=containers sizes=(1000) # ten thousand real ones take containerd an hour
	for n in "${sizes[@]}"; do
		crio_stop; rm -rf "$NODE/root" "$NODE/run/storage"; cp -a "$NODE/root.one" "$NODE/root"; cp -a "$NODE/run.one" "$NODE/run/storage"
		python3 "$here/synth.py" "$NODE/root" "$NODE/run/storage" "$n"
		ours_start
		if [ -n "$other" ]; then
			peer_stop; rm -rf "$NODE/peer/root" "$NODE/peer/run/storage"; cp -a "$NODE/peer.one" "$NODE/peer/root"; cp -a "$NODE/peer-run.one" "$NODE/peer/run/storage"
			python3 "$here/synth.py" "$NODE/peer/root" "$NODE/peer/run/storage" "$n"
			sh -c "$PEER_COMMAND"; node_wait 300 peer Version '{}'
		else
			"$BUILD/tests/bench/cri-bench" -b "$PEER_SOCKET" -I "$REGISTRY/busybox:1" -n $((n - $(peer ListContainers '{}' | jq '.containers | length'))) fill
		fi
		echo "crio: $(cri ListPodSandbox '{}' | jq '.items | length') pods, $(cri ListContainers '{}' | jq '.containers | length') containers; $PEER: $(peer ListPodSandbox '{}' | jq '.items | length') pods, $(peer ListContainers '{}' | jq '.containers | length') containers"
		bench $what; memories
	done
}

part_counts() {
	[ -n "$(command -v strace)" ] || { echo "strace is not installed: no counts"; return; }
	local s ids
	crio_pid
	strace -f -qq -o "$NODE/trace" -e trace=execve,fsync,fdatasync,syncfs,sync -p "$CRIO_PID" & s=$!
	sleep 1
	ids=$(up cri counted)
	sleep 0.3; kill $s; wait $s 2>/dev/null || true
	echo; echo "one pod and container up: processes executed by crio and what it starts"
	grep -o 'execve("[^"]*"[^)]*) *= 0' "$NODE/trace" | sed 's/execve("\([^"]*\)", \[\([^]]*\)\].*/\1 [\2]/' | cut -c1-110
	echo "fsyncs: $(grep -cE 'fsync|fdatasync|syncfs' "$NODE/trace" || true)"
	grep -E 'fsync|fdatasync|syncfs' "$NODE/trace" | awk '{print $2}' | sort | uniq -c || true
	down cri "${ids% *}" "${ids#* }"
}

for part; do printf '\n### %s\n\n' "$part"; "part_$part"; done
