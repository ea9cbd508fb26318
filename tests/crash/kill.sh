# kill.sh [ROUNDS [WORKERS [SEED]]]: kill -9 at random moments under load (kill.c); after the last round nothing is left.
. "$(dirname "$0")/lib.bash"
set -uo pipefail
rounds=${1:-20} workers=${2:-4}
for i in $(seq 0 $((workers - 1))); do node_push twolayer "kill$i:1" || exit 1; done
export LOG_LEVEL=${LOG_LEVEL:-info}
crio_start && crio_stop || exit 1
crio_argv
if "$BUILD/tests/crash/kill" -s "$NODE/run/crio.sock" -i "$REGISTRY" -l "$NODE/log" -p "$NODE/crio.pid" -o "$NODE/crio.log" -r "$rounds" -w "$workers" ${3:+-S "$3"} \
	-- "${CRIO_ARGV[@]}" --log-level "$LOG_LEVEL" >"$NODE/kill.out" 2>&1
then ok "$rounds kills with $workers workers: nothing acknowledged was lost"; else not_ok "$rounds kills with $workers workers"; fi
sed 's/^\(# \)*/# /' "$NODE/kill.out"
if grep -q '^FAIL' "$NODE/kill.out"; then grep -E 'level=(warn|error|fatal)' "$NODE/crio.log" | grep -v CAP_SYS | tail -20 | cut -c1-300 | sed 's/^/#   /'; fi
crio_pid
if remove_all_pods && remove_all_images && leaks_check 10 >"$NODE/leaks.out" 2>&1; then ok "nothing is left"; else not_ok "nothing is left"; why "$NODE/leaks.out"; fi
[ -z "${KEEP_LOG:-}" ] || cp "$NODE/crio.log" "$KEEP_LOG"
crio_stop
tap_end
