#!/usr/bin/env bats
# The network through the daemon: which configuration, what programs are told, readiness and its grace, what a crash left.
load lib/cri.bash

setup_file() {
	mkdir -p "$NODE/cnibin"
	# A program of a chain that keeps what it was told, and hangs while its mode says so.
	cat >"$NODE/cnibin/tell" <<-EOT
	#!/bin/bash
	case \$CNI_COMMAND in
	VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["0.4.0","1.0.0","1.1.0"]}' ;;
	STATUS) [ ! -e $NODE/status-fails ] || { echo '{"cniVersion":"1.1.0","code":50,"msg":"the agent is down"}'; exit 1; } ;;
	GC) cat >$NODE/told.GC ;;
	*) in=\$(cat); echo "\$in" >$NODE/told.\$CNI_COMMAND
	   while [ -e $NODE/hang ] && [[ \$CNI_ARGS == *"K8S_POD_NAME=\$(cat $NODE/hang);"* ]]; do sleep 0.1; done
	   [ \$CNI_COMMAND != ADD ] || jq '.prevResult' <<<"\$in" ;;
	esac
	exit 0
	EOT
	chmod +x "$NODE/cnibin/tell"
	sed -i "s|plugin_dirs = .*|plugin_dirs = [\"$NODE/cnibin\", \"$CNI_BIN\"]|" "$NODE/etc/crio.conf"
	jq '.plugins += [{"type":"tell","capabilities":{"bandwidth":true,"cgroupPath":true,"io.kubernetes.cri.pod-annotations":true}}]' \
		"$NODE/cni/10-crio.conflist" >"$NODE/base.conflist"
	cp "$NODE/base.conflist" "$NODE/cni/10-crio.conflist"
	crio_start; pull >/dev/null
}
teardown_file() { suite_end; }
setup() { CRIO_PID=$(cat "$NODE/crio.pid"); MARK=$(wc -l <"$NODE/crio.log"); }
teardown() {
	rm -f "$NODE/hang" "$NODE/status-fails" "$NODE/etc/conf.d/50-net.conf" "$NODE"/cni/*; cp "$NODE/base.conflist" "$NODE/cni/10-crio.conflist"
	node_wait 10 ready true; remove_all_pods
}

since() { tail -n "+$((MARK + 1))" "$NODE/crio.log" | grep -qE -- "$1"; }
network() { cri Status '{}' | jq -r '.status.conditions[]|select(.type=="NetworkReady")|'"$1"; }
ready() { [ "$(network .status)" = "$1" ]; }
restart() { crio_stop; crio_start "$@"; MARK=$(wc -l <"$NODE/crio.log"); }

@test "two families: the pod has both addresses, the first of each family" {
	p=$(run_pod n1); [[ $(pod_field "$p" network.ip) == 10.85.* ]]; [[ $(pod_field "$p" 'network.additional_ips[0].ip') == fd00:85:* ]]
	c=$(run_ctr "$p" n1 c); exec_ctr "$c" ip -o addr show dev eth0 scope global | grep -c -E 'inet6? ' | grep -qx 2
}

@test "programs are told what they declare, and nothing else" {
	p=$(run_pod n2 '.annotations={"kubernetes.io/ingress-bandwidth":"10M","mine":"x y"}')
	jq -e '.runtimeConfig|(keys|sort)==["bandwidth","cgroupPath","io.kubernetes.cri.pod-annotations"] and .bandwidth.ingressRate==10000000
		and .bandwidth.egressRate==0 and .cgroupPath=="/pod_n2" and .["io.kubernetes.cri.pod-annotations"].mine=="x y"' "$NODE/told.ADD"
	jq 'del(.plugins[-1].capabilities)' "$NODE/base.conflist" >"$NODE/cni/10-crio.conflist"; node_wait 5 since 'Found CNI network crio-test'
	p=$(run_pod n3 '.annotations={"mine":"x"}'); jq -e 'has("runtimeConfig")|not' "$NODE/told.ADD"
}

@test "several configurations: the first valid one, or the one that is named; a broken one is told and left out" {
	jq '.name="early"' "$NODE/base.conflist" >"$NODE/cni/05-early.conflist"; echo '{' >"$NODE/cni/01-broken.conflist"
	node_wait 5 since 'Updated default CNI network name to early'; node_wait 5 since 'Error validating CNI config file .*01-broken'
	p=$(run_pod n4); jq -e '.name=="early"' "$NODE/told.ADD"
	printf '[crio.network]\ncni_default_network = "crio-test"\n' >"$NODE/etc/conf.d/50-net.conf"; restart
	run_pod n5 >/dev/null; jq -e '.name=="crio-test"' "$NODE/told.ADD"
	# The pod of the other network is taken down by what was recorded.
	rm_pod "$p"; jq -e '.name=="early"' "$NODE/told.DEL"
	rm "$NODE/cni/10-crio.conflist"; node_wait 5 ready false; network .message | grep -q 'no CNI configuration file of network "crio-test"'
	rm "$NODE/etc/conf.d/50-net.conf"; restart; node_wait 5 ready true
}

@test "without a network: Status says why, RunPodSandbox waits for it within its client's time" {
	rm "$NODE/cni/10-crio.conflist"; node_wait 5 ready false
	[ "$(network .reason)" = NetworkPluginNotReady ]; [[ $(network .message) == "Network plugin returns error: no CNI configuration file in "* ]]
	# At the client's deadline either end may be the first to say so.
	local out; if out=$(CRI_TIMEOUT=1 cri RunPodSandbox "{\"config\":$(pod_json n6)}" 2>&1); then false; fi
	[[ $out == *"code = DeadlineExceeded "* || $out == *"code = Unavailable "*"NetworkPluginNotReady"* ]] || { echo "$out" >&2; false; }
	run_pod n7 '.linux.security_context.namespace_options.network=2' >/dev/null # needs none
	( sleep 1; cp "$NODE/base.conflist" "$NODE/cni/10-crio.conflist" ) & p=$(run_pod n8); wait $!; [[ $(pod_field "$p" network.ip) == 10.85.* ]]
}

@test "cni_status_grace_period: a failure that passes is not told, one that stays is" {
	jq '.cniVersion="1.1.0"|.plugins|=[.[]|select(.type=="tell")]|.name="watched"' "$NODE/base.conflist" >"$NODE/cni/01-watched.conflist"
	printf '[crio.network]\ncni_status_grace_period = "2s"\n' >"$NODE/etc/conf.d/50-net.conf"; crio_stop; crio_start; node_wait 5 since 'monitoring enabled'
	ready true; touch "$NODE/status-fails"; touch "$NODE/cni/01-watched.conflist"; node_wait 8 since 'will report unhealthy after grace period'; ready true
	node_wait 8 ready false; network .message | grep -q 'the agent is down'; since 'unhealthy beyond grace period'
	rm "$NODE/status-fails"; node_wait 5 ready true
	rm "$NODE/etc/conf.d/50-net.conf" "$NODE/cni/01-watched.conflist"; restart
}

@test "what a crash left: a pod that nobody knows gives its address back after a start; pods that are known, and others' records, stay" {
	p=$(run_pod n9); lost=$(printf '%064d' 7); r=$NODE/state/cni/results
	crio_kill
	sed -E "s/$p/$lost/g; s|\"netns\": ?\"[^\"]*\"|\"netns\":\"/var/run/netns/gone\"|" "$r/crio-test-$p-eth0" >"$r/crio-test-$lost-eth0"
	sed "s/$p/${lost/7/8}/g; s/\"networkName\":\"crio-test\"/\"networkName\":\"other\"/" "$r/crio-test-$p-eth0" >"$r/other-${lost/7/8}-eth0"
	printf '%s\r\neth0' "$lost" >"$NODE/ipam/crio-test/10.85.77.77"
	crio_start
	node_wait 10 test ! -e "$NODE/ipam/crio-test/10.85.77.77"; node_wait 5 test ! -e "$r/crio-test-$lost-eth0"
	log_has "Removed stale attachment of $lost"
	[ -e "$r/crio-test-$p-eth0" ]; [ -e "$r/other-${lost/7/8}-eth0" ]; grep -qrl "$p" "$NODE/ipam/crio-test"
	c=$(run_ctr "$p" n9 c); exec_ctr "$c" ip -o addr show dev eth0 | grep -q 10.85.
	rm "$r/other-${lost/7/8}-eth0"
}

@test "default_sysctls: a value of several words, with any blanks between them" {
	printf '[crio.runtime]\ndefault_sysctls = ["net.ipv4.ping_group_range=0   2147483647"]\n' >"$NODE/etc/conf.d/50-net.conf"; restart
	p=$(run_pod n10); c=$(run_ctr "$p" n10 c); exec_ctr "$c" cat /proc/sys/net/ipv4/ping_group_range | grep -qx "$(printf '0\t2147483647')"
	rm "$NODE/etc/conf.d/50-net.conf"; restart
}

@test "a program that hangs holds up its own pod alone; lists and Status never wait" {
	o=$(run_pod n11); echo stuck >"$NODE/hang"
	( CRI_TIMEOUT=60 run_pod stuck >"$NODE/stuck.out" 2>&1 ) & w=$!
	node_wait 5 jq -e '.["cni.dev/x"]|not' "$NODE/told.ADD"; sleep 0.5
	for _ in 1 2 3 4 5; do cri ListPodSandbox '{}' >/dev/null; cri ListContainers '{}' >/dev/null; cri Status '{}' >/dev/null; cri PodSandboxStatus "{\"pod_sandbox_id\":\"$o\"}" >/dev/null; done
	p=$(run_pod n12); c=$(run_ctr "$p" n12 c); exec_ctr "$c" true; stop_ctr "$c"; rm_pod "$p"; rm_pod "$o"
	kill -0 $w # all that while it hung
	rm "$NODE/hang"; wait $w; s=$(cat "$NODE/stuck.out"); [[ $(pod_field "$s" network.ip) == 10.85.* ]]
}
