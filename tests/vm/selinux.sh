#!/bin/bash
# selinux.sh: as suite.sh, in a node that boots with SELinux instead of AppArmor: permissive, with Debian's policy, to which container.cil
# adds the types that its lxc_contexts names. Labels are looked at where they are: in /proc and on files.
. /share/node.sh

has_selinux() {
	installs
	printf '[crio.runtime.runtimes.crun]\nallowed_annotations = ["try-skip-volume-selinux-label.crio.io"]\n' >/etc/crio/crio.conf.d/20-selinux.conf
	echo 'init_process = "system_u:system_r:container_init_t:s0"' >>/etc/selinux/default/contexts/lxc_contexts # Debian's has none for systemd
	file_is /sys/fs/selinux/enforce 0; [ -s /etc/selinux/default/contexts/lxc_contexts ]; is "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" N
}
label_of() { tr -d '\0\n' <"/proc/$1/attr/current"; }
of_file() { stat -c %C "$@"; }
level_of() { cut -d: -f4- <<<"$1"; }
one() { # one POD-NAME NAME [FILTER]: a container that only waits
	run_ctr "$(cat "/tmp/$1.pod")" "$1" "$2" "${3:-.}"
}
# made: the same, created and not started; spec_of ID: what the runtime was told
made() { cri -r container_id CreateContainer "{\"pod_sandbox_id\":\"$(cat "/tmp/$1.pod")\",\"config\":$(ctr_json "$2" "$wait_cmd|${3:-.}"),\"sandbox_config\":$(pod_json "$1" "$(in_slice "$1")")}"; }
spec_of() { jq -r '.process.selinuxLabel, .linux.mountLabel' "/var/lib/containers/storage/overlay-containers/$1/userdata/config.json" | paste -sd' '; }

labels() { # labels HANDLER: the processes and files of a pod
	local p c l f pid; p=$(run_pod "$1" . "$1"); echo "$p" >"/tmp/$1.pod"
	c=$(one "$1" c); echo "$c" >"/tmp/$1.ctr"; pid=$(ctr_pid "$c"); l=$(label_of "$pid"); echo "$l" >"/tmp/$1.label"
	[[ $l =~ ^system_u:system_r:container_t:s0:c[0-9]+,c[0-9]+$ ]] || { echo "the process has '$l'"; return 1; }
	f=system_u:object_r:container_file_t:$(level_of "$l")
	is "$(cd "/proc/$pid/root" && of_file . bin etc/resolv.conf etc/hostname run/.containerenv dev/shm | sort -u)" "$f"
	is "$(exec_ctr "$c" cat /proc/self/attr/current | tr -d '\0')" "$l"
	exec_ctr "$c" sh -c 'echo x >/made && echo x >/dev/shm/made'; is "$(of_file "/proc/$pid/root/made")" "$f"
	jq -e --arg l "$l" --arg f "$f" '.process.selinuxLabel == $l and .linux.mountLabel == $f' /var/lib/containers/storage/overlay-containers/"$c"/userdata/config.json
	jq -e --arg c "$c" --arg l "$l" --arg f "$f" '.[] | select(.id == $c).flags | .ProcessLabel == $l and .MountLabel == $f' /var/lib/containers/storage/overlay-containers/containers.json
}
differ() { [ "$(cat /tmp/crun.label)" != "$(cat /tmp/runc.label)" ]; }

choices() { # what a container asks for, what it is, and where it is
	local c f=system_u:object_r:container_file_t
	c=$(made crun s0 '.linux.security_context.selinux_options={level:"s0"}'); is "$(spec_of "$c")" "system_u:system_r:container_t:s0 $f:s0"; rm_ctr "$c"
	c=$(one crun own '.linux.security_context.selinux_options={type:"container_kvm_t",level:"s0:c9,c7"}'); is "$(label_of "$(ctr_pid "$c")")" system_u:system_r:container_kvm_t:s0:c7,c9; rm_ctr "$c"
	c=$(made crun init '.command=["/sbin/init"]|.mounts=[{host_path:"/bin/busybox",container_path:"/sbin/init"}]'); is "$(spec_of "$c")" "$(sed s/container_t/container_init_t/ /tmp/crun.label) $f:$(level_of "$(cat /tmp/crun.label)")"; rm_ctr "$c"
	# Who asks for no label has the daemon's own.
	c=$(made crun host '.linux.security_context.namespace_options.pid=2'); is "$(spec_of "$c")" "null null"; rm_ctr "$c"
	local net='.linux.security_context.namespace_options.network=2'; run_pod hn "$net|.hostname=\"\"" >/tmp/hn.pod
	c=$(made hn c "$net"); [[ "$(spec_of "$c")" == "null $f:s0:c"* ]] || { spec_of "$c"; return 1; }; rm_pod "$(cat /tmp/hn.pod)"
	if c=$(made crun bad '.linux.security_context.selinux_options={type:"nobody_has_this_t"}' 2>&1); then return 1; fi
	[[ $c == *"code = InvalidArgument"*"nobody_has_this_t"*"not known to the policy"* ]] || { echo "$c"; return 1; }
}

vol=/var/lib/vol
with_vol() { echo ".mounts=[{host_path:\"$vol\",container_path:\"/vol\",selinux_relabel:$1}]|${2:-.}"; }
volumes() {
	local c f; f=system_u:object_r:container_file_t:$(level_of "$(cat /tmp/crun.label)")
	mkdir -p $vol/d; echo hello >$vol/d/file; ln -s /etc/passwd $vol/link; local before etc; before=$(of_file $vol/d/file) etc=$(of_file /etc/passwd)
	c=$(made crun v1 "$(with_vol false)"); rm_ctr "$c"; is "$(of_file $vol/d/file)" "$before"
	# The container is above what labels keep apart.
	c=$(made crun v2 "$(with_vol true '.linux.security_context.selinux_options={type:"spc_t"}')"); rm_ctr "$c"; is "$(of_file $vol/d/file)" "$before"
	c=$(made crun v3 "$(with_vol true)"); rm_ctr "$c"
	is "$(of_file $vol $vol/d $vol/d/file | sort -u)" "$f"; is "$(of_file /etc/passwd)" "$etc"
	# Something of the system's is refused.
	if c=$(made crun v4 '.mounts=[{host_path:"/usr",container_path:"/x",selinux_relabel:true}]' 2>&1); then return 1; fi
	[[ $c == *"relabeling of /usr is not allowed"* ]] || { echo "$c"; return 1; }
}
skips() { # the annotation, which crun's handler allows: a volume whose top is right is left alone
	local p c; chcon -t etc_t $vol/d/file
	p=$(run_pod skip '.annotations={"try-skip-volume-selinux-label.crio.io":"true"}|.linux.security_context.selinux_options={level:"'"$(level_of "$(cat /tmp/crun.label)")"'"}' crun); echo "$p" >/tmp/skip.pod
	c=$(made skip c "$(with_vol true)"); rm_ctr "$c"; [[ $(of_file $vol/d/file) == *:etc_t:* ]]
	chcon -t etc_t $vol; c=$(made skip c2 "$(with_vol true)"); rm_ctr "$c"; [[ $(of_file $vol/d/file) == *:container_file_t:* ]]
	rm_pod "$p"
}
enforced() { # two levels, one volume: the policy is asked, not only the label looked at
	local a b; a=$(one crun e1 "$(with_vol true)"); b=$(one runc e2 "$(with_vol false)")
	setenforce 1
	local ok=0; exec_ctr "$a" sh -c 'cat /vol/d/file && echo more >>/vol/d/file' >/tmp/mine 2>&1 || ok=1
	local no=0; exec_ctr "$b" cat /vol/d/file >/tmp/other 2>&1 || no=1
	local made=0; exec_ctr "$b" sh -c 'echo x >/own && cat /own' >/tmp/made 2>&1 || made=1
	setenforce 0
	is $ok 0 || { cat /tmp/mine; echo "the daemon is $(label_of "$(main_pid)")"; return 1; }; is "$(head -1 /tmp/mine)" hello
	is $no 1; grep -qi 'permission denied' /tmp/other || { cat /tmp/other; return 1; }
	is $made 0 || { cat /tmp/made; return 1; }
	rm_ctr "$a"; rm_ctr "$b"
}
restarts() { # a restart knows them; turned off, new ones have none
	local c; c=$(cat /tmp/runc.ctr); printf '[crio.runtime]\nhostnetwork_disable_selinux = false\n' | configure; systemctl restart crio; ready
	is "$(exec_ctr "$c" cat /proc/self/attr/current | tr -d '\0')" "$(cat /tmp/runc.label)"
	c=$(made runc again); is "$(spec_of "$c")" "$(cat /tmp/runc.label) system_u:object_r:container_file_t:$(level_of "$(cat /tmp/runc.label)")"; rm_ctr "$c"
	printf '[crio.runtime]\nselinux = false\n' | configure; systemctl restart crio; ready
	c=$(made runc off); is "$(spec_of "$c")" "null null"; rm_ctr "$c"
}

t "SELinux: the node has it, with a policy that knows containers" has_selinux
t "SELinux: the daemon starts and says what containers run as" starts
for h in crun runc; do t "SELinux, $h: processes and files of a pod have its own level" labels $h; done
t "SELinux: two pods have two levels" differ
t "SELinux: what a container asks for; none for who shares the host's namespaces; a type that nobody knows" choices
t "SELinux: volumes are labelled when the request wants it, for their pod" volumes
t "SELinux: the annotation that leaves a volume alone whose top is right" skips
t "SELinux, enforcing: a volume of another level cannot be read" enforced
t "SELinux: labels over a restart, and selinux = false" restarts
t "SELinux: nothing is left" nothing_left
echo "1..$n"
[ $failed = 0 ]
