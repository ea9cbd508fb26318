#!/usr/bin/env bats
# Clients that give up: the work goes on and its result waits for the retry, for a minute. And what many pods leave in the daemon.
load lib/cri.bash

setup_file() { use_evil_cni; crio_start; pull >/dev/null; clean_base; }
teardown_file() { suite_end; }
teardown() { evil_cni ok; remove_all_pods; }

# made NAME: the id of the pod that was made last under this name, whether anybody can see it or not.
made() { sed -nE "s/.*Ran pod sandbox ([0-9a-f]{64}) .*k8s_$1_.*/\1/p" "$NODE/crio.log" | tail -1; }
pods() { cri ListPodSandbox "{\"filter\":{\"label_selector\":{\"io.kubernetes.pod.name\":\"$1\"}}}" | jq -r '.items[]?.id'; }

@test "a client that gives up: its retry gets the same pod, and no second one is made" {
	evil_cni slow 3
	CRI_TIMEOUT=1 run run_pod r1; [ "$status" != 0 ]; [[ $output == *DeadlineExceeded* ]]
	CRI_TIMEOUT=1 run run_pod r1; [ "$status" != 0 ]; [[ $output == *"sandbox network creation"* || $output == *DeadlineExceeded* ]]
	p=$(run_pod r1); [ -n "$p" ]
	[ "$(cri ListPodSandbox '{}' | jq '.items|length')" = 1 ]; [ "$(cri ListPodSandbox '{}' | jq -r '.items[0].id')" = "$p" ]
	evil_cni ok; [ "$(run_pod r1)" = "$p" ]
	# A client that retries only after the work is done gets it too.
	evil_cni slow 2; CRI_TIMEOUT=1 run run_pod r2; [ "$status" != 0 ]
	node_wait 10 log_has "Ran pod sandbox .*r2"; q=$(made r2)
	# Until then it is nobody's: not listed, without a status, and not to be worked with.
	[ -z "$(pods r2)" ]; fails NotFound "is not created" PodSandboxStatus "{\"pod_sandbox_id\":\"$q\"}"
	fails FailedPrecondition "is not created" StopPodSandbox "{\"pod_sandbox_id\":\"$q\"}"
	fails FailedPrecondition "is not created" RemovePodSandbox "{\"pod_sandbox_id\":\"${q:0:64}\"}"
	run create_ctr "$q" r2 c; [ "$status" != 0 ]
	[ "$(run_pod r2)" = "$q" ]
	[ "$(cri ListPodSandbox '{}' | jq '.items|length')" = 2 ]
	rm_pod "$p"; rm_pod "$q"; clean
}

@test "200 pods come and go: descriptors, threads and memory stay flat; what nobody came back for is removed after a minute" {
	local i f0 r0 end=$((SECONDS + 60)) lost
	evil_cni slow 2; CRI_TIMEOUT=1 run run_pod lost; [ "$status" != 0 ]
	node_wait 10 log_has "Ran pod sandbox .*k8s_lost_"; lost=$(made lost); evil_cni ok
	host='.linux.security_context.namespace_options.network=2|.hostname=""'
	one() { local p; p=$(run_pod "z$1" "$host") && rm_pod "$p"; }
	one_net() { local p; p=$(run_pod "z$1") && run_ctr "$p" "z$1" c '.command=["true"]' >/dev/null && rm_pod "$p"; }
	for i in $(seq 20); do one w; one_net w; done
	crio_pid; f0=$(ls "/proc/$CRIO_PID/fd" | wc -l); r0=$(rss_mb)
	for i in $(seq 160); do [ $SECONDS -lt $end ] || break; one "$i"; done
	for i in $(seq 40); do [ $SECONDS -lt $((end + 20)) ] || break; one_net "$i"; done
	sleep 1
	f=$(ls "/proc/$CRIO_PID/fd" | wc -l); r=$(rss_mb); t=$(ls "/proc/$CRIO_PID/task" | wc -l)
	echo "# fds $f0 $f, RSS $r0 $r MB, threads $t" >&3
	[ "$f" -le $((f0 + 3)) ]; [ "$r" -le $((r0 + 6)) ]; [ "$t" -lt 60 ]
	gone() { grep -q "Removed pod sandbox: $lost" "$NODE/crio.log"; }
	node_wait 90 gone; grep -q "Nobody came back for .*lost" "$NODE/crio.log"
	clean; p=$(run_pod lost); [ "$p" != "$lost" ]
}

@test "a client that gives up on a container: it is nobody's until the retry, and goes with its pod when there is none" {
	local p c d conmon=$NODE/slow-conmon
	printf '#!/bin/sh\n[ "$1" = --version ] || sleep 2\nexec %s "$@"\n' "$(command -v conmon)" >"$conmon"; chmod +x "$conmon"
	crio_stop; crio_start --conmon "$conmon"
	p=$(run_pod g1)
	made() { sed -nE "s/.*Created container ([0-9a-f]{64}): k8s_$1_.*/\1/p" "$NODE/crio.log" | tail -1; }
	CRI_TIMEOUT=1 run create_ctr "$p" g1 c1; [ "$status" != 0 ]; [[ $output == *DeadlineExceeded* ]]
	CRI_TIMEOUT=1 run create_ctr "$p" g1 c2; [ "$status" != 0 ]
	node_wait 10 log_has "Created container .*k8s_c1_"; node_wait 10 log_has "Created container .*k8s_c2_"; c=$(made c1); d=$(made c2)
	[ "$(cri ListContainers '{}' | jq '.containers|length')" = 0 ]
	fails NotFound "is not created" ContainerStatus "{\"container_id\":\"$c\"}"
	fails FailedPrecondition "is not created" StartContainer "{\"container_id\":\"$c\"}"
	fails FailedPrecondition "is not created" ExecSync "{\"container_id\":\"$c\",\"cmd\":[\"ls\"]}"
	fails FailedPrecondition "is not created" RemoveContainer "{\"container_id\":\"$c\"}"
	[ "$(create_ctr "$p" g1 c1)" = "$c" ]; start_ctr "$c"; [ "$(exec_ctr "$c" hostname)" = g1 ]
	# After a restart there is no request to come back: what was made is shown as it is.
	crio_kill; crio_start; [ "$(ctr_field "$d" state)" = CONTAINER_CREATED ]
	rm_pod "$p"; rm -f "$conmon"; clean
}
