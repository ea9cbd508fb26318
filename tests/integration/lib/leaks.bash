# leaks.bash: nothing may stay behind. What is there when crio first runs on a node is the base; once all pods and images are
# removed there must be no more than that: mounts, namespaces, links, addresses, host ports, cgroups, processes, records, files, and the
# daemon's descriptors and threads. crio_start takes the base; every suite ends with leaks_end.

# Processes below the node's first that are programs of containers, or of those who make them.
leaks_processes() {
	local top=$$ up
	while up=$(awk '/^PPid/ {print $2}' "/proc/$top/status") && [ "$up" -gt 1 ] && [ "$(readlink "/proc/$up/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ]; do top=$up; done
	ps -eo pid=,ppid=,stat=,comm= | awk -v top="$top" '
		{ parent[$1] = $2; comm[$1] = $4; stat[$1] = $3 }
		END { for (p in parent) { for (q = p; q in parent && q != top; q = parent[q]); if (q == top && stat[p] !~ /Z/ &&
			comm[p] ~ /^(conmon|crun|runc|containerd-shim.*|sh|sleep|pause|true|bridge|host-local|portmap|loopback|busybox)$/) print comm[p] } }' | sort
}
leaks_fds() { # of the daemon, by what they are; a socket with its path, or "registry": curl's connections and its pairs to wake itself
	local f closed
	# A connection that the other side has reset is in no table, and stays with curl until that looks: its protocol says what it was.
	closed=$(python3 -c '
import os, sys
for n in os.listdir(d := "/proc/%s/fd/" % sys.argv[1]):
    try:
        if os.readlink(d + n).startswith("socket:") and os.getxattr(d + n, "system.sockprotoname").startswith(b"TCP"): print(os.readlink(d + n))
    except OSError: pass' "$1")
	for f in "/proc/$1"/fd/*; do readlink "$f" || true; done 2>/dev/null |
		awk -v closed="$closed" 'BEGIN { split(closed, c, "\n"); for (i in c) name[c[i]] = "registry" }
			FILENAME ~ /tcp/ { name["socket:[" $10 "]"] = "registry"; next } FILENAME ~ /unix/ { name["socket:[" $7 "]"] = NF > 7 ? $8 : "registry"; next }
			$0 in name { print name[$0]; next } { print }' /proc/net/tcp /proc/net/tcp6 /proc/net/unix - |
		sed -E 's/:\[[0-9]+\]$//; s|/proc/[0-9]+/|/proc/N/|' | sort | uniq -c
}
leaks_hostports() { # elements and chains of pods; the tables stay, as CRI-O's do
	{ nft list table ip crio-hostports; nft list table ip6 crio-hostports; } 2>/dev/null | grep -oE '[^{,]* comment "[A-Z2-7]{16}"' || true
	nft list ruleset 2>/dev/null | grep -oE 'chain (KUBE-HP|CRIO-MASQ)-[A-Z2-7]+' || true
}
leaks_state() {
	node_snapshot | grep -vE '^(log/|state/clean|run/(version|crio.sock|crio.lock|plugins/probed$|plugins/network-cni/[^/]*/versions$)|root/[a-z]+-images/images.lock)'
	echo "# other processes"; leaks_processes
	echo "# host ports"; leaks_hostports
}
leaks_base() {
	leaks_state >"$NODE/leaks.base"
	leaks_fds "$CRIO_PID" >"$NODE/leaks.fds"; ls "/proc/$CRIO_PID/task" | wc -l >"$NODE/leaks.threads"
}
# More of a kind than at the start. Connections to registries wait for their next use, and one of a client may just be ending.
leaks_more_fds() {
	awk 'NR == FNR { was[$2 " " $3] = $1; next } { max = was[$2 " " $3]; if ($2 == "registry") max += 24; if ($2 ~ /crio.sock$/) max++; if ($2 ~ /eventfd|eventpoll/) max += 2; if ($2 ~ /bats-run/) next;
		if ($1 > max) print "descriptors: " $0 " (at the start: " max ")" }' "$NODE/leaks.fds" <(leaks_fds "$1")
}
# Threads that have nothing to do stay a minute: there are not more of them than the suites' busiest moment needs.
leaks_more_threads() { local n; n=$(ls "/proc/$1/task" | wc -l); [ "$n" -le $(($(cat "$NODE/leaks.threads") + ${LEAKS_THREADS:-80})) ] || echo "threads: $n"; }
leaks_found() { # prints what is left
	local pid; pid=$(cat "$NODE/crio.pid" 2>/dev/null || true)
	diff "$NODE/leaks.base" <(leaks_state) | grep -E '^[<>]' || true
	[ -z "$pid" ] || ! crio_alive "$pid" || { leaks_more_fds "$pid"; leaks_more_threads "$pid"; }
}
leaks_none() { [ -z "$(leaks_found)" ]; }
# leaks_check [SECONDS]: fails, and says what, unless all is as it was at the start. What ends by itself gets a moment.
# shellcheck disable=SC2120
leaks_check() {
	node_wait "${1:-5}" leaks_none || { echo "left behind ('<' was there at the start, '>' is there now):"; leaks_found; return 1; } >&2
}
remove_all_images() {
	local i
	for i in $(cri ListImages '{}' | jq -r '.images[]?.id'); do cri RemoveImage "{\"image\":{\"image\":\"$i\"}}" >/dev/null || return; done
}
# leaks_end: removes all that the daemon knows of; then nothing is left. For teardown_file.
leaks_end() {
	[ -s "$NODE/crio.pid" ] || crio_start
	crio_pid; crio_alive "$CRIO_PID" || crio_start
	remove_all_pods && remove_all_images && leaks_check
}

# For a test that wants the node as it was before it, while pods or images of others stay. clean_base [PATTERN]: as it is now, but for
# lines of the snapshot that match; clean [SECONDS [FILE]]: it is so again, or as a clean_state that is in FILE, at once or soon: what
# is removed may end in the background.
clean_base() { echo "^log/|^state/clean|^run/(version|crio.sock)${1:+|$1}" >"$NODE/clean.not"; clean_state >"$NODE/clean.base"; }
clean_state() { node_snapshot | grep -vEf "$NODE/clean.not"; }
clean_diff() { diff "${1:-$NODE/clean.base}" <(clean_state); }
clean() { node_wait "${1:-5}" clean_diff "${2:-}" || clean_diff "${2:-}"; }

suite_end() { local rc=0; leaks_end || rc=1; crio_stop || rc=1; return $rc; }
