#!/usr/bin/env bats
# Checkpoints: what is refused, what a failure leaves, and what an archive may say. That criu's work comes to something is tests/vm's to
# show: criu here is a program that fails as criu does, since the real one depends on the kernel.
load lib/cri.bash

setup_file() {
	mkdir -p "$NODE/bin" "$NODE/nocriu" "$NODE/out"
	# It finds its log's place as its caller was told it: `runc checkpoint --work-path DIR`.
	printf '#!/bin/bash\nmapfile -d "" a </proc/$PPID/cmdline\nfor i in "${!a[@]}"; do [ "${a[i]}" != --work-path ] || w=${a[i+1]}; done\n[ -z "$w" ] || for f in dump restore; do echo "(00.1) Error (criu/fake.c:1): told so" >"$w/$f.log"; done\n[ ! -e "%s/hang" ] || { touch "%s/hangs"; sleep 1000; }\nexit 1\n' "$NODE" "$NODE" >"$NODE/bin/criu"
	chmod 755 "$NODE/bin/criu"
	cp -s /usr/sbin/* /usr/bin/* "$NODE/nocriu/" 2>/dev/null || true; rm -f "$NODE/nocriu/criu"
	level checkpoint_restore; with_criu crio_start; export CRIO_PID
	pull >/dev/null
}
teardown_file() { suite_end; rm -f "$NODE/etc/conf.d/50-checkpoint.conf"; }
teardown() { remove_all_pods; }
with_criu() { PATH=$NODE/bin:$PATH "$@"; }
level() {
	printf '[crio.checkpoint_restore]\ncontainer_level_enabled = "%s"\n[crio.runtime.runtimes.runc]\nruntime_path = "/usr/sbin/runc"\nruntime_root = "%s"\nmonitor_env = ["PATH=%s"]\n' \
		"$1" "$NODE/run/runc" "$NODE/bin:$PATH" >"$NODE/etc/conf.d/50-checkpoint.conf"
}
again() { crio_stop; level "$1"; shift; "$@" crio_start; }
checkpoint() { cri CheckpointContainer "{\"container_id\":\"$1\",\"location\":\"$2\"}"; }
refused() { fails "$1" "$2" CheckpointContainer "{\"container_id\":\"$3\",\"location\":\"$4\"}"; }
lines() { wc -l <"$NODE/log/p1/$1.log"; }
more_lines() { [ "$(lines "$1")" -gt "$2" ]; }
left() { find "$NODE/root" "$NODE/run/storage" "$NODE/out" -name '*checkpoint*' -o -name 'dump.log' -o -name '*.tmp'; }
talks='.command=["sh","-c","while :; do echo x; sleep 0.1; done"]'

# An archive with what CreateContainer looks at: archive NAME [JQ FILTER OF spec.dump] [FILTER OF config.dump]
archive() {
	local d=$NODE/made; rm -rf "$d"; mkdir -p "$d/checkpoint"; echo criu >"$d/checkpoint/inventory.img"; echo '["/dev/null","pipe:[1]","pipe:[2]"]' >"$d/checkpoint/descriptors.json"
	jq -nc '{process:{args:["sh"]},mounts:[{destination:"/proc"},{destination:"/etc/hostname"}],linux:{maskedPaths:["/proc/kcore","/proc/of-archive"]},annotations:{"io.kubernetes.cri-o.Annotations":"{\"a\":\"of archive\",\"devices.crio.io\":\"/dev/null:/dev/mine\",\"io.kubernetes.pod.uid\":\"old\",\"org.criu.config\":\"/x\"}"}}'" | (${2:-.})" >"$d/spec.dump"
	jq -nc --arg i "$(cri -r image.id ImageStatus "{\"image\":{\"image\":\"$REGISTRY/busybox:1\"}}")" '{id:"x",rootfsImageRef:$i,rootfsImageName:"no.such/name:1",checkpointedTime:"2001-02-03T04:05:06Z"}'" | (${3:-.})" >"$d/config.dump"
	pack "$1"
}
pack() { tar -C "$NODE/made" -cf "$NODE/out/$1" .; echo "$NODE/out/$1"; }
from() { echo "{\"pod_sandbox_id\":\"$1\",\"config\":$(ctr_json "$2" "del(.command)|.image.image=\"$3\"|${4:-.}"),\"sandbox_config\":$(pod_json p1)}"; }
create_from() { cri -r container_id CreateContainer "$(from "$@")"; }

@test "where it is off, or criu is not there, it is refused in upstream's words" {
	for how in "none with_criu" "checkpoint_restore env PATH=$NODE/nocriu"; do
		# shellcheck disable=SC2086
		set -- $how; crio_stop; level "$1"; shift
		if [ "$1" = env ]; then PATH=$NODE/nocriu crio_start; else with_criu crio_start; fi
		p=$(run_pod p1 . runc); c=$(run_ctr "$p" p1 c1)
		refused Unimplemented "checkpoint/restore support not available" "$c" "$NODE/out/c.tar"
		[ ! -e "$NODE/out/c.tar" ]; [ "$(ctr_field "$c" state)" = CONTAINER_RUNNING ]
		cri ContainerStatus "{\"container_id\":\"$c\",\"verbose\":true}" | jq -e '.info.info|fromjson|has("restored")|not'
		if create_from "$p" c2 "$(archive off.tar)"; then false; fi
		remove_all_pods
	done
	grep -q "There is no criu in PATH" "$NODE/crio.log"
	again checkpoint_only with_criu
	p=$(run_pod p1 . runc)
	# An archive is an image like others then, which is not there.
	if create_from "$p" c2 "$(archive off.tar)"; then false; fi
	[ "$(cri ListContainers '{}' | jq '.containers|length')" = 0 ]
	again checkpoint_restore with_criu
}

@test "criu fails: the error says why, the container goes on, nothing is left" {
	p=$(run_pod p1 . runc); c=$(run_ctr "$p" p1 c1 "$talks")
	refused Internal "checkpoint container $c" "$c" "$NODE/out/c.tar"
	run checkpoint "$c" "$NODE/out/c.tar"; [[ $output == *"criu: Error (criu/fake.c:1): told so"* ]]
	[ "$(ctr_field "$c" state)" = CONTAINER_RUNNING ]; n=$(lines c1); node_wait 5 more_lines c1 "$n"
	[ "$(jq -r .status "$NODE"/root/overlay-containers/"$c"/userdata/state.json)" = running ]
	[ -z "$(left)" ]; [ ! -e "$NODE/out/c.tar" ]
	stop_ctr "$c"
}

@test "a runtime without the command says so" {
	if /usr/bin/crun checkpoint --help >/dev/null 2>&1; then skip "this crun has it"; fi
	p=$(run_pod p1 . crun); c=$(run_ctr "$p" p1 c1 "$talks")
	refused Unimplemented "configured runtime does not support checkpoint/restore" "$c" "$NODE/out/c.tar"
	n=$(lines c1); node_wait 5 more_lines c1 "$n"; [ -z "$(left)" ]
	d=$(create_from "$p" c2 "$(archive ok.tar)")
	fails Unimplemented "configured runtime does not support checkpoint/restore" StartContainer "{\"container_id\":\"$d\"}"
	stop_ctr "$c"
}

@test "what cannot be: a container that does not run, places that are no file's" {
	p=$(run_pod p1 . runc); c=$(create_ctr "$p" p1 c1)
	refused FailedPrecondition "container $c is not running" "$c" "$NODE/out/c.tar"
	refused NotFound "could not find container" ffffff "$NODE/out/c.tar"
	for l in "" c.tar "$NODE/out/../c.tar" "$NODE/out/"; do refused InvalidArgument "is not an absolute path of a file" "$c" "$l"; done
	mkfifo "$NODE/out/fifo"; for l in "$NODE/out/fifo" "$NODE/out"; do refused InvalidArgument "not a regular file" "$c" "$l"; done; rm "$NODE/out/fifo"
	start_ctr "$c"; refused Internal "" "$c" "$NODE/no/such/dir/c.tar"
	[ "$(ctr_field "$c" state)" = CONTAINER_RUNNING ]; [ -z "$(left)" ]
}

@test "a container made from an archive is what the request says, not the archive" {
	p=$(run_pod p1 . runc)
	c=$(create_from "$p" c1 "$(archive ok.tar)" '.annotations={mine:"1"}|.labels={l:"2"}|.linux.security_context.masked_paths=["/proc/of-request"]|.linux.security_context.capabilities={drop_capabilities:["ALL"]}')
	[ "$(ctr_field "$c" state)" = CONTAINER_CREATED ]
	# What archives say of an image counts by id alone.
	[ "$(ctr_field "$c" image.image)" = "$REGISTRY/busybox:1" ]
	[ "$(ctr_field "$c" annotations | jq -c .)" = '{"a":"of archive","io.kubernetes.pod.uid":"uid-p1","mine":"1"}' ]; [ "$(ctr_field "$c" labels | jq -c .)" = '{"l":"2"}' ]
	cri ContainerStatus "{\"container_id\":\"$c\",\"verbose\":true}" | jq -e '.info.info|fromjson|.checkpointedAt == "2001-02-03T04:05:06.000000000Z" and .restored == false and .pid == 0 and
		(.runtimeSpec | (.linux.maskedPaths | contains(["/proc/of-request", "/proc/of-archive", "/proc/kcore"])) and ([.linux.devices[]?.path] | index("/dev/mine") | not) and
		(.process.capabilities.bounding | length) == 0 and (.annotations["org.criu.config"] | endswith("/userdata/criu.conf")))'
	[ -s "$NODE/root/overlay-containers/$c/userdata/checkpoint/inventory.img" ]
	# It is known after a restart, and criu's failure takes it away, as in CRI-O; its name is free again.
	crio_kill; with_criu crio_start; [ "$(ctr_field "$c" state)" = CONTAINER_CREATED ]
	fails Internal "criu: Error (criu/fake.c:1): told so" StartContainer "{\"container_id\":\"$c\"}"
	fails NotFound "$c" ContainerStatus "{\"container_id\":\"$c\"}"; [ -z "$(pgrep -f "conmon.*$c")" ]
	c=$(create_from "$p" c1 "$NODE/out/ok.tar"); rm_ctr "$c"
	# A mount of the processes has to be one of the request's; where it was a file, a missing source becomes one.
	a=$(archive mounts.tar '.mounts+=[{destination:"/data",type:"bind",source:"/etc"},{destination:"/data2",type:"bind",source:"/root"}]')
	fails InvalidArgument "restoring \"$a\" expects following bind mounts defined (/data,/data2)" CreateContainer "$(from "$p" c1 "$a")"
	echo '[{"source":"/etc/evil","destination":"/data","file_type":"file","permissions":416},{"source":"/etc/evil2","destination":"/other","file_type":"file","permissions":438}]' >"$NODE/made/bind.mounts"
	c=$(create_from "$p" c1 "$(pack mounts.tar)" ".mounts=[{host_path:\"$NODE/out/new/file\",container_path:\"/data\"},{host_path:\"$NODE/out/new/dir\",container_path:\"/data2\"}]")
	[ -f "$NODE/out/new/file" ]; [ "$(stat -c %a "$NODE/out/new/file")" = 640 ]; [ -d "$NODE/out/new/dir" ]; [ ! -e /etc/evil ]; [ ! -e /etc/evil2 ]
	rm -rf "$NODE/out/new"
	# It can be stopped before it was restored, and is never restored then.
	stop_ctr "$c"; [ "$(ctr_field "$c" state)" = CONTAINER_EXITED ]; [ "$(ctr_field "$c" exit_code)" = 137 ]
	fails FailedPrecondition "not in created state: stopped" StartContainer "{\"container_id\":\"$c\"}"
}

@test "the daemon is killed while criu works: the container goes on, one that was to be restored still is" {
	p=$(run_pod p1 . runc); c=$(run_ctr "$p" p1 c1 "$talks"); d=$(create_from "$p" c2 "$(archive ok.tar)")
	touch "$NODE/hang"; rm -f "$NODE/hangs"; checkpoint "$c" "$NODE/out/c.tar" >/dev/null 2>&1 & q=$!
	node_wait 10 test -e "$NODE/hangs"; crio_kill; wait "$q" 2>/dev/null || true; end_sleepers
	n=$(lines c1); sleep 0.3; [ "$(lines c1)" = "$n" ] # frozen: nobody is there to thaw it
	with_criu crio_start; [ "$(ctr_field "$c" state)" = CONTAINER_RUNNING ]; node_wait 5 more_lines c1 "$n"; [ ! -e "$NODE/out/c.tar" ]
	[ -z "$(find "$NODE/root" -name 'checkpoint.work')" ]
	rm -f "$NODE/hangs"; cri StartContainer "{\"container_id\":\"$d\"}" >/dev/null 2>&1 & q=$!
	node_wait 10 test -e "$NODE/hangs"; [ -n "$(pgrep -f "conmon.*$d")" ]; crio_kill; wait "$q" 2>/dev/null || true
	with_criu crio_start; [ "$(ctr_field "$d" state)" = CONTAINER_CREATED ]; [ -z "$(pgrep -f "conmon.*$d")" ]
	end_sleepers; rm -f "$NODE/hang"
	fails Internal "told so" StartContainer "{\"container_id\":\"$d\"}"; stop_ctr "$c"
}

@test "killed or failing at each point on the way that does not need criu's success, nothing is left and all goes on" {
	[ -x "$BUILD/tests/crash/crio-failpoints" ] || skip "make crash-programs"
	local c d how n p plain=$CRIO
	arm() { echo "$1" >"$NODE/failpoint.new"; mv "$NODE/failpoint.new" "$NODE/failpoint"; }
	# The client hears of the end before all of the daemon's threads have ended.
	again_if_killed() { arm off; [ "$how" = error ] || { node_wait 5 not crio_alive "$(cat "$NODE/crio.pid")" && with_criu crio_start; }; }
	export CRIO_FAILPOINT_FILE=$NODE/failpoint; arm off; crio_stop; CRIO=$BUILD/tests/crash/crio-failpoints; with_criu crio_start
	p=$(run_pod p1 . runc); c=$(run_ctr "$p" p1 c1 "$talks"); archive ok.tar >/dev/null
	for how in kill error; do
		arm "checkpoint.frozen=$how"; if checkpoint "$c" "$NODE/out/c.tar" 2>/dev/null; then false; fi
		again_if_killed
		n=$(lines c1); node_wait 5 more_lines c1 "$n"; [ -z "$(find "$NODE/root" "$NODE/out" -name 'checkpoint*' -o -name '.checkpoint*')" ]
		for n in checkpoint.unpack checkpoint.unpack.done; do
			arm "$n=$how"; if create_from "$p" c2 "$NODE/out/ok.tar" 2>/dev/null; then false; fi
			again_if_killed
			[ "$(cri ListContainers '{}' | jq '.containers|length')" = 1 ]; [ -z "$(find "$NODE/root" -name inventory.img)" ]; [ ! -e "$NODE/log/p1/c2.log" ]
		done
		d=$(create_from "$p" c2 "$NODE/out/ok.tar")
		arm "restore.run=$how"; if start_ctr "$d" 2>/dev/null; then false; fi; again_if_killed
		if [ $how = kill ]; then [ "$(ctr_field "$d" state)" = CONTAINER_CREATED ]; rm_ctr "$d"; fi
		fails NotFound "$d" ContainerStatus "{\"container_id\":\"$d\"}"
	done
	stop_ctr "$c"; crio_stop; CRIO=$plain; unset CRIO_FAILPOINT_FILE; with_criu crio_start
}

@test "broken and hostile archives are refused, and nothing of them is left" {
	p=$(run_pod p1 . runc); n=$(find "$NODE/root" | wc -l)
	no() { fails "$1" "$2" CreateContainer "$(from "$p" c1 "$3")"; }
	echo "not an archive" >"$NODE/out/text"; no DataLoss "restore from checkpoint $NODE/out/text" "$NODE/out/text"
	no InvalidArgument "not a regular file" "$NODE/out"
	archive a.tar >/dev/null; rm "$NODE/made/spec.dump"; no InvalidArgument "spec.dump is missing" "$(pack a.tar)"
	no InvalidArgument "invalid RootfsImageRef" "$(archive a.tar . '.rootfsImageRef="../../etc"')"
	no NotFound "" "$(archive a.tar . ".rootfsImageRef=\"$(printf 'f%.0s' {1..64})\"")"
	no InvalidArgument "does not name the image" "$(archive a.tar . 'del(.rootfsImageRef,.rootfsImageName)')"
	no InvalidArgument "io.kubernetes.cri-o.Annotations" "$(archive a.tar '.annotations={}')"
	archive a.tar >/dev/null; ln -s /etc/shadow "$NODE/made/checkpoint/pages-1.img"; no InvalidArgument "not a plain file" "$(pack a.tar)"
	archive a.tar >/dev/null; mkdir -p "$NODE/diff/dev"; mknod "$NODE/diff/dev/mem" c 1 1; tar -C "$NODE/diff" -cf "$NODE/made/rootfs-diff.tar" .; no InvalidArgument "'./dev/mem' is a device" "$(pack a.tar)"
	archive a.tar >/dev/null; echo '["/../../../../etc/passwd"]' >"$NODE/made/deleted.files"; no InvalidArgument "'..'" "$(pack a.tar)"
	archive a.tar >/dev/null; truncate -s 3M "$NODE/out/pad"; { tr '\0' ' ' <"$NODE/out/pad"; tr '\0' ' ' <"$NODE/out/pad"; } >>"$NODE/made/spec.dump"; no ResourceExhausted "spec.dump" "$(pack a.tar)"
	[ "$(cri ListContainers '{}' | jq '.containers|length')" = 0 ]; rm -rf "$NODE/diff" "$NODE/out"/*; [ -z "$(left)" ]
	[ "$(find "$NODE/root" -path '*/l/*' -prune -o -print | wc -l)" -le "$n" ]
}
