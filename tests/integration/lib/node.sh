# node.sh: a node of our own for the demo and the suites: private namespaces, a registry on loopback, CNI, and crio itself.
# Sourced by bash. Everything lives below $NODE; node_stop takes all of it away again.
#
#	node_enter "$0" "$@"   once, first: re-executes the script inside a mount and network namespace of its own
#	node_start             registry, images, configuration; crio_start, crio_stop, crio_kill
#	crio_cmd, cri          the program with our configuration; a CRI call (cri METHOD JSON)
# Environment: CRIO (program), CRIO_PLUGINS (directory), CRI_CLIENT.

CNI_BIN=${CNI_BIN:-/usr/lib/cni}
. "$(dirname "${BASH_SOURCE[0]}")/leaks.bash"
# The same language, and the keys of objects come sorted: jq 1.6 reads its library at each start, which takes 19 ms of a processor, gojq's
# start 3 ms, and the suites call it ten thousand times.
jq() { gojq "$@"; }

# Who we are, in words that no other process ever has: pid, start time in ticks, pid namespace.
node_self() { echo "$$_$(node_birth $$)_$(readlink /proc/self/ns/pid | tr -dc 0-9)"; }
node_birth() { # node_birth PID: in ticks since boot; nothing of one that has ended
	local s; { read -r s <"/proc/$1/stat"; } 2>/dev/null || return 0
	read -ra s <<<"${s##*) }"; [[ ${s[0]} == [ZX] ]] || echo "${s[19]}"
}
# node_dead OWNER: it was of our pid namespace, and has ended. A look that fails is no sign of that.
node_dead() {
	local pid=${1%%_*} rest=${1#*_} birth
	[[ $1 =~ ^[0-9]+_[0-9]+_[0-9]+$ ]] && [ "${rest#*_}" = "$(readlink /proc/self/ns/pid | tr -dc 0-9)" ] || return 1
	[ -e "/proc/$pid" ] || return 0
	birth=$(node_birth "$pid") && [ "$birth" != "${rest%_*}" ]
}
node_rmcgroup() { find "$1" -depth -type d -exec rmdir {} + 2>/dev/null; [ ! -d "$1" ]; }
# What runs that were killed have left: cgroups below DIR, with what is in them; directories.
node_sweep_cgroups() {
	local d f p
	for d in "$1"/crio-node-*; do
		[ -d "$d" ] && node_dead "${d##*/crio-node-}" || continue
		find "$d" -name freezer.state 2>/dev/null | while read -r f; do echo THAWED >"$f" || true; done
		for p in $(find "$d" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u); do [ "$p" -le 1 ] || kill -KILL "$p" 2>/dev/null || true; done
		node_wait 2 node_rmcgroup "$d" || true
	done
}
node_sweep_dirs() {
	local d o
	for d in /var/tmp/crio-node.*; do
		o=$(cat "$d/owner" 2>/dev/null) && node_dead "$o" || continue
		rm -rf "$d" 2>/dev/null || { btrfs_cleanup "$d"; rm -rf "$d"; }
	done
}

# A mount namespace, so that what crio mounts and pins is gone with it, and crun does not see the hybrid cgroup2 tree that it
# refuses; a network namespace, so that bridges and masquerading never reach the machine's; cgroups of its own below those we are
# in, so that two nodes on one machine do not meet in /pod_x; a subreaper.
node_enter() {
	[ "${NODE_INSIDE:-}" = 1 ] && return 0
	[ "$(id -u)" = 0 ] || { echo "this needs root" >&2; exit 1; }
	local tini=() rc=0 d dirs=() cgroupns=(--cgroup) own; own=$(node_self); command -v tini >/dev/null && tini=(tini -s --)
	while IFS=: read -r _ d rc; do
		d=/sys/fs/cgroup/${d#name=}$rc; d=${d%/}
		[ -e "$d/notify_on_release" ] || continue
		node_sweep_cgroups "$d"; mkdir "$d/crio-node-$own" 2>/dev/null || continue
		case $d in /sys/fs/cgroup/cpuset*) cat "$d/cpuset.cpus" >"$d/crio-node-$own/cpuset.cpus"; cat "$d/cpuset.mems" >"$d/crio-node-$own/cpuset.mems" ;; esac
		dirs+=("$d/crio-node-$own")
	done </proc/self/cgroup
	[ ${#dirs[@]} -gt 0 ] || cgroupns=()
	node_sweep_dirs
	rc=0
	(
		for d in "${dirs[@]}"; do echo "$BASHPID" >"$d/cgroup.procs"; done
		NODE_INSIDE=1 NODE_CGROUPNS=${#dirs[@]} exec unshare --mount --net "${cgroupns[@]}" --propagation private -- "${tini[@]}" bash "$@"
	) || rc=$?
	for d in "${dirs[@]}"; do node_rmcgroup "$d"; done
	exit $rc
}

node_prepare_namespaces() {
	local d o
	# crun 1.8 refuses v1 controllers beside a cgroup2 tree, and makes directories where that tree would be.
	if mountpoint -q /sys/fs/cgroup/unified 2>/dev/null; then umount /sys/fs/cgroup/unified; mount -t tmpfs none /sys/fs/cgroup/unified; fi
	if [ "${NODE_CGROUPNS:-0}" -gt 0 ]; then
		for d in /sys/fs/cgroup/*/; do
			d=${d%/}; [ -e "$d/notify_on_release" ] && [ ! -L "$d" ] || continue
			o=${d##*/}; [ "$o" != systemd ] || o=none,name=systemd
			umount "$d" && mount -t cgroup -o "$o" cgroup "$d"
		done
	fi
	for d in netns ipcns utsns pidns userns; do
		mkdir -p /var/run/$d && mount -t tmpfs -o mode=755 "node-$d" /var/run/$d
	done
	ip link set lo up
	echo 1 >/proc/sys/net/ipv4/ip_forward 2>/dev/null || true
}

node_free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }

node_wait() { # node_wait SECONDS COMMAND...: until it succeeds
	local end=$((SECONDS + $1)); shift
	until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.05; done
}

registry_start() {
	REGISTRY_PORT=$(node_free_port); REGISTRY=127.0.0.1:$REGISTRY_PORT
	mkdir -p "$NODE/registry"
	cat >"$NODE/registry.yml" <<-EOF
	version: 0.1
	log: {level: error}
	storage: {filesystem: {rootdirectory: $NODE/registry}, delete: {enabled: true}}
	http: {addr: $REGISTRY}
	EOF
	docker-registry serve "$NODE/registry.yml" >"$NODE/registry.log" 2>&1 &
	REGISTRY_PID=$!
	node_wait 20 curl -sf "http://$REGISTRY/v2/" || { cat "$NODE/registry.log" >&2; return 1; }
}

node_push() { # node_push LAYOUT NAME[:TAG]
	skopeo copy -q --dest-tls-verify=false "oci:$NODE_IMAGES/$1:latest" "docker://$REGISTRY/$2"
}

node_config() {
	mkdir -p "$NODE"/{etc/conf.d,etc/plugins.d,cni,run,root,log,state} "$NODE/etc/registries.d"
	cat >"$NODE/cni/10-crio.conflist" <<-EOF
	{"cniVersion": "1.0.0", "name": "crio-test", "plugins": [
	 {"type": "bridge", "bridge": "crio0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
	  "ipam": {"type": "host-local", "dataDir": "$NODE/ipam",
	   "ranges": [[{"subnet": "10.85.0.0/16"}], [{"subnet": "fd00:85::/64"}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}},
	 {"type": "portmap", "capabilities": {"portMappings": true}, "snat": false}]}
	EOF
	cat >"$NODE/etc/registries.conf" <<-EOF
	unqualified-search-registries = ["$REGISTRY"]
	[[registry]]
	location = "$REGISTRY"
	insecure = true
	EOF
	echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$NODE/etc/policy.json"
	cat >"$NODE/etc/crio.conf" <<-EOF
	[crio]
	root = "$NODE/root"
	runroot = "$NODE/run/storage"
	log_dir = "$NODE/log/pods"
	storage_driver = "overlay"
	storage_option = []
	version_file = "$NODE/run/version"
	clean_shutdown_file = "$NODE/state/clean.shutdown"
	[crio.plugins]
	dir = "$CRIO_PLUGINS"
	options_dir = "$NODE/etc/plugins.d"
	state_dir = "$NODE/state/plugins"
	run_dir = "$NODE/run/plugins"
	[crio.api]
	listen = "$NODE/run/crio.sock"
	[crio.runtime]
	cgroup_manager = "cgroupfs"
	conmon_cgroup = "pod"
	default_runtime = "${DEFAULT_RUNTIME:-crun}"
	container_exits_dir = "$NODE/run/exits"
	container_attach_socket_dir = "$NODE/run/attach"
	namespaces_dir = "/var/run"
	hooks_dir = []
	[crio.runtime.runtimes.crun]
	runtime_path = "/usr/bin/crun"
	runtime_root = "$NODE/run/crun"
	[crio.runtime.runtimes.runc]
	runtime_path = "/usr/sbin/runc"
	runtime_root = "$NODE/run/runc"
	[crio.image]
	pause_image = "$REGISTRY/pause:1"
	signature_policy = "$NODE/etc/policy.json"
	[crio.network]
	network_dir = "$NODE/cni"
	plugin_dirs = ["$CNI_BIN"]
	EOF
	cat >"$NODE/etc/plugins.d/network-cni.conf" <<-EOF
	cache_dir = "$NODE/state/cni"
	EOF
}

# The program with this node's configuration.
crio_argv() {
	CRIO_ARGV=("$CRIO" -c "$NODE/etc/crio.conf" -d "$NODE/etc/conf.d" --registries-conf "$NODE/etc/registries.conf"
		--registries-conf-dir "$NODE/etc/registries.d")
}
crio_cmd() { crio_argv; "${CRIO_ARGV[@]}" "$@"; }

crio_start() { # crio_start [flags]; file descriptor 3 is bats' own
	crio_argv
	"${CRIO_ARGV[@]}" --log-level "${LOG_LEVEL:-debug}" "$@" >>"$NODE/crio.log" 2>&1 3>&- &
	CRIO_PID=$!; echo "$CRIO_PID" >"$NODE/crio.pid"
	node_wait 30 crio_ready || { echo "crio did not start:" >&2; tail -20 "$NODE/crio.log" >&2; return 1; }
	[ -n "${LEAKS_OFF:-}" ] || [ -e "$NODE/leaks.base" ] || leaks_base
}
# Also for a test that stops what setup_file, another process, has started: the pid is in a file, the zombie is not ours to reap.
crio_alive() { grep -qs "^State:.[^ZX]" "/proc/$1/status"; }
crio_ready() { crio_alive "$CRIO_PID" && [ -S "$NODE/run/crio.sock" ] && cri Version '{}'; }
crio_stop() {
	[ -s "$NODE/crio.pid" ] || return 0
	local pid i rc=0; pid=$(cat "$NODE/crio.pid")
	kill -TERM "$pid" 2>/dev/null || true
	for i in $(seq 200); do crio_alive "$pid" || break; sleep 0.05; done
	if crio_alive "$pid"; then kill -KILL "$pid"; echo "crio had to be killed" >&2; rc=1; fi
	i=0; wait "$pid" 2>/dev/null || i=$?
	[ $i = 0 ] || [ $i = 127 ] || rc=$i
	rm -f "$NODE/crio.pid"; CRIO_PID=; return $rc
}
crio_pid() { CRIO_PID=$(cat "$NODE/crio.pid"); }
crio_kill() {
	local pid; pid=$(cat "$NODE/crio.pid")
	kill -KILL "$pid"; wait "$pid" 2>/dev/null || true
	while crio_alive "$pid"; do sleep 0.02; done
	rm -f "$NODE/crio.pid"; CRIO_PID=
}

cri() { "$CRI_CLIENT" -s "$NODE/run/crio.sock" -t "${CRI_TIMEOUT:-60}" "$@"; }

node_start() { # node_start: everything but crio itself
	NODE=${NODE:-$(mktemp -d /var/tmp/crio-node.XXXXXX)}
	node_self >"$NODE/owner"
	node_prepare_namespaces; node_mounted >"$NODE/mounts"
	NODE_IMAGES=${NODE_IMAGES:-$NODE/images}
	[ -d "$NODE_IMAGES/busybox" ] || "$FIXTURES/images.sh" "$NODE_IMAGES"
	registry_start
	local i; for i in busybox pause twolayer user; do node_push $i $i:1; done
	node_config
}

node_stop() {
	crio_stop || true
	[ -z "${REGISTRY_PID:-}" ] || { kill "$REGISTRY_PID" 2>/dev/null; wait "$REGISTRY_PID" 2>/dev/null; }
	# What a failed test left: processes of its containers and monitors, mounts, cgroups.
	local m; pkill -KILL -f "$NODE/" 2>/dev/null || true
	for m in $(awk -v n="$NODE/" 'index($5, n) == 1 {print $5}' /proc/self/mountinfo | sort -r); do umount -l "$m" 2>/dev/null || true; done
	local w=${NODE_KEEP:-}; [ -n "$w" ] || rm -rf "$NODE" 2>/dev/null || { btrfs_cleanup "$NODE"; rm -rf "$NODE"; }
}
btrfs_cleanup() { local d; find "$1" -inum 256 -type d 2>/dev/null | sort -r | while read -r d; do btrfs subvolume delete "$d" >/dev/null 2>&1 || true; done; }

node_mounted() { awk '{print $5, $9, $10}' /proc/self/mountinfo | grep -v ' proc '; }
# With those of somebody else on this machine, which were here before us and go from here when he removes their directories.
node_mounts() {
	local dir what
	{ node_mounted; while read -r dir what; do [ -e "$dir" ] || echo "$dir $what"; done <"$NODE/mounts"; } | sort
}
# What is there of everything a pod can leave behind. Two of these are compared.
node_snapshot() {
	local p records=()
	echo "# mounts"; node_mounts
	echo "# pinned namespaces"; find /var/run/netns /var/run/ipcns /var/run/utsns /var/run/pidns /var/run/userns -mindepth 1 2>/dev/null | sort
	echo "# links"; ip -o link | sed 's/^[0-9]*: //; s/@.*//; s/:.*//' | grep -v '^crio0$' | sort
	echo "# addresses"; find "$NODE/ipam" -type f ! -name lock ! -name 'last_reserved_ip*' 2>/dev/null | sort
	echo "# cgroups"; find /sys/fs/cgroup -path '*/unified' -prune -o -type d \( -name 'crio-*' -o -name 'pod_*' \) -print 2>/dev/null | sort
	echo "# processes"; ps -eo args= | grep -E "conmon .*$NODE|containerd-shim.*$NODE" | grep -v grep | sort
	echo "# records"; for p in "$NODE"/root/*-{containers/containers,images/images,layers/layers}.json; do [ ! -e "$p" ] || records+=("$p"); done
	[ ${#records[@]} = 0 ] || jq -r 'select(length > 0) | "\(input_filename) \(length)"' "${records[@]}" | sed "s|^$NODE/||"
	echo "# files"; (cd "$NODE" && find run root state log -mindepth 1 \( -path 'root/overlay/l/*' -o -type s -o -name '*.lock' -o -name lastwrite \
		-o -name containers.json -o -name images.json -o -name layers.json -o -name mountpoints.json \) -prune -o -print 2>/dev/null |
		grep -vE '^(run/(storage[^/]*(/[a-z]+-(containers|layers))?|exits|attach|crun|runc|evil|nomon|plugins(/[a-z-]+(/[^/]+)?)?)|root/(overlay|btrfs|crio|vfs)[^/]*(/l)?|state/(plugins|cni|cni/results)|log/pods)$' | sort)
}
