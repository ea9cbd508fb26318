#!/usr/bin/env bats
# Pods and containers from run to remove, on crun (the default) and runc.
load lib/cri.bash

setup_file() { crio_start; export CRIO_PID; pull >/dev/null; SNAP=$(node_snapshot); export SNAP; }
teardown_file() { suite_end; }
teardown() { remove_all_pods; }

lifecycle() { # lifecycle HANDLER
	local pod ctr
	pod=$(run_pod p1 . "$1")
	[ "$(pod_field "$pod" state)" = SANDBOX_READY ] || [ "$(pod_field "$pod" state)" = null ]
	[[ $(pod_field "$pod" network.ip) == 10.85.* ]]
	[[ $(pod_field "$pod" 'network.additional_ips[0].ip') == fd00:85::* ]]
	ctr=$(create_ctr "$pod" p1 c1)
	[[ $(ctr_field "$ctr" state) == CONTAINER_CREATED || $(ctr_field "$ctr" state) == null ]]
	start_ctr "$ctr"
	[ "$(ctr_field "$ctr" state)" = CONTAINER_RUNNING ]
	[ "$(exec_ctr "$ctr" hostname)" = p1 ]
	stop_ctr "$ctr" 10
	[ "$(ctr_field "$ctr" state)" = CONTAINER_EXITED ]
	[ "$(ctr_field "$ctr" exit_code)" = 3 ]
	[ "$(ctr_field "$ctr" reason)" = Error ]
	rm_ctr "$ctr"; rm_pod "$pod"
	diff <(echo "$SNAP") <(node_snapshot | grep -v 'log/p1')
}

@test "crun: run, create, start, exec, stop, remove, nothing left" { lifecycle crun; }
@test "runc: run, create, start, exec, stop, remove, nothing left" { lifecycle runc; }

@test "stop and remove are idempotent, also for what never was" {
	pod=$(run_pod p1); ctr=$(run_ctr "$pod" p1 c1)
	stop_ctr "$ctr"; stop_ctr "$ctr"; rm_ctr "$ctr"; rm_ctr "$ctr"; stop_ctr "$ctr"
	rm_pod "$pod"; rm_pod "$pod"
	stop_ctr 0123456789abcdef; rm_ctr 0123456789abcdef; rm_pod fedcba9876543210
}

@test "removing a pod stops and removes its containers" {
	pod=$(run_pod p1); ctr=$(run_ctr "$pod" p1 c1)
	rm_pod "$pod"
	fails NotFound "could not find container" ContainerStatus "{\"container_id\":\"$ctr\"}"
}

@test "the same request again gives the same pod and container" {
	pod=$(run_pod p1); [ "$(run_pod p1)" = "$pod" ]
	ctr=$(create_ctr "$pod" p1 c1); [ "$(create_ctr "$pod" p1 c1)" = "$ctr" ]
	rm_pod "$pod"; pod2=$(run_pod p1); [ "$pod2" != "$pod" ]
}

@test "exit codes, reasons and times" {
	pod=$(run_pod p1)
	ok=$(run_ctr "$pod" p1 ok '.command=["true"]'); bad=$(run_ctr "$pod" p1 bad '.command=["sh","-c","exit 42"]')
	wait_exit "$ok"; wait_exit "$bad"
	[ "$(ctr_field "$ok" reason)" = Completed ]; [ "$(ctr_field "$bad" exit_code)" = 42 ]
	[ "$(ctr_field "$bad" 'finished_at|tonumber')" -ge "$(ctr_field "$bad" 'started_at|tonumber')" ]
	fails FailedPrecondition "is not in created state" StartContainer "{\"container_id\":\"$ok\"}"
}

@test "out of memory is reported" {
	pod=$(run_pod p1)
	ctr=$(run_ctr "$pod" p1 oom '.command=["sh","-c","x=; while :; do x=$x$(head -c 1000000 /dev/urandom | base64); done"]|.linux.resources={memory_limit_in_bytes:16777216}')
	wait_exit "$ctr" 20
	[ "$(ctr_field "$ctr" reason)" = OOMKilled ]
	[ "$(ctr_field "$ctr" exit_code)" = 137 ]
}

@test "limits reach the cgroup, and an update changes them" {
	pod=$(run_pod p1)
	ctr=$(run_ctr "$pod" p1 c1 '.linux.resources={cpu_shares:512,cpu_quota:50000,cpu_period:100000,memory_limit_in_bytes:67108864}')
	[ "$(cat "/sys/fs/cgroup/memory/pod_p1/crio-$ctr/memory.limit_in_bytes")" = 67108864 ]
	# Its monitor is beside it: what the container uses is not counted with the monitor, and the end of its memory not the monitor's.
	mon=$(cat "$(find "$NODE" -path "*$ctr*/conmon-pidfile" 2>/dev/null | head -1)")
	for g in memory pids; do
		grep -qx "$mon" "/sys/fs/cgroup/$g/pod_p1/crio-conmon-$ctr/cgroup.procs"; grep -qx "$(ctr_pid "$ctr")" "/sys/fs/cgroup/$g/pod_p1/crio-$ctr/cgroup.procs"
		not grep -qx "$mon" "/sys/fs/cgroup/$g/pod_p1/crio-$ctr/cgroup.procs"
	done
	[ "$(cat "/sys/fs/cgroup/cpu/pod_p1/crio-$ctr/cpu.cfs_quota_us")" = 50000 ]
	[ "$(cat "/sys/fs/cgroup/cpu/pod_p1/crio-$ctr/cpu.shares")" = 512 ]
	cri UpdateContainerResources "{\"container_id\":\"$ctr\",\"linux\":{\"cpu_shares\":256,\"memory_limit_in_bytes\":134217728}}"
	[ "$(cat "/sys/fs/cgroup/memory/pod_p1/crio-$ctr/memory.limit_in_bytes")" = 134217728 ]
	[ "$(cat "/sys/fs/cgroup/cpu/pod_p1/crio-$ctr/cpu.shares")" = 256 ]
	[ "$(cat "/sys/fs/cgroup/cpu/pod_p1/crio-$ctr/cpu.cfs_quota_us")" = 50000 ]
	[ "$(ctr_field "$ctr" resources.linux.memory_limit_in_bytes)" = 134217728 ]
}

@test "the log has the CRI's form, and can be rotated" {
	pod=$(run_pod p1)
	ctr=$(run_ctr "$pod" p1 c1 '.command=["sh","-c","echo one; echo two >&2; printf part; sleep 0.3; echo ial; while :; do echo tick; sleep 0.1; done"]')
	log=$NODE/log/p1/c1.log
	node_wait 5 grep -q tick "$log"
	grep -qE '^[0-9-]{10}T[0-9:.]+(Z|\+00:00) stdout F one$' "$log"
	grep -qE ' stderr F two$' "$log"
	mv "$log" "$log.1"
	cri ReopenContainerLog "{\"container_id\":\"$ctr\"}"
	node_wait 5 grep -q tick "$log"
	stop_ctr "$ctr"
	fails FailedPrecondition "is not running" ReopenContainerLog "{\"container_id\":\"$ctr\"}"
}

@test "stop waits for its grace, and a later shorter one shortens it" {
	pod=$(run_pod p1); ctr=$(run_ctr "$pod" p1 c1 '.command=["sh","-c","trap : TERM; while :; do sleep 0.1; done"]')
	SECONDS=0; stop_ctr "$ctr" 30 & node_wait 2 log_has "Stopping container: $ctr"; sleep 0.5
	stop_ctr "$ctr" 1; wait $!
	[ $SECONDS -lt 10 ]
	[ "$(ctr_field "$ctr" exit_code)" = 137 ]
}

@test "an image's stop signal is used" {
	pull "$REGISTRY/user:1" >/dev/null
	pod=$(run_pod p1); ctr=$(run_ctr "$pod" p1 c1 ".image.image=\"$REGISTRY/user:1\"|.command=[\"sh\",\"-c\",\"trap 'exit 9' USR1; while :; do sleep 0.05; done\"]")
	sleep 0.3; stop_ctr "$ctr" 10
	[ "$(ctr_field "$ctr" exit_code)" = 9 ]
}

@test "exec: exit code, both streams, time-out, large output" {
	pod=$(run_pod p1); ctr=$(run_ctr "$pod" p1 c1)
	run exec_ctr "$ctr" sh -c 'echo out; echo err >&2; exit 5'
	[ "$status" = 5 ]; [[ $output == *out* && $output == *err* ]]
	out=$(cri ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"sleep\",\"30\"],\"timeout\":1}")
	[ "$(jq -r .exit_code <<<"$out")" = -1 ]; [ "$(jq -r '.stderr|@base64d' <<<"$out")" = "command timed out" ]
	# The process is gone with it.
	run exec_ctr "$ctr" pgrep -x sleep -f 'sleep 30'; [ "$status" != 0 ]
	n=$(cri ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"sh\",\"-c\",\"head -c 20000000 /dev/zero\"],\"timeout\":30}" | jq -r '.stdout' | wc -c)
	[ "$n" -gt 22000000 ] && [ "$n" -lt 22500000 ] # 16 MiB as base64
	# A child that keeps the pipe does not hold the call.
	SECONDS=0; exec_ctr "$ctr" sh -c 'sleep 20 & echo done'; [ $SECONDS -lt 10 ]
	run exec_ctr "$ctr" /no/such/command; [ "$status" != 0 ]
	fails InvalidArgument "cannot be empty" ExecSync "{\"container_id\":\"$ctr\"}"
	stop_ctr "$ctr"
	fails FailedPrecondition running ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"true\"]}"
}

@test "lists: filters by id, state, pod and label; order is by creation" {
	a=$(run_pod a '.labels={app:"x"}'); b=$(run_pod b '.labels={app:"y"}')
	ca=$(run_ctr "$a" a c '.labels={tier:"1"}'); cb=$(create_ctr "$b" b c '.labels={tier:"2"}')
	[ "$(cri ListPodSandbox '{}' | jq -r '[.items[].id]|sort|join(" ")')" = "$(printf '%s\n' "$a" "$b" | sort | paste -sd' ')" ]
	[ "$(cri ListPodSandbox '{"filter":{"label_selector":{"app":"y"}}}' | jq -r '.items[].id')" = "$b" ]
	[ "$(cri ListPodSandbox "{\"filter\":{\"id\":\"${a:0:12}\"}}" | jq -r '.items[].id')" = "$a" ]
	[ "$(cri ListContainers '{"filter":{"state":{"state":"CONTAINER_RUNNING"}}}' | jq -r '.containers[].id')" = "$ca" ]
	[ "$(cri ListContainers "{\"filter\":{\"pod_sandbox_id\":\"$b\"}}" | jq -r '.containers[].id')" = "$cb" ]
	[ "$(cri ListContainers '{"filter":{"label_selector":{"tier":"1"}}}' | jq -r '.containers[].id')" = "$ca" ]
	[ "$(cri ListContainers '{"filter":{"id":"00000000000000000000"}}' | jq -c '.containers // []')" = "[]" ]
	# A list shows a change at once.
	stop_ctr "$ca"
	[ "$(cri ListContainers "{\"filter\":{\"id\":\"$ca\"}}" | jq -r '.containers[].state')" = CONTAINER_EXITED ]
}

@test "a truncated id names its object; an ambiguous or unknown one is refused" {
	pod=$(run_pod p1); ctr=$(run_ctr "$pod" p1 c1)
	[ "$(ctr_field "${ctr:0:8}" id)" = "$ctr" ]
	fails NotFound "" ContainerStatus '{"container_id":"zzz"}'
	fails NotFound "" PodSandboxStatus '{"pod_sandbox_id":"zzz"}'
	fails NotFound "" StartContainer '{"container_id":"abcdef0123"}'
	fails NotFound "specified sandbox not found" CreateContainer "{\"pod_sandbox_id\":\"nope\",\"config\":$(ctr_json c),\"sandbox_config\":$(pod_json p)}"
}

@test "an unknown handler and a missing image are refused by name" {
	fails NotFound "failed to find runtime handler nope from runtime list [crun, runc" RunPodSandbox "{\"config\":$(pod_json p1),\"runtime_handler\":\"nope\"}"
	pod=$(run_pod p1)
	fails NotFound "no/such" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c ".image.image=\"$REGISTRY/no/such:1\""),\"sandbox_config\":$(pod_json p1)}"
	# The name is free again.
	ctr=$(create_ctr "$pod" p1 c)
}

@test "a command that is not there fails to start and leaves nothing running" {
	pod=$(run_pod p1)
	if ctr=$(create_ctr "$pod" p1 c '.command=["/no/such/thing"]' 2>&1); then ! start_ctr "$ctr"; else [[ $ctr == *no/such/thing* ]]; fi
	[ "$(cri ListContainers '{"filter":{"state":{"state":"CONTAINER_RUNNING"}}}' | jq -c '.containers // []')" = "[]" ]
}

@test "a pod with a pid namespace of its own has an infra container, and shares it" {
	share='.linux.security_context.namespace_options.pid=0'
	pod=$(run_pod p1 "$share")
	ctr=$(create_ctr "$pod" p1 c1 "$share" "$share"); start_ctr "$ctr"
	exec_ctr "$ctr" ps | grep -q pause
}

@test "the node's namespaces when asked for" {
	pod=$(run_pod hostpod '.linux.security_context.namespace_options={network:2,pid:2,ipc:2}|.hostname=""')
	ctr=$(create_ctr "$pod" hostpod c1 '.linux.security_context.namespace_options={network:2,pid:2,ipc:2}'); start_ctr "$ctr"
	[ "$(exec_ctr "$ctr" readlink /proc/self/ns/net)" = "$(readlink /proc/self/ns/net)" ]
	[ "$(exec_ctr "$ctr" readlink /proc/self/ns/pid)" = "$(readlink /proc/self/ns/pid)" ]
	[ "$(exec_ctr "$ctr" readlink /proc/self/ns/ipc)" = "$(readlink /proc/self/ns/ipc)" ]
	[[ $(cri PodSandboxStatus "{\"pod_sandbox_id\":\"$pod\",\"verbose\":true}" | jq -r '.info.info|fromjson|.plugins') == *"network hostnetwork"* ]]
}

@test "exec goes on through the grace, and ends with its container, in a pid namespace that it shares too" {
	local h pod ctr t s out
	for h in crun runc; do
		pod=$(run_pod "x$h" '.linux.security_context.namespace_options.pid=0' "$h")
		ctr=$(run_ctr "$pod" "x$h" c '.command=["sh","-c","trap : TERM; while :; do sleep 0.05; done"]|.linux.security_context.namespace_options.pid=0' \
			'.linux.security_context.namespace_options.pid=0')
		out=$NODE/exec-$h.json
		cri ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"sh\",\"-c\",\"trap : TERM; while :; do sleep 0.1; done\"]}" >"$out" 2>&1 3>&- & t=$!
		node_wait 5 sh -c "[ \$(grep -c . /sys/fs/cgroup/pids/pod_x$h/crio-$ctr/cgroup.procs) -ge 3 ]"
		stop_ctr "$ctr" 3 & s=$!
		sleep 1; [ "$(exec_ctr "$ctr" echo still here)" = "still here" ]
		wait $s; [ "$(ctr_field "$ctr" exit_code)" = 137 ]
		node_wait 5 not kill -0 $t; wait $t || true; [ "$(jq -r .exit_code "$out")" = 137 ]
		fails FailedPrecondition "not created or running" ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"ls\"]}"
		# One that ends by itself takes its execs along as well.
		ctr=$(run_ctr "$pod" "x$h" d '.command=["sleep","2"]|.linux.security_context.namespace_options.pid=0' '.linux.security_context.namespace_options.pid=0')
		cri ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"sleep\",\"1000\"]}" >"$out" 2>&1 3>&- & t=$!
		wait_exit "$ctr"; node_wait 5 not kill -0 $t; wait $t || true; [ "$(jq -r .exit_code "$out")" = 137 ]
		rm_pod "$pod"; rm -f "$out"
	done
}
