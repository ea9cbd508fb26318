#!/bin/bash
# selinux.sh: as suite.sh, in a node that boots with SELinux instead of AppArmor: permissive, with Debian's policy, to which container.cil
# adds the types that its lxc_contexts names. Labels are looked at where they are: in /proc and on files.
. /share/node.sh

has_selinux() {
	installs
	printf '[crio.runtime.runtimes.crun]\nallowed_annotations = ["try-skip-volume-selinux-label.crio.io"]\n' >/etc/crio/crio.conf.d/20-selinux.conf
	file_is /sys/fs/selinux/enforce 0; [ -s /etc/selinux/default/contexts/lxc_contexts ]; is "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" N
}
label_of() { tr -d '\0\n' <"/proc/$1/attr/current"; }
of_file() { stat -c %C "$@"; }
level_of() { cut -d: -f4- <<<"$1"; }
one() { # one POD-NAME NAME [FILTER]: a container that only waits
	run_ctr "$(cat "/tmp/$1.pod")" "$1" "$2" "${3:-.}"
}

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
	local c
	c=$(one crun s0 '.linux.security_context.selinux_options={level:"s0"}'); is "$(label_of "$(ctr_pid "$c")")" system_u:system_r:container_t:s0; rm_ctr "$c"
	c=$(one crun own '.linux.security_context.selinux_options={type:"container_kvm_t",level:"s0:c9,c7"}'); is "$(label_of "$(ctr_pid "$c")")" system_u:system_r:container_kvm_t:s0:c7,c9; rm_ctr "$c"
	# Who asks for no label has the daemon's own.
	local own; own=$(label_of "$(main_pid)")
	c=$(one crun ipc '.linux.security_context.namespace_options.ipc=2'); [ "$(label_of "$(ctr_pid "$c")")" != "$(cat /tmp/crun.label)" ]; rm_ctr "$c"
	jq -e '.process.selinuxLabel == null' /var/lib/containers/storage/overlay-containers/"$(one crun host '.linux.security_context.namespace_options.pid=2' | tee /tmp/host.ctr)"/userdata/config.json
	rm_ctr "$(cat /tmp/host.ctr)"
	if c=$(one crun bad '.linux.security_context.selinux_options={type:"nobody_has_this_t"}' 2>&1); then return 1; fi
	[[ $c == *"code = InvalidArgument"*"nobody_has_this_t"*"not known to the policy"* ]] || { echo "$c"; return 1; }
	echo "the daemon's own: $own"
}

vol=/var/lib/vol
with_vol() { echo ".mounts=[{host_path:\"$vol\",container_path:\"/vol\",selinux_relabel:$1}]|${2:-.}"; }
volumes() {
	local c f; f=system_u:object_r:container_file_t:$(level_of "$(cat /tmp/crun.label)")
	mkdir -p $vol/d; echo hello >$vol/d/file; ln -s /etc/passwd $vol/link; local before etc; before=$(of_file $vol/d/file) etc=$(of_file /etc/passwd)
	c=$(one crun v1 "$(with_vol false)"); rm_ctr "$c"; is "$(of_file $vol/d/file)" "$before"
	# The container is above what labels keep apart.
	c=$(one crun v2 "$(with_vol true '.linux.security_context.selinux_options={type:"spc_t"}')"); rm_ctr "$c"; is "$(of_file $vol/d/file)" "$before"
	c=$(one crun v3 "$(with_vol true)"); rm_ctr "$c"
	is "$(of_file $vol $vol/d $vol/d/file | sort -u)" "$f"; is "$(of_file /etc/passwd)" "$etc"
	# Something of the system's is refused.
	if c=$(one crun v4 '.mounts=[{host_path:"/usr",container_path:"/x",selinux_relabel:true}]' 2>&1); then return 1; fi
	[[ $c == *"relabeling of /usr is not allowed"* ]] || { echo "$c"; return 1; }
}
skips() { # the annotation, which crun's handler allows: a volume whose top is right is left alone
	local p c; chcon -t etc_t $vol/d/file
	p=$(run_pod skip '.annotations={"try-skip-volume-selinux-label.crio.io":"true"}|.linux.security_context.selinux_options={level:"'"$(level_of "$(cat /tmp/crun.label)")"'"}' crun); echo "$p" >/tmp/skip.pod
	c=$(one skip c "$(with_vol true)"); rm_ctr "$c"; [[ $(of_file $vol/d/file) == *:etc_t:* ]]
	chcon -t etc_t $vol; c=$(one skip c2 "$(with_vol true)"); rm_ctr "$c"; [[ $(of_file $vol/d/file) == *:container_file_t:* ]]
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
restarts() { # a restart knows them
	local c; c=$(cat /tmp/runc.ctr); systemctl restart crio; ready
	is "$(exec_ctr "$c" cat /proc/self/attr/current | tr -d '\0')" "$(cat /tmp/runc.label)"
	c=$(one runc again); is "$(label_of "$(ctr_pid "$c")")" "$(cat /tmp/runc.label)"; rm_ctr "$c"
	# Turned off: no labels for new ones.
	printf '[crio.runtime]\nselinux = false\n' | configure; systemctl restart crio; ready
	c=$(one runc off); jq -e '.process.selinuxLabel == null and .linux.mountLabel == null' /var/lib/containers/storage/overlay-containers/"$c"/userdata/config.json; rm_ctr "$c"
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
