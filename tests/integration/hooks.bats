#!/usr/bin/env bats
# Hook plugins: the OCI hooks of hooks.d (ocihooks), and one from outside that looks at every stage and does what it is told.
load lib/cri.bash

setup_file() {
	export DIR=$NODE/plugins SPY=$NODE/spy H1=$NODE/hooks1 H2=$NODE/hooks2/late
	cp -r "$CRIO_PLUGINS" "$DIR"; find "$DIR" -name '*.la' -delete
	mkdir -p "$DIR/hooks" "$SPY" "$H1"
	[ -f "$DIR/hooks/ocihooks.so" ] || skip "ocihooks is not built as a module here"
	cc -std=gnu11 -fPIC -shared -Wall -Werror -I"${CRIO%/usr/bin/crio}/usr/include" -o "$NODE/spy.so" "$FIXTURES/hook-spy.c"
	cat >"$NODE/etc/conf.d/10-hooks.conf" <<-EOT
	[crio.plugins]
	dir = "$DIR"
	hooks = ["ocihooks"]
	hooks_timeout = "6s"
	[crio.runtime]
	hooks_dir = ["$H1", "$H2"]
	EOT
	echo "dir = \"$SPY\"" >"$NODE/etc/plugins.d/hook-spy.conf"
	cat >"$NODE/hook.sh" <<-'EOT'
	#!/bin/sh
	state=$(cat); out=$1; shift
	echo "$* env=$MARK id=$(echo "$state" | sed 's/.*"id" *: *"\([0-9a-f]*\)".*/\1/')" >>"$out"
	EOT
	chmod +x "$NODE/hook.sh"
	crio_start; pull >/dev/null
}
teardown_file() { suite_end; }
setup() { CRIO_PID=$(cat "$NODE/crio.pid"); MARK=$(wc -l <"$NODE/crio.log"); OUT=$NODE/out.$BATS_TEST_NUMBER; }
teardown() {
	rm -f "$SPY"/*; remove_all_pods; rm -f "$SPY"/*
	find "$H1" "$NODE/hooks2" -name '*.json' -delete 2>/dev/null || true
}

since() { tail -n "+$((MARK + 1))" "$NODE/crio.log" | grep -qE -- "$1"; }
settled() { node_wait 5 since "msg=\"$1 OCI hooks are in force"; MARK=$(wc -l <"$NODE/crio.log"); }
# hook DIR NAME WHEN STAGES [WORD...]: a 1.0.0 file whose program writes the words to $OUT.
hook() {
	local dir=$1 name=$2 when=$3 stages=$4; shift 4
	jq -nc --arg p "$NODE/hook.sh" --arg o "$OUT" --argjson w "$when" --argjson s "$stages" \
		'{version:"1.0.0",hook:{path:$p,args:(["hook",$o]+$ARGS.positional),env:["MARK=m","PATH=/usr/bin:/bin"],timeout:20},when:$w,stages:$s}' \
		--args -- "$@" >"$NODE/new.hook"
	mv "$NODE/new.hook" "$dir/$name"
}
spec_of() { cat "$NODE/root/overlay-containers/$1/userdata/config.json"; }
ran() { grep -q "^$1 env=m id=$2\$" "$OUT"; }

@test "stages and order: each hook runs at its moment, files by name without regard to case" {
	hook "$H1" B.json '{"always":true}' '["prestart","poststart","poststop"]' second
	hook "$H1" a.json '{"always":true}' '["createRuntime"]' first
	settled 2
	p=$(run_pod h1); c=$(create_ctr "$p" h1 c)
	ran first "$c"; ran second "$c"; [ "$(cut -d' ' -f1 "$OUT" | tr '\n' ' ')" = "first second " ]
	spec_of "$c" | jq -e '.hooks|(.createRuntime|length==2) and (.poststart|length==1) and (.poststop|length==1) and (has("prestart")|not)
		and (.createRuntime[0]|.args[2]=="first" and .timeout==20 and .env[0]=="MARK=m")'
	spec_of "$c" | jq -re '.annotations["hooks.crio.io"]' | grep -qx 'ocihooks: hooks'
	start_ctr "$c"; [ "$(grep -c ^second "$OUT")" = 2 ]
	stop_ctr "$c"; rm_ctr "$c"; [ "$(grep -c ^second "$OUT")" = 3 ]
	# Pods of their own, and infra containers, have none.
	[ "$(grep -c ^first "$OUT")" = 1 ]
}

@test "createContainer and startContainer go into the spec as they are" {
	hook "$H1" a.json '{"always":true}' '["createContainer","startContainer"]' x; settled 1
	# startContainer runs inside the container, where this program is not: the spec is what we answer for.
	p=$(run_pod h2); c=$(create_ctr "$p" h2 c) || true
	grep -q '^x env=m' "$OUT"
}

@test "conditions: all that are there must hold, and one must be there" {
	hook "$H1" 1.json '{"annotations":{"^io\\.example/(a|b)$":"^(?i)yes$"}}' '["createRuntime"]' annotation
	hook "$H1" 2.json '{"commands":["/(sh|bash)$","^sh$"]}' '["createRuntime"]' command
	hook "$H1" 3.json '{"hasBindMounts":true}' '["createRuntime"]' mounts
	hook "$H1" 4.json '{"always":true,"annotations":{"^io\\.example/a$":"no"}}' '["createRuntime"]' never
	hook "$H1" 5.json '{}' '["createRuntime"]' nothing
	hook "$H1" 6.json '{"annotations":{"^of-the-pod$":"\\d+"},"commands":["^sh$"]}' '["createRuntime"]' both
	settled 6
	p=$(run_pod h3 '.annotations={"of-the-pod":"17"}'); [ ! -e "$OUT" ]
	create_ctr "$p" h3 plain '.command=["sleep","60"]' >/dev/null; [ ! -e "$OUT" ]
	create_ctr "$p" h3 ann '.command=["sleep","60"]|.annotations={"io.example/b":"YES"}' >/dev/null; [ "$(cut -d' ' -f1 "$OUT")" = annotation ]; rm "$OUT"
	create_ctr "$p" h3 cmd >/dev/null; [ "$(cut -d' ' -f1 "$OUT" | tr '\n' ' ')" = "command both " ]; rm "$OUT"
	create_ctr "$p" h3 mnt '.command=["sleep","60"]|.mounts=[{"container_path":"/x","host_path":"'"$NODE"'/etc"}]' >/dev/null; [ "$(cut -d' ' -f1 "$OUT")" = mounts ]
}

@test "the old format: one condition is enough" {
	jq -nc --arg p "$NODE/hook.sh" --arg o "$OUT" '{hook:$p,arguments:[$o,"old"],cmds:["^nothing$"],annotation:["^x$","^y+$"],stage:["prestart"]}' >"$H1/old.json"; settled 1
	p=$(run_pod h4); create_ctr "$p" h4 a >/dev/null; [ ! -e "$OUT" ]
	c=$(create_ctr "$p" h4 b '.annotations={"any":"yyy"}'); grep -q "^old env= id=$c" "$OUT"; rm "$OUT"
	spec_of "$c" | jq -e --arg p "$NODE/hook.sh" '.hooks.createRuntime[0]|.path==$p and .args[0]==$p'
	create_ctr "$p" h4 c '.command=["nothing"]' >/dev/null || true; grep -q "^old " "$OUT"
}

@test "several directories: a later file of the same name wins; a directory that comes later is followed" {
	hook "$H1" a.json '{"always":true}' '["createRuntime"]' early; settled 1
	p=$(run_pod h5); create_ctr "$p" h5 a >/dev/null; grep -q ^early "$OUT"; rm "$OUT"
	mkdir -p "$H2"; hook "$H2" a.json '{"always":true}' '["createRuntime"]' late
	node_wait 5 since 'OCI hooks are in force'; sleep 0.3
	create_ctr "$p" h5 b >/dev/null; [ "$(cut -d' ' -f1 "$OUT")" = late ]; rm "$OUT"
	MARK=$(wc -l <"$NODE/crio.log"); rm -rf "$NODE/hooks2"; settled 1
	create_ctr "$p" h5 c >/dev/null; [ "$(cut -d' ' -f1 "$OUT")" = early ]; rm "$OUT"
	rm "$H1/a.json"; settled 0
	c=$(create_ctr "$p" h5 d); [ ! -e "$OUT" ]; spec_of "$c" | jq -e 'has("hooks")|not'
}

@test "broken files are named, with their fault, and left out; the others work" {
	hook "$H1" good.json '{"always":true}' '["createRuntime"]' good
	echo '{"version":"1.0.0","hook":{"path":"/bin/true"},"when":{"annotations":{"(":"x"}},"stages":[]}' >"$H1/b1.json"
	echo '{"version":"2.0.0"}' >"$H1/b2.json"
	echo '{"hook":"/nonexistent/x","stages":["prestart"]}' >"$H1/b3.json"
	echo '{"version":"1.0.0","hook":{"path":"/bin/true"},"when":{"always":true},"stages":["preflight"]}' >"$H1/b4.json"
	head -c 300000 /dev/zero | tr '\0' ' ' >"$H1/b5.json"
	mkfifo "$H1/b6.json"
	echo '{"version":"1.0.0","hook":{"path":"/bin/true"},"when":{"commands":["((((a{100}){100}){100}){100})"]},"stages":[]}' >"$H1/b7.json"
	node_wait 5 since 'b7.json: invalid command'
	for t in 'b1.json: invalid annotation key' 'b2.json: unrecognized hook version: \\"2.0.0' "b3.json: the hook's program /nonexistent/x: No such" \
		'b4.json: unknown stage' 'b5.json: it is longer than' 'b6.json: it is no regular file'; do since "Hook file left out: .*$t"; done
	p=$(run_pod h6); create_ctr "$p" h6 a >/dev/null; grep -q ^good "$OUT"
	rm -f "$H1"/b*
}

@test "a hook that fails fails its container, and leaves nothing" {
	jq -nc '{version:"1.0.0",hook:{path:"/bin/false"},when:{annotations:{"^break$":"."}},stages:["createRuntime"]}' >"$H1/f.json"; settled 1
	p=$(run_pod h7)
	if create_ctr "$p" h7 a '.annotations={"break":"yes"}'; then false; fi
	[ "$(cri ListContainers '{}' | jq '[.containers[]?]|length')" = 0 ]
	create_ctr "$p" h7 b >/dev/null
}

@test "precreate: the spec is what the program makes of it; what may not be changed is refused" {
	cat >"$NODE/pre.sh" <<-'EOT'
	#!/bin/sh
	exec jq -c --arg f "$1" '.process.env += ["PRE=" + $f] | if $f == "steal" then .root.path = "/" else . end'
	EOT
	chmod +x "$NODE/pre.sh"
	pre() { jq -nc --arg p "$NODE/pre.sh" --arg w "$1" '{version:"1.0.0",hook:{path:$p,args:["pre",$w],env:["PATH=/usr/bin:/bin"]},when:{always:true},stages:["precreate"]}' >"$H1/$2"; }
	pre one 1.json; pre two 2.json; settled 2
	p=$(run_pod h8); c=$(run_ctr "$p" h8 a); exec_ctr "$c" sh -c 'echo $PRE' | grep -qx two
	spec_of "$c" | jq -e '.process.env|index("PRE=one")'
	spec_of "$c" | jq -re '.annotations["hooks.crio.io"]' | grep -qx 'ocihooks: process.env'
	pre steal 1.json; settled 2; fails InvalidArgument 'root may not be changed' CreateContainer "{\"pod_sandbox_id\":\"$p\",\"config\":$(ctr_json b),\"sandbox_config\":$(pod_json h8)}"
	rm "$H1/2.json"
	jq -nc '{version:"1.0.0",hook:{path:"/bin/sh",args:["sh","-c","echo no such luck >&2; exit 3"]},when:{always:true},stages:["precreate"]}' >"$H1/1.json"; settled 1
	fails Internal 'ended with 3: no such luck' CreateContainer "{\"pod_sandbox_id\":\"$p\",\"config\":$(ctr_json b),\"sandbox_config\":$(pod_json h8)}"
	jq -nc '{version:"1.0.0",hook:{path:"/bin/sleep",args:["sleep","1000"],timeout:1},when:{always:true},stages:["precreate"]}' >"$H1/1.json"; settled 1
	fails DeadlineExceeded 'precreate hook 1.json' CreateContainer "{\"pod_sandbox_id\":\"$p\",\"config\":$(ctr_json b),\"sandbox_config\":$(pod_json h8)}"
}

# ---- any hook plugin ----

# spy_runs: it is installed and named, whichever tests ran before.
spy_runs() {
	install -m 0755 "$NODE/spy.so" "$DIR/hooks/spy.so"
	grep -qF 'hooks = ["ocihooks", "spy"]' "$NODE/etc/conf.d/10-hooks.conf" && return 0
	sed -i 's/^hooks = .*/hooks = ["ocihooks", "spy"]/' "$NODE/etc/conf.d/10-hooks.conf"; crio_stop; crio_start
}

@test "a required hook that is not there refuses pods, until its file comes" {
	sed -i 's/^hooks = .*/hooks = ["ocihooks", "spy"]/' "$NODE/etc/conf.d/10-hooks.conf"; crio_stop; crio_start
	log_has "Hook plugin spy: .*there is no hook plugin 'spy'"
	fails NotFound "hook plugin spy at stage 'pod run': it is not there" RunPodSandbox "{\"config\":$(pod_json h9)}"
	[ "$(cri ListPodSandbox '{}' | jq '[.items[]?]|length')" = 0 ]
	install -m 0755 "$NODE/spy.so" "$DIR/hooks/spy.so"
	run_pod h9 >/dev/null; crio_cmd plugins list | grep -q '^hook.*spy'
}

@test "every stage is told of, in order" {
	spy_runs
	p=$(run_pod s1); c=$(run_ctr "$p" s1 c)
	cri UpdateContainerResources "{\"container_id\":\"$c\",\"linux\":{\"cpu_shares\":200}}" >/dev/null
	stop_ctr "$c"; rm_ctr "$c"; rm_pod "$p"
	[ "$(awk '{printf "%s ", $1}' "$SPY/log")" = "pod_run create validate created start started update stop remove pod_stop pod_remove " ]
	[ -z "$(grep -v "^[a-z_]* $p " "$SPY/log")" ]
	[ "$(grep -c " $c spec$" "$SPY/log")" = 8 ]
	head -1 "$SPY/create.pod.json" | jq -e '.name=="s1" and .namespace=="test" and (.ips|length)==2 and .state=="ready"'
	tail -1 "$SPY/create.pod.json" | jq -e --arg c "$c" '.id==$c and .name=="c" and .state=="created"'
	tail -1 "$SPY/remove.pod.json" | jq -e '.state=="exited"'
}

@test "adjustments are merged in order, noted, and checked" {
	spy_runs
	hook "$H1" a.json '{"always":true}' '["createRuntime"]' x; settled 1
	echo 'adjust {"process":{"env":["FROM=spy","PATH=/bin"]},"annotations":{"seen.example/x":"y"}}' >"$SPY/create"
	p=$(run_pod s2); c=$(run_ctr "$p" s2 c); [ "$(exec_ctr "$c" sh -c 'echo $FROM')" = spy ]
	spec_of "$c" | jq -re '.annotations["hooks.crio.io"]' | grep -qx 'ocihooks: hooks; spy: process.env annotations.seen.example/x'
	bad() { echo "adjust $1" >"$SPY/create"; fails InvalidArgument "$2" CreateContainer "{\"pod_sandbox_id\":\"$p\",\"config\":$(ctr_json d),\"sandbox_config\":$(pod_json s2)}"; }
	bad '{"process":{"args":[]}}' 'process.args is not a list of at least one string'
	bad '{"annotations":{"io.kubernetes.cri-o.SandboxID":"x"}}' "annotation io.kubernetes.cri-o.SandboxID is crio's own"
	bad '{"annotations":null}' "crio's own has been taken away"
	bad '{"hooks":{"poststop":[{"path":"relative"}]}}' 'is not absolute'
	bad '[]' 'its adjustment is no object'
	echo 'adjust {"linux":{"resources":{"memory":{"limit":50331648}}}}' >"$SPY/update"
	cri UpdateContainerResources "{\"container_id\":\"$c\",\"linux\":{\"cpu_shares\":300}}" >/dev/null
	[ "$(ctr_field "$c" resources.linux.memory_limit_in_bytes)" = 50331648 ]; [ "$(ctr_field "$c" resources.linux.cpu_shares)" = 300 ]
	echo 'adjust {"process":{"env":[]}}' >"$SPY/update"
	fails InvalidArgument 'an update may change nothing but linux.resources' UpdateContainerResources "{\"container_id\":\"$c\",\"linux\":{\"cpu_shares\":300}}"
}

@test "what a hook refuses is not done, and leaves nothing; where nothing can be refused it is logged" {
	spy_runs
	echo 'refuse not today' >"$SPY/pod_run"; node_snapshot >"$NODE/before"
	fails PermissionDenied "hook plugin spy at stage 'pod run': not today" RunPodSandbox "{\"config\":$(pod_json s3)}"
	node_snapshot >"$NODE/after"; diff "$NODE/before" "$NODE/after"
	rm "$SPY/pod_run"; p=$(run_pod s3)
	echo 'refuse invalid' >"$SPY/validate"
	fails PermissionDenied "at stage 'validate': invalid" CreateContainer "{\"pod_sandbox_id\":\"$p\",\"config\":$(ctr_json c),\"sandbox_config\":$(pod_json s3)}"
	rm "$SPY/validate"; c=$(create_ctr "$p" s3 c)
	echo 'refuse no start' >"$SPY/start"; fails PermissionDenied 'no start' StartContainer "{\"container_id\":\"$c\"}"; [ "$(ctr_field "$c" state)" = CONTAINER_EXITED ]
	for s in stop remove pod_stop pod_remove; do echo "refuse $s" >"$SPY/$s"; done
	rm_ctr "$c"; rm_pod "$p"; since "hook plugin spy at stage 'pod remove': pod_remove"; since "hook plugin spy at stage 'container remove': remove"
}

@test "updates and evictions of other containers" {
	spy_runs
	p=$(run_pod s4); a=$(run_ctr "$p" s4 a); b=$(run_ctr "$p" s4 b)
	echo "update $a {\"cpu\":{\"shares\":777}}" >"$SPY/create"; c=$(create_ctr "$p" s4 c)
	shares() { [ "$(ctr_field "$a" resources.linux.cpu_shares)" = 777 ]; }; node_wait 5 shares
	rm "$SPY/create"; echo "evict $b it is in the way" >"$SPY/start"; start_ctr "$c"
	wait_exit "$b" 10; since "evicts container $b: it is in the way"
	echo "update nobody {}" >"$SPY/created"; create_ctr "$p" s4 d >/dev/null; node_wait 5 since 'Update of container nobody by hook plugin spy'
}

@test "a hook that hangs costs its own pod its time-out, and nobody else anything" {
	spy_runs
	p=$(run_pod s5); c=$(run_ctr "$p" s5 c)
	echo hang >"$SPY/pod_run"
	( CRI_TIMEOUT=30 fails DeadlineExceeded "hook plugin spy at stage 'pod run'" RunPodSandbox "{\"config\":$(pod_json s6)}" ) & w=$!
	sleep 0.5
	for _ in 1 2 3 4 5; do cri ListContainers '{}' >/dev/null; cri ListPodSandbox '{}' >/dev/null; cri Status '{}' >/dev/null; done
	exec_ctr "$c" true; d=$(create_ctr "$p" s5 d); start_ctr "$d"; stop_ctr "$d"
	kill -0 $w # all that while it hung
	wait $w; rm "$SPY/pod_run"
}

@test "of a lenient hook failures are only logged, and a half change is none" {
	spy_runs; sed -i 's/^hooks = .*/hooks = ["spy?", "nobody?"]/' "$NODE/etc/conf.d/10-hooks.conf"; crio_stop; crio_start
	echo 'refuse no' >"$SPY/pod_run"; echo 'adjust {"process":{"env":["FROM=spy"]},"root":null}' >"$SPY/create"
	p=$(run_pod s7); c=$(run_ctr "$p" s7 c); [ -z "$(exec_ctr "$c" sh -c 'echo $FROM')" ]
	since "hook plugin spy at stage 'pod run': no"; since 'root may not be changed'
	printf '[crio.plugins]\nhooks = ["a b"]\n' >"$NODE/etc/conf.d/99.conf"; run crio_cmd config; [ "$status" != 0 ]; [[ $output == *'is not the name of a plugin'* ]]; rm "$NODE/etc/conf.d/99.conf"
}
