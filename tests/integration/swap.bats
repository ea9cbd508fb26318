#!/usr/bin/env bats
# CRI-O is stopped with pods running and ours is started: it adopts them. What ours then writes is what CRI-O looks for.
load lib/cri.bash

setup_file() { crio_start; export CRIO_PID; pull >/dev/null; pull "$REGISTRY/pause:1" >/dev/null; clean_base volatile-containers.json; }
teardown_file() {
	# CRI-O's own table, which the fixture makes: it stays, with nothing in it.
	local t=$NODE/root/overlay-containers/volatile-containers.json rc=0
	remove_all_pods; [ ! -e "$t" ] || [ "$(jq length "$t")" = 0 ] || { echo "left in $t: $(cat "$t")" >&2; rc=1; }
	rm -f "$t"; suite_end || rc=1; return $rc
}
teardown() { [ -f "$NODE/crio.pid" ] || crio_start; remove_all_pods; }

# A pod's own cgroup is the kubelet's with CRI-O; volatile-containers.json is a file that stays.
takes_cgroups() { find /sys/fs/cgroup -depth -type d -name 'pod_s[0-9]' -exec rmdir {} + 2>/dev/null || true; }
share='.linux.security_context.namespace_options.pid=0'
kept() { echo "$NODE/root/overlay-containers/$1/userdata/$2"; }
run_dir() { echo "$NODE/run/storage/overlay-containers/$1/userdata/$2"; }
# crio_was_here: our daemon goes, and leaves what CRI-O would have left. Records of our plugins are not there then.
crio_was_here() {
	crio_kill
	"$FIXTURES/crio-state.sh" "$NODE/root" "$NODE/run/storage" "$(jq -r --arg n "$REGISTRY/pause:1" '.[] | select((.names // []) | index($n)) | .id' "$NODE/root/overlay-images/images.json")"
	rm -rf "$NODE/run/plugins"/* "$NODE/state/plugins"/* "$NODE/state/clean.shutdown.supported"; echo '"1.36.3"' >"$NODE/run/version"
}
# What clients know of everything, but for what only our records have.
known() { state_of_all | jq 'del(.. | .info?) | del(.. | .resources? | .linux?)'; }

@test "pods and containers in CRI-O's form are adopted as they run: listed, with addresses, logs and exec, stopped with their exit codes, removed" {
	local p1 p2 p3 c1 c2 c3 c4 before n
	p1=$(run_pod s1 '.labels={app:"x"}|.annotations={k:"v"}'); c1=$(run_ctr "$p1" s1 c1 '.command=["sh","-c","trap \"exit 9\" TERM; while :; do echo tick; sleep 0.1; done"]')
	c2=$(create_ctr "$p1" s1 c2); c3=$(run_ctr "$p1" s1 c3 '.command=["sh","-c","exit 42"]'); wait_exit "$c3"
	p2=$(run_pod s2 "$share"); c4=$(run_ctr "$p2" s2 c4 "$share" "$share")
	p3=$(run_pod s3); cri StopPodSandbox "{\"pod_sandbox_id\":\"$p3\"}" >/dev/null
	before=$(known)
	crio_was_here; [ "$(jq length "$NODE/root/overlay-containers/containers.json")" = 0 ]; [ ! -e "$(kept "$p1" state.json)" ]
	crio_start; diff <(echo "$before") <(known)
	[ "$(exec_ctr "$c1" hostname)" = s1 ]; exec_ctr "$c4" ps | grep -q pause
	n=$(wc -l <"$NODE/log/s1/c1.log"); node_wait 5 sh -c "[ \$(wc -l <$NODE/log/s1/c1.log) -gt $((n + 3)) ]"
	start_ctr "$c2"; [ "$(exec_ctr "$c2" hostname)" = s1 ]
	stop_ctr "$c1" 10; [ "$(ctr_field "$c1" exit_code)" = 9 ]; [ "$(ctr_field "$c3" exit_code)" = 42 ]; stop_ctr "$c4" 10; [ "$(ctr_field "$c4" exit_code)" = 3 ]
	rm_ctr "$c3"; run_ctr "$p2" s2 c5 "$share" "$share" >/dev/null
	rm_pod "$p1"; rm_pod "$p2"; rm_pod "$p3"; takes_cgroups; clean
}

@test "what ends between CRI-O and us has its exit code; a pod that CRI-O was making is taken apart" {
	local p c q
	p=$(run_pod s1); c=$(run_ctr "$p" s1 c1 '.command=["sh","-c","sleep 2; exit 17"]'); q=$(run_pod s2)
	crio_was_here; rm "$(run_dir "$q" state.json)"; sleep 2.5
	crio_start; [ "$(ctr_field "$c" state)" = CONTAINER_EXITED ]; [ "$(ctr_field "$c" exit_code)" = 17 ]
	log_has "Take down pod sandbox $q, which was being made"; [ "$(cri ListPodSandbox '{}' | jq '.items | length')" = 1 ]
	rm_pod "$p"; takes_cgroups; clean
}

@test "what we write is what CRI-O looks for: state, marks, records and annotations" {
	local p q c s
	p=$(run_pod s1); q=$(run_pod s2 "$share"); c=$(run_ctr "$p" s1 c1)
	# Without an infra container in the run directory, with one beside config.json; both have config.json in both places.
	[ -s "$(run_dir "$p" state.json)" ]; [ -s "$(kept "$q" state.json)" ]; [ ! -e "$(run_dir "$q" state.json)" ]
	for s in "$p" "$q" "$c"; do cmp "$(kept "$s" config.json)" "$(run_dir "$s" config.json)"; done
	jq -e '.annotations | .["spoofed.crio.io"] == "true" and .["io.kubernetes.cri-o.ContainerType"] == "sandbox" and
		(.["io.kubernetes.cri-o.CNIResult"] | fromjson | .ips | length == 2) and (.["io.kubernetes.cri-o.Created"] | test("Z$"))' "$(kept "$p" config.json)"
	jq -e --arg p "$p" '.annotations | .["io.kubernetes.cri-o.SandboxID"] == $p and .["io.kubernetes.cri-o.ContainerType"] == "container"' "$(kept "$c" config.json)"
	jq -e '.status == "running" and .initPid > 1 and (.initStartTime | test("^[0-9]+$")) and .containerMonitorProcess.pid > 1 and
		(.containerMonitorProcess.startTime | test("^[0-9]+$"))' "$(kept "$c" state.json)"
	jq -e --arg p "$p" '.[] | select(.id == $p) | .metadata | fromjson | .pod == true and .["pod-id"] == $p' "$NODE/root/overlay-containers/containers.json"
	stop_ctr "$c" 10; jq -e '.status == "stopped" and .exitCode == 3' "$(kept "$c" state.json)"
	cri StopPodSandbox "{\"pod_sandbox_id\":\"$p\"}"; [ -e "$(run_dir "$p" stopped)" ]; [ -e "$(run_dir "$p" network-stopped)" ]
	# A pod that CRI-O has stopped meanwhile, in its own way, is stopped for us.
	crio_kill; rm "$(kept "$p" stopped)" "$(kept "$p" network-stopped)"; crio_start; [ "$(pod_field "$p" state)" = SANDBOX_NOTREADY ]
	rm_pod "$p"; rm_pod "$q"; takes_cgroups; clean
}
