#!/usr/bin/env bats
# Keys of a runtime handler that say where an exec runs.
load lib/cri.bash

setup_file() {
	cat >"$NODE/etc/conf.d/70-handler.conf" <<-EOF
	[crio.runtime]
	infra_ctr_cpuset = "0"
	[crio.runtime.runtimes.high-performance]
	runtime_path = "/usr/bin/crun"
	runtime_root = "$NODE/run/crun"
	monitor_exec_cgroup = "container"
	exec_cpu_affinity = "first"
	[crio.runtime.runtimes.other]
	runtime_path = "/usr/bin/crun"
	runtime_root = "$NODE/run/crun"
	EOF
	crio_start; pull >/dev/null
}
teardown_file() { suite_end; }
setup() { crio_pid; }
teardown() { remove_all_pods; }

# The cgroup of the runtime that runs an exec of `sleep 7777`, in the controller cpuset (or v2's).
group_of_exec() {
	local p; p=$(pgrep -f "crun.* exec .* $1\$" | head -1)
	awk -F: '$2 == "cpuset" || $2 == "" {print $3}' "/proc/$p/cgroup" | head -1
}
runs() { [ -n "$(pgrep -f "crun.* exec .* $1\$")" ]; }

@test "monitor_exec_cgroup: the runtime of an exec is in the container's group, or not" {
	for h in high-performance other; do
		pod=$(run_pod "p-$h" . "$h"); c=$(run_ctr "$pod" "p-$h" c1)
		exec_ctr "$c" sleep 3 & job=$!
		node_wait 5 runs "$c"; sleep 0.5; group=$(group_of_exec "$c"); wait $job
		echo "$h: $group"; [ -n "$group" ]
		case $h in other) [[ $group != *"crio-$c"* ]] ;; *) [[ $group == *"crio-$c"* ]] ;; esac
	done
}

@test "exec_cpu_affinity: told to the runtime for containers with whole CPUs" {
	pod=$(run_pod p1 . high-performance)
	c=$(run_ctr "$pod" p1 c1 '.linux.resources={cpu_shares:2048,cpuset_cpus:"0-1"}')
	[ "$(jq -r .process.execCPUAffinity.initial "$NODE"/root/overlay-containers/"$c"/userdata/config.json)" = 0 ]
	[ "$(exec_ctr "$c" echo fine)" = fine ] # also with a runtime that does not know it
	c=$(run_ctr "$pod" p1 c2 '.linux.resources={cpu_shares:2000,cpuset_cpus:"0-1"}')
	[ "$(jq -r .process.execCPUAffinity "$NODE"/root/overlay-containers/"$c"/userdata/config.json)" = null ]
}
