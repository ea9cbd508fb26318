#!/bin/bash
# suite.sh: runs inside the node that run.sh boots (systemd, cgroup v2 alone, AppArmor), as /share/run.
. /share/node.sh

has_apparmor() { installs; is "$(cat /sys/module/apparmor/parameters/enabled)" Y; }

scopes() { # scopes HANDLER
	local p c d; p=$(run_pod "$1" '.linux.security_context.namespace_options.pid=0' "$1"); echo "$p" >"/tmp/$1.pod"
	c=$(run_ctr "$p" "$1" c '.linux.resources={cpu_shares:512,cpu_quota:50000,cpu_period:100000,memory_limit_in_bytes:67108864,oom_score_adj:-500,unified:{"memory.high":"60000000"}}'); echo "$c" >"/tmp/$1.ctr"
	is "$(group_of "$c")" "$(path_of "$1")/crio-$c.scope"
	is "$(cgroup_of "$(conmon_of "$c")")" "/system.slice/crio-conmon-$c.scope"
	is "$(systemctl show -P ActiveState "crio-$c.scope")" active; is "$(systemctl show -P Slice "crio-$c.scope")" "$(slice_of "$1")"
	is "$(systemctl show -P Slice "crio-conmon-$c.scope")" system.slice
	is "$(cat "/proc/$(ctr_pid "$c")/oom_score_adj")" -500
	# The pod's own process.
	d=$(pod_pid "$p"); is "$(cgroup_of "$d" | sed 's|/container$||')" "$(path_of "$1")/crio-$p.scope"; is "$(cat "/proc/$d/oom_score_adj")" -998
	exec_ctr "$c" hostname | grep -qx "$1"
}

limits() { # limits HANDLER
	local c d; c=$(cat "/tmp/$1.ctr"); d=$CG$(cgroup_of "$(ctr_pid "$c")")
	file_is "$d/cpu.max" "50000 100000"; file_is "$d/cpu.weight" 20; file_is "$d/memory.max" 67108864; file_is "$d/pids.max" 500; file_is "$d/memory.high" 59998208
	cri UpdateContainerResources "{\"container_id\":\"$c\",\"linux\":{\"cpu_shares\":1024,\"cpu_quota\":200000,\"cpu_period\":100000,\"memory_limit_in_bytes\":134217728}}"
	file_is "$d/cpu.max" "200000 100000"; file_is "$d/cpu.weight" 39; file_is "$d/memory.max" 134217728
	# systemd knows it, too: its next look at its units changes nothing.
	systemctl daemon-reload; systemctl set-property --runtime "crio-$c.scope" TasksAccounting=yes
	file_is "$d/cpu.max" "200000 100000"; file_is "$d/memory.max" 134217728; file_is "$d/pids.max" 500
	is "$(ctr_field "$c" resources.linux.memory_limit_in_bytes)" 134217728
}

figures() {
	local c p s; c=$(cat /tmp/crun.ctr); p=$(cat /tmp/crun.pod)
	s=$(cri ContainerStats "{\"container_id\":\"$c\"}"); echo "$s"
	jq -e '.stats | (.cpu.usage_core_nano_seconds.value|tonumber) > 1000000 and (.memory.working_set_bytes.value|tonumber) > 100000 and
		(.memory.available_bytes.value|tonumber) < 134217728 and (.memory.available_bytes.value|tonumber) > 100000000 and
		.cpu.psi.Some != null and .cpu.psi.Full != null and .memory.psi.Some != null and .io.psi.Some != null' <<<"$s" ||
	jq -e '.stats | .cpu.psi.some != null and .memory.psi.some != null and .io.psi.some != null' <<<"$s"
	s=$(cri PodSandboxStats "{\"pod_sandbox_id\":\"$p\"}"); echo "$s"
	jq -e --arg c "$c" '.stats.linux | (.cpu.usage_core_nano_seconds.value|tonumber) > 1000000 and (.process.process_count.value|tonumber) >= 1 and
		.containers[0].attributes.id == $c and (.memory.working_set_bytes.value|tonumber) > 100000 and .network.default_interface.name == "eth0"' <<<"$s"
}

out_of_memory() { # out_of_memory HANDLER
	local c; c=$(run_ctr "$(cat "/tmp/$1.pod")" "$1" oom '.command=["dd","if=/dev/zero","of=/dev/null","bs=64M","count=1"]|.linux.resources={memory_limit_in_bytes:16777216}')
	wait_exit "$c" 60
	is "$(ctr_field "$c" reason)" OOMKilled; is "$(ctr_field "$c" exit_code)" 137
	rm_ctr "$c"
}

survives() { # survives COMMAND...: the daemon ends and comes again, what it runs goes on
	local c pid old; c=$(cat /tmp/runc.ctr); pid=$(ctr_pid "$c"); old=$(main_pid)
	"$@"
	node_wait 90 main_up "$old"
	is "$(ctr_pid "$c")" "$pid"; is "$(ctr_field "$c" state)" CONTAINER_RUNNING
	exec_ctr "$c" hostname | grep -qx runc
}
kill_daemon() { kill -KILL "$(main_pid)"; }

watchdog() { # a daemon that hangs is killed and comes again; one that works is left alone
	local old n
	printf '[Service]\nRestartSec=1\nTimeoutStartSec=120\nWatchdogSec=12\nTimeoutAbortSec=2\nLimitCORE=0\n' >/etc/systemd/system/crio.service.d/slow.conf
	systemctl daemon-reload; systemctl restart crio; ready; old=$(main_pid) n=$(systemctl show -P NRestarts crio)
	sleep 20; is "$(main_pid)" "$old"
	journalctl -u crio -o cat --no-pager -n 50 | grep -q 'watchdog looks every 6000 ms'
	survives kill -STOP "$old"
	is "$(systemctl show -P NRestarts crio)" $((n + 1)); journalctl -u crio -o cat --no-pager -n 400 | grep -q 'Watchdog timeout'
	printf '[Service]\nRestartSec=1\nTimeoutStartSec=120\n' >/etc/systemd/system/crio.service.d/slow.conf; systemctl daemon-reload; systemctl restart crio
}

stops() { # stops HANDLER
	local c p; c=$(cat "/tmp/$1.ctr") p=$(cat "/tmp/$1.pod")
	stop_ctr "$c" 30; is "$(ctr_field "$c" exit_code)" 3; is "$(ctr_field "$c" reason)" Error
	rm_ctr "$c"; rm_pod "$p"
}

cgroupfs() {
	local p c d=$CG/pod_fs
	printf '[crio.runtime]\ncgroup_manager = "cgroupfs"\nconmon_cgroup = "pod"\n' | configure
	systemctl restart crio; ready
	p=$(cri -r pod_sandbox_id RunPodSandbox "{\"config\":$(pod_json fs .linux.security_context.privileged=true)}")
	c=$(create_ctr "$p" fs c "$wait_cmd|.linux.security_context.privileged=true|.linux.resources={memory_limit_in_bytes:67108864,cpu_shares:512}" .linux.security_context.privileged=true); start_ctr "$c"
	is "$(profile_of "$c")" unconfined
	is "$(cgroup_of "$(ctr_pid "$c")")" "/pod_fs/crio-$c"; is "$(cgroup_of "$(conmon_of "$c")")" "/pod_fs/crio-conmon-$c"
	file_is "$d/crio-$c/memory.max" 67108864; file_is "$d/crio-$c/pids.max" 500
	cri UpdateContainerResources "{\"container_id\":\"$c\",\"linux\":{\"memory_limit_in_bytes\":134217728}}"; file_is "$d/crio-$c/memory.max" 134217728
	systemctl restart crio; ready; is "$(cgroup_of "$(ctr_pid "$c")")" "/pod_fs/crio-$c"
	stop_ctr "$c" 30; is "$(ctr_field "$c" exit_code)" 3; rm_ctr "$c"; rm_pod "$p"
	[ ! -e $d ] || { find $d; return 1; }
	configure </dev/null; systemctl restart crio; ready
}

# What a container reads and may write, by its profile.
profile_of_pid() { cat "/proc/$1/attr/current"; }
profile_of() { profile_of_pid "$(ctr_pid "$1")"; }
confine() { run_ctr "$(cat /tmp/crun.pod)" crun "$1" ".linux.security_context.apparmor={profile_type:$2,localhost_ref:\"${3:-}\"}|${4:-.}"; }
apparmor_default() {
	local c; grep -q '^crio-default (enforce)$' /sys/kernel/security/apparmor/profiles
	c=$(cat /tmp/crun.ctr); is "$(profile_of "$c")" "crio-default (enforce)"
	is "$(profile_of "$(cat /tmp/runc.ctr)")" "crio-default (enforce)"
	# With all that other defences forbid allowed, the profile still says no.
	c=$(confine strong 0 "" '.linux.security_context.capabilities={add_capabilities:["ALL"]}|.linux.security_context.masked_paths=[]|.linux.security_context.readonly_paths=[]|.mounts=[{host_path:"/sys",container_path:"/sys"}]')
	no() { local out; if out=$(exec_ctr "$c" sh -c "$1" 2>&1); then echo "this went well: $1"; return 1; fi; [[ $out == *"ermission denied"* ]] || { echo "$1: $out"; return 1; }; }
	is "$(profile_of "$c")" "crio-default (enforce)"
	no 'echo h >/proc/sysrq-trigger'; no 'echo 1 >/proc/sys/vm/drop_caches'; no 'echo x >/proc/sys/kernel/core_pattern'; no 'mount -t tmpfs t /tmp'
	no 'head -c 1 /proc/kcore'; no 'echo 0 >/sys/kernel/mm/ksm/run'
	exec_ctr "$c" sh -c 'echo 1000 >/proc/self/oom_score_adj && echo 4000 >/proc/sys/kernel/shmmni && echo x >/file && cat /proc/meminfo && sleep 100 & kill $!' >/dev/null
	stop_ctr "$c" 30; is "$(ctr_field "$c" exit_code)" 3; rm_ctr "$c"
}
apparmor_choice() {
	local c; c=$(confine free 1); is "$(profile_of "$c")" unconfined; rm_ctr "$c"
	echo 'profile "vm own" flags=(attach_disconnected,mediate_deleted) { file, network, capability, signal, deny /secret rw, }' | apparmor_parser -Kr
	c=$(confine own 2 "localhost/vm own"); is "$(profile_of "$c")" "vm own (enforce)"
	exec_ctr "$c" sh -c 'echo x >/open'; if exec_ctr "$c" sh -c 'echo x >/secret'; then return 1; fi
	rm_ctr "$c"
	if c=$(confine none 2 no-such-profile 2>&1); then return 1; fi
	[[ $c == *"code = InvalidArgument"*"no-such-profile"*"not loaded"* ]] || { echo "$c"; return 1; }
}
apparmor_again() { # who takes unknown profiles away takes ours: the next container brings it back
	local c
	printf 'crio-default' >/sys/kernel/security/apparmor/.remove
	if grep -q '^crio-default ' /sys/kernel/security/apparmor/profiles; then return 1; fi
	c=$(confine again 0); is "$(profile_of "$c")" "crio-default (enforce)"; rm_ctr "$c"
}
apparmor_gone() { # the node's own is taken away: a pod runs all the same, a container does not
	local p c own='.linux.security_context.namespace_options.pid=0'
	echo 'profile vm-gone flags=(attach_disconnected,mediate_deleted) { file, network, capability, signal, umount, }' | apparmor_parser -Kr
	printf '[crio.runtime]\napparmor_profile = "vm-gone"\n' | configure; systemctl restart crio; ready
	p=$(run_pod gone1 "$own"); is "$(profile_of_pid "$(pod_pid "$p")")" "vm-gone (enforce)"; rm_pod "$p"
	printf vm-gone >/sys/kernel/security/apparmor/.remove
	p=$(run_pod gone2 "$own"); is "$(profile_of_pid "$(pod_pid "$p")")" unconfined
	if c=$(run_ctr "$p" gone2 gone 2>&1); then return 1; fi
	[[ $c == *"code = InvalidArgument"*"vm-gone"*"not loaded"* ]] || { echo "$c"; return 1; }
	rm_pod "$p"; configure </dev/null; systemctl restart crio; ready
}

# Checkpoints: a container that counts in memory, a line of its log each second, and has changed its files.
ck_mount='.mounts=[{host_path:"/etc/machine-id",container_path:"/etc/machine-id",readonly:true}]'
count_cmd='.command=["sh","-c","echo new >/root/new; ln /root/new /root/same; chmod 640 /root/new; rm -r /home; mkdir /home; rm /etc/group; mkfifo /f; n=0; while :; do n=$((n+1)); echo count $n; read -t 1 x <>/f; done"]|.annotations={kept:"yes"}|'$ck_mount
log_of() { echo "$NODE/log/runc/$1.log"; }
count_of() { sed -n 's/.* count //p' "$(log_of "$1")" | tail -1; }
counts_on() { [ "$(count_of "$1")" -gt "$2" ]; }
# from_json NAME IMAGE [FILTER]: of a container that begins with a checkpoint.
from_json() { echo "{\"pod_sandbox_id\":\"$(cat /tmp/runc.pod)\",\"config\":$(ctr_json "$1" "del(.command)|.image.image=\"$2\"|${3:-$ck_mount}"),\"sandbox_config\":$(pod_json runc "$(in_slice runc)")}"; }
no_criu_left() { is "$(find /var/lib/containers/storage/overlay-containers/"$1" /run/containers/storage/overlay-containers/"$1" $NODE -name '*checkpoint*' -o -name '*.log' ! -path "$NODE/*")" ""; }

checkpoint_made() {
	local c n i
	[ -s /tmp/runc.pod ] || run_pod runc . runc >/tmp/runc.pod
	c=$(run_ctr "$(cat /tmp/runc.pod)" runc one "$count_cmd"); echo "$c" >/tmp/ck.ctr
	node_wait 20 counts_on one 1
	cri CheckpointContainer "{\"container_id\":\"$c\",\"location\":\"$NODE/ck.tar\"}"; n=$(count_of one); echo "$n" >/tmp/ck.count
	is "$(ctr_field "$c" state)" CONTAINER_RUNNING; node_wait 20 counts_on one "$n"
	is "$(stat -c '%a %u' $NODE/ck.tar)" "600 0"; no_criu_left "$c"
	busybox tar -tf $NODE/ck.tar >/tmp/ck.list
	for i in config.dump spec.dump bind.mounts deleted.files rootfs-diff.tar dump.log stats-dump checkpoint/inventory.img io.kubernetes.cri-o.LogPath; do grep -qx "$i" /tmp/ck.list || { echo "no $i"; cat /tmp/ck.list; return 1; }; done
	cri ContainerStatus "{\"container_id\":\"$c\",\"verbose\":true}" | jq -e '.info.info|fromjson|.restored == false and (.checkpointedAt|startswith("20"))'
}

goes_on() { # goes_on NAME ID: the count goes on, with the same files
	node_wait 20 counts_on "$1" "$(cat /tmp/ck.count)"
	is "$(group_of "$2")" "$(path_of runc)/crio-$2.scope" # its own, not that of the first
	is "$(grep -c ' count 1$' "$(log_of "$1")")" 1
	exec_ctr "$2" sh -c 'cat /root/same; stat -c %a%h /root/new; ls /home; ls -d /home /etc/group; tr "\0" " " </proc/1/cmdline | cut -c 1-20' >/tmp/ck.out 2>/dev/null || true
	is "$(tr '\n' '|' </tmp/ck.out)" 'new|6402|/home|sh -c echo new >/roo||'
	cri ContainerStatus "{\"container_id\":\"$2\",\"verbose\":true}" | jq -e '.status.annotations.kept == "yes" and (.info.info|fromjson|.restored and (.checkpointedAt|startswith("20")))'
	no_criu_left "$2"
}

checkpoint_created() { # from the archive, which the container does not need any more
	local c
	rm_ctr "$(cat /tmp/ck.ctr)"
	fails InvalidArgument "expects following bind mounts defined (/etc/machine-id)" CreateContainer "$(from_json two $NODE/ck.tar .)"
	c=$(cri -r container_id CreateContainer "$(from_json two $NODE/ck.tar)"); echo "$c" >/tmp/ck.ctr; mv $NODE/ck.tar $NODE/ck
	is "$(ctr_field "$c" state)" CONTAINER_CREATED
}
checkpoint_restored() { # the daemon was killed in between
	local c; c=$(cat /tmp/ck.ctr)
	start_ctr "$c"; goes_on two "$c"
	stop_ctr "$c" 0; is "$(ctr_field "$c" exit_code)" 137; rm_ctr "$c"
}

checkpoint_image() { # the archive as the one layer of an image, put into the registry's directory
	local d=/share/registry/docker/registry/v2 r c id; r=$d/repositories/checkpoint
	blob() { local sum; sum=$(sha256sum "$1" | cut -c 1-64); mkdir -p "$d/blobs/sha256/${sum:0:2}/$sum" "$r/_layers/sha256/$sum"; cp "$1" "$d/blobs/sha256/${sum:0:2}/$sum/data"; echo -n "sha256:$sum" | tee "$r/_layers/sha256/$sum/link"; }
	part() { echo "{\"mediaType\":\"application/vnd.oci.image.$1\",\"digest\":\"$2\",\"size\":$(stat -c %s "$3")}"; }
	local layer config manifest; layer=$(blob $NODE/ck)
	echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"$layer\"]}}" >/tmp/ck.config; config=$(blob /tmp/ck.config)
	echo "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":$(part config.v1+json "$config" /tmp/ck.config),\"layers\":[$(part layer.v1.tar "$layer" $NODE/ck)],\"annotations\":{\"io.kubernetes.cri-o.annotations.checkpoint.name\":\"one\"}}" >/tmp/ck.manifest
	manifest=$(blob /tmp/ck.manifest); mkdir -p "$r/_manifests/revisions/sha256/${manifest#*:}" "$r/_manifests/tags/1/current" "$r/_manifests/tags/1/index/sha256/${manifest#*:}"
	echo -n "$manifest" | tee "$r/_manifests/revisions/sha256/${manifest#*:}/link" "$r/_manifests/tags/1/current/link" "$r/_manifests/tags/1/index/sha256/${manifest#*:}/link" >/dev/null
	id=$(pull $REGISTRY/checkpoint:1)
	c=$(cri -r container_id CreateContainer "$(from_json three $REGISTRY/checkpoint:1)"); start_ctr "$c"; goes_on three "$c"
	is "$(ctr_field "$c" image.image)" "$REGISTRY/busybox:1"
	rm_ctr "$c"; cri RemoveImage "{\"image\":{\"image\":\"$id\"}}"; rm -f $NODE/ck
}

# critest's specs that critest.focus names: what only this node has, AppArmor for one.
conforms() {
	. lib/mirrors.bash; critest_network; mirrors_conf $REGISTRY >/etc/containers/registries.conf.d/critest.conf
	printf '#!/bin/sh\nexec "$@"\n' >/usr/local/bin/sudo; chmod 755 /usr/local/bin/sudo # it calls apparmor_parser by sudo
	systemctl reload crio
	./critest --runtime-endpoint unix://$SOCKET --image-endpoint unix://$SOCKET --runtime-handler "$1" --ginkgo.no-color \
		--ginkgo.focus "$(cat critest.focus)" --ginkgo.json-report "$PWD/critest-$1.json"
	[ "$(jq '[.[0].SpecReports[]|select(.State=="passed" and .LeafNodeType=="It")]|length' "critest-$1.json")" -gt 0 ]
}

t "the node is what it should be: systemd, cgroup v2 alone, AppArmor" has_apparmor
t "as a service it is ready when systemd says so, in its own group and last to be killed" starts
for h in crun runc; do
	t "$h: scopes in the slices they belong to, the pod's process is killed last" scopes $h
	t "$h: limits reach the files of version 2 and systemd, an update too" limits $h
done
t "figures of a container and its pod, with pressure" figures
for h in crun runc; do t "$h: out of memory is reported" out_of_memory $h; done
t "AppArmor: crio-default is loaded at start and forbids what is the machine's" apparmor_default
t "AppArmor: unconfined, a profile of the node, one that is not loaded" apparmor_choice
if [ -x critest ]; then for h in crun runc; do t "critest: $h" conforms $h; done; fi
t "runc: a checkpoint is made, its container goes on" checkpoint_made
t "checkpoint: a container is created from the archive" checkpoint_created
t "checkpoint: another goes on from an image" checkpoint_image
t "systemd restarts a daemon that is killed, containers go on" survives kill_daemon
t "checkpoint: the container from the archive goes on, although the daemon was killed" checkpoint_restored
t "containers survive systemctl restart" survives systemctl restart crio
t "systemd's watchdog ends a daemon that hangs, containers go on" watchdog
t "AppArmor: crio-default comes back when it was taken away" apparmor_again
t "AppArmor: without the node's own profile a pod runs and a container does not" apparmor_gone
for h in crun runc; do t "$h: stop gives the exit code, and all goes" stops $h; done
t "no scope, group, mount or monitor is left" nothing_left
t "cgroupfs manager on version 2" cgroupfs
t "nothing is left of it either" nothing_left
echo "1..$n"
[ $failed = 0 ]
