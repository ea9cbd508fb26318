# failpoints.sh [all | N] (default 25): at every point of core/util/failpoint.h that a pod's life passes, the daemon is killed once and
# made to fail once. After the kill it starts again: what was acknowledged is known, with states, exit codes and log lines; the
# interrupted request is asked again and works; and after the rest of the life nothing is left. N: every N-th visit only (an odd
# number, so that kills and failures take turns), beginning with the CRASH_SET-th.
# POINTS="a b": only these. A point that is passed many times (a write of any file) is visited at several of its passes.
. "$(dirname "$0")/lib.bash"
set -uo pipefail
which=${1:-25}; every=1; [ "$which" = all ] || every=$which
CRIO=$BUILD/tests/crash/crio-failpoints
export CRIO_FAILPOINT_FILE=$NODE/failpoint LOG_LEVEL=${LOG_LEVEL:-info}

# Not passed by this life, each with the reason. The test fails when one is missing here, and when one here is passed.
unreached() {
	cat <<-'EOT'
	hook.run: no hook is there in a life
	network.check runtime.pids runtime.probe_monitor runtime.state runtime.stats: nothing asks for them yet
	storage.status: only store_status asks, which no request reaches
	runtime.attach runtime.resize runtime.exec_resize runtime.port_forward: no stream is in a life
	runtime.checkpoint runtime.restore runtime.pause runtime.resume: criu does not work on every kernel; tests/vm and checkpoint.bats use them
	checkpoint.frozen checkpoint.archive checkpoint.archive.written checkpoint.unpack checkpoint.unpack.done restore.run restore.done: likewise
	runtime.sandbox_create runtime.sandbox_stop: only kata has them
	storage.apply_blob storage.diff_blob storage.changes: no storage plugin has them
	EOT
}
arm() { echo "$1" >"$NODE/failpoint.new"; mv "$NODE/failpoint.new" "$NODE/failpoint"; }
calm() { arm off; }

steps_for() { case $1 in runtime.exec_kill*) echo "${STEPS[*]/tick/tick slow_exec}" ;; *) echo "${STEPS[*]}" ;; esac; }

visit() { # visit POINT[:NTH]=ACTION
	TICK=$((TICK + 1)); rm -rf "$NODE/log/life"
	[ ! -s "$NODE/crio.pid" ] || ! dead || reborn
	log=$(wc -l <"$NODE/crio.log")
	arm "$1"
	# shellcheck disable=SC2046
	if life $(steps_for "$1") >"$NODE/visit.out" 2>&1; then ok "$1: $(grep -v ' Killed ' "$NODE/visit.out" | head -1 | cut -c1-150)"
	else
		not_ok "$1"; why "$NODE/visit.out"; tail -n "+$log" "$NODE/crio.log" | grep -E 'level=(warn|error)' | grep -v CAP_SYS | cut -c1-400 | tail -8 | sed 's/^/#   /'
		[ -z "${KEEP_GOING:-}" ] && [ "$TAP_BAD" -gt 8 ] && { tap_end; exit 1; }
		tidy
	fi
}
# Points of the start itself: killed, or failing, with a pod and a container there; the next start brings everything back.
visit_start() {
	local rc=0
	rm -rf "$NODE/log/life"; TICK=$((TICK + 1))
	{
		[ ! -s "$NODE/crio.pid" ] || ! dead || reborn
		P='' C='' S='' DONE=''; arm off
		for s in pull pod create start tick short; do "life_$s" || rc=1; DONE="$DONE $s"; done
		crio_kill; arm "$1"; crio_start 2>/dev/null || rm -f "$NODE/crio.pid"
		if [ -s "$NODE/crio.pid" ] && ! dead; then crio_kill; fi
		reborn && life_verify none && for s in stop remove stop_pod remove_pod remove_image; do "life_$s" || rc=1; done
		[ $rc = 0 ] && leaks_check 8
	} >"$NODE/visit.out" 2>&1 || rc=1
	if [ $rc = 0 ]; then ok "$1, at the start"; else not_ok "$1, at the start"; why "$NODE/visit.out"; tidy; fi
}

TICK=0
crio_start || exit 1
# What a life passes, and what a start with a pod there does.
arm "trace=$NODE/trace"
# shellcheck disable=SC2046
life $(steps_for runtime.exec_kill) >"$NODE/visit.out" 2>&1 || { why "$NODE/visit.out"; not_ok "a life without faults"; tap_end; exit 1; }
ok "a life without faults"
sort "$NODE/trace" | uniq -c | awk '{print $2, $1}' >"$NODE/passed"
arm off; for s in pull pod create start; do "life_$s" || exit 1; done
crio_kill; arm "trace=$NODE/trace.start"; crio_start; arm off
sort "$NODE/trace.start" | uniq -c | awk '{print $2, $1}' >"$NODE/passed.start"
remove_all_pods; remove_all_images

"$CRIO" --list-failpoints >"$NODE/points"
unreached | sed 's/:.*//' | tr ' ' '\n' | awk '{print $1; print $1 ".before"; print $1 ".after"}' | sort >"$NODE/unreached"
if diff <(cat "$NODE/passed" "$NODE/passed.start" | cut -d' ' -f1 | sort -u) <(grep -vxFf "$NODE/unreached" "$NODE/points" | sort -u) >"$NODE/visit.out"
then ok "of $(wc -l <"$NODE/points") points $(cat "$NODE/passed" "$NODE/passed.start" | cut -d' ' -f1 | sort -u | wc -l) are passed, the others are named with their reason"
else not_ok "points not passed ('>') without a reason, or passed ('<') in spite of one"; why "$NODE/visit.out"; fi

# One pass of each point; of those that many places pass, some more.
visits() { # visits FILE
	local name n i
	while read -r name n; do
		[ -z "${POINTS:-}" ] || [[ " $POINTS " == *" $name "* ]] || continue
		echo "$name:1"
		[ "$which" = all ] || continue
		for ((i = 2; i <= n; i += n > 12 ? n / 12 : 1)); do case $name in fs.*|store.*|container.*|pod.state*) echo "$name:$i" ;; esac; done
	done <"$1"
}
pick=$((${CRASH_SET:-0} % every)); n=0; : >"$NODE/visits"
while read -r p; do
	for action in kill error; do
		[ $((n++ % every)) = "$pick" ] || [ -n "${POINTS:-}" ] || continue
		echo "life $p=$action"
	done
done < <(visits "$NODE/passed") >>"$NODE/visits"
while read -r p; do
	for action in kill error; do
		[ $((n++ % every)) = "$pick" ] || [ -n "${POINTS:-}" ] || continue
		echo "start $p=$action"
	done
done < <(grep -vE '^(fs|network.status)' "$NODE/passed.start" >"$NODE/passed.s"; visits "$NODE/passed.s") >>"$NODE/visits"
while read -r how p <&7; do
	if [ "$how" = life ]; then visit "$p" 7<&-; else visit_start "$p" 7<&-; fi
done 7<"$NODE/visits"
echo "# $(grep -c '=kill' "$NODE/visits") kills and $(grep -c '=error' "$NODE/visits") failures at points"
tap_end
