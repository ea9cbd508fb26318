#!/usr/bin/env bats
# A second daemon on a place of the first: it is refused at once, says who is there, and touches nothing.
load lib/cri.bash

setup_file() { crio_start; pull >/dev/null; pull "$REGISTRY/pause:1" >/dev/null; }
teardown_file() { suite_end; }
teardown() { [ -f "$NODE/crio.pid" ] || crio_start; remove_all_pods; rm -rf "$NODE/second"; }

# second SED...: another daemon whose configuration differs by that; all places are its own unless the script says otherwise.
own_root="s|^root = .*|root = \"$NODE/second/root\"|"
own_runroot="s|^runroot = .*|runroot = \"$NODE/second/storage\"|"
own_socket="s|^listen = .*|listen = \"$NODE/second/crio.sock\"|"
second() {
	mkdir -p "$NODE/second"
	sed "s|^state_dir = .*|state_dir = \"$NODE/second/state\"|;s|^run_dir = .*|run_dir = \"$NODE/second/plugins\"|;$*" "$NODE/etc/crio.conf" >"$NODE/second/crio.conf"
	timeout 20 "$CRIO" -c "$NODE/second/crio.conf" -d "$NODE/etc/conf.d" --registries-conf "$NODE/etc/registries.conf" \
		--registries-conf-dir "$NODE/etc/registries.d" --log-level debug 3>&-
}
everything() { node_snapshot; stat -c '%n %i %Y' "$NODE/run/crio.sock" "$NODE"/root/*/*.json; cat "$NODE"/root/*-containers/containers.json; state_of_all; }
# refused PLACE PATH SED...
refused() {
	local place=$1 path=$2 p before t; shift 2
	crio_pid; p=$(run_pod s1); run_ctr "$p" s1 c1 >/dev/null
	before=$(everything); t=$SECONDS
	run second "$@"
	[ "$status" = 1 ]; [ $((SECONDS - t)) -le 20 ]
	[[ $output == *"the $place $path is in use by another crio, pid $CRIO_PID, which serves on $NODE/run/crio.sock"* ]] || { echo "$output" >&2; false; }
	# It says that and nothing else: no part had begun.
	[ -z "$(grep -vE 'core/conf/|container minimum memory' <<<"$output" | grep -v 'start as the only daemon')" ] || { echo "$output" >&2; false; }; [ ! -e "$NODE/second/state" ]; [ ! -e "$NODE/second/plugins" ]
	diff <(echo "$before") <(everything)
}

@test "the same configuration" { refused "storage root" "$NODE/root" ""; }
@test "another socket, the same storage root" { refused "storage root" "$NODE/root" "$own_socket;$own_runroot"; }
@test "another socket, the same storage root under another name" {
	mkdir -p "$NODE/second"; ln -s "$NODE/root" "$NODE/second/link"
	refused "storage root" "$NODE/second/link" "$own_socket;$own_runroot;s|^root = .*|root = \"$NODE/second/link\"|"
}
@test "another socket and storage root, the same run root" { refused "run root" "$NODE/run/storage" "$own_socket;$own_root"; }
@test "another storage root and run root, the same socket" { refused socket "$NODE/run/crio.sock" "$own_root;$own_runroot"; }

@test "the socket of another kind of daemon" {
	mkdir -p "$NODE/second"
	python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(60)' "$NODE/second/crio.sock" 3>&- & local other=$!
	node_wait 5 test -S "$NODE/second/crio.sock"; local inode; inode=$(stat -c %i "$NODE/second/crio.sock")
	run second "$own_root;$own_runroot;$own_socket"
	[ "$status" = 1 ]; [[ $output == *"process $other is listening on $NODE/second/crio.sock"* ]]
	[ "$(stat -c %i "$NODE/second/crio.sock")" = "$inode" ]; [ ! -e "$NODE/second/state" ]
	kill "$other"; wait "$other" || true
}

@test "a root that everybody may write to, or that is somebody's, is refused" {
	mkdir -p "$NODE/second/root"; chmod 1777 "$NODE/second/root"
	run second "$own_root;$own_runroot;$own_socket"
	[ "$status" = 1 ]; [[ $output == *"the storage root $NODE/second/root may be written by everybody (mode 1777): chmod 0700"* ]] || { echo "$output" >&2; false; }
	chmod 700 "$NODE/second/root"; mkdir -p "$NODE/second/storage"; chown 1000 "$NODE/second/storage"
	run second "$own_root;$own_runroot;$own_socket"
	[ "$status" = 1 ]; [[ $output == *"the run root $NODE/second/storage belongs to user 1000: it must be root's"* ]] || { echo "$output" >&2; false; }
	[ -z "$(ls "$NODE/second/storage")" ]; [ ! -e "$NODE/second/state" ]
}

@test "two daemons with nothing in common serve side by side, and a killed one's place is free at once" {
	second "$own_root;$own_runroot;$own_socket" >"$NODE/second.log" 2>&1 3>&- & local bg=$!
	answers() { "$CRI_CLIENT" -s "$NODE/second/crio.sock" -t 5 Version '{}'; }
	node_wait 30 answers; cri Version '{}'
	# What it has made itself is nobody else's: 0700, or 0711 where containers pass through.
	for d in root storage root/overlay-containers; do
		[[ $(stat -c %a "$NODE/second/$d") =~ ^7[01][01]$ ]] || { stat -c '%n %a' "$NODE/second/$d" >&2; false; }
	done
	kill "$bg"; wait "$bg" || true; rm -f "$NODE/second.log"
	crio_kill; crio_start # it waits a second for the lock and no longer
	p=$(run_pod s2)
}
