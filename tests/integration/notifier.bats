#!/usr/bin/env bats
# The seccomp notifier, with real runtimes: forbidden calls are counted, and end a container that is to end for them.
load lib/cri.bash

setup_file() {
	# The path of a socket has 107 characters, and the node's directory takes most of them.
	SHORT=$(mktemp -d /tmp/nXXXX); export SHORT
	config; crio_start; pull >/dev/null
}
teardown_file() { local rc=0; suite_end || rc=1; [ ! -e "$SHORT/seccomp" ] || rc=1; rm -rf "$SHORT"; return $rc; }
setup() { crio_pid; }
teardown() { remove_all_pods; }

config() {
	PORT=$(node_free_port); export PORT
	cat >"$NODE/etc/conf.d/60-notifier.conf" <<-EOF
	[crio.runtime]
	container_attach_socket_dir = "$SHORT"
	[crio.runtime.runtimes.crun]
	runtime_path = "/usr/bin/crun"
	runtime_root = "$NODE/run/crun"
	allowed_annotations = ["io.kubernetes.cri-o.seccompNotifierAction"]
	[crio.runtime.runtimes.runc]
	runtime_path = "/usr/sbin/runc"
	runtime_root = "$NODE/run/runc"
	allowed_annotations = ["seccomp-notifier-action.crio.io"]
	[crio.runtime.runtimes.plain]
	runtime_path = "/usr/bin/crun"
	runtime_root = "$NODE/run/crun"
	[crio.metrics]
	enable_metrics = true
	metrics_port = $PORT
	EOF
}
DEFAULT='.linux.security_context.seccomp={profile_type:0}'
# with VALUE: a pod whose containers have the annotation
with() { echo ".annotations[\"io.kubernetes.cri-o.seccompNotifierAction\"]=\"$1\""; }
offend() { local out; out=$(exec_ctr "$c" swapoff /etc/passwd 2>&1) && return 1; [[ $out == *"Function not implemented"* ]]; }
counted() { curl -sSf "http://127.0.0.1:$PORT/metrics" | awk -v want="container_runtime_crio_containers_seccomp_notifier_count_total{name=\"k8s_c1_$1_test_uid-$1_0\",syscall=\"$2\"}" 'index($0, want " ") == 1 {print $NF}'; }

# stopped RUNTIME
stopped() {
	pod=$(run_pod p1 "$(with stop)" "$1"); c=$(run_ctr "$pod" p1 c1 "$DEFAULT")
	offend; offend; offend
	[ "$(ctr_field "$c" state)" = CONTAINER_RUNNING ]
	log_has "Got seccomp notifier message for container ID: $c \(syscall = swapoff\)"
	wait_exit "$c" 20
	[ "$(ctr_field "$c" reason)" = "seccomp killed" ]
	[ "$(ctr_field "$c" message)" = "Used forbidden syscalls: swapoff (3x)" ]
	[ "$(counted p1 swapoff)" = 3 ]
}

@test "action stop: the container ends, and says for what; crun" { stopped crun; }

@test "the same with runc, and it is remembered" {
	sed -i 's/seccompNotifierAction"\]/seccompNotifierAction", "seccomp-notifier-action.crio.io"]/' "$NODE/etc/conf.d/60-notifier.conf"
	pod=$(run_pod p2 '.annotations["seccomp-notifier-action.crio.io"]="stop"' runc); c=$(run_ctr "$pod" p2 c1 "$DEFAULT")
	offend
	[[ $(exec_ctr "$c" chroot / true 2>&1) == *"not implemented"* ]]
	wait_exit "$c" 20
	[ "$(ctr_field "$c" message)" = "Used forbidden syscalls: chroot (1x), swapoff (1x)" ]
	crio_stop; crio_start
	[ "$(ctr_field "$c" reason)" = "seccomp killed" ]
	[ "$(ctr_field "$c" message)" = "Used forbidden syscalls: chroot (1x), swapoff (1x)" ]
	jq -e .seccompKilled "$NODE"/root/overlay-containers/"$c"/userdata/state.json
}

@test "any other action only counts; a container that ends by itself is not marked" {
	pod=$(run_pod p3 "$(with "")"); c=$(run_ctr "$pod" p3 c1 "$DEFAULT")
	offend; offend
	sleep 6
	[ "$(ctr_field "$c" state)" = CONTAINER_RUNNING ]; [ "$(counted p3 swapoff)" = 2 ]
	stop_ctr "$c" 5; [ "$(ctr_field "$c" reason)" = Error ]
	pod=$(run_pod p4 "$(with stop)"); c=$(run_ctr "$pod" p4 c1 "$DEFAULT"' | .command=["sh","-c","swapoff /etc/passwd; exit 0"]')
	wait_exit "$c" 10; sleep 6
	[ "$(ctr_field "$c" reason)" = Completed ]; [ "$(counted p4 swapoff)" = 1 ]
}

@test "a profile of the pod's own; what is refused with ENOSYS is no offence" {
	jq '.syscalls |= map(.names -= ["chmod", "swapon"] | if .errnoRet == 38 then .names += ["swapon"] elif .names | index("swapoff") then .names += ["chmod"] else . end)' \
		"${FIXTURES%/tests/*}/etc/seccomp.json" >"$NODE/profile.json"
	pod=$(run_pod p5 "$(with stop)"); c=$(run_ctr "$pod" p5 c1 ".linux.security_context.seccomp={profile_type:2,localhost_ref:\"$NODE/profile.json\"}")
	[[ $(exec_ctr "$c" swapon /etc/passwd 2>&1) == *"not implemented"* ]]
	[[ $(exec_ctr "$c" chmod 777 /tmp 2>&1) == *"not implemented"* ]]
	wait_exit "$c" 20
	[ "$(ctr_field "$c" message)" = "Used forbidden syscalls: chmod (1x)" ]
	rm "$NODE/profile.json"
}

@test "not without the annotation, where it is not allowed, or without a profile" {
	pod=$(run_pod p6); c=$(run_ctr "$pod" p6 c1 "$DEFAULT"); [[ $(exec_ctr "$c" swapoff /etc/passwd 2>&1) == *"not permitted"* ]]
	pod=$(run_pod p7 "$(with stop)" plain); c=$(run_ctr "$pod" p7 c1 "$DEFAULT"); [[ $(exec_ctr "$c" swapoff /etc/passwd 2>&1) == *"not permitted"* ]]
	pod=$(run_pod p8 "$(with stop)"); c=$(run_ctr "$pod" p8 c1); [ ! -e "$SHORT/seccomp/$c" ]
	[ -z "$(counted p6 swapoff)$(counted p7 swapoff)$(counted p8 swapoff)" ]
}

@test "after kill -9 of the daemon its containers go on, and what is started in them is heard again" {
	pod=$(run_pod p9 "$(with stop)"); c=$(run_ctr "$pod" p9 c1 "$DEFAULT"' | .command=["sh","-c","while :; do sleep 0.2; swapoff /etc/passwd 2>/dev/null; [ $? = 1 ] || exit 9; done"]')
	node_wait 10 eval '[ "$(counted p9 swapoff)" -gt 0 ]'
	crio_kill; sleep 1; crio_start
	[ "$(ctr_field "$c" state)" = CONTAINER_RUNNING ]
	offend
	wait_exit "$c" 20
	[ "$(ctr_field "$c" message)" = "Used forbidden syscalls: swapoff (1x)" ]
}

@test "one that floods is stopped all the same, in time, and costs the daemon little" {
	local lines; lines=$(wc -l <"$NODE/crio.log")
	pod=$(run_pod p10 "$(with stop)"); c=$(run_ctr "$pod" p10 c1 "$DEFAULT"' | .command=["sh","-c","while :; do swapoff /etc/passwd; done >/dev/null 2>&1"]')
	wait_exit "$c" 40
	[ "$(ctr_field "$c" reason)" = "seccomp killed" ]
	[[ $(ctr_field "$c" message) == "Used forbidden syscalls: swapoff (1000x)" ]]
	[ "$(counted p10 swapoff)" = 1000 ]
	[ "$(tail -n "+$lines" "$NODE/crio.log" | grep -c 'seccomp notifier message')" = 1 ]
}
