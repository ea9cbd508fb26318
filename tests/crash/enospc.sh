# enospc.sh [all]: root and runroot on a file system that is full after 0, 1, 2, ... more pages, so that each write in turn is the one
# that fails. The client gets an error with a code; with room again the same request works, without a restart; at the end nothing
# is left.
. "$(dirname "$0")/lib.bash"
set -uo pipefail
export LOG_LEVEL=${LOG_LEVEL:-info} NEVER_DIES=1
small=$NODE/small; mkdir -p "$small" "$NODE/root" "$NODE/run/storage"
mount -t tmpfs -o size=512m,mode=755 small "$small" && mkdir "$small/root" "$small/run" || exit 1
mount --bind "$small/root" "$NODE/root" && mount --bind "$small/run" "$NODE/run/storage" || exit 1
calm() { mount -o remount,size=512m "$small"; }
leave() { mount -o remount,size=$(($(df --output=used -k "$small" | tail -1) + $1 * 4))k "$small"; }
fault() { leave 0; }
TICK=0
crio_start || exit 1
life "${STEPS[@]}" >"$NODE/visit.out" 2>&1 || { not_ok "a life with room"; why "$NODE/visit.out"; tap_end; exit 1; }
ok "a life with room"
n=0 cases=0
while :; do
	TICK=$((TICK + 1)); rm -rf "$NODE/log/life"; log=$(wc -l <"$NODE/crio.log")
	leave $n
	# At the first start of a step: more than the pull may find no room. Which one it is changes with what is left.
	if life "${STEPS[@]}" >"$NODE/visit.out" 2>&1; then
		[ -s "$NODE/visit.out" ] || break # there was room for all
		ok "$n pages left: $(head -1 "$NODE/visit.out" | cut -c1-150)"
	else
		not_ok "$n pages left"; why "$NODE/visit.out"; tail -n "+$log" "$NODE/crio.log" | grep -vE 'level=(info|debug)|CAP_SYS' | cut -c1-300 | tail -8 | sed 's/^/#   /'
		tidy; [ -z "${KEEP_GOING:-}" ] && [ "$TAP_BAD" -gt 8 ] && break
	fi
	cases=$((cases + 1))
	if [ "${1:-}" = all ]; then n=$((n + 1)); else n=$((n * 2 + 1)); fi
done
# The steps after the pull, each beginning with nothing left.
for s in pod create start exec update reopen short stop remove stop_pod remove_pod remove_image; do
	TICK=$((TICK + 1)); rm -rf "$NODE/log/life"; log=$(wc -l <"$NODE/crio.log")
	# conmon writes the exit code beside the container's record first, and ends without telling anybody when it cannot: it is
	# lost, as with CRI-O.
	CODE_LOST=; [ $s != stop ] || CODE_LOST=1
	if AT=$s life "${STEPS[@]}" >"$NODE/visit.out" 2>&1; then ok "no page left at $s: $(head -1 "$NODE/visit.out" | cut -c1-150)"
	else not_ok "no page left at $s"; why "$NODE/visit.out"; tail -n "+$log" "$NODE/crio.log" | grep -vE 'level=(info|debug)|CAP_SYS' | cut -c1-300 | tail -8 | sed 's/^/#   /'; tidy; fi
	cases=$((cases + 1))
done
echo "# $cases cases"
calm; crio_stop
umount "$NODE/root" "$NODE/run/storage" "$small"
tap_end
