#!/usr/bin/env bats
# Which plugins a pod gets: by handler (RuntimeClass) and by workload (annotation), several of each kind in one daemon at once.
load lib/cri.bash

setup_file() {
	local shim; shim=$(command -v containerd-shim-runc-v2 || true)
	export HAVE_KATA= HAVE_BTRFS=
	[ -z "$shim" ] || [ ! -f "$CRIO_PLUGINS/runtime/kata.so" ] || HAVE_KATA=1
	# The btrfs driver's own root, beside crio.conf's: a file system in a file.
	mkdir -p "$NODE/root-btrfs"
	if [ -f "$CRIO_PLUGINS/storage/btrfs.so" ] && truncate -s 512M "$NODE/btrfs.img" && mkfs.btrfs -q "$NODE/btrfs.img" >/dev/null 2>&1 &&
		mount -o loop "$NODE/btrfs.img" "$NODE/root-btrfs"; then HAVE_BTRFS=1; fi
	config
	[ -z "$HAVE_KATA" ] || cat >"$NODE/etc/conf.d/21-kata.conf" <<-EOT
	[crio.runtime.runtimes.kata]
	runtime_type = "vm"
	runtime_path = "$shim"
	EOT
	crio_start; pull >/dev/null
}
teardown_file() { suite_end; }
setup() { CRIO_PID=$(cat "$NODE/crio.pid"); }
teardown() { remove_all_pods; }

config() {
	cat >"$NODE/etc/conf.d/20-selection.conf" <<-EOT
	[crio.runtime.runtimes.snap]
	runtime_path = "/usr/sbin/runc"
	runtime_root = "$NODE/run/runc"
	storage_plugin = "btrfs"
	[crio.runtime.runtimes.open]
	runtime_path = "/usr/bin/crun"
	runtime_root = "$NODE/run/crun"
	allow_workload_runtime = true
	[crio.runtime.runtimes.generic]
	runtime_plugin = "oci"
	runtime_path = "/usr/bin/crun"
	runtime_root = "$NODE/run/crun"
	[crio.runtime.workloads.to-runc]
	activation_annotation = "runc.example.com"
	runtime_plugin = "runc"
	runtime_options = { root = "$NODE/run/runc" }
	[crio.runtime.workloads.to-btrfs]
	activation_annotation = "btrfs.example.com"
	storage_plugin = "btrfs"
	[crio.runtime.workloads.to-host]
	activation_annotation = "host.example.com"
	network_plugin = "hostnetwork"
	EOT
}

plugins_of() { cri PodSandboxStatus "{\"pod_sandbox_id\":\"$1\",\"verbose\":true}" | jq -r '.info.info|fromjson|.plugins'; }
# chosen POD RUNTIME STORAGE NETWORK: what is recorded with the pod.
chosen() {
	local p; p=$(plugins_of "$1")
	[[ "; $p; " == *"; runtime $2: "*"; storage $3: "*"; network $4: "* ]] || { echo "plugins: $p"; return 1; }
}
# runs_by CONTAINER PROGRAM: what its process was started by: conmon names the runtime, a shim is itself the parent.
runs_by() {
	local pid parent; pid=$(cri ContainerStatus "{\"container_id\":\"$1\",\"verbose\":true}" | jq -r '.info.info|fromjson|.pid')
	parent=$(awk '{print $4}' "/proc/$pid/stat"); tr '\0' ' ' <"/proc/$parent/cmdline" | grep -qE "(^| )[^ ]*/?$2( |\$)" ||
		{ tr '\0' ' ' <"/proc/$parent/cmdline"; return 1; }
}
root_type() { exec_ctr "$1" cat /proc/mounts | awk '$2 == "/" {t = $3} END {print t}'; }
# ready: a pod of a handler, with a container that runs; sets POD and CTR.
ready() { POD=$(run_pod "$1" "${3:-.}" "$2") && CTR=$(run_ctr "$POD" "$1" c . "${3:-.}"); }

@test "one daemon: runc, crun, oci, kata, overlay, btrfs, cni and the host's network, all at once" {
	ready a crun; a=$POD ca=$CTR
	ready b runc; b=$POD cb=$CTR
	ready g generic; g=$POD cg=$CTR
	ready h crun '.linux.security_context.namespace_options={pid:1,network:2}'; h=$POD ch=$CTR
	if [ -n "$HAVE_BTRFS" ]; then ready d snap; d=$POD cd=$CTR; ready e crun '.annotations={"btrfs.example.com":"yes"}'; e=$POD ce=$CTR; fi
	if [ -n "$HAVE_KATA" ]; then ready k kata; k=$POD ck=$CTR; fi
	chosen "$a" crun overlay cni; runs_by "$ca" crun; [ "$(root_type "$ca")" = overlay ]; [[ $(pod_field "$a" network.ip) == 10.85.* ]]
	chosen "$b" runc overlay cni; runs_by "$cb" runc; [ "$(root_type "$cb")" = overlay ]
	chosen "$g" oci overlay cni; runs_by "$cg" crun
	chosen "$h" crun overlay hostnetwork
	exec_ctr "$ch" ip -o link | grep -q crio0 # the node's bridge
	if [ -n "$HAVE_BTRFS" ]; then
		chosen "$d" runc btrfs cni; runs_by "$cd" runc; [ "$(root_type "$cd")" = btrfs ]
		chosen "$e" crun btrfs cni; runs_by "$ce" crun; [ "$(root_type "$ce")" = btrfs ]
		btrfs subvolume list "$NODE/root-btrfs" | grep -q btrfs/subvolumes/
	fi
	if [ -n "$HAVE_KATA" ]; then chosen "$k" kata overlay cni; runs_by "$ck" containerd-shim-runc-v2; exec_ctr "$ck" true; fi
	# They see each other where they share a network.
	exec_ctr "$cb" sh -c "echo hello | nc -l -p 9090" >/dev/null & sleep 0.5
	[ "$(exec_ctr "$ca" nc -w 5 "$(pod_field "$b" network.ip)" 9090 </dev/null)" = hello ]; wait $!
	# One image, whatever the drivers: it was not pulled again.
	[ "$(cri ListImages '{}' | jq '[.images[]|select(.repo_tags[]?|endswith("/busybox:1"))]|length')" = 1 ]
}

@test "user namespaces: on btrfs as on overlay, and under a shim" {
	local maps='[{container_id:0,host_id:200000,length:65536}]' u w how
	u=".linux.security_context.namespace_options.userns_options={mode:0,uids:$maps,gids:$maps}"
	for how in runc kata btrfs; do
		w=.; [ "$how" != kata ] || [ -n "$HAVE_KATA" ] || continue
		[ "$how" != btrfs ] || { [ -n "$HAVE_BTRFS" ] || continue; w='.annotations={"btrfs.example.com":""}'; }
		p=$(run_pod u "$w|$u" "${how/btrfs/runc}"); c=$(run_ctr "$p" u c '.working_dir="/srv/here"'); [ "$how" != btrfs ] || [ "$(root_type "$c")" = btrfs ]
		[ "$(exec_ctr "$c" sh -c 'stat -c %u:%g / /bin/sh /srv/here /etc/mtab /etc/hostname | sort -u')" = 0:0 ]
		exec_ctr "$c" sh -c 'echo x >/new && chown 5:5 /new'; [ "$(stat -c %u "/proc/$(ctr_pid "$c")/root/new")" = 200005 ]
		crio_kill; crio_start; exec_ctr "$c" cat /new >/dev/null; rm_pod "$p"
	done
}

@test "kata and btrfs are there" {
	[ -n "$HAVE_KATA" ] || skip "no kata plugin or containerd-shim-runc-v2"
	[ -n "$HAVE_BTRFS" ] || skip "no btrfs plugin, or btrfs cannot be mounted"
}

@test "an annotation changes storage and network of any handler" {
	ready n runc '.annotations={"host.example.com":""}'; chosen "$POD" runc overlay hostnetwork
	[ -n "$HAVE_BTRFS" ] || return 0
	ready s runc '.annotations={"btrfs.example.com":""}'; chosen "$POD" runc btrfs cni; [ "$(root_type "$CTR")" = btrfs ]
}

@test "an annotation replaces the runtime only of the default handler, or where the handler allows it" {
	ready d '' '.annotations={"runc.example.com":""}'; chosen "$POD" runc overlay cni; runs_by "$CTR" runc
	ready o open '.annotations={"runc.example.com":""}'; chosen "$POD" runc overlay cni; runs_by "$CTR" runc
	ready o2 open; chosen "$POD" crun overlay cni; runs_by "$CTR" crun
	# Asked for by name: what was asked for is what runs, and the pod says so.
	ready c crun '.annotations={"runc.example.com":""}'; chosen "$POD" crun overlay cni; runs_by "$CTR" crun
	plugins_of "$POD" | grep -q "workload 'to-runc' may not change the runtime of handler 'crun'"
	[ -n "$HAVE_KATA" ] || return 0
	ready k kata '.annotations={"runc.example.com":""}'; chosen "$POD" kata overlay cni; runs_by "$CTR" containerd-shim-runc-v2
}

@test "the choice stays with the pod: over a restart, and when the configuration says otherwise" {
	ready r runc; r=$POD cr=$CTR
	ready w '' '.annotations={"runc.example.com":""}'; w=$POD cw=$CTR
	n=; if [ -n "$HAVE_BTRFS" ]; then ready s snap; n=$POD cn=$CTR; fi
	k=; if [ -n "$HAVE_KATA" ]; then ready k kata; k=$POD ck=$CTR; fi
	crio_stop
	# Another network and another storage for the same handlers; the workload is gone.
	cat >"$NODE/etc/conf.d/20-selection.conf" <<-EOT
	[crio.runtime.runtimes.runc]
	runtime_path = "/usr/sbin/runc"
	runtime_root = "$NODE/run/runc"
	network_plugin = "hostnetwork"
	[crio.runtime.runtimes.snap]
	runtime_path = "/usr/sbin/runc"
	runtime_root = "$NODE/run/runc"
	runtime_plugin = "oci"
	EOT
	crio_start
	chosen "$r" runc overlay cni; [[ $(pod_field "$r" network.ip) == 10.85.* ]]; exec_ctr "$cr" true; runs_by "$cr" runc
	chosen "$w" runc overlay cni; exec_ctr "$cw" true
	c2=$(run_ctr "$w" w c2); runs_by "$c2" runc
	if [ -n "$n" ]; then chosen "$n" runc btrfs cni; exec_ctr "$cn" true; c3=$(run_ctr "$n" s c3); [ "$(root_type "$c3")" = btrfs ]; runs_by "$c3" runc; fi
	if [ -n "$k" ]; then chosen "$k" kata overlay cni; exec_ctr "$ck" true; runs_by "$ck" containerd-shim-runc-v2; fi
	# A new pod gets the new choice.
	new=$(run_pod new . runc); chosen "$new" runc overlay hostnetwork
	# And the old network is taken down by its own plugin.
	[ -n "$(find "$NODE/ipam" -type f -name '10.85.*')" ]
	remove_all_pods
	[ -z "$(find "$NODE/ipam" -type f -name '10.85.*')" ]
	crio_stop; config; crio_start
}

@test "a handler that SIGHUP brings is used, and pods that run stay as they are" {
	ready r runc; r=$POD cr=$CTR
	fails NotFound "failed to find runtime handler later" RunPodSandbox "{\"config\":$(pod_json l),\"runtime_handler\":\"later\"}"
	cat >"$NODE/etc/conf.d/25-later.conf" <<-EOT
	[crio.runtime.runtimes.later]
	runtime_path = "/usr/bin/crun"
	runtime_root = "$NODE/run/crun"
	network_plugin = "hostnetwork"
	EOT
	n=$(grep -c 'Configuration reload completed' "$NODE/crio.log" || true)
	reloaded() { [ "$(grep -c 'Configuration reload completed' "$NODE/crio.log")" -gt "$n" ]; }
	kill -HUP "$CRIO_PID"; node_wait 5 reloaded
	ready l later; chosen "$POD" crun overlay hostnetwork
	chosen "$r" runc overlay cni; exec_ctr "$cr" true
	rm "$NODE/etc/conf.d/25-later.conf"; n=$((n + 1)); kill -HUP "$CRIO_PID"; node_wait 5 reloaded
	fails NotFound "failed to find runtime handler later" RunPodSandbox "{\"config\":$(pod_json m),\"runtime_handler\":\"later\"}"
	exec_ctr "$CTR" true
}

@test "what cannot be chosen is refused by name, and the rest works" {
	crio_stop
	cat >"$NODE/etc/conf.d/30-wrong.conf" <<-EOT
	[crio.runtime.runtimes.norun]
	runtime_path = "/usr/bin/crun"
	runtime_plugin = "nosuch"
	[crio.runtime.runtimes.nostore]
	runtime_path = "/usr/bin/crun"
	storage_plugin = "nosuch"
	[crio.runtime.runtimes.nonet]
	runtime_path = "/usr/bin/crun"
	network_plugin = "nosuch"
	EOT
	crio_start
	fails NotFound "there is no runtime plugin 'nosuch'" RunPodSandbox "{\"config\":$(pod_json a),\"runtime_handler\":\"norun\"}"
	fails NotFound "there is no storage plugin 'nosuch'" RunPodSandbox "{\"config\":$(pod_json b),\"runtime_handler\":\"nostore\"}"
	fails NotFound "there is no network plugin 'nosuch'" RunPodSandbox "{\"config\":$(pod_json c),\"runtime_handler\":\"nonet\"}"
	ready d crun
	rm "$NODE/etc/conf.d/30-wrong.conf"; crio_stop; crio_start
	exec_ctr "$CTR" true
}
