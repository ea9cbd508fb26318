#!/bin/bash
# streams.sh: part `streams` of run.sh, which sources it: exec streams over SPDY, how fast bytes come and go and how long a short command takes.
# Medians of rounds that take turns.
streams_mb=${STREAMS_MB:-1000}

streams_req() { # streams_req CONTAINER STDIN COMMAND...
	local id=$1 in=$2; shift 2
	jq -nc --arg id "$id" --argjson i "$in" '{container_id:$id,stdin:$i,stdout:true,stderr:true,cmd:$ARGS.positional}' --args -- "$@"
}
streams_ms() {
	local t; t=$(date +%s%N)
	"$@" >/dev/null 2>"$NODE/client.err" || { echo "$*: $(cat "$NODE/client.err")" >&2; exit 1; }
	echo $((($(date +%s%N) - t) / 1000000))
}
streams_median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
# Each: SOCKET CONTAINER.
streams_out() { "${CRI_CLIENT%/*}/stream-client" -q -S "$1" Exec "$(streams_req "$2" false dd if=/dev/zero bs=65536 count=$((streams_mb * 16)))"; }
streams_in() { head -c $((streams_mb * 1000000)) /dev/zero | "${CRI_CLIENT%/*}/stream-client" -q -i -S "$1" Exec "$(streams_req "$2" true sh -c 'cat >/dev/null')"; }
streams_short() { "${CRI_CLIENT%/*}/stream-client" -S "$1" Exec "$(streams_req "$2" false true)"; }

part_streams() {
	local mine theirs what i a b
	mine=$(up cri streams); theirs=$(up peer streams)
	printf '| exec stream | crio | %s | ratio |\n| --- | ---: | ---: | ---: |\n' "$PEER"
	for what in out in short; do
		calm
		: >"$NODE/streams.a"; : >"$NODE/streams.b"
		for i in 0 1 2 3 4 5; do # the first is a warm-up
			a=$(streams_ms streams_$what "$NODE/run/crio.sock" "${mine#* }"); b=$(streams_ms streams_$what "$PEER_SOCKET" "${theirs#* }")
			[ "$i" = 0 ] || { echo "$a" >>"$NODE/streams.a"; echo "$b" >>"$NODE/streams.b"; }
		done
		a=$(streams_median <"$NODE/streams.a"); b=$(streams_median <"$NODE/streams.b")
		case $what in
		short) echo "| exec of true, ms | $a | $b | $(awk -v a="$a" -v b="$b" 'BEGIN {printf "%.2f", a / b}') |" ;;
		*) [ $what = out ] && i="from the command, MB/s" || i="to the command, MB/s"
			echo "| $i | $((streams_mb * 1000 / a)) | $((streams_mb * 1000 / b)) | $(awk -v a="$a" -v b="$b" 'BEGIN {printf "%.2f", b / a}') |" ;;
		esac
	done
	down cri "${mine% *}" "${mine#* }"; down peer "${theirs% *}" "${theirs#* }"
}
