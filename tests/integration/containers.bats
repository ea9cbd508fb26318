#!/usr/bin/env bats
# What a container gets: process, user, rights, file systems, namespaces, network. Most on the default runtime (crun, or what
# DEFAULT_RUNTIME says), the core of it on both.
load lib/cri.bash
DEFAULT=${DEFAULT_RUNTIME:-crun} OTHER=runc; [ "$DEFAULT" = crun ] || OTHER=crun

setup_file() {
	local b=$NODE/src/busybox h=$NODE/src i
	mkdir -p "$h"; make_tree "$b"
	# Images that mean harm: each has something else where a file or directory should be.
	cp -al "$b" "$h/fifo"; rm "$h/fifo/etc/passwd"; mkfifo "$h/fifo/etc/passwd"
	cp -al "$b" "$h/link"; rm "$h/link/etc/passwd" "$h/link/etc/group"
	cp /etc/passwd "$NODE/passwd"; ln -s "../../../../../../../..$NODE/passwd" "$h/link/etc/passwd"; ln -s /proc/1/root/etc/group "$h/link/etc/group"
	cp -al "$b" "$h/escape"; rm -r "$h/escape/etc"; ln -s "$NODE/outside" "$h/escape/etc"; ln -s "$NODE/outside" "$h/escape/work"; mkdir "$NODE/outside"
	cp -al "$h/escape" "$h/escape2"; mkdir -p "$h/escape2$NODE/outside" # the same, and the image has what they name
	cp -al "$b" "$h/digits"; rm "$h/digits/etc/passwd"
	printf 'root:x:0:0:root:/root:/bin/sh\n4294967297:x:0:0::/:/bin/sh\n2147483648:x:0:0::/:/bin/sh\n' >"$h/digits/etc/passwd"
	image_of fifo --user www-data; image_of link --user games; image_of digits --user 4294967297
	for i in escape escape2; do image_of $i --workdir /work/dir --volume /work/vol; done
	drop_in
	crio_start; export CRIO_PID
	for i in busybox user fifo link escape escape2 digits; do pull "$REGISTRY/$i:1" >/dev/null; done
}
teardown_file() { suite_end; rm "$NODE/etc/conf.d/10-containers.conf"; }
# Many containers here do not end for their stop signal: they are killed first.
teardown() {
	local c; for c in $(cri ListContainers '{"filter":{"state":{"state":"CONTAINER_RUNNING"}}}' | jq -r '.containers[]?.id'); do stop_ctr "$c"; done
	remove_all_pods; umount "$NODE/shared" 2>/dev/null || true
}

make_tree() { # the files of the busybox image
	local m; m=$(jq -r '.manifests[0].digest' "$NODE_IMAGES/busybox/index.json"); mkdir -p "$1"
	tar -C "$1" -xzf "$NODE_IMAGES/busybox/blobs/sha256/$(jq -r '.layers[0].digest' "$NODE_IMAGES/busybox/blobs/sha256/${m#*:}" | cut -d: -f2)"
}
image_of() { # image_of NAME OPTION...: made of $NODE/src/NAME and pushed
	"$FIXTURES/mkimage.sh" "$NODE/made" "$1" --cmd '["sh"]' --env PATH=/bin "${@:2}" "$NODE/src/$1" >/dev/null
	skopeo copy -q --dest-tls-verify=false "oci:$NODE/made/$1:latest" "docker://$REGISTRY/$1:1"
}
drop_in() {
	cat >"$NODE/etc/conf.d/10-containers.conf" <<-EOT
	[crio.runtime]
	pids_limit = 77
	default_ulimits = ["nofile=111:222", "core=0:0"]
	default_env = ["FROM_NODE=yes", "B=node"]
	absent_mount_sources_to_reject = ["$NODE/must-exist"]
	[crio.runtime.runtimes.$DEFAULT]
	runtime_path = "$(command -v "$DEFAULT")"
	runtime_root = "$NODE/run/$DEFAULT"
	allowed_annotations = ["io.kubernetes.cri-o.ShmSize"]
	EOT
}
# says POD PODNAME NAME FILTER [COMMAND]: what a container's first process prints. Without a command: what the image runs.
says() {
	local id f=$4
	[ -z "${5:-}" ] && f="del(.command)|$f" || f="$(jq -nr --arg c "$5" '".command=[\"sh\",\"-c\",\($c|tojson)]"')|$f"
	rm -f "$NODE/log/$2/$3.log" # of an earlier test
	id=$(run_ctr "$1" "$2" "$3" "$f" "${6:-.}") || return
	wait_exit "$id" && cut -d' ' -f4- "$NODE/log/$2/$3.log"
}
sc() { echo ".linux.security_context+=$1"; } # sc JSON: a filter that adds to the security context
image_is() { echo ".image.image=\"$REGISTRY/$1:1\""; }
refused() { # refused STATUS TEXT FILTER [POD FILTER]: CreateContainer is, in a pod p1
	local pod; pod=$(run_pod p1 "${4:-.}") || return
	fails "$1" "$2" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c "$3"),\"sandbox_config\":$(pod_json p1 "${4:-.}")}"
}
pod_refused() { fails "$1" "$2" RunPodSandbox "{\"config\":$(pod_json p1 "$3")}"; }
spec_of() { cri ContainerStatus "{\"container_id\":\"$1\",\"verbose\":true}" | jq -c '.info.info|fromjson|.runtimeSpec'; }
status_of() { grep -E "^($1):" | tr '\t' ' ' | tr -s ' '; }

everything() { # everything HANDLER: the main things, on one runtime
	pod=$(run_pod p1 '.dns_config={servers:["10.9.8.7"]}' "$1")
	c=$(run_ctr "$pod" p1 c1 "$(image_is user)|.working_dir=\"/here/it is\"|.envs=[{key:\"A\",value:\"request\"}]|$(sc '{run_as_user:{value:33},supplemental_groups:[7],no_new_privs:true,capabilities:{drop_capabilities:["KILL"]},seccomp:{profile_type:0},readonly_rootfs:true,masked_paths:["/proc/timer_list"],readonly_paths:["/proc/sys"]}')")
	[ "$(exec_ctr "$c" sh -c 'pwd; echo $A; id -u; id -G; hostname; cat /etc/resolv.conf')" = "$(printf '%s\n' '/here/it is' request 33 '33 7' p1 'nameserver 10.9.8.7')" ]
	out=$(exec_ctr "$c" cat /proc/1/status | status_of 'Cap...|NoNewPrivs|Seccomp'); exec=$(exec_ctr "$c" cat /proc/self/status | status_of 'Cap...|NoNewPrivs|Seccomp')
	[ "$out" = "$(printf '%s\n' 'CapInh: 0000000000000000' 'CapPrm: 0000000000000000' 'CapEff: 0000000000000000' 'CapBnd: 00000000000005db' 'CapAmb: 0000000000000000' 'NoNewPrivs: 1' 'Seccomp: 2')" ]
	[ "$exec" = "$out" ]
	run exec_ctr "$c" touch /x; [[ $output == *'Read-only file system'* ]]
	run exec_ctr "$c" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'; [ "$status" != 0 ]
	[ "$(exec_ctr "$c" sh -c 'cat /proc/keys /proc/timer_list | wc -c')" = 0 ]
	ps -eo args | grep -v grep | grep "conmon.*$c" | grep -q -- "-r [^ ]*/$1 "
}
@test "crun: the main things, of the container and of what runs in it later" { everything crun; }
@test "runc: the main things, of the container and of what runs in it later" { everything runc; }

@test "the default runtime is the handler of a pod that names none" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	ps -eo args | grep -v grep | grep "conmon.*$c" | grep -q -- "-r [^ ]*/$DEFAULT "
}

@test "command, args, entrypoint and cmd" {
	pod=$(run_pod p1)
	[ "$(says "$pod" p1 a "$(image_is user)")" = "entry point" ]
	[ "$(says "$pod" p1 b "$(image_is user)|.args=[\"x\"]")" = "entry x" ]
	[ "$(says "$pod" p1 c "$(image_is user)|.command=[\"echo\",\"c\"]")" = "c" ]
	[ "$(says "$pod" p1 d "$(image_is user)|.command=[\"echo\",\"c\"]|.args=[\"a b\",\"\"]" | tr ' ' _)" = "c_a_b_" ]
	image_of_nothing='.command=[]'
	[ "$(says "$pod" p1 e "$(image_is busybox)|$image_of_nothing|.args=[\"sh\",\"-c\",\"echo only args\"]")" = "only args" ]
}

@test "environment: node, image and request, the later over the earlier" {
	pod=$(run_pod p1)
	out=$(says "$pod" p1 a "$(image_is user)|.envs=[{key:\"B\",value:\"request\"},{key:\"Z\",value:\"x=y z\"},{key:\"E\",value:\"\"},{key:\"B\",value:\"last\"}]" env)
	grep -qx 'A=image' <<<"$out"; grep -qx 'B=last' <<<"$out"; grep -qx 'FROM_NODE=yes' <<<"$out"; grep -qx 'Z=x=y z' <<<"$out"
	grep -qx 'E=' <<<"$out"; grep -qx 'PATH=/bin' <<<"$out"; grep -qx 'HOSTNAME=p1' <<<"$out"; grep -qx 'TERM=xterm' <<<"$out"
	[ "$(grep -c '^B=' <<<"$out")" = 1 ]
	out=$(says "$pod" p1 b "$(image_is user)|.envs=[{key:\"A\",value:\"request\"}]" 'echo $A'); [ "$out" = request ]
}

@test "working directory: the image's, the request's, made when missing" {
	pod=$(run_pod p1)
	[ "$(says "$pod" p1 a "$(image_is user)" pwd)" = /made/by/image ]
	[ "$(says "$pod" p1 b "$(image_is user)|.working_dir=\"/other//made/../place\"" pwd)" = /other/place ]
	[ "$(says "$pod" p1 c . pwd)" = / ]
	[ "$(says "$pod" p1 d "$(image_is user)" 'ls -ldn /volume | cut -c1-10; stat -c %u:%g /volume')" = "$(printf 'drwxr-xr-x\n5000:5000')" ] # the image's VOLUME
}

@test "users and groups" {
	pod=$(run_pod p1)
	[ "$(says "$pod" p1 image "$(image_is user)" 'id -u; id -g; id -G')" = "$(printf '%s\n' 5000 5000 '5000 50000')" ]
	[ "$(says "$pod" p1 uid "$(image_is user)|$(sc '{run_as_user:{value:33}}')" 'id -u; id -g; id -G')" = "$(printf '%s\n' 33 33 33)" ]
	[ "$(says "$pod" p1 unknown "$(sc '{run_as_user:{value:1234}}')" 'id -u; id -g; whoami; grep -c :1234: /etc/passwd')" = "$(printf '%s\n' 1234 0 1234 1)" ]
	[ "$(says "$pod" p1 gid "$(sc '{run_as_user:{value:33},run_as_group:{value:99}}')" 'id -u; id -g; id -G')" = "$(printf '%s\n' 33 99 99)" ]
	[ "$(says "$pod" p1 name "$(sc '{run_as_username:"test",supplemental_groups:[111,222]}')" 'id -u; id -g; id -G')" = "$(printf '%s\n' 5000 5000 '5000 111 222 50000')" ]
	[ "$(says "$pod" p1 strict "$(sc '{run_as_username:"test",supplemental_groups:[111],supplemental_groups_policy:1}')" 'id -G')" = "5000 111" ]
	c=$(run_ctr "$pod" p1 status "$(sc '{run_as_username:"test",supplemental_groups:[111]}')")
	[ "$(ctr_field "$c" 'user.linux|[.uid,.gid]|map(tonumber)|join(" ")')" = "5000 5000" ]
	[ "$(ctr_field "$c" 'user.linux.supplemental_groups|map(tonumber)|join(" ")')" = "5000 50000 111" ]
	[ "$(exec_ctr "$c" id -G)" = "5000 111 50000" ]
	fails InvalidArgument "user group is specified without user" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json x "$(sc '{run_as_group:{value:5}}')"),\"sandbox_config\":$(pod_json p1)}"
}

@test "capabilities: defaults, added, dropped; nothing inheritable or ambient unless asked for" {
	pod=$(run_pod p1); get="grep -E 'Cap(Inh|Eff|Amb)' /proc/self/status | tr -d '\\t' | tr '\\n' ' '"
	i=CapInh:0000000000000000 a=CapAmb:0000000000000000
	[ "$(says "$pod" p1 default . "$get")" = "$i CapEff:00000000000005fb $a " ]
	[ "$(says "$pod" p1 add "$(sc '{capabilities:{add_capabilities:["NET_RAW","CAP_SYS_PTRACE"]}}')" "$get")" = "$i CapEff:00000000000825fb $a " ]
	[ "$(says "$pod" p1 drop "$(sc '{capabilities:{drop_capabilities:["ALL"]}}')" "$get")" = "$i CapEff:0000000000000000 $a " ]
	[ "$(says "$pod" p1 both "$(sc '{capabilities:{drop_capabilities:["all"],add_capabilities:["chown"]}}')" "$get")" = "$i CapEff:0000000000000001 $a " ]
	[ "$(says "$pod" p1 all "$(sc '{capabilities:{add_capabilities:["ALL"],drop_capabilities:["KILL"]}}')" "$get")" = \
		"$i CapEff:$(printf %016x $((0x$(awk '/CapBnd/ {print $2}' /proc/self/status) & ~32))) $a " ]
	[ "$(says "$pod" p1 user "$(sc '{run_as_user:{value:33}}')" "$get")" = "$i CapEff:0000000000000000 $a " ]
	[ "$(says "$pod" p1 amb "$(sc '{run_as_user:{value:33},capabilities:{add_capabilities:["NET_RAW"],add_ambient_capabilities:["NET_RAW"]}}')" "$get")" = \
		"CapInh:0000000000002000 CapEff:0000000000002000 CapAmb:0000000000002000 " ]
	fails InvalidArgument "NONSENSE" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json x "$(sc '{capabilities:{add_capabilities:["NONSENSE"]}}')"),\"sandbox_config\":$(pod_json p1)}"
}

@test "no_new_privs and seccomp: runtime default, unconfined, a file, none said" {
	pod=$(run_pod p1); get="echo \$(grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t') \$(unshare -U true 2>/dev/null && echo may || echo denied)"
	unshare -U true && may=may || may=denied
	[ "$(says "$pod" p1 nil . "$get")" = "NoNewPrivs:0 Seccomp:0 $may" ]
	[ "$(says "$pod" p1 unconfined "$(sc '{seccomp:{profile_type:1}}')" "$get")" = "NoNewPrivs:0 Seccomp:0 $may" ]
	[ "$(says "$pod" p1 default "$(sc '{seccomp:{profile_type:0},no_new_privs:true}')" "$get")" = "NoNewPrivs:1 Seccomp:2 denied" ]
	echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' >"$NODE/profile.json"
	[[ $(says "$pod" p1 file "$(sc "{seccomp:{profile_type:2,localhost_ref:\"$NODE/profile.json\"}}")" 'mkdir /x 2>&1; echo $?') == *'not permitted'*1 ]]
	fails InvalidArgument "" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json x "$(sc '{seccomp:{profile_type:2,localhost_ref:"relative.json"}}')"),\"sandbox_config\":$(pod_json p1)}"
}

@test "masked and read-only paths" {
	pod=$(run_pod p1)
	out=$(says "$pod" p1 a "$(sc '{masked_paths:["/proc/keys","/sys/firmware","/etc/group"],readonly_paths:["/proc/sys","/home"]}')" \
		'cat /etc/group | wc -c; ls /sys/firmware | wc -l; cat /proc/keys | wc -c; touch /home/x 2>&1; touch /root/x && echo ok')
	[[ $(grep -c '^0$' <<<"$out") = 3 && $out == *'/home/x: Read-only file system'*ok ]]
}

@test "a read-only root" {
	pod=$(run_pod p1)
	out=$(says "$pod" p1 a "$(sc '{readonly_rootfs:true}')" 'touch /x 2>&1; touch /etc/x 2>&1; touch /dev/shm/x && echo shm; cat /etc/hostname')
	[[ $out == *'/x: Read-only file system'*'/etc/x: Read-only file system'*shm*p1 ]]
}

@test "binds: read-write, read-only, a file, a link, a missing source" {
	mkdir -p "$NODE/vol"; echo one >"$NODE/vol/file"; ln -sfn "$NODE/vol" "$NODE/vol-link"; echo '10.1.1.1 from.kubelet' >"$NODE/hosts"
	pod=$(run_pod p1)
	m="[{container_path:\"/rw\",host_path:\"$NODE/vol\"},{container_path:\"/ro\",host_path:\"$NODE/vol-link\",readonly:true},{container_path:\"/a/b/file\",host_path:\"$NODE/vol/file\"},{container_path:\"/new\",host_path:\"$NODE/made-for-it/sub\"},{container_path:\"/etc/hosts\",host_path:\"$NODE/hosts\",readonly:true}]"
	c=$(run_ctr "$pod" p1 c1 ".mounts=$m")
	exec_ctr "$c" sh -c 'echo two >/rw/file; touch /new/x'
	[ "$(exec_ctr "$c" cat /a/b/file)" = two ]; [ "$(cat "$NODE/vol/file")" = two ]; [ -e "$NODE/made-for-it/sub/x" ]
	run exec_ctr "$c" touch /ro/x; [[ $output == *'Read-only file system'* ]]
	[ "$(exec_ctr "$c" cat /etc/hosts)" = '10.1.1.1 from.kubelet' ]
	[ "$(ctr_field "$c" 'mounts|map(.container_path)|sort|join(" ")')" = "/a/b/file /etc/hosts /new /ro /rw" ]
	[ "$(ctr_field "$c" 'mounts[]|select(.container_path=="/ro").readonly')" = true ]
	fails InvalidArgument "$NODE/must-exist: path does not exist" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json x ".mounts=[{container_path:\"/x\",host_path:\"$NODE/must-exist\"}]"),\"sandbox_config\":$(pod_json p1)}"
	[ ! -e "$NODE/must-exist" ]
	fails InvalidArgument "" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json x '.mounts=[{container_path:"/x",host_path:"relative"}]'),\"sandbox_config\":$(pod_json p1)}"
	fails InvalidArgument "" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json x ".mounts=[{container_path:\"\",host_path:\"$NODE/vol\"}]"),\"sandbox_config\":$(pod_json p1)}"
}

@test "mount propagation: private, from the host, both ways" {
	mkdir -p "$NODE/shared"; mount -t tmpfs shared "$NODE/shared"; mount --make-shared "$NODE/shared"; mkdir "$NODE/shared"/{in,out}
	priv='.linux.security_context.privileged=true'
	pod=$(run_pod p1 "$priv")
	row() { echo ".mounts=[{container_path:\"/m\",host_path:\"$NODE/shared\",propagation:$1}]|$priv"; }
	c0=$(run_ctr "$pod" p1 private "$(row 0)" "$priv"); c1=$(run_ctr "$pod" p1 host "$(row 1)" "$priv"); c2=$(run_ctr "$pod" p1 both "$(row 2)" "$priv")
	mount -t tmpfs hostmount "$NODE/shared/in"; touch "$NODE/shared/in/seen"
	run exec_ctr "$c0" ls /m/in/seen; [ "$status" != 0 ]
	exec_ctr "$c1" ls /m/in/seen; exec_ctr "$c2" ls /m/in/seen
	exec_ctr "$c1" mount -t tmpfs x /m/out; not mountpoint -q "$NODE/shared/out"
	exec_ctr "$c2" mount -t tmpfs x /m/out; mountpoint -q "$NODE/shared/out"
	umount "$NODE/shared/in" "$NODE/shared/out"
	# A mount that is not shared cannot be.
	mkdir -p "$NODE/vol"
	fails InvalidArgument "is not on a shared" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json x ".mounts=[{container_path:\"/x\",host_path:\"$NODE/vol\",propagation:2}]|$priv"),\"sandbox_config\":$(pod_json p1 "$priv")}"
}

@test "resolv.conf, host name, and the files that a pod shares" {
	pod=$(run_pod p1 '.dns_config={servers:["10.9.8.7","fd00::53"],searches:["a.example","b.example"],options:["ndots:5"]}')
	c=$(run_ctr "$pod" p1 c1)
	[ "$(exec_ctr "$c" cat /etc/resolv.conf)" = "$(printf '%s\n' 'search a.example b.example' 'nameserver 10.9.8.7' 'nameserver fd00::53' 'options ndots:5')" ]
	[ "$(exec_ctr "$c" sh -c 'hostname; cat /etc/hostname')" = "$(printf 'p1\np1')" ]
	exec_ctr "$c" test -e /run/.containerenv
}

@test "/dev/shm and ipc are the pod's; the size is 64 MiB or as annotated" {
	pod=$(run_pod p1); a=$(run_ctr "$pod" p1 a); b=$(run_ctr "$pod" p1 b)
	exec_ctr "$a" sh -c 'echo shared >/dev/shm/x'; [ "$(exec_ctr "$b" cat /dev/shm/x)" = shared ]
	[ "$(exec_ctr "$a" readlink /proc/self/ns/ipc)" = "$(exec_ctr "$b" readlink /proc/self/ns/ipc)" ]
	[ "$(exec_ctr "$a" readlink /proc/self/ns/ipc)" != "$(readlink /proc/self/ns/ipc)" ]
	[ "$(exec_ctr "$a" readlink /proc/self/ns/pid)" != "$(exec_ctr "$b" readlink /proc/self/ns/pid)" ]
	[ "$(exec_ctr "$a" df -k /dev/shm | awk 'NR == 2 {print $2}')" = 65536 ]
	big=$(run_pod p2 '.annotations={"io.kubernetes.cri-o.ShmSize":"16Mi"}'); c=$(run_ctr "$big" p2 c)
	[ "$(exec_ctr "$c" df -k /dev/shm | awk 'NR == 2 {print $2}')" = 16384 ]
	# A handler that does not allow the annotation leaves it out.
	no=$(run_pod p3 '.annotations={"io.kubernetes.cri-o.ShmSize":"16Mi"}' "$OTHER"); c=$(run_ctr "$no" p3 c)
	[ "$(exec_ctr "$c" df -k /dev/shm | awk 'NR == 2 {print $2}')" = 65536 ]
	pod_refused InvalidArgument "shm size" '.annotations={"shm-size.crio.io":"much"}|.metadata.name="p4"'
	pod_refused InvalidArgument "shm size" '.annotations={"io.kubernetes.cri-o.ShmSize":"0"}|.metadata.name="p4"'
}

@test "sysctls: in the pod's namespaces, never in the host's" {
	before=$(cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced)
	s='.linux.sysctls={"net.ipv4.ip_local_port_range":"1024 65000","kernel.shm_rmid_forced":"1","net/ipv4/ip_forward":"1"}'
	pod=$(run_pod p1 "$s"); c=$(create_ctr "$pod" p1 c1 . "$s"); start_ctr "$c"
	[ "$(exec_ctr "$c" cat /proc/sys/net/ipv4/ip_local_port_range | xargs)" = "1024 65000" ]
	[ "$(exec_ctr "$c" cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_forward | xargs)" = "1 1" ]
	[ "$(cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced)" = "$before" ]
	for s in '"kernel.core_pattern":"|/x"' '"net.ipv4.ip_forward":"1+kernel.core_pattern=x"' '"net.ipv4.ip_forward":"1\nx"' '"net..ipv4.x":"1"' '"net.ipv4.ip_forward":" 1"' '"net/../kernel/core_pattern":"x"' '"kernel.shm_rmid_forced=1+net.x":"1"'; do
		pod_refused InvalidArgument sysctl ".linux.sysctls={$s}|.metadata.name=\"bad\""
	done
	# Nothing of the refused is left.
	[ "$(cri ListPodSandbox '{}' | jq '.items|length')" = 1 ]
	# In the host's namespaces they are left out, with a word in the log: CRI-O runs such pods.
	run_pod hosts '.linux.sysctls={"net.ipv4.ip_local_port_range":"1025 65001","kernel.shm_rmid_forced":"1"}|.linux.security_context.namespace_options={network:2,ipc:2}'
	[ "$(cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced)" = "$before" ]
	log_has 'Skipping invalid sysctl.*ip_local_port_range.*host net'
	log_has 'Skipping invalid sysctl.*shm_rmid_forced.*host ipc'
}

@test "devices, and no others" {
	pod=$(run_pod p1)
	c=$(run_ctr "$pod" p1 c1 '.devices=[{container_path:"/dev/mine",host_path:"/dev/null",permissions:"rw"},{container_path:"/dev/look",host_path:"/dev/zero",permissions:"r"}]')
	exec_ctr "$c" sh -c 'echo x >/dev/mine'
	[ "$(exec_ctr "$c" sh -c 'head -c 3 /dev/look | wc -c')" = 3 ]
	run exec_ctr "$c" sh -c 'mknod /dev/kmsg2 c 1 11 && head -c 1 /dev/kmsg2'; [ "$status" != 0 ]
	[ "$(exec_ctr "$c" sh -c 'ls /dev | wc -l')" -lt 30 ]
	run create_ctr "$pod" p1 x '.devices=[{container_path:"/dev/x",host_path:"/dev/no-such-thing",permissions:"rw"}]'
	[ "$status" != 0 ]; [[ $output == */dev/no-such-thing* ]]
}

@test "privileged: only in a privileged pod; all rights, devices and a writable /sys" {
	priv='.linux.security_context.privileged=true'
	pod=$(run_pod p1)
	fails InvalidArgument "no privileged container allowed in sandbox" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json x "$priv"),\"sandbox_config\":$(pod_json p1)}"
	pod=$(run_pod p2 "$priv"); c=$(create_ctr "$pod" p2 c1 "$priv|$(sc '{seccomp:{profile_type:0},masked_paths:["/proc/kcore"]}')" "$priv"); start_ctr "$c"
	[ "$(exec_ctr "$c" cat /proc/1/status | status_of 'CapEff|CapInh|Seccomp' | xargs)" = "CapInh: 0000000000000000 CapEff: $(awk '/CapBnd/ {print $2}' /proc/self/status) Seccomp: 0" ]
	exec_ctr "$c" test -c /dev/kmsg
	exec_ctr "$c" grep -qE '^sysfs /sys sysfs rw' /proc/mounts
	exec_ctr "$c" sh -c 'mkdir /m && mount -t tmpfs x /m && umount /m'
	[ "$(cri ContainerStatus "{\"container_id\":\"$c\",\"verbose\":true}" | jq -r '.info.info|fromjson|.privileged')" = true ]
}

@test "limits of processes and resources" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	[ "$(cat "/sys/fs/cgroup/pids/pod_p1/crio-$c/pids.max")" = 77 ]
	[ "$(says "$pod" p1 c2 . 'ulimit -n; ulimit -Hn; ulimit -c' | xargs)" = "111 222 0" ]
	run exec_ctr "$c" sh -c 'for i in $(seq 100); do sleep 5 & done'
	[[ $output == *"can't fork"* || $status != 0 ]]
}

@test "oom_score_adj is given, or raised to what the daemon may give, said once" {
	pod=$(run_pod p1)
	[ "$(says "$pod" p1 up '.linux.resources={oom_score_adj:900}' 'cat /proc/self/oom_score_adj')" = 900 ]
	for i in 1 2; do got=$(says "$pod" p1 "down$i" '.linux.resources={oom_score_adj:-998}' 'cat /proc/self/oom_score_adj'); done
	if capsh --has-p=cap_sys_resource >/dev/null 2>&1 || [ $(((0x$(awk '/CapEff/ {print $2}' /proc/self/status) >> 24) & 1)) = 1 ]; then
		[ "$got" = -998 ]
	else
		[ "$got" = "$(cat /proc/self/oom_score_adj)" ]
		[ "$(grep -c 'CAP_SYS_RESOURCE: oom_score_adj' "$NODE/crio.log")" = 1 ]
	fi
}

@test "labels and annotations come back as they were given; long labels are refused" {
	l='{app:"x",empty:"","io.example/long.key":"ü ∀ \"quoted\" \\ back"}' a='{"example.com/a":"line one\nline two",json:"{\"k\":[1,2]}"}'
	pod=$(run_pod p1 ".labels=$l|.annotations=$a"); c=$(run_ctr "$pod" p1 c1 ".labels=$l|.annotations=$a")
	# A pod's come with the one that CRI-O adds, and the kubelet's names of the pod.
	[ "$(pod_field "$pod" labels | jq -c 'with_entries(select(.key | startswith("io.kubernetes.") | not))')" = "$(jq -nc "$l")" ]
	[ "$(pod_field "$pod" labels | jq -r '."io.kubernetes.container.name"')" = POD ]
	[ "$(pod_field "$pod" annotations | jq -c .)" = "$(jq -nc "$a")" ]
	[ "$(ctr_field "$c" labels | jq -c .)" = "$(jq -nc "$l")" ]; [ "$(ctr_field "$c" annotations | jq -c .)" = "$(jq -nc "$a")" ]
	[ "$(cri ListContainers '{}' | jq -c '.containers[0].labels')" = "$(jq -nc "$l")" ]
	fails InvalidArgument "label key and value greater than maximum size" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json x '.labels={big:("x"*4096)}'),\"sandbox_config\":$(pod_json p1)}"
}

@test "annotations that a runtime would act on do not reach it" {
	a='{"org.systemd.property.ExecStart":"x","run.oci.keep_original_groups":"1","run.oci.handler":"x","org.criu.config":"/x",harmless:"1"}'
	pod=$(run_pod p1 ".annotations=$a"); c=$(run_ctr "$pod" p1 c1 ".annotations=$a")
	spec_of "$c" | jq -e '.annotations|has("harmless")'
	[ "$(spec_of "$c" | jq -r '.annotations|keys[]' | grep -cE '^(org.systemd.property|run.oci|org.criu)')" = 0 ]
}

@test "verbose status: process id, runtime spec, sandbox" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	info=$(cri ContainerStatus "{\"container_id\":\"$c\",\"verbose\":true}" | jq -r .info.info)
	[ "$(jq -r .sandboxID <<<"$info")" = "$pod" ]; [ "$(jq -r .privileged <<<"$info")" = false ]
	[ "$(readlink "/proc/$(jq -r .pid <<<"$info")/ns/net")" = "$(exec_ctr "$c" readlink /proc/self/ns/net)" ]
	[ "$(jq -r .runtimeSpec.process.args[0] <<<"$info")" = sh ]
	[ "$(ctr_field "$c" image_id)" = "$(cri ImageStatus "{\"image\":{\"image\":\"$REGISTRY/busybox:1\"}}" | jq -r .image.id)" ]
	[[ $(ctr_field "$c" image_ref) == $REGISTRY/busybox@sha256:* || $(ctr_field "$c" image_ref) == "$(ctr_field "$c" image_id)" ]]
	[ "$(ctr_field "$c" log_path)" = "$NODE/log/p1/c1.log" ]
	[ "$(ctr_field "$c" image.image)" = "$REGISTRY/busybox:1" ]
}

@test "log paths stay in the pod's directory" {
	refused InvalidArgument "log path" '.log_path="../other.log"'
	pod_refused InvalidArgument "logDir" '.log_directory="/var/../x"|.metadata.name="p9"'
}

@test "stdin: open when asked for, else at its end" {
	pod=$(run_pod p1); open=$(run_ctr "$pod" p1 open '.command=["cat"]|.stdin=true'); shut=$(run_ctr "$pod" p1 shut '.command=["cat"]')
	wait_exit "$shut"; [ "$(ctr_field "$shut" exit_code)" = 0 ]
	[ "$(ctr_field "$open" state)" = CONTAINER_RUNNING ]
	tty=$(run_ctr "$pod" p1 tty '.tty=true'); [[ $(exec_ctr "$tty" readlink /proc/1/fd/0) == /dev/pts/* ]]
	# So do its execs, and all they say is on it.
	run exec_ctr "$tty" sh -c 'if [ -t 0 ] && [ -t 1 ] && [ -t 2 ]; then echo all three; fi; echo to stderr >&2; exit 4'
	[ "$status" = 4 ]; [ "$output" = $'all three\r\nto stderr\r' ]
	[ "$(exec_ctr "$tty" sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo 0123456789; done' | wc -c)" = 240001 ] # none is lost at the end; jq ends its line
}

@test "pods reach each other over the bridge, by both families" {
	a=$(run_pod a); b=$(run_pod b); c=$(run_ctr "$a" a c "$(sc '{capabilities:{add_capabilities:["NET_RAW"]}}')")
	exec_ctr "$c" ping -c 1 -W 2 "$(pod_field "$b" network.ip)"
	six=$(pod_field "$b" 'network.additional_ips[0].ip')
	node_wait 5 exec_ctr "$c" ping -6 -c 1 -W 1 "$six" # the address is tentative at first
	[ "$(exec_ctr "$c" ls /sys/class/net | xargs)" = "eth0 lo" ]
	exec_ctr "$c" ping -c 1 -W 1 127.0.0.1
	not exec_ctr "$c" ping -c 1 -W 1 10.85.250.250
}

@test "host ports reach the container" {
	port=$(node_free_port)
	m=".port_mappings=[{protocol:0,container_port:8080,host_port:$port},{container_port:9}]"
	pod=$(run_pod p1 "$m")
	c=$(create_ctr "$pod" p1 web '.command=["sh","-c","mkdir /www; echo served >/www/index.html; exec httpd -f -p 8080 -h /www"]' "$m"); start_ctr "$c"
	node_wait 5 curl -sf -m 2 "http://$(pod_field "$pod" network.ip):8080/"
	[ "$(curl -sf -m 5 "http://10.85.0.1:$port/")" = served ]
	stop_ctr "$c"; rm_pod "$pod"
	not curl -sf -m 1 "http://10.85.0.1:$port/"
	[ "$(iptables-save 2>/dev/null | grep -c -- "--dport $port ")" = 0 ]
}

@test "control bytes in names, HOME and host names are refused" {
	refused InvalidArgument HOME '.envs=[{key:"HOME",value:"/x\nroot:x:0:0::/:/bin/sh"}]'
	# A ':' is fine in the environment, but no line of passwd can say it.
	pod=$(run_pod p1)
	[ "$(says "$pod" p1 colon ".envs=[{key:\"HOME\",value:\"/a:b\"}]|$(sc '{run_as_user:{value:4321}}')" 'echo $HOME; tail -1 /etc/passwd')" = "$(printf '%s\n' /a:b '4321:x:4321:0:4321 user:/:/sbin/nologin')" ]
	refused InvalidArgument "environment" '.envs=[{key:"A\nB",value:"x"}]'
	refused InvalidArgument "" '.working_dir="/x\ny"'
	pod_refused InvalidArgument "host" '.hostname="a\nb"|.metadata.name="p9"'
	pod_refused InvalidArgument "host" '.hostname="a b"|.metadata.name="p9"'
	pod_refused InvalidArgument "host" '.hostname=("x"*65)|.metadata.name="p9"'
	pod_refused InvalidArgument "dns" '.dns_config={servers:["10.0.0.1\noptions x"]}|.metadata.name="p9"'
}

@test "user ids beyond the range are refused, and digits are never a name" {
	refused InvalidArgument "out of range" "$(image_is digits)"
	for u in -1 2147483648 4294967296; do refused InvalidArgument "out of range" "$(sc "{run_as_user:{value:$u}}")"; done
	refused InvalidArgument "out of range" "$(sc '{run_as_user:{value:1},run_as_group:{value:4294967296}}')"
	refused InvalidArgument "out of range" "$(sc '{supplemental_groups:[4294967296]}')"
	refused InvalidArgument "out of range" "$(sc '{run_as_username:"2147483648"}')"
	refused InvalidArgument "no user" "$(sc '{run_as_username:"nobody-such"}')"
}

@test "an image's passwd that is a FIFO or a link out of it is not followed" {
	SECONDS=0
	refused InvalidArgument "not a regular file" "$(image_is fifo)"; [ $SECONDS -lt 10 ]
	# "games" is a user of the node, not of the image.
	grep -q '^games:' "$NODE/passwd"; refused InvalidArgument "no user" "$(image_is link)"
	pod=$(run_pod p1)
	[ "$(says "$pod" p1 a "$(image_is link)|$(sc '{run_as_user:{value:33}}')" 'id -u; id -G' | xargs)" = "33 0" ]
}

@test "an image's links make nothing outside of it" {
	refused InvalidArgument "working directory" "$(image_is escape)"
	pod=$(run_pod p1)
	[[ $(says "$pod" p1 a "$(image_is escape2)" 'pwd; ls /work/; cat /etc/hostname') == "$NODE/outside/dir"*dir*mtab*vol*p1 ]]
	[ -z "$(ls -A "$NODE/outside")" ]
}
