# lib.bash: what the scripts of this folder share. They run on a node of their own: bash tests/integration/run.sh tests/crash/NAME.sh
. "$(dirname "${BASH_SOURCE[0]}")/../integration/lib/cri.bash"

TAP_N=0 TAP_BAD=0
ok() { TAP_N=$((TAP_N + 1)); echo "ok $TAP_N - $*"; }
not_ok() { TAP_N=$((TAP_N + 1)) TAP_BAD=$((TAP_BAD + 1)); echo "not ok $TAP_N - $*"; }
tap_end() { echo "1..$TAP_N"; [ $TAP_BAD = 0 ]; }
why() { sed 's/^/#   /' "$1" | head -40; }

# The scripted life of a pod, in steps: each is a function life_STEP that may be repeated until it has worked, as a kubelet
# would. What has worked is noted in DONE, and life_verify holds the daemon to it.
# shellcheck disable=SC2034
STEPS=(pull pod mapped create start exec tick update reopen look short stop remove stop_pod remove_pod remove_image)
share='.linux.security_context.namespace_options.pid=0'
life_pull() { pull >/dev/null && pull "$REGISTRY/twolayer:1" >/dev/null; }
life_pod() { P=$(run_pod life "$share|.port_mappings=[{host_port:18080,container_port:80}]" "${HANDLER:-crun}"); }
# A pod with a user namespace, and a container on its mapped image; what an interrupted try left of it goes first.
life_mapped() {
	local m
	for m in $(cri ListPodSandbox '{}' | jq -r '.items[]?|select(.metadata.name=="mapped").id'); do rm_pod "$m" || return; done
	m=$(run_pod mapped '.linux.security_context.namespace_options.userns_options={mode:0,uids:[{container_id:0,host_id:200000,length:65536}],gids:[{container_id:0,host_id:200000,length:65536}]}' \
		"${HANDLER:-crun}") && create_ctr "$m" mapped c >/dev/null && rm_pod "$m"
}
life_create() { C=$(create_ctr "$P" life main ".command=[\"sh\",\"-c\",\"trap \\\"exit 3\\\" TERM; i=0; while :; do i=\$((i+1)); echo line \$i; sleep 0.05; done\"]" "$share"); }
# A start that was interrupted may have been done.
life_start() { start_ctr "$C" || [ "$(ctr_field "$C" state)" = CONTAINER_RUNNING ]; }
life_exec() { [ "$(exec_ctr "$C" hostname)" = life ]; }
life_tick() { exec_ctr "$C" sh -c "echo said-$TICK >/proc/1/fd/1"; }
life_slow_exec() { cri ExecSync "{\"container_id\":\"$C\",\"timeout\":1,\"cmd\":[\"sleep\",\"100\"]}" >/dev/null || [ $? = 4 ]; }
life_update() { cri UpdateContainerResources "{\"container_id\":\"$C\",\"linux\":{\"cpu_shares\":512}}" >/dev/null; }
# The log is moved away first, as by the kubelet: conmon begins the file anew, also when it is asked twice.
life_reopen() {
	local log=$NODE/log/life/main.log n=1
	while [ -e "$log.$n" ]; do n=$((n + 1)); done
	[ ! -e "$log" ] || mv "$log" "$log.$n"
	cri ReopenContainerLog "{\"container_id\":\"$C\"}" >/dev/null && [ -f "$log" ]
}
main_log() { cat "$NODE"/log/life/main.log.[0-9]* "$NODE/log/life/main.log" 2>/dev/null || true; }
life_look() {
	local m
	for m in ImageFsInfo Status ListImages ListContainers ListPodSandbox; do cri $m '{}' >/dev/null || return; done
	cri ContainerStatus "{\"container_id\":\"$C\",\"verbose\":true}" >/dev/null
}
life_short() {
	S=$(create_ctr "$P" life short "$share|.command=[\"sh\",\"-c\",\"echo one; grep -q pause /proc/1/comm \u0026\u0026 echo two; exit 7\"]" "$share") || return
	[ "$(ctr_field "$S" state)" != CONTAINER_CREATED ] || start_ctr "$S" || [ "$(ctr_field "$S" state)" != CONTAINER_CREATED ] || return
	wait_exit "$S" 5 && [ "$(ctr_field "$S" exit_code)" = 7 ]
}
# CODE_LOST=1: conmon could not write the exit code, see enospc.sh.
life_stop() { stop_ctr "$C" 10 && expect "exit code" "$(ctr_field "$C" exit_code)" 3 ${CODE_LOST:+255 -1}; }
life_remove() { rm_ctr "$C"; }
life_stop_pod() { cri StopPodSandbox "{\"pod_sandbox_id\":\"$P\"}" >/dev/null; }
life_remove_pod() { cri RemovePodSandbox "{\"pod_sandbox_id\":\"$P\"}" >/dev/null; }
life_remove_image() { remove_all_images; }

done_has() { [[ " $DONE " == *" $1 "* ]]; }
# expect WHAT GOT WANTED...
expect() { local what=$1 got=$2 w; shift 2; for w in "$@"; do [ "$got" != "$w" ] || return 0; done; echo "$what: it is '$got', expected $*"; return 1; }
# Each line of the log that was written is there, in order: no number is missing.
lines_whole() {
	main_log | awk '$4 == "line" && $5 ~ /^[0-9]+$/ {n = $5; if (last && n != last + 1) {print "line " n " after " last; bad = 1} last = n} END {if (!last) {print "the log is gone"; bad = 1} exit bad}'
}
# life_verify STEP: all that was acknowledged is known and right; STEP is the one that was interrupted, which may have happened.
life_verify() {
	local now=$1 all state
	all=$(cri ListContainers '{}' | jq -r '.containers[]?.id')
	if done_has pull && [ "$now" != remove_image ] && not done_has remove_image; then
		[ "$(cri ImageStatus "{\"image\":{\"image\":\"$REGISTRY/busybox:1\"}}" | jq -r '.image.id')" != null ] || { echo "the image is gone"; return 1; }
	fi
	if done_has pod && [ "$now" != remove_pod ] && not done_has remove_pod; then
		state=$(pod_field "$P" state) || { echo "the pod is gone"; return 1; }
		if done_has stop_pod; then expect "pod" "$state" SANDBOX_NOTREADY
		elif [ "$now" = stop_pod ]; then :
		else expect "pod" "$state" SANDBOX_READY; fi || return
	fi
	if done_has create && [ "$now" != remove ] && not done_has remove; then
		state=$(ctr_field "$C" state) || { echo "the container is gone"; return 1; }
		if done_has stop; then expect "container" "$state" CONTAINER_EXITED && expect "exit code" "$(ctr_field "$C" exit_code)" 3 ${CODE_LOST:+255 -1}
		elif [ "$now" = stop ]; then expect "container" "$state" CONTAINER_RUNNING CONTAINER_EXITED
		elif done_has start; then expect "container" "$state" CONTAINER_RUNNING
		elif [ "$now" = start ]; then expect "container" "$state" CONTAINER_CREATED CONTAINER_RUNNING
		else expect "container" "$state" CONTAINER_CREATED; fi || return
	fi
	if done_has short && [ "$now" != remove_pod ] && not done_has remove_pod; then
		expect "short container" "$(ctr_field "$S" state)" CONTAINER_EXITED && expect "its exit code" "$(ctr_field "$S" exit_code)" 7 || return
	fi
	if done_has short; then expect "its log" "$(awk '{print $NF}' "$NODE/log/life/short.log" | tr '\n' ' ')" "one two " || return; fi
	if done_has start; then lines_whole || return; fi
	if done_has tick && done_has create; then main_log | grep "said-$TICK" >/dev/null || { echo "an exec's line is not in the log"; return 1; }; fi
	# Nothing else: at most what the interrupted step was making.
	local id known=0; for id in $all; do case $id in "${C:-}"|"${S:-}") known=$((known + 1)) ;; esac; done
	case $now in create|short|mapped) known=$((known + 1)) ;; esac
	[ "$(wc -w <<<"$all")" -le "$known" ] || { echo "containers nobody asked for: $all"; return 1; }
}

# ---- a life with a fault in it ----
dead() { crio_pid 2>/dev/null; ! crio_alive "$CRIO_PID"; }
reborn() { rm -f "$NODE/crio.pid"; calm; crio_start; }
# calm, which each script has: takes the fault away. NEVER_DIES=1: the daemon must live through it.
# life [STEP...]: in order; a step that did not work is asked again once the daemon is there and what was acknowledged is verified.
life() {
	local s rc
	P='' C='' S='' DONE=''
	for s in "$@"; do
		# A fault that begins with this step.
		[ "${AT:-}" != "$s" ] || fault
		rc=0; "life_$s" >"$NODE/step.out" 2>&1 || rc=$?
		# It may also have died just after its answer, or let an error pass. The client may see its end before we do.
		! grep -qE 'code = Unavailable .*(Socket closed|connect|reset)' "$NODE/step.out" || node_wait 2 dead || true
		if dead; then
			echo "died in $s"; [ -z "${NEVER_DIES:-}" ] || return
			reborn || return
		elif [ $rc != 0 ]; then
			echo "$s: $(tail -1 "$NODE/step.out" | cut -c1-300)"
			# A clear error: a code that is not Unknown, and which point it was or what it led to.
			if grep -q 'code = Unknown ' "$NODE/step.out"; then echo "an error without a code"; return 1; fi
			calm
		else
			DONE="$DONE $s"
			continue
		fi
		life_verify "$s" || return
		rc=0; "life_$s" >"$NODE/step.out" 2>&1 || rc=$?
		[ $rc = 0 ] || { echo "$s again: $(cat "$NODE/step.out")"; return 1; }
		DONE="$DONE $s"
	done
	# The end: everything was removed.
	if dead; then [ -z "${NEVER_DIES:-}" ] && reborn || return; fi
	calm
	leaks_check 8 || return
	lines_whole
}
# After a life that went wrong: all that can be removed is, and what leaked once is not counted again.
tidy() { calm; if dead; then reborn; fi; remove_all_pods; remove_all_images; leaks_check 1 2>/dev/null || leaks_base; }
