#!/usr/bin/env bats
# What systemd is told: ready, at work, ending. Here without systemd; tests/vm has the real one.
load lib/cri.bash

setup_file() {
	python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1])
while True: print(s.recv(4096).decode(), flush=True)' "$NODE/notify" >"$NODE/told" 3>&- & echo $! >"$NODE/listener"
	node_wait 20 test -S "$NODE/notify"
	export NOTIFY_SOCKET=$NODE/notify WATCHDOG_USEC=400000
	crio_start; export CRIO_PID
}
teardown_file() { local rc=0; suite_end || rc=1; kill "$(cat "$NODE/listener")"; rm -f "$NODE/notify"; return $rc; }
told() { grep -c "^$1" "$NODE/told" || true; }
at_least() { [ "$(told "$1")" -ge "$2" ]; }

@test "it says that it is ready, and then, every half of the period, that it works" {
	node_wait 10 at_least READY=1 1
	local n s; n=$(told WATCHDOG=1) s=$EPOCHREALTIME
	node_wait 20 at_least WATCHDOG=1 $((n + 5))
	# Not oftener than asked for: one each 200 ms.
	[ "$(awk -v a="$s" -v b="$EPOCHREALTIME" -v n=$(($(told WATCHDOG=1) - n)) 'BEGIN { print (n <= (b - a) / 0.2 + 2) }')" = 1 ]
	log_has "watchdog looks every 200 ms"
	[ -z "$(grep 'does not answer itself' "$NODE/crio.log")" ]
}

@test "one that does not answer says nothing, and goes on once it does" {
	local n
	# Nothing listens where clients look for it.
	mv "$NODE/run/crio.sock" "$NODE/run/away"
	log_has "does not answer itself"; sleep 0.5; n=$(told WATCHDOG=1); sleep 1
	[ "$(told WATCHDOG=1)" = "$n" ]
	mv "$NODE/run/away" "$NODE/run/crio.sock"
	node_wait 20 at_least WATCHDOG=1 $((n + 2))
}

@test "it says that it ends, and after that nothing" {
	crio_stop
	[ "$(told STOPPING=1)" = 1 ]; local n; n=$(told WATCHDOG=1); sleep 0.6; [ "$(told WATCHDOG=1)" = "$n" ]
	crio_start; node_wait 10 at_least READY=1 2
}
