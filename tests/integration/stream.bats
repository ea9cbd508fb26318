#!/usr/bin/env bats
# The streaming server: exec, attach and port-forward, as clients see them.
load lib/cri.bash

setup_file() { crio_start; export CRIO_PID; pull >/dev/null; }
teardown_file() { suite_end; }
setup() { SOCK=$NODE/run/crio.sock; }
teardown() {
	local c; for c in $(cri ListContainers '{"filter":{"state":{"state":"CONTAINER_RUNNING"}}}' | jq -r '.containers[]?.id'); do stop_ctr "$c"; done
	# shellcheck disable=SC2086 # words
	[ -z "${SERVERS:-}" ] || kill $SERVERS
	remove_all_pods
}

client() { timeout -k 5 60 "${CRI_CLIENT%/*}/stream-client" "$@"; }
stream() { client -S "$SOCK" "$@"; } # stream OPTION... METHOD JSON
# exec_json ID KINDS COMMAND...: KINDS of i (stdin), o, e, t (terminal)
exec_json() { local id=$1 k=$2; shift 2; jq -nc --arg id "$id" --arg k "$k" '{container_id:$id,stdin:($k|test("i")),stdout:($k|test("o")),stderr:($k|test("e")),tty:($k|test("t")),cmd:$ARGS.positional}' --args -- "$@"; }
attach_json() { jq -nc --arg id "$1" --arg k "$2" '{container_id:$id,stdin:($k|test("i")),stdout:($k|test("o")),stderr:($k|test("e")),tty:($k|test("t"))}'; }
forward_json() { jq -nc --arg id "$1" '{pod_sandbox_id:$id,port:[$ARGS.positional[]|tonumber]}' --args -- "${@:2}"; }
x() { # x OPTIONS KINDS COMMAND...: exec in $c
	local opts=$1 k=$2; shift 2
	# shellcheck disable=SC2086 # words
	stream $opts Exec "$(exec_json "$c" "$k" "$@")"
}
url() { cri -r url "$1" "$2"; }
fds() { ls "/proc/$CRIO_PID/fd" | wc -l; }
threads() { ls "/proc/$CRIO_PID/task" | wc -l; }
# of JOB: the stream-client of a job in the background
of() { local p; for p in $(pgrep -P "$1"); do if [ "$(cat "/proc/$p/comm")" = stream-client ]; then echo "$p"; else of "$p"; fi; done; }
in_ctr() { exec_ctr "$c" "$@"; }
port_of() { local u; u=${1#*://*:}; echo "${u%%/*}"; }

SPDY="-p spdy" WS="-p ws" B64="-p base64"

@test "exec: output, errors and exit status, in every version of the protocol" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	for p in "$SPDY" "$SPDY -v 2" "$SPDY -v 3" "$WS" "$WS -v 4" "$B64"; do
		[ "$(x "$p" oe echo hello)" = hello ]
		[ "$(x "$p" oe sh -c 'echo no >&2' 2>&1 >/dev/null)" = no ]
	done
	for p in "$SPDY" "$WS" "$WS -v 4" "$B64"; do
		run x "$p" oe sh -c 'exit 0'; [ "$status" = 0 ]
		run x "$p" oe sh -c 'exit 7'; [ "$status" = 7 ]
		run x "$p" oe sh -c 'kill -9 $$'; [ "$status" = 137 ]
	done
	# Before version 4 the error stream has words, and only of failures.
	for p in "$SPDY -v 2" "$SPDY -v 3" "$WS -v 1" "$WS -v 0" "$B64 -v 1"; do
		run x "$p" oe sh -c 'exit 7'; [ "$status" = 1 ]; [[ $output == *"non-zero exit code: exit status 7"* ]]
		run x "$p" oe true; [ "$status" = 0 ]; [ -z "$output" ]
	done
	# Version 1 over SPDY has no error stream that works.
	[ "$(x "$SPDY -v 1" oe echo one)" = one ]
}

@test "exec: only what was asked for" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	for p in "$SPDY" "$WS"; do
		[ "$(x "$p -E" o sh -c 'echo out; echo err >&2' 2>&1)" = out ]
		[ "$(x "$p -O" e sh -c 'echo out; echo err >&2' 2>&1)" = err ]
		[ "$(x "$p -O -E -i" i sh -c 'cat >/tmp/in' <<<"typed")" = "" ]
		[ "$(in_ctr cat /tmp/in)" = typed ]
		[ "$(x "$p" oe wc -c)" = 0 ] # without stdin: /dev/null
	done
}

@test "exec: input, and its end" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	for p in "$SPDY" "$WS"; do
		[ "$(x "$p -i" ioe sh -c 'cat; echo done' <<<"some text")" = "some text
done" ]
		# A command that does not read does not hold anything up.
		head -c 3000000 /dev/zero | x "$p -i" ioe sh -c 'exit 4' || [ $? = 4 ]
	done
	# These cannot say that the input ends: the command decides.
	for p in "$WS -v 4" "$B64"; do [ "$( (echo one; echo two; sleep 3) | x "$p -i" ioe head -n 2)" = "one
two" ]; done
}

@test "exec: much data in both directions, unchanged, in little memory" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	head -c 30000000 /dev/urandom >"$BATS_TEST_TMPDIR/data"; sum=$(sha256sum <"$BATS_TEST_TMPDIR/data")
	before=$(rss_mb)
	for p in "$SPDY" "$WS" "$B64 -v 4"; do
		[ "$p" = "$B64 -v 4" ] || [ "$(x "$p -i" ioe cat <"$BATS_TEST_TMPDIR/data" | sha256sum)" = "$sum" ]
		[ "$(x "$p -i" ioe sh -c "head -c 30000000 | sha256sum" <"$BATS_TEST_TMPDIR/data")" = "$sum" ]
		[ "$(x "$p" oe sh -c 'yes | head -c 30000000' | sha256sum)" = "$(yes | head -c 30000000 | sha256sum)" ]
	done
	[ $(($(rss_mb) - before)) -le 12 ]
}

@test "exec with a terminal: its size, changes of it, input, exit status" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	for p in "$SPDY" "$WS"; do
		# The first size comes while the command starts.
		out=$(x "$p -t -i -s 41x103" iot sh -c 'sleep 0.5; stty size; tty; echo err >&2; exit 5' </dev/null | tr -d '\r') || true
		[[ $out == *"41 103"*"/dev/pts/"*err* ]] || { echo "$out"; false; }
		run x "$p -t -i" iot sh -c 'exit 5'; [ "$status" = 5 ]
		# Input is echoed, and ^D is its end.
		out=$(printf 'hi\n\004' | x "$p -t -i" iot sh -c 'cat; echo end' | tr -d '\r'); [ "$out" = "hi
hi
end" ] || { echo "$out"; false; }
		: >"$BATS_TEST_TMPDIR/out"
		stream $p -t -i -s 20x30 -s 50x120 Exec "$(exec_json "$c" iot sh -c 'while :; do stty size; sleep 0.1; done')" >"$BATS_TEST_TMPDIR/out" <&- &
		node_wait 10 grep -q '20 30' "$BATS_TEST_TMPDIR/out"
		kill -USR1 "$(of $!)"
		node_wait 10 grep -q '50 120' "$BATS_TEST_TMPDIR/out"
		kill "$(of $!)"; wait $! || true
	done
}

@test "exec with a terminal: what a short command prints is all there, with either runtime" {
	for h in crun runc; do
		pod=$(run_pod "short-$h" . $h); c=$(run_ctr "$pod" "short-$h" c1)
		for i in $(seq 20); do
			run x "$SPDY -t" ot sh -c "echo out $i; exit 3"
			[ "$status" = 3 ]; [ "$(tr -d '\r' <<<"$output")" = "out $i" ] || { echo "$h, $i: $output"; false; }
		done
	done
}

@test "exec: what cannot be run says why" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	for p in "$SPDY" "$WS"; do
		run x "$p" oe /nonesuch; [ "$status" -gt 125 ]; [[ $output == *nonesuch* ]]
	done
	j=$(exec_json "$c" oe true)
	fails InvalidArgument "missing required container_id" Exec "$(jq -c '.container_id=""' <<<"$j")"
	fails NotFound "" Exec "$(jq -c '.container_id="ffffffff"' <<<"$j")"
	fails InvalidArgument "exec command cannot be empty" Exec "$(jq -c '.cmd=[]' <<<"$j")"
	fails InvalidArgument "one of stdin, stdout, or stderr must be set" Exec "$(exec_json "$c" "" true)"
	fails InvalidArgument "tty and stderr cannot both be true" Exec "$(exec_json "$c" oet true)"
	fails InvalidArgument "tty and stderr cannot both be true" Attach "$(attach_json "$c" oet)"
	fails InvalidArgument "one of stdin, stdout, or stderr must be set" Attach "$(attach_json "$c" "")"
	fails NotFound "" Attach "$(attach_json ffffffff o)"
	fails NotFound "" PortForward "$(forward_json ffffffff 80)"
	fails InvalidArgument "missing required pod_sandbox_id" PortForward "$(forward_json "" 80)"
	fails InvalidArgument "port 0 is not from 1 to 65535" PortForward "$(forward_json "$pod" 0)"
	# Between the URL and the client, the container may end.
	u=$(url Exec "$j"); v=$(url Attach "$(attach_json "$c" oe)"); stop_ctr "$c"
	run client "$u"; [ "$status" = 125 ]; [[ $output == *"error executing command in container"*"not created or running"* ]]
	run client -p ws "$v"; [ "$status" = 125 ]; [[ $output == *"error attaching to container"*"not created or running"* ]]
	fails FailedPrecondition "not created or running" Exec "$j"
	fails FailedPrecondition "not created or running" Attach "$(attach_json "$c" oe)"
}

@test "a stream ends with its container, its command with the client" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	for p in "$SPDY" "$WS"; do
		x "$p" oe sh -c 'echo up; exec sleep 7777' >"$BATS_TEST_TMPDIR/out" & client=$!
		node_wait 10 grep -q up "$BATS_TEST_TMPDIR/out"
		kill -KILL "$(of $client)"; wait $client || true
		node_wait 10 bash -c "! pgrep -f '^sleep 7777'"
	done
	# One that was left behind keeps nobody waiting.
	s=$SECONDS; [ "$(x "$SPDY" oe sh -c 'sleep 30 & echo left')" = left ]; [ $((SECONDS - s)) -lt 10 ]
	for p in "$SPDY" "$WS"; do
		x "$p" oe sleep 8888 & client=$!
		node_wait 10 pgrep -f '^sleep 8888'
		stop_ctr "$c"; s=$SECONDS
		wait $client && false || [ $? = 137 ]
		[ $((SECONDS - s)) -lt 5 ]
		rm_ctr "$c"; c=$(run_ctr "$pod" p1 c1)
	done
}

@test "attach: output, input, errors, several clients; the log goes on" {
	pod=$(run_pod p1)
	for p in "$SPDY" "$WS"; do
		c=$(run_ctr "$pod" p1 c1 '.stdin=true|.command=["sh","-c","while read l; do echo got $l; echo err $l >&2; done"]')
		mkfifo "$BATS_TEST_TMPDIR/in"; exec 8<>"$BATS_TEST_TMPDIR/in"
		stream $p -i Attach "$(attach_json "$c" ioe)" <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/one" 2>"$BATS_TEST_TMPDIR/err" 8<&- & one=$!
		stream $p Attach "$(attach_json "$c" oe)" >"$BATS_TEST_TMPDIR/two" 2>/dev/null 8<&- & two=$!
		sleep 0.5; echo first >&8
		node_wait 10 grep -qx 'got first' "$BATS_TEST_TMPDIR/one"; node_wait 10 grep -qx 'err first' "$BATS_TEST_TMPDIR/err"
		node_wait 10 grep -qx 'got first' "$BATS_TEST_TMPDIR/two"
		# One goes, the others and the container do not notice.
		kill "$(of $two)"; wait $two || true
		echo second >&8; node_wait 10 grep -qx 'got second' "$BATS_TEST_TMPDIR/one"
		node_wait 10 grep -q 'stdout F got second' "$NODE/log/p1/c1.log"
		stop_ctr "$c"; wait $one; exec 8>&-
		rm_ctr "$c"; rm "$BATS_TEST_TMPDIR"/*
	done
}

@test "attach: the end of input, with and without stdin_once" {
	pod=$(run_pod p1)
	c=$(run_ctr "$pod" p1 c1 '.stdin=true|.stdin_once=true|.command=["sh","-c","cat; echo over; sleep 0.5"]')
	[ "$( (sleep 0.5; echo text) | stream -i Attach "$(attach_json "$c" ioe)")" = "text
over" ]
	wait_exit "$c"
	c=$(run_ctr "$pod" p1 c2 '.stdin=true|.command=["cat"]')
	# The container's input stays open, and the client is let go.
	(sleep 0.5; echo text) | stream -i Attach "$(attach_json "$c" ioe)"
	node_wait 10 grep -q 'stdout F text' "$NODE/log/p1/c2.log"
	[ "$(ctr_field "$c" state)" = CONTAINER_RUNNING ]
}

@test "attach to a terminal: its size, and Ctrl-P Ctrl-Q" {
	pod=$(run_pod p1)
	c=$(run_ctr "$pod" p1 c1 '.stdin=true|.tty=true|.command=["sh"]')
	for p in "$SPDY" "$WS"; do
		out=$( (sleep 0.5; printf 'stty size; echo e-$((40+2))\n'; sleep 0.7; printf '\020'; sleep 0.2; printf '\021'; sleep 2) |
			stream $p -t -i -s 33x77 Attach "$(attach_json "$c" iot)" | tr -d '\r')
		[[ $out == *"33 77"*e-42* ]] || { echo "$out"; false; }
		[ "$(ctr_field "$c" state)" = CONTAINER_RUNNING ]
	done
}

# serve ADDRESS PORT WHAT TEXT: a server in the network of $c that sends back all, or a line, and then the text
serve() {
	nsenter -t "$(ctr_pid "$c")" -n python3 -c '
import socket, sys, threading
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((sys.argv[1], int(sys.argv[2]))); s.listen(64)
def one(c):
	f = c.makefile("rwb")
	if sys.argv[3] == "line": f.write(f.readline())
	else:
		while (b := c.recv(65536)): c.sendall(b)
	f.write(sys.argv[4].encode() + b"\n"); f.flush(); f.close(); c.close()
while True: threading.Thread(target=one, args=(s.accept()[0],), daemon=True).start()' "$@" >/dev/null 2>&1 3>&- &
	SERVERS+=" $!"
	node_wait 10 nsenter -t "$(ctr_pid "$c")" -n python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()' "$1" "$2" 2>/dev/null
}

@test "port-forward: IPv4, IPv6, both ways, nobody there" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	serve 127.0.0.1 8004 all four; serve ::1 8006 all six; serve 127.0.0.1 8005 line end
	for port in 8004:four 8006:six; do
		[ "$(stream -f "${port%:*}" PortForward "$(forward_json "$pod")" <<<"hello")" = "hello
${port#*:}" ]
	done
	head -c 5000000 /dev/urandom >"$BATS_TEST_TMPDIR/data"
	[ "$(stream -f 8004 PortForward "$(forward_json "$pod" 8004)" <"$BATS_TEST_TMPDIR/data" | head -c 5000000 | sha256sum)" = "$(sha256sum <"$BATS_TEST_TMPDIR/data")" ]
	# A WebSocket cannot say that input ends: the other side does.
	[ "$( (echo hello; sleep 5) | stream -p ws -f 8005 PortForward "$(forward_json "$pod" 8005)")" = "hello
end" ]
	[ "$( (echo hello; sleep 5) | stream -p base64 -f 8005 PortForward "$(forward_json "$pod" 8005)")" = "hello
end" ]
	# SPDY in a WebSocket, as kubectl and crictl have it: no ports in the request, and both directions end by themselves.
	for port in 8004:four 8006:six; do
		[ "$(stream -p tunnel -f "${port%:*}" PortForward "$(forward_json "$pod")" <<<"hello")" = "hello
${port#*:}" ]
	done
	[ "$(stream -p tunnel -f 8004 PortForward "$(forward_json "$pod")" <"$BATS_TEST_TMPDIR/data" | head -c 5000000 | sha256sum)" = "$(sha256sum <"$BATS_TEST_TMPDIR/data")" ]
	for p in spdy ws tunnel; do
		run stream -p $p -f 9 PortForward "$(forward_json "$pod" 9)" </dev/null
		[ "$status" = 1 ]; [[ $output == *"error forwarding port 9 to pod $pod: connect to 127.0.0.1:9: Connection refused; connect to [::1]:9: Connection refused"* ]]
	done
	# With the pod it ends, also one that has no streams now.
	stream -b "" -f 1 PortForward "$(forward_json "$pod")" >"$BATS_TEST_TMPDIR/frames" & client=$!
	sleep 1; cri StopPodSandbox "{\"pod_sandbox_id\":\"$pod\"}" >/dev/null; s=$SECONDS; wait $client; [ $((SECONDS - s)) -lt 5 ]
	[ "$(cat "$BATS_TEST_TMPDIR/frames")" = "goaway 0 0" ]
	fails FailedPrecondition "is not running" PortForward "$(forward_json "$pod" 80)"
}

@test "a URL is good once, for what it was made for, and for nobody who guesses" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	j=$(exec_json "$c" oe echo once); u=$(url Exec "$j")
	[[ $u =~ ^http://127.0.0.1:[0-9]+/exec/[A-Za-z0-9_-]{8}$ ]]
	[ "$(client "$u")" = once ]
	run client "$u"; [ "$status" = 124 ]; [[ $output == *"HTTP/1.1 404 Not Found"*"404 page not found"* ]]
	u=$(url Exec "$j"); run client "${u/exec/attach}"; [ "$status" = 124 ]; run client "$u"; [ "$status" = 124 ]
	u=$(url Exec "$j"); run client "${u%????????}AAAAAAAA"; [[ $output == *" 404 "* ]]; [ "$(client "$u")" = once ]
	for p in / /exec /exec/ /exec/../exec "/exec/$(printf '%2000s' | tr ' ' a)" /metrics; do
		[ "$(curl -s -o /dev/null -w '%{http_code}' --path-as-is "http://127.0.0.1:$(port_of "$u")$p")" = 404 ]; done
	[ "$(curl -s -o /dev/null -w '%{http_code}' -X DELETE "http://127.0.0.1:$(port_of "$u")/exec/x")" = 405 ]
}

# raw PORT TEXT: what the server answers to these bytes, which end the client's side
raw() { timeout 20 python3 -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); s.sendall(sys.argv[2].encode("latin1").decode("unicode_escape").encode("latin1"))
s.settimeout(10); out = b""
while (b := s.recv(65536)): out += b
sys.stdout.write(out.decode("latin1"))' "$@"; }

@test "bad requests: an answer each, and the daemon goes on" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1); j=$(exec_json "$c" oe echo fine)
	port=$(port_of "$(url Exec "$j")"); h='Host: x\r\n'; before=$(rss_mb)
	while IFS='|' read -r want text; do
		got=$(raw "$port" "$text"); [[ $got == "HTTP/1.1 $want "* ]] || { echo "$want: $text: $got"; false; }
	done <<-EOT
	400|\\r\\n\\r\\n
	400|\\x16\\x03\\x01\\x02\\r\\n\\r\\n
	400|GET /exec/x\\r\\n\\r\\n
	505|GET /exec/x HTTP/2.0\\r\\n$h\\r\\n
	400|GET /exec/x HTTP/1.1\\r\\n\\r\\n
	400|GET /exec/x HTTP/1.1\\r\\n$h$h\\r\\n
	400|GET /exec/x HTTP/1.1\\r\\n${h}a\\x00b: c\\r\\n\\r\\n
	413|POST /exec/x HTTP/1.1\\r\\n${h}Content-Length: 4\\r\\n\\r\\nabcd
	413|POST /exec/x HTTP/1.1\\r\\n${h}Transfer-Encoding: chunked\\r\\n\\r\\n
	404|GET /exec/x HTTP/1.1\\r\\n$h\\r\\n
	EOT
	# Floods: of headers, of one, of a head without end.
	for text in "'GET / HTTP/1.1\\r\\nHost: a\\r\\n' + ''.join('a%d: b\\r\\n' % i for i in range(200)) + '\\r\\n'" "'GET / HTTP/1.1\\r\\nA: ' + 'b' * 20000" "'A' * 5000000"; do
		got=$(timeout 20 python3 -c "
import socket, sys
s = socket.create_connection(('127.0.0.1', $port)); s.settimeout(10)
try: s.sendall(($text).encode())
except OSError: pass
try: print(s.recv(4096).decode())
except OSError: print('HTTP/1.1 431 (reset)')"); [[ $got == "HTTP/1.1 431 "* ]] || { echo "$got"; false; }
	done
	# What is agreed on.
	u=$(url Exec "$j"); run client -P v9.channel.k8s.io "$u"; [ "$status" = 124 ]; [[ $output == *"403 Forbidden"*"X-Accepted-Stream-Protocol-Versions: v4.channel.k8s.io"* ]]
	u=$(url Exec "$j"); run client -p ws -P v9.channel.k8s.io "$u"; [ "$status" = 124 ]; [[ $output == *"403 Forbidden"* ]]
	up='Connection: Upgrade\r\n'
	u=$(url Exec "$j"); [[ $(raw "$port" "POST /exec/${u##*/} HTTP/1.1\r\n$h\r\n") == *" 400 "*"unable to upgrade"* ]]
	u=$(url Exec "$j"); [[ $(raw "$port" "POST /exec/${u##*/} HTTP/1.1\r\n${h}X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n") == *" 400 "*"missing upgrade headers"* ]]
	u=$(url Exec "$j"); [[ $(raw "$port" "GET /exec/${u##*/} HTTP/1.1\r\n$h${up}Upgrade: websocket\r\n\r\n") == *" 426 "*"Sec-WebSocket-Version: 13"* ]]
	u=$(url Exec "$j"); [[ $(raw "$port" "GET /exec/${u##*/} HTTP/1.1\r\n$h${up}Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: no\r\n\r\n") == *" 400 "* ]]
	[ "$(x "$SPDY" oe echo fine)" = fine ]
	[ $(($(rss_mb) - before)) -le 6 ]
}

@test "bad frames: the stream ends, what it ran ends, the daemon goes on" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1); j=$(exec_json "$c" ioe sleep 4444)
	# Of another version; too long; headers that are none; a stream twice; an even one.
	for hex in 800200060000000400000009 8003000100ffffff 80030001000000100000000100000000000041424344454600 800300060000000400000000 00000000000000017a; do
		[ "$(stream -b $hex Exec "$j")" = "goaway 0 1" ] || { stream -b $hex Exec "$j"; false; }
	done
	[[ $(stream -b 80030006000000040000000900000005000000036162638003000300000008000000070000000580020006000000040000000b Exec "$j") == "ping 9"*"goaway 0 1" ]]
	# WebSocket: unmasked, a reserved bit, a close signal for no channel.
	[ "$(stream -p ws -b 82026162 Exec "$j" | tail -n 1)" = "close 1002" ]
	[ "$(stream -p ws -b c2810000000061 Exec "$j" | tail -n 1)" = "close 1002" ]
	stream -p ws -b 828200000000ff09 Exec "$j" >/dev/null # closed
	# What such clients ran is not left.
	node_wait 10 bash -c "! pgrep -f '^sleep 4444'"
	[ "$(x "$SPDY" oe echo fine)" = fine ]
}

@test "clients that break off leave nothing: descriptors, threads, memory, processes" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1 '.stdin=true|.command=["sh","-c","while :; do echo tick; sleep 0.1; done"]'); serve 127.0.0.1 8004 all four
	n=${ABORTS:-20}
	round() { # round TIMES: of each kind
		local p w k
		for p in spdy ws; do
			for w in connect request open; do
				k=$1; [ $w != connect ] || k=10 # their URLs stay a minute, and only a thousand may
				stream -p $p -x $w -n "$k" -j 8 Exec "$(exec_json "$c" oe sleep 6666)" >/dev/null
				stream -p $p -x $w -n "$k" -j 8 Attach "$(attach_json "$c" oe)" >/dev/null
				stream -p $p -x $w -f 8004 -n "$k" -j 8 PortForward "$(forward_json "$pod" 8004)" >/dev/null
				[ $p = spdy ] || [ $w = connect ] || stream -p tunnel -x $w -f 8004 -n "$k" -j 8 PortForward "$(forward_json "$pod")" >/dev/null
			done
			stream -p $p -x data -n "$1" -j 8 Exec "$(exec_json "$c" oe yes 9191)" >/dev/null
			stream -p $p -x data -n "$1" -j 8 Attach "$(attach_json "$c" oe)" >/dev/null
		done
	}
	round 8; node_wait 20 bash -c "! pgrep -f '^(sleep 6666|yes 9191)'"; sleep 1
	was="$(fds) $(rss_mb)"; t=$(threads)
	round "$n"
	node_wait 20 bash -c "! pgrep -f '^(sleep 6666|yes 9191)'"
	same() { [ "$(fds)" -le $((${was% *} + 2)) ]; }; node_wait 20 same || { echo "descriptors: $was, now $(fds)"; ls -l "/proc/$CRIO_PID/fd"; false; }
	# Workers stay a minute, and many broken off at once need many; then they go.
	few() { [ "$(threads)" -le $((t + 24)) ]; }; node_wait 100 few
	# The C library keeps some of the stacks of threads that have gone.
	[ $(($(rss_mb) - ${was#* })) -le $((8 + n / 50)) ] || { echo "memory: $was, now $(rss_mb)"; false; }
	echo "# $((n * 14 + 60)) broken off: $(fds) descriptors ($was before), $(threads) threads ($t), $(rss_mb) MB" >&3
	[ "$(x "$SPDY" oe echo fine)" = fine ]
}

@test "a client that does not read: its command waits, the daemon's memory does not grow; an attached one does not hold up the log" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1 '.command=["sh","-c","i=0; while :; do i=$((i+1)); echo $i; sleep 0.001; done"]')
	before=$(rss_mb)
	for p in spdy ws; do
		stream -p $p -R -d 4 Exec "$(exec_json "$c" oe yes 9191)" & stream -p $p -R -d 4 -i Exec "$(exec_json "$c" ioe sh -c 'exec sleep 60')" </dev/zero &
	done
	sleep 3; [ $(($(rss_mb) - before)) -le 8 ]; wait
	node_wait 10 bash -c "! pgrep -f '^yes 9191'"
}

@test "who says nothing is let go: a connection without a request, streams that are not opened" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1); u=$(url Exec "$(exec_json "$c" oe true)"); s=$SECONDS
	client -b "" "$u" & one=$!
	timeout 50 python3 -c "import socket; s = socket.create_connection(('127.0.0.1', $(port_of "$u"))); s.sendall(b'GET'); assert s.recv(1) == b''" & two=$!
	wait $one; wait $two; [ $((SECONDS - s)) -ge 28 ]; [ $((SECONDS - s)) -le 40 ]
}

@test "a thousand URLs may wait, no more" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1); j=$(exec_json "$c" oe echo last)
	crio_stop; crio_start; u=$(url Exec "$j")
	"$CRI_CLIENT" -s "$SOCK" -n 999 -j 4 Exec "$j" >/dev/null
	fails ResourceExhausted "maximum number of in-flight requests exceeded" Exec "$j"
	[ "$(client "$u")" = last ]; u=$(url Exec "$j"); [ -n "$u" ]
	crio_stop; crio_start
}

@test "the end of the daemon ends streams at once; containers go on, and can be attached to again" {
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1 '.command=["sh","-c","while :; do echo tick; sleep 0.1; done"]')
	x "$SPDY" oe sleep 5555 & one=$!
	stream -p ws Attach "$(attach_json "$c" oe)" >/dev/null 2>&1 & two=$!
	node_wait 10 pgrep -f '^sleep 5555'
	s=$SECONDS; crio_stop; [ $((SECONDS - s)) -lt 8 ]; wait $one || true; wait $two || true
	node_wait 5 bash -c "! pgrep -f '^sleep 5555'"
	crio_start
	[ "$(stream Attach "$(attach_json "$c" oe)" 2>/dev/null | head -n 1)" = tick ]
}

conf() { printf '[crio.api]\n%s\n' "$1" >"$NODE/etc/conf.d/20-stream.conf"; crio_stop; crio_start; }
default_conf() { rm -f "$NODE/etc/conf.d/20-stream.conf"; crio_stop; crio_start; }

@test "stream_idle_timeout, stream_address and stream_port" {
	port=$(node_free_port)
	conf "stream_idle_timeout = \"2s\"
stream_address = \"::1\"
stream_port = \"$port\""
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	[[ $(url Exec "$(exec_json "$c" oe true)") == "http://[::1]:$port/exec/"* ]]
	for p in "$SPDY" "$WS"; do
		s=$SECONDS; run x "$p" oe sleep 30; [ "$status" = 125 ]; [ $((SECONDS - s)) -le 10 ]
		[ "$(x "$p" oe sh -c 'for i in 1 2 3 4 5; do sleep 1; echo $i; done' | tail -n 1)" = 5 ] # not idle
	done
	node_wait 5 bash -c "! pgrep -f '^sleep 30'"
	crio_stop; run timeout 20 bash -c '. "$0"; crio_cmd --stream-address 192.0.2.1' "$BATS_TEST_DIRNAME/lib/cri.bash"
	[ "$status" != 0 ]; [[ $output == *"listen at stream_address '192.0.2.1'"* ]]
	default_conf
}

certs() { # certs NAME: an authority NAME-ca, and server and client certificates by it
	local d=$NODE/certs; mkdir -p "$d"
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1 authority" -keyout "$d/$1-ca.key" -out "$d/$1-ca.crt" 2>/dev/null
	for who in server client; do
		openssl req -newkey rsa:2048 -nodes -subj "/CN=$1 $who" -keyout "$d/$1-$who.key" -out "$d/csr" 2>/dev/null
		openssl x509 -req -in "$d/csr" -CA "$d/$1-ca.crt" -CAkey "$d/$1-ca.key" -CAcreateserial -days 2 -extfile <(echo "subjectAltName=IP:127.0.0.1") -out "$d/$1-$who.crt" 2>/dev/null
	done
}

@test "TLS: certificate, client authority, versions, cipher suites, and new files while it runs" {
	d=$NODE/certs; certs a; certs b; cp "$d"/a-server.{crt,key} "$NODE/"; cp "$d/a-ca.crt" "$NODE/clients.crt"
	conf "stream_enable_tls = true
stream_tls_cert = \"$NODE/a-server.crt\"
stream_tls_key = \"$NODE/a-server.key\"
stream_tls_ca = \"$NODE/clients.crt\"
tls_cipher_suites = [\"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\", \"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305\"]"
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	tls() { echo "-k $d/$1-ca.crt -c $d/$2-client.crt -K $d/$2-client.key"; }
	[[ $(url Exec "$(exec_json "$c" oe true)") == https://127.0.0.1:* ]]
	for p in "$SPDY" "$WS"; do
		[ "$(x "$p $(tls a a)" oe echo hello)" = hello ]
		[ "$(head -c 5000000 /dev/zero | x "$p -i $(tls a a)" ioe cat | wc -c)" = 5000000 ]
		[ "$(x "$p $(tls a a)" oe head -c 5000000 /dev/zero | wc -c)" = 5000000 ]
		[ "$(printf 'hi\n\004' | x "$p -t -i $(tls a a)" iot cat | tr -d '\r')" = "hi
hi" ]
	done
	run x "-k $d/a-ca.crt" oe true; [ "$status" != 0 ]               # no certificate
	run x "$(tls a b)" oe true; [ "$status" != 0 ]                   # of another authority
	run x "$(tls b a)" oe true; [ "$status" = 124 ]; [[ $output == *"certificate verify failed"* ]]
	run x "-m 1.1 -C DEFAULT@SECLEVEL=0 $(tls a a)" oe true; [ "$status" = 124 ]
	[ "$(x "-m 1.2 -C ECDHE-RSA-AES256-GCM-SHA384 $(tls a a)" oe echo 12)" = 12 ]
	[ "$(x "-m 1.2 -C ECDHE-RSA-CHACHA20-POLY1305 $(tls a a)" oe echo 12)" = 12 ]
	run x "-m 1.2 -C ECDHE-RSA-AES128-GCM-SHA256 $(tls a a)" oe true; [ "$status" = 124 ]
	[ "$(x "-m 1.3 $(tls a a)" oe echo 13)" = 13 ]
	# Plain HTTP, and a client that goes in the middle of the handshake, disturb nobody.
	port=$(port_of "$(url Exec "$(exec_json "$c" oe true)")"); run curl -s --max-time 5 "http://127.0.0.1:$port/"; [ "$status" != 0 ]
	timeout 5 python3 -c "import socket; s = socket.create_connection(('127.0.0.1', $port)); s.sendall(b'\x16\x03\x01\x02\x00\x01'); s.close()"
	# New files count from the next connection on; broken ones do not.
	cp "$d"/b-server.crt "$NODE/a-server.crt"; [ "$(x "$(tls a a)" oe echo old)" = old ]; log_has 'keeps its old certificate: .*key values mismatch'
	cp "$d"/b-server.key "$NODE/a-server.key"; cp "$d/b-ca.crt" "$NODE/clients.crt"
	[ "$(x "$(tls b b)" oe echo new)" = new ]; run x "$(tls a a)" oe true; [ "$status" = 124 ]
	sed -i 's/^tls_cipher_suites.*/tls_min_version = "VersionTLS13"/' "$NODE/etc/conf.d/20-stream.conf"; crio_stop; crio_start
	run x "-m 1.2 $(tls b b)" oe true; [ "$status" = 124 ]; [ "$(x "$(tls b b)" oe echo 13)" = 13 ]
	default_conf
}
