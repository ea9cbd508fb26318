#!/usr/bin/env bats
# The CRI's surface itself: what the daemon says of itself, statuses, malformed requests, filters, lists, the socket.
load lib/cri.bash

setup_file() { crio_start; export CRIO_PID; pull >/dev/null; }
teardown_file() { suite_end; }
teardown() { remove_all_pods; }

@test "Version, RuntimeConfig, UpdateRuntimeConfig" {
	v=$(cri Version '{"version":"0.1.0"}')
	[ "$(jq -r .version <<<"$v")" = 0.1.0 ]
	[ "$(jq -r .runtime_name <<<"$v")" = cri-o ]
	[ "$(jq -r .runtime_version <<<"$v")" = "$(crio_cmd version | awk '/^Version:/{print $2}')" ]
	[ "$(jq -r .runtime_api_version <<<"$v")" = v1 ]
	[ "$(cri -r linux.cgroup_driver RuntimeConfig)" = CGROUPFS ]
	cri UpdateRuntimeConfig '{"runtime_config":{"network_config":{"pod_cidr":"10.1.0.0/16"}}}'
}

@test "Status: conditions, handlers and their features, verbose configuration" {
	s=$(cri Status '{"verbose":true}')
	[ "$(jq -r '.status.conditions[] | select(.type=="RuntimeReady").status' <<<"$s")" = true ]
	[ "$(jq -r '.status.conditions[] | select(.type=="NetworkReady").status' <<<"$s")" = true ]
	[ "$(jq -r '[.runtime_handlers[].name] | sort | join(",")' <<<"$s")" = ",crun,runc" ]
	[ "$(jq -r '.runtime_handlers[] | select(.name=="runc").features.recursive_read_only_mounts' <<<"$s")" = true ]
	[ "$(jq -r .features.supplemental_groups_policy <<<"$s")" = true ]
	[ "$(jq -r '.info.config | fromjson | .crio.DefaultRuntime' <<<"$s")" = crun ]
	[ "$(jq -r '.info.config | fromjson | .sandboxImage' <<<"$s")" = "$REGISTRY/pause:1" ]
	[ "$(cri Status | jq '.info | length')" = 0 ]
}

@test "what is absent: NotFound, success or an empty answer, each where kubelet expects it" {
	fails NotFound "" PodSandboxStatus '{"pod_sandbox_id":"nonesuch"}'
	fails NotFound "" ContainerStatus '{"container_id":"nonesuch"}'
	fails NotFound "" StartContainer '{"container_id":"nonesuch"}'
	fails NotFound "" ExecSync '{"container_id":"nonesuch","cmd":["true"]}'
	fails NotFound "" UpdateContainerResources '{"container_id":"nonesuch"}'
	fails NotFound "" ReopenContainerLog '{"container_id":"nonesuch"}'
	cri StopPodSandbox '{"pod_sandbox_id":"nonesuch"}'
	cri RemovePodSandbox '{"pod_sandbox_id":"nonesuch"}'
	cri StopContainer '{"container_id":"nonesuch"}'
	cri RemoveContainer '{"container_id":"nonesuch"}'
	cri RemoveImage "{\"image\":{\"image\":\"$REGISTRY/nonesuch:1\"}}"
	[ "$(cri ImageStatus "{\"image\":{\"image\":\"$REGISTRY/nonesuch:1\"}}" | jq .image)" = null ]
	[ "$(cri ListPodSandbox '{"filter":{"id":"nonesuch"}}' | jq '.items | length')" = 0 ]
	[ "$(cri ListContainers '{"filter":{"id":"nonesuch"}}' | jq '.containers | length')" = 0 ]
	[ "$(cri ListContainers '{"filter":{"pod_sandbox_id":"nonesuch"}}' | jq '.containers | length')" = 0 ]
	[ "$(cri ListImages "{\"filter\":{\"image\":{\"image\":\"$REGISTRY/nonesuch:1\"}}}" | jq '.images | length')" = 0 ]
}

@test "incomplete requests are InvalidArgument and say what is missing" {
	fails InvalidArgument "config is nil" RunPodSandbox '{}'
	fails InvalidArgument "metadata is nil" RunPodSandbox '{"config":{}}'
	fails InvalidArgument "Name should not be empty" RunPodSandbox '{"config":{"metadata":{}}}'
	fails InvalidArgument "config is nil" CreateContainer '{"pod_sandbox_id":"x"}'
	fails InvalidArgument "Image is nil" CreateContainer '{"config":{"metadata":{"name":"c"}}}'
	fails InvalidArgument "sandbox config is nil" CreateContainer '{"config":{"metadata":{"name":"c"},"image":{"image":"i"}}}'
	fails InvalidArgument "cannot be empty" ExecSync '{"container_id":"x"}'
	fails InvalidArgument "no image specified" PullImage '{}'
	fails InvalidArgument "no image specified" ImageStatus '{"image":{}}'
	fails InvalidArgument "should not be empty" ContainerStatus '{}'
	fails InvalidArgument "should not be empty" PodSandboxStatus '{}'
	fails InvalidArgument "should not be empty" StopPodSandbox '{}'
	fails InvalidArgument "should not be empty" RemoveContainer '{}'
}

# raw METHOD CODE TEXT: the bytes of standard input as the message.
raw() {
	cat >"$BATS_TEST_TMPDIR/raw"
	run cri -f "$BATS_TEST_TMPDIR/raw" "$1"
	[[ $output == *"code = $2 "*"$3"* ]]
}

@test "malformed bytes are InvalidArgument and name the field" {
	printf '\x0a\x03a\0b' | raw ContainerStatus InvalidArgument "container_id' contains a NUL"
	printf '\x0a\x02\xff\xfe' | raw StopContainer InvalidArgument "container_id' is not valid UTF-8"
	printf '\x0a\x7fabc' | raw RemovePodSandbox InvalidArgument "cut off"
	printf '\x12\x00\x12\x00' | raw CreateContainer InvalidArgument "config' is given more than once"
	printf '\x0a\x05\x0a\x03\x0a\x01\xc3' | raw RunPodSandbox InvalidArgument "config.metadata.name' is not valid UTF-8"
	cri Version '{}'
}

@test "methods that come later are Unimplemented with their name" {
	for m in CheckpointPod RestorePod; do
		fails Unimplemented "$m" $m '{}'
	done
	run cri -f /dev/null /runtime.v1.RuntimeService/Nonesuch
	[ "$status" = 12 ]
}

@test "a pod's resources may be told of" {
	p=$(run_pod p1); c=$(run_ctr "$p" p1 c1)
	cri UpdatePodSandboxResources "{\"pod_sandbox_id\":\"$p\",\"resources\":{\"cpu_shares\":512},\"overhead\":{}}"
	fails NotFound ffff UpdatePodSandboxResources '{"pod_sandbox_id":"ffffffff"}'; fails InvalidArgument "should not be empty" UpdatePodSandboxResources '{}'
}

@test "the status's verbose part has the runtime table under upstream's names" {
	cri Status '{"verbose":true}' | jq -e '.info.config | fromjson | .sandboxImage != "" and (.crio | .DefaultRuntime == "crun" and .Runtimes.crun.RuntimePath != "" and
		.Runtimes.crun.RuntimeType == "oci" and .CgroupManagerName == "cgroupfs" and (.SELinux | type) == "boolean" and has("CDISpecDirs") and has("InfraCtrCPUSet") and
		(.PidsLimit | type) == "number" and (.DefaultCapabilities | type) == "array" and has("HostNetworkDisableSELinux") and .LogLevel == "debug")'
}

@test "lists: filters by id, prefix, state, labels, pod; entries follow the objects" {
	a=$(run_pod p1 '.labels={"app":"a","x":"1"}'); b=$(run_pod p2 '.labels={"app":"b","x":"1"}')
	ids() { cri "$1" "$2" | jq -r '(.items // .containers)[].id' | sort | tr '\n' ' '; }
	both=$(printf '%s\n' "$a" "$b" | sort | tr '\n' ' ')
	[ "$(ids ListPodSandbox '{}')" = "$both" ]
	[ "$(ids ListPodSandbox "{\"filter\":{\"id\":\"${a:0:12}\"}}")" = "$a " ]
	[ "$(ids ListPodSandbox '{"filter":{"label_selector":{"app":"b"}}}')" = "$b " ]
	[ "$(ids ListPodSandbox '{"filter":{"label_selector":{"x":"1"}}}')" = "$both" ]
	[ "$(ids ListPodSandbox '{"filter":{"label_selector":{"app":"a","x":"2"}}}')" = "" ]
	c=$(create_ctr "$a" p1 c1)
	state() { cri ListContainers "{\"filter\":{\"id\":\"$c\"}}" | jq -r '.containers[0].state'; }
	[ "$(state)" = CONTAINER_CREATED ]
	start_ctr "$c"
	[ "$(state)" = CONTAINER_RUNNING ]
	[ "$(ids ListContainers "{\"filter\":{\"pod_sandbox_id\":\"$a\"}}")" = "$c " ]
	[ "$(ids ListContainers "{\"filter\":{\"pod_sandbox_id\":\"$b\"}}")" = "" ]
	[ "$(ids ListContainers '{"filter":{"state":{"state":"CONTAINER_EXITED"}}}')" = "" ]
	stop_ctr "$c" 0
	[ "$(state)" = CONTAINER_EXITED ]
	[ "$(ids ListContainers '{"filter":{"state":{"state":"CONTAINER_EXITED"}}}')" = "$c " ]
	cri StopPodSandbox "{\"pod_sandbox_id\":\"$b\"}"
	[ "$(ids ListPodSandbox '{"filter":{"state":{"state":"SANDBOX_NOTREADY"}}}')" = "$b " ]
	[ "$(ids ListPodSandbox '{"filter":{"state":{"state":"SANDBOX_READY"}}}')" = "$a " ]
}

@test "streamed lists hold what the lists hold, with the same filters; nothing is no message" {
	local p c f
	p=$(run_pod p1 '.labels={"app":"a"}'); run_pod p2 >/dev/null; c=$(create_ctr "$p" p1 c1 '.labels={"tier":"x"}'); create_ctr "$p" p1 c2 >/dev/null
	same() { [ "$(cri "$1" "${5:-{\}}" | jq ".$2 // []")" = "$(cri "$3" "${5:-{\}}" | jq "[.$4[]]")" ]; } # LIST FIELD STREAM FIELD [REQUEST]
	same ListPodSandbox items StreamPodSandboxes pod_sandboxes; same ListContainers containers StreamContainers containers; same ListImages images StreamImages images
	[ "$(cri StreamPodSandboxes '{}' | jq -s length)" = 1 ]; [ "$(cri StreamPodSandboxes '{}' | jq '.pod_sandboxes|length')" = 2 ]
	for f in '{"filter":{"label_selector":{"app":"a"}}}' "{\"filter\":{\"id\":\"${p:0:10}\"}}"; do
		same ListPodSandbox items StreamPodSandboxes pod_sandboxes "$f"; [ "$(cri StreamPodSandboxes "$f" | jq -r '.pod_sandboxes[].id')" = "$p" ]; done
	[ "$(cri StreamContainers '{"filter":{"label_selector":{"tier":"x"}}}' | jq -r '.containers[].id')" = "$c" ]
	[ "$(cri StreamImages "{\"filter\":{\"image\":{\"image\":\"$REGISTRY/busybox:1\"}}}" | jq -r '.images[].repo_tags[0]')" = "$REGISTRY/busybox:1" ]
	[ -z "$(cri StreamContainers '{"filter":{"id":"ffffffff"}}')" ]; [ -z "$(cri StreamImages '{"filter":{"image":{"image":"none.example/x:1"}}}')" ]
}

@test "the log has requests and responses under their names, with an id, and no secrets" {
	run cri PullImage '{"image":{"image":"127.0.0.1:1/none:1"},"auth":{"username":"u","password":"hunter2"}}'
	[ "$status" != 0 ]
	grep -q 'level=debug msg="Request: \*v1.PullImageRequest: image:{image:.*" .*id="[0-9a-f-]*" name="/runtime.v1.ImageService/PullImage"' "$NODE/crio.log"
	grep -q 'Response: \*v1.VersionResponse: ' "$NODE/crio.log"
	! grep -q hunter2 "$NODE/crio.log"
}

@test "the exec of a client that gives up is ended" {
	pod=$(run_pod p1); ctr=$(run_ctr "$pod" p1 c1)
	run cri -t 0.5 ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"sleep\",\"777\"]}"
	[ "$status" = 4 ]
	gone() { [ "$(cri -r exit_code ExecSync "{\"container_id\":\"$ctr\",\"cmd\":[\"sh\",\"-c\",\"! ps | grep -q '[s]leep 777'\"]}")" = 0 ]; }
	node_wait 10 gone
}

@test "200 calls at once on 50 connections, large messages, and the memory comes back" {
	s=$(cri -n 4000 -j 50 -c Status)
	[ "$(jq .errors <<<"$s")" = 0 ]
	rss() { awk '/VmRSS/{print $2}' "/proc/$CRIO_PID/status"; }
	before=$(rss)
	{ printf '\x0a\x80\x8e\xce\x1c'; head -c 60000000 /dev/zero | tr '\0' a; } >"$BATS_TEST_TMPDIR/big"
	cri -f "$BATS_TEST_TMPDIR/big" Version >/dev/null
	{ printf '\x0a\x80\xfa\xd9\x2a'; head -c 89521408 /dev/zero | tr '\0' a; } >"$BATS_TEST_TMPDIR/big"
	run cri -f "$BATS_TEST_TMPDIR/big" Version
	[ "$status" = 8 ]
	rm "$BATS_TEST_TMPDIR/big"
	grep -qE '__(asan|tsan)_init' "$CRIO" && return # it keeps freed memory
	back() { [ "$(rss)" -lt $((before + 20000)) ]; }
	node_wait 10 back
}

@test "HTTP/1 on the same socket" {
	[ "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$NODE/run/crio.sock" http://localhost/nonesuch)" = 404 ]
	[ "$(stat -c %a "$NODE/run/crio.sock")" = 660 ]
}

@test "a second daemon does not take the socket of a live one" {
	run timeout 20 bash -c '. "'"$BATS_TEST_DIRNAME"'/lib/node.sh"; crio_cmd'
	[ "$status" != 0 ]
	cri Version '{}'
}

# Each thread and how often it went to sleep by itself.
switches() { for t in /proc/"$CRIO_PID"/task/*; do echo "${t##*/} $(awk '/^voluntary/{print $2}' "$t/status" 2>/dev/null)"; done; }

@test "without clients no thread of the daemon wakes, with a pod and a container, too" {
	! ldd "$CRIO" | grep -q libtsan || skip "ThreadSanitizer has a thread that wakes; other builds count"
	p=$(run_pod idle1); run_ctr "$p" idle1 c1 >/dev/null
	sleep 12 # gRPC is taken down 10 s after its last connection
	before=$(switches); sleep 8; after=$(switches)
	# A worker that ends after a minute without work is gone from the second list.
	while read -r tid n; do
		now=$(awk -v t="$tid" '$1==t{print $2}' <<<"$after")
		[ -z "$now" ] || [ "$now" = "$n" ] || { cat "/proc/$CRIO_PID/task/$tid/comm"; echo "woke $((now - n)) times"; return 1; }
	done <<<"$before"
	[ "$(wc -l <<<"$after")" -le "$(wc -l <<<"$before")" ]
	[ "$(pod_field "$p" state)" = SANDBOX_READY ]
}
