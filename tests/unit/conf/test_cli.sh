#!/bin/sh
# The command line as scripts use it. CRIO names the binary; the default is the one just built.
crio=${CRIO:-./crio}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
failed=0
n=0

# has WHAT COMMAND...: the output, of both kinds, contains WHAT.
has() {
	what=$1
	shift
	n=$((n + 1))
	out=$(env -i PATH="$PATH" "$@" 2>&1)
	case $out in
	*"$what"*) ;;
	*)
		echo "FAIL: $* lacks: $what" >&2
		echo "$out" | head -5 >&2
		failed=1
		;;
	esac
}
# fails COMMAND...: exits with 1.
fails() {
	n=$((n + 1))
	env -i PATH="$PATH" "$@" >/dev/null 2>&1
	[ $? -eq 1 ] || { echo "FAIL: $* does not exit with 1" >&2; failed=1; }
}

plain="$crio -c / -d /"
none=$(printf '%s' "")
left=$(env -i "$crio" -c "$none" -d "$none" config | sed 's/#.*//g' | sed 's/\[.*//g' | tr -d '\n')
[ -z "$left" ] || { echo "FAIL: the default configuration is not all comments: $left" >&2; failed=1; }
fails $plain config

has 'command \"x\" not supported' "$crio" x
fails "$crio" x
fails "$crio" --no-such-flag
has 'flag provided but not defined: -no-such-flag' "$crio" --no-such-flag
has 'flag needs an argument: -log-level' "$crio" --log-level
has 'invalid value \"foo\" for flag' "$crio" -c /dev/null --metrics-port foo config
has 'Incorrect Usage: invalid value "foo" for flag -log-size-max: parse error' "$crio" --log-size-max foo
has 'Incorrect Usage: invalid value "9999999999999999999" for flag -log-size-max: value out of range' "$crio" --log-size-max=9999999999999999999
fails "$crio" --log-size-max foo version
has 'crio status [--socket PATH]' "$crio" status
has 'connect to /nonesuch' "$crio" status -s /nonesuch info
fails "$crio" status -s /nonesuch info
fails "$crio" status --socket
fails "$crio" status nonesuch
has 'value out of range' "$crio" -c /dev/null --log-size-max 18446744073709551616 config
has 'log size max should be negative or >= 8192' "$crio" -c /dev/null --log-size-max 8191 config
has 'invalid ulimit type: doesntexist' "$crio" -c /dev/null --default-ulimits doesntexist=2042 config
has 'ulimit soft limit must be less than or equal to hard limit: 2042 > 42' "$crio" -c /dev/null --default-ulimits nproc=2042:42 config
has 'crio version ' "$crio" -v
has 'crio version ' "$crio" --version
has 'SeccompEnabled:' "$crio" version
has 'Dependencies:' "$crio" version -v
has '"platform":"linux/' "$crio" version -j
has 'GLOBAL OPTIONS' "$crio" --help
has '--storage-driver, -s' "$crio" help
has '[$PULL_IN_A_CGROUP]' "$crio" help
has 'crio.tracing.enable_tracing' "$crio" config --unimplemented
# A word after config is ignored, as it always was.
printf '[crio.runtime]\npids_limit = 7\n' >"$dir/c"
has 'pids_limit = 7' "$crio" -c "$dir/c" -d "$none" config check
printf '[crio.runtime]\npids_limit = "7"\n' >"$dir/bad"
has "$dir/bad:2: crio.runtime.pids_limit" "$crio" -c "$dir/bad" -d "$none" config check
fails "$crio" -c "$dir/bad" config check
fails "$crio" -c "$dir/absent" config
has 'pids_limit = 7' env CONTAINER_CONFIG="$dir/c" CONTAINER_CONFIG_DIR= "$crio" config
# One dash or two, '=' or not; booleans only with '='.
for form in "-log-level debug" "--log-level=debug" "-l debug"; do
	# shellcheck disable=SC2086
	has 'log_level = "debug"' "$crio" -c /dev/null -d "$none" $form config
done
has '
read_only = true' "$crio" -c /dev/null -d "$none" --read-only config
has '
drop_infra_ctr = false' "$crio" -c /dev/null -d "$none" --drop-infra-ctr=false config
has '
monitor_cgroup = "pod"' "$crio" -c /dev/null -d "$none" --conmon-cgroup=pod config
has '
short_name_mode = "disabled"' env CONTAINER_SHORT_NAME_MODE=disabled "$crio" -c /dev/null -d "$none" config
# What --default prints is a configuration, equal to the defaults.
env -i "$crio" -c "$none" -d "$none" config --default >"$dir/default"
left=$(env -i "$crio" -c "$dir/default" -d "$none" config | sed 's/#.*//g' | sed 's/\[.*//g' | tr -d '\n')
[ -z "$left" ] || { echo "FAIL: config --default does not load as the default: $left" >&2; failed=1; }

[ $failed -eq 0 ] && echo "$n checks passed"
exit $failed
