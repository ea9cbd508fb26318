#!/bin/bash
# conformance.sh: crio-plugin-check on each of our plugins, on the template, and on plugins that break one rule each; TAP.
set -u
src=$(cd "${srcdir:-.}" && pwd); [ -d "$src/sdk/crio" ] || src=$(cd "$(dirname "$0")/../../.." && pwd)
build=${BUILD:-$PWD}
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root"; exit 77; }
# What is mounted here is gone with this shell.
[ "${IN_NS:-}" = 1 ] || IN_NS=1 exec unshare --mount --propagation private "$0" "$@"
# containerd's shim has fixed places for its state, whoever runs it: ours are empty, whatever another run left.
mkdir -p /run/containerd && mount -t tmpfs -o mode=711 conformance /run/containerd
tmp=$(mktemp -d /var/tmp/crio-conformance.XXXXXX)
trap 'umount "$tmp/btrfs" 2>/dev/null; umount -l /run/containerd; rm -rf "$tmp"' EXIT
tool=$build/crio-plugin-check n=0 failed=0

result() { # result STATUS TEXT [FILE]
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; return; fi
	failed=1; echo "not ok $n - $2"; [ -z "${3:-}" ] || sed 's/^/# /' "$3" | grep -v '^# ok ' | head -30
}
skip() { n=$((n + 1)); echo "ok $n - $1 # skip $2"; }
# keeps KIND/NAME FILE [ARGUMENT...]: the plugin keeps the rules.
keeps() {
	local what=$1 file=$2 rc=0; shift 2
	if [ ! -f "$file" ]; then skip "$what" "it is not built as a module here"; return; fi
	timeout 240 "$tool" "$@" "${what%/*}" "$file" >"$tmp/out" 2>"$tmp/err" || rc=$?
	cat "$tmp/err" >>"$tmp/out"
	grep -q '^1\.\.[1-9]' "$tmp/out" || rc=1
	result $rc "$what keeps the rules ($(grep -c '^ok' "$tmp/out") checks)" "$tmp/out"
}
built() { echo "$build/plugins/$1/.libs/$2.so"; }

keeps runtime/runc "$(built runtime runc)" -o root="$tmp/runc"
keeps runtime/crun "$(built runtime crun)" -o root="$tmp/crun"
keeps runtime/oci "$(built runtime oci)" -o root="$tmp/oci" -o path="$(command -v crun || command -v runc)"
if [ -x /usr/bin/containerd-shim-runc-v2 ]; then
	keeps runtime/kata "$(built runtime kata)" -o root="$tmp/kata" -o path=/usr/bin/containerd-shim-runc-v2
else
	skip runtime/kata "there is no containerd-shim-runc-v2"
fi

keeps storage/overlay "$(built storage overlay)" -r "$tmp/overlay"
if truncate -s 256M "$tmp/btrfs.img" && mkfs.btrfs -q "$tmp/btrfs.img" >/dev/null 2>&1 && mkdir "$tmp/btrfs" && mount -o loop "$tmp/btrfs.img" "$tmp/btrfs" 2>/dev/null; then
	keeps storage/btrfs "$(built storage btrfs)" -r "$tmp/btrfs/store"
else
	skip storage/btrfs "btrfs cannot be mounted here"
fi

keeps network/hostnetwork "$(built network hostnetwork)"
if [ -x /usr/lib/cni/bridge ]; then
	mkdir "$tmp/cni"
	cat >"$tmp/cni/10-check.conflist" <<-END
	{"cniVersion": "1.0.0", "name": "check", "plugins": [{"type": "bridge", "bridge": "check0", "isGateway": true, "ipMasq": false,
	 "ipam": {"type": "host-local", "dataDir": "$tmp/ipam", "ranges": [[{"subnet": "10.87.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
	END
	keeps network/cni "$(built network cni)" -o network_dir="$tmp/cni" -o plugin_dirs=/usr/lib/cni -o cache_dir="$tmp/cache"
else
	skip network/cni "there are no CNI plugins"
fi

mkdir "$tmp/hooks.d"
echo '{"version":"1.0.0","hook":{"path":"/bin/true"},"when":{"always":true},"stages":["prestart","poststop"]}' >"$tmp/hooks.d/1.json"
keeps hook/ocihooks "$build/plugins/hooks/.libs/ocihooks.so" -o hooks_dir="$tmp/hooks.d"
cc -std=gnu11 -fPIC -shared -I"$src/sdk" -o "$tmp/spy.so" "$src/tests/fixtures/hook-spy.c"; result $? "a hook plugin of the tests compiles"
keeps hook/spy "$tmp/spy.so"

# The template, built as its README says but for where the headers are.
cp -r "$src/sdk/template" "$tmp/template"; chmod -R u+w "$tmp/template"
make -s -C "$tmp/template" CRIO_PLUGIN_CFLAGS="-I$src/sdk" CRIO_PLUGINDIR=/nonexistent CFLAGS='-O1 -g -Wall -Wextra -Werror' >"$tmp/out" 2>&1
result $? "the template compiles" "$tmp/out"
keeps network/veth "$tmp/template/veth.so"

# rude KIND SOURCE DEFINE TEXT: the tool says TEXT, and nothing else is wrong.
rude() {
	local rc=0 so=$tmp/$2.so
	cc -std=gnu11 -fPIC -shared -I"$src/sdk" -D"$3" -o "$so" "$src/tests/plugin/conformance/$2.c" || exit 1
	timeout 120 "$tool" "$1" "$so" >"$tmp/out" 2>&1 || rc=$?
	if [ -z "$4" ]; then result $rc "a polite $1 plugin passes" "$tmp/out"; return; fi
	[ $rc = 1 ] && grep -q "^not ok .*$4" "$tmp/out"
	result $? "$3 is found: $4" "$tmp/out"
}
rude network rude RUDE_NOT ''
rude network rude RUDE_LEAK 'teardown: it leaves no descriptor, mount or link behind'
rude network rude RUDE_SILENT 'teardown: an error is set if, and only if, it fails'
rude network rude RUDE_BOTH 'teardown: an error is set if, and only if, it fails'
rude network rude RUDE_ABSENT 'teardown: on something absent it answers success, again and again'
rude network rude RUDE_DEAF 'teardown: a call that is cancelled comes back quickly'
rude network rude RUDE_RACE 'teardown: it works side by side for many objects'
rude network rude RUDE_HELP 'options: each has a line of help'

rude hook rudehook RUDE_NOT ''
rude hook rudehook RUDE_MASK 'stages: only such as there are'
rude hook rudehook RUDE_TEXT 'run: on something absent it answers success'
rude hook rudehook RUDE_LATE 'run: on something absent it answers success'
rude hook rudehook RUDE_EAGER 'run: a stage it did not ask for is nothing to it'

# Its own command line.
"$tool" --help | grep -q '^usage:'; result $? "--help"
"$tool" nonsense "$tmp/rude.so" 2>"$tmp/err"; [ $? = 2 ] && grep -q "'nonsense' is no kind" "$tmp/err"; result $? "an unknown kind is refused"
"$tool" network "$tmp/none.so" >/dev/null 2>"$tmp/err"; [ $? = 2 ] && grep -q 'none.so' "$tmp/err"; result $? "a missing file is refused"
"$tool" storage "$tmp/rude.so" >"$tmp/out" 2>&1; [ $? = 1 ] && grep -q 'field kind is 3, expected 2' "$tmp/out"; result $? "another kind than the plugin's is refused" "$tmp/out"
echo "1..$n"
exit $failed
