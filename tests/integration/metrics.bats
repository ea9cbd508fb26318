#!/usr/bin/env bats
# The metrics endpoint, as Prometheus sees it.
load lib/cri.bash

setup_file() { crio_start; crio_stop; } # of what is there at the start
teardown_file() { suite_end; }
teardown() {
	[ ! -s "$NODE/crio.pid" ] || { remove_all_pods; cri RemoveImage "{\"image\":{\"image\":\"$REGISTRY/twolayer:1\"}}" >/dev/null; crio_stop; }
	rm -rf "$NODE/etc/conf.d/50-metrics.conf" "$NODE/tls" "$NODE/slow"
}

# serve TOML...: a daemon with metrics on $port.
serve() { port=$(node_free_port); printf '[crio.metrics]\nenable_metrics = true\nmetrics_port = %d\n%s\n' "$port" "$*" >"$NODE/etc/conf.d/50-metrics.conf"; crio_start; }
metrics() { curl -sSf --max-time 20 "http://127.0.0.1:$port/metrics"; }
# value NAME{LABELS}: of one line
value() { metrics | awk -v want="container_runtime_crio_$1" 'index($0, want " ") == 1 {print $NF}'; }

@test "off unless configured" {
	crio_start; not grep -q crio-metrics /proc/"$CRIO_PID"/task/*/comm
}

@test "CRI calls: how many, how long, how many failed" {
	serve; pull >/dev/null
	[ "$(curl -sSf -o /dev/null -w '%{content_type}' "http://127.0.0.1:$port/metrics")" = "text/plain; version=0.0.4; charset=utf-8" ]
	pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	[ "$(value 'operations_total{operation="RunPodSandbox"}')" = 1 ]
	[ "$(value 'operations_total{operation="StartContainer"}')" = 1 ]
	[ -z "$(value 'operations_errors_total{operation="StartContainer"}')" ]
	fails FailedPrecondition "" StartContainer "{\"container_id\":\"$c\"}" || fails Unknown "" StartContainer "{\"container_id\":\"$c\"}"
	[ "$(value 'operations_total{operation="StartContainer"}')" = 2 ]
	[ "$(value 'operations_errors_total{operation="StartContainer"}')" = 1 ]
	metrics >"$NODE/m"; run cat "$NODE/m"; rm "$NODE/m"
	# Times are plausible: a pod takes more than a millisecond and less than a minute; quantiles are of what was measured.
	for m in 'operations_latency_seconds{operation="RunPodSandbox"}' 'operations_latency_seconds{operation="network_setup_pod"}' \
		'operations_latency_seconds_total{operation="RunPodSandbox",quantile="0.99"}' 'operations_latency_seconds_total_sum{operation="RunPodSandbox"}'; do
		awk -v want="container_runtime_crio_$m" 'index($0, want " ") == 1 && $NF > 0.0005 && $NF < 60 {ok = 1} END {exit !ok}' <<<"$output"
	done
	[[ $output == *'crio_default_runtime{runtime="crun"} 1'* ]]
	[[ $output == *$'\nprocess_resident_memory_bytes '* ]]
	# Each metric is announced once, with its lines behind it.
	[ -z "$(awk '/^# TYPE/ {print $3}' <<<"$output" | sort | uniq -d)" ]
	# Streams and calls that nobody has are not operations.
	[ -z "$(grep 'operation="PortForward"' <<<"$output")" ]
}

@test "pulls: bytes, layers, failures" {
	serve; pull "$REGISTRY/twolayer:1" >/dev/null
	[ "$(value image_pulls_success_total)" = 1 ]
	[ "$(value image_pulls_layer_size_count)" = 2 ]
	[ "$(metrics | awk '/^container_runtime_crio_image_pulls_bytes_total/ {n += $NF} END {print n}')" -gt "$(value image_pulls_layer_size_sum)" ]
	pull "$REGISTRY/twolayer:1" >/dev/null
	[ "$(metrics | grep -c '^container_runtime_crio_image_layer_reuse_total{name="'"$REGISTRY"'/twolayer:1@sha256:[0-9a-f]*"} 1$')" = 2 ]
	[ "$(value image_pulls_layer_size_count)" = 2 ]
	fails NotFound "" PullImage "{\"image\":{\"image\":\"$REGISTRY/busybox:no-such\"}}"
	[ "$(value 'image_pulls_failure_total{error="MANIFEST_UNKNOWN"}')" = 1 ]
	fails Unavailable "" PullImage '{"image":{"image":"127.0.0.1:1/busybox:1"}}' || fails Unknown "" PullImage '{"image":{"image":"127.0.0.1:1/busybox:1"}}'
	[ "$(value 'image_pulls_failure_total{error="CONNECTION_REFUSED"}')" = 1 ]
	[ "$(value image_pulls_success_total)" = 2 ]
}

@test "out of memory: counted once, and by the container's name until that is removed" {
	serve; pull >/dev/null; pod=$(run_pod p1)
	c=$(create_ctr "$pod" p1 c1 '.command=["sh","-c","x=x; while :; do x=$x$x; done"] | .linux.resources.memory_limit_in_bytes=33554432')
	start_ctr "$c"; wait_exit "$c" 30
	[ "$(ctr_field "$c" reason)" = OOMKilled ]
	[ "$(value containers_oom_total)" = 1 ]
	[ "$(value 'containers_oom_count_total{name="k8s_c1_p1_test_uid-p1_0"}')" = 1 ]
	rm_ctr "$c"
	[ "$(value containers_oom_total)" = 1 ]
	[ -z "$(value 'containers_oom_count_total{name="k8s_c1_p1_test_uid-p1_0"}')" ]
}

@test "a monitor that dies is counted" {
	serve; pull >/dev/null; pod=$(run_pod p1); c=$(run_ctr "$pod" p1 c1)
	kill -KILL "$(pgrep -f "conmon.* -c $c")"
	node_wait 20 eval '[ "$(value "containers_stopped_monitor_count{name=\"k8s_c1_p1_test_uid-p1_0\"}")" = 1 ]'
	stop_ctr "$c"
}

@test "requests that wait for one before them are counted by how far that is" {
	mkdir -p "$NODE/slow"; printf '#!/bin/sh\n[ "$1" = --version ] || sleep 3\nexec /usr/bin/conmon "$@"\n' >"$NODE/slow/conmon"; chmod +x "$NODE/slow/conmon"
	serve "[crio.runtime]
conmon = \"$NODE/slow/conmon\""
	pull >/dev/null; pod=$(run_pod p1)
	CRI_TIMEOUT=1 fails DeadlineExceeded "" CreateContainer "{\"pod_sandbox_id\":\"$pod\",\"config\":$(ctr_json c1),\"sandbox_config\":$(pod_json p1)}"
	[ "$(value resources_stalled_at_stage)" = "" ]
	create_ctr "$pod" p1 c1 >/dev/null # the retry gets what the first request made
	[ "$(value 'resources_stalled_at_stage{stage="container runtime creation"}')" = 1 ]
}

@test "only what metrics_collectors names; the runtime of a reload" {
	serve 'metrics_collectors = ["default_runtime", "crio_operations_total", "container_runtime_crio_containers_oom_total"]'
	[ "$(metrics | awk '/^# TYPE container_runtime/ {print $3}' | sort | tr '\n' ' ')" = \
		"container_runtime_crio_containers_oom_total container_runtime_crio_default_runtime container_runtime_crio_operations_total " ]
	[ "$(value 'default_runtime{runtime="crun"}')" = 1 ]
	printf '[crio.runtime]\ndefault_runtime = "runc"\n' >>"$NODE/etc/conf.d/50-metrics.conf"; kill -HUP "$CRIO_PID"
	node_wait 10 eval '[ "$(value "default_runtime{runtime=\"runc\"}")" = 1 ]'
	[ -z "$(value 'default_runtime{runtime="crun"}')" ]
}

@test "listens where it is told to, and only there" {
	serve "metrics_socket = \"$NODE/run/metrics.sock\""
	[ "$(ss -Hltn "sport = :$port" | awk '{print $4}')" = "127.0.0.1:$port" ]
	[ "$(stat -c %a "$NODE/run/metrics.sock")" = 660 ]
	curl -sSf --unix-socket "$NODE/run/metrics.sock" http://x/metrics | grep -q crio_operations
	crio_stop; [ ! -e "$NODE/run/metrics.sock" ]
	serve 'metrics_host = "localhost"'; metrics >/dev/null
	# Taken already: said at the start.
	crio_argv; sed -i 's/crio.sock/crio2.sock/' "$NODE/etc/crio.conf"
	run timeout 20 "${CRIO_ARGV[@]}" --root "$NODE/root2" --runroot "$NODE/run/storage2" --metrics-port "$port"
	sed -i 's/crio2.sock/crio.sock/' "$NODE/etc/crio.conf"; rm -rf "$NODE/root2" "$NODE/run/storage2"
	[ "$status" != 0 ]
}

cert() { openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2 -nodes -x509 -subj "/CN=$1" -addext "subjectAltName=IP:127.0.0.1" -keyout "$NODE/tls/key" -out "$NODE/tls/cert" 2>/dev/null; }
subject() { curl -sS -o /dev/null -vk "https://127.0.0.1:$port/metrics" 2>&1 | sed -n 's/.*subject: *//p'; }

@test "TLS: with a certificate that is replaced, removed, and broken" {
	mkdir -p "$NODE/tls"; cert one
	serve "metrics_cert = \"$NODE/tls/cert\"
metrics_key = \"$NODE/tls/key\""
	curl -sSf --cacert "$NODE/tls/cert" "https://127.0.0.1:$port/metrics" | grep -q crio_operations
	not metrics
	[[ $(subject) == *one* ]]
	cert two; [[ $(subject) == *two* ]]
	rm "$NODE/tls/cert"; [[ $(subject) == *two* ]]
	echo rubbish >"$NODE/tls/cert"; [[ $(subject) == *two* ]]
	not curl -sSfk --tls-max 1.1 "https://127.0.0.1:$port/metrics"
}

@test "TLS: a certificate is made where there is none" {
	serve "metrics_cert = \"$NODE/tls/a/b/cert\"
metrics_key = \"$NODE/tls/c/key\""
	curl -sSf --cacert "$NODE/tls/a/b/cert" "https://127.0.0.1:$port/metrics" | grep -q crio_operations
	[ "$(stat -c %a "$NODE/tls/c/key")" = 600 ]
	was=$(md5sum <"$NODE/tls/c/key"); crio_stop; crio_start
	[ "$(md5sum <"$NODE/tls/c/key")" = "$was" ]
}

@test "one of certificate and key is an error, as is a key that belongs to another" {
	mkdir -p "$NODE/tls"; cert one; port=$(node_free_port); crio_argv
	printf '[crio.metrics]\nenable_metrics = true\nmetrics_port = %d\nmetrics_cert = "%s"\n' "$port" "$NODE/tls/cert" >"$NODE/etc/conf.d/50-metrics.conf"
	run timeout 20 "${CRIO_ARGV[@]}"; [ "$status" != 0 ]; [[ $output == *"metrics_cert and metrics_key belong together"* ]]
	cp "$NODE/tls/cert" "$NODE/tls/cert1"; cert two; cp "$NODE/tls/cert1" "$NODE/tls/cert"
	echo "metrics_key = \"$NODE/tls/key\"" >>"$NODE/etc/conf.d/50-metrics.conf"
	run timeout 20 "${CRIO_ARGV[@]}"; [ "$status" != 0 ]; [[ $output == *"$NODE/tls/key"* ]]
}

@test "other requests, and clients that are slow, silent or many" {
	serve; base=$(threads)
	[ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/")" = 404 ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' -X DELETE "http://127.0.0.1:$port/metrics")" = 405 ]
	first_line() { exec 9<>"/dev/tcp/127.0.0.1/$port"; cat >&9; timeout 5 head -n 1 <&9; }
	[[ $(printf 'GET /metrics HTTP/1.1\r\n\r\n' | first_line) == "HTTP/1.1 400 "* ]]
	[[ $(head -c 20000 /dev/zero | tr '\0' x | first_line) == "HTTP/1.1 431 "* ]]
	# 100 that say nothing: 64 are kept, the rest are turned away, nobody else waits for them, and all go.
	python3 - "$port" <<-'EOF'
	import socket, sys, time
	port = int(sys.argv[1])
	held = []
	for i in range(100):
	    s = socket.create_connection(('127.0.0.1', port)); s.settimeout(5); held.append(s)
	time.sleep(0.3)
	alive = 0
	for s in held:
	    s.setblocking(False)
	    try:
	        alive += s.recv(1) != b''
	    except BlockingIOError:
	        alive += 1
	    except ConnectionResetError:
	        pass
	assert alive == 64, alive
	for s in held: s.close()
	EOF
	metrics >/dev/null
	# One who leaves before the answer, a hundred times.
	python3 - "$port" <<-'EOF'
	import socket, struct, sys
	for i in range(100):
	    s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
	    s.sendall(b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
	    if i % 2: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
	    s.close()
	EOF
	metrics >/dev/null
	node_wait 20 eval '[ "$(ls /proc/'"$CRIO_PID"'/fd | wc -l)" -lt 60 ]'
	[ "$(threads)" -le $((base + 4)) ]
}
threads() { ls "/proc/$CRIO_PID/task" | wc -l; }
