#!/usr/bin/env bats
# The machine is booted again, crio is upgraded, or it ends without having the time to: what is kept, what is wiped, what is repaired.
# And the commands for that without a daemon: crio wipe, crio check.
load lib/cri.bash

setup_file() {
	printf '[crio]\nversion_file_persist = "%s"\n' "$NODE/state/version" >"$NODE/etc/conf.d/10-persist.conf"
	use_evil_cni; crio_start; pull >/dev/null; pull "$REGISTRY/twolayer:1" >/dev/null; pull "$REGISTRY/pause:1" >/dev/null; clean_base '^state/version|boot_id|^run/(exits|attach)'
}
teardown_file() { umount /proc/sys/kernel/random/boot_id 2>/dev/null || true; crio_stop; }
teardown() { evil_cni ok; [ -f "$NODE/crio.pid" ] || crio_start; remove_all_pods; }

pods_n() { cri ListPodSandbox '{}' | jq '.items // [] | length'; }
images_n() { cri ListImages '{}' | jq '.images | length'; }
# What a reboot does to a node: every process, mount and pin of the pods is gone, and so is what is in the run directories.
reboot() {
	local f p m
	crio_kill
	for p in $(find /sys/fs/cgroup -path '*/pod_*' -name cgroup.procs -exec cat {} + | sort -u); do kill -KILL "$p" 2>/dev/null || true; done
	sleep 0.5
	for m in $(awk -v n="$NODE/" 'index($5, n) == 1 {print $5}' /proc/self/mountinfo | sort -r); do umount -l "$m"; done
	for f in /var/run/netns/* /var/run/ipcns/* /var/run/utsns/*; do umount "$f" 2>/dev/null || true; rm -f "$f"; done
	find /sys/fs/cgroup -depth -type d -path '*/pod_*' -exec rmdir {} + 2>/dev/null || true
	rm -rf "${NODE:?}"/run/*
	ip link | sed -n 's/^[0-9]*: \(veth[^@:]*\).*/\1/p' | while read -r f; do ip link del "$f" || true; done
	# Another boot has another name.
	umount /proc/sys/kernel/random/boot_id 2>/dev/null || true
	cat /proc/sys/kernel/random/uuid >"$NODE/boot_id"; mount --bind "$NODE/boot_id" /proc/sys/kernel/random/boot_id
}
fill() { # fill: two pods, one with an infra container; three containers
	p1=$(run_pod b1); c1=$(run_ctr "$p1" b1 c1); c2=$(create_ctr "$p1" b1 c2)
	p2=$(run_pod b2 '.linux.security_context.namespace_options.pid=0'); c3=$(run_ctr "$p2" b2 c3)
}
no_wipe() { printf '[crio]\ninternal_wipe = false\n' >"$NODE/etc/conf.d/20-wipe.conf"; }
wipe_again() { rm -f "$NODE/etc/conf.d/20-wipe.conf"; }

@test "another boot: pods are wiped, their addresses given back, images stay" {
	local n; fill; n=$(images_n); reboot; crio_start
	[ "$(pods_n)" = 0 ]; [ "$(images_n)" = "$n" ]; clean
	[ "$(cat "$NODE/run/version")" = "\"$(crio_cmd version -j | jq -r .version)\"" ]; log_has "Wiping 2 pod sandboxes: the node was rebooted"
	fill; [ "$(exec_ctr "$c1" hostname)" = b1 ]; rm_pod "$p1"; rm_pod "$p2"; clean
}

@test "another boot without internal_wipe: nothing is claimed to run, whatever the version file says and whoever has the old pids" {
	local s q; fill; no_wipe; s=$NODE/root/overlay-containers/$c1/userdata/state.json
	reboot
	# A process of today that has a container's number and start time.
	sleep 1000 3>&- & q=$!; jq --argjson p $q --arg t "$(awk '{print $22}' "/proc/$q/stat")" '.pid = $p | .initPid = $p | .initStartTime = $t' "$s" >"$NODE/s"; mv "$NODE/s" "$s"
	mkdir -p "$NODE/run"; echo '"1.36.0"' >"$NODE/run/version"; crio_start
	[ "$(cri ListPodSandbox '{}' | jq '[.items[] | select(.state == "SANDBOX_NOTREADY")] | length')" = 2 ]
	[ "$(cri ListContainers '{}' | jq '[.containers[] | select(.state == "CONTAINER_EXITED")] | length')" = 3 ]
	fails FailedPrecondition "" StartContainer "{\"container_id\":\"$c2\"}"; fails FailedPrecondition "" ExecSync "{\"container_id\":\"$c1\",\"cmd\":[\"ls\"]}"
	stop_ctr "$c1" 5; rm_pod "$p1"; rm_pod "$p2"; kill -0 $q; kill $q; wipe_again; clean
}

@test "another boot with the network not up yet: the addresses are given back as soon as it is" {
	fill; evil_cni del-fail; reboot; crio_start
	log_has "cannot be removed yet, which is tried again"; [ -z "$(cri ListContainers '{"filter":{"state":{"state":1}}}' | jq -r '.containers[]?.id')" ]
	evil_cni ok; node_wait 10 sh -c "[ -z \"\$(ls $NODE/ipam/crio-test | grep -vE 'lock|last_reserved')\" ]"; clean 10; [ "$(pods_n)" = 0 ]
}

@test "another minor version: pods and their images are wiped, other images stay; a patch release wipes nothing" {
	local n; fill; n=$(images_n)
	crio_stop; echo '"1.36.99"' >"$NODE/state/version"; echo '"1.36.99"' >"$NODE/run/version"; crio_start
	[ "$(pods_n)" = 2 ]; [ "$(ctr_field "$c1" state)" = CONTAINER_RUNNING ]; [ "$(images_n)" = "$n" ]
	crio_stop; echo '"1.35.2"' >"$NODE/state/version"; crio_start
	[ "$(pods_n)" = 0 ]; [ -z "$(cri ImageStatus "{\"image\":{\"image\":\"$REGISTRY/busybox:1\"}}" | jq -r '.image.id // empty')" ]
	[ -n "$(cri ImageStatus "{\"image\":{\"image\":\"$REGISTRY/twolayer:1\"}}" | jq -r .image.id)" ]; pull >/dev/null; pull "$REGISTRY/pause:1" >/dev/null; rm -rf "$NODE/log"/b*
}

@test "an orderly end leaves its mark and a crash does not; after one the storage is checked, and what is damaged goes" {
	local id layer; pull "$REGISTRY/user:1" >/dev/null
	[ ! -e "$NODE/state/clean.shutdown" ]; [ -e "$NODE/state/clean.shutdown.supported" ]
	crio_stop; [ -e "$NODE/state/clean.shutdown" ]; : >"$NODE/crio.log"; crio_start; [ ! -e "$NODE/state/clean.shutdown" ]
	[ -z "$(grep 'because of unclean shutdown' "$NODE/crio.log")" ]
	p1=$(run_pod b1); c1=$(run_ctr "$p1" b1 c1)
	id=$(cri ImageStatus "{\"image\":{\"image\":\"$REGISTRY/twolayer:1\"}}" | jq -r .image.id)
	layer=$(jq -r --arg i "$id" '.[] | select(.id == $i) | .layer' "$NODE/root/overlay-images/images.json")
	crio_kill; rm -rf "$NODE/root/overlay/$layer"; crio_start
	log_has "Checking storage directory .* because of unclean shutdown"; log_has "layer $layer is recorded but has no tree"
	[ -z "$(cri ImageStatus "{\"image\":{\"image\":\"$REGISTRY/twolayer:1\"}}" | jq -r '.image.id // empty')" ]
	[ "$(ctr_field "$c1" state)" = CONTAINER_RUNNING ]; [ "$(exec_ctr "$c1" hostname)" = b1 ]; rm_pod "$p1"
	pull "$REGISTRY/twolayer:1" >/dev/null
}

@test "crio wipe: does what is due, refuses beside a daemon, and --force takes pods and images" {
	fill; run crio_cmd wipe; [ "$status" != 0 ]; [[ $output == *"a crio daemon is running on"* ]]
	no_wipe; crio_stop
	crio_cmd wipe 2>"$NODE/wipe.out"; grep -q "no wipe needed" "$NODE/wipe.out"
	crio_start; [ "$(pods_n)" = 2 ]; rm_pod "$p1"; rm_pod "$p2"; fill; reboot; touch "$NODE/state/clean.shutdown"
	crio_cmd wipe; [ "$(jq length "$NODE/root/overlay-containers/containers.json")" = 0 ]
	crio_start; [ "$(pods_n)" = 0 ]; [ "$(images_n)" -ge 3 ]; p1=$(run_pod b1); c1=$(run_ctr "$p1" b1 c1); rm_ctr "$c1"; cri StopPodSandbox "{\"pod_sandbox_id\":\"$p1\"}"
	c1=$(crio_stop; crio_cmd wipe -f 2>&1); crio_start; [ "$(pods_n)" = 0 ]; wipe_again
	run crio_cmd wipe --nonsense; [ "$status" != 0 ]; [[ $output == *"--nonsense"* ]]
	rm -rf "$NODE"/ipam/crio-test/[0-9f]*; pull >/dev/null; pull "$REGISTRY/pause:1" >/dev/null
}

@test "crio wipe after a boot that followed a crash: the whole root goes, once in a boot; not while another program's container is mounted" {
	local f=/run/crio/crio-wipe-done; rm -f $f
	fill; reboot; podman --root "$NODE/root" --runroot "$NODE/run/storage" create --name other "$REGISTRY/busybox:1" true >/dev/null 2>&1 || skip "podman cannot make a container here"
	podman --root "$NODE/root" --runroot "$NODE/run/storage" mount other >/dev/null
	run crio_cmd wipe; [ "$status" != 0 ]; [[ $output == *"of another program is mounted"* ]]; [ -n "$(jq -r '.[].id' "$NODE/root/overlay-images/images.json")" ]
	podman --root "$NODE/root" --runroot "$NODE/run/storage" umount other >/dev/null; podman --root "$NODE/root" --runroot "$NODE/run/storage" rm other >/dev/null
	crio_cmd wipe; [ "$(cat $f)" = done ]; [ "$(du -s "$NODE/root" | cut -f1)" -lt 128 ]
	crio_cmd wipe 2>"$NODE/wipe.out"; [ -z "$(grep 'Wiping storage directory .*/run' "$NODE/wipe.out")" ]; rm -f $f
	rm -rf "$NODE"/ipam/crio-test/[0-9f]*; crio_start; [ "$(pods_n)" = 0 ]; [ "$(images_n)" = 0 ]; pull >/dev/null; pull "$REGISTRY/pause:1" >/dev/null; pull "$REGISTRY/twolayer:1" >/dev/null
}

@test "crio check: finds a missing layer and a changed file, repairs, and wipes what cannot be repaired when asked to" {
	local id layer out; crio_check() { crio_cmd -l debug check "$@" 2>"$NODE/check.out"; }
	crio_stop; crio_check; grep -q "Storage directory $NODE/root has errors: false" "$NODE/check.out"
	id=$(jq -r --arg n "$REGISTRY/twolayer:1" '.[] | select(.names | index($n)) | .layer' "$NODE/root/overlay-images/images.json")
	layer=$(find "$NODE/root/overlay/$id/diff" -type f -size +0 | head -1); printf x | dd of="$layer" conv=notrunc status=none
	crio_check --quick; run crio_check; [ "$status" = 1 ]; grep -q "layer $id is not as it was unpacked" "$NODE/check.out"
	crio_check -r; crio_check; crio_start; [ -z "$(cri ImageStatus "{\"image\":{\"image\":\"$REGISTRY/twolayer:1\"}}" | jq -r '.image.id // empty')" ]
	pull "$REGISTRY/twolayer:1" >/dev/null; run crio_check --repair; [ "$status" = 1 ]; crio_check
	crio_stop; rm -rf "$NODE/root/overlay/$id"; run crio_check -q; [ "$status" = 1 ]; crio_check --repair --age=1h; crio_check
	run crio_check --age soon; [ "$status" = 1 ]; run crio_check --nonsense; [ "$status" = 1 ]
	crio_start; pull "$REGISTRY/twolayer:1" >/dev/null
}
