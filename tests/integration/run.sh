#!/bin/bash
# run.sh FILE.bats...|FILE.sh [ARGUMENTS]: runs suites on a node of their own (lib/node.sh), as TAP on standard output.
. "$(dirname "$0")/lib/node.sh"
node_enter "$0" "$@"
set -u
export NODE; NODE=$(mktemp -d /var/tmp/crio-node.XXXXXX)
export -n NODE_INSIDE
trap 'node_stop >/dev/null 2>&1' EXIT
node_start >"$NODE/start.out" 2>&1 || { cat "$NODE/start.out" >&2; exit 1; }
export REGISTRY REGISTRY_PORT NODE_IMAGES
case $1 in *.sh) bash "$@" ;; *) bats --tap --timing "$@" ;; esac
