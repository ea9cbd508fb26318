# node.sh: what the suites of this folder share, read by them inside the node. TAP on standard output.
# An exec takes as long here as 20 elsewhere: few programs, one pod for several tests, generous limits of time.
cd /share || exit 2
. lib/cri.bash
NODE=/var/lib/vm REGISTRY=127.0.0.1:5000 CG=/sys/fs/cgroup SOCKET=/run/crio/crio.sock
mkdir -p $NODE/log
cri() { ./cri-client -s $SOCKET -t 100 "$@"; }
slice_of() { echo "kubepods-pod$1.slice"; }
in_slice() { echo ".linux.cgroup_parent=\"$(slice_of "$1")\""; }
path_of() { echo "/kubepods.slice/kubepods-pod$1.slice"; }
run_pod() { cri -r pod_sandbox_id RunPodSandbox "{\"config\":$(pod_json "$1" "$(in_slice "$1")|${2:-.}"),\"runtime_handler\":\"${3:-}\"}"; }
# What a container does that is asked to end: 3. Waiting without a fork each time.
wait_cmd='.command=["sh","-c","trap \"exit 3\" TERM; mkfifo /f; while :; do read -t 1 x <>/f; done"]'
run_ctr() { local id; id=$(cri -r container_id CreateContainer "{\"pod_sandbox_id\":\"$1\",\"config\":$(ctr_json "$3" "$wait_cmd|${4:-.}"),\"sandbox_config\":$(pod_json "$2" "$(in_slice "$2")")}") && start_ctr "$id" && echo "$id"; }
pod_pid() { cri PodSandboxStatus "{\"pod_sandbox_id\":\"$1\",\"verbose\":true}" | jq -r '.info.info|fromjson|.pid'; }
cgroup_of() { sed -n 's/^0:://p' "/proc/$1/cgroup"; }
# The group that is the container's by name; crun makes one more in a scope, and puts the limits there.
group_of() { cgroup_of "$(ctr_pid "$1")" | sed 's|\.scope/container$|.scope|'; }
conmon_of() { cat /run/containers/storage/*/"$1"/userdata/conmon-pidfile; }
is() { [ "$1" = "$2" ] || { echo "is '$1', should be '$2'"; return 1; }; }
file_is() { is "$(cat "$1")" "$2" || { echo "$1"; return 1; }; }
main_up() { [ "$(main_pid)" != "$1" ] && ready; }
ready() { [ "$(systemctl show -P ActiveState crio)" = active ] && cri Version '{}' >/dev/null 2>&1; }
main_pid() { systemctl show -P MainPID crio; }
configure() { cat >/etc/crio/crio.conf.d/50-vm.conf; }

n=0 failed=0
t() { # t NAME FUNCTION [ARGUMENTS]
	local name=$1 rc s=$SECONDS; shift
	[ $n -lt 2 ] || [ ! -s only ] || [[ $name =~ $(cat only) ]] || return 0 # the first two make the node
	n=$((n + 1))
	( set -e; "$@" ) >/tmp/out 2>&1; rc=$?
	if [ $rc = 0 ]; then echo "ok $n $name ($((SECONDS - s)) s)"; return 0; fi
	failed=$((failed + 1)); echo "not ok $n $name ($((SECONDS - s)) s)"; sed 's/^/# /' /tmp/out | tail -40; journalctl -u crio -n 300 -o cat --no-pager | grep -E 'level=(warn|error|fatal)|Response error' | tail -8 | cut -c 1-400 | sed 's/^/#   /'
}

installs() {
	cp -a stage/. /
	mkdir -p /etc/containers/registries.conf.d /etc/cni/net.d /etc/crio/crio.conf.d /etc/systemd/system/crio.service.d
	cp cni/10-crio-bridge.conflist /etc/cni/net.d/
	echo '{"default":[{"type":"insecureAcceptAnything"}]}' >/etc/containers/policy.json
	printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' $REGISTRY >/etc/containers/registries.conf
	printf '[crio.runtime]\nlog_level = "debug"\npids_limit = 500\nallowed_annotations = []\n[crio.image]\npause_image = "%s/pause:1"\n[crio.network]\nplugin_dirs = ["/usr/lib/cni"]\n[crio.runtime.runtimes.runc]\nruntime_path = "/usr/sbin/runc"\n' $REGISTRY >/etc/crio/crio.conf.d/10-node.conf
	printf '[Service]\nRestartSec=1\nTimeoutStartSec=120\n' >/etc/systemd/system/crio.service.d/slow.conf
	printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: /share/registry}}\nhttp: {addr: %s}\n' $REGISTRY >/etc/registry.yml
	systemd-run -q --unit=registry docker-registry serve /etc/registry.yml
	systemctl daemon-reload
	is "$(cat /proc/1/comm)" systemd; is "$(stat -fc %T $CG)" cgroup2fs
}

starts() {
	systemctl start crio; ready
	is "$(cat "/proc/$(main_pid)/oom_score_adj")" -999
	is "$(cgroup_of "$(main_pid)")" /system.slice/crio.service
	is "$(cri RuntimeConfig '{}' | jq -r .linux.cgroup_driver)" SYSTEMD
	node_wait 60 bash -c 'echo >/dev/tcp/127.0.0.1/5000'
	pull
}

nothing_left() {
	remove_all_pods
	left() { systemctl list-units --all --plain --no-legend 'crio-*.scope'; find $CG -name 'crio-*' ! -name crio.service; ls -A /run/netns 2>/dev/null; ip -br link | grep veth; grep -E 'overlay-containers|overlay/.*/merged|userdata/shm' /proc/self/mountinfo; pgrep -l conmon; }
	none() { [ -z "$(left)" ]; }
	node_wait 20 none || { left; systemctl status --no-pager 'crio-*.scope'; return 1; }
}
