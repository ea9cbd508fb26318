#!/bin/bash
# peers.sh: the daemons that crio is measured against, on the node that node.sh made. Sourced by run.sh.
#
#	peer_start    starts PEER: containerd (Debian's), or cri-o, the program in CRI_O with its pinns in CRI_O_PINNS
#	PEER_SOCKET, PEER_PID_FILE, PEER_COMMAND    its socket, its pid, and what starts it again
# CRUN is the runtime on both sides.

peer() { "$CRI_CLIENT" -s "$PEER_SOCKET" -t 120 "$@"; }

containerd_config() {
	cat >"$NODE/containerd.toml" <<-T
	version = 2
	root = "$NODE/root/containerd"
	state = "$NODE/run/containerd"
	disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
	[grpc]
	  address = "$PEER_SOCKET"
	[plugins."io.containerd.grpc.v1.cri"]
	  sandbox_image = "$REGISTRY/pause:1"
	  restrict_oom_score_adj = true
	  disable_apparmor = true
	  [plugins."io.containerd.grpc.v1.cri".cni]
	    bin_dir = "$CNI_BIN"
	    conf_dir = "$NODE/cni"
	  [plugins."io.containerd.grpc.v1.cri".containerd]
	    default_runtime_name = "crun"
	    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]
	      runtime_type = "io.containerd.runc.v2"
	      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun.options]
	        BinaryName = "$CRUN"
	  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."$REGISTRY"]
	    endpoint = ["http://$REGISTRY"]
	T
	PEER_COMMAND="containerd -c $NODE/containerd.toml"
}

cri_o_config() {
	mkdir -p "$NODE/peer"/{root,run,state,empty}
	cat >"$NODE/peer/crio.conf" <<-T
	[crio]
	root = "$NODE/peer/root"
	runroot = "$NODE/peer/run/storage"
	log_dir = "$NODE/peer/log"
	storage_driver = "overlay"
	version_file = "$NODE/peer/run/version"
	clean_shutdown_file = "$NODE/peer/state/clean.shutdown"
	[crio.api]
	listen = "$PEER_SOCKET"
	[crio.runtime]
	cgroup_manager = "cgroupfs"
	conmon_cgroup = "pod"
	default_runtime = "crun"
	pinns_path = "$CRI_O_PINNS"
	container_exits_dir = "$NODE/peer/run/exits"
	container_attach_socket_dir = "$NODE/peer/run/attach"
	namespaces_dir = "/var/run"
	hooks_dir = []
	[crio.runtime.runtimes.crun]
	runtime_path = "$CRUN"
	runtime_root = "$NODE/peer/run/crun"
	[crio.image]
	pause_image = "$REGISTRY/pause:1"
	signature_policy = "$NODE/etc/policy.json"
	[crio.network]
	network_dir = "$NODE/cni"
	plugin_dirs = ["$CNI_BIN"]
	[crio.nri]
	enable_nri = false
	T
	PEER_COMMAND="env CONTAINERS_REGISTRIES_CONF=$NODE/etc/registries.conf $CRI_O -c $NODE/peer/crio.conf -d $NODE/peer/empty --registries-conf $NODE/etc/registries.conf --log-level warn"
}

# A command that starts COMMAND in the background and leaves its pid in FILE.
in_background() { # in_background COMMAND FILE LOG
	echo "setsid $1 >>$3 2>&1 </dev/null & echo \$! >$2"
}

peer_start() {
	PEER_SOCKET=$NODE/run/peer.sock PEER_PID_FILE=$NODE/peer.pid
	case ${PEER:=containerd} in
	containerd) containerd_config ;;
	cri-o) cri_o_config ;;
	*) echo "no such peer: $PEER" >&2; return 1 ;;
	esac
	PEER_COMMAND=$(in_background "$PEER_COMMAND" "$PEER_PID_FILE" "$NODE/peer.log")
	sh -c "$PEER_COMMAND"
	node_wait 60 peer Version '{}' || { tail -5 "$NODE/peer.log" >&2; return 1; }
}

peer_stop() {
	local pid; pid=$(cat "$NODE/peer.pid" 2>/dev/null) || return 0
	kill "$pid" 2>/dev/null || return 0
	node_wait 20 peer_ended "$pid" || kill -KILL "$pid"
}
peer_ended() { ! crio_alive "$1"; }
