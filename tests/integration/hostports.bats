#!/usr/bin/env bats
# Ports of the host that lead to pods: TCP, UDP, IPv4, IPv6, one address, from outside, from the host, from the pod itself; through nftables
# and, where nft is not there, iptables.
load lib/cri.bash

setup_file() {
	crio_start; pull >/dev/null
	# A host of its own outside, joined to the node by a cable.
	unshare --net sleep 10000 3>&- & echo $! >"$NODE/outside.pid"
	node_wait 5 other_net
	ip link add cable type veth peer name cable netns "$(cat "$NODE/outside.pid")"
	ip addr add 10.99.0.1/24 dev cable; ip addr add 10.99.0.3/24 dev cable; ip -6 addr add fd00:99::1/64 dev cable nodad; ip link set cable up
	outside ip link set lo up; outside ip addr add 10.99.0.2/24 dev cable; outside ip -6 addr add fd00:99::2/64 dev cable nodad; outside ip link set cable up
	outside ip route add default via 10.99.0.1; outside ip -6 route add default via fd00:99::1
	echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
}
teardown_file() {
	kill "$(cat "$NODE/outside.pid")"; ip link del cable 2>/dev/null || true; rm -f "$NODE/outside.pid"; rm -rf "$NODE/nonft"
	nft delete table ip crio-hostports 2>/dev/null || true; nft delete table ip6 crio-hostports 2>/dev/null || true
	suite_end
}
setup() { CRIO_PID=$(cat "$NODE/crio.pid"); }
teardown() { remove_all_pods; }
other_net() { [ "$(readlink "/proc/$(cat "$NODE/outside.pid")/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
outside() { nsenter --net="/proc/$(cat "$NODE/outside.pid")/ns/net" "$@"; }
ports() { echo ".port_mappings=[$1]"; }
# A pod whose name is what it serves on port 80.
serve() { # serve NAME FILTER: pod id
	local p; p=$(run_pod "$1" "$2") || return
	run_ctr "$p" "$1" web '.command=["sh","-c","mkdir -p /w; hostname >/w/index.html; httpd -p 80 -h /w; trap \"exit 0\" TERM; while :; do sleep 0.05; done"]' "$2" >/dev/null || return
	echo "$p"
}
get() { curl -sfg -m 3 "$1"; }
said() { [ "$(outside curl -sfg -m 3 "$1")" = "$2" ]; }
elements() { { nft list table ip crio-hostports; nft list table ip6 crio-hostports; } 2>/dev/null | grep -c comment.*: || true; }

@test "TCP on all addresses: from outside, from the host, from the pod itself, by IPv4 and IPv6" {
	p=$(serve h1 "$(ports '{host_port:8081,container_port:80}')")
	node_wait 5 said http://10.99.0.1:8081/ h1
	said http://10.99.0.3:8081/ h1; said 'http://[fd00:99::1]:8081/' h1
	[ "$(get http://10.99.0.1:8081/)" = h1 ]; [ "$(get 'http://[fd00:99::1]:8081/')" = h1 ]
	c=$(cri ListContainers '{}' | jq -r '.containers[0].id')
	[ "$(exec_ctr "$c" wget -q -O - http://10.99.0.1:8081/)" = h1 ]
	# Those of the pod alone are gone with it, and the port can be had again.
	q=$(serve h1b "$(ports '{host_port:8082,container_port:80}')"); node_wait 5 said http://10.99.0.1:8082/ h1b
	rm_pod "$p"; if said http://10.99.0.1:8081/ h1; then false; fi
	said http://10.99.0.1:8082/ h1b
	serve h1c "$(ports '{host_port:8081,container_port:80}')" >/dev/null; node_wait 5 said http://10.99.0.1:8081/ h1c
}

@test "one address of the host only, and the same port for two pods on two addresses" {
	serve h2 "$(ports '{host_port:8083,container_port:80,host_ip:"10.99.0.1"}')" >/dev/null
	serve h2b "$(ports '{host_port:8083,container_port:80,host_ip:"10.99.0.3"}')" >/dev/null
	node_wait 5 said http://10.99.0.1:8083/ h2; node_wait 5 said http://10.99.0.3:8083/ h2b
	if outside curl -sfg -m 2 'http://[fd00:99::1]:8083/'; then false; fi
}

@test "a port that another pod has is refused, and nothing is left of the pod" {
	serve h3 "$(ports '{host_port:8084,container_port:80}')" >/dev/null
	n=$(elements)
	fails AlreadyExists 8084 RunPodSandbox "{\"config\":$(pod_json h3b "$(ports '{host_port:8085,container_port:80},{host_port:8084,container_port:80}')")}"
	[ "$(elements)" = "$n" ]; [ "$(cri ListPodSandbox '{}' | jq '.items|length')" = 1 ]
	node_wait 5 said http://10.99.0.1:8084/ h3
}

@test "UDP, also for one who was sending before" {
	run_pod h4a "$(ports "{host_port:8094,container_port:9}")" >/dev/null # flows are remembered from the first rule on
	# The flow leads to the host itself, where nobody listens, and lasts as long as it sends.
	# In the shell's place: a function in the background is a shell of its own, whose end is not that of what it started.
	( exec nsenter --net="/proc/$(cat "$NODE/outside.pid")/ns/net" bash -c 'exec 4<>/dev/udp/10.99.0.1/8086; for i in $(seq 400); do echo ping >&4; sleep 0.05; done' ) 2>/dev/null 3>&- & s=$!
	sleep 0.5
	p=$(run_pod h4 "$(ports '{host_port:8086,container_port:9,protocol:1}')")
	pid=$(ctr_pid "$(run_ctr "$p" h4 u)")
	nsenter --net="/proc/$pid/ns/net" timeout 10 python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 9)); print(s.recv(10))' | grep ping
	kill $s; wait $s || true
}

@test "SCTP and several ports of one pod in the rules" {
	run_pod h5 "$(ports '{host_port:8087,container_port:1,protocol:2},{host_port:8088,container_port:2},{container_port:3},{host_port:8088,container_port:4,protocol:1}')" >"$NODE/p"
	nft list table ip crio-hostports >"$NODE/rules"; cat "$NODE/rules"
	grep -q 'sctp . 8087 ' "$NODE/rules"; grep -q 'tcp . 8088 ' "$NODE/rules"; grep -q 'udp . 8088 ' "$NODE/rules"
	rm_pod "$(cat "$NODE/p")"; rm "$NODE/p" "$NODE/rules"
	[ "$(elements)" = 0 ]
}

@test "kill -9 in between: the ports work on, and go with the pod" {
	p=$(serve h6 "$(ports '{host_port:8089,container_port:80}')"); node_wait 5 said http://10.99.0.1:8089/ h6
	crio_kill; said http://10.99.0.1:8089/ h6
	crio_start; said http://10.99.0.1:8089/ h6
	rm_pod "$p"; [ "$(elements)" = 0 ]
}

@test "disable_hostport_mapping: the network's plugins are told" {
	printf '[crio.runtime]\ndisable_hostport_mapping = true\n' >"$NODE/etc/conf.d/20-ports.conf"
	crio_stop; crio_start
	p=$(serve h7 "$(ports '{host_port:8090,container_port:80}')"); node_wait 5 said http://10.99.0.1:8090/ h7
	[ "$(elements)" = 0 ]; iptables-save -t nat | grep -q 'CNI-.*8090'
	rm_pod "$p"; [ -z "$(iptables-save -t nat | grep 8090)" ]
	rm "$NODE/etc/conf.d/20-ports.conf"; crio_stop; crio_start
}

@test "without nft: the same through iptables" {
	mkdir "$NODE/nonft"
	find /usr/bin /usr/sbin -maxdepth 1 ! -name nft -exec ln -sf -t "$NODE/nonft" {} +
	crio_stop; PATH=$NODE/nonft crio_start
	p=$(serve h8 "$(ports '{host_port:8091,container_port:80},{host_port:8092,container_port:80,host_ip:"10.99.0.3"}')")
	q=$(serve h8b "$(ports '{host_port:8093,container_port:80}')")
	node_wait 5 said http://10.99.0.1:8091/ h8; node_wait 5 said http://10.99.0.1:8093/ h8b
	said 'http://[fd00:99::1]:8091/' h8; said http://10.99.0.3:8092/ h8; if said http://10.99.0.1:8092/ h8; then false; fi
	[ "$(get http://10.99.0.1:8091/)" = h8 ]
	c=$(cri ListContainers "{\"filter\":{\"pod_sandbox_id\":\"$p\"}}" | jq -r '.containers[0].id')
	[ "$(exec_ctr "$c" wget -q -O - http://10.99.0.1:8091/)" = h8 ]
	rm_pod "$p"; said http://10.99.0.1:8093/ h8b; if said http://10.99.0.1:8091/ h8; then false; fi
	# The other pod's go although nft is there again.
	crio_stop; crio_start; rm_pod "$q"
	iptables-save -t nat >"$NODE/rules"; cat "$NODE/rules"; [ -z "$(grep -E 'KUBE-HP|CRIO-MASQ-|80(91|93)' "$NODE/rules")" ]; rm "$NODE/rules"
}
