#!/bin/bash
# pull.sh: the image side against Debian's registry, skopeo and podman: pulls over HTTP, TLS, with Basic authentication; what
# the Go tools make of our store and we of theirs; removal; what is left behind. Needs root.
set -u
here=$(cd "$(dirname "$0")" && pwd); top=$here/../..
build=${abs_builddir:-$PWD}
ctl=$build/tests/client/imagectl
skip() { echo "SKIP: $*"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root"
for p in docker-registry skopeo podman htpasswd openssl jq python3 curl; do command -v $p >/dev/null || skip "needs $p"; done
[ -x "$ctl" ] || skip "needs $ctl"
# Mounts made here go away with the namespace.
if [ "${PULL_INSIDE:-}" != 1 ]; then PULL_INSIDE=1 exec unshare --mount --propagation private -- bash "$0" "$@"; fi

T=$(mktemp -d "${PULL_DIR:-/var/tmp}/crio-pull.XXXXXX")
pids=() failed=0 count=0
end() {
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null && wait "$p" 2>/dev/null; done
	[ -n "${evil_fd:-}" ] && exec {evil_fd}>&-
	awk -v t="$T" 'index($5, t) == 1 {print $5}' /proc/self/mountinfo | sort -r | while read -r m; do umount -l "$m"; done
	rm -rf "$T"
}
trap end EXIT
ok() { count=$((count + 1)); echo "ok $count - $*"; }
bad() { count=$((count + 1)); failed=$((failed + 1)); echo "not ok $count - $*"; }
check() { local what=$1; shift; if "$@"; then ok "$what"; else bad "$what"; fi; }
has() { grep -qF -- "$1" "$2" || { echo "# '$1' not in:"; sed 's/^/# /' "$2" | head -20; return 1; }; }
hasnot() { ! grep -qF -- "$1" "$2"; }

# ---- a registry of each kind
port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
registry() { # registry NAME PORT EXTRA-YAML
	mkdir -p "$T/$1"
	printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp:\n  addr: 127.0.0.1:%s\n%s\n' "$T/$1" "$2" "$3" >"$T/$1.yml"
	docker-registry serve "$T/$1.yml" >"$T/$1.log" 2>&1 &
	pids+=($!)
}
PLAIN=127.0.0.1:$(port) BASIC=127.0.0.1:$(port) TLS=localhost:$(port)
htpasswd -Bbn user secret >"$T/htpasswd" 2>/dev/null
mkdir -p "$T/ca" "$T/certs/$TLS"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout "$T/ca/ca.key" -out "$T/ca/ca.crt" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$T/ca/s.key" -out "$T/ca/s.csr" 2>/dev/null
openssl x509 -req -in "$T/ca/s.csr" -CA "$T/ca/ca.crt" -CAkey "$T/ca/ca.key" -CAcreateserial -days 2 \
	-extfile <(echo subjectAltName=DNS:localhost) -out "$T/ca/s.crt" 2>/dev/null
registry plain "${PLAIN#*:}" ""
registry basic "${BASIC#*:}" "auth: {htpasswd: {realm: r, path: $T/htpasswd}}"
registry tls "${TLS#*:}" "  tls: {certificate: $T/ca/s.crt, key: $T/ca/s.key}"
coproc EVIL { exec python3 "$top/tests/fixtures/evil-registry.py"; }
pids+=("$EVIL_PID"); evil_fd=${EVIL[1]}
read -r evil_port other_port <&"${EVIL[0]}"
EVILREG=127.0.0.1:$evil_port
for u in "http://$PLAIN/v2/" "http://$BASIC/v2/" ; do
	for _ in $(seq 100); do curl -s -o /dev/null "$u" && break; sleep 0.1; done
done
for _ in $(seq 100); do curl -s -o /dev/null --cacert "$T/ca/ca.crt" "https://$TLS/v2/" && break; sleep 0.1; done

# ---- images
"$top/tests/fixtures/images.sh" "$T/images" || { echo "no images"; exit 1; }
push() { skopeo copy -q --dest-tls-verify=false "${@:3}" "oci:$T/images/$1:latest" "docker://$2"; }
push busybox "$PLAIN/busybox:1"; push twolayer "$PLAIN/team/twolayer:v1"; push user "$PLAIN/user:1"; push pause "$PLAIN/pause:1"
push busybox "$PLAIN/docker:1" --format v2s2
push busybox "$BASIC/private:1" --dest-creds user:secret
skopeo copy -q --dest-cert-dir "$T/ca" "oci:$T/images/pause:latest" "docker://$TLS/pause:1" 2>/dev/null || push pause "$TLS/pause:1"
# An index of two platforms
amd=$(skopeo inspect --raw --tls-verify=false "docker://$PLAIN/busybox:1" | sha256sum | cut -d' ' -f1)
size=$(skopeo inspect --raw --tls-verify=false "docker://$PLAIN/busybox:1" | wc -c)
arch=$(uname -m); case $arch in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; esac
mt=application/vnd.oci.image
printf '{"schemaVersion":2,"mediaType":"%s.index.v1+json","manifests":[{"mediaType":"%s.manifest.v1+json","digest":"sha256:%s","size":%d,"platform":{"os":"linux","architecture":"%s"}}]}' \
	$mt $mt "$amd" "$size" "$arch" >"$T/index.json"
curl -sf -X PUT -H "Content-Type: $mt.index.v1+json" --data-binary @"$T/index.json" "http://$PLAIN/v2/busybox/manifests/multi" >/dev/null
index=$(sha256sum <"$T/index.json" | cut -d' ' -f1)

# ---- configuration
mkdir -p "$T/plugins/storage" "$T/empty"
for p in "$build"/plugins/storage/.libs/*.so; do install -m 755 "$p" "$T/plugins/storage/"; done
cat >"$T/registries.conf" <<-E
	unqualified-search-registries = ["$PLAIN"]
	[[registry]]
	location = "$PLAIN"
	insecure = true
	[[registry]]
	location = "$BASIC"
	insecure = true
	[[registry]]
	location = "$EVILREG"
	insecure = true
	[[registry]]
	prefix = "blocked.example"
	location = "blocked.example"
	blocked = true
	[[registry]]
	prefix = "mirrored.example"
	location = "127.0.0.1:1"
	insecure = true
	[[registry.mirror]]
	location = "$PLAIN"
	insecure = true
	[aliases]
	short = "$PLAIN/team/twolayer"
E
cat >"$T/policy.json" <<-E
	{"default":[{"type":"insecureAcceptAnything"}],"transports":{"docker":{"$PLAIN/rejected":[{"type":"reject"}],"$PLAIN/signed":[{"type":"signedBy"}]}}}
E
mkdir -p "$T/policies" "$T/nsauth"
echo '{"default":[{"type":"reject"}]}' >"$T/policies/strict.json"
cat >"$T/crio.conf" <<-E
	[crio]
	root = "$T/root"
	runroot = "$T/run"
	storage_driver = "${DRIVER:-overlay}"
	[crio.plugins]
	dir = "$T/plugins"
	options_dir = "$T/empty"
	state_dir = "$T/state"
	run_dir = "$T/runstate"
	[crio.image]
	signature_policy = "$T/policy.json"
	signature_policy_dir = "$T/policies"
	namespaced_auth_dir = "$T/nsauth"
	pause_image = "$PLAIN/pause:1"
	pinned_images = ["*twolay*"]
E
export REGISTRIES=$T/registries.conf CERTS=$T/certs AUTH=$T/auth.json
cp "$T/ca/ca.crt" "$T/certs/$TLS/ca.crt"
ctl() { "$ctl" "$T/crio.conf" "$@" >"$T/out" 2>"$T/err"; }
pod() { podman --root "$T/root" --runroot "$T/run" --storage-driver "${DRIVER:-overlay}" "$@"; }
sko() { skopeo --insecure-policy "$@"; }
# The layers of a copied-out image are what its config says, by digest of the tar.
copied() {
	local d want got
	want=$(jq -r '.rootfs.diff_ids[]' "$1/$(jq -r .config.digest "$1/manifest.json" | cut -d: -f2)")
	got=$(jq -r '.layers[].digest' "$1/manifest.json" | while read -r d; do d=${d#*:}; { gzip -dc "$1/$d" 2>/dev/null || cat "$1/$d"; } | sha256sum | sed 's/^/sha256:/; s/ .*//'; done)
	[ -n "$want" ] && [ "$want" = "$got" ]
}
layers() { jq -r '.[].id' "$T/root/overlay-layers/layers.json" 2>/dev/null | wc -l; }
trees() { find "$T/root/overlay" -mindepth 1 -maxdepth 1 -name '????????????????????????????????????????????????????????????????' 2>/dev/null | wc -l; }

# ---- pulling
check "pulls from a plain registry" ctl pull "$PLAIN/busybox:1"
read -r id ref <"$T/out"
cfg=$(skopeo inspect --raw --tls-verify=false "docker://$PLAIN/busybox:1" | jq -r .config.digest)
check "the id is the config's digest" test "sha256:$id" = "$cfg"
check "the reference is the manifest's digest" test "$ref" = "$PLAIN/busybox@sha256:$amd"
check "pulls it again" ctl pull "$PLAIN/busybox:1"
check "without fetching a layer" has "fetched=0" "$T/err"
check "a second format of the same layers" ctl pull "$PLAIN/docker:1"
check "shares them" has "fetched=0" "$T/err"
check "pulls by digest" ctl pull "$PLAIN/busybox@sha256:$amd"
check "pulls through an index" ctl pull "$PLAIN/busybox:multi"
ctl status "$PLAIN/busybox:multi"
check "and knows the index's digest" has "$PLAIN/busybox@sha256:$index" "$T/out"
check "and the image's" has "$PLAIN/busybox@sha256:$amd" "$T/out"
check "finds it by the index's digest" ctl status "$PLAIN/busybox@sha256:$index"
check "pulls zstd layers with whiteouts" ctl pull "$PLAIN/team/twolayer:v1"
check "pulls a short name" ctl pull user:1
check "pulls an alias" ctl pull short:v1
check "an image from a mirror" ctl pull mirrored.example/busybox:1
check "fails for a missing tag" test "$(ctl pull "$PLAIN/busybox:none"; echo $?)" = 2
check "and says so" has "manifest unknown" "$T/err"
printf '[[registry]]\nlocation = "127.0.0.1:1"\ninsecure = true\n' >>"$T/registries.conf"
check "fails for a port that is shut" test "$(ctl pull 127.0.0.1:1/x:1; echo $?)" = 8
check "RegistryUnavailable comes first" grep -q '^RegistryUnavailable: ' "$T/err"
check "refuses a blocked registry" test "$(ctl pull blocked.example/x:1; echo $?)" = 10
check "refuses what the policy rejects" test "$(ctl pull "$PLAIN/rejected:1"; echo $?)" = 10
check "with the name that the kubelet knows" grep -q '^.*SignatureValidationFailed: ' "$T/err"
check "refuses what it cannot verify" test "$(ctl pull "$PLAIN/signed:1"; echo $?)" = 10
check "refuses by the namespace's policy" test "$(ctl pull -n strict "$PLAIN/busybox:1"; echo $?)" = 10
check "at container creation too" test "$(ctl allowed strict "$PLAIN/busybox:1"; echo $?)" = 10
check "not another namespace" ctl allowed other "$PLAIN/busybox:1"

# ---- authentication and TLS
check "needs credentials" test "$(ctl pull "$BASIC/private:1"; echo $?)" = 11
check "takes those of the request" ctl pull -u user:secret "$BASIC/private:1"
check "not wrong ones" test "$(ctl pull -u user:wrong "$BASIC/private:1"; echo $?)" = 11
check "keeps a password out of messages" hasnot wrong "$T/err"
printf '{"auths":{"%s":{"auth":"%s"}}}' "$BASIC" "$(printf user:secret | base64)" >"$AUTH"
check "takes those of the auth file" ctl pull "$BASIC/private:1"
mv "$AUTH" "$T/nsauth/team-$(printf '%s/private' "$BASIC" | sha256sum | cut -d' ' -f1).json"
check "takes those of the namespace" ctl pull -n team "$BASIC/private:1"
check "once" test "$(ctl pull -n team "$BASIC/private:1"; echo $?)" = 11
check "and leaves no secret" test -z "$(find "$T/nsauth" -type f)"
printf '{"auths":{"%s":{"auth":"%s"}}}' "$BASIC" "$(printf user:secret | base64)" >"$T/pause.json"
sed "s|^pause_image = .*|pause_image = \"$BASIC/private:1\"\npause_image_auth_file = \"$T/pause.json\"|" "$T/crio.conf" >"$T/pause.conf"
pausectl() { "$ctl" "$T/pause.conf" "$@" >"$T/out" 2>"$T/err"; }
check "pulls the pause image with credentials of its own" pausectl pull "$BASIC/private:1"
check "pulls over TLS with an authority of certs.d" ctl pull "$TLS/pause:1"
rm -rf "$T/certs/$TLS"
check "not without it" test "$(ctl pull "$TLS/pause:1"; echo $?)" = 8
check "because of the certificate" grep -qi certificate "$T/err"

# ---- what we show
ctl list
check "lists every name" has "$PLAIN/team/twolayer:v1" "$T/out"
ctl status user:1
check "knows the user" has "username=test" "$T/out"
check "knows the working directory" has "workdir=/made/by/image" "$T/out"
check "knows the stop signal" has "stop=SIGUSR1" "$T/out"
check "knows entrypoint and volumes" has "entrypoint=/bin/echo,entry" "$T/out"
ctl status "$PLAIN/pause:1" 2>/dev/null; ctl pull "$PLAIN/pause:1"; ctl status "$PLAIN/pause:1"
check "pins the pause image" has "pinned=1" "$T/out"
check "knows a numeric user" has "uid=65535" "$T/out"
ctl status "$PLAIN/team/twolayer:v1"; check "pins by pattern" has "pinned=1" "$T/out"
ctl status "$PLAIN/busybox:1"; check "does not pin the rest" has "pinned=0" "$T/out"
check "finds by a prefix of the id" ctl status "${id:0:12}"
check "nothing for an unknown id" test "$(ctl status "$(printf '%064d' 7)"; echo $?)" = 2
ctl fsinfo; check "counts bytes" awk '$2 > 1000000 && $3 > 10 {f=1} END {exit !f}' "$T/out"
mkdir "$T/mnt"
check "mounts an image" ctl tree "$PLAIN/team/twolayer:v1" "$T/mnt"
check "the lower layer's file is there" test "$(cat "$T/mnt/data/keep/file" 2>/dev/null)" = one
check "the upper layer's is" test "$(cat "$T/mnt/data/keep/file2" 2>/dev/null)" = two
check "whiteouts hide" test ! -e "$T/mnt/deleted" -a ! -e "$T/mnt/data/gone" -a ! -e "$T/mnt/opaque/old" -a -e "$T/mnt/opaque/new"
check "unmounts" ctl untree "$PLAIN/team/twolayer:v1" "$T/mnt"

# ---- the Go tools on our store
if [ "${DRIVER:-overlay}" = overlay ]; then
	pod images --no-trunc >"$T/pod" 2>"$T/pod.err"
	check "podman lists ours" has "$PLAIN/team/twolayer" "$T/pod"
	check "podman sees the id" has "$id" "$T/pod"
	pod inspect "$PLAIN/user:1" >"$T/pod" 2>"$T/pod.err"
	check "podman inspects ours" test "$(jq -r '.[0].Config.StopSignal' "$T/pod" 2>/dev/null)" = SIGUSR1
	store="[overlay@$T/root+$T/run]"
	for i in busybox:1 docker:1 team/twolayer:v1; do
		check "skopeo copies $i out" sko copy -q "containers-storage:$store$PLAIN/$i" "dir:$T/out-${i//[:\/]/-}"
		check "with each layer byte for byte" copied "$T/out-${i//[:\/]/-}"
	done
	sko copy -q "oci:$T/images/user:latest" "containers-storage:${store}example.com/theirs:1" 2>"$T/sko.err" || cat "$T/sko.err"
	check "we see what skopeo stored" ctl status example.com/theirs:1
	pod tag "$PLAIN/busybox:1" example.com/tagged:2 2>/dev/null
	ctl status example.com/tagged:2; check "we see podman's tags" has "$id" "$T/out"
	check "we use podman's image" ctl layer example.com/theirs:1 ""
	ctl rm example.com/theirs:1; pod images >"$T/pod" 2>/dev/null
	check "podman sees that we removed it" hasnot example.com/theirs "$T/pod"
fi

# ---- another driver
if [ -n "${OTHER_DRIVER:-}" ]; then
	check "copies to another driver" ctl layer "$PLAIN/team/twolayer:v1" "$OTHER_DRIVER"
	read -r where layer <"$T/out"
	check "in its own root" test "$where" = "$T/root-$OTHER_DRIVER"
	ctl list; check "lists it once" test "$(grep -cF "$PLAIN/team/twolayer:v1" "$T/out")" = 1
fi

# ---- sharing a transfer
curl -sf -X PUT "http://$PLAIN/v2/" >/dev/null 2>&1
dd if=/dev/urandom of="$T/random" bs=1M count=24 status=none; mkdir "$T/big"; mv "$T/random" "$T/big/data"
"$top/tests/fixtures/mkimage.sh" "$T/images" big "$T/big" >/dev/null; push big "$PLAIN/big:1"
check "eight pulls of one image" ctl pull "$PLAIN/big:1" "$PLAIN/big:1" "$PLAIN/big:1" "$PLAIN/big:1" "$PLAIN/big:1" "$PLAIN/big:1" "$PLAIN/big:1" "$PLAIN/big:1"
check "share one transfer" has "shared=7" "$T/err"
fetched=$(sed -n 's/.*fetched=\([0-9]*\).*/\1/p' "$T/err")
check "of the layer, once" test "${fetched:-0}" -lt 27000000 -a "${fetched:-0}" -gt 24000000
ctl rm "$PLAIN/big:1"; push big "$PLAIN/big2:1"
check "two names of one blob" ctl pull "$PLAIN/big:1" "$PLAIN/big2:1"
fetched=$(sed -n 's/.*fetched=\([0-9]*\).*/\1/p' "$T/err")
check "fetch it once" test "${fetched:-0}" -lt 27000000 -a "${fetched:-0}" -gt 24000000

# ---- bad registries: nothing stays
before_layers=$(layers) before_trees=$(trees)
for c in truncated wrong-digest size-short size-long size-chunked ambiguous index-deep not-found denied bad-json; do
	check "refuses $c" test "$(ctl pull "$EVILREG/$c:latest"; echo $?)" != 0
done
check "gives up a server that hangs, at the deadline" test "$(ctl pull -t 1500 "$EVILREG/hang-body:latest"; echo $?)" = 6
check "a good one still works" ctl pull -u user:secret "$EVILREG/redirect:latest"
check "no credential went to the other host" test "$(curl -s "http://127.0.0.1:$other_port/_/seen")" = 0
ctl rm "$EVILREG/redirect:latest"
check "no layer stays in the records" test "$(layers)" = "$before_layers"
check "no tree stays" test "$(trees)" = "$before_trees"

# ---- removing
ctl status "$PLAIN/busybox:1"; check "several names" has "$PLAIN/busybox:multi" "$T/out"
check "by name" ctl rm "$PLAIN/busybox:1"
check "takes only the name" ctl status "$PLAIN/busybox:multi"
check "which is gone" test "$(ctl status "$PLAIN/busybox:1"; echo $?)" = 2
check "removing it again is fine" ctl rm "$PLAIN/busybox:1"
check "an unknown id as well" ctl rm "$(printf '%064d' 7)"
ctl list; ids=$(cut -d' ' -f1 "$T/out")
for i in $ids; do check "removes ${i:0:12} by id" ctl rm "$i"; done
ctl list; check "nothing is listed" test ! -s "$T/out"
if [ "${DRIVER:-overlay}" = overlay ]; then
	check "no layer is recorded" test "$(layers)" = 0
	check "no tree is left" test "$(trees)" = 0
	pod images -q >"$T/pod" 2>/dev/null; check "podman agrees" test ! -s "$T/pod"
fi

echo "$((count - failed)) passed, $failed failed"
[ $failed = 0 ]
