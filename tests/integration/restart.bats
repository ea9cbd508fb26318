#!/usr/bin/env bats
# The daemon ends, by SIGTERM or in the middle of anything, and starts again: what runs goes on running and is known, and what was
# being made or removed is not half there.
load lib/cri.bash

setup_file() {
	use_evil_cni
	# One test takes a plugin away: not from other suites.
	export PLUGINS=$NODE/plugins; cp -r "$CRIO_PLUGINS" "$PLUGINS"
	printf '[crio.plugins]\ndir = "%s"\n' "$PLUGINS" >"$NODE/etc/conf.d/10-plugins.conf"
	crio_start; export CRIO_PID; pull >/dev/null; pull "$REGISTRY/pause:1" >/dev/null; clean_base
}
teardown_file() { suite_end; }
teardown() { evil_cni ok; [ -f "$NODE/crio.pid" ] || up; remove_all_pods; }

up() { crio_start; }
down9() { crio_kill; }
down15() { crio_pid; local p=$CRIO_PID rc=0; crio_stop || rc=$?; [ $rc = 0 ] || [ $rc = 127 ]; not crio_alive "$p"; }
again() { "$1"; up; }
share='.linux.security_context.namespace_options.pid=0'
full='.labels={a:"1",b:"two"}|.annotations={note:"x y"}|.mounts=[{container_path:"/data",host_path:"/tmp",readonly:true}]|.linux.resources={memory_limit_in_bytes:67108864,cpu_shares:512}'

# survives HOW HANDLER
survives() {
	local p1 p2 p3 c1 c2 c3 c4 before after
	p1=$(run_pod p1 '.labels={app:"x"}|.annotations={k:"v"}' "$2")
	c1=$(run_ctr "$p1" p1 c1 "$full"); c2=$(create_ctr "$p1" p1 c2); c3=$(run_ctr "$p1" p1 c3 '.command=["sh","-c","exit 42"]')
	p2=$(run_pod p2 "$share" "$2"); c4=$(run_ctr "$p2" p2 c4 "$share" "$share")
	p3=$(run_pod p3 . "$2"); cri StopPodSandbox "{\"pod_sandbox_id\":\"$p3\"}"
	wait_exit "$c3"
	before=$(state_of_all)
	again "$1"
	after=$(state_of_all)
	diff <(echo "$before") <(echo "$after")
	[ "$(pod_field "$p3" state)" = SANDBOX_NOTREADY ]
	[ "$(exec_ctr "$c1" cat /proc/1/comm)" = sh ]
	exec_ctr "$c4" ps | grep -q pause
	start_ctr "$c2"; [ "$(exec_ctr "$c2" hostname)" = p1 ]
	cri UpdateContainerResources "{\"container_id\":\"$c1\",\"linux\":{\"memory_limit_in_bytes\":134217728}}"
	[ "$(ctr_field "$c1" resources.linux.memory_limit_in_bytes)" = 134217728 ]
	mv "$NODE/log/p1/c1.log" "$NODE/log/p1/c1.log.1"; cri ReopenContainerLog "{\"container_id\":\"$c1\"}"; [ -f "$NODE/log/p1/c1.log" ]
	# The same requests again are retries.
	[ "$(run_pod p1 '.labels={app:"x"}|.annotations={k:"v"}' "$2")" = "$p1" ]; [ "$(create_ctr "$p1" p1 c1 "$full")" = "$c1" ]
	c5=$(run_ctr "$p2" p2 c5 "$share" "$share"); exec_ctr "$c5" ps | grep -q pause; [ -f "$NODE/log/p2/c5.log" ]
	stop_ctr "$c1" 10; [ "$(ctr_field "$c1" exit_code)" = 3 ]
	rm_ctr "$c1"; rm_pod "$p1"; rm_pod "$p2"; rm_pod "$p3"
	clean
}
@test "crun: killed and started again, everything runs, is known and can be worked with" { survives down9 crun; }
@test "runc: killed and started again, everything runs, is known and can be worked with" { survives down9 runc; }
@test "crun: the same after SIGTERM" { survives down15 crun; }
@test "runc: the same after SIGTERM" { survives down15 runc; }

# exits_meanwhile HANDLER
exits_meanwhile() {
	local p c o k l from to at n go wait; rm -rf "$NODE/log/p1"; go=$(mktemp -d "$NODE/go.XXXXXX"); wait='until [ -e /go/now ]; do sleep 0.1; done'
	p=$(run_pod p1 . "$1")
	c=$(run_ctr "$p" p1 c '.command=["sh","-c","'"$wait"'; exit 7"]|.mounts=[{host_path:"'"$go"'",container_path:"/go"}]')
	o=$(run_ctr "$p" p1 o '.command=["sh","-c","'"$wait"'; x=; while :; do x=$x$(head -c 1000000 /dev/urandom | base64); done"]|.mounts=[{host_path:"'"$go"'",container_path:"/go"}]|.linux.resources={memory_limit_in_bytes:16777216}')
	k=$(run_ctr "$p" p1 k); kp=$(ctr_pid "$k")
	l=$(run_ctr "$p" p1 l '.command=["sh","-c","trap \"exit 0\" TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"]')
	node_wait 5 grep -q 'line 2' "$NODE/log/p1/l.log"
	down9; n=$(wc -l <"$NODE/log/p1/l.log"); from=$(date +%s%N); kill -KILL "$kp"; touch "$go/now"
	node_wait 10 test -f "$NODE/run/exits/$c"; node_wait 10 test -f "$NODE/run/exits/$o"; to=$(date +%s%N); sleep 0.5
	up
	[ "$(ctr_field "$c" state)" = CONTAINER_EXITED ]; [ "$(ctr_field "$c" exit_code)" = 7 ]; [ "$(ctr_field "$c" reason)" = Error ]
	at=$(ctr_field "$c" finished_at); [ "$at" -ge "$from" ]; [ "$at" -le "$to" ]
	[ "$(ctr_field "$o" reason)" = OOMKilled ]; [ "$(ctr_field "$o" exit_code)" = 137 ]
	[ "$(ctr_field "$k" exit_code)" = 137 ]; [ "$(ctr_field "$k" reason)" = Error ]
	[ "$(ctr_field "$l" state)" = CONTAINER_RUNNING ]; [ "$(wc -l <"$NODE/log/p1/l.log")" -gt $((n + 5)) ]
	# And none of the lines is missing.
	diff <(awk '{print $5}' "$NODE/log/p1/l.log" | head -n $((n + 5))) <(seq $((n + 5))) || { head -20 "$NODE/log/p1/l.log"; false; }
	# It is still so after one more start.
	again down9; [ "$(ctr_field "$c" exit_code)" = 7 ]; [ "$(ctr_field "$c" finished_at)" = "$at" ]; [ "$(ctr_field "$o" reason)" = OOMKilled ]
	rm_pod "$p"; clean
}
@test "crun: exits while the daemon is down are reported with code, reason and time; logs go on" { exits_meanwhile crun; }
@test "runc: exits while the daemon is down are reported with code, reason and time; logs go on" { exits_meanwhile runc; }

@test "the exit of a container that ends at once is never lost" {
	p=$(run_pod p1)
	for i in $(seq 15); do
		c=$(run_ctr "$p" p1 "c$i" '.command=["true"]') || true
		wait_exit "$c" 5; [ "$(ctr_field "$c" exit_code)" = 0 ]; [ "$(ctr_field "$c" 'finished_at|tonumber')" -ge "$(ctr_field "$c" 'started_at|tonumber')" ]
	done
}

@test "many are found by several threads, and are listed in the order of their making" {
	lists() { cri ListPodSandbox '{}' | jq -c '[.items[].id]'; cri ListContainers '{}' | jq -c '[.containers[]|[.id,.state]]'; }
	for i in $(seq 20); do p=$(run_pod "m$i" '.linux.security_context.namespace_options.network=2'); create_ctr "$p" "m$i" c >/dev/null; done
	before=$(lists); [ "$(wc -c <<<"$before")" -gt 2600 ]
	for i in 1 2 3; do again down9; [ "$(lists)" = "$before" ]; done
	remove_all_pods; clean
}

# at_any_moment MAXIMUM_MS BEFORE DURING AFTER: twelve times (or 30 s): BEFORE, then DURING is cut off by kill -9 (or $DOWN) within the time; after
# the start there is all of it or nothing; AFTER asks again and must work.
at_any_moment() {
	local i end=$((SECONDS + 30)) bg
	for i in $(seq 12); do
		[ $SECONDS -lt $end ] || break
		$2
		$3 >/dev/null 2>&1 & bg=$!
		sleep "$(awk -v m="$1" -v r="$RANDOM" 'BEGIN {printf "%.3f", m * r / 32768 / 1000}')"
		"${DOWN:-down9}"; wait $bg || true
		up
		[ -n "$(cri ListPodSandbox '{}' | jq -r '.items[]?.id')" ] || clean || { echo "round $i, before the retry" >&2; return 1; }
		$4 || { echo "round $i: the retry failed" >&2; return 1; }
		remove_all_pods || { echo "round $i: not removable" >&2; return 1; }
		clean || { echo "round $i, after the removal" >&2; return 1; }
	done
	echo "# $i rounds" >&3
}
nothing() { :; }
make_pod() { run_pod k1 . "$H" >/dev/null; }
make_shared_pod() { run_pod k1 "$share" "$H" >/dev/null; }
pod_and_ctr() { K=$(run_pod k1 . "$H") && KC=$(run_ctr "$K" k1 c1); }
just_pod() { K=$(run_pod k1 . "$H"); }
make_ctr() { create_ctr "$K" k1 c1 >/dev/null; }
make_and_start_ctr() { local c; c=$(create_ctr "$K" k1 c1) && start_ctr "$c" && [ "$(exec_ctr "$c" hostname)" = k1 ]; }
remove_pod() { rm_pod "$K"; }

@test "crun: kill -9 in the middle of RunPodSandbox leaves nothing half-made" { H=crun at_any_moment 150 nothing make_pod make_pod; }
@test "runc: kill -9 in the middle of RunPodSandbox with an infra container" { H=runc at_any_moment 250 nothing make_shared_pod make_shared_pod; }
@test "crun: kill -9 in the middle of CreateContainer" { H=crun at_any_moment 80 just_pod make_ctr make_and_start_ctr; }
@test "runc: kill -9 in the middle of CreateContainer" { H=runc at_any_moment 150 just_pod make_ctr make_and_start_ctr; }
@test "crun: kill -9 in the middle of RemovePodSandbox" { H=crun at_any_moment 150 pod_and_ctr remove_pod remove_pod; }

@test "SIGTERM in the middle of RunPodSandbox" { DOWN=down15 H=crun at_any_moment 150 nothing make_pod make_pod; }

@test "SIGTERM while a network plugin and an exec hang: the daemon ends in time, and what it left is put in order" {
	p=$(run_pod k0); c=$(run_ctr "$p" k0 c1)
	evil_cni hang; run_pod k1 >/dev/null 2>&1 & a=$!
	exec_ctr "$c" sleep 600 >/dev/null 2>&1 & b=$!
	sleep 1; crio_pid; pid=$CRIO_PID; SECONDS=0; kill -TERM "$pid"
	node_wait 25 not crio_alive "$pid"; [ $SECONDS -lt 20 ]; rm -f "$NODE/crio.pid"
	wait $a $b || true
	evil_cni ok; end_sleepers
	not grep -q "AddressSanitizer" "$NODE/crio.log"
	up; [ "$(cri ListPodSandbox '{}' | jq -r '.items[].id')" = "$p" ]; [ "$(exec_ctr "$c" hostname)" = k0 ]
	p=$(run_pod k1); remove_all_pods; clean
}

@test "kill -9 while a network plugin is slow" {
	evil_cni slow 2
	run_pod k1 >/dev/null 2>&1 & sleep 0.7; down9; wait $! || true
	evil_cni ok; up; clean
	p=$(run_pod k1); [[ $(pod_field "$p" network.ip) == 10.85.* ]]
	rm_pod "$p"; clean
}

@test "a pod whose plugin has gone stays listed and can be stopped; removing it names the plugin; put back it works" {
	p=$(run_pod g1 . runc); c=$(run_ctr "$p" g1 c1); e=$(run_ctr "$p" g1 e1 '.command=["sh","-c","trap \"exit 9\" USR1; while :; do sleep 0.1; done"]')
	before=$(cri ListContainers '{}' | jq '[.containers[]]|sort_by(.id)'); pid=$(ctr_pid "$c")
	mv "$PLUGINS/runtime/runc.so" "$NODE/hidden.so"
	again down9
	diff <(echo "$before") <(cri ListContainers '{}' | jq '[.containers[]]|sort_by(.id)')
	[ "$(ctr_field "$c" state)" = CONTAINER_RUNNING ]; [ "$(ctr_pid "$c")" = "$pid" ]
	[ "$(pod_field "$p" id)" = "$p" ]
	fails FailedPrecondition "runc" RemovePodSandbox "{\"pod_sandbox_id\":\"$p\"}"
	fails FailedPrecondition "runc" RemoveContainer "{\"container_id\":\"$c\"}"
	kill -0 "$pid"; kill -USR1 "$(ctr_pid "$e")"
	wait_exit "$e" 10; [ "$(ctr_field "$e" exit_code)" = 9 ]
	stop_ctr "$c" 10; [ "$(ctr_field "$c" exit_code)" = 3 ]; run kill -0 "$pid"; [ "$status" != 0 ]
	# Others work meanwhile.
	o=$(run_pod g2 . crun); rm_pod "$o"
	mv "$NODE/hidden.so" "$PLUGINS/runtime/runc.so"
	again down9
	rm_pod "$p"; clean
}

state_file() { echo "$NODE/root/overlay-containers/$1/userdata/state.json"; }
@test "a monitor that died while the daemon was away: its container is ended; one that is not recorded is found by its pid file" {
	local p c d m
	p=$(run_pod p1); c=$(run_ctr "$p" p1 c); d=$(run_ctr "$p" p1 d)
	m=$(jq .containerMonitorProcess.pid "$(state_file "$c")"); [ "$m" -gt 1 ]
	down9; kill -KILL "$m"
	jq 'del(.containerMonitorProcess)' "$(state_file "$d")" >"$NODE/state.new"; mv "$NODE/state.new" "$(state_file "$d")"
	up
	log_has "Failed to load conmon process for container $c"; log_has "Skipping loading conmon process for container $d"
	wait_exit "$c"; log_has "Conmon for container $c is stopped, although the container is running"
	[ "$(ctr_field "$d" state)" = CONTAINER_RUNNING ]; stop_ctr "$d" 10; [ "$(ctr_field "$d" exit_code)" = 3 ]
	# One that dies under our eyes is noticed at once, after a restart too.
	d=$(run_ctr "$p" p1 e); again down15; kill -KILL "$(jq .containerMonitorProcess.pid "$(state_file "$d")")"
	wait_exit "$d" 5; log_has "Conmon for container $d is stopped"
	rm_pod "$p"; clean
}

@test "KUBENSMNT: the mount namespace that it names is joined; where that cannot be, the daemon says so and serves" {
	if grep -q __tsan_init "$CRIO"; then skip "a thread of the sanitizer's is there before main, and the kernel refuses"; fi
	local ours theirs
	mkdir -p "$NODE/kubens"; touch "$NODE/kubens/mnt" "$NODE/kubens/net" "$NODE/kubens/file"; mkfifo "$NODE/kubens/fifo"
	# The kernel takes numbers of namespaces from each CPU's own store, and lets only a higher one be bound in a lower one.
	local cpu; for ((cpu = 0; cpu < $(nproc --all); cpu++)); do ! taskset -c "$cpu" unshare --mount="$NODE/kubens/mnt" --propagation unchanged true || break; done
	unshare --net="$NODE/kubens/net" true
	ours=$(readlink /proc/self/ns/mnt); theirs=$(nsenter --mount="$NODE/kubens/mnt" readlink /proc/self/ns/mnt); [ "$ours" != "$theirs" ]
	is_in() { crio_pid; [ "$(readlink "/proc/$CRIO_PID/ns/mnt")" = "$1" ]; }
	down15; KUBENSMNT=$NODE/kubens/mnt up
	is_in "$theirs"; log_has "level=info.*Joined mount namespace .*kubens/mnt"
	for f in net file fifo none; do
		down15; KUBENSMNT=$NODE/kubens/$f up
		is_in "$ours"; log_has "level=warning.*Could not (open|join) mount namespace .*kubens/$f"
	done
	down15; KUBENSMNT= up; is_in "$ours"
	umount "$NODE/kubens/mnt" "$NODE/kubens/net"; rm -r "$NODE/kubens"
}
