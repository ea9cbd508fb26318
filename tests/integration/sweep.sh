#!/bin/bash
# A run of the suites that is killed leaves its cgroups, processes and directory; the next run takes them away, and nothing of a run
# that is still going. Skipped without root.
set -u
. "$(dirname "$0")/lib/node.sh"
[ "${1:-}" != run ] || node_enter "$0" "$@"
if [ "${1:-}" = run ]; then
	NODE=$(mktemp -d /var/tmp/crio-node.XXXXXX); node_self >"$NODE/owner"
	echo "$NODE" >"$2"
	[ "${3:-}" != wait ] || { sleep 1000 & sleep 1000; }
	rm -rf "$NODE"
	exit 0
fi
[ "$(id -u)" = 0 ] || { echo "needs root: skipped"; exit 77; }
T=$(mktemp -d /var/tmp/crio-sweep.XXXXXX); trap 'kill -KILL $(cat "$T/pids") 2>/dev/null; rm -rf "$T"' EXIT
cgroups_of() { find /sys/fs/cgroup -maxdepth 3 -type d -name "crio-node-$1_*" 2>/dev/null; }
fail() { echo "FAIL: $*"; exit 1; }
bash "$0" run "$T/a" wait & a=$!
bash "$0" run "$T/b" wait & b=$!
echo $a $b >"$T/pids"
node_wait 20 test -s "$T/a" || fail "no first run"; node_wait 20 test -s "$T/b" || fail "no second run"
A=$(cat "$T/a") B=$(cat "$T/b"); n=$(cgroups_of $b | wc -l)
kill -KILL $a; wait $a 2>/dev/null
if [ "$n" -gt 0 ]; then
	[ -n "$(cgroups_of $a)" ] || fail "the killed run left nothing to sweep"
	bash "$0" run "$T/c" || fail "third run"
	[ -z "$(cgroups_of $a)" ] || fail "cgroups are left: $(cgroups_of $a)"
	[ "$(cgroups_of $b | wc -l)" = "$n" ] || fail "cgroups of a live run were taken"
	# Its processes went with them, and with those its directory's owner.
	bash "$0" run "$T/c"
	[ ! -e "$A" ] || fail "$A is left"
fi
[ -e "$B/owner" ] || fail "$B of a live run was taken"
# The second ends the same way, for those who come after this test.
kill -KILL $b; wait $b 2>/dev/null; bash "$0" run "$T/c"; bash "$0" run "$T/c"
[ -z "$(cgroups_of $b)" ] || fail "cgroups are left: $(cgroups_of $b)"
echo "ok"
