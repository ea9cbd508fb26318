#!/usr/bin/env bats
# What pods and containers use: stats, their lists and streams, and the metrics.
load lib/cri.bash

setup_file() { crio_start; export CRIO_PID; pull >/dev/null; }
teardown_file() { suite_end; }
teardown() { remove_all_pods; }

stats() { cri ContainerStats "{\"container_id\":\"$1\"}" | jq .stats; }
pod_stats() { cri PodSandboxStats "{\"pod_sandbox_id\":\"$1\"}" | jq .stats; }
# value JSON FIELD: a number; 0 when it is left out.
value() { jq -r ".$2.value // \"0\"" <<<"$1"; }
at_least() { [ "$(value "$(stats "$1")" "$2")" -ge "$3" ]; }
cgroup_file() { # cgroup_file POD CONTAINER V1CONTROLLER V1FILE V2FILE: the file's text
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then cat "/sys/fs/cgroup/pod_$1/crio-$2/$5"; else cat "/sys/fs/cgroup/$3/pod_$1/crio-$2/$4"; fi
}

@test "a container's CPU time, memory and writable layer are what it does" {
	local p c idle s a b t want got
	p=$(run_pod p1 '.labels={app:"a"}'); c=$(run_ctr "$p" p1 busy '.labels={tier:"x"}|.annotations={note:"n"}|.command=["sh","-c",
		"trap exit TERM; dd if=/dev/zero of=/written bs=1M count=5 2>/dev/null; x=$(head -c 30000000 /dev/zero | tr \"\\0\" a); while :; do :; done"]')
	idle=$(run_ctr "$p" p1 idle)
	node_wait 20 at_least "$c" memory.rss_bytes 20000000
	s=$(stats "$c"); [ "$(jq -r .attributes.id <<<"$s")" = "$c" ]
	jq -e '.attributes | .metadata.name == "busy" and .labels.tier == "x" and .annotations.note == "n"' <<<"$s"
	jq -e '(.cpu.timestamp | tonumber / 1e9) as $t | ($t > now - 10) and ($t < now + 10) and .cpu.timestamp == .memory.timestamp' <<<"$s"
	a=$(value "$s" cpu.usage_core_nano_seconds); t=$(jq -r .cpu.timestamp <<<"$s"); sleep 1
	s=$(stats "$c"); b=$(value "$s" cpu.usage_core_nano_seconds); t=$(($(jq -r .cpu.timestamp <<<"$s") - t))
	[ $((b - a)) -gt 50000000 ]; [ $((b - a)) -le $((t + t / 10)) ]
	# The rate is that since the look before.
	want=$(((b - a) * 1000 / (t / 1000000))); got=$(value "$s" cpu.usage_nano_cores)
	[ "$got" -ge $((want * 90 / 100)) ]; [ "$got" -le $((want * 110 / 100)) ] # the daemon looks at two clocks, and may have to wait in between
	[ "$(value "$s" memory.usage_bytes)" -ge "$(value "$s" memory.working_set_bytes)" ]; [ "$(value "$s" memory.page_faults)" -gt 1000 ]
	[ "$(value "$s" memory.available_bytes)" = 0 ] # no limit
	[ "$(value "$(stats "$idle")" memory.working_set_bytes)" -lt "$(value "$s" memory.working_set_bytes)" ]
	# The writable layer is measured in the background.
	[ "$(jq -r .writable_layer.fs_id.mountpoint <<<"$s")" = "$(cri ContainerStatus "{\"container_id\":\"$c\",\"verbose\":true}" | jq -r '.info.info|fromjson|.runtimeSpec.root.path')" ]
	node_wait 15 at_least "$c" writable_layer.used_bytes 5000000
	at_least "$c" writable_layer.inodes_used 1; [ "$(value "$(stats "$c")" writable_layer.used_bytes)" -lt 8000000 ]
}

@test "limits show as what is left of them" {
	local p c s left
	p=$(run_pod p1); c=$(run_ctr "$p" p1 c '.linux.resources={memory_limit_in_bytes:50000000}')
	s=$(stats "$c"); left=$(value "$s" memory.available_bytes)
	[ "$left" -gt 30000000 ]; [ "$left" -lt 50000000 ]
	[ $((left + $(value "$s" memory.working_set_bytes) - $(cgroup_file p1 "$c" memory memory.limit_in_bytes memory.max))) = 0 ]
}

@test "a pod's figures are those of its group, with its containers and interfaces" {
	local p c d s cpu
	p=$(run_pod p1 '.labels={app:"a"}'); c=$(run_ctr "$p" p1 c '.command=["sh","-c","trap exit TERM; while :; do :; done"]'); d=$(run_ctr "$p" p1 d '.linux.security_context.capabilities={add_capabilities:["NET_RAW"]}')
	create_ctr "$p" p1 made >/dev/null
	sleep 0.5; s=$(pod_stats "$p")
	jq -e --arg p "$p" '.attributes | .id == $p and .metadata.name == "p1" and .metadata.uid == "uid-p1" and .metadata.namespace == "test" and .labels.app == "a"' <<<"$s"
	[ "$(jq '.linux.containers | length' <<<"$s")" = 3 ]; [ "$(jq -r '.linux.containers[0].attributes.id' <<<"$s")" = "$c" ]
	cpu=$(value "$s" linux.cpu.usage_core_nano_seconds); [ "$cpu" -gt 100000000 ]
	[ "$cpu" -ge "$(value "$(jq '.linux.containers[0]' <<<"$s")" cpu.usage_core_nano_seconds)" ]
	[ "$(value "$s" linux.process.process_count)" -ge 3 ]; [ "$(value "$s" linux.process.process_count)" -lt 20 ]
	[ "$(value "$s" linux.memory.working_set_bytes)" -gt 0 ]
	[ "$(jq -r .linux.network.default_interface.name <<<"$s")" = eth0 ]; [ "$(jq -r '.linux.network.interfaces[].name' <<<"$s")" = lo ]
	# Bytes that go out of it, and some over its loopback.
	local before after lo gw; before=$(value "$s" linux.network.default_interface.tx_bytes); lo=$(value "$(jq '.linux.network.interfaces[0]' <<<"$s")" rx_bytes)
	gw=$(exec_ctr "$d" ip route | awk '/^default/{print $3}'); exec_ctr "$d" ping -c 3 -s 1000 -i 0.2 "$gw" >/dev/null; exec_ctr "$d" ping -c 2 -s 1000 -i 0.2 127.0.0.1 >/dev/null
	s=$(pod_stats "$p"); after=$(value "$s" linux.network.default_interface.tx_bytes)
	[ $((after - before)) -ge 3000 ]; [ $((after - before)) -lt 100000 ]; [ $(($(value "$(jq '.linux.network.interfaces[0]' <<<"$s")" rx_bytes) - lo)) -ge 2000 ]
	# Its socket in the namespace goes with the pod.
	cri StopPodSandbox "{\"pod_sandbox_id\":\"$p\"}"; s=$(pod_stats "$p")
	jq -e --arg p "$p" '.attributes.id == $p and (.linux.containers // [] | length == 0) and .linux.cpu == null and .linux.network == null' <<<"$s"
}

@test "a pod without a group of its own is the sum of its containers; the host's network shows the host's interfaces" {
	local p q c s
	p=$(run_pod p1 'del(.linux.cgroup_parent)'); c=$(run_ctr "$p" p1 c '.command=["sh","-c","trap exit TERM; while :; do :; done"]')
	q=$(run_pod p2 'del(.linux.cgroup_parent)|.linux.security_context.namespace_options={network:2,pid:1}'); sleep 0.5
	s=$(pod_stats "$p"); [ "$(value "$s" linux.cpu.usage_core_nano_seconds)" -gt 100000000 ]; [ "$(value "$s" linux.memory.usage_bytes)" -gt 0 ]
	s=$(pod_stats "$q"); [ "$(value "$s" linux.cpu.usage_core_nano_seconds)" -lt 100000000 ]
	[ "$(jq -r '.linux.network|[.default_interface,.interfaces[]]|map(.name // empty)|sort|.[]' <<<"$s")" = "$(awk -F: 'NR > 2 {gsub(" ", "", $1); print $1}' /proc/net/dev | sort)" ]
}

@test "lists: filters, what has exited or is not ready is left out, the streams hold the same" {
	local p q r c d x out
	p=$(run_pod p1 '.labels={app:"a"}'); q=$(run_pod p2 '.labels={app:"b"}'); r=$(run_pod p3)
	c=$(run_ctr "$p" p1 c '.labels={tier:"x"}'); d=$(run_ctr "$q" p2 d); x=$(run_ctr "$q" p2 x '.command=["true"]'); wait_exit "$x"
	cri StopPodSandbox "{\"pod_sandbox_id\":\"$r\"}"
	ids() { cri "$1" "$2" | jq -r '(.stats // .container_stats // .pod_sandbox_stats // [])[].attributes.id'; }
	for l in ListContainerStats StreamContainerStats; do
		[ "$(ids $l '{}')" = "$(printf '%s\n' "$c" "$d")" ]
		[ "$(ids $l '{"filter":{"label_selector":{"tier":"x"}}}')" = "$c" ]; [ "$(ids $l "{\"filter\":{\"id\":\"${d:0:12}\"}}")" = "$d" ]
		[ "$(ids $l "{\"filter\":{\"pod_sandbox_id\":\"$q\"}}")" = "$d" ]; [ -z "$(ids $l '{"filter":{"id":"ffff"}}')" ]
	done
	for l in ListPodSandboxStats StreamPodSandboxStats; do
		[ "$(ids $l '{}')" = "$(printf '%s\n' "$p" "$q")" ]; [ "$(ids $l "{\"filter\":{\"id\":\"$q\"}}")" = "$q" ]
		[ "$(ids $l '{"filter":{"label_selector":{"app":"a"}}}')" = "$p" ]; [ -z "$(ids $l '{"filter":{"label_selector":{"app":"z"}}}')" ]
	done
	[ "$(stats "$x")" = null ]
	fails NotFound ffff ContainerStats '{"container_id":"ffffffff"}'; fails NotFound ffff PodSandboxStats '{"pod_sandbox_id":"ffffffff"}'
	fails InvalidArgument "should not be empty" ContainerStats '{}'; fails InvalidArgument "should not be empty" PodSandboxStats '{}'
}

@test "lists never fail over containers that come and go, and nothing is kept of them" {
	local p c i fds; p=$(run_pod p1)
	crio_pid; cri ListPodSandboxStats '{}' >/dev/null; fds=$(ls "/proc/$CRIO_PID/fd" | wc -l)
	"$CRI_CLIENT" -s "$NODE/run/crio.sock" -n 400 -j 2 ListPodSandboxStats '{}' >"$NODE/many" 3>&- & i=$!
	for _ in 1 2 3 4 5 6; do c=$(run_ctr "$p" p1 c '.command=["true"]'); rm_ctr "$c"; done
	wait $i; jq -e '.errors // 0 == 0' "$NODE/many"
	rm_pod "$p"; sleep 0.5; [ "$(ls "/proc/$CRIO_PID/fd" | wc -l)" -le $((fds + 2)) ]
}

@test "with collection_period figures are read once in that time, also by the lists" {
	local p c a b
	crio_stop; printf '[crio.stats]\ncollection_period = 3\n' >"$NODE/etc/conf.d/30-stats.conf"; crio_start
	p=$(run_pod p1); c=$(run_ctr "$p" p1 c '.command=["sh","-c","trap exit TERM; while :; do :; done"]')
	a=$(stats "$c" | jq -r .cpu.timestamp); sleep 0.3
	[ "$(stats "$c" | jq -r .cpu.timestamp)" = "$a" ]; [ "$(cri ListContainerStats '{}' | jq -r '.stats[0].cpu.timestamp')" = "$a" ]
	b=$(pod_stats "$p" | jq -r .linux.cpu.timestamp); sleep 0.3; [ "$(pod_stats "$p" | jq -r .linux.cpu.timestamp)" = "$b" ]
	sleep 3; [ "$(stats "$c" | jq -r .cpu.timestamp)" != "$a" ]; [ "$(pod_stats "$p" | jq -r .linux.cpu.timestamp)" != "$b" ]
	rm "$NODE/etc/conf.d/30-stats.conf"; crio_stop; crio_start
	a=$(stats "$c" | jq -r .cpu.timestamp); [ "$(stats "$c" | jq -r .cpu.timestamp)" != "$a" ]
}

# ---- metrics ----

with_metrics() { crio_stop; printf '[crio.stats]\nincluded_pod_metrics = [%s]\n' "$1" >"$NODE/etc/conf.d/31-metrics.conf"; crio_start; }
without_metrics() { rm -f "$NODE/etc/conf.d/31-metrics.conf"; crio_stop; crio_start; }
names() { cri ListMetricDescriptors '{}' | jq -r '.descriptors[].name'; }
# metric CONTAINER NAME [LABEL]: its values, those with that label.
metric() {
	cri ListPodSandboxMetrics '{}' | jq -r --arg c "$1" --arg n "$2" --arg l "${3:-}" '.pod_metrics[].container_metrics[]? | select(.container_id == $c) |
		.metrics[] | select(.name == "container_" + $n and ($l == "" or any(.label_values[]; . == $l))) | .value.value // "0"'
}
metric_is() { test "$(metric "$1" "$2")" "$3" "$4"; } # metric_is NAME ID OPERATOR VALUE: as test has it

@test "metrics: the descriptors are those of the groups that are asked for, and every value belongs to one" {
	local p all g n
	[ "$(names)" = container_last_seen ]
	with_metrics '"all"'; all=$(names)
	[ "$(wc -l <<<"$all")" = 56 ]; [ "$(sort -u <<<"$all" | wc -l)" = 56 ]
	cri ListMetricDescriptors '{}' | jq -e 'all(.descriptors[]; .label_keys[0:5] == ["id","image","namespace","pod","container"] and .help != "")'
	cri ListMetricDescriptors '{}' | jq -e '[.descriptors[]|select(.name=="container_blkio_device_usage_total")|.label_keys[5:]] == [["device","major","minor","operation"]]'
	for g in cpu:6 disk:4 diskIO:5 hugetlb:2 memory:10 network:8 oom:1 process:6 spec:7 pressure:6; do
		with_metrics "\"${g%:*}\""; n=$(names | wc -l); [ "$n" = $((${g#*:} + 1)) ]
	done
	with_metrics '"all"'; p=$(run_pod p1); run_ctr "$p" p1 c >/dev/null
	cri ListMetricDescriptors '{}' | jq '[.descriptors[] | {(.name): (.label_keys | length)}] | add' >"$NODE/descs"
	cri ListPodSandboxMetrics '{}' | jq -e --slurpfile d "$NODE/descs" '[.pod_metrics[] | .metrics[], .container_metrics[].metrics[]] |
		length > 40 and all(.[]; $d[0][.name] == (.label_values | length) and (.timestamp | tonumber) > 0)'
	[ "$(cri ListPodSandboxMetrics '{}' | jq -r '.pod_metrics[].pod_sandbox_id')" = "$(cri StreamPodSandboxMetrics '{}' | jq -r '.pod_sandbox_metrics[].pod_sandbox_id')" ]
	without_metrics
}

@test "metrics: their values and labels are the container's" {
	local p c last
	with_metrics '"all"'
	p=$(run_pod p1); c=$(run_ctr "$p" p1 c '.command=["sh","-c","trap exit TERM; exec 7</dev/null; dd if=/dev/zero of=/written bs=1M count=5 2>/dev/null; sync; i=0; while [ $i -lt 4000000 ]; do i=$((i+1)); done; while :; do sleep 0.1; done"]|
		.linux.resources={cpu_period:10000,cpu_quota:20000,cpu_shares:512,memory_limit_in_bytes:268435456}')
	cri ListPodSandboxMetrics '{}' | jq -e --arg p "$p" --arg c "$c" --arg i "$REGISTRY/busybox:1" '.pod_metrics | length == 1 and .[0].pod_sandbox_id == $p and
		.[0].metrics[0].label_values[0:5] == [$p,"","test","p1","POD"] and
		.[0].container_metrics[0].container_id == $c and .[0].container_metrics[0].metrics[0].label_values == [$c,$i,"test","p1","c"]'
	[ "$(metric "$c" spec_cpu_period)" = 10000 ]; [ "$(metric "$c" spec_cpu_quota)" = 20000 ]; [ "$(metric "$c" spec_cpu_shares)" = 512 ]
	[ "$(metric "$c" spec_memory_limit_bytes)" = 268435456 ]; [ "$(metric "$c" spec_memory_reservation_limit_bytes)" = 0 ]
	[ "$(metric "$c" start_time_seconds)" -gt $(($(date +%s) - 60)) ]; [ "$(metric "$c" start_time_seconds)" -le "$(date +%s)" ]
	last=$(metric "$c" last_seen); [ "$last" -ge $(($(date +%s) - 5)) ]; [ "$last" -le "$(date +%s)" ]
	node_wait 20 metric_is "$c" cpu_user_seconds_total -ge 1
	[ "$(metric "$c" cpu_usage_seconds_total | awk '{s += $1} END {print s}')" -ge 0 ]; [ "$(metric "$c" cpu_cfs_periods_total)" -gt 10 ]
	node_wait 15 metric_is "$c" fs_usage_bytes -ge 5000000
	[ "$(metric "$c" fs_limit_bytes)" = "$(($(stat -f -c '%b * %S' "$NODE/root")))" ]; [ "$(metric "$c" fs_inodes_total)" -ge "$(metric "$c" fs_inodes_free)" ]
	[ "$(metric "$c" memory_usage_bytes)" -ge "$(metric "$c" memory_working_set_bytes)" ]; [ "$(metric "$c" memory_max_usage_bytes)" -ge 5000000 ]
	[ "$(metric "$c" memory_cache)" -ge 4000000 ]; [ "$(metric "$c" memory_failures_total pgfault | sort -u | wc -l)" = 1 ]; [ "$(metric "$c" memory_failures_total pgfault | wc -l)" = 2 ]
	[ "$(metric "$c" oom_events_total)" = 0 ]
	[ "$(metric "$c" processes)" -ge 1 ]; [ "$(metric "$c" processes)" -le 2 ]; [ "$(metric "$c" file_descriptors)" -ge 4 ]; [ "$(metric "$c" sockets)" = 0 ]
	[ "$(metric "$c" ulimits_soft max_open_files)" = "$(exec_ctr "$c" sh -c 'ulimit -n')" ]
	# Interfaces: the pod's own, of the pod and not of its containers.
	[ "$(cri ListPodSandboxMetrics '{}' | jq -r '.pod_metrics[].metrics[] | select(.name == "container_network_receive_bytes_total") | .label_values[-1]' | sort | tr '\n' ' ')" = "eth0 lo " ]
	[ -z "$(metric "$c" network_receive_bytes_total)" ]
	stop_ctr "$c"; cri ListPodSandboxMetrics '{}' | jq -e '.pod_metrics[0].container_metrics // [] | length == 0'
	without_metrics
}
