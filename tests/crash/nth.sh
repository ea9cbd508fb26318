# nth.sh [COUNT | all]: each kind of call of the daemon fails once in a pod's life: allocation, open, write (and mkdir, rename, fsync),
# pipes, processes and threads (nth.c). The daemon lives on, the client gets an error with a code or nothing of it, the same
# request works when it is asked again, and at the end nothing is left. Every call site is a case; COUNT of them are taken
# (default 10), those with the lowest hashes from CRASH_SET (of 256) on. SITES="hash...": only these; KINDS="p s": only of
# these kinds (a o w p s, as in name_of).
. "$(dirname "$0")/lib.bash"
set -uo pipefail
count=${1:-10}
export LOG_LEVEL=${LOG_LEVEL:-info} NEVER_DIES=1
grep -qE '__(asan|tsan)_init' "$CRIO" && { echo "1..0 # skip a sanitizer has the allocator"; exit 0; }
ctl() { "$BUILD/tests/crash/nthctl" "$NODE/nth" "$@"; }
calm() { ctl off; }
ctl new
reborn() { rm -f "$NODE/crio.pid"; calm; start; }
start() { LD_PRELOAD=$BUILD/tests/crash/nth.so CRASH_NTH=$NODE/nth crio_start; }
errno_of() { case $1 in a) echo 12 ;; o) echo 24 ;; w) echo 28 ;; p) echo 24 ;; s) echo 11 ;; esac; }
name_of() { case $1 in a) echo "an allocation" ;; o) echo "opening a file" ;; w) echo "a write" ;; p) echo "a pipe" ;; s) echo "a process or thread" ;; esac; }

TICK=0
start || exit 1
# Twice: the first time has what happens once only.
ctl record aowps
for _ in 1 2; do
	TICK=$((TICK + 1)); rm -rf "$NODE/log/life"
	ctl record aowps
	life "${STEPS[@]}" >"$NODE/visit.out" 2>&1 || { not_ok "a life without faults"; why "$NODE/visit.out"; tap_end; exit 1; }
done
ok "a life without faults"
ctl sites | sort >"$NODE/sites"
[ "$(cut -d' ' -f1 "$NODE/sites" | uniq | tr -d '\n')" = aopsw ] || not_ok "a kind of calls has no site: $(cut -d' ' -f1 "$NODE/sites" | uniq -c | tr '\n' ' ')"
# Of each kind its share, at least two.
while read -r kind n; do
	[[ ${KINDS:-$kind} == *"$kind"* ]] || continue
	want=$n; [ "$count" = all ] || want=$((n * count / $(wc -l <"$NODE/sites")))
	[ "$want" -ge 2 ] || want=2
	# By hash, not by number: a site more or less somewhere in the program changes nothing in which are visited.
	grep "^$kind " "$NODE/sites" | awk -v w="$want" -v from="$(printf %02x "${CRASH_SET:-0}")" '$2 >= from && k < w { print; k++ }'
done < <(cut -d' ' -f1 "$NODE/sites" | sort | uniq -c | awk '{print $2, $1}') >"$NODE/picked"
[ -z "${SITES:-}" ] || tr ' ' '\n' <<<"$SITES" | grep -Ff - "$NODE/sites" >"$NODE/picked"
missed=0
while read -r kind site <&7; do
	TICK=$((TICK + 1)); rm -rf "$NODE/log/life"
	log=$(wc -l <"$NODE/crio.log")
	ctl site "$kind" "$site" "$(errno_of "$kind")"
	if life "${STEPS[@]}" >"$NODE/visit.out" 2>&1 7<&-; then
		if [ "$(ctl state | cut -d' ' -f2)" = 0 ]; then missed=$((missed + 1))
		else ok "$(name_of "$kind") at $site: $(grep -v ' Killed ' "$NODE/visit.out" | head -1 | cut -c1-150)"; fi
	else
		not_ok "$(name_of "$kind") at $site"; why "$NODE/visit.out"; tail -n "+$log" "$NODE/crio.log" | grep -vE 'level=(info|debug)|CAP_SYS' | cut -c1-300 | tail -8 | sed 's/^/#   /'
		tidy 7<&-
		[ -z "${KEEP_GOING:-}" ] && [ "$TAP_BAD" -gt 8 ] && break
	fi
done 7<"$NODE/picked"
echo "# $(wc -l <"$NODE/sites") call sites, $(wc -l <"$NODE/picked") visited ($missed were not passed this time)"
crio_stop
tap_end
