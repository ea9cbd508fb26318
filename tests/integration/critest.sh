#!/bin/bash
# critest.sh [RUNTIME [CRITEST ARGUMENTS]]: the conformance tests of kubernetes-sigs/cri-tools on a node of their own, with the images that
# fixtures/critest-images.sh makes. critest is no Debian package: this runs when it is on PATH, and is skipped when it is not.
#
#	sudo PATH=/where/critest/is:$PATH bash tests/integration/critest.sh crun
#	... critest.sh runc --ginkgo.seed=42 --ginkgo.randomize-all=true       in another order
#	... critest.sh crun --ginkgo.focus=Streaming
# Environment, beside what run.sh wants: CRIO may be another program with CRI-O's flags and configuration, to compare; the RUNTIME is the
# first of that name on PATH; REPORT (a file) gets critest's JSON report. What failed, was skipped, and how many passed is the output.
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v critest >/dev/null; then echo "1..0 # skip critest is not on PATH (it is not a Debian package)"; exit 0; fi
# The node has no way to a network: what is made of packages is made first.
if [ "${NODE_INSIDE:-}${NODE:-}" = "" ]; then
	"$FIXTURES/critest-images.sh" "$NODE_IMAGES/critest" && exec bash "$here/run.sh" "$here/critest.sh" "$@"
	exit 1
fi
# Its tests make System V shared memory on the host, and leave it there.
[ "${CRITEST_IPC:-}" = 1 ] || CRITEST_IPC=1 exec unshare --ipc -- bash "$0" "$@"
set -euo pipefail
. "$here/lib/cri.bash"
. "$here/lib/mirrors.bash"
runtime=${1:-crun}; shift || true
path=$(command -v "$runtime") || { echo "critest.sh: no program $runtime" >&2; exit 1; }
use_mirrors
critest_network
# The short directory is for another CRI-O, which cannot connect to a socket whose path is longer than 107 bytes.
mkdir "$NODE/a"
cat >"$NODE/etc/conf.d/critest.conf" <<-E
[crio.runtime]
default_runtime = "$runtime"
container_attach_socket_dir = "$NODE/a"
[crio.runtime.runtimes.$runtime]
runtime_path = "$path"
runtime_root = "$NODE/run/$runtime"
E
critest_copy "$NODE/critest"
LEAKS_OFF=1 crio_start --log-level info
rc=0
"$NODE/critest" --runtime-endpoint "unix://$NODE/run/crio.sock" --image-endpoint "unix://$NODE/run/crio.sock" --ginkgo.no-color \
	--ginkgo.json-report="$NODE/report.json" "$@" >"$NODE/critest.out" 2>&1 || rc=$?
[ -s "$NODE/report.json" ] || { tail -50 "$NODE/critest.out" >&2; exit 1; }
[ -z "${REPORT:-}" ] || { cp "$NODE/report.json" "$REPORT"; cp "$NODE/critest.out" "$REPORT.out"; cp "$NODE/crio.log" "$REPORT.log"; }
jq -r '.[0] | (.SpecReports | map(select(.LeafNodeType == "It" and .State != "skipped" or .Failure.Message? != null)) ) as $r |
	($r[] | select(.State != "passed") | "\(.State): \((.ContainerHierarchyTexts + [.LeafNodeText]) | join(" "))\(if .Failure.Message then ": " + (.Failure.Message | split("\n")[0]) else "" end)"),
	"\($r | map(select(.State == "passed")) | length) passed, \($r | map(select(.State == "failed" or .State == "panicked" or .State == "timedout")) | length) failed, \($r | map(select(.State == "skipped")) | length) skipped, seed \(.SuiteConfig.RandomSeed), random order \(.SuiteConfig.RandomizeAllSpecs)"' \
	"$NODE/report.json"
exit $rc
