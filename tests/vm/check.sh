#!/bin/bash
# check.sh BUILD: TAP of suite.sh and, after another boot, of selinux.sh, run inside a node of its own on what is built and installed in
# BUILD/stage. The image is BUILD/vm, the registry's contents come from the suites' images in NODE_IMAGES. ONLY: a pattern of the tests to
# run. SUITE: suite or selinux, one of them. Needs root.
# CRITEST: a pattern of critest's specs, which are run as well when critest is on PATH; its reports are then BUILD/vm/share/critest-*.json.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$(cd "$1" && pwd) images=${NODE_IMAGES:-$1/images} share=$build/vm/share
tests/vm/build.sh "$build/vm" >"$build/vm.out" 2>&1 || { tail -20 "$build/vm.out" >&2; exit 1; }
[ -d "$images/user" ] || tests/fixtures/images.sh "$images"

rm -rf "$share"; mkdir -p "$share"
cp -a "$build/stage" "$build/tests/client/cri-client" "$share"
make -s -C "$build" install.config install.systemd DESTDIR="$share/stage" >"$build/vm.out" 2>&1 || { tail -20 "$build/vm.out" >&2; exit 1; }
cp -r tests/integration/lib etc/cni tests/vm/node.sh "$share"; echo "${ONLY:-}" | grep . >"$share/only" || true

# A registry's directory, served inside.
. tests/integration/lib/node.sh
NODE=$share NODE_IMAGES=$images
registry_start
for i in busybox pause; do node_push $i $i:1; done
if [ -n "${CRITEST:-}" ]; then
	FIXTURES=$PWD/tests/fixtures; . tests/integration/lib/mirrors.bash
	mirrors_push; critest_copy "$share/critest"; echo "$CRITEST" >"$share/critest.focus"
fi
kill "$REGISTRY_PID"; wait "$REGISTRY_PID" 2>/dev/null || true
rm -f "$share"/registry.*

# boot SUITE [KERNEL ARGUMENTS]: the tests' numbers go on, the plan comes at the end, and not at all when one of the two had none.
n=0 rc=0 planned=yes
boot() {
	local plan
	cp "tests/vm/$1" "$share/run"
	APPEND=${2:-} TIMEOUT=${TIMEOUT:-660} tests/vm/run.sh "$build/vm" "$share" || rc=$?
	plan=$(sed -n 's/^1\.\.//p' "$share/log" || true)
	awk -v n=$n '/^(not )?ok / {i = ($1 == "ok") ? 2 : 3; $i += n} !/^1\.\./ {print}' "$share/log" || true
	n=$((n + ${plan:-0})); [ -n "$plan" ] || planned=
}
[ -z "${CRITEST:-}" ] || SUITE=${SUITE:-suite}
case ${SUITE:-} in selinux) ;; *) boot suite.sh ;; esac
case ${SUITE:-} in suite) ;; *) boot selinux.sh "apparmor=0 security=selinux selinux=1 enforcing=0" ;; esac
[ -z "$planned" ] || echo "1..$n"
exit $rc
