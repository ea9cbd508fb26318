#!/usr/bin/env bats
# Plugins from outside: one built against the installed SDK alone runs pods, dropped in while the daemon serves; broken ones are
# refused, each with its own message, and nothing else notices.
load lib/cri.bash

setup_file() {
	export STAGE=${CRIO%/usr/bin/crio} DIR=$NODE/plugins
	cp -r "$CRIO_PLUGINS" "$DIR"; find "$DIR" -name '*.la' -delete
	export PKG_CONFIG_SYSROOT_DIR=$STAGE PKG_CONFIG_LIBDIR=$STAGE/usr/lib/pkgconfig
	cat >"$NODE/etc/conf.d/10-plugins.conf" <<-EOT
	[crio.plugins]
	dir = "$DIR"
	EOT
	crio_start; pull >/dev/null
}
teardown_file() { suite_end; }
setup() { CRIO_PID=$(cat "$NODE/crio.pid"); }
teardown() { remove_all_pods; }

# build_veth DIR: the template's copy, built with make alone.
build_veth() { cp -r "$STAGE/usr/share/crio/template" "$1" && make -s -C "$1" CFLAGS='-O2 -Wall -Wextra -Werror'; }
list() { crio_cmd plugins list --json >"$NODE/list.json"; }
listed() { jq -r --arg n "$1" '.[]|select(.name==$n)|.'"$2" "$NODE/list.json"; } # of the last list
# reach IP: a container's server answers (see SERVER).
reach() { [ "$(timeout 5 bash -c "cat </dev/tcp/$1/8080")" = hello ]; }
SERVER='.command=["sh","-c","trap \"exit 0\" TERM; while :; do echo hello | nc -l -p 8080 & wait $!; done"]'
hup() { kill -HUP "$CRIO_PID"; }
new_log() { MARK=$(wc -l <"$NODE/crio.log"); }
since() { tail -n "+$((MARK + 1))" "$NODE/crio.log" | grep -qF -- "$1"; }

@test "the SDK is installed whole, and the template builds against it by pkg-config alone" {
	for f in include/crio/{types,plugin,runtime,storage,network,hook}.h lib/pkgconfig/crio-plugin.pc share/aclocal/crio-plugin.m4; do
		[ -f "$STAGE/usr/$f" ]
	done
	[ "$(pkg-config --variable=abi_major crio-plugin).$(pkg-config --variable=abi_minor crio-plugin)" = 0.3 ]
	build_veth "$NODE/veth"
	# The headers that were used are the installed ones, and the file exports its entry and nothing else.
	cc -M -std=gnu11 $(pkg-config --cflags crio-plugin) "$NODE/veth/veth.c" | tr ' ' '\n' | grep crio/plugin.h | grep -q "^$STAGE/"
	[ "$(nm -D --defined-only "$NODE/veth/veth.so" | awk '{print $3}')" = veth_LTX_crio_plugin_entry ]
	PATH=$STAGE/usr/bin:$PATH make -s -C "$NODE/veth" check >"$NODE/veth.tap"
	grep -q '^ok .*a pod: setup, check, teardown twice$' "$NODE/veth.tap"
	make -s -C "$NODE/veth" install DESTDIR="$NODE/dest"
	[ -x "$NODE/dest/usr/lib/crio/plugins/network/veth.so" ]
}

@test "the Autoconf macro finds it, checks the ABI, and builds the same" {
	cp -r "$STAGE/usr/share/crio/template" "$NODE/veth-ac"; cd "$NODE/veth-ac"
	aclocal -I "$STAGE/usr/share/aclocal"; autoconf; ./configure -q
	grep -q '^CRIO_MODULE_DIR = /usr/lib/crio/plugins/network$' config.mk
	make -s; [ -f veth.so ]
	# Another ABI, and no SDK at all, are told.
	sed -i 's/CRIO_CHECK_SDK(\[0.3\])/CRIO_CHECK_SDK([0.4])/' configure.ac; autoconf -f # its cache tells time in seconds
	run ./configure -q; [ "$status" != 0 ]; [[ $output == *"the SDK has ABI 0.3, 0.4 is needed"* ]]
	run env PKG_CONFIG_LIBDIR=/nonexistent ./configure -q; [ "$status" != 0 ]; [[ $output == *"pkg-config does not know crio-plugin"* ]]
}

@test "dropped in while the daemon serves, it is loaded and chosen by handler and by workload" {
	crio_stop
	{ cat "$STAGE/usr/share/crio/template/60-veth.conf"; echo "[crio.runtime.runtimes.routed2]
runtime_path = \"/usr/bin/crun\"
runtime_root = \"$NODE/run/crun\"
network_plugin = \"veth\""; } >"$NODE/etc/conf.d/60-veth.conf"
	crio_start
	old=$(run_pod before); oldctr=$(run_ctr "$old" before c)
	# It is asked for before it is there.
	fails NotFound "there is no network plugin 'veth'" RunPodSandbox "{\"config\":$(pod_json r1),\"runtime_handler\":\"routed\"}"
	new_log; install -m 0755 "$NODE/veth/veth.so" "$DIR/network/"; hup
	node_wait 5 since "Loaded network plugin veth 1 from $DIR/network/veth.so"
	list; [ "$(listed veth state)" = loaded ]
	# By handler.
	r1=$(run_pod r1 . routed); ip=$(pod_field "$r1" network.ip); [[ $ip == 10.86.1.* ]]
	c1=$(run_ctr "$r1" r1 c "$SERVER")
	exec_ctr "$c1" ip -o -4 addr show eth0 | grep -q "$ip/32"
	exec_ctr "$c1" ip route | grep -q 'default via 10.86.1.1 dev eth0'
	node_wait 5 reach "$ip"
	# By annotation, on another runtime, with the workload's own options: an instance of its own.
	w1=$(run_pod w1 '.annotations={"routed.example.com":""}' crun); wip=$(pod_field "$w1" network.ip); [[ $wip == 10.86.2.* ]] || { echo "$wip"; return 1; }
	r2=$(run_pod r2 . routed2); [[ $(pod_field "$r2" network.ip) == 10.86.0.* ]]
	[ "$(ip -o link show type veth | grep -c ': veth[0-9a-f]\{11\}@')" = 3 ]
	cri PodSandboxStatus "{\"pod_sandbox_id\":\"$w1\",\"verbose\":true}" | jq -r '.info.info|fromjson|.plugins' | grep -q 'network veth: workload'
	# The others never noticed.
	[ "$(pod_field "$old" state)" != SANDBOX_NOTREADY ]; exec_ctr "$oldctr" true
	[[ $(pod_field "$(run_pod after)" network.ip) == 10.85.* ]]
}

@test "its pods survive a restart of the daemon, and all they had is given back" {
	r1=$(run_pod r1 . routed); ip=$(pod_field "$r1" network.ip); c=$(run_ctr "$r1" r1 c "$SERVER")
	crio_stop; crio_start
	[ "$(pod_field "$r1" network.ip)" = "$ip" ]; exec_ctr "$c" true; node_wait 5 reach "$ip"
	# The address is still taken.
	r2=$(run_pod r2 . routed); [ "$(pod_field "$r2" network.ip)" != "$ip" ]
	crio_kill; crio_start
	rm_pod "$r1"; rm_pod "$r2"
	[ -z "$(ip -o link show type veth | grep ': veth[0-9a-f]\{11\}@' || true)" ]
	[ -z "$(ip route | grep '^10\.86\.' || true)" ]
	[ -z "$(find "$NODE/run/plugins/network-veth" -type f)" ]
}

@test "a full subnet, and a bad option, are said in so many words" {
	crio_stop
	cat >"$NODE/etc/conf.d/61-small.conf" <<-EOT
	[crio.runtime.runtimes.small]
	runtime_path = "/usr/bin/crun"
	network_plugin = "veth"
	network_options = { subnet = "10.86.9.0/30" }
	[crio.runtime.runtimes.wrong]
	runtime_path = "/usr/bin/crun"
	network_plugin = "veth"
	network_options = { subnet = "10.86.9.0/99" }
	[crio.runtime.runtimes.unknown]
	runtime_path = "/usr/bin/crun"
	network_plugin = "veth"
	network_options = { colour = "red" }
	EOT
	crio_start
	a=$(run_pod a . small)
	fails ResourceExhausted "every address of subnet 10.86.9.0/30 is taken" RunPodSandbox "{\"config\":$(pod_json b),\"runtime_handler\":\"small\"}"
	rm_pod "$a"; b=$(run_pod b . small); [ "$(pod_field "$b" network.ip)" = 10.86.9.2 ]
	fails InvalidArgument "'10.86.9.0/99' is not an IPv4 subnet of /16 to /30" RunPodSandbox "{\"config\":$(pod_json c),\"runtime_handler\":\"wrong\"}"
	fails InvalidArgument "colour" RunPodSandbox "{\"config\":$(pod_json d),\"runtime_handler\":\"unknown\"}"
	rm -f "$NODE/etc/conf.d/61-small.conf"
}

# bad NAME DEFINE...: a broken plugin from tests/plugin/host/sample.c
bad() {
	local name=$1; shift
	cc -std=gnu11 -fPIC -shared $(pkg-config --cflags crio-plugin) -DNAME="$name" "${@/#/-D}" -o "$DIR/network/.$name" \
		"$BATS_TEST_DIRNAME/../plugin/host/sample.c"
	mv "$DIR/network/.$name" "$DIR/network/$name.so"
}

@test "broken plugins are refused, each with its own message, while pods run" {
	pod=$(run_pod p1); ctr=$(run_ctr "$pod" p1 c1); before=$(awk '{print $22}' "/proc/$CRIO_PID/stat")
	bad badabi BAD_ABI; bad badmagic BAD_MAGIC; bad badkind BAD_KIND; bad badname BAD_NAME; bad undefined BAD_UNDEFINED
	bad noopen BAD_OPEN; bad crash BAD_CRASH; bad boom BAD_CONSTRUCTOR; bad sample GOOD
	cp "$DIR/network/sample.so" "$DIR/network/owned.so"; chown 1234 "$DIR/network/owned.so"
	cp "$DIR/network/sample.so" "$DIR/network/writable.so"; chmod 0777 "$DIR/network/writable.so"
	head -c 9000 "$DIR/network/sample.so" >"$DIR/network/cut.so"
	echo 'not an object at all, but long enough to hold an ELF header, which has 64 bytes' >"$DIR/network/text.so"
	ln -s sample.so "$DIR/network/link.so"; cp "$DIR/network/sample.so" "$DIR/network/Upper.so"
	new_log; hup; node_wait 20 since "network plugin 'writable' is refused"
	list
	while IFS='|' read -r name message; do
		node_wait 5 since "network plugin '$name' is refused: " || { echo "$name: not in the log"; return 1; }
		got=$(listed "$name" reason)
		[[ $got == *"$message"* ]] || { echo "$name: '$got', expected '$message'"; return 1; }
		[ "$(listed "$name" state)" = refused ]
		# In the log the same words.
		since "network plugin '$name' is refused: $got" || { echo "$name: the log has another message than '$got'"; return 1; }
	done <<-EOT
	badabi|field abi_major is 7, expected 0
	badmagic|field magic is 0x12345678, expected 0x6f497243
	badkind|field kind is 2, expected 3 (network)
	badname|field name is 'othername', expected 'badname'
	undefined|undefined symbol: no_such_function_anywhere
	noopen|open says no
	crash|it crashed in the probe (signal 6, Aborted)
	boom|it crashed in the probe (signal 11, Segmentation fault)
	owned|belongs to user 1234
	writable|can be written by others than its owner (mode 0777)
	cut|truncated
	text|is not an ELF file
	link|is not a regular file
	EOT
	[[ $(listed Upper reason) == *"is not a plugin's name"* ]]
	[ "$(listed sample state)" = loaded ]; [ "$(listed cni state)" = loaded ]
	# For people, too.
	crio_cmd plugins list | grep -q '^network  badabi .* refused: .*abi_major is 7'
	# The daemon is the same process; the pod and new ones run.
	[ "$(awk '{print $22}' "/proc/$CRIO_PID/stat")" = "$before" ]
	exec_ctr "$ctr" true; run_pod p2 >/dev/null
	# A refused file that is replaced gets another chance.
	rm "$DIR/network/badabi.so"; bad badabi GOOD
	new_log; hup; node_wait 5 since "Loaded network plugin badabi"
	list; [ "$(listed badabi state)" = loaded ]
	find "$DIR/network" \( -name '*.so' -o -name '.*' -type f \) ! -name cni.so ! -name hostnetwork.so ! -name veth.so -delete
}

@test "a file that has passed its probe is not probed by the next daemon, one that has changed is" {
	loaded() { tail -n "+$((MARK + 1))" "$NODE/crio.log" | sed -n 's/.*Loaded \([a-z]* plugin [a-z]*\) .*\.so\(.*\)" file=.*/\1\2/p' | sort; }
	bad sample GOOD; crio_stop; new_log; crio_start
	node_wait 10 since "Loaded network plugin sample"; record=$(find "$NODE/run" -name probed); [ -n "$record" ]
	# After a kill as well; what was refused is not in the record.
	crio_kill; new_log; crio_start; node_wait 10 since "Loaded network plugin sample"
	[ -n "$(loaded)" ]; [ -z "$(loaded | grep -v ', which has passed its probe before$')" ]
	node_wait 5 test -s "$record"; not grep -q '/badabi\.so' "$record"
	# Another file of the same name and size, and one that would end the daemon.
	crio_kill; cp "$DIR/network/cni.so" "$NODE/cni.so"; mv "$NODE/cni.so" "$DIR/network/cni.so"; bad sample BAD_CONSTRUCTOR
	new_log; crio_start; node_wait 10 since "network plugin 'sample' is refused: it crashed in the probe"
	[ "$(loaded | grep -v ', which has passed its probe before$')" = "network plugin cni" ]
	# A daemon that ends while it loads leaves no record: the record is there only once the start is through.
	crio_stop; echo "crio 0 0 0 0 /other" >"$record"; rm "$DIR/network/sample.so"
	new_log; crio_start; node_wait 10 since "Loaded network plugin veth"; [ -z "$(loaded | grep 'passed its probe before')" ]
}

@test "plugins.d is read again on SIGHUP, and a plugin's file that is put back or mended works at once" {
	crio_cmd plugins list --json | jq -e '.[]|select(.name=="overlay")' >/dev/null
	volatile() { exec_ctr "$1" cat /proc/mounts | grep -q '^overlay / .*volatile'; }
	p=$(run_pod h1); c=$(run_ctr "$p" h1 c1); volatile "$c"
	new_log; echo 'volatile = false' >"$NODE/etc/plugins.d/storage-overlay.conf"; hup
	node_wait 5 since "Reloaded the options of storage plugin overlay"
	d=$(run_ctr "$p" h1 d1); not volatile "$d"; volatile "$c"
	# What cannot be read, or takes effect later only, is said, and the rest goes on.
	new_log; echo 'colour = "red"' >"$NODE/etc/plugins.d/storage-overlay.conf"; hup; node_wait 5 since "its options are not reloaded"
	rm "$NODE/etc/plugins.d/storage-overlay.conf"; new_log; hup; node_wait 5 since "Reloaded the options of storage plugin overlay"
	rm_pod "$p"; crio_stop
	bad sample GOOD; cat >"$NODE/etc/conf.d/62-sample.conf" <<-EOT
	[crio.runtime.runtimes.sampled]
	runtime_path = "/usr/bin/crun"
	network_plugin = "sample"
	EOT
	chmod 0777 "$DIR/network/sample.so"; crio_start
	fails FailedPrecondition "can be written by others" RunPodSandbox "{\"config\":$(pod_json h2),\"runtime_handler\":\"sampled\"}"
	chmod 0755 "$DIR/network/sample.so"; p=$(run_pod h2 . sampled); rm_pod "$p"
	rm -f "$NODE/etc/conf.d/62-sample.conf" "$DIR/network/sample.so"; crio_stop; crio_start
}

@test "list and describe, for people and as JSON" {
	crio_cmd plugins list >"$NODE/list.txt"
	head -1 "$NODE/list.txt" | grep -q '^KIND  *NAME  *VERSION  *SUMMARY$'
	grep -q '^network  veth  *1  *Routed veth pairs' "$NODE/list.txt"
	list
	for p in runtime/runc runtime/crun runtime/oci storage/overlay network/cni network/hostnetwork network/veth; do
		[ "$(jq -r --arg k "${p%/*}" --arg n "${p#*/}" '.[]|select(.kind==$k and .name==$n)|.state' "$NODE/list.json")" = loaded ]
	done
	crio_cmd plugins describe veth >"$NODE/veth.txt"
	grep -q '^network/veth$' "$NODE/veth.txt"
	grep -q 'threads: *per object' "$NODE/veth.txt"
	grep -q 'operations: *setup teardown check status gc$' "$NODE/veth.txt"
	grep -q 'subnet (string, default 10.86.0.0/24)' "$NODE/veth.txt"
	[ "$(crio_cmd plugins describe --json network/veth | jq -c '.[0]|[.abi,.threads,(.options|map(.name))]')" = '["0.3","per object",["subnet","mtu","ip_path"]]' ]
	run crio_cmd plugins describe nosuch; [ "$status" != 0 ]; [[ $output == *"there is no plugin 'nosuch'"* ]]
	run crio_cmd plugins describe; [ "$status" != 0 ]
	run crio_cmd plugins frobnicate; [ "$status" != 0 ]
}
