#!/usr/bin/env bats
# Fields of pods and containers that change what they can see, how they end and what they are refused for.
load lib/cri.bash

setup_file() { drop_in; crio_start; export CRIO_PID; pull >/dev/null; }
teardown_file() { crio_stop; rm -f "$NODE/etc/conf.d/10-fields.conf"; }
teardown() { remove_all_pods; }

drop_in() {
	cat >"$NODE/etc/conf.d/10-fields.conf" <<-EOT
	[crio.runtime]
	log_level = "debug"
	[crio.runtime.runtimes.small]
	runtime_path = "$(command -v crun)"
	runtime_root = "$NODE/run/crun"
	container_min_memory = "5.5MiB"
	EOT
}
sc() { echo ".linux.security_context+=$1"; } # sc JSON: a filter that adds to the security context
ns() { readlink "/proc/$(ctr_pid "$1")/ns/$2"; }
now_ms() { date +%s%3N; }

@test "pid namespace of a target container, of the same pod or another" {
	pod=$(run_pod p1); other=$(run_pod p2)
	t=$(run_ctr "$pod" p1 t)
	for p in "$pod p1" "$other p2"; do
		c=$(run_ctr $p c "$(sc "{namespace_options:{pid:3,target_id:\"$t\"}}")")
		[ "$(ns "$c" pid)" = "$(ns "$t" pid)" ]
		[ "$(ns "$c" mnt)" != "$(ns "$t" mnt)" ]
		rm_ctr "$c"
	done
	# It goes on without those that looked at it.
	exec_ctr "$t" true
	fails NotFound target CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json d "$(sc '{namespace_options:{pid:3,target_id:"nonesuch"}}')"),\"sandbox_config\":$(pod_json p1)}"
	fails InvalidArgument target CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json d "$(sc '{namespace_options:{pid:3}}')"),\"sandbox_config\":$(pod_json p1)}"
	stop_ctr "$t"
	fails FailedPrecondition "is not running" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json d "$(sc "{namespace_options:{pid:3,target_id:\"$t\"}}")"),\"sandbox_config\":$(pod_json p1)}"
}

@test "pid namespace modes: pod, container, node" {
	pod=$(run_pod p1 "$(sc '{namespace_options:{pid:0}}')")
	a=$(run_ctr "$pod" p1 a "$(sc '{namespace_options:{pid:0}}')"); b=$(run_ctr "$pod" p1 b "$(sc '{namespace_options:{pid:0}}')")
	own=$(run_ctr "$pod" p1 own "$(sc '{namespace_options:{pid:1}}')"); host=$(run_ctr "$pod" p1 host "$(sc '{namespace_options:{pid:2}}')")
	[ "$(ns "$a" pid)" = "$(ns "$b" pid)" ]
	[ "$(ns "$own" pid)" != "$(ns "$a" pid)" ]
	[ "$(ns "$host" pid)" = "$(readlink /proc/self/ns/pid)" ]
	exec_ctr "$a" sh -c 'tr "\0" " " </proc/1/cmdline' | grep -q pause
	# A pod that did not ask for it has none to share.
	pod=$(run_pod p2)
	fails FailedPrecondition "was not similarly configured" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json d "$(sc '{namespace_options:{pid:0}}')"),\"sandbox_config\":$(pod_json p2)}"
}

@test "exec in a container that was created and not started" {
	pod=$(run_pod p1); c=$(create_ctr "$pod" p1 c1)
	[ "$(exec_ctr "$c" hostname)" = p1 ]
	[ "$(ctr_field "$c" state)" = CONTAINER_CREATED ]
	start_ctr "$c"; [ "$(exec_ctr "$c" hostname)" = p1 ]
	stop_ctr "$c"
	fails FailedPrecondition "container is not created or running" ExecSync "{\"container_id\":\"$c\",\"cmd\":[\"true\"]}"
}

@test "StopPodSandbox kills what does not end within the time of its client" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1 '.command=["sh","-c","trap : TERM; while :; do sleep 0.05; done"]')
	t=$(now_ms)
	CRI_TIMEOUT=4 cri StopPodSandbox "{\"pod_sandbox_id\":\"$pod\"}"
	t=$(($(now_ms) - t)); [ $t -ge 1500 ] && [ $t -lt 4000 ]
	[ "$(ctr_field "$c" exit_code)" = 137 ]
	[ "$(pod_field "$pod" state)" = SANDBOX_NOTREADY ]
}

@test "a working directory that is a file" {
	pod=$(run_pod p1)
	for d in /bin/busybox /bin/busybox/sub; do
		fails InvalidArgument "not a directory" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json d ".working_dir=\"$d\""),\"sandbox_config\":$(pod_json p1)}"
	done
}

@test "container_min_memory: the handler's, and the default" {
	log_has 'Runtime handler ..small.. container minimum memory set to 5767168 bytes'
	log_has 'Runtime handler ..crun.. container minimum memory set to 12582912 bytes'
	pod=$(run_pod p1 . small)
	fails InvalidArgument "should be at least 5767168 bytes" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json d '.linux.resources.memory_limit_in_bytes=5000000'),\"sandbox_config\":$(pod_json p1)}"
	c=$(run_ctr "$pod" p1 c '.linux.resources.memory_limit_in_bytes=6000000')
	fails InvalidArgument "should be at least 5767168 bytes" UpdateContainerResources "{\"container_id\":\"$c\",\"linux\":{\"memory_limit_in_bytes\":5000000}}"
}

@test "a stop signal of the request" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c '.command=["sh","-c","trap \"exit 7\" INT; while :; do sleep 0.05; done"]|.stop_signal="SIGINT"')
	log_has 'Override stop signal to SIGINT'
	stop_ctr "$c" 10; [ "$(ctr_field "$c" exit_code)" = 7 ]
}
