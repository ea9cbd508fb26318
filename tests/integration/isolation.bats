#!/usr/bin/env bats
# What hangs, hangs alone: a runtime, a registry. (A CNI program: network.bats; a hook: hooks.bats.) Lists and Status never wait.
load lib/cri.bash

setup_file() {
	# A runtime that sleeps in the command that $NODE/hang names, and is crun otherwise.
	cat >"$NODE/slowrun" <<-EOT
	#!/bin/bash
	for a in "\$@"; do
		while [ -e $NODE/hang ] && [ "\$a" = "\$(cat $NODE/hang)" ]; do sleep 0.1; done
	done
	exec /usr/bin/crun "\$@"
	EOT
	chmod +x "$NODE/slowrun"
	cat >"$NODE/etc/conf.d/10-slow.conf" <<-EOT
	[crio.runtime.runtimes.slow]
	runtime_plugin = "oci"
	runtime_path = "$NODE/slowrun"
	runtime_root = "$NODE/run/slow"
	EOT
	mkdir "$NODE/run/slow" # the runtime makes it and leaves it
	crio_start; pull >/dev/null
}
teardown_file() { suite_end; }
setup() { CRIO_PID=$(cat "$NODE/crio.pid"); }
teardown() { rm -f "$NODE/hang"; remove_all_pods; }

# others PID: while that one still hangs, everything of everybody else goes on.
others() {
	local i p c
	for i in 1 2 3 4 5; do
		cri ListPodSandbox '{}' >/dev/null; cri ListContainers '{}' >/dev/null; cri ListImages '{}' >/dev/null; cri Status '{"verbose":true}' >/dev/null
		for p in $(cri ListPodSandbox '{}' | jq -r '.items[]?.id'); do cri PodSandboxStatus "{\"pod_sandbox_id\":\"$p\",\"verbose\":true}" >/dev/null; done
		for c in $(cri ListContainers '{}' | jq -r '.containers[]?.id'); do cri ContainerStatus "{\"container_id\":\"$c\",\"verbose\":true}" >/dev/null; done
	done
	p=$(run_pod others); c=$(run_ctr "$p" others c); exec_ctr "$c" true; stop_ctr "$c"; rm_ctr "$c"; rm_pod "$p"
	kill -0 "$1" || { echo "it did not hang" >&2; return 1; }
}

@test "a runtime that hangs in create" {
	p=$(run_pod i1 . slow); a=$(run_ctr "$p" i1 a); echo create >"$NODE/hang"
	( CRI_TIMEOUT=60 create_ctr "$p" i1 b >"$NODE/hung.out" 2>&1 ) & w=$!
	sleep 0.5; others $w
	# Its pod is there, too: what runs in it is seen, used and ended.
	exec_ctr "$a" true; stop_ctr "$a"; [ "$(ctr_field "$a" state)" = CONTAINER_EXITED ]; kill -0 $w
	rm "$NODE/hang"; wait $w; [ "$(ctr_field "$(cat "$NODE/hung.out")" state)" = CONTAINER_CREATED ]
}

@test "a runtime that hangs in start, exec and delete" {
	p=$(run_pod i2 . slow); a=$(run_ctr "$p" i2 a); b=$(create_ctr "$p" i2 b)
	echo start >"$NODE/hang"; ( CRI_TIMEOUT=60 start_ctr "$b" ) & w=$!; sleep 0.5; others $w; rm "$NODE/hang"; wait $w
	echo exec >"$NODE/hang"; ( CRI_TIMEOUT=60 exec_ctr "$a" true ) & w=$!; sleep 0.5; others $w; rm "$NODE/hang"; wait $w
	stop_ctr "$a"; echo delete >"$NODE/hang"; ( CRI_TIMEOUT=60 rm_ctr "$a" ) & w=$!; sleep 0.5; others $w; rm "$NODE/hang"; wait $w
	[ "$(cri ListContainers '{}' | jq '[.containers[]?]|length')" = 1 ]
}

@test "a registry that answers nothing: other pulls go on" {
	port=$(node_free_port); python3 -c "
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', $port)); s.listen(64)
k = []
while True: k.append(s.accept())" 3>&- & r=$!
	node_wait 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
	printf '[[registry]]\nlocation = "127.0.0.1:%s"\ninsecure = true\n' "$port" >>"$NODE/etc/registries.conf"; kill -HUP "$CRIO_PID"; log_has 'Configuration reload completed'
	for i in 1 2 3 4; do ( CRI_TIMEOUT=60 pull "127.0.0.1:$port/none$i:1" >/dev/null 2>&1 ) & w=$!; done
	sleep 0.5; others $w; pull "$REGISTRY/twolayer:1" >/dev/null; kill -0 $w
	kill $r; wait || true
}

@test "a hung file system below a volume" {
	d=$NODE/hung; mkdir -p "$d"
	python3 "$FIXTURES/hung-fuse.py" "$d" >"$NODE/hung.said" 3>&- & f=$!
	node_wait 5 grep -q ready "$NODE/hung.said"
	p=$(run_pod i4); a=$(run_ctr "$p" i4 a)
	( CRI_TIMEOUT=60 create_ctr "$p" i4 b '.mounts=[{container_path:"/v",host_path:"'"$d"'/x"}]' >"$NODE/hung.out" 2>&1 ) & w=$!
	sleep 0.5; others $w
	# Its pod goes on, too.
	exec_ctr "$a" true; stop_ctr "$a"; [ "$(ctr_field "$a" state)" = CONTAINER_EXITED ]; kill -0 $w
	# The file system's end is the request's: an error that names the volume.
	kill $f; wait $f || true; if wait $w; then false; fi
	cat "$NODE/hung.out"; grep -q "$d/x" "$NODE/hung.out"
	umount -l "$d"; rmdir "$d"
}

@test "a container in an uninterruptible wait: its stop tells which process, and ends when it can" {
	truncate -s 64M "$NODE/frozen.img"; mkfs.ext4 -q -F "$NODE/frozen.img"; mkdir -p "$NODE/frozen"; mount -o loop "$NODE/frozen.img" "$NODE/frozen"
	p=$(run_pod i5); a=$(run_ctr "$p" i5 a '.mounts=[{container_path:"/v",host_path:"'"$NODE/frozen"'"}] | .command=["sh","-c","while [ ! -e /go ]; do sleep 0.05; done; echo x >/v/file; exit 7"]')
	fsfreeze -f "$NODE/frozen"; exec_ctr "$a" touch /go
	blocked() { grep -q "^State:.D" "/proc/$(cri ContainerStatus "{\"container_id\":\"$a\",\"verbose\":true}" | jq -r '.info.info|fromjson|.pid')/status"; }
	node_wait 10 blocked
	( CRI_TIMEOUT=60 stop_ctr "$a" >"$NODE/hung.out" 2>&1 ) & w=$!
	sleep 0.5; others $w
	# One whose client has no time gets told why, and takes nothing from the other.
	if out=$(CRI_TIMEOUT=3 stop_ctr "$a" 2>&1); then false; fi
	echo "$out"; kill -0 $w
	log_has "blocked in uninterruptible sleep for more than .* container $a"
	fsfreeze -u "$NODE/frozen"; wait $w
	[ "$(ctr_field "$a" state)" = CONTAINER_EXITED ]
	remove_all_pods; umount "$NODE/frozen"; rm -r "$NODE/frozen" "$NODE/frozen.img"
}
