#!/usr/bin/env bats
# Network plugins, runtimes, monitors, disks, registries and clients that misbehave: the call fails in time and says why, nothing is
# left, and everything else goes on.
load lib/cri.bash

setup_file() {
	use_evil_cni
	mkdir -p "$NODE/ocibin"; cp "$FIXTURES/oci-evil.sh" "$NODE/ocibin/evil"; ln -s "$(command -v conmon)" "$NODE/ocibin/conmon"
	cat >>"$NODE/etc/crio.conf" <<-EOF
	[crio.runtime.runtimes.evil]
	runtime_path = "$NODE/ocibin/evil"
	runtime_root = "$NODE/run/evil"
	container_create_timeout = 30
	[crio.runtime.runtimes.nomon]
	runtime_path = "/usr/bin/crun"
	runtime_root = "$NODE/run/nomon"
	monitor_path = "$NODE/ocibin/conmon"
	EOF
	crio_start; pull >/dev/null; pull "$REGISTRY/pause:1" >/dev/null
	export PIDS; clean_base '^run/(evil|nomon)$'
}
teardown_file() { suite_end; }
teardown() { evil_cni ok; evil_oci ok; [ -f "$NODE/crio.pid" ] || crio_start; crio_pid; end_sleepers; remove_all_pods; }

evil_oci() { echo "$*" >"$NODE/ocibin/mode"; }
at_once() { local t0 t; t0=$(date +%s%N); "$@" >/dev/null || return 1; t=$((($(date +%s%N) - t0) / 1000000)); [ $t -lt 2000 ] || { echo "$*: $t ms" >&2; return 1; }; }
raw_file() { "$CRI_CLIENT" -s "$NODE/run/crio.sock" -t 30 -f "$2" "$1"; }
# raw METHOD STATUS TEXT <bytes
raw() { local out; cat >"$NODE/raw"; if out=$(raw_file "$1" "$NODE/raw" 2>&1); then echo "it succeeded: $out" >&2; return 1; fi; [[ $out == *"code = $2 "*"$3"* ]] || { echo "expected $2 '$3': ${out:0:500}" >&2; return 1; }; }

@test "a network plugin that crashes, fails, prints garbage, nothing or 1 GB: RunPodSandbox says so, nothing is left" {
	local before; before=$(rss_mb)
	for m in "crash:signal 11" "fail:evil says no; try again" "garbage:" "empty:" "huge:"; do
		evil_cni "${m%%:*}"; SECONDS=0
		for f in . '.linux.security_context.namespace_options.pid=0'; do
			if out=$(run_pod n1 "$f" 2>&1); then echo "${m%%:*}: it succeeded" >&2; return 1; fi
			[[ $out == *"create pod network sandbox"*"${m#*:}"* ]] || { echo "${m%%:*}: $out" >&2; return 1; }
		done
		[ $SECONDS -lt 15 ]; clean || { echo "after $m" >&2; return 1; }
	done
	[ "$(rss_mb)" -lt $((before + 60)) ]
	evil_cni ok; p=$(run_pod n1); [[ $(pod_field "$p" network.ip) == 10.85.* ]]
}

hangs() { [ -n "$(sleepers)" ]; }

@test "while a network plugin hangs others are served; the client's deadline holds; when it ends the name is free" {
	p=$(run_pod ok1); c=$(run_ctr "$p" ok1 c1)
	evil_cni hang
	( CRI_TIMEOUT=40 run_pod h1 >/dev/null 2>&1 || true ) &
	node_wait 20 hangs
	at_once cri ListPodSandbox '{}'; at_once cri ListContainers '{}'; at_once cri Status '{}'; at_once pod_field "$p" id; at_once ctr_field "$c" state
	[ "$(exec_ctr "$c" echo hi)" = hi ]
	# Another that hangs: its client hears at its deadline, and a retry how far it is.
	CRI_TIMEOUT=2; SECONDS=0; run run_pod h2; [ "$status" != 0 ]; [ $SECONDS -lt 6 ]; [[ $output == *DeadlineExceeded* ]]
	run run_pod h2; [ "$status" != 0 ]; [[ $output == *DeadlineExceeded* ]]
	CRI_TIMEOUT=60
	# Pods without that network, and the end of others, do not wait.
	q=$(run_pod host1 '.linux.security_context.namespace_options.network=2|.hostname=""')
	rm_pod "$q"; rm_pod "$p"
	evil_cni ok; end_sleepers; wait
	clean 10
	p=$(run_pod h2); rm_pod "$p"; clean
}

@test "a runtime that crashes, fails or prints garbage in create: CreateContainer says so, nothing is left" {
	p=$(run_pod o1 . evil); clean_state >"$NODE/now"
	for m in crash fail garbage; do
		evil_oci "create $m"; SECONDS=0
		if out=$(create_ctr "$p" o1 c1 2>&1); then echo "$m: it succeeded" >&2; return 1; fi
		[[ $out == *"code = "*"create"* ]] || { echo "$m: $out" >&2; return 1; }
		[ $SECONDS -lt 10 ] || { echo "$m: $SECONDS s" >&2; return 1; }
		clean 5 "$NODE/now" || { echo "after $m" >&2; return 1; }
	done
	evil_oci ok; c=$(run_ctr "$p" o1 c1); [ "$(exec_ctr "$c" hostname)" = o1 ]
}

@test "a runtime that says more in create than a pipe holds fails or succeeds for its own reason, at once" {
	p=$(run_pod o1 . evil); local f; clean_state >"$NODE/now"
	for f in . '.tty=true'; do
		evil_oci "create talk-fail"; SECONDS=0
		if out=$(create_ctr "$p" o1 c1 "$f" 2>&1); then echo "it succeeded" >&2; return 1; fi
		[[ $out == *"container create failed: first words "*" bytes left out) "*"150000 last words"* ]] || { echo "$out" >&2; return 1; }
		[ ${#out} -lt 4000 ]; [ $SECONDS -lt 10 ]
		clean 5 "$NODE/now"
		evil_oci "create talk-on"; SECONDS=0; c=$(run_ctr "$p" o1 c1 "$f"); [ $SECONDS -lt 10 ]
		# The pause: when the leader of a terminal's session ends, the kernel throws away what it has not handed on yet.
		out=$(exec_ctr "$c" sh -c 'hostname; sleep 0.5' | tr -d '\r'); [ "$out" = o1 ] || { echo "$f: hostname says '$out'" >&2; return 1; }
		log_has "its runtime wrote [0-9]* bytes of errors"; rm_ctr "$c"
		evil_oci "create talk-out"; c=$(run_ctr "$p" o1 c1 "$f"); rm_ctr "$c"
		clean 5 "$NODE/now"
	done
	# One that never stops ends at the time-out.
	evil_oci "create talk-ever"; SECONDS=0; run create_ctr "$p" o1 c1
	[ "$status" != 0 ]; [[ $output == *DeadlineExceeded* || $output == *"timed out"* ]]; [ $SECONDS -ge 25 ]; [ $SECONDS -lt 45 ]
	evil_oci ok; clean 5 "$NODE/now"
}

@test "a runtime that hangs in create: others go on, the create ends at its time-out" {
	p=$(run_pod o1 . evil); evil_oci "create hang"; clean_state >"$NODE/now"
	( create_ctr "$p" o1 c1 >"$NODE/hang.out" 2>&1 || true ) & bg=$!
	sleep 0.5; at_once cri ListContainers '{}'; evil_oci ok
	c2=$(run_ctr "$p" o1 c2); rm_ctr "$c2"
	SECONDS=0; wait $bg; [ $SECONDS -lt 45 ]
	grep -qE "DeadlineExceeded|time" "$NODE/hang.out"
	clean 5 "$NODE/now"
	c=$(run_ctr "$p" o1 c1); [ "$(exec_ctr "$c" hostname)" = o1 ]
}

@test "a runtime that crashes or hangs in start: the container does not run" {
	p=$(run_pod o1 . evil)
	for m in crash fail; do
		c=$(create_ctr "$p" o1 "c$m"); evil_oci "start $m"
		run start_ctr "$c"; [ "$status" != 0 ]; [[ $output == *start* ]]
		[ "$(ctr_field "$c" state)" = CONTAINER_EXITED ]; evil_oci ok; rm_ctr "$c"
	done
	c=$(create_ctr "$p" o1 ch); evil_oci "start hang"
	CRI_TIMEOUT=2 run start_ctr "$c"; [ "$status" != 0 ]; [[ $output == *DeadlineExceeded* ]]
	at_once ctr_field "$c" state
	evil_oci ok; end_sleepers
	rm_ctr "$c"; rm_pod "$p"; clean 10
}

@test "a runtime that fails, crashes or hangs in kill and delete: stop works, removal says why and works later" {
	p=$(run_pod o1 . evil); c=$(run_ctr "$p" o1 c1)
	for m in fail crash hang; do
		evil_oci "kill $m"; d=$(evil_oci ok; run_ctr "$p" o1 "d$m"); evil_oci "kill $m"
		SECONDS=0; stop_ctr "$d" 1; [ $SECONDS -lt 8 ]; [ "$(ctr_field "$d" state)" = CONTAINER_EXITED ]
	done
	stop_ctr "$c" 0
	evil_oci "delete fail"; run rm_ctr "$c"; [ "$status" != 0 ]; [[ $output == *"evil says no"* ]]
	[ "$(ctr_field "$c" id)" = "$c" ]
	evil_oci ok; rm_ctr "$c"; rm_pod "$p"; clean
}

@test "conmon that is missing or crashes" {
	p=$(run_pod m1 . nomon)
	rm "$NODE/ocibin/conmon"
	run create_ctr "$p" m1 c1; [ "$status" != 0 ]; [[ $output == *conmon* ]]
	printf '#!/bin/sh\necho "conmon is broken" >&2\nexit 1\n' >"$NODE/ocibin/conmon"; chmod +x "$NODE/ocibin/conmon"
	run create_ctr "$p" m1 c1; [ "$status" != 0 ]; [[ $output == *"conmon is broken"* ]]
	printf '#!/bin/sh\nkill -SEGV $$\n' >"$NODE/ocibin/conmon"
	run create_ctr "$p" m1 c1; [ "$status" != 0 ]; [[ $output == *conmon* ]]
	rm "$NODE/ocibin/conmon"; ln -s "$(command -v conmon)" "$NODE/ocibin/conmon"
	c=$(run_ctr "$p" m1 c1)
	# A monitor that dies takes its container with it: nobody would learn of its end.
	pkill -KILL -f "conmon.* -c $c " || true
	wait_exit "$c" 10; rm_pod "$p"; clean
}

@test "requests that make no sense: ids, states, handlers, names, labels, paths" {
	p=$(run_pod s1); c=$(create_ctr "$p" s1 c1)
	long=$(printf 'x%.0s' $(seq 5000))
	fails NotFound "no container with that id" ContainerStatus "{\"container_id\":\"$long\"}"
	fails NotFound "" RunPodSandbox "{\"config\":$(pod_json s2),\"runtime_handler\":\"../../bin/sh\"}"
	cri ExecSync "{\"container_id\":\"$c\",\"cmd\":[\"true\"]}" # upstream allows it before the start, too
	fails FailedPrecondition "" ReopenContainerLog "{\"container_id\":\"$c\"}"
	fails InvalidArgument "name" RunPodSandbox "{\"config\":$(pod_json s2 ".metadata.name=\"$long\"")}"
	fails InvalidArgument "" RunPodSandbox "{\"config\":$(pod_json s2 '.metadata.name="../x"')}"
	fails InvalidArgument "" RunPodSandbox "{\"config\":$(pod_json s2 ".labels={a:\"$long\"}")}"
	fails InvalidArgument "" RunPodSandbox "{\"config\":$(pod_json s2 '.hostname="a b/c"')}"
	fails InvalidArgument "" RunPodSandbox "{\"config\":$(pod_json s2 '.linux.cgroup_parent="/../../x"')}"
	fails InvalidArgument "" RunPodSandbox "{\"config\":$(pod_json s2 '.linux.sysctls={"kernel.panic":"1"}')}"
	fails InvalidArgument "'fast' is not a rate" RunPodSandbox "{\"config\":$(pod_json s2 '.annotations={"kubernetes.io/egress-bandwidth":"fast"}')}"
	q=$(run_pod s2 '.annotations={"kubernetes.io/ingress-bandwidth":"1.5M"}'); rm_pod "$q"
	bad() { fails InvalidArgument "$1" CreateContainer "{\"pod_sandbox_id\":\"$p\",\"config\":$(ctr_json bad "$2"),\"sandbox_config\":$(pod_json s1)}"; }
	bad "log path" '.log_path="../../../etc/x"'
	bad "" ".labels={a:\"$long\"}"
	bad "" ".metadata.name=\"$long\""
	bad "" '.mounts=[{container_path:"/x",host_path:""}]'
	bad "" '.linux.security_context.run_as_group={value:1}'
	rm_pod "$p"; clean
}

@test "a mount's path inside the container never leads out of its root" {
	p=$(run_pod s1); mkdir -p "$NODE/vol"; touch "$NODE/vol/mark"
	c=$(run_ctr "$p" s1 c1 ".mounts=[{container_path:\"/../../..$NODE/out\",host_path:\"$NODE/vol\"},{container_path:\"/a/../../../b\",host_path:\"$NODE/vol\"}]") || true
	[ ! -e "$NODE/out" ]; [ ! -e /b ]
	rm_pod "$p"; clean
}

@test "hostile messages: sizes, depth, NUL, UTF-8, truncation, amplification; memory stays bounded" {
	local before i; before=$(rss_mb)
	printf '\x0a\x03a\0b' | raw ContainerStatus InvalidArgument NUL
	printf '\x0a\x02\xff\xfe' | raw StopContainer InvalidArgument UTF-8
	printf '\x0a\x7fabc' | raw RemovePodSandbox InvalidArgument ""
	head -c 100000 /dev/urandom | raw RunPodSandbox InvalidArgument ""
	# 100 MB: more than a message may have.
	head -c 100000000 /dev/zero >"$NODE/big"; run raw_file ListContainers "$NODE/big"; [ "$status" != 0 ]; [[ $output == *ResourceExhausted* ]]
	# 12 MB of empty sub-messages: each two bytes would become a structure.
	python3 -c 'import sys; m=b"\x12\x00"*6000000
def field(n,b):
 l=len(b); v=b""
 while l>127: v+=bytes([l&127|128]); l>>=7
 return bytes([n<<3|2])+v+bytes([l])+b
sys.stdout.buffer.write(field(2,field(8,b"")*1 + b"".join([b"\x42\x00"]*5000000)))' >"$NODE/big"
	run raw_file CreateContainer "$NODE/big"; [ "$status" != 0 ]; [[ $output == *ResourceExhausted* || $output == *InvalidArgument* ]]
	# A million labels.
	python3 -c 'import sys; sys.stdout.buffer.write(b"".join(b"\x32\x0b\x0a\x06%06x\x12\x01v" % i for i in range(1000000)))' >"$NODE/map"
	python3 -c 'import sys; b=open(sys.argv[1],"rb").read(); l=len(b); v=b""
while l>127: v+=bytes([l&127|128]); l>>=7
sys.stdout.buffer.write(b"\x0a"+v+bytes([l])+b)' "$NODE/map" >"$NODE/big"
	run raw_file RunPodSandbox "$NODE/big"; [ "$status" != 0 ]; [[ $output == *ResourceExhausted* || $output == *InvalidArgument* ]]
	# Unknown groups, deep in each other.
	python3 -c 'import sys; sys.stdout.buffer.write(b"\x7b"*200000)' | raw ListImages InvalidArgument ""
	rm -f "$NODE/big" "$NODE/map"
	for i in 1 2 3; do run raw_file RunPodSandbox /dev/null; [ "$status" != 0 ]; done
	at_once cri Version '{}'; p=$(run_pod y1); rm_pod "$p"
	[ "$(rss_mb)" -lt $((before + 120)) ] || { echo "RSS $before to $(rss_mb) MB" >&2; return 1; }
}

@test "a registry that misbehaves: the pull says so, nothing is left" {
	[ -f "$FIXTURES/evil-registry.py" ] || skip "no evil-registry.py"
	mkfifo "$NODE/evil.in"; sleep 300 3>&- >"$NODE/evil.in" & local sl=$!
	python3 "$FIXTURES/evil-registry.py" <"$NODE/evil.in" >"$NODE/evil.out" 2>/dev/null 3>&- &
	node_wait 5 test -s "$NODE/evil.out"; read -r port other <"$NODE/evil.out"
	printf '[[registry]]\nlocation = "127.0.0.1:%s"\ninsecure = true\n' "$port" >>"$NODE/etc/registries.conf"
	crio_stop; crio_start
	clean_state >"$NODE/now"
	for case in wrong-digest: truncated: 401-loop: redirect-loop: huge-length:more.than huge:larger.than ambiguous:ambiguous type-clash:disagree \
		index-deep:indexes.within.indexes index-many:more.than; do
		SECONDS=0; run cri PullImage "{\"image\":{\"image\":\"127.0.0.1:$port/${case%:*}:1\"}}"
		[ "$status" != 0 ]; [ $SECONDS -lt 30 ]; [[ $output == *"code = "* && $output =~ ${case#*:} ]] || { echo "$case: $output" >&2; return 1; }
		clean 5 "$NODE/now" || { echo "after $case" >&2; return 1; }
	done
	at_once cri ListImages '{}'
	kill $sl; rm -f "$NODE/evil.in"
}

@test "a full disk: pull and create say so, nothing is left; with space again it works without a restart" {
	crio_stop
	truncate -s 64M "$NODE/disk.img"; mkfs.ext4 -q -F "$NODE/disk.img"; mkdir -p "$NODE/small"; mount -o loop "$NODE/disk.img" "$NODE/small"
	cp "$NODE/etc/crio.conf" "$NODE/crio.conf.kept"
	sed -i "s|^root = .*|root = \"$NODE/small/root\"|; s|^runroot = .*|runroot = \"$NODE/small/run\"|" "$NODE/etc/crio.conf"
	crio_start
	pull >/dev/null; p=$(run_pod f1); c=$(run_ctr "$p" f1 c1)
	head -c 100M /dev/zero >"$NODE/small/filler" 2>/dev/null || true
	not head -c 8192 /dev/zero >"$NODE/small/filler2" 2>/dev/null
	run pull "$REGISTRY/twolayer:1"; [ "$status" != 0 ]; [[ $output == *ResourceExhausted* || $output == *"No space left"* ]] || { echo "$output"; false; }
	run create_ctr "$p" f1 c2; [ "$status" != 0 ]; [[ $output == *ResourceExhausted* || $output == *"No space left"* ]] || { echo "$output"; false; }
	run run_pod f2; [ "$status" != 0 ]; [[ $output == *ResourceExhausted* || $output == *"No space left"* ]] || { echo "$output"; false; }
	[ "$(cri ListContainers '{}' | jq '.containers|length')" = 1 ]; [ "$(cri ListPodSandbox '{}' | jq '.items|length')" = 1 ]
	[ "$(exec_ctr "$c" echo still)" = still ]; stop_ctr "$c" 0; [ "$(ctr_field "$c" state)" = CONTAINER_EXITED ]
	rm -f "$NODE/small/filler" "$NODE/small/filler2"
	pull "$REGISTRY/twolayer:1" >/dev/null; d=$(run_ctr "$p" f1 c2); [ "$(exec_ctr "$d" hostname)" = f1 ]
	q=$(run_pod f2); rm_pod "$q"; rm_pod "$p"
	[ "$(jq length "$NODE"/small/root/overlay-containers/containers.json)" = 0 ]
	crio_stop; umount "$NODE/small"; rm -f "$NODE/disk.img"; mv "$NODE/crio.conf.kept" "$NODE/etc/crio.conf"; crio_start
}
