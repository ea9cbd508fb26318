#!/usr/bin/env bats
# Fields of pods and containers that change what they can see, how they end and what they are refused for.
load lib/cri.bash

setup_file() { drop_in; crio_start; export CRIO_PID; pull >/dev/null; }
teardown_file() { crio_stop; rm -f "$NODE/etc/conf.d/10-fields.conf"; }
teardown() { remove_all_pods; rm -f "$NODE/mounts.conf"; umount "$NODE/sub" /var/lib/kubelet /var/log/pods 2>/dev/null || true; }
refuse() { # refuse STATUS TEXT POD FILTER: CreateContainer is
	fails "$1" "$2" CreateContainer "{\"pod_sandbox_id\":\"$3\",\"config\":$(ctr_json refused "$4"),\"sandbox_config\":$(pod_json p1)}"
}

drop_in() {
	cat >"$NODE/etc/conf.d/10-fields.conf" <<-EOT
	[crio.runtime]
	log_level = "debug"
	default_mounts_file = "$NODE/mounts.conf"
	[crio.runtime.runtimes.small]
	runtime_path = "$(command -v crun)"
	runtime_root = "$NODE/run/crun"
	container_min_memory = "5.5MiB"
	[crio.runtime.runtimes.links]
	runtime_path = "$(command -v crun)"
	runtime_root = "$NODE/run/crun"
	allowed_annotations = ["link-logs.crio.io"]
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

@test "mounts that are read-only with all below them" {
	mkdir -p "$NODE/sub"; mount -t tmpfs fields "$NODE/sub"; mkdir "$NODE/sub/below"; mount -t tmpfs fields "$NODE/sub/below"
	m() { echo ".mounts=[{container_path:\"/m\",host_path:\"$NODE/sub\",readonly:true,recursive_read_only:true$1}]"; }
	pod=$(run_pod p1 . runc)
	c=$(run_ctr "$pod" p1 c1 "$(m '')")
	run exec_ctr "$c" touch /m/x; [ "$status" != 0 ]
	run exec_ctr "$c" touch /m/below/x; [[ $status != 0 && $output == *"Read-only file system"* ]]
	[ "$(cri ContainerStatus "{\"container_id\":\"$c\"}" | jq -c '.status.mounts[]|select(.container_path=="/m")|[.readonly,.recursive_read_only]')" = '[true,true]' ]
	# Only the mount itself, when that is what is asked for.
	c=$(run_ctr "$pod" p1 c2 ".mounts=[{container_path:\"/m\",host_path:\"$NODE/sub\",readonly:true}]")
	exec_ctr "$c" touch /m/below/x; run exec_ctr "$c" touch /m/x; [ "$status" != 0 ]
	refuse InvalidArgument "conflicts with read-write mount" "$pod" "$(m ',readonly:false')"
	refuse InvalidArgument "requires private propagation" "$pod" "$(m ',propagation:"PROPAGATION_HOST_TO_CONTAINER"')"
	# After a restart the status says the same.
	crio_stop; crio_start
	[ "$(cri ContainerStatus "{\"container_id\":\"$(cri ListContainers '{}' | jq -r '.containers[]|select(.metadata.name=="c1").id')\"}" | jq -c '.status.mounts[]|select(.container_path=="/m")|[.readonly,.recursive_read_only]')" = '[true,true]' ]
	remove_all_pods; umount "$NODE/sub/below" "$NODE/sub"
}

@test "default mounts: a copy for each container, below the request's own" {
	mkdir -p "$NODE/given/dir" "$NODE/own"; echo one >"$NODE/given/dir/file"; ln -s dir "$NODE/given/link"; ln -s nowhere "$NODE/given/dangling"; ln -s .. "$NODE/given/dir/up"
	rm "$NODE/given/dir/up"; mkfifo "$NODE/given/pipe"; echo two >"$NODE/single"; echo own >"$NODE/own/x"
	printf '%s\n' "# a comment" "$NODE/given:/run/given" "  $NODE/single" "$NODE/absent:/absent" "/dev/null:/not/this" "relative:/x" >"$NODE/mounts.conf"
	pod=$(run_pod p1); a=$(run_ctr "$pod" p1 a ".mounts=[{container_path:\"/run/given/own\",host_path:\"$NODE/own\"}]"); b=$(run_ctr "$pod" p1 b)
	[ "$(exec_ctr "$a" sh -c "cat /run/given/dir/file /run/given/link/file /run/given/own/x $NODE/single; ls /run/given" | xargs)" = "one one own two dir link own" ]
	exec_ctr "$a" sh -c 'echo changed >/run/given/dir/file'
	[ "$(exec_ctr "$b" cat /run/given/dir/file)" = one ]
	[ "$(cat "$NODE/given/dir/file")" = one ]
	[ -z "$(exec_ctr "$b" ls /absent /not 2>/dev/null)" ]
	log_has 'skipping entry.*unsupported file type'
	# The request's own mount at the same place wins.
	c=$(run_ctr "$pod" p1 c ".mounts=[{container_path:\"/run/given\",host_path:\"$NODE/own\"}]")
	[ "$(exec_ctr "$c" ls /run/given)" = x ]
	# Links that go round cost the line, not the container.
	ln -s .. "$NODE/given/dir/up"; d=$(run_ctr "$pod" p1 d); [ -z "$(exec_ctr "$d" ls /run/given 2>/dev/null)" ]
	log_has 'skipping entry.*directories deep'
	rm -r "$NODE/given" "$NODE/own" "$NODE/single"
}

@test "an image as a volume" {
	node_push twolayer twolayer:1; pull "$REGISTRY/twolayer:1" >/dev/null
	id=$(cri ImageStatus "{\"image\":{\"image\":\"$REGISTRY/twolayer:1\"}}" | jq -r .image.id)
	m() { echo ".mounts=[{container_path:\"/vol\",readonly:true,image:{image:\"$1\"},image_sub_path:\"${2:-}\"}]"; }
	mounts=$(wc -l </proc/self/mountinfo)
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c "$(m "$REGISTRY/twolayer:1")"); d=$(run_ctr "$pod" p1 d "$(m "$id" etc)")
	[ "$(exec_ctr "$c" ls /vol | wc -l)" -gt 0 ]
	run exec_ctr "$c" touch /vol/x; [[ $status != 0 && $output == *"Read-only file system"* ]]
	[ "$(exec_ctr "$d" ls /vol)" = "$(exec_ctr "$c" ls /vol/etc)" ]
	[ "$(cri ContainerStatus "{\"container_id\":\"$c\"}" | jq -r '.status.mounts[0].image.image')" = "$id" ]
	fails FailedPrecondition "in use" RemoveImage "{\"image\":{\"image\":\"$id\"}}"
	refuse NotFound "does not exist locally" "$pod" "$(m "$REGISTRY/nonesuch:1")"
	refuse NotFound 'sub path "no/such" does not exist' "$pod" "$(m "$id" no/such)"
	# Links of an image stay inside it.
	refuse NotFound 'does not exist' "$pod" "$(m "$id" ../../../../../../proc/self)"
	# A daemon that was killed meanwhile knows what to take away.
	crio_kill; crio_start
	fails FailedPrecondition "in use" RemoveImage "{\"image\":{\"image\":\"$id\"}}"
	rm_ctr "$c"; rm_ctr "$d"
	[ -z "$(grep image-volumes /proc/self/mountinfo)" ]
	cri RemoveImage "{\"image\":{\"image\":\"$id\"}}"
	[ "$(cri ImageStatus "{\"image\":{\"image\":\"$id\"}}" | jq .image)" = null ]
}

@test "a pod's logs in its emptyDir volume" {
	mount -t tmpfs fields /var/lib/kubelet 2>/dev/null || { mkdir -p /var/lib/kubelet; mount -t tmpfs fields /var/lib/kubelet; }
	mkdir -p /var/log/pods; mount -t tmpfs fields /var/log/pods
	vol=/var/lib/kubelet/pods/uid-p1/volumes/kubernetes.io~empty-dir/logs; mkdir -p "$vol" /var/log/pods/test_p1_uid-p1
	f='.log_directory="/var/log/pods/test_p1_uid-p1"|.annotations={"io.kubernetes.cri-o.LinkLogs":"logs"}'
	pod=$(run_pod p1 "$f" links)
	c=$(create_ctr "$pod" p1 c ".log_path=\"c/0.log\"|.command=[\"sh\",\"-c\",\"echo hello; cat /vol/c/0.log; sleep 60\"]|.mounts=[{container_path:\"/vol\",host_path:\"$vol\"}]" "$f"); start_ctr "$c"
	node_wait 5 grep -q hello "$vol/$c.log"
	[ "$(readlink "$vol/$c.log")" = c/0.log ]
	exec_ctr "$c" grep -q hello "/vol/$c.log"
	stop_ctr "$c"; rm_ctr "$c"; [ ! -L "$vol/$c.log" ]
	rm_pod "$pod"; [ -z "$(ls "$vol")" ]; not mountpoint -q "$vol"
	# Without the handler's leave, nothing; a name that leads elsewhere, or no such volume: refused.
	pod=$(run_pod p1 "$f"); not mountpoint -q "$vol"; rm_pod "$pod"
	for v in .. a/b ../../../x absent; do
		fails "$([ $v = absent ] && echo NotFound || echo InvalidArgument)" "" RunPodSandbox "{\"config\":$(pod_json p1 "$f|.annotations={\"link-logs.crio.io\":\"$v\"}"),\"runtime_handler\":\"links\"}"
	done
	rmdir "$vol"; ln -s /etc "$vol"
	if cri RunPodSandbox "{\"config\":$(pod_json p1 "$f"),\"runtime_handler\":\"links\"}" 2>/dev/null; then false; fi
	not mountpoint -q /etc
}

@test "no memory limit below what is used" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c '.command=["sh","-c","dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null; touch /dev/shm/done; trap \"exit 0\" TERM; while :; do sleep 0.05; done"]|.linux.resources.memory_limit_in_bytes=134217728')
	node_wait 10 exec_ctr "$c" test -e /dev/shm/done
	fails FailedPrecondition "cannot decrease memory limit to 20971520 bytes: current usage is" UpdateContainerResources "{\"container_id\":\"$c\",\"linux\":{\"memory_limit_in_bytes\":20971520}}"
	[ "$(ctr_field "$c" resources.linux.memory_limit_in_bytes)" = 134217728 ]
	cri UpdateContainerResources "{\"container_id\":\"$c\",\"linux\":{\"memory_limit_in_bytes\":268435456}}"
	[ "$(ctr_field "$c" resources.linux.memory_limit_in_bytes)" = 268435456 ]
	fails InvalidArgument "negative" UpdateContainerResources "{\"container_id\":\"$c\",\"linux\":{\"memory_limit_in_bytes\":-1}}"
}

@test "what cannot be killed is named, and ends once it can" {
	[ -d /sys/fs/cgroup/freezer ] || skip "needs the freezer of cgroup v1"
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c '.command=["sleep","1000"]'); pid=$(ctr_pid "$c")
	# The pod's group, not the container's: that one is thawed when it is killed.
	echo FROZEN >/sys/fs/cgroup/freezer/pod_p1/freezer.state
	if CRI_TIMEOUT=5 cri StopContainer "{\"container_id\":\"$c\",\"timeout\":0}" 2>/dev/null; then echo THAWED >/sys/fs/cgroup/freezer/pod_p1/freezer.state; false; fi
	log_has "Detected process \($pid \(sleep\)\) blocked in uninterruptible sleep for more than [0-9]+ seconds for container $c" || { echo THAWED >/sys/fs/cgroup/freezer/pod_p1/freezer.state; false; }
	log_has "container $c does not die of SIGKILL; in an uninterruptible wait: process $pid \(sleep\)" || { echo THAWED >/sys/fs/cgroup/freezer/pod_p1/freezer.state; false; }
	echo THAWED >/sys/fs/cgroup/freezer/pod_p1/freezer.state
	wait_exit "$c"; [ "$(ctr_field "$c" exit_code)" = 137 ]
}

@test "seccomp: a handler's profile, names that no library knows, a file that is none" {
	jq '.syscalls[0].names += ["no_such_call"]' "$BATS_TEST_DIRNAME/../../etc/seccomp.json" >"$NODE/profile.json"
	printf '[crio.runtime.runtimes.strict]\nruntime_plugin = "crun"\nruntime_path = "/usr/bin/crun"\nruntime_root = "%s/run/crun"\nseccomp_profile = "%s/profile.json"\n' "$NODE" "$NODE" >"$NODE/etc/conf.d/60-seccomp.conf"
	crio_stop; crio_start
	profile='.linux.security_context.seccomp={profile_type:0}'
	p=$(run_pod sec "$profile" strict); a=$(run_ctr "$p" sec a "$profile"); q=$(run_pod sec2 "$profile"); b=$(run_ctr "$q" sec2 b "$profile")
	has() { cri ContainerStatus "{\"container_id\":\"$1\",\"verbose\":true}" | jq -r '.info.info|fromjson|.runtimeSpec.linux.seccomp|tostring' | grep -c no_such_call; }
	[ "$(has "$a")" = 1 ]; [ "$(has "$b" || true)" = 0 ]
	[ "$(exec_ctr "$a" grep -c Seccomp:.2 /proc/self/status)" = 1 ]
	remove_all_pods; crio_stop
	# A handler whose profile is none is left out with a warning; without a file the node's own falls back to the built-in one.
	echo '{{}}' >"$NODE/profile.json"; printf '[crio.runtime]\nseccomp_profile = "/not-exist"\n' >"$NODE/etc/conf.d/61-seccomp.conf"
	crio_start; log_has 'decoding seccomp profile failed'; log_has 'Seccomp profile does not exist on disk'
	fails NotFound strict RunPodSandbox "{\"config\":$(pod_json sec3),\"runtime_handler\":\"strict\"}"
	crio_stop; printf '[crio.runtime]\nseccomp_profile = "%s"\n' "$NODE/profile.json" >"$NODE/etc/conf.d/61-seccomp.conf"
	if crio_cmd >"$NODE/out" 2>&1; then false; fi
	cat "$NODE/out"; grep -q '61-seccomp.conf:2: crio.runtime.seccomp_profile: unable to load seccomp profile: decoding seccomp profile failed' "$NODE/out"
	rm "$NODE"/etc/conf.d/6?-seccomp.conf "$NODE/profile.json" "$NODE/out"; crio_start
}

@test "selinux = true on a node that has none is refused at start, and says what to do" {
	[ ! -e /sys/fs/selinux/enforce ] || skip "this machine has SELinux"
	crio_stop; crio_argv
	run timeout 20 "${CRIO_ARGV[@]}" --selinux
	[ "$status" = 1 ]; [[ $output == *"selinux = true, but this node has no SELinux"*"selinux = false"* ]] || { echo "$output" >&2; false; }
	# What a request says of labels is then of no effect.
	crio_start; pod=$(run_pod p1 '.linux.security_context.selinux_options={type:"any_t",level:"s0:c1,c2"}')
	mkdir -p "$NODE/vol"; c=$(run_ctr "$pod" p1 c ".mounts=[{host_path:\"$NODE/vol\",container_path:\"/vol\",selinux_relabel:true}]"); exec_ctr "$c" true
	[ "$(jq -c '[.process.selinuxLabel,.linux.mountLabel]' "$NODE"/root/overlay-containers/"$c"/userdata/config.json)" = '[null,null]' ]
}
