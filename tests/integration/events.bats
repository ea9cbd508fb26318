#!/usr/bin/env bats
# GetContainerEvents: what happens to pods and containers, told to whoever listens, each time with everybody's status.
load lib/cri.bash

setup_file() {
	printf '[crio.runtime]\nenable_pod_events = true\n' >"$NODE/etc/conf.d/20-events.conf"
	crio_start; export CRIO_PID; pull >/dev/null
}
teardown_file() { suite_end; }
teardown() { deaf; remove_all_pods; }

# listen NAME: a client that writes what it hears to $NODE/NAME.events; heard NAME prints it, one event a line.
asked() { grep -c "Request: \*v1.GetEventsRequest" "$NODE/crio.log" || true; }
more_than() { [ "$(asked)" -gt "$1" ]; }
listen() {
	local n; n=$(asked)
	"$CRI_CLIENT" -s "$NODE/run/crio.sock" -t 600 GetContainerEvents '{}' >"$NODE/$1.events" 2>"$NODE/$1.end" 3>&- &
	echo $! >"$NODE/$1.listener"; node_wait 5 more_than "$n"; sleep 0.2
}
deaf() { local f; for f in "$NODE"/*.listener; do [ -e "$f" ] || continue; kill -CONT "$(cat "$f")" 2>/dev/null || true; kill "$(cat "$f")" 2>/dev/null || true; rm -f "$f"; done; }
heard() { jq -c . "$NODE/$1.events"; }
types() { heard "$1" | jq -r '"\(.container_event_type // "CONTAINER_CREATED_EVENT" | sub("CONTAINER_"; "") | sub("_EVENT"; "")) \(.container_id)"'; }
heard_n() { [ "$(heard "$1" | wc -l)" -ge "$2" ]; }

@test "pods and containers come and go: every step is told once, in order, with all statuses, to all listeners" {
	local p c want
	listen a; listen b
	p=$(run_pod e1 '.annotations={note:"x"}'); c=$(run_ctr "$p" e1 c '.command=["sh","-c","exit 5"]'); wait_exit "$c"
	node_wait 5 heard_n a 5; rm_ctr "$c"; rm_pod "$p"
	want=$(printf '%s\n' "CREATED $p" "STARTED $p" "CREATED $c" "STARTED $c" "STOPPED $c" "DELETED $c" "STOPPED $p" "DELETED $p")
	node_wait 5 heard_n a 8; node_wait 5 heard_n b 8
	[ "$(types a | sort)" = "$(sort <<<"$want")" ]; [ "$(types a)" = "$(types b)" ]
	[ "$(types a | grep -v STOPPED)" = "$(grep -v STOPPED <<<"$want")" ]
	heard a | jq -es --arg p "$p" 'all(.[]; .pod_sandbox_status.id == $p and (.created_at | tonumber) > 0 and .pod_sandbox_status.annotations.note == "x")'
	heard a | jq -es --arg c "$c" '.[] | select(.container_event_type == "CONTAINER_STOPPED_EVENT" and .container_id == $c) |
		.containers_statuses[0] | .id == $c and .state == "CONTAINER_EXITED" and .exit_code == 5 and .reason == "Error"'
	# After its removal a container is in no status; a pod's last word has its own.
	heard a | jq -es --arg c "$c" '.[] | select(.container_event_type == "CONTAINER_DELETED_EVENT") | (.containers_statuses // []) | length == 0'
	heard a | jq -es --arg p "$p" '.[-1] | .pod_sandbox_status.state == "SANDBOX_NOTREADY"'
	for w in CREATED STARTED STOPPED DELETED; do log_has "level=debug.*Container event CONTAINER_${w}_EVENT generated for $c"; done
}

@test "a container that is stopped or removed while it runs has its stop told before its removal" {
	local p c d
	p=$(run_pod e2); c=$(run_ctr "$p" e2 c); d=$(run_ctr "$p" e2 d); listen a
	stop_ctr "$c" 5; rm_ctr "$d"; node_wait 5 heard_n a 3; sleep 1
	[ "$(types a | grep -v "$c")" = "$(printf '%s\n' "STOPPED $d" "DELETED $d")" ]; [ "$(types a | grep "$c")" = "STOPPED $c" ]
	heard a | jq -es --arg c "$c" '.[0].containers_statuses | map(select(.id == $c)) | .[0].state == "CONTAINER_EXITED"'
}

@test "the status of a pod has its containers' statuses and a time" {
	local p c out
	p=$(run_pod e3); c=$(run_ctr "$p" e3 c); out=$(cri PodSandboxStatus "{\"pod_sandbox_id\":\"$p\"}")
	[ "$(jq -r '.containers_statuses[0].id' <<<"$out")" = "$c" ]; [ "$(jq -r '.containers_statuses[0].state' <<<"$out")" = CONTAINER_RUNNING ]
	[ "$(jq -r '.timestamp | tonumber / 1000000000 | floor' <<<"$out")" -ge $(($(date +%s) - 5)) ]
}

@test "a reader that does not read is dropped with a status that says so; the others and the pods do not notice" {
	local i p big l; big=$(head -c 1000000 /dev/zero | tr '\0' a)
	listen slow; listen good; l=$(cat "$NODE/slow.listener"); kill -STOP "$l"
	pod_json s1 >"$NODE/req"; jq --arg b "$big" '{config:(.annotations={big:$b})}' --rawfile x /dev/null "$NODE/req" >"$NODE/req.json" 2>/dev/null ||
		jq --rawfile b <(printf %s "$big") '{config:(.annotations={big:$b})}' "$NODE/req" >"$NODE/req.json"
	for i in 1 2 3 4 5; do SECONDS=0; p=$(cri -r pod_sandbox_id RunPodSandbox "@$NODE/req.json"); rm_pod "$p"; [ $SECONDS -lt 10 ]; done
	node_wait 10 heard_n good 20; log_has "does not reach a client, which has gone or reads too slowly"
	kill -CONT "$l"; node_wait 20 not kill -0 "$l"; grep -q "code = ResourceExhausted .*too slow" "$NODE/slow.end"
	# It may come back at once.
	listen slow; p=$(run_pod s2); node_wait 5 heard_n slow 2; rm -f "$NODE/req" "$NODE/req.json"
}

@test "listeners that leave are forgotten; the daemon's end ends the streams; without enable_pod_events a stream ends at once" {
	local i fds; crio_pid; fds=$(ls "/proc/$CRIO_PID/fd" | wc -l)
	for i in $(seq 20); do listen "x$i"; done; deaf; sleep 1
	p=$(run_pod e5); rm_pod "$p"; [ "$(ls "/proc/$CRIO_PID/fd" | wc -l)" -le $((fds + 4)) ]
	listen a; SECONDS=0; crio_stop; [ $SECONDS -lt 20 ]
	node_wait 5 not kill -0 "$(cat "$NODE/a.listener")"; grep -q "code = Unavailable .*crio is ending" "$NODE/a.end"
	rm "$NODE/etc/conf.d/20-events.conf"; crio_start
	[ -z "$(CRI_TIMEOUT=5 cri GetContainerEvents '{}')" ]
	p=$(run_pod e6); [ "$(cri PodSandboxStatus "{\"pod_sandbox_id\":\"$p\"}" | jq '.containers_statuses // [] | length')" = 0 ]
}
