# leaks.sh: the leak check that every suite ends with can fail: each kind of thing is left behind on purpose.
. "$(dirname "$0")/lib.bash"
set -uo pipefail
export LOG_LEVEL=info
crio_start || exit 1
P=$(run_pod l1) && C=$(run_ctr "$P" l1 c1 2>/dev/null || { pull >/dev/null; run_ctr "$P" l1 c1; }) || exit 1
remove_all_pods; remove_all_images
if leaks_check >"$NODE/leaks.out" 2>&1; then ok "nothing is found where nothing is left"; else not_ok "nothing is found where nothing is left"; why "$NODE/leaks.out"; fi
# finds WHAT TEXT: while it is there the check names it, and when it is gone, nothing.
finds() {
	if leaks_check 0 >"$NODE/leaks.out" 2>&1 || ! grep -q -- "$2" "$NODE/leaks.out"; then not_ok "$1 is found"; why "$NODE/leaks.out"; else ok "$1 is found"; fi
	"${@:3}"
	leaks_check 15 >"$NODE/leaks.out" 2>&1 || { not_ok "$1 is gone again"; why "$NODE/leaks.out"; }
}
mount -t tmpfs leak "$NODE/root/overlay"; finds "a mount" "$NODE/root/overlay leak" umount "$NODE/root/overlay"
# Mounts that were here before us: one goes because its owner removes the directory, one because somebody here unmounts it.
O=$NODE/others; mkdir -p "$O"/{theirs,taken}; for D in theirs taken; do mount -t tmpfs $D "$O/$D"; done
mkfifo "$O/go"
# shellcheck disable=SC2016 # the other bash's own variables
unshare --mount --propagation private bash -c '. "$1"; NODE=$2; node_mounted >"$NODE/mounts"; node_mounts >"$NODE/was"; : >"$NODE/up"; read -r _ <"$NODE/go"
	node_mounted | grep -c "$NODE/theirs " >"$NODE/seen"; node_mounts | diff "$NODE/was" - >"$NODE/gone"; umount "$NODE/taken"; node_mounts | diff "$NODE/was" - >"$NODE/taken.diff"' - "${BASH_SOURCE%/*}/../integration/lib/node.sh" "$O" & S=$!
node_wait 5 test -e "$O/up"; umount "$O/theirs" "$O/taken"; rmdir "$O/theirs"; echo >"$O/go"; wait $S
if [ "$(cat "$O/seen")" = 0 ] && [ ! -s "$O/gone" ]; then ok "a mount of others that goes with its directory is none of ours"; else not_ok "a mount of others that goes with its directory is none of ours"; why "$O/gone"; fi
if grep -q "^< $O/taken taken" "$O/taken.diff"; then ok "one of others that is unmounted is found"; else not_ok "one of others that is unmounted is found"; why "$O/taken.diff"; fi
rm -rf "$O"
touch /var/run/netns/leak; finds "a pinned namespace" /var/run/netns/leak rm /var/run/netns/leak
ip link add veth-leak type dummy 2>/dev/null || ip link add veth-leak type bridge; finds "a link" veth-leak ip link del veth-leak
mkdir -p "$NODE/ipam/crio-test"; touch "$NODE/ipam/crio-test/10.85.9.9"; finds "an address" 10.85.9.9 rm "$NODE/ipam/crio-test/10.85.9.9"
D=/sys/fs/cgroup/memory; [ -d $D ] || D=/sys/fs/cgroup
mkdir $D/pod_leak && finds "a cgroup" pod_leak rmdir $D/pod_leak
nft add table ip crio-hostports; nft add set ip crio-hostports hairpins '{ type ipv4_addr . ipv4_addr ; }'
nft add element ip crio-hostports hairpins '{ 10.0.0.1 . 10.0.0.1 comment "ABCDEFGHIJKLMNOP" }'; finds "a host port" ABCDEFGHIJKLMNOP nft delete table ip crio-hostports
sleep 1000 & S=$!; finds "a process" '> sleep' kill $S
touch "$NODE/root/overlay-layers/leak"; finds "a file" overlay-layers/leak rm "$NODE/root/overlay-layers/leak"
python3 -c 'import socket, sys, time
v = [socket.socket(socket.AF_UNIX) for _ in range(4)]
[s.connect(sys.argv[1]) for s in v]; [s.send(b"PRI") for s in v]; print("up", flush=True); time.sleep(100)' "$NODE/run/crio.sock" >"$NODE/up" & S=$!
node_wait 5 test -s "$NODE/up"; sleep 0.3; finds "a descriptor of the daemon" crio.sock kill $S
LEAKS_THREADS=-1000
if leaks_found | grep threads >/dev/null; then ok "threads of the daemon are counted"; else not_ok "threads of the daemon are counted"; fi
crio_stop
tap_end
