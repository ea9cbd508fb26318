#!/usr/bin/env bats
# Pods with user namespaces: who is who, whose the files are, what is left. IDMAP_RUNTIME is an OCI runtime that says of itself (`features`)
# that it mounts volumes with mapped ids; Debian 12's do not, so that without one the volumes' tests are skipped.
load lib/cri.bash

mapped() { echo "[{container_id:0,host_id:$1,length:${2:-65536}}]"; }
# userns HOST [LENGTH] [GID HOST]: the pod's own filter.
userns() { echo ".linux.security_context.namespace_options.userns_options={mode:0,uids:$(mapped "$1" "${2:-65536}"),gids:$(mapped "${3:-$1}" "${2:-65536}")}"; }
# lines_of COMMAND...: as exec_ctr, its lines on one, with a blank after each.
lines_of() { local out; out=$(exec_ctr "$@") && tr '\n' ' ' <<<"$out"; }
map_of() { tr -s ' ' <"/proc/$1/$2" | sed 's/^ //'; }

setup_file() {
	if [ -n "${IDMAP_RUNTIME:-}" ]; then
		cat >"$NODE/etc/conf.d/10-idmap.conf" <<-EOT
		[crio.runtime.runtimes.idmap]
		runtime_path = "$IDMAP_RUNTIME"
		runtime_root = "$NODE/run/idmap"
		EOT
		mkdir -p "$NODE/run/idmap"
	fi
	cat >"$NODE/etc/conf.d/20-mode.conf" <<-EOT
	[crio.runtime.workloads.userns]
	activation_annotation = "userns-is-allowed"
	allowed_annotations = ["io.kubernetes.cri-o.userns-mode"]
	EOT
	printf 'other:300000:10\ncontainers:400000:200000\n' >"$NODE/subid"; for f in /etc/subuid /etc/subgid; do mount --bind "$NODE/subid" $f; done
	crio_start; pull >/dev/null; pull "$REGISTRY/twolayer:1" >/dev/null; pull "$REGISTRY/user:1" >/dev/null
}
teardown_file() { suite_end; }
setup() { CRIO_PID=$(cat "$NODE/crio.pid"); }
teardown() { remove_all_pods; [ -z "$(ls /var/run/userns)" ]; }
need_idmap() { [ -n "${IDMAP_RUNTIME:-}" ] || skip "IDMAP_RUNTIME names no runtime with id-mapped mounts"; }

# main HANDLER: what holds whichever runtime makes the container.
main() {
	local p c pid
	p=$(run_pod u1 "$(userns 200000 65536 300000)" "$1")
	c=$(run_ctr "$p" u1 c)
	pid=$(ctr_pid "$c")
	[ "$(map_of "$pid" uid_map)" = "0 200000 65536" ]; [ "$(map_of "$pid" gid_map)" = "0 300000 65536" ]
	[ "$(stat -c %u:%g "/proc/$pid")" = 200000:300000 ]
	[ "$(ls /var/run/userns | wc -l)" = 1 ]
	[ "$(stat -Lc %i "/proc/$pid/ns/user")" = "$(stat -Lc %i /var/run/userns/*)" ]
	# All of the image's files are root's inside, and nothing of the image was copied or changed for it.
	[ "$(exec_ctr "$c" sh -c 'stat -c %u:%g / /bin /bin/sh /etc | sort -u')" = 0:0 ]
	[ -z "$(find "$NODE"/root/overlay/*/diff -path '*/bin/*' -newer "$NODE/crio.pid" -user 200000)" ]
	# The pod's own files.
	[ "$(exec_ctr "$c" hostname)" = u1 ]; [ "$(exec_ctr "$c" cat /etc/hostname)" = u1 ]; exec_ctr "$c" cat /etc/resolv.conf >/dev/null
	[ "$(exec_ctr "$c" sh -c 'stat -c %u:%g /etc/hostname /etc/resolv.conf /run/.containerenv /dev/shm /etc/mtab | sort -u')" = 0:0 ]
	exec_ctr "$c" sh -c 'echo x >/dev/shm/f; echo y >/new; mkdir -p /a/b; chown 33:33 /a/b'
	[ "$(stat -c %u:%g "/proc/$pid/root/dev/shm/f" "/proc/$pid/root/new" | sort -u)" = 200000:300000 ]
	[ "$(stat -c %u:%g "/proc/$pid/root/a/b")" = 200033:300033 ]
	# A user other than root, in a directory that the image lacks.
	d=$(run_ctr "$p" u1 d '.linux.security_context.run_as_user={value:1000} | .linux.security_context.run_as_group={value:1001} | .working_dir="/srv/here"')
	[ "$(lines_of "$d" sh -c 'id -u; id -g')" = "1000 1001 " ]
	[ "$(stat -c %u:%g "/proc/$(ctr_pid "$d")")" = 201000:301001 ]
	[ "$(lines_of "$d" stat -c %u:%g /srv /srv/here)" = "0:0 0:0 " ]
	exec_ctr "$d" sh -c 'echo z >/dev/shm/of-1000'
	# Root there is nobody here: what belongs to the host's root stays its.
	[ "$(pod_field "$p" linux.namespaces.options.userns_options.uids[0].host_id)" = 200000 ]
	if exec_ctr "$c" sh -c 'echo 1 >/proc/sys/kernel/panic' 2>/dev/null; then false; fi
	# The other namespaces are the pod's user namespace's: its root may change them.
	exec_ctr "$c" hostname changed || [ "$(exec_ctr "$c" grep CapBnd /proc/self/status | grep -c 00000000)" = 1 ]
	rm_pod "$p"; [ -z "$(ls /var/run/userns)" ]
}

@test "crun: ids, owners, files, namespaces" { main crun; }
@test "runc: ids, owners, files, namespaces" { main runc; }
@test "a runtime with id-mapped mounts: ids, owners, files, namespaces" { need_idmap; main idmap; }

@test "two pods of one image with different ids, each with its own files; one without" {
	a=$(run_pod ua "$(userns 200000)"); b=$(run_pod ub "$(userns 500000 70000)"); n=$(run_pod un)
	ca=$(run_ctr "$a" ua c); cb=$(run_ctr "$b" ub c); cn=$(run_ctr "$n" un c)
	for c in "$ca" "$cb" "$cn"; do exec_ctr "$c" sh -c 'echo "$0" >>/etc/passwd; echo own >/own' "$c"; done
	for c in "$ca" "$cb" "$cn"; do [ "$(exec_ctr "$c" tail -1 /etc/passwd)" = "$c" ]; [ "$(lines_of "$c" stat -c %u:%g /etc/passwd /own)" = "0:0 0:0 " ]; done
	[ "$(stat -c %u "/proc/$(ctr_pid "$ca")/root/own" "/proc/$(ctr_pid "$cb")/root/own" "/proc/$(ctr_pid "$cn")/root/own" | tr '\n' ' ')" = "200000 500000 0 " ]
	[ "$(pod_field "$n" linux.namespaces.options.userns_options)" = null ]
	# Written down for other tools of the store.
	[ "$(jq -r --arg id "$cb" '.[]|select(.id==$id)|.uidmap[0].host_id' "$NODE/root/overlay-containers/containers.json")" = 500000 ]
}

@test "killed and started again: known, worked with, removed" {
	p=$(run_pod u1 "$(userns 200000)"); c=$(run_ctr "$p" u1 c)
	crio_kill; crio_start
	[ "$(pod_field "$p" linux.namespaces.options.userns_options.gids[0].length)" = 65536 ]
	[ "$(exec_ctr "$c" stat -c %u:%g /bin/sh)" = 0:0 ]; exec_ctr "$c" sh -c 'echo x >/after'
	[ "$(stat -c %u "/proc/$(ctr_pid "$c")/root/after")" = 200000 ]
	d=$(run_ctr "$p" u1 d); [ "$(map_of "$(ctr_pid "$d")" uid_map)" = "0 200000 65536" ]
	[ "$(stat -Lc %i "/proc/$(ctr_pid "$c")/ns/user")" = "$(stat -Lc %i "/proc/$(ctr_pid "$d")/ns/user")" ]
	stop_ctr "$c"; rm_ctr "$c"; crio_stop; crio_start; rm_pod "$p"; [ -z "$(ls /var/run/userns)" ]
}

@test "maps that cannot be are refused, and say why" {
	local o='.linux.security_context.namespace_options.userns_options='
	refused() { fails InvalidArgument "$1" RunPodSandbox "{\"config\":$(pod_json bad "$o$2")}"; }
	refused "no UID mappings" '{mode:0}'
	refused "no GID mappings" "{mode:0,uids:$(mapped 1000)}"
	refused "size 0" "{mode:0,uids:$(mapped 1000 0),gids:$(mapped 1000)}"
	refused "leave out container id 0" '{mode:0,uids:[{container_id:1,host_id:1000,length:5}],gids:[{container_id:1,host_id:1000,length:5}]}'
	refused "UID mappings overlap: container id 5" '{mode:0,uids:[{container_id:0,host_id:1000,length:10},{container_id:5,host_id:2000,length:10}],gids:[{container_id:0,host_id:1000,length:5}]}'
	refused "GID mappings overlap: host id 1005" '{mode:0,uids:[{container_id:0,host_id:1000,length:5}],gids:[{container_id:0,host_id:1000,length:10},{container_id:10,host_id:1005,length:10}]}'
	refused "beyond the last id" "{mode:0,uids:$(mapped 4294967290 100),gids:$(mapped 1000)}"
	refused 'unsupported pod mode: "CONTAINER"' "{mode:1,uids:$(mapped 1000),gids:$(mapped 1000)}"
	refused "at most 340" "{mode:0,uids:[range(341)|{container_id:.,host_id:(.+1000),length:1}],gids:$(mapped 1000)}"
	refused "bytes long, more than the kernel takes" "{mode:0,uids:[range(340)|{container_id:(.*10),host_id:(.*10+100000000),length:1}],gids:$(mapped 1000)}"
	# As many as fit are no problem.
	p=$(run_pod many "$o{mode:0,uids:[range(200)|{container_id:.,host_id:(.*2+100000),length:1}],gids:$(mapped 1000)}")
	c=$(run_ctr "$p" many c); [ "$(wc -l <"/proc/$(ctr_pid "$c")/uid_map")" = 200 ]; [ "$(exec_ctr "$c" stat -c %u /bin/sh)" = 0 ]
	# NODE is none.
	n=$(run_pod node "$o{mode:2}"); c=$(run_ctr "$n" node c); [ "$(map_of "$(ctr_pid "$c")" uid_map)" = "0 0 4294967295" ]
	[ "$(pod_field "$n" linux.namespaces.options.userns_options.mode)" = NODE ]
}

@test "host network, host IPC, shared process ids" {
	p=$(run_pod hn "$(userns 200000) | .linux.security_context.namespace_options.network=2"); c=$(run_ctr "$p" hn c '.linux.security_context.namespace_options.network=2')
	[ "$(map_of "$(ctr_pid "$c")" uid_map)" = "0 200000 65536" ]; exec_ctr "$c" ls /sys/class/net/lo >/dev/null; [ "$(exec_ctr "$c" stat -c %u /bin/sh)" = 0 ]
	rm_pod "$p"
	p=$(run_pod hi "$(userns 200000) | .linux.security_context.namespace_options.ipc=2"); c=$(run_ctr "$p" hi c '.linux.security_context.namespace_options.ipc=2')
	exec_ctr "$c" ls /dev/shm >/dev/null; [ ! -e /dev/mqueue ] || exec_ctr "$c" ls /dev/mqueue >/dev/null; rm_pod "$p"
	# With a process of its own: the pause image's root is mapped as well.
	p=$(run_pod sh "$(userns 200000) | .linux.security_context.namespace_options.pid=0"); c=$(run_ctr "$p" sh c '.linux.security_context.namespace_options.pid=0')
	exec_ctr "$c" ps | grep -q pause; [ "$(exec_ctr "$c" stat -c %u /proc/1)" = 0 ]
}

@test "sysctls: the pod's own; ping_group_range ends where its groups do" {
	p=$(run_pod s1 "$(userns 200000 1000) | .linux.sysctls={\"net.ipv4.ping_group_range\":\"0 2147483647\",\"net.ipv4.ip_local_port_range\":\"1024 65000\",\"kernel.shm_rmid_forced\":\"1\"}")
	c=$(run_ctr "$p" s1 c)
	[ "$(exec_ctr "$c" cat /proc/sys/net/ipv4/ping_group_range | tr -s '\t ' ' ')" = "0 999" ]
	[ "$(exec_ctr "$c" cat /proc/sys/net/ipv4/ip_local_port_range | tr -s '\t ' ' ')" = "1024 65000" ]; [ "$(exec_ctr "$c" cat /proc/sys/kernel/shm_rmid_forced)" = 1 ]
	fails InvalidArgument "group id 1000 is not in the pod's user namespace" RunPodSandbox \
		"{\"config\":$(pod_json s2 "$(userns 200000 1000) | .linux.sysctls={\"net.ipv4.ping_group_range\":\"0 1000\"}")}"
}

@test "the annotation: auto, private, and what they refuse" {
	local key='.annotations={"userns-is-allowed":""} | .annotations."io.kubernetes.cri-o.userns-mode"='
	a=$(run_pod a1 "$key\"auto\""); c=$(run_ctr "$a" a1 c)
	[ "$(map_of "$(ctr_pid "$c")" uid_map)" = "0 400000 65536" ]; [ "$(exec_ctr "$c" stat -c %u:%g /bin/sh)" = 0:0 ]
	# The next gets other ids; also when the daemon was away; and what is free again is used again.
	b=$(run_pod a2 "$key\"auto:size=1000\""); c=$(run_ctr "$b" a2 c); [ "$(map_of "$(ctr_pid "$c")" gid_map)" = "0 465536 1000" ]
	crio_kill; crio_start
	d=$(run_pod a3 "$key\"auto:size=10\""); c=$(run_ctr "$d" a3 c); [ "$(map_of "$(ctr_pid "$c")" uid_map)" = "0 466536 10" ]
	rm_pod "$b"; b=$(run_pod a2 "$key\"auto:size=1000\""); c=$(run_ctr "$b" a2 c); [ "$(map_of "$(ctr_pid "$c")" gid_map)" = "0 465536 1000" ]
	fails ResourceExhausted "not enough unused UIDs" RunPodSandbox "{\"config\":$(pod_json a4 "$key\"auto:size=140000\"")}"
	# Who the pod runs as keeps its id on the host.
	k=$(run_pod a5 "$key\"auto:keep-id=true;size=2000\" | .linux.security_context.run_as_user={value:1234}"); c=$(run_ctr "$k" a5 c '.linux.security_context.run_as_user={value:1234}')
	[ "$(stat -c %u "/proc/$(ctr_pid "$c")")" = 1234 ]; [ "$(exec_ctr "$c" id -u)" = 1234 ]
	m=$(run_pod a6 "$key\"auto:map-to-root=true;size=2000\" | .linux.security_context.run_as_user={value:1234}"); c=$(run_ctr "$m" a6 c '.linux.security_context.run_as_user={value:1234}')
	[ "$(stat -c %u "/proc/$(ctr_pid "$c")")" = 1234 ]; [ "$(exec_ctr "$c" id -u)" = 0 ]
	p=$(run_pod a7 "$key\"private:uidmapping=0:700000:1000,1000:900000:5;gidmapping=0:800000:2000\" | .linux.security_context.run_as_user={value:0}"); c=$(run_ctr "$p" a7 c)
	[ "$(map_of "$(ctr_pid "$c")" uid_map | tr '\n' ,)" = "0 700000 1000,1000 900000 5,1005 0 1," ]; [ "$(map_of "$(ctr_pid "$c")" gid_map)" = "0 800000 2000" ]
	refused() { fails InvalidArgument "$1" RunPodSandbox "{\"config\":$(pod_json bad "$key\"$2\"${3:-}")}"; }
	refused 'invalid userns mode: "host"' host
	refused 'cannot use both keep-id and map-to-root' 'auto:keep-id=true;map-to-root=true'
	refused 'if RunAsUser is not set' 'private:uidmapping=0:1000:10'
	refused 'minimum mappable ID is not set' 'private:uidmapping=0:1000:10' ' | .linux.security_context.run_as_user={value:5}'
	refused 'invalid argument: "size"' auto:size
	refused "is not container:host:size" 'auto:uidmapping=1:2' ' | .linux.security_context.run_as_user={value:0}'
	refused 'no userns mappings configured' private
	# Not allowed: taken away, so none.
	n=$(run_pod a8 '.annotations={"io.kubernetes.cri-o.userns-mode":"auto"}'); c=$(run_ctr "$n" a8 c); [ "$(map_of "$(ctr_pid "$c")" uid_map)" = "0 0 4294967295" ]
	# The CRI's word counts more.
	w=$(run_pod a9 "$key\"auto\" | $(userns 200000)"); c=$(run_ctr "$w" a9 c); [ "$(map_of "$(ctr_pid "$c")" uid_map)" = "0 200000 65536" ]
}

@test "volumes: the owner on the host stays" {
	need_idmap
	v=$NODE/vol; mkdir -p "$v"; echo old >"$v/old"; chown 5:6 "$v/old"; chmod 755 "$v"
	local maps="uidMappings:$(mapped 200000),gidMappings:$(mapped 200000)"
	p=$(run_pod v1 "$(userns 200000)" idmap)
	c=$(run_ctr "$p" v1 c ".mounts=[{container_path:\"/v\",host_path:\"$v\",$maps},{container_path:\"/ro\",host_path:\"$v\",readonly:true,$maps}]")
	[ "$(lines_of "$c" stat -c %u:%g /v /v/old)" = "0:0 5:6 " ]
	exec_ctr "$c" sh -c 'echo new >/v/new; echo u >/v/u; chown 1000:1000 /v/u'; [ "$(stat -c %u:%g "$v/new" "$v/u" | tr '\n' ' ')" = "0:0 1000:1000 " ]
	if exec_ctr "$c" sh -c 'echo x >/ro/x' 2>/dev/null; then false; fi
	# Only one half, or maps that overlap.
	bad() { fails InvalidArgument "$1" CreateContainer "{\"pod_sandbox_id\":\"$p\",\"config\":$(ctr_json bad ".mounts=[{container_path:\"/v\",host_path:\"$v\",$2}]"),\"sandbox_config\":$(pod_json v1)}"; }
	bad "no GID mappings" "uidMappings:$(mapped 200000)"; bad "size 0" "uidMappings:$(mapped 200000 0),gidMappings:$(mapped 1)"
	# A file system that cannot: the runtime says so, and nothing of the container is left.
	mkdir -p "$NODE/ramfs"; mount -t ramfs none "$NODE/ramfs"
	if out=$(create_ctr "$p" v1 r ".mounts=[{container_path:\"/v\",host_path:\"$NODE/ramfs\",$maps}]" 2>&1); then false; fi
	echo "$out"; [[ $out == *"$NODE/ramfs"* || $out == *mount_setattr* || $out == *idmap* ]]
	umount "$NODE/ramfs"; rmdir "$NODE/ramfs"; rm -r "$v"
}

@test "volumes on a runtime without id-mapped mounts are refused; without maps they are somebody else's" {
	v=$NODE/vol; mkdir -p "$v"; chmod 755 "$v"; p=$(run_pod v2 "$(userns 200000)" runc)
	fails InvalidArgument "idmap mounts specified but OCI runtime does not support them" CreateContainer \
		"{\"pod_sandbox_id\":\"$p\",\"config\":$(ctr_json c ".mounts=[{container_path:\"/v\",host_path:\"$v\",uidMappings:$(mapped 200000),gidMappings:$(mapped 200000)}]"),\"sandbox_config\":$(pod_json v2)}"
	c=$(run_ctr "$p" v2 c ".mounts=[{container_path:\"/v\",host_path:\"$v\"}]"); [ "$(exec_ctr "$c" stat -c %u /v)" = 65534 ]
	rm -r "$v"
}

@test "images as volumes belong to root" {
	p=$(run_pod iv "$(userns 200000)"); c=$(run_ctr "$p" iv c ".mounts=[{container_path:\"/image\",image:{image:\"$REGISTRY/twolayer:1\"},readonly:true}]")
	[ "$(exec_ctr "$c" sh -c 'stat -c %u:%g /image /image/* | sort -u')" = 0:0 ]
}

@test "Status says which handlers map ids, /info which ids all pods get" {
	cri Status '{}' | jq -e '.features.user_namespaces_host_network == true' >/dev/null
	[ "$(cri Status '{}' | jq '[.runtime_handlers[]|select(.name=="runc")|.features.user_namespaces // false][0]')" = false ]
	[ -z "${IDMAP_RUNTIME:-}" ] || [ "$(cri Status '{}' | jq '[.runtime_handlers[]|select(.name=="idmap")|.features.user_namespaces][0]')" = true ]
}

@test "uid_mappings and gid_mappings of the configuration: for pods that say nothing; minimum_mappable_uid" {
	crio_stop
	cat >"$NODE/etc/conf.d/30-map.conf" <<-EOT
	[crio.runtime]
	uid_mappings = "0:100000:65536"
	gid_mappings = "0:200000:65536"
	minimum_mappable_uid = 90000
	EOT
	crio_start
	p=$(run_pod m1); c=$(run_ctr "$p" m1 c); pid=$(ctr_pid "$c")
	[ "$(map_of "$pid" uid_map)" = "0 100000 65536" ]; [ "$(map_of "$pid" gid_map)" = "0 200000 65536" ]; [ "$(exec_ctr "$c" stat -c %u:%g /bin/sh)" = 0:0 ]
	curl -s --unix-socket "$NODE/run/crio.sock" http://x/info | jq -e '.default_id_mappings|.uids[0].host_id==100000 and .gids[0].host_id==200000' >/dev/null
	n=$(run_pod m2 '.linux.security_context.namespace_options.userns_options={mode:2}'); c=$(run_ctr "$n" m2 c); [ "$(map_of "$(ctr_pid "$c")" uid_map)" = "0 0 4294967295" ]
	fails InvalidArgument "not allowed to map UID range (80000-89999), below minimum mappable UID 90000" RunPodSandbox "{\"config\":$(pod_json m3 "$(userns 80000 10000)")}"
	remove_all_pods; crio_stop; sed -i 's/0:100000:65536/0:100000/' "$NODE/etc/conf.d/30-map.conf"
	if crio_cmd config >"$NODE/config.out" 2>&1; then false; fi; grep -q 'uid_mappings.*is not container:host:size' "$NODE/config.out"
	rm "$NODE/etc/conf.d/30-map.conf" "$NODE/config.out"; crio_start
}
