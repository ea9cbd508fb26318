#!/usr/bin/env bats
# Images through the daemon: pulled from real registries, listed, shared with podman and skopeo, removed.
load lib/cri.bash

# registry2 NAME PORT EXTRA...: another registry, lines of YAML after `http:`; its accesses are logged.
registry2() {
	local name=$1 port=$2; shift 2
	{ printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: false}}\nstorage: {filesystem: {rootdirectory: %s}}\n' "$NODE/reg-$name"
	  printf 'http:\n  addr: 127.0.0.1:%s\n' "$port"; printf '%s\n' "$@"; } >"$NODE/reg-$name.yml"
	docker-registry serve "$NODE/reg-$name.yml" >"$NODE/reg-$name.log" 2>&1 3>&- &
	echo $! >"$NODE/reg-$name.pid"
}
push_to() { skopeo copy -q --dest-tls-verify=false "${@:3}" "oci:$NODE/made/$1:latest" "docker://$2"; }

setup_file() {
	local i layers=()
	export BASIC TLS MADE=$NODE/made; BASIC=127.0.0.1:$(node_free_port) TLS=localhost:$(node_free_port)
	mkdir -p "$MADE" "$NODE/tls"; for i in busybox user twolayer pause; do ln -s "$NODE_IMAGES/$i" "$MADE/$i"; done
	htpasswd -Bbn user secret >"$NODE/htpasswd" 2>/dev/null
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout "$NODE/tls/ca.key" -out "$NODE/tls/ca.crt" 2>/dev/null
	openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$NODE/tls/s.key" -out "$NODE/tls/s.csr" 2>/dev/null
	openssl x509 -req -in "$NODE/tls/s.csr" -CA "$NODE/tls/ca.crt" -CAkey "$NODE/tls/ca.key" -CAcreateserial -days 2 \
		-extfile <(echo subjectAltName=DNS:localhost) -out "$NODE/tls/s.crt" 2>/dev/null
	registry2 basic "${BASIC#*:}" "auth: {htpasswd: {realm: r, path: $NODE/htpasswd}}"
	registry2 tls "${TLS#*:}" "  tls: {certificate: $NODE/tls/s.crt, key: $NODE/tls/s.key}"
	# What podman, skopeo and we read below /etc/containers is ours to change, in this mount namespace.
	cp -r /etc/containers "$NODE/etc-containers"; mkdir -p "$NODE/etc-containers/certs.d/$TLS"
	mount --bind "$NODE/etc-containers" /etc/containers
	printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$BASIC" 127.0.0.1:1 >"$NODE/etc/registries.d/50-more.conf"

	# Images of this suite.
	push_to busybox "$REGISTRY/schema2:1" --format v2s2
	push_to user "$REGISTRY/multi:arm"; push_to busybox "$REGISTRY/multi:amd"
	push_index multi 1 arm64=arm "$(here)"=amd; push_index multi none s390x=arm
	mkdir -p "$NODE/src/base"; cp -a "$(busybox_tree)/." "$NODE/src/base/"
	for i in $(seq 40); do mkdir -p "$NODE/src/l$i/many"; echo "$i" >"$NODE/src/l$i/many/$i"; echo "$i" >"$NODE/src/l$i/last"; layers+=("$NODE/src/l$i"); done
	"$FIXTURES/mkimage.sh" "$MADE" many --env PATH=/bin "$NODE/src/base" "${layers[@]}" >/dev/null; push_to many "$REGISTRY/many:1"
	mkdir "$NODE/src/big"; head -c 24M /dev/urandom >"$NODE/src/big/data"
	"$FIXTURES/mkimage.sh" "$MADE" big "$NODE/src/big" >/dev/null
	node_wait 20 curl -s -o /dev/null "http://$BASIC/v2/"
	push_to big "$BASIC/big:1" --dest-creds user:secret; push_to busybox "$BASIC/private:1" --dest-creds user:secret
	node_wait 20 curl -s -o /dev/null --cacert "$NODE/tls/ca.crt" "https://$TLS/v2/"
	push_to busybox "$TLS/secure:1"
	crio_start; echo "$CRIO_PID" >"$NODE/crio.pid"; remove_all_images # of another suite
}
# What podman keeps for itself beside a store, which is nobody's leak. Its mount may be in use by a daemon that started upon it.
podman_gone() {
	crio_pid; crio_stop || return
	! mountpoint -q "$NODE/root/overlay" || umount "$NODE/root/overlay" || return
	rm -rf "$NODE"/root/{defaultNetworkBackend,libpod,mounts,tmp,overlay/.has-mount-program} "$NODE"/run/libpod "$NODE"/run/storage/overlay{,-locks}
	crio_start
}
teardown_file() {
	local p rc=0
	podman_gone || rc=1
	suite_end || rc=1
	for p in basic tls; do kill "$(cat "$NODE/reg-$p.pid")"; done
	umount /etc/containers; return $rc
}
teardown() { remove_all_pods; remove_all_images; }

here() { case $(uname -m) in x86_64) echo amd64 ;; aarch64) echo arm64 ;; esac; }
# The files of the first layer of the busybox image.
busybox_tree() {
	local t=$NODE/src/busybox m
	if [ ! -d "$t" ]; then
		m=$(jq -r '.manifests[0].digest' "$NODE_IMAGES/busybox/index.json"); mkdir -p "$t"
		tar -C "$t" -xzf "$NODE_IMAGES/busybox/blobs/sha256/$(jq -r '.layers[0].digest' "$NODE_IMAGES/busybox/blobs/sha256/${m#*:}" | cut -d: -f2)"
	fi
	echo "$t"
}
# push_index REPO TAG ARCH=TAG...: an index of manifests that the repository has.
push_index() {
	local repo=$1 tag=$2 rows='[]' a m mt=application/vnd.oci.image; shift 2
	for a; do
		m=$(curl -sf -H "Accept: $mt.manifest.v1+json" "http://$REGISTRY/v2/$repo/manifests/${a#*=}"; echo .); m=${m%.}
		rows=$(jq -c --arg t $mt.manifest.v1+json --arg d "sha256:$(printf %s "$m" | sha256sum | cut -d' ' -f1)" --argjson s "$(printf %s "$m" | wc -c)" --arg a "${a%%=*}" \
			'.+[{mediaType:$t,digest:$d,size:$s,platform:{os:"linux",architecture:$a}}]' <<<"$rows")
	done
	jq -nc --arg t $mt.index.v1+json --argjson m "$rows" '{schemaVersion:2,mediaType:$t,manifests:$m}' |
		curl -sf -X PUT -H "Content-Type: $mt.index.v1+json" --data-binary @- "http://$REGISTRY/v2/$repo/manifests/$tag"
}
layout_manifest() { jq -r '.manifests[0].digest' "$MADE/$1/index.json"; }
layout_config() { jq -r .config.digest "$MADE/$1/blobs/sha256/$(layout_manifest "$1" | cut -d: -f2)"; }
layout_id() { layout_config "$1" | cut -d: -f2; }
image() { cri ImageStatus "{\"image\":{\"image\":\"$1\"}}" | jq -r ".image.${2:-id}"; }
images_json() { cri ListImages '{}' | jq -c '.images // []'; }
rmi() { cri RemoveImage "{\"image\":{\"image\":\"$1\"}}" >/dev/null; }
remove_all_images() { local i; for i in $(images_json | jq -r '.[].id'); do rmi "$i"; done; }
pull_as() { cri -r image_ref PullImage "$(jq -nc --arg i "$1" --argjson a "$2" '{image:{image:$i},auth:$a}')"; }
restart() { # restart [flags]
	CRIO_PID=$(cat "$NODE/crio.pid"); kill -TERM "$CRIO_PID"
	node_wait 20 pid_gone "$CRIO_PID"; crio_start "$@"; echo "$CRIO_PID" >"$NODE/crio.pid"
}
pid_gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status"; }
pod_man() { podman --root "$NODE/root" --runroot "$NODE/run/storage" --tmpdir "$NODE/run/libpod" --storage-driver overlay --cgroup-manager cgroupfs "$@"; }
STORE() { echo "containers-storage:[overlay@$NODE/root+$NODE/run/storage]$1"; }
layer_records() { jq length "$NODE/root/overlay-layers/layers.json" 2>/dev/null || echo 0; }
layer_trees() { find "$NODE/root/overlay" -mindepth 1 -maxdepth 1 -type d ! -name l 2>/dev/null | wc -l; }
no_trees() { node_wait 10 eval '[ "$(layer_trees)" = 0 ]'; } # they are deleted in the background
# in_image IMAGE COMMAND...: what the command prints in a container of the image.
in_image() {
	local i=$1 pod ctr; shift
	pod=$(run_pod inimage '.linux.security_context.namespace_options={network:2,pid:1}|.hostname=""')
	ctr=$(create_ctr "$pod" inimage c "$(jq -nr --arg i "$i" '".image.image=\($i|tojson)|.linux.security_context.namespace_options={network:2,pid:1}"')") || return
	start_ctr "$ctr"; exec_ctr "$ctr" "$@"
}

@test "by tag, by digest and by short name it is the same image" {
	id=$(pull "$REGISTRY/busybox:1"); [ "$id" = "$(layout_id busybox)" ]
	[ "$(pull "$REGISTRY/busybox@$(layout_manifest busybox)")" = "$id" ]
	[ "$(pull busybox:1)" = "$id" ]
	[ "$(image busybox:1)" = "$id" ]; [ "$(image "${id:0:12}")" = "$id" ]; [ "$(image "sha256:$id")" = "$id" ]
	[ "$(images_json | jq length)" = 1 ]
	[ "$(image "$id" 'repo_tags|join(" ")')" = "$REGISTRY/busybox:1" ]
	[ "$(image "$id" 'repo_digests|join(" ")')" = "$REGISTRY/busybox@$(layout_manifest busybox)" ]
	[ "$(in_image busybox:1 cat /etc/passwd | head -1)" = root:x:0:0:root:/root:/bin/sh ]
}

@test "what an image's config says is shown" {
	id=$(pull "$REGISTRY/user:1")
	[ "$(image "$id" username)" = test ]; [ "$(image "$id" 'size|tonumber')" -gt 500000 ]
	out=$(cri ImageStatus "{\"image\":{\"image\":\"$id\"},\"verbose\":true}" | jq -r '.info.info')
	[ "$(jq -r .imageSpec.config.WorkingDir <<<"$out")" = /made/by/image ]; [ "$(jq -r .labels.maintainer <<<"$out")" = nobody ]
	[ "$(image "$id" pinned)" != true ]
	id=$(pull "$REGISTRY/pause:1"); [ "$(image "$id" pinned)" = true ]; [ "$(image "$id" uid.value)" = 65535 ]
}

@test "whiteouts hide what lower layers have, in a running container (zstd layers)" {
	pull "$REGISTRY/twolayer:1" >/dev/null
	out=$(in_image "$REGISTRY/twolayer:1" sh -c 'cat /data/keep/file /data/keep/file2 /opaque/new; ls -a /opaque /data; ls /deleted /data/gone /opaque/old 2>&1; true')
	[[ $out == *one*two*new* ]]
	[[ $out == *'/deleted: No such file'* && $out == *'/data/gone: No such file'* && $out == *'/opaque/old: No such file'* ]]
	[[ $out != *.wh.* ]]
}

@test "forty layers" {
	pull "$REGISTRY/many:1" >/dev/null
	out=$(in_image "$REGISTRY/many:1" sh -c 'ls /many | wc -l; cat /last')
	[ "$(echo $out)" = "40 40" ]
}

@test "a Docker schema 2 manifest" {
	id=$(pull "$REGISTRY/schema2:1")
	[[ $(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/schema2:1" | jq -r .mediaType) == application/vnd.docker.distribution.manifest.v2+json ]]
	[ "$(in_image "$REGISTRY/schema2:1" echo runs)" = runs ]
	[ "$(image "$id" 'repo_tags[0]')" = "$REGISTRY/schema2:1" ]
}

@test "an index: this machine's platform is taken, and none is said" {
	id=$(pull "$REGISTRY/multi:1"); [ "$id" = "$(layout_id busybox)" ]
	# Both digests name it.
	index=$(curl -sf -H 'Accept: application/vnd.oci.image.index.v1+json' "http://$REGISTRY/v2/multi/manifests/1" | sha256sum | cut -d' ' -f1)
	[ "$(image "$REGISTRY/multi@sha256:$index")" = "$id" ]; [ "$(image "$REGISTRY/multi@$(layout_manifest busybox)")" = "$id" ]
	run pull "$REGISTRY/multi:none"; [ "$status" != 0 ]; [[ $output == *"$(here)"* ]]
}

@test "Basic authentication: of the request, of a user and password, of the registry's name only" {
	fails Unauthenticated "$BASIC/private:1" PullImage "{\"image\":{\"image\":\"$BASIC/private:1\"}}"
	pull_as "$BASIC/private:1" '{"username":"user","password":"secret"}'
	rmi "$BASIC/private:1"
	pull_as "$BASIC/private:1" "{\"auth\":\"$(printf user:secret | base64)\",\"server_address\":\"$BASIC\"}"
	rmi "$BASIC/private:1"
	run pull_as "$BASIC/private:1" '{"username":"user","password":"wrong-one"}'
	[ "$status" = 16 ]; [[ $output == *Unauthenticated* && $output != *wrong-one* ]]
	if grep -qF -e wrong-one -e "$(printf user:secret | base64)" "$NODE/crio.log"; then false; fi
	[ "$(images_json)" = '[]' ]
}

# token_registry: the one that demands tokens; $TOK is its address, $TOKLOG what each of its three hosts was asked.
token_registry() {
	export TOKLOG=$NODE/token.log TOK; : >"$TOKLOG"; rm -f "$NODE/token.in" "$NODE/token.ports"; mkfifo "$NODE/token.in"
	python3 "$FIXTURES/token-registry.py" "$MADE" "$TOKLOG" <"$NODE/token.in" >"$NODE/token.ports" 3>&- & TOKPID=$!
	exec 8>"$NODE/token.in"; node_wait 10 test -s "$NODE/token.ports"; TOK=127.0.0.1:$(cut -d' ' -f1 "$NODE/token.ports")
	printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$TOK" >"$NODE/etc/registries.d/60-token.conf"
	crio_pid; kill -HUP "$CRIO_PID"; node_wait 10 token_insecure
}
token_insecure() { cri PullImage "{\"image\":{\"image\":\"$TOK/anon/busybox:up\"}}"; }
token_end() { exec 8>&-; wait "$TOKPID" || true; rm -f "$NODE/etc/registries.d/60-token.conf"; kill -HUP "$CRIO_PID"; }
asked() { grep -cE "$1" "$TOKLOG" || true; }
@test "token authentication: right, wrong, no credentials, tokens that end, other hosts" {
	local secret='{"username":"user","password":"secret"}'
	token_registry; rmi "$TOK/anon/busybox:up"; [ "$(asked '^token .* basic')" = 0 ]
	# Right, wrong and none.
	: >"$TOKLOG"; [ "$(pull_as "$TOK/priv/twolayer:1" "$secret")" = "$(layout_id twolayer)" ]
	[ "$(asked '^token GET /token\?account=user&service=test&scope=repository%3Apriv%2Ftwolayer%3Apull basic')" = 1 ] || { cat "$TOKLOG"; false; }
	# The password goes to the token service alone, and one token does for the whole pull.
	[ "$(asked '^(registry|other) .* basic')" = 0 ]; [ "$(asked '^registry .*/(manifests|blobs)/.* bearer')" -ge 4 ]
	rmi "$TOK/priv/twolayer:1"; : >"$TOKLOG"
	run pull_as "$TOK/priv/twolayer:1" '{"username":"user","password":"wrong-one"}'
	[ "$status" = 16 ]; [[ $output == *Unauthenticated*"incorrect username or password"* && $output != *wrong-one* ]]; [ "$(asked '^token')" -le 2 ]
	fails Unauthenticated "" PullImage "{\"image\":{\"image\":\"$TOK/priv/twolayer:1\"}}"
	run pull_as "$TOK/anon/twolayer:1" '{"username":"user","password":"wrong-one"}'; [ "$status" = 16 ]
	[ "$(images_json)" = '[]' ]
	# A token that ends in the middle of a pull is replaced.
	: >"$TOKLOG"; [ "$(pull "$TOK/short/many:1")" = "$(layout_id many)" ]; [ "$(asked '^token')" -ge 2 ]; [ "$(asked ' basic')" = 0 ]
	rmi "$TOK/short/many:1"
	# What a token service or a blob's address leads to on another host gets neither the password nor the token.
	: >"$TOKLOG"; run pull_as "$TOK/moved/busybox:1" "$secret"
	[ "$status" != 0 ]; [ "$(asked '^token .* basic')" -ge 1 ]; [ "$(asked '^other')" -ge 1 ]; [ "$(asked '^other .* (basic|bearer)')" = 0 ]
	: >"$TOKLOG"; [ "$(pull_as "$TOK/elsewhere/busybox:1" "$secret")" = "$(layout_id busybox)" ]
	[ "$(asked '^other GET /blob/')" -ge 2 ]; [ "$(asked '^other .* (basic|bearer)')" = 0 ]; rmi "$TOK/elsewhere/busybox:1"
	# Not when it asks for them, either.
	: >"$TOKLOG"; run pull_as "$TOK/elsewhere/twolayer:1" "$secret"; [ "$status" != 0 ]
	[ "$(asked '^other GET /blob/')" -ge 1 ]; [ "$(asked '^other .*/token')" = 0 ]; [ "$(asked '^other .* (basic|bearer)')" = 0 ]
	if grep -qF -e wrong-one -e "$(printf user:secret | base64)" "$NODE/crio.log"; then false; fi
	token_end
}

@test "TLS: an authority of certs.d is needed and enough" {
	fails Unavailable certificate PullImage "{\"image\":{\"image\":\"$TLS/secure:1\"}}"
	cp "$NODE/tls/ca.crt" "/etc/containers/certs.d/$TLS/ca.crt"
	[ "$(pull "$TLS/secure:1")" = "$(layout_id busybox)" ]
}

@test "eight pulls of one image share one transfer" {
	layer=$(jq -r '.layers[0].digest' "$MADE/big/blobs/sha256/$(layout_manifest big | cut -d: -f2)")
	: >"$NODE/reg-basic.log"
	q="{\"image\":{\"image\":\"$BASIC/big:1\"},\"auth\":{\"username\":\"user\",\"password\":\"secret\"}}"
	for i in 1 2 3 4 5 6 7 8; do cri -r image_ref PullImage "$q" >"$NODE/pulled.$i" & pids[i]=$!; done
	for i in 1 2 3 4 5 6 7 8; do wait "${pids[i]}"; [ "$(cat "$NODE/pulled.$i")" = "$(layout_id big)" ]; done
	[ "$(grep -cE "GET /v2/big/blobs/$layer HTTP/1.1\" 200" "$NODE/reg-basic.log")" = 1 ]
	# Another name of the same image fetches no layer again.
	pull_as "$BASIC/big@$(layout_manifest big)" '{"username":"user","password":"secret"}'
	[ "$(grep -cE "GET /v2/big/blobs/$layer HTTP/1.1\" 200" "$NODE/reg-basic.log")" = 1 ]
}

@test "lists, filters and absent images" {
	[ "$(images_json)" = '[]' ]
	a=$(pull "$REGISTRY/busybox:1"); b=$(pull "$REGISTRY/user:1")
	[ "$(images_json | jq -r '[.[].id]|sort|join(" ")')" = "$(printf '%s\n' "$a" "$b" | sort | paste -sd' ')" ]
	[ "$(cri ListImages "{\"filter\":{\"image\":{\"image\":\"$REGISTRY/user:1\"}}}" | jq -r '[.images[].id]|join(" ")')" = "$b" ]
	[ "$(cri ListImages "{\"filter\":{\"image\":{\"image\":\"$REGISTRY/no:1\"}}}" | jq -c '.images // []')" = '[]' ]
	[ "$(cri ImageStatus "{\"image\":{\"image\":\"$REGISTRY/no:1\"}}" | jq -c '.image // "none"')" = '"none"' ]
	rmi "$REGISTRY/no:1"; rmi "$(printf '%064d' 7)"
	fails InvalidArgument "" ImageStatus '{}'; fails InvalidArgument "" PullImage '{}'; fails InvalidArgument "" RemoveImage '{}'
}

@test "removing: a name of several, the last name, by id, and not what a container stands on" {
	id=$(pull "$REGISTRY/busybox:1"); pull "$REGISTRY/multi:amd" >/dev/null
	rmi "$REGISTRY/busybox:1"
	[ "$(image "$id" 'repo_tags|join(" ")')" = "$REGISTRY/multi:amd" ]; [ "$(image "$REGISTRY/busybox:1")" = null ]
	rmi "$REGISTRY/multi:amd"
	[ "$(image "$id")" = null ]; [ "$(images_json)" = '[]' ]; [ "$(layer_records)" = 0 ]; no_trees
	pull "$REGISTRY/busybox:1" >/dev/null; pull "$REGISTRY/multi:amd" >/dev/null
	pod=$(run_pod p1); ctr=$(run_ctr "$pod" p1 c1)
	fails FailedPrecondition "image used by $ctr: image is in use by a container" RemoveImage "{\"image\":{\"image\":\"$id\"}}"
	rmi "$REGISTRY/multi:amd" # a name only: fine
	fails FailedPrecondition "in use" RemoveImage "{\"image\":{\"image\":\"$REGISTRY/busybox:1\"}}"
	[ "$(exec_ctr "$ctr" echo still)" = still ]
	rm_pod "$pod"
	rmi "$id"; [ "$(images_json)" = '[]' ]; [ "$(layer_records)" = 0 ]; no_trees
}

# What find and du see of the images: trees of layers that are no container's, and the metadata. "BYTES INODES"
on_disk() {
	{ jq -r '.[]|select(."diff-digest")|.id' "$NODE/root/overlay-layers/layers.json" | xargs -I{} find "$NODE/root/overlay/{}/diff" -printf '%D:%i %b\n'
	  find "$NODE/root/overlay-layers" "$NODE/root/overlay-images" -mindepth 1 -printf '%D:%i %b\n'; } |
		sort -u | awk '{b += $2; n++} END {print b * 512, n}'
}
told() { cri ImageFsInfo '{}' | jq -r '.image_filesystems[0]|"\(.used_bytes.value) \(.inodes_used.value)"'; }
@test "the figures of the image file system are what find and du say" {
	local empty out pod c
	empty=$(told); [ "$empty" = "$(on_disk)" ]; [ "${empty% *}" -lt 1000000 ]
	pull_as "$BASIC/big:1" '{"username":"user","password":"secret"}'; pull "$REGISTRY/busybox:1" >/dev/null
	out=$(cri ImageFsInfo '{}')
	[ "$(jq -r '.image_filesystems[0].fs_id.mountpoint' <<<"$out")" = "$NODE/root/overlay-images" ]
	[ "$(jq -r '.container_filesystems|length' <<<"$out")" -ge 1 ]
	[ "$(jq -r '.image_filesystems[0].timestamp' <<<"$out")" -gt 1500000000000000000 ]
	[ "$(told)" = "$(on_disk)" ]; full=$(told); [ "${full% *}" -gt 24000000 ]; [ "${full#* }" -gt $((${empty#* } + 4)) ]
	pull "$REGISTRY/many:1" >/dev/null; [ "$(told)" = "$(on_disk)" ]; full=$(told); [ "${full#* }" -gt $((40 * 3)) ]
	# What a container writes is the container's.
	pull "$REGISTRY/pause:1" >/dev/null; pod=$(run_pod f1); before=$(told); c=$(run_ctr "$pod" f1 c1)
	exec_ctr "$c" sh -c 'for i in $(seq 50); do echo x >/x$i; done'; now=$(told); [ $((${now#* } - ${before#* })) -le 3 ]; rm_pod "$pod"
	[ "$(told)" = "$(on_disk)" ]
	# Layers of other tools, and figures that are lost, are measured when asked for; those that are known are not measured again.
	crio_kill; rm -f "$NODE/root/crio/usage"; crio_start; [ "$(told)" = "$(on_disk)" ]; [ "$(wc -l <"$NODE/root/crio/usage")" -ge 42 ]
	before=$(told); crio_kill; echo torn >>"$NODE/root/crio/usage"; crio_start
	top=$(jq -r '[.[]|select(."diff-digest")|.id][0]' "$NODE/root/overlay-layers/layers.json"); touch "$NODE/root/overlay/$top/diff/added"
	[ "$(told)" = "$before" ]; rm "$NODE/root/overlay/$top/diff/added"
	rmi "$REGISTRY/many:1"; rmi "$REGISTRY/pause:1"; [ "$(told)" = "$(on_disk)" ]
}

# copied DIR: the layers of a copy are what its config says, byte for byte.
copied() {
	local want got d
	want=$(jq -r '.rootfs.diff_ids[]' "$1/$(jq -r .config.digest "$1/manifest.json" | cut -d: -f2)")
	got=$(jq -r '.layers[].digest' "$1/manifest.json" | while read -r d; do d=${d#*:}; { gzip -dc "$1/$d" 2>/dev/null || cat "$1/$d"; } | sha256sum | sed 's/^/sha256:/; s/ .*//'; done)
	[ -n "$want" ] && [ "$want" = "$got" ]
}

@test "podman and skopeo use the store as theirs" {
	id=$(pull "$REGISTRY/twolayer:1"); pull "$REGISTRY/user:1" >/dev/null
	pod_man images --no-trunc >"$NODE/podman.out"
	grep -q "$REGISTRY/twolayer .*$id" "$NODE/podman.out"
	[ "$(pod_man inspect "$REGISTRY/user:1" | jq -r '.[0].Config.StopSignal')" = SIGUSR1 ]
	[ "$(pod_man inspect "$id" | jq -r '.[0].RootFS.Layers|length')" = 2 ]
	skopeo --insecure-policy copy -q "$(STORE "$id")" "dir:$NODE/copied"
	[ "$(jq -r .config.digest "$NODE/copied/manifest.json")" = "sha256:$id" ]
	copied "$NODE/copied"
	# Nothing of this has harmed the store.
	[ "$(image "$id" 'repo_tags[0]')" = "$REGISTRY/twolayer:1" ]
	[ "$(in_image "$REGISTRY/twolayer:1" cat /opaque/new)" = new ]
	# With a container of ours, podman does not remove its image.
	run pod_man rmi "$id"; [ "$status" != 0 ]
	[ "$(image "$id")" = "$id" ]
}

@test "what skopeo and podman stored is ours to list, run and remove" {
	skopeo --insecure-policy copy -q "oci:$MADE/twolayer:latest" "$(STORE example.com/theirs:1)"
	[ "$(image example.com/theirs:1)" = "$(layout_id twolayer)" ]
	[ "$(in_image example.com/theirs:1 cat /data/keep/file2)" = two ]
	pod_man pull -q --tls-verify=false "$REGISTRY/user:1" >/dev/null
	[ "$(image "$REGISTRY/user:1" username)" = test ]
	pod_man tag "$REGISTRY/user:1" example.com/tagged:2
	[ "$(image example.com/tagged:2)" = "$(layout_id user)" ]
	pod_man rmi example.com/tagged:2 >/dev/null; [ "$(image example.com/tagged:2)" = null ]
	rmi "$REGISTRY/user:1"; not pod_man image exists "$REGISTRY/user:1"
}

@test "what cannot be pulled says why" {
	fails NotFound "manifest unknown" PullImage "{\"image\":{\"image\":\"$REGISTRY/busybox:none\"}}"
	fails NotFound "" PullImage "{\"image\":{\"image\":\"$REGISTRY/no/such:1\"}}"
	fails NotFound "" PullImage "{\"image\":{\"image\":\"$REGISTRY/busybox@sha256:$(printf '%064d' 1)\"}}"
	fails Unavailable "message = RegistryUnavailable: " PullImage '{"image":{"image":"127.0.0.1:1/x:1"}}'
	for i in 'UPPER/Case:1' 'a b' "$REGISTRY/x@sha256:short" "$REGISTRY/x:" "../../etc" "$(printf 'x%.0s' {1..600})"; do
		fails InvalidArgument "" PullImage "$(jq -nc --arg i "$i" '{image:{image:$i}}')"
	done
	[ "$(images_json)" = '[]' ]
}

@test "a blob that the registry has damaged is refused, and nothing stays" {
	mkdir -p "$NODE/src/bad"; head -c 300000 /dev/urandom >"$NODE/src/bad/data"
	"$FIXTURES/mkimage.sh" "$MADE" bad "$(busybox_tree)" "$NODE/src/bad" >/dev/null; push_to bad "$REGISTRY/bad:1"
	hex=$(jq -r '.layers[1].digest' "$MADE/bad/blobs/sha256/$(layout_manifest bad | cut -d: -f2)" | cut -d: -f2)
	blob=$NODE/registry/docker/registry/v2/blobs/sha256/${hex:0:2}/$hex/data
	printf '\377\377' | dd of="$blob" bs=1 seek=150000 conv=notrunc status=none
	fails DataLoss "$hex" PullImage "{\"image\":{\"image\":\"$REGISTRY/bad:1\"}}"
	[ "$(images_json)" = '[]' ]; [ "$(layer_records)" = 0 ]; no_trees
	# Mended, it is pulled.
	cp "$MADE/bad/blobs/sha256/$hex" "$blob"
	pull "$REGISTRY/bad:1" >/dev/null
}

@test "images outlive the daemon; the global auth file is used" {
	id=$(pull "$REGISTRY/twolayer:1"); before=$(images_json)
	printf '{"auths":{"%s":{"auth":"%s"}}}' "$BASIC" "$(printf user:secret | base64)" >"$NODE/auth.json"
	printf '[crio.image]\nglobal_auth_file = "%s"\n' "$NODE/auth.json" >"$NODE/etc/conf.d/auth.conf"
	restart
	[ "$(images_json)" = "$before" ]
	[ "$(in_image "$REGISTRY/twolayer:1" cat /opaque/new)" = new ]
	pull "$BASIC/private:1" >/dev/null
	rm "$NODE/etc/conf.d/auth.conf"; restart
	rmi "$BASIC/private:1"
	fails Unauthenticated "" PullImage "{\"image\":{\"image\":\"$BASIC/private:1\"}}"
}
