#!/usr/bin/env bats
# The HTTP side of the socket, which cAdvisor and `crio status` use.
load lib/cri.bash

setup_file() { crio_start; export CRIO_PID; pull >/dev/null; }
teardown_file() { suite_end; }
teardown() { remove_all_pods; }

get() { curl -s --max-time 20 --unix-socket "$SOCK" "http://crio$1"; }
code() { curl -s --max-time 20 -o /dev/null -w '%{http_code} %{content_type}' "${@:2}" --unix-socket "$SOCK" "http://crio$1"; }
setup() { SOCK=$NODE/run/crio.sock; }
status() { crio_cmd status --socket "$SOCK" "$@"; }

@test "/info and crio status info" {
	[ "$(get /info | jq -r .cgroup_driver)" = cgroupfs ]
	[ "$(get /info | jq -r .storage_driver)" = overlay ]
	[ "$(get /info | jq -r .storage_root)" = "$NODE/root" ]
	[ "$(get /info | jq -c .default_id_mappings.uids)" = '[{"container_id":0,"host_id":0,"size":4294967295}]' ]
	[ "$(code /info)" = "200 application/json" ]
	run status info; [ "$status" = 0 ]
	[[ $output == *"storage driver: overlay"* && $output == *"  0:0:4294967295"* ]]
}

@test "/config and crio status config: what is in force" {
	[ "$(code /config)" = "200 application/toml" ]
	get /config | grep -qxF "root = \"$NODE/root\""
	run status c; [ "$status" = 0 ]
	[[ $output == *"[crio.runtime]"* && $output == *'cgroup_manager = "cgroupfs"'* ]]
}

@test "/containers/<id>: a container, and a pod by its infra container" {
	pod=$(run_pod p1 '.annotations={a:"of the pod"}|.labels={l:"pod"}')
	[ "$(get "/containers/$pod" | jq -c '[.pid,.sandbox==.crio_annotations["io.kubernetes.cri-o.SandboxID"],.labels.l]')" = '[0,true,"pod"]' ]
	c=$(run_ctr "$pod" p1 c1 '.labels={l:"ctr"}|.annotations={b:"of the container"}')
	o=$(get "/containers/$c")
	[ "$(jq -r .name <<<"$o")" = "k8s_c1_p1_test_uid-p1_0" ]
	[ "$(jq -r .pid <<<"$o")" = "$(ctr_pid "$c")" ]
	[ "$(jq -r .image <<<"$o")" = "$REGISTRY/busybox:1" ]
	[ "$(jq -r .image_ref <<<"$o")" = "$(ctr_field "$c" image_ref)" ]
	[[ $o == *"\"created_time\":$(cri ContainerStatus "{\"container_id\":\"$c\"}" | grep -oE '"created_at": *"?[0-9]+' | grep -oE '[0-9]+$'),"* ]] # jq rounds
	[ "$(jq -c '[.labels,.annotations]' <<<"$o")" = '[{"l":"ctr"},{"b":"of the container"}]' ]
	[ "$(jq -r '.crio_annotations["io.kubernetes.cri-o.ContainerType"]' <<<"$o")" = container ]
	[ "$(jq -r .log_path <<<"$o")" = "$NODE/log/p1/c1.log" ]
	[ -x "$(jq -r .root <<<"$o")/bin/busybox" ]
	[ "$(jq -r .sandbox <<<"$o")" = "$pod" ]
	[ "$(jq -r '.ip_addresses[0]' <<<"$o")" = "$(pod_field "$pod" network.ip)" ]
	[ "$(jq -r .host_network <<<"$o")" = false ]
	# The pod has no process of its own: one of its containers stands for its network.
	[ "$(get "/containers/$pod" | jq .pid)" = "$(ctr_pid "$c")" ]
	run status containers --id "$c"; [ "$status" = 0 ]
	[[ $output == *"sandbox: $pod"* && $output == *"name: k8s_c1_p1"* && $output == *"  b: of the container"* ]]
}

@test "what is not there, and what is no request" {
	[ "$(get /containers/nonesuch)" = "can't find the container with id nonesuch" ]
	[ "$(code /containers/nonesuch)" = "404 text/plain; charset=utf-8" ]
	[ "$(code /pause/nonesuch)" = "404 text/plain; charset=utf-8" ]
	for p in / /containers /containers/ /containers/a/b /containers/.. /pause/ /information; do
		[[ $(code "$p" --path-as-is) == "404 "* ]] || { echo "$p"; false; }
	done
	[[ $(code /info -X POST -d x) == "405 "* ]]
	run status containers; [ "$status" = 1 ]
	[[ $output == *"the argument --id cannot be empty"* ]]
	run status containers --id nonesuch; [ "$status" = 1 ]
	[[ $output == *"can't find the container with id nonesuch"* ]]
	run crio_cmd status --socket "$NODE/none.sock" info; [ "$status" = 1 ]
	[[ $output == *"connect to $NODE/none.sock"* ]]
	run status config more; [ "$status" = 1 ]
	run status --nonsense; [ "$status" = 1 ]
	run status; [ "$status" = 0 ]
}

@test "pause and unpause: processes stand still, and go on" {
	pod=$(run_pod p1)
	c=$(run_ctr "$pod" p1 c1 '.command=["sh","-c","trap \"exit 3\" TERM; while :; do echo x; sleep 0.05; done"]')
	[ "$(get "/unpause/$c")" = "container is not in paused state, now is running" ]
	[ "$(code "/unpause/$c")" = "409 text/plain; charset=utf-8" ]
	[ "$(get "/pause/$c")" = "200 OK" ]
	[ "$(ctr_field "$c" state)" = CONTAINER_RUNNING ]
	sleep 0.2; n=$(wc -l <"$NODE/log/p1/c1.log"); sleep 0.5
	[ "$(wc -l <"$NODE/log/p1/c1.log")" = "$n" ]
	[ "$(get "/pause/$c")" = "container is not in running or created state, now is paused" ]
	[ "$(code "/pause/$c")" = "409 text/plain; charset=utf-8" ]
	# It is still known to be paused after a restart.
	crio_stop; crio_start
	[ "$(get "/unpause/$c")" = "200 OK" ]
	log_grew() { [ "$(wc -l <"$NODE/log/p1/c1.log")" -gt "$n" ]; }
	node_wait 5 log_grew
}

@test "a paused container is stopped in its grace, not killed" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	[ "$(get "/pause/$c")" = "200 OK" ]
	stop_ctr "$c" 20
	[ "$(ctr_field "$c" exit_code)" = 3 ]
	[ "$(get "/pause/$c")" = "container is not in running or created state, now is stopped" ]
}

@test "threads and heap" {
	run status goroutines; [ "$status" = 0 ]
	[[ $output == *crio-grpc* ]]
	run status heap -f "$NODE/heap.xml"; [ "$status" = 0 ]
	[[ $output == *"Wrote heap dump to: $NODE/heap.xml"* ]]
	grep -q '<malloc' "$NODE/heap.xml"; rm "$NODE/heap.xml"
}

@test "64 clients that say nothing do not keep gRPC from answering; the daemon stops with a request at work" {
	for _ in $(seq 80); do curl -s --max-time 15 --unix-socket "$SOCK" http://crio/debug/heap >/dev/null & done
	cri Version >/dev/null
	wait
	[ "$(code /info)" = "200 application/json" ]
}
